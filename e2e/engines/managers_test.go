package engines

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// Two Managers over one database, as two processes have. With MaxStale 0 each obeys at once what has returned in the
// other.
func TestEnginesTwoManagers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnPooledToo(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		here, there := manager(t, e, dsn), manager(t, e, dsn)
		acme := here.For("acme")
		verify := func(secret string) error {
			access, err := there.Verify(ctx, latchkey.Presented{Secret: secret})
			if err != nil {
				return err
			}
			return access.Check(latchkey.Read, "dataset/orders")
		}

		reader, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader",
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
		require.NoError(t, err)
		token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Name: "reporting", Roles: []string{reader.ID}})
		require.NoError(t, err)
		require.NoError(t, verify(secret.Reveal()))

		// A child minted there is known here, and lives by its parent.
		access, err := there.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour,
			Client: latchkey.Client{ID: "42", Name: "Ada"},
			Rows:   []latchkey.Condition{latchkey.Where("region", latchkey.Eq, "EU")}})
		require.NoError(t, err)
		access, err = here.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
		require.NoError(t, err)
		_, err = access.Filter(latchkey.Read, "dataset/orders")
		require.NoError(t, err)

		// A role edited here changes what is allowed there.
		_, err = acme.UpdateRole(ctx, reader.ID, func(r *latchkey.Role) error {
			r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/other")}
			return nil
		})
		require.NoError(t, err)
		require.ErrorIs(t, verify(secret.Reveal()), latchkey.ErrDenied)
		_, err = acme.UpdateRole(ctx, reader.ID, func(r *latchkey.Role) error {
			r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, verify(secret.Reveal()))
		require.ErrorIs(t, acme.DeleteRole(ctx, reader.ID), latchkey.ErrInUse)

		// Rotation without an overlap, and the owner's off switch.
		fresh, err := acme.Rotate(ctx, token.ID, 0)
		require.NoError(t, err)
		require.ErrorIs(t, verify(secret.Reveal()), latchkey.ErrInvalidToken)
		require.NoError(t, verify(fresh.Reveal()))
		for _, off := range []bool{true, false} {
			require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
				o.Disabled = off
				return nil
			}))
			if err := verify(fresh.Reveal()); off {
				require.ErrorIs(t, err, latchkey.ErrInvalidToken)
			} else {
				require.NoError(t, err)
			}
		}

		require.NoError(t, acme.Revoke(ctx, token.ID, "leaked"))
		require.ErrorIs(t, verify(fresh.Reveal()), latchkey.ErrInvalidToken)
		require.ErrorIs(t, verify(child.Reveal()), latchkey.ErrInvalidToken, "and with it what was minted from it")
		_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
		require.Error(t, err)

		var actions []string
		for event, err := range there.For("acme").Events(ctx, latchkey.EventQuery{}) {
			require.NoError(t, err)
			actions = append(actions, event.Action)
		}
		require.Contains(t, actions, "token.revoke")
		for _, err := range there.For("globex").Tokens(ctx, latchkey.TokenQuery{}) {
			t.Fatalf("another owner sees a token: %v", err)
		}
	})
}

// No Verify that begins after Revoke returned elsewhere is answered from before it, however many are under way.
func TestEnginesRevokedEverywhere(t *testing.T) {
	const rounds, verifiers = 15, 4
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnPooledToo(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		here, there := manager(t, e, dsn), manager(t, e, dsn)
		for round := range rounds {
			acme := here.For(fmt.Sprint("acme ", round%3))
			token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			var revoked atomic.Bool
			var begun, all sync.WaitGroup
			begun.Add(verifiers)
			for range verifiers {
				all.Go(func() {
					for first := true; ; first = false {
						late := revoked.Load()
						_, err := there.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
						if first {
							begun.Done()
						}
						if errors.Is(err, latchkey.ErrInvalidToken) {
							return
						}
						if err != nil || late {
							t.Errorf("accepted after Revoke had returned: %t; error %v", late, err)
							return
						}
					}
				})
			}
			begun.Wait()
			require.NoError(t, acme.Revoke(ctx, token.ID, ""))
			revoked.Store(true)
			all.Wait()
		}
	})
}

func manager(t *testing.T, e *harness.Engine, dsn string) *latchkey.Manager {
	keys := latchkey.New(e.Store(t, dsn), nil)
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	return keys
}
