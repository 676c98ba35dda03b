package forward

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// detail is what a refusal says.
func detail(err error) string { return httpadapter.ProblemOf(err).Detail }

// Each byte of a path stands for itself, is escaped where it must be, or is refused, and the refusal says why.
func TestBytesOfAPath(t *testing.T) {
	for path, want := range map[string]string{"/azAZ09-._~!$&'()*,=:@": "/azAZ09-._~!$&'()*,=:@",
		"/%C3%A9%e2%82%ac": "/é€", "/%20%22%3C%5b": `/ "<[`, "/a/": "/a/", "/": "/"} {
		got, err := checkPath(path)
		require.NoError(t, err, path)
		require.Equal(t, want, got)
	}
	for path, why := range map[string]string{"": "begins with", "a": "begins with", "/a//b": "empty segment",
		"/a/..": "segment", "/%61": "needs no escape", "/%7E": "needs no escape", "/%1F": "take differently",
		"/%7f": "take differently", "/%2F": "take differently", "/%ff": "no UTF-8", "/%": "malformed escape",
		"/%4": "malformed escape", "/%c3/%a9": "no UTF-8"} {
		_, err := checkPath(path)
		require.Contains(t, detail(err), why, path)
	}
	for c := range 256 {
		hex := strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) && c < 0x80
		for _, path := range []string{"/%C3%" + string([]byte{'A', byte(c)}), "/%" + string([]byte{byte(c), '0'})} {
			_, err := checkPath(path)
			require.Equal(t, hex, err == nil || !strings.Contains(detail(err), "malformed escape"), "%q", path)
		}
		plain := strings.ContainsRune("-._~!$&'()*,=:@/", rune(c)) || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' ||
			'a' <= c && c <= 'z'
		_, err := checkPath("/a" + string([]byte{byte(c)}) + "b")
		require.Equal(t, plain, err == nil, "%q", c)
		require.Equal(t, strings.ContainsRune("-._:[]", rune(c)) || c < 0x80 && isAlphaNum(byte(c)),
			isHost("a"+string([]byte{byte(c)})), "%q", c)
		require.Equal(t, ' ' < c && c <= '~' && c != '#' && c != '%' && c != ';',
			checkQuery("a"+string([]byte{byte(c)})) == nil, "%q", c)
		require.Equal(t, ' ' <= c && c <= '~', isPrintable([]byte{'a', byte(c)}), "%q", c)
	}
	require.False(t, isHost(""))
}

