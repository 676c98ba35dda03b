package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/adapters"
)

type slowDown time.Duration

func (e slowDown) Error() string             { return "slow down" }
func (e slowDown) Unwrap() error             { return latchkey.ErrRateLimited }
func (e slowDown) RetryAfter() time.Duration { return time.Duration(e) }

func TestProblemOf(t *testing.T) {
	for _, tt := range []struct {
		err       error
		status    int
		name      string
		challenge string
		retry     string
	}{
		{ErrNoCredential, 401, "no-credential", `Bearer realm="r"`, ""},
		{ErrManyCredentials, 400, "bad-request", `Bearer realm="r", error="invalid_request"`, ""},
		{ErrBadRequest, 400, "bad-request", `Bearer realm="r", error="invalid_request"`, ""},
		{latchkey.ErrInvalidToken, 401, "invalid-token", `Bearer realm="r", error="invalid_token"`, ""},
		{latchkey.ErrUnknownToken, 401, "invalid-token", `Bearer realm="r", error="invalid_token"`, ""},
		{latchkey.ErrRevoked, 401, "invalid-token", `Bearer realm="r", error="invalid_token"`, ""},
		{latchkey.ErrExpired, 401, "invalid-token", `Bearer realm="r", error="invalid_token"`, ""},
		{latchkey.ErrAddress, 401, "invalid-token", `Bearer realm="r", error="invalid_token"`, ""},
		{latchkey.ErrReferer, 401, "invalid-token", `Bearer realm="r", error="invalid_token"`, ""},
		{latchkey.ErrTestMode, 401, "invalid-token", `Bearer realm="r", error="invalid_token"`, ""},
		{&latchkey.DeniedError{}, 403, "denied", `Bearer realm="r", error="insufficient_scope"`, ""},
		{latchkey.ErrOverLimit, 402, "over-limit", "", ""},
		{&latchkey.OverLimitError{}, 402, "over-limit", "", ""}, // TestSpend has others
		{fmt.Errorf("write: %w", latchkey.ErrTooMany), 409, "too-many-tokens", "", ""},
		{fmt.Errorf("%w: %w", latchkey.ErrInvalid, latchkey.ErrPolicy), 403, "policy", "", ""},
		{fmt.Errorf("%w: %w", latchkey.ErrDenied, latchkey.ErrPolicy), 403, "policy", "", ""},
		{latchkey.ErrRateLimited, 429, "rate-limited", "", "1"},
		{slowDown(1500 * time.Millisecond), 429, "rate-limited", "", "2"},
		{latchkey.ErrInvalid, 400, "invalid", "", ""},
		{latchkey.ErrBadCondition, 400, "invalid", "", ""},
		{&latchkey.ConditionError{Field: "x"}, 400, "condition", "", ""},
		{latchkey.ErrForced, 409, "forced", "", ""},
		{latchkey.ErrNotFound, 404, "not-found", "", ""},
		{latchkey.ErrExists, 409, "exists", "", ""},
		{latchkey.ErrConflict, 409, "conflict", "", ""},
		{latchkey.ErrInUse, 409, "in-use", "", ""},
		{&latchkey.RepeatedError{Object: "7"}, 409, "carried-out", "", ""},
		{&latchkey.RepeatedError{Object: "7", Other: true}, 422, "other-request", "", ""},
		{latchkey.ErrStale, 412, "stale", "", ""},
		{Refusal(problem(418, "teapot", "Teapot", ""), latchkey.ErrNotFound), 418, "teapot", "", ""},
		{Refusal(problem(418, "teapot", "Teapot", ""), nil), 418, "teapot", "", ""},
		{Refusal(problem(418, "teapot", "Teapot", ""), latchkey.ErrUnavailable), 503, "unavailable", "", "1"},
		{Refusal(problem(418, "teapot", "Teapot", ""), &latchkey.FaultError{}), 500, "internal", "", ""},
		{ErrTooLarge, 413, "too-large", "", ""},
		{ErrMediaType, 415, "media-type", "", ""},
		{latchkey.ErrUnavailable, 503, "unavailable", "", "1"},
		{latchkey.ErrUnknownOutcome, 503, "unknown-outcome", "", "1"},
		{latchkey.ErrNeedsKeyring, 500, "internal", "", ""},
		{errors.New("disk on fire"), 500, "internal", "", ""},
		{context.Canceled, 500, "internal", "", ""},
		{nil, 500, "internal", "", ""},
	} {
		for _, err := range []error{tt.err, fmt.Errorf("SECRET: %w", tt.err)} {
			p := ProblemOf(err)
			require.Equal(t, tt.status, p.Status, "%v", err)
			require.Equal(t, ProblemType+tt.name, p.Type, "%v", err)
			require.Equal(t, tt.challenge, p.Challenge("r"), "%v", err)
			require.Equal(t, tt.retry, p.RetryAfterHeader(), "%v", err)
			require.NotContains(t, fmt.Sprintf("%+v", p), "SECRET")
		}
	}
	require.Equal(t, 503, ProblemOf(errors.Join(latchkey.ErrNotFound, latchkey.ErrUnavailable)).Status)
	require.Equal(t, 503, ProblemOf(errors.Join(latchkey.ErrInvalidToken, latchkey.ErrUnknownOutcome)).Status)
	require.Equal(t, "7", ProblemOf(&latchkey.RepeatedError{Object: "7"}).Object)
	require.Empty(t, ProblemOf(&latchkey.RepeatedError{Object: "7", Other: true}).Object)
	for _, status := range []int{0, 200, 302, 399, 500, 503} {
		require.Panics(t, func() { _ = Refusal(Problem{Status: status}, nil) }, status)
	}
	for _, status := range []int{400, 499} {
		require.Equal(t, status, ProblemOf(Refusal(Problem{Status: status}, nil)).Status)
	}
}

