package latchkeymcp

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/yosida95/uritemplate/v3"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// DefaultStreamCheck is how often a standing stream's token is verified.
const DefaultStreamCheck = 10 * time.Second

// Options configure a [Guard]. Nil denies every tool, prompt and resource, and is of use for methods like ping alone.
// The maps are copied.
type Options struct {
	// Tools are the rules by the tool's exact name. A tool without one is denied.
	Tools map[string]Rule
	// Prompts are the rules by the prompt's exact name. Completion of a prompt's arguments asks the same rule; its
	// wildcards are then arguments that were resolved before.
	Prompts map[string]Rule
	// Resources are the rules by URI, or by URI template as registered at the server (RFC 6570). A rule for a URI comes
	// before those for templates, as at the server. The wildcards of Rule.Resource are variables of the template. A URI
	// that several templates match must pass all of their rules. The same rules hold for subscriptions, when they begin.
	Resources map[string]Rule
	// Methods are the rules of methods of the host's own (mcp.AddReceivingCustomMethod). The wildcards of Rule.Resource
	// are members of the params. A method without one is denied.
	Methods map[string]Rule

	// ListAll lists every tool, prompt and resource to every caller. False: the lists show what the caller may use.
	// What has a wildcard in Rule.Resource is shown if the caller may use it for some value.
	ListAll bool

	// Scopes are OAuth scopes by name. A token has a scope exactly if it may do the action now; see
	// auth.TokenInfo.Scopes. A request that is denied for want of what a scope here stands for is answered by an HTTP 403
	// that names the scope, not by a JSON-RPC error. A name is a scope-token of RFC 6749 §3.3. Nil: no scopes.
	Scopes map[string]Scope
	// RequireScopes are names of Scopes that every request needs. Nil: a valid token is enough to connect.
	RequireScopes []string

	// Resource is the canonical URI of this MCP server (RFC 8707 §2), such as "https://mcp.example.com/mcp". Challenges
	// then name the metadata document; serve it with [Guard.Metadata]. Requests from a page of the same origin pass. "":
	// no metadata.
	Resource string
	// AuthorizationServers are the issuers whose tokens are accepted here, for the metadata document (RFC 9728 §2). Nil:
	// keys are given out by other means.
	AuthorizationServers []string
	// Documentation is a URL of a page that says how to get a key, for the metadata document. "": none.
	Documentation string

	// Origins are web origins from which browsers may ask, such as "https://inspector.example.com", besides that of
	// Resource. A request with any other Origin header is answered 403, as MCP demands against DNS rebinding. Requests
	// without that header pass: no browser sent them.
	Origins []string

	// SessionOf returns what an MCP session belongs to, besides the owner. A host whose clients renew their tokens may
	// return the client's id, so that the next token of the client continues the session. Nil, and "": the token's id.
	SessionOf func(latchkey.Access) string

	// StreamCheck is how often a standing stream is verified: the GET stream, and the response of
	// subscriptions/listen. A stream whose token has ended, or cannot be verified, sends nothing more, and is closed
	// within this time. Zero: [DefaultStreamCheck]. Negative: it is verified before each message only.
	StreamCheck time.Duration

	// Owner, OwnerOf, Realm, AddressRate, Proxies, Test and OnError are those of [httpadapter.Options]. OnError hears of
	// refused HTTP requests. [latchkey.Options.Observer] hears of refused JSON-RPC requests, too.
	Owner       string
	OwnerOf     func(*http.Request) (string, error)
	Realm       string
	AddressRate latchkey.Rate
	Proxies     []netip.Prefix
	Test        bool
	OnError     func(r *http.Request, err error)

	// Logger receives failures with their cause: replies of 500 and above, handlers that forget their rows, and once the
	// name of each tool that is registered but has no rule. Nil: nothing is logged.
	Logger *slog.Logger
}

// Scope is what an OAuth scope stands for: one action on the whole of one resource.
type Scope struct {
	Action   latchkey.Action
	Resource latchkey.Resource
}

