package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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

// generated returns the mutants of the files of the module whose names match a pattern.
func generated(dir string, files *regexp.Regexp) ([]mutant, error) {
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
	return list, err
}

// choice is which mutants are made of files, and how they are tried.
type choice struct {
	files, tests, equivalents, only string
	sample, each                    int
	seed                            uint64
	budget                          time.Duration // for the tests of one mutant; 0: none
	report                          string
}

// draw returns the flags that repeat the draw.
func (c *choice) draw() string {
	var b strings.Builder
	if c.tests != "" {
		fmt.Fprintf(&b, "-tests %s ", c.tests)
	}
	if c.each > 0 {
		fmt.Fprintf(&b, "-each %d -seed %d ", c.each, c.seed)
	}
	if c.budget > 0 {
		fmt.Fprintf(&b, "-budget %s ", c.budget)
	}
	return strings.TrimSpace(b.String())
}

// drawn returns at most n mutants of each file, the same for the same seed whichever other files there are.
func drawn(list []mutant, n int, seed uint64) []mutant {
	byFile := map[string][]mutant{}
	var files []string
	for _, m := range list {
		if byFile[m.file] == nil {
			files = append(files, m.file)
		}
		byFile[m.file] = append(byFile[m.file], m)
	}
	list = nil
	for _, file := range files {
		of := byFile[file]
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
		list = append(list, of[:min(n, len(of))]...)
	}
	return list
}

// generate makes mutants and runs a sample of them.
func (r *runner) generate(ctx context.Context, c choice) error {
	if c.report != "" && (c.only != "" || c.sample > 0) {
		return errors.New("a report is of whole files: not with -only or -sample")
	}
	pattern, err := regexp.Compile(c.files)
	if err != nil {
		return err
	}
	narrow, err := regexp.Compile(c.only)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(r.dir, c.equivalents))
	if err != nil {
		return err
	}
	known, err := parseEquivalents(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", c.equivalents, err)
	}
	list, err := generated(r.dir, pattern)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(m mutant) bool {
		return !narrow.MatchString(m.function + "\n" + m.old + "\n" + m.new)
	})
	fmt.Fprintf(r.out, "# %d mutants of %s: -sample %d -each %d -seed %d\n", len(list), c.files, c.sample, c.each, c.seed)
	scores := map[string]*score{}
	for _, m := range list {
		if scores[m.file] == nil {
			scores[m.file] = &score{file: m.file, draw: c.draw(), date: time.Now().Format(time.DateOnly)}
		}
		scores[m.file].made++
	}
	for _, e := range known {
		if s := scores[e.file]; s != nil {
			s.equivalent++
		}
	}
	if c.each > 0 {
		list = drawn(list, c.each, c.seed)
	}
	if 0 < c.sample && c.sample < len(list) {
		rand.New(rand.NewPCG(c.seed, 0)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:c.sample]
	}
	// After the draw, so that an entry more or less of the list does not alter which others are drawn.
	list = slices.DeleteFunc(list, func(m mutant) bool {
		return slices.ContainsFunc(known, func(e equivalent) bool { return e.is(&m) })
	})
	if len(list) == 0 {
		return errors.New("no mutant to run")
	}
	for i := range list {
		list[i].number, list[i].at = i+1, i+1
		if c.tests != "" {
			of := list[i].pkg
			list[i].more = slices.DeleteFunc(strings.Split(c.tests, ","), func(dir string) bool { return dir == of })
		}
	}
	if r.work, err = os.MkdirTemp("", "mutants"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	r.mutants = list
	err = r.score(ctx, scores, c.budget)
	if c.report == "" || ctx.Err() != nil || err != nil && !errors.Is(err, errFailed) {
		return err
	}
	return errors.Join(err, update(filepath.Join(r.dir, c.report), scores))
}

