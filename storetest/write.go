package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

var writeCases = []Case{
	newCase("write/insert", "A record put with Version 0 is inserted and gets Version 1; ErrExists if its id is "+
		"taken.", func(w *fixture) {
		w.write(latchkey.Write{Tokens: []latchkey.Token{token(1)}, Roles: []latchkey.Role{role(900, "r")},
			OwnerRecord: &latchkey.Owner{ID: acme}})
		w.same(w.load(1).Token.Version, uint64(1), "a token's version")
		o, err := w.s.Owner(w.ctx, acme)
		w.ok(err, "Owner")
		w.same(o.Version, uint64(1), "an owner's version")
		w.refuse(latchkey.ErrExists, latchkey.Write{Tokens: []latchkey.Token{token(1)}}, "an id that is taken by a token")
		w.refuse(latchkey.ErrExists, latchkey.Write{Roles: []latchkey.Role{role(900, "other")}},
			"an id that is taken by a role")
		w.refuse(latchkey.ErrExists, latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}}, "an owner that has a record")
		w.refuse(latchkey.ErrInvalid, latchkey.Write{Tokens: []latchkey.Token{by(globex, token(3))}}, "a foreign record")
		err = w.s.Write(w.ctx, latchkey.Write{Owner: acme, At: noon, Tokens: []latchkey.Token{token(3)}})
		w.failed(latchkey.ErrInvalid, err, "a write without an ID")
		w.absent(3)
	}),

	newCase("write/replace", "A record put with Version n replaces version n and gets n+1. ErrConflict if the stored "+
		"version differs, or there is no record.", func(w *fixture) {
		full := fullToken(1)
		w.insert(full)
		w.write(latchkey.Write{Roles: []latchkey.Role{role(900, "r")},
			OwnerRecord: &latchkey.Owner{ID: acme, Disabled: true}})
		for v := uint64(1); v <= 3; v++ {
			t, r, o := token(1), role(900, fmt.Sprint("r", v)), latchkey.Owner{ID: acme, Version: v}
			t.Version, t.Used, r.Version = v, noon.Add(time.Duration(v)*time.Minute), v
			t.Name = fmt.Sprint("version ", v+1)
			w.write(latchkey.Write{Tokens: []latchkey.Token{t}, Roles: []latchkey.Role{r}, OwnerRecord: &o})
			t.Version, r.Version, o.Version = v+1, v+1, v+1
			w.same(w.load(1).Token, t, "a replaced token: nothing of the old one is left")
			gotRole, err := w.s.Role(w.ctx, acme, id(900))
			w.ok(err, "Role")
			w.same(gotRole, r, "a replaced role")
			gotOwner, err := w.s.Owner(w.ctx, acme)
			w.ok(err, "Owner")
			w.same(gotOwner, o, "a replaced owner")
		}
		w.present(1) // a put of a token keeps its secrets
		for _, v := range []uint64{1, 3, 5} {
			t, r, o := token(1), role(900, "x"), latchkey.Owner{ID: acme, Version: v}
			t.Version, r.Version = v, v
			w.refuse(latchkey.ErrConflict, latchkey.Write{Tokens: []latchkey.Token{t}},
				fmt.Sprint("a token at version 4, put as ", v))
			w.refuse(latchkey.ErrConflict, latchkey.Write{Roles: []latchkey.Role{r}},
				fmt.Sprint("a role at version 4, put as ", v))
			w.refuse(latchkey.ErrConflict, latchkey.Write{OwnerRecord: &o}, fmt.Sprint("an owner at version 4, put as ", v))
		}
		t, r := token(2), role(901, "x")
		t.Version, r.Version = 1, 1
		w.refuse(latchkey.ErrConflict, latchkey.Write{Tokens: []latchkey.Token{t}}, "a token that is gone")
		w.refuse(latchkey.ErrConflict, latchkey.Write{Roles: []latchkey.Role{r}}, "a role that is gone")
		w.refuse(latchkey.ErrConflict, latchkey.Write{Owner: globex,
			OwnerRecord: &latchkey.Owner{ID: globex, Version: 1}}, "an owner without a record")
	}),

	newCase("write/used-never-back", "A put never moves Token.Used back, because last uses are written behind by other "+
		"processes.", func(w *fixture) {
		t := token(1)
		t.Used = noon
		w.insert(t)
		w.update(1, func(t *latchkey.Token) { t.Used = noon.Add(-time.Microsecond) })
		w.same(w.load(1).Token.Used, noon, "Used after a put with an earlier one")
		w.update(1, func(t *latchkey.Token) { t.Used = time.Time{} })
		w.same(w.load(1).Token.Used, noon, "Used after a put without one")
		w.update(1, func(t *latchkey.Token) { t.Used = noon.Add(time.Microsecond) })
		w.same(w.load(1).Token.Used, noon.Add(time.Microsecond), "Used after a put with a later one")
	}),

	newCase("write/role-names", "A role's name is unique within owner and origin, byte for byte; ErrExists if it is "+
		"taken.", func(w *fixture) {
		a, other := role(1, "editor"), role(2, "editor")
		other.Origin = "datocms"
		w.write(latchkey.Write{Roles: []latchkey.Role{a, other, role(3, "Editor"), role(4, "editor ")}})
		w.write(latchkey.Write{Owner: globex, Roles: []latchkey.Role{by(globex, role(1, "editor"))}})
		w.refuse(latchkey.ErrExists, latchkey.Write{Roles: []latchkey.Role{role(5, "editor")}},
			"a new role with a name that is taken")
		renamed := role(3, "editor")
		renamed.Version = 1
		w.refuse(latchkey.ErrExists, latchkey.Write{Roles: []latchkey.Role{renamed}},
			"a role renamed to a name that is taken")
		w.refuse(latchkey.ErrExists, latchkey.Write{Roles: []latchkey.Role{role(6, "twin"), role(7, "twin")}},
			"two of one name in one write")
		renamed = role(1, "chief")
		renamed.Version = 1
		w.write(latchkey.Write{Roles: []latchkey.Role{renamed}})
		renamed.Version = 2
		w.write(latchkey.Write{Roles: []latchkey.Role{renamed}}) // its own name is not taken
		w.write(latchkey.Write{Roles: []latchkey.Role{role(8, "editor")}})
		w.write(latchkey.Write{DeleteRoles: refs(8)})
		w.write(latchkey.Write{Roles: []latchkey.Role{role(9, "editor")}})
	}),

	newCase("write/idempotent", "A Write whose ID was applied before changes nothing and "+
		"succeeds.", func(w *fixture) {
		w.insert(token(1), token(2))
		first := latchkey.Write{ID: w.key(), Owner: acme, At: noon, Events: []latchkey.Event{{At: noon, Action: "rename"}},
			Clients: []latchkey.Client{{ID: "a", Name: "Ada"}}}
		t := w.load(1).Token
		t.Name = "first"
		first.Tokens = []latchkey.Token{t}
		w.write(first)
		later := w.update(1, func(t *latchkey.Token) { t.Name = "second" })
		w.write(latchkey.Write{Clients: []latchkey.Client{{ID: "a", Name: "Bea"}}})
		for range 2 {
			w.ok(w.s.Write(w.ctx, first), "the same write again")
		}
		w.same(w.epoch(), later, "the store's epoch")
		w.same(w.load(1).Token.Name, "second", "the token's name")
		w.same(w.load(1).Token.Version, uint64(3), "the token's version")
		events, _ := w.events(acme, latchkey.EventQuery{})
		w.same(len(events), 1, "how many events there are")
		clients, err := w.s.Clients(w.ctx, acme, latchkey.Page{})
		w.ok(err, "Clients")
		w.same(clients, []latchkey.Client{{ID: "a", Name: "Bea"}}, "the clients")

		// Only the ID counts, neither what the second write holds nor whether it could be applied.
		mint := latchkey.Write{ID: w.key(), Owner: acme, At: noon, Tokens: []latchkey.Token{minted(3, 1)},
			Secrets:       []latchkey.SecretChange{{TokenID: id(3), Add: secret(3)}},
			RequireTokens: refs(1), Silent: true}
		w.write(mint)
		w.write(latchkey.Write{DeleteTokens: refs(1)})
		w.write(mint)
		w.absent(3)
		// A write that failed was not applied. It can be retried with the same ID.
		retry := latchkey.Write{ID: w.key(), Owner: acme, At: noon, Tokens: []latchkey.Token{token(4)},
			RequireTokens: refs(5)}
		w.refuse(latchkey.ErrConflict, retry, "a write that requires what is not there")
		w.insert(token(5))
		w.write(retry)
		w.load(4)
		// IDs of writes are per owner.
		mine := latchkey.Write{ID: first.ID, Owner: globex, At: noon, Tokens: []latchkey.Token{by(globex, token(1))}}
		w.write(mine)
		w.same(len(w.tokens(globex, latchkey.TokenQuery{})), 1,
			"how many tokens a write of another owner with the same ID made")
	}),

	newCase("write/requirements", "Required tokens exist and are not revoked. Required roles exist. Each has its "+
		"version, and so has the owner's record. Otherwise ErrConflict.", func(w *fixture) {
		revoked, disabled, expired := token(2), token(3), token(4)
		revoked.Revoked, disabled.Disabled, expired.Validity.NotAfter = noon, true, noon.Add(-time.Hour)
		w.insert(token(1), revoked, disabled, expired)
		w.write(latchkey.Write{Roles: []latchkey.Role{role(900, "r")}})
		n := 10
		with := func(x latchkey.Write) latchkey.Write {
			n++
			x.Tokens, x.Silent = []latchkey.Token{token(n)}, true
			return x
		}
		version := func(v uint64) *uint64 { return &v }
		for what, x := range map[string]latchkey.Write{
			"a token at any version":   {RequireTokens: refs(1)},
			"a token at its version":   {RequireTokens: []latchkey.Ref{{ID: id(1), Version: 1}}},
			"a disabled token":         {RequireTokens: refs(3)},
			"an expired token":         {RequireTokens: []latchkey.Ref{{ID: id(4), Version: 1}}},
			"a role":                   {RequireRoles: []latchkey.Ref{{ID: id(900)}, {ID: id(900), Version: 1}}},
			"no record of the owner":   {RequireOwner: version(0)},
			"the same things together": {RequireTokens: refs(1, 1), RequireOwner: version(0)},
		} {
			if err := w.try(with(x)); err != nil {
				w.Errorf("%s: %v", what, err)
			}
			w.load(n)
		}
		for what, x := range map[string]latchkey.Write{
			"a token that is not there":           {RequireTokens: refs(1, 99)},
			"a token at another version":          {RequireTokens: []latchkey.Ref{{ID: id(1), Version: 2}}},
			"a token revoked":                     {RequireTokens: refs(2)},
			"a token revoked, at its version":     {RequireTokens: []latchkey.Ref{{ID: id(2), Version: 1}}},
			"a role that is not there":            {RequireRoles: refs(900, 901)},
			"a role at another version":           {RequireRoles: []latchkey.Ref{{ID: id(900), Version: 2}}},
			"a record of an owner that has none":  {RequireOwner: version(1)},
			"a token, with its id in other case":  {RequireTokens: []latchkey.Ref{{ID: "01935D00" + id(1)[8:]}}},
			"a token, and a role that is missing": {RequireTokens: refs(1), RequireRoles: refs(1)},
		} {
			w.refuse(latchkey.ErrConflict, with(x), what)
			w.absent(n)
		}
		// Requirements are about the state before the write.
		w.refuse(latchkey.ErrConflict, latchkey.Write{Tokens: []latchkey.Token{token(9)}, RequireTokens: refs(9)},
			"a token that this very write makes")
		w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}})
		w.write(with(latchkey.Write{RequireOwner: version(1)}))
		w.refuse(latchkey.ErrConflict, with(latchkey.Write{RequireOwner: version(0)}), "no record of an owner that has one")
		t := w.load(1).Token
		t.Revoked = noon
		w.write(latchkey.Write{Tokens: []latchkey.Token{t}, RequireTokens: []latchkey.Ref{{ID: t.ID, Version: t.Version}}})
	}),

	newCase("write/holders", "Required holders are exactly the records that name a role, at their versions. Otherwise "+
		"ErrConflict.", func(w *fixture) {
		held := func(t latchkey.Token) latchkey.Token { t.Roles = []string{id(901), id(900)}; return t }
		revoked, other := held(token(3)), token(4)
		revoked.Revoked, other.Roles = noon, []string{id(901)}
		heir := role(902, "heir")
		heir.Inherits = []string{id(900)}
		w.write(latchkey.Write{Roles: []latchkey.Role{role(900, "held"), role(901, "other"), heir}})
		w.insert(held(token(1)), held(minted(2, 1)), revoked, other)
		one := func(ns ...int) (all []latchkey.Ref) {
			for _, ref := range refs(ns...) {
				all = append(all, latchkey.Ref{ID: ref.ID, Version: 1})
			}
			return all
		}
		n := 10
		with := func(hs ...latchkey.Holders) latchkey.Write {
			n++
			return latchkey.Write{Tokens: []latchkey.Token{token(n)}, RequireHolders: hs, Silent: true}
		}
		changed := func(n int) []latchkey.Ref { return []latchkey.Ref{{ID: id(n), Version: 2}} }
		for what, hs := range map[string][]latchkey.Holders{
			"as they are":          {{RoleID: id(900), Roles: one(902), Tokens: one(1)}},
			"minted ones too":      {{RoleID: id(900), Roles: one(902), Tokens: one(2, 1), Minted: true}},
			"several roles":        {{RoleID: id(901), Tokens: one(4, 1)}, {RoleID: id(902)}},
			"of a role nobody has": {{RoleID: id(999)}},
		} {
			if err := w.try(with(hs...)); err != nil {
				w.Errorf("%s: %v", what, err)
			}
			w.load(n)
		}
		for what, h := range map[string]latchkey.Holders{
			"no inheriting role":              {RoleID: id(900), Tokens: one(1)},
			"a role that does not inherit":    {RoleID: id(901), Roles: one(902), Tokens: one(1, 4)},
			"another inheriting role":         {RoleID: id(900), Roles: one(901), Tokens: one(1)},
			"an inheriting role that changed": {RoleID: id(900), Roles: changed(902), Tokens: one(1)},
			"no token":                        {RoleID: id(900), Roles: one(902)},
			"another token":                   {RoleID: id(900), Roles: one(902), Tokens: one(4)},
			"a token more":                    {RoleID: id(900), Roles: one(902), Tokens: one(1, 4)},
			"a token that changed":            {RoleID: id(900), Roles: one(902), Tokens: changed(1)},
			"a revoked token":                 {RoleID: id(900), Roles: one(902), Tokens: one(1, 3)},
			"a minted token":                  {RoleID: id(900), Roles: one(902), Tokens: one(1, 2)},
			"minted ones, but not this":       {RoleID: id(900), Roles: one(902), Tokens: one(1), Minted: true},
		} {
			w.refuse(latchkey.ErrConflict, with(h), what)
			w.absent(n)
		}
		w.refuse(latchkey.ErrConflict, with(latchkey.Holders{RoleID: id(902)}, latchkey.Holders{RoleID: id(900)}),
			"the second of two")
		// Requirements are about the state before the write.
		late := token(9)
		late.Roles = []string{id(900)}
		x := with(latchkey.Holders{RoleID: id(900), Roles: one(902), Tokens: one(1)})
		x.Tokens = append(x.Tokens, late)
		w.write(x)
		y := with(latchkey.Holders{RoleID: id(900), Tokens: one(1)})
		y.Owner = globex
		y.Tokens[0].Owner = globex
		w.refuse(latchkey.ErrConflict, y, "the same holders, of another owner")
	}),

	newCase("write/owner-version", "Token.OwnerVersion is kept as it was put, through edits of the token, new secrets "+
		"and re-digested ones. It is the same by id, by digest, as an ancestor and in listings.", func(w *fixture) {
		parent, child := token(1), minted(2, 1)
		parent.OwnerVersion, child.OwnerVersion = 3, 4
		w.insert(parent, child, token(3))
		check := func(when string, digests ...int) {
			w.Helper()
			for _, n := range digests {
				f, err := w.s.ByDigest(w.ctx, 0, digest(n))
				w.ok(err, "ByDigest "+when)
				w.same(f.Token.OwnerVersion, uint64(4), "OwnerVersion by digest "+when)
				w.same(f.Ancestors[0].OwnerVersion, uint64(3), "OwnerVersion of the ancestor "+when)
			}
			f := w.load(2)
			w.same(f.Token.OwnerVersion, uint64(4), "OwnerVersion by id "+when)
			w.same(f.Ancestors[0].OwnerVersion, uint64(3), "OwnerVersion of the ancestor by id "+when)
			listed := w.tokens(acme, latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindAccess}})
			w.same(listed[0].OwnerVersion, uint64(4), "OwnerVersion in a listing "+when)
		}
		w.same(w.load(3).Token.OwnerVersion, uint64(0), "OwnerVersion of a token that has none")
		check("after the insert", 2)
		w.update(2, func(t *latchkey.Token) { t.Name = "edited" })
		w.update(1, func(t *latchkey.Token) { t.Name = "edited" })
		check("after an edit", 2)
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(2), Add: secret(20)}}})
		check("with a new secret", 2, 20)
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(2), Retire: digest(2),
			At: noon.Add(time.Minute)}}})
		check("after a retirement", 2, 20)
		w.write(latchkey.Write{Silent: true,
			Secrets: []latchkey.SecretChange{{TokenID: id(2), Retire: digest(20), Add: secret(21), Replace: true}}})
		check("under another key", 2, 21)
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon,
			Last: []latchkey.LastUsed{{Owner: acme, TokenID: id(2), At: noon}}}), "AddUsage")
		check("after a use", 2, 21)
		for range 2 { // the second time the owner may come from a cache
			o, err := w.s.Owner(w.ctx, acme)
			w.ok(err, "Owner")
			o.Since = 4
			w.write(latchkey.Write{OwnerRecord: &o})
			check("under an owner with Since", 2, 21)
		}
	}),

	newCase("write/atomic", "A Write is applied as a whole or not at all: whichever part fails, no other part has an "+
		"effect.", func(w *fixture) {
		busy := token(2)
		busy.Roles = []string{id(900)}
		w.insert(token(1), busy, minted(3, 1), token(4))
		w.write(latchkey.Write{
			Roles:       []latchkey.Role{role(900, "busy"), role(901, "free"), role(902, "renamed")},
			OwnerRecord: &latchkey.Owner{ID: acme, Extra: []byte("x")},
			Clients:     []latchkey.Client{{ID: "a", Name: "Ada"}}, Events: []latchkey.Event{{At: noon, Action: "begin"}},
		})
		state := func() []string {
			var all []any
			for n := 1; n <= 4; n++ {
				all = append(all, w.load(n), w.secrets(n))
			}
			roles, err := w.s.Roles(w.ctx, acme, latchkey.RoleQuery{})
			w.ok(err, "Roles")
			clients, err := w.s.Clients(w.ctx, acme, latchkey.Page{})
			w.ok(err, "Clients")
			events, _ := w.events(acme, latchkey.EventQuery{})
			owner, err := w.s.Owner(w.ctx, acme)
			w.ok(err, "Owner")
			return dump(append(all, w.tokens(acme, latchkey.TokenQuery{}), roles, clients, events, owner, w.since(0)))
		}
		good := func() latchkey.Write {
			t := w.load(2).Token
			t.Name, t.Roles = "changed", nil
			r := role(902, "changed")
			r.Version = 1
			return latchkey.Write{
				Tokens: []latchkey.Token{token(10), t},
				Secrets: []latchkey.SecretChange{
					{TokenID: id(10), Add: secret(10)}, {TokenID: id(2), Add: secret(11), Retire: digest(2)},
					{TokenID: id(4), Add: secret(12), Retire: digest(4), Replace: true},
				},
				DeleteTokens: refs(1),
				Roles:        []latchkey.Role{role(910, "new"), r},
				DeleteRoles:  refs(901),
				OwnerRecord:  &latchkey.Owner{ID: acme, Version: 1, Disabled: true},
				Clients:      []latchkey.Client{{ID: "a", Name: "changed"}, {ID: "b"}},
				Revocations:  []latchkey.Revocation{{ID: "stateless", Until: noon}},
				Events:       []latchkey.Event{{At: noon, Action: "never"}},
			}
		}
		version := uint64(7)
		was := state()
		for what, part := range map[string]struct {
			want  error
			spoil func(*latchkey.Write)
		}{
			"a token that exists": {latchkey.ErrExists, func(x *latchkey.Write) { x.Tokens = append(x.Tokens, token(4)) }},
			"a token in conflict": {latchkey.ErrConflict,
				func(x *latchkey.Write) { t := token(4); t.Version = 3; x.Tokens = append(x.Tokens, t) }},
			"a secret of no token": {latchkey.ErrNotFound, func(x *latchkey.Write) {
				x.Secrets = append(x.Secrets, latchkey.SecretChange{TokenID: id(99), Add: secret(99)})
			}},
			"a digest that is taken": {latchkey.ErrExists, func(x *latchkey.Write) {
				x.Secrets = append(x.Secrets, latchkey.SecretChange{TokenID: id(4), Add: secret(3)})
			}},
			"a secret that is not": {latchkey.ErrNotFound, func(x *latchkey.Write) {
				x.Secrets = append(x.Secrets, latchkey.SecretChange{TokenID: id(4), Retire: digest(98)})
			}},
			"a deletion of no token": {latchkey.ErrNotFound,
				func(x *latchkey.Write) { x.DeleteTokens = append(x.DeleteTokens, latchkey.Ref{ID: id(99)}) }},
			"a deletion in conflict": {latchkey.ErrConflict,
				func(x *latchkey.Write) { x.DeleteTokens = append(x.DeleteTokens, latchkey.Ref{ID: id(4), Version: 5}) }},
			"a role that exists": {latchkey.ErrExists,
				func(x *latchkey.Write) { x.Roles = append(x.Roles, role(900, "again")) }},
			"a role's name taken": {latchkey.ErrExists,
				func(x *latchkey.Write) { x.Roles = append(x.Roles, role(911, "busy")) }},
			"a role in conflict": {latchkey.ErrConflict,
				func(x *latchkey.Write) { r := role(900, "busy"); r.Version = 9; x.Roles = append(x.Roles, r) }},
			"a role in use": {latchkey.ErrInUse, func(x *latchkey.Write) {
				x.Tokens = x.Tokens[:1]
				x.DeleteRoles = append(x.DeleteRoles, latchkey.Ref{ID: id(900)})
			}},
			"a deletion of no role": {latchkey.ErrNotFound,
				func(x *latchkey.Write) { x.DeleteRoles = append(x.DeleteRoles, latchkey.Ref{ID: id(99)}) }},
			"an owner in conflict": {latchkey.ErrConflict, func(x *latchkey.Write) { x.OwnerRecord.Version = 2 }},
			"an owner that exists": {latchkey.ErrExists, func(x *latchkey.Write) { x.OwnerRecord.Version = 0 }},
			"a token required":     {latchkey.ErrConflict, func(x *latchkey.Write) { x.RequireTokens = refs(99) }},
			"a role required": {latchkey.ErrConflict,
				func(x *latchkey.Write) { x.RequireRoles = []latchkey.Ref{{ID: id(900), Version: 2}} }},
			"an owner required": {latchkey.ErrConflict, func(x *latchkey.Write) { x.RequireOwner = &version }},
			"holders required": {latchkey.ErrConflict,
				func(x *latchkey.Write) { x.RequireHolders = []latchkey.Holders{{RoleID: id(900)}} }},
			"an erasure with a conflict": {latchkey.ErrConflict,
				func(x *latchkey.Write) { x.Erase = true; x.RequireOwner = &version }},
		} {
			x := good()
			part.spoil(&x)
			w.refuse(part.want, x, what)
			if now := state(); !slices.Equal(now, was) {
				w.same(now, was, "after a write that failed by "+what)
			}
			w.present(1, 2, 3, 4)
			for _, n := range []int{10, 11, 12, 99} {
				if _, err := w.s.ByDigest(w.ctx, 0, digest(n)); err == nil {
					w.Errorf("%s: digest %d of a failed write is found", what, n)
				}
			}
		}
		epoch := w.epoch()
		w.same(w.write(good()), epoch+1, "the epoch of the write without a fault")
		w.absent(1)
		w.absent(3)
		w.same(w.load(2).Token.Name, "changed", "a name")
		events, _ := w.events(acme, latchkey.EventQuery{})
		w.same(events[len(events)-1].Action, "never", "the last event")
	}),
}

