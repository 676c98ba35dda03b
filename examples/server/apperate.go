package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
)

// The workspace of this server, in the terms of IEX Cloud. A publishable token may read the product's own data and the
// penguins.
const workspace = "ACME"

func apperatePermissions() latchkey.Permissions {
	grant := apperate.Grant{Datasets: []apperate.DatasetGrant{{Workspace: workspace, ID: "PENGUINS", Read: true}}}
	p, err := grant.Permissions()
	if err != nil { // only for invalid ids, and the ids above are valid
		panic(err)
	}
	return p
}

// withApperate serves the paths of IEX Cloud, and passes all others to next. It runs before the mux, because some
// clients of the product send "//", which a mux would redirect.
func (a *app) withApperate(next http.Handler) http.Handler {
	sets := a.apperateSets()
	data := http.NewServeMux()
	for pattern, do := range map[string]func(*http.Request, *apperate.Call) (any, error){
		"GET /data/" + workspace + "/{sets}":          readSets(sets),
		"GET /data/" + workspace + "/{sets}/{keys}":   readSets(sets),
		"GET /query/" + workspace + "/{sets}":         readSets(sets),
		"GET /query/" + workspace + "/{sets}/{keys}":  readSets(sets),
		"POST /record/" + workspace + "/{set}":        writeSet(sets),
		"POST /write/" + workspace + "/{set}":         writeSet(sets),
		"DELETE /data/" + workspace + "/{set}/{keys}": deleteFromSet(sets),
		"GET /datasets/" + workspace:                  listSets(sets),
		"GET /data/" + workspace:                      listSets(sets),
		"GET /data/CORE/QUOTE/{keys}":                 coreQuotes,
		"GET /stock/{symbol}/quote":                   stockQuote,
		"GET /stock/{symbol}/quote/{field}":           stockQuote,
		"GET /stock/{symbol}/price":                   stockPrice,
		"GET /ref-data/symbols":                       stockSymbols,
		"POST /account/messagebudget":                 messageBudget,
		"POST /account/payasyougo":                    payAsYouGo,
		"/":                                           nothingHere,
	} {
		data.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			call, _ := apperate.CallFrom(r.Context())
			answer, err := do(r, call)
			if err != nil {
				a.logError(r, err)
				apperate.WriteError(w, r, err)
				return
			}
			apperate.WriteJSON(w, answer)
		})
	}
	gateway := apperate.Handler(a.account, &apperate.Options{
		Rows:   true,
		Logger: a.log,
		// All callers of this demonstration share one address, so a limit per address would limit all of them.
		AddressRate: latchkey.Rate{Count: 2000, Per: time.Second, Burst: 2000},
	}, data)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if apperate.Serves(r.URL.Path) {
			gateway.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func nothingHere(*http.Request, *apperate.Call) (any, error) { return nil, latchkey.ErrNotFound }

// An apperateSet is a table as a data set of IEX Cloud. The first field is the key, an integer.
type apperateSet struct {
	db     *database
	table  string
	on     latchkey.Resource
	fields []apperateField // the key first
	schema *latchkey.Schema
	// counted: changes increment penguin_counts and the dv of the row.
	counted bool
}

type apperateField struct {
	name, column string
	kind         latchkey.FieldType
}

func newApperateSet(db *database, id, table string, fields ...apperateField) apperateSet {
	schema := latchkey.Fields{}
	for _, f := range fields {
		schema[f.name] = latchkey.Field{Column: f.column, Type: f.kind}
	}
	return apperateSet{db: db, table: table, on: latchkey.Path("dataset", workspace, id), fields: fields,
		schema: latchkey.NewSchema(schema)}
}

// apperateSets are the data sets of the workspace, by id.
func (a *app) apperateSets() map[string]apperateSet {
	return map[string]apperateSet{"PENGUINS": a.apperatePenguins(), "ISLANDS": a.apperateIslands()}
}

func (a *app) apperatePenguins() apperateSet {
	names, _, _ := strings.Cut(penguinsCSV, "\n")
	fields := []apperateField{{"id", "id", latchkey.Integer}}
	for i, name := range strings.Split(strings.TrimSpace(names), ",")[1:] {
		fields = append(fields, apperateField{name, points[i].Column, points[i].Type})
	}
	set := newApperateSet(a.db, "PENGUINS", "penguins", fields...)
	set.counted = true
	return set
}

func (a *app) apperateIslands() apperateSet {
	return newApperateSet(a.db, "ISLANDS", "islands", apperateField{"id", "id", latchkey.Integer},
		apperateField{"name", "name", latchkey.Text}, apperateField{"latitude", "latitude", latchkey.Number},
		apperateField{"longitude", "longitude", latchkey.Number})
}

func (s *apperateSet) columns() string {
	var columns []string
	for _, f := range s.fields {
		columns = append(columns, f.column)
	}
	return strings.Join(columns, ", ")
}

// record is a row with its fields in the order of the columns.
type record struct {
	set   *apperateSet
	cells []any
}

// MarshalJSON writes {"id":1,"species":"Adelie",…}.
func (r record) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, f := range r.set.fields {
		if i > 0 {
			text = append(text, ',')
		}
		value, err := json.Marshal(r.cells[i])
		if err != nil {
			return nil, err
		}
		text = append(append(strconv.AppendQuote(text, f.name), ':'), value...)
	}
	return append(text, '}'), nil
}

