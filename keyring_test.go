package latchkey

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/chacha20poly1305"
)

func testKey(id uint32) Key {
	return Key{ID: id, Secret: bytes.Repeat([]byte{'k', byte(id)}, 16)}
}

func testRing(t testing.TB, ids ...uint32) *Keyring {
	var keys []Key
	for _, id := range ids {
		keys = append(keys, testKey(id))
	}
	k, err := NewKeyring(keys[0], keys[1:]...)
	require.NoError(t, err)
	return k
}

func TestNewKeyringRefuses(t *testing.T) {
	for name, keys := range map[string][]Key{
		"no id":            {{Secret: testKey(1).Secret}},
		"no secret":        {{ID: 1}},
		"short secret":     {{ID: 1, Secret: make([]byte, 31)}},
		"bad retired key":  {testKey(1), {ID: 2}},
		"an id twice":      {testKey(1), {ID: 1, Secret: testKey(2).Secret}},
		"a secret twice":   {testKey(1), {ID: 2, Secret: testKey(1).Secret}},
		"retired id twice": {testKey(1), testKey(2), testKey(2)},
	} {
		k, err := NewKeyring(keys[0], keys[1:]...)
		assert.ErrorIs(t, err, ErrInvalid, name)
		assert.Nil(t, k, name)
	}
}

func TestKeyringCopiesSecrets(t *testing.T) {
	key := testKey(1)
	k, err := NewKeyring(key)
	require.NoError(t, err)
	before, _ := k.digest("x")
	text := k.Export().Reveal()
	clear(key.Secret)
	after, _ := k.digest("x")
	assert.Equal(t, before, after)
	assert.Equal(t, text, k.Export().Reveal())
}

func TestGenerateKey(t *testing.T) {
	a, err := GenerateKey(nil, 1)
	require.NoError(t, err)
	b, err := GenerateKey(nil, 2)
	require.NoError(t, err)
	assert.Len(t, a.Secret, 32)
	assert.NotEqual(t, a.Secret, b.Secret)
	_, err = NewKeyring(b, a)
	assert.NoError(t, err)
	_, err = GenerateKey(nil, 0)
	assert.ErrorIs(t, err, ErrInvalid)
	for name, r := range brokenReaders {
		key, err := GenerateKey(r, 1)
		assert.Error(t, err, name)
		assert.Nil(t, key.Secret, name)
	}
}

func TestParseKeyring(t *testing.T) {
	k := testRing(t, 7, 3, 4294967295)
	text := k.Export().Reveal()
	assert.Equal(t, 3, strings.Count(text, "\n"))
	assert.True(t, strings.HasPrefix(text, "latchkey-key-1:7:"), "the current key comes first")
	again, err := ParseKeyring("# kept by ops\r\n\r\n" + strings.ReplaceAll(text, "\n", " \r\n"))
	require.NoError(t, err)
	assert.Equal(t, text, again.Export().Reveal())
	assert.Equal(t, k.candidates("x"), again.candidates("x"))

	secret := base64.StdEncoding.EncodeToString(testKey(1).Secret)
	for name, text := range map[string]string{
		"empty":            "",
		"only a comment":   "# none\n",
		"no form":          secret,
		"other form":       "latchkey-key-2:1:" + secret,
		"no id":            "latchkey-key-1:" + secret,
		"id 0":             "latchkey-key-1:0:" + secret,
		"id +1":            "latchkey-key-1:+1:" + secret,
		"id 01":            "latchkey-key-1:01:" + secret,
		"id too big":       "latchkey-key-1:4294967296:" + secret,
		"bad base64":       "latchkey-key-1:1:" + secret[1:],
		"loose base64":     "latchkey-key-1:1:" + strings.Repeat("A", 42) + "B=",
		"short":            "latchkey-key-1:1:" + secret[:40],
		"a bad second":     "latchkey-key-1:1:" + secret + "\njunk",
		"two on one line":  "latchkey-key-1:1:" + secret + " latchkey-key-1:1:" + secret,
		"the same twice":   "latchkey-key-1:1:" + secret + "\nlatchkey-key-1:1:" + secret,
		"a number of zero": "latchkey-key-1::" + secret,
	} {
		k, err := ParseKeyring(text)
		assert.ErrorIs(t, err, ErrInvalid, name)
		assert.Nil(t, k, name)
		if err != nil {
			assert.NotContains(t, err.Error(), secret[:8], name)
		}
	}

	// A line that is no key is named by its number.
	for _, line := range []string{secret, "latchkey-key-1", "latchkey-key-1:", "latchkey-key-1:2", "latchkey-key-1:2.",
		"latchkey-key-2:1:" + secret, "latchkey-key-1:x:" + secret, "latchkey-key-1:1:!"} {
		_, err := ParseKeyring("# two keys\n\nlatchkey-key-1:1:" + secret + "\n" + line + "\n")
		assert.ErrorContains(t, err, `line 4 of the keyring is not "latchkey-key-1:<id>:<base64>"`, line)
	}
}

