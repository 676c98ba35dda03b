package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/stretchr/testify/require"
)

// client calls the API of a tenant with a key.
type client struct {
	t         *testing.T
	base      string
	host, key string
}

// call returns the status, the body and the headers of an answer.
func (c client) call(method, path, body string) (status int, answer string, header http.Header) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	require.NoError(c.t, err)
	r.Host = c.host
	r.Header.Set("Authorization", "Bearer "+c.key)
	w, err := http.DefaultClient.Do(r)
	require.NoError(c.t, err)
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	require.NoError(c.t, err)
	return w.StatusCode, string(text), w.Header
}

// secret calls a route that returns a new secret.
func (c client) secret(path, body string) (id, secret string) {
	c.t.Helper()
	status, answer, header := c.call("POST", path, body)
	require.Equal(c.t, 201, status, answer)
	require.Equal(c.t, "no-store", header.Get("Cache-Control"))
	var made struct{ ID, Secret string }
	require.NoError(c.t, json.Unmarshal([]byte(answer), &made))
	return made.ID, made.Secret
}

func (c client) with(key string) client { c.key = key; return c }

// The whole backend on a database: a file of SQLite, or what TUTORIAL_DB names.
func TestBackend(t *testing.T) {
	ctx := t.Context()
	dsn := os.Getenv("TUTORIAL_DB")
	if dsn == "" {
		dsn = filepath.Join(t.TempDir(), "invoices.db")
	}
	db, dialect, err := open(dsn)
	require.NoError(t, err)
	defer db.Close()
	a, err := newApp(ctx, db, dialect)
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close(ctx)) }()
	server := httptest.NewServer(a.routes())
	defer server.Close()
	first, err := a.firstKey(ctx, "acme")
	require.NoError(t, err)
	admin := client{t, server.URL, "acme.example.com", first.Reveal()}

	// Keys belong to somebody, have a role of the code and a quota. The host may name their ids.
	clerkID, text := admin.secret("/keys", `{"Role":"clerk","Client":"u-42","Name":"Ada","PerDay":5}`)
	clerk := admin.with(text)
	_, text = admin.secret("/keys", `{"Role":"viewer","Client":"u-43","Name":"Grace","PerDay":100}`)
	viewer := admin.with(text)
	status, _, _ := clerk.call("POST", "/keys", `{"Role":"viewer","Client":"u-44","Name":"X","PerDay":1}`)
	require.Equal(t, 403, status, "a clerk issues no keys")
	status, _, _ = admin.call("POST", "/keys", `{"Role":"owner","Client":"u-44","Name":"X","PerDay":1}`)
	require.Equal(t, 400, status, "there is no such role")

	// Rows: a clerk writes drafts, and nobody writes another tenant's.
	status, answer, header := clerk.call("POST", "/invoices",
		`{"number":"1","customer":"c-1","state":"draft","cents":100}`)
	require.Equal(t, 201, status, answer)
	require.Contains(t, answer, `"tenant":"acme"`, "which the rule has written")
	require.Contains(t, header.Get("RateLimit"), "api-day")
	status, answer, _ = clerk.call("POST", "/invoices", `{"number":"2","customer":"c-2","state":"sent","cents":100}`)
	require.Equal(t, 403, status, answer)
	status, answer, _ = admin.call("POST", "/invoices", `{"number":"2","customer":"c-2","state":"sent","cents":9900}`)
	require.Equal(t, 201, status, answer)
	status, answer, _ = clerk.call("PUT", "/invoices/1", `{"customer":"c-1","state":"draft","cents":250}`)
	require.Equal(t, 200, status, answer)
	status, answer, _ = admin.call("PUT", "/invoices/2", `{"customer":"c-2","state":"paid","cents":9900}`)
	require.Equal(t, 200, status, answer)
	status, _, _ = viewer.call("PUT", "/invoices/1", `{"customer":"c-1","state":"draft","cents":1}`)
	require.Equal(t, 403, status)
	status, answer, _ = viewer.call("GET", "/invoices", "")
	require.Equal(t, 200, status)
	require.JSONEq(t, `[{"number":"1","customer":"c-1","state":"draft","cents":250},
		{"number":"2","customer":"c-2","state":"paid","cents":9900}]`, answer)

	// A customer's page sees its own. A key that belongs to nobody mints for anybody.
	_, text = admin.secret("/customers/c-2/token", "")
	page := admin.with(text)
	status, answer, _ = page.call("GET", "/invoices", "")
	require.Equal(t, 200, status)
	require.JSONEq(t, `[{"number":"2","customer":"c-2","state":"paid","cents":9900}]`, answer)
	status, _, _ = page.call("POST", "/invoices", `{"number":"3","customer":"c-2","state":"draft","cents":1}`)
	require.Equal(t, 403, status)

	// The quota of the day: the five requests that the routes let in. What a route itself refuses costs nothing.
	for range 2 {
		status, answer, _ = clerk.call("GET", "/invoices", "")
		require.Equal(t, 200, status, answer)
	}
	status, answer, header = clerk.call("GET", "/invoices", "")
	require.Equal(t, 429, status, answer)
	require.NotEmpty(t, header.Get("Retry-After"))

	// Rotation with an overlap, and the end.
	_, text = admin.secret("/keys/"+clerkID+"/rotate", "")
	for _, key := range []string{clerk.key, text} {
		status, _, _ = admin.with(key).call("GET", "/invoices", "")
		require.Equal(t, 429, status, "both secrets are those of the same key")
	}
	status, _, _ = admin.call("DELETE", "/keys/"+clerkID, "")
	require.Equal(t, 204, status)
	status, _, _ = admin.with(text).call("GET", "/invoices", "")
	require.Equal(t, 401, status)

	// Who did what, newest first.
	status, answer, _ = admin.call("GET", "/audit", "")
	require.Equal(t, 200, status)
	var audit latchkey.Listing[latchkey.Event]
	require.NoError(t, json.Unmarshal([]byte(answer), &audit))
	var actions []string
	for _, e := range audit.Items {
		actions = append(actions, e.Action)
	}
	require.Equal(t, []string{"token.revoke", "token.rotate", "token.issue", "token.issue", "token.issue"}, actions)
	status, _, _ = viewer.call("GET", "/audit", "")
	require.Equal(t, 403, status)

	// Another tenant knows none of these keys and sees none of these rows.
	other := admin
	other.host = "globex.example.com"
	status, _, _ = other.call("GET", "/invoices", "")
	require.Equal(t, 401, status)
	foreign, err := a.firstKey(ctx, "globex")
	require.NoError(t, err)
	status, answer, _ = other.with(foreign.Reveal()).call("GET", "/invoices", "")
	require.Equal(t, 200, status)
	require.JSONEq(t, `[]`, answer)
	status, _, _ = other.with(foreign.Reveal()).call("DELETE", "/keys/"+clerkID, "")
	require.Equal(t, 404, status)
}
