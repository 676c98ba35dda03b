package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
)

// mootools is a page of the server's own origin in which an application of the vendor's runs.
type mootools struct {
	t    *testing.T
	s    *harness.Server
	page context.Context
}

// answer is what came to the application's callback, and the text of the reply.
type answer struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	Data    string `json:"data"`
	Text    string `json:"text"`
	Sent    string `json:"sent"`
}

// mootoolsPage opens the page. The API knows no other origins, so page and API share one: a server in the test that
// passes /api on.
func mootoolsPage(t *testing.T, s *harness.Server) *mootools {
	t.Helper()
	library := harness.Path(t, "clients", "node_modules", "mootools", "lib", "mootools-core-1.5.2-server.js")
	_, err := os.Stat(library)
	require.NoError(t, err, "the npm packages are missing: run `make install`")
	target, err := url.Parse(s.Base)
	require.NoError(t, err)
	mux := http.NewServeMux()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		// Read here, as net/http closes the body with the first byte of the reply, though the proxy may still look for its
		// end.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	})
	mux.HandleFunc("/mootools.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, library) })
	mux.HandleFunc("/webforce.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, harness.Path(t, "clients", "webforce.js"))
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,">`+
			`<script src="/mootools.js"></script><script src="/webforce.js"></script>`)
	})
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	page, cancel := context.WithTimeout(harness.Chromium(t, s), 10*time.Minute)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(page, chromedp.Navigate(site.URL)))
	version, err := chromedp.Run(page, chromedp.Evaluate[string](`MooTools.version + ' ' + typeof SK.API`))
	require.NoError(t, err)
	require.Equal(t, "1.5.2 function", version)
	return &mootools{t, s, page}
}

// call makes one call. The parameters are the text of a JavaScript object; what they hold of the test's own goes in by
// JSON, where %s stands.
func (m *mootools) call(token, options, cmd, params string, values ...any) answer {
	m.t.Helper()
	var args []any
	for _, v := range append([]any{token, cmd}, values...) {
		text, err := json.Marshal(v)
		require.NoError(m.t, err)
		args = append(args, string(text))
	}
	script := fmt.Sprintf(`run(%s, %s, %s, %s)`, args[0], options, args[1], fmt.Sprintf(params, args[2:]...))
	got, err := chromedp.Run(m.page, chromedp.Evaluate[answer](script, chromedp.EvalAwaitPromise))
	require.NoError(m.t, err, script)
	return got
}

// ok is call, for calls that must succeed; it decodes the data.
func (m *mootools) ok(into any, token, options, cmd, params string, values ...any) answer {
	m.t.Helper()
	got := m.call(token, options, cmd, params, values...)
	require.True(m.t, got.Success, "%s: %s", cmd, got.Message)
	require.Empty(m.t, got.Message)
	if into != nil {
		require.NoError(m.t, json.Unmarshal([]byte(got.Data), into), got.Data)
	}
	return got
}

// fails is call, for calls that must fail with exactly this message: it only gets there in a reply of status 200.
func (m *mootools) fails(message, token, options, cmd, params string, values ...any) {
	m.t.Helper()
	got := m.call(token, options, cmd, params, values...)
	require.False(m.t, got.Success, "%s: %s", cmd, got.Text)
	require.Equal(m.t, message, got.Message, cmd)
	require.Equal(m.t, "{}", got.Data)
}

// accessToken is the hash that describes a token.
type accessToken struct {
	ID, Token, Name string
	Extra           json.RawMessage
}

const byPost = `{}`

func TestMooToolsRunsTheWholeAPI(t *testing.T) {
	s := harness.StartServer(t)
	page := mootoolsPage(t, s)
	for name, options := range map[string]string{
		"POST":              byPost,
		"GET":               `{method: 'get'}`,
		"POST, cmd in URL":  `{inURL: ['cmd']}`,
		"POST, more in URL": `{inURL: ['cmd', 'auth_token', 'version', 'token_id']}`,
	} {
		t.Run(name, func(t *testing.T) {
			s.Sub(t)
			page.t = t
			page.session(options)
		})
	}
}

