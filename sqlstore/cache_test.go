package sqlstore

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

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
func cached(m *recordCache, f *latchkey.Found, was cacheMark) bool {
	f = &latchkey.Found{Token: f.Token, Epoch: f.Epoch}
	return m.owner(f, was) && m.roles(f, was)
}

func addToCache(m *recordCache, f *latchkey.Found, was cacheMark) {
	m.addOwner(f, was)
	m.addRoles(f, was)
}

func TestCacheServesOnlyItsEpochs(t *testing.T) {
	m := newRecordCache()
	m.epoch = 10
	r := latchkey.Role{ID: "r", Owner: "acme"}
	addToCache(m, newFound(10, "acme", r), m.mark())
	m.epoch = 12 // the feed has no change of it
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
		require.Equal(t, c.want, cached(m, newFound(c.epoch, "acme", r), c.was), c.name)
	}
	require.False(t, cached(m, newFound(12, "globex", r), m.mark()), "another owner's role is another role")

	was := m.mark()
	addToCache(m, newFound(11, "globex", r), was)
	require.False(t, cached(m, newFound(11, "globex", r), was), "what was read before the feed was may have changed since")
	m.reset(12)
	addToCache(m, newFound(12, "globex", r), was)
	require.False(t, cached(m, newFound(12, "globex", r), m.mark()), "what was read before everything was forgotten")
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
		m := newRecordCache()
		both := newFound(0, "acme", a, b)
		addToCache(m, both, m.mark())
		m.invalidate(c.change)
		left := ""
		for _, r := range []latchkey.Role{a, b} {
			if cached(m, newFound(0, "acme", r), m.mark()) {
				left += r.ID
			}
		}
		require.Equal(t, c.left, left, "%+v", c.change)
		checkSize(t, m)
	}
}

func checkSize(t *testing.T, m *recordCache) {
	total := 0
	for _, o := range m.owners {
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
	require.Equal(t, total, m.size)
}

func TestCacheAncestors(t *testing.T) {
	grand := latchkey.Token{ID: "grand", Owner: "acme"}
	parent := latchkey.Token{ID: "parent", Owner: "acme", Parent: "grand", Depth: 1}
	child := func(ancestors ...latchkey.Token) *latchkey.Found {
		f := newFound(0, "acme")
		f.Token.ID, f.Token.Parent, f.Ancestors = "child", "parent", ancestors
		return f
	}
	knows := func(m *recordCache) bool { return m.ancestors(child(), m.mark()) }
	m := newRecordCache()
	require.False(t, knows(m))
	m.addAncestors(child(parent, grand), m.mark())
	f := child()
	require.True(t, m.ancestors(f, m.mark()))
	require.Equal(t, []latchkey.Token{parent, grand}, f.Ancestors)
	m.addAncestors(child(parent, grand), m.mark()) // adding it again adds no size
	checkSize(t, m)
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
		m.addAncestors(child(parent, grand), m.mark())
		m.invalidate(c.change)
		require.Equal(t, c.left, knows(m), "%+v", c.change)
		checkSize(t, m)
	}
	for what, spoil := range map[string]func(*latchkey.Token){ // Purge may remove it, or its last use matters
		"an end":       func(p *latchkey.Token) { p.Validity.NotAfter = fromMicros(sql.NullInt64{Int64: 1, Valid: true}) },
		"an idle time": func(p *latchkey.Token) { p.Validity.Idle = 1 },
		"a revocation": func(p *latchkey.Token) { p.Revoked = fromMicros(sql.NullInt64{Int64: 1, Valid: true}) },
	} {
		for i := range 2 {
			m, chain := newRecordCache(), []latchkey.Token{parent, grand}
			spoil(&chain[i])
			m.addAncestors(child(chain...), m.mark())
			require.False(t, knows(m), "%s of %s", what, chain[i].ID)
			checkSize(t, m)
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
		m := newRecordCache()
		parent := latchkey.Token{ID: "parent", Owner: "acme"}
		grow(&parent)
		f := newFound(0, "acme")
		f.Token.Parent, f.Ancestors = "parent", []latchkey.Token{parent}
		m.addAncestors(f, m.mark())
		require.True(t, m.ancestors(f, m.mark()), what)
		require.Greater(t, m.size, 10*n, what)
		checkSize(t, m)
	}
}

func TestCacheIsBounded(t *testing.T) {
	m := newRecordCache()
	m.maxSize = 100 * entrySize
	for i := range 500 {
		owner := fmt.Sprint("owner ", i)
		f := newFound(0, owner, latchkey.Role{ID: "r", Extra: make([]byte, i)})
		addToCache(m, f, m.mark())
		require.LessOrEqual(t, m.size, m.maxSize)
		require.True(t, cached(m, f, m.mark()), "the newest is there")
		checkSize(t, m)
	}
	big := newFound(0, "big", latchkey.Role{ID: "r", Extra: make([]byte, m.maxSize)})
	addToCache(m, big, m.mark())
	require.False(t, cached(m, big, m.mark()), "what is too big is not kept")
	require.LessOrEqual(t, m.size, m.maxSize)
	checkSize(t, m)
}
