package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// The engines themselves are tested in module e2e. Here is what needs none.

func TestTimesRoundTrip(t *testing.T) {
	for _, at := range []time.Time{
		{},
		time.Unix(0, 0).UTC(),
		time.Date(1969, 7, 20, 20, 17, 40, 123456000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
	} {
		us, ok := micros(at).(int64)
		require.Equal(t, at, fromMicros(sql.NullInt64{Int64: us, Valid: ok}))
		require.Equal(t, at.IsZero(), !ok)
	}
	for _, ns := range []int64{-1001, -1000, -1, 0, 1, 999, 1000, 1001} {
		bound := time.Unix(0, ns)
		for us := int64(-3); us < 3; us++ {
			require.Equal(t, time.UnixMicro(us).Before(bound), us < ceilMicros(bound), "%d µs before %d ns", us, ns)
		}
	}
}

func TestWholePage(t *testing.T) {
	for _, c := range []struct {
		epochs   string // of the rows read
		n        int
		complete bool
		want     string
	}{
		{"", 2, true, ""},
		{"1 2 3", 3, true, "1 2 3"},
		{"1 2 2", 3, true, "1 2 2"},
		{"1 2 2", 2, false, "1"},
		{"1 1 1", 2, true, "1 1 1"}, // longer than asked for, but one transaction
		{"1 1 1", 2, false, ""},     // perhaps it goes on
		{"1 1 1 2 2", 2, false, "1 1 1"},
		{"1 2 3", 2, false, "1 2"},
		{"1 2 2 3", 2, false, "1"},
	} {
		var rows []latchkey.Change
		for _, e := range strings.Fields(c.epochs) {
			rows = append(rows, latchkey.Change{Epoch: uint64(e[0] - '0')})
		}
		var got []string
		for _, r := range wholePage(rows, c.n, c.complete) {
			got = append(got, fmt.Sprint(r.Epoch))
		}
		require.Equal(t, c.want, strings.Join(got, " "), "%+v", c)
	}
}

func TestMigrationFiles(t *testing.T) {
	for _, dia := range []*dialect{&sqlite, &postgres, &mysql} {
		steps, err := migrationSteps(dia)
		require.NoError(t, err)
		require.NotEmpty(t, steps)
		var tables []string
		for _, step := range steps {
			statements := splitStatements(step.text)
			last := statements[len(statements)-1]
			record := fmt.Sprintf("INSERT INTO latchkey_schema (version, name) VALUES (%d, '%s')", step.version, step.name)
			if step.version > 1 {
				record = fmt.Sprintf("INSERT INTO latchkey_migrations (version, name, oldest) VALUES (%d, '%s', ", step.version,
					step.name)
			}
			require.True(t, strings.HasPrefix(last, record), "a migration records itself, last: %s", last)
			tables = append(tables, createdTables(step.text)...)
			for _, statement := range statements {
				require.NotContains(t, statement, "?", "it is run as it is")
			}
		}
		for _, table := range tables {
			require.True(t, strings.HasPrefix(table, "latchkey_"), table)
		}
		require.Len(t, createdTables(steps[0].text), 18)
		require.Subset(t, tables, ownedTables)
		lite, err := migrationSteps(&sqlite)
		require.NoError(t, err)
		require.Equal(t, createdTables(lite[0].text), createdTables(steps[0].text), "one schema")
	}
}

// What MySQL commits by itself must be what can be looked for after a crash.
func TestMySQLSteps(t *testing.T) {
	steps, err := migrationSteps(&mysql)
	require.NoError(t, err)
	for _, step := range steps {
		for _, statement := range splitStatements(step.text) {
			if change := parseChange(statement); change != nil {
				require.NotEmpty(t, change.probe, statement)
			}
		}
	}
	for statement, want := range map[string][]any{
		"-- why\nCREATE TABLE a (\n  b INT\n)": {"a"},
		"CREATE UNIQUE INDEX i ON a (b)":       {"i", "a"},
		"ALTER TABLE a ADD COLUMN b BIGINT":    {"a", "b"},
		"ALTER TABLE a MODIFY b BIGINT":        nil,
		"CREATE TABLE IF NOT EXISTS a (b INT)": nil,
		"DROP TABLE a":                         nil,
	} {
		change := parseChange(statement)
		require.NotNil(t, change, statement)
		require.Equal(t, want, change.args, statement)
	}
	require.Nil(t, parseChange("INSERT INTO a (b) VALUES (1)"))
}

func TestPlaceholders(t *testing.T) {
	require.Equal(t, "a = $1 AND b IN ($2, $3)", postgres.text("a = ? AND b IN (?, ?)"))
	require.Equal(t, "a = ?", mysql.text("a = ?"))
	require.Equal(t, "n = VALUES(n) + t.n", strings.TrimPrefix(mysql.onTaken("k", "n = excluded.n + t.n"),
		" ON DUPLICATE KEY UPDATE "))
}

type stated string

func (s stated) Error() string    { return "ERROR: (SQLSTATE " + string(s) + ")" }
func (s stated) SQLState() string { return string(s) }

func TestErrorCodes(t *testing.T) {
	wrap := func(err error) error { return errors.Join(errors.New("outer"), fmt.Errorf("more: %w", err)) }
	for code, retry := range map[string]bool{"40001": true, "40P01": true, "55P03": true, "23505": false, "25P03": false} {
		require.Equal(t, retry, postgres.retry(wrap(stated(code))), code)
	}
	require.True(t, postgres.unkept(wrap(stated("22021"))))
	require.False(t, postgres.retry(errors.New("40001")), "words are not a code")
	for code, retry := range map[int]bool{1213: true, 1205: true, 1020: true, 1062: false, 1047: false, 1406: false} {
		for _, text := range []string{"Error %d (40001): Deadlock found", "Error %d: Deadlock found"} {
			err := wrap(fmt.Errorf(text, code))
			require.Equal(t, code, mysqlCode(err))
			require.Equal(t, retry, mysql.retry(err), code)
		}
	}
	require.True(t, mysql.taken(fmt.Errorf("Error %d (23000): Duplicate entry", 1062)))
	require.False(t, mysql.retry(errors.New("the value 'Error 1213' is odd")))
	require.Zero(t, mysqlCode(nil))
}

type coded int

func (c coded) Error() string { return fmt.Sprintf("code %d", int(c)) }
func (c coded) Code() int     { return int(c) }

// fielded is as github.com/mattn/go-sqlite3 has it: named integers in fields, no method that tells them.
type (
	errNo   int
	fielded struct {
		Code         errNo
		ExtendedCode errNo
		words        string
	}
)

func (f fielded) Error() string { return f.words }

// looksLike has one of the fields only, from a pointer that is nil.
type looksLike struct{ *fielded }

func (looksLike) Error() string { return "database is on fire" }

func TestSQLiteCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		busy bool
	}{
		{fielded{Code: 5, ExtendedCode: 5, words: "cannot commit transaction - SQL statements in progress"}, true},
		{fielded{Code: 5, ExtendedCode: 517}, true},
		{&fielded{Code: 6}, true},
		{fielded{Code: 6, ExtendedCode: 262, words: "database schema is locked: main"}, true},
		{fielded{Code: 13, ExtendedCode: 13, words: "database or disk is full"}, false},
		{fielded{Code: 8, ExtendedCode: 8, words: "database is locked"}, false}, // the number wins
		{looksLike{}, false},
		{struct{ error }{errors.New("no such table: x")}, false},
	} {
		for _, err := range []error{c.err, fmt.Errorf("begin: %w", c.err), errors.Join(errors.New("outer"), c.err)} {
			require.Equal(t, c.busy, busySQLite(err), "%#v", err)
		}
	}
}

