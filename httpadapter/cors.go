package httpadapter

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultPreflightAge is how long browsers keep the answer to a preflight.
const DefaultPreflightAge = 10 * time.Minute

// CORS says which pages of other origins may call the routes that an [Adapter] guards, and read the replies, errors
// too (Fetch standard, "CORS protocol"). It answers preflights. It guards nothing: programs ignore CORS.
//
// The guard answers only what the router hands to it. A ServeMux pattern with a method ("GET /data") gets no preflight:
// use [Adapter.CrossOrigin] around the mux then.
//
// Private network access is not offered. Browsers ask their users now instead of sending such preflights.
type CORS struct {
	// Origins are the origins that may call, as browsers write them: scheme, host and a port that is not the default one,
	// such as "https://app.example.com" or "http://localhost:5173". They are compared exactly. New panics for anything
	// that a browser never sends, for "null", and for patterns. "*", alone, is any origin; without Credentials only.
	Origins []string

	// AllowOrigin reports whether an origin may call that is not in Origins, as for customers' domains. It is called for
	// each request of such an origin that is well-formed, more than once. It must compare whole origins. If Credentials is
	// set, it must not allow every one: New asks it for https://probe.invalid, by a GET of /, and panics if it allows
	// that. Nil: Origins says.
	AllowOrigin func(r *http.Request, origin string) bool

	// Credentials lets pages send cookies and Basic credentials of the browser (credentials: "include"). The allowed
	// origins are then trusted: see [Carriers.TrustedOrigins]. Tokens that a page sets in a header do not need it.
	Credentials bool

	// Methods may be called. Nil: GET, HEAD, POST, PUT, PATCH and DELETE.
	Methods []string

	// Headers may be set by pages, besides Content-Type and those that carry a credential. Nil: no others.
	Headers []string

	// Exposed may be read by pages, besides RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate and those that
	// the Fetch standard lets every page read. Nil: no others.
	Exposed []string

	// MaxAge is how long browsers keep the answer to a preflight, in whole seconds, at most 24 hours. Chromium keeps it
	// for 2 hours at most. Zero: [DefaultPreflightAge]. Negative: not at all.
	MaxAge time.Duration
}

// probeOrigin is nobody's: RFC 2606 reserves the domain.
const probeOrigin = "https://probe.invalid"

// corsPolicy is CORS in the form that requests need. A nil one allows nothing.
type corsPolicy struct {
	any         bool
	origins     map[string]bool
	allow       func(*http.Request, string) bool
	credentials bool
	methods     string
	headers     string
	exposed     string
	maxAge      string
}

