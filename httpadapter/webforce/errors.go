package webforce

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Error is a refusal with its own message. Commands return it, and Message is sent to the caller.
type Error struct {
	Message string
	Err     error // what it wraps; nil: httpadapter.ErrBadRequest
}

// Error returns the message and, for logs, what it wraps.
func (e *Error) Error() string {
	if e.Err == nil {
		return "webforce: " + e.Message
	}
	return "webforce: " + e.Message + ": " + e.Err.Error()
}

// Unwrap returns Err, or [httpadapter.ErrBadRequest].
func (e *Error) Unwrap() error {
	if e.Err == nil {
		return httpadapter.ErrBadRequest
	}
	return e.Err
}

func refuse(message string) error { return &Error{Message: message} }

var errNoToken = &Error{Message: msgNoToken, Err: latchkey.ErrNotFound}

// messageOf returns the message of an error. Nothing of an unknown error is sent.
func messageOf(err error) string {
	status := httpadapter.ProblemOf(err).Status
	var own *Error
	if status < 500 && errors.As(err, &own) { // failures first: they must never read as a refusal
		return own.Message
	}
	if errors.Is(err, latchkey.ErrTooMany) {
		return msgTooManyTokens
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return msgDenied
	case http.StatusBadRequest:
		if errors.Is(err, httpadapter.ErrManyCredentials) {
			return msgManyTokens
		}
		return msgBadRequest
	case http.StatusPaymentRequired:
		return msgOverLimit
	case http.StatusNotFound:
		return msgNotFound
	case http.StatusConflict:
		return msgConflict
	case http.StatusRequestEntityTooLarge:
		return msgTooLarge
	case http.StatusUnsupportedMediaType:
		return msgMediaType
	case http.StatusTooManyRequests:
		if errors.Is(err, latchkey.ErrOverLimit) {
			return msgOverLimit
		}
		return msgRateLimited
	case http.StatusServiceUnavailable:
		return msgUnavailable
	}
	return msgInternal
}

// writeEnvelope sends a reply that must not be stored: it holds a token, or may differ the next time. data is JSON;
// nil is {}. It is sent byte for byte, which encoding/json would not do.
func writeEnvelope(w http.ResponseWriter, code, message string, data []byte) {
	if data == nil {
		data = []byte("{}")
	}
	body := make([]byte, 0, len(data)+len(message)+64)
	body = append(body, `{"return_code":"`...)
	body = append(body, code...)
	body = append(body, `","message":`...)
	body = append(body, quote(message)...)
	body = append(body, `,"data":`...)
	body = append(body, data...)
	body = append(body, '}')
	h := w.Header()
	httpadapter.ForbidStoring(h)
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// tokenJSON returns the hash that describes a token. shown is its text or hint.
func tokenJSON(t latchkey.Token, shown string) []byte {
	extra := []byte(t.Extra)
	if len(extra) == 0 {
		extra = []byte("{}")
	}
	b := make([]byte, 0, len(extra)+len(t.Name)+160)
	b = append(append(b, `{"id":`...), quote(t.ID)...)
	b = append(append(b, `,"token":`...), quote(shown)...)
	b = append(append(b, `,"name":`...), quote(t.Name)...)
	b = append(append(b, `,"extra":`...), extra...)
	return append(b, '}')
}

func quote(s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // cannot fail for a string
		panic(err)
	}
	return text
}
