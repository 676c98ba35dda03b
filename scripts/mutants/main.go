// Command mutants runs mutation tests: it removes guards from the code, one at a time, and requires that a test fails.
//
// The list mutants.txt beside it holds the mutants: a file, a text in it, another text in its place, and tests. The
// program builds the tests of each package once, by an overlay that holds every mutant, all of them off. No file
// changes. Then it runs the tests that the list names with one mutant on at a time. A mutant is killed if they fail, or
// if the process crashes. If it survives, no test checks that guard.
//
// A mutant that survives is tried again, twice at most: what its tests see may depend on how goroutines are scheduled.
// It passes if a later try kills it. Its line then tells at which try, and it is named at the end of the run. The tests
// of such a mutant are to be mended: they do not always notice that the guard is gone. A mutant that survives all
// tries fails the run.
//
// The run also fails if a text is not in its file exactly once, if a mutant does not build, or if its tests fail
// without any mutant. With -executed it fails if the tests of a mutant do not execute the statement that it changes,
// which is told of those that a sample leaves out, too.
//
//	go run ./scripts/mutants                   all mutants
//	go run ./scripts/mutants -only verify.go   those whose file, old text or tests match
//	go run ./scripts/mutants -sample 300       that many of them, drawn with a seed that is printed
//
// A sample still compiles all mutants. -seed repeats the draw of an earlier run. -repeat 10 runs each mutant ten times,
// to find whether its tests always notice it.
//
// A run of tests that does not end within -timeout is stopped and counts as failed.
//
// With -generate the program does not read the list. It makes mutants of the files of the module that match, by
// operators on conditions, comparisons, statements, literals and results, and runs each against those tests of its
// package that reach its statement. It prints the score, and those that survive in the format of equivalents.txt, the
// list of mutants that are known to change nothing. -tests names directories of more tests, which may be in other
// modules. -each draws that many mutants of each file. With -budget a mutant survives, too, if the tests that fit into
// that time do not fail, so the score is a lower bound. -report writes the score of each file into a document.
//
//	go run ./scripts/mutants -generate '^verify.go$' -sample 200
//	go run ./scripts/mutants -generate '^sqlstore/' -tests e2e/sqlite -each 50 -seed 1 -report docs/mutation-score.md
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// errFailed is returned by a run that completed and printed failures.
var errFailed = errors.New("some failed")

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	root := flags.String("root", ".", "the directory that the paths in the list are relative to")
	list := flags.String("list", "scripts/mutants/mutants.txt", "the list, relative to root")
	only := flags.String("only", "", "a regular expression: only those whose file, old text or tests match")
	sample := flags.Int("sample", 0, "how many to run, drawn at random; 0: all")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "of the draw")
	workers := flags.Int("workers", runtime.GOMAXPROCS(0), "how many runs of tests at a time")
	timeout := flags.Duration("timeout", 5*time.Minute, "for one run of tests")
	repeat := flags.Int("repeat", 1, "how often to run each mutant")
	executed := flags.Bool("executed", false, "fail, too, if the tests of any mutant do not execute its statement")
	files := flags.String("generate", "", "a regular expression: mutants of these files by operators, not the list")
	tests := flags.String("tests", "", "with -generate: directories of more tests, beside that of the file, with commas")
	each := flags.Int("each", 0, "with -generate: how many mutants of each file, drawn at random; 0: all")
	budget := flags.Duration("budget", 0, "with -generate: how long the tests of one mutant may take; 0: no limit")
	report := flags.String("report", "", "with -generate: the file, relative to root, whose table of scores is updated")
	equivalents := flags.String("equivalents", "scripts/mutants/equivalents.txt", "the list of equivalent mutants")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := filepath.Abs(*root)
	if err != nil {
		return err
	}
	if *files != "" {
		r := &runner{dir: dir, list: "generated", timeout: *timeout, workers: *workers, out: out,
			built: map[string]string{}}
		return r.generate(ctx, choice{files: *files, tests: *tests, equivalents: *equivalents, only: *only,
			sample: *sample, each: *each, seed: *seed, budget: *budget, report: *report})
	}
	text, err := os.ReadFile(filepath.Join(dir, *list))
	if err != nil {
		return err
	}
	picked, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", *list, err)
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	var errs []error
	for i := range picked {
		errs = append(errs, picked[i].locate(dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s is not in step with the code:\n%w", *list, err)
	}
	picked = slices.DeleteFunc(picked, func(m mutant) bool {
		return !pattern.MatchString(m.file + "\n" + m.old + "\n" + m.tests)
	})
	if len(picked) == 0 {
		return errors.New("no mutant to run")
	}
	work, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r := &runner{dir: dir, list: filepath.Join(dir, *list), work: work, timeout: *timeout, workers: *workers, out: out,
		mutants: picked, executed: *executed, built: map[string]string{}}
	if 0 < *sample && *sample < len(picked) {
		fmt.Fprintf(out, "a sample of %d of %d mutants: -sample %d -seed %d\n", *sample, len(picked), *sample, *seed)
		r.drawn = rand.New(rand.NewPCG(*seed, 0)).Perm(len(picked))[:*sample]
	} else {
		for i := range picked {
			r.drawn = append(r.drawn, i)
		}
	}
	r.drawn = slices.Repeat(r.drawn, max(1, *repeat))
	return r.run(ctx)
}

// runner runs mutants.
type runner struct {
	dir, list, work string
	timeout         time.Duration
	workers         int
	mutants         []mutant
	executed        bool
	drawn           []int             // indexes of those that are run; nil: all
	built           map[string]string // the test binary of each package

	mu           sync.Mutex
	out          io.Writer
	passed, done int
	faults       []string
	late         []string       // those that were killed by a later try than the first
	kills        map[string]int // how many mutants of a file a test killed, by the file, a blank and the test
}

func (r *runner) run(ctx context.Context) error {
	if err := r.build(ctx); err != nil {
		return err
	}
	if err := r.unchanged(ctx); err != nil {
		return err
	}
	inParallel(r.workers, len(r.drawn), func(i int) {
		if ctx.Err() == nil {
			r.report(ctx, &r.mutants[r.drawn[i]])
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range r.faults {
		fmt.Fprintf(r.out, "FAILED: %s\n", f)
	}
	for _, l := range r.late {
		fmt.Fprintf(r.out, "LATE: %s\n", l)
	}
	if len(r.late) > 0 {
		fmt.Fprintf(r.out, "%d survived at first, named above as LATE: mend their tests\n", len(r.late))
	}
	fmt.Fprintf(r.out, "%d passed, %d failed\n", r.passed, len(r.faults))
	if len(r.faults) > 0 {
		return errFailed
	}
	return nil
}

// build builds the test binary of each package that mutants were drawn for, with all mutants of that package. Packages
// whose mutants were not drawn are only compiled.
func (r *runner) build(ctx context.Context) error {
	byTests, byFile := map[string][]*mutant{}, map[string][]*mutant{}
	var order, rest []string
	for i := range r.mutants {
		m := &r.mutants[i]
		for _, pkg := range append([]string{m.pkg}, m.more...) {
			if r.runs(i) && !slices.Contains(order, pkg) {
				order = append(order, pkg)
			}
			byTests[pkg] = append(byTests[pkg], m)
		}
	}
	for i := range r.mutants {
		if m := &r.mutants[i]; !slices.Contains(order, m.pkg) {
			dir := path.Dir(m.file)
			if byFile[dir] == nil {
				rest = append(rest, dir)
			}
			byFile[dir] = append(byFile[dir], m)
		}
	}
	for _, dir := range rest {
		overlay, err := r.prepared(byFile[dir])
		if err != nil {
			return err
		}
		output, err := command(ctx, filepath.Join(r.dir, dir), nil, "go", "build", "-gcflags=-e", "-overlay", overlay, "-o",
			os.DevNull, ".")
		if err != nil {
			return fmt.Errorf("%s does not build: %w\n%s", dir, err, end(output))
		}
	}
	for _, pkg := range order {
		overlay, err := r.prepared(byTests[pkg])
		if err != nil {
			return err
		}
		work := filepath.Dir(overlay)
		r.built[pkg] = filepath.Join(work, "x.test.exe") // Windows needs the suffix, other systems accept it
		output, err := command(ctx, filepath.Join(r.dir, pkg), nil, "go", "test", "-c", "-vet=off", "-gcflags=-e",
			"-ldflags=-s -w", "-overlay", overlay, "-o", r.built[pkg], ".")
		if err != nil {
			return fmt.Errorf("the tests of %s do not build: %w\n%s", pkg, err, end(output))
		}
	}
	return nil
}

// runs reports whether the tests of a mutant run.
func (r *runner) runs(i int) bool {
	return r.drawn == nil || r.executed || slices.Contains(r.drawn, i)
}

// prepared writes the overlay file of some mutants into a new folder, and returns its name.
func (r *runner) prepared(list []*mutant) (string, error) {
	work, err := os.MkdirTemp(r.work, "")
	if err != nil {
		return "", err
	}
	return r.overlay(work, list)
}

// overlay writes the source files that hold the mutants, and returns the name of the overlay file for go test.
func (r *runner) overlay(work string, list []*mutant) (string, error) {
	byFile := map[string][]*mutant{}
	for _, m := range list {
		byFile[m.file] = append(byFile[m.file], m)
	}
	replace := map[string]string{}
	put := func(file, text string) error {
		if replace[file] == "" {
			replace[file] = filepath.Join(work, fmt.Sprintf("%d.go", len(replace)))
		}
		return os.WriteFile(replace[file], []byte(text), 0o600)
	}
	for name, mutants := range byFile {
		file := filepath.Join(r.dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, text, parser.PackageClauseOnly)
		if err != nil {
			return "", err
		}
		if err := put(file, numbered(file, r.list, string(text), mutants)); err != nil {
			return "", err
		}
		if err := put(filepath.Join(filepath.Dir(file), variable+".go"), chooser(tree.Name.Name)); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(work, "overlay.json")
	return name, os.WriteFile(name, text, 0o600)
}

// unchanged runs the tests of the mutants that were drawn, with no mutant on. They must pass, and each pattern must
// match a test. If executed is set, it runs those of all mutants, and it is a fault of a mutant if its tests do not
// execute the statement that it changes.
func (r *runner) unchanged(ctx context.Context) error {
	type suite struct{ pkg, tests string }
	var suites []suite
	for i, m := range r.mutants {
		if s := (suite{m.pkg, m.tests}); r.runs(i) && !slices.Contains(suites, s) {
			suites = append(suites, s)
		}
	}
	var mu sync.Mutex
	var bad []error
	inParallel(r.workers, len(suites), func(i int) {
		s, notes := suites[i], filepath.Join(r.work, fmt.Sprint("notes", i))
		output, err := r.test(ctx, s.pkg, s.tests, -1, traceFile+"="+notes)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			err = fmt.Errorf("-run '%s' of %s fails without any change: %w\n%s", s.tests, s.pkg, err, end(output))
		case !passes.MatchString(output):
			err = fmt.Errorf("-run '%s' of %s runs no test that passes", s.tests, s.pkg)
		default:
			of := traced(notes)
			for j := range r.mutants {
				if m := &r.mutants[j]; r.executed && (suite{m.pkg, m.tests}) == s && !of[m.number] {
					mu.Lock()
					r.faults = append(r.faults, fmt.Sprintf("%s: -run '%s' of %s never executes it", m, s.tests, s.pkg))
					mu.Unlock()
				}
			}
		}
		if err == nil {
			return
		}
		mu.Lock()
		bad = append(bad, err)
		mu.Unlock()
	})
	if len(bad) == 0 {
		fmt.Fprintf(r.out, "%d runs of tests pass without any change\n", len(suites))
	}
	for _, f := range r.faults {
		fmt.Fprintln(r.out, f)
	}
	return errors.Join(append(bad, ctx.Err())...)
}

var (
	passes = regexp.MustCompile(`(?m)^--- PASS: `)
	fails  = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	hangs  = regexp.MustCompile(`(?m)^panic: test timed out`)
	panics = regexp.MustCompile(`(?m)^(?:panic|fatal error|SIG[A-Z]+): (.*)$`)
)

// tries is how often a mutant that survives is tried.
const tries = 3

func (r *runner) report(ctx context.Context, m *mutant) {
	began, n := time.Now(), 1
	how, err := r.try(ctx, m)
	for ; err != nil && ctx.Err() == nil && n < tries; n++ {
		how, err = r.try(ctx, m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	r.done++
	switch {
	case err != nil:
		how = err.Error()
		r.faults = append(r.faults, m.String()+": "+how)
	case n > 1:
		how = fmt.Sprintf("%s, at try %d", how, n)
		r.late = append(r.late, m.String()+": "+how)
		r.passed++
	default:
		r.passed++
	}
	fmt.Fprintf(r.out, "%d/%d %s: %s (%.1f s)\n", r.done, len(r.drawn), m, how, time.Since(began).Seconds())
}

// try runs the tests with a mutant on and returns how it was killed. It returns an error if it survives.
func (r *runner) try(ctx context.Context, m *mutant) (how string, err error) {
	output, err := r.test(ctx, m.pkg, m.tests, m.number)
	switch {
	case err == nil:
		return "", fmt.Errorf("it survives -run '%s' of %s", m.tests, m.pkg)
	case hangs.MatchString(output):
		return "killed: the tests do not end", nil
	}
	for _, re := range []*regexp.Regexp{fails, panics} {
		if found := re.FindStringSubmatch(output); found != nil {
			return "killed by " + found[1], nil
		}
	}
	return "", fmt.Errorf("the tests ended without a failed test or a panic: %w\n%s", err, end(output))
}

// test runs tests in the directory of their package with one mutant on. Number -1: none.
func (r *runner) test(ctx context.Context, pkg, tests string, number int, env ...string) (output string, err error) {
	env = append(env, fmt.Sprintf("%s=%d", environment, number))
	return command(ctx, filepath.Join(r.dir, pkg), env, r.built[pkg], "-test.run", tests, "-test.v",
		"-test.failfast", "-test.timeout", r.timeout.String())
}

func command(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	// Random inputs are the same in each run: no mutant is killed by chance.
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, append(append(os.Environ(), "SEEDS=fixed"), env...), 10*time.Second
	output, err := cmd.CombinedOutput()
	return string(bytes.TrimSpace(output)), err
}

// end returns the last part of an output.
func end(output string) string {
	const most = 3000
	if n := len(output); n > most {
		return "…" + output[n-most:]
	}
	return output
}

// inParallel calls f with 0 to n-1, from at most the given number of goroutines, and waits.
func inParallel(workers, n int, f func(int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, min(workers, n)) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
