package proxies

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var identityHeaders = []string{"Latchkey-Owner", "Latchkey-Token", "Latchkey-Kind", "Latchkey-Client", "Latchkey-Roles",
	"Latchkey-Rows"}

// hopHeaders are those of a connection (RFC 9110 §7.6.1).
var hopHeaders = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Proxy-Connection"}

// asking is a client that follows no redirect, as both proxies.
var asking = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// startContract serves requests as a proxy does that asks with ask.
func startContract(w *world, p *proxy, ask func(r *http.Request) *http.Request, pass func(r *http.Request,
	a http.Header)) {
	target := &url.URL{Scheme: "http", Host: w.backend.Addr().String()}
	transport := &http.Transport{DisableCompression: true}
	w.t.Cleanup(transport.CloseIdleConnections)
	onward := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	}}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		q := ask(r)
		a, err := asking.Do(q)
		if err != nil {
			out.WriteHeader(http.StatusInternalServerError)
			return
		}
		defer a.Body.Close()
		if a.StatusCode != http.StatusOK {
			for name, values := range a.Header {
				out.Header()[name] = values
			}
			out.WriteHeader(a.StatusCode)
			io.Copy(out, a.Body)
			return
		}
		pass(r, a.Header)
		r.Header.Del("Authorization")
		r.Header.Del("X-Api-Key")
		onward.ServeHTTP(out, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	w.t.Cleanup(s.Close)
	p.addr = s.Listener.Addr().String()
	p.h2 = p.addr
}

// startTraefikContract asks as Traefik's documentation of ForwardAuth says: GET to the address, with the headers of the
// request but those of the connection, and with X-Forwarded-Method, -Proto, -Host, -Uri and -For, which are its own
// unless trustForwardHeader is set. Any 2xx passes, and authResponseHeaders replace those of the request. Whatever else
// is the reply.
func startTraefikContract(w *world, p *proxy) {
	startContract(w, p, func(r *http.Request) *http.Request {
		q, err := http.NewRequestWithContext(r.Context(), "GET", "http://"+w.authAt+"/auth", nil)
		if err != nil {
			panic(err)
		}
		q.Header = r.Header.Clone()
		for _, name := range hopHeaders {
			q.Header.Del(name)
		}
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		q.Header.Set("X-Forwarded-For", client)
		q.Header.Set("X-Forwarded-Method", r.Method)
		q.Header.Set("X-Forwarded-Proto", "http")
		q.Header.Set("X-Forwarded-Host", r.Host)
		q.Header.Set("X-Forwarded-Uri", r.URL.RequestURI())
		return q
	}, func(r *http.Request, a http.Header) {
		for _, name := range identityHeaders {
			r.Header.Del(name)
			if len(a[name]) > 0 {
				r.Header[name] = a[name]
			}
		}
	})
}

// after returns what follows a mark in a text.
func after(t testing.TB, text, mark string) string {
	_, rest, ok := strings.Cut(text, mark)
	require.True(t, ok, mark)
	return rest
}

// startEnvoyContract asks as Envoy's documentation of the HTTP service of ext_authz says: with the method, the host and
// the target of the request, behind path_prefix, Content-Length 0, and the headers in allowed_headers. Only 200 passes,
// and allowed_upstream_headers that the answer has replace those of the request. Envoy appends its own address to
// X-Forwarded-For.
func startEnvoyContract(w *world, p *proxy) {
	text, err := os.ReadFile("../../httpadapter/forward/examples/envoy/http_filters.yaml")
	require.NoError(w.t, err)
	section, _, _ := strings.Cut(after(w.t, string(text), "\n      allowed_headers:\n"), "\n      http_service:")
	exact, prefix := map[string]bool{strings.ToLower(probe): true}, []string(nil)
	for line := range strings.SplitSeq(section, "\n") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- exact: "); ok {
			exact[name] = true
		} else if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- prefix: "); ok {
			prefix = append(prefix, name)
		}
	}
	require.True(w.t, exact["authorization"])
	allowed := func(name string) bool {
		name = strings.ToLower(name)
		return exact[name] || slices.ContainsFunc(prefix, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	startContract(w, p, func(r *http.Request) *http.Request {
		q, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+w.authAt+"/", nil)
		if err != nil {
			panic(err)
		}
		q.URL.Path, q.URL.RawPath = "/auth"+r.URL.Path, "/auth"+r.URL.EscapedPath()
		q.URL.RawQuery, q.URL.ForceQuery = r.URL.RawQuery, r.URL.ForceQuery
		q.Host = r.Host
		for name, values := range r.Header {
			if allowed(name) {
				q.Header[name] = values
			}
		}
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		q.Header.Set("X-Forwarded-For", client+",127.0.0.1")
		q.Header.Set("X-Envoy-Internal", "true")
		return q
	}, func(r *http.Request, a http.Header) {
		for _, name := range identityHeaders {
			if len(a[name]) > 0 {
				r.Header[name] = a[name]
			}
		}
	})
}
