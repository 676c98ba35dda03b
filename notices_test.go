package latchkey_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// names collects the names of a listing, and its errors.
func names(list iter.Seq2[latchkey.Token, error]) (names []string, errs []error) {
	for t, err := range list {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		names = append(names, t.Name)
	}
	return names, errs
}

func TestExpiringAndUnused(t *testing.T) {
	w := newFeedsWorld(t, 0)
	ctx, now := t.Context(), time.Now().UTC().Truncate(time.Second)
	var last latchkey.Token
	issue := func(owner, name string, end time.Time) (latchkey.Token, string) {
		t.Helper()
		tok, s, err := w.keys.For(owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name,
			Validity: latchkey.Validity{NotAfter: end}})
		require.NoError(t, err)
		return tok, s.Reveal()
	}
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	// Ends that alternate between the feeds, more of them than a page holds.
	var want []string
	for i := range 250 {
		name := fmt.Sprintf("%03d", i)
		last, _ = issue(feedOwners[i%2], name, day(10).Add(time.Duration(i)*time.Minute))
		want = append(want, name)
	}
	_, used := issue("acme", "later", day(12))
	issue("globex", "never", time.Time{})
	issue("globex", "soon", day(9))
	revoked, _ := issue("globex", "revoked", day(10))
	require.NoError(t, w.keys.For("globex").Revoke(ctx, revoked.ID, ""))
	a, err := w.verify(used)
	require.NoError(t, err)
	_, _, err = a.Mint(ctx, latchkey.Narrowing{Name: "minted", Lifetime: 240 * time.Hour})
	require.NoError(t, err)

	got, errs := names(w.keys.Expiring(ctx, day(10), day(11)))
	require.Empty(t, errs)
	require.Equal(t, want, got, "soonest first, of all feeds")
	got, _ = names(w.keys.Expiring(ctx, time.Time{}, day(10)))
	require.Equal(t, []string{"soon"}, got, "to is not included")
	got, _ = names(w.keys.Expiring(ctx, day(11), time.Time{}))
	require.Equal(t, []string{"later"}, got)
	var seen latchkey.Token
	n := 0
	for tok, err := range w.keys.Expiring(ctx, day(10), day(11)) {
		require.NoError(t, err)
		if seen = tok; n == 120 {
			break
		}
		n++
	}
	got, _ = names(w.keys.Expiring(ctx, day(10), day(11), seen))
	require.Equal(t, want[121:], got, "from where another ended")
	got, _ = names(w.keys.Expiring(ctx, day(10), day(11), last))
	require.Empty(t, got)

	// One that is used meanwhile is not among the unused, however fresh the use is.
	got, errs = names(w.keys.Unused(ctx, time.Now().Add(time.Hour)))
	require.Empty(t, errs)
	require.Contains(t, got, "later", "used, but not since then")
	got, _ = names(w.keys.Unused(ctx, now.Add(-time.Hour)))
	require.Empty(t, got, "all are newer")
	n = 0
	var part []string
	for tok, err := range w.keys.Unused(ctx, time.Now().Add(time.Hour)) {
		require.NoError(t, err)
		if part, seen = append(part, tok.Name), tok; n == 150 {
			break
		}
		n++
	}
	rest, _ := names(w.keys.Unused(ctx, time.Now().Add(time.Hour), seen))
	part = append(part, rest...)
	slices.Sort(part)
	require.Equal(t, append(slices.Clone(want), "later", "never", "soon"), part, "each once")

	// A feed that cannot be read is named, and holds up no other.
	boom := fmt.Errorf("%w: boom", latchkey.ErrUnavailable)
	w.feeds[1].fail.Store(&boom)
	for _, list := range []iter.Seq2[latchkey.Token, error]{w.keys.Expiring(ctx, day(10), day(11)),
		w.keys.Unused(ctx, time.Now().Add(time.Hour))} {
		got, errs = names(list)
		require.Len(t, errs, 1)
		require.ErrorIs(t, errs[0], latchkey.ErrUnavailable)
		require.ErrorContains(t, errs[0], "in feed 1")
		require.GreaterOrEqual(t, len(got), 125)
	}
}

// A use that waits in this process is written first.
func TestUnusedKnowsWhatThisProcessKnows(t *testing.T) {
	w := newWorld(t)
	_, text := w.key()
	w.turn(48 * time.Hour)
	since := w.now().Add(-time.Hour)
	count := func() (n int) {
		for _, err := range w.keys.Unused(w.ctx, since) {
			w.ok(err)
			n++
		}
		return n
	}
	require.Equal(t, 1, count())
	w.access(text)
	require.Zero(t, count())
}

// A damaged token is yielded with its error, and the listing goes on.
func TestExpiringPassesOverDamage(t *testing.T) {
	w := newWorld(t)
	end := w.now().Add(time.Hour)
	bad, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{NotAfter: end}})
	good, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{NotAfter: end.Add(1e9)}})
	spoil(t, w.store, bad.ID)
	var ids []string
	for tok, err := range w.keys.Expiring(w.ctx, w.now(), end.Add(time.Hour)) {
		var d *latchkey.DamagedError
		require.Equal(t, tok.ID == bad.ID, errors.As(err, &d))
		ids = append(ids, tok.ID)
	}
	require.Equal(t, []string{bad.ID, good.ID}, ids)
}
