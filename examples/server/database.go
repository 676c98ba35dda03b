package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// database is the database of this server. Only engine knows what differs between engines.
type database struct {
	*sql.DB
	engine *engine
}

type engine struct {
	dialect latchkey.Dialect
	types   *strings.Replacer // of the column types in tables
	// Transactions that write wait for each other. On SQLite all do, from their start (_txlock=immediate).
	isolation sql.IsolationLevel
	waits     bool
	// alone takes a lock, so that one process at a time starts on this database. The lock ends with
	// the process, at the latest.
	alone func(ctx context.Context, db *sql.DB) (release func(), err error)
}

var sqliteEngine = &engine{
	dialect: latchkey.SQLite,
	types: strings.NewReplacer("{name}", "TEXT", "{text}", "TEXT", "{integer}", "INTEGER", "{number}", "REAL",
		"{options}", "STRICT"),
	alone: func(context.Context, *sql.DB) (func(), error) { return func() {}, nil },
}

var postgresEngine = &engine{
	dialect: latchkey.Postgres,
	types: strings.NewReplacer("{name}", "TEXT", "{text}", "TEXT", "{integer}", "BIGINT", "{number}", "DOUBLE PRECISION",
		"{options}", ""),
	isolation: sql.LevelReadCommitted, // a transaction that waited sees what the one before it wrote
	waits:     true,
	alone:     aloneOnPostgres,
}

var mysqlEngine = &engine{
	dialect: latchkey.MySQL,
	types: strings.NewReplacer("{name}", "VARCHAR(190)", "{text}", "LONGTEXT", "{integer}", "BIGINT", "{number}", "DOUBLE",
		"{options}", "ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
	isolation: sql.LevelReadCommitted,
	waits:     true,
	alone:     aloneOnMySQL,
}

// tables are created one by one, because MySQL commits each at once. None is created twice.
var tables = []string{
	`server_setup (name {name} PRIMARY KEY, value {text} NOT NULL)`,
	// The last id that was given to a row of a table. The id of a deleted row is never given again. A table whose rows
	// were not loaded yet is not listed. Every transaction that writes locks the row of penguins first.
	`last_ids (name {name} PRIMARY KEY, id {integer} NOT NULL)`,
	`penguins (
		id {integer} PRIMARY KEY,
		dv {integer} NOT NULL DEFAULT 0, -- data version: one more with each edit
		species {text}, island {text},
		beak_length {number}, beak_depth {number},
		flipper_length {integer}, body_mass {integer},
		sex {text}
	)`,
	`penguin_counts (
		inserted {integer} NOT NULL, updated {integer} NOT NULL, deleted {integer} NOT NULL, rows_read {integer} NOT NULL,
		last_change {text} NOT NULL
	)`,
	`islands (id {integer} PRIMARY KEY, name {text}, latitude {number}, longitude {number})`,
}

func (db *database) makeTables(ctx context.Context) error {
	for _, table := range tables {
		_, err := db.ExecContext(ctx, db.engine.types.Replace(`CREATE TABLE IF NOT EXISTS `+table+` {options}`))
		if err != nil {
			return err
		}
	}
	return nil
}

// write runs do in a transaction. Only one transaction that writes runs at a time.
func (db *database) write(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: db.engine.isolation})
	if err != nil {
		return unavailable(err)
	}
	defer tx.Rollback() // does nothing after a commit
	if db.engine.waits {
		var id int64
		err := tx.QueryRowContext(ctx, `SELECT id FROM last_ids WHERE name = 'penguins' FOR UPDATE`).Scan(&id)
		// no row: nothing is loaded, and this process holds the lock of the start
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return unavailable(err)
		}
	}
	if err := do(tx); err != nil {
		return err
	}
	return unavailable(tx.Commit())
}

// load fills a table with its first rows in one transaction, unless that was done before.
func (db *database) load(ctx context.Context, table string, fill func(*sql.Tx) error) error {
	return db.write(ctx, func(tx *sql.Tx) error {
		var loaded, last int64
		err := db.statement(`SELECT (SELECT count(*) FROM last_ids WHERE name = ?), (SELECT COALESCE(MAX(id), 0) FROM `+table+
			`)`,
			table).row(ctx, tx, &loaded, &last)
		if err != nil || loaded > 0 {
			return err
		}
		if last == 0 { // otherwise an earlier version of this program loaded the rows
			if err := fill(tx); err != nil {
				return err
			}
		}
		return db.statement(`INSERT INTO last_ids (name, id) SELECT ?, COALESCE(MAX(id), 0) FROM `+table, table).exec(ctx, tx)
	})
}

// nextID returns the id of the next row of a table.
func (db *database) nextID(ctx context.Context, tx *sql.Tx, table string) (id int64, err error) {
	if err := db.statement(`UPDATE last_ids SET id = id + 1 WHERE name = ?`, table).exec(ctx, tx); err != nil {
		return 0, err
	}
	err = db.statement(`SELECT id FROM last_ids WHERE name = ?`, table).row(ctx, tx, &id)
	return id, err
}

