// Package httpadapter puts latchkey before net/http handlers.
//
// For most uses, make one Adapter with [New] and wrap handlers with [Adapter.Require] or [Adapter.RequireRows]; the
// handler finds the caller with [AccessFrom]. It speaks RFC 6750 (Bearer tokens) and RFC 9457 (problem+json), and tells
// whose token has a rate what is left of it (the RateLimit fields of draft-ietf-httpapi-ratelimit-headers). The packages
// beneath this one speak documented APIs of other products; they share its credential resolver ([Carriers]), its reading
// of addresses ([ClientAddr]) and its error mapping ([ProblemOf]), which are here for hosts, too.
package httpadapter

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/latchkey-go/latchkey"
)

// Mux is what API packages mount themselves on: a *http.ServeMux, or a router of chi, the inner ones of Route and
// Mount included. For every other router use the Handler of the package; docs/routers.md shows how for each.
//
// A type of the host's own may be one, too. Handle must then take a path, a path with {name} segments, and, for all
// that lies beneath a path, either "/path/" as http.ServeMux does or "/path/*" as chi does.
type Mux interface {
	Handle(pattern string, h http.Handler)
}

// Options configure an [Adapter]. The zero value, and nil, are ready to use.
type Options struct {
	// Owner confines everything to one account: tokens of others are unknown. "": tokens of every owner pass, and the
	// handler asks [latchkey.Access.Owner] whose they are.
	Owner string

	// Realm is named in WWW-Authenticate. "": "latchkey". It holds printable ASCII but no quote and no backslash.
	Realm string

	// Proxies are the host's own proxies. Only a request that comes from one has its X-Forwarded-For read; see
	// [ClientAddr]. Nil: no header says where a request comes from.
	Proxies []netip.Prefix

	// Test makes this surface a sandbox: only test tokens pass. False: none does.
	Test bool

	// QueryToken is a URL parameter that may carry the token where no header can be set (a WebSocket, an image). Its
	// replies are neither stored nor named in a Referer. "": no parameter is read, which is best: URLs end up in logs.
	QueryToken string

	// PathValue gives the value of a wildcard of the request's route, for routers that do not fill in
	// [http.Request.PathValue]: gorilla/mux, httprouter and others. It returns what the handler takes for the value, and
	// false if the route has no such wildcard. Nil: r.PathValue, which http.ServeMux and chi fill in. See
	// [Adapter.Require] for the values that are refused.
	PathValue func(r *http.Request, name string) (value string, ok bool)

	// PathValuesDecoded says that the router hands out decoded values always, and that no handler decodes them again, as
	// with http.ServeMux. Then a value may hold a percent sign before two hex digits. False: such a value is a 400.
	PathValuesDecoded bool

	// Preflight answers CORS preflights in place of the guarded handler. Nobody is authenticated: a browser sends a
	// preflight without a credential. It may be a CORS layer before a handler that does nothing. Nil: a preflight is
	// answered 204, with the headers that a CORS layer before the Adapter has set; without one a browser gives up.
	Preflight http.Handler

	// Problem writes the body of a refusal in the host's own style. Status and headers (WWW-Authenticate, Retry-After,
	// Cache-Control) are set already, the status is not written. Nil: application/problem+json.
	Problem func(w http.ResponseWriter, r *http.Request, p Problem)

	// AddressRate is how many credentials of one client address may be refused: see [Gate]. Beyond it the store is
	// asked about no further ones from there, and the answer is 429. Callers whose token this process has verified
	// already pass all the same. Zero: [DefaultAddressRate]. A negative Count: no bound.
	AddressRate latchkey.Rate

	// OnError hears of every refusal with its cause, before the reply is written: for metrics and audit. The cause
	// never holds a secret; r does, so do not log its headers or URL. Whose token it was tells [RefusalFrom], given
	// r's context; [latchkey.Options.Observer] hears of all such refusals, whatever surface they happen on. Nil:
	// nobody listens.
	OnError func(r *http.Request, err error)

	// Logger hears of replies of 500 and above, with their cause. Nil: nobody listens.
	Logger *slog.Logger
}

