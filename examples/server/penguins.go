package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// The one data set of this server: 344 penguins of the Palmer Archipelago (Gorman, Williams and Fraser 2014; CC0).
const (
	datasetID   = "f1b3d0c2-5a7e-4c59-9d0e-6a3f0c2b7e11"
	datasetName = "Penguins"
)

// datasetResource is what rules and checks about the data set name.
var datasetResource = latchkey.Path("dataset", datasetID)

//go:embed penguins.csv
var penguinsCSV string

// A point is a data point: a column of the data set under the id and the name that callers use.
type point struct {
	ID     string // "dp-3", in requests and replies
	Name   string // the display name, which conditions may use too
	Column string
	Type   latchkey.FieldType
	Kind   string // the type's name in the schema call
}

var points = []point{
	{"dp-1", "species", "species", latchkey.Text, "text"},
	{"dp-2", "island", "island", latchkey.Text, "text"},
	{"dp-3", "beak length", "beak_length", latchkey.Number, "number"},
	{"dp-4", "beak depth", "beak_depth", latchkey.Number, "number"},
	{"dp-5", "flipper length", "flipper_length", latchkey.Integer, "integer"},
	{"dp-6", "body mass", "body_mass", latchkey.Integer, "integer"},
	{"dp-7", "sex", "sex", latchkey.Text, "text"},
}

// penguinSchema knows each column under its id and its name; both are one field.
var penguinSchema = func() *latchkey.Schema {
	fields := latchkey.Fields{}
	for _, p := range points {
		fields[p.ID] = latchkey.Field{Column: p.Column, Type: p.Type}
		fields[p.Name] = fields[p.ID]
	}
	return latchkey.NewSchema(fields)
}()

var pointColumns = func() string {
	var columns []string
	for _, p := range points {
		columns = append(columns, p.Column)
	}
	return strings.Join(columns, ", ")
}()

// penguinTables is one statement list: all of it happens, or nothing.
const penguinTables = `
CREATE TABLE penguins (
	id INTEGER PRIMARY KEY AUTOINCREMENT, -- the id of a deleted row is never given again
	dv INTEGER NOT NULL DEFAULT 0,        -- data version: one more with each edit
	species TEXT, island TEXT,
	beak_length REAL, beak_depth REAL,
	flipper_length INTEGER, body_mass INTEGER,
	sex TEXT
) STRICT;
CREATE TABLE penguin_counts (
	inserted INTEGER NOT NULL, updated INTEGER NOT NULL, deleted INTEGER NOT NULL, rows_read INTEGER NOT NULL,
	last_change TEXT NOT NULL
) STRICT;
INSERT INTO penguin_counts VALUES (0, 0, 0, 0, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
`

// A penguin is one row as callers see it.
type penguin struct {
	ID, Version int64
	Values      latchkey.Row // by data point id; nil is NULL
}

// penguins keeps the data set in the same SQLite file as the tokens.
type penguins struct {
	db   *sql.DB // its transactions are immediate: _txlock=immediate
	read atomic.Int64
}

// openPenguins makes the tables and loads the rows, unless that was done before.
func openPenguins(ctx context.Context, db *sql.DB) (*penguins, error) {
	p := &penguins{db: db}
	err := p.write(ctx, func(tx *sql.Tx) error {
		var there bool
		err := tx.QueryRowContext(ctx,
			`SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'penguins')`).Scan(&there)
		if err != nil || there {
			return err
		}
		return loadPenguins(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the data set: %w", err)
	}
	return p, nil
}

func loadPenguins(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, penguinTables); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx,
		`INSERT INTO penguins (id, `+pointColumns+`) VALUES (?`+strings.Repeat(", ?", len(points))+`)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	lines := csv.NewReader(strings.NewReader(penguinsCSV))
	lines.FieldsPerRecord = len(points) + 1
	if _, err := lines.Read(); err != nil { // the heading
		return err
	}
	for {
		line, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		args := make([]any, len(line))
		for i, cell := range line {
			if cell != "" { // an empty cell is an unknown value
				args[i] = cell // a STRICT table turns the text of a number into the number, or refuses it
			}
		}
		if _, err := insert.ExecContext(ctx, args...); err != nil {
			return fmt.Errorf("row %s: %w", line[0], err)
		}
	}
}

// write runs do in one transaction, which holds SQLite's write lock from its start.
func (p *penguins) write(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	defer tx.Rollback() // does nothing after a commit
	if err := do(tx); err != nil {
		return err
	}
	return unavailable(tx.Commit())
}

// unavailable says that the database did not do what it can do: the caller may try again.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: the data set: %w", latchkey.ErrUnavailable, err)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// page is a part of a listing. A limit of -1 is none.
type page struct{ start, limit int64 }

var everything = page{0, -1}

// list returns the rows that rows admits, by id. SQLite does the filtering.
func (p *penguins) list(ctx context.Context, rows *latchkey.Predicate, at page) ([]penguin, error) {
	where, args := rows.SQL(latchkey.SQLite, 1)
	found, err := queryPenguins(ctx, p.db, where+` ORDER BY id LIMIT ? OFFSET ?`, append(args, at.limit, at.start))
	p.read.Add(int64(len(found)))
	return found, err
}

// get returns one row, or errNoRow when there is none that rows admits.
func (p *penguins) get(ctx context.Context, rows *latchkey.Predicate, id int64) (penguin, error) {
	one, err := visible(ctx, p.db, rows, id)
	if err == nil {
		p.read.Add(1)
	}
	return one, err
}

// visible reads one row that rows admits. What is hidden and what is not there look alike: errNoRow.
func visible(ctx context.Context, q querier, rows *latchkey.Predicate, id int64) (penguin, error) {
	where, args := rows.SQL(latchkey.SQLite, 1)
	return single(queryPenguins(ctx, q, where+` AND id = ?`, append(args, id)))
}

// stored reads a row as SQLite keeps it, whoever may see it.
func stored(ctx context.Context, q querier, id int64) (penguin, error) {
	return single(queryPenguins(ctx, q, `id = ?`, []any{id}))
}

func single(found []penguin, err error) (penguin, error) {
	switch {
	case err != nil:
		return penguin{}, err
	case len(found) == 0:
		return penguin{}, errNoRow
	}
	return found[0], nil
}

func queryPenguins(ctx context.Context, q querier, where string, args []any) ([]penguin, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, dv, `+pointColumns+` FROM penguins WHERE `+where, args...)
	if err != nil {
		return nil, unavailable(err)
	}
	defer rows.Close()
	found := []penguin{}
	for rows.Next() {
		one := penguin{Values: latchkey.Row{}}
		cells := make([]any, len(points))
		into := []any{&one.ID, &one.Version}
		for i := range cells {
			into = append(into, &cells[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, unavailable(err)
		}
		for i, p := range points {
			one.Values[p.ID] = cells[i]
		}
		found = append(found, one)
	}
	return found, unavailable(rows.Err())
}

// insert adds a row that Access.Prepare admitted.
func (p *penguins) insert(ctx context.Context, row latchkey.Row) (penguin, error) {
	var one penguin
	err := p.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx,
			`INSERT INTO penguins (`+pointColumns+`) VALUES (?`+strings.Repeat(", ?", len(points)-1)+`)`, cells(row)...)
		if err != nil {
			return err
		}
		id, err := done.LastInsertId()
		if err != nil {
			return err
		}
		if one, err = stored(ctx, tx, id); err != nil {
			return err
		}
		return count(ctx, tx, "inserted")
	})
	return one, err
}

