package rows

import (
	"database/sql"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Each setting on which SQL and memory might differ is either refused by CheckSchema, by name, or shown to be harmless.

// timesCase is a column that a driver writes times to.
type timesCase struct {
	about, dsn, ddl string
	typ             latchkey.FieldType
	refused         string // what the refusal says; "": SQL and memory agree
}

func checkTimes(t *testing.T, e *harness.Engine, cases []timesCase) {
	for _, c := range cases {
		t.Run(c.about+", "+c.ddl, func(t *testing.T) {
			db := e.Open(t, c.dsn)
			_, err := db.Exec("CREATE TABLE times (id INTEGER PRIMARY KEY, at " + c.ddl + ")")
			require.NoError(t, err)
			before := world.Objects(t, e, db)
			schema := latchkey.NewSchema(latchkey.Fields{"at": {Column: "at", Type: c.typ}})
			err = sqlstore.CheckSchema(t.Context(), db, e.Dialect, "times", schema)
			require.Equal(t, before, world.Objects(t, e, db), "it leaves nothing behind")
			if c.refused != "" {
				require.ErrorContains(t, err, c.refused)
				require.ErrorContains(t, err, `field "at"`)
				return
			}
			require.NoError(t, err)
			moment := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
			layout, step := time.RFC3339Nano, time.Microsecond
			if c.typ == latchkey.Date {
				moment, layout, step = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), time.DateOnly, 24*time.Hour
			}
			insert := "INSERT INTO times VALUES (" + placeholder(e.Dialect, 1) + ", " + placeholder(e.Dialect, 2) + ")"
			written := []time.Time{moment.Add(-step), moment, moment.Add(step)}
			if c.typ == latchkey.DateTime {
				written = append(written, moment.In(time.FixedZone("", 19800)), moment.Add(-1).In(time.FixedZone("CET", 3600)),
					moment.Add(1),
					moment.Add(1500))
			}
			textOnly := strings.Contains(c.ddl, "TEXT")
			for i, at := range written {
				var value any = at
				if textOnly {
					value = at.UTC().Format(layout)
				}
				_, err := db.Exec(insert, i, value)
				require.NoError(t, err)
			}
			for _, op := range conditionOps[c.typ][:6] {
				p, err := schema.Bind(latchkey.Where("at", op, moment.Format(layout)))
				require.NoError(t, err)
				where, args := p.SQL(e.Dialect, 1)
				got := queryIDs(t, db, "SELECT id FROM times WHERE "+where, args...)
				for i, at := range written {
					var read any
					require.NoError(t, db.QueryRow("SELECT at FROM times WHERE id = "+placeholder(e.Dialect, 1), i).Scan(&read))
					require.Equal(t, got[i], p.Match(latchkey.Row{"at": read}), "%s of %s, read as %v: SQL and memory", op, at, read)
					if at.Nanosecond()%1000 == 0 {
						require.Equal(t, map[latchkey.Op]bool{latchkey.Eq: at.Equal(moment), latchkey.Ne: !at.Equal(moment),
							latchkey.Lt: at.Before(moment), latchkey.Le: !at.After(moment), latchkey.Gt: at.After(moment),
							latchkey.Ge: !at.Before(moment)}[op], got[i], "%s of %s", op, at)
					}
				}
			}
		})
	}
}

const asTEXT = "declare the column TEXT"

// sqliteTimes are the cases of one driver of SQLite. Of forms are the settings under which a time.Time is compared.
func sqliteTimes(t *testing.T, plain string, settings map[string]bool) (cases []timesCase) {
	for setting, compared := range settings {
		for ddl, typ := range map[string]latchkey.FieldType{"DATETIME": latchkey.DateTime, "TIMESTAMP": latchkey.DateTime,
			"datetime": latchkey.DateTime, "DATE": latchkey.Date} {
			refused := asTEXT
			if compared && typ == latchkey.DateTime {
				refused = ""
			}
			cases = append(cases, timesCase{setting, "file:" + harness.NewFile(t) + plain + setting, ddl, typ, refused})
		}
		cases = append(cases,
			timesCase{setting, "file:" + harness.NewFile(t) + plain + setting, "TEXT", latchkey.DateTime, ""},
			timesCase{setting, "file:" + harness.NewFile(t) + plain + setting, "TEXT", latchkey.Date, ""})
	}
	return cases
}

