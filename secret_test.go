package latchkey

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/latchkey-go/latchkey/internal/base62"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// everyPrint shows v in every way a program may come to print it by accident.
func everyPrint(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{
		"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%e", "%c", "%U", "%20s", "%-20.3s", "% x",
	} {
		out["fmt "+verb] = fmt.Sprintf(verb, v)
	}
	out["Sprint"] = fmt.Sprint(v)
	out["Errorf"] = fmt.Errorf("outer: %w", fmt.Errorf("inner %v", v)).Error()
	var b bytes.Buffer
	for name, h := range map[string]slog.Handler{
		"slog text": slog.NewTextHandler(&b, nil), "slog json": slog.NewJSONHandler(&b, nil),
	} {
		b.Reset()
		slog.New(h).LogAttrs(context.Background(), slog.LevelError, "m", slog.Any("v", v), slog.Any("p", &v),
			slog.Group("g", slog.Any("v", v)))
		out[name] = b.String()
	}
	j, err := json.Marshal(v)
	out["json"] = string(j) + fmt.Sprint(err)
	x, err := xml.Marshal(v)
	out["xml"] = string(x) + fmt.Sprint(err)
	b.Reset()
	err = gob.NewEncoder(&b).Encode(v)
	out["gob"] = b.String() + fmt.Sprint(err)
	out["panic"] = func() (s string) {
		defer func() { s = fmt.Sprint(recover()) + string(debug.Stack()) }()
		panic(v)
	}()
	fake := &recordingT{}
	assert.Equal(fake, v, struct{ X int }{1})
	assert.Equal(fake, []any{v}, []any{v, 1})
	assert.Nil(fake, v)
	assert.Failf(fake, "", "%v %+v", v, &v)
	out["testify"] = fake.String()
	return out
}

type recordingT struct{ bytes.Buffer }

func (r *recordingT) Errorf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

func TestSecretShowsNothing(t *testing.T) {
	const text = "CANARYtextCANARY"
	s := newSecret(text)
	type embedded struct {
		Secret
		N int
	}
	type exported struct{ S Secret }
	type hidden struct{ s Secret }
	for name, v := range map[string]any{
		"value": s, "pointer": &s, "embedded": embedded{s, 1}, "field": exported{s}, "pointed field": &exported{s},
		"hidden field": hidden{s}, "slice": []Secret{s}, "map": map[string]Secret{"k": s}, "any": []any{s, &s},
	} {
		for how, got := range everyPrint(v) {
			assert.NotContains(t, got, "CANARY", "%s by %s", name, how)
			assert.NotContains(t, got, fmt.Sprintf("%x", text[:8]), "%s by %s", name, how)
		}
	}
	for how, got := range everyPrint(s) {
		if strings.HasPrefix(how, "fmt") {
			assert.Equal(t, "[redacted]", got, how)
		}
	}
	j, err := json.Marshal(exported{s})
	require.NoError(t, err)
	assert.Equal(t, `{"S":"[redacted]"}`, string(j))
	assert.Equal(t, text, s.Reveal())

	// The net has holes of the right size: a plain string is caught in it.
	for how, got := range everyPrint(struct{ S string }{text}) {
		if how != "fmt %d" && !strings.Contains(got, "CANARY") && strings.HasPrefix(how, "slog") {
			t.Errorf("%s would not have shown a leak", how)
		}
	}
}

func TestZeroSecret(t *testing.T) {
	assert.Empty(t, Secret{}.Reveal())
	for _, got := range everyPrint(Secret{}) {
		assert.NotContains(t, got, "PANIC")
	}
}

var allKinds = []struct {
	kind   Kind
	test   bool
	prefix string
}{
	{KindSecret, false, "sk_"}, {KindSecret, true, "Tsk_"},
	{KindPublishable, false, "pk_"}, {KindPublishable, true, "Tpk_"},
	{KindAPIKey, false, "ak_"}, {KindAPIKey, true, "ak_"},
	{KindAccess, false, "at_"}, {KindAccess, true, "at_"},
	{KindSession, false, "ss_"},
}

