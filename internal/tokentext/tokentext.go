// Package tokentext makes and recognises the text form of a token:
//
//	<prefix>_[<mark>_]<34 random characters><6 characters of CRC-32>
//
//	prefix   sk pk ak at ss, or Tsk Tpk
//	mark     the organisation's mark: 1 to 8 of [a-z0-9]
//	random   base62, each character uniform: 202 bits. The last two may be a slot instead, which leaves 190 bits.
//	CRC-32   IEEE, over all the text before it, in base62
//
// The CRC-32 detects junk and typing errors without a store. It does not authenticate: anyone can compute it.
//
// A text has at most 53 bytes, so that one SHA-256 block holds it. Those of stateless tokens have another form, and are
// longer: see sealed.go.
package tokentext

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unsafe"

	"github.com/latchkey-go/latchkey/internal/base62"
	"github.com/latchkey-go/latchkey/internal/fault"
)

// The prefixes. Each names a kind of token, and two of them a test token besides.
const (
	Secret          = "sk_"
	TestSecret      = "Tsk_"
	Publishable     = "pk_"
	TestPublishable = "Tpk_"
	APIKey          = "ak_"
	Access          = "at_"
	Session         = "ss_"
)

// MaxSlot is the highest slot. There are as many as two characters can say.
const MaxSlot uint16 = 62 * 62

// Max is the length of the longest text in bytes.
const Max = len("Tsk_") + MaxMark + len("_") + bodyChars

// MaxMark is the maximum length of a mark in bytes.
const MaxMark = 8

const (
	randomChars = 34
	slotChars   = 2
	bodyChars   = randomChars + base62.Width32
)

// New returns the text of a new token. The prefix is one of the constants above. A nil rand is crypto/rand. The slot is
// 1 to MaxSlot, or 0 for a text that carries none. New returns an error if the reader fails or repeats itself. It
// returns an error that wraps fault.ErrInvalid for an invalid mark or slot.
func New(rand io.Reader, prefix, mark string, slot uint16) (string, error) {
	return NewOf(nil, rand, prefix, mark, slot)
}

// TextRandom is how many random bytes nearly always are enough for a text: they hold 34 usable ones, as 31 of 32 are.
const TextRandom = 48

// NewOf is New with TextRandom bytes that were read by ReadRandom already, alone or with others. It reads only what
// they lack. Nil: it reads all.
func NewOf(random []byte, rand io.Reader, prefix, mark string, slot uint16) (string, error) {
	if mark != "" && !ValidMark(mark) {
		return "", fmt.Errorf("%w: a prefix mark is 1 to %d characters of a-z 0-9", fault.ErrInvalid, MaxMark)
	}
	if slot > MaxSlot {
		return "", fmt.Errorf("%w: slot %d is above %d", fault.ErrInvalid, slot, MaxSlot)
	}
	text := make([]byte, 0, Max)
	text = append(text, prefix...)
	if mark != "" {
		text = append(append(text, mark...), '_')
	}
	start := len(text)
	text = text[:start+randomChars]
	for left := text[start:]; len(left) > 0; {
		if random == nil {
			random = make([]byte, TextRandom)
			if err := ReadRandom(rand, random); err != nil {
				return "", err
			}
		} else if half := len(random) / 2; string(random[:half]) == string(random[half:]) {
			return "", errRandom
		}
		n := base62.Fill(left, random) // the rest is discarded
		random = nil
		if n == 0 {
			return "", errRandom
		}
		left = left[n:]
	}
	if slot != 0 {
		pair := base62.Pair(slot - 1)
		copy(text[len(text)-slotChars:], pair[:])
	}
	return string(base62.AppendUint32(text, crc32.ChecksumIEEE(text))), nil
}

// Slot returns the slot that a text carries if it carries one: whether it does cannot be seen. The text is native.
func Slot(text string) uint16 {
	at := len(text) - base62.Width32 - slotChars
	return 1 + base62.Unpair(text[at], text[at+1])
}

