package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"

	_ "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// roles hold in each of the programs, because all of them get their Manager from open. A program that lacked them would
// refuse what they allow.
var roles = []latchkey.Role{{Name: "analyst", Permissions: latchkey.Permissions{
	latchkey.Allow(latchkey.Read).On("report/*"),
	latchkey.Deny(latchkey.Any).On("report/salaries"),
	latchkey.Allow(latchkey.Read).On("orders").Where(latchkey.Where("region", latchkey.Eq, "EU")),
}}}

// fields says which columns the conditions of rules are about.
var fields = latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})

// host is what the commands share.
type host struct {
	db    *sql.DB
	store *sqlstore.Store
	keys  *latchkey.Manager
}

// open opens the database with the keys and the orders.
func open(ctx context.Context, file string, observer latchkey.Observer) (*host, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	h := &host{db: db}
	if err := h.prepare(ctx, observer); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *host) prepare(ctx context.Context, observer latchkey.Observer) (err error) {
	h.db.SetMaxOpenConns(8)
	h.db.SetMaxIdleConns(8)
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS orders (id TEXT NOT NULL PRIMARY KEY, region TEXT NOT NULL)",
		"INSERT OR IGNORE INTO orders VALUES ('1', 'EU'), ('2', 'US'), ('3', 'EU')",
	} {
		if _, err := h.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if err := sqlstore.CheckSchema(ctx, h.db, latchkey.SQLite, "orders", fields); err != nil {
		return err
	}
	if err := sqlstore.Migrate(ctx, h.db, latchkey.SQLite); err != nil {
		return err
	}
	if h.store, err = sqlstore.New(ctx, h.db, latchkey.SQLite, nil); err != nil {
		return err
	}
	h.keys = latchkey.New(h.store, &latchkey.Options{Roles: roles, Observer: observer, Logger: slog.Default()})
	return nil
}

// close ends what open began, in the reverse order. The context is not that of the signal: what waits is written.
func (h *host) close() (err error) {
	if h.keys != nil {
		err = h.keys.Close(context.Background())
	}
	if h.store != nil {
		err = errors.Join(err, h.store.Close())
	}
	return errors.Join(err, h.db.Close())
}

// order is a row of the table.
type order struct {
	ID     string `json:"id"`
	Region string `json:"region"`
}

// ordersIn returns the orders that rows admits.
func (h *host) ordersIn(ctx context.Context, rows latchkey.Condition) ([]order, error) {
	p, err := fields.Bind(rows)
	if err != nil {
		return nil, err
	}
	where, args := p.SQL(latchkey.SQLite, 1)
	found, err := h.db.QueryContext(ctx, "SELECT o.id, o.region FROM orders o WHERE "+where+" ORDER BY o.id", args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	orders := []order{}
	for found.Next() {
		var o order
		if err := found.Scan(&o.ID, &o.Region); err != nil {
			return nil, err
		}
		orders = append(orders, o)
	}
	return orders, found.Err()
}
