package latchkey

import (
	"context"
	"errors"
	"fmt"
)

// Deliver hands the audit events of all owners to another system: those that were not handed over before under the name
// cursor, of each owner in order. The cursor is kept in the store, so it survives a crash, and several systems have
// several cursors. A name is 1 to 64 bytes.
//
// The function is called with 1 to 100 events of one owner. When it returns nil, the cursor moves behind them. So each
// event is handed over at least once. After a crash, or while two processes deliver at once, some come again: tell them
// by Owner and Seq. If it returns an error, Deliver goes on with the next owner, and the same events come again with
// the next call. Deliver returns the number of events that were handed over, and all errors joined, with that of a ctx
// that ended before all owners were looked at.
//
// Call it every few seconds, say, or after each [Observer].Changed. A call that finds nothing new looks at one row an
// owner, in steps of some thousand. Events that are purged before they are handed over are lost: a warning is logged
// with the number that is missing.
func (m *Manager) Deliver(ctx context.Context, cursor string,
	deliver func(ctx context.Context, events []Event) error) (int, error) {
	return m.eachUndelivered(ctx, cursor, "latchkey: not all events were delivered", func(d Delivery) (int, error) {
		return m.deliverOwner(ctx, cursor, d, deliver)
	})
}

// eachUndelivered calls f with each owner that has events behind a cursor, and adds up what f returns. After an error
// it goes on with the next owner.
func (m *Manager) eachUndelivered(ctx context.Context, cursor, failed string,
	f func(Delivery) (int, error)) (int, error) {
	if err := CheckCursor(cursor); err != nil {
		return 0, err
	}
	total := 0
	var errs []error
	feeds := m.store.Feeds()
	for _, feed := range feeds {
		q := UndeliveredQuery{Feed: feed, Cursor: cursor}
		for {
			page, next, err := m.store.Undelivered(ctx, q)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s%s: %w", failed, ofFeed(feed, len(feeds)), err))
				break
			}
			for _, d := range page {
				n, err := f(d)
				if total += n; err != nil {
					errs = append(errs, err)
				}
				if err := ctx.Err(); err != nil { // the rest was not tried
					return total, errors.Join(append(errs, err)...)
				}
			}
			if q.After = next; next == "" {
				break
			}
		}
	}
	return total, errors.Join(errs...)
}

// deliverOwner is Deliver for one owner.
func (m *Manager) deliverOwner(ctx context.Context, cursor string, d Delivery,
	deliver func(ctx context.Context, events []Event) error) (total int, err error) {
	const size = 100
	for at := d.Seq; at < d.Last; {
		page := Page{After: EventQuery{}.Key(Event{Seq: at}), Limit: size}
		events, _, err := m.store.Events(ctx, d.Owner, EventQuery{Page: page})
		if err != nil {
			return total, fmt.Errorf("latchkey: the events of %q were not delivered: %w", d.Owner, err)
		}
		reached := max(at, d.Last) // if all of them were purged
		if n := len(events); n > 0 {
			reached = events[n-1].Seq
			if err := deliver(ctx, events); err != nil {
				return total, fmt.Errorf("latchkey: the events of %q were not delivered: %w", d.Owner, err)
			}
			total += n
		}
		if missing := reached - at - uint64(len(events)); missing > 0 {
			m.fail(ctx, partDeliver, Failure{Message: "latchkey: events were purged before they were delivered",
				Err: fmt.Errorf("%d events of %q up to %d, for %q", missing, d.Owner, reached, cursor), Lost: int64(missing)})
		}
		if err := m.store.Deliver(ctx, d.Owner, cursor, reached); err != nil {
			return total, fmt.Errorf("latchkey: events of %q were delivered and will come again: %w", d.Owner, err)
		}
		at = reached
	}
	return total, nil
}
