package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
)

var (
	errNoDataset = fmt.Errorf("%w: data set", latchkey.ErrNotFound)
	errNoRow     = fmt.Errorf("%w: row", latchkey.ErrNotFound)
)

// mountDataCalls serves the data calls of CloudTables. They take the same key, roles and conditions as its access call.
func (a *app) mountDataCalls(mux *http.ServeMux) {
	authorize := cloudtables.Authorize(a.account, nil)
	for _, prefix := range []string{"/io/api/1", "/api/1"} { // self-hosted and cloud form
		for pattern, do := range map[string]func(*http.Request, cloudtables.Call) (any, error){
			"GET " + prefix + "/datasets":                   a.datasets,
			"GET " + prefix + "/dataset/{dataset}":          a.rows,
			"GET " + prefix + "/dataset/{dataset}/data":     a.rows, // the name older clients use
			"GET " + prefix + "/dataset/{dataset}/schema":   a.schema,
			"GET " + prefix + "/dataset/{dataset}/{row}":    a.row,
			"POST " + prefix + "/dataset/{dataset}":         a.insert,
			"PUT " + prefix + "/dataset/{dataset}/{row}":    a.update,
			"DELETE " + prefix + "/dataset/{dataset}/{row}": a.delete,
		} {
			handle(mux, pattern, func(w http.ResponseWriter, r *http.Request) {
				httpadapter.ForbidStoring(w.Header()) // the key may be in the URL
				c, err := authorize(r)
				if err != nil {
					a.writeError(w, r, err)
					return
				}
				answer, err := do(r, c)
				if err != nil {
					a.writeError(w, r, err)
					return
				}
				writeJSON(w, http.StatusOK, answer)
			})
		}
	}
}

// handle registers a pattern, with and without a slash at the end of the path.
func handle(mux *http.ServeMux, pattern string, h http.HandlerFunc) {
	mux.HandleFunc(pattern, h)
	mux.HandleFunc(pattern+"/{$}", h)
}

// visibleRows returns the rows on which access allows action, bound to the columns of the data set. A caller without
// any right does not learn whether the data set exists.
func (a *app) visibleRows(access latchkey.Access, dataset string, action latchkey.Action) (*latchkey.Predicate, error) {
	rows, err := access.Filter(action, latchkey.Path("dataset", dataset))
	if err != nil {
		return nil, err
	}
	if dataset != datasetID {
		return nil, errNoDataset
	}
	return penguinSchema.Bind(rows)
}

type object = map[string]any

func (a *app) datasets(r *http.Request, c cloudtables.Call) (any, error) {
	found := []object{}
	rows, err := a.visibleRows(c.Access, datasetID, latchkey.Read)
	switch {
	case errors.Is(err, latchkey.ErrDenied):
	case err != nil:
		return nil, err
	default:
		n, err := a.penguins.summary(r.Context(), rows)
		if err != nil {
			return nil, err
		}
		found = append(found, object{
			"id": datasetID, "name": datasetName, "rowCount": n.Rows, "readCount": n.Read,
			"insertCount": n.Inserted, "updateCount": n.Updated, "deleteCount": n.Deleted, "lastData": n.LastChange,
		})
	}
	return object{"datasets": found, "success": true}, nil
}

func (a *app) rows(r *http.Request, c cloudtables.Call) (any, error) {
	rows, err := a.visibleRows(c.Access, r.PathValue("dataset"), latchkey.Read)
	if err != nil {
		return nil, err
	}
	found, err := a.penguins.list(r.Context(), rows, everything)
	if err != nil {
		return nil, err
	}
	return reply{true, rowReplies(found, true)}, nil
}

func (a *app) schema(r *http.Request, c cloudtables.Call) (any, error) {
	if _, err := a.visibleRows(c.Access, r.PathValue("dataset"), latchkey.Read); err != nil {
		return nil, err
	}
	var datapoints, table []object
	for _, p := range points {
		datapoints = append(datapoints, object{"id": p.ID, "name": p.Name, "description": "", "type": p.Kind})
		table = append(table, object{"data": p.ID, "id": p.ID, "link": nil, "name": p.Name})
	}
	return object{
		"name": datasetName, "description": "Penguins of the Palmer Archipelago",
		"datapoints": datapoints, "table": table, "computed": []object{}, "links": []object{}, "success": true,
	}, nil
}

func (a *app) row(r *http.Request, c cloudtables.Call) (any, error) {
	rows, err := a.visibleRows(c.Access, r.PathValue("dataset"), latchkey.Read)
	if err != nil {
		return nil, err
	}
	id, err := rowID(r)
	if err != nil {
		return nil, err
	}
	one, err := a.penguins.get(r.Context(), rows, id)
	if err != nil {
		return nil, err
	}
	return reply{true, rowReply{one, true, true}}, nil
}

func (a *app) insert(r *http.Request, c cloudtables.Call) (any, error) {
	if _, err := a.visibleRows(c.Access, r.PathValue("dataset"), latchkey.Create); err != nil {
		return nil, err
	}
	given, err := rowOf(c)
	if err != nil {
		return nil, err
	}
	row, err := c.Access.Prepare(latchkey.Create, datasetResource, penguinSchema, nil, given)
	if err != nil {
		return nil, fieldError(err, given)
	}
	one, err := a.penguins.insert(r.Context(), byID(row))
	if err != nil {
		return nil, err
	}
	return reply{true, []rowReply{shown(c.Access, one)}}, nil
}

