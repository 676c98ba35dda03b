package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
)

// The environments of this server, as DatoCMS means them: the primary one alone. The data set is its one model.
const (
	datoEnvironment = "main"
	datoModel       = "penguin"
)

func (a *app) datoOptions() *datocms.Options {
	return &datocms.Options{Environments: []string{datoEnvironment}, Logger: a.log}
}

// mountDatoCMS serves DatoCMS' management of tokens and roles, and a GraphQL endpoint that those tokens read from.
func (a *app) mountDatoCMS(mux *http.ServeMux) {
	opts := a.datoOptions()
	datocms.Mount(mux, a.account, opts)
	a.graphql = newSchemas(a)
	guard := datocms.Delivery(a.account, opts)(http.HandlerFunc(a.serveGraphQL))
	mux.Handle("/graphql", guard)
	mux.Handle("/graphql/", guard) // /graphql/preview, /graphql/environments/main
}

// withDatoCMS gives the paths that nothing else here serves to DatoCMS' adapter: the product's clients call many that
// it does not have, and repeat a GET for ever unless the reply is JSON. People with a browser get the plain 404
// still. A host with a name of its own for that product gives all of it to [datocms.Handler], and needs none of this.
func (a *app) withDatoCMS(mux *http.ServeMux) http.Handler {
	every := datocms.Handler(a.account, a.datoOptions())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if datoCall(r) && !serves(mux, r) {
			every.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// serves reports whether mux has the path of a request, be it for another method.
func serves(mux *http.ServeMux, r *http.Request) bool {
	for _, method := range []string{r.Method, http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		asked := *r
		asked.Method = method
		if _, pattern := mux.Handler(&asked); pattern != "" {
			return true
		}
	}
	return false
}

// datoCall reports whether a request looks like one of DatoCMS' clients, or like a browser that asks before such a one.
func datoCall(r *http.Request) bool {
	h := r.Header
	return h.Get("X-Api-Version") != "" || h.Get("Authorization") != "" ||
		strings.Contains(h.Get("Accept"), "application/json") ||
		strings.Contains(strings.ToLower(h.Get("Access-Control-Request-Headers")), "authorization")
}

// cmaToken finds or makes the first token of that surface: its role may do everything.
func cmaToken(ctx context.Context, account latchkey.Account) (id string, secret latchkey.Secret, err error) {
	role, err := roleID(ctx, account, datocms.AdminRole("Admin", datoEnvironment))
	if err != nil {
		return "", latchkey.Secret{}, fmt.Errorf("role of the CMA token: %w", err)
	}
	return tokenSecret(ctx, account, datocms.TokenSpec("cma_token", role, true, true, true))
}
