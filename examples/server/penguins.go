package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// The data set of this server: 344 penguins of the Palmer Archipelago (Gorman, Williams and Fraser 2014; CC0).
const (
	datasetID   = "f1b3d0c2-5a7e-4c59-9d0e-6a3f0c2b7e11"
	datasetName = "Penguins"
)

// datasetResource is the resource of the data set in rules and checks.
var datasetResource = latchkey.Path("dataset", datasetID)

//go:embed penguins.csv
var penguinsCSV string

// A point is a data point: a column of the data set under the id and the name that callers use.
type point struct {
	ID     string // "dp-3", in requests and replies
	Name   string // the display name, which conditions may use too
	Column string
	Type   latchkey.FieldType
	Kind   string // the name of the type in the schema call
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

// penguinSchema has each column under its id and its name. Both are one field.
var penguinSchema = func() *latchkey.Schema {
	fields := latchkey.Fields{}
	for _, p := range points {
		fields[p.ID] = latchkey.Field{Column: p.Column, Type: p.Type}
		fields[p.Name] = fields[p.ID]
	}
	return latchkey.NewSchema(fields)
}()

// catalogue declares what the server guards. It refuses nothing here, because clients of four products name resources
// of their own: what it lacks is logged.
func catalogue(log *slog.Logger) *latchkey.Catalogue {
	return &latchkey.Catalogue{
		Resources: []latchkey.ResourceType{
			{Template: "dataset/{id}", Name: "data set", Schema: penguinSchema,
				Actions: []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete}},
			{Template: "leaks", Name: "report of leaked keys", Actions: []latchkey.Action{"report"}},
		},
		Warn: func(ctx context.Context, err error) {
			log.DebugContext(ctx, "rules for what is not declared", "error", err)
		},
	}
}

var pointColumns = func() string {
	var columns []string
	for _, p := range points {
		columns = append(columns, p.Column)
	}
	return strings.Join(columns, ", ")
}()

// A penguin is one row as callers see it.
type penguin struct {
	ID, Version int64
	Values      latchkey.Row // by data point id; nil is NULL
}

// penguins keeps the data set in the same database as the tokens.
type penguins struct {
	db   *database
	read atomic.Int64
}

// openPenguins loads the rows, unless that was done before.
func openPenguins(ctx context.Context, db *database) (*penguins, error) {
	p := &penguins{db: db}
	err := db.load(ctx, "penguins", func(tx *sql.Tx) error { return p.fill(ctx, tx) })
	if err != nil {
		return nil, fmt.Errorf("opening the data set: %w", err)
	}
	return p, nil
}

func (p *penguins) fill(ctx context.Context, tx *sql.Tx) error {
	err := p.db.statement(`INSERT INTO penguin_counts VALUES (0, 0, 0, 0, ?)`, now()).exec(ctx, tx)
	if err != nil {
		return err
	}
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
		id, err := strconv.ParseInt(line[0], 10, 64)
		if err != nil {
			return err
		}
		given := latchkey.Row{}
		for i, p := range points {
			if text := line[i+1]; text != "" { // an empty cell is an unknown value
				given[p.ID] = text
			}
		}
		row, err := penguinSchema.Row(given) // it parses the text of numbers, or returns an error
		if err == nil {
			err = p.put(ctx, tx, id, row)
		}
		if err != nil {
			return fmt.Errorf("row %s: %w", line[0], err)
		}
	}
}

func (p *penguins) put(ctx context.Context, tx *sql.Tx, id int64, row latchkey.Row) error {
	return p.db.statement(`INSERT INTO penguins (id, `+pointColumns+`) VALUES (?`+strings.Repeat(", ?", len(points))+`)`,
		append([]any{id}, cells(row)...)...).exec(ctx, tx)
}

// page is a part of a listing. A limit of -1: no limit.
type page struct{ start, limit int64 }

var everything = page{0, -1}

// most stands for no limit, on each engine.
const most int64 = math.MaxInt64

// list returns the rows that rows admits, by id. The database does the filtering.
func (p *penguins) list(ctx context.Context, rows *latchkey.Predicate, at page) ([]penguin, error) {
	if at.limit < 0 {
		at.limit = most
	}
	found, err := readPenguins(ctx, p.db, p.selected().where(rows).add(` ORDER BY id LIMIT ? OFFSET ?`,
		at.limit, at.start))
	p.read.Add(int64(len(found)))
	return found, err
}

// get returns one row, or errNoRow if rows admits none.
func (p *penguins) get(ctx context.Context, rows *latchkey.Predicate, id int64) (penguin, error) {
	one, err := p.visible(ctx, p.db, rows, id)
	if err == nil {
		p.read.Add(1)
	}
	return one, err
}

