package latchkey_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

const ms = time.Millisecond

func TestLimiter(t *testing.T) {
	type ask struct {
		at        time.Duration
		ok        bool
		remaining int
		reset     time.Duration
		retry     time.Duration
	}
	for name, c := range map[string]struct {
		rate  latchkey.Rate
		limit int
		asks  []ask
	}{
		"one a second": {latchkey.Rate{Count: 1, Per: time.Second}, 1, []ask{
			{0, true, 0, 1000 * ms, 1000 * ms},
			{0, false, 0, 1000 * ms, 1000 * ms},
			{999 * ms, false, 0, 1 * ms, 1 * ms},
			{1000 * ms, true, 0, 1000 * ms, 1000 * ms},
			{5000 * ms, true, 0, 1000 * ms, 1000 * ms}, // a rest saves nothing up
			{5000 * ms, false, 0, 1000 * ms, 1000 * ms},
		}},
		"two a second, two more at once": {latchkey.Rate{Count: 2, Per: time.Second, Burst: 2}, 3, []ask{
			{0, true, 2, 500 * ms, 0},
			{0, true, 1, 1000 * ms, 0},
			{0, true, 0, 1500 * ms, 500 * ms},
			{0, false, 0, 1500 * ms, 500 * ms},
			{499 * ms, false, 0, 1001 * ms, 1 * ms},
			{500 * ms, true, 0, 1500 * ms, 500 * ms},
			{1000 * ms, true, 0, 1500 * ms, 500 * ms},
			{1999 * ms, true, 0, 1001 * ms, 1 * ms},
			{2000 * ms, true, 0, 1500 * ms, 500 * ms},
			{3500 * ms, true, 2, 500 * ms, 0}, // all came back, and no more
			{3500 * ms, true, 1, 1000 * ms, 0},
			{3500 * ms, true, 0, 1500 * ms, 500 * ms},
			{3500 * ms, false, 0, 1500 * ms, 500 * ms},
			{0, false, 0, 1500 * ms, 500 * ms}, // a clock set back refills nothing
			{3500 * ms, false, 0, 1500 * ms, 500 * ms},
			{4000 * ms, true, 0, 1500 * ms, 500 * ms},
		}},
		"a whole Per's worth at once": {latchkey.Rate{Count: 60, Per: 3 * time.Second, Burst: 59}, 60, []ask{
			{0, true, 59, 50 * ms, 0},
			{10 * ms, true, 58, 90 * ms, 0},
			{50 * ms, true, 58, 100 * ms, 0},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
			now := start
			l := latchkey.NewLimiter(c.rate, func() time.Time { return now })
			for i, a := range c.asks {
				now = start.Add(a.at)
				ok, info := l.Allow("k")
				require.Equal(t, a.ok, ok, "%d: %+v", i, info)
				require.Equal(t, latchkey.RateInfo{Limit: c.limit, Remaining: a.remaining, Reset: a.reset, RetryAfter: a.retry,
					Window: time.Duration(c.limit) * c.rate.Per / time.Duration(c.rate.Count)}, info, "%d", i)
			}
			ok, _ := l.Allow("another")
			require.True(t, ok, "keys do not share a rate")
		})
	}
}

func TestLimiterLetsNoMoreThanCountAndBurstPassInAnyPer(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		r := latchkey.Rate{Count: 1 + random.IntN(7), Per: time.Duration(1+random.IntN(50)) * ms, Burst: random.IntN(5)}
		now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
		l := latchkey.NewLimiter(r, func() time.Time { return now })
		var passed []time.Time
		for range 500 {
			now = now.Add(time.Duration(random.Int64N(int64(2*r.Per) / int64(r.Count))).Truncate(time.Microsecond))
			ok, info := l.Allow("k")
			if ok {
				passed = append(passed, now)
			} else { // it says truly when
				now = now.Add(info.RetryAfter + time.Microsecond)
				ok, _ = l.Allow("k")
				require.True(t, ok, "%+v %+v", r, info)
				passed = append(passed, now)
			}
		}
		for i, first := range passed {
			n := 0
			for _, at := range passed[i:] {
				if at.Sub(first) < r.Per {
					n++
				}
			}
			require.LessOrEqual(t, n, r.Count+r.Burst, "%+v", r)
		}
	}
}

