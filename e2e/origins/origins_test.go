package origins

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/rs/cors"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// The API, a page that it allows and that is of the same site, a sibling that it does not allow, and a foreign page.
const (
	api     = "https://api.example.test"
	app     = "https://app.example.test"
	sibling = "https://blog.example.test"
	evil    = "https://evil.test"
)

// world is an API with its own pages, and a browser.
type world struct {
	t       *testing.T
	browser context.Context
	key     string // may do everything
	slow    string // one request an hour
	answers chan string
}

// answer is what the API answered: it is seen there, whatever the page may read.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func newWorld(t *testing.T) *world {
	w := &world{t: t, answers: make(chan string, 1000)}
	keys := latchkey.New(memstore.New(nil), nil)
	issue := func(limits latchkey.Limits) string {
		_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: limits,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/orders")}})
		require.NoError(t, err)
		return secret.Reveal()
	}
	w.key = issue(latchkey.Limits{})
	w.slow = issue(latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}})

	auth := httpadapter.New(keys, &httpadapter.Options{
		Carriers: httpadapter.Carriers{Bearer: true, Headers: []string{"X-API-Key"}, Cookie: "__Host-key"},
		CORS:     &httpadapter.CORS{Origins: []string{app}, Credentials: true},
	})
	host := httpadapter.New(keys, nil)
	layer := cors.New(cors.Options{AllowedOrigins: []string{app}, AllowedHeaders: []string{"Authorization"},
		ExposedHeaders: []string{"WWW-Authenticate"}})
	orders := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "orders") })
	mux := http.NewServeMux()
	mux.HandleFunc("/page", page)
	mux.HandleFunc("/login", func(rw http.ResponseWriter, r *http.Request) {
		// A host would say SameSite=Lax. None is the worst case: the browser sends the cookie from everywhere.
		http.SetCookie(rw, &http.Cookie{Name: "__Host-key", Value: w.key, Path: "/", Secure: true, HttpOnly: true,
			SameSite: http.SameSiteNoneMode})
		page(rw, r)
	})
	mux.Handle("GET /orders", auth.Require(latchkey.Read, "dataset/orders")(orders))
	mux.Handle("POST /orders", auth.Require(latchkey.Update, "dataset/orders")(orders))
	mux.Handle("DELETE /orders", auth.Require(latchkey.Delete, "dataset/orders")(orders))
	mux.Handle("GET /export", auth.Require("export", "dataset/orders")(orders))
	mux.Handle("GET /live", auth.Require(latchkey.Read, "dataset/orders")(http.HandlerFunc(webSocket)))
	mux.Handle("/guarded", auth.Require(latchkey.Read, "dataset/orders")(orders)) // without CrossOrigin around
	mux.Handle("/layered", layer.Handler(host.Require(latchkey.Read, "dataset/orders")(orders)))
	around := auth.CrossOrigin(mux)
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		out := &answer{rw, 200}
		inner := http.Handler(around)
		if r.URL.Path == "/guarded" || r.URL.Path == "/layered" {
			inner = mux
		}
		inner.ServeHTTP(out, r)
		cookie := ""
		if _, err := r.Cookie("__Host-key"); err == nil {
			cookie = " with the cookie"
		}
		w.answers <- fmt.Sprintf("%s %s%s: %d", r.Method, r.URL.Path, cookie, out.status)
	}))
	t.Cleanup(server.Close)
	pages := httptest.NewTLSServer(http.HandlerFunc(page))
	t.Cleanup(pages.Close)
	var rules []string
	for origin, at := range map[string]*httptest.Server{api: server, app: pages, sibling: pages, evil: pages} {
		rules = append(rules, "MAP "+strings.TrimPrefix(origin, "https://")+":443 "+at.Listener.Addr().String())
	}
	w.browser = harness.Browser(t, strings.Join(rules, ", "))
	return w
}

func page(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(rw, `<!doctype html><html lang="en"><title>Page</title><link rel="icon" href="data:,"><h1>A page</h1>`+
		`<form method="post" action="%s/orders"><input name="a" value="b"></form>`, api)
}

// webSocket accepts a WebSocket (RFC 6455 §4.2.2) and closes it.
func webSocket(rw http.ResponseWriter, r *http.Request) {
	conn, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		return
	}
	defer func(conn net.Conn) { _ = conn.Close() }(conn)
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	_, _ = buffered.Write([]byte{0x81, 2, 'h', 'i', 0x88, 2, 0x03, 0xe8}) // a text, and a close with 1000
	_ = buffered.Flush()
	_, _ = buffered.ReadByte() // until the browser answers
}

