package rows

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// The promise: after Bind, SQL and Match admit exactly the same rows. Here random conditions meet a table of nasty
// values, in a real engine and in memory.
//
//	LATCHKEY_SEED=7         repeats a run
//	LATCHKEY_CONDITIONS=n   instead of what takes some seconds

// rowEngine is one engine under test.
type rowEngine struct {
	name    string
	dialect latchkey.Dialect
	open    func(t *testing.T) *sql.DB
	columns []rowColumn
	few     int // conditions that take some seconds
	// read turns a value as the driver scanned it into what a host hands to Match.
	read func(any) any
}

type rowColumn struct {
	name, ddl string
	typ       latchkey.FieldType
	pool      []any
	exact     bool // the engine gives back what was written: Match on the original row must agree too
}

// sqliteRows is SQLite behind one driver.
func sqliteRows(name, driver string) rowEngine {
	return rowEngine{
		name: name, dialect: latchkey.SQLite,
		open: func(t *testing.T) *sql.DB {
			db, err := sql.Open(driver, filepath.Join(t.TempDir(), "rows.db"))
			require.NoError(t, err)
			t.Cleanup(func() { db.Close() })
			return db
		},
		columns: sqliteColumns(),
		few:     2000,
		read: func(v any) any {
			if b, ok := v.([]byte); ok {
				return latchkey.Blob(b)
			}
			return v
		},
	}
}