// A step that is no whole number of nanoseconds is rounded up: rounded down it would let more pass.
func TestLimiterRoundsAgainstTheCaller(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	l := latchkey.NewLimiter(latchkey.Rate{Count: 7000, Per: 10 * ms, Burst: 10}, func() time.Time { return now })
	passed := 0
	for range 10_000 {
		for range 20 {
			if ok, _ := l.Allow("k"); ok {
				passed++
			}
		}
		now = now.Add(time.Microsecond)
	}
	require.LessOrEqual(t, passed, 7010)
	require.Greater(t, passed, 7000)
}

func TestLimiterIsBoundedAndForgetsNobodyEarly(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs beside it: the run without the race detector is enough")
	}
	const keys = 1 << 20
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	l := latchkey.NewLimiter(latchkey.Rate{Count: 1, Per: time.Hour}, func() time.Time { return now })
	key := func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }
	for i := range 1000 {
		ok, _ := l.Allow(key(i))
		require.True(t, ok)
	}
	admitted := 1000
	for i := 1000; i < keys+keys/4; i++ { // a flood of addresses
		if ok, info := l.Allow(key(i)); ok {
			admitted++
		} else {
			require.Positive(t, info.RetryAfter)
			require.Zero(t, info.Remaining)
		}
	}
	assert.LessOrEqual(t, admitted, keys)
	assert.Greater(t, admitted, keys*9/10)
	for i := range 1000 {
		ok, _ := l.Allow(key(i))
		require.False(t, ok, "the flood washed away keys that had their turn")
	}
	now = now.Add(time.Hour)
	for i := range 1000 {
		ok, _ := l.Allow(fmt.Sprint("new ", i))
		require.True(t, ok, "those whose time has come make room")
	}
}

func TestLimiterKeys(t *testing.T) {
	l := latchkey.NewLimiter(latchkey.Rate{Count: 1, Per: time.Hour}, nil)
	for _, key := range []string{"", "\x00", "a", "a\x00", "0123456789abcde", "0123456789abcdef", "0123456789abcdeg"} {
		ok, _ := l.Allow(key)
		assert.True(t, ok, "%q is another", key)
		ok, _ = l.Allow(key)
		assert.False(t, ok, key)
	}
	open := latchkey.NewLimiter(latchkey.Rate{}, nil)
	for range 10 {
		ok, info := open.Allow("a")
		assert.True(t, ok)
		assert.Zero(t, info)
	}
}

func (w *world) refusesRate(r latchkey.Rate, why string) {
	w.Helper()
	limits := latchkey.Limits{Rate: r}
	_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: limits})
	w.is(latchkey.ErrInvalid, err)
	require.ErrorContains(w, err, why)
	err = w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Limits = limits; return nil })
	w.is(latchkey.ErrInvalid, err)
	require.ErrorContains(w, err, why)
}

