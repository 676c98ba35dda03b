package webforce

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

const appExtra = `{"db_permissions": [{"databases":["7"],  "permissions":{"get":1, "update":"1", "add":0}}],
	"note": "<é> /"}`

// The whole life of a token, with every reply byte for byte.
func TestAccess(t *testing.T) {
	w := newFixture(t, nil)
	r := w.call("access.get_all")
	require.Equal(t, `{"return_code":"SUCCESS","message":"","data":[]}`, r.body)

	r = w.call("access.add", "name", `my "app"`, "extra", appExtra)
	a := w.ok(r)
	shown := func(id, token, name, extra string) string {
		return `{"id":"` + id + `","token":"` + token + `","name":` + name + `,"extra":` + extra + `}`
	}
	envelope := func(data string) string { return `{"return_code":"SUCCESS","message":"","data":` + data + `}` }
	require.Equal(t, envelope(shown(a.ID, a.Token, `"my \"app\""`, appExtra)), r.body)
	require.Equal(t, "get,update", has(w.verified(a.Token), "7"))
	require.Empty(t, has(w.verified(a.Token), "8"))
	require.NotEqual(t, a.ID, a.Token)

	stored, err := w.acme.Get(context.Background(), a.ID)
	require.NoError(t, err)
	require.Equal(t, latchkey.KindAPIKey, stored.Kind)
	require.Equal(t, Origin, stored.Origin)
	require.Equal(t, appExtra, string(stored.Extra))
	require.Equal(t, `my "app"`, stored.Name)

	// Without a keyring the text cannot be read again.
	masked := stored.Hint
	require.NotContains(t, a.Token, masked)
	once := shown(a.ID, masked, `"my \"app\""`, appExtra)
	require.Equal(t, envelope(once), w.call("access.get", "token_id", a.ID).body)
	b := w.add("", `{}`)
	bMasked := w.ok(w.call("access.get", "token_id", b.ID)).Token
	require.Equal(t, envelope("["+once+","+shown(b.ID, bMasked, `""`, `{}`)+"]"), w.call("access.get_all").body)

	// A name alone leaves extra unchanged. extra replaces the one before as a whole, at once.
	require.Equal(t, envelope(shown(a.ID, masked, `"new"`, appExtra)),
		w.call("access.update", "token_id", a.ID, "meta", `{"name":"new"}`).body)
	require.Equal(t, "get,update", has(w.verified(a.Token), "7"))
	const less = `{ "db_permissions":[{"databases":["*"],"permissions":{"remove":true}}] }`
	require.Equal(t, envelope(shown(a.ID, masked, `"new"`, less)),
		w.call("access.update", "token_id", a.ID, "meta", `{"extra":`+less+`}`).body)
	require.Equal(t, "remove", has(w.verified(a.Token), "7"))
	require.Equal(t, envelope(shown(a.ID, masked, `"x"`, `{}`)),
		w.call("access.update", "token_id", a.ID, "meta", `{"extra":"{}","name":"x"}`).body)
	require.Empty(t, has(w.verified(a.Token), "7"))

	r = w.call("access.remove", "token_id", a.ID)
	require.Equal(t, `{"return_code":"SUCCESS","message":"","data":{}}`, r.body)
	_, err = w.acme.Verify(context.Background(), latchkey.Presented{Secret: a.Token})
	require.ErrorIs(t, err, latchkey.ErrUnknownToken)
	for _, cmd := range []string{"access.get", "access.remove", "access.update"} {
		w.fails("No such token", w.call(cmd, "token_id", a.ID, "meta", `{"name":"x"}`))
	}
	require.Len(t, w.list(w.call("access.get_all")), 1)

	// The audit trail names the actor.
	actor := w.verified(w.session).TokenID()
	var actions []string
	for e, err := range w.acme.Events(context.Background(), latchkey.EventQuery{}) {
		require.NoError(t, err)
		if e.Object == a.ID {
			require.Equal(t, actor, e.Actor)
			actions = append(actions, e.Action)
		}
	}
	require.Equal(t, []string{"token.issue", "token.update", "token.update", "token.update", "token.delete"}, actions)
	require.Empty(t, w.log.String())
}

