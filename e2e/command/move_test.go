package command

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/sqlstore"
)

const roleFile = `{"format": 1, "owners": {"acme": {
  "roles": [
    {"name": "editor", "inherits": ["viewer"], "permissions": [{"allow": ["update"], "on": ["dataset/a"]}]},
    {"name": "viewer", "permissions": [
      {"allow": ["read"], "on": ["dataset/*"], "where": {"field": "region", "op": "=", "value": "EU"}}]}
  ],
  "boundary": [{"allow": ["*"], "on": ["dataset/*", "latchkey/*"]}],
  "limits": {"quotas": [{"amount": 5000000, "per": "forever"}]}, "policy": {"tokens": 50}}}}`

// fill makes what there is to move, with the command and a program, and returns the keys by name.
func (d *deployment) fill(initArgs []string) map[string]string {
	d.t.Helper()
	keys := map[string]string{}
	keys["admin"] = strings.TrimSpace(d.must("", append([]string{"init", "-owner", "acme", "-first-key", "admin"},
		initArgs...)...))
	require.NoError(d.t, os.WriteFile(filepath.Join(d.dir, "roles.json"), []byte(roleFile), 0o600))
	_, _, code := d.run("", "roles", "plan", "roles.json")
	require.Equal(d.t, 6, code)
	d.must("", "roles", "apply", "-yes", "roles.json", "-reason", "ticket 7")
	keys["site"] = strings.TrimSpace(d.must("", "issue", "-name", "site", "-role", "editor", "-expires", "+10d"))
	keys["gone"] = strings.TrimSpace(d.must("", "issue", "-name", "gone", "-role", "viewer"))
	d.must(keys["gone"], "revoke", "-stdin", "-reason", "leaked")
	keys["globex"] = strings.TrimSpace(d.must("", "issue", "-owner", "globex", "-kind", "secret", "-name", "globex"))
	app := d.application(0)
	access, err := app.Verify(d.t.Context(), latchkey.Presented{Secret: keys["admin"]})
	require.NoError(d.t, err)
	_, child, err := access.Mint(d.t.Context(), latchkey.Narrowing{Name: "child", Lifetime: time.Hour,
		Client: latchkey.Client{ID: "c1", Name: "Ada"}})
	require.NoError(d.t, err)
	keys["child"] = child.Reveal()
	access.Count("calls", "list", 3, 2*latchkey.Credit)
	_, err = access.Spend(d.t.Context(), "mails", "send", 2*latchkey.Credit) // of 5
	require.NoError(d.t, err)
	require.NoError(d.t, app.Close(d.t.Context()))
	return keys
}

// works checks the commands that read, and that each key does what it should.
func (d *deployment) works(keys map[string]string) {
	d.t.Helper()
	for name, secret := range keys {
		out, errs, code := d.run(secret, "verify", "-json")
		if name == "gone" {
			require.Equal(d.t, 4, code, errs)
			require.Contains(d.t, out, "revoked")
			continue
		}
		require.Zero(d.t, code, name+out+errs)
		require.Contains(d.t, out, `"name":"`+name+`"`)
	}
	require.Empty(d.t, d.must("", "roles", "plan", "-prune", "roles.json"), "the store is what the file says")
	var site struct{ ID string }
	require.NoError(d.t, json.Unmarshal([]byte(d.must("", "list", "-search", "site", "-json")), &site))
	require.Contains(d.t, d.must("", "explain", site.ID, "read", "dataset/a"), `some rows: region = "EU"`)
	_, _, code := d.run("", "explain", site.ID, "delete", "dataset/a")
	require.Equal(d.t, 4, code)
	require.Contains(d.t, d.must("", "who", "update", "dataset/a"), "site")
	require.Contains(d.t, d.must("", "expiring"), "site")
	require.NotContains(d.t, d.must("", "expiring", "-owner", "globex"), "site")
	require.Contains(d.t, d.must("", "unused", "-since", "+1d"), "site")
	require.Equal(d.t, "METER  COUNT  CREDITS\ncalls  3      2\nmails  1      2\n", d.must("", "usage", "-by", "meter"))
	require.Contains(d.t, d.must("", "audit", "-action", "token.revoke"), "leaked")
	require.Contains(d.t, d.must("", "audit", "-action", "owner.configure", "-changes", "-last", "1"), "boundary")
	require.Equal(d.t, "{\"removed\":0}\n", d.must("", "purge", "-json"))
	doctor := d.must("", "doctor", "-deep")
	require.Regexp(d.t, `(?m)^ok +records +7 tokens and roles can be read$`, doctor)
	require.Regexp(d.t, `(?m)^ok +clock `, doctor)
	require.NotRegexp(d.t, `(?m)^(warn|fail)`, doctor)
}

