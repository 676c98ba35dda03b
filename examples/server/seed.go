package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// setup records the progress of the first start in the same database. A start that was cut off is resumed: every step
// checks first whether it is done.
type setup struct {
	db     *database
	values map[string]string
	used   bool // the database has tokens of its keyring, or is about to get some
	tokens bool // the database has tokens
}

const (
	stateSeeding = "seeding" // secrets may have been made, their file may not be written
	stateSeeded  = "seeded"  // everything is written: later starts change nothing
)

func openSetup(ctx context.Context, db *database, store latchkey.Store) (*setup, error) {
	s := &setup{db: db, values: map[string]string{}}
	err := db.statement(`SELECT name, value FROM server_setup`).query(ctx, db, func(rows *sql.Rows) error {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		s.values[name] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	tokens, err := store.Tokens(ctx, owner, latchkey.TokenQuery{Page: latchkey.Page{Limit: 1}})
	if err != nil {
		return nil, err
	}
	s.tokens = len(tokens) > 0
	s.used = s.tokens || len(s.values) > 0
	return s, nil
}

func (s *setup) put(ctx context.Context, name, value string) error {
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		if err := s.db.statement(`DELETE FROM server_setup WHERE name = ?`, name).exec(ctx, tx); err != nil {
			return err
		}
		return s.db.statement(`INSERT INTO server_setup (name, value) VALUES (?, ?)`, name, value).exec(ctx, tx)
	})
	if err == nil {
		s.values[name] = value
	}
	return err
}

// keyring reads the keyring file, and creates it if the database is still empty. With another keyring every secret in
// the database would be unknown, so a missing or a wrong one is an error.
func (s *setup) keyring(ctx context.Context, path string) (*latchkey.Keyring, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if s.used {
			return nil, fmt.Errorf("the database has data, but its keyring file %s is missing: "+
				"bring it back, or name it with -keyring (every server of a database has the same one); "+
				"without it no token is known and no secret opens", path)
		}
		key, err := latchkey.GenerateKey(nil, 1)
		if err != nil {
			return nil, err
		}
		fresh, err := latchkey.NewKeyring(key)
		if err != nil {
			return nil, err
		}
		text = []byte(fresh.Export().Reveal())
		if err := writePrivate(path, text, os.Link); err != nil { // Link never replaces the file of another first start
			return nil, fmt.Errorf("writing the keyring file: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("reading the keyring file: %w", err)
	}
	keyring, err := latchkey.ParseKeyring(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}

	// One key in common is enough, so that a keyring can be rotated.
	prints := fingerprints(string(text))
	known := func(print string) bool { return s.values[print] != "" }
	if s.used && !slices.ContainsFunc(prints, known) {
		return nil, fmt.Errorf("the keyring file %s belongs to another database: none of its keys was used here", path)
	}
	for _, print := range prints {
		if !known(print) {
			if err := s.put(ctx, print, time.Now().UTC().Format(time.RFC3339)); err != nil {
				return nil, err
			}
		}
	}
	return keyring, nil
}

// fingerprints identify keys and reveal nothing about them: each is a digest of 32 random bytes.
func fingerprints(keyring string) []string {
	var prints []string
	for line := range strings.Lines(keyring) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			sum := sha256.Sum256([]byte("latchkey example server\x00" + line))
			prints = append(prints, "key "+hex.EncodeToString(sum[:]))
		}
	}
	return prints
}

// credentials is the file that the first start writes: the only place that holds its secrets in plain text.
type credentials struct {
	Owner       string `json:"owner"`
	Secret      string `json:"secret"`
	Publishable string `json:"publishable"`
	APIKey      string `json:"api_key"`
	APIKeyID    string `json:"api_key_id"` // no secret: what OAuth calls the client_id
	CMAToken    string `json:"cma_token"`
	Session     string `json:"session"`
}

