package latchkey

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// revocations are those of the stateless tokens of a feed that last. They follow the feed as the cache does, with an
// epoch of their own: the cache skips changes while it holds nothing. A process reads them when it first needs them,
// and again when it missed some.
type revocations struct {
	mu      sync.RWMutex
	known   bool
	epoch   uint64 // up to which all of them are in of
	of      map[revocationKey]revokedBefore
	prune   int               // above this number, those that are over are dropped
	readers []*revocationRead // that are under way
}

// revocationRead is a read of all revocations. It also holds what the feed told of since it began.
type revocationRead struct {
	at   uint64 // what was told of up to this epoch is in told, or was there when it began
	told []Change
}

type revocationKey struct {
	owner string
	of    RevocationOf
	id    string
}

// revokedBefore is what is revoked of the tokens that a key names.
type revokedBefore struct {
	before int64 // µs: those that were made earlier
	until  int64 // µs: the last of them has ended
}

// reaches reports whether all revocations up to an epoch are known.
func (r *revocations) reaches(epoch uint64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.known && r.epoch >= epoch
}

// forget drops all: the store has another history. What is being read of it does not count.
func (r *revocations) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.of, r.readers = false, nil, nil
}

// follow takes note of what the feed told between two epochs. It does nothing if there is a gap before them: then all
// of them are read again.
func (r *revocations) follow(after uint64, changes []Change, at uint64, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reader := range r.readers {
		if after <= reader.at && at > reader.at {
			reader.told = append(reader.told, changes...)
			reader.at = at
		}
	}
	if r.known && after <= r.epoch && at > r.epoch {
		for i := range changes {
			r.add(&changes[i])
		}
		r.epoch = at
		r.drop(now)
	}
}

// begin notes that a read of all of them begins when the feed is at an epoch.
func (r *revocations) begin(epoch uint64) *revocationRead {
	r.mu.Lock()
	defer r.mu.Unlock()
	reader := &revocationRead{at: epoch}
	r.readers = append(r.readers, reader)
	return reader
}

// end takes what a read found. It does nothing if the read does not count any more. With ok false the read has failed.
func (r *revocations) end(reader *revocationRead, found []Change, ok bool, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.readers, reader)
	if i < 0 {
		return
	}
	r.readers = slices.Delete(r.readers, i, i+1)
	if !ok || r.known && r.epoch >= reader.at {
		return
	}
	r.of, r.epoch, r.known = make(map[revocationKey]revokedBefore, len(found)), reader.at, true
	for i := range found {
		r.add(&found[i])
	}
	for i := range reader.told {
		r.add(&reader.told[i])
	}
	r.drop(now)
}

// add adds a change, if it is a revocation. The caller holds mu. Of two that name the same tokens the later ends count.
func (r *revocations) add(c *Change) {
	if c.Kind != ChangedRevocation || c.Until.IsZero() {
		return
	}
	key, was := revocationKey{c.Owner, c.Of, c.ID}, revokedBefore{math.MaxInt64, c.Until.UnixMicro()}
	if !c.Before.IsZero() {
		was.before = c.Before.UnixMicro()
	}
	if had, ok := r.of[key]; ok {
		was = revokedBefore{max(was.before, had.before), max(was.until, had.until)}
	}
	// The texts may share the memory of all that was read with them. An assignment to the map keeps the new ones.
	key.owner, key.id = strings.Clone(key.owner), strings.Clone(key.id)
	r.of[key] = was
}

// drop drops those that are over, if there are many. The caller holds mu.
func (r *revocations) drop(now int64) {
	if len(r.of) <= r.prune {
		return
	}
	for key, was := range r.of {
		if was.until <= now-clockBound.Microseconds() {
			delete(r.of, key)
		}
	}
	r.prune = 2*len(r.of) + 1000
}

// before returns the time, in µs, before which the stateless tokens of a chain and a client are revoked, by what is not
// about one token alone. 0: none is. Client is the client's id, and up are the records of the parent, of the same
// owner. Known is false if the revocations were forgotten since knowRevocations: then nothing follows from what is
// left.
func (r *revocations) before(client string, up *Found) (before int64, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.beforeLocked(client, up), r.known
}

// beforeLocked is before where the caller holds mu.
func (r *revocations) beforeLocked(client string, up *Found) (before int64) {
	if len(r.of) == 0 {
		return 0
	}
	owner := up.Token.Owner
	before = max(r.of[revocationKey{owner, RevokedOwner, ""}].before,
		r.of[revocationKey{owner, RevokedClient, clientRevocationID(client)}].before)
	for i := -1; i < len(up.Ancestors); i++ {
		before = max(before, r.of[revocationKey{owner, RevokedParent, up.inChain(i).ID}].before)
	}
	return before
}

