package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// near compares changes with autocommit UPDATEs of one row each, in turns.
func near(t testing.TB, c config, out *table) {
	const callers = 16
	dsn := place(t)
	on := newNode(t, dsn, 16, 0)
	rename := owners(t, on, callers)
	bare := server.Open(t, dsn)
	_, err := bare.Exec("CREATE TABLE bare (id INT PRIMARY KEY, n INT)")
	require.NoError(t, err)
	_, err = bare.Exec("INSERT INTO bare SELECT i, 0 FROM generate_series(0, $1) i", callers-1)
	require.NoError(t, err)
	var ours, theirs, ratios []float64
	for i := range 1 + c.rounds {
		one := perSecond(t, callers, c.each, func(caller int) error {
			_, err := bare.Exec("UPDATE bare SET n = n + 1 WHERE id = $1", caller)
			return err
		})
		other := perSecond(t, callers, c.each, func(caller int) error { return rename(on, caller) })
		if i > 0 {
			theirs, ours, ratios = append(theirs, one), append(ours, other), append(ratios, other/one)
		}
	}
	out.line(fmt.Sprintf("changes of %d callers, near", callers), fmt.Sprintf("%.0f/s", median(ours)),
		fmt.Sprintf("%.3f of %.0f bare commits/s", median(ratios), median(theirs)))
}

// usageRows measures what AddUsage writes: rows that are new, in batches as a Manager makes them.
func usageRows(t testing.TB, c config, out *table) {
	const far = 20 * time.Millisecond
	ctx := context.Background()
	dsn := place(t)
	nodes := []*node{newNode(t, dsn, 16, 0), farNode(t, dsn, far)}
	next := 0
	var rates [2][]float64
	var counted []int64
	for i := range 1 + c.rounds {
		for k, on := range nodes {
			began := time.Now()
			var before int64
			if k == 1 {
				before = on.trips.Trips()
			}
			batches := 0
			for left := c.usage / c.rounds; left > 0; left -= 1000 {
				b := latchkey.UsageBatch{ID: world.WriteID(), At: time.Now()}
				for range min(left, 1000) {
					next++
					b.Rows = append(b.Rows, latchkey.UsageRow{Owner: fmt.Sprint("owner ", next%100), TokenID: world.NewID(),
						Meter: "calls", Endpoint: "GET /orders", Day: "2026-11-22", Count: 1})
				}
				require.NoError(t, on.store.AddUsage(ctx, b))
				batches++
			}
			if i > 0 {
				rates[k] = append(rates[k], float64(c.usage/c.rounds)/time.Since(began).Seconds())
				if k == 1 {
					counted = append(counted, (on.trips.Trips()-before)/int64(batches))
				}
			}
		}
	}
	out.line("usage of 1 caller, near", fmt.Sprintf("%.0f rows/s", median(rates[0])), "")
	out.line(fmt.Sprintf("usage of 1 caller, %v away", far), fmt.Sprintf("%.0f rows/s", median(rates[1])),
		fmt.Sprintf("%d round trips a batch of 1000", median(counted)))
	usageOfManager(t, c, out)
}

// usageOfManager measures what a Manager far away counts and writes, in batches that it chooses.
func usageOfManager(t testing.TB, c config, out *table) {
	const far = 20 * time.Millisecond
	ctx := context.Background()
	dsn := place(t)
	on := farNode(t, dsn, far)
	_, text := on.issue(t, "acme")
	access, err := on.Verify(ctx, latchkey.Presented{Secret: text})
	require.NoError(t, err)
	n := 2 * c.usage
	var rates []float64
	for i := range 1 + c.rounds {
		began := time.Now()
		for k := range n {
			access.Count("calls", fmt.Sprintf("GET /%d/%d", i, k), 1)
		}
		_, err := on.For("acme").Usage(ctx, latchkey.UsageQuery{From: "2001-01-01", To: "2001-01-01"}) // writes what waits
		require.NoError(t, err)
		if i > 0 { // it has learned how many it writes together
			rates = append(rates, float64(n)/time.Since(began).Seconds())
		}
	}
	out.line(fmt.Sprintf("usage that a Manager counts and writes, %v away", far),
		fmt.Sprintf("%.0f rows/s", median(rates)), "")
}

