// Package storetest is the conformance suite of [latchkey.Store]. A type is a Store if it passes [Run]. A complete
// test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) latchkey.Store { return mystore.New() })
//	}
//
// Every case states the rule it checks, and gets a new store. The cases themselves are tested on stores with seeded
// faults. Each fault must fail the cases that check for it.
package storetest

import (
	"context"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Run runs every case as a subtest. Each gets a store from open, which must be empty and shared with no other writer.
// Open cleans up by t.Cleanup. Some cases use many goroutines at once, so run the suite with -race too.
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

// T is the part of *testing.T that a case uses. Fatalf must not return.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Case is one rule and its check. Run may be called many times. It calls open for a new, empty store.
type Case struct {
	Name        string
	Explanation string // the rule, as a sentence
	Run         func(t T, open func() latchkey.Store)
}

// Cases returns every case, for callers that do not run them as subtests.
func Cases() []Case {
	return slices.Concat(readCases, listCases, orderCases, allCases, dutyCases, writeCases, secretCases, foreignCases,
		followCases, removeCases, liveCases, feedCases, feedsCases, onceCases, creditCases, adjustCases,
		purgeCases, purgeUsageCases, chainCases,
		raceCases, damageCases)
}

// caseTimeout is how long a case may take. A store that hangs fails the case, and does not stop the suite.
const caseTimeout = 2 * time.Minute

func newCase(name, explanation string, run func(w *fixture)) Case {
	return Case{Name: name, Explanation: explanation, Run: func(t T, open func() latchkey.Store) {
		ctx, cancel := context.WithTimeout(context.Background(), caseTimeout)
		defer cancel()
		defer func() {
			// A case panics if a store returns too little. The other cases must still run.
			if r := recover(); r != nil {
				t.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		run(&fixture{T: t, ctx: ctx, s: open()})
	}}
}