func TestOutcome(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	engine := errors.New("disk I/O error")
	is := func(err error, want ...error) {
		t.Helper()
		for _, w := range want {
			require.ErrorIs(t, err, w)
		}
		named := 0
		for _, known := range contract {
			if errors.Is(err, known) {
				named++
			}
		}
		require.Equal(t, 1, named, "%v", err)
	}
	require.NoError(t, outcome(ctx, "x", nil))
	is(outcome(ctx, "x", engine), latchkey.ErrUnavailable, engine)
	is(outcome(ctx, "x", sql.ErrNoRows), latchkey.ErrUnavailable)
	is(outcome(ctx, "x", say(latchkey.ErrConflict, "why")), latchkey.ErrConflict)
	cancel()
	is(outcome(ctx, "x", engine), latchkey.ErrUnavailable, engine, context.Canceled)
	is(outcome(ctx, "x", context.Canceled), latchkey.ErrUnavailable, context.Canceled)

	for _, code := range []int{5, 6, 261, 262, 517} {
		require.True(t, busySQLite(fmt.Errorf("begin: %w", coded(code))), code)
	}
	for _, code := range []int{1, 8, 10, 13, 19, 2067} {
		require.False(t, busySQLite(coded(code)), code)
	}
	require.True(t, busySQLite(errors.New("database is locked")))
	require.False(t, busySQLite(engine))
}

func TestDialects(t *testing.T) {
	for _, d := range []latchkey.Dialect{0, 99} {
		_, err := New(context.Background(), nil, d, nil)
		require.ErrorContains(t, err, "known: SQLite, Postgres, MySQL")
		require.ErrorContains(t, Migrate(context.Background(), nil, d), "known: SQLite")
		_, err = Migrations(d)
		require.ErrorContains(t, err, "known: SQLite")
	}
}

// A job whose caller has gone away must not wait in the queue for ever, after it went back there.
func TestANilDatabaseIsRefused(t *testing.T) {
	_, err := New(context.Background(), nil, latchkey.SQLite, nil)
	require.ErrorIs(t, err, errNoDB)
	_, err = NewReplica(context.Background(), nil, latchkey.Postgres)
	require.ErrorIs(t, err, errNoDB)
	require.ErrorIs(t, Migrate(context.Background(), nil, latchkey.MySQL), errNoDB)
}

func TestTheQueueForgetsWhoseCallerIsGone(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	var q queue
	gone := &job{ctx: over, done: make(chan error, 1), single: true}
	waits := &job{ctx: context.Background(), done: make(chan error, 1), single: true}
	mine := &job{ctx: context.Background(), done: make(chan error, 1)}
	q.add(gone, waits, mine)
	require.Equal(t, []*job{mine}, q.take(mine, maxBatch))
	require.Equal(t, []*job{waits}, q.jobs)
	require.ErrorIs(t, <-gone.done, context.Canceled, "and it is told that nothing was done")
}