func TestTimesOfModernc(t *testing.T) {
	checkTimes(t, harness.Modernc, sqliteTimes(t, "?_pragma=busy_timeout(5000)", map[string]bool{
		"":                                  false,
		"&_time_format=sqlite":              true,
		"&_time_format=datetime":            false, // it drops the zone and the fraction
		"&_time_format=string_no_monotonic": false,
		"&_time_integer_format=unix":        false,
		"&_time_integer_format=unix_micro&_inttotime=1":             false,
		"&_time_format=sqlite&_timezone=Asia%2FKolkata":             false, // texts without a zone are read as another moment
		"&_time_format=sqlite&_timezone=UTC":                        true,
		"&_time_format=sqlite&_texttotime=1":                        true,
		"&_time_format=sqlite&_pragma=case_sensitive_like(1)":       true,
		"&_time_format=sqlite&_txlock=immediate":                    true,
		"&_time_format=sqlite&_pragma=reverse_unordered_selects(1)": true,
	}))
}

func TestTimesOfServers(t *testing.T) {
	place := harness.MariaDB.Place(t)
	with := func(settings ...string) string {
		dsn := place
		for i := 0; i < len(settings); i += 2 {
			dsn = harness.MariaDB.With(t, dsn, settings[i], settings[i+1])
		}
		return dsn
	}
	var cases []timesCase
	for about, c := range map[string]struct {
		dsn     string
		refused string
	}{
		"nothing set":     {with(), ""},
		"parseTime":       {with("parseTime", "true"), ""},
		"parseTime, UTC":  {with("parseTime", "true", "loc", "UTC"), ""},
		"parseTime, east": {with("parseTime", "true", "loc", "Asia/Kolkata"), "loc=UTC"},
		"parseTime, west": {with("parseTime", "true", "loc", "America/New_York"), "loc=UTC"},
		"east":            {with("loc", "Asia/Kolkata"), "loc=UTC"},
		"parseTime, east, in the text": {with("parseTime", "true", "loc", "Asia/Kolkata", "interpolateParams", "true"),
			"loc=UTC"},
		"parseTime, the session's zone":    {with("parseTime", "true", "time_zone", "'+05:30'"), ""},
		"the session's zone":               {with("time_zone", "'-08:00'"), ""},
		"parseTime, arguments in the text": {with("parseTime", "true", "interpolateParams", "true"), ""},
		"rounded":                          {with("sql_mode", "'STRICT_TRANS_TABLES,TIME_ROUND_FRACTIONAL'"), ""},
	} {
		for ddl, typ := range map[string]latchkey.FieldType{"DATETIME(6)": latchkey.DateTime, "DATE": latchkey.Date} {
			refused := c.refused
			if typ == latchkey.Date && strings.Contains(about, "east") {
				refused = "" // midnight of UTC is the same day there
			}
			cases = append(cases, timesCase{about, c.dsn, ddl, typ, refused})
		}
	}
	t.Run("MariaDB", func(t *testing.T) {
		for _, c := range cases {
			db := harness.MariaDB.Open(t, place)
			_, err := db.Exec("DROP TABLE IF EXISTS times")
			require.NoError(t, err)
			checkTimes(t, harness.MariaDB, []timesCase{c})
		}
		// A TIMESTAMP compares in the session's zone, whatever that is.
		checkTimes(t, harness.MariaDB,
			[]timesCase{{"a place of its own", harness.MariaDB.Place(t), "TIMESTAMP(6) NULL", latchkey.DateTime,
				"session's zone"}})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		for setting, value := range map[string]string{"TimeZone": "Asia/Kolkata", "DateStyle": "German, DMY",
			"default_query_exec_mode": "simple_protocol", "IntervalStyle": "sql_standard", "extra_float_digits": "0"} {
			for ddl, typ := range map[string]latchkey.FieldType{"timestamptz": latchkey.DateTime, "date": latchkey.Date} {
				checkTimes(t, harness.Postgres,
					[]timesCase{{setting + " " + value, harness.Postgres.With(t, harness.Postgres.Place(t), setting, value),
						ddl, typ, ""}})
			}
		}
		checkTimes(t, harness.Postgres,
			[]timesCase{{"UTC", harness.Postgres.With(t, harness.Postgres.Place(t), "TimeZone", "UTC"), "timestamp",
				latchkey.DateTime,
				"timestamp with time zone is needed"}})
	})
}

