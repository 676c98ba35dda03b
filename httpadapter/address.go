package httpadapter

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey"
)

// Presented returns what a request presents along with a secret: its Referer and Origin headers and the client's
// address (see [ClientAddr]). A request with two of either header is [ErrBadRequest].
func Presented(r *http.Request, secret string, proxies []netip.Prefix) (latchkey.Presented, error) {
	p := latchkey.Presented{Secret: secret}
	if err := present(r, proxies, &p); err != nil {
		return latchkey.Presented{}, err
	}
	return p, nil
}

// present fills in what [Presented] reads from the request.
func present(r *http.Request, proxies []netip.Prefix, p *latchkey.Presented) (err error) {
	if p.Referer, err = oneHeader(r.Header["Referer"]); err != nil {
		return err
	}
	if p.Origin, err = oneHeader(r.Header["Origin"]); err != nil {
		return err
	}
	p.Address, err = ClientAddr(r, proxies)
	return err
}

func oneHeader(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", badRequest("a header given twice")
}

// ClientAddr returns the network address of the client: the peer of the connection, unless that is one of proxies.
// Then X-Forwarded-For is read from right to left, up to the first address that is not a proxy. Without proxies no
// header is read; Forwarded never is. IPv4 addresses written as IPv6 become IPv4, and zones are dropped.
//
// A hop is an address, IPv6 with or without brackets, with or without a port (RFC 7239, section 6). Empty hops, as a
// trailing comma leaves them, are ignored (RFC 9110, section 5.6.1). If a proxy writes that the address is unknown or
// hidden ("unknown", "_hidden"), it is not known, whatever is to the left.
//
// The zero Addr means not known, as for a Unix socket. It passes no address restriction. A chain that cannot be
// trusted is [ErrBadRequest]:
//
//   - a hop of any other form;
//   - a header without any hop;
//   - a second header that some proxies take for X-Forwarded-For (X_Forwarded_For);
//   - an X-Forwarded-For that the Connection header tells the next proxy to remove.
func ClientAddr(r *http.Request, proxies []netip.Prefix) (netip.Addr, error) {
	peer := parseAddr(r.RemoteAddr)
	if !peer.IsValid() || !anyContains(peer, proxies) {
		return peer, nil
	}
	for name := range r.Header {
		if name != "X-Forwarded-For" && isForwardedFor(name) {
			return netip.Addr{}, badRequest("two spellings of X-Forwarded-For") // fail closed: which one did the proxy write?
		}
	}
	for _, line := range r.Header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if isForwardedFor(strings.Trim(name, " \t")) {
				return netip.Addr{}, badRequest("Connection names X-Forwarded-For")
			}
		}
	}
	client, hops := peer, 0
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			hop := rest
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, hop = rest[:at], rest[at+1:]
			} else {
				more = false
			}
			if hop = strings.Trim(hop, " \t"); hop == "" {
				continue
			}
			if hops++; hops > maxHops {
				return netip.Addr{}, badRequest("X-Forwarded-For has too many hops")
			}
			var ok bool
			if client, ok = parseHop(hop); !ok {
				return netip.Addr{}, badRequest("malformed X-Forwarded-For") // fail closed
			}
			if !anyContains(client, proxies) {
				return client, nil // what is further left is the client's own claim
			}
		}
	}
	if len(lines) > 0 && hops == 0 {
		return netip.Addr{}, badRequest("empty X-Forwarded-For") // the address is not known
	}
	return client, nil
}

// unknownProxies are the addresses outside of Options.Proxies that a warning was logged for. There are eight at most:
// whoever reaches the program cannot fill its log.
type unknownProxies struct {
	mu   sync.Mutex
	seen [8]netip.Addr
	n    int
}

// first reports whether a warning about the peer shall be logged, and remembers it. All peers without a network address
// count as one.
func (u *unknownProxies) first(remoteAddr string) bool {
	peer := parseAddr(remoteAddr)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n == len(u.seen) || slices.Contains(u.seen[:u.n], peer) {
		return false
	}
	u.seen[u.n] = peer
	u.n++
	return true
}

