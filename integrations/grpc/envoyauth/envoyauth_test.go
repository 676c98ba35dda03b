package envoyauth_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/integrations/grpc/envoyauth"
	"github.com/latchkey-go/latchkey/memstore"
)

type world struct {
	t    *testing.T
	keys *latchkey.Manager
	ask  authv3.AuthorizationClient
}

var here = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}

func newWorld(t *testing.T, proxies []netip.Prefix, opts *envoyauth.Options) *world {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, &httpadapter.Options{Proxies: proxies})
	return &world{t, keys, serve(t, "tcp", forward.New(auth, []forward.Route{
		{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"},
		{Pattern: "DELETE /data/{id}", Action: latchkey.Delete, Resource: "dataset/{id}"},
		{Pattern: "GET /rows", Action: latchkey.Read, Resource: "dataset/orders", Rows: true},
		{Pattern: "GET /paid", Action: latchkey.Read, Resource: "dataset/orders", Meter: "api", Credits: 1},
	}, &forward.Options{From: forward.Envoy}), opts)}
}

// serve serves a handler as Envoy finds it, over a real connection.
func serve(t *testing.T, network string, ask http.Handler, opts *envoyauth.Options) authv3.AuthorizationClient {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/s"
	}
	listener, err := net.Listen(network, address)
	require.NoError(t, err)
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, envoyauth.New(ask, opts))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	target := listener.Addr().String()
	if network == "unix" {
		target = "unix:" + target
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return authv3.NewAuthorizationClient(conn)
}

func (w *world) key(s latchkey.Settings) string {
	_, secret, err := w.keys.For("acme").Issue(w.t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: s.Permissions, Restrictions: s.Restrictions, Limits: s.Limits})
	require.NoError(w.t, err)
	return secret.Reveal()
}

// question is what Envoy asks about a request of 203.0.113.9.
func question(method, path string, headers ...string) *authv3.CheckRequest {
	h := map[string]string{":method": method, ":path": path, ":authority": "shop.example", ":scheme": "https",
		"user-agent": "curl", "x-request-id": "1"}
	for i := 0; i < len(headers); i += 2 {
		h[headers[i]] = headers[i+1]
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "203.0.113.9"}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: method, Path: path, Host: "shop.example", Scheme: "https", Protocol: "HTTP/2", Headers: h}},
	}}
}

// check asks, and returns the status: 200 if the request may pass.
func check(t *testing.T, ask authv3.AuthorizationClient, q *authv3.CheckRequest) (int, *authv3.CheckResponse) {
	t.Helper()
	out, err := ask.Check(t.Context(), q)
	require.NoError(t, err)
	if out.GetOkResponse() != nil {
		require.Equal(t, int32(codes.OK), out.GetStatus().GetCode())
		require.Nil(t, out.GetDeniedResponse())
		return http.StatusOK, out
	}
	require.NotEqual(t, int32(codes.OK), out.GetStatus().GetCode())
	require.NotNil(t, out.GetDeniedResponse())
	return int(out.GetDeniedResponse().GetStatus().GetCode()), out
}

func values(options []*corev3.HeaderValueOption) map[string]string {
	m := map[string]string{}
	for _, o := range options {
		m[o.GetHeader().GetKey()] = o.GetHeader().GetValue()
		if o.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			m[o.GetHeader().GetKey()] = "appended"
		}
	}
	return m
}

