package latchkey

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Account administers what one owner has. [Manager.For] gives it to the host itself, with every right; [Account.As] to
// somebody whose every call is checked. A small value, safe for concurrent use.
//
// An actor needs these rights: create, read, update, delete, reveal or rotate on "latchkey/token/<id>" (to revoke is
// delete, the signing secret is reveal), create, read, update or delete on "latchkey/role/<id>", read on
// "latchkey/client", "latchkey/event" and "latchkey/usage", read or update on "latchkey/owner". A rule gives them only
// through a pattern that begins with "latchkey/". A secret key has them all. A record that the actor may not read is
// missing to it.
//
// Calls fail with a *[DeniedError] if the result could do more than the actor: the token or role itself, and every
// token and role that has a changed role. What cannot be compared, such as rows that are too large together, counts as
// more. A test token manages test tokens only, and roles that no live token has. A minted token issues, imports,
// rotates and reveals none, for that would outlive it. What a call was judged by must still hold when it is written.
//
// Calls also fail if the result would exceed the bounds of the actor's own token. What the actor issues or imports ends
// no later than that token, and keeps to its Addresses, Domains, Signed and MintFrom. What it updates becomes no wider
// than that, and gets no right, by a role either, unless it keeps to that. An actor whose token has Limits, or ends by
// idling, makes no other token, gives none a right and reveals no secret of one: several tokens could spend more
// together, and none would idle out with it. It changes no token with wider limits. It can mint, for what it mints is
// bound by it. The right [Exceed] on "latchkey/token/<id>" lifts these bounds, and no others. Give it by name to a desk
// that issues keys for customers, or have the program call [Account.Exceeding]. An Assumed caller has no token, so
// nothing of this kind bounds it.
type Account struct {
	m     *Manager
	owner string
	actor Access
	acts  bool // false: the host itself
	free  bool // the host lifts the bounds of the actor's own token
}

// Owner is the owner's id.
func (a Account) Owner() string { return a.owner }

// Manager is the manager this account belongs to.
func (a Account) Manager() *Manager { return a.m }

// As is the account acted on by who: each call is checked against who's own rights, read anew, and recorded under its
// name. [ErrInvalidToken] for the zero Access, and for one of another owner.
func (a Account) As(who Access) (Account, error) {
	if who.set == nil || who.m != a.m || who.who.owner != a.owner {
		return Account{}, fmt.Errorf("%w: an Access of another owner, or of another Manager", ErrUnknownToken)
	}
	a.actor, a.acts = who, true
	return a, nil
}

// Exceeding returns a, with the right [Exceed] for its actor on every token: the host's own code says that what the
// actor issues need not keep to the bounds of the actor's token. Its other rights stay as they are. It is for surfaces
// whose purpose is that, such as a session that makes lasting keys, and for secret keys, which no rule can give the
// right to.
func (a Account) Exceeding() Account {
	a.free = true
	return a
}

// Assume is the access of somebody the host has authenticated itself, in its own session system. Nothing is stored. The
// owner's record (off switch, boundary) is not asked here, for that would read the store: [Manager.Again] asks it, and
// so does every call of an Account acted on As it.
//
// Permissions that [Permissions.Validate] refuses give nothing at all: that rule may have been a Deny. The Manager's
// Logger hears what is wrong at each such call. Every refusal of the Access is a *[FaultError], which wraps
// [ErrInvalid] as well as [ErrDenied], and [Access.Explain] names it.
func (a Account) Assume(who Client, may Permissions) Access {
	l := layer{name: "client:" + who.ID, rules: slices.Clone(may)}
	if err := may.Validate(); err != nil {
		a.m.warn("latchkey: Assume was given invalid rules, which allow nothing; mend the program", err)
	}
	return Access{m: a.m, set: &compiled{policy: newPolicy([]layer{l}, nil), layers: []layer{l}},
		who: &principal{owner: a.owner, root: who.ID, client: who}}
}

// Verify is [Manager.Verify] that takes another owner's token for an unknown one.
func (a Account) Verify(ctx context.Context, p Presented) (Access, error) {
	return a.m.verify(ctx, &p, a.owner)
}

// Get reads a token. [ErrNotFound] if there is none. Of one that is damaged it returns what is left, with a
// [*DamagedError].
func (a Account) Get(ctx context.Context, id string) (Token, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Token{}, err
	}
	if c.check(Read, "token", id) != nil {
		return Token{}, ErrNotFound
	}
	if err := a.m.uses.flush(ctx); err != nil {
		a.m.warn("latchkey: cannot write last uses", err)
	}
	f, err := a.loadLeft(ctx, id)
	if err == nil && f.Token.Damaged {
		err = damagedToken(&f.Token)
	}
	return f.Token, err
}

// Tokens lists tokens, oldest first, reading page by page as the loop goes on; Limit is the size of a page, not of the
// listing. A damaged one comes in its place as what is left of it, at least its ID, with a [*DamagedError], and the
// loop goes on after it. The loop ends after any other error.
func (a Account) Tokens(ctx context.Context, q TokenQuery) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		c, err := a.begin(ctx)
		if err != nil {
			yield(Token{}, err)
			return
		}
		if err := a.m.uses.flush(ctx); err != nil {
			a.m.warn("latchkey: cannot write last uses", err)
		}
		if q.Now.IsZero() {
			q.Now = fromMicros(a.m.now())
		}
		pages(q.Page, func(p Page) ([]Token, error) {
			q.Page = p
			return a.m.store.Tokens(ctx, a.owner, q)
		}, func(t Token) string { return t.ID }, func(t Token, err error) bool {
			if err == nil && c.check(Read, "token", t.ID) != nil {
				return true
			}
			if err == nil && t.Damaged {
				err = damagedToken(&t)
			}
			return yield(t, err)
		})
	}
}

