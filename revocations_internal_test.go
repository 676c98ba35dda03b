package latchkey

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// revoked is a change that revokes a token until a second after 1970.
func revoked(id string, until int64) Change {
	return Change{Owner: "acme", Kind: ChangedRevocation, Of: RevokedToken, ID: id, Until: time.Unix(until, 0)}
}

func (r *revocations) ids() (all []string) {
	for key := range r.of {
		all = append(all, key.id)
	}
	return all
}

// What the feed tells is taken if it joins on to what is known. After a gap nothing is, so that all are read again.
func TestRevocationsAreFollowedWithoutGaps(t *testing.T) {
	for name, c := range map[string]struct {
		unknown   bool
		after, at uint64
		taken     bool
		epoch     uint64
	}{
		"what comes next":       {false, 5, 7, true, 7},
		"what overlaps":         {false, 3, 6, true, 6},
		"what is known already": {false, 3, 5, false, 5},
		"after a gap":           {false, 6, 8, false, 5},
		"before all were read":  {true, 5, 7, false, 5},
	} {
		r := revocations{known: !c.unknown, epoch: 5, of: map[revocationKey]revokedBefore{}}
		r.follow(c.after, []Change{revoked("a", 100), {Kind: ChangedRole, Owner: "acme", ID: "r"}}, c.at, 0)
		require.Equal(t, c.taken, len(r.of) == 1, name)
		require.Equal(t, c.epoch, r.epoch, name)
		require.Equal(t, !c.unknown, r.reaches(5), name)
		require.Equal(t, c.taken && c.at == 7, r.reaches(7), name)
	}
}

// A read of all takes what the feed told meanwhile, up to a gap. What is known by then stays if it reaches further.
func TestRevocationsReadWhileOthersAreMade(t *testing.T) {
	found := []Change{revoked("found", 100)}
	var r revocations
	reader := r.begin(5)
	r.follow(5, []Change{revoked("told", 100)}, 7, 0)
	r.follow(7, []Change{revoked("next", 100)}, 8, 0)
	r.follow(9, []Change{revoked("after a gap", 100)}, 10, 0)
	r.follow(6, []Change{revoked("older", 100)}, 8, 0)
	require.False(t, r.reaches(0))
	r.end(reader, found, true, 0)
	require.ElementsMatch(t, []string{"found", "told", "next"}, r.ids())
	require.True(t, r.reaches(8))
	require.False(t, r.reaches(9))

	slow := r.begin(6)
	r.end(slow, nil, true, 0)
	require.Len(t, r.of, 3, "it ends behind one that reaches further")
	same := r.begin(8)
	r.end(same, nil, true, 0)
	require.Len(t, r.of, 3, "it says nothing new")
	failed := r.begin(20)
	r.end(failed, nil, false, 0)
	require.Len(t, r.of, 3)
	gone := r.begin(30)
	r.forget()
	r.end(gone, found, true, 0)
	require.False(t, r.reaches(0), "it read of a history that is no more")
	require.Empty(t, r.of)
	require.Empty(t, r.readers)
}

// Of two revocations that name the same tokens the later ends count, each by itself. One without Before spares nobody.
func TestRevocationsOfTheSameTokens(t *testing.T) {
	key := revocationKey{"acme", RevokedToken, "a"}
	at := func(before, until int64) Change {
		c := revoked("a", until)
		if before != 0 {
			c.Before = time.Unix(before, 0)
		}
		return c
	}
	for name, c := range map[string]struct {
		all  []Change
		want revokedBefore
	}{
		"one":                {[]Change{at(10, 20)}, revokedBefore{10e6, 20e6}},
		"a later one":        {[]Change{at(10, 20), at(11, 21)}, revokedBefore{11e6, 21e6}},
		"an earlier one":     {[]Change{at(11, 21), at(10, 20)}, revokedBefore{11e6, 21e6}},
		"each by itself":     {[]Change{at(10, 21), at(11, 20)}, revokedBefore{11e6, 21e6}},
		"of all":             {[]Change{at(0, 20), at(10, 21)}, revokedBefore{math.MaxInt64, 21e6}},
		"of all, as another": {[]Change{at(10, 21), at(0, 20)}, revokedBefore{math.MaxInt64, 21e6}},
	} {
		r := revocations{of: map[revocationKey]revokedBefore{}}
		for i := range c.all {
			r.add(&c.all[i])
		}
		require.Equal(t, map[revocationKey]revokedBefore{key: c.want}, r.of, name)
	}
	r := revocations{of: map[revocationKey]revokedBefore{}}
	r.add(&Change{Owner: "acme", Kind: ChangedRevocation, ID: "without an end"})
	r.add(&Change{Owner: "acme", Kind: ChangedToken, ID: "no revocation", Until: time.Unix(1, 0)})
	require.Empty(t, r.of)
}

// What is over is dropped once it may be half of what is kept, and never before every clock says so.
func TestRevocationsThatAreOverAreDropped(t *testing.T) {
	const now = int64(1_900_000_000_000_000)
	over := now - clockBound.Microseconds()
	r := revocations{of: map[revocationKey]revokedBefore{}, prune: 3}
	keep := func(id string, until int64) { r.of[revocationKey{"acme", RevokedToken, id}] = revokedBefore{1, until} }
	keep("a", over)
	keep("b", over+1)
	keep("c", now)
	r.drop(now)
	require.Len(t, r.of, 3, "they are not many")
	keep("d", over-1)
	r.drop(now)
	require.Len(t, r.of, 2)
	require.Contains(t, r.of, revocationKey{"acme", RevokedToken, "b"})
	require.Contains(t, r.of, revocationKey{"acme", RevokedToken, "c"})
	require.Equal(t, 1004, r.prune)

	// So it is with what the feed tells, and with what was read.
	old := Change{Owner: "acme", Kind: ChangedRevocation, ID: "old", Until: fromMicros(over)}
	r.known, r.prune = true, 0
	r.follow(0, []Change{old}, 1, now)
	require.Len(t, r.of, 2)
	r.prune = 0
	r.end(r.begin(2), []Change{old}, true, now)
	require.Empty(t, r.of)
	require.True(t, r.reaches(2))
}
