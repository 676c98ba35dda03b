package httpadapter_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

const (
	app  = "https://app.example.com"
	evil = "https://evil.example"
)

func panicText(f func()) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprint(p)
		}
	}()
	f()
	return ""
}

// What no browser sends, and what would allow everybody, is refused when the Adapter is made.
func TestCORSThatIsRefused(t *testing.T) {
	w := newFixture(t)
	cookie := httpadapter.Carriers{Cookie: "key"}
	everyone := func(*http.Request, string) bool { return true }
	for _, tt := range []struct {
		cors     httpadapter.CORS
		carriers httpadapter.Carriers
		said     string
	}{
		{httpadapter.CORS{}, cookie, "Origins is empty"},
		{httpadapter.CORS{Origins: []string{"*"}, Credentials: true}, cookie, "any page could act for its visitors"},
		{httpadapter.CORS{AllowOrigin: everyone, Credentials: true}, cookie, "it must compare whole origins"},
		{httpadapter.CORS{AllowOrigin: func(r *http.Request, _ string) bool { return r.URL.Path == "/" && r.Method == "GET" },
			Credentials: true}, cookie, "it must compare whole origins"},
		{httpadapter.CORS{AllowOrigin: func(r *http.Request, _ string) bool { return r.Header.Get("Origin") != "" },
			Credentials: true}, cookie, "it must compare whole origins"},
		{httpadapter.CORS{Origins: []string{app}, Credentials: true}, httpadapter.Carriers{}, "neither Cookie nor Basic"},
		{httpadapter.CORS{Origins: []string{app}, Credentials: true},
			httpadapter.Carriers{Bearer: true, Basic: httpadapter.BasicIgnored}, "neither Cookie nor Basic"},
		{httpadapter.CORS{Origins: []string{"*", app}}, cookie, "beside other origins"},
		{httpadapter.CORS{Origins: []string{"*"}, AllowOrigin: everyone}, cookie, "beside other origins"},
		{httpadapter.CORS{Origins: []string{app}, Methods: []string{"get"}}, cookie, `write "GET"`},
		{httpadapter.CORS{Origins: []string{app}, Methods: []string{"*"}}, cookie, "name methods"},
		{httpadapter.CORS{Origins: []string{app}, Methods: []string{"GET, PUT"}}, cookie, "name methods"},
		{httpadapter.CORS{Origins: []string{app}, Methods: []string{"TRACE"}}, cookie, "for no page"},
		{httpadapter.CORS{Origins: []string{app}, Headers: []string{"*"}}, cookie, "name header fields"},
		{httpadapter.CORS{Origins: []string{app}, Headers: []string{"A, B"}}, cookie, "name header fields"},
		{httpadapter.CORS{Origins: []string{app}, Headers: []string{"Cookie"}}, cookie, "let no page set it"},
		{httpadapter.CORS{Origins: []string{app}, Headers: []string{"Sec-Fetch-Site"}}, cookie, "let no page set it"},
		{httpadapter.CORS{Origins: []string{app}, Exposed: []string{"*"}}, cookie, "Exposed has"},
		{httpadapter.CORS{Origins: []string{app}, Exposed: []string{"set-cookie"}}, cookie, "without Set-Cookie"},
		{httpadapter.CORS{Origins: []string{app}, MaxAge: 25 * time.Hour}, cookie, "over 24 hours"},
		{httpadapter.CORS{Origins: []string{app}, MaxAge: 1500 * time.Millisecond}, cookie, "whole seconds"},
	} {
		said := panicText(func() { httpadapter.New(w.keys, &httpadapter.Options{CORS: &tt.cors, Carriers: tt.carriers}) })
		require.Contains(t, said, "httpadapter: Options.CORS.")
		require.Contains(t, said, tt.said)
	}
	for origin, why := range map[string]string{
		"null":                                             "every sandboxed page",
		"":                                                 "write scheme://host",
		"app.example.com":                                  "write scheme://host",
		"//app.example.com":                                "write scheme://host",
		"https://":                                         "write scheme://host",
		"https://app.example.com/":                         "without a slash",
		"https://app.example.com/x":                        "without a slash",
		"https://app.example.com?x":                        "without a slash",
		"https://app.example.com#x":                        "without a slash",
		"https://u@app.example.com":                        "no user name",
		"https://App.example.com":                          "lower case",
		"HTTPS://app.example.com":                          "lower case",
		"https://app.example.com:443":                      "default port",
		"http://app.example.com:80":                        "default port",
		"https://app.example.com:":                         "port is malformed",
		"https://app.example.com:0":                        "port is malformed",
		"https://app.example.com:08443":                    "port is malformed",
		"https://app.example.com:65536":                    "port is malformed",
		"https://app.example.com:+8443":                    "port is malformed",
		"https://:8443":                                    "no host",
		"https://app.example.com.":                         "empty label",
		"https://app..example.com":                         "empty label",
		"https://.example.com":                             "empty label",
		"https://*.example.com":                            "patterns are not read",
		"https://app.example.*":                            "patterns are not read",
		"https://münchen.example":                          "ASCII form",
		"https://app example.com":                          "host is malformed",
		"https://app,example.com":                          "host is malformed",
		"https://a.example, b.example":                     "host is malformed",
		"https://app%2eexample.com":                        "host is malformed",
		"https://app\\.example.com":                        "host is malformed",
		"https://app.example.com\n":                        "host is malformed",
		" https://app.example.com":                         "scheme is malformed",
		"1https://app.example.com":                         "scheme is malformed",
		"a!b://app.example.com":                            "scheme is malformed",
		"https:/app.example.com":                           "write scheme://host",
		"https://127.1":                                    "four numbers",
		"https://2130706433":                               "four numbers",
		"https://0x7f.0.0.1":                               "four numbers",
		"https://127.0.0.01":                               "four numbers",
		"https://127.0.0.0x1":                              "four numbers",
		"https://[::1":                                     "IPv6 address is malformed",
		"https://[::1%25eth0]":                             "IPv6 address is malformed",
		"https://[fe80::1%eth0]":                           "IPv6 address is malformed",
		"https://[127.0.0.1]":                              "IPv6 address is malformed",
		"https://[0:0:0:0:0:0:0:1]":                        "as [::1]",
		"https://[::ffff:127.0.0.1]":                       "as [::ffff:7f00:1]",
		"https://[::1]x":                                   "port is malformed",
		"https://[::1]:443":                                "default port",
		"https://::1":                                      "no host",
		"https://" + strings.Repeat("a", 285) + ".example": "too long",
	} {
		opts := &httpadapter.Options{CORS: &httpadapter.CORS{Origins: []string{app, origin}}}
		said := panicText(func() { httpadapter.New(w.keys, opts) })
		require.Contains(t, said, "Options.CORS.Origins has", "%q", origin)
		require.Contains(t, said, why, "%q", origin)
	}
	for _, origin := range []string{app, "http://localhost:5173", "http://127.0.0.1", "http://[::1]:8080",
		"https://[2001:db8::1]", "https://[::ffff:7f00:1]", "https://xn--mnchen-3ya.example", "http://a_b.example:443",
		"https://app.example.com:80",
		"capacitor://localhost", "chrome-extension://abcdefghijklmnop",
		"https://" + strings.Repeat("a", 284) + ".example"} {
		opts := &httpadapter.Options{CORS: &httpadapter.CORS{Origins: []string{origin}}}
		out := send(httpadapter.New(w.keys, opts).Authenticate(whoami), "GET", "/", "Origin", origin)
		require.Equal(t, origin, out.Header().Get("Access-Control-Allow-Origin"))
	}
	both := &httpadapter.Options{CORS: &httpadapter.CORS{Origins: []string{app}}, Preflight: whoami}
	require.Contains(t, panicText(func() { httpadapter.New(w.keys, both) }), "both CORS and Preflight")
	require.Contains(t, panicText(func() { httpadapter.New(w.keys, nil).CrossOrigin(whoami) }), "needs Options.CORS")
}

