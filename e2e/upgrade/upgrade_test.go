package upgrade

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// firstCommit is the version that knows the first migration alone. The fixtures testdata/first/*.sql are databases that
// it wrote: its program, testdata/first/main.go, was told to migrate, start and world, and sqlite3 .dump, pg_dump
// --inserts and mariadb-dump wrote down what was there then. The secrets are what world answered. To make them anew,
// with the programs of the databases installed: LATCHKEY_FIXTURES=write go test -run TestUpgradeOfAFixture ./upgrade
const firstCommit = "68a9a0e27cbfe7564020f41ad47c084da2b4fb79"

// firstPlace stands for the schema or database in a fixture.
const firstPlace = "latchkey_first"

func fixture(e *harness.NodeEngine) string {
	return filepath.Join("testdata", "first", e.Driver+".sql")
}

// A database of the first version goes through all migrations: what was in it is kept, old secrets work, and nothing
// may more than before.
func TestUpgradeOfAFixture(t *testing.T) {
	ctx := t.Context()
	for _, e := range harness.NodeEngines {
		t.Run(e.Name, func(t *testing.T) {
			if os.Getenv("LATCHKEY_FIXTURES") == "write" {
				writeFixture(t, e)
			}
			dsn := e.Empty(t)
			secrets := loadFixture(t, e, dsn)
			db := e.Open(t, dsn)
			_, err := sqlstore.New(ctx, db, e.Dialect, nil)
			require.ErrorContains(t, err, "run sqlstore.Migrate")
			before := everyRow(t, db, nil)
			require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
			columns := map[string][]string{}
			for table, rows := range before {
				columns[table] = rows.columns
			}
			require.Equal(t, before, everyRow(t, db, columns), "what was there is there, as it was")

			keys := harness.NewNode(t, e, dsn, 0)
			verify := func(name string) (latchkey.Access, error) {
				return keys.Verify(ctx, latchkey.Presented{Secret: secrets[name]})
			}
			want := map[string]error{"key": nil, "rotated": nil, "root": nil, "session": nil, "foreign": nil, "child": nil,
				"after": nil, "revoked": latchkey.ErrRevoked, "disabled": latchkey.ErrDisabled, "ended": latchkey.ErrRevoked}
			require.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(secrets)))
			for name, want := range want {
				_, err := verify(name)
				require.ErrorIs(t, err, want, name)
			}
			rights := func(name string) string {
				a, err := verify(name)
				require.NoError(t, err)
				text := ""
				for _, on := range []latchkey.Resource{"dataset/orders", "dataset/payroll", "report/daily", "latchkey/token"} {
					for _, action := range []latchkey.Action{latchkey.Read, latchkey.Delete} {
						rows, _ := a.Filter(action, on)
						said, err := rows.MarshalJSON()
						require.NoError(t, err)
						text += fmt.Sprintf("%s %s %s\n", action, on, said)
					}
				}
				return text
			}
			none, err := latchkey.Condition{}.MarshalJSON()
			require.NoError(t, err)
			all, err := latchkey.AllRows.MarshalJSON()
			require.NoError(t, err)
			europe, err := latchkey.Where("region", latchkey.Eq, "EU").MarshalJSON()
			require.NoError(t, err)
			table := func(orders, rest []byte) string {
				return fmt.Sprintf("read dataset/orders %s\ndelete dataset/orders %s\n", orders, rest) +
					fmt.Sprintf("read dataset/payroll %[1]s\ndelete dataset/payroll %[1]s\nread report/daily %[1]s\n", rest) +
					fmt.Sprintf("delete report/daily %[1]s\nread latchkey/token %[1]s\ndelete latchkey/token %[1]s\n", rest)
			}
			require.Equal(t, table(europe, none), rights("key"))
			require.Equal(t, table(europe, none), rights("rotated"))
			require.Equal(t, table(all, all), rights("root"))
			require.Equal(t, table(none, none), rights("session"))
			require.Equal(t, table(all, none), rights("foreign"))
			child, err := verify("child")
			require.NoError(t, err)
			rows, err := child.Filter(latchkey.Read, "dataset/orders")
			require.NoError(t, err)
			text, err := rows.MarshalJSON()
			require.NoError(t, err)
			require.Contains(t, string(text), "region")
			require.Contains(t, string(text), "team")

			// Credits are a quota of each meter for the calendar month.
			limited, err := verify("key")
			require.NoError(t, err)
			require.Equal(t, slices.Concat(world.Monthly(1000), world.Monthly(5000)), limited.Quotas("reads"))

			// What an old secret is used for from now on is known of it, and not of the other secrets of its token.
			acme := keys.For("acme")
			used := map[string]bool{}
			for _, name := range []string{"key", "root"} {
				tok, err := acme.Find(ctx, secrets[name])
				require.NoError(t, err)
				list, err := acme.Secrets(ctx, tok.ID)
				require.NoError(t, err)
				require.NotEmpty(t, list)
				require.Equal(t, tok.Hint, list[len(list)-1].Hint)
				used[name] = !list[len(list)-1].Used.IsZero()
			}
			require.Equal(t, map[string]bool{"key": true, "root": true}, used)

			// And the new rule holds for what is old: it has no place in the order, so it counts as before.
			o, err := acme.Record(ctx)
			require.NoError(t, err)
			require.Zero(t, o.Since)
			require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error { o.NotBefore = time.Now(); return nil }))
			for _, name := range []string{"key", "rotated", "root", "session"} {
				_, err := verify(name)
				require.ErrorIs(t, err, latchkey.ErrRevoked, name)
			}
			_, err = verify("child")
			require.Error(t, err)
			_, err = verify("foreign")
			require.NoError(t, err, "another owner's")
			_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			_, err = keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
			require.NoError(t, err)
			require.Empty(t, world.Walk(t, db))
			audit, err := acme.VerifyAudit(ctx, latchkey.AuditCheck{})
			require.NoError(t, err)
			require.True(t, audit.Proven(), "%+v", audit)
			require.Equal(t, []latchkey.AuditRange{{First: 1, Last: 11}}, audit.Unchained, "from before the chain")
			require.NotZero(t, audit.Chained)
			newFieldsOfOldRecords(t, e, db, latchkey.Presented{Secret: secrets["key"]})
		})
	}
}

