package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// BenchmarkSQLiteRevokeAll revokes b.N tokens by a selector, of the host and of an actor, each token with an audit
// event. It reports tokens per second.
func BenchmarkSQLiteRevokeAll(b *testing.B) {
	ctx := context.Background()
	for _, by := range []string{"host", "actor"} {
		b.Run(by, func(b *testing.B) {
			db := harness.OpenSQLite(b, harness.WAL(harness.NewFile(b))+"&_pragma=synchronous(FULL)")
			keys := latchkey.New(harness.OpenSQLiteStore(b, db), nil)
			b.Cleanup(func() { require.NoError(b, keys.Close(ctx)) })
			acme := keys.For("acme")
			role, err := acme.CreateRole(ctx, latchkey.Role{Name: "r",
				Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}})
			require.NoError(b, err)
			_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
			require.NoError(b, err)
			actor, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(b, err)
			if by == "actor" {
				acme, err = acme.As(actor)
				require.NoError(b, err)
			}
			for range b.N {
				_, _, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "A key of a customer",
					Roles: []string{role.ID}})
				require.NoError(b, err)
			}
			b.ResetTimer()
			began := time.Now()
			swept, err := acme.RevokeAll(ctx, latchkey.Selector{Role: role.ID}, "the role is gone")
			require.NoError(b, err)
			require.Equal(b, b.N, swept.Done)
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "tokens/s")
		})
	}
}
