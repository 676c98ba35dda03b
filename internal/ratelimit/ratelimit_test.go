package ratelimit

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const sec = int64(time.Second)

var key = [16]byte{1}

func given() *Limiter { return New(time.Time{}, nil) }

// passes returns how many of n requests pass at a time.
func (l *Limiter) passes(n int, r Rate, at int64) (passed int) {
	for range n {
		if _, ok := l.Take(&key, r, at); ok {
			passed++
		}
	}
	return passed
}

func TestTake(t *testing.T) {
	r := Rate{Step: sec, Slack: 2 * sec}
	l := given()
	require.True(t, l.Unused())
	state, ok := l.Take(&key, r, 0)
	require.True(t, ok)
	require.Equal(t, State{Limit: 3, Remaining: 2, Reset: time.Second, Window: 3 * time.Second}, state)
	require.False(t, l.Unused())
	require.Equal(t, 1, l.Keys())
	require.Equal(t, 2, l.passes(9, r, 0))
	state, ok = l.Take(&key, r, sec/4)
	require.False(t, ok)
	require.Equal(t, State{Limit: 3, Reset: 2750 * time.Millisecond, Window: 3 * time.Second,
		RetryAfter: 750 * time.Millisecond}, state)
	require.Equal(t, 0, l.passes(9, r, sec-1))
	require.Equal(t, 1, l.passes(9, r, sec))
	require.Equal(t, 0, l.passes(9, r, 0), "time does not go back")
	require.Equal(t, 3, l.passes(9, r, 100*sec), "a rest saves up no more than the burst")
	other := [16]byte{2}
	_, ok = l.Take(&other, r, 100*sec)
	require.True(t, ok, "keys do not share a rate")
}

func TestGiveLookAndForget(t *testing.T) {
	r := Rate{Step: sec, Slack: sec}
	l := given()
	require.Equal(t, State{Limit: 2, Remaining: 2, Window: 2 * time.Second}, l.Look(&key, r, 0))
	require.True(t, l.Unused(), "Look adds nothing")
	l.Give(&key, r, 0) // of a key that is not known
	require.Zero(t, l.Keys())
	require.Equal(t, 2, l.passes(9, r, 0))
	l.Give(&key, Rate{Step: 1}, 0) // under another rate
	require.Equal(t, 0, l.passes(9, r, 0))
	l.Give(&key, r, 0)
	require.Equal(t, 1, l.Look(&key, r, 0).Remaining)
	require.Equal(t, 1, l.passes(9, r, 0))
	l.Forget(&key)
	require.Equal(t, 2, l.passes(9, r, 0))
}

// What came before counts under a rate that changed as it would have come under that one.
func TestARateThatChanges(t *testing.T) {
	slow, fast := Rate{Step: 100 * sec, Slack: 300 * sec}, Rate{Step: sec, Slack: 3 * sec}
	for name, c := range map[string]struct {
		before, after Rate
		taken, passes int
	}{
		"faster":                  {slow, fast, 1, 3},
		"faster, with all taken":  {slow, fast, 4, 0},
		"slower":                  {fast, slow, 1, 3},
		"slower, with all taken":  {fast, slow, 4, 0},
		"less at once":            {Rate{1, 999}, Rate{sec, 0}, 1000, 0},
		"more at once":            {Rate{sec, 0}, Rate{sec, sec}, 1, 1},
		"a debt beyond all steps": {Rate{1, math.MaxInt32}, Rate{int64(366 * 24 * time.Hour), 0}, 1000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := given()
			require.Equal(t, c.taken, l.passes(c.taken, c.before, 0))
			require.Equal(t, c.passes, l.passes(9, c.after, 0))
			state := l.Look(&key, c.after, 0)
			require.LessOrEqual(t, int64(state.Reset), c.after.Step+c.after.Slack, "and no debt that it could not have made")
		})
	}
}