// newCORS panics with a message that says what to correct.
func newCORS(o *CORS, carriers *Carriers) *corsPolicy {
	fail := func(format string, args ...any) { panic("httpadapter: Options.CORS." + fmt.Sprintf(format, args...)) }
	c := &corsPolicy{origins: map[string]bool{}, allow: o.AllowOrigin, credentials: o.Credentials}
	for _, origin := range o.Origins {
		switch why := badOrigin(origin); {
		case origin == "*" && o.Credentials:
			fail("Origins has \"*\" beside Credentials: any page could act for its visitors. Name the origins, or leave " +
				"Credentials unset: tokens in headers do not need it")
		case origin == "*" && (len(o.Origins) > 1 || o.AllowOrigin != nil):
			fail(`Origins has "*" beside other origins: "*" is all of them`)
		case origin == "*":
			c.any = true
		case why != "":
			fail("Origins has %q: %s", origin, why)
		default:
			c.origins[origin] = true
		}
	}
	if len(o.Origins) == 0 && o.AllowOrigin == nil {
		fail("Origins is empty: name the origins, set AllowOrigin, or leave Options.CORS nil")
	}
	if o.Credentials && carriers.Cookie == "" && !carriers.readsBasic() {
		fail("Credentials is set, but Options.Carriers reads neither Cookie nor Basic: leave it unset. Tokens in headers " +
			"do not need it")
	}
	if o.Credentials && o.AllowOrigin != nil {
		probe := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/"}, Header: http.Header{"Origin": {probeOrigin}}}
		if o.AllowOrigin(probe, probeOrigin) {
			fail("AllowOrigin allows %s beside Credentials, so it allows any page: it must compare whole origins", probeOrigin)
		}
	}
	methods := o.Methods
	if methods == nil {
		methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	}
	for _, m := range methods {
		switch {
		case !isHTTPToken(m) || m == "*":
			fail("Methods has %q: name methods, each by itself", m)
		case m != strings.ToUpper(m) && slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
			strings.ToUpper(m)):
			fail("Methods has %q: methods are case-sensitive, write %q", m, strings.ToUpper(m))
		case slices.Contains([]string{"CONNECT", "TRACE", "TRACK"}, strings.ToUpper(m)):
			fail("Methods has %q: browsers send it for no page", m)
		}
	}
	c.methods = strings.Join(methods, ", ")

	headers := []string{"Content-Type"}
	if carriers.readsAuthorization() {
		headers = append(headers, headerAuthorization)
	}
	headers = append(headers, carriers.Headers...)
	for _, h := range o.Headers {
		if !isHTTPToken(h) || h == "*" {
			fail("Headers has %q: name header fields, each by itself", h)
		}
		if isForbiddenHeader(h) {
			fail("Headers has %q: browsers let no page set it", h)
		}
		headers = append(headers, h)
	}
	c.headers = strings.Join(headers, ", ")

	exposed := []string{"RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate"}
	for _, h := range o.Exposed {
		if !isHTTPToken(h) || h == "*" || strings.EqualFold(h, "Set-Cookie") || strings.EqualFold(h, "Set-Cookie2") {
			fail("Exposed has %q: name header fields, each by itself, without Set-Cookie", h)
		}
		exposed = append(exposed, h)
	}
	c.exposed = strings.Join(exposed, ", ")

	switch age := o.MaxAge; {
	case age < 0:
		c.maxAge = "0"
	case age > 24*time.Hour:
		fail("MaxAge is over 24 hours, which no browser keeps")
	case age == 0:
		c.maxAge = wholeSeconds(DefaultPreflightAge)
	case age%time.Second != 0:
		fail("MaxAge is not in whole seconds")
	default:
		c.maxAge = wholeSeconds(age)
	}
	return c
}

// allows reports whether pages of origin may call.
func (c *corsPolicy) allows(r *http.Request, origin string) bool {
	return c.any || c.origins[origin] || c.allow != nil && badOrigin(origin) == "" && c.allow(r, origin)
}

// trusts reports whether pages of origin may use what browsers add by themselves.
func (c *corsPolicy) trusts(r *http.Request, origin string) bool {
	return c != nil && c.credentials && c.allows(r, origin)
}

// setHeaders sets what a browser needs to hand a reply to a page of another origin. Vary is set for every request: a
// cache must not serve to one origin what was meant for another, or for none.
func (c *corsPolicy) setHeaders(h http.Header, r *http.Request) {
	if !c.any {
		addVary(h, "Origin")
	}
	origin := one(r.Header["Origin"])
	if origin == "" || !c.allows(r, origin) {
		return
	}
	if c.any {
		origin = "*"
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	h.Set("Access-Control-Expose-Headers", c.exposed)
}

// preflight answers a preflight. The answer does not depend on the method and the headers that are asked for: the
// browser compares. A cache that stores answers to OPTIONS must know that they say whether it is a preflight.
func (c *corsPolicy) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	addVary(h, "Access-Control-Request-Method, Access-Control-Request-Headers")
	if !c.allows(r, one(r.Header["Origin"])) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	h.Del("Access-Control-Expose-Headers")
	h.Set("Access-Control-Allow-Methods", c.methods)
	h.Set("Access-Control-Allow-Headers", c.headers)
	h.Set("Access-Control-Max-Age", c.maxAge)
	w.WriteHeader(http.StatusNoContent)
}

