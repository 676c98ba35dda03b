package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/visit"
	"github.com/latchkey-go/latchkey/latchkeytest"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

// feedsWorld is a Manager over a store of two feeds. Acme is in the first, globex in the second.
type feedsWorld struct {
	*testing.T
	feeds [2]*meddler
	store latchkey.Store
	keys  *latchkey.Manager
}

var feedOwners = [2]string{"acme", "globex"}

func newFeedsWorld(t *testing.T, maxStale time.Duration) *feedsWorld {
	w := &feedsWorld{T: t, feeds: [2]*meddler{{Store: memstore.New(nil)}, {Store: memstore.New(nil)}}}
	w.store = storetest.NewFeeds(w.feeds[0], w.feeds[1])
	for i, owner := range feedOwners {
		require.EqualValues(t, i, w.store.Locate(owner).Feed)
	}
	w.keys = w.manager(maxStale)
	return w
}

func (w *feedsWorld) manager(maxStale time.Duration) *latchkey.Manager {
	keys := latchkey.New(w.store, &latchkey.Options{MaxStale: maxStale, Imported: func(string) bool { return true }})
	w.Cleanup(func() { _ = keys.Close(context.Background()) })
	return keys
}

func (w *feedsWorld) issue(owner string) (latchkey.Token, string) {
	w.Helper()
	t, s, err := w.keys.For(owner).Issue(w.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
	require.NoError(w, err)
	return t, s.Reveal()
}

func (w *feedsWorld) verify(text string) (latchkey.Access, error) {
	return w.keys.Verify(w.Context(), latchkey.Presented{Secret: text})
}

// forget gives the world a new Manager, which knows nothing.
func (w *feedsWorld) forget() { w.keys = w.manager(w.keys.MaxStale()) }

func (w *feedsWorld) count() (lookups, epochs [2]int64) {
	for i, f := range w.feeds {
		lookups[i], epochs[i] = f.lookups.Swap(0), f.epochs.Swap(0)
	}
	return lookups, epochs
}

// A cached Verify reads the epoch of the owner's feed, once, and nothing of another feed.
func TestVerifyReadsOneFeed(t *testing.T) {
	w := newFeedsWorld(t, 0)
	for i, owner := range feedOwners {
		_, text := w.issue(owner)
		_, err := w.verify(text)
		require.NoError(t, err)
		w.count()
		_, err = w.verify(text)
		require.NoError(t, err)
		lookups, epochs := w.count()
		want := [2]int64{}
		want[i] = 1
		assert.Equal(t, want, epochs, owner)
		assert.Zero(t, lookups, owner)
	}
}

// The text of a token carries its owner's slot, so that a look-up asks the owner's feed first. Other texts cost another
// look-up, and a slot that lies does too. It decides about nothing.
func TestTextsCarryASlot(t *testing.T) {
	w := newFeedsWorld(t, 0)
	for i, owner := range feedOwners {
		slot := w.store.Locate(owner).Slot
		_, text := w.issue(owner)
		assert.EqualValues(t, slot, tokentext.Slot(text), owner)
		w.forget()
		w.count()
		a, err := w.verify(text)
		require.NoError(t, err)
		assert.Equal(t, owner, a.Owner())
		lookups, _ := w.count()
		want := [2]int64{}
		want[i] = 1
		assert.Equal(t, want, lookups, "%s: the slot leads to the right feed", owner)

		minted, secret, err := a.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
		require.NoError(t, err)
		assert.EqualValues(t, slot, tokentext.Slot(secret.Reveal()), "a minted token")
		rotated, err := w.keys.For(owner).Rotate(t.Context(), minted.Parent, 0)
		require.NoError(t, err)
		assert.EqualValues(t, slot, tokentext.Slot(rotated.Reveal()), "a rotated secret")

		lie, err := tokentext.New(nil, tokentext.APIKey, "", uint16(w.store.Locate(feedOwners[1-i]).Slot))
		require.NoError(t, err)
		for _, text := range []string{lie, "a text of another system " + owner} {
			_, err = w.keys.For(owner).Import(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey}, text)
			require.NoError(t, err)
			a, err = w.verify(text)
			require.NoError(t, err)
			assert.Equal(t, owner, a.Owner())
			_, err = w.keys.For(feedOwners[1-i]).Import(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey}, text)
			assert.ErrorIs(t, err, latchkey.ErrExists, "a text is a token of one owner only, also across feeds")
		}
	}
	plain := latchkey.New(memstore.New(nil), nil)
	slots := map[uint16]bool{}
	for range 20 {
		_, secret, err := plain.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		slots[tokentext.Slot(secret.Reveal())] = true
	}
	assert.Greater(t, len(slots), 1, "a store without slots: these characters are random, too")
}