// seed creates the roles and tokens of the owner at the first start, writes their secrets to a file and records that.
func (s *setup) seed(ctx context.Context, account latchkey.Account, path string) error {
	if s.values["state"] == stateSeeded {
		return nil
	}
	if s.values["state"] == "" {
		if s.tokens {
			return errors.New("the database has tokens of another program: name another database with -db")
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the database is empty, but there is a credentials file %s: "+
				"move it away, or name another with -credentials (%w)", path, errors.Join(err, fs.ErrExist))
		}
		if err := s.put(ctx, "state", stateSeeding); err != nil {
			return err
		}
	}
	made := credentials{Owner: account.Owner()}
	if err := s.makeTokens(ctx, account, &made); err != nil {
		return fmt.Errorf("first start: %w", err)
	}
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return err
	}
	if err := writePrivate(path, append(text, '\n'), os.Rename); err != nil {
		return fmt.Errorf("writing the credentials file: %w", err)
	}
	return s.put(ctx, "state", stateSeeded)
}

func (s *setup) makeTokens(ctx context.Context, account latchkey.Account, made *credentials) error {
	anything := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	everyRow := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}
	roles := map[string]string{} // name → id
	for _, role := range []latchkey.Role{
		{Name: "viewer", Permissions: everyRow},
		{Name: "biscoe", Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On(latchkey.Exactly(datasetResource)).
				Where(latchkey.Where("dp-2", latchkey.Eq, "Biscoe")),
		}},
		{Name: "keeper", Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete).On("dataset/*"),
		}},
		{Name: "admin", Permissions: anything},
	} {
		id, err := roleID(ctx, account, role)
		if err != nil {
			return fmt.Errorf("role %s: %w", role.Name, err)
		}
		roles[role.Name] = id
		if err := s.put(ctx, "role "+role.Name, id); err != nil {
			return err
		}
	}
	for _, token := range []struct {
		kind  latchkey.Kind
		set   latchkey.Settings
		shown *string
	}{
		{latchkey.KindSecret, latchkey.Settings{Name: "secret"}, &made.Secret},
		{latchkey.KindPublishable, latchkey.Settings{Name: "publishable", Permissions: apperatePermissions()},
			&made.Publishable},
		{latchkey.KindAPIKey, latchkey.Settings{Name: "api_key",
			Roles: []string{roles["viewer"], roles["biscoe"], roles["keeper"]}}, &made.APIKey},
		{latchkey.KindSession, latchkey.Settings{
			Name: "session",
			Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Any).On("*"),
				latchkey.Allow(latchkey.Any).On("latchkey/*"),
			},
			Validity: latchkey.Validity{NotAfter: time.Now().AddDate(1, 0, 0)},
		}, &made.Session},
	} {
		id, secret, err := tokenSecret(ctx, account, token.set.Spec(token.kind))
		if err != nil {
			return fmt.Errorf("token %s: %w", token.set.Name, err)
		}
		*token.shown = secret.Reveal()
		if err := s.put(ctx, token.set.Name, id); err != nil {
			return err
		}
	}
	id, secret, err := cmaToken(ctx, account)
	if err != nil {
		return err
	}
	made.CMAToken, made.APIKeyID = secret.Reveal(), s.values["api_key"]
	return s.put(ctx, "cma_token", id)
}

// roleID finds a role by its name, or creates it.
func roleID(ctx context.Context, account latchkey.Account, role latchkey.Role) (string, error) {
	for there, err := range account.Roles(ctx, latchkey.RoleQuery{Names: []string{role.Name}}) {
		return there.ID, err
	}
	role, err := account.CreateRole(ctx, role)
	return role.ID, err
}

// tokenSecret finds the token of an earlier attempt by its name and reveals its secret, or issues it.
func tokenSecret(ctx context.Context, account latchkey.Account, spec latchkey.Spec) (string, latchkey.Secret, error) {
	for there, err := range account.Tokens(ctx, latchkey.TokenQuery{Search: spec.Name}) {
		if err != nil {
			return "", latchkey.Secret{}, err
		}
		if there.Name == spec.Name && there.Kind == spec.Kind {
			secret, err := account.Reveal(ctx, there.ID)
			return there.ID, secret, err
		}
	}
	token, secret, err := account.Issue(ctx, spec)
	return token.ID, secret, err
}

// writePrivate writes a file that only its owner can read, atomically. The last step, place, gives the complete file
// its name.
func writePrivate(path string, text []byte, place func(from, to string) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // CreateTemp makes it 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // after Rename there is nothing left to remove
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return place(file.Name(), path)
}