func (a *app) update(r *http.Request, c cloudtables.Call) (any, error) {
	rows, err := a.visibleRows(c.Access, r.PathValue("dataset"), latchkey.Update)
	if err != nil {
		return nil, err
	}
	id, err := rowID(r)
	if err != nil {
		return nil, err
	}
	given, err := rowOf(c)
	if err != nil {
		return nil, err
	}
	one, err := a.penguins.update(r.Context(), rows, id, func(before latchkey.Row) (latchkey.Row, error) {
		after := maps.Clone(before)
		maps.Copy(after, given)
		after, err := c.Access.Prepare(latchkey.Update, datasetResource, penguinSchema, before, after)
		return byID(after), fieldError(err, given)
	})
	if err != nil {
		return nil, err
	}
	return reply{true, shown(c.Access, one)}, nil
}

func (a *app) delete(r *http.Request, c cloudtables.Call) (any, error) {
	rows, err := a.visibleRows(c.Access, r.PathValue("dataset"), latchkey.Delete)
	if err != nil {
		return nil, err
	}
	id, err := rowID(r)
	if err != nil {
		return nil, err
	}
	err = a.penguins.delete(r.Context(), rows, id, func(before latchkey.Row) error {
		_, err := c.Access.Prepare(latchkey.Delete, datasetResource, penguinSchema, before, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply{Success: true}, nil
}

func rowID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("row"), 10, 64)
	if err != nil {
		return 0, errNoRow
	}
	return id, nil
}

// rowOf returns the row in the body of a call. An empty field is NULL, like an empty cell of the CSV file.
func rowOf(c cloudtables.Call) (latchkey.Row, error) {
	row, unfit := latchkey.Row{}, fieldErrors{}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		switch value := c.Fields[name]; {
		case !slices.ContainsFunc(points, func(p point) bool { return p.ID == name }):
			unfit = append(unfit, fieldStatus{name, "unknown field"})
		case value == "":
			row[name] = nil
		default:
			row[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Links)) {
		unfit = append(unfit, fieldStatus{name, "the data set has no links"})
	}
	if len(unfit) > 0 {
		return nil, unfit
	}
	return row, nil
}

// byID renames the fields of a row to data point ids. A value that a condition forced may have the display name.
func byID(row latchkey.Row) latchkey.Row {
	renamed := latchkey.Row{}
	for _, p := range points {
		for _, name := range []string{p.ID, p.Name} {
			if value, ok := row[name]; ok {
				renamed[p.ID] = value
			}
		}
	}
	return renamed
}

// rowReply is a row in the shape of the data calls: its id first, then its data points.
type rowReply struct {
	penguin
	version bool // with the data version
	points  bool
}

// MarshalJSON writes {"id":1,"dv":0,"dp-1":"Adelie",…}.
func (p rowReply) MarshalJSON() ([]byte, error) {
	text := strconv.AppendInt([]byte(`{"id":`), p.ID, 10)
	if p.version {
		text = strconv.AppendInt(append(text, `,"dv":`...), p.Version, 10)
	}
	for _, point := range points {
		if !p.points {
			break
		}
		value, err := json.Marshal(p.Values[point.ID])
		if err != nil {
			return nil, err
		}
		text = append(append(text, `,"`+point.ID+`":`...), value...)
	}
	return append(text, '}'), nil
}

func rowReplies(found []penguin, version bool) []rowReply {
	replies := make([]rowReply, len(found))
	for i, one := range found {
		replies[i] = rowReply{one, version, true}
	}
	return replies
}

// reply is the shape of a good reply.
type reply struct {
	Success bool `json:"success"`
	Data    any  `json:"data,omitempty"`
}

// shown returns the row that was written, as far as the caller may read it.
func shown(access latchkey.Access, one penguin) rowReply {
	err := access.CheckRow(latchkey.Read, datasetResource, penguinSchema, one.Values)
	return rowReply{one, true, err == nil}
}

// fieldErrors holds the fields of the request's row that do not fit.
type fieldErrors []fieldStatus

type fieldStatus struct {
	Name   string `json:"name"`
	Status string `json:"status"`
}

func (f fieldErrors) Error() string { return "fields that do not fit" }

// fieldError returns err as fieldErrors if it is about a field that the caller gave. Any other ConditionError is about
// the conditions of the request.
func fieldError(err error, given latchkey.Row) error {
	var condition *latchkey.ConditionError
	if errors.As(err, &condition) {
		if _, ok := given[condition.Field]; ok {
			return fieldErrors{{condition.Field, condition.Reason}}
		}
	}
	return err
}

// badParameter tells what is wrong with a parameter of the request. It holds no text of the caller.
type badParameter string

func (b badParameter) Error() string { return string(b) }

// writeError replies in the format of CloudTables. It lists the fields that do not fit. The adapter writes all other
// errors.
func (a *app) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var fields fieldErrors
	if errors.As(err, &fields) {
		writeJSON(w, http.StatusBadRequest, object{
			"success": false, "error": "invalidField", "fieldErrors": fields,
			// the npm client rejects its promise with this
			"errors": []object{{"msg": "invalidField", "data": object{"id": fields[0].Name}}},
		})
		return
	}
	if parameter, ok := errors.AsType[badParameter](err); ok {
		type item struct { // the members in the adapter's order
			Msg  string `json:"msg"`
			Data object `json:"data"`
		}
		writeJSON(w, http.StatusBadRequest, struct {
			Success bool   `json:"success"`
			Error   string `json:"error"`
			Errors  []item `json:"errors"`
		}{false, "noAccess", []item{{"noAccess", object{"err": string(parameter)}}}})
		return
	}
	a.logError(r, err)
	cloudtables.WriteError(w, r, err)
}

// logError logs errors of the server. It logs the route, never the URL, which may hold a key.
func (a *app) logError(r *http.Request, err error) {
	if status := httpadapter.ProblemOf(err).Status; status >= 500 {
		a.log.Error("request failed", "route", r.Pattern, "status", status, "error", err)
	}
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil { // texts and numbers only
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(text)
}
