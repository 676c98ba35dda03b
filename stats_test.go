package latchkey_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

func TestCacheStats(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = 2 })
	cache := func() latchkey.CacheStats { return w.keys.Stats().Cache }
	require.Equal(t, latchkey.CacheStats{Capacity: 4}, cache())
	var secrets []string
	for range 4 {
		_, secret := w.key(readAll())
		secrets = append(secrets, secret)
		w.access(secret)
		w.access(secret)
	}
	require.Equal(t, latchkey.CacheStats{Records: 4, Capacity: 4, Misses: 4, Loads: 4}, cache())
	_, err := w.verify("nonsense")
	w.is(latchkey.ErrUnknownToken, err)
	_, err = w.verify(unknownText(t))
	w.is(latchkey.ErrUnknownToken, err)
	require.Equal(t, latchkey.CacheStats{Records: 4, Capacity: 4, Misses: 5, Loads: 4}, cache(),
		"an unknown text is a miss")
	_, secret := w.key(readAll())
	w.access(secret) // the older half of the four makes room
	require.Equal(t, latchkey.CacheStats{Records: 3, Capacity: 4, Misses: 6, Loads: 5, Evicted: 2}, cache())
	w.access(secrets[0])
	require.Equal(t, latchkey.CacheStats{Records: 4, Capacity: 4, Misses: 7, Loads: 6, Evicted: 2}, cache())

	none := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = -1 })
	_, secret = none.key(readAll())
	none.access(secret)
	none.access(secret)
	require.Equal(t, latchkey.CacheStats{Misses: 2}, none.keys.Stats().Cache)
}

// What changes invalidate is no eviction.
func TestInvalidTokensAreNotEvicted(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.CacheTokens = 2 })
	for range 9 {
		token, secret := w.key(readAll())
		w.access(secret)
		w.ok(w.acme.Revoke(w.ctx, token.ID, ""))
		_, err := w.verify(secret) // the cache hears of it
		w.is(latchkey.ErrRevoked, err)
	}
	require.Equal(t, int64(9), w.keys.Stats().Cache.Loads)
	require.Zero(t, w.keys.Stats().Cache.Evicted)
}

func TestFeedStats(t *testing.T) {
	for _, maxStale := range []time.Duration{0, time.Minute} {
		for name, host := range map[string]bool{"time.Now": false, "a clock of the host's": true} {
			t.Run(fmt.Sprint(maxStale, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &meddler{Store: memstore.New(nil)}
					o := latchkey.Options{MaxStale: maxStale}
					if host {
						o.Clock = func() time.Time { return time.Now().Round(0) }
					}
					keys := latchkey.New(s, &o)
					require.Empty(t, keys.Stats().Feeds, "none was used")
					require.Equal(t, maxStale, keys.Stats().MaxStale)
					_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
					require.NoError(t, err)
					verify := func() error {
						_, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
						return err
					}
					require.NoError(t, verify())
					require.NoError(t, verify()) // with MaxStale, the first that asks how old the cache is
					feed := func() latchkey.FeedStats {
						synctest.Wait()
						feeds := keys.Stats().Feeds
						require.Len(t, feeds, 1)
						return feeds[0]
					}
					f := feed()
					require.Equal(t, latchkey.FeedStats{Epoch: f.Epoch}, f)

					// Nobody uses it: it grows old, and nothing is wrong.
					time.Sleep(10 * time.Minute)
					require.Equal(t, latchkey.FeedStats{Epoch: f.Epoch, Age: 10 * time.Minute}, feed())
					require.NoError(t, verify())
					require.Equal(t, latchkey.FeedStats{Epoch: f.Epoch}, feed())

					// The store is away: the age grows, and so does the time since.
					s.fail.Store(&latchkey.ErrUnavailable)
					time.Sleep(2 * time.Minute)
					require.ErrorIs(t, verify(), latchkey.ErrUnavailable)
					time.Sleep(time.Second)
					require.ErrorIs(t, verify(), latchkey.ErrUnavailable)
					require.Equal(t, latchkey.FeedStats{Epoch: f.Epoch, Age: 2*time.Minute + time.Second,
						Failing: time.Second, Failed: 2}, feed())
					s.fail.Store(nil)
					require.NoError(t, verify())
					require.Equal(t, latchkey.FeedStats{Epoch: f.Epoch, Failed: 2}, feed())
					require.NoError(t, keys.Close(t.Context()))
				})
			})
		}
	}
}

