package httpadapter_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// send makes a request from names and values of headers, as they are, and returns the reply.
func send(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r, out := httptest.NewRequest(method, target, nil), httptest.NewRecorder()
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	h.ServeHTTP(out, r)
	return out
}

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

// everywhere switches every carrier on.
var everywhere = httpadapter.Carriers{Bearer: true, Basic: httpadapter.BasicUser, Headers: []string{"x-api-key"},
	Cookie: "key", Query: []string{"token"}}

// What the host gave is copied: to change it later changes nothing.
func TestCarriersAreCopied(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	carriers := httpadapter.Carriers{Basic: httpadapter.BasicUser, BasicOther: []string{"api"}, Cookie: "key",
		Headers: []string{"X-Api-Key"}, Query: []string{"token"}, TrustedOrigins: []string{"https://app.example.com"}}
	h := httpadapter.New(w.keys, &httpadapter.Options{Carriers: carriers}).Authenticate(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	for _, list := range [][]string{carriers.BasicOther, carriers.Headers, carriers.Query, carriers.TrustedOrigins} {
		list[0] = "X-Changed"
	}
	require.Equal(t, 200, send(h, "GET", "/", "Authorization", basic(key+":api")).Code)
	require.Equal(t, 200, send(h, "GET", "/", "X-Api-Key", key).Code)
	require.Equal(t, 200, send(h, "GET", "/?token="+key).Code)
	require.Equal(t, 200, send(h, "POST", "/", "Cookie", "key="+key, "Origin", "https://app.example.com").Code)
	require.Equal(t, 403, send(h, "POST", "/", "Cookie", "key="+key, "Origin", "https://elsewhere.example.com").Code)
}

// One token is decided upon alike, wherever it comes from, by every middleware, and a wrong one by no other carrier
// beside it.
func TestOneTokenInEveryCarrier(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	id, wrong := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{})
	require.NoError(t, w.acme.Revoke(ctx, id, "leaked"))
	var log bytes.Buffer
	var heard []string
	auth := httpadapter.New(w.keys, &httpadapter.Options{Carriers: everywhere,
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		OnError: func(_ *http.Request, err error) { heard = append(heard, err.Error()) }})
	carry := map[string]func(text string) (target string, headers []string){
		"Bearer": func(text string) (string, []string) { return "/", []string{"Authorization", "Bearer " + text} },
		"Basic":  func(text string) (string, []string) { return "/", []string{"Authorization", basic(text + ":")} },
		"header": func(text string) (string, []string) { return "/", []string{"X-Api-Key", text} },
		"cookie": func(text string) (string, []string) { return "/", []string{"Cookie", "a=b; key=" + text} },
		"query":  func(text string) (string, []string) { return "/?token=" + text, nil },
	}
	for name, with := range carry {
		for _, tt := range []struct {
			h    http.Handler
			text string
			want int
		}{
			{auth.Authenticate(whoami), key, 200},
			{auth.Require(latchkey.Read, "dataset/orders")(whoami), key, 200},
			{auth.Require(latchkey.Read, "dataset/payroll")(whoami), key, 403},
			{auth.Require(latchkey.Update, "dataset/orders")(whoami), key, 403},
			{auth.RequireRows(latchkey.Read, "dataset/clients")(whoami), key, 200},
			{auth.Spend("calls", 1)(whoami), key, 200},
			{auth.Authenticate(whoami), wrong, 401},
			{auth.Require(latchkey.Read, "dataset/orders")(whoami), wrong, 401},
			{auth.Require(latchkey.Read, "dataset/orders")(whoami), key[:len(key)-1], 401},
			{auth.Require(latchkey.Read, "dataset/orders")(whoami), "", map[string]int{"Bearer": 400}[name] + 401*
				map[bool]int{true: 1}[name != "Bearer"]},
		} {
			target, headers := with(tt.text)
			out := send(tt.h, "GET", target, headers...)
			require.Equal(t, tt.want, out.Code, "%s: %s", name, out.Body)
			require.Equal(t, []string{"no-store"}, out.Header()["Cache-Control"], "the query is read")
			if tt.want == 401 {
				require.Len(t, out.Header()["Www-Authenticate"], 4)
			}
			for _, said := range []string{log.String(), strings.Join(heard, "\n"), fmt.Sprint(out.Header())} {
				require.NotContains(t, said, key)
				require.NotContains(t, said, wrong)
			}
		}
		for other, also := range carry { // a second credential
			if name == other {
				continue
			}
			target, headers := with(key)
			second, more := also(wrong)
			if second != "/" {
				target = second
			}
			out := send(auth.Authenticate(whoami), "GET", target, append(headers, more...)...)
			switch {
			case other == "cookie" && (name == "Bearer" || name == "header"):
				require.Equal(t, 200, out.Code, "a cookie beside a header of a program is ignored")
			case name == "cookie" && (other == "Bearer" || other == "header"):
				require.Equal(t, 401, out.Code, "a cookie does not help out")
			default:
				require.Equal(t, 400, out.Code, "%s and %s", name, other)
			}
		}
	}
}