// takeID records that a row has an id that the caller chose.
func (db *database) takeID(ctx context.Context, tx *sql.Tx, table string, id any) error {
	return db.statement(`UPDATE last_ids SET id = ? WHERE name = ? AND id < ?`, id, table, id).exec(ctx, tx)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// A statement is a text and its arguments. Each ? of its texts becomes a placeholder of the engine.
type statement struct {
	dialect latchkey.Dialect
	text    strings.Builder
	args    []any
}

func (db *database) statement(text string, args ...any) *statement {
	return (&statement{dialect: db.engine.dialect}).add(text, args...)
}

func (s *statement) add(text string, args ...any) *statement {
	for _, arg := range args {
		before, after, found := strings.Cut(text, "?")
		if !found {
			panic("an argument without a place: " + text)
		}
		s.text.WriteString(before)
		if s.dialect == latchkey.Postgres {
			s.text.WriteString("$" + strconv.Itoa(len(s.args)+1))
		} else {
			s.text.WriteByte('?')
		}
		s.args, text = append(s.args, column(arg)), after
	}
	s.text.WriteString(text)
	return s
}

// where adds a condition on the rows.
func (s *statement) where(rows *latchkey.Predicate) *statement {
	text, args := rows.SQL(s.dialect, len(s.args)+1)
	s.text.WriteString(text)
	s.args = append(s.args, args...)
	return s
}

// column returns a value of a row as every driver accepts it. The decimal text of a number becomes the nearest float,
// as in the columns.
func column(value any) any {
	if number, ok := value.(json.Number); ok {
		if f, err := number.Float64(); err == nil {
			return f
		}
		return string(number) // too large: the engine refuses it
	}
	return value
}

func (s *statement) query(ctx context.Context, on querier, scan func(*sql.Rows) error) error {
	rows, err := on.QueryContext(ctx, s.text.String(), s.args...)
	if err != nil {
		return unavailable(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return unavailable(err)
		}
	}
	return unavailable(rows.Err())
}

// row reads the only row.
func (s *statement) row(ctx context.Context, on querier, into ...any) error {
	n := 0
	err := s.query(ctx, on, func(rows *sql.Rows) error {
		n++
		return rows.Scan(into...)
	})
	if err == nil && n != 1 {
		err = unavailable(fmt.Errorf("%d rows where there is one", n))
	}
	return err
}

func (s *statement) exec(ctx context.Context, on querier) error {
	_, err := on.ExecContext(ctx, s.text.String(), s.args...)
	return unavailable(err)
}

// unavailable wraps an error of the database. The caller may try again.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: the database: %w", latchkey.ErrUnavailable, err)
}

// A cell reads a column as the type of its field. Otherwise drivers return a text as bytes, or a number as text.
type cell struct {
	as    latchkey.FieldType
	value any // string, int64 or float64; nil is NULL
}

func (c *cell) Scan(from any) (err error) {
	switch c.as {
	case latchkey.Integer:
		c.value, err = scan[int64](from)
	case latchkey.Number:
		c.value, err = scan[float64](from)
	default:
		c.value, err = scan[string](from)
	}
	return err
}

func scan[T any](from any) (any, error) {
	var v sql.Null[T]
	if err := v.Scan(from); err != nil || !v.Valid {
		return nil, err
	}
	return v.V, nil
}

// startWait is how long a start waits for another one. A start takes a second or two.
const startWait = time.Minute

var errStarting = fmt.Errorf("another process has been starting on this database for %v", startWait)

func aloneOnPostgres(ctx context.Context, db *sql.DB) (func(), error) {
	// A lock of the transaction, not of the session: behind a pooler, several clients share a session.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	release := func() { tx.Rollback() }
	// The transaction is idle meanwhile, and must not be ended for that.
	if _, err := tx.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
		release()
		return nil, err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, startWait, errStarting)
	defer cancel()
	_, err = tx.ExecContext(waiting,
		`SELECT pg_advisory_xact_lock(hashtextextended('latchkey example server ' || current_schema(), 0))`)
	if err != nil {
		release()
		if ctx.Err() == nil && waiting.Err() != nil {
			err = errStarting
		}
		return nil, err
	}
	return release, nil
}

func aloneOnMySQL(ctx context.Context, db *sql.DB) (func(), error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	// The lock belongs to the connection.
	release := func() {
		conn.Raw(func(any) error { return driver.ErrBadConn })
		conn.Close()
	}
	var got sql.NullInt64
	// Hashed, because the name of a lock has at most 64 characters, and so has that of a database.
	err = conn.QueryRowContext(ctx, `SELECT GET_LOCK(CONCAT('latchkey.server.', MD5(DATABASE())), ?)`,
		int64(startWait/time.Second)).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errStarting
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}