// Adapter is the middleware. Safe for concurrent use.
type Adapter struct {
	opts     Options
	manager  *latchkey.Manager
	account  latchkey.Account // when opts.Owner is set
	carriers Carriers
	gate     *Gate
}

// New makes an Adapter over m. Nil options are ready to use. It panics on a nil manager and on options that cannot
// work, with a sentence that says what to mend.
func New(m *latchkey.Manager, opts *Options) *Adapter {
	if m == nil {
		panic("httpadapter: New needs a Manager")
	}
	a := &Adapter{manager: m, carriers: Carriers{Bearer: true}}
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
	for _, p := range a.opts.Proxies {
		if !p.IsValid() {
			panic("httpadapter: Options.Proxies holds an invalid prefix")
		}
	}
	if a.opts.QueryToken != "" {
		a.carriers.Query = []string{a.opts.QueryToken}
	}
	if a.opts.Owner != "" {
		a.account = m.For(a.opts.Owner)
	}
	a.gate = NewGate(a.opts.AddressRate, nil)
	return a
}

// Authenticate lets through only requests whose one credential is good, and leaves the [latchkey.Access] in the context.
// What the caller may do is not asked: see [Adapter.Require].
func (a *Adapter) Authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.setHeaders(w)
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

// Require lets through only callers that may do action on every row of resource. It authenticates the request itself
// unless [Adapter.Authenticate] did or the host left an Access with [WithAccess]. An Access from elsewhere must be one
// that this Adapter could have made: of its Manager, of Options.Owner, and of a test token if and only if Options.Test
// is set. Any other is refused like an unknown token.
//
// The resource may hold wildcards of the route, each a whole segment: "dataset/{id}" on the route "GET /data/{id}",
// "file/{*}" on chi's "/files/*". Each value becomes one literal segment, as [latchkey.Path] makes it: "a/b" is the one
// segment "a%2Fb". Require must stand inside the route, where the router has found the values.
//
// The resource asked about is the one that the handler serves. Routers differ in whether they decode values, and
// handlers in whether they read the value or the URL. So a value that could be taken for two resources is a 400:
//   - one with a percent sign before two hex digits, as it may be decoded once more (see Options.PathValuesDecoded);
//   - one with a segment that is empty, "." or "..", as it may be cleaned ("/" and "\" part segments);
//   - one with a space where the URL has "+", as gin decodes it with UseRawPath and fiber with UnescapePath;
//   - an empty one.
//
// A route that has no value for a wildcard is a mistake of the program: 500, and a line in Options.Logger that says
// what to do. A resource that is malformed panics here, when the route is set up.
//
// A CORS preflight is answered by Options.Preflight. Every other OPTIONS request is asked like any request.
func (a *Adapter) Require(action latchkey.Action, resource string) func(http.Handler) http.Handler {
	return a.require(action, resource, false)
}

// RequireRows is [Adapter.Require] for handlers that serve some rows only: it lets through whoever may do action on any
// row, and leaves the condition for [RowsFrom]. The handler must bind and apply it.
func (a *Adapter) RequireRows(action latchkey.Action, resource string) func(http.Handler) http.Handler {
	return a.require(action, resource, true)
}

