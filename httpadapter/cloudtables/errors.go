package cloudtables

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// refusal is an error reply. Its texts are ours, except data.ID: a data point as the caller named it.
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

func refuse(why string) error {
	return &refusal{status: http.StatusBadRequest, msg: msgNoAccess, data: &refusalData{Err: why},
		cause: httpadapter.ErrBadRequest}
}

func refuseCondition(why string) error {
	return &refusal{status: http.StatusBadRequest, msg: msgInvalidCondition, data: &refusalData{Err: why},
		cause: latchkey.ErrBadCondition}
}

func refuseAccess() error {
	return &refusal{status: http.StatusForbidden, msg: msgNoAccess, cause: latchkey.ErrDenied}
}

// refusalOf turns any error into a reply. The status comes from [httpadapter.ProblemOf].
func refusalOf(err error) *refusal {
	p := httpadapter.ProblemOf(err)
	if p.Status < 500 { // trouble comes first: it must never read as a refusal
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
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest: // the product says no more
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
		out.msg = msgRateLimited
	case http.StatusServiceUnavailable:
		out.msg = msgUnavailable
	default:
		out.status, out.msg = http.StatusInternalServerError, msgInternal
	}
	return out
}

// WriteError answers a call with what err means, in the product's shape:
//
//	{"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}
//
// The embedded table knows these words: noAccess (400: a malformed request, data.err saying how, or two credentials; 401:
// no credential, or one that is not good; 403: it may not do this),
// unknownColumn (400, with the data point: a *latchkey.ConditionError with Unknown set, which reading data yields),
// invalidCondition and setValue (400). The others are ours: overLimit (402), notFound (404),
// methodNotAllowed (405), conflict (409), tooLarge (413), unsupportedMediaType (415), rateLimited (429), unavailable
// (503) and internalError (500, for every error that is not known, and nil). No text of an unknown error is sent.
func WriteError(w http.ResponseWriter, _ *http.Request, err error) {
	refusalOf(err).write(w)
}

func (e *refusal) write(w http.ResponseWriter) {
	type item struct {
		Msg  string       `json:"msg"`
		Data *refusalData `json:"data,omitempty"`
	}
	body, err := json.Marshal(struct {
		Success bool   `json:"success"` // the WordPress client drops replies without it
		Error   string `json:"error"`
		Errors  []item `json:"errors"`
	}{false, e.msg, []item{{e.msg, e.data}}})
	if err != nil { // texts only
		panic(err)
	}
	h := w.Header()
	if e.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `key realm="cloudtables"`) // RFC 9110 §15.5.2 wants one; no scheme is registered for it
	}
	if e.retryAfter != "" {
		h.Set("Retry-After", e.retryAfter)
	}
	writeJSON(w, e.status, body)
}

// writeJSON sends a reply that no cache keeps: it holds a token, or may be another one the next time.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	httpadapter.ForbidStoring(h)
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
