// Package httpadapter is net/http middleware for latchkey.
//
// For most uses, make one Adapter with [New] and wrap handlers with [Adapter.Require] or [Adapter.RequireRows], and
// those that cost something with [Adapter.Spend] within. The handler finds the caller with [AccessFrom].
//
// A request carries its credential as a Bearer token, and wherever else [Options].Carriers says: in a header, by
// Basic, in a cookie, in the URL. Options.CORS lets pages of other origins call.
//
// The middleware follows RFC 6750 (Bearer tokens) and RFC 9457 (problem+json). For a token with a rate limit, and where
// a quota is spent, it sets the RateLimit fields of draft-ietf-httpapi-ratelimit-headers.
//
// The packages beneath this one implement documented APIs of other products. They share what is exported here for
// hosts, too: the credential resolver ([Carriers]), the client address ([ClientAddr]) and the error mapping
// ([ProblemOf]).
package httpadapter

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/adapters"
)

// Mux is what API packages register their handlers on: a *http.ServeMux, or a chi router, including the inner ones of
// chi's Route and Mount. For every other router use the Handler of the package; docs/routers.md shows how for each.
//
// Other types may implement it. Handle must then accept a path, a path with {name} segments, and a subtree. A subtree
// is "/path/" as in http.ServeMux, or "/path/*" as in chi.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// Options configure an [Adapter]. The zero value, and nil, are ready to use.
type Options struct {
	// Owner restricts the Adapter to one account: tokens of other owners are unknown. "": tokens of every owner pass,
	// and the handler reads [latchkey.Access.Owner], unless OwnerOf is set.
	Owner string

	// OwnerOf returns the owner of a request, for hosts with many tenants: by its host name, say. Tokens of other owners
	// are unknown, whatever else is wrong with them. It is called for each request with a credential, before that is
	// checked, and again by each [Adapter.Require] behind [Adapter.Authenticate] or [WithAccess]. Return [ErrNoTenant] if
	// there is no such tenant; [AccountOf] says what becomes of other errors. New panics if Owner is set as well. Nil:
	// Owner says.
	OwnerOf func(*http.Request) (string, error)

	// Realm is the realm in WWW-Authenticate: printable ASCII without quotes and backslashes. "": "latchkey".
	Realm string

	// Carriers says where requests carry their credential. List all that are wanted, Bearer too. New panics if they
	// contradict each other. Zero: Bearer alone.
	//
	// If Headers or Cookie are read, replies begin with "Cache-Control: private" and a Vary that names what is read: a
	// shared cache would store them otherwise, as it does not for Authorization (RFC 9111 §3.5). A handler may overwrite
	// both, unless Query is read: all replies then forbid storing.
	Carriers Carriers

	// CORS lets pages of other origins call the guarded routes. Nil: no header of CORS is set, and Preflight says what
	// becomes of preflights.
	CORS *CORS

	// PathValue returns the value of a wildcard of the request's route. Set it for routers that do not fill in
	// [http.Request.PathValue]: gorilla/mux, httprouter and others. It returns the value that the handler uses, and
	// false if the route has no such wildcard. Nil: r.PathValue, which http.ServeMux and chi fill in. [Adapter.Require]
	// lists the values that are refused.
	PathValue func(r *http.Request, name string) (value string, ok bool)

	// PathValuesDecoded states that the router always returns decoded values, and that no handler decodes them again, as
	// with http.ServeMux. A value may then hold a percent sign before two hex digits. False: such a value is answered
	// 400.
	PathValuesDecoded bool

	// Preflight answers CORS preflights in place of the guarded handler. Preflights are not authenticated: a browser
	// sends them without a credential. It may be a CORS layer around a handler that does nothing. Nil: a preflight is
	// answered 204, with the headers that a CORS layer before the Adapter has set. Without such a layer the browser
	// refuses the request. New panics if CORS is set as well: that answers preflights.
	Preflight http.Handler

	// Problem writes the body of a refusal in the host's own format. The headers WWW-Authenticate, Retry-After and
	// Cache-Control are set before the call. Problem must write the status p.Status, unless the protocol of the request
	// has another one for refusals, as gRPC has. It must never write an answer that reads as success there. Nil:
	// application/problem+json.
	Problem func(w http.ResponseWriter, r *http.Request, p Problem)

	// AddressRate is how many credentials of one client address may be refused: see [Gate]. Beyond it, credentials from
	// that address that need a store read are answered 429. Tokens that this process has verified already still pass.
	// Zero: [DefaultAddressRate]. A negative Count: no bound.
	AddressRate latchkey.Rate

	// Proxies are the host's own proxies. X-Forwarded-For is read only from a request that comes from one of them; see
	// [ClientAddr]. Nil: X-Forwarded-For is ignored.
	Proxies []netip.Prefix

	// Test makes this surface a sandbox: only test tokens pass. False: test tokens are refused.
	Test bool

	// OnError is called for every refusal with its cause, before the reply is written: for metrics and audit. The cause
	// never holds a secret. The request does, so do not log its headers or URL. [RefusalFrom], given r's context,
	// returns the token that was refused. [latchkey.Options.Observer] reports such refusals of all surfaces. Nil: no
	// callback.
	OnError func(r *http.Request, err error)

	// Logger receives replies of 500 and above, with their cause. It also receives a warning for each of the first eight
	// addresses that ask package forward and are not in Proxies. Nil: nothing is logged.
	Logger *slog.Logger
}

