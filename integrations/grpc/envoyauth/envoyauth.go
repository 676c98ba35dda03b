// Package envoyauth answers Envoy's filter ext_authz over gRPC: it is a server of envoy.service.auth.v3.Authorization.
//
// The decision is that of package httpadapter/forward, with the same table of routes, for a proxy that asks over gRPC:
//
//	auth := httpadapter.New(keys, &httpadapter.Options{Proxies: proxies})
//	ask := forward.New(auth, routes, &forward.Options{From: forward.Envoy})
//	authv3.RegisterAuthorizationServer(server, envoyauth.New(ask, nil))
//
// # The question
//
// A CheckRequest becomes the request that Envoy has received: its method, target, host and headers. What Envoy says is
// believed only if the connection comes from one of the Adapter's Proxies. A connection without a network address, as
// over a Unix socket, counts as 127.0.0.1. The client's address is the one that Envoy saw, source.address. If that is
// one of the Proxies too, the header x-forwarded-for says where the request came from: see [httpadapter.ClientAddr].
//
// What package forward refuses is refused here: ambiguous paths, two spellings of a header, headers that override the
// method. A CheckRequest is refused with 400, too, if it contradicts itself: if it has a fragment, or a query beside
// the target, pseudo-headers that differ from the attributes, headers in two forms, or a name that no header of HTTP/2
// has.
//
// # The reply
//
// Every reply is a CheckResponse, and never an error of gRPC, which failure_mode_allow would take for leave. To let a
// request pass, it sets the identity headers in the request to the backend, whatever the caller sent, and removes other
// spellings of them. RateLimit fields go to the client. A refusal has the status, the headers and the body that the
// Adapter wrote.
package envoyauth

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
)

// Options configure a [Server]. The zero value, and nil, are ready to use.
type Options struct {
	// Headers is what the names of the identity headers begin with: that of forward.Options. "": "Latchkey-".
	Headers string

	// Remove are headers that the backend must not see, such as "authorization" and "x-api-key": the credential, once it
	// was checked. Nil: none.
	Remove []string

	// Logger receives a line for a panic of the handler, which is answered 500. Nil: nothing is logged.
	Logger *slog.Logger
}

// Server implements the service envoy.service.auth.v3.Authorization. Safe for concurrent use.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	ask    http.Handler
	opts   Options
	prefix string   // of the identity headers, canonical
	remove []string // in each reply
}

// identities are the ends of the names of the identity headers of package forward.
var identities = []string{"Owner", "Token", "Kind", "Client", "Roles", "Rows"}

// New returns a Server that asks a handler of forward.New, with From: forward.Envoy and no PathPrefix. Nil options are
// ready to use. It panics if the handler is nil or the options are invalid.
func New(ask http.Handler, opts *Options) *Server {
	if ask == nil {
		panic("envoyauth: New needs a handler: forward.New makes it")
	}
	s := &Server{ask: ask}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Headers == "" {
		s.opts.Headers = "Latchkey-"
	}
	s.prefix = textproto.CanonicalMIMEHeaderKey(s.opts.Headers)
	if len(s.prefix) < 2 || !strings.HasSuffix(s.prefix, "-") || !isName(strings.ToLower(s.prefix)) {
		panic(fmt.Sprintf("envoyauth: Options.Headers %q: use that of forward.Options", s.opts.Headers))
	}
	for _, name := range s.opts.Remove {
		lower := strings.ToLower(name)
		if !isName(lower) || lower == "host" || s.isIdentity(lower) {
			panic(fmt.Sprintf("envoyauth: Options.Remove: %q cannot be removed", name))
		}
		s.remove = append(s.remove, lower)
	}
	// Backends that map headers to variables take these for the identity headers.
	for _, end := range identities {
		name := strings.ToLower(s.prefix + end)
		for _, other := range []string{"_", "."} {
			s.remove = append(s.remove, strings.ReplaceAll(name, "-", other))
		}
	}
	return s
}

// Check implements the service. Its error is always nil.
func (s *Server) Check(ctx context.Context, in *authv3.CheckRequest) (out *authv3.CheckResponse, _ error) {
	defer func() {
		if v := recover(); v != nil { // as net/http does; fail closed
			if s.opts.Logger != nil {
				s.opts.Logger.ErrorContext(ctx, "envoyauth: the handler panicked", "panic", fmt.Sprint(v))
			}
			out = denied(http.StatusInternalServerError, http.Header{}, nil, s.prefix)
		}
	}()
	r, reason := s.request(ctx, in)
	if reason != "" {
		return denied(http.StatusBadRequest, http.Header{"Content-Type": {"text/plain; charset=utf-8"},
			"Cache-Control": {"no-store"}}, []byte(reason+"\n"), s.prefix), nil
	}
	w := &reply{header: http.Header{}}
	s.ask.ServeHTTP(w, r)
	if w.status != http.StatusOK {
		return denied(w.status, w.sent, w.body, s.prefix), nil
	}
	ok := &authv3.OkHttpResponse{HeadersToRemove: slices.Clone(s.remove)}
	for _, name := range slices.Sorted(maps.Keys(w.sent)) {
		switch values := w.sent[name]; {
		case strings.HasPrefix(name, s.prefix):
			ok.Headers = append(ok.Headers, set(name, strings.Join(values, ",")))
		case strings.HasPrefix(strings.ToLower(name), "ratelimit"):
			ok.ResponseHeadersToAdd = append(ok.ResponseHeadersToAdd, set(name, strings.Join(values, ", ")))
		}
	}
	for _, end := range identities { // of a handler that left one out
		if name := s.prefix + end; len(w.sent[name]) == 0 {
			ok.HeadersToRemove = append(ok.HeadersToRemove, strings.ToLower(name))
		}
	}
	return &authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: ok}}, nil
}

