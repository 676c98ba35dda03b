package world

import (
	"database/sql/driver"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	tenantMention = regexp.MustCompile(`(FROM|JOIN|UPDATE) (` + strings.Join(TenantTables, "|") + `)\b`)
	tenantInsert  = regexp.MustCompile(`INSERT (OR \w+ )?INTO (` + strings.Join(TenantTables, "|") + `) \(([^)]*)\)`)
	// What compares the owner of a row: with an argument, with some, or with that of another row.
	ownerCondition = regexp.MustCompile(`\bowner = |\bowner IN \(|\(owner(, \w+)+\) IN `)
)

// Ownerless says how many mentions of tenant tables a statement has beyond its conditions on owner. 0 or less: each has
// one. An insert names the owner among its columns.
func Ownerless(text string) int {
	text = strings.Join(strings.Fields(text), " ")
	mentions := len(tenantMention.FindAllString(text, -1)) - len(ownerCondition.FindAllString(text, -1))
	for _, insert := range tenantInsert.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(strings.Split(insert[3], ", "), "owner") {
			return max(mentions, 0) + 1
		}
	}
	return mentions
}

// Ownership says what is wrong with a statement that a call runs which is about some owners: a table of tenants is
// named without a condition on the owner, no argument names one of the owners, or one names one of the others. "":
// nothing is, or the statement names no such table.
func Ownership(text string, args []driver.NamedValue, owners, others []string) string {
	if !slices.ContainsFunc(TenantTables, func(table string) bool { return strings.Contains(text, table) }) {
		return ""
	}
	if n := Ownerless(text); n > 0 {
		return fmt.Sprintf("a table of tenants without a condition on the owner (%d)", n)
	}
	named := false
	for _, arg := range args {
		value := fmt.Sprint(arg.Value)
		if b, ok := arg.Value.([]byte); ok {
			value = string(b)
		}
		in := func(owner string) bool { return strings.Contains(value, owner) }
		named = named || slices.ContainsFunc(owners, in)
		if i := slices.IndexFunc(others, in); i >= 0 {
			return fmt.Sprintf("an argument names the owner %q", others[i])
		}
	}
	if !named {
		return "no argument names the owner"
	}
	return ""
}
