package engines

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// Several mints share a transaction. Whatever is wrong with one of them, the others are done, each once, and each
// caller gets its own answer.
func TestEnginesMintsTogether(t *testing.T) {
	one, two := uint64(1), uint64(2)
	cases := []mintCase{
		{"plain", func(w *latchkey.Write) {}, nil},
		{"of a parent", func(w *latchkey.Write) { w.RequireTokens = []latchkey.Ref{{ID: world.ParentID, Version: 1}} }, nil},
		{"of a parent that changed",
			func(w *latchkey.Write) {
				w.RequireTokens = []latchkey.Ref{{ID: world.ParentID, Version: 2}}
			}, latchkey.ErrConflict},
		{"of a parent that is gone", func(w *latchkey.Write) { w.RequireTokens = []latchkey.Ref{{ID: "nobody"}} },
			latchkey.ErrConflict},
		{"of a parent that cannot be named", func(w *latchkey.Write) { w.RequireTokens = []latchkey.Ref{{ID: "\x00"}} },
			latchkey.ErrConflict},
		{"of a parent that is revoked", func(w *latchkey.Write) { w.RequireTokens = []latchkey.Ref{{ID: "revoked"}} },
			latchkey.ErrConflict},
		{"with a role", func(w *latchkey.Write) {
			w.RequireRoles = []latchkey.Ref{{ID: world.RoleID, Version: 1}}
			w.Tokens[0].Roles = []string{world.RoleID, world.BaseID, world.RoleID}
		}, nil},
		{"with a role that changed",
			func(w *latchkey.Write) { w.RequireRoles = []latchkey.Ref{{ID: world.RoleID, Version: 7}} }, latchkey.ErrConflict},
		{"with a role that is gone", func(w *latchkey.Write) { w.RequireRoles = []latchkey.Ref{{ID: "norole"}} },
			latchkey.ErrConflict},
		{"of an owner", func(w *latchkey.Write) { w.RequireOwner = &one }, nil},
		{"of an owner that changed", func(w *latchkey.Write) { w.RequireOwner = &two }, latchkey.ErrConflict},
		{"with an event", func(w *latchkey.Write) {
			w.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue", Reason: `"q" \ {NULL,}`,
				Before: []byte{0, 255, '\\'}},
				{At: world.Noon, Action: "twice"}}
		}, nil},
		{"for a client", func(w *latchkey.Write) { w.Clients = []latchkey.Client{{ID: "42", Name: "Grace"}} }, nil},
		{"for a client without a name", func(w *latchkey.Write) { w.Clients = []latchkey.Client{{ID: "42"}, {ID: "43"}} },
			nil},
		{"with a taken id", func(w *latchkey.Write) { w.Tokens[0].ID, w.Secrets[0].TokenID = world.ParentID, world.ParentID },
			latchkey.ErrExists},
		{"with a taken digest", func(w *latchkey.Write) {
			add := *w.Secrets[0].Add
			add.Digest = world.Digest(1)
			w.Secrets[0].Add = &add
		}, latchkey.ErrExists},
		{"with a name too long", func(w *latchkey.Write) { w.Tokens[0].Name = strings.Repeat("x", 2000) }, nil},
		{"of an owner nobody knows", func(w *latchkey.Write) { w.Owner, w.Tokens[0].Owner = "new", "new" }, nil},
		{"of two tokens", func(w *latchkey.Write) {
			m := world.Mint("acme", w.Tokens[0].ID+"b", int(faulty.Blocked.Add(1)))
			w.Tokens, w.Secrets = append(w.Tokens, m.Tokens...), append(w.Secrets, m.Secrets...)
		}, nil},
	}
	harness.OnSubjectsAndTiDB(t, func(t *testing.T, e harness.Subject) {
		mintsTogether(t, e, cases)
		// One insert that fails undoes all that share it, and they are done alone: once more without those.
		mintsTogether(t, e, slices.DeleteFunc(slices.Clone(cases), func(c mintCase) bool {
			return c.want == latchkey.ErrExists || c.name == "with a name too long" ||
				c.name == "of a parent that cannot be named"
		}))
	})
}

