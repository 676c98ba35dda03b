package tokencache

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

type (
	testEntry  = Entry[string, string]
	testShared = Shared[string]
)

// testCache is a cache with one of its feeds.
type testCache struct {
	*Cache[string, string]
	*Feed[string, string]
}

func newCache(max int) testCache {
	c := New[string, string](max)
	return testCache{c, c.NewFeed()}
}

// Put puts an entry that was read since the last reset.
func (c testCache) Put(sum [32]byte, e testEntry) {
	e.Resets = c.Resets()
	c.Feed.Put(sum, e)
}

// Apply applies changes of the owner acme, unless they name another.
func (c testCache) Apply(changes []Change, epoch uint64) {
	for i := range changes {
		changes[i].Epoch = epoch
		if changes[i].Owner == "" {
			changes[i].Owner = "acme"
		}
	}
	c.Feed.Apply(changes, epoch)
}

// sumOf and idOf are spread over the table as digests and UUIDs are.
func sumOf(n uint64) (sum [32]byte) {
	binary.LittleEndian.PutUint64(sum[:], n*0x9e3779b97f4a7c15)
	binary.LittleEndian.PutUint64(sum[8:], n)
	return sum
}

func idOf(n uint64) (id [16]byte) {
	binary.LittleEndian.PutUint64(id[8:], n*0x9e3779b97f4a7c15+1)
	return id
}

// entryOf is token n, whose shared value depends on a role of the same name.
func entryOf(n uint64, shared string) testEntry {
	return testEntry{ID: idOf(n), Owner: "acme", Ends: math.MaxInt64, Used: uint32(n), Key: keyOf(shared),
		Shared: &testShared{Value: shared, Deps: []Dependency{role(shared)}}, Principal: "acme"}
}

func keyOf(shared string) (key [32]byte) {
	copy(key[:], shared)
	return key
}

func role(id string) Dependency { return Dependency{Kind: 2, ID: id} }

// get returns what the cache answers about token n, as Verify asks it.
func get(c testCache, n uint64) (r *Record, shared, principal string, ok bool) {
	sum := sumOf(n)
	hit, ok := c.Lookup(&sum)
	if !ok {
		return nil, "", "", false
	}
	r, s, p, ok := c.Live(hit, &sum)
	if !ok {
		return nil, "", "", false
	}
	return r, *s, *p, true
}

func has(c testCache, n uint64) bool {
	_, _, _, ok := get(c, n)
	return ok
}

func TestPutAndLookup(t *testing.T) {
	c := newCache(10)
	require.False(t, has(c, 1))
	e := entryOf(1, "reader")
	e.Ends = 42
	c.Put(sumOf(1), e)
	r, shared, principal, ok := get(c, 1)
	require.True(t, ok)
	require.Equal(t, idOf(1), r.ID)
	require.EqualValues(t, 42, r.Ends)
	require.EqualValues(t, 1, r.Used.Load())
	require.Equal(t, "reader", shared)
	require.Equal(t, "acme", principal)
	require.False(t, has(c, 2))
}

// Two digests with the same hash, and with the same tag, are two records.
func TestDigestsThatCollide(t *testing.T) {
	c := newCache(10)
	for n := range byte(5) {
		c.Put([32]byte{15: n}, entryOf(uint64(n), string('a'+rune(n))))
	}
	for n := range byte(5) {
		sum := [32]byte{15: n}
		hit, ok := c.Lookup(&sum)
		require.True(t, ok)
		_, shared, _, ok := c.Live(hit, &sum)
		require.True(t, ok)
		require.Equal(t, string('a'+rune(n)), *shared)
	}
	sum := [32]byte{15: 5}
	_, ok := c.Lookup(&sum)
	require.False(t, ok)
}

func TestPutReplacesTheRecordOfASecret(t *testing.T) {
	c := newCache(10)
	c.Put(sumOf(1), entryOf(1, "reader"))
	sum := sumOf(1)
	old, ok := c.Lookup(&sum)
	require.True(t, ok)
	c.Put(sumOf(1), entryOf(1, "writer"))
	_, shared, _, ok := get(c, 1)
	require.True(t, ok)
	require.Equal(t, "writer", shared)
	_, _, _, ok = c.Live(old, &sum)
	require.False(t, ok, "a hit on the record that was replaced is not valid")
}

