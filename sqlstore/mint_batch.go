package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// batch is mints that share a transaction.
type mintBatch struct {
	ctx        context.Context // ends when all of them are gone
	cancel     context.CancelFunc
	leader     *job
	owner      string // of the leader
	members    []*job // the leader and those who follow; guarded, as the following, by the lock of the queue
	callers    int    // whose callers wait
	memberLeft bool   // a caller left before the commit
	sealed     bool   // the commit has begun
	yielded    bool   // the leader waits for locks, and somebody works in its place
}

// addMint queues a mint, and sees to it that somebody works at it.
func (s *Store) addMint(j *job) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.jobs = append(s.queue.jobs, j)
	s.startWorker()
}

// hire lets one more work at mints, if there are any and there is room. The caller holds the queue's lock.
func (s *Store) startWorker() {
	if s.queue.workers < s.dialect.mintWorkers && s.queue.oldestMint() >= 0 {
		s.queue.workers++
		go s.runWorker()
	}
}

// eldest is the mint that has waited longest, of those whose owner no leader waits for: the others are for that leader
// to take along when it has what it waits for, and if it never does, one who waits is enough. The caller holds the
// lock.
func (q *queue) oldestMint() int {
	return slices.IndexFunc(q.jobs, func(j *job) bool { return j.mint != nil && q.waitingLeaders[j.mint.w.Owner] == nil })
}

const (
	// maxPatience is how long a leader waits for locks before somebody else may work in its place.
	maxLeaderWait = 50 * time.Millisecond
	// maxLent is in how many places. Each who waits holds a connection.
	maxYielded = 4
)

// await notes that the leader is about to wait for locks of its owner.
func (s *Store) leaderWaits(b *mintBatch) (done func()) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.addWaitingLeader(b)
	lend := time.AfterFunc(maxLeaderWait, func() {
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
		lend.Stop()
		s.queue.leaderDone(b)
	}
}

// lead notes who waits for an owner. The caller holds the lock.
func (q *queue) addWaitingLeader(b *mintBatch) {
	if q.waitingLeaders == nil {
		q.waitingLeaders = map[string]*mintBatch{}
	}
	if q.waitingLeaders[b.owner] == nil {
		q.waitingLeaders[b.owner] = b
	}
}

// awaited says that the leader waits no more.
func (q *queue) leaderDone(b *mintBatch) {
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
		j.mint, j.batch, j.alone = nil, nil, true
	}
	q.jobs = append(q.jobs, jobs...)
}

// mintAll works until no mint waits.
func (s *Store) runWorker() {
	for {
		b := s.queue.nextBatch(s.dialect.mintWorkers)
		if b == nil {
			return
		}
		s.runBatch(b)
	}
}

// nextMint makes the eldest mint the leader of a batch. Nil: the caller is at its end.
func (q *queue) nextBatch(minters int) *mintBatch {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.oldestMint()
	if i < 0 || q.workers > minters { // too many: one who had lent its place has it back
		q.workers--
		return nil
	}
	b := &mintBatch{leader: q.jobs[i], owner: q.jobs[i].mint.w.Owner}
	q.addWaitingLeader(b)
	q.jobs = slices.Delete(q.jobs, i, i+1)
	// The others outlive the leader's deadline, and it need not outwait the database.
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(b.leader.ctx))
	b.join(b.leader)
	return b
}

func (b *mintBatch) join(j *job) {
	j.batch = b
	b.members = append(b.members, j)
	b.callers++
}

// leave is for a caller whose time is over. It is false when its write may be committed all the same.
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

// maxFollowed is how many tokens a Write may add that shares a transaction: bulk gains nothing by it.
const maxSharedTokens = 4

// follows says that it is a mint whose statements may be those of others too.
func (j *job) canShare() bool { return j.mint != nil && len(j.mint.w.Tokens) <= maxSharedTokens }