// A caller that leaves says nothing about the store. Clocks that differ do.
func TestWhatCountsAsFailing(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key(readAll())
	w.access(secret)
	canceled := fmt.Errorf("%w: %w", latchkey.ErrUnavailable, context.Canceled)
	w.store.fail.Store(&canceled)
	_, err := w.verify(secret)
	w.is(latchkey.ErrUnavailable, err)
	require.Zero(t, w.keys.Stats().Feeds[0].Failing)
	require.Zero(t, w.keys.Stats().Feeds[0].Failed)
	w.store.fail.Store(nil)

	wrong := latchkey.New(w.store, &latchkey.Options{Clock: func() time.Time { return w.now().Add(2 * time.Minute) }})
	_, err = wrong.Verify(w.ctx, latchkey.Presented{Secret: secret})
	w.is(latchkey.ErrUnavailable, err)
	require.Positive(t, wrong.Stats().Feeds[0].Failing)
	require.Equal(t, int64(1), wrong.Stats().Feeds[0].Failed)
	require.Equal(t, time.Duration(-1), wrong.Stats().Feeds[0].Age, "never read with success")
}

// Each feed has its own row.
func TestStatsOfSeveralFeeds(t *testing.T) {
	first, second := &meddler{Store: memstore.New(nil)}, memstore.New(nil)
	store := storetest.NewFeeds(first, second)
	keys := latchkey.New(store, nil)
	used := map[latchkey.FeedID]string{}
	for i := 0; len(used) < 2; i++ {
		owner := fmt.Sprint("owner ", i)
		if feed := store.Locate(owner).Feed; used[feed] == "" {
			_, secret, err := keys.For(owner).Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			used[feed] = secret.Reveal()
			_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
		}
	}
	first.fail.Store(&latchkey.ErrUnavailable)
	_, err := keys.Verify(t.Context(), latchkey.Presented{Secret: used[0]})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	_, err = keys.Verify(t.Context(), latchkey.Presented{Secret: used[1]})
	require.NoError(t, err)
	failing := map[latchkey.FeedID]bool{}
	for _, f := range keys.Stats().Feeds {
		failing[f.Feed] = f.Failing > 0
	}
	require.Equal(t, map[latchkey.FeedID]bool{0: true, 1: false}, failing)
}

func TestRateStats(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, latchkey.LimiterStats{Capacity: 1 << 20}, w.keys.Stats().Rates)
	for range 3 {
		_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Limits: latchkey.Limits{Rate: latchkey.PerMinute(5)}})
		w.access(secret)
		w.access(secret)
	}
	require.Equal(t, 3, w.keys.Stats().Rates.Keys)
}

func TestQueueStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, secret := w.key(readAll())
		a := w.access(secret)
		a.Count("api", "GET /", 1)
		a.Count("api", "PUT /", 1)
		s := w.keys.Stats()
		require.Equal(t, latchkey.QueueStats{Waiting: 2, Capacity: 1 << 17}, s.Usage)
		require.Equal(t, latchkey.QueueStats{Waiting: 1, Capacity: 1 << 16}, s.LastUse)
		w.ok(w.keys.Close(w.ctx))
		s = w.keys.Stats()
		require.Zero(t, s.Usage.Waiting)
		require.Zero(t, s.LastUse.Waiting)
	})
}

// The names in the JSON are a contract.
func TestStatsJSON(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.MaxStale = time.Second })
	_, secret := w.key(readAll())
	w.access(secret)
	s := w.keys.Stats()
	s.Feeds[0].Epoch, s.Feeds[0].Age, s.LastUse.Waiting = 1, 5, 0
	text, err := json.Marshal(s)
	w.ok(err)
	require.Equal(t, `{"cache":{"records":1,"capacity":2000000,"misses":1,"loads":1,"evicted":0},`+
		`"max_stale_ns":1000000000,"feeds":[{"feed":0,"epoch":1,"age_ns":5,"failing_ns":0,"failed":0}],"leases":{"open":0},`+
		`"usage":{"waiting":0,"capacity":131072,"dropped":0},"last_use":{"waiting":0,"capacity":65536,"dropped":0},`+
		`"rates":{"keys":0,"capacity":1048576},"failures":{"deliver":0,"feed":0,"last_use":0,"lease":0,"observer":0,`+
		`"secret":0,"usage":0}}`, string(text))
	var back latchkey.Stats
	w.ok(json.Unmarshal(text, &back))
	require.Equal(t, s, back)
	empty, err := json.Marshal(newWorld(t).keys.Stats())
	w.ok(err)
	require.Contains(t, string(empty), `"feeds":[]`)
}

// The levels in /debug/vars, beside those of the runtime.
func ExampleManager_Stats() {
	keys := latchkey.New(memstore.New(nil), nil)
	expvar.Publish("latchkey", expvar.Func(func() any { return keys.Stats() }))

	var s latchkey.Stats
	_ = json.Unmarshal([]byte(expvar.Get("latchkey").String()), &s)
	fmt.Println(s.Cache.Records, "of", s.Cache.Capacity, "places of the cache are taken")
	// Output: 0 of 2000000 places of the cache are taken
}
