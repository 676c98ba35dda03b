package sqlstore

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
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
		require.Equal(t, weight, o.weight)
		total += weight
	}
	require.Equal(t, total, m.weight)
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

// A packed token that is not exactly what was written is an error, never a token with a part missing.
func TestUnpack(t *testing.T) {
	const head = "7,1,,2,3,0,1,-5,,,60,9,1,8,2,3,2,4,1,6,0,3,1,0,2,2,1;"
	const text = "SSEEE" + "hh" + "acme" + "1" + "parent" + "abc" + "i" + "xx" + "yy" + "p" + `{"full":true}`
	read := func(packed string) (latchkey.Found, error) {
		return (&foundRow{secret: secretRow{digest: make([]byte, 32)}, packed: packed}).found()
	}
	f, err := read(head + text)
	require.NoError(t, err)
	require.Equal(t, []any{uint32(7), []byte("SS"), "hh"}, []any{f.Secret.KeyID, f.Secret.Sealed, f.Secret.Hint})
	require.Equal(t, []any{"acme", "1", "parent", "", "abc", "i", "", "xx", "yy", "p", "EEE"}, []any{f.Token.Owner, f.Token.ID,
		f.Token.Parent, f.Token.Origin, f.Token.Name, f.Token.Client.ID, f.Token.Client.Name, f.Token.Reason, f.Token.Hint,
		f.Token.Public, string(f.Token.Extra)})
	require.True(t, f.Token.Full && f.Token.Disabled && !f.Token.Revoked.IsZero() && !f.Token.Used.IsZero())
	require.Equal(t, fromMicros(sql.NullInt64{Int64: -5, Valid: true}), f.Token.Created)
	require.True(t, f.Token.Validity.NotAfter.IsZero())

	for _, bad := range []string{
		head, "x", ";", text, strings.Replace(head, ",", ",,", 1) + text, strings.Replace(head, ",1;", ";", 1) + text,
		strings.Replace(head, ";", ",0;", 1) + text, strings.Replace(head, ",6,", ",600,", 1) + text,
		strings.Replace(head, ",6,", ",-6,", 1) + text, strings.Replace(head, "7,", ",", 1) + text,
		strings.Replace(head, "7,", "x,", 1) + text, strings.Replace(head, ",1;", ",;", 1) + text,
	} {
		_, err := read(bad)
		require.Error(t, err, "%q", bad)
	}
	for cut := 1; cut < len(head+text); cut++ { // what is left of the body is no whole text either
		_, err := read((head + text)[:cut])
		require.Error(t, err, "cut off at %d", cut)
	}
}
