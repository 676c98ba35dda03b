package latchkey

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Validate says whether r can be kept, and if not why (ErrInvalid).
//
// A domain is a host, "example.com", and stands for all pages of it over http and https. Before it a scheme may stand,
// "https://example.com", and behind it a port and a path. A page must then have the same scheme and port, and a path
// that begins so: "example.com/app" stands for "/app/x" and for "/apps". Most browsers send other sites no path, so such
// a domain often matches nothing. A "*" at the end is implied and may be written.
//
// "*.example.com" stands for everything beneath example.com but not for itself, "*example.com" for both; neither for
// "evilexample.com". What follows such a star has two labels at least and is nothing that publicSuffix, when not nil,
// says anybody can register beneath. Hosts are ASCII (international ones as "xn--…", as browsers send them) or plain IP
// addresses, IPv6 in brackets. They match whatever their case.
//
// An address prefix has no bits beyond its length, is not IPv4 in IPv6 form, and is not all of IPv4 or IPv6.
func (r Restrictions) Validate(publicSuffix func(host string) bool) error {
	for _, text := range r.Domains {
		d, err := parseDomain(text)
		if err != nil {
			return err
		}
		if d.beneath && publicSuffix != nil && publicSuffix(d.host) {
			return badDomain(text, "anybody can register beneath what follows the star")
		}
	}
	if err := validatePrefixes(r.Addresses); err != nil {
		return err
	}
	return validatePrefixes(r.MintFrom)
}

func validatePrefixes(prefixes []netip.Prefix) error {
	for i, p := range prefixes {
		switch {
		case !p.IsValid():
			return fmt.Errorf("%w: address prefix number %d is none", ErrInvalid, i+1)
		case p.Addr().Is4In6() && p.Bits() <= 96:
			return fmt.Errorf("%w: address prefix %s: it holds all of IPv4: leave it out", ErrInvalid, p)
		case p.Addr().Is4In6():
			return fmt.Errorf("%w: address prefix %s: IPv4 in IPv6 form: write %s", ErrInvalid, p,
				netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked())
		case p.Bits() == 0:
			return fmt.Errorf("%w: address prefix %s is every address: leave it out", ErrInvalid, p)
		case p != p.Masked():
			return fmt.Errorf("%w: address prefix %s: it has bits beyond its length: write %s", ErrInvalid, p, p.Masked())
		}
	}
	return nil
}

// restriction is one or several Restrictions, made ready to ask. Nil, and the zero value, allow everything.
type restriction struct {
	refuse    bool             // everything: what was stored cannot be read
	domains   [][]domain       // one of each list must match
	addresses [][]netip.Prefix // and so here
	mintFrom  []netip.Prefix
	signed    bool
}

// compileRestrictions makes r ready. With an error it returns a restriction that refuses everything, so that nobody who
// drops the error lets anybody in.
func compileRestrictions(r Restrictions) (*restriction, error) {
	return meetRestrictions([]Restrictions{r})
}

// meetRestrictions makes ready what a token and its ancestors ask for together: nearest first, all of them hold, and
// MintFrom is the token's own. Errors are as with compileRestrictions.
func meetRestrictions(chain []Restrictions) (*restriction, error) {
	met := &restriction{}
	for i, r := range chain {
		list := make([]domain, 0, len(r.Domains))
		for _, text := range r.Domains {
			d, err := parseDomain(text)
			if err != nil {
				return &restriction{refuse: true}, err
			}
			list = append(list, d)
		}
		if len(list) > 0 {
			met.domains = append(met.domains, list)
		}
		for _, prefixes := range [][]netip.Prefix{r.Addresses, r.MintFrom} {
			if err := validatePrefixes(prefixes); err != nil {
				return &restriction{refuse: true}, err
			}
		}
		if len(r.Addresses) > 0 {
			met.addresses = append(met.addresses, slices.Clone(r.Addresses))
		}
		if i == 0 {
			met.mintFrom = slices.Clone(r.MintFrom)
		}
		met.signed = met.signed || r.Signed
	}
	if met.domains == nil && met.addresses == nil && len(met.mintFrom) == 0 && !met.signed {
		return nil, nil
	}
	return met, nil
}

// needsSignature says whether every request must be signed.
func (r *restriction) needsSignature() bool { return r != nil && (r.signed || r.refuse) }

