package latchkeygrpc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// The two surfaces agree: each error has the same reason, the same time to wait, and a code that means the same as the
// status over HTTP.
func TestStatusAgreesWithProblem(t *testing.T) {
	const secret = "ak_secret"
	wrapped := func(err error) error { return fmt.Errorf("of %s: %w", secret, err) }
	for _, c := range []struct {
		err  error
		http int
		code codes.Code
	}{
		{httpadapter.ErrNoCredential, 401, codes.Unauthenticated},
		{httpadapter.ErrNoTenant, 401, codes.Unauthenticated},
		{latchkey.ErrInvalidToken, 401, codes.Unauthenticated},
		{latchkey.ErrUnknownToken, 401, codes.Unauthenticated},
		{latchkey.ErrExpired, 401, codes.Unauthenticated},
		{latchkey.ErrNotYetValid, 401, codes.Unauthenticated},
		{latchkey.ErrRevoked, 401, codes.Unauthenticated},
		{latchkey.ErrDisabled, 401, codes.Unauthenticated},
		{latchkey.ErrParent, 401, codes.Unauthenticated},
		{latchkey.ErrOwnerDisabled, 401, codes.Unauthenticated},
		{latchkey.ErrTestMode, 401, codes.Unauthenticated},
		{latchkey.ErrSignatureRequired, 401, codes.Unauthenticated},
		{latchkey.ErrSignature, 401, codes.Unauthenticated},
		{latchkey.ErrReplay, 401, codes.Unauthenticated},
		{latchkey.ErrReferer, 401, codes.Unauthenticated},
		{latchkey.ErrAddress, 401, codes.Unauthenticated},
		{httpadapter.ErrBadRequest, 400, codes.InvalidArgument},
		{httpadapter.ErrManyCredentials, 400, codes.InvalidArgument},
		{&fieldError{"id", "it is not set"}, 400, codes.InvalidArgument},
		{latchkey.ErrInvalid, 400, codes.InvalidArgument},
		{latchkey.ErrBadCondition, 400, codes.InvalidArgument},
		{&latchkey.ConditionError{Field: "region", Reason: "not a number"}, 400, codes.InvalidArgument},
		{httpadapter.ErrMediaType, 415, codes.InvalidArgument},
		{latchkey.ErrDenied, 403, codes.PermissionDenied},
		{&latchkey.DeniedError{Action: "read", Resource: secret, Rows: true}, 403, codes.PermissionDenied},
		{latchkey.ErrPolicy, 403, codes.PermissionDenied},
		{errUnmapped, 403, codes.PermissionDenied},
		{latchkey.ErrNotFound, 404, codes.NotFound},
		{latchkey.ErrOverLimit, 402, codes.ResourceExhausted},
		{latchkey.ErrRateLimited, 429, codes.ResourceExhausted},
		{httpadapter.ErrAddressLimited, 429, codes.ResourceExhausted},
		{&latchkey.RateLimitError{Info: latchkey.RateInfo{Limit: 5, Window: time.Minute, RetryAfter: 3 * time.Second}}, 429,
			codes.ResourceExhausted},
		{httpadapter.ErrTooLarge, 413, codes.ResourceExhausted},
		{latchkey.ErrTooMany, 409, codes.ResourceExhausted},
		{latchkey.ErrExists, 409, codes.AlreadyExists},
		{latchkey.ErrConflict, 409, codes.Aborted},
		{errChanged, 409, codes.Aborted},
		{latchkey.ErrInUse, 409, codes.FailedPrecondition},
		{latchkey.ErrForced, 409, codes.FailedPrecondition},
		{latchkey.ErrUnavailable, 503, codes.Unavailable},
		{errors.Join(latchkey.ErrUnavailable, latchkey.ErrNotFound), 503, codes.Unavailable},
		{latchkey.ErrUnknownOutcome, 503, codes.Unknown},
		{errors.New(secret), 500, codes.Internal},
		{&latchkey.FaultError{Denied: &latchkey.DeniedError{}, Fault: errors.New(secret)}, 500, codes.Internal},
		{&latchkey.ConditionError{Reason: secret, OfRule: true}, 500, codes.Internal},
		{&templateError{"a/{id}", errNoMessage}, 500, codes.Internal},
		{&unreadRowsError{&rule{}}, 500, codes.Internal},
		{&unaskedSendError{}, 500, codes.Internal},
	} {
		for _, err := range []error{c.err, wrapped(c.err)} {
			p, s := httpadapter.ProblemOf(err), StatusOf(err)
			require.Equal(t, c.http, p.Status, "%v", err)
			require.Equal(t, c.code.String(), s.Code().String(), "%v", err)
			require.NotContains(t, s.String(), secret)
			if s.Code() == codes.Internal {
				require.Equal(t, "internal error", s.Message())
				require.Empty(t, s.Details())
				continue
			}
			info := s.Details()[0].(*errdetails.ErrorInfo)
			require.Equal(t, Domain, info.Domain)
			switch {
			case errors.Is(err, latchkey.ErrSignatureRequired):
				require.Equal(t, ReasonSignatureRequired, info.Reason)
				require.Contains(t, s.Message(), "cannot be signed")
			case errors.Is(err, errUnmapped):
				require.Equal(t, ReasonUnmapped, info.Reason)
			default:
				require.Equal(t, p.Type, httpadapter.ProblemType+strings.ToLower(strings.ReplaceAll(info.Reason, "_", "-")))
			}
			var retry time.Duration
			quota := false
			for _, d := range s.Details()[1:] {
				switch d := d.(type) {
				case *errdetails.RetryInfo:
					retry = d.RetryDelay.AsDuration()
				case *errdetails.QuotaFailure:
					quota = true
				case *errdetails.BadRequest:
					require.Equal(t, codes.InvalidArgument, s.Code())
					var ours *fieldError
					if !errors.As(err, &ours) {
						require.Equal(t, p.Field, d.FieldViolations[0].Field)
						require.Equal(t, p.Detail, d.FieldViolations[0].Description)
					}
				default:
					t.Errorf("%T", d)
				}
			}
			require.Equal(t, p.RetryAfter, retry, "%v", err)
			require.Equal(t, info.Reason == "RATE_LIMITED" || info.Reason == "OVER_LIMIT", quota, "%v", err)
		}
	}
	require.Equal(t, codes.Internal, StatusOf(nil).Code())
}
