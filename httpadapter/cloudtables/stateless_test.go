package cloudtables

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// writes counts the calls that change a store. Usage is one of them: a row for each client and day.
type writes struct {
	latchkey.Store
	n, uses atomic.Int64
}

func (s *writes) Write(ctx context.Context, w latchkey.Write) error {
	s.n.Add(1)
	return s.Store.Write(ctx, w)
}

func (s *writes) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	s.uses.Add(int64(len(b.Last)))
	return s.Store.AddUsage(ctx, b)
}

// With Options.Stateless the pair of requests of a page, the access call by the site and a data call by the page,
// writes no record and no last use. Usage is counted under the key.
func TestAPageViewCostsNoStorage(t *testing.T) {
	ctx := t.Context()
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return at }
	store := &writes{Store: memstore.New(&memstore.Options{Clock: clock})}
	ring, err := latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	keys := latchkey.New(store, &latchkey.Options{Clock: clock, Keyring: ring})
	defer func() { _ = keys.Close(context.WithoutCancel(ctx)) }()
	acme := keys.For("acme")
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "a", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*")}})
	require.NoError(t, err)
	token, key, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}})
	require.NoError(t, err)
	opts := &Options{Stateless: true}
	handler := Handler(acme, opts)
	access := func(client string) string {
		r := httptest.NewRequest(http.MethodPost, "/io/api/1/access", strings.NewReader("key="+key.Reveal()+
			"&role=a&clientId="+client+"&clientName=Ada&duration=3600&conditions[0][id]=dp-1&conditions[0][value]=x"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		_, text, _ := strings.Cut(w.Body.String(), `"token":"`)
		text, _, _ = strings.Cut(text, `"`)
		require.Regexp(t, `^[A-Za-z0-9_-]{100,400}$`, text)
		return text
	}
	view := func(text string) Call {
		call, err := Authorize(acme, opts)(httptest.NewRequest(http.MethodGet, dataset+"?token="+text, nil))
		require.NoError(t, err)
		return call
	}
	view(access("0"))
	require.NoError(t, keys.Close(ctx)) // the last use of the key is written
	store.n.Store(0)
	store.uses.Store(0)
	for i := range 10 {
		call := view(access(string(rune('1' + i))))
		require.True(t, latchkey.IsStateless(call.Access.TokenID()))
		require.Equal(t, at.Add(time.Hour), call.Access.Ends())
		rows, err := call.Access.Filter(latchkey.Read, "dataset/x")
		require.NoError(t, err)
		require.False(t, rows.IsAllRows())
	}
	require.NoError(t, keys.Close(ctx))
	require.Zero(t, store.n.Load(), "records")
	require.Zero(t, store.uses.Load(), "last uses")
	rows, err := acme.Usage(ctx, latchkey.UsageQuery{By: []string{"token"}})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, token.ID, rows[0].TokenID)
}
