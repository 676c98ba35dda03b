package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// sharedBatch is a set of mints, or of changes, that share a transaction. The fields from members on are guarded by
// the queue's lock.
type sharedBatch struct {
	ctx        context.Context // ends when all callers have left
	cancel     context.CancelFunc
	leader     *job
	owner      string // the leader's
	members    []*job // the leader and the followers
	callers    int    // how many callers still wait
	memberLeft bool   // a caller left before the commit
	sealed     bool   // the commit has begun
	yielded    bool   // the leader waits for locks, and another worker runs instead
}

// addMint queues a mint and makes sure that a worker runs.
func (s *Store) addMint(j *job) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.jobs = append(s.queue.jobs, j)
	s.startWorker()
}

// startWorker starts a worker if a mint waits and fewer than the limit run. The caller holds the queue's lock.
func (s *Store) startWorker() {
	if s.queue.workers < s.dialect.mintWorkers && s.queue.oldestMint() >= 0 {
		s.queue.workers++
		go s.runWorker()
	}
}

// oldestMint returns the index of the longest-waiting mint whose owner has no batch waiting for locks, or -1. That
// owner's other mints join its batch once it has the locks. Until then one waiting batch per owner is enough. The
// caller holds the lock.
func (q *queue) oldestMint() int {
	return slices.IndexFunc(q.jobs, func(j *job) bool { return j.mint != nil && q.waitingLeaders[j.mint.w.Owner] == nil })
}

const (
	// maxLeaderWait is how long a leader waits for locks before it yields to another worker.
	maxLeaderWait = 50 * time.Millisecond
	// maxYielded is how many leaders may have yielded. Each of them holds a connection.
	maxYielded = 4
)

// leaderWaits notes that the leader is about to wait for locks of its owner.
func (s *Store) leaderWaits(b *sharedBatch) (done func()) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.addWaitingLeader(b)
	timer := time.AfterFunc(maxLeaderWait, func() {
		q := &s.queue
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.waitingLeaders[b.owner] == b && !b.yielded && q.yielded < maxYielded {
			b.yielded = true
			q.yielded++
			q.workers--
			s.startWorker()
		}
	})
	return func() {
		timer.Stop()
		s.queue.leaderDone(b)
	}
}

// addWaitingLeader notes which batch waits for an owner. The caller holds the lock.
func (q *queue) addWaitingLeader(b *sharedBatch) {
	if q.waitingLeaders == nil {
		q.waitingLeaders = map[string]*sharedBatch{}
	}
	if q.waitingLeaders[b.owner] == nil {
		q.waitingLeaders[b.owner] = b
	}
}

// leaderDone notes that the leader waits no longer.
func (q *queue) leaderDone(b *sharedBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waitingLeaders[b.owner] == b {
		delete(q.waitingLeaders, b.owner)
	}
	if b.yielded {
		b.yielded = false
		q.yielded--
		q.workers++
	}
}

// addAlone queues what were mints, each to be tried alone.
func (q *queue) addAlone(jobs ...*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		j.mint, j.shape, j.batch, j.alone = nil, "", nil, true
	}
	q.jobs = append(q.jobs, jobs...)
}

// runWorker runs batches until no mint waits.
func (s *Store) runWorker() {
	for {
		b := s.queue.nextBatch(s.dialect.mintWorkers)
		if b == nil {
			return
		}
		s.runBatch(b)
	}
}

// nextBatch returns a batch led by the oldest mint. It returns nil when the worker must end.
func (q *queue) nextBatch(workers int) *sharedBatch {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.oldestMint()
	if i < 0 || q.workers > workers { // too many: a worker that had yielded runs again
		q.workers--
		return nil
	}
	b := &sharedBatch{leader: q.jobs[i], owner: q.jobs[i].mint.w.Owner}
	q.addWaitingLeader(b)
	q.jobs = slices.Delete(q.jobs, i, i+1)
	// The followers outlive the leader's deadline. The leader's caller need not wait for the database.
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(b.leader.ctx))
	b.join(b.leader)
	return b
}

func (b *sharedBatch) join(j *job) {
	j.batch = b
	b.members = append(b.members, j)
	b.callers++
}

// leave is for a caller whose context has ended. It returns false if its write may be committed all the same.
func (q *queue) leave(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.jobs, j); i >= 0 {
		q.jobs = slices.Delete(q.jobs, i, i+1)
		return true
	}
	b := j.batch
	if b == nil {
		return false
	}
	if b.callers--; b.callers == 0 {
		b.cancel()
	}
	if b.sealed {
		j.abandoned = true
		return false
	}
	b.memberLeft = true
	b.members = slices.DeleteFunc(b.members, func(other *job) bool { return other == j })
	return true
}

// maxSharedTokens is how many tokens a Write may add and still share a transaction. Larger ones gain nothing by
// sharing.
const maxSharedTokens = 4

// canShare reports whether j is a mint that may share statements with others.
func (j *job) canShare() bool { return j.mint != nil && len(j.mint.w.Tokens) <= maxSharedTokens }

