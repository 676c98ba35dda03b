package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/settings"
)

var initCommand = command{
	name:    "init",
	summary: "make the settings file, a keyring, the tables and the first key",
	help: `
Makes what a deployment needs: the settings file, a keyring that its owner alone can read, and the tables
in the database. With -first-key it issues a key for -owner, too, and prints it as issue does. By default
that is a secret key, which may do everything of its owner. So one line makes a deployment's first key:

  latchkey init -owner acme -first-key admin

A keyring that exists already is used as it is: give it where the application has one. Nothing is written
over. If something fails before a key is issued, the files that were made are removed; the database stays.

Keep the keyring apart from backups of the database. Without it no key is accepted.`,
	output: `{"settings":"latchkey.json","keyring":"latchkey.key"}; with -first-key also what issue prints`,
	scope:  scopeOwner,
	define: func(f *flags) action {
		var p initPlan
		engine := f.Choice("engine", "engine of the database, sqlite if it is not given; mysql is MariaDB, too",
			string(settings.SQLite), string(settings.Postgres), string(settings.MySQL))
		f.StringVar(&p.db, "db", "latchkey.db", "`file` of the database of SQLite")
		f.StringVar(&p.dsn.Env, "dsn-env", "", "`variable` of the environment that holds the DSN")
		f.StringVar(&p.dsn.File, "dsn-file", "", "`file` that holds the DSN")
		f.StringVar(&p.keyring.File, "keyring", "latchkey.key", "`file` of the keyring, made if it is missing")
		f.StringVar(&p.keyring.Env, "keyring-env", "", "`variable` of the environment that holds the keyring, instead")
		f.BoolVar(&p.noKeyring, "no-keyring", false, "keep plain digests: secrets cannot be revealed, nor requests be signed")
		f.StringVar(&p.prefix, "prefix", "", "`mark` in the texts of tokens: 1 to 8 of a-z and 0-9")
		f.StringVar(&p.firstKey, "first-key", "", "issue a key with this `name`")
		f.StringVar(&p.role, "role", "", "`role` of the first key, by its name: it is an API key with that role then")
		out := outFlag(f)
		f.Reason()
		return func(ctx context.Context, c *call) error {
			p.engine = cmp.Or(settings.Engine(*engine), settings.SQLite)
			p.owner, p.given = c.flags.owner, c.flags.given
			if err := p.check(); err != nil {
				return err
			}
			return c.init(ctx, p, *out)
		}
	},
}

// initPlan is what init was asked for. Paths are relative to the working directory.
type initPlan struct {
	engine         settings.Engine
	db             string
	dsn, keyring   place
	noKeyring      bool
	prefix, owner  string
	firstKey, role string
	given          map[string]bool
}

// place is where a secret is, in the settings file.
type place struct {
	File string `json:"file,omitempty"`
	Env  string `json:"env,omitempty"`
}

func (p *initPlan) check() error {
	g := p.given
	switch {
	case p.engine == settings.SQLite && (g["dsn-env"] || g["dsn-file"]):
		return usagef("-dsn-env and -dsn-file are for -engine postgres and mysql")
	case p.engine != settings.SQLite && (g["db"] || g["dsn-env"] == g["dsn-file"]):
		return usagef("-engine %s needs -dsn-env VARIABLE or -dsn-file FILE: the place of the DSN, because the settings "+
			"file and the command line hold no password", p.engine)
	case count(g["keyring"], g["keyring-env"], p.noKeyring) > 1:
		return usagef("give one of -keyring, -keyring-env and -no-keyring")
	case p.firstKey != "" && p.owner == "":
		return usagef("-first-key needs -owner OWNER: the key belongs to it")
	case p.role != "" && p.firstKey == "":
		return usagef("-role is that of the first key: give -first-key NAME, too")
	case g["out"] && p.firstKey == "":
		return usagef("-out is for the secret of the first key: give -first-key NAME, too")
	}
	if g["keyring-env"] {
		p.keyring.File = ""
	}
	return nil
}

