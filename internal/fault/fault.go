// Package fault holds the errors that the root package publishes and that the packages under internal distinguish. It
// also holds the rules for a store that does not answer.
package fault

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// The root package publishes these values under the same names and documents them there.
var (
	ErrInvalid        = errors.New("latchkey: invalid argument")
	ErrNotFound       = errors.New("latchkey: not found")
	ErrConflict       = errors.New("latchkey: conflict")
	ErrOverLimit      = errors.New("latchkey: over limit")
	ErrUnavailable    = errors.New("latchkey: store unavailable")
	ErrUnknownOutcome = errors.New("latchkey: unknown outcome")
)

// Unavailable returns err wrapped in [ErrUnavailable], or err itself if it is that already.
func Unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// UntilKnown makes an idempotent call, and repeats it up to three times while its outcome is unknown. If the store does
// not answer a repetition, the outcome stays unknown: ErrUnavailable would mean that nothing happened.
func UntilKnown(ctx context.Context, call func() error) error {
	err := call()
	for try := 0; errors.Is(err, ErrUnknownOutcome) && ctx.Err() == nil && try < 3; try++ {
		if again := call(); !errors.Is(again, ErrUnavailable) {
			err = again
		}
	}
	return err
}

// WaitFor waits until work is done, and returns ErrUnavailable if ctx ends first. The work must end by itself: the
// goroutine that waits for it runs until then.
func WaitFor(ctx context.Context, work *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return Unavailable(ctx.Err())
	}
}
