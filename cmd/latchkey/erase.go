package main

import (
	"context"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

var eraseCommand = command{
	name:    "erase",
	summary: "remove everything of an owner",
	help: `
Removes everything of an owner for good: tokens, roles, clients, usage, its record and its audit trail. One
event, "owner.erase", is left, which says who did it. Every key of the owner stops working. It is what to do
with an owner that goes, and to begin an import anew.

The owner is named by -owner, never by the settings file. What there is of it is shown first, and -yes or an
answer is needed.`,
	output: `{"owner":"acme","erased":true,"tokens":37}, where minted tokens count, too`,
	scope:  scopeOwner,
	define: func(f *flags) action {
		sure := f.Bool("yes", false, "do not ask")
		f.Reason()
		return func(ctx context.Context, c *call) error { return c.erase(ctx, *sure) }
	},
}

func (c *call) erase(ctx context.Context, sure bool) error {
	if c.flags.owner == "" {
		return usagef("name the owner that is to be erased: -owner OWNER. That of the settings file is not taken for it")
	}
	account, err := c.account(ctx)
	if err != nil {
		return err
	}
	n, err := account.CountTokens(ctx, latchkey.TokenQuery{}, 1<<30)
	if err != nil {
		return err
	}
	if n == 0 {
		if err := nothingOf(ctx, account); err != nil {
			return err
		}
	}
	question := fmt.Sprintf("Erase the owner %q, with %s and all else of it? It cannot be undone.", account.Owner(),
		tokens(n))
	if err := c.confirm(ctx, sure, question); err != nil {
		return err
	}
	if err := account.Erase(ctx); err != nil {
		return err
	}
	if c.flags.json {
		return c.printJSON(struct {
			Owner  string `json:"owner"`
			Erased bool   `json:"erased"`
			Tokens int    `json:"tokens"`
		}{account.Owner(), true, n})
	}
	c.note("erased the owner %q, with %s", account.Owner(), tokens(n))
	return nil
}

// nothingOf returns an error for an owner without an event in the audit trail: its name is mistaken.
func nothingOf(ctx context.Context, account latchkey.Account) error {
	for _, err := range account.Events(ctx, latchkey.EventQuery{Page: latchkey.Page{Limit: 1}}) {
		return err
	}
	return fmt.Errorf("%w: the store has nothing of the owner %q", latchkey.ErrNotFound, account.Owner())
}
