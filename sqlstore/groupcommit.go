package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/latchkey-go/latchkey"
)

// maxBatch is how many writes may share one commit. It bounds what the caller who commits does for others.
const maxBatch = 64

// job is one write: what it does, and who waits for it.
type job struct {
	ctx       context.Context
	apply     func(*tx) error // may run more than once; what it reads must not change after its caller is gone
	done      chan error      // gets one answer
	alone     bool            // must have a transaction of its own
	mint      *plan           // what apply does, if it may be done by the statements of mints
	batch     *mintBatch      // of mints, that is at work on it
	abandoned bool            // its caller is gone, during a commit of that batch
}

// queue holds the writes that wait for a commit. Its lock also guards what callers and the batches of their mints tell
// each other.
type queue struct {
	mu             sync.Mutex
	jobs           []*job
	workers        int                   // how many goroutines work at mints, without those who wait for locks and lent their place
	yielded        int                   // how many those are
	waitingLeaders map[string]*mintBatch // by owner: whose leader waits, or is about to, for what it must hold
}

func (q *queue) add(jobs ...*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, jobs...)
}

func (q *queue) contains(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Contains(q.jobs, j)
}

// remove says whether j was still waiting.
func (q *queue) removeJob(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.jobs, j)
	if i < 0 {
		return false
	}
	q.jobs = slices.Delete(q.jobs, i, i+1)
	return true
}

// take removes j, and up to most-1 others that may share its commit, in the order they came. Those whose time is over are
// told so and go: one that was put back when its caller had left already would stay for ever.
func (q *queue) takeBatch(j *job, most int) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.alone {
		most = 1
	}
	batch := []*job{j}
	q.jobs = slices.DeleteFunc(q.jobs, func(other *job) bool {
		switch {
		case other == j:
			return true
		case other.ctx.Err() != nil:
			other.done <- other.ctx.Err()
			return true
		case len(batch) < most && !other.alone:
			batch = append(batch, other)
			return true
		}
		return false
	})
	return batch
}

// errAlone answers a mint that must be tried alone, for something about it or about its neighbours is not as it should be.
var errTryAlone = errors.New("to be tried alone")

func (s *Store) enqueue(j *job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if s.isClosed() {
		return errClosed
	}
	lane := s.writeSlots
	if j.mint != nil && s.dialect.mintWorkers > 0 {
		lane = nil // the answer comes without its doing
		s.addMint(j)
	} else {
		s.queue.add(j)
	}
	for {
		select {
		case err := <-j.done:
			if p, ok := err.(driverPanic); ok {
				panic(p.value)
			}
			if err != errTryAlone {
				return err
			}
			lane = s.writeSlots
			s.queue.addAlone(j)
		case lane <- struct{}{}:
			s.commitAsLeader(j)
		case <-j.ctx.Done():
			if s.queue.leave(j) {
				return j.ctx.Err()
			}
			select {
			case err := <-j.done:
				if err != errTryAlone {
					return err
				}
				return j.ctx.Err()
			default:
				// Somebody is at work on it and may be about to commit.
				return fmt.Errorf("%w: %w", latchkey.ErrUnknownOutcome, j.ctx.Err())
			}
		}
	}
}

// errShared says that a transaction for several was undone, and they must be tried with less shared, or each alone.
var errSharedFailed = errors.New("a shared transaction failed")

// lead answers j, unless an earlier leader has, and those who share its commit. The caller holds s.writing; lead gives it
// back.
func (s *Store) commitAsLeader(j *job) {
	defer func() {
		s.queue.removeJob(j) // only after a panic: nobody may run it when its caller is gone
		<-s.writeSlots
	}()
	for s.queue.contains(j) { // once more when it could not be done together with the others
		var served []*job
		err := retry(j.ctx, s.isRetryable, func() (err error) {
			for served, err = s.commitBatch(j); err == errSharedFailed; {
				served, err = s.commitBatch(j)
			}
			return err
		})
		if served == nil {
			served = []*job{j}
			s.queue.removeJob(j)
		}
		for _, one := range served {
			one.done <- err
		}
	}
}

// transact runs j, and others that wait by the time the write lock is held, in one transaction. When it returns jobs,
// the error is the answer for all of them. When it returns none, all it took is back in the queue, and nothing is done.
func (s *Store) commitBatch(j *job) (served []*job, err error) {
	// Before the transaction, while this goroutine holds no connection that preparing might wait for.
	s.prepareWanted(j.ctx)
	on, err := s.dialect.begin(j.ctx, s.db)
	if err != nil {
		return nil, err
	}
	batch := []*job{j}
	if s.dialect.groupCommit {
		batch = s.queue.takeBatch(j, maxBatch)
	} else {
		s.queue.removeJob(j) // of the others each has a leader of its own
	}
	t := &tx{store: s, transaction: on}
	defer func() {
		on.release()
		// Also after a panic in the driver: who waits must not wait for ever.
		if served == nil {
			s.queue.add(batch...)
		}
	}()
	alone, err := t.runAll(batch)
	if err = on.orLost(j.ctx, err); err != nil && len(batch) > 1 {
		// A failure may be owed to a neighbour that is never committed, so a shared transaction tells nobody. A mint may
		// share a commit once more, but no statements: a Write that is repeated fails only there.
		for _, one := range batch {
			one.mint, one.alone = nil, one.mint == nil
		}
		return nil, errSharedFailed
	} else if err != nil {
		return nil, err
	}
	if len(alone) > 0 {
		batch = slices.DeleteFunc(batch, func(one *job) bool { return slices.Contains(alone, one) })
		s.queue.addAlone(alone...)
	}
	switch err := on.commit(j.ctx); {
	case err == nil:
		return batch, nil
	case errors.Is(err, errNotCommitted), s.isRetryable(err):
		return nil, err // nothing was done
	default:
		return batch, fmt.Errorf("%w: commit: %w", latchkey.ErrUnknownOutcome, err)
	}
}

// runAll runs jobs in a transaction that they share: mints last, and by the same statements. It returns those that must be
// tried alone, of which nothing is written.
func (t *tx) runAll(jobs []*job) (alone []*job, err error) {
	var mints, others []*job
	for _, j := range jobs {
		if j.canShare() {
			mints = append(mints, j)
		} else {
			others = append(others, j)
		}
	}
	if len(mints) == 1 {
		mints, others = nil, jobs
	}
	for _, j := range others {
		if err := t.run(j); err != nil {
			return nil, err
		}
	}
	if len(mints) == 0 {
		return nil, nil
	}
	return t.mintShared(mints)
}
