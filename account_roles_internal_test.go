package latchkey

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// inheritance is a store that knows who inherits what.
type inheritance struct {
	Store
	heirs map[string][]string
	asked map[string]int
}

func (s *inheritance) Roles(_ context.Context, _ string, q RoleQuery) (all []Role, _ error) {
	s.asked[q.Inherits]++
	if q.After == "" {
		for _, id := range s.heirs[q.Inherits] {
			all = append(all, Role{ID: id, Owner: "acme"})
		}
	}
	return all, nil
}

// A role that inherits another one in several ways is one heir, and is followed once. A cycle, which no change can
// make, ends.
func TestHeirsAreFoundOnce(t *testing.T) {
	s := &inheritance{asked: map[string]int{}, heirs: map[string][]string{
		"base": {"left", "right"}, "left": {"top", "right"}, "right": {"top"}, "top": {"base"}}}
	var ids []string
	for r, err := range (Account{m: New(s, nil), owner: "acme"}).heirs(t.Context(), "base") {
		require.NoError(t, err)
		ids = append(ids, r.ID)
	}
	require.ElementsMatch(t, []string{"left", "right", "top"}, ids)
	for id, n := range s.asked {
		require.Equal(t, 1, n, id)
	}
}
