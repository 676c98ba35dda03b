package latchkeygrpc_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/memstore"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// table opens the shop.
func table() latchkeygrpc.Table {
	return latchkeygrpc.Table{
		shop.Orders_Get_FullMethodName:       latchkeygrpc.Require(latchkey.Read, "order/{id}"),
		shop.Orders_Update_FullMethodName:    latchkeygrpc.Require(latchkey.Update, "dataset/{order.dataset}/{order.id}"),
		shop.Orders_Count_FullMethodName:     latchkeygrpc.RequireRows(latchkey.Read, "dataset/orders"),
		shop.Orders_List_FullMethodName:      latchkeygrpc.RequireRows(latchkey.Read, "dataset/orders"),
		shop.Orders_Export_FullMethodName:    latchkeygrpc.RequireRows(latchkey.Read, "dataset/{dataset}"),
		shop.Orders_Upload_FullMethodName:    latchkeygrpc.Require(latchkey.Create, "dataset/{dataset}"),
		shop.Orders_Chat_FullMethodName:      latchkeygrpc.Require(latchkey.Use, "dataset/{dataset}"),
		shop.Orders_Watch_FullMethodName:     latchkeygrpc.Require(latchkey.Read, "dataset/orders"),
		shop.Orders_Talk_FullMethodName:      latchkeygrpc.Authenticated(),
		shop.Orders_Fields_FullMethodName:    latchkeygrpc.Require(latchkey.Read, "odd/{text}"),
		healthv1.Health_Check_FullMethodName: latchkeygrpc.Public(),
	}
}

// world is a Manager, a guarded server and a client.
type world struct {
	t     *testing.T
	keys  *latchkey.Manager
	acme  latchkey.Account
	guard *latchkeygrpc.Guard
	shop  *server
	conn  *grpc.ClientConn
	call  shop.OrdersClient
	log   *safeBuffer
	limit time.Duration // how long a call may take

	mu     sync.Mutex
	errors []error
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(t *testing.T, change func(*latchkeygrpc.Options, latchkeygrpc.Table)) *world {
	return newWorldOver(t, latchkey.New(memstore.New(nil), nil), change)
}

func newWorldOver(t *testing.T, keys *latchkey.Manager, change func(*latchkeygrpc.Options, latchkeygrpc.Table)) *world {
	w := &world{t: t, keys: keys, acme: keys.For("acme"), log: &safeBuffer{}, shop: &server{},
		limit: patience}
	opts := &latchkeygrpc.Options{Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		OnError: func(_ context.Context, _ string, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.errors = append(w.errors, err)
		}}
	methods := table()
	if change != nil {
		change(opts, methods)
	}
	w.guard = latchkeygrpc.New(keys, methods, opts)
	listener := bufconn.Listen(1 << 20)
	w.serve(listener)
	conn, err := grpc.NewClient("passthrough:///shop", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	w.conn, w.call = conn, shop.NewOrdersClient(conn)
	return w
}

func (w *world) serve(listener net.Listener, opts ...grpc.ServerOption) {
	s := grpc.NewServer(append(opts, w.guard.ServerOptions()...)...)
	shop.RegisterOrdersServer(s, w.shop)
	healthv1.RegisterHealthServer(s, health.NewServer())
	go func() { _ = s.Serve(listener) }()
	w.t.Cleanup(s.Stop)
}

var readOrders = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("order/*")}

// key issues a key with these rules.
func (w *world) key(rules ...latchkey.Rule) string {
	_, text := w.issue(latchkey.Settings{Permissions: rules})
	return text
}

func (w *world) issue(s latchkey.Settings) (latchkey.Token, string) {
	w.t.Helper()
	token, secret, err := w.acme.Issue(w.t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: s.Permissions, Restrictions: s.Restrictions, Limits: s.Limits, Validity: s.Validity, Roles: s.Roles})
	require.NoError(w.t, err)
	return token, secret.Reveal()
}

// with returns a context that presents a credential. It ends, so that no test waits for ever.
func (w *world) with(text string) context.Context {
	return bearer(w.anonymous(), text)
}

func (w *world) anonymous() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), w.limit)
	w.t.Cleanup(cancel)
	return ctx
}

func bearer(ctx context.Context, text string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+text)
}

