package sqlstore

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bulkTable is a table that takes many rows in one statement.
type bulkTable struct {
	name    string
	columns []string
	types   []string // names of PostgreSQL
	// onConflict ends the INSERT for rows that may exist. It is nil if each row must be new.
	onConflict func(d *dialect) string
}

func newBulkTable(name, columns string, end func(d *dialect) string) *bulkTable {
	t := &bulkTable{name: name, onConflict: end}
	for _, column := range strings.Split(columns, ",") {
		words := strings.Fields(column)
		t.columns, t.types = append(t.columns, words[0]), append(t.types, words[1])
	}
	return t
}

var (
	writeRows = newBulkTable("latchkey_writes", "owner text, id bytea, epoch bigint, at bigint", nil)
	tokenRows = newBulkTable("latchkey_tokens", `owner text, id text, version bigint, kind smallint, parent text,
		origin text, name text, client_id text, created bigint, not_before bigint, not_after bigint, idle bigint,
		disabled smallint, revoked bigint, hint text, owner_version bigint, record bytea, used bigint`, nil)
	tokenRoleRows = newBulkTable("latchkey_token_roles", "owner text, token_id text, role_id text", nil)
	secretRows    = newBulkTable("latchkey_secrets", `digest bytea, owner text, token_id text, signing smallint,
		not_after bigint, head bigint, owner_version bigint, found bytea`, nil)
	eventRows = newBulkTable("latchkey_events", `owner text, seq bigint, at bigint, actor text, origin text, action text,
		object text, reason text, old bytea, new bytea, prev bytea, hash bytea`, nil)
	eventSeqRows = newBulkTable("latchkey_event_seqs", "owner text, seq bigint, head bytea", func(d *dialect) string {
		return d.onConflictUpdate("owner", "seq = excluded.seq, head = excluded.head")
	})
	liveRows = newBulkTable("latchkey_live", "owner text, parent text, live bigint, owner_version bigint, oldest text",
		func(d *dialect) string {
			return d.onConflictUpdate("owner, parent",
				"live = excluded.live, owner_version = excluded.owner_version, oldest = excluded.oldest")
		})
	clientRows = newBulkTable("latchkey_clients", "owner text, id text, name text", func(d *dialect) string {
		return d.onConflictUpdate("owner, id", "name = excluded.name")
	})
	// namelessRows hold clients without a name. The name of a known client stays.
	namelessRows = newBulkTable("latchkey_clients", "owner text, id text, name text", func(d *dialect) string {
		if d.ifAbsent != "" {
			return d.ifAbsent
		}
		return d.onConflictUpdate("owner, id", "name = latchkey_clients.name")
	})
)

// bulkRows is rows for one table.
type bulkRows struct {
	*bulkTable
	rows [][]any
}

// insertRows inserts all of them. A row that exists is an error, unless its table has onConflict. After an error the
// transaction cannot be used.
func (t *tx) insertRows(sets ...bulkRows) error {
	sets = slices.DeleteFunc(sets, func(s bulkRows) bool { return len(s.rows) == 0 })
	if len(sets) == 0 {
		return nil
	}
	if t.dialect().arrays {
		return t.insertArrays(sets)
	}
	for _, s := range sets {
		if err := t.insertValues(s); err != nil {
			return err
		}
	}
	return nil
}

// insertValues inserts with VALUES. Row counts are powers of two, so that there are few statement texts.
func (t *tx) insertValues(s bulkRows) error {
	row := `(?` + strings.Repeat(`, ?`, len(s.columns)-1) + `)`
	insert, end := t.dialect().insertOrFail, ""
	if s.onConflict != nil {
		insert, end = `INSERT`, s.onConflict(t.dialect())
	}
	head := insert + ` INTO ` + s.name + ` (` + strings.Join(s.columns, `, `) + `) VALUES ` + row
	for size, rows := t.dialect().bulkRows, s.rows; len(rows) > 0; rows = rows[size:] {
		for size > len(rows) {
			size /= 2
		}
		n, err := t.exec(head+strings.Repeat(`, `+row, size-1)+end, slices.Concat(rows[:size]...)...)
		if err == nil && s.onConflict == nil && n != int64(size) {
			err = fmt.Errorf("%d rows of %s were inserted instead of %d", n, s.name, size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// insertArrays inserts all rows with one statement. Its text is the same for any number of rows.
func (t *tx) insertArrays(sets []bulkRows) error {
	var text, counts strings.Builder
	var args []any
	want := 0
	for i, s := range sets {
		if i > 0 {
			text.WriteString(`, `)
		}
		fmt.Fprintf(&text, `r%d AS (%s`, i, t.insertFromArrays(s.bulkTable, ``))
		args = append(args, arraysOf(s)...)
		if s.onConflict != nil {
			text.WriteByte(')')
			continue
		}
		text.WriteString(` RETURNING 1)`)
		fmt.Fprintf(&counts, ` + (SELECT count(*) FROM r%d)`, i)
		want += len(s.rows)
	}
	n := -1
	_, err := t.row(`WITH `+text.String()+` SELECT 0`+counts.String(), args, &n)
	if err == nil && n != want {
		err = fmt.Errorf("%d rows were inserted instead of %d", n, want)
	}
	return err
}

// insertFromArrays returns an INSERT of rows given as an array for each column.
func (t *tx) insertFromArrays(table *bulkTable, where string) string {
	arrays := make([]string, len(table.types))
	for i, typ := range table.types {
		arrays[i] = `CAST(? AS ` + typ + `[])`
	}
	text := `INSERT INTO ` + table.name + ` (` + strings.Join(table.columns, `, `) + `) SELECT * FROM unnest(` +
		strings.Join(arrays, `, `) + `)` + where
	if table.onConflict != nil {
		text += table.onConflict(t.dialect())
	}
	return text
}

// arraysOf returns the columns of rows as arrays.
func arraysOf(s bulkRows) (args []any) {
	for c := range s.types {
		args = append(args, arrayOf(s.rows, c))
	}
	return args
}

// arrayOf returns a column of rows as a PostgreSQL array literal. Any driver passes it on as text.
func arrayOf(rows [][]any, column int) string {
	b := make([]byte, 0, 16*len(rows))
	b = append(b, '{')
	for i, row := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		switch v := row[column].(type) {
		case nil, noNumber, noBytes:
			b = append(b, "NULL"...)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case int:
			b = strconv.AppendInt(b, int64(v), 10)
		case []byte:
			b = append(b, `"\\x`...)
			b = hex.AppendEncode(b, v)
			b = append(b, '"')
		case string:
			b = append(b, '"')
			for i := range len(v) {
				if v[i] == '"' || v[i] == '\\' {
					b = append(b, '\\')
				}
				b = append(b, v[i])
			}
			b = append(b, '"')
		default:
			panic(fmt.Sprintf("sqlstore: %T in an array", v))
		}
	}
	return string(append(b, '}'))
}