// sessionCase is a session that all conditions are asked in.
type sessionCase struct {
	settings []string // name, value, …
	refused  string   // by CheckSchema, of any table; "": SQL and memory agree
}

func TestSessionsOfServers(t *testing.T) {
	for _, c := range []struct {
		engine   *harness.Engine
		sessions []sessionCase
	}{{harness.MariaDB, []sessionCase{
		{[]string{"sql_mode", "'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES'"}, ""},
		{[]string{"sql_mode", "'STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES'", "interpolateParams", "true"}, ""},
		{[]string{"sql_mode", "'STRICT_TRANS_TABLES,ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,HIGH_NOT_PRECEDENCE'"}, ""},
		{[]string{"sql_mode", "'STRICT_TRANS_TABLES,ANSI_QUOTES'", "interpolateParams", "true"}, ""},
		{[]string{"sql_mode", "'STRICT_TRANS_TABLES,REAL_AS_FLOAT,NO_UNSIGNED_SUBTRACTION,TIME_ROUND_FRACTIONAL'"}, ""},
		{[]string{"sql_mode", "'STRICT_TRANS_TABLES,ALLOW_INVALID_DATES'"}, ""},
		{[]string{"collation_connection", "utf8mb4_general_nopad_ci"}, ""},
		{[]string{"collation", "utf8mb4_bin"}, ""},
		{[]string{"time_zone", "'+05:30'", "div_precision_increment", "0"}, ""},
		{[]string{"parseTime", "true", "interpolateParams", "true"}, ""},
		{[]string{"character_set_results", "binary"}, ""},
		{[]string{"sql_mode", "'STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL'"}, "EMPTY_STRING_IS_NULL"},
		{[]string{"sql_mode", "'PAD_CHAR_TO_FULL_LENGTH,STRICT_TRANS_TABLES'"}, "PAD_CHAR_TO_FULL_LENGTH"},
		{[]string{"sql_mode", "'ORACLE'"}, "ORACLE"},
		{[]string{"charset", "latin1"}, "charset=utf8mb4"},
		{[]string{"charset", "utf8mb3"}, "charset=utf8mb4"},
		{[]string{"character_set_client", "latin1"}, "charset=utf8mb4"},
		{[]string{"character_set_connection", "latin1"}, "character_set_connection is latin1"},
		{[]string{"collation_connection", "utf8mb3_bin"}, "character_set_connection is utf8mb3"},
		{[]string{"character_set_results", "latin1"}, "character_set_results is latin1"},
	}}, {harness.Postgres, []sessionCase{
		{[]string{"TimeZone", "America/New_York"}, ""},
		{[]string{"DateStyle", "SQL, DMY"}, ""},
		{[]string{"standard_conforming_strings", "off"}, ""},
		{[]string{"array_nulls", "off"}, ""},
		{[]string{"transform_null_equals", "on"}, ""},
		{[]string{"bytea_output", "escape"}, ""},
		{[]string{"default_query_exec_mode", "simple_protocol"}, ""},
		{[]string{"default_query_exec_mode", "exec"}, ""},
		{[]string{"quote_all_identifiers", "on", "lc_numeric", "C", "lc_messages", "C"}, ""},
		{[]string{"client_encoding", "LATIN1"}, "client_encoding is LATIN1"},
	}}} {
		for _, s := range c.sessions {
			t.Run(c.engine.Name+", "+strings.Join(s.settings, " "), func(t *testing.T) {
				place := c.engine.Place(t)
				dsn := place
				for i := 0; i < len(s.settings); i += 2 {
					dsn = c.engine.With(t, dsn, s.settings[i], s.settings[i+1])
				}
				if s.refused != "" {
					_, err := c.engine.Open(t, place).Exec("CREATE TABLE x (id INTEGER PRIMARY KEY)")
					require.NoError(t, err)
					require.ErrorContains(t, sqlstore.CheckSchema(t.Context(), c.engine.Open(t, dsn), c.engine.Dialect, "x",
						latchkey.NewSchema(latchkey.Fields{"id": {Column: "id", Type: latchkey.Integer}})), s.refused)
					return
				}
				for _, e := range rowEngines {
					if e.dialect != c.engine.Dialect {
						continue
					}
					// Days that are none can be written in one mode only, and a driver that parses times makes other days of them.
					settings := strings.Join(s.settings, " ")
					invalid, parses := strings.Contains(settings, "ALLOW_INVALID_DATES"), strings.Contains(settings, "parseTime")
					for i, column := range e.columns {
						if column.typ == latchkey.Date || column.typ == latchkey.DateTime {
							e.columns = slices.Clone(e.columns)
							e.columns[i].pool = those(column.pool, func(v any) bool {
								text, _ := v.(string)
								return (invalid || !strings.HasPrefix(text, "2026-02-3")) &&
									(!parses || !strings.Contains(text, "-00") || strings.HasPrefix(text, "0000"))
							})
						}
					}
					e.open = func(t *testing.T) *sql.DB {
						if c.engine == harness.Postgres {
							db := c.engine.Open(t, dsn)
							_, err := db.Exec("CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
							require.NoError(t, err)
							return db
						}
						return c.engine.Open(t, dsn)
					}
					sameRows(t, e, rand.New(rand.NewPCG(7, 7)), 120)
				}
			})
		}
	}
}

// Nothing is promised for floats that the session shortens.
func TestFloatsThatAreCut(t *testing.T) {
	dsn := harness.Postgres.Place(t)
	_, err := harness.Postgres.Open(t, dsn).Exec("CREATE TABLE x (r double precision, f real, n numeric(10,2))")
	require.NoError(t, err)
	cut := harness.Postgres.Open(t, harness.Postgres.With(t, dsn, "extra_float_digits", "0"))
	for column, refused := range map[string]string{"r": "extra_float_digits", "f": "extra_float_digits", "n": ""} {
		err := sqlstore.CheckSchema(t.Context(), cut, latchkey.Postgres, "x",
			latchkey.NewSchema(latchkey.Fields{"x": {Column: column, Type: latchkey.Number}}))
		if refused == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, refused)
		}
	}
	place := harness.MariaDB.Place(t)
	db := harness.MariaDB.Open(t, place)
	_, err = db.Exec("CREATE TABLE x (f FLOAT)")
	require.NoError(t, err)
	for _, typ := range []latchkey.FieldType{latchkey.Integer, latchkey.Number, latchkey.Float} {
		require.ErrorContains(t, sqlstore.CheckSchema(t.Context(), db, latchkey.MySQL, "x",
			latchkey.NewSchema(latchkey.Fields{"x": {Column: "f", Type: typ}})), "six digits")
	}
}

