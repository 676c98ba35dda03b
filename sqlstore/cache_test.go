package sqlstore

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// newFound returns a token of an owner with roles, as read as of an epoch.
func newFound(epoch uint64, owner string, roles ...latchkey.Role) *latchkey.Found {
	f := &latchkey.Found{Epoch: epoch, Roles: roles, Owner: latchkey.Owner{ID: owner, Version: 1}}
	f.Token.Owner = owner
	for _, r := range roles {
		f.Token.Roles = append(f.Token.Roles, r.ID)
	}
	return f
}

// cached reports whether the cache can serve a cut.
func cached(rc *recordCache, f *latchkey.Found, was cacheMark) bool {
	f = &latchkey.Found{Token: f.Token, Epoch: f.Epoch}
	return rc.owner(f, was) && rc.roles(f, was)
}

func addToCache(rc *recordCache, f *latchkey.Found, was cacheMark) {
	rc.addOwner(f, was)
	rc.addRoles(f, was)
}

func TestCacheServesOnlyItsEpochs(t *testing.T) {
	rc := newRecordCache()
	rc.epoch = 10
	r := latchkey.Role{ID: "r", Owner: "acme"}
	addToCache(rc, newFound(10, "acme", r), rc.mark())
	rc.epoch = 12 // the feed has no change of it
	for _, c := range []struct {
		name  string
		epoch uint64
		was   cacheMark
		want  bool
	}{
		{"as of the epoch it was read at", 10, cacheMark{10, 0}, true},
		{"as of a later one that the feed has reached", 12, cacheMark{10, 0}, true},
		{"before it was read", 9, cacheMark{9, 0}, false},
		{"later than the feed has reached", 13, cacheMark{12, 0}, false},
		{"a cut of another history", 11, cacheMark{12, 0}, false},
		{"everything was forgotten meanwhile", 11, cacheMark{10, 1}, false},
	} {
		require.Equal(t, c.want, cached(rc, newFound(c.epoch, "acme", r), c.was), c.name)
	}
	require.False(t, cached(rc, newFound(12, "globex", r), rc.mark()), "another owner's role is another role")

	was := rc.mark()
	addToCache(rc, newFound(11, "globex", r), was)
	require.False(t, cached(rc, newFound(11, "globex", r), was), "read before the feed, it may have changed since")
	rc.reset(12)
	addToCache(rc, newFound(12, "globex", r), was)
	require.False(t, cached(rc, newFound(12, "globex", r), rc.mark()), "what was read before everything was forgotten")
}

func TestCacheInvalidate(t *testing.T) {
	a, b := latchkey.Role{ID: "a", Inherits: []string{"gone"}}, latchkey.Role{ID: "b"}
	for _, c := range []struct {
		change latchkey.Change
		left   string // what is still cached
	}{
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedRole, ID: "a"}, "b"},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedRole, ID: "gone"}, "b"},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedOwner, ID: "acme"}, ""},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedToken, ID: "a"}, "ab"},
		{latchkey.Change{Owner: "globex", Kind: latchkey.ChangedRole, ID: "a"}, "ab"},
	} {
		rc := newRecordCache()
		both := newFound(0, "acme", a, b)
		addToCache(rc, both, rc.mark())
		rc.invalidate(c.change)
		left := ""
		for _, r := range []latchkey.Role{a, b} {
			if cached(rc, newFound(0, "acme", r), rc.mark()) {
				left += r.ID
			}
		}
		require.Equal(t, c.left, left, "%+v", c.change)
		checkSize(t, rc)
	}
}

func checkSize(t *testing.T, rc *recordCache) {
	total := 0
	for _, o := range rc.owners {
		weight := entrySize + o.owner.size
		for _, r := range o.roles {
			weight += r.size
		}
		for _, k := range o.tokens {
			weight += k.size
		}
		require.Equal(t, weight, o.size)
		total += weight
	}
	require.Equal(t, total, rc.size)
}

func TestCacheAncestors(t *testing.T) {
	grand := latchkey.Token{ID: "grand", Owner: "acme"}
	parent := latchkey.Token{ID: "parent", Owner: "acme", Parent: "grand", Depth: 1}
	child := func(ancestors ...latchkey.Token) *latchkey.Found {
		f := newFound(0, "acme")
		f.Token.ID, f.Token.Parent, f.Ancestors = "child", "parent", ancestors
		return f
	}
	knows := func(rc *recordCache) bool { return rc.ancestors(child(), rc.mark()) }
	rc := newRecordCache()
	require.False(t, knows(rc))
	rc.addAncestors(child(parent, grand), rc.mark())
	f := child()
	require.True(t, rc.ancestors(f, rc.mark()))
	require.Equal(t, []latchkey.Token{parent, grand}, f.Ancestors)
	rc.addAncestors(child(parent, grand), rc.mark()) // adding it again adds no size
	checkSize(t, rc)
	for _, c := range []struct {
		change latchkey.Change
		left   bool
	}{
		{latchkey.Change{Owner: "globex", Kind: latchkey.ChangedToken, ID: "parent"}, true},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedToken, ID: "child"}, true},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedRole, ID: "parent"}, true},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedToken, ID: "parent"}, false},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedToken, ID: "grand"}, false},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedOwner, ID: "acme"}, false},
	} {
		rc.addAncestors(child(parent, grand), rc.mark())
		rc.invalidate(c.change)
		require.Equal(t, c.left, knows(rc), "%+v", c.change)
		checkSize(t, rc)
	}
	for what, spoil := range map[string]func(*latchkey.Token){ // Purge may remove it, or its last use matters
		"an end":       func(p *latchkey.Token) { p.Validity.NotAfter = fromMicros(sql.NullInt64{Int64: 1, Valid: true}) },
		"an idle time": func(p *latchkey.Token) { p.Validity.Idle = 1 },
		"a revocation": func(p *latchkey.Token) { p.Revoked = fromMicros(sql.NullInt64{Int64: 1, Valid: true}) },
	} {
		for i := range 2 {
			rc, chain := newRecordCache(), []latchkey.Token{parent, grand}
			spoil(&chain[i])
			rc.addAncestors(child(chain...), rc.mark())
			require.False(t, knows(rc), "%s of %s", what, chain[i].ID)
			checkSize(t, rc)
		}
	}
	ring := newRecordCache()
	grand.Parent = "parent"
	ring.addAncestors(child(parent, grand), ring.mark())
	require.False(t, knows(ring), "a ring ends")
}

