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
	"github.com/latchkey-go/latchkey/internal/adapters"
)

// ProblemType is the prefix of every [Problem.Type]: a tag URI (RFC 4151), a stable name that is not fetched.
const ProblemType = "tag:latchkey-go.github.io,2026:problem/"

// Problem is an error as a client may see it (RFC 9457). It never holds a secret, a token, or the text of an unknown
// error.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"` // what Detail is about: a row's field, a wildcard of the route
	// Pointer is the member of the request's body that Detail is about, as a JSON Pointer (RFC 6901). "": none.
	Pointer string `json:"pointer,omitempty"`
	// Object is the id of a record that Detail is about, which the caller may know. "": none.
	Object string `json:"object,omitempty"`

	// Code is the error code of RFC 6750 §3.1 for WWW-Authenticate; "" if that header has none or is not sent. See
	// [Carriers.Challenges].
	Code string `json:"-"`
	// RetryAfter is how long the client should wait before it repeats the request; 0: not stated.
	RetryAfter time.Duration `json:"-"`
}

// Refusal returns an error that is answered with p, for surfaces whose refusals [ProblemOf] does not know. It wraps
// cause, which may be nil. A cause that is a failure, such as [latchkey.ErrUnavailable], is answered as that. It panics
// unless p.Status is 400 to 499: failures are not described.
func Refusal(p Problem, cause error) error {
	if p.Status < 400 || p.Status > 499 {
		panic("httpadapter: Refusal: the status " + strconv.Itoa(p.Status) + " is no refusal")
	}
	return &refusalError{p, cause}
}

type refusalError struct {
	problem Problem
	cause   error
}

func (e *refusalError) Error() string {
	text := "httpadapter: " + strings.TrimPrefix(e.problem.Type, ProblemType)
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *refusalError) Unwrap() error { return e.cause }

// ErrorDomain is the domain of every google.rpc.ErrorInfo that surfaces of RPC protocols make.
const ErrorDomain = "latchkey-go.github.io"

// Reason returns the last part of Type in capitals, such as "INVALID_TOKEN": the reason of a google.rpc.ErrorInfo.
func (p Problem) Reason() string {
	return strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(p.Type, ProblemType), "-", "_"))
}

// RPCCode returns the status code of p in gRPC and Connect, which number them alike. So all surfaces answer an error
// alike:
//
//	400, 415, 422                3  invalid argument
//	401                          16 unauthenticated
//	403                          7  permission denied
//	404                          5  not found
//	402, 413, 429                8  resource exhausted
//	409  exists, carried-out     6  already exists
//	     too-many-tokens         8  resource exhausted
//	     in-use, forced          9  failed precondition; so is 412
//	     any other               10 aborted
//	503  unknown-outcome         2  unknown: a client must not repeat it by itself
//	     any other               14 unavailable
//	any other                    13 internal
func (p Problem) RPCCode() uint32 {
	switch p.Status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return 3
	case http.StatusUnauthorized:
		return 16
	case http.StatusForbidden:
		return 7
	case http.StatusNotFound:
		return 5
	case http.StatusPaymentRequired, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return 8
	case http.StatusPreconditionFailed:
		return 9
	case http.StatusConflict:
		switch p.Reason() {
		case "EXISTS", "CARRIED_OUT":
			return 6
		case "TOO_MANY_TOKENS":
			return 8
		case "IN_USE", "FORCED":
			return 9
		}
		return 10
	case http.StatusServiceUnavailable:
		if p.Reason() == "UNKNOWN_OUTCOME" {
			return 2
		}
		return 14
	}
	return 13 // fail closed
}

// retryUnavailable is how long a client should wait if the store does not answer. Most such failures are a restart or
// a failover. A second keeps clients from repeating the request in a loop.
const retryUnavailable = time.Second

