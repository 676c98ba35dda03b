package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Purge implements latchkey.Store. It uses indexes on time, so it may run while the store is in full use. Tokens with
// Validity.Idle have no fixed end, so it examines each of them. It does that before it takes any lock, and keeps what
// it found for the next calls.
func (s *Store) Purge(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
	if err := checkFeed(p.Feed); err != nil {
		return 0, mapError(ctx, "purge", err)
	}
	if n <= 0 {
		n = 100
	}
	if p.Changes == 0 {
		p.Changes = 24 * time.Hour
	}
	if p.Events == 0 {
		p.Events = -1
	}
	total := 0
	for {
		removed, again, err := s.purge(ctx, p, n-total)
		if total += removed; err != nil || !again || total == n {
			return total, err
		}
	}
}

// purge is one transaction of a Purge. Again reports that it ended with all that a scan for idle tokens had found, and
// that another scan may find more: that one was of an earlier call, or found as many as it may.
func (s *Store) purge(ctx context.Context, p latchkey.PurgePolicy, n int) (_ int, again bool, err error) {
	found, from := s.purges.take()
	earlier := len(found.keys) > 0
	if !earlier {
		if found, err = s.findIdleExpired(ctx, p); err != nil {
			return 0, false, err
		}
	}
	removed, left, to := new(int), new(idleTokens), new(creditPlaces)
	err = s.write(ctx, "purge", func(t *tx) error {
		run := purge{tx: t, policy: p, n: n, size: max(n, 100), idle: found, credit: from}
		if err := run.begin(); err != nil {
			return err
		}
		floor := run.floor
		for _, step := range []func() error{
			run.reservations, run.credits, run.tokens, run.secrets, run.once, run.changes, run.revocations, run.writeIDs,
			run.events, run.usageDays, run.usageMonths,
		} {
			if run.n <= 0 {
				break
			}
			if err := step(); err != nil {
				return err
			}
		}
		*removed, *left, *to = n-run.n, run.idle, run.credit
		if run.floor == floor {
			return nil
		}
		// Last: every change of a record waits for this row.
		return run.execOne(`UPDATE latchkey_epoch SET floor = ? WHERE id = 1`, run.floor)
	})
	if err != nil {
		return 0, false, err // removed and the others are not read: another goroutine may still write to them
	}
	s.purges.put(*left, *to)
	return *removed, len(left.keys) == 0 && (earlier || left.more && *removed > 0), nil
}

// purge removes at most n more records.
type purge struct {
	*tx
	policy latchkey.PurgePolicy
	n      int
	size   int // of a page of accounts
	idle   idleTokens
	credit creditPlaces
	floor  int64 // the history of changes is complete above it
}

// purges is what one Purge leaves to the next, so that each does not look again at all that is kept. It is lost with
// the process, and nothing but time depends on it. It is safe for concurrent use.
type purges struct {
	mu     sync.Mutex
	idle   idleTokens
	credit creditPlaces
}

// take takes what was left. A Purge at the same time finds nothing, and looks for itself.
func (p *purges) take() (idleTokens, creditPlaces) {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle, credit := p.idle, p.credit
	p.idle, p.credit = idleTokens{}, creditPlaces{}
	return idle, credit
}

func (p *purges) put(idle idleTokens, credit creditPlaces) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle, p.credit = idle, credit
}

// idleTokens are tokens that one scan found idle for too long. They may have been used since.
type idleTokens struct {
	keys []ownedBytesKey
	more bool // the scan ended before it had found all
}

// idleAtOnce is how many such tokens one scan finds at most. A scan examines all tokens with Idle, so a Purge of fewer
// at a time must not need one each.
const idleAtOnce = 1 << 15

// creditPlaces are where searches for accounts of credits ended.
type creditPlaces struct{ ended, monthly creditPlace }