func TestRatesThatAreNone(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		r   latchkey.Rate
		why string
	}{
		"no Per":              {latchkey.Rate{Count: 1}, "Per must be positive"},
		"no Count":            {latchkey.Rate{Per: time.Second}, "Count must be positive"},
		"Burst alone":         {latchkey.Rate{Burst: 1}, "Count must be positive"},
		"negative Count":      {latchkey.Rate{Count: -1, Per: time.Second}, "Count must be positive"},
		"negative Per":        {latchkey.Rate{Count: 1, Per: -time.Second}, "Per must be positive"},
		"negative Burst":      {latchkey.Rate{Count: 1, Per: time.Second, Burst: -1}, "Burst is negative"},
		"an endless Per":      {latchkey.Rate{Count: 1, Per: math.MaxInt64}, "Per is more than 366 days"},
		"a Per beyond a year": {latchkey.Rate{Count: 1, Per: 366*24*time.Hour + 1}, "Per is more than 366 days"},
		"a Count beyond time": {latchkey.Rate{Count: math.MaxInt, Per: time.Second}, "one request per nanosecond"},
		"a Burst beyond a year": {latchkey.Rate{Count: 1, Per: time.Hour, Burst: math.MaxInt},
			"Burst takes more than 366 days"},
	} {
		func() {
			defer func() { assert.Contains(t, fmt.Sprint(recover()), c.why, name) }()
			latchkey.NewLimiter(c.r, nil)
		}()
		w.refusesRate(c.r, c.why)
	}
	least := latchkey.Rate{Count: 1, Per: time.Microsecond} // that is saved
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: latchkey.Limits{Rate: least}})
	least.Per--
	latchkey.NewLimiter(least, nil)
	w.refusesRate(least, "Per is shorter than a microsecond")
	for _, r := range []latchkey.Rate{{Count: math.MaxInt32, Per: 4 * time.Second}, {Count: 1, Per: 366 * 24 * time.Hour},
		{Count: 1000, Per: time.Second, Burst: 1 << 30}} {
		ok, info := latchkey.NewLimiter(r, nil).Allow("a")
		assert.True(t, ok)
		assert.Equal(t, r.Burst+1, info.Limit)
	}
}

// passes says how many of n Verifys of a secret pass. Others must be refused for their rate.
func (w *world) passes(n int, secret string) (passed int) {
	w.Helper()
	for range n {
		_, err := w.verify(secret)
		if err == nil {
			passed++
			continue
		}
		w.is(latchkey.ErrRateLimited, err)
		require.NotErrorIs(w, err, latchkey.ErrInvalidToken)
	}
	return passed
}

func perSecond(burst int) latchkey.Limits {
	return latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Second, Burst: burst}}
}

func TestVerifyHoldsTokensToTheirRate(t *testing.T) {
	w := newWorld(t)
	s := latchkey.Settings{Permissions: latchkey.Permissions{readAll()}, Limits: perSecond(2)}
	tok, secret := w.issue(latchkey.KindAPIKey, s)
	_, other := w.issue(latchkey.KindAPIKey, s)
	_, free := w.key(readAll())

	a := w.access(secret)
	info, ok := a.Rate()
	assert.True(t, ok)
	assert.Equal(t, latchkey.RateInfo{Limit: 3, Remaining: 2, Reset: time.Second, Window: 3 * time.Second}, info)
	assert.Equal(t, 2, w.passes(5, secret))
	_, err := w.verify(secret)
	var waiting interface{ RetryAfter() time.Duration }
	require.True(t, errors.As(err, &waiting))
	assert.Equal(t, time.Second, waiting.RetryAfter())
	var limited *latchkey.RateLimitError
	require.True(t, errors.As(err, &limited))
	assert.Equal(t, latchkey.RateInfo{Limit: 3, Reset: 3 * time.Second, Window: 3 * time.Second,
		RetryAfter: time.Second}, limited.Info)

	assert.Equal(t, 3, w.passes(5, other), "tokens of equal limits do not share them")
	assert.Equal(t, 5, w.passes(5, free))
	_, ok = w.access(free).Rate()
	assert.False(t, ok)

	w.turn(time.Second)
	_, err = a.Again(w.ctx)
	w.ok(err)
	assert.Equal(t, 1, w.passes(5, secret), "Again counts nothing")
	w.turn(-time.Hour)
	assert.Equal(t, 0, w.passes(5, secret), "a clock set back refills nothing")
	w.turn(time.Hour)

	w.update(tok, func(tok *latchkey.Token) { tok.Name = "again" })
	assert.Equal(t, 0, w.passes(5, secret), "nor does an edit")
	lookups := w.store.lookups.Load()
	assert.Equal(t, 0, w.passes(5, secret))
	assert.Equal(t, lookups, w.store.lookups.Load(), "nor does a refusal ask the store")
	w.update(tok, func(tok *latchkey.Token) { tok.Limits = perSecond(4) })
	assert.Equal(t, 2, w.passes(5, secret), "a wider limit bites at once")
	w.turn(time.Hour)
	w.update(tok, func(tok *latchkey.Token) { tok.Limits = perSecond(0) })
	assert.Equal(t, 1, w.passes(5, secret), "and so does a narrower one")
	w.update(tok, func(tok *latchkey.Token) { tok.Limits = latchkey.Limits{} })
	assert.Equal(t, 5, w.passes(5, secret))
}

