package latchkey

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/tokencache"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// A token without a name, an Extra or attributes costs in the cache what it did before there were any: its principal
// has no more bytes, and is shared. Tokens with equal attributes share theirs, too.
func TestFactsArePaidForByTokensThatHaveThem(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(principal{}), uintptr(48))
	of := func(edit func(*Token)) (*facts, bool) {
		var token Token
		edit(&token)
		return factsOf(&token, 0, new(recentFacts))
	}
	none, alone := of(func(*Token) {})
	require.Nil(t, none)
	require.False(t, alone)
	sales, alone := of(func(t *Token) { t.Attributes = Attributes{"dept": "sales"} })
	require.False(t, alone)
	again, _ := of(func(t *Token) { t.Attributes = Attributes{"dept": "sales"} })
	require.Same(t, sales, again)
	other, _ := of(func(t *Token) { t.Attributes, t.ChildAttributes = Attributes{"dept": "sales"}, []string{"team"} })
	require.NotSame(t, sales, other)
	named, alone := of(func(t *Token) { t.Name, t.Attributes = "laptop", Attributes{"dept": "sales"} })
	require.True(t, alone)
	require.Equal(t, "sales", named.attributes.values["dept"])
	runtime.KeepAlive(sales)
}

// A stored record that forces a reference was not made by a mint. It allows nothing.
func TestStoredForcedReferencesAllowNothing(t *testing.T) {
	p := newPolicy([]layer{{full: true, forced: Values{"owner": ClientID}}}, nil)
	for _, a := range []Action{Read, Create} {
		require.Equal(t, verdictNone, p.verdict(a, "row"))
		require.Empty(t, p.grants(a, "row"))
	}
}

// Rights of a token's own that are large are known by the token's version: to write them out would take longer than a
// look-up. Small ones are shared by tokens that have the same.
func TestLargeOwnRightsAreKnownByVersion(t *testing.T) {
	own := func(id string, n int) Found {
		f := Found{Token: Token{ID: id, Owner: "acme", Kind: KindAPIKey, Version: 3}}
		for i := range n {
			f.Token.Permissions = append(f.Token.Permissions, Allow(Read).On(Exactly(Path("d", fmt.Sprint(i)))))
		}
		return f
	}
	same := func(a, b Found) bool { return keyOfRights(&a) == keyOfRights(&b) }
	require.True(t, same(own("a", 3), own("b", 3)))
	require.False(t, same(own("a", 3), own("a", 4)), "an owner that was erased begins again with version 1")
	require.False(t, same(own("a", 1000), own("b", 1000)))
	require.True(t, same(own("a", 1000), own("a", 1000)))
	newer := own("a", 1000)
	newer.Token.Version++
	require.False(t, same(own("a", 1000), newer))
	again := own("a", 1000)
	again.Token.Created = again.Token.Created.AddDate(1, 0, 0)
	require.False(t, same(own("a", 1000), again))
	rows := own("a", 0)
	values := make([]any, 1000)
	for i := range values {
		values[i] = i
	}
	rows.Token.Rows = []Condition{Where("n", In, values)}
	require.Greater(t, ownParts(&rows.Token), spelledOut)
}

// The versions of roles are apart in a key: all else decides which tokens follow a role that is made anew.
func TestKeysTellRolesApart(t *testing.T) {
	f := Found{Token: Token{ID: "a", Owner: "acme", Kind: KindAPIKey, Settings: Settings{Roles: []string{"r"}}},
		Owner: Owner{Version: 1}, Ancestors: []Token{{ID: "p", Version: 1}}, Roles: []Role{{ID: "r", Version: 1}}}
	is := keyOfRights(&f)
	for name, c := range map[string]struct {
		edit           func(*Found)
		shape, content bool
	}{
		"a role's version": {func(f *Found) { f.Roles = []Role{{ID: "r", Version: 2}} }, true, false},
		"a role is gone":   {func(f *Found) { f.Roles = nil }, true, false},
		"one more":         {func(f *Found) { f.Roles = append(f.Roles, Role{ID: "s", Version: 1}) }, true, false},
		"a role is taken":  {func(f *Found) { f.Token.Roles = nil }, false, true},
		"the parent's":     {func(f *Found) { f.Ancestors = []Token{{ID: "p", Version: 2}} }, false, true},
		"the owner's":      {func(f *Found) { f.Owner.Version = 2 }, false, true},
		"another owner":    {func(f *Found) { f.Token.Owner = "globex" }, false, true},
		"a rule":           {func(f *Found) { f.Token.Permissions = Permissions{Deny(Any).On("*")} }, false, true},
		"rows":             {func(f *Found) { f.Token.Rows = []Condition{AllRows} }, false, true},
		"a test token":     {func(f *Found) { f.Token.Test = true }, false, true},
		"another kind":     {func(f *Found) { f.Token.Kind = KindPublishable }, false, true},
		"forced values":    {func(f *Found) { f.Token.Forced = Values{"a": 1} }, false, true},
		"a rate":           {func(f *Found) { f.Token.Limits.Rate = PerSecond(1) }, false, true},
		"signed":           {func(f *Found) { f.Token.Restrictions.Signed = true }, false, true},
	} {
		g := f
		c.edit(&g)
		got := keyOfRights(&g)
		require.Equal(t, c.shape, got.Shape == is.Shape, name)
		require.Equal(t, c.content, got.Content == is.Content, name)
	}
}