// creditPlace is an account at which a search goes on behind it. The zero value is the start.
type creditPlace struct {
	begun bool
	ends  int64 // µs; of a search by it
	ownedAccount
}

// compare compares places in the order in which accounts are searched.
func (c *creditPlace) compare(d *creditPlace) int {
	return cmp.Or(cmp.Compare(c.ends, d.ends), cmp.Compare(c.owner, d.owner), cmp.Compare(c.Token, d.Token),
		cmp.Compare(c.Meter, d.Meter), cmp.Compare(c.Period, d.Period))
}

// begin keeps the purges of other processes out until the commit.
func (p *purge) begin() error {
	if lock := p.dialect().forUpdate; lock != "" {
		err := p.each(`SELECT version FROM latchkey_schema WHERE version = 1`+lock, nil, func(*sql.Rows) error { return nil })
		if err != nil {
			return err
		}
	}
	found, err := p.row(`SELECT floor FROM latchkey_epoch WHERE id = 1`, nil, &p.floor)
	if err != nil || !found {
		return orRowMissing(err, epochRow)
	}
	return nil
}

// cutoff returns the latest time of records that were kept long enough. ok is false if they are kept for ever.
func (p *purge) cutoff(keep time.Duration) (micros int64, ok bool) {
	return p.policy.Now.UnixMicro() - keep.Microseconds(), keep >= 0
}

type ownedBytesKey struct {
	owner string
	id    []byte
}

// keys reads owners and ids. They are collected before anything is removed, so no statement scans what another changes.
// Rows that another transaction has locked are left for the next Purge.
func (p *purge) keys(text string, args ...any) (out []ownedBytesKey, err error) {
	err = p.each(text+p.dialect().forUpdateSkip, append(args, p.n), func(rows *sql.Rows) error {
		var k ownedBytesKey
		err := rows.Scan(&k.owner, &k.id)
		out = append(out, k)
		return err
	})
	return out, err
}

// remove deletes, by owner and another column, the rows that a query selects.
func (p *purge) remove(query, table, column string, args ...any) error {
	keys, err := p.keys(query, args...)
	if err == nil {
		key := func(i int) []any { return []any{keys[i].owner, keys[i].id} }
		err = p.deleteAll(table, "owner, "+column, len(keys), true, key)
	}
	p.n -= len(keys)
	return err
}