func TestEveryRateOfTheChainCounts(t *testing.T) {
	w := newWorld(t)
	all := latchkey.Permissions{readAll()}
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: all, Limits: perSecond(9)})
	parent := w.access(secret) // 1 of the parent's 10
	_, tight := w.mint(parent, latchkey.Narrowing{Limits: perSecond(2), Lifetime: 48 * time.Hour})
	_, loose := w.mint(parent, latchkey.Narrowing{Limits: perSecond(99), Lifetime: 48 * time.Hour})
	_, plain := w.mint(parent, latchkey.Narrowing{Lifetime: 48 * time.Hour})

	assert.Equal(t, 3, w.passes(20, tight), "its own")
	assert.Equal(t, 6, w.passes(20, loose), "what its siblings left of the parent's; refusals counted nowhere")
	assert.Equal(t, 0, w.passes(20, plain))
	assert.Equal(t, 0, w.passes(20, secret), "use of a child counts for its parent")
	w.turn(time.Second)
	assert.Equal(t, 1, w.passes(20, plain))

	w.turn(time.Hour)
	w.configure(func(o *latchkey.Owner) { o.Limits = perSecond(4) })
	a := w.access(plain)
	info, ok := a.Rate()
	assert.True(t, ok)
	assert.Equal(t, latchkey.RateInfo{Limit: 5, Remaining: 4, Reset: time.Second, Window: 5 * time.Second}, info,
		"the tightest")
	_, free := w.key(readAll())
	assert.Equal(t, 2, w.passes(2, free))
	assert.Equal(t, 2, w.passes(20, loose))
	other, s, err := w.keys.For("other").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	assert.Equal(t, "other", other.Owner)
	assert.Equal(t, 9, w.passes(9, s.Reveal()), "another owner has its own")
	for range 9 {
		n, err := w.access(s.Reveal()).Narrow(w.ctx, latchkey.Narrowing{})
		w.ok(err)
		_, ok := n.Rate()
		assert.False(t, ok)
	}
}

// Of rates that let nothing more pass now, Rate tells of the one that takes longest, wherever in the chain it is.
func TestOfUsedUpRatesTheLongestIsTold(t *testing.T) {
	per := func(d time.Duration) latchkey.Limits { return latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: d}} }
	for name, c := range map[string]struct{ parent, child time.Duration }{
		"the parent's": {2 * time.Hour, time.Minute},
		"the child's":  {time.Minute, 2 * time.Hour},
	} {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()},
			Limits: per(c.parent)})
		_, text := w.mint(w.access(secret), latchkey.Narrowing{Limits: per(c.child), Lifetime: 9 * time.Hour})
		w.turn(3 * time.Hour)
		info, ok := w.access(text).Rate()
		require.True(t, ok)
		assert.Zero(t, info.Remaining, name)
		assert.Greater(t, info.RetryAfter, time.Hour, name)
	}
}

// Of rates that let some more pass now, Rate tells of the one that lets the fewest pass, whatever the others would make
// a caller wait later.
func TestOfRatesTheTightestIsTold(t *testing.T) {
	limits := func(burst int, per time.Duration) latchkey.Limits {
		return latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: per, Burst: burst}}
	}
	for name, c := range map[string]struct {
		parent, child latchkey.Limits
		left          int
	}{
		"the parent's": {limits(1, time.Minute), limits(5, 2*time.Hour), 1},
		"the child's":  {limits(5, 2*time.Hour), limits(1, time.Minute), 1},
	} {
		w := newWorld(t)
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()},
			Limits: c.parent})
		_, text := w.mint(w.access(secret), latchkey.Narrowing{Limits: c.child, Lifetime: 9 * time.Hour})
		w.turn(3 * time.Hour)
		info, ok := w.access(text).Rate()
		require.True(t, ok)
		assert.Equal(t, c.left, info.Remaining, name)
	}
}

