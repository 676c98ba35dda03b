package apperate

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/mount"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Options configure [Mount] and [Handler]. The zero value, and nil, are ready to use.
type Options struct {
	// Account returns the account of a request, for hosts with many tenants: see [httpadapter.AccountOf]. Its errors are
	// answered as by [WriteError]. Nil: the account given to Mount.
	Account func(*http.Request) (latchkey.Account, error)

	// Versions are the first path segments that are served. Nil: v1, stable, beta and latest.
	Versions []string

	// Cost returns what a request may cost at most, in millionths of a credit. That much is reserved
	// before the handler runs. The request is refused with 402 if a quota has less left. The handler may
	// lower the cost with [Call.SetCost], and a reply of 300 and above is free. If only the handler knows the cost,
	// return the least it may be, not 0: a request that costs nothing is never refused. Nil: [DefaultCost].
	Cost func(*Call) Cost

	// RepeatReads lets a signed GET or HEAD be repeated within the second of its date. Dates have whole seconds, so a
	// client that reads the same twice in a second sends the same signature twice. False: every signature passes once.
	RepeatReads bool

	// Rows passes callers that may access only some rows of a data set. The handlers must then apply the condition of
	// Call.Access (Filter, Prepare). False: such callers are refused.
	Rows bool

	// Routes returns what a route of the host's own needs, and false for other routes. path follows the version. It is
	// called before the package's own table. Without it the table decides: it denies unknown routes to publishable
	// tokens. Nil: no further routes.
	Routes func(r *http.Request, path []string) (Route, bool)

	// Replies replaces the replies to faults. Where no source describes the product's reply, the default is a guess. A
	// Body must not hold anything that a caller wrote. Nil: no reply is replaced.
	Replies map[Fault]Reply

	// Tier is the plan's name in account/metadata. "": "start".
	Tier string

	// MaxBody bounds request bodies, in bytes. 0: [DefaultMaxBody]. A negative one panics.
	MaxBody int64

	// AddressRate bounds the requests of one client address (of one IPv6 /64) in this process, before anything else is
	// checked. Tokens have their own Limits.Rate. It bounds refused tokens in the same way: see [httpadapter.Gate].
	// Zero: [DefaultAddressRate], or [DefaultSandboxRate] in a sandbox. A negative Count: no bound.
	AddressRate latchkey.Rate

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr]. Nil: X-Forwarded-For is ignored.
	Proxies []netip.Prefix

	// Test makes this surface a sandbox: only test tokens (Tsk_, Tpk_) pass, and requests are free. False: test tokens
	// are refused.
	Test bool

	// Clock returns the current time. Pass the Manager's clock. Nil: time.Now.
	Clock func() time.Time

	// OnError is called for every refusal of the gateway with its cause, before the reply is written. The cause never
	// holds a secret; the request does, in its URL, too. [httpadapter.RefusalFrom] returns the token that was refused.
	// Nil: no callback.
	OnError func(r *http.Request, err error)

	// Logger receives replies of 500 and above, and credits that could not be settled. Nil: nothing is logged.
	Logger *slog.Logger
}

// gateway is an account, the options it is served with, and the handler behind it.
type gateway struct {
	accountOf func(*http.Request) (latchkey.Account, error)
	opts      Options
	next      http.Handler
	addresses *latchkey.Limiter // nil: no bound
	gate      *httpadapter.Gate
}

