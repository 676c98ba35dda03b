package latchkey

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
	"github.com/stretchr/testify/require"
)

// loadStore tells of each load, and lets it go on when told to.
type loadStore struct {
	Store
	began   chan string // ids
	leave   chan struct{}
	version atomic.Uint64
}

func (s *loadStore) Load(_ context.Context, owner, id string) (Found, error) {
	f := Found{Token: Token{ID: id, Owner: owner, Version: s.version.Load()}}
	s.began <- owner + " " + id
	<-s.leave
	return f, nil
}

// Callers who load the same token while somebody does share one load, which begins after all of them asked. Other tokens,
// and the same id of another owner, are other loads.
func TestCallersShareALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &loadStore{began: make(chan string, 64), leave: make(chan struct{})}
		m := New(store, nil)
		first, second := [16]byte{1}, [16]byte{2}
		var wg sync.WaitGroup
		load := func(owner string, id [16]byte, version uint64) {
			wg.Go(func() {
				f, err := m.loader.load(t.Context(), owner, id)
				if err != nil || f.Token.Owner != owner || f.Token.ID != uuidv7.Text(id) || f.Token.Version != version {
					t.Errorf("%s %d: %+v, %v", owner, id[0], f.Token, err)
				}
			})
		}
		load("acme", first, 0)
		load("acme", second, 0)
		load("other", first, 0)
		synctest.Wait()
		require.Len(t, store.began, 3)
		store.version.Add(1) // committed before the others ask
		for range 63 {
			load("acme", first, 1)
		}
		synctest.Wait()
		require.Len(t, store.began, 3, "nobody reads beside one who reads the same")
		for range 3 {
			store.leave <- struct{}{}
		}
		synctest.Wait()
		require.Len(t, store.began, 4)
		store.leave <- struct{}{}
		wg.Wait()
		require.Len(t, store.began, 4, "one load for all who waited")
		require.Empty(t, m.loader.loads, "who is gone is forgotten")
		require.NoError(t, m.Close(t.Context()))
	})
}

// Whoever leaves, fails or panics, each of the others is answered, and by a load of her own time.
func TestALoadSharedByThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leavingStore{leave: make(chan string)}
		m := New(store, nil)
		id := [16]byte{1}
		var answers, gone, errs, panics atomic.Int64
		ask := func(ctx context.Context) {
			defer func() {
				if recover() != nil {
					panics.Add(1)
				}
			}()
			switch f, err := m.loader.load(ctx, "acme", id); {
			case err == nil && f.Token.ID == uuidv7.Text(id):
				answers.Add(1)
			case ctx.Err() != nil && errors.Is(err, ctx.Err()) && errors.Is(err, ErrUnavailable):
				gone.Add(1)
			case ctx.Err() == nil && errors.Is(err, errPanicked):
				errs.Add(1)
			default:
				t.Errorf("%+v, %v", f.Token, err)
			}
		}
		// The first, who reads, leaves; so does every other one of those who wait, be it hers to read or not.
		leaving, leave := context.WithCancel(t.Context())
		go ask(leaving)
		synctest.Wait()
		for i := range 32 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = leaving
			}
			go ask(ctx)
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		require.EqualValues(t, 17, gone.Load())
		store.leave <- ""
		synctest.Wait()
		require.EqualValues(t, 16, answers.Load())

		// A failure is everybody's who shared it, a panic the leader's.
		answers.Store(0)
		go ask(t.Context())
		synctest.Wait()
		for range 8 {
			go ask(t.Context())
		}
		synctest.Wait()
		store.leave <- "panic"
		synctest.Wait()
		require.EqualValues(t, 1, panics.Load())
		require.Zero(t, errs.Load(), "those who came later share nothing with her")
		for range 4 {
			go ask(t.Context())
		}
		synctest.Wait()
		store.leave <- "panic"
		synctest.Wait()
		require.EqualValues(t, 2, panics.Load())
		require.EqualValues(t, 7, errs.Load())
		store.leave <- ""
		synctest.Wait()
		require.EqualValues(t, 4, answers.Load())
		require.Empty(t, m.loader.loads)
		require.Zero(t, m.loader.asking.Load())
	})
}

// Whoever shared the read of a caller who left tries again.
func TestThoseWhoSharedAReadTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &leavingStore{leave: make(chan string)}
		m := New(store, nil)
		leaving, leave := context.WithCancel(t.Context())
		errs := make([]error, 3)
		for i, ctx := range []context.Context{t.Context(), leaving, t.Context()} {
			go func() { _, errs[i] = m.loader.load(ctx, "acme", [16]byte{1}) }()
			synctest.Wait() // the first reads; the second has the next turn, and the third shares it
		}
		store.leave <- ""
		synctest.Wait()
		leave()
		synctest.Wait()
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], context.Canceled)
		store.leave <- "" // the third reads
		synctest.Wait()
		require.NoError(t, errs[2])
	})
}

// leavingStore loads until it is told how that ends.
type leavingStore struct {
	Store
	leave chan string
}

func (s *leavingStore) Load(ctx context.Context, owner, id string) (Found, error) {
	select {
	case how := <-s.leave:
		if how != "" {
			panic(how)
		}
		return Found{Token: Token{ID: id, Owner: owner}}, nil
	case <-ctx.Done():
		return Found{}, fault.Unavailable(ctx.Err())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// expiringStore gives up by itself after a second, in the words of a context, as a dialler that times out does.
type expiringStore struct {
	Store
	loads, feeds atomic.Int64
}

func (s *expiringStore) Load(ctx context.Context, _, _ string) (Found, error) {
	s.loads.Add(1)
	return Found{}, giveUp(ctx)
}

func (s *expiringStore) Changes(ctx context.Context, _ uint64, _ int) (Feed, error) {
	s.feeds.Add(1)
	return Feed{}, giveUp(ctx)
}

func giveUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	<-ctx.Done()
	return fault.Unavailable(ctx.Err())
}

// When the store has given up, and not one who asked it, those who shared that have their answer: they do not wait for
// each other to ask a store that does not answer once more.
func TestCallersShareATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &expiringStore{}
		m := New(store, nil)
		var wg sync.WaitGroup
		begin := time.Now()
		for range 32 {
			wg.Go(func() {
				if _, err := m.loader.load(t.Context(), "acme", [16]byte{1}); !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := m.follow.epoch(t.Context()); !errors.Is(err, ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// A read that is not answered is given up after 50 ms, the next one after twice that, and so on.
		require.LessOrEqual(t, store.loads.Load(), int64(6))
		require.LessOrEqual(t, store.feeds.Load(), int64(6))
		require.LessOrEqual(t, time.Since(begin), 4*time.Second)

		// The end of her own time who asked is not that of the others.
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		store.loads.Store(0)
		go func() { _, _ = m.loader.load(short, "acme", [16]byte{1}) }()
		synctest.Wait()
		begin = time.Now()
		_, err := m.loader.load(t.Context(), "acme", [16]byte{1})
		require.ErrorIs(t, err, ErrUnavailable)
		require.Equal(t, time.Second+time.Millisecond, time.Since(begin))
		require.EqualValues(t, 2, store.loads.Load())
	})
}
