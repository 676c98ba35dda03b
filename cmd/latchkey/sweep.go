package main

import (
	"context"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

// selectorFlags defines the flags that select many tokens. The result returns the Selector, and whether any flag was
// given.
func selectorFlags(f *flags) func() (latchkey.Selector, bool) {
	client := f.String("client", "", "tokens of this client `id`")
	role := f.String("role", "", "tokens that have this `role`, by its id or name")
	origin := f.Optional("origin", "tokens that this `surface` made; \"\": those of the host")
	parent := f.String("parent", "", "tokens that the token with this `id` minted")
	kinds := f.Choices("kind", "tokens of this kind", kindWords...)
	created := f.Time("created-before", "tokens that were made before this `moment`")
	unused := f.Time("unused-since", "tokens that were neither used nor made since this `moment`")
	all := f.Bool("all", false, "all tokens of the owner, without any other of these flags")
	return func() (latchkey.Selector, bool) {
		s := latchkey.Selector{Client: *client, Role: *role, Origin: *origin, Parent: *parent, Kinds: kindsOf(*kinds),
			CreatedBefore: *created, UnusedSince: *unused, All: *all}
		for _, name := range []string{"client", "role", "origin", "parent", "kind", "created-before", "unused-since", "all"} {
			if f.given[name] {
				return s, true
			}
		}
		return s, false
	}
}

// A sweep is what a command does to many tokens.
type sweep struct {
	verb, done string // "revoke" and "revoked"
	run        func(context.Context, latchkey.Selector, string) (latchkey.Swept, error)
}

// sweepTokens counts the tokens that a selector selects, asks, and does it.
func (c *call) sweepTokens(ctx context.Context, account latchkey.Account, s latchkey.Selector, w sweep,
	dry, sure bool) error {
	n, err := account.CountTokens(ctx, s.Query(), 1<<30)
	if err != nil {
		return err
	}
	if dry {
		if c.flags.json {
			return c.printJSON(map[string]int{"selected": n})
		}
		_, err := fmt.Fprintf(c.std.out, "%s would be %s\n", tokens(n), w.done)
		return err
	}
	if n > 0 {
		question := fmt.Sprintf("%s%s %s of the owner %q?", upper(w.verb[:1]), w.verb[1:], tokens(n), account.Owner())
		if err := c.confirm(ctx, sure, question); err != nil {
			return err
		}
	}
	p := c.progress(w.done)
	s.Progress = func(swept latchkey.Swept) { p.set(swept.Done) }
	swept, err := w.run(ctx, s, c.flags.reason)
	p.end()
	if err != nil {
		return fmt.Errorf("%s were %s before it ended: %w. Run it again: it goes on with the others", tokens(swept.Done),
			w.done, err)
	}
	if c.flags.json {
		return c.printJSON(map[string]int{w.done: swept.Done})
	}
	_, err = fmt.Fprintf(c.std.out, "%s %s\n", w.done, tokens(swept.Done))
	return err
}

func tokens(n int) string {
	if n == 1 {
		return "1 token"
	}
	return fmt.Sprintf("%d tokens", n)
}

func upper(letter string) string { return string(letter[0] - 'a' + 'A') }
