package storetest_test

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey"
)

// faulty is a correct store with some methods replaced. A nil function leaves its method correct.
type faulty struct {
	latchkey.Store
	feeds       func() []latchkey.FeedID
	locate      func(owner string) latchkey.Location
	byDigest    func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error)
	byLookup    func(ctx context.Context, lookup string) (latchkey.Found, error)
	load        func(ctx context.Context, owner, id string) (latchkey.Found, error)
	tokens      func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error)
	count       func(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error)
	ending      func(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error)
	unused      func(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error)
	keySecrets  func(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error)
	undelivered func(ctx context.Context, q latchkey.UndeliveredQuery) ([]latchkey.Delivery, string, error)
	deliver     func(ctx context.Context, owner, cursor string, seq uint64) error
	revocations func(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error)
	taken       func(ctx context.Context, owner string, q latchkey.TakenQuery) ([]latchkey.TakenCredits, string, error)
	secrets     func(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error)
	roles       func(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error)
	owner       func(ctx context.Context, owner string) (latchkey.Owner, error)
	events      func(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error)
	changes     func(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error)
	write       func(ctx context.Context, w latchkey.Write) error
	once        func(ctx context.Context, owner string, key [32]byte, until time.Time) error
	addUsage    func(ctx context.Context, b latchkey.UsageBatch) error
	usage       func(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error)
	reserve     func(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error)
	balances    func(ctx context.Context, owner string, accounts []latchkey.CreditAccount) ([]latchkey.Credits, error)
	adjust      func(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error
	settle      func(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error
	purge       func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error)
}

func (f *faulty) Feeds() []latchkey.FeedID {
	if f.feeds != nil {
		return f.feeds()
	}
	return f.Store.Feeds()
}

func (f *faulty) Locate(owner string) latchkey.Location {
	if f.locate != nil {
		return f.locate(owner)
	}
	return f.Store.Locate(owner)
}

func (f *faulty) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	if f.byDigest != nil {
		return f.byDigest(ctx, slot, digests...)
	}
	return f.Store.ByDigest(ctx, slot, digests...)
}

func (f *faulty) ByLookup(ctx context.Context, lookup string) (latchkey.Found, error) {
	if f.byLookup != nil {
		return f.byLookup(ctx, lookup)
	}
	return f.Store.ByLookup(ctx, lookup)
}

func (f *faulty) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if f.load != nil {
		return f.load(ctx, owner, id)
	}
	return f.Store.Load(ctx, owner, id)
}

func (f *faulty) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	if f.tokens != nil {
		return f.tokens(ctx, owner, q)
	}
	return f.Store.Tokens(ctx, owner, q)
}

func (f *faulty) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
	if f.count != nil {
		return f.count(ctx, owner, q, limit)
	}
	return f.Store.Count(ctx, owner, q, limit)
}

func (f *faulty) Ending(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
	if f.ending != nil {
		return f.ending(ctx, q)
	}
	return f.Store.Ending(ctx, q)
}

func (f *faulty) Unused(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
	if f.unused != nil {
		return f.unused(ctx, q)
	}
	return f.Store.Unused(ctx, q)
}

func (f *faulty) KeySecrets(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
	if f.keySecrets != nil {
		return f.keySecrets(ctx, q)
	}
	return f.Store.KeySecrets(ctx, q)
}

func (f *faulty) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) ([]latchkey.Delivery, string, error) {
	if f.undelivered != nil {
		return f.undelivered(ctx, q)
	}
	return f.Store.Undelivered(ctx, q)
}

func (f *faulty) Revocations(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
	if f.revocations != nil {
		return f.revocations(ctx, q)
	}
	return f.Store.Revocations(ctx, q)
}

func (f *faulty) Taken(ctx context.Context, owner string, q latchkey.TakenQuery) (
	[]latchkey.TakenCredits, string, error,
) {
	if f.taken != nil {
		return f.taken(ctx, owner, q)
	}
	return f.Store.Taken(ctx, owner, q)
}

func (f *faulty) Deliver(ctx context.Context, owner, cursor string, seq uint64) error {
	if f.deliver != nil {
		return f.deliver(ctx, owner, cursor, seq)
	}
	return f.Store.Deliver(ctx, owner, cursor, seq)
}

func (f *faulty) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	if f.secrets != nil {
		return f.secrets(ctx, owner, id)
	}
	return f.Store.Secrets(ctx, owner, id)
}

func (f *faulty) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	if f.roles != nil {
		return f.roles(ctx, owner, q)
	}
	return f.Store.Roles(ctx, owner, q)
}

func (f *faulty) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	if f.owner != nil {
		return f.owner(ctx, owner)
	}
	return f.Store.Owner(ctx, owner)
}

func (f *faulty) Events(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
	if f.events != nil {
		return f.events(ctx, owner, q)
	}
	return f.Store.Events(ctx, owner, q)
}

func (f *faulty) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	if f.changes != nil {
		return f.changes(ctx, feed, after, n)
	}
	return f.Store.Changes(ctx, feed, after, n)
}

func (f *faulty) Write(ctx context.Context, w latchkey.Write) error {
	if f.write != nil {
		return f.write(ctx, w)
	}
	return f.Store.Write(ctx, w)
}

func (f *faulty) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	if f.once != nil {
		return f.once(ctx, owner, key, until)
	}
	return f.Store.Once(ctx, owner, key, until)
}

func (f *faulty) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if f.addUsage != nil {
		return f.addUsage(ctx, b)
	}
	return f.Store.AddUsage(ctx, b)
}

func (f *faulty) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	if f.usage != nil {
		return f.usage(ctx, owner, q)
	}
	return f.Store.Usage(ctx, owner, q)
}

func (f *faulty) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if f.reserve != nil {
		return f.reserve(ctx, r)
	}
	return f.Store.Reserve(ctx, r)
}

func (f *faulty) Balances(ctx context.Context, owner string, accounts []latchkey.CreditAccount) (
	[]latchkey.Credits, error) {
	if f.balances != nil {
		return f.balances(ctx, owner, accounts)
	}
	return f.Store.Balances(ctx, owner, accounts)
}

func (f *faulty) Adjust(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
	if f.adjust != nil {
		return f.adjust(ctx, owner, key, a)
	}
	return f.Store.Adjust(ctx, owner, key, a)
}

func (f *faulty) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	if f.settle != nil {
		return f.settle(ctx, owner, key, actual)
	}
	return f.Store.Settle(ctx, owner, key, actual)
}

func (f *faulty) Purge(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
	if f.purge != nil {
		return f.purge(ctx, p, n)
	}
	return f.Store.Purge(ctx, p, n)
}
