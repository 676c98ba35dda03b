package sqlstore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Statements for many mints have no columns for secrets of other systems.
func TestForeignSecretsAreNoMints(t *testing.T) {
	own := latchkey.SecretRecord{Digest: [32]byte{1}}
	foreign := latchkey.SecretRecord{Digest: [32]byte{2}, Algorithm: "bcrypt", Lookup: "x", Hash: []byte("x")}
	for secret, mint := range map[*latchkey.SecretRecord]bool{&own: true, &foreign: false} {
		p, err := newPlan(&latchkey.Write{ID: [16]byte{1}, Owner: "acme", Silent: true,
			Tokens:  []latchkey.Token{{ID: "t", Owner: "acme", Kind: latchkey.KindAPIKey}},
			Secrets: []latchkey.SecretChange{{TokenID: "t", Add: secret}}})
		require.NoError(t, err)
		require.Equal(t, mint, p.onlyMints(), secret.Algorithm)
	}
}
