// Package credits pays debits from credit accounts that a store keeps: each by a reservation of its own, or out of a
// lease, which is a larger reservation that this process holds in advance and pays from in memory.
//
// It guarantees:
//
//   - Processes that share a store never spend more of an account than its limit, whatever fails in whatever order.
//     What is paid out of a lease is never more than the store counts as spent if the process dies.
//   - A debit takes from all accounts that it names or from none.
//   - A refusal is exact for all that this process holds: before it, every lease returns what it does not need of the
//     account that is short. What other processes hold counts as spent until they return it.
//   - Calls whose outcome is unknown are repeated under the same key, and reservations that nobody needs are settled
//     with 0 or expire.
//   - Paying out of a lease takes no call of the [Host], and does not allocate.
//
// Amounts are credits, times are µs since 1970. Errors of a Host are those of package fault.
package credits

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Host is what a [Pool] stands on. It is safe for concurrent use.
type Host interface {
	// Reserve takes r.Amount from every account or from none, and returns what is left of the one that has the least, and
	// its index. It is idempotent by owner and key. If an account has not enough, the error is one that Short recognises.
	Reserve(ctx context.Context, r Reservation) (left int64, least int, err error)
	// Adjust changes a reservation. It is idempotent, and returns ErrConflict or ErrNotFound if the reservation is over.
	Adjust(ctx context.Context, owner string, key [16]byte, a Adjustment) error
	// Settle ends a reservation with what was spent of it, and returns the rest. It is idempotent.
	Settle(ctx context.Context, owner string, key [16]byte, spent int64) error
	// Short returns the account that had not enough, a token's or ("") the owner's, if that is what err says.
	Short(err error) (tokenID, period string, ok bool)
	// Group returns the part of the store that an owner's reservations are in. Where one part does not answer, the others
	// are not kept waiting.
	Group(owner string) uint32
	Clock() Instant
	// NewID returns a new id for the time now.
	NewID(now int64) ([16]byte, error)
	// Warn logs an error that no caller is told.
	Warn(ctx context.Context, msg string, err error)
	// Leased is told what happened to a lease, after the store has answered.
	Leased(ctx context.Context, e Event)
}

// Event is what happened to a lease.
type Event struct {
	What         What
	Owner, Meter string
	Amount       int64
	Err          error // of Refused and Failed
}

// What is the kind of an [Event].
type What string

const (
	Taken    What = "taken"    // Amount was reserved
	Returned What = "returned" // Amount was given back
	Expired  What = "expired"  // the store no longer knows the lease, which was of Amount by then
	Refused  What = "refused"  // there is no lease of Amount to be had
	Failed   What = "failed"   // the store could not be told about a lease of Amount
)

// Instant is a reading of the clock.
type Instant struct {
	Now     int64 // µs since 1970: which period it is, and from when a reservation counts
	Elapsed int64 // µs since some moment: by this, Holds expire, whether or not the clock is set
}

// Account is a credit account as the store knows it: a token's, or ("") the owner's.
type Account struct {
	TokenID, Meter string
	Period         string // the name of the part of a Period
	Limit          int64
	Carry          int64  // at most so much of what CarryFrom has left of Limit is added to it; 0: nothing is
	CarryFrom      string // the period before; "" if Carry is 0
	Resets         int64  // when the period is over; 0: never
	Ends           int64  // when nothing can draw on the account any more; 0: never
}

// Accounts are all accounts of a debit, each in its period. They are not a list, so that none is made where the Host
// makes one of its own.
type Accounts struct {
	limits       []Limit
	present      *present
	token, meter string
	made         int64 // when the token that pays was made
}

// Len returns how many accounts there are.
func (a *Accounts) Len() int { return len(a.limits) }

// At returns the account with an index, 0 ≤ i < Len. Account i is that of limit i.
func (a *Accounts) At(i int) Account {
	l, p := &a.limits[i], &a.present.parts[i]
	account := Account{TokenID: l.TokenID, Meter: a.meter, Period: p.name, Limit: l.Credits, Resets: a.resets(i),
		Ends: p.ends}
	made := l.Made
	if l.Own {
		account.TokenID, made = a.token, a.made
	}
	if l.Carry > 0 && p.before != "" && made < p.from {
		account.Carry, account.CarryFrom = l.Carry, p.before
	}
	return account
}

// resets returns when the period of an account is over, 0: never.
func (a *Accounts) resets(i int) int64 {
	if a.limits[i].Period.Unit == Forever {
		return 0
	}
	return a.present.parts[i].to
}

// Reservation takes credits from accounts in advance.
type Reservation struct {
	Owner    string
	Key      [16]byte
	Accounts Accounts
	Amount   int64
	Until    int64 // when it expires unless it is settled
}

// Adjustment is what becomes of a reservation. Each number moves one way only: an adjustment that is overtaken by
// another undoes nothing.
type Adjustment struct {
	Amount    int64 // what is kept; the rest is returned
	Committed int64 // what counts as spent if the reservation expires
	Until     int64 // when it expires
}

// Limit is a limit of credits of a token or of an owner, in each part of a Period.
type Limit struct {
	Own     bool   // of the token that pays, whatever its id: tokens with equal limits share their [Limits]
	TokenID string // otherwise: of the token with this id, or ("") of the owner
	Period  Period
	Credits int64
	Carry   int64 // at most so much of what the period before left unspent of Credits is added
	// Made is when the holder was made, µs: nothing is carried into the period in which it was. Of Own it is the time in
	// the token's id, and not set.
	Made int64
}

// Limits are the limits that a debit keeps to: of the token that pays, of those that it was minted from, nearest first,
// and of the owner. No two name the same account.
type Limits struct {
	List    []Limit  // not empty where something is paid; only those that come first may be Own
	Nearest [16]byte // the token of the first limit, if that is not Own; zero: the owner

	now atomic.Pointer[present] // where they stood last
}

// equal reports whether two sets of limits, of the same nearest account, name the same accounts with the same limits.
func (l *Limits) equal(other *Limits) bool { return l == other || slices.Equal(l.List, other.List) }

// smallest returns the smallest limit. What is carried does not count.
func (l *Limits) smallest() int64 {
	least := l.List[0].Credits
	for _, p := range l.List[1:] {
		least = min(least, p.Credits)
	}
	return least
}

// Debit says who pays, and from what.
type Debit struct {
	Owner, Meter string
	Token        [16]byte // zero: no token, so that none of the limits is Own
	Limits       *Limits
}

func (d *Debit) key() lineKey {
	k := lineKey{owner: d.Owner, meter: d.Meter, nearest: d.Limits.Nearest}
	if d.Limits.List[0].Own {
		k.nearest = d.Token
	}
	return k
}

// Accounts returns every limited account, in the periods that now lies in.
func (d *Debit) Accounts(now int64) (Accounts, error) {
	p, err := d.Limits.at(now)
	if err != nil {
		return Accounts{}, err
	}
	a := Accounts{limits: d.Limits.List, present: p, meter: d.Meter}
	if d.Limits.List[0].Own {
		a.token, a.made = uuidv7.Text(d.Token), uuidv7.Time(d.Token)
	}
	return a, nil
}

// Left is what is left of the account that has the least, as the store last said, and with what this process holds.
type Left struct {
	Credits int64
	Limit   int   // the index of its limit
	Resets  int64 // when its period is over, µs; 0: never
}
