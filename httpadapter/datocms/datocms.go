package datocms

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/mount"
)

// Options configure [Mount], [Handler] and [Delivery]. The zero value, and nil, are ready to use.
type Options struct {
	// Account returns the account of a request, for hosts with many tenants: see [httpadapter.AccountOf]. Its errors are
	// answered as by [WriteError]. Nil: the account given to Mount.
	Account func(*http.Request) (latchkey.Account, error)

	// Environments are the ids of the host's environments, the primary one first. A request that names another one is
	// refused, and GET /environments lists them. A role is compiled for the primary environment when it is saved: call
	// [Recompile] after the primary one changes. Nil: one environment, "main".
	Environments []string

	// Rate is how often one token may call, and how often one client address may call with invalid tokens. Beyond it,
	// invalid tokens are refused without a store read (see [httpadapter.Gate]). Zero: [DefaultRate], or
	// [DefaultDeliveryRate] for [Delivery]. Each Mount, Handler and Delivery counts on its own.
	Rate latchkey.Rate

	// AllowEscalation lets callers that may manage tokens or roles make, change and read ones that may do more than the
	// caller. The audit trail then names the host as the actor. False: such calls are refused.
	AllowEscalation bool

	// OpenRoles lets every caller read roles. False: only callers that may manage tokens or users.
	OpenRoles bool

	// NegativesNotInherited lets a role grant again what a role it inherits denies. It applies when a role is saved, and
	// to [Recompile]. False: negative permissions win, in the role itself and in the roles it inherits.
	NegativesNotInherited bool

	// PreviewReadsPublished lets a token that has only can_access_cda_preview read published content. False: that
	// requires can_access_cda.
	PreviewReadsPublished bool

	// AnyVersion accepts requests without "X-Api-Version: 3". False: they are refused, as for the product's newer
	// projects.
	AnyVersion bool

	// Reassign is called before a token is destroyed. The host gives what the token owns to the destination, or returns
	// [ErrDestinationRequired] or [ErrDestination]. The destination is zero if the request names none. Nil: tokens own
	// nothing.
	Reassign func(r *http.Request, tokenID string, to Destination) error

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr]. Nil: X-Forwarded-For is ignored.
	Proxies []netip.Prefix

	// Clock returns the current time. Pass the Manager's clock. Nil: time.Now.
	Clock func() time.Time

	// OnError is called for every refusal with its cause, before the reply is written. The cause never holds a secret;
	// the request does. [httpadapter.RefusalFrom] returns the token that was refused. Nil: no callback.
	OnError func(r *http.Request, err error)

	// Logger receives replies of 500 and above, with their cause. Nil: nothing is logged.
	Logger *slog.Logger
}

// Destination is the user who receives what a destroyed token owned.
type Destination struct {
	Type string // account, organization, user, access_token or sso_user
	ID   string
}

// surface is an account and the options it is served with.
type surface struct {
	accountOf func(*http.Request) (latchkey.Account, error)
	opts      Options
	meter     string
	limiter   *latchkey.Limiter
	gate      *httpadapter.Gate
}

func newSurface(account latchkey.Account, opts *Options, meter string, rate latchkey.Rate) *surface {
	s := &surface{meter: meter}
	if opts != nil {
		s.opts = *opts
	}
	s.accountOf = adapters.Account("datocms", account, s.opts.Account)
	if s.opts.Rate == (latchkey.Rate{}) {
		s.opts.Rate = rate
	}
	if s.opts.Rate.Count <= 0 || s.opts.Rate.Per <= 0 || s.opts.Rate.Burst < 0 {
		panic("datocms: Options.Rate needs a positive Count and Per, and no negative Burst")
	}
	if s.opts.Clock == nil {
		s.opts.Clock = time.Now
	}
	for i, env := range s.environments() {
		if !validID(env) || slices.Contains(s.environments()[:i], env) {
			panic(fmt.Sprintf("datocms: Options.Environments: %q is not a valid id, or is listed twice", env))
		}
	}
	adapters.CheckProxies("datocms", s.opts.Proxies)
	s.limiter = latchkey.NewLimiter(s.opts.Rate, s.opts.Clock)
	s.gate = httpadapter.NewGate(s.opts.Rate, s.opts.Clock)
	return s
}

