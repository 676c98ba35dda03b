package latchkeygrpc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

func TestUnary(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Read).On("order/42"), latchkey.Allow(latchkey.Update).On("dataset/books/*"))

	got, err := w.call.Get(w.with(key), &shop.GetRequest{Id: "42"})
	require.NoError(t, err)
	require.Equal(t, "42", got.Id)
	require.Contains(t, got.Note, "acme ", "the handler finds the Access where httpadapter's handlers find it")
	_, err = w.call.Get(w.with(key), &shop.GetRequest{Id: "43"})
	require.Equal(t, "DENIED", refused(t, codes.PermissionDenied, err))

	_, err = w.call.Update(w.with(key), &shop.UpdateRequest{Order: &shop.Order{Dataset: "books", Id: "1"}})
	require.NoError(t, err)
	_, err = w.call.Update(w.with(key), &shop.UpdateRequest{Order: &shop.Order{Dataset: "cards", Id: "1"}})
	refused(t, codes.PermissionDenied, err)
	_, err = w.call.Update(w.with(key), &shop.UpdateRequest{Order: &shop.Order{Dataset: "books/1", Id: "1"}})
	refused(t, codes.PermissionDenied, err)
	_, err = w.call.Update(w.with(key), &shop.UpdateRequest{})
	require.Equal(t, "BAD_REQUEST", refused(t, codes.InvalidArgument, err))
	require.Equal(t, `bad request: order.dataset: it is not set`, status.Convert(err).Message())
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			require.Equal(t, "order.dataset", bad.FieldViolations[0].Field)
			require.Equal(t, "it is not set", bad.FieldViolations[0].Description)
		}
	}
	require.Len(t, status.Convert(err).Details(), 2)

	_, err = w.call.Get(t.Context(), &shop.GetRequest{Id: "42"})
	require.Equal(t, "NO_CREDENTIAL", refused(t, codes.Unauthenticated, err))
	_, err = w.call.Get(w.with(key[:len(key)-1]), &shop.GetRequest{Id: "42"})
	require.Equal(t, "INVALID_TOKEN", refused(t, codes.Unauthenticated, err))
}

