package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each text that the list quotes is in its file.
func TestTheListIsInStep(t *testing.T) {
	text, err := os.ReadFile("mutants.txt")
	require.NoError(t, err)
	list, err := parse(string(text))
	require.NoError(t, err)
	require.NotEmpty(t, list)
	for i := range list {
		assert.NoError(t, list[i].locate("../.."))
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

import "testing"

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
		"survives":       {"guarded.go TestNegative|TestZero\n-n > 0\n+false\n", "it survives", true},
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
			err := run(t.Context(), []string{"-root", dir, "-list", "list.txt", "-timeout", timeout}, &out)
			said := filepath.ToSlash(out.String()) // the compiler names files with backslashes on Windows
			if err != nil {
				said += filepath.ToSlash(err.Error())
			}
			assert.Contains(t, said, c.says)
			assert.Equal(t, c.fails, err != nil, said)
			if !c.fails {
				assert.Contains(t, said, "1 passed, 0 failed")
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
	for sample, says := range map[string]string{"0": "3 passed", "2": "2 passed", "3": "3 passed", "9": "3 passed"} {
		var out, again strings.Builder
		args := []string{"-root", dir, "-list", "list.txt", "-workers", "1", "-sample", sample, "-seed", "7"}
		require.NoError(t, run(t.Context(), args, &out))
		require.NoError(t, run(t.Context(), args, &again))
		assert.Contains(t, out.String(), says, sample)
		assert.Equal(t, sample == "2", strings.Contains(out.String(), "a sample of 2 of 3 mutants: -sample 2 -seed 7"))
		assert.Equal(t, killed(out.String()), killed(again.String()), "the seed repeats the draw")
	}
}

// killed returns the lines about mutants without their times.
func killed(out string) string {
	return regexp.MustCompile(`\(\d+\.\d s\)`).ReplaceAllString(out, "")
}