func TestWhatIsNotKept(t *testing.T) {
	none := newCache(0)
	none.Put(sumOf(1), entryOf(1, "reader"))
	require.False(t, has(none, 1))
	c := newCache(10)
	e := entryOf(1, "reader")
	e.ID = [16]byte{}
	c.Put(sumOf(1), e)
	require.False(t, has(c, 1), "without an id no change could invalidate it")
}

// Entries with the same key share the first one's value, and equal principals are stored once.
func TestIntern(t *testing.T) {
	c := newCache(10)
	require.Nil(t, c.Shared(keyOf("reader")))
	first, second := entryOf(1, "reader"), entryOf(2, "reader")
	c.Put(sumOf(1), first)
	c.Put(sumOf(2), second)
	c.Put(sumOf(3), entryOf(3, "writer"))
	other := entryOf(4, "writer")
	other.Principal = "other"
	c.Put(sumOf(4), other)
	require.Same(t, first.Shared, c.Shared(keyOf("reader")))
	table := c.table.Load()
	require.Len(t, *table.shared.Load(), 2)
	require.Len(t, *table.principals.Load(), 2)
	_, _, principal, ok := get(c, 4)
	require.True(t, ok)
	require.Equal(t, "other", principal)

	// A value that was invalidated is not shared again: the next entry with its key brings a new one.
	c.Apply([]Change{{Dependency: role("reader")}}, 1)
	require.Nil(t, c.Shared(keyOf("reader")))
	again := entryOf(1, "reader")
	again.Epoch = 1
	c.Put(sumOf(1), again)
	require.Same(t, again.Shared, c.Shared(keyOf("reader")))
	require.True(t, has(c, 1))
	require.False(t, has(c, 2), "the new value does not revive who had the old one")
	c.Apply([]Change{{Dependency: role("reader")}}, 2)
	require.False(t, has(c, 1), "the new value has the dependencies of the old one")
}

func TestApply(t *testing.T) {
	c := newCache(10)
	c.Put(sumOf(1), entryOf(1, "reader"))
	c.Put(sumOf(2), entryOf(2, "reader"))
	c.Put(sumOf(3), entryOf(3, "writer"))
	c.Put(sumOf(13), entryOf(3, "writer")) // another secret of token 3
	c.Apply([]Change{{Dependency: role("nobody's")}, {Token: idOf(99)}}, 1)
	for _, n := range []uint64{1, 2, 3, 13} {
		require.True(t, has(c, n))
	}
	c.Apply([]Change{{Token: idOf(3)}}, 2)
	require.False(t, has(c, 3))
	require.False(t, has(c, 13), "all secrets of a token")
	require.NotNil(t, c.Shared(keyOf("writer")), "what others may share is as it was")
	c.Apply([]Change{{Dependency: role("reader")}}, 3)
	require.False(t, has(c, 1))
	require.False(t, has(c, 2))
	require.EqualValues(t, 3, c.Epoch())
	c.Apply(nil, 2)
	require.EqualValues(t, 3, c.Epoch(), "never back")
}

// What was read before a change that has been applied may be what the change made untrue.
func TestPutThatIsOlderThanAnAppliedChange(t *testing.T) {
	c := newCache(10)
	put := func(n, epoch uint64) bool {
		e := entryOf(n, "reader")
		e.Epoch = epoch
		c.Put(sumOf(n), e)
		return has(c, n)
	}
	require.True(t, put(1, 5))
	require.EqualValues(t, 5, c.Epoch(), "an empty cache begins where the first entry was read")
	c.Apply([]Change{{Token: idOf(2)}}, 6)
	require.False(t, put(2, 5))
	require.True(t, put(2, 6))
	require.True(t, put(3, 9), "read at a later epoch: the changes until then will be applied to it once more")
	require.EqualValues(t, 6, c.Epoch())
	c.Apply([]Change{{Token: idOf(3)}}, 7)
	require.False(t, has(c, 3))
}

