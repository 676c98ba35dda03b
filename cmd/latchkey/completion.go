package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
)

var completionCommand = command{
	name: "completion",
	args: "SHELL",
	min:  1, max: 1,
	summary: "print a script that completes command lines in bash, zsh or fish",
	help: `
Prints a script for a shell. It completes commands, flags, the words that a flag takes, and files.

  bash:  latchkey completion bash > ~/.local/share/bash-completion/completions/latchkey
  zsh:   latchkey completion zsh > "${fpath[1]}/_latchkey"
  fish:  latchkey completion fish > ~/.config/fish/completions/latchkey.fish`,
}

// The command needs the table of commands, which it is in.
func init() { completionCommand.define = completionAction }

func completionAction(*flags) action {
	return func(_ context.Context, c *call) error {
		scripts := map[string]func([]completed) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
		script, ok := scripts[c.args[0]]
		if !ok {
			return usagef("SHELL is bash, zsh or fish")
		}
		_, err := c.std.out.WriteString(script(completions()))
		return err
	}
}

// completed is a command as completion knows it.
type completed struct {
	name, summary string
	words         []string // what its first argument may be; nil: anything
	files         bool     // its arguments are files
	flags         []completedFlag
}

type completedFlag struct {
	name, usage string
	takes       bool     // a value follows
	words       []string // what the value may be; nil: anything
	file        bool     // the value is a file
}

// completions returns what can be completed, from the table of commands.
func completions() (out []completed) {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	for _, c := range commands() {
		to := completed{name: c.name, summary: c.summary, files: strings.Contains(c.args, "FILE")}
		if c.name == completionCommand.name {
			to.words = []string{"bash", "zsh", "fish"}
		}
		f := newFlags(c)
		c.define(f)
		f.VisitAll(func(fl *flag.Flag) {
			value, usage := flag.UnquoteUsage(fl)
			of := completedFlag{name: fl.Name, usage: usage, takes: value != "", file: value == "file"}
			if choice, ok := fl.Value.(wordsFlag); ok {
				of.words, of.takes = choice.choices(), true
			}
			to.flags = append(to.flags, of)
		})
		out = append(out, to)
	}
	return append(out, completed{name: "help", summary: "describe a command", words: append(names, "exit-codes")})
}

// firstWords returns the first words of commands, each once, and the second words of those that have two, by the first.
func firstWords(list []completed) (first []string, second map[string][]string) {
	second = map[string][]string{}
	seen := map[string]bool{}
	for _, c := range list {
		word, rest, two := strings.Cut(c.name, " ")
		if !seen[word] {
			seen[word] = true
			first = append(first, word)
		}
		if two {
			second[word] = append(second[word], rest)
		}
	}
	return first, second
}

// quoted returns words in single quotation marks. They hold none: the tables of commands and flags are ours.
func quoted(words ...string) string { return "'" + strings.Join(words, " ") + "'" }

// candidates is a shell function "_latchkey_words COMMAND FLAG", which prints what may stand after the command: words
// behind its flag, or its own words and flags. It prints "<file>" where a file may stand. Bash and zsh share it.
func candidates(list []completed) string {
	var b strings.Builder
	first, second := firstWords(list)
	b.WriteString("_latchkey_words() {\n  case \"$1 $2\" in\n")
	for _, c := range list {
		for _, f := range c.flags {
			words := strings.Join(f.words, " ")
			if f.file {
				words = "<file>"
			}
			if f.takes {
				fmt.Fprintf(&b, "  %s) echo %s ;;\n", quoted(c.name+" -"+f.name), quoted(words))
			}
		}
		words := append([]string{}, c.words...)
		if c.files {
			words = append(words, "<file>")
		}
		for _, f := range c.flags {
			words = append(words, "-"+f.name)
		}
		fmt.Fprintf(&b, "  %s*) echo %s ;;\n", quoted(c.name+" "), quoted(words...))
	}
	for _, word := range first {
		if under := second[word]; under != nil {
			fmt.Fprintf(&b, "  %s*) echo %s ;;\n", quoted(word+" "), quoted(under...))
		}
	}
	fmt.Fprintf(&b, "  *) echo %s ;;\n  esac\n}\n", quoted(append(first, "-settings", "-json")...))
	return b.String()
}

