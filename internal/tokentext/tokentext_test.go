package tokentext

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/base62"
	"github.com/latchkey-go/latchkey/internal/fault"
)

var prefixes = []string{Secret, TestSecret, Publishable, TestPublishable, APIKey, Access, Session}

func TestNew(t *testing.T) {
	for _, prefix := range prefixes {
		for _, mark := range []string{"", "a", "acme", "acme2026", "az09"} {
			text, err := New(nil, prefix, mark, 0)
			require.NoError(t, err)
			want := prefix
			if mark != "" {
				want += mark + "_"
			}
			assert.True(t, strings.HasPrefix(text, want), text)
			assert.Len(t, text, len(want)+40)
			assert.LessOrEqual(t, len(text), 55, "one SHA-256 block")
			got, shape := Read(text)
			assert.Equal(t, Native, shape, text)
			assert.Equal(t, prefix, got)
		}
	}
	for _, mark := range []string{"A", "a_b", "a-b", "ninechars", " ", "é", "a\x00", "`", "{", "/", ":"} {
		_, err := New(nil, APIKey, mark, 0)
		assert.ErrorIs(t, err, fault.ErrInvalid, "%q", mark)
	}
}

// The text form is published: a text must stay native for ever.
func TestTextVector(t *testing.T) {
	const text = "ak_acme_0123456789ABCDEFGHIJKLMNOPQRSTUVWX1RiKq3" // by another program
	prefix, shape := Read(text)
	assert.Equal(t, Native, shape)
	assert.Equal(t, APIKey, prefix)
	assert.Equal(t, "ak_ac…Kq3", Hint(text))
}

func TestShapes(t *testing.T) {
	ak, _ := New(nil, APIKey, "", 0)
	at, _ := New(nil, Access, "", 0)
	body := strings.Repeat("a", 40)
	for text, want := range map[string]Shape{
		"":                                     Foreign,
		"a":                                    Foreign,
		"ak_":                                  Foreign,
		"Tsk":                                  Foreign,
		body:                                   Foreign,
		"xx_" + body:                           Foreign,
		"Tak_" + body:                          Foreign,
		"AK_" + body:                           Foreign,
		"ak-" + body:                           Foreign,
		"ak_" + body[1:]:                       Foreign,
		"ak_" + body + "a":                     Foreign,
		"ak_" + body[1:] + "-":                 Foreign,
		"ak_" + body[1:] + "\x00":              Foreign,
		"ak_ninechars_" + body:                 Foreign,
		"ak__" + body:                          Foreign,
		"ak_ACME_" + body:                      Foreign,
		"sk_live_0123456789abcdef01234567":     Foreign,
		"pk_0123456789abcdef0123456789abcdef":  Foreign,
		"Tpk_0123456789abcdef0123456789abcdef": Foreign,
		"0198c7a4-5b1e-7cc3-98c4-dc0c0c07398f": Foreign,
		" " + ak:                               Foreign,
		ak + "\n":                              Foreign,
		"Bearer " + ak:                         Foreign,
		"ak_acme." + body:                      Foreign,
		"ak_acmea" + body:                      Foreign,
		"ak_acme20267_" + body:                 Foreign,
		"ak_acme2026_" + body:                  Broken,
		"ak_" + body:                           Broken,
		"Tsk_" + body:                          Broken,
		"at_" + body:                           Broken,
		"ak_acme_" + body:                      Broken,
		"s" + ak[1:]:                           Broken,
		"at_":                                  Reserved,
		"at_x":                                 Reserved,
		at + "a":                               Reserved,
		at[:len(at)-1]:                         Reserved,
		"at_" + strings.Repeat("a", 300):       Reserved,
		"at_" + body[1:] + "-":                 Reserved,
		"at":                                   Foreign,
		ak:                                     Native,
		at:                                     Native,
	} {
		prefix, shape := Read(text)
		assert.Equal(t, want, shape, "%q", text)
		assert.Equal(t, want == Native, prefix != "", "%q", text)
	}
}

