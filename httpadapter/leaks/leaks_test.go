package leaks_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/leaks"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

var read = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}

// scanner signs reports as GitHub does.
type scanner struct {
	t   testing.TB
	key *ecdsa.PrivateKey
}

func newScanner(t testing.TB) *scanner {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &scanner{t, key}
}

func (s *scanner) keys(_ context.Context, id string) (*ecdsa.PublicKey, error) {
	if id != "current" {
		return nil, leaks.ErrUnknownKey
	}
	return &s.key.PublicKey, nil
}

// request returns a signed request.
func (s *scanner) request(body string) *http.Request { return s.requestIn(s.t, body) }

func (s *scanner) requestIn(t testing.TB, body string) *http.Request {
	digest := sha256.Sum256([]byte(body))
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, digest[:])
	require.NoError(t, err)
	r := httptest.NewRequest("POST", "/leaks", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Github-Public-Key-Identifier", "current")
	r.Header.Set("Github-Public-Key-Signature", base64.StdEncoding.EncodeToString(signature))
	return r
}

func body(t testing.TB, texts ...string) string {
	list := []map[string]string{}
	for _, text := range texts {
		list = append(list, map[string]string{"token": text, "type": "latchkey_key", "source": "content",
			"url": "https://code.example/acme/app/blob/main/.env"})
	}
	out, err := json.Marshal(list)
	require.NoError(t, err)
	return string(out)
}

func answer(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// cutOff has the connection of a request end within its body.
func cutOff(r *http.Request) *http.Request {
	r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, 9), iotest.ErrReader(io.ErrUnexpectedEOF)))
	return r
}

// checkProblem requires that a reply is one problem, and says why.
func checkProblem(t testing.TB, w *httptest.ResponseRecorder) {
	t.Helper()
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	var p map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p), w.Body.String())
	assert.NotEmpty(t, p["detail"])
	delete(p, "detail")
	assert.Equal(t, map[string]any{"type": "about:blank", "title": http.StatusText(w.Code), "status": float64(w.Code)}, p)
}

type verdict struct{ TokenHash, TokenType, Label string }

func verdicts(t testing.TB, w *httptest.ResponseRecorder) (out []verdict) {
	var list []map[string]string
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list), w.Body.String())
	for _, v := range list {
		require.Len(t, v, 3)
		out = append(out, verdict{v["token_hash"], v["token_type"], v["label"]})
	}
	return out
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func issue(t testing.TB, m *latchkey.Manager, owner string, kind latchkey.Kind) (latchkey.Token, string) {
	spec := latchkey.Spec{Kind: kind, Name: "ci", Permissions: read}
	if kind == latchkey.KindSecret {
		spec.Permissions = nil // it may do everything
	}
	token, secret, err := m.For(owner).Issue(context.Background(), spec)
	require.NoError(t, err)
	return token, secret.Reveal()
}

func works(m *latchkey.Manager, text string) bool {
	_, err := m.Verify(context.Background(), latchkey.Presented{Secret: text})
	return err == nil
}

