package httpadapter

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
)

// ProblemType is the beginning of every [Problem.Type]: a tag URI (RFC 4151), a name that never moves and that nobody
// fetches.
const ProblemType = "tag:latchkey-go.github.io,2026:problem/"

// Problem is an error as a client may see it (RFC 9457). It never holds a secret, a token, or the text of an error it
// does not know.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"` // what of the request Detail is about: a row's field, a wildcard of the route

	// Code is the error code of RFC 6750 §3.1 for WWW-Authenticate; "" where that header carries none, or is not sent.
	Code string `json:"-"`
	// RetryAfter is when it makes sense to ask again; 0: not said.
	RetryAfter time.Duration `json:"-"`
}

// retryUnavailable is what a client is told to wait when the store does not answer. Most such trouble is a restart or a
// failover, and a second keeps the reply from being repeated in a loop.
const retryUnavailable = time.Second

// ProblemOf says what an error means over HTTP. It is the one place where errors become status codes; the surfaces of
// documented APIs take the status from here and put their own shapes around it.
//
//	no credential                          401  no code
//	ErrBadRequest                          400  invalid_request
//	ErrInvalidToken, of whatever kind      401  invalid_token
//	ErrDenied                              403  insufficient_scope
//	ErrRateLimited                         429  Retry-After
//	ErrOverLimit                           402  a credit limit: waiting a little and trying again, as clients do on
//	                                            429, cannot help before the month is over
//	ConditionError of a rule of the host's 500  the host's mistake, and not the caller's
//	ErrInvalid, ErrBadCondition            400  field and reason, where the error has them
//	ErrForced, ErrExists, ErrConflict, ErrInUse  409
//	ErrNotFound                            404
//	ErrTooLarge 413, ErrMediaType 415
//	ErrUnavailable, ErrUnknownOutcome      503  Retry-After
//	anything else                          500  "internal error" and nothing more
func ProblemOf(err error) Problem {
	var (
		cond    *latchkey.ConditionError
		sent    *requestError
		denied  *latchkey.DeniedError
		fault   *latchkey.FaultError
		waiting interface{ RetryAfter() time.Duration }
	)
	switch {
	// Trouble first: an error that wraps both "unavailable" and "not found" must never read as "not found".
	case errors.Is(err, latchkey.ErrUnavailable):
		return problem(503, "unavailable", "Temporarily unavailable", "").retry(retryUnavailable)
	case errors.Is(err, latchkey.ErrUnknownOutcome):
		return problem(503, "unknown-outcome", "Temporarily unavailable",
			"It is not known whether the change was made.").retry(retryUnavailable)
	case errors.As(err, &fault), errors.As(err, &cond) && cond.OfRule: // whatever else it wraps: no caller can mend it
		return problem(500, "internal", "Internal error", "")
	case errors.Is(err, ErrNoCredential):
		return problem(401, "no-credential", "Credential required", "")
	case errors.Is(err, ErrManyCredentials):
		return problem(400, "bad-request", "Bad request", "More than one credential.").code("invalid_request")
	case errors.As(err, &sent):
		p := problem(400, "bad-request", "Bad request", sentence(sent.reason)).code("invalid_request")
		p.Field = sent.field
		return p
	case errors.Is(err, ErrBadRequest):
		return problem(400, "bad-request", "Bad request", "").code("invalid_request")
	case errors.Is(err, ErrTooLarge):
		return problem(413, "too-large", "Content too large", "")
	case errors.Is(err, ErrMediaType):
		return problem(415, "media-type", "Unsupported media type", "")
	case errors.Is(err, latchkey.ErrRateLimited):
		wait := time.Second
		if errors.As(err, &waiting) {
			wait = waiting.RetryAfter()
		}
		return problem(429, "rate-limited", "Too many requests", "").retry(wait)
	case errors.Is(err, latchkey.ErrInvalidToken):
		return problem(401, "invalid-token", "Invalid token", "").code("invalid_token")
	case errors.As(err, &denied) && denied.Rows:
		return problem(403, "denied", "Forbidden", "This is allowed for some rows only.").code("insufficient_scope")
	case errors.Is(err, latchkey.ErrDenied):
		return problem(403, "denied", "Forbidden", "").code("insufficient_scope")
	case errors.Is(err, latchkey.ErrOverLimit):
		return problem(402, "over-limit", "Credit limit reached", "")
	case errors.Is(err, latchkey.ErrForced):
		return problem(409, "forced", "Conflict",
			"Nothing was written: the rights of the caller demand different values for one field.")
	case errors.As(err, &cond):
		p := problem(400, "condition", "Invalid field or value", sentence(cond.Reason))
		if fieldName(cond.Field) {
			p.Field = cond.Field
		}
		return p
	case errors.Is(err, latchkey.ErrInvalid):
		return problem(400, "invalid", "Invalid argument",
			"Something that was sent is malformed, contradicts itself, or is out of bounds.")
	case errors.Is(err, latchkey.ErrNotFound):
		return problem(404, "not-found", "Not found", "")
	case errors.Is(err, latchkey.ErrExists):
		return problem(409, "exists", "Already exists", "")
	case errors.Is(err, latchkey.ErrConflict):
		return problem(409, "conflict", "Conflict", "It was changed in the meantime.")
	case errors.Is(err, latchkey.ErrInUse):
		return problem(409, "in-use", "In use", "")
	}
	return problem(500, "internal", "Internal error", "") // fail closed: what it is may be told to nobody
}

