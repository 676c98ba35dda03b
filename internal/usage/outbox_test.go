package usage

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// both runs a test on Counters, of single keys and of prepared ones, and on a LastUsed: put lets one thing of an owner
// wait, and written returns the owners of what was written.
func both(t *testing.T, test func(t *testing.T, s *sink, put func(owner string), written func() []string,
	end func(context.Context) error)) {
	for name, add := range map[string]func(c *Counters, owner string){
		"counts":          func(c *Counters, owner string) { c.Add(&Key{Owner: owner}, 1, 0) },
		"prepared counts": func(c *Counters, owner string) { c.Prepare(Key{Owner: owner}).Add(0, 1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sink{groups: map[string]uint32{}}
				c := NewCounters(s)
				test(t, s, func(owner string) { add(c, owner) }, func() (owners []string) {
					for _, r := range s.rows() {
						owners = append(owners, r.Owner)
					}
					return owners
				}, c.Close)
			})
		})
	}
	t.Run("last uses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &sink{groups: map[string]uint32{}}
			u := NewLastUsed(s, 0)
			use := func(owner string) { u.Write(Use{Owner: owner, Token: "token of " + owner, At: 1}) }
			test(t, s, use, func() (owners []string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, uses := range s.uses {
					for _, use := range uses {
						owners = append(owners, use.Owner)
					}
				}
				return owners
			}, u.Close)
		})
	})
}

func owner(i int) string { return fmt.Sprintf("owner %05d", i) }

// A batch that does not fit its deadline is not repeated as it is: it is halved, down to one. All is written, though
// nobody counts or uses anything afterwards.
func TestABatchThatIsTooLongIsHalved(t *testing.T) {
	for _, perItem := range []time.Duration{time.Millisecond, 100 * time.Millisecond, writeTimeout - time.Millisecond} {
		both(t, func(t *testing.T, s *sink, put func(string), written func() []string, end func(context.Context) error) {
			s.owners = func(ctx context.Context, owners []string) error {
				select {
				case <-time.After(time.Duration(len(owners)) * perItem):
					return nil
				case <-ctx.Done():
					return fault.Unavailable(ctx.Err())
				}
			}
			const n = 500
			for i := range n {
				put(owner(i))
			}
			time.Sleep(n*perItem + 10*time.Minute)
			synctest.Wait()
			require.Equal(t, n, len(written()))
			tries, _ := s.calls()
			require.Less(t, tries, n+20)
			require.NoError(t, end(t.Context()))
		})
	}
}

// What the store does not take holds up nothing else, and is given up in the end.
func TestWhatIsAtFaultHoldsUpNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		slow bool
		why  string
	}{
		"refused":     {fault.ErrInvalid, false, "for good"},
		"unavailable": {fault.ErrUnavailable, false, "could not be written for"},
		"slow":        {fault.ErrUnavailable, true, "could not be written for"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, s *sink, put func(string), written func() []string, end func(context.Context) error) {
				bad := []string{owner(17), owner(18), owner(400)}
				s.owners = func(ctx context.Context, owners []string) error {
					if !slices.ContainsFunc(owners, func(o string) bool { return slices.Contains(bad, o) }) {
						return nil
					}
					if c.slow {
						<-ctx.Done()
					}
					return c.err
				}
				const n = 500
				for i := range n {
					put(owner(i))
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Equal(t, n-len(bad), len(written()))
				for i := range 13 {
					put(owner(n + i)) // it shows that the store is not away
					time.Sleep(time.Hour)
				}
				synctest.Wait()
				require.Equal(t, n-len(bad)+13, len(written()))
				dropped := 0
				s.mu.Lock()
				for _, w := range s.warnings {
					if strings.Contains(w, "dropped") {
						require.Contains(t, w, c.why)
						dropped++
					}
				}
				s.mu.Unlock()
				require.Equal(t, len(bad), dropped)
				tries, _ := s.calls()
				time.Sleep(time.Hour)
				synctest.Wait()
				after, _ := s.calls()
				require.Equal(t, tries, after, "nothing is repeated for ever")
				require.NoError(t, end(t.Context()))
			})
		})
	}
}

// A group whose store is away, or does not answer, holds up no other.
func TestAGroupThatIsAwayHoldsUpNoOther(t *testing.T) {
	both(t, func(t *testing.T, s *sink, put func(string), written func() []string, end func(context.Context) error) {
		s.groups["away"], s.groups["here"] = 1, 2
		away := make(chan struct{})
		s.owners = func(ctx context.Context, owners []string) error {
			if owners[0] != "away" {
				return nil
			}
			select {
			case <-away:
				return nil
			case <-ctx.Done():
				return fault.Unavailable(ctx.Err())
			}
		}
		for i := range 20 {
			put("away")
			put("here")
			time.Sleep(countDelay + time.Millisecond)
			synctest.Wait()
			got := written()
			require.Len(t, got, i+1)
			require.NotContains(t, got, "away")
		}
		close(away)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Contains(t, written(), "away")
		require.NoError(t, end(t.Context()))
	})
}

// An outage of hours costs nothing of what waits, whatever it looks like, and what comes after it is written in large
// batches again.
func TestALongOutage(t *testing.T) {
	for _, slow := range []bool{false, true} {
		both(t, func(t *testing.T, s *sink, put func(string), written func() []string, end func(context.Context) error) {
			var ended atomic.Bool
			s.owners = func(ctx context.Context, _ []string) error {
				if ended.Load() {
					return nil
				}
				if slow {
					<-ctx.Done()
				}
				return fault.ErrUnavailable
			}
			const n = 500
			for i := range n {
				put(owner(i))
				if i%50 == 0 {
					time.Sleep(time.Hour)
				}
			}
			ended.Store(true)
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, n, len(written()))
			before, _ := s.calls()
			for i := range n {
				put(owner(i))
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			after, _ := s.calls()
			require.Len(t, written(), 2*n)
			require.Less(t, after-before, 10)
			require.NoError(t, end(t.Context()))
		})
	}
}