// A first Verify of a token whose rights are known allocates as much for 10,000 rules as for one.
func TestAllocationsOfAFirstVerifyDoNotGrow(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	key := func(n int) (f Found) {
		f.Token = Token{ID: "a", Owner: "acme", Kind: KindAPIKey, Settings: Settings{
			Permissions: make(Permissions, n), Roles: []string{"r"}}}
		for i := range n {
			f.Token.Permissions[i] = Allow(Read).On(Exactly(Path("d", fmt.Sprint(i))))
		}
		f.Roles = []Role{{ID: "r", Version: 1, Permissions: f.Token.Permissions}}
		return f
	}
	m := New(&slowStore{}, nil)
	bytes := func(f Found) uint64 {
		e, err := m.compile(f)
		require.NoError(t, err)
		feed, err := m.feed(f.Feed)
		require.NoError(t, err)
		e.ID[0] = 1
		feed.cached.Put([32]byte{1}, *e)
		const runs = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			again, err := m.compile(f)
			if err != nil || again.Value != e.Value {
				t.Fatal("compiled again")
			}
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / runs
	}
	require.Less(t, bytes(key(10_000)), uint64(16<<10))
	require.NoError(t, m.Close(context.Background()))
}

// Forget makes the next Verify of a secret read the store. What its token may do stays known.
func (m *Manager) Forget(owner string, sum *[32]byte) {
	hit, ok := m.cache.Lookup(sum)
	if !ok {
		return
	}
	if r, _, _, ok := m.cache.Live(&hit, sum); ok {
		feed := m.follower(hit.Feed()).cached
		feed.Apply(slices.Values([]tokencache.Change{{Owner: owner, Token: uuidv7.Text(r.ID)}}), feed.Epoch())
	}
}

// Rights that know more roles have a Shape of their own. An ancestor is told from another one with its id by its time.
func TestShapesOfRights(t *testing.T) {
	shape := [32]byte{1}
	seen := map[[32]byte]bool{shape: true}
	for _, roles := range [][]string{{"a"}, {"b"}, {"a", "b"}, {"ab"}} {
		of := besideShape(shape, roles)
		require.False(t, seen[of], "%q", roles)
		seen[of] = true
	}
	f := Found{Token: Token{Kind: KindAccess}, Ancestors: []Token{{ID: "k", Version: 1, Created: fromMicros(1)}}}
	was := keyOfRights(&f)
	f.Ancestors[0].Created = fromMicros(2)
	require.NotEqual(t, was, keyOfRights(&f))
}

// What is kept of a revocation may be a part of a longer text, which is not kept.
func TestRevocationsKeepNoTextOfTheFeed(t *testing.T) {
	read := strings.Repeat("acme and id", 100)
	r := revocations{known: true, of: map[revocationKey]revokedBefore{}}
	for epoch := range uint64(2) {
		r.follow(epoch, []Change{{Epoch: 1 + epoch, Owner: read[:4], Kind: ChangedRevocation, Of: RevokedClient,
			ID: read[9:11], Until: time.Unix(1, 0)}}, 1+epoch, 0)
	}
	require.Len(t, r.of, 1)
	for key := range r.of {
		require.Equal(t, revocationKey{"acme", RevokedClient, "id"}, key)
		require.NotSame(t, unsafe.StringData(read), unsafe.StringData(key.owner))
		require.NotSame(t, unsafe.StringData(read[9:]), unsafe.StringData(key.id))
	}
}

// What the cache holds of a token is no part of the text of its record, which would stay in memory as a whole.
func TestPrincipalsHoldNoRecord(t *testing.T) {
	record := "owner root client-id client-name token-name"
	f := Found{Token: Token{Owner: record[:5], Client: Client{ID: record[11:20], Name: record[21:32]},
		Settings: Settings{Name: record[33:]}}, Ancestors: []Token{{ID: record[6:10]}}}
	who, _ := New(noStore{}, nil).principalOf(&f, lineageOf(&f, 0), 0)
	start := uintptr(unsafe.Pointer(unsafe.StringData(record)))
	for of, text := range map[string]string{"owner": who.owner, "root": who.root, "client-id": who.client.ID,
		"client-name": who.client.Name, "token-name": who.more().name} {
		require.Equal(t, of, text)
		at := uintptr(unsafe.Pointer(unsafe.StringData(text)))
		require.False(t, at >= start && at < start+uintptr(len(record)), of)
	}
}

// What names no attribute leaves a set as it is, also one that does not exist.
func TestNarrowedByNoAttribute(t *testing.T) {
	some := newAttributeSet(Attributes{"a": "b"}, []string{"c"})
	for _, s := range []*attributeSet{nil, some} {
		for _, more := range []Attributes{nil, {}} {
			got, err := s.narrowed(more)
			require.NoError(t, err)
			require.Same(t, s, got)
		}
	}
}

// A client that is added leaves what else is known of a caller where it is.
func TestFactsOfACallerThatBecomesAClients(t *testing.T) {
	attributes := newAttributeSet(Attributes{"a": "b"}, nil)
	p := &principal{facts: &facts{attributes: attributes, apart: &apartRights{}}}
	who := p.as(Client{ID: "7"}, attributes)
	require.Same(t, p.facts, who.facts, "nothing is copied")
	who = p.as(Client{ID: "7"}, nil)
	require.Same(t, p.facts.apart, who.facts.apart)
	require.Nil(t, who.attributes())
	require.Same(t, attributes, p.attributes())
	require.Nil(t, (&principal{}).as(Client{ID: "7"}, nil).facts)
}
