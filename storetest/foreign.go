package storetest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// foreign returns the n-th secret, as another system kept it.
func foreign(n int) *latchkey.SecretRecord {
	s := secret(n)
	s.Algorithm, s.Lookup, s.Hash = "bcrypt", fmt.Sprint("drf:", n), fmt.Appendf(nil, "$2b$12$\x00\xff%d", n)
	return s
}

// byLookup is Store.ByLookup of the n-th secret of another system.
func (w *fixture) byLookup(n int) latchkey.Found {
	w.Helper()
	f, err := w.s.ByLookup(w.ctx, foreign(n).Lookup)
	w.ok(err, fmt.Sprint("ByLookup of secret ", n))
	return f
}

// unknown checks that a secret of another system is not found.
func (w *fixture) unknown(n int, what string) {
	w.Helper()
	_, err := w.s.ByLookup(w.ctx, foreign(n).Lookup)
	w.failed(latchkey.ErrNotFound, err, "ByLookup of "+what)
}

var foreignCases = []Case{
	newCase("foreign/found", "A secret with an Algorithm is found by its Lookup, byte for byte, with all that ByDigest "+
		"returns. It is never found by its Digest, and no other secret by a Lookup.", func(w *fixture) {
		parent, child := token(1), minted(2, 1)
		parent.Roles = []string{id(900)}
		w.write(latchkey.Write{Roles: []latchkey.Role{role(900, "r")}, OwnerRecord: &latchkey.Owner{ID: acme}})
		w.insert(parent, child, token(3))
		w.insert(by(globex, token(4)))
		full := foreign(12)
		full.KeyID, full.Sealed, full.NotAfter, full.Hash = 7, []byte("sealed"), noon.Add(time.Hour), make([]byte, 1024)
		full.Algorithm = strings.Repeat("a", 64)
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(2), Add: full}}})
		signing := secret(14)
		signing.Signing = true
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(3), Add: foreign(13)},
			{TokenID: id(3), Add: signing}}})
		w.write(latchkey.Write{Owner: globex, Secrets: []latchkey.SecretChange{{TokenID: id(4), Add: foreign(15)}}})
		// A new token with such a secret, as an import makes it.
		w.write(latchkey.Write{Silent: true, Tokens: []latchkey.Token{token(5), token(6)}, Secrets: []latchkey.SecretChange{
			{TokenID: id(5), Add: foreign(16)}, {TokenID: id(6), Add: secret(6)}}})
		for range 2 { // the second time, more may come from a cache
			f := w.byLookup(12)
			want, err := w.s.ByDigest(w.ctx, 0, digest(2))
			w.ok(err, "ByDigest of the token's other secret")
			want.Secret = *full
			w.same(f, want, "what ByLookup returns")
		}
		w.same(w.byLookup(13).Token.ID, id(3), "the token of a lookup part")
		w.same(w.byLookup(15).Token.Owner, globex, "the owner of a lookup part")
		w.same(w.byLookup(16).Secret, *foreign(16), "a secret that came with its token")
		w.same(w.secrets(2), []latchkey.SecretRecord{*secret(2), *full}, "the secrets of a token")
		w.present(2, 3, 6)
		for _, n := range []int{12, 13, 14, 15, 16} {
			_, err := w.s.ByDigest(w.ctx, 0, digest(n))
			w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("ByDigest of secret %d, which is not found so", n))
		}
		f, err := w.s.ByDigest(w.ctx, 0, digest(12), digest(3))
		w.ok(err, "ByDigest")
		w.same(f.Secret.Digest, digest(3), "the secret found among others")
		d := digest(2)
		for _, lookup := range []string{"", "DRF:12", "drf:1", "drf:12 ", " drf:12", "drf:12\x00", string(d[:]),
			strings.Repeat("x", 1000), "\xff\x00'", "bcrypt"} {
			_, err := w.s.ByLookup(w.ctx, lookup)
			w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("ByLookup of %.20q", lookup))
		}
		// What decides is read as it is now.
		w.update(2, func(t *latchkey.Token) { t.Name = "edited" })
		w.same(w.byLookup(12).Token.Name, "edited", "the name after an edit")
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(2), Retire: full.Digest,
			At: noon.Add(time.Minute)}}})
		full.NotAfter = noon.Add(time.Minute)
		w.same(w.byLookup(12).Secret, *full, "a retired secret")
		_, err = w.s.ByDigest(w.ctx, 0, full.Digest)
		w.failed(latchkey.ErrNotFound, err, "ByDigest of a retired secret with an algorithm")
	}),

	newCase("foreign/unique", "A Lookup is unique within a feed, whatever the Algorithm: ErrExists if it is taken. "+
		"It is free again once its secret is gone.", func(w *fixture) {
		globex := w.neighbour()
		w.insert(token(1), token(2), token(3))
		w.insert(by(globex, token(4)))
		add := func(owner string, to int, s *latchkey.SecretRecord) latchkey.Write {
			return latchkey.Write{Owner: owner, Secrets: []latchkey.SecretChange{{TokenID: id(to), Add: s}}}
		}
		twin := func(n int) *latchkey.SecretRecord { // another secret with the lookup part of secret 10
			s := foreign(10)
			s.Digest, s.Algorithm = digest(n), "sha256"
			return s
		}
		w.write(add(acme, 1, foreign(10)))
		w.refuse(latchkey.ErrExists, add(acme, 1, twin(11)), "a token's own lookup part again")
		w.refuse(latchkey.ErrExists, add(acme, 2, twin(11)), "another token's lookup part")
		w.refuse(latchkey.ErrExists, add(globex, 4, twin(11)), "another owner's lookup part")
		taken := foreign(12)
		taken.Digest = digest(1)
		w.refuse(latchkey.ErrExists, add(acme, 2, taken), "a digest that a secret of latchkey has")
		w.refuse(latchkey.ErrExists, add(acme, 2, secret(10)), "a digest that a secret of another system has")
		w.refuse(latchkey.ErrExists, latchkey.Write{Tokens: []latchkey.Token{token(5)}, Secrets: []latchkey.SecretChange{
			{TokenID: id(5), Add: foreign(20)}, {TokenID: id(5), Add: twin(21)}}}, "one of two that is taken")
		w.unknown(20, "a secret that was not written")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{Secrets: []latchkey.SecretChange{
			{TokenID: id(1), Retire: digest(10)}, {TokenID: id(9), Add: foreign(30)}}}, "a write that fails")
		w.same(w.byLookup(10).Token.ID, id(1), "the token after a write that failed")

		gone := map[string]func(){
			"removed": func() {
				w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Retire: digest(10)}}})
			},
			"deleted with its token": func() { w.write(latchkey.Write{DeleteTokens: refs(1)}); w.insert(token(1)) },
			"erased with its owner":  func() { w.write(latchkey.Write{Erase: true}); w.insert(token(1), token(2)) },
			"purged": func() {
				w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Retire: digest(10),
					At: noon.Add(time.Minute)}}})
				w.same(w.purge(keepAll(noon.Add(time.Minute)), 100), 1, "how much was purged")
			},
			"purged with its token": func() {
				w.update(1, func(t *latchkey.Token) { t.Revoked = noon })
				p := keepAll(noon)
				p.Revoked = 0
				w.same(w.purge(p, 100), 1, "how much was purged")
				w.insert(token(1))
			},
		}
		for what, end := range gone {
			end()
			w.unknown(10, "a secret that was "+what)
			w.write(add(globex, 4, twin(11)))
			w.same(w.byLookup(10).Token.Owner, globex, "the owner of a lookup part that was "+what)
			w.write(latchkey.Write{Owner: globex, Secrets: []latchkey.SecretChange{{TokenID: id(4), Retire: digest(11)}}})
			w.write(add(acme, 1, foreign(10)))
		}
	}),

	newCase("foreign/replace", "Replace takes Algorithm, Lookup and Hash from Add too, so a secret can become one of "+
		"latchkey's own, and the reverse. A signing secret cannot.", func(w *fixture) {
		w.insert(token(1), token(2))
		replace := func(from int, to *latchkey.SecretRecord) latchkey.Write {
			return latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: to, Retire: digest(from),
				Replace: true}}}
		}
		first := foreign(10)
		first.Created, first.NotAfter, first.Hint = noon.Add(time.Minute), noon.Add(time.Hour), "as it was"
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: first},
			{TokenID: id(2), Add: foreign(50)}}})
		w.ok(w.s.AddUsage(w.ctx, latchkey.UsageBatch{ID: w.key(), At: noon, Last: []latchkey.LastUsed{{Owner: acme,
			TokenID: id(1), At: noon, Digest: digest(10), From: netip.MustParseAddr("192.0.2.7")}}}), "AddUsage")
		now := func(s *latchkey.SecretRecord) {
			w.Helper()
			s.Created, s.NotAfter, s.Hint = first.Created, first.NotAfter, first.Hint
			s.Used, s.UsedFrom = noon, netip.MustParseAddr("192.0.2.7")
			w.same(w.secrets(1), []latchkey.SecretRecord{*secret(1), *s}, "the secrets")
		}
		again := foreign(10) // hashed anew
		again.Hash = []byte("longer than it was, and of another form")
		w.write(replace(10, again))
		w.same(w.byLookup(10).Secret.Hash, again.Hash, "the hash of a secret hashed anew")
		now(again)
		again = foreign(11) // the same lookup part with another digest
		again.Lookup = first.Lookup
		w.write(replace(10, again))
		now(again)
		w.same(w.byLookup(10).Secret.Digest, digest(11), "the digest of a secret hashed anew")
		w.write(replace(11, foreign(12))) // another lookup part
		w.unknown(10, "a lookup part that was replaced")
		now(foreign(12))
		w.refuse(latchkey.ErrExists, replace(12, foreign(50)), "replacing by a lookup part and digest that are taken")
		taken := foreign(50)
		taken.Digest = digest(12)
		w.refuse(latchkey.ErrExists, replace(12, taken), "replacing by a lookup part that is taken")
		w.same(w.byLookup(12).Token.ID, id(1), "the token after that")
		w.same(w.byLookup(50).Token.ID, id(2), "the token of the lookup part that is taken")

		w.write(replace(12, secret(13))) // by one of latchkey's own
		w.unknown(12, "a secret that became one of latchkey's own")
		now(secret(13))
		f, err := w.s.ByDigest(w.ctx, 0, digest(13))
		w.ok(err, "ByDigest")
		w.same(f.Secret.Algorithm, "", "its algorithm")
		w.write(replace(13, foreign(13)))
		_, err = w.s.ByDigest(w.ctx, 0, digest(13))
		w.failed(latchkey.ErrNotFound, err, "ByDigest of a secret that got an algorithm")
		w.same(w.byLookup(13).Token.ID, id(1), "its token")
		w.write(replace(13, secret(13)))
		w.unknown(13, "a secret that got its digest back")
		now(secret(13))

		signing := secret(20)
		signing.Signing = true
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: signing}}})
		w.refuse(latchkey.ErrInvalid, replace(20, foreign(21)), "a signing secret that gets an algorithm")
		w.unknown(21, "a secret that was not written")
	}),

	newCase("foreign/invalid", "A secret with an Algorithm has a Lookup and a Hash, within their bounds, and does not "+
		"sign. One without has neither. Anything else is ErrInvalid.", func(w *fixture) {
		w.insert(token(1))
		for what, edit := range map[string]func(*latchkey.SecretRecord){
			"no algorithm":             func(s *latchkey.SecretRecord) { s.Algorithm = "" },
			"no lookup part":           func(s *latchkey.SecretRecord) { s.Lookup = "" },
			"no hash":                  func(s *latchkey.SecretRecord) { s.Hash = nil },
			"only an algorithm":        func(s *latchkey.SecretRecord) { s.Lookup, s.Hash = "", nil },
			"only a lookup part":       func(s *latchkey.SecretRecord) { s.Algorithm, s.Hash = "", nil },
			"only a hash":              func(s *latchkey.SecretRecord) { s.Algorithm, s.Lookup = "", "" },
			"signing":                  func(s *latchkey.SecretRecord) { s.Signing = true },
			"a long algorithm":         func(s *latchkey.SecretRecord) { s.Algorithm = strings.Repeat("a", 65) },
			"a long lookup part":       func(s *latchkey.SecretRecord) { s.Lookup = strings.Repeat("a", 257) },
			"a long hash":              func(s *latchkey.SecretRecord) { s.Hash = make([]byte, 1025) },
			"a lookup part to sign by": func(s *latchkey.SecretRecord) { s.Signing, s.Algorithm, s.Hash = true, "", nil },
		} {
			s := foreign(10)
			edit(s)
			w.refuse(latchkey.ErrInvalid, latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: s}}}, what)
		}
		w.same(w.secrets(1), []latchkey.SecretRecord{*secret(1)}, "the secrets")
		longest := foreign(10)
		longest.Lookup = strings.Repeat("\xff", 255) + "\x00"
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: longest}}})
		f, err := w.s.ByLookup(w.ctx, longest.Lookup)
		w.ok(err, "ByLookup of the longest, which is no text")
		w.same(f.Secret, *longest, "the secret")
	}),

	newCase("secrets/last-use", "A last use with a Digest is that secret's, with its address. Others of the token have "+
		"their own. An older one changes nothing. ByDigest and ByLookup show the time, and Secrets "+
		"alone the address.", func(w *fixture) {
		globex := w.neighbour() // a batch holds owners of one feed only
		w.insert(token(1), token(2))
		w.insert(by(globex, token(3)))
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: secret(11)},
			{TokenID: id(1), Add: foreign(12)}}})
		at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
		four, six := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
		batch := func(last ...latchkey.LastUsed) {
			w.Helper()
			for i := range last {
				if last[i].Owner == "" {
					last[i].Owner, last[i].TokenID = acme, id(1)
				}
			}
			w.ok(w.s.AddUsage(w.ctx, latchkey.UsageBatch{ID: w.key(), At: noon, Last: last}), "AddUsage")
		}
		type use struct {
			at   time.Time
			from netip.Addr
		}
		want := func(what string, token time.Time, first, second, third use) {
			w.Helper()
			w.same(w.load(1).Token.Used, token, "Used of the token: "+what)
			got := map[[32]byte]use{}
			for _, s := range w.secrets(1) {
				got[s.Digest] = use{s.Used, s.UsedFrom}
			}
			for n, u := range map[int]use{1: first, 11: second, 12: third} {
				w.same(got[digest(n)].at, u.at, fmt.Sprintf("Used of secret %d: %s", n, what))
				w.same(got[digest(n)].from, u.from, fmt.Sprintf("UsedFrom of secret %d: %s", n, what))
			}
			for n, u := range map[int]use{1: first, 11: second} {
				for _, digests := range [][][32]byte{{digest(n)}, {digest(90), digest(n), digest(91)}} {
					f, err := w.s.ByDigest(w.ctx, 0, digests...)
					w.ok(err, "ByDigest")
					w.same(f.Token.Used, token, "Used of the token by digest: "+what)
					w.same(use{f.Secret.Used, f.Secret.UsedFrom}, use{at: u.at}, "the use of the secret found by digest: "+what)
				}
			}
			f := w.byLookup(12)
			w.same(f.Token.Used, token, "Used of the token by lookup part: "+what)
			w.same(use{f.Secret.Used, f.Secret.UsedFrom}, use{at: third.at}, "the use of the secret found by lookup: "+what)
			w.same(w.secrets(2), []latchkey.SecretRecord{*secret(2)}, "the secrets of another token: "+what)
		}
		none := use{}
		want("never", time.Time{}, none, none, none)
		batch(latchkey.LastUsed{At: at(1)})
		want("a use of the token alone", at(1), none, none, none)
		batch(latchkey.LastUsed{At: at(2).Add(999), Digest: digest(1), From: four})
		want("a use of the first", at(2), use{at(2), four}, none, none)
		batch(latchkey.LastUsed{At: at(1), Digest: digest(11), From: six}) // older than the token's, but its own first
		want("an older use of the second", at(2), use{at(2), four}, use{at(1), six}, none)
		batch(latchkey.LastUsed{At: at(1), Digest: digest(1), From: six})
		batch(latchkey.LastUsed{At: at(2), Digest: digest(1), From: six})
		want("older and equal uses of the first", at(2), use{at(2), four}, use{at(1), six}, none)
		// All of them in one batch, in no order, with other tokens.
		batch(latchkey.LastUsed{At: at(4), Digest: digest(11), From: four}, latchkey.LastUsed{At: at(6)},
			latchkey.LastUsed{At: at(3), Digest: digest(11), From: six}, latchkey.LastUsed{At: at(5), Digest: digest(1)},
			latchkey.LastUsed{Owner: globex, TokenID: id(3), At: at(9), Digest: digest(3), From: six},
			latchkey.LastUsed{Owner: globex, TokenID: id(1), At: at(9), Digest: digest(1), From: six},
			latchkey.LastUsed{At: at(5), Digest: digest(12), From: six})
		want("several at once", at(6), use{at(5), netip.Addr{}}, use{at(4), four}, use{at(5), six})
		theirs, err := w.s.Secrets(w.ctx, globex, id(3))
		w.ok(err, "Secrets")
		w.same(use{theirs[0].Used, theirs[0].UsedFrom}, use{at(9), six}, "the use of another owner's secret")
		batch(latchkey.LastUsed{At: at(7), Digest: digest(2), From: six}, latchkey.LastUsed{Owner: acme, TokenID: id(9),
			At: at(9), Digest: digest(1), From: six})
		want("a digest of another token", at(7), use{at(5), netip.Addr{}}, use{at(4), four}, use{at(5), six})
		zoned := netip.MustParseAddr("fe80::1%eth0")
		batch(latchkey.LastUsed{At: at(8), Digest: digest(1), From: zoned})
		want("an address with a zone", at(8), use{at(8), zoned.WithZone("")}, use{at(4), four}, use{at(5), six})
		w.update(1, func(t *latchkey.Token) { t.Name = "edited" })
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Retire: digest(11),
			At: noon.Add(time.Hour)}}})
		want("edited and retired", at(8), use{at(8), zoned.WithZone("")}, use{at(4), four}, use{at(5), six})
		// A new secret was never used, whatever its record says. A re-digested one is the same as before.
		added := secret(13)
		added.Used, added.UsedFrom = at(1), four
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: added},
			{TokenID: id(1), Add: secret(14), Retire: digest(11), Replace: true}}})
		for _, s := range w.secrets(1) {
			switch s.Digest {
			case digest(13):
				w.same(use{s.Used, s.UsedFrom}, none, "the use of a new secret")
			case digest(14):
				w.same(use{s.Used, s.UsedFrom}, use{at(4), four}, "the use of a secret under another key")
			}
		}
		// Of many tokens at once.
		var tokens []latchkey.Token
		var last []latchkey.LastUsed
		for n := 1000; n < 1150; n++ {
			tokens = append(tokens, token(n))
			l := latchkey.LastUsed{Owner: acme, TokenID: id(n), At: at(n)}
			if n%3 != 0 {
				l.Digest, l.From = digest(n), six
			}
			last = append(last, l)
		}
		w.insert(tokens...)
		batch(last...)
		for n := 1000; n < 1150; n++ {
			s := w.secrets(n)[0]
			u := use{at(n), six}
			if n%3 == 0 {
				u = none
			}
			w.same(use{s.Used, s.UsedFrom}, u, fmt.Sprintf("the use of the secret of token %d", n))
			w.same(w.load(n).Token.Used, at(n), fmt.Sprintf("Used of token %d", n))
		}
	}),
}
