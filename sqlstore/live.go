package sqlstore

import (
	"database/sql"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Live tokens are counted for Writes with a LiveLimit only. Each such Write has the owner to itself. A row for each
// parent keeps how many were live when they were counted, and those that were inserted since. As long as that shows
// that there is room, no token is read. Otherwise they are counted anew, by the index on the parent, from the oldest
// one that was live the last time.

// liveRow is a row of latchkey_live.
type liveRow struct {
	live, ownerVersion int64
	oldest             string // no token with a lower id is live
	taken, added       int64  // by the mints of a shared transaction
	counted            bool   // in that transaction
}

const selectLive = `SELECT owner, parent, live, owner_version, oldest FROM latchkey_live WHERE `

func (r *liveRow) scan(rows *sql.Rows, key *ownedID) error {
	return rows.Scan(&key.owner, &key.id, &r.live, &r.ownerVersion, &r.oldest)
}

// hasRoom reports whether the row shows that n more tokens may live.
func (r *liveRow) hasRoom(l *latchkey.LiveLimit, n int64) bool {
	return r != nil && r.ownerVersion == int64(l.OwnerVersion) && r.live+r.taken+n <= int64(l.Max)
}

// countedTokens returns how many tokens the Write inserts that its limit counts.
func (p *plan) countedTokens() (n int64) {
	for i := range p.w.Tokens {
		if t := &p.w.Tokens[i]; t.Version == 0 && t.Parent == p.w.Live.Parent {
			n++
		}
	}
	return n
}

// replacesTokens reports whether the Write puts a token that exists, which may let a dead one live again.
func (p *plan) replacesTokens() bool {
	for i := range p.w.Tokens {
		if p.w.Tokens[i].Version != 0 {
			return true
		}
	}
	return false
}

// limitLive returns ErrTooMany if more tokens are live, now that the Write's are put, than it allows.
func (t *tx) limitLive(p *plan, _ *changeSet) error {
	l := p.w.Live
	if l == nil {
		return nil
	}
	var row *liveRow
	err := t.each(selectLive+`owner = ? AND parent = ?`, []any{p.w.Owner, l.Parent}, func(rows *sql.Rows) error {
		row = &liveRow{}
		return row.scan(rows, &ownedID{})
	})
	if err != nil {
		return err
	}
	if n := p.countedTokens(); !p.replacesTokens() && row.hasRoom(l, n) {
		if n == 0 {
			return nil
		}
		return t.later(`UPDATE latchkey_live SET live = live + ? WHERE owner = ? AND parent = ?`,
			[]any{n, p.w.Owner, l.Parent}, touchedOne)
	}
	from := ""
	if row != nil && row.ownerVersion == int64(l.OwnerVersion) && !p.replacesTokens() {
		from = row.oldest
	}
	n, oldest, err := t.countLive(p.w.Owner, l, from)
	if err != nil {
		return err
	}
	if n > int64(l.Max) {
		return contractError(latchkey.ErrTooMany, "at most %d live at once", l.Max)
	}
	return t.later(`INSERT INTO latchkey_live (owner, parent, live, owner_version, oldest) VALUES (?, ?, ?, ?, ?)`+
		liveRows.onConflict(t.dialect()), []any{p.w.Owner, l.Parent, n, int64(l.OwnerVersion), oldest}, nil)
}

// countLive counts the live tokens with an id from on, newest first, but at most one more than there may be. Oldest is
// an id below which none is live, and none will be.
func (t *tx) countLive(owner string, l *latchkey.LiveLimit, from string) (n int64, oldest string, err error) {
	parent, args := `parent = ''`, []any{owner}
	margin := 65 * time.Minute // see latchkey.LiveLimit
	if l.Parent != "" {
		parent, args, margin = `parent = ? AND parent <> ''`, append(args, l.Parent), 5*time.Minute
	}
	now := l.Now.UnixMicro()
	args = append(args, from, now, now, micros0(l.NotBefore), int64(l.Since), l.Max+1)
	var first sql.NullString
	_, err = t.row(`SELECT count(*), min(id) FROM (SELECT id FROM latchkey_tokens
		WHERE owner = ? AND `+parent+` AND id >= ? AND revoked IS NULL AND (not_after IS NULL OR not_after > ?)
		AND NOT (`+idleExpired+`) AND created >= ? AND owner_version >= ? ORDER BY id DESC LIMIT ?) l`,
		args, &n, &first)
	if oldest = from; uuidv7.Valid(first.String) {
		tick := uuidv7.Tick(first.String)
		oldest = uuidv7.At(tick - min(tick, uint64(margin.Milliseconds())<<12)) // never before 1970
	}
	return n, oldest, err
}

// micros0 is micros with 0 for the zero time.
func micros0(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// readLive reads the rows that plans need, of owners that this transaction has to itself.
func (t *mintTx) readLive(plans []*plan) error {
	var list []ownedID
	for _, p := range plans {
		if p.w.Live == nil || !t.exclusive[p.w.Owner] {
			continue
		}
		key := ownedID{p.w.Owner, p.w.Live.Parent}
		if _, read := t.live[key]; !read {
			t.live[key] = nil
			list = append(list, key)
		}
	}
	if len(list) == 0 {
		return nil
	}
	list = padded(list)
	args := make([]any, 0, 2*len(list))
	for _, key := range list {
		args = append(args, key.owner, key.id)
	}
	return t.each(selectLive+t.dialect().inRows("owner, parent", len(list)),
		args, func(rows *sql.Rows) error {
			var key ownedID
			row := &liveRow{}
			err := row.scan(rows, &key)
			t.live[key] = row
			return err
		})
}

// takeLive takes the places that a mint needs. It returns errTryAlone where there are none.
func (t *mintTx) takeLive(p *plan) error {
	l := p.w.Live
	if l == nil {
		return nil
	}
	key, n := ownedID{p.w.Owner, l.Parent}, p.countedTokens()
	row := t.live[key]
	if !row.hasRoom(l, n) && (row == nil || !row.counted) { // once: in this transaction nothing dies
		is := &liveRow{ownerVersion: int64(l.OwnerVersion), counted: true}
		from := ""
		if row != nil {
			is.taken = row.taken
			if row.ownerVersion == is.ownerVersion {
				from = row.oldest
			}
		}
		var err error
		if is.live, is.oldest, err = t.countLive(p.w.Owner, l, from); err != nil {
			return err
		}
		row, t.live[key] = is, is
	}
	if !row.hasRoom(l, n) {
		return errTryAlone
	}
	row.taken += n
	return nil
}
