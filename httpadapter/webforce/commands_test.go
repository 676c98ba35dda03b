package webforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

func nothing(*http.Request, Call) (any, error) { return nil, nil }

// Which flags each command takes: one row per command, tried with all 32 sets of flags.
func TestFlagsOfCommands(t *testing.T) {
	commands := map[string]Command{}
	own := map[string]Need{"db.row.get": OnDatabase(Get), "db.row.add": OnDatabase(Add), "db.row.remove": OnDatabase(Remove),
		"db.column.remove": OnDatabase(Remove, Alter), "db.virtual.add": OnNewDatabase(Alter)}
	for name, need := range own {
		commands[name] = Command{Needs: need, Run: nothing}
	}
	for _, name := range []string{"db.get", "db.column.get", "db.cell.update", "db.update", "db.add", "db.remove", "db.column.add"} {
		commands[name] = Command{Run: nothing}
	}
	const get, update, add, remove, alter = 1, 2, 4, 8, 16
	type row struct {
		needs  int
		either bool // with Options.EitherFlag, any of them will do
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
			allButOne := w.add("all but one", entries(`"*"`, permissions, `"7"`, `"get":0,"update":0,"add":0,"remove":0,"alter":0`)).Token
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
		"own.words":                    {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return nil, &Error{Message: `say "please"`} }},
		"own.trouble":                  {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return nil, &Error{Message: "x", Err: trouble} }},
		"own.limit":                    {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return nil, latchkey.ErrOverLimit }},
		"own.busy":                     {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return nil, latchkey.ErrRateLimited }},
		"own.conflict":                 {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return nil, latchkey.ErrConflict }},
		"own.value":                    {Needs: Verified, Run: func(*http.Request, Call) (any, error) { return func() {}, nil }},
	}})
	token := w.add("app", `{"stock_images":"1","db_permissions":[{"databases":["7"],"permissions":{"get":1,"alter":1}}]}`).Token
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

// The host's own sessions.
func TestSession(t *testing.T) {
	trouble := errors.New("session store down")
	var asked []string
	var w *fixture
	w = newFixture(t, &Options{
		Session: func(r *http.Request, id string) (latchkey.Access, error) {
			asked = append(asked, id)
			switch id {
			case "sess-ada":
				return w.acme.Assume(latchkey.Client{ID: "ada"}, allRights), nil
			case "sess-bob":
				return w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{latchkey.Allow(Get).On("db/*"),
					latchkey.Allow(latchkey.Any).On("latchkey/token/*")}), nil
			case "sess-foreign":
				return w.other.Assume(latchkey.Client{ID: "eve"}, allRights), nil
			case "sess-zero":
				return latchkey.Access{}, nil
			case "sess-test": // of a test token
				_, text := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
				return w.acme.Verify(r.Context(), latchkey.Presented{Secret: text, Test: true})
			case "sess-elsewhere": // of another Manager over another store
				return latchkey.New(memstore.New(nil), nil).For("acme").Assume(latchkey.Client{ID: "ada"}, allRights), nil
			case "sess-key":
				return w.verifiedKey(), nil
			case "sess-trouble":
				return latchkey.Access{}, trouble
			}
			return latchkey.Access{}, latchkey.ErrUnknownToken
		},
		Commands: map[string]Command{"db.get": {Run: nothing}},
	})
	a := w.ok(w.as("sess-ada", "access.add", "name", "app", "extra", entries(`"*"`, `"get":1,"update":1`)))
	b := w.ok(w.as("sess-bob", "access.add", "name", "bobs", "extra", entries(`"7"`, `"get":1`)))
	require.Len(t, w.list(w.as("sess-bob", "access.get_all")), 2)
	w.fails("Access denied", w.as("sess-bob", "access.add", "name", "app", "extra", entries(`"7"`, `"update":1`)))
	w.fails("Access denied", w.as("sess-bob", "access.remove", "token_id", a.ID))
	w.ok(w.as("sess-ada", "access.remove", "token_id", b.ID))
	w.ok(w.as("sess-bob", "db.get", "db_id", "7"))
	for _, id := range []string{"sess-foreign", "sess-zero", "sess-nobody", "sess-key", "sess-test",
		"sess-elsewhere"} {
		w.fails("Access denied", w.as(id, "access.get_all"))
	}
	for _, id := range []string{"sess-foreign", "sess-test", "sess-elsewhere"} {
		w.fails("Access denied", w.as(id, "db.get", "db_id", "7"))
	}
	require.Empty(t, w.log.String())
	w.fails("Internal error", w.as("sess-trouble", "access.get_all"))
	require.Contains(t, w.log.String(), "session store down")

	// A token that ended is not asked about again as a session.
	id, text := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, w.acme.Revoke(context.Background(), id, ""))
	w.fails("Access denied", w.as(text, "db.get", "db_id", "7"))
	require.NotContains(t, asked, text)
	require.NotContains(t, asked, w.session)

	var actors []string
	for e, err := range w.acme.Events(context.Background(), 0) {
		require.NoError(t, err)
		if e.Action == "token.delete" {
			actors = append(actors, e.Actor)
		}
	}
	require.Equal(t, []string{"client:ada"}, actors)

	// The owner's off switch is for her, too.
	require.NoError(t, w.acme.Configure(context.Background(), func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
	w.fails("Access denied", w.as("sess-bob", "db.get", "db_id", "7"))
	w.fails("Access denied", w.as("sess-ada", "access.get_all"))
}

// verifiedKey is an API key with all rights.
func (w *fixture) verifiedKey() latchkey.Access {
	_, text := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: latchkey.Settings{Permissions: allRights}})
	return w.verified(text)
}

