// Package memstore is a latchkey.Store in memory. It is exact: it passes storetest, and every other store is measured
// by the same suite. It is good for tests, for examples and for tools of a single process. Everything in it is gone when
// the process ends, and no second process can see it; for anything that must last use package sqlstore.
//
//	keys := latchkey.New(memstore.New(nil), nil)
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Options configure a [Store]. The zero value, and nil, are ready to use.
type Options struct {
	// Clock tells the time, for Feed.Now alone; nil: time.Now. Give it what the Manager has in its Options.
	Clock func() time.Time
}

// Store is a [latchkey.Store] in memory. Make one with [New]. It is safe for concurrent use: one lock lets many read or
// one write, and asking for the epoch takes no lock at all. It starts no goroutine and need not be closed.
//
// It remembers the last 65,536 changes; see [latchkey.Feed] for what a reader that is further behind is told.
type Store struct {
	clock func() time.Time
	epoch atomic.Uint64 // changed only with mu held

	mu      sync.RWMutex
	owners  map[string]*account
	digests map[[32]byte]*token
	history history
	writes  []stamp[writeKey]     // IDs of writes, oldest first
	batches map[[16]byte]struct{} // IDs of usage batches
	batched []stamp[[16]byte]     // the same, oldest first
}

var _ latchkey.Store = (*Store)(nil)

// New returns an empty store. Nil options are ready to use.
func New(opts *Options) *Store {
	s := &Store{
		clock:   time.Now,
		owners:  make(map[string]*account),
		digests: make(map[[32]byte]*token),
		batches: make(map[[16]byte]struct{}),
	}
	if opts != nil && opts.Clock != nil {
		s.clock = opts.Clock
	}
	return s
}

// Len is how many tokens the store holds, of all owners, dead ones included.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, a := range s.owners {
		n += len(a.tokens.m)
	}
	return n
}

// account is all that one owner has. Nothing of an owner lies anywhere else, but for the digests, which are unique among
// all owners, and the feed.
type account struct {
	id           string
	record       latchkey.Owner // Version 0: none
	tokens       index[*token]
	children     map[string]map[string]struct{} // token id → ids of the tokens it minted
	roles        index[latchkey.Role]
	roleIDs      map[roleName]string
	clients      index[string] // id → name
	events       []latchkey.Event
	seq          uint64 // of the last event
	written      map[[16]byte]uint64
	once         map[[32]byte]int64
	usage        map[usageKey]count
	purses       map[purse]latchkey.Credits // what was taken from each
	reservations map[[16]byte]*reservation
}

type roleName struct{ origin, name string }

// stamp is a key to forget some time after at.
type stamp[K any] struct {
	key K
	at  int64
}

type writeKey struct {
	owner string
	id    [16]byte
}

// check is the first thing every method does: a cancelled call does nothing.
func check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", latchkey.ErrUnavailable, err)
	}
	return nil
}

// nobody stands for an owner that has nothing. It is only ever read.
var nobody account

// account is the owner's, for reading.
func (s *Store) account(owner string) *account {
	if a := s.owners[owner]; a != nil {
		return a
	}
	return &nobody
}

// open is the owner's account, for writing.
func (s *Store) open(owner string) *account {
	a := s.owners[owner]
	if a == nil {
		a = &account{id: owner}
		s.owners[owner] = a
	}
	return a
}

