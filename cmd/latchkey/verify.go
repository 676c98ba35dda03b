package main

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey-go/latchkey"
)

var verifyCommand = command{
	name:    "verify",
	summary: "say whose a key is, what it may do, and why it is refused",
	help: `
Reads one key from standard input, and says which token it belongs to, what that may do, and whether the
programs of the deployment would accept it now. It exits with 4 for a key that they would refuse, and
with 3 for one that nobody has. With -action and -on it also says whether the token may do that.

It counts as no use of the key, and takes nothing of its rate. What a request brings along is not asked:
addresses, domains and signatures are shown as restrictions.`,
	output: `
{"valid":true,"token":{…}}
{"valid":false,"refused":"revoked","token":{…}}, where refused is revoked, disabled, expired, rotated,
  not_yet_valid, parent, owner_disabled or damaged
with "explanation":{…} for -action and -on: as package latchkey documents Explanation`,
	scope: scopeOwner,
	define: func(f *flags) action {
		act := f.String("action", "", "`action` to ask about, with -on")
		on := f.String("on", "", "`resource` to ask about, with -action")
		return func(ctx context.Context, c *call) error {
			if (*act == "") != (*on == "") {
				return usagef("-action and -on belong together")
			}
			var ask []latchkey.Question
			if *act != "" {
				ask = append(ask, latchkey.Question{Action: latchkey.Action(*act), Resource: latchkey.Resource(*on)})
			}
			return c.verify(ctx, ask)
		}
	},
}

func (c *call) verify(ctx context.Context, ask []latchkey.Question) error {
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
	account := keys.For(found.Token.Owner)
	l, err := account.Lineage(ctx, found.Token.ID)
	if err != nil && !isDamaged(err) {
		return err
	}
	if l.Token.ID == "" {
		l.Token, l.Refused = found.Token, err
	}
	refused := ""
	switch {
	case l.Refused != nil:
		refused = refusedWord(l.Refused)
	case found.Ended:
		refused = "rotated"
		l.Refused = fmt.Errorf("a rotation ended this secret at %s: the token has a newer one", momentText(found.NotAfter))
	}
	var answers []latchkey.Explanation
	if len(ask) > 0 {
		if answers, err = account.Explain(ctx, found.Token.ID, ask...); err != nil {
			return err
		}
	}
	if err := c.printVerified(l, found, refused, answers); err != nil {
		return err
	}
	if refused != "" {
		return errRefused
	}
	return nil
}

func (c *call) printVerified(l latchkey.Lineage, found latchkey.FoundSecret, refused string,
	answers []latchkey.Explanation) error {
	if c.flags.json {
		out := struct {
			Valid       bool                  `json:"valid"`
			Refused     string                `json:"refused,omitempty"`
			SecretEnds  time.Time             `json:"secret_ends,omitzero"`
			Token       latchkey.Token        `json:"token"`
			Explanation *latchkey.Explanation `json:"explanation,omitempty"`
		}{Valid: refused == "", Refused: refused, SecretEnds: found.NotAfter, Token: l.Token}
		if len(answers) > 0 {
			out.Explanation = &answers[0]
		}
		return c.printJSON(out)
	}
	verdict := styled("valid", good)
	if refused != "" {
		verdict = styled("refused", bad)
	}
	fields := append([]field{{"key", verdict}}, tokenFields(l, time.Now())...)
	if refused != "rotated" {
		fields = append(fields, field{"this secret ends", moment(found.NotAfter)})
	}
	if err := c.record(fields...); err != nil {
		return err
	}
	for _, a := range answers {
		if _, err := fmt.Fprintf(c.std.out, "\n%s\n", visibleLines(a.String())); err != nil {
			return err
		}
	}
	return nil
}
