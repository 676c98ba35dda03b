package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// Write implements latchkey.Store.
func (s *Store) Write(ctx context.Context, w latchkey.Write) (uint64, error) {
	p, err := newPlan(&w)
	if err != nil {
		return 0, outcome(ctx, "write", err)
	}
	j := &job{ctx: ctx, done: make(chan error, 1), apply: func(t *tx) (err error) {
		p.epoch, err = t.apply(p)
		return err
	}}
	if (s.dialect.minters > 0 || s.dialect.groupCommit) && p.mints() {
		j.mint = p
	}
	if err := s.outcome(ctx, "write", s.enqueue(j)); err != nil {
		return 0, err // without a look at p: after a deadline somebody may still be at work on it
	}
	return p.epoch, nil
}

// plan is a Write made ready: encoded before the transaction, which holds everybody up, and sharing nothing with the
// caller, who may be gone before it ends.
type plan struct {
	w      latchkey.Write // its records only for their ids and versions
	tokens []packedToken
	roles  [][]any
	owner  []any
	epoch  uint64
}

func newPlan(w *latchkey.Write) (*plan, error) {
	if w.ID == ([16]byte{}) {
		return nil, say(latchkey.ErrInvalid, "a write needs an ID")
	}
	p := &plan{w: *w}
	// In id order, as every transaction takes them: two that met in opposite orders would wait for each other.
	p.w.Tokens = sortedBy(w.Tokens, func(t *latchkey.Token) string { return t.ID })
	p.w.Roles = sortedBy(w.Roles, func(r *latchkey.Role) string { return r.ID })
	for i := range p.w.Tokens {
		t := &p.w.Tokens[i]
		if t.Owner != w.Owner {
			return nil, errForeign
		}
		packed, err := pack(t)
		if err != nil {
			return nil, err
		}
		p.tokens = append(p.tokens, packed)
		t.Roles = slices.Clone(t.Roles)
	}
	for i := range p.w.Roles {
		r := &p.w.Roles[i]
		if r.Owner != w.Owner {
			return nil, errForeign
		}
		args, err := roleArgs(r)
		if err != nil {
			return nil, err
		}
		p.roles = append(p.roles, args)
		r.Inherits = slices.Clone(r.Inherits)
	}
	if w.OwnerRecord != nil {
		if w.OwnerRecord.ID != w.Owner {
			return nil, errForeign
		}
		args, err := ownerArgs(w.OwnerRecord)
		if err != nil {
			return nil, err
		}
		p.owner = args
		p.w.OwnerRecord = &latchkey.Owner{Version: w.OwnerRecord.Version}
	}
	p.w.Secrets = slices.Clone(w.Secrets)
	for i := range p.w.Secrets {
		c := &p.w.Secrets[i]
		if c.Add == nil && c.Retire == zeroDigest || c.Replace && (c.Add == nil || c.Retire == zeroDigest) {
			return nil, say(latchkey.ErrInvalid, "a secret change that changes nothing")
		}
		if c.Add != nil {
			add := *c.Add
			add.Sealed = bytes.Clone(add.Sealed)
			c.Add = &add
		}
	}
	p.w.DeleteTokens, p.w.DeleteRoles = sortedRefs(w.DeleteTokens), sortedRefs(w.DeleteRoles)
	p.w.RequireTokens, p.w.RequireRoles = sortedRefs(w.RequireTokens), sortedRefs(w.RequireRoles)
	if w.RequireOwner != nil {
		version := *w.RequireOwner
		p.w.RequireOwner = &version
	}
	p.w.RequireHolders = slices.Clone(w.RequireHolders)
	for i := range p.w.RequireHolders {
		h := &p.w.RequireHolders[i]
		h.Roles, h.Tokens = slices.Clone(h.Roles), slices.Clone(h.Tokens)
	}
	p.w.Revocations = slices.Clone(w.Revocations)
	p.w.Clients = sortedBy(w.Clients, func(c *latchkey.Client) string { return c.ID })
	p.w.Events = slices.Clone(w.Events)
	for i := range p.w.Events {
		e := &p.w.Events[i]
		e.Before, e.After = bytes.Clone(e.Before), bytes.Clone(e.After)
	}
	return p, nil
}

var (
	errForeign = say(latchkey.ErrInvalid, "a write holds a record of another owner")
	zeroDigest [32]byte
)

func sortedRefs(refs []latchkey.Ref) []latchkey.Ref {
	return sortedBy(refs, func(r *latchkey.Ref) string { return r.ID })
}

// sortedBy returns a sorted copy.
func sortedBy[T any](list []T, id func(*T) string) []T {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(id(&a), id(&b)) })
	return list
}