// A hint is for the operator: what the caller sent has none.
func TestHintsAreOfTheHostsOwnRules(t *testing.T) {
	require.Contains(t, hint(&latchkey.ConditionError{OfRule: true, Unknown: true}), "correct the name")
	require.Contains(t, hint(&latchkey.ConditionError{OfRule: true}), "fits the type")
	require.Empty(t, hint(&latchkey.ConditionError{Unknown: true}))
	require.Empty(t, hint(&latchkey.ConditionError{}))
	require.Contains(t, hint(&latchkey.FaultError{}), "allows nothing")
	require.Empty(t, hint(latchkey.ErrUnavailable))
}

// The log tells the address that asks as a proxy and is none. It tells nothing of other refusals.
func TestWhoAsksWithoutBeingAProxyIsTold(t *testing.T) {
	for err, told := range map[error]bool{
		fmt.Errorf("%w: %w", latchkey.ErrDenied, adapters.ErrNotProxy): true, latchkey.ErrDenied: false} {
		var log strings.Builder
		for _, logger := range []*slog.Logger{nil, slog.New(slog.NewTextHandler(&log, nil))} {
			out := httptest.NewRecorder()
			New(newKeys(), &Options{Logger: logger}).WriteError(out, get("/"), err)
			require.Equal(t, http.StatusForbidden, out.Code)
		}
		require.Equal(t, told, strings.Contains(log.String(), "Options.Proxies"), "%v", err)
	}
}

// An error in what the caller sent is described; an error in the host's rules is not.
func TestProblemsNameFieldAndReason(t *testing.T) {
	sent := &latchkey.ConditionError{Field: "amount", Reason: "not a number"}
	for _, err := range []error{sent, fmt.Errorf("SECRET: %w", sent)} {
		p := ProblemOf(err)
		require.Equal(t, Problem{Type: ProblemType + "condition", Title: "Invalid field or value", Status: 400,
			Detail: "Not a number.", Field: "amount"}, p)
	}
	p := ProblemOf(&latchkey.ConditionError{Field: "amuont", Unknown: true, Reason: "the schema has no such field"})
	require.Equal(t, 400, p.Status)
	require.Equal(t, "amuont", p.Field)
	require.Equal(t, "The schema has no such field.", p.Detail)
	longest := strings.Repeat("x", 128)
	require.Equal(t, longest, ProblemOf(&latchkey.ConditionError{Field: longest, Unknown: true}).Field)
	for _, name := range []string{longest + "x", "a\nb", "\xff", "\u0085"} {
		p := ProblemOf(&latchkey.ConditionError{Field: name, Unknown: true, Reason: "the schema has no such field"})
		require.Empty(t, p.Field, "%q", name)
		require.NotEmpty(t, p.Detail)
	}

	rule := &latchkey.ConditionError{Field: "regoin", Unknown: true, OfRule: true, Reason: "the schema has no such field"}
	internal := Problem{Type: ProblemType + "internal", Title: "Internal error", Status: 500}
	require.Equal(t, internal, ProblemOf(rule))
	require.Equal(t, internal, ProblemOf(fmt.Errorf("%w: %w", latchkey.ErrDenied, rule)))
	require.Equal(t, internal, ProblemOf(fmt.Errorf("%w: %w", ErrBadRequest, rule)))
	require.Equal(t, 503, ProblemOf(errors.Join(rule, latchkey.ErrUnavailable)).Status)
	require.Contains(t, hint(rule), "add the field to the schema")
	rule.Unknown = false
	require.Contains(t, hint(rule), "fits the type of the field")
	require.Empty(t, hint(sent))

	for _, err := range []error{latchkey.ErrForced, latchkey.ErrInvalid, &latchkey.DeniedError{Rows: true},
		badRequest("malformed query")} {
		p := ProblemOf(fmt.Errorf("SECRET: %w", err))
		require.NotEmpty(t, p.Detail, "%v", err)
		require.NotContains(t, fmt.Sprintf("%+v", p), "SECRET")
		require.Empty(t, p.Field)
	}
	require.Empty(t, ProblemOf(&latchkey.DeniedError{}).Detail)
}

