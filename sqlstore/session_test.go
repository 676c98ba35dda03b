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

// saying is a server that says which version it is, and answers nothing else.
type saying struct{ version string }

func (s saying) Connect(context.Context) (driver.Conn, error) { return s, nil }
func (s saying) Driver() driver.Driver                        { return nil }
func (s saying) Prepare(string) (driver.Stmt, error)          { return nil, errors.New("no statements here") }
func (s saying) Close() error                                 { return nil }
func (s saying) Begin() (driver.Tx, error)                    { return nil, errors.New("no transactions here") }

func (s saying) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if !strings.Contains(query, "VERSION()") {
		return nil, errors.New("only the version is known here")
	}
	return &oneRow{values: []driver.Value{s.version, "utf8mb4"}[:1+strings.Count(query, ",")]}, nil
}

type oneRow struct {
	values []driver.Value
	done   bool
}

func (r *oneRow) Columns() []string { return make([]string, len(r.values)) }
func (r *oneRow) Close() error      { return nil }

func (r *oneRow) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done = true
	copy(dest, r.values)
	return nil
}

func TestTiDBIsRefusedByName(t *testing.T) {
	db := sql.OpenDB(saying{"8.0.11-TiDB-v8.5.1"})
	defer db.Close()
	_, err := New(t.Context(), db, latchkey.MySQL, nil)
	require.ErrorContains(t, err, "this is TiDB")
	require.ErrorContains(t, Migrate(t.Context(), db, latchkey.MySQL), "this is TiDB")
	_, err = NewReplica(t.Context(), db, latchkey.MySQL)
	require.ErrorContains(t, err, "this is TiDB")
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})
	require.ErrorContains(t, CheckSchema(t.Context(), db, latchkey.MySQL, "orders", schema), "this is TiDB")
	db2 := sql.OpenDB(saying{"10.11.6-MariaDB"})
	defer db2.Close()
	_, err = New(t.Context(), db2, latchkey.MySQL, nil)
	require.ErrorContains(t, err, "only the version is known here", "the others are asked for more")
}

// Settings that cannot be had on the servers of the tests.
func TestSettingsAreRefused(t *testing.T) {
	good := settings{"sql_mode": "STRICT_TRANS_TABLES", "sql_select_limit": unlimited, "max_statement_time": "0.000000",
		"character_set_client": "utf8mb4", "character_set_connection": "utf8mb4"}
	require.NoError(t, good.refuseMySQL(true))
	for _, c := range []struct {
		name, value string
		reads       bool // refused to who only reads, too
	}{
		{"sql_log_bin", "OFF", false},
		{"cte_max_recursion_depth", "10", true},
		{"max_execution_time", "1", true},
		{"transaction_read_only", "ON", false},
		{"sql_mode", "EMPTY_STRING_IS_NULL,STRICT_ALL_TABLES", true},
		{"sql_mode", "", true},
		{"max_sort_length", "8", true},
	} {
		bad := settings{}
		for name, value := range good {
			bad[name] = value
		}
		bad[c.name] = c.value
		require.ErrorContains(t, bad.refuseMySQL(true), c.name+" is ")
		if err := bad.refuseMySQL(false); c.reads {
			require.ErrorContains(t, err, c.name+" is ")
		} else {
			require.NoError(t, err)
		}
	}
	good["log_bin"], good["binlog_format"] = "ON", "STATEMENT"
	require.ErrorContains(t, good.refuseMySQL(true), "binlog_format is STATEMENT")
	require.NoError(t, good.refuseMySQL(false))
	good["log_bin"] = "OFF"
	require.NoError(t, good.refuseMySQL(true))
	require.ErrorContains(t, settings{"transaction_timeout": "10"}.refuse(postgresRules, true),
		"transaction_timeout is 10")
	require.NoError(t, settings{"transaction_timeout": "0"}.refuse(postgresRules, true))
}

// pgError is an error with the code of PostgreSQL.
type pgError struct{ code, text string }

func (c pgError) Error() string    { return c.text }
func (c pgError) SQLState() string { return c.code }

func TestExplained(t *testing.T) {
	for err, want := range map[error]error{
		pgError{"42P05", "prepared statement exists"}:                           errPrepares,
		pgError{"26000", "prepared statement does not exist"}:                   errPrepares,
		pgError{"57014", "canceling statement due to statement timeout"}:        errCutOff,
		errors.New("Error 1969 (70100): Query execution was interrupted"):       errCutOff,
		errors.New("Error 3024 (HY000): maximum statement execution time"):      errCutOff,
		pgError{"57014", "canceling statement due to user request"}:             nil,
		pgError{"23505", "duplicate key"}:                                       nil,
		errors.New("Error 1062 (23000): Duplicate entry 'x' for key 'PRIMARY'"): nil,
	} {
		got := explained(err)
		require.ErrorIs(t, got, err)
		if want != nil {
			require.ErrorIs(t, got, want)
			require.Equal(t, got, explained(got), "once is enough")
		} else {
			require.Equal(t, err, got)
		}
	}
}
