package main

import (
	"crypto/sha256"
	"math/rand/v2"

	"github.com/latchkey-go/latchkey/bench/internal/measure"
)

// What no verification of random texts can go below: a digest of the text, and one look into a memory that no cache
// holds.

// sha256Side digests texts of 48 bytes, the longest that most tokens have. They fill one block of SHA-256, as shorter
// ones do.
func sha256Side() measure.Side {
	var text [48]byte
	return measure.Side{Name: "SHA-256 of 48 bytes", Run: func(n int) error {
		for range n {
			sum := sha256.Sum256(text[:])
			text[0], text[1] = sum[0], sum[1]
		}
		return nil
	}}
}

// missBytes is the memory that a chase goes through: more than caches and the entries of pages in them hold.
const missBytes = 256 << 20

// missSide goes from a line of memory to a random other one, which the first one names.
func missSide(bytes int) measure.Side {
	const words = 64 / 4 // of a line
	lines := bytes / 64
	memory := make([]uint32, lines*words)
	order := rand.New(rand.NewPCG(1, 1)).Perm(lines)
	for i, at := range order {
		memory[at*words] = uint32(order[(i+1)%lines] * words)
	}
	at := uint32(0)
	return measure.Side{Name: "one dependent cache miss", Run: func(n int) error {
		for range n {
			at = memory[at]
		}
		return nil
	}}
}

// limitName is what both together are called.
const limitName = "SHA-256 and one miss"