// What other owners change says nothing about an entry, however often they change it.
func TestPutWhileOthersChange(t *testing.T) {
	c := newCache(10)
	put := func(n, epoch uint64) bool {
		e := entryOf(n, "reader")
		e.Epoch = epoch
		c.Put(sumOf(n), e)
		return has(c, n)
	}
	require.True(t, put(1, 5))
	for epoch := uint64(6); epoch < 20; epoch++ {
		c.Apply([]Change{{Owner: "globex", Token: idOf(99)}}, epoch)
	}
	require.True(t, put(2, 5))
	c.Apply([]Change{{Owner: "acme", Token: idOf(98)}}, 20)
	require.False(t, put(3, 19), "another token of the owner: that is not told apart")
	require.True(t, put(3, 20))
	require.False(t, put(4, 4), "from before the first change that is known")
	for i := range maxChanged + 2 {
		c.Apply([]Change{{Owner: fmt.Sprint("owner ", i), Token: idOf(99)}}, 21+uint64(i))
	}
	require.LessOrEqual(t, len(c.changed), maxChanged+1)
	require.False(t, put(5, 20), "the changes since then are forgotten")
	require.True(t, put(5, c.Epoch()))
}

// Each feed has its own epoch. A reset of one leaves the tokens of the others alone.
func TestFeeds(t *testing.T) {
	one := newCache(10)
	two := testCache{one.Cache, one.NewFeed()}
	put := func(c testCache, n, epoch uint64, shared string) bool {
		e := entryOf(n, shared)
		e.Epoch = epoch
		c.Put(sumOf(n), e)
		return has(c, n)
	}
	require.True(t, put(one, 1, 1000, "reader"))
	require.True(t, put(two, 2, 3, "writer"))
	require.EqualValues(t, 1000, one.Epoch())
	require.EqualValues(t, 3, two.Epoch())
	for n, number := range map[uint64]uint32{1: one.Number(), 2: two.Number()} {
		sum := sumOf(n)
		hit, ok := one.Lookup(&sum)
		require.True(t, ok)
		require.Equal(t, number, hit.Feed())
	}
	two.Apply([]Change{{Token: idOf(2)}}, 4)
	require.EqualValues(t, 1000, one.Epoch())
	require.False(t, has(two, 2))
	require.True(t, put(two, 2, 4, "writer"))

	two.Reset(1)
	require.True(t, has(one, 1))
	require.False(t, has(one, 2))
	require.EqualValues(t, 1000, one.Epoch())
	require.EqualValues(t, 1, two.Epoch())
	require.True(t, put(two, 2, 1, "writer"))
	one.Reset(7)
	require.False(t, has(one, 1))
	require.True(t, has(two, 2))
	require.True(t, put(one, 1, 7, "reader"))
}

// What was read before a reset may come from another history, whose epochs are as high.
func TestPutFromBeforeAReset(t *testing.T) {
	c := newCache(10)
	e := entryOf(1, "reader")
	e.Epoch, e.Resets = 9, c.Resets()
	c.Reset(4)
	c.Feed.Put(sumOf(1), e)
	require.False(t, has(c, 1))
	c.Put(sumOf(1), e)
	require.True(t, has(c, 1), "the same, read since")

	other := testCache{c.Cache, c.NewFeed()}
	e = entryOf(2, "writer")
	e.Resets = c.Resets()
	c.Reset(5)
	other.Feed.Put(sumOf(2), e)
	require.True(t, has(c, 2), "a reset of another feed says nothing about it")
}

// A hit is not answered with the record of another feed: the caller has asked one feed only what has changed.
func TestLiveKeepsToTheFeedOfAHit(t *testing.T) {
	one := newCache(10)
	two := testCache{one.Cache, one.NewFeed()}
	one.Put(sumOf(1), entryOf(1, "reader"))
	sum := sumOf(1)
	hit, ok := one.Lookup(&sum)
	require.True(t, ok)
	two.Put(sumOf(1), entryOf(2, "writer"))
	one.mu.Lock()
	one.rebuild(one.table.Load())
	one.mu.Unlock()
	_, _, _, ok = one.Live(hit, &sum)
	require.False(t, ok)
	require.True(t, has(two, 1))
}

