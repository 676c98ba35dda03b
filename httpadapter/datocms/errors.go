package datocms

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Errors for [Options.Reassign] to return.
var (
	// ErrDestinationRequired: the token owns something, and the request names no destination.
	ErrDestinationRequired = refuse(http.StatusUnprocessableEntity, codeDestinationNeeded, httpadapter.ErrBadRequest)
	// ErrDestination: the destination that the request names does not exist.
	ErrDestination = refuse(http.StatusUnprocessableEntity, codeDestination, httpadapter.ErrBadRequest)
)

// ErrJSONBody is for handlers behind [Delivery]. [WriteError] answers it as the product answers a body that is not
// JSON.
var ErrJSONBody = refuse(http.StatusUnsupportedMediaType, codeJSON, httpadapter.ErrBadRequest)

// refusal is an error reply. Its texts are fixed, except names of members in INVALID_FORMAT, which are cut to 80
// characters.
type refusal struct {
	status    int
	code      string
	details   any // an object; nil: {}
	transient bool
	reset     time.Duration // X-RateLimit-Reset of a 429
	cause     error
}

func (e *refusal) Error() string { return "datocms: " + e.code }
func (e *refusal) Unwrap() error { return e.cause }

func refuse(status int, code string, cause error) error {
	return &refusal{status: status, code: code, cause: cause}
}

// refuseFormat returns INVALID_FORMAT with these messages.
func refuseFormat(messages ...string) error {
	return &refusal{status: http.StatusUnprocessableEntity, code: codeFormat, cause: httpadapter.ErrBadRequest,
		details: struct {
			Messages []string `json:"messages"`
		}{messages}}
}

// refuseField returns INVALID_FIELD for a field of a record type.
func refuseField(record, field, code string) error {
	return &refusal{status: http.StatusUnprocessableEntity, code: codeField, cause: latchkey.ErrInvalid,
		details: struct {
			Field  string `json:"field"`
			Code   string `json:"code"`
			Record string `json:"record_type"`
		}{field, code, record}}
}

// refusalOf maps any error to a reply. [httpadapter.ProblemOf] tells failures from refusals.
func refusalOf(err error) *refusal {
	p := httpadapter.ProblemOf(err)
	if p.Status != http.StatusServiceUnavailable { // failures first: they must never read as a refusal
		var known *refusal
		if errors.As(err, &known) {
			return known
		}
	}
	out := &refusal{status: p.Status, cause: err}
	if errors.Is(err, latchkey.ErrTooMany) {
		p.Status, out.status = http.StatusPaymentRequired, http.StatusPaymentRequired
	}
	switch p.Status {
	case http.StatusUnauthorized:
		out.code = codeAuthorization
	case http.StatusForbidden:
		out.status, out.code = http.StatusUnauthorized, codePermissions
	case http.StatusPaymentRequired:
		out.code = codePlan
	case http.StatusNotFound:
		out.code = codeNotFound
	case http.StatusRequestEntityTooLarge:
		out.code = codeJSON
	case http.StatusUnsupportedMediaType:
		out.code = codeContentType
	case http.StatusConflict:
		out.status, out.code = http.StatusUnprocessableEntity, codeConcurrent
		out.transient = errors.Is(err, latchkey.ErrConflict)
	case http.StatusTooManyRequests:
		out.code, out.reset = codeRate, p.RetryAfter
	case http.StatusBadRequest:
		out.status, out.code = http.StatusUnprocessableEntity, codeFormat
		out.details = json.RawMessage(`{"messages":["the request cannot be understood"]}`)
	case http.StatusServiceUnavailable:
		out.code = codeUnavailable
		// Clients repeat what is transient, whatever the method. So it is not set if the change may have been made.
		out.transient = !errors.Is(err, latchkey.ErrUnknownOutcome)
	default:
		out.status, out.code = http.StatusInternalServerError, codeException
	}
	return out
}

// WriteError writes the reply for err in the product's format:
//
//	{"data":[{"id":"a9d52a","type":"api_error","attributes":{"code":"NOT_FOUND","details":{},"doc_url":"…"}}]}
//
// An unknown error, and nil, is a 500 EXCEPTION without details. [latchkey.Options.Observer] receives denials of
// callers that [Delivery] passed.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if r != nil {
		httpadapter.Refused(r.Context(), err)
	}
	refusalOf(err).write(w)
}

type apiError struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Attributes struct {
		Code      string `json:"code"`
		Details   any    `json:"details"`
		DocURL    string `json:"doc_url"`
		Transient bool   `json:"transient,omitempty"`
	} `json:"attributes"`
}

func (e *refusal) write(w http.ResponseWriter) {
	out := apiError{ID: randomHex(3), Type: "api_error"}
	a := &out.Attributes
	a.Code, a.Details, a.DocURL, a.Transient = e.code, e.details, docURL+e.code, e.transient
	if a.Details == nil {
		a.Details = struct{}{} // clients read members of it
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store")
	switch e.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="datocms"`)
	case http.StatusTooManyRequests:
		h.Set("X-RateLimit-Reset", seconds(e.reset))
	}
	writeJSON(w, e.status, document{[]apiError{out}})
}

type document struct {
	Data any `json:"data"`
}

// writeJSON sends the only content type that the clients accept; any other makes them repeat the request for ever.
func writeJSON(w http.ResponseWriter, status int, doc any) {
	body, err := encode(doc)
	if err != nil { // cannot fail for strings, numbers and valid JSON
		panic("datocms: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// encode is json.Marshal that leaves "<", ">" and "&" unescaped: entries are returned as they were sent.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// randomHex returns 2n random hex digits. crypto/rand never returns an error: it ends the program instead.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
