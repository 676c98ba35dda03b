package oauth

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Codes of errors: RFC 6749 §5.2, and RFC 8707 §2. RFC 6749 has no code for failures of a token endpoint; those of its
// authorization endpoint (§4.1.2.1) say the same.
const (
	codeInvalidRequest       = "invalid_request"
	codeInvalidClient        = "invalid_client"
	codeInvalidGrant         = "invalid_grant"
	codeUnauthorizedClient   = "unauthorized_client"
	codeUnsupportedGrantType = "unsupported_grant_type"
	codeInvalidScope         = "invalid_scope"
	codeInvalidTarget        = "invalid_target"
	codeServerError          = "server_error"
	codeUnavailable          = "temporarily_unavailable"
)

// refusal is an error with the code that a client hears. Its description holds nothing that the client sent.
type refusal struct {
	status            int
	code, description string
	cause             error // may be nil
}

func (e *refusal) Error() string {
	text := "oauth: " + e.code + ": " + e.description
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *refusal) Unwrap() error { return e.cause }

func badRequest(code, description string, cause error) error {
	return &refusal{http.StatusBadRequest, code, description, cause}
}

func invalidRequest(description string) error {
	return badRequest(codeInvalidRequest, description, nil)
}

func invalidClient(description string, cause error) error {
	return &refusal{http.StatusUnauthorized, codeInvalidClient, description, cause}
}

// refusalOf returns what a client hears of an error.
func refusalOf(err error) *refusal {
	if e := (*refusal)(nil); errors.As(err, &e) {
		return e
	}
	switch p := httpadapter.ProblemOf(err); {
	case errors.Is(err, httpadapter.ErrNoCredential):
		return &refusal{http.StatusUnauthorized, codeInvalidClient, "client authentication is required", err}
	case p.Status == http.StatusServiceUnavailable, errors.Is(err, latchkey.ErrConflict):
		return &refusal{http.StatusServiceUnavailable, codeUnavailable, "try again later", err}
	case p.Status == http.StatusTooManyRequests:
		return &refusal{p.Status, codeUnavailable, "too many requests", err}
	case p.Status >= 500:
		return &refusal{http.StatusInternalServerError, codeServerError, "internal error", err}
	case errors.Is(err, httpadapter.ErrCrossOrigin):
		return &refusal{p.Status, codeInvalidClient, "Basic is not taken from pages of other origins", err}
	case p.Status == http.StatusUnauthorized:
		return &refusal{p.Status, codeInvalidClient, "the client secret is not valid here", err}
	case errors.Is(err, httpadapter.ErrMediaType):
		return &refusal{http.StatusBadRequest, codeInvalidRequest,
			"the body must be application/x-www-form-urlencoded, not compressed", err}
	case errors.Is(err, latchkey.ErrPolicy), errors.Is(err, latchkey.ErrDenied):
		return &refusal{http.StatusBadRequest, codeUnauthorizedClient, "the token may not do this", err}
	case errors.Is(err, httpadapter.ErrTooLarge):
		return &refusal{p.Status, codeInvalidRequest, "the body is longer than 16 KiB", err}
	case errors.Is(err, httpadapter.ErrBadRequest):
		return &refusal{http.StatusBadRequest, codeInvalidRequest, "the request is malformed or has two meanings", err}
	}
	return &refusal{http.StatusInternalServerError, codeServerError, "internal error", err} // not what the client sent
}

// refuse answers an error, and reports and logs it.
func (s *surface) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := refusalOf(err)
	httpadapter.Refused(r.Context(), err)
	if s.opts.OnError != nil {
		s.opts.OnError(r, err)
	}
	if s.opts.Logger != nil && e.status >= 500 {
		s.opts.Logger.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "err", err)
	}
	if wait := httpadapter.ProblemOf(err).RetryAfterHeader(); wait != "" {
		w.Header().Set("Retry-After", wait)
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+s.opts.Realm+`", charset="UTF-8"`)
	}
	writeError(w, e.status, e.code, e.description)
}

// errorBody is the body of an error (RFC 6749 §5.2).
type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, errorBody{code, description})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

// forbidStoring sets the headers of RFC 6749 §5.1.
func forbidStoring(h http.Header) {
	httpadapter.ForbidStoring(h)
	h.Set("Pragma", "no-cache")
}
