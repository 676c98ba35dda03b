package sqlstore

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Module e2e tests the engines. The tests of this package need none.

func TestNilDatabase(t *testing.T) {
	_, err := New(context.Background(), nil, latchkey.SQLite, nil)
	require.ErrorIs(t, err, errNoDB)
	_, err = NewReplica(context.Background(), nil, latchkey.Postgres)
	require.ErrorIs(t, err, errNoDB)
	require.ErrorIs(t, Migrate(context.Background(), nil, latchkey.MySQL), errNoDB)
}

func TestWriteSlots(t *testing.T) {
	for limit, want := range map[int]int{0: 8, 1: 1, 2: 1, 5: 2, 16: 8, 100: 8} {
		db := sql.OpenDB(nil)
		db.SetMaxOpenConns(limit)
		require.Equal(t, want, writeSlots(&postgres, db), limit)
	}
	db := sql.OpenDB(nil)
	require.Equal(t, 1, writeSlots(&sqlite, db))
}

// A merged text exists for each shape, so shapes must tell apart what has different statements.
func TestChangeShape(t *testing.T) {
	token := func(version uint64, roles ...string) latchkey.Token {
		return latchkey.Token{ID: "t", Owner: "o", Version: version, Kind: latchkey.KindAPIKey,
			Settings: latchkey.Settings{Roles: roles}}
	}
	one, owner := uint64(1), &latchkey.Owner{ID: "o"}
	event := []latchkey.Event{{Action: "a"}}
	seen := map[string]int{}
	for i, w := range []latchkey.Write{
		{Tokens: []latchkey.Token{token(1)}},
		{Tokens: []latchkey.Token{token(0)}},
		{Tokens: []latchkey.Token{token(1, "r")}},
		{Tokens: []latchkey.Token{token(1)}, Events: event},
		{Tokens: []latchkey.Token{token(1)}, RequireOwner: &one},
		{Tokens: []latchkey.Token{token(1)}, RequireOwner: new(uint64)},
		{Tokens: []latchkey.Token{token(1)}, RequireTokens: []latchkey.Ref{{ID: "x", Version: 3}}},
		{Tokens: []latchkey.Token{token(1)}, RequireTokens: []latchkey.Ref{{ID: "x"}}},
		{Tokens: []latchkey.Token{token(1)}, RequireRoles: []latchkey.Ref{{ID: "x"}}},
		{Roles: []latchkey.Role{{ID: "r", Owner: "o"}}},
		{Roles: []latchkey.Role{{ID: "r", Owner: "o", Version: 2}}},
		{Roles: []latchkey.Role{{ID: "r", Owner: "o", Version: 2, Inherits: []string{"x"}}}},
		{OwnerRecord: owner},
		{OwnerRecord: &latchkey.Owner{ID: "o", Version: 4}},
	} {
		p := plan{w: w}
		shape := p.changeShape()
		require.NotEmpty(t, shape, i)
		require.NotContains(t, seen, shape, i)
		seen[shape] = i
	}
	for i, w := range []latchkey.Write{
		{},
		{Events: event},
		{Tokens: []latchkey.Token{token(1)}, Silent: true},
		{Tokens: []latchkey.Token{token(1), token(2)}},
		{Tokens: []latchkey.Token{token(1)}, Erase: true},
		{Tokens: []latchkey.Token{token(1)}, Secrets: []latchkey.SecretChange{{TokenID: "t"}}},
		{Tokens: []latchkey.Token{token(1)}, DeleteRoles: []latchkey.Ref{{ID: "x"}}},
		{Tokens: []latchkey.Token{token(1)}, DeleteTokens: []latchkey.Ref{{ID: "x"}}},
		{Tokens: []latchkey.Token{token(1)}, RequireHolders: []latchkey.Holders{{RoleID: "r"}}},
		{Tokens: []latchkey.Token{token(1)}, Clients: []latchkey.Client{{ID: "c"}}},
		{Tokens: []latchkey.Token{token(1)}, RequireTokens: make([]latchkey.Ref, maxParts)},
	} {
		p := plan{w: w}
		require.Empty(t, p.changeShape(), i)
	}
}
