// Package weborigin reads lists of web domains, and reports whether the Referer and Origin headers of a request lie
// within them. It refuses a URL that programs read differently.
package weborigin

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// Source is the page that a request comes from, according to its headers.
type Source struct {
	referer, origin       location
	hasReferer, hasOrigin bool
}

// Read reads the Referer and Origin headers as they were received, "" for an absent one. ok is false if both are
// absent, because the page could be any. It is also false if one is malformed, or if they name two hosts.
func Read(referer, origin string) (s Source, ok bool) {
	s.hasReferer, s.hasOrigin = referer != "", origin != ""
	if !s.hasReferer && !s.hasOrigin {
		return Source{}, false
	}
	if s.hasOrigin {
		if s.origin, ok = parseOrigin(origin); !ok {
			return Source{}, false
		}
	}
	if s.hasReferer {
		if s.referer, ok = parseReferer(referer); !ok || s.hasOrigin && s.referer.host != s.origin.host {
			return Source{}, false
		}
	}
	return s, true
}

// Within reports whether each header that is present matches a domain of the list. An Origin has no path, so beside a
// Referer it need not match the path of a domain: the Referer does.
func (s *Source) Within(list []Domain) bool {
	if s.hasReferer && !slices.ContainsFunc(list, func(d Domain) bool { return d.matches(s.referer) }) {
		return false
	}
	return !s.hasOrigin || slices.ContainsFunc(list, func(d Domain) bool {
		if s.hasReferer {
			d.path = ""
		}
		return d.matches(s.origin)
	})
}

// location is the address of a page.
type location struct {
	scheme string // "http" or "https"; "" in a domain: either; "" in a Referer: absent
	host   string // lower case; an IP address in its shortest form, IPv6 in brackets
	port   string // without leading zeros; "": absent
	path   string // as received; "": absent
}

// Domain is one entry of a list: see Restrictions.Domains of the root package. The zero Domain matches nothing.
type Domain struct {
	location      // path: the prefix that the path of a page must have
	beneath  bool // matches hosts beneath host
	self     bool // matches host itself
}

func (d *Domain) matches(page location) bool {
	if d.scheme != "" && d.scheme != page.scheme || d.port != "" && d.port != page.effectivePort() {
		return false
	}
	under := d.beneath && len(page.host) > len(d.host) && strings.HasSuffix(page.host, d.host) &&
		page.host[len(page.host)-len(d.host)-1] == '.' // whole labels: evilexample.com does not match
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

// hasDotSegment reports whether a path has a "." or ".." segment: "/app/../admin" is not beneath "/app".
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

// badDomain returns the error for an invalid entry. A long text is truncated.
func badDomain(text, why string) error {
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return fmt.Errorf("%w: domain %q: %s", fault.ErrInvalid, text, why)
}

// ParseDomain reads one entry of a list. It refuses a star before a host for which publicSuffix returns true; nil: no
// host is one. The error wraps fault.ErrInvalid and says what is wrong.
func ParseDomain(text string, publicSuffix func(host string) bool) (Domain, error) {
	if len(text) > maxURL || !plainURL(text) || strings.ContainsAny(text, "?#") {
		return Domain{}, badDomain(text, "write [scheme://]host[:port][/path] in plain ASCII")
	}
	rest := strings.TrimSuffix(text, "*") // a star at the end is implied
	d := Domain{self: true}
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
		return Domain{}, badDomain(text, "a star may stand only at the start of the host and at the end")
	}
	var ok bool
	if d.host, d.port, d.path, ok = cutAuthority(rest); !ok {
		return Domain{}, badDomain(text, "it has no valid host")
	}
	switch {
	case d.beneath && (isIP(d.host) || !strings.Contains(d.host, ".")):
		return Domain{}, badDomain(text, "a star needs two labels after it")
	case d.beneath && publicSuffix != nil && publicSuffix(d.host):
		return Domain{}, badDomain(text, "the star would match domains that anyone can register")
	case hasDotSegment(d.path):
		return Domain{}, badDomain(text, `its path has a "." or ".." segment`)
	}
	return d, nil
}

