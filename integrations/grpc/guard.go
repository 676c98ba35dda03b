// Package latchkeygrpc guards gRPC servers with latchkey, and gives gRPC clients their credentials.
//
// For most uses, write a [Table] of methods, make one [Guard] with [New], pass [Guard.ServerOptions] to grpc.NewServer,
// and compare the Table with the server by [Guard.CheckServer]. A handler finds its caller with
// [httpadapter.AccessFrom]. Clients use [Credentials]. Package envoyauth is a server that Envoy asks.
package latchkeygrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// DefaultMaxMetadata is how many bytes of metadata a call may have, in the count of HTTP/2 (RFC 9113 §6.5.2). grpc-go's
// own default is 16 MiB.
const DefaultMaxMetadata = 16 << 10

// Options configure a [Guard]. The zero value, and nil, are ready to use.
type Options struct {
	// Owner restricts the Guard to one account: tokens of other owners are unknown. "": tokens of every owner pass, and
	// the handler reads [latchkey.Access.Owner], unless OwnerOf is set.
	Owner string

	// OwnerOf returns the owner of a call, for hosts with many tenants: by the ":authority" of its metadata, say. Tokens
	// of other owners are unknown. It is called for each call with a credential, before that is checked. Return
	// [httpadapter.ErrNoTenant] if there is no such tenant. An error that wraps [latchkey.ErrUnavailable] is UNAVAILABLE,
	// and every other one INTERNAL. New panics if Owner is set as well. Nil: Owner says.
	OwnerOf func(ctx context.Context, method string) (string, error)

	// Keys are names of metadata whose whole value is a credential, such as "x-api-key", beside "authorization: Bearer".
	// Names are in lower case. A call with two credentials is refused, even if they are equal. Nil: Bearer alone.
	Keys []string

	// Web passes the metadata "origin" and "referer" on, for tokens that are restricted to web domains. Set it behind a
	// proxy that translates gRPC-Web. False: such tokens are refused.
	Web bool

	// Proxies are the host's own proxies. The metadata x-forwarded-for is read only from a connection that comes from one
	// of them: see [httpadapter.ClientAddr]. Nil: it is ignored.
	Proxies []netip.Prefix

	// AddressRate is how many credentials of one client address may be refused: see [httpadapter.Gate]. Zero:
	// [httpadapter.DefaultAddressRate]. A negative Count: no bound.
	AddressRate latchkey.Rate

	// Recheck is how long a stream may go on without its token being verified again. It is verified twice as often, while
	// the stream is open, whether or not messages pass. The stream ends with UNAUTHENTICATED if the token is no longer
	// valid, with PERMISSION_DENIED if it may no longer do what the rule asks, with ABORTED if RequireRows would now give
	// other rows, and with UNAVAILABLE if that could not be found out for so long. Each time reads the store. Zero or
	// negative: a stream is checked at its start, and then goes on for as long as it likes.
	Recheck time.Duration

	// Escapes states that no handler decodes a field that names a resource. Its value may then hold a percent sign before
	// two hex digits. False: such a value is INVALID_ARGUMENT.
	Escapes bool

	// MaxMetadata is how many bytes of metadata a call may have; see [Guard.ServerOptions]. 0: [DefaultMaxMetadata].
	MaxMetadata uint32

	// Test makes the server a sandbox: only test tokens pass. False: test tokens are refused.
	Test bool

	// OnError is called for every call that the Guard refuses, and for every error of a handler that it maps, with the
	// cause: for metrics and audit. The cause never holds a secret. [httpadapter.RefusalFrom], given ctx, returns the
	// token that was refused. Nil: no callback.
	OnError func(ctx context.Context, method string, err error)

	// Logger receives what is answered INTERNAL or UNAVAILABLE, with the cause. Nil: nothing is logged.
	Logger *slog.Logger
}

// Guard checks the calls of a gRPC server against a [Table]. Safe for concurrent use.
type Guard struct {
	opts     Options
	manager  *latchkey.Manager
	account  latchkey.Account // if opts.Owner is set
	rules    map[string]*rule
	gate     *httpadapter.Gate
	carriers httpadapter.Carriers
	headers  []header // metadata that are read for each call
	requests sync.Pool
}

