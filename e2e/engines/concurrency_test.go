package engines

import (
	"context"
	"errors"
	"fmt"
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

// isolations returns DSNs with the isolation levels that a host may have set for its own transactions.
func isolations(t testing.TB, e *harness.Engine, dsn string) map[string]string {
	switch e {
	case harness.Postgres:
		return map[string]string{"read committed": dsn,
			"serializable": e.With(t, dsn, "default_transaction_isolation", "serializable")}
	case harness.TiDB:
		return map[string]string{"snapshot": dsn} // it has no serializable
	}
	return map[string]string{"repeatable read": dsn, "serializable": e.With(t, dsn, "tx_isolation", "'SERIALIZABLE'")}
}

// Two stores, as two processes have, and four pollers on each. Whatever the order of commits, no poller skips a
// change or reads one before another with a lower number, and what a write returned is read by all.
func TestEnginesNoChangeIsSkipped(t *testing.T) {
	harness.OnTiDBToo(t, func(t *testing.T, e *harness.Engine) {
		place := e.Place(t)
		for name, dsn := range isolations(t, e, place) {
			t.Run(name, func(t *testing.T) { noChangeIsSkipped(t, e, dsn, name) })
		}
	})
}

func noChangeIsSkipped(t *testing.T, e *harness.Engine, dsn, owner string) {
	const writers, pollers = 8, 4
	rounds := harness.Rounds(6, 12)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var stores [2]*sqlstore.Store
	for i := range stores {
		db, f := faulty.Open(t, e.Open(t, dsn), dsn)
		db.SetMaxOpenConns(16)
		db.SetMaxIdleConns(16)
		stores[i] = harness.OpenStore(t, db, e.Dialect)
		f.Pause = time.Millisecond // between the statements of a transaction others come in
	}
	start, err := stores[0].Changes(ctx, 0, 0, 0)
	require.NoError(t, err)

	var all, polling sync.WaitGroup
	var finished atomic.Uint64 // the last epoch, once it is known
	for g := range writers {
		s, other := stores[g%2], stores[1-g%2]
		owner := fmt.Sprintf("%s %d", owner, g%6) // writers of one owner wait for each other long before
		all.Go(func() {
			for i := range rounds {
				n := int(start.Epoch)*1000 + g*100 + i
				id := fmt.Sprintf("%s-%02d-%04d", owner, g, i)
				err := s.Write(ctx, world.Mint(owner, id, n))
				require.NoError(t, err)
				revoked := world.Mint(owner, id, n).Tokens[0]
				revoked.Version, revoked.Revoked = 1, world.Noon
				w := latchkey.Write{ID: world.WriteID(), Owner: owner, Tokens: []latchkey.Token{revoked}}
				if i%3 == 0 {
					w.Events = []latchkey.Event{{At: world.Noon, Action: "token.revoke"}}
				}
				epoch, err := world.WriteEpoch(ctx, s, w)
				require.NoError(t, err)
				f, err := other.ByDigest(ctx, 0, world.Digest(n))
				require.NoError(t, err)
				require.Equal(t, world.Noon, f.Token.Revoked, "a write that returned is read by all")
				require.GreaterOrEqual(t, f.Epoch, epoch)
			}
		})
	}
	for p := range pollers {
		s := stores[p%2]
		polling.Go(func() {
			last := start.Epoch
			for end := uint64(0); end == 0 || last < end; {
				end = finished.Load()
				feed, err := s.Changes(ctx, 0, last, 10)
				require.NoError(t, err)
				require.False(t, feed.Truncated)
				require.GreaterOrEqual(t, feed.Epoch, last)
				for _, c := range feed.Changes {
					require.Equal(t, last+1, c.Epoch, "numbers are dense: none was skipped")
					last = c.Epoch
				}
				if end > 0 && last == feed.Epoch {
					return
				}
			}
		})
	}
	all.Wait()
	feed, err := stores[0].Changes(ctx, 0, 0, 0)
	require.NoError(t, err)
	finished.Store(feed.Epoch)
	polling.Wait()
	require.Equal(t, start.Epoch+uint64(writers*rounds), feed.Epoch, "no number without a change")
}

// A transaction that took the next number and stalls is waited for: none commits a later number before it.
func TestEnginesEpochIsInCommitOrder(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnTiDBToo(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		s := e.Store(t, dsn)
		world.Build(t, s)
		before, err := s.Changes(ctx, 0, 0, 0)
		require.NoError(t, err)
		stalled, err := e.Open(t, dsn).Begin()
		require.NoError(t, err)
		_, err = stalled.Exec("UPDATE latchkey_epoch SET epoch = epoch + 1 WHERE id = 1")
		require.NoError(t, err)

		later := make(chan uint64, 1)
		go func() {
			w := latchkey.Write{ID: world.WriteID(), Owner: "globex", OwnerRecord: &latchkey.Owner{ID: "globex"}}
			epoch, err := world.WriteEpoch(ctx, s, w)
			if err != nil {
				t.Error(err)
			}
			later <- epoch
		}()
		// What does not touch the epoch goes on meanwhile.
		err = s.Write(ctx, world.Mint("initech", "t", 77))
		require.NoError(t, err)
		select {
		case <-later:
			t.Fatal("a later change was committed before an earlier one")
		case <-time.After(300 * time.Millisecond):
		}
		feed, err := s.Changes(ctx, 0, before.Epoch, 10)
		require.NoError(t, err)
		require.Equal(t, before.Epoch, feed.Epoch)
		require.Empty(t, feed.Changes)

		_, err = stalled.Exec(fmt.Sprintf("INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, at) "+
			"VALUES (%d, 0, 'acme', 3, 'acme', 0)", before.Epoch+1))
		require.NoError(t, err)
		require.NoError(t, stalled.Commit())
		require.Equal(t, before.Epoch+2, <-later)
		feed, err = s.Changes(ctx, 0, before.Epoch, 10)
		require.NoError(t, err)
		require.Len(t, feed.Changes, 2)
		require.Equal(t, before.Epoch+1, feed.Changes[0].Epoch)
		require.Equal(t, before.Epoch+2, feed.Changes[1].Epoch)
	})
}

