package forward_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/memstore"
)

var ctx = context.Background()

// world has a key that may read dataset/orders, dataset/ö and the EU rows of dataset/clients.
type world struct {
	t      *testing.T
	store  *failingStore
	keys   *latchkey.Manager
	auth   *httpadapter.Adapter
	id     string
	key    string
	causes []error // what OnError heard
}

type failingStore struct {
	latchkey.Store
	err error
}

func (s *failingStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	if s.err != nil {
		return latchkey.Found{}, s.err
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func newWorld(t *testing.T, change ...func(*httpadapter.Options)) *world {
	w := &world{t: t, store: &failingStore{Store: memstore.New(nil)}}
	w.keys = latchkey.New(w.store, &latchkey.Options{CacheTokens: -1})
	opts := &httpadapter.Options{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		OnError: func(_ *http.Request, err error) { w.causes = append(w.causes, err) }}
	for _, c := range change {
		c(opts)
	}
	w.auth = httpadapter.New(w.keys, opts)
	w.id, w.key = w.issue(latchkey.Settings{})
	return w
}

func (w *world) issue(s latchkey.Settings) (id, text string) {
	if s.Permissions == nil {
		s.Permissions = latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/orders"),
			latchkey.Allow(latchkey.Read).On("dataset/ö"),
			latchkey.Allow(latchkey.Read).On("dataset/clients").Where(latchkey.Where("region", latchkey.Eq, "EÜ😀")),
		}
	}
	token, secret, err := w.keys.For("acme").Issue(ctx, s.Spec(latchkey.KindAPIKey))
	require.NoError(w.t, err)
	return token.ID, secret.Reveal()
}

var table = []forward.Route{
	{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"},
	{Pattern: "POST /data/{id}", Action: latchkey.Create, Resource: "dataset/{id}"},
	{Pattern: "GET /rows/{id}", Action: latchkey.Read, Resource: "dataset/{id}", Rows: true},
	{Pattern: "GET /tree/", Action: latchkey.Read, Resource: "dataset/orders"},
}

// question is what a proxy sends about a request.
type question struct {
	from           forward.Source
	method, target string
	key            string
	headers        []string // names and values
	peer           string
	without        string // a header of the proxy that it leaves out
}

func (q question) request() *http.Request {
	method, target := "GET", "/auth"
	if q.method == "" {
		q.method = "GET"
	}
	set := []string{"X-Forwarded-For", "203.0.113.7"}
	switch q.from {
	case forward.Nginx:
		set = append(set, "X-Original-Method", q.method, "X-Original-Uri", q.target, "X-Original-Host", "api.example.com")
	case forward.Forwarded:
		set = append(set, "X-Forwarded-Method", q.method, "X-Forwarded-Uri", q.target, "X-Forwarded-Host", "api.example.com")
	case forward.Envoy:
		method, target = q.method, "/auth"+q.target
	}
	r := httptest.NewRequest("GET", "/", strings.NewReader("a body"))
	r.Method, r.RequestURI, r.Host = method, target, "api.example.com"
	r.RemoteAddr = "192.0.2.1:1234"
	if q.peer != "" {
		r.RemoteAddr = q.peer
	}
	if q.key != "" {
		set = append(set, "Authorization", "Bearer "+q.key)
	}
	for i := 0; i < len(set); i += 2 {
		if set[i] != q.without {
			r.Header[set[i]] = append(r.Header[set[i]], set[i+1])
		}
	}
	for i := 0; i < len(q.headers); i += 2 {
		r.Header[q.headers[i]] = append(r.Header[q.headers[i]], q.headers[i+1])
	}
	return r
}

func (q question) ask(h http.Handler) *httptest.ResponseRecorder {
	out := httptest.NewRecorder()
	h.ServeHTTP(out, q.request())
	return out
}

func options(from forward.Source) *forward.Options {
	o := &forward.Options{From: from}
	if from == forward.Envoy {
		o.PathPrefix = "/auth"
	}
	return o
}

var sources = map[string]forward.Source{"nginx": forward.Nginx, "forwarded": forward.Forwarded, "envoy": forward.Envoy}

// TestAnswers asks every source the same questions. meant is the status that the caller should get.
func TestAnswers(t *testing.T) {
	for name, from := range sources {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			h := forward.New(w.auth, table, options(from))
			for _, c := range []struct {
				name  string
				q     question
				meant int
			}{
				{"allowed", question{target: "/data/orders", key: w.key}, 200},
				{"with a query", question{target: "/data/orders?x=%2e%2e/", key: w.key}, 200},
				{"decoded once", question{target: "/data/%C3%B6", key: w.key}, 200},
				{"a subtree", question{target: "/tree/a/b", key: w.key}, 200},
				{"denied", question{target: "/data/payroll", key: w.key}, 403},
				{"an action it lacks", question{method: "POST", target: "/data/orders", key: w.key}, 403},
				{"some rows only", question{target: "/data/clients", key: w.key}, 403},
				{"no key", question{target: "/data/orders"}, 401},
				{"unknown key", question{target: "/data/orders", key: "rubbish"}, 401},
				{"two keys", question{target: "/data/orders", key: w.key, headers: []string{"Authorization", "Bearer x"}}, 400},
				{"no route", question{target: "/other", key: w.key}, 403},
				{"the root", question{target: "/", key: w.key}, 403},
				{"what ServeMux redirects", question{target: "/tree", key: w.key}, 403},
				{"what ServeMux cleans", question{target: "/data//orders", key: w.key}, 400},
				{"HEAD is not GET", question{method: "HEAD", target: "/data/orders", key: w.key}, 403},
				{"OPTIONS", question{method: "OPTIONS", target: "/data/orders", key: w.key}, 403},
				{"CONNECT", question{method: "CONNECT", target: "/data/orders", key: w.key}, 403},
				{"another case", question{method: "get", target: "/data/orders", key: w.key}, 403},
				{"no method", question{method: " ", target: "/data/orders", key: w.key}, 403},
			} {
				c.q.from = from
				out := c.q.ask(h)
				got := out.Code
				if from == forward.Nginx && c.meant >= 400 {
					require.Contains(t, []int{401, 403}, got, c.name)
					require.Equal(t, map[int]string{400: "400", 401: "401", 403: "403"}[c.meant],
						out.Header().Get("Latchkey-Status"), c.name)
					require.Equal(t, c.meant == 401, got == 401, c.name)
					require.Equal(t, out.Body.String(), out.Header().Get("Latchkey-Problem"), c.name)
				} else {
					require.Equal(t, c.meant, got, "%s: %s", c.name, out.Body)
				}
				require.Equal(t, []string{"no-store"}, out.Header()["Cache-Control"], c.name)
				require.Empty(t, out.Header().Get("Location"), c.name)
				if c.meant != 200 {
					require.NotContains(t, out.Header(), "Latchkey-Owner", c.name)
					require.Contains(t, out.Body.String(), `"type":"tag:`, c.name)
					continue
				}
				require.Equal(t, []string{"acme"}, out.Header()["Latchkey-Owner"], c.name)
				require.Equal(t, []string{w.id}, out.Header()["Latchkey-Token"])
				require.Equal(t, []string{"api_key"}, out.Header()["Latchkey-Kind"])
				require.Equal(t, []string{""}, out.Header()["Latchkey-Client"], "a header without a value is sent")
				require.Equal(t, []string{""}, out.Header()["Latchkey-Roles"])
				require.Equal(t, []string{"true"}, out.Header()["Latchkey-Rows"])
				require.Empty(t, out.Body.String())
			}
		})
	}
}

