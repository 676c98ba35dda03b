package latchkey_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// total is the sum of everything that the manager and the store know of acme.
func (w *world) total() latchkey.UsageRow {
	w.Helper()
	rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{})
	w.ok(err)
	require.Len(w, rows, 1)
	return rows[0]
}

// stored is what the store alone knows.
func (w *world) stored() int64 {
	w.Helper()
	rows, err := w.store.Usage(w.ctx, "acme", latchkey.UsageQuery{})
	w.ok(err)
	return rows[0].Count
}

func TestUsageIsToldApart(t *testing.T) {
	w := newWorld(t)
	tok, secret := w.key(readAll())
	a := w.access(secret)
	child, s := w.mint(a, latchkey.Narrowing{Client: latchkey.Client{ID: "42", Name: "Ada"}, Lifetime: 48 * time.Hour})
	b := w.access(s)
	guest := must(w.acme.Assume(latchkey.Client{ID: "7"}, nil))
	other := must(w.keys.For("other").Assume(latchkey.Client{ID: "7"}, nil))

	a.Count("reads", "GET /orders", 1)
	a.Count("reads", "GET /orders", 2)
	a.Count("reads", "GET /users", 4)
	a.Count("writes", "", 8, 80)
	b.Count("reads", "GET /orders", 16)
	guest.Count("reads", "GET /orders", 0, 5)
	other.Count("reads", "GET /orders", 32)
	w.turn(24 * time.Hour)
	w.access(secret).Count("reads", "GET /orders", 64)

	rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"day", "token", "client", "meter", "endpoint"}})
	w.ok(err)
	today, tomorrow := "2026-03-04", "2026-03-05"
	assert.Equal(t, []latchkey.UsageRow{
		{Owner: "acme", ClientID: "7", Meter: "reads", Endpoint: "GET /orders", Day: today, Credits: 5},
		{Owner: "acme", TokenID: tok.ID, Meter: "reads", Endpoint: "GET /orders", Day: today, Count: 3},
		{Owner: "acme", TokenID: tok.ID, Meter: "reads", Endpoint: "GET /users", Day: today, Count: 4},
		{Owner: "acme", TokenID: tok.ID, Meter: "writes", Day: today, Count: 8, Credits: 80},
		{Owner: "acme", TokenID: child.ID, ClientID: "42", Meter: "reads", Endpoint: "GET /orders", Day: today, Count: 16},
		{Owner: "acme", TokenID: tok.ID, Meter: "reads", Endpoint: "GET /orders", Day: tomorrow, Count: 64},
	}, rows)
	assert.Equal(t, latchkey.UsageRow{Owner: "acme", Count: 95, Credits: 85}, w.total())

	for _, c := range []struct {
		token, meter, month string
		want                latchkey.Credits
	}{
		{"", "", "2026-03", 85}, {"", "reads", "2026-03", 5}, {tok.ID, "", "2026-03", 80}, {child.ID, "", "2026-03", 0},
		{"", "", "2026-02", 0}, {"", "", "2026-04", 0},
	} {
		got, err := w.acme.UsageTotal(w.ctx, c.token, c.meter, c.month)
		w.ok(err)
		assert.Equal(t, c.want, got, "%+v", c)
	}
	for _, month := range []string{"", "2026", "2026-13", "2026-03-04"} {
		_, err := w.acme.UsageTotal(w.ctx, "", "", month)
		w.is(latchkey.ErrInvalid, err)
	}
	for _, q := range []latchkey.UsageQuery{{By: []string{"owner"}}, {From: "2026-3-4"}, {To: "yesterday"}} {
		_, err := w.acme.Usage(w.ctx, q)
		w.is(latchkey.ErrInvalid, err)
	}
}

func TestWhatCountsNothing(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	a := w.access(secret)
	a.Count("reads", "x", 0)
	a.Count("reads", "x", -5)
	a.Count("reads", "x", -1, 5)
	a.Count("reads", "x", 5, -1)
	a.Count("reads", "x", 5, math.MaxInt64, 1)
	a.Count("reads", "x", math.MinInt64, math.MinInt64)
	latchkey.Access{}.Count("reads", "x", 1)
	assert.Zero(t, w.total().Count+int64(w.total().Credits))
	for range 3 { // it stops at the end of the range
		a.Count("reads", "x", math.MaxInt64, math.MaxInt64-1, 1)
		a.Count("reads", "x", 1, 1)
		assert.Equal(t, latchkey.UsageRow{Owner: "acme", Count: math.MaxInt64, Credits: math.MaxInt64}, w.total())
	}
}

