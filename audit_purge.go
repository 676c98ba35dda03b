package latchkey

import (
	"context"
	"encoding/json"
	"time"
)

// announcePurge writes, for each owner of the feed that has events older than Options.KeepEvents, one event that says
// up to which number events may be gone. Then it sets p.Events. It comes before the removal, so that no crash leaves a
// trail whose beginning is gone without a word. Events up to that number which are not old enough stay, until the next
// Purge.
//
// The number is that of an event whose age its hash confirms. Otherwise who can write the database could set back the
// time of an event, and Purge would excuse that it is gone.
func (m *Manager) announcePurge(ctx context.Context, p *PurgePolicy) error {
	if m.opts.KeepEvents <= 0 {
		return nil
	}
	// Purge removes what is as old as this.
	oldest := fromMicros(p.Now.UnixMicro() - m.opts.KeepEvents.Microseconds())
	for q := (UndeliveredQuery{Feed: p.Feed, Cursor: uncounted, Page: Page{Limit: 1000}}); ; {
		page, next, err := m.store.Undelivered(ctx, q)
		if err != nil {
			return err
		}
		for _, d := range page {
			through, err := m.lastEventUntil(ctx, d.Owner, oldest)
			if err == nil && through > 0 {
				after, _ := json.Marshal(purgedEvents{through})
				err = m.write(ctx, Write{Owner: d.Owner, Silent: true,
					Events: []Event{{Action: actionPurge, Object: d.Owner, After: after}}})
			}
			if err != nil {
				return err
			}
		}
		if q.After = next; next == "" {
			break
		}
	}
	p.Events = m.opts.KeepEvents
	return nil
}

// lastEventUntil returns the number of the last event of an owner that is not after a time and as it was written, or 0.
func (m *Manager) lastEventUntil(ctx context.Context, owner string, at time.Time) (uint64, error) {
	q := EventQuery{To: at.Add(time.Microsecond), Reverse: true, Page: Page{Limit: 1}}
	for {
		page, next, err := m.store.Events(ctx, owner, q)
		if err != nil {
			return 0, err
		}
		for i := range page {
			if v := m.opts.Keyring.judge(&page[i]); m.opts.Keyring.vouches(&v) {
				return page[i].Seq, nil
			}
		}
		if q.After = next; next == "" {
			return 0, nil
		}
		q.Limit = 100
	}
}