// A process that stalls while it holds the epoch does not block the others for ever. It is told that the outcome of
// its change is unknown.
func TestEnginesStalledWriter(t *testing.T) {
	harness.OnTiDBToo(t, func(t *testing.T, e *harness.Engine) {
		t.Parallel() // it waits for what the server counts in seconds
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		dsn := e.Place(t)
		others := e.Store(t, dsn)
		world.Build(t, others)
		if e == harness.Postgres { // with the trigger it would not hold the epoch
			withoutTrigger(t, e.Open(t, dsn))
			others = newStore(t, e.Open(t, dsn), e.Dialect)
		}
		switch e { // docs/operations.md says so
		case harness.MariaDB:
			dsn = e.With(t, dsn, "idle_write_transaction_timeout", "2")
		case harness.TiDB:
			dsn = e.With(t, dsn, "tidb_idle_transaction_timeout", "2")
		}
		db, f := faulty.Open(t, e.Open(t, dsn), dsn)
		stalled := newStore(t, db, e.Dialect)
		holds, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		f.Before = func(text string) {
			if text == "COMMIT" {
				once.Do(func() {
					close(holds)
					<-goOn
				})
			}
		}
		var all sync.WaitGroup
		w := latchkey.Write{ID: world.WriteID(), Owner: "slow", OwnerRecord: &latchkey.Owner{ID: "slow"}}
		all.Go(func() {
			err := stalled.Write(ctx, w)
			require.ErrorIs(t, err, latchkey.ErrUnknownOutcome)
		})
		<-holds
		epoch, err := world.WriteEpoch(ctx, others,
			latchkey.Write{ID: world.WriteID(), Owner: "globex", OwnerRecord: &latchkey.Owner{ID: "globex"}})
		require.NoError(t, err)
		close(goOn)
		all.Wait()
		after, err := world.WriteEpoch(ctx, stalled, w)
		require.NoError(t, err, "the same write settles it")
		require.Equal(t, epoch+1, after)
	})
}

// Everything at once from two stores on the same few records: no call fails, no credit is spent twice or lost, and what
// purges and settlements do never cross.
func TestEnginesTwoNodes(t *testing.T) {
	harness.OnTiDBToo(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		for name, dsn := range isolations(t, e, dsn) {
			t.Run(name, func(t *testing.T) { twoNodes(t, e, dsn, name) })
		}
	})
}