// deleteAll deletes rows by their n keys. Row counts are powers of two up to 64, so that there are few statement texts.
// If each key is one row, all rows must exist.
func (t *tx) deleteAll(table, columns string, n int, each bool, key func(i int) []any) error {
	for size, i := 64, 0; i < n; i += size {
		for size > n-i {
			size /= 2
		}
		var args []any
		for j := range size {
			args = append(args, key(i+j)...)
		}
		removed, err := t.exec(`DELETE FROM `+table+` WHERE `+t.dialect().inRows(columns, size), args...)
		if err == nil && each && removed != int64(size) {
			err = fmt.Errorf("%d rows of %s were removed instead of %d", removed, table, size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reservations settles those that have lapsed, at their pledged amount. It removes those that were settled long ago.
func (p *purge) reservations() error {
	now := p.policy.Now.UnixMicro()
	lapsed, err := p.keys(`SELECT owner, id FROM latchkey_reservations WHERE until <= ? AND actual IS NULL LIMIT ?`, now)
	if err != nil {
		return err
	}
	for _, k := range lapsed {
		r, found, err := p.reservation(k.owner, [16]byte(k.id))
		if err != nil || !found {
			return orRowMissing(err, "a reservation")
		}
		if err := p.settle(k.owner, k.id, r, r.pledged, true); err != nil {
			return err
		}
	}
	p.n -= len(lapsed)
	before, ok := p.cutoff(p.policy.Changes)
	if !ok || p.n == 0 {
		return nil
	}
	return p.remove(`SELECT owner, id FROM latchkey_reservations
		WHERE until <= ? AND until <= ? AND actual IS NOT NULL LIMIT ?`, "latchkey_reservations", "id", before, now)
}

// ownedAccount is the key of a row of latchkey_credits.
type ownedAccount struct {
	owner string
	creditAccount
}

// credits removes the accounts whose period is over, unless an open reservation names them.
func (p *purge) credits() error {
	before, ok := p.cutoff(p.policy.Changes)
	if !ok {
		return nil
	}
	if err := p.endedCredits(before); err != nil {
		return err
	}
	at := time.UnixMicro(before).UTC()
	month := time.Date(at.Year(), at.Month()-1, 1, 0, 0, 0, 0, time.UTC) // the next one may carry from it
	return p.monthlyCredits(month.Format("2006-01"))
}

// endedCredits removes accounts that say when they end.
func (p *purge) endedCredits(before int64) error {
	return p.creditPages(&p.credit.ended, func(from creditPlace) (page []creditPlace, err error) {
		if !from.begun {
			from.ends = math.MinInt64
		}
		err = p.each(`SELECT ends, owner, token_id, meter, period FROM latchkey_credits WHERE ends <= ?
			AND (ends, owner, token_id, meter, period) > (?, ?, ?, ?, ?)
			ORDER BY ends, owner, token_id, meter, period LIMIT ?`+p.dialect().forUpdateSkip,
			[]any{before, from.ends, from.owner, from.Token, from.Meter, from.Period, p.size}, func(rows *sql.Rows) error {
				at := creditPlace{begun: true}
				err := rows.Scan(&at.ends, &at.owner, &at.Token, &at.Meter, &at.Period)
				page = append(page, at)
				return err
			})
		return page, err
	}, (*creditPlace).compare, func(*creditPlace) bool { return true })
}

// monthlyCredits removes accounts that do not say when they end, if their period is a month before the given one.
func (p *purge) monthlyCredits(month string) error {
	return p.creditPages(&p.credit.monthly, func(from creditPlace) (page []creditPlace, err error) {
		if !from.begun {
			from.Period = "0" // it sorts before every month, and after "", the period that never ends
		}
		err = p.each(`SELECT owner, token_id, meter, period FROM latchkey_credits WHERE period >= ? AND period < ?
			AND ends IS NULL AND (period, owner, token_id, meter) > (?, ?, ?, ?)
			ORDER BY period, owner, token_id, meter LIMIT ?`+p.dialect().forUpdateSkip,
			[]any{from.Period, month, from.Period, from.owner, from.Token, from.Meter, p.size}, func(rows *sql.Rows) error {
				at := creditPlace{begun: true}
				err := rows.Scan(&at.owner, &at.Token, &at.Meter, &at.Period)
				page = append(page, at)
				return err
			})
		return page, err
	}, func(c, d *creditPlace) int { return cmp.Or(cmp.Compare(c.Period, d.Period), c.compare(d)) },
		func(c *creditPlace) bool {
			_, err := time.Parse("2006-01", c.Period)
			return err == nil
		})
}

// creditPages removes the accounts that next returns, page by page, if over holds for them and no open reservation
// names them. It begins behind the place at, and goes on at the start when it has come to the end, until it has looked
// at all. It leaves in at where it stopped; the start if it looked at all. A page of fewer than p.size is the last.
func (p *purge) creditPages(at *creditPlace, next func(from creditPlace) ([]creditPlace, error),
	compare func(*creditPlace, *creditPlace) int, over func(*creditPlace) bool) error {
	began := *at
	for again := began.begun; p.n > 0; {
		page, err := next(*at)
		if err != nil {
			return err
		}
		// Only now: these accounts are locked, and no new reservation can take from them. Those of the next page are not.
		open, err := p.openAccounts(page)
		if err != nil {
			return err
		}
		last := len(page) < p.size
		var dead []ownedAccount
		for i := range page {
			c := &page[i]
			if len(dead) == p.n {
				last = false
				break
			}
			if *at = *c; over(c) && !open[c.ownedAccount] {
				dead = append(dead, c.ownedAccount)
			}
		}
		err = p.deleteAll("latchkey_credits", "owner, token_id, meter, period", len(dead), true, func(i int) []any {
			a := dead[i]
			return []any{a.owner, a.Token, a.Meter, a.Period}
		})
		if p.n -= len(dead); err != nil {
			return err
		}
		switch {
		case last && again:
			*at, again = creditPlace{}, false
		case last, began.begun && !again && compare(at, &began) >= 0:
			*at = creditPlace{}
			return nil
		}
	}
	return nil
}

// openAccounts returns the accounts of reservations that are not settled, of the owners of some accounts.
func (p *purge) openAccounts(of []creditPlace) (map[ownedAccount]bool, error) {
	var owners []any
	for i := range of {
		owners = append(owners, of[i].owner)
	}
	slices.SortFunc(owners, func(x, y any) int { return cmp.Compare(x.(string), y.(string)) })
	owners = slices.Compact(owners)
	open := map[ownedAccount]bool{}
	for len(owners) > 0 {
		some := owners[:min(len(owners), 64)]
		owners = owners[len(some):]
		size := 1 << bits.Len(uint(len(some)-1)) // few statement texts
		args := append(slices.Clone(some), slices.Repeat(some[:1], size-len(some))...)
		// COALESCE: not by the primary key, which holds those that are settled, too.
		err := p.each(`SELECT owner, body FROM latchkey_reservations WHERE actual IS NULL AND COALESCE(owner, '') IN (?`+
			strings.Repeat(`, ?`, size-1)+`)`, args, func(rows *sql.Rows) error {
			var owner string
			var body []byte
			if err := rows.Scan(&owner, &body); err != nil {
				return err
			}
			var accounts []creditAccount
			if strictjson.Unmarshal(body, &accounts) != nil {
				return nil // it refunds nothing: see refund
			}
			for _, one := range accounts {
				open[ownedAccount{owner, one}] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return open, nil
}

// idleExpired allows for a use that is not stored because it is too soon after the one that is.
const idleExpired = `idle > 0 AND COALESCE(used, created) + ` + idleMicros + ` +
	CASE WHEN idle < 20000000000 THEN 1000000 ELSE (idle - idle % 20000) / 20000 END <= ?`

// findIdleExpired finds tokens that have been idle for too long. It examines all tokens with Idle, so it runs outside
// the write transaction, where it would block writers.
func (s *Store) findIdleExpired(ctx context.Context, policy latchkey.PurgePolicy) (found idleTokens, err error) {
	p := purge{policy: policy}
	before, ok := p.cutoff(policy.Expired)
	if !ok {
		return idleTokens{}, nil
	}
	err = s.read(ctx, "purge", func() error {
		found.keys = nil
		return s.each(ctx, `SELECT owner, id FROM latchkey_tokens WHERE `+idleExpired+` LIMIT ?`, []any{before, idleAtOnce},
			func(rows *sql.Rows) error {
				var k ownedBytesKey
				err := rows.Scan(&k.owner, &k.id)
				found.keys = append(found.keys, k)
				return err
			})
	})
	found.more = len(found.keys) == idleAtOnce
	return found, err
}

// tokens removes dead tokens. The only answers that change are from "dead" to "unknown", so the epoch stays.
func (p *purge) tokens() error {
	type over struct {
		keep  time.Duration
		where string
	}
	for _, o := range []over{{p.policy.Revoked, `revoked <= ?`}, {p.policy.Expired, `not_after <= ?`}} {
		before, ok := p.cutoff(o.keep)
		if !ok || p.n == 0 {
			continue
		}
		dead, err := p.keys(`SELECT owner, id FROM latchkey_tokens WHERE `+o.where+` LIMIT ?`, before)
		if err != nil {
			return err
		}
		if err := p.removeTokens(dead); err != nil {
			return err
		}
	}
	before, ok := p.cutoff(p.policy.Expired)
	if !ok {
		p.idle = idleTokens{} // found for another policy
	}
	var dead []ownedBytesKey
	for len(p.idle.keys) > 0 && p.n > len(dead) {
		k := p.idle.keys[0]
		p.idle.keys = p.idle.keys[1:]
		// It may have been used since.
		err := p.each(`SELECT owner, id FROM latchkey_tokens WHERE owner = ? AND id = ? AND `+idleExpired+
			p.dialect().forUpdateSkip,
			[]any{k.owner, string(k.id), before}, func(rows *sql.Rows) error {
				var k ownedBytesKey
				err := rows.Scan(&k.owner, &k.id)
				dead = append(dead, k)
				return err
			})
		if err != nil {
			return err
		}
	}
	return p.removeTokens(dead)
}

func (p *purge) removeTokens(dead []ownedBytesKey) error {
	key := func(i int) []any { return []any{dead[i].owner, string(dead[i].id)} }
	for _, table := range []string{"latchkey_secrets", "latchkey_token_roles"} {
		if err := p.deleteAll(table, "owner, token_id", len(dead), false, key); err != nil {
			return err
		}
	}
	if err := p.deleteAll("latchkey_live", "owner, parent", len(dead), false, key); err != nil {
		return err
	}
	p.n -= len(dead)
	return p.deleteAll("latchkey_tokens", "owner, id", len(dead), true, key)
}

func (p *purge) secrets() error {
	return p.remove(`SELECT owner, digest FROM latchkey_secrets WHERE not_after <= ? LIMIT ?`, "latchkey_secrets",
		"digest", p.policy.Now.UnixMicro())
}

func (p *purge) once() error {
	return p.remove(`SELECT owner, id FROM latchkey_once WHERE until <= ? LIMIT ?`, "latchkey_once", "id",
		p.policy.Now.UnixMicro())
}

// changes removes history from its start, and advances floor accordingly. It keeps revocations.
func (p *purge) changes() error {
	before, ok := p.cutoff(p.policy.Changes)
	if !ok {
		return nil
	}
	removed := 0
	epoch, seq := p.floor, int64(-1) // rows of the floor's epoch may remain if the last Purge ended within a transaction
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
		full := len(over) == limit
		if len(over) > 0 {
			last := over[len(over)-1]
			epoch, seq, p.floor = last.epoch, last.seq, last.epoch
		}
		over = slices.DeleteFunc(over, func(r row) bool { return r.revocation })
		err = p.deleteAll("latchkey_changes", "epoch, seq", len(over), true, func(i int) []any {
			return []any{over[i].epoch, over[i].seq}
		})
		if err != nil {
			return err
		}
		removed += len(over)
		done = done || !full || removed == p.n
	}
	p.n -= removed
	return nil
}

// revocations removes those whose token ended long enough ago. It considers the history up to floor.
func (p *purge) revocations() error {
	before, ok := p.cutoff(p.policy.Revoked)
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
	p.n -= len(over)
	return p.deleteAll("latchkey_changes", "epoch, seq", len(over), true, func(i int) []any {
		return []any{over[i].epoch, over[i].seq}
	})
}

// writeIDs removes the ids of writes and usage batches.
func (p *purge) writeIDs() error {
	before, ok := p.cutoff(p.policy.Changes)
	if !ok {
		return nil
	}
	err := p.remove(`SELECT owner, id FROM latchkey_writes WHERE at <= ? LIMIT ?`, "latchkey_writes", "id", before)
	if err != nil || p.n == 0 {
		return err
	}
	keys, err := p.keys(`SELECT '', id FROM latchkey_batches WHERE at <= ? LIMIT ?`, before)
	for _, k := range keys {
		if err := p.execOne(`DELETE FROM latchkey_batches WHERE id = ?`, k.id); err != nil {
			return err
		}
	}
	p.n -= len(keys)
	return err
}

func (p *purge) events() error {
	before, ok := p.cutoff(p.policy.Events)
	if !ok {
		return nil
	}
	type key struct {
		owner string
		seq   int64
	}
	var over []key
	err := p.each(`SELECT owner, seq FROM latchkey_events WHERE at <= ? ORDER BY at, owner, seq LIMIT ?`+
		p.dialect().forUpdateSkip,
		[]any{before, p.n}, func(rows *sql.Rows) error {
			var k key
			err := rows.Scan(&k.owner, &k.seq)
			over = append(over, k)
			return err
		})
	if err != nil {
		return err
	}
	p.n -= len(over)
	return p.deleteAll("latchkey_events", "owner, seq", len(over), true, func(i int) []any {
		return []any{over[i].owner, over[i].seq}
	})
}

// usageDays adds the rows of days to those of their month, if it has ended long enough ago.
func (p *purge) usageDays() error {
	return p.oldUsage(p.policy.UsageDays, time.DateOnly, func(day string, rows []latchkey.UsageRow) error {
		sums := make([]latchkey.UsageRow, len(rows))
		for i, r := range rows {
			sums[i] = r
			sums[i].Day = day[:len("2006-01")]
		}
		slices.SortFunc(sums, compareUsage)
		return p.insertRows(bulkRows{usageRows, sumUsage(sums)})
	})
}

// usageMonths removes the rows of months that have ended long enough ago.
func (p *purge) usageMonths() error {
	return p.oldUsage(p.policy.UsageMonths, "2006-01", func(string, []latchkey.UsageRow) error { return nil })
}

// oldUsage removes rows of usage whose Day has a format and lies in a month that has ended long enough ago. It calls
// before for some rows of one Day that it then removes. Days are few, so it goes from one to the next by the index.
func (p *purge) oldUsage(keep time.Duration, format string,
	before func(day string, rows []latchkey.UsageRow) error) error {
	cutoff, ok := p.cutoff(keep)
	if !ok || keep == 0 {
		return nil
	}
	month := time.UnixMicro(cutoff).UTC().Format("2006-01")
	for day := ""; p.n > 0; {
		var next sql.NullString
		_, err := p.row(`SELECT MIN(day) FROM latchkey_usage WHERE day > ? AND day < ?`, []any{day, month}, &next)
		if err != nil || !next.Valid {
			return err
		}
		day = next.String
		if _, err := time.Parse(format, day); err != nil {
			continue
		}
		for p.n > 0 {
			n := p.n
			rows, err := p.usageOf(day)
			if err == nil && len(rows) > 0 {
				err = before(day, rows)
			}
			if err == nil {
				err = p.deleteAll("latchkey_usage", "owner, day, token_id, client_id, meter, endpoint", len(rows), true,
					func(i int) []any {
						r := &rows[i]
						return []any{r.Owner, day, r.TokenID, r.ClientID, r.Meter, r.Endpoint}
					})
			}
			if err != nil {
				return err
			}
			p.n -= len(rows)
			if len(rows) < n {
				break // what is left is locked
			}
		}
	}
	return nil
}

// usageOf reads and locks at most n rows of a day.
func (p *purge) usageOf(day string) (out []latchkey.UsageRow, err error) {
	err = p.each(`SELECT owner, token_id, client_id, meter, endpoint, count, credits FROM latchkey_usage WHERE day = ?
		LIMIT ?`+p.dialect().forUpdateSkip, []any{day, p.n}, func(rows *sql.Rows) error {
		r := latchkey.UsageRow{Day: day}
		err := rows.Scan(&r.Owner, &r.TokenID, &r.ClientID, &r.Meter, &r.Endpoint, &r.Count, &r.Credits)
		out = append(out, r)
		return err
	})
	return out, err
}
