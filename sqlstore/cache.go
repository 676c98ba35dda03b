package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// memory holds roles, owners' records and the tokens that others were minted from, so that a token is found with one
// statement. What is in it is exact:
//
//   - Each entry says from which epoch on it is known, and all of them are known up to memory.epoch: whatever changed
//     until then has been dropped, for every change of a record advances the epoch and is in the feed. So for a cut whose
//     epoch lies between the two, an entry is what that cut would have read.
//   - A cut that is ahead of memory.epoch makes the feed be read first, up to that cut or beyond.
//   - A cut behind what memory.epoch was before its statement began comes from another history, a copy that was restored:
//     everything is forgotten.
//
// Roles and owners' records that are missing are remembered as missing. A token is never, for one that is inserted does
// not advance the epoch. Neither does what Purge removes, so only tokens are kept that it leaves alone; nor a last use, so
// that of a token in here may be an old one. It decides about tokens with Validity.Idle only, which are not kept.
type recordCache struct {
	feedReader chan struct{} // holds one value while somebody reads the feed

	mu             sync.RWMutex
	epoch          uint64
	generation     uint64 // grows when everything is forgotten
	owners         map[string]*ownerEntry
	size           int // of all entries, about bytes
	maxSize        int
	lastChange     map[string]uint64 // the last change of each owner that had one above since
	lastChangeFrom uint64
}

// tenant is what is known of one owner. Fields change only under memory.mu.
type ownerEntry struct {
	owner  cacheEntry[latchkey.Owner]
	roles  map[string]cacheEntry[latchkey.Role]
	tokens map[string]cacheEntry[latchkey.Token] // ancestors
	size   int
}

// known is a record as it has been since an epoch. Nobody may change it: whoever answers with it makes a copy.
type cacheEntry[T any] struct {
	record *T // nil: there is none
	since  uint64
	size   int // 0: nothing is known
}

func (k cacheEntry[T]) at(epoch uint64) bool { return k.size != 0 && k.since <= epoch }

const (
	// maxMemory bounds what a Store remembers, in bytes, about.
	maxCacheSize = 32 << 20
	// entryWeight is what an entry weighs beside its bodies: the record, its ids, its share of a map.
	entrySize = 512
	// packedWeight is what a byte of a record weighs, unpacked: a value of a few bytes becomes an entry of a map.
	unpackedFactor = 8
	// maxDepth is how many ancestors are followed, as in selectKin.
	maxDepth = 255
	// maxCatchUp is how many changes are read to bring the memory up to date. Behind more it is as well emptied.
	maxCatchUp = 1000
)

func newRecordCache() *recordCache {
	return &recordCache{feedReader: make(chan struct{}, 1), owners: map[string]*ownerEntry{}, maxSize: maxCacheSize,
		lastChange: map[string]uint64{}}
}

// mark is where the memory stood before a statement was begun.
type cacheMark struct{ epoch, generation uint64 }

func (m *recordCache) mark() cacheMark {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return cacheMark{m.epoch, m.generation}
}

// forget empties the memory, and takes epoch as the one up to which the nothing in it is known. The caller holds m.mu.
func (m *recordCache) reset(epoch uint64) {
	clear(m.owners)
	m.size, m.epoch = 0, epoch
	m.generation++
	m.resetLastChange(epoch)
}

// restart forgets who changed up to epoch. The caller holds m.mu.
func (m *recordCache) resetLastChange(epoch uint64) {
	clear(m.lastChange)
	m.lastChangeFrom = epoch
}

// quiet reports whether it is known that nothing of the owner changed after epoch, up to m.epoch. The caller holds
// m.mu.
func (m *recordCache) unchangedSince(owner string, epoch uint64) bool {
	return m.lastChangeFrom <= epoch && m.lastChange[owner] <= epoch
}

