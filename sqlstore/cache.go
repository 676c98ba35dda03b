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

// recordCache holds roles, owners' records and tokens that others were minted from. With them a token is read by one
// statement. Its content is exact:
//
//   - Each entry states since which epoch it is known. All entries are known up to recordCache.epoch. Every change of a
//     record advances the epoch and is in the feed, so entries that changed up to then have been removed. A cut with an
//     epoch between the two would have read the same entry.
//   - For a cut ahead of recordCache.epoch, the feed is read first, at least up to the cut.
//   - A cut may be behind the epoch that the cache had before the cut's statement began. It comes from another history,
//     such as a restored copy. The cache is then emptied.
//
// Roles and owners' records that do not exist are cached as missing. Tokens are not: inserting one does not advance the
// epoch. Purge does not advance the epoch either, so only tokens that Purge leaves alone are kept. Nor does a last use,
// so the one of a cached token may be old. It matters only for tokens with Validity.Idle, which are not kept.
type recordCache struct {
	feedReader chan struct{} // a semaphore: full while one caller reads the feed

	mu             sync.RWMutex
	epoch          uint64
	generation     uint64 // grows with each reset
	owners         map[string]*ownerEntry
	size           int // of all entries, in approximate bytes
	maxSize        int
	lastChange     map[string]*uint64 // by owner: the epoch of its last change after lastChangeFrom
	lastChangeFrom uint64
}

// ownerEntry is what is known of one owner. Fields change only under recordCache.mu.
type ownerEntry struct {
	owner  cacheEntry[latchkey.Owner]
	roles  map[string]cacheEntry[latchkey.Role]
	tokens map[string]cacheEntry[latchkey.Token] // ancestors
	size   int
}

// cacheEntry is a record as it has been since an epoch. It is immutable: answers hold a copy.
type cacheEntry[T any] struct {
	record *T // nil: it does not exist
	since  uint64
	size   int // 0: the entry is empty
}

func (k cacheEntry[T]) at(epoch uint64) bool { return k.size != 0 && k.since <= epoch }

const (
	// maxCacheSize bounds the cache of one Store, in approximate bytes. A single owner may take twice as much.
	maxCacheSize = 32 << 20
	// entrySize is the size of an entry without its bodies: the record, its ids, its share of a map.
	entrySize = 512
	// unpackedFactor is the memory that each byte of a packed record takes when unpacked. A value of a few bytes becomes
	// an entry of a map.
	unpackedFactor = 8
	// maxDepth is how many ancestors are followed, as in selectDependencies.
	maxDepth = 255
	// maxCatchUp is how many changes are read to bring the cache up to date. If there are more, it is emptied.
	maxCatchUp = 1000
)

func newRecordCache() *recordCache {
	return &recordCache{feedReader: make(chan struct{}, 1), owners: map[string]*ownerEntry{}, maxSize: maxCacheSize,
		lastChange: map[string]*uint64{}}
}

// cacheMark is the state of the cache before a statement began.
type cacheMark struct{ epoch, generation uint64 }

func (rc *recordCache) mark() cacheMark {
	rc.mu.RLock()
	defer rc.mu.RUnlock()
	return cacheMark{rc.epoch, rc.generation}
}

// reset empties the cache and sets its epoch. The caller holds rc.mu.
func (rc *recordCache) reset(epoch uint64) {
	clear(rc.owners)
	rc.size, rc.epoch = 0, epoch
	rc.generation++
	rc.resetLastChange(epoch)
}

// resetLastChange forgets which owners changed up to epoch. The caller holds rc.mu.
func (rc *recordCache) resetLastChange(epoch uint64) {
	clear(rc.lastChange)
	rc.lastChangeFrom = epoch
}

// unchangedSince reports whether it is known that nothing of the owner changed after epoch, up to rc.epoch. The caller
// holds rc.mu.
func (rc *recordCache) unchangedSince(owner string, epoch uint64) bool {
	last := rc.lastChange[owner]
	return rc.lastChangeFrom <= epoch && (last == nil || *last <= epoch)
}

// sameCut reports whether what was read of f's owner as of a later epoch is the same as of f.Epoch. Two reads make one
// cut if nothing of that owner changed between them. If the epochs had to be equal, a process far from the database
// would start again with every change of any owner.
func (s *Store) sameCut(ctx context.Context, f *latchkey.Found, epoch uint64, was cacheMark) (bool, error) {
	if epoch <= f.Epoch {
		return epoch == f.Epoch, nil
	}
	if err := s.followFeed(ctx, epoch, was, true); err != nil {
		return false, err
	}
	rc := s.cache
	rc.mu.RLock()
	defer rc.mu.RUnlock()
	return rc.generation == was.generation && rc.epoch >= epoch && rc.unchangedSince(f.Token.Owner, f.Epoch), nil
}

// catchUp brings the cache at least to the epoch of a cut whose statement began after was.
func (s *Store) catchUp(ctx context.Context, epoch uint64, was cacheMark) error {
	return s.followFeed(ctx, epoch, was, false)
}