// newFieldsOfOldRecords checks what a database that the first version wrote knows of what that version did not.
func newFieldsOfOldRecords(t *testing.T, e *harness.NodeEngine, db *sql.DB, key latchkey.Presented) {
	t.Helper()
	ctx := t.Context()
	s, err := sqlstore.New(ctx, db, e.Dialect, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	found, err := s.ByDigest(ctx, 0, sha256.Sum256([]byte(key.Secret)))
	require.NoError(t, err)
	token := found.Token
	require.Zero(t, found.Secret.Algorithm)
	of := func(digest [32]byte) latchkey.SecretRecord {
		all, err := s.Secrets(ctx, token.Owner, token.ID)
		require.NoError(t, err)
		i := slices.IndexFunc(all, func(r latchkey.SecretRecord) bool { return r.Digest == digest })
		require.GreaterOrEqual(t, i, 0)
		return all[i]
	}
	from, at := netip.MustParseAddr("192.0.2.7"), time.Now().UTC().Truncate(time.Microsecond)
	require.NoError(t, s.AddUsage(ctx, latchkey.UsageBatch{ID: world.WriteID(), At: at, Last: []latchkey.LastUsed{
		{Owner: token.Owner, TokenID: token.ID, At: at, Digest: found.Secret.Digest, From: from}}}))
	require.Equal(t, at, of(found.Secret.Digest).Used)
	require.Equal(t, from, of(found.Secret.Digest).UsedFrom)

	// What it charged to a month is kept for the next one, and what it wrote to the audit trail has no hash.
	account := latchkey.CreditAccount{TokenID: token.ID, Meter: "reads", Period: "2026-11", Limit: 301}
	reserve := func() error {
		_, err := s.Reserve(ctx, latchkey.Reservation{Owner: token.Owner, Key: world.WriteID(), Amount: 2,
			Accounts: []latchkey.CreditAccount{account}})
		return err
	}
	require.ErrorIs(t, reserve(), latchkey.ErrOverLimit)
	purge := func(now time.Time) {
		_, err := s.Purge(ctx, latchkey.PurgePolicy{Now: now, Expired: -1, Revoked: -1, Changes: time.Hour, Events: -1}, 1000)
		require.NoError(t, err)
	}
	purge(time.Date(2027, 1, 1, 0, 59, 59, 0, time.UTC))
	require.ErrorIs(t, reserve(), latchkey.ErrOverLimit, "December may carry from November")
	purge(time.Date(2027, 1, 1, 1, 0, 0, 0, time.UTC))
	require.NoError(t, reserve(), "December was over for an hour")
	events, _, err := s.Events(ctx, token.Owner, latchkey.EventQuery{})
	require.NoError(t, err)
	require.NotEmpty(t, events)
	require.Empty(t, append(events[0].Prev, events[0].Hash...))

	// What it wrote is found by object, by actor and by time, newest first.
	last := events[len(events)-1]
	for _, q := range []latchkey.EventQuery{{Object: last.Object}, {Actor: &last.Actor}, {From: last.At},
		{Action: last.Action}} {
		q.Reverse = true
		found, _, err := s.Events(ctx, token.Owner, q)
		require.NoError(t, err)
		require.Equal(t, last, found[0])
	}
}

// tableRows are the rows of a table, sorted, of some of its columns.
type tableRows struct {
	columns []string
	rows    []string
}

// everyRow reads all tables of the first version, or those named with the columns named.
func everyRow(t *testing.T, db *sql.DB, only map[string][]string) map[string]tableRows {
	t.Helper()
	out := map[string]tableRows{}
	for _, table := range slices.Concat(world.AllTables, []string{"latchkey_schema"}) {
		if slices.Contains(world.LaterTables, table) {
			continue
		}
		columns := "*"
		if only != nil {
			columns = strings.Join(only[table], ", ")
		}
		rows, err := db.Query(`SELECT ` + columns + ` FROM ` + table)
		require.NoError(t, err)
		names, err := rows.Columns()
		require.NoError(t, err)
		all := tableRows{columns: names}
		for rows.Next() {
			row := make([]any, len(names))
			for i := range row {
				row[i] = new(any)
			}
			require.NoError(t, rows.Scan(row...))
			var line strings.Builder
			for i := range row {
				fmt.Fprintf(&line, "%q ", fmt.Sprint(*row[i].(*any)))
			}
			all.rows = append(all.rows, line.String())
		}
		require.NoError(t, errors.Join(rows.Err(), rows.Close()))
		slices.Sort(all.rows)
		out[table] = all
	}
	return out
}

// loadFixture makes the fixture's database, and returns the secrets in it by name.
func loadFixture(t *testing.T, e *harness.NodeEngine, dsn string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fixture(e))
	require.NoError(t, err)
	secrets := map[string]string{}
	head, script, ok := strings.Cut(string(text), "\n")
	require.True(t, ok)
	for _, pair := range strings.Fields(strings.TrimPrefix(head, "-- ")) {
		name, secret, ok := strings.Cut(pair, "=")
		require.True(t, ok)
		secrets[name] = secret
	}
	if e.Dialect == latchkey.MySQL {
		config, err := mysql.ParseDSN(dsn)
		require.NoError(t, err)
		config.MultiStatements = true
		dsn = config.FormatDSN()
	}
	if e.Dialect == latchkey.Postgres {
		place := world.Column(t, e.Open(t, dsn), "SELECT current_schema()")[0]
		script = strings.ReplaceAll(script, firstPlace, place)
	}
	db, err := sql.Open(e.Driver, dsn)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(script)
	require.NoError(t, err)
	return secrets
}