func TestCheck(t *testing.T) {
	w := newWorld(t, here, &envoyauth.Options{Remove: []string{"Authorization"}})
	key := w.key(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")},
		Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1000, Per: time.Hour, Burst: 99}}})
	bearer := []string{"authorization", "Bearer " + key}

	status, out := check(t, w.ask, question("GET", "/data/7?x=1", bearer...))
	require.Equal(t, 200, status)
	got := values(out.GetOkResponse().GetHeaders())
	require.Equal(t, "acme", got["latchkey-owner"])
	require.Equal(t, "api_key", got["latchkey-kind"])
	require.Equal(t, "true", got["latchkey-rows"])
	require.Len(t, got, 6, "each of them, so that none is the caller's")
	for name := range got {
		require.NotContains(t, out.GetOkResponse().GetHeadersToRemove(), name)
		require.Contains(t, out.GetOkResponse().GetHeadersToRemove(), strings.ReplaceAll(name, "-", "_"))
	}
	require.Contains(t, out.GetOkResponse().GetHeadersToRemove(), "authorization")
	require.Contains(t, values(out.GetOkResponse().GetResponseHeadersToAdd()), "ratelimit")

	status, out = check(t, w.ask, question("GET", "/data/7"))
	require.Equal(t, 401, status)
	require.Equal(t, int32(codes.Unauthenticated), out.GetStatus().GetCode())
	got = values(out.GetDeniedResponse().GetHeaders())
	require.Equal(t, `Bearer realm="latchkey"`, got["www-authenticate"])
	require.Equal(t, "application/problem+json", got["content-type"])
	require.Contains(t, out.GetDeniedResponse().GetBody(), "no-credential")

	status, out = check(t, w.ask, question("DELETE", "/data/7", bearer...))
	require.Equal(t, 403, status)
	require.Equal(t, int32(codes.PermissionDenied), out.GetStatus().GetCode())
	for _, q := range []*authv3.CheckRequest{question("GET", "/other", bearer...), question("HEAD", "/data/7", bearer...),
		question("OPTIONS", "*", bearer...), question("CONNECT", "", bearer...)} {
		status, _ = check(t, w.ask, q)
		require.GreaterOrEqual(t, status, 400)
	}
	none := w.key(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")},
		Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "api", Amount: 0, Per: latchkey.Day}}}})
	status, out = check(t, w.ask, question("GET", "/paid", "authorization", "Bearer "+none))
	require.Equal(t, 402, status)
	require.Equal(t, int32(codes.ResourceExhausted), out.GetStatus().GetCode())

	some := w.key(latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "Küste"))}})
	status, out = check(t, w.ask, question("GET", "/rows", "authorization", "Bearer "+some))
	require.Equal(t, 200, status)
	require.Contains(t, values(out.GetOkResponse().GetHeaders())["latchkey-rows"], "region")
}

