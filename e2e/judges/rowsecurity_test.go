package judges

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/memstore"
)

// rule is one permissive policy, as both sides are given it: a condition for latchkey, and the text of the same
// condition that this test writes for PostgreSQL by itself.
type rule struct {
	condition latchkey.Condition
	sql       string
}

// columns of the table, with the values that rows and conditions have.
var oracleColumns = []struct {
	name   string
	values []any
	ops    []latchkey.Op
}{
	{"region", []any{nil, "EU", "eu", "US", "", "E%", "é", "EU ", "it's", `back\slash`},
		[]latchkey.Op{latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Ge, latchkey.In, latchkey.StartsWith, latchkey.Contains,
			latchkey.IsNull}},
	{"amount", []any{nil, int64(-1), int64(0), int64(5), int64(100), int64(9223372036854775807)},
		[]latchkey.Op{latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge, latchkey.In,
			latchkey.IsNull}},
	{"open", []any{nil, true, false}, []latchkey.Op{latchkey.Eq, latchkey.Ne, latchkey.IsNull}},
}

// literal writes a value in PostgreSQL's SQL.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	return "NULL"
}

// argument writes an argument of a statement.
func argument(v any) string {
	var list []string
	switch v := v.(type) {
	case []string:
		for _, s := range v {
			list = append(list, literal(s))
		}
	case []int64:
		for _, n := range v {
			list = append(list, literal(n))
		}
	case string, int64, bool:
		return literal(v)
	default:
		panic(fmt.Sprintf("an argument of type %T", v))
	}
	return "ARRAY[" + strings.Join(list, ", ") + "]"
}

// randomRule draws a condition. SQL is written as PostgreSQL's users write policies.
func randomRule(r *rand.Rand, depth int) rule {
	if depth > 0 && r.IntN(2) == 0 {
		a, b := randomRule(r, depth-1), randomRule(r, depth-1)
		switch r.IntN(3) {
		case 0:
			return rule{latchkey.All(a.condition, b.condition), "(" + a.sql + " AND " + b.sql + ")"}
		case 1:
			return rule{latchkey.AnyOf(a.condition, b.condition), "(" + a.sql + " OR " + b.sql + ")"}
		}
		return rule{latchkey.Not(a.condition), "(NOT " + a.sql + ")"}
	}
	c := oracleColumns[r.IntN(len(oracleColumns))]
	op := c.ops[r.IntN(len(c.ops))]
	column := c.name
	if c.name == "region" {
		column += ` COLLATE "C"`
	}
	value := func() any { return c.values[1+r.IntN(len(c.values)-1)] }
	v := value()
	for v == "" && (op == latchkey.StartsWith || op == latchkey.Contains) { // which latchkey refuses: they say nothing
		v = value()
	}
	compare := func(sign string) rule {
		return rule{latchkey.Where(c.name, op, v), "(" + column + " " + sign + " " + literal(v) + ")"}
	}
	switch op {
	case latchkey.IsNull:
		yes := r.IntN(2) == 0
		null := map[bool]string{true: " IS NULL)", false: " IS NOT NULL)"}
		return rule{latchkey.Where(c.name, op, yes), "(" + c.name + null[yes]}
	case latchkey.In:
		w := value()
		return rule{latchkey.Where(c.name, op, []any{v, w}), "(" + column + " IN (" + literal(v) + ", " + literal(w) + "))"}
	case latchkey.StartsWith:
		return rule{latchkey.Where(c.name, op, v), "starts_with(" + c.name + ", " + literal(v) + ")"}
	case latchkey.Contains:
		return rule{latchkey.Where(c.name, op, v), "(position(" + literal(v) + " IN " + c.name + ") > 0)"}
	case latchkey.Eq:
		return compare("=")
	case latchkey.Ne:
		return compare("<>")
	case latchkey.Lt:
		return compare("<")
	case latchkey.Le:
		return compare("<=")
	case latchkey.Gt:
		return compare(">")
	}
	return compare(">=")
}

// union is what permissive policies give together, and what rules that grant do.
func union(a latchkey.Action, rules []rule) (list latchkey.Permissions) {
	for _, r := range rules {
		list = append(list, latchkey.Grant(a).On("dataset/orders").Where(r.condition))
	}
	return list
}

