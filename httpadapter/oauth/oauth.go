package oauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/mount"
)

// Origin is the Token.Origin of what is minted here.
const Origin = "oauth"

// DefaultLifetime is how long a token lives if [Options.Lifetime] is 0.
const DefaultLifetime = 15 * time.Minute

// Options configure [Mount] and [Handler]. They must not be changed afterwards.
type Options struct {
	// Issuer is the URL that identifies this server to its clients: "https://api.example.com". The endpoints are beneath
	// it. It has no query, no fragment and no slash at its end. Its scheme is https; http is allowed for localhost.
	// Required.
	Issuer string

	// Scopes says what each scope allows. Names are those of RFC 6749 §3.3: visible ASCII without quotes and backslashes.
	// The rules of a scope must be Grants that name their actions, so that scopes add up in any order. They must not refer
	// to SelfRoles, because what is minted here has no roles. At least one is required, at most 64 are taken.
	Scopes map[string]latchkey.Permissions

	// Lifetime is how long a token lives, a second or more. It ends earlier with its parent, and where
	// [latchkey.OwnerPolicy] says so. The reply tells. 0: [DefaultLifetime].
	Lifetime time.Duration

	// Resource is the identifier of what the tokens are for (RFC 8707, RFC 9728): the URL of the host's API, with the
	// rules of Issuer. Its metadata is served if its scheme and host are those of Issuer. "": Issuer.
	Resource string

	// Owner restricts the endpoints to the tokens of one account. "": those of every owner, unless OwnerOf is set.
	Owner string

	// OwnerOf returns the owner of a request, for hosts with many tenants: see [httpadapter.Options.OwnerOf]. It must not
	// be set beside Owner. Nil: Owner says.
	OwnerOf func(*http.Request) (string, error)

	// ClientID reports whether a client may call itself id. The client has proved by then that it holds the token. Nil: id
	// must be the id of the token or, if it has one, of its client.
	ClientID func(client latchkey.Access, id string) bool

	// TrustedOrigins are other origins whose pages may use Basic credentials that the browser keeps: see
	// [httpadapter.Carriers]. Nil: none.
	TrustedOrigins []string

	// Realm is the realm in WWW-Authenticate: printable ASCII without quotes and backslashes. "": "latchkey".
	Realm string

	// AddressRate is how many credentials of one client address may be refused: see [httpadapter.Gate]. Zero:
	// [httpadapter.DefaultAddressRate]. A negative Count: no bound.
	AddressRate latchkey.Rate

	// Proxies are the host's own proxies: see [httpadapter.ClientAddr]. Nil: X-Forwarded-For is ignored.
	Proxies []netip.Prefix

	// Test makes these endpoints a sandbox: only test tokens pass. False: test tokens are refused.
	Test bool

	// OnError is called for every refusal with its cause, before the reply is written. The cause never holds a secret;
	// the request may. Nil: no callback.
	OnError func(r *http.Request, err error)

	// Logger receives replies of 500 and above, with their cause. Nil: nothing is logged.
	Logger *slog.Logger
}

// surface is a Manager and the options it is served with.
type surface struct {
	manager   *latchkey.Manager
	opts      Options
	account   func(*http.Request) (latchkey.Account, error) // nil: every owner
	gate      *httpadapter.Gate
	names     []string // of the scopes, in order
	resource  string
	patience  time.Duration           // for the comparison of a token with the scopes
	endpoints map[string]http.Handler // by path
}

// Mount registers the endpoints: beneath the path of Options.Issuer /oauth/token, /oauth/introspect and /oauth/revoke,
// and the metadata beneath /.well-known/oauth-authorization-server and /.well-known/oauth-protected-resource. It panics
// on invalid options.
func Mount(mux httpadapter.Mux, m *latchkey.Manager, opts *Options) {
	for path, h := range newSurface(m, opts).endpoints {
		mount.Handle(mux, path, h)
	}
}

// Handler returns a handler with the endpoints that [Mount] registers, for hosts that route requests themselves. It
// answers every other path with 404.
func Handler(m *latchkey.Manager, opts *Options) http.Handler {
	return adapters.Endpoints(newSurface(m, opts).endpoints)
}

