package weborigin

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// policy is a list of domains, with what it allows and denies.
type policy struct {
	t    *testing.T
	list []Domain
	text string
}

func parse(t testing.TB, entries ...string) (list []Domain) {
	t.Helper()
	for _, entry := range entries {
		d, err := ParseDomain(entry, nil)
		require.NoError(t, err, "%q", entry)
		list = append(list, d)
	}
	return list
}

func within(list []Domain, referer, origin string) bool {
	s, ok := Read(referer, origin)
	return ok && s.Within(list)
}

func domains(t *testing.T, entries ...string) policy {
	t.Helper()
	return policy{t, parse(t, entries...), fmt.Sprintf("%q", entries)}
}

func (p policy) allow(referers ...string) policy {
	p.t.Helper()
	for _, s := range referers {
		assert.True(p.t, within(p.list, s, ""), "%s should allow %q", p.text, s)
	}
	return p
}

func (p policy) deny(referers ...string) policy {
	p.t.Helper()
	for _, s := range referers {
		assert.False(p.t, within(p.list, s, ""), "%s should deny %q", p.text, s)
	}
	return p
}

func TestDomains(t *testing.T) {
	domains(t, "example.com").
		allow("https://example.com", "https://example.com/", "http://example.com/x", "https://example.com/a/b?c=d#e",
			"https://example.com?q", "https://example.com#f", "https://example.com:8443/", "HTTPS://EXAMPLE.COM/",
			"https://example.com:65535/", "https://example.com:23456/", "https://example.com/~?~",
			"https://example.com/"+strings.Repeat("a", maxURL-len("https://example.com/")),
			"example.com", "example.com/app", "example.com:8080/app", "https://example.com/a*b/../%2e%2e/").
		deny("", "null", "https://www.example.com/", "https://evilexample.com/", "https://example.com.evil.com/",
			"https://example.community/", "https://example.co/", "https://com/", "https://example.com.",
			"https://example.com./", "https://.example.com/", "https://example..com/", "https://example.com:/",
			"https://example.com:0/", "https://example.com:065/", "https://example.com:99999/", "https://example.com:8x/",
			"https://example.com:80:80/", "ftp://example.com/", "file://example.com/", "android-app://example.com/",
			"https://example.com:65536/", "https://example.com:065535/", "https://example.com:100000/",
			"https://example.com:4294967739/", `https://example.com/"`, "https://example.com/<", "https://example.com/>",
			"https://example.com/\x7f", "https://example.com/"+strings.Repeat("a", maxURL+1-len("https://example.com/")),
			"javascript://example.com/%0aalert(1)", "https:example.com", "https:/example.com/", "https:///example.com/",
			"https:////example.com/", "//example.com/", "/example.com", "https//example.com/", "://example.com",
			"about:blank", "data:text/html,example.com", "blob:https://example.com/1")

	domains(t, "www.example.com/app/stock").
		allow("http://www.example.com/app/stock", "https://www.example.com/app/stock/AAPL",
			"https://www.example.com/app/stocks", "www.example.com/app/stock?x=1").
		deny("http://www.example.com", "http://www.example.com/", "http://www.example.com/app",
			"http://www.example.com/App/stock", "http://www.example.com/x/app/stock",
			"http://www.example.com/app/stock/../../admin", "http://www.example.com/app/stock/%2e%2E/x",
			"http://www.example.com/app/stock/.%2e/x", "http://www.example.com/?/app/stock",
			"http://www.example.com/#/app/stock", "http://www.example.com?/app/stock")

	domains(t, "https://example.com").
		allow("https://example.com/x", "https://example.com:8443/x").
		deny("http://example.com/x", "example.com/x", "http://https://example.com/")

	domains(t, "example.com:8443").
		allow("https://example.com:8443/", "http://example.com:8443/").
		deny("https://example.com/", "https://example.com:443/", "https://example.com:84430/", "example.com")

	domains(t, "https://example.com:443").
		allow("https://example.com/", "https://example.com:443/").
		deny("http://example.com:443/", "https://example.com:80/")

	domains(t, "example.com:80").
		allow("http://example.com/", "https://example.com:80/").
		deny("https://example.com/", "example.com")
	domains(t, "example.com:443").
		allow("https://example.com/", "http://example.com:443/").
		deny("http://example.com/", "example.com")

	domains(t, "my_host.zz-19.example").
		allow("https://my_host.zz-19.example/").
		deny("https://my{host.zz-19.example/", "https://my-host.zz-19.example/")

	domains(t, "one.example", "two.example/app/").
		allow("https://one.example/", "https://two.example/app/x", "https://two.example/app/?at=/../x",
			"https://two.example/app/#/../x").
		deny("https://two.example/", "https://two.example/app", "https://three.example/")
}

