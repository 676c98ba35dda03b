// Command latchkey administers the tokens, roles and owners that programs with package latchkey verify. It works on
// their store directly, so it works while they are down, and what it changes they hear within their MaxStale.
//
//	latchkey [-settings FILE] COMMAND [flags] [arguments]
//
// It reads the settings file that the programs read: see package settings. "latchkey help" lists the commands, and
// docs/command.md describes each.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}
