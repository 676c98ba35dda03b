package sqlstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeNotices is a database as notifiers of several processes see it.
type fakeNotices struct {
	mu        sync.Mutex
	window    time.Duration
	committed uint64 // changes
	told      uint64 // as of the last notification
	locked    bool   // somebody is about to notify
	asked     int
	sent      []time.Time
	fail      int // how many of the next calls fail
}

// notify does what the statement of notifyPostgres does.
func (d *fakeNotices) notify(ctx context.Context, n notice) (noticed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.fail > 0 {
		d.fail--
		return noticed{}, errors.New("no connection")
	}
	answer := noticed{epoch: d.committed, window: d.window}
	if d.locked {
		return answer, nil
	}
	answer.sent = true
	if !n.first && !n.now && time.Duration(answer.epoch-n.after)*d.window > n.passed {
		d.locked = true
		d.mu.Unlock()
		time.Sleep(d.window)
		d.mu.Lock()
		d.locked = false
	}
	d.told = d.committed
	d.sent = append(d.sent, time.Now())
	return answer, nil
}

func (d *fakeNotices) commit(n *notifier) {
	d.mu.Lock()
	d.committed++
	d.mu.Unlock()
	n.committed()
}

func (d *fakeNotices) state() (committed, told uint64, sent int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.committed, d.told, len(d.sent)
}

func (d *fakeNotices) notifier(mayHold bool) *notifier {
	return newNotifier(d.notify, func() bool { return mayHold })
}

const fakeWindow = 100 * time.Millisecond

// Whatever several processes commit, and when, the last change is told, and notifications are few.
func TestTheLastChangeIsTold(t *testing.T) {
	for _, mayHold := range []bool{true, false} {
		for range 50 {
			synctest.Test(t, func(t *testing.T) {
				d := &fakeNotices{window: fakeWindow}
				processes := []*notifier{d.notifier(mayHold), d.notifier(mayHold), d.notifier(mayHold)}
				began := time.Now()
				var writing sync.WaitGroup
				for _, n := range processes {
					writing.Go(func() {
						for range 200 {
							time.Sleep(rand.N(20 * time.Millisecond))
							d.commit(n)
						}
					})
				}
				writing.Wait()
				took := time.Since(began)
				time.Sleep(2*fakeWindow + time.Millisecond)
				committed, told, sent := d.state()
				require.EqualValues(t, 600, committed)
				require.Equal(t, committed, told, "somebody was not told of the last change")
				most := int(took/fakeWindow) + 2
				if !mayHold {
					most *= len(processes)
				}
				require.LessOrEqual(t, sent, most+len(processes))
				for _, n := range processes {
					n.close()
				}
			})
		}
	}
}

// A change that is committed while a notification is on its way needs another one: the first may have told of what was
// before it.
func TestAChangeDuringANotificationIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		calls := 0
		n := newNotifier(func(context.Context, notice) (noticed, error) {
			calls++
			<-gate
			return noticed{sent: true}, nil
		}, func() bool { return true })
		n.committed()
		synctest.Wait()
		require.Equal(t, 1, calls)
		n.committed()
		n.committed()
		gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, 2, calls, "one more for both")
		gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, 2, calls)
		n.close()
	})
}

// A change after a pause is told at once, also by a process that has told of others.
func TestAChangeAfterAPauseIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeNotices{window: fakeWindow}
		n, other := d.notifier(true), d.notifier(true)
		defer n.close()
		defer other.close()
		for range 5 {
			for _, by := range []*notifier{n, other, n} {
				began := time.Now()
				d.commit(by)
				synctest.Wait()
				committed, told, _ := d.state()
				require.Equal(t, committed, told)
				require.Zero(t, time.Since(began))
				time.Sleep(2 * fakeWindow)
			}
		}
		// The next one, soon after, is held back, whoever makes it.
		d.commit(n)
		synctest.Wait()
		d.commit(n)
		synctest.Wait()
		d.commit(other)
		time.Sleep(fakeWindow - time.Millisecond)
		committed, told, _ := d.state()
		require.Equal(t, committed-2, told)
		time.Sleep(2 * time.Millisecond)
		committed, told, _ = d.state()
		require.Equal(t, committed, told)
	})
}

// A notification that fails is sent again, some times. The next change begins anew.
func TestANotificationThatFailsIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeNotices{window: fakeWindow, fail: notifyTries - 1}
		n := d.notifier(true)
		defer n.close()
		d.commit(n)
		time.Sleep(notifyTries * notifyRetry)
		_, told, _ := d.state()
		require.EqualValues(t, 1, told)

		fail := func(times int) (asked int) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.fail = times
			return d.asked
		}
		fail(1000)
		d.commit(n)
		time.Sleep(time.Minute)
		require.Equal(t, 2*notifyTries, fail(0), "for ever")
		d.commit(n)
		synctest.Wait()
		_, told, _ = d.state()
		require.EqualValues(t, 3, told)
	})
}

// Close has the rest told at once. It does not wait for a database that is away.
func TestCloseTellsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeNotices{window: time.Hour}
		n := d.notifier(false) // it waits here
		for range 3 {
			d.commit(n)
			synctest.Wait()
		}
		committed, told, _ := d.state()
		require.Less(t, told, committed)
		began := time.Now()
		n.close()
		committed, told, _ = d.state()
		require.Equal(t, committed, told)
		require.Zero(t, time.Since(began))
		d.commit(n)
		n.close() // again

		never := newNotifier(func(ctx context.Context, _ notice) (noticed, error) {
			<-ctx.Done()
			return noticed{}, ctx.Err()
		}, func() bool { return true })
		never.committed()
		synctest.Wait()
		began = time.Now()
		never.close()
		require.Equal(t, notifyClosing, time.Since(began))
	})
	(*notifier)(nil).committed() // of an engine that notifies nobody
	(*notifier)(nil).close()
}
