package sqlite

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// purger purges a store and counts the statements that hold a text.
type purger struct {
	t *testing.T
	s *sqlstore.Store
	f *faulty.Connector
	p latchkey.PurgePolicy
}

func newPurger(t *testing.T) *purger {
	db, f := faulty.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	return &purger{t, harness.OpenSQLiteStore(t, db), f, latchkey.PurgePolicy{Now: world.Noon, Expired: 0, Revoked: -1,
		Changes: -1, Events: -1}}
}

// purge returns how many items one Purge removed, and how many statements were like that.
func (p *purger) purge(n int, like string) (removed, statements int) {
	p.t.Helper()
	before := p.f.Count()
	removed, err := p.s.Purge(p.t.Context(), p.p, n)
	require.NoError(p.t, err)
	for _, l := range p.f.Statements(before) {
		if strings.Contains(l.Text, like) {
			statements++
		}
	}
	return removed, statements
}

// Tokens with an idle end are examined all at once, for the Purges that follow. What is over only then is not
// forgotten, and neither is a use in between.
func TestSQLitePurgeExaminesIdleTokensOnce(t *testing.T) {
	p := newPurger(t)
	insert := func(from, to int, created time.Time) {
		w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon, Silent: true}
		for i := from; i < to; i++ {
			w.Tokens = append(w.Tokens, latchkey.Token{ID: fmt.Sprintf("%06d", i), Owner: "acme", Kind: latchkey.KindAPIKey,
				Created: created, Settings: latchkey.Settings{Validity: latchkey.Validity{Idle: time.Hour}}})
		}
		require.NoError(t, p.s.Write(t.Context(), w))
	}
	const scan = "FROM latchkey_tokens WHERE idle > 0"
	insert(0, 50, world.Noon.Add(-2*time.Hour))
	insert(50, 70, world.Noon)
	for call := range 3 {
		removed, scans := p.purge(10, scan)
		require.Equal(t, 10, removed)
		require.Equal(t, call == 0, scans == 1, "call %d: %d scans", call, scans)
	}
	list, err := p.s.Tokens(t.Context(), "acme", latchkey.TokenQuery{})
	require.NoError(t, err)
	require.Len(t, list, 40)
	b := latchkey.UsageBatch{ID: world.WriteID(), At: world.Noon}
	for _, one := range list {
		if one.Created.Before(world.Noon) && len(b.Last) < 5 {
			b.Last = append(b.Last, latchkey.LastUsed{Owner: "acme", TokenID: one.ID, At: world.Noon})
		}
	}
	require.NoError(t, p.s.AddUsage(t.Context(), b))
	insert(70, 77, world.Noon.Add(-2*time.Hour))
	removed, scans := p.purge(100, scan)
	require.Equal(t, 20-5+7, removed, "fewer than were asked for means that nothing is left")
	require.Equal(t, 1, scans)
	removed, scans = p.purge(100, scan)
	require.Equal(t, []int{0, 1}, []int{removed, scans})

	p.p.Now = world.Noon.Add(2 * time.Hour)
	removed, _ = p.purge(5, scan)
	require.Equal(t, 5, removed)
	p.p.Expired = -1 // kept from now on
	removed, _ = p.purge(100, scan)
	require.Zero(t, removed)
	list, err = p.s.Tokens(t.Context(), "acme", latchkey.TokenQuery{})
	require.NoError(t, err)
	require.Len(t, list, 20)
}

// A Purge goes on behind the accounts of credits that the one before looked at, and looks at all of them before it
// says that nothing is left.
func TestSQLitePurgeGoesOnBehindHeldAccounts(t *testing.T) {
	for _, period := range []string{"2020-01", "a week"} { // by the name of the month, and by an end of its own
		t.Run(period, func(t *testing.T) {
			p := newPurger(t)
			p.p.Changes = time.Hour
			accounts := func(from, to int) (list []latchkey.CreditAccount) {
				for i := from; i < to; i++ {
					a := latchkey.CreditAccount{TokenID: fmt.Sprintf("%06d", i), Meter: "m", Period: period, Limit: 10}
					if period == "a week" {
						a.Ends = world.Noon.Add(time.Duration(i-100_000) * time.Second)
					}
					list = append(list, a)
				}
				return list
			}
			reserve := func(key byte, of []latchkey.CreditAccount) latchkey.Reservation {
				r := latchkey.Reservation{Owner: "acme", Key: [16]byte{key}, Amount: 1, Accounts: of,
					Until: world.Noon.Add(24 * time.Hour)}
				_, err := p.s.Reserve(t.Context(), r)
				require.NoError(t, err)
				return r
			}
			held := reserve(1, accounts(0, 250))
			free := reserve(2, accounts(250, 450))
			require.NoError(t, p.s.Settle(t.Context(), "acme", free.Key, 1))
			like := map[bool]string{true: "ends <= ?", false: "ends IS NULL"}[period == "a week"]
			var removed, pages []int
			for range 5 {
				r, n := p.purge(50, like)
				removed, pages = append(removed, r), append(pages, n)
			}
			require.Equal(t, []int{50, 50, 50, 50, 0}, removed)
			require.Equal(t, []int{3, 1, 1, 1, 3}, pages, "no Purge looks at the held accounts again but the last")
			require.NoError(t, p.s.Settle(t.Context(), "acme", held.Key, 1))
			total := 0
			for r := 50; r == 50; total += r {
				r, _ = p.purge(50, like)
			}
			require.Equal(t, 250, total)

			// Behind the place where a Purge stopped an account may become free.
			held = reserve(3, accounts(0, 120))
			free = reserve(4, accounts(120, 140))
			require.NoError(t, p.s.Settle(t.Context(), "acme", free.Key, 1))
			r, _ := p.purge(10, like)
			require.Equal(t, 10, r)
			require.NoError(t, p.s.Settle(t.Context(), "acme", held.Key, 1))
			r, _ = p.purge(1000, like)
			require.Equal(t, 130, r)
			left, _, err := p.s.Taken(context.Background(), "acme", latchkey.TakenQuery{})
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}
