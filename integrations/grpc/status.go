package latchkeygrpc

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Domain is the domain of every google.rpc.ErrorInfo that this package makes.
const Domain = httpadapter.ErrorDomain

// Reasons of google.rpc.ErrorInfo that the HTTP surfaces have no problem type for. Every other reason is
// [httpadapter.Problem.Reason].
const (
	ReasonUnmapped          = "UNMAPPED"           // the table has no rule for the method
	ReasonSignatureRequired = "SIGNATURE_REQUIRED" // the token must sign its requests, and a gRPC call cannot be signed
)

// StatusOf maps an error to its status. It is made from [httpadapter.ProblemOf], so that a client is told the same over
// HTTP and over gRPC:
//
//	no credential, ErrInvalidToken and its kinds   UNAUTHENTICATED
//	ErrDenied, ErrPolicy                           PERMISSION_DENIED
//	ErrRateLimited                                 RESOURCE_EXHAUSTED  RetryInfo, QuotaFailure
//	ErrOverLimit                                   RESOURCE_EXHAUSTED  QuotaFailure; RetryInfo if to wait helps
//	ErrTooMany, httpadapter.ErrTooLarge            RESOURCE_EXHAUSTED
//	ErrBadRequest, ErrInvalid, ErrBadCondition     INVALID_ARGUMENT    BadRequest
//	ErrNotFound                                    NOT_FOUND
//	ErrExists                                      ALREADY_EXISTS
//	ErrConflict                                    ABORTED
//	ErrInUse, ErrForced                            FAILED_PRECONDITION
//	ErrUnavailable                                 UNAVAILABLE         RetryInfo
//	ErrUnknownOutcome                              UNKNOWN             RetryInfo
//	anything else                                  INTERNAL            "internal error", and no detail
//
// ErrUnknownOutcome is not UNAVAILABLE, which many clients repeat by themselves: what was asked for may have been done.
// Every status but INTERNAL has an ErrorInfo. A nil err is INTERNAL: a mistake must not read as success. The status of
// an error that has one already is not looked at.
func StatusOf(err error) *status.Status {
	if err == nil {
		return internalStatus
	}
	p := httpadapter.ProblemOf(err)
	reason, code := p.Reason(), codes.Code(p.RPCCode())
	if code == codes.Internal {
		return internalStatus
	}
	var (
		field *fieldError
		rate  *latchkey.RateLimitError
		over  *latchkey.OverLimitError
	)
	message, at := p.Detail, p.Field
	switch {
	case errors.Is(err, errUnmapped):
		reason, message = ReasonUnmapped, "no rule of the server opens this method"
	case errors.Is(err, latchkey.ErrSignatureRequired):
		reason, message = ReasonSignatureRequired, "the token must sign its requests, and a gRPC call cannot be signed"
	case errors.As(err, &field):
		message, at = field.reason, field.field
	}
	text := strings.ToLower(p.Title[:1]) + p.Title[1:]
	if at != "" {
		text += ": " + at
	}
	if message != "" {
		text += ": " + message
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: Domain}}
	if p.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(p.RetryAfter)})
	}
	switch {
	case errors.As(err, &rate):
		details = append(details, quotaFailure("rate", fmt.Sprintf("%d calls in %v", rate.Info.Limit, rate.Info.Window)))
	case errors.As(err, &over) && over.Quota.Per != "":
		per := "per " + string(over.Quota.Per)
		if over.Quota.Per == latchkey.Forever {
			per = "for ever"
		}
		details = append(details, quotaFailure("meter:"+over.Account.Meter, fmt.Sprintf("%d credits %s", over.Quota.Amount,
			per)))
	case reason == "RATE_LIMITED" || reason == "OVER_LIMIT":
		details = append(details, quotaFailure("", p.Title))
	}
	if code == codes.InvalidArgument && (message != "" || at != "") {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: at, Description: message}}})
	}
	plain := status.New(code, text)
	if full, err := plain.WithDetails(details...); err == nil {
		return full
	}
	return plain // a detail that cannot be encoded must not hide the refusal
}

var internalStatus = status.New(codes.Internal, "internal error")

func quotaFailure(subject, description string) *errdetails.QuotaFailure {
	return &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
		{Subject: subject, Description: description}}}
}

// Errors of this package. Each maps to a status by what it wraps, as errors of the root do.
var (
	errUnmapped = fmt.Errorf("latchkeygrpc: the table has no rule for the method: %w", latchkey.ErrDenied)
	errChanged  = fmt.Errorf("latchkeygrpc: the rows that the caller may reach have changed since the stream began: %w",
		latchkey.ErrConflict)
	errEmptyStream = &fieldError{reason: "the stream has no message, and its first one names the resource"}
	errBinary      = &fieldError{reason: "a credential is no binary metadata"}
)

// unreadRowsError is a programming error: a handler that answers without its rows.
type unreadRowsError struct{ rule *rule }

func (e *unreadRowsError) Error() string {
	return fmt.Sprintf("latchkeygrpc: RequireRows(%q, %q): the handler answered without asking for the rows it may show",
		e.rule.action, e.rule.resource)
}

// unaskedSendError is a programming error: an answer before it is known what the stream is about.
type unaskedSendError struct{ resource string }

func (e *unaskedSendError) Error() string {
	return fmt.Sprintf("latchkeygrpc: resource %q: the handler answered before it received the message that names it",
		e.resource)
}

// hint returns what the operator can do about an error, or "" if the error says it itself.
func hint(err error) string {
	var (
		rows     *unreadRowsError
		template *templateError
		unasked  *unaskedSendError
	)
	switch {
	case errors.As(err, &rows):
		return "call httpadapter.RowsFrom and apply the condition before the answer, or httpadapter.RowsNotNeeded for an " +
			"answer that shows no row"
	case errors.As(err, &template):
		return "name fields of the request's message, as the proto file does"
	case errors.As(err, &unasked):
		return "receive a message before the first Send or SendHeader, or write a resource without fields"
	}
	return ""
}

// ours reports whether an error of a handler is one that StatusOf knows.
func ours(err error) bool {
	var (
		fault *latchkey.FaultError
		cond  *latchkey.ConditionError
	)
	return httpadapter.ProblemOf(err).Status != http.StatusInternalServerError ||
		errors.As(err, &fault) || errors.As(err, &cond)
}