func (r record) row() latchkey.Row {
	row := latchkey.Row{}
	for i, f := range r.set.fields {
		row[f.name] = r.cells[i]
	}
	return row
}

// read returns the rows that condition admits: those with a key among keys, or all if keys is nil. Limit -1 is none.
func (s *apperateSet) read(ctx context.Context, q querier, rows latchkey.Condition, keys []string, limit int) (
	[]record, error) {
	bound, err := s.schema.Bind(rows)
	if err != nil {
		return nil, err
	}
	key := s.fields[0].column
	selected := s.db.statement(`SELECT ` + s.columns() + ` FROM ` + s.table + ` WHERE `).where(bound)
	if keys != nil {
		ids := []any{}
		for _, key := range keys {
			if id, err := strconv.ParseInt(key, 10, 64); err == nil { // otherwise no row has it
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			return nil, nil
		}
		selected.add(` AND `+key+` IN (?`+strings.Repeat(", ?", len(ids)-1)+`)`, ids...)
	}
	count := int64(limit)
	if count < 0 {
		count = most
	}
	selected.add(` ORDER BY `+key+` LIMIT ?`, count)
	var records []record
	err = selected.query(ctx, q, func(found *sql.Rows) error {
		one := record{s, make([]any, len(s.fields))}
		cells, into := make([]cell, len(s.fields)), []any{}
		for i, f := range s.fields {
			cells[i].as = f.kind
			into = append(into, &cells[i])
		}
		if err := found.Scan(into...); err != nil {
			return err
		}
		for i := range cells {
			one.cells[i] = cells[i].value
		}
		records = append(records, one)
		return nil
	})
	return records, err
}

// maxBatch is how many keys a request may name.
const maxBatch = 100

// readSets replies with the records of one data set or of several, one after the other. The gateway has checked that
// the caller may read each of them.
func readSets(sets map[string]apperateSet) func(*http.Request, *apperate.Call) (any, error) {
	return func(r *http.Request, c *apperate.Call) (any, error) {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || len(c.Keys) > maxBatch {
			return nil, httpadapter.ErrBadRequest
		}
		limit := -1
		if text := query.Get("limit"); text != "" {
			if limit, err = strconv.Atoi(text); err != nil || limit < 0 {
				return nil, httpadapter.ErrBadRequest
			}
		}
		answer := []record{} // a missing key is not an error
		for _, id := range c.Datasets {
			set, ok := sets[id]
			if !ok {
				return nil, latchkey.ErrNotFound
			}
			rows, err := c.Access.Filter(latchkey.Read, set.on)
			if err != nil {
				return nil, err
			}
			found, err := set.read(r.Context(), set.db, rows, c.Keys, limit)
			if err != nil {
				return nil, err
			}
			answer = append(answer, found...)
		}
		return answer, nil
	}
}

// oneSet returns the data set of a request that writes.
func oneSet(sets map[string]apperateSet, c *apperate.Call) (*apperateSet, error) {
	if len(c.Datasets) != 1 {
		return nil, httpadapter.ErrBadRequest
	}
	set, ok := sets[c.Datasets[0]]
	if !ok {
		return nil, latchkey.ErrNotFound
	}
	return &set, nil
}

// writeSet writes an array of records, all or none. A record replaces the one with its key. One without a key gets a
// new key.
func writeSet(sets map[string]apperateSet) func(*http.Request, *apperate.Call) (any, error) {
	return func(r *http.Request, c *apperate.Call) (any, error) {
		set, err := oneSet(sets, c)
		if err != nil {
			return nil, err
		}
		given, err := readRecords(r)
		if err != nil {
			return nil, err
		}
		err = set.db.write(r.Context(), func(tx *sql.Tx) error {
			for _, row := range given {
				if err := set.put(r.Context(), tx, c.Access, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return object{"success": true, "message": fmt.Sprintf("wrote %d messages", len(given))}, nil
	}
}

// readRecords reads a JSON array of objects, or one object.
func readRecords(r *http.Request) ([]latchkey.Row, error) {
	text, err := io.ReadAll(r.Body) // the gateway has limited its length
	if err != nil {
		return nil, httpadapter.ErrBadRequest
	}
	if body := strings.TrimSpace(string(text)); strings.HasPrefix(body, "{") {
		text = []byte("[" + body + "]")
	}
	var rows []latchkey.Row
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&rows); err != nil || d.Decode(&struct{}{}) != io.EOF || len(rows) == 0 ||
		slices.ContainsFunc(rows, func(row latchkey.Row) bool { return row == nil }) { // null
		return nil, httpadapter.ErrBadRequest
	}
	return rows, nil
}

// put replaces a whole record: a field that is left out has no value.
func (s *apperateSet) put(ctx context.Context, tx *sql.Tx, access latchkey.Access, given latchkey.Row) error {
	key := s.fields[0]
	var before latchkey.Row
	if id := given[key.name]; id != nil {
		number, ok := id.(json.Number)
		if !ok {
			return httpadapter.ErrBadRequest
		}
		if _, err := number.Int64(); err != nil {
			return httpadapter.ErrBadRequest
		}
		old, err := s.read(ctx, tx, latchkey.AllRows, []string{number.String()}, 1)
		if err != nil {
			return err
		}
		if len(old) > 0 {
			before = old[0].row()
		}
	}
	action, after := latchkey.Create, latchkey.Row{}
	if before != nil {
		action = latchkey.Update
	}
	for _, f := range s.fields {
		after[f.name] = nil
	}
	maps.Copy(after, given)
	row, err := access.Prepare(action, s.on, s.schema, before, after)
	if err != nil {
		return err
	}
	if row[key.name] == nil {
		row[key.name], err = s.db.nextID(ctx, tx, s.table)
	} else {
		err = s.db.takeID(ctx, tx, s.table, row[key.name])
	}
	if err != nil {
		return err
	}
	var args []any
	for _, f := range s.fields {
		args = append(args, row[f.name])
	}
	counter := "inserted"
	statement := `INSERT INTO ` + s.table + ` (` + s.columns() + `) VALUES (?` + strings.Repeat(", ?", len(args)-1) + `)`
	if before != nil {
		var set []string
		for _, f := range s.fields {
			set = append(set, f.column+" = ?")
		}
		if s.counted {
			set = append(set, "dv = dv + 1")
		}
		counter = "updated"
		statement = `UPDATE ` + s.table + ` SET ` + strings.Join(set, ", ") + ` WHERE ` + key.column + ` = ?`
		args = append(args, before[key.name])
	}
	if err := s.db.statement(statement, args...).exec(ctx, tx); err != nil {
		return err
	}
	return s.count(ctx, tx, counter)
}

// count counts a change of the penguins, as the other calls that change them do.
func (s *apperateSet) count(ctx context.Context, tx *sql.Tx, counter string) error {
	if !s.counted {
		return nil
	}
	return s.db.count(ctx, tx, counter)
}

// deleteFromSet deletes records by their keys. It ignores missing ones.
func deleteFromSet(sets map[string]apperateSet) func(*http.Request, *apperate.Call) (any, error) {
	return func(r *http.Request, c *apperate.Call) (any, error) {
		set, err := oneSet(sets, c)
		if err != nil {
			return nil, err
		}
		if len(c.Keys) > maxBatch {
			return nil, httpadapter.ErrBadRequest
		}
		rows, err := c.Access.Filter(latchkey.Delete, set.on)
		if err != nil {
			return nil, err
		}
		n := 0
		err = set.db.write(r.Context(), func(tx *sql.Tx) error {
			found, err := set.read(r.Context(), tx, rows, c.Keys, -1)
			if err != nil {
				return err
			}
			for _, one := range found {
				if _, err := c.Access.Prepare(latchkey.Delete, set.on, set.schema, one.row(), nil); err != nil {
					return err
				}
				err := set.db.statement(`DELETE FROM `+set.table+` WHERE `+set.fields[0].column+` = ?`, one.cells[0]).
					exec(r.Context(), tx)
				if err == nil {
					err = set.count(r.Context(), tx, "deleted")
				}
				if err != nil {
					return err
				}
			}
			n = len(found)
			return nil
		})
		if err != nil {
			return nil, err
		}
		return object{"success": true, "message": fmt.Sprintf("deleted %d messages", n)}, nil
	}
}

func listSets(sets map[string]apperateSet) func(*http.Request, *apperate.Call) (any, error) {
	return func(*http.Request, *apperate.Call) (any, error) {
		list := []object{}
		for _, id := range slices.Sorted(maps.Keys(sets)) {
			list = append(list, object{"workspace": workspace, "id": id})
		}
		return list, nil
	}
}

// messageBudget sets how many credits the account may spend in a calendar month, as the holder of the secret token
// requests. The host decides what an account may spend, so the gateway leaves this call to the host. This host accepts
// every amount. One client of the product also requests pay-as-you-go by this call.
func messageBudget(r *http.Request, c *apperate.Call) (any, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, httpadapter.ErrBadRequest
	}
	if query.Has("allow") {
		return payAsYouGo(r, c)
	}
	total, err := strconv.ParseUint(query.Get("totalMessages"), 10, 40)
	if err != nil || len(query["totalMessages"]) != 1 {
		return nil, httpadapter.ErrBadRequest
	}
	budget := latchkey.Quota{Meter: apperate.MeterCore, Amount: latchkey.Credits(total) * latchkey.Credit,
		Per: latchkey.Month}
	err = c.Account.Configure(r.Context(), func(o *latchkey.Owner) error {
		others := slices.DeleteFunc(o.Limits.Quotas, func(q latchkey.Quota) bool { return q.Per == latchkey.Month })
		o.Limits.Quotas = append(others, budget)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return object{"totalMessages": total}, nil
}

// payAsYouGo replies to requests for pay-as-you-go, which this server does not have. Switching it off succeeds.
func payAsYouGo(r *http.Request, _ *apperate.Call) (any, error) {
	allow := []string{}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, httpadapter.ErrBadRequest
	}
	allow = append(allow, query["allow"]...)
	body, err := io.ReadAll(r.Body) // the gateway has limited its length
	if err != nil {
		return nil, httpadapter.ErrBadRequest
	}
	var given struct{ Allow *bool }
	if json.Unmarshal(body, &given) == nil && given.Allow != nil { // iexjs sends a body that is not JSON
		allow = append(allow, strconv.FormatBool(*given.Allow))
	}
	switch {
	case slices.Equal(allow, []string{"false"}):
		return object{"payAsYouGoEnabled": false}, nil
	case slices.Equal(allow, []string{"true"}):
		return nil, latchkey.ErrDenied
	}
	return nil, httpadapter.ErrBadRequest
}
