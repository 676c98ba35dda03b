package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Where commits wait for each other, as all changes do for the epoch, each of them flushes the disk by itself. So
// changes of several owners share a transaction, as mints do. A worker takes the changes that were queued while the
// one before ran: none waits for others. Their statements are merged, so that a shared transaction takes as many round
// trips as one change does. Each change still gets an epoch of its own.
//
// A shared transaction waits for no lock of an owner, and reports no error of a single change. A change that finds its
// owner locked is removed before anything is written. If anything else fails, the transaction is undone. Each such
// change is then tried alone by apply, which waits, or returns the error.

const (
	// maxChanges is how many changes share a transaction.
	maxChanges = 32
	// maxParts is how many statements each of them may have.
	maxParts = 12
	// maxChangeWait is how long a change waits for a worker that runs before another one is started. A transaction
	// with a server nearby takes less, so that changes which come meanwhile share the next one.
	maxChangeWait = 4 * time.Millisecond
)

// changeShape returns a text that is the same for plans whose statements are. It is "" for a plan that cannot share:
// it has to read, or is large.
func (p *plan) changeShape() string {
	w := &p.w
	if w.Silent || w.Erase || w.Live != nil || len(w.Tokens) > 1 || len(w.Roles) > 1 || len(w.Events) > 1 ||
		len(w.Secrets)+len(w.DeleteTokens)+len(w.DeleteRoles)+len(w.RequireHolders)+len(w.Clients)+
			len(w.ForgetClients)+len(w.Redact)+len(w.Once) > 0 {
		return ""
	}
	var shape strings.Builder
	parts := 1 + 2*len(w.Events) // with that of the changes
	for _, t := range w.Tokens {
		parts += 4
		fmt.Fprint(&shape, "token ", t.Version == 0, t.Damaged, len(t.Roles) == 0)
	}
	for _, r := range w.Roles {
		parts += 3
		fmt.Fprint(&shape, "role ", r.Version == 0, len(r.Inherits) == 0)
	}
	if w.OwnerRecord != nil {
		parts++
		fmt.Fprint(&shape, "owner ", w.OwnerRecord.Version == 0)
	}
	for _, refs := range [][]latchkey.Ref{w.RequireTokens, w.RequireRoles} {
		for _, ref := range refs {
			parts++
			fmt.Fprint(&shape, "require ", ref.Version == 0)
		}
		fmt.Fprint(&shape, ";")
	}
	if w.RequireOwner != nil {
		parts++
		fmt.Fprint(&shape, "require owner ", *w.RequireOwner == 0)
	}
	if parts > maxParts || len(w.Tokens)+len(w.Roles) == 0 && w.OwnerRecord == nil {
		return ""
	}
	fmt.Fprint(&shape, len(w.Events))
	return shape.String()
}

// addChange queues a change and makes sure that a worker runs.
func (s *Store) addChange(j *job) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.queue.jobs = append(s.queue.jobs, j)
	s.startChangeWorker(false)
}

// startChangeWorker starts a worker if a change waits and none runs, or if it has waited. The caller holds the queue's
// lock.
func (s *Store) startChangeWorker(waited bool) {
	q := &s.queue
	if !slices.ContainsFunc(q.jobs, func(j *job) bool { return j.shape != "" }) || q.changeWorkers >= cap(s.writeSlots) {
		return
	}
	if q.changeWorkers == 0 || waited {
		q.changeWorkers++
		go s.runChangeWorker()
		return
	}
	if !q.changeTimer {
		q.changeTimer = true
		time.AfterFunc(maxChangeWait, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.changeTimer = false
			s.startChangeWorker(true)
		})
	}
}

// runChangeWorker runs batches until no change waits.
func (s *Store) runChangeWorker() {
	for {
		s.writeSlots <- struct{}{}
		b := s.nextChanges()
		if b != nil {
			s.runChanges(b)
		}
		<-s.writeSlots
		if b == nil {
			return
		}
	}
}

// nextChanges returns a batch led by the change that has waited longest. It returns nil when the worker must end.
func (s *Store) nextChanges() *sharedBatch {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	first := slices.IndexFunc(q.jobs, func(j *job) bool { return j.shape != "" })
	if first < 0 {
		q.changeWorkers--
		return nil
	}
	leader := q.jobs[first]
	b := &sharedBatch{leader: leader}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(leader.ctx))
	chosen, owners := []*job{leader}, map[string]bool{leader.plan.w.Owner: true}
	if s.raisesAtCommit.Load() {
		for _, j := range q.jobs[first+1:] {
			if len(chosen) < maxChanges && j.shape == leader.shape && !owners[j.plan.w.Owner] {
				chosen, owners[j.plan.w.Owner] = append(chosen, j), true
			}
		}
	}
	q.jobs = slices.DeleteFunc(q.jobs, func(j *job) bool { return slices.Contains(chosen, j) })
	// In the order of owners: two transactions that wait for rows in opposite orders would deadlock.
	slices.SortFunc(chosen, func(a, b *job) int { return strings.Compare(a.plan.w.Owner, b.plan.w.Owner) })
	for _, j := range chosen {
		b.join(j)
	}
	s.startChangeWorker(false)
	return b
}