func twoNodes(t *testing.T, e *harness.Engine, dsn, owner string) {
	const workers = 8
	rounds := harness.Rounds(10, 15)
	limit := latchkey.Credits(rounds * 20 / 3) // what all of them ask for, and little more
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	stores := []*sqlstore.Store{e.Store(t, dsn), e.Store(t, dsn)}
	err := stores[0].Write(ctx, world.Mint(owner, "t", len(owner)*1000))
	require.NoError(t, err)
	accounts := []latchkey.CreditAccount{{TokenID: "t", Meter: "calls", Limit: limit}, {Meter: "calls", Limit: 2 * limit}}
	var spent, lapsing atomic.Int64
	var all sync.WaitGroup
	for g := range workers {
		s := stores[g%2]
		all.Go(func() {
			for i := range rounds {
				r := latchkey.Reservation{Owner: owner, Key: [16]byte{1, byte(g / 2), byte(i)}, Amount: 3, Accounts: accounts}
				if i%5 == 4 {
					r.Until = world.Noon.Add(-time.Hour) // a purge gives it back
				}
				// Two workers, on two nodes, make each call: it takes once.
				_, err := s.Reserve(ctx, r)
				if errors.Is(err, latchkey.ErrOverLimit) || i%5 == 4 && errors.Is(err, latchkey.ErrConflict) {
					continue
				}
				require.NoError(t, err)
				if i%5 != 4 {
					require.NoError(t, s.Settle(ctx, owner, r.Key, 2))
				} else {
					lapsing.Add(1)
				}
				require.NoError(t, s.AddUsage(ctx,
					latchkey.UsageBatch{ID: world.WriteID(), At: world.Noon, Rows: []latchkey.UsageRow{
						{Owner: owner, TokenID: "t", Meter: "b", Day: "2026-11-22", Count: 1},
						{Owner: owner, TokenID: "t", Meter: "a", Day: "2026-11-22", Count: 1}},
						Last: []latchkey.LastUsed{{Owner: owner, TokenID: "t", At: world.Noon.Add(time.Duration(i) * time.Second)}}}))
				spent.Add(2)
				_, err = s.Purge(ctx, latchkey.PurgePolicy{Now: world.Noon, Changes: 1000 * time.Hour}, 10)
				require.NoError(t, err)
			}
		})
	}
	all.Wait()
	for removed := 1; removed > 0; {
		removed, err = stores[0].Purge(ctx, latchkey.PurgePolicy{Now: world.Noon, Changes: 1000 * time.Hour}, 10)
		require.NoError(t, err)
	}
	db := e.Open(t, dsn)
	var used, settled, open int64
	where := fmt.Sprintf(" WHERE owner = '%s'", owner)
	require.NoError(t, db.QueryRow("SELECT SUM(actual), COUNT(*) - COUNT(actual) FROM latchkey_reservations"+where).
		Scan(&settled, &open))
	require.NoError(t, db.QueryRow("SELECT used FROM latchkey_credits"+where+" AND token_id = 't'").Scan(&used))
	require.Zero(t, open)
	require.Equal(t, settled, used, "what the accounts say is what was settled")
	require.Positive(t, lapsing.Load())
	require.LessOrEqual(t, used, int64(limit))
	rows, err := stores[1].Usage(ctx, owner, latchkey.UsageQuery{})
	require.NoError(t, err)
	require.Equal(t, spent.Load(), rows[0].Count)
	f, err := stores[1].Load(ctx, owner, "t")
	require.NoError(t, err)
	require.Equal(t, uint64(1), f.Token.Version)
}

// Waiting ends with the deadline, wherever a write waits, and what was given up does not happen later.
func TestEnginesDeadlines(t *testing.T) {
	background := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		db := e.Open(t, dsn)
		db.SetMaxOpenConns(2)
		s := harness.OpenStore(t, db, e.Dialect)
		world.Build(t, s)
		if e == harness.Postgres { // with the trigger the outcome would not be known: see TestGivenUpInsideCommit
			withoutTrigger(t, db)
			s = newStore(t, db, e.Dialect)
		}
		for _, lock := range []string{"UPDATE latchkey_event_seqs SET seq = seq + 1",
			"UPDATE latchkey_epoch SET epoch = epoch + 1", "UPDATE latchkey_tokens SET version = version + 1"} {
			holder, err := e.Open(t, dsn).Begin()
			require.NoError(t, err)
			_, err = holder.Exec(lock)
			require.NoError(t, err)
			begun := time.Now()
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(background, 150*time.Millisecond)
					defer cancel()
					revoked := world.Mint("acme", world.ParentID, 1).Tokens[0]
					revoked.Version, revoked.Revoked = 1, world.Noon
					err := s.Write(ctx, latchkey.Write{ID: world.WriteID(), Owner: "acme", Tokens: []latchkey.Token{revoked}})
					require.ErrorIs(t, err, latchkey.ErrUnavailable, lock)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				})
			}
			all.Wait()
			require.Less(t, time.Since(begun), 40*time.Second, "a lock is waited for no longer than its time-out of 50 s")
			require.NoError(t, holder.Rollback())
			time.Sleep(50 * time.Millisecond)
			f, err := s.Load(background, "acme", world.ParentID)
			require.NoError(t, err)
			require.Zero(t, f.Token.Revoked, "what was given up was done later: %s", lock)
		}
		err := s.Write(background, world.Mint("acme", "after", 50))
		require.NoError(t, err)
	})
}

