package latchkey

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A stored list with an invalid domain refuses every request, also those that its other entries match.
func TestInvalidDomains(t *testing.T) {
	for _, entry := range []string{"", "*", "*.com", "example.com,another.com", "127.1"} {
		r := Restrictions{Domains: []string{"fine.example", entry}}
		err := r.Validate(nil)
		assert.ErrorIs(t, err, ErrInvalid, "%q", entry)
		if err != nil {
			assert.Less(t, len(err.Error()), 600)
			assert.NotContains(t, err.Error(), "\n")
		}
		// If it is stored all the same, every request is refused, also those that the other entry matches.
		c, err := compileRestrictions(r)
		assert.ErrorIs(t, err, ErrInvalid, "%q", entry)
		assert.Error(t, c.verifyWeb("https://fine.example/", ""), "%q", entry)
		assert.Error(t, c.verifyAddress(netip.MustParseAddr("10.0.0.1")))
		assert.Error(t, c.verifyMintAddress(netip.MustParseAddr("10.0.0.1")))
		assert.True(t, c.needsSignature())
	}
}

// Either header decides: see package weborigin for how they are read.
func TestWebOrigins(t *testing.T) {
	c, err := compileRestrictions(Restrictions{Domains: []string{"https://example.com", "paths.example/app"}})
	require.NoError(t, err)
	assert.NoError(t, c.verifyWeb("https://example.com/x", ""))
	assert.NoError(t, c.verifyWeb("", "https://example.com"))
	assert.NoError(t, c.verifyWeb("https://paths.example/app/x", "https://paths.example"))
	assert.ErrorIs(t, c.verifyWeb("", ""), ErrReferer)
	assert.ErrorIs(t, c.verifyWeb("https://example.com/x", "https://evil.com"), ErrReferer)
	assert.ErrorIs(t, c.verifyWeb("https://evil.com/x", ""), ErrReferer)
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
		check, other := c.verifyAddress, c.verifyMintAddress
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
		assert.NoError(t, c.verifyWeb("", ""))
	}
}

// An error says what to write instead, if there is something.
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

func TestInvalidPrefixes(t *testing.T) {
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
			assert.Error(t, c.verifyAddress(netip.MustParseAddr("192.0.2.1")))
			assert.Error(t, c.verifyMintAddress(netip.MustParseAddr("192.0.2.1")))
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
		assert.NoError(t, r.verifyWeb("", ""))
		assert.NoError(t, r.verifyWeb("https://anywhere.example/", "null"))
		assert.NoError(t, r.verifyAddress(netip.Addr{}))
		assert.NoError(t, r.verifyMintAddress(netip.Addr{}))
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

	assert.NoError(t, met.verifyWeb("https://app.example.com/", ""))
	assert.Error(t, met.verifyWeb("https://www.example.com/", ""), "the parent's alone")
	assert.NoError(t, met.verifyAddress(netip.MustParseAddr("10.1.2.3")))
	assert.Error(t, met.verifyAddress(netip.MustParseAddr("10.1.3.3")), "outside the root's")
	assert.Error(t, met.verifyAddress(netip.MustParseAddr("2001:db8::1")), "the root's alone")
	assert.NoError(t, met.verifyMintAddress(netip.MustParseAddr("203.0.113.1")), "MintFrom is not inherited")
	assert.True(t, met.needsSignature(), "Signed is")

	own, err := meetRestrictions([]Restrictions{parent, root})
	require.NoError(t, err)
	assert.NoError(t, own.verifyMintAddress(netip.MustParseAddr("192.0.2.1")))
	assert.Error(t, own.verifyMintAddress(netip.MustParseAddr("203.0.113.1")))

	apart, err := meetRestrictions([]Restrictions{{Domains: []string{"a.example"}}, {Domains: []string{"b.example"}}})
	require.NoError(t, err)
	assert.Error(t, apart.verifyWeb("https://a.example/", ""))
	assert.Error(t, apart.verifyWeb("https://b.example/", ""))
	assert.Error(t, apart.verifyWeb("https://a.example/", "https://b.example"))

	broken, err := meetRestrictions([]Restrictions{child, {Domains: []string{"*"}}})
	assert.ErrorIs(t, err, ErrInvalid)
	assert.Error(t, broken.verifyWeb("https://app.example.com/", ""))
}

// Later changes of a list do not alter what was compiled from it.
func TestCompiledRestrictionsAreCopies(t *testing.T) {
	r := Restrictions{
		Domains: []string{"a.example"}, Addresses: prefixes("10.0.0.0/8"), MintFrom: prefixes("10.0.0.0/8"),
	}
	c, err := compileRestrictions(r)
	require.NoError(t, err)
	r.Domains[0] = "b.example"
	r.Addresses[0] = netip.MustParsePrefix("11.0.0.0/8")
	r.MintFrom[0] = netip.MustParsePrefix("11.0.0.0/8")
	assert.Error(t, c.verifyWeb("https://b.example/", ""))
	assert.Error(t, c.verifyAddress(netip.MustParseAddr("11.0.0.1")))
	assert.Error(t, c.verifyMintAddress(netip.MustParseAddr("11.0.0.1")))
}
