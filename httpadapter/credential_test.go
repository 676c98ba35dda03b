package httpadapter

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(target string, headers ...string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header[http.CanonicalHeaderKey(headers[i])] = append(r.Header.Values(headers[i]), headers[i+1])
	}
	return r
}

func TestFind(t *testing.T) {
	bearer := Carriers{Bearer: true}
	query := Carriers{Bearer: true, Query: []string{"token", "auth_token"}}
	header := Carriers{Headers: []string{"key"}}
	for _, tt := range []struct {
		name     string
		carriers Carriers
		r        *http.Request
		body     []string
		want     string
		err      error
	}{
		{"bearer", bearer, get("/", "Authorization", "Bearer abc-._~+/=="), nil, "abc-._~+/==", nil},
		{"any case", bearer, get("/", "Authorization", "bEARER abc"), nil, "abc", nil},
		{"header", header, get("/", "key", "K"), nil, "K", nil},
		{"header, any case", header, get("/", "KEY", "K"), nil, "K", nil},
		{"query", query, get("/?token=T&x=1"), nil, "T", nil},
		{"body", bearer, get("/"), []string{"B"}, "B", nil},

		{"none", bearer, get("/"), nil, "", ErrNoCredential},
		{"another scheme", bearer, get("/", "Authorization", "Basic YTpi"), nil, "", ErrNoCredential},
		{"query not read", bearer, get("/?token=T"), nil, "", ErrNoCredential},
		{"query by another case", query, get("/?Token=T"), nil, "", ErrNoCredential},
		{"empty header", header, get("/", "key", ""), nil, "", ErrNoCredential},
		{"empty body", bearer, get("/"), []string{""}, "", ErrNoCredential},
		{"bearer where it is not read", header, get("/", "Authorization", "Bearer abc"), nil, "", ErrNoCredential},

		{"two headers", bearer, get("/", "Authorization", "Bearer a", "Authorization", "Bearer a"), nil, "", ErrManyCredentials},
		{"two schemes", bearer, get("/", "Authorization", "Basic a", "Authorization", "Bearer a"), nil, "", ErrManyCredentials},
		{"two key headers", header, get("/", "key", "K", "key", "K"), nil, "", ErrManyCredentials},
		{"bearer and query", query, get("/?token=a", "Authorization", "Bearer a"), nil, "", ErrManyCredentials},
		{"bearer and empty query", query, get("/?token=", "Authorization", "Bearer a"), nil, "", ErrManyCredentials},
		{"twice in the query", query, get("/?token=a&token=a"), nil, "", ErrManyCredentials},
		{"two parameters", query, get("/?token=a&auth_token=a"), nil, "", ErrManyCredentials},
		{"header and body", header, get("/", "key", "K"), []string{"K"}, "", ErrManyCredentials},
		{"two in the body", header, get("/"), []string{"K", "K"}, "", ErrManyCredentials},
		{"unread bearer and body", header, get("/", "Authorization", "Bearer K"), []string{"K"}, "", ErrManyCredentials},

		{"no token", bearer, get("/", "Authorization", "Bearer"), nil, "", ErrBadRequest},
		{"empty token", bearer, get("/", "Authorization", "Bearer "), nil, "", ErrBadRequest},
		{"two spaces", bearer, get("/", "Authorization", "Bearer  abc"), nil, "", ErrBadRequest},
		{"space behind", bearer, get("/", "Authorization", "Bearer abc "), nil, "", ErrBadRequest},
		{"tab", bearer, get("/", "Authorization", "Bearer\tabc"), nil, "", ErrBadRequest},
		{"a list", bearer, get("/", "Authorization", "Bearer a, Bearer b"), nil, "", ErrBadRequest},
		{"equals sign in the middle", bearer, get("/", "Authorization", "Bearer a=b"), nil, "", ErrBadRequest},
		{"only equals signs", bearer, get("/", "Authorization", "Bearer =="), nil, "", ErrBadRequest},
		{"percent", bearer, get("/", "Authorization", "Bearer a%62"), nil, "", ErrBadRequest},
		{"quotes", bearer, get("/", "Authorization", `Bearer "abc"`), nil, "", ErrBadRequest},
		{"not ASCII", bearer, get("/", "Authorization", "Bearer ábc"), nil, "", ErrBadRequest},
		{"empty Authorization", bearer, get("/", "Authorization", ""), nil, "", ErrBadRequest},
		{"malformed query", query, get("/?token=a&x=%zz"), nil, "", ErrBadRequest},
		{"semicolon", query, get("/?x=1;token=b&token=a"), nil, "", ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.carriers.Find(tt.r, tt.body...)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, got)
		})
	}
}

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
		{"hop as IPv4 in IPv6", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9, ::ffff:10.0.0.2"}, "192.0.2.9"},
		{"claims left of the client", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "127.0.0.1, x, 192.0.2.9"}, "192.0.2.9"},
		{"two proxies", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "8.8.8.8,192.0.2.9 , 10.0.0.2"}, "192.0.2.9"},
		{"two lines", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "8.8.8.8", "X-Forwarded-For", "192.0.2.9,fd00::1"}, "192.0.2.9"},
		{"with a port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9:80"}, "192.0.2.9"},
		{"no header", "10.0.0.1:1", proxies, nil, "10.0.0.1"},
		{"an inner client", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "10.0.0.7, 10.0.0.2"}, "10.0.0.7"},
		{"others are not read", "10.0.0.1:1", proxies, []string{"X-Real-Ip", "8.8.8.8", "Forwarded", "for=8.8.8.8"}, "10.0.0.1"},

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
		{"a long port", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9:123456"}, "bad"},
		{"a bare underscore", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "_"}, "bad"},
		{"a node of Forwarded", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "for=192.0.2.9"}, "bad"},
		{"quotes", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", `"192.0.2.9"`}, "bad"},
		{"a Unix socket", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unix:"}, "bad"},
		{"unknownx", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "unknownx"}, "bad"},
		{"leading zero", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.09"}, "bad"},
		{"underscores", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9", "X_Forwarded_For", "8.8.8.8"}, "bad"},
		{"dots", "10.0.0.1:1", proxies, []string{"X.forwarded-For", "8.8.8.8"}, "bad"},
		{"Connection", "10.0.0.1:1", proxies, []string{"X-Forwarded-For", "192.0.2.9", "Connection", "close, x-forwarded-for"}, "bad"},
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

func TestPresentedRefusesTwoHeaders(t *testing.T) {
	for _, name := range []string{"Referer", "Origin"} {
		_, err := Presented(get("/", name, "https://a.example/", name, "https://b.example/"), "s", nil)
		require.ErrorIs(t, err, ErrBadRequest, name)
		p, err := Presented(get("/", name, "https://a.example/"), "s", nil)
		require.NoError(t, err)
		require.Equal(t, "https://a.example/", p.Referer+p.Origin)
	}
}

func TestReadBody(t *testing.T) {
	body := func(s string, headers ...string) *http.Request {
		r := httptest.NewRequest("POST", "/", strings.NewReader(s))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	chunked := func(s string) *http.Request {
		r := body(s)
		r.ContentLength = -1
		return r
	}
	for _, tt := range []struct {
		name string
		r    *http.Request
		err  error
	}{
		{"fits", body("12345678"), nil},
		{"too long", body("123456789"), ErrTooLarge},
		{"too long, no length", chunked("123456789"), ErrTooLarge},
		{"fits, no length", chunked("12345678"), nil},
		{"compressed", body("1", "Content-Encoding", "gzip"), ErrMediaType},
		{"plain", body("1", "Content-Encoding", "identity"), nil},
	} {
		_, err := ReadBody(tt.r, 8)
		require.ErrorIs(t, err, tt.err, tt.name)
	}
	limited := chunked("12345678")
	limited.Body = http.MaxBytesReader(httptest.NewRecorder(), limited.Body, 4)
	_, err := ReadBody(limited, 8)
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestMediaType(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "",
		"application/json":                "application/json",
		"Application/JSON; charset=UTF-8": "application/json",
		"application/x-www-form-urlencoded; charset=utf-8": "application/x-www-form-urlencoded",
		"application/json; charset=utf-7":                  "error",
		"application/json" + strings.Repeat(" ", 300):      "error",
		"application/json; charset":                        "error",
		"undefined/":                                       "error",
	} {
		got, err := MediaType(get("/", "Content-Type", in))
		if want == "error" {
			require.ErrorIs(t, err, ErrMediaType, in)
			continue
		}
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
}
