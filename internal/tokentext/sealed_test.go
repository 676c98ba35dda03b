package tokentext

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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

// A text is of one form at most: none that is native is sealed, and none that is sealed is native.
func TestNoTextHasBothForms(t *testing.T) {
	require.Greater(t, len(SealedHead(""))+minSealedBody+6, Max)
}
