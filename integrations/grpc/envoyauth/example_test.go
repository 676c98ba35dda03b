package envoyauth_test

import (
	"fmt"
	"net/netip"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/integrations/grpc/envoyauth"
	"github.com/latchkey-go/latchkey/memstore"
)

// Envoy asks, and the table is that of package forward.
func Example() {
	keys := latchkey.New(memstore.New(nil), nil)

	auth := httpadapter.New(keys, &httpadapter.Options{
		Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, // where Envoy is
	})
	ask := forward.New(auth, []forward.Route{
		{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"},
	}, &forward.Options{From: forward.Envoy})
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, envoyauth.New(ask, &envoyauth.Options{Remove: []string{"authorization"}}))

	for name := range server.GetServiceInfo() {
		fmt.Println(name)
	}

	// Output: envoy.service.auth.v3.Authorization
}