// score runs generated mutants, reports which survive, and adds to the scores of their files.
func (r *runner) score(ctx context.Context, scores map[string]*score, budget time.Duration) error {
	if err := r.compile(ctx); err != nil {
		return err
	}
	if err := r.build(ctx); err != nil {
		return err
	}
	suites := map[string][]suite{}
	for pkg := range r.built {
		list, err := r.trace(ctx, pkg, budget)
		if err != nil {
			return err
		}
		suites[pkg] = list
	}
	began, survived := time.Now(), 0
	inParallel(r.workers, len(r.mutants), func(i int) {
		m := &r.mutants[i]
		how, killed := r.hunt(ctx, m, suites, budget)
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		r.done++
		scores[m.file].tried++
		if killed {
			scores[m.file].killed++
			r.passed++
			return
		}
		survived++
		fmt.Fprintf(r.out, "\n# line %d; %s\n%s %s\n-%s\n+%s\n", m.line, how, m.file, m.function, m.old, m.new)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(scores)) {
		fmt.Fprintf(r.out, "\n%s", scores[name])
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
// it reaches. Tests that fail, or take longer than the budget, are left out, and named.
func (r *runner) trace(ctx context.Context, pkg string, budget time.Duration) ([]suite, error) {
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
		limit := 10 * time.Minute
		if budget > 0 {
			limit = budget
		}
		output, err := command(ctx, filepath.Join(r.dir, pkg), []string{environment + "=-1", traceFile + "=" + file},
			r.built[pkg], "-test.run", "^"+names[i]+"$", "-test.timeout", limit.String())
		s := suite{name: names[i], took: time.Since(began), reaches: traced(file)}
		mu.Lock()
		defer mu.Unlock()
		if err != nil && hangs.MatchString(output) {
			fmt.Fprintf(r.out, "# %s takes longer than %s\n", names[i], limit)
		} else if err != nil {
			fmt.Fprintf(r.out, "# %s fails without any change\n", names[i])
		} else if len(s.reaches) > 0 {
			list = append(list, s)
		}
	})
	slices.SortFunc(list, func(a, b suite) int { return cmp.Compare(a.took, b.took) })
	return list, ctx.Err()
}

// hunt runs the tests that reach the statement of a mutant: those that killed another one of the file first, then the
// quickest; as many at a time as take a second, then four, and so on.
func (r *runner) hunt(ctx context.Context, m *mutant, suites map[string][]suite, budget time.Duration) (how string,
	killed bool) {
	total, tried := 0, 0
	var spent time.Duration
	for _, pkg := range append([]string{m.pkg}, m.more...) {
		of := slices.DeleteFunc(slices.Clone(suites[pkg]), func(s suite) bool { return !s.reaches[m.number] })
		total += len(of)
		r.mu.Lock()
		slices.SortStableFunc(of, func(a, b suite) int {
			return cmp.Compare(r.kills[m.file+" "+b.name], r.kills[m.file+" "+a.name])
		})
		r.mu.Unlock()
		for most := time.Second; len(of) > 0 && (budget == 0 || spent < budget); most *= 4 {
			var names []string
			var takes time.Duration
			for len(of) > 0 && (len(names) == 0 || takes+of[0].took <= most) {
				names, takes, of = append(names, of[0].name), takes+of[0].took, of[1:]
			}
			tried, spent = tried+len(names), spent+takes
			output, err := command(ctx, filepath.Join(r.dir, pkg), []string{fmt.Sprintf("%s=%d", environment, m.number)},
				r.built[pkg], "-test.run", "^("+strings.Join(names, "|")+")$", "-test.failfast", "-test.timeout",
				(r.timeout + 4*takes).String())
			if err == nil {
				continue
			}
			if found := fails.FindStringSubmatch(output); found != nil {
				name, _, _ := strings.Cut(found[1], "/")
				r.mu.Lock()
				if r.kills == nil {
					r.kills = map[string]int{}
				}
				r.kills[m.file+" "+name]++
				r.mu.Unlock()
			}
			return "", true
		}
	}
	if tried < total {
		return fmt.Sprintf("of %d tests that reach it, %d were tried and none fails", total, tried), false
	}
	return fmt.Sprintf("of %d tests none fails", total), false
}
