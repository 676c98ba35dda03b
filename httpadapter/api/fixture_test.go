package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) add(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

// world is an API over a store in memory.
type world struct {
	t       *testing.T
	clock   *clock
	store   latchkey.Store
	options latchkey.Options
	keys    *latchkey.Manager
	acme    latchkey.Account // the host itself
	admin   string           // the text of a secret key of acme
	adminID string
	handler http.Handler
}

type setup struct {
	store   func(latchkey.Store) latchkey.Store
	options latchkey.Options
	adapter httpadapter.Options
	api     Options
}

func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}}
	w.store = memstore.New(&memstore.Options{Clock: w.clock.now})
	if s.store != nil {
		w.store = s.store(w.store)
	}
	s.options.Clock, s.api.Clock = w.clock.now, w.clock.now
	w.options = s.options
	w.keys = latchkey.New(w.store, &s.options)
	t.Cleanup(func() { _ = w.keys.Close(t.Context()) })
	w.acme = w.keys.For("acme")
	w.adminID, w.admin = w.issue(latchkey.Spec{Kind: latchkey.KindSecret, Name: "admin"})
	w.handler = Handler(httpadapter.New(w.keys, &s.adapter), &s.api)
	return w
}

// process returns the API of another process over the same store.
func (w *world) process() http.Handler {
	keys := latchkey.New(w.store, &w.options)
	return Handler(httpadapter.New(keys, nil), &Options{Clock: w.clock.now})
}

// issue makes a token of acme and returns its id and text.
func (w *world) issue(spec latchkey.Spec) (id, text string) { return w.issueFor(w.acme, spec) }

func (w *world) issueFor(a latchkey.Account, spec latchkey.Spec) (id, text string) {
	w.t.Helper()
	t, secret, err := a.Issue(w.t.Context(), spec)
	require.NoError(w.t, err)
	return t.ID, secret.Reveal()
}

// reply is what a client hears.
type reply struct {
	*httptest.ResponseRecorder
	t *testing.T
}

// as sends a request with a Bearer token. Headers are pairs. A body that is no string is sent as JSON.
func (w *world) as(token, method, target string, body any, headers ...string) reply {
	w.t.Helper()
	var text io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		text = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		require.NoError(w.t, err)
		text = bytes.NewReader(data)
	}
	r := httptest.NewRequest(method, target, text)
	r.RemoteAddr = "192.0.2.7:1234"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if text != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return w.send(r)
}

// send also checks that the request and the reply are as openapi.json says.
func (w *world) send(r *http.Request) reply {
	w.t.Helper()
	out, sent := httptest.NewRecorder(), []byte(nil)
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	w.handler.ServeHTTP(out, r)
	checkTruth(w.t, r, sent, out)
	return reply{out, w.t}
}

// do is as of the admin.
func (w *world) do(method, target string, body any, headers ...string) reply {
	w.t.Helper()
	return w.as(w.admin, method, target, body, headers...)
}

// ok requires a status and returns the reply's JSON.
func (r reply) ok(status int) map[string]any {
	r.t.Helper()
	require.Equal(r.t, status, r.Code, "%s", r.Body)
	if r.Body.Len() == 0 {
		return nil
	}
	var out map[string]any
	require.NoError(r.t, json.Unmarshal(r.Body.Bytes(), &out), "%s", r.Body)
	return out
}

// refused requires a problem.
func (r reply) refused(status int, name string) httpadapter.Problem {
	r.t.Helper()
	require.Equal(r.t, status, r.Code, "%s", r.Body)
	require.Equal(r.t, "application/problem+json", r.Header().Get("Content-Type"))
	require.Contains(r.t, r.Header().Get("Cache-Control"), "no-store")
	var p httpadapter.Problem
	require.NoError(r.t, json.Unmarshal(r.Body.Bytes(), &p), "%s", r.Body)
	require.Equal(r.t, httpadapter.ProblemType+name, p.Type, "%s", r.Body)
	require.Equal(r.t, status, p.Status)
	return p
}