// A share of a step counts as a step of the other rate, so that a change of rates gives nothing away.
func TestWhatWaitsIsRoundedUp(t *testing.T) {
	was := Rate{Step: 3, Slack: 9}
	for after, want := range map[int64]int64{4: 3, 5: 4, 6: 4, 0: 0} { // in steps of 2 instead of 3
		c := cell{tat: 100 + after, last: 100, Rate: was}
		require.Equal(t, 100+want, c.under(Rate{Step: 2, Slack: 50}), after)
		require.Equal(t, 100+after, c.under(was))
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l := given()
	for i := range l.shards {
		l.shards[i].room = 8
	}
	r := Rate{Step: sec}
	var k [16]byte
	take := func(n uint64, at int64) (State, bool) {
		binary.BigEndian.PutUint64(k[:], n)
		return l.Take(&k, r, at)
	}
	admitted := 0
	for n := range uint64(10_000) {
		state, ok := take(n, 0)
		if ok {
			admitted++
			continue
		}
		require.Equal(t, State{Limit: 1, Window: time.Second, Reset: time.Second, RetryAfter: time.Second}, state)
	}
	require.Equal(t, 8*shardCount, admitted)
	for n := range uint64(8) { // those that are known are held to their rate still
		_, ok := take(n, sec/2)
		require.False(t, ok)
	}
	for n := range uint64(100) { // eight a second fit into one shard
		_, ok := take(1<<32+n, sec*int64(1+n/8))
		require.True(t, ok, "keys whose time has come make room")
	}
	for i := range l.shards {
		require.LessOrEqual(t, len(l.shards[i].cells), 8)
	}
}

// One that is added looks at a few keys only, and at more if it needs room. The wait is that of the first of them.
func TestRoomIsMadeLittleByLittle(t *testing.T) {
	filled := func(n, room int, tat int64) *shard {
		s := &shard{now: 10, room: room, cells: map[[16]byte]cell{}}
		for i := range n {
			s.cells[[16]byte{byte(i), byte(i >> 8)}] = cell{tat: tat}
		}
		return s
	}
	for _, c := range []struct{ n, room, left int }{
		{1000, 1001, 1000 - probeAdd}, {1000, 1000, 1000 - probeFull}, {1000, 999, 1000 - probeFull},
	} {
		s := filled(c.n, c.room, 10)
		_, ok := s.makeRoom()
		require.True(t, ok)
		require.Len(t, s.cells, c.left)
	}
	for range 50 { // a map begins anywhere
		s := filled(3, 3, 40)
		s.cells[[16]byte{1}] = cell{tat: 25}
		wait, ok := s.makeRoom()
		require.False(t, ok)
		require.EqualValues(t, 15, wait)
		require.Len(t, s.cells, 3)
	}
}

func TestStopwatch(t *testing.T) {
	type at struct{ reading, want int64 }
	for name, readings := range map[string][]at{
		"goes on":               {{5, 5}, {9, 9}},
		"back is no time":       {{100, 100}, {40, 100}, {50, 110}},
		"back and forth again":  {{100, 100}, {40, 100}, {50, 110}, {105, 110}, {106, 110}, {111, 111}},
		"forth by half of it":   {{100, 100}, {40, 100}, {75, 135}, {105, 135}, {136, 136}},
		"forth by less":         {{100, 100}, {40, 100}, {76, 136}, {105, 165}, {106, 166}},
		"a stop and forth":      {{100, 100}, {40, 100}, {40, 100}, {100, 100}, {101, 101}},
		"forth once only":       {{100, 100}, {40, 100}, {106, 106}, {200, 200}, {300, 300}},
		"forth without a step":  {{100, 100}, {200, 200}, {200, 200}, {300, 300}},
		"back after it was put": {{100, 100}, {40, 100}, {100, 100}, {90, 100}, {91, 101}, {100, 101}, {102, 102}},
		"by and by is time":     {{100, 100}, {40, 100}, {60, 120}, {80, 140}, {100, 160}, {120, 180}},
		"back twice, and forth": {{100, 100}, {60, 100}, {20, 100}, {100, 100}, {101, 101}},
	} {
		t.Run(name, func(t *testing.T) {
			var w stopwatch
			most := int64(0)
			for _, r := range readings {
				most = max(most, w.passed(r.reading))
				require.Equal(t, r.want, most, "%d", r.reading)
			}
		})
	}
}

func TestAClockIsReadInsteadOfWhatIsGiven(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := New(now, func() time.Time { return now })
	r := Rate{Step: sec}
	require.Equal(t, 1, l.passes(9, r, 0))
	require.Equal(t, 0, l.passes(9, r, 1e18))
	now = now.Add(-time.Hour)
	require.Equal(t, 0, l.passes(9, r, 0))
	now = now.Add(time.Second)
	require.Equal(t, 1, l.passes(9, r, 0))
}

func TestKeys(t *testing.T) {
	seen := map[[16]byte]string{}
	for _, s := range []string{"", "\x00", "a", "a\x00", "0123456789abcde", "0123456789abcdef", "0123456789abcdeg"} {
		k := Key(s)
		require.NotContains(t, seen, k, "%q and %q", s, seen[k])
		seen[k] = s
	}
	require.Equal(t, Key("0123456789abcdef"), Key("0123456789abcdef"))
	for n := range 200 { // the last byte tells a text as it is from a hash
		k := Key(strings.Repeat("a", n))
		require.Equal(t, n >= len(k), k[15] >= 0x80, n)
	}
}

// In any span of time no more pass than the rate and its burst let, and a key passes when it was told it would.
func TestRandomRequests(t *testing.T) {
	for range 100 {
		r := Rate{Step: 1 + rand.Int64N(1000), Slack: rand.Int64N(5000)}
		l := given()
		var passed []int64
		for now := int64(0); len(passed) < 100; now += rand.Int64N(2 * r.Step) {
			state, ok := l.Take(&key, r, now)
			if !ok {
				now += int64(state.RetryAfter)
				_, ok = l.Take(&key, r, now)
			}
			require.True(t, ok, "%+v %+v", r, state)
			passed = append(passed, now)
		}
		burst := int(r.Slack/r.Step) + 1
		for i := range passed {
			for j := i + burst; j < len(passed); j++ {
				if passed[j]-passed[i]+r.Slack < int64(j-i)*r.Step {
					t.Fatalf("%+v: %d passed from %d to %d", r, j-i+1, passed[i], passed[j])
				}
			}
		}
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	l, r := given(), Rate{Step: 1, Slack: sec}
	l.Take(&key, r, 0)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		l.Take(&key, r, 0)
		l.Look(&key, r, 0)
		l.Give(&key, r, 0)
	}))
}