func TestAReportEndsTokensOfEveryOwner(t *testing.T) {
	kit, github := latchkeytest.New(t, nil), newScanner(t)
	acme, acmeText := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	_, otherText := issue(t, kit.Manager, "other", latchkey.KindSecret)
	_, kept := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	_, public := issue(t, kit.Manager, "acme", latchkey.KindPublishable)
	parent, err := kit.Manager.Verify(t.Context(), latchkey.Presented{Secret: acmeText})
	require.NoError(t, err)
	_, child, err := parent.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	gone, goneText := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	require.NoError(t, kit.Manager.For("acme").Delete(t.Context(), gone.ID))

	var told []leaks.Leak
	h := leaks.GitHub(kit.Manager, github.keys, &leaks.Options{Ended: func(_ context.Context, l leaks.Leak) {
		told = append(told, l)
	}})
	for range 2 { // a scanner may repeat its report
		w := answer(h, github.request(body(t, acmeText, "no token", otherText, public, goneText)))
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		assert.Equal(t, []verdict{{hash(acmeText), "latchkey_key", "true_positive"},
			{hash("no token"), "latchkey_key", "false_positive"}, {hash(otherText), "latchkey_key", "true_positive"},
			{hash(public), "latchkey_key", "false_positive"}}, verdicts(t, w))
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
	over := map[string]bool{acmeText: true, otherText: true, child.Reveal(): true, kept: false, public: false}
	for text, over := range over {
		assert.Equal(t, !over, works(kit.Manager, text))
	}
	require.Len(t, told, 6)
	assert.Equal(t, acme.ID, told[0].Token.ID)
	assert.Equal(t, "https://code.example/acme/app/blob/main/.env", told[0].URL)
	assert.Equal(t, "content", told[0].Source)
	assert.Equal(t, "latchkey_key", told[0].Type)
	var actions []leaks.Action
	var ended []bool
	for _, l := range told {
		actions, ended = append(actions, l.Action), append(ended, l.Ended)
	}
	assert.Equal(t, []leaks.Action{leaks.Revoke, leaks.Revoke, leaks.Nothing, leaks.Nothing, leaks.Nothing,
		leaks.Nothing}, actions)
	assert.Equal(t, []bool{false, false, false, true, true, false}, ended)
	events, err := kit.Manager.For("acme").EventsPage(t.Context(), latchkey.EventQuery{Object: acme.ID})
	require.NoError(t, err)
	reasons := []string{}
	for _, e := range events.Items {
		if e.Action == "token.revoke" {
			reasons = append(reasons, e.Reason)
		}
	}
	assert.Equal(t, []string{"leaked: https://code.example/acme/app/blob/main/.env"}, reasons)
	text := fmt.Sprintf("%+v", told)
	for _, secret := range []string{acmeText, otherText} {
		assert.NotContains(t, text, secret)
	}
}

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		action        leaks.Action
		err           error
		old           bool // the secret before a rotation leaked
		newest, older bool // which still work afterwards
		does          leaks.Action
		status        int
	}{
		"revoke":                  {leaks.Revoke, nil, false, false, false, leaks.Revoke, 200},
		"revoke, an old secret":   {leaks.Revoke, nil, true, false, false, leaks.Revoke, 200},
		"end an old secret":       {leaks.EndSecret, nil, true, true, false, leaks.EndSecret, 200},
		"end the newest: revoked": {leaks.EndSecret, nil, false, false, false, leaks.Revoke, 200},
		"nothing":                 {leaks.Nothing, nil, false, true, true, leaks.Nothing, 200},
		"an error":                {leaks.Revoke, errors.New("no database"), false, true, true, 0, 503},
		"no action":               {leaks.Action(7), nil, false, true, true, 0, 503},
	} {
		t.Run(name, func(t *testing.T) {
			kit, github := latchkeytest.New(t, nil), newScanner(t)
			token, older := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
			fresh, err := kit.Manager.For("acme").Rotate(t.Context(), token.ID, time.Hour)
			require.NoError(t, err)
			newest := fresh.Reveal()
			var asked, told []leaks.Leak
			h := leaks.GitHub(kit.Manager, github.keys, &leaks.Options{
				Decide: func(_ context.Context, l leaks.Leak) (leaks.Action, error) {
					asked = append(asked, l)
					return c.action, c.err
				},
				Ended: func(_ context.Context, l leaks.Leak) { told = append(told, l) },
			})
			leaked := newest
			if c.old {
				leaked = older
			}
			w := answer(h, github.request(body(t, leaked)))
			assert.Equal(t, c.status, w.Code)
			assert.Equal(t, c.newest, works(kit.Manager, newest))
			assert.Equal(t, c.older, works(kit.Manager, older))
			require.Len(t, asked, 1)
			assert.NotEmpty(t, asked[0].SecretID)
			if c.status == 200 {
				require.Len(t, told, 1)
				assert.Equal(t, c.does, told[0].Action)
			} else {
				assert.Empty(t, told)
				assert.NotContains(t, w.Body.String(), "no database")
			}
		})
	}
}