// changes gathers what the feed will say: each record once.
type changes struct {
	rows     []latchkey.Change
	listed   map[string]bool // kind and id
	inserted map[string]bool // tokens nobody can have known
}

func (c *changes) add(kind latchkey.ChangeKind, id string) {
	if kind == latchkey.ChangedToken && c.inserted[id] {
		return
	}
	key := string(rune(kind)) + id
	if c.listed[key] {
		return
	}
	if c.listed == nil {
		c.listed = map[string]bool{}
	}
	c.listed[key] = true
	c.rows = append(c.rows, latchkey.Change{Kind: kind, ID: id})
}

// adds says that a Write only adds: whatever its owner has is what it was.
func (p *plan) adds() bool {
	w := &p.w
	if w.Erase || w.OwnerRecord != nil ||
		len(w.DeleteTokens)+len(w.DeleteRoles)+len(w.Roles)+len(w.Revocations)+len(w.Events)+len(w.RequireHolders) > 0 {
		return false
	}
	for i := range w.Tokens {
		if w.Tokens[i].Version != 0 {
			return false
		}
	}
	for i := range w.Secrets {
		inserted := slices.ContainsFunc(w.Tokens, func(t latchkey.Token) bool { return t.ID == w.Secrets[i].TokenID })
		if w.Secrets[i].Retire != zeroDigest || !inserted {
			return false
		}
	}
	return true
}

const readEpoch = `SELECT epoch FROM latchkey_epoch WHERE id = 1`

// apply is one Write inside a transaction: its ID, which keeps the same Write out until the commit; preconditions; records;
// and last the epoch with its changes. What others may lock too comes in one order: the owner, tokens and roles by id, the
// epoch.
func (t *tx) apply(p *plan) (epoch uint64, err error) {
	w := &p.w
	isNew, epoch, err := t.noteWrite(w)
	if err != nil {
		return 0, err
	}
	if !isNew {
		found, err := t.row(`SELECT epoch FROM latchkey_writes WHERE owner = ? AND id = ?`, []any{w.Owner, w.ID[:]}, &epoch)
		if err == nil && !found {
			err = errAgain // purged this moment
		}
		if err == nil && t.dialect().vouches {
			// Whoever repeats a Write wants to hear that it stays. A commit with something in it waits for what is before it.
			err = t.one(`UPDATE latchkey_writes SET at = at WHERE owner = ? AND id = ?`, w.Owner, w.ID[:])
		}
		return epoch, err
	}
	if err := t.take(w.Owner, p.adds()); err != nil {
		return 0, err
	}
	var c changes
	steps := []func(*plan, *changes) error{
		t.require, t.putTokens, t.changeSecrets, t.deleteTokens, t.putRoles, t.deleteRoles, t.putOwner, t.putClients,
		t.revoke, t.erase, t.addEvents,
	}
	for _, step := range steps {
		if err := step(p, &c); err != nil {
			return 0, err
		}
	}
	switch {
	case w.Silent:
		return epoch, nil
	case len(c.rows) == 0:
		if found, err := t.row(readEpoch, nil, &epoch); err != nil || !found {
			return 0, orMissing(err, epochRow)
		}
		return epoch, t.noteEpoch(p, epoch)
	}
	// The row of the epoch is the last lock taken and the shortest held: all changes of all tenants meet there, and so
	// commit in its order.
	return t.dialect().advance(t, p, c.rows)
}

// noteWrite inserts the ID of a Write, with the epoch of one that leaves it alone, and says whether it is new.
func (t *tx) noteWrite(w *latchkey.Write) (isNew bool, epoch uint64, err error) {
	if w.Silent && t.dialect().returning {
		isNew, err := t.row(`INSERT INTO latchkey_writes (owner, id, epoch, at)
			SELECT ?, ?, epoch, ? FROM latchkey_epoch WHERE id = 1`+t.dialect().ifAbsent+` RETURNING epoch`,
			[]any{w.Owner, w.ID[:], w.At.UnixMicro()}, &epoch)
		if err != nil || isNew {
			return isNew, epoch, err
		}
		found, err := t.row(readEpoch, nil, &epoch)
		if err == nil && !found {
			err = orMissing(nil, epochRow)
		}
		return false, epoch, err
	}
	if w.Silent {
		if found, err := t.row(readEpoch, nil, &epoch); err != nil || !found {
			return false, 0, orMissing(err, epochRow)
		}
	}
	n, err := t.insert(`INSERT INTO latchkey_writes (owner, id, epoch, at) VALUES (?, ?, ?, ?)`,
		w.Owner, w.ID[:], int64(epoch), w.At.UnixMicro())
	return n == 1, epoch, err
}