// first is the program of the first version, at work on a database.
type first struct {
	t      *testing.T
	in     io.WriteCloser
	out    *bufio.Scanner
	errors *bytes.Buffer
}

var (
	firstBuilt   sync.Once
	firstProgram string
	errFirst     error
)

// buildFirst builds the program out of the repository's own history.
func buildFirst() (string, error) {
	module, err := harness.Root()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "lk-first-")
	if err != nil {
		return "", err
	}
	harness.AtEnd(func() { os.RemoveAll(folder) })
	archive := exec.Command("sh", "-c", `git archive `+firstCommit+` | tar x -C "$0"`, folder)
	archive.Dir = filepath.Join(module, "..")
	source := filepath.Join(folder, "e2e", "first")
	program := filepath.Join(folder, "program")
	build := exec.Command("go", "build", "-o", program, "./first")
	build.Dir = filepath.Join(folder, "e2e")
	if said, err := archive.CombinedOutput(); err != nil {
		return "", fmt.Errorf("git archive: %w: %s", err, said)
	}
	text, err := os.ReadFile(filepath.Join("testdata", "first", "main.go"))
	if err == nil {
		err = os.MkdirAll(source, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(source, "main.go"), text, 0o644)
	}
	if err != nil {
		return "", err
	}
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, said)
	}
	return program, nil
}

