package base62

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAlphabet(t *testing.T) {
	assert.Len(t, Alphabet, 62)
	assert.True(t, slices.IsSorted([]byte(Alphabet)))
	assert.Len(t, slices.Compact([]byte(Alphabet)), 62)
}

func TestFillHasNoBias(t *testing.T) {
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	dst := make([]byte, 256)
	n := Fill(dst, all[:])
	assert.Equal(t, 248, n, "eight bytes are passed over")
	for _, c := range []byte(Alphabet) {
		assert.Equal(t, 4, strings.Count(string(dst[:n]), string(c)), "%c", c)
	}
	assert.Equal(t, 3, Fill(dst[:3], all[:]), "stops when dst is full")
	assert.Zero(t, Fill(dst, []byte{248, 255}))
	assert.Zero(t, Fill(nil, all[:]))
}

func TestUint32(t *testing.T) {
	for v, want := range map[uint32]string{
		0: "000000", 1: "000001", 61: "00000z", 62: "000010", math.MaxUint32: "4gfFC3",
	} {
		assert.Equal(t, want, string(AppendUint32(nil, v)))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		v := r.Uint32()
		s := string(AppendUint32([]byte("x"), v)[1:])
		assert.True(t, IsUint32(s, v))
		assert.False(t, IsUint32(s, v+1))
		i := r.IntN(Width32)
		altered := s[:i] + string(rune(r.IntN(256))) + s[i+1:]
		assert.Equal(t, altered == s, IsUint32(altered, v), "%q", altered)
	}
	assert.False(t, IsUint32("00000-", none), "what is no digit has no value")
	for _, s := range []string{"", "00000", "0000000", "00000-", "\xff00000", "zzzzzz"} {
		assert.False(t, IsUint32(s, 0), "%q", s)
	}
}

func TestValid(t *testing.T) {
	assert.True(t, Valid(""))
	assert.True(t, Valid(Alphabet))
	for b := range 256 {
		s := string([]byte{'a', byte(b), 'Z'})
		assert.Equal(t, strings.IndexByte(Alphabet, byte(b)) >= 0, Valid(s), "%q", s)
	}
	for n := range 20 { // at each place of each length
		good := []byte(Alphabet[:n])
		for at := range good {
			kept := good[at]
			for _, bad := range []byte("-_ \x00\xff") {
				good[at] = bad
				assert.False(t, Valid(string(good)), "%q", good)
			}
			good[at] = kept
		}
		assert.True(t, Valid(string(good)))
	}
}

func TestPair(t *testing.T) {
	for n := range uint16(62 * 62) {
		p := Pair(n)
		assert.Equal(t, n, Unpair(p[0], p[1]))
		assert.True(t, Valid(string(p[:])))
	}
	assert.Equal(t, [2]byte{'0', '0'}, Pair(0))
	assert.Equal(t, [2]byte{'z', 'z'}, Pair(62*62-1))
}
