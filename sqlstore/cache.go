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
type memory struct {
	catching chan struct{} // holds one value while somebody reads the feed

	mu     sync.RWMutex
	epoch  uint64
	turn   uint64 // grows when everything is forgotten
	owners map[string]*tenant
	weight int // of all entries, about bytes
	max    int
	recent map[string]uint64 // the last change of each owner that had one above since
	since  uint64
}

// tenant is what is known of one owner. Fields change only under memory.mu.
type tenant struct {
	owner  known[latchkey.Owner]
	roles  map[string]known[latchkey.Role]
	tokens map[string]known[latchkey.Token] // ancestors
	weight int
}

// known is a record as it has been since an epoch. Nobody may change it: whoever answers with it makes a copy.
type known[T any] struct {
	record *T // nil: there is none
	from   uint64
	weight int // 0: nothing is known
}

func (k known[T]) at(epoch uint64) bool { return k.weight != 0 && k.from <= epoch }

const (
	// maxMemory bounds what a Store remembers, in bytes, about.
	maxMemory = 32 << 20
	// entryWeight is what an entry weighs beside its bodies: the record, its ids, its share of a map.
	entryWeight = 512
	// packedWeight is what a byte of a record weighs, unpacked: a value of a few bytes becomes an entry of a map.
	packedWeight = 8
	// maxDepth is how many ancestors are followed, as in selectKin.
	maxDepth = 255
	// maxCatchUp is how many changes are read to bring the memory up to date. Behind more it is as well emptied.
	maxCatchUp = 1000
)

func newMemory() *memory {
	return &memory{catching: make(chan struct{}, 1), owners: map[string]*tenant{}, max: maxMemory,
		recent: map[string]uint64{}}
}

// mark is where the memory stood before a statement was begun.
type mark struct{ epoch, turn uint64 }

func (m *memory) mark() mark {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return mark{m.epoch, m.turn}
}

// forget empties the memory, and takes epoch as the one up to which the nothing in it is known. The caller holds m.mu.
func (m *memory) forget(epoch uint64) {
	clear(m.owners)
	m.weight, m.epoch = 0, epoch
	m.turn++
	m.restart(epoch)
}

// restart forgets who changed up to epoch. The caller holds m.mu.
func (m *memory) restart(epoch uint64) {
	clear(m.recent)
	m.since = epoch
}

// quiet reports whether it is known that nothing of the owner changed after epoch, up to m.epoch. The caller holds
// m.mu.
func (m *memory) quiet(owner string, epoch uint64) bool {
	return m.since <= epoch && m.recent[owner] <= epoch
}

// still reports whether what was read of f's owner as of a later epoch is what it was as of f.Epoch: two readings make
// one cut if nothing of that owner changed between them. Else whoever is far from the database would begin anew with
// every change of anybody.
func (s *Store) still(ctx context.Context, f *latchkey.Found, epoch uint64, was mark) (bool, error) {
	if epoch <= f.Epoch {
		return epoch == f.Epoch, nil
	}
	if err := s.follow(ctx, epoch, was, true); err != nil {
		return false, err
	}
	m := s.memory
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.turn == was.turn && m.epoch >= epoch && m.quiet(f.Token.Owner, f.Epoch), nil
}

// reach brings the memory to the epoch of a cut whose statement began after was, or beyond.
func (s *Store) reach(ctx context.Context, epoch uint64, was mark) error {
	return s.follow(ctx, epoch, was, false)
}

// followPatience is how long a caller waits for another one that reads the feed. That one's connection may be dead.
const followPatience = 100 * time.Millisecond