// still reports whether what was read of f's owner as of a later epoch is what it was as of f.Epoch: two readings make
// one cut if nothing of that owner changed between them. Else whoever is far from the database would begin anew with
// every change of anybody.
func (s *Store) sameCut(ctx context.Context, f *latchkey.Found, epoch uint64, was cacheMark) (bool, error) {
	if epoch <= f.Epoch {
		return epoch == f.Epoch, nil
	}
	if err := s.followFeed(ctx, epoch, was, true); err != nil {
		return false, err
	}
	m := s.cache
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.generation == was.generation && m.epoch >= epoch && m.unchangedSince(f.Token.Owner, f.Epoch), nil
}

// reach brings the memory to the epoch of a cut whose statement began after was, or beyond.
func (s *Store) catchUp(ctx context.Context, epoch uint64, was cacheMark) error {
	return s.followFeed(ctx, epoch, was, false)
}

// followPatience is how long a caller waits for another one that reads the feed. That one's connection may be dead.
const maxFeedWait = 100 * time.Millisecond

// follow is reach. With changes it reads who changed even where nothing is known that could be wrong.
func (s *Store) followFeed(ctx context.Context, epoch uint64, was cacheMark, changes bool) error {
	m := s.cache
	m.mu.RLock()
	there := epoch <= m.epoch && epoch >= was.epoch
	m.mu.RUnlock()
	if there {
		return nil
	}
	if epoch < was.epoch {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.generation == was.generation { // otherwise somebody else has seen it
			m.reset(epoch)
		}
		return nil
	}
	patience := time.NewTimer(maxFeedWait)
	defer patience.Stop()
	select {
	case m.feedReader <- struct{}{}:
		defer func() { <-m.feedReader }()
	case <-patience.C: // read beside it
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		m.mu.Lock()
		if !changes && len(m.owners) == 0 && m.epoch < epoch {
			m.epoch = epoch // nothing is known, so nothing can be wrong
			m.resetLastChange(epoch)
		}
		after, turn := m.epoch, m.generation
		m.mu.Unlock()
		if after >= epoch {
			return nil // somebody else did it while we waited
		}
		var feed latchkey.Feed
		var now sql.NullInt64
		rows, err := s.readFeed(ctx, &feed, &now, after, maxCatchUp+1)
		if err != nil {
			return err
		}
		m.mu.Lock()
		switch {
		case m.generation != turn:
			m.mu.Unlock()
			return nil // the cut will be read again
		case m.epoch == after:
			m.applyFeed(&feed, rows)
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock() // somebody who read beside us was faster
	}
}

// maxRecent bounds the owners whose last change is remembered.
const maxRecent = 10_000

// learnChanges brings the memory to a feed that was read as of m.epoch. The caller holds m.mu.
func (m *recordCache) applyFeed(feed *latchkey.Feed, rows int) {
	after := m.epoch
	at, dense := after, true
	for _, c := range feed.Changes {
		dense = dense && (c.Epoch == at+1 || c.Epoch == at && at > after)
		at = c.Epoch
		if c.Kind < latchkey.ChangedToken || c.Kind > latchkey.ChangedRevocation {
			dense = false // what changed cannot be told
		}
	}
	// Numbers have no gaps: one that is missing is history that is not there.
	if rows > maxCatchUp || feed.Truncated || !dense || at != feed.Epoch {
		m.reset(feed.Epoch)
		return
	}
	if len(m.lastChange) > maxRecent {
		m.resetLastChange(after)
	}
	for _, c := range feed.Changes {
		m.invalidate(c)
		m.lastChange[c.Owner] = c.Epoch
	}
	m.epoch = feed.Epoch
}

// drop forgets what a change makes untrue. The caller holds m.mu.
func (m *recordCache) invalidate(c latchkey.Change) {
	t := m.owners[c.Owner]
	if t == nil {
		return
	}
	switch c.Kind {
	case latchkey.ChangedRole:
		m.addSize(t, -t.roles[c.ID].size)
		delete(t.roles, c.ID)
	case latchkey.ChangedToken:
		m.addSize(t, -t.tokens[c.ID].size)
		delete(t.tokens, c.ID)
	case latchkey.ChangedOwner: // or erased: roles too
		m.addSize(t, -t.size)
		delete(m.owners, c.Owner)
	}
}

func (m *recordCache) addSize(t *ownerEntry, delta int) {
	t.size += delta
	m.size += delta
}

// tenant is what may be said of the owner of a cut whose statement began after was, nil if nothing. The caller holds
// m.mu.
func (m *recordCache) usableEntry(f *latchkey.Found, was cacheMark) *ownerEntry {
	if m.generation != was.generation || f.Epoch < was.epoch || f.Epoch > m.epoch {
		return nil
	}
	return m.owners[f.Token.Owner]
}

// owner fills in f.Owner as of f.Epoch, if it is known.
func (m *recordCache) owner(f *latchkey.Found, was cacheMark) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.usableEntry(f, was)
	if t == nil || !t.owner.at(f.Epoch) {
		return false
	}
	f.Owner = latchkey.Owner{ID: f.Token.Owner}
	if t.owner.record != nil {
		f.Owner = t.owner.record.Clone()
	}
	return true
}

