package latchkeyconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeyconnect "github.com/latchkey-go/latchkey/integrations/connect"
	"github.com/latchkey-go/latchkey/memstore"
)

// The keys of the table are the constants of generated code. Here the handlers are made by hand.
func ExampleGuard() {
	keys := latchkey.New(memstore.New(nil), nil)
	const (
		list   = "/shop.v1.Orders/List"   // shopv1connect.OrdersListProcedure
		create = "/shop.v1.Orders/Create" // shopv1connect.OrdersCreateProcedure
		forget = "/shop.v1.Orders/Forget" // nobody has mapped it
	)

	auth := httpadapter.New(keys, &httpadapter.Options{Problem: latchkeyconnect.Problem()})
	guard := latchkeyconnect.Guard(auth, latchkeyconnect.Table{
		list:   auth.RequireRows(latchkey.Read, "orders"),
		create: latchkeyconnect.All(auth.Require(latchkey.Create, "orders"), auth.Spend("orders", 1)),
	})
	failures := connect.WithInterceptors(latchkeyconnect.Failures())
	mux := http.NewServeMux()
	mux.Handle(list, connect.NewUnaryHandlerSimple(list,
		func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
			access, _ := httpadapter.AccessFrom(ctx) // the caller
			rows, _ := httpadapter.RowsFrom(ctx)     // which rows it may read
			return wrapperspb.String(access.Owner() + ": " + rows.String()), nil
		}, failures))
	for _, procedure := range []string{create, forget} {
		mux.Handle(procedure, connect.NewUnaryHandlerSimple(procedure,
			func(context.Context, *emptypb.Empty) (*wrapperspb.StringValue, error) {
				return wrapperspb.String("done"), nil
			}, failures))
	}
	server := httptest.NewServer(guard(mux))
	defer server.Close()

	_, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("orders").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	if err != nil {
		panic(err)
	}
	for _, procedure := range []string{list, create, forget} {
		client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](server.Client(), server.URL+procedure)
		request := connect.NewRequest(&emptypb.Empty{})
		request.Header().Set("Authorization", "Bearer "+secret.Reveal())
		reply, err := client.CallUnary(context.Background(), request)
		if err != nil {
			fmt.Println(procedure, connect.CodeOf(err))
			continue
		}
		fmt.Println(procedure, reply.Msg.GetValue())
	}
	// Output:
	// /shop.v1.Orders/List acme: region = "EU"
	// /shop.v1.Orders/Create permission_denied
	// /shop.v1.Orders/Forget permission_denied
}

// Pages of other origins call by Connect or gRPC-Web. A browser asks for the headers of these protocols first.
func ExampleProblem() {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, &httpadapter.Options{Problem: latchkeyconnect.Problem(), CORS: &httpadapter.CORS{
		Origins: []string{"https://app.example.com"},
		Headers: []string{"Connect-Protocol-Version", "Connect-Timeout-Ms", "Grpc-Timeout", "X-Grpc-Web", "X-User-Agent"},
		Exposed: []string{"Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"},
	}})
	guard := latchkeyconnect.Guard(auth, latchkeyconnect.Table{"/shop.v1.Orders/List": auth.RequireRows(latchkey.Read,
		"orders")})
	mux := http.NewServeMux()
	pages := auth.CrossOrigin(guard(mux))
	server := httptest.NewServer(pages)
	defer server.Close()

	ask := func(method string, headers ...string) *http.Response {
		r, err := http.NewRequest(method, server.URL+"/shop.v1.Orders/List", nil)
		if err != nil {
			panic(err)
		}
		r.Header.Set("Origin", "https://app.example.com")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		reply, err := server.Client().Do(r)
		if err != nil {
			panic(err)
		}
		_ = reply.Body.Close()
		return reply
	}
	preflight := ask("OPTIONS", "Access-Control-Request-Method", "POST")
	fmt.Println(preflight.StatusCode)
	fmt.Println(preflight.Header.Get("Access-Control-Allow-Headers"))
	refusal := ask("POST", "Content-Type", "application/grpc-web+proto")
	fmt.Println(refusal.StatusCode, refusal.Header["Access-Control-Allow-Origin"], refusal.Header["Vary"])
	// Output:
	// 204
	// Content-Type, Authorization, Connect-Protocol-Version, Connect-Timeout-Ms, Grpc-Timeout, X-Grpc-Web, X-User-Agent
	// 200 [https://app.example.com] [Origin]
}
