package memstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// between calls a function whenever it is asked whether it has ended.
type between struct {
	context.Context
	call func()
}

func (c between) Err() error { c.call(); return c.Context.Err() }

// A listing that passes over many tokens lets writers in, and ends with its context.
func TestListingsAreBounded(t *testing.T) {
	s := New(nil)
	w := latchkey.Write{ID: [16]byte{1}, Owner: "acme", Silent: true}
	for n := range 3*scanSize + 1 {
		one := latchkey.Token{ID: fmt.Sprintf("%06d", n), Owner: "acme", Kind: latchkey.KindAPIKey}
		one.Name = fmt.Sprint("Key ", n)
		w.Tokens = append(w.Tokens, one)
	}
	require.NoError(t, s.Write(t.Context(), w))
	last := fmt.Sprintf("%06d", 3*scanSize)
	for what, list := range map[string]func(context.Context) ([]latchkey.Token, error){
		"a search": func(ctx context.Context) ([]latchkey.Token, error) {
			return s.Tokens(ctx, "acme", latchkey.TokenQuery{Search: last})
		},
		"a text, from the end": func(ctx context.Context) ([]latchkey.Token, error) {
			return s.Tokens(ctx, "acme", latchkey.TokenQuery{Find: "KEY 0", Reverse: true})
		},
		"an order": func(ctx context.Context) ([]latchkey.Token, error) {
			return s.Tokens(ctx, "acme", latchkey.TokenQuery{Order: latchkey.OrderName, Page: latchkey.Page{Limit: 1}})
		},
		"a count": func(ctx context.Context) ([]latchkey.Token, error) {
			n, err := s.Count(ctx, "acme", latchkey.TokenQuery{Find: "k"}, 1<<40)
			if err == nil {
				require.Equal(t, 3*scanSize+1, n)
			}
			return make([]latchkey.Token, min(n, 1)), err
		},
	} {
		slices := 0
		page, err := list(between{t.Context(), func() {
			slices++
			require.True(t, s.mu.TryLock(), "%s holds the lock", what)
			s.mu.Unlock()
		}})
		require.NoError(t, err, what)
		require.Len(t, page, 1, what)
		require.Equal(t, 4, slices, what)

		ctx, cancel := context.WithCancel(t.Context())
		slices = 0
		page, err = list(between{ctx, func() {
			if slices++; slices == 2 {
				cancel()
			}
		}})
		require.ErrorIs(t, err, latchkey.ErrUnavailable, what)
		require.ErrorIs(t, err, context.Canceled, what)
		require.Empty(t, page, what)
		require.LessOrEqual(t, slices, 3, what)
	}
	// One call of Unused looks at so many tokens only, and says where it left off.
	calls := 0
	for q, next := (latchkey.UnusedQuery{Since: time.Now()}), "?"; next != ""; q.After = next {
		var page []latchkey.Token
		var err error
		page, next, err = s.Unused(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, page, min(100, 3*scanSize+1-100*calls))
		calls++
	}
	require.Equal(t, (3*scanSize+100)/100, calls)
	calls = 0
	for q, next := (latchkey.UnusedQuery{}), "?"; next != ""; q.After = next {
		var page []latchkey.Token
		var err error
		page, next, err = s.Unused(t.Context(), q)
		require.NoError(t, err)
		require.Empty(t, page)
		calls++
	}
	require.Equal(t, 4, calls)
}

// Keys that were removed take no place for long, and each entry stays where it was.
func TestAnIndexLetsGoOfRemovedKeys(t *testing.T) {
	var x index[int]
	for i := range 10_000 {
		x.put(fmt.Sprintf("%05d", i), i)
	}
	for i := range 10_000 {
		if i%100 > 0 {
			x.remove(fmt.Sprintf("%05d", i))
		}
	}
	require.Less(t, len(x.keys), 300)
	want := 0
	for _, v := range x.after("") {
		require.Equal(t, want, v)
		want += 100
	}
	require.Equal(t, 10_000, want)
}