// Adapter is the middleware. Safe for concurrent use.
type Adapter struct {
	opts     Options
	manager  *latchkey.Manager
	account  func(*http.Request) (latchkey.Account, error) // when opts.Owner or opts.OwnerOf is set
	carriers Carriers                                      // as the host wrote it
	reading  Carriers                                      // the same, canonical
	vary     string                                        // the headers that carry a credential; "": Authorization alone
	cors     *corsPolicy                                   // nil: none
	gate     *Gate
	unknown  unknownProxies
}

// New returns an Adapter over m. Nil options are ready to use. It panics if m is nil or the options are invalid; the
// message says what to correct.
func New(m *latchkey.Manager, opts *Options) *Adapter {
	if m == nil {
		panic("httpadapter: New needs a Manager")
	}
	a := &Adapter{manager: m}
	if opts != nil {
		a.opts = *opts
	}
	if a.opts.Realm == "" {
		a.opts.Realm = "latchkey"
	}
	for _, c := range []byte(a.opts.Realm) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			panic(fmt.Sprintf("httpadapter: Options.Realm %q: use printable ASCII without quotes and backslashes", a.opts.Realm))
		}
	}
	adapters.CheckProxies("httpadapter", a.opts.Proxies)
	if a.carriers = a.opts.Carriers.clone(); a.carriers.isZero() {
		a.carriers.Bearer = true
	}
	if why := a.carriers.check(); why != "" {
		panic("httpadapter: Options." + why)
	}
	a.reading, a.vary = a.carriers.canonical(), a.carriers.carriedBy()
	if a.opts.CORS != nil {
		if a.opts.Preflight != nil {
			panic("httpadapter: Options has both CORS and Preflight: CORS answers preflights")
		}
		a.cors = newCORS(a.opts.CORS, &a.carriers)
	}
	switch account := (latchkey.Account{}); {
	case a.opts.OwnerOf != nil && a.opts.Owner != "":
		panic("httpadapter: Options has both Owner and OwnerOf: set one of them")
	case a.opts.OwnerOf != nil:
		a.account = AccountOf(m, a.opts.OwnerOf)
	case a.opts.Owner != "":
		account = m.For(a.opts.Owner)
		a.account = func(*http.Request) (latchkey.Account, error) { return account, nil }
	}
	a.gate = NewGate(a.opts.AddressRate, nil)
	return a
}

// Manager returns the Manager that the Adapter was made with.
func (a *Adapter) Manager() *latchkey.Manager { return a.manager }

// Authenticate passes only requests with exactly one valid credential, and stores the [latchkey.Access] in the
// context. It does not check what the caller may do: see [Adapter.Require].
func (a *Adapter) Authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.setHeaders(w, r)
		if isPreflight(r) {
			a.preflight(w, r)
			return
		}
		found := newState(r.Context())
		if err := a.verify(w, r, found); err != nil {
			a.WriteError(w, r.WithContext(found), err)
			return
		}
		next.ServeHTTP(w, r.WithContext(found))
	})
}

