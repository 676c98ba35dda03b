// Package memstore implements [latchkey.Store] in memory, for tests, examples and tools of a single process. It passes
// the conformance suite of package storetest, as every store must. Its content is lost when the process ends, and no
// other process can read it. For data that must last use package sqlstore.
//
//	keys := latchkey.New(memstore.New(nil), nil)
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/readonly"
)

// Options configure a [Store]. The zero value, and nil, are ready to use.
type Options struct {
	// Clock returns the current time. It is used for Feed.Now alone. Nil: time.Now. Use the clock of the Manager's
	// Options.
	Clock func() time.Time
}

// Store is a [latchkey.Store] in memory. Create one with [New]. It is safe for concurrent use: one lock admits many
// readers or one writer, and reading the epoch takes no lock. It starts no goroutine and need not be closed.
//
// It keeps the last 65,536 changes. A reader that is further behind gets Truncated: see [latchkey.Feed].
type Store struct {
	clock func() time.Time // nil: time.Now
	epoch atomic.Uint64    // changed only with mu held

	mu      sync.RWMutex
	owners  map[string]*ownerData
	digests map[[32]byte]*token
	lookups map[string]*token // by the lookup part of a secret of another system
	history history
	writes  []stamp[writeKey]     // IDs of writes, oldest first
	batches map[[16]byte]struct{} // IDs of usage batches
	batched []stamp[[16]byte]     // the same, oldest first
	tx      tx                    // the running Write

	due            []due     // what Purge removes next
	dueRevocations []*change // the same, of history.revoked
	looked         int       // at how many records Purge has looked, for tests
}

var _ latchkey.Store = (*Store)(nil)

// New returns an empty store. Nil options are ready to use.
func New(opts *Options) *Store {
	s := &Store{
		owners:  make(map[string]*ownerData),
		digests: make(map[[32]byte]*token),
		lookups: make(map[string]*token),
		batches: make(map[[16]byte]struct{}),
	}
	if opts != nil {
		s.clock = opts.Clock
	}
	return s
}

// Len returns how many tokens the store holds, of all owners, including revoked and expired ones.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, a := range s.owners {
		n += len(a.tokens.m)
	}
	return n
}

// ownerData holds everything of one owner, except the digests and lookup parts, which are unique across owners, and the
// feed.
type ownerData struct {
	id           string
	record       latchkey.Owner // Version 0: none
	tokens       index[*token]
	children     map[string]*family             // token id → the tokens it minted
	holders      map[string]map[*token]struct{} // role id → the tokens that name it, revoked and minted ones too
	heirs        map[string]map[string]struct{} // role id → ids of the roles that inherit it directly
	roles        index[latchkey.Role]
	roleIDs      map[roleName]string
	clients      index[string] // id → name
	events       []latchkey.Event
	seq          uint64 // of the last event
	head         []byte // what the last Write.Seal returned
	cursors      map[string]uint64
	written      map[[16]byte]struct{}
	once         map[[32]byte]int64
	usage        map[usageKey]count
	credits      map[creditKey]account
	reservations map[[16]byte]*reservation
	live         map[string]*liveTokens // by parent, "" for issued tokens; only where a LiveLimit asked
}

type roleName struct{ origin, name string }

// stamp is a key and when it was recorded. Purge removes both.
type stamp[K any] struct {
	key K
	at  int64
}

type writeKey struct {
	owner string
	id    [16]byte
}

// check returns an error if ctx is done. Every method begins with it, so a cancelled call does nothing.
func check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", latchkey.ErrUnavailable, err)
	}
	return nil
}

// noData is the data of an owner that has none. It is only read.
var noData ownerData

// lookup returns the data of an owner for reading.
func (s *Store) lookup(owner string) *ownerData {
	if a := s.owners[owner]; a != nil {
		return a
	}
	return &noData
}

// ensure returns the data of an owner for writing. It adds an owner that is not there.
func (s *Store) ensure(owner string) *ownerData {
	a := s.owners[owner]
	if a == nil {
		a = &ownerData{id: owner}
		s.owners[owner] = a
	}
	return a
}

// Feeds implements [latchkey.Store]: there is one.
func (s *Store) Feeds() []latchkey.FeedID { return []latchkey.FeedID{0} }

// Locate implements [latchkey.Store]: there are no slots.
func (s *Store) Locate(string) latchkey.Location { return latchkey.Location{} }

// checkFeed returns an error for a feed other than the only one.
func checkFeed(feed latchkey.FeedID) error {
	if feed != 0 {
		return fmt.Errorf("%w: there is no feed %d: this store has feed 0 only", latchkey.ErrInvalid, feed)
	}
	return nil
}

// ByDigest implements [latchkey.Store].
func (s *Store) ByDigest(ctx context.Context, _ latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
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
		// A digest in the map without its secret would be a bug of this package. Then not found is better than a panic.
		if i := t.secretAt(d); i >= 0 && !t.secrets[i].signing && t.secrets[i].foreign == nil {
			return s.foundBy(t, i, readonly.Is(ctx))
		}
	}
	return latchkey.Found{}, latchkey.ErrNotFound
}

