package memstore

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What names a role is found without a look at every token and role of the owner.
func TestRolesAreIndexed(t *testing.T) {
	s := New(nil)
	n := byte(0)
	write := func(w latchkey.Write) error {
		n++
		w.ID, w.Owner = [16]byte{n}, "acme"
		return s.Write(t.Context(), w)
	}
	held := latchkey.Token{ID: "held", Owner: "acme", Kind: latchkey.KindAPIKey}
	held.Roles = []string{"role"}
	require.NoError(t, write(latchkey.Write{Tokens: []latchkey.Token{held}, Roles: []latchkey.Role{
		{ID: "role", Owner: "acme", Name: "role"}, {ID: "heir", Owner: "acme", Name: "heir", Inherits: []string{"role"}},
		{ID: "free", Owner: "acme", Name: "free"}}}))
	a := s.owners["acme"]
	for i := range 32 { // a look at one of these panics
		a.tokens.put(string(rune('A'+i)), nil)
	}
	a.roles.put("?", latchkey.Role{ID: "?", Inherits: []string{"free", "role"}}) // a look at this one tells of an heir
	holders := []latchkey.Holders{{RoleID: "role", Roles: []latchkey.Ref{{ID: "heir", Version: 1}},
		Tokens: []latchkey.Ref{{ID: "held", Version: 1}}}, {RoleID: "free"}}
	require.NoError(t, write(latchkey.Write{RequireHolders: holders}))
	require.ErrorIs(t, write(latchkey.Write{DeleteRoles: []latchkey.Ref{{ID: "role"}}}), latchkey.ErrInUse)
	require.NoError(t, write(latchkey.Write{DeleteRoles: []latchkey.Ref{{ID: "free"}}}))
	for _, reverse := range []bool{false, true} {
		list, err := s.Tokens(t.Context(), "acme", latchkey.TokenQuery{Role: "role", Reverse: reverse})
		require.NoError(t, err)
		require.Len(t, list, 1)
	}
}

// Whatever is written, undone, purged or erased: the sets that find records are those that a look at all of them makes.
func TestIndexesFollow(t *testing.T) {
	s := New(nil)
	random := rand.New(rand.NewPCG(1, 2))
	some := func(prefix string) (ids []string) {
		for range random.IntN(3) {
			ids = append(ids, fmt.Sprint(prefix, random.IntN(6)))
		}
		return ids
	}
	failed, done := 0, 0
	for n := range 20_000 {
		a := s.ensure("acme")
		var id [16]byte
		binary.BigEndian.PutUint64(id[:], uint64(n)+1)
		w := latchkey.Write{ID: id, Owner: "acme"}
		for range 1 + random.IntN(3) {
			name := fmt.Sprint("t", random.IntN(12))
			one := latchkey.Token{ID: name, Owner: "acme", Kind: latchkey.KindAPIKey}
			if old, ok := a.tokens.get(name); ok && random.IntN(5) > 0 {
				one.Version = old.version
			}
			one.Roles = some("r")
			if random.IntN(2) == 0 {
				one.Parent = fmt.Sprint("t", random.IntN(12))
			}
			if random.IntN(6) == 0 {
				one.Revoked = time.Unix(1, 0)
			}
			role := latchkey.Role{ID: fmt.Sprint("r", random.IntN(6)), Owner: "acme", Name: fmt.Sprint(random.IntN(9))}
			if old, ok := a.roles.get(role.ID); ok {
				role.Version = old.Version
			}
			role.Inherits = some("r")
			switch random.IntN(8) {
			case 0, 1, 2:
				w.Tokens = append(w.Tokens, one)
			case 3, 4:
				w.Roles = append(w.Roles, role)
			case 5:
				w.DeleteRoles = append(w.DeleteRoles, latchkey.Ref{ID: role.ID})
			case 6:
				w.DeleteTokens = append(w.DeleteTokens, latchkey.Ref{ID: name})
			case 7:
				w.Erase = random.IntN(50) == 0
			}
		}
		if err := s.Write(t.Context(), w); err != nil {
			failed++
		} else {
			done++
		}
		if random.IntN(20) == 0 {
			_, err := s.Purge(t.Context(), latchkey.PurgePolicy{Now: time.Unix(2, 0), Changes: -1, Events: -1}, 3)
			require.NoError(t, err)
		}
		want := ownerData{}
		children := map[string]map[*token]struct{}{}
		for _, one := range a.tokens.m {
			for _, role := range one.roles {
				addTo(&want.holders, role, one)
			}
			if one.parent != "" {
				addTo(&children, one.parent, one)
			}
		}
		for _, role := range a.roles.m {
			want.enterRole(&role)
		}
		for name, sets := range map[string][2]int{"holders": {len(want.holders), len(a.holders)},
			"children": {len(children), len(a.children)}, "heirs": {len(want.heirs), len(a.heirs)}} {
			require.Equal(t, sets[0], sets[1], name)
		}
		for key, set := range want.holders {
			require.Equal(t, set, a.holders[key])
		}
		for key, set := range children {
			found := 0
			for one := range a.children[key].all() {
				require.Contains(t, set, one)
				require.Same(t, a.children[key], one.family)
				found++
			}
			require.Equal(t, len(set), found, "children")
			require.Equal(t, len(set), a.children[key].size)
		}
		for key, set := range want.heirs {
			require.Equal(t, set, a.heirs[key])
		}
	}
	require.Greater(t, failed, 1000)
	require.Greater(t, done, 1000)
}
