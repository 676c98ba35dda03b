package harness

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Main runs the tests of a package, then stops and removes what they started. It does not return. A package calls it
// from its TestMain. A process that a test started from its own binary calls it too, and has nothing to stop.
func Main(m *testing.M) {
	code := m.Run()
	if code != 0 && seeded.Load() {
		fmt.Printf("SEED=%d draws the same samples\n", Seed())
	}
	stopAll()
	os.Exit(code)
}

// stopAll makes the calls that AtEnd registered.
func stopAll() {
	endings.mu.Lock()
	calls := slices.Clone(endings.calls)
	endings.mu.Unlock()
	for _, end := range slices.Backward(calls) {
		end()
	}
}

var endings struct {
	mu    sync.Mutex
	calls []func()
}

// AtEnd registers a call that Main makes after the last test, in reverse order of registration. It may be called by
// several goroutines at once.
func AtEnd(end func()) {
	endings.mu.Lock()
	defer endings.mu.Unlock()
	endings.calls = append(endings.calls, end)
}

// Path returns the absolute path of a file, given by its elements below the folder of module e2e.
func Path(t testing.TB, elements ...string) string {
	t.Helper()
	folder, err := Root()
	require.NoError(t, err)
	return filepath.Join(append([]string{folder}, elements...)...)
}

// Root returns the folder of module e2e: the nearest one with a go.mod at or above the working directory. Of a test
// that is the folder of its package.
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

// BeforeMidnight waits for the next day, in UTC, if less than two minutes of this one are left. It is for tests of
// what is counted by the day or the month.
func BeforeMidnight(t testing.TB) {
	t.Helper()
	now := time.Now().UTC()
	if left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); left < 2*time.Minute {
		t.Logf("waiting %v for midnight", left)
		time.Sleep(left + time.Second)
	}
}

// Eventually polls until condition holds, and fails the test with what after three minutes.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !condition(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), what)
	}
}

// Seed is what samples are drawn with: the number in SEED, or a random one. Main prints it after a test that failed.
func Seed() uint64 {
	seeded.Store(true)
	return seed()
}

var (
	seeded atomic.Bool
	seed   = sync.OnceValue(func() uint64 {
		text := os.Getenv("SEED")
		if text == "" {
			return maphash.String(maphash.MakeSeed(), "") // a random number
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			panic(fmt.Sprintf("SEED: %v", err))
		}
		return n
	})
)

// Drawn returns random numbers of Seed for what has that name. They do not depend on what was drawn for another name,
// so a test that runs alone draws what it drew among others.
func Drawn(name string) *rand.Rand {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	return rand.New(rand.NewPCG(Seed(), hash.Sum64()))
}

// Sampled reports whether to try this case, of which there are many: one of each n in a row, drawn, or all with LONG=1.
// The number of cases tried is not random.
func Sampled(n int) bool {
	if os.Getenv("LONG") != "" {
		return true
	}
	samples.mu.Lock()
	defer samples.mu.Unlock()
	s := samples.of[n]
	if s.asked%n == 0 {
		s.choice = Drawn(fmt.Sprintf("%d of %d", s.asked, n)).IntN(n)
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

// Rounds returns short, or long with LONG=1.
func Rounds(short, long int) int {
	if os.Getenv("LONG") != "" {
		return long
	}
	return short
}

// LockedBuffer is a buffer that several goroutines may use at once. The zero value is empty.
type LockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends p.
func (l *LockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what has been written so far.
func (l *LockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
