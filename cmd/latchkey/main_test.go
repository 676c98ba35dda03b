package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// binDir holds the command.
var binDir string

// The command of the tests is this test's own binary, by another name: a process of its own that runs main. So what is
// tested is what is being built here, also with -race, -cover and an overlay. e2e/command runs what "go build" makes.
func TestMain(m *testing.M) {
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "latchkey" {
		main()
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "latchkey-cmd")
	if err == nil {
		defer os.RemoveAll(dir)
		binDir = dir
		err = installTestBinary()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func installTestBinary() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.Link(self, binary()); err == nil {
		return nil
	}
	from, err := os.Open(self) // on another file system
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(binary(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

func binary() string {
	path := filepath.Join(binDir, "latchkey")
	if filepath.Separator == '\\' {
		path += ".exe"
	}
	return path
}

// Each file of testdata/script is a story: commands, and what they print. Besides the commands of testscript there are
//
//	exits CODE COMMAND…  runs a command that must end with this exit code; stdout and stderr hold what it printed
//	save NAME            sets a variable to the first line of stdout
//	id NAME              sets a variable to the "id" of the first line of stdout, which is JSON
//	mode FILE MODE       checks the permissions of a file, in octal, where the system has any
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", binDir+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("LATCHKEY_SETTINGS", "")
			for _, name := range []string{"MUTANT", "GOCOVERDIR"} { // scripts/mutants, and go test -cover
				if value, set := os.LookupEnv(name); set {
					env.Setenv(name, value)
				}
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": scriptExits,
			"save":  scriptSave,
			"id":    scriptID,
			"mode":  scriptMode,
		},
	})
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

func scriptSave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: save NAME")
	}
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv(args[0], line)
}

func scriptID(ts *testscript.TestScript, neg bool, args []string) {
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	var v struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(line), &v); err != nil || v.ID == "" || neg || len(args) != 1 {
		ts.Fatalf("no id in %q: %v", line, err)
	}
	ts.Setenv(args[0], v.ID)
}

func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if mode := fmt.Sprintf("%o", info.Mode().Perm()); mode != args[1] && runtime.GOOS != "windows" {
		ts.Fatalf("%s has the mode %s, want %s", args[0], mode, args[1])
	}
}

// result is what a run of the command printed, and its exit code.
type result struct {
	out, err string
	code     int
}

// try runs the command in a folder, with the lines of a text on standard input.
func try(t *testing.T, dir, stdin string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), binary(), args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "LATCHKEY_SETTINGS=")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	r := result{out: out.String(), err: errs.String()}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else {
		require.NoError(t, err)
	}
	return r
}

// must is try for a run that has to succeed.
func must(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	r := try(t, dir, stdin, args...)
	require.Zero(t, r.code, "latchkey %s\n%s%s", strings.Join(args, " "), r.out, r.err)
	return r.out
}
