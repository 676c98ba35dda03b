package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// A read by digest must return the current token, even if a store keeps a copy of the token beside each secret.

// shown checks that token n has exactly these secrets, and that each of them shows the current token.
func (w *fixture) shown(n int, secrets ...int) {
	w.Helper()
	want := w.load(n).Token
	listed := w.secrets(n)
	w.same(len(listed), len(secrets), fmt.Sprintf("how many secrets token %d has", n))
	for _, one := range secrets {
		f, err := w.s.ByDigest(w.ctx, 0, digest(one))
		w.ok(err, fmt.Sprintf("ByDigest of secret %d", one))
		w.same(f.Token, want, fmt.Sprintf("token %d by its secret %d", n, one))
		if i := slices.IndexFunc(listed, func(s latchkey.SecretRecord) bool { return s.Digest == digest(one) }); i < 0 {
			w.Errorf("secret %d of token %d is not listed", one, n)
		} else {
			w.same(f.Secret, listed[i], fmt.Sprintf("secret %d", one))
		}
	}
}

func (w *fixture) used(n int, at time.Time) {
	w.Helper()
	w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Last: []latchkey.LastUsed{
		{Owner: acme, TokenID: id(n), At: at}}}), "AddUsage")
}

// changeSecrets changes secrets of one token.
func (w *fixture) changeSecrets(n int, changes ...latchkey.SecretChange) {
	w.Helper()
	for i := range changes {
		changes[i].TokenID = id(n)
	}
	w.write(latchkey.Write{Secrets: changes})
}

func rename(name string) func(*latchkey.Token) {
	return func(t *latchkey.Token) { t.Name = name }
}

