package engines

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// A stateless token that one process minted is let in by another one, and by one that began later. What revokes it in
// one process is obeyed in all of them: its id, its client, its parent and its owner.
func TestEnginesStatelessTokens(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnSubjectsAndTiDB(t, func(t *testing.T, e harness.Subject) {
		dsn := e.Fresh(t)
		ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
		require.NoError(t, err)
		process := func() *latchkey.Manager {
			keys := latchkey.New(e.Store(t, dsn), &latchkey.Options{Keyring: ring})
			t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
			return keys
		}
		here, there := process(), process()
		acme := here.For("acme")
		reader, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader",
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/*")}})
		require.NoError(t, err)
		parent, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{reader.ID}})
		require.NoError(t, err)
		access, err := there.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		mint := func(client string) (string, string) {
			token, text, err := access.Mint(ctx, latchkey.Narrowing{Stateless: true, Lifetime: time.Hour,
				Client: latchkey.Client{ID: client},
				Rows:   []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, latchkey.ClientID)}})
			require.NoError(t, err)
			return token.ID, text.Reveal()
		}
		verify := func(text string) (latchkey.Access, error) {
			all := []*latchkey.Manager{here, there, process()}
			a, first := all[0].Verify(ctx, latchkey.Presented{Secret: text})
			for range 2 { // the second time some have it in the cache
				for _, keys := range all {
					_, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
					require.Equal(t, first, err)
				}
			}
			return a, first
		}
		id, text := mint("42")
		_, other := mint("43")
		a, err := verify(text)
		require.NoError(t, err)
		require.Equal(t, id, a.TokenID())
		rows, err := a.Filter(latchkey.Read, "order/1")
		require.NoError(t, err)
		require.True(t, rows.IsAllRows() == false && rows.IsNoRows() == false)
		n, err := acme.CountTokens(ctx, latchkey.TokenQuery{}, 0)
		require.NoError(t, err)
		require.Equal(t, 1, n, "the parent alone is stored")

		// A role of the parent holds for it at once.
		_, err = acme.UpdateRole(ctx, reader.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
		require.NoError(t, err)
		a, err = verify(text)
		require.NoError(t, err)
		require.False(t, a.Allows(latchkey.Read, "order/1"))

		require.NoError(t, acme.Revoke(ctx, id, "seen elsewhere"))
		_, err = verify(text)
		require.ErrorIs(t, err, latchkey.ErrRevoked)
		_, err = verify(other)
		require.NoError(t, err)
		all := func(s latchkey.Selector) {
			_, err := acme.RevokeAll(ctx, s, "over")
			require.NoError(t, err)
		}
		all(latchkey.Selector{Client: "43"})
		_, err = verify(other)
		require.ErrorIs(t, err, latchkey.ErrRevoked)
		_, later := mint("43")
		_, err = verify(later)
		require.NoError(t, err, "it was made after the revocation")
		all(latchkey.Selector{Parent: parent.ID})
		_, err = verify(later)
		require.ErrorIs(t, err, latchkey.ErrRevoked)
		_, last := mint("44")
		require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
		_, err = verify(last)
		require.ErrorIs(t, err, latchkey.ErrOwnerDisabled)
		require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error { o.Disabled = false; return nil }))
		_, err = verify(last)
		require.NoError(t, err)
		require.NoError(t, acme.Revoke(ctx, parent.ID, "over"))
		_, err = verify(last)
		require.ErrorIs(t, err, latchkey.ErrParent)
	})
}
