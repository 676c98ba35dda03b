package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Mints are by far the most frequent writes, and are independent of one another. So many of them share one
// transaction, in which each table is written by one statement. Engines with many writers save round trips; workers
// run such batches for them (see sharedBatch). On SQLite mints share their commit with other writes (see
// commitAsLeader), and save the cost of each statement. A batch takes the mints that were queued while the one before
// ran: none waits for others.
//
// A shared transaction reports no error of a single mint. Some mints cannot be written as they are, and some would
// have to wait for a lock: these are removed before anything is written. A later failure undoes the whole transaction.
// Then each mint is tried alone by apply, which returns the error.

// mintTx is the transaction of a batch of mints.
type mintTx struct {
	*tx
	heads      map[string]eventHead // of owners whose row is locked
	exclusive  map[string]bool
	tokens     map[ownedID]lockedRecord
	roles      map[ownedID]lockedRecord
	owners     map[string]int64 // versions of owners' records
	ownersRead map[string]bool
	live       map[ownedID]*liveRow // by owner and parent; of owners in exclusive
}

type ownedID struct{ owner, id string }

// lockedRecord is a record that stays as it is until the commit.
type lockedRecord struct {
	version int64
	revoked bool
}

// lockFollowers takes the followers' locks where they are free. It removes from the batch the followers that need
// others.
func (t *mintTx) lockFollowers(b *sharedBatch, followers []*job) error {
	plans := make([]*plan, len(followers))
	for i, j := range followers {
		plans[i] = j.mint
	}
	if err := t.lock(plans, true); err != nil {
		return err
	}
	var later, alone []*job
	for _, j := range followers {
		switch t.checkRequired(j.mint) {
		case nil:
		case errNotLocked:
			later = append(later, j)
		default:
			alone = append(alone, j)
		}
	}
	t.store.queue.dropMembers(b, nil, later...)
	t.store.queue.dropMembers(b, errTryAlone, alone...)
	return nil
}

// lock takes the locks that the plans need and this transaction does not have. It takes the rows of owners first, then
// tokens and roles, then owners' records, each in order. With skip it takes only what is free. What is missing
// afterwards is locked by another transaction or does not exist.
func (t *mintTx) lock(plans []*plan, skip bool) error {
	owners, writers := map[string]bool{}, map[string]bool{}
	tokens, roles, records := map[ownedID]bool{}, map[ownedID]bool{}, map[string]bool{}
	for _, p := range plans {
		w := &p.w
		if _, taken := t.heads[w.Owner]; p.needsOwnerAlone() && !t.exclusive[w.Owner] {
			writers[w.Owner] = true
			if taken && skip {
				continue // two that both shared a row and then wanted it exclusively would deadlock
			}
		} else if !taken {
			owners[w.Owner] = true
		}
		for _, ref := range w.RequireTokens {
			if key := (ownedID{w.Owner, ref.ID}); t.tokens[key] == (lockedRecord{}) {
				tokens[key] = true
			}
		}
		for _, ref := range w.RequireRoles {
			if key := (ownedID{w.Owner, ref.ID}); t.roles[key] == (lockedRecord{}) {
				roles[key] = true
			}
		}
		if w.RequireOwner != nil && !t.ownersRead[w.Owner] {
			records[w.Owner] = true
		}
	}
	for owner := range writers {
		delete(owners, owner)
		if _, taken := t.heads[owner]; taken {
			delete(writers, owner)
		}
	}
	share, lock := t.dialect().forShare, t.dialect().forUpdate
	if skip {
		share, lock = t.dialect().forShareSkip, t.dialect().forUpdateSkip
	}
	if t.heads == nil {
		t.heads, t.exclusive = map[string]eventHead{}, map[string]bool{}
		t.owners, t.ownersRead = map[string]int64{}, map[string]bool{}
		t.tokens, t.roles = map[ownedID]lockedRecord{}, map[ownedID]lockedRecord{}
		t.live = map[ownedID]*liveRow{}
	}
	if err := t.lockOwners(owners, share, skip, nil); err != nil {
		return err
	}
	if err := t.lockOwners(writers, lock, skip, t.exclusive); err != nil {
		return err
	}
	if err := t.lockRecords("latchkey_tokens", "revoked IS NOT NULL", tokens, share, t.tokens); err != nil {
		return err
	}
	if err := t.lockRecords("latchkey_roles", "1 = 0", roles, share, t.roles); err != nil {
		return err
	}
	if err := t.lockOwnerRecords(records); err != nil {
		return err
	}
	return t.readLive(plans)
}

