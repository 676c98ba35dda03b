package storetest_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

var writeFaults = map[string]fault{
	"swallows errors of writes": {[]string{"write/insert", "write/requirements", "secrets/digest-unique"},
		func(f *faulty, s latchkey.Store) {
			f.write = func(ctx context.Context, w latchkey.Write) error {
				if err := s.Write(ctx, w); err != nil && ctx.Err() != nil {
					return err
				}
				return nil
			}
		}},
	"forgets which writes it applied": {[]string{"write/idempotent", "race/same-write"},
		func(f *faulty, s latchkey.Store) {
			editWrites(f, s, func(_ context.Context, w *latchkey.Write) { w.ID = newID() })
		}},
	"overwrites whatever version is there": {[]string{"write/replace", "race/versions"},
		func(f *faulty, s latchkey.Store) {
			editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
				w.Tokens = slices.Clone(w.Tokens)
				for i := range w.Tokens {
					if found, err := s.Load(ctx, w.Owner, w.Tokens[i].ID); err == nil && w.Tokens[i].Version != 0 {
						w.Tokens[i].Version = found.Token.Version
					}
				}
			})
		}},
	"applies a write in two transactions": {[]string{"write/atomic"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			first := latchkey.Write{ID: newID(), Owner: w.Owner, At: w.At, Tokens: w.Tokens, Silent: w.Silent}
			if err := s.Write(ctx, first); err != nil {
				return err
			}
			w.Tokens = nil
			return s.Write(ctx, w)
		}
	}},
	"checks requirements before its transaction": {[]string{"race/mint-and-revoke"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			for _, ref := range w.RequireTokens {
				found, err := s.Load(ctx, w.Owner, ref.ID)
				if err != nil || !found.Token.Revoked.IsZero() {
					return latchkey.ErrConflict
				}
				pauseUntil(func() bool {
					found, err := s.Load(ctx, w.Owner, ref.ID)
					return err != nil || !found.Token.Revoked.IsZero()
				})
			}
			w.RequireTokens = nil
			return s.Write(ctx, w)
		}
	}},
	"loses the owner's version of a token that is edited": {[]string{"write/owner-version"}, func(f *faulty,
		s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			w.Tokens = slices.Clone(w.Tokens)
			for i := range w.Tokens {
				if w.Tokens[i].Version != 0 {
					w.Tokens[i].OwnerVersion = 0
				}
			}
		})
	}},
	"notes no owner's version beside the secret": {[]string{"write/owner-version", "token/round-trip"},
		func(f *faulty, s latchkey.Store) {
			presented(f, s, func(found *latchkey.Found) { found.Token.OwnerVersion = 0 })
		}},
	"keeps no Since": {[]string{"owner/round-trip"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			if w.OwnerRecord != nil {
				o := *w.OwnerRecord
				o.Since = 0
				w.OwnerRecord = &o
			}
		})
	}},
	"keeps the highest Since": {[]string{"owner/round-trip"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			if w.OwnerRecord != nil {
				was, _ := s.Owner(ctx, w.Owner)
				o := *w.OwnerRecord
				o.Since = max(o.Since, was.Since)
				w.OwnerRecord = &o
			}
		})
	}},
	"looks at the owner's record before its transaction": {[]string{"race/insert-and-configure"},
		func(f *faulty, s latchkey.Store) {
			f.write = func(ctx context.Context, w latchkey.Write) error {
				if want := w.RequireOwner; want != nil {
					if o, err := s.Owner(ctx, w.Owner); err != nil || o.Version != *want {
						return latchkey.ErrConflict
					}
					pauseUntil(func() bool {
						o, err := s.Owner(ctx, w.Owner)
						return err != nil || o.Version != *want
					})
					w.RequireOwner = nil
				}
				return s.Write(ctx, w)
			}
		}},
	"lets a revoked token mint": {[]string{"write/requirements"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			w.RequireTokens = slices.DeleteFunc(w.RequireTokens, func(ref latchkey.Ref) bool {
				found, err := s.Load(ctx, w.Owner, ref.ID)
				return err == nil && !found.Token.Revoked.IsZero()
			})
		})
	}},
	"ignores required roles": {[]string{"write/requirements", "race/role-and-token"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			for _, ref := range w.RequireRoles { // lets the deletion run first
				pauseUntil(func() bool { _, err := s.Role(ctx, w.Owner, ref.ID); return err != nil })
			}
			w.RequireRoles = nil
		})
	}},
	"ignores required holders": {[]string{"write/holders", "write/atomic"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) { w.RequireHolders = nil })
	}},
	"checks only the roles that inherit a role": {[]string{"write/holders"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			w.RequireHolders = slices.Clone(w.RequireHolders)
			for i := range w.RequireHolders {
				h := &w.RequireHolders[i]
				list, _ := s.Tokens(ctx, w.Owner, latchkey.TokenQuery{Role: h.RoleID})
				h.Tokens = nil
				for _, t := range list {
					if t.Revoked.IsZero() && (h.Minted || t.Parent == "") {
						h.Tokens = append(h.Tokens, latchkey.Ref{ID: t.ID, Version: t.Version})
					}
				}
			}
		})
	}},
	"moves Used back by a put": {[]string{"write/used-never-back"}, func(f *faulty, s latchkey.Store) {
		var put sync.Map
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for _, t := range w.Tokens {
				put.Store(t.ID, t.Used)
			}
		})
		editReads(f, s, func(t *latchkey.Token) {
			if used, ok := put.Load(t.ID); ok {
				t.Used = used.(time.Time)
			}
		})
	}},
	"lengthens the life of a retired secret": {[]string{"secrets/retire"}, func(f *faulty, s latchkey.Store) {
		ends := make(map[[32]byte]time.Time)
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for _, c := range w.Secrets {
				ends[c.Retire] = c.At.Truncate(time.Microsecond)
			}
		})
		f.secrets = func(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
			all, err := s.Secrets(ctx, owner, id)
			for i := range all {
				if end, ok := ends[all[i].Digest]; ok {
					all[i].NotAfter = end
				}
			}
			return all, err
		}
	}},
	"revives a retired secret when it replaces it": {[]string{"secrets/replace"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			for i := range w.Secrets {
				w.Secrets[i].Replace = false
			}
		})
	}},
	"leaves what a deleted token minted": {[]string{"delete/tokens", "delete/deep"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			// The children get another parent first.
			for _, ref := range w.DeleteTokens {
				children, _ := s.Tokens(ctx, w.Owner, latchkey.TokenQuery{Parent: ref.ID})
				for _, c := range children {
					c.Parent = "nobody"
					_ = s.Write(ctx, latchkey.Write{ID: newID(), Owner: w.Owner, At: w.At, Tokens: []latchkey.Token{c},
						Silent: true})
				}
			}
		})
	}},
	"deletes what another owner's token of the same id minted": {[]string{"delete/tokens"},
		func(f *faulty, s latchkey.Store) {
			editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
				for _, ref := range w.DeleteTokens {
					children, _ := s.Tokens(ctx, other, latchkey.TokenQuery{Parent: ref.ID})
					for _, c := range children {
						_ = s.Write(ctx, latchkey.Write{ID: newID(), Owner: other, At: w.At, DeleteTokens: []latchkey.Ref{{ID: c.ID}}})
					}
				}
			})
		}},
	"deletes roles that are in use": {[]string{"delete/roles"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			for _, ref := range w.DeleteRoles {
				holders, _ := s.Tokens(ctx, w.Owner, latchkey.TokenQuery{Role: ref.ID})
				for _, t := range holders {
					t.Roles = nil
					_ = s.Write(ctx, latchkey.Write{ID: newID(), Owner: w.Owner, At: w.At, Tokens: []latchkey.Token{t},
						Silent: true})
				}
			}
		})
	}},
	"erases its own record of the erasure": {[]string{"erase"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
			if w.Erase {
				w.Events = nil
			}
		})
	}},
	"erases only tokens": {[]string{"erase"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(ctx context.Context, w *latchkey.Write) {
			if w.Erase {
				w.Erase = false
				all, _ := s.Tokens(ctx, w.Owner, latchkey.TokenQuery{})
				for _, t := range all {
					w.DeleteTokens = append(w.DeleteTokens, latchkey.Ref{ID: t.ID})
				}
			}
		})
	}},
}

