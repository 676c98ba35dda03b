package harness

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// Run lets a program use the harness as a test does. It calls do, then what Cleanup registered, and stops the servers.
// The first failure ends the process with status 1, as an interrupt does.
func Run(do func(t testing.TB)) {
	t := &program{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		t.end(fmt.Sprint(<-signals))
	}()
	do(t)
	t.end("")
}

// program is the testing.TB of a program. The embedded one is nil: what is not here is not for programs.
type program struct {
	testing.TB
	ctx    context.Context
	cancel context.CancelFunc

	ending   sync.Mutex // never released
	mu       sync.Mutex
	cleanups []func()
}

// end does not return.
func (t *program) end(failure string) {
	t.ending.Lock()
	code := 0
	if failure != "" {
		fmt.Fprintln(os.Stderr, failure)
		code = 1
	}
	t.cancel()
	for code == 0 {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			break
		}
		last := t.cleanups[n-1]
		t.cleanups = slices.Delete(t.cleanups, n-1, n)
		t.mu.Unlock()
		last()
	}
	stopAll()
	os.Exit(code)
}

func (t *program) Helper()                           {}
func (t *program) Name() string                      { return "program" }
func (t *program) Context() context.Context          { return t.ctx }
func (t *program) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (t *program) Log(args ...any)                   { fmt.Fprintln(os.Stderr, args...) }
func (t *program) Errorf(format string, args ...any) { t.end(fmt.Sprintf(format, args...)) }
func (t *program) Error(args ...any)                 { t.end(fmt.Sprintln(args...)) }
func (t *program) Fatalf(format string, args ...any) { t.end(fmt.Sprintf(format, args...)) }
func (t *program) Fatal(args ...any)                 { t.end(fmt.Sprintln(args...)) }
func (t *program) FailNow()                          { t.end("failed") }
func (t *program) Failed() bool                      { return false }

func (t *program) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *program) TempDir() string {
	folder, err := os.MkdirTemp("", "lk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	AtEnd(func() { os.RemoveAll(folder) })
	return folder
}