// While one feed cannot be read, owners of the other notice nothing.
func TestOneFeedIsDown(t *testing.T) {
	for run := range 4 {
		down, up := run%2, 1-run%2
		here, away := feedOwners[up], feedOwners[down]
		w := newFeedsWorld(t, time.Duration(run/2))
		ctx := t.Context()
		var texts [2]string
		var tokens [2]latchkey.Token
		for i, owner := range feedOwners {
			tokens[i], texts[i] = w.issue(owner)
			_, err := w.verify(texts[i])
			require.NoError(t, err)
		}
		w.feeds[down].fail.Store(&latchkey.ErrUnavailable)

		started := w.manager(0) // while the feed is missing
		_, err := started.Verify(ctx, latchkey.Presented{Secret: texts[up]})
		assert.NoError(t, err)
		_, err = started.Verify(ctx, latchkey.Presented{Secret: texts[down]})
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)

		a, err := w.verify(texts[up])
		require.NoError(t, err)
		_, _, err = a.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
		assert.NoError(t, err)
		_, err = w.keys.For(here).Assume(latchkey.Client{ID: "42"}, nil)
		assert.NoError(t, err)
		_, fresh := w.issue(here)
		_, err = w.verify(fresh)
		assert.NoError(t, err, "not cached")
		_, err = w.keys.For(here).Update(ctx, tokens[up].ID, func(t *latchkey.Token) error { t.Name = "x"; return nil })
		assert.NoError(t, err)

		_, err = w.verify(texts[down])
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		assert.NotErrorIs(t, err, latchkey.ErrInvalidToken)
		_, _, err = w.keys.For(away).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		unknown, err := tokentext.New(nil, tokentext.APIKey, "", uint16(w.store.Locate(here).Slot))
		require.NoError(t, err)
		_, err = w.verify(unknown)
		assert.ErrorIs(t, err, latchkey.ErrUnavailable, "it may be in the feed that is down, whatever its slot says")

		require.NoError(t, w.keys.For(here).Revoke(ctx, tokens[up].ID, "leaked"))
		_, err = w.verify(texts[up])
		assert.ErrorIs(t, err, latchkey.ErrRevoked)
		_, err = w.keys.Purge(ctx)
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		assert.ErrorContains(t, err, fmt.Sprint("feed ", down))

		w.feeds[down].fail.Store(nil)
		_, err = w.verify(texts[down])
		assert.NoError(t, err)
		_, err = w.verify(unknown)
		assert.ErrorIs(t, err, latchkey.ErrUnknownToken)
		_, err = w.keys.Purge(ctx)
		assert.NoError(t, err)
	}
}

// Purge removes what is over in the feeds that can be read.
func TestPurgeGoesOnWithoutAFeed(t *testing.T) {
	for down := range feedOwners {
		w := newFeedsWorld(t, 0)
		o := latchkey.Options{KeepRevoked: time.Nanosecond}
		keys := latchkey.New(w.store, &o)
		for _, owner := range feedOwners {
			token, _ := w.issue(owner)
			require.NoError(t, w.keys.For(owner).Revoke(t.Context(), token.ID, ""))
		}
		w.feeds[down].fail.Store(&latchkey.ErrUnavailable)
		n, err := keys.Purge(t.Context())
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		assert.Equal(t, 1, n)
		w.feeds[down].fail.Store(nil)
		n, err = keys.Purge(t.Context())
		assert.NoError(t, err)
		assert.Equal(t, 1, n)
	}
}

// stalled is a store that does not answer before the context ends.
type stalled struct{ latchkey.Store }

func (stalled) Changes(ctx context.Context, _ latchkey.FeedID, _ uint64, _ int) (latchkey.Feed, error) {
	<-ctx.Done()
	return latchkey.Feed{}, fmt.Errorf("%w: %w", latchkey.ErrUnavailable, ctx.Err())
}