// What an application calls is counted by its token and command.
func TestMooToolsCallsAreCounted(t *testing.T) {
	harness.BeforeMidnight(t)
	s := harness.StartServer(t)
	page := mootoolsPage(t, s)
	var made accessToken
	page.ok(&made, s.Credentials.Session, byPost, "access.add", `{name: 'app', extra: JSON.encode({db_permissions: [`+
		`{databases: ['7'], permissions: {get: 1}}]})}`)
	s.Hide(made.Token)
	for range 2 {
		page.ok(nil, made.Token, byPost, "db.get", `{db_id: '7'}`)
	}
	page.fails("Access denied", made.Token, byPost, "db.get", `{db_id: '8'}`)
	account := s.Account()
	session := harness.TokenID(t, account, s.Credentials.Session)
	require.EventuallyWithT(t, func(c *assert.CollectT) { // it is written about once a second
		rows, err := account.Usage(t.Context(), latchkey.UsageQuery{Meters: []string{webforce.Meter},
			By: []string{"token", "endpoint", "day"}})
		require.NoError(c, err)
		got := map[string]int64{}
		for _, r := range rows {
			assert.Equal(c, time.Now().UTC().Format(time.DateOnly), r.Day)
			got[r.TokenID+" "+r.Endpoint] += r.Count
		}
		assert.Equal(c, map[string]int64{session + " access.add": 1, made.ID + " db.get": 2}, got)
	}, 2*time.Minute, 50*time.Millisecond)
}

