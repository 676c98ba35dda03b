// Package uuidv7 makes and reads the ids of records and writes: UUIDv7 (RFC 9562), in the order in which one process
// made them.
package uuidv7

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/google/uuid"
)

// Maker makes ids. It is safe for concurrent use.
type Maker struct {
	rand io.Reader
	tick atomic.Int64 // of the newest id
}

// NewMaker returns a Maker that reads randomness from rand.
func NewMaker(rand io.Reader) *Maker { return &Maker{rand: rand} }

// New returns a new id for the time now, in µs since 1970. The ids of one Maker sort in the order in which they were
// made, whatever now is. So a store adds them at the end of its index. 12 bits of sub-millisecond time follow the
// milliseconds (RFC 9562 §6.2, method 3). No tick is used twice.
func (m *Maker) New(now int64) (id [16]byte, err error) {
	if _, err := io.ReadFull(m.rand, id[:]); err != nil {
		return id, fmt.Errorf("latchkey: no randomness: %w", err)
	}
	return m.From(now, id), nil
}

// From is New with random bytes that were read already.
func (m *Maker) From(now int64, random [16]byte) (id [16]byte) {
	id = random
	tick := now/1000<<12 | now%1000*4096/1000
	for {
		last := m.tick.Load()
		tick = max(tick, last+1)
		if m.tick.CompareAndSwap(last, tick) {
			break
		}
	}
	binary.BigEndian.PutUint64(id[:8], uint64(tick>>12)<<16|0x7000|uint64(tick&0xfff))
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// NewText is New as text.
func (m *Maker) NewText(now int64) (string, error) {
	id, err := m.New(now)
	if err != nil {
		return "", err
	}
	return Text(id), nil
}

// Text returns the canonical text of an id: 36 bytes, lower case.
func Text(id [16]byte) string { return uuid.UUID(id).String() }

// Parse returns the id that a text stands for, and the zero id for other text.
func Parse(text string) [16]byte {
	u, err := uuid.Parse(text)
	if err != nil {
		return [16]byte{}
	}
	return u
}

// Time returns the time in an id, in µs since 1970, to the millisecond.
func Time(id [16]byte) int64 { return int64(binary.BigEndian.Uint64(id[:8])>>16) * 1000 }

// Unstored returns the id of a token that is not stored, for the time now, in µs since 1970, and 62 random bits. It is
// a UUIDv8 that begins as a UUIDv7 does, so that nobody takes one for the other.
func Unstored(now int64, random [8]byte) (id [16]byte) {
	tick := uint64(now/1000<<12 | now%1000*4096/1000)
	binary.BigEndian.PutUint64(id[:8], tick>>12<<16|0x8000|tick&0xfff)
	copy(id[8:], random[:])
	id[8] = 0x80 | id[8]&0x3f
	return id
}

// IsUnstored reports whether an id is one of [Unstored].
func IsUnstored(id [16]byte) bool { return id[6]>>4 == 8 && id[8]>>6 == 2 }

// Valid reports whether a text is the canonical text of a UUIDv7: 36 bytes, lower case.
func Valid(text string) bool {
	id := Parse(text)
	return id[6]>>4 == 7 && id[8]>>6 == 2 && Text(id) == text
}

// Tick returns the time in an id, as 1/4096 ms since 1970: the milliseconds and the 12 bits that follow.
func Tick(text string) uint64 {
	b := Parse(text)
	high := binary.BigEndian.Uint64(b[:8])
	return high>>16<<12 | high&0xfff
}

// At returns an id that sorts below every id of that tick or a later one, and above those of earlier ticks.
func At(tick uint64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], tick>>12<<16|0x7000|tick&0xfff)
	return Text(b)
}