// Handler returns the gateway in front of next. It serves paths that begin with a version, and answers every other
// path with 404.
//
// next receives each allowed request with a cleaned path without the version: "/data/ACME/CARS,TRUCKS/A1", ids in
// upper case, as they were checked. It must read the request from that path or [CallFrom], not from RequestURI. It
// may be a *http.ServeMux. Successful replies must have status 200. For JSON they must have exactly the content type
// that [WriteJSON] sets: the product's clients accept no other.
//
// Put the gateway before a *http.ServeMux, not behind it ([Serves]). A mux would redirect a path with "//" in it,
// which some clients send, and the redirect breaks signatures. Signatures also need the target and the Host header as
// the client sent them: a proxy before the gateway must change neither.
//
// Nil options are ready to use. It panics on invalid options.
func Handler(account latchkey.Account, opts *Options, next http.Handler) http.Handler {
	g := &gateway{next: next}
	if opts != nil {
		g.opts = *opts
	}
	o := &g.opts
	if next == nil {
		panic("apperate: no handler: pass the handler that serves the data")
	}
	g.accountOf = adapters.Account("apperate", account, o.Account)
	if o.Versions == nil {
		o.Versions = versions
	}
	if o.Cost == nil {
		o.Cost = DefaultCost
	}
	if o.Tier == "" {
		o.Tier = "start"
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxBody < 0 {
		panic("apperate: Options.MaxBody is negative: use 0 for the default")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	for f, reply := range o.Replies {
		if _, known := replies[f]; !known || reply.Status < 400 || reply.Status > 599 {
			panic("apperate: Options.Replies: unknown fault, or a status outside 400 to 599: " + string(f))
		}
	}
	adapters.CheckProxies("apperate", o.Proxies)
	rate := o.AddressRate
	if rate == (latchkey.Rate{}) {
		rate = DefaultAddressRate
		if o.Test {
			rate = DefaultSandboxRate
		}
	}
	if rate.Count >= 0 {
		g.addresses = latchkey.NewLimiter(rate, o.Clock)
	}
	g.gate = httpadapter.NewGate(rate, o.Clock)
	return g
}

// Mount registers [Handler] for each version: "/v1/" and so on. Nil options are ready to use. It panics on invalid
// options.
func Mount(mux httpadapter.Mux, account latchkey.Account, opts *Options, next http.Handler) {
	h := Handler(account, opts, next)
	for _, v := range h.(*gateway).opts.Versions {
		mount.Subtree(mux, "/"+v, "/"+v, h)
	}
}

// Serves reports whether a URL path begins with one of the versions that are served by default.
func Serves(path string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return strings.HasPrefix(path, "/") && slices.Contains(versions, first)
}

// Call is a request that the gateway passed.
type Call struct {
	Access  latchkey.Access
	Account latchkey.Account
	Version string // "v1"
	Route

	path           []string // after the version, as it was checked
	cost, reserved Cost
	status         int // of the reply; 0 before it begins
}

// Cost is the cost of a request, in millionths of a credit.
type Cost struct{ Core, Premium latchkey.Credits }

// SetCost sets the actual cost of the request. Call it before the reply begins; later it does nothing. If it exceeds
// what Options.Cost returned, the rest is charged after the reply, as far as the quotas reach. Negative
// amounts count as 0.
func (c *Call) SetCost(cost Cost) {
	if c.Access.Test() {
		cost = Cost{} // the sandbox is free
	}
	if c.status == 0 {
		c.cost = Cost{max(cost.Core, 0), max(cost.Premium, 0)}
	}
}

type callKey struct{}

// CallFrom returns the call that the gateway stored in the context, and whether there is one.
func CallFrom(ctx context.Context) (*Call, bool) {
	c, ok := ctx.Value(callKey{}).(*Call)
	return c, ok
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	commonHeaders(w.Header())
	path, ok := pathOf(r.URL)
	switch {
	case ok && (len(path) == 0 || !slices.Contains(g.opts.Versions, path[0])):
		g.writeError(w, r, latchkey.ErrNotFound)
	case r.Method == http.MethodOptions: // a CORS preflight
		if ok && len(path) > 1 && slices.Contains(dataRoutes, path[1]) {
			w.Header().Set("Access-Control-Allow-Methods", dataMethods)
		}
		w.WriteHeader(http.StatusOK)
	case ok && len(path) == 2 && path[1] == "status" && isRead(r.Method): // needs no token, and reads none
		g.serveStatus(w)
	default:
		r, c, body, err := g.admit(r, path, ok)
		if err != nil {
			g.writeError(w, r, err)
			return
		}
		if c.Secret && path[1] == "account" && g.serveAccount(w, r, c, path[2:], body) {
			return
		}
		g.serveData(w, g.forward(r, c, body), c)
	}
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// admit authenticates and authorizes a request, in the order of the faults. Nothing it does costs credits. Until the
// caller is authenticated only a token is decoded. The returned request carries the caller in its context.
func (g *gateway) admit(r *http.Request, path []string, okPath bool) (*http.Request, *Call, []byte, error) {
	fail := func(err error) (*http.Request, *Call, []byte, error) { return r, nil, nil, err }
	address, err := httpadapter.ClientAddr(r, g.opts.Proxies)
	if err != nil {
		return fail(err)
	}
	if err := g.limitAddress(address); err != nil { // every request counts
		return fail(err)
	}
	r = r.WithContext(g.gate.Watch(r.Context(), address))
	body := &requestBody{r: r, limit: g.opts.MaxBody}
	secret, err := findToken(r, path, body)
	if err != nil {
		return fail(err)
	}
	if !okPath {
		return fail(httpadapter.ErrBadRequest)
	}
	if test, known := isTest(secret); known && test != g.opts.Test {
		return fail(g.wrongMode())
	}
	c := &Call{Version: path[0]}
	if c.Account, err = g.accountOf(r); err != nil {
		return fail(err)
	}
	p, err := g.presented(r, secret, body.read)
	if err != nil {
		return fail(err)
	}
	c.Access, err = c.Account.Verify(r.Context(), p)
	switch {
	case body.err != nil: // its signature could not be checked
		return fail(body.err)
	case errors.Is(err, latchkey.ErrTestMode):
		return fail(g.wrongMode())
	case err != nil:
		return fail(err)
	}
	r = r.WithContext(httpadapter.WithAccess(r.Context(), c.Access))
	if !mayCall(c.Access.Kind()) {
		return fail(latchkey.ErrUnknownToken)
	}
	text, err := body.read()
	if err != nil {
		return fail(err)
	}
	inBody, err := tokensIn(text, path)
	if err != nil {
		return fail(err)
	}
	// Find the token again, now in the whole request.
	if again, err := carriers.Find(r, inBody...); err != nil {
		return fail(err)
	} else if again != secret { // fail closed: the request has two meanings
		return fail(httpadapter.ErrManyCredentials)
	}
	if err := g.classify(c, r, path[1:]); err != nil {
		return fail(err)
	}
	if err := g.checkNeeds(c); err != nil {
		return fail(err)
	}
	return r, c, text, nil
}

// carriers are where a token may be, besides a JSON body.
var carriers = httpadapter.Carriers{Query: []string{"token"}, Basic: httpadapter.BasicIgnored}

// requestBody reads a body once, when it is first needed.
type requestBody struct {
	r     *http.Request
	limit int64
	done  bool
	text  []byte
	err   error
}

func (b *requestBody) read() ([]byte, error) {
	if !b.done {
		b.done = true
		b.text, b.err = httpadapter.ReadBody(b.r, b.limit)
	}
	return b.text, b.err
}

// findToken returns the one token of a request before the caller is authenticated. It reads the body only if the
// query has no token and the body is at most maxTokenBody long.
func findToken(r *http.Request, path []string, body *requestBody) (string, error) {
	secret, err := carriers.Find(r)
	if !errors.Is(err, httpadapter.ErrNoCredential) || !mayHoldToken(path) || r.ContentLength > maxTokenBody {
		return secret, err
	}
	if r.ContentLength < 0 { // unknown length
		body.limit = min(body.limit, maxTokenBody)
	}
	text, err := body.read()
	if err != nil {
		return "", err
	}
	f, err := strictjson.Find(text, "token")
	switch {
	case err != nil || f.N != 1:
		return carriers.Find(r)
	case f.First != '"': // a number or true must not be compared as a text
		return "", httpadapter.ErrBadRequest
	}
	return carriers.Find(r, f.Text)
}

// mayHoldToken reports whether the body of a path may hold a token. Bodies of data sets hold data, never a token.
func mayHoldToken(path []string) bool {
	return len(path) < 2 || !slices.Contains(dataRoutes, path[1])
}

// wrongMode returns the fault of a token of the other mode: test or production.
func (g *gateway) wrongMode() error {
	if g.opts.Test {
		return fault(ProductionInTest, latchkey.ErrTestMode)
	}
	return fault(TestInProduction, latchkey.ErrTestMode)
}

// isTest reports whether a token's prefix is that of a test token. known is false for texts without a known prefix.
func isTest(secret string) (test, known bool) {
	for _, prefix := range []string{"sk_", "pk_"} {
		if strings.HasPrefix(secret, prefix) {
			return false, true
		}
		if strings.HasPrefix(secret, "T"+prefix) {
			return true, true
		}
	}
	return false, false
}

// tokensIn returns the tokens in a JSON body. A body of data has none, and neither has one that is not a JSON object:
// a client of the product sends "[object Object]".
func tokensIn(body []byte, path []string) ([]string, error) {
	if len(body) == 0 || !mayHoldToken(path) {
		return nil, nil
	}
	var object map[string]any
	if strictjson.Unmarshal(body, &object) != nil {
		return nil, nil
	}
	given, there := object["token"]
	if !there {
		return nil, nil
	}
	text, ok := given.(string)
	if !ok { // a number or true must not be compared as a text
		return nil, httpadapter.ErrBadRequest
	}
	return []string{text}, nil
}

// presented returns what the request presents along with its token. The product checks Referer only, not Origin.
func (g *gateway) presented(r *http.Request, secret string, body func() ([]byte, error)) (latchkey.Presented, error) {
	p, err := httpadapter.Presented(r, secret, g.opts.Proxies)
	if err != nil {
		return latchkey.Presented{}, err
	}
	p.Origin, p.Test = "", g.opts.Test
	var repeat time.Duration
	if g.opts.RepeatReads && isRead(r.Method) {
		repeat = time.Second
	}
	p.Signature, err = signatureOf(r, secret, body, repeat)
	return p, err
}

// limitAddress applies Options.AddressRate.
func (g *gateway) limitAddress(addr netip.Addr) error {
	if g.addresses == nil {
		return nil
	}
	if ok, info := g.addresses.Allow(httpadapter.AddressKey(addr)); !ok {
		return &latchkey.RateLimitError{Info: info}
	}
	return nil
}

// classify sets the route of the call.
func (g *gateway) classify(c *Call, r *http.Request, path []string) error {
	if g.opts.Routes != nil && len(path) > 0 {
		var ok bool
		if c.Route, ok = g.opts.Routes(r, path); ok {
			c.path = path
			return nil
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return httpadapter.ErrBadRequest
	}
	var ok bool
	if c.Route, ok = routeOf(r.Method, path, query); !ok {
		return httpadapter.ErrBadRequest
	}
	c.path = c.Route.canonicalPath(path)
	return nil
}

// checkNeeds returns an error unless the caller may do all that the route needs.
func (g *gateway) checkNeeds(c *Call) error {
	secret := c.Access.Kind() == latchkey.KindSecret
	switch {
	case c.Secret && !secret:
		return fault(SecretRequired, latchkey.ErrDenied)
	case len(c.Needs) == 0 && !secret:
		return latchkey.ErrDenied // fail closed: the route is unknown
	}
	for _, n := range c.Needs {
		err := c.Access.Check(n.Action, n.Resource)
		if denied, ok := errors.AsType[*latchkey.DeniedError](err); ok && denied.Rows && g.opts.Rows {
			continue
		}
		if err != nil && strings.HasPrefix(string(n.Resource), premiumRoot+"/") {
			return fault(PremiumDenied, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forward returns the request for the handler: its path is the one that was checked.
func (g *gateway) forward(r *http.Request, c *Call, body []byte) *http.Request {
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	escaped := make([]string, len(c.path))
	for i, s := range c.path {
		escaped[i] = strings.ReplaceAll(url.PathEscape(s), "%2C", ",")
	}
	u := *r.URL
	u.Path, u.RawPath = "/"+strings.Join(c.path, "/"), "/"+strings.Join(escaped, "/")
	r.URL = &u
	if body != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r
}

// writeError reports and logs err, and writes its reply.
func (g *gateway) writeError(w http.ResponseWriter, r *http.Request, err error) {
	httpadapter.Refused(r.Context(), err)
	if g.opts.OnError != nil {
		g.opts.OnError(r, err)
	}
	f := faultOf(err)
	reply, ok := g.opts.Replies[f]
	if !ok {
		reply = replies[f]
	}
	if reply.Status >= 500 {
		g.log(r.Context(), "request failed", err)
	}
	writeFault(w, err, reply)
}

// log never receives the request: its URL holds a token.
func (g *gateway) log(ctx context.Context, msg string, err error) {
	if g.opts.Logger != nil {
		g.opts.Logger.ErrorContext(ctx, "apperate: "+msg, "err", err)
	}
}
