package consistency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A mass revocation on one node, while others issue and mint. On every engine, what was made before it began is
// revoked, and what is begun after it returned works.
func TestMassRevocationWhileOthersMake(t *testing.T) {
	onBackends(t, func(t *testing.T, at backend) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		var managers []*latchkey.Manager
		for range 2 {
			keys := latchkey.New(at.store(t), nil)
			t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
			managers = append(managers, keys)
		}
		const times = 5
		type made struct {
			secret    string
			from, end int64 // revocations that had returned when it was begun, and that had begun when it was there
		}
		var mu sync.Mutex
		var all []made
		var begun, returned, last atomic.Int64
		var makers sync.WaitGroup
		for g := range 6 {
			m, other := managers[g%2], managers[(g+1)%2]
			makers.Go(func() {
				for last.Load() < 20 {
					from := returned.Load()
					_, secret, err := m.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
					if errors.Is(err, latchkey.ErrConflict) {
						continue
					}
					require.NoError(t, err)
					list := []made{{secret.Reveal(), from, begun.Load()}}
					a, err := other.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
					if err == nil {
						from := returned.Load()
						_, child, err := a.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
						if err == nil {
							list = append(list, made{child.Reveal(), from, begun.Load()})
						} else if !errors.Is(err, latchkey.ErrRevoked) && !errors.Is(err, latchkey.ErrConflict) {
							require.NoError(t, err)
						}
					} else {
						require.ErrorIs(t, err, latchkey.ErrRevoked)
						require.Greater(t, begun.Load(), from, "it was dead when it was made")
					}
					mu.Lock()
					all = append(all, list...)
					mu.Unlock()
					if from == times {
						last.Add(1)
					}
				}
			})
		}
		for i := range times {
			time.Sleep(20 * time.Millisecond)
			begun.Add(1)
			require.NoError(t, managers[i%2].For("acme").Configure(ctx, func(o *latchkey.Owner) error {
				o.NotBefore = time.Now()
				return nil
			}))
			returned.Add(1)
		}
		makers.Wait()
		dead, alive := 0, 0
		for _, one := range all {
			for _, m := range managers {
				_, err := m.Verify(ctx, latchkey.Presented{Secret: one.secret})
				switch {
				case one.end < times:
					require.ErrorIs(t, err, latchkey.ErrInvalidToken)
					dead++
				case one.from == times:
					require.NoError(t, err)
					alive++
				}
			}
		}
		require.NotZero(t, dead)
		require.NotZero(t, alive)
	})
}
