package credits

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

func TestADebitNamesItsAccounts(t *testing.T) {
	token, parent := [16]byte{1}, [16]byte{2}
	now := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC).UnixMicro()
	for name, c := range map[string]struct {
		limits Limits
		key    [16]byte
		ids    []string
	}{
		"its own": {Limits{List: []Limit{{Own: true, Credits: 1}, {TokenID: "p", Credits: 2}, {Credits: 3}}}, token,
			[]string{uuidv7.Text(token), "p", ""}},
		"of a parent": {Limits{Nearest: parent, List: []Limit{{TokenID: "p", Credits: 1}}}, parent, []string{"p"}},
		"the owner's": {Limits{List: []Limit{{Credits: 1}}}, [16]byte{}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Debit{Owner: "acme", Meter: "reads", Token: token, Limits: &c.limits}
			require.Equal(t, lineKey{"acme", "reads", c.key}, d.key())
			accounts := d.accounts(now)
			require.Equal(t, len(c.ids), accounts.Len())
			for i, id := range c.ids {
				require.Equal(t, Account{TokenID: id, Meter: "reads", Period: "2026-11", Limit: int64(i) + 1}, accounts.At(i))
			}
			require.EqualValues(t, 1, c.limits.smallest())
		})
	}
}

func TestWhichLimitsAreEqual(t *testing.T) {
	set := func(l ...Limit) *Limits { return &Limits{List: l} }
	one := set(Limit{Own: true, Credits: 5}, Limit{TokenID: "p", Credits: 6}, Limit{Credits: 7})
	require.True(t, one.equal(one))
	require.True(t, one.equal(set(one.List...)))
	for _, other := range []*Limits{
		set(one.List[:2]...),
		set(Limit{Own: true, Credits: 4}, one.List[1], one.List[2]),
		set(one.List[0], Limit{TokenID: "q", Credits: 6}, one.List[2]),
		set(one.List[0], one.List[1], Limit{Credits: 8}),
	} {
		require.False(t, one.equal(other), "%+v", other)
	}
}

func TestMonth(t *testing.T) {
	at := func(y int, m time.Month, d int) int64 { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).UnixMicro() }
	for _, now := range []int64{at(2026, 12, 1), at(2026, 12, 31), at(2027, 1, 1) - 1} {
		from, to := month(now)
		require.Equal(t, at(2026, 12, 1), from)
		require.Equal(t, at(2027, 1, 1), to)
	}
}
