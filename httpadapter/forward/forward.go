package forward

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Source says where the question of a proxy holds the original request.
type Source uint8

const (
	// Nginx reads X-Original-Method, X-Original-URI and X-Original-Host, which the configuration of nginx sets: see
	// examples/nginx. The module auth_request makes a 500 of every status but 2xx, 401 and 403. So the reply to a caller
	// that is refused with another status below 500 is a 403. Latchkey-Status holds the status that was meant, and
	// Latchkey-Problem the body, if it is printable ASCII of at most 1024 bytes.
	Nginx Source = iota + 1
	// Forwarded reads X-Forwarded-Method, X-Forwarded-Uri and X-Forwarded-Host: Traefik's ForwardAuth, Caddy's
	// forward_auth, and the Lua file in examples/haproxy.
	Forwarded
	// Envoy reads the method, the target and the host of the question itself: Envoy's HTTP ext_authz. The target begins
	// with Options.PathPrefix.
	Envoy
)

// A Route is an entry of the table: requests that match Pattern need Action on Resource.
type Route struct {
	// Pattern is a pattern of [http.ServeMux] with a method and without a host: "GET /data/{id}". GET does not match
	// HEAD: backends may treat it differently, so it needs an entry of its own. CONNECT is no method of a table.
	Pattern string

	// Action and Resource are what [httpadapter.Adapter.Require] takes.
	Action   latchkey.Action
	Resource string

	// Rows passes callers that may do Action on some rows only. The condition is in the header Latchkey-Rows, and the
	// backend must apply it. False: such a caller is refused.
	Rows bool

	// Meter and Credits are what [httpadapter.Adapter.Spend] takes: every question costs that much if the caller may do
	// Action. "": nothing is spent, and Credits must be 0.
	Meter   string
	Credits latchkey.Credits
}

// Options configure the handler of [New].
type Options struct {
	// From says which proxy asks. There is no default: a header that the proxy does not set is the caller's.
	From Source

	// PathPrefix is the path_prefix of Envoy's http_service, such as "/auth". It begins with a slash and does not end
	// with one. "": none. It is for Envoy alone.
	PathPrefix string

	// Headers is what the names of all identity headers begin with. It ends with "-". "": "Latchkey-".
	Headers string

	// Roles sends the names of the token's roles, too. False: that header is empty.
	Roles bool

	// Preflights passes CORS preflights, which carry no credential, for paths that have an entry with the method that
	// the preflight names. The identity headers are empty then. Set it only if the backend does nothing for OPTIONS but
	// answer preflights. False: they are refused.
	Preflights bool
}

// handler is what New returns. It is immutable.
type handler struct {
	auth   *httpadapter.Adapter
	opts   Options
	source *sourceHeaders // nil: Envoy
	muxes  map[string]*http.ServeMux
	watch  watchedNames

	status, problem                         string // headers of a reply to nginx
	owner, token, kind, client, roles, rows string // identity headers
}