func (w *world) heard() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]error(nil), w.errors...)
}

// refused requires a status, and returns the reason of its ErrorInfo.
func refused(t *testing.T, code codes.Code, err error) (reason string) {
	t.Helper()
	require.Error(t, err)
	s, ok := status.FromError(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code.String(), s.Code().String(), "%v", err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			require.Equal(t, latchkeygrpc.Domain, info.Domain)
			return info.Reason
		}
	}
	return ""
}

// server is the shop. Its handlers say what they saw. A func replaces one.
type server struct {
	shop.UnimplementedOrdersServer
	get    func(context.Context, *shop.GetRequest) (*shop.Order, error)
	count  func(context.Context) (*shop.Order, error)
	list   func(grpc.ServerStreamingServer[shop.Order]) error
	export func(*shop.ExportRequest, grpc.ServerStreamingServer[shop.Order]) error
	upload func(grpc.ClientStreamingServer[shop.Order, shop.Order]) error
	chat   func(grpc.BidiStreamingServer[shop.Order, shop.Order]) error
	watch  func(grpc.ServerStreamingServer[shop.Order]) error
	talk   func(grpc.BidiStreamingServer[shop.Order, shop.Order]) error
}

func (s *server) Get(ctx context.Context, r *shop.GetRequest) (*shop.Order, error) {
	if s.get != nil {
		return s.get(ctx, r)
	}
	access, _ := httpadapter.AccessFrom(ctx)
	return &shop.Order{Id: r.GetId(), Note: access.Owner() + " " + access.Address().String()}, nil
}

func (s *server) Update(_ context.Context, r *shop.UpdateRequest) (*shop.Order, error) {
	return r.GetOrder(), nil
}

func (s *server) Count(ctx context.Context, _ *shop.ListRequest) (*shop.Order, error) {
	if s.count != nil {
		return s.count(ctx)
	}
	rows, _ := httpadapter.RowsFrom(ctx)
	return &shop.Order{Note: rows.String()}, nil
}

func (s *server) List(_ *shop.ListRequest, out grpc.ServerStreamingServer[shop.Order]) error {
	if s.list != nil {
		return s.list(out)
	}
	rows, _ := httpadapter.RowsFrom(out.Context())
	return out.Send(&shop.Order{Note: rows.String()})
}

func (s *server) Export(r *shop.ExportRequest, out grpc.ServerStreamingServer[shop.Order]) error {
	if s.export != nil {
		return s.export(r, out)
	}
	rows, _ := httpadapter.RowsFrom(out.Context())
	return out.Send(&shop.Order{Dataset: r.GetDataset(), Note: rows.String()})
}

func (s *server) Upload(in grpc.ClientStreamingServer[shop.Order, shop.Order]) error {
	if s.upload != nil {
		return s.upload(in)
	}
	var last *shop.Order
	for {
		order, err := in.Recv()
		if err == io.EOF {
			return in.SendAndClose(last)
		} else if err != nil {
			return err
		}
		last = order
	}
}

func (s *server) Chat(stream grpc.BidiStreamingServer[shop.Order, shop.Order]) error {
	if s.chat != nil {
		return s.chat(stream)
	}
	return echo(stream)
}

func (s *server) Talk(stream grpc.BidiStreamingServer[shop.Order, shop.Order]) error {
	if s.talk != nil {
		return s.talk(stream)
	}
	return echo(stream)
}

func echo(stream grpc.BidiStreamingServer[shop.Order, shop.Order]) error {
	for {
		order, err := stream.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.Send(order); err != nil {
			return err
		}
	}
}

func (s *server) Watch(_ *shop.ListRequest, out grpc.ServerStreamingServer[shop.Order]) error {
	if s.watch != nil {
		return s.watch(out)
	}
	return out.Send(&shop.Order{Note: "watched"})
}

func (s *server) Fields(_ context.Context, r *shop.Odd) (*shop.Order, error) {
	return &shop.Order{Id: r.GetText()}, nil
}

func (s *server) Other(context.Context, *shop.ListRequest) (*shop.Order, error) {
	return &shop.Order{Note: "other"}, nil
}

func keyring(t *testing.T) *latchkey.Keyring {
	t.Helper()
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	return ring
}
