package harness

import (
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Penguin is a line of the example server's CSV by its headings. Tests compare with it what the server answers.
type Penguin map[string]string

// Penguins returns all lines of the CSV.
func Penguins(t *testing.T) []Penguin {
	t.Helper()
	file, err := os.Open(Path(t, "..", "examples", "server", "penguins.csv"))
	require.NoError(t, err)
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	require.Len(t, lines, 345)
	var all []Penguin
	for _, line := range lines[1:] {
		one := Penguin{}
		for i, heading := range lines[0] {
			one[heading] = line[i]
		}
		all = append(all, one)
	}
	return all
}

// Where returns the ids of the penguins that match, in order.
func Where(t *testing.T, match func(Penguin) bool) []int {
	t.Helper()
	var ids []int
	for _, one := range Penguins(t) {
		if match(one) {
			id, err := strconv.Atoi(one["id"])
			require.NoError(t, err)
			ids = append(ids, id)
		}
	}
	require.True(t, slices.IsSorted(ids))
	return ids
}

// EveryPenguin matches all.
func EveryPenguin(Penguin) bool { return true }

// OnBiscoe matches penguins of that island.
func OnBiscoe(b Penguin) bool { return b["island"] == "Biscoe" }

// OnDream matches penguins of that island.
func OnDream(b Penguin) bool { return b["island"] == "Dream" }

// IsHeavy matches penguins of at least 4 kg.
func IsHeavy(b Penguin) bool {
	n, err := strconv.Atoi(b["body_mass_g"])
	return err == nil && n >= 4000
}

// IsGentoo matches penguins of that species.
func IsGentoo(b Penguin) bool { return b["species"] == "Gentoo" }

// Not matches what f does not.
func Not(f func(Penguin) bool) func(Penguin) bool { return func(b Penguin) bool { return !f(b) } }

// Both matches what f and g match.
func Both(f, g func(Penguin) bool) func(Penguin) bool {
	return func(b Penguin) bool { return f(b) && g(b) }
}