func (s *surface) environments() []string {
	if len(s.opts.Environments) == 0 {
		return []string{"main"}
	}
	return s.opts.Environments
}

// Mount registers /access_tokens, /roles and /environments with all paths beneath them. The product's clients repeat
// a GET for ever if its reply is not JSON, as a mux's own 404 is. A host whose clients call other paths of the
// product should give all of its prefix to [Handler] instead. Nil options are ready to use. It panics on invalid
// options.
func Mount(mux httpadapter.Mux, account latchkey.Account, opts *Options) {
	s := newSurface(account, opts, MeterCMA, DefaultRate)
	// These are for paths that do not exist: the product's client repeats a GET for ever when it gets a plain 404.
	for _, path := range []string{"/access_tokens", "/access_tokens/{id}", "/access_tokens/{id}/regenerate_token",
		"/roles", "/roles/{id}", "/roles/{id}/duplicate", "/environments", "/environments/{id}"} {
		mount.Path(mux, path, s)
	}
	for _, path := range []string{"/access_tokens", "/roles", "/environments"} {
		mount.Beneath(mux, path, path, s)
	}
}

// Handler serves the paths of [Mount]. It answers every other path with the product's 404 INVALID_ENDPOINT, which
// ends a client's call where a plain 404 does not. Give it a host name of its own, or a prefix with
// [http.StripPrefix]:
//
//	mux.Handle("/cma/", http.StripPrefix("/cma", datocms.Handler(account, nil)))
func Handler(account latchkey.Account, opts *Options) http.Handler {
	return newSurface(account, opts, MeterCMA, DefaultRate)
}

// call is one request of an authenticated caller.
type call struct {
	s       *surface
	account latchkey.Account // with every right of the host: each use is checked here
	access  latchkey.Access
	r       *http.Request
	id      string // of the path
}

// endpoint serves a call. It returns the reply's status and the data of its document.
type endpoint func(*call) (status int, data any, err error)

var endpoints = map[string]endpoint{
	"GET /access_tokens":                       (*call).listTokens,
	"POST /access_tokens":                      (*call).createToken,
	"GET /access_tokens/:id":                   (*call).findToken,
	"PUT /access_tokens/:id":                   (*call).updateToken,
	"DELETE /access_tokens/:id":                (*call).destroyToken,
	"POST /access_tokens/:id/regenerate_token": (*call).regenerateToken,
	"GET /roles":                               (*call).listRoles,
	"POST /roles":                              (*call).createRole,
	"GET /roles/:id":                           (*call).findRole,
	"PUT /roles/:id":                           (*call).updateRole,
	"DELETE /roles/:id":                        (*call).destroyRole,
	"POST /roles/:id/duplicate":                (*call).duplicateRole,
	"GET /environments":                        (*call).listEnvironments,
	"GET /environments/:id":                    (*call).findEnvironment,
}

// route returns the endpoint of a request. It splits the path before it unescapes the segments, as muxes do.
func route(r *http.Request) (name, id string, ok bool) {
	segments := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if len(segments) > 1 {
		var err error
		if id, err = url.PathUnescape(segments[1]); err != nil || id == "" {
			return "", "", false
		}
		segments[1] = ":id"
	}
	method := r.Method
	if method == http.MethodHead { // RFC 9110, section 9.3.2: GET without the body, which net/http leaves out
		method = http.MethodGet
	}
	name = method + " /" + strings.Join(segments, "/")
	_, ok = endpoints[name]
	return name, id, ok
}

func (s *surface) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.setHeaders(w, r)
	if r.Method == http.MethodOptions {
		preflight(w)
		return
	}
	r, status, data, err := s.serve(w, r)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	// These replies hold tokens, so no-store is added to what the product sends.
	w.Header().Set("Cache-Control", "max-age=0, private, must-revalidate, no-store")
	writeJSON(w, status, document{data})
}

// serve authenticates a request and runs its endpoint. The returned request carries the caller in its context.
func (s *surface) serve(w http.ResponseWriter, r *http.Request) (*http.Request, int, any, error) {
	r, account, access, err := s.authenticate(w, r)
	if err != nil {
		return r, 0, nil, err
	}
	status, data, err := s.answer(w, r, account, access)
	return r, status, data, err
}