// A rate that was taken away elsewhere and is set again begins anew, of a token as of the owner.
func TestARateThatIsSetAgainBeginsAnew(t *testing.T) {
	day := latchkey.Rate{Count: 1, Per: 24 * time.Hour}
	for _, of := range []string{"token", "owner", "parent"} {
		w := newWorld(t)
		parent, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()}})
		token, text := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: 9 * time.Hour})
		options := w.options()
		elsewhere := latchkey.New(w.store, &options).For("acme")
		set := func(r latchkey.Rate) {
			var err error
			change := func(t *latchkey.Token) error { t.Limits.Rate = r; return nil }
			switch of {
			case "owner":
				err = elsewhere.Configure(w.ctx, func(o *latchkey.Owner) error { o.Limits.Rate = r; return nil })
			case "parent":
				_, err = elsewhere.Update(w.ctx, parent.ID, change)
			default:
				_, err = elsewhere.Update(w.ctx, token.ID, change)
			}
			w.ok(err)
		}
		set(day)
		w.access(text)
		_, err := w.verify(text)
		require.ErrorIs(t, err, latchkey.ErrRateLimited, of)
		set(latchkey.Rate{})
		w.access(text)
		set(day)
		_, err = w.verify(text)
		require.NoError(t, err, of)
		_, err = w.verify(text)
		require.ErrorIs(t, err, latchkey.ErrRateLimited, of)
	}
}

// A rate that is taken away here is forgotten at once, also if its token is not used in between.
func TestARateThatIsTakenAwayHereIsForgotten(t *testing.T) {
	day := latchkey.Rate{Count: 1, Per: 24 * time.Hour}
	for _, of := range []string{"token", "owner"} {
		w := newWorld(t)
		token, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{readAll()}})
		set := func(r latchkey.Rate) {
			if of == "owner" {
				w.configure(func(o *latchkey.Owner) { o.Limits.Rate = r })
			} else {
				w.update(token, func(t *latchkey.Token) { t.Limits.Rate = r })
			}
		}
		set(day)
		w.access(secret)
		_, err := w.verify(secret)
		w.is(latchkey.ErrRateLimited, err)
		set(latchkey.Rate{Count: 1, Per: 25 * time.Hour})
		_, err = w.verify(secret)
		w.is(latchkey.ErrRateLimited, err) // of another rate it knows what passed
		set(latchkey.Rate{})
		set(day)
		w.access(secret)
		_, err = w.verify(secret)
		w.is(latchkey.ErrRateLimited, err)
	}
}

func TestARefusedRequestCountsNowhere(t *testing.T) {
	w := newWorld(t)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: perSecond(0)})
	slow := latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour, Burst: 1}}
	_, child := w.mint(w.access(secret), latchkey.Narrowing{Limits: slow})
	assert.Equal(t, 0, w.passes(5, child), "the parent's rate refuses")
	for range 2 {
		w.turn(time.Second)
		assert.Equal(t, 1, w.passes(5, child), "its own has lost nothing by that")
	}
	w.turn(time.Second)
	assert.Equal(t, 0, w.passes(5, child), "now its own refuses")
	assert.Equal(t, 1, w.passes(5, secret), "and the parent's has lost nothing by that")
}

func TestRateIsTheLastCheck(t *testing.T) {
	w := newWorld(t)
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: perSecond(0),
		Restrictions: latchkey.Restrictions{Addresses: prefixes("10.0.0.0/8")}})
	at := func(ip string) error {
		_, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: secret, Address: netip.MustParseAddr(ip)})
		return err
	}
	for range 3 {
		w.is(latchkey.ErrAddress, at("192.0.2.1"))
	}
	w.ok(at("10.0.0.1"))
	w.is(latchkey.ErrRateLimited, at("10.0.0.1"))
	w.is(latchkey.ErrAddress, at("192.0.2.1"))
}

