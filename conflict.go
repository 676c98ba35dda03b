package latchkey

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const (
	conflictTries    = 16               // at least so many, however long each takes
	conflictWait     = 10 * time.Second // and for at least so long
	conflictMaxPause = time.Second
)

// retry runs a read-change-write again while it conflicts with other writers. A few writers of one record can be first
// again and again, so no number of tries alone is enough: it goes on for conflictWait, and pauses at random for longer
// and longer, measured by what a try takes. If ctx ends meanwhile, it returns ErrUnavailable. An ErrConflict that the
// caller's edit returned is returned as it is.
func retry(ctx context.Context, f func() error) error {
	began := time.Now()
	for try, tried := 1, began; ; try, tried = try+1, time.Now() {
		err := f()
		var own *editError
		if errors.As(err, &own) {
			return own.err
		}
		if !errors.Is(err, ErrConflict) || try >= conflictTries && time.Since(began) >= conflictWait {
			return err
		}
		if try == 1 {
			continue // mostly the other writer is done
		}
		longest := max(time.Since(tried), time.Millisecond) << min(try, 6)
		pause := time.NewTimer(rand.N(min(longest, conflictMaxPause)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fault.Unavailable(ctx.Err())
		}
	}
}

// editError wraps what a caller's edit returned.
type editError struct{ err error }

func (e *editError) Error() string { return e.err.Error() }