// A database that is only read is probed too, as long as temporary tables may be written.
func TestProbeWithoutWriting(t *testing.T) {
	file := harness.NewFile(t)
	_, err := harness.Modernc.Open(t, "file:"+file).Exec("CREATE TABLE times (at DATETIME, day TEXT)")
	require.NoError(t, err)
	check := func(dsn, column string) error {
		return sqlstore.CheckSchema(t.Context(), harness.Modernc.Open(t, dsn), latchkey.SQLite, "times",
			latchkey.NewSchema(latchkey.Fields{"at": {Column: column, Type: latchkey.DateTime}}))
	}
	require.NoError(t, check("file:"+file+"?mode=ro&_time_format=sqlite", "at"))
	require.ErrorContains(t, check("file:"+file+"?mode=ro", "at"), "_time_format=sqlite")
	require.ErrorContains(t, check("file:"+file+"?_pragma=query_only(1)&_time_format=sqlite", "at"), "could not be tried")

	// One connection, with the lock of a writer that stays: no deadlock, and the connection is as it was.
	db := harness.Modernc.Open(t, "file:"+file+"?_time_format=sqlite")
	db.SetMaxOpenConns(1)
	writer := harness.Modernc.Open(t, "file:"+file)
	tx, err := writer.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO times VALUES ('x', 'y')")
	require.NoError(t, err)
	require.NoError(t, sqlstore.CheckSchema(t.Context(), db, latchkey.SQLite, "times",
		latchkey.NewSchema(latchkey.Fields{"at": {Column: "at", Type: latchkey.DateTime}})))
	require.NoError(t, tx.Rollback())
	_, err = db.Exec("BEGIN")
	require.NoError(t, err, "no transaction was left open")
	_, err = db.Exec("ROLLBACK")
	require.NoError(t, err)
}