// checkWeb judges the Referer and Origin headers as they came, "" for one that did not: ErrReferer, or nil. With a
// domain list at least one of them is needed, each that is there must match, and both must name one host.
func (r *restriction) checkWeb(referer, origin string) error {
	if r == nil || len(r.domains) == 0 && !r.refuse {
		return nil
	}
	if r.refuse || referer == "" && origin == "" {
		return ErrReferer // fail closed: a browser that hides where it comes from comes from anywhere
	}
	var from, page location
	if origin != "" {
		var ok bool
		if from, ok = parseOrigin(origin); !ok {
			return ErrReferer
		}
	}
	if referer != "" {
		var ok bool
		if page, ok = parseReferer(referer); !ok || origin != "" && page.host != from.host {
			return ErrReferer
		}
	}
	for _, list := range r.domains {
		if referer != "" && !slices.ContainsFunc(list, func(d domain) bool { return d.matches(page) }) {
			return ErrReferer
		}
		if origin != "" && !slices.ContainsFunc(list, func(d domain) bool {
			if referer != "" {
				d.path = "" // an Origin has no path; the Referer beside it answers for that
			}
			return d.matches(from)
		}) {
			return ErrReferer
		}
	}
	return nil
}

// checkAddress judges the client's address: ErrAddress, or nil. The zero Addr passes no list.
func (r *restriction) checkAddress(addr netip.Addr) error {
	if r == nil {
		return nil
	}
	if r.refuse {
		return ErrAddress
	}
	for _, list := range r.addresses {
		if !containsAddr(list, addr) {
			return ErrAddress
		}
	}
	return nil
}

// checkMint is checkAddress for MintFrom: whether a token may be minted from there.
func (r *restriction) checkMint(addr netip.Addr) error {
	if r == nil || len(r.mintFrom) == 0 && !r.refuse {
		return nil
	}
	if r.refuse || !containsAddr(r.mintFrom, addr) {
		return ErrAddress
	}
	return nil
}

// containsAddr takes an IPv4 address in IPv6 form for what it is. Other ways to carry one address in another (NAT64,
// 6to4) stay IPv6 addresses: who answers for those is not for us to say.
func containsAddr(list []netip.Prefix, addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// location is where a page lies.
type location struct {
	scheme string // "http", "https"; "" in a domain: either; "" in a Referer: it named none
	host   string // lower case; an IP address in its shortest form, IPv6 in brackets
	port   string // without leading zeros; "": none was named
	path   string // as it came; "" when there was none
}

// domain is one entry of Restrictions.Domains.
type domain struct {
	location      // path: what the page's must begin with
	beneath  bool // matches hosts beneath host
	self     bool // matches host itself
}

func (d *domain) matches(page location) bool {
	if d.scheme != "" && d.scheme != page.scheme || d.port != "" && d.port != page.effectivePort() {
		return false
	}
	under := d.beneath && len(page.host) > len(d.host) && strings.HasSuffix(page.host, d.host) &&
		page.host[len(page.host)-len(d.host)-1] == '.' // whole labels: not evilexample.com
	if !under && !(d.self && page.host == d.host) {
		return false
	}
	if d.path == "" || d.path == "/" {
		return true
	}
	return strings.HasPrefix(page.path, d.path) && !hasDotSegment(page.path)
}

func (l location) effectivePort() string {
	switch {
	case l.port != "":
		return l.port
	case l.scheme == "http":
		return "80"
	case l.scheme == "https":
		return "443"
	}
	return ""
}

// hasDotSegment says whether a path leads elsewhere than it says: "/app/../admin" does not begin with "/app".
func hasDotSegment(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	for segment := range strings.SplitSeq(path, "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".", "..":
			return true
		}
	}
	return false
}

func badDomain(text, why string) error {
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return fmt.Errorf("%w: domain %q: %s", ErrInvalid, text, why)
}

// parseDomain reads one entry of Restrictions.Domains.
func parseDomain(text string) (domain, error) {
	if text == "" || len(text) > maxURL || !plainURL(text) || strings.ContainsAny(text, "?#") {
		return domain{}, badDomain(text, "it is [scheme://]host[:port][/path] in plain ASCII")
	}
	rest := strings.TrimSuffix(text, "*") // implied
	d := domain{self: true}
	d.scheme, rest = cutScheme(rest)
	if after, ok := strings.CutPrefix(rest, "*"); ok {
		d.beneath = true
		rest = after
		if after, ok = strings.CutPrefix(rest, "."); ok {
			d.self = false
			rest = after
		}
	}
	if strings.Contains(rest, "*") {
		return domain{}, badDomain(text, "a star may stand only at the begin of the host and at the end")
	}
	var ok bool
	if d.host, d.port, d.path, ok = cutAuthority(rest); !ok {
		return domain{}, badDomain(text, "it has no valid host")
	}
	switch {
	case d.beneath && (isIP(d.host) || !strings.Contains(d.host, ".")):
		return domain{}, badDomain(text, "a star needs two labels after it")
	case hasDotSegment(d.path):
		return domain{}, badDomain(text, `its path has a "." or ".." segment`)
	}
	return d, nil
}

