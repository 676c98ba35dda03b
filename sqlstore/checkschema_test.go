package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// fakeAnswers is a database. It answers each query with the row of the first entry whose word the query contains.
type fakeAnswers [][]any // word, values …

func (a fakeAnswers) Connect(context.Context) (driver.Conn, error) { return fakeConn{a}, nil }

func (a fakeAnswers) Driver() driver.Driver { return nil }

type fakeConn struct{ fakeAnswers }

func (fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }

func (fakeConn) Close() error { return nil }

func (fakeConn) Begin() (driver.Tx, error) { return nil, errors.New("no transactions") }

func (c fakeConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	for _, answer := range c.fakeAnswers {
		if strings.Contains(query, answer[0].(string)) {
			return &fakeRows{answer[1:]}, nil
		}
	}
	return nil, errors.New("no answer for " + query)
}

type fakeRows struct{ row []any }

func (r *fakeRows) Columns() []string { return make([]string, len(r.row)) }

func (*fakeRows) Close() error { return nil }

func (r *fakeRows) Next(to []driver.Value) error {
	if len(r.row) == 0 {
		return io.EOF
	}
	for i, v := range r.row {
		to[i] = v
	}
	r.row = nil
	return nil
}

// Another engine that speaks the protocol of an engine, such as TiDB, is refused.
func TestCheckSchemaRefusesOtherEngines(t *testing.T) {
	schema := latchkey.NewSchema(latchkey.Fields{"v": {Column: "v", Type: latchkey.Text}})
	session := func(comment, mode string) []any {
		return []any{"@@version_comment", comment, "utf8mb4", "utf8mb4", "utf8mb4", mode}
	}
	column := []any{"information_schema.columns", "v", "varchar", "varchar(20)", "utf8mb4"}
	postgresColumn := []any{"pg_attribute", "v", "text", "text", int64(-1)}
	for about, c := range map[string]struct {
		dialect latchkey.Dialect
		answers fakeAnswers
		says    string
	}{
		"MariaDB": {latchkey.MySQL, fakeAnswers{{"VERSION()", "10.11.19-MariaDB"}, session("Debian",
			"STRICT_TRANS_TABLES"), column}, ""},
		"TiDB": {latchkey.MySQL, fakeAnswers{{"VERSION()", "8.0.11-TiDB-v8.4.0"}, session("TiDB Server", ""), column},
			"TiDB"},
		"TiDB, serverless": {latchkey.MySQL, fakeAnswers{{"VERSION()", "8.0.11-TiDB-v7.5.2-serverless"},
			session("", ""), column}, "TiDB"},
		"TiDB with another version": {latchkey.MySQL, fakeAnswers{{"VERSION()", "8.0.36"},
			session("TiDB Server (Apache License 2.0) Community Edition, MySQL 8.0 compatible", ""), column}, "TiDB"},
		"an empty text as NULL": {latchkey.MySQL, fakeAnswers{{"VERSION()", "10.11.19-MariaDB"},
			session("Debian", "STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL"), column}, "EMPTY_STRING_IS_NULL"},
		"PostgreSQL": {latchkey.Postgres, fakeAnswers{postgresColumn,
			{"version()", "PostgreSQL 15.20 on x86_64", "UTF8", "UTF8", int64(1)}}, ""},
		"CockroachDB": {latchkey.Postgres, fakeAnswers{postgresColumn,
			{"version()", "CockroachDB CCL v24.1.0", "UTF8", "UTF8", int64(1)}}, "CockroachDB"},
		"text in another encoding": {latchkey.Postgres, fakeAnswers{postgresColumn, {"version()", "PostgreSQL 15.20", "UTF8",
			"WIN1252", int64(1)}},
			"client_encoding is WIN1252"},
	} {
		t.Run(about, func(t *testing.T) {
			db := sql.OpenDB(c.answers)
			defer db.Close()
			err := CheckSchema(t.Context(), db, c.dialect, "orders", schema)
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}
