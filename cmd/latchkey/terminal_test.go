//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// A terminal is a pseudo terminal with the command in it.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	side *os.File

	mu    sync.Mutex
	shown bytes.Buffer
	ended chan struct{}
}

// onTerminal starts the command in a terminal of 70 columns.
func onTerminal(t *testing.T, dir string, env []string, args ...string) *terminal {
	t.Helper()
	cmd := exec.Command(binary(), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append([]string{"LATCHKEY_SETTINGS=", "TERM=xterm", "NO_COLOR="}, env...)...)
	side, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 70})
	require.NoError(t, err)
	term := &terminal{t: t, cmd: cmd, side: side, ended: make(chan struct{})}
	go func() {
		defer close(term.ended)
		b := make([]byte, 4096)
		for {
			n, err := side.Read(b)
			term.mu.Lock()
			term.shown.Write(b[:n])
			term.mu.Unlock()
			if err != nil { // Linux says EIO at the end
				return
			}
		}
	}()
	t.Cleanup(func() { side.Close() })
	return term
}

func (term *terminal) screen() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return strings.ReplaceAll(term.shown.String(), "\r\n", "\n")
}

// until waits for a text.
func (term *terminal) until(text string) {
	term.t.Helper()
	require.Eventually(term.t, func() bool { return strings.Contains(term.screen(), text) }, time.Minute,
		5*time.Millisecond, "%q is not shown", text)
}

func (term *terminal) typed(text string) {
	_, err := term.side.WriteString(text)
	require.NoError(term.t, err)
}

// exit waits for the end, and returns the exit code.
func (term *terminal) exit() int {
	term.t.Helper()
	_ = term.cmd.Wait()
	select {
	case <-term.ended:
	case <-time.After(time.Minute):
		term.t.Fatal("the terminal does not end")
	}
	return term.cmd.ProcessState.ExitCode()
}

// A key that is typed is not shown.
func TestTypedKeyIsNotShown(t *testing.T) {
	dir := t.TempDir()
	key := strings.TrimSpace(must(t, dir, "", "init", "-owner", "acme", "-first-key", "admin"))
	term := onTerminal(t, dir, nil, "verify")
	term.until("key (nothing is shown): ")
	term.typed(key + "\n")
	require.Equal(t, exitDone, term.exit(), term.screen())
	require.Contains(t, term.screen(), "admin")
	require.NotContains(t, term.screen(), key)
}

// Ctrl-C ends the command, and the terminal shows again what is typed.
func TestCtrlC(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	for _, args := range [][]string{{"verify"}, {"revoke", "-stdin"}} {
		term := onTerminal(t, dir, nil, args...)
		term.until("key (nothing is shown): ")
		term.typed("\x03")
		require.Equal(t, exitInterrupted, term.exit(), term.screen())
		require.Contains(t, term.screen(), "interrupted: what was written stays written")
	}
	// a pipe that says nothing
	cmd := exec.Command(binary(), "verify")
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	require.NoError(t, cmd.Start())
	waitForRead(t, cmd.Process.Pid)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
}

// waitForRead waits until a process has opened the database, which it does before it reads standard input.
func waitForRead(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		out, err := exec.Command("ls", "-l", "/proc/"+itoa(pid)+"/fd").Output()
		return err == nil && bytes.Contains(out, []byte("latchkey.db"))
	}, time.Minute, 5*time.Millisecond)
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestConfirmation(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme", "-first-key", "admin")
	for answer, code := range map[string]int{"n\n": exitRefused, "\n": exitRefused, "\x04": exitRefused,
		"\x03": exitInterrupted} {
		term := onTerminal(t, dir, nil, "revoke", "-all")
		term.until(`Revoke 1 token of the owner "acme"? [y/N] `)
		term.typed(answer)
		require.Equal(t, code, term.exit(), "%q: %s", answer, term.screen())
		require.Contains(t, must(t, dir, "", "list", "-state", "active"), "admin")
	}
	term := onTerminal(t, dir, nil, "revoke", "-all")
	term.until("[y/N] ")
	term.typed("y\n")
	require.Equal(t, exitDone, term.exit(), term.screen())
	require.NotContains(t, must(t, dir, "", "list", "-state", "active"), "admin")
}

// A terminal has colours unless NO_COLOR is set, and no line is wider than it. A pipe has neither.
func TestTablesOnATerminal(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	must(t, dir, "", "issue", "-name", "a rather long name that would not fit beside all of the other columns")
	for _, c := range []struct {
		env     string
		colours bool
	}{{"NO_COLOR=", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		term := onTerminal(t, dir, []string{c.env}, "list")
		require.Equal(t, exitDone, term.exit())
		require.Equal(t, c.colours, strings.Contains(term.screen(), "\x1b["), c.env)
		if !c.colours {
			for line := range strings.Lines(term.screen()) {
				require.LessOrEqual(t, columns(strings.TrimSuffix(line, "\n")), 70, line)
			}
			require.Contains(t, term.screen(), "…")
			require.Regexp(t, `(?m)^[0-9a-f-]{36} `, term.screen(), "the id is whole")
		}
	}
	plain := must(t, dir, "", "list")
	require.NotContains(t, plain, "\x1b")
	require.Contains(t, plain, "all of the other columns")
}

// A secret that cannot be written is not lost in silence: the token is named, so that it can be rotated or revoked.
func TestSecretThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	for _, args := range [][]string{{"issue", "-name", "x"}, {"issue", "-name", "x", "-json"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		require.NoError(t, err)
		defer full.Close()
		cmd := exec.Command(binary(), args...)
		var errs bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, full, &errs
		_ = cmd.Run()
		require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), errs.String())
		require.Regexp(t, `the token [0-9a-f-]{36} was made, and its secret could not be written: .*no space left`,
			errs.String())
		require.NotContains(t, errs.String(), "ak_")
	}
}

// A secret on a terminal stands in a line of its own.
func TestSecretOnATerminal(t *testing.T) {
	dir := t.TempDir()
	must(t, dir, "", "init", "-owner", "acme")
	term := onTerminal(t, dir, nil, "issue", "-name", "x")
	require.Equal(t, exitDone, term.exit())
	require.Regexp(t, `(?m)^ak_[0-9A-Za-z]{40}$`, term.screen())
}
