package memstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	tx := &s.tx // used again, for a Write is the only one
	defer tx.reset()
	tx.s, tx.a, tx.w = s, s.ensure(w.Owner), w
	if _, again := tx.a.written[w.ID]; again {
		return nil
	}
	if err := tx.apply(); err != nil {
		for _, u := range slices.Backward(tx.undo) {
			tx.revert(&u)
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
		if c.Add != nil {
			if err := c.Add.Validate(); err != nil {
				return err
			}
		}
	}
	for i := range w.Revocations {
		if err := w.Revocations[i].Validate(); err != nil {
			return err
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
	w       latchkey.Write
	undo    []undo
	added   []*token
	changes []latchkey.Change
	listed  map[changeKey]struct{}
}

type changeKey struct {
	kind   latchkey.ChangeKind
	id     string
	of     latchkey.RevocationOf
	before int64
}

// reset makes tx ready for the next Write. It keeps no record.
func (tx *tx) reset() {
	undo, added := tx.undo, tx.added
	clear(undo)
	clear(added)
	if cap(undo)+cap(added) > 1<<10 {
		undo, added = nil, nil // after a large one
	}
	tx.s, tx.a, tx.w, tx.changes, tx.listed = nil, nil, latchkey.Write{}, nil, nil
	tx.undo, tx.added = undo[:0], added[:0]
}

// undo reverts one change. What each mint does needs no closure.
type undo struct {
	f       func()   // nil: one of the others
	added   *token   // it was inserted
	changed *token   // its secrets were others
	secrets []secret // of changed
}

func (tx *tx) onUndo(f func()) { tx.undo = append(tx.undo, undo{f: f}) }

func (tx *tx) revert(u *undo) {
	switch {
	case u.f != nil:
		u.f()
	case u.added != nil:
		tx.a.leave(u.added)
		tx.a.tokens.remove(u.added.id)
	default:
		tx.s.unlink(u.changed.secrets...)
		tx.s.link(u.changed, u.secrets...)
		u.changed.secrets = u.secrets
	}
}

// changed adds a record to the feed, once per transaction.
func (tx *tx) changed(kind latchkey.ChangeKind, id string) {
	tx.list(latchkey.Change{Kind: kind, ID: id})
}

// list adds a change to the feed, once per transaction.
func (tx *tx) list(c latchkey.Change) {
	if tx.w.Silent {
		return
	}
	k := changeKey{c.Kind, c.ID, c.Of, micros(c.Before)}
	if _, twice := tx.listed[k]; twice {
		return
	}
	if tx.listed == nil {
		tx.listed = make(map[changeKey]struct{})
	}
	tx.listed[k] = struct{}{}
	c.Owner = tx.a.id
	tx.changes = append(tx.changes, c)
}

// apply does everything that can fail.
func (tx *tx) apply() error {
	if err := tx.require(); err != nil {
		return err
	}
	if err := tx.recordOnce(); err != nil {
		return err
	}
	for i := range tx.w.Tokens {
		if err := tx.putToken(&tx.w.Tokens[i]); err != nil {
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
	if err := tx.limitLive(); err != nil {
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
	s, a, w := tx.s, tx.a, &tx.w
	for _, t := range tx.added {
		t.uncommitted = false
	}
	for _, c := range w.Clients {
		// An empty name leaves the known one.
		if _, known := a.clients.get(c.ID); c.Name != "" || !known {
			a.clients.put(c.ID, c.Name)
		}
	}
	for _, id := range w.ForgetClients {
		a.forgetClient(id)
	}
	if len(w.Redact)+len(w.ForgetClients) > 0 {
		a.redact(w.Redact, w.ForgetClients)
	}
	for _, r := range w.Revocations {
		tx.list(latchkey.Change{Kind: latchkey.ChangedRevocation, ID: r.ID, Of: r.Of, Before: fromMicros(micros(r.Before)),
			Until: fromMicros(micros(r.Until))})
	}
	if w.Erase {
		tx.erase()
	}
	for i, e := range w.Events {
		a.seq++
		e.Seq, e.Owner, e.At = a.seq, a.id, fromMicros(micros(e.At))
		if e = copyEvent(e); w.Seal != nil {
			a.head = w.Seal(i, &e, a.head) // Seal shares nothing that is written to later
		}
		a.events = append(a.events, e)
	}
	epoch, at := s.epoch.Load(), micros(w.At)
	if len(tx.changes) > 0 {
		epoch++
		for _, c := range tx.changes {
			c.Epoch = epoch
			s.history.add(change{Change: c, at: at})
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

// recordOnce records the keys of the Write.
func (tx *tx) recordOnce() error {
	a := tx.a
	for _, k := range tx.w.Once {
		if _, known := a.once[k.Key]; known {
			if k.IfAbsent {
				continue
			}
			return latchkey.ErrExists
		}
		if a.once == nil {
			a.once = make(map[[32]byte]int64)
		}
		a.once[k.Key] = micros(k.Until)
		tx.onUndo(func() { delete(a.once, k.Key) })
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
	for id := range a.heirs[h.RoleID] {
		if r, _ := a.roles.get(id); !is(roles, r.ID, r.Version) {
			return false
		}
	}
	for t := range a.holders[h.RoleID] {
		counts := t.revoked == never && (h.Minted || t.parent == "")
		if counts && !is(tokens, t.id, t.version) {
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

func (tx *tx) putToken(t *latchkey.Token) error {
	a := tx.a
	old, exists := a.tokens.get(t.ID)
	if t.Version == 0 {
		if exists {
			return latchkey.ErrExists
		}
		r := &token{of: a, uncommitted: true}
		r.set(t)
		r.version = 1
		a.tokens.put(r.id, r)
		a.enter(r)
		tx.added = append(tx.added, r)
		tx.undo = append(tx.undo, undo{added: r})
		return nil
	}
	if !exists || old.version != t.Version {
		return latchkey.ErrConflict
	}
	a.touchLive(old)
	a.leave(old)
	before := *old
	old.set(t)
	old.version++
	old.used = max(old.used, before.used)
	a.enter(old)
	tx.onUndo(func() { a.leave(old); *old = before; a.enter(old) })
	if !old.uncommitted {
		tx.changed(latchkey.ChangedToken, t.ID)
	}
	return nil
}

// enter and leave maintain what finds tokens by their parent and by their roles.
func (a *ownerData) enter(t *token) {
	if t.parent != "" {
		minted := a.children[t.parent]
		if minted == nil {
			if a.children == nil {
				a.children = make(map[string]*family)
			}
			minted = &family{}
			a.children[t.parent] = minted
		}
		minted.add(t)
	}
	for _, role := range t.roles {
		addTo(&a.holders, role, t)
	}
}

func (a *ownerData) leave(t *token) {
	if minted := t.family; minted != nil {
		if minted.remove(t); minted.size == 0 {
			delete(a.children, t.parent)
		}
	}
	for _, role := range t.roles {
		removeFrom(a.holders, role, t)
	}
}

// enterRole and leaveRole maintain what finds roles by the roles that they inherit.
func (a *ownerData) enterRole(r *latchkey.Role) {
	for _, inherited := range r.Inherits {
		addTo(&a.heirs, inherited, r.ID)
	}
}

func (a *ownerData) leaveRole(r *latchkey.Role) {
	for _, inherited := range r.Inherits {
		removeFrom(a.heirs, inherited, r.ID)
	}
}

func addTo[V comparable](sets *map[string]map[V]struct{}, key string, v V) {
	if *sets == nil {
		*sets = make(map[string]map[V]struct{})
	}
	set := (*sets)[key]
	if set == nil {
		set = make(map[V]struct{})
		(*sets)[key] = set
	}
	set[v] = struct{}{}
}

func removeFrom[V comparable](sets map[string]map[V]struct{}, key string, v V) {
	set := sets[key]
	if delete(set, v); len(set) == 0 {
		delete(sets, key)
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
	if c.Replace && t.secrets[at].signing && c.Add.Algorithm != "" {
		return fmt.Errorf("%w: a signing secret cannot get an algorithm", latchkey.ErrInvalid)
	}
	if c.Add != nil && !c.Replace && s.taken(packSecret(*c.Add)) {
		return latchkey.ErrExists
	}
	before := t.secrets
	t.secrets = slices.Clone(before) // never in place: undo restores the old slice
	tx.undo = append(tx.undo, undo{changed: t, secrets: before})
	switch {
	case c.Replace:
		sec := &t.secrets[at]
		add := packSecret(*c.Add)
		s.unlink(*sec)
		if s.taken(add) {
			return latchkey.ErrExists
		}
		sec.digest, sec.keyID, sec.sealed, sec.foreign = add.digest, add.keyID, add.sealed, add.foreign
		s.link(t, *sec)
	case at < 0:
	case c.At.IsZero() || !c.At.After(tx.w.At):
		s.unlink(t.secrets[at])
		t.secrets = slices.Delete(t.secrets, at, at+1)
	default:
		// An end never moves later: retiring a secret twice must not lengthen the overlap.
		if sec, end := &t.secrets[at], micros(c.At); sec.notAfter == never || end < sec.notAfter {
			sec.notAfter = end
		}
	}
	if c.Add != nil && !c.Replace {
		add := packSecret(*c.Add)
		t.secrets = append(t.secrets, add)
		s.link(t, add)
	}
	if !t.uncommitted {
		tx.changed(latchkey.ChangedToken, t.id)
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
		for child := range tx.a.children[t.id].all() {
			pending = append(pending, child.id)
		}
		tx.s.removeToken(t)
		tx.onUndo(func() {
			tx.a.tokens.put(t.id, t)
			tx.a.enter(t)
			tx.s.link(t, t.secrets...)
		})
		if !t.uncommitted {
			tx.changed(latchkey.ChangedToken, t.id)
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
	s.unlink(t.secrets...)
	t.of.touchLive(t)
	t.of.leave(t)
	t.of.tokens.remove(t.id)
	delete(t.of.live, t.id)
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
		a.leaveRole(&old)
	}
	a.roleIDs[name] = r.ID
	a.roles.put(r.ID, r)
	a.enterRole(&r)
	tx.onUndo(func() {
		delete(a.roleIDs, name)
		a.leaveRole(&r)
		if exists {
			a.roleIDs[oldName] = r.ID
			a.roles.put(r.ID, old)
			a.enterRole(&old)
		} else {
			a.roles.remove(r.ID)
		}
	})
	tx.changed(latchkey.ChangedRole, r.ID)
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
		a.leaveRole(&r)
		delete(a.roleIDs, name)
		tx.onUndo(func() { a.roles.put(id, r); a.enterRole(&r); a.roleIDs[name] = id })
		tx.changed(latchkey.ChangedRole, id)
	}
	// Checked after all of them are removed: roles that name each other may be deleted together.
	for id := range gone {
		if len(a.heirs[id]) > 0 {
			return latchkey.ErrInUse
		}
		for t := range a.holders[id] {
			if t.parent == "" && t.revoked == never {
				return latchkey.ErrInUse
			}
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
	tx.changed(latchkey.ChangedOwner, a.id)
	return nil
}

// erase removes the data of an owner. It keeps the IDs of its writes, and the number and the chain of its last event,
// for repeated Writes and later events. Earlier changes stay in the feed.
func (tx *tx) erase() {
	for _, t := range tx.a.tokens.m {
		tx.s.unlink(t.secrets...)
	}
	*tx.a = ownerData{id: tx.a.id, seq: tx.a.seq, head: tx.a.head, cursors: tx.a.cursors, written: tx.a.written}
	tx.changed(latchkey.ChangedOwner, tx.a.id)
}

// redact empties the events of objects, and removes clients from events that these caused.
func (a *ownerData) redact(objects, clients []string) {
	for i := range a.events {
		e := &a.events[i]
		if slices.Contains(objects, e.Object) {
			e.Before, e.After, e.Reason = nil, nil, ""
		}
		if id, ok := strings.CutPrefix(e.Actor, "client:"); ok && slices.Contains(clients, id) {
			e.Actor = "client:"
		}
	}
}

// forgetClient removes a client. Its usage becomes that of no client.
func (a *ownerData) forgetClient(id string) {
	a.clients.remove(id)
	for k, c := range a.usage {
		if k.client != id || id == "" {
			continue
		}
		delete(a.usage, k)
		k.client = ""
		a.usage[k] = a.usage[k].plus(c)
	}
}
