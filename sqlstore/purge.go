package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Purge implements latchkey.Store. It looks through indexes on time, so it may run while the store is in full use.
func (s *Store) Purge(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
	if n <= 0 {
		n = 100
	}
	if p.Changes == 0 {
		p.Changes = 24 * time.Hour
	}
	if p.Events == 0 {
		p.Events = -1
	}
	removed := new(int)
	err := s.write(ctx, "purge", func(t *tx) error {
		job := purge{tx: t, policy: p, n: n}
		if err := job.begin(); err != nil {
			return err
		}
		floor := job.floor
		for _, step := range []func() error{
			job.reservations, job.tokens, job.secrets, job.once, job.changes, job.revocations, job.ids, job.events,
		} {
			if job.n <= 0 {
				break
			}
			if err := step(); err != nil {
				return err
			}
		}
		*removed = n - job.n
		if job.floor == floor {
			return nil
		}
		// Last: everybody's changes wait for this row.
		return job.one(`UPDATE latchkey_epoch SET floor = ? WHERE id = 1`, job.floor)
	})
	if err != nil {
		return 0, err // without a look at removed: somebody may still be at work on it
	}
	return *removed, nil
}

// purge removes at most n things more.
type purge struct {
	*tx
	policy latchkey.PurgePolicy
	n      int
	floor  int64 // change history is complete above
}

// begin keeps the purges of other processes out until the commit.
func (p *purge) begin() error {
	if lock := p.dialect().lock; lock != "" {
		err := p.each(`SELECT version FROM latchkey_schema WHERE version = 1`+lock, nil, func(*sql.Rows) error { return nil })
		if err != nil {
			return err
		}
	}
	found, err := p.row(`SELECT floor FROM latchkey_epoch WHERE id = 1`, nil, &p.floor)
	if err != nil || !found {
		return orMissing(err, epochRow)
	}
	return nil
}

// before is the latest time of what has been kept for long enough; ok is false when it is kept for ever.
func (p *purge) before(keep time.Duration) (micros int64, ok bool) {
	return p.policy.Now.UnixMicro() - keep.Microseconds(), keep >= 0
}

type ownedKey struct {
	owner string
	id    []byte
}

// keys reads owners and ids. They are gathered before anything is removed: no statement walks what another changes. Rows
// that somebody is just writing are left for the next time.
func (p *purge) keys(text string, args ...any) (out []ownedKey, err error) {
	err = p.each(text+p.dialect().skip, append(args, p.n), func(rows *sql.Rows) error {
		var k ownedKey
		err := rows.Scan(&k.owner, &k.id)
		out = append(out, k)
		return err
	})
	return out, err
}

// remove deletes, by owner and id, the rows that a query selects.
func (p *purge) remove(query, remove string, args ...any) error {
	keys, err := p.keys(query, args...)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := p.one(remove, k.owner, k.id); err != nil {
			return err
		}
	}
	p.n -= len(keys)
	return nil
}

// reservations gives back what lapsed, and forgets what was settled long ago.
func (p *purge) reservations() error {
	now := p.policy.Now.UnixMicro()
	lapsed, err := p.keys(`SELECT owner, id FROM latchkey_reservations WHERE until <= ? AND actual IS NULL LIMIT ?`, now)
	if err != nil {
		return err
	}
	for _, k := range lapsed {
		r, found, err := p.reservation(k.owner, [16]byte(k.id))
		if err != nil || !found {
			return orMissing(err, "a reservation")
		}
		if err := p.settle(k.owner, k.id, r, 0, true); err != nil {
			return err
		}
	}
	p.n -= len(lapsed)
	before, ok := p.before(p.policy.Changes)
	if !ok || p.n == 0 {
		return nil
	}
	return p.remove(`SELECT owner, id FROM latchkey_reservations
		WHERE until <= ? AND until <= ? AND actual IS NOT NULL LIMIT ?`,
		`DELETE FROM latchkey_reservations WHERE owner = ? AND id = ?`, before, now)
}

// tokens removes the dead. No answer changes by it but from "dead" to "unknown", so the epoch stays.
func (p *purge) tokens() error {
	type over struct {
		keep  time.Duration
		where string
	}
	for _, o := range []over{
		{p.policy.Revoked, `revoked <= ?`},
		{p.policy.Expired, `not_after <= ?`},
		{p.policy.Expired, `idle > 0 AND COALESCE(used, created) + ` + idleMicros + ` <= ?`},
	} {
		before, ok := p.before(o.keep)
		if !ok || p.n == 0 {
			continue
		}
		dead, err := p.keys(`SELECT owner, id FROM latchkey_tokens WHERE `+o.where+` LIMIT ?`, before)
		if err != nil {
			return err
		}
		for _, k := range dead {
			if err := p.removeToken(k.owner, string(k.id)); err != nil {
				return err
			}
		}
		p.n -= len(dead)
	}
	return nil
}

