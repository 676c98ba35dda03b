package tokencache

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

type testEntry = Entry[string, string]

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
	c.Feed.Apply(slices.Values(changes), epoch)
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

func textOf(n uint64) string { return uuidv7.Text(idOf(n)) }

// entryOf is token n, whose shared value depends on a role of the same name.
func entryOf(n uint64, shared string) testEntry {
	return testEntry{ID: idOf(n), Owner: "acme", Ends: math.MaxInt64, Used: uint32(n), Key: keyOf(shared),
		Value: &shared, Deps: []Dependency{role(shared)}, Principal: "acme"}
}

func keyOf(shared string) (key Key) {
	copy(key.Shape[:], shared)
	return key
}

// shared is Cache.Shared of the value alone.
func (c testCache) shared(name string) *string {
	key := keyOf(name)
	value, _ := c.Shared(&key)
	return value
}

// referred returns the groups and the bearers that the records of a cache refer to, and how many records there are.
func (c testCache) referred() (groups, bearers, records int) {
	seen := map[any]bool{}
	for _, s := range c.distinct() {
		for j := range s.slots {
			for k := range s.slots[j] {
				r := &s.slots[j][k]
				if r.key.Load() == 0 {
					continue
				}
				records++
				b := s.bearerOf(r)
				if !seen[b] {
					seen[b] = true
					bearers++
				}
				if !seen[b.group] {
					seen[b.group] = true
					groups++
				}
			}
		}
	}
	return groups, bearers, records
}

// listed returns how many bearers are found by their principals.
func (c testCache) listed() (n int) {
	for i := range c.bearers {
		n += c.bearers[i].held
	}
	return n
}

func role(id string) Dependency { return Dependency{Kind: 2, ID: id} }

// get returns what the cache answers about token n, as Verify asks it.
func get(c testCache, n uint64) (r *Record, shared, principal string, ok bool) {
	sum := sumOf(n)
	hit, ok := c.Lookup(&sum)
	if !ok {
		return nil, "", "", false
	}
	r, s, p, ok := c.Live(&hit, &sum)
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
		_, shared, _, ok := c.Live(&hit, &sum)
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
	_, _, _, ok = c.Live(&old, &sum)
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
	require.Nil(t, c.shared("reader"))
	first, second := entryOf(1, "reader"), entryOf(2, "reader")
	c.Put(sumOf(1), first)
	c.Put(sumOf(2), second)
	c.Put(sumOf(3), entryOf(3, "writer"))
	other := entryOf(4, "writer")
	other.Principal = "other"
	c.Put(sumOf(4), other)
	require.Same(t, first.Value, c.shared("reader"))
	groups, bearers, _ := c.referred()
	require.Equal(t, 2, groups)
	require.Equal(t, 3, bearers)
	_, _, principal, ok := get(c, 4)
	require.True(t, ok)
	require.Equal(t, "other", principal)

	// A value that was invalidated is not shared again: the next entry with its key brings a new one.
	c.Apply([]Change{{Dependency: role("reader")}}, 1)
	require.Nil(t, c.shared("reader"))
	again := entryOf(1, "reader")
	again.Epoch = 1
	c.Put(sumOf(1), again)
	require.Same(t, again.Value, c.shared("reader"))
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
	c.Apply([]Change{{Dependency: role("nobody's")}, {Token: textOf(99)}}, 1)
	for _, n := range []uint64{1, 2, 3, 13} {
		require.True(t, has(c, n))
	}
	c.Apply([]Change{{Token: textOf(3)}}, 2)
	require.False(t, has(c, 3))
	require.False(t, has(c, 13), "all secrets of a token")
	require.NotNil(t, c.shared("writer"), "what others may share is as it was")
	c.Apply([]Change{{Dependency: role("reader")}}, 3)
	require.False(t, has(c, 1))
	require.False(t, has(c, 2))
	require.EqualValues(t, 3, c.Epoch())
	c.Apply(nil, 2)
	require.EqualValues(t, 3, c.Epoch(), "never back")
}