var secretCases = []Case{
	newCase("secrets/digest-unique", "A digest is unique within a feed, across owners and purposes. ErrExists if it "+
		"is taken.", func(w *fixture) {
		w.insert(token(1), token(2))
		w.insert(by(w.neighbour(), token(3)))
		add := func(token int, s *latchkey.SecretRecord) latchkey.Write {
			return latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(token), Add: s}}}
		}
		signing := secret(1)
		signing.Signing = true
		w.refuse(latchkey.ErrExists, add(1, secret(1)), "a token's own digest again")
		w.refuse(latchkey.ErrExists, add(2, secret(1)), "another token's digest")
		w.refuse(latchkey.ErrExists, add(1, secret(3)), "another owner's digest")
		w.refuse(latchkey.ErrExists, add(2, signing), "a digest again, for signing")
		w.refuse(latchkey.ErrExists, latchkey.Write{Tokens: []latchkey.Token{token(4)},
			Secrets: []latchkey.SecretChange{{TokenID: id(4), Add: secret(4)}, {TokenID: id(1), Add: secret(4)}}},
			"a digest twice in one write")
		w.absent(4)
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Retire: digest(1)}}})
		w.write(add(2, secret(1))) // free again
		f, err := w.s.ByDigest(w.ctx, 0, digest(1))
		w.ok(err, "ByDigest")
		w.same(f.Token.ID, id(2), "the token of a digest that moved")
		w.write(latchkey.Write{DeleteTokens: refs(2)})
		w.write(add(1, secret(2)))
	}),

	newCase("secrets/retire", "Retire ends a secret at At, or removes it at once. An end never moves later. The token's "+
		"other secrets stay.", func(w *fixture) {
		w.insert(token(1), token(2))
		end := noon.Add(time.Hour + 999*time.Nanosecond)
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: secret(5), Retire: digest(1),
			At: end}}})
		old := *secret(1)
		old.NotAfter = noon.Add(time.Hour)
		w.same(w.secrets(1), []latchkey.SecretRecord{old, *secret(5)}, "the secrets after a rotation with overlap")
		f, err := w.s.ByDigest(w.ctx, 0, digest(1))
		w.ok(err, "ByDigest of a retired secret")
		w.same(f.Secret, old, "a retired secret")
		retire := func(at time.Time) latchkey.Write {
			return latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Retire: digest(1), At: at}}}
		}
		w.write(retire(noon.Add(2 * time.Hour)))
		w.same(w.secrets(1)[0].NotAfter, noon.Add(time.Hour), "the end after retiring it for later")
		w.write(retire(noon.Add(time.Minute)))
		w.same(w.secrets(1)[0].NotAfter, noon.Add(time.Minute), "the end after retiring it for earlier")
		w.write(retire(noon)) // not after Write.At
		w.same(w.secrets(1), []latchkey.SecretRecord{*secret(5)}, "the secrets after one was retired for now")
		_, err = w.s.ByDigest(w.ctx, 0, digest(1))
		w.failed(latchkey.ErrNotFound, err, "ByDigest of a secret retired for now")
		w.refuse(latchkey.ErrNotFound, retire(time.Time{}), "retiring it again")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(2),
			Retire: digest(5)}}}, "retiring another token's secret")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(3),
			Add: secret(9)}}}, "a secret for no token")
		w.refuse(latchkey.ErrInvalid, latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1)}}},
			"a change of nothing")
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Retire: digest(5)}}})
		w.same(len(w.secrets(1)), 0, "how many secrets are left")
		w.load(1)
		w.present(2)
	}),

	newCase("secrets/replace", "Replace puts a secret under another key: digest, key and seal are new. All else stays, "+
		"its end too.", func(w *fixture) {
		w.insert(token(1))
		old := latchkey.SecretRecord{Digest: digest(5), KeyID: 1, Sealed: []byte("old"), Signing: true, Hint: "old",
			Created: noon.Add(-time.Hour)}
		ending := latchkey.SecretRecord{Digest: digest(6), KeyID: 1, Hint: "ending", Created: noon.Add(time.Hour),
			NotAfter: noon.Add(2 * time.Hour)}
		w.write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: &old}, {TokenID: id(1), Add: &ending}}})
		add := func(n int) *latchkey.SecretRecord {
			return &latchkey.SecretRecord{Digest: digest(n), KeyID: 2, Sealed: []byte("new"), Hint: "new",
				Created: noon.Add(9 * time.Hour)}
		}
		replace := func(from, to int) latchkey.Write {
			return latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: add(to), Retire: digest(from),
				Replace: true}}}
		}
		w.write(replace(5, 15))
		w.write(replace(6, 16))
		old.Digest, old.KeyID, old.Sealed = digest(15), 2, []byte("new")
		ending.Digest, ending.KeyID, ending.Sealed = digest(16), 2, []byte("new")
		w.same(w.secrets(1), []latchkey.SecretRecord{old, *secret(1), ending}, "the secrets")
		_, err := w.s.ByDigest(w.ctx, 0, digest(6))
		w.failed(latchkey.ErrNotFound, err, "ByDigest of the old digest")
		f, err := w.s.ByDigest(w.ctx, 0, digest(6), digest(16))
		w.ok(err, "ByDigest of the new digest")
		w.same(f.Secret, ending, "the secret")
		w.refuse(latchkey.ErrNotFound, replace(6, 26), "replacing what was replaced")
		w.refuse(latchkey.ErrExists, replace(16, 1), "replacing by a digest that is taken")
		w.refuse(latchkey.ErrInvalid, latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(1), Add: add(30),
			Replace: true}}}, "replacing nothing")
		w.same(len(w.secrets(1)), 3, "how many secrets there are")
		again := replace(16, 16) // sealed anew, the digest the same
		again.Secrets[0].Add.Sealed = []byte("newer")
		w.write(again)
		ending.Sealed = []byte("newer")
		w.same(w.secrets(1)[2], ending, "a secret sealed anew")
		w.present(1)
	}),
}