// What could not be done to a token is not reported as done, and a token that was deleted meanwhile has ended.
func TestATokenAsItIsAfterADecision(t *testing.T) {
	for _, action := range []leaks.Action{leaks.Revoke, leaks.EndSecret} {
		for name, c := range map[string]struct {
			err     error // of Decide
			fails   int   // how many transactions of the store fail
			deleted bool  // the token, meanwhile
		}{"done": {}, "no decision": {err: errors.New("no database")}, "the store failed": {fails: 1},
			"deleted": {deleted: true}} {
			t.Run(fmt.Sprint(action, ", ", name), func(t *testing.T) {
				kit := latchkeytest.New(t, nil)
				token, text := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
				newest, err := kit.For("acme").Rotate(t.Context(), token.ID, time.Hour)
				require.NoError(t, err)
				result := leaks.End(t.Context(), kit.Manager, []leaks.Report{{Text: text}}, &leaks.Options{
					Decide: func(ctx context.Context, _ leaks.Leak) (leaks.Action, error) {
						if c.deleted {
							require.NoError(t, kit.For("acme").Delete(ctx, token.ID))
						}
						kit.Store.Fail(func(call string) error {
							if call != "Write" || c.fails == 0 {
								return nil
							}
							c.fails--
							return latchkey.ErrUnavailable
						})
						return action, c.err
					}})[0]
				require.True(t, result.Known)
				if name == "done" || c.deleted {
					require.NoError(t, result.Err)
					require.Equal(t, action, result.Leak.Action)
					require.False(t, works(kit.Manager, text))
				} else {
					require.Error(t, result.Err)
					require.Equal(t, leaks.Nothing, result.Leak.Action)
					require.True(t, works(kit.Manager, text))
				}
				require.Equal(t, !c.deleted && (name != "done" || action == leaks.EndSecret),
					works(kit.Manager, newest.Reveal()))
			})
		}
	}
}

// A stateless token has no secret of its own to end: it ends itself.
func TestADecisionAboutAStatelessToken(t *testing.T) {
	ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: bytes.Repeat([]byte("k"), 32)})
	require.NoError(t, err)
	kit := latchkeytest.New(t, &latchkey.Options{Keyring: ring})
	_, text := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	parent, err := kit.Verify(t.Context(), latchkey.Presented{Secret: text})
	require.NoError(t, err)
	_, minted, err := parent.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour, Stateless: true})
	require.NoError(t, err)
	require.True(t, works(kit.Manager, minted.Reveal()))
	result := leaks.End(t.Context(), kit.Manager, []leaks.Report{{Text: minted.Reveal()}}, &leaks.Options{
		Decide: func(context.Context, leaks.Leak) (leaks.Action, error) { return leaks.EndSecret, nil }})[0]
	require.NoError(t, result.Err)
	require.Equal(t, leaks.Revoke, result.Leak.Action)
	require.False(t, works(kit.Manager, minted.Reveal()))
	require.True(t, works(kit.Manager, text))
}

// An old secret that lets nobody in any more is no reason to end the token.
func TestASecretThatHasEnded(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	token, older := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	newest, err := kit.For("acme").Rotate(t.Context(), token.ID, time.Minute)
	require.NoError(t, err)
	kit.Clock.Advance(time.Minute)
	opts := &leaks.Options{Decide: func(context.Context, leaks.Leak) (leaks.Action, error) {
		t.Error("there is nothing to decide")
		return leaks.Revoke, nil
	}}
	results := leaks.End(t.Context(), kit.Manager, []leaks.Report{{Text: older}}, opts)
	require.NoError(t, results[0].Err)
	assert.Equal(t, older, results[0].Text)
	assert.True(t, results[0].Form)
	assert.True(t, results[0].Known)
	assert.True(t, results[0].Leak.Ended)
	assert.Equal(t, leaks.Nothing, results[0].Leak.Action)
	assert.True(t, works(kit.Manager, newest.Reveal()))
	assert.Equal(t, leaks.Revoke, leaks.End(t.Context(), kit.Manager, []leaks.Report{{Text: newest.Reveal()}},
		nil)[0].Leak.Action)
	assert.False(t, works(kit.Manager, newest.Reveal()))
}

