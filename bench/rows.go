package main

import (
	"database/sql"
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"github.com/doug-martin/goqu/v9"
	_ "github.com/doug-martin/goqu/v9/dialect/sqlite3"
	"github.com/expr-lang/expr"
	_ "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
)

// A condition of three terms, as each library writes it. It admits the rows of an order in the EU, of less than 1,000,
// that is open or paid.
var (
	orders = latchkey.NewSchema(latchkey.Fields{
		"region": {Column: "region", Type: latchkey.Text},
		"amount": {Column: "amount", Type: latchkey.Integer},
		"status": {Column: "status", Type: latchkey.Text},
	})
	ordersOfEU = latchkey.All(latchkey.Where("region", latchkey.Eq, "EU"), latchkey.Where("amount", latchkey.Lt, 1000),
		latchkey.Where("status", latchkey.In, []string{"open", "paid"}))
)

const ordersOfEUText = `region == "EU" && amount < 1000 && status in ["open", "paid"]`

// orderRows are rows that the condition admits, or not because of each term.
func orderRows() (rows []latchkey.Row) {
	for _, region := range []string{"EU", "US"} {
		for _, amount := range []int64{5, 999, 1000} {
			for _, status := range []string{"open", "paid", "lost"} {
				rows = append(rows, latchkey.Row{"region": region, "amount": amount, "status": status})
			}
		}
	}
	return rows
}

// matcher is something that says whether the condition admits a row.
type matcher struct {
	name  string
	match func(r latchkey.Row) (bool, error)
}

func matchers() ([]matcher, error) {
	p, err := orders.Bind(ordersOfEU)
	if err != nil {
		return nil, err
	}
	env, err := cel.NewEnv(cel.Variable("region", cel.StringType), cel.Variable("amount", cel.IntType),
		cel.Variable("status", cel.StringType))
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(ordersOfEUText)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	byCel, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	byExpr, err := expr.Compile(ordersOfEUText, expr.AsBool(),
		expr.Env(map[string]any{"region": "", "amount": int64(0), "status": ""}))
	if err != nil {
		return nil, err
	}
	return []matcher{
		{"latchkey Match", func(r latchkey.Row) (bool, error) { return p.Match(r), nil }},
		{"cel-go", func(r latchkey.Row) (bool, error) {
			v, _, err := byCel.Eval(map[string]any(r))
			if err != nil {
				return false, err
			}
			return v.Value().(bool), nil
		}},
		{"expr", func(r latchkey.Row) (bool, error) {
			v, err := expr.Run(byExpr, map[string]any(r))
			if err != nil {
				return false, err
			}
			return v.(bool), nil
		}},
		{"Go, hand-written", func(r latchkey.Row) (bool, error) {
			amount, _ := r["amount"].(int64)
			status, _ := r["status"].(string)
			return r["region"] == "EU" && amount < 1000 && (status == "open" || status == "paid"), nil
		}},
	}, nil
}

