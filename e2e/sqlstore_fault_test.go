package e2e

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// operation is one public call. It must be the same call each time, so that it can be repeated.
type operation struct {
	name string
	run  func(ctx context.Context, s *sqlstore.Store) (answer any, err error)
	// again is what a repeat may say besides nil when the first call was done.
	again error
}

// The world the operations act on: a role that inherits one, a parent with that role, and its child.
const (
	parentID, childID, roleID, baseID, spareID = "t1", "t2", "r1", "r2", "r3"
)

func buildWorld(t testing.TB, s *sqlstore.Store) {
	ctx := context.Background()
	parent, child := mint("acme", parentID, 1), mint("acme", childID, 2)
	parent.Tokens[0].Roles = []string{roleID}
	parent.Tokens[0].Validity.Idle = time.Hour
	child.Tokens[0].Kind, child.Tokens[0].Parent, child.Tokens[0].Depth = latchkey.KindAccess, parentID, 1
	child.Tokens[0].Validity.NotAfter = noon.Add(time.Hour)
	zero := uint64(0)
	writes := []latchkey.Write{
		{ID: [16]byte{1}, Owner: "acme", At: noon, Roles: []latchkey.Role{
			{ID: roleID, Owner: "acme", Name: "analyst", Inherits: []string{baseID}},
			{ID: baseID, Owner: "acme", Name: "base"}, {ID: spareID, Owner: "acme", Name: "spare"}}},
		parent, child,
		{ID: [16]byte{2}, Owner: "acme", At: noon, OwnerRecord: &latchkey.Owner{ID: "acme", Extra: []byte("x")},
			RequireOwner: &zero, Clients: []latchkey.Client{{ID: "42", Name: "Ada"}},
			Events:      []latchkey.Event{{At: noon, Action: "owner.configure"}},
			Revocations: []latchkey.Revocation{{ID: "sealed", Until: noon.Add(time.Hour)}}},
	}
	for i, w := range writes {
		w.ID = [16]byte{byte(i + 1)}
		_, err := s.Write(ctx, w)
		require.NoError(t, err)
	}
	require.NoError(t, s.AddUsage(ctx, latchkey.UsageBatch{ID: [16]byte{1}, At: noon, Rows: []latchkey.UsageRow{
		{Owner: "acme", TokenID: parentID, Meter: "calls", Day: "2026-11-22", Count: 3, Credits: 5}}}))
	_, err := s.Reserve(ctx, reservation(1))
	require.NoError(t, err)
}

func reservation(key byte) latchkey.Reservation {
	return latchkey.Reservation{Owner: "acme", Key: [16]byte{key}, Amount: 40, Until: noon.Add(time.Minute),
		Accounts: []latchkey.CreditAccount{{TokenID: parentID, Meter: "calls", Period: "2026-11", Limit: 100},
			{Meter: "calls", Period: "2026-11", Limit: 200}}}
}

