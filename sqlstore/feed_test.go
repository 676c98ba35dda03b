package sqlstore

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

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

// A text that does not agree in full is an error: no change is lost, and none is taken for another.
func TestPackedChanges(t *testing.T) {
	pack := func(epoch int, kind latchkey.ChangeKind, owner, id, until string) string {
		shape := int64(kind)<<41 + int64(len(owner))<<21 + int64(len(id))<<1
		if until != "" {
			shape++
			until += " "
		}
		return fmt.Sprint(epoch, " ", shape, " ", until, owner, id)
	}
	packed := []string{pack(7, latchkey.ChangedToken, "acme", "token 1", ""),
		pack(8, latchkey.ChangedRole, "ü", "role", ""),
		pack(8, latchkey.ChangedOwner, "acme", "", ""), pack(9, latchkey.ChangedRevocation, "acme", "4 revoked", "1500000"),
		pack(9, latchkey.ChangedRevocation, "acme", "", "-1")}
	text := strings.Join(packed, "")
	changes, err := unpackChanges(nil, len(packed), text)
	require.NoError(t, err)
	require.Equal(t, []latchkey.Change{
		{Epoch: 7, Owner: "acme", Kind: latchkey.ChangedToken, ID: "token 1"},
		{Epoch: 8, Owner: "ü", Kind: latchkey.ChangedRole, ID: "role"},
		{Epoch: 8, Owner: "acme", Kind: latchkey.ChangedOwner},
		{Epoch: 9, Owner: "acme", Kind: latchkey.ChangedRevocation, ID: "4 revoked", Until: time.UnixMicro(1500000).UTC()},
		{Epoch: 9, Owner: "acme", Kind: latchkey.ChangedRevocation, Until: time.UnixMicro(-1).UTC()},
	}, changes)
	last := pack(math.MaxInt64, latchkey.ChangedToken, "acme", "token 1", "-9223372036854775808")
	changes, err = unpackChanges(nil, 1, last)
	require.NoError(t, err)
	require.EqualValues(t, math.MaxInt64, changes[0].Epoch)
	require.Equal(t, time.UnixMicro(math.MinInt64).UTC(), changes[0].Until)
	after := []latchkey.Change{{Epoch: 8}}
	changes, err = unpackChanges(after, 2, packed[1]+packed[2])
	require.NoError(t, err)
	require.Len(t, changes, 3)
	require.Equal(t, "role", changes[1].ID)
	_, err = unpackChanges(after, 1, packed[0])
	require.ErrorIs(t, err, errPackedChanges, "texts in another order")
	none, err := unpackChanges(nil, 0, "")
	require.NoError(t, err)
	require.Empty(t, none)
	for name, c := range map[string]struct {
		n    int
		text string
	}{
		"fewer rows":            {4, text},
		"more rows":             {6, text},
		"no text":               {1, ""},
		"no row":                {0, packed[0]},
		"another order":         {2, packed[1] + packed[0]},
		"an epoch that is text": {1, "x" + packed[0]},
		"no shape":              {1, "7 "},
		"no until":              {1, pack(9, latchkey.ChangedRevocation, "acme", "x", "soon")},
		"an epoch too large":    {1, "9223372036854775808" + packed[0][1:]},
		"an epoch with no end":  {1, "7"},
		"an end that is short":  {5, text[:len(text)-1]},
		"an end that is long":   {5, text + "x"},
	} {
		_, err := unpackChanges(nil, c.n, c.text)
		require.ErrorIs(t, err, errPackedChanges, name)
	}
}
