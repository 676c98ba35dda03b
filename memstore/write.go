package memstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Write implements [latchkey.Store].
func (s *Store) Write(ctx context.Context, w latchkey.Write) error {
	if err := check(ctx); err != nil {
		return err
	}
	if err := valid(&w); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.owners[w.Owner]
	tx := tx{s: s, a: s.ensure(w.Owner), w: &w}
	if _, again := tx.a.written[w.ID]; again {
		return nil
	}
	if err := tx.apply(); err != nil {
		for _, undo := range slices.Backward(tx.undo) {
			undo()
		}
		if !known {
			delete(s.owners, w.Owner)
		}
		return err
	}
	tx.commit()
	return nil
}

// valid returns an error for a Write that no store could apply. Such a Write is a bug of its caller.
func valid(w *latchkey.Write) error {
	if w.ID == ([16]byte{}) {
		return fmt.Errorf("%w: a write needs an ID", latchkey.ErrInvalid)
	}
	for i := range w.Tokens {
		if w.Tokens[i].Owner != w.Owner {
			return errForeign
		}
	}
	for i := range w.Roles {
		if w.Roles[i].Owner != w.Owner {
			return errForeign
		}
	}
	if w.OwnerRecord != nil && w.OwnerRecord.ID != w.Owner {
		return errForeign
	}
	for _, c := range w.Secrets {
		if c.Add == nil && c.Retire == ([32]byte{}) || c.Replace && (c.Add == nil || c.Retire == ([32]byte{})) {
			return fmt.Errorf("%w: a secret change that changes nothing", latchkey.ErrInvalid)
		}
	}
	return nil
}

var errForeign = fmt.Errorf("%w: a write holds a record of another owner", latchkey.ErrInvalid)

// tx is a running Write. The lock excludes readers, so changes are made in place. If the Write fails, undo reverts
// them.
type tx struct {
	s       *Store
	a       *ownerData
	w       *latchkey.Write
	undo    []func()
	added   []*token
	changes []latchkey.Change
	listed  map[changeKey]struct{}
}

type changeKey struct {
	kind latchkey.ChangeKind
	id   string
}

func (tx *tx) onUndo(f func()) { tx.undo = append(tx.undo, f) }

// changed adds a record to the feed, once per transaction.
func (tx *tx) changed(kind latchkey.ChangeKind, id string, until time.Time) {
	if tx.w.Silent {
		return
	}
	k := changeKey{kind, id}
	if _, twice := tx.listed[k]; twice {
		return
	}
	if tx.listed == nil {
		tx.listed = make(map[changeKey]struct{})
	}
	tx.listed[k] = struct{}{}
	tx.changes = append(tx.changes, latchkey.Change{Owner: tx.a.id, Kind: kind, ID: id, Until: until})
}

// apply does everything that can fail.
func (tx *tx) apply() error {
	if err := tx.require(); err != nil {
		return err
	}
	for _, t := range tx.w.Tokens {
		if err := tx.putToken(t); err != nil {
			return err
		}
	}
	for _, c := range tx.w.Secrets {
		if err := tx.changeSecret(c); err != nil {
			return err
		}
	}
	if err := tx.deleteTokens(); err != nil {
		return err
	}
	for _, r := range tx.w.Roles {
		if err := tx.putRole(r); err != nil {
			return err
		}
	}
	if err := tx.deleteRoles(); err != nil {
		return err
	}
	return tx.putOwner()
}