// request returns the request that Envoy asks about. The reason says why it cannot be known which one that is.
func (s *Server) request(ctx context.Context, in *authv3.CheckRequest) (_ *http.Request, reason string) {
	of := in.GetAttributes().GetRequest().GetHttp()
	switch {
	case of == nil:
		return nil, "the question is about no HTTP request"
	case of.GetFragment() != "" || of.GetQuery() != "":
		return nil, "the target of the question is in two places"
	case len(of.GetHeaders()) != 0 && len(of.GetHeaderMap().GetHeaders()) != 0:
		return nil, "the headers of the question are in two places"
	}
	r := &http.Request{Method: of.GetMethod(), RequestURI: of.GetPath(), Host: of.GetHost(), Proto: "HTTP/1.1",
		ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, RemoteAddr: peerOf(ctx), URL: &url.URL{}}
	if u, err := url.ParseRequestURI(of.GetPath()); err == nil { // package forward reads RequestURI alone
		r.URL = u
	}
	for key, value := range of.GetHeaders() {
		if reason = add(r, of, key, value); reason != "" {
			return nil, reason
		}
	}
	for _, h := range of.GetHeaderMap().GetHeaders() {
		value := h.GetValue()
		if value == "" {
			value = string(h.GetRawValue())
		} else if len(h.GetRawValue()) != 0 {
			return nil, "a header of the question has two values"
		}
		if reason = add(r, of, h.GetKey(), value); reason != "" {
			return nil, reason
		}
	}
	source := in.GetAttributes().GetSource().GetAddress().GetSocketAddress().GetAddress()
	if source == "" {
		source = "unknown"
	}
	r.Header["X-Forwarded-For"] = append(r.Header["X-Forwarded-For"], source)
	return r.WithContext(ctx), ""
}

// add adds a header of the question to the request. Envoy repeats pseudo-headers among them.
func add(r *http.Request, of *authv3.AttributeContext_HttpRequest, key, value string) (reason string) {
	if strings.HasPrefix(key, ":") {
		same := true
		switch key {
		case ":method":
			same = value == of.GetMethod()
		case ":path":
			same = value == of.GetPath()
		case ":authority":
			same = value == of.GetHost()
		}
		if !same {
			return "the question contradicts itself"
		}
		return ""
	}
	if key == "host" {
		if value != of.GetHost() {
			return "the question contradicts itself"
		}
		return ""
	}
	if !isName(key) || strings.ContainsAny(value, "\r\n\x00") {
		return "a header of the question is malformed"
	}
	name := textproto.CanonicalMIMEHeaderKey(key)
	r.Header[name] = append(r.Header[name], value)
	return ""
}

// isName reports whether s is a name of a header in lower case (RFC 9113 §8.2.1).
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isIdentity reports whether a name in lower case is one of the identity headers, in any spelling.
func (s *Server) isIdentity(lower string) bool {
	return strings.HasPrefix(strings.NewReplacer("_", "-", ".", "-").Replace(lower), strings.ToLower(s.prefix))
}

// peerOf returns who asks, as [http.Request.RemoteAddr]. "": it is not known.
func peerOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	if _, err := netip.ParseAddrPort(p.Addr.String()); err == nil {
		return p.Addr.String()
	}
	if _, local := p.Addr.(*net.UnixAddr); local || p.Addr.Network() == "bufconn" {
		return "127.0.0.1:0"
	}
	return ""
}

// reply keeps what a handler answers.
type reply struct {
	header http.Header
	sent   http.Header // as of the status
	status int
	body   []byte
}

// Header implements [http.ResponseWriter].
func (w *reply) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *reply) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

// Write implements [http.ResponseWriter].
func (w *reply) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, b...)
	return len(b), nil
}

// denied returns a refusal. A status that is none, such as a redirect, is 403.
func denied(status int, header http.Header, body []byte, prefix string) *authv3.CheckResponse {
	if status < 400 || status > 599 {
		status, body = http.StatusForbidden, nil
	}
	code := codes.PermissionDenied
	switch {
	case status == http.StatusUnauthorized:
		code = codes.Unauthenticated
	case status == http.StatusTooManyRequests || status == http.StatusPaymentRequired:
		code = codes.ResourceExhausted
	case status == http.StatusBadRequest:
		code = codes.InvalidArgument
	case status == http.StatusServiceUnavailable:
		code = codes.Unavailable
	case status >= 500:
		code = codes.Internal
	}
	no := &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)},
		Body: strings.ToValidUTF8(string(body), "?")}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if !strings.HasPrefix(name, prefix) && name != "Content-Length" {
			no.Headers = append(no.Headers, set(name, strings.Join(header[name], ", ")))
		}
	}
	return &authv3.CheckResponse{Status: &rpcstatus.Status{Code: int32(code)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: no}}
}

// set sets a header, and does not append to one that is there. Invalid UTF-8 would make a reply that cannot be sent.
func set(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:         &corev3.HeaderValue{Key: strings.ToLower(name), Value: strings.ToValidUTF8(value, "?")},
		AppendAction:   corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		KeepEmptyValue: true,
	}
}