// addFollowers adds waiting mints to the batch and returns them. Unless the engine takes arrays, the batch's size is a
// power of two: each number of rows is another statement.
func (q *queue) addFollowers(b *sharedBatch, arrays bool) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(b.members) != 1 || !b.leader.canShare() {
		return nil
	}
	most := 0
	for _, j := range q.jobs {
		if j.canShare() {
			most++
		}
	}
	most = min(most, maxBatch-1)
	for size := 1; !arrays; size *= 2 {
		if 2*size > most+1 {
			most = size - 1
			break
		}
	}
	q.jobs = slices.DeleteFunc(q.jobs, func(j *job) bool {
		if !j.canShare() || len(b.members) > most {
			return false
		}
		b.join(j)
		return true
	})
	return slices.Clone(b.members[1:])
}

// dropMembers removes jobs from the batch. With an answer it answers them; with nil it puts them back into the queue.
func (q *queue) dropMembers(b *sharedBatch, answer error, jobs ...*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var back []*job
	b.members = slices.DeleteFunc(b.members, func(j *job) bool {
		if !slices.Contains(jobs, j) {
			return false
		}
		j.batch = nil
		b.callers--
		if answer != nil {
			j.done <- answer
		} else {
			back = append(back, j)
		}
		return true
	})
	q.jobs = slices.Concat(back, q.jobs)
}

// seal ends the time in which a caller can leave. It returns false if a caller has left whose write would be
// committed.
func (q *queue) seal(b *sharedBatch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.sealed = !b.memberLeft
	return b.sealed
}

// currentMembers returns the members whose callers have not left.
func (q *queue) currentMembers(b *sharedBatch) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(b.members)
}

// reopen prepares another try by the leader and the mints that wait then. Jobs whose callers left during the commit
// are removed.
func (q *queue) reopen(b *sharedBatch) {
	q.mu.Lock()
	b.members = slices.DeleteFunc(b.members, func(j *job) bool { return j.abandoned })
	followers := slices.DeleteFunc(slices.Clone(b.members), func(j *job) bool { return j == b.leader })
	q.mu.Unlock()
	q.dropMembers(b, nil, followers...)
	q.mu.Lock()
	defer q.mu.Unlock()
	b.memberLeft, b.sealed = false, false
}

// driverPanic carries a driver's panic to the caller's goroutine, where it can be recovered.
type driverPanic struct{ value any }

func (p driverPanic) Error() string { return fmt.Sprint("panic: ", p.value) }

// runBatch answers the leader and the jobs that share its commit.
func (s *Store) runBatch(b *sharedBatch) {
	defer b.cancel()
	defer s.queue.leaderDone(b)
	defer func() {
		if value := recover(); value != nil {
			s.queue.reopen(b)
			s.queue.dropMembers(b, driverPanic{value}, b.leader)
		}
	}()
	err := retry(b.ctx, s.isRetryable, func() (err error) {
		for {
			if err = s.tryBatch(b); err != errMemberLeft {
				return err
			}
			s.queue.reopen(b)
			if len(s.queue.currentMembers(b)) == 0 {
				return err // the leader's caller left too
			}
		}
	})
	members := s.queue.currentMembers(b)
	if err != nil && !errors.Is(err, latchkey.ErrUnknownOutcome) && err != errTryAlone {
		s.queue.reopen(b) // the leader's error need not concern the others
		members = []*job{b.leader}
	}
	for _, j := range members {
		j.done <- err
	}
}

// errMemberLeft means that a caller left while its mint was being written.
var errMemberLeft = errors.New("a caller left")

// tryBatch is one try. With ErrUnknownOutcome and errTryAlone the error is the answer for the whole batch. With any
// other error nothing was written.
func (s *Store) tryBatch(b *sharedBatch) (err error) {
	defer func() {
		if err != nil && !errors.Is(err, latchkey.ErrUnknownOutcome) && err != errTryAlone {
			s.queue.reopen(b)
		}
	}()
	s.prepareWanted(b.ctx)
	txn, err := s.dialect.begin(b.ctx, s.db)
	if err != nil {
		return err
	}
	defer txn.release()
	t := &mintTx{tx: &tx{store: s, transaction: txn, job: &job{ctx: b.ctx}}}
	// The leader waits for its own locks. Meanwhile only mints of the same owner wait for it.
	done := s.leaderWaits(b)
	err = t.lock([]*plan{b.leader.mint}, false)
	if done(); err != nil {
		return txn.orLost(b.ctx, err)
	}
	switch err := t.checkRequired(b.leader.mint); {
	case err == errNotLocked: // there is no such record to lock
		return errTryAlone
	case err != nil:
		return err
	}
	if followers := s.queue.addFollowers(b, s.dialect.arrays); len(followers) > 0 {
		switch err := t.lockFollowers(b, followers); {
		case err == nil:
		case s.isRetryable(err):
			return err
		default:
			return errTryAlone // which member caused it is not known
		}
	}
	s.queue.mu.Lock()
	s.startWorker() // for waiting mints of this owner that did not fit into the batch
	s.queue.mu.Unlock()
	members := s.queue.currentMembers(b)
	if len(members) == 0 || members[0] != b.leader {
		return errMemberLeft
	}
	var plans []*plan
	for _, j := range members {
		plans = append(plans, j.mint)
	}
	if err := t.insertMints(plans); err != nil {
		if s.isRetryable(err) {
			return err
		}
		return errTryAlone
	}
	if !s.queue.seal(b) {
		return errMemberLeft
	}
	switch err := txn.commit(b.ctx); {
	case err == nil:
		return nil
	case s.isNotCommitted(err):
		return err // nothing was written
	default:
		return fmt.Errorf("%w: commit: %w", latchkey.ErrUnknownOutcome, err)
	}
}
