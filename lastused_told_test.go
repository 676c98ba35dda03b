package latchkey_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// What shows when a token was last used writes first what this process knows. If it cannot, it shows what is stored,
// and says that it is not the newest.
func TestLastUsesThatCannotBeWrittenAreTold(t *testing.T) {
	for name, show := range map[string]func(ctx context.Context, a latchkey.Account, id string) error{
		"Get":     func(ctx context.Context, a latchkey.Account, id string) error { return second(a.Get(ctx, id)) },
		"Lineage": func(ctx context.Context, a latchkey.Account, id string) error { return second(a.Lineage(ctx, id)) },
		"Secrets": func(ctx context.Context, a latchkey.Account, id string) error { return second(a.Secrets(ctx, id)) },
		"Tokens": func(ctx context.Context, a latchkey.Account, _ string) error {
			return drained(a.Tokens(ctx, latchkey.TokenQuery{}))
		},
		"TokensPage": func(ctx context.Context, a latchkey.Account, _ string) error {
			return second(a.TokensPage(ctx, latchkey.TokenQuery{}))
		},
		"CountTokens": func(ctx context.Context, a latchkey.Account, _ string) error {
			return second(a.CountTokens(ctx, latchkey.TokenQuery{UnusedSince: time.Unix(1e9, 0)}, 0))
		},
		"Who": func(ctx context.Context, a latchkey.Account, _ string) error {
			return drained(a.Who(ctx, latchkey.Read, "data"))
		},
		"Unused": func(ctx context.Context, a latchkey.Account, _ string) error {
			return drained(a.Manager().Unused(ctx, time.Unix(1e9, 0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // so that nothing is written by itself
				var told []latchkey.Failure
				kit := latchkeytest.New(t, &latchkey.Options{Observer: latchkey.Observer{
					Failed: func(_ context.Context, f latchkey.Failure) { told = append(told, f) }}})
				acme := kit.Manager.For("acme")
				token, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(t, err)
				require.NoError(t, show(t.Context(), acme, token.ID))
				require.Empty(t, told, "nothing is waiting")
				_, err = acme.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
				require.NoError(t, err)
				kit.Store.Fail(func(call string) error {
					if call == "AddUsage" {
						return latchkey.ErrUnavailable
					}
					return nil
				})
				require.NoError(t, show(t.Context(), acme, token.ID))
				require.NotEmpty(t, told)
				require.ErrorIs(t, told[0].Err, latchkey.ErrUnavailable)
				require.Contains(t, told[0].Message, "last uses")
			})
		})
	}
}
