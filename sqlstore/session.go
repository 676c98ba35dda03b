package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A session starts with settings of the DSN, the user, the database and the server. Some of them would break a Store
// only later, in an unrelated call, so they are refused by name. settings are the ones that an engine reports for a
// session. A setting that the engine does not have is missing.
type settings map[string]string

// rule is a setting that may be wrong.
type rule struct {
	name   string
	wrong  func(value string) bool
	why    string // continues "it is …, and"
	fix    string
	number bool // 0 and 1 are not off and on
	writes bool // it matters only to writers
}

func is(values ...string) func(string) bool {
	return func(v string) bool { return oneOf(strings.ToLower(v), values...) }
}

func isNot(value string) func(string) bool {
	return func(v string) bool { return !strings.EqualFold(v, value) }
}

// below reports a limit that is too low. 0 means no limit.
func below(least float64) func(string) bool {
	return func(v string) bool {
		n, err := strconv.ParseFloat(v, 64)
		return err == nil && n > 0 && n < least
	}
}

// lessThan reports a number that is too low, 0 included.
func lessThan(least float64) func(string) bool {
	return func(v string) bool {
		n, err := strconv.ParseFloat(v, 64)
		return err == nil && n < least
	}
}

// refuse returns an error for the first setting that is wrong.
func (s settings) refuse(rules []rule, writes bool) error {
	for _, r := range rules {
		value, found := s[r.name]
		if found && r.wrong(value) && (writes || !r.writes) {
			if switched := map[string]string{"1": "on", "0": "off"}[value]; !r.number && switched != "" {
				value = switched
			} else if is("on", "off")(value) {
				value = strings.ToLower(value)
			}
			return fmt.Errorf("%s is %s, and %s: %s", r.name, cmp.Or(value, "empty"), r.why,
				cmp.Or(r.fix, "remove it from the DSN, or from the settings of the user or the server"))
		}
	}
	return nil
}

func readSettings(ctx context.Context, db *sql.DB, query string) (settings, error) {
	set := settings{}
	rows, err := db.QueryContext(ctx, query)
	return set, eachRow(rows, err, func(rows *sql.Rows) error {
		var name, value sql.NullString
		err := rows.Scan(&name, &value)
		set[strings.ToLower(name.String)] = value.String
		return err
	})
}

// unlimited is MySQL's value for no limit of rows.
const unlimited = "18446744073709551615"

var mysqlRules = []rule{
	{name: "autocommit", wrong: is("off", "0"), why: "reads would return old data",
		fix: "remove autocommit=0 from the DSN"},
	{name: "sql_mode", wrong: sqlMode("EMPTY_STRING_IS_NULL"), why: "an empty text would be NULL",
		fix: "remove EMPTY_STRING_IS_NULL, on the server or in the DSN"},
	{name: "sql_mode", wrong: sqlMode("ORACLE"), why: "statements would have another meaning",
		fix: "remove ORACLE, on the server or in the DSN"},
	{name: "sql_mode", wrong: sqlMode("MSSQL"), why: "statements would have another meaning",
		fix: "remove MSSQL, on the server or in the DSN"},
	{name: "sql_mode", wrong: func(mode string) bool {
		return !sqlMode("STRICT_TRANS_TABLES")(mode) && !sqlMode("STRICT_ALL_TABLES")(mode)
	}, why: "a value that is too long would be truncated",
		fix: "add STRICT_TRANS_TABLES to it, on the server or in the DSN"},
	{name: "sql_safe_updates", wrong: is("on", "1"),
		why: "changes that the server considers unsafe would fail", writes: true},
	{name: "sql_select_limit", number: true, wrong: isNot(unlimited),
		why: "results would be truncated without an error"},
	{name: "sql_big_selects", wrong: is("off", "0"), why: "a read that the server considers too large would fail"},
	{name: "max_recursive_iterations", number: true, wrong: lessThan(1000),
		why: "inherited roles would be left out without an error",
		fix: "set it to 1000 or more"},
	{name: "cte_max_recursion_depth", number: true, wrong: lessThan(1000),
		why: "a role that inherits many roles could not be read",
		fix: "set it to 1000 or more"},
	{name: "max_sort_length", number: true, wrong: lessThan(1024),
		why: "long names would be sorted wrongly, and listings would miss some",
		fix: "set it to 1024 or more"},
	{name: "max_statement_time", number: true, wrong: below(1),
		why: "statements would be interrupted", fix: "set it to 0, or to at least one second"},
	{name: "max_execution_time", number: true, wrong: below(1000),
		why: "reads would be interrupted", fix: "set it to 0, or to at least 1000"},
	{name: "completion_type", wrong: func(v string) bool { return !is("no_chain", "0")(v) },
		why: "each commit would begin another transaction, in which reads return old data"},
	{name: "unique_checks", wrong: is("off", "0"), why: "two roles could have one name", writes: true},
	{name: "check_constraint_checks", wrong: is("off", "0"),
		why: "the tables would not check what is written", writes: true},
	{name: "tx_read_only", wrong: is("on", "1"), why: "the database cannot be written", writes: true},
	{name: "transaction_read_only", wrong: is("on", "1"), why: "the database cannot be written", writes: true},
	{name: "sql_log_bin", wrong: is("off", "0"),
		why: "writes, revocations included, would not reach replicas", writes: true},
	// The others are TiDB's.
	{name: tidbSharedLocks, wrong: is("off", "0"),
		why: "shared locks would be refused, or ignored, and a token could be minted from one that is being revoked",
		fix: "add " + tidbSharedLocks + "=1 to the DSN", writes: true},
	{name: "tidb_txn_mode", wrong: isNot("pessimistic"), why: "transactions would not lock what they read",
		fix: "add tidb_txn_mode='pessimistic' to the DSN", writes: true},
	{name: "tidb_constraint_check_in_place_pessimistic", wrong: is("off", "0"),
		why: "a key that is taken would be noticed too late", writes: true},
	{name: "tidb_guarantee_linearizability", wrong: is("off", "0"),
		why: "a read could miss a change that was acknowledged before it"},
	{name: "tidb_low_resolution_tso", wrong: is("on", "1"), why: "reads would return old data"},
	{name: "tidb_enable_external_ts_read", wrong: is("on", "1"), why: "reads would return old data"},
	{name: "tidb_read_staleness", number: true, wrong: isNot("0"), why: "reads would return old data"},
	{name: "tidb_snapshot", wrong: isNot(""), why: "reads would return old data"},
}

