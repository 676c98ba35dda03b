package webforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
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

	// A name alone leaves extra; extra replaces the one before as a whole, at once.
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

	// Who did it is in the audit trail.
	actor := w.verified(w.session).TokenID()
	var actions []string
	for e, err := range w.acme.Events(context.Background(), 0) {
		require.NoError(t, err)
		if e.Object == a.ID {
			require.Equal(t, actor, e.Actor)
			actions = append(actions, e.Action)
		}
	}
	require.Equal(t, []string{"token.issue", "token.update", "token.update", "token.update", "token.delete"}, actions)
	require.Empty(t, w.log.String())
}

func TestEveryWayToSendIt(t *testing.T) {
	w := newFixture(t, nil)
	all := encode("auth_token", w.session, "name", "app", "extra", `{"stock_images":"1"}`)
	for name, r := range map[string]reply{
		"GET":                w.send(httptest.NewRequest("GET", "/api?cmd=access.add&"+all, nil)),
		"GET with version":   w.send(httptest.NewRequest("GET", "/api?cmd=access.add&version=1.0&noCache=1764&"+all, nil)),
		"POST":               w.send(post("cmd=access.add&" + all)),
		"POST, no type":      w.send(httptest.NewRequest("POST", "/api", strings.NewReader("cmd=access.add&"+all))),
		"empty pairs":        w.send(post("&cmd=access.add&&" + all + "&")),
		"reseller's api_key": w.send(post("cmd=access.add&api_key=x&login=y&" + all)),
	} {
		require.Equal(t, "app", w.ok(r).Name, name)
	}
	r := post(all)
	r.URL.RawQuery = "cmd=access.add&version=1.0"
	h := w.ok(w.send(r))
	r = httptest.NewRequest("GET", "/api?cmd=access.remove&token_id="+h.ID+"&auth_token="+w.session, nil)
	w.ok(w.send(r))
	require.Len(t, w.list(w.call("access.get_all")), 6)

	h = w.ok(w.call("access.add", "name", "no extra"))
	require.Equal(t, "{}", string(h.Extra))
	require.Empty(t, has(w.verified(h.Token), "7"))
}

