package uuidv7

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestIDsInOrder(t *testing.T) {
	clock := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	m := NewMaker(zeros{})
	var last [16]byte
	next := func() [16]byte {
		t.Helper()
		id, err := m.New(clock.UnixMicro())
		require.NoError(t, err)
		require.Negative(t, bytes.Compare(last[:], id[:]))
		require.Negative(t, bytes.Compare([]byte(Text(last)), []byte(Text(id))), "as text too")
		require.EqualValues(t, 7, uuid.UUID(id).Version())
		require.Equal(t, uuid.RFC4122, uuid.UUID(id).Variant())
		last = id
		return id
	}
	for range 5000 { // more than the ticks of a millisecond
		next()
	}
	clock = clock.Add(time.Minute)
	id := next()
	require.Equal(t, clock.UnixMilli(), int64(binary.BigEndian.Uint64(id[:8])>>16))
	clock = clock.Add(-time.Hour)
	next()
	clock = time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	next()
	var mu sync.Mutex
	seen := map[[16]byte]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				id, err := m.New(clock.UnixMicro())
				mu.Lock()
				if seen[id] || err != nil {
					t.Error("twice", err)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestBrokenRandomnessMakesNoID(t *testing.T) {
	_, err := NewMaker(bytes.NewReader(make([]byte, 15))).New(0)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = NewMaker(bytes.NewReader(nil)).NewText(0)
	require.ErrorIs(t, err, io.EOF)
}

func TestTexts(t *testing.T) {
	text, err := NewMaker(zeros{}).NewText(time.Now().UnixMicro())
	require.NoError(t, err)
	require.Len(t, text, 36)
	require.Equal(t, text, Text(Parse(text)))
	for _, bad := range []string{"", "tok_1", text[:35], text + "0", text[:35] + "g"} {
		require.Zero(t, Parse(bad), bad)
	}
}

func TestTicks(t *testing.T) {
	m := NewMaker(bytes.NewReader(bytes.Repeat([]byte{0xff}, 1<<10)))
	for _, us := range []int64{0, 1, 999, 1000, 1_764_460_000_123_456} {
		text, err := m.NewText(us)
		require.NoError(t, err)
		tick := Tick(text)
		require.Less(t, At(tick), text)
		require.Greater(t, At(tick+1), text)
		require.Equal(t, tick, Tick(At(tick)))
	}
}

// The layout is that of RFC 9562: 48 bits of milliseconds, the version, 12 bits of a 4096th of one, the variant.
func TestLayout(t *testing.T) {
	const ms = 0x0123456789ab
	for us, want := range map[int64]string{
		ms * 1000:       "01234567-89ab-%d000-bfff-ffffffffffff",
		ms*1000 + 1:     "01234567-89ab-%d004-bfff-ffffffffffff",
		ms*1000 + 500:   "01234567-89ab-%d800-bfff-ffffffffffff",
		ms*1000 + 999:   "01234567-89ab-%dffb-bfff-ffffffffffff",
		ms*1000 + 1000:  "01234567-89ac-%d000-bfff-ffffffffffff",
		ms*1000 + 10999: "01234567-89b5-%dffb-bfff-ffffffffffff",
	} {
		id, err := NewMaker(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16))).New(us)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf(want, 7), Text(id))
		require.EqualValues(t, us/1000*1000, Time(id))

		ones := [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		id = Unstored(us, ones)
		require.Equal(t, fmt.Sprintf(want, 8), Text(id))
		require.EqualValues(t, us/1000*1000, Time(id))
		require.True(t, IsUnstored(id))
		require.False(t, Valid(Text(id)))

		id = Unstored(us, [8]byte{0x40, 1, 2, 3, 4, 5, 6, 7})
		require.Equal(t, [8]byte{0x80, 1, 2, 3, 4, 5, 6, 7}, [8]byte(id[8:]))
	}
	m := NewMaker(zeros{})
	for n := range 3 { // one tick after the other
		id, err := m.New(ms * 1000)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("01234567-89ab-700%d-8000-000000000000", n), Text(id))
	}
}

// Which ids are those of records, and which of tokens that are not stored.
func TestValidAndUnstored(t *testing.T) {
	for text, want := range map[string]struct{ valid, unstored bool }{
		"01234567-89ab-7000-8000-000000000000":          {valid: true},
		"01234567-89ab-7fff-bfff-ffffffffffff":          {valid: true},
		"01234567-89ab-8000-8000-000000000000":          {unstored: true},
		"01234567-89ab-8fff-bfff-ffffffffffff":          {unstored: true},
		"01234567-89ab-7000-0000-000000000000":          {},
		"01234567-89ab-7000-c000-000000000000":          {},
		"01234567-89ab-8000-4000-000000000000":          {},
		"01234567-89ab-8000-c000-000000000000":          {},
		"01234567-89ab-9000-8000-000000000000":          {},
		"01234567-89ab-0000-8000-000000000000":          {},
		"01234567-89AB-7000-8000-000000000000":          {},
		"0123456789ab70008000000000000000":              {},
		"{01234567-89ab-7000-8000-000000000000}":        {},
		"urn:uuid:01234567-89ab-7000-8000-000000000000": {},
		"01234567-89ab-7000-8000-00000000000":           {},
		"":                                              {},
	} {
		require.Equal(t, want.valid, Valid(text), text)
		require.Equal(t, want.unstored, IsUnstored(Parse(text)), text)
	}
}
