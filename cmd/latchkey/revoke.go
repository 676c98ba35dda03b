package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

var revokeCommand = command{
	name:    "revoke",
	args:    "[ID…]",
	max:     -1,
	summary: "revoke tokens: by id, by what they have in common, or by a key that leaked",
	help: `
Ends tokens, and all that was minted from them. The records stay, listed as revoked, until they are
purged. It takes one of these:

  ids              each is revoked; one that is not found does not keep the others
  -stdin           one key is read from standard input, whoever owns it: it is what to do with a key that
                   was found somewhere. A key is never an argument, where others would see it
  selecting flags  a token must meet all of them. The number is shown first, and -yes or an answer is
                   needed. -dry-run shows the number alone`,
	output: `
one line for each id:  {"id":"…","revoked":true} or {"id":"…","error":"not_found"}
with -stdin:           {"id":"…","owner":"…","revoked":true}
with selecting flags:  {"revoked":37}, or with -dry-run {"selected":37}`,
	scope: scopeOwner,
	define: func(f *flags) action {
		pasted := f.Bool("stdin", false, "revoke the token of a key that is read from standard input")
		selector := selectorFlags(f)
		dry := f.Bool("dry-run", false, "show how many tokens are selected, and change nothing")
		sure := f.Bool("yes", false, "do not ask")
		f.Reason()
		return func(ctx context.Context, c *call) error {
			s, selects := selector()
			switch given := count(len(c.args) > 0, *pasted, selects); {
			case given != 1:
				return usagef("give ids, -stdin, or flags that select tokens: one of these three")
			case *pasted:
				return c.revokePasted(ctx)
			}
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			if selects {
				return c.sweepTokens(ctx, account, s, sweep{"revoke", "revoked", account.RevokeAll}, *dry, *sure)
			}
			return c.each(ctx, c.args, func(id string) error {
				return c.told(id, "revoked", account.Revoke(ctx, id, c.flags.reason))
			})
		}
	},
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// told prints what became of one id, and returns the error.
func (c *call) told(id, done string, err error) error {
	if !c.flags.json {
		if err == nil {
			_, err = fmt.Fprintf(c.std.out, "%s %s\n", done, visible(id))
		}
		return err
	}
	out := map[string]any{"id": id, done: true}
	if err != nil {
		out = map[string]any{"id": id, "error": errorWord(err)}
	}
	return errors.Join(err, c.printJSON(out))
}

// errorWord is an error as one word, for scripts.
func errorWord(err error) string {
	for _, e := range []struct {
		err  error
		word string
	}{
		{latchkey.ErrNotFound, "not_found"}, {latchkey.ErrConflict, "conflict"}, {latchkey.ErrPolicy, "policy"},
		{latchkey.ErrDenied, "denied"}, {latchkey.ErrUnavailable, "unavailable"},
		{latchkey.ErrUnknownOutcome, "unknown_outcome"}, {latchkey.ErrInvalid, "invalid"},
	} {
		if errors.Is(err, e.err) {
			return e.word
		}
	}
	return "failed"
}

// revokePasted revokes the token of a key that somebody pastes.
func (c *call) revokePasted(ctx context.Context) error {
	keys, err := c.keys(ctx)
	if err != nil {
		return err
	}
	key, err := c.readSecret(ctx, "key")
	if err != nil {
		return err
	}
	found, err := c.find(ctx, keys, key)
	if err != nil {
		return err
	}
	t := found.Token
	if found.Ended {
		return refusedf("a rotation ended this secret: it lets nobody in. The %s %s%s of the owner %q goes on with a newer "+
			"one, and was not revoked. To end it too, revoke it by its id", kindWord(t.Kind), t.ID, quotedName(t.Name), t.Owner)
	}
	account, err := c.accountOf(keys, t.Owner)
	if err != nil {
		return err
	}
	if err := account.Revoke(ctx, t.ID, c.flags.reason); err != nil {
		return err
	}
	if c.flags.json {
		return c.printJSON(map[string]any{"id": t.ID, "owner": t.Owner, "revoked": true})
	}
	_, err = fmt.Fprintln(c.std.out, visible(fmt.Sprintf("revoked the %s %s%s of the owner %q", kindWord(t.Kind), t.ID,
		quotedName(t.Name), t.Owner)))
	return err
}

// find finds the token of a text: of any owner, or of -owner if that is given.
func (c *call) find(ctx context.Context, keys *latchkey.Manager, text string) (latchkey.FoundSecret, error) {
	found, err := keys.Find(ctx, text)
	if err == nil && c.flags.given["owner"] && found.Token.Owner != c.flags.owner {
		err = latchkey.ErrNotFound
	}
	if errors.Is(err, latchkey.ErrNotFound) {
		why := "it is no text that latchkey makes, nor one of the imported shapes of the settings"
		if latchkey.CheckText(text) {
			why = "it is of the right form: a rotation may have ended it, its record may be purged, or it is of another " +
				"deployment"
		}
		return found, fmt.Errorf("%w: no token has this key: %s", latchkey.ErrNotFound, why)
	}
	return found, err
}
