package httpadapter

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// ReadBody reads a request's whole body, up to limit bytes. A longer body is [ErrTooLarge], a compressed one
// [ErrMediaType], and one that cannot be read to its end [ErrBadRequest].
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, ErrTooLarge
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, ErrMediaType
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge): // the host's own, smaller limit
		return nil, ErrTooLarge
	case err != nil:
		return nil, badRequest("the body could not be read")
	case int64(len(body)) > limit:
		return nil, ErrTooLarge
	}
	return body, nil
}

// maxMediaType bounds a Content-Type, in bytes: each parameter costs memory before the caller is authenticated.
const maxMediaType = 256

// MediaType returns the type of a request's body in lower case and without parameters, or "" if the header is absent.
// Two Content-Type headers are [ErrBadRequest]. A malformed one, or a charset other than UTF-8, is [ErrMediaType].
func MediaType(r *http.Request) (string, error) {
	value, err := oneHeader(r.Header["Content-Type"])
	if err != nil || value == "" {
		return "", err
	}
	if len(value) > maxMediaType {
		return "", ErrMediaType
	}
	t, params, err := mime.ParseMediaType(value)
	if err != nil {
		return "", ErrMediaType
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return "", ErrMediaType
	}
	return t, nil
}
