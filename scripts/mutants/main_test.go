package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each text that the list quotes is in its file, and each test that it names is in its package.
func TestTheListIsInStep(t *testing.T) {
	text, err := os.ReadFile("mutants.txt")
	require.NoError(t, err)
	list, err := parse(string(text))
	require.NoError(t, err)
	require.NotEmpty(t, list)
	for i := range list {
		assert.NoError(t, list[i].locate("../.."))
	}
	tests := map[string]string{}
	for _, m := range list {
		if _, read := tests[m.pkg]; !read {
			files, err := filepath.Glob(filepath.Join("../..", m.pkg, "*_test.go"))
			require.NoError(t, err)
			for _, file := range files {
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				for _, found := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(text), -1) {
					tests[m.pkg] += found[1] + "\n"
				}
			}
		}
		for _, pattern := range strings.Split(m.tests, "|") {
			top, _, _ := strings.Cut(pattern, "/")
			if re, err := regexp.Compile("(?m)" + top); assert.NoError(t, err, "line %d", m.at) {
				assert.True(t, re.MatchString(tests[m.pkg]), "line %d: %s has no test %s", m.at, m.pkg, pattern)
			}
		}
	}
}

func TestListsThatAreMalformed(t *testing.T) {
	good := "a.go TestA\n-x\n+y\n\n# comment\nb/a.go TestB c\n-x\n-  z\n"
	list, err := parse(good)
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, mutant{number: 1, at: 1, file: "a.go", tests: "TestA", pkg: ".", old: "x", new: "y"}, list[0])
	assert.Equal(t, mutant{number: 2, at: 6, file: "b/a.go", tests: "TestB", pkg: "c", old: "x\n  z"}, list[1])
	for name, bad := range map[string]string{
		"no tests":            "a.go\n-x\n",
		"too much":            "a.go TestA . more\n-x\n",
		"nothing is replaced": "a.go TestA\n+x\n",
		"nothing at all":      "a.go TestA\n\n",
		"nothing changes":     "a.go TestA\n-x\n+x\n",
		"no head":             "-x\n+y\n",
		"out of order":        "a.go TestA\n-x\n+y\n-z\n",
		"an empty line":       "a.go TestA\n-x\n\n+y\n",
	} {
		_, err := parse(bad)
		assert.Error(t, err, name)
	}
}

