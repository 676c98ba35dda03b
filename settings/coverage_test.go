package settings

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// notInFile are the fields of Options that no member of the file sets, each with the reason.
var notInFile = map[string]string{
	"Clock":        "tests set it; a program that is deployed goes by time.Now",
	"Rand":         "tests set it; secrets come from crypto/rand",
	"Observer":     "callbacks of the program",
	"Logger":       "each program has its own: the command writes warnings to standard error",
	"PublicSuffix": "a function of the program; without it a domain restriction needs two labels after the star",
	"CreditLease":  "a function of the program, about what it spends; the command spends nothing",
}

// inFile are the members that set the other fields.
var inFile = map[string]string{
	"Keyring":         "keyring",
	"Roles":           "roles",
	"MaxStale":        "max_stale",
	"Prefix":          "prefix",
	"Imported":        "imported",
	"Legacy":          "legacy",
	"NoRefusalReport": "no_refusal_report",
	"LastUseAddress":  "last_use_address",
	"Catalogue":       "catalogue",
	"MaxDepth":        "max_depth",
	"CacheTokens":     "cache_tokens",
	"KeepExpired":     "keep_expired",
	"KeepRevoked":     "keep_revoked",
	"KeepUsageDays":   "keep_usage_days",
	"KeepUsageMonths": "keep_usage_months",
	"KeepEvents":      "keep_events",
	"SignatureSkew":   "signature_skew",
}

// notOptions are the members that are no field of Options.
var notOptions = []string{"format", "store", "owner"}

// Every option of latchkey stands in the file, or in the list of those that cannot. Whoever adds one decides here.
func TestEveryOptionIsInTheFileOrInTheList(t *testing.T) {
	members := map[string]bool{}
	for f := range reflect.TypeFor[file]().Fields() {
		members[f.Tag.Get("json")] = true
	}
	for _, name := range notOptions {
		require.True(t, members[name], name)
		delete(members, name)
	}
	for f := range reflect.TypeFor[latchkey.Options]().Fields() {
		reason, left := notInFile[f.Name]
		member, set := inFile[f.Name]
		require.True(t, left != set, "Options.%s: let a member of the settings file set it, or say why none does", f.Name)
		if left {
			require.NotEmpty(t, strings.TrimSpace(reason), f.Name)
			continue
		}
		require.True(t, members[member], "Options.%s: the file has no %q", f.Name, member)
		delete(members, member)
	}
	require.Empty(t, members, "members that set nothing")
}

// Each member changes its field of Options, and no other one.
func TestEachMemberSetsItsField(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "roles.json", `{"format":1,"roles":[{"name":"viewer",`+
		`"permissions":[{"allow":["read"],"on":["invoice/*"]}]}]}`)
	write(t, dir, "catalogue.json", `{"resources":[{"template":"invoice/{id}","actions":["read"]}]}`)
	write(t, dir, "key", exported(t, 1))
	values := map[string]string{
		"keyring":           `{"file":"key"}`,
		"roles":             `"roles.json"`,
		"max_stale":         `"5s"`,
		"prefix":            `"acme"`,
		"imported":          `["old_[0-9]{9}"]`,
		"legacy":            `{"split":"(?P<lookup>a+)(?P<secret>b+)"}`,
		"no_refusal_report": `true`,
		"last_use_address":  `"network"`,
		"catalogue":         `"catalogue.json"`,
		"max_depth":         `7`,
		"cache_tokens":      `-1`,
		"keep_expired":      `"2d"`,
		"keep_revoked":      `"forever"`,
		"keep_usage_days":   `"90d"`,
		"keep_usage_months": `"730d"`,
		"keep_events":       `"400d"`,
		"signature_skew":    `"1m"`,
	}
	for field, member := range inFile {
		require.NotEmpty(t, values[member], member)
		o := options(t, dir, `"`+member+`": `+values[member])
		for f := range reflect.TypeFor[latchkey.Options]().Fields() {
			zero := reflect.ValueOf(o).Elem().FieldByIndex(f.Index).IsZero()
			require.Equal(t, f.Name != field, zero, "%s: %s", member, f.Name)
		}
	}
}

// docs/command.md has a row for each member, in the order of the file.
func TestDocsNameEachMember(t *testing.T) {
	text, err := os.ReadFile("../docs/command.md")
	require.NoError(t, err)
	var want []string
	var add func(prefix string, typ reflect.Type)
	add = func(prefix string, typ reflect.Type) {
		for f := range typ.Fields() {
			name := prefix + strings.Split(f.Tag.Get("json"), ",")[0]
			want = append(want, name)
			if form := f.Type; form == reflect.TypeFor[*storeForm]() || form == reflect.TypeFor[*legacyForm]() {
				add(name+".", form.Elem())
			}
		}
	}
	add("", reflect.TypeFor[file]())
	add("", reflect.TypeFor[source]())
	var got []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			got = append(got, name)
		}
	}
	require.Equal(t, want, got)

	for name := range notInFile {
		require.Contains(t, string(text), "`"+name+"`")
	}
}
