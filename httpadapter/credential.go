package httpadapter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors about requests, found before a token is verified. None holds a credential.
var (
	// ErrNoCredential: the request has no credential. It is answered with a challenge without an error code.
	ErrNoCredential = errors.New("httpadapter: no credential")
	// ErrBadRequest is wrapped by every error about a request that is malformed or has more than one meaning.
	ErrBadRequest = errors.New("httpadapter: bad request")
	// ErrManyCredentials: more than one carrier of a credential, even if they are equal.
	ErrManyCredentials = fmt.Errorf("%w: more than one credential", ErrBadRequest)
	// ErrCrossOrigin: a page of another origin made the browser send a cookie or Basic credentials. It is a 403. See
	// [Carriers.TrustedOrigins].
	ErrCrossOrigin = errors.New("httpadapter: the credential is not taken from pages of other origins")
	// ErrTooLarge: the body is longer than the limit of this surface.
	ErrTooLarge = errors.New("httpadapter: body too large")
	// ErrMediaType: the body is compressed or of a type that this surface does not read.
	ErrMediaType = errors.New("httpadapter: unsupported media type")
)

// BadRequest returns an [ErrBadRequest] with a reason, which the caller sees as the problem's detail. The reason must
// hold nothing that the caller sent.
func BadRequest(reason string) error { return badRequest(reason) }

func badRequest(why string) error { return &requestError{reason: why} }

// requestError is an [ErrBadRequest] with a reason for the caller. The reason holds nothing that the caller sent.
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

const headerAuthorization = "Authorization"

// Authorization returns the scheme of the request's one Authorization header and the text after it. Both are "" if
// there is none. Two such headers are [ErrManyCredentials], and one without a valid scheme is [ErrBadRequest]. The
// scheme is as it was sent: compare it with [strings.EqualFold].
func Authorization(r *http.Request) (scheme, rest string, err error) {
	values := r.Header[headerAuthorization]
	switch len(values) {
	case 0:
		return "", "", nil
	case 1:
	default:
		return "", "", ErrManyCredentials
	}
	if rest, ok := strings.CutPrefix(values[0], "Bearer "); ok { // as nearly all are written
		return "Bearer", rest, nil
	}
	scheme, rest, _ = strings.Cut(values[0], " ") // exactly one space: RFC 6750 §2.1
	if !isHTTPToken(scheme) {
		return "", "", badRequest("malformed Authorization header")
	}
	return scheme, rest, nil
}

// ForbidStoring sets the headers of a reply to a URL that holds a credential. Caches must not store the reply, and
// browsers send no Referer from it.
func ForbidStoring(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
}

// isB64Token reports whether s is 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=" (RFC 6750 §2.1).
func isB64Token(s string) bool {
	body := strings.TrimRight(s, "=")
	return body != "" && allIn(&b64Chars, body)
}

// allIn reports whether set has all bytes of s. A credential is long: eight bytes at a time take half the time.
func allIn(set *[256]bool, s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if !(set[s[0]] && set[s[1]] && set[s[2]] && set[s[3]] && set[s[4]] && set[s[5]] && set[s[6]] && set[s[7]]) {
			return false
		}
	}
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

// isHTTPToken reports whether s is a token of RFC 9110 §5.6.2.
func isHTTPToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !tokenChars[s[i]] {
			return false
		}
	}
	return true
}

// The characters of a b64token, but for "=", and of a token.
var b64Chars, tokenChars = alphaNumAnd("-._~+/"), alphaNumAnd("!#$%&'*+-.^_`|~")

// alphaNumAnd returns which bytes are letters, digits or one of others.
func alphaNumAnd(others string) (set [256]bool) {
	for c := range set {
		set[c] = isAlphaNum(byte(c)) || strings.IndexByte(others, byte(c)) >= 0
	}
	return set
}

func isAlphaNum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
