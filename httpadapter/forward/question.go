package forward

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/adapters"
	"github.com/latchkey-go/latchkey/internal/form"
)

// sourceHeaders are the canonical names of the headers that describe the original request.
type sourceHeaders struct{ method, uri, host string }

// errNotProxy is answered like a denial. The Adapter's OnError gets it, and its Logger an address.
var errNotProxy = fmt.Errorf("forward: %w: %w", adapters.ErrNotProxy, latchkey.ErrDenied)

// misconfigured is answered 500, and the Adapter's Logger gets it: no caller can correct it.
func misconfigured(missing string) error {
	return fmt.Errorf("forward: the proxy sent no %s: configure it as in the examples of httpadapter/forward", missing)
}

// maxTarget bounds the original target and the host, in bytes.
const maxTarget, maxHost = 8192, 255

// read makes the original request in c. The header map is that of r.
func (h *handler) read(c *call, r *http.Request) error {
	if !h.auth.FromProxy(r) {
		return errNotProxy
	}
	if err := h.watch.check(r.Header); err != nil {
		return err
	}
	if len(r.Header["X-Forwarded-For"]) == 0 { // the client would be taken for the proxy
		return misconfigured("X-Forwarded-For")
	}
	method, target, host := r.Method, r.RequestURI, r.Host
	if s := h.source; s != nil {
		var err error
		if method, err = one(r.Header, s.method); err != nil {
			return err
		}
		if target, err = one(r.Header, s.uri); err != nil {
			return err
		}
		if host, err = one(r.Header, s.host); err != nil {
			return err
		}
	} else if p := h.opts.PathPrefix; p != "" {
		rest, ok := strings.CutPrefix(target, p)
		if !ok || rest == "" || rest[0] != '/' {
			return misconfigured("target beneath Options.PathPrefix")
		}
		target = rest
	}
	if !isHost(host) {
		return httpadapter.BadRequest("the host is malformed")
	}
	if len(target) > maxTarget {
		return httpadapter.BadRequest("the target is too long")
	}
	path, query, hasQuery := strings.Cut(target, "?")
	decoded, err := checkPath(path)
	if err != nil {
		return err
	}
	if err := checkQuery(query); err != nil {
		return err
	}
	c.url.Path, c.url.RawQuery, c.url.ForceQuery = decoded, query, hasQuery && query == ""
	if decoded != path {
		c.url.RawPath = path
	}
	c.request = *r
	c.request.Method, c.request.URL, c.request.Host, c.request.RequestURI = method, &c.url, host, target
	c.request.Body, c.request.GetBody, c.request.ContentLength, c.request.TransferEncoding = http.NoBody, nil, 0, nil
	c.request.Form, c.request.PostForm, c.request.MultipartForm, c.request.Trailer = nil, nil, nil, nil
	c.request.Pattern = ""
	return nil
}

// one returns the value of a header that the proxy sets.
func one(h http.Header, name string) (string, error) {
	switch values := h[name]; {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", misconfigured(name)
	case len(values) > 1:
		return "", httpadapter.BadRequest("a header of the proxy given twice")
	default:
		return values[0], nil
	}
}

// isHost reports whether s may be a host with or without a port.
func isHost(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphaNum(c) && strings.IndexByte("-._:[]", c) < 0 {
			return false
		}
	}
	return true
}

// checkPath returns the decoded path. It refuses a path that two readers could understand differently: some decode it
// twice or not at all, remove what follows a ";", merge slashes, or resolve "." and "..".
func checkPath(path string) (decoded string, err error) {
	if path == "" || path[0] != '/' {
		return "", httpadapter.BadRequest(`the target must be a path that begins with "/"`)
	}
	escaped := false
	for i, start := 1, 1; i <= len(path); i++ { // start: of the segment
		if i == len(path) || path[i] == '/' {
			switch segment := path[start:i]; {
			case segment == "" && i < len(path):
				return "", httpadapter.BadRequest("the path has an empty segment")
			case segment == "." || segment == "..":
				return "", httpadapter.BadRequest(`the path has a "." or ".." segment`)
			}
			start = i + 1
			continue
		}
		c := path[i]
		if c != '%' {
			if !isAlphaNum(c) && strings.IndexByte("-._~!$&'()*,=:@", c) < 0 {
				return "", httpadapter.BadRequest("the path has a character that must be percent-encoded, or one that " +
					`readers take differently: ";", "+", "\" and "#" are refused, and so is whatever is not ASCII`)
			}
			continue
		}
		if i+2 >= len(path) || !isHexDigit(path[i+1]) || !isHexDigit(path[i+2]) {
			return "", httpadapter.BadRequest("the path has a malformed escape")
		}
		c = unhex(path[i+1])<<4 | unhex(path[i+2])
		if isAlphaNum(c) || strings.IndexByte("-._~", c) >= 0 {
			return "", httpadapter.BadRequest("the path escapes a character that needs no escape")
		}
		if c < ' ' || c == 0x7f || strings.IndexByte(`/\%;?#`, c) >= 0 {
			return "", httpadapter.BadRequest("the path escapes a character that readers take differently: " +
				`"/", "\", "%", ";", "?", "#" and control characters are refused`)
		}
		escaped = true
		i += 2
	}
	if !escaped {
		return path, nil
	}
	decoded, err = url.PathUnescape(path)
	if err != nil || !utf8.ValidString(decoded) { // readers replace invalid bytes, so that two paths become one
		return "", httpadapter.BadRequest("the path is no UTF-8")
	}
	return decoded, nil
}

// checkQuery refuses a query that holds another method, or that is no query of a request.
func checkQuery(query string) error {
	if query == "" {
		return nil
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c > '~' || c == '#' {
			return httpadapter.BadRequest("the query has a character that must be percent-encoded")
		}
	}
	found, err := form.Find(query, "_method", false)
	if err != nil {
		return httpadapter.BadRequest("malformed query")
	}
	if found.N > 0 {
		return httpadapter.BadRequest("the query overrides the method")
	}
	return nil
}

func isAlphaNum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unhex returns the value of a hex digit.
func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