// maxFeedWait is how long a caller waits for another one that reads the feed. The connection of the other may be dead.
const maxFeedWait = 100 * time.Millisecond

// followFeed is catchUp. If changes is set, it also reads which owners changed when the cache is empty.
func (s *Store) followFeed(ctx context.Context, epoch uint64, was cacheMark, changes bool) error {
	rc := s.cache
	rc.mu.RLock()
	current := epoch <= rc.epoch && epoch >= was.epoch
	rc.mu.RUnlock()
	if current {
		return nil
	}
	if epoch < was.epoch {
		rc.mu.Lock()
		defer rc.mu.Unlock()
		if rc.generation == was.generation { // otherwise another caller has reset it
			rc.reset(epoch)
		}
		return nil
	}
	wait := time.NewTimer(maxFeedWait)
	defer wait.Stop()
	select {
	case rc.feedReader <- struct{}{}:
		defer func() { <-rc.feedReader }()
	case <-wait.C: // read at the same time
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		rc.mu.Lock()
		if !changes && len(rc.owners) == 0 && rc.epoch < epoch {
			rc.epoch = epoch // an empty cache has nothing to invalidate
			rc.resetLastChange(epoch)
		}
		after, turn := rc.epoch, rc.generation
		rc.mu.Unlock()
		if after >= epoch {
			return nil // another caller did it during the wait
		}
		var feed latchkey.Feed
		var now sql.NullInt64
		_, more, err := s.readFeed(ctx, &feed, &now, after, maxCatchUp+1)
		if err != nil {
			return err
		}
		rc.mu.Lock()
		switch {
		case rc.generation != turn:
			rc.mu.Unlock()
			return nil // the caller reads its cut again
		case rc.epoch == after:
			rc.applyFeed(&feed, more)
			rc.mu.Unlock()
			return nil
		}
		rc.mu.Unlock() // another caller was faster
	}
}

// maxRecent bounds the number of owners whose last change is kept.
const maxRecent = 10_000

// applyFeed brings the cache to a feed that was read from rc.epoch on. If there are more changes than that, the cache
// forgets everything. The caller holds rc.mu.
func (rc *recordCache) applyFeed(feed *latchkey.Feed, more bool) {
	after := rc.epoch
	at, dense := after, true
	for _, c := range feed.Changes {
		dense = dense && (c.Epoch == at+1 || c.Epoch == at && at > after)
		at = c.Epoch
		if c.Kind < latchkey.ChangedToken || c.Kind > latchkey.ChangedRevocation {
			dense = false // an unknown kind of change
		}
	}
	// Epochs have no gaps: if one is missing, so is a part of the history.
	if more || feed.Truncated || !dense || at != feed.Epoch {
		rc.reset(feed.Epoch)
		return
	}
	if len(rc.lastChange) > maxRecent {
		rc.resetLastChange(after)
	}
	for _, c := range feed.Changes {
		rc.invalidate(c)
		if last := rc.lastChange[c.Owner]; last != nil {
			*last = c.Epoch // an assignment to the map would keep the text
		} else {
			rc.lastChange[strings.Clone(c.Owner)] = new(c.Epoch) // which shares the memory of the whole feed
		}
	}
	rc.epoch = feed.Epoch
}

// invalidate removes what a change makes untrue. The caller holds rc.mu.
func (rc *recordCache) invalidate(c latchkey.Change) {
	t := rc.owners[c.Owner]
	if t == nil {
		return
	}
	switch c.Kind {
	case latchkey.ChangedRole:
		rc.addSize(t, -t.roles[c.ID].size)
		delete(t.roles, c.ID)
	case latchkey.ChangedToken:
		rc.addSize(t, -t.tokens[c.ID].size)
		delete(t.tokens, c.ID)
	case latchkey.ChangedOwner: // the owner may be erased, with its roles
		rc.addSize(t, -t.size)
		delete(rc.owners, c.Owner)
	}
}

func (rc *recordCache) addSize(t *ownerEntry, delta int) {
	t.size += delta
	rc.size += delta
}

// usableEntry returns the owner's entry if it may serve a cut whose statement began after was, otherwise nil. The
// caller holds rc.mu.
func (rc *recordCache) usableEntry(f *latchkey.Found, was cacheMark) *ownerEntry {
	if rc.generation != was.generation || f.Epoch < was.epoch || f.Epoch > rc.epoch {
		return nil
	}
	return rc.owners[f.Token.Owner]
}

// owner fills in f.Owner as of f.Epoch. It reports whether the cache has it.
func (rc *recordCache) owner(f *latchkey.Found, was cacheMark) bool {
	rc.mu.RLock()
	defer rc.mu.RUnlock()
	t := rc.usableEntry(f, was)
	if t == nil || !t.owner.at(f.Epoch) {
		return false
	}
	f.Owner = latchkey.Owner{ID: f.Token.Owner}
	if t.owner.record != nil {
		f.Owner = t.owner.record.Clone()
	}
	return true
}

