package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

// ops are all values of StoreCall.Op.
func ops() []string {
	contract := reflect.TypeFor[latchkey.Store]()
	all := []string{"Epoch"}
	for i := range contract.NumMethod() {
		if m := contract.Method(i); m.Type.NumIn() > 0 && m.Type.In(0) == reflect.TypeFor[context.Context]() {
			all = append(all, m.Name)
		}
	}
	return all
}

// A store that is observed does all that a store must do.
func TestObservedStoreIsAStore(t *testing.T) {
	var calls sync.Map
	storetest.Run(t, func(t *testing.T) latchkey.Store {
		return latchkey.ObservedStore(memstore.New(nil), latchkey.Observer{
			StoreCall: func(_ context.Context, c latchkey.StoreCall) {
				n, _ := calls.LoadOrStore(c.Op, new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
			}})
	})
	for _, op := range ops() {
		n, ok := calls.Load(op)
		assert.True(t, ok && n.(*atomic.Int64).Load() > 0, op)
	}
}

// Each method that can fail is told of once, with its name, its context and its error. None is forgotten.
func TestEachStoreCallIsObserved(t *testing.T) {
	type key struct{}
	kit := latchkeytest.New(t, nil)
	var calls []latchkey.StoreCall
	s := latchkey.ObservedStore(kit.Store, latchkey.Observer{StoreCall: func(ctx context.Context, c latchkey.StoreCall) {
		require.Equal(t, "of the call", ctx.Value(key{}))
		calls = append(calls, c)
	}})
	kit.Store.Down(true)
	ctx := context.WithValue(t.Context(), key{}, "of the call")
	contract := reflect.TypeFor[latchkey.Store]()
	seen := 0
	for i := range contract.NumMethod() {
		name := contract.Method(i).Name
		method := reflect.ValueOf(s).MethodByName(name)
		kind := method.Type()
		args := []reflect.Value{reflect.ValueOf(ctx)}
		fails := kind.NumIn() > 0 && kind.In(0) == reflect.TypeFor[context.Context]()
		if !fails {
			args = nil
		}
		for n := len(args); n < kind.NumIn() && !(kind.IsVariadic() && n == kind.NumIn()-1); n++ {
			if name == "Changes" && kind.In(n).Kind() == reflect.Int {
				args = append(args, reflect.ValueOf(1))
				continue
			}
			args = append(args, reflect.Zero(kind.In(n)))
		}
		calls = nil
		results := method.Call(args)
		if !fails {
			require.Empty(t, calls, name)
			continue
		}
		seen++
		require.Len(t, calls, 1, name)
		c := calls[0]
		require.Equal(t, name, c.Op)
		require.Equal(t, results[len(results)-1].Interface(), c.Err, name)
		require.ErrorIs(t, c.Err, latchkey.ErrUnavailable)
		require.Equal(t, "unavailable", c.Class)
		require.False(t, c.Start.IsZero())
		require.GreaterOrEqual(t, c.Duration, 0*c.Duration)
	}
	require.Greater(t, seen, 20)
	calls = nil
	_, err := s.Changes(ctx, 0, 0, 0)
	require.Error(t, err)
	require.Equal(t, "Epoch", calls[0].Op)
	kit.Store.Down(false)
	_, err = s.Changes(ctx, 0, 0, 0)
	require.NoError(t, err)
	require.Equal(t, "ok", calls[1].Class)
	require.NoError(t, calls[1].Err)
}

// failing is a store whose Load returns an error.
type failing struct {
	latchkey.Store
	err error
}

func (s failing) Load(context.Context, string, string) (latchkey.Found, error) {
	return latchkey.Found{}, s.err
}

func TestStoreCallClasses(t *testing.T) {
	unavailable := func(err error) error { return fmt.Errorf("%w: %w", latchkey.ErrUnavailable, err) }
	for class, err := range map[string]error{
		"ok":              nil,
		"not_found":       latchkey.ErrNotFound,
		"conflict":        fmt.Errorf("a role: %w", latchkey.ErrConflict),
		"exists":          latchkey.ErrExists,
		"in_use":          latchkey.ErrInUse,
		"over_limit":      &latchkey.OverLimitError{},
		"too_many":        latchkey.ErrTooMany,
		"invalid":         latchkey.ErrInvalid,
		"damaged":         &latchkey.DamagedError{Kind: latchkey.ChangedToken},
		"canceled":        unavailable(context.Canceled),
		"timeout":         unavailable(context.DeadlineExceeded),
		"unknown_outcome": fmt.Errorf("%w: %w", latchkey.ErrUnknownOutcome, context.Canceled),
		"unavailable":     latchkey.ErrUnavailable,
	} {
		var got []latchkey.StoreCall
		s := latchkey.ObservedStore(failing{memstore.New(nil), err}, latchkey.Observer{
			StoreCall: func(_ context.Context, c latchkey.StoreCall) { got = append(got, c) }})
		_, e := s.Load(t.Context(), "acme", "1")
		require.Equal(t, err, e)
		require.Len(t, got, 1)
		require.Equal(t, class, got[0].Class)
	}
	var got latchkey.StoreCall
	s := latchkey.ObservedStore(failing{memstore.New(nil), errors.New("of no kind")}, latchkey.Observer{
		StoreCall: func(_ context.Context, c latchkey.StoreCall) { got = c }})
	_, _ = s.Load(t.Context(), "acme", "1")
	require.Equal(t, "unavailable", got.Class)
}

// What runs in the background is told of, too: the counts, the last use, and the reading of the feed.
func TestStoreCallsInTheBackgroundAreObserved(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	w := newWorld(t, func(o *latchkey.Options) {
		o.Observer.StoreCall = func(_ context.Context, c latchkey.StoreCall) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, c.Op)
		}
	})
	_, secret := w.key(readAll())
	a := w.access(secret)
	a.Count("api", "GET /", 1)
	w.ok(w.keys.Close(w.ctx))
	mu.Lock()
	defer mu.Unlock()
	for _, op := range []string{"Write", "ByDigest", "Epoch"} {
		require.True(t, slices.Contains(calls, op), op)
	}
	require.Equal(t, 2, count(calls, "AddUsage"), "last uses, and counts")
}

func count(list []string, what string) (n int) {
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}