type mintCase struct {
	name string
	edit func(*latchkey.Write)
	want error
}

func mintsTogether(t *testing.T, e harness.Subject, cases []mintCase) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	dsn := e.Fresh(t)
	g := faulty.OpenGate(t, e.Engine, dsn)
	world.Build(t, g.Store)
	dead := world.Mint("acme", "revoked", 77)
	dead.Tokens[0].Revoked = world.Noon
	err := g.Write(ctx, dead)
	require.NoError(t, err)
	before, err := g.Changes(ctx, 0, 0, 0)
	require.NoError(t, err)

	const rounds = 3
	var all sync.WaitGroup
	open := g.Block(t, &all)
	commits := g.Commits()
	writes := make([]latchkey.Write, rounds*len(cases))
	errs := make([]error, len(writes))
	for i := range writes {
		c := cases[i%len(cases)]
		w := world.Mint("acme", fmt.Sprintf("m%03d", i), 1000+i)
		w.Tokens[0].Name = `a "b" \ {c,NULL} 'é'`
		c.edit(&w)
		writes[i] = w
		all.Go(func() { errs[i] = g.Write(ctx, w) })
	}
	time.Sleep(50 * time.Millisecond) // they queue; if some do not, there is less to see
	open()
	all.Wait()
	t.Logf("%d writes, %d commits", len(writes), g.Commits()-commits)

	events := 0
	for i, w := range writes {
		c := cases[i%len(cases)]
		if c.name == "with a name too long" && e.Dialect == latchkey.MySQL {
			c.want = latchkey.ErrInvalid
		}
		if c.name == "of a parent that cannot be named" && e.Engine == harness.Postgres {
			c.want = latchkey.ErrInvalid
		}
		name := fmt.Sprintf("%s (%d)", c.name, i)
		if c.want != nil {
			require.ErrorIs(t, errs[i], c.want, name)
			if w.Tokens[0].ID != world.ParentID {
				_, err := g.Load(ctx, w.Owner, w.Tokens[0].ID)
				require.ErrorIs(t, err, latchkey.ErrNotFound, name)
			}
			continue
		}
		require.NoError(t, errs[i], name)
		events += len(w.Events)
		for j, token := range w.Tokens {
			f, err := g.ByDigest(ctx, 0, w.Secrets[j].Add.Digest)
			require.NoError(t, err, name)
			require.Equal(t, token.ID, f.Token.ID, name)
			require.Equal(t, token.Name, f.Token.Name, name)
			require.Equal(t, uint64(1), f.Token.Version, name)
			require.Equal(t, before.Epoch, f.Epoch, "a mint alters no answer: "+name)
			require.Equal(t, token.Roles, f.Token.Roles, name)
		}
		epoch, err := world.WriteEpoch(ctx, g, w)
		require.NoError(t, err, "again: "+name)
		require.Equal(t, before.Epoch, epoch, name)
	}
	list, err := world.Events(ctx, g, "acme")
	require.NoError(t, err)
	require.Len(t, list, 1+events)
	for i, event := range list {
		require.Equal(t, uint64(i+1), event.Seq, "numbers without a gap")
		if event.Reason != "" {
			require.Equal(t, `"q" \ {NULL,}`, event.Reason)
			require.Equal(t, []byte{0, 255, '\\'}, []byte(event.Before))
		}
	}
	clients, err := g.Clients(ctx, "acme", latchkey.Page{})
	require.NoError(t, err)
	require.Equal(t, []latchkey.Client{{ID: "42", Name: "Grace"}, {ID: "43"}}, clients)
}

