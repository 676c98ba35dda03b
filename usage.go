package latchkey

import (
	"context"
	"fmt"
	"time"
)

const (
	maxEndpoint = 256 // bytes
	maxClientID = 256
)

// Count adds n to what was used of a meter ("messages"), at an endpoint ("GET /orders"), by this token, for this client,
// today (UTC). It does not wait for the store, does not fail, and does not allocate once the same things are counted over
// and over: call it for every request. N ≤ 0 counts nothing, and neither does the zero Access. An Assumed caller counts
// with token "". A meter is cut off after 64 bytes, an endpoint after 256; use few different ones, such as route
// patterns, never paths.
//
// What is counted is gathered in memory and written about once a second, on [Manager.Close], and before [Account.Usage]
// answers; never twice, even when the store cannot say whether it was written. A crash loses what waits: the last second,
// or what was counted since the store went away. While it is away counts are added up; when more than about 100,000
// different ones wait, further ones are dropped, and Options.Logger hears of it. Today is the day of the latest call that
// looked at the clock, such as a Verify: within the second after midnight, a count may still be yesterday's.
func (a Access) Count(meter, endpoint string, n int64) { a.CountCredits(meter, endpoint, n, 0) }

// CountCredits is Count with the credits that were spent on it. It takes them from no purse: that is what
// [Access.Charge] and [Access.Reserve] are for, which in turn count nothing here. A negative n or c counts nothing.
func (a Access) CountCredits(meter, endpoint string, n int64, c Credits) {
	if a.set == nil || n < 0 || c < 0 || n|int64(c) == 0 {
		return
	}
	if len(meter) > maxMeter {
		meter = meter[:maxMeter]
	}
	if len(endpoint) > maxEndpoint {
		endpoint = endpoint[:maxEndpoint]
	}
	a.m.meters.add(usageKey{owner: a.who.owner, client: a.who.client.ID, meter: meter, endpoint: endpoint, token: a.id},
		n, int64(c))
}

// Usage sums what was counted, by the columns q names, with all that this process has counted so far. The zero query is
// one sum of everything. Who acts needs read on "latchkey/usage". [ErrInvalid] for an unknown column, and for a From or
// To that is no day (2006-01-02).
func (a Account) Usage(ctx context.Context, q UsageQuery) ([]UsageRow, error) {
	c, err := a.begin(ctx)
	if err == nil {
		err = c.check(Read, "usage", "")
	}
	if err != nil {
		return nil, err
	}
	for _, day := range []string{q.From, q.To} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return nil, fmt.Errorf("%w: %q is no day: write 2006-01-02", ErrInvalid, day)
		}
	}
	if err := a.m.meters.flush(ctx); err != nil {
		return nil, err
	}
	return a.m.store.Usage(ctx, a.owner, q)
}

// Spent is the credits counted by [Access.CountCredits] in a calendar month in UTC ("2026-11"), for a token, or for all
// of the owner's if tokenID is "", on one meter, or on all if meter is "". It is a sum of usage, not the state of a
// purse: what was reserved or charged and not counted is not in it, and what a minted token counted is its own, not its
// parent's. Who acts needs read on "latchkey/usage".
func (a Account) Spent(ctx context.Context, tokenID, meter, period string) (Credits, error) {
	month, err := time.Parse("2006-01", period)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is no month: write 2006-01", ErrInvalid, period)
	}
	q := UsageQuery{From: month.Format(time.DateOnly), To: month.AddDate(0, 1, -1).Format(time.DateOnly)}
	if tokenID != "" {
		q.TokenIDs = []string{tokenID}
	}
	if meter != "" {
		q.Meters = []string{meter}
	}
	rows, err := a.Usage(ctx, q)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].Credits, nil
}