func TestRequestsThatAreNotGitHubs(t *testing.T) {
	kit, github := latchkeytest.New(t, nil), newScanner(t)
	_, text := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	good := body(t, text)
	other := newScanner(t)
	set := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	signature := github.request(good).Header.Get("Github-Public-Key-Signature")
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	keys := func(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
		if id == "" || len(id) > 128 || strings.Contains(id, "/") {
			t.Errorf("asked for %q", id)
		}
		switch id {
		case "nil":
			return nil, nil
		case "Az-_09", strings.Repeat("a", 128):
			return github.keys(ctx, "current")
		case "p384":
			return &p384.PublicKey, nil
		case "down":
			return nil, errors.New("secret of the network")
		}
		return github.keys(ctx, id)
	}
	h := leaks.GitHub(kit.Manager, keys, &leaks.Options{Limit: 3})
	for name, c := range map[string]struct {
		request *http.Request
		change  func(*http.Request)
		status  int
	}{
		"GET":                    {github.request(good), func(r *http.Request) { r.Method = "GET" }, 405},
		"no signature":           {github.request(good), set("Github-Public-Key-Signature"), 403},
		"two signatures":         {github.request(good), set("Github-Public-Key-Signature", signature, signature), 403},
		"no key":                 {github.request(good), set("Github-Public-Key-Identifier"), 403},
		"two keys":               {github.request(good), set("Github-Public-Key-Identifier", "current", "current"), 403},
		"an empty key":           {github.request(good), set("Github-Public-Key-Identifier", ""), 403},
		"an unknown key":         {github.request(good), set("Github-Public-Key-Identifier", "other"), 403},
		"a path for a key":       {github.request(good), set("Github-Public-Key-Identifier", "../down"), 403},
		"a long key":             {github.request(good), set("Github-Public-Key-Identifier", strings.Repeat("a", 129)), 403},
		"a nil key":              {github.request(good), set("Github-Public-Key-Identifier", "nil"), 403},
		"another curve":          {(&scanner{t, p384}).request(good), set("Github-Public-Key-Identifier", "p384"), 403},
		"keys cannot be had":     {github.request(good), set("Github-Public-Key-Identifier", "down"), 503},
		"not base64":             {github.request(good), set("Github-Public-Key-Signature", "!"), 403},
		"an empty signature":     {github.request(good), set("Github-Public-Key-Signature", ""), 403},
		"no signature at all":    {github.request(good), set("Github-Public-Key-Signature", "AAAA"), 403},
		"another's signature":    {other.request(good), nil, 403},
		"another body's":         {github.request(good + " "), set("Github-Public-Key-Signature", signature), 403},
		"a form":                 {github.request(good), set("Content-Type", "application/x-www-form-urlencoded"), 415},
		"compressed":             {github.request(good), set("Content-Encoding", "gzip"), 415},
		"two types":              {github.request(good), set("Content-Type", "application/json", "text/plain"), 400},
		"a type that is no text": {github.request(`[{"token":"` + text + `","type":5}]`), nil, 400},
		"no JSON":                {github.request("["), nil, 400},
		"no array":               {github.request("{}"), nil, 400},
		"null":                   {github.request("null"), nil, 400},
		"a text":                 {github.request(`["` + text + `"]`), nil, 400},
		"no token":               {github.request(`[{"type":"x"}]`), nil, 400},
		"an empty token":         {github.request(`[{"token":""}]`), nil, 400},
		"two tokens":             {github.request(`[{"token":"x","token":"` + text + `"}]`), nil, 400},
		"two tokens in any case": {github.request(`[{"token":"x","Token":"` + text + `"}]`), nil, 400},
		"more than the limit":    {github.request(body(t, text, "a", "b", "c")), nil, 413},
		"too long":               {github.request(body(t, text, strings.Repeat("x", 1<<20))), nil, 413},
		"cut off":                {cutOff(github.request(good)), nil, 400},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change != nil {
				c.change(c.request)
			}
			w := answer(h, c.request)
			assert.Equal(t, c.status, w.Code, w.Body.String())
			checkProblem(t, w)
			if c.status == 405 {
				assert.Equal(t, "POST", w.Header().Get("Allow"))
			}
			assert.NotContains(t, w.Body.String(), text)
			assert.NotContains(t, w.Body.String(), "network")
			assert.True(t, works(kit.Manager, text), "nothing was done")
		})
	}
	long := strings.Repeat("a", 128)
	for _, key := range []string{"Az-_09", long} {
		named := github.request(body(t, "of nobody"))
		set("Github-Public-Key-Identifier", key)(named)
		assert.Equal(t, 200, answer(h, named).Code, "what a key may be called")
	}
	const most = 1 << 20 // bytes
	for n, status := range map[int]int{most: 200, most + 1: 413} {
		whole := body(t, "a", "b", "c") // as many as Limit
		assert.Equal(t, status, answer(h, github.request(whole+strings.Repeat(" ", n-len(whole)))).Code)
	}
	w := answer(h, github.request(`[{"token":"`+text+`","later":{"member":1}}]`))
	assert.Equal(t, 200, w.Code, "members that GitHub may add are ignored")
	assert.False(t, works(kit.Manager, text))
}