// A module of its own, in which tests check some guards and not others.
func TestMutants(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/guarded\n\ngo 1.26\n",
		"guarded.go": `package guarded

func sign(n int) int {
	if n < 0 {
		return -1
	}
	if n > 0 {
		return 1
	}
	return 0
}
`,
		"guarded_test.go": `package guarded

import (
	"fmt"
	"os"
	"testing"
)

func TestNegative(t *testing.T) {
	if sign(-1) != -1 {
		t.Fatal("not negative")
	}
}

func TestZero(t *testing.T) {
	if sign(0) != 0 {
		t.Fatal("not zero")
	}
}

func TestRed(t *testing.T) { t.Fatal("always") }

// TestSecond and TestFourth count their runs with a positive sign that is wrong, and fail at the second and the fourth.
func TestSecond(t *testing.T) { fail(t, 2) }

func TestFourth(t *testing.T) { fail(t, 4) }

func fail(t *testing.T, at int) {
	if sign(1) == 1 {
		return
	}
	name := t.Name() + ".runs"
	runs, _ := os.ReadFile(name)
	runs = append(runs, '.')
	if err := os.WriteFile(name, runs, 0o600); err != nil {
		t.Log(err)
	}
	if len(runs) == at {
		t.Fatal("now")
	}
}

// TestCrash ends as the runtime does for a signal that arrives outside of Go code.
func TestCrash(t *testing.T) {
	if sign(1) != 1 {
		fmt.Println("SIGSEGV: segmentation violation")
		os.Exit(2)
	}
}

func TestExit(t *testing.T) {
	if sign(1) != 1 {
		os.Exit(2)
	}
}

func TestSkipped(t *testing.T) { t.Skip() }
`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	for name, c := range map[string]struct {
		list, says string
		fails      bool
	}{
		"killed":         {"guarded.go TestNegative\n-n < 0\n+false\n", "guarded.go:4: if n < 0 {: killed by", false},
		"a panic":        {"guarded.go TestNegative\n-return -1\n+panic(7)\n", "killed by TestNegative", false},
		"never ends":     {"guarded.go TestZero\n-return 0\n+for {\n+}\n", "killed: the tests do not end", false},
		"a crash":        {"guarded.go TestCrash\n-return 1\n+return 2\n", "killed by segmentation violation (", false},
		"only an exit":   {"guarded.go TestExit\n-return 1\n+return 2\n", "without a failed test or a panic", true},
		"second try":     {"guarded.go TestSecond\n-return 1\n+return 2\n", "killed by TestSecond, at try 2 (", false},
		"fourth try":     {"guarded.go TestFourth\n-return 1\n+return 2\n", "it survives -run 'TestFourth'", true},
		"survives":       {"guarded.go TestNegative|TestZero\n-n > 0\n+false\n", "it survives", true},
		"not executed":   {"guarded.go TestNegative\n-return 1\n+return 2\n", "TestNegative' of . never executes it", true},
		"does not build": {"guarded.go TestNegative\n-n > 0\n+m > 0\n", "list.txt@1/guarded.go:7: undefined: m", true},
		"is not there":   {"guarded.go TestNegative\n-n >= 0\n+false\n", "no longer has this text", true},
		"not in a body":  {"guarded.go TestNegative\n-func sign(n int\n+func sign(n int64\n", "outside of a function", true},
		"no Go":          {"guarded.go TestNegative\n-n < 0 {\n+n < 0\n", "would not parse", true},
		"is there twice": {"guarded.go TestNegative\n-return\n+return 5 *\n", "more than once", true},
		"no such file":   {"other.go TestNegative\n-x\n+y\n", "other.go does not exist", true},
		"no such test":   {"guarded.go TestNone\n-n < 0\n+false\n", "runs no test that passes", true},
		"skipped":        {"guarded.go TestSkipped\n-n < 0\n+false\n", "runs no test that passes", true},
		"red before":     {"guarded.go TestRed\n-n < 0\n+false\n", "fails without any change", true},
		"nothing":        {"# nothing\n", "no mutant to run", true},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "list.txt"), []byte(c.list), 0o600))
			timeout := "1m"
			if name == "never ends" {
				timeout = "10s"
			}
			var out strings.Builder
			err := run(t.Context(), []string{"-root", dir, "-list", "list.txt", "-timeout", timeout, "-executed"}, &out)
			said := filepath.ToSlash(out.String()) // the compiler names files with backslashes on Windows
			if err != nil {
				said += filepath.ToSlash(err.Error())
			}
			assert.Contains(t, said, c.says)
			assert.Equal(t, c.fails, err != nil, said)
			if !c.fails {
				assert.Contains(t, said, "1 passed, 0 failed")
			}
			late := name == "second try" // the one whose tests are to be mended
			assert.Equal(t, late, strings.Contains(said, "LATE: 1: guarded.go:8: return 1: killed by TestSecond, at try 2\n"))
			assert.Equal(t, late, strings.Contains(said, "1 survived at first, named above as LATE"))
			if runs, err := os.ReadFile(filepath.Join(dir, "TestFourth.runs")); name == "fourth try" {
				assert.NoError(t, err)
				assert.Equal(t, "...", string(runs), "it is tried three times")
			}
		})
	}
	list := "guarded.go TestNegative\n-n < 0\n+false\n\nguarded.go TestZero\n-return 0\n+return 2\n\n" +
		"guarded.go TestZero\n-n > 0\n+n > -1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "list.txt"), []byte(list), 0o600))
	for only, says := range map[string]string{"": "3 passed, 0 failed", "TestZero": "2 passed", "n < 0": "1 passed"} {
		var out strings.Builder
		require.NoError(t, run(t.Context(), []string{"-root", dir, "-list", "list.txt", "-only", only}, &out))
		assert.Contains(t, out.String(), says, only)
	}
	for _, c := range [][3]string{{"", "1", "3 passed"}, {"", "2", "6 passed"}, {"TestZero", "10", "20 passed"}} {
		var out strings.Builder
		args := []string{"-root", dir, "-list", "list.txt", "-only", c[0], "-repeat", c[1]}
		require.NoError(t, run(t.Context(), args, &out))
		assert.Contains(t, out.String(), c[2])
	}
	for sample, says := range map[string]string{"0": "3 passed", "2": "2 passed", "3": "3 passed", "9": "3 passed"} {
		var out, again strings.Builder
		args := []string{"-root", dir, "-list", "list.txt", "-workers", "1", "-sample", sample, "-seed", "7"}
		require.NoError(t, run(t.Context(), args, &out))
		require.NoError(t, run(t.Context(), args, &again))
		assert.Contains(t, out.String(), says, sample)
		assert.Equal(t, sample == "2", strings.Contains(out.String(), "a sample of 2 of 3 mutants: -sample 2 -seed 7"))
		assert.Equal(t, killed(out.String()), killed(again.String()), "the seed repeats the draw")
	}
	// A sample runs no test of those that were not drawn, and compiles them, also of packages that it tests nothing of.
	for name, text := range map[string]string{
		"other/other.go":      "package other\n\nfunc none() int {\n\treturn 0\n}\n",
		"other/other_test.go": "package other\n\nimport \"testing\"\n\nfunc TestNone(t *testing.T) { t.Fatal(none()) }\n",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "other"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	const drawn, seeds = "guarded.go TestNegative\n-n < 0\n+false\n\n", 40
	for changed, says := range map[string]string{"1": "1 passed", "none": "other does not build"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "list.txt"),
			[]byte(drawn+"other/other.go TestNone\n-return 0\n+return "+changed+"\n"), 0o600))
		passed, seed := 0, 0
		for ; seed < seeds && (passed == 0 || passed == seed); seed++ { // until each of the two was drawn
			var out strings.Builder
			err := run(t.Context(), []string{"-root", dir, "-list", "list.txt", "-sample", "1", "-seed", fmt.Sprint(seed)}, &out)
			if said := out.String() + fmt.Sprint(err); strings.Contains(said, says) {
				passed++
			} else {
				assert.Contains(t, said, map[string]string{"1": "TestNone' of other fails without any change",
					"none": "the tests of other do not build"}[changed])
			}
		}
		assert.NotContains(t, []int{0, seed}, passed)
	}
}

