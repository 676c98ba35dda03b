package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/httpadapter/authzen"
	"github.com/latchkey-go/latchkey/httpadapter/leaks"
	"github.com/latchkey-go/latchkey/httpadapter/oauth"
)

// apiPrefix is where latchkey's own API is mounted.
const apiPrefix = "/latchkey/v1"

// mountNative serves what speaks no product's dialect: latchkey's own API, OAuth, reports of leaked keys, and the data
// set as JSON. Each takes keys as "Authorization: Bearer".
func (a *app) mountNative(mux *http.ServeMux, cfg config) {
	auth := httpadapter.New(a.keys, &httpadapter.Options{Owner: owner, Logger: a.log})
	api.Mount(mux, apiPrefix, auth, nil)
	mux.Handle("GET /penguins", auth.RequireRows(latchkey.Read, string(datasetResource))(a.servePenguins(auth)))

	if cfg.url != "" {
		oauth.Mount(mux, a.keys, &oauth.Options{Issuer: cfg.url, Owner: owner, Logger: a.log, Scopes: scopes})
		authzen.Mount(mux, auth, &authzen.Options{URL: cfg.url,
			Resources: map[string]authzen.ResourceType{"penguin": a.penguinResource()}})
	}

	// Of an operator's scanner: the right "report" on "leaks" is one that Allow(Any).On("*") includes.
	reports := &leaks.Options{Logger: a.log, Ended: func(_ context.Context, leak leaks.Leak) {
		a.log.Warn("a leaked token was reported", "token", leak.Token.ID, "action", leak.Action) // a host sends mail here
	}}
	mux.Handle("POST /leaks", auth.Require("report", "leaks")(leaks.List(a.keys, reports)))
	if cfg.github != nil {
		mux.Handle("POST /leaks/github", leaks.GitHub(a.keys, cfg.github.key, reports))
	}
}

// scopes are what tokens of OAuth may be asked for.
var scopes = map[string]latchkey.Permissions{
	"penguins:read": {latchkey.Grant(latchkey.Read).On("dataset/*")},
	"penguins:write": {latchkey.Grant(latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete).
		On("dataset/*")},
}

// penguinResource is a penguin in the questions of AuthZEN: a row of the data set. The database tells it, so that
// the caller's word for its island does not count.
func (a *app) penguinResource() authzen.ResourceType {
	row := func(ctx context.Context, _ latchkey.Account, q authzen.Question) (latchkey.Row, error) {
		id, err := strconv.ParseInt(q.Resource.ID, 10, 64)
		if err != nil {
			return nil, latchkey.ErrNotFound
		}
		one, err := a.penguins.stored(ctx, a.db, id)
		if errors.Is(err, errNoRow) {
			return nil, latchkey.ErrNotFound
		}
		return one.Values, err
	}
	return authzen.ResourceType{On: string(datasetResource), Schema: penguinSchema, Row: row}
}

// servePenguins answers the rows that the caller may read.
func (a *app) servePenguins(auth *httpadapter.Adapter) http.Handler {
	type row struct {
		ID     int64        `json:"id"`
		Values latchkey.Row `json:"values"` // by data point
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		may, _ := httpadapter.RowsFrom(r.Context())
		rows, err := penguinSchema.Bind(may)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		found, err := a.penguins.list(r.Context(), rows, everything)
		if err != nil {
			auth.WriteError(w, r, err)
			return
		}
		items := make([]row, len(found))
		for i, p := range found {
			items[i] = row{p.ID, p.Values}
		}
		writeJSON(w, http.StatusOK, map[string]any{"items": items})
	})
}

// publicKeys are GitHub's keys by their identifiers. A host with a network fetches a list that lacks a key anew: the
// example of package leaks shows it.
type publicKeys map[string]*ecdsa.PublicKey

func readPublicKeys(file string) (publicKeys, error) {
	if file == "" {
		return nil, nil
	}
	document, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	keys, err := leaks.ParseKeys(document)
	if err != nil {
		return nil, fmt.Errorf("-github-keys %s: %w", file, err)
	}
	return keys, nil
}

func (p publicKeys) key(_ context.Context, id string) (*ecdsa.PublicKey, error) {
	if key := p[id]; key != nil {
		return key, nil
	}
	return nil, leaks.ErrUnknownKey
}
