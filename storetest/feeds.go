package storetest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// NewFeeds returns a Store of several feeds, for tests of what uses a Store. Feed n is that of feeds[n], a store with
// one feed. Owners are spread over the feeds by their slots, which their tokens' texts carry. It does not close the
// stores.
func NewFeeds(feeds ...latchkey.Store) latchkey.Store { return (*severalFeeds)(&feeds) }

// severalFeeds holds a store for each feed.
type severalFeeds []latchkey.Store

// Feeds implements latchkey.Store.
func (s *severalFeeds) Feeds() []latchkey.FeedID {
	ids := make([]latchkey.FeedID, len(*s))
	for i := range *s {
		ids[i] = latchkey.FeedID(i)
	}
	return ids
}

// Locate implements latchkey.Store.
func (s *severalFeeds) Locate(owner string) latchkey.Location {
	h := fnv.New32a()
	h.Write([]byte(owner))
	slot := 1 + latchkey.Slot(h.Sum32()%uint32(latchkey.MaxSlot))
	return latchkey.Location{Feed: s.feedOf(slot), Slot: slot}
}

func (s *severalFeeds) feedOf(slot latchkey.Slot) latchkey.FeedID {
	return latchkey.FeedID(int(slot) % len(*s))
}

// store returns the store of a feed.
func (s *severalFeeds) store(feed latchkey.FeedID) (latchkey.Store, error) {
	if int64(feed) >= int64(len(*s)) {
		return nil, fmt.Errorf("%w: there is no feed %d", latchkey.ErrInvalid, feed)
	}
	return (*s)[feed], nil
}

func (s *severalFeeds) of(owner string) latchkey.Store { return (*s)[s.Locate(owner).Feed] }

// ByDigest implements latchkey.Store. It asks the feed of the slot first, and the others if the secret is not there.
func (s *severalFeeds) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	order := s.Feeds()
	if slot != latchkey.NoSlot {
		first := s.feedOf(slot)
		order[0], order[first] = first, order[0]
	}
	return s.first(order, func(store latchkey.Store) (latchkey.Found, error) {
		return store.ByDigest(ctx, latchkey.NoSlot, digests...)
	})
}

// ByLookup implements latchkey.Store. It asks one feed after another.
func (s *severalFeeds) ByLookup(ctx context.Context, lookup string) (latchkey.Found, error) {
	return s.first(s.Feeds(), func(store latchkey.Store) (latchkey.Found, error) { return store.ByLookup(ctx, lookup) })
}

// first returns what the first feed of an order finds.
func (s *severalFeeds) first(order []latchkey.FeedID, find func(latchkey.Store) (latchkey.Found, error)) (
	latchkey.Found, error) {
	var unasked error
	for _, feed := range order {
		f, err := find((*s)[feed])
		if err == nil || !errors.Is(err, latchkey.ErrNotFound) && !errors.Is(err, latchkey.ErrUnavailable) {
			return inFeed(f, feed), err
		}
		var damaged *latchkey.DamagedError
		if errors.As(err, &damaged) {
			return inFeed(f, feed), err
		}
		if !errors.Is(err, latchkey.ErrNotFound) {
			unasked = err // the secret may be there
		}
	}
	if unasked != nil {
		return latchkey.Found{}, unasked
	}
	return latchkey.Found{}, fmt.Errorf("%w: in no feed", latchkey.ErrNotFound)
}

func inFeed(f latchkey.Found, feed latchkey.FeedID) latchkey.Found {
	f.Feed = feed
	return f
}

// Load implements latchkey.Store.
func (s *severalFeeds) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.of(owner).Load(ctx, owner, id)
	return inFeed(f, s.Locate(owner).Feed), err
}

// Tokens implements latchkey.Store.
func (s *severalFeeds) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	return s.of(owner).Tokens(ctx, owner, q)
}

// Count implements latchkey.Store.
func (s *severalFeeds) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
	return s.of(owner).Count(ctx, owner, q, limit)
}

// Ending implements latchkey.Store.
func (s *severalFeeds) Ending(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
	store, err := s.store(q.Feed)
	if err != nil {
		return nil, err
	}
	q.Feed = 0
	return store.Ending(ctx, q)
}

// Unused implements latchkey.Store.
func (s *severalFeeds) Unused(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
	store, err := s.store(q.Feed)
	if err != nil {
		return nil, "", err
	}
	q.Feed = 0
	return store.Unused(ctx, q)
}

// KeySecrets implements latchkey.Store.
func (s severalFeeds) KeySecrets(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
	store, err := s.store(q.Feed)
	if err != nil {
		return nil, "", err
	}
	q.Feed = 0
	return store.KeySecrets(ctx, q)
}

