package surfacetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
	"github.com/latchkey-go/latchkey/httpadapter/authzen"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/httpadapter/oauth"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	"github.com/latchkey-go/latchkey/memstore"
)

// countingStore counts the reads that are made for credentials.
type countingStore struct {
	latchkey.Store
	reads atomic.Int64
	wait  chan struct{} // look-ups wait until it is closed; nil: they do not wait
}

func (s *countingStore) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	s.reads.Add(1)
	if s.wait != nil {
		select {
		case <-s.wait:
		case <-ctx.Done():
			return latchkey.Found{}, errors.Join(latchkey.ErrUnavailable, ctx.Err())
		}
	}
	return s.Store.ByDigest(ctx, slot, digests...)
}

func (s *countingStore) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	s.reads.Add(1)
	return s.Store.Secrets(ctx, owner, id)
}

// surface is a handler, and where in a request it takes a token.
type surface struct {
	name    string
	handler http.Handler
	routes  []string
	carry   []carrier
}

// carrier puts a token into a request. It replaces what is there.
type carrier func(r *http.Request, token string)

func bearer(r *http.Request, token string) { r.Header.Set("Authorization", "Bearer "+token) }

func inHeader(name, before string) carrier {
	return func(r *http.Request, token string) { r.Header.Set(name, before+token) }
}

func inBasic(r *http.Request, token string) { r.SetBasicAuth(token, "") }

func inQuery(name string) carrier {
	return func(r *http.Request, token string) {
		r.URL.RawQuery = name + "=" + token
		r.RequestURI = r.URL.RequestURI()
	}
}

func inForm(name string) carrier {
	return func(r *http.Request, token string) {
		setBody(r, "application/x-www-form-urlencoded", name+"="+token)
	}
}

func inJSON(name string) carrier {
	return func(r *http.Request, token string) {
		setBody(r, "application/json", `{"`+name+`":"`+token+`"}`)
	}
}

func setBody(r *http.Request, kind, text string) {
	r.Header.Set("Content-Type", kind)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

// question makes a proxy's question of each request. What asks is this machine.
func question(ask http.Handler) http.Handler {
	const proxy = "127.0.0.1:1"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RemoteAddr != proxy { // else it was sent again
			if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
				r.Header.Set("X-Forwarded-For", from.Addr().String())
			}
			r.RemoteAddr = proxy
		}
		ask.ServeHTTP(w, r)
	})
}

