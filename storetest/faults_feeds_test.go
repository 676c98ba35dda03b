package storetest_test

import (
	"context"
	"sync/atomic"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

// ofTwoFeeds makes f a correct store of two feeds, and returns it.
func ofTwoFeeds(f *faulty) latchkey.Store {
	f.Store = storetest.NewFeeds(memstore.New(nil), memstore.New(nil))
	return f.Store
}

var feedsFaults = map[string]fault{
	"believes a slot": {[]string{"feeds/slots"}, func(f *faulty, s latchkey.Store) {
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			if err == nil && slot != latchkey.NoSlot && slot != s.Locate(found.Token.Owner).Slot {
				return latchkey.Found{}, latchkey.ErrNotFound
			}
			return found, err
		}
	}},
	"panics on a slot that is none": {[]string{"feeds/slots"}, func(f *faulty, s latchkey.Store) {
		var bySlot [latchkey.MaxSlot + 1]bool
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			bySlot[slot] = true
			return s.ByDigest(ctx, slot, digests...)
		}
	}},
	"names feed 0 in all that it finds": {[]string{"feeds/slots"}, func(f *faulty, _ latchkey.Store) {
		s := ofTwoFeeds(f)
		f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
			found, err := s.ByDigest(ctx, slot, digests...)
			found.Feed = 0
			return found, err
		}
	}},
	"lets owners move": {[]string{"feeds/locate"}, func(f *faulty, s latchkey.Store) {
		var calls atomic.Uint32
		f.locate = func(owner string) latchkey.Location {
			return latchkey.Location{Slot: latchkey.Slot(calls.Add(1) % 5)}
		}
	}},
	"locates owners in a feed that it lacks": {[]string{"feeds/locate"}, func(f *faulty, s latchkey.Store) {
		f.locate = func(owner string) latchkey.Location { return latchkey.Location{Feed: 7} }
	}},
	"answers for feeds that it lacks": {[]string{"feeds/locate"}, func(f *faulty, s latchkey.Store) {
		f.changes = func(ctx context.Context, _ latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
			return s.Changes(ctx, 0, after, n)
		}
	}},
	"purges feed 0 whatever is asked": {[]string{"feeds/locate"}, func(f *faulty, s latchkey.Store) {
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			p.Feed = 0
			return s.Purge(ctx, p, n)
		}
	}},
	"puts all owners into one of its feeds": {[]string{"feeds/slots", "feeds/apart"}, func(f *faulty, _ latchkey.Store) {
		s := ofTwoFeeds(f)
		f.locate = func(owner string) latchkey.Location { return s.Locate("acme") }
	}},
	"advances all feeds": {[]string{"feeds/apart"}, func(f *faulty, _ latchkey.Store) {
		s := ofTwoFeeds(f)
		f.write = func(ctx context.Context, w latchkey.Write) error {
			if !w.Silent {
				for _, owner := range []string{"acme", "globex"} {
					_ = s.Write(ctx, latchkey.Write{ID: newID(), Owner: owner, Revocations: []latchkey.Revocation{{ID: "x"}}})
				}
			}
			return s.Write(ctx, w)
		}
	}},
	"divides a batch of two feeds": {[]string{"feeds/apart"}, func(f *faulty, _ latchkey.Store) {
		s := ofTwoFeeds(f)
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			for _, l := range b.Last {
				if err := s.AddUsage(ctx, latchkey.UsageBatch{ID: newID(), At: b.At, Last: []latchkey.LastUsed{l}}); err != nil {
					return err
				}
			}
			return nil
		}
	}},
}
