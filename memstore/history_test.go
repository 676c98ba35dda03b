package memstore_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A reader that is behind the history gets Truncated. For others no change is missing.
func TestHistoryIsBounded(t *testing.T) {
	const kept, extra = 65536, 100
	ctx, s := context.Background(), memstore.New(nil)
	for n := range kept + extra {
		w := revoke(n)
		w.OwnerRecord = &latchkey.Owner{ID: "acme", Version: uint64(n)}
		w.Revocations = nil
		err := s.Write(ctx, w)
		require.NoError(t, err)
	}
	for after, truncated := range map[uint64]bool{0: true, extra - 1: true, extra: false, extra + 1: false,
		kept + extra: false} {
		f, err := s.Changes(ctx, 0, after, 10)
		require.NoError(t, err)
		assert.Equal(t, truncated, f.Truncated, "after %d", after)
		if !truncated && after < kept+extra {
			assert.Equal(t, after+1, f.Changes[0].Epoch)
		}
	}
}

// A deletion of more tokens than the history holds is one transaction.
func TestHistoryOfAHugeTransaction(t *testing.T) {
	const n = 70_000
	ctx, s := context.Background(), memstore.New(nil)
	plain(t, s, n)
	w := latchkey.Write{ID: key(n), Owner: "acme", At: noon}
	for i := range n {
		w.DeleteTokens = append(w.DeleteTokens, latchkey.Ref{ID: tokenID(i)})
	}
	require.NoError(t, s.Write(ctx, w))
	assert.Zero(t, s.Len())
	f, err := s.Changes(ctx, 0, 0, 10)
	require.NoError(t, err)
	assert.Equal(t, uint64(1), f.Epoch)
	assert.True(t, f.Truncated, "a part of the transaction is lost, so no reader may rely on it")
}

// Revocations of stateless tokens outlive the history they were written in.
func TestRevocationsOutliveHistory(t *testing.T) {
	ctx, s := context.Background(), memstore.New(nil)
	for n := range 70_000 {
		err := s.Write(ctx, revoke(n))
		require.NoError(t, err)
	}
	seen, after := 0, uint64(0)
	for {
		f, err := s.Changes(ctx, 0, after, 1000)
		require.NoError(t, err)
		if len(f.Changes) == 0 {
			break
		}
		seen += len(f.Changes)
		after = f.Changes[len(f.Changes)-1].Epoch
	}
	assert.Equal(t, 70_000, seen)
}