// tab is a page of one origin.
type tab struct {
	w   *world
	ctx context.Context
}

func (w *world) open(address string) *tab {
	w.t.Helper()
	ctx, cancel := chromedp.NewContext(w.browser)
	w.t.Cleanup(cancel)
	ctx, cancelTime := context.WithTimeout(ctx, 5*time.Minute)
	w.t.Cleanup(cancelTime)
	require.NoError(w.t, chromedp.Do(ctx, chromedp.Navigate(address)))
	return &tab{w, ctx}
}

func run[T any](p *tab, script string) T {
	p.w.t.Helper()
	got, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(p.w.t, err)
	return got
}

// reply is what a page can read of a reply.
type reply struct {
	Failed  bool // the browser told the page nothing
	Status  int
	Body    string
	Headers map[string]string
}

// fetch has a page fetch a path of the API; options are those of fetch in JavaScript.
func (p *tab) fetch(path, options string) reply {
	p.w.t.Helper()
	return run[reply](p, fmt.Sprintf(`fetch(%q, %s).then(async (r) => ({Status: r.status, Body: await r.text(),
		Headers: Object.fromEntries(r.headers)}), () => ({Failed: true}))`, api+path, options))
}

// answered waits for the answer of the API to a request that begins so, and returns it.
func (w *world) answered(request string) string {
	w.t.Helper()
	for {
		select {
		case a := <-w.answers:
			if strings.HasPrefix(a, request) {
				return a
			}
		case <-time.After(2 * time.Minute):
			require.FailNow(w.t, "the API got no "+request)
		}
	}
}

// forget drops what was answered so far.
func (w *world) forget() {
	for len(w.answers) > 0 {
		<-w.answers
	}
}

