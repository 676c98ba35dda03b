package rows

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// useAll calls once everything that a host uses of a store, so that what a session breaks shows.
func useAll(t *testing.T, db *sql.DB, d latchkey.Dialect) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, sqlstore.Migrate(ctx, db, d))
	s, err := sqlstore.New(ctx, db, d, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	keys := latchkey.New(s, nil)
	acme := keys.For("acme")
	up := ""
	for i := range 8 { // each inherits the one before
		r := latchkey.Role{Name: fmt.Sprintf("role %d", i), Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("dataset/%d", i)))}}
		if up != "" {
			r.Inherits = []string{up}
		}
		r, err := acme.CreateRole(ctx, r)
		require.NoError(t, err)
		up = r.ID
	}
	var ids []string
	var secret latchkey.Secret
	for range 4 {
		var token latchkey.Token
		token, secret, err = acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Name: "ÄÖ" + strings.Repeat("x", 100), Roles: []string{up},
			Limits: latchkey.Limits{Quotas: world.Monthly(1_000_000)}})
		require.NoError(t, err)
		ids = append(ids, token.ID)
	}
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	for i := range 8 {
		require.True(t, access.Allows(latchkey.Read, latchkey.Resource(fmt.Sprintf("dataset/%d", i))), i)
	}
	_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "42",
		Name: "Ada"}})
	require.NoError(t, err)
	childAccess, err := keys.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
	require.NoError(t, err)
	_, err = childAccess.Spend(ctx, "m", "GET /a", 5)
	require.NoError(t, err)
	usage, err := acme.Usage(ctx, latchkey.UsageQuery{By: []string{"meter"}})
	require.NoError(t, err)
	require.NotEmpty(t, usage)
	require.Equal(t, ids, tokenIDs(t, acme, latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindAPIKey},
		States: []latchkey.State{latchkey.Active}}))
	require.Len(t, tokenIDs(t, acme, latchkey.TokenQuery{Search: "ÄÖ"}), 4)
	_, err = acme.Update(ctx, ids[0], func(t *latchkey.Token) error { t.Name = ""; return nil })
	require.NoError(t, err)
	got, err := acme.Get(ctx, ids[0])
	require.NoError(t, err)
	require.Empty(t, got.Name)
	_, err = acme.Rotate(ctx, ids[1], 0)
	require.NoError(t, err)
	const extra = `"\\ ' \u0000 ß"` // what a session's settings may read otherwise
	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Extra = []byte(extra)
		return nil
	}))
	owner, err := acme.Record(ctx)
	require.NoError(t, err)
	require.Equal(t, extra, string(owner.Extra))
	require.NoError(t, acme.Revoke(ctx, ids[3], `left the "company" \ 'now'`))
	_, err = keys.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
	require.ErrorIs(t, err, latchkey.ErrParent)
	require.NoError(t, acme.Delete(ctx, ids[3]))
	events := 0
	for _, err := range acme.Events(ctx, latchkey.EventQuery{}) {
		require.NoError(t, err)
		events++
	}
	require.Greater(t, events, 12)
	_, err = s.Purge(ctx, latchkey.PurgePolicy{Now: time.Now().Add(1000 * time.Hour)}, 1000)
	require.NoError(t, err)
	require.NoError(t, acme.Erase(ctx))
	require.NoError(t, keys.Close(ctx))
	require.NoError(t, sqlstore.Migrate(ctx, db, d))
}

func tokenIDs(t *testing.T, a latchkey.Account, q latchkey.TokenQuery) (ids []string) {
	t.Helper()
	for token, err := range a.Tokens(t.Context(), q) {
		require.NoError(t, err)
		ids = append(ids, token.ID)
	}
	return ids
}

// session is a setting that a session begins with. says is what New and Migrate refuse it with; "": all works under it.
type session struct{ name, value, says string }