// Identify is [Adapter.Authenticate] for handlers that may stand behind a host's own sign-in, too: an Access that the
// host set with [WithAccess] passes without a credential. It must be one that this Adapter could have made: see
// [Adapter.Require].
//
// The host may have found it by something that browsers add by themselves. So such a request is refused where a cookie
// would be: see [Carriers.TrustedOrigins]. One with a Bearer token is not, because only a program sets that. A request
// by a link from another origin passes only if its method is GET or HEAD: next must change nothing for these.
func (a *Adapter) Identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.setHeaders(w, r)
		if isPreflight(r) {
			a.preflight(w, r)
			return
		}
		found := newState(r.Context())
		if !a.caller(w, r, found) {
			return
		}
		if found.given {
			if err := a.checkGiven(r); err != nil {
				a.WriteError(w, r.WithContext(found), err)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(found))
	})
}

// checkGiven returns an error for a request that a page of another origin may have made in a signed-in browser.
func (a *Adapter) checkGiven(r *http.Request) error {
	scheme, _, err := Authorization(r)
	if err != nil {
		return err
	}
	if strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	_, err = a.reading.checkOrigin(r, a.cors)
	return err
}

// Carriers returns where requests carry their credential: Options.Carriers, or Bearer alone.
func (a *Adapter) Carriers() Carriers { return a.carriers.clone() }

// Require passes only callers that may do action on every row of resource. It authenticates the request itself unless
// [Adapter.Authenticate] did or the host set an Access with [WithAccess]. Such an Access must be one that this Adapter
// could have made: of its Manager and of the owner that Options.Owner or OwnerOf says. It must be of a test token if
// and only if Options.Test is set. Any other is refused like an unknown token.
//
// The resource may hold wildcards of the route, each a whole segment: "dataset/{id}" on the route "GET /data/{id}",
// "file/{*}" on chi's "/files/*". Each value becomes one literal segment, as [latchkey.Path] makes it: "a/b" is the
// one segment "a%2Fb". Require must be inside the route, where the router has found the values.
//
// The resource that is checked must be the one that the handler serves. Routers differ in whether they decode values,
// and handlers in whether they read the value or the URL. So a value that could be taken for two resources is a 400:
//
//   - one with a percent sign before two hex digits, as it may be decoded once more (see Options.PathValuesDecoded);
//   - one with a segment that is empty, "." or "..", as it may be cleaned ("/" and "\" separate segments);
//   - one with a space where the URL has "+", as gin decodes it with UseRawPath and fiber with UnescapePath;
//   - an empty one.
//
// A route without a value for a wildcard is a programming error. The reply is 500, and Options.Logger receives a line
// that says what to do. A malformed resource panics in Require, when the route is set up. So does an action or a
// resource that [latchkey.Options.Catalogue] does not have, and for RequireRows a resource without a Schema there.
//
// A CORS preflight is answered by Options.Preflight. Every other OPTIONS request is checked like any request.
func (a *Adapter) Require(action latchkey.Action, resource string) func(http.Handler) http.Handler {
	return a.require(action, resource, false)
}

// RequireRows is [Adapter.Require] for handlers that serve only some rows. It passes callers that may do action on
// any row, and stores the condition for [RowsFrom]. The handler must bind and apply it.
//
// A handler that forgets its rows would show every row. So it must call [RowsFrom], or [RowsNotNeeded], before the
// first byte of its answer. An answer without either is replaced by a 500, which has no header that the handler set,
// and Options.Logger receives a line with the route. That holds for every caller, also for one that may see all rows.
// Three kinds of answer pass:
//
//   - a status of 400 and above: a handler that failed before it knew its rows may say so;
//   - a refusal of [Adapter.WriteError], whatever status Options.Problem gives it;
//   - informational ones (1xx): the answer comes later.
//
// A 304 is no exception: that nothing has changed is a statement about rows. The check is made at the first
// WriteHeader, Write, Flush or Hijack, and when the handler returns. So a framework must run the handler inside, with
// the writer that it is given: see integrations/frameworks. The writer does not push (HTTP/2). A panic of the handler
// passes through.
//
// Of RequireRows within RequireRows the inner rows are those that the handler gets. To ask for them is enough for both.
func (a *Adapter) RequireRows(action latchkey.Action, resource string) func(http.Handler) http.Handler {
	return a.require(action, resource, true)
}

