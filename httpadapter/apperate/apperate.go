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
	// Account picks the account of a request, for hosts with many tenants (by host name, say). Nil: the account given to
	// Mount.
	Account func(*http.Request) (latchkey.Account, error)

	// Versions are the first path segments that are served. Nil: v1, stable, beta and latest.
	Versions []string

	// Test makes this surface a sandbox: only test tokens (Tsk_, Tpk_) pass, and cost nothing. False: none does.
	Test bool

	// Cost says what a request may cost at most, in millionths of a credit (see [Credit]). As much is set aside before the
	// handler runs, and refused with 402 when the token's month has less left; the handler may say less with
	// [Call.SetCost], and a reply of 300 and above costs nothing. Where only the handler can know, say the least it may
	// be, and not 0: what costs nothing is never refused. Nil: [DefaultCost].
	Cost func(*Call) Cost

	// AddressRate bounds the requests of one client address (of one /64 of IPv6), on this node, before anything
	// else is looked at; tokens have their own Limits.Rate. It bounds refused tokens in the same way: see
	// [httpadapter.Gate]. Zero: [DefaultAddressRate], or in a sandbox [DefaultSandboxRate]. A negative Count: no
	// bound.
	AddressRate latchkey.Rate

	// RepeatReads lets a signed GET or HEAD come again within the second it is dated. Its date has no finer grain, so a
	// client that reads the same thing twice in a second signs it twice alike. False: every signature passes once.
	RepeatReads bool

	// Rows lets through callers that may reach some rows of a data set only. The handlers must then ask Call.Access for
	// the rows (Filter, Prepare). False: such callers are refused.
	Rows bool

	// Routes is asked before the package's own table: what a host's further routes need. False: the table decides, which
	// denies publishable tokens what it does not know. Path is what follows the version. Nil: no further routes.
	Routes func(r *http.Request, path []string) (Route, bool)

	// Replies replaces replies to faults: what no source tells about the product is a plausible guess. A Body must not
	// hold anything a caller wrote. Nil: none.
	Replies map[Fault]Reply

	// Tier is the plan's name in account/metadata. "": "start".
	Tier string

	// MaxBody bounds request bodies in bytes. 0: [DefaultMaxBody].
	MaxBody int64

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr].
	Proxies []netip.Prefix

	// Clock tells the time; nil: time.Now. Give it the manager's clock.
	Clock func() time.Time

	// OnError hears of every refusal of the gateway with its cause, before the reply is written. The cause never holds a
	// secret; the request does, its URL too. Whose token it was tells [httpadapter.RefusalFrom]. Nil: nobody listens.
	OnError func(r *http.Request, err error)

	// Logger hears of replies of 500 and above, and of credits that could not be settled. Nil: nobody listens.
	Logger *slog.Logger
}

// gateway is an account, how it is served, and what is behind.
type gateway struct {
	accountOf func(*http.Request) (latchkey.Account, error)
	opts      Options
	next      http.Handler
	addresses *latchkey.Limiter // nil: no bound
	gate      *httpadapter.Gate
}

