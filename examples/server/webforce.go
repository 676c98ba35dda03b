package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
)

// wfDatabase is a database of the account as the WebForce API shows it. Permissions are checked before any of its
// functions is called.
type wfDatabase struct {
	id, name, description string
	columns               []point
	rows                  func(context.Context) ([]object, error)
	row                   func(ctx context.Context, id int64) (object, error)
	// set changes one cell. It returns a *latchkey.ConditionError for an unknown column and for a value that does not fit.
	set func(ctx context.Context, access latchkey.Access, id int64, column string, value any) error
}

// mountWebForce serves the Access API of WebForce and the commands for its tokens.
func (a *app) mountWebForce(mux *http.ServeMux) {
	databases := []wfDatabase{a.wfPenguins(), a.islands.database()}
	webforce.Mount(mux, a.account, &webforce.Options{Logger: a.log, Commands: map[string]webforce.Command{
		"db.get_all": {Run: func(_ *http.Request, c webforce.Call) (any, error) {
			shown := []object{}
			for _, db := range databases {
				if c.May(webforce.Get, db.id) {
					shown = append(shown, db.describe())
				}
			}
			return object{"databases": shown}, nil
		}},
		"db.get": on(databases, func(_ *http.Request, _ webforce.Call, db wfDatabase) (any, error) {
			return db.describe(), nil
		}),
		"db.column.get": on(databases, func(_ *http.Request, _ webforce.Call, db wfDatabase) (any, error) {
			columns := []object{}
			for _, c := range db.columns {
				columns = append(columns, object{"id": c.ID, "name": c.Name, "type": c.Kind})
			}
			return object{"columns": columns}, nil
		}),
		"db.row.get_all": reading(on(databases, func(r *http.Request, _ webforce.Call, db wfDatabase) (any, error) {
			rows, err := db.rows(r.Context())
			return object{"rows": rows}, err
		})),
		"db.row.get": reading(on(databases, func(r *http.Request, c webforce.Call, db wfDatabase) (any, error) {
			id, err := wfRowID(c)
			if err != nil {
				return nil, err
			}
			return db.row(r.Context(), id)
		})),
		"db.cell.update":               on(databases, updateCell),
		"site.stock_images.get_images": {Run: stockImages},
	}})
}

func (db wfDatabase) describe() object {
	return object{"id": db.id, "name": db.name, "description": db.description}
}

// on finds the database of a command.
func on(databases []wfDatabase, do func(*http.Request, webforce.Call, wfDatabase) (any, error)) webforce.Command {
	return webforce.Command{Run: func(r *http.Request, c webforce.Call) (any, error) {
		id, err := c.Text("db_id")
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(databases, func(db wfDatabase) bool { return db.id == id })
		if i < 0 {
			return nil, latchkey.ErrNotFound
		}
		return do(r, c, databases[i])
	}}
}

// reading holds commands that the documentation of the product does not name.
func reading(c webforce.Command) webforce.Command {
	c.Needs = webforce.OnDatabase(webforce.Get)
	return c
}

func wfRowID(c webforce.Call) (int64, error) {
	text, err := c.Text("row_id")
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errNoRow
	}
	return id, nil
}

// updateCell returns no data: a caller that may update cells need not be allowed to read them.
func updateCell(r *http.Request, c webforce.Call, db wfDatabase) (any, error) {
	id, err := wfRowID(c)
	if err != nil {
		return nil, err
	}
	column, err := c.Text("column_id")
	if err != nil {
		return nil, err
	}
	text, err := c.Text("value")
	if err != nil {
		return nil, err
	}
	var value any = text
	if text == "" {
		value = nil // an empty cell is an unknown value, as in the CSV file
	}
	err = db.set(r.Context(), c.Access, id, column, value)
	var unfit *latchkey.ConditionError
	switch {
	case errors.As(err, &unfit) && unfit.Unknown:
		return nil, &webforce.Error{Message: "No such column", Err: err}
	case errors.As(err, &unfit):
		return nil, &webforce.Error{Message: "Parameter value does not fit: " + unfit.Reason, Err: err}
	}
	return nil, err
}

// wfPenguins is the data set that the other surfaces serve, too.
func (a *app) wfPenguins() wfDatabase {
	every, err := penguinSchema.Bind(latchkey.AllRows)
	if err != nil { // it names no field
		panic(err)
	}
	db := wfDatabase{id: "7", name: datasetName, description: "Penguins of the Palmer Archipelago", columns: points}
	shown := func(p penguin) object {
		row := object{"id": strconv.FormatInt(p.ID, 10)}
		maps.Copy(row, p.Values)
		return row
	}
	db.rows = func(ctx context.Context) ([]object, error) {
		found, err := a.penguins.list(ctx, every, everything)
		rows := []object{}
		for _, p := range found {
			rows = append(rows, shown(p))
		}
		return rows, err
	}
	db.row = func(ctx context.Context, id int64) (object, error) {
		p, err := a.penguins.get(ctx, every, id)
		return shown(p), err
	}
	db.set = func(ctx context.Context, access latchkey.Access, id int64, column string, value any) error {
		_, err := a.penguins.update(ctx, every, id, func(before latchkey.Row) (latchkey.Row, error) {
			after := maps.Clone(before)
			for _, p := range points { // a column is named by its id or its name
				if column == p.Name {
					column = p.ID
				}
			}
			after[column] = value
			after, err := access.Prepare(webforce.Update, webforce.Database("7"), penguinSchema, before, after)
			return byID(after), err
		})
		return err
	}
	return db
}

