package judges

import (
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/internal/base62"
	"github.com/latchkey-go/latchkey/memstore"
)

// TestForgedTextsAreRefused alters tokens in each place, to each other character, with the checksum as it was and with
// one that is right; cuts them; and lengthens them. Each token is accepted as it was made.
func TestForgedTextsAreRefused(t *testing.T) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	ctx := t.Context()
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Keyring: ring})
	forged := 0
	refuse := func(text string) {
		forged++
		if _, err := keys.Verify(ctx, latchkey.Presented{Secret: text}); err == nil {
			t.Fatal("a forged text was accepted")
		}
	}
	kinds := []latchkey.Kind{latchkey.KindAPIKey, latchkey.KindSecret, latchkey.KindPublishable}
	for n := range harness.Rounds(60, 600) {
		_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: kinds[n%len(kinds)]})
		require.NoError(t, err)
		text := secret.Reveal()
		_, err = keys.Verify(ctx, latchkey.Presented{Secret: text})
		require.NoError(t, err)
		for i := range text {
			refuse(text[:i])
			for _, c := range alphabet + "_ =+/\x00" {
				if byte(c) == text[i] {
					continue
				}
				altered := text[:i] + string(c) + text[i+1:]
				refuse(altered)
				body := altered[:len(altered)-6]
				if signed := string(base62.AppendUint32([]byte(body), crc32.ChecksumIEEE([]byte(body)))); signed != text {
					refuse(signed)
				}
			}
		}
		for _, more := range []string{"0", " ", "\n", "\x00", "=", text} {
			refuse(text + more)
			refuse(more + text)
		}
		refuse(strings.ToUpper(text))
		refuse(strings.ToLower(text))
	}
	require.Greater(t, forged, 250_000)
	t.Logf("%d forged texts: 0 accepted", forged)
}
