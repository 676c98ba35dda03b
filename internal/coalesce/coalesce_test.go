package coalesce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// source is what groups read. Each read takes the value, says that it began, and ends as it is told to.
type source struct {
	value atomic.Int64
	began chan struct{}
	end   chan string // "": well; "panic": not
}

func newSource() *source { return &source{began: make(chan struct{}, 64), end: make(chan string)} }

func (s *source) read(ctx context.Context) (int64, error) {
	v := s.value.Load()
	s.began <- struct{}{}
	select {
	case how := <-s.end:
		if how != "" {
			panic(how)
		}
		return v, nil
	case <-ctx.Done():
		return 0, fault.Unavailable(ctx.Err())
	}
}

// state is that of a group, read as timers of synctest need it: with its lock held.
type state struct {
	led, waiting bool
	abandoned    int
}

func stateOf[T any](g *Group[T]) state {
	g.mu.Lock()
	defer g.mu.Unlock()
	return state{g.leader != nil, g.next != nil, g.abandoned}
}

// Callers who ask while another reads share one read, which begins after all of them asked.
func TestFollowersShareARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w, s := &Group[int64]{}, &Window{}, newSource()
		saw := make(chan int64, 64)
		ask := func(ctx context.Context) {
			read := func(ctx context.Context) (int64, error) { return s.read(context.WithoutCancel(ctx)) }
			if v, err := g.Do(ctx, w, read); err == nil {
				saw <- v
			}
		}
		for round := range int64(3) {
			go ask(t.Context())
			<-s.began
			leaving, leave := context.WithCancel(t.Context())
			for i := range 63 {
				if ctx := t.Context(); i%2 == 0 {
					go ask(ctx)
				} else {
					go ask(leaving)
				}
			}
			synctest.Wait()
			s.value.Add(1) // not what is being read, but before the next read begins
			s.end <- ""
			require.Equal(t, round, <-saw)
			<-s.began
			leave() // whoever leaves, the others are answered
			synctest.Wait()
			require.Empty(t, s.began, "one reads at a time")
			s.end <- ""
			for range 32 {
				require.Equal(t, round+1, <-saw)
			}
			synctest.Wait()
			for len(saw) > 0 { // the leader, if it was among those who left
				<-saw
			}
			require.Empty(t, s.began)
		}
		require.Zero(t, stateOf(g))
		require.Zero(t, w.callers.Load())
	})
}

// A follower that is handed the lead may have left: the lead is for those who come.
func TestTheLeadIsNotLost(t *testing.T) {
	for range 20 { // a follower that leaves and the lead that is handed over may meet
		synctest.Test(t, func(t *testing.T) {
			g, w, s := &Group[int64]{}, &Window{}, newSource()
			answered := make(chan error, 3)
			ask := func(ctx context.Context) {
				_, err := g.Do(ctx, w, s.read)
				answered <- err
			}
			go ask(t.Context())
			<-s.began
			leaving, leave := context.WithCancel(t.Context())
			go ask(leaving)
			synctest.Wait()
			go leave()
			s.end <- ""
			synctest.Wait()
			go ask(t.Context())
			synctest.Wait()
			s.end <- ""
			for range 3 {
				if err := <-answered; err != nil {
					require.ErrorIs(t, err, context.Canceled)
				}
			}
		})
	}
}

// A panic is its own caller's. The followers get an error, and whoever comes is answered.
func TestAPanicKeepsNobodyFromReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w, s := &Group[int64]{}, &Window{}, newSource()
		answered := make(chan error, 3)
		ask := func() {
			defer func() {
				if value := recover(); value != nil {
					answered <- fmt.Errorf("panic: %v", value)
				}
			}()
			_, err := g.Do(t.Context(), w, s.read)
			answered <- err
		}
		go ask()
		synctest.Wait()
		go ask()
		go ask()
		synctest.Wait()
		s.end <- ""
		s.end <- "no memory"
		got := map[string]int{}
		for range 3 {
			got[fmt.Sprint(<-answered)]++
		}
		require.Equal(t, map[string]int{"<nil>": 1, "panic: no memory": 1, ErrPanicked.Error(): 1}, got)
		require.ErrorIs(t, ErrPanicked, fault.ErrUnavailable)
		go ask()
		s.end <- ""
		require.NoError(t, <-answered)
	})
}

