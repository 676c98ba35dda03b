package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/examples/mixed/shop"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
)

// shopServer is the API on gRPC.
type shopServer struct {
	shop.UnimplementedShopServer
	host *host
}

func (shopServer) Report(ctx context.Context, r *shop.ReportRequest) (*shop.ReportReply, error) {
	access, _ := httpadapter.AccessFrom(ctx)
	return &shop.ReportReply{Id: r.GetId(), Owner: access.Owner()}, nil
}

func (s shopServer) Orders(_ *shop.OrdersRequest, out grpc.ServerStreamingServer[shop.Order]) error {
	rows, _ := httpadapter.RowsFrom(out.Context())
	orders, err := s.host.ordersIn(out.Context(), rows)
	if err != nil {
		return err
	}
	for _, o := range orders {
		if err := out.Send(&shop.Order{Id: o.ID, Region: o.Region}); err != nil {
			return err
		}
	}
	return nil
}

// rpc serves until the context ends.
func (h *host) rpc(ctx context.Context, listener net.Listener) error {
	guard := latchkeygrpc.New(h.keys, latchkeygrpc.Table{
		shop.Shop_Report_FullMethodName: latchkeygrpc.Require(latchkey.Read, "report/{id}"),
		shop.Shop_Orders_FullMethodName: latchkeygrpc.RequireRows(latchkey.Read, "orders"),
	}, &latchkeygrpc.Options{Recheck: time.Minute, Logger: slog.Default()})
	server := grpc.NewServer(guard.ServerOptions()...) // and grpc.Creds(…), for TLS
	shop.RegisterShopServer(server, shopServer{host: h})
	if err := guard.CheckServer(server.GetServiceInfo()); err != nil {
		return err
	}
	context.AfterFunc(ctx, server.GracefulStop)
	return server.Serve(listener)
}

// call calls both methods, as a client does. An error of one does not keep it from the other.
func call(ctx context.Context, addr, key string, out io.Writer) error {
	creds := latchkeygrpc.Credentials(func(context.Context) (string, error) { return key, nil },
		&latchkeygrpc.CredentialOptions{Plaintext: true}) // on this machine only: use TLS elsewhere
	conn, err := grpc.NewClient(addr, grpc.WithPerRPCCredentials(creds),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := shop.NewShopClient(conn)

	var failed []error
	for _, id := range []string{"sales", "salaries"} {
		report, err := client.Report(ctx, &shop.ReportRequest{Id: id})
		if err != nil {
			failed = append(failed, fmt.Errorf("report %s: %w", id, err))
			continue
		}
		fmt.Fprintln(out, "report", report.GetId(), "for", report.GetOwner())
	}
	orders, err := client.Orders(ctx, &shop.OrdersRequest{})
	for err == nil {
		var o *shop.Order
		if o, err = orders.Recv(); err == nil {
			fmt.Fprintln(out, "order", o.GetId(), "in", o.GetRegion())
		}
	}
	if !errors.Is(err, io.EOF) {
		failed = append(failed, fmt.Errorf("orders: %w", err))
	}
	return errors.Join(failed...)
}
