package harness

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// owned are the servers of Own, by the name of the engine.
var owned = map[string]*Engine{}

// Own returns a second server of the same kind, which a test may kill, stall or starve. It is never one that the
// environment names. The tests that use it must not run at the same time.
func (e *Engine) Own(t testing.TB) *Engine {
	t.Helper()
	o := owned[e.Name]
	if o == nil {
		o = e.Another()
		o.Env = ""
		owned[e.Name] = o
	}
	o.once.Do(func() { o.failed = o.run() })
	require.NoError(t, o.failed)
	if o.Dialect == latchkey.MySQL {
		_, err := o.Admin.Exec("SET GLOBAL innodb_autoextend_increment = 1") // for a test that fills its file
		require.NoError(t, err)
	}
	return o
}

// Kill9 kills all processes of the server with SIGKILL, and waits for its end.
func (e *Engine) Kill9(t testing.TB) {
	t.Helper()
	// The parent first, or it cleans up after its children.
	for _, p := range append([]*os.Process{e.Process.Process}, childrenOf(e.Process.Process.Pid)...) {
		_ = p.Kill()
	}
	<-e.Ended
}

// childrenOf returns the processes that one has started. Those of PostgreSQL are in process groups of their own.
func childrenOf(pid int) (children []*os.Process) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		_, after, found := strings.Cut(string(text), ") ") // behind the name, which may hold anything
		fields := strings.Fields(after)
		if err != nil || !found || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			if p, err := os.FindProcess(child); err == nil {
				children = append(children, p)
			}
		}
	}
	return children
}

// Restart starts the server again on the same folder, with the same arguments and more. It tries again for some
// seconds, as a process that was killed may still hold the folder.
func (e *Engine) Restart(t testing.TB, more ...string) {
	t.Helper()
	var err error
	program, args := e.Process.Path, slices.Clip(e.Process.Args[1:])
	for range 50 {
		require.NoError(t, e.Serve(program, append(args, more...)...))
		if err = e.Ready(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.NoError(t, err)
}
