package latchkey

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/internal/coalesce"
	"github.com/latchkey-go/latchkey/internal/credits"
	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/ratelimit"
	"github.com/latchkey-go/latchkey/internal/tokencache"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/usage"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Manager verifies and mints tokens over one store. Make one per store and process with [New]; it is safe for
// concurrent use and runs no goroutine of its own between calls, apart from short ones that write last uses and usage,
// take and return leases of credits, and, with Options.MaxStale, read the store's changes ahead of time.
// [Manager.Close] waits for those.
type Manager struct {
	store    Store
	opts     Options
	cache    *rightsCache
	follow   *follower
	loads    *coalesce.Keyed[loadKey, Found]
	uses     *usage.LastUsed
	counters *usage.Counters
	rates    *ratelimit.Limiter
	credits  *credits.Pool
	made     time.Time // by time.Now
	looked   jumpWatch // at the clock, by Purge
	// hostClock says that Options.Clock is not time.Now.
	hostClock bool
	high      atomic.Int64 // µs: the latest time of the store's clock that this machine's agreed with
	back      atomic.Int64 // µs: where both began to go on, after they had been set back to before high; 0: they were not
	checked   atomic.Int64 // µs: what this machine's clock said when the store's last agreed
	checkedAt atomic.Int64 // ns: what had passed then
	askCost   atomic.Int64 // ns: how long it took to ask, the last time

	ids *uuidv7.Maker
	day atomic.Int32 // since 1970, in UTC: as of the latest look at the clock
}