// postgresRows is one version of PostgreSQL.
func postgresRows(name string, server *harness.Engine) rowEngine {
	return rowEngine{
		name: name, dialect: latchkey.Postgres,
		open: func(t *testing.T) *sql.DB {
			db := server.Open(t, server.Place(t))
			_, err := db.Exec("CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
			require.NoError(t, err)
			return db
		},
		columns: postgresColumns(),
		few:     500, // and as many on another version
		read:    func(v any) any { return v },
	}
}

var rowEngines = []rowEngine{sqliteRows("sqlite", "sqlite"), postgresRows("postgresql", harness.Postgres), {
	name: "mariadb", dialect: latchkey.MySQL,
	open: func(t *testing.T) *sql.DB {
		return harness.MariaDB.Open(t,
			harness.MariaDB.With(t, harness.MariaDB.Place(t), "sql_mode", "'STRICT_TRANS_TABLES,ALLOW_INVALID_DATES'"))
	},
	columns: mariadbColumns(),
	few:     1000,
	read:    func(v any) any { return v },
}}

// those returns the values that keep accepts: what an engine can store.
func those(pool []any, keep func(any) bool) (out []any) {
	for _, v := range pool {
		if keep(v) {
			out = append(out, v)
		}
	}
	return out
}

func isText(v any) bool {
	s, ok := v.(string)
	return !ok || utf8.ValidString(s)
}

func postgresColumns() []rowColumn {
	texts := those(texts, func(v any) bool { return isText(v) && !strings.Contains(fmt.Sprint(v), "\x00") })
	days := []any{nil, nil, "2026-11-22", "2026-11-23", "2026-11-21", "2024-02-29", "1000-01-01", "0999-12-31",
		"9999-12-31", "10000-01-01", "infinity", "-infinity", "0044-03-15 BC", "2000-02-29"}
	times := []any{nil, nil, "2026-11-22T10:00:00Z", "2026-11-22T12:00:00+02:00", "2026-11-22T10:00:00.5Z",
		"2026-11-22T10:00:00.000001Z", "2026-11-22T09:59:59.999999Z", "2026-11-22T23:30:00-14:59", "1000-01-01T00:00:00Z",
		"0999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z", "infinity", "-infinity",
		"1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"}
	numbers := []any{nil, "0", "0.1", "1.50", "5", "5.5", "-1", "4000", "123456789012345678901234567890",
		"9223372036854775808", "-9223372036854775809", "0.123456789012345678901234567890", "1e400", "1e-400", "NaN",
		"0.30000000000000004", "2.500", "Infinity",
		"-Infinity", "9007199254740992", "9007199254740993", "-9007199254740993", "99999999999999999999999999999999999.999"}
	bounded := those(numbers, func(v any) bool { return v != "1e400" && v != "Infinity" && v != "-Infinity" })
	real4 := []any{nil, 0.0, 0.5, 1.0, 5.0, 5.5, -5.5, 2.5, float64(float32(0.1)), float64(float32(3.14)), 4000.0,
		16777216.0, math.Inf(1), math.Inf(-1), math.NaN(), float64(float32(9007199254740992)), float64(float32(1e30)),
		-float64(float32(1e18))}
	small := those(integers, func(v any) bool {
		n, ok := v.(int64)
		return !ok || n >= math.MinInt32 && n <= math.MaxInt32
	})
	return []rowColumn{
		{"s", "text", latchkey.Text, texts, true},
		{"c", `text COLLATE "C"`, latchkey.Text, texts, true},
		{"folding", "text COLLATE folding", latchkey.Text, texts, true},
		{"v", "varchar(2000)", latchkey.Text, texts, true},
		{"i", "integer", latchkey.Integer, small, true},
		{"big", "bigint", latchkey.Integer, integers, true},
		{"num", "numeric", latchkey.Number, numbers, false},
		{"numint", "numeric(70,30)", latchkey.Integer, bounded, false},
		{"r", "double precision", latchkey.Number, append([]any{math.NaN()}, floats...), true},
		{"f", "real", latchkey.Number, real4, false},
		{"f8", "double precision", latchkey.Float, append([]any{math.NaN()}, floats...), true},
		{"f4", "real", latchkey.Float, real4, false},
		{"bint", "bigint", latchkey.Number, integers, true},
		{"b", "boolean", latchkey.Boolean, []any{nil, true, false}, true},
		{"d", "date", latchkey.Date, days, false},
		{"t", "timestamptz", latchkey.DateTime, times, false},
	}
}

func mariadbColumns() []rowColumn {
	texts := those(texts, func(v any) bool { return isText(v) && len(fmt.Sprint(v)) < 700 })
	days := []any{nil, nil, "2026-11-22", "2026-11-23", "2026-11-21", "2024-02-29", "1000-01-01", "0999-12-31",
		"9999-12-31", "0000-00-00", "2026-11-00", "2026-00-10", "2000-02-29", "2026-02-30"}
	times := []any{nil, nil, "2026-11-22 10:00:00", "2026-11-22 12:00:00", "2026-11-22 10:00:00.5",
		"2026-11-22 10:00:00.000001", "2026-11-22 09:59:59.999999", "1000-01-01 00:00:00", "0999-12-31 23:59:59.999999",
		"9999-12-31 23:59:59.999999", "0000-00-00 00:00:00", "2026-11-00 10:00:00", "2026-02-31 10:00:00",
		"1969-12-31 23:59:59.999999", "1970-01-01 00:00:00"}
	numbers := []any{nil, "0", "0.1", "1.50", "5", "5.5", "-1", "4000", "123456789012345678901234567890",
		"9223372036854775808", "-9223372036854775809", "0.123456789012345678", "0.30000000000000004", "2.500",
		"9007199254740992", "9007199254740993",
		"-9007199254740993"}
	wide := append([]any{strings.Repeat("9", 65), "-" + strings.Repeat("9", 65)}, those(numbers, func(v any) bool {
		return !strings.Contains(fmt.Sprint(v), ".")
	})...)
	nines, most := strings.Repeat("9", 35), strings.Repeat("9", 27)
	fine := append([]any{nines + "." + nines[:30], "-" + nines + "." + nines[:30], nines + ".9"}, numbers...)
	finest := append([]any{most + "." + nines + "999", "-" + most + "." + nines + "999", "0." + strings.Repeat("0",
		37) + "1"},
		those(numbers, func(v any) bool { return len(fmt.Sprint(v)) < 27 })...)
	doubles := those(floats, func(v any) bool {
		f, ok := v.(float64)
		return !ok || f == 0 || math.Abs(f) > 1e-300 && !math.IsInf(f, 0)
	})
	singles := []any{nil, 0.0, 0.5, 1.0, 5.0, 5.5, -5.5, 2.5, 0.1, 3.14, 4000.0, 16777216.0}
	small := those(integers, func(v any) bool {
		n, ok := v.(int64)
		return !ok || n >= math.MinInt32 && n <= math.MaxInt32
	})
	positive := append(those(integers, func(v any) bool {
		n, ok := v.(int64)
		return !ok || n >= 0
	}), "18446744073709551615", "9223372036854775808")
	text := func(collation string) string { return "VARCHAR(700) CHARACTER SET utf8mb4 COLLATE " + collation }
	return []rowColumn{
		{"s", text("utf8mb4_bin"), latchkey.Text, texts, true},
		{"folding", text("utf8mb4_general_ci"), latchkey.Text, texts, true},
		{"uca", text("utf8mb4_unicode_ci"), latchkey.Text, texts, true},
		{"nopad", text("utf8mb4_nopad_bin"), latchkey.Text, texts, true},
		{"i", "INT", latchkey.Integer, small, true},
		{"big", "BIGINT", latchkey.Integer, integers, true},
		{"ubig", "BIGINT UNSIGNED", latchkey.Integer, positive, false},
		{"num", "DECIMAL(50,18)", latchkey.Number, numbers, false},
		{"numint", "DECIMAL(50,18)", latchkey.Integer, numbers, false},
		{"r", "DOUBLE", latchkey.Number, doubles, true},
		{"f", "FLOAT", latchkey.Number, singles, false},
		{"f8", "DOUBLE", latchkey.Float, doubles, true},
		{"wide", "DECIMAL(65,0)", latchkey.Number, wide, false},
		{"fine", "DECIMAL(65,30)", latchkey.Number, fine, false},
		{"finest", "DECIMAL(65,38)", latchkey.Number, finest, false},
		{"bint", "BIGINT", latchkey.Number, integers, true},
		{"b", "TINYINT", latchkey.Boolean, []any{nil, true, false, int64(2), int64(-1)}, false},
		{"d", "DATE", latchkey.Date, days, false},
		{"t", "DATETIME(6)", latchkey.DateTime, times, false},
	}
}

func sqliteColumns() []rowColumn {
	foreign := []any{[]byte("EU"), []byte{}, []byte("5"), "EU", "", "5", "12abc", int64(5), 0.5, -1.5, true}
	with := func(pool []any, more ...any) []any { return append(append([]any{}, pool...), more...) }
	blobs := []any{[]byte("EU"), []byte{}, []byte("2026-11-22"), []byte("5")}
	return []rowColumn{
		{"s", "TEXT", latchkey.Text, with(texts, blobs...), true},
		{"nocase", "TEXT COLLATE NOCASE", latchkey.Text, with(texts, blobs...), true},
		{"rtrim", "TEXT COLLATE RTRIM", latchkey.Text, with(texts, blobs...), true},
		{"anytext", "", latchkey.Text, with(texts, foreign...), false},
		{"i", "INTEGER", latchkey.Integer, with(integers, blobs...), true},
		{"big", "BIGINT", latchkey.Integer, with(with(integers, floats...), foreign...), false},
		{"r", "REAL", latchkey.Number, with(floats, blobs...), true},
		{"rint", "REAL", latchkey.Integer, with(floats, blobs...), true},
		{"f8", "REAL", latchkey.Float, with(floats, blobs...), true},
		{"num", "NUMERIC", latchkey.Number, with(with(with(integers, floats...), decimals...), foreign...), false},
		{"b", "INTEGER", latchkey.Boolean, []any{nil, true, false, int64(2), int64(-1), 0.5, 1.0, "x", []byte("1")}, false},
		{"d", "TEXT", latchkey.Date, with(days, blobs...), true},
		{"declared", "DATE", latchkey.Date, []any{nil, "2026-11-22", "2026-11-23", "1000-01-01", "9999-12-31", "2024-02-29"},
			false},
		{"t", "TEXT", latchkey.DateTime, with(times, blobs...), true},
		{"moment", "DATETIME", latchkey.DateTime, []any{nil, "2026-11-22 10:00:00", "2026-11-22T10:00:00.000001Z",
			"2026-11-22T23:30:00-02:00", "2026-11-23T00:30:00+14:59", "x"}, false},
	}
}

var (
	texts = []any{nil, nil, "", "EU", "eu", "Eu", "EU ", " EU", "EU\t", "EUR", "e\u0301", "é", "É", "ß", "ss", "日本", "a",
		"ab", "abc",
		"a\U0010FFFF", "a\U0010FFFF\U0010FFFF", "b", "\U0001F600", "\uFFFD", "\uE000", "\uD7FF", "%", "_", "a%", "a_c", `\`,
		"'", `"`, "?", "$1", "!", "[a]", "5", "05", "5.0", "10", "9", "true", "null", "NULL", "0", "-", "Z", "z", "ı", "I",
		"i", "x\x00y", "bad\xff", strings.Repeat("long", 300), "2026-11-22"}
	integers = []any{nil, nil, int64(0), int64(1), int64(-1), int64(2), int64(5), int64(9), int64(10), int64(4000),
		int64(math.MaxInt64), int64(math.MaxInt64 - 1), int64(math.MinInt64), int64(math.MinInt64 + 1),
		int64(1 << 53), int64(1<<53 + 1), int64(-1<<53 - 1), int64(math.MaxInt32), int64(math.MinInt32),
		int64(math.MaxInt32) + 1}
	floats = []any{nil, 0.0, math.Copysign(0, -1), 0.1, 0.2, 0.30000000000000004, 0.3, float64(float32(0.1)), 1.0, 5.0,
		5.5, -5.5, 1e15, 1e18, 9.223372036854775807e18, -9.223372036854775808e18, 9.3e18, -9.3e18, 1e40, -1e40, 1e300, 5e-324,
		math.Inf(1), math.Inf(-1), 9007199254740991.0, -9007199254740991.0, 9007199254740992.0, -9007199254740992.0,
		9007199254740994.0, 4503599627370495.5,
		0.5, 2.5, 1e-30, 4000.0}
	decimals = []any{"0.1", "1.50", "123456789012345678901234567890", "9223372036854775808", "-9223372036854775809",
		"0.123456789012345678901", " 7 ", "1e3", "abc", "0x10", "+5", "-0", "Infinity", "-Infinity", "inf", "NaN", "0x1p-2",
		"1_000", ".5", "5.", "+0.5", "\t5", "٣", "５",
		"1e400", "-1e400", "1e-400", "9007199254740993", "9007199254740993.0", "18446744073709551616"}
	days = []any{nil, nil, "2026-11-22", "2026-11-23", "2026-11-21", "2024-02-29", "2023-02-29", "2026-02-30",
		"1000-01-01", "0999-12-31", "9999-12-31", "10000-01-01", "0000-00-00", "2026-11-00", "2026-00-10", "2026-11-22 ",
		" 2026-11-22", "2026-11-22T00:00:00Z", "2026-1-2", "20261122", "now", "", "1900-02-29", "2000-02-29",
		"2026-11-22\x00", "２026-11-22", "-001-01-01"}
	times = []any{nil, nil, "2026-11-22T10:00:00Z", "2026-11-22 10:00:00", "2026-11-22T10:00:00",
		"2026-11-22T12:00:00+02:00", "2026-11-22T10:00:00.5Z", "2026-11-22 10:00:00.500000", "2026-11-22T10:00:00.000001Z",
		"2026-11-22T09:59:59.999999Z", "2026-11-22T10:00:00.0000001Z", "2026-11-22T10:00:00.Z", "2026-11-22T10:00:00.",
		"2026-11-22T24:00:00Z", "2026-11-22T23:59:60Z", "2026-11-22T10:00Z", "2026-11-22", "2026-11-22t10:00:00z",
		"2026-11-22T10:00:00z", "2026-11-22T10:00:00+15:00", "2026-11-22T10:00:00+14:59", "2026-11-22T10:00:00-14:59",
		"2026-11-22T10:00:00+0200", "2026-11-22T10:00:00+02", "2026-02-30T10:00:00Z", "2026-11-22T23:30:00-14:59",
		"2026-11-24T00:30:00+14:59", "1000-01-01T00:00:00Z", "1000-01-01T00:00:00+01:00", "0999-12-31T23:00:00-01:00",
		"0999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z",
		"9999-12-31T23:59:59.9999999Z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z",
		"2026-11-22T10:00:00 Z", "2026-11-22T10:00:00.5 +02:00", "2026-11-22T10:00:00+02:60", "2026-11-22T10:00:00\x00",
		"2026-11-22T10:60:00Z", "2026-11-22T10:00:00.123456+02:00", "2026-11-22T10:00:00é", "now", "", "2026-11-22T1a:00:00Z",
		"2024-02-29T00:00:00Z", "2026-11-22 10:00:00 +0000 UTC"}
)

// conditionValues are what conditions of a type compare with; some are refused at Bind.
func conditionValues(typ latchkey.FieldType) []any {
	switch typ {
	case latchkey.Text:
		return texts
	case latchkey.Integer, latchkey.Number:
		values := []any{"5", "-1", "4000", "5.5", "0.1", "-0", "0.0", "9223372036854775807.5", "-9223372036854775808.5",
			"9223372036854775808", "-9223372036854775809", "99999999999999999999999999999999999",
			"0.000000000000000000000000000001", "2.50"}
		return append(append(values, integers...), floats...)
	case latchkey.Float:
		return append([]any{"5", int64(5), "5.5", "0.1", "-0", "1e300", "-1e40", "1e40", "5e-324", "6.02E23",
			"9007199254740993", int64(1<<53 + 1),
			"9.3e18", "-9.3e18", "1e18", "9223372036854775808", "Infinity", "NaN", "3.14"}, floats...)
	case latchkey.Boolean:
		return []any{true, false, "true", "0", 1}
	case latchkey.Date:
		return days
	}
	return append([]any{time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}, times...)
}

var conditionOps = map[latchkey.FieldType][]latchkey.Op{
	latchkey.Text: {latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge, latchkey.In,
		latchkey.Contains, latchkey.StartsWith, latchkey.IsNull},
	latchkey.Integer: {latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge, latchkey.In,
		latchkey.IsNull},
	latchkey.Number: {latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge, latchkey.In,
		latchkey.IsNull},
	latchkey.Date: {latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge, latchkey.In,
		latchkey.IsNull},
	latchkey.DateTime: {latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge, latchkey.In,
		latchkey.IsNull},
	latchkey.Boolean: {latchkey.Eq, latchkey.Ne, latchkey.In, latchkey.IsNull},
	latchkey.Float: {latchkey.Eq, latchkey.Ne, latchkey.Lt, latchkey.Le, latchkey.Gt, latchkey.Ge, latchkey.In,
		latchkey.IsNull},
}

// conditionMaker makes random conditions that bind.
type conditionMaker struct {
	*rand.Rand
	schema  *latchkey.Schema
	columns []rowColumn
	used    map[string]bool // columns of the condition being made
}

func (m *conditionMaker) condition(depth int) latchkey.Condition {
	if depth == 0 || m.IntN(3) == 0 {
		return m.leaf()
	}
	if m.IntN(4) == 0 {
		return latchkey.Not(m.condition(depth - 1))
	}
	parts := make([]latchkey.Condition, 2+m.IntN(2))
	for i := range parts {
		parts[i] = m.condition(depth - 1)
	}
	if m.IntN(2) == 0 {
		return latchkey.All(parts...)
	}
	return latchkey.AnyOf(parts...)
}

func (m *conditionMaker) leaf() latchkey.Condition {
	for {
		col := m.columns[m.IntN(len(m.columns))]
		ops := conditionOps[col.typ]
		values := conditionValues(col.typ)
		op := ops[m.IntN(len(ops))]
		value := values[m.IntN(len(values))]
		switch {
		case op == latchkey.IsNull:
			value = m.IntN(2) == 0
		case op == latchkey.In:
			list := make([]any, m.IntN(6))
			for i := range list {
				list[i] = values[m.IntN(len(values))]
			}
			value = list
		}
		c := latchkey.Where(col.name, op, value)
		if _, err := m.schema.Bind(c); err != nil {
			continue
		}
		m.used[col.name] = true
		return c
	}
}

func envInt(t *testing.T, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err, name)
	return n
}

