// Package base62 encodes random bytes and checksums with the 62 ASCII digits and letters.
package base62

// Alphabet is in ASCII order, so that encoded numbers of one width sort as numbers.
const Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Width32 is the number of characters of an encoded uint32.
const Width32 = 6

const none = 0xff

// digit holds the value of each byte, or none for a byte outside the alphabet.
var digit = func() (t [256]uint8) {
	for i := range t {
		t[i] = none
	}
	for i := range len(Alphabet) {
		t[Alphabet[i]] = uint8(i)
	}
	return t
}()

// Fill writes one character into dst for each usable byte of random, until either ends. It returns how many it wrote.
// It skips bytes from 248 on, which would make the first eight characters more likely than the others.
func Fill(dst, random []byte) int {
	n := 0
	for _, b := range random {
		if n == len(dst) {
			break
		}
		if b < 4*uint8(len(Alphabet)) {
			dst[n] = Alphabet[b%uint8(len(Alphabet))]
			n++
		}
	}
	return n
}

// AppendUint32 appends v as Width32 characters, the most significant first.
func AppendUint32(dst []byte, v uint32) []byte {
	var buf [Width32]byte
	for i := Width32 - 1; i >= 0; i-- {
		buf[i] = Alphabet[v%uint32(len(Alphabet))]
		v /= uint32(len(Alphabet))
	}
	return append(dst, buf[:]...)
}

// Pair returns the two characters of n, the most significant first. n is below 62².
func Pair(n uint16) [2]byte {
	return [2]byte{Alphabet[n/uint16(len(Alphabet))], Alphabet[n%uint16(len(Alphabet))]}
}

// Unpair returns the number of which a and b are the characters. Both are in the alphabet.
func Unpair(a, b byte) uint16 { return uint16(digit[a])*uint16(len(Alphabet)) + uint16(digit[b]) }

// IsUint32 reports whether s is exactly what AppendUint32 writes for v.
func IsUint32(s string, v uint32) bool {
	if len(s) != Width32 {
		return false
	}
	var got uint64
	var bad uint8
	for i := range len(s) {
		d := digit[s[i]]
		bad |= d
		got = got*uint64(len(Alphabet)) + uint64(d)
	}
	return bad < 64 && got == uint64(v)
}

// Valid reports whether every byte of s is in the alphabet. The empty string is valid.
func Valid(s string) bool {
	var bad uint8
	for len(s) >= 8 { // eight at a time is twice as fast
		bad |= digit[s[0]] | digit[s[1]] | digit[s[2]] | digit[s[3]] |
			digit[s[4]] | digit[s[5]] | digit[s[6]] | digit[s[7]]
		s = s[8:]
	}
	for i := range len(s) {
		bad |= digit[s[i]]
	}
	return bad < 64 // digits are below 62, none has the top bit
}
