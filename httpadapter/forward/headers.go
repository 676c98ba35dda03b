package forward

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// overrides are headers by which frameworks take a request for another one: of another method, or to another path.
var overrides = []string{"x-http-method-override", "x-http-method", "x-method-override", "x-original-url",
	"x-rewrite-url", "script-name", "path-info"}

// watchedNames are the headers that a question must not have.
type watchedNames struct {
	prefix string          // of the identity headers, folded
	byLen  [][]watchedName // by the length of the name
}

// watchedName is a header that the proxy sets, or one that overrides what the request is: that has no canonical name.
type watchedName struct{ folded, canonical string }

func newWatchedNames(prefix string, source *sourceHeaders) watchedNames {
	w := watchedNames{prefix: strings.ToLower(prefix), byLen: make([][]watchedName, 32)}
	for _, name := range overrides {
		w.byLen[len(name)] = append(w.byLen[len(name)], watchedName{folded: name})
	}
	ours := []string{"X-Forwarded-For"}
	if source != nil {
		ours = append(ours, source.method, source.uri, source.host)
	}
	for _, name := range ours {
		w.byLen[len(name)] = append(w.byLen[len(name)], watchedName{strings.ToLower(name), name})
	}
	return w
}

// check returns an error if the headers of a question are not those of a request that the proxy passed on. Software
// that maps headers to variables (CGI, WSGI) takes "_" for "-", and some takes ".". So these count as equal.
func (w *watchedNames) check(headers http.Header) error {
	for name := range headers {
		if len(name) > len(w.prefix) && sameFolded(name[:len(w.prefix)], w.prefix) {
			return httpadapter.BadRequest("a header of the request has the name of one that says who the caller is")
		}
		if len(name) >= len(w.byLen) {
			continue
		}
		for i := range w.byLen[len(name)] {
			switch watched := &w.byLen[len(name)][i]; {
			case name == watched.canonical || !sameFolded(name, watched.folded):
			case watched.canonical != "":
				return httpadapter.BadRequest("two spellings of a header of the proxy")
			default:
				return httpadapter.BadRequest("a header of the request overrides its method or path")
			}
		}
	}
	return nil
}

// sameFolded reports whether name is folded, in any case and with "_" or "." in place of "-". Both have one length.
func sameFolded(name, folded string) bool {
	for i := range len(folded) {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}

// pass answers 200. It sets every identity header, also those without a value, because some proxies leave a header of
// the caller in place where the reply has none.
func (c *call) pass(w http.ResponseWriter, a *latchkey.Access, rows string) {
	h := c.handler
	c.matched, c.allowed = true, true
	out := c.w.Header()
	c.set(out, 1, h.owner, escape(a.Owner()))
	c.set(out, 2, h.token, a.TokenID())
	kind := ""
	if a.Kind().Valid() {
		kind = a.Kind().String()
	}
	c.set(out, 3, h.kind, kind)
	c.set(out, 4, h.client, escape(a.Client().ID))
	roles := ""
	if h.opts.Roles {
		roles = escapeList(a.RoleNames())
	}
	c.set(out, 5, h.roles, roles)
	c.set(out, 6, h.rows, rows)
	w.WriteHeader(http.StatusOK)
}

// set sets a header to a value that is kept in c.
func (c *call) set(out http.Header, i int, name, value string) {
	c.values[i] = value
	out[name] = c.values[i : i+1 : i+1]
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes what is not printable ASCII, and the characters that lists and quoted texts of headers use.
func escape(s string) string {
	i := 0
	for i < len(s) && isPlain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)+8), s[:i]...)
	for ; i < len(s); i++ {
		if c := s[i]; isPlain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

func isPlain(c byte) bool { return c > ' ' && c <= '~' && strings.IndexByte(`%",;\`, c) < 0 }

func escapeList(values []string) string {
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = escape(v)
	}
	return strings.Join(escaped, ",")
}

// maxRows bounds the header that holds a condition, in bytes: all headers of a reply must fit into 4 KiB for nginx.
const maxRows = 2048

var errLongRows = errors.New("forward: the condition for the rows is too long for a header: " +
	"let the backend verify the token itself, or use shorter rules")

// rowsText returns a condition as JSON in ASCII.
func rowsText(rows latchkey.Condition) (string, error) {
	text, err := json.Marshal(rows)
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		switch {
		case r < 0x7f:
			b = append(b, byte(r))
		case r < 0x10000:
			b = appendUnit(b, r)
		default:
			high, low := utf16.EncodeRune(r)
			b = appendUnit(appendUnit(b, high), low)
		}
	}
	if len(b) > maxRows {
		return "", errLongRows
	}
	return string(b), nil
}

func appendUnit(b []byte, r rune) []byte {
	return append(b, '\\', 'u', upperHex[r>>12&15], upperHex[r>>8&15], upperHex[r>>4&15], upperHex[r&15])
}