// Handler is the gateway before next. It serves paths that begin with a version; all else is a 404.
//
// Next gets each allowed request with its path cleaned and without the version: "/data/ACME/CARS,TRUCKS/A1", ids in
// upper case, as they were checked. It must find what is asked for there or with [CallFrom], not in RequestURI. It may
// be a *http.ServeMux. Its successful replies must have status 200 and, for JSON, exactly the content type that
// [WriteJSON] sets: the product's clients know no other.
//
// A *http.ServeMux before the gateway would answer a path with "//" in it, which some clients send, with a redirect that
// breaks signatures: put the gateway before the mux ([Serves]). Signatures also need the target and the Host header as
// the client sent them: a proxy before the gateway must not change either.
//
// Nil options are ready to use; options that cannot work panic.
func Handler(account latchkey.Account, opts *Options, next http.Handler) http.Handler {
	g := &gateway{next: next}
	if opts != nil {
		g.opts = *opts
	}
	o := &g.opts
	if next == nil {
		panic("apperate: Handler needs a handler to stand before")
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
		panic("apperate: Options.MaxBody is negative")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	for f, reply := range o.Replies {
		if _, known := replies[f]; !known || reply.Status < 400 || reply.Status > 599 {
			panic("apperate: Options.Replies: a fault that does not exist, or a status that is no error: " + string(f))
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

// Mount registers [Handler] for each version: "/v1/" and its siblings.
func Mount(mux httpadapter.Mux, account latchkey.Account, opts *Options, next http.Handler) {
	h := Handler(account, opts, next)
	for _, v := range h.(*gateway).opts.Versions {
		mount.Subtree(mux, "/"+v, "/"+v, h)
	}
}

// Serves says whether a URL path begins with one of the versions that are served by default.
func Serves(path string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return strings.HasPrefix(path, "/") && slices.Contains(versions, first)
}

// Call is a request that the gateway let through.
type Call struct {
	Access  latchkey.Access
	Account latchkey.Account
	Version string // "v1"
	Route

	path           []string // behind the version, in the spelling that was checked
	cost, reserved Cost
	status         int // of the reply; 0 before it begins
}

// Cost is what a request costs, in millionths of a credit.
type Cost struct{ Core, Premium latchkey.Credits }

// SetCost says what the request really cost, before the reply begins; later it does nothing. More than Options.Cost said
// is charged after the reply, as far as the month's credits reach. Negative amounts are 0.
func (c *Call) SetCost(cost Cost) {
	if c.Access.Test() {
		cost = Cost{} // the sandbox is free
	}
	if c.status == 0 {
		c.cost = Cost{max(cost.Core, 0), max(cost.Premium, 0)}
	}
}

type callKey struct{}

// CallFrom returns the call that the gateway left in the context, and whether there is one.
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
	case r.Method == http.MethodOptions: // a browser asks before it sends the token
		if ok && len(path) > 1 && slices.Contains(dataRoutes, path[1]) {
			w.Header().Set("Access-Control-Allow-Methods", dataMethods)
		}
		w.WriteHeader(http.StatusOK)
	case ok && len(path) == 2 && path[1] == "status" && isRead(r.Method): // needs no token, and looks at none
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

// admit decides about a request, in the order of the faults. Nothing that it does costs credits. Until the caller
// is known nothing is decoded but a token. The request that comes back says who was found to call.
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
	case body.err != nil: // its signature could not be judged
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
	// Looked for once more, in all of the request.
	if again, err := carriers.Find(r, inBody...); err != nil {
		return fail(err)
	} else if again != secret { // fail closed: two readings of one request
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

// carriers are where a token travels, beside a JSON body.
var carriers = httpadapter.Carriers{Query: []string{"token"}}

// requestBody is a body that is read when it is needed, once.
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

// findToken finds the one token of a request, whose caller is nobody yet. The body is read only if the query has
// none, and if it is short enough to be looked through for nobody.
func findToken(r *http.Request, path []string, body *requestBody) (string, error) {
	secret, err := carriers.Find(r)
	if !errors.Is(err, httpadapter.ErrNoCredential) || !mayHoldToken(path) || r.ContentLength > maxTokenBody {
		return secret, err
	}
	if r.ContentLength < 0 { // not said
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
	case f.First != '"': // a number or true must not become a text that a store finds equal to something
		return "", httpadapter.ErrBadRequest
	}
	return carriers.Find(r, f.Text)
}

// mayHoldToken reports whether the body of a path may hold a token: where it is data, no member of it is one.
func mayHoldToken(path []string) bool {
	return len(path) < 2 || !slices.Contains(dataRoutes, path[1])
}

func (g *gateway) wrongMode() error {
	if g.opts.Test {
		return fault(ProductionInTest, latchkey.ErrTestMode)
	}
	return fault(TestInProduction, latchkey.ErrTestMode)
}

// isTest says whether a token is for the sandbox, as its prefix has it; known is false for other texts.
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

// tokensIn are the tokens in a JSON body. Where the body is data no member of it is a token. A body that is no JSON
// object has none: a client of the product sends "[object Object]".
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
	if !ok { // a number or true must not become a text that a store finds equal to something
		return nil, httpadapter.ErrBadRequest
	}
	return []string{text}, nil
}

// presented is what the request brings along with its token. The product looks at Referer alone.
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

func (g *gateway) limitAddress(addr netip.Addr) error {
	if g.addresses == nil {
		return nil
	}
	if ok, info := g.addresses.Allow(httpadapter.AddressKey(addr)); !ok {
		return &latchkey.RateLimitError{Info: info}
	}
	return nil
}

// classify finds out what the request asks for.
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

// allowed says whether the caller may do all that the route needs.
func (g *gateway) checkNeeds(c *Call) error {
	secret := c.Access.Kind() == latchkey.KindSecret
	switch {
	case c.Secret && !secret:
		return fault(SecretRequired, latchkey.ErrDenied)
	case len(c.Needs) == 0 && !secret:
		return latchkey.ErrDenied // fail closed: nobody has said what this route is
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

// forward is the request that the handler gets: what was checked, and nothing that says otherwise.
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

// log never gets the request: its URL holds a token.
func (g *gateway) log(ctx context.Context, msg string, err error) {
	if g.opts.Logger != nil {
		g.opts.Logger.ErrorContext(ctx, "apperate: "+msg, "err", err)
	}
}