// records is what the command shows of acme, but for what a move alters: versions.
func (d *deployment) records() string {
	d.t.Helper()
	all := d.must("", "roles", "export", "-all") + d.must("", "list", "-owner", "acme", "-json") +
		d.must("", "list", "-owner", "globex", "-json") +
		d.must("", "usage", "-by", "token", "-by", "meter", "-by", "endpoint", "-by", "day", "-json")
	return regexp.MustCompile(`,"(owner_)?version":[0-9]+|,"used":"[^"]*"`).ReplaceAllString(all, "")
}

// moveTo exports from one deployment and imports into another, which gets the same keyring.
func (d *deployment) moveTo(to *deployment, initArgs []string) {
	d.t.Helper()
	file := filepath.Join(d.t.TempDir(), "all.ndjson")
	d.must("", "export", "-out", file)
	for _, name := range []string{"latchkey.key", "roles.json"} {
		text, err := os.ReadFile(filepath.Join(d.dir, name))
		require.NoError(d.t, err)
		require.NoError(d.t, os.WriteFile(filepath.Join(to.dir, name), text, 0o600))
	}
	to.must("", append([]string{"init", "-owner", "acme"}, initArgs...)...)
	to.must("", "import", file)
	to.must("", "import", file) // once more: it is complete
	require.Equal(d.t, d.records(), to.records())
}

// Owners move from SQLite to each engine and back, and every key goes on working.
func TestMoveBetweenEngines(t *testing.T) {
	binary, err := build()
	require.NoError(t, err)
	lite := func(t *testing.T) *deployment {
		d := &deployment{t: t, dir: t.TempDir(), binary: binary}
		d.open = func() *sql.DB { return harness.OpenSQLite(t, harness.WAL(filepath.Join(d.dir, "latchkey.db"))) }
		return d
	}
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		from, back := lite(t), lite(t)
		keys := from.fill(nil)
		from.works(keys)
		dsn, engine := e.Place(t), "postgres"
		if e.Dialect == latchkey.MySQL {
			engine = "mysql"
		}
		there := &deployment{t: t, dir: t.TempDir(), binary: binary, env: []string{"LATCHKEY_TEST_DSN=" + dsn}}
		there.open = func() *sql.DB { return e.Open(t, dsn) }
		from.moveTo(there, []string{"-engine", engine, "-dsn-env", "LATCHKEY_TEST_DSN"})
		there.works(keys)
		there.moveTo(back, nil)
		back.works(keys)
		app := back.application(0)
		access, err := app.Verify(t.Context(), latchkey.Presented{Secret: keys["admin"]})
		require.NoError(t, err)
		_, err = access.Spend(t.Context(), "mails", "send", 4*latchkey.Credit)
		require.ErrorIs(t, err, latchkey.ErrOverLimit, "the quota goes on where it was")
		_, err = access.Spend(t.Context(), "mails", "send", 3*latchkey.Credit)
		require.NoError(t, err)
		require.NoError(t, app.Close(t.Context()))
	})
}

// What was not migrated, and what processes left that died, doctor tells on each engine.
func TestDoctorOnEveryEngine(t *testing.T) {
	onEngines(t, func(t *testing.T, d *deployment, initArgs []string) {
		d.must("", append([]string{"init", "-owner", "acme", "-first-key", "admin"}, initArgs...)...)
		db := d.open()
		dialect := latchkey.SQLite
		if len(initArgs) > 0 {
			dialect = map[string]latchkey.Dialect{"postgres": latchkey.Postgres, "mysql": latchkey.MySQL}[initArgs[1]]
		}
		store, err := sqlstore.New(t.Context(), db, dialect, nil)
		require.NoError(t, err)
		for _, until := range []time.Time{time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
			_, err = store.Reserve(t.Context(), latchkey.Reservation{Owner: "acme", Key: uuid.New(), Amount: 5, Until: until,
				Accounts: []latchkey.CreditAccount{{Meter: "calls", Period: "2026-11", Limit: 100}}})
			require.NoError(t, err)
		}
		out, _, code := d.run("", "doctor")
		require.Equal(t, 6, code)
		require.Regexp(t, `(?m)^warn +credits +1 of 2 open reservations should have lapsed`, out)
		d.must("", "purge")
		require.Regexp(t, `(?m)^ok +credits +1 open`, d.must("", "doctor"))

		var newest int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT MAX(version) FROM latchkey_migrations`).Scan(&newest))
		_, err = db.ExecContext(t.Context(), fmt.Sprintf(`DELETE FROM latchkey_migrations WHERE version = %d`, newest))
		require.NoError(t, err)
		out, _, code = d.run("", "doctor")
		require.Equal(t, 6, code)
		require.Regexp(t, fmt.Sprintf(`(?m)^fail +schema +version %d, and this program needs %d: %04d_\w+\.sql$`, newest-1,
			newest, newest), out)
		require.Contains(t, out, "→ latchkey migrate")
	})
}