// require implements Require and, if rows is set, RequireRows.
func (a *Adapter) require(action latchkey.Action, resource string, rows bool) func(http.Handler) http.Handler {
	t := parseTemplate(resource)
	if action == latchkey.Any {
		panic(fmt.Sprintf("httpadapter: action %q stands for every action: name one action", action))
	}
	if err := action.Validate(); err != nil {
		panic(fmt.Sprintf("httpadapter: %v", err))
	}
	if err := a.manager.Catalogue().CheckRoute(action, resource, rows); err != nil {
		panic(fmt.Sprintf("httpadapter: %v", err))
	}
	guard := &rowsGuard{action, resource}
	asked := latchkey.PrepareQuestion(action, t.constant) // of a resource without wildcards
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.setHeaders(w, r)
			var guarded *rowsState
			var call *guardedCall
			if rows {
				guarded = new(rowsState)
				call = &guarded.guardedCall
			} else {
				call = new(guardedCall)
			}
			found := &call.requestState
			found.Context = r.Context()
			if !a.caller(w, r, found) {
				return
			}
			found.on = resource
			var space [128]byte // most resources fit
			res, err := t.appendTo(space[:0], r, &a.opts)
			switch {
			case err != nil:
			case found.linked && action != latchkey.Read: // a link must change nothing
				err = ErrCrossOrigin
			case rows:
				found.rows, err = found.access.Filter(action, t.named(res))
				found.hasRows = err == nil
			case t.constant != "" && found.access.AllowsQuestion(asked):
			case t.constant == "" && found.access.Allows(action, latchkey.Resource(res)): // up to 32 bytes are not copied
			default:
				err = found.access.Check(action, t.named(res))
			}
			if err != nil {
				a.WriteError(w, r.WithContext(found), err)
				return
			}
			call.request = *r.WithContext(found)
			if guarded == nil {
				next.ServeHTTP(w, &call.request)
				return
			}
			guarded.writer = rowsWriter{ResponseWriter: w, adapter: a, request: &call.request, state: found, guard: guard}
			guarded.writer.serve(next)
		})
	}
}

// guardedCall is the state of a request behind Require and the request that its handler gets, in one allocation.
type guardedCall struct {
	requestState
	request http.Request
}

// caller fills found with the caller of a request, who is authenticated: by an outer middleware, by the host, or here.
// It returns false if it has replied.
func (a *Adapter) caller(w http.ResponseWriter, r *http.Request, found *requestState) bool {
	outer, _ := r.Context().Value(stateKey{}).(*requestState)
	if outer == nil {
		if isPreflight(r) {
			a.preflight(w, r)
			return false
		}
		if err := a.verify(w, r, found); err != nil {
			a.WriteError(w, r.WithContext(found), err)
			return false
		}
		return true
	}
	if err := a.checkAccess(r, outer.access); err != nil {
		a.WriteError(w, r, err)
		return false
	}
	found.access, found.known, found.rows, found.hasRows = outer.access, true, outer.rows, outer.hasRows
	found.linked, found.given, found.outer, found.on = outer.linked, outer.given, outer, outer.on
	return true
}

// checkAccess returns an error unless access, which the context of r carries, is one that this Adapter could have made
// for r. It checks its own, too: a host may use a context for requests to several tenants.
func (a *Adapter) checkAccess(r *http.Request, access latchkey.Access) error {
	if access.Manager() != a.manager { // the zero Access, too
		return latchkey.ErrUnknownToken
	}
	if a.account != nil {
		account, err := a.account(r)
		if err != nil {
			return err
		}
		if access.Owner() != account.Owner() {
			return latchkey.ErrUnknownToken
		}
	}
	switch {
	case access.Test() != a.opts.Test: // an assumed Access is not a test token's
		return latchkey.ErrTestMode
	}
	return nil
}

