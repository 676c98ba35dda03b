package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
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
		for limit := int64(n) + 1; ; limit *= 4 {
			whole, more, err := s.readFeed(ctx, &feed, &now, after, limit)
			if err != nil {
				return err
			}
			// If the last transaction may have more rows, it is left out, unless it is the only one: then more is read.
			if page := wholePage(feed.Changes, n, whole); page != nil || !more {
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

// readFeed reads the epoch, the start of the history, and the first changes with one statement, which is one cut. It
// reports whether all rows of the last transaction were read, and whether there may be more changes.
func (s *Store) readFeed(ctx context.Context, feed *latchkey.Feed, now *sql.NullInt64, after uint64, limit int64) (
	whole, more bool, err error) {
	*feed = latchkey.Feed{}
	if after > 1<<62 {
		after = 1 << 62 // ahead of any epoch
	}
	if s.dialect.packsFeed {
		more, err = s.readPackedFeed(ctx, feed, now, after, limit)
		return true, more, err
	}
	seen, rows := false, int64(0)
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
				feed.Changes = append(feed.Changes, latchkey.Change{Epoch: uint64(epoch.Int64), Owner: owner.String,
					Kind: latchkey.ChangeKind(kind.Int64), ID: id.String, Until: fromMicros(until)})
				unpackChange(&feed.Changes[len(feed.Changes)-1])
			}
			return nil
		})
	if err != nil || !seen {
		return false, false, orRowMissing(err, "the row of latchkey_epoch")
	}
	return rows < limit, rows >= limit, nil
}

// unpackChange reads what a row of latchkey_changes says of a revocation.
func unpackChange(change *latchkey.Change) {
	if change.Kind == latchkey.ChangedRevocation {
		unpackRevocation(change)
	}
}

// readPackedFeed is readFeed of so many epochs, by a few rows, each of which has the changes of some epochs in one
// text. Each process reads each change, so a row for each would cost more than all else that a change costs. The
// trigger has packed most of them when they were numbered.
//
// One text would cost the server more, as soon as there are many changes: it returns the memory of a large text to the
// system after each statement, and then has every page of it anew.
//
// The planner does not see how few rows there are, because where they begin and end depends on rows of the statement.
// So a plan for one call is no better than the plan for all, and after five calls a connection keeps that one. If it
// planned each call anew, that would take longer than to read them.
func (s *Store) readPackedFeed(ctx context.Context, feed *latchkey.Feed, now *sql.NullInt64, after uint64,
	epochs int64) (more bool, err error) {
	end := int64(after) + min(epochs, 1<<62-1)
	step := max(feedChunk, (epochs+feedChunks-1)/feedChunks)
	var floor uint64
	seen := false
	err = s.each(ctx, `SELECT e.epoch, e.floor, `+s.dialect.clock+`, c.n, c.packed FROM latchkey_epoch e
		LEFT JOIN LATERAL (SELECT after FROM generate_series(CAST(? AS BIGINT),
			LEAST(e.epoch, CAST(? AS BIGINT)) - 1, CAST(? AS BIGINT)) s (after) LIMIT `+strconv.Itoa(feedChunks)+`) g ON TRUE
		LEFT JOIN LATERAL (SELECT count(*) AS n, string_agg(COALESCE(packed, concat(epoch, ' ',
			(CAST(kind AS BIGINT) << 41) + (CAST(octet_length(owner) AS BIGINT) << 21)
				+ (CAST(octet_length(id) AS BIGINT) << 1) + CASE WHEN until IS NULL THEN 0 ELSE 1 END, ' ',
			until || ' ', owner, id)), '') AS packed
			FROM (SELECT epoch, owner, kind, id, until, packed FROM latchkey_changes WHERE epoch > g.after
				AND epoch <= LEAST(g.after + CAST(? AS BIGINT), CAST(? AS BIGINT))
				ORDER BY epoch, seq) p) c ON TRUE
		WHERE e.id = 1`, []any{int64(after), end, step, step, end}, func(r *sql.Rows) error {
		var n sql.NullInt64 // NULL: there is nothing after that epoch
		var packed sql.NullString
		if err := r.Scan(&feed.Epoch, &floor, now, &n, &packed); err != nil {
			return err
		}
		seen = true
		var err error
		feed.Changes, err = unpackChanges(feed.Changes, int(n.Int64), packed.String)
		return err
	})
	if err != nil || !seen {
		return false, orRowMissing(err, "the row of latchkey_epoch")
	}
	feed.Truncated = after < floor || after > feed.Epoch
	return uint64(end) < feed.Epoch, nil
}

// A packed feed is read in as many texts as this, at most, of as many epochs as this, at least. The planner takes the
// first for the number there is, and compiles a statement that seems to read very much: so it is no larger than it must
// be.
const feedChunks, feedChunk = 16, 256

var errPackedChanges = errors.New("the rows of latchkey_changes cannot be read")

// unpackChanges appends n changes to those before them. Each is its epoch, a space, its shape, a space, the
// microseconds of its until and a space, unless it has none, its owner, and its id. Bit 0 of the shape says whether
// there is an until. Bits 1 to 20 are the length of the id, bits 21 to 40 that of the owner, in bytes. From bit 41
// on it is the kind. A text that does not agree in full is an error. The changes share the memory of packed.
func unpackChanges(changes []latchkey.Change, n int, packed string) ([]latchkey.Change, error) {
	const length = 1<<20 - 1
	last, before := int64(0), len(changes)
	if before > 0 {
		last = int64(changes[before-1].Epoch)
	}
	changes = slices.Grow(changes, n)[:before+n]
	for i := before; i < len(changes); i++ {
		epoch, rest, ok := cutNumber(packed)
		shape, rest, known := cutNumber(rest)
		var until sql.NullInt64
		if shape&1 != 0 {
			until.Int64, rest, until.Valid = cutNumber(rest)
			known = known && until.Valid
		}
		owner, id := int(shape>>21&length), int(shape>>1&length)
		if !ok || !known || epoch < last || owner+id > len(rest) {
			return nil, errPackedChanges
		}
		last, packed = epoch, rest[owner+id:]
		c := &changes[i]
		c.Epoch, c.Kind = uint64(epoch), latchkey.ChangeKind(shape>>41)
		c.Owner, c.ID, c.Until = rest[:owner], rest[owner:owner+id], fromMicros(until)
		unpackChange(c)
	}
	if packed != "" {
		return nil, errPackedChanges
	}
	return changes, nil
}

// cutNumber removes a decimal number, and the space behind it. It returns false if there is none.
func cutNumber(text string) (n int64, rest string, ok bool) {
	const sure = 18 // digits that fit
	for i := range min(len(text), sure+1) {
		switch c := text[i]; {
		case c == ' ' && i > 0:
			return n, text[i+1:], true
		case c < '0' || c > '9' || i == sure:
			return cutAnyNumber(text)
		default:
			n = 10*n + int64(c-'0')
		}
	}
	return 0, "", false
}

// cutAnyNumber is cutNumber, also of one with a sign, or with so many digits that it may be too large.
func cutAnyNumber(text string) (n int64, rest string, ok bool) {
	first, rest, found := strings.Cut(text, " ")
	n, err := strconv.ParseInt(first, 10, 64)
	return n, rest, found && err == nil
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
