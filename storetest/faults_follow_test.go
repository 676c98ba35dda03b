package storetest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// firsts keeps the first value seen for each key.
type firsts[K comparable, V any] struct{ known sync.Map }

func (f *firsts[K, V]) of(key K, now V) V {
	was, _ := f.known.LoadOrStore(key, now)
	return was.(V)
}

// presented applies an edit to what a read by digest returns.
func presented(f *faulty, s latchkey.Store, edit func(*latchkey.Found)) {
	f.byDigest = func(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
		found, err := s.ByDigest(ctx, slot, digests...)
		if err == nil {
			edit(&found)
		}
		return found, err
	}
}

var followFaults = map[string]fault{
	"keeps a copy of the token beside each secret, and never updates it": {
		[]string{"secrets/show-the-token", "race/secrets"}, func(f *faulty, s latchkey.Store) {
			var copies firsts[[32]byte, latchkey.Token]
			editWrites(f, s, func(ctx context.Context, w *latchkey.Write) { // the token at the time the secret is added
				for _, c := range w.Secrets {
					if found, err := s.Load(ctx, w.Owner, c.TokenID); err == nil && c.Add != nil {
						copies.of(c.Add.Digest, found.Token)
					}
				}
			})
			presented(f, s, func(found *latchkey.Found) {
				used := found.Token.Used
				found.Token = copies.of(found.Secret.Digest, found.Token)
				found.Token.Used = used
			})
		}},
	"copies an edited token to its first secret only": {
		[]string{"secrets/show-the-token"}, func(f *faulty, s latchkey.Store) {
			var names firsts[[32]byte, string]
			presented(f, s, func(found *latchkey.Found) {
				all, err := s.Secrets(context.Background(), found.Token.Owner, found.Token.ID)
				if err == nil && all[0].Digest != found.Secret.Digest {
					found.Token.Name = names.of(found.Secret.Digest, found.Token.Name)
				}
			})
		}},
	"forgets that a secret was retired when its token is edited": {
		[]string{"secrets/show-the-token"}, func(f *faulty, s latchkey.Store) {
			var versions firsts[[32]byte, uint64]
			presented(f, s, func(found *latchkey.Found) {
				if versions.of(found.Secret.Digest, found.Token.Version) != found.Token.Version {
					found.Secret.NotAfter = time.Time{}
				}
			})
		}},
	"shows by digest the last use that it saw first": {
		[]string{"secrets/show-the-last-use", "race/secrets"}, func(f *faulty, s latchkey.Store) {
			var uses firsts[[32]byte, time.Time]
			f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
				for _, l := range b.Last {
					all, _ := s.Secrets(ctx, l.Owner, l.TokenID)
					found, _ := s.Load(ctx, l.Owner, l.TokenID)
					for _, one := range all {
						uses.of(one.Digest, found.Token.Used)
					}
				}
				return s.AddUsage(ctx, b)
			}
			presented(f, s, func(found *latchkey.Found) {
				found.Token.Used = uses.of(found.Secret.Digest, found.Token.Used)
			})
		}},
	"takes back the last use of a secret when its token is edited": {
		[]string{"secrets/show-the-last-use"}, func(f *faulty, s latchkey.Store) {
			var put sync.Map
			editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
				for _, t := range w.Tokens {
					put.Store(t.ID, t.Used)
				}
			})
			f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
				for _, l := range b.Last {
					put.Delete(l.TokenID)
				}
				return s.AddUsage(ctx, b)
			}
			presented(f, s, func(found *latchkey.Found) {
				if used, ok := put.Load(found.Token.ID); ok {
					found.Token.Used = used.(time.Time)
				}
			})
		}},
	"adds a secret that shows no last use": {
		[]string{"secrets/show-the-last-use"}, func(f *faulty, s latchkey.Store) {
			var fresh sync.Map // secrets added since the last use
			editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
				for _, c := range w.Secrets {
					if c.Add != nil && len(w.Tokens) == 0 {
						fresh.Store(c.Add.Digest, true)
					}
				}
			})
			f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
				fresh.Clear()
				return s.AddUsage(ctx, b)
			}
			presented(f, s, func(found *latchkey.Found) {
				if _, ok := fresh.Load(found.Secret.Digest); ok {
					found.Token.Used = time.Time{}
				}
			})
		}},
	"lists edited tokens by nothing": {[]string{"tokens/filters-now"}, func(f *faulty, s latchkey.Store) {
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			all, err := s.Tokens(ctx, owner, q)
			return slices.DeleteFunc(all, func(t latchkey.Token) bool { return t.Version > 1 }), err
		}
	}},
	"lists tokens by what they were": {[]string{"tokens/filters-now"}, func(f *faulty, s latchkey.Store) {
		var was sync.Map
		f.tokens = func(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
			all, err := s.Tokens(ctx, owner, q)
			if id, ok := was.Load(len(q.States)); ok && len(all) == 0 && len(q.States) > 0 {
				if found, err := s.Load(ctx, owner, id.(string)); err == nil {
					return []latchkey.Token{found.Token}, nil
				}
			}
			for _, t := range all {
				was.Store(len(q.States), t.ID)
			}
			return all, err
		}
	}},
	"purges by the end that a token had first": {[]string{"tokens/filters-now"}, func(f *faulty, s latchkey.Store) {
		var ends firsts[string, time.Time]
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for _, t := range w.Tokens {
				ends.of(t.ID, t.Validity.NotAfter)
			}
		})
		f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
			ends.known.Range(func(id, end any) bool {
				if !end.(time.Time).IsZero() {
					_ = s.Write(ctx, latchkey.Write{ID: newID(), Owner: "acme", DeleteTokens: []latchkey.Ref{{ID: id.(string)}}})
				}
				return true
			})
			return s.Purge(ctx, p, n)
		}
	}},
	"deletes what was minted, wherever it moved": {[]string{"tokens/filters-now"}, func(f *faulty, s latchkey.Store) {
		var parents firsts[string, string]
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			for _, t := range w.Tokens {
				parents.of(t.ID, t.Parent)
			}
			for _, ref := range w.DeleteTokens {
				parents.known.Range(func(id, parent any) bool {
					if parent == ref.ID {
						_ = s.Write(ctx, latchkey.Write{ID: newID(), Owner: w.Owner, DeleteTokens: []latchkey.Ref{{ID: id.(string)}}})
					}
					return true
				})
			}
		})
	}},
	"remembers ancestors for as long as the epoch stays": {
		[]string{"found/ancestors-now"}, func(f *faulty, s latchkey.Store) {
			type key struct {
				id    string
				epoch uint64
			}
			var known firsts[key, []latchkey.Token]
			presented(f, s, func(found *latchkey.Found) {
				found.Ancestors = known.of(key{found.Token.ID, found.Epoch}, found.Ancestors)
			})
		}},
	"remembers ancestors unless they are gone": {
		[]string{"found/ancestors-now"}, func(f *faulty, s latchkey.Store) {
			var known firsts[string, latchkey.Token]
			f.load = func(ctx context.Context, owner, id string) (latchkey.Found, error) {
				found, err := s.Load(ctx, owner, id)
				for i := range found.Ancestors {
					found.Ancestors[i] = known.of(found.Ancestors[i].ID, found.Ancestors[i])
				}
				return found, err
			}
		}},
	"remembers the last use of an ancestor": {
		[]string{"found/ancestors-now"}, func(f *faulty, s latchkey.Store) {
			var known firsts[string, time.Time]
			presented(f, s, func(found *latchkey.Found) {
				for i := range found.Ancestors {
					found.Ancestors[i].Used = known.of(found.Ancestors[i].ID, found.Ancestors[i].Used)
				}
			})
		}},
	"remembers ancestors that Purge has taken": {
		[]string{"found/ancestors-now"}, func(f *faulty, s latchkey.Store) {
			var known sync.Map
			presented(f, s, func(found *latchkey.Found) {
				if len(found.Ancestors) > 0 {
					known.Store(found.Token.ID, found.Ancestors)
				} else if all, ok := known.Load(found.Token.ID); ok && all.([]latchkey.Token)[0].ID == found.Token.Parent {
					if !all.([]latchkey.Token)[0].Revoked.IsZero() {
						found.Ancestors = all.([]latchkey.Token)
					}
				}
			})
		}},
	"remembers that an ancestor is missing": {
		[]string{"found/ancestors-now"}, func(f *faulty, s latchkey.Store) {
			var known firsts[string, int]
			presented(f, s, func(found *latchkey.Found) {
				if n := known.of(found.Token.ID, len(found.Ancestors)); n == 0 {
					found.Ancestors = nil
				}
			})
		}},
	"counts a move of a parent as no change of its children": {
		[]string{"found/ancestors-now"}, func(f *faulty, s latchkey.Store) {
			var lengths firsts[string, int]
			presented(f, s, func(found *latchkey.Found) {
				if n := len(found.Ancestors); n > 0 {
					found.Ancestors = found.Ancestors[:min(n, lengths.of(found.Token.ID+found.Token.Parent, n))]
				}
			})
		}},
}
