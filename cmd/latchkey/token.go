package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey-go/latchkey"
)

// printIssued prints a token that was just made, and its secret. For people the secret alone goes to standard output,
// so that a script can take it from there; all else goes to standard error.
func (c *call) printIssued(t latchkey.Token, secret latchkey.Secret, to *secretFile) error {
	err := c.printSecret(struct {
		Token latchkey.Token `json:"token"`
	}{t}, secret, to)
	if err != nil {
		return notWritten(t, err)
	}
	c.note("issued the %s %s%s for the owner %s", kindWord(t.Kind), t.ID, quotedName(t.Name), t.Owner)
	return nil
}

// notWritten is the error of a token whose secret nobody has.
func notWritten(t latchkey.Token, err error) error {
	return fmt.Errorf("the token %s was made, and its secret could not be written: %w. "+
		"Rotate it for another secret, or revoke it", t.ID, err)
}

// printSecret writes a new secret. With -json it is a member of v's object, unless it goes to a file.
func (c *call) printSecret(v any, secret latchkey.Secret, to *secretFile) error {
	signal.Ignore(syscall.SIGPIPE) // if nobody reads it any more, there is an error to tell, not just an end
	if !c.flags.json {
		return to.write(c.std.out, secret)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	name, value := "secret", secret.Reveal()
	if to.file != nil {
		if err := to.write(nil, secret); err != nil {
			return err
		}
		name, value = "secret_file", to.path
	}
	if members[name], err = json.Marshal(value); err != nil {
		return err
	}
	return c.printJSON(members)
}

func quotedName(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}

// kindWord is a kind in a sentence.
func kindWord(k latchkey.Kind) string {
	switch k {
	case latchkey.KindAPIKey:
		return "API key"
	case latchkey.KindSecret:
		return "secret key"
	case latchkey.KindPublishable:
		return "publishable key"
	case latchkey.KindSession:
		return "session"
	}
	return "token"
}

// tokenFields are a token for people.
func tokenFields(l latchkey.Lineage, now time.Time) []field {
	t := l.Token
	state := t.State(now)
	fields := []field{
		{"id", text(t.ID)},
		{"owner", text(t.Owner)},
		{"state", stateCell(state, t.Damaged)},
	}
	if l.Refused != nil {
		fields = append(fields, field{"refused", styled(strings.TrimPrefix(l.Refused.Error(), "latchkey: "), bad)})
	}
	fields = append(fields,
		field{"kind", kindCell(t)},
		field{"name", text(t.Name)},
		field{"roles", lines(roleLines(l))},
		field{"rules", lines(ruleLines(t.Permissions))})
	if t.Kind == latchkey.KindSecret {
		fields = append(fields, field{"may do", text("everything of its owner, as far as the boundary lets it")})
	}
	if t.Full {
		fields = append(fields, field{"may do", text("all that its parent may do, within its rows")})
	}
	if l.Boundary != nil {
		boundary := ruleLines(l.Boundary)
		if len(boundary) == 0 {
			boundary = []string{"nothing at all"}
		}
		fields = append(fields, field{"boundary of the owner", lines(boundary)})
	}
	var rows []string
	for _, r := range t.Rows {
		rows = append(rows, r.String())
	}
	return append(fields,
		field{"rows", lines(rows)},
		field{"forced values", jsonCell(t.Forced, len(t.Forced) == 0)},
		field{"domains", list(t.Restrictions.Domains)},
		field{"addresses", list(prefixTexts(t.Restrictions.Addresses))},
		field{"mints from", list(prefixTexts(t.Restrictions.MintFrom))},
		field{"signed", yes(t.Restrictions.Signed)},
		field{"limits", jsonCell(t.Limits, t.Limits.IsZero())},
		field{"client", text(strings.TrimSpace(t.Client.ID + "  " + t.Client.Name))},
		field{"attributes", jsonCell(t.Attributes, len(t.Attributes) == 0)},
		field{"children's attributes", list(t.ChildAttributes)},
		field{"parent", text(t.Parent)},
		field{"made by", text(t.Origin)},
		field{"made", moment(t.Created)},
		field{"used", moment(t.Used)},
		field{"begins", moment(t.Validity.NotBefore)},
		field{"ends", moment(l.Ends)},
		field{"ends unless used", moment(t.IdleEnd())},
		field{"revoked", moment(t.Revoked)},
		field{"reason", text(t.Reason)},
		field{"extra", text(string(t.Extra))})
}

func yes(b bool) cell {
	if b {
		return text("yes")
	}
	return cell{}
}

func jsonCell(v any, empty bool) cell {
	if empty {
		return cell{}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text("it cannot be shown")
	}
	return text(string(b))
}

func prefixTexts(prefixes []netip.Prefix) (texts []string) {
	for _, p := range prefixes {
		texts = append(texts, p.String())
	}
	return texts
}

func ruleLines(p latchkey.Permissions) (out []string) {
	for _, r := range p {
		out = append(out, r.String())
	}
	return out
}

// roleLines are the roles of a token, each with its rules.
func roleLines(l latchkey.Lineage) (out []string) {
	for _, id := range l.Token.Roles {
		name, rules := id+" (gone)", []string(nil)
		for _, r := range l.Roles {
			if r.ID == id {
				name, rules = r.Name, ruleLines(r.Permissions)
				for _, up := range r.Inherits {
					rules = append(rules, "and what "+roleName(l, up)+" may do")
				}
			}
		}
		if end, ends := l.Token.RoleEnds[id]; ends {
			name += ", until " + momentText(end)
		}
		out = append(out, name)
		for _, rule := range rules {
			out = append(out, "  "+rule)
		}
	}
	return out
}

func roleName(l latchkey.Lineage, id string) string {
	for _, r := range l.Roles {
		if r.ID == id {
			return r.Name
		}
	}
	return id
}

// refusedWord is a refusal of Verify as one word, for scripts.
func refusedWord(err error) string {
	for _, r := range []struct {
		err  error
		word string
	}{
		{latchkey.ErrRevoked, "revoked"}, {latchkey.ErrDisabled, "disabled"}, {latchkey.ErrExpired, "expired"},
		{latchkey.ErrNotYetValid, "not_yet_valid"}, {latchkey.ErrParent, "parent"},
		{latchkey.ErrOwnerDisabled, "owner_disabled"}, {latchkey.ErrUnknownToken, "unknown"},
	} {
		if isError(err, r.err) {
			return r.word
		}
	}
	return "damaged"
}

// each does something to every id that is named, and goes on after one that fails. The first error is returned.
func (c *call) each(ctx context.Context, ids []string, do func(id string) error) (first error) {
	for _, id := range ids {
		err := do(id)
		if err == nil {
			continue
		}
		err = fmt.Errorf("%s: %w", visible(id), err)
		if ctx.Err() != nil {
			return err
		}
		if first == nil {
			first = err
			continue
		}
		c.note("%s", plainText(err))
	}
	return first
}
