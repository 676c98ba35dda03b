package latchkey

import (
	"context"
	"time"
)

// observedStore is a Store that tells Observer.StoreCall of each call.
type observedStore struct {
	Store
	m *Manager
}

// done tells of a call that has ended.
func (s *observedStore) done(ctx context.Context, op string, start time.Time, err error) {
	tell(ctx, s.m, "StoreCall", s.m.opts.Observer.StoreCall,
		StoreCall{Op: op, Start: start, Duration: time.Since(start), Err: err, Class: classOf(err)})
}

func (s *observedStore) ByDigest(ctx context.Context, slot Slot, digests ...[32]byte) (Found, error) {
	start := time.Now()
	f, err := s.Store.ByDigest(ctx, slot, digests...)
	s.done(ctx, "ByDigest", start, err)
	return f, err
}

func (s *observedStore) ByLookup(ctx context.Context, lookup string) (Found, error) {
	start := time.Now()
	f, err := s.Store.ByLookup(ctx, lookup)
	s.done(ctx, "ByLookup", start, err)
	return f, err
}

func (s *observedStore) Load(ctx context.Context, owner, tokenID string) (Found, error) {
	start := time.Now()
	f, err := s.Store.Load(ctx, owner, tokenID)
	s.done(ctx, "Load", start, err)
	return f, err
}

func (s *observedStore) Tokens(ctx context.Context, owner string, q TokenQuery) ([]Token, error) {
	start := time.Now()
	list, err := s.Store.Tokens(ctx, owner, q)
	s.done(ctx, "Tokens", start, err)
	return list, err
}

func (s *observedStore) Count(ctx context.Context, owner string, q TokenQuery, limit int) (int, error) {
	start := time.Now()
	count, err := s.Store.Count(ctx, owner, q, limit)
	s.done(ctx, "Count", start, err)
	return count, err
}

func (s *observedStore) Ending(ctx context.Context, q EndingQuery) ([]Token, error) {
	start := time.Now()
	list, err := s.Store.Ending(ctx, q)
	s.done(ctx, "Ending", start, err)
	return list, err
}

func (s *observedStore) Unused(ctx context.Context, q UnusedQuery) ([]Token, string, error) {
	start := time.Now()
	list, next, err := s.Store.Unused(ctx, q)
	s.done(ctx, "Unused", start, err)
	return list, next, err
}

func (s *observedStore) KeySecrets(ctx context.Context, q KeyQuery) ([]KeySecret, string, error) {
	start := time.Now()
	list, next, err := s.Store.KeySecrets(ctx, q)
	s.done(ctx, "KeySecrets", start, err)
	return list, next, err
}

func (s *observedStore) Undelivered(ctx context.Context, q UndeliveredQuery) ([]Delivery, string, error) {
	start := time.Now()
	list, next, err := s.Store.Undelivered(ctx, q)
	s.done(ctx, "Undelivered", start, err)
	return list, next, err
}

func (s *observedStore) Revocations(ctx context.Context, q RevocationQuery) ([]Change, string, error) {
	start := time.Now()
	list, next, err := s.Store.Revocations(ctx, q)
	s.done(ctx, "Revocations", start, err)
	return list, next, err
}

func (s *observedStore) Taken(ctx context.Context, owner string, q TakenQuery) ([]TakenCredits, string, error) {
	start := time.Now()
	list, next, err := s.Store.Taken(ctx, owner, q)
	s.done(ctx, "Taken", start, err)
	return list, next, err
}

func (s *observedStore) Deliver(ctx context.Context, owner, cursor string, seq uint64) error {
	start := time.Now()
	err := s.Store.Deliver(ctx, owner, cursor, seq)
	s.done(ctx, "Deliver", start, err)
	return err
}

func (s *observedStore) Secrets(ctx context.Context, owner, tokenID string) ([]SecretRecord, error) {
	start := time.Now()
	list, err := s.Store.Secrets(ctx, owner, tokenID)
	s.done(ctx, "Secrets", start, err)
	return list, err
}

func (s *observedStore) Role(ctx context.Context, owner, id string) (Role, error) {
	start := time.Now()
	r, err := s.Store.Role(ctx, owner, id)
	s.done(ctx, "Role", start, err)
	return r, err
}

func (s *observedStore) Roles(ctx context.Context, owner string, q RoleQuery) ([]Role, error) {
	start := time.Now()
	list, err := s.Store.Roles(ctx, owner, q)
	s.done(ctx, "Roles", start, err)
	return list, err
}

func (s *observedStore) Clients(ctx context.Context, owner string, p Page) ([]Client, error) {
	start := time.Now()
	list, err := s.Store.Clients(ctx, owner, p)
	s.done(ctx, "Clients", start, err)
	return list, err
}

func (s *observedStore) Owner(ctx context.Context, owner string) (Owner, error) {
	start := time.Now()
	o, err := s.Store.Owner(ctx, owner)
	s.done(ctx, "Owner", start, err)
	return o, err
}

func (s *observedStore) Events(ctx context.Context, owner string, q EventQuery) ([]Event, string, error) {
	start := time.Now()
	list, next, err := s.Store.Events(ctx, owner, q)
	s.done(ctx, "Events", start, err)
	return list, next, err
}

func (s *observedStore) Changes(ctx context.Context, feed FeedID, after uint64, n int) (Feed, error) {
	op := "Changes"
	if n == 0 {
		op = "Epoch"
	}
	start := time.Now()
	read, err := s.Store.Changes(ctx, feed, after, n)
	s.done(ctx, op, start, err)
	return read, err
}

func (s *observedStore) Write(ctx context.Context, w Write) error {
	start := time.Now()
	err := s.Store.Write(ctx, w)
	s.done(ctx, "Write", start, err)
	return err
}

func (s *observedStore) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	start := time.Now()
	err := s.Store.Once(ctx, owner, key, until)
	s.done(ctx, "Once", start, err)
	return err
}

func (s *observedStore) AddUsage(ctx context.Context, b UsageBatch) error {
	start := time.Now()
	err := s.Store.AddUsage(ctx, b)
	s.done(ctx, "AddUsage", start, err)
	return err
}

func (s *observedStore) Usage(ctx context.Context, owner string, q UsageQuery) ([]UsageRow, error) {
	start := time.Now()
	list, err := s.Store.Usage(ctx, owner, q)
	s.done(ctx, "Usage", start, err)
	return list, err
}

func (s *observedStore) Reserve(ctx context.Context, r Reservation) (Reserved, error) {
	start := time.Now()
	got, err := s.Store.Reserve(ctx, r)
	s.done(ctx, "Reserve", start, err)
	return got, err
}

func (s *observedStore) Balances(ctx context.Context, owner string, accounts []CreditAccount) ([]Credits, error) {
	start := time.Now()
	left, err := s.Store.Balances(ctx, owner, accounts)
	s.done(ctx, "Balances", start, err)
	return left, err
}

func (s *observedStore) Adjust(ctx context.Context, owner string, key [16]byte, a Adjustment) error {
	start := time.Now()
	err := s.Store.Adjust(ctx, owner, key, a)
	s.done(ctx, "Adjust", start, err)
	return err
}

func (s *observedStore) Settle(ctx context.Context, owner string, key [16]byte, actual Credits) error {
	start := time.Now()
	err := s.Store.Settle(ctx, owner, key, actual)
	s.done(ctx, "Settle", start, err)
	return err
}

func (s *observedStore) Purge(ctx context.Context, p PurgePolicy, n int) (int, error) {
	start := time.Now()
	removed, err := s.Store.Purge(ctx, p, n)
	s.done(ctx, "Purge", start, err)
	return removed, err
}