var errRandom = errors.New("latchkey: the source of randomness returns nothing, or repeats itself")

// ReadRandom fills buf from r, or from crypto/rand if r is nil. buf has an even length of 16 bytes or more. If both
// halves of it are equal, the source is stuck: by chance that happens once in 2^64 reads, or less often.
func ReadRandom(r io.Reader, buf []byte) error {
	if r == nil {
		r = rand.Reader
	}
	for n, idle := 0, 0; n < len(buf); {
		m, err := r.Read(buf[n:])
		if m < 0 || m > len(buf)-n {
			return errRandom
		}
		n += m
		if err != nil && n < len(buf) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("latchkey: reading randomness: %w", err)
		}
		if m > 0 {
			idle = 0
		} else if idle++; idle > 100 { // io.ReadFull would never return
			return errRandom
		}
	}
	if half := len(buf) / 2; string(buf[:half]) == string(buf[half:]) {
		return errRandom
	}
	return nil
}

// ValidMark reports whether a mark is 1 to MaxMark bytes of [a-z0-9].
func ValidMark(mark string) bool {
	if len(mark) < 1 || len(mark) > MaxMark {
		return false
	}
	for i := range len(mark) {
		if c := mark[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Shape is what a presented text looks like.
type Shape uint8

const (
	Foreign  Shape = iota // not in our form: only Options.Imported may accept it
	Native                // in our form, and the check is right; anyone may have made it
	Broken                // in our form, but the check is wrong: refused without a read of the store
	Sealed                // it holds what it says itself, and the check is right; anyone may have made it
	Reserved              // "at_" and any other form: reserved for later ones
)

// Read returns the shape of a text and, if it is native, its prefix. It does not allocate.
//
// A text of the native form is a known prefix, then perhaps a mark and "_", and then exactly 40 base62 characters. Such
// a text never has another shape: if its check is wrong, it is broken. Any mark is accepted, so that tokens outlive a
// change of Options.Prefix.
func Read(text string) (prefix string, shape Shape) {
	prefix = prefixOf(text)
	if prefix == "" {
		return "", Foreign
	}
	if prefix == Access {
		if len(text) > Max {
			return "", readSealed(text)
		}
		shape = Reserved
	}
	n, body := len(prefix), len(text)-bodyChars
	switch {
	case body == n:
	case body > n && text[body-1] == '_' && ValidMark(text[n:body-1]):
	default:
		return "", shape
	}
	if !base62.Valid(text[body:]) {
		return "", shape
	}
	check := len(text) - base62.Width32
	if !base62.IsUint32(text[check:], crc32.ChecksumIEEE(Bytes(text[:check]))) {
		return "", Broken
	}
	return prefix, Native
}

// prefixOf returns the known prefix that text begins with, or "".
func prefixOf(text string) string {
	if len(text) < bodyChars && !strings.HasPrefix(text, Access) { // too short for anything but reserved
		return ""
	}
	switch p := text[:3]; p {
	case Secret, Publishable, APIKey, Access, Session:
		return p
	}
	switch p := text[:4]; p {
	case TestSecret, TestPublishable:
		return p
	}
	return ""
}

// Hint returns the part of a text that people may see: its first 5 and last 3 characters. It returns "…" for a text
// under 20 characters, or one that is not all printable ASCII.
func Hint(text string) string {
	if len(text) < 20 {
		return "…"
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return "…"
		}
	}
	return text[:5] + "…" + text[len(text)-3:]
}

// Digest returns the SHA-256 digest of a text. A slow hash would add nothing: a native text has 190 random bits or
// more, which nobody can guess. Digest does not allocate.
func Digest(text string) [32]byte { return sha256.Sum256(Bytes(text)) }

// Bytes returns the bytes of s without a copy, for hashing. They must not be written to.
func Bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
