package latchkey

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// touch notes that a cached token was used now.
func (m *Manager) touch(r *record, set *compiled, owner string, now int64) {
	if set.idle != 0 {
		first := r.Used.Load() == 0 && r.Used.CompareAndSwap(0, seconds(now))
		m.uses.Used(owner, uuidv7.Text(r.ID), set.idle, now, first)
		return
	}
	was := r.Used.Load()
	if now-int64(was)*1e6 >= usage.Step(0) && r.Used.CompareAndSwap(was, seconds(now)) {
		m.uses.Write(owner, uuidv7.Text(r.ID), now)
	}
}

func seconds(us int64) uint32 { return uint32(max(us, 0) / 1e6) }

// touchStored notes that a token just read from the store was used now. It returns which use is, or will be, stored.
func (m *Manager) touchStored(t *Token, now int64) int64 {
	if idle := t.Validity.Idle.Microseconds(); idle != 0 {
		m.uses.Used(t.Owner, t.ID, idle, now, t.Used.IsZero())
		return now
	}
	if !t.Used.IsZero() && now-micros(t.Used) < usage.Step(0) {
		return micros(t.Used)
	}
	m.uses.Write(t.Owner, t.ID, now)
	return now
}

// latestUse returns the latest time at which a token can have been used, by what the store knows.
func latestUse(t *Token, now int64) time.Time {
	if t.Used.IsZero() || t.Validity.Idle != 0 && over(t.IdleEnd(), now) {
		return t.Used
	}
	return fromMicros(max(micros(t.Used), min(now, micros(t.Used)+usage.Step(t.Validity.Idle.Microseconds()))))
}

// lastUsedSink is a Manager as a usage.LastUsed needs it.
type lastUsedSink struct{ *Manager }

func (s lastUsedSink) RaiseLastUsed(ctx context.Context, uses []usage.Use) error {
	now := s.expiryNow()
	id, err := s.ids.New(now)
	if err != nil {
		return err
	}
	last := make([]LastUsed, len(uses))
	for i, u := range uses {
		last[i] = LastUsed{Owner: u.Owner, TokenID: u.Token, At: fromMicros(u.At)}
	}
	return s.store.AddUsage(ctx, UsageBatch{ID: id, At: fromMicros(now), Last: last})
}

func (s lastUsedSink) Group(owner string) uint32 { return uint32(s.store.Locate(owner).Feed) }

func (s lastUsedSink) Warn(msg string, err error) { s.warn(msg, err) }