// update replaces the values of the row that rows admits by what change makes of them, in one transaction.
func (p *penguins) update(ctx context.Context, rows *latchkey.Predicate, id int64,
	change func(before latchkey.Row) (after latchkey.Row, err error)) (penguin, error) {
	var one penguin
	err := p.write(ctx, func(tx *sql.Tx) error {
		before, err := visible(ctx, tx, rows, id)
		if err != nil {
			return err
		}
		after, err := change(before.Values)
		if err != nil {
			return err
		}
		set := []string{"dv = dv + 1"}
		for _, p := range points {
			set = append(set, p.Column+" = ?")
		}
		_, err = tx.ExecContext(ctx, `UPDATE penguins SET `+strings.Join(set, ", ")+` WHERE id = ?`,
			append(cells(after), id)...)
		if err != nil {
			return err
		}
		if one, err = stored(ctx, tx, id); err != nil {
			return err
		}
		return count(ctx, tx, "updated")
	})
	return one, err
}

// delete removes the row that rows admits, when may has nothing against it.
func (p *penguins) delete(ctx context.Context, rows *latchkey.Predicate, id int64,
	may func(before latchkey.Row) error) error {
	return p.write(ctx, func(tx *sql.Tx) error {
		one, err := visible(ctx, tx, rows, id)
		if err != nil {
			return err
		}
		if err := may(one.Values); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM penguins WHERE id = ?`, id); err != nil {
			return err
		}
		return count(ctx, tx, "deleted")
	})
}

func cells(row latchkey.Row) []any {
	var args []any
	for _, p := range points {
		args = append(args, row[p.ID])
	}
	return args
}

// count adds one to a counter. Its name comes from this file.
func count(ctx context.Context, tx *sql.Tx, counter string) error {
	_, err := tx.ExecContext(ctx, `UPDATE penguin_counts SET `+counter+` = `+counter+` + 1, last_change = ?`,
		time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	return err
}

// counts is the summary of the data set that the datasets call shows.
type counts struct {
	Rows, Inserted, Updated, Deleted, Read int64
	LastChange                             string // ISO 8601
}

// summary counts the rows that rows admits. The other figures are of the whole data set.
func (p *penguins) summary(ctx context.Context, rows *latchkey.Predicate) (counts, error) {
	where, args := rows.SQL(latchkey.SQLite, 1)
	var c counts
	err := p.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM penguins WHERE `+where+`),
		inserted, updated, deleted, rows_read, last_change FROM penguin_counts`, args...).
		Scan(&c.Rows, &c.Inserted, &c.Updated, &c.Deleted, &c.Read, &c.LastChange)
	c.Read += p.read.Load()
	return c, unavailable(err)
}

// flush writes the count of rows read, which is kept in memory so that reading writes nothing.
func (p *penguins) flush(ctx context.Context) error {
	n := p.read.Swap(0)
	if n == 0 {
		return nil
	}
	_, err := p.db.ExecContext(ctx, `UPDATE penguin_counts SET rows_read = rows_read + ?`, n)
	if err != nil {
		p.read.Add(n)
	}
	return err
}
