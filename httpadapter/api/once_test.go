package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func (w *world) count(q latchkey.TokenQuery) int {
	w.t.Helper()
	n, err := w.acme.CountTokens(w.t.Context(), q, 0)
	require.NoError(w.t, err)
	return n
}

// A request with an Idempotency-Key is carried out once. Sent again, it names what it made, and shows no secret.
func TestRepeatedRequests(t *testing.T) {
	h := newHouse(t, setup{})
	const body = `{"kind":"api_key","name":"once"}`
	made := h.do("POST", "/tokens", body, "Idempotency-Key", `"8e03978e-40d5-43dd-bc93-6894a57f9324"`).ok(201)
	id := made["token"].(map[string]any)["id"].(string)

	again := h.do("POST", "/tokens", body, "Idempotency-Key",
		"8e03978e-40d5-43dd-bc93-6894a57f9324") // with and without quotes
	p := again.refused(409, "carried-out")
	require.Equal(t, id, p.Object)
	require.NotContains(t, again.Body.String(), made["secret"])
	require.Equal(t, 1, h.count(latchkey.TokenQuery{Search: "once"}))

	for name, got := range map[string]reply{
		"another body": h.do("POST", "/tokens", `{"kind":"api_key","name":"other"}`, "Idempotency-Key",
			"8e03978e-40d5-43dd-bc93-6894a57f9324"),
		"another operation": h.do("POST", "/me/tokens", `{"lifetime":1000000000}`, "Idempotency-Key",
			"8e03978e-40d5-43dd-bc93-6894a57f9324"),
		"another path": h.do("POST", "/tokens/"+h.plainID+"/rotate", `{}`, "Idempotency-Key",
			"8e03978e-40d5-43dd-bc93-6894a57f9324"),
	} {
		p := got.refused(422, "other-request")
		require.Empty(t, p.Object, name)
	}
	require.Zero(t, h.count(latchkey.TokenQuery{Search: "other"}))

	// Keys belong to their caller.
	_, second := h.issue(latchkey.Spec{Kind: latchkey.KindSecret})
	h.as(second, "POST", "/tokens", body, "Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324").ok(201)

	// It is remembered for a day.
	h.clock.add(DefaultRemember - time.Second)
	h.do("POST", "/tokens", body, "Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324").refused(409, "carried-out")
	h.clock.add(2 * time.Second)
	_, err := h.keys.Purge(t.Context())
	require.NoError(t, err)
	later := h.do("POST", "/tokens", body, "Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324").ok(201)
	p = h.do("POST", "/tokens", body, "Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324").refused(409,
		"carried-out")
	require.Equal(t, later["token"].(map[string]any)["id"], p.Object, "the newest")
}

// What failed was not carried out: the request may be sent again.
func TestFailedRequestsAreNotRemembered(t *testing.T) {
	h := newHouse(t, setup{})
	const body = `{"name":"wanted","inherits":["missing"]}`
	h.do("POST", "/roles", body, "Idempotency-Key", "k").refused(400, "invalid")
	_, err := h.acme.CreateRole(t.Context(), latchkey.Role{Name: "missing"})
	require.NoError(t, err)
	h.do("POST", "/roles", body, "Idempotency-Key", "k").ok(201)
	h.do("POST", "/roles", body, "Idempotency-Key", "k").refused(409, "carried-out") // and not "the name is taken"
}

// Of many that send one request at once, in two processes, one is answered with the secret, and one token is made.
func TestOneRequestSentAtOnce(t *testing.T) {
	h := newHouse(t, setup{})
	other := h.process()
	const each = 8
	for _, of := range []struct{ target, body string }{
		{"/tokens", `{"kind":"api_key","name":"at once"}`},
		{"/me/tokens", `{"lifetime":60000000000,"name":"at once"}`},
		{"/roles", `{"name":"at once"}`},
		{"/tokens/" + h.plainID + "/rotate", `{}`},
	} {
		codes := make([]int, 2*each)
		var all sync.WaitGroup
		for i := range codes {
			all.Go(func() {
				w := *h.world
				if i%2 == 0 {
					w.handler = other
				}
				codes[i] = w.do("POST", of.target, of.body, "Idempotency-Key", fmt.Sprintf("k-%x", of.target)).Code
			})
		}
		all.Wait()
		won := 0
		for _, code := range codes {
			if code < 300 {
				won++
			} else {
				require.Equal(t, 409, code)
			}
		}
		require.Equal(t, 1, won, of.target)
	}
	require.Equal(t, 2, h.count(latchkey.TokenQuery{Search: "at once"}))
}

