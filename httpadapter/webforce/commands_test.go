package webforce

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func nothing(*http.Request, Call) (any, error) { return nil, nil }

// Which flags each command needs: one row per command, tried with all 32 sets of flags.
func TestFlagsOfCommands(t *testing.T) {
	commands := map[string]Command{}
	own := map[string]Need{"db.row.get": OnDatabase(Get), "db.row.add": OnDatabase(Add),
		"db.row.remove":    OnDatabase(Remove),
		"db.column.remove": OnDatabase(Remove, Alter), "db.virtual.add": OnNewDatabase(Alter)}
	for name, need := range own {
		commands[name] = Command{Needs: need, Run: nothing}
	}
	for _, name := range []string{"db.get", "db.column.get", "db.cell.update", "db.update", "db.add",
		"db.remove", "db.column.add"} {
		commands[name] = Command{Run: nothing}
	}
	const get, update, add, remove, alter = 1, 2, 4, 8, 16
	type row struct {
		needs  int
		either bool // with Options.EitherFlag, either flag suffices
		new    bool // about no database yet
	}
	rows := map[string]row{
		"db.get":           {needs: get},
		"db.column.get":    {needs: get},
		"db.row.get":       {needs: get},
		"db.cell.update":   {needs: update},
		"db.row.add":       {needs: add},
		"db.row.remove":    {needs: remove},
		"db.update":        {needs: alter},
		"db.add":           {needs: add | alter, either: true, new: true},
		"db.column.add":    {needs: add | alter, either: true},
		"db.remove":        {needs: remove | alter, either: true},
		"db.column.remove": {needs: remove | alter},
		"db.virtual.add":   {needs: alter, new: true},
	}
	for _, either := range []bool{false, true} {
		w := newFixture(t, &Options{Commands: commands, EitherFlag: either})
		for set := range 32 {
			permissions := fmt.Sprintf(`"get":%d,"update":%d,"add":%d,"remove":%d,"alter":%d`,
				set&1, set>>1&1, set>>2&1, set>>3&1, set>>4&1)
			one := w.add("one", entries(`"7"`, permissions)).Token
			all := w.add("all", entries(`"*"`, permissions)).Token
			allButOne := w.add("all but one",
				entries(`"*"`, permissions, `"7"`, `"get":0,"update":0,"add":0,"remove":0,"alter":0`)).Token
			for cmd, r := range rows {
				may := set&r.needs == r.needs || either && r.either && set&r.needs != 0
				can := func(token, db string) bool {
					reply := w.as(token, cmd, "db_id", db)
					if reply.Code == "FAILURE" {
						w.fails("Access denied", reply)
					}
					return reply.Code == "SUCCESS"
				}
				require.Equal(t, may && !r.new, can(one, "7"), "%s of %05b", cmd, set)
				require.False(t, can(one, "8"), cmd)
				require.Equal(t, may, can(all, "7"), cmd)
				require.Equal(t, may, can(all, "8"), cmd)
				require.Equal(t, may && r.new, can(allButOne, "7"), cmd)
				require.Equal(t, may, can(allButOne, "8"), cmd)
			}
		}
	}
}

