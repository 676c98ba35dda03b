package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/difference"
)

var auditCommand = command{
	name:    "audit",
	summary: "show who changed what",
	help: `
Lists the audit trail of an owner, oldest first. An event must meet all flags that are given. The actor is
the id of a token, "client:ID" for a caller that the application authenticated itself, and empty for the
application itself and this command. With -changes each event is followed by how the record differs from
what it was, rule by rule. -f goes on with the events that are written from then on, until it is interrupted.`,
	output: `one line for each event, as package latchkey documents Event, with the records "before" and "after"`,
	scope:  scopeOwner,
	define: func(f *flags) action {
		actor := f.Optional("actor", "events of this `actor`; \"\": those of the application itself")
		object := f.String("object", "", "events of the token, the role or the owner with this `id`")
		what := f.String("action", "", "events of this `action`; token. means all that begin so")
		from := f.Time("from", "events of this `moment` and later")
		to := f.Time("to", "events before this `moment`")
		last := f.Int("last", 0, "only the last `n` events")
		reverse := f.Bool("reverse", false, "newest first")
		changes := f.Bool("changes", false, "show how records changed")
		follow := f.Bool("f", false, "go on with later events")
		asCSV := f.Bool("csv", false, "print CSV")
		return func(ctx context.Context, c *call) error {
			switch {
			case *last < 0:
				return usagef("-last is 1 or more")
			case *asCSV && (c.flags.json || *changes):
				return usagef("-csv excludes -json and -changes")
			case *follow && (*reverse || !to.IsZero()):
				return usagef("-f excludes -reverse and -to")
			}
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			q := latchkey.EventQuery{Actor: *actor, Object: *object, Action: *what, From: *from, To: *to, Reverse: *reverse}
			out, err := c.newAuditOut(*changes, *asCSV, *follow)
			if err != nil {
				return err
			}
			return c.audit(ctx, account, q, *last, *follow, out)
		}
	},
}

// audit prints events: all, or the last ones, and then those that follow.
func (c *call) audit(ctx context.Context, account latchkey.Account, q latchkey.EventQuery, last int, follow bool,
	out auditOut) error {
	after := uint64(0)
	print := func(e latchkey.Event) error {
		after = max(after, e.Seq)
		return out.event(e)
	}
	if last > 0 {
		back := q
		back.Reverse, back.Limit = true, min(last, 1000)
		var list []latchkey.Event
		for e, err := range account.Events(ctx, back) {
			if err != nil {
				return err
			}
			if list = append(list, e); len(list) == last {
				break
			}
		}
		for i := range list {
			if !q.Reverse {
				i = len(list) - 1 - i
			}
			if err := print(list[i]); err != nil {
				return err
			}
		}
	} else {
		q.Limit = 1000
		for e, err := range account.Events(ctx, q) {
			if err != nil {
				return err
			}
			if err := print(e); err != nil {
				return err
			}
		}
	}
	if err := out.end(); err != nil || !follow {
		return err
	}
	return c.followAudit(ctx, account, q, after, out)
}

// auditEvery is how often -f looks for events.
const auditEvery = time.Second

// followAudit prints events behind the one with the Seq after, until ctx ends: that is its usual end, and no error.
func (c *call) followAudit(ctx context.Context, account latchkey.Account, q latchkey.EventQuery, after uint64,
	out auditOut) error {
	for {
		if after > 0 {
			q.After = q.Key(latchkey.Event{Seq: after})
		}
		n := 0
		for e, err := range account.Events(ctx, q) {
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			after, n = e.Seq, n+1
			if err := out.event(e); err != nil {
				return err
			}
		}
		if n > 0 {
			if err := out.end(); err != nil {
				return err
			}
		}
		select {
		case <-time.After(auditEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// auditOut prints events in one of the forms.
type auditOut struct {
	event func(latchkey.Event) error
	end   func() error // prints what is left
}

func (c *call) newAuditOut(changes, asCSV, follow bool) (auditOut, error) {
	switch {
	case asCSV:
		out, err := c.csv("seq", "at", "actor", "from", "action", "object", "reason", "before", "after")
		return auditOut{func(e latchkey.Event) error {
			return out.row(fmt.Sprint(e.Seq), e.At.UTC().Format(time.RFC3339Nano), e.Actor, e.From, e.Action, e.Object, e.Reason,
				string(e.Before), string(e.After))
		}, func() error { return out.end() }}, err
	case c.flags.json:
		return auditOut{func(e latchkey.Event) error { return c.printJSON(e) }, func() error { return nil }}, nil
	case changes || follow:
		return auditOut{func(e latchkey.Event) error { return c.printEvent(e, changes) }, func() error { return nil }}, nil
	}
	out := c.listing("SEQ", "AT", "ACTION", "OBJECT", "ACTOR", "FROM", "REASON")
	return auditOut{func(e latchkey.Event) error {
		return out.row(e, number(int64(e.Seq)), moment(e.At), text(e.Action), text(e.Object), text(actorText(e.Actor)),
			text(e.From), text(e.Reason))
	}, out.end}, nil
}

func actorText(actor string) string {
	if actor == "" {
		return "(host)"
	}
	return actor
}

// printEvent prints an event on a line, and below it how the record changed.
func (c *call) printEvent(e latchkey.Event, changes bool) error {
	head := fmt.Sprintf("%d  %s  %s  %s  by %s", e.Seq, momentText(e.At), e.Action, e.Object, actorText(e.Actor))
	if e.From != "" {
		head += " from " + e.From
	}
	if e.Reason != "" {
		head += ": " + e.Reason
	}
	if _, err := c.std.out.WriteString(strong.of(visible(head), colours(c.std.out)) + "\n"); err != nil || !changes {
		return err
	}
	lines := difference.Of(e.Before, e.After)
	for i := range lines {
		lines[i].Deep++
	}
	// Every change has a new version: that is not what it was about.
	kept := lines[:0]
	for _, l := range lines {
		if l.Deep != 1 || !strings.HasPrefix(l.Text, "version: ") {
			kept = append(kept, l)
		}
	}
	return c.printLines(kept)
}