func TestBadRequests(t *testing.T) {
	w := newFixture(t, nil)
	a := w.add("app", `{}`)
	tok := "auth_token=" + w.session
	for body, want := range map[string]string{
		tok:                                     "Missing parameter: cmd",
		tok + "&cmd=":                           "Unknown command",
		tok + "&cmd=access.ADD":                 "Unknown command",
		tok + "&cmd=access":                     "Unknown command",
		tok + "&cmd=db.get":                     "Unknown command",
		tok + "&cmd=access.add&cmd=access.get":  "Parameter cmd is given once, as a text",
		tok + "&cmd[]=access.add":               "Parameter cmd is given once, as a text",
		tok + "&cmd=access.get_all&version=2.0": "Unsupported version: use 1.0",
		tok + "&cmd=access.get_all&version[]=1": "Unsupported version: use 1.0",
		tok + "&cmd=access.add":                 "Missing parameter: name",
		tok + "&cmd=access.add&name[]=x":        "Parameter name is given once, as a text",
		tok + "&cmd=access.add&name=" + strings.Repeat("x", 257):                   "name has at most 256 bytes, and no NUL",
		tok + "&cmd=access.add&name=%00":                                           "Malformed form: NUL",
		tok + "&cmd=access.add&name=%ff":                                           "Malformed form: invalid UTF-8",
		tok + "&cmd=access.add&name=%zz":                                           "Malformed form: bad percent encoding",
		tok + "&cmd=access.add;name=x":                                             `Malformed form: ";" separates nothing: write %3B`,
		tok + "&cmd=access.get":                                                    "Missing parameter: token_id",
		tok + "&cmd=access.get&token_id=1&token_id=1":                              "Parameter token_id is given once, as a text",
		tok + "&cmd=access.get&token_id=":                                          "No such token",
		tok + "&cmd=access.get&token_id=17":                                        "No such token",
		tok + "&cmd=access.get&token_id=*":                                         "No such token",
		tok + "&cmd=access.get&token_id=" + a.ID + "%20":                           "No such token",
		tok + "&cmd=access.get&token_id=" + strings.ToUpper(a.ID):                  "No such token",
		tok + "&cmd=access.get&token_id=" + a.Token:                                "No such token",
		tok + "&cmd=access.get&token_id=" + strings.Repeat("1", 10_000):            "No such token",
		tok + "&cmd=access.remove":                                                 "Missing parameter: token_id",
		tok + "&cmd=access.update&meta={}":                                         "meta holds name, extra or both",
		tok + `&cmd=access.update&meta={"name":"x"}`:                               "Missing parameter: token_id",
		tok + "&cmd=access.update&token_id=" + a.ID:                                "Missing parameter: meta",
		tok + "&cmd=access.update&token_id=" + a.ID + `&meta=`:                     "meta is no valid JSON: at byte 0: unexpected end",
		"cmd=access.get_all":                                                       "Access denied",
		"cmd=access.get_all&auth_token=":                                           "Access denied",
		"cmd=access.get_all&auth_token[a]=x":                                       "auth_token is a text",
		"cmd=access.get_all&" + tok + "&" + tok:                                    "More than one credential",
		"cmd=access.get_all&" + tok + "&auth_token=":                               "More than one credential",
		"cmd=access.get_all&auth_token[]=" + w.session:                             "More than one credential",
		"x=" + strings.Repeat("x", 64<<10):                                         "Request too large",
		strings.Repeat("a=&", 1001):                                                "Malformed form: too many pairs",
		tok + `&cmd=access.update&name=x&token_id=` + a.ID + `&meta={"extra":{}}`:  "name and extra belong into meta",
		tok + `&cmd=access.update&extra={}&token_id=` + a.ID + `&meta={"name":""}`: "name and extra belong into meta",
	} {
		w.fails(want, w.send(post(body)))
		if strings.HasPrefix(want, "Malformed form") {
			want = strings.Replace(want, " form", " query", 1)
		}
		r := httptest.NewRequest("GET", "/api", nil)
		r.URL.RawQuery = body
		w.fails(want, w.send(r))
	}
	for name, tt := range map[string]struct{ meta, want string }{
		"list":           {`[]`, "meta is a JSON object"},
		"null":           {`null`, "meta is a JSON object"},
		"text":           {`"x"`, "meta is a JSON object"},
		"null name":      {`{"name":null}`, "meta.name is a text"},
		"number":         {`{"name":1}`, "meta.name is a text"},
		"NUL":            {`{"name":"\u0000"}`, "name has at most 256 bytes, and no NUL"},
		"null extra":     {`{"name":"x","extra":null}`, "extra is a JSON object"},
		"extra list":     {`{"extra":[]}`, "extra is a JSON object"},
		"empty extra":    {`{"extra":""}`, "extra is no valid JSON: at byte 0: unexpected end"},
		"case":           {`{"name":"x","Extra":{}}`, "meta holds name, extra or both, and nothing else"},
		"other":          {`{"name":"x","disabled":true}`, "meta holds name, extra or both, and nothing else"},
		"twice":          {`{"name":"x","name":"y"}`, `meta is no valid JSON: at byte 12: the same name twice`},
		"trailing":       {`{"name":"x"}{}`, "meta is no valid JSON: at byte 12: trailing data"},
		"long":           {`{"name":"` + strings.Repeat("x", 257) + `"}`, "name has at most 256 bytes, and no NUL"},
		"bad extra":      {`{"name":"y","extra":{"stock_images":2}}`, "stock_images is 0 or 1"},
		"extra in extra": {`{"extra":"\"{}\""}`, "extra is a JSON object"},
	} {
		r := w.call("access.update", "token_id", a.ID, "meta", tt.meta)
		require.Equal(t, "FAILURE", r.Code, name)
		if name != "twice" {
			w.fails(tt.want, r)
		}
	}
	for pairs, want := range map[string]string{
		"meta[name][]=x":                 "Parameter name is given once, as a text",
		"meta[name]=x&meta[disabled]=1":  "meta holds name, extra or both, and nothing else",
		"meta[name]=x&meta[extra]=":      "extra is no valid JSON: at byte 0: unexpected end",
		"meta[name]=x&meta[extra][]=":    "extra is given once, as a JSON object",
		"meta={}&meta={}":                "meta is given once, as a JSON object",
		"meta[]={}":                      "meta is given once, as a JSON object",
		`meta={"name":"x"}&meta[name]=y`: "Malformed form: one name used in two ways",
	} {
		w.fails(want, w.send(post(encode("cmd", "access.update", "auth_token", w.session, "token_id", a.ID)+"&"+pairs)))
	}
	got := w.ok(w.call("access.get", "token_id", a.ID))
	require.Equal(t, "app", got.Name)
	require.Equal(t, "{}", string(got.Extra))

	// Around the form.
	ok := "cmd=access.get_all&" + tok
	r := post(ok)
	r.URL.RawQuery = tok
	w.fails("More than one credential", w.send(r))
	r = post(ok)
	r.URL.RawQuery = "cmd=access.get_all"
	w.fails("A parameter is given both in the query and in the body", w.send(r))
	r = post(ok)
	r.Header.Set("Authorization", "Bearer "+w.session)
	w.fails("More than one credential", w.send(r))
	r = post("cmd=access.get_all")
	r.Header.Set("Authorization", "Bearer "+w.session)
	w.fails("Access denied", w.send(r))
	r = post(ok)
	r.Header["Authorization"] = []string{"Basic x", "Basic y"}
	w.fails("More than one credential", w.send(r))
	r = post(ok)
	r.Header["Referer"] = []string{"http://a/", "http://b/"}
	w.fails("Invalid request", w.send(r))
	for _, kind := range []string{"application/json", "multipart/form-data; boundary=x", "text/plain",
		"application/x-www-form-urlencoded; charset=iso-8859-1", "x"} {
		r = post(ok)
		r.Header.Set("Content-Type", kind)
		w.fails("Unsupported content type", w.send(r))
	}
	r = post(ok)
	r.Header.Set("Content-Encoding", "gzip")
	w.fails("Unsupported content type", w.send(r))
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH"} {
		r = post(ok)
		r.Method = method
		w.fails("Use GET or POST", w.send(r))
	}
	require.Empty(t, w.log.String(), "none of this is trouble of ours")
	for _, err := range w.errs {
		require.NotContains(t, err.Error(), w.session)
		require.NotContains(t, err.Error(), a.Token)
	}
}