// Undelivered implements latchkey.Store.
func (s severalFeeds) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) (
	[]latchkey.Delivery, string, error,
) {
	store, err := s.store(q.Feed)
	if err != nil {
		return nil, "", err
	}
	q.Feed = 0
	return store.Undelivered(ctx, q)
}

// Revocations implements latchkey.Store.
func (s severalFeeds) Revocations(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
	store, err := s.store(q.Feed)
	if err != nil {
		return nil, "", err
	}
	q.Feed = 0
	return store.Revocations(ctx, q)
}

// Taken implements latchkey.Store.
func (s severalFeeds) Taken(ctx context.Context, owner string, q latchkey.TakenQuery) (
	[]latchkey.TakenCredits, string, error,
) {
	return s.of(owner).Taken(ctx, owner, q)
}

// Deliver implements latchkey.Store.
func (s severalFeeds) Deliver(ctx context.Context, owner, cursor string, seq uint64) error {
	return s.of(owner).Deliver(ctx, owner, cursor, seq)
}

// Secrets implements latchkey.Store.
func (s *severalFeeds) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	return s.of(owner).Secrets(ctx, owner, id)
}

// Role implements latchkey.Store.
func (s *severalFeeds) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	return s.of(owner).Role(ctx, owner, id)
}

// Roles implements latchkey.Store.
func (s *severalFeeds) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	return s.of(owner).Roles(ctx, owner, q)
}

// Clients implements latchkey.Store.
func (s *severalFeeds) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	return s.of(owner).Clients(ctx, owner, p)
}

// Owner implements latchkey.Store.
func (s *severalFeeds) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	return s.of(owner).Owner(ctx, owner)
}

// Events implements latchkey.Store.
func (s *severalFeeds) Events(
	ctx context.Context, owner string, q latchkey.EventQuery,
) (page []latchkey.Event, next string, err error) {
	return s.of(owner).Events(ctx, owner, q)
}

// Changes implements latchkey.Store.
func (s *severalFeeds) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	store, err := s.store(feed)
	if err != nil {
		return latchkey.Feed{}, err
	}
	return store.Changes(ctx, 0, after, n)
}

// Write implements latchkey.Store.
func (s *severalFeeds) Write(ctx context.Context, w latchkey.Write) error {
	return s.of(w.Owner).Write(ctx, w)
}

// Once implements latchkey.Store.
func (s *severalFeeds) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	return s.of(owner).Once(ctx, owner, key, until)
}

// AddUsage implements latchkey.Store.
func (s *severalFeeds) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	var owners []string
	for _, r := range b.Rows {
		owners = append(owners, r.Owner)
	}
	for _, l := range b.Last {
		owners = append(owners, l.Owner)
	}
	feed := latchkey.FeedID(0)
	for i, owner := range owners {
		at := s.Locate(owner).Feed
		if i > 0 && at != feed {
			return fmt.Errorf("%w: a batch of usage with owners of two feeds", latchkey.ErrInvalid)
		}
		feed = at
	}
	return (*s)[feed].AddUsage(ctx, b)
}

// Usage implements latchkey.Store.
func (s *severalFeeds) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	return s.of(owner).Usage(ctx, owner, q)
}

// Reserve implements latchkey.Store.
func (s *severalFeeds) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	return s.of(r.Owner).Reserve(ctx, r)
}

// Balances implements latchkey.Store.
func (s *severalFeeds) Balances(ctx context.Context, owner string, accounts []latchkey.CreditAccount) (
	[]latchkey.Credits, error) {
	return s.of(owner).Balances(ctx, owner, accounts)
}

// Adjust implements latchkey.Store.
func (s *severalFeeds) Adjust(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
	return s.of(owner).Adjust(ctx, owner, key, a)
}

// Settle implements latchkey.Store.
func (s *severalFeeds) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	return s.of(owner).Settle(ctx, owner, key, actual)
}

// Purge implements latchkey.Store.
func (s *severalFeeds) Purge(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
	store, err := s.store(p.Feed)
	if err != nil {
		return 0, err
	}
	p.Feed = 0
	return store.Purge(ctx, p, n)
}

// ownersByFeed returns an owner in each of the feeds, in their order.
func (w *fixture) ownersByFeed() (owners []string) {
	for _, feed := range w.s.Feeds() {
		owner := acme
		for i := 0; w.s.Locate(owner).Feed != feed; i++ {
			if owner = fmt.Sprint("owner ", i); i == 100_000 {
				w.Fatalf("Locate puts none of %d owners into feed %d", i, feed)
			}
		}
		owners = append(owners, owner)
	}
	return owners
}

