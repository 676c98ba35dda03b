//go:build !race

package latchkeygrpc_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/memstore"
)

// speed is what the benchmarks and the counts of allocations call, without a connection: a cached token, and the
// metadata that a call of grpc-go has.
type speed struct {
	keys *latchkey.Manager
	text string
	ctx  context.Context
}

func newSpeed(tb testing.TB) *speed {
	s := &speed{keys: latchkey.New(memstore.New(nil), &latchkey.Options{MaxStale: time.Hour})}
	_, secret, err := s.keys.For("acme").Issue(tb.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read, latchkey.Use).On("order/*", "dataset/*")}})
	require.NoError(tb, err)
	s.text = secret.Reveal()
	s.ctx = metadata.NewIncomingContext(tb.Context(), metadata.Pairs(":authority", "shop.example", "content-type",
		"application/grpc", "user-agent", "grpc-go/1.85.0", "authorization", "Bearer "+s.text, "traceparent", "x"))
	s.ctx = peer.NewContext(s.ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}})
	return s
}

// calls are one call through each sort of rule.
func (s *speed) calls(tb testing.TB) map[string]func() {
	guard := func(opts *latchkeygrpc.Options) *latchkeygrpc.Guard { return latchkeygrpc.New(s.keys, table(), opts) }
	plain, keyed := guard(nil), guard(&latchkeygrpc.Options{Keys: []string{"x-api-key"}, Web: true})
	access, err := s.keys.Verify(tb.Context(), latchkey.Presented{Secret: s.text})
	require.NoError(tb, err)
	// Count asks for rows, Watch is a constant, and Get takes a field.
	request, list := &shop.GetRequest{Id: "42"}, &shop.ListRequest{}
	unary := func(g *latchkeygrpc.Guard, method string, m any) func() {
		info := &grpc.UnaryServerInfo{FullMethod: method}
		handler := func(ctx context.Context, _ any) (any, error) {
			httpadapter.RowsNotNeeded(ctx)
			return nil, nil
		}
		return func() {
			if _, err := g.Unary(s.ctx, m, info, handler); err != nil {
				tb.Fatal(err)
			}
		}
	}
	stream := func(g *latchkeygrpc.Guard, method string) func() {
		info := &grpc.StreamServerInfo{FullMethod: method, IsServerStream: true}
		ss := grpc.ServerStream(&oneMessage{ctx: s.ctx})
		message := &shop.Order{}
		handler := func(_ any, ss grpc.ServerStream) error {
			if err := ss.RecvMsg(message); err != nil {
				return err
			}
			return ss.SendMsg(message)
		}
		return func() {
			if err := g.Stream(nil, ss, info, handler); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return map[string]func(){
		"Verify": func() {
			if _, err := s.keys.Verify(s.ctx, latchkey.Presented{Secret: s.text}); err != nil {
				tb.Fatal(err)
			}
		},
		"Unary":      unary(plain, shop.Orders_Watch_FullMethodName, list),
		"UnaryField": unary(plain, shop.Orders_Get_FullMethodName, request),
		"Filter": func() {
			if _, err := access.Filter(latchkey.Read, "dataset/orders"); err != nil {
				tb.Fatal(err)
			}
		},
		"UnaryRows":       unary(plain, shop.Orders_Count_FullMethodName, list),
		"UnaryKeysAndWeb": unary(keyed, shop.Orders_Watch_FullMethodName, list),
		"Stream":          stream(plain, shop.Orders_Watch_FullMethodName),
		"StreamField":     stream(plain, shop.Orders_Chat_FullMethodName),
	}
}

type oneMessage struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *oneMessage) Context() context.Context { return s.ctx }
func (*oneMessage) SendMsg(any) error          { return nil }
func (*oneMessage) RecvMsg(m any) error {
	m.(*shop.Order).Dataset = "orders"
	return nil
}

// A Guard adds at most five allocations to a Verify, which has none, and to a Filter. Each message that
// names a resource has two more.
func TestAllocations(t *testing.T) {
	count := map[string]float64{}
	for name, call := range newSpeed(t).calls(t) {
		count[name] = testing.AllocsPerRun(200, call)
	}
	require.Zero(t, count["Verify"])
	for name, most := range map[string]float64{"Unary": 3, "UnaryField": 5, "UnaryRows": 3 + count["Filter"],
		"UnaryKeysAndWeb": 4, "Stream": 4, "StreamField": 5 + 2} {
		require.LessOrEqual(t, count[name], most, name)
	}
}

func BenchmarkGuard(b *testing.B) {
	for name, call := range newSpeed(b).calls(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}
