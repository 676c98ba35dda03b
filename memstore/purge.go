package memstore

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Purge implements [latchkey.Store]. It holds the lock while it looks at everything the store holds. What is over and
// more than n it remembers, and the next calls begin with that. So removing many records n at a time costs a few looks
// at everything, however many calls it takes.
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
	r := purge{PurgePolicy: p, s: s, now: micros(p.Now), left: n}
	r.days, r.months = r.monthOf(p.UsageDays), r.monthOf(p.UsageMonths)
	r.carrying = monthBefore(fromMicros(r.now - p.Changes.Microseconds())) // the next one may carry from it
	r.log()
	r.remembered()
	if r.left > 0 {
		r.all()
	}
	return n - r.left, nil
}

// purge is a call of Purge.
type purge struct {
	latchkey.PurgePolicy
	s            *Store
	now          int64
	left         int    // how many more it may remove
	days, months string // usage of earlier months is over, "": none
	carrying     string // credits of earlier months are over
}

// due lists the records of an owner that were over when a call of Purge looked at everything, and that it was not to
// remove. They may have changed since.
type due struct {
	of           *ownerData
	reservations [][16]byte
	credits      []creditKey
	tokens       []*token
	once         [][32]byte
	events       []struct{} // one: events from the first on
	days, months []usageKey
}

func (d *due) isEmpty() bool {
	return max(len(d.reservations), len(d.credits), len(d.tokens), len(d.once), len(d.events), len(d.days),
		len(d.months)) == 0
}

// log removes what is in the order of time, so that what is over comes first.
func (r *purge) log() {
	s := r.s
	isOld := func(at int64) bool { return r.left > 0 && old(at, r.Changes, r.now) }
	for h := &s.history; len(h.rows) > 0 && isOld(h.rows[0].at); {
		if h.rows[0].Kind != latchkey.ChangedRevocation {
			r.left-- // a revocation only moves to revoked: it counts when it is removed from there
		}
		h.drop(1)
	}
	for len(s.writes) > 0 && isOld(s.writes[0].at) {
		delete(s.lookup(s.writes[0].key.owner).written, s.writes[0].key.id)
		s.writes = s.writes[1:]
		r.left--
	}
	for len(s.batched) > 0 && isOld(s.batched[0].at) {
		delete(s.batches, s.batched[0].key)
		s.batched = s.batched[1:]
		r.left--
	}
}

// remembered removes what earlier calls left.
func (r *purge) remembered() {
	s := r.s
	for len(s.due) > 0 && r.left > 0 {
		last := &s.due[len(s.due)-1]
		r.owner(last, false)
		if last.isEmpty() {
			*last = due{}
			s.due = s.due[:len(s.due)-1]
		}
	}
	r.revocations(false)
	if len(s.due) == 0 {
		s.due = nil
	}
}

// all looks at everything but the log. Nothing is remembered when it begins.
func (r *purge) all() {
	var d due
	for _, a := range r.s.owners {
		d.of = a
		if r.owner(&d, true); !d.isEmpty() {
			r.s.due = append(r.s.due, d)
			d = due{}
		}
	}
	r.revocations(true)
}

// owner removes records of an owner: those that d lists and, if look is set, all others that are over. It adds to d
// what it may not remove any more.
func (r *purge) owner(d *due, look bool) {
	a := d.of
	remove(r, &d.reservations, look, maps.Keys(a.reservations), func(key [16]byte) bool {
		one := a.reservations[key]
		return one != nil && (!one.settled && over(one.until, 0, r.now) || one.settled && over(one.until, r.Changes, r.now))
	}, func(key [16]byte) {
		one := a.reservations[key]
		if one.settled {
			delete(a.reservations, key)
			return
		}
		a.settle(one, one.pledged)
		one.lapsed = true
	})
	remove(r, &d.credits, look && r.Changes >= 0, maps.Keys(a.credits), func(key creditKey) bool {
		one, ok := a.credits[key]
		return ok && one.open == 0 && r.creditsAreOver(key, one)
	}, func(key creditKey) { delete(a.credits, key) })
	remove(r, &d.tokens, look, a.tokens.values(), func(t *token) bool {
		stored, _ := a.tokens.get(t.id)
		return stored == t && (r.isDead(t) || r.retired(t) >= 0)
	}, r.removeToken)
	remove(r, &d.once, look, maps.Keys(a.once), func(key [32]byte) bool {
		until, ok := a.once[key]
		return ok && over(until, 0, r.now)
	}, func(key [32]byte) { delete(a.once, key) })
	remove(r, &d.events, look, slices.Values(make([]struct{}, 1)), func(struct{}) bool {
		return len(a.events) > 0 && old(micros(a.events[0].At), r.Events, r.now)
	}, func(struct{}) {
		a.events[0] = latchkey.Event{} // frees the strings
		a.events = a.events[1:]
	})
	// The rows of days are added to those of their month.
	remove(r, &d.days, look && r.days != "", maps.Keys(a.usage), func(k usageKey) bool {
		return a.usageIsOver(k, r.days, time.DateOnly)
	}, func(k usageKey) {
		c := a.usage[k]
		delete(a.usage, k)
		k.day = k.day[:len("2006-01")]
		a.usage[k] = a.usage[k].plus(c)
	})
	remove(r, &d.months, look && r.months != "", maps.Keys(a.usage), func(k usageKey) bool {
		return a.usageIsOver(k, r.months, "2006-01")
	}, func(k usageKey) { delete(a.usage, k) })
}