// lossy is a store that writes, and then cannot say so.
type lossy struct {
	latchkey.Store
	armed bool
}

func (s *lossy) Write(ctx context.Context, w latchkey.Write) error {
	err := s.Store.Write(ctx, w)
	if err == nil && s.armed {
		s.armed = false
		panic(http.ErrAbortHandler) // the process dies after the commit, before it could answer
	}
	return err
}

// A process that dies between the commit and the reply loses nothing: the repetition names the token, which a rotation
// gives a secret that can be read.
func TestCrashBetweenCommitAndReply(t *testing.T) {
	var store *lossy
	h := newHouse(t, setup{store: func(s latchkey.Store) latchkey.Store { store = &lossy{Store: s}; return store }})
	const body = `{"kind":"api_key","name":"crash"}`
	store.armed = true
	require.Panics(t, func() { h.do("POST", "/tokens", body, "Idempotency-Key", "k") })

	h.handler = h.process() // restarted
	p := h.do("POST", "/tokens", body, "Idempotency-Key", "k").refused(409, "carried-out")
	require.Equal(t, 1, h.count(latchkey.TokenQuery{Search: "crash"}))
	secret := h.do("POST", "/tokens/"+p.Object+"/rotate", nil).ok(200)["secret"].(string)
	require.Equal(t, p.Object, h.as(secret, "GET", "/me", nil).ok(200)["token_id"])
}

// What is kept of a request tells nobody its key or its body.
func TestWhatIsKeptOfARequest(t *testing.T) {
	h := newHouse(t, setup{})
	h.do("POST", "/tokens/import", `{"kind":"api_key","text":"old_1234567890abcdef"}`, "Idempotency-Key", "my-key").ok(201)
	events := h.do("GET", "/events?action=request.done", nil)
	list := events.ok(200)["items"].([]any)
	require.Len(t, list, 1)
	e := list[0].(map[string]any)
	require.Equal(t, h.adminID, e["actor"])
	require.Equal(t, "192.0.2.7", e["from"])
	require.NotContains(t, events.Body.String(), "my-key")
	require.NotContains(t, events.Body.String(), "old_1234567890abcdef")
}