func TestReset(t *testing.T) {
	c := newCache(10)
	e := entryOf(1, "reader")
	e.Epoch = 9
	c.Put(sumOf(1), e)
	sum := sumOf(1)
	hit, _ := c.Lookup(&sum)
	c.Reset(4)
	require.EqualValues(t, 4, c.Epoch(), "a store that was restored from a backup goes on from an earlier epoch")
	require.False(t, has(c, 1))
	require.Nil(t, c.Shared(keyOf("reader")))
	_, _, _, ok := c.Live(hit, &sum)
	require.False(t, ok, "a hit from before is not valid")
}

// A rebuild keeps what is valid, with what it refers to, and drops everything else.
func TestRebuildDropsWhatIsInvalid(t *testing.T) {
	const n = chunkSize // fills the first table
	c := newCache(10 * n)
	for i := range uint64(n) {
		e := entryOf(i, []string{"reader", "writer", "gone"}[i%3])
		e.Principal = []string{"acme", "other", "left"}[i%3]
		c.Put(sumOf(i), e)
	}
	first := c.table.Load()
	sum := sumOf(3)
	hit, ok := c.Lookup(&sum)
	require.True(t, ok)
	gone := sumOf(2)
	hitGone, ok := c.Lookup(&gone)
	require.True(t, ok)
	reader := c.Shared(keyOf("reader"))
	c.Apply([]Change{{Dependency: role("gone")}, {Token: idOf(0)}}, 1)
	r, _, _, _ := get(c, 3)
	r.Used.Store(77)

	late := entryOf(n, "reader")
	late.Epoch = 1
	c.Put(sumOf(n), late)
	table := c.table.Load()
	require.NotSame(t, first, table)
	require.Len(t, *table.shared.Load(), 2)
	require.Len(t, *table.principals.Load(), 2)
	require.Len(t, c.shared, 2)
	require.Len(t, c.principals, 2)
	require.Len(t, c.dependents, 2)
	require.Same(t, reader, c.Shared(keyOf("reader")))
	for i := range uint64(n + 1) {
		r, shared, principal, ok := get(c, i)
		require.Equal(t, i != 0 && i%3 != 2 || i == n, ok, i)
		if ok && i != n {
			require.Equal(t, idOf(i), r.ID)
			require.Equal(t, []string{"reader", "writer"}[i%3], shared)
			require.Equal(t, []string{"acme", "other"}[i%3], principal)
		}
	}
	r, _, _, _ = get(c, 3)
	require.EqualValues(t, 77, r.Used.Load())

	// Hits from before the rebuild: what is invalidated after it is marked in the new table only.
	_, _, _, ok = c.Live(hit, &sum)
	require.True(t, ok)
	_, _, _, ok = c.Live(hitGone, &gone)
	require.False(t, ok)
	c.Apply([]Change{{Token: idOf(3)}}, 2)
	_, _, _, ok = c.Live(hit, &sum)
	require.False(t, ok)
	c.Apply([]Change{{Dependency: role("writer")}}, 3)
	require.False(t, has(c, 4), "dependencies outlive a rebuild")
	require.True(t, has(c, 6))
}

// With as many valid records as are to be kept, the half that was added first makes room.
func TestEviction(t *testing.T) {
	const max = 100
	c := newCache(max)
	for i := range uint64(10_000) {
		c.Put(sumOf(i), entryOf(i, "reader"))
		require.True(t, has(c, i), "the newest")
		require.LessOrEqual(t, c.table.Load().n, uint32(2*max))
		if i > max {
			require.True(t, has(c, i-max/2), "%d: those that came last", i)
		}
	}
	require.False(t, has(c, 0))
	one := newCache(1)
	for i := range uint64(100) {
		one.Put(sumOf(i), entryOf(i, "reader"))
		require.True(t, has(one, i))
	}
}

