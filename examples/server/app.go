package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/sqlstore"

	_ "modernc.org/sqlite"
)

// owner is the one account of this server.
const owner = "demo"

// app is the server's parts, wired.
type app struct {
	log      *slog.Logger
	db       *sql.DB
	store    *sqlstore.Store
	keys     *latchkey.Manager
	account  latchkey.Account
	penguins *penguins
	islands  *islands
	embedder embedder
	graphql  schemas
}

// open opens the database file and makes ready what is not there yet.
func open(ctx context.Context, cfg config, log *slog.Logger) (_ *app, err error) {
	db, err := openDB(cfg.db)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	if err := sqlstore.Migrate(ctx, db, latchkey.SQLite); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db, err)
	}
	store, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db, err)
	}
	setup, err := openSetup(ctx, db, store)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db, err)
	}
	keyring, err := setup.keyring(ctx, cfg.keyring)
	if err != nil {
		return nil, err
	}
	data, err := openPenguins(ctx, db)
	if err != nil {
		return nil, err
	}
	if err := sqlstore.CheckSchema(ctx, db, latchkey.SQLite, "penguins", penguinSchema); err != nil {
		return nil, err
	}
	islands, err := openIslands(ctx, db)
	if err != nil {
		return nil, err
	}
	keys := latchkey.New(store, &latchkey.Options{Keyring: keyring, Logger: log})
	a := &app{log: log, db: db, store: store, keys: keys, account: keys.For(owner), penguins: data, islands: islands}
	if err := setup.seed(ctx, a.account, cfg.credentials); err != nil {
		return nil, err
	}
	a.embedder.keyID, a.embedder.roleID = setup.values["api_key"], setup.values["role viewer"]
	return a, nil
}

// openDB opens a SQLite file that only its owner can read, and makes it if need be.
func openDB(path string) (*sql.DB, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: full, RawQuery: url.Values{
		// Writers wait for each other instead of failing, and take the write lock before they read. FULL: a revocation
		// that was acknowledged survives a power cut.
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8) // more readers than that gain nothing
	db.SetMaxIdleConns(8) // a connection kept is one not opened anew
	return db, nil
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	cloudtables.Mount(mux, a.account, &cloudtables.Options{Logger: a.log})
	a.mountDataCalls(mux)
	a.mountEmbedding(mux)
	a.mountDatoCMS(mux)
	a.mountWebForce(mux)
	a.mountConsole(mux)
	return a.withApperate(mux)
}

// purgeHourly removes what is over until ctx ends.
func (a *app) purgeHourly(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		n, err := a.keys.Purge(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.log.Error("purging", "error", err)
		case n > 0:
			a.log.Info("purged", "records", n)
		}
		if err := a.penguins.flush(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("writing the read count", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close writes what is still in memory and lets go of the file.
func (a *app) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(a.keys.Close(ctx), a.penguins.flush(ctx), a.store.Close(), a.db.Close())
}