// corsOf returns what a reply says of CORS, and its Vary.
func corsOf(out *httptest.ResponseRecorder) map[string]string {
	all := map[string]string{}
	for name, values := range out.Header() {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			all[name] = strings.Join(values, " | ")
		}
	}
	return all
}

// Preflights are answered for allowed origins only, without a credential, and never by the guarded handler.
func TestCORSPreflights(t *testing.T) {
	w := newFixture(t)
	var asked []string
	auth := httpadapter.New(w.keys, &httpadapter.Options{
		Carriers: httpadapter.Carriers{Bearer: true, Headers: []string{"X-API-Key"}, Cookie: "key"},
		CORS: &httpadapter.CORS{Origins: []string{app, "http://localhost:5173"}, Credentials: true,
			AllowOrigin: func(_ *http.Request, origin string) bool {
				asked = append(asked, origin)
				return origin == "https://shop.customer.example"
			},
			Methods: []string{"GET", "PUT", "purge"}, Headers: []string{"If-Match"}, Exposed: []string{"ETag"},
			MaxAge: time.Hour},
	})
	served := false
	work := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true })
	const vary = "Origin | Authorization, X-API-Key, Cookie | " +
		"Access-Control-Request-Method, Access-Control-Request-Headers"
	for name, h := range map[string]http.Handler{
		"Authenticate": auth.Authenticate(work),
		"Require":      auth.Require(latchkey.Read, "dataset/orders")(work),
		"RequireRows":  auth.RequireRows(latchkey.Read, "dataset/orders")(work),
		"Spend":        auth.Spend("calls", 1)(work),
		"both":         auth.Authenticate(auth.Require(latchkey.Read, "dataset/orders")(work)),
		"CrossOrigin":  auth.CrossOrigin(http.NotFoundHandler()),
	} {
		vary := vary
		if name == "CrossOrigin" {
			vary = "Origin | Access-Control-Request-Method, Access-Control-Request-Headers"
		}
		ask := func(origin string) *httptest.ResponseRecorder {
			return send(h, "OPTIONS", "/", "Origin", origin, "Access-Control-Request-Method", "PUT",
				"Access-Control-Request-Headers", "authorization,if-match")
		}
		for _, origin := range []string{app, "http://localhost:5173", "https://shop.customer.example"} {
			out := ask(origin)
			require.Equal(t, 204, out.Code, name)
			require.Equal(t, map[string]string{
				"Access-Control-Allow-Origin":      origin,
				"Access-Control-Allow-Credentials": "true",
				"Access-Control-Allow-Methods":     "GET, PUT, purge",
				"Access-Control-Allow-Headers":     "Content-Type, Authorization, X-API-Key, If-Match",
				"Access-Control-Max-Age":           "3600",
				"Vary":                             vary,
			}, corsOf(out), name)
		}
		for _, origin := range []string{evil, "null", app + "/", "https://APP.example.com", app + ":443",
			app + ".evil.example", "http://app.example.com", "*", app + ", " + evil, app + " ",
			"https://shop.customer.example."} {
			asked = nil
			out := ask(origin)
			require.Equal(t, 403, out.Code, "%s: %s", name, origin)
			require.Equal(t, map[string]string{"Vary": vary}, corsOf(out), "%s: %s", name, origin)
			for _, a := range asked {
				require.Contains(t, []string{evil, app + ".evil.example", "http://app.example.com"}, a, "only well-formed ones")
			}
		}
	}
	require.False(t, served)
	require.Equal(t, 401, send(auth.Authenticate(work), "OPTIONS", "/", "Origin", app).Code, "no preflight")

	for age, want := range map[time.Duration]string{0: "600", -1: "0", 24 * time.Hour: "86400"} {
		h := httpadapter.New(w.keys, &httpadapter.Options{CORS: &httpadapter.CORS{Origins: []string{app}, MaxAge: age}}).
			Authenticate(work)
		out := send(h, "OPTIONS", "/", "Origin", app, "Access-Control-Request-Method", "GET")
		require.Equal(t, map[string]string{
			"Access-Control-Allow-Origin":  app,
			"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
			"Access-Control-Allow-Headers": "Content-Type, Authorization",
			"Access-Control-Max-Age":       want,
			"Vary":                         "Origin | Access-Control-Request-Method, Access-Control-Request-Headers",
		}, corsOf(out))
	}
}