// TestOnlyProxiesAsk sends whatever a proxy sends from elsewhere.
func TestOnlyProxiesAsk(t *testing.T) {
	for name, from := range sources {
		w := newWorld(t)
		h := forward.New(w.auth, table, options(from))
		q := question{from: from, target: "/data/orders", key: w.key}
		require.Equal(t, 200, q.ask(h).Code, name)
		for _, peer := range []string{"203.0.113.1:1", "192.0.3.1:1", "@", "", "[2001:db8::1]:1"} {
			q.peer = peer
			if peer == "" {
				q.peer = "no address"
			}
			w.causes = nil
			require.Equal(t, 403, q.ask(h).Code, "%s from %q", name, peer)
			require.Len(t, w.causes, 1)
			require.ErrorContains(t, w.causes[0], "not come from one of the Adapter's Proxies")
		}
		none := newWorld(t, func(o *httpadapter.Options) { o.Proxies = nil })
		require.Equal(t, 403, question{from: from, target: "/data/orders", key: none.key}.
			ask(forward.New(none.auth, table, options(from))).Code, "without Proxies nobody is believed")
	}
}

// TestForgottenProxyIsLogged: the log says from where the proxy asks. Whoever reaches the program cannot fill the log.
func TestForgottenProxyIsLogged(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(o *httpadapter.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	h := forward.New(w.auth, table, options(forward.Nginx))
	q := question{from: forward.Nginx, target: "/data/orders", key: w.key}
	require.Equal(t, 200, q.ask(h).Code)
	q.target = "/data/payroll"
	require.Equal(t, 403, q.ask(h).Code)
	require.Empty(t, log.String(), "a denial is not logged")
	for i := range 20 {
		q.peer = fmt.Sprintf("203.0.113.%d:1", i/2)
		log.Reset()
		require.Equal(t, 403, q.ask(h).Code)
		if i%2 == 0 && i < 16 {
			require.Equal(t, 1, strings.Count(log.String(), "\n"))
			require.Contains(t, log.String(), "level=WARN")
			require.Contains(t, log.String(), "address="+q.peer)
			require.Contains(t, log.String(), "add it to Options.Proxies")
			require.NotContains(t, log.String(), w.key)
			require.NotContains(t, log.String(), "payroll")
		} else {
			require.Empty(t, log.String(), "an address is logged once, and eight at most: %d", i)
		}
	}
}

func TestHeadersOfTheProxy(t *testing.T) {
	names := map[forward.Source][]string{
		forward.Nginx:     {"X-Original-Method", "X-Original-Uri", "X-Original-Host", "X-Forwarded-For"},
		forward.Forwarded: {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-For"},
		forward.Envoy:     {"X-Forwarded-For"},
	}
	status := func(out *httptest.ResponseRecorder) string {
		if s := out.Header().Get("Latchkey-Status"); s != "" {
			return s
		}
		return http.StatusText(out.Code)
	}
	for name, from := range sources {
		w := newWorld(t)
		h := forward.New(w.auth, table, options(from))
		bad := map[bool]string{true: "400", false: "Bad Request"}[from == forward.Nginx]
		broken := map[bool]string{true: "500", false: "Internal Server Error"}[from == forward.Nginx]
		q := question{from: from, target: "/data/orders", key: w.key}
		for _, header := range names[from] {
			q.without, q.headers = header, nil
			require.Equal(t, broken, status(q.ask(h)), "%s without %s", name, header)
			q.headers = []string{header, ""}
			if header != "X-Forwarded-For" {
				require.Equal(t, broken, status(q.ask(h)), "%s with an empty %s", name, header)
				q.without = ""
				q.headers = []string{header, q.request().Header[header][0]}
				require.Equal(t, bad, status(q.ask(h)), "%s with %s twice, both equal", name, header)
			}
			q.without = ""
			for _, spelling := range []string{strings.ReplaceAll(header, "-", "_"), strings.ReplaceAll(header, "-", "."),
				strings.ToLower(header), strings.Replace(header, "-", "_", 1)} {
				q.headers = []string{spelling, "/data/orders"}
				require.Equal(t, bad, status(q.ask(h)), "%s with %s, too", name, spelling)
			}
		}
		q.headers = []string{"X-Original-Method-X", "GET", "X", "1", strings.Repeat("Long-", 20), "2"}
		require.Equal(t, 200, q.ask(h).Code, "%s: other headers are the caller's own", name)
	}
	// The header of another source says nothing.
	w := newWorld(t)
	q := question{from: forward.Nginx, target: "/data/payroll", key: w.key,
		headers: []string{"X-Forwarded-Uri", "/data/orders", "X-Forwarded-Method", "GET"}}
	require.Equal(t, 403, q.ask(forward.New(w.auth, table, options(forward.Nginx))).Code)
}

func TestHeadersOfTheCaller(t *testing.T) {
	w := newWorld(t)
	h := forward.New(w.auth, table, options(forward.Forwarded))
	q := question{from: forward.Forwarded, target: "/data/orders", key: w.key}
	require.Equal(t, 200, q.ask(h).Code)
	for _, header := range []string{"Latchkey-Owner", "Latchkey_owner", "Latchkey.Owner", "LATCHKEY_TOKEN",
		"Latchkey-Other",
		"X-Http-Method-Override", "X_http_method_override", "X-Http-Method", "X-Method-Override", "X-Original-Url",
		"X-Rewrite-Url", "X.Rewrite.Url", "Script_name", "Path-Info"} {
		q.headers = []string{header, ""}
		require.Equal(t, 400, q.ask(h).Code, header)
	}
	for _, header := range []string{"Latchkey", "Latchkey-", "Latchkeys-Owner", "X-Rewrite-Urls"} {
		q.headers = []string{header, "acme"}
		require.Equal(t, 200, q.ask(h).Code, header)
	}
	other := forward.New(w.auth, table, &forward.Options{From: forward.Forwarded, Headers: "x-caller-"})
	q.headers = []string{"X-Caller-Owner", "acme"}
	require.Equal(t, 400, q.ask(other).Code)
	q.headers = nil
	require.Equal(t, "acme", q.ask(other).Header().Get("X-Caller-Owner"))
}

// TestTargets: what readers could take for two paths is refused.
func TestTargets(t *testing.T) {
	w := newWorld(t)
	_, all := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	h := forward.New(w.auth, table, options(forward.Forwarded))
	ask := func(target string) int {
		return question{from: forward.Forwarded, target: target, key: all}.ask(h).Code
	}
	for _, target := range []string{
		"/data/orders", "/data/a-b.c_d~e", "/data/a!$&'()*,=:@b", "/data/%20", "/data/a%20b", "/data/%C3%B6", "/data/%c3%b6",
		"/data/%C3%AA", "/data/%c3%aa", "/data/%C3%BF", "/data/%c3%bf", "/data/%E2%80%99",
		"/data/a%2Bb", "/data/%22", "/data/%5B%5D", "/data/...", "/data/.a", "/data/orders?", "/data/orders?a=/../%2e%2e//",
		"/data/orders?a=b&c=%00+d", "/data/orders?method=DELETE", "/data/orders?x_method=1", "/tree/", "/tree/a/",
		"/tree/a/b?c",
		"/data/" + strings.Repeat("x", 480), "/data/orders?" + strings.Repeat("x", 8192-len("/data/orders?")),
	} {
		require.Equal(t, 200, ask(target), "%q", target)
	}
	for _, target := range []string{
		"*", "data/orders", "http://api.example.com/data/orders", "//data/orders", "/data//orders", "/data/orders//", "//",
		"/./data/orders", "/data/./orders", "/data/../data/orders", "/data/orders/.", "/data/orders/..", "/..", "/.",
		"/data/%2e%2e", "/data/%2E", "/data/%2e%2e/data/orders", "/data/.%2e/x", "/data/orders%2f", "/data%2Forders",
		"/data/a%5cb", "/data/a%3bb", "/data/a%3fb", "/data/a%7f", "/data/a%0a",
		"/data/%4A", "/data/%4a", "/data/%4F", "/data/%4f",
		"/data/a%2Fb", "/data/a%5Cb", `/data/a\b`, "/data/orders;x=1", "/data/orders%3Bx", "/data/..;/x", "/data/;/orders",
		"/data/a%252Fb", "/data/%25", "/data/a%00", "/data/a%0A", "/data/a%0d", "/data/a%7F", "/data/a%1f", "/data/a+b",
		"/data/a%3Fb", "/data/a%23b", "/data/orders#x", "/data/orders#", "/data/a b", "/data/a\tb", "/data/ö", "/data/a\x00",
		"/data/a%", "/data/a%2", "/data/a%zz", "/data/a%2g", "/data/%6frders", "/data/%41", "/data/%2D", "/data/%7e",
		"/data/%5f",
		"/data/%ff", "/data/%c0%af", "/data/%ed%a0%80", "/data/a|b", "/data/a^b", "/data/<a>", "/data/{id}", "/data/`",
		`/data/"`,
		"/data/[a]", "/data/orders?a=\x00", "/data/orders?a=ö", "/data/orders?a b", "/data/orders?a#b",
		"/data/orders?_method=DELETE", "/data/orders?a=b&_method=", "/data/orders?%5fmethod=DELETE",
		"/data/orders?_%6dethod=x",
		"/data/orders?a=%", "/data/orders?a;b", "/data/" + strings.Repeat("x", 9000),
		"/data/orders?" + strings.Repeat("x", 8193-len("/data/orders?")),
	} {
		require.Equal(t, 400, ask(target), "%q", target)
	}
	// An empty target reads as a header that the proxy left out.
	require.Equal(t, 500, ask(""))
	require.Equal(t, 403, ask("/data/orders/"), "a slash more is another path")
	require.Equal(t, 403, ask("/Data/orders"), "another case is another path")

	q := question{from: forward.Forwarded, target: "/data/orders", key: all, without: "X-Forwarded-Host"}
	for host, want := range map[string]int{"a": 200, "a.example:8080": 200, "[::1]:80": 200, "a b": 400, "a/b": 400,
		"a,b": 400,
		"a@b": 400, "a\x00": 400, strings.Repeat("a", 255): 200, strings.Repeat("a", 256): 400} {
		q.headers = []string{"X-Forwarded-Host", host}
		require.Equal(t, want, q.ask(h).Code, "%q", host)
	}

	envoy := forward.New(w.auth, table, options(forward.Envoy))
	r := question{from: forward.Envoy, target: "/data/orders", key: all}.request()
	for target, want := range map[string]int{"/auth/data/orders": 200, "/authdata/orders": 500, "/data/orders": 500,
		"/auth":                     500,
		"http://x/auth/data/orders": 500, "/other/auth/data/orders": 500, "/auth//data/orders": 400,
		"/auth/auth/data/orders": 403} {
		r.RequestURI = target
		out := httptest.NewRecorder()
		envoy.ServeHTTP(out, r)
		require.Equal(t, want, out.Code, target)
	}
	r.RequestURI, r.Host = "/auth/data/orders", ""
	out := httptest.NewRecorder()
	envoy.ServeHTTP(out, r)
	require.Equal(t, 400, out.Code, "no host")
}

// TestRoutersThatIgnoreCase: a path that they take for another route is refused.
func TestRoutersThatIgnoreCase(t *testing.T) {
	w := newWorld(t)
	_, all := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/*")}})
	h := forward.New(w.auth, append([]forward.Route{
		{Pattern: "GET /data/Export", Action: latchkey.Read, Resource: "report"},
		{Pattern: "GET /data/{id}/rows/{$}", Action: latchkey.Read, Resource: "dataset/{id}"},
		{Pattern: "DELETE /data/export", Action: latchkey.Delete, Resource: "dataset/orders"},
		{Pattern: "GET /files/{path...}", Action: latchkey.Read, Resource: "dataset/orders"},
		{Pattern: "GET /files/{id}/secret", Action: latchkey.Read, Resource: "secret"},
		{Pattern: "GET /wood/{path...}", Action: latchkey.Read, Resource: "dataset/orders"},
		{Pattern: "GET /wood/Secret/", Action: latchkey.Read, Resource: "secret"},
		{Pattern: "GET /data/same", Action: latchkey.Read, Resource: "dataset/orders"},
		{Pattern: "GET /data/Same/{$}", Action: latchkey.Read, Resource: "dataset/orders"},
	}, table...), options(forward.Forwarded))
	for target, want := range map[string]int{
		"/data/orders":         200,
		"/data/EXPORTS":        200,
		"/data/Export":         403, // it lacks that resource
		"/data/export":         400,
		"/data/EXPORT":         400,
		"/data/orders/rows/":   200,
		"/data/orders/rows":    403,
		"/files/a/b":           200,
		"/files/a/secrets":     200,
		"/files/a/secret":      403,
		"/files/a/secret/":     400,
		"/files/a/SECRET":      400,
		"/files/a/Secret/":     400,
		"/files/a/secret/b":    200,
		"/wood/secrets/a":      200,
		"/wood/Secret/a":       403,
		"/wood/secret/a":       400,
		"/wood/secret":         400,
		"/data/same":           200,
		"/data/SAME":           400,
		"/data/Same/":          200,
		"/files/%C3%B6/seCret": 400,
	} {
		require.Equal(t, want, question{from: forward.Forwarded, target: target, key: all}.ask(h).Code, target)
	}
	for _, bad := range [][2]string{{"GET /a", "GET /A"}, {"GET /a/{$}", "GET /a"}, {"GET /a/{b}", "GET /A/{c}"},
		{"GET /a/", "GET /A/{b...}"}} {
		require.PanicsWithValue(t,
			`forward: patterns "`+bad[0]+`" and "`+bad[1]+`" differ only in case or in a slash at the `+
				`end, which many routers ignore, so they must need the same`, func() {
				forward.New(w.auth, []forward.Route{{Pattern: bad[0], Action: latchkey.Read, Resource: "a"},
					{Pattern: bad[1], Action: latchkey.Read, Resource: "b"}}, options(forward.Nginx))
			})
	}
}

func TestRowsInAHeader(t *testing.T) {
	w := newWorld(t)
	h := forward.New(w.auth, table, options(forward.Nginx))
	out := question{from: forward.Nginx, target: "/rows/clients", key: w.key}.ask(h)
	require.Equal(t, 200, out.Code)
	text := out.Header().Get("Latchkey-Rows")
	require.Equal(t, `{"field":"region","op":"=","value":"E\u00DC\uD83D\uDE00"}`, text)
	var rows latchkey.Condition
	require.NoError(t, json.Unmarshal([]byte(text), &rows))
	require.True(t, rows.Equal(latchkey.Where("region", latchkey.Eq, "EÜ😀")))
	require.Equal(t, "true", question{from: forward.Nginx, target: "/rows/orders", key: w.key}.ask(h).Header().
		Get("Latchkey-Rows"))
	require.Equal(t, 403, question{from: forward.Nginx, target: "/rows/payroll", key: w.key}.ask(h).Code)

	_, long := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("a", latchkey.Eq, strings.Repeat("ö",
			400)))}})
	out = question{from: forward.Nginx, target: "/rows/orders", key: long}.ask(h)
	require.Equal(t, 500, out.Code, "a condition that does not fit is never left out")
	require.NotContains(t, out.Header(), "Latchkey-Owner")
}

func TestIdentityValues(t *testing.T) {
	w := newWorld(t)
	role, err := w.keys.For("acme").CreateRole(ctx, latchkey.Role{Name: "a,b ü", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	require.NoError(t, err)
	_, parent := w.issue(latchkey.Settings{Roles: []string{role.ID}})
	access, err := w.keys.Verify(ctx, latchkey.Presented{Secret: parent})
	require.NoError(t, err)
	const client = "ü\r\nX: 1\"%41,;\\ ~"
	clean := strings.NewReplacer("\r", "", "\n", "").Replace(client)
	_, child, err := access.Mint(ctx, latchkey.Narrowing{Client: latchkey.Client{ID: clean}, Lifetime: time.Minute})
	require.NoError(t, err)
	for _, roles := range []bool{false, true} {
		h := forward.New(w.auth, table, &forward.Options{From: forward.Forwarded, Roles: roles})
		out := question{from: forward.Forwarded, target: "/data/orders", key: child.Reveal()}.ask(h)
		require.Equal(t, 200, out.Code)
		got := out.Header().Get("Latchkey-Client")
		require.Equal(t, "%C3%BCX:%201%22%2541%2C%3B%5C%20~", got)
		decoded, err := url.PathUnescape(got)
		require.NoError(t, err)
		require.Equal(t, clean, decoded)
		require.Equal(t, "access", out.Header().Get("Latchkey-Kind"))
		require.Equal(t, map[bool]string{true: "a%2Cb%20%C3%BC"}[roles], out.Header().Get("Latchkey-Roles"))
	}
}

// TestAdapterHolds: what the Adapter is set to holds for the original request.
func TestAdapterHolds(t *testing.T) {
	var seen string
	w := newWorld(t, func(o *httpadapter.Options) {
		o.Carriers = httpadapter.Carriers{Bearer: true, Query: []string{"key"}, Headers: []string{"X-API-Key"}}
		o.OwnerOf = func(r *http.Request) (string, error) {
			seen = "//" + r.Host + r.URL.String()
			owner, _, _ := strings.Cut(r.Host, ".")
			return owner, nil
		}
	})
	h := forward.New(w.auth, table, options(forward.Forwarded))
	q := question{from: forward.Forwarded, target: "/data/orders", key: w.key, without: "X-Forwarded-Host"}
	for host, want := range map[string]int{"acme.example.com": 200, "other.example.com": 401} {
		q.headers = []string{"X-Forwarded-Host", host}
		require.Equal(t, want, q.ask(h).Code, host)
	}
	q.key, q.target, q.headers = "", "/data/orders?key="+w.key, []string{"X-Forwarded-Host", "acme.example.com"}
	require.Equal(t, 200, q.ask(h).Code, "the carriers read the original query")
	for _, target := range []string{"/data/orders", "/data/orders?", "/data/orders?a=%20", "/data/%C3%B6",
		"/data/%c3%b6"} {
		q.key, q.target = w.key, target
		require.Equal(t, 200, q.ask(h).Code)
		require.Equal(t, "//acme.example.com"+target, seen, "OwnerOf reads the original target")
	}
	q.key, q.target = "", "/data/orders"
	q.headers = []string{"X-Forwarded-Host", "acme.example.com", "X-Api-Key", w.key}
	require.Equal(t, 200, q.ask(h).Code, "the carriers read headers")
	q.key = w.key
	require.Equal(t, 400, q.ask(h).Code, "two credentials")

	_, near := w.issue(latchkey.Settings{Restrictions: latchkey.Restrictions{
		Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}})
	_, far := w.issue(latchkey.Settings{Restrictions: latchkey.Restrictions{
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}})
	w = &world{t: t, keys: w.keys, auth: httpadapter.New(w.keys, &httpadapter.Options{
		Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})}
	h = forward.New(w.auth, append(table, forward.Route{Pattern: "PUT /data/orders", Action: latchkey.Read,
		Resource: "dataset/orders", Meter: "api", Credits: 5}), options(forward.Forwarded))
	restricted := func(key string) int {
		return question{from: forward.Forwarded, target: "/data/payroll", key: key}.ask(h).Code
	}
	require.Equal(t, 403, restricted(near), "the key is good, and has no right here")
	require.Equal(t, 401, restricted(far), "the proxy's address is not the caller's")
}

func TestLimitsOfACaller(t *testing.T) {
	for name, from := range sources {
		w := newWorld(t)
		h := forward.New(w.auth, append(table, forward.Route{Pattern: "PUT /data/orders", Action: latchkey.Read,
			Resource: "dataset/orders", Meter: "api", Credits: 5}), options(from))
		meant := func(out *httptest.ResponseRecorder) string {
			if from == forward.Nginx && out.Code != 200 {
				require.Equal(t, 403, out.Code, name)
				return out.Header().Get("Latchkey-Status")
			}
			return map[int]string{200: "200", 402: "402", 403: "403", 429: "429"}[out.Code]
		}
		orders := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}
		_, limited := w.issue(latchkey.Settings{Permissions: orders,
			Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}})
		q := question{from: from, target: "/data/orders", key: limited}
		require.Equal(t, "200", meant(q.ask(h)), name)
		out := q.ask(h)
		require.Equal(t, "429", meant(out), name)
		require.NotEmpty(t, out.Header().Get("Retry-After"), name)

		_, metered := w.issue(latchkey.Settings{Permissions: orders,
			Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "api", Amount: 12, Per: latchkey.Forever}}}})
		q = question{from: from, method: "PUT", target: "/data/orders", key: metered}
		require.Equal(t, "200", meant(q.ask(h)), name)
		require.Equal(t, "200", meant(q.ask(h)), name)
		require.Equal(t, "402", meant(q.ask(h)), name)
		_, other := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("x")},
			Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "api", Amount: 12, Per: latchkey.Forever}}}})
		for range 5 {
			require.Equal(t, "403", meant(question{from: from, method: "PUT", target: "/data/orders", key: other}.ask(h)), name)
		}
	}
}

func TestFailuresNeverPass(t *testing.T) {
	for name, from := range sources {
		w := newWorld(t)
		h := forward.New(w.auth, table, options(from))
		q := question{from: from, target: "/data/orders", key: w.key}
		require.Equal(t, 200, q.ask(h).Code)
		w.store.err = errors.Join(latchkey.ErrUnavailable, errors.New("down"))
		out := q.ask(h)
		require.Equal(t, 503, out.Code, name)
		require.Equal(t, "1", out.Header().Get("Retry-After"))
		w.store.err = nil
		require.NoError(t, w.keys.For("acme").Revoke(ctx, w.id, ""))
		require.Equal(t, 401, q.ask(h).Code, "%s: the next request is refused", name)
	}
	// Whatever a hook of the host writes, a refusal is no success.
	for _, status := range []int{0, 200, 204, 302, 418} {
		w := newWorld(t, func(o *httpadapter.Options) {
			o.Problem = func(w http.ResponseWriter, _ *http.Request, _ httpadapter.Problem) {
				w.WriteHeader(100) // says nothing yet
				if status != 0 {
					w.WriteHeader(status)
					w.WriteHeader(451) // one was said
				}
				_, _ = w.Write([]byte("as the host likes"))
				_, _ = w.Write(make([]byte, 1<<20))
			}
		})
		for _, from := range sources {
			out := question{from: from, target: "/data/orders"}.ask(forward.New(w.auth, table, options(from)))
			want := 403
			if status == 418 && from != forward.Nginx {
				want = 418
			}
			require.Equal(t, want, out.Code, status)
		}
	}
}

func TestPreflights(t *testing.T) {
	w := newWorld(t)
	listed := append([]forward.Route{{Pattern: "OPTIONS /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"}},
		table...)
	headers := []string{"Origin", "https://app.example.com", "Access-Control-Request-Method", "GET"}
	for name, from := range sources {
		q := question{from: from, method: "OPTIONS", target: "/data/orders", headers: headers}
		require.Equal(t, 403, q.ask(forward.New(w.auth, table, options(from))).Code, name)
		require.Equal(t, 403, q.ask(forward.New(w.auth, listed, options(from))).Code,
			"%s: the Adapter answers a preflight, which is no reason to let it pass", name)
		q.key, q.headers = w.key, nil
		require.Equal(t, 200, q.ask(forward.New(w.auth, listed, options(from))).Code, name)

		opts := options(from)
		opts.Preflights = true
		h := forward.New(w.auth, table, opts)
		q.key, q.headers = "", headers
		out := q.ask(h)
		require.Equal(t, 200, out.Code, name)
		require.Equal(t, []string{""}, out.Header()["Latchkey-Owner"])
		require.Equal(t, []string{""}, out.Header()["Latchkey-Kind"])
		require.Equal(t, []string{"false"}, out.Header()["Latchkey-Rows"])
		for why, change := range map[string]func(*question){
			"no route":        func(q *question) { q.target = "/other" },
			"a redirect":      func(q *question) { q.target = "/tree" },
			"another method":  func(q *question) { q.headers = []string{headers[0], headers[1], headers[2], "DELETE"} },
			"no method":       func(q *question) { q.headers = headers[:2] },
			"two methods":     func(q *question) { q.headers = append(headers, headers[2:]...) },
			"no origin":       func(q *question) { q.headers = headers[2:] },
			"an empty origin": func(q *question) { q.headers = append([]string{"Origin", ""}, headers[2:]...) },
			"a credential":    func(q *question) { q.key = "rubbish" },
			"another request": func(q *question) { q.method = "PATCH" },
		} {
			bad := q
			change(&bad)
			require.NotEqual(t, 200, bad.ask(h).Code, "%s: %s", name, why)
		}
	}
}

func TestNew(t *testing.T) {
	w := newWorld(t)
	route := forward.Route{Pattern: "GET /a/{id}", Action: latchkey.Read, Resource: "a/{id}"}
	for want, f := range map[string]func(r *forward.Route, o *forward.Options){
		"say which proxy asks": func(_ *forward.Route, o *forward.Options) { o.From = 0 },
		"Options.From":         func(_ *forward.Route, o *forward.Options) { o.From = 9 },
		"only for Envoy":       func(_ *forward.Route, o *forward.Options) { o.PathPrefix = "/auth" },
		`like "/auth"`: func(_ *forward.Route, o *forward.Options) {
			o.From, o.PathPrefix = forward.Envoy,
				"/auth/"
		},
		`PathPrefix "auth"`: func(_ *forward.Route, o *forward.Options) {
			o.From, o.PathPrefix = forward.Envoy,
				"auth"
		},
		`PathPrefix "/a//b"`: func(_ *forward.Route, o *forward.Options) {
			o.From, o.PathPrefix = forward.Envoy, "/a//b"
		},
		`PathPrefix "/a%20b"`: func(_ *forward.Route, o *forward.Options) {
			o.From, o.PathPrefix = forward.Envoy, "/a%20b"
		},
		"with a hyphen at the end":       func(_ *forward.Route, o *forward.Options) { o.Headers = "Latchkey" },
		"use letters, digits":            func(_ *forward.Route, o *forward.Options) { o.Headers = "Latch_key-" },
		"use letters":                    func(_ *forward.Route, o *forward.Options) { o.Headers = "-" },
		"other headers begin so":         func(_ *forward.Route, o *forward.Options) { o.Headers = "X-" },
		"begin so, too":                  func(_ *forward.Route, o *forward.Options) { o.Headers = "x-forwarded-" },
		"other headers":                  func(_ *forward.Route, o *forward.Options) { o.Headers = "X-Original-User-" },
		"begin with a method":            func(r *forward.Route, _ *forward.Options) { r.Pattern = "/a/{id}" },
		"pattern \"get /a/{id}\": begin": func(r *forward.Route, _ *forward.Options) { r.Pattern = "get /a/{id}" },
		"pattern \" /a/{id}\": begin":    func(r *forward.Route, _ *forward.Options) { r.Pattern = " /a/{id}" },
		"CONNECT has no path":            func(r *forward.Route, _ *forward.Options) { r.Pattern = "CONNECT /a/{id}" },
		"for several hosts":              func(r *forward.Route, _ *forward.Options) { r.Pattern = "GET example.com/a/{id}" },
		"must begin with a slash":        func(r *forward.Route, _ *forward.Options) { r.Pattern = "GET " },
		"Credits without a Meter":        func(r *forward.Route, _ *forward.Options) { r.Credits = 1 },
		"negative number":                func(r *forward.Route, _ *forward.Options) { r.Meter, r.Credits = "api", -1 },
		"no wildcard {name}":             func(r *forward.Route, _ *forward.Options) { r.Resource = "a/{name}" },
		"no wildcard {i}":                func(r *forward.Route, _ *forward.Options) { r.Resource = "a/{i}" },
		"no wildcard {*}":                func(r *forward.Route, _ *forward.Options) { r.Resource = "a/{*}" },
		"stands for every action":        func(r *forward.Route, _ *forward.Options) { r.Action = latchkey.Any },
		"remove the empty segment":       func(r *forward.Route, _ *forward.Options) { r.Resource = "a//b" },
	} {
		r, o := route, forward.Options{From: forward.Nginx}
		require.NotPanics(t, func() { forward.New(w.auth, []forward.Route{r}, &o) })
		f(&r, &o)
		func() {
			defer func() { require.Contains(t, recover(), want) }()
			forward.New(w.auth, []forward.Route{r}, &o)
		}()
	}
	require.PanicsWithValue(t, "forward: New needs an Adapter", func() {
		forward.New(nil, []forward.Route{route}, options(forward.Nginx))
	})
	require.PanicsWithValue(t, "forward: Options.From: say which proxy asks: Nginx, Forwarded or Envoy", func() {
		forward.New(w.auth, []forward.Route{route}, nil)
	})
	for _, pattern := range []string{"GET  /a/{id}", "GET /a/{id...}"} {
		fine := route
		fine.Pattern = pattern
		require.NotPanics(t, func() { forward.New(w.auth, []forward.Route{fine}, options(forward.Nginx)) })
	}
	require.Panics(t, func() { forward.New(w.auth, nil, options(forward.Nginx)) })
	require.Panics(t, func() { forward.New(w.auth, []forward.Route{route}, nil) })
	require.Panics(t, func() { forward.New(w.auth, []forward.Route{route, route}, options(forward.Nginx)) })
}

// unread fails the test if somebody reads the body.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, errors.New("read")
}
func (u unread) Close() error { return nil }

func TestBodyIsNotRead(t *testing.T) {
	w := newWorld(t, func(o *httpadapter.Options) {
		o.OwnerOf = func(r *http.Request) (string, error) {
			n, _ := r.Body.Read(make([]byte, 1))
			require.Zero(t, n)
			require.Zero(t, r.ContentLength)
			require.Empty(t, r.TransferEncoding)
			require.Equal(t, "/data/orders", r.URL.Path)
			require.Equal(t, "/data/orders", r.RequestURI)
			return "acme", nil
		}
	})
	r := question{from: forward.Nginx, target: "/data/orders", key: w.key}.request()
	r.Body, r.ContentLength, r.TransferEncoding = unread{t}, 5, []string{"chunked"}
	out := httptest.NewRecorder()
	forward.New(w.auth, table, options(forward.Nginx)).ServeHTTP(out, r)
	require.Equal(t, 200, out.Code)
}

// A refusal names every carrier: to nginx in one field, as older ones pass one on, and to the others in one each.
func TestChallenges(t *testing.T) {
	w := newWorld(t, func(o *httpadapter.Options) {
		o.Carriers = httpadapter.Carriers{Bearer: true, Headers: []string{"X-API-Key"}}
	})
	const bearer, header = `Bearer realm="latchkey"`, `ApiKey realm="latchkey", in="header", name="X-API-Key"`
	for from, want := range map[forward.Source][]string{forward.Nginx: {bearer + ", " + header},
		forward.Forwarded: {bearer, header}, forward.Envoy: {bearer, header}} {
		q := question{from: from, target: "/data/orders"}
		got := q.ask(forward.New(w.auth, table, options(from)))
		require.Equal(t, 401, got.Code)
		require.Equal(t, want, got.Header()["Www-Authenticate"])
	}
}

// What a header holds, and what a refusal says, may be so long, and not longer.
func TestEachLimitIsReached(t *testing.T) {
	var text string // of the refusal
	w := newWorld(t, func(o *httpadapter.Options) {
		o.Problem = func(w http.ResponseWriter, _ *http.Request, _ httpadapter.Problem) {
			w.WriteHeader(401)
			_, _ = w.Write([]byte(text))
		}
	})
	refusal := func(from forward.Source, n int) *httptest.ResponseRecorder {
		text = strings.Repeat("x", n)
		return question{from: from, target: "/data/orders"}.ask(forward.New(w.auth, table, options(from)))
	}
	for name, c := range map[string]struct {
		most int
		try  func(n int) (size int) // 0: refused, or left out
	}{
		"the header of a condition": {2048, func(n int) int {
			value := strings.Repeat("x", n-len(`{"field":"a","op":"=","value":""}`))
			_, key := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("a", latchkey.Eq, value))}})
			out := question{from: forward.Nginx, target: "/rows/orders", key: key}.
				ask(forward.New(w.auth, table, options(forward.Nginx)))
			return len(out.Header().Get("Latchkey-Rows"))
		}},
		"a body": {16 << 10, func(n int) int { return refusal(forward.Forwarded, n).Body.Len() }},
		"a body in a header": {1024, func(n int) int {
			return len(refusal(forward.Nginx, n).Header().Get("Latchkey-Problem"))
		}},
		"the name of headers": {32, func(n int) (size int) {
			defer func() { _ = recover() }()
			o := options(forward.Nginx)
			o.Headers = strings.Repeat("A", n-1) + "-"
			forward.New(w.auth, table, o)
			return n
		}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.most, c.try(c.most))
			require.Zero(t, c.try(c.most+1))
		})
	}
	text = "x\ny"
	out := question{from: forward.Nginx, target: "/data/orders"}.ask(forward.New(w.auth, table, options(forward.Nginx)))
	require.Equal(t, text, out.Body.String())
	require.NotContains(t, out.Header(), "Latchkey-Problem", "a line is no header")
}