// header is a name of metadata with the name of the header that httpadapter reads.
type header struct {
	key, name string
	bin       string // the name of binary metadata that could be taken for it; "": it carries no credential
}

// New returns a Guard over m. Nil options are ready to use. It panics if m is nil, or the options or the table are
// invalid; the message says what to correct. The table is invalid if it names a method that a service of this program
// does not have, or a field that its request does not have. For a service whose generated code is not linked, the first
// call finds that: it is answered INTERNAL, and Options.Logger receives a line.
func New(m *latchkey.Manager, table Table, opts *Options) *Guard {
	if m == nil {
		panic("latchkeygrpc: New needs a Manager")
	}
	g := &Guard{manager: m, rules: make(map[string]*rule, len(table))}
	if opts != nil {
		g.opts = *opts
	}
	if g.opts.Owner != "" {
		if g.opts.OwnerOf != nil {
			panic("latchkeygrpc: Options has both Owner and OwnerOf: set one of them")
		}
		g.account = m.For(g.opts.Owner)
	}
	if g.opts.MaxMetadata == 0 {
		g.opts.MaxMetadata = DefaultMaxMetadata
	}
	for i, p := range g.opts.Proxies {
		if !p.IsValid() {
			panic(fmt.Sprintf("latchkeygrpc: Options.Proxies[%d] is the zero Prefix: set it with netip.ParsePrefix", i))
		}
	}
	g.carriers = httpadapter.Carriers{Bearer: true, Headers: g.opts.Keys}
	g.headers = []header{{"authorization", "Authorization", "authorization-bin"}}
	for _, key := range g.opts.Keys {
		if !validKey(key) {
			panic(fmt.Sprintf("latchkeygrpc: Options.Keys: %q: use a name of metadata in lower case, other than "+
				"authorization, without -bin at its end", key))
		}
		g.headers = append(g.headers, header{key, http.CanonicalHeaderKey(key), key + "-bin"})
	}
	if g.opts.Web {
		g.headers = append(g.headers, header{"origin", "Origin", ""}, header{"referer", "Referer", ""})
	}
	for method, r := range table {
		c, err := compile(method, r, m.Catalogue())
		if err != nil {
			panic(fmt.Sprintf("latchkeygrpc: %s: %v", method, err))
		}
		g.rules[method] = c
	}
	g.gate = httpadapter.NewGate(g.opts.AddressRate, nil)
	g.requests.New = func() any { return &http.Request{Header: http.Header{}} }
	return g
}

// validKey reports whether metadata of that name may carry a credential.
func validKey(key string) bool {
	if key == "" || key == "authorization" || key == "origin" || key == "referer" || key == "x-forwarded-for" ||
		strings.HasPrefix(key, "grpc-") || strings.HasSuffix(key, "-bin") {
		return false
	}
	return strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_-.") == ""
}

// ServerOptions returns what grpc.NewServer needs: the two interceptors, and grpc.MaxHeaderListSize with
// Options.MaxMetadata. Interceptors of options before these run before the Guard, and those of options behind it run
// within, for calls that passed.
func (g *Guard) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(g.Unary),
		grpc.ChainStreamInterceptor(g.Stream),
		grpc.MaxHeaderListSize(g.opts.MaxMetadata),
	}
}

