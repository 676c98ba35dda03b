package latchkey_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A store that sets Damaged without returning an error is handled alike.
func TestDamagedIsNeverAccepted(t *testing.T) {
	mark := map[string]func(f *latchkey.Found){
		"token":    func(f *latchkey.Found) { f.Token.Damaged = true },
		"ancestor": func(f *latchkey.Found) { f.Ancestors[0].Damaged = true },
		"role":     func(f *latchkey.Found) { f.Roles[0].Damaged = true },
		"owner":    func(f *latchkey.Found) { f.Owner.Damaged = true },
	}
	for what, edit := range mark {
		t.Run(what, func(t *testing.T) {
			ctx := t.Context()
			s := &marked{Store: memstore.New(nil)}
			keys := latchkey.New(s, nil)
			acme := keys.For("acme")
			role, err := acme.CreateRole(ctx, latchkey.Role{Name: "empty"})
			require.NoError(t, err)
			_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Roles: []string{role.ID}})
			require.NoError(t, err)
			access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
			_, child, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
			require.NoError(t, err)
			access, err = keys.Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
			require.NoError(t, err)
			s.edit = edit
			_, err = latchkey.New(s, nil).Verify(ctx, latchkey.Presented{Secret: child.Reveal()})
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			_, err = access.Again(ctx)
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			_, err = acme.As(access)
			require.NoError(t, err)
		})
	}
}

type marked struct {
	latchkey.Store
	edit func(*latchkey.Found)
}

func (s *marked) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	f, err := s.Store.ByDigest(ctx, slot, digests...)
	if s.edit != nil {
		s.edit(&f)
	}
	return f, err
}

func (s *marked) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	f, err := s.Store.Load(ctx, owner, id)
	if s.edit != nil {
		s.edit(&f)
	}
	return f, err
}

// A text shows the kind of its token: a record of another kind does not belong to it.
func TestARecordOfAnotherKindThanItsText(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key()
	store := &found{Store: w.store}
	verify := func() error {
		_, err := latchkey.New(store, &latchkey.Options{Clock: w.now}).Verify(w.ctx, latchkey.Presented{Secret: secret})
		return err
	}
	w.ok(verify())
	store.edit = func(f *latchkey.Found) { f.Token.Kind = latchkey.KindSecret }
	w.is(latchkey.ErrUnavailable, verify())
	require.Equal(t, 1, store.edited)
}
