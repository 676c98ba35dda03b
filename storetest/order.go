package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// pagesOf reads a listing in pages of q.Limit, and returns the numbers of the tokens.
func (w *fixture) pagesOf(q latchkey.TokenQuery, most int) (ns []int) {
	w.Helper()
	for {
		page := w.tokens(acme, q)
		ns = append(ns, numbers(page)...)
		if len(page) < q.Size() || len(ns) > most {
			return ns
		}
		q.After = q.Key(page[len(page)-1])
	}
}

var orderCases = []Case{
	newCase("tokens/orders", "Tokens lists in every Order, forwards and in Reverse. Pages join without a gap, by the Key "+
		"of the last token. An unknown Order, and an After of another order, are ErrInvalid.", func(w *fixture) {
		var all []latchkey.Token
		put := func(name string, used, end time.Time) {
			t := token(len(all) + 1)
			t.Name, t.Used, t.Validity.NotAfter = name, used, end
			if len(all)%3 == 0 {
				t.Roles = []string{id(900)}
			}
			all = append(all, t)
		}
		none := time.Time{}
		at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Microsecond) }
		put("b", at(1), none)
		put("", none, at(5))
		put("B", at(1), at(5))
		put("a", at(3), time.Unix(-1, 0).UTC())
		put("ä", none, at(4))
		put("b", at(2), none)
		put("b ", time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
		put("b\x01", time.Unix(0, -1000).UTC(), at(5))
		put("aa", none, none)
		put("bb", time.Unix(0, 0).UTC(), at(6))
		put("\U0001F511", none, time.Unix(0, 0).UTC())
		w.insert(all...)
		w.insert(by(globex, token(99)))
		for order, forwards := range map[latchkey.TokenOrder][]int{
			latchkey.OrderID:   {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
			latchkey.OrderName: {2, 3, 4, 9, 1, 6, 8, 7, 10, 5, 11},
			latchkey.OrderUsed: {2, 5, 9, 11, 8, 7, 10, 1, 3, 6, 4},
			latchkey.OrderEnd:  {4, 11, 5, 2, 3, 8, 10, 7, 1, 6, 9},
		} {
			for _, reverse := range []bool{false, true} {
				want := slices.Clone(forwards)
				if reverse {
					slices.Reverse(want)
				}
				for what, q := range map[string]latchkey.TokenQuery{"all": {}, "of a role": {Role: id(900)},
					"named": {IDs: []string{id(7), id(1), id(11), id(1), id(999)}},
					"found": {Find: "B"}, "searched": {Search: "b"}} {
					some := slices.DeleteFunc(slices.Clone(want), func(n int) bool { return !q.Match(all[n-1]) })
					if len(some) == 0 || len(some) == len(want) != (what == "all") {
						w.Fatalf("the case is wrong: %s selects %d tokens", what, len(some))
					}
					q.Order, q.Reverse = order, reverse
					for _, limit := range []int{100, 1, 2, 3} {
						q.Limit = limit
						w.same(w.pagesOf(q, len(some)), some,
							fmt.Sprintf("%s, in order %d, reverse %t, in pages of %d", what, order, reverse, limit))
					}
				}
			}
		}
		// A page begins at a place, whether or not a token is there, or is there still.
		q := latchkey.TokenQuery{Order: latchkey.OrderName}
		q.After = q.Key(all[8])
		w.write(latchkey.Write{DeleteTokens: refs(9)})
		w.same(numbers(w.tokens(acme, q)), []int{1, 6, 8, 7, 10, 5, 11}, "after the name of a token that is gone")
		w.update(6, func(t *latchkey.Token) { t.Name = "0" })
		w.same(numbers(w.tokens(acme, q)), []int{1, 8, 7, 10, 5, 11}, "after a token moved before the page")
		name := "b\x00" + id(1)
		for what, q := range map[string]latchkey.TokenQuery{
			"too many ids":                              {IDs: make([]string, 1001)},
			"an order that there is not":                {Order: latchkey.OrderEnd + 1},
			"an order that there is not, with an After": {Order: 99, Page: latchkey.Page{After: id(1)}},
			"an id, in a listing by name":               {Order: latchkey.OrderName, Page: latchkey.Page{After: id(1)}},
			"an id, in a listing by last use":           {Order: latchkey.OrderUsed, Page: latchkey.Page{After: id(1)}},
			"a name, in a listing by last use":          {Order: latchkey.OrderUsed, Page: latchkey.Page{After: name}},
			"a name, in a listing by end":               {Order: latchkey.OrderEnd, Page: latchkey.Page{After: name}},
			"a name, in a search by end":                {Order: latchkey.OrderEnd, Find: "b", Page: latchkey.Page{After: name}},
		} {
			_, err := w.s.Tokens(w.ctx, acme, q)
			w.failed(latchkey.ErrInvalid, err, what)
		}
	}),

	newCase("tokens/find", "Find selects by a text anywhere in the name, id, hint or client's id, by simple case "+
		"folding, as Match does. No character is a wildcard.", func(w *fixture) {
		names := []string{"Straße", "STRASSE", "strasse", "Σίσυφος", "ΣΊΣΥΦΟΣ", "\u212Aelvin", "kelvin", "ſchool", "SCHOOL",
			"İstanbul", "istanbul", "ISTANBUL", "ıstanbul", "Ål", "A\u030Al", "åL", "100%", "100_", `back\slash`, "'quoted'",
			"", " ", "ﬁn", "fin", "\U00010400", "\U00010428", "ǅ", "ǆ", "Ǆ", "naïve"}
		var all []latchkey.Token
		for i, name := range names {
			t := token(i + 1)
			t.Name = name
			all = append(all, t)
		}
		all[20].Hint, all[21].Client = "sk_Zy…XxX", latchkey.Client{ID: "Shop № Ⅷ of ACME"}
		w.insert(all...)
		w.insert(by(globex, token(99)))
		for find, want := range map[string][]int{
			"straße": {1}, "sTRASSE": {2, 3}, "SS": {2, 3}, "σίσυφοσ": {4, 5}, "ΦΟΣ": {4, 5}, "Kelvin": {6, 7},
			"\u212AELV": {6, 7}, "School": {8, 9}, "İ": {10}, "istan": {11, 12}, "ıstan": {13}, "STANBUL": {10, 11, 12, 13},
			"ÅL": {14, 16}, "a\u030AL": {15}, "%": {17}, "_": {18, 21}, `\`: {19}, "'": {20}, "ZY…xXx": {21}, "Fin": {24},
			"\U00010428": {25, 26}, "Ǆ": {27, 28, 29}, "AÏV": {30}, "none of them": nil, id(3): {3}, "7000-8000": nil,
			"AK_3F": nil, "SHOP № ⅷ": {22}, "acme": {22}, "skſ": nil, "ſs": {2, 3}, "İ\xff": nil, "\xff": nil,
		} {
			if find == "7000-8000" || find == "AK_3F" || find == "_" { // in every id, and in nearly every hint
				want = nil
				for i, t := range all {
					if (latchkey.TokenQuery{Find: find}).Match(t) {
						want = append(want, i+1)
					}
				}
				if len(want) < len(all)-1 {
					w.Fatalf("Find %q matches %d of %d tokens", find, len(want), len(all))
				}
			}
			for _, limit := range []int{100, 1} {
				q := latchkey.TokenQuery{Find: find, Page: latchkey.Page{Limit: limit}}
				w.same(w.pagesOf(q, len(want)), want, fmt.Sprintf("Find %q in pages of %d", find, limit))
			}
			n, err := w.s.Count(w.ctx, acme, latchkey.TokenQuery{Find: find}, 100)
			w.ok(err, "Count")
			w.same(n, len(want), fmt.Sprintf("how many are found by %q", find))
		}
		// A name is found as it is now.
		w.update(3, func(t *latchkey.Token) { t.Name = "Renamed" })
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{Find: "STRASSE"})), []int{2}, "the old name of a renamed token")
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{Find: "renamED"})), []int{3}, "its new name")
		w.same(numbers(w.tokens(acme, latchkey.TokenQuery{Find: "s", Search: "100", Kinds: []latchkey.Kind{
			latchkey.KindSecret}})), []int(nil), "other fields with it")
	}),

	newCase("race/orders", "While tokens move in the order of a listing, its pages are in order and full, and each token "+
		"that stays where it is is listed once.", func(w *fixture) {
		var all []latchkey.Token
		for n := 1; n <= 40; n++ {
			t := token(n)
			t.Name = fmt.Sprintf("Middle %02d", n)
			all = append(all, t)
		}
		w.insert(all...)
		ctx, stop := context.WithCancel(w.ctx)
		defer stop()
		var movers sync.WaitGroup
		for mover := range 2 {
			movers.Go(func() {
				for round := 0; ctx.Err() == nil; round++ {
					for n := 2 + 2*mover; n <= 40; n += 4 { // the even ones
						f, err := w.s.Load(w.ctx, acme, id(n))
						if err != nil {
							w.Errorf("Load: %v", err)
							return
						}
						f.Token.Name = fmt.Sprintf("%s %02d middle", []string{"a", "z", "Middle", "gone"}[round%4], n)
						if err := w.try(latchkey.Write{Tokens: []latchkey.Token{f.Token}}); err != nil {
							w.Errorf("Write: %v", err)
							return
						}
					}
				}
			})
		}
		stays := func(n int) bool { return n%2 == 1 }
		for round := range 40 {
			q := latchkey.TokenQuery{Order: latchkey.OrderName, Reverse: round%2 == 1, Page: latchkey.Page{Limit: 1 + round%7}}
			if round%4 < 2 {
				q.Find = "mIDDLE"
			}
			seen := map[int]int{}
			for {
				page := w.tokens(acme, q)
				for i, t := range page {
					if seen[number(t.ID)]++; !q.Match(t) || i > 0 && q.Compare(page[i-1], t) >= 0 {
						w.Errorf("%q in a page of %+v is out of order, or not selected", t.Name, q)
					}
				}
				if len(page) < q.Limit {
					break
				}
				q.After = q.Key(page[len(page)-1])
			}
			for n := 1; n <= 40; n++ {
				if stays(n) && seen[n] != 1 {
					w.Errorf("token %d, which never moved, is listed %d times by %+v", n, seen[n], q)
				}
			}
		}
		stop()
		movers.Wait()
	}),

	newCase("tokens/count", "Count returns how many tokens a query selects, whatever its page and order, and at most "+
		"limit. A limit ≤ 0 is 1000.", func(w *fixture) {
		count := func(q latchkey.TokenQuery, limit int) int {
			w.Helper()
			n, err := w.s.Count(w.ctx, acme, q, limit)
			w.ok(err, "Count")
			return n
		}
		w.same(count(latchkey.TokenQuery{}, 10), 0, "the count of nothing")
		held, revoked := token(1), token(2)
		held.Roles, held.Name, revoked.Revoked = []string{id(900)}, "Alpha", noon
		w.insert(held, revoked, minted(3, 1), minted(4, 1), token(5))
		w.insert(by(globex, token(6)))
		host := ""
		for what, c := range map[string]struct {
			q    latchkey.TokenQuery
			want int
		}{
			"all":    {latchkey.TokenQuery{}, 5},
			"a kind": {latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindAccess}}, 2},
			"a role": {latchkey.TokenQuery{Role: id(900)}, 1},
			"ids":    {latchkey.TokenQuery{IDs: []string{id(4), id(2), id(2), id(6), id(77)}}, 2},
			"ids, a kind": {latchkey.TokenQuery{IDs: []string{id(4), id(2)}, Kinds: []latchkey.Kind{latchkey.KindAccess}},
				1},
			"a parent":        {latchkey.TokenQuery{Parent: id(1)}, 2},
			"a state":         {latchkey.TokenQuery{States: []latchkey.State{latchkey.Active}, Now: noon}, 4},
			"a search":        {latchkey.TokenQuery{Search: "Al"}, 1},
			"a text":          {latchkey.TokenQuery{Find: "LPH", Origin: &host}, 1},
			"nothing":         {latchkey.TokenQuery{Client: "42"}, 0},
			"a page":          {latchkey.TokenQuery{Page: latchkey.Page{After: id(4), Limit: 1}}, 5},
			"an order":        {latchkey.TokenQuery{Order: 9, Reverse: true, Page: latchkey.Page{After: "x"}}, 5},
			"made before":     {latchkey.TokenQuery{CreatedBefore: noon}, 0},
			"an end":          {latchkey.TokenQuery{ExpiresTo: noon.Add(2 * time.Hour)}, 2},
			"a text, a page":  {latchkey.TokenQuery{Find: "a", Page: latchkey.Page{After: id(4), Limit: 1}}, 5},
			"a text, a limit": {latchkey.TokenQuery{Find: "AK_"}, 5},
		} {
			for limit := 1; limit <= 7; limit++ {
				w.same(count(c.q, limit), min(c.want, limit), fmt.Sprintf("the count of %s, up to %d", what, limit))
			}
		}
		var many []latchkey.Token
		for n := 1000; n < 2001; n++ {
			many = append(many, token(n))
		}
		w.write(latchkey.Write{Tokens: many, Silent: true})
		for limit, want := range map[int]int{0: 1000, -1: 1000, 1001: 1001, 1006: 1006, 1007: 1006, 1 << 40: 1006} {
			w.same(count(latchkey.TokenQuery{}, limit), want, fmt.Sprintf("the count of many, up to %d", limit))
			w.same(count(latchkey.TokenQuery{Find: "AK"}, limit), want, fmt.Sprintf("the count of a text, up to %d", limit))
		}
	}),
}
