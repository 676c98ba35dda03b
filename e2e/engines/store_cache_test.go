package engines

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/faulty"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// A Store remembers roles and owners' records. What follows shows that nobody can tell, but by the number of
// statements.

// onAllEngines runs a test on SQLite, PostgreSQL and MariaDB. Each call of open opens a store on a new pool of one
// database.
func onAllEngines(t *testing.T, test func(t *testing.T, open func() (*sqlstore.Store, *sql.DB))) {
	t.Run("SQLite", func(t *testing.T) {
		file := harness.NewFile(t)
		test(t, func() (*sqlstore.Store, *sql.DB) {
			db := harness.OpenSQLite(t, harness.WAL(file))
			return harness.OpenSQLiteStore(t, db), db
		})
	})
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		test(t, func() (*sqlstore.Store, *sql.DB) {
			db := e.Open(t, dsn)
			return harness.OpenStore(t, db, e.Dialect), db
		})
	})
}

func ordered(f latchkey.Found) latchkey.Found {
	slices.SortFunc(f.Roles, func(a, b latchkey.Role) int { return strings.Compare(a.ID, b.ID) })
	return f
}

// Whatever another process does, a store answers as one that was just opened.
func TestMemoryIsNeverStale(t *testing.T) {
	ctx := context.Background()
	onAllEngines(t, func(t *testing.T, open func() (*sqlstore.Store, *sql.DB)) {
		writer, db := open()
		reader, _ := open()
		world.Build(t, writer)
		write := func(edit func(w *latchkey.Write)) func(t *testing.T) {
			return func(t *testing.T) {
				w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon}
				edit(&w)
				err := writer.Write(ctx, w)
				require.NoError(t, err)
			}
		}
		// role puts the role there is, changed.
		role := func(id string, edit func(r *latchkey.Role)) func(t *testing.T) {
			return func(t *testing.T) {
				r, err := writer.Role(ctx, "acme", id)
				require.NoError(t, err)
				edit(&r)
				write(func(w *latchkey.Write) { w.Roles = []latchkey.Role{r} })(t)
			}
		}
		exec := func(t *testing.T, text string) {
			_, err := db.Exec(text)
			require.NoError(t, err)
		}
		named := func(name string) func(*latchkey.Role) { return func(r *latchkey.Role) { r.Name = name } }
		for _, step := range []struct {
			name  string
			do    func(t *testing.T)
			roles string // names of the roles that are then found
		}{
			{"as it was made", func(*testing.T) {}, "analyst base"},
			{"a role is renamed", role(world.RoleID, named("ANALYST")), "ANALYST base"},
			{"what a role allows changes", role(world.BaseID, func(r *latchkey.Role) {
				r.Permissions = latchkey.Permissions{latchkey.Deny(latchkey.Any).On("*")}
			}), "ANALYST base"},
			{"a role that nobody has changes", role(world.SpareID, named("unused")), "ANALYST base"},
			{"a role inherits another", role(world.RoleID, func(r *latchkey.Role) {
				r.Inherits = []string{world.SpareID, "r9"}
			}), "ANALYST unused"},
			{"a role that is inherited already is made", write(func(w *latchkey.Write) {
				w.Roles = []latchkey.Role{{ID: "r9", Owner: "acme", Name: "late", Inherits: []string{world.BaseID}}}
			}), "ANALYST base late unused"},
			{"a token names another role", func(t *testing.T) {
				f, err := writer.Load(ctx, "acme", world.ParentID)
				require.NoError(t, err)
				f.Token.Roles = []string{"r9"}
				write(func(w *latchkey.Write) { w.Tokens = []latchkey.Token{f.Token} })(t)
			}, "base late"},
			{"a role of the same id belongs to another owner", func(t *testing.T) {
				err := writer.Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "globex",
					Roles: []latchkey.Role{{ID: "r9", Owner: "globex", Name: "theirs"}}})
				require.NoError(t, err)
			}, "base late"},
			{"the owner is bounded and switched off", write(func(w *latchkey.Write) {
				w.OwnerRecord = &latchkey.Owner{ID: "acme", Version: 1, Disabled: true, Boundary: latchkey.Permissions{}}
			}), "base late"},
			{"more changed than is read at once", write(func(w *latchkey.Write) {
				for i := range 1200 {
					w.Revocations = append(w.Revocations, latchkey.Revocation{ID: strconv.Itoa(i), Until: world.Noon})
				}
				w.Roles = []latchkey.Role{{ID: "r9", Owner: "acme", Version: 1, Name: "among many"}}
			}), "among many"},
			{"the history of a change is gone", func(t *testing.T) {
				role("r9", named("unheard"))(t)
				_, err := writer.Purge(ctx, latchkey.PurgePolicy{Now: world.Noon.Add(1000 * time.Hour), Expired: -1, Revoked: -1},
					10_000)
				require.NoError(t, err)
				var left int
				require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM latchkey_changes WHERE kind <> 4").Scan(&left))
				require.Zero(t, left)
			}, "unheard"},
			{"an older copy is restored", func(t *testing.T) {
				exec(t, "UPDATE latchkey_epoch SET epoch = epoch - 3, floor = 0")
				exec(t, "UPDATE latchkey_roles SET name = 'restored' WHERE id = 'r9' AND owner = 'acme'")
				exec(t, "UPDATE latchkey_owners SET version = 1, disabled = 0")
			}, "restored"},
			{"and the role changes there", role("r9", named("anew")), "anew"},
			{"the owner is erased and begins again", func(t *testing.T) {
				write(func(w *latchkey.Write) { w.Erase = true })(t)
				_, err := reader.ByDigest(ctx, 0, world.Digest(1))
				require.ErrorIs(t, err, latchkey.ErrNotFound)
				m := world.Mint("acme", world.ParentID, 1)
				m.Tokens[0].Roles = []string{"r9"}
				err = writer.Write(ctx, m)
				require.NoError(t, err)
				child := world.Mint("acme", world.ChildID, 2)
				child.Tokens[0].Parent, child.Tokens[0].Depth = world.ParentID, 1
				err = writer.Write(ctx, child)
				require.NoError(t, err)
			}, ""},
			{"with a role of the old id", write(func(w *latchkey.Write) {
				w.Roles = []latchkey.Role{{ID: "r9", Owner: "acme", Name: "second life"}}
			}), "second life"},
			{"a role is deleted", func(t *testing.T) {
				f, err := writer.Load(ctx, "acme", world.ParentID)
				require.NoError(t, err)
				f.Token.Revoked = world.Noon // then nothing keeps the role
				write(func(w *latchkey.Write) {
					w.Tokens, w.DeleteRoles = []latchkey.Token{f.Token}, []latchkey.Ref{{ID: "r9"}}
				})(t)
			}, ""},
		} {
			t.Run(step.name, func(t *testing.T) {
				step.do(t)
				fresh, _ := open()
				for n, id := range map[int]string{1: world.ParentID, 2: world.ChildID} {
					want, err := fresh.Load(ctx, "acme", id)
					require.NoError(t, err)
					var names []string
					for _, r := range ordered(want).Roles {
						names = append(names, r.Name)
					}
					slices.Sort(names)
					require.Equal(t, step.roles, strings.Join(names, " "))
					for range 2 { // the second time from memory
						got, err := reader.Load(ctx, "acme", id)
						require.NoError(t, err)
						require.Equal(t, want, ordered(got))
						got, err = reader.ByDigest(ctx, 0, world.Digest(n))
						require.NoError(t, err)
						got.Secret = latchkey.SecretRecord{}
						require.Equal(t, want, ordered(got))
						// What was answered is the caller's own.
						for _, r := range got.Roles {
							clear(r.Inherits)
							clear(r.Permissions)
						}
						clear(got.Owner.Boundary)
						clear(got.Owner.Extra)
						clear(got.Token.Roles)
					}
				}
			})
		}
	})
}