func TestEnginesPoolOfOne(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		db := e.Open(t, e.Place(t))
		db.SetMaxOpenConns(1)
		s := harness.OpenStore(t, db, e.Dialect)
		world.Build(t, s)
		var all sync.WaitGroup
		for g := range harness.Rounds(80, 200) {
			all.Go(func() {
				err := s.Write(ctx, world.Mint("acme", fmt.Sprintf("w%d", g), 1000+g))
				require.NoError(t, err)
				_, err = s.ByDigest(ctx, 0, world.Digest(2))
				require.NoError(t, err)
				_, err = s.Changes(ctx, 0, 0, 10)
				require.NoError(t, err)
			})
		}
		all.Wait()
	})
}

// The database's time is read only when it is needed, and not with each poll, as that costs something.
func TestEnginesClockIsAskedNowAndThen(t *testing.T) {
	ctx := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		e.Store(t, dsn)
		db, f := faulty.Open(t, e.Open(t, dsn), dsn)
		for asks, opts := range map[bool]*sqlstore.Options{true: nil,
			false: {Clock: func() time.Time { return world.Noon }}} {
			s, err := sqlstore.New(ctx, db, e.Dialect, opts)
			require.NoError(t, err)
			start := f.Count()
			last := time.Time{}
			for range 200 {
				feed, err := s.Changes(ctx, 0, 0, 0)
				require.NoError(t, err)
				require.False(t, feed.Now.Before(last), "%v after %v", feed.Now, last)
				last = feed.Now
			}
			asked, polls := 0, 0
			for _, l := range f.Statements(start) {
				if strings.Contains(l.Text, "latchkey_epoch") {
					polls++
					if strings.Contains(l.Text, "clock_timestamp") || strings.Contains(l.Text, "UTC_TIMESTAMP") {
						asked++
					}
				}
			}
			require.GreaterOrEqual(t, polls, 200)
			require.Equal(t, asks, asked > 0)
			require.Less(t, asked, polls)
			require.NoError(t, s.Close())
		}
	})
}

func TestEnginesClock(t *testing.T) {
	ctx := context.Background()
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		dsn := e.Place(t)
		s := e.Store(t, dsn)
		for _, n := range []int{0, 10} {
			feed, err := s.Changes(ctx, 0, 0, n)
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), feed.Now, time.Minute)
			require.Equal(t, time.UTC, feed.Now.Location())
		}
		own, err := sqlstore.New(ctx, e.Open(t, dsn), e.Dialect,
			&sqlstore.Options{Clock: func() time.Time { return world.Noon.Add(1001) }})
		require.NoError(t, err)
		feed, err := own.Changes(ctx, 0, 0, 0)
		require.NoError(t, err)
		require.Equal(t, world.Noon.Add(time.Microsecond), feed.Now)
	})
	// The clock that counts is the database's.
	dsn := harness.MariaDB.Place(t)
	harness.MariaDB.Store(t, dsn)
	behind := harness.MariaDB.With(t, dsn, "timestamp", fmt.Sprint(time.Now().Add(2*time.Hour).Unix()))
	_, err := sqlstore.New(ctx, harness.MariaDB.Open(t, behind), latchkey.MySQL, nil)
	require.ErrorContains(t, err, "behind the database's")
	require.ErrorContains(t, err, "NTP")
	year := harness.MariaDB.With(t, dsn, "timestamp", fmt.Sprint(world.Noon.AddDate(-1, 0, 0).Unix()))
	_, err = sqlstore.New(ctx, harness.MariaDB.Open(t, year), latchkey.MySQL, nil)
	require.ErrorContains(t, err, "ahead of the database's")
	said := time.Now().Add(-20 * time.Second).Unix() // it stands
	near := harness.MariaDB.Store(t, harness.MariaDB.With(t, dsn, "timestamp", fmt.Sprint(said)))
	feed, err := near.Changes(ctx, 0, 0, 0)
	require.NoError(t, err)
	require.WithinDuration(t, time.Unix(said, 0), feed.Now, time.Second)
}