func (c *call) init(ctx context.Context, p initPlan, out string) (err error) {
	path := c.flags.settingsPath()
	text, err := p.settings(path)
	if err != nil {
		return err
	}
	if c.read, err = settings.Parse(path, text); err != nil {
		return settingsError(err)
	}
	var made []string
	defer func() {
		if err != nil {
			for _, name := range made {
				os.Remove(name)
			}
		}
	}()
	if err := writeNew(path, text, 0o644); err != nil {
		return err
	}
	made = append(made, path)
	if !p.noKeyring && p.keyring.File != "" {
		switch fresh, err := makeKeyring(p.keyring.File); {
		case err != nil:
			return err
		case fresh:
			made = append(made, p.keyring.File)
		}
	}
	if _, err := c.options(); err != nil { // a keyring that was there may be none
		return err
	}
	if err := c.migrate(ctx); err != nil {
		return err
	}
	if err := c.checkKeyring(ctx); err != nil {
		return err
	}
	c.note("made %s", path)
	if len(made) > 1 {
		c.note("made %s: keep it apart from backups of the database", p.keyring.File)
	}
	if p.firstKey == "" {
		if c.flags.json {
			return c.printJSON(p.made(path))
		}
		c.note("the tables are there. Next: latchkey issue -owner OWNER")
		return nil
	}
	account, err := c.account(ctx)
	if err != nil {
		return err
	}
	spec := latchkey.Spec{Kind: latchkey.KindSecret, Name: p.firstKey}
	if p.role != "" {
		spec.Kind, spec.Roles = latchkey.KindAPIKey, []string{p.role}
	}
	to, err := secretOut(out)
	if err != nil {
		return err
	}
	token, secret, err := account.Issue(ctx, spec)
	if err != nil {
		to.drop()
		if errors.Is(err, latchkey.ErrUnknownOutcome) {
			made = nil // there may be a token under this keyring
		}
		return err
	}
	made = nil
	if c.flags.json {
		err := c.printSecret(struct {
			initMade
			Token latchkey.Token `json:"token"`
		}{p.made(path), token}, secret, to)
		if err != nil {
			return notWritten(token, err)
		}
		return nil
	}
	return c.printIssued(token, secret, to)
}

// initMade is what init made, with -json.
type initMade struct {
	Settings string `json:"settings"`
	Keyring  string `json:"keyring,omitempty"`
}

func (p *initPlan) made(path string) initMade {
	if p.noKeyring {
		return initMade{Settings: path}
	}
	return initMade{path, p.keyring.File}
}

// settings returns the text of the settings file.
func (p *initPlan) settings(path string) ([]byte, error) {
	type store struct {
		Engine settings.Engine `json:"engine"`
		File   string          `json:"file,omitempty"`
		DSN    *place          `json:"dsn,omitempty"`
	}
	file := struct {
		Format  int    `json:"format"`
		Store   store  `json:"store"`
		Owner   string `json:"owner,omitempty"`
		Keyring *place `json:"keyring,omitempty"`
		Prefix  string `json:"prefix,omitempty"`
	}{Format: settings.Format, Store: store{Engine: p.engine}, Owner: p.owner, Prefix: p.prefix}
	var errs []error
	from := func(name string) string {
		if name == "" {
			return ""
		}
		relative, err := relativeTo(path, name)
		errs = append(errs, err)
		return relative
	}
	if p.engine == settings.SQLite {
		file.Store.File = from(p.db)
	} else {
		file.Store.DSN = &place{File: from(p.dsn.File), Env: p.dsn.Env}
	}
	if !p.noKeyring {
		file.Keyring = &place{File: from(p.keyring.File), Env: p.keyring.Env}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(file)
	return text.Bytes(), err
}

// relativeTo returns a path of the working directory as the settings file writes it: relative to its folder, unless it
// is absolute.
func relativeTo(settingsPath, name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	folder, err := filepath.Abs(filepath.Dir(settingsPath))
	if err != nil {
		return "", err
	}
	full, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	relative, err := filepath.Rel(folder, full)
	if err != nil {
		return full, nil // on another drive
	}
	return filepath.ToSlash(relative), nil
}

// makeKeyring makes a keyring with one new key, unless the file exists.
func makeKeyring(path string) (made bool, err error) {
	if _, err := os.Stat(path); err == nil {
		return false, nil
	}
	key, err := latchkey.GenerateKey(nil, 1)
	if err != nil {
		return false, err
	}
	ring, err := latchkey.NewKeyring(key)
	if err != nil {
		return false, err
	}
	return true, writeNew(path, []byte(ring.Export().Reveal()), 0o600)
}

// writeNew writes a new file, and makes sure that it is there after a power cut.
func writeNew(path string, text []byte, mode os.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return usagef("%s exists, and is not written over", path)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), os.Remove(path))
	}
	return nil
}
