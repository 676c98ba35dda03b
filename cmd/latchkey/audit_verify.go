package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey"
)

var auditVerifyCommand = command{
	name:    "audit verify",
	summary: "say whether an audit trail was altered, and where",
	help: `
Goes through the audit trail of an owner, and finds events that were edited, deleted, moved, or cut off at
the end. It needs the keyring that the trail was written with, retired keys too. Events of which nothing can
be proven are named: those from before there was a chain, those under keys that the keyring lacks, and those
that a program without a keyring wrote.

That the end was cut off together with the count of events, only an anchor from before can tell. -anchors
names a file of them, one a line, as "latchkey audit anchor" prints them. Anchors of other owners are left
out. The exit code is 6 if the trail was altered, or if not all of it could be proven.`,
	output: `
{"proven":true,"report":{…}}: the report as package latchkey documents AuditReport`,
	scope: scopeOwner,
	define: func(f *flags) action {
		file := f.String("anchors", "", "compare the trail with the anchors in this `file`")
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			var check latchkey.AuditCheck
			if *file != "" {
				if check.Anchors, err = readAnchors(*file, account.Owner()); err != nil {
					return err
				}
			}
			shown := c.progress("events")
			check.Progress = func(at, _ uint64) { shown.set(int(at)) }
			r, err := account.VerifyAudit(ctx, check)
			shown.end()
			if err != nil {
				return err
			}
			if err := c.printAudit(&r, len(check.Anchors)); err != nil {
				return err
			}
			if !r.Proven() {
				return errFindings
			}
			return nil
		}
	},
}

// maxAnchors bounds how many anchors of an owner are read.
const maxAnchors = 1_000_000

// readAnchors reads the anchors of an owner from a file.
func readAnchors(name, owner string) (anchors []latchkey.AuditAnchor, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, usagef("the file of anchors: %v", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		anchor, err := latchkey.ParseAuditAnchor(text)
		if err != nil {
			return nil, usagef("line %d of the file of anchors: %v", n, err)
		}
		if anchor.Owner != owner {
			continue
		}
		if len(anchors) == maxAnchors {
			return nil, usagef("the file has more than %d anchors of the owner: the newest is enough", maxAnchors)
		}
		anchors = append(anchors, anchor)
	}
	if err := lines.Err(); err != nil {
		return nil, usagef("the file of anchors: %v", err)
	}
	if len(anchors) == 0 {
		return nil, usagef("the file has no anchor of the owner")
	}
	return anchors, nil
}

func (c *call) printAudit(r *latchkey.AuditReport, anchors int) error {
	if c.flags.json {
		return c.printJSON(struct {
			Proven bool                  `json:"proven"`
			Report *latchkey.AuditReport `json:"report"`
		}{r.Proven(), r})
	}
	verdict := styled("proven", good)
	switch {
	case len(r.Faults) > 0:
		verdict = styled("altered", bad)
	case !r.Proven():
		verdict = styled("not proven", uneasy)
	}
	faults := make([]string, len(r.Faults))
	for i, f := range r.Faults {
		faults[i] = f.String()
	}
	if r.MoreFaults > 0 {
		faults = append(faults, fmt.Sprintf("and %d more", r.MoreFaults))
	}
	err := c.record(
		field{"trail", verdict},
		field{"events", text(fmt.Sprintf("%d, from %d to %d", r.Events, r.First, r.Last))},
		field{"as they were written", number(r.Chained)},
		field{"faults", lines(faults)},
		field{"outside the chain", text(rangesText(r.Unchained))},
		field{"keys not known", text(rangesText(r.Unverifiable))},
		field{"without a key", text(rangesText(r.Unkeyed))},
		field{"removed by purge or erase", text(rangesText(r.Removed))})
	if err != nil {
		return err
	}
	if anchors == 0 {
		c.note("without -anchors nobody can tell whether the end was cut off")
	}
	return nil
}

// rangesText returns some ranges of numbers as a text.
func rangesText(ranges []latchkey.AuditRange) string {
	const most = 20
	var out []string
	for i, r := range ranges {
		switch {
		case i == most:
			return strings.Join(out, ", ") + fmt.Sprintf(", and %d more", len(ranges)-most)
		case r.First == r.Last:
			out = append(out, fmt.Sprint(r.First))
		default:
			out = append(out, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return strings.Join(out, ", ")
}

var auditAnchorCommand = command{
	name:    "audit anchor",
	summary: "print an anchor of an audit trail",
	help: `
Prints an anchor of the last event of an owner's audit trail, signed with the keyring. Append it to a file
where whoever can write the database cannot, and give that to "latchkey audit verify -anchors": it shows
later whether the trail was cut, or written anew. It holds no secret. Programs do the same for all owners
with Manager.Anchor.`,
	output: `{"anchor":"latchkey-audit-1:…"}`,
	scope:  scopeOwner,
	define: func(f *flags) action {
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			anchor, err := account.AuditCheckpoint(ctx)
			if errors.Is(err, latchkey.ErrNotFound) {
				return fmt.Errorf("%w: no program that knows of the chain has written to it", err)
			}
			if err != nil {
				return err
			}
			if c.flags.json {
				return c.printJSON(map[string]latchkey.AuditAnchor{"anchor": anchor})
			}
			_, err = fmt.Fprintln(c.std.out, anchor)
			return err
		}
	},
}