// startFirst starts the program. It needs the history of the repository: a shallow copy has no first version.
func startFirst(t *testing.T, driver, dsn string) *first {
	t.Helper()
	if err := exec.Command("git", "cat-file", "-e", firstCommit+"^{commit}").Run(); err != nil {
		require.FailNow(t, fmt.Sprintf("there is no commit %s here: fetch the whole history", firstCommit))
	}
	firstBuilt.Do(func() { firstProgram, errFirst = buildFirst() })
	require.NoError(t, errFirst)
	cmd := exec.Command(firstProgram, driver, dsn)
	f := &first{t: t, errors: &bytes.Buffer{}}
	cmd.Stderr = f.errors
	var err error
	f.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	f.out = bufio.NewScanner(out)
	f.out.Buffer(nil, 1<<20)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		f.in.Close()
		_ = cmd.Wait()
	})
	return f
}

func (f *first) do(command ...string) string {
	f.t.Helper()
	_, err := fmt.Fprintln(f.in, strings.Join(command, " "))
	require.NoError(f.t, err)
	require.True(f.t, f.out.Scan(), "%v: the program ended: %s", command, f.errors)
	return f.out.Text()
}

// must is do for what succeeds. The answer's last word is what was made.
func (f *first) must(command ...string) (id, last string) {
	f.t.Helper()
	answer := f.do(command...)
	require.NotContains(f.t, answer, "error:", "%v", command)
	words := strings.Fields(answer)
	return words[0], words[len(words)-1]
}

func (f *first) refused(says string, command ...string) {
	f.t.Helper()
	require.Regexp(f.t, "^error: .*"+says, f.do(command...), "%v", command)
}