func TestPagesOfOtherOrigins(t *testing.T) {
	w := newWorld(t)
	own := w.open(api + "/login")
	ours, theirs, near := w.open(app), w.open(evil), w.open(sibling)
	bearer := func(key string) string { return `headers: {Authorization: "Bearer ` + key + `"}` }
	const include = `credentials: "include"`

	t.Run("an allowed page", func(t *testing.T) {
		for name, options := range map[string]string{
			"Bearer":            "{" + bearer(w.key) + "}",
			"Bearer and cookie": "{" + bearer(w.key) + ", " + include + "}",
			"X-API-Key":         `{headers: {"X-API-Key": "` + w.key + `"}}`,
			"cookie":            "{" + include + "}",
			"post":              `{method: "POST", body: "x", ` + include + "}",
			"delete":            `{method: "DELETE", ` + bearer(w.key) + "}",
			"JSON": `{method: "POST", body: "{}", headers: {"X-API-Key": "` + w.key + `",
				"Content-Type": "application/json"}}`,
		} {
			got := ours.fetch("/orders", options)
			require.Equal(t, reply{Status: 200, Body: "orders", Headers: got.Headers}, got, name)
		}
		w.forget()
		require.Equal(t, 200, ours.fetch("/orders", "{"+include+"}").Status)
		require.Equal(t, "GET /orders with the cookie: 200", w.answered("GET /orders"))

		got := ours.fetch("/orders", "{}")
		require.Equal(t, 401, got.Status)
		require.Contains(t, got.Body, "Credential required")
		require.Equal(t, `Bearer realm="latchkey", ApiKey realm="latchkey", in="header", name="X-API-Key", `+
			`ApiKey realm="latchkey", in="cookie", name="__Host-key"`, got.Headers["www-authenticate"])
		got = ours.fetch("/orders", "{"+bearer("x")+", "+include+"}")
		require.Equal(t, 401, got.Status, "the cookie does not help out")
		require.Contains(t, got.Headers["www-authenticate"], `error="invalid_token"`)
		require.Equal(t, 400, ours.fetch("/orders", `{headers: {Authorization: "Bearer x", "X-API-Key": "x"}}`).Status)
		require.Equal(t, 404, ours.fetch("/nowhere", "{"+bearer(w.key)+"}").Status, "errors of the router, too")

		got = ours.fetch("/orders", "{"+bearer(w.slow)+"}")
		require.Equal(t, 200, got.Status)
		require.Contains(t, got.Headers["ratelimit"], `"token";r=0`)
		got = ours.fetch("/orders", "{"+bearer(w.slow)+"}")
		require.Equal(t, 429, got.Status)
		require.Contains(t, got.Body, "Too many requests")
		require.NotEmpty(t, got.Headers["retry-after"])

		require.True(t, ours.fetch("/orders", `{method: "PURGE", `+bearer(w.key)+"}").Failed, "no such method")
		require.True(t, ours.fetch("/orders", `{headers: {"X-Other": "x"}}`).Failed, "no such header")
		w.forget()
		require.Equal(t, 200, ours.fetch("/guarded", "{"+bearer(w.key)+"}").Status)
		require.Equal(t, "OPTIONS /guarded: 204", w.answered("OPTIONS"))
		require.Equal(t, "GET /guarded: 200", w.answered("GET"))
	})

	t.Run("other pages", func(t *testing.T) {
		for name, p := range map[string]*tab{"foreign": theirs, "sibling": near} {
			w.forget()
			for _, path := range []string{"/orders", "/guarded"} {
				require.True(t, p.fetch(path, "{"+bearer(w.key)+"}").Failed, name)
				require.Equal(t, "OPTIONS "+path+": 403", w.answered(""), "%s: nothing but the preflight was sent", name)
			}
			require.True(t, p.fetch("/orders", "{"+include+"}").Failed, name)
			require.Equal(t, "GET /orders with the cookie: 403", w.answered(""), name)
			require.True(t, p.fetch("/orders", `{method: "POST", body: "x", `+include+"}").Failed, name)
			require.Equal(t, "POST /orders with the cookie: 403", w.answered(""), name)
			run[bool](p, fmt.Sprintf(`fetch(%q, {mode: "no-cors", %s}).then(() => true)`, api+"/orders", include))
			require.Equal(t, "GET /orders with the cookie: 403", w.answered(""), "%s: it would be a script or an image", name)
		}
	})

	t.Run("a WebSocket", func(t *testing.T) {
		connect := `new Promise((done) => {
			const s = new WebSocket("` + strings.Replace(api, "https", "wss", 1) + `/live");
			s.onmessage = (m) => done(m.data);
			s.onerror = () => done("refused");
		})`
		for want, pages := range map[string][]*tab{"hi": {own, ours}, "refused": {theirs, near}} {
			for _, p := range pages {
				w.forget()
				require.Equal(t, want, run[string](p, connect))
				status := "403"
				if want == "hi" {
					status = "200" // it was hijacked
				}
				require.Equal(t, "GET /live with the cookie: "+status, w.answered("GET /live"))
			}
		}
	})

	t.Run("the host's own layer before the guard", func(t *testing.T) {
		got := ours.fetch("/layered", "{"+bearer(w.key)+"}")
		require.Equal(t, 200, got.Status)
		got = ours.fetch("/layered", "{"+bearer("x")+"}")
		require.Equal(t, 401, got.Status)
		require.Equal(t, `Bearer realm="latchkey", error="invalid_token"`, got.Headers["www-authenticate"])
		require.True(t, theirs.fetch("/layered", "{"+bearer(w.key)+"}").Failed)
	})

	// These leave their page.
	for _, tt := range []struct {
		name, from, script, want string
	}{
		{"a form of the own page", api + "/page", "document.forms[0].submit()", "POST /orders with the cookie: 200"},
		{"a form of an allowed page", app, "document.forms[0].submit()", "POST /orders with the cookie: 200"},
		{"a form of a foreign page", evil, "document.forms[0].submit()", "POST /orders with the cookie: 403"},
		{"a form of a sibling", sibling, "document.forms[0].submit()", "POST /orders with the cookie: 403"},
		{"a form without an origin", evil, `const f = document.createElement("iframe");
			f.sandbox = "allow-scripts allow-forms";
			f.srcdoc = document.forms[0].outerHTML + "<script>document.forms[0].submit()<\/script>"; document.body.append(f)`,
			"POST /orders with the cookie: 403"},
		{"a link that reads", evil, "location = '" + api + "/orders'", "GET /orders with the cookie: 200"},
		{"a link that does more", evil, "location = '" + api + "/export'", "GET /export with the cookie: 403"},
		{"the own page does it", api + "/page", "location = '" + api + "/export'", "GET /export with the cookie: 200"},
		{"a frame", evil, `const f = document.createElement("iframe"); f.src = "` + api + `/orders"; document.body.append(f)`,
			"GET /orders with the cookie: 403"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := w.open(tt.from)
			w.forget()
			run[bool](p, "setTimeout(() => {"+tt.script+"}), true")
			method, _, _ := strings.Cut(tt.want, " with")
			require.Equal(t, tt.want, w.answered(method))
		})
	}
}