// An owner's record that others hold is there all the same.
func TestEnginesMintsOfAnOwnerThatOthersRead(t *testing.T) {
	ctx := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		g := faulty.OpenGate(t, e, dsn)
		world.Build(t, g.Store)
		holder, err := e.Open(t, dsn).Begin() // as a mint of another process does
		require.NoError(t, err)
		share := map[bool]string{true: " LOCK IN SHARE MODE", false: " FOR SHARE"}[e == harness.MariaDB]
		for _, table := range []string{"latchkey_event_seqs", "latchkey_owners"} {
			_, err := holder.Exec("SELECT owner FROM " + table + " WHERE owner = 'acme'" + share)
			require.NoError(t, err)
		}
		var all sync.WaitGroup
		open := g.Block(t, &all)
		zero := uint64(0)
		for i := range 16 {
			w := world.Mint("acme", fmt.Sprintf("m%02d", i), 1000+i)
			if i >= 4 {
				w.RequireOwner = &zero
			}
			all.Go(func() {
				err := g.Write(ctx, w)
				if w.RequireOwner == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, latchkey.ErrConflict, "there is a record")
				}
			})
			if i == 3 {
				time.Sleep(20 * time.Millisecond) // those who want no record lead
			}
		}
		time.Sleep(50 * time.Millisecond)
		open()
		all.Wait()
		require.NoError(t, holder.Rollback())
	})
}

// What queued while commits were under way shares the next ones.
func TestEnginesMintsShareCommits(t *testing.T) {
	ctx := context.Background()
	harness.OnSubjects(t, func(t *testing.T, e harness.Subject) {
		g := faulty.OpenGate(t, e.Engine, e.Fresh(t))
		world.Build(t, g.Store)
		alone := 0
		for try := range 6 { // a slow machine may need longer until they queue
			var all sync.WaitGroup
			open := g.Block(t, &all)
			commits := g.Commits()
			for i := range 60 {
				all.Go(func() {
					err := g.Write(ctx, world.Mint("acme", world.NewID(), 1000+100*try+i))
					require.NoError(t, err)
				})
			}
			time.Sleep(100 * time.Millisecond << try)
			open()
			all.Wait()
			if alone = g.Commits() - commits; alone < 20 {
				return
			}
		}
		t.Errorf("60 mints had %d commits", alone)
	})
}

