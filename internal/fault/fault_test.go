package fault

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnavailableWrapsOnce(t *testing.T) {
	cause := errors.New("no route")
	err := Unavailable(cause)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, cause)
	require.Equal(t, err, Unavailable(err))
}

func TestUntilKnown(t *testing.T) {
	for name, c := range map[string]struct {
		answers []error // the last one is repeated
		want    error
		calls   int
	}{
		"a known outcome is not repeated":            {[]error{nil}, nil, 1},
		"a refusal is not repeated":                  {[]error{ErrConflict}, ErrConflict, 1},
		"an unknown outcome is repeated":             {[]error{ErrUnknownOutcome, nil}, nil, 2},
		"a refusal settles it":                       {[]error{ErrUnknownOutcome, ErrConflict}, ErrConflict, 2},
		"what stays unknown is repeated three times": {[]error{ErrUnknownOutcome}, ErrUnknownOutcome, 4},
		"an unavailable store says nothing happened": {
			[]error{ErrUnknownOutcome, ErrUnavailable}, ErrUnknownOutcome, 4},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := UntilKnown(t.Context(), func() error {
				calls++
				return c.answers[min(calls, len(c.answers))-1]
			})
			require.Equal(t, c.want, err)
			require.Equal(t, c.calls, calls)
		})
	}
}

func TestUntilKnownEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := UntilKnown(ctx, func() error { calls++; cancel(); return ErrUnknownOutcome })
	require.Equal(t, ErrUnknownOutcome, err)
	require.Equal(t, 1, calls)
}

func TestWaitFor(t *testing.T) {
	var work sync.WaitGroup
	require.NoError(t, WaitFor(t.Context(), &work))
	work.Add(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, WaitFor(ctx, &work), ErrUnavailable)
	work.Done()
	require.NoError(t, WaitFor(t.Context(), &work))
}
