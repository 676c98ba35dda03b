package sqlstore

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// changeSet collects the changes for the feed, each record once.
type changeSet struct {
	rows     []latchkey.Change
	listed   map[string]bool // by kind and id
	inserted map[string]bool // new tokens, which no process can have cached
}

func (c *changeSet) add(kind latchkey.ChangeKind, id string) {
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

const readEpoch = `SELECT epoch FROM latchkey_epoch WHERE id = 1`

// apply runs one Write inside a transaction. It locks the owner and inserts the Write's ID, which keeps the same Write
// out until the commit. Then it checks preconditions and writes records. The epoch and its changes come last. All
// transactions take locks in the same order: the owner, tokens and roles by id, the epoch.
func (p *plan) apply(t *tx) error {
	isNew, err := t.beginWrite(p)
	if err != nil || !isNew {
		return err
	}
	return p.applyRecords(t)
}

// applyRecords is apply for a Write whose owner is locked, and whose ID is inserted.
func (p *plan) applyRecords(t *tx) error {
	var c changeSet
	steps := []func(*plan, *changeSet) error{
		t.require, t.recordOnce, t.putTokens, t.changeSecrets, t.deleteTokens, t.limitLive, t.putRoles, t.deleteRoles,
		t.putOwner, t.putClients, t.revoke, t.forgetClients, t.redact, t.erase, t.addEvents,
	}
	for _, step := range steps {
		if err := step(p, &c); err != nil {
			return err
		}
	}
	if p.w.Silent || len(c.rows) == 0 {
		return nil
	}
	// The epoch's row is the lock that is taken last and held shortest. All changes of all tenants wait for it, and so
	// commit in its order.
	t.changed = true
	return t.dialect().advanceEpoch(t, p, c.rows)
}

// beginWrite locks the owner and inserts the ID of a Write. It reports whether the Write is new.
func (t *tx) beginWrite(p *plan) (isNew bool, err error) {
	w, shared := &p.w, p.onlyAdds()
	if t.dialect().mergesStatements {
		// Usually the owner has a row to lock, and the Write is new. Then one statement does it.
		var last eventHead
		isNew, err = t.row(`WITH o AS (`+t.dialect().lockOwner(shared)+`)
			INSERT INTO latchkey_writes (owner, id, epoch, at) SELECT `+t.dialect().writeID+`
			FROM o CROSS JOIN (SELECT 1 FROM latchkey_epoch WHERE id = 1) e`+t.dialect().ifAbsent+`
			RETURNING (SELECT seq FROM o), (SELECT head FROM o)`, []any{w.Owner, w.Owner, w.ID[:], w.At.UnixMicro()},
			&last.seq, &last.head)
		if err != nil || isNew {
			t.eventHeads = map[string]eventHead{w.Owner: last}
			return isNew, err
		}
	}
	if err := t.lockOwner(w.Owner, shared); err != nil {
		return false, err
	}
	return t.insertWriteID(w)
}

// insertWriteID inserts the ID of a Write, and reports whether it is new. Its column epoch is for programs of earlier
// versions, each of which reads only what it wrote itself.
func (t *tx) insertWriteID(w *latchkey.Write) (isNew bool, err error) {
	n, err := t.insert(`INSERT INTO latchkey_writes (owner, id, epoch, at)
		SELECT `+t.dialect().writeID+` FROM latchkey_epoch WHERE id = 1`, w.Owner, w.ID[:], w.At.UnixMicro())
	if err != nil || n == 1 {
		return n == 1, err
	}
	return false, t.settleRepeated(w)
}

// settleRepeated returns nil for a Write that was applied before.
func (t *tx) settleRepeated(w *latchkey.Write) error {
	t.changed = true // perhaps nobody was told: the outcome was not known
	var one int64
	found, err := t.row(readEpoch, nil, &one)
	if err != nil || !found {
		return orRowMissing(err, epochRow)
	}
	found, err = t.row(`SELECT 1 FROM latchkey_writes WHERE owner = ? AND id = ?`, []any{w.Owner, w.ID[:]}, &one)
	if err == nil && !found {
		err = errRetry // purged just now
	}
	if err == nil && t.dialect().waitsForReplicas {
		// A caller that repeats a Write needs to know that it is durable. A commit that writes something waits for
		// everything before it.
		err = t.execOne(`UPDATE latchkey_writes SET at = at WHERE owner = ? AND id = ?`, w.Owner, w.ID[:])
	}
	return err
}

// insertChanges inserts rows, numbered from seq on. Row counts are powers of two up to 64, so that there are few
// statement texts.
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

func (t *tx) putOwner(p *plan, c *changeSet) error {
	if p.owner == nil {
		return nil
	}
	c.add(latchkey.ChangedOwner, p.w.Owner)
	if p.w.OwnerRecord.Version == 0 {
		return t.insertLater(`INSERT INTO latchkey_owners (owner, version, disabled, not_before, since, boundary, extra,
			body) VALUES (?, 1, ?, ?, ?, ?, ?, ?)`, append([]any{p.w.Owner}, p.owner...), func(n int64) error {
			if n != 1 {
				return contractError(latchkey.ErrExists, "the owner's record")
			}
			return nil
		})
	}
	return t.later(`UPDATE latchkey_owners SET version = version + 1, disabled = ?, not_before = ?, since = ?,
		boundary = ?, extra = ?, body = ? WHERE owner = ? AND version = ?`,
		append(slices.Clone(p.owner), p.w.Owner, int64(p.w.OwnerRecord.Version)), func(n int64) error {
			if n != 1 {
				return contractError(latchkey.ErrConflict, "the owner's record changed since it was read")
			}
			return nil
		})
}

func (t *tx) putClients(p *plan, _ *changeSet) error {
	for _, client := range p.w.Clients {
		text, write := `INSERT INTO latchkey_clients (owner, id, name) VALUES (?, ?, ?)`, t.insertLater
		if client.Name != "" { // otherwise the known name stays
			text, write = text+t.dialect().onConflictUpdate("owner, id", "name = excluded.name"), t.later
		}
		if err := write(text, []any{p.w.Owner, client.ID, client.Name}, nil); err != nil {
			return err
		}
		if len(p.w.Clients) > 1 { // one may be named twice
			if err := t.runMerged(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tx) revoke(p *plan, c *changeSet) error {
	for _, r := range p.w.Revocations {
		listed := len(c.rows)
		if c.add(latchkey.ChangedRevocation, packRevocation(&r)); len(c.rows) > listed {
			c.rows[listed].Until = r.Until
		}
	}
	return nil
}

// forgetClients removes clients and their ids from events, and adds their usage to that of no client.
func (t *tx) forgetClients(p *plan, _ *changeSet) error {
	for _, id := range p.w.ForgetClients {
		if _, err := t.exec(`DELETE FROM latchkey_clients WHERE owner = ? AND id = ?`, p.w.Owner, id); err != nil {
			return err
		}
		if _, err := t.exec(`UPDATE latchkey_events SET actor = 'client:' WHERE owner = ? AND actor = ?`, p.w.Owner,
			"client:"+id); err != nil {
			return err
		}
		const page = 1000
		for n := page; n == page && id != ""; {
			rows, err := t.usageOfClient(p.w.Owner, id, page)
			if err != nil {
				return err
			}
			if n = len(rows); n == 0 {
				break
			}
			sums := slices.Clone(rows)
			for i := range sums {
				sums[i].ClientID = ""
			}
			slices.SortFunc(sums, compareUsage)
			if err := t.insertRows(bulkRows{usageRows, sumUsage(sums)}); err != nil {
				return err
			}
			err = t.deleteAll("latchkey_usage", "owner, day, token_id, client_id, meter, endpoint", n, true,
				func(i int) []any {
					r := &rows[i]
					return []any{r.Owner, r.Day, r.TokenID, r.ClientID, r.Meter, r.Endpoint}
				})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// usageOfClient reads and locks at most n rows of usage of a client.
func (t *tx) usageOfClient(owner, id string, n int) (out []latchkey.UsageRow, err error) {
	err = t.each(`SELECT day, token_id, meter, endpoint, count, credits FROM latchkey_usage
		WHERE owner = ? AND client_id = ? ORDER BY day, token_id, meter, endpoint LIMIT ?`+t.dialect().forUpdate,
		[]any{owner, id, n}, func(rows *sql.Rows) error {
			r := latchkey.UsageRow{Owner: owner, ClientID: id}
			err := rows.Scan(&r.Day, &r.TokenID, &r.Meter, &r.Endpoint, &r.Count, &r.Credits)
			out = append(out, r)
			return err
		})
	return out, err
}

// redact empties what events hold of some objects.
func (t *tx) redact(p *plan, _ *changeSet) error {
	for _, id := range p.w.Redact {
		if _, err := t.exec(`UPDATE latchkey_events SET old = NULL, new = NULL, reason = '' WHERE owner = ? AND object = ?`,
			p.w.Owner, id); err != nil {
			return err
		}
	}
	return nil
}

// ownedTables hold what belongs to one owner. The ids of the owner's writes stay: a write that is repeated after Erase
// must not run again. The tables that AddUsage writes come first, in its order.
var ownedTables = []string{
	"latchkey_usage", "latchkey_tokens", "latchkey_secrets", "latchkey_token_roles", "latchkey_role_inherits",
	"latchkey_roles", "latchkey_owners", "latchkey_clients", "latchkey_once", "latchkey_reservations", "latchkey_credits",
	"latchkey_events", "latchkey_live",
}

func (t *tx) erase(p *plan, c *changeSet) error {
	if !p.w.Erase {
		return nil
	}
	c.add(latchkey.ChangedOwner, p.w.Owner)
	// What the Write put before is erased too.
	if err := t.runMerged(); err != nil {
		return err
	}
	for _, table := range ownedTables {
		if err := t.later(`DELETE FROM `+table+` WHERE owner = ?`, []any{p.w.Owner}, nil); err != nil {
			return err
		}
	}
	return t.runMerged() // the events of the Write itself stay
}

func (t *tx) addEvents(p *plan, _ *changeSet) error {
	if len(p.w.Events) == 0 {
		return nil
	}
	events, err := t.sealEvents(&p.w)
	if err != nil {
		return err
	}
	for i := range events {
		err := t.later(`INSERT INTO latchkey_events (owner, seq, at, actor, origin, action, object, reason, old, new,
			prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, eventArgs(&events[i]), touchedOne)
		if err != nil {
			return err
		}
	}
	return nil
}

// eventArgs are the values of the columns of eventRows.
func eventArgs(e *latchkey.Event) []any {
	return []any{e.Owner, int64(e.Seq), e.At.UnixMicro(), e.Actor, e.From, e.Action, e.Object, e.Reason,
		nullBytes(e.Before), nullBytes(e.After), nullBytes(e.Prev), nullBytes(e.Hash)}
}
