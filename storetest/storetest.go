// Package storetest says what it means to be a latchkey.Store: passing [Run]. A store's whole test is
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) latchkey.Store { return mystore.New() })
//	}
//
// Every case names the rule it checks in words, and gets a fresh store. The cases are tested themselves, on stores with
// seeded faults, each of which must fail the case that speaks of it.
package storetest

import (
	"context"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Run runs every case as a subtest, on a store that open makes for it: empty, and shared with nothing that writes to it.
// Open cleans up by t.Cleanup. Some cases work from many goroutines at once: run it with -race too.
func Run(t *testing.T, open func(t *testing.T) latchkey.Store) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("the rule: %s", c.Explanation)
				}
			}()
			c.Run(t, func() latchkey.Store { return open(t) })
		})
	}
}

// T is what a case needs of a *testing.T. Fatalf must not return.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Case is one rule and its check. It may be run many times, each with its own store.
type Case struct {
	Name        string
	Explanation string // the rule in words
	Run         func(t T, open func() latchkey.Store)
}

// Cases returns every case, for those who do not run them as subtests.
func Cases() []Case {
	return slices.Concat(readCases, listCases, writeCases, secretCases, followCases, removeCases, feedCases, onceCases, creditCases, adjustCases,
		purgeCases, raceCases, damageCases)
}

// patience bounds a case. A store that hangs fails, it does not stop the suite.
const patience = 2 * time.Minute

func newCase(name, explanation string, run func(w *world)) Case {
	return Case{Name: name, Explanation: explanation, Run: func(t T, open func() latchkey.Store) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		defer func() {
			// A store that answers too little must not keep the other cases from being run.
			if r := recover(); r != nil {
				t.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		run(&world{T: t, ctx: ctx, s: open()})
	}}
}
