package frameworks_test

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	latchkeyhuma "github.com/latchkey-go/latchkey/integrations/frameworks/huma"
)

func humaRecipe(keys *latchkey.Manager, signedIn console.SignedIn) http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Shop", "1.0.0")
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		latchkeyhuma.Scheme: {Type: "http", Scheme: "bearer"}}
	latchkeyhuma.GuardAll(&config) // an operation without a guard panics when it is registered
	api := humago.New(mux, config)
	auth := httpadapter.New(keys, &httpadapter.Options{Problem: latchkeyhuma.Problem(api)})

	type named struct {
		ID string `path:"id"`
	}
	type dataset struct {
		Body struct{ Dataset, Owner string }
	}
	huma.Get(api, "/data/{id}", func(ctx context.Context, in *named) (*dataset, error) {
		access, _ := httpadapter.AccessFrom(ctx) // the caller
		out := &dataset{}
		out.Body.Dataset, out.Body.Owner = in.ID, access.Owner()
		return out, nil
	}, latchkeyhuma.Require(auth, latchkey.Read, "dataset/{id}"))

	type list struct{ Body []latchkey.Row }
	huma.Get(api, "/orders", func(ctx context.Context, _ *struct{}) (*list, error) {
		rows, _ := httpadapter.RowsFrom(ctx) // which rows the caller may read
		orders, err := ordersIn(rows)
		if err != nil {
			return nil, latchkeyhuma.Error(ctx, auth, err)
		}
		return &list{orders}, nil
	}, latchkeyhuma.RequireRows(auth, latchkey.Read, "dataset/orders"))

	type accepted struct{ Status int }
	huma.Post(api, "/reports", func(context.Context, *struct{}) (*accepted, error) {
		return &accepted{http.StatusAccepted}, nil
	}, latchkeyhuma.Require(auth, latchkey.Create, "report"), latchkeyhuma.Spend(auth, "reports", 1))

	console.Mount(mux, "/console", signedIn, nil)
	webforce.Mount(mux, keys.For("acme"), nil)
	return mux
}