// parseOrigin reads an Origin header: a scheme, a host and perhaps a port. "null" is not one.
func parseOrigin(text string) (location, bool) {
	l, ok := parseReferer(text)
	return l, ok && l.scheme != "" && l.path == "" && !strings.ContainsAny(text, "?#")
}

// parseReferer reads a Referer header. One without a scheme is read as a host and perhaps a path. Programs read odd
// URLs differently, so it accepts only a scheme and authority that its own plain reading and net/url agree upon.
//
// What follows the authority matters only for the path of a domain. There it accepts what browsers send even if net/url
// does not: a stray "%", and in the query any printable ASCII (WHATWG URL, query state).
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
	authority, _ := beforePath(rest)
	text = text[:len(text)-len(rest)+len(authority)]
	if l.scheme == "" {
		text = "http://" + text
	}
	if !l.agrees(text) {
		return location{}, false
	}
	return l, true
}

// agrees reports whether net/url reads a URL that ends with its authority as l, which has a host.
func (l *location) agrees(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || l.scheme != "" && u.Scheme != l.scheme {
		return false
	}
	host, port, _, _ := cutAuthority(u.Host)
	return host == l.host && port == l.port
}

const maxURL = 8192

// plainURL reports whether text holds only what a URL on the wire may hold: printable ASCII without a space. It
// excludes the backslash, which some programs read as a slash.
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
	before, after, found := strings.Cut(text, "://")
	for _, scheme := range []string{"http", "https"} {
		if found && strings.EqualFold(before, scheme) {
			return scheme, after
		}
	}
	return "", text // "other://host" is read as a host "other" with an empty port, which is refused
}

// cutAuthority reads "host[:port]" and the path after it. ok is false for userinfo, an empty or wrong port, and a host
// that is no plain name or address.
func cutAuthority(text string) (host, port, path string, ok bool) {
	authority, path := beforePath(text)
	path, _, _ = strings.Cut(path, "#")
	if strings.HasPrefix(authority, "[") {
		inner, _, found := strings.Cut(authority, "]")
		if !found {
			return "", "", "", false
		}
		host = inner + "]"
	} else {
		host, _, _ = strings.Cut(authority, ":")
	}
	if port = authority[len(host):]; port != "" {
		if port, ok = parsePort(port); !ok {
			return "", "", "", false
		}
	}
	if host, ok = parseHost(host); !ok {
		return "", "", "", false
	}
	return host, port, path, true
}

// beforePath cuts a URL without its scheme where its path, query or fragment begins.
func beforePath(text string) (authority, rest string) {
	if end := strings.IndexAny(text, "/?#"); end >= 0 {
		return text[:end], text[end:]
	}
	return text, ""
}

func parsePort(text string) (string, bool) {
	digits, ok := strings.CutPrefix(text, ":")
	_, err := strconv.ParseUint(digits, 10, 16)
	return digits, ok && err == nil && digits[0] != '0'
}

// parseHost returns the canonical spelling of a host.
func parseHost(text string) (string, bool) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
			return "", false
		}
		return "[" + addr.String() + "]", true
	}
	if len(text) > 253 {
		return "", false
	}
	host := strings.ToLower(text)
	var last string
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 { // also refuses a trailing dot: some programs read it as another name
			return "", false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '-' && c != '_' {
				return "", false
			}
		}
		last = label
	}
	if isNumber(last) { // browsers read 127.1, 0x7f.1 and 2130706433 as addresses; only the plain form is accepted
		addr, err := netip.ParseAddr(host)
		return host, err == nil && addr.Is4()
	}
	return host, true
}

// isNumber reports whether browsers read a host that ends in this label as an IPv4 address (WHATWG URL, "ends in a
// number").
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
