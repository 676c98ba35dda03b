package harness

import (
	"encoding/csv"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Penguin is a line of the CSV by its headings: what the tests know about the data without asking any of the code.
type Penguin map[string]string

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

// Where is the ids of the birds that match, in order.
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

func EveryPenguin(Penguin) bool { return true }

func OnBiscoe(b Penguin) bool { return b["island"] == "Biscoe" }

func OnDream(b Penguin) bool { return b["island"] == "Dream" }

func IsHeavy(b Penguin) bool {
	n, err := strconv.Atoi(b["body_mass_g"])
	return err == nil && n >= 4000
}

func IsGentoo(b Penguin) bool { return b["species"] == "Gentoo" }

func Not(f func(Penguin) bool) func(Penguin) bool { return func(b Penguin) bool { return !f(b) } }

func Both(f, g func(Penguin) bool) func(Penguin) bool {
	return func(b Penguin) bool { return f(b) && g(b) }
}
