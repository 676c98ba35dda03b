package uuidv7

import (
	"bytes"
	"encoding/binary"
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
	for _, bad := range []string{"", "tok_1", text[:35], text + "0"} {
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
