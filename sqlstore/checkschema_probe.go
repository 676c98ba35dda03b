package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/latchkey-go/latchkey"
)

// How a driver converts a time.Time, and a column that it takes for one, depends on the DSN. No setting of the session
// shows it. So each probe writes and reads dates and times, in a place that no other session sees. It then compares
// them in SQL and in memory.

// probe is a column of a declared type that holds one value at a time.
type probe interface {
	// write stores a value.
	write(ctx context.Context, value any) error
	// read returns the value as the driver reads it.
	read(ctx context.Context) (any, error)
	// admits reports whether the value meets a condition on the column v.
	admits(ctx context.Context, p *latchkey.Predicate) (bool, error)
	close(ctx context.Context)
}

// probeValue is a value to write, and the date or time that it stands for.
type probeValue struct {
	value any
	is    string // "": any, if SQL and memory agree
}

var (
	probedTime = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	east, west = time.FixedZone("", 5*3600+1800), time.FixedZone("", -8*3600)
	probedDate = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
)

const timeLayout = "2006-01-02T15:04:05.999999Z07:00"

func timeProbeValues() (out []probeValue) {
	for _, at := range []time.Time{
		probedTime, probedTime.Add(500 * time.Millisecond), probedTime.Add(123456 * time.Microsecond),
		probedTime.In(east), probedTime.Add(time.Microsecond).In(west), time.Unix(-1, 999999000),
	} {
		out = append(out, probeValue{at, at.UTC().Format(timeLayout)})
	}
	return append(out, probeValue{probedTime.Add(789), ""})
}

func dateProbeValues() []probeValue {
	inEast := probedDate.In(east).Add(-5*time.Hour - 30*time.Minute) // midnight in that zone
	return []probeValue{{probedDate, probedDate.Format(time.DateOnly)}, {inEast, ""}}
}

// textTrials are for columns that hold text.
var textProbeValues = map[latchkey.FieldType][]probeValue{
	latchkey.Date: {{"2026-11-22", "2026-11-22"}, {"1000-01-01", "1000-01-01"}},
	latchkey.DateTime: {
		{"2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"}, {"2026-11-22 10:00:00", "2026-11-22T10:00:00Z"},
		{"2026-11-22T12:00:00.5+02:00", "2026-11-22T10:00:00.5Z"},
		{"2026-11-22T10:00:00.000001Z", "2026-11-22T10:00:00.000001Z"},
	},
}

// probeReason returns why dates or times of the driver in use compare differently in SQL and in memory, or "" if they
// do not.
func (d *dialect) probeReason(ctx context.Context, db *sql.DB, of column, typ latchkey.FieldType) (
	reason string, err error) {
	trials := timeProbeValues()
	if typ == latchkey.Date {
		trials = dateProbeValues()
	}
	if d.timesAsText {
		if of.kind == kindText { // a text column is not meant for a time.Time, which drivers do not write as ISO text
			for i := range trials {
				trials[i].is = ""
			}
		}
		trials = append(trials, textProbeValues[typ]...)
	}
	p, err := d.probe(ctx, db, of, typ)
	if err != nil {
		return "", err
	}
	defer p.close(ctx)
	schema := latchkey.NewSchema(latchkey.Fields{"v": {Column: "v", Type: typ}})
	for _, t := range trials {
		if err := p.write(ctx, t.value); err != nil {
			return "", err
		}
		value, err := p.read(ctx)
		if err != nil {
			return "", err
		}
		what := "a time.Time"
		if _, isText := t.value.(string); isText {
			what = "ISO text"
		}
		for _, c := range probedConditions(typ, t.is) {
			bound, err := schema.Bind(c.Condition)
			if err != nil {
				return "", err
			}
			inSQL, err := p.admits(ctx, bound)
			if err != nil {
				return "", err
			}
			inMemory := bound.Match(latchkey.Row{"v": value})
			switch {
			case inSQL != inMemory:
				return fmt.Sprintf("conditions on %s that the driver writes and reads differ between SQL and memory", what), nil
			case t.is != "" && inSQL != c.want:
				return fmt.Sprintf("%s that the driver writes is stored as another value, or in a form that SQL does not "+
					"recognize",
					what), nil
			}
		}
	}
	return "", nil
}

type probedCondition struct {
	latchkey.Condition
	want bool
}