// A signature or an identifier that cannot be one is refused before the host looks for a key.
func TestNoKeyIsLookedForInVain(t *testing.T) {
	kit, github := latchkeytest.New(t, nil), newScanner(t)
	asked := 0
	h := leaks.GitHub(kit.Manager, func(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
		asked++
		return github.keys(ctx, id)
	}, nil)
	for name, c := range map[string]struct {
		header string
		values []string
		asked  int
	}{
		"as it came":          {"Accept", nil, 1},
		"no signature":        {"Github-Public-Key-Signature", nil, 0},
		"an empty signature":  {"Github-Public-Key-Signature", []string{""}, 0},
		"not base64":          {"Github-Public-Key-Signature", []string{"AAAA!"}, 0},
		"two signatures":      {"Github-Public-Key-Signature", []string{"AAAA", "AAAA"}, 0},
		"a wrong signature":   {"Github-Public-Key-Signature", []string{"AA=="}, 1},
		"no key":              {"Github-Public-Key-Identifier", nil, 0},
		"an empty key":        {"Github-Public-Key-Identifier", []string{""}, 0},
		"two keys":            {"Github-Public-Key-Identifier", []string{"current", "current"}, 0},
		"a key with a slash":  {"Github-Public-Key-Identifier", []string{"a/b"}, 0},
		"the longest key":     {"Github-Public-Key-Identifier", []string{strings.Repeat("a", 128)}, 1},
		"a key that is long":  {"Github-Public-Key-Identifier", []string{strings.Repeat("a", 129)}, 0},
		"a key of all ranges": {"Github-Public-Key-Identifier", []string{"-_09AZaz"}, 1},
		"a key with a colon":  {"Github-Public-Key-Identifier", []string{"a:"}, 0},
		"a key with an at":    {"Github-Public-Key-Identifier", []string{"@A"}, 0},
		"with a bracket":      {"Github-Public-Key-Identifier", []string{"Z["}, 0},
		"with a backquote":    {"Github-Public-Key-Identifier", []string{"`a"}, 0},
		"with a brace":        {"Github-Public-Key-Identifier", []string{"z{"}, 0},
	} {
		r := github.request(body(t, "of nobody"))
		asked, r.Header[c.header] = 0, c.values
		assert.Equal(t, name == "as it came", answer(h, r).Code == http.StatusOK, name)
		assert.Equal(t, c.asked, asked, name)
	}
}

