package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/latchkey-go/latchkey"
)

// maxBatch is how many writes may share one commit. It bounds what a leader does for others.
const maxBatch = 64

// job is one write: what it does, and where its caller waits.
type job struct {
	ctx       context.Context
	apply     func(*tx) error // may run more than once; what it reads must not change after its caller has left
	done      chan error      // receives one answer
	alone     bool            // must have its own transaction
	plan      *plan           // what apply runs, if it is a Write
	mint      *plan           // the plan, if mints may share statements for it
	shape     string          // plan.changeShape, if changes may share a transaction for it
	batch     *sharedBatch    // the batch that works on it
	abandoned bool            // its caller left during the commit of that batch
}

// queue holds the writes that wait for a commit. Its lock also guards the batches.
type queue struct {
	mu             sync.Mutex
	jobs           []*job
	workers        int                     // goroutines that work on mints, without those that yielded
	yielded        int                     // workers that wait for locks and let another run instead
	changeWorkers  int                     // goroutines that work on changes
	changeTimer    bool                    // another one will be started if a change still waits then
	waitingLeaders map[string]*sharedBatch // by owner: the batch whose leader waits, or is about to wait, for locks
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

// removeJob reports whether j was still queued.
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

// takeBatch removes j and up to most-1 others that may share its commit, in the order of arrival. Jobs whose context
// has ended are answered and removed. Otherwise one that was put back after its caller left would stay for ever.
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

// errTryAlone answers a mint that must be tried alone: it, or another one in its batch, cannot be written as it is.
var errTryAlone = errors.New("to be tried alone")

func (s *Store) enqueue(j *job) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if s.isClosed() {
		return errClosed
	}
	slots := s.writeSlots
	if j.mint != nil && s.dialect.mintWorkers > 0 {
		slots = nil // a worker answers it
		s.addMint(j)
	} else if j.shape != "" {
		slots = nil
		s.addChange(j)
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
			slots = s.writeSlots
			s.queue.addAlone(j)
		case slots <- struct{}{}:
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
				// A leader or worker has taken it and may be about to commit.
				return fmt.Errorf("%w: %w", latchkey.ErrUnknownOutcome, j.ctx.Err())
			}
		}
	}
}

// errSharedFailed means that a transaction for several jobs was undone. They must be tried with less shared, or each
// alone.
var errSharedFailed = errors.New("a shared transaction failed")

// commitAsLeader answers j and the jobs that share its commit, unless an earlier leader has answered j. The caller
// holds a slot of s.writeSlots; commitAsLeader releases it.
func (s *Store) commitAsLeader(j *job) {
	defer func() {
		s.queue.removeJob(j) // after a panic: no leader may run it when its caller has left
		<-s.writeSlots
	}()
	for s.queue.contains(j) { // again if the shared transaction failed
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

// commitBatch runs j, and the jobs that are queued once the write lock is held, in one transaction. If it returns jobs,
// the error is the answer for all of them. If it returns none, nothing was written and all jobs are back in the queue.
func (s *Store) commitBatch(j *job) (served []*job, err error) {
	// Before the transaction: preparing may wait for a connection, and this goroutine must not hold one meanwhile.
	s.prepareWanted(j.ctx)
	txn, err := s.dialect.begin(j.ctx, s.db)
	if err != nil {
		return nil, err
	}
	batch := []*job{j}
	if s.dialect.groupCommit {
		batch = s.queue.takeBatch(j, maxBatch)
	} else {
		s.queue.removeJob(j) // each of the others has its own leader
	}
	t := &tx{store: s, transaction: txn}
	defer func() {
		txn.release()
		// Also after a panic in the driver: the callers that wait must not wait for ever.
		if served == nil {
			s.queue.add(batch...)
		}
	}()
	alone, err := t.runAll(batch)
	if err = txn.orLost(j.ctx, err); err != nil && len(batch) > 1 {
		// The failure may be due to a job that is never committed, so the callers are not told of it. Mints may share a
		// commit once more, but no statements. A Write that is repeated fails only there.
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
	err = txn.commit(j.ctx)
	if t.changed {
		s.notifyAfter(j.ctx, &txn, err)
	}
	switch {
	case err == nil:
		return batch, nil
	case s.isNotCommitted(err):
		return nil, err // nothing was written
	default:
		return batch, fmt.Errorf("%w: commit: %w", latchkey.ErrUnknownOutcome, err)
	}
}

// runAll runs jobs in a shared transaction: mints last, with shared statements. It returns those that must be tried
// alone, of which nothing is written.
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
