package webforce

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

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
				return w.acme.Assume(latchkey.Client{ID: "ada"}, allRights)
			case "sess-bob":
				return w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{latchkey.Allow(Get).On("db/*"),
					latchkey.Allow(latchkey.Any).On("latchkey/token/*")})
			case "sess-foreign":
				return w.other.Assume(latchkey.Client{ID: "eve"}, allRights)
			case "sess-zero":
				return latchkey.Access{}, nil
			case "sess-test": // of a test token
				_, text := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
				return w.acme.Verify(r.Context(), latchkey.Presented{Secret: text, Test: true})
			case "sess-elsewhere": // of another Manager over another store
				return latchkey.New(memstore.New(nil), nil).For("acme").Assume(latchkey.Client{ID: "ada"}, allRights)
			case "sess-key":
				return w.verifiedKey(), nil
			case "sess-rules":
				return w.acme.Assume(latchkey.Client{ID: "ada"}, latchkey.Permissions{latchkey.Allow("Get").On("*")})
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
	require.Contains(t, w.log.String(), "command=access.get_all")
	w.fails("Internal error", w.as("sess-rules", "access.get_all"))
	require.Contains(t, w.log.String(), "rule 1")

	// A token that ended is not looked up as a session.
	id, text := w.issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, w.acme.Revoke(context.Background(), id, ""))
	w.fails("Access denied", w.as(text, "db.get", "db_id", "7"))
	require.NotContains(t, asked, text)
	require.NotContains(t, asked, w.session)

	var actors []string
	for e, err := range w.acme.Events(context.Background(), latchkey.EventQuery{}) {
		require.NoError(t, err)
		if e.Action == "token.delete" {
			actors = append(actors, e.Actor)
		}
	}
	require.Equal(t, []string{"client:ada"}, actors)

	// A disabled owner disables its sessions, too.
	require.NoError(t, w.acme.Configure(context.Background(),
		func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
	w.fails("Access denied", w.as("sess-bob", "db.get", "db_id", "7"))
	w.fails("Access denied", w.as("sess-ada", "access.get_all"))
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

func TestOptionsThatCannotWork(t *testing.T) {
	w := newFixture(t, nil)
	run := Command{Run: nothing}
	for name, make := range map[string]func(){
		"no account": func() { Handler(latchkey.Account{}, nil) },
		"overlay":    func() { Handler(w.acme, &Options{Overlay: 3}) },
		"proxies":    func() { Handler(w.acme, &Options{Proxies: []netip.Prefix{{}}}) },
		"taken name": func() { Handler(w.acme, &Options{Commands: map[string]Command{"access.add": run}}) },
		"no name": func() {
			Handler(w.acme,
				&Options{Commands: map[string]Command{"": {Needs: Verified, Run: nothing}}})
		},
		"no Run":          func() { Handler(w.acme, &Options{Commands: map[string]Command{"db.get": {}}}) },
		"nobody guards":   func() { Handler(w.acme, &Options{Commands: map[string]Command{"db.row.get": run}}) },
		"no flags":        func() { OnDatabase() },
		"no flags either": func() { OnNewDatabase() },
	} {
		require.Panics(t, make, name)
	}
	require.ErrorIs(t, &Error{Message: "x"}, httpadapter.ErrBadRequest)
}

// A failure of the store is a FAILURE with HTTP 200, and is logged. It never reads as "no such token" or as an empty
// list.
func TestTrouble(t *testing.T) {
	w := newFixtureWith(t, nil, keyring(t, 1))
	a := w.add("a", `{}`)
	all := map[string][]string{"access.add": {"name", "x"}, "access.get": {"token_id", a.ID}, "access.get_all": nil,
		"access.update": {"token_id", a.ID, "meta", `{"name":"x"}`}, "access.remove": {"token_id", a.ID}}
	down := func(at *error, err error, message string, cmds ...string) {
		t.Helper()
		*at = err
		for _, cmd := range cmds {
			w.log.Reset()
			w.fails(message, w.call(cmd, all[cmd]...))
			require.Contains(t, w.log.String(), "command="+cmd)
			require.NotContains(t, w.log.String(), w.session)
		}
		*at = nil
	}
	every := []string{"access.add", "access.get", "access.get_all", "access.update", "access.remove"}
	secretly := fmt.Errorf("%w: password=hunter2", latchkey.ErrUnavailable)
	down(&w.store.down, secretly, "Temporarily unavailable", every...)
	down(&w.store.downLoad, secretly, "Temporarily unavailable", every...)
	down(&w.store.downTokens, secretly, "Temporarily unavailable", "access.get_all")
	down(&w.store.downWrite, secretly, "Temporarily unavailable", every...)
	down(&w.store.downWrite, latchkey.ErrUnknownOutcome, "Temporarily unavailable", every...)
	down(&w.store.downWrite, errors.New("disk on fire"), "Internal error", every...)
	require.Equal(t, "a", w.ok(w.call("access.get", "token_id", a.ID)).Name)

	mux := http.NewServeMux() // without a Logger
	Mount(mux, w.acme, nil)
	w.serve, w.store.downWrite = mux, errors.New("disk on fire")
	w.fails("Internal error", w.call("access.add", "name", "x"))
}

// TestWrongTokens calls every command with every auth_token that is invalid for it.
func TestWrongTokens(t *testing.T) {
	commands := map[string]Command{}
	for _, name := range []string{"db.get", "db.column.get", "db.cell.update", "db.update", "db.add", "db.remove",
		"db.column.add", "db.get_all", "site.stock_images.get_images"} {
		commands[name] = Command{Run: nothing}
	}
	w := newFixture(t, &Options{Commands: commands})
	full := w.add("full", `{"stock_images":"1","db_permissions":[{"databases":["*"],`+
		`"permissions":{"get":1,"update":1,"add":1,"remove":1,"alter":1}}]}`)
	rights := latchkey.Settings{Permissions: allRights}
	issue := func(a latchkey.Account, spec latchkey.Spec) string { _, text := w.issue(a, spec); return text }
	end := func(kind latchkey.Kind, do func(id string) error) string {
		id, text := w.issue(w.acme, rights.Spec(kind))
		require.NoError(t, do(id))
		return text
	}
	ctx := context.Background()
	expiring := rights
	expiring.Validity.NotAfter = w.now().Add(time.Second)
	later := rights
	later.Validity = latchkey.Validity{NotBefore: w.now().Add(time.Hour), NotAfter: w.now().Add(2 * time.Hour)}
	hour := rights
	hour.Validity.NotAfter = w.now().Add(time.Hour)
	elsewhere := hour
	elsewhere.Restrictions.Domains = []string{"example.com"}
	signed := hour
	signed.Restrictions.Signed = true
	wrong := map[string]string{
		"missing":       "",
		"malformed":     "ss_x",
		"not a token":   "7c9e6679-7425-40de-944b-e07fc1f90ae7",
		"cut off":       w.session[:len(w.session)-1],
		"another case":  strings.ToLower(w.session),
		"unknown":       w.session[:len(w.session)-1] + string(w.session[len(w.session)-1]^1), // always another character
		"expired":       issue(w.acme, expiring.Spec(latchkey.KindSession)),
		"not yet":       issue(w.acme, later.Spec(latchkey.KindSession)),
		"other referer": issue(w.acme, elsewhere.Spec(latchkey.KindSession)),
		"unsigned":      issue(w.acme, signed.Spec(latchkey.KindSession)),
		"other owner":   w.newSession(w.other, allRights),
		"test":          issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret, Test: true}),
		"revoked":       end(latchkey.KindAPIKey, func(id string) error { return w.acme.Revoke(ctx, id, "") }),
		"deleted":       end(latchkey.KindAPIKey, func(id string) error { return w.acme.Delete(ctx, id) }),
		"disabled": end(latchkey.KindAPIKey, func(id string) error {
			_, err := w.acme.Update(ctx, id, func(t *latchkey.Token) error { t.Disabled = true; return nil })
			return err
		}),
	}
	w.advance(time.Second)
	_, minted, err := w.verified(w.session).Mint(ctx, latchkey.Narrowing{Lifetime: time.Minute})
	require.NoError(t, err)
	wrongKind := map[string]string{ // for access.*, whatever their rights
		"access token":   full.Token,
		"API key":        issue(w.acme, rights.Spec(latchkey.KindAPIKey)),
		"secret key":     issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret}),
		"publishable":    issue(w.acme, rights.Spec(latchkey.KindPublishable)),
		"minted from it": minted.Reveal(),
	}
	weak := w.add("weak", `{}`).Token
	params := []string{"db_id", "7", "token_id", full.ID, "name", "x", "extra", `{}`}
	update := []string{"db_id", "7", "token_id", full.ID, "meta", `{"name":"x"}`}

	surface := newSurface(w.acme, &Options{Commands: commands})
	require.Len(t, surface.commands, 5+len(commands))
	for cmd := range surface.commands {
		with := params
		if cmd == "access.update" {
			with = update
		}
		for name, token := range wrong {
			pairs := append([]string{"cmd", cmd}, with...)
			if name != "missing" {
				pairs = append(pairs, "auth_token", token)
			}
			w.t = t
			r := w.send(post(encode(pairs...)))
			require.Equal(t, `{"return_code":"FAILURE","message":"Access denied","data":{}}`, r.body, "%s: %s", cmd, name)
		}
		if strings.HasPrefix(cmd, "access.") {
			for name, token := range wrongKind {
				r := w.as(token, cmd, with...)
				require.Equal(t, `{"return_code":"FAILURE","message":"Access denied","data":{}}`, r.body, "%s: %s", cmd, name)
			}
		} else if cmd != "db.get_all" {
			w.fails("Access denied", w.as(weak, cmd, with...))
			require.Equal(t, "SUCCESS", w.as(full.Token, cmd, with...).Code, cmd)
		}
	}
	require.Len(t, w.list(w.call("access.get_all")), 2, "nothing was made or removed")
	require.Equal(t, "full", w.ok(w.call("access.get", "token_id", full.ID)).Name)
	require.Empty(t, w.log.String())
}
