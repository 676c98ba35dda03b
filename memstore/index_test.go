package memstore_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// Ids in no order, removed and put again, are listed in byte order.
func TestListingInAnyOrder(t *testing.T) {
	ctx, s := context.Background(), memstore.New(nil)
	const n, step = 1000, 387 // 387 n-th steps visit every id once
	write := 0
	do := func(w latchkey.Write) {
		write++
		w.ID, w.Owner, w.At = key(write), "acme", noon
		err := s.Write(ctx, w)
		require.NoError(t, err)
	}
	for round := range 2 {
		for i := range n {
			id := tokenID(i * step % n)
			do(latchkey.Write{Tokens: []latchkey.Token{{ID: id, Owner: "acme", Kind: latchkey.KindAPIKey, Created: noon}}})
		}
		page, err := s.Tokens(ctx, "acme", latchkey.TokenQuery{Page: latchkey.Page{Limit: n}})
		require.NoError(t, err)
		require.Len(t, page, n)
		for i := range page {
			require.Equal(t, tokenID(i), page[i].ID, "round %d", round)
		}
		for i := range n - round { // the second time, one is left
			do(latchkey.Write{DeleteTokens: []latchkey.Ref{{ID: tokenID(i * step % n)}}})
		}
	}
	page, err := s.Tokens(ctx, "acme", latchkey.TokenQuery{})
	require.NoError(t, err)
	assert.Len(t, page, 1)
	assert.Equal(t, 1, s.Len())
}
