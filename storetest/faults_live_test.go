package storetest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// editLimits edits a copy of each LiveLimit before the store sees it.
func editLimits(f *faulty, s latchkey.Store, edit func(ctx context.Context, w *latchkey.Write, l *latchkey.LiveLimit)) {
	editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
		if w.Live != nil {
			l := *w.Live
			w.Live = &l
			edit(ctx, w, &l)
		}
	})
}

// liveKey names a count of live tokens.
type liveKey struct{ owner, parent string }

var liveFaults = map[string]fault{
	"ignores limits of live tokens": {[]string{"live/limit", "live/dead", "live/counted-anew", "live/revived",
		"race/live"},
		func(f *faulty, s latchkey.Store) {
			editWrites(f, s, func(_ context.Context, w *latchkey.Write) { w.Live = nil })
		}},
	"lets one token too many live": {[]string{"live/limit", "race/live"}, func(f *faulty, s latchkey.Store) {
		editLimits(f, s, func(_ context.Context, _ *latchkey.Write, l *latchkey.LiveLimit) { l.Max++ })
	}},
	"counts issued tokens for minted ones": {[]string{"live/limit"}, func(f *faulty, s latchkey.Store) {
		editLimits(f, s, func(_ context.Context, _ *latchkey.Write, l *latchkey.LiveLimit) { l.Parent = "" })
	}},
	"never counts anew": {[]string{"live/dead", "live/counted-anew", "live/many"}, func(f *faulty, s latchkey.Store) {
		var mu sync.Mutex
		counts, seen := map[liveKey]int{}, map[[16]byte]bool{}
		f.write = func(ctx context.Context, w latchkey.Write) error {
			if w.Live == nil {
				return s.Write(ctx, w)
			}
			mu.Lock()
			defer mu.Unlock()
			key, n := liveKey{w.Owner, w.Live.Parent}, 0
			for i := range w.Tokens {
				if w.Tokens[i].Parent == w.Live.Parent {
					n++
				}
			}
			if !seen[w.ID] && counts[key]+n > w.Live.Max {
				return latchkey.ErrTooMany
			}
			w.Live = nil
			err := s.Write(ctx, w)
			if err == nil && !seen[w.ID] {
				seen[w.ID] = true
				counts[key] += n
			}
			return err
		}
	}},
	"counts by the first version that it saw": {[]string{"live/counted-anew"}, func(f *faulty, s latchkey.Store) {
		editLimits(f, s, func(_ context.Context, _ *latchkey.Write, l *latchkey.LiveLimit) { l.OwnerVersion = 1 })
	}},
	"counts tokens that mass revocation ended": {[]string{"live/dead"}, func(f *faulty, s latchkey.Store) {
		editLimits(f, s, func(_ context.Context, _ *latchkey.Write, l *latchkey.LiveLimit) {
			l.NotBefore, l.Since = time.Time{}, 0
		})
	}},
	"counts tokens that are over": {[]string{"live/dead"}, func(f *faulty, s latchkey.Store) {
		editLimits(f, s, func(_ context.Context, _ *latchkey.Write, l *latchkey.LiveLimit) { l.Now = time.Time{} })
	}},
	"does not see that a token lives again": {[]string{"live/revived"}, func(f *faulty, s latchkey.Store) {
		editLimits(f, s, func(_ context.Context, w *latchkey.Write, _ *latchkey.LiveLimit) {
			if slices.ContainsFunc(w.Tokens, func(t latchkey.Token) bool { return t.Version != 0 }) {
				w.Live = nil
			}
		})
	}},
	"counts live tokens before its transaction": {[]string{"race/live"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			if l := w.Live; l != nil {
				live := func() (n int) {
					q := latchkey.TokenQuery{Page: latchkey.Page{Limit: 1000}}
					list, _ := s.Tokens(ctx, w.Owner, q)
					for _, t := range list {
						if l.Counts(t) {
							n++
						}
					}
					return n
				}
				if live()+len(w.Tokens) > l.Max {
					return latchkey.ErrTooMany
				}
				pauseUntil(func() bool { return live()+len(w.Tokens) > l.Max })
				w.Live = nil
			}
			return s.Write(ctx, w)
		}
	}},
	"keeps no policy of an owner": {[]string{"owner/round-trip"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			if w.OwnerRecord != nil {
				o := *w.OwnerRecord
				o.Policy = latchkey.OwnerPolicy{}
				w.OwnerRecord = &o
			}
		})
	}},
	"ignores the keys of a write": {[]string{"once/write"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) { w.Once = nil })
	}},
	"records keys before its transaction": {[]string{"once/write"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			for _, k := range w.Once {
				if err := s.Once(ctx, w.Owner, k.Key, k.Until); err != nil && !k.IfAbsent {
					return err
				}
			}
			w.Once = nil
			return s.Write(ctx, w)
		}
	}},
	"refuses every key that is recorded": {[]string{"once/write"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			w.Once = slices.Clone(w.Once)
			for i := range w.Once {
				w.Once[i].IfAbsent = false
			}
		})
	}},
}
