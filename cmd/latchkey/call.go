package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/settings"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// A call is one run of a command: its arguments, and what it opened on the way.
type call struct {
	command *command
	args    []string
	flags   *flags
	std     streams

	read    *settings.Settings
	db      *sql.DB
	store   *sqlstore.Store
	manager *latchkey.Manager
}

// settings returns what the settings file says.
func (c *call) settings() (*settings.Settings, error) {
	if c.read != nil {
		return c.read, nil
	}
	s, err := settings.Read(c.flags.settingsPath())
	if err != nil {
		return nil, settingsError(err)
	}
	c.read = s
	return s, nil
}

// options returns the Options of the settings file, with a logger to standard error.
func (c *call) options() (*latchkey.Options, error) {
	s, err := c.settings()
	if err != nil {
		return nil, err
	}
	o, err := s.Options()
	if err != nil {
		return nil, settingsError(err)
	}
	o.Logger = slog.New(slog.NewTextHandler(c.std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o.CacheTokens = 1000
	return o, nil
}

// database returns the open database. Only init and migrate use it themselves.
func (c *call) database(ctx context.Context) (*sql.DB, latchkey.Dialect, error) {
	s, err := c.settings()
	if err != nil {
		return nil, 0, err
	}
	if c.db == nil {
		if c.db, err = openDatabase(ctx, s); err != nil {
			return nil, 0, err
		}
	}
	return c.db, s.Engine().Dialect(), nil
}

// keys returns the Manager over the store of the settings file. It is closed after the command.
func (c *call) keys(ctx context.Context) (*latchkey.Manager, error) {
	if c.manager != nil {
		return c.manager, nil
	}
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	db, dialect, err := c.database(ctx)
	if err != nil {
		return nil, err
	}
	c.store, err = sqlstore.New(ctx, db, dialect, &sqlstore.Options{OnlyNode: c.read.OnlyNode()})
	if err != nil {
		if errors.Is(err, latchkey.ErrUnavailable) {
			return nil, fmt.Errorf("the store: %w", err)
		}
		return nil, fmt.Errorf("the store: %w (\"latchkey migrate\" makes the tables, and brings them up to date)", err)
	}
	c.manager = latchkey.New(c.store, o)
	return c.manager, nil
}

// account returns the Account of -owner, or of the owner of the settings file, for the host itself. What it changes is
// recorded with the operator and -reason.
func (c *call) account(ctx context.Context) (latchkey.Account, error) {
	keys, err := c.keys(ctx)
	if err != nil {
		return latchkey.Account{}, err
	}
	owner := c.flags.owner
	if owner == "" {
		owner = c.read.Owner()
	}
	if owner == "" {
		return latchkey.Account{}, usagef("name the owner: -owner OWNER, or \"owner\" in %s", c.flags.settingsPath())
	}
	return c.accountOf(keys, owner)
}

// accountOf is account for a given owner.
func (c *call) accountOf(keys *latchkey.Manager, owner string) (latchkey.Account, error) {
	account, err := keys.Tenant(owner)
	if err != nil {
		return latchkey.Account{}, err
	}
	return account.By(operator(), c.flags.reason)
}

// checkKeyring refuses to make a secret that the programs of the deployment would not find, because the keyring is not
// theirs. See latchkey.Manager.CheckKeyring: it reads all secrets of the store.
func (c *call) checkKeyring(ctx context.Context) error {
	keys, err := c.keys(ctx)
	if err != nil {
		return err
	}
	if err := keys.CheckKeyring(ctx); err != nil {
		if errors.Is(err, latchkey.ErrNeedsKeyring) {
			return fmt.Errorf("nothing was made, because other programs could not verify it: %w. "+
				"Let %s name the keyring that they have", err, c.flags.settingsPath())
		}
		return err
	}
	return nil
}

// close closes what was opened, also after an interruption.
func (c *call) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	if c.manager != nil {
		errs = append(errs, c.manager.Close(ctx))
	}
	if c.store != nil {
		errs = append(errs, c.store.Close())
	}
	if c.db != nil {
		errs = append(errs, c.db.Close())
	}
	return errors.Join(errs...)
}

// settingsError makes an error about the settings one of usage.
func settingsError(err error) error {
	if errors.Is(err, latchkey.ErrInvalid) {
		return usagef("%s", err)
	}
	return &usageError{fmt.Sprintf("%s. \"latchkey init\" makes one, and -settings names one", err)}
}
