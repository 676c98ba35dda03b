package memstore

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A revocation that leaves the history is kept until its token has ended, and counts as removed only then.
func TestPurgeCountsARevocationOnce(t *testing.T) {
	end := time.Unix(1_000_000, 0).UTC()
	s := New(nil)
	for i := range uint64(3) {
		s.history.add(change{Change: latchkey.Change{Epoch: 1 + i, Kind: latchkey.ChangedRevocation, ID: fmt.Sprint(i),
			Until: end}, at: 1})
	}
	s.history.add(change{Change: latchkey.Change{Epoch: 4, Kind: latchkey.ChangedToken, ID: "b"}, at: 2})
	purge := func(now time.Time, n int) int {
		removed, err := s.Purge(t.Context(), latchkey.PurgePolicy{Now: now, Changes: time.Hour}, n)
		require.NoError(t, err)
		return removed
	}
	require.Equal(t, 1, purge(end.Add(-time.Microsecond), 3), "that of b, behind as many revocations as a call may remove")
	require.Len(t, s.history.since(0, 10), 3, "the revocations have moved")
	require.Zero(t, purge(end.Add(-time.Microsecond), 3))
	require.Equal(t, 1, purge(end, 1))
	require.Len(t, s.history.since(0, 10), 2)
	require.Len(t, s.history.lasting(0), 2)
	require.Equal(t, 1, purge(end, 1))
	require.Equal(t, 1, purge(end, 3))
	require.Empty(t, s.history.since(0, 10))
	require.Empty(t, s.history.revoked)
}

// The changes of one transaction have their places, from its second one on.
func TestPlacesOfChanges(t *testing.T) {
	var h history
	for _, epoch := range []uint64{1, 1, 1, 2, 3, 3} {
		h.add(change{Change: latchkey.Change{Epoch: epoch}})
	}
	var places []uint64
	for _, c := range h.rows {
		places = append(places, c.place)
	}
	require.Equal(t, []uint64{0, 1, 2, 0, 0, 1}, places)
}

// Revocations last until their end, which is included, whether they are among the latest changes or were kept.
func TestLasting(t *testing.T) {
	at := func(us int64) time.Time { return time.UnixMicro(us).UTC() }
	var h history
	for i := range int64(4) {
		h.add(change{Change: latchkey.Change{Epoch: uint64(1 + i), Kind: latchkey.ChangedRevocation, ID: fmt.Sprint(i),
			Until: at(10 * i)}})
	}
	h.add(change{Change: latchkey.Change{Epoch: 5, Kind: latchkey.ChangedToken, ID: "token", Until: at(90)}})
	ids := func(until int64) (ids []string) {
		for _, c := range h.lasting(until) {
			ids = append(ids, c.ID)
		}
		return ids
	}
	for range 2 {
		require.Equal(t, []string{"0", "1", "2", "3"}, ids(0))
		require.Equal(t, []string{"1", "2", "3"}, ids(1))
		require.Equal(t, []string{"2", "3"}, ids(20))
		require.Equal(t, []string{"3"}, ids(21))
		require.Empty(t, ids(31))
		if len(h.revoked) == 0 {
			h.drop(3) // now the first three are kept apart
			require.Len(t, h.revoked, 3)
		}
	}
	h.forget(h.revoked[2])
	require.Equal(t, []string{"3"}, ids(20))
}

// A page is of whole transactions, as many as fit, and of one if the first does not fit.
func TestPagesOfChanges(t *testing.T) {
	var h history
	for _, epoch := range []uint64{1, 2, 2, 2, 3, 3, 4} {
		h.add(change{Change: latchkey.Change{Epoch: epoch}})
	}
	for _, c := range []struct {
		after  uint64
		n      int
		epochs []uint64
	}{
		{0, 1, []uint64{1}}, {0, 2, []uint64{1}}, {0, 3, []uint64{1}}, {0, 4, []uint64{1, 2, 2, 2}},
		{0, 5, []uint64{1, 2, 2, 2}}, {0, 6, []uint64{1, 2, 2, 2, 3, 3}}, {0, 7, []uint64{1, 2, 2, 2, 3, 3, 4}},
		{1, 1, []uint64{2, 2, 2}}, {1, 3, []uint64{2, 2, 2}}, {1, 4, []uint64{2, 2, 2}}, {2, 1, []uint64{3, 3}},
		{3, 1, []uint64{4}}, {3, 9, []uint64{4}}, {4, 1, nil},
	} {
		var epochs []uint64
		for _, change := range h.since(c.after, c.n) {
			epochs = append(epochs, change.Epoch)
		}
		require.Equal(t, c.epochs, epochs, "%d changes after %d", c.n, c.after)
	}
}

// Kept revocations that were removed take no place once they are more than half of those that are kept.
func TestRemovedRevocationsTakeNoPlace(t *testing.T) {
	var h history
	for i := range uint64(10) {
		h.revoked = append(h.revoked, &change{Change: latchkey.Change{Epoch: 1 + i, Kind: latchkey.ChangedRevocation,
			Until: time.Unix(1, 0)}})
	}
	kept := slices.Clone(h.revoked)
	for i, length := range []int{10, 10, 10, 10, 10, 4, 4, 4, 1, 0} {
		h.forget(kept[i])
		require.Len(t, h.revoked, length, i)
		require.Len(t, h.lasting(0), 9-i)
	}
}
