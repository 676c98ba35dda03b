package latchkey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// ExportClient writes all that is kept about a client to w, as lines of JSON. Each line is an object with one member:
// "client", "token", "usage" or "event". Tokens are those of the client, of every state, without their secrets. Usage
// is summed by token, meter, endpoint and day. Events are those that hold a token of the client, and those that one of
// its tokens or the client itself, as an Assumed caller, caused. It reads the whole audit trail of the owner.
//
// The actor needs read on "latchkey/client", "latchkey/usage" and "latchkey/event", and on each of the tokens:
// otherwise it gets a *[DeniedError]. A client that nothing is known of is [ErrNotFound]. After an error of w, which is
// returned as it is, the text is incomplete.
func (a Account) ExportClient(ctx context.Context, id string, w io.Writer) error {
	line := func(member string, v any) error {
		text, err := json.Marshal(map[string]any{member: v})
		if err == nil {
			_, err = w.Write(append(text, '\n'))
		}
		return err
	}
	c, err := a.begin(ctx)
	if err != nil {
		return err
	}
	for _, kind := range []string{"client", "usage", "event"} {
		if err := c.check(Read, kind, ""); err != nil {
			return err
		}
	}
	if err := checkText("Client.ID", id, 1, maxClientID); err != nil {
		return err
	}
	usage, err := a.Usage(ctx, UsageQuery{ClientID: id, By: []string{"token", "meter", "endpoint", "day"}})
	if err != nil {
		return err
	}
	client, err := a.Client(ctx, id)
	known := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if client.ID = id; known {
		if err := line("client", client); err != nil {
			return err
		}
	}
	tokens := map[string]bool{}
	for page, err := range a.clientTokens(ctx, id) {
		if err != nil {
			return err
		}
		for _, t := range page {
			if err := c.check(Read, "token", t.ID); err != nil {
				return err
			}
			known, tokens[t.ID] = true, true
			if err := line("token", t); err != nil {
				return err
			}
		}
	}
	for _, row := range usage {
		row.ClientID, known = id, true
		if err := line("usage", row); err != nil {
			return err
		}
	}
	tokens["client:"+id] = true
	err = a.eachEventOfClient(ctx, id, tokens, func(e *Event) error {
		known = true
		return line("event", e)
	})
	if err == nil && !known {
		return fmt.Errorf("%w: nothing is kept about this client", ErrNotFound)
	}
	return err
}

// EraseClient removes what is kept about a client: it deletes the tokens of the client with all that was minted from
// them, the name, and what audit events hold of such tokens. Stateless tokens of the client end, too. Tokens that were
// issued or imported for the client are among them. Events keep who did what, when, from where, and the id of the
// token. Where the client was the actor, as an Assumed caller, "client:" is left of that. Usage stays, as that of no
// client, so that sums do not change. Of the erasure an event "client.erase" is kept, which does not name the client,
// and events "audit.redact", which tell [Account.VerifyAudit] whose events were emptied. Hashes stay: who has the
// Keyring, and knows all that an event held, can tell that it was that. Without a Keyring everybody can. The id stays
// where the host itself wrote it: in rules, in names and in Extra of other records; and in events that
// [Manager.Deliver] delivered before.
//
// Other processes write what they counted for the client within about a second, or when the store can be reached again.
// Such usage names the client: call EraseClient once more then.
//
// It works in steps and reads the whole audit trail. After an error, call it again: what was removed stays removed. It
// returns [ErrConflict] if tokens of the client kept being made meanwhile: end the client's sessions first. Erasing an
// unknown client is no error. The actor needs delete on "latchkey/client" and what [Account.Delete] needs for each of
// the tokens. An actor whose own token is the client's is denied, because it could not finish what it began.
func (a Account) EraseClient(ctx context.Context, id string) error {
	if err := a.errSteps(); err != nil {
		return err
	}
	if err := checkText("Client.ID", id, 1, maxClientID); err != nil {
		return err
	}
	for range 4 {
		again := false
		err := retry(ctx, func() error { // the actor or a token may have changed
			c, err := a.begin(ctx)
			if err != nil {
				return err
			}
			if err := c.check(Delete, "client", ""); err != nil {
				return err
			}
			if c.checked && c.found.Token.Client.ID == id {
				return deniedToken(Delete, c.found.Token.ID) // with its token it would lose the right to go on
			}
			if err := a.deleteClientTokens(ctx, id); err != nil {
				return err
			}
			// Counts that are written later would bring the client back.
			if err := a.m.counters.FlushOwner(ctx, a.owner); err != nil {
				return err
			}
			if err := c.redactClient(ctx, id); err != nil {
				return err
			}
			events, err := a.redactsActor(ctx, id)
			if err != nil {
				return err
			}
			// The stateless tokens of the client end too. Nobody can list them.
			w := Write{ForgetClients: []string{id},
				Revocations: []Revocation{{Of: RevokedClient, ID: clientRevocationID(id)}}}
			if err := a.m.dateRevocations(ctx, a.owner, w.Revocations); err != nil {
				return err
			}
			if err := c.write(ctx, w, append(events, Event{Action: "client.erase"})...); err != nil {
				return err
			}
			left, err := a.m.store.Tokens(ctx, a.owner, TokenQuery{Client: id, Page: Page{Limit: 1}})
			again = len(left) > 0
			return err
		})
		if err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("%w: tokens of the client are being made: end its sessions first", ErrConflict)
}

// deleteClientTokens deletes the tokens of a client, some in each transaction.
func (a Account) deleteClientTokens(ctx context.Context, id string) error {
	for {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		tokens, err := a.m.store.Tokens(ctx, a.owner, TokenQuery{Client: id, Page: Page{Limit: 50}})
		if err != nil || len(tokens) == 0 {
			return err
		}
		var w Write
		var events []Event
		for _, t := range tokens {
			if err := c.check(Delete, "token", t.ID); err != nil {
				return err
			}
			f, err := a.loadEvenDamaged(ctx, t.ID)
			if errors.Is(err, ErrNotFound) {
				continue // with its parent, in between
			}
			if err != nil {
				return err
			}
			if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, true, Delete); err != nil {
				return err
			}
			w.DeleteTokens = append(w.DeleteTokens, Ref{ID: t.ID, Version: f.Token.Version})
			events = append(events, Event{Action: "token.delete", Object: t.ID})
		}
		if len(w.DeleteTokens) == 0 {
			continue
		}
		if err := c.write(ctx, w, events...); err != nil {
			return err
		}
	}
}