// parseOrigin reads an Origin header: a scheme, a host and perhaps a port. "null" is none.
func parseOrigin(text string) (location, bool) {
	l, ok := parseReferer(text)
	return l, ok && l.scheme != "" && l.path == "" && !strings.ContainsAny(text, "?#")
}

// parseReferer reads a Referer header. One without a scheme is taken as a host and perhaps a path. Programs that read
// URLs differ about odd ones, so of scheme and authority is accepted what our own plain reading and net/url agree upon.
// What follows decides about nothing but a domain's path. It may be what browsers send though net/url refuses it: a
// stray "%", and in the query any printable ASCII (WHATWG URL, query state).
func parseReferer(text string) (l location, ok bool) {
	before, query, _ := strings.Cut(text, "?")
	if len(text) > maxURL || !plainURL(before) || !printable(query) || text == "null" {
		return location{}, false
	}
	var rest string
	l.scheme, rest = cutScheme(text)
	if l.host, l.port, l.path, ok = cutAuthority(rest); !ok {
		return location{}, false
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		text = text[:len(text)-len(rest)+end]
	}
	if l.scheme == "" {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Opaque != "" || l.scheme != "" && u.Scheme != l.scheme {
		return location{}, false
	}
	host, port, _, ok := cutAuthority(u.Host)
	if !ok || host != l.host || port != l.port {
		return location{}, false
	}
	return l, true
}

const maxURL = 8192

// plainURL says whether text is made of what a URL on the wire may hold: printable ASCII, no space, and no backslash,
// which some take for a slash.
func plainURL(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '\\' || c == '"' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}

// printable reports whether text is printable ASCII without spaces.
func printable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// cutScheme cuts "http://" or "https://" off; the scheme is "" when there is neither.
func cutScheme(text string) (scheme, rest string) {
	for _, scheme := range []string{"http", "https"} {
		if n := len(scheme) + len("://"); len(text) >= n && strings.EqualFold(text[:n], scheme+"://") {
			return scheme, text[n:]
		}
	}
	return "", text // "other://host" goes on as a host "other" with an empty port, and is refused there
}

// cutAuthority reads "host[:port]" and what comes after it. It is not ok with userinfo, an empty or wrong port, or a
// host that is no plain name or address.
func cutAuthority(text string) (host, port, path string, ok bool) {
	end := strings.IndexAny(text, "/?#")
	if end < 0 {
		end = len(text)
	}
	authority, path := text[:end], text[end:]
	path, _, _ = strings.Cut(path, "#")
	host = authority
	if strings.HasPrefix(authority, "[") {
		i := strings.IndexByte(authority, ']')
		if i < 0 {
			return "", "", "", false
		}
		host, port = authority[:i+1], authority[i+1:]
	} else if i := strings.IndexByte(authority, ':'); i >= 0 {
		host, port = authority[:i], authority[i:]
	}
	if port != "" {
		if port, ok = parsePort(port); !ok {
			return "", "", "", false
		}
	}
	if host, ok = parseHost(host); !ok {
		return "", "", "", false
	}
	return host, port, path, true
}

func parsePort(text string) (string, bool) {
	digits, ok := strings.CutPrefix(text, ":")
	if !ok || digits == "" || len(digits) > 5 || digits[0] == '0' {
		return "", false
	}
	n := 0
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return "", false
		}
		n = n*10 + int(digits[i]-'0')
	}
	return digits, n <= 65535
}

// parseHost returns the one spelling of a host.
func parseHost(text string) (string, bool) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
			return "", false
		}
		return "[" + addr.String() + "]", true
	}
	if text == "" || len(text) > 253 {
		return "", false
	}
	host := strings.ToLower(text)
	var last string
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 { // a dot at the end makes another name of it, for some
			return "", false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '-' && c != '_' {
				return "", false
			}
		}
		last = label
	}
	if isNumber(last) { // browsers read 127.1, 0x7f.1 and 2130706433 as addresses: only the plain form is one here
		addr, err := netip.ParseAddr(host)
		return host, err == nil && addr.Is4()
	}
	return host, true
}

// isNumber says whether a host that ends in this label is an IPv4 address to browsers (WHATWG URL, "ends in a number").
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

func isIP(host string) bool {
	return strings.HasPrefix(host, "[") || isNumber(host[strings.LastIndexByte(host, '.')+1:])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