// Whoever leaves, fails or panics, each of the others is answered, by a read that ended within its own time.
func TestCallersThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, s := NewKeyed[string, int64](0), newSource()
		var answers, gone, errs, panics atomic.Int64
		ask := func(ctx context.Context) {
			defer func() {
				if recover() != nil {
					panics.Add(1)
				}
			}()
			switch v, err := k.Do(ctx, "acme", s.read); {
			case err == nil && v == 0:
				answers.Add(1)
			case ctx.Err() != nil && errors.Is(err, ctx.Err()) && errors.Is(err, fault.ErrUnavailable):
				gone.Add(1)
			case ctx.Err() == nil && errors.Is(err, ErrPanicked):
				errs.Add(1)
			default:
				t.Errorf("%d, %v", v, err)
			}
		}
		// The leader leaves, and so does every other one of the followers, whether it has the lead or not.
		leaving, leave := context.WithCancel(t.Context())
		go ask(leaving)
		synctest.Wait()
		for i := range 32 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = leaving
			}
			go ask(ctx)
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		require.EqualValues(t, 17, gone.Load())
		s.end <- ""
		synctest.Wait()
		require.EqualValues(t, 16, answers.Load())

		// A failure is for all followers, a panic for the leader.
		answers.Store(0)
		go ask(t.Context())
		synctest.Wait()
		for range 8 {
			go ask(t.Context())
		}
		synctest.Wait()
		s.end <- "panic"
		synctest.Wait()
		require.EqualValues(t, 1, panics.Load())
		require.Zero(t, errs.Load(), "those who came later share another read")
		for range 4 {
			go ask(t.Context())
		}
		synctest.Wait()
		s.end <- "panic"
		synctest.Wait()
		require.EqualValues(t, 2, panics.Load())
		require.EqualValues(t, 7, errs.Load())
		s.end <- ""
		synctest.Wait()
		require.EqualValues(t, 4, answers.Load())
		require.Empty(t, k.groups)
		require.Zero(t, k.window.callers.Load())
	})
}

// A follower of a leader that left tries again.
func TestFollowersOfALeaderThatLeftTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w, s := &Group[int64]{}, &Window{}, newSource()
		leaving, leave := context.WithCancel(t.Context())
		errs := make([]error, 3)
		for i, ctx := range []context.Context{t.Context(), leaving, t.Context()} {
			go func() { _, errs[i] = g.Do(ctx, w, s.read) }()
			synctest.Wait() // the first reads; the second will have the next lead, and the third follow it
		}
		s.end <- ""
		synctest.Wait()
		leave()
		synctest.Wait()
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], context.Canceled)
		s.end <- "" // the third reads
		synctest.Wait()
		require.NoError(t, errs[2])
	})
}