// redactClient empties the events of tokens of a client, those of tokens that are long gone too. The events that tell
// of it name a token only if an event that is as it was written says whose the token was. Otherwise who can write the
// database could have the events of any token emptied, as if these had been the client's.
func (c *call) redactClient(ctx context.Context, id string) error {
	ring := c.m.opts.Keyring
	objects := map[string]bool{} // and whether it is named
	err := c.eachEventOfClient(ctx, id, nil, func(e *Event) error {
		v := ring.judge(e)
		objects[e.Object] = objects[e.Object] || ring.vouches(&v)
		return nil
	})
	for some := range slices.Chunk(slices.Sorted(maps.Keys(objects)), 100) {
		if err == nil {
			named := slices.DeleteFunc(slices.Clone(some), func(object string) bool { return !objects[object] })
			err = c.write(ctx, Write{Redact: some, Silent: true}, redacts(named)...)
		}
	}
	return err
}

// eachEventOfClient calls f with the events that hold a token of a client, or were caused by one of its tokens.
func (a Account) eachEventOfClient(ctx context.Context, id string, tokens map[string]bool, f func(*Event) error) error {
	for q := (EventQuery{Page: Page{Limit: 1000}}); ; {
		list, next, err := a.m.store.Events(ctx, a.owner, q)
		if err != nil {
			return err
		}
		for i := range list {
			e := &list[i]
			if tokens[e.Actor] || tokens[e.Object] || isOfClient(e.Before, id) ||
				isOfClient(e.After, id) {
				if err := f(e); err != nil {
					return err
				}
			}
		}
		if q.After = next; next == "" {
			return nil
		}
	}
}

// isOfClient reports whether an event holds the record of a token of the client.
func isOfClient(record json.RawMessage, id string) bool {
	var t struct {
		Client Client `json:"client"`
	}
	return len(record) > 0 && json.Unmarshal(record, &t) == nil && t.Client.ID == id
}

// clientTokens lists the tokens of a client, page by page.
func (a Account) clientTokens(ctx context.Context, id string) func(yield func([]Token, error) bool) {
	return func(yield func([]Token, error) bool) {
		q := TokenQuery{Client: id, Page: Page{Limit: 100}}
		for {
			page, err := a.m.store.Tokens(ctx, a.owner, q)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) > 0 && !yield(page, nil) || len(page) < q.Size() {
				return
			}
			q.After = page[len(page)-1].ID
		}
	}
}