func operations() []operation {
	write := func(edit func(*latchkey.Write)) func(context.Context, *sqlstore.Store) (any, error) {
		return func(ctx context.Context, s *sqlstore.Store) (any, error) {
			w := latchkey.Write{ID: [16]byte{99}, Owner: "acme", At: noon}
			edit(&w)
			return s.Write(ctx, w)
		}
	}
	type call = func(context.Context, *sqlstore.Store) (any, error)
	read := func(f call) call { return f }
	token := func(id string, version uint64) latchkey.Token {
		return latchkey.Token{ID: id, Owner: "acme", Version: version, Kind: latchkey.KindAPIKey, Created: noon}
	}
	return []operation{
		{name: "ByDigest", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.ByDigest(ctx, digest(2)) })},
		{name: "ByDigest of three", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.ByDigest(ctx, digest(7), digest(8), digest(1))
		})},
		{name: "Load", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.Load(ctx, "acme", childID) })},
		{name: "Tokens", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			origin := ""
			return s.Tokens(ctx, "acme", latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindAPIKey}, Origin: &origin,
				Role: roleID, Search: "rep", States: []latchkey.State{latchkey.Active}, Now: noon})
		})},
		{name: "Secrets", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.Secrets(ctx, "acme", parentID) })},
		{name: "Role", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.Role(ctx, "acme", roleID) })},
		{name: "Roles", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Roles(ctx, "acme", latchkey.RoleQuery{Inherits: baseID, Names: []string{"analyst", "x"}})
		})},
		{name: "Clients", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Clients(ctx, "acme", latchkey.Page{})
		})},
		{name: "Owner", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.Owner(ctx, "acme") })},
		{name: "Events", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.Events(ctx, "acme", 0, 10) })},
		{name: "Changes", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			f, err := s.Changes(ctx, 0, 10)
			f.Now = time.Time{}
			return f, err
		})},
		{name: "Usage", run: read(func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return s.Usage(ctx, "acme", latchkey.UsageQuery{By: []string{"token"}, TokenIDs: []string{parentID}})
		})},
		{name: "Write: mint", run: write(func(w *latchkey.Write) {
			m := mint("acme", "t9", 9)
			w.Tokens, w.Secrets, w.Silent = m.Tokens, m.Secrets, true
			w.Tokens[0].Roles = []string{roleID, baseID}
			w.RequireTokens, w.RequireRoles = []latchkey.Ref{{ID: parentID, Version: 1}}, []latchkey.Ref{{ID: roleID}}
			w.Events = []latchkey.Event{{At: noon, Action: "token.mint"}}
			w.Clients = []latchkey.Client{{ID: "42", Name: "Grace"}, {ID: "43"}}
		})},
		{name: "Write: revoke", run: write(func(w *latchkey.Write) {
			r := token(parentID, 1)
			r.Revoked = noon
			w.Tokens = []latchkey.Token{r}
			w.Events = []latchkey.Event{{At: noon, Action: "token.revoke"}}
		})},
		{name: "Write: rotate", run: write(func(w *latchkey.Write) {
			secret := latchkey.SecretRecord{Digest: digest(11), Created: noon}
			w.Secrets = []latchkey.SecretChange{{TokenID: parentID, Add: &secret, Retire: digest(1), At: noon.Add(time.Hour)}}
		})},
		{name: "Write: re-digest", run: write(func(w *latchkey.Write) {
			secret := latchkey.SecretRecord{Digest: digest(12), KeyID: 2}
			w.Silent = true
			w.Secrets = []latchkey.SecretChange{{TokenID: parentID, Add: &secret, Retire: digest(1), Replace: true}}
		})},
		{name: "Write: delete", run: write(func(w *latchkey.Write) {
			w.DeleteTokens = []latchkey.Ref{{ID: parentID}}
			w.DeleteRoles = []latchkey.Ref{{ID: roleID, Version: 1}, {ID: baseID}}
		})},
		{name: "Write: role and owner", run: write(func(w *latchkey.Write) {
			one := uint64(1)
			w.Roles = []latchkey.Role{{ID: roleID, Owner: "acme", Version: 1, Name: "writer", Inherits: []string{spareID}}}
			w.OwnerRecord = &latchkey.Owner{ID: "acme", Version: 1, Disabled: true, Boundary: latchkey.Permissions{}}
			w.RequireOwner = &one
			w.Revocations = []latchkey.Revocation{{ID: "sealed too", Until: noon.Add(time.Hour)}}
		})},
		{name: "Write: erase", run: write(func(w *latchkey.Write) {
			w.Erase = true
			w.Events = []latchkey.Event{{At: noon, Action: "owner.erase"}}
		})},
		{name: "Once", again: latchkey.ErrExists, run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.Once(ctx, "acme", digest(5), noon.Add(time.Minute))
		}},
		{name: "AddUsage", run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.AddUsage(ctx, latchkey.UsageBatch{ID: [16]byte{9}, At: noon,
				Rows: []latchkey.UsageRow{{Owner: "acme", TokenID: parentID, Meter: "calls", Day: "2026-11-22", Count: 1, Credits: 2}},
				Last: []latchkey.LastUsed{{Owner: "acme", TokenID: parentID, At: noon.Add(time.Second)}}})
		}},
		{name: "Reserve", run: func(ctx context.Context, s *sqlstore.Store) (any, error) { return s.Reserve(ctx, reservation(2)) }},
		{name: "Adjust", run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.Adjust(ctx, "acme", [16]byte{1}, latchkey.Adjustment{Amount: 30, Pledged: 10, Until: noon.Add(time.Hour)})
		}},
		{name: "Settle", run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			return nil, s.Settle(ctx, "acme", [16]byte{1}, 15)
		}},
		{name: "Purge", run: func(ctx context.Context, s *sqlstore.Store) (any, error) {
			_, err := s.Purge(ctx, latchkey.PurgePolicy{Now: noon.Add(1000 * time.Hour), Events: time.Hour}, 1000)
			return nil, err
		}},
	}
}

// dump is everything the database holds, as text.
func dump(t testing.TB, db *sql.DB) string {
	t.Helper()
	var out strings.Builder
	for _, table := range append(slices.Clone(tenantTables), "latchkey_epoch", "latchkey_changes", "latchkey_batches") {
		rows, err := db.Query("SELECT * FROM " + table + " ORDER BY 1, 2")
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, dest := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				dest[i] = &values[i]
			}
			require.NoError(t, rows.Scan(dest...))
			fmt.Fprintf(&out, "%s %v\n", table, values)
		}
		require.NoError(t, rows.Err())
		rows.Close()
	}
	return out.String()
}

