package sqlstore

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// fullToken has a value in each field.
func fullToken() (latchkey.Token, latchkey.SecretRecord) {
	at := func(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
	return latchkey.Token{
			ID: "t1", Owner: "acme", Version: 7, Kind: latchkey.KindAccess, Test: true, Parent: "t0", Depth: 3,
			Origin: "console",
			Settings: latchkey.Settings{
				Name: "Zoë\x00", Roles: []string{"reader"}, Disabled: true, Extra: json.RawMessage(`{"a":1}`),
				Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("news/*")},
				Validity:    latchkey.Validity{NotBefore: at(1), NotAfter: at(1 << 52), Idle: time.Hour},
			},
			Client: latchkey.Client{ID: "42", Name: "Ada"}, Full: true, Created: at(-5), Used: at(1), Revoked: at(0),
			Reason: "lost", Hint: "abcde…xyz", Public: "pk_1",
		}, latchkey.SecretRecord{
			Digest: [32]byte{1, 2, 31: 9}, KeyID: 1<<32 - 1, Sealed: []byte{0, 255}, Signing: true, Hint: "h", Created: at(3),
			NotAfter: at(4),
		}
}

func packBoth(t testing.TB, token latchkey.Token, secret latchkey.SecretRecord) string {
	token.Version--
	record, err := packToken(&token)
	require.NoError(t, err)
	return string(append(packSecret(packedUsed(token.Used), &secret), record...))
}

func TestPackRoundTrip(t *testing.T) {
	token, secret := fullToken()
	for name, change := range map[string]func(){
		"everything": func() {},
		"no used":    func() { token.Used = time.Time{} },
		"used 1969":  func() { token.Used = time.UnixMicro(-1).UTC() },
		"no secret":  func() { secret = latchkey.SecretRecord{} },
		"empty":      func() { secret.Sealed, token.Extra = []byte{}, json.RawMessage{} },
		"long":       func() { token.Name, secret.Hint = string(make([]byte, 70_000)), string(make([]byte, 300)) },
		"least":      func() { token = latchkey.Token{Owner: "o", ID: "i", Version: 1} },
	} {
		token, secret = fullToken()
		change()
		f, err := unpackFound(packBoth(t, token, secret))
		require.NoError(t, err, name)
		require.Equal(t, token, f.Token, name)
		require.Equal(t, secret, f.Secret, name)
	}
}

// Anything other than exactly what was written is an error, never a token with a part missing.
func TestUnpackRefusesDamage(t *testing.T) {
	token, secret := fullToken()
	packed := packBoth(t, token, secret)
	for cut := range len(packed) { // a shortened body is not valid JSON either
		_, err := unpackFound(packed[:cut])
		require.Error(t, err, "cut off at %d", cut)
	}
	_, err := unpackFound(packed + "{}")
	require.Error(t, err, "more than a token")
	head := len(packSecret(packedUsed(token.Used), &secret))
	for what, at := range map[string]int{
		"the secret's format": usedSize + digestSize, "the secret's flags": usedSize + digestSize + 1,
		"the token's format": head, "the token's flags": head + 3,
	} {
		for _, value := range []byte{0, 99, 255} {
			bad := []byte(packed)
			if bad[at] = value; at != head && at != usedSize+digestSize && value < 128 {
				bad[at] |= 0x80 // an unknown flag
			}
			_, err := unpackFound(string(bad))
			require.Error(t, err, "%s is %d", what, value)
		}
	}
	_, err = unpackToken("\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00{}", time.Time{})
	require.Error(t, err, "version 0")
	// What a later version added may narrow what the token may do, as role_ends did. So it is not skipped.
	body := `{"role_ends":{"r":"2026-03-04T05:06:07Z"}}`
	lent := packBoth(t, latchkey.Token{ID: "t", Owner: "o", Version: 1, Kind: latchkey.KindAPIKey,
		Settings: latchkey.Settings{RoleEnds: map[string]time.Time{"r": time.Date(2026, 3, 4, 5, 6, 7, 0,
			time.UTC)}}}, secret)
	require.True(t, strings.HasSuffix(lent, body))
	_, err = unpackFound(lent)
	require.NoError(t, err)
	_, err = unpackFound(strings.Replace(lent, "role_ends", "role_endz", 1))
	require.Error(t, err, "an unknown member")
	u := unpacker{rest: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"}
	require.Zero(t, u.uvarint())
	require.True(t, u.bad, "more than 64 bits")
}

// Statements compare last uses as bytes.
func TestPackedUsedOrder(t *testing.T) {
	var last []byte
	for _, us := range []int64{-1 << 60, -2, -1, 0, 1, 255, 256, 1 << 60} {
		b := packedUsed(time.UnixMicro(us))
		require.Len(t, b, usedSize)
		require.Negative(t, bytes.Compare(last, b), us)
		require.Negative(t, bytes.Compare(packedUsed(time.Time{}), b), "never used")
		last = b
	}
}

// FuzzUnpack: reading any stored bytes does no harm. What was read completely can be written and read again.
func FuzzUnpack(f *testing.F) {
	token, secret := fullToken()
	f.Add([]byte(packBoth(f, token, secret)))
	f.Add([]byte(packBoth(f, latchkey.Token{Owner: "o", ID: "i", Version: 1}, latchkey.SecretRecord{})))
	f.Fuzz(func(t *testing.T, packed []byte) {
		found, err := unpackFound(string(packed))
		if err != nil {
			require.Zero(t, found)
			return
		}
		written := packBoth(t, found.Token, found.Secret)
		again, err := unpackFound(written)
		require.NoError(t, err)
		require.Equal(t, written, packBoth(t, again.Token, again.Secret))
	})
}
