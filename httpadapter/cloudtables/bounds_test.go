package cloudtables

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
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

// Each of the six comparisons is taken, and no other word. A request has at most 100 conditions.
func TestConditionsAtTheirBounds(t *testing.T) {
	parse := func(text string) error {
		value, err := form.ParseJSON([]byte(text))
		require.NoError(t, err)
		_, err = parseConditions(value)
		return err
	}
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