func TestUsageTextsAreBoundedAndClean(t *testing.T) {
	w := newWorld(t)
	a := must(w.acme.Assume(latchkey.Client{ID: strings.Repeat("c", 300) + "\x00"}, nil))
	for i := range 300 {
		a.Count(strings.Repeat("é", 50), strings.Repeat("a", i%3)+strings.Repeat("€", 200)+fmt.Sprint(i), 1)
		a.Count("a\x00b\xff", strings.Repeat("x\xff", 200), 1)
	}
	rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"client", "meter", "endpoint"}})
	w.ok(err)
	assert.Len(t, rows, 4, "what differs only beyond the bound is one")
	n := int64(0)
	for _, r := range rows {
		n += r.Count
		for text, most := range map[string]int{r.ClientID: 256, r.Meter: 64, r.Endpoint: 256} {
			assert.LessOrEqual(t, len(text), most)
			assert.True(t, utf8.ValidString(text))
			assert.NotContains(t, text, "\x00")
		}
	}
	assert.EqualValues(t, 600, n)
}

// The first count after all was written is counted on its day, also for a caller that was verified the day before.
func TestUsageOfTheNextDay(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	a := w.access(secret)
	c := a.Counter("reads", "x")
	for name, add := range map[string]func(int64, ...latchkey.Credits){
		"Count":   func(n int64, spent ...latchkey.Credits) { a.Count("reads", "x", n, spent...) },
		"Counter": c.Add,
	} {
		before := w.now().Format(time.DateOnly)
		add(1)
		w.total() // writes it
		w.turn(24 * time.Hour)
		add(2)
		rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{From: before, By: []string{"day"}})
		w.ok(err)
		require.Len(t, rows, 2, name)
		assert.Equal(t, []string{before, w.now().Format(time.DateOnly)}, []string{rows[0].Day, rows[1].Day}, name)
		assert.EqualValues(t, 2, rows[1].Count, name)
		w.turn(24 * time.Hour)
	}
}

func TestUsageIsWrittenBehind(t *testing.T) {
	synctest.Test(t, usageIsWrittenBehind) // or what is counted "at once" may take longer than it waits
}

func usageIsWrittenBehind(t *testing.T) {
	w, store := newShakyWorld(t)
	_, secret := w.key(readAll())
	a := w.access(secret)
	for range 1000 {
		a.Count("reads", "x", 1)
	}
	assert.Zero(t, store.batches.Load(), "not at once")
	time.Sleep(2 * time.Second)
	synctest.Wait()
	assert.EqualValues(t, 1000, w.stored(), "but soon")
	assert.EqualValues(t, 1, store.batches.Load(), "and all together")
	a.Count("reads", "x", 1)
	w.ok(w.keys.Close(w.ctx))
	assert.EqualValues(t, 1001, w.stored(), "Close writes what waits")
	w.ok(w.keys.Close(w.ctx))
}

func TestUsageIsCountedOnceWhateverTheStoreSays(t *testing.T) {
	for name, c := range map[string]struct {
		before, after int64
		err           error
		fails         bool // the first Usage
	}{
		"unknown, not done":       {before: 1, err: latchkey.ErrUnknownOutcome},
		"unknown, done":           {after: 1, err: latchkey.ErrUnknownOutcome},
		"unknown again and again": {after: 4, err: latchkey.ErrUnknownOutcome, fails: true},
		"unavailable":             {before: 1, err: latchkey.ErrUnavailable, fails: true},
		"done, though it says no": {after: 1, err: latchkey.ErrUnavailable, fails: true},
		"an error it may not say": {after: 1, err: latchkey.ErrConflict, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, store := newShakyWorld(t)
			store.err = c.err
			a := must(w.acme.Assume(latchkey.Client{}, nil))
			a.Count("reads", "x", 10)
			store.before.Store(c.before)
			store.after.Store(c.after)
			_, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{})
			if c.fails {
				w.is(c.err, err) // never an answer that leaves something out
			} else {
				w.ok(err)
			}
			a.Count("reads", "x", 5)
			w.turn(11 * time.Hour)
			assert.EqualValues(t, 15, w.total().Count)
			assert.Len(t, store.batchIDs, 2, "a batch keeps its ID")
		})
	}
}