// Pages lead through a listing, each record once. A cursor is of one listing of one owner.
func TestCursors(t *testing.T) {
	h := newHouse(t, setup{})
	for i := range 7 {
		h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: fmt.Sprintf("n%d", i),
			Client: latchkey.Client{ID: fmt.Sprintf("client %d", i)}, Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("data/%d", i)))}})
		_, err := h.acme.CreateRole(t.Context(), latchkey.Role{Name: fmt.Sprintf("role %d", i)})
		require.NoError(t, err)
	}
	_, narrow := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("data/a", "data/b", "data/c", "latchkey/*")}})
	cursors := map[string]string{}
	for _, of := range []struct{ who, target string }{
		{h.admin, "/tokens?"}, {h.admin, "/tokens?order=name&"}, {h.admin, "/tokens?order=name&reverse=true&"},
		{h.admin, "/tokens?order=used&"}, {h.admin, "/tokens?order=end&kind=api_key&"}, {narrow, "/me/reach?action=read&"},
		{h.admin, "/roles?"}, {h.admin, "/clients?"}, {h.admin, "/events?"}, {h.admin, "/events?order=oldest&"},
		{h.admin, "/who?action=read&resource=data/1&"},
	} {
		whole := h.as(of.who, "GET", of.target+"limit=200", nil).ok(200)
		require.NotContains(t, whole, "next", of.target)
		var got []any
		for next := ""; ; {
			target := of.target + "limit=2"
			if next != "" {
				target += "&cursor=" + next
			}
			page := h.as(of.who, "GET", target, nil).ok(200)
			items := page["items"].([]any)
			require.LessOrEqual(t, len(items), 2)
			got = append(got, items...)
			more, ok := page["next"].(string)
			if !ok {
				break
			}
			require.NotEmpty(t, items, of.target)
			next, cursors[of.who+of.target] = more, more
		}
		require.Greater(t, len(got), 2, of.target)
		require.Equal(t, names(whole["items"].([]any)), names(got), of.target)
	}
	for of, cursor := range cursors {
		for _, target := range []string{"/tokens?", "/tokens?order=name&", "/tokens?find=x&", "/roles?", "/clients?",
			"/events?",
			"/events?order=oldest&", "/who?action=read&resource=data/2&"} {
			if of == h.admin+target {
				continue
			}
			p := h.do("GET", target+"cursor="+cursor, nil).refused(400, "bad-request")
			assert.Equal(t, "cursor", p.Field)
		}
	}
	mine := cursors[h.admin+"/tokens?"]
	for _, cursor := range []string{"", "x", mine[:5], mine + "=", mine[:len(mine)-1], "!" + mine, mine + "%00"} {
		got := h.do("GET", "/tokens?cursor="+cursor, nil)
		if cursor == mine[:len(mine)-1] && got.Code == 200 {
			continue // another place in the same listing, which the caller may read anyway
		}
		got.refused(400, "bad-request")
	}
	digest, err := base64.RawURLEncoding.DecodeString(mine)
	require.NoError(t, err)
	for _, after := range []string{"\xff", "a\x00b"} { // of the caller's own making: what no store could be asked for
		h.do("GET", "/tokens?cursor="+encodeCursor(digest[:cursorDigest], after), nil).refused(400, "bad-request")
	}
	h.do("GET", "/tokens?limit=3&cursor="+mine, nil).ok(200) // the size of pages may change

	_, theirs := h.issueFor(h.keys.For("other"), latchkey.Spec{Kind: latchkey.KindSecret})
	h.as(theirs, "GET", "/tokens?cursor="+mine, nil).refused(400, "bad-request")
	for _, limit := range []string{"0", "-1", "201", "1.5", "01", "+1", "1e1", "9999999999999999999999"} {
		h.do("GET", "/tokens?limit="+limit, nil).refused(400, "bad-request")
	}
}

// names returns what tells items apart.
func names(items []any) (out []string) {
	for _, item := range items {
		m := item.(map[string]any)
		if token, ok := m["token"].(map[string]any); ok {
			m = token
		}
		for _, member := range []string{"id", "pattern", "seq"} {
			if v, ok := m[member]; ok {
				out = append(out, fmt.Sprint(v))
				break
			}
		}
	}
	return out
}

// Of edits at once that all saw the same version, one is made. Without If-Match each patch changes what it names, and
// nothing is lost.
func TestConcurrentEdits(t *testing.T) {
	h := newHouse(t, setup{})
	target := "/tokens/" + h.plainID
	tag := h.do("GET", target, nil).Header().Get("ETag")
	codes := make([]int, 8)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() {
			codes[i] = h.do("PATCH", target, fmt.Sprintf(`{"name":"n%d"}`, i), "If-Match", tag).Code
		})
	}
	all.Wait()
	won := 0
	for _, code := range codes {
		if code == 200 {
			won++
		} else {
			require.Equal(t, 412, code)
		}
	}
	require.Equal(t, 1, won)

	patches := []string{`{"name":"all"}`, `{"disabled":true}`, `{"extra":{"a":1}}`, `{"extra":{"b":2}}`,
		`{"restrictions":{"signed":true}}`, `{"restrictions":{"domains":["example.com"]}}`}
	for _, patch := range patches {
		all.Go(func() { h.do("PATCH", target, patch) })
	}
	all.Wait()
	got := h.do("GET", target, nil).ok(200)
	for name, want := range map[string]string{"name": `"all"`, "disabled": `true`, "extra": `{"a":1,"b":2}`,
		"restrictions": `{"domains":["example.com"],"signed":true}`} {
		is, err := json.Marshal(got[name])
		require.NoError(t, err)
		require.JSONEq(t, want, string(is), name)
	}
}