// A page of an allowed origin can read every reply, refusals too. Of all other origins no page can, and no cache mixes
// them up.
func TestCORSReplies(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	_, slow := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{
		Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}})
	carriers := httpadapter.Carriers{Bearer: true, Cookie: "key"}
	auth := httpadapter.New(w.keys, &httpadapter.Options{Carriers: carriers,
		CORS: &httpadapter.CORS{Origins: []string{app}, Credentials: true, Exposed: []string{"ETag"}}})
	plain := httpadapter.New(w.keys, &httpadapter.Options{CORS: &httpadapter.CORS{Origins: []string{app}}})
	public := httpadapter.New(w.keys, &httpadapter.Options{CORS: &httpadapter.CORS{Origins: []string{"*"}}})
	orders := func(a *httpadapter.Adapter) http.Handler { return a.Require(latchkey.Read, "dataset/orders")(whoami) }
	send(auth.Authenticate(whoami), "GET", "/", "Authorization", "Bearer "+slow)
	noRows := auth.RequireRows(latchkey.Read, "dataset/orders")(http.HandlerFunc(
		func(http.ResponseWriter, *http.Request) {})) // a 500
	for _, tt := range []struct {
		h       http.Handler
		headers []string
		status  int
	}{
		{orders(auth), []string{"Authorization", "Bearer " + key}, 200},
		{orders(auth), []string{"Cookie", "key=" + key}, 200},
		{orders(auth), nil, 401},
		{orders(auth), []string{"Authorization", "Bearer x"}, 401},
		{orders(auth), []string{"Authorization", "Bearer"}, 400},
		{orders(auth), []string{"Authorization", "Bearer " + key, "Authorization", "Bearer " + key}, 400},
		{auth.Require(latchkey.Read, "dataset/payroll")(whoami), []string{"Authorization", "Bearer " + key}, 403},
		{auth.Authenticate(whoami), []string{"Authorization", "Bearer " + slow}, 429},
		{noRows, []string{"Authorization", "Bearer " + key}, 500},
		{auth.CrossOrigin(http.NotFoundHandler()), nil, 404},
		{auth.CrossOrigin(orders(auth)), []string{"Authorization", "Bearer " + key}, 200},
	} {
		out := send(tt.h, "GET", "/", append(tt.headers, "Origin", app)...)
		require.Equal(t, tt.status, out.Code)
		got := corsOf(out)
		require.Equal(t, 1, strings.Count(got["Vary"], "Origin"), got["Vary"])
		delete(got, "Vary")
		require.Equal(t, map[string]string{
			"Access-Control-Allow-Origin":      app,
			"Access-Control-Allow-Credentials": "true",
			"Access-Control-Expose-Headers":    "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, ETag",
		}, got, "%d", tt.status)
		for _, other := range [][]string{{"Origin", evil}, {"Origin", "null"}, {}} {
			got = corsOf(send(tt.h, "GET", "/", append(tt.headers, other...)...))
			require.Contains(t, got["Vary"], "Origin", "a cache must not serve this to an allowed origin")
			delete(got, "Vary")
			require.Empty(t, got)
		}
	}
	require.Equal(t, map[string]string{"Access-Control-Allow-Origin": app, "Vary": "Origin",
		"Access-Control-Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate"},
		corsOf(send(orders(plain), "GET", "/", "Authorization", "Bearer "+key, "Origin", app)))
	for _, origin := range []string{app, evil, "null"} {
		require.Equal(t, map[string]string{"Access-Control-Allow-Origin": "*",
			"Access-Control-Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate"},
			corsOf(send(orders(public), "GET", "/", "Authorization", "Bearer "+key, "Origin", origin)))
	}
}

