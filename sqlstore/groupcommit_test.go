package sqlstore

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A job that was put back after its caller left must not stay in the queue for ever.
func TestQueueDropsJobsOfGoneCallers(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	var q queue
	gone := &job{ctx: over, done: make(chan error, 1), alone: true}
	waits := &job{ctx: context.Background(), done: make(chan error, 1), alone: true}
	mine := &job{ctx: context.Background(), done: make(chan error, 1)}
	q.add(gone, waits, mine)
	require.Equal(t, []*job{mine}, q.takeBatch(mine, maxBatch))
	require.Equal(t, []*job{waits}, q.jobs)
	require.ErrorIs(t, <-gone.done, context.Canceled, "the caller learns that nothing was done")
}