// revoked reports whether a stateless token is revoked that was made at a time, in µs. Client, up and known are as for
// before.
func (r *revocations) revoked(id [16]byte, client string, made int64, up *Found) (revoked, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.of) == 0 {
		return false, r.known
	}
	if made < r.beforeLocked(client, up) {
		return true, r.known
	}
	return made < r.of[revocationKey{up.Token.Owner, RevokedToken, uuidv7.Text(id)}].before, r.known
}

// errHistory is returned where the store's history changed again and again while it was asked: fail closed.
var errHistory = fmt.Errorf("%w: the history of the store keeps changing", ErrUnavailable)

// knowRevocations returns once all revocations are known that the cache's epoch of the feed holds, which it returns. It
// is called after ensureFresh.
func (f *follower) knowRevocations(ctx context.Context) (epoch uint64, err error) {
	for range 4 {
		if epoch = f.cached.Epoch(); f.revoked.reaches(epoch) {
			return epoch, nil
		}
		if _, err := f.revokedReads.Do(ctx, &f.revokedWindow, f.readRevocations); err != nil {
			return 0, err
		}
		if f.revoked.reaches(epoch) {
			return epoch, nil
		}
	}
	return 0, errHistory
}

// readRevocations reads all revocations that last.
func (f *follower) readRevocations(ctx context.Context) (struct{}, error) {
	f.applying.Lock() // what is applied from now on is told of
	reader := f.revoked.begin(f.cached.Epoch())
	f.applying.Unlock()
	now := f.m.expiryNow()
	q := RevocationQuery{Page: Page{Limit: 1000}, Feed: f.id, Until: fromMicros(now).Add(-clockBound)}
	var all []Change
	whole := false
	defer func() { f.revoked.end(reader, all, whole, now) }() // also if the store panics
	for {
		page, next, err := f.m.store.Revocations(ctx, q)
		if err != nil {
			return struct{}{}, fault.Unavailable(err)
		}
		for i := range page {
			if page[i].Kind != ChangedRevocation || page[i].Of > RevokedOwner {
				return struct{}{}, fmt.Errorf("%w: a revocation of owner %q cannot be read", ErrUnavailable, page[i].Owner)
			}
		}
		if all = append(all, page...); next == "" {
			whole = true
			return struct{}{}, nil
		}
		q.After = next
	}
}

// dateRevocations sets Before and Until of revocations of an owner that are about to be written. Those of a token spare
// none. Others spare what is made later, and where Before is set already, what was made at that time or later.
//
// A token that another machine made before may have a later time, by as much as clocks may differ; or it was dated
// behind an earlier revocation. So Before lies behind both.
func (m *Manager) dateRevocations(ctx context.Context, owner string, all []Revocation) error {
	last := int64(0)
	if slices.ContainsFunc(all, func(r Revocation) bool { return r.Of != RevokedToken }) {
		f, err := m.feedOf(owner)
		if err != nil {
			return err
		}
		if _, err := f.poll(ctx); err != nil {
			return err
		}
		if _, err := f.knowRevocations(ctx); err != nil {
			return err
		}
		if last, err = f.lastRevoked(owner); err != nil {
			return err
		}
	}
	before := fromMicros(max(m.creationNow()+aheadBound.Microseconds(), last) + 1)
	for i := range all {
		r := &all[i]
		if r.Of == RevokedToken {
			r.Until = fromMicros(uuidv7.Time(uuidv7.Parse(r.ID))).Add(MaxStateless + 2*aheadBound)
			continue
		}
		if r.Before.IsZero() || r.Before.After(before) {
			r.Before = before
		}
		r.Until = before.Add(MaxStateless + aheadBound)
	}
	return nil
}

// aheadBound is how far the clocks of two machines may differ, of which each lies within the bound of the store's.
const aheadBound = 2 * clockBound

// lastRevoked is revocations.last where all revocations are known, and errHistory if they were forgotten since
// knowRevocations.
func (f *follower) lastRevoked(owner string) (last int64, err error) {
	last, known := f.revoked.last(owner)
	if !known {
		return 0, errHistory
	}
	return last, nil
}

// last returns the latest time, in µs, before which tokens of an owner are revoked, by what is not about one token
// alone. Known is as for before.
func (r *revocations) last(owner string) (last int64, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for key, was := range r.of {
		if key.owner == owner && key.of != RevokedToken && was.before != math.MaxInt64 {
			last = max(last, was.before)
		}
	}
	return last, r.known
}

// clientRevocationID returns what names a client in a revocation, "" for none: a digest, so that one that was erased is
// named nowhere.
func clientRevocationID(client string) string {
	if client == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("latchkey revoked client\x00" + client))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
