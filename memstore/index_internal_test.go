package memstore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// filled returns an index of n keys in rising order.
func filled(n int) *index[int] {
	x := &index[int]{}
	for i := range n {
		x.put(fmt.Sprintf("%03d", i), i)
	}
	return x
}

// Removed keys are kept until they are more than half of all, and more than 64.
func TestIndexForgetsRemovedKeys(t *testing.T) {
	for _, c := range []struct{ size, kept int }{{66, 64}, {128, 64}, {200, 100}, {201, 100}} {
		x := filled(c.size)
		for i := range c.kept {
			x.remove(fmt.Sprintf("%03d", i))
		}
		require.Len(t, x.keys, c.size, "%d of %d are removed", c.kept, c.size)
		require.Equal(t, c.kept, x.dead)
		x.remove(fmt.Sprintf("%03d", c.kept))
		require.Len(t, x.keys, c.size-c.kept-1, "one more")
		require.Zero(t, x.dead)
		x.remove("none")
		require.Zero(t, x.dead)
		i := c.kept + 1
		for key, v := range x.after("") {
			require.Equal(t, fmt.Sprintf("%03d", i), key)
			require.Equal(t, i, v)
			i++
		}
		require.Equal(t, c.size, i)
	}
}

// A key that was removed and is put again is listed once, wherever it stands, in both directions.
func TestIndexPutsAgainWhatWasRemoved(t *testing.T) {
	for _, again := range []string{"000", "005", "009"} {
		x := filled(10)
		x.remove("003")
		x.remove(again)
		var without, with, back []string
		for key := range x.after("") {
			without = append(without, key)
		}
		require.Len(t, without, 8)
		require.NotContains(t, without, again)
		x.put(again, 7)
		for key := range x.after("") {
			with = append(with, key)
		}
		for key, v := range x.before("") {
			back = append([]string{key}, back...)
			if key == again {
				require.Equal(t, 7, v)
			}
		}
		require.Len(t, with, 9)
		require.ElementsMatch(t, append(without, again), with)
		require.IsIncreasing(t, with)
		require.Equal(t, with, back, "backwards the removed ones are left out, too")
		require.Equal(t, 1, x.dead)
	}
}
