package credits

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

func TestADebitNamesItsAccounts(t *testing.T) {
	now := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
	at := func(y int, m time.Month, d int) int64 { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).UnixMicro() }
	token, parent := idOf(now.AddDate(0, -2, 0)), [16]byte{2}
	month := func(tokenID string, limit int64) Account {
		return Account{TokenID: tokenID, Meter: "reads", Period: "2026-11", Limit: limit, Resets: at(2026, 12, 1),
			Ends: at(2027, 1, 1)}
	}
	for name, c := range map[string]struct {
		limits   *Limits
		key      [16]byte
		accounts []Account
	}{
		"its own": {&Limits{List: []Limit{{Own: true, Period: monthly, Credits: 1},
			{TokenID: "p", Period: monthly, Credits: 2}, {Period: monthly, Credits: 3}}}, token,
			[]Account{month(uuidv7.Text(token), 1), month("p", 2), month("", 3)}},
		"of a parent": {&Limits{Nearest: parent, List: []Limit{{TokenID: "p", Period: monthly, Credits: 1}}}, parent,
			[]Account{month("p", 1)}},
		"the owner's": {&Limits{List: []Limit{{Period: monthly, Credits: 1}}}, [16]byte{}, []Account{month("", 1)}},
		"several of its own": {&Limits{List: []Limit{{Own: true, Period: Period{Unit: Forever}, Credits: 5, Carry: 9},
			{Own: true, Period: Period{Unit: Day}, Credits: 1, Carry: 2}}}, token, []Account{
			{TokenID: uuidv7.Text(token), Meter: "reads", Limit: 5},
			{TokenID: uuidv7.Text(token), Meter: "reads", Period: "2026-11-30/P1D", Limit: 1, Carry: 2,
				CarryFrom: "2026-11-29/P1D", Resets: at(2026, 12, 1), Ends: at(2026, 12, 2)}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Debit{Owner: "acme", Meter: "reads", Token: token, Limits: c.limits}
			require.Equal(t, lineKey{"acme", "reads", c.key}, d.key())
			accounts, err := d.Accounts(now.UnixMicro())
			require.NoError(t, err)
			require.Equal(t, len(c.accounts), accounts.Len())
			for i, want := range c.accounts {
				require.Equal(t, want, accounts.At(i))
			}
			require.EqualValues(t, 1, c.limits.smallest())
			_, err = d.Accounts(-1)
			require.ErrorIs(t, err, fault.ErrUnavailable)
		})
	}
}

// idOf is the id of a token that was made at a time.
func idOf(made time.Time) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(made.UnixMilli())<<16|0x7000)
	return id
}

// Nothing is carried into the period in which a token was made, and into each later one.
func TestATokenCarriesOnlyFromItsOwnTime(t *testing.T) {
	made := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		now   time.Time
		from  string
		about string
	}{
		{made, "", "the day in which it was made"},
		{made.Add(12*time.Hour - time.Microsecond), "", "to its end"},
		{made.Add(12 * time.Hour), "2026-11-30/P1D", "the next day draws on the one in which it was made"},
		{made.Add(36 * time.Hour), "2026-12-01/P1D", "and the one after on that"},
	} {
		daily := Period{Unit: Day}
		for _, own := range []bool{true, false} {
			limit := Limit{Own: own, Period: daily, Credits: 10, Carry: 5}
			if !own {
				limit.TokenID, limit.Made = "p", made.UnixMicro()
			}
			d := Debit{Meter: "reads", Token: idOf(made), Limits: &Limits{List: []Limit{limit}}}
			accounts, err := d.Accounts(c.now.UnixMicro())
			require.NoError(t, err)
			got := accounts.At(0)
			require.Equal(t, c.from, got.CarryFrom, c.about)
			require.Equal(t, c.from != "", got.Carry == 5, c.about)
		}
	}
}

func TestWhichLimitsAreEqual(t *testing.T) {
	set := func(l ...Limit) *Limits { return &Limits{List: l} }
	one := set(Limit{Own: true, Credits: 5, Period: monthly, Carry: 2}, Limit{TokenID: "p", Credits: 6}, Limit{Credits: 7})
	require.True(t, one.equal(one))
	require.True(t, one.equal(set(one.List...)))
	for _, other := range []*Limits{
		set(one.List[:2]...),
		set(Limit{Own: true, Credits: 4, Period: monthly, Carry: 2}, one.List[1], one.List[2]),
		set(Limit{Own: true, Credits: 5, Period: monthly, Carry: 1}, one.List[1], one.List[2]),
		set(Limit{Own: true, Credits: 5, Period: Period{Unit: Month, Anchor: 2}, Carry: 2}, one.List[1], one.List[2]),
		set(one.List[0], Limit{TokenID: "q", Credits: 6}, one.List[2]),
		set(one.List[0], one.List[1], Limit{Credits: 8}),
	} {
		require.False(t, one.equal(other), "%+v", other.List)
	}
}
