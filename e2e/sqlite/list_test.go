package sqlite

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// A search reads the tokens of an owner a few thousand at a time, in any order.
func TestSQLiteSearchesGoOn(t *testing.T) {
	ctx := context.Background()
	s := harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(harness.NewFile(t))))
	const n = 2*4096 + 10
	var all []latchkey.Token
	w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Silent: true}
	for i := range n {
		one := latchkey.Token{ID: fmt.Sprintf("%06d", i), Owner: "acme", Version: 0, Kind: latchkey.KindAPIKey,
			Created: world.Noon}
		if one.Name = fmt.Sprint("key ", i*7919%n); i%1000 == 999 || i == n-1 {
			one.Name = fmt.Sprint("Rare ", i)
		}
		w.Tokens = append(w.Tokens, one)
		all = append(all, one)
	}
	require.NoError(t, s.Write(ctx, w))
	for order := range latchkey.OrderEnd + 1 {
		for _, reverse := range []bool{false, true} {
			for _, limit := range []int{2, 1000} {
				q := latchkey.TokenQuery{Find: "rARE", Order: order, Reverse: reverse, Page: latchkey.Page{Limit: limit}}
				want := slices.DeleteFunc(slices.Clone(all), func(t latchkey.Token) bool { return !q.Match(t) })
				slices.SortFunc(want, q.Compare)
				require.Len(t, want, 9)
				var got []latchkey.Token
				for {
					page, err := s.Tokens(ctx, "acme", q)
					require.NoError(t, err)
					got = append(got, page...)
					if len(page) < limit {
						break
					}
					q.After = q.Key(page[len(page)-1])
				}
				require.Len(t, got, len(want))
				for i := range want {
					require.Equal(t, want[i].Name, got[i].Name, "order %d, reverse %t", order, reverse)
				}
			}
		}
	}
	calls := 0
	for q, next := (latchkey.UnusedQuery{Since: world.Noon}), "?"; next != ""; q.After = next {
		var page []latchkey.Token
		var err error
		page, next, err = s.Unused(ctx, q)
		require.NoError(t, err)
		require.Empty(t, page)
		calls++
	}
	require.Equal(t, 3, calls, "one call looks at a few thousand tokens")
	for find, want := range map[string]int{"rare": 9, "KEY": n - 9, "none": 0} {
		count, err := s.Count(ctx, "acme", latchkey.TokenQuery{Find: find}, n)
		require.NoError(t, err)
		require.Equal(t, want, count, find)
	}
}