// Unary is a grpc.UnaryServerInterceptor. It calls the handler only if the Table opens the method to the caller. The
// handler gets the Access in its context. What the handler returns passes, but for errors of latchkey: they are mapped
// by [StatusOf], unless they have a status.
//
// The order is: the rule of the method, the credential, the right, the quota. A call that already has an Access, set
// with [httpadapter.WithAccess] by an interceptor before, needs no credential. It must be an Access that this Guard
// could have made.
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (
	any, error) {
	r := g.rules[info.FullMethod]
	switch {
	case r == nil:
		return nil, g.refuse(ctx, info.FullMethod, errUnmapped)
	case r.kind == kindPublic:
		return handler(ctx, req)
	}
	ctx, access, err := g.caller(ctx, r)
	if err != nil {
		return nil, g.refuse(ctx, r.method, err)
	}
	a, err := g.ask(r, access, req)
	if err == nil {
		err = g.spend(ctx, r, access)
	}
	if err != nil {
		return nil, g.refuse(httpadapter.WithAccess(ctx, access), r.method, err)
	}
	if !r.rows() {
		ctx = httpadapter.WithAccess(ctx, access)
		resp, err := handler(ctx, req)
		if err != nil {
			return nil, g.mapped(ctx, r.method, err)
		}
		return resp, nil
	}
	ctx = httpadapter.WithRows(ctx, access, a.rows)
	held := holdMetadata(ctx)
	resp, err := handler(held.in(ctx), req)
	if err != nil {
		held.release()
		return nil, g.mapped(ctx, r.method, err)
	}
	if !httpadapter.RowsAsked(ctx) {
		return nil, g.refuse(ctx, r.method, &unreadRowsError{r})
	}
	held.release()
	return resp, nil
}

// answer is what a caller may do.
type answer struct {
	on   latchkey.Resource
	rows latchkey.Condition // of kindRows
}

// ask returns what access may do by the rule of a method, with the fields of msg.
func (g *Guard) ask(r *rule, access latchkey.Access, msg any) (answer, error) {
	if r.template == nil {
		return answer{}, nil
	}
	on, err := r.template.resource(msg, g.opts.Escapes)
	if err != nil {
		return answer{}, err
	}
	return g.askOn(r, access, on)
}

func (g *Guard) askOn(r *rule, access latchkey.Access, on latchkey.Resource) (a answer, err error) {
	a.on = on
	if r.rows() {
		a.rows, err = access.Filter(r.action, on)
	} else {
		err = access.Check(r.action, on)
	}
	return a, err
}

func (g *Guard) spend(ctx context.Context, r *rule, access latchkey.Access) error {
	if !r.spends {
		return nil
	}
	_, err := access.Spend(ctx, r.meter, r.method, r.credits)
	return err
}

// caller returns the caller of a call: the one that an interceptor before has authenticated, or the one that the
// credential names. The context it returns knows the refusal, if there is one.
func (g *Guard) caller(ctx context.Context, r *rule) (context.Context, latchkey.Access, error) {
	if access, ok := httpadapter.AccessFrom(ctx); ok {
		return ctx, access, g.checkAccess(ctx, r, access)
	}
	p, err := g.presented(ctx)
	if err != nil {
		return ctx, latchkey.Access{}, err
	}
	ctx = g.gate.Watch(ctx, p.Address)
	account, all, err := g.accountOf(ctx, r)
	if err != nil {
		return ctx, latchkey.Access{}, err
	}
	var access latchkey.Access
	if all {
		access, err = g.manager.Verify(ctx, p)
	} else {
		access, err = account.Verify(ctx, p)
	}
	return ctx, access, err
}

// accountOf returns the account that the caller must belong to; all: any.
func (g *Guard) accountOf(ctx context.Context, r *rule) (account latchkey.Account, all bool, err error) {
	if g.opts.OwnerOf == nil {
		return g.account, g.opts.Owner == "", nil
	}
	owner, err := g.opts.OwnerOf(ctx, r.method)
	switch {
	case errors.Is(err, latchkey.ErrUnavailable):
		return latchkey.Account{}, false, err // first: an error that wraps both must not read as "no such tenant"
	case errors.Is(err, httpadapter.ErrNoTenant):
		return latchkey.Account{}, false, httpadapter.ErrNoTenant
	case err != nil: // as text: what it wraps is the host's, and says nothing about the caller
		return latchkey.Account{}, false, fmt.Errorf("latchkeygrpc: OwnerOf: %v", err)
	}
	if account, err = g.manager.Tenant(owner); err != nil {
		return latchkey.Account{}, false, fmt.Errorf("latchkeygrpc: OwnerOf returned no owner's id: %v", err)
	}
	return account, false, nil
}