// surfaces returns every HTTP surface of the module. The zero Rate is the default of each.
func surfaces(keys *latchkey.Manager, rate latchkey.Rate) []surface {
	acme := keys.For("acme")
	native := httpadapter.New(keys, &httpadapter.Options{AddressRate: rate,
		Carriers: httpadapter.Carriers{Bearer: true, Basic: httpadapter.BasicUser, Headers: []string{"X-API-Key"},
			Cookie: "key", Query: []string{"token"}},
		Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}})
	owned := httpadapter.New(keys, &httpadapter.Options{Owner: "acme", AddressRate: rate})
	authorize := cloudtables.Authorize(acme, &cloudtables.Options{AddressRate: rate})
	asked := httpadapter.New(keys, &httpadapter.Options{AddressRate: rate,
		Carriers: httpadapter.Carriers{Bearer: true, Headers: []string{"X-API-Key"}, Cookie: "key"},
		Proxies:  []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	return []surface{
		{"Authenticate", native.Authenticate(ok), []string{"/x"}, []carrier{bearer, inQuery("token"),
			inHeader("X-API-Key", ""), inHeader("Cookie", "key="), inBasic}},
		{"Require", owned.Require(latchkey.Read, "data/x")(ok), []string{"/x"}, []carrier{bearer}},
		{"RequireRows", native.RequireRows(latchkey.Read, "data/x")(ok), []string{"/x"}, []carrier{bearer}},
		{"forward", question(forward.New(asked, []forward.Route{
			{Pattern: "GET /x", Action: latchkey.Read, Resource: "data/x"},
			{Pattern: "POST /x", Action: latchkey.Read, Resource: "data/x", Rows: true, Meter: "m", Credits: 1},
		}, &forward.Options{From: forward.Envoy})), []string{"/x"}, []carrier{bearer, inHeader("X-API-Key", ""),
			inHeader("Cookie", "key=")}},
		{"Identify", native.Identify(ok), []string{"/x"}, []carrier{bearer, inQuery("token"), inHeader("X-API-Key", ""),
			inHeader("Cookie", "key="), inBasic}},
		{"api", api.Handler(owned, nil), []string{"/me", "/tokens", "/nowhere"}, []carrier{bearer}},
		{"apperate", apperate.Handler(acme, &apperate.Options{AddressRate: rate}, ok), []string{
			"/v1/stock/aapl/quote", "/v1/account/signed", "/v1/record/ACME/CARS",
			"/v1/data/ACME/CARS/" + strings.Repeat("x/", 2000), "/v1/account/usage"},
			[]carrier{inQuery("token"), inJSON("token")}},
		{"cloudtables", cloudtables.Handler(acme, &cloudtables.Options{AddressRate: rate}),
			[]string{"/io/api/1/access", "/api/1/access"}, []carrier{inQuery("key"), inForm("key"), inJSON("key")}},
		{"cloudtables.Authorize", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := authorize(r); err != nil {
				cloudtables.WriteError(w, r, err)
			}
		}), []string{"/api/1/dataset/1/data"},
			[]carrier{inQuery("key"), inQuery("token"), inQuery("apikey"), inForm("key"), inJSON("key")}},
		{"datocms", datocms.Handler(acme, &datocms.Options{Rate: rate}),
			[]string{"/access_tokens", "/roles/7", "/access_tokens/7/regenerate_token", "/nowhere"},
			[]carrier{bearer}},
		{"datocms.Delivery", datocms.Delivery(acme, &datocms.Options{Rate: rate})(ok), []string{"/", "/preview"},
			[]carrier{bearer}},
		{"webforce", webforce.Handler(acme, &webforce.Options{AddressRate: rate}), []string{"/api"},
			[]carrier{inQuery("auth_token"), inForm("auth_token")}},
		{"oauth", oauth.Handler(keys, &oauth.Options{AddressRate: rate, Issuer: "https://api.example.com",
			Scopes: map[string]latchkey.Permissions{"read": {latchkey.Grant(latchkey.Read).On("data/*")}}}),
			[]string{"/oauth/introspect", "/oauth/revoke"}, []carrier{inForm("client_secret")}},
		{"authzen", authzen.Handler(owned, &authzen.Options{URL: "https://pdp.example.com"}), []string{
			"/access/v1/evaluation", "/access/v1/evaluations", "/access/v1/search/subject"}, []carrier{bearer}},
		{"console", console.Handler(func(r *http.Request) (latchkey.Account, latchkey.Access, error) {
			secret, err := httpadapter.Carriers{Bearer: true}.Find(r)
			if err != nil {
				return acme, latchkey.Access{}, err
			}
			a, err := acme.Verify(r.Context(), latchkey.Presented{Secret: secret})
			return acme, a, err
		}, nil), []string{"/", "/new", "/token/7/rotate", "/role", "/nowhere"}, []carrier{bearer}},
	}
}

// forged returns token texts with correct checksums that no store under test knows.
func forged(t *testing.T, n int) []string {
	t.Helper()
	elsewhere := latchkey.New(memstore.New(nil), nil).For("elsewhere")
	texts := make([]string, n)
	for i := range texts {
		_, secret, err := elsewhere.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
		require.NoError(t, err)
		texts[i] = secret.Reveal()
	}
	return texts
}

const mebi = 1 << 20