// commit does what cannot fail, and publishes the changes.
func (tx *tx) commit() {
	s, a, w := tx.s, tx.a, tx.w
	for _, t := range tx.added {
		t.uncommitted = false
	}
	for _, c := range w.Clients {
		// An empty name leaves the known one.
		if _, known := a.clients.get(c.ID); c.Name != "" || !known {
			a.clients.put(c.ID, c.Name)
		}
	}
	for _, r := range w.Revocations {
		tx.changed(latchkey.ChangedRevocation, r.ID, fromMicros(micros(r.Until)))
	}
	if w.Erase {
		tx.erase()
	}
	for _, e := range w.Events {
		a.seq++
		e.Seq, e.Owner, e.At = a.seq, a.id, fromMicros(micros(e.At))
		a.events = append(a.events, copyEvent(e))
	}
	epoch, at := s.epoch.Load(), micros(w.At)
	if len(tx.changes) > 0 {
		epoch++
		for _, c := range tx.changes {
			c.Epoch = epoch
			s.history.add(change{c, at})
		}
		// Last: a reader that sees the new epoch finds all its changes once it has the lock.
		s.epoch.Store(epoch)
	}
	if a.written == nil {
		a.written = make(map[[16]byte]struct{})
	}
	a.written[w.ID] = struct{}{}
	s.writes = append(s.writes, stamp[writeKey]{writeKey{a.id, w.ID}, at})
}

func (tx *tx) require() error {
	for _, ref := range tx.w.RequireTokens {
		t, ok := tx.a.tokens.get(ref.ID)
		if !ok || ref.Version != 0 && ref.Version != t.version || t.revoked != never {
			return latchkey.ErrConflict
		}
	}
	for _, ref := range tx.w.RequireRoles {
		r, ok := tx.a.roles.get(ref.ID)
		if !ok || ref.Version != 0 && ref.Version != r.Version {
			return latchkey.ErrConflict
		}
	}
	if v := tx.w.RequireOwner; v != nil && *v != tx.a.record.Version {
		return latchkey.ErrConflict
	}
	for i := range tx.w.RequireHolders {
		if !tx.a.holds(&tx.w.RequireHolders[i]) {
			return latchkey.ErrConflict
		}
	}
	return nil
}

// holds reports whether h lists exactly the records that name the role.
func (a *ownerData) holds(h *latchkey.Holders) bool {
	is := func(listed map[string]uint64, id string, version uint64) bool {
		v, ok := listed[id]
		delete(listed, id)
		return ok && v == version
	}
	roles, tokens := versions(h.Roles), versions(h.Tokens)
	for _, r := range a.roles.m {
		if slices.Contains(r.Inherits, h.RoleID) && !is(roles, r.ID, r.Version) {
			return false
		}
	}
	for _, t := range a.tokens.m {
		counts := t.revoked == never && (h.Minted || t.parent == "")
		if counts && slices.Contains(t.roles, h.RoleID) && !is(tokens, t.id, t.version) {
			return false
		}
	}
	return len(roles)+len(tokens) == 0
}

func versions(refs []latchkey.Ref) map[string]uint64 {
	m := make(map[string]uint64, len(refs))
	for _, r := range refs {
		m[r.ID] = r.Version
	}
	return m
}

func (tx *tx) putToken(t latchkey.Token) error {
	a := tx.a
	old, exists := a.tokens.get(t.ID)
	if t.Version == 0 {
		if exists {
			return latchkey.ErrExists
		}
		t.Version = 1
		r := &token{of: a, uncommitted: true}
		r.set(t)
		a.tokens.put(r.id, r)
		a.addChild(r)
		tx.added = append(tx.added, r)
		tx.onUndo(func() { a.removeChild(r); a.tokens.remove(r.id) })
		return nil
	}
	if !exists || old.version != t.Version {
		return latchkey.ErrConflict
	}
	before := *old
	a.removeChild(old)
	t.Version++
	old.set(t)
	old.used = max(old.used, before.used)
	a.addChild(old)
	tx.onUndo(func() { a.removeChild(old); *old = before; a.addChild(old) })
	if !old.uncommitted {
		tx.changed(latchkey.ChangedToken, t.ID, time.Time{})
	}
	return nil
}

