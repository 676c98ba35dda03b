package storetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// sorted returns changes with those of each transaction in a fixed order. A store may return them in any order.
func sorted(changes []latchkey.Change) []latchkey.Change {
	changes = slices.Clone(changes)
	slices.SortFunc(changes, func(a, b latchkey.Change) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return changes
}

var feedCases = []Case{
	newCase("feed/what-changes", "A change of a token, its secrets, a role, the owner, or a revocation advances the "+
		"epoch by one and is in the feed.", func(w *fixture) {
		w.insert(token(1), minted(2, 1), token(3), token(4))
		full := w.load(1).Token
		full.Name = "new"
		steps := []struct {
			what string
			x    latchkey.Write
			want []latchkey.Change
		}{
			{"a new role", latchkey.Write{Roles: []latchkey.Role{role(900, "a"), role(901, "b")}},
				[]latchkey.Change{{Kind: latchkey.ChangedRole, ID: id(900)}, {Kind: latchkey.ChangedRole, ID: id(901)}}},
			{"a token", latchkey.Write{Tokens: []latchkey.Token{full}},
				[]latchkey.Change{{Kind: latchkey.ChangedToken, ID: id(1)}}},
			{"a secret more", latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(3), Add: secret(30)}}},
				[]latchkey.Change{{Kind: latchkey.ChangedToken, ID: id(3)}}},
			{"a secret less", latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(3), Retire: digest(3)}}},
				[]latchkey.Change{{Kind: latchkey.ChangedToken, ID: id(3)}}},
			{"a secret replaced", latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: id(3), Retire: digest(30),
				Add: secret(31), Replace: true}}},
				[]latchkey.Change{{Kind: latchkey.ChangedToken, ID: id(3)}}},
			{"the owner", latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}},
				[]latchkey.Change{{Kind: latchkey.ChangedOwner, ID: acme}}},
			{"a revocation", latchkey.Write{Revocations: []latchkey.Revocation{{ID: "s", Until: noon.Add(time.Hour)}}},
				[]latchkey.Change{{Kind: latchkey.ChangedRevocation, ID: "s", Until: noon.Add(time.Hour)}}},
			{"a deletion, with the minted", latchkey.Write{DeleteTokens: refs(1)},
				[]latchkey.Change{{Kind: latchkey.ChangedToken, ID: id(1)}, {Kind: latchkey.ChangedToken, ID: id(2)}}},
			{"a role deleted", latchkey.Write{DeleteRoles: refs(901)},
				[]latchkey.Change{{Kind: latchkey.ChangedRole, ID: id(901)}}},
			{"many things, one of them twice, with new ones beside", latchkey.Write{
				Tokens: []latchkey.Token{w.load(4).Token, token(5)},
				Secrets: []latchkey.SecretChange{{TokenID: id(4), Add: secret(40)}, {TokenID: id(4), Add: secret(41)},
					{TokenID: id(5), Add: secret(5)}},
				DeleteRoles: refs(900), OwnerRecord: &latchkey.Owner{ID: acme, Version: 1},
				Clients: []latchkey.Client{{ID: "a"}}, Events: []latchkey.Event{{At: noon}},
			}, []latchkey.Change{{Kind: latchkey.ChangedToken, ID: id(4)}, {Kind: latchkey.ChangedRole, ID: id(900)},
				{Kind: latchkey.ChangedOwner, ID: acme}}},
		}
		begin := w.epoch()
		var all []latchkey.Change
		for _, step := range steps {
			before := w.epoch()
			epoch := w.write(step.x)
			w.same(epoch, before+1, "the epoch of "+step.what)
			w.same(w.epoch(), epoch, "the store's epoch after "+step.what)
			for i := range step.want {
				step.want[i].Epoch, step.want[i].Owner = epoch, acme
			}
			w.same(sorted(w.since(before)), step.want, "the feed after "+step.what)
			all = append(all, step.want...)
		}
		w.same(sorted(w.since(begin)), all, "the whole feed")
		w.same(len(w.since(w.epoch())), 0, "how much comes after the last")
	}),

	newCase("feed/what-does-not", "New tokens, names of clients, events, usage, credits, Once and Purge change neither "+
		"the epoch nor the feed.", func(w *fixture) {
		w.insert(token(1))
		w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}})
		before, version := w.epoch(), w.load(1).Token.Version
		same := func(what string) {
			w.Helper()
			w.same(w.epoch(), before, "the epoch after "+what)
			w.same(len(w.since(before)), 0, "how much is in the feed after "+what)
		}
		x := latchkey.Write{
			Tokens:  []latchkey.Token{token(2), minted(3, 2)},
			Secrets: []latchkey.SecretChange{{TokenID: id(2), Add: secret(2)}, {TokenID: id(3), Add: secret(3)}},
			Clients: []latchkey.Client{{ID: "a"}}, Events: []latchkey.Event{{At: noon}}, RequireTokens: refs(1),
		}
		w.same(w.write(x), before, "the epoch of new tokens")
		same("new tokens")
		w.same(w.write(latchkey.Write{}), before, "the epoch of nothing at all")
		w.ok(w.addUsage(latchkey.UsageBatch{ID: w.key(), At: noon,
			Rows: []latchkey.UsageRow{{Owner: acme, TokenID: id(1), Count: 1, Day: "2026-11-22"}},
			Last: []latchkey.LastUsed{{Owner: acme, TokenID: id(1), At: noon}}}), "AddUsage")
		w.same(w.load(1).Token.Used, noon, "Used after a last use")
		w.same(w.load(1).Token.Version, version, "the token's version after a last use")
		same("usage")
		w.ok(w.s.Once(w.ctx, acme, digest(1), noon), "Once")
		r := latchkey.Reservation{Owner: acme, Key: w.key(), Amount: 1, Until: noon,
			Accounts: []latchkey.CreditAccount{{Limit: 2}}}
		_, err := w.s.Reserve(w.ctx, r)
		w.ok(err, "Reserve")
		w.ok(w.s.Settle(w.ctx, acme, r.Key, 1), "Settle")
		same("counting")
		w.refuse(latchkey.ErrConflict, latchkey.Write{Revocations: []latchkey.Revocation{{ID: "x"}},
			RequireTokens: refs(9)}, "a failing write")
		same("a failing write")
		_, err = w.tryPurge(latchkey.PurgePolicy{Now: noon.AddDate(1, 0, 0), Changes: -1}, 1000)
		w.ok(err, "Purge")
		w.absent(3)
		same("a purge")
	}),

	newCase("feed/silent", "A Silent write changes neither the epoch nor the feed.", func(w *fixture) {
		w.insert(token(1))
		w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}})
		before := w.epoch()
		epoch := w.write(latchkey.Write{Silent: true,
			Secrets: []latchkey.SecretChange{{TokenID: id(1), Retire: digest(1), Add: secret(2), Replace: true}}})
		w.same(epoch, before, "the epoch of a re-digested secret")
		w.same(w.epoch(), before, "the store's epoch")
		w.same(len(w.since(before)), 0, "how much is in the feed")
		f, err := w.s.ByDigest(w.ctx, 0, digest(2))
		w.ok(err, "ByDigest")
		w.same(f.Epoch, before, "the epoch of what is found")
	}),

	newCase("feed/clock", "Changes with n = 0 returns the epoch and the clock alone. Now is UTC and does not go "+
		"back.", func(w *fixture) {
		w.write(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: acme}})
		var last time.Time
		for _, n := range []int{0, 1, 0, 10} {
			f, err := w.changes(0, n)
			w.ok(err, "Changes")
			if f.Now.IsZero() || f.Now.Location() != time.UTC || f.Now.Before(last) {
				w.Errorf("Feed.Now: got %v after %v", f.Now, last)
			}
			if last = f.Now; n == 0 && len(f.Changes) > 0 {
				w.Errorf("Changes with n = 0 holds changes")
			}
		}
	}),

	newCase("feed/revocations", "A revocation of stateless tokens is in the feed as it was written: what it is of, "+
		"Before, and Until. It stays so when the history before it is gone.", func(w *fixture) {
		client := strings.Repeat("é", 128) // 256 bytes
		all := []latchkey.Revocation{
			{ID: id(1), Until: noon},
			{Of: latchkey.RevokedParent, ID: id(1), Until: noon.Add(time.Hour)},
			{Of: latchkey.RevokedClient, ID: client, Before: noon.Add(999), Until: noon.Add(time.Hour)},
			{Of: latchkey.RevokedOwner, Before: time.Date(1960, 1, 1, 0, 0, 0, 1000, time.UTC), Until: noon.Add(time.Hour)},
			{Of: latchkey.RevokedOwner},
			{ID: id(2), Before: noon, Until: noon},
			{Of: latchkey.RevokedClient, ID: "42:\x01'", Until: noon},
			{ID: "\x012:42"},
			{Of: latchkey.RevokedClient, ID: ""},
			{Of: latchkey.RevokedClient, ID: "42", Before: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), Until: noon},
			{Of: latchkey.RevokedClient, ID: "42", Until: noon},
		}
		before := w.epoch()
		epoch := w.write(latchkey.Write{Revocations: all, OwnerRecord: &latchkey.Owner{ID: acme}})
		want := []latchkey.Change{}
		for _, r := range all {
			want = append(want, latchkey.Change{Epoch: epoch, Owner: acme, Kind: latchkey.ChangedRevocation, ID: r.ID,
				Of: r.Of, Before: r.Before.Truncate(time.Microsecond), Until: r.Until})
		}
		check := func(when string) {
			w.Helper()
			f, err := w.changes(before, 100)
			w.ok(err, "Changes")
			var got []latchkey.Change
			for _, c := range f.Changes {
				if c.Kind == latchkey.ChangedRevocation {
					got = append(got, c)
				} else {
					w.same([2]any{c.Of, c.Before}, [2]any{latchkey.RevokedToken, time.Time{}}, "what another change is of "+when)
				}
			}
			for _, list := range [][]latchkey.Change{got, want} { // those of one transaction are in any order
				slices.SortFunc(list, func(a, b latchkey.Change) int {
					return cmp.Or(cmp.Compare(a.Of, b.Of), cmp.Compare(a.ID, b.ID), a.Before.Compare(b.Before))
				})
			}
			w.same(got, want, "the revocations "+when)
		}
		check("at first")
		for what, r := range map[string]latchkey.Revocation{
			"a kind that there is not": {Of: latchkey.RevokedOwner + 1, ID: "x"},
			"an owner with an id":      {Of: latchkey.RevokedOwner, ID: acme},
		} {
			w.refuse(latchkey.ErrInvalid, latchkey.Write{Revocations: []latchkey.Revocation{r}}, what)
		}
		p := keepAll(noon.Add(time.Hour))
		p.Changes = time.Minute
		w.purge(p, 1000)
		check("after a purge of the history")
		p.Revoked = 30 * time.Minute
		w.purge(p, 1000)
		want = slices.DeleteFunc(want, func(c latchkey.Change) bool { return c.Until.Equal(noon) })
		check("after those that are over were purged")
	}),

	newCase("feed/lasting", "Revocations lists, by their Until and page by page, the revocations of a feed that last "+
		"beyond a time, also when the history before them is gone. Those without an Until are over.", func(w *fixture) {
		feed := w.s.Locate(acme).Feed
		list := func(until time.Time, size int) (all []latchkey.Change) {
			w.Helper()
			q := latchkey.RevocationQuery{Page: latchkey.Page{Limit: size}, Feed: feed, Until: until}
			for range 100 {
				page, next, err := w.s.Revocations(w.ctx, q)
				w.ok(err, "Revocations")
				if len(page) > size || next != "" && len(page) == 0 {
					w.Fatalf("Revocations: %d on a page of %d", len(page), size)
				}
				if all = append(all, page...); next == "" {
					return all
				}
				q.After = next
			}
			w.Fatalf("Revocations never comes to an end")
			return nil
		}
		w.same(list(time.Time{}, 10), []latchkey.Change(nil), "revocations before there was any")
		var want []latchkey.Change
		for i, r := range []latchkey.Revocation{
			{Of: latchkey.RevokedClient, ID: "42", Before: noon.Add(999), Until: noon.Add(3 * time.Minute)},
			{ID: id(1), Until: noon.Add(time.Minute)},
			{ID: id(2)},
			{Of: latchkey.RevokedOwner, Until: noon.Add(2 * time.Minute)},
			{Of: latchkey.RevokedParent, ID: id(3), Until: noon.Add(2 * time.Minute)},
			{ID: id(4), Until: noon.Add(time.Minute)},
		} {
			epoch := w.write(latchkey.Write{Revocations: []latchkey.Revocation{r}, OwnerRecord: &latchkey.Owner{ID: acme,
				Version: uint64(i)}})
			if !r.Until.IsZero() {
				want = append(want, latchkey.Change{Epoch: epoch, Owner: acme, Kind: latchkey.ChangedRevocation, ID: r.ID,
					Of: r.Of, Before: r.Before.Truncate(time.Microsecond), Until: r.Until})
			}
		}
		both := []latchkey.Revocation{{ID: id(5), Until: noon.Add(time.Hour)}, {ID: id(6), Until: noon.Add(time.Hour)}}
		epoch := w.write(latchkey.Write{Revocations: both})
		for _, r := range both {
			want = append(want, latchkey.Change{Epoch: epoch, Owner: acme, Kind: latchkey.ChangedRevocation, ID: r.ID,
				Until: r.Until})
		}
		slices.SortStableFunc(want, func(a, b latchkey.Change) int {
			return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Epoch, b.Epoch))
		})
		check := func(when string) {
			w.Helper()
			for _, size := range []int{1, 2, 10} {
				w.same(sorted(list(time.Time{}, size)), sorted(slices.Clone(want)), fmt.Sprint("revocations ", when, ", by ", size))
				last := slices.DeleteFunc(slices.Clone(want), func(c latchkey.Change) bool {
					return !c.Until.After(noon.Add(2 * time.Minute))
				})
				w.same(sorted(list(noon.Add(2*time.Minute), size)), sorted(last), fmt.Sprint("those that last longer ", when))
			}
			got := list(time.Time{}, 3)
			w.same(slices.IsSortedFunc(got, func(a, b latchkey.Change) int { return a.Until.Compare(b.Until) }), true,
				"the order of revocations is that of their Until")
		}
		check("at first")
		p := keepAll(noon)
		p.Changes = time.Nanosecond
		w.purge(p, 1000)
		check("when their history is gone")
		for _, after := range []string{"x", "1.2", "1.2.%", "1.2.3.4"} {
			_, _, err := w.s.Revocations(w.ctx, latchkey.RevocationQuery{Feed: feed, Page: latchkey.Page{After: after}})
			w.failed(latchkey.ErrInvalid, err, "Revocations after what no page said")
		}
		_, _, err := w.s.Revocations(w.ctx, latchkey.RevocationQuery{Feed: 1 << 31})
		w.failed(latchkey.ErrInvalid, err, "Revocations of a feed that does not exist")
	}),

	newCase("feed/pages", "A page of the feed holds whole transactions: at most n changes, or one transaction that is "+
		"longer.", func(w *fixture) {
		begin := w.epoch()
		var want []latchkey.Change
		for i, size := range []int{5, 1, 2, 2, 7, 1} {
			var x latchkey.Write
			for j := range size {
				name := fmt.Sprint(i, "-", j)
				x.Revocations = append(x.Revocations, latchkey.Revocation{ID: name, Until: noon})
				want = append(want, latchkey.Change{Epoch: begin + uint64(i) + 1, Owner: acme,
					Kind: latchkey.ChangedRevocation, ID: name, Until: noon})
			}
			w.write(x)
		}
		for n, sizes := range map[int][]int{1: {5, 1, 2, 2, 7, 1}, 3: {5, 3, 2, 7, 1}, 5: {5, 5, 7, 1}, 6: {6, 4, 7, 1},
			9: {8, 9, 1}, 100: {18}} {
			var got []latchkey.Change
			var pages []int
			for after := begin; ; {
				f, err := w.changes(after, n)
				w.ok(err, "Changes")
				w.same(f.Epoch, begin+6, "the epoch of a page")
				if len(f.Changes) == 0 || len(pages) > len(want) {
					break
				}
				got, pages = append(got, f.Changes...), append(pages, len(f.Changes))
				after = f.Changes[len(f.Changes)-1].Epoch
			}
			w.same(pages, sizes, fmt.Sprintf("the pages with n = %d", n))
			w.same(sorted(got), want, fmt.Sprintf("the feed read with n = %d", n))
		}
	}),

	newCase("feed/truncated", "A reader that is behind the history, or ahead of the store, is told that the feed is "+
		"truncated. No other is.", func(w *fixture) {
		begin := w.epoch()
		old, young := noon.Add(-2*time.Hour), noon
		live := latchkey.Revocation{ID: "live", Until: noon.Add(time.Hour)}
		for i, at := range []time.Time{old, old, old, young, young} {
			x := latchkey.Write{At: at, OwnerRecord: &latchkey.Owner{ID: acme, Version: uint64(i)}}
			if i == 1 {
				x.Revocations = []latchkey.Revocation{live, {ID: "over", Until: noon.Add(-time.Hour)}}
			}
			w.write(x)
		}
		feed := func(after uint64) latchkey.Feed {
			f, err := w.changes(after, 100)
			w.ok(err, "Changes")
			return f
		}
		w.same(feed(begin).Truncated, false, "Truncated, at the beginning of a whole history")
		_, err := w.tryPurge(latchkey.PurgePolicy{Now: noon, Expired: -1, Revoked: 0, Changes: time.Hour}, 100)
		w.ok(err, "Purge")
		for after, want := range map[uint64]bool{begin: true, begin + 1: true, begin + 2: true, begin + 3: false,
			begin + 4: false, begin + 5: false, begin + 6: true, 1 << 40: true} {
			w.same(feed(after).Truncated, want, fmt.Sprintf("Truncated after epoch %d of %d to %d, three of them purged",
				after, begin+1, begin+5))
		}
		w.same(len(feed(begin+3).Changes), 2, "how many changes are left")
		// A stateless token that was revoked stays revoked for later readers.
		var kept []string
		for _, c := range feed(begin).Changes {
			if c.Kind == latchkey.ChangedRevocation {
				kept = append(kept, c.ID)
				w.same(c, latchkey.Change{Epoch: begin + 2, Owner: acme, Kind: latchkey.ChangedRevocation, ID: live.ID,
					Until: live.Until}, "a revocation")
			}
		}
		w.same(kept, []string{"live"}, "the revocations that are left")
		f, err := w.changes(begin, 0)
		w.ok(err, "Changes")
		w.same(f.Truncated, false, "Truncated with n = 0")
		w.same(w.epoch(), begin+5, "the epoch after a purge")
	}),

	newCase("feed/commit-order", "With many writers, every poller sees every transaction whole, once, in order and "+
		"without a gap. Records are as they were at Found.Epoch.", func(w *fixture) {
		const writers, rounds, each = 6, 12, 2
		// Writer i has the tokens 100i and 100i+1 and changes both, or one.
		for i := range writers {
			w.insert(token(100*(i+1)), token(100*(i+1)+1))
		}
		begin := w.epoch()
		var mu sync.Mutex
		order := make([][][]string, writers) // by writer: the ids of each of its transactions
		type sighting struct {
			id             string
			epoch, version uint64
		}
		var seen []sighting
		var polled []map[uint64][]string // by poller and epoch: the ids of the transaction
		var writing, polling sync.WaitGroup
		for i := range writers {
			writing.Go(func() {
				for round := range rounds {
					var x latchkey.Write
					var ids []string
					for j := range each - round%2 {
						f, err := w.s.Load(w.ctx, acme, id(100*(i+1)+j))
						if err != nil {
							w.Errorf("Load: %v", err)
							return
						}
						f.Token.Name = fmt.Sprint("round ", round)
						x.Tokens, ids = append(x.Tokens, f.Token), append(ids, f.Token.ID)
					}
					if err := w.try(x); err != nil {
						w.Errorf("Write: %v", err)
						return
					}
					order[i] = append(order[i], ids)
				}
			})
		}
		done := make(chan struct{})
		for p := range 4 {
			polling.Go(func() {
				after, got := begin, make(map[uint64][]string)
				for last := false; ; {
					n := 1 + 333*(p%2) // some pollers read one page at a time
					f, err := w.changes(after, n)
					if err != nil {
						w.Errorf("Changes: %v", err)
						return
					}
					if f.Truncated {
						w.Errorf("Changes after %d: truncated", after)
						return
					}
					for _, c := range f.Changes {
						if c.Epoch != after && c.Epoch != after+1 {
							w.Errorf("a poller saw epoch %d after %d", c.Epoch, after)
							return
						}
						after = c.Epoch
						got[after] = append(got[after], c.ID)
					}
					if n > 1 && after < f.Epoch {
						w.Errorf("a page ends at %d, but its epoch is %d: it was not read before the changes", after, f.Epoch)
						return
					}
					for _, c := range f.Changes {
						found, err := w.s.Load(w.ctx, acme, c.ID)
						if err != nil || found.Epoch < c.Epoch {
							w.Errorf("Load after epoch %d: epoch %d, error %v", c.Epoch, found.Epoch, err)
							return
						}
						mu.Lock()
						seen = append(seen, sighting{c.ID, found.Epoch, found.Token.Version})
						mu.Unlock()
					}
					if len(f.Changes) > 0 {
						continue
					}
					if last {
						break
					}
					select {
					case <-done:
						last = true // one more read
					case <-time.After(time.Millisecond):
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for _, ids := range got {
					slices.Sort(ids)
				}
				polled = append(polled, got)
			})
		}
		writing.Wait()
		close(done)
		polling.Wait()
		w.same(w.epoch(), begin+writers*rounds, "the epoch")
		var wrote map[uint64][]string
		for _, got := range polled {
			if wrote == nil {
				wrote = got
			}
			if !maps.EqualFunc(got, wrote, slices.Equal[[]string]) {
				w.Errorf("two pollers saw different transactions: %d and %d of them", len(got), len(wrote))
			}
			// What each writer wrote, in its order.
			saw := make([][][]string, writers)
			for _, epoch := range slices.Sorted(maps.Keys(got)) {
				i := number(got[epoch][0])/100 - 1
				saw[i] = append(saw[i], got[epoch])
			}
			w.same(saw, order, "the transactions of each writer, as a poller saw them")
		}
		for _, s := range seen {
			version := uint64(1)
			for epoch, ids := range wrote {
				if epoch <= s.epoch && slices.Contains(ids, s.id) {
					version++
				}
			}
			if s.version != version {
				w.Errorf("Load at epoch %d shows version %d of %s; there it was %d", s.epoch, s.version, s.id, version)
				break
			}
		}
	}),

	newCase("found/snapshot", "ByDigest and Load return one consistent snapshot of token, ancestors, roles and "+
		"owner.", func(w *fixture) {
		parent, child := token(1), minted(2, 1)
		parent.Roles = []string{id(900)}
		w.insert(parent, child)
		w.write(latchkey.Write{Roles: []latchkey.Role{role(900, "0")},
			OwnerRecord: &latchkey.Owner{ID: acme, Extra: []byte("0")}})
		p, c := w.load(1).Token, w.load(2).Token
		p.Name, c.Name = "0", "0"
		w.write(latchkey.Write{Tokens: []latchkey.Token{p, c}})
		ctx, stop := context.WithCancel(w.ctx)
		defer stop()
		var all sync.WaitGroup
		for reader := range 3 {
			all.Go(func() {
				for ctx.Err() == nil {
					f, err := w.s.ByDigest(w.ctx, 0, digest(2))
					if reader == 0 {
						f, err = w.s.Load(w.ctx, acme, id(2))
					}
					if err != nil || len(f.Ancestors) != 1 || len(f.Roles) != 1 {
						w.Errorf("read: error %v, %d ancestors, %d roles", err, len(f.Ancestors), len(f.Roles))
						return
					}
					if a, b, c, d := f.Token.Name, f.Ancestors[0].Name, f.Roles[0].Name,
						string(f.Owner.Extra); a != b || b != c || c != d {
						w.Errorf("an inconsistent read: token %s, parent %s, role %s, owner %s", a, b, c, d)
						return
					}
				}
			})
		}
		for i := range 60 {
			name, version := fmt.Sprint(i+1), uint64(i+2)
			p, c, r := p, c, role(900, name)
			p.Name, p.Version, c.Name, c.Version, r.Version = name, version, name, version, version-1
			w.write(latchkey.Write{Tokens: []latchkey.Token{p, c}, Roles: []latchkey.Role{r},
				OwnerRecord: &latchkey.Owner{ID: acme, Version: version - 1, Extra: []byte(name)}})
		}
		stop()
		all.Wait()
	}),
}