// Guard guards MCP servers. Make it with [New]. Safe for concurrent use.
type Guard struct {
	opts      Options
	manager   *latchkey.Manager
	http      *httpadapter.Adapter
	tools     map[string]*rule
	prompts   map[string]*rule
	methods   map[string]*rule
	resources map[string]*rule // by URI
	templates []*rule          // with a matcher, in the order of their text
	scopes    []string         // names, sorted
	origins   map[string]bool
	metadata  string // URL; "": none

	protected sync.Map // weak.Pointer[mcp.Server]: servers that have the middleware
	logged    sync.Map // names of tools without a rule
}

// New returns a Guard over m. It panics if m is nil or the options are invalid; the message says what to correct. A
// rule on an action or a resource that [latchkey.Options.Catalogue] does not have is invalid.
func New(m *latchkey.Manager, opts *Options) *Guard {
	if m == nil {
		panic("latchkeymcp: New needs a Manager")
	}
	g := &Guard{manager: m, origins: map[string]bool{}}
	if opts != nil {
		g.opts = *opts
	}
	g.tools = g.compile("Tools", g.opts.Tools)
	g.prompts = g.compile("Prompts", g.opts.Prompts)
	g.methods = g.compile("Methods", g.opts.Methods)
	for name := range g.methods {
		if slices.Contains(freeMethods, name) || slices.Contains(ruledMethods, name) {
			panic(fmt.Sprintf("latchkeymcp: Options.Methods names %q, which is a method of MCP: it needs no rule", name))
		}
	}
	g.compileResources()
	g.compileScopes()
	if g.opts.StreamCheck == 0 {
		g.opts.StreamCheck = DefaultStreamCheck
	}
	if g.opts.Realm == "" {
		g.opts.Realm = "latchkey"
	}
	if g.opts.Resource != "" {
		u, err := url.Parse(g.opts.Resource)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" || u.User != nil ||
			u.RawQuery != "" || strings.ContainsAny(g.opts.Resource, "\"\\ #") {
			panic(fmt.Sprintf("latchkeymcp: Options.Resource %q: write an absolute URI without query and fragment, "+
				`such as "https://mcp.example.com/mcp"`, g.opts.Resource))
		}
		g.origins[strings.ToLower(u.Scheme+"://"+u.Host)] = true
		g.metadata = u.Scheme + "://" + u.Host + wellKnown + strings.TrimSuffix(u.EscapedPath(), "/")
	}
	for _, origin := range g.opts.Origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || origin != strings.ToLower(u.Scheme+"://"+u.Host) {
			panic(fmt.Sprintf(`latchkeymcp: Options.Origins: %q: write scheme and host in lower case, `+
				`such as "https://app.example.com"`, origin))
		}
		g.origins[origin] = true
	}
	g.http = httpadapter.New(m, &httpadapter.Options{Owner: g.opts.Owner, OwnerOf: g.opts.OwnerOf, Realm: g.opts.Realm,
		AddressRate: g.opts.AddressRate, Proxies: g.opts.Proxies, Test: g.opts.Test, OnError: g.opts.OnError,
		Logger: g.opts.Logger, Problem: g.writeProblem})
	return g
}

// compile returns the rules of a table.
func (g *Guard) compile(table string, rules map[string]Rule) map[string]*rule {
	compiled := make(map[string]*rule, len(rules))
	for name, r := range rules {
		if name == "" {
			panic("latchkeymcp: Options." + table + " has a rule without a name")
		}
		compiled[name] = g.compileRule(table, name, r)
	}
	return compiled
}