// hostile are requests of up to a mebibyte that are expensive to parse.
var hostile = map[string]func(r *http.Request){
	"list": func(r *http.Request) {
		setBody(r, "application/json", `{"a":[`+strings.Repeat("0,", mebi/2)+`0]}`)
	},
	"nested": func(r *http.Request) {
		setBody(r, "application/json", `{"a":`+strings.Repeat(`[`, mebi/2)+strings.Repeat(`]`, mebi/2)+`}`)
	},
	"objects": func(r *http.Request) {
		setBody(r, "application/json", `[`+strings.Repeat(`{"a":{"b":1}},`, mebi/14)+`0]`)
	},
	"members": func(r *http.Request) {
		setBody(r, "application/vnd.api+json", `{`+strings.Repeat(`"\u0061bcd":1,`, mebi/14)+`"a":0}`)
	},
	"small members": func(r *http.Request) { // short enough to be searched for a token
		setBody(r, "application/json", `{`+strings.Repeat(`"\u0061":"\u0061",`, (60<<10)/18)+`"a":0}`)
	},
	"small objects": func(r *http.Request) {
		setBody(r, "application/json", `{"a":[`+strings.Repeat(`{"a":{"b":1}},`, (60<<10)/14)+`0]}`)
	},
	"unknown length": func(r *http.Request) {
		setBody(r, "application/json", `{"a":[`+strings.Repeat("0,", mebi/2)+`0]}`)
		r.ContentLength = -1
	},
	"form": func(r *http.Request) {
		setBody(r, "application/x-www-form-urlencoded", strings.Repeat("a%5B%5D=%61&", mebi/12))
	},
	"small form": func(r *http.Request) {
		setBody(r, "application/x-www-form-urlencoded", strings.Repeat("a%5B%5D=%61&", 999))
	},
	"form of fields": func(r *http.Request) {
		setBody(r, "application/x-www-form-urlencoded", strings.Repeat("a%3C=%3C%0D%0A%22&", 399))
	},
	"form of invisible characters": func(r *http.Request) {
		setBody(r, "application/x-www-form-urlencoded", "a="+strings.Repeat("%E2%80%8B", 5000))
	},
	"multipart": func(r *http.Request) {
		setBody(r, "multipart/form-data; boundary=x",
			strings.Repeat("--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n", mebi/52))
	},
	"query": func(r *http.Request) {
		r.URL.RawQuery = strings.Repeat("%61=%61&", mebi/8)
		r.RequestURI = r.URL.RequestURI()
	},
	"many tokens in the query": func(r *http.Request) {
		r.URL.RawQuery = strings.Repeat("token=%61&key=%61&auth_token=%61&", mebi/33)
		r.RequestURI = r.URL.RequestURI()
	},
	"headers": func(r *http.Request) {
		for i := range 10_000 {
			r.Header["X-"+strings.Repeat("a", i%90)+string(rune('a'+i%26))] = []string{"1", "2"}
		}
		r.Header["Accept"] = []string{strings.Repeat("a/b,", mebi/4)}
		r.Header["X-Forwarded-For"] = []string{strings.Repeat("127.0.0.1, ", mebi/11) + "127.0.0.1"}
	},
	"content type": func(r *http.Request) {
		kind := strings.Builder{}
		kind.WriteString("application/json")
		for i := range mebi / 12 {
			fmt.Fprintf(&kind, "; a%d=1", i)
		}
		setBody(r, kind.String(), `{"a":1}`)
	},
	"authorization": func(r *http.Request) {
		r.Header["Authorization"] = []string{"Bearer " + strings.Repeat("a", mebi)}
	},
	"authorization of many parts": func(r *http.Request) {
		r.Header["Authorization"] = []string{"IEX-HMAC-SHA256 Credential=" + strings.Repeat("a/", mebi/2)}
	},
	"cookies": func(r *http.Request) { r.Header["Cookie"] = []string{strings.Repeat("a=b; ", mebi/5)} },
}

// Requests without a valid token allocate little, whatever they hold: nothing is decoded before the caller is known.
func TestUnauthenticatedRequestsCostLittle(t *testing.T) {
	bad := forged(t, 1)[0]
	rate := latchkey.Rate{Count: 1000, Per: time.Millisecond, Burst: 1e6}
	all := surfaces(latchkey.New(memstore.New(nil), nil), rate)
	for name, make := range hostile {
		sent := httptest.NewRequest("GET", "/", nil)
		sent.Header.Set("Origin", "https://example.com") // else the console refuses at once
		make(sent)
		var text []byte
		if sent.Body != nil {
			var err error
			text, err = io.ReadAll(sent.Body)
			require.NoError(t, err)
		}
		for _, s := range all {
			for i, route := range s.routes {
				for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
					if i > 0 && method != "POST" && method != "GET" {
						continue
					}
					for _, token := range []string{"", "malformed", bad} {
						r := sentTo(sent, method, route)
						if token != "" && r.Header.Get("Authorization") == "" {
							s.carry[0](r, token)
						}
						text := text
						if r.Body != nil { // that in which the token is
							var err error
							text, err = io.ReadAll(r.Body)
							require.NoError(t, err)
						}
						w := httptest.NewRecorder()
						allocs := testing.AllocsPerRun(1, func() {
							if text != nil {
								r.Body = io.NopCloser(bytes.NewReader(text))
							}
							w.Body.Reset()
							s.handler.ServeHTTP(w, r)
						})
						assert.Less(t, allocs, 1000.0, "%s: %s %s: %s, token %q", s.name, method, route, name, token)
						assert.GreaterOrEqual(t, w.Code, 200)
					}
				}
			}
		}
	}
}