// A feed that does not answer does not keep Purge from the others.
func TestPurgeDoesNotWaitForAFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		purged := &meddler{Store: memstore.New(nil)}
		o := latchkey.Options{KeepRevoked: time.Nanosecond}
		keys := latchkey.New(storetest.NewFeeds(stalled{memstore.New(nil)}, purged), &o)
		token, _, err := keys.For("globex").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		require.NoError(t, keys.For("globex").Revoke(t.Context(), token.ID, ""))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := keys.Purge(ctx)
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		assert.Equal(t, 1, n)
		_ = keys.Close(t.Context())
	})
}

// busyFeed is a store in whose feed others change something whenever it is read.
type busyFeed struct {
	latchkey.Store
	busy  atomic.Bool
	reads atomic.Int64
}

func (s *busyFeed) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	if n > 0 && s.busy.Load() {
		s.reads.Add(1)
		id, _ := uuid.NewV7()
		for i := range byte(3) {
			id[15] = i
			w := latchkey.Write{ID: id, Owner: "globex", At: time.Now(), Revocations: []latchkey.Revocation{{ID: "x"}}}
			if err := s.Store.Write(ctx, w); err != nil {
				return latchkey.Feed{}, err
			}
		}
		n = 1
	}
	return s.Store.Changes(ctx, feed, after, n)
}

// A process's own change takes effect at once, however fast others change something meanwhile.
func TestOwnChangesAmongThoseOfOthers(t *testing.T) {
	store := &busyFeed{Store: memstore.New(nil)}
	keys := latchkey.New(store, &latchkey.Options{MaxStale: time.Hour})
	token, s, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: s.Reveal()})
	require.NoError(t, err)
	store.busy.Store(true)
	require.NoError(t, keys.For("acme").Revoke(t.Context(), token.ID, ""))
	assert.Less(t, store.reads.Load(), int64(20), "it does not follow what comes after its own")
	store.busy.Store(false)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: s.Reveal()})
	assert.ErrorIs(t, err, latchkey.ErrRevoked)
}

// visits counts how look-ups of unknown credentials ended.
type visits struct{ missed, found atomic.Int64 }

func (*visits) Enter(context.Context) error { return nil }

func (*visits) Refused(any) {}

func (v *visits) Leave(missed bool) {
	if missed {
		v.missed.Add(1)
	} else {
		v.found.Add(1)
	}
}

// While a feed is down, texts of nobody are read from the others: they count as unknown, so that an address cannot
// present any number of them. If no feed can be read, nobody is charged for it.
func TestUnknownTextsCountWhileAFeedIsDown(t *testing.T) {
	look := func(keys *latchkey.Manager) *visits {
		v := &visits{}
		text, err := tokentext.New(nil, tokentext.APIKey, "", 1)
		require.NoError(t, err)
		_, err = keys.Verify(context.WithValue(t.Context(), visit.Key{}, visit.Visit(v)), latchkey.Presented{Secret: text})
		require.ErrorIs(t, err, latchkey.ErrUnavailable)
		return v
	}
	w := newFeedsWorld(t, 0)
	w.feeds[1].fail.Store(&latchkey.ErrUnavailable)
	assert.EqualValues(t, 1, look(w.keys).missed.Load())
	plain := &meddler{Store: memstore.New(nil)}
	plain.fail.Store(&latchkey.ErrUnavailable)
	assert.EqualValues(t, 1, look(latchkey.New(plain, nil)).found.Load())
}

// slotStore is a store that names one slot for every owner.
type slotStore struct {
	latchkey.Store
	slot latchkey.Slot
}

func (s *slotStore) Locate(string) latchkey.Location { return latchkey.Location{Slot: s.slot} }

// A text can carry the highest slot. What a store gets wrong is not the caller's mistake.
func TestASlotThatDoesNotExist(t *testing.T) {
	store := &slotStore{memstore.New(nil), latchkey.MaxSlot}
	keys := latchkey.New(store, nil)
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	access, err := keys.For("acme").Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	store.slot++
	_, _, err = keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	assert.ErrorIs(t, err, latchkey.ErrUnavailable)
	assert.NotErrorIs(t, err, latchkey.ErrInvalid)
	_, _, err = access.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
	assert.ErrorIs(t, err, latchkey.ErrUnavailable)
	assert.NotErrorIs(t, err, latchkey.ErrInvalid)
}