// A rolling deploy: the first version and this one on one database, and back.
func TestFirstVersionBesideThisOne(t *testing.T) {
	ctx := t.Context()
	for _, e := range harness.NodeEngines {
		t.Run(e.Name, func(t *testing.T) {
			dsn := e.Empty(t)
			old := startFirst(t, e.Driver, dsn)
			old.must("migrate")
			old.must("start")
			keyID, oldKey := old.must("issue", "old")
			_, oldChild := old.must("mint", oldKey)

			// This version migrates beneath the running program, which goes on; and one that starts then does.
			db := e.Open(t, dsn)
			require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
			keys := harness.NewNode(t, e, dsn, 0)
			acme := keys.For("acme")
			late := startFirst(t, e.Driver, dsn)
			late.must("migrate")
			late.must("start")
			verify := func(secret string) error {
				_, err := keys.Verify(ctx, latchkey.Presented{Secret: secret})
				return err
			}
			epoch := func() string { return world.Column(t, db, "SELECT epoch FROM latchkey_epoch")[0] }
			tok, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Name: "new"})
			require.NoError(t, err)
			for _, s := range []string{oldKey, oldChild, secret.Reveal()} {
				require.NoError(t, verify(s))
				old.must("verify", s)
				late.must("verify", s)
			}
			// Each obeys the other at once, by one order of changes.
			was := epoch()
			old.must("rename", tok.ID)
			require.NotEqual(t, was, epoch())
			renamed, err := acme.Get(ctx, tok.ID)
			require.NoError(t, err)
			require.Equal(t, "new'", renamed.Name)
			_, err = acme.Update(ctx, keyID, func(t *latchkey.Token) error { t.Name = "by this one"; return nil })
			require.NoError(t, err)
			doomed, doomedSecret := old.must("issue", "doomed")
			require.NoError(t, verify(doomedSecret))
			require.NoError(t, acme.Revoke(ctx, doomed, ""))
			old.refused("revoked", "verify", doomedSecret)
			late.refused("revoked", "verify", doomedSecret)
			theirs, theirSecret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			late.must("verify", theirSecret.Reveal())
			old.must("revoke", theirs.ID)
			require.ErrorIs(t, verify(theirSecret.Reveal()), latchkey.ErrRevoked)

			newFieldsBesideTheFirst(t, e, db, dsn, old, acme)
			policyBesideTheFirst(t, keys, old, late)

			// Mass revocation by this version holds for both. What this one makes then works for both; what the first version
			// makes has no place in the order, and counts as made before.
			require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error { o.NotBefore = time.Now(); return nil }))
			for _, s := range []string{oldKey, oldChild, secret.Reveal()} {
				require.Error(t, verify(s))
				old.refused("", "verify", s)
			}
			after, afterSecret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			require.NoError(t, err)
			require.NoError(t, verify(afterSecret.Reveal()))
			old.must("verify", afterSecret.Reveal())
			_, unordered := old.must("issue", "unordered")
			require.ErrorIs(t, verify(unordered), latchkey.ErrRevoked)
			// An edit and a new secret by the first version take nothing from a token's place.
			old.must("rename", after.ID)
			require.NoError(t, verify(afterSecret.Reveal()))
			_, rotated := old.must("rotate", after.ID)
			require.NoError(t, verify(rotated))
			require.NoError(t, verify(afterSecret.Reveal()))
			// A change of the owner's record by the first version loses nothing of what this one put there.
			old.must("end")
			o, err := acme.Record(ctx)
			require.NoError(t, err)
			require.NotZero(t, o.Since)
			require.ErrorIs(t, verify(afterSecret.Reveal()), latchkey.ErrRevoked)

			// Back: nothing but the first version runs, on the schema as it is.
			again := startFirst(t, e.Driver, dsn)
			again.must("start")
			_, s := again.must("issue", "back")
			again.must("verify", s)

			// A schema that the first version may not use says so to it, and names what it needs.
			_, err = db.Exec(`INSERT INTO latchkey_schema (version, name) VALUES (2, '0002_order.sql')`)
			require.NoError(t, err)
			again.must("verify", s)
			again.refused("newer than this program's 1", "start")
			again.refused("newer than this program's 1", "migrate")
			require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
			_, err = sqlstore.New(ctx, db, e.Dialect, nil)
			require.NoError(t, err)
			next := harness.Migrations(t) + 1
			// An additive step of tomorrow leaves this version in use, and one that breaks it is refused by name.
			_, err = db.Exec(fmt.Sprintf(`INSERT INTO latchkey_migrations (version, name, oldest) VALUES (%d, 'more.sql', 2)`,
				next))
			require.NoError(t, err)
			require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
			_, err = sqlstore.New(ctx, db, e.Dialect, nil)
			require.NoError(t, err)
			_, err = db.Exec(fmt.Sprintf(`UPDATE latchkey_migrations SET oldest = %d WHERE version = %d`, next, next))
			require.NoError(t, err)
			_, err = sqlstore.New(ctx, db, e.Dialect, nil)
			require.ErrorContains(t, err, "more.sql")
			require.ErrorContains(t, sqlstore.Migrate(ctx, db, e.Dialect), "more.sql")
		})
	}
}

