package latchkeygrpc_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/memstore"
)

// What cannot work is found when the Guard is made, and the message says what to correct.
func TestNewPanics(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	catalogue := latchkey.New(memstore.New(nil), &latchkey.Options{Catalogue: &latchkey.Catalogue{
		Resources: []latchkey.ResourceType{{Template: "order/{id}",
			Actions: []latchkey.Action{latchkey.Read, latchkey.Update}}}}})
	good := latchkeygrpc.Require(latchkey.Read, "order/{id}")
	one := func(method string, r latchkeygrpc.Rule) latchkeygrpc.Table { return latchkeygrpc.Table{method: r} }
	get := shop.Orders_Get_FullMethodName
	for message, f := range map[string]func(){
		"latchkeygrpc: New needs a Manager": func() { latchkeygrpc.New(nil, nil, nil) },
		"latchkeygrpc: Options has both Owner and OwnerOf: set one of them": func() {
			latchkeygrpc.New(keys, nil, &latchkeygrpc.Options{Owner: "a", OwnerOf: ownerOf})
		},
		"latchkeygrpc: Options.Proxies[0] is the zero Prefix: set it with netip.ParsePrefix": func() {
			latchkeygrpc.New(keys, nil, &latchkeygrpc.Options{Proxies: make([]netip.Prefix, 1)})
		},
		"latchkeygrpc: " + get + ": the zero Rule: use Require, RequireRows, Authenticated or Public": func() {
			latchkeygrpc.New(keys, one(get, latchkeygrpc.Rule{}), nil)
		},
		`latchkeygrpc: latchkey.shop.v1.Orders/Get: write the full name: "/package.Service/Method"`: func() {
			latchkeygrpc.New(keys, one(get[1:], good), nil)
		},
		`latchkeygrpc: /latchkey.shop.v1.Orders/*: write the full name: "/package.Service/Method"`: func() {
			latchkeygrpc.New(keys, one("/latchkey.shop.v1.Orders/*", good), nil)
		},
		`latchkeygrpc: /latchkey.shop.v1.Orders/Gte: service latchkey.shop.v1.Orders has no method "Gte"`: func() {
			latchkeygrpc.New(keys, one("/latchkey.shop.v1.Orders/Gte", good), nil)
		},
		"latchkeygrpc: /latchkey.shop.v1.Order/Get: latchkey.shop.v1.Order is no service": func() {
			latchkeygrpc.New(keys, one("/latchkey.shop.v1.Order/Get", good), nil)
		},
		"latchkeygrpc: " + get + `: resource "order/{name}": latchkey.shop.v1.GetRequest has no field "name"`: func() {
			latchkeygrpc.New(keys, one(get, latchkeygrpc.Require(latchkey.Read, "order/{name}")), nil)
		},
		"latchkeygrpc: " + get + `: resource "order/*": "*" is a pattern; name one resource, or a field of the request, ` +
			`"{name}"`: func() { latchkeygrpc.New(keys, one(get, latchkeygrpc.Require(latchkey.Read, "order/*")), nil) },
		"latchkeygrpc: " + get + `: action "*" stands for every action: name one action`: func() {
			latchkeygrpc.New(keys, one(get, latchkeygrpc.Require(latchkey.Any, "order/{id}")), nil)
		},
		"latchkeygrpc: " + get + ": the meter \"\" is not 1 to 64 bytes of valid UTF-8 without NUL": func() {
			latchkeygrpc.New(keys, one(get, good.Spend("", 1)), nil)
		},
		"latchkeygrpc: " + get + ": a negative number of credits": func() {
			latchkeygrpc.New(keys, one(get, good.Spend("api", -1)), nil)
		},
		"latchkeygrpc: " + get + ": a Public method has no caller that could Spend": func() {
			latchkeygrpc.New(keys, one(get, latchkeygrpc.Public().Spend("api", 1)), nil)
		},
		"latchkeygrpc: " + shop.Orders_Upload_FullMethodName + ": RequireRows on a resource with fields needs one request: " +
			"for a stream of them use Authenticated, and Access.Filter in the handler": func() {
			latchkeygrpc.New(keys, one(shop.Orders_Upload_FullMethodName,
				latchkeygrpc.RequireRows(latchkey.Create, "dataset/{dataset}")), nil)
		},
	} {
		require.PanicsWithValue(t, message, f)
	}
	for _, key := range []string{"", "authorization", "X-Api-Key", "x-api-key-bin", "grpc-key", ":key", "a b", "origin"} {
		require.Panics(t, func() { latchkeygrpc.New(keys, nil, &latchkeygrpc.Options{Keys: []string{key}}) }, key)
	}
	require.Panics(t, func() { latchkeygrpc.New(keys, one(get, latchkeygrpc.Require("BAD", "order/{id}")), nil) })
	require.Panics(t, func() {
		latchkeygrpc.New(catalogue, one(get, latchkeygrpc.Require(latchkey.Read, "oder/{id}")), nil)
	})
	require.NotPanics(t, func() { latchkeygrpc.New(catalogue, one(get, good), nil) })
	require.NotPanics(t, func() {
		latchkeygrpc.New(catalogue, one(shop.Orders_Update_FullMethodName,
			latchkeygrpc.Require(latchkey.Update, "order/{order.id}")), nil)
	})
	require.Panics(t, func() {
		latchkeygrpc.New(catalogue, one(get, latchkeygrpc.RequireRows(latchkey.Read, "order/{id}")), nil)
	})
	require.NotPanics(t, func() { latchkeygrpc.New(keys, nil, nil) })
}