// addChild and removeChild maintain which tokens were minted from which.
func (a *ownerData) addChild(t *token) {
	if t.parent == "" {
		return
	}
	if a.children == nil {
		a.children = make(map[string]map[string]struct{})
	}
	if a.children[t.parent] == nil {
		a.children[t.parent] = make(map[string]struct{})
	}
	a.children[t.parent][t.id] = struct{}{}
}

func (a *ownerData) removeChild(t *token) {
	delete(a.children[t.parent], t.id)
	if len(a.children[t.parent]) == 0 {
		delete(a.children, t.parent)
	}
}

func (tx *tx) changeSecret(c latchkey.SecretChange) error {
	s := tx.s
	t, ok := tx.a.tokens.get(c.TokenID)
	if !ok {
		return latchkey.ErrNotFound
	}
	at := -1
	if c.Retire != ([32]byte{}) {
		if at = t.secretAt(c.Retire); at < 0 {
			return latchkey.ErrNotFound
		}
	}
	if c.Add != nil && !(c.Replace && c.Add.Digest == c.Retire) && s.digests[c.Add.Digest] != nil {
		return latchkey.ErrExists
	}
	before := t.secrets
	t.secrets = slices.Clone(before) // never in place: undo restores the old slice
	tx.onUndo(func() {
		for _, sec := range t.secrets {
			delete(s.digests, sec.digest)
		}
		for _, sec := range before {
			s.digests[sec.digest] = t
		}
		t.secrets = before
	})
	switch {
	case c.Replace:
		sec := &t.secrets[at]
		delete(s.digests, sec.digest)
		add := packSecret(*c.Add)
		sec.digest, sec.keyID, sec.sealed = add.digest, add.keyID, add.sealed
		s.digests[sec.digest] = t
	case at < 0:
	case c.At.IsZero() || !c.At.After(tx.w.At):
		delete(s.digests, c.Retire)
		t.secrets = slices.Delete(t.secrets, at, at+1)
	default:
		// An end never moves later: retiring a secret twice must not lengthen the overlap.
		if sec, end := &t.secrets[at], micros(c.At); sec.notAfter == never || end < sec.notAfter {
			sec.notAfter = end
		}
	}
	if c.Add != nil && !c.Replace {
		t.secrets = append(t.secrets, packSecret(*c.Add))
		s.digests[c.Add.Digest] = t
	}
	if !t.uncommitted {
		tx.changed(latchkey.ChangedToken, t.id, time.Time{})
	}
	return nil
}

func (tx *tx) deleteTokens() error {
	if len(tx.w.DeleteTokens) == 0 {
		return nil
	}
	var pending []string
	for _, ref := range tx.w.DeleteTokens {
		t, ok := tx.a.tokens.get(ref.ID)
		if err := deletable(ref, ok, func() uint64 { return t.version }); err != nil {
			return err
		}
		pending = append(pending, ref.ID)
	}
	// A loop, not a recursion: a chain may be long, and a cycle of parents must end too.
	for i := 0; i < len(pending); i++ {
		t, ok := tx.a.tokens.get(pending[i])
		if !ok {
			continue // listed twice
		}
		for id := range tx.a.children[t.id] {
			pending = append(pending, id)
		}
		tx.s.removeToken(t)
		tx.onUndo(func() {
			tx.a.tokens.put(t.id, t)
			tx.a.addChild(t)
			for _, sec := range t.secrets {
				tx.s.digests[sec.digest] = t
			}
		})
		if !t.uncommitted {
			tx.changed(latchkey.ChangedToken, t.id, time.Time{})
		}
	}
	return nil
}

// deletable returns an error if ref is not the record that is stored.
func deletable(ref latchkey.Ref, exists bool, version func() uint64) error {
	switch {
	case ref.Version == 0 && !exists:
		return latchkey.ErrNotFound
	case ref.Version != 0 && (!exists || version() != ref.Version):
		return latchkey.ErrConflict
	}
	return nil
}

