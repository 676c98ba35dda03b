package storetest_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// editQueries applies an edit to every query of tokens, and to the page that answers it. Nil edits nothing.
func editQueries(f *faulty, s latchkey.Store, edit func(*latchkey.TokenQuery), page func([]latchkey.Token)) {
	f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
		if edit != nil {
			edit(&q)
		}
		all, err := s.Tokens(ctx, owner, q)
		if page != nil {
			page(all)
		}
		return all, err
	}
}

// listedBy replaces a listing by one of all tokens that are selected, ordered and cut here.
func listedBy(f *faulty, s latchkey.Store, when func(latchkey.TokenQuery) bool,
	compare func(q latchkey.TokenQuery, a, b latchkey.Token) int) {
	f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
		start, paged, err := q.Start()
		if err != nil || !when(q) {
			return s.Tokens(ctx, owner, q)
		}
		all := q
		all.Page, all.Order, all.Reverse = latchkey.Page{Limit: 1000}, latchkey.OrderID, false
		list, err := s.Tokens(ctx, owner, all)
		list = slices.DeleteFunc(list, func(t latchkey.Token) bool { return paged && compare(q, start, t) >= 0 })
		slices.SortStableFunc(list, func(a, b latchkey.Token) int { return compare(q, a, b) })
		return list[:min(len(list), q.Size())], err
	}
}

func ordered(q latchkey.TokenQuery) bool { return q.Order != latchkey.OrderID }

