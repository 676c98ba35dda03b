package main

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
)

var rotateCommand = command{
	name:    "rotate",
	args:    "ID",
	min:     1,
	max:     1,
	summary: "give a token a new secret",
	help: `
Gives a token a new secret, and prints it as issue does. The record stays, and so does what was minted
from it. The old secrets end at once, or after -overlap. With -if-newest nothing happens unless that
secret, by its id as show tells it, is the newest: so of two rotations for one reason one takes effect.

It refuses as issue does if the keyring is not that of the deployment.`,
	output: `{"token_id":"…","old_secrets_end":"2026-11-30T12:00:00Z","secret":"ak_…"}; with -out "secret_file"`,
	scope:  scopeOwner,
	define: func(f *flags) action {
		overlap := f.Span("overlap", "how much longer the old secrets work: a `duration` (default: they end at once)")
		newest := f.String("if-newest", "", "`id` of the secret that has to be the newest")
		out := outFlag(f)
		f.Reason()
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			if err := c.checkKeyring(ctx); err != nil {
				return err
			}
			id := c.args[0]
			to, err := secretOut(*out)
			if err != nil {
				return err
			}
			secret, err := account.RotateWith(ctx, id, latchkey.Rotation{Overlap: *overlap, IfNewest: *newest,
				Reason: c.flags.reason})
			if err != nil {
				to.drop()
				return fmt.Errorf("%s: %w", visible(id), err)
			}
			end := time.Now().Add(*overlap)
			if err := c.printSecret(struct {
				ID  string    `json:"token_id"`
				End time.Time `json:"old_secrets_end"`
			}{id, end.UTC().Truncate(time.Second)}, secret, to); err != nil {
				return fmt.Errorf("the token %s was rotated, and its new secret could not be written: %w. Rotate it again", id,
					err)
			}
			if *overlap > 0 {
				c.note("rotated %s: the old secrets work until %s", id, momentText(end))
			} else {
				c.note("rotated %s: the old secrets have ended", id)
			}
			return nil
		}
	},
}