// A flush whose caller has no time blames nothing.
func TestAFlushThatIsCutOffKeepsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		c := NewCounters(s)
		s.owners = func(ctx context.Context, _ []string) error {
			<-ctx.Done()
			return fault.Unavailable(ctx.Err())
		}
		for i := range 1000 {
			c.Add(&Key{Owner: owner(i)}, 1, 0)
		}
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			require.ErrorIs(t, c.Flush(ctx), fault.ErrUnavailable)
			cancel()
		}
		require.Empty(t, c.boxes.group(0).held)
		require.Len(t, c.boxes.group(0).kept, 1)
		require.Len(t, c.boxes.group(0).kept[0].items, paceStart)
		require.Equal(t, paceStart, c.boxes.group(0).pace.size)
		s.mu.Lock()
		s.owners = nil
		s.mu.Unlock()
		require.NoError(t, c.Flush(t.Context()))
		require.EqualValues(t, 1000, s.count())
		require.NoError(t, c.Close(t.Context()))
	})
}

// What is held takes no more memory than it may.
func TestWhatIsHeldIsBounded(t *testing.T) {
	var dropped []string
	o := &outbox[string]{pace: newPace(8, 0), room: 3,
		write: func(context.Context, *batch[string]) error { return nil },
		drop:  func(items []string, _ string, _ error) { dropped = append(dropped, items...) }}
	for _, item := range []string{"a", "b", "c", "d", "e"} {
		o.held = append(o.held, &batch[string]{items: []string{item}})
	}
	o.bound()
	require.Equal(t, []string{"a", "b"}, dropped)
	require.Len(t, o.held, 3)
}

// A batch takes as long as it is meant to, near and far.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		trip, item time.Duration
		least, max time.Duration // that the items may take
	}{
		{2 * time.Millisecond, 40 * time.Microsecond, 9 * time.Millisecond, 12 * time.Millisecond},
		{320 * time.Millisecond, 40 * time.Microsecond, 160 * time.Millisecond, 330 * time.Millisecond},
		{time.Millisecond, 3 * time.Millisecond, 0, 200 * time.Millisecond},
		{0, time.Second, 0, time.Minute},
	} {
		p := newPace(1<<12, 10*time.Millisecond)
		for range 30 {
			p.wrote(p.size, c.trip+time.Duration(p.size)*c.item)
		}
		items := time.Duration(p.size) * c.item
		require.GreaterOrEqual(t, items, c.least, "%v", c)
		require.LessOrEqual(t, items, c.max, "%v", c)
	}
	// Where more rows take far longer, a batch stays below that, and does not try it again and again.
	p := newPace(1<<12, 10*time.Millisecond)
	slow := 0
	for range 100 {
		took := 6*time.Millisecond + time.Duration(p.size)*30*time.Microsecond
		if p.size > 256 {
			took, slow = took+50*time.Millisecond, slow+1
		}
		p.wrote(p.size, took)
	}
	t.Log(slow)
	require.LessOrEqual(t, slow, 34)
	p = newPace(1<<12, 10*time.Millisecond)
	for range 30 {
		p.wrote(p.size, time.Millisecond)
	}
	require.Equal(t, 1<<12, p.size)
	p.wrote(p.size, 100*time.Millisecond)
	require.Equal(t, 1<<11, p.size)
	for range 30 { // the way becomes longer
		p.wrote(p.size, 300*time.Millisecond+time.Duration(p.size)*40*time.Microsecond)
	}
	require.GreaterOrEqual(t, p.size, 1<<10)
	p.failed(math.MaxInt)
	require.GreaterOrEqual(t, p.size, 1<<10)
	for range 30 {
		p.failed(p.size)
	}
	require.Equal(t, 1, p.size)
	p.wrote(1, time.Millisecond)
	require.Equal(t, 2, p.size)
}

// A batch that is the only one that fails is tried three times as it is, then in halves. One that is at fault by itself
// is given up when that has been known for so long.
func TestWhenABatchIsHalvedAndGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped := 0
		o := outbox[int]{room: 10, pace: pace{size: 10},
			write: func(context.Context, *batch[int]) error { return fault.ErrUnavailable },
			drop:  func(items []int, _ string, _ error) { dropped += len(items) }}
		o.kept = []*batch[int]{{items: []int{1, 2}}}
		for _, batches := range []int{1, 1, 2} {
			_, err := o.send(t.Context(), func() []int { return nil })
			require.ErrorIs(t, err, fault.ErrUnavailable)
			require.Len(t, o.kept, batches)
		}
		o.kept = []*batch[int]{{items: []int{1}}} // there is nothing to halve
		for range 5 {
			_, err := o.send(t.Context(), func() []int { return nil })
			require.ErrorIs(t, err, fault.ErrUnavailable)
			require.Len(t, o.kept, 1)
		}
		for late, want := range map[time.Duration]int{0: 0, 1: 1} {
			dropped, o.held = 0, nil
			o.blame(&batch[int]{items: []int{1}, blamed: time.Now().Add(-maxDoubt - late)}, fault.ErrUnavailable)
			require.Equal(t, want, dropped)
			require.Len(t, o.held, 1-want)
		}
	})
}
