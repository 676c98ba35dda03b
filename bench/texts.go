package main

import (
	"hash/crc32"
	"math/rand/v2"
	"strings"
)

// texts are the texts of many tokens in one piece of memory, in which no pointer is. A request brings its text in a
// buffer that was just written. So it must not cost a cache miss to read one: texts that follow each other are asked
// for one after the other. What is behind a text is anywhere, because digests are random.
type texts struct{ all string }

const (
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	keyPrefix    = "ak_"
	mintedPrefix = "at_" // as long
	keyRandom    = 34    // characters
	keyCheck     = 6
	keyLength    = len(keyPrefix) + keyRandom + keyCheck
)

// newTexts makes n texts of API keys, out of a generator with a seed.
func newTexts(n int, seed uint64) texts { return newTextsOf(keyPrefix, n, seed) }

// newTextsOf makes texts of the form that latchkey.CheckText knows, with keyPrefix or mintedPrefix.
func newTextsOf(prefix string, n int, seed uint64) texts {
	r := rand.New(rand.NewPCG(seed, 0))
	var all strings.Builder
	all.Grow(n * keyLength)
	text := make([]byte, keyLength)
	copy(text, prefix)
	random, check := text[len(keyPrefix):keyLength-keyCheck], text[keyLength-keyCheck:]
	for range n {
		for i := range random {
			random[i] = base62[r.IntN(len(base62))]
		}
		sum := crc32.ChecksumIEEE(text[:keyLength-keyCheck])
		for i := range check {
			check[keyCheck-1-i] = base62[sum%62]
			sum /= 62
		}
		all.Write(text)
	}
	return texts{all.String()}
}

func (t texts) len() int { return len(t.all) / keyLength }

func (t texts) at(i int) string { return t.all[i*keyLength : (i+1)*keyLength] }

// shuffled returns the numbers of n texts in a random order: tokens are not asked for in the order in which they came.
func shuffled(n int) []int {
	return rand.New(rand.NewPCG(uint64(n), 1)).Perm(n)
}

// altered returns a text with one character changed: nobody issued it.
func altered(text string) string {
	b := []byte(text)
	at := len(b) / 2
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

// inOrder returns a copy of texts in another order.
func inOrder(t texts, order []int) texts {
	var all strings.Builder
	all.Grow(len(t.all))
	for _, i := range order {
		all.WriteString(t.at(i))
	}
	return texts{all.String()}
}