// FromProxy reports whether r comes from one of Options.Proxies. A peer without a network address is none of them.
func (a *Adapter) FromProxy(r *http.Request) bool {
	peer := parseAddr(r.RemoteAddr)
	return peer.IsValid() && anyContains(peer, a.opts.Proxies)
}

// maxHops bounds the hops that are read: each costs memory before the caller is authenticated.
const maxHops = 64

// isForwardedFor reports whether name is X-Forwarded-For to software that maps headers to variables.
func isForwardedFor(name string) bool { return sameVariable(name, "X-Forwarded-For") }

// parseHop reads a node of RFC 7239, section 6, with or without a port. The zero Addr stands for an unknown or hidden
// address.
func parseHop(s string) (addr netip.Addr, ok bool) {
	if a := parseAddr(s); a.IsValid() {
		return a, true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, rest, closed := strings.Cut(inner, "]")
		a, err := netip.ParseAddr(inner)
		if !closed || err != nil || !a.Is6() || rest != "" && !isNodePort(rest) {
			return netip.Addr{}, false
		}
		return a.Unmap().WithZone(""), true
	}
	name, _, _ := strings.Cut(s, ":")
	port := s[len(name):]
	if port != "" && !isNodePort(port) {
		return netip.Addr{}, false
	}
	if a, err := netip.ParseAddr(name); err == nil { // IPv4 with a hidden port: no other address has a colon before it
		return a, true
	}
	return netip.Addr{}, strings.EqualFold(name, "unknown") || isObfuscated(name)
}

// isNodePort reports whether s is ":" ( 1*5DIGIT / obfport ) (RFC 7239, section 6).
func isNodePort(s string) bool {
	s, ok := strings.CutPrefix(s, ":")
	return ok && (isObfuscated(s) || s != "" && len(s) <= 5 && strings.Trim(s, "0123456789") == "")
}

// isObfuscated reports whether s is "_" 1*( ALPHA / DIGIT / "." / "_" / "-" ) (RFC 7239, section 6).
func isObfuscated(s string) bool {
	if len(s) < 2 || s[0] != '_' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isAlphaNum(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// parseIPv4Port reads the usual form of Request.RemoteAddr, an IPv4 address and a port, as netip does. It returns false
// for every other text.
func parseIPv4Port(s string) (netip.Addr, bool) {
	var octets [4]byte
	i := 0
	for at := range octets {
		value, start := 0, i
		for ; i < len(s) && i-start < 3 && s[i]-'0' <= 9; i++ {
			value = 10*value + int(s[i]-'0')
		}
		end := byte('.')
		if at == 3 {
			end = ':'
		}
		if i == start || value > 255 || s[start] == '0' && i-start > 1 || i == len(s) || s[i] != end {
			return netip.Addr{}, false
		}
		octets[at] = byte(value)
		i++
	}
	port := 0
	if len(s)-i < 1 || len(s)-i > 5 {
		return netip.Addr{}, false
	}
	for ; i < len(s); i++ {
		if s[i]-'0' > 9 {
			return netip.Addr{}, false
		}
		port = 10*port + int(s[i]-'0')
	}
	return netip.AddrFrom4(octets), port <= 65535
}

// parseAddr reads an address with or without a port. It returns the zero Addr for anything else.
func parseAddr(s string) netip.Addr {
	if s == "" { // not known: an error of netip would allocate
		return netip.Addr{}
	}
	if a, ok := parseIPv4Port(s); ok {
		return a
	}
	// An attempt that fails allocates an error.
	if s[0] == '[' || strings.Count(s, ":") == 1 {
		if ap, err := netip.ParseAddrPort(s); err == nil {
			return ap.Addr().Unmap().WithZone("")
		}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func anyContains(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
