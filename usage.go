package latchkey

import (
	"cmp"
	"context"
	"math"

	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

const maxClientID = usage.MaxClient // bytes

// Count adds n to what was used of a meter ("messages"), at an endpoint ("GET /orders"), by this token, for this
// client, today (UTC), and spent to the credits that were spent on it. It takes them from no quota: that is what
// [Access.Spend] does, which counts as well. It does not wait for the store, does not fail, and does not allocate once
// the same things are counted over and over: call it for every request. It counts nothing if one of the numbers is
// negative or all are 0, and for the zero Access. An Assumed caller counts with token "". A meter is cut off after 64
// bytes, an endpoint after 256. Use few different ones, such as route patterns, never paths.
//
// What is counted is gathered in memory and written about once a second, on [Manager.Close], and before [Account.Usage]
// answers. It is never written twice, even when the store cannot say whether it was written. A crash loses what waits:
// the last second, or what was counted since the store went away. While it is away counts are added up. When more than
// about 100,000 different ones wait, further ones are dropped and logged (Options.Logger). Today is the day of the
// latest call that looked at the clock, such as a Verify: within the second after midnight, a count may still be
// yesterday's.
func (a Access) Count(meter, endpoint string, n int64, spent ...Credits) {
	if c, ok := sumOf(spent); ok {
		a.count(meter, endpoint, n, c)
	}
}

// Counter counts one meter at one endpoint for one caller, as [Access.Count] does, without looking for what it counts.
// It is for a caller that counts over and over: a connection that carries many messages, or a loop over rows. Make one
// with [Access.Counter]. It is safe for concurrent use. A nil Counter counts nothing.
//
// It holds about 2 KiB for each processor, and need not be closed. What it counted is written also if the program
// forgets it.
type Counter struct {
	m    *Manager
	uses *usage.Prepared // nil: of the zero Access
}

// Counter returns a Counter for what [Access.Count] counts with this meter and endpoint. It does not look whether the
// token is still valid: [Access.Again] does. The zero Access returns one that counts nothing.
func (a Access) Counter(meter, endpoint string) *Counter {
	if a.set == nil {
		return &Counter{}
	}
	var k usage.Key
	a.countKey(&k, meter, endpoint)
	return &Counter{a.m, a.m.counters.Prepare(k)}
}

// Add counts n, and spent as credits, as [Access.Count] does: it does not wait, does not fail, and does not allocate.
// It counts nothing if one of the numbers is negative or all are 0.
func (c *Counter) Add(n int64, spent ...Credits) {
	if c == nil || c.uses == nil {
		return
	}
	credits, ok := sumOf(spent)
	if !ok || n < 0 || n|int64(credits) == 0 {
		return
	}
	if !c.uses.Pending() {
		c.m.expiryNow() // the first since the last flush: see which day it is
	}
	c.uses.Add(c.m.day.Load(), n, int64(credits))
}

// sumOf returns the sum of credits, and false if one is negative or the sum has no room.
func sumOf(spent []Credits) (sum Credits, ok bool) {
	for _, more := range spent {
		if more < 0 || sum > math.MaxInt64-more {
			return 0, false
		}
		sum += more
	}
	return sum, true
}

// count is Count. Neither it nor what it calls changes a: a pointer is faster to hand on.
func (a *Access) count(meter, endpoint string, n int64, c Credits) {
	if a.set == nil || n < 0 || n|int64(c) == 0 {
		return
	}
	var k usage.Key
	a.countKey(&k, meter, endpoint)
	a.m.count(&k, n, c)
}

// countKey sets all of k but the day: what is counted by these names. To return a Key would copy it.
func (a *Access) countKey(k *usage.Key, meter, endpoint string) {
	if len(meter) > usage.MaxMeter {
		meter = meter[:usage.MaxMeter]
	}
	if len(endpoint) > usage.MaxEndpoint {
		endpoint = endpoint[:usage.MaxEndpoint]
	}
	k.Owner, k.Client, k.Meter, k.Endpoint, k.Token = a.who.owner, a.who.client.ID, meter, endpoint, a.payer()
}

// count counts today.
func (m *Manager) count(k *usage.Key, n int64, c Credits) {
	if !m.counters.Armed() {
		m.expiryNow() // the first for a while: see which day it is
	}
	k.Day = m.day.Load()
	m.counters.Add(k, n, int64(c))
}

// countRefusal counts a refusal of a token, for [Account.RefusalReport].
func (m *Manager) countRefusal(r *Refusal) {
	if r.TokenID == "" || m.opts.NoRefusalReport {
		return
	}
	m.count(&usage.Key{Owner: r.Owner, Meter: usage.RefusedMeter, Endpoint: r.Reason,
		Token: uuidv7.Parse(cmp.Or(r.parent, r.TokenID))}, 1, 0)
}

// counterSink is a Manager as usage.Counters need it.
type counterSink struct{ *Manager }

func (s counterSink) Clock() (now, elapsed int64) {
	at := s.readClock()
	return s.creationTime(at), s.elapsed(at)
}

func (s counterSink) AddCounts(ctx context.Context, b usage.Batch) error {
	rows := make([]UsageRow, len(b.Rows))
	for i, r := range b.Rows {
		rows[i] = UsageRow{Owner: r.Owner, TokenID: r.Token, ClientID: r.Client, Meter: r.Meter, Endpoint: r.Endpoint,
			Day: r.Day, Count: r.Count, Credits: Credits(r.Credits)}
	}
	return s.store.AddUsage(ctx, UsageBatch{ID: b.ID, At: fromMicros(b.At), Rows: rows})
}

func (s counterSink) Group(owner string) uint32         { return uint32(s.store.Locate(owner).Feed) }
func (s counterSink) NewID(now int64) ([16]byte, error) { return s.ids.New(now) }

func (s counterSink) Warn(msg string, lost int64, err error) {
	s.fail(context.Background(), partUsage, Failure{Message: msg, Err: err, Lost: lost})
}