// No altered text keeps a right check: CRC-32 finds every change of one byte, and all others but one in 2^32.
func TestAlteredTextIsRefused(t *testing.T) {
	var alphabet []byte
	for b := range 256 {
		alphabet = append(alphabet, byte(b))
	}
	r := rand.NewChaCha8([32]byte{1})
	for i := range 100 {
		text, err := New(r, prefixes[i%len(prefixes)], []string{"", "acme"}[i%2], 0)
		require.NoError(t, err)
		refused := func(altered string) {
			if _, shape := Read(altered); altered != text && shape == Native {
				t.Fatalf("%q made from %q is native", altered, text)
			}
		}
		for n := range len(text) {
			refused(text[:n])
			refused(text[n+1:])
			refused(text[:n] + text[n+1:])
			for _, b := range alphabet {
				refused(text[:n] + string([]byte{b}) + text[n+1:])
				refused(text[:n] + string([]byte{b}) + text[n:])
			}
			if n > 0 {
				refused(text[:n-1] + text[n:n+1] + text[n-1:n] + text[n+1:]) // two swapped
			}
			refused(text[:n] + fmt.Sprintf("%%%02x", text[n]) + text[n+1:])
		}
		for _, b := range alphabet {
			refused(text + string([]byte{b}))
		}
		refused(strings.ToUpper(text))
		refused(strings.ToLower(text))
		refused(text + text)
		refused(text + "\u0301")
	}
}

// 100,000 texts: none twice, and each of the 62 characters as often as the others at each place. With 61 degrees of
// freedom χ² passes 130 once in about 10^6.
func TestTextsAreUniform(t *testing.T) {
	const n = 100_000
	r := rand.NewChaCha8([32]byte{2})
	seen := make(map[string]bool, n)
	var count [randomChars][256]int
	for range n {
		text, err := New(r, APIKey, "", 0)
		require.NoError(t, err)
		seen[text] = true
		for i := range randomChars {
			count[i][text[3+i]]++
		}
	}
	assert.Len(t, seen, n)
	for i := range count {
		var chi float64
		for _, c := range []byte(base62.Alphabet) {
			d := float64(count[i][c]) - n/62.0
			chi += d * d / (n / 62.0)
		}
		assert.Less(t, chi, 130.0, "place %d", i)
	}
}

type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

var brokenReaders = map[string]io.Reader{
	"failing":    iotest.ErrReader(errors.New("broken")),
	"empty":      strings.NewReader(""),
	"short":      strings.NewReader("0123456789abcde"),
	"late error": io.MultiReader(strings.NewReader("0123456789"), iotest.ErrReader(os.ErrClosed)),
	"all 0":      constant(0),
	"all A":      constant('A'),
	"all 0xff":   constant(0xff), // no byte of it is usable
	"idle":       readFunc(func([]byte) (int, error) { return 0, nil }),
	"lying":      readFunc(func(p []byte) (int, error) { return len(p) + 1, nil }),
	"lying well": readFunc(func(p []byte) (int, error) {
		n, err := rand.NewChaCha8([32]byte{8}).Read(p)
		return n + 1, err
	}),
	"lying below": readFunc(func(p []byte) (int, error) { return -1, nil }),
	"unusable":    &cycle{[]byte{250, 251, 252, 253, 254, 255, 249}, 0},
}

type cycle struct {
	of []byte
	n  int
}

func (c *cycle) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.of[c.n%len(c.of)]
		c.n++
	}
	return len(p), nil
}

func TestBrokenRandomnessMakesNoText(t *testing.T) {
	for name, r := range brokenReaders {
		text, err := New(r, APIKey, "", 0)
		assert.Error(t, err, name)
		assert.Empty(t, text, name)
	}
	for name, r := range map[string]io.Reader{
		"one byte at a time": iotest.OneByteReader(rand.NewChaCha8([32]byte{3})),
		"data with EOF":      iotest.DataErrReader(io.LimitReader(rand.NewChaCha8([32]byte{3}), 48)),
	} {
		_, err := New(r, APIKey, "", 0)
		assert.NoError(t, err, name)
	}
}

// A source may return nothing 100 times before each byte, and its error may be no other.
func TestSlowRandomness(t *testing.T) {
	slow := func(most int) io.Reader {
		source, idle := rand.NewChaCha8([32]byte{6}), 0
		return readFunc(func(p []byte) (int, error) {
			if idle++; idle <= most {
				return 0, nil
			}
			idle = 0
			return source.Read(p[:1])
		})
	}
	var buf [48]byte
	require.NoError(t, ReadRandom(slow(100), buf[:]))
	require.ErrorIs(t, ReadRandom(slow(101), buf[:]), errRandom)
	require.ErrorIs(t, ReadRandom(strings.NewReader("0123456789"), buf[:]), io.ErrUnexpectedEOF)
	require.ErrorIs(t, ReadRandom(iotest.ErrReader(os.ErrClosed), buf[:]), os.ErrClosed)

	// One read has 48 bytes. Of these only 33 can be used, so another one makes the last character.
	first := append(bytes.Repeat([]byte{255}, 15), "0123456789abcdefghijklmnopqrstuvw"...)
	text, err := New(io.MultiReader(bytes.NewReader(first), rand.NewChaCha8([32]byte{7})), APIKey, "", 0)
	require.NoError(t, err)
	_, shape := Read(text)
	require.Equal(t, Native, shape)
}