// follow is reach. With changes it reads who changed even where nothing is known that could be wrong.
func (s *Store) follow(ctx context.Context, epoch uint64, was mark, changes bool) error {
	m := s.memory
	m.mu.RLock()
	there := epoch <= m.epoch && epoch >= was.epoch
	m.mu.RUnlock()
	if there {
		return nil
	}
	if epoch < was.epoch {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.turn == was.turn { // otherwise somebody else has seen it
			m.forget(epoch)
		}
		return nil
	}
	patience := time.NewTimer(followPatience)
	defer patience.Stop()
	select {
	case m.catching <- struct{}{}:
		defer func() { <-m.catching }()
	case <-patience.C: // read beside it
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		m.mu.Lock()
		if !changes && len(m.owners) == 0 && m.epoch < epoch {
			m.epoch = epoch // nothing is known, so nothing can be wrong
			m.restart(epoch)
		}
		after, turn := m.epoch, m.turn
		m.mu.Unlock()
		if after >= epoch {
			return nil // somebody else did it while we waited
		}
		var feed latchkey.Feed
		var now sql.NullInt64
		rows, err := s.feed(ctx, &feed, &now, after, maxCatchUp+1)
		if err != nil {
			return err
		}
		m.mu.Lock()
		switch {
		case m.turn != turn:
			m.mu.Unlock()
			return nil // the cut will be read again
		case m.epoch == after:
			m.learnChanges(&feed, rows)
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock() // somebody who read beside us was faster
	}
}

// maxRecent bounds the owners whose last change is remembered.
const maxRecent = 10_000

// learnChanges brings the memory to a feed that was read as of m.epoch. The caller holds m.mu.
func (m *memory) learnChanges(feed *latchkey.Feed, rows int) {
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
		m.forget(feed.Epoch)
		return
	}
	if len(m.recent) > maxRecent {
		m.restart(after)
	}
	for _, c := range feed.Changes {
		m.drop(c)
		m.recent[c.Owner] = c.Epoch
	}
	m.epoch = feed.Epoch
}

// drop forgets what a change makes untrue. The caller holds m.mu.
func (m *memory) drop(c latchkey.Change) {
	t := m.owners[c.Owner]
	if t == nil {
		return
	}
	switch c.Kind {
	case latchkey.ChangedRole:
		m.weigh(t, -t.roles[c.ID].weight)
		delete(t.roles, c.ID)
	case latchkey.ChangedToken:
		m.weigh(t, -t.tokens[c.ID].weight)
		delete(t.tokens, c.ID)
	case latchkey.ChangedOwner: // or erased: roles too
		m.weigh(t, -t.weight)
		delete(m.owners, c.Owner)
	}
}

func (m *memory) weigh(t *tenant, delta int) {
	t.weight += delta
	m.weight += delta
}

// tenant is what may be said of the owner of a cut whose statement began after was, nil if nothing. The caller holds
// m.mu.
func (m *memory) tenant(f *latchkey.Found, was mark) *tenant {
	if m.turn != was.turn || f.Epoch < was.epoch || f.Epoch > m.epoch {
		return nil
	}
	return m.owners[f.Token.Owner]
}