// The table grows with the valid records, and none is lost on the way.
func TestGrowth(t *testing.T) {
	const n = 20 * chunkSize
	c := newCache(n)
	for i := range uint64(n) {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	for i := range uint64(n) {
		require.True(t, has(c, i))
	}
	require.Len(t, *c.table.Load().shared.Load(), 1)
}

// A reader never sees a record half written, or another token's, whatever is added, dropped or rebuilt meanwhile; and
// once Apply has returned it does not see what was invalidated.
func TestReadersMeetWriters(t *testing.T) {
	const tokens = 6 * chunkSize
	c := newCache(tokens / 4) // evicts too
	shared := []string{"reader", "writer", "owner"}
	principals := []string{"acme", "other"}
	var deleted [tokens]atomic.Bool // in the store, before Apply
	var revoked [tokens]atomic.Bool // once Apply has returned
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	for seed := range uint64(4) {
		readers.Go(func() {
			for i := seed; !done.Load(); i += 7 {
				n := i % tokens
				gone := revoked[n].Load()
				r, s, p, ok := get(c, n)
				if !ok {
					continue
				}
				if gone {
					t.Errorf("token %d is valid after it was revoked", n)
					return
				}
				if r.ID != idOf(n) || r.Ends != int64(n) || s != shared[n%3] || p != principals[n%2] {
					t.Errorf("token %d is %x, ends %d, is shared with %q and stands for %q", n, r.ID, r.Ends, s, p)
					return
				}
				r.Used.Add(1)
			}
		})
	}
	epoch := uint64(0) // of the store
	next := func() uint64 { epoch++; return epoch }
	for seed := range uint64(2) {
		writers.Go(func() {
			for i := seed; i < 2*tokens; i += 2 {
				n := i % tokens
				e := entryOf(n, shared[n%3])
				e.Ends, e.Principal, e.Epoch = int64(n), principals[n%2], c.Epoch()
				if deleted[n].Load() { // read after the epoch, as from a store
					continue
				}
				if s := c.Shared(e.Key); s != nil {
					e.Shared = s
				}
				c.Put(sumOf(n), e)
			}
		})
	}
	writers.Go(func() {
		for n := uint64(0); n < tokens; n += 5 {
			deleted[n].Store(true)
			c.Apply([]Change{{Token: idOf(n)}}, next())
			revoked[n].Store(true)
			if n%500 == 0 {
				c.Apply([]Change{{Dependency: role(shared[n%3])}}, next())
			}
		}
	})
	writers.Wait()
	done.Store(true)
	readers.Wait()
}

func TestReadersDoNotAllocate(t *testing.T) {
	c := newCache(10)
	c.Put(sumOf(1), entryOf(1, "reader"))
	sum, absent := sumOf(1), sumOf(2)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, ok := c.Lookup(&absent); ok {
			t.Error("found")
		}
		hit, ok := c.Lookup(&sum)
		if !ok {
			t.Error("not found")
		}
		if _, _, _, ok := c.Live(hit, &sum); !ok || c.Epoch() != 0 {
			t.Error("not valid")
		}
	}))
}

// Skip advances only a feed of which nothing is cached, and only forwards. What was read before is not put then.
func TestSkip(t *testing.T) {
	c := newCache(10)
	require.True(t, c.Empty())
	require.True(t, c.Skip(5))
	require.EqualValues(t, 5, c.Epoch())
	require.False(t, c.Skip(4), "backwards")
	require.EqualValues(t, 5, c.Epoch())
	old := entryOf(1, "a")
	old.Epoch = 4
	c.Put(sumOf(1), old)
	require.True(t, c.Empty(), "what was read before may have changed since")
	entry := entryOf(1, "a")
	entry.Epoch = 5
	c.Put(sumOf(1), entry)
	require.False(t, c.Empty())
	require.False(t, c.Skip(6), "the changes up to there may concern it")
	require.EqualValues(t, 5, c.Epoch())
	c.Reset(7)
	require.True(t, c.Empty())
	require.True(t, c.Skip(8))
}

// Latest is never below Epoch, however the feed came there, and begins anew with another history.
func TestLatest(t *testing.T) {
	c := newCache(10)
	require.True(t, c.Skip(5))
	require.EqualValues(t, 5, c.Latest())
	c.Apply([]Change{{Epoch: 6, Token: idOf(1)}}, 6)
	require.EqualValues(t, 6, c.Latest())
	ahead := entryOf(1, "reader")
	ahead.Epoch = 9
	c.Apply(nil, 7)
	c.Put(sumOf(2), entryOf(2, "reader")) // older than what is applied
	require.EqualValues(t, 7, c.Latest())
	c.Put(sumOf(1), ahead)
	require.EqualValues(t, 9, c.Latest())
	c.Reset(4)
	require.EqualValues(t, 4, c.Latest())
}