// agreeOnRows checks that all matchers admit the same rows, and returns which.
func agreeOnRows(list []matcher, rows []latchkey.Row) (admitted []bool, err error) {
	for _, r := range rows {
		for i, m := range list {
			ok, err := m.match(r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			if i == 0 {
				admitted = append(admitted, ok)
			} else if ok != admitted[len(admitted)-1] {
				return nil, fmt.Errorf("%s answers %t for %v, and %s does not", m.name, ok, r, list[0].name)
			}
		}
	}
	if !slices.Contains(admitted, true) || !slices.Contains(admitted, false) {
		return nil, fmt.Errorf("the rows do not try the condition")
	}
	return admitted, nil
}

func benchMatch(b *bench) error {
	list, err := matchers()
	if err != nil {
		return err
	}
	rows := orderRows()
	admitted, err := agreeOnRows(list, rows)
	if err != nil {
		return err
	}
	var sides []measure.Side
	for _, m := range list {
		i := 0
		sides = append(sides, measure.Side{Name: m.name, Run: func(n int) error {
			for range n {
				if ok, err := m.match(rows[i]); err != nil || ok != admitted[i] {
					return fmt.Errorf("a wrong answer for %v: %w", rows[i], err)
				}
				if i++; i == len(rows) {
					i = 0
				}
			}
			return nil
		}})
	}
	results, err := b.compare("a condition of 3 terms on a row", sides...)
	if err != nil {
		return err
	}
	b.faster("Match, 3 terms", results[0], results[1], atLeast(8))
	b.faster("Match, 3 terms", results[0], results[2], goal{})
	b.amount("Match, 3 terms: allocations", results[0].Allocs, "", atMost(0))
	return nil
}

// writer is something that writes the statement that selects the rows of the condition.
type writer struct {
	name  string
	write func() (text string, args []any, err error)
}

// writers are latchkey from the caller's Access, and goqu. The first writes what a handler adds to a statement of its
// own, the others whole statements.
func writers(b *bench) ([]writer, error) {
	access, err := withRoles(b.ctx, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(ordersOfEU)})
	if err != nil {
		return nil, err
	}
	where := func() (string, []any, error) {
		rows, err := access.Filter(latchkey.Read, "dataset/orders")
		if err != nil {
			return "", nil, err
		}
		p, err := orders.Bind(rows)
		if err != nil {
			return "", nil, err
		}
		text, args := p.SQL(latchkey.SQLite, 1)
		return text, args, nil
	}
	dialect := goqu.Dialect("sqlite3")
	return []writer{
		{"latchkey Filter + Bind + SQL", where},
		{"the same, as a statement", func() (string, []any, error) {
			text, args, err := where()
			return "SELECT id FROM orders WHERE " + text, args, err
		}},
		{"goqu, prepared", func() (string, []any, error) {
			return dialect.From("orders").Prepared(true).Select("id").Where(goqu.C("region").Eq("EU"),
				goqu.C("amount").Lt(1000), goqu.C("status").In("open", "paid")).ToSQL()
		}},
	}, nil
}

// agreeOnStatements runs the whole statements on a table of rows, and checks that they select the same.
func agreeOnStatements(list []writer) (err error) {
	db, err := sql.Open("sqlite", "file::memory:")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection has a memory of its own
	const create = "CREATE TABLE orders (id INTEGER PRIMARY KEY, region TEXT, amount INTEGER, status TEXT)"
	if _, err := db.Exec(create); err != nil {
		return err
	}
	for _, r := range orderRows() {
		if _, err := db.Exec("INSERT INTO orders (region, amount, status) VALUES (?, ?, ?)",
			r["region"], r["amount"], r["status"]); err != nil {
			return err
		}
	}
	var first []int
	for i, w := range list {
		text, args, err := w.write()
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		var ids []int
		rows, err := db.Query(text, args...)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", w.name, text, err)
		}
		for rows.Next() {
			var id int
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		slices.Sort(ids)
		if i == 0 {
			first = ids
		}
		if len(ids) == 0 || !slices.Equal(ids, first) {
			return fmt.Errorf("%s selects %v, and %s %v", w.name, ids, list[0].name, first)
		}
	}
	return nil
}

func benchSQL(b *bench) error {
	list, err := writers(b)
	if err != nil {
		return err
	}
	if err := agreeOnStatements(list[1:]); err != nil {
		return err
	}
	var sides []measure.Side
	for _, w := range list {
		sides = append(sides, measure.Side{Name: w.name, Run: func(n int) error {
			for range n {
				if text, _, err := w.write(); err != nil || text == "" {
					return fmt.Errorf("no statement: %w", err)
				}
			}
			return nil
		}})
	}
	results, err := b.compare("a condition of 3 terms as SQL", sides...)
	if err != nil {
		return err
	}
	b.faster("Filter + Bind + SQL, as a statement", results[1], results[2], atLeast(12))
	b.amount("Filter + Bind + SQL: allocations", results[0].Allocs, "", atMost(3))
	return nil
}