// What is ambiguous, or contradicts itself, is refused. Each case changes one thing about a question that passes.
func TestAmbiguous(t *testing.T) {
	w := newWorld(t, here, nil)
	key := w.key(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	ask := func(change func(*authv3.AttributeContext_HttpRequest)) int {
		q := question("GET", "/data/7", "authorization", "Bearer "+key)
		if change != nil {
			change(q.GetAttributes().GetRequest().GetHttp())
		}
		status, _ := check(t, w.ask, q)
		return status
	}
	require.Equal(t, 200, ask(nil))
	for _, path := range []string{"/data/7#x", "/data/7%23", "/data/../data/7", "/data/%2e%2e/data/7", "/data//7",
		"//data/7", "/data/7/..", "/data%2F7", "/data/a%2Fb", "/data/a%5cb", `/data\7`, "/data/7;x", "/data/7%00",
		"/data/%37",
		"http://shop.example/data/7", "data/7", "", "/data/7?_method=DELETE", "/data/7%252f"} {
		require.Equal(t, 400, ask(func(of *authv3.AttributeContext_HttpRequest) {
			of.Path, of.Headers[":path"] = path, path
		}), path)
	}
	for name, change := range map[string]func(*authv3.AttributeContext_HttpRequest){
		"fragment":       func(of *authv3.AttributeContext_HttpRequest) { of.Fragment = "x" },
		"query":          func(of *authv3.AttributeContext_HttpRequest) { of.Query = "x" },
		"another path":   func(of *authv3.AttributeContext_HttpRequest) { of.Headers[":path"] = "/data/8" },
		"another method": func(of *authv3.AttributeContext_HttpRequest) { of.Headers[":method"] = "DELETE" },
		"another host":   func(of *authv3.AttributeContext_HttpRequest) { of.Headers[":authority"] = "other.example" },
		"a host beside":  func(of *authv3.AttributeContext_HttpRequest) { of.Headers["host"] = "other.example" },
		"a line end":     func(of *authv3.AttributeContext_HttpRequest) { of.Headers["x-a"] = "b\r\nlatchkey-owner: x" },
		"a capital":      func(of *authv3.AttributeContext_HttpRequest) { of.Headers["X-A"] = "b" },
		"no name":        func(of *authv3.AttributeContext_HttpRequest) { of.Headers[""] = "b" },
		"two forms": func(of *authv3.AttributeContext_HttpRequest) {
			of.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "x-a", Value: "b"}}}
		},
		"two credentials": func(of *authv3.AttributeContext_HttpRequest) { of.Headers["authorization"] += ",Bearer " + key },
		"another method by a header": func(of *authv3.AttributeContext_HttpRequest) {
			of.Headers["x-http-method-override"] = "DELETE"
		},
		"a forged identity": func(of *authv3.AttributeContext_HttpRequest) { of.Headers["latchkey-owner"] = "other" },
		"a forged identity, spelled otherwise": func(of *authv3.AttributeContext_HttpRequest) {
			of.Headers["latchkey_client"] = "other"
		},
	} {
		require.Equal(t, 400, ask(change), name)
	}

	// With encode_raw_headers they come as a list.
	raw := func(headers ...*corev3.HeaderValue) int {
		return ask(func(of *authv3.AttributeContext_HttpRequest) {
			of.Headers = nil
			of.HeaderMap = &corev3.HeaderMap{Headers: append(headers,
				&corev3.HeaderValue{Key: ":path", RawValue: []byte("/data/7")})}
		})
	}
	credential := &corev3.HeaderValue{Key: "authorization", RawValue: []byte("Bearer " + key)}
	require.Equal(t, 200, raw(credential))
	require.Equal(t, 400, raw(credential, credential), "metadata twice")
	require.Equal(t, 400, raw(credential, &corev3.HeaderValue{Key: "x-a", Value: "b", RawValue: []byte("c")}))
	require.Equal(t, 401, raw())

	status, _ := check(t, w.ask, &authv3.CheckRequest{})
	require.Equal(t, 400, status)
}