func (p *purge) secrets() error {
	return p.remove(`SELECT owner, digest FROM latchkey_secrets WHERE not_after <= ? LIMIT ?`,
		`DELETE FROM latchkey_secrets WHERE owner = ? AND digest = ?`, p.policy.Now.UnixMicro())
}

func (p *purge) once() error {
	return p.remove(`SELECT owner, id FROM latchkey_once WHERE until <= ? LIMIT ?`,
		`DELETE FROM latchkey_once WHERE owner = ? AND id = ?`, p.policy.Now.UnixMicro())
}

// changes removes history from its beginning, and says in floor how far it went. Revocations stay.
func (p *purge) changes() error {
	before, ok := p.before(p.policy.Changes)
	if !ok {
		return nil
	}
	removed := 0
	epoch, seq := p.floor, int64(-1) // rows of the floor itself may be left, when the last batch ended within a transaction
	for done := false; !done; {
		type row struct {
			epoch, seq int64
			revocation bool
		}
		var over []row
		limit := p.n - removed
		err := p.each(`SELECT epoch, seq, kind, at FROM latchkey_changes
			WHERE epoch >= ? AND (epoch > ? OR seq > ?) ORDER BY epoch, seq LIMIT ?`, []any{epoch, epoch, seq, limit},
			func(rows *sql.Rows) error {
				var r row
				var kind, at int64
				if err := rows.Scan(&r.epoch, &r.seq, &kind, &at); err != nil {
					return err
				}
				if done = done || at > before; !done {
					r.revocation = kind == int64(latchkey.ChangedRevocation)
					over = append(over, r)
				}
				return nil
			})
		if err != nil {
			return err
		}
		for _, r := range over {
			epoch, seq, p.floor = r.epoch, r.seq, r.epoch
			if r.revocation {
				continue
			}
			if err := p.one(`DELETE FROM latchkey_changes WHERE epoch = ? AND seq = ?`, r.epoch, r.seq); err != nil {
				return err
			}
			removed++
		}
		done = done || len(over) < limit || removed == p.n
	}
	p.n -= removed
	return nil
}

// revocations removes those whose token ended long enough ago, of the history that changes has gone through.
func (p *purge) revocations() error {
	before, ok := p.before(p.policy.Revoked)
	if !ok {
		return nil
	}
	type key struct{ epoch, seq int64 }
	var over []key
	err := p.each(`SELECT epoch, seq FROM latchkey_changes WHERE kind = 4 AND until <= ?
		AND epoch <= ? LIMIT ?`, []any{before, p.floor, p.n}, func(rows *sql.Rows) error {
		var k key
		err := rows.Scan(&k.epoch, &k.seq)
		over = append(over, k)
		return err
	})
	if err != nil {
		return err
	}
	for _, k := range over {
		if err := p.one(`DELETE FROM latchkey_changes WHERE epoch = ? AND seq = ?`, k.epoch, k.seq); err != nil {
			return err
		}
	}
	p.n -= len(over)
	return nil
}

// ids forgets writes and usage batches.
func (p *purge) ids() error {
	before, ok := p.before(p.policy.Changes)
	if !ok {
		return nil
	}
	err := p.remove(`SELECT owner, id FROM latchkey_writes WHERE at <= ? LIMIT ?`,
		`DELETE FROM latchkey_writes WHERE owner = ? AND id = ?`, before)
	if err != nil || p.n == 0 {
		return err
	}
	return p.remove(`SELECT '', id FROM latchkey_batches WHERE at <= ? LIMIT ?`,
		`DELETE FROM latchkey_batches WHERE '' = ? AND id = ?`, before)
}

func (p *purge) events() error {
	before, ok := p.before(p.policy.Events)
	if !ok {
		return nil
	}
	type key struct {
		owner string
		seq   int64
	}
	var over []key
	err := p.each(`SELECT owner, seq FROM latchkey_events WHERE at <= ? ORDER BY at, owner, seq LIMIT ?`+p.dialect().skip,
		[]any{before, p.n}, func(rows *sql.Rows) error {
			var k key
			err := rows.Scan(&k.owner, &k.seq)
			over = append(over, k)
			return err
		})
	if err != nil {
		return err
	}
	for _, k := range over {
		if err := p.one(`DELETE FROM latchkey_events WHERE owner = ? AND seq = ?`, k.owner, k.seq); err != nil {
			return err
		}
	}
	p.n -= len(over)
	return nil
}