// ancestors fills in f.Ancestors as of f.Epoch, if all of them are known.
func (m *recordCache) ancestors(f *latchkey.Found, was cacheMark) bool {
	if f.Token.Parent == "" {
		return true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.usableEntry(f, was)
	if t == nil {
		return false
	}
	var chain []latchkey.Token
	for id := f.Token.Parent; id != ""; id = chain[len(chain)-1].Parent {
		k := t.tokens[id]
		if !k.at(f.Epoch) || len(chain) == maxDepth {
			return false
		}
		chain = append(chain, k.record.Clone())
	}
	f.Ancestors = chain
	return true
}

// roles fills in f.Roles as of f.Epoch, if all of them are known: those that the token and its ancestors name, and those
// that they inherit.
func (m *recordCache) roles(f *latchkey.Found, was cacheMark) bool {
	var wanted idSet
	if wanted.addNamed(f); len(wanted.list) == 0 {
		return true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.usableEntry(f, was)
	if t == nil {
		return false
	}
	var roles []latchkey.Role
	for i := 0; i < len(wanted.list); i++ { // it grows
		k := t.roles[wanted.list[i]]
		if !k.at(f.Epoch) {
			return false
		}
		if k.record == nil {
			continue
		}
		if roles == nil {
			roles = make([]latchkey.Role, 0, len(wanted.list)+len(k.record.Inherits))
		}
		roles = append(roles, k.record.Clone())
		wanted.add(k.record.Inherits)
	}
	f.Roles = roles
	return true
}

// ids is a list without repetitions.
type idSet struct {
	list []string
	seen map[string]bool // once it is long
}

func (s *idSet) add(more []string) {
	for _, id := range more {
		if s.seen == nil && len(s.list) == 16 {
			s.seen = make(map[string]bool, 64)
			for _, id := range s.list {
				s.seen[id] = true
			}
		}
		if s.seen == nil && slices.Contains(s.list, id) || s.seen[id] {
			continue
		}
		if s.list = append(s.list, id); s.seen != nil {
			s.seen[id] = true
		}
	}
}

// named adds the roles that a token and its ancestors name.
func (s *idSet) addNamed(f *latchkey.Found) {
	s.add(f.Token.Roles)
	for i := range f.Ancestors {
		s.add(f.Ancestors[i].Roles)
	}
}

// learnOwner keeps the owner's record, or that there is none, as it was read as of f.Epoch by a statement that began after
// was.
func (m *recordCache) addOwner(f *latchkey.Found, was cacheMark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.entryToFill(f, was)
	if t == nil || t.owner.size != 0 {
		return
	}
	t.owner = cacheEntry[latchkey.Owner]{since: f.Epoch, size: entrySize}
	if f.Owner.Version != 0 {
		t.owner.size += rulesSize(len(f.Owner.Extra), f.Owner.Boundary)
		t.owner.record = new(f.Owner.Clone())
		t.owner.record.ID = strings.Clone(f.Owner.ID)
	}
	m.addSize(t, t.owner.size)
	m.evict(f.Token.Owner)
}

// learnRoles is learnOwner for all the roles that f needs. Those that f.Roles lacks do not exist.
func (m *recordCache) addRoles(f *latchkey.Found, was cacheMark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.entryToFill(f, was)
	if t == nil {
		return
	}
	if t.roles == nil {
		t.roles = make(map[string]cacheEntry[latchkey.Role], len(f.Roles))
	}
	keep := func(id string, k cacheEntry[latchkey.Role]) {
		if t.roles[id].size == 0 {
			k.since = f.Epoch
			t.roles[id] = k
			m.addSize(t, k.size)
		}
	}
	var wanted idSet
	wanted.addNamed(f)
	for i := range f.Roles {
		r := f.Roles[i].Clone()
		keep(r.ID, cacheEntry[latchkey.Role]{record: &r, size: entrySize + 64*len(r.Inherits) +
			rulesSize(len(r.Extra), r.Permissions) + rulesSize(0, r.Boundary)})
		wanted.add(r.Inherits)
	}
	for _, id := range wanted.list {
		keep(id, cacheEntry[latchkey.Role]{size: entrySize})
	}
	m.evict(f.Token.Owner)
}

// learnAncestors is learnOwner for those of f's ancestors that may be kept.
func (m *recordCache) addAncestors(f *latchkey.Found, was cacheMark) {
	if len(f.Ancestors) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.entryToFill(f, was)
	if t == nil {
		return
	}
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		if !a.Revoked.IsZero() || !a.Validity.NotAfter.IsZero() || a.Validity.Idle != 0 || t.tokens[a.ID].size != 0 {
			continue
		}
		packed, err := packToken(a) // which its texts are a part of
		if err != nil {
			continue
		}
		record := a.Clone()
		k := cacheEntry[latchkey.Token]{record: &record, since: f.Epoch,
			size: 2*entrySize + rulesSize(unpackedFactor*len(packed), a.Permissions)}
		if t.tokens == nil {
			t.tokens = make(map[string]cacheEntry[latchkey.Token], len(f.Ancestors))
		}
		t.tokens[strings.Clone(a.ID)] = k
		m.addSize(t, k.size)
	}
	m.evict(f.Token.Owner)
}

// learning is the tenant that may learn what was read as of f.Epoch, nil if none: with the memory ahead of it nobody knows
// whether it still is so. The caller holds m.mu.
func (m *recordCache) entryToFill(f *latchkey.Found, was cacheMark) *ownerEntry {
	if m.generation != was.generation || m.epoch < f.Epoch || m.epoch > f.Epoch && !m.unchangedSince(f.Token.Owner, f.Epoch) {
		return nil
	}
	t := m.owners[f.Token.Owner]
	if t == nil {
		t = &ownerEntry{}
		m.owners[strings.Clone(f.Token.Owner)] = t // it may be a part of all that was read of a token
		m.addSize(t, entrySize)
	}
	return t
}

// shrink drops owners, whichever come, until half of the room is free again. The one just learnt stays, if it is not too
// big by itself.
func (m *recordCache) evict(just string) {
	if m.size <= m.maxSize {
		return
	}
	for id, t := range m.owners {
		if m.size <= m.maxSize/2 {
			return
		}
		if id != just {
			m.addSize(t, -t.size)
			delete(m.owners, id)
		}
	}
	if t := m.owners[just]; t != nil && m.size > m.maxSize {
		m.addSize(t, -t.size)
		delete(m.owners, just)
	}
}

// weightOf is about what rules take. A rule has many patterns at most when it was written so: the text says it best.
func rulesSize(extra int, rules latchkey.Permissions) int {
	n := extra
	for _, r := range rules {
		n += 256 + 4*len(r.String())
	}
	return n
}
