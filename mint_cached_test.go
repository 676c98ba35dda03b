package latchkey_test

import (
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
)

// A token that ends by not being used, or that has such an ancestor, mints by what the store says of its last use: it
// may have been used elsewhere since it was read.
func TestMintWhereTheParentIdles(t *testing.T) {
	w := newStateless(t)
	_, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 40 * time.Minute},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}})
	_, text := w.mint(w.access(key), latchkey.Narrowing{Lifetime: 24 * time.Hour})
	m := w.process()
	ancestor, err := m.Verify(w.ctx, latchkey.Presented{Secret: key})
	w.ok(err)
	child, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
	mint := func(parent latchkey.Access, stateless bool) error {
		_, _, err := parent.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Stateless: stateless})
		return err
	}
	w.ok(mint(ancestor, false))
	w.ok(mint(child, false))
	for i := range 4 {
		other := w.process()
		for _, d := range []time.Duration{30 * time.Minute, 11 * time.Minute} {
			w.turn(d)
			_, err = other.Verify(w.ctx, latchkey.Presented{Secret: key})
			w.ok(err)
		}
		w.ok(other.Close(w.ctx)) // the use is written
		parents := []latchkey.Access{ancestor, child}
		w.ok(mint(parents[i/2], i%2 == 0)) // the first one reads the use
		w.ok(mint(parents[1-i/2], i%2 == 0))
	}
	w.turn(50 * time.Minute)
	for _, stateless := range []bool{false, true} {
		w.is(latchkey.ErrExpired, mint(ancestor, stateless))
		w.is(latchkey.ErrParent, mint(child, stateless))
	}
}

// A parent that does not work is refused as often as it is asked, also once the cache has it.
func TestMintOfAParentThatDoesNotWork(t *testing.T) {
	w := newStateless(t)
	parent := w.access(w.key)
	refused := func(want error) {
		for range 3 {
			for _, stateless := range []bool{false, true} {
				_, _, err := parent.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Stateless: stateless})
				w.is(want, err)
			}
		}
	}
	w.update(w.parent, func(t *latchkey.Token) { t.Disabled = true })
	refused(latchkey.ErrDisabled)
	w.update(w.parent, func(t *latchkey.Token) { t.Disabled = false })
	w.mint(parent, latchkey.Narrowing{})
	w.configure(func(o *latchkey.Owner) { o.Disabled = true })
	refused(latchkey.ErrOwnerDisabled)
}
