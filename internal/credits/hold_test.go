package credits

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

func TestSettle(t *testing.T) {
	for name, make := range map[string]func(t *testing.T) (*books, *Hold){
		"unlimited": func(t *testing.T) (*books, *Hold) {
			h := &Hold{}
			h.Unlimited(8)
			return newBooks(), h
		},
		"a reservation of its own": func(t *testing.T) (*books, *Hold) {
			b := newBooks()
			return b, reserve(t, New(b, nil), owned(100), 8)
		},
		"out of a lease": func(t *testing.T) (*books, *Hold) {
			b := newBooks()
			p, d := New(b, of(40)), owned(1000)
			t.Cleanup(func() { require.NoError(t, p.Close(context.Background())) })
			require.NoError(t, charge(p, d, 1))
			require.NoError(t, charge(p, d, 1))
			h := reserve(t, p, d, 2)
			require.NotNil(t, h.lease)
			return b, reserve(t, p, d, 8)
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, h := make(t)
			before, limited := h.Left()
			require.Equal(t, name != "unlimited", limited)
			require.ErrorIs(t, h.Settle(t.Context(), -1), fault.ErrInvalid)
			require.ErrorIs(t, h.Settle(t.Context(), 9), fault.ErrInvalid)
			require.NoError(t, h.Settle(t.Context(), 3))
			require.NoError(t, h.Settle(t.Context(), 3))
			require.ErrorIs(t, h.Settle(t.Context(), 4), fault.ErrConflict)
			if after, _ := h.Left(); limited {
				before.Credits += 5
				require.Equal(t, before, after)
			}
		})
	}
}

// Holds out of a lease expire by the time that passes: a clock that is set ends none.
func TestHoldsExpireByTheTimeThatPasses(t *testing.T) {
	b := newBooks()
	p, d := New(b, of(400)), owned(10_000)
	require.NoError(t, charge(p, d, 1))
	require.NoError(t, charge(p, d, 1))
	first, second, third := reserve(t, p, d, 4), reserve(t, p, d, 4), reserve(t, p, d, 4)
	require.NotNil(t, third.lease)
	b.at.Now += holdFor.Microseconds()
	p.Renew(t.Context())
	require.NoError(t, second.Settle(t.Context(), 3), "out of the middle")
	b.at.Elapsed += holdFor.Microseconds() - 1
	p.Renew(t.Context())
	require.NoError(t, first.Settle(t.Context(), 1))
	b.at.Elapsed++
	p.Renew(t.Context())
	require.ErrorIs(t, third.Settle(t.Context(), 4), fault.ErrConflict)
	require.NoError(t, third.Settle(t.Context(), 0))
	require.NoError(t, p.Close(t.Context()))
	require.EqualValues(t, 2+3+1, b.taken(""))
}

// A Hold of which the store could not be told is settled all the same: with one amount.
func TestAHoldIsSettledWithOneAmount(t *testing.T) {
	b := newBooks()
	p, d := New(b, of(400)), owned(10_000)
	require.NoError(t, charge(p, d, 1))
	require.NoError(t, charge(p, d, 1))
	h := reserve(t, p, d, 4)
	require.NoError(t, p.Close(t.Context()))
	require.EqualValues(t, 6, b.taken(""), "what the Hold has stays out")
	b.failing(func(string) (before, after error) { return fault.ErrUnavailable, nil })
	require.ErrorIs(t, h.Settle(t.Context(), 0), fault.ErrUnavailable)
	b.failing(nil)
	require.ErrorIs(t, h.Settle(t.Context(), 4), fault.ErrConflict)
	require.NoError(t, h.Settle(t.Context(), 0))
	require.EqualValues(t, 2, b.taken(""))
}
