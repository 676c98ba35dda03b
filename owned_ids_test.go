package latchkey_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// sameIDs is two owners whose tokens have the same id, each with a secret of its own.
type sameIDs struct {
	*world
	id      string
	globex  latchkey.Account
	secrets [2]string // acme's, globex's
}

// givenID returns an id that the host may give at the world's time.
func (w *world) givenID() string {
	id, err := uuid.NewV7()
	w.ok(err)
	ms := uint64(w.now().UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id.String()
}

func newSameIDs(t *testing.T, s latchkey.Settings, change ...func(*latchkey.Options)) *sameIDs {
	w := newWorld(t, change...)
	two := &sameIDs{world: w, id: w.givenID(), globex: w.keys.For("globex")}
	for i, account := range []latchkey.Account{w.acme, two.globex} {
		spec := s.Spec(latchkey.KindAPIKey)
		spec.ID = two.id
		tok, secret, err := account.Issue(w.ctx, spec)
		w.ok(err)
		require.Equal(t, two.id, tok.ID)
		two.secrets[i] = secret.Reveal()
	}
	return two
}

// Two owners may have a token with the same id, since hosts give ids. Whatever is kept of a token is kept by owner and
// id: what happens to acme's leaves globex' as it is.
func TestTwoOwnersMayHaveTheSameID(t *testing.T) {
	all := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	plain := latchkey.Settings{Permissions: all}
	for _, c := range []struct {
		state    string
		settings latchkey.Settings
		check    func(w *sameIDs)
	}{
		{"rate", latchkey.Settings{Permissions: all, Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}},
			func(w *sameIDs) {
				w.access(w.secrets[0])
				_, err := w.verify(w.secrets[0])
				w.is(latchkey.ErrRateLimited, err)
				w.access(w.secrets[1])
				_, err = w.verify(w.secrets[1])
				w.is(latchkey.ErrRateLimited, err)
			}},
		{"rate of the parent", latchkey.Settings{Permissions: all,
			Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour, Burst: 1}}},
			func(w *sameIDs) {
				var children [2]string
				for i, s := range w.secrets {
					_, children[i] = w.mint(w.access(s), latchkey.Narrowing{})
				}
				w.access(children[0])
				_, err := w.verify(children[0])
				w.is(latchkey.ErrRateLimited, err)
				w.access(children[1])
			}},
		{"a rate set anew", latchkey.Settings{Permissions: all,
			Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}},
			func(w *sameIDs) {
				for _, s := range w.secrets {
					w.access(s)
				}
				_, err := w.globex.Update(w.ctx, w.id, func(t *latchkey.Token) error {
					t.Limits = latchkey.Limits{}
					return nil
				})
				w.ok(err)
				w.access(w.secrets[1])
				_, err = w.verify(w.secrets[0])
				w.is(latchkey.ErrRateLimited, err)
			}},
		{"idle", latchkey.Settings{Permissions: all, Validity: latchkey.Validity{Idle: time.Hour}}, func(w *sameIDs) {
			for _, s := range w.secrets {
				w.access(s)
			}
			w.turn(40 * time.Minute)
			w.access(w.secrets[1])
			w.turn(40 * time.Minute)
			_, err := w.verify(w.secrets[0])
			w.is(latchkey.ErrExpired, err)
			w.access(w.secrets[1])
		}},
		{"idle of the parent", latchkey.Settings{Permissions: all, Validity: latchkey.Validity{Idle: time.Hour}},
			func(w *sameIDs) {
				var children [2]string
				for i, s := range w.secrets {
					_, children[i] = w.mint(w.access(s), latchkey.Narrowing{Lifetime: 9 * time.Hour})
					w.access(children[i])
				}
				w.turn(40 * time.Minute)
				w.access(w.secrets[1])
				w.turn(40 * time.Minute)
				_, err := w.verify(children[0])
				w.is(latchkey.ErrParent, err)
				w.access(children[1])
			}},
		{"last use", plain, func(w *sameIDs) {
			w.access(w.secrets[0])
			first := w.now()
			w.turn(20 * time.Minute)
			w.access(w.secrets[1]) // before the first was written: the two wait for one batch
			for i, want := range []time.Time{first, w.now()} {
				tok, err := []latchkey.Account{w.acme, w.globex}[i].Get(w.ctx, w.id)
				w.ok(err)
				require.Equal(w, want.Truncate(time.Second), tok.Used.Truncate(time.Second), i)
			}
		}},
		{"credits", latchkey.Settings{Permissions: all, Limits: monthly(100)}, func(w *sameIDs) {
			a, b := w.access(w.secrets[0]), w.access(w.secrets[1])
			w.ok(spendOn(w, a, 100))
			w.is(latchkey.ErrOverLimit, spendOn(w, a, 1))
			w.ok(spendOn(w, b, 100))
			w.is(latchkey.ErrOverLimit, spendOn(w, b, 1))
		}},
		{"credits of the parent", latchkey.Settings{Permissions: all, Limits: monthly(100)},
			func(w *sameIDs) {
				var children [2]latchkey.Access
				for i, s := range w.secrets {
					_, child := w.mint(w.access(s), latchkey.Narrowing{})
					children[i] = w.access(child)
				}
				w.ok(spendOn(w, children[0], 100))
				w.is(latchkey.ErrOverLimit, spendOn(w, children[0], 1))
				w.ok(spendOn(w, children[1], 100))
			}},
		{"usage", plain, func(w *sameIDs) {
			w.access(w.secrets[0]).Count("api", "GET /", 3)
			w.access(w.secrets[1]).Count("api", "GET /", 4)
			for i, want := range []int64{3, 4} {
				rows, err := []latchkey.Account{w.acme, w.globex}[i].Usage(w.ctx,
					latchkey.UsageQuery{TokenIDs: []string{w.id}})
				w.ok(err)
				require.Equal(w, want, rows[0].Count)
			}
		}},
		{"revocation", plain, func(w *sameIDs) {
			w.access(w.secrets[0])
			w.access(w.secrets[1])
			reads := w.store.lookups.Load()
			w.ok(w.acme.Revoke(w.ctx, w.id, "left"))
			w.access(w.secrets[1])
			require.Equal(w, reads, w.store.lookups.Load(), "globex' is still cached")
			_, err := w.verify(w.secrets[0])
			w.is(latchkey.ErrRevoked, err)
		}},
		{"deletion", plain, func(w *sameIDs) {
			w.access(w.secrets[0])
			w.access(w.secrets[1])
			w.ok(w.acme.Delete(w.ctx, w.id))
			_, err := w.verify(w.secrets[0])
			w.is(latchkey.ErrUnknownToken, err)
			w.access(w.secrets[1])
			_, err = w.globex.Get(w.ctx, w.id)
			w.ok(err)
		}},
		{"a change of rights", plain, func(w *sameIDs) {
			w.access(w.secrets[0])
			w.access(w.secrets[1])
			reads := w.store.lookups.Load()
			_, err := w.acme.Update(w.ctx, w.id, func(t *latchkey.Token) error { t.Permissions = nil; return nil })
			w.ok(err)
			require.True(w, w.access(w.secrets[1]).Allows(latchkey.Read, "x"))
			require.Equal(w, reads, w.store.lookups.Load(), "globex' is still cached")
			require.False(w, w.access(w.secrets[0]).Allows(latchkey.Read, "x"))
		}},
		{"a change of the parent's rights", plain, func(w *sameIDs) {
			var children [2]string
			for i, s := range w.secrets {
				_, children[i] = w.mint(w.access(s), latchkey.Narrowing{})
				w.access(children[i])
			}
			reads := w.store.lookups.Load()
			_, err := w.acme.Update(w.ctx, w.id, func(t *latchkey.Token) error { t.Permissions = nil; return nil })
			w.ok(err)
			require.True(w, w.access(children[1]).Allows(latchkey.Read, "x"))
			require.Equal(w, reads, w.store.lookups.Load(), "globex' child is still cached")
			require.False(w, w.access(children[0]).Allows(latchkey.Read, "x"))
			w.ok(w.acme.Revoke(w.ctx, w.id, ""))
			w.access(children[1])
			_, err = w.verify(children[0])
			w.is(latchkey.ErrParent, err)
		}},
		{"Again", plain, func(w *sameIDs) {
			a, b := w.access(w.secrets[0]), w.access(w.secrets[1])
			w.ok(w.acme.Revoke(w.ctx, w.id, ""))
			_, err := a.Again(w.ctx)
			w.is(latchkey.ErrRevoked, err)
			b, err = b.Again(w.ctx)
			w.ok(err)
			require.Equal(w, "globex", b.Owner())
		}},
		{"Lineage", plain, func(w *sameIDs) {
			child, _ := w.mint(w.access(w.secrets[0]), latchkey.Narrowing{})
			lineage, err := w.acme.Lineage(w.ctx, child.ID)
			w.ok(err)
			require.Equal(w, "acme", lineage.Ancestors[0].Owner)
			_, err = w.globex.Lineage(w.ctx, child.ID)
			w.is(latchkey.ErrNotFound, err)
		}},
		{"children", plain, func(w *sameIDs) {
			mine, secret := w.mint(w.access(w.secrets[0]), latchkey.Narrowing{})
			theirs, other := w.mint(w.access(w.secrets[1]), latchkey.Narrowing{})
			for i, want := range []string{mine.ID, theirs.ID} {
				var listed []string
				for tok, err := range []latchkey.Account{w.acme, w.globex}[i].Tokens(w.ctx,
					latchkey.TokenQuery{Parent: w.id}) {
					w.ok(err)
					listed = append(listed, tok.ID)
				}
				require.Equal(w, []string{want}, listed)
			}
			w.ok(w.acme.Delete(w.ctx, w.id))
			_, err := w.verify(secret)
			w.is(latchkey.ErrUnknownToken, err)
			w.access(other)
		}},
	} {
		for name, size := range map[string]int{"cached": 0, "not cached": -1} {
			t.Run(c.state+"/"+name, func(t *testing.T) {
				if size != 0 && (c.state == "revocation" || c.state == "a change of rights" ||
					c.state == "a change of the parent's rights") {
					t.Skip("it counts what the cache spares")
				}
				w := newSameIDs(t, c.settings, func(o *latchkey.Options) { o.CacheTokens = size })
				c.check(w)
			})
		}
	}
}