// listChanges writes the feed's rows, and the epoch of the write.
func (t *tx) listChanges(p *plan, epoch uint64, rows []latchkey.Change) error {
	if err := t.insertChanges(p, epoch, 0, rows); err != nil {
		return err
	}
	return t.noteEpoch(p, epoch)
}

func (t *tx) noteEpoch(p *plan, epoch uint64) error {
	if epoch == 0 {
		return nil // that is what it was inserted with
	}
	return t.one(`UPDATE latchkey_writes SET epoch = ? WHERE owner = ? AND id = ?`, int64(epoch), p.w.Owner, p.w.ID[:])
}

// insertChanges inserts rows, of which the first has the number seq, in few statements of few shapes.
func (t *tx) insertChanges(p *plan, epoch uint64, seq int, rows []latchkey.Change) error {
	for size := 64; len(rows) > 0; {
		for size > len(rows) {
			size /= 2
		}
		args := make([]any, 0, 7*size)
		for _, c := range rows[:size] {
			args = append(args, int64(epoch), seq, p.w.Owner, int64(c.Kind), c.ID, micros(c.Until), p.w.At.UnixMicro())
			seq++
		}
		n, err := t.exec(`INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, until, at) VALUES (?, ?, ?, ?, ?, ?, ?)`+
			strings.Repeat(`, (?, ?, ?, ?, ?, ?, ?)`, size-1), args...)
		if err == nil && n != int64(size) {
			err = fmt.Errorf("%d changes were listed instead of %d", n, size)
		}
		if err != nil {
			return err
		}
		rows = rows[size:]
	}
	return nil
}

func (t *tx) require(p *plan, _ *changes) error {
	w := &p.w
	for _, ref := range w.RequireTokens {
		var version uint64
		var revoked sql.NullInt64
		found, err := t.row(`SELECT version, revoked FROM latchkey_tokens WHERE owner = ? AND id = ?`+t.dialect().share,
			[]any{w.Owner, ref.ID}, &version, &revoked)
		switch {
		case err != nil:
			return err
		case !found, ref.Version != 0 && ref.Version != version, revoked.Valid:
			return say(latchkey.ErrConflict, "token %q is no longer what it was", ref.ID)
		}
	}
	for _, ref := range w.RequireRoles {
		version, found, err := t.version("latchkey_roles", w.Owner, ref.ID, t.dialect().share)
		switch {
		case err != nil:
			return err
		case !found, ref.Version != 0 && ref.Version != version:
			return say(latchkey.ErrConflict, "role %q is no longer what it was", ref.ID)
		}
	}
	if w.RequireOwner != nil {
		version, err := t.ownerVersion(w.Owner)
		if err != nil {
			return err
		}
		if version != *w.RequireOwner {
			return say(latchkey.ErrConflict, "the owner's record is no longer what it was")
		}
	}
	for i := range w.RequireHolders {
		if err := t.requireHolders(w.Owner, &w.RequireHolders[i]); err != nil {
			return err
		}
	}
	return nil
}

// requireHolders refuses where anything else names a role than what is listed. That it stays so until the commit is
// owed to take.
func (t *tx) requireHolders(owner string, h *latchkey.Holders) error {
	roles, err := t.versions(`SELECT r.id, r.version FROM latchkey_role_inherits x CROSS JOIN latchkey_roles r
		WHERE r.owner = x.owner AND r.id = x.role_id AND x.owner = ? AND x.inherits_id = ?`, owner, h.RoleID)
	if err != nil {
		return err
	}
	text := `SELECT t.id, t.version FROM latchkey_token_roles x CROSS JOIN latchkey_tokens t
		WHERE t.owner = x.owner AND t.id = x.token_id AND x.owner = ? AND x.role_id = ? AND t.revoked IS NULL`
	if !h.Minted {
		text += ` AND t.parent = ''`
	}
	tokens, err := t.versions(text, owner, h.RoleID)
	if err != nil {
		return err
	}
	if !sameRefs(roles, h.Roles) || !sameRefs(tokens, h.Tokens) {
		return say(latchkey.ErrConflict, "what names role %q is no longer what it was", h.RoleID)
	}
	return nil
}

// versions reads ids with versions.
func (t *tx) versions(text string, args ...any) (map[string]uint64, error) {
	found := map[string]uint64{}
	return found, t.each(text, args, func(rows *sql.Rows) error {
		var id string
		var version uint64
		err := rows.Scan(&id, &version)
		found[id] = version
		return err
	})
}

