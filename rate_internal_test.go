package latchkey

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each half of the key of a rate depends on the owner and on the id, and each with a seed of its own: who finds two
// that share one half has not found two that share both.
func TestRateKeysHaveTwoHalves(t *testing.T) {
	one, other := tokenRateKey("acme", [16]byte{1, 15: 1}), tokenRateKey("globex", [16]byte{1, 15: 1})
	next, whole := tokenRateKey("acme", [16]byte{2, 15: 2}), ownerRateKey("acme")
	for _, k := range []rateKey{other, next} {
		require.NotEqual(t, one[:8], k[:8])
		require.NotEqual(t, one[8:], k[8:])
	}
	require.NotEqual(t, one[:8], one[8:])
	require.NotEqual(t, tokenRateKey("acme", [16]byte{}), whole, "that of an owner is no token's")
	require.NotEqual(t, ownerRateKey("globex"), whole)
	require.Equal(t, one, tokenRateKey("acme", [16]byte{}).ofToken([16]byte{1, 15: 1}))
}
