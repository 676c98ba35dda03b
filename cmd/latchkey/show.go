package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
)

var showCommand = command{
	name:    "show",
	args:    "ID",
	min:     1,
	max:     1,
	summary: "show a token: what it may do, and its secrets",
	help: `
Shows a token of an owner: its state and why it is refused, its roles with their rules, its own rules,
what restricts it, and the secrets that have not ended with their last uses. No secret is shown, but its
hint.`,
	output: `
{"token":{…},"state":"active","refused":"parent","secrets":[{"id":"…","hint":"…",…}]}
refused is what verify calls it, and is left out of a token that is not refused`,
	scope: scopeOwner,
	define: func(f *flags) action {
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			return c.show(ctx, account, c.args[0])
		}
	},
}

func (c *call) show(ctx context.Context, account latchkey.Account, id string) error {
	l, err := account.Lineage(ctx, id)
	if err != nil && !isDamaged(err) {
		return fmt.Errorf("%s: %w", visible(id), err)
	}
	if l.Token.ID == "" { // nothing is left of it but what a listing tells
		if l.Token, err = account.Get(ctx, id); err != nil && !isDamaged(err) {
			return err
		}
	}
	secrets, err := account.Secrets(ctx, id)
	if err != nil && !isDamaged(err) {
		return err
	}
	now := time.Now()
	if c.flags.json {
		out := struct {
			Token   latchkey.Token        `json:"token"`
			State   string                `json:"state"`
			Refused string                `json:"refused,omitempty"`
			Secrets []latchkey.LiveSecret `json:"secrets"`
		}{Token: l.Token, State: l.Token.State(now).String(), Secrets: secrets}
		if l.Refused != nil {
			out.Refused = refusedWord(l.Refused)
		}
		if secrets == nil {
			out.Secrets = []latchkey.LiveSecret{}
		}
		return c.printJSON(out)
	}
	if err := c.record(tokenFields(l, now)...); err != nil || len(secrets) == 0 {
		return err
	}
	fmt.Fprintln(c.std.out)
	table := c.listing("SECRET", "HINT", "MADE", "ENDS", "LAST USE", "FROM", "")
	for _, s := range secrets {
		from, what := "", ""
		if s.UsedFrom.IsValid() {
			from = s.UsedFrom.String()
		}
		switch {
		case s.Newest:
			what = "newest"
		case s.Signing:
			what = "signs"
		}
		if err := table.row(s, text(s.ID), text(s.Hint), moment(s.Created), moment(s.NotAfter), moment(s.Used), text(from),
			text(what)); err != nil {
			return err
		}
	}
	return table.end()
}

func isDamaged(err error) bool {
	_, damaged := errors.AsType[*latchkey.DamagedError](err)
	return damaged
}

func isError(err, target error) bool { return errors.Is(err, target) }