// session is what a user does who is logged in, and what the application does that the user makes a token for.
func (m *mootools) session(options string) {
	t, me := m.t, m.s.Credentials.Session
	var list []accessToken
	m.ok(&list, me, options, "access.get_all", `{}`)
	require.Empty(t, list)

	// As applications do it: JSON in a field.
	const extra = `{"db_permissions":[{"databases":["*"],"permissions":{"get":1}},` +
		`{"databases":["7"],"permissions":{"update":"1","get":true,"add":0}},{"databases":["8"],"permissions":{"get":0}}],` +
		`"stock_images":"1","note":"ä \"<b>&\" 100% + ;"}`
	var a accessToken
	reply := m.ok(&a, me, options, "access.add",
		`{name: %s, extra: JSON.encode(JSON.decode(%s)), version: '1.0'}`, `my "app" & co`, extra)
	m.s.Hide(a.Token)
	require.Contains(t, reply.Text, `"extra":`+extra+`}`, "byte for byte")
	require.Equal(t, `my "app" & co`, a.Name)
	require.NotEqual(t, a.ID, a.Token)

	// A caller that forgets JSON.encode sends brackets, in which every value is a text. null is not sent at all.
	var b accessToken
	reply = m.ok(&b, me, options, "access.add", `{name: 'bare', version: null, extra: {db_permissions: [
		{databases: ['7', '8'], permissions: {get: 1, update: true, add: false}},
		{databases: ['8'], permissions: {update: 0}}], stock_images: '0', empty: []}}`)
	m.s.Hide(b.Token)
	require.Contains(t, reply.Sent, "extra[db_permissions][0][permissions][update]=true&")
	require.NotContains(t, reply.Sent, "null")
	require.JSONEq(t, `{"db_permissions":[{"databases":["7","8"],"permissions":{"get":"1","update":"true","add":"false"}},
		{"databases":["8"],"permissions":{"update":"0"}}],"stock_images":"0"}`, string(b.Extra))

	// Both ways mixed.
	var c accessToken
	m.ok(&c, me, options, "access.add",
		`{name: 'mixed', extra: {db_permissions: JSON.encode([{databases: ['8'], permissions: {get: 1}}])}}`)
	m.s.Hide(c.Token)
	require.Equal(t, `{"db_permissions":[{"databases":["8"],"permissions":{"get":1}}]}`, string(c.Extra))

	m.ok(&list, me, options, "access.get_all", `{}`)
	require.Equal(t, []accessToken{a, b, c}, list)
	var one accessToken
	m.ok(&one, me, options, "access.get", `{token_id: %s}`, b.ID)
	require.Equal(t, b, one, "the server has a keyring, so the text can be read again")

	// What the tokens are for.
	m.data(options, a, b)

	// Changes hold with the very next call.
	m.ok(&one, me, options, "access.update", `{token_id: %s, meta: JSON.encode({name: 'new'})}`, b.ID)
	require.Equal(t, accessToken{b.ID, b.Token, "new", b.Extra}, one)
	m.ok(nil, b.Token, options, "db.get", `{db_id: '7'}`)
	m.ok(&one, me, options, "access.update",
		`{token_id: %s, meta: {extra: {db_permissions: [{databases: ['8'], permissions: {alter: 1}}]}}}`, b.ID)
	require.Equal(t, `{"db_permissions":[{"databases":["8"],"permissions":{"alter":"1"}}]}`, string(one.Extra))
	require.Equal(t, "new", one.Name)
	m.fails("Access denied", b.Token, options, "db.get", `{db_id: '7'}`)
	m.ok(&one, me, options, "access.update",
		`{token_id: %s, meta: {name: 'x', extra: JSON.encode({stock_images: '1'})}}`, b.ID)
	require.Equal(t, `{"stock_images":"1"}`, string(one.Extra))
	m.ok(nil, b.Token, options, "site.stock_images.get_images", `{collection_id: 1}`)

	// Failures come with a message.
	m.fails("Access denied", "", options, "access.get_all", `{}`)
	m.fails("Access denied", a.Token, options, "access.get_all", `{}`)
	m.fails("Access denied", m.s.Credentials.APIKey, options, "access.add", `{name: 'x', extra: '{}'}`)
	m.fails("Access denied", m.s.Credentials.Secret, options, "access.get", `{token_id: %s}`, a.ID)
	m.fails("No such token", me, options, "access.get", `{token_id: 17}`)
	m.fails("No such token", me, options, "access.get", `{token_id: %s}`, a.Token)
	m.fails("Missing parameter: meta", me, options, "access.update", `{token_id: %s}`, a.ID)
	m.fails("meta holds name, extra or both", me, options, "access.update", `{token_id: %s, meta: '{}'}`, a.ID)
	m.fails("db_permissions[0].permissions is an object with at least one flag", me, options, "access.add",
		`{name: 'x', extra: {db_permissions: [{databases: ['7'], permissions: {}}]}}`)
	m.fails("db_permissions[0].permissions.get is 0 or 1", me, options, "access.add",
		`{name: 'x', extra: JSON.encode({db_permissions: [{databases: ['7'], permissions: {get: 2}}]})}`)
	m.fails("Unknown command", me, options, "access.nothing", `{}`)

	for _, one := range []accessToken{a, b, c} {
		gone := m.ok(nil, me, options, "access.remove", `{token_id: %s}`, one.ID)
		require.Equal(t, "{}", gone.Data)
		m.fails("No such token", me, options, "access.remove", `{token_id: %s}`, one.ID)
		m.fails("Access denied", one.Token, options, "db.get_all", `{}`)
	}
}