// answer checks the request of an authenticated caller and runs its endpoint.
func (s *surface) answer(w http.ResponseWriter, r *http.Request, account latchkey.Account, access latchkey.Access) (
	int, any, error) {
	if !mayCall(access.Kind()) {
		return 0, nil, refuse(http.StatusUnauthorized, codeAuthorization, latchkey.ErrDenied)
	}
	if err := access.Check(latchkey.Use, apiCMA); err != nil {
		return 0, nil, refuse(http.StatusUnauthorized, codeAuthorization, err)
	}
	name, id, ok := route(r)
	if !ok {
		return 0, nil, refuse(http.StatusNotFound, codeEndpoint, latchkey.ErrNotFound)
	}
	access.Count(s.meter, name, 1)
	if err := s.checkHeaders(w, r); err != nil {
		return 0, nil, err
	}
	return endpoints[name](&call{s: s, account: account, access: access, r: r, id: id})
}

// authenticate verifies the request's token, and applies the rate limit. The returned request carries the caller in
// its context.
func (s *surface) authenticate(w http.ResponseWriter, r *http.Request) (
	*http.Request, latchkey.Account, latchkey.Access, error) {
	account, accountErr := s.accountOf(r)
	if accountErr != nil && !errors.Is(accountErr, latchkey.ErrUnknownToken) {
		return r, account, latchkey.Access{}, accountErr
	}
	address, addressErr := httpadapter.ClientAddr(r, s.opts.Proxies)
	r = r.WithContext(s.gate.Watch(r.Context(), address))
	access, err := s.verify(r, account, addressErr, accountErr)
	if errors.Is(err, latchkey.ErrUnavailable) {
		return r, account, access, err
	}
	key := "token " + access.TokenID() + " " + access.Owner()
	if err != nil {
		key = "address " + httpadapter.AddressKey(address)
	} else {
		r = r.WithContext(httpadapter.WithAccess(r.Context(), access))
	}
	passes, info := s.limiter.Allow(key)
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(info.Remaining))
	if !passes {
		err = &latchkey.RateLimitError{Info: info}
	}
	return r, account, access, err
}

// verify returns the access of the request's token. addressErr is the error of the client's address, if any, and
// unknown that there is no such account. It is answered as an unknown token is, with the same headers.
func (s *surface) verify(r *http.Request, account latchkey.Account, addressErr, unknown error) (
	latchkey.Access, error) {
	secret, err := (httpadapter.Carriers{Bearer: true}).Find(r)
	if err == nil {
		err = addressErr
	}
	var p latchkey.Presented
	if err == nil {
		p, err = httpadapter.Presented(r, secret, s.opts.Proxies)
	}
	switch {
	case errors.Is(err, httpadapter.ErrManyCredentials):
		return latchkey.Access{}, refuse(http.StatusBadRequest, codeAuthorization, err)
	case err != nil:
		return latchkey.Access{}, refuse(http.StatusUnauthorized, codeAuthorization, err)
	case unknown != nil:
		return latchkey.Access{}, unknown
	}
	return account.Verify(r.Context(), p)
}

// checkHeaders checks Accept, X-Api-Version and X-Environment.
func (s *surface) checkHeaders(w http.ResponseWriter, r *http.Request) error {
	if accept := r.Header.Values("Accept"); len(accept) > 0 && !slices.ContainsFunc(accept, func(v string) bool {
		return strings.Contains(v, "json") || strings.Contains(v, "*/*") || strings.Contains(v, "application/*")
	}) {
		return refuse(http.StatusNotAcceptable, codeAccept, httpadapter.ErrBadRequest)
	}
	if v := r.Header.Values("X-Api-Version"); !s.opts.AnyVersion && (len(v) != 1 || v[0] != "3") {
		return refuse(http.StatusUnprocessableEntity, codeVersion, httpadapter.ErrBadRequest)
	}
	_, err := s.environment(w, r)
	return err
}