var orderFaults = map[string]fault{
	"lists in one order only": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) {
			if q.After == "" && q.Order <= latchkey.OrderEnd {
				q.Order = latchkey.OrderID
			}
		}, nil)
	}},
	"does not ask when a token was made": {[]string{"tokens/filters"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) { q.CreatedBefore = time.Time{} }, nil)
	}},
	"takes the moment itself for before": {[]string{"tokens/filters"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) {
			if !q.CreatedBefore.IsZero() {
				q.CreatedBefore = q.CreatedBefore.Add(time.Microsecond)
			}
		}, nil)
	}},
	"lists forwards only": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) { q.Reverse = false }, nil)
	}},
	"turns pages round, and not the listing": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			reverse := q.Reverse
			q.Reverse = false
			page, err := s.Tokens(ctx, owner, q)
			if reverse {
				slices.Reverse(page)
			}
			return page, err
		}
	}},
	"pages by the order alone, without the id": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		listedBy(f, s, ordered, func(q latchkey.TokenQuery, a, b latchkey.Token) int {
			a.ID, b.ID = "", ""
			return q.Compare(a, b)
		})
	}},
	"sorts names without case": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		listedBy(f, s, ordered, func(q latchkey.TokenQuery, a, b latchkey.Token) int {
			a.Name, b.Name = strings.ToLower(a.Name), strings.ToLower(b.Name)
			return q.Compare(a, b)
		})
	}},
	"lists what has no end first": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		listedBy(f, s, ordered, func(q latchkey.TokenQuery, a, b latchkey.Token) int {
			if a.Validity.NotAfter.IsZero() != b.Validity.NotAfter.IsZero() && q.Order == latchkey.OrderEnd {
				return -q.Compare(a, b)
			}
			return q.Compare(a, b)
		})
	}},
	"takes any After": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) {
			if _, _, err := q.Start(); err != nil && q.Order <= latchkey.OrderEnd {
				q.After = ""
			}
		}, nil)
	}},
	"takes an order that it does not know for another": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) { q.Order = min(q.Order, latchkey.OrderEnd) }, nil)
	}},
	"begins a page at a token, which must be there still": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			if start, ok, err := q.Start(); err == nil && ok && ordered(q) {
				if _, err := s.Load(ctx, owner, start.ID); err != nil {
					q.After = ""
				}
			}
			return s.Tokens(ctx, owner, q)
		}
	}},
	"shows a token where it was": {[]string{"race/orders"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			page, err := s.Tokens(ctx, owner, q)
			pause()
			for i := range page {
				if found, err := s.Load(ctx, owner, page[i].ID); err == nil {
					page[i] = found.Token
				}
			}
			return page, err
		}
	}},

	"finds at the beginning only": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		editFound(f, s, func(q latchkey.TokenQuery, t latchkey.Token) bool {
			n := min(len(t.Name), len(q.Find))
			return strings.EqualFold(t.Name[:n], q.Find) || !strings.Contains(strings.ToLower(t.Name), strings.ToLower(q.Find))
		})
	}},
	"finds by case": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		editFound(f, s, func(q latchkey.TokenQuery, t latchkey.Token) bool {
			return strings.Contains(t.Name+t.ID+t.Hint, q.Find)
		})
	}},
	"folds ASCII only": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		ascii := func(s string) string {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					r += 'a' - 'A'
				}
				return r
			}, s)
		}
		editFound(f, s, func(q latchkey.TokenQuery, t latchkey.Token) bool {
			return strings.Contains(ascii(t.Name+t.ID+t.Hint), ascii(q.Find))
		})
	}},
	"folds by lower case": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		editFound(f, s, func(q latchkey.TokenQuery, t latchkey.Token) bool {
			return strings.Contains(strings.ToLower(t.Name+t.ID+t.Hint), strings.ToLower(q.Find))
		})
	}},
	"finds in names only": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		editFound(f, s, func(q latchkey.TokenQuery, t latchkey.Token) bool {
			t.ID, t.Hint = "", ""
			return q.Match(t)
		})
	}},
	"finds in no client's id": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		editFound(f, s, func(q latchkey.TokenQuery, t latchkey.Token) bool {
			t.Client.ID = ""
			return q.Match(t)
		})
	}},
	"does not know ids": {[]string{"tokens/orders"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) { q.IDs = q.IDs[:0] }, nil)
	}},
	"counts without ids": {[]string{"tokens/count"}, func(f *faulty, s latchkey.Store) {
		f.count = func(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
			q.IDs = nil
			return s.Count(ctx, owner, q, limit)
		}
	}},
	"takes a sign for a wildcard": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		editQueries(f, s, func(q *latchkey.TokenQuery) { q.Find = strings.Trim(q.Find, "%_") }, nil)
	}},
	"finds names as they were": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		var first firsts[string, string]
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			all := q
			all.Find = ""
			list, err := s.Tokens(ctx, owner, all)
			return slices.DeleteFunc(list, func(t latchkey.Token) bool {
				t.Name = first.of(t.ID, t.Name)
				return !q.Match(t)
			}), err
		}
	}},
	"fills no page of what it finds": {[]string{"tokens/find"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			all := q
			all.Find = ""
			list, err := s.Tokens(ctx, owner, all)
			return slices.DeleteFunc(list, func(t latchkey.Token) bool { return !q.Match(t) }), err
		}
	}},

	"counts all of the owner's tokens": {[]string{"tokens/count", "tokens/find"}, func(f *faulty, s latchkey.Store) {
		f.count = func(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
			return s.Count(ctx, owner, latchkey.TokenQuery{}, limit)
		}
	}},
	"counts a page": {[]string{"tokens/count"}, func(f *faulty, s latchkey.Store) {
		f.count = func(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
			list, err := s.Tokens(ctx, owner, q)
			return min(len(list), limit), err
		}
	}},
	"counts without a limit": {[]string{"tokens/count"}, func(f *faulty, s latchkey.Store) {
		f.count = func(ctx context.Context, owner string, q latchkey.TokenQuery, _ int) (int, error) {
			return s.Count(ctx, owner, q, 1<<40)
		}
	}},
	"counts one too many, to say that there are more": {[]string{"tokens/count"}, func(f *faulty, s latchkey.Store) {
		f.count = func(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
			return s.Count(ctx, owner, q, limit+1)
		}
	}},
	"counts the tokens of every owner": {[]string{"owner/isolation"}, func(f *faulty, s latchkey.Store) {
		f.count = func(ctx context.Context, _ string, q latchkey.TokenQuery, limit int) (int, error) {
			return s.Count(ctx, "acme", q, limit)
		}
	}},
}

// editFound keeps of what Find selects what also keep says.
func editFound(f *faulty, s latchkey.Store, keep func(latchkey.TokenQuery, latchkey.Token) bool) {
	f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
		all, err := s.Tokens(ctx, owner, q)
		if q.Find == "" {
			return all, err
		}
		return slices.DeleteFunc(all, func(t latchkey.Token) bool { return !keep(q, t) }), err
	}
}