// follow adds the mints that wait to the batch, and returns them. In powers of two, unless the engine takes arrays: there
// is one statement for each number of rows.
func (q *queue) addFollowers(b *mintBatch, arrays bool) []*job {
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

// drop takes jobs out of the batch, and back into the queue unless they are to be answered.
func (q *queue) dropMembers(b *mintBatch, answer error, jobs ...*job) {
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

// seal is the last moment at which a caller can leave: false says that one has, and is in what would be committed.
func (q *queue) seal(b *mintBatch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.sealed = !b.memberLeft
	return b.sealed
}

// members are those that have not left.
func (q *queue) currentMembers(b *mintBatch) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(b.members)
}

// reopen is for another try, by the leader and whoever waits by then. Who left for fear of the commit is not taken along.
func (q *queue) reopen(b *mintBatch) {
	q.mu.Lock()
	b.members = slices.DeleteFunc(b.members, func(j *job) bool { return j.abandoned })
	followers := slices.DeleteFunc(slices.Clone(b.members), func(j *job) bool { return j == b.leader })
	q.mu.Unlock()
	q.dropMembers(b, nil, followers...)
	q.mu.Lock()
	defer q.mu.Unlock()
	b.memberLeft, b.sealed = false, false
}

// panicked brings a driver's panic to a caller, who may be prepared for it.
type driverPanic struct{ value any }

func (p driverPanic) Error() string { return fmt.Sprint("panic: ", p.value) }

// mintTogether answers the leader, and those who share its commit.
func (s *Store) runBatch(b *mintBatch) {
	defer b.cancel()
	defer s.queue.leaderDone(b)
	defer func() {
		if value := recover(); value != nil {
			s.queue.reopen(b)
			s.queue.dropMembers(b, driverPanic{value}, b.leader)
		}
	}()
	var epoch uint64
	err := retry(b.ctx, s.isRetryable, func() (err error) {
		for {
			if epoch, err = s.tryBatch(b); err != errMemberLeft {
				return err
			}
			s.queue.reopen(b)
			if len(s.queue.currentMembers(b)) == 0 {
				return err // the leader itself
			}
		}
	})
	members := s.queue.currentMembers(b)
	if err == nil {
		for _, j := range members {
			j.mint.epoch = epoch
		}
	} else if !errors.Is(err, latchkey.ErrUnknownOutcome) && err != errTryAlone {
		s.queue.reopen(b) // what keeps the leader from it need not keep the others
		members = []*job{b.leader}
	}
	for _, j := range members {
		j.done <- err
	}
}

// errGone says that a caller left while its mint was written.
var errMemberLeft = errors.New("a caller left")

// mintOnce is one try. On ErrUnknownOutcome and errAlone the error is the answer for all in the batch; on any other nothing
// is done.
func (s *Store) tryBatch(b *mintBatch) (epoch uint64, err error) {
	defer func() {
		if err != nil && !errors.Is(err, latchkey.ErrUnknownOutcome) && err != errTryAlone {
			s.queue.reopen(b)
		}
	}()
	s.prepareWanted(b.ctx)
	on, err := s.dialect.begin(b.ctx, s.db)
	if err != nil {
		return 0, err
	}
	defer on.release()
	t := &mintTx{tx: &tx{store: s, transaction: on, job: &job{ctx: b.ctx}}}
	// For its own locks the leader waits, with nobody else waiting for it but those of the same owner.
	done := s.leaderWaits(b)
	err = t.lock([]*plan{b.leader.mint}, false)
	if done(); err != nil {
		return 0, on.orLost(b.ctx, err)
	}
	switch err := t.checkRequired(b.leader.mint); {
	case err == errNotLocked: // there is nothing to lock
		return 0, errTryAlone
	case err != nil:
		return 0, err
	}
	if followers := s.queue.addFollowers(b, s.dialect.arrays); len(followers) > 0 {
		switch err := t.lockFollowers(b, followers); {
		case err == nil:
		case s.isRetryable(err):
			return 0, err
		default:
			return 0, errTryAlone // whose fault it is nobody knows
		}
	}
	s.queue.mu.Lock()
	s.startWorker() // for those who waited for this owner too, and did not find room
	s.queue.mu.Unlock()
	members := s.queue.currentMembers(b)
	if len(members) == 0 || members[0] != b.leader {
		return 0, errMemberLeft
	}
	var plans []*plan
	for _, j := range members {
		plans = append(plans, j.mint)
	}
	if err := t.insertMints(plans); err != nil {
		if s.isRetryable(err) {
			return 0, err
		}
		return 0, errTryAlone
	}
	if !s.queue.seal(b) {
		return 0, errMemberLeft
	}
	switch err := on.commit(b.ctx); {
	case err == nil:
		return uint64(t.epoch), nil
	case errors.Is(err, errNotCommitted), s.isRetryable(err):
		return 0, err // nothing was done
	default:
		return 0, fmt.Errorf("%w: commit: %w", latchkey.ErrUnknownOutcome, err)
	}
}
