package credits

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
)

const holdFor = 15 * time.Minute // how long a Hold waits for Settle

// Hold is credits taken in advance: see [Pool.Reserve]. It is safe for concurrent use once it is filled.
type Hold struct {
	pool     *Pool // nil: nothing was taken
	owner    string
	key      [16]byte
	reserved int64

	mu      sync.Mutex
	left    Left
	settled bool
	spent   int64

	lease      *lease // what it was taken out of; nil: it has a reservation of its own
	expires    int64  // as Instant.Elapsed has it
	prev, next *Hold  // of the lease. Guarded by line.mu, as is:
	freed      bool   // the lease knows it no more
}

// Unlimited fills an empty Hold with n credits that no account limits: nothing is taken.
func (h *Hold) Unlimited(n int64) { h.reserved = n }

// reserve makes a reservation of the Hold's own.
func (h *Hold) reserve(ctx context.Context, d *Debit, now int64) error {
	accounts, err := d.Accounts(now)
	if err != nil {
		return err
	}
	return h.reserveFrom(ctx, accounts, now)
}

func (h *Hold) reserveFrom(ctx context.Context, accounts Accounts, now int64) (err error) {
	host := h.pool.host
	if h.key, err = host.NewID(now); err != nil {
		return err
	}
	r := Reservation{Owner: h.owner, Key: h.key, Accounts: accounts, Amount: h.reserved,
		Until: now + holdFor.Microseconds()}
	err = fault.UntilKnown(ctx, func() (err error) {
		h.left.Credits, h.left.Limit, err = host.Reserve(ctx, r)
		return err
	})
	if err == nil {
		h.left.Resets = accounts.resets(h.left.Limit)
	}
	return err
}

// Settle keeps what was spent and returns the rest. Settling again with the same amount does nothing. It returns
// ErrInvalid unless 0 ≤ spent ≤ what was reserved, and ErrConflict if the Hold was settled with another amount or has
// expired.
func (h *Hold) Settle(ctx context.Context, spent int64) error {
	if spent < 0 || spent > h.reserved {
		return fmt.Errorf("%w: settled amount must be between 0 and the reserved amount", fault.ErrInvalid)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled {
		if spent != h.spent {
			return fmt.Errorf("%w: settled already, with another amount", fault.ErrConflict)
		}
		return nil
	}
	if h.pool != nil {
		var err error
		if h.lease != nil {
			err = h.lease.settle(ctx, h, spent)
		} else {
			err = fault.UntilKnown(ctx, func() error { return h.pool.host.Settle(ctx, h.owner, h.key, spent) })
		}
		if err != nil {
			return err
		}
		h.left.Credits += h.reserved - spent
	}
	h.settled, h.spent = true, spent
	return nil
}

// Left returns what the account with the least has left, as of the reservation and with what Settle returned, and false
// if none is limited.
func (h *Hold) Left() (Left, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.left, h.pool != nil
}