func TestHint(t *testing.T) {
	for text, want := range map[string]string{
		"ak_3fABCDEFGHIJKL9Qz":        "ak_3f…9Qz",
		"12345678901234567890":        "12345…890",
		"~2345678901234567890~":       "~2345…90~",
		"1234567890\x7f1234567890":    "…",
		"1234567890123456789":         "…",
		"":                            "…",
		"with a space in the text":    "…",
		"line\nbreak text, and long":  "…",
		"Schlüsselwörter, lang genug": "…",
		"bad\xffutf8 bytes, and long": "…",
	} {
		assert.Equal(t, want, Hint(text), "%q", text)
	}
}

func TestDigest(t *testing.T) {
	assert.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		fmt.Sprintf("%x", Digest("abc"))) // FIPS 180-4
	assert.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", fmt.Sprintf("%x", Digest("")))
}

func TestTextDoesNotAllocate(t *testing.T) {
	text, _ := New(nil, APIKey, "acme", 0)
	var sink [32]byte
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, shape := Read(text); shape != Native {
			panic("not native")
		}
		sink = Digest(text)
	}))
	_ = sink
}

func FuzzRead(f *testing.F) {
	text, _ := New(rand.NewChaCha8([32]byte{4}), APIKey, "acme", 0)
	f.Add(text)
	f.Add("at_")
	f.Add("Tsk")
	f.Add("ak_" + strings.Repeat("a", 40))
	f.Fuzz(func(t *testing.T, s string) {
		prefix, shape := Read(s)
		if shape != Native {
			if prefix != "" {
				t.Fatalf("prefix %q of a refused text", prefix)
			}
			return
		}
		// By other means: what is accepted is prefix, perhaps a mark, 34 characters, and their checksum.
		parts := strings.Split(s, "_")
		if len(parts) < 2 || len(parts) > 3 || len(parts[len(parts)-1]) != 40 {
			t.Fatalf("accepted %q", s)
		}
		if strings.Trim(parts[len(parts)-1], base62.Alphabet) != "" {
			t.Fatalf("accepted %q", s)
		}
		n := len(s) - 6
		if string(base62.AppendUint32(nil, crc32.ChecksumIEEE([]byte(s[:n])))) != s[n:] {
			t.Fatalf("accepted %q with a wrong check", s)
		}
		if !strings.HasPrefix(s, prefix) || !slices.Contains(prefixes, prefix) {
			t.Fatalf("%q does not begin with %q", s, prefix)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	text, _ := New(nil, APIKey, "", 0)
	for b.Loop() {
		Read(text)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		_, _ = New(nil, APIKey, "", 0)
	}
}

func BenchmarkDigest(b *testing.B) {
	text, _ := New(nil, APIKey, "", 0)
	for b.Loop() {
		Digest(text)
	}
}

// A slot replaces the last two random characters, and nothing else.
func TestSlot(t *testing.T) {
	random := func() io.Reader { return rand.NewChaCha8([32]byte{5}) }
	plain, err := New(random(), APIKey, "acme", 0)
	require.NoError(t, err)
	for slot := uint16(1); slot <= MaxSlot; slot++ {
		text, err := New(random(), APIKey, "acme", slot)
		require.NoError(t, err)
		require.Equal(t, slot, Slot(text))
		require.Len(t, text, len(plain))
		_, shape := Read(text)
		require.Equal(t, Native, shape)
		before := len(plain) - base62.Width32 - slotChars
		require.Equal(t, plain[:before], text[:before])
	}
	_, err = New(nil, APIKey, "", MaxSlot+1)
	require.ErrorIs(t, err, fault.ErrInvalid)
	require.LessOrEqual(t, Slot(plain), MaxSlot, "a text without a slot looks as if it had one")
	require.NotZero(t, Slot(plain))
}