// sentTo returns a copy of a request to another route, without its body.
func sentTo(r *http.Request, method, route string) *http.Request {
	to := *r
	to.Method, to.Body, to.Header = method, nil, maps.Clone(r.Header)
	query := r.URL.RawQuery
	to.URL = httptest.NewRequest(method, route, nil).URL
	if query != "" {
		to.URL.RawQuery = query
	}
	to.RequestURI = to.URL.RequestURI()
	return &to
}

// Many forged tokens from one address cause no more store reads than the rate of refusals allows. Other addresses are
// not affected.
func TestForgedTokensCostFewReads(t *testing.T) {
	texts := forged(t, 100)
	rate := latchkey.Rate{Count: 1, Per: time.Hour, Burst: 9}
	for i, s := range surfaces(latchkey.New(memstore.New(nil), nil), rate) {
		if s.name == "console" {
			continue // the host authenticates callers of the console
		}
		for j := range s.carry {
			store := &countingStore{Store: memstore.New(nil)}
			s := surfaces(latchkey.New(store, nil), rate)[i]
			carry := s.carry[j]
			send := func(token, address string) int {
				r := httptest.NewRequest("POST", s.routes[0], nil)
				r.RemoteAddr = address
				carry(r, token)
				w := httptest.NewRecorder()
				s.handler.ServeHTTP(w, r)
				if strings.Contains(w.Body.String(), "Too many requests") { // WebForce's status is always 200
					return http.StatusTooManyRequests
				}
				return w.Code
			}
			limited := 0
			for j, text := range texts {
				if send(text, "[2001:db8::"+string("0123456789abcdef"[j%16])+"]:1") == http.StatusTooManyRequests {
					limited++
				}
			}
			assert.Equal(t, int64(10), store.reads.Load(), s.name)
			assert.Equal(t, 90, limited, s.name)
			store.reads.Store(0)
			elsewhere := send(texts[0], "[2001:db8:0:1::1]:1")
			assert.NotEqual(t, http.StatusTooManyRequests, elsewhere, s.name)
			assert.Equal(t, int64(1), store.reads.Load(), s.name)
		}
	}
}

// A caller who shares an address with an attacker is not limited: a token that was verified needs no look-up.
func TestKnownCallersPassWhileTheirAddressIsLimited(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	a := httpadapter.New(keys, &httpadapter.Options{AddressRate: latchkey.Rate{Count: 1, Per: time.Hour}})
	h := a.Authenticate(ok)
	send := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/", nil)
		bearer(r, token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, 200, send(secret.Reveal()).Code)
	texts := forged(t, 2)
	require.Equal(t, 401, send(texts[0]).Code)
	w := send(texts[1])
	require.Equal(t, 429, w.Code)
	require.Equal(t, "3600", w.Header().Get("Retry-After"))
	require.Empty(t, w.Header().Get("RateLimit"), "the limit is not that of a token")
	for range 10 {
		require.Equal(t, 200, send(secret.Reveal()).Code)
	}
}

