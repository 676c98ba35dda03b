package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// operated puts tokens of two owners of one feed, for the listings of all owners, and of one of another feed if there
// is one. It returns those of the first two that were issued and are not revoked.
func (w *fixture) operated(edit func(n int, t *latchkey.Token)) (all []latchkey.Token) {
	w.Helper()
	for _, owner := range slices.Compact([]string{globex, w.neighbour(), acme}) {
		var tokens []latchkey.Token
		for n := 1; n <= 12; n++ {
			t := by(owner, token(n))
			switch n {
			case 11:
				t.Kind, t.Parent, t.Depth = latchkey.KindAccess, id(1), 1
			case 12:
				t.Revoked = noon
			}
			edit(n, &t)
			tokens = append(tokens, t)
		}
		w.write(latchkey.Write{Owner: owner, Tokens: tokens, Silent: true})
		if w.s.Locate(owner).Feed != w.s.Locate(acme).Feed {
			continue
		}
		for _, t := range tokens[:10] {
			t.Version = 1
			all = append(all, t)
		}
	}
	return all
}

var allCases = []Case{
	newCase("all/ending", "Ending lists the issued tokens of all owners that end within a time, by end, owner and id, "+
		"without those that are minted or revoked.", func(w *fixture) {
		at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Microsecond) }
		all := w.operated(func(n int, t *latchkey.Token) {
			t.Validity.NotAfter = at(n % 4)
			switch {
			case n == 5:
				t.Validity.NotAfter = time.Time{}
			case n == 6:
				t.Validity.NotAfter = time.Unix(-1, 0).UTC()
			case n == 7 && t.Owner == acme:
				t.Disabled = true
			}
		})
		feed := w.s.Locate(acme).Feed
		for what, q := range map[string]latchkey.EndingQuery{
			"all":          {},
			"from":         {From: at(1)},
			"to":           {To: at(2)},
			"between":      {From: at(1), To: at(3)},
			"finer bounds": {From: at(1).Add(1), To: at(2).Add(1)},
			"none":         {From: at(3).Add(1)},
		} {
			q.Feed = feed
			want := slices.DeleteFunc(slices.Clone(all), func(t latchkey.Token) bool { return !q.Match(t) })
			slices.SortFunc(want, q.Compare)
			if (len(want) == 0) != (what == "none") || len(want) > 18 {
				w.Fatalf("the case is wrong: %s selects %d tokens", what, len(want))
			}
			for _, limit := range []int{0, 1, 2, 5} {
				q.Limit, q.After = limit, ""
				var got []latchkey.Token
				for {
					page, err := w.s.Ending(w.ctx, q)
					w.ok(err, "Ending")
					got = append(got, page...)
					if len(page) < q.Size() || len(got) > len(want) {
						break
					}
					q.After = q.Key(page[len(page)-1])
				}
				w.same(got, want, fmt.Sprintf("%s, in pages of %d", what, limit))
			}
		}
		for what, after := range map[string]string{"an id": id(1), "a place without an owner": "1\x00" + id(1),
			"a name": "x\x00" + acme + "\x00" + id(1)} {
			_, err := w.s.Ending(w.ctx, latchkey.EndingQuery{Feed: feed, Page: latchkey.Page{After: after}})
			w.failed(latchkey.ErrInvalid, err, "after "+what)
		}
		_, err := w.s.Ending(w.ctx, latchkey.EndingQuery{Feed: 1 << 31})
		w.failed(latchkey.ErrInvalid, err, "a feed that there is not")
	}),

	newCase("all/unused", "Unused lists the issued tokens of all owners that were neither used nor made since a time, by "+
		"owner and id, without those that are minted or revoked.", func(w *fixture) {
		since := noon.Add(time.Hour)
		all := w.operated(func(n int, t *latchkey.Token) {
			switch n {
			case 2:
				t.Used = since.Add(-time.Microsecond)
			case 3:
				t.Used = since
			case 4:
				t.Created = since
			case 5:
				t.Created = since.Add(-time.Microsecond)
			case 6:
				t.Created, t.Used = time.Unix(-9, 0).UTC(), time.Unix(-1, 0).UTC()
			case 7:
				t.Disabled = t.Owner == acme
			}
		})
		feed := w.s.Locate(acme).Feed
		list := func(q latchkey.UnusedQuery) (got []latchkey.Token) {
			w.Helper()
			q.Feed = feed
			for range 1000 {
				page, next, err := w.s.Unused(w.ctx, q)
				w.ok(err, "Unused")
				if len(page) > q.Size() {
					w.Errorf("a page of %d tokens, where %d were asked for", len(page), q.Size())
				}
				if got = append(got, page...); next == "" {
					return got
				}
				q.After = next
			}
			w.Fatalf("Unused never comes to an end")
			return nil
		}
		for what, c := range map[string]struct {
			since time.Time
			want  int
		}{"an hour later": {since, 16}, "at noon": {noon, 2}, "before all": {time.Unix(-9, 0), 0},
			"much later": {noon.AddDate(1, 0, 0), 20}} {
			q := latchkey.UnusedQuery{Since: c.since}
			want := slices.DeleteFunc(slices.Clone(all), func(t latchkey.Token) bool { return !q.Match(t) })
			slices.SortFunc(want, latchkey.EndingQuery{}.Compare) // none has an end
			w.same(len(want), c.want, "how many the case selects "+what)
			for _, limit := range []int{0, 1, 3, 8} {
				q.Limit = limit
				w.same(list(q), want, fmt.Sprintf("unused %s, in pages of %d", what, limit))
			}
		}
		w.ok(w.s.AddUsage(w.ctx, latchkey.UsageBatch{ID: w.key(), At: noon, Last: []latchkey.LastUsed{
			{Owner: acme, TokenID: id(1), At: since}}}), "AddUsage")
		got := list(latchkey.UnusedQuery{Since: since})
		w.same(len(got), 15, "how many are left when one was used")
		w.same(got[0].ID, id(2), "the first of them")
		_, _, err := w.s.Unused(w.ctx, latchkey.UnusedQuery{Feed: feed, Page: latchkey.Page{After: id(1)}})
		w.failed(latchkey.ErrInvalid, err, "after an id")
		_, _, err = w.s.Unused(w.ctx, latchkey.UnusedQuery{Feed: 1 << 31})
		w.failed(latchkey.ErrInvalid, err, "a feed that there is not")
	}),
}
