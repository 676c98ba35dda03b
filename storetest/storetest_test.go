package storetest_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

// recorder is a storetest.T that records failures.
type recorder struct {
	mu     sync.Mutex
	faults []string
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// runCase runs a case on stores from open and returns its failures.
func runCase(c storetest.Case, open func() latchkey.Store) []string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(r, open)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.faults
}

func TestCasesAreNamedAndExplained(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range storetest.Cases() {
		assert.False(t, names[c.Name], "%s: the name is taken", c.Name)
		assert.True(t, strings.HasSuffix(c.Explanation, "."), "%s: the rule is a sentence: %q", c.Name, c.Explanation)
		names[c.Name] = true
	}
	assert.Greater(t, len(names), 50)
}

// A store of several feeds passes, too. The two owners of the cases are in different ones.
func TestStoreOfSeveralFeeds(t *testing.T) {
	s := storetest.NewFeeds(memstore.New(nil), memstore.New(nil))
	require.NotEqual(t, s.Locate("acme").Feed, s.Locate("globex").Feed)
	storetest.Run(t, func(*testing.T) latchkey.Store {
		return storetest.NewFeeds(memstore.New(nil), memstore.New(nil))
	})
}

// Every fault fails the cases it names. Without the fault the same wrapper passes them.
func TestBrokenStoresFail(t *testing.T) {
	cases := make(map[string]storetest.Case)
	for _, c := range storetest.Cases() {
		cases[c.Name] = c
	}
	passes := make(map[string]bool)
	for name, f := range faults {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			require.NotEmpty(t, f.fails)
			for _, failing := range f.fails {
				c, ok := cases[failing]
				require.True(t, ok, "there is no case %q", failing)
				if !passes[failing] {
					wrong := runCase(c, func() latchkey.Store { return &faulty{Store: memstore.New(nil)} })
					require.Empty(t, wrong, "%s fails without the fault", failing)
					passes[failing] = true
				}
				// A fault that shows in an interleaving only may need several tries, above all on a busy machine.
				var wrong []string
				for range 50 {
					wrong = runCase(c, func() latchkey.Store {
						s := &faulty{Store: memstore.New(nil)}
						f.seed(s, s.Store)
						return s
					})
					if len(wrong) > 0 {
						break
					}
				}
				assert.NotEmpty(t, wrong, "%s passes although the store %s", failing, name)
				if len(wrong) > 0 {
					t.Logf("%s: %s", failing, wrong[0])
				}
			}
		})
	}
	assert.GreaterOrEqual(t, len(faults), 40)
}