// A method without a rule is denied to everybody, whatever it presents, and a Public one is open to everybody.
func TestUnmappedAndPublic(t *testing.T) {
	w := newWorld(t, nil)
	_, admin, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	for _, ctx := range []context.Context{t.Context(), w.with(admin.Reveal())} {
		_, err := w.call.Other(ctx, &shop.ListRequest{})
		require.Equal(t, latchkeygrpc.ReasonUnmapped, refused(t, codes.PermissionDenied, err))
		stream, err := healthv1.NewHealthClient(w.conn).Watch(ctx, &healthv1.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.Equal(t, latchkeygrpc.ReasonUnmapped, refused(t, codes.PermissionDenied, err))

		_, err = healthv1.NewHealthClient(w.conn).Check(ctx, &healthv1.HealthCheckRequest{})
		require.NoError(t, err)
	}
	_, err = w.call.Get(w.with(admin.Reveal()), &shop.GetRequest{Id: "1"})
	require.NoError(t, err, "the control: a secret key may do what the table opens")
}

// A public stream passes, too, and a proxy's handler of unknown services opens nothing.
func TestUnknownServices(t *testing.T) {
	w := newWorld(t, func(_ *latchkeygrpc.Options, table latchkeygrpc.Table) {
		table[healthv1.Health_Watch_FullMethodName] = latchkeygrpc.Public()
	})
	stream, err := healthv1.NewHealthClient(w.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)

	reached := false
	info := &grpc.StreamServerInfo{IsServerStream: true, IsClientStream: true}
	for _, method := range []string{"/a.B/C", "a.B/C", "", "/", "//", shop.Orders_Get_FullMethodName + "/",
		"/latchkey.shop.v1.Orders/get", "/latchkey.shop.v1.orders/Get", "//latchkey.shop.v1.Orders/Get",
		"/grpc.health.v1.Health/Check/"} {
		info.FullMethod = method
		err := w.guard.Stream(nil, fakeStream{ctx: t.Context()}, info, func(any, grpc.ServerStream) error {
			reached = true
			return nil
		})
		require.Equal(t, latchkeygrpc.ReasonUnmapped, refused(t, codes.PermissionDenied, err), method)
	}
	require.False(t, reached)
}

type fakeStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (f fakeStream) Context() context.Context { return f.ctx }

// RequireRows: the handler gets the condition, and an answer of one that did not ask for it goes nowhere, with all that
// it set.
func TestUnaryRows(t *testing.T) {
	w := newWorld(t, nil)
	eu := w.key(latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "EU")))
	all := w.key(latchkey.Allow(latchkey.Read).On("dataset/orders"))
	none := w.key(latchkey.Allow(latchkey.Read).On("dataset/other"))

	got, err := w.call.Count(w.with(eu), &shop.ListRequest{})
	require.NoError(t, err)
	require.Contains(t, got.Note, "region")
	_, err = w.call.Count(w.with(none), &shop.ListRequest{})
	refused(t, codes.PermissionDenied, err)

	leak := metadata.Pairs("x-count", "7")
	for name, c := range map[string]struct {
		handler func(context.Context) (*shop.Order, error)
		code    codes.Code
		told    bool // the metadata get through
	}{
		"does not ask": {func(ctx context.Context) (*shop.Order, error) {
			_ = grpc.SetHeader(ctx, leak)
			_ = grpc.SetTrailer(ctx, leak)
			return &shop.Order{Note: "7"}, nil
		}, codes.Internal, false},
		"sends headers first": {func(ctx context.Context) (*shop.Order, error) {
			if err := grpc.SendHeader(ctx, leak); err == nil {
				return nil, errors.New("headers went out")
			}
			return &shop.Order{Note: "7"}, nil
		}, codes.Internal, false},
		"asks": {func(ctx context.Context) (*shop.Order, error) {
			_ = grpc.SetHeader(ctx, leak)
			httpadapter.RowsFrom(ctx)
			_ = grpc.SetTrailer(ctx, leak)
			return &shop.Order{}, nil
		}, codes.OK, true},
		"asks, and sends headers": {func(ctx context.Context) (*shop.Order, error) {
			httpadapter.RowsFrom(ctx)
			if err := grpc.SendHeader(ctx, leak); err != nil {
				return nil, err
			}
			_ = grpc.SetTrailer(ctx, leak)
			return &shop.Order{}, nil
		}, codes.OK, true},
		"needs none": {func(ctx context.Context) (*shop.Order, error) {
			httpadapter.RowsNotNeeded(ctx)
			_ = grpc.SetHeader(ctx, leak)
			_ = grpc.SetTrailer(ctx, leak)
			return &shop.Order{}, nil
		}, codes.OK, true},
		"fails": {func(context.Context) (*shop.Order, error) {
			return nil, status.Error(codes.NotFound, "no such table")
		}, codes.NotFound, false},
	} {
		w.shop.count = c.handler
		for _, key := range []string{eu, all} {
			var header, trailer metadata.MD
			_, err := w.call.Count(w.with(key), &shop.ListRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
			require.Equal(t, c.code.String(), status.Code(err).String(), name)
			require.Equal(t, c.told, len(header.Get("x-count")) == 1, name)
			require.Equal(t, c.told, len(trailer.Get("x-count")) == 1, name)
			if c.code == codes.Internal {
				require.Equal(t, "internal error", status.Convert(err).Message(), name)
			}
		}
	}
	require.Contains(t, w.log.String(), "without asking for the rows")
	require.Contains(t, w.log.String(), "hint=")
}

func TestHandlersErrors(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
	for name, c := range map[string]struct {
		err     error
		code    codes.Code
		message string
	}{
		"a refusal": {&latchkey.DeniedError{Action: "read", Resource: "order/secret-name"}, codes.PermissionDenied,
			"forbidden"},
		"an error with a status": {status.Error(codes.DataLoss, "lost"), codes.DataLoss, "lost"},
		"a refusal with a status": {errors.Join(status.Error(codes.DataLoss, "lost"), latchkey.ErrDenied),
			codes.DataLoss, ""},
		"an error of the host": {errors.New("of the host"), codes.Unknown, "of the host"},
		"broken rules": {&latchkey.FaultError{Denied: &latchkey.DeniedError{}, Fault: errors.New("rule 7")}, codes.Internal,
			"internal error"},
		"not found": {latchkey.ErrNotFound, codes.NotFound, "not found"},
	} {
		w.shop.get = func(context.Context, *shop.GetRequest) (*shop.Order, error) { return nil, c.err }
		_, err := w.call.Get(w.with(key), &shop.GetRequest{Id: "1"})
		require.Equal(t, c.code.String(), status.Code(err).String(), name)
		if c.message != "" {
			require.Equal(t, c.message, status.Convert(err).Message(), name)
		}
	}
	require.NoError(t, w.guard.Error(t.Context(), nil))
	require.Equal(t, codes.PermissionDenied, status.Code(w.guard.Error(t.Context(), latchkey.ErrDenied)))
	require.Equal(t, codes.Internal, status.Code(w.guard.Error(t.Context(), errors.New("of the host"))))
	require.Equal(t, codes.DataLoss, status.Code(w.guard.Error(t.Context(), status.Error(codes.DataLoss, ""))))
}