// Changes of owners that nothing valid is of are only noted. An owner counts as long as one of its values is valid.
func TestApplyOfOwnersThatAreKnown(t *testing.T) {
	c := newCache(10)
	c.Put(sumOf(1), entryOf(1, "reader"))
	c.Put(sumOf(2), entryOf(2, "writer"))
	c.Put(sumOf(3), entryOf(3, "writer"))
	c.Apply([]Change{{Dependency: role("reader")}}, 1)
	require.False(t, has(c, 1))
	c.Apply([]Change{{Token: textOf(2)}}, 2)
	require.False(t, has(c, 2), "the owner has another value, which is valid")
	require.True(t, has(c, 3))
	c.Apply([]Change{{Dependency: role("writer")}}, 3)
	require.False(t, has(c, 3))
	require.Empty(t, c.watched, "nothing of the owner is valid")
	c.Apply([]Change{{Token: textOf(4)}}, 4)
	e := entryOf(4, "reader")
	e.Epoch = 3
	c.Put(sumOf(4), e)
	require.False(t, has(c, 4), "its changes are noted all the same")
}

// A text of a change may be a part of a longer one, which is not kept.
func TestApplyKeepsNoText(t *testing.T) {
	c := newCache(10)
	read := strings.Repeat("globex", 1000)
	for epoch := range uint64(2) {
		c.Apply([]Change{{Owner: read[:6], Token: textOf(1)}}, 1+epoch)
	}
	for owner := range c.changed {
		require.Equal(t, "globex", owner)
		require.NotSame(t, unsafe.StringData(read), unsafe.StringData(owner))
	}
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
	c.Apply([]Change{{Token: textOf(2)}}, 6)
	require.False(t, put(2, 5))
	require.True(t, put(2, 6))
	require.True(t, put(3, 9), "read at a later epoch: the changes until then will be applied to it once more")
	require.EqualValues(t, 6, c.Epoch())
	c.Apply([]Change{{Token: textOf(3)}}, 7)
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
		c.Apply([]Change{{Owner: "globex", Token: textOf(99)}}, epoch)
	}
	require.True(t, put(2, 5))
	c.Apply([]Change{{Owner: "acme", Token: textOf(98)}}, 20)
	require.False(t, put(3, 19), "another token of the owner: that is not told apart")
	require.True(t, put(3, 20))
	require.False(t, put(4, 4), "from before the first change that is known")
	most := 0
	for i := range maxChanged + 2 {
		c.Apply([]Change{{Owner: fmt.Sprint("owner ", i), Token: textOf(99)}}, 21+uint64(i))
		most = max(most, len(c.changed))
	}
	require.Equal(t, maxChanged+1, most)
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
	two.Apply([]Change{{Token: textOf(2)}}, 4)
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
	one.replace(one.segment(0).Load(), 0)
	one.mu.Unlock()
	_, _, _, ok = one.Live(&hit, &sum)
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
	require.Nil(t, c.shared("reader"))
	_, _, _, ok := c.Live(&hit, &sum)
	require.False(t, ok, "a hit from before is not valid")
}