// revocations removes revocations of stateless tokens that ended long enough ago.
func (r *purge) revocations(look bool) {
	h := &r.s.history
	remove(r, &r.s.dueRevocations, look, slices.Values(h.revoked), func(c *change) bool {
		return !c.gone && over(micros(c.Until), r.Revoked, r.now)
	}, h.forget)
}

// remove removes records of one kind while the call may. If look is set, it adds all that are over to those that are
// due before. A record is due until it is not over: what is removed may be a part of it.
func remove[K any](r *purge, due *[]K, look bool, all iter.Seq[K], isOver func(K) bool, one func(K)) {
	if look {
		for k := range all {
			r.s.looked++
			if isOver(k) {
				*due = append(*due, k)
			}
		}
	}
	for r.left > 0 && len(*due) > 0 {
		last := len(*due) - 1
		r.s.looked++
		if k := (*due)[last]; isOver(k) {
			one(k)
			r.left--
			continue
		}
		clear((*due)[last:])
		*due = (*due)[:last]
	}
	if len(*due) == 0 {
		*due = nil
	}
}

// old reports whether something of the given time has been kept for long enough. A negative duration keeps for ever.
func old(at int64, keep time.Duration, now int64) bool {
	return keep >= 0 && at+keep.Microseconds() <= now
}

// over is old for something that may have no end. It reports false then.
func over(end int64, keep time.Duration, now int64) bool {
	return end != never && old(end, keep, now)
}

// creditsAreOver reports whether the period of an account ended long enough ago.
func (r *purge) creditsAreOver(key creditKey, one account) bool {
	return over(one.ends, r.Changes, r.now) ||
		r.Changes >= 0 && one.ends == never && key.period < r.carrying && isMonth(key.period)
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

// isDead reports whether a token ended long enough ago.
func (r *purge) isDead(t *token) bool {
	return over(t.revoked, r.Revoked, r.now) || over(t.notAfter, r.Expired, r.now) || over(t.idledOut(), r.Expired, r.now)
}

// retired returns the index of a secret past its end, or -1.
func (r *purge) retired(t *token) int {
	return slices.IndexFunc(t.secrets, func(s secret) bool { return over(s.notAfter, 0, r.now) })
}

// removeToken removes a dead token, or a retired secret of another. Results of reads change only from "ended" to "not
// found", so the epoch stays.
func (r *purge) removeToken(t *token) {
	if r.isDead(t) {
		r.s.removeToken(t)
		return
	}
	i := r.retired(t)
	r.s.unlink(t.secrets[i])
	t.secrets = append(t.secrets[:i:i], t.secrets[i+1:]...)
}

// idledOut returns when no use can have kept the token alive: one that is less than a twentieth of Idle after the one
// before is not stored.
func (t *token) idledOut() int64 {
	if t.more == nil || t.more.idle <= 0 {
		return never
	}
	return micros(t.view().IdleEnd().Add(max(t.more.idle/20, time.Second)))
}

// monthOf returns the month before which usage that is kept for so long is over, or "" if it is kept for ever.
func (r *purge) monthOf(keep time.Duration) string {
	if keep <= 0 {
		return ""
	}
	return fromMicros(r.now - keep.Microseconds()).Format("2006-01")
}

// usageIsOver reports whether a row is there, lies before the month and names its day in the format.
func (a *ownerData) usageIsOver(k usageKey, month, format string) bool {
	if k.day >= month {
		return false
	}
	_, err := time.Parse(format, k.day)
	_, ok := a.usage[k]
	return ok && err == nil
}
