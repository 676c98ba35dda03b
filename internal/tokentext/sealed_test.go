package tokentext

import (
	"bytes"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/base62"
)

func TestSealed(t *testing.T) {
	for n := 42; n < 200; n++ {
		body := make([]byte, n)
		for i := range body {
			body[i] = byte(i*7 + n)
		}
		for _, mark := range []string{"", "a", "acme2026"} {
			head := SealedHead(mark)
			text := Seal(head, body)
			prefix, shape := Read(text)
			require.Equal(t, Sealed, shape, text)
			require.Empty(t, prefix)
			require.Regexp(t, `^[A-Za-z0-9_-]+$`, text)
			gotHead, got, ok := Unseal(nil, text)
			require.True(t, ok)
			require.Equal(t, head, gotHead)
			require.True(t, bytes.Equal(body, got))
		}
	}
	native, err := New(nil, Access, "", 0)
	require.NoError(t, err)
	_, _, ok := Unseal(nil, native)
	require.False(t, ok)
}

// There is one text for a head and a body: whatever else decodes to the same bytes is not of the form.
func TestWhatIsNotSealed(t *testing.T) {
	body := bytes.Repeat([]byte{0xff}, 43) // two characters of the last group are there, and four bits are unused
	text := Seal(SealedHead(""), body)
	checked := func(text string) string { // with the right checksum
		return Seal(text, nil)
	}
	inner := text[:len(text)-6]
	whole := Seal(SealedHead(""), body[:42])
	whole = whole[:len(whole)-6]
	for what, forged := range map[string]string{
		"unused bits":         checked(inner[:len(inner)-1] + "x"),
		"a line break":        checked(inner[:20] + "\n" + inner[20:]),
		"padding":             checked(inner + "="),
		"another alphabet":    checked(inner[:20] + "+/" + inner[22:]),
		"one character more":  checked(whole + "A"),
		"unused bits of two":  checked(whole + "AAB"),
		"unused bit of two":   checked(whole + "AAC"),
		"a last unused bit":   checked(inner[:len(inner)-1] + "B"),
		"no S":                checked("at_s" + inner[4:]),
		"a prefix too long":   checked("at_ninechars_S" + inner[4:]),
		"a prefix of capital": checked("at_Acme_S" + inner[4:]),
		"an empty prefix":     checked("at__S" + inner[4:]),
		"another kind":        checked("ak_" + inner[3:]),
		"too short":           Seal(SealedHead(""), body[:41]),
		"too long":            Seal(SealedHead(""), make([]byte, MaxSealed)),
	} {
		_, shape := Read(forged)
		require.NotEqual(t, Sealed, shape, what)
		_, _, ok := Unseal(nil, forged)
		require.False(t, ok, what)
	}
	_, shape := Read(text[:len(text)-1] + "0")
	require.Equal(t, Broken, shape)
	_, shape = Read("at_S!" + strings.Repeat("A", 100))
	require.Equal(t, Reserved, shape)
}

// Each character of a body is one of base64url, wherever it stands and however long the body is.
func TestEachCharacterOfABody(t *testing.T) {
	for n := minSealedBody; n < minSealedBody+24; n++ {
		good := bytes.Repeat([]byte("A"), n)
		require.Equal(t, n%4 != 1, validSealed(string(good)))
		for at := range good {
			for _, bad := range []byte("+/=.\n\x00\xff") {
				good[at] = bad
				require.False(t, validSealed(string(good)), "%q", good)
			}
			good[at] = 'A'
		}
	}
	require.True(t, validSealed(""))
}

func TestSealedHeads(t *testing.T) {
	for text, want := range map[string]int{
		"at_S": 4, "at_Sbody": 4, "at_a_S": 6, "at_acme2026_Sbody": 13,
		"": 0, "at": 0, "at_": 0, "at_s": 0, "at_a": 0, "at_a_": 0, "at_a_s": 0, "at_aS": 0, "at_a-S": 0, "at__S": 0,
		"at_acme20267_S": 0, "at_acme2026": 0, "at_acme2026_": 0, "ak_S": 0, "at-S": 0,
	} {
		require.Equal(t, want, sealedHead(text), text)
	}
	head := SealedHead("a")
	longest := MaxSealed - len(head) - base62.Width32
	for n, want := range map[int]Shape{longest: Sealed, longest + 1: Reserved} {
		text := head + strings.Repeat("A", n)
		_, shape := Read(string(base62.AppendUint32([]byte(text), crc32.ChecksumIEEE([]byte(text)))))
		require.Equal(t, want, shape, n)
	}
}

// A text is of one form at most: none that is native is sealed, and none that is sealed is native.
func TestNoTextHasBothForms(t *testing.T) {
	require.Greater(t, len(SealedHead(""))+minSealedBody+6, Max)
}
