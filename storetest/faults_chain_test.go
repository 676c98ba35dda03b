package storetest_test

import (
	"context"
	"slices"

	"github.com/latchkey-go/latchkey"
)

// editSeals replaces the Seal of each Write that has one.
func editSeals(f *faulty, s latchkey.Store, edit func(w *latchkey.Write, seal sealFunc) sealFunc) {
	editWrites(f, s, func(_ context.Context, w *latchkey.Write) {
		if w.Seal != nil {
			w.Seal = edit(w, w.Seal)
		}
	})
}

type sealFunc = func(int, *latchkey.Event, []byte) []byte

var chainFaults = map[string]fault{
	"does not call Seal": {[]string{"chain/follows", "chain/kept", "chain/race"}, func(f *faulty, s latchkey.Store) {
		editSeals(f, s, func(*latchkey.Write, sealFunc) sealFunc { return nil })
	}},
	"calls Seal with the head of all owners": {[]string{"chain/follows", "chain/race"},
		func(f *faulty, s latchkey.Store) {
			var last []byte
			editSeals(f, s, func(_ *latchkey.Write, seal sealFunc) sealFunc {
				return func(i int, e *latchkey.Event, _ []byte) []byte {
					last = seal(i, e, slices.Clone(last)) // memstore holds its lock
					return last
				}
			})
		}},
	"seals the events of a Write side by side": {[]string{"chain/follows", "chain/kept"},
		func(f *faulty, s latchkey.Store) {
			editSeals(f, s, func(_ *latchkey.Write, seal sealFunc) sealFunc {
				var first []byte
				return func(i int, e *latchkey.Event, head []byte) []byte {
					if i == 0 {
						first = head
					}
					return seal(i, e, first)
				}
			})
		}},
	"forgets the head when it erases": {[]string{"chain/kept"}, func(f *faulty, s latchkey.Store) {
		editSeals(f, s, func(w *latchkey.Write, seal sealFunc) sealFunc {
			erase := w.Erase
			return func(i int, e *latchkey.Event, head []byte) []byte {
				if erase && i == 0 {
					head = nil
				}
				return seal(i, e, head)
			}
		})
	}},
	"keeps no head of a mint": {[]string{"chain/follows"}, func(f *faulty, s latchkey.Store) {
		editSeals(f, s, func(w *latchkey.Write, seal sealFunc) sealFunc {
			mint := w.Silent && len(w.Tokens) > 0
			return func(i int, e *latchkey.Event, head []byte) []byte {
				next := seal(i, e, head)
				if mint {
					return head
				}
				return next
			}
		})
	}},
	"seals before the number is known": {[]string{"chain/follows", "chain/kept", "chain/race"},
		func(f *faulty, s latchkey.Store) {
			editSeals(f, s, func(_ *latchkey.Write, seal sealFunc) sealFunc {
				return func(i int, e *latchkey.Event, head []byte) []byte {
					seq := e.Seq
					e.Seq = 0
					next := seal(i, e, head)
					e.Seq = seq
					return next
				}
			})
		}},
}