// data makes every data call: a may get all but 8, and update 7; b may get both, and update 7.
func (m *mootools) data(options string, a, b accessToken) {
	t, me := m.t, m.s.Credentials.Session
	type database struct{ ID, Name, Description string }
	var shown struct{ Databases []database }
	names := func(token string) (out []string) {
		m.ok(&shown, token, options, "db.get_all", `{}`)
		for _, db := range shown.Databases {
			out = append(out, db.ID+" "+db.Name)
		}
		return out
	}
	require.Equal(t, []string{"7 Penguins", "8 Islands"}, names(me))
	require.Equal(t, []string{"7 Penguins"}, names(a.Token))
	require.Equal(t, []string{"7 Penguins", "8 Islands"}, names(b.Token))

	var db database
	m.ok(&db, b.Token, options, "db.get", `{db_id: 8}`)
	require.Equal(t, database{"8", "Islands", "Where the penguins live"}, db)
	m.fails("Access denied", a.Token, options, "db.get", `{db_id: '8'}`)
	m.fails("Access denied", b.Token, options, "db.get", `{db_id: '9'}`)
	m.fails("Not found", me, options, "db.get", `{db_id: '9'}`)
	m.fails("Missing parameter: db_id", me, options, "db.get", `{}`)

	var columns struct {
		Columns []struct{ ID, Name, Type string }
	}
	m.ok(&columns, a.Token, options, "db.column.get", `{db_id: '7'}`)
	require.Len(t, columns.Columns, 7)
	require.Equal(t, "species", columns.Columns[0].Name)

	var rows struct{ Rows []obj }
	m.ok(&rows, a.Token, options, "db.row.get_all", `{db_id: '7'}`)
	require.Len(t, rows.Rows, 344)
	var row obj
	m.ok(&row, a.Token, options, "db.row.get", `{db_id: '7', row_id: 1}`)
	require.Equal(t, rows.Rows[0], row)
	m.fails("Access denied", a.Token, options, "db.row.get_all", `{db_id: '8'}`)
	m.fails("Not found", a.Token, options, "db.row.get", `{db_id: '7', row_id: 345}`)

	mass := 3750 + len(options)
	m.ok(nil, a.Token, options, "db.cell.update", `{db_id: '7', row_id: 1, column_id: 'dp-6', value: %s}`, mass)
	m.ok(&row, b.Token, options, "db.row.get", `{db_id: '7', row_id: 1}`)
	require.EqualValues(t, mass, row["dp-6"])
	m.fails("Access denied", b.Token, options, "db.cell.update", `{db_id: '8', row_id: 1, column_id: 'c1', value: 'x'}`)
	m.ok(nil, me, options, "db.cell.update", `{db_id: '8', row_id: 1, column_id: 'name', value: %s}`, "Torgersen "+options)
	m.ok(&row, b.Token, options, "db.row.get", `{db_id: '8', row_id: 1}`)
	require.Equal(t, "Torgersen "+options, row["c1"])
	m.fails("No such column", a.Token, options, "db.cell.update", `{db_id: '7', row_id: 1, column_id: 'x', value: 1}`)
	unfit := m.call(a.Token, options, "db.cell.update", `{db_id: '7', row_id: 1, column_id: 'dp-6', value: 'heavy'}`)
	require.True(t, !unfit.Success && strings.HasPrefix(unfit.Message, "Parameter value does not fit: "), unfit.Message)

	var images struct {
		Images []struct {
			ID           string
			CollectionID string `json:"collection_id"`
			Sizes        map[string]string
		}
	}
	m.ok(&images, a.Token, options, "site.stock_images.get_images", `{collection_id: 1}`)
	require.Len(t, images.Images, 2)
	require.Equal(t, "1", images.Images[0].CollectionID)
	require.Contains(t, images.Images[0].Sizes["small"], "data:image/svg+xml")
	m.fails("Access denied", b.Token, options, "site.stock_images.get_images", `{collection_id: 1}`)
}

// TestWebForceKeepsWhatItWasGiven: extra comes back byte for byte from the file, after a start anew.
func TestWebForceKeepsWhatItWasGiven(t *testing.T) {
	s := harness.StartServer(t)
	const extra = "{ \"db_permissions\" : [ ],\n\t\"a\":1e2, \"b\":\"\\u00e9<\",\"c\":{\"z\":1,\"a\":2} }"
	add := s.Post("/api", url.Values{
		"cmd": {"access.add"}, "auth_token": {s.Credentials.Session}, "name": {"n"}, "extra": {extra},
	}.Encode())
	require.Contains(t, add.Body, `"extra":`+extra+`}`)
	require.Equal(t, "no-store", add.Header.Get("Cache-Control"))
	session := s.Credentials.Session
	s.Stop()
	again := harness.StartServerOn(t, s.DB)
	get := again.Get("/api?cmd=access.get_all&auth_token=" + session)
	require.Equal(t, 200, get.Status)
	require.Contains(t, get.Body, `"extra":`+extra+`}`)
	require.Equal(t, strings.ReplaceAll(add.Body, `"data":{`, `"data":[{`), strings.TrimSuffix(get.Body, "]}")+"}")
	for _, method := range []string{"PUT", "OPTIONS"} {
		r := again.Do(method, "/api", harness.FormType, "")
		require.Equal(t, 200, r.Status)
		require.JSONEq(t, `{"return_code":"FAILURE","message":"Use GET or POST","data":{}}`, r.Body)
	}
}
