package judges

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// vector is a case of Wycheproof, of any of the files below.
type vector struct {
	ID                           int    `json:"tcId"`
	Comment                      string `json:"comment"`
	Key, Msg, Tag, IV, AAD, CT   string
	IKM, Salt, Info, OKM, Result string
	Size                         int
}

// vectors returns the cases of a file, each with the sizes of its group in bits.
func vectors(t *testing.T, file string, each func(v vector, ivBits, tagBits int)) (n int) {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, file)
	require.NoError(t, err)
	var all struct {
		NumberOfTests int
		TestGroups    []struct {
			IVSize, TagSize int
			Tests           []vector
		}
	}
	require.NoError(t, json.Unmarshal(text, &all))
	for _, g := range all.TestGroups {
		for _, v := range g.Tests {
			each(v, g.IVSize, g.TagSize)
			n++
		}
	}
	require.Equal(t, all.NumberOfTests, n)
	return n
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// TestWycheproof checks the three primitives of a Keyring with Wycheproof's vectors, as a Keyring uses them: HKDF with
// SHA-256 derives its keys, HMAC with SHA-256 digests, XChaCha20-Poly1305 seals. TestKeyringIsMadeOfThem shows that
// what a Manager stores is what these primitives give.
func TestWycheproof(t *testing.T) {
	valid, invalid := 0, 0
	count := func(result string) {
		if result == "valid" {
			valid++
		} else {
			invalid++
		}
	}
	macs := vectors(t, "hmac_sha256_test.json", func(v vector, _, tagBits int) {
		count(v.Result)
		mac := hmac.New(sha256.New, unhex(t, v.Key))
		mac.Write(unhex(t, v.Msg))
		full := mac.Sum(nil)
		good := hmac.Equal(full[:tagBits/8], unhex(t, v.Tag))
		require.Equal(t, v.Result == "valid", good, "HMAC %d: %s", v.ID, v.Comment)
		// latchkey compares whole codes: a truncated one is none.
		require.Equal(t, v.Result == "valid" && tagBits == 256, hmac.Equal(full, unhex(t, v.Tag)), "HMAC %d", v.ID)
	})
	derived := vectors(t, "hkdf_sha256_test.json", func(v vector, _, _ int) {
		count(v.Result)
		out, err := hkdf.Key(sha256.New, unhex(t, v.IKM), unhex(t, v.Salt), string(unhex(t, v.Info)), v.Size)
		require.Equal(t, v.Result == "valid", err == nil && bytes.Equal(out, unhex(t, v.OKM)), "HKDF %d: %s", v.ID, v.Comment)
	})
	sealed := vectors(t, "xchacha20_poly1305_test.json", func(v vector, ivBits, _ int) {
		count(v.Result)
		if ivBits/8 != chacha20poly1305.NonceSizeX {
			require.NotEqual(t, "valid", v.Result, "XChaCha %d", v.ID)
			return // a Keyring takes as many bytes for the nonce as it has, never another number
		}
		aead, err := chacha20poly1305.NewX(unhex(t, v.Key))
		require.NoError(t, err)
		plain, err := aead.Open(nil, unhex(t, v.IV), append(unhex(t, v.CT), unhex(t, v.Tag)...), unhex(t, v.AAD))
		require.Equal(t, v.Result == "valid", err == nil, "XChaCha %d: %s", v.ID, v.Comment)
		if err == nil {
			require.Equal(t, unhex(t, v.Msg), append([]byte{}, plain...), "XChaCha %d", v.ID)
			require.Equal(t, unhex(t, v.CT+v.Tag), aead.Seal(nil, unhex(t, v.IV), plain, unhex(t, v.AAD)))
		}
	})
	require.GreaterOrEqual(t, macs, 174)
	require.GreaterOrEqual(t, derived, 86)
	require.GreaterOrEqual(t, sealed, 315)
	require.Greater(t, valid, 200)
	require.Greater(t, invalid, 100)
	t.Logf("%d vectors of HMAC, %d of HKDF, %d of XChaCha20-Poly1305: %d valid, %d refused", macs, derived, sealed, valid,
		invalid)
}

// TestKeyringIsMadeOfThem opens what a Manager stores with the primitives alone, by the documented derivation.
func TestKeyringIsMadeOfThem(t *testing.T) {
	ctx := t.Context()
	key, err := latchkey.GenerateKey(nil, 7)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	store := memstore.New(nil)
	keys := latchkey.New(store, &latchkey.Options{Keyring: ring})
	defer keys.Close(ctx)
	token, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)

	derive := func(purpose string) []byte {
		sub, err := hkdf.Key(sha256.New, key.Secret, nil, "latchkey 1 "+purpose, 32)
		require.NoError(t, err)
		return sub
	}
	mac := hmac.New(sha256.New, derive("digest"))
	mac.Write([]byte(secret.Reveal()))
	found, err := store.ByDigest(ctx, latchkey.NoSlot, [32]byte(mac.Sum(nil)))
	require.NoError(t, err, "the digest is not HMAC-SHA-256")
	require.Equal(t, token.ID, found.Token.ID)

	var about []byte
	for _, s := range []string{"latchkey 1 seal", "secret", "acme", token.ID} {
		about = append(binary.BigEndian.AppendUint64(about, uint64(len(s))), s...)
	}
	about = binary.BigEndian.AppendUint32(about, 7)
	aead, err := chacha20poly1305.NewX(derive("seal"))
	require.NoError(t, err)
	n := aead.NonceSize()
	plain, err := aead.Open(nil, found.Secret.Sealed[:n], found.Secret.Sealed[n:], about)
	require.NoError(t, err, "the sealed secret is not XChaCha20-Poly1305")
	require.Equal(t, secret.Reveal(), string(plain))
}