// ByDigest implements [latchkey.Store].
func (s *Store) ByDigest(ctx context.Context, digests ...[32]byte) (latchkey.Found, error) {
	if err := check(ctx); err != nil {
		return latchkey.Found{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, d := range digests {
		t := s.digests[d]
		if t == nil {
			continue
		}
		// A digest in the map without its secret would be a fault of this package: better not found than panicking.
		if i := t.secretAt(d); i >= 0 && !t.secrets[i].signing {
			f := s.found(t)
			if err := damaged(&f); err != nil {
				return latchkey.Found{}, err
			}
			f.Secret = t.secrets[i].copy()
			return f, nil
		}
	}
	return latchkey.Found{}, latchkey.ErrNotFound
}

// Load implements [latchkey.Store].
func (s *Store) Load(ctx context.Context, owner, tokenID string) (latchkey.Found, error) {
	if err := check(ctx); err != nil {
		return latchkey.Found{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.account(owner).tokens.get(tokenID)
	if !ok {
		return latchkey.Found{}, latchkey.ErrNotFound
	}
	f := s.found(t)
	return f, damaged(&f)
}

// damaged names the first token of f that was put with Damaged set.
func damaged(f *latchkey.Found) error {
	t := &f.Token
	if i := slices.IndexFunc(f.Ancestors, func(t latchkey.Token) bool { return t.Damaged }); i >= 0 && !t.Damaged {
		t = &f.Ancestors[i]
	}
	if !t.Damaged {
		return nil
	}
	return &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: t.Owner, ID: t.ID}
}

// found gathers all that decides about a token. The caller holds the lock, so it is one cut.
func (s *Store) found(t *token) latchkey.Found {
	a := t.of
	f := latchkey.Found{Token: t.copy(), Owner: a.owner(), Epoch: s.epoch.Load()}
	names := slices.Clip(t.roles) // clipped: appending must not write into the token's own slice
	for up := t; up.parent != ""; {
		// No chain is longer than the account, so a ring of parents, which no Manager makes, ends too.
		parent, ok := a.tokens.get(up.parent)
		if !ok || parent == t || len(f.Ancestors) == len(a.tokens.m) {
			break
		}
		f.Ancestors = append(f.Ancestors, parent.copy())
		names = append(names, parent.roles...)
		up = parent
	}
	if len(names) == 0 {
		return f
	}
	seen := make(map[string]struct{}, len(names))
	for i := 0; i < len(names); i++ {
		if _, again := seen[names[i]]; again {
			continue
		}
		seen[names[i]] = struct{}{}
		if r, ok := a.roles.get(names[i]); ok {
			f.Roles = append(f.Roles, r.Clone())
			names = append(names, r.Inherits...)
		}
	}
	return f
}

func (a *account) owner() latchkey.Owner {
	o := a.record.Clone()
	o.ID = a.id
	return o
}

// Tokens implements [latchkey.Store].
func (s *Store) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var page []latchkey.Token
	for _, r := range s.account(owner).tokens.after(q.After) {
		if t := r.view(); q.Match(t) {
			if page = append(page, t.Clone()); len(page) == q.Size() {
				break
			}
		}
	}
	return page, nil
}

// Secrets implements [latchkey.Store].
func (s *Store) Secrets(ctx context.Context, owner, tokenID string) ([]latchkey.SecretRecord, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.account(owner).tokens.get(tokenID)
	if !ok {
		return nil, latchkey.ErrNotFound
	}
	all := make([]latchkey.SecretRecord, len(t.secrets))
	for i, sec := range t.secrets {
		all[i] = sec.copy()
	}
	slices.SortFunc(all, func(a, b latchkey.SecretRecord) int {
		return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	return all, nil
}

// Role implements [latchkey.Store].
func (s *Store) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	if err := check(ctx); err != nil {
		return latchkey.Role{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.account(owner).roles.get(id)
	if !ok {
		return latchkey.Role{}, latchkey.ErrNotFound
	}
	return r.Clone(), nil
}

// Roles implements [latchkey.Store].
func (s *Store) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var page []latchkey.Role
	for _, r := range s.account(owner).roles.after(q.After) {
		if q.Match(r) {
			if page = append(page, r.Clone()); len(page) == q.Size() {
				break
			}
		}
	}
	return page, nil
}

// Clients implements [latchkey.Store].
func (s *Store) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var page []latchkey.Client
	for id, name := range s.account(owner).clients.after(p.After) {
		if page = append(page, latchkey.Client{ID: id, Name: name}); len(page) == p.Size() {
			break
		}
	}
	return page, nil
}

// Owner implements [latchkey.Store].
func (s *Store) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	if err := check(ctx); err != nil {
		return latchkey.Owner{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	o := s.account(owner).owner()
	o.ID = owner
	return o, nil
}

// Events implements [latchkey.Store].
func (s *Store) Events(ctx context.Context, owner string, after uint64, n int) ([]latchkey.Event, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	if n <= 0 {
		n = 100
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.account(owner).events
	i, found := slices.BinarySearchFunc(all, after, func(e latchkey.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
	if found {
		i++
	}
	page := slices.Clone(all[i:min(len(all), i+min(n, len(all)))])
	for j := range page {
		page[j] = copyEvent(page[j])
	}
	return page, nil
}

func copyEvent(e latchkey.Event) latchkey.Event {
	e.Before, e.After = slices.Clone(e.Before), slices.Clone(e.After)
	return e
}

// Changes implements [latchkey.Store]. With n = 0 it is one atomic load and a look at the clock.
func (s *Store) Changes(ctx context.Context, after uint64, n int) (latchkey.Feed, error) {
	if err := check(ctx); err != nil {
		return latchkey.Feed{}, err
	}
	if n <= 0 {
		return latchkey.Feed{Epoch: s.epoch.Load(), Now: s.now()}, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	f := latchkey.Feed{Epoch: s.epoch.Load(), Now: s.now()}
	f.Changes = s.history.since(after, n)
	f.Truncated = after < s.history.floor || after > f.Epoch
	return f, nil
}

func (s *Store) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }
