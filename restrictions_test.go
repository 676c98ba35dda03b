package latchkey

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// web is a policy to read aloud: a list of domains, and what it allows and denies.
type web struct {
	t *testing.T
	r *restriction
	d string
}

func domains(t *testing.T, entries ...string) web {
	t.Helper()
	require.NoError(t, Restrictions{Domains: entries}.Validate(nil), "%q", entries)
	r, err := compileRestrictions(Restrictions{Domains: entries})
	require.NoError(t, err)
	return web{t, r, fmt.Sprintf("%q", entries)}
}

func (w web) allow(referers ...string) web {
	w.t.Helper()
	for _, s := range referers {
		assert.NoError(w.t, w.r.checkWeb(s, ""), "%s should allow %q", w.d, s)
	}
	return w
}

func (w web) deny(referers ...string) web {
	w.t.Helper()
	for _, s := range referers {
		assert.ErrorIs(w.t, w.r.checkWeb(s, ""), ErrReferer, "%s should deny %q", w.d, s)
	}
	return w
}

func TestDomains(t *testing.T) {
	domains(t, "example.com").
		allow("https://example.com", "https://example.com/", "http://example.com/x", "https://example.com/a/b?c=d#e",
			"https://example.com?q", "https://example.com#f", "https://example.com:8443/", "HTTPS://EXAMPLE.COM/",
			"example.com", "example.com/app", "example.com:8080/app", "https://example.com/a*b/../%2e%2e/").
		deny("", "null", "https://www.example.com/", "https://evilexample.com/", "https://example.com.evil.com/",
			"https://example.community/", "https://example.co/", "https://com/", "https://example.com.",
			"https://example.com./", "https://.example.com/", "https://example..com/", "https://example.com:/",
			"https://example.com:0/", "https://example.com:065/", "https://example.com:99999/", "https://example.com:8x/",
			"https://example.com:80:80/", "ftp://example.com/", "file://example.com/", "android-app://example.com/",
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

	domains(t, "one.example", "two.example/app/").
		allow("https://one.example/", "https://two.example/app/x").
		deny("https://two.example/", "https://two.example/app", "https://three.example/")
}

// A host may be called "null", as a header that says only that does not speak of one.
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
		deny("https://evilexample.com/", "https://www.evilexample.com/")

	domains(t, "https://*.example.com:8443/app*").
		allow("https://www.example.com:8443/app", "https://www.example.com:8443/app/x").
		deny("http://www.example.com:8443/app", "https://www.example.com/app", "https://example.com:8443/app",
			"https://www.example.com:8443/")

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
		// addresses that are read as 10.1.2.3, or not, depending on who reads
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
	r, err := compileRestrictions(Restrictions{Domains: []string{"https://example.com", "paths.example/app"}})
	require.NoError(t, err)
	allow := func(referer, origin string) {
		t.Helper()
		assert.NoError(t, r.checkWeb(referer, origin), "Referer %q, Origin %q", referer, origin)
	}
	deny := func(referer, origin string) {
		t.Helper()
		assert.ErrorIs(t, r.checkWeb(referer, origin), ErrReferer, "Referer %q, Origin %q", referer, origin)
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

	// Both there: both must pass, and speak of one host.
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
		"exa mple.com", "example.com;x", "exam\"ple.com", "<example.com>", strings.Repeat("a", 64) + ".com",
		strings.Repeat("a.", 130) + "com", "example.com/" + strings.Repeat("a", 9000),
	} {
		r := Restrictions{Domains: []string{"fine.example", entry}}
		err := r.Validate(nil)
		assert.ErrorIs(t, err, ErrInvalid, "%q", entry)
		if err != nil {
			assert.Less(t, len(err.Error()), 600)
			assert.NotContains(t, err.Error(), "\n")
		}
		// Kept all the same, it lets nobody in: not even whom the other entry would.
		c, err := compileRestrictions(r)
		assert.ErrorIs(t, err, ErrInvalid, "%q", entry)
		assert.Error(t, c.checkWeb("https://fine.example/", ""), "%q", entry)
		assert.Error(t, c.checkAddress(netip.MustParseAddr("10.0.0.1")))
		assert.Error(t, c.checkMint(netip.MustParseAddr("10.0.0.1")))
		assert.True(t, c.needsSignature())
	}
}