// The client is who Envoy saw; what the request claims counts only behind one of the host's own proxies.
func TestAddresses(t *testing.T) {
	w := newWorld(t, here, nil)
	key := w.key(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")},
		Restrictions: latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")}}})
	ask := func(source string, headers ...string) int {
		q := question("GET", "/data/7", append(headers, "authorization", "Bearer "+key)...)
		if source == "" {
			q.Attributes.Source = nil
		} else {
			q.GetAttributes().GetSource().GetAddress().GetSocketAddress().Address = source
		}
		status, _ := check(t, w.ask, q)
		return status
	}
	require.Equal(t, 200, ask("203.0.113.9"))
	require.Equal(t, 200, ask("203.0.113.9", "x-forwarded-for", "198.51.100.1"))
	require.Equal(t, 200, ask("203.0.113.9", "x-forwarded-for", "198.51.100.1,203.0.113.9"), "use_remote_address")
	require.Equal(t, 401, ask("198.51.100.1", "x-forwarded-for", "203.0.113.9"), "a claim of the caller's")
	require.Equal(t, 200, ask("192.0.2.1", "x-forwarded-for", "203.0.113.9"), "a proxy before Envoy")
	require.Equal(t, 401, ask("192.0.2.1", "x-forwarded-for", "198.51.100.1"))
	require.Equal(t, 401, ask("", "x-forwarded-for", "203.0.113.9"), "Envoy did not see it")
	require.Equal(t, 400, ask("/run/socket", "x-forwarded-for", "203.0.113.9"))
	require.Equal(t, 400, ask("203.0.113.9", "x_forwarded_for", "203.0.113.9"))

	// Only the host's own Envoy is believed.
	foreign := newWorld(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, nil)
	open := foreign.key(latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*")}})
	status, _ := check(t, foreign.ask, question("GET", "/data/7", "authorization", "Bearer "+open))
	require.Equal(t, 403, status)
}

func TestUnixSocket(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	for proxy, want := range map[string]int{"127.0.0.1/32": 200, "192.0.2.0/24": 403} {
		auth := httpadapter.New(keys, &httpadapter.Options{Proxies: []netip.Prefix{netip.MustParsePrefix(proxy)}})
		w := &world{t, keys, serve(t, "unix", forward.New(auth, []forward.Route{
			{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"}},
			&forward.Options{From: forward.Envoy}), nil)}
		key := w.key(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
		status, _ := check(t, w.ask, question("GET", "/data/7", "authorization", "Bearer "+key))
		require.Equal(t, want, status)
	}
}

// Nothing but a 200 is leave, and nothing is an error of gRPC, which Envoy may be told to take for leave.
func TestHandlers(t *testing.T) {
	var log bytes.Buffer
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int
	}{
		"panics":    {func(http.ResponseWriter, *http.Request) { panic("secret") }, 500},
		"redirects": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, 403},
		"creates":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, 403},
		"no status": {func(http.ResponseWriter, *http.Request) {}, 403},
		"odd":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(999) }, 403},
		"no UTF-8": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-A", "\xff")
			w.WriteHeader(418)
			_, _ = io.WriteString(w, "\xff")
		}, 418},
		"down":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503},
		"passes": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(100); w.WriteHeader(200) }, 200},
	} {
		ask := serve(t, "tcp", c.handler, &envoyauth.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		status, out := check(t, ask, question("GET", "/"))
		require.Equal(t, c.status, status, name)
		if name == "passes" { // a handler that sets no identity: no caller may forge one
			require.Contains(t, out.GetOkResponse().GetHeadersToRemove(), "latchkey-owner")
		}
		if name == "redirects" {
			require.Empty(t, out.GetDeniedResponse().GetBody())
		}
	}
	require.Contains(t, log.String(), "panicked")
	for _, bad := range []func(){
		func() { envoyauth.New(nil, nil) },
		func() { envoyauth.New(http.NotFoundHandler(), &envoyauth.Options{Headers: "Latchkey"}) },
		func() { envoyauth.New(http.NotFoundHandler(), &envoyauth.Options{Headers: "-"}) },
		func() { envoyauth.New(http.NotFoundHandler(), &envoyauth.Options{Remove: []string{"host"}}) },
		func() { envoyauth.New(http.NotFoundHandler(), &envoyauth.Options{Remove: []string{"latchkey_owner"}}) },
		func() { envoyauth.New(http.NotFoundHandler(), &envoyauth.Options{Remove: []string{":path"}}) },
	} {
		require.Panics(t, bad)
	}
}

// FuzzCheck: whatever the question is, there is an answer that can be sent, and no leave without a credential.
func FuzzCheck(f *testing.F) {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, &httpadapter.Options{Proxies: here})
	server := envoyauth.New(forward.New(auth, []forward.Route{
		{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"}},
		&forward.Options{From: forward.Envoy}), nil)
	f.Add("GET", "/data/7", "shop.example", "authorization", "Bearer x", "127.0.0.1")
	f.Add("GET", "/data/%2e%2e", "", ":path", "", "")
	f.Fuzz(func(t *testing.T, method, path, host, name, value, source string) {
		q := question(method, path, name, value)
		q.GetAttributes().GetRequest().GetHttp().Host = host
		q.GetAttributes().GetSource().GetAddress().GetSocketAddress().Address = source
		out, err := server.Check(context.Background(), q)
		require.NoError(t, err)
		require.Nil(t, out.GetOkResponse())
		_, err = proto.Marshal(out)
		require.NoError(t, err)
	})
}
