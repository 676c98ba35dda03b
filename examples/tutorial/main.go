// The backend of docs/tutorial.md: invoices of many tenants, on chi.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/latchkey-go/latchkey"
	_ "modernc.org/sqlite"
)

func main() {
	dsn := flag.String("db", "invoices.db", "a file of SQLite, or postgres://…")
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen")
	tenant := flag.String("admin", "", "print a new admin key for this tenant, and end")
	flag.Parse()
	if err := run(context.Background(), *dsn, *addr, *tenant); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dsn, addr, tenant string) error {
	db, dialect, err := open(dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	a, err := newApp(ctx, db, dialect)
	if err != nil {
		return err
	}
	defer a.close(ctx)
	if tenant != "" {
		secret, err := a.firstKey(ctx, tenant)
		if err == nil {
			fmt.Println(secret.Reveal())
		}
		return err
	}
	fmt.Println("listening on", addr)
	server := &http.Server{Addr: addr, Handler: a.routes(), ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// open opens a database: PostgreSQL by its URL or its keywords, and SQLite by the name of a file.
func open(dsn string) (*sql.DB, latchkey.Dialect, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.Contains(dsn, "dbname=") {
		db, err := sql.Open("pgx", dsn)
		return db, latchkey.Postgres, err
	}
	db, err := sql.Open("sqlite", "file:"+dsn+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	return db, latchkey.SQLite, err
}

// firstKey makes a tenant's first key, for the host itself: no actor is asked.
func (a *app) firstKey(ctx context.Context, tenant string) (latchkey.Secret, error) {
	_, secret, err := a.keys.For(tenant).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "first admin",
		Roles: []string{"admin"}})
	return secret, err
}