// A wrapped keyring says nothing to who cannot unwrap it.
func TestWrapKeyring(t *testing.T) {
	ctx := t.Context()
	service := func(_ context.Context, id uint32, in []byte) ([]byte, error) { // xor: its own inverse
		out := make([]byte, len(in))
		for i := range in {
			out[i] = in[i] ^ byte(id) ^ 0x55
		}
		return out, nil
	}
	k := testRing(t, 7, 3)
	text, err := k.Wrap(ctx, service)
	require.NoError(t, err)
	for _, id := range []uint32{7, 3} {
		assert.NotContains(t, text, base64.StdEncoding.EncodeToString(testKey(id).Secret))
	}
	again, err := UnwrapKeyring(ctx, "# by the service\n"+text, service)
	require.NoError(t, err)
	assert.Equal(t, k.Export().Reveal(), again.Export().Reveal())

	denied := errors.New("access denied")
	refuse := func(context.Context, uint32, []byte) ([]byte, error) { return nil, denied }
	_, err = UnwrapKeyring(ctx, text, refuse)
	assert.ErrorIs(t, err, denied)
	assert.ErrorContains(t, err, "key 7")
	_, err = k.Wrap(ctx, refuse)
	assert.ErrorIs(t, err, denied)
	plain := func(_ context.Context, _ uint32, in []byte) ([]byte, error) { return in, nil }
	_, err = k.Wrap(ctx, plain)
	assert.ErrorIs(t, err, ErrInvalid, "a service that does not wrap")
	short := func(context.Context, uint32, []byte) ([]byte, error) { return []byte("short"), nil }
	_, err = UnwrapKeyring(ctx, text, short)
	assert.ErrorIs(t, err, ErrInvalid)
	_, err = UnwrapKeyring(ctx, k.Export().Reveal(), plain)
	assert.ErrorIs(t, err, ErrInvalid, "keys as they are")
	_, err = ParseKeyring(text)
	assert.ErrorIs(t, err, ErrInvalid, "wrapped keys are no keys")
}

func TestKeyringShowsNothing(t *testing.T) {
	key := Key{ID: 1, Secret: []byte("CANARYcanaryCANARYcanaryCANARY!!")}
	k, err := NewKeyring(key)
	require.NoError(t, err)
	leaks := []string{
		"CANARY", "canary", fmt.Sprintf("%x", key.Secret[:8]), fmt.Sprintf("%X", key.Secret[:8]),
		base64.StdEncoding.EncodeToString(key.Secret[:9]), "67 65 78", "0x43, 0x41", "67, 65, 78",
	}
	type exported struct{ K *Keyring }
	type hidden struct{ k *Keyring }
	for name, v := range map[string]any{
		"keyring": k, "options": Options{Keyring: k}, "field": exported{k}, "hidden": hidden{k}, "copy": *k, "key": key,
		"pointed key": &key, "keys": []Key{key}, "export": k.Export(),
	} {
		for how, got := range everyPrint(v) {
			if _, plain := map[string]bool{"key": true, "pointed key": true, "keys": true}[name]; plain &&
				(how == "testify" || how == "gob") {
				continue // what calls no method of a Key sees plain bytes, as its comment says
			}
			for _, leak := range leaks {
				assert.NotContains(t, got, leak, "%s by %s", name, how)
			}
		}
	}
	assert.Equal(t, "[redacted]", fmt.Sprintf("%+v", k))
	assert.Equal(t, "key 1 [redacted]", fmt.Sprintf("%#v", key))
	var none *Keyring
	assert.Equal(t, "[redacted]", fmt.Sprint(none))
}

func TestDigest(t *testing.T) {
	key := testKey(1)
	k := testRing(t, 1)
	got, id := k.digest("ak_text")
	assert.Equal(t, uint32(1), id)
	sub, err := hkdf.Key(sha256.New, key.Secret, nil, "latchkey 1 digest", 32)
	require.NoError(t, err)
	mac := hmac.New(sha256.New, sub)
	mac.Write([]byte("ak_text"))
	assert.Equal(t, mac.Sum(nil), got[:])
	again, _ := k.digest("ak_text")
	assert.Equal(t, got, again, "a used digester is as good as a new one")

	for name, none := range map[string]*Keyring{"nil": nil, "zero": {}} {
		d, id := none.digest("ak_text")
		assert.Equal(t, tokentext.Digest("ak_text"), d, name)
		assert.Zero(t, id, name)
		assert.Equal(t, [][32]byte{d}, none.candidates("ak_text"), name)
	}
}

