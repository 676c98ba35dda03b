package storetest

import (
	"math"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

var adjustCases = []Case{
	newCase("credits/adjust", "Adjust gives back what it cuts off, once. It never grows a reservation, and changes none "+
		"that is settled.", func(w *fixture) {
		p := credits{w, []latchkey.CreditAccount{{Meter: "m", Limit: 100}, {TokenID: id(1), Meter: "m", Limit: 100}}}
		key, other := w.key(), w.key()
		_, err := p.reserve(key, 40)
		w.ok(err, "Reserve")
		_, err = p.reserve(other, 10)
		w.ok(err, "another Reserve")
		adjust := func(amount, pledged latchkey.Credits) error {
			return w.s.Adjust(w.ctx, acme, key,
				latchkey.Adjustment{Amount: amount, Pledged: pledged, Until: noon.Add(time.Minute)})
		}
		for _, bad := range [][2]latchkey.Credits{{0, 0}, {-1, 0}, {math.MinInt64, 0}, {10, 11}, {10, -1},
			{math.MaxInt64, math.MinInt64}} {
			w.failed(latchkey.ErrInvalid, adjust(bad[0], bad[1]), "an adjustment with impossible amounts")
		}
		w.failed(latchkey.ErrNotFound, w.s.Adjust(w.ctx, acme, w.key(), latchkey.Adjustment{Amount: 1}), "an unknown key")
		w.failed(latchkey.ErrNotFound, w.s.Adjust(w.ctx, globex, key, latchkey.Adjustment{Amount: 1}), "another owner's key")
		w.failed(latchkey.ErrConflict, adjust(41, 41), "a pledge of more than there is")
		w.ok(adjust(math.MaxInt64, 0), "an adjustment that cuts nothing")
		p.used(50, "after nothing was cut")
		for range 3 {
			w.ok(adjust(25, 20), "a cut")
			p.used(35, "after a cut")
		}
		w.ok(adjust(40, 5), "an adjustment that arrives after a later one")
		p.used(35, "after that")
		w.failed(latchkey.ErrConflict, adjust(40, 30), "a late adjustment that pledges more than is left")
		w.ok(adjust(15, 0), "a cut below what is pledged")
		p.used(25, "after a cut below what is pledged")
		_, err = p.reserve(key, 40)
		w.failed(latchkey.ErrConflict, err, "Reserve of the amount there was")
		w.failed(latchkey.ErrInvalid, w.s.Settle(w.ctx, acme, key, 16), "Settle of more than is left")
		w.ok(w.s.Settle(w.ctx, acme, key, 3), "Settle of less than is pledged")
		p.used(13, "after Settle")
		w.failed(latchkey.ErrConflict, adjust(15, 15), "an adjustment of what is settled")
		w.failed(latchkey.ErrConflict, adjust(3, 0), "a cut of what is settled")
		w.ok(w.s.Settle(w.ctx, acme, other, 10), "Settle of the other")
		p.used(13, "at the end")
	}),

	newCase("purge/pledged", "When a reservation lapses, the most that was ever pledged of it counts as spent. The rest "+
		"is given back then, not before. The time it lapses only ever moves later.", func(w *fixture) {
		p := credits{w, []latchkey.CreditAccount{{Meter: "m", Limit: 1000}, {TokenID: id(1), Meter: "m", Limit: 1000}}}
		adjust := func(key [16]byte, amount, pledged latchkey.Credits, until time.Time) {
			w.Helper()
			w.ok(w.s.Adjust(w.ctx, acme, key, latchkey.Adjustment{Amount: amount, Pledged: pledged, Until: until}), "Adjust")
		}
		soon, later := noon.Add(time.Minute), noon.Add(time.Hour)
		raised, cut, whole, kept, ever := w.key(), w.key(), w.key(), w.key(), w.key()
		for _, key := range [][16]byte{raised, cut, whole, kept, ever} {
			_, err := p.reserve(key, 100) // until soon
			w.ok(err, "Reserve")
		}
		adjust(raised, 100, 20, soon)
		adjust(raised, 100, 30, noon) // no earlier than soon
		adjust(raised, 100, 10, soon) // arrives late: 30 stay pledged
		adjust(cut, 100, 60, soon)
		adjust(cut, 50, 0, soon)     // 50 are left, all of them pledged
		adjust(whole, 100, 0, later) // nothing pledged
		adjust(kept, 100, 100, later)
		adjust(kept, 100, 100, soon) // arrives late: it stays later
		adjust(ever, 100, 5, time.Time{})
		adjust(ever, 100, 5, soon)
		p.used(450, "before anything lapsed")

		end := keepAll(soon.Add(-time.Microsecond))
		w.same(w.purge(end, 100), 0, "how much was purged a moment too early")
		end.Now = soon
		w.same(w.purge(end, 100), 2, "how much was purged")
		p.used(450-70, "after two lapsed: 30 and 50 were pledged")
		w.same(w.purge(end, 100), 0, "how much was purged again")
		for key, pledged := range map[[16]byte]latchkey.Credits{raised: 30, cut: 50} {
			for _, more := range []latchkey.Credits{0, pledged} {
				w.failed(latchkey.ErrConflict,
					w.s.Adjust(w.ctx, acme, key, latchkey.Adjustment{Amount: 100, Pledged: more, Until: later}),
					"Adjust of what lapsed")
			}
			w.failed(latchkey.ErrConflict, w.s.Settle(w.ctx, acme, key, 0), "Settle of what lapsed")
			w.ok(w.s.Settle(w.ctx, acme, key, pledged), "Settle of what lapsed, as it was pledged")
		}
		end.Now = later
		w.same(w.purge(end, 100), 2, "how much was purged later")
		p.used(450-170, "after two more lapsed: nothing and 100 were pledged")
		end.Now = later.AddDate(1000, 0, 0)
		w.same(w.purge(end, 100), 0, "how much is purged of what never lapses")
		w.ok(w.s.Settle(w.ctx, acme, ever, 0), "Settle of what never lapses")
		p.used(180, "at the end")
	}),

	newCase("purge/pledged/race", "A pledge that was acknowledged is kept by every Purge, and one that was refused is "+
		"not.", func(w *fixture) {
		const blocks, amount = 24, 10
		accounts := []latchkey.CreditAccount{{Meter: "m", Limit: 1 << 30}}
		p := credits{w, accounts}
		var keys [blocks][16]byte
		var pledged [blocks]latchkey.Credits
		for i := range keys {
			keys[i] = w.key()
			_, err := p.reserve(keys[i], amount)
			w.ok(err, "Reserve")
			pledged[i] = 1
			w.ok(w.s.Adjust(w.ctx, acme, keys[i], latchkey.Adjustment{Amount: amount, Pledged: 1, Until: noon}), "Adjust")
		}
		var all, raising sync.WaitGroup
		raised := make(chan struct{}, blocks*amount) // Purge runs between the adjustments
		for i := range keys {
			raising.Go(func() {
				for n := latchkey.Credits(2); n <= amount; n++ {
					err := w.s.Adjust(w.ctx, acme, keys[i], latchkey.Adjustment{Amount: amount, Pledged: n, Until: noon})
					if err != nil {
						w.failed(latchkey.ErrConflict, err, "Adjust")
						return
					}
					pledged[i] = n
					raised <- struct{}{}
				}
			})
		}
		for range 2 {
			all.Go(func() {
				for range raised {
					if _, err := w.tryPurge(keepAll(noon.Add(time.Hour)), 1); err != nil {
						w.Errorf("Purge: %v", err)
					}
				}
			})
		}
		raising.Wait()
		close(raised)
		all.Wait()
		for w.purge(keepAll(noon.Add(time.Hour)), 100) == 100 {
		}
		sum := latchkey.Credits(0)
		for _, n := range pledged {
			sum += n
		}
		p.used(sum, "after all lapsed")
	}),
}
