package tokentext

import (
	"encoding/base64"
	"hash/crc32"

	"github.com/latchkey-go/latchkey/internal/base62"
)

// A sealed text holds what it says itself, encrypted:
//
//	at_[<mark>_]S<body in base64url><6 characters of CRC-32>
//
// No mark has an upper-case letter, so the S cannot be part of one. It names the version of the form. All before the
// body is the head. There is one text for each head and body: unused bits of the last character are 0.

const (
	// MaxSealed is the length of the longest sealed text in bytes.
	MaxSealed = 2048
	// minSealedBody is that of the shortest body in characters. A shorter text is of the other form, or of none.
	minSealedBody = 56

	sealedVersion = 'S'
)

// SealedHead returns the head of the sealed texts with a mark, or with none.
func SealedHead(mark string) string {
	if mark != "" {
		mark += "_"
	}
	return Access + mark + string(sealedVersion)
}

// Seal returns the text with a head and a body, which must be 42 bytes or more. The text may be longer than MaxSealed:
// Read then refuses it.
func Seal(head string, body []byte) string {
	var buf [512]byte // few texts are longer
	text := append(buf[:0], head...)
	text = base64.RawURLEncoding.AppendEncode(text, body)
	return string(base62.AppendUint32(text, crc32.ChecksumIEEE(text)))
}

// sealedHead returns the length of the head that text begins with, or 0.
func sealedHead(text string) int {
	if len(text) < len(Access) || text[:len(Access)] != Access {
		return 0
	}
	at := len(Access)
	for at < len(text) && at < len(Access)+MaxMark && ValidMark(text[at:at+1]) {
		at++
	}
	if at > len(Access) {
		if at == len(text) || text[at] != '_' {
			return 0
		}
		at++
	}
	if at == len(text) || text[at] != sealedVersion {
		return 0
	}
	return at + 1
}

// readSealed is Read for a text that begins with Access and is not of the other form.
func readSealed(text string) Shape {
	head, check := sealedHead(text), len(text)-base62.Width32
	if head == 0 || check-head < minSealedBody || len(text) > MaxSealed || !validSealed(text[head:check]) {
		return Reserved
	}
	if !base62.IsUint32(text[check:], crc32.ChecksumIEEE(Bytes(text[:check]))) {
		return Broken
	}
	return Sealed
}

// Unseal appends the body of a sealed text to buf, and returns it with the head. It returns false for any other text.
func Unseal(buf []byte, text string) (head string, body []byte, ok bool) {
	if _, shape := Read(text); shape != Sealed {
		return "", nil, false
	}
	head, body = UnsealRead(buf, text)
	return head, body, true
}

// UnsealRead is Unseal for a text that Read has said is Sealed.
func UnsealRead(buf []byte, text string) (head string, body []byte) {
	n := sealedHead(text)
	in := text[n : len(text)-base62.Width32]
	for ; len(in) >= 4; in = in[4:] {
		v := uint32(sextet[in[0]])<<18 | uint32(sextet[in[1]])<<12 | uint32(sextet[in[2]])<<6 | uint32(sextet[in[3]])
		buf = append(buf, byte(v>>16), byte(v>>8), byte(v))
	}
	switch len(in) {
	case 2:
		buf = append(buf, sextet[in[0]]<<2|sextet[in[1]]>>4)
	case 3:
		v := uint32(sextet[in[0]])<<10 | uint32(sextet[in[1]])<<4 | uint32(sextet[in[2]])>>2
		buf = append(buf, byte(v>>8), byte(v))
	}
	return text[:n], buf
}

const noSextet = 0xff

// sextet holds the value of each character of base64url, or noSextet.
var sextet = func() (t [256]uint8) {
	for i := range t {
		t[i] = noSextet
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = uint8(i)
	}
	return t
}()

// validSealed reports whether s is what base64url makes of some bytes. The decoder of the standard library skips line
// breaks.
func validSealed(s string) bool {
	var last uint8
	if len(s) > 0 {
		last = sextet[s[len(s)-1]]
	}
	switch len(s) % 4 {
	case 1:
		return false
	case 2:
		if last&0xf != 0 {
			return false
		}
	case 3:
		if last&0x3 != 0 {
			return false
		}
	}
	var bad uint8
	for len(s) >= 8 { // eight at a time is twice as fast
		bad |= sextet[s[0]] | sextet[s[1]] | sextet[s[2]] | sextet[s[3]] |
			sextet[s[4]] | sextet[s[5]] | sextet[s[6]] | sextet[s[7]]
		s = s[8:]
	}
	for i := range len(s) {
		bad |= sextet[s[i]]
	}
	return bad < 64
}