// A segment that is replaced keeps what is valid, with what it refers to, and drops everything else.
func TestReplaceDropsWhatIsInvalid(t *testing.T) {
	const n = 3000
	c := newCache(10 * n)
	for i := range uint64(n) {
		e := entryOf(i, []string{"reader", "writer", "gone"}[i%3])
		e.Principal = []string{"acme", "other", "left"}[i%3]
		c.Put(sumOf(i), e)
	}
	c.Put(sumOf(n), entryOf(n, "of one token"))
	sum := sumOf(3)
	hit, ok := c.Lookup(&sum)
	require.True(t, ok)
	gone := sumOf(2)
	hitGone, ok := c.Lookup(&gone)
	require.True(t, ok)
	reader := c.shared("reader")
	c.Apply([]Change{{Dependency: role("gone")}, {Token: textOf(0)}, {Token: textOf(n)}}, 1)
	r, _, _, _ := get(c, 3)
	r.Used.Store(77)
	r.Seen.Store(78)

	c.replaceAll()
	require.NotSame(t, hit.segment, c.segment(keyOfSum(&sum).place()).Load())
	groups, bearers, records := c.referred()
	require.Equal(t, []int{2, 2, n/3*2 - 1}, []int{groups, bearers, records})
	require.EqualValues(t, records, c.Stats().Records)
	require.Zero(t, c.Stats().Evicted)
	require.Len(t, c.groups, 2)
	require.Equal(t, 2, c.listed())
	require.Len(t, c.watches, 2)
	require.Len(t, c.dependents, 2)
	held := 0
	for i := range c.ids {
		held += c.ids[i].held
	}
	require.Equal(t, records, held)
	require.Same(t, reader, c.shared("reader"))
	for i := range uint64(n) {
		r, shared, principal, ok := get(c, i)
		require.Equal(t, i != 0 && i%3 != 2, ok, i)
		if ok {
			require.Equal(t, idOf(i), r.ID)
			require.Equal(t, []string{"reader", "writer"}[i%3], shared)
			require.Equal(t, []string{"acme", "other"}[i%3], principal)
		}
	}
	r, _, _, _ = get(c, 3)
	require.EqualValues(t, 77, r.Used.Load())
	require.EqualValues(t, 78, r.Seen.Load())

	// Hits from before: what is invalidated after it is marked in the new segment only.
	_, _, _, ok = c.Live(&hit, &sum)
	require.True(t, ok)
	_, _, _, ok = c.Live(&hitGone, &gone)
	require.False(t, ok)
	c.Apply([]Change{{Token: textOf(3)}}, 2)
	_, _, _, ok = c.Live(&hit, &sum)
	require.False(t, ok)
	c.Apply([]Change{{Dependency: role("writer")}}, 3)
	require.False(t, has(c, 4), "dependencies outlive a segment")
	require.True(t, has(c, 6))
	c.Apply([]Change{{Dependency: role("reader")}}, 4)
	c.replaceAll()
	groups, bearers, records = c.referred()
	require.Equal(t, []int{0, 0, 0}, []int{groups, bearers, records})
	require.Empty(t, c.groups)
	require.Zero(t, c.listed())
	require.Empty(t, c.watches)
	require.Empty(t, c.dependents)
}

// replaceAll replaces each segment, as a Put does that finds no room.
func (c testCache) replaceAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.distinct() {
		c.replace(s, i)
	}
}

// distinct returns the segments, each by a place in it.
func (c testCache) distinct() map[uint32]*segment[string, string] {
	all, seen := map[uint32]*segment[string, string]{}, map[*segment[string, string]]bool{}
	for i := range c.segments {
		if s := c.segments[i].Load(); !seen[s] {
			seen[s] = true
			all[uint32(uint64(i)<<(32-c.bits))] = s
		}
	}
	return all
}