// policyBesideTheFirst checks that the first version, which knows no policy of an owner, does nothing for an owner that
// has one. What it made while there was none counts.
func policyBesideTheFirst(t *testing.T, keys *latchkey.Manager, old, late *first) {
	t.Helper()
	ctx, acme := t.Context(), keys.For("acme")
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	parent, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	mint := func() error {
		_, _, err := parent.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour})
		return err
	}
	set := func(p latchkey.OwnerPolicy) {
		require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error { o.Policy = p; return nil }))
	}
	old.must("mint", secret.Reveal())
	set(latchkey.OwnerPolicy{Children: 2, Tokens: 1000})
	for _, program := range []*first{old, late} {
		program.refused("", "verify", secret.Reveal())
		program.refused("", "mint", secret.Reveal())
	}
	require.NoError(t, mint())
	require.ErrorIs(t, mint(), latchkey.ErrTooMany)
	_, _, err = acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	set(latchkey.OwnerPolicy{})
	late.must("mint", secret.Reveal())
	set(latchkey.OwnerPolicy{Children: 3})
	require.ErrorIs(t, mint(), latchkey.ErrTooMany)
	set(latchkey.OwnerPolicy{Children: 4})
	require.NoError(t, mint())
	set(latchkey.OwnerPolicy{})
	old.must("verify", secret.Reveal())
}

// Both versions write at the same time. There is one order of changes: no number is skipped or given twice, and whoever
// follows the feed misses nothing.
func TestBothVersionsWriteAtOnce(t *testing.T) {
	const olds, news, rounds = 2, 6, 15
	ctx := t.Context()
	for _, e := range harness.NodeEngines {
		t.Run(e.Name, func(t *testing.T) {
			dsn := e.Empty(t)
			old := make([]*first, olds)
			ids := make([]string, olds+news)
			for i := range old {
				old[i] = startFirst(t, e.Driver, dsn)
				old[i].must("migrate")
				old[i].must("start")
				ids[i], _ = old[i].must("issue", "old")
			}
			db := e.Open(t, dsn)
			require.NoError(t, sqlstore.Migrate(ctx, db, e.Dialect))
			store, err := sqlstore.New(ctx, db, e.Dialect, nil)
			require.NoError(t, err)
			defer store.Close()
			keys := latchkey.New(store, nil)
			owner := func(i int) latchkey.Account {
				if i%2 == 0 {
					return keys.For("acme") // as the first version's
				}
				return keys.For(fmt.Sprint("owner", i))
			}
			for i := olds; i < len(ids); i++ {
				token, _, err := owner(i).Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(t, err)
				ids[i] = token.ID
			}
			start, err := store.Changes(ctx, 0, 0, 0)
			require.NoError(t, err)

			var writers, pollers sync.WaitGroup
			stop := make(chan struct{})
			for range 2 {
				pollers.Go(func() {
					last := start.Epoch
					for ended := false; ; {
						select {
						case <-stop:
							ended = true // what was committed by now is seen by the next reading
						default:
						}
						feed, err := store.Changes(ctx, 0, last, 100)
						require.NoError(t, err)
						require.False(t, feed.Truncated)
						for _, c := range feed.Changes {
							require.Equal(t, last+1, c.Epoch)
							last = c.Epoch
						}
						if ended && last == feed.Epoch {
							require.Equal(t, start.Epoch+(olds+news)*rounds, last)
							return
						}
					}
				})
			}
			for i := range ids {
				writers.Go(func() {
					for range rounds {
						if i < olds {
							require.Equal(t, "ok", old[i].do("rename", ids[i]))
							continue
						}
						_, err := owner(i).Update(ctx, ids[i], func(t *latchkey.Token) error { t.Name += "+"; return nil })
						require.NoError(t, err)
					}
				})
			}
			writers.Wait()
			close(stop)
			pollers.Wait()
			require.Empty(t, world.Walk(t, db))
			// The chain goes past what the first version wrote, and says so.
			audit, err := keys.For("acme").VerifyAudit(ctx, latchkey.AuditCheck{})
			require.NoError(t, err)
			require.Empty(t, audit.Faults)
			outside := 0
			for _, r := range audit.Unchained {
				outside += int(r.Last - r.First + 1)
			}
			require.Equal(t, olds*(1+rounds), outside)
			require.Equal(t, audit.Events, outside+audit.Chained)
			require.NotZero(t, audit.Between)
			require.False(t, audit.Proven())
			if e.Dialect == latchkey.Postgres {
				require.Equal(t, []string{"O", "O"}, world.Column(t, db, `SELECT CAST(tgenabled AS TEXT) FROM pg_trigger
					WHERE tgname = 'latchkey_raise_epoch' AND tgrelid = 'latchkey_pending'::regclass
					OR tgname = 'latchkey_number_changes' AND tgrelid = 'latchkey_commits'::regclass`))
			}
		})
	}
}