// A link from another site may read, and do nothing else.
func TestALinkMayOnlyRead(t *testing.T) {
	w := newFixture(t)
	_, root := w.issue(w.acme, latchkey.KindSecret, latchkey.Settings{})
	var heard error
	auth := httpadapter.New(w.keys, &httpadapter.Options{Carriers: httpadapter.Carriers{Bearer: true, Cookie: "key"},
		OnError: func(_ *http.Request, err error) { heard = err }})
	served := 0
	work := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		served++
		httpadapter.RowsNotNeeded(r.Context())
	})
	again := func(next http.Handler) http.Handler { // a host that sets an Access of its own, such as a narrower one
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			access, _ := httpadapter.AccessFrom(r.Context())
			next.ServeHTTP(rw, r.WithContext(httpadapter.WithAccess(r.Context(), access)))
		})
	}
	link := []string{"Cookie", "key=" + root, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate",
		"Sec-Fetch-Dest", "document"}
	own := []string{"Cookie", "key=" + root, "Sec-Fetch-Site", "same-origin"}
	program := append([]string{"Authorization", "Bearer " + root}, link[2:]...)
	for _, action := range []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Delete, "export"} {
		for name, h := range map[string]http.Handler{
			"Require":     auth.Require(action, "dataset/orders")(work),
			"RequireRows": auth.RequireRows(action, "dataset/orders")(work),
			"behind":      auth.Authenticate(auth.Require(action, "dataset/orders")(work)),
			"beneath":     auth.Require(latchkey.Read, "dataset/orders")(auth.Require(action, "dataset/orders")(work)),
			"again":       auth.Authenticate(again(auth.Require(action, "dataset/orders")(work))),
		} {
			want := 200
			if action != latchkey.Read {
				want = 403
			}
			served = 0
			require.Equal(t, want, send(h, "GET", "/", link...).Code, "%s %s", name, action)
			require.Equal(t, want == 200, served == 1)
			if want == 403 {
				require.ErrorIs(t, heard, httpadapter.ErrCrossOrigin)
			}
			require.Equal(t, 200, send(h, "GET", "/", own...).Code, "%s %s", name, action)
			require.Equal(t, 200, send(h, "GET", "/", program...).Code, "%s %s", name, action)
			require.Equal(t, 403, send(h, "POST", "/", link...).Code, "%s %s", name, action)
		}
	}
}

// A refusal because of the origin tells nothing of the token, and reads no store.
func TestACrossOriginRefusalIsNoOracle(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	h := httpadapter.New(w.keys, &httpadapter.Options{Carriers: httpadapter.Carriers{Cookie: "key"}}).Authenticate(whoami)
	w.store.err = latchkey.ErrUnavailable
	foreign := []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}
	right := send(h, "GET", "/", append(foreign, "Cookie", "key="+key)...)
	wrong := send(h, "GET", "/", append(foreign, "Cookie", "key=x")...)
	require.Equal(t, 403, right.Code)
	require.Equal(t, right.Body.String(), wrong.Body.String())
	require.Equal(t, right.Header(), wrong.Header())
	require.Contains(t, right.Body.String(), "problem/cross-origin")
	require.Equal(t, 503, send(h, "GET", "/", "Cookie", "key="+key).Code)
}

// sharedCache is a cache between clients and a server that does what RFC 9111 allows (§3, §3.5, §4.1): it stores every
// answer that nothing forbids to store, for a while that it chooses (§4.2.2).
type sharedCache struct {
	next   http.Handler
	stored []storedAnswer
}

type storedAnswer struct {
	url    string
	header http.Header // of the request
	answer *httptest.ResponseRecorder
}

func (c *sharedCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, s := range c.stored {
		if s.url == r.URL.String() && sameSelection(s, r) {
			_, _ = w.Write(s.answer.Body.Bytes())
			return
		}
	}
	out := httptest.NewRecorder()
	c.next.ServeHTTP(out, r)
	control := out.Header().Get("Cache-Control")
	if !strings.Contains(control, "no-store") && !strings.Contains(control, "private") && out.Code == 200 &&
		(r.Header.Get("Authorization") == "" || strings.Contains(control, "public")) {
		c.stored = append(c.stored, storedAnswer{r.URL.String(), r.Header, out})
	}
	w.WriteHeader(out.Code)
	_, _ = w.Write(out.Body.Bytes())
}