// ancestors fills in f.Ancestors as of f.Epoch. It reports whether the cache has all of them.
func (rc *recordCache) ancestors(f *latchkey.Found, was cacheMark) bool {
	if f.Token.Parent == "" {
		return true
	}
	rc.mu.RLock()
	defer rc.mu.RUnlock()
	t := rc.usableEntry(f, was)
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

// roles fills in f.Roles as of f.Epoch: those that the token and its ancestors name, and those that these inherit. It
// reports whether the cache has all of them.
func (rc *recordCache) roles(f *latchkey.Found, was cacheMark) bool {
	var wanted idSet
	if wanted.addNamed(f); len(wanted.list) == 0 {
		return true
	}
	rc.mu.RLock()
	defer rc.mu.RUnlock()
	t := rc.usableEntry(f, was)
	if t == nil {
		return false
	}
	var roles []latchkey.Role
	for i := 0; i < len(wanted.list); i++ { // the list grows
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

// idSet is a list without repetitions.
type idSet struct {
	list []string
	seen map[string]bool // nil while the list is short
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

// addNamed adds the roles that a token and its ancestors name.
func (s *idSet) addNamed(f *latchkey.Found) {
	s.add(f.Token.Roles)
	for i := range f.Ancestors {
		s.add(f.Ancestors[i].Roles)
	}
}

// addOwner stores the owner's record, or that there is none, as of f.Epoch. The statement that read it began after was.
func (rc *recordCache) addOwner(f *latchkey.Found, was cacheMark) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	t := rc.entryToFill(f, was)
	if t == nil || t.owner.size != 0 {
		return
	}
	t.owner = cacheEntry[latchkey.Owner]{since: f.Epoch, size: entrySize}
	if f.Owner.Version != 0 {
		t.owner.size += rulesSize(len(f.Owner.Extra), f.Owner.Boundary)
		t.owner.record = new(f.Owner.Clone())
		t.owner.record.ID = strings.Clone(f.Owner.ID)
	}
	rc.addSize(t, t.owner.size)
	rc.evict(f.Token.Owner)
}

// addRoles is addOwner for all roles that f needs. Those that f.Roles lacks do not exist.
func (rc *recordCache) addRoles(f *latchkey.Found, was cacheMark) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	t := rc.entryToFill(f, was)
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
			rc.addSize(t, k.size)
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
	rc.evict(f.Token.Owner)
}

// addAncestors is addOwner for those of f's ancestors that may be kept.
func (rc *recordCache) addAncestors(f *latchkey.Found, was cacheMark) {
	if len(f.Ancestors) == 0 {
		return
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	t := rc.entryToFill(f, was)
	if t == nil {
		return
	}
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		if !a.Revoked.IsZero() || !a.Validity.NotAfter.IsZero() || a.Validity.Idle != 0 || t.tokens[a.ID].size != 0 {
			continue
		}
		packed, err := packToken(a) // its texts share the memory of the whole record
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
		rc.addSize(t, k.size)
	}
	rc.evict(f.Token.Owner)
}

// entryToFill returns the entry that may store what was read as of f.Epoch, otherwise nil. It is nil if the cache is
// ahead of f.Epoch and the owner may have changed since. The caller holds rc.mu.
func (rc *recordCache) entryToFill(f *latchkey.Found, was cacheMark) *ownerEntry {
	if rc.generation != was.generation || rc.epoch < f.Epoch ||
		rc.epoch > f.Epoch && !rc.unchangedSince(f.Token.Owner, f.Epoch) {
		return nil
	}
	t := rc.owners[f.Token.Owner]
	if t == nil {
		t = &ownerEntry{}
		rc.owners[strings.Clone(f.Token.Owner)] = t // the text may share the memory of a whole token
		rc.addSize(t, entrySize)
	}
	return t
}

// evict removes owners in no particular order, until half of the space is free. It keeps just, the one that was added
// last. That one may take up to twice the space, alone: a role of 100,000 grants would otherwise be read and unpacked
// for each token.
func (rc *recordCache) evict(just string) {
	if rc.size <= rc.maxSize {
		return
	}
	for id, t := range rc.owners {
		if rc.size <= rc.maxSize/2 {
			return
		}
		if id != just {
			rc.addSize(t, -t.size)
			delete(rc.owners, id)
		}
	}
	if t := rc.owners[just]; t != nil && t.size > 2*rc.maxSize {
		rc.addSize(t, -t.size)
		delete(rc.owners, just)
	}
}

// rulesSize returns the approximate size of rules and extra in memory. A rule has many patterns only if it was written
// so, and its text shows how many.
func rulesSize(extra int, rules latchkey.Permissions) int {
	n := extra
	for _, r := range rules {
		n += 256 + 4*len(r.String())
	}
	return n
}