// compileResources sorts the rules of resources into URIs and templates.
func (g *Guard) compileResources() {
	g.resources = map[string]*rule{}
	for _, key := range slices.Sorted(maps.Keys(g.opts.Resources)) {
		if key == "" {
			panic("latchkeymcp: Options.Resources has a rule without a URI")
		}
		r := g.compileRule("Resources", key, g.opts.Resources[key])
		if !strings.ContainsAny(key, "{}") {
			if names := r.wildcards(); len(names) != 0 {
				panic(fmt.Sprintf("latchkeymcp: Options.Resources[%q]: Resource has the wildcard %q, but the URI has no variables",
					key, names[0]))
			}
			g.resources[key] = r
			continue
		}
		t, err := uritemplate.New(key)
		if err != nil {
			panic(fmt.Sprintf("latchkeymcp: Options.Resources[%q]: this is no URI template of RFC 6570: %v", key, err))
		}
		for _, name := range r.wildcards() {
			if !slices.Contains(t.Varnames(), name) {
				panic(fmt.Sprintf("latchkeymcp: Options.Resources[%q]: the template has no variable %q", key, name))
			}
		}
		r.template = t
		g.templates = append(g.templates, r)
	}
}

// compileScopes checks the scopes.
func (g *Guard) compileScopes() {
	for name, s := range g.opts.Scopes {
		// scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
		other := func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }
		if name == "" || strings.ContainsFunc(name, other) {
			panic(fmt.Sprintf("latchkeymcp: Options.Scopes: %q is no scope of RFC 6749: use printable ASCII without spaces, "+
				"quotes and backslashes", name))
		}
		if s.Action == latchkey.Any {
			panic(fmt.Sprintf("latchkeymcp: Options.Scopes[%q]: name one action", name))
		}
		if err := s.Action.Validate(); err != nil {
			panic(fmt.Sprintf("latchkeymcp: Options.Scopes[%q]: %v", name, err))
		}
		if err := s.Resource.Validate(); err != nil {
			panic(fmt.Sprintf("latchkeymcp: Options.Scopes[%q]: %v", name, err))
		}
		if err := g.manager.Catalogue().CheckRoute(s.Action, string(s.Resource), false); err != nil {
			panic(fmt.Sprintf("latchkeymcp: Options.Scopes[%q]: %v", name, err))
		}
	}
	g.scopes = slices.Sorted(maps.Keys(g.opts.Scopes))
	for _, name := range g.opts.RequireScopes {
		if _, ok := g.opts.Scopes[name]; !ok {
			panic(fmt.Sprintf("latchkeymcp: Options.RequireScopes: there is no %q in Options.Scopes", name))
		}
	}
	g.opts.RequireScopes = slices.Sorted(slices.Values(g.opts.RequireScopes))
}

// scopesOf returns the scopes that a caller has now.
func (g *Guard) scopesOf(access latchkey.Access) []string {
	var has []string
	for _, name := range g.scopes {
		if s := g.opts.Scopes[name]; access.Allows(s.Action, s.Resource) {
			has = append(has, name)
		}
	}
	return has
}

// scopesFor returns the names of scopes that stand for an action on a resource.
func (g *Guard) scopesFor(action latchkey.Action, on latchkey.Resource) []string {
	var names []string
	for _, name := range g.scopes {
		if s := g.opts.Scopes[name]; s.Action == action && s.Resource == on {
			names = append(names, name)
		}
	}
	return names
}

// sessionUser returns what a session belongs to. It is never empty: the SDK would then compare nothing. Quoting keeps
// the parts apart.
func (g *Guard) sessionUser(access latchkey.Access) string {
	if g.opts.SessionOf != nil {
		if s := g.opts.SessionOf(access); s != "" {
			return fmt.Sprintf("%q of %q", s, access.Owner())
		}
	}
	return fmt.Sprintf("token %q, client %q of %q", access.TokenID(), access.Client().ID, access.Owner())
}