// removeToken removes a token and its secrets. Its usage counts stay.
func (s *Store) removeToken(t *token) {
	for _, sec := range t.secrets {
		delete(s.digests, sec.digest)
	}
	t.of.removeChild(t)
	t.of.tokens.remove(t.id)
}

func (tx *tx) putRole(r latchkey.Role) error {
	a := tx.a
	old, exists := a.roles.get(r.ID)
	if r.Version == 0 && exists {
		return latchkey.ErrExists
	}
	if r.Version != 0 && (!exists || old.Version != r.Version) {
		return latchkey.ErrConflict
	}
	name := roleName{r.Origin, r.Name}
	if holder, taken := a.roleIDs[name]; taken && holder != r.ID {
		return latchkey.ErrExists
	}
	if a.roleIDs == nil {
		a.roleIDs = make(map[roleName]string)
	}
	r = r.Clone()
	r.Version++
	r.Damaged = false
	oldName := roleName{old.Origin, old.Name}
	if exists {
		delete(a.roleIDs, oldName)
	}
	a.roleIDs[name] = r.ID
	a.roles.put(r.ID, r)
	tx.onUndo(func() {
		delete(a.roleIDs, name)
		if exists {
			a.roleIDs[oldName] = r.ID
			a.roles.put(r.ID, old)
		} else {
			a.roles.remove(r.ID)
		}
	})
	tx.changed(latchkey.ChangedRole, r.ID, time.Time{})
	return nil
}

func (tx *tx) deleteRoles() error {
	if len(tx.w.DeleteRoles) == 0 {
		return nil
	}
	a := tx.a
	gone := make(map[string]struct{})
	for _, ref := range tx.w.DeleteRoles {
		r, ok := a.roles.get(ref.ID)
		if err := deletable(ref, ok, func() uint64 { return r.Version }); err != nil {
			return err
		}
		gone[ref.ID] = struct{}{}
	}
	for id := range gone {
		r, _ := a.roles.get(id)
		name := roleName{r.Origin, r.Name}
		a.roles.remove(id)
		delete(a.roleIDs, name)
		tx.onUndo(func() { a.roles.put(id, r); a.roleIDs[name] = id })
		tx.changed(latchkey.ChangedRole, id, time.Time{})
	}
	// Checked after all of them are removed: roles that name each other may be deleted together.
	names := func(ids []string) bool {
		return slices.ContainsFunc(ids, func(id string) bool { _, ok := gone[id]; return ok })
	}
	for _, r := range a.roles.m {
		if names(r.Inherits) {
			return latchkey.ErrInUse
		}
	}
	for _, t := range a.tokens.m {
		if t.parent == "" && t.revoked == never && names(t.roles) {
			return latchkey.ErrInUse
		}
	}
	return nil
}

func (tx *tx) putOwner() error {
	if tx.w.OwnerRecord == nil {
		return nil
	}
	a, o := tx.a, tx.w.OwnerRecord.Clone()
	switch {
	case o.Version == 0 && a.record.Version != 0:
		return latchkey.ErrExists
	case o.Version != a.record.Version:
		return latchkey.ErrConflict
	}
	before := a.record
	o.Version++
	o.Damaged = false
	o.NotBefore = fromMicros(micros(o.NotBefore))
	a.record = o
	tx.onUndo(func() { a.record = before })
	tx.changed(latchkey.ChangedOwner, a.id, time.Time{})
	return nil
}

// erase removes the data of an owner. It keeps the IDs of its writes and the number of its last event, for repeated
// Writes and later events. Earlier changes stay in the feed.
func (tx *tx) erase() {
	for _, t := range tx.a.tokens.m {
		for _, sec := range t.secrets {
			delete(tx.s.digests, sec.digest)
		}
	}
	*tx.a = ownerData{id: tx.a.id, seq: tx.a.seq, written: tx.a.written}
	tx.changed(latchkey.ChangedOwner, tx.a.id, time.Time{})
}