// probedConditions distinguish one date or time from its neighbors.
func probedConditions(typ latchkey.FieldType, is string) []probedCondition {
	layout, step := timeLayout, time.Microsecond
	if is == "" {
		is = probedTime.Format(timeLayout)
	}
	if typ == latchkey.Date {
		layout, step = time.DateOnly, 24*time.Hour
		is = is[:len(time.DateOnly)]
	}
	at, err := time.Parse(layout, is)
	if err != nil {
		panic("sqlstore: " + err.Error())
	}
	next := at.Add(step).Format(layout)
	return []probedCondition{
		{latchkey.Where("v", latchkey.Eq, is), true}, {latchkey.Where("v", latchkey.Ne, is), false},
		{latchkey.Where("v", latchkey.Lt, is), false}, {latchkey.Where("v", latchkey.Ge, is), true},
		{latchkey.Where("v", latchkey.Lt, next), true}, {latchkey.Where("v", latchkey.Ge, next), false},
		{latchkey.Where("v", latchkey.In, []string{}), false},
		{latchkey.Not(latchkey.Where("v", latchkey.In, []string{})), true},
	}
}

// castProbe casts the value again for each question, so that nothing is stored.
type castProbe struct {
	db      *sql.DB
	dialect latchkey.Dialect
	from    string // selects the value as v
	value   any
}

func (p *castProbe) write(_ context.Context, value any) error {
	p.value = value
	return nil
}

func (p *castProbe) read(ctx context.Context) (v any, err error) {
	err = p.db.QueryRowContext(ctx, "SELECT v FROM "+p.from, p.value).Scan(&v)
	return v, err
}

func (p *castProbe) admits(ctx context.Context, bound *latchkey.Predicate) (bool, error) {
	where, args := bound.SQL(p.dialect, 2)
	var n int
	args = append([]any{p.value}, args...)
	err := p.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+p.from+" WHERE "+where, args...).Scan(&n)
	return n > 0, err
}

func (p *castProbe) close(context.Context) {}

func mysqlProbe(_ context.Context, db *sql.DB, _ column, typ latchkey.FieldType) (probe, error) {
	to := "DATETIME(6)"
	if typ == latchkey.Date {
		to = "DATE"
	}
	from := "(SELECT CAST(? AS " + to + ") AS v) AS latchkey_probe"
	return &castProbe{db: db, dialect: latchkey.MySQL, from: from}, nil
}

func postgresProbe(_ context.Context, db *sql.DB, _ column, typ latchkey.FieldType) (probe, error) {
	to := "timestamptz"
	if typ == latchkey.Date {
		to = "date"
	}
	from := "(SELECT CAST($1 AS " + to + ") AS v) AS latchkey_probe"
	return &castProbe{db: db, dialect: latchkey.Postgres, from: from}, nil
}

// tableProbe is a temporary table of one row, in a transaction that is rolled back. Drivers of SQLite look at the
// declared type of a column, which only a table has.
type tableProbe struct{ conn *sql.Conn }

var plainType = regexp.MustCompile(`^[A-Z][A-Z0-9_ ]*(\([0-9, ]*\))?$`)

func sqliteProbe(ctx context.Context, db *sql.DB, of column, _ latchkey.FieldType) (_ probe, err error) {
	if !plainType.MatchString(of.declared) {
		return nil, fmt.Errorf("the declared type %s cannot be tested", strconv.Quote(of.declared))
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	p := &tableProbe{conn}
	for _, do := range []string{"BEGIN", "CREATE TEMP TABLE latchkey_probe (v " + of.declared + ")"} {
		if _, err := conn.ExecContext(ctx, do); err != nil {
			p.close(ctx)
			return nil, err
		}
	}
	return p, nil
}

func (p *tableProbe) write(ctx context.Context, value any) error {
	_, err := p.conn.ExecContext(ctx, "DELETE FROM temp.latchkey_probe")
	if err == nil {
		_, err = p.conn.ExecContext(ctx, "INSERT INTO temp.latchkey_probe (v) VALUES (?)", value)
	}
	return err
}

func (p *tableProbe) read(ctx context.Context) (v any, err error) {
	err = p.conn.QueryRowContext(ctx, "SELECT v FROM temp.latchkey_probe").Scan(&v)
	if b, ok := v.([]byte); ok {
		v = latchkey.Blob(b)
	}
	return v, err
}

func (p *tableProbe) admits(ctx context.Context, bound *latchkey.Predicate) (bool, error) {
	where, args := bound.SQL(latchkey.SQLite, 1)
	var n int
	err := p.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM temp.latchkey_probe WHERE "+where, args...).Scan(&n)
	return n > 0, err
}

func (p *tableProbe) close(ctx context.Context) {
	rollbackSQLite(ctx, p.conn)
	p.conn.Close()
}

var errNoProbe = errors.New("the driver's conversion of times could not be tried")