// ByLookup implements [latchkey.Store].
func (s *Store) ByLookup(ctx context.Context, lookup string) (latchkey.Found, error) {
	if err := check(ctx); err != nil {
		return latchkey.Found{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.lookups[lookup]; t != nil {
		for i, sec := range t.secrets {
			if sec.foreign != nil && sec.foreign.lookup == lookup {
				return s.foundBy(t, i, readonly.Is(ctx))
			}
		}
	}
	return latchkey.Found{}, latchkey.ErrNotFound
}

// foundBy returns what decides about a token, with its i-th secret. Shared is as for found.
func (s *Store) foundBy(t *token, i int, shared bool) (latchkey.Found, error) {
	f := s.found(t, shared)
	if err := damaged(&f); err != nil {
		return latchkey.Found{}, err
	}
	f.Secret = t.secrets[i].copyWithUse()
	f.Secret.UsedFrom = netip.Addr{}
	return f, nil
}

// Load implements [latchkey.Store].
func (s *Store) Load(ctx context.Context, owner, tokenID string) (latchkey.Found, error) {
	if err := check(ctx); err != nil {
		return latchkey.Found{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.lookup(owner).tokens.get(tokenID)
	if !ok {
		return latchkey.Found{}, latchkey.ErrNotFound
	}
	f := s.found(t, false)
	return f, damaged(&f)
}

// damaged returns a DamagedError of the first token of f that was put with Damaged set, or nil.
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

// found returns what decides about a token. The caller holds the lock, so it is one snapshot. What is shared with the
// store must not be changed: a role may have very many rules. The store does not change it either, but replaces it.
func (s *Store) found(t *token, shared bool) latchkey.Found {
	a, copyToken, copyRole := t.of, (*token).copy, latchkey.Role.Clone
	if shared {
		copyToken, copyRole = (*token).view, func(r latchkey.Role) latchkey.Role { return r }
	}
	f := latchkey.Found{Token: copyToken(t), Owner: a.owner(), Epoch: s.epoch.Load()}
	names := slices.Clip(t.roles) // clipped: appending must not write into the token's own slice
	for up := t; up.parent != ""; {
		// No chain has more tokens than the owner, so a cycle of parents, which no Manager makes, ends too.
		parent, ok := a.tokens.get(up.parent)
		if !ok || parent == t || len(f.Ancestors) == len(a.tokens.m) {
			break
		}
		f.Ancestors = append(f.Ancestors, copyToken(parent))
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
			f.Roles = append(f.Roles, copyRole(r))
			names = append(names, r.Inherits...)
		}
	}
	return f
}

func (a *ownerData) owner() latchkey.Owner {
	o := a.record.Clone()
	o.ID = a.id
	return o
}

// Secrets implements [latchkey.Store].
func (s *Store) Secrets(ctx context.Context, owner, tokenID string) ([]latchkey.SecretRecord, error) {
	if err := check(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.lookup(owner).tokens.get(tokenID)
	if !ok {
		return nil, latchkey.ErrNotFound
	}
	all := make([]latchkey.SecretRecord, len(t.secrets))
	for i, sec := range t.secrets {
		all[i] = sec.copyWithUse()
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
	r, ok := s.lookup(owner).roles.get(id)
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
	for _, r := range s.lookup(owner).roles.after(q.After) {
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
	for id, name := range s.lookup(owner).clients.after(p.After) {
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
	o := s.lookup(owner).owner()
	o.ID = owner
	return o, nil
}

// Events implements [latchkey.Store]. It looks at all events that follow, so that a page is short only at the end.
func (s *Store) Events(
	ctx context.Context, owner string, q latchkey.EventQuery,
) (page []latchkey.Event, next string, err error) {
	if err := check(ctx); err != nil {
		return nil, "", err
	}
	seq, ok, err := q.Start()
	if err != nil {
		return nil, "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.lookup(owner).events
	at, step := -1, 1 // the event before the page
	if q.Reverse {
		at, step = len(all), -1
	}
	if ok {
		i, found := slices.BinarySearchFunc(all, seq,
			func(e latchkey.Event, seq uint64) int { return cmp.Compare(e.Seq, seq) })
		at = i
		if !found && !q.Reverse {
			at = i - 1
		}
	}
	for at += step; at >= 0 && at < len(all); at += step {
		if !q.Match(all[at]) {
			continue
		}
		if len(page) == q.Size() {
			return page, q.Key(page[len(page)-1]), nil
		}
		page = append(page, copyEvent(all[at]))
	}
	return page, "", nil
}

func copyEvent(e latchkey.Event) latchkey.Event {
	e.Before, e.After = slices.Clone(e.Before), slices.Clone(e.After)
	e.Prev, e.Hash = slices.Clone(e.Prev), slices.Clone(e.Hash)
	return e
}

// Changes implements [latchkey.Store]. With n = 0 it is one atomic load and one call of the clock.
func (s *Store) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	if err := check(ctx); err != nil {
		return latchkey.Feed{}, err
	}
	if err := checkFeed(feed); err != nil {
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

// now keeps the monotonic part of time.Now, by which a Manager sees that it need not look at the clock too.
func (s *Store) now() time.Time {
	if s.clock == nil {
		return time.Now().UTC()
	}
	return s.clock().UTC().Truncate(time.Microsecond)
}
