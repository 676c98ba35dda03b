// Command mixed is a service on gin, a service on gRPC, and the program that nginx asks before a service in Python. All
// of them take the same keys. README.md says how to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/latchkey-go/latchkey"
)

const usage = `mixed [-db FILE] [-addr HOST:PORT] COMMAND

  issue       print the id and the text of a new key
  revoke ID   end a key
  web         serve the API on gin, and metrics
  rpc         serve the API on gRPC
  ask         answer the questions of nginx
  call        call the API on gRPC with the key in $KEY
`

// addresses are where the commands listen, and what call calls.
var addresses = map[string]string{"web": "127.0.0.1:8081", "rpc": "127.0.0.1:9093", "ask": "127.0.0.1:9091",
	"call": "127.0.0.1:9093"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		slog.Error("mixed", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("mixed", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	file := flags.String("db", "mixed.db", "")
	addr := flags.String("addr", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	command := flags.Arg(0)
	if *addr == "" {
		*addr = addresses[command]
	}
	if command == "call" { // a client: it has a key and no database
		return call(ctx, *addr, os.Getenv("KEY"), out)
	}

	watch := metrics{}
	if command == "web" {
		if watch, err = newMetrics(); err != nil {
			return err
		}
	}
	h, err := open(ctx, *file, watch.observer())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := watch.watch(h.keys); err != nil {
		return err
	}

	switch command {
	case "issue":
		token, secret, err := h.keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "mixed",
			Roles: []string{latchkey.CodeRoleID("analyst")}})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, token.ID, secret.Reveal()) // shown once: only its digest is stored
		return nil
	case "revoke":
		return h.keys.For("acme").Revoke(ctx, flags.Arg(1), "revoked by hand")
	case "web", "rpc", "ask":
	default:
		flags.Usage()
		return fmt.Errorf("no command %q", command)
	}

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "listening on", listener.Addr())
	switch command {
	case "web":
		return serveHTTP(ctx, listener, h.web())
	case "ask":
		return serveHTTP(ctx, listener, h.ask())
	}
	return h.rpc(ctx, listener)
}
