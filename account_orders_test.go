package latchkey_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A listing joins its pages in every order. Only a listing by id can be read from its end.
func TestTokensInAnyOrder(t *testing.T) {
	ctx, acme := t.Context(), latchkey.New(memstore.New(nil), nil).For("acme")
	for _, name := range []string{"delta", "Alpha", "charlie", "Bravo", "echo"} {
		_, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name})
		require.NoError(t, err)
	}
	names := func(q latchkey.TokenQuery) (out []string) {
		for limit := 1; limit < 7; limit++ {
			q.Limit, out = limit, nil
			for tok, err := range acme.Tokens(ctx, q) {
				require.NoError(t, err)
				if out = append(out, tok.Name); len(out) > 5 {
					break
				}
			}
			if limit > 1 {
				require.Len(t, out, 5)
			}
		}
		return out
	}
	require.Equal(t, []string{"delta", "Alpha", "charlie", "Bravo", "echo"}, names(latchkey.TokenQuery{}))
	require.Equal(t, []string{"echo", "Bravo", "charlie", "Alpha", "delta"}, names(latchkey.TokenQuery{Reverse: true}))
	require.Equal(t, []string{"Alpha", "Bravo", "charlie", "delta", "echo"},
		names(latchkey.TokenQuery{Order: latchkey.OrderName}))
	for _, q := range []latchkey.TokenQuery{{Order: latchkey.OrderName}, {Reverse: true}} {
		_, err := acme.SeekPage(ctx, q, "")
		require.ErrorIs(t, err, latchkey.ErrInvalid)
	}
}