func TestSpend(t *testing.T) {
	w := newWorld(t, func(_ *latchkeygrpc.Options, table latchkeygrpc.Table) {
		for _, m := range []string{shop.Orders_Get_FullMethodName, shop.Orders_Watch_FullMethodName,
			shop.Orders_Chat_FullMethodName} {
			table[m] = table[m].Spend("api", 2)
		}
	})
	_, key := w.issue(latchkey.Settings{
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/1", "dataset/orders"),
			latchkey.Allow(latchkey.Use).On("dataset/*")},
		Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "api", Amount: 6, Per: latchkey.Day}}}})
	ctx := w.with(key)
	_, err := w.call.Get(ctx, &shop.GetRequest{Id: "2"})
	refused(t, codes.PermissionDenied, err)
	_, err = w.call.Get(ctx, &shop.GetRequest{})
	refused(t, codes.InvalidArgument, err)

	_, err = w.call.Get(ctx, &shop.GetRequest{Id: "1"})
	require.NoError(t, err)
	watch, err := w.call.Watch(ctx, &shop.ListRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	require.NoError(t, err)
	chat, err := w.call.Chat(ctx)
	require.NoError(t, err)
	for range 3 { // a stream costs once
		require.NoError(t, chat.Send(&shop.Order{Dataset: "a"}))
		_, err = chat.Recv()
		require.NoError(t, err)
	}

	for range 2 {
		_, err = w.call.Get(ctx, &shop.GetRequest{Id: "1"})
		require.Equal(t, "OVER_LIMIT", refused(t, codes.ResourceExhausted, err))
		var retry *errdetails.RetryInfo
		var quota *errdetails.QuotaFailure
		for _, d := range status.Convert(err).Details() {
			switch d := d.(type) {
			case *errdetails.RetryInfo:
				retry = d
			case *errdetails.QuotaFailure:
				quota = d
			}
		}
		require.NotNil(t, retry)
		require.Positive(t, retry.RetryDelay.AsDuration())
		require.NotNil(t, quota)
		require.Equal(t, "meter:api", quota.Violations[0].Subject)
		require.Equal(t, "6 credits per day", quota.Violations[0].Description)
	}
	watch, err = w.call.Watch(ctx, &shop.ListRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	refused(t, codes.ResourceExhausted, err)
	chat, err = w.call.Chat(ctx)
	require.NoError(t, err)
	require.NoError(t, chat.Send(&shop.Order{Dataset: "a"}))
	_, err = chat.Recv()
	refused(t, codes.ResourceExhausted, err)

	require.NoError(t, w.keys.Close(t.Context()))
	usage, err := w.acme.Usage(t.Context(), latchkey.UsageQuery{By: []string{"endpoint"}})
	require.NoError(t, err)
	spent := map[string]latchkey.Credits{}
	for _, row := range usage {
		spent[row.Endpoint] += row.Credits
	}
	require.Equal(t, map[string]latchkey.Credits{shop.Orders_Get_FullMethodName: 2, shop.Orders_Watch_FullMethodName: 2,
		shop.Orders_Chat_FullMethodName: 2}, spent)
}

// A rate refuses with the time to wait, and an unreachable store is UNAVAILABLE, never a bad token.
func TestRateAndStore(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	w := newWorldOver(t, kit.Manager, nil)
	_, key := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/*")},
		Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}}})
	_, err := w.call.Get(w.with(key), &shop.GetRequest{Id: "1"})
	require.NoError(t, err)
	_, err = w.call.Get(w.with(key), &shop.GetRequest{Id: "1"})
	require.Equal(t, "RATE_LIMITED", refused(t, codes.ResourceExhausted, err))
	details := status.Convert(err).Details()
	require.Len(t, details, 3)
	require.Equal(t, time.Hour, details[1].(*errdetails.RetryInfo).RetryDelay.AsDuration())
	require.Equal(t, "1 calls in 1h0m0s", details[2].(*errdetails.QuotaFailure).Violations[0].Description)

	other := w.key(latchkey.Allow(latchkey.Read).On("order/*"))
	kit.Store.Down(true)
	_, err = w.call.Get(w.with(other), &shop.GetRequest{Id: "1"})
	require.Equal(t, "UNAVAILABLE", refused(t, codes.Unavailable, err))
	require.Contains(t, w.log.String(), "call failed")
	kit.Store.Down(false)
	_, err = w.call.Get(w.with(other), &shop.GetRequest{Id: "1"})
	require.NoError(t, err)
}
