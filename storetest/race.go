package storetest

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/latchkey-go/latchkey"
)

var raceCases = []Case{
	newCase("race/versions", "Of many writes that replace the same version at once, exactly one succeeds. The others are "+
		"ErrConflict.", func(w *fixture) {
		w.insert(token(1))
		const workers, rounds = 8, 5
		var won atomic.Int64
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for round := range rounds {
					for {
						t := token(1)
						t.Version = uint64(round + 1)
						err := w.try(latchkey.Write{Tokens: []latchkey.Token{t}})
						if err == nil {
							won.Add(1)
						} else {
							w.failed(latchkey.ErrConflict, err, "Write")
						}
						f, err := w.s.Load(w.ctx, acme, id(1))
						if err != nil {
							w.Errorf("Load: %v", err)
							return
						}
						if f.Token.Version > uint64(round+1) {
							break
						}
						if f.Token.Version < uint64(round+1) {
							w.Errorf("version %d after a write of version %d", f.Token.Version, round+1)
							return
						}
					}
				}
			})
		}
		all.Wait()
		w.same(won.Load(), int64(rounds), "how many writes succeeded")
		w.same(w.load(1).Token.Version, uint64(rounds+1), "the version")
	}),

	newCase("race/unique", "Of many that insert the same id, digest or role name at once, exactly one succeeds. The "+
		"others are ErrExists.", func(w *fixture) {
		const workers, rounds = 8, 4
		var won atomic.Int64
		var all sync.WaitGroup
		for worker := range workers {
			all.Go(func() {
				for round := range rounds {
					own := 1000 + 100*round + worker
					for _, x := range []latchkey.Write{
						{Tokens: []latchkey.Token{token(round + 1)}},
						{Tokens: []latchkey.Token{token(own)}, Secrets: []latchkey.SecretChange{{TokenID: id(own), Add: secret(round)}}},
						{Roles: []latchkey.Role{role(own, string(rune('a'+round)))}},
					} {
						if err := w.try(x); err == nil {
							won.Add(1)
						} else {
							w.failed(latchkey.ErrExists, err, "Write")
						}
					}
				}
			})
		}
		all.Wait()
		w.same(won.Load(), int64(3*rounds), "how many succeeded")
		w.same(len(w.tokens(acme, latchkey.TokenQuery{Page: latchkey.Page{Limit: 1000}})), 2*rounds,
			"how many tokens there are")
	}),

	newCase("race/same-write", "One Write sent by many at once is applied once, and succeeds for all of "+
		"them.", func(w *fixture) {
		w.insert(token(1))
		before := w.epoch()
		for round := range 5 {
			t := token(1)
			t.Version = uint64(round + 1)
			x := latchkey.Write{ID: w.key(), Owner: acme, At: noon, Tokens: []latchkey.Token{t},
				Events: []latchkey.Event{{At: noon}}}
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if err := w.s.Write(w.ctx, x); err != nil {
						w.Errorf("Write: %v", err)
					}
				})
			}
			all.Wait()
			w.same(w.epoch(), before+uint64(round)+1, "the epoch")
		}
		w.same(w.load(1).Token.Version, uint64(6), "the version")
		events, _ := w.events(acme, latchkey.EventQuery{})
		w.same(len(events), 5, "how many events there are")
	}),

	newCase("race/mint-and-revoke", "Once a revocation has returned, nothing more is minted from the token, not even by "+
		"a Write that began before.", func(w *fixture) {
		const rounds = 6
		next := atomic.Int64{}
		next.Store(1000)
		for round := range rounds {
			parent := 1 + round
			w.insert(token(parent))
			var revoked atomic.Bool
			var all sync.WaitGroup
			begun := make(chan struct{})
			var first sync.Once
			for range 4 {
				all.Go(func() {
					for range 200 {
						n := int(next.Add(1))
						late := revoked.Load()
						err := w.try(latchkey.Write{
							Tokens: []latchkey.Token{minted(n, parent)}, Secrets: []latchkey.SecretChange{{TokenID: id(n), Add: secret(n)}},
							RequireTokens: refs(parent), Silent: true,
						})
						first.Do(func() { close(begun) })
						if errors.Is(err, latchkey.ErrConflict) {
							return
						}
						if err != nil {
							w.Errorf("mint: %v", err)
							return
						}
						if late {
							w.Errorf("minted by a Write that began after the revocation had returned")
							return
						}
					}
				})
			}
			<-begun
			if round%2 == 0 {
				t := token(parent)
				t.Version, t.Revoked = 1, noon
				w.write(latchkey.Write{Tokens: []latchkey.Token{t}})
			} else {
				w.write(latchkey.Write{DeleteTokens: refs(parent)})
			}
			count := w.children(parent)
			revoked.Store(true)
			all.Wait()
			w.same(w.children(parent), count, "how many tokens were minted, at the end and when the revocation had returned")
		}
	}),

	newCase("race/insert-and-configure", "Once the owner's record was written, no token is inserted under an earlier "+
		"version of it, not even by a Write that began before. This holds for the first record too.", func(w *fixture) {
		next := atomic.Int64{}
		next.Store(1000)
		for round := range 6 {
			o, err := w.s.Owner(w.ctx, acme)
			w.ok(err, "Owner")
			if round == 0 && o.Version != 0 {
				w.Errorf("there is a record already")
			}
			parent := token(1 + round)
			w.insert(parent)
			var written atomic.Bool
			var all sync.WaitGroup
			begun := make(chan struct{})
			var first sync.Once
			for worker := range 4 {
				all.Go(func() {
					for range 200 {
						n, version := int(next.Add(1)), o.Version
						late := written.Load()
						t := minted(n, 1+round)
						t.OwnerVersion = version
						x := latchkey.Write{Tokens: []latchkey.Token{t}, RequireOwner: &version, RequireTokens: refs(1 + round),
							Secrets: []latchkey.SecretChange{{TokenID: id(n), Add: secret(n)}}, Silent: true}
						if worker == 0 { // as Issue does, which records an event
							x.Events = []latchkey.Event{{At: noon, Action: "token.issue"}}
						}
						err := w.try(x)
						first.Do(func() { close(begun) })
						if errors.Is(err, latchkey.ErrConflict) {
							return
						}
						if err != nil {
							w.Errorf("insert: %v", err)
							return
						}
						if late {
							w.Errorf("inserted by a Write that began after the record had been written")
							return
						}
					}
				})
			}
			<-begun
			o.Since = o.Version + 1
			w.write(latchkey.Write{OwnerRecord: &o})
			count := w.children(1 + round)
			written.Store(true)
			all.Wait()
			w.same(w.children(1+round), count, "how many tokens there are, at the end and when the record had been written")
		}
	}),

	newCase("race/role-and-token", "A role is never deleted while a token that names it is made: either the deletion or "+
		"the token is refused.", func(w *fixture) {
		for round := range 12 {
			n, r := 1+round, 900+round
			w.write(latchkey.Write{Roles: []latchkey.Role{role(r, id(r))}})
			t := token(n)
			t.Roles = []string{id(r)}
			var all sync.WaitGroup
			var made, deleted atomic.Bool
			all.Go(func() {
				err := w.try(latchkey.Write{Tokens: []latchkey.Token{t}, RequireRoles: refs(r), Silent: true})
				if made.Store(err == nil); err != nil {
					w.failed(latchkey.ErrConflict, err, "the token")
				}
			})
			all.Go(func() {
				err := w.try(latchkey.Write{DeleteRoles: refs(r)})
				if deleted.Store(err == nil); err != nil {
					w.failed(latchkey.ErrInUse, err, "the deletion")
				}
			})
			all.Wait()
			if made.Load() == deleted.Load() {
				w.Errorf("round %d: token made: %t, role deleted: %t", round, made.Load(), deleted.Load())
			}
		}
	}),
}

// children returns how many tokens were minted from one.
func (w *fixture) children(parent int) int {
	w.Helper()
	n := 0
	for q := (latchkey.TokenQuery{Parent: id(parent), Page: latchkey.Page{Limit: 1000}}); ; {
		page := w.tokens(acme, q)
		if n += len(page); len(page) == 0 {
			return n
		}
		q.After = page[len(page)-1].ID
	}
}
