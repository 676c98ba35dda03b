package storetest

import (
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

var removeCases = []Case{
	newCase("delete/tokens", "DeleteTokens removes a token, its secrets, and every token minted from it, and nothing of "+
		"another owner.", func(w *fixture) {
		grandchild := minted(4, 2)
		w.insert(token(1), minted(2, 1), minted(3, 1), grandchild, token(5), minted(6, 5))
		w.insert(by(globex, token(101)))
		theirs := by(globex, minted(102, 1)) // the same parent id, of another owner
		w.insert(theirs)
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{
			{Owner: acme, TokenID: id(2), Meter: "m", Day: "2026-11-22", Count: 5}}}), "AddUsage")
		w.refuse(latchkey.ErrConflict, latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: id(1), Version: 2}}},
			"another version")
		w.refuse(latchkey.ErrConflict, latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: id(9), Version: 1}}},
			"a version of what is gone")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{DeleteTokens: refs(9)}, "no such token")
		w.present(1, 2, 3, 4, 5, 6)
		// One of them is deleted with its parent already. That is no error.
		w.write(latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: id(1), Version: 1}, {ID: id(4)}}})
		for n := 1; n <= 4; n++ {
			w.absent(n)
		}
		w.present(5, 6)
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{})), []int{5, 6}, "what is left")
		w.same(numbers(w.tokens(globex, latchkey.TokenQuery{})), []int{101, 102}, "the same holders, of another owner")
		usage, err := w.s.Usage(w.ctx, acme, latchkey.UsageQuery{TokenIDs: []string{id(2)}})
		w.ok(err, "Usage")
		w.same(usage[0].Count, int64(5), "the usage of a deleted token")
		w.insert(token(1)) // id and digest are free again, and nothing deleted comes back
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{})), []int{1, 5, 6}, "what is there")
	}),

	newCase("delete/deep", "However long the chain of minted tokens is, deleting its first deletes all of it, and no "+
		"other token.", func(w *fixture) {
		const depth = 1000
		line := make([]latchkey.Token, 0, 2*depth)
		for n := 1; n <= depth; n++ {
			t, other := minted(n, n-1), minted(depth+n, depth+n-1)
			if n == 1 {
				t, other = token(1), token(depth+1)
			}
			line = append(line, t, other)
		}
		for part := range slices.Chunk(line, 500) {
			w.insert(part...)
		}
		before := w.epoch()
		w.same(w.write(latchkey.Write{DeleteTokens: refs(1)}), before+1, "the epoch: one transaction")
		for _, n := range []int{1, 2, 500, depth} {
			w.absent(n)
		}
		w.present(depth+1, 2*depth)
		w.same(len(w.tokens(acme, latchkey.TokenQuery{Page: latchkey.Page{Limit: 1000}})), depth, "how many are left")
		w.same(len(w.since(before)), depth, "how many changes are in the feed")
	}),

	newCase("delete/roles", "DeleteRoles is ErrInUse while another role inherits it, or a token names it that is neither "+
		"revoked nor minted.", func(w *fixture) {
		var roles []latchkey.Role
		for n, name := range []string{"base", "heir", "named", "revoked", "minted", "expired", "disabled", "free", "self"} {
			roles = append(roles, role(900+n, name))
		}
		roles[1].Inherits, roles[8].Inherits = []string{id(900)}, []string{id(908)}
		w.write(latchkey.Write{Roles: roles})
		w.write(latchkey.Write{Owner: globex, Roles: []latchkey.Role{by(globex, role(907, "free"))}})
		named, revoked, child, expired, disabled := token(1), token(2), minted(3, 1), token(4), token(5)
		named.Roles, revoked.Roles, child.Roles = []string{id(907 + 50), id(902)}, []string{id(903)}, []string{id(904)}
		expired.Roles, disabled.Roles = []string{id(905)}, []string{id(906)}
		revoked.Revoked, expired.Validity.NotAfter, disabled.Disabled = noon, noon.Add(-time.Hour), true
		w.insert(named, revoked, child, expired, disabled)
		theirs := by(globex, token(6))
		theirs.Roles = []string{id(907)}
		w.insert(theirs)

		w.refuse(latchkey.ErrInUse, latchkey.Write{DeleteRoles: refs(900)}, "a role that another inherits")
		w.refuse(latchkey.ErrInUse, latchkey.Write{DeleteRoles: refs(902)}, "a role that a token names")
		w.refuse(latchkey.ErrInUse, latchkey.Write{DeleteRoles: refs(905)}, "a role that an expired token names")
		w.refuse(latchkey.ErrInUse, latchkey.Write{DeleteRoles: refs(906)}, "a role that a disabled token names")
		w.refuse(latchkey.ErrInUse, latchkey.Write{DeleteRoles: refs(907, 902)}, "two roles, one of them named")
		w.refuse(latchkey.ErrNotFound, latchkey.Write{DeleteRoles: refs(999)}, "no such role")
		w.refuse(latchkey.ErrConflict, latchkey.Write{DeleteRoles: []latchkey.Ref{{ID: id(907), Version: 2}}},
			"another version")
		w.refuse(latchkey.ErrConflict, latchkey.Write{DeleteRoles: []latchkey.Ref{{ID: id(999), Version: 1}}},
			"a version of what is gone")

		w.write(latchkey.Write{DeleteRoles: refs(903, 904, 908)})
		w.write(latchkey.Write{DeleteRoles: []latchkey.Ref{{ID: id(907), Version: 1}}})
		w.write(latchkey.Write{DeleteRoles: refs(900, 901)}) // together
		freed := w.load(1).Token
		freed.Roles = nil
		w.write(latchkey.Write{Tokens: []latchkey.Token{freed}, DeleteRoles: refs(902)})
		w.write(latchkey.Write{DeleteTokens: refs(4), DeleteRoles: refs(905)})
		for n := 900; n <= 908; n++ {
			_, err := w.s.Role(w.ctx, acme, id(n))
			if n == 906 {
				w.ok(err, "Role that is in use")
			} else {
				w.failed(latchkey.ErrNotFound, err, "Role that was deleted")
			}
		}
		w.same(len(w.load(3).Roles), 0, "the roles of a minted token whose role is gone")
		_, err := w.s.Role(w.ctx, globex, id(907))
		w.ok(err, "another owner's role")
	}),

	newCase("erase", "Erase removes everything of the owner except the events of that Write. No other owner loses "+
		"anything.", func(w *fixture) {
		reserve := latchkey.Reservation{Owner: acme, Key: w.key(), Amount: 4, Until: noon,
			Accounts: []latchkey.CreditAccount{{Meter: "m", Limit: 4}}}
		for _, owner := range []string{acme, globex} {
			n := map[string]int{acme: 1, globex: 11}[owner]
			t, child := by(owner, token(n)), by(owner, minted(n+1, n))
			t.Roles = []string{id(900)}
			w.insert(t, child)
			w.write(latchkey.Write{Owner: owner, Roles: []latchkey.Role{by(owner, role(900, "r"))},
				OwnerRecord: &latchkey.Owner{ID: owner, Disabled: true}, Clients: []latchkey.Client{{ID: "a", Name: "Ada"}},
				Events: []latchkey.Event{{At: noon, Action: "begin"}}})
			w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon, Rows: []latchkey.UsageRow{
				{Owner: owner, TokenID: id(n), Meter: "m", Day: "2026-11-22", Count: 5}}}), "AddUsage")
			w.ok(w.s.Once(w.ctx, owner, digest(7), noon.Add(time.Hour)), "Once")
			reserve.Owner = owner
			_, err := w.s.Reserve(w.ctx, reserve)
			w.ok(err, "Reserve")
		}
		events, _ := w.events(acme, latchkey.EventQuery{})
		begin := events[0].Seq
		before := w.epoch()
		x := latchkey.Write{ID: w.key(), Erase: true, Events: []latchkey.Event{{At: noon, Action: "erase"}}}
		epoch := w.write(x)
		w.same(epoch, before+1, "the epoch")
		w.same(w.since(before), []latchkey.Change{{Epoch: epoch, Owner: acme, Kind: latchkey.ChangedOwner, ID: acme}},
			"the feed")

		left := func(owner string) (counts []int) {
			roles, err := w.s.Roles(w.ctx, owner, latchkey.RoleQuery{})
			w.ok(err, "Roles")
			clients, err := w.s.Clients(w.ctx, owner, latchkey.Page{})
			w.ok(err, "Clients")
			o, err := w.s.Owner(w.ctx, owner)
			w.ok(err, "Owner")
			usage, err := w.s.Usage(w.ctx, owner, latchkey.UsageQuery{By: []string{"token"}})
			w.ok(err, "Usage")
			return []int{len(w.tokens(owner, latchkey.TokenQuery{})), len(roles), len(clients), int(o.Version), len(usage)}
		}
		w.same(left(acme), []int{0, 0, 0, 0, 0}, "tokens, roles, clients, the owner's version, usage")
		w.same(left(globex), []int{2, 1, 1, 1, 1}, "the same of another owner")
		w.absent(1)
		w.absent(2)
		events, _ = w.events(acme, latchkey.EventQuery{})
		if len(events) != 1 || events[0].Action != "erase" || events[0].Seq <= begin {
			w.Errorf("events: got %v, want the one of the erasure, with a Seq above %d", events, begin)
		}
		w.failed(latchkey.ErrNotFound, w.s.Settle(w.ctx, acme, reserve.Key, 0), "Settle of an erased reservation")
		reserve.Owner = acme
		_, err := w.s.Reserve(w.ctx, reserve)
		w.ok(err, "Reserve from an account that was erased")
		w.ok(w.s.Once(w.ctx, acme, digest(7), noon.Add(time.Hour)), "Once with a key that was erased")
		w.failed(latchkey.ErrExists, w.s.Once(w.ctx, globex, digest(7), noon.Add(time.Hour)), "Once with another owner's key")
		w.failed(latchkey.ErrConflict, reserveAgain(w, globex, reserve),
			"Reserve with another owner's key and another amount")

		w.insert(token(1)) // the digest is free again
		again := w.write(x)
		w.same(again, epoch, "the epoch of the erasure, repeated")
		w.present(1)
	}),
}

func reserveAgain(w *fixture, owner string, r latchkey.Reservation) error {
	r.Owner = owner
	r.Amount--
	_, err := w.s.Reserve(w.ctx, r)
	return err
}