// What RPC protocols answer for each error, by the numbers that gRPC and Connect share.
func TestRPCCode(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   uint32
		reason string
	}{
		{ErrBadRequest, 3, "BAD_REQUEST"},
		{ErrMediaType, 3, "MEDIA_TYPE"},
		{ErrNoCredential, 16, "NO_CREDENTIAL"},
		{latchkey.ErrRevoked, 16, "INVALID_TOKEN"},
		{latchkey.ErrDenied, 7, "DENIED"},
		{latchkey.ErrPolicy, 7, "POLICY"},
		{ErrCrossOrigin, 7, "CROSS_ORIGIN"},
		{latchkey.ErrNotFound, 5, "NOT_FOUND"},
		{latchkey.ErrRateLimited, 8, "RATE_LIMITED"},
		{latchkey.ErrOverLimit, 8, "OVER_LIMIT"},
		{ErrTooLarge, 8, "TOO_LARGE"},
		{latchkey.ErrTooMany, 8, "TOO_MANY_TOKENS"},
		{latchkey.ErrExists, 6, "EXISTS"},
		{&latchkey.RepeatedError{}, 6, "CARRIED_OUT"},
		{&latchkey.RepeatedError{Other: true}, 3, "OTHER_REQUEST"},
		{latchkey.ErrStale, 9, "STALE"},
		{latchkey.ErrInUse, 9, "IN_USE"},
		{latchkey.ErrForced, 9, "FORCED"},
		{latchkey.ErrConflict, 10, "CONFLICT"},
		{latchkey.ErrUnavailable, 14, "UNAVAILABLE"},
		{latchkey.ErrUnknownOutcome, 2, "UNKNOWN_OUTCOME"},
		{errors.New("any other"), 13, "INTERNAL"},
		{nil, 13, "INTERNAL"},
	} {
		p := ProblemOf(c.err)
		require.Equal(t, c.code, p.RPCCode(), "%v", c.err)
		require.Equal(t, c.reason, p.Reason(), "%v", c.err)
	}
	for status, code := range map[int]uint32{0: 13, 200: 13, 302: 13, 418: 13, 429: 8, 500: 13, 502: 13} {
		require.Equal(t, code, Problem{Status: status}.RPCCode(), status)
	}
}

// Waiting for the whole time that is stated must be enough.
func TestRetryAfterIsRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "", 0: "", 1: "1", time.Second - 1: "1", time.Second: "1",
		time.Second + 1: "2", time.Minute: "60"} {
		require.Equal(t, want, Problem{RetryAfter: d}.RetryAfterHeader(), d)
	}
}

// A reply that asks for no credential has no such header, not even an empty one.
func TestProblemsWithoutAChallenge(t *testing.T) {
	for _, challenges := range [][]string{nil, {}, {`Bearer realm="r"`}} {
		out := httptest.NewRecorder()
		problem(403, "denied", "Denied", "").write(out, httptest.NewRequest("GET", "/", nil), challenges, nil)
		require.Equal(t, len(challenges) > 0, out.Header()["Www-Authenticate"] != nil)
	}
}