// runChanges answers the members of a batch, or has them try alone.
func (s *Store) runChanges(b *sharedBatch) {
	defer b.cancel()
	defer func() {
		if value := recover(); value != nil {
			s.queue.dropMembers(b, driverPanic{value}, s.queue.currentMembers(b)...)
		}
	}()
	var err error
	if size := len(s.queue.currentMembers(b)); size > 1 {
		err = s.tryChanges(b)
	} else {
		err = retry(b.ctx, s.isRetryable, func() error {
			s.queue.unseal(b)
			return s.tryChanges(b)
		})
		if err != nil && err != errMemberLeft {
			s.queue.dropMembers(b, err, s.queue.currentMembers(b)...)
			return
		}
	}
	members := s.queue.currentMembers(b)
	switch {
	case err == nil || errors.Is(err, latchkey.ErrUnknownOutcome):
		for _, j := range members {
			j.done <- err
		}
	case err == errMemberLeft: // the others had no part in it
		s.queue.dropMembers(b, nil, members...)
	default:
		s.queue.dropMembers(b, errTryAlone, members...)
	}
}

// unseal prepares another try.
func (q *queue) unseal(b *sharedBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.sealed = false
}

// tryChanges is one try. With ErrUnknownOutcome the error is the answer for the whole batch. With any other error
// nothing was written.
func (s *Store) tryChanges(b *sharedBatch) error {
	txn, err := s.dialect.begin(b.ctx, s.db)
	if err != nil {
		return err
	}
	defer txn.release()
	members := s.queue.currentMembers(b)
	t := &tx{store: s, transaction: txn, job: &job{ctx: b.ctx}}
	if len(members) == 1 {
		err = members[0].plan.apply(t)
	} else {
		err = t.applyShared(b, members)
	}
	if err == nil {
		err = t.finish()
	}
	if err != nil {
		return err
	}
	for _, j := range s.queue.currentMembers(b) {
		if err := j.ctx.Err(); err != nil { // its caller is about to leave
			s.queue.dropMembers(b, err, j)
			return errMemberLeft
		}
	}
	if !s.queue.seal(b) {
		return errMemberLeft
	}
	err = txn.commit(b.ctx)
	if t.changed {
		s.notifyAfter(b.ctx, &txn, err)
	}
	switch {
	case err == nil:
		return nil
	case s.isNotCommitted(err):
		return err // nothing was written
	default:
		return fmt.Errorf("%w: commit: %w", latchkey.ErrUnknownOutcome, err)
	}
}

const insertShared = `INSERT INTO latchkey_writes (owner, id, epoch, at) VALUES (?, ?, 0, ?)`

// errRepeated means that a Write was applied before.
var errRepeated = errors.New("a write was applied before")

// applyShared runs the members of a batch. It removes those whose owner is locked or has no row to lock.
func (t *tx) applyShared(b *sharedBatch, members []*job) error {
	rows := make([][]any, len(members))
	for i, j := range members {
		rows[i] = []any{j.plan.w.Owner}
	}
	t.eventHeads = map[string]eventHead{}
	err := t.each(`SELECT owner, `+t.dialect().lockedSeq+`, head FROM latchkey_event_seqs
		WHERE owner = ANY (CAST(? AS TEXT[])) ORDER BY owner`+t.dialect().forUpdateSkip, []any{arrayOf(rows, 0)},
		func(rows *sql.Rows) error {
			var owner string
			var last eventHead
			err := rows.Scan(&owner, &last.seq, &last.head)
			t.eventHeads[owner] = last
			return err
		})
	if err != nil {
		return err
	}
	var others []*job
	t.shared = true
	for _, j := range members {
		w := &j.plan.w
		if _, locked := t.eventHeads[w.Owner]; !locked {
			others = append(others, j)
			continue
		}
		err := t.insertLater(insertShared, []any{w.Owner, w.ID[:], w.At.UnixMicro()}, func(n int64) error {
			if n != 1 {
				return errRepeated
			}
			return nil
		})
		if err == nil {
			err = j.plan.applyRecords(t)
		}
		if err != nil {
			return err
		}
	}
	t.store.queue.dropMembers(b, errTryAlone, others...)
	return nil
}
