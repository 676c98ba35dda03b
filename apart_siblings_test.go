package latchkey_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Tokens that one token minted for the same client share their rights. Each has the rows and forced values of its own.
func TestSiblingsHaveRowsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	_, key := w.key(latchkey.Allow(latchkey.Any).On("*"))
	var siblings []latchkey.Access
	for _, region := range []string{"EU", "US"} {
		_, text := w.mint(w.access(key), latchkey.Narrowing{Client: latchkey.Client{ID: "42"},
			Rows: []latchkey.Condition{latchkey.Where("region", latchkey.Eq, region)}})
		siblings = append(siblings, w.access(text))
	}
	for range 3 { // answers are kept
		require.Equal(t, `region = "EU"`, must(siblings[0].Filter(latchkey.Read, "orders")).String())
		require.Equal(t, `region = "US"`, must(siblings[1].Filter(latchkey.Read, "orders")).String())
	}
}

// A forced value of its own that contradicts a rule's leaves nothing to create, and one that does not contradicts
// nothing.
func TestForcedValuesOfItsOwnMayContradict(t *testing.T) {
	w := newWorld(t)
	_, key := w.key(latchkey.Allow(latchkey.Create).On("orders").Force(latchkey.Values{"region": "EU"}),
		latchkey.Allow(latchkey.Read).On("*"))
	create := latchkey.PrepareQuestion(latchkey.Create, "orders")
	for _, c := range []struct {
		forced latchkey.Values
		may    bool
	}{
		{latchkey.Values{"source": "portal"}, true},
		{latchkey.Values{"region": "US"}, false},
		{latchkey.Values{"region": "EU"}, true},
	} {
		_, text := w.mint(w.access(key), latchkey.Narrowing{Forced: c.forced})
		a := w.access(text)
		for range 2 {
			require.Equal(t, c.may, a.Allows(latchkey.Create, "orders"), c.forced)
			require.Equal(t, c.may, a.AllowsQuestion(create), c.forced)
		}
	}
}