// lockOwners locks the rows of owners. Without the row of the epoch nothing may be written.
func (t *mintTx) lockOwners(owners map[string]bool, lock string, skip bool, note map[string]bool) error {
	for range 2 {
		if len(owners) == 0 {
			return nil
		}
		list := padded(slices.Sorted(maps.Keys(owners)))
		err := t.each(`SELECT owner, `+cmp.Or(t.dialect().lockedSeq, `seq`)+`, head,
			(SELECT epoch FROM latchkey_epoch WHERE id = 1) FROM latchkey_event_seqs
			WHERE owner IN (?`+strings.Repeat(`, ?`, len(list)-1)+`) ORDER BY owner`+lock,
			anySlice(list, asAny), func(rows *sql.Rows) error {
				var owner string
				var last eventHead
				var epoch sql.NullInt64
				err := rows.Scan(&owner, &last.seq, &last.head, &epoch)
				if err == nil && !epoch.Valid {
					err = orRowMissing(nil, epochRow)
				}
				t.heads[owner] = last
				if note != nil {
					note[owner] = true
				}
				delete(owners, owner)
				return err
			})
		if err != nil || skip {
			return err
		}
		for owner := range owners { // the owner has no row yet
			if _, err := t.insert(`INSERT INTO latchkey_event_seqs (owner, seq) VALUES (?, 0)`, owner); err != nil {
				return err
			}
		}
	}
	if len(owners) > 0 {
		return errRetry
	}
	return nil
}

func (t *mintTx) lockRecords(table, dead string, keys map[ownedID]bool, lock string,
	into map[ownedID]lockedRecord) error {
	if len(keys) == 0 {
		return nil
	}
	list := padded(slices.SortedFunc(maps.Keys(keys), func(a, b ownedID) int {
		return strings.Compare(a.owner+"\x00"+a.id, b.owner+"\x00"+b.id)
	}))
	args := make([]any, 0, 2*len(list))
	for _, key := range list {
		args = append(args, key.owner, key.id)
	}
	return t.each(`SELECT owner, id, version, CASE WHEN `+dead+` THEN 1 ELSE 0 END FROM `+table+`
		WHERE `+t.dialect().inRows("owner, id", len(list))+` ORDER BY owner, id`+lock, args,
		func(rows *sql.Rows) error {
			var key ownedID
			var dead int64
			var h lockedRecord
			err := rows.Scan(&key.owner, &key.id, &h.version, &dead)
			h.revoked = dead != 0
			into[key] = h
			return err
		})
}

// lockOwnerRecords reads the versions of owners' records. Only transactions that lock the owner's row exclusively
// write them. So for owners whose row is locked, a missing record stays missing, and there is nobody to wait for.
// Skipping locked rows would miss a record that others read.
func (t *mintTx) lockOwnerRecords(owners map[string]bool) error {
	maps.DeleteFunc(owners, func(owner string, _ bool) bool {
		_, taken := t.heads[owner]
		return !taken
	})
	if len(owners) == 0 {
		return nil
	}
	for owner := range owners {
		t.ownersRead[owner] = true
	}
	list := padded(slices.Sorted(maps.Keys(owners)))
	return t.each(`SELECT owner, version FROM latchkey_owners
		WHERE owner IN (?`+strings.Repeat(`, ?`, len(list)-1)+`) ORDER BY owner`+t.dialect().forShare, anySlice(list, asAny),
		func(rows *sql.Rows) error {
			var owner string
			var version int64
			err := rows.Scan(&owner, &version)
			t.owners[owner] = version
			return err
		})
}

// errNotLocked means that a mint needs a record that this transaction has not locked.
var errNotLocked = errors.New("locked, or missing")

