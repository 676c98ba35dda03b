package main

import (
	"context"
	"iter"

	"github.com/latchkey-go/latchkey"
)

// allOwners yields the owners of the store, in byte order: those that have an event in the audit trail, or had one.
// Every change through a Manager leaves one. A store that something else filled may have others.
func allOwners(ctx context.Context, store latchkey.Store) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, feed := range store.Feeds() { // a store of package sqlstore has one
			// Nothing delivers to this cursor, so it has reached the last event of no owner.
			q := latchkey.UndeliveredQuery{Feed: feed, Cursor: "latchkey/all-owners", Page: latchkey.Page{Limit: 1000}}
			for {
				page, next, err := store.Undelivered(ctx, q)
				if err != nil {
					yield("", err)
					return
				}
				for _, d := range page {
					if !yield(d.Owner, nil) {
						return
					}
				}
				if q.After = next; next == "" {
					break
				}
			}
		}
	}
}

// someOwners yields the owners that a flag names, in byte order and each once, or all if it names none.
func someOwners(ctx context.Context, store latchkey.Store, names []string) iter.Seq2[string, error] {
	if len(names) == 0 {
		return allOwners(ctx, store)
	}
	return func(yield func(string, error) bool) {
		for _, name := range sortedOnce(names) {
			if !yield(name, nil) {
				return
			}
		}
	}
}
