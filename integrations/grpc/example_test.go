package latchkeygrpc_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/memstore"
)

// orders is a service as it was before: it knows nothing of keys, but for the rows that it may show.
type orders struct {
	shop.UnimplementedOrdersServer
}

func (orders) Get(ctx context.Context, r *shop.GetRequest) (*shop.Order, error) {
	access, _ := httpadapter.AccessFrom(ctx)
	return &shop.Order{Id: r.GetId(), Note: "for " + access.Owner()}, nil
}

var schema = latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})

func (orders) List(_ *shop.ListRequest, out grpc.ServerStreamingServer[shop.Order]) error {
	rows, _ := httpadapter.RowsFrom(out.Context()) // RequireRows let the caller in for these rows only
	p, err := schema.Bind(rows)
	if err != nil {
		return err
	}
	where, _ := p.SQL(latchkey.Postgres, 1)
	return out.Send(&shop.Order{Note: "select … where " + where})
}

// A server is guarded by a table of its methods, and a client sends its key with each call.
func Example() {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("order/42"),
			latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		}})
	if err != nil {
		log.Fatal(err)
	}

	guard := latchkeygrpc.New(keys, latchkeygrpc.Table{
		shop.Orders_Get_FullMethodName:       latchkeygrpc.Require(latchkey.Read, "order/{id}"),
		shop.Orders_Update_FullMethodName:    latchkeygrpc.Require(latchkey.Update, "order/{order.id}"),
		shop.Orders_Count_FullMethodName:     latchkeygrpc.RequireRows(latchkey.Read, "dataset/orders"),
		shop.Orders_List_FullMethodName:      latchkeygrpc.RequireRows(latchkey.Read, "dataset/orders"),
		shop.Orders_Export_FullMethodName:    latchkeygrpc.Require(latchkey.Read, "dataset/{dataset}").Spend("export", 5),
		shop.Orders_Upload_FullMethodName:    latchkeygrpc.Require(latchkey.Create, "dataset/{dataset}"),
		shop.Orders_Chat_FullMethodName:      latchkeygrpc.Authenticated(),
		shop.Orders_Watch_FullMethodName:     latchkeygrpc.Require(latchkey.Read, "dataset/orders"),
		shop.Orders_Talk_FullMethodName:      latchkeygrpc.Authenticated(),
		shop.Orders_Other_FullMethodName:     latchkeygrpc.Authenticated(),
		shop.Orders_Fields_FullMethodName:    latchkeygrpc.Authenticated(),
		healthv1.Health_Check_FullMethodName: latchkeygrpc.Public(),
		healthv1.Health_Watch_FullMethodName: latchkeygrpc.Public(),
		healthv1.Health_List_FullMethodName:  latchkeygrpc.Public(),
	}, &latchkeygrpc.Options{Recheck: time.Minute})

	server := grpc.NewServer(guard.ServerOptions()...) // and grpc.Creds(…), for TLS
	shop.RegisterOrdersServer(server, orders{})
	healthv1.RegisterHealthServer(server, health.NewServer())
	if err := guard.CheckServer(server.GetServiceInfo()); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	creds := latchkeygrpc.Credentials(func(context.Context) (string, error) { return secret.Reveal(), nil },
		&latchkeygrpc.CredentialOptions{Plaintext: true}) // for this example: leave it out, and use TLS
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithPerRPCCredentials(creds),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	client := shop.NewOrdersClient(conn)

	order, err := client.Get(context.Background(), &shop.GetRequest{Id: "42"})
	fmt.Println(order.GetId(), order.GetNote(), err)
	_, err = client.Get(context.Background(), &shop.GetRequest{Id: "43"})
	fmt.Println(err)
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			fmt.Println(info.GetReason(), info.GetDomain())
		}
	}
	list, err := client.List(context.Background(), &shop.ListRequest{})
	if err != nil {
		log.Fatal(err)
	}
	order, err = list.Recv()
	fmt.Println(order.GetNote(), err)

	// Output:
	// 42 for acme <nil>
	// rpc error: code = PermissionDenied desc = forbidden
	// DENIED latchkey-go.github.io
	// select … where (o.region = $1::text AND o.region::text COLLATE "C" = $1::text) <nil>
}

// A client reads its secret from a file that something else keeps up to date.
func ExampleCredentials() {
	creds := latchkeygrpc.Credentials(func(context.Context) (string, error) {
		text, err := os.ReadFile("/run/secrets/shop")
		return strings.TrimSpace(string(text)), err
	}, nil)
	conn, err := grpc.NewClient("shop.example:443", grpc.WithPerRPCCredentials(creds),
		grpc.WithTransportCredentials(credentials.NewTLS(nil)))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(creds.RequireTransportSecurity())

	// Output: true
}
