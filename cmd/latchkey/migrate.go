package main

import (
	"context"
	"fmt"

	"github.com/latchkey-go/latchkey/settings"
	"github.com/latchkey-go/latchkey/sqlstore"
)

var migrateCommand = command{
	name:    "migrate",
	summary: "make the tables, or bring them up to date",
	help: `
Makes the tables of latchkey in the database of the settings file, or brings them to the schema that
this version needs. It does nothing if there is nothing to do, and never goes back to an older schema.
Any number of programs may migrate at once. For SQLite it makes a missing file, which its owner alone
can read.`,
	output: `{"migrated":true}`,
	scope:  scopeStore,
	define: func(f *flags) action {
		return func(ctx context.Context, c *call) error {
			if err := c.migrate(ctx); err != nil {
				return err
			}
			if c.flags.json {
				return c.printJSON(map[string]bool{"migrated": true})
			}
			c.note("the tables are up to date")
			return nil
		}
	},
}

func (c *call) migrate(ctx context.Context) error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	if s.Engine() == settings.SQLite {
		path, err := s.DSN()
		if err == nil {
			_, err = makeSQLite(path)
		}
		if err != nil {
			return err
		}
	}
	db, dialect, err := c.database(ctx)
	if err != nil {
		return err
	}
	if err := sqlstore.Migrate(ctx, db, dialect); err != nil {
		return fmt.Errorf("the tables were not brought up to date: %w", err)
	}
	return nil
}