// ProblemOf maps an error to its HTTP reply. It is the one place where errors become status codes. The surfaces of
// documented APIs take the status from here and write it in their own format.
//
//	no credential                          401  no code
//	ErrCrossOrigin                         403  no code: the credential may be right
//	ErrBadRequest                          400  invalid_request
//	ErrInvalidToken and its kinds          401  invalid_token
//	ErrTooMany                             409  it succeeds once a live token has ended
//	ErrPolicy                              403  no code: no other credential helps
//	ErrDenied                              403  insufficient_scope
//	ErrRateLimited                         429  Retry-After
//	ErrOverLimit                           429  Retry-After: until the quota begins anew
//	                                       402  if it never does, or if a whole period has not enough
//	ConditionError of a rule of the host's 500  the host's mistake, not the caller's
//	ErrInvalid, ErrBadCondition            400  field and reason, where the error has them
//	ErrForced, ErrExists, ErrConflict, ErrInUse  409
//	RepeatedError                          409  it names what was made; 422 for another request with that key
//	ErrStale                               412
//	ErrNotFound                            404
//	ErrTooLarge 413, ErrMediaType 415
//	ErrUnavailable, ErrUnknownOutcome      503  Retry-After
//	an error of Refusal                    its Problem
//	anything else                          500  "internal error" and no detail
func ProblemOf(err error) Problem {
	var (
		cond    *latchkey.ConditionError
		sent    *requestError
		denied  *latchkey.DeniedError
		fault   *latchkey.FaultError
		other   *otherPartError
		refusal *refusalError
		again   *latchkey.RepeatedError
		waiting interface{ RetryAfter() time.Duration }
	)
	switch {
	// Failures first: an error that wraps both "unavailable" and "not found" must never read as "not found".
	case errors.Is(err, latchkey.ErrUnavailable):
		return problem(503, "unavailable", "Temporarily unavailable", "").retry(retryUnavailable)
	case errors.Is(err, latchkey.ErrUnknownOutcome):
		return problem(503, "unknown-outcome", "Temporarily unavailable",
			"It is not known whether the change was made.").retry(retryUnavailable)
	case errors.As(err, &fault), errors.As(err, &cond) && cond.OfRule: // whatever else it wraps: no caller can correct it
		return problem(500, "internal", "Internal error", "")
	case errors.As(err, &refusal):
		return refusal.problem
	case errors.Is(err, ErrCrossOrigin):
		return problem(403, "cross-origin", "Forbidden",
			"A browser's cookie or password is not taken from pages of other origins.")
	case errors.As(err, &other):
		return problem(401, "invalid-token", "Invalid token",
			"Basic: the "+other.part+" beside the key is not as agreed.").code("invalid_token")
	case errors.Is(err, ErrNoCredential):
		return problem(401, "no-credential", "Credential required", "")
	case errors.Is(err, ErrManyCredentials):
		return problem(400, "bad-request", "Bad request", "More than one credential.").code("invalid_request")
	case errors.As(err, &sent):
		p := problem(400, "bad-request", "Bad request", adapters.Sentence(sent.reason)).code("invalid_request")
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
	case errors.Is(err, latchkey.ErrTooMany):
		return problem(409, "too-many-tokens", "Too many live tokens", "As many live already as the account's policy allows.")
	case errors.Is(err, latchkey.ErrPolicy): // before what else it wraps: the caller cannot correct it
		return problem(403, "policy", "Forbidden", "The account's policy does not allow such a token.")
	case errors.As(err, &denied) && denied.Rows:
		return problem(403, "denied", "Forbidden", "This is allowed for some rows only.").code("insufficient_scope")
	case errors.Is(err, latchkey.ErrDenied):
		return problem(403, "denied", "Forbidden", "").code("insufficient_scope")
	case errors.Is(err, latchkey.ErrOverLimit):
		if errors.As(err, &waiting) && waiting.RetryAfter() > 0 {
			return problem(429, "over-limit", "Quota used up", "").retry(waiting.RetryAfter())
		}
		return problem(402, "over-limit", "Quota used up", "") // a client that repeats it is not helped
	case errors.Is(err, latchkey.ErrForced):
		return problem(409, "forced", "Conflict",
			"Nothing was written: the rights of the caller demand different values for one field, or a value that "+
				"the caller lacks.")
	case errors.As(err, &cond):
		p := problem(400, "condition", "Invalid field or value", adapters.Sentence(cond.Reason))
		if fieldName(cond.Field) {
			p.Field = cond.Field
		}
		return p
	case errors.Is(err, latchkey.ErrInvalid):
		return problem(400, "invalid", "Invalid argument",
			"Something that was sent is malformed, contradicts itself, or is out of bounds.")
	case errors.Is(err, latchkey.ErrNotFound):
		return problem(404, "not-found", "Not found", "")
	case errors.As(err, &again) && again.Other:
		return problem(422, "other-request", "Key of another request",
			"Another request with this Idempotency-Key was carried out. Use a new key for a new request.")
	case errors.As(err, &again):
		p := problem(409, "carried-out", "Carried out before",
			"The request with this Idempotency-Key was carried out. A secret is shown once only.")
		p.Object = again.Object
		return p
	case errors.Is(err, latchkey.ErrStale):
		return problem(412, "stale", "Precondition failed", "The record has another version: read it again.")
	case errors.Is(err, latchkey.ErrExists):
		return problem(409, "exists", "Already exists", "")
	case errors.Is(err, latchkey.ErrConflict):
		return problem(409, "conflict", "Conflict", "It was changed in the meantime.")
	case errors.Is(err, latchkey.ErrInUse):
		return problem(409, "in-use", "In use", "")
	}
	return problem(500, "internal", "Internal error", "") // fail closed: an unknown error is not described
}

// fieldName reports whether a name may be repeated in a reply: the caller chose the names in a row.
func fieldName(s string) bool {
	return len(s) <= 128 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// hint returns what the operator can do about an error, or "" if the error says it itself.
func hint(err error) string {
	var (
		cond  *latchkey.ConditionError
		fault *latchkey.FaultError
		route *routeError
		rows  *unreadRowsError
	)
	switch {
	case errors.As(err, &rows):
		return rows.hint()
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

// RetryAfterHeader returns the Retry-After value of p in whole seconds, rounded up, or "" if p states none.
func (p Problem) RetryAfterHeader() string {
	if p.RetryAfter <= 0 {
		return ""
	}
	return wholeSeconds(p.RetryAfter)
}

func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// Challenge returns the WWW-Authenticate value for p of a surface that reads Bearer tokens alone (RFC 6750 §3), or ""
// if p needs no such header. See [Carriers.Challenges] for others.
func (p Problem) Challenge(realm string) string {
	if all := (Carriers{Bearer: true}).Challenges(p, realm); len(all) > 0 {
		return all[0]
	}
	return ""
}

// write sends p. The headers are set before hook is called.
func (p Problem) write(w http.ResponseWriter, r *http.Request, challenges []string,
	hook func(http.ResponseWriter, *http.Request, Problem)) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if len(challenges) > 0 {
		h["Www-Authenticate"] = challenges
	}
	if s := p.RetryAfterHeader(); s != "" {
		h.Set("Retry-After", s)
	}
	if hook != nil {
		hook(w, r, p)
		return
	}
	body, _ := json.Marshal(p) // cannot fail for strings and a number
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}
