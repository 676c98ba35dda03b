package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// generated returns the mutants of the files of the module whose names match a pattern, but for those that are known to
// be equivalent.
func generated(dir string, files *regexp.Regexp, known []equivalent) ([]mutant, error) {
	var list []mutant
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if file != "." && (err == nil || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir // another module
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || !files.MatchString(file) {
			return nil
		}
		of, err := generate(dir, file)
		list = append(list, of...)
		return err
	})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(m mutant) bool {
		return slices.ContainsFunc(known, func(e equivalent) bool { return e.is(&m) })
	})
	return list, nil
}

// generate makes mutants and runs a sample of them.
func (r *runner) generate(ctx context.Context, files, tests, equivalents, only string, sample int, seed uint64) error {
	pattern, err := regexp.Compile(files)
	if err != nil {
		return err
	}
	narrow, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(r.dir, equivalents))
	if err != nil {
		return err
	}
	known, err := parseEquivalents(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", equivalents, err)
	}
	list, err := generated(r.dir, pattern, known)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(m mutant) bool {
		return !narrow.MatchString(m.function + "\n" + m.old + "\n" + m.new)
	})
	fmt.Fprintf(r.out, "# %d mutants of %s: -sample %d -seed %d\n", len(list), files, sample, seed)
	if 0 < sample && sample < len(list) {
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:sample]
	}
	if len(list) == 0 {
		return errors.New("no mutant to run")
	}
	for i := range list {
		list[i].number, list[i].at = i+1, i+1
		if tests != "" {
			list[i].pkg = tests
		}
	}
	if r.work, err = os.MkdirTemp("", "mutants"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	r.mutants = list
	return r.score(ctx)
}

// score runs generated mutants and reports which survive.
func (r *runner) score(ctx context.Context) error {
	if err := r.compile(ctx); err != nil {
		return err
	}
	if err := r.build(ctx); err != nil {
		return err
	}
	suites := map[string][]suite{}
	for pkg := range r.built {
		list, err := r.trace(ctx, pkg)
		if err != nil {
			return err
		}
		suites[pkg] = list
	}
	began, survived := time.Now(), 0
	inParallel(r.workers, len(r.mutants), func(i int) {
		m := &r.mutants[i]
		how, killed := r.hunt(ctx, m, suites[m.pkg])
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if r.done++; killed {
			r.passed++
			return
		}
		survived++
		fmt.Fprintf(r.out, "\n# line %d; %s\n%s %s\n-%s\n+%s\n", m.line, how, m.file, m.function, m.old, m.new)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "\n%d of %d killed, %.1f %%, in %.0f s\n", r.passed, r.done,
		100*float64(r.passed)/float64(r.done), time.Since(began).Seconds())
	if survived > 0 {
		return errFailed
	}
	return nil
}

var compiled = regexp.MustCompile(`@(\d+)/`)

// compile drops the mutants that do not compile.
func (r *runner) compile(ctx context.Context) error {
	for round := range 4 {
		work := filepath.Join(r.work, fmt.Sprint("compile", round))
		if err := os.Mkdir(work, 0o700); err != nil {
			return err
		}
		var all []*mutant
		var dirs []string
		for i := range r.mutants {
			all = append(all, &r.mutants[i])
			if d := "./" + filepath.ToSlash(filepath.Dir(r.mutants[i].file)); !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
		overlay, err := r.overlay(work, all)
		if err != nil {
			return err
		}
		args := append([]string{"build", "-gcflags=-e", "-overlay", overlay}, dirs...)
		output, err := command(ctx, r.dir, nil, "go", args...)
		if err == nil {
			return nil
		}
		bad := map[int]bool{}
		for _, found := range compiled.FindAllStringSubmatch(output, -1) {
			n, _ := strconv.Atoi(found[1])
			bad[n] = true
		}
		if len(bad) == 0 {
			return fmt.Errorf("the mutants do not build: %w\n%s", err, end(output))
		}
		r.mutants = slices.DeleteFunc(r.mutants, func(m mutant) bool { return bad[m.number] })
	}
	return errors.New("mutants still do not build after four rounds")
}

// suite is one test, how long it takes, and what it reaches.
type suite struct {
	name    string
	took    time.Duration
	reaches map[int]bool // the numbers of the mutants whose statement it reaches
}

// traced returns the numbers in a file of notes.
func traced(file string) map[int]bool {
	of := map[int]bool{}
	read, _ := os.ReadFile(file) // nothing was reached if there is none
	for _, n := range bytes.Fields(read) {
		number, _ := strconv.Atoi(string(n))
		of[number] = true
	}
	return of
}

// trace runs each test of a package by itself, without a mutant, and finds which of the statements with mutants
// it reaches. Tests that fail are left out, and named.
func (r *runner) trace(ctx context.Context, pkg string) ([]suite, error) {
	output, err := command(ctx, filepath.Join(r.dir, pkg), nil, r.built[pkg], "-test.list", "^(Test|Example|Fuzz)")
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", pkg, err, end(output))
	}
	names := strings.Fields(output)
	var mu sync.Mutex
	var list []suite
	inParallel(r.workers, len(names), func(i int) {
		file := filepath.Join(r.work, fmt.Sprint(filepath.Base(pkg), "trace", i))
		began := time.Now()
		_, err := command(ctx, filepath.Join(r.dir, pkg), []string{environment + "=-1", traceFile + "=" + file},
			r.built[pkg], "-test.run", "^"+names[i]+"$", "-test.timeout", "10m")
		s := suite{name: names[i], took: time.Since(began), reaches: traced(file)}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			fmt.Fprintf(r.out, "# %s fails without any change\n", names[i])
		} else if len(s.reaches) > 0 {
			list = append(list, s)
		}
	})
	slices.SortFunc(list, func(a, b suite) int { return cmp.Compare(a.took, b.took) })
	return list, ctx.Err()
}

// hunt runs the tests that reach the statement of a mutant, the quickest first: a few, then more at a time.
func (r *runner) hunt(ctx context.Context, m *mutant, suites []suite) (how string, killed bool) {
	var names []string
	var takes time.Duration
	for _, s := range suites {
		if s.reaches[m.number] {
			names, takes = append(names, s.name), takes+s.took
		}
	}
	for from, n := 0, 10; from < len(names); from, n = from+n, 4*n {
		group := names[from:min(from+n, len(names))]
		_, err := command(ctx, filepath.Join(r.dir, m.pkg), []string{fmt.Sprintf("%s=%d", environment, m.number)},
			r.built[m.pkg], "-test.run", "^("+strings.Join(group, "|")+")$", "-test.failfast", "-test.timeout",
			(r.timeout + 4*takes).String())
		if err != nil {
			return "", true
		}
	}
	return fmt.Sprintf("of %d tests none fails", len(names)), false
}