func TestReveal(t *testing.T) {
	ring := keyring(t, 1)
	w := newFixtureWith(t, nil, ring)
	a, b := w.add("a", `{}`), w.add("b", appExtra)
	require.Equal(t, a.Token, w.ok(w.call("access.get", "token_id", a.ID)).Token)
	require.Equal(t, b.Token, w.ok(w.call("access.update", "token_id", b.ID, "meta", `{"name":"c"}`)).Token)
	list := w.list(w.call("access.get_all"))
	require.Equal(t, []string{a.Token, b.Token}, []string{list[0].Token, list[1].Token})

	// Who may read but not reveal sees what a list without a keyring shows.
	reader := w.newSession(w.acme, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"),
		latchkey.Allow(latchkey.Read).On("latchkey/token/*")})
	for _, h := range append(w.list(w.as(reader, "access.get_all")), w.ok(w.as(reader, "access.get", "token_id", a.ID))) {
		require.Contains(t, h.Token, "…")
	}
	// Nor are texts shown to somebody who may do less than the token.
	weak := w.newSession(w.acme, latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/token/*")})
	list = w.list(w.as(weak, "access.get_all"))
	require.Equal(t, a.Token, list[0].Token, "a token for nothing")
	require.Contains(t, list[1].Token, "…")
	require.NotContains(t, w.log.String()+fmt.Sprint(w.errs), a.Token)
}

// Nobody makes, changes or removes a token that may do more than she may.
func TestNobodyGivesMoreThanSheHas(t *testing.T) {
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

// A token of another owner, of another surface, a revoked one and one that never was are missing, all alike.
func TestForeignTokensAreAbsent(t *testing.T) {
	w := newFixture(t, nil)
	mine := w.add("mine", `{}`)
	key := func(a latchkey.Account, origin string, kind latchkey.Kind) string {
		id, _ := w.issue(a, latchkey.Spec{Kind: kind, Origin: origin, Settings: latchkey.Settings{Name: "theirs"}})
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

// Trouble is a FAILURE in HTTP 200 as well, it is logged, and it never reads as "no such token" or as an empty list.
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
}

// TestWrongTokens walks every command with every auth_token that is not good for it.
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
		id, text := w.issue(w.acme, latchkey.Spec{Kind: kind, Settings: rights})
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
		"expired":       issue(w.acme, latchkey.Spec{Kind: latchkey.KindSession, Settings: expiring}),
		"not yet":       issue(w.acme, latchkey.Spec{Kind: latchkey.KindSession, Settings: later}),
		"other referer": issue(w.acme, latchkey.Spec{Kind: latchkey.KindSession, Settings: elsewhere}),
		"unsigned":      issue(w.acme, latchkey.Spec{Kind: latchkey.KindSession, Settings: signed}),
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
	_, minted, err := w.keys.Mint(ctx, w.verified(w.session), latchkey.Narrowing{Lifetime: time.Minute})
	require.NoError(t, err)
	wrongKind := map[string]string{ // for access.*, whatever they may do
		"access token":   full.Token,
		"API key":        issue(w.acme, latchkey.Spec{Kind: latchkey.KindAPIKey, Settings: rights}),
		"secret key":     issue(w.acme, latchkey.Spec{Kind: latchkey.KindSecret}),
		"publishable":    issue(w.acme, latchkey.Spec{Kind: latchkey.KindPublishable, Settings: rights}),
		"minted of hers": minted.Reveal(),
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

// What a session makes outlives it, as the product documents; a host can have it otherwise.
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
