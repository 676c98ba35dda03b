package main

import (
	"context"

	"github.com/latchkey-go/latchkey"
)

var disableCommand = command{
	name:    "disable",
	args:    "[ID…]",
	max:     -1,
	summary: "switch tokens off",
	help: `
Switches tokens off, and with them what was minted from them. enable switches them on again. It takes
ids or selecting flags, as revoke does.`,
	output: `
one line for each id:  {"id":"…","disabled":true} or {"id":"…","error":"not_found"}
with selecting flags:  {"disabled":37}, or with -dry-run {"selected":37}`,
	scope: scopeOwner,
	define: func(f *flags) action {
		selector := selectorFlags(f)
		dry := f.Bool("dry-run", false, "show how many tokens are selected, and change nothing")
		sure := f.Bool("yes", false, "do not ask")
		f.Reason()
		return func(ctx context.Context, c *call) error {
			s, selects := selector()
			if selects == (len(c.args) > 0) {
				return usagef("give ids, or flags that select tokens")
			}
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			if selects {
				return c.sweepTokens(ctx, account, s, sweep{"disable", "disabled", account.DisableAll}, *dry, *sure)
			}
			return c.switchTokens(ctx, account, true, "disabled")
		}
	},
}

var enableCommand = command{
	name:    "enable",
	args:    "ID…",
	min:     1,
	max:     -1,
	summary: "switch tokens on again",
	help:    `Switches on tokens that were disabled. One that is revoked or has expired stays what it is.`,
	output:  `one line for each id: {"id":"…","enabled":true} or {"id":"…","error":"not_found"}`,
	scope:   scopeOwner,
	define: func(f *flags) action {
		f.Reason()
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			return c.switchTokens(ctx, account, false, "enabled")
		}
	},
}

// switchTokens switches the tokens that are named off or on.
func (c *call) switchTokens(ctx context.Context, account latchkey.Account, off bool, done string) error {
	return c.each(ctx, c.args, func(id string) error {
		_, err := account.Update(ctx, id, func(t *latchkey.Token) error {
			t.Disabled = off
			return nil
		})
		return c.told(id, done, err)
	})
}
