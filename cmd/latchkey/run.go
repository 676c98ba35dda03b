package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// streams are the standard streams.
type streams struct{ in, out, err *os.File }

// run carries out a command line, and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	err := runCommand(ctx, args, std)
	if err != nil && !silent(err) {
		text := plainText(err)
		if ctx.Err() != nil && !isUsage(err) {
			text = "interrupted: what was written stays written (" + text + ")"
		}
		fmt.Fprintln(std.err, "latchkey: "+visibleLines(text))
	}
	return exitCode(ctx, err)
}

func isUsage(err error) bool {
	_, usage := errors.AsType[*usageError](err)
	return usage
}

func runCommand(ctx context.Context, args []string, std streams) error {
	if err := refuseSecrets(args); err != nil {
		return err
	}
	// Before the command stand those flags alone that every command has.
	global := newFlags(nil)
	words, err := global.parseUntilWord(args)
	if errors.Is(err, flag.ErrHelp) || err == nil && len(words) == 0 {
		printOverview(std.out)
		if err == nil {
			return usagef("name a command: \"latchkey help\" lists them")
		}
		return nil
	}
	if err != nil {
		return err
	}
	if words[0] == "help" {
		return printHelp(std.out, words[1:])
	}
	cmd, n := findCommand(words)
	if cmd == nil {
		return unknownCommand(words)
	}
	f := newFlags(cmd)
	f.settings, f.json = global.settings, global.json
	do := cmd.define(f)
	rest, err := f.parseAll(words[n:])
	if errors.Is(err, flag.ErrHelp) {
		printCommandHelp(std.out, cmd)
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case len(rest) < cmd.min, cmd.max >= 0 && len(rest) > cmd.max:
		return usagef("%s\n\"latchkey help %s\" says more", synopsis(cmd), cmd.name)
	case f.json && cmd.output == "":
		return usagef("%s has no -json", cmd.name)
	}
	c := &call{command: cmd, args: rest, flags: f, std: std}
	err = do(ctx, c)
	return errors.Join(err, c.close(ctx))
}

func unknownCommand(words []string) error {
	if under := commandsUnder(words[0]); len(under) > 0 {
		var names []string
		for _, c := range under {
			names = append(names, fmt.Sprintf("%q", "latchkey "+c.name))
		}
		return usagef("%s is the first word of %s", words[0], strings.Join(names, ", "))
	}
	return usagef("there is no command %q: \"latchkey help\" lists them", words[0])
}