// The host may give the id of a token, so that it can keep it first and repeat Issue after a crash.
func TestAGivenID(t *testing.T) {
	ctx := context.Background()
	at := func(w *world, d time.Duration) string {
		w.turn(d)
		defer w.turn(-d)
		return w.givenID()
	}
	t.Run("which", func(t *testing.T) {
		w := newWorld(t, legacyOptions)
		for text, id := range map[string]string{
			"is not a UUIDv7":         "token-1",
			"in lower case":           "0198C2A5-7B1E-7C3D-8F00-5A1B2C3D4E5F",
			"UUIDv7":                  uuid.NewString(),
			"such as":                 "{" + w.givenID() + "}",
			"within an hour of now":   at(w, -time.Hour-time.Second),
			"within an hour of now: ": at(w, time.Hour+time.Second),
		} {
			_, _, err := w.acme.Issue(ctx, latchkey.Spec{ID: id, Kind: latchkey.KindAPIKey})
			w.is(latchkey.ErrInvalid, err)
			require.ErrorContains(t, err, text, id)
			_, err = w.acme.ImportDigest(ctx, latchkey.Spec{ID: id, Kind: latchkey.KindAPIKey}, keptDigest(t))
			w.is(latchkey.ErrInvalid, err)
		}
		variant := []byte(w.givenID())
		variant[19] = 'c'
		_, _, err := w.acme.Issue(ctx, latchkey.Spec{ID: string(variant), Kind: latchkey.KindAPIKey})
		w.is(latchkey.ErrInvalid, err)
		for _, d := range []time.Duration{-time.Hour + time.Second, 0, time.Hour} {
			id := at(w, d)
			tok, _, err := w.acme.Issue(ctx, latchkey.Spec{ID: id, Kind: latchkey.KindAPIKey})
			w.ok(err)
			require.Equal(t, id, tok.ID)
		}
		given := w.givenID()
		tok, err := w.acme.ImportDigest(ctx, latchkey.Spec{ID: given, Kind: latchkey.KindAPIKey}, keptDigest(t))
		w.ok(err)
		require.Equal(t, given, tok.ID)
	})
	t.Run("not twice", func(t *testing.T) {
		w := newWorld(t, legacyOptions, func(o *latchkey.Options) {
			o.KeepRevoked, o.KeepExpired = time.Nanosecond, time.Nanosecond
		})
		issue := func(id string) error {
			_, _, err := w.acme.Issue(ctx, latchkey.Spec{ID: id, Kind: latchkey.KindAPIKey})
			return err
		}
		kept, deleted, purged := w.givenID(), w.givenID(), at(w, time.Hour)
		for _, id := range []string{kept, deleted, purged} {
			w.ok(issue(id))
			w.is(latchkey.ErrExists, issue(id))
		}
		_, err := w.acme.Import(ctx, latchkey.Spec{ID: kept, Kind: latchkey.KindAPIKey}, foreignText(t))
		w.is(latchkey.ErrExists, err)
		_, err = w.acme.ImportDigest(ctx, latchkey.Spec{ID: kept, Kind: latchkey.KindAPIKey}, keptDigest(t))
		w.is(latchkey.ErrExists, err)
		w.ok(w.acme.Delete(ctx, deleted))
		w.is(latchkey.ErrExists, issue(deleted))
		w.ok(w.acme.Revoke(ctx, purged, ""))
		for d := time.Duration(0); d < 2*time.Hour; d += 10 * time.Minute { // until no id of that time can be given
			_, err := w.keys.Purge(ctx)
			w.ok(err)
			if _, err := w.acme.Get(ctx, purged); d > 0 {
				w.is(latchkey.ErrNotFound, err)
			}
			err = issue(purged)
			if d <= time.Hour {
				w.is(latchkey.ErrExists, err)
			} else if !errors.Is(err, latchkey.ErrExists) {
				w.is(latchkey.ErrInvalid, err)
			}
			w.turn(10 * time.Minute)
		}
		made, _ := w.key()
		w.ok(w.acme.Delete(ctx, made.ID))
		w.is(latchkey.ErrExists, issue(made.ID))
		w.ok(w.keys.For("globex").Erase(ctx)) // another owner's ids are its own
		_, _, err = w.keys.For("globex").Issue(ctx, latchkey.Spec{ID: made.ID, Kind: latchkey.KindAPIKey})
		w.ok(err)
	})
	t.Run("not by an actor", func(t *testing.T) {
		w := newWorld(t, legacyOptions)
		_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
		assumed, err := w.acme.Assume(latchkey.Client{ID: "u"},
			latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")})
		w.ok(err)
		for _, actor := range []latchkey.Access{w.access(root), assumed} {
			as, err := w.acme.As(actor)
			w.ok(err)
			spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
			_, _, err = as.Issue(ctx, spec)
			w.ok(err)
			spec.ID = w.givenID()
			var denied *latchkey.DeniedError
			_, _, err = as.Exceeding().Issue(ctx, spec)
			require.ErrorAs(t, err, &denied)
			_, err = as.Import(ctx, spec, foreignText(t))
			require.ErrorAs(t, err, &denied)
			_, err = as.ImportDigest(ctx, spec, keptDigest(t))
			require.ErrorAs(t, err, &denied)
		}
	})
	t.Run("not in JSON", func(t *testing.T) {
		var spec latchkey.Spec
		require.ErrorIs(t, spec.UnmarshalJSON([]byte(`{"kind": "api_key", "id": "x"}`)), latchkey.ErrInvalid)
		require.ErrorIs(t, spec.UnmarshalJSON([]byte(`{"kind": "api_key", "ID": "x"}`)), latchkey.ErrInvalid)
	})
}

func spendOn(w *sameIDs, a latchkey.Access, n latchkey.Credits) error {
	_, err := a.Spend(w.ctx, "api", "GET /", n)
	return err
}