// restored is a store that can be replaced by an older copy of it.
type restored struct {
	latchkey.Store
	now atomic.Pointer[latchkey.Store]
}

func (s *restored) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	return (*s.now.Load()).Changes(ctx, feed, after, n)
}

func (s *restored) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	return (*s.now.Load()).ByDigest(ctx, slot, d...)
}

// When a feed was restored from an older backup, what was cached of it is dropped, and nothing of another feed.
func TestOneFeedIsRestored(t *testing.T) {
	backup := memstore.New(nil)
	second := &restored{Store: memstore.New(nil)}
	second.now.Store(&second.Store)
	first := &meddler{Store: memstore.New(nil)}
	keys := latchkey.New(storetest.NewFeeds(first, second), nil)
	issue := func(owner string) string {
		_, s, err := keys.For(owner).Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: s.Reveal()})
		require.NoError(t, err)
		return s.Reveal()
	}
	acme, globex := issue("acme"), issue("globex")
	for range 3 { // the backup is older than this
		err := keys.For("globex").Configure(t.Context(), func(o *latchkey.Owner) error {
			o.Limits = monthly(latchkey.Credits(o.Version))
			return nil
		})
		require.NoError(t, err)
		globex = issue("globex")
	}
	older := latchkey.Store(backup)
	second.now.Store(&older)
	first.lookups.Store(0)
	_, err := keys.Verify(t.Context(), latchkey.Presented{Secret: globex})
	assert.ErrorIs(t, err, latchkey.ErrUnknownToken, "the backup does not have it")
	first.lookups.Store(0)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: acme})
	assert.NoError(t, err)
	assert.Zero(t, first.lookups.Load(), "what is cached of the other feed stays")
}

// A store that was restored to the very epoch up to which the cache has followed it is noticed, because something was
// read at a later one.
func TestAStoreIsRestoredToTheEpochOfTheCache(t *testing.T) {
	store := &restored{Store: memstore.New(nil)}
	store.now.Store(&store.Store)
	keys := latchkey.New(store, nil)
	issue := func() string {
		_, s, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: s.Reveal()})
		require.NoError(t, err)
		return s.Reveal()
	}
	issue()
	err := keys.For("acme").Configure(t.Context(), func(o *latchkey.Owner) error { o.Limits = monthly(1); return nil })
	require.NoError(t, err)
	lost := issue()
	backup := latchkey.Store(memstore.New(nil))
	store.now.Store(&backup)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: lost})
	assert.ErrorIs(t, err, latchkey.ErrUnknownToken)
}

// elsewhere is a store that says what it finds is in a feed that it does not have.
type elsewhere struct{ latchkey.Store }

func (s elsewhere) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, slot, d...)
	f.Feed = 7
	return f, err
}

func (s elsewhere) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	f.Feed = 7
	return f, err
}

// An answer from a feed that the store does not have is none.
func TestAFeedThatTheStoreLacks(t *testing.T) {
	store := memstore.New(nil)
	keys := latchkey.New(store, nil)
	token, s, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	a, err := keys.Verify(t.Context(), latchkey.Presented{Secret: s.Reveal()})
	require.NoError(t, err)
	_ = a
	lying := latchkey.New(elsewhere{store}, nil)
	_, err = lying.Verify(t.Context(), latchkey.Presented{Secret: s.Reveal()})
	assert.ErrorIs(t, err, latchkey.ErrUnavailable)
	assert.ErrorContains(t, err, "feed 7")
	_, err = lying.For("acme").Explain(t.Context(), token.ID, latchkey.Question{Action: latchkey.Read})
	assert.ErrorIs(t, err, latchkey.ErrUnavailable)
}

// Once Revoke has returned nothing is accepted, in whatever feed, while others change and look up.
func TestRevocationsInSeveralFeeds(t *testing.T) {
	w := newFeedsWorld(t, 0)
	var all sync.WaitGroup
	for g := range 4 {
		owner := feedOwners[g%2]
		all.Go(func() {
			for range 50 {
				token, secret, err := w.keys.For(owner).Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
				if err != nil {
					t.Error(err)
					return
				}
				for range 2 {
					if _, err := w.verify(secret.Reveal()); err != nil {
						t.Error(err)
					}
				}
				if err := w.keys.For(owner).Revoke(t.Context(), token.ID, ""); err != nil {
					t.Error(err)
				}
				if _, err := w.verify(secret.Reveal()); !errors.Is(err, latchkey.ErrRevoked) {
					t.Errorf("accepted after Revoke had returned: %v", err)
				}
			}
		})
	}
	all.Wait()
}