// New returns the handler that a proxy asks: it answers 200 with the identity headers if the original request matches a
// route and its caller may pass, and otherwise with a status of 400 or above.
//
// The Adapter's Proxies must hold the address of the proxy. Its PathValue must be nil. New panics if auth, the routes
// or the options are invalid; the message says what to correct.
func New(auth *httpadapter.Adapter, routes []Route, opts *Options) http.Handler {
	if auth == nil {
		panic("forward: New needs an Adapter")
	}
	h := &handler{auth: auth, muxes: map[string]*http.ServeMux{}}
	if opts != nil {
		h.opts = *opts
	}
	switch h.opts.From {
	case Nginx:
		h.source = &sourceHeaders{"X-Original-Method", "X-Original-Uri", "X-Original-Host"}
	case Forwarded:
		h.source = &sourceHeaders{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"}
	case Envoy:
	default:
		panic("forward: Options.From: say which proxy asks: Nginx, Forwarded or Envoy")
	}
	if p := h.opts.PathPrefix; p != "" &&
		(h.opts.From != Envoy || p[0] != '/' || p[len(p)-1] == '/' || strings.ContainsAny(p, "?#%\\") || strings.Contains(p,
			"//")) {
		panic(fmt.Sprintf("forward: Options.PathPrefix %q: only for Envoy, and like %q", p, "/auth"))
	}
	if h.opts.Headers == "" {
		h.opts.Headers = "Latchkey-"
	}
	prefix := textproto.CanonicalMIMEHeaderKey(h.opts.Headers)
	if len(prefix) < 2 || len(prefix) > 32 || prefix[len(prefix)-1] != '-' ||
		strings.Trim(strings.ToLower(prefix), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		panic(fmt.Sprintf("forward: Options.Headers %q: use letters, digits and hyphens, with a hyphen at the end",
			h.opts.Headers))
	}
	for _, standard := range []string{"X-Forwarded-", "X-Original-", "Content-", "Accept-", "Proxy-", "Sec-", "If-"} {
		if strings.HasPrefix(standard, prefix) || strings.HasPrefix(prefix, standard) {
			panic(fmt.Sprintf("forward: Options.Headers %q: other headers begin so, too", h.opts.Headers))
		}
	}
	for of, suffix := range map[*string]string{&h.status: "Status", &h.problem: "Problem", &h.owner: "Owner",
		&h.token: "Token", &h.kind: "Kind", &h.client: "Client", &h.roles: "Roles", &h.rows: "Rows"} {
		*of = prefix + suffix
	}
	h.watch = newWatchedNames(prefix, h.source)
	h.add(routes)
	return h
}

// call is one question: the original request, and the writer of the reply. They are one allocation.
type call struct {
	handler *handler
	w       http.ResponseWriter
	request http.Request
	url     url.URL
	values  [7]string // of the headers of the reply

	matched bool // a route was found: what is written next is about it
	allowed bool // the caller may pass: what is written next is the 200
	status  int  // of a refusal; 0: none yet
	body    []byte
	scratch http.Header // takes the headers of a reply that is no route's
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{handler: h, w: w}
	c.values[0] = "no-store"
	w.Header()["Cache-Control"] = c.values[:1:1]
	if err := h.read(c, r); err != nil {
		c.refuse(r, err)
		return
	}
	if h.opts.Preflights && isPreflight(&c.request) {
		if mux := h.muxes[c.request.Header["Access-Control-Request-Method"][0]]; mux != nil {
			if found, _ := mux.Handler(&c.request); isRoute(found) {
				c.pass(w, &latchkey.Access{}, "false")
				return
			}
		}
	}
	if mux := h.muxes[c.request.Method]; mux != nil {
		mux.ServeHTTP(c, &c.request)
	}
	if !c.matched { // what ServeMux wrote, such as a redirect, is no answer to the proxy
		c.status, c.body = 0, nil
		c.refuse(&c.request, errNoRoute)
		return
	}
	c.finish()
}

func isRoute(h http.Handler) bool {
	_, ok := h.(*route)
	return ok
}

// errNoRoute is answered like a denial: whoever asks does not learn which paths the backend has.
var errNoRoute = fmt.Errorf("forward: no route of the table matches: %w", latchkey.ErrDenied)

// refuse replies to a question that no route answers.
func (c *call) refuse(r *http.Request, err error) {
	c.matched = true
	c.handler.auth.WriteError(c, r, err)
	c.finish()
}

// Header implements [http.ResponseWriter].
func (c *call) Header() http.Header {
	if c.matched {
		return c.w.Header()
	}
	if c.scratch == nil {
		c.scratch = http.Header{}
	}
	return c.scratch
}

// WriteHeader implements [http.ResponseWriter]. It keeps the status of a refusal for finish.
func (c *call) WriteHeader(status int) {
	switch {
	case c.allowed:
		c.w.WriteHeader(status)
	case c.status == 0 && status >= 200:
		c.status = status
	}
}

// maxBody bounds the body of a refusal, in bytes. Hosts may write one of their own.
const maxBody = 16 << 10

// Write implements [http.ResponseWriter].
func (c *call) Write(b []byte) (int, error) {
	if c.allowed {
		return 0, http.ErrBodyNotAllowed
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	if len(c.body)+len(b) > maxBody {
		return 0, errors.New("forward: the body of the refusal is too long")
	}
	c.body = append(c.body, b...)
	return len(b), nil
}

// finish sends a refusal. Nothing but the handler of a route lets a caller pass: a success that anything else wrote,
// such as the Adapter's answer to a preflight, is a refusal.
func (c *call) finish() {
	if c.allowed {
		return
	}
	h, status := c.w.Header(), c.status
	if status < 400 {
		status, c.body = http.StatusForbidden, nil
		h.Del("Content-Type")
	}
	if c.handler.opts.From == Nginx {
		h.Set(c.handler.status, statusText(status))
		if all := h["Www-Authenticate"]; len(all) > 1 { // nginx before 1.23 passes one field on
			h["Www-Authenticate"] = []string{strings.Join(all, ", ")} // a list: RFC 9110 §11.6.1
		}
		if len(c.body) <= maxProblem && isPrintable(c.body) {
			h.Set(c.handler.problem, string(c.body))
		}
		if status < 500 && status != http.StatusUnauthorized {
			status = http.StatusForbidden
		}
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(c.body)
}

// maxProblem bounds a body that is sent in a header: nginx reads all headers of a reply into one page of memory.
const maxProblem = 1024

func statusText(status int) string {
	return string([]byte{'0' + byte(status/100%10), '0' + byte(status/10%10), '0' + byte(status%10)})
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// isPreflight reports whether r is a CORS preflight without a credential.
func isPreflight(r *http.Request) bool {
	origin, method := r.Header["Origin"], r.Header["Access-Control-Request-Method"]
	scheme, _, err := httpadapter.Authorization(r)
	return r.Method == http.MethodOptions && len(origin) == 1 && origin[0] != "" && len(method) == 1 &&
		scheme == "" && err == nil
}