// owner fills in f.Owner as of f.Epoch, if it is known.
func (m *memory) owner(f *latchkey.Found, was mark) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.tenant(f, was)
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
func (m *memory) ancestors(f *latchkey.Found, was mark) bool {
	if f.Token.Parent == "" {
		return true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.tenant(f, was)
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
func (m *memory) roles(f *latchkey.Found, was mark) bool {
	var wanted ids
	if wanted.named(f); len(wanted.list) == 0 {
		return true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := m.tenant(f, was)
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
type ids struct {
	list []string
	seen map[string]bool // once it is long
}

func (s *ids) add(more []string) {
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
func (s *ids) named(f *latchkey.Found) {
	s.add(f.Token.Roles)
	for i := range f.Ancestors {
		s.add(f.Ancestors[i].Roles)
	}
}

// learnOwner keeps the owner's record, or that there is none, as it was read as of f.Epoch by a statement that began after
// was.
func (m *memory) learnOwner(f *latchkey.Found, was mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.learning(f, was)
	if t == nil || t.owner.weight != 0 {
		return
	}
	t.owner = known[latchkey.Owner]{from: f.Epoch, weight: entryWeight}
	if f.Owner.Version != 0 {
		t.owner.weight += weightOf(len(f.Owner.Extra), f.Owner.Boundary)
		t.owner.record = new(f.Owner.Clone())
		t.owner.record.ID = strings.Clone(f.Owner.ID)
	}
	m.weigh(t, t.owner.weight)
	m.shrink(f.Token.Owner)
}

// learnRoles is learnOwner for all the roles that f needs. Those that f.Roles lacks do not exist.
func (m *memory) learnRoles(f *latchkey.Found, was mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.learning(f, was)
	if t == nil {
		return
	}
	if t.roles == nil {
		t.roles = make(map[string]known[latchkey.Role], len(f.Roles))
	}
	keep := func(id string, k known[latchkey.Role]) {
		if t.roles[id].weight == 0 {
			k.from = f.Epoch
			t.roles[id] = k
			m.weigh(t, k.weight)
		}
	}
	var wanted ids
	wanted.named(f)
	for i := range f.Roles {
		r := f.Roles[i].Clone()
		keep(r.ID, known[latchkey.Role]{record: &r, weight: entryWeight + 64*len(r.Inherits) +
			weightOf(len(r.Extra), r.Permissions) + weightOf(0, r.Boundary)})
		wanted.add(r.Inherits)
	}
	for _, id := range wanted.list {
		keep(id, known[latchkey.Role]{weight: entryWeight})
	}
	m.shrink(f.Token.Owner)
}

// learnAncestors is learnOwner for those of f's ancestors that may be kept.
func (m *memory) learnAncestors(f *latchkey.Found, was mark) {
	if len(f.Ancestors) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.learning(f, was)
	if t == nil {
		return
	}
	for i := range f.Ancestors {
		a := &f.Ancestors[i]
		if !a.Revoked.IsZero() || !a.Validity.NotAfter.IsZero() || a.Validity.Idle != 0 || t.tokens[a.ID].weight != 0 {
			continue
		}
		packed, err := packToken(a) // which its texts are a part of
		if err != nil {
			continue
		}
		record := a.Clone()
		k := known[latchkey.Token]{record: &record, from: f.Epoch,
			weight: 2*entryWeight + weightOf(packedWeight*len(packed), a.Permissions)}
		if t.tokens == nil {
			t.tokens = make(map[string]known[latchkey.Token], len(f.Ancestors))
		}
		t.tokens[strings.Clone(a.ID)] = k
		m.weigh(t, k.weight)
	}
	m.shrink(f.Token.Owner)
}

// learning is the tenant that may learn what was read as of f.Epoch, nil if none: with the memory ahead of it nobody knows
// whether it still is so. The caller holds m.mu.
func (m *memory) learning(f *latchkey.Found, was mark) *tenant {
	if m.turn != was.turn || m.epoch < f.Epoch || m.epoch > f.Epoch && !m.quiet(f.Token.Owner, f.Epoch) {
		return nil
	}
	t := m.owners[f.Token.Owner]
	if t == nil {
		t = &tenant{}
		m.owners[strings.Clone(f.Token.Owner)] = t // it may be a part of all that was read of a token
		m.weigh(t, entryWeight)
	}
	return t
}

// shrink drops owners, whichever come, until half of the room is free again. The one just learnt stays, if it is not too
// big by itself.
func (m *memory) shrink(just string) {
	if m.weight <= m.max {
		return
	}
	for id, t := range m.owners {
		if m.weight <= m.max/2 {
			return
		}
		if id != just {
			m.weigh(t, -t.weight)
			delete(m.owners, id)
		}
	}
	if t := m.owners[just]; t != nil && m.weight > m.max {
		m.weigh(t, -t.weight)
		delete(m.owners, just)
	}
}

// weightOf is about what rules take. A rule has many patterns at most when it was written so: the text says it best.
func weightOf(extra int, rules latchkey.Permissions) int {
	n := extra
	for _, r := range rules {
		n += 256 + 4*len(r.String())
	}
	return n
}