func TestVerifyWithARateDoesNotAllocate(t *testing.T) {
	assert.Zero(t, allocates(t, 200, func(w *world) func() {
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{
			Limits: latchkey.Limits{Quotas: monthly(1).Quotas, Rate: latchkey.Rate{Count: 1e6, Per: time.Second, Burst: 1e6}}})
		w.access(secret)
		p := latchkey.Presented{Secret: secret}
		return func() {
			if _, err := w.keys.Verify(w.ctx, p); err != nil {
				w.Fatal(err)
			}
		}
	}))
}

// A changed rate holds from the next Verify on, whichever record has it, and whatever the rate was before.
func TestRateChangeHoldsAtOnce(t *testing.T) {
	day := latchkey.Rate{Count: 1, Per: 24 * time.Hour}
	for name, next := range map[string]struct {
		rate latchkey.Rate
		wait time.Duration
	}{
		"raised":              {latchkey.Rate{Count: 100, Per: time.Second}, 3 * time.Second},
		"raised, with a rest": {latchkey.Rate{Count: 1, Per: 24 * time.Hour, Burst: 1}, 0},
		"of another length":   {latchkey.Rate{Count: 1, Per: time.Minute}, time.Minute},
		"taken away":          {latchkey.Rate{}, 0},
	} {
		for of, change := range map[string]func(c *clocks, m *latchkey.Manager, parent latchkey.Token, r latchkey.Rate) error{
			"the token": func(c *clocks, m *latchkey.Manager, parent latchkey.Token, r latchkey.Rate) error {
				_, err := m.For("acme").Update(c.ctx, parent.ID, func(t *latchkey.Token) error { t.Limits.Rate = r; return nil })
				return err
			},
			"the owner": func(c *clocks, m *latchkey.Manager, _ latchkey.Token, r latchkey.Rate) error {
				return m.For("acme").Configure(c.ctx, func(o *latchkey.Owner) error { o.Limits.Rate = r; return nil })
			},
		} {
			t.Run(name+", of "+of, func(t *testing.T) {
				c := newClocks(t)
				m, _ := c.node(0)
				other, _ := c.node(0) // which hears of it
				parent, secret := c.issue(m, latchkey.Settings{})
				require.NoError(t, change(c, m, parent, day))
				for _, n := range []*latchkey.Manager{m, other} {
					require.NoError(t, c.verify(n, secret))
					require.ErrorIs(t, c.verify(n, secret), latchkey.ErrRateLimited)
				}
				require.NoError(t, change(c, m, parent, next.rate))
				c.turn(next.wait)
				for _, n := range []*latchkey.Manager{m, other} {
					assert.NoError(t, c.verify(n, secret))
				}
			})
		}
	}
	t.Run("of what it was minted from", func(t *testing.T) {
		c := newClocks(t)
		m, _ := c.node(0)
		parent, secret := c.issue(m, latchkey.Settings{Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 2,
			Per: 48 * time.Hour, Burst: 1}}})
		_, s, err := c.access(m, secret).Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Hour})
		require.NoError(t, err)
		require.NoError(t, c.verify(m, s.Reveal()))
		require.ErrorIs(t, c.verify(m, s.Reveal()), latchkey.ErrRateLimited)
		_, err = m.For("acme").Update(c.ctx, parent.ID, func(t *latchkey.Token) error {
			t.Limits.Rate = latchkey.Rate{Count: 1, Per: time.Second}
			return nil
		})
		require.NoError(t, err)
		c.turn(2 * time.Second)
		assert.NoError(t, c.verify(m, s.Reveal()))
	})
	t.Run("lowered", func(t *testing.T) { // and no debt that it could not have made
		c := newClocks(t)
		m, _ := c.node(0)
		tok, secret := c.issue(m, latchkey.Settings{Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1000,
			Per: 24 * time.Hour, Burst: 999}}})
		for range 1000 {
			require.NoError(t, c.verify(m, secret))
		}
		_, err := m.For("acme").Update(c.ctx, tok.ID, func(t *latchkey.Token) error {
			t.Limits.Rate = latchkey.Rate{Count: 1, Per: time.Hour}
			return nil
		})
		require.NoError(t, err)
		require.ErrorIs(t, c.verify(m, secret), latchkey.ErrRateLimited, "it holds at once")
		c.turn(time.Hour)
		require.NoError(t, c.verify(m, secret))
		require.ErrorIs(t, c.verify(m, secret), latchkey.ErrRateLimited)
	})
	t.Run("set again", func(t *testing.T) { // by another node, having been used without
		c := newClocks(t)
		m, _ := c.node(0)
		there, _ := c.node(0)
		tok, secret := c.issue(m, latchkey.Settings{Limits: latchkey.Limits{Rate: day}})
		set := func(r latchkey.Rate) {
			_, err := there.For("acme").Update(c.ctx, tok.ID, func(t *latchkey.Token) error { t.Limits.Rate = r; return nil })
			require.NoError(t, err)
		}
		require.NoError(t, c.verify(m, secret))
		set(latchkey.Rate{})
		require.NoError(t, c.verify(m, secret))
		set(day)
		assert.NoError(t, c.verify(m, secret), "what was before it was set counts nothing")
		assert.ErrorIs(t, c.verify(m, secret), latchkey.ErrRateLimited)
	})
	t.Run("set again at once", func(t *testing.T) {
		c := newClocks(t)
		m, _ := c.node(0)
		tok, secret := c.issue(m, latchkey.Settings{Limits: latchkey.Limits{Rate: day}})
		require.NoError(t, c.verify(m, secret))
		for _, r := range []latchkey.Rate{{}, day} {
			_, err := m.For("acme").Update(c.ctx, tok.ID, func(t *latchkey.Token) error { t.Limits.Rate = r; return nil })
			require.NoError(t, err)
		}
		assert.NoError(t, c.verify(m, secret))
		assert.ErrorIs(t, c.verify(m, secret), latchkey.ErrRateLimited)
	})
}

