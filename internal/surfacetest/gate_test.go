package surfacetest

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

func TestGate(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	g := httpadapter.NewGate(latchkey.Rate{Count: 2, Per: time.Second, Burst: 1}, func() time.Time { return now })
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	limited := func(a netip.Addr) bool {
		err := g.Exhausted(a)
		if err != nil {
			require.ErrorIs(t, err, httpadapter.ErrAddressLimited)
			require.ErrorIs(t, err, latchkey.ErrRateLimited)
			p := httpadapter.ProblemOf(err)
			require.Equal(t, 429, p.Status)
			require.Positive(t, p.RetryAfter)
		}
		return err != nil
	}
	require.False(t, limited(v4), "before anything was refused")
	g.Miss(v4)
	require.False(t, limited(v4))
	g.Miss(v4)
	require.True(t, limited(v4))
	require.True(t, limited(netip.MustParseAddr("::ffff:192.0.2.1")), "the same, written as IPv6")
	require.False(t, limited(netip.Addr{}), "an unknown address is another")
	for range 100 {
		g.Miss(v4) // refusals beyond the rate do not add up
	}
	now = now.Add(500 * time.Millisecond)
	require.False(t, limited(v4))
	g.Miss(v4)
	require.True(t, limited(v4))
	now = now.Add(-24 * time.Hour)
	require.True(t, limited(v4), "a clock that was set back refills nothing")
	now = now.Add(500 * time.Millisecond)
	require.False(t, limited(v4), "and does not block")

	for range 2 {
		g.Miss(v6)
	}
	require.True(t, limited(netip.MustParseAddr("2001:db8::ffff%eth0")))
	require.False(t, limited(netip.MustParseAddr("2001:db8:0:1::1")))
	require.Equal(t, "2001:db8::", httpadapter.AddressKey(v6))
	require.Equal(t, "192.0.2.1", httpadapter.AddressKey(netip.MustParseAddr("::ffff:192.0.2.1")))
	require.Equal(t, "unknown", httpadapter.AddressKey(netip.Addr{}))

	none := httpadapter.NewGate(latchkey.Rate{Count: -1}, nil)
	require.Nil(t, none)
	none.Miss(v4)
	require.NoError(t, none.Exhausted(v4))
	require.Panics(t, func() { httpadapter.NewGate(latchkey.Rate{Count: 1}, nil) })
	require.NotNil(t, httpadapter.NewGate(latchkey.Rate{}, nil))
}

// Requests from very many addresses do not limit another address.
func TestGateWithManyAddressesAdmitsOthers(t *testing.T) {
	g := httpadapter.NewGate(latchkey.Rate{Count: 1, Per: time.Hour, Burst: 499}, nil)
	address := [16]byte{0x20, 1, 0xd, 0xb8}
	for i := range 1 << 21 {
		address[5], address[6], address[7] = byte(i>>16), byte(i>>8), byte(i)
		g.Miss(netip.AddrFrom16(address))
	}
	require.NoError(t, g.Exhausted(netip.MustParseAddr("203.0.113.1")))
}

// A request that waits for look-ups of its address stops waiting when its context is done.
func TestWaitingForLookUpsEnds(t *testing.T) {
	store := &countingStore{Store: memstore.New(nil), wait: make(chan struct{})}
	keys := latchkey.New(store, nil)
	g := httpadapter.NewGate(latchkey.Rate{Count: 1, Per: time.Hour}, nil)
	texts := forged(t, 2)
	ended := make(chan error)
	go func() {
		_, err := keys.Verify(g.Watch(t.Context(), netip.Addr{}), latchkey.Presented{Secret: texts[0]})
		ended <- err
	}()
	for store.reads.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := keys.Verify(g.Watch(ctx, netip.Addr{}), latchkey.Presented{Secret: texts[1]})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	close(store.wait)
	require.ErrorIs(t, <-ended, latchkey.ErrUnknownToken)
	_, err = keys.Verify(g.Watch(t.Context(), netip.Addr{}), latchkey.Presented{Secret: texts[1]})
	require.ErrorIs(t, err, httpadapter.ErrAddressLimited)
	require.Equal(t, int64(1), store.reads.Load())
}

// Good signatures do not count against their address, however many there are.
func TestGoodSignaturesDoNotCount(t *testing.T) {
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Keyring: ring})
	acme := keys.For("acme")
	tok, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	_, err = acme.SigningSecret(t.Context(), tok.ID)
	require.NoError(t, err)
	g := httpadapter.NewGate(latchkey.Rate{Count: 1, Per: time.Hour}, nil)
	verify := func(good bool) error {
		_, err := keys.Verify(g.Watch(t.Context(), netip.Addr{}), latchkey.Presented{Secret: secret.Reveal(),
			Signature: &latchkey.Signature{Date: time.Now(), OK: func([]byte) bool { return good }}})
		return err
	}
	for range 5 {
		require.NoError(t, verify(true))
	}
	require.ErrorIs(t, verify(false), latchkey.ErrSignature)
	require.ErrorIs(t, verify(false), httpadapter.ErrAddressLimited)
}