// A caller's deadline passes while others share its transaction. It is told that nothing was done, and nothing is done
// later; once the commit is under way it is told that the outcome is unknown. The others get their answers.
func TestEnginesMintDeadlines(t *testing.T) {
	background := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		g := faulty.OpenGate(t, e, dsn)
		world.Build(t, g.Store)

		// The owner's row is locked: a call that needs it waits to its own deadline, and no other call waits for that one.
		holder, err := e.Open(t, dsn).Begin()
		require.NoError(t, err)
		_, err = holder.Exec("UPDATE latchkey_event_seqs SET seq = seq + 1 WHERE owner = 'acme'")
		require.NoError(t, err)
		var all sync.WaitGroup
		open := g.Block(t, &all)
		for i := range 6 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(background, time.Duration(100+50*i)*time.Millisecond)
				defer cancel()
				err := g.Write(ctx, world.Mint("acme", fmt.Sprintf("late%d", i), 200+i))
				require.ErrorIs(t, err, latchkey.ErrUnavailable)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NotErrorIs(t, err, latchkey.ErrUnknownOutcome)
			})
			all.Go(func() {
				ctx, cancel := context.WithTimeout(background, 5*time.Minute)
				defer cancel()
				err := g.Write(ctx, world.Mint("globex", fmt.Sprintf("soon%d", i), 300+i))
				require.NoError(t, err)
			})
		}
		open()
		all.Wait()
		require.NoError(t, holder.Rollback())

		// The statements of a shared transaction are under way: who leaves was not done.
		var first sync.WaitGroup
		open = g.Block(t, &first)
		leaving, leave := context.WithCancel(background)
		defer leave()
		var left atomic.Int64
		for i := range 16 {
			all.Go(func() {
				patience := leaving
				if i%4 != 0 {
					patience = background
				}
				err := g.Write(patience, world.Mint("acme", fmt.Sprintf("leaves%02d", i), 600+i))
				if i%4 != 0 {
					require.NoError(t, err)
					return
				}
				if err != nil {
					require.NotErrorIs(t, err, latchkey.ErrUnknownOutcome)
					require.ErrorIs(t, err, context.Canceled)
					left.Add(1)
					return
				}
				t.Error("nobody could know yet that it was done")
			})
		}
		time.Sleep(50 * time.Millisecond)
		inserting := g.HoldAt("latchkey_secrets")
		open()
		first.Wait()
		harness.Eventually(t, "a shared transaction", func() bool { return g.Waiting.Load() > 0 })
		leave()
		harness.Eventually(t, "those who leave to be told", func() bool { return left.Load() == 4 })
		inserting()
		all.Wait()
		for i := range 16 {
			_, err := g.Load(background, "acme", fmt.Sprintf("leaves%02d", i))
			if i%4 != 0 {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, latchkey.ErrNotFound, "what was given up was done")
			}
		}

		// The commit of a shared transaction is under way.
		open = g.Block(t, &first)
		ctx, cancel := context.WithCancel(background)
		doubtful := make([]latchkey.Write, 8)
		for i := range doubtful {
			doubtful[i] = world.Mint("acme", fmt.Sprintf("doubt%d", i), 400+i)
			all.Go(func() {
				patience := ctx
				if i%2 == 1 {
					patience = background
				}
				err := g.Write(patience, doubtful[i])
				if i%2 == 1 {
					require.NoError(t, err)
					return
				}
				require.True(t, errors.Is(err, latchkey.ErrUnknownOutcome) || errors.Is(err, latchkey.ErrUnavailable), err)
				_, err = g.Load(background, "acme", doubtful[i].Tokens[0].ID)
				if err != nil {
					require.ErrorIs(t, err, latchkey.ErrNotFound)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		second := g.Hold() // the next commits wait, too
		open()
		first.Wait()
		harness.Eventually(t, "the shared commit", func() bool { return g.Waiting.Load() > 0 })
		cancel()
		time.Sleep(20 * time.Millisecond)
		second()
		all.Wait()
		for _, w := range doubtful {
			err := g.Write(background, w)
			require.NoError(t, err, "the same write settles it")
		}
		for i := range 6 {
			_, err := g.Load(background, "acme", fmt.Sprintf("late%d", i))
			require.ErrorIs(t, err, latchkey.ErrNotFound, "what was given up was done later")
		}
	})
}

// Owners whose rows are locked delay only their own mints, however many wait for them and however long.
func TestEnginesMintsOfStuckOwners(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		s := e.Store(t, dsn)
		world.Build(t, s)
		holder, err := e.Open(t, dsn).Begin()
		require.NoError(t, err)
		stuck := []string{"stuck1", "stuck2", "stuck3"}
		for i, owner := range stuck {
			err := s.Write(ctx, world.Mint(owner, world.NewID(), 100+i))
			require.NoError(t, err)
			_, err = holder.Exec("UPDATE latchkey_event_seqs SET seq = seq + 1 WHERE owner = '" + owner + "'")
			require.NoError(t, err)
		}
		var all sync.WaitGroup
		var done atomic.Int64
		for i := range 30 {
			all.Go(func() {
				w := world.Mint(stuck[i%len(stuck)], world.NewID(), 200+i)
				w.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue"}}
				err := s.Write(ctx, w)
				require.NoError(t, err)
				done.Add(1)
			})
		}
		time.Sleep(50 * time.Millisecond) // they queue
		for i := range 5 {
			err := s.Write(ctx, world.Mint("acme", world.NewID(), 300+i))
			require.NoError(t, err, "held up by other owners")
		}
		require.Zero(t, done.Load())
		require.NoError(t, holder.Rollback())
		all.Wait()
	})
}

type undone struct{}

func (undone) Error() string { return "Error 1213 (40001): undone" }

func (undone) SQLState() string { return "40001" }

