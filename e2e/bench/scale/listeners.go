package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// listeners measures changes while other processes listen, in turns. Each has a connection that listens, a pool of one,
// and a Manager that is woken, and so reads what changed. All of their work is done on this machine too: that of their
// connections by the server, that of the listeners and the callers by this program.
func listeners(t testing.TB, c config, out *table) {
	dsn := place(t)
	writer := newNode(t, dsn, 16, 0)
	callers := min(c.callers, 32)
	rename := owners(t, writer, callers)
	_, text := writer.issue(t, "acme")
	all := newListeners(t, dsn, slices.Max(c.listeners), text, c.bound)
	rates, ratios, woken := map[int][]float64{}, map[int][]float64{}, map[int][]float64{}
	servers, own := map[int][]float64{}, map[int][]float64{} // ms of processor time for a change

	bare := map[int]float64{} // ms of the server's processor time for a statement that does nothing
	for _, n := range c.listeners {
		bare[n] = bareStatement(t, all[:n])
	}
	for i := range 1 + c.rounds {
		for _, n := range c.listeners {
			catchUp(t, all[:n], text, c.bound)
			wakes, stop := listen(t, all[:n])
			before, ours, began := serverWork(t), ownWork(t), time.Now()
			rate := perSecond(t, callers, c.each, func(caller int) error { return rename(writer, caller) })
			took := time.Since(began).Seconds()
			if i > 0 { // the first is to warm up
				each := 1000 / (took * rate)
				rates[n] = append(rates[n], rate)
				woken[n] = append(woken[n], float64(wakes.Load())/float64(max(n, 1))/took)
				own[n] = append(own[n], (ownWork(t)-ours).Seconds()*each)
				servers[n] = append(servers[n], serverWork(t).since(before).Seconds()*each)
			}
			stop()
		}
		if i > 0 {
			for _, n := range c.listeners {
				ratios[n] = append(ratios[n], rates[n][i-1]/rates[c.listeners[0]][i-1])
			}
		}
	}
	few := c.listeners[0]
	for _, n := range c.listeners {
		comparison := fmt.Sprintf("%.2f of those with %d", median(ratios[n]), few)
		if n > 0 {
			comparison += fmt.Sprintf("; %.1f wake-ups/s of each listener", median(woken[n]))
		}
		out.line(fmt.Sprintf("changes of %d callers, %d listeners", callers, n), fmt.Sprintf("%.0f/s", median(rates[n])),
			comparison)
		if server.Process == nil {
			continue // its work is not known
		}
		out.line("  processor time of a change", fmt.Sprintf("%.2f ms", median(servers[n])),
			fmt.Sprintf("of the server; %.2f ms of this program", median(own[n])))
		if n > few {
			of := func(ms map[int][]float64) float64 { return (median(ms[n]) - median(ms[few])) * 1000 / float64(n-few) }
			out.line("  of it, for each listener", fmt.Sprintf("%.2f µs", of(servers)),
				fmt.Sprintf("of the server; %.2f µs of the listener itself", of(own)))
			out.line("  of it, for each wake-up", fmt.Sprintf("%.2f ms", of(servers)*median(rates[n])/median(woken[n])/1000),
				fmt.Sprintf("of the server; SELECT 1 by the same connections in turn takes it %.2f ms", bare[n]))
		}
	}
}

// listener is a process that can listen.
type listener struct {
	*node
	conn *pgx.Conn
}

// warm is how often a connection reads the feed before its plan is the one that it keeps.
const warm = 6

// newListeners returns n processes that have a key cached, and have been running for a while: they have read the feed
// before.
func newListeners(t testing.TB, dsn string, n int, text string, maxStale time.Duration) []listener {
	ctx := context.Background()
	all := make([]listener, n)
	var starting sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range all {
		starting.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i].node = newNode(t, dsn, 2, maxStale) // which New checks faster than a pool of one
			all[i].db.SetMaxOpenConns(1)
			for range warm {
				_, err := all[i].store.Changes(ctx, 0, 0, 1000)
				require.NoError(t, err)
			}
			var err error
			all[i].conn, err = pgx.Connect(ctx, dsn)
			require.NoError(t, err)
			t.Cleanup(func() { all[i].conn.Close(ctx) })
			_, err = all[i].Verify(ctx, latchkey.Presented{Secret: text})
			require.NoError(t, err)
		})
	}
	starting.Wait()
	return all
}

// catchUp has processes read what changed while they did not listen, by a Verify past their MaxStale.
func catchUp(t testing.TB, all []listener, text string, maxStale time.Duration) {
	time.Sleep(maxStale + maxStale/10)
	var reading sync.WaitGroup
	for _, l := range all {
		reading.Go(func() {
			_, err := l.Verify(context.Background(), latchkey.Presented{Secret: text})
			require.NoError(t, err)
		})
	}
	reading.Wait()
}

// listen has processes listen, and be woken, until stop is called.
func listen(t testing.TB, all []listener) (woken *atomic.Int64, stop func()) {
	woken = &atomic.Int64{}
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	for _, l := range all {
		_, err := l.conn.Exec(ctx, "LISTEN "+sqlstore.NotifyChannel)
		require.NoError(t, err)
		listening.Go(func() {
			for {
				_, err := l.conn.WaitForNotification(ctx)
				if errors.Is(err, context.Canceled) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				woken.Add(1)
				l.Wake()
			}
		})
	}
	return woken, func() {
		cancel()
		listening.Wait()
		for _, l := range all {
			_, err := l.conn.Exec(context.Background(), "UNLISTEN *")
			require.NoError(t, err)
		}
	}
}

// processes says for how long the processes of the server have been at work, by their ids.
type processes map[string]time.Duration

// bareStatement returns for how many milliseconds the server works for a statement that does nothing, where the
// connections of all listeners have their turn: on a machine that is slow to go from one process to another, this is
// much of what a wake-up costs.
func bareStatement(t testing.TB, all []listener) float64 {
	if len(all) == 0 {
		return 0
	}
	const turns = 3
	before := serverWork(t)
	for range turns {
		for _, l := range all {
			_, err := l.conn.Exec(context.Background(), "SELECT 1")
			require.NoError(t, err)
		}
	}
	return serverWork(t).since(before).Seconds() * 1000 / float64(turns*len(all))
}

// ownWork returns for how long this program has been at work.
func ownWork(t testing.TB) time.Duration {
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// serverWork returns nil for a server that was not started here, and where there is no /proc.
func serverWork(t testing.TB) processes {
	if server.Process == nil {
		return nil
	}
	work := processes{}
	pid := server.Process.Process.Pid
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, child := range strings.Fields(string(children)) {
		if text, err := os.ReadFile("/proc/" + child + "/schedstat"); err == nil {
			ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			require.NoError(t, err)
			work[child] = time.Duration(ns)
		}
	}
	return work
}

// since returns how long they have worked in between.
func (p processes) since(before processes) (sum time.Duration) {
	for pid, d := range p {
		sum += d - before[pid]
	}
	return sum
}
