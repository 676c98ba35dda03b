package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// synopsis is the command line of a command in short.
func synopsis(c *command) string {
	text := "latchkey " + c.name + " [flags]"
	if c.args != "" {
		text += " " + c.args
	}
	return "usage: " + text
}

func printOverview(w io.Writer) {
	fmt.Fprint(w, `latchkey administers the tokens, roles and owners of programs that use package latchkey.

usage: latchkey [-settings FILE] [-json] COMMAND [flags] [arguments]

`)
	width := 0
	for _, c := range commands() {
		width = max(width, len(c.name))
	}
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-*s  %s\n", width, c.name, c.summary)
	}
	fmt.Fprint(w, `
"latchkey help COMMAND" describes a command, and "latchkey help exit-codes" the exit codes.
Secrets are read from standard input, never from an argument.
`)
}

// printHelp is the command "help".
func printHelp(w io.Writer, words []string) error {
	if len(words) == 0 {
		printOverview(w)
		return nil
	}
	if words[0] == "exit-codes" {
		for _, c := range exitCodes {
			fmt.Fprintf(w, "%3d  %s\n", c.code, c.meaning)
		}
		return nil
	}
	cmd, n := findCommand(words)
	if cmd == nil || n < len(words) {
		if under := commandsUnder(words[0]); len(words) == 1 && len(under) > 0 {
			for i, c := range under {
				if i > 0 {
					fmt.Fprintln(w)
				}
				printCommandHelp(w, c)
			}
			return nil
		}
		return unknownCommand(words)
	}
	printCommandHelp(w, cmd)
	return nil
}

// printCommandHelp prints what docs/command.md holds, too.
func printCommandHelp(w io.Writer, c *command) {
	fmt.Fprintf(w, "%s\n\n%s.\n", synopsis(c), strings.ToUpper(c.summary[:1])+c.summary[1:])
	if c.help != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.help))
	}
	f := newFlags(c)
	c.define(f)
	var lines []string
	f.VisitAll(func(fl *flag.Flag) { lines = append(lines, flagHelp(fl)) })
	if len(lines) > 0 {
		fmt.Fprintf(w, "\nflags:\n%s", strings.Join(lines, ""))
	}
	if c.output != "" {
		fmt.Fprintf(w, "\nwith -json:\n%s\n", indent(strings.TrimSpace(c.output), "  "))
	}
}

// flagHelp describes a flag, as package flag does: the word in backquotes is its value.
func flagHelp(fl *flag.Flag) string {
	value, usage := flag.UnquoteUsage(fl)
	if _, takesWords := fl.Value.(wordsFlag); takesWords {
		value = cmp.Or(strings.TrimPrefix(value, "value"), "WORD")
	}
	head := "  -" + fl.Name
	if value != "" {
		head += " " + strings.ToUpper(value)
	}
	if !slices.Contains([]string{"", "0", "false"}, fl.DefValue) {
		usage += " (default " + fl.DefValue + ")"
	}
	return head + "\n" + wrap(usage, "        ", 100) + "\n"
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(text, "\n", "\n"+by)
}

// wrap breaks a text into lines.
func wrap(text, by string, width int) string {
	var b strings.Builder
	line := by
	for _, word := range strings.Fields(text) {
		switch {
		case line == by:
			line += word
		case len(line)+1+len(word) > width:
			b.WriteString(line + "\n")
			line = by + word
		default:
			line += " " + word
		}
	}
	return b.String() + line
}