// Each epoch changes one record, so what a consistent snapshot must hold follows from its epoch.
func TestMemoryIsOneCut(t *testing.T) {
	onAllEngines(t, func(t *testing.T, open func() (*sqlstore.Store, *sql.DB)) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		writer, _ := open()
		m := world.Mint("acme", world.ParentID, 1)
		m.Silent, m.Tokens[0].Roles = false, []string{world.RoleID}
		m.Roles = []latchkey.Role{{ID: world.RoleID, Owner: "acme", Name: "0", Inherits: []string{world.BaseID}},
			{ID: world.BaseID, Owner: "acme", Name: "x0"}}
		m.OwnerRecord = &latchkey.Owner{ID: "acme", Extra: []byte("0")}
		start, err := world.WriteEpoch(ctx, writer, m)
		require.NoError(t, err)

		// change makes epoch start+n: it says n in one of the three.
		change := func(n uint64) error {
			w := latchkey.Write{ID: world.WriteID(), Owner: "acme", At: world.Noon}
			switch version := (n-1)/3 + 1; n % 3 {
			case 1:
				w.Roles = []latchkey.Role{{ID: world.RoleID, Owner: "acme", Version: version, Name: fmt.Sprint(n),
					Inherits: []string{world.BaseID}}}
			case 2:
				w.Roles = []latchkey.Role{{ID: world.BaseID, Owner: "acme", Version: version, Name: fmt.Sprint("x", n)}}
			default:
				w.OwnerRecord = &latchkey.Owner{ID: "acme", Version: version, Extra: fmt.Append(nil, n)}
			}
			err := writer.Write(ctx, w)
			return err
		}
		last := func(n, of uint64) uint64 { // the newest change of its sort as of n
			for n > 0 && n%3 != of%3 {
				n--
			}
			return n
		}
		var committed atomic.Uint64
		var done atomic.Bool
		var all sync.WaitGroup
		const rounds = 120
		for range 2 {
			reader, _ := open()
			for range 3 {
				all.Go(func() {
					for final := false; !final; {
						final = done.Load()
						before := committed.Load()
						f, err := reader.ByDigest(ctx, 0, world.Digest(1))
						if err != nil {
							t.Error(err)
							return
						}
						n := f.Epoch - start
						if n < before {
							t.Errorf("as of change %d, asked for after change %d was committed", n, before)
						}
						want := []string{fmt.Sprint(last(n, 1)), fmt.Sprint("x", last(n, 2)), fmt.Sprint(last(n, 3))}
						got := []string{"", "", string(f.Owner.Extra)}
						for _, r := range f.Roles {
							got[map[string]int{world.RoleID: 0, world.BaseID: 1}[r.ID]] = r.Name
						}
						if !slices.Equal(want, got) {
							t.Errorf("as of change %d: %v, want %v", n, got, want)
						}
					}
				})
			}
		}
		for n := uint64(1); n <= rounds; n++ {
			require.NoError(t, change(n))
			committed.Store(n)
		}
		done.Store(true)
		all.Wait()
	})
}

