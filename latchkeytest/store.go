package latchkeytest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Store is a store in memory whose calls can be made to fail. It is safe for concurrent use.
type Store struct {
	latchkey.Store
	down atomic.Bool
	fail atomic.Pointer[func(call string) error]
}

// Down makes every later call of the store that can fail return [latchkey.ErrUnavailable], or lets them work again. So
// a test sees that its program refuses while nothing is known.
func (s *Store) Down(down bool) { s.down.Store(down) }

// Fail has f say of each later call that can fail whether it does. F gets the name of the method, such as "Write", and
// the call returns its error without doing anything; for nil it is carried out. A store that does not answer returns an
// error that wraps [latchkey.ErrUnavailable]. Calls may come from several goroutines at once. A nil f ends it, and so
// does the end of the test that the store's Kit is of.
//
// So a test sees what its program does when the store is lost halfway:
//
//	kit.Store.Fail(func(call string) error {
//		if call == "Write" {
//			return latchkey.ErrUnavailable
//		}
//		return nil
//	})
func (s *Store) Fail(f func(call string) error) {
	if f == nil {
		s.fail.Store(nil)
		return
	}
	s.fail.Store(&f)
}

func (s *Store) err(call string) error {
	if s.down.Load() {
		return fmt.Errorf("%w: the test took the store down", latchkey.ErrUnavailable)
	}
	if f := s.fail.Load(); f != nil {
		return (*f)(call)
	}
	return nil
}

// ByDigest implements [latchkey.Store].
func (s *Store) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	if err := s.err("ByDigest"); err != nil {
		return latchkey.Found{}, err
	}
	return s.Store.ByDigest(ctx, slot, digests...)
}

// ByLookup implements [latchkey.Store].
func (s *Store) ByLookup(ctx context.Context, lookup string) (latchkey.Found, error) {
	if err := s.err("ByLookup"); err != nil {
		return latchkey.Found{}, err
	}
	return s.Store.ByLookup(ctx, lookup)
}

// Load implements [latchkey.Store].
func (s *Store) Load(ctx context.Context, owner, tokenID string) (latchkey.Found, error) {
	if err := s.err("Load"); err != nil {
		return latchkey.Found{}, err
	}
	return s.Store.Load(ctx, owner, tokenID)
}

// Tokens implements [latchkey.Store].
func (s *Store) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	if err := s.err("Tokens"); err != nil {
		return nil, err
	}
	return s.Store.Tokens(ctx, owner, q)
}

// Count implements [latchkey.Store].
func (s *Store) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
	if err := s.err("Count"); err != nil {
		return 0, err
	}
	return s.Store.Count(ctx, owner, q, limit)
}

// Ending implements [latchkey.Store].
func (s *Store) Ending(ctx context.Context, q latchkey.EndingQuery) ([]latchkey.Token, error) {
	if err := s.err("Ending"); err != nil {
		return nil, err
	}
	return s.Store.Ending(ctx, q)
}

// Unused implements [latchkey.Store].
func (s *Store) Unused(ctx context.Context, q latchkey.UnusedQuery) ([]latchkey.Token, string, error) {
	if err := s.err("Unused"); err != nil {
		return nil, "", err
	}
	return s.Store.Unused(ctx, q)
}

// KeySecrets implements [latchkey.Store].
func (s *Store) KeySecrets(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
	if err := s.err("KeySecrets"); err != nil {
		return nil, "", err
	}
	return s.Store.KeySecrets(ctx, q)
}

// Undelivered implements [latchkey.Store].
func (s *Store) Undelivered(ctx context.Context, q latchkey.UndeliveredQuery) ([]latchkey.Delivery, string, error) {
	if err := s.err("Undelivered"); err != nil {
		return nil, "", err
	}
	return s.Store.Undelivered(ctx, q)
}

// Revocations implements [latchkey.Store].
func (s *Store) Revocations(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
	if err := s.err("Revocations"); err != nil {
		return nil, "", err
	}
	return s.Store.Revocations(ctx, q)
}

// Taken implements [latchkey.Store].
func (s *Store) Taken(ctx context.Context, owner string, q latchkey.TakenQuery) (
	[]latchkey.TakenCredits, string, error,
) {
	if err := s.err("Taken"); err != nil {
		return nil, "", err
	}
	return s.Store.Taken(ctx, owner, q)
}