func TestNewText(t *testing.T) {
	for _, k := range allKinds {
		for _, mark := range []string{"", "a", "acme", "acme2026"} {
			text, err := newText(nil, k.kind, k.test, mark)
			require.NoError(t, err)
			want := k.prefix
			if mark != "" {
				want += mark + "_"
			}
			assert.True(t, strings.HasPrefix(text, want), text)
			assert.Len(t, text, len(want)+40)
			assert.LessOrEqual(t, len(text), 55, "one SHA-256 block")
			kind, ok := parseText(text)
			assert.True(t, ok, text)
			assert.Equal(t, k.kind, kind)
			assert.Equal(t, shapeNative, nativeShape(text))
		}
	}
	for _, kind := range []Kind{0, KindSession + 1, 255} {
		_, err := newText(nil, kind, false, "")
		assert.ErrorIs(t, err, ErrInvalid)
	}
	for _, mark := range []string{"A", "a_b", "a-b", "ninechars", " ", "é", "a\x00"} {
		_, err := newText(nil, KindAPIKey, false, mark)
		assert.ErrorIs(t, err, ErrInvalid, "%q", mark)
	}
}

// The text form is published: a text must stay native for ever.
func TestTextVector(t *testing.T) {
	const text = "ak_acme_0123456789ABCDEFGHIJKLMNOPQRSTUVWX1RiKq3" // by another program
	kind, ok := parseText(text)
	assert.True(t, ok)
	assert.Equal(t, KindAPIKey, kind)
	assert.Equal(t, shapeNative, nativeShape(text))
	assert.Equal(t, "ak_ac…Kq3", hint(text))
}