// killed returns the lines about mutants without their times.
func killed(out string) string {
	return regexp.MustCompile(`\(\d+\.\d s\)`).ReplaceAllString(out, "")
}

// What the operators make of a function, each of which alters it alone.
func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	text := `package guarded

func (g *guard) allows(n int, list []int) bool {
	if n < 0 || len(list) > 3 {
		return false
	}
	for _, x := range list {
		if x == n {
			continue
		}
		g.count++
	}
	switch {
	case !g.open:
		return false
	}
	g.seen = query{Owner: "o", Page: Page{Limit: 7}}
	return g.note(entry{at: n, by: "x"})
}

func write(n int) error {
	lock.Lock()
	defer lock.Unlock()
	done := n
	done = 7
	if err := check(done); err != nil {
		return err
	}
	list := make([]int, done+1, done+2)
	list = append(list, make([]int, 0, done+3)...)
	clear(list[done:])
	b.Grow(done)
	pool.Put(b)
	cache.Put(done, b)
	list = slices.Clip(list)
	list = make([]int, 0, done+5)
	h := hashOf(done) ^ hashOf(done+6)
	h ^= 70
	at := table[(h^h>>9)&uint64(done-8)]
	for len(text) >= 8 {
		at ^= text[0]
	}
	return fmt.Errorf("never %d", done+4)
}

func hashText(n int) int { return n + 9 }

func (g *guard) String() string { return "" + g.name }
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "guarded.go"), []byte(text), 0o600))
	list, err := generate(dir, "guarded.go")
	require.NoError(t, err)
	var got []string
	for _, m := range list {
		got = append(got, m.function+": "+m.old+" → "+m.new)
		require.NotEqual(t, text[m.body:m.end], m.changed)
	}
	for _, want := range []string{
		"*guard.allows: if n < 0 || len(list) > 3 { → if (n < 0 || len(list) > 3) && false {",
		"*guard.allows: if n < 0 || len(list) > 3 { → if (n < 0 || len(list) > 3) || true {",
		"*guard.allows: if n < 0 || len(list) > 3 { → if ((n < 0) && false) || len(list) > 3 {",
		"*guard.allows: if n < 0 || len(list) > 3 { → if n < 0 || ((len(list) > 3) && false) {",
		"*guard.allows: if n < 0 || len(list) > 3 { → if n <= 0 || len(list) > 3 {",
		"*guard.allows: if n < 0 || len(list) > 3 { → if n < 0 || len(list) > (3 + 1) {",
		"*guard.allows: if x == n { → if x != n {",
		"*guard.allows: continue → ",
		"*guard.allows: g.count++ → ",
		`*guard.allows: g.seen = query{Owner: "o", Page: Page{Limit: 7}} → g.seen = query{Page: Page{Limit: 7}}`,
		"*guard.allows: case !g.open: → case g.open:",
		"*guard.allows: return false → return !(false)",
		`*guard.allows: return g.note(entry{at: n, by: "x"}) → return g.note(entry{by: "x"})`,
		`*guard.allows: return g.note(entry{at: n, by: "x"}) → return g.note(entry{at: n, })`,
		`*guard.allows: func (g *guard) allows(n int, list []int) bool { → func (g *guard) allows(n int, list []int) bool {` +
			` if true { return true }`,
		"write: done = 7 → ",
		"write: if err := check(done); err != nil { → if err := check(done); (err != nil) && false {",
		`write: return fmt.Errorf("never %d", done+4) → return nil`,
		"write: list := make([]int, done+1, done+2) → list := make([]int, done-1, done+2)",
		"write: cache.Put(done, b) → ",
		"write: at ^= text[0] → ",
	} {
		assert.Contains(t, got, want)
	}
	for _, line := range got {
		assert.NotContains(t, line, "ock()", "a lock that is not taken is seen by the race detector only")
		assert.NotContains(t, line, "hashText", "a hash does not say which value it is of")
		assert.NotContains(t, line, "String", "what is printed decides nothing")
		assert.False(t, strings.Contains(line, `→ g.seen = query{Owner`), line)
		for _, room := range []string{"clear", "Grow", "pool", "done-2", "(2 + 1)", "(3 + 1))...", "done-3", "done-4",
			"(4 + 1)", "Clip", "done-5", "(5 + 1)", "done-6", "(6 + 1)", "h ^= 70", "(9 + 1)", "(8 + 1)", "> 8",
			">= 8) &&"} {
			assert.False(t, strings.Contains(line, "write: ") && strings.Contains(line, room), line)
		}
	}
}

// A module of its own, one of whose guards no test checks.
func TestScore(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/guarded\n\ngo 1.26\n",
		"guarded.go": `package guarded

func small(n int) bool {
	return n < 3
}

func unseen(n int) bool {
	return n < 3
}
`,
		"guarded_test.go": `package guarded

import "testing"

func TestSmall(t *testing.T) {
	if !small(2) || small(3) {
		t.Fatal("not small")
	}
}
`,
		"same.txt": "",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	var out strings.Builder
	args := []string{"-root", dir, "-generate", "^guarded.go$", "-equivalents", "same.txt"}
	require.ErrorIs(t, run(t.Context(), append(args, "-only", "unseen"), &out), errFailed)
	assert.Contains(t, out.String(), "# line 8; of 0 tests none fails\nguarded.go unseen\n-return n < 3\n+return n <= 3\n")
	out.Reset()
	require.NoError(t, run(t.Context(), append(args, "-only", "small"), &out))
	assert.Contains(t, out.String(), "5 of 5 killed, 100.0 %")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "same.txt"),
		[]byte("guarded.go unseen\n-return n < 3\n+return n <= 3\n  No one calls it.\n"), 0o600))
	out.Reset()
	require.ErrorIs(t, run(t.Context(), append(args, "-only", "unseen"), &out), errFailed)
	assert.NotContains(t, out.String(), "+return n <= 3\n", "it is known")
}

// maxEquivalents is how many mutants may be called equivalent. It is lowered when an entry goes, and never raised
// without a review of each new reason.
const maxEquivalents = 79

// Each entry of the list is a mutant that the operators make of the code as it is, and the list does not grow unseen.
func TestTheListOfEquivalentsIsInStep(t *testing.T) {
	text, err := os.ReadFile("equivalents.txt")
	require.NoError(t, err)
	known, err := parseEquivalents(string(text))
	require.NoError(t, err)
	require.Len(t, known, maxEquivalents)
	of := map[string][]mutant{}
	for _, e := range known {
		if of[e.file] == nil {
			of[e.file], err = generate("../..", e.file)
			require.NoError(t, err)
		}
		assert.True(t, slices.ContainsFunc(of[e.file], func(m mutant) bool { return e.is(&m) }),
			"line %d: the operators no longer make this of %s", e.at, e.file)
	}
}

func TestListsOfEquivalentsThatAreMalformed(t *testing.T) {
	list, err := parseEquivalents("a.go f\n-x\n+y\n+z\n  Both.\n\nb.go g\n-x\n+\n+y\n  So.\n")
	require.NoError(t, err)
	require.Equal(t, []equivalent{{1, "a.go", "f", "x", "y", "Both."}, {1, "a.go", "f", "x", "z", "Both."},
		{7, "b.go", "g", "x", "", "So."}, {7, "b.go", "g", "x", "y", "So."}}, list)
	list, err = parseEquivalents("# head\n\na.go f\n-x  y\n+\n  It is\n  so.\n")
	require.NoError(t, err)
	require.Equal(t, []equivalent{{at: 3, file: "a.go", function: "f", old: "x y", reason: "It is so."}}, list)
	for name, bad := range map[string]string{
		"no function":  "a.go\n-x\n+y\n  Why.\n",
		"no reason":    "a.go f\n-x\n+y\n",
		"no line":      "a.go f\n  Why.\n",
		"out of order": "a.go f\n+y\n-x\n  Why.\n",
		"no mutant":    "a.go f\n-x\n  Why.\n",
		"two reasons":  "a.go f\n-x\n+y\n  Why.\n+z\n  Why.\n",
	} {
		_, err := parseEquivalents(bad)
		assert.Error(t, err, name)
	}
}

// A report has a row for each file, and a run replaces those of its own files only.
func TestReport(t *testing.T) {
	name := filepath.Join(t.TempDir(), "scores.md")
	older := map[string]*score{
		"b.go": {file: "b.go", made: 9, tried: 8, killed: 4, draw: "-each 8 -seed 1", date: "2026-01-01"},
		"c.go": {file: "c.go", made: 2, tried: 2, killed: 2, equivalent: 1, date: "2026-01-01"},
	}
	require.NoError(t, update(name, older))
	require.NoError(t, update(name, map[string]*score{
		"a.go": {file: "a.go", made: 3, tried: 3, killed: 3, date: "2026-01-02"},
		"b.go": {file: "b.go", made: 9, tried: 8, killed: 8, draw: "-each 8 -seed 2 -budget 20s", date: "2026-01-02"},
	}))
	read, err := os.ReadFile(name)
	require.NoError(t, err)
	_, rows, found := strings.Cut(string(read), "|---|---|---|---|---|---|---|---|\n")
	require.True(t, found)
	assert.Equal(t, "| a.go | 3 | 3 | 3 | 0 | 100.0 % | `` | 2026-01-02 |\n"+
		"| b.go | 9 | 8 | 8 | 0 | 100.0 % | `-each 8 -seed 2 -budget 20s` | 2026-01-02 |\n"+
		"| c.go | 2 | 2 | 2 | 1 | 100.0 % | `` | 2026-01-01 |\n\n13 of 13 mutants were killed: 100.0 %.\n", rows)
}

// A draw of one file is the same whichever other files are drawn from.
func TestDrawn(t *testing.T) {
	var one, two []mutant
	for i := range 20 {
		one = append(one, mutant{file: "a.go", line: i})
	}
	two = append([]mutant{{file: "b.go"}}, one...)
	of := drawn(slices.Clone(one), 5, 7)
	require.Len(t, of, 5)
	assert.Equal(t, of, drawn(two, 5, 7)[1:])
	assert.NotEqual(t, of, drawn(slices.Clone(one), 5, 8))
}