func TestPublicSuffix(t *testing.T) {
	suffix := func(host string) bool { return host == "co.uk" || host == "github.io" || host == "com" }
	for _, entry := range []string{"*.co.uk", "*co.uk", "https://*.co.uk/x", "*.GitHub.io", "*.com"} {
		assert.ErrorIs(t, Restrictions{Domains: []string{entry}}.Validate(suffix), ErrInvalid, entry)
	}
	for _, entry := range []string{"*.example.co.uk", "me.github.io", "*.me.github.io", "co.uk", "*.example.com"} {
		assert.NoError(t, Restrictions{Domains: []string{entry}}.Validate(suffix), entry)
	}
	assert.NoError(t, Restrictions{Domains: []string{"*.co.uk"}}.Validate(nil), "two labels are all we know of ourselves")
	assert.ErrorIs(t, Restrictions{Domains: []string{"*.intern"}}.Validate(func(string) bool { return false }), ErrInvalid)
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestAddresses(t *testing.T) {
	list := prefixes("10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32", "fe80::/10")
	for name, r := range map[string]Restrictions{"Addresses": {Addresses: list}, "MintFrom": {MintFrom: list}} {
		require.NoError(t, r.Validate(nil))
		c, err := compileRestrictions(r)
		require.NoError(t, err)
		check, other := c.checkAddress, c.checkMint
		if name == "MintFrom" {
			check, other = other, check
		}
		for _, s := range []string{
			"10.1.0.0", "10.1.255.255", "192.0.2.7", "::ffff:10.1.2.3",
			"::ffff:192.0.2.7", "2001:db8::1", "fe80::1", "fe80::1%eth0",
			"::ffff:10.1.2.3%eth0",
		} {
			assert.NoError(t, check(netip.MustParseAddr(s)), "%s should allow %s", name, s)
		}
		for _, s := range []string{
			"10.2.0.0", "10.0.255.255", "192.0.2.8", "2001:db9::1", "::1", "::", "0.0.0.0", "::ffff:10.2.0.1",
			"::10.1.2.3",        // IPv4-compatible: long gone, and not IPv4
			"64:ff9b::10.1.2.3", // NAT64
			"2002:a01:203::1",   // 6to4
			"fec0::1",
		} {
			assert.ErrorIs(t, check(netip.MustParseAddr(s)), ErrAddress, "%s should deny %s", name, s)
		}
		assert.ErrorIs(t, check(netip.Addr{}), ErrAddress, "an unknown address passes no list")
		assert.NoError(t, other(netip.Addr{}), "the other list is empty")
		assert.NoError(t, other(netip.MustParseAddr("203.0.113.1")))
		assert.NoError(t, c.checkWeb("", ""))
	}
}

// An error says what to write, where there is something.
func TestPrefixErrorsSayWhatToWrite(t *testing.T) {
	for in, want := range map[string]string{
		"192.168.2.0/16":      "write 192.168.0.0/16",
		"10.0.0.1/8":          "write 10.0.0.0/8",
		"2001:db8::1/32":      "write 2001:db8::/32",
		"::ffff:10.0.0.0/104": "write 10.0.0.0/8",
		"::ffff:10.0.0.7/128": "write 10.0.0.7/32",
		"::ffff:10.9.9.9/104": "write 10.0.0.0/8",
		"::ffff:0.0.0.0/96":   "leave it out",
		"::ffff:0.0.0.0/90":   "leave it out",
		"0.0.0.0/0":           "leave it out",
		"1.2.3.4/0":           "leave it out",
		"::/0":                "leave it out",
	} {
		err := Restrictions{Addresses: prefixes(in)}.Validate(nil)
		require.ErrorIs(t, err, ErrInvalid, in)
		require.ErrorContains(t, err, want, in)
		if _, fixed, ok := strings.Cut(want, "write "); ok {
			require.NoError(t, Restrictions{Addresses: prefixes(fixed)}.Validate(nil), "what it says can be written")
		}
	}
}

func TestPrefixesThatCannotBeKept(t *testing.T) {
	for _, p := range []netip.Prefix{
		{},
		netip.MustParsePrefix("0.0.0.0/0"),
		netip.MustParsePrefix("::/0"),
		netip.MustParsePrefix("10.0.0.1/8"),
		netip.MustParsePrefix("2001:db8::1/64"),
		netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104),
		netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 8),
		netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 33),
		netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), -1),
	} {
		for _, r := range []Restrictions{
			{Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), p}},
			{MintFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), p}},
		} {
			assert.ErrorIs(t, r.Validate(nil), ErrInvalid, "%v", p)
			c, err := compileRestrictions(r)
			assert.ErrorIs(t, err, ErrInvalid)
			assert.Error(t, c.checkAddress(netip.MustParseAddr("192.0.2.1")))
			assert.Error(t, c.checkMint(netip.MustParseAddr("192.0.2.1")))
		}
	}
}