func (a *Adapter) require(action latchkey.Action, resource string, rows bool) func(http.Handler) http.Handler {
	t := parseTemplate(resource)
	if action == latchkey.Any {
		panic(fmt.Sprintf("httpadapter: action %q cannot be asked about", action))
	}
	if err := action.Validate(); err != nil {
		panic(fmt.Sprintf("httpadapter: %v", err))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.setHeaders(w)
			found := newState(r.Context())
			if outer, _ := r.Context().Value(stateKey{}).(*requestState); outer == nil {
				if isPreflight(r) {
					a.preflight(w, r)
					return
				}
				if err := a.verify(w, r, found); err != nil {
					a.WriteError(w, r.WithContext(found), err)
					return
				}
			} else if err := a.checkAccess(outer.access); err != nil {
				a.WriteError(w, r, err)
				return
			} else {
				found.access, found.known, found.rows, found.hasRows = outer.access, true, outer.rows, outer.hasRows
			}
			res, err := t.resource(r, &a.opts)
			switch {
			case err != nil:
			case rows:
				found.rows, err = found.access.Filter(action, res)
				found.hasRows = err == nil
			default:
				err = found.access.Check(action, res)
			}
			if err != nil {
				a.WriteError(w, r.WithContext(found), err)
				return
			}
			next.ServeHTTP(w, r.WithContext(found))
		})
	}
}

// takes asks of an Access that another adapter or the host has made what this adapter asks of its own.
func (a *Adapter) checkAccess(access latchkey.Access) error {
	switch {
	case access.Manager() != a.manager: // the zero Access, too
		return latchkey.ErrUnknownToken
	case a.opts.Owner != "" && access.Owner() != a.opts.Owner:
		return latchkey.ErrUnknownToken
	case access.Test() != a.opts.Test: // whoever was assumed is no test token
		return latchkey.ErrTestMode
	}
	return nil
}

func (a *Adapter) setHeaders(w http.ResponseWriter) {
	if a.opts.QueryToken != "" {
		ForbidStoring(w.Header())
	}
}

// verify finds out who calls, and tells the caller what is left of its rate. The Access is left in found.
func (a *Adapter) verify(w http.ResponseWriter, r *http.Request, found *requestState) error {
	access, err := a.identify(r, found)
	var limited *latchkey.RateLimitError
	if errors.As(err, &limited) {
		setRateHeaders(w.Header(), limited.Info)
	} else if info, ok := access.Rate(); ok {
		setRateHeaders(w.Header(), info)
	}
	found.access, found.known = access, err == nil
	return err
}

// tellRate writes the RateLimit fields (draft-ietf-httpapi-ratelimit-headers, from version 8 on). Whole seconds are
// rounded up: who waits that long is not too early.
func setRateHeaders(h http.Header, info latchkey.RateInfo) {
	h.Set("RateLimit-Policy", `"token";q=`+strconv.Itoa(info.Limit)+`;w=`+wholeSeconds(info.Window))
	h.Set("RateLimit", `"token";r=`+strconv.Itoa(info.Remaining)+`;t=`+wholeSeconds(info.Reset))
}

func (a *Adapter) identify(r *http.Request, found *requestState) (latchkey.Access, error) {
	secret, err := a.carriers.Find(r)
	if err != nil {
		return latchkey.Access{}, err
	}
	p, err := Presented(r, secret, a.opts.Proxies)
	if err != nil {
		return latchkey.Access{}, err
	}
	p.Test = a.opts.Test
	found.watch(a.gate, p.Address)
	if a.opts.Owner != "" {
		return a.account.Verify(&found.watchedContext, p)
	}
	return a.manager.Verify(&found.watchedContext, p)
}

// WriteError answers with what err means (see [ProblemOf]). Handlers use it for their own refusals, so that one
// surface speaks with one voice, and [latchkey.Options.Observer] hears of them. A nil err is answered like an
// unknown one: a mistake must not read as success.
func (a *Adapter) WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = errors.New("httpadapter: WriteError without an error")
	}
	Refused(r.Context(), err)
	if a.opts.OnError != nil {
		a.opts.OnError(r, err)
	}
	p := ProblemOf(err)
	if p.Status >= 500 && a.opts.Logger != nil {
		// The route, not the URL: a URL may hold a token.
		args := []any{"method", r.Method, "route", r.Pattern, "err", err}
		if do := hint(err); do != "" {
			args = append(args, "do", do)
		}
		a.opts.Logger.ErrorContext(r.Context(), "request failed", args...)
	}
	p.write(w, r, a.opts.Realm, a.opts.Problem)
}