// newFieldsBesideTheFirst checks that the first version finds no secret of another system by its digest, and that it
// takes nothing away from the fields that it does not know.
func newFieldsBesideTheFirst(t *testing.T, e *harness.NodeEngine, db *sql.DB, dsn string, old *first,
	acme latchkey.Account) {
	t.Helper()
	ctx := t.Context()
	s, err := sqlstore.New(ctx, db, e.Dialect, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "imported"})
	require.NoError(t, err)
	digest := sha256.Sum256([]byte(secret.Reveal()))
	write := func(w latchkey.Write) {
		w.ID, w.Owner, w.At = world.WriteID(), "acme", time.Now()
		require.NoError(t, s.Write(ctx, w))
	}
	// It has seen the text as one of latchkey's own.
	old.must("verify", secret.Reveal())
	from, at := netip.MustParseAddr("2001:db8::7"), time.Now().UTC().Truncate(time.Microsecond)
	require.NoError(t, s.AddUsage(ctx, latchkey.UsageBatch{ID: world.WriteID(), At: at, Last: []latchkey.LastUsed{
		{Owner: "acme", TokenID: token.ID, At: at, Digest: digest, From: from}}}))
	foreign := latchkey.SecretRecord{Digest: digest, Algorithm: "bcrypt", Lookup: "drf:1", Hash: []byte("$2b$12$")}
	write(latchkey.Write{Secrets: []latchkey.SecretChange{{TokenID: token.ID, Add: &foreign, Retire: digest,
		Replace: true}}})
	late := startFirst(t, e.Driver, dsn)
	late.must("start")
	for _, program := range []*first{old, late} {
		program.refused("", "verify", secret.Reveal())
	}
	old.must("rename", token.ID)
	found, err := s.ByLookup(ctx, "drf:1")
	require.NoError(t, err)
	require.Equal(t, "imported'", found.Token.Name)
	require.Equal(t, foreign.Hash, found.Secret.Hash)
	_, own := old.must("rotate", token.ID)
	old.must("verify", own)
	found, err = s.ByLookup(ctx, "drf:1")
	require.NoError(t, err)
	require.False(t, found.Secret.NotAfter.IsZero(), "the first version retires it like any other")
	all, err := s.Secrets(ctx, "acme", token.ID)
	require.NoError(t, err)
	require.Equal(t, at, all[0].Used)
	require.Equal(t, from, all[0].UsedFrom)
	for _, program := range []*first{old, late} {
		program.refused("", "verify", secret.Reveal())
	}
	// A single quota of each meter for the calendar month is one that it knows. By any other it refuses the token, and all
	// tokens of an owner that has one.
	limited, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: latchkey.Limits{Quotas: world.Monthly(5)}})
	require.NoError(t, err)
	old.must("verify", secret.Reveal())
	change := func(quotas []latchkey.Quota) {
		_, err := acme.Update(ctx, limited.ID, func(t *latchkey.Token) error { t.Limits.Quotas = quotas; return nil })
		require.NoError(t, err)
	}
	for _, quotas := range [][]latchkey.Quota{{{Amount: 5, Per: latchkey.Day}},
		{{Amount: 5, Per: latchkey.Month, Carry: 1}},
		{{Meter: "reads", Amount: 5, Per: latchkey.Month}}, world.Monthly(0),
		append(world.Monthly(5), latchkey.Quota{Per: latchkey.Forever})} {
		change(quotas)
		for _, program := range []*first{old, late} {
			program.refused("unavailable", "verify", secret.Reveal())
		}
		change(world.Monthly(6))
		old.must("verify", secret.Reveal())
	}
	budget := func(quotas []latchkey.Quota) {
		require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error { o.Limits.Quotas = quotas; return nil }))
	}
	budget([]latchkey.Quota{{Amount: 5, Per: latchkey.Day}})
	old.refused("unavailable", "verify", secret.Reveal())
	budget(world.Monthly(7))
	old.must("verify", secret.Reveal())
	budget(nil)
	old.must("verify", secret.Reveal())
	// It reads past a revocation of a kind that it does not know.
	write(latchkey.Write{Revocations: []latchkey.Revocation{{Of: latchkey.RevokedClient, ID: "42",
		Until: at.Add(time.Hour)}}})
	old.must("verify", own)
	old.must("rename", token.ID)
	old.must("verify", own)
}

