package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/latchkey-go/latchkey"
)

var expiringCommand = command{
	name:    "expiring",
	summary: "list tokens that end soon",
	help: `
Lists issued tokens that end within a time, soonest first, of all owners or of one. Revoked ones are left
out, and minted ones. Those that ended already, and were not purged yet, are listed with -from.`,
	output: "one line for each token: its record, as package latchkey documents Token",
	scope:  scopeStore,
	define: func(f *flags) action {
		within := f.Span("within", "tokens that end within this `duration` (default: 30d)")
		from := f.Time("from", "tokens that end at this `moment` or later (default: now)")
		owner := ownerOrAll(f)
		return func(ctx context.Context, c *call) error {
			now := time.Now()
			begin, end := *from, now.Add(30*24*time.Hour)
			if begin.IsZero() {
				begin = now
			}
			if c.flags.given["within"] {
				end = now.Add(*within)
			}
			keys, err := c.keys(ctx)
			if err != nil {
				return err
			}
			return c.notices(ctx, keys.Expiring(ctx, begin, end), *owner)
		}
	},
}

var unusedCommand = command{
	name:    "unused",
	summary: "list tokens that were not used for long",
	help: `
Lists issued tokens that were neither used nor made since a moment, of all owners or of one. Revoked ones
are left out, and minted ones. A use of what a token minted is no use of the token.`,
	output: "one line for each token: its record, as package latchkey documents Token",
	scope:  scopeStore,
	define: func(f *flags) action {
		since := f.Time("since", "tokens that were not used since this `moment` (default: -90d)")
		owner := ownerOrAll(f)
		return func(ctx context.Context, c *call) error {
			at := *since
			if at.IsZero() {
				at = time.Now().Add(-90 * 24 * time.Hour)
			}
			keys, err := c.keys(ctx)
			if err != nil {
				return err
			}
			return c.notices(ctx, keys.Unused(ctx, at), *owner)
		}
	},
}

// ownerOrAll defines -owner for a command that is about all owners without it.
func ownerOrAll(f *flags) *string {
	return f.String("owner", "", "only tokens of this `owner` (default: all owners)")
}

// notices prints tokens of all owners, or of one.
func (c *call) notices(ctx context.Context, tokens iter.Seq2[latchkey.Token, error], owner string) error {
	out := c.listing("ID", "OWNER", "STATE", "KIND", "NAME", "HINT", "LAST USE", "ENDS")
	shown := c.progress("tokens")
	defer shown.end()
	now, n := time.Now(), 0
	for t, err := range tokens {
		if _, damaged := errors.AsType[*latchkey.DamagedError](err); err != nil && !damaged {
			return errors.Join(out.end(), err)
		}
		n++
		shown.set(n)
		if owner != "" && t.Owner != owner {
			continue
		}
		state := t.State(now)
		if err := out.row(tokenOut{t, state.String()}, text(t.ID), text(t.Owner), stateCell(state, t.Damaged), kindCell(t),
			text(t.Name), text(t.Hint), moment(t.Used), moment(t.Validity.NotAfter)); err != nil {
			return err
		}
	}
	shown.end()
	return out.end()
}

var purgeCommand = command{
	name:    "purge",
	summary: "remove what is over: ended tokens, old history",
	help: `
Removes what has ended for as long as the settings file says (keep_expired, keep_revoked, keep_usage_days,
keep_usage_months, keep_events), and history that no program needs. Programs call it themselves, hourly say.
What is removed cannot be restored. It removes nothing while the clocks of this machine and of the store
differ by more than a minute.`,
	output: `{"removed":12}`,
	scope:  scopeStore,
	define: func(f *flags) action {
		return func(ctx context.Context, c *call) error {
			keys, err := c.keys(ctx)
			if err != nil {
				return err
			}
			n, err := keys.Purge(ctx)
			if err != nil {
				if n > 0 {
					c.note("removed so far: %d", n)
				}
				return err
			}
			if c.flags.json {
				return c.printJSON(map[string]int{"removed": n})
			}
			c.note("removed: %d", n)
			return nil
		}
	},
}
