package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// maxFeed bounds what one call of Changes reads, whatever n is.
const maxFeed = 10_000

// Feeds implements latchkey.Store: there is one.
func (s *Store) Feeds() []latchkey.FeedID { return []latchkey.FeedID{0} }

// Locate implements latchkey.Store: there are no slots.
func (s *Store) Locate(string) latchkey.Location { return latchkey.Location{} }

// checkFeed returns an error for a feed other than the only one.
func checkFeed(feed latchkey.FeedID) error {
	if feed != 0 {
		return contractError(latchkey.ErrInvalid, "there is no feed %d: this store has feed 0 only", feed)
	}
	return nil
}

// Changes implements latchkey.Store.
func (s *Store) Changes(ctx context.Context, id latchkey.FeedID, after uint64, n int) (feed latchkey.Feed, err error) {
	if err := checkFeed(id); err != nil {
		return feed, mapError(ctx, "read changes", err)
	}
	n = min(n, maxFeed)
	var now sql.NullInt64
	err = s.read(ctx, "read changes", func() error {
		if n <= 0 {
			feed = latchkey.Feed{}
			text, dest := readEpoch, []any{&feed.Epoch}
			if s.needsClock() {
				text, dest = `SELECT epoch, `+s.dialect.clock+` FROM latchkey_epoch WHERE id = 1`, append(dest, &now)
			}
			found, err := s.first(ctx, text, nil, dest...)
			if err != nil || !found {
				return orRowMissing(err, epochRow)
			}
			return nil
		}
		for limit := n + 1; ; limit *= 4 {
			rows, err := s.readFeed(ctx, &feed, &now, after, limit)
			if err != nil {
				return err
			}
			if rows < limit {
				feed.Changes = wholePage(feed.Changes, n, true)
				return nil
			}
			// The limit was reached, so the last transaction may have more rows. It is left out, unless it is the only one: then
			// more is read.
			if page := wholePage(feed.Changes, n, false); page != nil {
				feed.Changes = page
				return nil
			}
		}
	})
	if err != nil {
		return latchkey.Feed{}, err
	}
	feed.Now = s.now(now)
	return feed, nil
}

// readFeed reads the epoch, the start of the history, and the first changes with one statement, which is one cut.
func (s *Store) readFeed(ctx context.Context, feed *latchkey.Feed, now *sql.NullInt64, after uint64, limit int) (
	rows int, err error) {
	*feed = latchkey.Feed{}
	if after > 1<<63-1 {
		after = 1<<63 - 1 // ahead of any epoch
	}
	seen := false
	err = s.each(ctx, `SELECT e.epoch, e.floor, `+s.dialect.clock+`, c.epoch, c.owner, c.kind, c.id, c.until
		FROM latchkey_epoch e LEFT JOIN (SELECT epoch, seq, owner, kind, id, until FROM latchkey_changes
			WHERE epoch > ? ORDER BY epoch, seq LIMIT ?) c ON c.epoch > 0 WHERE e.id = 1 ORDER BY c.epoch, c.seq`,
		[]any{int64(after), limit}, func(r *sql.Rows) error {
			seen = true
			var floor uint64
			var epoch, kind, until sql.NullInt64
			var owner, id sql.NullString
			if err := r.Scan(&feed.Epoch, &floor, now, &epoch, &owner, &kind, &id, &until); err != nil {
				return err
			}
			feed.Truncated = after < floor || after > feed.Epoch
			if epoch.Valid {
				rows++
				change := latchkey.Change{Epoch: uint64(epoch.Int64), Owner: owner.String,
					Kind: latchkey.ChangeKind(kind.Int64), ID: id.String, Until: fromMicros(until)}
				if change.Kind == latchkey.ChangedRevocation {
					unpackRevocation(&change)
				}
				feed.Changes = append(feed.Changes, change)
			}
			return nil
		})
	if err != nil || !seen {
		return 0, orRowMissing(err, "the row of latchkey_epoch")
	}
	return rows, nil
}

// wholePage cuts rows to whole transactions: as many as fit into n rows, but at least one. Unless complete, the last
// transaction may have more rows than were read. It returns nil if that one is the only transaction.
func wholePage(rows []latchkey.Change, n int, complete bool) []latchkey.Change {
	end := 0 // of the transactions taken
	for start := 0; start < len(rows); {
		next := start
		for next < len(rows) && rows[next].Epoch == rows[start].Epoch {
			next++
		}
		if next == len(rows) && !complete || end > 0 && next > n {
			break
		}
		end, start = next, next
	}
	if end == 0 {
		return nil
	}
	return slices.Clip(rows[:end])
}

// clockReading is a time of the database's clock, and when this machine read it.
type clockReading struct{ database, readAt time.Time }

// clockReadingValid is how long a reading is used before the database's clock is read again. Meanwhile it advances with
// this machine's clock. Reading the clock costs a twentieth of reading the epoch.
const clockReadingValid = time.Second

func (h *clockReading) now() time.Time {
	return h.database.Add(time.Since(h.readAt)).Truncate(time.Microsecond)
}

func (h *clockReading) valid() bool { return h != nil && time.Since(h.readAt) < clockReadingValid }

func (s *Store) needsClock() bool {
	return s.clock == nil && s.dialect.clock != noClock && !s.lastClock.Load().valid()
}

// now returns Feed.Now, by the clock of the database if it has one.
func (s *Store) now(database sql.NullInt64) time.Time {
	was := s.lastClock.Load()
	switch {
	case s.clock != nil:
		return s.clock().UTC().Truncate(time.Microsecond)
	case database.Valid:
		said := fromMicros(database)
		if !was.valid() || said.After(was.now()) { // an answer that was delayed is older than the last reading
			s.lastClock.CompareAndSwap(was, &clockReading{said, time.Now()})
		}
		return said
	case was != nil:
		return was.now()
	}
	return time.Now().UTC().Truncate(time.Microsecond)
}