// Concurrent look-ups count before their outcome is known. Successful ones are given back.
func TestLookUpsAtOnceKeepToTheRate(t *testing.T) {
	store := &countingStore{Store: memstore.New(nil), wait: make(chan struct{})}
	keys := latchkey.New(store, nil)
	var good []string
	for range 20 {
		_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
		require.NoError(t, err)
		good = append(good, secret.Reveal())
	}
	a := httpadapter.New(keys, &httpadapter.Options{AddressRate: latchkey.Rate{Count: 1, Per: time.Hour, Burst: 4}})
	h := a.Authenticate(ok)
	var codes sync.Map
	var all sync.WaitGroup
	send := func(token string) {
		all.Go(func() {
			r := httptest.NewRequest("GET", "/", nil)
			bearer(r, token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			codes.Store(token, w.Code)
		})
	}
	for _, token := range good {
		send(token)
	}
	close(store.wait)
	all.Wait()
	for _, token := range good { // more than the rate admits at once: the others waited
		code, _ := codes.Load(token)
		require.Equal(t, 200, code)
	}
	store.reads.Store(0)
	texts := forged(t, 100)
	for _, token := range texts {
		send(token)
	}
	all.Wait()
	require.Equal(t, int64(5), store.reads.Load())
	refused := map[any]int{}
	codes.Range(func(_, code any) bool { refused[code]++; return true })
	require.Equal(t, map[any]int{200: 20, 401: 5, 429: 95}, refused)
}

// A limited address is refused before a body is read to find a credential in it.
func TestLimitedAddressesBodiesAreNotRead(t *testing.T) {
	rate := latchkey.Rate{Count: 1, Per: time.Hour}
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	texts := forged(t, 1)
	for name, s := range map[string]surface{
		"apperate": {handler: apperate.Handler(acme, &apperate.Options{AddressRate: rate}, ok),
			routes: []string{"/v1/account/signed"}, carry: []carrier{inJSON("token")}},
		"cloudtables": {handler: cloudtables.Handler(acme, &cloudtables.Options{AddressRate: rate}),
			routes: []string{"/api/1/access"}, carry: []carrier{inForm("key")}},
		"webforce": {handler: webforce.Handler(acme, &webforce.Options{AddressRate: rate}),
			routes: []string{"/api"}, carry: []carrier{inForm("auth_token")}},
		"oauth": {handler: oauth.Handler(acme.Manager(), &oauth.Options{AddressRate: rate,
			Issuer: "https://api.example.com",
			Scopes: map[string]latchkey.Permissions{"read": {latchkey.Grant(latchkey.Read).On("data/*")}}}),
			routes: []string{"/oauth/introspect"}, carry: []carrier{inForm("client_secret")}},
	} {
		send := func() bool {
			read := 0
			r := httptest.NewRequest("POST", s.routes[0], nil)
			s.carry[0](r, texts[0])
			r.Body = spy{r.Body, &read}
			s.handler.ServeHTTP(httptest.NewRecorder(), r)
			return read > 0
		}
		require.True(t, send(), name)
		require.False(t, send(), name)
	}
}

type spy struct {
	io.ReadCloser
	read *int
}

func (s spy) Read(b []byte) (int, error) {
	n, err := s.ReadCloser.Read(b)
	*s.read += n
	return n, err
}

// Without a known caller, a body that is longer than one with a token may be is not read.
func TestLongUnauthenticatedBodiesAreNotRead(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	for _, s := range surfaces(keys, latchkey.Rate{}) {
		for _, said := range []bool{true, false} {
			r := httptest.NewRequest("POST", s.routes[len(s.routes)-1], nil)
			setBody(r, "application/json", `{"a":"`+strings.Repeat("a", mebi/2)+`"}`)
			if !said {
				r.ContentLength = -1
			}
			read := 0
			r.Body = spy{r.Body, &read}
			s.handler.ServeHTTP(httptest.NewRecorder(), r)
			if said {
				assert.Zero(t, read, s.name)
			} else {
				assert.LessOrEqual(t, read, 64<<10+1, s.name)
			}
		}
	}
}

// The rate of refusals limits the questions about session ids to the host, too.
func TestBadSessionIDsCostFewQuestions(t *testing.T) {
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	asked := 0
	h := webforce.Handler(acme, &webforce.Options{AddressRate: latchkey.Rate{Count: 1, Per: time.Hour, Burst: 9},
		Session: func(_ *http.Request, id string) (latchkey.Access, error) {
			asked++
			if id == "good" {
				return acme.Assume(latchkey.Client{ID: "7"}, nil)
			}
			return latchkey.Access{}, latchkey.ErrUnknownToken
		}})
	send := func(id string) {
		r := httptest.NewRequest("POST", "/api", nil)
		inQuery("auth_token")(r, id)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	for range 50 {
		send("good")
	}
	require.Equal(t, 50, asked)
	for range 50 {
		send("bad")
	}
	require.Equal(t, 60, asked)
}

// Bad signatures of a public token count, too.
func TestBadSignaturesCostFewReads(t *testing.T) {
	store := &countingStore{Store: memstore.New(nil)}
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	keys := latchkey.New(store, &latchkey.Options{Keyring: ring})
	spec, err := apperate.PublishableSpec("page", apperate.Grant{})
	require.NoError(t, err)
	_, secret, err := keys.For("acme").Issue(t.Context(), spec)
	require.NoError(t, err)
	rate := latchkey.Rate{Count: 1, Per: time.Hour, Burst: 99}
	h := apperate.Handler(keys.For("acme"), &apperate.Options{AddressRate: rate}, ok)
	now := time.Now().UTC()
	for range 300 {
		r := httptest.NewRequest("GET", "/v1/stock/aapl/quote?token="+url.QueryEscape(secret.Reveal()), nil)
		r.Header.Set("X-Iex-Date", now.Format("20060102T150405Z"))
		r.Header.Set("Authorization", "IEX-HMAC-SHA256 Credential="+secret.Reveal()+"/"+now.Format("20060102")+
			"/iex_request, SignedHeaders=host;x-iex-date, Signature="+strings.Repeat("0", 64))
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	require.LessOrEqual(t, store.reads.Load(), int64(200))
}