func newSurface(m *latchkey.Manager, opts *Options) *surface {
	if m == nil || opts == nil {
		panic("oauth: Mount needs a Manager and Options with Issuer and Scopes")
	}
	s := &surface{manager: m, opts: *opts, patience: 5 * time.Second}
	issuer := adapters.CheckURL("oauth", "Issuer", s.opts.Issuer)
	if s.resource = s.opts.Resource; s.resource == "" {
		s.resource = s.opts.Issuer
	}
	resource := adapters.CheckURL("oauth", "Resource", s.resource)
	s.checkScopes()
	switch {
	case s.opts.Lifetime == 0:
		s.opts.Lifetime = DefaultLifetime
	case s.opts.Lifetime < time.Second:
		panic("oauth: Options.Lifetime must be a second or more")
	}
	switch {
	case s.opts.OwnerOf != nil && s.opts.Owner != "":
		panic("oauth: set Options.Owner or Options.OwnerOf, not both")
	case s.opts.OwnerOf != nil:
		s.account = httpadapter.AccountOf(m, s.opts.OwnerOf)
	case s.opts.Owner != "":
		s.account = adapters.Account("oauth", m.For(s.opts.Owner), nil)
	}
	if s.opts.ClientID == nil {
		s.opts.ClientID = func(client latchkey.Access, id string) bool {
			return id == client.TokenID() || id == client.Client().ID
		}
	}
	if s.opts.Realm == "" {
		s.opts.Realm = "latchkey"
	}
	if strings.ContainsFunc(s.opts.Realm, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		panic("oauth: Options.Realm must be printable ASCII without quotes and backslashes")
	}
	adapters.CheckProxies("oauth", s.opts.Proxies)
	s.gate = httpadapter.NewGate(s.opts.AddressRate, nil)
	base := issuer.Path
	s.endpoints = map[string]http.Handler{
		base + "/oauth/token":      s.endpoint(s.token),
		base + "/oauth/introspect": s.endpoint(s.introspect),
		base + "/oauth/revoke":     s.endpoint(s.revoke),

		"/.well-known/oauth-authorization-server" + base: adapters.Document(s.serverMetadata()),
	}
	if resource.Scheme == issuer.Scheme && resource.Host == issuer.Host {
		s.endpoints["/.well-known/oauth-protected-resource"+resource.Path] = adapters.Document(s.resourceMetadata())
	}
	return s
}

// selfRolesJSON is how a condition writes latchkey.SelfRoles. Within a text, quotes are escaped.
const selfRolesJSON = `{"ref":"self_roles"}`

// checkScopes checks Options.Scopes and fills in names. It panics if a scope is invalid.
func (s *surface) checkScopes() {
	if n := len(s.opts.Scopes); n == 0 || n > maxScopes {
		panic(fmt.Sprintf("oauth: Options.Scopes must have 1 to %d scopes", maxScopes))
	}
	for name, rules := range s.opts.Scopes {
		if name == "" || len(name) > 128 || strings.ContainsFunc(name, func(c rune) bool {
			return c <= ' ' || c > '~' || c == '"' || c == '\\'
		}) {
			panic(fmt.Sprintf("oauth: Options.Scopes: %q is no name of a scope", name))
		}
		if len(rules) == 0 {
			panic(fmt.Sprintf("oauth: Options.Scopes: %q has no rules", name))
		}
		for _, r := range rules {
			if data, err := json.Marshal(r.Condition()); err == nil && bytes.Contains(data, []byte(selfRolesJSON)) {
				panic(fmt.Sprintf("oauth: Options.Scopes: %q refers to SelfRoles, and what is minted here has no roles", name))
			}
			if r.Verb() != latchkey.VerbGrant || slices.Contains(r.Actions(), latchkey.Any) {
				panic(fmt.Sprintf("oauth: Options.Scopes: each rule of %q must be a Grant that names its actions", name))
			}
		}
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	if err := s.rules(s.names).Validate(); err != nil {
		panic(fmt.Sprintf("oauth: Options.Scopes: all together: %v", err))
	}
}

// rules returns what scopes allow together.
func (s *surface) rules(names []string) latchkey.Permissions {
	var all latchkey.Permissions
	for _, name := range names {
		all = append(all, s.opts.Scopes[name]...)
	}
	return all
}

// endpoint serves POST requests with a form.
func (s *surface) endpoint(answer func(*http.Request, params) (*http.Request, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forbidStoring(w.Header())
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			writeError(w, http.StatusMethodNotAllowed, codeInvalidRequest, "use POST")
			return
		}
		r, reply, err := s.answer(r, answer)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		if reply == nil { // RFC 7009 §2.2: the body is ignored
			w.WriteHeader(http.StatusOK)
			return
		}
		writeJSON(w, http.StatusOK, reply)
	})
}

func (s *surface) answer(r *http.Request, answer func(*http.Request, params) (*http.Request, any, error)) (
	*http.Request, any, error) {
	address, err := httpadapter.ClientAddr(r, s.opts.Proxies)
	if err != nil {
		return r, nil, err
	}
	r = r.WithContext(s.gate.Watch(r.Context(), address))
	if scheme, _, err := httpadapter.Authorization(r); scheme == "" && err == nil { // the credential is in the body
		if err := s.gate.Exhausted(address); err != nil {
			return r, nil, err
		}
	}
	p, err := readRequest(r)
	if err != nil {
		return r, nil, err
	}
	return answer(r, p)
}
