package httpadapter

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClientAddr(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name, peer string
		proxies    []netip.Prefix
		headers    []string
		want       string // "": not known; "bad": refused
	}{
		{"peer", "192.0.2.1:1234", nil, nil, "192.0.2.1"},
		{"IPv6 peer", "[2001:db8::1]:1234", nil, nil, "2001:db8::1"},
		{"zone", "[fe80::1%eth0]:1234", nil, nil, "fe80::1"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1234", nil, nil, "192.0.2.1"},
		{"NAT64 is no IPv4", "[64:ff9b::c000:201]:1", nil, nil, "64:ff9b::c000:201"},
		{"Unix socket", "@", nil, nil, ""},
		{"no peer", "", proxies, []string{"X-Forwarded-For", "192.0.2.9"}, ""},

		{"nobody is trusted by default", "10.0.0.1:1", nil, []string{"X-Forwarded-For", "192.0.2.9"}, "10.0.0.1"},
		{"a client's own claim", "192.0.2.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9"}, "192.0.2.1"},
		{"one proxy", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9"}, "192.0.2.9"},
		{"peer as IPv4 in IPv6", "[::ffff:10.0.0.1]:1", proxies, []string{"X-Forwarded-For", "192.0.2.9"}, "192.0.2.9"},
		{"hop as IPv4 in IPv6", "10.0.0.1:1", proxies,
			[]string{"X-Forwarded-For", "192.0.2.9, ::ffff:10.0.0.2"}, "192.0.2.9"},
		{"claims left of the client", "10.0.0.1:1", proxies,
			[]string{"X-Forwarded-For", "127.0.0.1, x, 192.0.2.9"}, "192.0.2.9"},
		{"two proxies", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "8.8.8.8,192.0.2.9 , 10.0.0.2"}, "192.0.2.9"},
		{"two lines", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "8.8.8.8", "X-Forwarded-For", "192.0.2.9,fd00::1"},
			"192.0.2.9"},
		{"with a port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9:80"}, "192.0.2.9"},
		{"no header", "10.0.0.1:1", proxies, nil, "10.0.0.1"},
		{"an inner client", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "10.0.0.7, 10.0.0.2"}, "10.0.0.7"},
		{"others are not read", "10.0.0.1:1", proxies, []string{"X-Real-Ip", "8.8.8.8", "Forwarded", "for=8.8.8.8"},
			"10.0.0.1"},

		{"IPv6", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "8.8.8.8, [2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 and a port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[2001:db8::1]:443"}, "2001:db8::1"},
		{"a proxy in brackets", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9, [fd00::1]"}, "192.0.2.9"},
		{"IPv4 in IPv6, in brackets", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[::ffff:192.0.2.9]"}, "192.0.2.9"},
		{"a proxy so, and a port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9, [::ffff:10.0.0.2]:80"},
			"192.0.2.9"},
		{"a zone", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[fe80::1%eth0]"}, "fe80::1"},
		{"a port that is not told", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9:_p"}, "192.0.2.9"},
		{"IPv6, a port not told", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[2001:db8::1]:_p"}, "2001:db8::1"},
		{"empty hop last", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9,"}, "192.0.2.9"},
		{"empty hops", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", ", 192.0.2.9, , \t,"}, "192.0.2.9"},
		{"an empty line", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9", "X-Forwarded-For", ""},
			"192.0.2.9"},
		{"unknown", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unknown"}, ""},
		{"unknown, and a claim", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9, Unknown"}, ""},
		{"unknown behind a proxy", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9, unknown:80, 10.0.0.2"}, ""},
		{"unknown, and a high port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unknown:65535"}, ""},
		{"unknown in a claim", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unknown, 192.0.2.9"}, "192.0.2.9"},
		{"not told", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9, _SEVKISEK"}, ""},
		{"not told, and a port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "_a-b.c_d:_1"}, ""},

		{"many hops", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9" + strings.Repeat(",10.0.0.2", 63)},
			"192.0.2.9"},
		{"too many hops", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9" + strings.Repeat(",10.0.0.2", 64)},
			"bad"},

		{"no address", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "localhost"}, "bad"},
		{"empty header", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", ""}, "bad"},
		{"commas alone", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", " , ,"}, "bad"},
		{"two addresses in one", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9 10.0.0.2"}, "bad"},
		{"IPv4 in brackets", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[192.0.2.9]"}, "bad"},
		{"an open bracket", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[2001:db8::1"}, "bad"},
		{"a closed one", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "2001:db8::1]"}, "bad"},
		{"text after it", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[2001:db8::1]x"}, "bad"},
		{"an empty port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[2001:db8::1]:"}, "bad"},
		{"a port with a letter", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9:80a"}, "bad"},
		{"a long port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9:123456"}, "bad"},
		{"unknown, and a long port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unknown:123456"}, "bad"},
		{"a port without a colon", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "[2001:db8::1]80"}, "bad"},
		{"a bare underscore", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "_"}, "bad"},
		{"a node of Forwarded", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "for=192.0.2.9"}, "bad"},
		{"quotes", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", `"192.0.2.9"`}, "bad"},
		{"a Unix socket", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unix:"}, "bad"},
		{"unknownx", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unknownx"}, "bad"},
		{"leading zero", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.09"}, "bad"},
		{"underscores", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9", "X_Forwarded_For", "8.8.8.8"}, "bad"},
		{"dots", "10.0.0.1:1", proxies, []string{"X.forwarded-For", "8.8.8.8"}, "bad"},
		{"Connection", "10.0.0.1:1", proxies,
			[]string{"X-Forwarded-For", "192.0.2.9", "Connection", "close, x-forwarded-for"}, "bad"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := get("/", tt.headers...)
			r.RemoteAddr = tt.peer
			got, err := ClientAddr(r, tt.proxies)
			switch tt.want {
			case "bad":
				require.ErrorIs(t, err, ErrBadRequest)
				require.False(t, got.IsValid())
			case "":
				require.NoError(t, err)
				require.False(t, got.IsValid())
			default:
				require.NoError(t, err)
				require.Equal(t, tt.want, got.String())
			}
		})
	}
}

func TestFromProxy(t *testing.T) {
	a := &Adapter{opts: Options{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for peer, want := range map[string]bool{"10.0.0.1:1": true, "[::ffff:10.0.0.1]:1": true, "11.0.0.1:1": false,
		"[::1]:1": false, "@": false, "": false} {
		r := get("/", "X-Forwarded-For", "10.0.0.1")
		r.RemoteAddr = peer
		require.Equal(t, want, a.FromProxy(r), peer)
		require.False(t, (&Adapter{}).FromProxy(r), "nobody is a proxy by default")
	}
}

func TestPresentedRefusesTwoHeaders(t *testing.T) {
	for _, name := range []string{"Referer", "Origin"} {
		_, err := Presented(get("/", name, "https://a.example/", name, "https://b.example/"), "s", nil)
		require.ErrorIs(t, err, ErrBadRequest, name)
		p, err := Presented(get("/", name, "https://a.example/"), "s", nil)
		require.NoError(t, err)
		require.Equal(t, "https://a.example/", p.Referer+p.Origin)
	}
}

// The state of a request names no caller before the credential is verified.
func TestAccessFromAStateThatKnowsNone(t *testing.T) {
	s := newState(t.Context())
	_, known := AccessFrom(s)
	require.False(t, known)
	s.known = true
	_, known = AccessFrom(s)
	require.True(t, known)
}

// The list of the Fetch standard.
func TestHeadersThatNoPageSets(t *testing.T) {
	for _, name := range strings.Fields(`Accept-Charset Accept-Encoding Access-Control-Request-Headers
		Access-Control-Request-Method Connection Content-Length Cookie Cookie2 Date DNT Expect Host Keep-Alive Origin
		Referer Set-Cookie TE Trailer Transfer-Encoding Upgrade Via Proxy-Authorization Sec-Fetch-Site`) {
		require.True(t, isForbiddenHeader(name), name)
	}
	for _, name := range []string{"Accept", "Authorization", "Content-Type", "X-Api-Key", "Proxies", "Section"} {
		require.False(t, isForbiddenHeader(name), name)
	}
}

// Each address is told once, and of many only the first ones.
func TestUnknownProxiesAreToldOnce(t *testing.T) {
	var u unknownProxies
	for i := range 2 * len(u.seen) {
		peer := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		require.Equal(t, i < len(u.seen), u.first(netip.AddrPortFrom(peer, 1).String()), i)
		require.False(t, u.first(netip.AddrPortFrom(peer, 2).String()), i)
	}
}
