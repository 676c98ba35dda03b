package latchkey

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A reading is confirmed if the two clocks lie within a minute of each other, either way.
func TestHowFarClocksMayLieApart(t *testing.T) {
	minute := time.Minute.Microseconds()
	for _, c := range []struct {
		host, store int64
		confirmed   bool
	}{
		{1000 * minute, 1000 * minute, true},
		{1000 * minute, 1001 * minute, true},
		{1000 * minute, 999 * minute, true},
		{1000 * minute, 1001*minute + 1, false},
		{1000 * minute, 999*minute - 1, false},
		{1000 * minute, 0, true}, // a store without a clock
	} {
		m := New(noStore{}, nil)
		err := (&follower{m: m}).compareClocks(moment{us: c.host}, c.store)
		require.Equal(t, c.confirmed, err == nil, "%+v", c)
		if !c.confirmed {
			require.ErrorIs(t, err, ErrUnavailable)
			word := map[bool]string{true: "is 1m0s ahead of this", false: "is 1m0s behind this"}[c.store > c.host]
			require.ErrorContains(t, err, word)
			require.Zero(t, m.agreedMax.Load(), "%+v", c)
		} else {
			require.Equal(t, c.store, m.agreedMax.Load(), "%+v", c)
		}
	}
}

// A clock that is set by up to a minute between two looks at it is right, and by more is told once.
func TestAClockThatWasSet(t *testing.T) {
	for by, fine := range map[time.Duration]bool{0: true, clockBound: true, -clockBound: true,
		clockBound + time.Second: false, -clockBound - time.Second: false} {
		w := &stepWatch{last: time.Now()}
		now := later(w.last, time.Hour+by, time.Hour)
		err := w.check(now)
		require.Equal(t, fine, err == nil, "%v: %v", by, err)
		if !fine {
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorContains(t, err, by.String())
		}
		require.NoError(t, w.check(now), "it is told once")
	}
}

// Where the store is slow, a reading counts as confirmed for a while after one that was, by both clocks and either way.
func TestHowLongAConfirmationHolds(t *testing.T) {
	good := confirmTTL.Microseconds()
	for _, c := range []struct {
		went, passed int64 // µs since, by the clock of this machine; ns that passed
		cost         int64 // ns of the last confirmation
		holds        bool
	}{
		{0, 0, int64(cheapConfirm) + 1, true},
		{good, int64(confirmTTL), int64(cheapConfirm) + 1, true},
		{-good, 0, int64(cheapConfirm) + 1, true},
		{good + 1, 0, int64(cheapConfirm) + 1, false},
		{-good - 1, 0, int64(cheapConfirm) + 1, false},
		{0, int64(confirmTTL) + 1, int64(cheapConfirm) + 1, false},
		{0, 0, int64(cheapConfirm), false},
	} {
		synctest.Test(t, func(t *testing.T) { // no time passes
			m := New(&calmStore{}, nil)
			f := followerOf(t, m)
			at := m.readClock()
			f.clock.host.Store(at.us - c.went)
			f.clock.passed.Store(at.passed - c.passed)
			f.clock.cost.Store(c.cost)
			_, err := f.confirmedTime(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.holds, f.clock.cost.Load() == c.cost, "%+v", c)
			require.NoError(t, m.Close(t.Context()))
		})
	}
}

// A clock that shows the first moment of 1970 was not confirmed by having been read never.
func TestNoClockIsConfirmedUnread(t *testing.T) {
	m := New(&calmStore{}, &Options{Clock: func() time.Time { return time.Unix(0, 0) }})
	f := followerOf(t, m)
	f.clock.cost.Store(math.MaxInt64)
	_, err := f.confirmedTime(t.Context())
	require.NoError(t, err)
	require.Less(t, f.clock.cost.Load(), int64(math.MaxInt64), "the store was asked")
}

// A time that the store read by time.Now in this process counts for both clocks, however long ago that was. Any other
// one is the store's alone.
func TestAStoreWithTheClockOfThisProcess(t *testing.T) {
	read := time.Now().Add(-time.Hour)
	own := New(noStore{}, nil)
	at, store := own.readClocks(&Feed{Now: read})
	require.Equal(t, []int64{micros(read), micros(read)}, []int64{at.us, store})
	at, store = own.readClocks(&Feed{Now: read.Round(0)})
	require.Greater(t, at.us, micros(read))
	require.Equal(t, micros(read), store)
	at, store = own.readClocks(&Feed{})
	require.Greater(t, at.us, micros(read))
	require.Zero(t, store)

	hosts := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	host := New(noStore{}, &Options{Clock: func() time.Time { return hosts }})
	for _, now := range []time.Time{read, read.Round(0), {}} {
		at, store = host.readClocks(&Feed{Now: now})
		require.Equal(t, []int64{micros(hosts), micros(now)}, []int64{at.us, store})
	}
}

// What both clocks showed counts for the time of creation, up to a minute: before that they were set back. For ends it
// always counts.
func TestTimesOfCreationAndExpiry(t *testing.T) {
	minute := time.Minute.Microseconds()
	for _, c := range []struct{ host, agreed, creation, expiry int64 }{
		{1000 * minute, 0, 1000 * minute, 1000 * minute},
		{1000 * minute, 1000*minute - 1, 1000 * minute, 1000 * minute},
		{1000 * minute, 1000*minute + 1, 1000*minute + 1, 1000*minute + 1},
		{1000 * minute, 1001 * minute, 1001 * minute, 1001 * minute},
		{1000 * minute, 1001*minute + 1, 1000 * minute, 1001*minute + 1},
	} {
		m := New(noStore{}, nil)
		m.agreedMax.Store(c.agreed)
		require.Equal(t, c.creation, m.creationTime(moment{us: c.host}), "%+v", c)
		require.Equal(t, c.expiry, m.expiryTime(moment{us: c.host}), "%+v", c)
	}
}

// Clocks that were set back together count again once they have run for an hour. The time they showed before counts
// until then, and for good if they come to it.
func TestWhenClocksThatWereSetBackCount(t *testing.T) {
	const hour = int64(time.Hour / time.Microsecond)
	m := New(noStore{}, nil)
	f := &follower{m: m}
	at := func(us, want int64) {
		t.Helper()
		require.NoError(t, f.compareClocks(moment{us: us}, us))
		require.Equal(t, want, m.agreedMax.Load())
	}
	at(100*hour, 100*hour)
	at(100*hour+999, 100*hour) // it may lag by a millisecond
	at(100*hour+1000, 100*hour+1000)
	high := 100*hour + 1000
	at(50*hour, high)
	at(51*hour-1, high)
	at(high+5000, high+5000) // they were put right
	high += 5000
	at(60*hour, high) // set back anew: the hour begins anew
	at(61*hour-1, high)
	at(40*hour, high) // and anew
	at(41*hour-1, high)
	at(41*hour, 41*hour)
	at(42*hour, 42*hour)
}

// The zero time is 0, not a moment of year 1.
func TestMicrosOfTheZeroTime(t *testing.T) {
	require.Zero(t, micros(time.Time{}))
	require.EqualValues(t, 5, micros(time.UnixMicro(5)))
	require.EqualValues(t, -5, micros(time.UnixMicro(-5)))
}
