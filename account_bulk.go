package latchkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Selector selects tokens for [Account.RevokeAll], [Account.DisableAll] and [Account.EditAll]. A token must meet all
// fields that are set. One that sets no field selects nothing and is [ErrInvalid], unless All says that everything is
// meant.
type Selector struct {
	IDs    []string // these tokens, at most 1,000; empty: any
	Client string   // tokens of this client id
	Role   string   // tokens that name this role, by its id or, as in [TokenQuery], its name; not those that inherit it
	Origin *string  // nil: any; "" means the host's own
	Parent string   // tokens that this token id minted directly
	Kinds  []Kind   // empty: any
	// CreatedBefore selects tokens that were made before. Zero: any.
	CreatedBefore time.Time
	// UnusedSince selects tokens that were neither used nor made since then, as [Manager.Unused] does. Zero: any.
	UnusedSince time.Time
	// Find, States, ExpiresFrom and ExpiresTo select as those of [TokenQuery]. Empty States: any but Revoked. Revoked
	// tokens are never selected.
	Find                   string
	States                 []State
	ExpiresFrom, ExpiresTo time.Time
	// All says that a Selector without any other field means all tokens of the owner.
	All bool

	// After is where to go on: Swept.After of a call that ended early. "": at the beginning.
	After string
	// Most ends the call once so many tokens were looked at, those that the actor may not read among them. Swept.More then
	// says that there may be others. 0 or less: no such end.
	Most int
	// Progress is called after each transaction with the sum so far, on the caller's goroutine. Nil: not called.
	Progress func(Swept)
}

// Swept is what [Account.RevokeAll], [Account.DisableAll] or [Account.EditAll] has done.
type Swept struct {
	// Seen is how many tokens were decided about: Done, Refused, and those that were left as they are. Tokens that the
	// actor may neither read nor end or edit count nowhere, as in [Account.CountTokens].
	Seen int
	Done int // tokens that were revoked, disabled or edited
	// Refused is how many tokens are selected and the actor may not end or edit, or cannot be edited so. RefusedIDs are
	// the first 1000 of them, and Reasons are why, in the same order.
	Refused    int
	RefusedIDs []string
	Reasons    []error
	// Stateless reports whether [Account.RevokeAll] also revoked the stateless tokens that the Selector means.
	Stateless bool
	// More reports whether the call ended because of Selector.Most, so that there may be more tokens behind After.
	More bool
	// After is Selector.After of the next call, if this one returned an error, or if there is More. It is the id of the
	// last token that was looked at, also if the actor may not read it. "": there is nothing to go on with.
	After string

	looked int // of one step: Seen, and those that the actor must not hear of
}

// Query returns the query of what s selects, but for tokens that are revoked already. With [Account.CountTokens] it
// tells beforehand how many tokens are meant, and with [Account.Tokens] which.
func (s Selector) Query() TokenQuery {
	q := TokenQuery{Page: Page{After: s.After}, IDs: s.IDs, Kinds: s.Kinds, Origin: s.Origin, Parent: s.Parent,
		Role: s.Role, Client: s.Client, Find: s.Find, UnusedSince: s.UnusedSince, CreatedBefore: s.CreatedBefore,
		ExpiresFrom: s.ExpiresFrom, ExpiresTo: s.ExpiresTo, States: []State{Active, Disabled, Expired, NotYetValid}}
	if len(s.States) > 0 {
		q.States = slices.DeleteFunc(q.States, func(x State) bool { return !slices.Contains(s.States, x) })
	}
	if before := s.UnusedSince; !before.IsZero() && (q.CreatedBefore.IsZero() || before.Before(q.CreatedBefore)) {
		q.CreatedBefore = before
	}
	return q
}

// check returns ErrInvalid for a Selector that selects by nothing and does not say All.
func (s *Selector) check() error {
	if len(s.IDs) > maxSelected {
		return fmt.Errorf("%w: Selector.IDs has more than %d ids: make several calls", ErrInvalid, maxSelected)
	}
	if len(s.IDs)+len(s.Kinds)+len(s.States) == 0 && s.Client+s.Role+s.Parent+s.Find == "" && s.Origin == nil &&
		s.CreatedBefore.IsZero() && s.UnusedSince.IsZero() && s.ExpiresFrom.IsZero() && s.ExpiresTo.IsZero() && !s.All {
		return fmt.Errorf("%w: the Selector is empty: set a field, or All for all tokens of the owner", ErrInvalid)
	}
	return nil
}