func TestCandidates(t *testing.T) {
	old, _ := testRing(t, 1).digest("x")
	now, _ := testRing(t, 2).digest("x")
	assert.Equal(t, [][32]byte{now, old, tokentext.Digest("x")}, testRing(t, 2, 1).candidates("x"))
	assert.NotContains(t, testRing(t, 2).candidates("x"), old, "a key that was dropped finds nothing")
}

func TestDigestConcurrently(t *testing.T) {
	k := testRing(t, 1, 2)
	var wg sync.WaitGroup
	for g := range 4 {
		text := fmt.Sprint(g)
		want, _ := testRing(t, 1).digest(text)
		wg.Go(func() {
			for range 500 {
				if got, _ := k.digest(text); got != want {
					t.Error("digests of two texts were mixed")
					return
				}
			}
		})
	}
	wg.Wait()
}

var place = sealData{purpose: "secret", owner: "acme", tokenID: "t1"}

func TestSealOpensForItsRecordOnly(t *testing.T) {
	k := testRing(t, 1, 2)
	other := testRing(t, 2, 1)
	var places []sealData
	for _, purpose := range []string{"secret", "signing", ""} {
		for _, owner := range []string{"acme", "globex", "", "acmet"} {
			for _, id := range []string{"t1", "1", "t2", ""} {
				places = append(places, sealData{purpose, owner, id})
			}
		}
	}
	// Texts that would be one text, were they only put one behind the other.
	places = append(places,
		sealData{"secreta", "cme", "t1"}, sealData{"secret", "acmet1", ""}, sealData{"", "", "secretacmet1"})
	for i, from := range places {
		sealed, id, err := k.seal(nil, []byte("text"), from)
		require.NoError(t, err)
		require.Equal(t, uint32(1), id)
		for j, to := range places {
			plain, err := k.open(sealed, id, to)
			if i == j {
				require.NoError(t, err)
				assert.Equal(t, "text", string(plain))
				continue
			}
			assert.ErrorIs(t, err, errSealed, "%v opens at %v", from, to)
			assert.Nil(t, plain)
		}
		_, err = k.open(sealed, 2, from)
		assert.ErrorIs(t, err, errSealed, "under the other key's id")
		_, err = other.open(sealed, 1, from)
		assert.NoError(t, err, "the same key on another ring")
	}
	a := sealData{"secret", "acme", "t1"}
	assert.NotEqual(t, a.bytes(1), a.bytes(2), "the key's id is bound")
}

func TestAlteredSealedValue(t *testing.T) {
	k := testRing(t, 1)
	sealed, id, err := k.seal(nil, []byte("CANARY text"), place)
	require.NoError(t, err)
	assert.NotContains(t, string(sealed), "CANARY")
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		_, err := k.open(altered, id, place)
		assert.ErrorIs(t, err, errSealed)
		_, err = k.open(sealed[:i], id, place)
		assert.ErrorIs(t, err, errSealed)
		assert.NotContains(t, err.Error(), "CANARY")
	}
	_, err = k.open(append(bytes.Clone(sealed), 0), id, place)
	assert.ErrorIs(t, err, errSealed)
	_, err = k.open(nil, id, place)
	assert.ErrorIs(t, err, errSealed)
}

// The text of a stateless token opens as it was sealed, under each key of the ring. One that was altered anywhere, cut
// off or sealed under another key does not, nor does one that names the key in another way.
func TestAlteredSealedText(t *testing.T) {
	var nonce [textNonceSize]byte
	copy(nonce[:], "a nonce of 24 bytes here")
	const head = "at_S"
	k := testRing(t, 1, 300)
	text, err := k.sealText(head, &nonce, []byte("plain"))
	require.NoError(t, err)
	for _, ring := range []*Keyring{k, testRing(t, 300, 1)} {
		plain, got, ok := ring.openText(text)
		require.True(t, ok)
		require.Equal(t, "plain", plain)
		require.Equal(t, nonce, got)
	}
	_, body, ok := tokentext.Unseal(nil, text)
	require.True(t, ok)
	require.Equal(t, byte(1), body[0])
	refused := func(ring *Keyring, head string, body []byte) {
		t.Helper()
		plain, _, ok := ring.openText(tokentext.Seal(head, body))
		require.False(t, ok)
		require.Empty(t, plain)
	}
	for i := range body {
		altered := bytes.Clone(body)
		altered[i] ^= 1
		refused(k, head, altered)
		refused(k, head, body[:i])
	}
	refused(k, head, append(bytes.Clone(body), 0))
	refused(k, "at_x_S", body)
	refused(testRing(t, 2), head, body)
	var none *Keyring
	refused(none, head, body)
	refused(&Keyring{}, head, body)
	for name, id := range map[string][]byte{
		"0":                       {0},
		"one of more than 32 bit": binary.AppendUvarint(nil, 1<<32|1),
		"one of more than 64 bit": bytes.Repeat([]byte{0xff}, 11),
		"1, in two bytes":         {0x81, 0},
		"another one of the ring": binary.AppendUvarint(nil, 300),
	} {
		t.Run(name, func(t *testing.T) {
			refused(k, head, append(bytes.Clone(id), body[1:]...))
			refused(k, head, id)
		})
	}
}

