package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// owner is the only owner of this server.
const owner = "demo"

// app holds the parts of the server.
type app struct {
	log      *slog.Logger
	db       *database
	store    *sqlstore.Store
	keys     *latchkey.Manager
	account  latchkey.Account
	penguins *penguins
	islands  *islands
	embedder embedder
	graphql  schemas
}

// open opens the database and sets up what is missing.
func open(ctx context.Context, cfg config, log *slog.Logger) (_ *app, err error) {
	pool, err := cfg.db.open()
	if err != nil {
		return nil, fmt.Errorf("-db %s: %w", cfg.db.shown, err)
	}
	db := &database{pool, cfg.db.engine}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	// Each step below first checks what is done. One process at a time does this, for several servers may start at once.
	release, err := db.engine.alone(ctx, db.DB)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db.shown, err)
	}
	defer release()
	if err := sqlstore.Migrate(ctx, db.DB, db.engine.dialect); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db.shown, err)
	}
	store, err := sqlstore.New(ctx, db.DB, db.engine.dialect, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db.shown, err)
	}
	if err := db.makeTables(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db.shown, err)
	}
	setup, err := openSetup(ctx, db, store)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.db.shown, err)
	}
	keyring, err := setup.keyring(ctx, cfg.keyring)
	if err != nil {
		return nil, err
	}
	data, err := openPenguins(ctx, db)
	if err != nil {
		return nil, err
	}
	islands, err := openIslands(ctx, db)
	if err != nil {
		return nil, err
	}
	for table, schema := range map[string]*latchkey.Schema{"penguins": penguinSchema, "islands": islandSchema} {
		if err := sqlstore.CheckSchema(ctx, db.DB, db.engine.dialect, table, schema); err != nil {
			return nil, err
		}
	}
	keys := latchkey.New(store, &latchkey.Options{Keyring: keyring, Catalogue: catalogue(log), Logger: log})
	a := &app{log: log, db: db, store: store, keys: keys, account: keys.For(owner), penguins: data, islands: islands}
	if err := setup.seed(ctx, a.account, cfg.credentials); err != nil {
		return nil, err
	}
	a.embedder.keyID, a.embedder.roleID = setup.values["api_key"], setup.values["role viewer"]
	return a, nil
}

func (a *app) routes(cfg config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.serveHome(cfg))
	a.mountNative(mux, cfg)
	cloudtables.Mount(mux, a.account, &cloudtables.Options{Logger: a.log})
	a.mountDataCalls(mux)
	a.mountEmbedding(mux)
	a.mountDatoCMS(mux)
	a.mountWebForce(mux)
	a.mountConsole(mux)
	return a.withApperate(a.withDatoCMS(mux))
}

// purgeHourly purges the store every hour, until ctx ends.
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

// close flushes what is in memory and closes the database.
func (a *app) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(a.keys.Close(ctx), a.penguins.flush(ctx), a.store.Close(), a.db.Close())
}