func ownerOf(context.Context, string) (string, error) { return "acme", nil }

// A service whose code is not linked cannot be checked beforehand. Its first call says what is wrong, and nothing
// passes.
func TestUnlinkedService(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	access, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	ctx := httpadapter.WithAccess(t.Context(), access)
	guard := latchkeygrpc.New(keys, latchkeygrpc.Table{
		"/not.Linked/Good": latchkeygrpc.Require(latchkey.Read, "order/{id}"),
		"/not.Linked/Bad":  latchkeygrpc.Require(latchkey.Read, "order/{nosuch}"),
		"/not.Linked/Rows": latchkeygrpc.RequireRows(latchkey.Read, "order/{id}"),
	}, nil)
	_, err = guard.Unary(ctx, &shop.GetRequest{Id: "1"}, &grpc.UnaryServerInfo{FullMethod: "/not.Linked/Good"}, nothing)
	require.NoError(t, err)
	for method, request := range map[string]any{"/not.Linked/Bad": &shop.GetRequest{Id: "1"},
		"/not.Linked/Good": []byte("x")} {
		_, err = guard.Unary(ctx, request, &grpc.UnaryServerInfo{FullMethod: method}, nothing)
		refused(t, codes.Internal, err)
	}
	rows := &grpc.StreamServerInfo{FullMethod: "/not.Linked/Rows", IsClientStream: true}
	err = guard.Stream(nil, fakeStream{ctx: ctx}, rows, func(any, grpc.ServerStream) error { return nil })
	refused(t, codes.Internal, err)
}

func TestCheckServer(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	s := grpc.NewServer()
	shop.RegisterOrdersServer(s, &server{})
	methods := table()
	delete(methods, healthv1.Health_Check_FullMethodName)
	methods[shop.Orders_Other_FullMethodName] = latchkeygrpc.Authenticated()
	require.NoError(t, latchkeygrpc.New(keys, methods, nil).CheckServer(s.GetServiceInfo()))

	delete(methods, shop.Orders_Get_FullMethodName)
	methods[healthv1.Health_Check_FullMethodName] = latchkeygrpc.Public()
	require.EqualError(t, latchkeygrpc.New(keys, methods, nil).CheckServer(s.GetServiceInfo()),
		"latchkeygrpc: the table does not fit the server:\n"+
			"/grpc.health.v1.Health/Check: the table has a rule for it, but the server has no such method\n"+
			"/latchkey.shop.v1.Orders/Get: the table has no rule for it, so it is denied to everybody")

	guard := latchkeygrpc.New(keys, latchkeygrpc.Table{
		"/not.Linked/Rows": latchkeygrpc.RequireRows(latchkey.Read, "order/{id}")}, nil)
	require.ErrorContains(t, guard.CheckServer(map[string]grpc.ServiceInfo{"not.Linked": {
		Methods: []grpc.MethodInfo{{Name: "Rows", IsClientStream: true}}}}), "RequireRows on a resource with fields")
}