func TestSameRows(t *testing.T) {
	seed := uint64(envInt(t, "LATCHKEY_SEED", int(time.Now().UnixNano()&0xffffff)))
	t.Logf("LATCHKEY_SEED=%d", seed)
	engines := rowEngines
	for _, e := range harness.Versions() {
		engines = append(engines, postgresRows(e.Name, e))
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			conditions := envInt(t, "LATCHKEY_CONDITIONS", harness.Rounds(e.few, 50_000))
			sameRows(t, e, rand.New(rand.NewPCG(seed, 1)), conditions)
		})
	}
}

func sameRows(t *testing.T, e rowEngine, random *rand.Rand, conditions int) {
	ctx := context.Background()
	db := e.open(t)
	fields := latchkey.Fields{}
	var ddl, names, marks []string
	for i, c := range e.columns {
		fields[c.name] = latchkey.Field{Column: c.name, Type: c.typ}
		ddl = append(ddl, c.name+" "+c.ddl)
		names = append(names, c.name)
		marks = append(marks, placeholder(e.dialect, i+2))
	}
	schema := latchkey.NewSchema(fields)

	// Two tables with the same rows; every column of the second has an index.
	original := makeRows(random, e.columns, 250)
	for _, table := range []string{"plain", "indexed"} {
		_, err := db.ExecContext(ctx, "CREATE TABLE "+table+" (id INTEGER PRIMARY KEY, "+strings.Join(ddl, ", ")+")")
		require.NoError(t, err)
		for id, row := range original {
			args := []any{id}
			for _, c := range e.columns {
				args = append(args, row[c.name])
			}
			_, err := db.ExecContext(ctx, "INSERT INTO "+table+" (id, "+strings.Join(names, ", ")+") VALUES ("+
				placeholder(e.dialect, 1)+", "+strings.Join(marks, ", ")+")", args...)
			require.NoError(t, err)
		}
	}
	for _, name := range names {
		_, err := db.ExecContext(ctx, "CREATE INDEX by_"+name+" ON indexed ("+name+")")
		require.NoError(t, err)
	}
	stored := readRows(t, e, db, names)
	require.Len(t, stored, len(original))

	m := &conditionMaker{Rand: random, schema: schema, columns: e.columns}
	shapes := map[string]bool{}
	admitted, decisions, originals := 0, 0, 0
	for n := range conditions {
		m.used = map[string]bool{}
		c := m.condition(n % 4)
		p, err := schema.Bind(c)
		require.NoError(t, err, "%v", c)
		where, args := p.SQL(e.dialect, 2)
		shapes[where] = true

		exact := true
		for _, col := range e.columns {
			exact = exact && (col.exact || !m.used[col.name])
		}
		for _, table := range []string{"plain", "indexed"} {
			got := queryIDs(t, db, "SELECT id FROM "+table+" WHERE id >= "+placeholder(e.dialect, 1)+" AND "+where,
				append([]any{0}, args...)...)
			for id, row := range stored {
				decisions++
				if match := p.Match(row); match != got[id] {
					t.Fatalf("%v\nrow %d %q: Match says %t, %s of %s says %t\n%s\n%v", c, id, used(row, m.used), match, e.name, table,
						got[id], where, args)
				}
				if exact {
					originals++
					if logical := logicalRow(e, original[id]); p.Match(logical) != got[id] {
						t.Fatalf("%v\noriginal row %d %q: %s says %t", c, id, used(logical, m.used), e.name, got[id])
					}
				}
			}
			admitted += len(got)
		}
		// Nothing is both admitted and refused.
		both, err := schema.Bind(latchkey.All(c, latchkey.Not(c)))
		require.NoError(t, err)
		where, args = both.SQL(e.dialect, 1)
		require.Empty(t, queryIDs(t, db, "SELECT id FROM indexed WHERE "+where, args...), "%v", c)
	}
	t.Logf("%s: %d conditions of %d shapes on %d rows, %d decisions (%d of them also on the rows as they were made), "+
		"%d admitted, 0 differences", e.name, conditions, len(shapes), len(stored), decisions, originals, admitted)
	require.NotZero(t, admitted)
	require.NotZero(t, originals)
}