// A host may be named "null". A header that is exactly "null" names no host.
func TestNullIsNoHost(t *testing.T) {
	domains(t, "null").allow("https://null/").deny("null")
}

func TestWildcardDomains(t *testing.T) {
	domains(t, "*.example.com").
		allow("https://www.example.com/", "http://a.b.example.com/x", "https://WWW.EXAMPLE.COM").
		deny("https://example.com/", "https://evilexample.com/", "https://.example.com/", "https://example.com.evil.com/",
			"https://www.example.com.evil.com/", "https://evil.com/www.example.com", "https://evil.com?www.example.com",
			"https://evil.com#.example.com", "https://*.example.com/", "https://evil.com/.example.com")

	domains(t, "*example.com").
		allow("https://example.com/", "https://www.example.com/").
		deny("https://evilexample.com/", "https://www.evilexample.com/", "https://www.exomple.com/")

	domains(t, "https://*.example.com:8443/app*").
		allow("https://www.example.com:8443/app", "https://www.example.com:8443/app/x").
		deny("http://www.example.com:8443/app", "https://www.example.com/app", "https://example.com:8443/app",
			"https://www.example.com:8443/")

	domains(t, "*.example.x").allow("https://a.example.x/")

	domains(t, "example.com*").
		allow("https://example.com/").
		deny("https://example.com.evil.com/", "https://example.community/")

	domains(t, "example.com/*").
		allow("https://example.com", "https://example.com/x").
		deny("https://www.example.com/x")
}

// What people see, what a browser opens and what a program reads must be one host.
func TestHostsInDisguise(t *testing.T) {
	policy := domains(t,
		"example.com", "*.example.com", "xn--bcher-kva.example", "10.1.2.3", "[2001:db8::1]", "localhost").
		deny("https://example.com@evil.com/", "https://evil.com@example.com/", "https://example.com:x@evil.com/",
			"https://user:pass@example.com/", "https://@example.com/", `https://evil.com\@example.com/`,
			`https://example.com\.evil.com/`, `https://evil.com\.example.com`, `https:\\example.com\`, `https://example.com/\x`,
			"https://example.com%2eevil.com/", "https://evil.com%2f.example.com/", "https://evil.com%00.example.com/",
			"https://evil.com%23.example.com/", "https://evil.com%40example.com/", "https://%65xample.com/",
			"https://ex\u0430mple.com/",           // Cyrillic a
			"https://example\uff0ecom/",           // full-width dot
			"https://example\u3002com/",           // ideographic dot
			"https://exam\u00adple.com/",          // soft hyphen
			"https://\uff45xample.com/",           // full-width e
			"https://example.com\u200b/",          // zero-width space
			"https://e\u212aample.com/",           // Kelvin sign
			"https://b\u00fccher.example/",        // not as browsers send it
			"https://evil.com\u2044.example.com/", // fraction slash
			" https://example.com/", "https://example.com/ ", "https://example.com /", "https://exam ple.com/",
			"https://example.com\t/", "https://example.com\n/", "https://example.com\r\nX: y", "https://example.com\x00/",
			"https://example.com\x7f/", "https://exa\xffmple.com/", "https://example.com%zz/", "https://exam,ple.com/",
			"https://evil.com,https://example.com/", "https://evil.com https://example.com", "https://evil.com;.example.com/",
			"https://evil.com'.example.com/", "https://evil.com!.example.com/", "https://evil.com&.example.com/",
			"https://"+strings.Repeat("a", 64)+".example.com/", "https://"+strings.Repeat("a.", 130)+"example.com/",
			"https://example.com/"+strings.Repeat("a", 9000)).
		// addresses that some programs read as 10.1.2.3
		deny("https://10.1.515/", "https://10.66051/", "https://167838211/", "https://0xa010203/", "https://0x0a.1.2.3/",
			"https://012.1.2.3/", "https://10.1.2.03/", "https://10.1.2.3./", "https://10.1.2.3.4/", "https://10.1.2/",
			"https://[::ffff:10.1.2.3]/", "https://[::ffff:a01:203]/", "https://[::10.1.2.3]/", "https://1.10.1.2.3/",
			"https://[10.1.2.3]/", "https://10.1.2.3.example.com.evil/", "https://256.1.2.3/", "https://10.1.2.0x3/",
			"https://[2001:db8::1%25eth0]/", "https://[2001:db8::1%eth0]/", "https://[2001:db8::1]x/", "https://[2001:db8::1",
			"https://2001:db8::1/", "https://[2001:db8::1]:/", "https://[2001:db8::2]/", "https://[]/", "https://[:]/",
			"https://localhost.evil.com/", "https://127.0.0.1/")
	policy.allow("https://xn--bcher-kva.example/", "https://10.1.2.3/x", "https://10.1.2.3:8080/",
		"https://[2001:db8::1]/", "https://[2001:DB8:0::0001]:8443/x", "http://localhost:3000/")
}