// An origin may use what browsers add by themselves only if CORS allows credentials to it.
func TestCORSTrustsForCookies(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	carriers := httpadapter.Carriers{Cookie: "key", TrustedOrigins: []string{"https://form.example.com"}}
	for _, tt := range []struct {
		cors    *httpadapter.CORS
		allowed string
	}{
		{nil, "form"},
		{&httpadapter.CORS{Origins: []string{"https://app.example.com"}}, "form"},
		{&httpadapter.CORS{Origins: []string{"*"}}, "form"},
		{&httpadapter.CORS{Origins: []string{"https://app.example.com"}, Credentials: true}, "form app"},
		{&httpadapter.CORS{Credentials: true, AllowOrigin: func(_ *http.Request, o string) bool { return o == app }},
			"form app"},
	} {
		h := httpadapter.New(w.keys, &httpadapter.Options{Carriers: carriers, CORS: tt.cors}).Authenticate(whoami)
		for _, name := range []string{"form", "app", "evil"} {
			want := 403
			if strings.Contains(tt.allowed, name) {
				want = 200
			}
			require.Equal(t, want, send(h, "POST", "/", "Cookie", "key="+key, "Sec-Fetch-Site", "same-site", "Origin",
				"https://"+name+".example.com").Code, "%v: %s", tt.cors, name)
		}
	}
}
