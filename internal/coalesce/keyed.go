package coalesce

import (
	"context"
	"sync"
	"time"
)

// Keyed coalesces reads by key: those of different keys do not wait for each other. It holds only keys that are being
// read. It is safe for concurrent use. Make one with [NewKeyed].
type Keyed[K comparable, T any] struct {
	window Window
	mu     sync.Mutex
	groups map[K]*keyedGroup[T]
}

type keyedGroup[T any] struct {
	Group[T]
	callers int
}

// NewKeyed returns a Keyed whose reads are not worth sharing if they take less than threshold: see [Window].
func NewKeyed[K comparable, T any](threshold time.Duration) *Keyed[K, T] {
	return &Keyed[K, T]{window: Window{Threshold: threshold}, groups: map[K]*keyedGroup[T]{}}
}

// Do returns the result of a read of key that began after the call, be it another caller's. The value is shared and
// must not be changed.
func (k *Keyed[K, T]) Do(ctx context.Context, key K, read func(context.Context) (T, error)) (T, error) {
	if k.window.Alone() {
		return read(ctx)
	}
	k.mu.Lock()
	g := k.groups[key]
	if g == nil {
		g = &keyedGroup[T]{}
		k.groups[key] = g
	}
	g.callers++
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if g.callers--; g.callers == 0 {
			delete(k.groups, key)
		}
	}()
	return g.Do(ctx, &k.window, read)
}
