package proxies

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// reply is what a client got.
type reply struct {
	status int
	body   string
	header http.Header
	proto  int
}

// client sends requests to a proxy, with connections that are kept.
type client struct {
	p    *proxy
	http *http.Client
	addr string
}

func (p *proxy) client(t testing.TB, h2 bool) *client {
	transport := &http.Transport{DisableCompression: true}
	c := &client{p: p, addr: p.addr, http: &http.Client{Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if h2 {
		c.addr = p.h2
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

// do sends a request, and returns the reply and what the backend served of it.
func (c *client) do(method, target, key string, headers ...string) (reply, []served) {
	t := c.p.t
	t.Helper()
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("the body of the request")
	}
	r, err := http.NewRequest(method, "http://"+c.addr+target, body)
	require.NoError(t, err)
	id := nextProbe()
	r.Header.Set(probe, id)
	if len(c.p.carriers.Headers) == 0 { // otherwise it is read
		r.Header.Set("X-Api-Key", "of another program")
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	out, err := c.http.Do(r)
	require.NoError(t, err)
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	return reply{out.StatusCode, string(b), out.Header, out.ProtoMajor}, c.p.reached(id)
}

// refused requires that a request is answered with one of the statuses, and never reaches the backend.
func (c *client) refused(t *testing.T, why, method, target, key string, statuses ...int) reply {
	t.Helper()
	out, reached := c.do(method, target, key)
	require.Contains(t, statuses, out.status, "%s: %s", why, out.body)
	require.Empty(t, reached, why)
	require.NotContains(t, out.body, "served", why)
	return out
}

// passes requires that the backend serves a request as it was sent.
func (c *client) passes(t *testing.T, why, method, target, key string) served {
	t.Helper()
	out, reached := c.do(method, target, key)
	require.Equal(t, 200, out.status, "%s: %s", why, out.body)
	require.Equal(t, "served "+method+" "+target, out.body, why)
	require.Len(t, reached, 1, why)
	return reached[0]
}

// TestMatrix: what a caller gets, before each proxy, on connections that are kept.
func TestMatrix(t *testing.T) {
	onProxies(t, func(t *testing.T, p *proxy) {
		for _, h2 := range []bool{false, true} {
			t.Run(map[bool]string{false: "h1", true: "h2"}[h2], func(t *testing.T) {
				defer func(outer testing.TB) { p.t = outer }(p.t)
				p.t = t
				matrix(t, p, p.client(t, h2), h2)
			})
		}
	})
}

func matrix(t *testing.T, p *proxy, c *client, h2 bool) {
	bg := context.Background()
	id, key := p.issue(latchkey.Settings{})
	out, _ := c.do("GET", "/data/orders", key)
	require.Equal(t, map[bool]int{false: 1, true: 2}[h2], out.proto)

	s := c.passes(t, "allowed", "GET", "/data/orders", key)
	require.Equal(t, "acme", s.get("latchkey-owner"))
	require.Equal(t, id, s.get("latchkey-token"))
	require.Equal(t, "api_key", s.get("latchkey-kind"))
	require.Equal(t, "true", s.get("latchkey-rows"))
	require.Empty(t, s.get("authorization"), "the backend sees no key")
	require.Empty(t, s.get("x-api-key"), "the backend sees no key")
	c.passes(t, "a query and escapes", "GET", "/data/%C3%B6%20x?a=b&c=%2F", key)
	s = c.passes(t, "some rows", "GET", "/rows/clients", key)
	require.Equal(t, `{"field":"region","op":"=","value":"EU"}`, s.get("latchkey-rows"))

	_, writes := p.issue(latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Create).On("dataset/*")}})
	s = c.passes(t, "a body", "POST", "/data/orders", writes)
	require.Equal(t, "the body of the request", s.body)

	c.refused(t, "denied", "GET", "/data/payroll", key, 403)
	c.refused(t, "some rows only", "GET", "/data/clients", key, 403)
	c.refused(t, "an action it lacks", "POST", "/data/orders", key, 403)
	c.refused(t, "an action it lacks", "DELETE", "/data/orders", key, 403)
	c.refused(t, "HEAD is no GET", "HEAD", "/data/orders", key, 403)
	c.refused(t, "unmatched", "GET", "/other", key, 403)
	c.refused(t, "unmatched", "GET", "/data/orders/", key, 403)
	out = c.refused(t, "no key", "GET", "/data/orders", "", 401)
	require.Equal(t, []string{`Bearer realm="latchkey"`}, out.header["Www-Authenticate"])
	out = c.refused(t, "unknown key", "GET", "/data/orders", "rubbish", 401)
	require.Equal(t, []string{`Bearer realm="latchkey", error="invalid_token"`}, out.header["Www-Authenticate"])
	out = c.refused(t, "a path with two meanings", "GET", "/data/a%2Fb", key, 400)
	require.Contains(t, out.body, "escapes a character that readers take differently")
	require.Contains(t, out.header.Get("Content-Type"), "application/problem+json")

	_, expired := p.issue(latchkey.Settings{Validity: latchkey.Validity{NotAfter: p.now().Add(time.Minute)}})
	c.passes(t, "not yet expired", "GET", "/data/orders", expired)
	p.later.Add(int64(2 * time.Minute))
	c.refused(t, "expired", "GET", "/data/orders", expired, 401)

	for within, want := range map[string]int{"127.0.0.0/8": 200, "203.0.113.0/24": 401} {
		_, bound := p.issue(latchkey.Settings{Restrictions: latchkey.Restrictions{
			Addresses: []netip.Prefix{netip.MustParsePrefix(within)}}})
		out, reached := c.do("GET", "/data/orders", bound, "X-Forwarded-For", "203.0.113.9", "X-Real-Ip", "203.0.113.9",
			"Forwarded", "for=203.0.113.9")
		require.Equal(t, want, out.status, "the address is the caller's, whatever it claims")
		require.Equal(t, want == 200, len(reached) == 1)
	}

	_, limited := p.issue(latchkey.Settings{Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}})
	c.passes(t, "within the rate", "GET", "/data/orders", limited)
	out = c.refused(t, "beyond the rate", "GET", "/data/orders", limited, 429)
	require.NotEmpty(t, out.header.Get("Retry-After"))
	require.Contains(t, out.body, "rate-limited")

	for per, want := range map[latchkey.Period]int{latchkey.Forever: 402, latchkey.Month: 429} {
		_, metered := p.issue(latchkey.Settings{Limits: latchkey.Limits{Quotas: []latchkey.Quota{
			{Meter: "api", Amount: 2, Per: per}}}})
		for range 2 { // a request costs once
			c.passes(t, "within the quota", "GET", "/cost/orders", metered)
		}
		out = c.refused(t, "beyond the quota", "GET", "/cost/orders", metered, want)
		require.Contains(t, out.body, "over-limit")
		require.Equal(t, want == 429, out.header.Get("Retry-After") != "")
	}

	require.NoError(t, p.account.Revoke(bg, id, "leaked"))
	c.refused(t, "the next request after the revocation", "GET", "/data/orders", key, 401)

	_, key = p.issue(latchkey.Settings{})
	c.passes(t, "another key", "GET", "/data/orders", key)
	_, cold := p.issue(latchkey.Settings{})
	p.store.down.Store(true)
	for _, k := range []string{key, cold} {
		out = c.refused(t, "the store is down", "GET", "/data/orders", k, 503)
		require.Equal(t, "1", out.header.Get("Retry-After"))
	}
	p.store.down.Store(false)
	c.passes(t, "the store is back", "GET", "/data/orders", cold)

	require.NoError(t, p.auth.Close())
	c.refused(t, "the server of latchkey is down", "GET", "/data/orders", key, 500, 502, 503, 504)
	p.startAuth()
	harness.Eventually(t, "the server of latchkey is back", func() bool {
		out, _ := c.do("GET", "/data/orders", key)
		return out.status == 200
	})
}

// TestAnswersThatAreNotLatchkeys: a proxy passes nothing whose question another server answered with anything but a
// success.
func TestAnswersThatAreNotLatchkeys(t *testing.T) {
	onRealProxies(t, func(t *testing.T, p *proxy) {
		_, key := p.issue(latchkey.Settings{})
		c := p.client(t, false)
		c.passes(t, "latchkey", "GET", "/data/orders", key)
		require.NoError(t, p.auth.Close())
		for _, status := range []int{302, 304, 400, 401, 402, 403, 404, 418, 429, 500, 502, 503, 504} {
			s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/data/orders")
				w.WriteHeader(status)
			})}
			go s.Serve(p.listen())
			out, reached := c.do("GET", "/data/orders", key)
			require.Empty(t, reached, status)
			require.GreaterOrEqual(t, out.status, 300, status)
			require.NoError(t, s.Close())
		}
	})
}
