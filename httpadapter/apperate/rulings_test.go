package apperate

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What is charged by default, and shown in whole credits.
func TestCosts(t *testing.T) {
	for _, c := range []struct {
		call Call
		want Cost
	}{
		{Call{}, Cost{}}, {Call{Route: Route{Core: true}}, Cost{Core: latchkey.Credit}},
		{Call{Route: Route{Premium: true}}, Cost{Core: latchkey.Credit}},
	} {
		require.Equal(t, c.want, DefaultCost(&c.call))
	}
	for credits, want := range map[latchkey.Credits]int64{0: 0, 1: 1, latchkey.Credit - 1: 1, latchkey.Credit: 1,
		latchkey.Credit + 1: 2, 5 * latchkey.Credit: 5} {
		require.Equal(t, want, wholeCredits(credits), credits)
	}
}

// What a page of the host's shows of each kind of data set.
func TestResourceTypesHaveNames(t *testing.T) {
	for _, r := range ResourceTypes() {
		require.NotEmpty(t, r.Name)
		require.NotEmpty(t, r.Actions)
		require.NotEmpty(t, r.Template)
	}
}
