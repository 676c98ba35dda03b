package memstore

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Purge implements [latchkey.Store]. It looks at everything the store holds, with the lock held, until it has found n.
func (s *Store) Purge(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
	if err := check(ctx); err != nil {
		return 0, err
	}
	if err := checkFeed(p.Feed); err != nil {
		return 0, err
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
	s.mu.Lock()
	defer s.mu.Unlock()
	left := n
	for _, a := range s.owners {
		for _, f := range []func(*ownerData, *latchkey.PurgePolicy, int) int{
			purgeReservations, purgeCredits, s.purgeTokens, purgeOnce, purgeEvents, purgeUsageDays, purgeUsageMonths,
		} {
			if left -= f(a, &p, left); left == 0 {
				return n, nil
			}
		}
	}
	now := micros(p.Now)
	isOld := func(at int64) bool { return old(at, p.Changes, now) }
	left -= s.history.purge(left, isOld, now, p.Revoked)
	for left > 0 && len(s.writes) > 0 && isOld(s.writes[0].at) {
		delete(s.lookup(s.writes[0].key.owner).written, s.writes[0].key.id)
		s.writes = s.writes[1:]
		left--
	}
	for left > 0 && len(s.batched) > 0 && isOld(s.batched[0].at) {
		delete(s.batches, s.batched[0].key)
		s.batched = s.batched[1:]
		left--
	}
	return n - left, nil
}

// old reports whether something of the given time has been kept for long enough. A negative duration keeps for ever.
func old(at int64, keep time.Duration, now int64) bool {
	return keep >= 0 && at+keep.Microseconds() <= now
}

// over is old for something that may have no end. It reports false then.
func over(end int64, keep time.Duration, now int64) bool {
	return end != never && old(end, keep, now)
}

// purgeReservations settles reservations that lapsed, with the pledged amount. It removes those that ended long ago.
func purgeReservations(a *ownerData, p *latchkey.PurgePolicy, n int) int {
	now, removed := micros(p.Now), 0
	for key, r := range a.reservations {
		if removed < n && !r.settled && over(r.until, 0, now) {
			a.settle(r, r.pledged)
			r.lapsed = true
			removed++
		}
		if removed < n && r.settled && over(r.until, p.Changes, now) {
			delete(a.reservations, key)
			removed++
		}
	}
	return removed
}

// purgeCredits forgets what was spent in periods that ended long enough ago, unless an open reservation names the
// account.
func purgeCredits(a *ownerData, p *latchkey.PurgePolicy, n int) int {
	if p.Changes < 0 {
		return 0
	}
	now := micros(p.Now)
	month := monthBefore(fromMicros(now - p.Changes.Microseconds())) // the next one may carry from it
	var ended []creditKey
	for key, account := range a.credits {
		if over(account.ends, p.Changes, now) ||
			account.ends == never && key.period < month && isMonth(key.period) {
			ended = append(ended, key)
		}
	}
	if len(ended) == 0 {
		return 0
	}
	open := make(map[creditKey]bool)
	for _, r := range a.reservations {
		for _, account := range r.accounts {
			open[account] = open[account] || !r.settled
		}
	}
	removed := 0
	for _, account := range ended {
		if removed < n && !open[account] {
			delete(a.credits, account)
			removed++
		}
	}
	return removed
}

// monthBefore returns the name of the month before the one that at lies in.
func monthBefore(at time.Time) string {
	return time.Date(at.Year(), at.Month()-1, 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
}

// isMonth reports whether a period is a month, such as "2026-11". The end of other periods is not known.
func isMonth(period string) bool {
	_, err := time.Parse("2006-01", period)
	return err == nil
}

// purgeTokens removes ended tokens, and the retired secrets of others. Results of reads change only from "ended" to
// "not found", so the epoch stays.
func (s *Store) purgeTokens(a *ownerData, p *latchkey.PurgePolicy, n int) int {
	now, removed := micros(p.Now), 0
	for _, t := range a.tokens.after("") {
		if removed == n {
			break
		}
		if over(t.revoked, p.Revoked, now) || over(t.notAfter, p.Expired, now) || over(t.idledOut(), p.Expired, now) {
			s.removeToken(t)
			removed++
			continue
		}
		for i := 0; i < len(t.secrets) && removed < n; {
			if !over(t.secrets[i].notAfter, 0, now) {
				i++
				continue
			}
			s.unlink(t.secrets[i])
			t.secrets = append(t.secrets[:i:i], t.secrets[i+1:]...)
			removed++
		}
	}
	return removed
}

// idledOut returns when no use can have kept the token alive: one that is less than a twentieth of Idle after the one
// before is not stored.
func (t *token) idledOut() int64 {
	if t.more == nil || t.more.idle <= 0 {
		return never
	}
	return micros(t.view().IdleEnd().Add(max(t.more.idle/20, time.Second)))
}

func purgeOnce(a *ownerData, p *latchkey.PurgePolicy, n int) int {
	now, removed := micros(p.Now), 0
	for key, until := range a.once {
		if removed == n {
			break
		}
		if over(until, 0, now) {
			delete(a.once, key)
			removed++
		}
	}
	return removed
}

func purgeEvents(a *ownerData, p *latchkey.PurgePolicy, n int) int {
	now, removed := micros(p.Now), 0
	for removed < n && removed < len(a.events) && old(micros(a.events[removed].At), p.Events, now) {
		removed++
	}
	clear(a.events[:removed])
	a.events = a.events[removed:]
	return removed
}

// purgeUsageDays adds the rows of days to those of their month, if it has ended long enough ago.
func purgeUsageDays(a *ownerData, p *latchkey.PurgePolicy, n int) int {
	return purgeUsage(a, p.Now, p.UsageDays, time.DateOnly, n, func(k usageKey, c count) {
		k.day = k.day[:len("2006-01")]
		a.usage[k] = a.usage[k].plus(c)
	})
}

// purgeUsageMonths removes the rows of months that have ended long enough ago.
func purgeUsageMonths(a *ownerData, p *latchkey.PurgePolicy, n int) int {
	return purgeUsage(a, p.Now, p.UsageMonths, "2006-01", n, func(usageKey, count) {})
}

func purgeUsage(a *ownerData, now time.Time, keep time.Duration, format string, n int,
	removed func(usageKey, count)) int {
	if keep <= 0 {
		return 0
	}
	month := fromMicros(micros(now) - keep.Microseconds()).Format("2006-01")
	var over []usageKey
	for k := range a.usage {
		if _, err := time.Parse(format, k.day); err == nil && k.day < month && len(over) < n {
			over = append(over, k)
		}
	}
	for _, k := range over {
		c := a.usage[k]
		delete(a.usage, k)
		removed(k, c)
	}
	return len(over)
}