var feedsCases = []Case{
	newCase("feeds/locate", "Feeds and Locate do not change. Each owner is in one of the feeds, and its slot is a slot. "+
		"A feed that is not among them is ErrInvalid.", func(w *fixture) {
		feeds := w.s.Feeds()
		if len(feeds) == 0 {
			w.Fatalf("Feeds: there is none")
		}
		owners := []string{acme, globex, "never written", strings.Repeat("é", 128)}
		located := map[string]latchkey.Location{}
		for round := range 2 {
			w.same(w.s.Feeds(), feeds, "Feeds")
			for _, owner := range owners {
				at := w.s.Locate(owner)
				if round > 0 {
					w.same(at, located[owner], "Locate of "+owner)
				}
				located[owner] = at
				if !slices.Contains(feeds, at.Feed) || at.Slot > latchkey.MaxSlot {
					w.Errorf("Locate of %s: feed %d, slot %d", owner, at.Feed, at.Slot)
				}
			}
			w.insert(token(round + 1))
			w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme, Version: uint64(round)}})
		}
		unknown := slices.Max(feeds) + 1
		for i, feed := range feeds {
			if slices.Contains(feeds[:i], feed) {
				w.Errorf("Feeds: %d is there twice", feed)
			}
		}
		for _, n := range []int{0, 10} {
			_, err := w.s.Changes(w.ctx, unknown, 0, n)
			w.failed(latchkey.ErrInvalid, err, "Changes of an unknown feed")
		}
		p := keepAll(noon)
		p.Feed = unknown
		_, err := w.s.Purge(w.ctx, p, 10)
		w.failed(latchkey.ErrInvalid, err, "Purge of an unknown feed")
	}),

	newCase("feeds/slots", "A slot never decides about an answer: whatever it is, ByDigest finds the same, and names the "+
		"owner's feed.", func(w *fixture) {
		owners := w.ownersByFeed()
		for i, owner := range owners {
			w.insert(by(owner, token(i+1)))
		}
		for i, owner := range owners {
			n, right := i+1, w.s.Locate(owner)
			f, err := w.s.Load(w.ctx, owner, id(n))
			w.ok(err, "Load")
			w.same(f.Feed, right.Feed, "the feed that Load names")
			for _, slot := range []latchkey.Slot{latchkey.NoSlot, 1, 2, 3, right.Slot, right.Slot ^ 1, latchkey.MaxSlot,
				latchkey.MaxSlot + 1, 1<<16 - 1} {
				what := fmt.Sprintf("ByDigest of %s's token with slot %d", owner, slot)
				f, err := w.s.ByDigest(w.ctx, slot, digest(n))
				w.ok(err, what)
				w.same(f.Token.ID, id(n), what)
				w.same(f.Feed, right.Feed, what+": the feed")
				_, err = w.s.ByDigest(w.ctx, slot, digest(len(owners)+1))
				w.failed(latchkey.ErrNotFound, err, "ByDigest of an unknown digest")
			}
		}
	}),

	newCase("feeds/apart", "A change advances the epoch of its owner's feed alone, and is in that feed alone.",
		func(w *fixture) {
			epochs := func() map[latchkey.FeedID]uint64 {
				all := map[latchkey.FeedID]uint64{}
				for _, feed := range w.s.Feeds() {
					f, err := w.s.Changes(w.ctx, feed, 0, 0)
					w.ok(err, "Changes")
					all[feed] = f.Epoch
				}
				return all
			}
			owners := w.ownersByFeed()
			for i, owner := range slices.Concat(owners, owners) {
				before := epochs()
				version := uint64(i / len(owners))
				w.write(latchkey.Write{Owner: owner, OwnerRecord: &latchkey.Owner{ID: owner, Version: version}})
				own := w.s.Locate(owner).Feed
				for feed, epoch := range before {
					f, err := w.s.Changes(w.ctx, feed, epoch, 10)
					w.ok(err, "Changes")
					if feed != own {
						w.same(f.Epoch, epoch, "the epoch of another feed")
						w.same(len(f.Changes), 0, "how much another feed holds")
						continue
					}
					w.same(f.Changes, []latchkey.Change{{Epoch: epoch + 1, Owner: owner, Kind: latchkey.ChangedOwner, ID: owner}},
						"the owner's feed")
				}
			}
			batch := latchkey.UsageBatch{ID: w.key(), At: noon}
			for i, owner := range owners {
				w.insert(by(owner, token(i+1)))
				batch.Last = append(batch.Last, latchkey.LastUsed{Owner: owner, TokenID: id(i + 1), At: noon})
			}
			if err := w.s.AddUsage(w.ctx, batch); len(owners) == 1 {
				w.ok(err, "AddUsage")
				return
			} else {
				w.failed(latchkey.ErrInvalid, err, "a batch with owners of two feeds")
			}
			f, err := w.s.Load(w.ctx, owners[0], id(1))
			w.ok(err, "Load")
			w.same(f.Token.Used, time.Time{}, "Used after a batch that was refused")
		}),
}