var sessions = map[*harness.Engine][]session{
	harness.MariaDB: {
		{"sql_mode", "'STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL'", "EMPTY_STRING_IS_NULL"},
		{"sql_mode", "'ORACLE,STRICT_TRANS_TABLES'", "ORACLE"},
		{"sql_mode", "'MSSQL,STRICT_TRANS_TABLES'", "MSSQL"},
		{"sql_mode", "''", "STRICT_TRANS_TABLES"},
		{"sql_mode", "'STRICT_ALL_TABLES'", ""},
		{"sql_mode", "'TRADITIONAL'", ""},
		{"sql_mode", "'ANSI,STRICT_TRANS_TABLES'", ""},
		{"sql_mode", "'DB2,STRICT_TRANS_TABLES'", ""},
		{"sql_mode", "'POSTGRESQL,STRICT_TRANS_TABLES'", ""},
		{"sql_mode", "'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,PAD_CHAR_TO_FULL_LENGTH," +
			"IGNORE_SPACE,NO_UNSIGNED_SUBTRACTION,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE,ONLY_FULL_GROUP_BY," +
			"NO_AUTO_VALUE_ON_ZERO,TIME_ROUND_FRACTIONAL'", ""},
		{"sql_mode", "'STRICT_TRANS_TABLES,SIMULTANEOUS_ASSIGNMENT'", ""},
		{"sql_safe_updates", "1", "sql_safe_updates is on"},
		{"sql_select_limit", "1", "sql_select_limit is 1"},
		{"sql_select_limit", "100000", "sql_select_limit"},
		{"sql_big_selects", "0", "sql_big_selects is off"},
		{"max_join_size", "1", "sql_big_selects is off"},
		{"max_recursive_iterations", "3", "max_recursive_iterations is 3"},
		{"max_sort_length", "64", "max_sort_length is 64"},
		{"max_statement_time", "0.001", "max_statement_time"},
		{"max_statement_time", "30", ""},
		{"completion_type", "1", "completion_type is CHAIN"},
		{"completion_type", "2", "completion_type is RELEASE"},
		{"unique_checks", "0", "unique_checks is off"},
		{"check_constraint_checks", "0", "check_constraint_checks is off"},
		{"foreign_key_checks", "0", ""},
		{"tx_read_only", "1", "tx_read_only is on"},
		{"autocommit", "0", "autocommit is off"},
		{"sql_log_bin", "0", "sql_log_bin is off"},
		{"timestamp", "1", "timestamp is set"},
		{"tx_isolation", "'SERIALIZABLE'", ""},
		{"tx_isolation", "'READ-COMMITTED'", ""},
		{"big_tables", "1", ""},
		{"lock_wait_timeout", "1", ""},
		{"innodb_lock_wait_timeout", "1", ""},
		{"div_precision_increment", "0", ""},
		{"group_concat_max_len", "4", ""},
		{"old_mode", "'NO_DUP_KEY_WARNINGS_WITH_IGNORE,ZERO_DATE_TIME_CAST'", ""},
		{"time_zone", "'-11:00'", ""},
		{"character_set_results", "'latin1'", ""},
		{"collation_connection", "'utf8mb4_bin'", ""},
		{"low_priority_updates", "1", ""},
		{"sql_auto_is_null", "1", ""},
		{"sql_if_exists", "1", ""},
		{"innodb_strict_mode", "0", ""},
		{"max_length_for_sort_data", "4", ""},
		{"tmp_memory_table_size", "0", ""},
		{"join_cache_level", "0", ""},
		{"optimizer_search_depth", "0", ""},
		{"wait_timeout", "1", ""},
		{"idle_transaction_timeout", "1", ""},
		{"default_storage_engine", "'MyISAM'", ""},
		{"query_cache_type", "0", ""},
	},
	harness.Postgres: {
		{"default_transaction_read_only", "on", "default_transaction_read_only is on"},
		{"default_transaction_deferrable", "on", ""},
		{"default_transaction_isolation", "serializable", ""},
		{"default_transaction_isolation", "read uncommitted", ""},
		{"statement_timeout", "20", "statement_timeout"},
		{"statement_timeout", "60s", ""},
		{"lock_timeout", "5", ""},
		{"idle_in_transaction_session_timeout", "500", "idle_in_transaction_session_timeout is 500"},
		{"idle_in_transaction_session_timeout", "30s", ""},
		{"idle_session_timeout", "1s", ""},
		{"search_path", "", "search_path is"},
		{"search_path", "nowhere", "search_path is"},
		{"client_encoding", "LATIN1", "client_encoding is LATIN1"},
		{"array_nulls", "off", "array_nulls is off"},
		{"zero_damaged_pages", "on", "zero_damaged_pages is on"},
		{"ignore_checksum_failure", "on", "ignore_checksum_failure is on"},
		{"row_security", "off", ""},
		{"standard_conforming_strings", "off", ""},
		{"bytea_output", "escape", ""},
		{"session_replication_role", "replica", "session_replication_role is replica"},
		{"transform_null_equals", "on", ""},
		{"quote_all_identifiers", "on", ""},
		{"backslash_quote", "off", ""},
		{"IntervalStyle", "iso_8601", ""},
		{"DateStyle", "German, DMY", ""},
		{"TimeZone", "Asia/Kolkata", ""},
		{"extra_float_digits", "-15", ""},
		{"plan_cache_mode", "force_custom_plan", ""},
		{"work_mem", "64", ""},
		{"enable_indexscan", "off", ""},
		{"from_collapse_limit", "1", ""},
		{"force_parallel_mode", "on", ""},
		{"default_with_oids", "off", ""},
		{"synchronous_commit", "local", ""},
		{"exit_on_error", "off", ""},
		{"xmloption", "document", ""},
		{"lc_messages", "C", ""},
	},
}

