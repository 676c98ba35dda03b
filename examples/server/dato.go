package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
)

// The environments of this server, as DatoCMS means them: the primary one alone. The data set is its one model.
const (
	datoEnvironment = "main"
	datoModel       = "penguin"
)

// mountDatoCMS serves DatoCMS' management of tokens and roles, and a GraphQL endpoint that those tokens read from.
func (a *app) mountDatoCMS(mux *http.ServeMux) {
	opts := &datocms.Options{Environments: []string{datoEnvironment}, Logger: a.log}
	datocms.Mount(mux, a.account, opts)
	a.graphql = newSchemas(a)
	guard := datocms.Delivery(a.account, opts)(http.HandlerFunc(a.serveGraphQL))
	mux.Handle("/graphql", guard)
}

// cmaToken finds or makes the first token of that surface: its role may do everything.
func cmaToken(ctx context.Context, account latchkey.Account) (id string, secret latchkey.Secret, err error) {
	role, err := roleID(ctx, account, datocms.AdminRole("Admin", datoEnvironment))
	if err != nil {
		return "", latchkey.Secret{}, fmt.Errorf("role of the CMA token: %w", err)
	}
	return tokenSecret(ctx, account, datocms.TokenSpec("cma_token", role, true, true, true))
}
