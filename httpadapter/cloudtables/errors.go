package cloudtables

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// refusal is an error reply. Its texts are fixed, except data.ID: a data point as the caller named it.
type refusal struct {
	status     int
	msg        string
	data       *refusalData
	retryAfter string
	cause      error
}

type refusalData struct {
	ID  string `json:"id,omitempty"`
	Err string `json:"err,omitempty"`
}

func (e *refusal) Error() string {
	s := "cloudtables: " + e.msg
	if e.data != nil && e.data.Err != "" {
		s += ": " + e.data.Err
	}
	return s
}

func (e *refusal) Unwrap() error { return e.cause }

// refuse returns a malformed request: noAccess, status 400, with the reason in data.err.
func refuse(why string) error {
	return &refusal{status: http.StatusBadRequest, msg: msgNoAccess, data: &refusalData{Err: why},
		cause: httpadapter.ErrBadRequest}
}

// refuseCondition returns an invalid condition: invalidCondition, status 400, with the reason in data.err.
func refuseCondition(why string) error {
	return &refusal{status: http.StatusBadRequest, msg: msgInvalidCondition, data: &refusalData{Err: why},
		cause: latchkey.ErrBadCondition}
}

// refuseAccess returns a denial: noAccess, status 403.
func refuseAccess() error {
	return &refusal{status: http.StatusForbidden, msg: msgNoAccess, cause: latchkey.ErrDenied}
}

// refusalOf maps any error to a reply. The status comes from [httpadapter.ProblemOf].
func refusalOf(err error) *refusal {
	p := httpadapter.ProblemOf(err)
	if p.Status < 500 { // failures first: they must never read as a refusal
		var known *refusal
		if errors.As(err, &known) {
			return known
		}
		var cond *latchkey.ConditionError
		switch {
		case errors.As(err, &cond) && cond.Unknown:
			return &refusal{status: p.Status, msg: msgUnknownColumn, data: &refusalData{ID: cond.Field}, cause: err}
		case errors.As(err, &cond):
			return &refusal{status: p.Status, msg: msgInvalidCondition, data: &refusalData{Err: cond.Reason}, cause: err}
		case errors.Is(err, latchkey.ErrForced):
			return &refusal{status: http.StatusBadRequest, msg: msgInvalidCondition, cause: err,
				data: &refusalData{Err: "another value is set already"}}
		}
	}
	out := &refusal{status: p.Status, retryAfter: p.RetryAfterHeader(), cause: err}
	switch p.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest: // the product gives no more detail
		out.msg = msgNoAccess
	case http.StatusPaymentRequired:
		out.msg = msgOverLimit
	case http.StatusNotFound:
		out.msg = msgNotFound
	case http.StatusConflict:
		out.msg = msgConflict
	case http.StatusRequestEntityTooLarge:
		out.msg = msgTooLarge
	case http.StatusUnsupportedMediaType:
		out.msg = msgMediaType
	case http.StatusTooManyRequests:
		if out.msg = msgRateLimited; errors.Is(err, latchkey.ErrOverLimit) {
			out.msg = msgOverLimit
		}
	case http.StatusServiceUnavailable:
		out.msg = msgUnavailable
	default:
		out.status, out.msg = http.StatusInternalServerError, msgInternal
	}
	return out
}

// WriteError writes the reply for err in the product's format:
//
//	{"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}
//
// The embedded table knows these words:
//
//   - noAccess: 400 for a malformed request, with the reason in data.err, or for two credentials; 401 for a missing
//     or invalid credential; 403 for a denial;
//   - unknownColumn: 400, with the data point. It is a *latchkey.ConditionError with Unknown set, which reading data
//     returns;
//   - invalidCondition and setValue: 400.
//
// The others are this package's own: overLimit (402), notFound (404), methodNotAllowed (405), conflict (409),
// tooLarge (413), unsupportedMediaType (415), rateLimited (429), unavailable (503) and internalError (500). An
// unknown error, and nil, is internalError; its text is never sent.
func WriteError(w http.ResponseWriter, _ *http.Request, err error) {
	refusalOf(err).write(w)
}

func (e *refusal) write(w http.ResponseWriter) {
	type item struct {
		Msg  string       `json:"msg"`
		Data *refusalData `json:"data,omitempty"`
	}
	body, err := json.Marshal(struct {
		Success bool   `json:"success"` // the WordPress client ignores replies without it
		Error   string `json:"error"`
		Errors  []item `json:"errors"`
	}{false, e.msg, []item{{e.msg, e.data}}})
	if err != nil { // cannot fail for strings
		panic(err)
	}
	h := w.Header()
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `key realm="cloudtables"`) // requires one; no scheme is registered for it
	}
	if e.retryAfter != "" {
		h.Set("Retry-After", e.retryAfter)
	}
	writeJSON(w, e.status, body)
}

// writeJSON sends a reply that must not be stored: it holds a token, or may differ the next time.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	httpadapter.ForbidStoring(h)
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
