package latchkey_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func TestExplainWithoutTheSecret(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	acme := keys.For("acme")
	ctx := t.Context()
	reader, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("by", latchkey.Eq, latchkey.ClientID))}})
	require.NoError(t, err)
	key, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{reader.ID}})
	require.NoError(t, err)
	access, err := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	child, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "42"}})
	require.NoError(t, err)

	ask := []latchkey.Question{{latchkey.Read, "dataset/a"}, {latchkey.Update, "dataset/a"}}
	got, err := acme.Explain(ctx, child.ID, ask...)
	require.NoError(t, err)
	require.Equal(t, "some", got[0].Verdict)
	require.Equal(t, `by = "42"`, got[0].Rows.String(), "references are filled in")
	require.Equal(t, "none", got[1].Verdict)
	got, err = acme.Explain(ctx, key.ID, ask[0])
	require.NoError(t, err)
	require.True(t, got[0].Rows.IsNoRows(), "the key is for no client")

	_, err = keys.For("other").Explain(ctx, key.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	_, err = keys.For("other").ExplainRole(ctx, reader.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrNotFound)

	of := func(rules ...latchkey.Rule) latchkey.Account {
		who, err := acme.As(must(acme.Assume(latchkey.Client{ID: "desk"}, rules)))
		require.NoError(t, err)
		return who
	}
	_, err = of().Explain(ctx, key.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	_, err = of(latchkey.Allow(latchkey.Read).On("latchkey/token/*")).Explain(ctx, key.ID, ask...)
	require.ErrorIs(t, err, latchkey.ErrDenied, "the answer shows the rules of a role")
	_, err = of(latchkey.Allow(latchkey.Read).On("latchkey/*")).Explain(ctx, child.ID, ask...)
	require.NoError(t, err)

	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/b")}
		return nil
	}))
	got, err = acme.ExplainRole(ctx, reader.ID, latchkey.Question{Action: latchkey.Read, Resource: "dataset/a"},
		latchkey.Question{Action: latchkey.Read, Resource: "dataset/b"})
	require.NoError(t, err)
	require.Equal(t, "owner boundary", got[0].Decided)
	require.Equal(t, "none", got[0].Verdict)
	require.Equal(t, "role reader", got[1].Decided)
	require.Equal(t, "by = client_id", got[1].Rows.String())
}

func TestSeekPage(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
	acme := keys.For("acme")
	ctx := t.Context()
	var ids []string
	seek := func(size int, before string) []string {
		t.Helper()
		q := latchkey.TokenQuery{Page: latchkey.Page{Limit: size}}
		after, err := acme.SeekPage(ctx, q, before)
		require.NoError(t, err)
		q.After = after
		var got []string
		for token, err := range acme.Tokens(ctx, q) {
			require.NoError(t, err)
			if got = append(got, token.ID); len(got) == size {
				break
			}
		}
		return got
	}
	require.Empty(t, seek(5, ""))
	for i := range 300 {
		if i%7 == 0 {
			now = now.Add(time.Duration(i) * time.Minute) // others come within one tick of the clock
		}
		token, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Name: fmt.Sprint("key ", i)})
		require.NoError(t, err)
		ids = append(ids, token.ID)
	}
	for _, size := range []int{1, 5, 25, 299, 300, 1000} {
		require.Equal(t, ids[max(0, 300-size):], seek(size, ""), size)
		for _, at := range []int{299, 150, size, size / 2, 1} {
			if at < 300 {
				require.Equal(t, ids[max(0, at-size):][:min(size, 300)], seek(size, ids[at]), "%d before %d", size, at)
			}
		}
	}
}