// setHeaders sets what every reply carries, the handler's included. It may be called again for the same reply.
func (a *Adapter) setHeaders(w http.ResponseWriter, r *http.Request) {
	if a.cors != nil {
		a.cors.setHeaders(w.Header(), r)
	}
	if a.vary != "" {
		h := w.Header()
		addVary(h, a.vary)
		if len(h["Cache-Control"]) == 0 {
			h.Set("Cache-Control", "private")
		}
	}
	if len(a.carriers.Query) > 0 {
		ForbidStoring(w.Header())
	}
}

// addVary adds names to Vary, unless that was done before.
func addVary(h http.Header, names string) {
	if !slices.Contains(h["Vary"], names) {
		h.Add("Vary", names)
	}
}

// verify authenticates the request, stores the Access in found, and sets the RateLimit fields.
func (a *Adapter) verify(w http.ResponseWriter, r *http.Request, found *requestState) error {
	if err := a.identify(r, found); err != nil {
		var limited *latchkey.RateLimitError
		if errors.As(err, &limited) {
			setRateHeaders(w.Header(), limited.Info)
		}
		return err
	}
	if info, ok := found.access.Rate(); ok {
		setRateHeaders(w.Header(), info)
	}
	found.known = true
	return nil
}

// setRateHeaders writes the RateLimit fields (draft-ietf-httpapi-ratelimit-headers, version 8 and later). Whole
// seconds are rounded up, so that a client that waits so long is not too early.
func setRateHeaders(h http.Header, info latchkey.RateInfo) {
	h.Set("RateLimit-Policy", `"token";q=`+strconv.Itoa(info.Limit)+`;w=`+wholeSeconds(info.Window))
	h.Set("RateLimit", `"token";r=`+strconv.Itoa(info.Remaining)+`;t=`+wholeSeconds(info.Reset))
}

// identify finds the credential of the request, verifies it, and stores the Access in found: with an error one that
// allows nothing.
func (a *Adapter) identify(r *http.Request, found *requestState) error {
	credential, err := a.reading.find(r, a.cors, nil)
	if err != nil {
		return err
	}
	found.linked = credential.linked
	p := latchkey.Presented{Secret: credential.text, Test: a.opts.Test}
	if err := present(r, a.opts.Proxies, &p); err != nil {
		return err
	}
	found.watch(a.gate, p.Address)
	if a.account != nil {
		account, err := a.account(r)
		if err != nil {
			return err
		}
		found.access, err = account.Verify(&found.watchedContext, p)
		return err
	}
	found.access, err = a.manager.Verify(&found.watchedContext, p)
	return err
}

// WriteError writes the reply for err (see [ProblemOf]). Handlers use it for their own refusals, so that all refusals
// of a surface look alike and [latchkey.Options.Observer] receives them. A nil err is answered 500: a mistake must
// not read as success.
func (a *Adapter) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = errors.New("httpadapter: WriteError without an error")
	}
	Refused(r.Context(), err)
	if a.opts.OnError != nil {
		a.opts.OnError(r, err)
	}
	RowsNotNeeded(r.Context()) // a refusal shows no row, also where Options.Problem writes it with status 200
	p := ProblemOf(err)
	if p.Status >= 500 && a.opts.Logger != nil {
		// The route, not the URL: a URL may hold a token.
		args := []any{"method", r.Method, "route", r.Pattern, "err", err}
		if h := hint(err); h != "" {
			args = append(args, "hint", h)
		}
		a.opts.Logger.ErrorContext(r.Context(), "request failed", args...)
	}
	if p.Status == http.StatusForbidden && a.opts.Logger != nil && errors.Is(err, adapters.ErrNotProxy) &&
		a.unknown.first(r.RemoteAddr) {
		a.opts.Logger.WarnContext(r.Context(), "a question was refused", "address", r.RemoteAddr, "err", err,
			"hint", "if this is the address of the proxy, add it to Options.Proxies")
	}
	p.write(w, r, a.carriers.Challenges(p, a.opts.Realm), a.opts.Problem)
}
