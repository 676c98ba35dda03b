package latchkey_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// contested is a store in which other writers are first: it refuses as many Writes as others says.
type contested struct {
	latchkey.Store
	others, writes atomic.Int64
	before         func() // each of them; nil: nothing
}

func (s *contested) Write(ctx context.Context, w latchkey.Write) error {
	s.writes.Add(1)
	if s.before != nil {
		s.before()
	}
	if s.others.Add(-1) >= 0 {
		return latchkey.ErrConflict
	}
	return s.Store.Write(ctx, w)
}

// contestedCalls are all calls that read and then write what they read. Each is given a token of its own, a role of its
// own, and an actor that may do everything.
var contestedCalls = map[string]func(ctx context.Context, as latchkey.Account, token, role string) error{
	"CreateRole": func(ctx context.Context, as latchkey.Account, _, _ string) error {
		_, err := as.CreateRole(ctx, latchkey.Role{Name: "new"})
		return err
	},
	"UpdateRole": func(ctx context.Context, as latchkey.Account, _, role string) error {
		_, err := as.UpdateRole(ctx, role, func(r *latchkey.Role) error { r.Name += "s"; return nil })
		return err
	},
	"DeleteRole": func(ctx context.Context, as latchkey.Account, _, role string) error { return as.DeleteRole(ctx, role) },
	"Issue": func(ctx context.Context, as latchkey.Account, _, _ string) error {
		_, _, err := as.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		return err
	},
	"Update": func(ctx context.Context, as latchkey.Account, token, _ string) error {
		_, err := as.Update(ctx, token, func(t *latchkey.Token) error { t.Name = "new"; return nil })
		return err
	},
	"Rotate": func(ctx context.Context, as latchkey.Account, token, _ string) error {
		_, err := as.Rotate(ctx, token, time.Hour)
		return err
	},
	"Revoke": func(ctx context.Context, as latchkey.Account, token, _ string) error {
		return as.Revoke(ctx, token, "")
	},
	"Delete": func(ctx context.Context, as latchkey.Account, token, _ string) error { return as.Delete(ctx, token) },
	"Reveal": func(ctx context.Context, as latchkey.Account, token, _ string) error {
		_, err := as.Reveal(ctx, token)
		return err
	},
	"RevealAll": func(ctx context.Context, as latchkey.Account, token, _ string) error {
		_, err := as.RevealAll(ctx, token)
		return err
	},
	"SigningSecret": func(ctx context.Context, as latchkey.Account, token, _ string) error {
		_, err := as.SigningSecret(ctx, token)
		return err
	},
	"Configure": func(ctx context.Context, as latchkey.Account, _, _ string) error {
		return as.Configure(ctx, func(o *latchkey.Owner) error { o.Disabled = false; return nil })
	},
	"Mint": func(ctx context.Context, as latchkey.Account, token, _ string) error {
		secret, err := as.Reveal(ctx, token)
		if err != nil {
			return err
		}
		access, err := as.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		if err != nil {
			return err
		}
		_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Minute})
		return err
	},
}

// eachContested runs test for each call, by the host and by an actor. Run makes the call.
func eachContested(t *testing.T, test func(t *testing.T, s *contested, run func(ctx context.Context) error)) {
	for name, call := range contestedCalls {
		for _, who := range []string{"host", "actor"} {
			t.Run(name+" by the "+who, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &contested{Store: memstore.New(nil)}
					keyring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte("0123456789abcdef0123456789abcdef")}))
					keys := latchkey.New(s, &latchkey.Options{Keyring: keyring})
					as := keys.For("acme")
					if who == "actor" {
						_, secret, err := as.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
						require.NoError(t, err)
						actor, err := as.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
						require.NoError(t, err)
						as, err = as.As(actor)
						require.NoError(t, err)
					}
					token, _, err := as.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
					require.NoError(t, err)
					role, err := as.CreateRole(t.Context(), latchkey.Role{Name: "analyst"})
					require.NoError(t, err)
					s.writes.Store(0)
					test(t, s, func(ctx context.Context) error { return call(ctx, as, token.ID, role.ID) })
					require.NoError(t, keys.Close(context.Background()))
				})
			})
		}
	}
}

// However many other writers are first, none of these calls gives up before the record has been busy for long: a caller
// cannot do better than to call again.
func TestCallsOutlastOtherWriters(t *testing.T) {
	eachContested(t, func(t *testing.T, s *contested, run func(ctx context.Context) error) {
		s.others.Store(40)
		require.NoError(t, run(t.Context()))
		require.GreaterOrEqual(t, s.writes.Load(), int64(41))
	})
}

// A conflict that never ends is returned all the same, after a while and not after two tries.
func TestCallsGiveUpAConflictThatStays(t *testing.T) {
	eachContested(t, func(t *testing.T, s *contested, run func(ctx context.Context) error) {
		s.others.Store(1 << 40)
		began := time.Now()
		require.ErrorIs(t, run(t.Context()), latchkey.ErrConflict)
		took := time.Since(began)
		require.Greater(t, took, 10*time.Second)
		require.Less(t, took, 12*time.Second)
		require.Greater(t, s.writes.Load(), int64(40))
	})
}

// Nobody waits longer than its context allows.
func TestCallsThatConflictObeyTheirContext(t *testing.T) {
	eachContested(t, func(t *testing.T, s *contested, run func(ctx context.Context) error) {
		s.others.Store(1 << 40)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := run(ctx)
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(began))
	})
}

func TestManyWritersOfOneRoleAllSucceed(t *testing.T) {
	ctx := t.Context()
	acme := latchkey.New(memstore.New(nil), nil).For("acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "counter", Extra: []byte("0")})
	require.NoError(t, err)
	const writers, each = 8, 40
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				_, err := acme.UpdateRole(ctx, role.ID, func(r *latchkey.Role) error {
					r.Extra = append([]byte("1"), r.Extra...)
					return nil
				})
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	got, err := acme.Role(ctx, role.ID)
	require.NoError(t, err)
	require.Len(t, got.Extra, writers*each+1)
}

// The first conflict is followed by the next try at once: mostly the other writer is done.
func TestTheFirstConflictCostsNoTime(t *testing.T) {
	eachContested(t, func(t *testing.T, s *contested, run func(ctx context.Context) error) {
		s.others.Store(1)
		began := time.Now()
		require.NoError(t, run(t.Context()))
		require.Equal(t, began, time.Now())
		require.LessOrEqual(t, s.writes.Load(), int64(3), "Mint has a write of its own before")
	})
}

// A call that always conflicts is tried sixteen times at least, however long each takes, and for ten seconds at least.
func TestHowOftenAConflictIsTriedAgain(t *testing.T) {
	for _, slow := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &contested{Store: memstore.New(nil)}
			acme := latchkey.New(s, nil).For("acme")
			s.others.Store(math.MaxInt64)
			if slow {
				s.before = func() { time.Sleep(2 * time.Second) }
			}
			began := time.Now()
			_, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "new"})
			require.ErrorIs(t, err, latchkey.ErrConflict)
			if slow {
				require.EqualValues(t, 16, s.writes.Load())
			} else {
				require.GreaterOrEqual(t, time.Since(began), 10*time.Second)
				require.Greater(t, s.writes.Load(), int64(16))
			}
		})
	}
}
