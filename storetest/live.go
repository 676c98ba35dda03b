package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// atMost returns a limit of the tokens with a parent, 0 for issued ones, as of noon.
func atMost(n, parent int) *latchkey.LiveLimit {
	l := &latchkey.LiveLimit{Max: n, Now: noon, OwnerVersion: 1}
	if parent != 0 {
		l.Parent = id(parent)
	}
	return l
}

// add inserts a token under a limit.
func (w *fixture) add(l *latchkey.LiveLimit, t latchkey.Token) error {
	return w.try(latchkey.Write{Owner: t.Owner, Tokens: []latchkey.Token{t}, Live: l, Silent: true,
		Secrets: []latchkey.SecretChange{{TokenID: t.ID, Add: secret(number(t.ID))}}})
}

var liveCases = []Case{
	newCase("live/limit", "At most LiveLimit.Max tokens with the same parent are live after a Write, else it is "+
		"ErrTooMany and does nothing.", func(w *fixture) {
		w.insert(token(1), token(2))
		for _, parent := range []int{0, 1} {
			of := func(n int) latchkey.Token {
				if parent == 0 {
					return token(n + 100)
				}
				return minted(n, parent)
			}
			most := 5 - parent*2 // the two parents are issued tokens
			for n := range 3 {
				w.ok(w.add(atMost(most, parent), of(10+n)), "a token with room")
			}
			for range 2 {
				w.failed(latchkey.ErrTooMany, w.add(atMost(most, parent), of(20)), "one more")
			}
			w.absent(number(of(20).ID))
			w.ok(w.add(atMost(most+1, parent), of(20)), "one more under a higher limit")
			w.failed(latchkey.ErrTooMany, w.add(atMost(most, parent), of(21)), "one more under a lower limit")
			w.write(latchkey.Write{Tokens: []latchkey.Token{of(21)}}) // without a limit nothing is counted
		}
		w.ok(w.add(atMost(1, 2), minted(50, 2)), "a token of another parent")
		w.insert(by(globex, token(199)))
		w.ok(w.add(atMost(2, 0), by(globex, token(200))), "a token of another owner")
		two := latchkey.Write{Tokens: []latchkey.Token{minted(60, 2), minted(61, 2)}, Live: atMost(2, 2)}
		w.refuse(latchkey.ErrTooMany, two, "two where one more may live")
		two.Live = atMost(3, 2)
		w.write(two)
		other := latchkey.Write{Tokens: []latchkey.Token{token(300)}, Live: atMost(3, 2)}
		w.write(other) // it has another parent
		w.insert(token(3))
		for n := range 2 {
			first := minted(70+n, 3)
			first.ID = fmt.Sprintf("00000000-0000-7000-8000-%012d", 70+n) // of the first millisecond of 1970
			if err := w.add(atMost(1, 3), first); n == 0 {
				w.ok(err, "a token of 1970")
			} else {
				w.failed(latchkey.ErrTooMany, err, "one more of 1970")
			}
		}
	}),

	newCase("live/dead", "What is revoked, deleted, purged, over, idled out, or ended by NotBefore or Since leaves its "+
		"place to another token. What is disabled does not.", func(w *fixture) {
		n := 10
		next := func() latchkey.Token { n++; return minted(n, 1) }
		w.insert(token(1))
		for what, end := range map[string]func(t *latchkey.Token, l *latchkey.LiveLimit){
			"revoked":             func(t *latchkey.Token, _ *latchkey.LiveLimit) { t.Revoked = noon },
			"over":                func(_ *latchkey.Token, l *latchkey.LiveLimit) { l.Now = noon.Add(time.Hour) },
			"over sooner":         func(t *latchkey.Token, _ *latchkey.LiveLimit) { t.Validity.NotAfter = noon },
			"idled out":           func(_ *latchkey.Token, l *latchkey.LiveLimit) { l.Now = noon.Add(21 * time.Minute) },
			"ended by the time":   func(_ *latchkey.Token, l *latchkey.LiveLimit) { l.NotBefore = noon.Add(time.Microsecond) },
			"ended by the record": func(_ *latchkey.Token, l *latchkey.LiveLimit) { l.Since = 1 },
			"deleted":             nil,
			"disabled":            func(t *latchkey.Token, _ *latchkey.LiveLimit) { t.Disabled = true },
			"not yet idled out":   func(_ *latchkey.Token, l *latchkey.LiveLimit) { l.Now = noon.Add(21*time.Minute - 1000) },
			"not yet valid": func(t *latchkey.Token,
				_ *latchkey.LiveLimit) {
				t.Validity.NotBefore = noon.Add(time.Minute)
			},
			"made at NotBefore": func(_ *latchkey.Token, l *latchkey.LiveLimit) { l.NotBefore = noon },
			"over in a microsecond": func(_ *latchkey.Token,
				l *latchkey.LiveLimit) {
				l.Now = noon.Add(time.Hour - time.Microsecond)
			},
		} {
			t := next()
			if what == "idled out" || what == "not yet idled out" {
				t.Validity.Idle = 20 * time.Minute
			}
			limit := atMost(1, 1)
			w.ok(w.add(limit, t), what)
			limit = atMost(1, 1)
			if end == nil {
				w.write(latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: t.ID}}})
			} else {
				put := w.load(number(t.ID)).Token
				end(&put, limit)
				w.write(latchkey.Write{Tokens: []latchkey.Token{put}})
			}
			fresh := func() latchkey.Token {
				t := next()
				t.OwnerVersion, t.Created, t.Validity.NotAfter = 1, noon.Add(time.Minute), noon.Add(9*time.Hour)
				return t
			}
			another := fresh()
			err := w.add(limit, another)
			switch what {
			case "disabled", "not yet idled out", "not yet valid", "made at NotBefore", "over in a microsecond":
				w.failed(latchkey.ErrTooMany, err, "one more beside one that is "+what)
			default:
				w.ok(err, "in the place of one that is "+what)
				w.failed(latchkey.ErrTooMany, w.add(limit, fresh()), "one more after one that is "+what)
				w.write(latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: another.ID}}})
			}
			if end != nil {
				w.write(latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: t.ID}}})
			}
		}
		over := next()
		over.Validity.NotAfter = noon
		w.insert(over)
		w.purge(latchkey.PurgePolicy{Now: noon.Add(time.Minute), Revoked: -1, Changes: -1}, 100)
		w.ok(w.add(atMost(1, 1), next()), "after Purge")
		w.write(latchkey.Write{DeleteTokens: refs(1)})
		w.insert(token(1))
		w.ok(w.add(atMost(1, 1), next()), "a parent that was deleted begins anew")
	}),

	newCase("live/counted-anew", "What was written without a LiveLimit under another OwnerVersion counts, and what Erase "+
		"removed does not.", func(w *fixture) {
		w.insert(token(1))
		limit := func(version uint64) *latchkey.LiveLimit {
			l := atMost(3, 1)
			l.OwnerVersion = version
			return l
		}
		w.ok(w.add(limit(1), minted(10, 1)), "the first")
		w.insert(minted(11, 1), minted(12, 1)) // while the owner had no policy
		w.failed(latchkey.ErrTooMany, w.add(limit(3), minted(13, 1)), "one more under a later version")
		w.write(latchkey.Write{DeleteTokens: refs(11)})
		w.ok(w.add(limit(3), minted(13, 1)), "after one was deleted")
		w.write(latchkey.Write{Erase: true})
		w.insert(token(1))
		for n := range 3 {
			w.ok(w.add(limit(3), minted(20+n, 1)), "after Erase")
		}
		w.failed(latchkey.ErrTooMany, w.add(limit(3), minted(30, 1)), "one more after Erase")
	}),

	newCase("live/revived", "A Write that lets a dead token live again needs a place for it, however long it was "+
		"dead.", func(w *fixture) {
		w.insert(token(1))
		old := minted(10, 1)
		old.ID, old.Validity.NotAfter = "01935c00-0000-7000-8000-000000000010", noon // made hours before the others
		w.ok(w.add(atMost(2, 1), old), "a token that is over at noon")
		w.ok(w.add(atMost(2, 1), minted(11, 1)), "a second")
		w.ok(w.add(atMost(2, 1), minted(12, 1)), "a third, in the place of the first")
		w.write(latchkey.Write{DeleteTokens: refs(11)})
		w.ok(w.add(atMost(2, 1), minted(13, 1)), "a fourth, for which they are counted anew")
		back := func() latchkey.Write {
			f, err := w.s.Load(w.ctx, acme, old.ID)
			w.ok(err, "Load")
			f.Token.Validity.NotAfter = noon.Add(time.Hour)
			return latchkey.Write{Tokens: []latchkey.Token{f.Token}, Live: atMost(2, 1)}
		}
		w.refuse(latchkey.ErrTooMany, back(), "the first again")
		w.write(latchkey.Write{DeleteTokens: refs(12)})
		w.write(back())
		w.failed(latchkey.ErrTooMany, w.add(atMost(2, 1), minted(14, 1)), "one more beside the first")
	}),

	newCase("live/many", "The count stays right over many tokens that come and go.", func(w *fixture) {
		w.insert(token(1))
		const most = 4
		for n := range 40 {
			if n >= most && n%3 == 0 {
				w.write(latchkey.Write{DeleteTokens: refs(100 + n - most)})
			} else if n >= most {
				w.failed(latchkey.ErrTooMany, w.add(atMost(most, 1), minted(100+n, 1)), "one more")
				w.update(100+n-most, func(t *latchkey.Token) { t.Revoked = noon })
			}
			w.ok(w.add(atMost(most, 1), minted(100+n, 1)), fmt.Sprint("token ", n))
		}
		w.failed(latchkey.ErrTooMany, w.add(atMost(most, 1), minted(200, 1)), "one more at the end")
	}),

	newCase("live/idempotent", "A Write that was applied before succeeds again, also where no place is "+
		"left.", func(w *fixture) {
		w.insert(token(1))
		x := latchkey.Write{ID: w.key(), Tokens: []latchkey.Token{minted(10, 1)}, Live: atMost(1, 1), Silent: true}
		for range 3 {
			w.write(x)
		}
		w.failed(latchkey.ErrTooMany, w.add(atMost(1, 1), minted(11, 1)), "one more")
		w.ok(w.add(atMost(2, 1), minted(11, 1)), "the repeated Write was counted once")
	}),

	newCase("race/live", "Of many writes that need the last places at once, exactly as many succeed as there are places. "+
		"The others are ErrTooMany.", func(w *fixture) {
		w.insert(token(1), token(2))
		const workers, places = 12, 5
		for round := range 3 {
			for parent := range 3 {
				most := places * (round + 1)
				if parent == 0 {
					most += 2
				}
				var won atomic.Int64
				var all sync.WaitGroup
				for worker := range workers {
					all.Go(func() {
						n := 1000 + 100*(3*round+parent) + worker
						t := minted(n, parent)
						if parent == 0 {
							t = token(n)
						}
						x := latchkey.Write{Tokens: []latchkey.Token{t}, Live: atMost(most, parent), Silent: true,
							Secrets: []latchkey.SecretChange{{TokenID: t.ID, Add: secret(n)}}}
						if worker%3 == 0 {
							x.Events = []latchkey.Event{{At: noon, Action: "token.mint"}}
						}
						if err := w.try(x); err == nil {
							won.Add(1)
						} else {
							w.failed(latchkey.ErrTooMany, err, "Write")
						}
					})
				}
				all.Wait()
				w.same(won.Load(), int64(places), "how many succeeded")
			}
		}
	}),
}