// A slot takes the place of two random characters. Length, check and pattern stay.
func TestSlotsLeaveTheFormOfATextAlone(t *testing.T) {
	w := newFeedsWorld(t, 0)
	plain := latchkey.New(memstore.New(nil), nil)
	_, with := w.issue("acme")
	_, s, err := plain.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	assert.Len(t, with, len(s.Reveal()))
	assert.True(t, strings.HasPrefix(with, "ak_"))
	_, shape := tokentext.Read(with)
	assert.Equal(t, tokentext.Native, shape)
}

// A text is a token of one owner at most, in whichever feed that owner is.
func TestATextIsOfOneOwnerInAllFeeds(t *testing.T) {
	w := newFeedsWorld(t, 0)
	const text = "a-text-of-somewhere-else-1234567890"
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
	for _, first := range feedOwners {
		for _, second := range feedOwners {
			text := text + first + second
			_, err := w.keys.For(first).Import(t.Context(), spec, text)
			require.NoError(t, err)
			_, err = w.keys.For(second).Import(t.Context(), spec, text)
			require.ErrorIs(t, err, latchkey.ErrExists, "%s, then %s", first, second)
			a, err := w.verify(text)
			require.NoError(t, err)
			require.Equal(t, first, a.Owner())
		}
	}
}

// narrowStore is a store whose pages of owners with events hold one owner.
type narrowStore struct{ latchkey.Store }

func (s narrowStore) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) (
	[]latchkey.Delivery, string, error) {
	q.Page.Limit = 1
	return s.Store.Undelivered(ctx, q)
}

// Purge says of the owners of each feed which of their events are gone, however many they are.
func TestPurgeAnnouncesInEachFeed(t *testing.T) {
	clock := latchkeytest.NewClock(time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC))
	store := storetest.NewFeeds(memstore.New(&memstore.Options{Clock: clock.Now}),
		memstore.New(&memstore.Options{Clock: clock.Now}))
	keys := latchkey.New(narrowStore{store}, &latchkey.Options{Clock: clock.Now, KeepEvents: time.Hour})
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	owners := append(feedOwners[:], "a third", "a fourth", "a fifth")
	issue := func(owner string) {
		_, _, err := keys.For(owner).Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
	}
	for i, owner := range feedOwners {
		require.EqualValues(t, i, store.Locate(owner).Feed)
	}
	for _, owner := range owners {
		issue(owner)
		issue(owner)
	}
	clock.Advance(3 * time.Hour)
	for _, owner := range owners {
		issue(owner)
	}
	for range 2 {
		_, err := keys.Purge(t.Context())
		require.NoError(t, err)
	}
	for _, owner := range owners {
		r, err := keys.For(owner).VerifyAudit(t.Context(), latchkey.AuditCheck{})
		require.NoError(t, err)
		require.True(t, r.Proven(), "%s: %+v", owner, r)
		require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 2}}, r.Removed, owner)
	}
}

// More may have changed since a process last looked than one reading of the feed holds. It reads on until it knows all.
func TestARevocationBehindManyChanges(t *testing.T) {
	w := newWorld(t)
	revoked, secret := w.key(readAll())
	spare, _ := w.key(readAll())
	w.access(secret)
	other := latchkey.New(w.store, &latchkey.Options{Clock: w.now}).For("acme")
	for i := range 4100 {
		_, err := other.Update(w.ctx, spare.ID, func(t *latchkey.Token) error { t.Name = strconv.Itoa(i); return nil })
		w.ok(err)
	}
	w.ok(other.Revoke(w.ctx, revoked.ID, ""))
	before := w.store.epochs.Load()
	_, err := w.verify(secret)
	w.is(latchkey.ErrRevoked, err)
	require.GreaterOrEqual(t, w.store.epochs.Load()-before, int64(2), "control: one reading does not hold them")
}
