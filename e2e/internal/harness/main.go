package harness

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Eventually polls for something that must come.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !condition(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), what)
	}
}

// Sampled says whether to try one of n, or all in the long mode. Which one of each n in a row is chance; how many are tried
// is not.
func Sampled(n int) bool {
	if os.Getenv("LONG") != "" {
		return true
	}
	samples.mu.Lock()
	defer samples.mu.Unlock()
	s := samples.of[n]
	if s.asked%n == 0 {
		s.choice = rand.N(n)
	}
	chosen := s.asked%n == s.choice
	s.asked++
	samples.of[n] = s
	return chosen
}

var samples = struct {
	mu sync.Mutex
	of map[int]struct{ asked, choice int }
}{of: map[int]struct{ asked, choice int }{}}

func Rounds(short, long int) int {
	if os.Getenv("LONG") != "" {
		return long
	}
	return short
}

// Main runs the tests of a package, then stops and removes what they started. A package calls it from its TestMain. A
// process that a test started from its own binary passes through it too, and has nothing to stop.
func Main(m *testing.M) {
	code := m.Run()
	endings.mu.Lock()
	calls := slices.Clone(endings.calls)
	endings.mu.Unlock()
	for _, end := range slices.Backward(calls) {
		end()
	}
	os.Exit(code)
}

var endings struct {
	mu    sync.Mutex
	calls []func()
}

// AtEnd calls end after the last test of the process. What was registered last is called first.
func AtEnd(end func()) {
	endings.mu.Lock()
	defer endings.mu.Unlock()
	endings.calls = append(endings.calls, end)
}

// Path returns the path of an element of the module e2e, from whatever package of it the test is in.
func Path(t testing.TB, elements ...string) string {
	t.Helper()
	folder, err := Root()
	require.NoError(t, err)
	return filepath.Join(append([]string{folder}, elements...)...)
}

// Root finds the folder of go.mod above the working directory, which of a test is its package's.
var Root = sync.OnceValues(func() (string, error) {
	folder, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(folder, "go.mod")); missing == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			err = errors.New("no go.mod above the working directory")
		}
		folder = filepath.Dir(folder)
	}
	return "", err
})

// BeforeMidnight waits for the next day where the present one has less than two minutes left. What is counted by the day
// or the month, in UTC, begins anew then.
func BeforeMidnight(t testing.TB) {
	t.Helper()
	now := time.Now().UTC()
	if left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); left < 2*time.Minute {
		t.Logf("waiting %v for midnight", left)
		time.Sleep(left + time.Second)
	}
}

type LockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *LockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *LockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
