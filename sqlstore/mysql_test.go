package sqlstore

import (
	"database/sql"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A token's parent is read with a shared lock, without which it could be revoked meanwhile. TiDB has none unless the
// session lets it take exclusive ones instead.
func TestTiDBNeedsItsLocks(t *testing.T) {
	server := func(name, value string) *sql.DB {
		db := sql.OpenDB(fakeAnswers{
			{"VERSION()", "8.0.11-TiDB-v8.4.0"},
			{"SELECT DATABASE(),", "latchkey", time.Now().UnixMicro()},
			{"sql_select_limit", "sql_select_limit", unlimited},
			{"sql_big_selects", "sql_big_selects", "1"},
			{"SHOW SESSION VARIABLES", name, value},
		})
		t.Cleanup(func() { db.Close() })
		return db
	}
	for _, c := range []struct {
		name, value, says string
		reads             bool // refused for a reader too
	}{
		{tidbSharedLocks, "OFF", "add tidb_enable_shared_lock_promotion=1 to the DSN", false},
		{"tidb_txn_mode", "pessimistic", "this TiDB is too old: 8.3", true}, // the other setting is missing
		{"tidb_txn_mode", "optimistic", "tidb_txn_mode is optimistic", false},
		{"tidb_constraint_check_in_place_pessimistic", "OFF", "noticed too late", false},
		{"tidb_guarantee_linearizability", "OFF", "acknowledged before", true},
		{"tidb_low_resolution_tso", "ON", "old data", true},
		{"tidb_enable_external_ts_read", "ON", "old data", true},
		{"tidb_read_staleness", "-5", "tidb_read_staleness is -5, and reads would return old data", true},
		{"tidb_snapshot", "2026-11-22 10:00:00", "old data", true},
	} {
		db := server(c.name, c.value)
		_, err := New(t.Context(), db, latchkey.MySQL, nil)
		require.ErrorContains(t, err, c.says)
		require.ErrorContains(t, Migrate(t.Context(), db, latchkey.MySQL), c.says)
		if _, err = NewReplica(t.Context(), db, latchkey.MySQL); c.reads {
			require.ErrorContains(t, err, c.says)
		} else if c.name == tidbSharedLocks {
			require.ErrorContains(t, err, "no answer for SELECT table_name", "the session is good enough for a reader")
		}
	}
	for name, value := range map[string]string{tidbSharedLocks: "ON", "tidb_read_staleness": "0", "tidb_snapshot": "",
		"tidb_low_resolution_tso": "OFF", "tidb_guarantee_linearizability": "ON"} {
		require.ErrorContains(t, Migrate(t.Context(), server(name, value), latchkey.MySQL), "no answer for", name)
	}
}

// TiDB ignores SKIP LOCKED, and then locks nothing.
func TestTiDBSkipsNoLocks(t *testing.T) {
	for _, waits := range []bool{true, false} {
		answer := []any{"'tidb_txn_mode'", "tidb_txn_mode", "pessimistic"}
		if !waits {
			answer = answer[:1] // another engine has no such setting
		}
		db := sql.OpenDB(fakeAnswers{answer})
		defer db.Close()
		own := mysql
		require.NoError(t, own.adapt(t.Context(), db, &own))
		require.Equal(t, !waits, strings.Contains(own.forUpdateSkip, "SKIP"))
		require.Equal(t, !waits, strings.Contains(own.forShareSkip, "SKIP"))
		require.Equal(t, waits, own.mintWorkers == 0, "mints of other owners would wait too")
		require.Contains(t, mysql.forUpdateSkip, "SKIP")
	}
}

// "until" is a reserved word of TiDB, whose LIKE on information_schema ignores ESCAPE.
func TestMySQLStatementsForTiDB(t *testing.T) {
	require.Equal(t, "SET `until` = ? WHERE latchkey_changes_until.`until` > ?",
		mysql.render("SET until = ? WHERE latchkey_changes_until.until > ?"))
	db := sql.OpenDB(fakeAnswers{})
	defer db.Close()
	s, _, err := newStore(db, latchkey.MySQL, &Options{})
	require.NoError(t, err)
	require.Equal(t, "`until` = ?", s.render("until = ?"))
	require.Equal(t, "until = ?", sqlite.render("until = ?"))

	files, err := Migrations(latchkey.MySQL)
	require.NoError(t, err)
	names, err := fs.Glob(files, "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	bare := regexp.MustCompile("(?i)[^`_\"]\\buntil\\b[^`]")
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		for _, statement := range splitStatements(string(text)) {
			require.NotRegexp(t, bare, sqlComment.ReplaceAllString(statement, ""), name)
		}
	}
	for _, query := range []string{mysql.tables, mysql.tableFaults} {
		require.NotContains(t, query, "ESCAPE")
		require.Equal(t, strings.Count(query, "DATABASE()"), strings.Count(query, mysqlOwnTable))
	}
}