// Batches whose outcome nobody knows are not repeated for longer than stores remember their IDs.
func TestUsageInDoubtIsGivenUpBeforeItCouldCountTwice(t *testing.T) {
	var log bytes.Buffer
	w, store := newShakyWorld(t, func(o *latchkey.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	a := must(w.acme.Assume(latchkey.Client{}, nil))
	store.err = latchkey.ErrUnknownOutcome
	store.after.Store(4)
	a.Count("reads", "x", 10)
	_, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{})
	w.is(latchkey.ErrUnknownOutcome, err)
	w.turn(25 * time.Hour)
	_, err = w.keys.Purge(w.ctx)
	w.ok(err)
	assert.EqualValues(t, 10, w.total().Count)
	assert.Contains(t, log.String(), "nobody can say")

	store.err = latchkey.ErrUnavailable // this one is known not to be written, however long that takes
	store.before.Store(1)
	a.Count("reads", "x", 1)
	_, err = w.acme.Usage(w.ctx, latchkey.UsageQuery{})
	w.is(latchkey.ErrUnavailable, err)
	w.turn(25 * time.Hour)
	assert.EqualValues(t, 11, w.total().Count)
}

func TestUsageOfAStoreThatIsAwayIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("counts 600,000 different things")
	}
	var log bytes.Buffer
	w, store := newShakyWorld(t, func(o *latchkey.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&lockedWriter{w: &log}, nil))
	})
	store.err = latchkey.ErrUnavailable
	store.before.Store(math.MaxInt64)
	a := must(w.acme.Assume(latchkey.Client{}, nil))
	const n = 600_000
	for i := range n {
		a.Count("reads", fmt.Sprint(i), 1)
	}
	w.is(latchkey.ErrUnavailable, w.keys.Close(w.ctx))
	store.before.Store(0)
	kept := w.total().Count
	assert.Less(t, kept, int64(n), "memory is bounded")
	assert.GreaterOrEqual(t, kept, int64(100_000))
	assert.LessOrEqual(t, kept, int64(3<<17))
	lost := int64(0)
	for _, m := range regexp.MustCompile(`(\d+) counts are lost`).FindAllStringSubmatch(log.String(), -1) {
		c, err := strconv.ParseInt(m[1], 10, 64)
		w.ok(err)
		lost += c
	}
	assert.EqualValues(t, n, kept+lost, "and says what it cost")
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Nothing is lost between those who count and those who write at the same time.
func TestUsageLosesNothing(t *testing.T) {
	w, store := newShakyWorld(t)
	store.err = latchkey.ErrUnknownOutcome
	_, secret := w.key(readAll())
	a := w.access(secret)
	var done atomic.Bool
	var counters, writers sync.WaitGroup
	for g := range 8 {
		counters.Go(func() {
			for i := range 20_000 {
				a.Count("reads", fmt.Sprint("endpoint ", (i+g)%300), 1, 2)
			}
		})
	}
	for g := range 2 {
		writers.Go(func() {
			for !done.Load() {
				if g == 0 {
					store.after.Store(1)
				}
				_, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{})
				assert.NoError(t, err)
				time.Sleep(time.Millisecond)
			}
		})
	}
	counters.Wait()
	done.Store(true)
	writers.Wait()
	store.after.Store(0)
	assert.Equal(t, latchkey.UsageRow{Owner: "acme", Count: 160_000, Credits: 320_000}, w.total())
	rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"endpoint"}})
	w.ok(err)
	assert.Len(t, rows, 300)
}

func TestWhoMayReadUsage(t *testing.T) {
	w := newWorld(t)
	_, may := w.key(latchkey.Allow(latchkey.Read).On("latchkey/usage"))
	_, mayNot := w.key(latchkey.Allow(latchkey.Read).On("*", "latchkey/token/*"))
	for secret, want := range map[string]error{may: nil, mayNot: latchkey.ErrDenied} {
		acting, err := w.acme.As(w.access(secret))
		w.ok(err)
		_, err = acting.Usage(w.ctx, latchkey.UsageQuery{})
		require.ErrorIs(t, err, want)
		_, err = acting.UsageTotal(w.ctx, "", "", "2026-03")
		require.ErrorIs(t, err, want)
	}
}