func TestReveal(t *testing.T) {
	ring := keyring(t, 1)
	w := newFixtureWith(t, nil, ring)
	a, b := w.add("a", `{}`), w.add("b", appExtra)
	require.Equal(t, a.Token, w.ok(w.call("access.get", "token_id", a.ID)).Token)
	require.Equal(t, b.Token, w.ok(w.call("access.update", "token_id", b.ID, "meta", `{"name":"c"}`)).Token)
	list := w.list(w.call("access.get_all"))
	require.Equal(t, []string{a.Token, b.Token}, []string{list[0].Token, list[1].Token})

	// A session that may read but not reveal gets what a host without a keyring returns.
	reader := w.newSession(w.acme, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"),
		latchkey.Allow(latchkey.Read).On("latchkey/token/*")})
	for _, h := range append(w.list(w.as(reader, "access.get_all")), w.ok(w.as(reader, "access.get", "token_id", a.ID))) {
		require.Contains(t, h.Token, "…")
	}
	// Texts are not shown to a session that may do less than the token.
	weak := w.newSession(w.acme, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/token/*")})
	list = w.list(w.as(weak, "access.get_all"))
	require.Equal(t, a.Token, list[0].Token, "a token for nothing")
	require.Contains(t, list[1].Token, "…")
	require.NotContains(t, w.log.String()+fmt.Sprint(w.errs), a.Token)
}

// A session cannot make, change or remove a token that may do more than the session.
func TestNoCallerGivesMoreThanItHas(t *testing.T) {
	w := newFixture(t, nil)
	clerk := w.newSession(w.acme, latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("latchkey/token/*"),
		latchkey.Allow(Get, Update).On(latchkey.Exactly(Database("7"))),
	})
	weak := w.ok(w.as(clerk, "access.add", "name", "weak", "extra", entries(`"7"`, `"get":1`)))
	strong := w.add("strong", entries(`"*"`, `"get":1`))
	for _, extra := range []string{entries(`"8"`, `"get":1`), entries(`"*"`, `"get":1`), entries(`"7"`, `"add":1`),
		`{"stock_images":"1"}`, entries(`"*"`, `"get":1`, `"8"`, `"get":0`)} {
		w.fails("Access denied", w.as(clerk, "access.add", "name", "x", "extra", extra))
		w.fails("Access denied", w.as(clerk, "access.update", "token_id", weak.ID, "meta", `{"extra":`+extra+`}`))
	}
	w.ok(w.as(clerk, "access.add", "name", "x", "extra", entries(`"*"`, `"get":0`)))
	w.fails("Access denied", w.as(clerk, "access.update", "token_id", strong.ID, "meta", `{"extra":{}}`))
	w.fails("Access denied", w.as(clerk, "access.remove", "token_id", strong.ID))
	require.Equal(t, "get", has(w.verified(strong.Token), "8"))
	require.Equal(t, "get", has(w.verified(weak.Token), "7"))

	// A session without rights over tokens sees none.
	plain := w.newSession(w.acme, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")})
	w.fails("Access denied", w.as(plain, "access.add", "name", "x", "extra", `{}`))
	w.fails("No such token", w.as(plain, "access.get", "token_id", weak.ID))
	w.fails("No such token", w.as(plain, "access.update", "token_id", weak.ID, "meta", `{"name":"x"}`))
	w.fails("No such token", w.as(plain, "access.remove", "token_id", weak.ID))
	require.Empty(t, w.list(w.as(plain, "access.get_all")))
}

// A token that is revoked between the two readings of access.update is not found either, and stays as it was.
func TestATokenRevokedMeanwhileIsAbsent(t *testing.T) {
	w := newFixture(t, nil)
	mine, loads := w.add("mine", `{}`), 0
	w.store.loaded = func(id string) {
		if id != mine.ID {
			return
		}
		if loads++; loads == 2 {
			w.store.loaded = nil
			require.NoError(t, w.acme.Revoke(context.Background(), mine.ID, ""))
		}
	}
	w.fails("No such token", w.call("access.update", "token_id", mine.ID, "meta", `{"name":"other"}`))
	require.Equal(t, 2, loads)
	stored, err := w.acme.Get(context.Background(), mine.ID)
	require.NoError(t, err)
	require.Equal(t, "mine", stored.Name)
}

// A token of another owner or surface, a revoked one and one that never existed are all not found, with the same
// reply.
func TestForeignTokensAreAbsent(t *testing.T) {
	w := newFixture(t, nil)
	mine := w.add("mine", `{}`)
	key := func(a latchkey.Account, origin string, kind latchkey.Kind) string {
		id, _ := w.issue(a, latchkey.Spec{Kind: kind, Origin: origin, Name: "theirs"})
		return id
	}
	revoked := w.add("revoked", `{}`)
	require.NoError(t, w.acme.Revoke(context.Background(), revoked.ID, ""))
	for name, id := range map[string]string{
		"never was":            "00000000-0000-7000-8000-000000000000",
		"of another owner":     key(w.other, Origin, latchkey.KindAPIKey),
		"of the host":          key(w.acme, "", latchkey.KindAPIKey),
		"of another surface":   key(w.acme, "datocms", latchkey.KindAPIKey),
		"of another kind":      key(w.acme, Origin, latchkey.KindPublishable),
		"the session itself":   w.verified(w.session).TokenID(),
		"revoked":              revoked.ID,
		"its text, not its id": mine.Token,
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			for _, cmd := range []string{"access.get", "access.update", "access.remove"} {
				w.fails("No such token", w.call(cmd, "token_id", id, "meta", `{"name":"x","extra":{}}`))
			}
		})
	}
	w.t = t
	list := w.list(w.call("access.get_all"))
	require.Len(t, list, 1)
	require.Equal(t, mine.ID, list[0].ID)
	for _, account := range []latchkey.Account{w.acme, w.other} {
		n := 0
		for tok, err := range account.Tokens(context.Background(), latchkey.TokenQuery{Search: "theirs"}) {
			require.NoError(t, err)
			require.Equal(t, uint64(1), tok.Version)
			n++
		}
		require.NotZero(t, n)
	}
}

func TestGetAllReadsEveryPage(t *testing.T) {
	w := newFixtureWith(t, nil, keyring(t, 1))
	want := map[string]string{}
	for i := range 230 {
		h := w.add(fmt.Sprint(i), `{}`)
		want[h.ID] = h.Token
	}
	got := map[string]string{}
	for _, h := range w.list(w.call("access.get_all")) {
		got[h.ID] = h.Token
	}
	require.Equal(t, want, got)
	var whole struct{ Data []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(w.call("access.get_all").body), &whole))
	require.Len(t, whole.Data, 230)
}

// What a session makes outlives it, as the product documents. An option changes that.
func TestWhatASessionMakesOutlivesIt(t *testing.T) {
	for _, bound := range []bool{false, true} {
		w := newFixture(t, &Options{BoundBySession: bound})
		r := w.call("access.add", "name", "n")
		if bound {
			require.Equal(t, "FAILURE", r.Code)
			exceeding := w.newSession(w.acme, append(allRights[:2:2], latchkey.Allow(latchkey.Exceed).On("latchkey/token/*")))
			r = w.as(exceeding, "access.add", "name", "n")
		}
		require.Equal(t, "SUCCESS", r.Code, r.Message)
	}
}

// The owner's policy refuses a token: the caller cannot correct that.
func TestThePolicyRefusesATokenInWords(t *testing.T) {
	for message, p := range map[string]latchkey.OwnerPolicy{
		msgTooManyTokens: {Tokens: 1},
		msgDenied:        {MaxLifetime: time.Hour},
	} {
		w := newFixture(t, nil)
		require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Policy = p; return nil }))
		w.fails(message, w.call("access.add", "name", "n"))
	}
}
