package sqlstore

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/stretchr/testify/require"
)

// found is a token of an owner with roles, as it was read as of an epoch.
func found(epoch uint64, owner string, roles ...latchkey.Role) *latchkey.Found {
	f := &latchkey.Found{Epoch: epoch, Roles: roles, Owner: latchkey.Owner{ID: owner, Version: 1}}
	f.Token.Owner = owner
	for _, r := range roles {
		f.Token.Roles = append(f.Token.Roles, r.ID)
	}
	return f
}

// knows says whether the memory can answer for a cut.
func knows(m *memory, f *latchkey.Found, was mark) bool {
	f = &latchkey.Found{Token: f.Token, Epoch: f.Epoch}
	return m.owner(f, was) && m.roles(f, was)
}

func learn(m *memory, f *latchkey.Found, was mark) {
	m.learnOwner(f, was)
	m.learnRoles(f, was)
}

func TestMemoryAnswersForItsEpochsOnly(t *testing.T) {
	m := newMemory()
	m.epoch = 10
	r := latchkey.Role{ID: "r", Owner: "acme"}
	learn(m, found(10, "acme", r), m.mark())
	m.epoch = 12 // the feed said nothing about it
	for _, c := range []struct {
		name  string
		epoch uint64
		was   mark
		want  bool
	}{
		{"as of the epoch it was read at", 10, mark{10, 0}, true},
		{"as of a later one that the feed has reached", 12, mark{10, 0}, true},
		{"before it was read", 9, mark{9, 0}, false},
		{"later than the feed has reached", 13, mark{12, 0}, false},
		{"a cut of another history", 11, mark{12, 0}, false},
		{"everything was forgotten meanwhile", 11, mark{10, 1}, false},
	} {
		require.Equal(t, c.want, knows(m, found(c.epoch, "acme", r), c.was), c.name)
	}
	require.False(t, knows(m, found(12, "globex", r), m.mark()), "another owner's role is another role")

	was := m.mark()
	learn(m, found(11, "globex", r), was)
	require.False(t, knows(m, found(11, "globex", r), was), "what was read before the feed was may have changed since")
	m.forget(12)
	learn(m, found(12, "globex", r), was)
	require.False(t, knows(m, found(12, "globex", r), m.mark()), "what was read before everything was forgotten")
}

func TestMemoryDropsWhatChanged(t *testing.T) {
	a, b := latchkey.Role{ID: "a", Inherits: []string{"gone"}}, latchkey.Role{ID: "b"}
	for _, c := range []struct {
		change latchkey.Change
		left   string // what is still known
	}{
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedRole, ID: "a"}, "b"},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedRole, ID: "gone"}, "b"},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedOwner, ID: "acme"}, ""},
		{latchkey.Change{Owner: "acme", Kind: latchkey.ChangedToken, ID: "a"}, "ab"},
		{latchkey.Change{Owner: "globex", Kind: latchkey.ChangedRole, ID: "a"}, "ab"},
	} {
		m := newMemory()
		both := found(0, "acme", a, b)
		learn(m, both, m.mark())
		m.drop(c.change)
		left := ""
		for _, r := range []latchkey.Role{a, b} {
			if knows(m, found(0, "acme", r), m.mark()) {
				left += r.ID
			}
		}
		require.Equal(t, c.left, left, "%+v", c.change)
		checkWeight(t, m)
	}
}

func checkWeight(t *testing.T, m *memory) {
	total := 0
	for _, o := range m.owners {
		weight := entryWeight + o.owner.weight
		for _, r := range o.roles {
			weight += r.weight
		}
		for _, k := range o.tokens {
			weight += k.weight
		}
		require.Equal(t, weight, o.weight)
		total += weight
	}
	require.Equal(t, total, m.weight)
}

func TestMemoryKeepsAncestors(t *testing.T) {
	grand := latchkey.Token{ID: "grand", Owner: "acme"}
	parent := latchkey.Token{ID: "parent", Owner: "acme", Parent: "grand", Depth: 1}
	child := func(ancestors ...latchkey.Token) *latchkey.Found {
		f := found(0, "acme")
		f.Token.ID, f.Token.Parent, f.Ancestors = "child", "parent", ancestors
		return f
	}
	knows := func(m *memory) bool { return m.ancestors(child(), m.mark()) }
	m := newMemory()
	require.False(t, knows(m))
	m.learnAncestors(child(parent, grand), m.mark())
	f := child()
	require.True(t, m.ancestors(f, m.mark()))
	require.Equal(t, []latchkey.Token{parent, grand}, f.Ancestors)
	m.learnAncestors(child(parent, grand), m.mark()) // once more weighs no more
	checkWeight(t, m)
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
		m.learnAncestors(child(parent, grand), m.mark())
		m.drop(c.change)
		require.Equal(t, c.left, knows(m), "%+v", c.change)
		checkWeight(t, m)
	}
	for what, spoil := range map[string]func(*latchkey.Token){ // Purge may remove it, or its last use decides
		"an end":       func(p *latchkey.Token) { p.Validity.NotAfter = fromMicros(sql.NullInt64{Int64: 1, Valid: true}) },
		"an idle time": func(p *latchkey.Token) { p.Validity.Idle = 1 },
		"a revocation": func(p *latchkey.Token) { p.Revoked = fromMicros(sql.NullInt64{Int64: 1, Valid: true}) },
	} {
		for i := range 2 {
			m, chain := newMemory(), []latchkey.Token{parent, grand}
			spoil(&chain[i])
			m.learnAncestors(child(chain...), m.mark())
			require.False(t, knows(m), "%s of %s", what, chain[i].ID)
			checkWeight(t, m)
		}
	}
	ring := newMemory()
	grand.Parent = "parent"
	ring.learnAncestors(child(parent, grand), ring.mark())
	require.False(t, knows(ring), "a ring ends")
}

// What is kept weighs what it takes, whatever it consists of: else the bound would be none.
func TestMemoryWeighsAncestors(t *testing.T) {
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
		m := newMemory()
		parent := latchkey.Token{ID: "parent", Owner: "acme"}
		grow(&parent)
		f := found(0, "acme")
		f.Token.Parent, f.Ancestors = "parent", []latchkey.Token{parent}
		m.learnAncestors(f, m.mark())
		require.True(t, m.ancestors(f, m.mark()), what)
		require.Greater(t, m.weight, 10*n, what)
		checkWeight(t, m)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	m.max = 100 * entryWeight
	for i := range 500 {
		owner := fmt.Sprint("owner ", i)
		f := found(0, owner, latchkey.Role{ID: "r", Extra: make([]byte, i)})
		learn(m, f, m.mark())
		require.LessOrEqual(t, m.weight, m.max)
		require.True(t, knows(m, f, m.mark()), "the newest is there")
		checkWeight(t, m)
	}
	big := found(0, "big", latchkey.Role{ID: "r", Extra: make([]byte, m.max)})
	learn(m, big, m.mark())
	require.False(t, knows(m, big, m.mark()), "what is too big is not kept")
	require.LessOrEqual(t, m.weight, m.max)
	checkWeight(t, m)
}
