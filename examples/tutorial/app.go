package main

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// app is the backend.
type app struct {
	db      *sql.DB
	dialect latchkey.Dialect
	keys    *latchkey.Manager
	auth    *httpadapter.Adapter
	store   *sqlstore.Store
}

// newApp prepares the tables of the host and of latchkey. Close the app before the database.
func newApp(ctx context.Context, db *sql.DB, dialect latchkey.Dialect) (*app, error) {
	a := &app{db: db, dialect: dialect}
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS invoices (tenant TEXT NOT NULL, number TEXT NOT NULL,
		customer TEXT NOT NULL, state TEXT NOT NULL, cents BIGINT NOT NULL, PRIMARY KEY (tenant, number))`); err != nil {
		return nil, err
	}
	if err := sqlstore.CheckSchema(ctx, db, dialect, "invoices", invoices); err != nil {
		return nil, err // SQL and memory would not admit the same rows
	}
	if err := sqlstore.Migrate(ctx, db, dialect); err != nil {
		return nil, err
	}
	var err error
	if a.store, err = sqlstore.New(ctx, db, dialect, nil); err != nil {
		return nil, err
	}
	a.keys = latchkey.New(a.store, &latchkey.Options{Roles: roles})
	a.auth = httpadapter.New(a.keys, &httpadapter.Options{OwnerOf: tenantOf})
	return a, nil
}

func (a *app) close(ctx context.Context) error {
	return errors.Join(a.keys.Close(ctx), a.store.Close())
}

// tenantOf returns the tenant of a request: "acme" of acme.example.com. Keys of other tenants are unknown there.
func tenantOf(r *http.Request) (string, error) {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	tenant, domain, _ := strings.Cut(strings.ToLower(host), ".")
	if tenant == "" || domain == "" {
		return "", httpadapter.ErrNoTenant
	}
	return tenant, nil
}

// routes is the whole API. Each route says what it needs, and what it costs.
func (a *app) routes() http.Handler {
	r := chi.NewRouter()
	paid := a.auth.Spend("api", latchkey.Credit)
	r.With(a.auth.RequireRows(latchkey.Read, "invoice/all"), paid).Get("/invoices", a.list)
	r.With(a.auth.RequireRows(latchkey.Create, "invoice/new"), paid).Post("/invoices", a.create)
	r.With(a.auth.RequireRows(latchkey.Update, "invoice/{number}"), paid).Put("/invoices/{number}", a.update)
	r.With(a.auth.Authenticate, paid).Post("/customers/{id}/token", a.mintForCustomer)
	r.With(a.auth.Authenticate).Group(func(r chi.Router) { // what each actor may do there, latchkey decides
		r.Post("/keys", a.issueKey)
		r.Post("/keys/{id}/rotate", a.rotateKey)
		r.Delete("/keys/{id}", a.revokeKey)
		r.Get("/audit", a.audit)
	})
	return r
}