func sameRefs(found map[string]uint64, refs []latchkey.Ref) bool {
	for _, ref := range refs {
		if v, ok := found[ref.ID]; !ok || v != ref.Version {
			return false
		}
	}
	return len(found) == len(refs)
}

// version reads the version of a token or role, and locks it until the commit.
func (t *tx) version(table, owner, id, lock string) (version uint64, found bool, err error) {
	found, err = t.row(`SELECT version FROM `+table+` WHERE owner = ? AND id = ?`+lock, []any{owner, id}, &version)
	return version, found, err
}

// ownerVersion is 0 when there is no record. That it stays so is owed to take.
func (t *tx) ownerVersion(owner string) (version uint64, err error) {
	_, err = t.row(`SELECT version FROM latchkey_owners WHERE owner = ?`+t.dialect().share, []any{owner}, &version)
	return version, err
}

// deletable checks the reference of a record to delete.
func (t *tx) deletable(table, owner string, ref latchkey.Ref) error {
	version, found, err := t.version(table, owner, ref.ID, t.dialect().lock)
	switch {
	case err != nil:
		return err
	case ref.Version == 0 && !found:
		return say(latchkey.ErrNotFound, "%q", ref.ID)
	case ref.Version != 0 && (!found || version != ref.Version):
		return say(latchkey.ErrConflict, "%q changed since it was read", ref.ID)
	}
	return nil
}

func (t *tx) putOwner(p *plan, c *changes) error {
	if p.owner == nil {
		return nil
	}
	c.add(latchkey.ChangedOwner, p.w.Owner)
	if p.w.OwnerRecord.Version == 0 {
		n, err := t.insert(`INSERT INTO latchkey_owners (owner, version, disabled, not_before, since, boundary, extra, body)
			VALUES (?, 1, ?, ?, ?, ?, ?, ?)`, append([]any{p.w.Owner}, p.owner...)...)
		if err == nil && n != 1 {
			err = say(latchkey.ErrExists, "the owner's record")
		}
		return err
	}
	n, err := t.exec(`UPDATE latchkey_owners SET version = version + 1, disabled = ?, not_before = ?, since = ?,
		boundary = ?, extra = ?, body = ? WHERE owner = ? AND version = ?`,
		append(slices.Clone(p.owner), p.w.Owner, int64(p.w.OwnerRecord.Version))...)
	if err == nil && n != 1 {
		err = say(latchkey.ErrConflict, "the owner's record changed since it was read")
	}
	return err
}

func (t *tx) putClients(p *plan, _ *changes) error {
	for _, client := range p.w.Clients {
		text, write := `INSERT INTO latchkey_clients (owner, id, name) VALUES (?, ?, ?)`, t.insert
		if client.Name != "" { // otherwise there is no news, and the name that is known stays
			text, write = text+t.dialect().onTaken("owner, id", "name = excluded.name"), t.exec
		}
		if _, err := write(text, p.w.Owner, client.ID, client.Name); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) revoke(p *plan, c *changes) error {
	for _, r := range p.w.Revocations {
		listed := len(c.rows)
		if c.add(latchkey.ChangedRevocation, r.ID); len(c.rows) > listed {
			c.rows[listed].Until = r.Until
		}
	}
	return nil
}

// ownedTables hold what belongs to an owner alone. The ids of the owner's writes stay: a write that is repeated after
// Erase must not be done again. First come those that AddUsage writes, in its order.
var ownedTables = []string{
	"latchkey_usage", "latchkey_tokens", "latchkey_secrets", "latchkey_token_roles", "latchkey_role_inherits",
	"latchkey_roles", "latchkey_owners", "latchkey_clients", "latchkey_once", "latchkey_reservations", "latchkey_credits",
	"latchkey_events",
}

func (t *tx) erase(p *plan, c *changes) error {
	if !p.w.Erase {
		return nil
	}
	c.add(latchkey.ChangedOwner, p.w.Owner)
	for _, table := range ownedTables {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE owner = ?`, p.w.Owner); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) addEvents(p *plan, _ *changes) error {
	if len(p.w.Events) == 0 {
		return nil
	}
	last, err := t.takeSeqs(p.w.Owner, len(p.w.Events))
	if err != nil {
		return err
	}
	for i, e := range p.w.Events {
		seq := last - int64(len(p.w.Events)-1-i)
		err := t.one(`INSERT INTO latchkey_events (owner, seq, at, actor, origin, action, object, reason, old, new)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			p.w.Owner, seq, e.At.UnixMicro(), e.Actor, e.From, e.Action, e.Object, e.Reason, blob(e.Before), blob(e.After))
		if err != nil {
			return err
		}
	}
	return nil
}
