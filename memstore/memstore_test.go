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
	return latchkey.Write{ID: key(n), Owner: "acme", At: noon, Revocations: []latchkey.Revocation{{ID: fmt.Sprint(n), Until: noon}}}
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
		_, err := s.Write(context.Background(), w)
		require.NoError(t, err)
	}
}

func tokenID(n int) string { return fmt.Sprintf("01935d00-0000-7000-8000-%012d", n) }

// Whoever is further behind than the history is long is told so, and nothing that happened since is missing.
func TestHistoryIsBounded(t *testing.T) {
	const kept, extra = 65536, 100
	ctx, s := context.Background(), memstore.New(nil)
	for n := range kept + extra {
		w := revoke(n)
		w.OwnerRecord = &latchkey.Owner{ID: "acme", Version: uint64(n)}
		w.Revocations = nil
		_, err := s.Write(ctx, w)
		require.NoError(t, err)
	}
	for after, truncated := range map[uint64]bool{0: true, extra - 1: true, extra: false, extra + 1: false, kept + extra: false} {
		f, err := s.Changes(ctx, after, 10)
		require.NoError(t, err)
		assert.Equal(t, truncated, f.Truncated, "after %d", after)
		if !truncated && after < kept+extra {
			assert.Equal(t, after+1, f.Changes[0].Epoch)
		}
	}
}

// A deletion of more tokens than the history is long is one transaction all the same.
func TestHistoryOfAHugeTransaction(t *testing.T) {
	const n = 70_000
	ctx, s := context.Background(), memstore.New(nil)
	plain(t, s, n)
	w := latchkey.Write{ID: key(n), Owner: "acme", At: noon}
	for i := range n {
		w.DeleteTokens = append(w.DeleteTokens, latchkey.Ref{ID: tokenID(i)})
	}
	epoch, err := s.Write(ctx, w)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), epoch)
	assert.Zero(t, s.Len())
	f, err := s.Changes(ctx, 0, 10)
	require.NoError(t, err)
	assert.True(t, f.Truncated, "a part of the transaction is lost, so nobody may rely on it")
}

// Revocations of stateless tokens outlive the history they were written in.
func TestRevocationsOutliveHistory(t *testing.T) {
	ctx, s := context.Background(), memstore.New(nil)
	for n := range 70_000 {
		_, err := s.Write(ctx, revoke(n))
		require.NoError(t, err)
	}
	seen, after := 0, uint64(0)
	for {
		f, err := s.Changes(ctx, after, 1000)
		require.NoError(t, err)
		if len(f.Changes) == 0 {
			break
		}
		seen += len(f.Changes)
		after = f.Changes[len(f.Changes)-1].Epoch
	}
	assert.Equal(t, 70_000, seen)
}

func TestClock(t *testing.T) {
	s := memstore.New(&memstore.Options{Clock: func() time.Time { return noon.In(time.FixedZone("east", 3600)).Add(1999) }})
	for _, n := range []int{0, 1} {
		f, err := s.Changes(context.Background(), 0, n)
		require.NoError(t, err)
		assert.Equal(t, noon.Add(time.Microsecond), f.Now)
	}
}

func TestAskingForTheEpochAllocatesNothing(t *testing.T) {
	ctx, s := context.Background(), memstore.New(nil)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.Changes(ctx, 1, 0) }))
}

// Ids in no order, removed and put again, are listed in byte order all the same.
func TestListingInAnyOrder(t *testing.T) {
	ctx, s := context.Background(), memstore.New(nil)
	const n, step = 1000, 387 // 387 n-th steps visit every id once
	write := 0
	do := func(w latchkey.Write) {
		write++
		w.ID, w.Owner, w.At = key(write), "acme", noon
		_, err := s.Write(ctx, w)
		require.NoError(t, err)
	}
	for round := range 2 {
		for i := range n {
			id := tokenID(i * step % n)
			do(latchkey.Write{Tokens: []latchkey.Token{{ID: id, Owner: "acme", Kind: latchkey.KindAPIKey, Created: noon}}})
		}
		page, err := s.Tokens(ctx, "acme", latchkey.TokenQuery{Page: latchkey.Page{Limit: n}})
		require.NoError(t, err)
		require.Len(t, page, n)
		for i := range page {
			require.Equal(t, tokenID(i), page[i].ID, "round %d", round)
		}
		for i := range n - round { // the second time, one is left
			do(latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: tokenID(i * step % n)}}})
		}
	}
	page, err := s.Tokens(ctx, "acme", latchkey.TokenQuery{})
	require.NoError(t, err)
	assert.Len(t, page, 1)
	assert.Equal(t, 1, s.Len())
}