var followCases = []Case{
	newCase("secrets/show-the-token", "Each secret of a token shows the token as it is now, whichever of the two was "+
		"changed last.", func(w *fixture) {
		full := fullToken(1)
		full.Disabled = false
		w.insert(full, token(2))
		w.changeSecrets(1, latchkey.SecretChange{Add: secret(11)})
		w.shown(1, 1, 11)
		w.update(1, rename("edited"))
		w.shown(1, 1, 11)
		w.same(w.load(1).Token.Name, "edited", "the name")
		w.changeSecrets(1, latchkey.SecretChange{Add: secret(12)}) // after the edit
		w.shown(1, 1, 11, 12)

		end := noon.Add(time.Hour)
		w.changeSecrets(1, latchkey.SecretChange{Retire: digest(11), At: end})
		w.shown(1, 1, 11, 12)
		w.update(1, rename("edited after one was retired"))
		w.shown(1, 1, 11, 12)
		f, err := w.s.ByDigest(w.ctx, 0, digest(11))
		w.ok(err, "ByDigest of a retired secret")
		w.same(f.Secret.NotAfter, end, "the end of a retired secret, its token edited since")
		w.changeSecrets(1, latchkey.SecretChange{Retire: digest(12), Replace: true,
			Add: &latchkey.SecretRecord{Digest: digest(13), KeyID: 1<<32 - 1, Sealed: []byte("sealed longer than it was")}})
		w.shown(1, 1, 11, 13)
		w.update(1, func(t *latchkey.Token) { t.Disabled, t.Revoked = true, noon.Add(time.Minute) })
		w.shown(1, 1, 11, 13)
		w.changeSecrets(1, latchkey.SecretChange{Retire: digest(13), Replace: true, // with the same digest
			Add: &latchkey.SecretRecord{Digest: digest(13)}})
		w.shown(1, 1, 11, 13)

		// All in one Write.
		t := w.load(1).Token
		t.Name = "edited with its secrets"
		w.write(latchkey.Write{Tokens: []latchkey.Token{t}, Secrets: []latchkey.SecretChange{
			{TokenID: id(1), Add: secret(14), Retire: digest(1), At: end}, {TokenID: id(1), Retire: digest(11)}}})
		w.shown(1, 1, 13, 14)
		least := token(1) // far fewer fields than before
		least.Version = w.load(1).Token.Version
		w.write(latchkey.Write{Tokens: []latchkey.Token{least}})
		w.shown(1, 1, 13, 14)
		w.shown(2, 2)
		w.same(w.load(2).Token.Version, uint64(1), "the version of another token")
	}),

	newCase("secrets/show-the-last-use", "Each secret of a token shows its last use. Neither an edit nor a change of "+
		"secrets takes it back.", func(w *fixture) {
		w.insert(token(1), token(2))
		w.changeSecrets(1, latchkey.SecretChange{Add: secret(11)})
		want := func(at time.Time, secrets ...int) {
			w.Helper()
			w.shown(1, secrets...)
			w.same(w.load(1).Token.Used, at, "Used")
		}
		at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
		want(time.Time{}, 1, 11)
		w.used(1, at(1))
		want(at(1), 1, 11)
		stale := w.load(1).Token
		stale.Name, stale.Used = "read before", time.Time{}
		w.write(latchkey.Write{Tokens: []latchkey.Token{stale}})
		want(at(1), 1, 11)
		w.used(1, at(2))
		w.used(1, at(1)) // late
		want(at(2), 1, 11)
		w.update(1, func(t *latchkey.Token) { t.Used = at(1) })
		want(at(2), 1, 11)
		w.changeSecrets(1, latchkey.SecretChange{Add: secret(12)}, latchkey.SecretChange{Retire: digest(11), At: at(60)})
		want(at(2), 1, 11, 12)
		w.used(1, at(3))
		want(at(3), 1, 11, 12)
		w.changeSecrets(1, latchkey.SecretChange{Retire: digest(12), Replace: true, Add: secret(13)})
		want(at(3), 1, 11, 13)
		w.update(1, func(t *latchkey.Token) { t.Used = at(4) })
		want(at(4), 1, 11, 13)
		w.used(1, at(5).Add(999))
		want(at(5), 1, 11, 13)
		w.same(w.load(2).Token.Used, time.Time{}, "Used of another token")
		w.shown(2, 2)

		old := token(3) // before 1970, and there from the beginning
		old.Used = time.Unix(0, -1000).UTC()
		w.insert(old)
		w.shown(3, 3)
		w.used(3, time.Unix(0, 0).UTC())
		w.shown(3, 3)
		w.same(w.load(3).Token.Used, time.Unix(0, 0).UTC(), "Used in 1970")
	}),

	newCase("tokens/filters-now", "Listings, Purge and deletions go by what a token is now, not by what it was before an "+
		"edit.", func(w *fixture) {
		hour := noon.Add(time.Hour)
		cloudtables := "cloudtables"
		with := func(states ...latchkey.State) latchkey.TokenQuery {
			return latchkey.TokenQuery{States: states, Now: noon}
		}
		for i, c := range []struct {
			what string
			edit func(*latchkey.Token)
			q    latchkey.TokenQuery
		}{
			{"a kind", func(t *latchkey.Token) { t.Kind = latchkey.KindSecret },
				latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindSecret}}},
			{"an origin", func(t *latchkey.Token) { t.Origin = cloudtables }, latchkey.TokenQuery{Origin: &cloudtables}},
			{"a parent", func(t *latchkey.Token) { t.Parent = id(777) }, latchkey.TokenQuery{Parent: id(777)}},
			{"a role", func(t *latchkey.Token) { t.Roles = []string{id(900)} }, latchkey.TokenQuery{Role: id(900)}},
			{"a client", func(t *latchkey.Token) { t.Client.ID = "42" }, latchkey.TokenQuery{Client: "42"}},
			{"a name", rename("edited"), latchkey.TokenQuery{Search: "edi"}},
			{"a hint", func(t *latchkey.Token) { t.Hint = "ak_ZZ…zzz" }, latchkey.TokenQuery{Search: "ak_Z"}},
			{"disabled", func(t *latchkey.Token) { t.Disabled = true }, with(latchkey.Disabled)},
			{"revoked", func(t *latchkey.Token) { t.Revoked = noon }, with(latchkey.Revoked)},
			{"a beginning", func(t *latchkey.Token) { t.Validity.NotBefore = hour }, with(latchkey.NotYetValid)},
			{"an end", func(t *latchkey.Token) { t.Validity.NotAfter = noon }, with(latchkey.Expired)},
			{"an end, by its time", func(t *latchkey.Token) { t.Validity.NotAfter = hour },
				latchkey.TokenQuery{ExpiresFrom: hour}},
			{"an idle time", func(t *latchkey.Token) { t.Created, t.Validity.Idle = noon.Add(-time.Hour), time.Hour },
				with(latchkey.Expired)},
		} {
			n := 1 + i
			w.insert(token(n))
			lists := func(want []int, when string) {
				w.Helper()
				w.same(numbers(w.tokens(acme, c.q)), want, c.what+": what is listed "+when)
			}
			lists(nil, "before the edit")
			w.update(n, c.edit)
			lists([]int{n}, "after it")
			version := w.load(n).Token.Version
			w.update(n, func(t *latchkey.Token) { *t = token(n); t.Version = version })
			lists(nil, "when it was taken back")
		}
		w.insert(token(40))
		unused := latchkey.TokenQuery{Search: id(40), UnusedSince: noon}
		w.same(len(w.tokens(acme, unused)), 1, "how many are listed that were never used")
		w.update(40, func(t *latchkey.Token) { t.Used = noon })
		w.same(len(w.tokens(acme, unused)), 0, "how many of those used at noon are listed as unused since")

		// A token whose end was taken back stays. One that was given an end is removed.
		ends := func(at time.Time) func(*latchkey.Token) { return func(t *latchkey.Token) { t.Validity.NotAfter = at } }
		ending := token(50)
		ending.Validity.NotAfter = noon
		w.insert(ending, token(51), token(52))
		w.update(50, ends(time.Time{}))
		w.update(51, ends(noon))
		w.update(52, func(t *latchkey.Token) { t.Revoked = noon })
		p := keepAll(hour)
		p.Expired, p.Revoked = 0, 0
		w.same(w.purge(p, 100), 2, "how many were purged")
		w.present(50)
		w.absent(51)
		w.absent(52)

		// Deletion removes the current children of a token, not those that were moved away from it.
		w.insert(token(60), token(61), minted(62, 60), minted(63, 61))
		w.update(62, func(t *latchkey.Token) { t.Parent = id(61) })
		w.update(63, func(t *latchkey.Token) { t.Parent = id(60) })
		w.write(latchkey.Write{DeleteTokens: refs(60)})
		w.present(61, 62)
		w.absent(63)
	}),

	newCase("found/ancestors-now", "Ancestors are the current ones: changed, deleted, added, added again or moved, "+
		"though the epoch may not tell.", func(w *fixture) {
		checkAncestors := func(n int, ancestors ...int) {
			w.Helper()
			var want []latchkey.Token
			for _, a := range ancestors {
				want = append(want, w.load(a).Token)
			}
			for range 2 { // the second read may come from a cache
				w.same(w.load(n).Ancestors, want, fmt.Sprintf("the ancestors of token %d", n))
				f, err := w.s.ByDigest(w.ctx, 0, digest(n))
				w.ok(err, "ByDigest")
				w.same(f.Ancestors, want, fmt.Sprintf("the ancestors of token %d by digest", n))
			}
		}
		lasting := func(n, parent int) latchkey.Token { // minted, without an end
			t := minted(n, parent)
			t.Validity = latchkey.Validity{}
			return t
		}
		family := func() []latchkey.Token {
			return []latchkey.Token{token(1), lasting(2, 1), lasting(3, 2), lasting(4, 1)}
		}
		all := func() {
			w.Helper()
			checkAncestors(2, 1)
			checkAncestors(3, 2, 1)
			checkAncestors(4, 1)
		}
		w.insert(family()...)
		all()
		w.update(1, func(t *latchkey.Token) { t.Disabled = true })
		all()
		w.update(2, func(t *latchkey.Token) { t.Validity.NotBefore, t.Roles = noon, []string{id(900)} })
		all()
		w.write(latchkey.Write{Roles: []latchkey.Role{role(900, "r")}})
		w.same(roleNumbers(w.load(3).Roles), []int{900}, "the roles of a token whose parent names one")
		w.update(2, func(t *latchkey.Token) { t.Roles = nil })
		w.same(len(w.load(3).Roles), 0, "the roles of a token whose parent names none any more")
		w.changeSecrets(1, latchkey.SecretChange{Add: secret(11)})
		all()

		// A missing one is inserted. The epoch does not tell.
		w.insert(lasting(21, 20))
		checkAncestors(21)
		w.insert(lasting(20, 1))
		checkAncestors(21, 20, 1)
		w.update(3, func(t *latchkey.Token) { t.Parent = id(20) })
		checkAncestors(3, 20, 1)
		w.update(20, func(t *latchkey.Token) { t.Parent = id(2) })
		checkAncestors(3, 20, 2, 1)
		checkAncestors(21, 20, 2, 1)

		// Deleted, and inserted again with the same ids.
		w.write(latchkey.Write{DeleteTokens: refs(1)})
		again := family()
		again[0].Name, again[1].Name = "again", "again"
		w.insert(again[1:]...)
		checkAncestors(3, 2)
		checkAncestors(4)
		w.insert(again[0])
		all()
		w.write(latchkey.Write{Erase: true})
		w.insert(family()...)
		all()

		// The last use matters if Idle is set.
		idle := token(30)
		idle.Validity.Idle = time.Hour
		w.insert(idle, lasting(31, 30))
		checkAncestors(31, 30)
		w.used(30, noon.Add(time.Minute))
		checkAncestors(31, 30)

		// Purge removes tokens. The epoch does not tell either.
		ending := token(40)
		ending.Validity.NotAfter = noon.Add(time.Minute)
		w.insert(ending, lasting(41, 40), token(50), lasting(51, 50))
		checkAncestors(41, 40)
		checkAncestors(51, 50)
		w.update(50, func(t *latchkey.Token) { t.Revoked = noon })
		checkAncestors(51, 50)
		_, err := w.tryPurge(latchkey.PurgePolicy{Now: noon.Add(3 * time.Hour)}, 1000)
		w.ok(err, "Purge")
		for _, n := range []int{30, 40, 50} {
			w.absent(n)
			checkAncestors(n + 1)
		}
		w.insert(token(40))
		checkAncestors(41, 40)
		all()
	}),

	newCase("race/secrets", "However edits, last uses and changes of secrets interleave, in the end each secret shows "+
		"the current token.", func(w *fixture) {
		const rounds = 10
		w.insert(token(1), token(2))
		var all sync.WaitGroup
		for n := 1; n <= 2; n++ {
			edit := func(edit func(*latchkey.Token)) {
				for {
					f, err := w.s.Load(w.ctx, acme, id(n))
					if err == nil {
						edit(&f.Token)
						err = w.try(latchkey.Write{Tokens: []latchkey.Token{f.Token}})
					}
					if err == nil {
						return
					}
					if !errors.Is(err, latchkey.ErrConflict) {
						w.Errorf("an edit: %v", err)
						return
					}
				}
			}
			all.Go(func() {
				for i := range rounds {
					edit(func(t *latchkey.Token) { t.Name = fmt.Sprintf("name %*d", 10*i+1, i) })
				}
			})
			all.Go(func() {
				for i := range rounds {
					at := noon.Add(time.Duration(i+1) * time.Minute)
					if n == 1 && i%2 == 0 {
						edit(func(t *latchkey.Token) { t.Used = at })
						continue
					}
					err := w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Last: []latchkey.LastUsed{
						{Owner: acme, TokenID: id(3 - n), At: at}, {Owner: acme, TokenID: id(n), At: at}}})
					if err != nil {
						w.Errorf("AddUsage: %v", err)
					}
				}
			})
			all.Go(func() {
				for i := range rounds {
					add := secret(100*n + i)
					change := latchkey.SecretChange{TokenID: id(n), Add: add}
					if i > 0 {
						change.Retire, change.Replace = digest(100*n+i-1), i%3 == 0
						change.At = noon.Add(time.Hour)
					}
					if err := w.try(latchkey.Write{Secrets: []latchkey.SecretChange{change}}); err != nil {
						w.Errorf("a change of secrets: %v", err)
					}
				}
			})
		}
		all.Wait()
		for n := 1; n <= 2; n++ {
			secrets := []int{n}
			for i := range rounds {
				if i == rounds-1 || (i+1)%3 != 0 { // the next did not replace it
					secrets = append(secrets, 100*n+i)
				}
			}
			w.shown(n, secrets...)
			t := w.load(n).Token
			w.same(t.Used, noon.Add(rounds*time.Minute), "Used")
			w.same(t.Name, fmt.Sprintf("name %*d", 10*(rounds-1)+1, rounds-1), "the name")
		}
	}),
}