// visible reads one row that rows admits. It returns errNoRow for a hidden row as for a missing one.
func (p *penguins) visible(ctx context.Context, q querier, rows *latchkey.Predicate, id int64) (penguin, error) {
	return single(readPenguins(ctx, q, p.selected().where(rows).add(` AND id = ?`, id)))
}

// stored reads a row, whether or not the caller may read it.
func (p *penguins) stored(ctx context.Context, q querier, id int64) (penguin, error) {
	return single(readPenguins(ctx, q, p.selected().add(`id = ?`, id)))
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

// selected returns the SELECT without a condition.
func (p *penguins) selected() *statement {
	return p.db.statement(`SELECT id, dv, ` + pointColumns + ` FROM penguins WHERE `)
}

func readPenguins(ctx context.Context, q querier, s *statement) ([]penguin, error) {
	found := []penguin{}
	err := s.query(ctx, q, func(rows *sql.Rows) error {
		one := penguin{Values: latchkey.Row{}}
		cells := make([]cell, len(points))
		into := []any{&one.ID, &one.Version}
		for i, p := range points {
			cells[i].as = p.Type
			into = append(into, &cells[i])
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, p := range points {
			one.Values[p.ID] = cells[i].value
		}
		found = append(found, one)
		return nil
	})
	return found, err
}

// insert adds a row that Access.Prepare admitted.
func (p *penguins) insert(ctx context.Context, row latchkey.Row) (penguin, error) {
	var one penguin
	err := p.db.write(ctx, func(tx *sql.Tx) error {
		id, err := p.db.nextID(ctx, tx, "penguins")
		if err != nil {
			return err
		}
		if err := p.put(ctx, tx, id, row); err != nil {
			return err
		}
		if one, err = p.stored(ctx, tx, id); err != nil {
			return err
		}
		return p.db.count(ctx, tx, "inserted")
	})
	return one, err
}

// update replaces the values of the row that rows admits by what change returns, in one transaction.
func (p *penguins) update(ctx context.Context, rows *latchkey.Predicate, id int64,
	change func(before latchkey.Row) (after latchkey.Row, err error)) (penguin, error) {
	var one penguin
	err := p.db.write(ctx, func(tx *sql.Tx) error {
		before, err := p.visible(ctx, tx, rows, id)
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
		err = p.db.statement(`UPDATE penguins SET `+strings.Join(set, ", ")+` WHERE id = ?`,
			append(cells(after), id)...).exec(ctx, tx)
		if err != nil {
			return err
		}
		if one, err = p.stored(ctx, tx, id); err != nil {
			return err
		}
		return p.db.count(ctx, tx, "updated")
	})
	return one, err
}

// delete removes the row that rows admits, unless may returns an error.
func (p *penguins) delete(ctx context.Context, rows *latchkey.Predicate, id int64,
	may func(before latchkey.Row) error) error {
	return p.db.write(ctx, func(tx *sql.Tx) error {
		one, err := p.visible(ctx, tx, rows, id)
		if err != nil {
			return err
		}
		if err := may(one.Values); err != nil {
			return err
		}
		if err := p.db.statement(`DELETE FROM penguins WHERE id = ?`, id).exec(ctx, tx); err != nil {
			return err
		}
		return p.db.count(ctx, tx, "deleted")
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
func (db *database) count(ctx context.Context, tx *sql.Tx, counter string) error {
	return db.statement(`UPDATE penguin_counts SET `+counter+` = `+counter+` + 1, last_change = ?`, now()).exec(ctx, tx)
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// counts is the summary of the data set that the datasets call shows.
type counts struct {
	Rows, Inserted, Updated, Deleted, Read int64
	LastChange                             string // ISO 8601
}

// summary counts the rows that rows admits. The other figures are of the whole data set.
func (p *penguins) summary(ctx context.Context, rows *latchkey.Predicate) (counts, error) {
	var c counts
	err := p.db.statement(`SELECT (SELECT count(*) FROM penguins WHERE `).where(rows).
		add(`), inserted, updated, deleted, rows_read, last_change FROM penguin_counts`).
		row(ctx, p.db, &c.Rows, &c.Inserted, &c.Updated, &c.Deleted, &c.Read, &c.LastChange)
	c.Read += p.read.Load()
	return c, err
}

// flush writes the count of rows read. The count is kept in memory, so that a read causes no write. Other processes see
// it after a flush.
func (p *penguins) flush(ctx context.Context) error {
	n := p.read.Swap(0)
	if n == 0 {
		return nil
	}
	err := p.db.statement(`UPDATE penguin_counts SET rows_read = rows_read + ?`, n).exec(ctx, p.db)
	if err != nil {
		p.read.Add(n)
	}
	return err
}
