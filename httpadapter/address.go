package httpadapter

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// Presented gathers what a request brings along with a secret: its Referer and Origin headers and the client's address
// (see [ClientAddr]). A request with two of either header is [ErrBadRequest].
func Presented(r *http.Request, secret string, proxies []netip.Prefix) (latchkey.Presented, error) {
	p := latchkey.Presented{Secret: secret}
	var err error
	if p.Referer, err = oneHeader(r.Header["Referer"]); err != nil {
		return latchkey.Presented{}, err
	}
	if p.Origin, err = oneHeader(r.Header["Origin"]); err != nil {
		return latchkey.Presented{}, err
	}
	if p.Address, err = ClientAddr(r, proxies); err != nil {
		return latchkey.Presented{}, err
	}
	return p, nil
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

// ClientAddr is the network address of the client: the peer of the connection, unless that is one of the host's own
// proxies. Then X-Forwarded-For is read from right to left, to the first address that is no proxy. Without proxies no
// header is looked at. IPv4 addresses written as IPv6 become IPv4, and zones are dropped.
//
// The zero Addr means not known (a Unix socket); it passes no address restriction. A chain that cannot be trusted is
// [ErrBadRequest]: a hop that is no address, a second header that some proxies take for X-Forwarded-For
// (X_Forwarded_For), or one that the Connection header tells the next proxy to remove.
func ClientAddr(r *http.Request, proxies []netip.Prefix) (netip.Addr, error) {
	peer := parseAddr(r.RemoteAddr)
	if !peer.IsValid() || !within(peer, proxies) {
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
	client := peer
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			hop := rest
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, hop = rest[:at], rest[at+1:]
			} else {
				more = false
			}
			client = parseAddr(strings.Trim(hop, " \t"))
			if !client.IsValid() {
				return netip.Addr{}, badRequest("malformed X-Forwarded-For") // fail closed
			}
			if !within(client, proxies) {
				return client, nil // what lies further left is the client's own claim
			}
		}
	}
	return client, nil
}

// isForwardedFor folds what header-to-variable mappings fold: "-", "_", "." and case.
func isForwardedFor(name string) bool {
	const want = "x-forwarded-for"
	if len(name) != len(want) {
		return false
	}
	for i := range len(want) {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// parseAddr reads an address with or without a port; the zero Addr if it is none.
func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