func TestCommands(t *testing.T) {
	trouble := errors.New("disk on fire")
	var got Call
	w := newFixture(t, &Options{Commands: map[string]Command{
		"db.get": {Run: func(_ *http.Request, c Call) (any, error) {
			got = c
			id, err := c.Text("db_id")
			if err != nil {
				return nil, err
			}
			if id != "7" {
				return nil, latchkey.ErrNotFound
			}
			return map[string]any{"id": id, "name": "<Penguins>"}, nil
		}},
		"db.get_all": {Run: func(_ *http.Request, c Call) (any, error) {
			list := []string{}
			for _, id := range []string{"7", "8"} {
				if c.May(Get, id) {
					list = append(list, id)
				}
			}
			return map[string]any{"databases": list}, nil
		}},
		"db.update": {Run: func(_ *http.Request, c Call) (any, error) {
			text, err := c.JSON("meta")
			return json.RawMessage(text), err
		}},
		"site.stock_images.get_images": {Run: nothing},
		"own.words": {Needs: Verified, Run: func(*http.Request, Call) (any, error) {
			return nil,
				&Error{Message: `say "please"`}
		}},
		"own.trouble": {Needs: Verified, Run: func(*http.Request, Call) (any, error) {
			return nil,
				&Error{Message: "x", Err: trouble}
		}},
		"own.limit": {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return nil, latchkey.ErrOverLimit }},
		"own.busy": {Needs: Verified, Run: func(*http.Request, Call) (any, error) {
			return nil,
				latchkey.ErrRateLimited
		}},
		"own.conflict": {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return nil, latchkey.ErrConflict }},
		"own.value":    {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return func() {}, nil }},
	}})
	token := w.add("app", `{"stock_images":"1","db_permissions":[{"databases":["7"],"permissions":{"get":1,`+
		`"alter":1}}]}`).Token
	none := w.add("none", `{"stock_images":"0"}`).Token

	for _, who := range []string{token, w.session} {
		require.Equal(t, `{"return_code":"SUCCESS","message":"","data":{"id":"7","name":"<Penguins>"}}`,
			w.as(who, "db.get", "db_id", "7").body)
		require.Equal(t, "acme", got.Account.Owner())
		require.Equal(t, "db.get", got.Command)
		require.True(t, got.Has("db_id") && !got.Has("x"))
	}
	w.fails("Access denied", w.as(token, "db.get", "db_id", "8"))
	w.fails("Not found", w.call("db.get", "db_id", "8"))
	w.fails("Missing parameter: db_id", w.as(token, "db.get"))
	w.fails("Parameter db_id is empty", w.call("db.get", "db_id", ""))
	w.fails("Parameter db_id is given once, as a text", w.call("db.get", "db_id[]", "7"))
	w.fails("Not found", w.call("db.get", "db_id", "*"))
	require.Equal(t, `{"databases":["7"]}`, string(w.as(token, "db.get_all").Data))
	require.Equal(t, `{"databases":["7","8"]}`, string(w.call("db.get_all").Data))
	require.Equal(t, `{"databases":[]}`, string(w.as(none, "db.get_all").Data))
	w.ok(w.as(token, "site.stock_images.get_images"))
	w.fails("Access denied", w.as(none, "site.stock_images.get_images"))

	require.Equal(t, `{"name":"<x>"}`, string(w.as(token, "db.update", "db_id", "7", "meta", `{"name": "<x>"}`).Data))
	require.Equal(t, `{"name":"x","extra":["1"]}`,
		string(w.as(token, "db.update", "db_id", "7", "meta[name]", "x", "meta[extra][]", "1").Data))
	w.fails("Missing parameter: meta", w.as(token, "db.update", "db_id", "7"))
	require.Equal(t, "FAILURE", w.as(token, "db.update", "db_id", "7", "meta", `{"a":1,"A":2}`).Code)

	require.Empty(t, w.log.String())
	w.fails(`say "please"`, w.call("own.words"))
	w.fails("Credit limit reached", w.call("own.limit"))
	w.fails("Too many requests", w.call("own.busy"))
	w.fails("Conflict", w.call("own.conflict"))
	require.Empty(t, w.log.String())
	w.fails("Internal error", w.call("own.trouble"))
	require.Contains(t, w.log.String(), "disk on fire")
	w.fails("Internal error", w.call("own.value"))

	require.False(t, Call{}.May(Get, "7"))
}

// verifiedKey is an API key with all rights.
func (w *fixture) verifiedKey() latchkey.Access {
	_, text := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: allRights})
	return w.verified(text)
}

// Commands that pass are counted per client, token, command and day; refused ones are not.
func TestCommandsAreCounted(t *testing.T) {
	var w *fixture
	w = newFixture(t, &Options{
		Commands: map[string]Command{"db.get": {Run: nothing}},
		Session: func(_ *http.Request, id string) (latchkey.Access, error) {
			if id != "host session" {
				return latchkey.Access{}, latchkey.ErrUnknownToken
			}
			return w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, allRights)
		}})
	a := w.add("app", `{"db_permissions":[{"databases":["7"],"permissions":{"get":1}}]}`)
	for range 3 {
		w.ok(w.as(a.Token, "db.get", "db_id", "7"))
	}
	w.ok(w.as("host session", "db.get", "db_id", "8"))
	w.ok(w.as("host session", "access.get", "token_id", a.ID))
	w.fails(msgDenied, w.as(a.Token, "db.get", "db_id", "8"))
	w.fails(msgDenied, w.as(a.Token, "access.get_all"))
	w.fails(msgDenied, w.as("nobody", "db.get", "db_id", "7"))
	w.fails(msgUnknownCommand, w.call("db.nothing"))

	rows, err := w.acme.Usage(t.Context(), latchkey.UsageQuery{Meters: []string{Meter},
		By: []string{"token", "client", "endpoint", "day"}})
	require.NoError(t, err)
	got := map[string]int64{}
	for _, r := range rows {
		got[strings.Join([]string{r.TokenID, r.ClientID, r.Endpoint, r.Day}, "|")] = r.Count
	}
	const day = "2026-11-22"
	require.Equal(t, map[string]int64{
		w.verified(w.session).TokenID() + "||access.add|" + day: 1,
		a.ID + "||db.get|" + day:                                3,
		"|ada|db.get|" + day:                                    1,
		"|ada|access.get|" + day:                                1,
	}, got)
}