// pages walks a keyset listing.
func pages[T any](p Page, read func(Page) ([]T, error), key func(T) string, yield func(T, error) bool) {
	for {
		list, err := read(p)
		if err != nil {
			var zero T
			yield(zero, err)
			return
		}
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
		if len(list) < p.Size() {
			return
		}
		p.After = key(list[len(list)-1])
	}
}

// change reads a token, lets edit change it, and writes it. Edit may add to the transaction.
func (a Account) change(ctx context.Context, action Action, event, id, reason string,
	edit func(c *act, f *Found, w *Write) error) (Token, error) {
	var out Token
	err := retry(func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(action, "token", id); err != nil {
			return err
		}
		f, err := a.loadLeft(ctx, id)
		if err != nil {
			return err
		}
		if err := c.coversToken(ctx, &f.Token, f.Ancestors, action); err != nil {
			return err
		}
		before, was := auditJSON(f.Token), f.Token
		var w Write
		if err := edit(&c, &f, &w); err != nil {
			if errors.Is(err, errUnchanged) {
				a.m.follow.suspect() // whoever made it so may have done it elsewhere
				out = f.Token
				return nil
			}
			return err
		}
		if err := c.coversToken(ctx, &f.Token, f.Ancestors, action); err != nil {
			return err
		}
		if action != Delete {
			gains, err := c.gains(ctx, &was, &f.Token, f.Ancestors)
			if err != nil {
				return err
			}
			if err := c.bounded(&f.Token, f.Ancestors, action, &was.Settings, gains); err != nil {
				return err
			}
		}
		w.Tokens = append(w.Tokens, f.Token)
		out = f.Token
		out.Version++
		err = c.write(ctx, w, Event{Action: event, Object: id, Reason: reason, Before: before, After: auditJSON(out)})
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: %w", ErrConflict, err) // a secret moved under a new key meanwhile: look again
		}
		return err
	})
	if err != nil {
		return Token{}, err
	}
	return out, nil
}

var errUnchanged = errors.New("latchkey: unchanged")

// Update changes a token's Settings; every other field of the Token edit gets is for reading, and changing one is
// [ErrInvalid], as are Settings that its kind cannot have. When somebody else changes the token meanwhile, edit is called
// again on the newer one; to refuse that, return [ErrConflict] when Token.Version is not the one your form showed. An
// error of edit is returned as it is. [ErrNotFound] if there is no such token. Of a damaged one only Disabled can be
// changed, else it is a [*DamagedError].
func (a Account) Update(ctx context.Context, id string, edit func(*Token) error) (Token, error) {
	unlimited := false
	t, err := a.change(ctx, Update, "token.update", id, "", func(c *act, f *Found, w *Write) error {
		edited := f.Token.Clone()
		if err := edit(&edited); err != nil {
			return &editError{err}
		}
		if f.Token.Damaged {
			return switched(&f.Token, &edited)
		}
		frame := edited
		frame.Settings = f.Token.Settings
		if !sameRecord(frame, f.Token) {
			return fmt.Errorf("%w: Update changes Settings only", ErrInvalid)
		}
		now := a.m.now()
		if err := a.m.checkSettings(edited.Kind, &edited.Settings, now); err != nil {
			return err
		}
		if edited.Full && (len(edited.Roles) != 0 || len(edited.Permissions) != 0) {
			edited.Full = false // it names its own now
		}
		if err := a.settled(ctx, &edited, f); err != nil {
			return err
		}
		if c.bound(id) && loosens(&f.Token.Settings, &edited.Settings) {
			return &DeniedError{Action: Update, Resource: Path("latchkey", "token", id)}
		}
		if edited.Validity.Idle != f.Token.Validity.Idle {
			edited.Used = latestUse(&f.Token, now) // a limit that is new counts from there: the last use is not known better
		}
		edited = edited.Clone() // edit may have kept what it put in
		unlimited = edited.Limits.Rate == Rate{}
		f.Token = edited
		return nil
	})
	if key := idBytes(id); err == nil && unlimited {
		a.m.rates.forget(&key)
	}
	return t, err
}

// Revoke ends a token, and all that was minted from it, before it returns. The record stays, listed as revoked, until it
// is purged. Revoking a revoked token changes nothing. At most 256 bytes of reason. [ErrNotFound] if there is none.
func (a Account) Revoke(ctx context.Context, id, reason string) error {
	if err := boundText("reason", reason, 0, 256); err != nil {
		return err
	}
	_, err := a.change(ctx, Delete, "token.revoke", id, reason, func(c *act, f *Found, w *Write) error {
		if !f.Token.Revoked.IsZero() {
			return errUnchanged
		}
		if f.Token.Damaged {
			f.Token = tombstone(f.Token)
		}
		f.Token.Revoked, f.Token.Reason = fromMicros(a.m.present()), reason
		return nil
	})
	return err
}

// Delete removes a token and all that was minted from it before it returns, as if it had never been. [ErrNotFound] if
// there is none.
func (a Account) Delete(ctx context.Context, id string) error {
	return retry(func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Delete, "token", id); err != nil {
			return err
		}
		f, err := a.loadLeft(ctx, id)
		if errors.Is(err, ErrNotFound) {
			a.m.follow.suspect() // it may have been deleted elsewhere
		}
		if err != nil {
			return err
		}
		if err := c.coversToken(ctx, &f.Token, f.Ancestors, Delete); err != nil {
			return err
		}
		w := Write{DeleteTokens: []Ref{{ID: id, Version: f.Token.Version}}}
		return c.write(ctx, w, Event{Action: "token.delete", Object: id, Before: auditJSON(f.Token)})
	})
}