// CountTokens returns how many tokens q selects, whatever its order, but at most most: that many means that many or
// more. A most of 0 or less is 1000. After of the query counts: earlier tokens are left out. Of an actor it counts the
// tokens that it may read: one by one, unless its rules let it read them all.
func (a Account) CountTokens(ctx context.Context, q TokenQuery, most int) (int, error) {
	if most <= 0 {
		most = 1000
	}
	c, err := a.beginReading(ctx)
	if err != nil {
		return 0, err
	}
	if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
		a.m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
	}
	if q.Now.IsZero() {
		q.Now = fromMicros(a.m.expiryNow())
	}
	if q.Role, err = c.resolveQuery(ctx, q.Role, q.Origin); err != nil {
		return 0, err
	}
	if q.After == "" && c.readsEvery(ctx, "token") {
		return a.m.store.Count(ctx, a.owner, q, most)
	}
	n := 0
	q.Limit, q.Order, q.Reverse = 1000, OrderID, false
	pages(q.Page, func(p Page) ([]Token, error) {
		q.Page = p
		return a.m.store.Tokens(ctx, a.owner, q)
	}, q.Key, func(t Token, e error) bool {
		if err = e; err == nil && c.check(Read, "token", t.ID) == nil {
			n++
		}
		return err == nil && n < most
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// RevokeAll revokes the tokens that s selects, as [Account.Revoke] does each, with an audit event for each. It writes
// up to two hundred of them in one transaction, oldest first, until all are decided about or ctx ends. What is written
// stays written. Tokens that are revoked already are not selected, so that a call that failed can simply be made again;
// with [Swept].After it does not read again what it has passed.
//
// As an actor it ends what the actor may revoke. It reports the others in Swept.Refused, and goes on. The actor's own
// token, and those it was minted from, are among these: revoke them last, with Revoke.
//
// A token that is made meanwhile is revoked if it is listed behind the place that was reached, which is so for one made
// by a clock that agrees with the others. To be sure, disable or delete first what makes them, and call RevokeAll until
// it has nothing to do. CreatedBefore leaves new ones alone. Of a damaged record only what the store keeps beside it is
// compared.
//
// It returns ErrInvalid for a Selector without a field, for a Role that no role is named by, and for a reason above 256
// bytes.
//
// No listing knows the stateless tokens. Those of a Client, of a Parent, of IDs or of the whole owner are revoked too,
// if the Selector has no other field but Kinds and CreatedBefore, and if the actor may do everything. Swept.Stateless
// says so.
func (a Account) RevokeAll(ctx context.Context, s Selector, reason string) (Swept, error) {
	stateless, err := a.revokeSelected(ctx, &s, reason)
	if err != nil {
		return Swept{After: s.After}, err
	}
	swept, err := a.sweep(ctx, s, Delete, "token.revoke", reason, func(t *Token) bool {
		if t.Damaged {
			*t = tombstone(*t)
		}
		t.Revoked, t.Reason = fromMicros(a.m.creationNow()), reason
		return true
	})
	swept.Stateless = stateless
	return swept, err
}

// DisableAll is [Account.RevokeAll] with the off switch: it sets Settings.Disabled, which can be set back by
// [Account.Update]. The reason is that of the audit events. Tokens that are disabled already are passed over. An actor
// needs what it needs for Update.
func (a Account) DisableAll(ctx context.Context, s Selector, reason string) (Swept, error) {
	return a.sweep(ctx, s, Update, "token.update", reason, func(t *Token) bool {
		if t.Disabled {
			return false
		}
		t.Disabled = true
		return true
	})
}

const (
	sweepTokens = 200     // of one transaction
	sweepBytes  = 1 << 20 // of the audit events of one transaction, or one token
	maxRefused  = 1000    // ids that are reported
	maxSelected = 1000    // ids of one Selector
)

// sweep reads the tokens that s selects, and writes what edit makes of each. Edit reports whether it changed it.
func (a Account) sweep(ctx context.Context, s Selector, action Action, event, reason string,
	edit func(*Token) bool) (Swept, error) {
	return a.sweepBy(ctx, s, reason, func(q TokenQuery) (step Swept, more bool, err error) {
		err = retry(ctx, func() (err error) {
			step, more, err = a.sweepStep(ctx, q, action, event, reason, edit)
			return err
		})
		return step, more, err
	})
}

// sweepBy reads the tokens that s selects in steps, of which each does what step does. What a step that fails says it
// has done counts.
func (a Account) sweepBy(ctx context.Context, s Selector, reason string,
	do func(TokenQuery) (step Swept, more bool, err error)) (Swept, error) {
	total := Swept{After: s.After}
	if err := s.check(); err != nil {
		return total, err
	}
	if err := a.errSteps(); err != nil {
		return total, err
	}
	if err := checkText("reason", reason, 0, maxReason); err != nil {
		return total, err
	}
	if !s.UnusedSince.IsZero() {
		if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
			return total, err // a token that is in use would be ended
		}
	}
	c, err := a.begin(ctx)
	if err != nil {
		return total, err
	}
	q := s.Query()
	if len(q.States) == 0 {
		return total, nil // revoked ones only
	}
	if q.Role, err = c.resolveQuery(ctx, q.Role, q.Origin); err != nil {
		return total, err // a name that nobody has must not read as "there are no such tokens"
	}
	q.Now = fromMicros(a.m.expiryNow())
	looked := 0
	for more := true; more; {
		q.After, q.Limit = total.After, sweepTokens
		if s.Most > 0 {
			q.Limit = min(q.Limit, s.Most-looked)
		}
		step, left, err := do(q)
		more = left
		total.add(step)
		looked += step.looked
		if err != nil {
			return total, err
		}
		if more && s.Most > 0 && looked >= s.Most {
			total.More, more = true, false
		}
		if s.Progress != nil {
			s.Progress(total)
		}
		if total.More {
			return total, nil
		}
	}
	total.After = "" // it may be the id of a token that the actor may not read
	return total, nil
}

// passed counts a token that an actor was refused, or that was left as it is, because of why. A token that the actor
// may not read does not exist for it: filters would tell of it otherwise.
func (s *Swept) passed(c *call, id string, why error) {
	switch {
	case c.check(Read, "token", id) != nil:
		return
	case why != nil:
		s.Refused, s.RefusedIDs, s.Reasons = s.Refused+1, append(s.RefusedIDs, id), append(s.Reasons, why)
	}
	s.Seen++
}

// add adds what a step has done.
func (s *Swept) add(step Swept) {
	s.Seen += step.Seen
	s.Done += step.Done
	s.Refused += step.Refused
	n := min(len(step.RefusedIDs), maxRefused-len(s.RefusedIDs))
	s.RefusedIDs = append(s.RefusedIDs, step.RefusedIDs[:n]...)
	s.Reasons = append(s.Reasons, step.Reasons[:n]...)
	s.After = step.After
}

// sweepStep is one transaction of sweep. It reports whether there may be more. With an error it has passed nothing: the
// tokens that it read come again.
func (a Account) sweepStep(ctx context.Context, q TokenQuery, action Action, event, reason string,
	edit func(*Token) bool) (step Swept, more bool, err error) {
	nothing := Swept{After: q.After}
	c, err := a.begin(ctx)
	if err != nil {
		return nothing, false, err
	}
	list, err := a.m.store.Tokens(ctx, a.owner, q)
	if err != nil {
		return nothing, false, err
	}
	step, more = nothing, len(list) == q.Size()
	var w Write
	var events []Event
	alike := map[string]error{} // what the rights of tokens with these roles, and nothing of their own, come to
	size := 0
	for i := range list {
		if size > sweepBytes {
			more = true
			break
		}
		t := list[i].Clone()
		step.After = t.ID
		step.looked++
		before := auditJSON(t)
		switch err := c.maySweep(ctx, &t, action, edit, alike); {
		case errors.Is(err, errUnchanged), errors.Is(err, ErrNotFound): // removed meanwhile
			step.passed(&c, t.ID, nil)
			continue
		case errors.Is(err, ErrDenied):
			step.passed(&c, t.ID, err)
			continue
		case err != nil:
			return nothing, false, err
		}
		w.Tokens = append(w.Tokens, t)
		t.Version++
		e := Event{Action: event, Object: t.ID, Reason: reason, Before: before, After: auditJSON(t)}
		size += len(e.Before) + len(e.After)
		events = append(events, e)
	}
	if len(events) == 0 {
		return step, more, nil
	}
	if err := c.write(ctx, w, events...); err != nil {
		return nothing, false, err
	}
	step.Done = len(events)
	step.Seen += step.Done
	return step, more, nil
}

// maySweep edits a token, and returns an error that wraps ErrDenied if the actor may not do that.
func (c *call) maySweep(ctx context.Context, t *Token, action Action, edit func(*Token) bool,
	alike map[string]error) error {
	was := t.Clone()
	if !edit(t) {
		return errUnchanged
	}
	if !c.checked {
		return nil
	}
	if c.descendsFrom(t.ID) {
		return deniedToken(action, t.ID) // the next step could not be written
	}
	if err := c.check(action, "token", t.ID); err != nil {
		return err
	}
	var ancestors []Token
	if t.Parent != "" {
		f, err := c.loadEvenDamaged(ctx, t.ID)
		if err != nil {
			return err
		}
		ancestors = f.Ancestors
	}
	plain := t.Parent == "" && len(was.Permissions) == 0 && t.Kind != KindSecret && !was.Damaged &&
		t.Client.ID == "" && len(t.Attributes)+len(t.ChildAttributes) == 0 // rules may refer to them
	key := fmt.Sprint(t.Test, " ", strings.Join(t.Roles, "\n"))
	err, known := alike[key]
	if !plain || !known {
		err = c.checkTokenRights(ctx, &was, ancestors, true, action) // a sweep only ends, or switches off
		if plain && (err == nil || errors.Is(err, ErrDenied)) {
			alike[key] = err
		}
	}
	if err != nil || action == Delete {
		return err
	}
	return c.checkOwnBounds(t, slices.Clone(ancestors), action, &was.Settings, false)
}