// If the source timed out by itself, and not one of its callers, the followers have their answer: they do not wait for
// each other to ask a source that does not answer once more.
func TestFollowersShareATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w := &Group[int64]{}, &Window{}
		var reads atomic.Int64
		read := func(ctx context.Context) (int64, error) { // a dialler that times out after a second
			reads.Add(1)
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			<-ctx.Done()
			return 0, fault.Unavailable(ctx.Err())
		}
		var wg sync.WaitGroup
		begin := time.Now()
		for range 32 {
			wg.Go(func() {
				if _, err := g.Do(t.Context(), w, read); !errors.Is(err, fault.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// A read that is not answered is abandoned after 50 ms, the next one after twice that, and so on: the sixth lasts
		// until its source times out. Callers that came too late to follow it share a seventh.
		require.LessOrEqual(t, reads.Load(), int64(7))
		require.LessOrEqual(t, time.Since(begin), 4*time.Second)

		// The end of the leader's own time is not that of the others.
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		reads.Store(0)
		go func() { _, _ = g.Do(short, w, read) }()
		synctest.Wait()
		begin = time.Now()
		_, err := g.Do(t.Context(), w, read)
		require.ErrorIs(t, err, fault.ErrUnavailable)
		require.Equal(t, time.Second+time.Millisecond, time.Since(begin))
		require.EqualValues(t, 2, reads.Load())
	})
}

// A read that gets no answer and has no deadline delays its followers for at least 50 ms, or for twice what the last
// one took, and they do not get its error.
func TestALostReadIsAbandoned(t *testing.T) {
	for took, patience := range map[time.Duration]time.Duration{
		0: minPatience, 100 * time.Millisecond: 200 * time.Millisecond, time.Minute: maxPatience,
	} {
		t.Run(took.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, w := &Group[int]{}, &Window{}
				_, err := g.Do(t.Context(), w, func(context.Context) (int, error) { time.Sleep(took); return 1, nil })
				require.NoError(t, err)
				stop := make(chan struct{})
				lost := make(chan int, 1)
				go func() {
					v, _ := g.Do(t.Context(), w, func(context.Context) (int, error) { <-stop; return 2, nil })
					lost <- v
				}()
				synctest.Wait()
				begin := time.Now()
				v, err := g.Do(t.Context(), w, func(context.Context) (int, error) { return 3, nil })
				require.NoError(t, err)
				require.Equal(t, 3, v)
				require.Equal(t, patience, time.Since(begin))
				close(stop)
				require.Equal(t, 2, <-lost, "its own caller still has it")
				require.Zero(t, stateOf(g))
			})
		})
	}
}

// A leader that was abandoned before its read began does not take over when it comes back. The one that leads instead
// is still abandoned when it gets no answer, and its followers try again.
func TestALeaderThatComesBackLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w := &Group[int]{}, &Window{}
		stop := make(chan struct{})
		reads := 0
		read := func(context.Context) (int, error) {
			if reads++; reads == 1 { // the first is not answered
				<-stop
			}
			return reads, nil
		}
		answers := make(chan error, 3)
		ask := func() {
			go func() {
				_, err := g.Do(t.Context(), w, read)
				answers <- err
			}()
			synctest.Wait()
		}
		late := &leadership[int]{}
		g.leader = late // as Do leaves it, before lead
		ask()
		ask()
		time.Sleep(minPatience)
		synctest.Wait()
		require.Equal(t, 1, reads, "one of them leads, the other follows")
		ask() // who will share the next read
		_, err := g.lead(t.Context(), late, w, func(context.Context) (int, error) { return 0, nil })
		require.NoError(t, err)
		time.Sleep(2 * maxPatience)
		synctest.Wait()
		require.Len(t, answers, 2, "only the one whose read is lost waits")
		close(stop)
		synctest.Wait()
		require.Len(t, answers, 3)
		for range 3 {
			require.NoError(t, <-answers)
		}
	})
}

// A leader that comes back late takes no followers along: nobody would abandon it.
func TestALateLeaderReadsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w, s := &Group[int64]{}, &Window{}, newSource()
		answers := make(chan error, 2)
		ask := func() {
			go func() {
				_, err := g.Do(t.Context(), w, s.read)
				answers <- err
			}()
			synctest.Wait()
		}
		late := &leadership[int64]{}
		g.leader = late // as Do leaves it, before lead
		ask()
		time.Sleep(minPatience)
		<-s.began // the follower leads
		ask()
		stop := make(chan struct{})
		go func() {
			_, _ = g.lead(t.Context(), late, w, func(context.Context) (int64, error) { <-stop; return 0, nil })
		}()
		synctest.Wait()
		s.end <- ""
		s.end <- ""
		require.NoError(t, <-answers)
		require.NoError(t, <-answers)
		close(stop)
	})
}

// A lead that no follower takes, for all have left, is taken back and handed over anew, and the next caller has it.
func TestALeadThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w, s := &Group[int64]{}, &Window{}, newSource()
		go func() { _, _ = g.Do(t.Context(), w, s.read) }()
		<-s.began
		leaving, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() { _, err := g.Do(leaving, w, s.read); left <- err }()
		synctest.Wait()
		leave()
		require.ErrorIs(t, <-left, context.Canceled)
		s.end <- ""
		synctest.Wait()
		require.Equal(t, state{led: true, waiting: true}, stateOf(g), "the lead is for whoever comes")
		time.Sleep(2 * maxPatience)
		synctest.Wait()
		require.Equal(t, state{led: true, waiting: true, abandoned: 1}, stateOf(g))
		go func() { s.end <- "" }()
		_, err := g.Do(t.Context(), w, s.read)
		require.NoError(t, err)
		require.Zero(t, stateOf(g))
	})
}