// The size counts everything that an ancestor may hold, or maxSize would not be a bound.
func TestCacheSizeOfAncestors(t *testing.T) {
	const n = 1000
	long := strings.Repeat("x", 10*n)
	for what, grow := range map[string]func(*latchkey.Token){
		"a name":   func(p *latchkey.Token) { p.Name = long },
		"a client": func(p *latchkey.Token) { p.Client.Name = long },
		"extra":    func(p *latchkey.Token) { p.Extra = []byte(long) },
		"roles":    func(p *latchkey.Token) { p.Roles = slices.Repeat([]string{"0123456789"}, n) },
		"domains":  func(p *latchkey.Token) { p.Restrictions.Domains = slices.Repeat([]string{"0123456789"}, n) },
		"rules": func(p *latchkey.Token) {
			p.Permissions = slices.Repeat(latchkey.Permissions{latchkey.Allow(latchkey.Read).On("0123456789")}, n)
		},
		"rows": func(p *latchkey.Token) {
			p.Rows = slices.Repeat([]latchkey.Condition{latchkey.Where("0123", latchkey.Eq, "456789")}, n)
		},
		"forced": func(p *latchkey.Token) {
			p.Forced = latchkey.Values{}
			for i := range n {
				p.Forced[fmt.Sprintf("%010d", i)] = int64(i)
			}
		},
	} {
		rc := newRecordCache()
		parent := latchkey.Token{ID: "parent", Owner: "acme"}
		grow(&parent)
		f := newFound(0, "acme")
		f.Token.Parent, f.Ancestors = "parent", []latchkey.Token{parent}
		rc.addAncestors(f, rc.mark())
		require.True(t, rc.ancestors(f, rc.mark()), what)
		require.Greater(t, rc.size, 10*n, what)
		checkSize(t, rc)
	}
}

func TestCacheIsBounded(t *testing.T) {
	rc := newRecordCache()
	rc.maxSize = 100 * entrySize
	for i := range 500 {
		owner := fmt.Sprint("owner ", i)
		f := newFound(0, owner, latchkey.Role{ID: "r", Extra: make([]byte, i)})
		addToCache(rc, f, rc.mark())
		require.LessOrEqual(t, rc.size, rc.maxSize)
		require.True(t, cached(rc, f, rc.mark()), "the newest is there")
		checkSize(t, rc)
	}
	for _, one := range []struct {
		size int
		kept bool
	}{{rc.maxSize, true}, {2*rc.maxSize - 3*entrySize, true}, {2 * rc.maxSize, false}} {
		big := newFound(0, "big", latchkey.Role{ID: "r", Extra: make([]byte, one.size)})
		addToCache(rc, big, rc.mark())
		require.Equal(t, one.kept, cached(rc, big, rc.mark()), "one owner may take twice the space, alone")
		require.LessOrEqual(t, rc.size, 2*rc.maxSize)
		require.LessOrEqual(t, len(rc.owners), 1)
		checkSize(t, rc)
		small := newFound(0, "small", latchkey.Role{ID: "r"})
		addToCache(rc, small, rc.mark())
		require.True(t, cached(rc, small, rc.mark()))
		require.LessOrEqual(t, rc.size, rc.maxSize, "the next one takes its place")
		checkSize(t, rc)
	}
}

// An owner's name may be a part of the text of a whole feed, which is not kept.
func TestTheCacheKeepsNoTextOfTheFeed(t *testing.T) {
	rc := newRecordCache()
	read := strings.Repeat("globex", 1000)
	for epoch := range uint64(2) {
		rc.applyFeed(&latchkey.Feed{Epoch: 1 + epoch, Changes: []latchkey.Change{{Epoch: 1 + epoch, Owner: read[:6],
			Kind: latchkey.ChangedToken}}}, false)
	}
	require.EqualValues(t, 2, rc.epoch)
	require.False(t, rc.unchangedSince("globex", 1))
	require.True(t, rc.unchangedSince("globex", 2))
	for owner := range rc.lastChange {
		require.Equal(t, "globex", owner)
		require.NotSame(t, unsafe.StringData(read), unsafe.StringData(owner))
	}
}