// The URL of the original request is what its target says, and nothing of the proxy's own question is left in it.
func TestTheOriginalRequest(t *testing.T) {
	auth := httpadapter.New(latchkey.New(memstore.New(nil), nil), &httpadapter.Options{
		Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	h := New(auth, []Route{{Pattern: "GET /a", Action: latchkey.Read, Resource: "a"}}, &Options{From: Nginx}).(*handler)
	for _, target := range []string{"/a", "/a?", "/a?b=c&d", "/%C3%A9%20x", "/a%22"} {
		r := httptest.NewRequest("POST", "/auth?x=y", strings.NewReader("a body"))
		r.RemoteAddr, r.Pattern, r.Form, r.PostForm = "192.0.2.1:1", "/auth", url.Values{"x": {"y"}}, url.Values{}
		r.Trailer = http.Header{"A": {"b"}}
		for name, value := range map[string]string{"X-Forwarded-For": "203.0.113.7", "X-Original-Method": "GET",
			"X-Original-Uri": target, "X-Original-Host": "api-1.example.com"} {
			r.Header.Set(name, value)
		}
		var c call
		require.NoError(t, h.read(&c, r), target)
		want, err := url.ParseRequestURI(target)
		require.NoError(t, err)
		require.Equal(t, []any{want.Path, want.EscapedPath(), want.RawQuery, want.ForceQuery}, []any{c.request.URL.Path,
			c.request.URL.EscapedPath(), c.request.URL.RawQuery, c.request.URL.ForceQuery})
		require.Equal(t, "api-1.example.com", c.request.Host)
		require.Equal(t, target, c.request.RequestURI)
		require.Equal(t, http.NoBody, c.request.Body)
		require.Empty(t, c.request.Pattern)
		for _, left := range []any{c.request.Form, c.request.PostForm, c.request.MultipartForm, c.request.Trailer} {
			require.Empty(t, left)
		}
	}
}

// Names that differ in case, "_" and "." are one. A name of any length is looked up.
func TestSpellingsOfHeaders(t *testing.T) {
	w := newWatchedNames("Zone-", &sourceHeaders{"X-Original-Method", "X-Original-Uri", "X-Original-Host"})
	for name, why := range map[string]string{"X-Forwarded-For": "", "X_Forwarded.For": "wo spellings",
		"x-original-uri": "wo spellings", "X-Http-Method-Override": "overrides", "ZONE_token": "who the caller is",
		"Zone-": "", "Accept": "", strings.Repeat("a", 31): "", strings.Repeat("a", 32): "", strings.Repeat("a", 33): ""} {
		err := w.check(http.Header{name: {"x"}})
		if why == "" {
			require.NoError(t, err, name)
		} else {
			require.Contains(t, detail(err), why, name)
		}
	}
}

// A condition in a header is ASCII without control characters, and the same condition.
func TestRowsAreASCII(t *testing.T) {
	rows := latchkey.Where("a", latchkey.Eq, "~\x7f\u0080\uffff\U00010000")
	text, err := rowsText(rows)
	require.NoError(t, err)
	require.Contains(t, text, `"~\u007F\u0080\uFFFF\uD800\uDC00"`)
	var back latchkey.Condition
	require.NoError(t, json.Unmarshal([]byte(text), &back))
	require.Equal(t, rows.String(), back.String())
}

// Nothing that was written as a success reaches the proxy but by a route, and a body has an end.
func TestWhatIsWrittenBesideARoute(t *testing.T) {
	w := httptest.NewRecorder()
	c := &call{handler: &handler{opts: Options{From: Envoy}}, w: w, matched: true}
	c.Header().Set("Content-Type", "text/html")
	_, err := c.Write([]byte("welcome"))
	require.NoError(t, err)
	_, err = c.Write(make([]byte, maxBody))
	require.ErrorContains(t, err, "too long")
	c.WriteHeader(http.StatusNotFound) // too late
	c.finish()
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Empty(t, w.Header())
	require.Empty(t, w.Body)

	c = &call{handler: c.handler, w: httptest.NewRecorder(), allowed: true}
	_, err = c.Write([]byte("welcome"))
	require.ErrorIs(t, err, http.ErrBodyNotAllowed)

	r := httptest.NewRequest(http.MethodOptions, "/a", nil)
	r.Header.Set("Origin", "https://example.com")
	r.Header.Set("Access-Control-Request-Method", "GET")
	require.True(t, isPreflight(r))
	r.Header["Authorization"] = []string{"Bearer a", "Bearer b"}
	require.False(t, isPreflight(r), "it has a credential")

	auth := httpadapter.New(latchkey.New(memstore.New(nil), nil), nil)
	w = httptest.NewRecorder()
	(&call{handler: &handler{auth: auth, opts: Options{From: Envoy}}, w: w}).refuse(r, errNoRoute)
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
}

// What routers that ignore case, and a slash at the end, take for one path.
func TestShapes(t *testing.T) {
	for pattern, paths := range map[string]map[string]bool{
		"/":          {"/": true, "/a": true},
		"/{$}":       {"/": true, "/a": false},
		"/a":         {"/a": true, "/A/": true, "/": false, "/a/b": false, "/b": false},
		"/a/":        {"/a": true, "/a/b/c": true, "/": false},
		"/a/{$}":     {"/a": true, "/a/": true, "/a/b": false},
		"/a/{b}":     {"/a": false, "/a/x": true, "/a/x/y": false},
		"/a/{b...}":  {"/a": true, "/A/x/y": true, "/b/x": false},
		"/{x}/b/{y}": {"/1/b/2": true, "/1/b": false, "/1/c/2": false},
	} {
		for path, want := range paths {
			require.Equal(t, want, newShape(pattern).matches(path), "%s %s", pattern, path)
		}
	}
	for _, c := range []struct {
		a, b string
		both bool
	}{
		{"/a", "/A", true}, {"/a", "/b", false}, {"/a/{x}", "/{y}/b", true}, {"/a/{x}", "/b/{x}", false},
		{"/a", "/a/b", false}, {"/a/", "/a/b", true}, {"/a/", "/b/c", false}, {"/{x...}", "/a/b", true},
		{"/a/{$}", "/a/b", false}, {"/a/b/", "/a", false}, {"/a/{x}", "/a/b/", true},
	} {
		require.Equal(t, c.both, newShape(c.a).overlaps(newShape(c.b)), "%s %s", c.a, c.b)
		require.Equal(t, c.both, newShape(c.b).overlaps(newShape(c.a)), "%s %s", c.b, c.a)
	}
}
