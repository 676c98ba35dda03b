package cloudtables

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
	"github.com/latchkey-go/latchkey/memstore"
)

// What Mint says of a key that ended or changed since Verify, in the words of this surface.
func TestErrorsOfAMint(t *testing.T) {
	for _, c := range []struct {
		err     error
		is, not []error
	}{
		{latchkey.ErrNotFound, []error{latchkey.ErrInvalidToken}, []error{latchkey.ErrDenied}},
		{latchkey.ErrConflict, []error{latchkey.ErrInvalidToken}, []error{latchkey.ErrDenied}},
		{latchkey.ErrInvalid, []error{latchkey.ErrDenied}, []error{latchkey.ErrInvalidToken}},
		{latchkey.ErrBadCondition, []error{latchkey.ErrInvalid}, []error{latchkey.ErrDenied}},
		{latchkey.ErrUnavailable, []error{latchkey.ErrUnavailable}, []error{latchkey.ErrDenied, latchkey.ErrInvalidToken}},
		{latchkey.ErrDenied, []error{latchkey.ErrDenied}, []error{latchkey.ErrInvalidToken}},
	} {
		got := mintError(fmt.Errorf("minting: %w", c.err))
		require.ErrorIs(t, got, c.err, "the cause is kept for the log")
		for _, is := range c.is {
			require.ErrorIs(t, got, is)
		}
		for _, not := range c.not {
			require.NotErrorIs(t, got, not)
		}
	}
	var r *refusal
	require.ErrorAs(t, mintError(latchkey.ErrTooMany), &r)
	require.Equal(t, []any{403, msgNoAccess}, []any{r.status, r.msg})
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"1": time.Second, "0060": time.Minute, "31536000": MaxDuration,
		"": 0, "0": 0, "31536001": 0, "+1": 0, "-1": 0, "1.5": 0, " 1": 0, "1s": 0, "x": 0, "4294967297": 0,
		"4294967296": 0, "99999999999999999999": 0} {
		got, err := parseDuration(text)
		require.Equal(t, want, got, text)
		require.Equal(t, want == 0, err != nil, text)
	}
}

// faultOfConditions returns what is wrong with conditions as JSON, or nil.
func faultOfConditions(t *testing.T, text string) error {
	t.Helper()
	value, err := form.ParseJSON([]byte(text))
	require.NoError(t, err)
	_, err = parseConditions(value)
	return err
}

// Each of the six comparisons is taken, and no other word. A request has at most 100 conditions.
func TestConditionsAtTheirBounds(t *testing.T) {
	parse := func(text string) error { return faultOfConditions(t, text) }
	one := func(id int, more string) string {
		return fmt.Sprintf(`{"id":"p%d","value":"v","set":false%s}`, id, more)
	}
	for op, ok := range map[string]bool{"=": true, "!=": true, "<": true, "<=": true, ">": true, ">=": true,
		"==": false, "": false, "in": false, "eq": false} {
		err := parse("[" + one(1, fmt.Sprintf(`,"op":%q`, op)) + "]")
		require.Equal(t, ok, err == nil, "%s: %v", op, err)
	}
	for n, ok := range map[int]bool{1: true, 99: true, 100: true, 101: false} {
		var all []string
		for i := range n {
			all = append(all, one(i, ""))
		}
		err := parse("[" + strings.Join(all, ",") + "]")
		require.Equal(t, ok, err == nil, "%d: %v", n, err)
	}
}

// A value has at most 4096 bytes. What an object names as the parts of a condition is no data point.
func TestValuesAtTheirBounds(t *testing.T) {
	parse := func(text string) error { return faultOfConditions(t, text) }
	for n, ok := range map[int]bool{0: true, maxValue: true, maxValue + 1: false} {
		require.Equal(t, ok, parse(fmt.Sprintf(`{"colour":%q}`, strings.Repeat("v", n))) == nil, n)
	}
	for n, ok := range map[int]bool{0: false, 1: true, maxPoint: true, maxPoint + 1: false} {
		require.Equal(t, ok, parse(fmt.Sprintf(`{%q:"v"}`, strings.Repeat("p", n))) == nil, n)
	}
	for _, part := range []string{"value", "op", "set", "setValue"} {
		require.ErrorContains(t, parse(fmt.Sprintf(`{%q:"v"}`, part)), "needs an id or a name", part)
		require.NoError(t, parse(fmt.Sprintf(`{%q:"v"}`, part+"s")), part)
	}
}

// Whatever is refused keeps its cause, for the host's log.
func TestRefusalsKeepTheirCause(t *testing.T) {
	for _, err := range []error{
		&latchkey.ConditionError{Field: "colour", Unknown: true, Reason: "the schema has no such field"},
		&latchkey.ConditionError{Field: "colour", Reason: "no number"},
		latchkey.ErrForced, latchkey.ErrDenied, latchkey.ErrInvalidToken, latchkey.ErrUnavailable, latchkey.ErrNotFound,
	} {
		require.ErrorIs(t, refusalOf(fmt.Errorf("asking: %w", err)), err)
	}
}

// A key in JSON is a text. Another value is told apart from a key that is missing.
func TestAKeyInJSONIsAText(t *testing.T) {
	for text, want := range map[string]form.Found{
		`{"key":"abc"}`:           {Value: "abc", N: 1, Kind: form.Text},
		`{"key":["abc"]}`:         {N: 1, Kind: form.List},
		`{"key":{"a":"abc"}}`:     {N: 1, Kind: form.Map},
		`{"key":5}`:               {N: 1, Kind: form.Map},
		`{"key":true}`:            {N: 1, Kind: form.Map},
		`{"key":null}`:            {N: 1, Kind: form.Map},
		`{"key":"a","key":"abc"}`: {Value: "a", N: 2, Kind: form.Text},
		`{"other":"abc"}`:         {},
	} {
		got, err := findSecretInJSON([]byte(text))
		require.NoError(t, err, text)
		if want.N != 0 {
			require.Equal(t, want.Kind, got.Kind, text)
		}
		require.Equal(t, want.N, got.N, text)
		secrets, err := addSecret(nil, got)
		require.Equal(t, want.N == 0 || want.Kind == form.Text && want.N == 1, err == nil, text)
		require.Equal(t, want.N == 1 && err == nil, len(secrets) == 1, text)
	}
}

func TestIdleAndCapOfAtLeastASecond(t *testing.T) {
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	for _, d := range []time.Duration{0, time.Second, time.Minute} {
		require.NotPanics(t, func() { newSurface(acme, &Options{Idle: d, Cap: d}) }, d)
	}
	for _, d := range []time.Duration{-1, 1, time.Second - 1} {
		require.Panics(t, func() { newSurface(acme, &Options{Idle: d}) }, d)
		require.Panics(t, func() { newSurface(acme, &Options{Cap: d}) }, d)
	}
}