// A caller gives up while a commit is under way that is then undone. The next try leaves its write out.
func TestEnginesMintsUndoneAtCommit(t *testing.T) {
	background := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		g := faulty.OpenGate(t, e, e.Place(t))
		world.Build(t, g.Store)
		var all, first sync.WaitGroup
		open := g.Block(t, &first)
		leaving, leave := context.WithCancel(background)
		defer leave()
		var left, doubted atomic.Int64
		for i := range 16 {
			all.Go(func() {
				patience := background
				if i%4 == 0 {
					patience = leaving
				}
				err := g.Write(patience, world.Mint("acme", fmt.Sprintf("undone%02d", i), 700+i))
				if i%4 != 0 {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, context.Canceled)
				if errors.Is(err, latchkey.ErrUnknownOutcome) {
					doubted.Add(1)
				}
				left.Add(1)
			})
		}
		time.Sleep(50 * time.Millisecond)
		second := g.Hold()
		open()
		first.Wait()
		harness.Eventually(t, "the shared commit", func() bool { return g.Waiting.Load() > 0 })
		time.Sleep(50 * time.Millisecond)
		together := g.Waiting.Load() == 1 // otherwise some were in a commit that is not undone
		leave()
		harness.Eventually(t, "those who leave to be told", func() bool { return left.Load() == 4 })
		together = together && doubted.Load() == 4 && g.Waiting.Load() == 1
		g.F.Begin("", 0, false, undone{}) // the commit that waits comes next
		second()
		all.Wait()
		t.Logf("%d left in doubt, of one commit: %v", doubted.Load(), together)
		for i := 0; i < 16; i += 4 {
			_, err := g.Load(background, "acme", fmt.Sprintf("undone%02d", i))
			if together {
				require.ErrorIs(t, err, latchkey.ErrNotFound)
			}
		}
	})
}

// A commit whose answer is lost has an unknown outcome for each caller that shared it. The same write again settles
// it for each.
func TestEnginesMintOutcomes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnSubjectsAndTiDB(t, func(t *testing.T, e harness.Subject) {
		for _, after := range []bool{false, true} {
			dsn := e.Fresh(t)
			g := faulty.OpenGate(t, e.Engine, dsn)
			world.Build(t, g.Store)
			var all, first sync.WaitGroup
			open := g.Block(t, &first)
			writes := make([]latchkey.Write, 30)
			unknown := atomic.Int64{}
			for i := range writes {
				writes[i] = world.Mint("acme", fmt.Sprintf("u%02d", i), 500+i)
				writes[i].Events = []latchkey.Event{{At: world.Noon, Action: "token.issue"}}
				all.Go(func() {
					err := g.Write(ctx, writes[i])
					if err != nil {
						require.ErrorIs(t, err, latchkey.ErrUnknownOutcome)
						unknown.Add(1)
					}
				})
			}
			time.Sleep(50 * time.Millisecond)
			second := g.Hold()
			open()
			first.Wait()
			harness.Eventually(t, "a shared commit", func() bool { return g.Waiting.Load() > 0 })
			g.F.Begin("", 0, after, errors.New("the line is cut")) // the commit that waits comes next
			second()
			all.Wait()
			require.Positive(t, unknown.Load())
			for _, w := range writes {
				err := g.Write(ctx, w)
				require.NoError(t, err)
				_, err = g.Load(ctx, "acme", w.Tokens[0].ID)
				require.NoError(t, err)
			}
			list, err := world.Events(ctx, g, "acme")
			require.NoError(t, err)
			require.Len(t, list, 1+len(writes), "done once each")
			t.Logf("after the effect: %v; %d of %d in doubt", after, unknown.Load(), len(writes))
		}
	})
}