// With as many valid records as are to be kept, those that were added first make room.
// TestWhatEndsIsAnEighthAtMost: tokens that ended stay until room is made, and are never more than an eighth of those
// that were valid then. A cache that is far from full grows no further, however many come and go.
func TestWhatEndsIsAnEighthAtMost(t *testing.T) {
	const stay, come = 2000, 20_000
	c := newCache(10 * stay)
	for i := range uint64(stay) {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	epoch, least, most := uint64(0), int64(math.MaxInt64), int64(0)
	for i := range uint64(come) {
		e := entryOf(stay+i, fmt.Sprint("role ", i))
		e.Epoch, e.Alone = epoch, true
		c.Put(sumOf(stay+i), e)
		epoch++
		c.Apply([]Change{{Token: textOf(stay + i)}}, epoch)
		if i > stay {
			least, most = min(least, c.Cache.Stats().Records), max(most, c.Cache.Stats().Records)
		}
	}
	segments := int64(len(c.distinct()))
	require.LessOrEqual(t, most, stay+stay/8+2*segments, "one that ends while room is made is valid")
	require.LessOrEqual(t, least, stay+2*segments, "all that ended make room")
	require.GreaterOrEqual(t, most, int64(stay+stay/16), "the control: they stay until then")
	groups, bearers, _ := c.referred()
	require.LessOrEqual(t, groups, 1+stay/8+2*int(segments))
	require.LessOrEqual(t, bearers, 1+stay/8+2*int(segments))
	require.Zero(t, c.Cache.Stats().Evicted)
	for i := range uint64(stay) {
		require.True(t, has(c, i))
	}
}

func TestEviction(t *testing.T) {
	const max = 100
	c := newCache(max)
	for i := range uint64(10_000) {
		c.Put(sumOf(i), entryOf(i, "reader"))
		require.True(t, has(c, i), "the newest")
		require.LessOrEqual(t, c.Stats().Records, int64(2*max))
		if i >= max {
			for _, back := range []uint64{max / 2, max - 1} {
				require.True(t, has(c, i-back), "%d: those that came last", i)
			}
		}
	}
	require.False(t, has(c, 0))
	_, _, records := c.referred()
	require.EqualValues(t, records, c.Stats().Records)
	require.EqualValues(t, 10_000, int64(records)+c.Stats().Evicted)
	one := newCache(1)
	for i := range uint64(100) {
		one.Put(sumOf(i), entryOf(i, "reader"))
		require.True(t, has(one, i))
	}
}

// With many segments none holds more than its part, and what is valid is kept while there are no more than max.
func TestEvictionInParts(t *testing.T) {
	const max = 1 << 14
	c := newCache(max)
	require.Greater(t, len(c.segments), 4)
	for i := range uint64(max) {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	for i := range uint64(max) {
		require.True(t, has(c, i))
	}
	for i := range uint64(4 * max) {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	require.Len(t, c.distinct(), len(c.segments))
	for _, s := range c.distinct() {
		require.LessOrEqual(t, s.used, c.most())
	}
	require.LessOrEqual(t, c.Stats().Records, int64(2*max))
}

// The cache grows with the valid records, and none is lost on the way.
func TestGrowth(t *testing.T) {
	const n = 30_000
	c := newCache(n)
	for i := range uint64(n) {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	for i := range uint64(n) {
		require.True(t, has(c, i))
		count := 0
		for range c.recordsOf("acme", idOf(i)) {
			count++
		}
		require.Equal(t, 1, count)
	}
	groups, bearers, _ := c.referred()
	require.Equal(t, []int{1, 1}, []int{groups, bearers})
}

// Of a cache that grows, records and indexes take at most 120 bytes a token, however far it has grown.
func TestMemoryOfAToken(t *testing.T) {
	scale := 1000
	if testing.Short() {
		scale = 100
	}
	for _, n := range []int{100 * scale, 110 * scale, 120 * scale, 130 * scale} {
		c := newCache(2 * n)
		for i := range uint64(n) {
			c.Put(sumOf(i), entryOf(i, "reader"))
		}
		bytes := uintptr(len(c.segments)) * 8
		for _, s := range c.distinct() {
			bytes += unsafe.Sizeof(*s) + uintptr(len(s.slots))*unsafe.Sizeof(s.slots[0])
			bytes += uintptr(cap(*s.bearers.Load())) * 8
		}
		for i := range c.ids {
			bytes += uintptr(len(c.ids[i].words)) * 8
		}
		require.Less(t, float64(bytes)/float64(n), 120.0, n)
	}
}

// A segment is divided only once it is as large as it may get, so that few tokens lie near each other.
func TestSegmentsAreDivided(t *testing.T) {
	c := newCache(1 << 18)
	require.Len(t, c.segments, 1<<c.bits)
	require.Len(t, c.distinct(), 1)
	n := uint64(0)
	for until := uint64(c.most()); n < until; n++ {
		c.Put(sumOf(n), entryOf(n, "reader"))
	}
	require.Len(t, c.distinct(), 1)
	for until := 10 * n; n < until; n++ {
		c.Put(sumOf(n), entryOf(n, "reader"))
	}
	require.Greater(t, len(c.distinct()), 10)
	require.Less(t, len(c.distinct()), 32)
	require.Zero(t, c.Stats().Evicted)
	for i := range n {
		require.True(t, has(c, i))
	}
	_, _, records := c.referred()
	require.EqualValues(t, n, records)
	c.Reset(1)
	require.Len(t, c.distinct(), 1)
}

// Segments that are nearly full of valid records are not replaced by each Put.
func TestPutsReplaceFewSegments(t *testing.T) {
	c := newCache(1 << 15)
	n, replaced := uint64(c.most()-1), 0
	for i := range 4 * n {
		sum := sumOf(i % n)
		at := c.segment(keyOfSum(&sum).place())
		before := at.Load()
		c.Put(sum, entryOf(i%n, "reader"))
		if at.Load() != before {
			replaced++
		}
	}
	require.Less(t, replaced, 200)
}

// A hit from before its segment was divided is looked up again: what is invalidated now is marked in the parts only.
func TestLiveAfterADivision(t *testing.T) {
	c := newCache(1 << 15)
	e := entryOf(0, "reader")
	c.Put(sumOf(0), e)
	sum := sumOf(0)
	hit, ok := c.Lookup(&sum)
	require.True(t, ok)
	for i := uint64(1); len(c.distinct()) == 1; i++ {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	old := hit
	_, _, _, ok = c.Live(&old, &sum)
	require.True(t, ok)
	c.Apply([]Change{{Token: uuidv7.Text(e.ID), Owner: "acme", Epoch: 1}}, 1)
	_, _, _, ok = c.Live(&hit, &sum)
	require.False(t, ok)
}

// A change that can be remade is remade by one entry that is as new as what was applied.
func TestRemade(t *testing.T) {
	edit := func(c testCache, id string, epoch uint64) {
		c.Apply([]Change{{Dependency: role(id), Remade: true}}, epoch)
	}
	put := func(c testCache, n, epoch uint64, value string, content byte) {
		e := entryOf(n, "reader")
		e.Epoch, e.Value, e.Key.Content[0] = epoch, &value, content
		e.Deps = append(e.Deps, role("inherited by "+value))
		c.Put(sumOf(n), e)
	}
	value := func(c testCache, n uint64) string {
		_, shared, _, _ := get(c, n)
		return shared
	}
	t.Run("one entry serves all", func(t *testing.T) {
		c := newCache(10)
		for n := range uint64(5) {
			put(c, n, 1, "old", 1)
		}
		edit(c, "reader", 2)
		for n := range uint64(5) {
			require.False(t, has(c, n))
		}
		c.replaceAll()
		c.Apply([]Change{{Token: textOf(4)}}, 3)
		put(c, 0, 3, "new", 2)
		for n := range uint64(4) {
			require.Equal(t, "new", value(c, n))
		}
		require.False(t, has(c, 4), "its own record has changed")
		key := keyOf("reader")
		key.Content[0] = 2
		got, deps := c.Shared(&key)
		require.Equal(t, "new", *got)
		require.Equal(t, role("inherited by new"), deps[1])
		key.Content[0] = 1
		got, _ = c.Shared(&key)
		require.Nil(t, got, "of the old versions")

		edit(c, "inherited by old", 4)
		require.True(t, has(c, 1), "it depends on that no more")
		edit(c, "inherited by new", 5)
		require.False(t, has(c, 1))
	})
	t.Run("shapes that begin alike", func(t *testing.T) {
		c := newCache(10)
		put(c, 0, 1, "old", 1)
		e, other := entryOf(1, "reader"), "old as well"
		e.Epoch, e.Value, e.Key.Shape[len(e.Key.Shape)-1] = 1, &other, 1
		c.Put(sumOf(1), e)
		require.Equal(t, "old as well", value(c, 1))
		edit(c, "reader", 2)
		put(c, 0, 2, "new", 2)
		require.Equal(t, "new", value(c, 0))
		require.False(t, has(c, 1))
	})
	t.Run("an entry of before", func(t *testing.T) {
		c := newCache(10)
		put(c, 0, 1, "old", 1)
		put(c, 1, 1, "old", 1)
		edit(c, "reader", 2)
		put(c, 0, 1, "old", 1)
		require.False(t, has(c, 0))
		require.False(t, has(c, 1))
	})
	t.Run("an entry of after", func(t *testing.T) {
		c := newCache(10)
		put(c, 0, 1, "old", 1)
		put(c, 1, 1, "old", 1)
		edit(c, "reader", 2)
		put(c, 0, 3, "newer", 3)
		require.Equal(t, "newer", value(c, 0), "its own record is of that epoch")
		require.False(t, has(c, 1), "what changed it may have changed the record too, and is not applied yet")
		c.Apply([]Change{{Token: textOf(1)}}, 3)
		put(c, 0, 3, "newer", 3)
		require.Equal(t, "newer", value(c, 0))
		require.False(t, has(c, 1))
	})
	t.Run("a record of after", func(t *testing.T) {
		c := newCache(10)
		put(c, 0, 1, "old", 1)
		put(c, 1, 9, "old", 1)
		edit(c, "reader", 2)
		put(c, 0, 2, "new", 2)
		require.Equal(t, "new", value(c, 0))
		require.False(t, has(c, 1), "its record is of epoch 9, and the value of 2")
		c.Apply(nil, 9)
		put(c, 0, 9, "newest", 3)
		require.Equal(t, "new", value(c, 0)[:3])
	})
	t.Run("a value that may be of after", func(t *testing.T) {
		c := newCache(10)
		put(c, 0, 1, "old", 1)
		put(c, 1, 1, "old", 1)
		edit(c, "reader", 2)
		value := "new"
		e := entryOf(0, "reader")
		e.Epoch, e.Latest, e.Value, e.Key.Content[0] = 2, 3, &value, 2
		c.Put(sumOf(0), e)
		require.True(t, has(c, 0))
		require.False(t, has(c, 1), "its record may have changed at epoch 3")
	})
	t.Run("other changes are for good", func(t *testing.T) {
		c := newCache(10)
		put(c, 0, 1, "old", 1)
		put(c, 1, 1, "old", 1)
		edit(c, "reader", 2)
		c.Apply([]Change{{Dependency: role("reader")}}, 3)
		put(c, 0, 3, "new", 1)
		require.True(t, has(c, 0))
		require.False(t, has(c, 1))
	})
	t.Run("so is a reset", func(t *testing.T) {
		c := newCache(10)
		c.NewFeed()
		put(c, 0, 1, "old", 1)
		put(c, 1, 1, "old", 1)
		edit(c, "reader", 2)
		c.Reset(1)
		put(c, 0, 2, "new", 1)
		require.True(t, has(c, 0))
		require.False(t, has(c, 1))
	})
	t.Run("another owner's record has the id", func(t *testing.T) {
		c := newCache(10)
		put(c, 0, 1, "old", 1)
		c.Apply([]Change{{Dependency: role("reader"), Owner: "globex", Remade: true}}, 2)
		require.True(t, has(c, 0))
	})
}

// The last use of a token is that of any of its secrets, also of one whose record is not valid any more.
func TestSeen(t *testing.T) {
	c := newCache(10)
	put := func(n, token uint64, seen int64) {
		e := entryOf(token, "reader")
		e.Seen = seen
		c.Put(sumOf(n), e)
	}
	put(1, 7, 100)
	put(2, 7, 300)
	put(3, 8, 900)
	require.EqualValues(t, 300, c.Seen("acme", idOf(7), 1000))
	require.Zero(t, c.Seen("globex", idOf(7), 1000))
	require.Zero(t, c.Seen("acme", idOf(9), 1000))
	c.Apply([]Change{{Token: textOf(7)}}, 1)
	require.EqualValues(t, 300, c.Seen("acme", idOf(7), 1000))
	require.EqualValues(t, 250, c.Seen("acme", idOf(7), 250), "a use to come is one of now")
	require.EqualValues(t, 250, c.Seen("acme", idOf(7), 1000))
	c.Apply([]Change{{Dependency: role("reader")}}, 2)
	require.EqualValues(t, 900, c.Seen("acme", idOf(8), 1000))
}

// The numbers of Puts begin anew after 2^30, and are still told apart by age.
func TestAgesBeginAnew(t *testing.T) {
	c := newCache(100)
	c.Put(sumOf(0), entryOf(0, "reader"))
	c.segment(0).Load().puts = 1<<30 - 50
	for i := uint64(1); i < 100; i++ {
		c.Put(sumOf(i), entryOf(i, "reader"))
	}
	s := c.segment(0).Load()
	for i := uint64(1); i < 100; i++ {
		r, _, _, ok := get(c, i)
		require.True(t, ok)
		require.EqualValues(t, 99-i, s.age(r))
	}
}

// A reader never sees a record half written, or another token's, whatever is added, dropped or rebuilt meanwhile; and
// once Apply has returned it does not see what was invalidated.
func TestReadersMeetWriters(t *testing.T) {
	const tokens = 6000
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
				if s, deps := c.Shared(&e.Key); s != nil {
					e.Value, e.Deps = s, deps
				}
				c.Put(sumOf(n), e)
			}
		})
	}
	writers.Go(func() {
		for n := uint64(0); n < tokens; n += 5 {
			deleted[n].Store(true)
			c.Apply([]Change{{Token: textOf(n)}}, next())
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
		if _, _, _, ok := c.Live(&hit, &sum); !ok || c.Epoch() != 0 {
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
	c.Apply([]Change{{Epoch: 6, Token: textOf(1)}}, 6)
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