// lastUsed has one process use many keys once while the database takes no uses. Then it measures how long it takes to
// write them all, while others are revoked. Before each turn the uses are forgotten.
func lastUsed(t testing.TB, c config, out *table) {
	ctx := context.Background()
	dsn := place(t)
	maker, user := newNode(t, dsn, 16, 0), newNode(t, dsn, 16, 0)
	texts := make([]string, c.keys)
	var issuing sync.WaitGroup
	var next atomic.Int64
	for range 32 {
		issuing.Go(func() {
			for i := next.Add(1) - 1; i < int64(c.keys); i = next.Add(1) - 1 {
				_, texts[i] = maker.issue(t, fmt.Sprint("owner ", i%100))
			}
		})
	}
	issuing.Wait()
	revoke := func() time.Duration {
		id, _ := maker.issue(t, "victims")
		began := time.Now()
		require.NoError(t, maker.For("victims").Revoke(ctx, id, ""))
		return time.Since(began)
	}
	var alone time.Duration
	for range 20 {
		alone = max(alone, revoke())
	}
	var writing, longest []float64 // s
	var batches []int64
	for range c.rounds {
		for _, text := range []string{`UPDATE latchkey_tokens SET used = NULL`, `UPDATE latchkey_secrets SET used = NULL,
			used_from = NULL, found = '\x0000000000000000' || substr(found, 9)`,
			`VACUUM (FULL, ANALYZE) latchkey_tokens, latchkey_secrets`} { // as full as pages are of new keys
			_, err := maker.db.Exec(text)
			require.NoError(t, err)
		}
		w := &useWriter{Store: user.store, open: make(chan struct{}), done: make(chan struct{})}
		w.left.Store(int64(len(texts)))
		keys := latchkey.New(w, &latchkey.Options{MaxStale: time.Minute})
		verifyAll(t, keys, texts)
		began, slowest := time.Now(), time.Duration(0)
		close(w.open)
		for open := true; open; {
			slowest = max(slowest, revoke())
			select {
			case <-w.done:
				open = false
			case <-time.After(20 * time.Millisecond):
			}
		}
		writing, longest = append(writing, w.last.Sub(began).Seconds()), append(longest, slowest.Seconds())
		batches = append(batches, w.batches.Load())
		require.NoError(t, keys.Close(ctx))
		var used int
		require.NoError(t, maker.db.QueryRow(`SELECT count(*) FROM latchkey_tokens WHERE used IS NOT NULL`).Scan(&used))
		require.GreaterOrEqual(t, used, len(texts))
	}
	out.line(fmt.Sprintf("last uses of %d keys: written", c.keys), fmt.Sprintf("%.1f s", median(writing)),
		fmt.Sprintf("in %d batches", median(batches)))
	out.line("longest Revoke meanwhile", fmt.Sprintf("%.1f ms", median(longest)*1000),
		fmt.Sprintf("%.1f ms in the worst turn; the longest of 20 before took %s", slices.Max(longest)*1000, ms(alone)))
}

// verifyAll verifies each of the texts once, by some callers at once.
func verifyAll(t testing.TB, keys *latchkey.Manager, texts []string) {
	var verifying sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		verifying.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(texts)); i = next.Add(1) - 1 {
				if _, err := keys.Verify(context.Background(), latchkey.Presented{Secret: texts[i]}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	verifying.Wait()
}

// useWriter counts the last uses that are written. It writes none before it is opened, as a database that was away.
type useWriter struct {
	latchkey.Store
	open          chan struct{}
	left, batches atomic.Int64
	last          time.Time     // when none was left
	done          chan struct{} // closed then
}

func (w *useWriter) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	select {
	case <-w.open:
	case <-ctx.Done():
		return fmt.Errorf("%w: not open yet", latchkey.ErrUnavailable)
	}
	err := w.Store.AddUsage(ctx, b)
	if err == nil && len(b.Last) > 0 {
		w.batches.Add(1)
		if w.left.Add(-int64(len(b.Last))) == 0 {
			w.last = time.Now()
			close(w.done)
		}
	}
	return err
}

// countingStore counts reads of the feed and of tokens.
type countingStore struct {
	latchkey.Store
	reads atomic.Int64
}

func (s *countingStore) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	s.reads.Add(1)
	return s.Store.Changes(ctx, feed, after, n)
}

func (s *countingStore) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	s.reads.Add(1)
	return s.Store.ByDigest(ctx, slot, digests...)
}

func (s *countingStore) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	s.reads.Add(1)
	return s.Store.Load(ctx, owner, id)
}

// cached counts what a Verify reads of a token that the process knows.
func cached(t testing.TB, c config, out *table) {
	ctx := context.Background()
	on := newNode(t, place(t), 16, 0)
	_, text := on.issue(t, "acme")
	counting := &countingStore{Store: on.store}
	keys := latchkey.New(counting, nil)
	defer keys.Close(ctx)
	verify := func(int) error {
		_, err := keys.Verify(ctx, latchkey.Presented{Secret: text})
		return err
	}
	perSecond(t, 1, c.each/4, verify)
	for _, callers := range []int{1, 64} {
		before, calls := counting.reads.Load(), atomic.Int64{}
		rate := perSecond(t, callers, c.each, func(i int) error { calls.Add(1); return verify(i) })
		out.line(fmt.Sprintf("Verify, cached, MaxStale 0, %d callers at once", callers),
			fmt.Sprintf("%.3f reads each", float64(counting.reads.Load()-before)/float64(calls.Load())),
			fmt.Sprintf("%.0f/s", rate))
	}
}