// writeFixture lets the first version make a database, and writes it down.
func writeFixture(t *testing.T, e *harness.NodeEngine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var dsn string
	var dump *exec.Cmd
	switch e.Dialect {
	case latchkey.SQLite:
		file := harness.NewFile(t)
		dsn = harness.WAL(file)
		dump = exec.CommandContext(ctx, "sqlite3", file, ".dump")
	case latchkey.Postgres:
		place := harness.Postgres.Place(t) // starts the server
		name := world.Column(t, harness.Postgres.Open(t, place), "SELECT current_schema()")[0]
		_, err := harness.Postgres.Admin.Exec("ALTER SCHEMA " + name + " RENAME TO " + firstPlace)
		require.NoError(t, err)
		dsn, err = harness.Postgres.In(harness.Postgres.DSN, firstPlace)
		require.NoError(t, err)
		program, err := harness.Program("pg_dump", harness.PostgresFolders()...)
		require.NoError(t, err)
		dump = exec.CommandContext(ctx, program, "-h", harness.Postgres.Folder, "-U", "postgres", "-n", firstPlace,
			"--inserts", "--no-owner", "postgres")
	default:
		harness.MariaDB.Place(t)
		_, err := harness.MariaDB.Admin.Exec("CREATE DATABASE " + firstPlace)
		require.NoError(t, err)
		dsn, err = harness.MariaDB.In(harness.MariaDB.DSN, firstPlace)
		require.NoError(t, err)
		dump = exec.CommandContext(ctx, "mariadb-dump", "--no-defaults", "-S",
			filepath.Join(harness.MariaDB.Folder, "s.sock"), "-u", "root",
			"--compact", "--hex-blob", "--skip-extended-insert", firstPlace)
	}
	f := startFirst(t, e.Driver, dsn)
	f.must("migrate")
	f.must("start")
	secrets := f.do("world")
	require.NotContains(t, secrets, "error:")
	text, err := dump.Output()
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool {
		return strings.TrimSpace(line) == "" || strings.HasPrefix(line, "\\") || strings.HasPrefix(line, "--") ||
			regexp.MustCompile(`^(SET|CREATE SCHEMA|PRAGMA|BEGIN|COMMIT|/\*M?!|SELECT pg_catalog.set_config)`).MatchString(line)
	})
	out := "-- " + secrets + "\n" + strings.Join(lines, "\n") + "\n"
	require.NoError(t, os.WriteFile(fixture(e), []byte(out), 0o644))
}
