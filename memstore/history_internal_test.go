package memstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A revocation that leaves the history is kept until its token has ended, and counts as removed only then.
func TestPurgeCountsARevocationOnce(t *testing.T) {
	end := time.Unix(1_000_000, 0).UTC()
	var h history
	h.add(change{Change: latchkey.Change{Epoch: 1, Kind: latchkey.ChangedRevocation, ID: "a", Until: end}, at: 1})
	h.add(change{Change: latchkey.Change{Epoch: 2, Kind: latchkey.ChangedToken, ID: "b"}, at: 2})
	every := func(int64) bool { return true }
	require.Equal(t, 1, h.purge(10, every, micros(end)-1, 0), "that of b")
	require.Len(t, h.since(0, 10), 1, "the revocation has moved")
	require.Zero(t, h.purge(10, every, micros(end)-1, 0))
	require.Equal(t, 1, h.purge(10, every, micros(end)+1, 0))
	require.Empty(t, h.since(0, 10))
}