// A URL may hold the text itself, or what no log should show.
func TestWhereATextWasFound(t *testing.T) {
	const at = "https://code.example/"
	many := strings.Repeat("é", 200) // 400 bytes; a reason has 256
	for name, c := range map[string]struct{ url, reason string }{
		"none":              {"", "leaked"},
		"the text":          {"https://code.example/?q=%s", "leaked"},
		"percent-encoded":   {"https://code.example/?q=%e", "leaked"},
		"encoded twice":     {"https://code.example/100%/?q=%E", "leaked"},
		"split invisibly":   {"https://code.example/?q=%i", "leaked"},
		"control bytes":     {"https://code.example/a\r\nb\u202ec", "leaked: https://code.example/abc"},
		"long":              {at + many, "leaked: " + at + many[:2*113]},
		"long and uneven":   {at + "x" + many, "leaked: " + at + "x" + many[:2*113]},
		"an ordinary place": {"https://code.example/a", "leaked: https://code.example/a"},
	} {
		t.Run(name, func(t *testing.T) {
			kit := latchkeytest.New(t, nil)
			token, text := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
			encoded := fmt.Sprintf("%%%02x%s", text[0], text[1:])
			url := strings.NewReplacer("%s", text, "%e", encoded, "%E", strings.ReplaceAll(encoded, "%", "%25"),
				"%i", text[:9]+"\u200b"+text[9:]).Replace(c.url)
			results := leaks.End(t.Context(), kit.Manager, []leaks.Report{{Text: text, URL: url, Type: text, Source: "s"}}, nil)
			require.Len(t, results, 1)
			require.NoError(t, results[0].Err)
			assert.NotContains(t, fmt.Sprintf("%+v", results[0].Leak), text)
			assert.Equal(t, "s", results[0].Leak.Source)
			assert.Equal(t, c.reason == "leaked", results[0].Leak.URL == "")
			events, err := kit.Manager.For("acme").EventsPage(t.Context(), latchkey.EventQuery{Object: token.ID})
			require.NoError(t, err)
			var reason string
			for _, e := range events.Items {
				if e.Action == "token.revoke" {
					reason = e.Reason
				}
			}
			assert.Equal(t, c.reason, reason)
		})
	}
}

// A text of another system may hold what a reason leaves out.
func TestWhereAnInvisibleTextWasFound(t *testing.T) {
	kit := latchkeytest.New(t, &latchkey.Options{
		Imported: func(text string) bool { return strings.HasPrefix(text, "old") }})
	const text = "old\u200b_1234567890abcdef"
	_, err := kit.For("acme").Import(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey}, text)
	require.NoError(t, err)
	report := leaks.Report{Text: text, URL: "https://code.example/?q=" + text}
	result := leaks.End(t.Context(), kit.Manager, []leaks.Report{report}, nil)[0]
	require.NoError(t, result.Err)
	require.Equal(t, leaks.Revoke, result.Leak.Action)
	require.Empty(t, result.Leak.URL)
}

