package latchkey

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// A token without a name, an Extra or attributes costs in the cache what it did before there were any: its principal
// has no more bytes, and is shared. Tokens with equal attributes share theirs, too.
func TestFactsArePaidForByTokensThatHaveThem(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(principal{}), uintptr(80))
	of := func(edit func(*Token)) (*facts, bool) {
		var token Token
		edit(&token)
		return factsOf(&token, 0)
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