// template is a database file with the world in it.
func template(t testing.TB) []byte {
	file := newFile(t)
	db := openDB(t, "file:"+file)
	buildWorld(t, openStore(t, db))
	require.NoError(t, db.Close())
	bytes, err := os.ReadFile(file)
	require.NoError(t, err)
	return bytes
}

// busy is what a driver says when another process holds the lock.
type busy struct{}

func (busy) Error() string { return "database is locked (5) (SQLITE_BUSY)" }
func (busy) Code() int     { return 5 }

// Every statement of every operation fails once, before and after its effect. Whatever the caller is told must be true,
// nothing may be half written, and the same call again must settle it.
func TestSQLiteEveryStatementFails(t *testing.T) {
	ctx := context.Background()
	start := template(t)
	injected := 0
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			open := func() (*sqlstore.Store, *sql.DB, *sql.DB, *faults) {
				file := newFile(t)
				require.NoError(t, os.WriteFile(file, start, 0o600))
				db, f := openFaulty(t, "file:"+file)
				db.SetMaxOpenConns(1)
				s, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
				require.NoError(t, err)
				return s, db, openDB(t, "file:"+file), f
			}
			s, db, plain, f := open()
			before := dump(t, plain)
			n := f.count()
			want, err := op.run(ctx, s)
			require.NoError(t, err)
			statements, finished := f.count()-n, dump(t, plain)
			require.Positive(t, statements)
			require.NoError(t, s.Close())
			db.Close()
			for i := range statements {
				for _, after := range []bool{false, true} {
					for _, fault := range []error{errors.New("disk I/O error (10)"), driver.ErrBadConn, busy{}} {
						s, db, plain, f := open()
						f.begin(op.name, i, after, fault)
						got, err := op.run(ctx, s)
						hit := f.disarm()
						require.NotEmpty(t, hit)
						injected++
						about := fmt.Sprintf("%q failed (%v, after its effect: %v): %v", hit, fault, after, err)
						done := err == nil
						unknown := errors.Is(err, latchkey.ErrUnknownOutcome)
						if fault == (busy{}) && !(hit == "COMMIT" && after) {
							require.NoError(t, err, "what is busy is tried again: "+about)
						}
						switch {
						case done: // a lost connection under a read is tried again too
							require.Equal(t, want, got, about)
							require.Equal(t, finished, dump(t, plain), about)
						case errors.Is(err, latchkey.ErrUnavailable):
							require.False(t, unknown, about)
							require.Equal(t, before, dump(t, plain), "unavailable means not done: "+about)
						default:
							require.True(t, unknown, about)
							require.Equal(t, "COMMIT", hit, about)
							require.Contains(t, []string{before, finished}, dump(t, plain), "half written: "+about)
						}
						got, err = op.run(ctx, s)
						if op.again != nil && (unknown || done) && errors.Is(err, op.again) {
							err = nil
						}
						require.NoError(t, err, "the repeat, after "+about)
						require.Equal(t, want, got, about)
						require.Equal(t, finished, dump(t, plain), "the repeat did not settle it: "+about)
						require.NoError(t, s.Close())
						db.Close()
						plain.Close()
					}
				}
			}
		})
	}
	t.Logf("%d faults", injected)
	require.Greater(t, injected, 1000)
}

func TestSQLiteStatementsCarryOwner(t *testing.T) {
	ctx := context.Background()
	start := template(t)
	free := []string{"ByDigest", "ByDigest of three", "Changes", "AddUsage", "Purge"}
	checked := 0
	for _, op := range operations() {
		file := newFile(t)
		require.NoError(t, os.WriteFile(file, start, 0o600))
		db, f := openFaulty(t, "file:"+file)
		s, err := sqlstore.New(ctx, db, latchkey.SQLite, nil)
		require.NoError(t, err)
		f.begin(op.name, -1, false, nil)
		_, err = op.run(ctx, s)
		require.NoError(t, err)
		for _, l := range f.statements(0) {
			if l.op != op.name || slices.Contains(free, op.name) {
				continue
			}
			checked++
			require.LessOrEqual(t, ownerless(l.text), 0, "%s: a statement on a tenant's table without its owner:\n%s", l.op, l.text)
		}
		require.NoError(t, s.Close())
	}
	require.Greater(t, checked, 100)
	// The check itself must be able to fail.
	require.Positive(t, ownerless("DELETE FROM latchkey_tokens WHERE id = ?"))
	require.Positive(t, ownerless("SELECT 1 FROM latchkey_tokens t JOIN latchkey_roles r ON r.id = t.id WHERE t.owner = ?"))
	require.Positive(t, ownerless("INSERT INTO latchkey_once (id) VALUES (?)"))
}
