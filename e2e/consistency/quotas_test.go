package consistency

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// Several Managers, some with leases, spend one quota per minute while the minute turns, statements are repeated and
// answers are lost. No minute gives more than its amount and what it carries, and every credit is accounted for.
func TestAQuotaPerMinuteIsExact(t *testing.T) {
	const amount, carry, managers, clients, rounds = 300, 60, 4, 3, 60
	onBackends(t, func(t *testing.T, at backend) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		// The clock is the store's first, and ahead of it in the middle: as a rule in the next minute, always by less than
		// one minute. The later of the two counts.
		var ahead atomic.Int64
		next := min(time.Duration(65-time.Now().Second()), 58) * time.Second
		clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		store := newEcho(at.store(t))
		var all []*latchkey.Manager
		for i := range managers {
			opts := &latchkey.Options{Clock: clock}
			if i%2 == 0 {
				opts.CreditLease = func(latchkey.Credits) latchkey.Credits { return 20 }
			}
			all = append(all, latchkey.New(store, opts))
		}
		owner := "acme " + world.NewID()
		acme := all[0].For(owner)
		require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
			o.Limits.Quotas = []latchkey.Quota{{Meter: "reads", Amount: amount, Per: latchkey.Minute, Carry: carry},
				{Amount: 10 * amount, Per: latchkey.Forever}}
			return nil
		}))
		_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
		began := clock().Truncate(time.Minute)
		var acked, perhaps, asked atomic.Int64
		var work sync.WaitGroup
		for _, keys := range all {
			access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
			for range clients {
				work.Go(func() {
					for range rounds {
						if asked.Add(1) == managers*clients*rounds/2 {
							ahead.Store(int64(next))
						}
						n := latchkey.Credits(1 + rand.IntN(3))
						switch err := world.Spend(ctx, access, "reads", n); {
						case err == nil:
							acked.Add(int64(n))
						case errors.Is(err, latchkey.ErrUnavailable), errors.Is(err, latchkey.ErrUnknownOutcome):
							perhaps.Add(int64(n))
						default:
							if !errors.Is(err, latchkey.ErrOverLimit) {
								t.Errorf("a debit: %v", err)
							}
						}
					}
				})
			}
		}
		work.Wait()
		require.NoError(t, store.lapse(ctx))
		for _, keys := range all {
			for try := 0; ; try++ { // answers are lost here too
				if err = keys.Close(ctx); err == nil || try == 20 {
					break
				}
			}
			require.NoError(t, err)
		}
		require.NoError(t, store.lapse(ctx))
		taken := func(period string) latchkey.Credits {
			const most = 1 << 40
			key := world.WriteID()
			got, err := store.Store.Reserve(ctx, latchkey.Reservation{Owner: owner, Key: key, Amount: 1,
				Accounts: []latchkey.CreditAccount{{Meter: "reads", Period: period, Limit: most}}})
			require.NoError(t, err)
			require.NoError(t, store.Store.Settle(ctx, owner, key, 0))
			return most - 1 - got.Left
		}
		var sum latchkey.Credits
		minutes := 0
		for minute := began; !minute.After(clock()); minute = minute.Add(time.Minute) {
			n := taken(minute.UTC().Format("2006-01-02T15:04") + "/PT1M")
			require.LessOrEqual(t, n, latchkey.Credits(amount+carry), minute)
			if sum += n; n > 0 {
				minutes++
			}
		}
		t.Logf("%d acknowledged, perhaps %d more, in %d minutes", acked.Load(), perhaps.Load(), minutes)
		require.Equal(t, sum, taken(""), "all accounts of a debit agree")
		require.GreaterOrEqual(t, sum, latchkey.Credits(acked.Load()))
		require.LessOrEqual(t, sum, latchkey.Credits(acked.Load()+perhaps.Load()))
	})
}