// TestRowSecurityAgrees gives PostgreSQL and latchkey the same rules, and each operation to both. PostgreSQL's row
// security knows permissive policies, of which one must hold, as rules that grant are; and restrictive ones, which all
// must hold, as what a token was narrowed by. USING is asked about the row before, WITH CHECK about the row after.
//
// PostgreSQL decides twice: by conditions that this test writes, and by those that Predicate.SQL writes.
func TestRowSecurityAgrees(t *testing.T) {
	db := harness.Postgres.Open(t, harness.Postgres.Place(t))
	db.SetMaxOpenConns(1)
	ctx := t.Context()
	exec := func(statement string, args ...any) {
		t.Helper()
		_, err := db.Exec(statement, args...)
		require.NoError(t, err, statement)
	}
	exec(`CREATE TABLE orders (id bigint PRIMARY KEY, region text, amount bigint, open boolean)`)
	user := fmt.Sprintf("judged_%d", os.Getpid())
	exec(`CREATE ROLE ` + user)
	var schema string
	require.NoError(t, db.QueryRow(`SELECT current_schema()`).Scan(&schema))
	exec(`GRANT USAGE ON SCHEMA ` + schema + ` TO ` + user)
	exec(`GRANT ALL ON orders TO ` + user)
	t.Cleanup(func() {
		_, _ = db.Exec(`RESET ROLE`)
		_, err := db.Exec(`DROP OWNED BY ` + user + `; DROP ROLE ` + user)
		require.NoError(t, err)
	})
	fields := latchkey.NewSchema(latchkey.Fields{
		"id":     {Column: "id", Type: latchkey.Integer},
		"region": {Column: "region", Type: latchkey.Text},
		"amount": {Column: "amount", Type: latchkey.Integer},
		"open":   {Column: "open", Type: latchkey.Boolean},
	})
	seed := rand.Uint64()
	if text := os.Getenv("LATCHKEY_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("LATCHKEY_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	row := func(id int64) latchkey.Row {
		out := latchkey.Row{"id": id}
		for _, c := range oracleColumns {
			out[c.name] = c.values[r.IntN(len(c.values))]
		}
		return out
	}
	var rows []latchkey.Row
	for id := range int64(60) {
		rows = append(rows, row(id))
		exec(`INSERT INTO orders VALUES ($1, $2, $3, $4)`, id, rows[id]["region"], rows[id]["amount"], rows[id]["open"])
	}
	keys := latchkey.New(memstore.New(nil), nil)
	defer keys.Close(ctx)
	acme := keys.For("acme")

	// written returns the condition as Predicate.SQL writes it, with its values in place of the placeholders.
	written := func(c latchkey.Condition) string {
		p, err := fields.Bind(c)
		require.NoError(t, err)
		text, args := p.SQL(latchkey.Postgres, 1)
		for n := len(args); n > 0; n-- { // $12 before $1
			text = strings.ReplaceAll(text, "$"+strconv.Itoa(n), argument(args[n-1]))
		}
		return text
	}
	// try runs a statement as the user, and undoes it. It returns how many rows it met, or that it was refused.
	try := func(statement string, args ...any) (met int64, refused bool) {
		tx, err := db.Begin()
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Rollback()) }()
		_, err = tx.Exec(`SET LOCAL ROLE ` + user)
		require.NoError(t, err)
		result, err := tx.Exec(statement, args...)
		if err != nil {
			require.ErrorContains(t, err, "row-level security", statement)
			return 0, true
		}
		met, err = result.RowsAffected()
		require.NoError(t, err)
		return met, false
	}
	visible := func() (ids []int64) {
		tx, err := db.Begin()
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Rollback()) }()
		_, err = tx.Exec(`SET LOCAL ROLE ` + user)
		require.NoError(t, err)
		list, err := tx.Query(`SELECT id FROM orders ORDER BY id`)
		require.NoError(t, err)
		defer list.Close()
		for list.Next() {
			var id int64
			require.NoError(t, list.Scan(&id))
			ids = append(ids, id)
		}
		require.NoError(t, list.Err())
		return ids
	}

	admitted, denied := 0, 0
	count := func(ok bool) {
		if ok {
			admitted++
		} else {
			denied++
		}
	}
	rounds := harness.Rounds(60, 2000)
	for round := range rounds {
		// One to three rules, and for half of the rounds two conditions that narrow.
		var allow, narrow []rule
		for range 1 + r.IntN(3) {
			allow = append(allow, randomRule(r, 2))
		}
		if round%2 == 1 {
			narrow = []rule{randomRule(r, 1), randomRule(r, 1)}
		}
		access := map[latchkey.Action]latchkey.Access{}
		for _, a := range []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete} {
			whole, err := acme.Assume(latchkey.Client{}, union(a, allow))
			require.NoError(t, err)
			if narrow != nil {
				whole, err = whole.Narrow(ctx, latchkey.Narrowing{
					Rows: []latchkey.Condition{narrow[0].condition, narrow[1].condition}})
				require.NoError(t, err)
			}
			access[a] = whole
		}
		for _, ours := range []bool{false, true} {
			list, err := db.Query(`SELECT policyname FROM pg_policies WHERE tablename = 'orders' AND schemaname = $1`, schema)
			require.NoError(t, err)
			var old []string
			for list.Next() {
				var name string
				require.NoError(t, list.Scan(&name))
				old = append(old, name)
			}
			require.NoError(t, list.Err())
			for _, name := range old {
				exec(`DROP POLICY ` + name + ` ON orders`)
			}
			exec(`ALTER TABLE orders ENABLE ROW LEVEL SECURITY`)
			policy := func(name, kind string, of []rule) {
				for i, one := range of {
					text := one.sql
					if ours {
						text = written(one.condition)
					}
					exec(fmt.Sprintf(`CREATE POLICY %s_%d ON orders AS %s FOR ALL TO %s USING (%s) WITH CHECK (%s)`, name, i, kind,
						user, text, text))
				}
			}
			policy("allow", "PERMISSIVE", allow)
			policy("narrow", "RESTRICTIVE", narrow)
			about := fmt.Sprintf("round %d, ours %t: %v", round, ours,
				union(latchkey.Read, append(slices.Clone(allow), narrow...)))

			// Read: the rows that the filter admits.
			filter, err := access[latchkey.Read].Filter(latchkey.Read, "dataset/orders")
			if err != nil { // a filter that admits nothing
				require.ErrorIs(t, err, latchkey.ErrDenied, about)
				filter = latchkey.Condition{} // which admits no row
			}
			bound, err := fields.Bind(filter)
			require.NoError(t, err)
			var match []int64
			for id, row := range rows {
				if bound.Match(row) {
					match = append(match, int64(id))
				}
			}
			require.Equal(t, visible(), match, about)

			for range 6 {
				// Create: WITH CHECK of the row after.
				after := row(1000)
				_, refused := try(`INSERT INTO orders VALUES ($1, $2, $3, $4)`, after["id"], after["region"], after["amount"],
					after["open"])
				_, err := access[latchkey.Create].Prepare(latchkey.Create, "dataset/orders", fields, nil, after)
				require.Equal(t, refused, err != nil, "create %v: %v: %s", after, err, about)
				count(err == nil)

				// Update: USING of the row before, and WITH CHECK of the row after. PostgreSQL passes over a row before that it
				// hides.
				id := int64(r.IntN(len(rows)))
				after = row(id)
				met, refused := try(`UPDATE orders SET region = $2, amount = $3, open = $4 WHERE id = $1`, id, after["region"],
					after["amount"], after["open"])
				_, err = access[latchkey.Update].Prepare(latchkey.Update, "dataset/orders", fields, rows[id], after)
				require.Equal(t, refused || met == 0, err != nil, "update %v to %v: %v: %s", rows[id], after, err, about)
				count(err == nil)

				// Delete: USING of the row before.
				met, refused = try(`DELETE FROM orders WHERE id = $1`, id)
				require.False(t, refused)
				_, err = access[latchkey.Delete].Prepare(latchkey.Delete, "dataset/orders", fields, rows[id], nil)
				require.Equal(t, met == 0, err != nil, "delete %v: %v: %s", rows[id], err, about)
				count(err == nil)
			}
		}
	}
	require.Greater(t, admitted, rounds, "hardly anything was allowed, so the judge said nothing")
	require.Greater(t, denied, rounds, "hardly anything was refused, so the judge said nothing")
	t.Logf("%d rounds of policies: the same rows are read, and of %d writes the same %d are allowed", rounds,
		admitted+denied, admitted)

	// The control: a rule that differs is seen.
	seen := 0
	for _, one := range rows {
		p, err := fields.Bind(latchkey.Where("amount", latchkey.Ge, 5))
		require.NoError(t, err)
		var other sql.NullBool
		require.NoError(t, db.QueryRow(`SELECT $1::bigint > 5`, one["amount"]).Scan(&other))
		if p.Match(one) != (other.Valid && other.Bool) {
			seen++
		}
	}
	require.NotZero(t, seen, "no row tells > from >=, so this test could not see a mistake")
}
