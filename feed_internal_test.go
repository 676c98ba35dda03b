package latchkey

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// later returns a reading of time.Now as it would be when so much had passed by the wall clock and by the monotonic
// one. A reading holds seconds of the wall clock since 1885, with nanoseconds below, and the monotonic clock.
func later(from time.Time, wall, monotonic time.Duration) time.Time {
	r := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&from))
	r.ext += int64(monotonic)
	r.wall += uint64(wall/time.Second) << 30
	return from
}

// Neither a clock that is set back nor a machine that slept extends the bound.
func TestAgeByTwoClocks(t *testing.T) {
	start := time.Now()
	require.Equal(t, 7*time.Second, later(start, 0, 7*time.Second).Sub(start), "time.Time is another one now: mend later")
	require.Equal(t, 9*time.Second, later(start, 9*time.Second, 0).Round(0).Sub(start.Round(0)))
	for _, c := range []struct {
		name            string
		wall, monotonic time.Duration
		age             time.Duration
		known           bool
	}{
		{"nothing happened", 0, 0, 0, true},
		{"time passed", 5 * time.Second, 5 * time.Second, 5 * time.Second, true},
		{"set back a little", 2 * time.Second, 5 * time.Second, 5 * time.Second, true},
		{"set back to just before", -10 * time.Second, 5 * time.Second, 5 * time.Second, false},
		{"set back to before", -time.Hour, 5 * time.Second, 5 * time.Second, false},
		{"set back by much", 5 * time.Minute, 10 * time.Minute, 10 * time.Minute, false},
		{"set forward a little", time.Minute, 5 * time.Second, time.Minute, true},
		{"set forward", time.Hour, 5 * time.Second, time.Hour, false},
		{"set forward by the bound", 65 * time.Second, 5 * time.Second, 65 * time.Second, true},
		{"set forward by more", 66 * time.Second, 5 * time.Second, 66 * time.Second, false},
		{"set back by the bound", 5 * time.Second, 65 * time.Second, 65 * time.Second, true},
		{"set back by more", 5 * time.Second, 66 * time.Second, 66 * time.Second, false},
		{"slept", time.Hour, 5 * time.Second, time.Hour, false},
	} {
		age, known := ageAt(start, later(start, c.wall, c.monotonic))
		assert.Equal(t, c.age, age, c.name)
		assert.Equal(t, c.known, known, c.name)

		const us, passed = 1_800_000_000_000_000, 42
		age, known = ageBetween(us, us+c.wall.Microseconds(), passed, passed+int64(c.monotonic))
		assert.Equal(t, c.age, age, c.name)
		assert.Equal(t, c.known, known, c.name)
	}
	age, known := ageAt(time.Unix(100, 0), time.Unix(103, 0)) // a clock of the host's own
	assert.Equal(t, 3*time.Second, age)
	assert.True(t, known)
}

// A poll that began later counts for more, unless this machine's clock says now that it lies ahead.
func TestALaterPollWasFirst(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	m := New(&calmStore{}, &Options{Clock: func() time.Time { return now }})
	f := followerOf(t, m)
	for by, stays := range map[time.Duration]bool{0: true, -time.Second: false, time.Second: false} {
		was := &pollStart{missed: f.missed.Load(), at: now.Add(by)}
		f.lastPoll.Store(was)
		_, err := f.poll(t.Context())
		require.NoError(t, err)
		require.Equal(t, stays, f.lastPoll.Load() == was, by)
		require.True(t, f.lastPoll.Load().at.Equal(now), by)
	}
	was := &pollStart{missed: f.missed.Load(), at: now}
	f.lastPoll.Store(was)
	f.missed.Add(1) // something was missed since
	_, err := f.poll(t.Context())
	require.NoError(t, err)
	require.NotSame(t, was, f.lastPoll.Load())
}

// calmStore is a store without a clock in which nothing ever changes.
type calmStore struct{ Store }

func (*calmStore) Feeds() []FeedID { return []FeedID{0} }

func (*calmStore) Changes(context.Context, FeedID, uint64, int) (Feed, error) { return Feed{}, nil }

// slowStore stops each read of the epoch after it was answered, until it is let go.
type slowStore struct {
	Store
	epoch       atomic.Uint64
	read, leave chan struct{}
	feedless    atomic.Bool // its changes cannot be read
	slowFeed    bool        // its changes are read as slowly as its epoch
}

func (s *slowStore) Write(context.Context, Write) error {
	s.epoch.Add(1)
	return nil
}

func (s *slowStore) Feeds() []FeedID { return []FeedID{0} }

func (s *slowStore) Locate(string) Location { return Location{} }

// followerOf returns the follower of the only feed of a store.
func followerOf(t *testing.T, m *Manager) *follower {
	t.Helper()
	f, err := m.feed(0)
	require.NoError(t, err)
	return f
}

func (s *slowStore) Changes(_ context.Context, _ FeedID, after uint64, n int) (Feed, error) {
	feed := Feed{Epoch: s.epoch.Load()}
	if n == 0 || s.slowFeed {
		s.read <- struct{}{}
		<-s.leave
	}
	if n == 0 {
		return feed, nil
	}
	if s.feedless.Load() {
		return Feed{}, errors.New("no network")
	}
	for e := after + 1; e <= feed.Epoch; e++ {
		feed.Changes = append(feed.Changes, Change{Epoch: e, Owner: "acme", Kind: ChangedOwner, ID: "acme"})
	}
	return feed, nil
}

