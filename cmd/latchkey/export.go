package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/transfer"
)

func sortedOnce(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

var exportCommand = command{
	name:    "export",
	summary: "write owners to a file, to be moved to another store",
	help: `
Writes owners as lines of JSON that "latchkey import" reads: to move them to another database, or to
another engine. The file holds tokens with the digests of their secrets and with their sealed secrets,
roles, the owner's record, clients, usage, refusals, what is taken of quotas, and the audit trail. It
holds no plain secret, but the texts of publishable tokens, which are public. Keys go on working where
the file is imported, with the same keyring.

What does not move: nonces of signed requests and keys of idempotency; how far events were delivered to
other systems. Versions and the numbers of events begin anew. What programs hold of quotas, in leases and
for calls that go on, counts as spent.

Stop the programs that change the owners first. If an owner changes while it is read, the command refuses
to complete the file, because the copy could lack a revocation. Tokens that are minted meanwhile may be
missing, and usage that programs have not written yet. A record that cannot be read ends the export:
revoke, delete or replace it first.`,
	output: `
{"owners":1,"roles":2,"clients":0,"tokens":3,"secrets":3,"events":9,"usage":0,"credits":0}
  with -out; without it standard output is the file`,
	scope: scopeStore,
	define: func(f *flags) action {
		owners := f.List("owner", "write this `owner` (default: all)")
		out := f.String("out", "", "write to a new `file` that its owner alone can read (default: standard output)")
		noEvents := f.Bool("no-events", false, "leave the audit trail out")
		noUsage := f.Bool("no-usage", false, "leave usage and refusals out")
		allow := f.Bool("allow-changes", false, "complete the file also if owners changed while they were read")
		return func(ctx context.Context, c *call) error {
			keys, err := c.keys(ctx)
			if err != nil {
				return err
			}
			o, err := c.options()
			if err != nil {
				return err
			}
			for _, name := range *owners {
				if _, err := keys.Tenant(name); err != nil {
					return err
				}
			}
			to, err := c.exportTo(*out)
			if err != nil {
				return err
			}
			shown := c.progress("owners")
			sum, err := transfer.Export(ctx, c.store, to, transfer.ExportOptions{
				Owners: someOwners(ctx, c.store, *owners), Keyring: o.Keyring, Now: time.Now(), NoEvents: *noEvents,
				NoUsage: *noUsage, AllowChanges: *allow,
				Progress: func(_ string, so transfer.Summary) { shown.set(so.Owners) }})
			shown.end()
			if *out != "" {
				if err == nil {
					err = to.Sync()
				}
				if err = errors.Join(err, to.Close()); err != nil {
					err = errors.Join(err, os.Remove(*out))
				}
			}
			if len(sum.Changed) > 0 {
				c.note("these owners changed while they were read: %s", shownNames(sum.Changed))
				if err != nil {
					return fmt.Errorf("%w. Stop the programs that change them, or use -allow-changes", err)
				}
			}
			if err != nil {
				return err
			}
			if c.flags.json && *out != "" {
				return c.printJSON(summaryOut(sum))
			}
			c.note("%s", summaryText(sum))
			return nil
		}
	},
}

func (c *call) exportTo(path string) (*os.File, error) {
	if path == "" {
		if isTerminal(c.std.out) {
			return nil, usagef("standard output is a terminal: name a file with -out, or send it into one")
		}
		return c.std.out, nil
	}
	file, err := secretOut(path)
	if err != nil {
		return nil, err
	}
	return file.file, nil
}

// moved is a transfer.Summary with -json.
type moved struct {
	Owners  int `json:"owners"`
	Roles   int `json:"roles"`
	Clients int `json:"clients"`
	Tokens  int `json:"tokens"`
	Secrets int `json:"secrets"`
	Events  int `json:"events"`
	Usage   int `json:"usage"`
	Credits int `json:"credits"`
}

func summaryOut(s transfer.Summary) moved {
	return moved{s.Owners, s.Roles, s.Clients, s.Tokens, s.Secrets, s.Events, s.Usage, s.Credits}
}

func summaryText(s transfer.Summary) string {
	return fmt.Sprintf("owners: %d, roles: %d, clients: %d, tokens: %d, secrets: %d, events: %d, rows of usage: %d, "+
		"accounts of credits: %d", s.Owners, s.Roles, s.Clients, s.Tokens, s.Secrets, s.Events, s.Usage, s.Credits)
}

// shownNames are names in quotation marks, 20 at most.
func shownNames(names []string) string {
	text := ""
	for i, name := range names {
		if i == 20 {
			return text + ", …"
		}
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%q", name)
	}
	return text
}

var importCommand = command{
	name: "import",
	args: "FILE",
	min:  1, max: 1,
	summary: "read owners from a file of \"latchkey export\" into the store",
	help: `
Reads a file of "latchkey export" into the store of the settings file. The file is first read as a whole:
one that was cut off or altered is refused, and so is one with secrets under keys that the keyring of the
settings lacks, or has under the same id with another key.

Nothing is overwritten: the store must have nothing of the owners. Each owner stays switched off until all of
it is there. If the command is interrupted, run it again with the same file: it goes on where it was, and
skips the owners that are complete. The audit trail tells of the import, by "owner.import".`,
	output: `{"owners":1,"roles":2,"clients":0,"tokens":3,"secrets":3,"events":9,"usage":0,"credits":0}`,
	scope:  scopeStore,
	define: func(f *flags) action {
		check := f.Bool("check", false, "only check the file, and say what it holds")
		return func(ctx context.Context, c *call) error {
			o, err := c.options()
			if err != nil {
				return err
			}
			if err := refusePipe(c.args[0]); err != nil {
				return err
			}
			file, err := os.Open(c.args[0])
			if err != nil {
				return usagef("%s", err)
			}
			defer file.Close()
			contents, err := c.checkImport(ctx, file, o)
			if err != nil {
				return err
			}
			if *check {
				if c.flags.json {
					return c.printJSON(summaryOut(contents.Summary))
				}
				c.note("the file can be imported. %s", summaryText(contents.Summary))
				return nil
			}
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				return err
			}
			if _, err := c.keys(ctx); err != nil {
				return err
			}
			shown := c.progress("owners")
			sum, err := transfer.Import(ctx, c.store, file, transfer.ImportOptions{Keyring: o.Keyring, Now: time.Now,
				Actor:    "host:" + operator(),
				Progress: func(_ string, so transfer.Summary) { shown.set(so.Owners) }})
			shown.end()
			if err != nil {
				c.note("complete so far: %s", summaryText(sum))
				return err
			}
			if c.flags.json {
				return c.printJSON(summaryOut(sum))
			}
			c.note("%s", summaryText(sum))
			return nil
		}
	},
}

// checkImport reads a file as a whole. What is wrong with it is a mistake in an input.
func (c *call) checkImport(ctx context.Context, file *os.File, o *latchkey.Options) (transfer.Contents, error) {
	contents, err := transfer.Check(ctx, file, o.Keyring)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return contents, ctx.Err()
	case errors.Is(err, latchkey.ErrNeedsKeyring):
		return contents, fmt.Errorf("nothing was imported: %w", err)
	default:
		return contents, usagef("nothing was imported: %s: %s", file.Name(), err)
	}
	if len(contents.Changed) > 0 {
		c.note("these owners changed while they were exported, and may lack the change: %s", shownNames(contents.Changed))
	}
	return contents, nil
}

// refusePipe refuses what cannot be read twice. It does not open it: that would wait for whoever writes it.
func refusePipe(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().IsRegular() || info.IsDir() {
		return nil // opening it tells what is wrong
	}
	return usagef("%s is no ordinary file: it is read twice, so a pipe will not do", path)
}
