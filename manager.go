package latchkey

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/coalesce"
	"github.com/latchkey-go/latchkey/internal/credits"
	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/ratelimit"
	"github.com/latchkey-go/latchkey/internal/slowhash"
	"github.com/latchkey-go/latchkey/internal/tokencache"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Manager verifies and mints tokens over one store. Make one per store and process with [New]. It is safe for
// concurrent use. Between calls it runs short background goroutines only: they write last uses and usage, and take and
// return leases of credits. With Options.MaxStale they also read the store's changes ahead of time. [Manager.Close]
// waits for them.
type Manager struct {
	store     Store
	opts      Options
	code      codeRoles
	cache     *rightsCache
	answers   answers
	recent    recentFacts
	lists     roleLists
	followers atomic.Pointer[[]*follower] // of the feeds that were used so far, at the places of their numbers in cache
	following sync.Mutex                  // excludes those who add one
	loads     *coalesce.Keyed[loadKey, Found]
	uses      *usage.LastUsed
	counters  *usage.Counters
	rates     *ratelimit.Limiter
	credits   *credits.Pool

	slow        *slowhash.Guard // of hashes that other systems made
	lookupRates *Limiter        // of comparisons with one of them
	ids         *uuidv7.Maker
	readingSalt [32]byte // of the digests by which the cache has the parents of stateless tokens
	// readingSeeds are of those that name no roles.
	readingSeeds [2]maphash.Seed
	seen         [4096]atomic.Uint64 // of texts of stateless tokens: see seenBefore

	made       time.Time    // by time.Now
	hostClock  bool         // Options.Clock is not time.Now
	day        atomic.Int32 // since 1970, in UTC, by the latest reading of the clock
	purgeClock stepWatch    // the clock as of the last Purge
	agreedMax  atomic.Int64 // µs: the latest time of the store's clock with which this machine's agreed
	misses     atomic.Int64 // of Verify: it read the store
	failures   failureCounts
	lost       lossCounts
	backSince  atomic.Int64 // µs: where both clocks started anew after being set back to before agreedMax; 0: not so
}