func sameSelection(s storedAnswer, r *http.Request) bool {
	for _, line := range s.answer.Header()["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			if !slices.Equal(s.header.Values(name), r.Header.Values(name)) {
				return false
			}
		}
	}
	return true
}

// What a shared cache may store differs by carrier: it keeps nothing of requests with Authorization, and everything
// else that nothing forbids.
func TestSharedCaches(t *testing.T) {
	w := newFixture(t)
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}
	first, one := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{Permissions: everything})
	second, two := w.issue(w.acme, latchkey.KindAPIKey, latchkey.Settings{Permissions: everything})
	handler := func(control string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if control != "" {
				rw.Header().Set("Cache-Control", control)
			}
			access, _ := httpadapter.AccessFrom(r.Context())
			httpadapter.RowsNotNeeded(r.Context())
			fmt.Fprint(rw, access.TokenID())
		})
	}
	carry := map[string]func(key string) []string{
		"Authorization": func(key string) []string { return []string{"Authorization", basic(key + ":")} },
		"X-Api-Key":     func(key string) []string { return []string{"X-Api-Key", key} },
		"Cookie":        func(key string) []string { return []string{"Cookie", "key=" + key} },
	}
	carriers := everywhere
	carriers.Query = nil
	auth := httpadapter.New(w.keys, &httpadapter.Options{Carriers: carriers})
	guards := map[string]func(http.Handler) http.Handler{
		"Authenticate": auth.Authenticate,
		"Require":      auth.Require(latchkey.Read, "dataset/orders"),
		"RequireRows":  auth.RequireRows(latchkey.Read, "dataset/orders"),
		"both": func(next http.Handler) http.Handler {
			return auth.Authenticate(auth.Require(latchkey.Read, "dataset/orders")(next))
		},
	}
	for name, with := range carry {
		for guard, around := range guards {
			for _, control := range []string{"", "public, max-age=60"} {
				cache := &sharedCache{next: around(handler(control))}
				require.Equal(t, first, send(cache, "GET", "/", with(one)...).Body.String(), "%s %s", name, guard)
				require.Equal(t, second, send(cache, "GET", "/", with(two)...).Body.String(), "%s %s %s", name, guard, control)
				require.Equal(t, 401, send(cache, "GET", "/").Code, "%s %s %s", name, guard, control)
			}
			out := send(around(handler("")), "GET", "/", with(one)...)
			require.Equal(t, []string{"private"}, out.Header()["Cache-Control"])
			require.Equal(t, []string{"Authorization, x-api-key, Cookie"}, out.Header()["Vary"], guard)
			out = send(around(handler("max-age=5")), "GET", "/", with(one)...)
			require.Equal(t, []string{"max-age=5"}, out.Header()["Cache-Control"], "the handler decides")
			out = send(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Cache-Control", "no-store")
				around(handler("")).ServeHTTP(rw, r)
			}), "GET", "/", with(one)...)
			require.Equal(t, []string{"no-store"}, out.Header()["Cache-Control"], "and so does what is around")
		}
		// Without the headers such a cache hands one caller's answer to another.
		bare := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			out := httptest.NewRecorder()
			auth.Authenticate(handler("")).ServeHTTP(out, r)
			rw.WriteHeader(out.Code)
			_, _ = rw.Write(out.Body.Bytes())
		})
		cache := &sharedCache{next: bare}
		send(cache, "GET", "/", with(one)...)
		want := first
		if name == "Authorization" {
			want = second
		}
		require.Equal(t, want, send(cache, "GET", "/", with(two)...).Body.String(), name)
	}
	bearer := httpadapter.New(w.keys, nil)
	out := get(bearer.Authenticate(handler("")), "/", one)
	require.Empty(t, out.Header()["Cache-Control"], "Bearer alone needs nothing")
	require.Empty(t, out.Header()["Vary"], "Bearer alone needs nothing")
}