// A store that does not answer is no answer about a text.
func TestAReportThatCannotBeActedUpon(t *testing.T) {
	kit, github := latchkeytest.New(t, nil), newScanner(t)
	_, text := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	var log bytes.Buffer
	h := leaks.GitHub(kit.Manager, github.keys, &leaks.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	kit.Store.Down(true)
	w := answer(h, github.request(body(t, "no token", text)))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.NotEmpty(t, w.Header().Get("Retry-After"))
	checkProblem(t, w)
	assert.Contains(t, log.String(), "took the store down")
	assert.NotContains(t, log.String()+w.Body.String(), text)
	log.Reset()
	answer(h, github.request(body(t, strings.Fields(strings.Repeat(text+" ", 9))...)))
	assert.Equal(t, 8, strings.Count(log.String(), "took the store down"), "the log needs no more of the same")
	kit.Store.Down(false)
	assert.Equal(t, http.StatusOK, answer(h, github.request(body(t, "no token", text))).Code)
	assert.False(t, works(kit.Manager, text))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i, r := range leaks.End(ctx, kit.Manager, []leaks.Report{{Text: text}, {Text: "x"}}, nil) {
		assert.Equal(t, []string{text, "x"}[i], r.Text)
		assert.ErrorIs(t, r.Err, context.Canceled)
		assert.False(t, r.Known)
	}
}

func TestList(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	token, text := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	_, kept := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
	h := leaks.List(kit.Manager, nil)
	post := func(mediaType, list string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/leaks", strings.NewReader(list))
		r.Header.Set("Content-Type", mediaType)
		return answer(h, r)
	}
	w := post("text/plain; charset=utf-8", "unknown\r\n\r\n  "+text+"\r\n")
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	assert.JSONEq(t, fmt.Sprintf(`[{"line": 1, "known": false}, {"line": 3, "known": true, "owner": "acme", "token": %q,
		"name": "ci", "kind": "api_key", "action": "revoke"}]`, token.ID), w.Body.String())
	assert.False(t, works(kit.Manager, text))
	assert.True(t, works(kit.Manager, kept))
	assert.JSONEq(t, "[]", post("text/plain", "\n").Body.String())
	assert.Equal(t, 200, post("text/plain", strings.Repeat("x\n", 1000)).Code)
	for name, c := range map[string]struct {
		media, list string
		status      int
	}{
		"a form":   {"application/x-www-form-urlencoded", kept, 415},
		"no UTF-8": {"text/plain", kept + "\n\xff", 400},
		"too many": {"text/plain", kept + strings.Repeat("\nx", 1000), 413},
	} {
		w := post(c.media, c.list)
		assert.Equal(t, c.status, w.Code, name)
		checkProblem(t, w)
		assert.True(t, works(kit.Manager, kept), name)
	}
}

// A text that is not read alone would be reported as unknown, and go on working.
func TestLinesOfAnyKind(t *testing.T) {
	for name, c := range map[string]struct {
		list string // %s: the text
		line int
	}{
		"a byte order mark":   {"\ufeff%s\n", 1},
		"zero-width space":    {"x\n\u200b%s\u200b\n", 2},
		"carriage returns":    {"x\r%s\rx", 2},
		"line separator":      {"x\u2028%s\u2028", 2},
		"paragraph separator": {"x\u2029%s", 2},
		"next line":           {"x\u0085%s", 2},
		"form feed":           {"x\f%s", 2},
		"vertical tab":        {"x\v%s", 2},
		"CRLF is one":         {"x\r\n%s", 2},
		"no-break space":      {"\u00a0%s", 1},
	} {
		kit := latchkeytest.New(t, nil)
		token, text := issue(t, kit.Manager, "acme", latchkey.KindAPIKey)
		r := httptest.NewRequest("POST", "/leaks", strings.NewReader(strings.ReplaceAll(c.list, "%s", text)))
		r.Header.Set("Content-Type", "text/plain")
		w := answer(leaks.List(kit.Manager, nil), r)
		assert.Equal(t, http.StatusOK, w.Code, name)
		assert.False(t, works(kit.Manager, text), name)
		var got []struct {
			Line  int
			Token string
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got), name)
		known := 0
		for _, l := range got {
			if l.Token != "" {
				known++
				assert.Equal(t, c.line, l.Line, name)
				assert.Equal(t, token.ID, l.Token, name)
			}
		}
		assert.Equal(t, 1, known, name)
	}
}