// New returns a Manager over store. Nil options are ready to use. The options are copied. New does not use the store.
// It panics on a nil store and on invalid options, with a text that says what to correct.
func New(store Store, opts *Options) *Manager {
	if store == nil {
		panic("latchkey: New needs a Store: memstore.New(nil) is one")
	}
	m := &Manager{store: store}
	if opts != nil {
		m.opts = *opts
	}
	o := &m.opts
	var err error
	if m.code, err = o.prepare(); err != nil {
		panic("latchkey: " + err.Error())
	}
	m.warnDeclared()
	m.made = time.Now()
	if m.hostClock = o.Clock != nil; !m.hostClock {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Observer.StoreCall != nil {
		m.store = &observedStore{store, m}
	}
	setDefault(&o.MaxDepth, 4)
	setDefault(&o.CacheTokens, 1_000_000)
	setDefault(&o.KeepExpired, 24*time.Hour)
	setDefault(&o.KeepRevoked, 30*24*time.Hour)
	setDefault(&o.SignatureSkew, 15*time.Minute)
	m.ids = uuidv7.NewMaker(o.Rand)
	m.readingSeeds = [...]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	_, _ = rand.Read(m.readingSalt[:]) // it never fails, and ends the program if the system has no randomness
	m.cache = tokencache.New[compiled, principal](max(o.CacheTokens, 0))
	m.cache.Dropped = func(owner string, id [16]byte, seen int64) { m.uses.Noted(owner, uuidv7.Text(id), seen) }
	m.followers.Store(new([]*follower))
	m.loads = coalesce.NewKeyed[loadKey, Found](10 * time.Microsecond)
	m.uses = usage.NewLastUsed(lastUsedSink{m}, o.CacheTokens)
	m.counters = usage.NewCounters(counterSink{m})
	m.purgeClock.last = o.Clock()
	var setClock func() time.Time // a clock that may be set is read under the limiter's locks
	if m.hostClock {
		setClock = o.Clock
	}
	m.rates = ratelimit.New(m.purgeClock.last, setClock)
	if o.Legacy != nil {
		m.slow, m.lookupRates = slowhash.NewGuard(), NewLimiter(lookupRate, o.Clock)
	}
	var leaseSize func(limit int64) int64
	if size := o.CreditLease; size != nil {
		leaseSize = func(limit int64) int64 { return int64(size(Credits(limit))) }
	}
	m.credits = credits.New(creditHost{m}, leaseSize)
	return m
}

// Validate returns what [New] panics on. It is for options that come from a file or from flags. A nil *Options is
// valid. Errors wrap ErrInvalid.
func (o *Options) Validate() error {
	if o == nil {
		return nil
	}
	c := *o
	_, err := c.prepare()
	if err != nil && !errors.Is(err, ErrInvalid) {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return err
}

// prepare replaces what the host could still change by copies, and returns the roles of Options.Roles.
func (o *Options) prepare() (codeRoles, error) {
	switch {
	case o.Prefix != "" && !tokentext.ValidMark(o.Prefix):
		return codeRoles{}, errors.New("Options.Prefix must be 1 to 8 characters of a-z and 0-9, or empty")
	case o.MaxStale < 0:
		return codeRoles{}, errors.New(
			"Options.MaxStale is negative: set 0 to read the store's epoch for every Verify, or a positive bound")
	case o.MaxDepth < 0 || o.MaxDepth > 32:
		return codeRoles{}, errors.New("Options.MaxDepth must be 1 to 32, or 0 for 4")
	case o.SignatureSkew < 0:
		return codeRoles{}, errors.New("Options.SignatureSkew is negative: set a positive skew, or 0 for 15 minutes")
	case o.LastUseAddress > NoAddress:
		return codeRoles{}, errors.New("Options.LastUseAddress must be WholeAddress, NetworkAddress or NoAddress")
	case o.KeepEvents > 0 && o.KeepEvents < time.Hour:
		return codeRoles{}, errors.New("Options.KeepEvents is less than an hour: set more, or 0 to keep events for ever")
	}
	if wrong := o.Legacy.check(); wrong != "" {
		return codeRoles{}, errors.New(wrong)
	}
	o.Legacy = o.Legacy.clone()
	if o.Catalogue != nil {
		declared, err := o.Catalogue.clone()
		if err != nil {
			return codeRoles{}, fmt.Errorf("Options.Catalogue: %w", err)
		}
		o.Catalogue = declared
	}
	code, err := newCodeRoles(o.Roles)
	if err != nil {
		return codeRoles{}, err
	}
	return code, checkDeclared(o.Catalogue, code.list)
}

// Catalogue returns the Manager's copy of Options.Catalogue, or nil. It must not be changed.
func (m *Manager) Catalogue() *Catalogue { return m.opts.Catalogue }

// Wake reads the store's changes in the background, by a read that begins after the call, in each feed that was used so
// far. Call it when a LISTEN connection is notified (sqlstore.NotifyChannel), and when one was reconnected, because it
// may have missed notifications. Concurrent calls share a read. If Options.MaxStale is 0, Wake does nothing. The bound
// of MaxStale does not depend on it: a missed call or a failed read does no harm.
func (m *Manager) Wake() {
	if m.opts.MaxStale > 0 {
		for _, f := range *m.followers.Load() {
			f.requestPoll()
		}
	}
}

// Purge removes expired and revoked records (see Options.KeepExpired, Options.KeepRevoked, Options.KeepUsageDays,
// Options.KeepEvents and [Store.Purge]) in bounded batches, until none is left or ctx ends. It returns how many it
// removed. Call it regularly, hourly say. Several nodes may call it at once.
//
// What is removed cannot be restored, so Purge does not trust one clock. It removes what has ended by the store's clock
// and by this machine's. It removes nothing and returns [ErrUnavailable] while the clocks are more than a minute apart.
// Of a store with several feeds, each goes by its own clock. One that cannot be read does not keep the others waiting.
// It also does so once if this machine's clock was set by more than a minute since the last Purge. The next Purge goes
// by the new time.
func (m *Manager) Purge(ctx context.Context) (int, error) {
	feeds := m.store.Feeds()
	clock := func() func() error { // checked once, when the first feed has been read
		var once sync.Once
		var err error
		return func() error {
			once.Do(func() { err = m.purgeClock.check(m.opts.Clock()) })
			return err
		}
	}()
	removed, errs := make([]int, len(feeds)), make([]error, len(feeds))
	var all sync.WaitGroup
	for i, id := range feeds { // at once, so that none waits for one that does not answer
		all.Go(func() { removed[i], errs[i] = m.purgeFeed(ctx, id, ofFeed(id, len(feeds)), clock) })
	}
	all.Wait()
	total := 0
	for _, n := range removed {
		total += n
	}
	return total, errors.Join(errs...)
}

// purgeFeed is Purge for one feed, which where names in errors.
func (m *Manager) purgeFeed(ctx context.Context, id FeedID, where string, clock func() error) (total int, err error) {
	const batch = 500
	p, err := m.purgePolicy(ctx, id)
	if err == nil {
		err = clock()
	}
	if err != nil {
		return 0, fmt.Errorf("latchkey: nothing was purged%s: %w", where, err)
	}
	if err := m.announcePurge(ctx, &p); err != nil {
		return 0, fmt.Errorf("latchkey: nothing was purged%s: %w", where, err)
	}
	m.credits.RenewGroup(ctx, uint32(id)) // this process's leases are in use, and must not expire
	for {
		n, err := m.store.Purge(ctx, p, batch)
		total += n
		if err != nil {
			return total, fmt.Errorf("latchkey: not all was purged%s: %w", where, err)
		}
		if n < batch {
			return total, nil
		}
	}
}

// purgePolicy returns what is over in a feed, by its clock and this machine's.
func (m *Manager) purgePolicy(ctx context.Context, id FeedID) (PurgePolicy, error) {
	f, err := m.feed(id)
	if err != nil {
		return PurgePolicy{}, err
	}
	var r epochReading
	err = f.epoch(ctx, &r)
	if err != nil {
		return PurgePolicy{}, err
	}
	now := r.at.us
	if r.storeClock != 0 {
		now = min(now, r.storeClock)
	}
	return PurgePolicy{Feed: id, Now: fromMicros(now), Expired: m.opts.KeepExpired, Revoked: m.opts.KeepRevoked,
		Changes: max(24*time.Hour, 2*m.opts.MaxStale), UsageDays: m.opts.KeepUsageDays,
		UsageMonths: m.opts.KeepUsageMonths}, nil
}

// ofFeed names a feed in an error, if a store has several.
func ofFeed(id FeedID, of int) string {
	if of == 1 {
		return ""
	}
	return fmt.Sprintf(" in feed %d", id)
}

// Close writes the pending last uses and usage, returns leased credits, and waits for background work until ctx ends.
// It does not close the store, which is the host's. If it returns an error, some of that was not written. What is
// counted after Close is lost, so call it after the last request has been answered. Open Holds can still be settled,
// each with the store.
func (m *Manager) Close(ctx context.Context) error {
	return errors.Join(m.uses.Close(ctx), m.counters.Close(ctx), m.credits.Close(ctx),
		m.waitForPolls(ctx))
}

func (m *Manager) waitForPolls(ctx context.Context) error {
	var errs []error
	for _, f := range *m.followers.Load() {
		errs = append(errs, fault.WaitFor(ctx, &f.background))
	}
	return errors.Join(errs...)
}

// MayReveal reports whether there is an Options.Keyring. Without one no secret can be revealed.
func (m *Manager) MayReveal() bool { return m.opts.Keyring != nil }

// MaxStale returns Options.MaxStale: how long after a change answers may not reflect it yet.
func (m *Manager) MaxStale() time.Duration { return m.opts.MaxStale }

// write sets the id and the times of w and writes it. After an unknown outcome it writes the same w again, which a
// store applies once.
func (m *Manager) write(ctx context.Context, w Write) error {
	now := m.creationNow()
	var err error
	if w.ID, err = m.ids.New(now); err != nil {
		return err
	}
	return m.writeAs(ctx, &w, now)
}

// writeAs is write of what has its id already, at the time now, in µs.
func (m *Manager) writeAs(ctx context.Context, w *Write, now int64) error {
	w.At = fromMicros(now)
	for i := range w.Events {
		w.Events[i].At = w.At
		w.Events[i].Owner = w.Owner
	}
	if len(w.Events) > 0 {
		w.Seal = m.opts.Keyring.auditKey().sealer(w.Owner, w.Events)
	}
	if err := fault.UntilKnown(ctx, func() error { return m.store.Write(ctx, *w) }); err != nil {
		if !w.Silent && errors.Is(err, ErrUnknownOutcome) {
			m.markStale(w.Owner)
		}
		return err
	}
	if !w.Silent && m.opts.MaxStale > 0 {
		// This process's own changes take effect here at once, whatever the bound.
		f, err := m.feedOf(w.Owner)
		if err == nil {
			err = f.refresh(ctx)
		}
		if err != nil {
			m.markStale(w.Owner)
		}
	}
	if m.opts.Observer.Changed != nil {
		for _, e := range w.Events {
			m.changed(ctx, e)
		}
	}
	return nil
}

// warn tells of a failure that no caller sees. The error may be nil.
func (m *Manager) warn(ctx context.Context, part failurePart, msg string, err error) {
	m.fail(ctx, part, Failure{Message: msg, Err: err})
}

// fail tells Options.Logger, the observer and Stats of a failure in a part.
func (m *Manager) fail(ctx context.Context, part failurePart, f Failure) {
	m.failures[part].Add(1)
	m.lost[part].Add(f.Lost)
	f.Part = partNames[part]
	if m.opts.Logger != nil {
		if f.Err != nil {
			m.opts.Logger.Warn(f.Message, "error", f.Err.Error())
		} else {
			m.opts.Logger.Warn(f.Message)
		}
	}
	if m.opts.Observer.Failed == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil && m.opts.Logger != nil {
			m.opts.Logger.Warn("latchkey: Observer.Failed panicked", "error", fmt.Sprint(p))
		}
	}()
	m.opts.Observer.Failed(ctx, f)
}
