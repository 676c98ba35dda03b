package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

var (
	kindWords  = []string{"secret", "publishable", "api_key", "access", "session"}
	stateWords = []string{"active", "revoked", "disabled", "expired", "not_yet_valid"}
	orderWords = []string{"id", "name", "used", "end"}
)

var listCommand = command{
	name:    "list",
	summary: "list tokens",
	help: `
Lists the tokens of an owner. A token must meet all flags that are given. Without -state all tokens are
listed, revoked ones too. -order used begins with those that were never used, and -order end with those
that end soonest.`,
	output: `
one line for each token: its record, as package latchkey documents Token, with
  "state": "active", "revoked", "disabled", "expired" or "not_yet_valid"`,
	scope: scopeOwner,
	define: func(f *flags) action {
		query := tokenFlags(f)
		order := f.Choice("order", "order of the list, by id if it is not given", orderWords...)
		reverse := f.Bool("reverse", false, "turn the order round")
		limit := f.Int("limit", 0, "list at most `n` tokens (default: all)")
		return func(ctx context.Context, c *call) error {
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			q := query()
			q.Reverse = *reverse
			switch *order {
			case "name":
				q.Order = latchkey.OrderName
			case "used":
				q.Order = latchkey.OrderUsed
			case "end":
				q.Order = latchkey.OrderEnd
			}
			if *limit < 0 {
				return usagef("-limit is 1 or more")
			}
			q.Limit = min(max(*limit, 0), 1000)
			return c.listTokens(ctx, account, q, *limit)
		}
	},
}

// tokenFlags defines the flags that select tokens. The result returns the query when the flags are parsed.
func tokenFlags(f *flags) func() latchkey.TokenQuery {
	kinds := f.Choices("kind", "tokens of this kind", kindWords...)
	states := f.Choices("state", "tokens in this state", stateWords...)
	role := f.String("role", "", "tokens that have this `role`, by its id or name")
	client := f.String("client", "", "tokens of this client `id`")
	parent := f.String("parent", "", "tokens that the token with this `id` minted")
	origin := f.Optional("origin", "tokens that this `surface` made; \"\": those of the host")
	search := f.String("search", "", "tokens whose name, id or hint begins with this `text`")
	find := f.String("find", "", "tokens whose name, id or hint has this `text` in it, in any case of letters")
	from := f.Time("expires-from", "tokens that end at this `moment` or later")
	to := f.Time("expires-to", "tokens that end before this `moment`")
	unused := f.Time("unused-since", "tokens that were not used since this `moment`")
	created := f.Time("created-before", "tokens that were made before this `moment`")
	return func() latchkey.TokenQuery {
		return latchkey.TokenQuery{Kinds: kindsOf(*kinds), States: statesOf(*states), Role: *role, Client: *client,
			Parent: *parent, Origin: *origin, Search: *search, Find: *find, ExpiresFrom: *from, ExpiresTo: *to,
			UnusedSince: *unused, CreatedBefore: *created}
	}
}

func kindsOf(words []string) (kinds []latchkey.Kind) {
	for _, word := range words {
		var k latchkey.Kind
		if err := k.UnmarshalText([]byte(word)); err != nil {
			panic(err) // the flag takes these words alone
		}
		kinds = append(kinds, k)
	}
	return kinds
}

func statesOf(words []string) (states []latchkey.State) {
	for _, word := range words {
		for s := latchkey.Active; s <= latchkey.NotYetValid; s++ {
			if s.String() == word {
				states = append(states, s)
			}
		}
	}
	return states
}

// listTokens prints the tokens that a query selects, at most most of them; 0: all.
func (c *call) listTokens(ctx context.Context, account latchkey.Account, q latchkey.TokenQuery, most int) error {
	roles := newRoleNames(account)
	out := c.listing("ID", "STATE", "KIND", "NAME", "ROLES", "HINT", "LAST USE", "ENDS")
	n := 0
	for t, err := range account.Tokens(ctx, q) {
		if _, damaged := errors.AsType[*latchkey.DamagedError](err); err != nil && (!damaged || t.ID == "") {
			return errors.Join(out.end(), err)
		}
		state := t.State(time.Now())
		if err := out.row(tokenOut{t, state.String()}, text(t.ID), stateCell(state, t.Damaged), kindCell(t), text(t.Name),
			list(roles.of(ctx, t.Roles)), text(t.Hint), moment(t.Used), moment(t.Validity.NotAfter)); err != nil {
			return err
		}
		if n++; n == most {
			break
		}
	}
	return out.end()
}

// tokenOut is a token with -json.
type tokenOut struct {
	latchkey.Token
	State string `json:"state"`
}

func kindCell(t latchkey.Token) cell {
	if t.Test {
		return text(t.Kind.String() + ", test")
	}
	return text(t.Kind.String())
}

func stateCell(s latchkey.State, damaged bool) cell {
	switch {
	case damaged:
		return styled("damaged", bad)
	case s == latchkey.Active:
		return styled("active", good)
	case s == latchkey.Revoked:
		return styled("revoked", bad)
	}
	return styled(strings.ReplaceAll(s.String(), "_", " "), uneasy)
}

// roleNames finds the names of roles, each once.
type roleNames struct {
	account latchkey.Account
	known   map[string]string
}

func newRoleNames(account latchkey.Account) *roleNames {
	return &roleNames{account, map[string]string{}}
}

// of returns the names of roles. One that cannot be read is named by its id.
func (r *roleNames) of(ctx context.Context, ids []string) (names []string) {
	for _, id := range ids {
		name, ok := r.known[id]
		if !ok {
			name = id
			if role, err := r.account.Role(ctx, id); err == nil {
				name = role.Name
			}
			r.known[id] = name
		}
		names = append(names, name)
	}
	return names
}