// Rule says what a caller must be allowed to do. Exactly one of Action and Everyone is set.
type Rule struct {
	// Action is what the caller must be allowed to do on the whole of Resource, or on some of its rows if Rows is set.
	Action latchkey.Action
	// Resource is what it is done to. It may have wildcards, each a whole segment: "dataset/{id}". A wildcard is the name
	// of an argument, which must be a string, or an integer that every JSON parser reads alike. "{order.id}" is the member
	// id of the argument order. A value is one segment, as [latchkey.Path] makes it. Values that may be taken for two
	// resources are refused, as in [httpadapter.Adapter.Require]: an empty one, one with a segment that is empty, "." or
	// "..", and one with a percent sign before two hex digits.
	Resource string
	// Rows passes callers that may do Action on any row. The handler must call [RowsFrom], and apply the condition, or
	// [RowsNotNeeded], before it returns. A result without that becomes an error, for every caller.
	Rows bool
	// Everyone passes every valid token. Resource, Rows and Scope are then empty.
	Everyone bool
	// Meter and Credits are taken from the caller's quotas before the handler runs: see [latchkey.Access.Spend]. With a
	// Meter and no Credits the use is counted. "": nothing is spent.
	Meter   string
	Credits latchkey.Credits
	// Scope is the name of the scope in [Options.Scopes] to ask for if this is denied. "": those that stand for Action
	// on the resource of the request.
	Scope string
}

// rule is a Rule, checked.
type rule struct {
	Rule
	segments []segment
	constant latchkey.Resource     // the resource if there are no wildcards
	template *uritemplate.Template // of a resource's rule
}

type segment struct {
	text     string
	wildcard bool
}

// compileRule checks a rule. It panics on one that can never be asked.
func (g *Guard) compileRule(table, name string, of Rule) *rule {
	bad := func(why string) { panic(fmt.Sprintf("latchkeymcp: Options.%s[%q]: %s", table, name, why)) }
	r := &rule{Rule: of}
	if of.Credits < 0 || of.Credits > 0 && of.Meter == "" || len(of.Meter) > 64 || !utf8.ValidString(of.Meter) ||
		strings.Contains(of.Meter, "\x00") {
		bad("Credits must not be negative and need a Meter, of 1 to 64 bytes of valid UTF-8 without NUL")
	}
	if of.Everyone {
		if of.Action != "" || of.Resource != "" || of.Rows || of.Scope != "" {
			bad("Everyone needs no Action, Resource, Rows or Scope: remove them, or Everyone")
		}
		return r
	}
	if of.Scope != "" {
		if _, ok := g.opts.Scopes[of.Scope]; !ok {
			bad(fmt.Sprintf("there is no scope %q in Options.Scopes", of.Scope))
		}
	}
	if of.Action == "" || of.Action == latchkey.Any {
		bad("name one action, or set Everyone")
	}
	if err := of.Action.Validate(); err != nil {
		bad(err.Error())
	}
	var declared []string // Resource with names that a route may have
	for text := range strings.SplitSeq(of.Resource, "/") {
		inner, wild := strings.CutPrefix(text, "{")
		if wild {
			inner, wild = strings.CutSuffix(inner, "}")
			if !wild {
				bad(`write a wildcard as a whole segment: "{name}"`)
			}
			for part := range strings.SplitSeq(inner, ".") {
				if part == "" || strings.ContainsAny(part, "{}*") {
					bad(`write a wildcard as "{argument}", or "{argument.member}"`)
				}
			}
			r.segments = append(r.segments, segment{inner, true})
			declared = append(declared, "{x}")
			continue
		}
		if strings.ContainsAny(text, "{}") {
			bad(`write a wildcard as a whole segment: "{name}"`)
		}
		r.segments = append(r.segments, segment{text, false})
		declared = append(declared, text)
	}
	literal := strings.Join(declared, "/")
	if err := latchkey.Resource(strings.ReplaceAll(literal, "{x}", "x")).Validate(); err != nil {
		bad("Resource: " + err.Error())
	}
	if err := g.manager.Catalogue().CheckRoute(of.Action, literal, of.Rows); err != nil {
		bad(err.Error())
	}
	if len(r.wildcards()) == 0 {
		r.constant = latchkey.Resource(of.Resource)
	}
	return r
}

// wildcards returns the names of the wildcards.
func (r *rule) wildcards() []string {
	var names []string
	for _, s := range r.segments {
		if s.wildcard {
			names = append(names, s.text)
		}
	}
	return names
}
