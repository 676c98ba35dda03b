package latchkey

import (
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/ratelimit"
	"github.com/latchkey-go/latchkey/internal/usage"
)

// Stats are the present levels of a [Manager], and what it counted since [New]. They hold no ids and no secrets. Their
// JSON has durations in nanoseconds.
//
// What happens more often than once a read of the store is not counted here, because counting it would cost a cached
// Verify more than it takes to look the token up: hits of the cache, refusals and mints. [Observer] has them.
type Stats struct {
	Cache CacheStats `json:"cache"`
	// MaxStale is Options.MaxStale, beside the Age of each feed.
	MaxStale time.Duration `json:"max_stale_ns"`
	// Feeds are the feeds that were used so far, in the order of their first use. A plain store has one, FeedID 0.
	Feeds   []FeedStats  `json:"feeds"`
	Leases  LeaseStats   `json:"leases"`
	Usage   QueueStats   `json:"usage"`    // counts that wait to be written
	LastUse QueueStats   `json:"last_use"` // last uses that wait to be written
	Rates   LimiterStats `json:"rates"`    // of tokens and owners with a Rate
	// Failures are how often Observer.Failed was called, or would have been, by Failure.Part. All parts are there.
	Failures map[string]int64 `json:"failures"`
}

// CacheStats are those of the cache of verified tokens.
type CacheStats struct {
	Records  int   `json:"records"`  // that are held, also those that a change has ended, until room is made
	Capacity int   `json:"capacity"` // how many may be held: twice Options.CacheTokens; 0: none is cached
	Misses   int64 `json:"misses"`   // a Verify that read the store for its token, found or not
	Loads    int64 `json:"loads"`    // tokens that were put into the cache
	Evicted  int64 `json:"evicted"`  // valid tokens that were dropped because the cache was full
}

// FeedStats are those of one feed of the store.
type FeedStats struct {
	Feed  FeedID `json:"feed"`
	Epoch uint64 `json:"epoch"` // up to which the cache reflects the changes

	// Age is how long ago the feed was last read with success: -1 if it never was, or if the clock was set. With
	// Options.MaxStale a feed is read because a token of it is verified. So the Age of a feed that nobody uses grows, and
	// that is no fault. Without it, each Verify reads the feed, and Age is exact to an eighth of a second.
	Age time.Duration `json:"age_ns"`

	// Failing is for how long every reading of the feed has failed, or shown that the clocks differ: since the first
	// failure that no success followed. 0: the latest one succeeded. What a caller canceled is no failure. When Age
	// exceeds MaxStale meanwhile, Verify fails closed.
	Failing time.Duration `json:"failing_ns"`
	Failed  int64         `json:"failed"` // readings that failed; many callers may share one
}

// LeaseStats are those of credits that this process holds in advance. See Options.CreditLease.
type LeaseStats struct {
	Open int `json:"open"` // leases that are held, of all meters together
}

// QueueStats are those of what is written behind.
type QueueStats struct {
	// Waiting is how many rows wait. Those that are just being written are among them only if they failed before. A count
	// that several processors gathered within a second may be among them more than once.
	Waiting  int   `json:"waiting"`
	Capacity int   `json:"capacity"` // how many rows of one feed may wait before further ones are dropped
	Dropped  int64 `json:"dropped"`  // counts or last uses that are lost for good
}

// LimiterStats are those of a table of rates.
type LimiterStats struct {
	Keys     int `json:"keys"`     // that are remembered
	Capacity int `json:"capacity"` // how many can be; when all are taken, and none can be forgotten, new ones are refused
}

// Stats returns the present levels. It takes a few microseconds, and no lock for long: call it for each scrape, not for
// each request. It does not ask the store. It is safe for concurrent use, but the levels are of slightly different
// moments. To publish them with expvar:
//
//	expvar.Publish("latchkey", expvar.Func(func() any { return keys.Stats() }))
func (m *Manager) Stats() Stats {
	cache := m.cache.Stats()
	s := Stats{
		Cache: CacheStats{Records: int(cache.Records), Capacity: int(cache.Capacity), Misses: m.misses.Load(),
			Loads: cache.Loads, Evicted: cache.Evicted},
		MaxStale: m.opts.MaxStale,
		Leases:   LeaseStats{Open: m.credits.Leases()},
		Usage:    QueueStats{Waiting: m.counters.Waiting(), Capacity: usage.CountRoom, Dropped: m.lost[partUsage].Load()},
		LastUse:  QueueStats{Waiting: m.uses.Waiting(), Capacity: usage.UseRoom, Dropped: m.lost[partLastUse].Load()},
		Rates:    LimiterStats{Keys: m.rates.Keys(), Capacity: ratelimit.MaxKeys},
		Failures: m.failures.all(),
	}
	followers := *m.followers.Load()
	s.Feeds = make([]FeedStats, len(followers))
	for i, f := range followers {
		s.Feeds[i] = f.stats()
	}
	return s
}

// failurePart is a Failure.Part, by its index in partNames.
type failurePart int

const (
	partFeed failurePart = iota
	partUsage
	partLastUse
	partLease
	partSecret
	partDeliver
	partObserver
	partCount
)

var partNames = [partCount]string{"feed", "usage", "last_use", "lease", "secret", "deliver", "observer"}

// failureCounts counts failures by part, and lossCounts what they lost.
type failureCounts [partCount]atomic.Int64
type lossCounts [partCount]atomic.Int64

func (c *failureCounts) all() map[string]int64 {
	all := make(map[string]int64, partCount)
	for part := range c {
		all[partNames[part]] = c[part].Load()
	}
	return all
}
