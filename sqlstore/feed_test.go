package sqlstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestWholePage(t *testing.T) {
	for _, c := range []struct {
		epochs   string // of the rows that were read
		n        int
		complete bool
		want     string
	}{
		{"", 2, true, ""},
		{"1 2 3", 3, true, "1 2 3"},
		{"1 2 2", 3, true, "1 2 2"},
		{"1 2 2", 2, false, "1"},
		{"1 1 1", 2, true, "1 1 1"}, // longer than n, but one transaction
		{"1 1 1", 2, false, ""},     // the transaction may have more rows
		{"1 1 1 2 2", 2, false, "1 1 1"},
		{"1 2 3", 2, false, "1 2"},
		{"1 2 2 3", 2, false, "1"},
	} {
		var rows []latchkey.Change
		for _, e := range strings.Fields(c.epochs) {
			rows = append(rows, latchkey.Change{Epoch: uint64(e[0] - '0')})
		}
		var got []string
		for _, r := range wholePage(rows, c.n, c.complete) {
			got = append(got, fmt.Sprint(r.Epoch))
		}
		require.Equal(t, c.want, strings.Join(got, " "), "%+v", c)
	}
}
