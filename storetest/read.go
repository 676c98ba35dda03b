package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

var readCases = []Case{
	newCase("token/round-trip", "A token comes back as it was put: every field, with Version 1.", func(w *fixture) {
		for n, t := range []latchkey.Token{fullToken(1), token(2), minted(3, 2)} {
			w.insert(t)
			want := t
			want.Version = 1
			w.same(w.load(n+1).Token, want, "the token of Load")
			f, err := w.s.ByDigest(w.ctx, 0, digest(n+1))
			w.ok(err, "ByDigest")
			w.same(f.Token, want, "the token of ByDigest")
			w.same(w.tokens(acme, latchkey.TokenQuery{Search: want.ID}), []latchkey.Token{want}, "the tokens of Tokens")
		}
		public := token(4)
		public.Kind, public.Public = latchkey.KindPublishable, "pk_abc"
		w.insert(public)
		public.Version = 1
		w.same(w.load(4).Token, public, "a publishable token")
	}),

	newCase("token/times", "Times are kept to the microsecond, rounded down, in UTC, from year 1 to 9999. The zero time "+
		"stays zero.", func(w *fixture) {
		east := time.FixedZone("east", 5*3600+1800)
		for n, at := range []time.Time{
			{},
			time.Date(2026, 3, 29, 2, 30, 0, 999999999, east),
			time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC),
			time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC),
			time.Date(1582, 10, 10, 0, 0, 0, 1000, time.UTC),
			time.Unix(0, 1000),
		} {
			t := token(n + 1)
			t.Created, t.Used, t.Revoked, t.Validity.NotBefore, t.Validity.NotAfter = at, at, at, at, at
			sec := secret(n + 1)
			sec.Created, sec.NotAfter = at, at
			w.write(latchkey.Write{Tokens: []latchkey.Token{t}, Secrets: []latchkey.SecretChange{{TokenID: t.ID, Add: sec}}})
			kept := at.UTC().Truncate(time.Microsecond)
			t.Version = 1
			t.Created, t.Used, t.Revoked, t.Validity.NotBefore, t.Validity.NotAfter = kept, kept, kept, kept, kept
			sec.Created, sec.NotAfter = kept, kept
			w.same(w.load(n+1).Token, t, "a token at "+at.String())
			w.same(w.secrets(n+1), []latchkey.SecretRecord{*sec}, "a secret at "+at.String())
		}
	}),

	newCase("token/extra-bytes", "Extra is opaque bytes: it is neither reformatted, validated nor decoded as "+
		"text.", func(w *fixture) {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		for n, extra := range [][]byte{
			[]byte("{ \"b\" : 1.0,\r\n\t\"a\":1e2, \"a\" : null }  "), []byte("not json"), every, []byte(" "), []byte("null"),
			{0},
		} {
			t, r := token(n+1), role(n+1, fmt.Sprint("r", n))
			t.Extra, r.Extra = json.RawMessage(extra), json.RawMessage(extra)
			w.write(latchkey.Write{Tokens: []latchkey.Token{t}, Roles: []latchkey.Role{r}})
			w.same([]byte(w.load(n+1).Token.Extra), extra, "the Extra of a token")
			got, err := w.s.Role(w.ctx, acme, r.ID)
			w.ok(err, "Role")
			w.same([]byte(got.Extra), extra, "the Extra of a role")
			o, err := w.s.Owner(w.ctx, acme)
			w.ok(err, "Owner")
			o.Extra = extra
			w.write(latchkey.Write{OwnerRecord: &o})
			o, err = w.s.Owner(w.ctx, acme)
			w.ok(err, "Owner")
			w.same(o.Extra, extra, "the Extra of an owner")
		}
	}),

	newCase("role/round-trip", "A role comes back as it was put: every field, with Version 1.", func(w *fixture) {
		full := latchkey.Role{
			ID: id(1), Owner: acme, Name: "Rédacteur", Origin: "datocms", Inherits: []string{id(7), id(5)}, InheritDenies: true,
			Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("a/*"), latchkey.Deny(latchkey.Any).On("a/b")},
			Boundary:    latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a/*")},
			Extra:       json.RawMessage(`{"positive":[ ]}`),
		}
		w.write(latchkey.Write{Roles: []latchkey.Role{full, role(2, "plain")}})
		full.Version = 1
		got, err := w.s.Role(w.ctx, acme, full.ID)
		w.ok(err, "Role")
		w.same(got, full, "a full role")
		all, err := w.s.Roles(w.ctx, acme, latchkey.RoleQuery{})
		w.ok(err, "Roles")
		plain := role(2, "plain")
		plain.Version = 1
		w.same(all, []latchkey.Role{full, plain}, "the listing")
		_, err = w.s.Role(w.ctx, acme, id(3))
		w.failed(latchkey.ErrNotFound, err, "a role that never was")
	}),

	newCase("owner/round-trip", "An owner's record comes back as it was put. One never written is {ID} with Version 0, "+
		"without an error.", func(w *fixture) {
		o, err := w.s.Owner(w.ctx, acme)
		w.ok(err, "Owner that was never written")
		w.same(o, latchkey.Owner{ID: acme}, "an owner that was never written")
		full := latchkey.Owner{
			ID: acme, Disabled: true, NotBefore: noon, Since: 1<<40 + 5, Extra: []byte(`{ "plan":"premium"}`),
			Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("premium/*")},
			Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Amount: 5, Per: latchkey.Month}},
				Rate: latchkey.Rate{Count: 1, Per: time.Second, Burst: 2}},
			Policy: latchkey.OwnerPolicy{MaxLifetime: time.Hour, MaxIdle: time.Minute, Tokens: 7, Children: 3,
				Kinds: []latchkey.Kind{latchkey.KindSession, latchkey.KindAccess}, MintRight: true,
				ClientRight: true, AuditMints: true},
		}
		w.write(latchkey.Write{OwnerRecord: &full})
		full.Version = 1
		o, err = w.s.Owner(w.ctx, acme)
		w.ok(err, "Owner")
		w.same(o, full, "an owner")
		w.insert(token(1))
		w.same(w.load(1).Owner, full, "the owner of Load")
		full.Since = 0
		w.write(latchkey.Write{OwnerRecord: &full})
		w.same(w.load(1).Owner.Since, uint64(0), "a Since that was taken back")
		full.Version, full.Since = 2, 1<<40+5
		w.write(latchkey.Write{OwnerRecord: &full})
		full.Version = 3
		o, err = w.s.Owner(w.ctx, globex)
		w.ok(err, "Owner")
		w.same(o, latchkey.Owner{ID: globex}, "another owner")
	}),

	newCase("owner/boundary-nil-or-empty", "A nil Boundary is no boundary, an empty one allows nothing. A store keeps "+
		"them apart.", func(w *fixture) {
		w.insert(token(1))
		for i, b := range []latchkey.Permissions{nil, {}, nil, {latchkey.Allow(latchkey.Read).On("*")}, {}} {
			w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme, Version: uint64(i), Boundary: b}})
			o, err := w.s.Owner(w.ctx, acme)
			w.ok(err, "Owner")
			for where, got := range map[string]latchkey.Owner{"Owner": o, "Load": w.load(1).Owner} {
				if (got.Boundary == nil) != (b == nil) || len(got.Boundary) != len(b) {
					w.Errorf("%s: put a Boundary that is nil: %t, with %d rules; got nil: %t, %d",
						where, b == nil, len(b), got.Boundary == nil, len(got.Boundary))
				}
			}
		}
	}),

	newCase("role/boundary-nil-or-empty", "A nil Boundary of a role is no boundary, an empty one allows nothing. A store "+
		"keeps them apart.", func(w *fixture) {
		t := token(1)
		t.Roles = []string{id(1)}
		w.write(latchkey.Write{Roles: []latchkey.Role{role(1, "r")}})
		w.insert(t)
		for i, b := range []latchkey.Permissions{nil, {}, nil, {latchkey.Allow(latchkey.Read).On("*")}, {}} {
			r := role(1, "r")
			r.Version, r.Boundary = uint64(i+1), b
			w.write(latchkey.Write{Roles: []latchkey.Role{r}})
			got, err := w.s.Role(w.ctx, acme, r.ID)
			w.ok(err, "Role")
			list, err := w.s.Roles(w.ctx, acme, latchkey.RoleQuery{})
			w.ok(err, "Roles")
			for where, all := range map[string][]latchkey.Role{"Role": {got}, "Roles": list, "Load": w.load(1).Roles} {
				if len(all) != 1 || (all[0].Boundary == nil) != (b == nil) || len(all[0].Boundary) != len(b) {
					w.Errorf("%s: put a Boundary that is nil: %t, with %d rules; got %v", where, b == nil, len(b), all)
				}
			}
		}
	}),

	newCase("secret/round-trip", "A secret comes back as it was added; Secrets lists all of a token, oldest "+
		"first.", func(w *fixture) {
		w.write(latchkey.Write{Tokens: []latchkey.Token{token(1), token(2)}})
		old := latchkey.SecretRecord{
			Digest: digest(9), KeyID: 1<<32 - 1, Sealed: []byte{0, 1, 0xff, ' '}, Hint: "sk_3f…9Qz",
			Created: noon.Add(-time.Microsecond), NotAfter: noon.Add(time.Hour),
		}
		signing := latchkey.SecretRecord{Digest: digest(3), KeyID: 2, Signing: true, Sealed: []byte("s"),
			Created: noon.Add(time.Microsecond)}
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{
			{TokenID: id(1), Add: &signing}, {TokenID: id(1), Add: secret(5)}, {TokenID: id(1), Add: &old},
			{TokenID: id(2), Add: secret(6)},
		}})
		w.same(w.secrets(1), []latchkey.SecretRecord{old, *secret(5), signing}, "the secrets of a token")
		f, err := w.s.ByDigest(w.ctx, 0, old.Digest)
		w.ok(err, "ByDigest")
		w.same(f.Secret, old, "the secret presented")
		w.same(w.load(1).Secret, latchkey.SecretRecord{}, "Found.Secret of Load")
		_, err = w.s.Secrets(w.ctx, acme, id(3))
		w.failed(latchkey.ErrNotFound, err, "Secrets of no token")
	}),

	newCase("text/is-bytes", "Ids, names and client ids are compared as bytes: case, accents, blanks and look-alikes all "+
		"differ.", func(w *fixture) {
		texts := []string{
			"abc", "AbC", "ÁbC", "A\u0301bC", "ABC", "abc ", " abc", "abc\t", "ab\u200bc", "ａｂｃ", "straße", "strasse",
			"i", "I", "ı", "İ", "a_c", "a%c", "A%", "abc\n", "ﬁ", "fi", "\U0001F511", "é", "e", "0", "00", "0.0", "1e0", "1",
		}
		var x latchkey.Write
		for n, s := range texts {
			t, r := token(n+1), role(n+1, s)
			t.ID, t.Name, r.ID = s, s, s
			x.Tokens, x.Roles = append(x.Tokens, t), append(x.Roles, r)
			x.Clients = append(x.Clients, latchkey.Client{ID: s, Name: s})
		}
		w.write(x)
		slices.Sort(texts)
		var listed, roles, clients []string
		for _, t := range w.tokens(acme, latchkey.TokenQuery{}) {
			listed = append(listed, t.Name)
		}
		w.same(listed, texts, "the names of tokens, in byte order of their ids")
		rs, err := w.s.Roles(w.ctx, acme, latchkey.RoleQuery{})
		w.ok(err, "Roles")
		for _, r := range rs {
			roles = append(roles, r.Name)
		}
		w.same(roles, texts, "the names of roles, in byte order of their ids")
		cs, err := w.s.Clients(w.ctx, acme, latchkey.Page{})
		w.ok(err, "Clients")
		for _, c := range cs {
			clients = append(clients, c.Name)
		}
		w.same(clients, texts, "the names of clients, in byte order of their ids")
		for _, s := range texts {
			f, err := w.s.Load(w.ctx, acme, s)
			w.ok(err, fmt.Sprintf("Load %q", s))
			w.same(f.Token.Name, s, "the token of an id")
			r, err := w.s.Role(w.ctx, acme, s)
			w.ok(err, fmt.Sprintf("Role %q", s))
			w.same(r.Name, s, "the role of an id")
			rs, err := w.s.Roles(w.ctx, acme, latchkey.RoleQuery{Names: []string{s}})
			w.ok(err, fmt.Sprintf("Roles named %q", s))
			if len(rs) != 1 || rs[0].Name != s {
				w.Errorf("Roles named %q: %d of them", s, len(rs))
			}
		}
		_, err = w.s.Load(w.ctx, acme, "aBc")
		w.failed(latchkey.ErrNotFound, err, "Load of a name in another case")
		_, err = w.s.Load(w.ctx, "Acme", "abc")
		w.failed(latchkey.ErrNotFound, err, "Load of an owner in another case")
		_, err = w.s.Load(w.ctx, acme+" ", "abc")
		w.failed(latchkey.ErrNotFound, err, "Load of an owner with a trailing blank")
	}),

	newCase("digest/is-32-bytes", "Digests match in all 32 bytes or not at all: no case folding, no padding, no "+
		"truncation at NUL.", func(w *fixture) {
		base := [32]byte{}
		copy(base[:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_ ")
		alike := [][32]byte{base}
		for i, b := range []byte{'a', 0, ' ', 0xC1, 'A' ^ 0x80} {
			d := base
			d[31-i] = b
			alike = append(alike, d)
			d = base
			d[i] = b
			alike = append(alike, d)
		}
		for _, tail := range []byte{'a', 'b', 0, ' '} { // after a NUL, and at the very end
			d := base
			d[15], d[31] = 0, tail
			alike = append(alike, d)
		}
		for n, d := range alike {
			if slices.Index(alike, d) != n {
				continue
			}
			_, err := w.s.ByDigest(w.ctx, 0, d)
			w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("ByDigest %q, not there yet", d))
			w.write(latchkey.Write{Tokens: []latchkey.Token{token(n + 1)}, Secrets: []latchkey.SecretChange{
				{TokenID: id(n + 1), Add: &latchkey.SecretRecord{Digest: d, Created: noon}},
			}})
		}
		for n, d := range alike {
			f, err := w.s.ByDigest(w.ctx, 0, d)
			w.ok(err, fmt.Sprintf("ByDigest %q", d))
			w.same(f.Token.ID, id(slices.Index(alike, d)+1), fmt.Sprintf("the token of digest %d", n))
		}
	}),

	newCase("digest/several", "ByDigest takes several digests and finds the one that is stored. Given none it finds "+
		"nothing.", func(w *fixture) {
		w.insert(token(1), token(2))
		w.insert(by(globex, token(3)))
		for n, ask := range map[int][][32]byte{
			1: {digest(1)}, 2: {digest(8), digest(2), digest(9)}, 3: {digest(8), digest(9), digest(3)},
		} {
			f, err := w.s.ByDigest(w.ctx, 0, ask...)
			w.ok(err, "ByDigest")
			w.same(f.Token.ID, id(n), "the token found")
			w.same(f.Secret.Digest, digest(n), "the secret found")
		}
		_, err := w.s.ByDigest(w.ctx, 0)
		w.failed(latchkey.ErrNotFound, err, "ByDigest of nothing")
		_, err = w.s.ByDigest(w.ctx, 0, digest(7), [32]byte{}, digest(8))
		w.failed(latchkey.ErrNotFound, err, "ByDigest of unknown digests")
	}),

	newCase("digest/several-there", "Of several digests that are stored, ByDigest returns one, and nothing of the "+
		"others.", func(w *fixture) {
		full := secret(1)
		full.KeyID, full.Sealed = 2, []byte("sealed")
		w.write(latchkey.Write{Tokens: []latchkey.Token{fullToken(1), token(2)}, Secrets: []latchkey.SecretChange{
			{TokenID: id(1), Add: full}, {TokenID: id(2), Add: secret(2)}}})
		for _, ask := range [][2]int{{1, 2}, {2, 1}} {
			f, err := w.s.ByDigest(w.ctx, 0, digest(ask[0]), digest(ask[1]))
			w.ok(err, "ByDigest of two")
			want, err := w.s.ByDigest(w.ctx, 0, f.Secret.Digest)
			w.ok(err, "ByDigest of the one that was found")
			w.same(f.Secret, want.Secret, "its secret")
			w.same(f.Token, want.Token, "its token")
		}
	}),

	newCase("digest/signing-not-found", "A signing secret is never presented: ByDigest does not find it, alone or among "+
		"others.", func(w *fixture) {
		signing := secret(2)
		signing.Signing = true
		w.insert(token(1))
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: signing}}})
		_, err := w.s.ByDigest(w.ctx, 0, digest(2))
		w.failed(latchkey.ErrNotFound, err, "ByDigest of a signing secret")
		f, err := w.s.ByDigest(w.ctx, 0, digest(2), digest(1))
		w.ok(err, "ByDigest")
		w.same(f.Secret.Digest, digest(1), "the secret found")
	}),

	newCase("found/ended-too", "Revoked, disabled and expired tokens, and expired secrets, are found. The Manager judges "+
		"them.", func(w *fixture) {
		revoked, disabled, expired := token(1), token(2), token(3)
		revoked.Revoked, disabled.Disabled, expired.Validity.NotAfter = noon, true, noon.Add(-time.Hour)
		w.insert(revoked, disabled, expired, token(4))
		past := secret(5)
		past.NotAfter = noon.Add(-time.Hour)
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(4), Add: past}}})
		w.present(1, 2, 3)
		f, err := w.s.ByDigest(w.ctx, 0, digest(5))
		w.ok(err, "ByDigest of a secret past its end")
		w.same(f.Secret, *past, "the secret")
	}),

	newCase("found/ancestors", "Ancestors come nearest first, up to the root or to the first that is "+
		"missing.", func(w *fixture) {
		var chain []latchkey.Token
		for n := 1; n <= 33; n++ {
			t := minted(n, n-1)
			if t.Depth = uint8(n - 1); n == 1 {
				t = token(1)
			}
			t.Name = fmt.Sprint("generation ", n)
			chain = append(chain, t)
		}
		w.insert(chain...)
		w.insert(minted(40, 77), minted(41, 40), token(50))
		for i := range chain {
			chain[i].Version = 1
		}
		for _, n := range []int{33, 7, 2, 1} {
			want := slices.Clone(chain[:n-1])
			slices.Reverse(want)
			w.same(w.load(n).Ancestors, want, fmt.Sprintf("ancestors of generation %d", n))
			f, err := w.s.ByDigest(w.ctx, 0, digest(n))
			w.ok(err, "ByDigest")
			w.same(f.Ancestors, want, fmt.Sprintf("ancestors of generation %d by digest", n))
		}
		w.same(len(w.load(40).Ancestors), 0, "ancestors when the parent is gone")
		w.same(numbers(w.load(41).Ancestors), []int{40}, "ancestors when the grandparent is gone")
	}),

	newCase("found/cycle", "Parents or roles that refer to each other in a cycle, which no Manager makes, never cause an "+
		"endless loop.", func(w *fixture) {
		a, b, c := minted(1, 2), minted(2, 1), minted(3, 2)
		r, q := role(900, "r"), role(901, "q")
		r.Inherits, q.Inherits, c.Roles = []string{q.ID, r.ID}, []string{r.ID}, []string{r.ID}
		w.write(latchkey.Write{Roles: []latchkey.Role{r, q}})
		w.insert(a, b, c)
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		f, err := w.s.Load(ctx, acme, id(3))
		w.ok(err, "Load of a token whose parents are a ring")
		w.same(len(f.Roles), 2, "roles that inherit each other")
		_, err = w.s.ByDigest(ctx, 0, digest(1))
		w.ok(err, "ByDigest of a token that is its own grandparent")
		w.write(latchkey.Write{DeleteTokens: refs(1)})
		for n := 1; n <= 3; n++ {
			w.absent(n)
		}
	}),

	newCase("found/roles", "Roles are all that the token and its ancestors name or inherit, each once. Missing roles are "+
		"left out.", func(w *fixture) {
		// A diamond (900 over 901 and 902 over 903), a deep chain (910 … 940), and one that no token names.
		roles := []latchkey.Role{role(900, "top"), role(901, "left"), role(902, "right"), role(903, "bottom"),
			role(950, "other")}
		roles[0].Inherits = []string{id(901), id(902), id(999)}
		roles[1].Inherits, roles[2].Inherits = []string{id(903)}, []string{id(903)}
		for n := 910; n <= 940; n++ {
			r := role(n, fmt.Sprint("line ", n))
			if n < 940 {
				r.Inherits = []string{id(n + 1)}
			}
			roles = append(roles, r)
		}
		w.write(latchkey.Write{Roles: roles})
		w.write(latchkey.Write{Owner: globex, Roles: []latchkey.Role{by(globex, role(903, "theirs")),
			by(globex, role(998, "theirs too"))}})
		root, child, grandchild := token(1), minted(2, 1), minted(3, 2)
		root.Roles = []string{id(900), id(998)}
		child.Roles = []string{id(902), id(910)}
		w.insert(root, child, grandchild)
		line := make([]int, 31)
		for i := range line {
			line[i] = 910 + i
		}
		for n, want := range map[int][]int{
			1: {900, 901, 902, 903},
			2: append([]int{900, 901, 902, 903}, line...),
			3: append([]int{900, 901, 902, 903}, line...),
		} {
			byDigest, err := w.s.ByDigest(w.ctx, 0, digest(n))
			w.ok(err, "ByDigest")
			for _, f := range []latchkey.Found{w.load(n), byDigest} {
				got := roleNumbers(f.Roles)
				slices.Sort(got)
				w.same(got, want, fmt.Sprintf("roles of token %d", n))
				for _, r := range f.Roles {
					if r.Owner != acme {
						w.Errorf("a role of %s for a token of %s", r.Owner, acme)
					}
				}
			}
		}
		w.insert(token(4))
		w.same(len(w.load(4).Roles), 0, "roles of a token without")
	}),

	newCase("found/epoch", "Found.Epoch is the store's epoch when it was read.", func(w *fixture) {
		w.insert(token(1))
		for range 3 {
			epoch := w.update(1, func(t *latchkey.Token) { t.Name += "x" })
			w.same(w.load(1).Epoch, epoch, "the epoch of Load")
			f, err := w.s.ByDigest(w.ctx, 0, digest(1))
			w.ok(err, "ByDigest")
			w.same(f.Epoch, epoch, "the epoch of ByDigest")
		}
	}),

	newCase("owner/isolation", "Another owner's record is a missing record, for every method.", func(w *fixture) {
		w.write(latchkey.Write{
			Tokens: []latchkey.Token{token(1)}, Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: secret(1)}},
			Roles: []latchkey.Role{role(900, "r")}, Clients: []latchkey.Client{{ID: "42", Name: "Ada"}},
			OwnerRecord: &latchkey.Owner{ID: acme, Disabled: true},
			Events:      []latchkey.Event{{At: noon, Owner: acme, Action: "x"}},
		})
		key := w.key()
		_, err := w.s.Reserve(w.ctx, latchkey.Reservation{Owner: acme, Key: key, Amount: 1, Until: noon,
			Accounts: []latchkey.CreditAccount{{Meter: "m", Limit: 10}}})
		w.ok(err, "Reserve")
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{
			{Owner: acme, TokenID: id(1), Meter: "m", Day: "2026-11-22", Count: 5}}}), "AddUsage")

		_, err = w.s.Load(w.ctx, globex, id(1))
		w.failed(latchkey.ErrNotFound, err, "Load")
		_, err = w.s.Secrets(w.ctx, globex, id(1))
		w.failed(latchkey.ErrNotFound, err, "Secrets")
		_, err = w.s.Role(w.ctx, globex, id(900))
		w.failed(latchkey.ErrNotFound, err, "Role")
		w.failed(latchkey.ErrNotFound, w.s.Settle(w.ctx, globex, key, 1), "Settle")
		w.same(len(w.tokens(globex, latchkey.TokenQuery{})), 0, "Tokens")
		n, err := w.s.Count(w.ctx, globex, latchkey.TokenQuery{}, 9)
		w.ok(err, "Count")
		w.same(n, 0, "Count")
		roles, err := w.s.Roles(w.ctx, globex, latchkey.RoleQuery{})
		w.ok(err, "Roles")
		w.same(len(roles), 0, "Roles")
		clients, err := w.s.Clients(w.ctx, globex, latchkey.Page{})
		w.ok(err, "Clients")
		w.same(len(clients), 0, "Clients")
		o, err := w.s.Owner(w.ctx, globex)
		w.ok(err, "Owner")
		w.same(o, latchkey.Owner{ID: globex}, "Owner")
		events, _ := w.events(globex, latchkey.EventQuery{})
		w.same(len(events), 0, "Events")
		usage, err := w.s.Usage(w.ctx, globex, latchkey.UsageQuery{By: []string{"token"}})
		w.ok(err, "Usage")
		w.same(len(usage), 0, "Usage")

		theirs := by(globex, token(1))
		theirs.Version = 1
		w.refuse(latchkey.ErrConflict, latchkey.Write{Owner: globex, Tokens: []latchkey.Token{theirs}},
			"an update of another owner's token")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{Owner: globex,
			Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: secret(8)}}}, "a secret for another owner's token")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{Owner: globex, DeleteTokens: refs(1)},
			"deletion of another owner's token")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{Owner: globex, DeleteRoles: refs(900)},
			"deletion of another owner's role")
		w.refuse(latchkey.ErrConflict, latchkey.Write{Owner: globex, RequireTokens: refs(1)},
			"a requirement of another owner's token")
		w.refuse(latchkey.ErrConflict, latchkey.Write{Owner: globex, RequireRoles: refs(900)},
			"a requirement of another owner's role")
		w.refuse(latchkey.ErrInvalid, latchkey.Write{Owner: globex, Tokens: []latchkey.Token{token(2)}},
			"a token of another owner in a write")
		w.refuse(latchkey.ErrInvalid, latchkey.Write{Owner: globex, Roles: []latchkey.Role{role(2, "x")}},
			"a role of another owner in a write")
		w.refuse(latchkey.ErrInvalid, latchkey.Write{Owner: globex, OwnerRecord: &latchkey.Owner{ID: acme, Version: 1}},
			"another owner's record in a write")

		// The same ids are free for another owner, and stay separate.
		other := by(globex, token(1))
		other.Name = "theirs"
		w.write(latchkey.Write{Owner: globex, Tokens: []latchkey.Token{other},
			Roles: []latchkey.Role{by(globex, role(900, "r"))}})
		w.same(w.load(1).Token.Name, "", "our token")
		w.write(latchkey.Write{Owner: globex, Erase: true})
		w.present(1)
		w.same(w.load(1).Token.Version, uint64(1), "our token's version")
	}),

	newCase("copies", "Values are copied on the way in and out: changing one changes nothing stored.", func(w *fixture) {
		t, sec, r := fullToken(1), secret(1), role(900, "r")
		sec.Sealed = []byte("sealed")
		other := foreign(2)
		r.Inherits, r.Extra = []string{id(901)}, json.RawMessage(`"extra"`)
		r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}
		o := latchkey.Owner{ID: acme, Extra: []byte("extra"),
			Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}}
		e := latchkey.Event{At: noon, Owner: acme, Before: []byte("before"), After: []byte("after"), Prev: []byte("prev"),
			Hash: []byte("hash")}
		t.Roles = []string{r.ID}
		w.write(latchkey.Write{
			Tokens: []latchkey.Token{t, token(2)}, Secrets: []latchkey.SecretChange{{TokenID: t.ID, Add: sec},
				{TokenID: id(2), Add: other}},
			Roles: []latchkey.Role{r}, OwnerRecord: &o, Events: []latchkey.Event{e},
		})
		read := func() (all []any) {
			f, err := w.s.ByDigest(w.ctx, 0, digest(1))
			w.ok(err, "ByDigest")
			events, _ := w.events(acme, latchkey.EventQuery{})
			return []any{f, w.load(1), w.tokens(acme, latchkey.TokenQuery{}), w.secrets(1), events, w.secrets(2),
				w.byLookup(2)}
		}
		spoil := func(t *latchkey.Token, sealed []byte, r *latchkey.Role, o *latchkey.Owner, e *latchkey.Event) {
			t.Roles[0], t.Restrictions.Domains[0], t.Extra[0] = "spoilt", "spoilt", '!'
			t.Restrictions.Addresses[0], t.Restrictions.MintFrom[0] = t.Restrictions.Addresses[1], t.Restrictions.Addresses[1]
			t.Permissions[0] = latchkey.Allow(latchkey.Any).On("*")
			t.Forced["text"], t.ChildAttributes[0] = "spoilt", "spoilt"
			t.Attributes["regions"].([]string)[0] = "spoilt"
			delete(t.Attributes, "level")
			delete(t.Forced, "n")
			t.RoleEnds[id(900)] = noon
			r.Inherits[0], r.Extra[0], r.Permissions[0] = "spoilt", '!', latchkey.Allow(latchkey.Any).On("*")
			o.Extra[0], o.Boundary[0] = '!', latchkey.Allow(latchkey.Any).On("*")
			e.Before[0], e.After[0], e.Prev[0], e.Hash[0], sealed[0] = '!', '!', '!', '!', '!'
		}
		was := dump(read())
		spoil(&t, sec.Sealed, &r, &o, &e)
		other.Hash[0] = '!'
		if !slices.Equal(dump(read()), was) {
			w.Errorf("changing what was put changed what is stored")
		}
		all := read()
		f, events := all[0].(latchkey.Found), all[4].([]latchkey.Event)
		spoil(&f.Token, f.Secret.Sealed, &f.Roles[0], &f.Owner, &events[0])
		g, listed := all[1].(latchkey.Found), all[2].([]latchkey.Token)
		spoil(&g.Token, all[3].([]latchkey.SecretRecord)[0].Sealed, &g.Roles[0], &g.Owner, &events[0])
		listed[0].Roles[0], listed[0].Extra[0], listed[0].Forced["text"] = "spoilt", '!', "spoilt"
		all[5].([]latchkey.SecretRecord)[0].Hash[0], all[6].(latchkey.Found).Secret.Hash[0] = '!', '!'
		if !slices.Equal(dump(read()), was) {
			w.Errorf("changing what was read changed what is stored")
		}
	}),

	newCase("cancelled", "With a cancelled context a call returns ErrUnavailable, wrapping the context's error, and does "+
		"nothing.", func(w *fixture) {
		w.insert(token(1))
		epoch := w.epoch()
		cancelled, cancel := context.WithCancel(w.ctx)
		cancel()
		late, cancel := context.WithDeadline(w.ctx, time.Now().Add(-time.Second))
		defer cancel()
		for ctx, cause := range map[context.Context]error{cancelled: context.Canceled, late: context.DeadlineExceeded} {
			for name, err := range everyMethod(ctx, w.s, w.key()) {
				if !errors.Is(err, latchkey.ErrUnavailable) || !errors.Is(err, cause) {
					w.Errorf("%s: got %v, want ErrUnavailable wrapping %q", name, orNil(err), cause)
				}
			}
		}
		w.same(w.epoch(), epoch, "the epoch")
		w.ok(w.s.Once(w.ctx, acme, digest(1), noon), "Once with a key of a cancelled call")
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{})), []int{1}, "the tokens")
	}),
}

// everyMethod calls each method once and returns the errors.
func everyMethod(ctx context.Context, s latchkey.Store, key [16]byte) map[string]error {
	errs := make(map[string]error)
	_, errs["ByDigest"] = s.ByDigest(ctx, 0, digest(1))
	_, errs["ByLookup"] = s.ByLookup(ctx, "x")
	_, errs["Load"] = s.Load(ctx, acme, id(1))
	_, errs["Tokens"] = s.Tokens(ctx, acme, latchkey.TokenQuery{})
	_, errs["Tokens, found"] = s.Tokens(ctx, acme, latchkey.TokenQuery{Find: "x", Order: latchkey.OrderName})
	_, errs["Count"] = s.Count(ctx, acme, latchkey.TokenQuery{}, 1)
	_, errs["Count, found"] = s.Count(ctx, acme, latchkey.TokenQuery{Find: "x"}, 1)
	_, errs["Ending"] = s.Ending(ctx, latchkey.EndingQuery{})
	_, _, errs["Unused"] = s.Unused(ctx, latchkey.UnusedQuery{})
	_, _, errs["KeySecrets"] = s.KeySecrets(ctx, latchkey.KeyQuery{})
	_, _, errs["Undelivered"] = s.Undelivered(ctx, latchkey.UndeliveredQuery{Cursor: "x"})
	errs["Deliver"] = s.Deliver(ctx, acme, "x", 1)
	_, errs["Secrets"] = s.Secrets(ctx, acme, id(1))
	_, errs["Role"] = s.Role(ctx, acme, id(1))
	_, errs["Roles"] = s.Roles(ctx, acme, latchkey.RoleQuery{})
	_, errs["Clients"] = s.Clients(ctx, acme, latchkey.Page{})
	_, errs["Owner"] = s.Owner(ctx, acme)
	_, _, errs["Events"] = s.Events(ctx, acme, latchkey.EventQuery{})
	_, errs["Changes(0)"] = s.Changes(ctx, 0, 0, 0)
	_, errs["Changes(10)"] = s.Changes(ctx, 0, 0, 10)
	errs["Write"] = s.Write(ctx, latchkey.Write{ID: key, Owner: acme, At: noon, DeleteTokens: refs(1)})
	errs["Once"] = s.Once(ctx, acme, digest(1), noon)
	errs["AddUsage"] = s.AddUsage(ctx, latchkey.UsageBatch{ID: key, At: noon})
	_, errs["Usage"] = s.Usage(ctx, acme, latchkey.UsageQuery{})
	_, errs["Reserve"] = s.Reserve(ctx, latchkey.Reservation{Owner: acme, Key: key, Amount: 1,
		Accounts: []latchkey.CreditAccount{{Limit: 1}}})
	errs["Settle"] = s.Settle(ctx, acme, key, 0)
	_, errs["Purge"] = s.Purge(ctx, latchkey.PurgePolicy{Now: noon.AddDate(9, 0, 0)}, 100)
	return errs
}