// New returns a Manager over store. Nil options are ready to use; they are copied. New does not touch the store. It
// panics on a nil store and on options that cannot work, with a sentence that says what to mend.
func New(store Store, opts *Options) *Manager {
	if store == nil {
		panic("latchkey: New needs a Store: memstore.New(nil) is one")
	}
	m := &Manager{store: store}
	if opts != nil {
		m.opts = *opts
	}
	o := &m.opts
	if o.Prefix != "" && !tokentext.ValidMark(o.Prefix) {
		panic("latchkey: Options.Prefix must be 1 to 8 characters of a-z and 0-9, or empty")
	}
	if o.MaxStale < 0 {
		panic("latchkey: Options.MaxStale is negative: 0 asks the store every time, more is the bound")
	}
	if o.MaxDepth < 0 || o.MaxDepth > 32 {
		panic("latchkey: Options.MaxDepth must be 1 to 32, or 0 for 4")
	}
	if o.SignatureSkew < 0 {
		panic("latchkey: Options.SignatureSkew is negative: 0 is 15 minutes")
	}
	m.made = time.Now()
	if m.hostClock = o.Clock != nil; !m.hostClock {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	setDefault(&o.MaxDepth, 4)
	setDefault(&o.CacheTokens, 1_000_000)
	setDefault(&o.KeepExpired, 24*time.Hour)
	setDefault(&o.KeepRevoked, 30*24*time.Hour)
	setDefault(&o.SignatureSkew, 15*time.Minute)
	m.ids = uuidv7.NewMaker(o.Rand)
	m.cache = tokencache.New[compiled, principal](max(o.CacheTokens, 0))
	m.follow = newFollower(m)
	m.loads = coalesce.NewKeyed[loadKey, Found](10 * time.Microsecond)
	m.uses = usage.NewLastUsed(lastUsedSink{m}, o.CacheTokens)
	m.counters = usage.NewCounters(counterSink{m})
	m.looked.last = o.Clock()
	var setClock func() time.Time // one that may be set is read in the limiter's locks
	if m.hostClock {
		setClock = o.Clock
	}
	m.rates = ratelimit.New(m.looked.last, setClock)
	var leaseSize func(limit int64) int64
	if size := o.CreditLease; size != nil {
		leaseSize = func(limit int64) int64 { return int64(size(Credits(limit))) }
	}
	m.credits = credits.New(creditHost{m}, leaseSize)
	return m
}

// Wake makes the Manager read the store's changes in the background, by a read that begins after the call. Call it when
// a LISTEN connection is notified (sqlstore.NotifyChannel), and when one was reconnected, for what it may have missed.
// Many calls at once share a read. Without MaxStale it does nothing. A call that is missed, or a read that fails, does
// no harm: the bound is kept without it.
func (m *Manager) Wake() {
	if m.opts.MaxStale > 0 {
		m.follow.requestPoll()
	}
}

// Purge removes what is over (see Options.KeepExpired and Options.KeepRevoked) in bounded batches until nothing is left
// or ctx ends, and says how many things it removed. Call it from time to time, hourly say;
// several nodes may do so at once.
//
// What is removed cannot be brought back, so nothing is on the word of one clock: over is what is over by the store's
// clock and by this machine's. While they are more than a minute apart it removes nothing, which is [ErrUnavailable].
// So is a clock of this machine that was set by more than a minute since the last Purge: the next one goes by it.
func (m *Manager) Purge(ctx context.Context) (int, error) {
	const batch = 500
	r, err := m.follow.epoch(ctx)
	if err == nil {
		err = m.looked.jump(m.opts.Clock())
	}
	if err != nil {
		return 0, fmt.Errorf("latchkey: nothing was purged: %w", err)
	}
	now := r.at.us
	if r.store != 0 {
		now = min(now, r.store)
	}
	p := PurgePolicy{Now: fromMicros(now), Expired: m.opts.KeepExpired, Revoked: m.opts.KeepRevoked}
	p.Changes = max(24*time.Hour, 2*m.opts.MaxStale)
	m.credits.Renew(ctx) // what this process has taken in advance is in use, and must not expire
	total := 0
	for {
		n, err := m.store.Purge(ctx, p, batch)
		total += n
		if err != nil || n < batch {
			return total, err
		}
	}
}

// Close writes the last uses and the usage that still wait, returns credits taken in advance, and waits for
// background work until ctx ends. The store stays open: it is the host's. If it returns an error, some of that was not
// written. What is counted after Close is lost, so call it after the last request has been answered. Holds that are
// still open can be settled as before, each with the store.
func (m *Manager) Close(ctx context.Context) error {
	return errors.Join(m.uses.Close(ctx), m.counters.Close(ctx), m.credits.Close(ctx),
		fault.WaitFor(ctx, &m.follow.background))
}

func (m *Manager) warn(msg string, err error) {
	if m.opts.Logger == nil {
		return
	}
	if err != nil {
		m.opts.Logger.Warn(msg, "error", err.Error())
	} else {
		m.opts.Logger.Warn(msg)
	}
}

// write gives w its id and writes it. An unknown outcome is settled by writing the same again.
func (m *Manager) write(ctx context.Context, w Write) (uint64, error) {
	now := m.present()
	var err error
	if w.ID, err = m.ids.New(now); err != nil {
		return 0, err
	}
	w.At = fromMicros(now)
	for i := range w.Events {
		w.Events[i].At = w.At
		w.Events[i].Owner = w.Owner
	}
	var epoch uint64
	if err := fault.UntilKnown(ctx, func() (err error) {
		epoch, err = m.store.Write(ctx, w)
		return err
	}); err != nil {
		if !w.Silent && errors.Is(err, ErrUnknownOutcome) {
			m.follow.markStale()
		}
		return 0, err
	}
	if !w.Silent && m.opts.MaxStale > 0 {
		// This process answers from its own changes at once, whatever the bound.
		if err := m.follow.catchUp(ctx, epoch); err != nil {
			m.follow.markStale()
		}
	}
	if m.opts.Events != nil {
		for _, e := range w.Events {
			m.opts.Events(ctx, e)
		}
	}
	return epoch, nil
}

// MayReveal says whether there is an Options.Keyring, without which no secret is ever shown again.
func (m *Manager) MayReveal() bool { return m.opts.Keyring != nil }

// MaxStale is Options.MaxStale: how long after a change answers may still be given as if it had not been made.
func (m *Manager) MaxStale() time.Duration { return m.opts.MaxStale }