func TestEraseTakesWhatStillWaits(t *testing.T) {
	w := newWorld(t)
	must(w.acme.Assume(latchkey.Client{}, nil)).Count("reads", "x", 10)
	w.ok(w.acme.Erase(w.ctx))
	assert.Zero(t, w.total().Count)
}

func TestUsageObeysItsContext(t *testing.T) {
	w := newWorld(t)
	must(w.acme.Assume(latchkey.Client{}, nil)).Count("reads", "x", 10)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err := w.acme.Usage(ctx, latchkey.UsageQuery{})
	w.is(latchkey.ErrUnavailable, err)
	assert.EqualValues(t, 10, w.total().Count)
}

func TestCountDoesNotAllocate(t *testing.T) {
	assert.Zero(t, allocates(t, 100, func(w *world) func() {
		_, secret := w.key(readAll())
		a := w.access(secret)
		endpoints := make([]string, 100)
		for i := range endpoints {
			endpoints[i] = fmt.Sprint("GET /things/", i)
		}
		count := func() {
			for _, e := range endpoints {
				a.Count("reads", e, 1)
			}
		}
		for range 1000 { // until each of up to 64 stripes has seen every endpoint
			count()
		}
		return count
	}))
}

// perRow is a store in which a last use takes three milliseconds, within one transaction that ends with its context.
type perRow struct {
	latchkey.Store
	written, longest atomic.Int64
}

func (s *perRow) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	took := time.Duration(len(b.Last)) * 3 * time.Millisecond
	s.longest.Store(max(s.longest.Load(), int64(took)))
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.written.Add(int64(len(b.Last)))
	return s.Store.AddUsage(ctx, b)
}

// A node that has just started uses more tokens at once than one transaction could note. All uses are written, though
// nobody uses anything afterwards, and none of the transactions is long.
func TestLastUsesOfABusyStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tokens = 6000
		s := &perRow{Store: memstore.New(nil)}
		acme := latchkey.New(s.Store, nil).For("acme")
		m := latchkey.New(s, nil)
		for range tokens {
			_, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			_, err = m.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
		}
		time.Sleep(time.Minute)
		require.EqualValues(t, tokens, s.written.Load())
		require.Less(t, time.Duration(s.longest.Load()), time.Second)
		require.NoError(t, m.Close(t.Context()))
	})
}

// The same of usage that is being written.
func TestAStuckBatchOfUsageBlocksNoClose(t *testing.T) {
	store := &stuck{Store: memstore.New(nil), entered: make(chan struct{}, 8), leave: make(chan struct{})}
	keys := latchkey.New(store, nil)
	must(keys.For("acme").Assume(latchkey.Client{ID: "1"}, nil)).Count("calls", "", 1)
	<-store.entered // the batch is under way
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		done <- keys.Close(ctx)
	}()
	select {
	case err := <-done:
		assert.ErrorIs(t, err, latchkey.ErrUnavailable)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	case <-time.After(time.Minute):
		t.Error("it waits for the batch")
	}
	close(store.leave)
}

// A Counter counts what Count counts, and nothing for what counts nothing.
func TestCounterCountsAsCountDoes(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	a := w.access(secret)
	long := strings.Repeat("m", 1000)
	var sums []latchkey.UsageRow
	for _, add := range []func(n int64, spent ...latchkey.Credits){
		func(n int64, spent ...latchkey.Credits) { a.Count(long, long, n, spent...) },
		a.Counter(long, long).Add,
	} {
		add(3)
		add(2, 5, 6)
		add(0, 7)
		add(4, 0)
		add(0)
		add(-1)
		add(1, -1)
		add(1, 1, -1)
		add(1, math.MaxInt64, 1)
		a.Counter("nothing", "").Add(0)
		rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"token", "client", "meter", "endpoint", "day"}})
		w.ok(err)
		require.Len(t, rows, 1)
		sums = append(sums, rows[0])
	}
	require.EqualValues(t, 9, sums[0].Count)
	require.EqualValues(t, 18, sums[0].Credits)
	sums[0].Count, sums[0].Credits = 2*sums[0].Count, 2*sums[0].Credits
	require.Equal(t, sums[0], sums[1])
	for _, nothing := range []*latchkey.Counter{nil, {}, latchkey.Access{}.Counter("m", "e")} {
		nothing.Add(1, 1)
	}
	require.Equal(t, sums[1].Count, w.total().Count)
}
