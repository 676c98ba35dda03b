package latchkeygrpc_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/memstore"
)

// Each refusal of a token that exists is reported once, to the Manager's Observer and to OnError, where RefusalFrom
// names the token.
func TestRefusalsAreReportedOnce(t *testing.T) { synctest.Test(t, refusalsAreReportedOnce) }

func refusalsAreReportedOnce(t *testing.T) {
	var mu sync.Mutex
	var reasons, named []string
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) {
			mu.Lock()
			defer mu.Unlock()
			reasons = append(reasons, r.Reason)
		}}})
	w := newWorldOver(t, keys, func(o *latchkeygrpc.Options, table latchkeygrpc.Table) {
		o.Recheck = time.Minute
		o.OnError = func(ctx context.Context, method string, err error) {
			mu.Lock()
			defer mu.Unlock()
			require.NotEmpty(t, method)
			require.Error(t, err)
			if r, ok := httpadapter.RefusalFrom(ctx); ok {
				named = append(named, r.TokenID)
			}
		}
		table[shop.Orders_Watch_FullMethodName] = latchkeygrpc.Require(latchkey.Read, "dataset/orders").Spend("api", 1)
	})
	w.limit = 3 * time.Hour // of the clock of synctest
	token, key := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("order/1", "dataset/orders"), latchkey.Allow(latchkey.Use).On("dataset/a")},
		Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "api", Amount: 0, Per: latchkey.Day}}}})
	w.shop.get = func(ctx context.Context, _ *shop.GetRequest) (*shop.Order, error) {
		access, _ := httpadapter.AccessFrom(ctx)
		return nil, access.Check(latchkey.Delete, "order/1")
	}
	open, err := w.call.Talk(w.with(key))
	require.NoError(t, err)
	require.NoError(t, open.Send(&shop.Order{}))
	_, err = open.Recv()
	require.NoError(t, err)
	for _, step := range []struct {
		reason string
		code   codes.Code
		do     func() error
	}{
		{"denied", codes.PermissionDenied, func() error {
			_, err := w.call.Get(w.with(key), &shop.GetRequest{Id: "2"})
			return err
		}},
		{"denied", codes.PermissionDenied, func() error { // by the handler
			_, err := w.call.Get(w.with(key), &shop.GetRequest{Id: "1"})
			return err
		}},
		{"denied", codes.PermissionDenied, func() error { // by a message
			stream, err := w.call.Chat(w.with(key))
			require.NoError(t, err)
			require.NoError(t, stream.Send(&shop.Order{Dataset: "b"}))
			_, err = stream.Recv()
			return err
		}},
		{"over_limit", codes.ResourceExhausted, func() error {
			stream, err := w.call.Watch(w.with(key), &shop.ListRequest{})
			require.NoError(t, err)
			_, err = stream.Recv()
			return err
		}},
		{"revoked", codes.Unauthenticated, func() error { // by a recheck
			require.NoError(t, w.acme.Revoke(t.Context(), token.ID, "leaked"))
			_, err := open.Recv()
			return err
		}},
		{"revoked", codes.Unauthenticated, func() error {
			_, err := w.call.Get(w.with(key), &shop.GetRequest{Id: "1"})
			return err
		}},
	} {
		mu.Lock()
		reasons, named = nil, nil
		mu.Unlock()
		require.Equal(t, step.code.String(), status.Code(step.do()).String())
		mu.Lock()
		require.Equal(t, []string{step.reason}, reasons)
		require.Equal(t, []string{token.ID}, named)
		mu.Unlock()
	}
	_, err = w.call.Get(w.anonymous(), &shop.GetRequest{Id: "1"})
	require.Error(t, err)
	mu.Lock()
	require.Len(t, reasons, 1, "nobody's token")
	mu.Unlock()
}