func TestKeyRotation(t *testing.T) {
	old := testRing(t, 1)
	sealed, id, err := old.seal(nil, []byte("text"), place)
	require.NoError(t, err)

	turned := testRing(t, 2, 1)
	plain, err := turned.open(sealed, id, place)
	require.NoError(t, err)
	assert.Equal(t, "text", string(plain))
	_, id2, err := turned.seal(nil, plain, place)
	require.NoError(t, err)
	assert.Equal(t, uint32(2), id2, "new values are sealed with the current key")

	_, err = testRing(t, 2).open(sealed, id, place)
	require.ErrorIs(t, err, ErrNeedsKeyring)
	assert.Contains(t, err.Error(), "key 1")
}

func TestSealNeedsAKeyring(t *testing.T) {
	var none *Keyring
	_, _, err := none.seal(nil, []byte("text"), place)
	assert.ErrorIs(t, err, ErrNeedsKeyring)
	_, err = none.open(make([]byte, 64), 1, place)
	assert.ErrorIs(t, err, ErrNeedsKeyring)
	for _, k := range []*Keyring{none, {}} {
		text, err := k.sealText("head", &[textNonceSize]byte{}, []byte("text"))
		assert.ErrorIs(t, err, ErrNeedsKeyring)
		assert.Empty(t, text)
	}
	_, err = testRing(t, 1).open(make([]byte, 64), 0, place)
	assert.ErrorIs(t, err, ErrNeedsKeyring, "0 is no key")
	assert.Empty(t, none.Export().Reveal())
}

func TestNonces(t *testing.T) {
	k := testRing(t, 1)
	r := rand.NewChaCha8([32]byte{5})
	seen := map[string]bool{}
	for range 10_000 {
		sealed, _, err := k.seal(r, nil, place)
		require.NoError(t, err)
		seen[string(sealed[:24])] = true
	}
	assert.Len(t, seen, 10_000)
	for name, r := range brokenReaders {
		_, _, err := k.seal(r, []byte("text"), place)
		assert.Error(t, err, name)
	}
}

// A purpose's subkey opens nothing of another purpose.
func TestSubkeysDiffer(t *testing.T) {
	key := testRing(t, 1).ring()[0]
	digestKey, err := hkdf.Key(sha256.New, key.secret, nil, "latchkey 1 digest", 32)
	require.NoError(t, err)
	assert.NotEqual(t, digestKey, key.seal)
	assert.NotEqual(t, key.secret, key.seal)

	// What was made with a key is read by every version.
	subkey := func(purpose string) []byte {
		k, err := hkdf.Key(sha256.New, key.secret, nil, "latchkey 1 "+purpose, 32)
		require.NoError(t, err)
		return k
	}
	assert.Equal(t, subkey("seal"), key.seal)
	text, err := chacha20poly1305.NewX(subkey("stateless"))
	require.NoError(t, err)
	var nonce [textNonceSize]byte
	assert.Equal(t, text.Seal(nil, nonce[:], nil, nil), key.text.Seal(nil, nonce[:], nil, nil))
	mac := hmac.New(sha256.New, subkey("audit"))
	assert.Equal(t, mac.Sum(nil), key.audit.New().(*auditDigester).code.Sum(nil))
}

func TestDigestDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("a sync.Pool forgets at random under the race detector")
	}
	k := testRing(t, 1)
	var sink [32]byte
	assert.Zero(t, testing.AllocsPerRun(100, func() { sink, _ = k.digest("ak_text") }))
	_ = sink
}

func BenchmarkKeyringDigest(b *testing.B) {
	k := testRing(b, 1)
	text, _ := tokentext.New(nil, tokentext.APIKey, "", 0)
	for b.Loop() {
		k.digest(text)
	}
}

func BenchmarkSealOpen(b *testing.B) {
	k := testRing(b, 1)
	for b.Loop() {
		sealed, id, _ := k.seal(nil, []byte("ak_0123456789012345678901234567890123456789"), place)
		if _, err := k.open(sealed, id, place); err != nil {
			b.Fatal(err)
		}
	}
}

// brokenReaders make no key and no nonce. Package tokentext tests more of them.
var brokenReaders = map[string]io.Reader{
	"failing": iotest.ErrReader(errors.New("broken")),
	"empty":   strings.NewReader(""),
	"short":   strings.NewReader("0123456789"),
	"stuck":   stuck{},
	"idle":    idle{},
}

type stuck struct{}

func (stuck) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }
