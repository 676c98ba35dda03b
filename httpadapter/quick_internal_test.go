package httpadapter

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/latchkey-go/latchkey"
)

// The short way of an address and a port takes no text that netip does not, and reads none otherwise.
func TestAddressesAreReadAsNetipDoes(t *testing.T) {
	taken := 0
	for _, a := range []string{"1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "01.2.3.4", "1.2.3.04", "1.2.3",
		"1.2.3.4.5", "1..3.4", ".1.2.3", "1.2.3.4%eth0", "1.2.3.-4", "+1.2.3.4", "1.2.3.4444", "::1", "[::1]",
		"::ffff:1.2.3.4", "a.b.c.d",
		"", " 1.2.3.4", "1.2.3.4 ", "１.2.3.4"} {
		for _, port := range []string{"", ":", ":0", ":1", ":80", ":080", ":65535", ":65536", ":99999", ":000080", ":-1",
			":+1",
			":1 ", ":x", ":1:2"} {
			text := a + port
			got, ok := parseIPv4Port(text)
			if !ok {
				continue
			}
			taken++
			ap, err := netip.ParseAddrPort(text)
			assert.NoError(t, err, "%q", text)
			assert.Equal(t, ap.Addr(), got, "%q", text)
		}
	}
	assert.GreaterOrEqual(t, taken, 15)
}

// A Bearer token is of the characters of RFC 6750 alone, wherever in it another one is, and however long it is.
func TestBearerTokensAreOfTheirCharacters(t *testing.T) {
	const others = "\"\x00 ,;=%ü\n\x7f\xff"
	for n := range 20 {
		text := strings.Repeat("aZ5-._~+/", 3)[:n]
		for _, padding := range []string{"", "=", "=="} {
			assert.Equal(t, n > 0, isB64Token(text+padding), "%q", text+padding)
		}
		for at := range n {
			for i := range len(others) {
				wrong := text[:at] + others[i:i+1] + text[at+1:]
				padded := others[i] == '=' && at == n-1 && n > 1
				assert.Equal(t, padded, isB64Token(wrong), "%q", wrong)
			}
		}
	}
	assert.False(t, isB64Token("=="))
	assert.True(t, isB64Token(strings.Repeat("a", 48)))
}

// A value that is taken as it is has one reading, and Path makes the same segment of it.
func TestPlainValuesAreNotAmbiguous(t *testing.T) {
	r := &http.Request{URL: &url.URL{Path: "/a+b"}}
	plain := 0
	for c := range 256 {
		one := string([]byte{byte(c)})
		for _, value := range []string{one, "a" + one, one + one, one + "41"} {
			if !isPlain(value) {
				continue
			}
			plain++
			assert.Empty(t, ambiguity(value, r, &Options{}), "%q", value)
			assert.Equal(t, latchkey.Path(value), latchkey.Resource(value), "%q", value)
		}
	}
	assert.Equal(t, 64*4, plain)
	assert.False(t, isPlain(""))
	for _, value := range []string{"..", "a/b", "a.b", "%41", "a b", "a\\b", "a*", "ü"} {
		assert.False(t, isPlain(value), value)
	}
}