func TestManyTenants(t *testing.T) {
	var w *fixture
	w = newFixture(t, &Options{
		Account: func(r *http.Request) (latchkey.Account, error) {
			switch r.Host {
			case "acme.test":
				return w.acme, nil
			case "other.test":
				return w.other, nil
			case "zero.test":
				return latchkey.Account{}, nil
			}
			return latchkey.Account{}, latchkey.ErrNotFound
		},
	})
	at := func(host string) reply {
		r := post(encode("cmd", "access.get_all", "auth_token", w.session))
		r.Host = host
		return w.send(r)
	}
	require.Empty(t, w.list(at("acme.test")))
	w.fails("Access denied", at("other.test"))
	w.fails("Not found", at("nobody.test"))
	w.fails("Internal error", at("zero.test"))
}

func TestOverlayOption(t *testing.T) {
	extra := entries(`"7"`, `"get":1,"update":1`, `"7"`, `"update":0,"add":1`)
	for o, want := range map[Overlay]string{OverlayFlags: "get,add", OverlayEntries: "add", OverlayUnion: "get,update,add"} {
		w := newFixture(t, &Options{Overlay: o})
		a := w.add("app", extra)
		require.Equal(t, want, has(w.verified(a.Token), "7"))
		w.ok(w.call("access.update", "token_id", a.ID, "meta", `{"extra":{}}`))
		require.Empty(t, has(w.verified(a.Token), "7"))
		w.ok(w.call("access.update", "token_id", a.ID, "meta", `{"extra":`+extra+`}`))
		require.Equal(t, want, has(w.verified(a.Token), "7"))
	}
}

func TestHandler(t *testing.T) {
	w := newFixture(t, nil)
	for _, h := range []http.Handler{Handler(w.acme, nil), w.serve} {
		for target, status := range map[string]int{"/api": 200, "/api/": 200, "/": 404, "/api/1": 404, "/api/1/": 404} {
			out := httptest.NewRecorder()
			h.ServeHTTP(out, httptest.NewRequest("GET", target, nil))
			require.Equal(t, status, out.Code, target)
		}
	}
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
			return w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, allRights), nil
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

func TestOptionsThatCannotWork(t *testing.T) {
	w := newFixture(t, nil)
	run := Command{Run: nothing}
	for name, make := range map[string]func(){
		"no account":      func() { Handler(latchkey.Account{}, nil) },
		"overlay":         func() { Handler(w.acme, &Options{Overlay: 3}) },
		"proxies":         func() { Handler(w.acme, &Options{Proxies: []netip.Prefix{{}}}) },
		"taken name":      func() { Handler(w.acme, &Options{Commands: map[string]Command{"access.add": run}}) },
		"no name":         func() { Handler(w.acme, &Options{Commands: map[string]Command{"": {Needs: Verified, Run: nothing}}}) },
		"no Run":          func() { Handler(w.acme, &Options{Commands: map[string]Command{"db.get": {}}}) },
		"nobody guards":   func() { Handler(w.acme, &Options{Commands: map[string]Command{"db.row.get": run}}) },
		"no flags":        func() { OnDatabase() },
		"no flags either": func() { OnNewDatabase() },
	} {
		require.Panics(t, make, name)
	}
	require.ErrorIs(t, &Error{Message: "x"}, httpadapter.ErrBadRequest)
}