// Deliver implements [latchkey.Store].
func (s *Store) Deliver(ctx context.Context, owner, cursor string, seq uint64) error {
	if err := s.err("Deliver"); err != nil {
		return err
	}
	return s.Store.Deliver(ctx, owner, cursor, seq)
}

// Secrets implements [latchkey.Store].
func (s *Store) Secrets(ctx context.Context, owner, tokenID string) ([]latchkey.SecretRecord, error) {
	if err := s.err("Secrets"); err != nil {
		return nil, err
	}
	return s.Store.Secrets(ctx, owner, tokenID)
}

// Role implements [latchkey.Store].
func (s *Store) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	if err := s.err("Role"); err != nil {
		return latchkey.Role{}, err
	}
	return s.Store.Role(ctx, owner, id)
}

// Roles implements [latchkey.Store].
func (s *Store) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	if err := s.err("Roles"); err != nil {
		return nil, err
	}
	return s.Store.Roles(ctx, owner, q)
}

// Clients implements [latchkey.Store].
func (s *Store) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	if err := s.err("Clients"); err != nil {
		return nil, err
	}
	return s.Store.Clients(ctx, owner, p)
}

// Owner implements [latchkey.Store].
func (s *Store) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	if err := s.err("Owner"); err != nil {
		return latchkey.Owner{}, err
	}
	return s.Store.Owner(ctx, owner)
}

// Events implements [latchkey.Store].
func (s *Store) Events(
	ctx context.Context, owner string, q latchkey.EventQuery,
) (page []latchkey.Event, next string, err error) {
	if err := s.err("Events"); err != nil {
		return nil, "", err
	}
	return s.Store.Events(ctx, owner, q)
}

// Changes implements [latchkey.Store].
func (s *Store) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	if err := s.err("Changes"); err != nil {
		return latchkey.Feed{}, err
	}
	return s.Store.Changes(ctx, feed, after, n)
}

// Write implements [latchkey.Store].
func (s *Store) Write(ctx context.Context, w latchkey.Write) error {
	if err := s.err("Write"); err != nil {
		return err
	}
	return s.Store.Write(ctx, w)
}

// Once implements [latchkey.Store].
func (s *Store) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	if err := s.err("Once"); err != nil {
		return err
	}
	return s.Store.Once(ctx, owner, key, until)
}

// AddUsage implements [latchkey.Store].
func (s *Store) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if err := s.err("AddUsage"); err != nil {
		return err
	}
	return s.Store.AddUsage(ctx, b)
}

// Usage implements [latchkey.Store].
func (s *Store) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	if err := s.err("Usage"); err != nil {
		return nil, err
	}
	return s.Store.Usage(ctx, owner, q)
}

// Reserve implements [latchkey.Store].
func (s *Store) Reserve(ctx context.Context, r latchkey.Reservation) (latchkey.Reserved, error) {
	if err := s.err("Reserve"); err != nil {
		return latchkey.Reserved{}, err
	}
	return s.Store.Reserve(ctx, r)
}

// Balances implements [latchkey.Store].
func (s *Store) Balances(ctx context.Context, owner string, accounts []latchkey.CreditAccount) (
	[]latchkey.Credits, error) {
	if err := s.err("Balances"); err != nil {
		return nil, err
	}
	return s.Store.Balances(ctx, owner, accounts)
}

// Adjust implements [latchkey.Store].
func (s *Store) Adjust(ctx context.Context, owner string, key [16]byte, a latchkey.Adjustment) error {
	if err := s.err("Adjust"); err != nil {
		return err
	}
	return s.Store.Adjust(ctx, owner, key, a)
}

// Settle implements [latchkey.Store].
func (s *Store) Settle(ctx context.Context, owner string, key [16]byte, actual latchkey.Credits) error {
	if err := s.err("Settle"); err != nil {
		return err
	}
	return s.Store.Settle(ctx, owner, key, actual)
}

// Purge implements [latchkey.Store].
func (s *Store) Purge(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
	if err := s.err("Purge"); err != nil {
		return 0, err
	}
	return s.Store.Purge(ctx, p, n)
}
