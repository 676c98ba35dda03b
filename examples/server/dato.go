package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
)

// The environments of this server, in the sense of DatoCMS: only the primary one. The data set is its only model.
const (
	datoEnvironment = "main"
	datoModel       = "penguin"
)

func (a *app) datoOptions() *datocms.Options {
	return &datocms.Options{Environments: []string{datoEnvironment}, Logger: a.log}
}

// mountDatoCMS serves the DatoCMS calls that manage tokens and roles, and a GraphQL endpoint for those tokens.
func (a *app) mountDatoCMS(mux *http.ServeMux) {
	opts := a.datoOptions()
	datocms.Mount(mux, a.account, opts)
	a.graphql = newSchemas(a)
	guard := datocms.Delivery(a.account, opts)(http.HandlerFunc(a.serveGraphQL))
	mux.Handle("/graphql", guard)
	mux.Handle("/graphql/", guard) // /graphql/preview, /graphql/environments/main
}

// withDatoCMS passes unknown paths to the DatoCMS adapter if a DatoCMS client requests them. Those clients call many
// paths that the adapter lacks, and repeat a GET for ever unless the reply is JSON. A browser still gets the plain 404.
// A host that serves the product under its own name uses [datocms.Handler] alone, and needs none of this.
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

// serves reports whether mux has the path of a request, for any method.
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

// datoCall reports whether a request looks like one of a DatoCMS client, or like the preflight of one.
func datoCall(r *http.Request) bool {
	h := r.Header
	return h.Get("X-Api-Version") != "" || h.Get("Authorization") != "" ||
		strings.Contains(h.Get("Accept"), "application/json") ||
		strings.Contains(strings.ToLower(h.Get("Access-Control-Request-Headers")), "authorization")
}

// cmaToken finds or issues the first token for DatoCMS. Its role may do everything.
func cmaToken(ctx context.Context, account latchkey.Account) (id string, secret latchkey.Secret, err error) {
	role, err := roleID(ctx, account, datocms.AdminRole("Admin", datoEnvironment))
	if err != nil {
		return "", latchkey.Secret{}, fmt.Errorf("role of the CMA token: %w", err)
	}
	return tokenSecret(ctx, account, datocms.TokenSpec("cma_token", role, true, true, true))
}