// What a user or a server sets for every session is refused like what a DSN sets.
func TestSessionsOfTheServer(t *testing.T) {
	ctx := context.Background()
	t.Run("ALTER ROLE", func(t *testing.T) {
		place := harness.Postgres.Place(t)
		if harness.Postgres.Process == nil {
			return // on a server that is not ours nothing is set
		}
		harness.Postgres.Exec(t, "CREATE ROLE lk_sessions SUPERUSER LOGIN")
		dsn := harness.Postgres.With(t, place, "user", "lk_sessions")
		for _, c := range sessions[harness.Postgres] {
			if c.says == "" || c.name == "client_encoding" { // which the driver sets itself
				continue
			}
			harness.Postgres.Exec(t, "ALTER ROLE lk_sessions SET "+c.name+" = '"+c.value+"'")
			if c.name == "search_path" {
				dsn = strings.ReplaceAll(dsn, "search_path=", "application_name=")
			}
			err := sqlstore.Migrate(ctx, harness.Postgres.Open(t, dsn), latchkey.Postgres)
			harness.Postgres.Exec(t, "ALTER ROLE lk_sessions RESET ALL")
			require.ErrorContains(t, err, c.says)
		}
	})
	t.Run("SET GLOBAL", func(t *testing.T) {
		place := harness.MariaDB.Place(t)
		if harness.MariaDB.Process == nil {
			return
		}
		for _, c := range sessions[harness.MariaDB] {
			switch c.name { // the others are for one session, and autocommit is what the driver sets
			case "sql_mode", "sql_select_limit", "max_recursive_iterations", "max_sort_length", "completion_type",
				"tx_read_only":
			default:
				continue
			}
			if c.says == "" {
				continue
			}
			var was string
			require.NoError(t, harness.MariaDB.Admin.QueryRow("SELECT @@GLOBAL."+c.name).Scan(&was))
			harness.MariaDB.Exec(t, "SET GLOBAL "+c.name+" = "+c.value)
			err := sqlstore.Migrate(ctx, harness.MariaDB.Open(t, place), latchkey.MySQL)
			back := was
			if c.name == "sql_mode" || c.name == "completion_type" {
				back = "'" + was + "'"
			}
			harness.MariaDB.Exec(t, "SET GLOBAL "+c.name+" = "+back)
			require.ErrorContains(t, err, c.says)
		}
	})
}

// Row security hides rows from a user that does not own the tables, without an error.
func TestSessionsRowSecurity(t *testing.T) {
	ctx := t.Context()
	place := harness.Postgres.Place(t)
	if harness.Postgres.Process == nil {
		return
	}
	db := harness.Postgres.Open(t, place)
	require.NoError(t, sqlstore.Migrate(ctx, db, latchkey.Postgres))
	_, err := db.Exec("ALTER TABLE latchkey_tokens ENABLE ROW LEVEL SECURITY")
	require.NoError(t, err)
	s, err := sqlstore.New(ctx, db, latchkey.Postgres, nil)
	require.NoError(t, err, "a superuser is above it")
	require.NoError(t, s.Close())
	harness.Postgres.Exec(t, "CREATE ROLE lk_plain LOGIN")
	var schema string
	require.NoError(t, db.QueryRow("SELECT current_schema()").Scan(&schema))
	for _, grant := range []string{"GRANT USAGE ON SCHEMA " + schema + " TO lk_plain",
		"GRANT ALL ON ALL TABLES IN SCHEMA " + schema + " TO lk_plain"} {
		harness.Postgres.Exec(t, grant)
	}
	_, err = sqlstore.New(ctx, harness.Postgres.Open(t, harness.Postgres.With(t, place, "user", "lk_plain")),
		latchkey.Postgres, nil)
	require.ErrorContains(t, err, "latchkey_tokens has row security")
	_, err = db.Exec("ALTER TABLE latchkey_tokens DISABLE ROW LEVEL SECURITY")
	require.NoError(t, err)
	s, err = sqlstore.New(ctx, harness.Postgres.Open(t, harness.Postgres.With(t, place, "user", "lk_plain")),
		latchkey.Postgres, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// With any session that New and Migrate accept, everything works. Both refuse the others by name, before anything is
// changed. Sampled: LONG=1 tries all that are accepted.
func TestSessions(t *testing.T) {
	ctx := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		for _, c := range sessions[e] {
			if c.says == "" && !harness.Sampled(3) {
				continue
			}
			t.Run(c.name+"="+c.value, func(t *testing.T) {
				place := e.Place(t)
				db := e.Open(t, e.With(t, place, c.name, c.value))
				if c.says == "" {
					useAll(t, db, e.Dialect)
					return
				}
				require.ErrorContains(t, sqlstore.Migrate(ctx, db, e.Dialect), c.says)
				_, err := sqlstore.New(ctx, e.Open(t, place), e.Dialect, nil)
				require.ErrorContains(t, err, "run sqlstore.Migrate")
				require.NoError(t, sqlstore.Migrate(ctx, e.Open(t, place), e.Dialect))
				_, err = sqlstore.New(ctx, db, e.Dialect, nil)
				require.ErrorContains(t, err, c.says)
			})
		}
	})
}
