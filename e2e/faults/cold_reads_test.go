package faults

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// A node far from the database looks up what it does not know, while records of other owners are changed before each
// of its statements. Two reads are one snapshot if nothing of that owner changed, so it is answered at once.
func TestColdLookUpsWhileOthersChange(t *testing.T) {
	for _, s := range harness.Subjects {
		t.Run(s.Name, func(t *testing.T) {
			w := newFaultyWorld(t, s)
			near := latchkey.New(harness.OpenStore(t, w.plain, s.Dialect), nil)
			acme, globex := near.For("cold"), near.For("busy")
			base, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "base",
				Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
			require.NoError(t, err)
			role, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "heir", Inherits: []string{base.ID}})
			require.NoError(t, err)
			root, key, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
				Roles: []string{role.ID}})
			require.NoError(t, err)
			a, err := near.Verify(t.Context(), latchkey.Presented{Secret: key.Reveal()})
			require.NoError(t, err)
			minted, access, err := a.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour, Roles: []string{role.ID}})
			require.NoError(t, err)
			other, _, err := globex.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)

			// Every call is a new store's, which knows nothing.
			statements, changes := 0, 0
			change := func(of latchkey.Account, id string) func(string) {
				return func(text string) {
					if !strings.HasPrefix(text, "SELECT") && !strings.HasPrefix(text, "WITH") {
						return // nobody could change anything inside a transaction of SQLite
					}
					statements++
					_, err := of.Update(t.Context(), id,
						func(t *latchkey.Token) error { t.Name = strconv.Itoa(statements); return nil })
					if assert.NoError(t, err) {
						changes++
					}
				}
			}
			for name, try := range map[string]func(far *latchkey.Manager) error{
				"a key": func(far *latchkey.Manager) error {
					_, err := far.Verify(t.Context(), latchkey.Presented{Secret: key.Reveal()})
					return err
				},
				"a minted token": func(far *latchkey.Manager) error {
					a, err := far.Verify(t.Context(), latchkey.Presented{Secret: access.Reveal()})
					if err == nil && !a.Allows(latchkey.Read, "x") {
						t.Error("it may read")
					}
					return err
				},
				"a token by its id": func(far *latchkey.Manager) error {
					_, err := far.For("cold").Get(t.Context(), minted.ID)
					return err
				},
			} {
				far := latchkey.New(w.newStore(t), nil)
				statements, changes = 0, 0
				w.f.Before = change(globex, other.ID)
				err := try(far)
				w.f.Before = nil
				require.NoError(t, err, name)
				assert.Positive(t, changes, name)
				assert.LessOrEqual(t, statements, 10, "%s: statements of one look-up", name)
			}

			// Where something of its own owner changes with every statement, no cut can be had.
			far := latchkey.New(w.newStore(t), nil)
			w.f.Before = change(acme, root.ID)
			_, err = far.Verify(t.Context(), latchkey.Presented{Secret: access.Reveal()})
			w.f.Before = nil
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			_, err = far.Verify(t.Context(), latchkey.Presented{Secret: access.Reveal()})
			require.NoError(t, err)
		})
	}
}
