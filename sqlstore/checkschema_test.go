package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/stretchr/testify/require"
)

// told is a database that answers each query with the row of the first word that the query holds.
type told [][]any // word, values …

func (a told) Connect(context.Context) (driver.Conn, error) { return toldConn{a}, nil }

func (a told) Driver() driver.Driver { return nil }

type toldConn struct{ told }

func (toldConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }

func (toldConn) Close() error { return nil }

func (toldConn) Begin() (driver.Tx, error) { return nil, errors.New("no transactions") }

func (c toldConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	for _, answer := range c.told {
		if strings.Contains(query, answer[0].(string)) {
			return &toldRows{answer[1:]}, nil
		}
	}
	return nil, errors.New("told nothing about " + query)
}

type toldRows struct{ row []any }

func (r *toldRows) Columns() []string { return make([]string, len(r.row)) }

func (*toldRows) Close() error { return nil }

func (r *toldRows) Next(to []driver.Value) error {
	if r.row == nil {
		return io.EOF
	}
	for i, v := range r.row {
		to[i] = v
	}
	r.row = nil
	return nil
}

// No TiDB, and nothing else that speaks the protocol of an engine and is another one, is taken for that engine.
func TestCheckSchemaKnowsEngines(t *testing.T) {
	schema := latchkey.NewSchema(latchkey.Fields{"v": {Column: "v", Type: latchkey.Text}})
	session := func(comment, mode string) []any {
		return []any{"@@version_comment", comment, "utf8mb4", "utf8mb4", "utf8mb4", mode}
	}
	column := []any{"information_schema.columns", "v", "varchar", "varchar(20)", "utf8mb4"}
	postgresColumn := []any{"pg_attribute", "v", "text", "text", int64(-1)}
	for about, c := range map[string]struct {
		dialect latchkey.Dialect
		answers told
		says    string
	}{
		"MariaDB": {latchkey.MySQL, told{{"VERSION()", "10.11.19-MariaDB"}, session("Debian",
			"STRICT_TRANS_TABLES"), column}, ""},
		"TiDB": {latchkey.MySQL, told{{"VERSION()", "8.0.11-TiDB-v8.4.0"}, session("TiDB Server", ""), column},
			"TiDB"},
		"TiDB, serverless": {latchkey.MySQL, told{{"VERSION()", "8.0.11-TiDB-v7.5.2-serverless"}, session("", ""), column},
			"TiDB"},
		"TiDB with another version": {latchkey.MySQL, told{{"VERSION()", "8.0.36"},
			session("TiDB Server (Apache License 2.0) Community Edition, MySQL 8.0 compatible", ""), column}, "TiDB"},
		"an empty text as NULL": {latchkey.MySQL, told{{"VERSION()", "10.11.19-MariaDB"},
			session("Debian", "STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL"), column}, "EMPTY_STRING_IS_NULL"},
		"PostgreSQL": {latchkey.Postgres, told{postgresColumn, {"version()", "PostgreSQL 15.20 on x86_64", "UTF8", "UTF8",
			int64(1)}}, ""},
		"CockroachDB": {latchkey.Postgres, told{postgresColumn, {"version()", "CockroachDB CCL v24.1.0", "UTF8", "UTF8",
			int64(1)}}, "CockroachDB"},
		"text in another encoding": {latchkey.Postgres, told{postgresColumn, {"version()", "PostgreSQL 15.20", "UTF8",
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