// fieldName reports whether a name may stand in a reply: whoever sent a row chose the names in it.
func fieldName(s string) bool {
	return len(s) <= 128 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// sentence makes a reason one: "not a number" is "Not a number."
func sentence(s string) string {
	if s == "" {
		return ""
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// mend is what whoever runs the program can do about an error; "" where the error says it all.
func hint(err error) string {
	var (
		cond  *latchkey.ConditionError
		fault *latchkey.FaultError
		route *routeError
	)
	switch {
	case errors.As(err, &route):
		return route.hint()
	case errors.As(err, &cond) && cond.OfRule && cond.Unknown:
		return "correct the name in the rule or condition, or add the field to the schema"
	case errors.As(err, &cond) && cond.OfRule:
		return "correct the rule or condition so that it fits the type of the field in the schema"
	case errors.As(err, &fault):
		return "correct the rule that the error names: until then the whole list allows nothing"
	}
	return ""
}

func problem(status int, name, title, detail string) Problem {
	return Problem{Type: ProblemType + name, Title: title, Status: status, Detail: detail}
}

func (p Problem) code(c string) Problem { p.Code = c; return p }

func (p Problem) retry(d time.Duration) Problem { p.RetryAfter = d; return p }

// RetryAfterHeader is the Retry-After of p in whole seconds, rounded up; "" if there is none to say.
func (p Problem) RetryAfterHeader() string {
	if p.RetryAfter <= 0 {
		return ""
	}
	return wholeSeconds(p.RetryAfter)
}

func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// Challenge is the WWW-Authenticate value for p (RFC 6750 §3); "" where the header does not belong.
func (p Problem) Challenge(realm string) string {
	switch {
	case p.Code != "":
		return `Bearer realm="` + realm + `", error="` + p.Code + `"`
	case p.Status == http.StatusUnauthorized:
		return `Bearer realm="` + realm + `"`
	}
	return ""
}

// write sends p. The headers that matter are set before the hook sees the reply.
func (p Problem) write(w http.ResponseWriter, r *http.Request, realm string,
	hook func(http.ResponseWriter, *http.Request, Problem)) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if c := p.Challenge(realm); c != "" {
		h.Set("WWW-Authenticate", c)
	}
	if s := p.RetryAfterHeader(); s != "" {
		h.Set("Retry-After", s)
	}
	if hook != nil {
		hook(w, r, p)
		return
	}
	body, err := json.Marshal(p)
	if err != nil { // a struct of texts and a number
		panic(err)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}
