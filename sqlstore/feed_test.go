package sqlstore

import (
	"database/sql"
	"fmt"
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

// Lists that do not agree in full are an error: no change is lost, and none is taken for another.
func TestPackedChanges(t *testing.T) {
	text := func(s string) sql.NullString { return sql.NullString{String: s, Valid: true} }
	shape := func(kind latchkey.ChangeKind, owner, id string, until bool) string {
		n := int64(kind)<<41 + int64(len(owner))<<21 + int64(len(id))<<1
		if until {
			n++
		}
		return fmt.Sprint(n)
	}
	good := func() packedChanges {
		return packedChanges{n: 4, epochs: text("7 8 8 9"), untils: text("1500000"), owners: text("acmeüacmeacme"),
			ids: text("token 1rolerevoked"), shapes: text(strings.Join([]string{
				shape(latchkey.ChangedToken, "acme", "token 1", false), shape(latchkey.ChangedRole, "ü", "role", false),
				shape(latchkey.ChangedOwner, "acme", "", false), shape(latchkey.ChangedRevocation, "acme", "revoked", true)}, " "))}
	}
	p := good()
	changes, err := p.unpack()
	require.NoError(t, err)
	require.Equal(t, []latchkey.Change{
		{Epoch: 7, Owner: "acme", Kind: latchkey.ChangedToken, ID: "token 1"},
		{Epoch: 8, Owner: "ü", Kind: latchkey.ChangedRole, ID: "role"},
		{Epoch: 8, Owner: "acme", Kind: latchkey.ChangedOwner},
		{Epoch: 9, Owner: "acme", Kind: latchkey.ChangedRevocation, ID: "revoked", Until: time.UnixMicro(1500000).UTC()},
	}, changes)
	none, err := (&packedChanges{}).unpack()
	require.NoError(t, err)
	require.Empty(t, none)
	for name, damage := range map[string]func(p *packedChanges){
		"fewer rows":             func(p *packedChanges) { p.n = 3 },
		"more rows":              func(p *packedChanges) { p.n = 5 },
		"no epochs":              func(p *packedChanges) { p.epochs = sql.NullString{} },
		"another order":          func(p *packedChanges) { p.epochs = text("7 9 8 9") },
		"an epoch that is text":  func(p *packedChanges) { p.epochs = text("7 8 x 9") },
		"one more epoch":         func(p *packedChanges) { p.epochs.String += " 10" },
		"one more shape":         func(p *packedChanges) { p.shapes.String += " 0" },
		"no until":               func(p *packedChanges) { p.untils = sql.NullString{} },
		"one more until":         func(p *packedChanges) { p.untils.String += " 1" },
		"an owner that is short": func(p *packedChanges) { p.owners.String = p.owners.String[1:] },
		"an owner that is long":  func(p *packedChanges) { p.owners.String += "x" },
		"an id that is short":    func(p *packedChanges) { p.ids.String = p.ids.String[1:] },
		"an id that is long":     func(p *packedChanges) { p.ids.String += "x" },
	} {
		p := good()
		damage(&p)
		_, err := p.unpack()
		require.ErrorIs(t, err, errPackedChanges, name)
	}
}