// What follows the authority is as browsers send it, and decides about nothing but a domain's path.
func TestOddPathsAndQueries(t *testing.T) {
	domains(t, "example.com").
		allow("https://example.com/50%", "https://example.com/%zz", "https://example.com/%", "https://example.com/100%25%",
			`https://example.com/?path=C:\x`, `https://example.com/x?a=\\evil.com\y`, `https://example.com?\`,
			`https://example.com/x?q=%zz&r="<>"`, "https://example.com/?u=https://evil.com/@", "https://example.com:443/%?%",
			"https://example.com/?a=[b]{c}|^`", `example.com/50%?\`, "https://example.com/@evil.com",
			"https://example.com/:80%").
		deny(`https://evil.com\?.example.com`, `https://evil.com/\example.com?\`, `https://evil.com?\@example.com/`,
			`https://evil.com?\.example.com/`, `https://evil.com/%?@example.com`, `https://example.com\?x`,
			`https://example.com/\?x`,
			`https://example.com/\..\x`, `https://user%@example.com/`, `https://example.com%/`, `https://example.com%?x`,
			`https://example.com:8%30/`, `https://example.com:%/`, `https://example.com./%`, `https://[::1]%/`, `https://[%]/`,
			"https://example.com/%\t", "https://example.com/?\n", "https://example.com/? ", "https://example.com/?\x00",
			"https://example.com/?\u00fc",
			`https://@example.com/%`, `https://evil.com%2f@example.com/?\`, `https:\\example.com/?x`, `https:/example.com/?\`,
			`\\example.com/?x`,
			`ftp://example.com/%`, `https://xn--example.com.evil.com/%`)
	domains(t, "example.com/app/").
		allow("https://example.com/app/50%", `https://example.com/app/?\..\..`).
		deny("https://example.com/app/%/../../x", "https://example.com/app/%2e%2E/%", `https://example.com/app/..\x`,
			`https://example.com/?/app/\`, "https://example.com/ap%70/")
	domains(t, "[2001:db8::1]:8080").
		allow(`https://[2001:db8::1]:8080/%?\`).
		deny(`https://[2001:db8::1%25]:8080/`, `https://[2001:db8::1]:8080%/`, `https://[2001:db8::1]/%`)
}

func TestOrigin(t *testing.T) {
	list := parse(t, "https://example.com", "paths.example/app")
	allow := func(referer, origin string) {
		t.Helper()
		assert.True(t, within(list, referer, origin), "Referer %q, Origin %q", referer, origin)
	}
	deny := func(referer, origin string) {
		t.Helper()
		assert.False(t, within(list, referer, origin), "Referer %q, Origin %q", referer, origin)
	}
	allow("", "https://example.com")
	allow("https://example.com/x", "")
	allow("https://example.com/x", "https://example.com")

	deny("", "")
	deny("", "null")
	deny("null", "")
	deny("", "http://example.com")
	deny("", "https://evil.com")
	deny("", "example.com") // an Origin has a scheme
	deny("", "https://example.com/")
	deny("", "https://example.com/x")
	deny("", "https://example.com?")
	deny("", "https://example.com#")
	deny("", "https://example.com https://example.com")
	deny("", "https://example.com,https://evil.com")

	// Both present: both must match, and name one host.
	deny("https://example.com/x", "https://evil.com")
	deny("https://evil.com/x", "https://example.com")
	deny("https://example.com/x", "null")
	deny("null", "https://example.com")
	deny("https://example.com/x", "http://example.com")
	deny("https://paths.example/app", "https://example.com")

	// An Origin has no path, so it shows no path; beside a Referer that does it passes.
	allow("https://paths.example/app/x", "")
	allow("https://paths.example/app/x", "https://paths.example")
	deny("", "https://paths.example")
	deny("https://paths.example/", "https://paths.example")
}

func TestDomainsThatCannotBeKept(t *testing.T) {
	for _, entry := range []string{
		"", " ", "*", "**", "*.", "*.*", ".", "/", "/app", "https://", "https://*", "https://*/", "http://", "*/", "*:80",
		"*.com", "*com", "*.localhost", "https://*.com", "*.1.2.3.4", "*.[::1]", "*1.2.3.4",
		"example.com another.com", "example.com,another.com", " example.com", "example.com ", "example.com\n",
		"exa*mple.com", "www.*.com", "*.*.example.com",
		"**.example.com", "*..example.com", "example.com/*/x", "example.com:*",
		"example.com/**", "http*://example.com", "*://example.com", "example.com.", ".example.com", "example..com",
		"ftp://example.com", "file:///x", "javascript:alert(1)", "//example.com", "https:example.com", "https:/example.com",
		"https://https://example.com", "user@example.com", "https://user:pass@example.com", "@example.com", `example.com\x`,
		`https:\\example.com`, "example.com:", "example.com:0", "example.com:080", "example.com:65536", "example.com:http",
		"example.com:80:80", "example.com?x", "example.com#x", "example.com/x?y", "example.com/../x", "example.com/./x",
		"example.com/%2e%2e/x", "b\u00fccher.example", "ex\u0430mple.com",
		"example\uff0ecom", "exam\u00adple.com", "example\u3002com",
		"example.com\x00", "exa\xffmple.com", "127.1", "0x7f.0.0.1",
		"2130706433", "0x7f000001", "010.0.0.1", "1.2.3", "1.2.3.4.5",
		"256.1.1.1", "1.2.3.4.", "[::ffff:1.2.3.4]", "[::1%eth0]", "[::1",
		"::1", "[]", "[1.2.3.4]", "[::1]x", "%65xample.com",
		"example.com/a b", `example.com/"`, "example.com/<", "example.com/>", "example.com/\x7f",
		"my{host.example", "[::1]80", "example.com:18446744073709551696", // 80, if 64 bits were enough
		"exa mple.com", "example.com;x", "exam\"ple.com", "<example.com>", strings.Repeat("a", 64) + ".com",
		strings.Repeat("a.", 130) + "com", "example.com/" + strings.Repeat("a", 9000),
	} {
		d, err := ParseDomain(entry, nil)
		assert.ErrorIs(t, err, fault.ErrInvalid, "%q", entry)
		assert.Zero(t, d)
		if err != nil {
			assert.Less(t, len(err.Error()), 600)
			assert.NotContains(t, err.Error(), "\n")
		}
	}
}

// The longest that may be kept, each of which is refused with one byte more.
func TestTheLongestDomains(t *testing.T) {
	host := strings.Repeat("a.", 126) + "a" // 253 bytes, the most that a name in DNS has
	for longest, longer := range map[string]string{
		host:                                 "a" + host,
		strings.Repeat("a", 63) + ".example": strings.Repeat("a", 64) + ".example",
		"x.example/" + strings.Repeat("a", maxURL-10): "x.example/" + strings.Repeat("a", maxURL-9),
		"x.example:65535": "x.example:65536",
	} {
		domains(t, longest)
		_, err := ParseDomain(longer, nil)
		assert.ErrorIs(t, err, fault.ErrInvalid)
	}
	for n, says := range map[int]string{300: `a": it has`, 301: `a…": it has`} {
		_, err := ParseDomain(strings.Repeat("a", n), nil)
		assert.ErrorContains(t, err, `"`+strings.Repeat("a", 300-1)+says)
	}
}

// Only a star is refused before a host beneath which anyone can register, and only there.
func TestStarsBeforePublicSuffixes(t *testing.T) {
	public := func(host string) bool { return host == "co.example" }
	for _, entry := range []string{"co.example", "*.mine.co.example", "*mine.co.example"} {
		d, err := ParseDomain(entry, public)
		require.NoError(t, err, entry)
		assert.NotZero(t, d)
	}
	for _, entry := range []string{"*.co.example", "*co.example", "https://*.co.example:80/app"} {
		d, err := ParseDomain(entry, public)
		assert.ErrorIs(t, err, fault.ErrInvalid, entry)
		assert.Zero(t, d)
		domains(t, entry) // with no list of such hosts
	}
	_, err := ParseDomain("*x.1.2.3.4", nil) // an address has no hosts beneath it
	assert.ErrorIs(t, err, fault.ErrInvalid)
}

// What is malformed is refused before any list is asked.
func TestHeadersThatAreMalformed(t *testing.T) {
	for _, referer := range []string{"null", "https://", "https://a b.example", "https://x.example/?\x00", "x.example:",
		"https://x@y.example/"} {
		s, ok := Read(referer, "")
		assert.False(t, ok, referer)
		assert.Zero(t, s)
		l, ok := parseReferer(referer)
		assert.False(t, ok, referer)
		assert.Zero(t, l)
	}
	for _, origin := range []string{"x.example", "https://x.example/", "null", "https://"} {
		s, ok := Read("https://x.example/", origin)
		assert.False(t, ok, origin)
		assert.Zero(t, s)
	}
}

// net/url is a second reader: a header on which it does not agree is refused, and so is what it cannot read.
func TestASecondReader(t *testing.T) {
	l := location{scheme: "https", host: "x.example", port: "80", path: "/app"}
	assert.True(t, l.agrees("https://x.example:80"))
	for _, text := range []string{"http://x.example:80", "https://y.example:80", "https://x.example:81",
		"https://x.example", "https://x.example:", "https://a@x.example:80", "https:x.example:80",
		"https://x.example:80%", "x.example:80"} {
		assert.False(t, l.agrees(text), text)
	}
	l.scheme = ""
	assert.True(t, l.agrees("http://x.example:80"))
	assert.False(t, l.agrees("http:x.example:80"))
}

// The zero Domain, which an ignored error leaves, matches nothing.
func TestTheZeroDomainMatchesNothing(t *testing.T) {
	for _, referer := range []string{"https://fine.example/", "https://null/", "x"} {
		assert.False(t, within([]Domain{{}}, referer, ""), referer)
	}
}

func FuzzDomain(f *testing.F) {
	for _, s := range [][3]string{
		{"example.com", "https://example.com/x", ""}, {"*.example.com", "http://a.example.com:80/", "http://a.example.com"},
		{"https://example.com:8443/app*", "https://example.com:8443/app", ""}, {"*example.com", "evilexample.com", ""},
		{"[2001:db8::1]", "https://[2001:db8::1]/", ""}, {"10.1.2.3", "https://10.1.2.3", ""},
		{"example.com", `https://example.com\@evil.com`, "null"}, {"example.com", "https://a@example.com", ""},
		{"example.com", `https://example.com/50%?a=\"<>`, ""}, {"example.com", "https://example.com%/", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, entry, referer, origin string) {
		d, err := ParseDomain(entry, nil)
		if !within([]Domain{d}, referer, origin) {
			return
		}
		if err != nil || referer == "" && origin == "" {
			t.Fatalf("%q (%v) allows Referer %q, Origin %q", entry, err, referer, origin)
		}
		// By other means: cut the entry down to its host, read the header as net/url does.
		want := strings.ToLower(strings.TrimSuffix(entry, "*"))
		want = strings.TrimPrefix(strings.TrimPrefix(want, "http://"), "https://")
		want, _, _ = strings.Cut(want, "/")
		if !strings.HasPrefix(want, "[") {
			want, _, _ = strings.Cut(want, ":")
		}
		bare := strings.TrimLeft(want, "*.")
		for _, header := range []string{referer, origin} {
			if header == "" {
				continue
			}
			if !strings.Contains(header, "://") || !strings.HasPrefix(strings.ToLower(header), "http") {
				header = "http://" + header
			}
			// Browsers send a "%" in a path or query as it was typed; net/url takes escapes alone.
			at := strings.Index(header, "://") + len("://")
			if end := strings.IndexAny(header[at:], "/?#"); end >= 0 {
				header = header[:at+end] + strings.ReplaceAll(header[at+end:], "%", "%25")
			}
			u, err := url.Parse(header)
			if err != nil || u.User != nil {
				t.Fatalf("%q allows %q, which is no URL", entry, header)
			}
			host := strings.ToLower(u.Hostname())
			if strings.HasPrefix(want, "[") {
				inner, _, _ := strings.Cut(want[1:], "]")
				if netip.MustParseAddr(host) != netip.MustParseAddr(inner) {
					t.Fatalf("%q allows %q", entry, header)
				}
				continue
			}
			if host != bare && !(strings.HasPrefix(want, "*") && strings.HasSuffix(host, "."+bare)) {
				t.Fatalf("%q allows %q, whose host is %q", entry, header, host)
			}
			if host == bare && strings.HasPrefix(want, "*.") {
				t.Fatalf("%q allows %q itself", entry, header)
			}
		}
	})
}

func BenchmarkWithin(b *testing.B) {
	list := parse(b, "https://other.example", "*.example.com")
	for b.Loop() {
		if !within(list, "https://www.example.com/app/page?x=1", "https://www.example.com") {
			b.Fatal("refused")
		}
	}
}