// Basic is announced, and left out of the announcement where a dialog would be unwelcome.
func TestChallengesOnTheWire(t *testing.T) {
	w := newFixture(t)
	carriers := httpadapter.Carriers{Bearer: true, Basic: httpadapter.BasicPassword, BasicOther: []string{"api"}}
	challenges := func() []string {
		auth := httpadapter.New(w.keys, &httpadapter.Options{Realm: "shop", Carriers: carriers})
		return send(auth.Authenticate(whoami), "GET", "/").Header()["Www-Authenticate"]
	}
	require.Equal(t, []string{`Bearer realm="shop"`, `Basic realm="shop", charset="UTF-8"`}, challenges())
	carriers.BasicQuiet = true
	require.Equal(t, []string{`Bearer realm="shop"`}, challenges())

	h := httpadapter.New(w.keys, &httpadapter.Options{Carriers: carriers}).Authenticate(whoami)
	key := w.key()
	require.Equal(t, 200, send(h, "GET", "/", "Authorization", basic("api:"+key)).Code)
	out := send(h, "GET", "/", "Authorization", basic("root:"+key))
	require.Equal(t, 401, out.Code)
	require.Contains(t, out.Body.String(), `"Basic: the user name beside the key is not as agreed."`)
	require.NotContains(t, out.Body.String(), "root")
}

// The real server hands over what clients of both versions of HTTP send: HTTP/2 splits cookies into several fields.
func TestCarriersOverBothVersions(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	auth := httpadapter.New(w.keys, &httpadapter.Options{Carriers: everywhere})
	server := httptest.NewUnstartedServer(auth.Require(latchkey.Read, "dataset/orders")(whoami))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	h2 := server.Client()
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: h2.Transport.(*http.Transport).TLSClientConfig.RootCAs}} // which means HTTP/1.1
	defer transport.CloseIdleConnections()
	for want, client := range map[string]*http.Client{"HTTP/2.0": h2, "HTTP/1.1": {Transport: transport}} {
		for _, tt := range []struct {
			headers []string
			status  int
		}{
			{[]string{"x-api-key", key}, 200},
			{[]string{"Cookie", "a=b; key=" + key + "; c=d"}, 200},
			{[]string{"Cookie", "a=b", "Cookie", "key=" + key}, 200},
			{[]string{"Cookie", "key=" + key, "Cookie", "key=" + key}, 400},
			{[]string{"x-api-key", key, "x-api-key", key}, 400},
			{[]string{"X-API-Key", key, "X_API_Key", key}, 400},
			{[]string{"x-api-key", key + ", " + key}, 400},
			{[]string{"Authorization", basic(key + ":")}, 200},
			{[]string{"Authorization", basic(key + ":"), "X-API-Key", key}, 400},
			{[]string{"Cookie", "key=" + key, "Origin", "https://evil.example"}, 403},
			{[]string{"Cookie", "key=" + key, "Origin", server.URL}, 200},
		} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
			require.NoError(t, err)
			for i := 0; i < len(tt.headers); i += 2 {
				r.Header[tt.headers[i]] = append(r.Header[tt.headers[i]], tt.headers[i+1])
			}
			out, err := client.Do(r)
			require.NoError(t, err)
			require.NoError(t, out.Body.Close())
			require.Equal(t, want, out.Proto)
			require.Equal(t, tt.status, out.StatusCode, "%s %v", want, tt.headers)
		}
	}
}

// Bearer alone costs what it did before there were other carriers.
func TestCarriersAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{MaxStale: time.Minute})
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	require.NoError(t, err)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	all := everywhere
	all.Query = nil
	cors := &httpadapter.CORS{Origins: []string{"https://app.example.com"}, Credentials: true}
	for name, tt := range map[string]struct {
		opts    *httpadapter.Options
		headers []string
		most    float64
	}{
		"Bearer alone":  {nil, []string{"Authorization", "Bearer " + secret.Reveal()}, 3},
		"Bearer of all": {&httpadapter.Options{Carriers: all}, []string{"Authorization", "Bearer " + secret.Reveal()}, 5},
		"header":        {&httpadapter.Options{Carriers: all}, []string{"X-Api-Key", secret.Reveal()}, 5},
		"cookie":        {&httpadapter.Options{Carriers: all}, []string{"Cookie", "a=b; key=" + secret.Reveal()}, 6},
		"Basic":         {&httpadapter.Options{Carriers: all}, []string{"Authorization", basic(secret.Reveal() + ":")}, 7},
		"CORS": {&httpadapter.Options{Carriers: all, CORS: cors}, []string{"Authorization", "Bearer " + secret.Reveal(),
			"Origin", "https://app.example.com"}, 9},
	} {
		h := httpadapter.New(keys, tt.opts).Require(latchkey.Read, "dataset/orders")(nothing)
		r := httptest.NewRequest("GET", "/", nil)
		for i := 0; i < len(tt.headers); i += 2 {
			r.Header.Set(tt.headers[i], tt.headers[i+1])
		}
		w := discard{http.Header{}}
		h.ServeHTTP(w, r)
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { clear(w.h); h.ServeHTTP(w, r) }), tt.most, name)
	}
}