// The key and the signature of an example in GitHub's documentation.
func TestGitHubsOwnExample(t *testing.T) {
	const id = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a"
	document, err := json.Marshal(map[string]any{"public_keys": []map[string]any{{"key_identifier": id, "is_current": true,
		"key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\n" +
			"kCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==\n-----END PUBLIC KEY-----"}}})
	require.NoError(t, err)
	keys, err := leaks.ParseKeys(document)
	require.NoError(t, err)
	kit := latchkeytest.New(t, nil)
	h := leaks.GitHub(kit.Manager, func(_ context.Context, id string) (*ecdsa.PublicKey, error) {
		if key := keys[id]; key != nil {
			return key, nil
		}
		return nil, leaks.ErrUnknownKey
	}, nil)
	send := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("GITHUB-PUBLIC-KEY-IDENTIFIER", id)
		r.Header.Set("GITHUB-PUBLIC-KEY-SIGNATURE", "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+"+
			"XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=")
		return answer(h, r)
	}
	w := send(`[{"token":"some_token","type":"some_type","url":"some_url"}]`)
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	assert.Equal(t, []verdict{{hash("some_token"), "some_type", "false_positive"}}, verdicts(t, w))
	assert.Equal(t, http.StatusForbidden, send(`[{"token":"some_token","type":"some_type","url":"some_urL"}]`).Code)
}

func TestParseKeys(t *testing.T) {
	encode := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	p256 := newScanner(t).key
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	document := func(id, key string) []byte {
		text, err := json.Marshal(map[string]any{"public_keys": []map[string]string{{"key_identifier": id, "key": key}}})
		require.NoError(t, err)
		return text
	}
	keys, err := leaks.ParseKeys(document("a", encode(&p256.PublicKey)))
	require.NoError(t, err)
	assert.True(t, keys["a"].Equal(&p256.PublicKey))
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	good := string(document("a", encode(&p256.PublicKey)))
	for name, bad := range map[string]struct {
		document []byte
		says     string
	}{
		"no JSON":       {[]byte("<html>"), "invalid character"},
		"no list":       {[]byte(strings.TrimSuffix(good, "}") + `,"public_keys":5}`), "cannot unmarshal"},
		"none":          {[]byte("{}"), "the document has none"},
		"no PEM":        {document("a", "key"), "no PEM block"},
		"no key":        {document("a", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "asn1"},
		"another curve": {document("a", encode(&p384.PublicKey)), "not ECDSA on P-256"},
		"another kind":  {document("a", encode(ed)), "not ECDSA on P-256"},
		"no identifier": {document("", encode(&p256.PublicKey)), "no identifier"},
	} {
		_, err := leaks.ParseKeys(bad.document)
		assert.ErrorContains(t, err, bad.says, name)
	}
}

func TestSetupMistakes(t *testing.T) {
	kit, github := latchkeytest.New(t, nil), newScanner(t)
	assert.Panics(t, func() { leaks.GitHub(nil, github.keys, nil) })
	assert.Panics(t, func() { leaks.GitHub(kit.Manager, nil, nil) })
	assert.Panics(t, func() { leaks.List(nil, nil) })
	assert.Panics(t, func() { leaks.List(kit.Manager, &leaks.Options{Limit: -1}) })
	assert.Panics(t, func() { leaks.End(t.Context(), nil, nil, nil) })
	assert.NotPanics(t, func() { leaks.GitHub(kit.Manager, github.keys, &leaks.Options{Limit: 1}) })
}

func FuzzGitHub(f *testing.F) {
	kit, github := latchkeytest.New(f, nil), newScanner(f)
	f.Add(`[{"token":"x","type":"t","url":"u","source":"s"}]`)
	f.Add(`[{"token":"x","token":"y"}]`)
	f.Add(`[{"Token":"x"}]`)
	h := leaks.GitHub(kit.Manager, github.keys, nil)
	f.Fuzz(func(t *testing.T, body string) {
		w := answer(h, github.requestIn(t, body))
		switch w.Code {
		case http.StatusOK:
			var reports []struct {
				Token string `json:"token"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &reports))
			assert.LessOrEqual(t, len(verdicts(t, w)), len(reports))
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("%d: %s", w.Code, w.Body)
		}
	})
}