func TestNoRestrictions(t *testing.T) {
	c, err := compileRestrictions(Restrictions{})
	require.NoError(t, err)
	empty, err := compileRestrictions(Restrictions{
		Domains: []string{}, Addresses: []netip.Prefix{}, MintFrom: []netip.Prefix{},
	})
	require.NoError(t, err)
	none, err := meetRestrictions(nil)
	require.NoError(t, err)
	for _, r := range []*restriction{c, empty, none, nil, {}} {
		assert.NoError(t, r.checkWeb("", ""))
		assert.NoError(t, r.checkWeb("https://anywhere.example/", "null"))
		assert.NoError(t, r.checkAddress(netip.Addr{}))
		assert.NoError(t, r.checkMint(netip.Addr{}))
		assert.False(t, r.needsSignature())
	}
}

func TestMeetRestrictions(t *testing.T) {
	child := Restrictions{Domains: []string{"app.example.com"}, Addresses: prefixes("10.1.0.0/16")}
	parent := Restrictions{
		Domains: []string{"*.example.com"}, Addresses: prefixes("10.0.0.0/8"), MintFrom: prefixes("192.0.2.0/24"),
		Signed: true,
	}
	root := Restrictions{Addresses: prefixes("10.1.2.0/24", "2001:db8::/32")}
	met, err := meetRestrictions([]Restrictions{child, parent, root})
	require.NoError(t, err)

	assert.NoError(t, met.checkWeb("https://app.example.com/", ""))
	assert.Error(t, met.checkWeb("https://www.example.com/", ""), "the parent's alone")
	assert.NoError(t, met.checkAddress(netip.MustParseAddr("10.1.2.3")))
	assert.Error(t, met.checkAddress(netip.MustParseAddr("10.1.3.3")), "outside the root's")
	assert.Error(t, met.checkAddress(netip.MustParseAddr("2001:db8::1")), "the root's alone")
	assert.NoError(t, met.checkMint(netip.MustParseAddr("203.0.113.1")), "MintFrom is not inherited")
	assert.True(t, met.needsSignature(), "Signed is")

	own, err := meetRestrictions([]Restrictions{parent, root})
	require.NoError(t, err)
	assert.NoError(t, own.checkMint(netip.MustParseAddr("192.0.2.1")))
	assert.Error(t, own.checkMint(netip.MustParseAddr("203.0.113.1")))

	apart, err := meetRestrictions([]Restrictions{{Domains: []string{"a.example"}}, {Domains: []string{"b.example"}}})
	require.NoError(t, err)
	assert.Error(t, apart.checkWeb("https://a.example/", ""))
	assert.Error(t, apart.checkWeb("https://b.example/", ""))
	assert.Error(t, apart.checkWeb("https://a.example/", "https://b.example"))

	broken, err := meetRestrictions([]Restrictions{child, {Domains: []string{"*"}}})
	assert.ErrorIs(t, err, ErrInvalid)
	assert.Error(t, broken.checkWeb("https://app.example.com/", ""))
}

// Whatever a list is given later does not alter it.
func TestCompiledRestrictionsAreOwn(t *testing.T) {
	r := Restrictions{
		Domains: []string{"a.example"}, Addresses: prefixes("10.0.0.0/8"), MintFrom: prefixes("10.0.0.0/8"),
	}
	c, err := compileRestrictions(r)
	require.NoError(t, err)
	r.Domains[0] = "b.example"
	r.Addresses[0] = netip.MustParsePrefix("11.0.0.0/8")
	r.MintFrom[0] = netip.MustParsePrefix("11.0.0.0/8")
	assert.Error(t, c.checkWeb("https://b.example/", ""))
	assert.Error(t, c.checkAddress(netip.MustParseAddr("11.0.0.1")))
	assert.Error(t, c.checkMint(netip.MustParseAddr("11.0.0.1")))
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
		r := Restrictions{Domains: []string{entry}}
		c, err := compileRestrictions(r)
		if (err == nil) != (r.Validate(nil) == nil) {
			t.Fatalf("%q can be kept, or not: %v", entry, err)
		}
		if c.checkWeb(referer, origin) != nil {
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

func BenchmarkCheckWeb(b *testing.B) {
	r, err := compileRestrictions(Restrictions{Domains: []string{"https://other.example", "*.example.com"}})
	require.NoError(b, err)
	for b.Loop() {
		if err := r.checkWeb("https://www.example.com/app/page?x=1", "https://www.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