const tidbSharedLocks = "tidb_enable_shared_lock_promotion"

// sqlMode reports whether a mode is among those of sql_mode.
func sqlMode(mode string) func(string) bool {
	return func(modes string) bool {
		for one := range strings.SplitSeq(modes, ",") {
			if strings.EqualFold(strings.TrimSpace(one), mode) {
				return true
			}
		}
		return false
	}
}

func sessionMySQL(ctx context.Context, db *sql.DB, writes bool) error {
	// Separately, because with wrong values of these two the others could not be read.
	set, err := readSettings(ctx, db, `SELECT 'sql_select_limit', @@SESSION.sql_select_limit`)
	if err == nil {
		err = set.refuse(mysqlRules, writes)
	}
	if err == nil {
		set, err = readSettings(ctx, db, `SELECT 'sql_big_selects', @@SESSION.sql_big_selects`)
	}
	if err == nil {
		err = set.refuse(mysqlRules, writes)
	}
	if err == nil {
		set, err = readSettings(ctx, db, `SHOW SESSION VARIABLES`)
	}
	if err == nil {
		err = set.refuseMySQL(writes)
	}
	if err != nil {
		return err
	}
	return nil
}

// checkClockRuns refuses a session whose clock is stopped. SYSDATE is the server's clock, whatever the session's
// settings.
func checkClockRuns(ctx context.Context, db *sql.DB) error {
	var stands bool
	err := db.QueryRowContext(ctx, `SELECT ABS(TIMESTAMPDIFF(SECOND, NOW(), SYSDATE())) > 60`).Scan(&stands)
	if err == nil && stands {
		err = errors.New("timestamp is set in the session, so the database's clock is stopped: remove it from the DSN")
	}
	return err
}

func (s settings) refuseMySQL(writes bool) error {
	if err := s.refuse(mysqlRules, writes); err != nil {
		return err
	}
	client, connection := s["character_set_client"], s["character_set_connection"]
	_, tidb := s["tidb_txn_mode"]
	_, promotes := s[tidbSharedLocks]
	switch {
	case tidb && !promotes:
		return errors.New("this TiDB is too old: 8.3 or newer is needed, which has " + tidbSharedLocks)
	case client != connection: // the server would convert every argument, digests too
		return fmt.Errorf("character_set_client is %s and character_set_connection is %s, so bytes would be converted when "+
			"stored: remove the one that differs, or its collation, from the DSN", client, connection)
	case writes && is("on", "1")(s["log_bin"]) && is("statement")(s["binlog_format"]):
		return errors.New("binlog_format is STATEMENT, so the server would refuse the store's READ COMMITTED writes: set " +
			"it to ROW or MIXED on the server")
	}
	return nil
}

var postgresRules = []rule{
	{name: "default_transaction_read_only", wrong: is("on"), why: "the database cannot be written", writes: true},
	{name: "statement_timeout", number: true, wrong: below(1000), why: "statements would be interrupted",
		fix: "set it to 0, or to at least one second"},
	{name: "transaction_timeout", number: true, wrong: below(1000), why: "transactions would be ended",
		fix: "set it to 0, or to at least one second"},
	{name: "idle_in_transaction_session_timeout", number: true, wrong: below(1000),
		why: "transactions would be ended between statements",
		fix: "set it to 0, or to at least one second", writes: true},
	{name: "session_replication_role", wrong: is("replica"), why: "triggers would not be fired", writes: true},
	{name: "client_encoding", wrong: isNot("UTF8"),
		why: "text would be converted", fix: "set client_encoding=UTF8 in the DSN"},
	{name: "array_nulls", wrong: is("off"), why: "missing values would be written as the text NULL", writes: true},
	{name: "zero_damaged_pages", wrong: is("on"), why: "records on a damaged page would disappear without an error"},
	{name: "ignore_checksum_failure", wrong: is("on"), why: "a damaged page would be read as if it were whole"},
}

func sessionPostgres(ctx context.Context, db *sql.DB, writes bool) error {
	set, err := readSettings(ctx, db, `SELECT name, setting FROM pg_settings`)
	if err == nil {
		err = set.refuse(postgresRules, writes)
	}
	if err != nil {
		return err
	}
	var schema sql.NullString
	err = db.QueryRowContext(ctx, `SELECT CAST(current_schema() AS TEXT)`).Scan(&schema)
	if err == nil && !schema.Valid {
		err = fmt.Errorf("search_path is %q, and none of its schemas exists: create one, or name another in the DSN",
			set["search_path"])
	}
	if err != nil {
		return err
	}
	return checkPooler(ctx, db)
}
