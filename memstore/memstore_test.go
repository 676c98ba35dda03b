package memstore_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) latchkey.Store { return memstore.New(nil) })
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func key(n int) (k [16]byte) {
	binary.BigEndian.PutUint64(k[:], uint64(n)+1)
	return k
}

func digest(n int) (d [32]byte) {
	// Spread as real digests are.
	binary.LittleEndian.PutUint64(d[:], uint64(n+1)*0x9E3779B97F4A7C15)
	return d
}

func revoke(n int) latchkey.Write {
	return latchkey.Write{ID: key(n), Owner: "acme", At: noon,
		Revocations: []latchkey.Revocation{{ID: fmt.Sprint(n), Until: noon}}}
}

// plain fills a store with n tokens of the usual size.
func plain(t testing.TB, s latchkey.Store, n int) {
	const batch = 1000
	for from := 0; from < n; from += batch {
		w := latchkey.Write{ID: key(from), Owner: "acme", At: noon, Silent: true}
		for i := from; i < min(n, from+batch); i++ {
			id := tokenID(i)
			w.Tokens = append(w.Tokens, latchkey.Token{
				ID: id, Owner: "acme", Kind: latchkey.KindAPIKey, Created: noon, Hint: fmt.Sprintf("ak_%02d…9Qz", i%100),
				Settings: latchkey.Settings{Name: fmt.Sprint("key ", i), Roles: []string{"01935d00-0000-7000-8000-00000000ffff"}},
			})
			w.Secrets = append(w.Secrets, latchkey.SecretChange{TokenID: id, Add: &latchkey.SecretRecord{
				Digest: digest(i), Created: noon, Hint: "ak_3f…9Qz"}})
		}
		err := s.Write(context.Background(), w)
		require.NoError(t, err)
	}
}

func tokenID(n int) string { return fmt.Sprintf("01935d00-0000-7000-8000-%012d", n) }

func TestClock(t *testing.T) {
	s := memstore.New(&memstore.Options{Clock: func() time.Time {
		return noon.In(time.FixedZone("east", 3600)).Add(1999)
	}})
	for _, n := range []int{0, 1} {
		f, err := s.Changes(context.Background(), 0, 0, n)
		require.NoError(t, err)
		assert.Equal(t, noon.Add(time.Microsecond), f.Now)
	}
}

func TestAskingForTheEpochAllocatesNothing(t *testing.T) {
	ctx, s := context.Background(), memstore.New(nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Changes(ctx, 0, 1, 0) }))
}

// What a batch of usage, a sum and a look at balances refuse, and what is beside it.
func TestUsageAndBalancesRefuse(t *testing.T) {
	ctx, s := context.Background(), memstore.New(nil)
	row := func(count int64, credits latchkey.Credits) error {
		b := latchkey.UsageBatch{ID: key(int(count) + 2), At: noon, Rows: []latchkey.UsageRow{{Owner: "acme",
			TokenID: tokenID(0), Meter: "m", Count: count, Credits: credits}}}
		return s.AddUsage(ctx, b)
	}
	require.ErrorIs(t, row(-1, 0), latchkey.ErrInvalid)
	require.ErrorIs(t, row(1, -1), latchkey.ErrInvalid)
	require.NoError(t, row(0, 5), "credits without a call")
	rows, err := s.Usage(ctx, "acme", latchkey.UsageQuery{By: []string{"meter"}})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.EqualValues(t, 5, rows[0].Credits)
	for _, by := range [][]string{{"meter", "meter"}, {"colour"}} {
		_, err := s.Usage(ctx, "acme", latchkey.UsageQuery{By: by})
		require.ErrorIs(t, err, latchkey.ErrInvalid, "%v", by)
	}

	accounts := []latchkey.CreditAccount{{Meter: "m", Limit: 7}}
	left, err := s.Balances(ctx, "acme", accounts)
	require.NoError(t, err)
	require.Equal(t, []latchkey.Credits{7}, left)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.Balances(gone, "acme", accounts)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
}