// checkRequired returns nil if this transaction has locked all that a plan requires, and all of it is as required.
func (t *mintTx) checkRequired(p *plan) error {
	w := &p.w
	if _, taken := t.heads[w.Owner]; !taken || p.needsOwnerAlone() && !t.exclusive[w.Owner] {
		return errNotLocked
	}
	for _, ref := range w.RequireTokens {
		switch h := t.tokens[ownedID{w.Owner, ref.ID}]; {
		case h == lockedRecord{}:
			return errNotLocked
		case h.revoked, ref.Version != 0 && ref.Version != uint64(h.version):
			return errTryAlone
		}
	}
	for _, ref := range w.RequireRoles {
		switch h := t.roles[ownedID{w.Owner, ref.ID}]; {
		case h == lockedRecord{}:
			return errNotLocked
		case ref.Version != 0 && ref.Version != uint64(h.version):
			return errTryAlone
		}
	}
	switch {
	case w.RequireOwner == nil:
	case !t.ownersRead[w.Owner]:
		return errNotLocked
	case *w.RequireOwner != uint64(t.owners[w.Owner]):
		return errTryAlone
	}
	return t.takeLive(p)
}

// mintShared writes jobs that are mints, in a transaction that keeps every other writer out. It returns the jobs that
// cannot be written as they are. Of those nothing is written.
func (t *tx) mintShared(jobs []*job) (alone []*job, err error) {
	// No caller's deadline may end the transaction for the others.
	t.job, t.eventHeads = &job{ctx: context.WithoutCancel(jobs[0].ctx)}, nil
	m := &mintTx{tx: t}
	plans := make([]*plan, len(jobs))
	for i, j := range jobs {
		plans[i] = j.mint
	}
	if err := m.lock(plans, false); err != nil {
		return nil, err
	}
	plans = plans[:0]
	for _, j := range jobs {
		if m.checkRequired(j.mint) != nil {
			alone = append(alone, j)
			continue
		}
		plans = append(plans, j.mint)
	}
	return alone, m.insertMints(plans)
}

// insertMints writes what plans add. All plans have passed checkRequired.
func (t *mintTx) insertMints(plans []*plan) error {
	var writes, tokens, roles, secrets, events [][]any
	numbered := map[string]bool{} // owners with events
	clients := map[ownedID]string{}
	for _, p := range plans {
		w := &p.w
		writes = append(writes, []any{w.Owner, w.ID[:], 0, w.At.UnixMicro()})
		for i := range w.Tokens {
			token := &w.Tokens[i]
			row := append(make([]any, 0, len(tokenRows.columns)), w.Owner, token.ID, int64(1))
			tokens = append(tokens, append(append(row, p.tokens[i].args...), micros(token.Used)))
			for i, role := range token.Roles {
				if !slices.Contains(token.Roles[:i], role) {
					roles = append(roles, []any{w.Owner, token.ID, role})
				}
			}
		}
		for i := range w.Secrets {
			c := &w.Secrets[i]
			of, _ := p.findToken(c.TokenID)
			secrets = append(secrets, secretArgs(w.Owner, c.TokenID, c.Add, p.tokenCopy(of)))
		}
		for i := range w.Events {
			last := t.heads[w.Owner]
			e := last.sealed(w, i)
			t.heads[w.Owner], numbered[w.Owner] = last, true
			events = append(events, eventArgs(&e))
		}
		if w.Live != nil {
			t.live[ownedID{w.Owner, w.Live.Parent}].added += p.countedTokens()
		}
		for _, c := range w.Clients {
			if key := (ownedID{w.Owner, c.ID}); c.Name != "" || clients[key] == "" {
				clients[key] = c.Name
			}
		}
	}
	var last, named, nameless, live [][]any
	for owner := range numbered {
		h := t.heads[owner]
		last = append(last, []any{owner, h.seq, nullBytes(h.head)})
	}
	for key, name := range clients {
		if name != "" {
			named = append(named, []any{key.owner, key.id, name})
		} else {
			nameless = append(nameless, []any{key.owner, key.id, name})
		}
	}
	for key, row := range t.live {
		if row != nil && row.added > 0 {
			live = append(live, []any{key.owner, key.id, row.live + row.added, row.ownerVersion, row.oldest})
		}
	}
	for _, rows := range [][][]any{last, named, nameless,
		live} { // sorted: two transactions with opposite orders would deadlock
		slices.SortFunc(rows, func(a, b []any) int {
			return strings.Compare(fmt.Sprint(a[0], "\x00", a[1]), fmt.Sprint(b[0], "\x00", b[1]))
		})
	}
	return t.insertRows(bulkRows{writeRows, writes}, bulkRows{tokenRows, tokens}, bulkRows{tokenRoleRows, roles},
		bulkRows{secretRows, secrets}, bulkRows{eventRows, events}, bulkRows{eventSeqRows, last}, bulkRows{clientRows, named},
		bulkRows{namelessRows, nameless}, bulkRows{liveRows, live})
}