// CrossOrigin is Options.CORS as a middleware of its own, for whole sites: around a router whose routes name a method,
// or whose own errors (404, 405) pages shall read. It answers every preflight, sets the headers of CORS on all other
// replies, and authenticates nothing. It panics without Options.CORS.
func (a *Adapter) CrossOrigin(next http.Handler) http.Handler {
	if a.cors == nil {
		panic("httpadapter: CrossOrigin needs Options.CORS")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.cors.setHeaders(w.Header(), r)
		if isPreflight(r) {
			a.cors.preflight(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isPreflight reports whether r is a CORS preflight (Fetch standard, "CORS-preflight fetch"). A preflight names one
// origin and one method, and never carries an Authorization header.
func isPreflight(r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	origin, method := r.Header["Origin"], r.Header["Access-Control-Request-Method"]
	return len(origin) == 1 && origin[0] != "" && len(method) == 1 && isHTTPToken(method[0]) &&
		len(r.Header[headerAuthorization]) == 0
}

// preflight answers a preflight. It never calls the guarded handler: many act whatever the method, and the request is
// not authenticated.
func (a *Adapter) preflight(w http.ResponseWriter, r *http.Request) {
	switch {
	case a.cors != nil:
		a.cors.preflight(w, r)
	case a.opts.Preflight != nil:
		a.opts.Preflight.ServeHTTP(w, r)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// badOrigin returns why s is no origin as browsers write it (HTML standard, "serialization of an origin"), or "".
func badOrigin(s string) string {
	const maxOrigin = 300 // a host name has 253 characters at most
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case s == "null":
		return "every sandboxed page and every local file has that origin"
	case strings.Contains(s, "*"):
		return "patterns are not read: name each origin, or set AllowOrigin"
	case !ok || scheme == "" || rest == "":
		return `write scheme://host or scheme://host:port, such as "https://app.example.com"`
	case len(s) > maxOrigin:
		return "it is too long"
	case strings.ContainsAny(rest, "/?#"):
		return "an origin ends with the host or the port, without a slash"
	case strings.Contains(rest, "@"):
		return "an origin has no user name"
	case s != strings.ToLower(s):
		return "browsers write origins in lower case"
	}
	for i, c := range []byte(scheme) {
		if !('a' <= c && c <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return "the scheme is malformed"
		}
	}
	host, port := rest, ""
	if strings.HasPrefix(rest, "[") {
		inner, after, closed := strings.Cut(rest[1:], "]")
		a, err := netip.ParseAddr(inner)
		switch {
		case !closed || err != nil || !a.Is6() || a.Zone() != "":
			return "the IPv6 address is malformed"
		case whatwgIPv6(a) != inner:
			return "browsers write the IPv6 address as [" + whatwgIPv6(a) + "]"
		case after != "" && after[0] != ':':
			return "the port is malformed"
		}
		host, port = "", after
	} else if i := strings.IndexByte(rest, ':'); i >= 0 {
		host, port = rest[:i], rest[i:]
		if host == "" {
			return "it has no host"
		}
	}
	if why := badHost(host); why != "" {
		return why
	}
	if port == "" {
		return ""
	}
	n, err := strconv.ParseUint(port[1:], 10, 16)
	switch {
	case err != nil || n == 0 || strconv.FormatUint(n, 10) != port[1:]:
		return "the port is malformed"
	case scheme == "https" && n == 443, scheme == "http" && n == 80:
		return "browsers leave the default port out"
	}
	return ""
}

// badHost returns why s is no host name or IPv4 address as browsers write it, or "". "" is an IPv6 address.
func badHost(s string) string {
	if s == "" {
		return ""
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 0x80:
			return "write the host in its ASCII form (xn--…), as browsers do"
		case !isAlphaNum(c) && c != '-' && c != '.' && c != '_':
			return "the host is malformed"
		}
	}
	labels := strings.Split(s, ".")
	if slices.Contains(labels, "") {
		return "the host has an empty label"
	}
	last := labels[len(labels)-1]
	if number := strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x"); number {
		if a, err := netip.ParseAddr(s); err != nil || a.String() != s {
			return "browsers write an IPv4 address as four numbers"
		}
	}
	return ""
}

// whatwgIPv6 writes an address as the URL standard does: an IPv4 address within it is in hexadecimal, too.
func whatwgIPv6(a netip.Addr) string {
	if !a.Is4In6() {
		return a.String()
	}
	b := a.As16()
	return fmt.Sprintf("::ffff:%x:%x", uint16(b[12])<<8|uint16(b[13]), uint16(b[14])<<8|uint16(b[15]))
}

// isForbiddenHeader reports whether browsers let no page set a header (Fetch standard, "forbidden request-header").
func isForbiddenHeader(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "accept-charset", "accept-encoding", "access-control-request-headers", "access-control-request-method",
		"connection", "content-length", "cookie", "cookie2", "date", "dnt", "expect", "host", "keep-alive", "origin",
		"referer", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "via":
		return true
	}
	return strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "sec-")
}