var feedFaults = map[string]fault{
	"does not advance the epoch for roles": {[]string{"feed/what-changes"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) { w.Silent = w.Silent || len(w.Roles) > 0 })
	}},
	"ignores Silent": {[]string{"feed/silent"}, func(f *faulty, s latchkey.Store) {
		editWrites(f, s, func(_ context.Context, w *latchkey.Write) { w.Silent = false })
	}},
	"advances the epoch for usage": {[]string{"feed/what-does-not"}, func(f *faulty, s latchkey.Store) {
		f.addUsage = func(ctx context.Context, b latchkey.UsageBatch) error {
			_ = s.Write(ctx, latchkey.Write{ID: newID(), Owner: "acme", Revocations: []latchkey.Revocation{{ID: "x"}}})
			return s.AddUsage(ctx, b)
		}
	}},
	"skips a number": {[]string{"feed/commit-order", "feed/what-changes"}, func(f *faulty, s latchkey.Store) {
		f.write = func(ctx context.Context, w latchkey.Write) error {
			err := s.Write(ctx, w)
			if feed, _ := s.Changes(ctx, 0, 0, 0); err == nil && !w.Silent && feed.Epoch%5 == 4 {
				err = s.Write(ctx, latchkey.Write{ID: newID(), Owner: w.Owner, Revocations: []latchkey.Revocation{{ID: "x"}}})
			}
			return err
		}
	}},
	"loses a change that commits late": {[]string{"feed/commit-order"}, func(f *faulty, s latchkey.Store) {
		f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
			feed, err := s.Changes(ctx, id, after, n)
			feed.Changes = slices.DeleteFunc(feed.Changes, func(c latchkey.Change) bool { return c.Epoch%7 == 3 })
			return feed, err
		}
	}},
	"returns changes out of order": {[]string{"feed/commit-order", "feed/pages"}, func(f *faulty, s latchkey.Store) {
		f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
			feed, err := s.Changes(ctx, id, after, n)
			slices.Reverse(feed.Changes)
			return feed, err
		}
	}},
	"ends a page inside a transaction": {[]string{"feed/pages", "feed/commit-order"}, func(f *faulty, s latchkey.Store) {
		f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
			feed, err := s.Changes(ctx, id, after, n)
			feed.Changes = feed.Changes[:min(n, len(feed.Changes))]
			return feed, err
		}
	}},
	"reads the epoch after the changes": {[]string{"feed/commit-order"}, func(f *faulty, s latchkey.Store) {
		f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
			feed, err := s.Changes(ctx, id, after, n)
			if n > 0 {
				feed.Epoch = pauseUntilChanged(ctx, s, feed.Epoch)
			}
			return feed, err
		}
		editWrites(f, s, func(context.Context, *latchkey.Write) { pause() })
	}},
	"never reports that history is truncated": {[]string{"feed/truncated", "purge/history"},
		func(f *faulty, s latchkey.Store) {
			f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
				feed, err := s.Changes(ctx, id, after, n)
				feed.Truncated = false
				return feed, err
			}
		}},
	"drops revocations with old history": {[]string{"feed/truncated", "purge/revocations"},
		func(f *faulty, s latchkey.Store) {
			f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
				feed, err := s.Changes(ctx, id, after, n)
				if feed.Truncated {
					feed.Changes = nil
				}
				return feed, err
			}
			var purged atomic.Bool
			right := f.changes
			f.purge = func(ctx context.Context, p latchkey.PurgePolicy, n int) (int, error) {
				purged.Store(true)
				return s.Purge(ctx, p, n)
			}
			f.changes = func(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
				if !purged.Load() {
					return s.Changes(ctx, 0, after, n)
				}
				return right(ctx, id, after, n)
			}
		}},
}
