package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

const eventColumns = `seq, at, actor, origin, action, object, reason, old, new, prev, hash`

// Events implements latchkey.Store. A page is read by the primary key, or by the index of objects or of actors. What
// these do not tell is looked at event by event, without the records that events hold, and for a bounded number of
// events.
func (s *Store) Events(
	ctx context.Context, owner string, q latchkey.EventQuery,
) (page []latchkey.Event, next string, err error) {
	const what = "list events"
	seq, ok, err := q.Start()
	if err != nil {
		return nil, "", mapError(ctx, what, err)
	}
	after := int64(min(seq, math.MaxInt64))
	if !ok && q.Reverse {
		after = math.MaxInt64
	}
	indexed := q
	indexed.Action, indexed.From, indexed.To = "", time.Time{}, time.Time{}
	if q.Object != "" {
		indexed.Actor = nil
	}
	if q == indexed {
		// One more than asked for tells whether a page follows.
		err = s.read(ctx, what, func() error {
			page = nil
			text, args := eventsAfter(eventColumns, owner, indexed, after, q.Size()+1)
			return s.each(ctx, text, args, func(rows *sql.Rows) error { return scanEvent(rows, owner, &page) })
		})
		if err != nil {
			return nil, "", err
		}
		if len(page) > q.Size() {
			page = page[:q.Size()]
			next = q.Key(page[len(page)-1])
		}
		return page, next, nil
	}
	var found []any
	var last int64 // what was looked at last
	var more bool  // events may follow it
	err = s.read(ctx, what, func() error {
		var err error
		if found, last, more, err = s.scanEvents(ctx, owner, q, indexed, after); err != nil {
			return err
		}
		if len(found) > 0 || !more || q.From.IsZero() && q.To.IsZero() {
			return nil
		}
		// None of the time was among them. The index of times tells where the next one is.
		if last, more, err = s.nextEventOfTime(ctx, owner, q, last); err != nil || !more {
			return err
		}
		found, last, more, err = s.scanEvents(ctx, owner, q, indexed, last)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if more {
		next = q.Key(latchkey.Event{Seq: uint64(last)})
	}
	if len(found) == 0 {
		return nil, next, nil
	}
	err = s.read(ctx, what, func() error {
		page = nil
		text := `SELECT ` + eventColumns + ` FROM latchkey_events WHERE owner = ? AND seq IN (?` +
			strings.Repeat(`, ?`, len(found)-1) + `) ORDER BY seq` + direction(q)
		return s.eachUnprepared(ctx, text, append([]any{owner}, found...),
			func(rows *sql.Rows) error { return scanEvent(rows, owner, &page) })
	})
	if err != nil {
		return nil, "", err
	}
	return page, next, nil
}

// scanEvents looks at no more than scanSize events behind after, by the index that indexed chooses. It returns the
// numbers of those that q selects, and that of the last event of the page, or the last that was looked at.
func (s *Store) scanEvents(
	ctx context.Context, owner string, q, indexed latchkey.EventQuery, after int64,
) (found []any, last int64, more bool, err error) {
	last = after
	read := 0
	text, args := eventsAfter(`seq, at, actor, action, object`, owner, indexed, after, scanSize)
	err = s.each(ctx, text, args, func(rows *sql.Rows) error {
		var e latchkey.Event
		var at int64
		err := rows.Scan(&e.Seq, &at, &e.Actor, &e.Action, &e.Object)
		read++
		if err != nil {
			return err
		}
		e.At = time.UnixMicro(at).UTC()
		switch matches := q.Match(e); {
		case matches && len(found) == q.Size():
			return errPageFull
		case matches:
			found, last = append(found, int64(e.Seq)), int64(e.Seq)
		case len(found) < q.Size():
			last = int64(e.Seq)
		}
		return nil
	})
	if errors.Is(err, errPageFull) {
		return found, last, true, nil
	}
	return found, last, read == scanSize, err
}

// errPageFull ends a scan at the first event that no longer fits the page.
var errPageFull = errors.New("the page is full")

// nextEventOfTime returns a number that no event between after and the next event in the time of q is behind. It reads
// the part of the index of times that q selects: seq + 0 keeps engines from walking the primary key in its place.
func (s *Store) nextEventOfTime(
	ctx context.Context, owner string, q latchkey.EventQuery, after int64,
) (before int64, ok bool, err error) {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !q.From.IsZero() {
		from = ceilMicros(q.From)
	}
	if !q.To.IsZero() {
		to = ceilMicros(q.To)
	}
	text := `SELECT MIN(seq + 0) FROM latchkey_events WHERE owner = ? AND at >= ? AND at < ? AND seq + 0 > ?`
	step := int64(-1)
	if q.Reverse {
		text = `SELECT MAX(seq + 0) FROM latchkey_events WHERE owner = ? AND at >= ? AND at < ? AND seq + 0 < ?`
		step = 1
	}
	var seq sql.NullInt64
	err = s.each(ctx, text, []any{owner, from, to, after}, func(rows *sql.Rows) error { return rows.Scan(&seq) })
	return seq.Int64 + step, seq.Valid, err
}

// eventsAfter returns a statement that lists events behind after: those of q's Object, of its Actor, or all.
func eventsAfter(columns, owner string, q latchkey.EventQuery, after int64, n int) (text string, args []any) {
	text, args = `SELECT `+columns+` FROM latchkey_events WHERE owner = ?`, []any{owner}
	switch {
	case q.Object != "":
		text, args = text+` AND object = ?`, append(args, q.Object)
	case q.Actor != nil:
		text, args = text+` AND actor = ?`, append(args, *q.Actor)
	}
	if q.Reverse {
		text += ` AND seq < ?`
	} else {
		text += ` AND seq > ?`
	}
	return text + ` ORDER BY seq` + direction(q) + ` LIMIT ?`, append(args, after, n)
}

func direction(q latchkey.EventQuery) string {
	if q.Reverse {
		return ` DESC`
	}
	return ``
}

func scanEvent(rows *sql.Rows, owner string, to *[]latchkey.Event) error {
	e := latchkey.Event{Owner: owner}
	var at int64
	err := rows.Scan(&e.Seq, &at, &e.Actor, &e.From, &e.Action, &e.Object, &e.Reason,
		(*[]byte)(&e.Before), (*[]byte)(&e.After), &e.Prev, &e.Hash)
	e.At = time.UnixMicro(at).UTC()
	*to = append(*to, e)
	return err
}
