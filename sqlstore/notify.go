package sqlstore

import (
	"context"
	"sync"
	"time"
)

// NotifyChannel is the PostgreSQL channel that tells of changes. LISTEN on it with a connection of your own, and call
// latchkey.Manager.Wake. The payload is empty. A notification follows each change, once it is committed. The Store
// sends it by a statement of its own, so that it delays no change. All stores of a database share the channel, whatever
// their schema.
//
// Notifications come at most every tenth of a second, or every millisecond for each connection to the database if that
// is more, up to a second. One tells of all changes until then. The change after a pause is told at once.
const NotifyChannel = "latchkey_epoch"

// A notification costs the server some 40 µs for each connection that listens, and each listener then reads what
// changed. So changes that follow each other fast share a notification, whichever processes make them. The more
// connections there are, the longer it waits for more changes: so listening costs the server no more than a part of one
// core.
//
// Who notifies is decided by an advisory lock of the database. Its holder sleeps in a statement of its own, and the
// notification is sent when that statement commits. A process that does not get the lock need not notify: the holder's
// commit is still to come, and what is to be told is committed already. So the last change is told too. The holder's
// server process finishes the statement even if the program that sent it is gone. If a program ends between its commit
// and the statement, nobody is told, and MaxStale alone bounds how long others go by what was before.
const (
	notifyTimeout = 10 * time.Second
	notifyRetry   = time.Second // after an error
	notifyTries   = 5           // in a row
	notifyClosing = time.Second // how long Close waits for what was not told yet
	// notifyPool is how many connections a pool must allow for one of them to sleep.
	notifyPool = 4
)

// notifyLock is a number that other programs are unlikely to use as an advisory lock.
const notifyLock = 0x6c6b6e6f74696679 // "lknotify"

// notice asks for a notification.
type notice struct {
	// after is the epoch as of which the one before was asked for, and passed the time since then. The notification is
	// sent at once if so few changes were made meanwhile that each could have had one of its own.
	after  uint64
	passed time.Duration
	first  bool // there was none before
	now    bool // it does not wait on the server, whatever changed
}

// noticed is the answer.
type noticed struct {
	epoch  uint64        // when it was asked for
	window time.Duration // the shortest time between two notifications
	sent   bool          // false: another process is about to notify
}

// notifier has listeners told of what was committed. Nil tells nobody. It is safe for concurrent use.
type notifier struct {
	notify func(context.Context, notice) (noticed, error)
	// mayHold reports whether notify may wait on the server, which takes a connection.
	mayHold func() bool

	mu      sync.Mutex
	waiting bool // something was committed after the last notify began
	running bool
	closed  bool
	closing chan struct{} // closed with closed
	done    sync.WaitGroup
	ctx     context.Context // ends when close no longer waits
	cancel  context.CancelFunc

	// Of the goroutine that runs.
	last   noticed
	began  time.Time // of the last notify; zero: there was none
	waited bool      // it waited on the server, if it had to: the next one need not be put off
}

func newNotifier(notify func(context.Context, notice) (noticed, error), mayHold func() bool) *notifier {
	n := &notifier{notify: notify, mayHold: mayHold, closing: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// committed has listeners told of what was committed before the call.
func (n *notifier) committed() {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = true
	if !n.running && !n.closed {
		n.running = true
		n.done.Go(n.run)
	}
}

func (n *notifier) run() {
	for failed := 0; ; {
		n.pause(failed)
		n.mu.Lock()
		if !n.waiting || failed == notifyTries {
			n.running = false
			n.mu.Unlock()
			return
		}
		n.waiting = false // what is committed from here on needs another one
		closed := n.closed
		n.mu.Unlock()
		if n.once(closed) == nil {
			failed = 0
			continue
		}
		failed++
		n.mu.Lock()
		n.waiting = !n.closed
		n.mu.Unlock()
	}
}

// pause waits until the next notify is due, or the notifier is closed.
func (n *notifier) pause(failed int) {
	var pause time.Duration
	switch {
	case failed > 0:
		pause = notifyRetry
	case !n.waited:
		pause = time.Until(n.began.Add(n.last.window))
	}
	if pause <= 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.closing:
	}
}

func (n *notifier) once(closed bool) error {
	ctx, cancel := context.WithTimeout(n.ctx, notifyTimeout)
	defer cancel()
	began := time.Now()
	ask := notice{after: n.last.epoch, passed: began.Sub(n.began), first: n.began.IsZero(), now: closed || !n.mayHold()}
	answer, err := n.notify(ctx, ask)
	if err == nil {
		n.last, n.began, n.waited = answer, began, answer.sent && !ask.now
	}
	return err
}

// close has the rest told, and waits for that a second at most.
func (n *notifier) close() {
	if n == nil {
		return
	}
	n.mu.Lock()
	if !n.closed {
		n.closed = true
		close(n.closing)
	}
	n.mu.Unlock()
	done := make(chan struct{})
	go func() {
		n.done.Wait()
		close(done)
	}()
	timer := time.NewTimer(notifyClosing)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	n.cancel()
}

// notifyAfter has listeners told of a transaction that was committed, or may have been, with this result of the commit.
func (s *Store) notifyAfter(ctx context.Context, t *transaction, err error) {
	if s.notifier == nil || err != nil && s.isNotCommitted(err) {
		return // nothing was committed
	}
	s.notifier.committed()
	if ctx.Err() != nil && err != nil {
		go func() { // the commit may go on without its caller
			<-t.ended
			s.notifier.committed()
		}()
	}
}

// notifyPostgres asks for a notification by one statement, at whose end it is sent. CASE evaluates no branch but its
// own. A window is counted for all connections, because nobody may see which of them listen.
func notifyPostgres(ctx context.Context, s *Store, n notice) (out noticed, err error) {
	const notified = `CASE WHEN CAST(pg_notify('` + NotifyChannel + `', '') AS TEXT) IS NOT NULL THEN 1 END`
	const text = `SELECT e.epoch, CAST(w.seconds * 1000000 AS BIGINT),
		CASE WHEN NOT pg_try_advisory_xact_lock(CAST(? AS BIGINT)) THEN 0
		WHEN CAST(? AS BOOLEAN) OR (e.epoch - CAST(? AS BIGINT)) * w.seconds <= CAST(? AS DOUBLE PRECISION) THEN ` +
		notified + ` WHEN CAST(pg_sleep(w.seconds) AS TEXT) IS NOT NULL THEN ` + notified + ` END
		FROM latchkey_epoch e, (SELECT LEAST(1, GREATEST(0.1, 0.001 * pg_stat_get_db_numbackends(oid))) AS seconds
			FROM pg_database WHERE datname = current_database()) w WHERE e.id = 1`
	var window, sent int64
	found, err := s.first(ctx, text, []any{int64(notifyLock), n.first || n.now, int64(n.after), n.passed.Seconds()},
		&out.epoch, &window, &sent)
	if err == nil && !found {
		err = orRowMissing(nil, epochRow)
	}
	out.window, out.sent = time.Duration(window)*time.Microsecond, sent == 1
	return out, err
}