// commandOf is a shell function that sets the variable command to the name of the command in the words that it is
// given, and flag to the last of them if that is a flag.
func commandOf(list []completed) string {
	var names []string
	for _, c := range list {
		names = append(names, "'"+c.name+"'")
	}
	_, second := firstWords(list)
	for _, c := range list {
		if word, _, two := strings.Cut(c.name, " "); two && second[word] != nil {
			names = append(names, "'"+word+"'")
			second[word] = nil
		}
	}
	return `_latchkey_command() {
  command='' flag=''
  while [ $# -gt 0 ]; do
    case "$1" in
    -settings | --settings) [ -n "$command" ] || { [ $# -gt 1 ] && shift; } ;;
    -*) ;;
    *)
      case "${command:+$command }$1" in
      ` + strings.Join(names, " | ") + `) command="${command:+$command }$1" ;;
      esac
      ;;
    esac
    [ $# -eq 1 ] && case "$1" in
    --?*) flag="${1#-}" ;;
    -?*) flag="$1" ;;
    esac
    shift
  done
}
`
}

func bashCompletion(list []completed) string {
	return "# bash completion for latchkey\n" + candidates(list) + commandOf(list) + `_latchkey() {
  local cur="${COMP_WORDS[COMP_CWORD]}" command flag words word
  _latchkey_command "${COMP_WORDS[@]:1:COMP_CWORD-1}"
  COMPREPLY=()
  if [ -z "$command" ] && [ "$flag" = -settings ]; then
    words='<file>'
  else
    words="$(_latchkey_words "$command" "$flag")"
  fi
  for word in $words; do
    case "$word" in
    '<file>') [ "${cur#-}" = "$cur" ] && compopt -o filenames 2> /dev/null
      [ "${cur#-}" = "$cur" ] && while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur") ;;
    -*) case "$cur" in -*) case "$word" in "$cur"*) COMPREPLY+=("$word") ;; esac ;; esac ;;
    "$cur"*) COMPREPLY+=("$word") ;;
    esac
  done
}
complete -F _latchkey latchkey
`
}

func zshCompletion(list []completed) string {
	return "#compdef latchkey\n" + candidates(list) + commandOf(list) + `_latchkey() {
  local command flag word
  local -a plain
  _latchkey_command "${(@)words[2,CURRENT-1]}"
  local candidates
  if [ -z "$command" ] && [ "$flag" = -settings ]; then
    candidates='<file>'
  else
    candidates="$(_latchkey_words "$command" "$flag")"
  fi
  for word in ${=candidates}; do
    case "$word" in
    '<file>') if [[ "$PREFIX" != -* ]]; then _files; fi ;;
    -*) if [[ "$PREFIX" == -* ]]; then plain+=("$word"); fi ;;
    *) plain+=("$word") ;;
    esac
  done
  if (( ${#plain} )); then compadd -- "${plain[@]}"; fi
}
if [ "$funcstack[1]" = _latchkey ]; then
  _latchkey "$@"
else
  compdef _latchkey latchkey
fi
`
}

func fishCompletion(list []completed) string {
	var b strings.Builder
	b.WriteString("# fish completion for latchkey\n" + `function __latchkey_at
  set -l words (commandline -opc)
  set -e words[1]
  set -l names
  set -l skip 0
  for word in $words
    if test $skip = 1
      set skip 0
    else if contains -- $word -settings --settings; and test (count $names) = 0
      set skip 1
    else if not string match -q -- '-*' $word
      set -a names $word
    end
  end
  set -l wanted (string split ' ' -- $argv[1])
  test "$argv[1]" = ''; and test (count $names) = 0; and return 0
  test "$argv[1]" = ''; and return 1
  set -l n (count $wanted)
  test (count $names) -ge $n; or return 1
  test "$names[1..$n]" = "$wanted"; or return 1
  test "$argv[2]" = only; or return 0
  test (count $names) = $n
end
complete -c latchkey -f
`)
	line := func(condition string, parts ...string) {
		fmt.Fprintf(&b, "complete -c latchkey -n \"__latchkey_at %s\" %s\n", condition, strings.Join(parts, " "))
	}
	summaries := map[string]string{}
	for _, c := range list {
		word, _, two := strings.Cut(c.name, " ")
		if !two {
			summaries[word] = c.summary
		}
	}
	first, second := firstWords(list)
	for _, word := range first {
		line("''", "-a", quoted(word), "-d", fishText(summaries[word]))
		for _, next := range second[word] {
			line(quoted(word)+" only", "-a", quoted(next))
		}
	}
	line("''", "-o", "settings", "-r", "-F")
	line("''", "-o", "json")
	for _, c := range list {
		at := quoted(c.name)
		if len(c.words) > 0 {
			line(at, "-a", quoted(c.words...))
		}
		if c.files {
			line(at, "-F")
		}
		for _, f := range c.flags {
			parts := []string{"-o", f.name, "-d", fishText(f.usage)}
			switch {
			case f.file:
				parts = append(parts, "-r", "-F")
			case len(f.words) > 0:
				parts = append(parts, "-x", "-a", quoted(f.words...))
			case f.takes:
				parts = append(parts, "-x")
			}
			line(at, parts...)
		}
	}
	return b.String()
}

// fishText quotes a text of the help for fish.
func fishText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