// environment returns the environment that the header or inPath names, else the primary one. Tokens and roles belong
// to no environment, but the header is checked all the same.
func (s *surface) environment(w http.ResponseWriter, r *http.Request, inPath ...string) (string, error) {
	env := s.environments()[0]
	named := slices.Concat(inPath, r.Header.Values("X-Environment"))
	if len(named) > 0 {
		env = named[0]
	}
	// Two headers are refused even if equal. Path and header must be equal.
	twice := len(named)-len(inPath) > 1
	differ := len(named) > 0 && named[len(named)-1] != env
	if twice || differ || !slices.Contains(s.environments(), env) {
		return "", refuse(http.StatusNotFound, codeEnvironment, latchkey.ErrNotFound)
	}
	w.Header().Set("X-Environment", env)
	return env, nil
}

// allowHeaders are the headers that the product allows, and all that its clients set: @datocms/cma-client-browser and
// @datocms/cda-client.
const allowHeaders = "accept, authorization, content-type, x-environment, x-site-domain, x-api-version, user-agent, " +
	"x-session-id, x-include-drafts, x-exclude-invalid, x-visual-editing, x-base-editing-url, x-cache-tags"

// exposeHeaders are the reply headers that those clients read. A handler behind [Delivery] may set X-Cache-Tags.
const exposeHeaders = "x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-api-version, x-environment, " +
	"x-request-id, x-cache-tags"

// setHeaders sets the headers of every reply. Pages of any origin may call: the credential is a token, never a
// cookie.
func (s *surface) setHeaders(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("X-Api-Version", "3")
	h.Set("X-Request-Id", randomHex(16))
	h.Set("X-RateLimit-Limit", strconv.Itoa(1+s.opts.Rate.Burst))
	h.Set("Vary", "Accept, Accept-Encoding, Authorization")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposeHeaders)
}

func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, OPTIONS, DELETE")
	h.Set("Access-Control-Allow-Headers", allowHeaders)
	h.Set("Access-Control-Max-Age", "1728000")
	w.WriteHeader(http.StatusNoContent)
}

// writeError reports and logs err, and writes its reply.
func (s *surface) writeError(w http.ResponseWriter, r *http.Request, err error) {
	httpadapter.Refused(r.Context(), err)
	if s.opts.OnError != nil {
		s.opts.OnError(r, err)
	}
	out := refusalOf(err)
	if out.status >= 500 && s.opts.Logger != nil {
		s.opts.Logger.ErrorContext(r.Context(), "call failed", "method", r.Method, "route", r.Pattern, "err", err)
	}
	out.write(w)
}

// seconds returns X-RateLimit-Reset: whole seconds, at least 1. Clients wait exactly that long before they retry.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// admin returns the account to make a change with. The caller's rights are checked, and its name is recorded.
func (c *call) admin(action latchkey.Action, kind, id string) (latchkey.Account, error) {
	if id == "" {
		id = "new"
	}
	if err := c.access.Check(action, latchkey.Path("latchkey", kind, id)); err != nil {
		return latchkey.Account{}, err
	}
	if c.s.opts.AllowEscalation {
		return c.account, nil
	}
	return c.account.As(c.access)
}

// linkage is a JSON:API resource identifier.
type linkage struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

type relationship struct {
	Data any `json:"data"`
}

type environment struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Meta environmentMeta `json:"meta"`
}

type environmentMeta struct {
	Status   string  `json:"status"`
	Created  string  `json:"created_at"`
	ReadOnly bool    `json:"read_only_mode"`
	Changed  string  `json:"last_data_change_at"`
	Primary  bool    `json:"primary"`
	Forked   *string `json:"forked_from"`
}

func (s *surface) renderEnvironment(id string) environment {
	primary := s.environments()[0]
	e := environment{
		ID:   id,
		Type: "environment",
		Meta: environmentMeta{Status: "ready", Created: unknownTime, Changed: unknownTime,
			Primary: id == primary},
	}
	if id != primary {
		e.Meta.Forked = &primary
	}
	return e
}

func (c *call) listEnvironments() (int, any, error) {
	list := []environment{}
	for _, id := range c.s.environments() {
		list = append(list, c.s.renderEnvironment(id))
	}
	return http.StatusOK, list, nil
}

func (c *call) findEnvironment() (int, any, error) {
	if !slices.Contains(c.s.environments(), c.id) {
		return 0, nil, latchkey.ErrNotFound
	}
	return http.StatusOK, c.s.renderEnvironment(c.id), nil
}

func itoa(n int) string { return strconv.Itoa(n) }
