package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What may follow a command line, in every shell. "…" is any file of the folder.
var completionCases = []struct {
	line string // up to the word that is completed, which may be empty
	want []string
	not  []string
}{
	{"latchkey ", []string{"list", "roles", "doctor", "help"}, []string{"plan", "-json"}},
	{"latchkey do", []string{"doctor"}, []string{"list"}},
	{"latchkey roles ", []string{"plan", "apply", "export"}, []string{"list"}},
	{"latchkey roles a", []string{"apply"}, []string{"plan"}},
	{"latchkey roles apply ", []string{"roles.json"}, []string{"plan"}},
	{"latchkey roles apply -p", []string{"-prune"}, []string{"-yes"}},
	{"latchkey list -", []string{"-kind", "-state", "-settings"}, []string{"-prune"}},
	{"latchkey list -kind ", []string{"secret", "api_key"}, []string{"active", "-state", "roles.json"}},
	{"latchkey list -kind api_key -state re", []string{"revoked"}, []string{"active"}},
	{"latchkey -settings roles.json list -kind s", []string{"secret", "session"}, []string{"api_key"}},
	{"latchkey list -settings ro", []string{"roles.json"}, nil},
	{"latchkey -settings ro", []string{"roles.json"}, nil},
	{"latchkey completion ", []string{"bash", "zsh", "fish"}, []string{"list"}},
	{"latchkey help d", []string{"doctor", "disable"}, []string{"list"}},
}

// completes checks the cases by a function that asks a shell.
func completes(t *testing.T, ask func(line string) string) {
	t.Helper()
	for _, c := range completionCases {
		offered := map[string]bool{}
		for word := range strings.Lines(ask(c.line)) {
			offered[strings.TrimSpace(word)] = true
		}
		for _, want := range c.want {
			require.True(t, offered[want], "%q offers %q: %v", c.line, want, offered)
		}
		for _, not := range c.not {
			require.False(t, offered[not], "%q offers %q", c.line, not)
		}
	}
}

func completionFolder(t *testing.T, shell string) (dir, script string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "roles.json"), nil, 0o644))
	script = filepath.Join(t.TempDir(), "_latchkey")
	require.NoError(t, os.WriteFile(script, []byte(must(t, dir, "", "completion", shell)), 0o644))
	return dir, script
}

// shell runs a shell, and returns what it printed. It fails if the shell printed to standard error.
func shell(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s", errs.String())
	require.Empty(t, errs.String())
	return out.String()
}

func TestBashCompletes(t *testing.T) {
	dir, script := completionFolder(t, "bash")
	completes(t, func(line string) string {
		words := strings.Split(line, " ")
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+w+"'")
		}
		return shell(t, dir, "bash", "--norc", "-c", fmt.Sprintf(`source '%s'
			COMP_WORDS=(%s) COMP_CWORD=%d
			_latchkey
			printf '%%s\n' "${COMPREPLY[@]}"`, script, strings.Join(quoted, " "), len(words)-1))
	})
}

func TestZshCompletes(t *testing.T) {
	path, err := exec.LookPath("zsh")
	require.NoError(t, err, "scripts/install installs zsh")
	dir, script := completionFolder(t, "zsh")
	completes(t, func(line string) string {
		words := strings.Split(line, " ")
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+w+"'")
		}
		// The widgets of zsh need a terminal: compadd and _files are replaced by functions that print.
		return shell(t, dir, path, "-f", "-c", fmt.Sprintf(`compdef() { :; }
			compadd() { shift; print -l -- ${(M)@:#$PREFIX*}; }
			_files() { print -l -- $PREFIX*(N); }
			source '%s'
			words=(%s) CURRENT=%d PREFIX=%s
			_latchkey`, script, strings.Join(quoted, " "), len(words), quoted[len(quoted)-1]))
	})
}

func TestFishCompletes(t *testing.T) {
	path, err := exec.LookPath("fish")
	require.NoError(t, err, "scripts/install installs fish")
	dir, script := completionFolder(t, "fish")
	completes(t, func(line string) string {
		var out []string
		for offered := range strings.Lines(shell(t, dir, path, "--no-config", "-c",
			fmt.Sprintf("source '%s'; complete -C '%s'", script, line))) {
			word, _, _ := strings.Cut(strings.TrimSpace(offered), "\t")
			out = append(out, word)
		}
		return strings.Join(out, "\n")
	})
}

// Every command and every flag is in the script of every shell.
func TestCompletionIsComplete(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"bash", "zsh", "fish"} {
		script := must(t, dir, "", "completion", name)
		for _, c := range completions() {
			require.Contains(t, script, "'"+c.name, "%s: %s", name, c.name)
			for _, f := range c.flags {
				dash := "-"
				if name == "fish" {
					dash = "-o "
				}
				require.Contains(t, script, dash+f.name, "%s: %s -%s", name, c.name, f.name)
			}
		}
	}
	require.Equal(t, exitUsage, try(t, dir, "", "completion", "tcsh").code)
}
