package httpadapter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/internal/form"
)

// Errors about requests, before anybody is asked whether a token is good. None holds a credential.
var (
	// ErrNoCredential: the request names nobody. It is answered with a plain challenge.
	ErrNoCredential = errors.New("httpadapter: no credential")
	// ErrBadRequest is wrapped by every error that says a request cannot be understood in exactly one way.
	ErrBadRequest = errors.New("httpadapter: bad request")
	// ErrManyCredentials: more than one carrier of a credential, be they equal.
	ErrManyCredentials = fmt.Errorf("%w: more than one credential", ErrBadRequest)
	// ErrTooLarge: the body is longer than this surface reads.
	ErrTooLarge = errors.New("httpadapter: body too large")
	// ErrMediaType: the body is of a type this surface does not read.
	ErrMediaType = errors.New("httpadapter: unsupported media type")
)

func badRequest(why string) error { return &requestError{reason: why} }

// requestError is an [ErrBadRequest] with words for the caller. The reason holds nothing that the caller sent.
type requestError struct {
	field  string // a wildcard of the route; "" for anything else
	reason string
}

func (e *requestError) Error() string {
	if e.field == "" {
		return ErrBadRequest.Error() + ": " + e.reason
	}
	return fmt.Sprintf("%v: %q: %s", ErrBadRequest, e.field, e.reason)
}

func (e *requestError) Unwrap() error { return ErrBadRequest }

// Carriers says where in a request a credential may travel. The zero value reads none. What lies in a body is found by
// whoever parses the body, and handed to [Carriers.Find].
type Carriers struct {
	// Bearer reads "Authorization: Bearer <token>" (RFC 6750 §2.1).
	Bearer bool
	// Headers are names of header fields whose whole value is a credential.
	Headers []string
	// Query are parameters of the URL, by exact name. Only where a documented API demands them: URLs end up in logs and
	// histories, so such replies carry what [ForbidStoring] sets.
	Query []string
}

// Find returns the one credential of a request; inBody are the credentials its body holds, empty ones included.
//
// No carrier at all is [ErrNoCredential]. Two carriers are [ErrManyCredentials], even when both say the same: two
// readers of such a request could take it for two different callers. A Bearer token counts as a carrier also where it
// is not read, and so does an empty value. A token that is malformed is [ErrBadRequest] (RFC 6750 §3.1).
func (c Carriers) Find(r *http.Request, inBody ...string) (string, error) {
	found, n := "", len(inBody)
	if n > 0 {
		found = inBody[0]
	}
	scheme, token, err := Authorization(r)
	if err != nil {
		return "", err
	}
	if strings.EqualFold(scheme, "Bearer") {
		if n++; c.Bearer && !isB64Token(token) {
			return "", badRequest("malformed Bearer token")
		} else if c.Bearer {
			found = token
		}
	}
	for _, name := range c.Headers {
		for _, v := range r.Header[http.CanonicalHeaderKey(name)] {
			found, n = v, n+1
		}
	}
	for _, name := range c.Query {
		// Unlike url.ParseQuery, this does not decode what is not asked for.
		f, err := form.Find(r.URL.RawQuery, name, false)
		if err != nil {
			return "", badRequest("malformed query")
		}
		if f.N > 0 {
			found, n = f.Value, n+f.N
		}
	}
	switch {
	case n > 1:
		return "", ErrManyCredentials
	case n == 0 || found == "":
		return "", ErrNoCredential
	}
	return found, nil
}

// Authorization returns the scheme and what follows it of the request's one Authorization header; both are "" if there
// is none. Two such headers, or one without a proper scheme, are [ErrBadRequest]. The scheme is as it came: compare it
// with [strings.EqualFold].
func Authorization(r *http.Request) (scheme, rest string, err error) {
	values := r.Header["Authorization"]
	switch len(values) {
	case 0:
		return "", "", nil
	case 1:
	default:
		return "", "", ErrManyCredentials
	}
	scheme, rest, _ = strings.Cut(values[0], " ") // exactly one space: RFC 6750 §2.1
	if !isHTTPToken(scheme) {
		return "", "", badRequest("malformed Authorization header")
	}
	return scheme, rest, nil
}

// ForbidStoring sets the headers of a reply to a URL that holds a credential: no cache keeps it, and no link out of
// the page tells it on.
func ForbidStoring(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
}

// isB64Token: 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=" (RFC 6750 §2.1).
func isB64Token(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" {
		return false
	}
	for i := range len(body) {
		if c := body[i]; !isAlphaNum(c) && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return true
}

// isHTTPToken: a token of RFC 9110 §5.6.2.
func isHTTPToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphaNum(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return true
}

func isAlphaNum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
