package judges

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nlnwa/whatwg-url/url"
	"github.com/stretchr/testify/require"
	_ "github.com/weppos/publicsuffix-go/publicsuffix" // go.mod requires it for the tests of the list
	"golang.org/x/net/publicsuffix"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/weborigin"
)

const whatwg = "github.com/nlnwa/whatwg-url"

// hostOf returns the only plain host that a page at an address, read as a Referer, lies within. "" if it is refused.
// candidates are the hosts that it might be.
func hostOf(address string, candidates ...string) (hosts []string, accepted bool) {
	page, ok := weborigin.Read(address, "")
	if !ok {
		return nil, false
	}
	for _, host := range candidates {
		domain, err := weborigin.ParseDomain(host, nil)
		if err == nil && page.Within([]weborigin.Domain{domain}) {
			hosts = append(hosts, host)
		}
	}
	return hosts, true
}

// noURLs are no URLs to a browser, and accepted: a label of theirs begins with xn-- and decodes to nothing. Browsers
// have no pages there, and latchkey takes the label for itself, so it is within no domain that has pages. The list may
// only shrink.
var noURLs = []string{"http://a.b.c.xn--pokxncvks", "http://10.0.0.xn--pokxncvks", "https://xn--/"}

// TestURLs: a Referer is either refused or its host is what browsers take it for. The judge is urltestdata.json of the
// web platform tests, by cases, and a parser after the WHATWG's algorithm for the host of each.
func TestURLs(t *testing.T) {
	var list []any
	readJSON(t, &list, module(t, whatwg), "testdata", "urltestdata.json")
	cases, accepted, plain := 0, 0, 0
	var refusedPlain []string
	for _, item := range list {
		c, ok := item.(map[string]any)
		if !ok { // a comment
			continue
		}
		cases++
		text := func(name string) string { s, _ := c[name].(string); return s }
		input := text("input")
		lower := strings.ToLower(input)
		if !strings.HasPrefix(lower, "http:") && !strings.HasPrefix(lower, "https:") {
			// A browser sends no such Referer. Without a scheme, it is read as a host. With another one it is refused.
			if before, _, found := strings.Cut(input, "://"); found && !strings.ContainsAny(before, "./:") {
				_, ok := weborigin.Read(input, "")
				require.False(t, ok, "%q", input)
			}
			continue
		}
		failure, _ := c["failure"].(bool)
		want := text("hostname")
		got, ok := hostOf(input, want, "example.org", "example.com")
		if !ok {
			// An address as browsers write it must not be refused. They write it as the href of the parsed address,
			// without userinfo and fragment.
			if !failure && text("username") == "" && text("password") == "" && want != "" && !strings.HasSuffix(want, ".") &&
				text("hash") == "" && input == text("href") {
				plain++
				refusedPlain = append(refusedPlain, input)
			}
			continue
		}
		accepted++
		if failure {
			require.Contains(t, noURLs, strings.ToLower(input), "it is no URL to a browser, and was accepted")
			host := strings.Trim(strings.TrimPrefix(strings.TrimPrefix(lower, "http://"), "https://"), "/")
			got, _ := hostOf(input, host, "c", "example.org")
			require.LessOrEqual(t, len(got), 1, "%q is within %q", input, got)
			continue
		}
		require.Contains(t, got, want, "%q is at another host for a browser", input)
		// The parser must agree with the cases, and is asked where a case has a base.
		u, err := url.Parse(input)
		require.NoError(t, err, "%q", input)
		require.Equal(t, want, u.Hostname(), "%q: the judges differ", input)
		if _, ok := weborigin.Read("", input); ok { // as an Origin: it has no path
			require.Equal(t, "/", u.Pathname(), "%q", input)
			require.Empty(t, u.Search()+u.Hash(), "%q", input)
		}
	}
	require.Greater(t, cases, 800)
	require.Greater(t, accepted, 60, "hardly anything was accepted, so the judge said nothing")
	require.LessOrEqual(t, plain, 40, "addresses as browsers write them are refused: %q", refusedPlain)
	t.Logf("%d cases: %d accepted, at the host of the judge", cases, accepted)
}

// TestInternationalHosts: a domain of a list is written in ASCII. What is accepted is what browsers make of it, so that
// no other spelling of a host can be in a list. The judges are IdnaTestV2.json and toascii.json.
func TestInternationalHosts(t *testing.T) {
	folder := module(t, whatwg)
	cases, accepted := 0, 0
	for _, file := range []string{"IdnaTestV2.json", "toascii.json"} {
		var list []any
		readJSON(t, &list, folder, "testdata", file)
		for _, item := range list {
			c, ok := item.(map[string]any)
			if !ok {
				continue
			}
			cases++
			input, _ := c["input"].(string)
			output, valid := c["output"].(string)
			ascii := strings.IndexFunc(input, func(r rune) bool { return r > '~' }) < 0
			_, err := weborigin.ParseDomain(input, nil)
			if !ascii {
				require.Error(t, err, "%q is not ASCII", input)
				continue
			}
			if err != nil {
				continue
			}
			accepted++
			if !valid { // An invalid xn-- label is no host of any page: it matches nothing that a browser sends.
				_, parsed := url.Parse("http://" + input + "/")
				require.Error(t, parsed, "%q: the judges differ", input)
				continue
			}
			hosts, ok := hostOf("https://"+output+"/", input)
			require.True(t, ok && len(hosts) == 1, "%q is the host %q to a browser, and does not match it", input, output)
		}
	}
	require.Greater(t, cases, 2000)
	require.Greater(t, accepted, 40)
	t.Logf("%d hosts: %d accepted, as a browser writes them", cases, accepted)
}

// TestPublicSuffixes: no star stands before a public suffix, whatever the case or spelling. The judges are the tests of
// publicsuffix.org, with golang.org/x/net/publicsuffix as the function that a host gives.
func TestPublicSuffixes(t *testing.T) {
	file, err := os.Open(filepath.Join(module(t, "github.com/weppos/publicsuffix-go"), "fixtures", "tests.txt"))
	require.NoError(t, err)
	defer file.Close()
	// As the guide shows it to hosts.
	isSuffix := func(host string) bool {
		suffix, _ := publicsuffix.PublicSuffix(host)
		return suffix == host
	}
	cases, refused, accepted := 0, 0, 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		host, registrable, found := strings.Cut(lines.Text(), " ")
		if !found || strings.HasPrefix(host, "//") {
			continue
		}
		cases++
		if strings.HasPrefix(host, ".") || host == "null" {
			continue
		}
		err := latchkey.Restrictions{Domains: []string{"*." + host}}.Validate(isSuffix)
		if registrable == "null" { // a suffix itself
			require.Error(t, err, host)
			refused++
			continue
		}
		if strings.IndexFunc(host, func(r rune) bool { return r > '~' }) >= 0 {
			require.Error(t, err, "%s is not ASCII", host)
			continue
		}
		require.NoError(t, err, host)
		accepted++
		require.NoError(t, latchkey.Restrictions{Domains: []string{registrable}}.Validate(isSuffix), registrable)
	}
	require.NoError(t, lines.Err())
	require.Greater(t, cases, 70)
	require.Greater(t, refused, 10)
	require.Greater(t, accepted, 30)
	t.Logf("%d hosts: %d suffixes refused, %d others accepted", cases, refused, accepted)

	require.ErrorIs(t, latchkey.Restrictions{Domains: []string{"*.co.uk"}}.Validate(isSuffix), latchkey.ErrInvalid)
	require.NoError(t, latchkey.Restrictions{Domains: []string{"*.co.uk"}}.Validate(nil),
		"without a list nothing is known")
}