func placeholder(d latchkey.Dialect, n int) string {
	if d == latchkey.Postgres {
		return fmt.Sprintf("$%d", n)
	}
	return "?"
}

func makeRows(random *rand.Rand, columns []rowColumn, n int) []latchkey.Row {
	rows := make([]latchkey.Row, n)
	for i := range rows {
		rows[i] = latchkey.Row{}
		for _, c := range columns {
			if i < len(c.pool) { // each value at least once
				rows[i][c.name] = c.pool[i]
			} else {
				rows[i][c.name] = c.pool[random.IntN(len(c.pool))]
			}
		}
	}
	return rows
}

func logicalRow(e rowEngine, row latchkey.Row) latchkey.Row {
	logical := latchkey.Row{}
	for name, v := range row {
		logical[name] = e.read(v)
	}
	return logical
}

func readRows(t *testing.T, e rowEngine, db *sql.DB, names []string) []latchkey.Row {
	rows, err := db.Query("SELECT " + strings.Join(names, ", ") + " FROM plain ORDER BY id")
	require.NoError(t, err)
	defer rows.Close()
	var out []latchkey.Row
	for rows.Next() {
		values := make([]any, len(names))
		into := make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		row := latchkey.Row{}
		for i, name := range names {
			row[name] = e.read(values[i])
		}
		out = append(out, row)
	}
	require.NoError(t, rows.Err())
	return out
}

func queryIDs(t *testing.T, db *sql.DB, query string, args ...any) map[int]bool {
	rows, err := db.Query(query, args...)
	require.NoError(t, err, "%s\n%v", query, args)
	defer rows.Close()
	ids := map[int]bool{}
	for rows.Next() {
		var id int
		require.NoError(t, rows.Scan(&id))
		ids[id] = true
	}
	require.NoError(t, rows.Err())
	return ids
}

func used(row latchkey.Row, names map[string]bool) latchkey.Row {
	out := latchkey.Row{}
	for name := range names {
		out[name] = row[name]
	}
	return out
}