// checkAccess returns an error unless this Guard could have made the Access.
func (g *Guard) checkAccess(ctx context.Context, r *rule, access latchkey.Access) error {
	if access.Manager() != g.manager { // the zero Access, too
		return latchkey.ErrUnknownToken
	}
	account, all, err := g.accountOf(ctx, r)
	switch {
	case err != nil:
		return err
	case !all && access.Owner() != account.Owner():
		return latchkey.ErrUnknownToken
	case access.Test() != g.opts.Test:
		return latchkey.ErrTestMode
	}
	return nil
}

// presented returns what the metadata and the connection of a call present. The credential is found by
// [httpadapter.Carriers], so that the rules are the same as over HTTP.
func (g *Guard) presented(ctx context.Context) (latchkey.Presented, error) {
	r := g.requests.Get().(*http.Request)
	defer func() {
		clear(r.Header) // it holds a secret
		r.RemoteAddr = ""
		g.requests.Put(r)
	}()
	for _, h := range g.headers {
		if values := metadata.ValueFromIncomingContext(ctx, h.key); values != nil {
			r.Header[h.name] = values
		}
		if h.bin != "" && metadata.ValueFromIncomingContext(ctx, h.bin) != nil {
			return latchkey.Presented{}, errBinary
		}
	}
	secret, err := g.carriers.Find(r)
	if err != nil {
		return latchkey.Presented{}, err
	}
	address := peerAddress(ctx)
	if address.IsValid() && contains(g.opts.Proxies, address) {
		forwarded(ctx, r)
		r.RemoteAddr = address.String()
	}
	p, err := httpadapter.Presented(r, secret, g.opts.Proxies)
	if err != nil {
		return latchkey.Presented{}, err
	}
	if r.RemoteAddr == "" {
		p.Address = address
	}
	p.Test = g.opts.Test
	return p, nil
}

// forwarded copies what [httpadapter.ClientAddr] reads: X-Forwarded-For, every other spelling of it, and Connection.
func forwarded(ctx context.Context, r *http.Request) {
	md, _ := metadata.FromIncomingContext(ctx)
	for key, values := range md {
		switch {
		case key == "x-forwarded-for":
			r.Header["X-Forwarded-For"] = values
		case key == "connection":
			r.Header["Connection"] = values
		case len(key) == len("x-forwarded-for"):
			r.Header[key] = values
		}
	}
}

// peerAddress returns the address at the other end of the connection. The zero Addr: it is not known, as for a Unix
// socket and for bufconn.
func peerAddress(ctx context.Context) netip.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return netip.Addr{}
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		address, _ := netip.AddrFromSlice(tcp.IP)
		return address.Unmap()
	}
	address, err := httpadapter.ClientAddr(&http.Request{RemoteAddr: p.Addr.String()}, nil)
	if err != nil {
		return netip.Addr{}
	}
	return address
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Error maps an error to a status, as [StatusOf], and reports it as the Guard's own refusals: to
// [latchkey.Options.Observer], Options.OnError and Options.Logger. Handlers use it for errors that they do not return,
// such as one result of many. An error that has a status keeps it. It returns nil for nil.
func (g *Guard) Error(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	method, _ := grpc.Method(ctx)
	return g.refuse(ctx, method, err)
}

// mapped is what becomes of a handler's error.
func (g *Guard) mapped(ctx context.Context, method string, err error) error {
	if _, ok := status.FromError(err); ok || !ours(err) {
		return err
	}
	return g.refuse(ctx, method, err)
}

// refuse reports a refusal, and returns it as a status.
func (g *Guard) refuse(ctx context.Context, method string, err error) error {
	httpadapter.Refused(ctx, err)
	if g.opts.OnError != nil {
		g.opts.OnError(ctx, method, err)
	}
	s := StatusOf(err)
	if c := s.Code(); g.opts.Logger != nil && (c == codes.Internal || c == codes.Unavailable || c == codes.Unknown) {
		args := []any{"method", method, "err", err}
		if h := hint(err); h != "" {
			args = append(args, "hint", h)
		}
		g.opts.Logger.ErrorContext(ctx, "call failed", args...)
	}
	return s.Err()
}