// Purge removes tokens and leaves the epoch alone. What a reader then misses of one says nothing about its roles.
func TestMemoryLearnsNothingFromAPurgedToken(t *testing.T) {
	ctx := context.Background()
	db, f := faulty.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	s := harness.OpenSQLiteStore(t, db)
	world.Build(t, s)
	dead := world.Mint("acme", "dead", 50)
	dead.Tokens[0].Revoked, dead.Tokens[0].Roles = world.Noon, []string{world.RoleID}
	err := s.Write(ctx, dead)
	require.NoError(t, err)
	var purge sync.Once
	f.Before = func(text string) {
		if strings.Contains(text, "WITH RECURSIVE chain") { // the token has been read, its roles have not
			purge.Do(func() {
				removed, err := s.Purge(ctx, latchkey.PurgePolicy{Now: world.Noon, Expired: -1, Changes: -1}, 0)
				require.NoError(t, err)
				require.Equal(t, 1, removed)
			})
		}
	}
	_, err = s.ByDigest(ctx, 0, world.Digest(50))
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	found, err := s.ByDigest(ctx, 0, world.Digest(1))
	require.NoError(t, err)
	require.Len(t, found.Roles, 2, "the roles of a token that lives")
}

// Roles and owners that are known cost no statement, and what changed elsewhere costs one read of the feed.
func TestMemorySavesStatements(t *testing.T) {
	ctx := context.Background()
	db, f := faulty.OpenSQLite(t, harness.WAL(harness.NewFile(t)))
	s := harness.OpenSQLiteStore(t, db)
	world.Build(t, s)
	count := func(digestOf int) (n int) {
		f.Begin("count", -1, false, nil)
		before := f.Count()
		_, err := s.ByDigest(ctx, 0, world.Digest(digestOf))
		require.NoError(t, err)
		return f.Count() - before
	}
	require.Equal(t, 3, count(1), "token, owner, roles")
	require.Equal(t, 1, count(1), "all is known")
	require.Equal(t, 2, count(2), "a child: and its parent")
	other := func(w latchkey.Write) {
		w.ID, w.Owner = world.WriteID(), "globex"
		err := s.Write(ctx, w)
		require.NoError(t, err)
	}
	other(latchkey.Write{Roles: []latchkey.Role{{ID: world.RoleID, Owner: "globex", Name: "theirs"}}})
	require.Equal(t, 2, count(1), "the feed")
	require.Equal(t, 1, count(1))
	other(latchkey.Write{OwnerRecord: &latchkey.Owner{ID: "globex"}})
	other(latchkey.Write{Erase: true})
	require.Equal(t, 2, count(1), "the feed, of all that changed")
	require.Equal(t, 1, count(1))
}