// islands is a second, small database: the islands of the penguins.
type islands struct{ db *database }

var islandColumns = []point{
	{"c1", "name", "name", latchkey.Text, "text"},
	{"c2", "latitude", "latitude", latchkey.Number, "number"},
	{"c3", "longitude", "longitude", latchkey.Number, "number"},
}

var islandSchema = func() *latchkey.Schema {
	fields := latchkey.Fields{}
	for _, c := range islandColumns {
		fields[c.ID] = latchkey.Field{Column: c.Column, Type: c.Type}
	}
	return latchkey.NewSchema(fields)
}()

// openIslands loads the rows, unless that was done before.
func openIslands(ctx context.Context, db *database) (*islands, error) {
	err := db.load(ctx, "islands", func(tx *sql.Tx) error {
		return db.statement(`INSERT INTO islands VALUES
			(1, 'Torgersen', -64.77, -64.08), (2, 'Biscoe', -65.43, -65.5), (3, 'Dream', -64.73, -64.23)`).exec(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("opening the islands: %w", err)
	}
	return &islands{db}, nil
}

func (i *islands) database() wfDatabase {
	return wfDatabase{id: "8", name: "Islands", description: "Where the penguins live", columns: islandColumns,
		rows: func(ctx context.Context) ([]object, error) { return i.read(ctx, i.db, ``) },
		row:  func(ctx context.Context, id int64) (object, error) { return i.one(ctx, i.db, id) },
		set:  i.set,
	}
}

func (i *islands) read(ctx context.Context, q querier, where string, args ...any) ([]object, error) {
	found := []object{}
	s := i.db.statement(`SELECT id, name, latitude, longitude FROM islands `+where+` ORDER BY id`, args...)
	err := s.query(ctx, q, func(rows *sql.Rows) error {
		var id int64
		cells := []cell{{as: islandColumns[0].Type}, {as: islandColumns[1].Type}, {as: islandColumns[2].Type}}
		if err := rows.Scan(&id, &cells[0], &cells[1], &cells[2]); err != nil {
			return err
		}
		row := object{"id": strconv.FormatInt(id, 10)}
		for n, c := range islandColumns {
			row[c.ID] = cells[n].value
		}
		found = append(found, row)
		return nil
	})
	return found, err
}

func (i *islands) one(ctx context.Context, q querier, id int64) (object, error) {
	found, err := i.read(ctx, q, `WHERE id = ?`, id)
	if err == nil && len(found) == 0 {
		err = errNoRow
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

func (i *islands) set(ctx context.Context, access latchkey.Access, id int64, column string, value any) error {
	return i.db.write(ctx, func(tx *sql.Tx) error {
		row, err := i.one(ctx, tx, id)
		if err != nil {
			return err
		}
		before := latchkey.Row{}
		for _, c := range islandColumns {
			before[c.ID] = row[c.ID]
			if column == c.Name {
				column = c.ID
			}
		}
		after := maps.Clone(before)
		after[column] = value
		if after, err = access.Prepare(webforce.Update, webforce.Database("8"), islandSchema, before, after); err != nil {
			return err
		}
		return i.db.statement(`UPDATE islands SET name = ?, latitude = ?, longitude = ? WHERE id = ?`,
			after["c1"], after["c2"], after["c3"], id).exec(ctx, tx)
	})
}

// stockImages is one collection of two pictures, each small enough for a data URL.
func stockImages(_ *http.Request, c webforce.Call) (any, error) {
	collection, err := c.Text("collection_id")
	if err != nil {
		return nil, err
	}
	if collection != "1" {
		return nil, latchkey.ErrNotFound
	}
	images := []object{}
	for i, colour := range []string{"navy", "silver"} {
		picture := func(width int) string {
			return fmt.Sprintf("data:image/svg+xml,%%3Csvg xmlns='http://www.w3.org/2000/svg' width='%[1]d' height='%[1]d'%%3E"+
				"%%3Crect width='100%%25' height='100%%25' fill='%[2]s'/%%3E%%3C/svg%%3E", width, colour)
		}
		images = append(images, object{"id": strconv.Itoa(i + 1), "collection_id": collection,
			"sizes": object{"small": picture(100), "large": picture(800)}})
	}
	return object{"images": images}, nil
}