// Reads of different keys do not wait for each other.
func TestKeysAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeyed[string, string](0)
		end := make(chan struct{})
		var reads atomic.Int64
		var wg sync.WaitGroup
		ask := func(key string) {
			wg.Go(func() {
				v, err := k.Do(t.Context(), key, func(context.Context) (string, error) {
					reads.Add(1)
					<-end
					return key, nil
				})
				if v != key || err != nil {
					t.Errorf("%s: %s, %v", key, v, err)
				}
			})
		}
		for _, key := range []string{"a", "b", "c"} {
			ask(key)
		}
		synctest.Wait()
		require.EqualValues(t, 3, reads.Load())
		for range 63 {
			ask("a")
		}
		synctest.Wait()
		require.EqualValues(t, 3, reads.Load())
		require.Len(t, k.groups, 3)
		close(end)
		wg.Wait()
		require.EqualValues(t, 4, reads.Load())
		require.Empty(t, k.groups, "a key that nobody reads is forgotten")
	})
}

// Reads that are fast, eight in a row, are not shared from then on. A slow one, or an error, begins the count anew.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, w := &Group[int]{}, &Window{Threshold: time.Millisecond}
		do := func(n int, took time.Duration, err error) {
			for range n {
				_, got := g.Do(t.Context(), w, func(context.Context) (int, error) { time.Sleep(took); return 0, err })
				require.Equal(t, err, got)
			}
		}
		do(7, 0, nil)
		do(1, time.Millisecond, nil)
		do(7, 0, nil)
		do(1, 0, fault.ErrNotFound)
		do(7, 0, nil)
		require.False(t, w.Alone())
		do(1, 0, nil)
		require.True(t, w.Alone())

		never := &Window{}
		for range 100 {
			_, err := g.Do(t.Context(), never, func(context.Context) (int, error) { return 0, nil })
			require.NoError(t, err)
		}
		require.False(t, never.Alone())
	})
}

// Keyed reads alone, at once and beside another read of the same key, once that is cheaper.
func TestKeyedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeyed[string, int](time.Millisecond)
		read := func(context.Context) (int, error) { return 1, nil }
		for range 8 {
			_, err := k.Do(t.Context(), "a", read)
			require.NoError(t, err)
		}
		end := make(chan struct{})
		go func() {
			_, _ = k.Do(t.Context(), "a", func(context.Context) (int, error) { <-end; return 2, nil })
		}()
		synctest.Wait()
		v, err := k.Do(t.Context(), "a", read)
		require.NoError(t, err)
		require.Equal(t, 1, v)
		close(end)
	})
}

// Callers on many goroutines each get a value that was current when they asked, or a later one.
func TestNoCallerGetsAnOlderValue(t *testing.T) {
	g, w := &Group[int64]{}, &Window{}
	var value atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				want := value.Add(1)
				got, err := g.Do(t.Context(), w, func(context.Context) (int64, error) { return value.Load(), nil })
				if err != nil || got < want {
					t.Errorf("%d, want %d or more; %v", got, want, err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, stateOf(g))
}

// A follower whose context ends in the moment in which the read is abandoned gets the error of its context.
func TestAFollowerGetsItsOwnContextsError(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			var g Group[int]
			var w Window
			end := make(chan struct{})
			read := func(context.Context) (int, error) { <-end; return 1, nil }
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = g.Do(t.Context(), &w, read) })
			synctest.Wait()
			var errs [4]error
			for i := range errs {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 3*minPatience) // the second abandonment
					defer cancel()
					_, errs[i] = g.Do(ctx, &w, func(ctx context.Context) (int, error) {
						<-ctx.Done()
						return 0, fault.Unavailable(ctx.Err())
					})
				})
			}
			time.Sleep(time.Minute)
			close(end)
			wg.Wait()
			for _, err := range errs {
				require.ErrorIs(t, err, fault.ErrUnavailable)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		})
	}
}
