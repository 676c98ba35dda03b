package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

var explainCommand = command{
	name: "explain",
	args: "ID ACTION RESOURCE",
	min:  3, max: 3,
	summary: "say whether a token may do something, and which rule says so",
	help: `
Answers whether the token with this id may do an action on a resource, and why: every layer, role and rule
that counts. With -role the first argument is the id or the name of a role. The exit code is 0 if every row
or some rows are allowed, and 4 if nothing is. If the token is refused whatever it asks for, because it is
revoked say, the answer says that first.`,
	output: `
the explanation, as package latchkey documents Explanation, with
  "refused": "why Verify refuses the token", if it does`,
	scope: scopeOwner,
	define: func(f *flags) action {
		role := f.Bool("role", false, "explain a role")
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			ask := latchkey.Question{Action: latchkey.Action(c.args[1]), Resource: latchkey.Resource(c.args[2])}
			if *role {
				id, err := roleID(ctx, account, c.args[0])
				if err != nil {
					return err
				}
				list, err := account.ExplainRole(ctx, id, ask)
				if err != nil {
					return err
				}
				return c.printExplanation(list[0], nil)
			}
			list, err := account.Explain(ctx, c.args[0], ask)
			if err != nil {
				return err
			}
			lineage, err := account.Lineage(ctx, c.args[0])
			if err != nil {
				return err
			}
			return c.printExplanation(list[0], lineage.Refused)
		}
	},
}

// roleID returns the id of the role that a text names: an id wins over a name.
func roleID(ctx context.Context, account latchkey.Account, text string) (string, error) {
	if _, err := account.Role(ctx, text); err == nil {
		return text, nil
	} else if !errors.Is(err, latchkey.ErrNotFound) {
		return "", err
	}
	host := ""
	id := ""
	for r, err := range account.Roles(ctx, latchkey.RoleQuery{Names: []string{text}, Origin: &host}) {
		if err != nil {
			return "", err
		}
		if id != "" {
			return "", usagef("the name %q is that of several roles: name the role by its id (%s, %s)", text, id, r.ID)
		}
		id = r.ID
	}
	if id == "" {
		return "", latchkey.ErrNotFound
	}
	return id, nil
}

func (c *call) printExplanation(e latchkey.Explanation, refused error) error {
	if c.flags.json {
		out := struct {
			latchkey.Explanation
			Refused string `json:"refused,omitempty"`
		}{Explanation: e}
		if refused != nil {
			out.Refused = refused.Error()
		}
		if err := c.printJSON(out); err != nil {
			return err
		}
	} else {
		said := ""
		if refused != nil {
			said = "the token is refused, whatever it asks for: " + strings.TrimPrefix(refused.Error(), "latchkey: ") + "\n"
		}
		if _, err := c.std.out.WriteString(visibleLines(said+strings.TrimSuffix(e.String(), "\n")) + "\n"); err != nil {
			return err
		}
	}
	if refused != nil || e.Verdict == "none" {
		return errRefused
	}
	return nil
}

var whoCommand = command{
	name: "who",
	args: "ACTION RESOURCE",
	min:  2, max: 2,
	summary: "list the tokens that may do something",
	help: `
Lists the tokens of an owner that may do an action on a resource, or on some of its rows, oldest first. Only
tokens that would be accepted now are listed. Minted ones are left out without -minted: each may do no more
than the token it was minted from. "latchkey explain" says why a token may do it.`,
	output: `one line for each token: its record, as package latchkey documents Token, with
  "state", and "rows_allowed": a condition`,
	scope: scopeOwner,
	define: func(f *flags) action {
		minted := f.Bool("minted", false, "list minted tokens, too")
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			out := c.listing("ID", "KIND", "NAME", "ROWS", "HINT", "LAST USE", "ENDS")
			q := latchkey.WhoQuery{Action: latchkey.Action(c.args[0]), Resource: latchkey.Resource(c.args[1]), Minted: *minted,
				Page: latchkey.Page{Limit: 1000}}
			var unknown []error
			for h, err := range account.WhoOf(ctx, q) {
				if _, damaged := errors.AsType[*latchkey.DamagedError](err); damaged {
					unknown = append(unknown, err)
					continue
				}
				if err != nil {
					return errors.Join(out.end(), err)
				}
				t := h.Token
				if err := out.row(holderOut{tokenOut{t, t.State(time.Now()).String()}, h.Rows}, text(t.ID), kindCell(t),
					text(t.Name), text(h.Rows.String()), text(t.Hint), moment(t.Used), moment(t.Validity.NotAfter)); err != nil {
					return err
				}
			}
			return errors.Join(append([]error{out.end()}, unknown...)...)
		}
	},
}

// holderOut is a latchkey.Holder with -json.
type holderOut struct {
	tokenOut
	Rows latchkey.Condition `json:"rows_allowed"`
}