// A Wake during a read is not lost: what was committed after that read began is read, too. Concurrent calls make one
// more read. No wake-up needs two reads, one of the epoch and one of what changed.
func TestWakeDuringAPollPollsAgain(t *testing.T) {
	store := &slowStore{read: make(chan struct{}), leave: make(chan struct{}), slowFeed: true}
	m := New(store, &Options{MaxStale: time.Hour})
	f := followerOf(t, m)
	wait := func(from chan struct{}, what string) {
		t.Helper()
		select {
		case <-from:
		case <-time.After(time.Minute):
			t.Fatal(what)
		}
	}
	m.Wake()
	wait(store.read, "Wake reads nothing")
	store.epoch.Store(1) // committed, and announced, after the epoch was read
	for range 100 {
		m.Wake()
	}
	store.leave <- struct{}{}
	wait(store.read, "the wake-up is lost")
	store.leave <- struct{}{}
	require.Eventually(t, func() bool { return f.cached.Epoch() == 1 && f.state.Load() == pollIdle },
		time.Minute, time.Millisecond)
	select {
	case <-store.read:
		t.Fatal("many wake-ups are many reads")
	default:
	}
	require.NoError(t, m.Close(t.Context()))
}

// A process's own change takes effect in it at once. If its cache may have missed the change, the next answer reads the
// store. A poll that read the epoch before the change, and ends after it, does not alter that.
func TestOwnChangeDuringAPoll(t *testing.T) {
	store := &slowStore{read: make(chan struct{}), leave: make(chan struct{})}
	m := New(store, &Options{MaxStale: time.Hour})
	f := followerOf(t, m)
	polled := make(chan error)
	go func() { _, err := f.ensureFresh(t.Context()); polled <- err }()
	<-store.read
	store.feedless.Store(true)
	require.NoError(t, m.write(t.Context(), Write{Owner: "acme"}))
	store.feedless.Store(false)
	store.leave <- struct{}{}
	require.NoError(t, <-polled)

	go func() { _, err := f.ensureFresh(t.Context()); polled <- err }()
	select {
	case <-store.read:
		store.leave <- struct{}{}
		require.NoError(t, <-polled)
	case err := <-polled:
		t.Errorf("answered without a look at the store: %v", err)
	}
	assert.EqualValues(t, 1, f.cached.Epoch())
}

// A failed read does not prevent the next one.
func TestWakeAfterAFailedPoll(t *testing.T) {
	store := &failingStore{}
	m := New(store, &Options{MaxStale: time.Hour})
	f := followerOf(t, m)
	for i := range 3 {
		m.Wake()
		require.Eventually(t, func() bool { return store.calls.Load() == int64(i+1) && f.state.Load() == pollIdle },
			time.Minute, time.Millisecond)
		assert.Nil(t, f.lastPoll.Load(), "a read that failed counts for nothing")
	}
	require.NoError(t, m.Close(t.Context()))
}

type failingStore struct {
	Store
	calls atomic.Int64
}

func (s *failingStore) Feeds() []FeedID { return []FeedID{0} }

func (s *failingStore) Changes(context.Context, FeedID, uint64, int) (Feed, error) {
	s.calls.Add(1)
	return Feed{}, errors.New("no network")
}

// Callers that arrive during a read share the next one, which begins after all of them called.
func TestFeedReadsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{read: make(chan struct{}), leave: make(chan struct{})}
		f := followerOf(t, New(store, nil))
		saw := make(chan uint64, 64)
		ask := func(ctx context.Context) {
			var r epochReading
			err := f.epoch(ctx, &r)
			if err == nil {
				saw <- r.epoch
			}
		}
		for round := range uint64(3) {
			go ask(t.Context())
			<-store.read
			leaving, leave := context.WithCancel(t.Context())
			for i := range 63 {
				if ctx := t.Context(); i%2 == 0 {
					go ask(ctx)
				} else {
					go ask(leaving)
				}
			}
			synctest.Wait()
			store.epoch.Add(1) // not what is being read, but before the next begins
			store.leave <- struct{}{}
			require.Equal(t, round, <-saw)
			<-store.read
			leave() // whoever leaves, the others are answered
			synctest.Wait()
			select {
			case store.leave <- struct{}{}:
			case <-store.read:
				t.Fatal("two read at once")
			}
			for range 32 {
				require.Equal(t, round+1, <-saw)
			}
			synctest.Wait()
			for len(saw) > 0 { // the leader, if it was among those who left
				<-saw
			}
		}
	})
}

// A feed whose first pages hold nothing is read on, whichever of them has something at last.
func TestListingsOfFeedsReadOn(t *testing.T) {
	m := New(&failingStore{}, nil)
	pages := map[string][]Token{"": nil, "1": nil, "2": {{ID: "a"}}, "3": nil, "4": {{ID: "b"}, {ID: "c"}}, "5": nil}
	var got []string
	reads := 0
	for tok, err := range m.ofAllFeeds(t.Context(), func(a, b Token) int { return strings.Compare(a.ID, b.ID) },
		func(_ FeedID, after string, first bool) ([]Token, string, error) {
			reads++
			require.Equal(t, after == "", first)
			next := strconv.Itoa(reads)
			if reads == len(pages) {
				next = ""
			}
			return pages[after], next, nil
		}) {
		require.NoError(t, err)
		got = append(got, tok.ID)
	}
	require.Equal(t, []string{"a", "b", "c"}, got)
	require.Equal(t, len(pages), reads)
}