// A limiter measures the time that passes. A step back of the clock refills nothing and refuses no caller; nor does one
// that is undone.
func TestLimiterWithASetClock(t *testing.T) {
	for _, step := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		for name, base := range map[string]time.Time{"foreign": time.Unix(1e9, 0), "monotonic": time.Now()} {
			now := base
			l := latchkey.NewLimiter(latchkey.Rate{Count: 10, Per: time.Second, Burst: 9}, func() time.Time { return now })
			passes := func() (n int) {
				for range 20 {
					if ok, _ := l.Allow("k"); ok {
						n++
					}
				}
				return n
			}
			what := fmt.Sprint(name, " ", step)
			require.Equal(t, 10, passes(), what)
			now = now.Add(-step)
			require.Equal(t, 0, passes(), "a step back refills nothing: %s", what)
			now = now.Add(step)
			require.Equal(t, 0, passes(), "nor does its end: %s", what)
			now = now.Add(-step)
			require.Equal(t, 0, passes(), what)
			for range int(2*step.Seconds()) % 500 { // half of the rate
				now = now.Add(200 * time.Millisecond)
				ok, info := l.Allow("k")
				require.True(t, ok, "%s: %+v", what, info)
			}
		}
	}
}

// The same for the rates of a Manager with a clock of the host's own.
func TestRatesWithASetClock(t *testing.T) {
	c := newClocks(t)
	m, o := c.node(0)
	_, secret := c.issue(m, latchkey.Settings{Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Second}}})
	require.NoError(t, c.verify(m, secret))
	both := func(d time.Duration) {
		o.set(func(o *offClock) { o.off += d })
		c.db.set(func(o *offClock) { o.off += d })
	}
	both(time.Hour)
	require.NoError(t, c.verify(m, secret))
	both(-time.Hour)
	require.ErrorIs(t, c.verify(m, secret), latchkey.ErrRateLimited)
	c.turn(time.Second)
	assert.NoError(t, c.verify(m, secret))
	c.turn(time.Second)
	a := c.access(m, secret)
	info, ok := a.Rate()
	require.True(t, ok)
	assert.Equal(t, time.Second, info.RetryAfter)
}