func TestShapes(t *testing.T) {
	ak, _ := newText(nil, KindAPIKey, false, "")
	at, _ := newText(nil, KindAccess, false, "")
	body := strings.Repeat("a", 40)
	for text, want := range map[string]shape{
		"":                                     shapeForeign,
		"a":                                    shapeForeign,
		"ak_":                                  shapeForeign,
		"Tsk":                                  shapeForeign,
		body:                                   shapeForeign,
		"xx_" + body:                           shapeForeign,
		"Tak_" + body:                          shapeForeign,
		"AK_" + body:                           shapeForeign,
		"ak-" + body:                           shapeForeign,
		"ak_" + body[1:]:                       shapeForeign,
		"ak_" + body + "a":                     shapeForeign,
		"ak_" + body[1:] + "-":                 shapeForeign,
		"ak_" + body[1:] + "\x00":              shapeForeign,
		"ak_ninechars_" + body:                 shapeForeign,
		"ak__" + body:                          shapeForeign,
		"ak_ACME_" + body:                      shapeForeign,
		"sk_live_0123456789abcdef01234567":     shapeForeign,
		"pk_0123456789abcdef0123456789abcdef":  shapeForeign,
		"Tpk_0123456789abcdef0123456789abcdef": shapeForeign,
		"0198c7a4-5b1e-7cc3-98c4-dc0c0c07398f": shapeForeign,
		" " + ak:                               shapeForeign,
		ak + "\n":                              shapeForeign,
		"Bearer " + ak:                         shapeForeign,
		"ak_" + body:                           shapeBroken,
		"Tsk_" + body:                          shapeBroken,
		"at_" + body:                           shapeBroken,
		"ak_acme_" + body:                      shapeBroken,
		"s" + ak[1:]:                           shapeBroken,
		"at_":                                  shapeReserved,
		"at_x":                                 shapeReserved,
		at + "a":                               shapeReserved,
		at[:len(at)-1]:                         shapeReserved,
		"at_" + strings.Repeat("a", 300):       shapeReserved,
		"at_" + body[1:] + "-":                 shapeReserved,
		"at":                                   shapeForeign,
		ak:                                     shapeNative,
		at:                                     shapeNative,
	} {
		assert.Equal(t, want, nativeShape(text), "%q", text)
		_, ok := parseText(text)
		assert.Equal(t, want == shapeNative, ok, "%q", text)
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
		k := allKinds[i%len(allKinds)]
		mark := []string{"", "acme"}[i%2]
		text, err := newText(r, k.kind, k.test, mark)
		require.NoError(t, err)
		refused := func(altered string) {
			if altered != text && nativeShape(altered) == shapeNative {
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
		text, err := newText(r, KindAPIKey, false, "")
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
	"failing":     iotest.ErrReader(errors.New("broken")),
	"empty":       strings.NewReader(""),
	"short":       strings.NewReader("0123456789abcde"),
	"late error":  io.MultiReader(strings.NewReader("0123456789"), iotest.ErrReader(os.ErrClosed)),
	"all 0":       constant(0),
	"all A":       constant('A'),
	"all 0xff":    constant(0xff), // no byte of it is usable
	"idle":        readFunc(func([]byte) (int, error) { return 0, nil }),
	"lying":       readFunc(func(p []byte) (int, error) { return len(p) + 1, nil }),
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
		text, err := newText(r, KindAPIKey, false, "")
		assert.Error(t, err, name)
		assert.Empty(t, text, name)
	}
	for name, r := range map[string]io.Reader{
		"one byte at a time": iotest.OneByteReader(rand.NewChaCha8([32]byte{3})),
		"data with EOF":      iotest.DataErrReader(io.LimitReader(rand.NewChaCha8([32]byte{3}), 48)),
	} {
		_, err := newText(r, KindAPIKey, false, "")
		assert.NoError(t, err, name)
	}
}

func TestHint(t *testing.T) {
	for text, want := range map[string]string{
		"ak_3fABCDEFGHIJKL9Qz":        "ak_3f…9Qz",
		"12345678901234567890":        "12345…890",
		"1234567890123456789":         "…",
		"":                            "…",
		"with a space in the text":    "…",
		"line\nbreak text, and long":  "…",
		"Schlüsselwörter, lang genug": "…",
		"bad\xffutf8 bytes, and long": "…",
	} {
		assert.Equal(t, want, hint(text), "%q", text)
	}
}

func TestDigestText(t *testing.T) {
	assert.Equal(t, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		fmt.Sprintf("%x", digestText("abc"))) // FIPS 180-4
	assert.Equal(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", fmt.Sprintf("%x", digestText("")))
}

func TestTextDoesNotAllocate(t *testing.T) {
	text, _ := newText(nil, KindAPIKey, false, "acme")
	var sink [32]byte
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if _, ok := parseText(text); !ok || nativeShape(text) != shapeNative {
			panic("not native")
		}
		sink = digestText(text)
	}))
	_ = sink
}

func FuzzTokenText(f *testing.F) {
	text, _ := newText(rand.NewChaCha8([32]byte{4}), KindAPIKey, false, "acme")
	f.Add(text)
	f.Add("at_")
	f.Add("Tsk")
	f.Add("ak_" + strings.Repeat("a", 40))
	f.Fuzz(func(t *testing.T, s string) {
		kind, ok := parseText(s)
		if !ok {
			if kind != 0 {
				t.Fatalf("kind %d of a refused text", kind)
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
		if !strings.HasPrefix(s, textPrefix(kind, false)) && !strings.HasPrefix(s, textPrefix(kind, true)) {
			t.Fatalf("%q is not of kind %d", s, kind)
		}
	})
}

func BenchmarkParseText(b *testing.B) {
	text, _ := newText(nil, KindAPIKey, false, "")
	for b.Loop() {
		parseText(text)
	}
}

func BenchmarkNewText(b *testing.B) {
	for b.Loop() {
		_, _ = newText(nil, KindAPIKey, false, "")
	}
}

func BenchmarkDigestText(b *testing.B) {
	text, _ := newText(nil, KindAPIKey, false, "")
	for b.Loop() {
		digestText(text)
	}
}
