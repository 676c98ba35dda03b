package httpadapter

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// As many reads run at once as there are refusals left. Each that was no refusal lets the next one in.
func TestGateLetsInWhatRefusalsAreLeftFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(latchkey.Rate{Count: 1, Per: time.Hour, Burst: 1}, nil)
		const place = 7
		require.NoError(t, g.enter(t.Context(), place))
		require.NoError(t, g.enter(t.Context(), place))
		entered, refused := 0, 0
		for range 4 {
			go func() {
				switch err := g.enter(t.Context(), place); {
				case err == nil:
					entered++
				case errors.Is(err, ErrAddressLimited):
					refused++
				}
			}()
			synctest.Wait()
		}
		require.Zero(t, entered, "no refusal is left")
		for i := range 3 {
			g.leave(place, false)
			synctest.Wait()
			require.Equal(t, i+1, entered)
			require.Zero(t, refused)
		}
		g.leave(place, true)
		synctest.Wait()
		require.Equal(t, 3, entered, "the refusal of the first is not given back")
		g.leave(place, true)
		synctest.Wait()
		require.Equal(t, 1, refused, "nothing runs any more that could let it in")
		require.Empty(t, g.pending)
	})
}

// One that waits alone is let in, too.
func TestGateLetsInTheLastThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(latchkey.Rate{Count: 1, Per: time.Hour, Burst: 1}, nil)
		require.NoError(t, g.enter(t.Context(), 7))
		require.NoError(t, g.enter(t.Context(), 7))
		entered := false
		go func() { entered = g.enter(t.Context(), 7) == nil }()
		synctest.Wait()
		require.False(t, entered, "no refusal is left")
		g.leave(7, false)
		synctest.Wait()
		require.True(t, entered)
		g.leave(7, true)
		g.leave(7, true)
	})
}

// A refusal costs its whole part of the time, rounded up.
func TestGateRoundsTimeUp(t *testing.T) {
	require.EqualValues(t, 20_333_333_334, NewGate(latchkey.Rate{Count: 3, Per: 61 * time.Second, Burst: 1}, nil).step)
	require.EqualValues(t, 20_000_000_000, NewGate(latchkey.Rate{Count: 3, Per: time.Minute, Burst: 1}, nil).step)
}

// Slots are of a hash with a random seed, so two addresses may share one; not with every seed.
func TestGateTellsUnknownAddressesFromTheZeroAddress(t *testing.T) {
	for range 20 {
		g := NewGate(latchkey.Rate{}, nil)
		if g.slot(netip.Addr{}) != g.slot(netip.IPv6Unspecified()) {
			return
		}
	}
	t.Error("they always have the same slot")
}

// What a host refuses by its own judgement is reported with its reason. A failure is no refusal.
func TestRefusalsOfTheHostAreReported(t *testing.T) {
	var heard []string
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { heard = append(heard, r.Reason) }}})
	assumed, err := keys.For("acme").Assume(latchkey.Client{ID: "7"}, nil)
	require.NoError(t, err)
	for _, c := range []struct {
		err  error
		want []string
	}{
		{latchkey.ErrDenied, []string{"denied"}},
		{latchkey.ErrOverLimit, []string{"over_limit"}},
		{latchkey.ErrInvalidToken, []string{"invalid"}},
		{latchkey.ErrRateLimited, []string{"rate_limited"}},
		{latchkey.ErrPolicy, []string{"other"}},
		{latchkey.ErrUnavailable, nil},
		{latchkey.ErrNotFound, nil},
		{errors.New("a failure"), nil},
		{errors.Join(&latchkey.FaultError{}, latchkey.ErrDenied), nil},
		{nil, nil},
	} {
		heard = nil
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		Refused(WithAccess(r.Context(), assumed), c.err)
		require.Equal(t, c.want, heard, "%v", c.err)
		heard = nil
		Refused(r.Context(), c.err)
		require.Empty(t, heard, "%v: nobody is known", c.err)
	}
}