// A mint waits for a change of its parent that is not committed, and then sees it. It does not read around the lock, be
// it alone or in a batch of mints of other owners.
func TestEnginesMintsWaitForTheirParent(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnTiDBToo(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		s := e.Store(t, dsn)
		err := s.Write(ctx, world.Mint("acme", world.ParentID, 1))
		require.NoError(t, err)
		revoking, err := e.Open(t, dsn).Begin()
		require.NoError(t, err)
		defer func() { _ = revoking.Rollback() }()
		_, err = revoking.Exec("UPDATE latchkey_tokens SET version = version + 1, revoked = 1 " +
			"WHERE owner = 'acme' AND id = '" + world.ParentID + "'")
		require.NoError(t, err)
		// All workers wait for owners, so the mints from the parent queue. Then they follow in the batches of those.
		holder, err := e.Open(t, dsn).Begin()
		require.NoError(t, err)
		var others sync.WaitGroup
		const held = 8
		for i := range held {
			_, err := holder.Exec(fmt.Sprintf("INSERT INTO latchkey_event_seqs (owner, seq) VALUES ('held%d', 0)", i))
			require.NoError(t, err)
			others.Go(func() {
				err := s.Write(ctx, world.Mint(fmt.Sprint("held", i), "t", 100+i))
				require.NoError(t, err)
			})
		}
		time.Sleep(100 * time.Millisecond) // they are under way
		outcomes := make(chan error, 8)
		for i := range cap(outcomes) {
			go func() {
				w := world.Mint("acme", fmt.Sprint("child ", i), 10+i)
				w.RequireTokens = []latchkey.Ref{{ID: world.ParentID, Version: 1}}
				err := s.Write(ctx, w)
				outcomes <- err
			}()
		}
		time.Sleep(100 * time.Millisecond) // and these queue
		require.NoError(t, holder.Commit())
		others.Wait()
		select {
		case err := <-outcomes:
			require.Fail(t, "a mint did not wait", "%v", err)
		case <-time.After(300 * time.Millisecond):
		}
		require.NoError(t, revoking.Commit())
		for range cap(outcomes) {
			require.ErrorIs(t, <-outcomes, latchkey.ErrConflict)
		}
	})
}

// Two nodes mint from one parent, with events and without, while it is revoked: nothing is minted past the
// revocation, and the trail has no gap.
func TestEnginesMintsAndRevocation(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnSubjectsAndTiDB(t, func(t *testing.T, e harness.Subject) {
		dsn := e.Fresh(t)
		stores := []*sqlstore.Store{e.Store(t, dsn), e.Store(t, dsn)}
		parent := world.Mint("acme", world.ParentID, 1)
		err := stores[0].Write(ctx, parent)
		require.NoError(t, err)
		var revoked atomic.Bool
		var minted, refused, events atomic.Int64
		var all sync.WaitGroup
		for g := range 16 {
			all.Go(func() {
				for i := 0; ; i++ {
					over := revoked.Load()
					w := world.Mint("acme", fmt.Sprintf("c%02d-%04d", g, i), 10_000+g*1000+i)
					w.RequireTokens = []latchkey.Ref{{ID: world.ParentID, Version: 1}}
					if g%2 == 0 {
						w.Events = []latchkey.Event{{At: world.Noon, Action: "token.issue"}}
					}
					err := stores[g%3%2].Write(ctx, w)
					if errors.Is(err, latchkey.ErrConflict) {
						refused.Add(1)
						return
					}
					require.NoError(t, err)
					require.False(t, over, "minted past a revocation that had returned")
					minted.Add(1)
					events.Add(int64(len(w.Events)))
				}
			})
		}
		harness.Eventually(t, "mints", func() bool { return minted.Load() > 200 })
		dead := parent.Tokens[0]
		dead.Version, dead.Revoked = 1, world.Noon
		err = stores[1].Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "acme", Tokens: []latchkey.Token{dead},
			Events: []latchkey.Event{{At: world.Noon, Action: "token.revoke"}}})
		require.NoError(t, err)
		revoked.Store(true)
		all.Wait()
		require.EqualValues(t, 16, refused.Load())
		var after uint64
		list, err := world.Events(ctx, stores[0], "acme")
		require.NoError(t, err)
		for _, event := range list {
			require.Equal(t, after+1, event.Seq)
			after = event.Seq
		}
		require.Equal(t, uint64(events.Load())+1, after)
		var ids []string
		for last := ""; ; last = ids[len(ids)-1] {
			page, err := stores[0].Tokens(ctx, "acme", latchkey.TokenQuery{Page: latchkey.Page{After: last, Limit: 1000}})
			require.NoError(t, err)
			for _, token := range page {
				ids = append(ids, token.ID)
			}
			if len(page) == 0 {
				break
			}
		}
		require.True(t, slices.IsSorted(ids))
		require.Len(t, ids, int(minted.Load())+1)
	})
}
