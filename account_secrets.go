package latchkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Rotate gives a token a new secret. The old ones, those that sign requests too, work for overlap longer; 0 ends them
// before Rotate returns, and asks no clock. The record stays, so what was minted from it lives on.
// [Account.SigningSecret] makes the next one that signs. [ErrInvalid] for a revoked token and for an overlap that is
// negative or below a microsecond, [ErrNotFound] if there is none. A damaged token gets a new secret too, which is as
// useless as the old ones were: it stays damaged.
func (a Account) Rotate(ctx context.Context, id string, overlap time.Duration) (Secret, error) {
	switch {
	case overlap < 0:
		return Secret{}, fmt.Errorf("%w: overlap is negative", ErrInvalid)
	case overlap != 0 && overlap < time.Microsecond:
		return Secret{}, fmt.Errorf("%w: overlap is shorter than a microsecond, and would be none", ErrInvalid)
	}
	var text string
	_, err := a.change(ctx, Rotate, "token.rotate", id, "", func(c *call, f *Found, w *Write) error {
		t := &f.Token
		if !t.Revoked.IsZero() {
			return fmt.Errorf("%w: the token is revoked", ErrInvalid)
		}
		secrets, err := a.m.store.Secrets(ctx, a.owner, id)
		if err != nil && !isDamaged(err) { // one that cannot be read has its digest, and ends by that
			return err
		}
		now := a.m.present()
		if overlap > 0 { // an end that counts from now
			at, err := a.m.askClock(ctx)
			if err != nil {
				return err
			}
			now = a.m.making(at)
		}
		if text, err = a.m.newText(t.Kind, t.Test); err != nil {
			return err
		}
		rec, err := a.m.newSecretRecord(t, text, now)
		if err != nil {
			return err
		}
		w.Secrets = append(w.Secrets, SecretChange{TokenID: id, Add: &rec})
		for _, old := range secrets {
			end := fromMicros(now + overlap.Microseconds())
			if overlap > 0 && !old.NotAfter.IsZero() && old.NotAfter.Before(end) {
				continue // it ends sooner already; without an overlap no clock has been asked that could say so
			}
			change := SecretChange{TokenID: id, Retire: old.Digest}
			if overlap > 0 {
				change.At = end
			}
			w.Secrets = append(w.Secrets, change)
		}
		return nil
	})
	if err != nil {
		return Secret{}, err
	}
	return newSecret(text), nil
}

// Reveal gives back the text of a token's newest secret. A publishable token's is public anyway; others need
// Options.Keyring, now and when the secret was made ([ErrNeedsKeyring]). A revoked token's is
// [ErrInvalid]. It is recorded in the audit trail.
func (a Account) Reveal(ctx context.Context, id string) (Secret, error) {
	return a.reveal(ctx, id, "token.reveal", a.m.newestText)
}

// RevealAll is [Account.Reveal] of many tokens, for listings: it writes once per hundred of them instead of once for
// each. What it returns is by id. Left out are tokens that are not there or revoked, that the caller may not reveal, whose
// secrets are not kept (for want of a Keyring, then or now), or cannot be read, and publishable ones: their text is
// Token.Public. Each token that is in it is recorded in the audit trail.
func (a Account) RevealAll(ctx context.Context, ids ...string) (map[string]Secret, error) {
	all := make(map[string]Secret, len(ids))
	if a.m.opts.Keyring == nil {
		return all, nil
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for some := range slices.Chunk(ids, 100) {
		var texts map[string]string
		err := retry(func() (err error) {
			texts, err = a.revealSome(ctx, some)
			return err
		})
		if err != nil {
			return nil, err // nothing at all: what was opened before is recorded, but nobody sees it
		}
		for id, text := range texts {
			all[id] = newSecret(text)
		}
	}
	return all, nil
}

// SigningSecret gives the key that a token's requests are signed with, and makes one the first time and the first time
// after [Account.Rotate]. It needs Options.Keyring ([ErrNeedsKeyring]). It is recorded in the audit trail.
func (a Account) SigningSecret(ctx context.Context, id string) (Secret, error) {
	if a.m.opts.Keyring == nil {
		return Secret{}, ErrNeedsKeyring
	}
	return a.reveal(ctx, id, "token.signing-secret", func(t *Token, secrets []SecretRecord, now int64) (string, error) {
		for _, rec := range slices.Backward(secrets) {
			if rec.Signing && rec.NotAfter.IsZero() { // one with an end was rotated away
				return a.m.openSecret(t, &rec, "signing")
			}
		}
		return "", errNoSigning
	})
}

var errNoSigning = errors.New("latchkey: no signing secret yet")

func (a Account) reveal(ctx context.Context, id, event string,
	find func(*Token, []SecretRecord, int64) (string, error)) (Secret, error) {
	var text string
	err := retry(func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Reveal, "token", id); err != nil {
			return err
		}
		f, err := a.m.store.Load(ctx, a.owner, id)
		if err != nil {
			return err
		}
		if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, Reveal); err != nil {
			return err
		}
		if err := c.checkOwnBounds(&f.Token, f.Ancestors, Reveal, &f.Token.Settings, false); err != nil {
			return err
		}
		if !f.Token.Revoked.IsZero() {
			return fmt.Errorf("%w: the token is revoked", ErrInvalid)
		}
		secrets, err := a.m.store.Secrets(ctx, a.owner, id)
		if err != nil {
			return err
		}
		now := a.m.now()
		w := Write{Silent: true, RequireTokens: []Ref{{ID: id, Version: f.Token.Version}}}
		text, err = find(&f.Token, secrets, now)
		if errors.Is(err, errNoSigning) {
			var rec SecretRecord
			if text, rec, err = a.m.newSigning(&f.Token, now); err == nil {
				// The version moves, so that of two callers at once the second finds what the first made.
				w.Tokens, w.Silent, w.RequireTokens = []Token{f.Token}, false, nil
				w.Secrets = []SecretChange{{TokenID: id, Add: &rec}}
			}
		}
		if err != nil {
			return err
		}
		return c.write(ctx, w, Event{Action: event, Object: id})
	})
	if err != nil {
		return Secret{}, err
	}
	return newSecret(text), nil
}

func (a Account) revealSome(ctx context.Context, ids []string) (map[string]string, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return nil, err
	}
	texts := make(map[string]string, len(ids))
	w := Write{Silent: true}
	var events []Event
	for _, id := range ids {
		text, version, err := c.openNewest(ctx, id)
		switch {
		case errors.Is(err, ErrDenied), errors.Is(err, ErrNotFound), errors.Is(err, ErrNeedsKeyring), isDamaged(err):
			continue
		case err != nil:
			return nil, err
		}
		texts[id] = text
		w.RequireTokens = append(w.RequireTokens, Ref{ID: id, Version: version})
		events = append(events, Event{Action: "token.reveal", Object: id})
	}
	if len(events) == 0 {
		return nil, nil
	}
	return texts, c.write(ctx, w, events...)
}

// openNewest opens the newest secret of a token that who acts may reveal.
func (c *call) openNewest(ctx context.Context, id string) (text string, version uint64, err error) {
	if err := c.check(Reveal, "token", id); err != nil {
		return "", 0, err
	}
	f, err := c.m.store.Load(ctx, c.owner, id)
	if err != nil {
		return "", 0, err
	}
	if f.Token.Kind == KindPublishable || !f.Token.Revoked.IsZero() {
		return "", 0, ErrNotFound
	}
	if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, Reveal); err != nil {
		return "", 0, err
	}
	if err := c.checkOwnBounds(&f.Token, f.Ancestors, Reveal, &f.Token.Settings, false); err != nil {
		return "", 0, err
	}
	secrets, err := c.m.store.Secrets(ctx, c.owner, id)
	if err != nil {
		return "", 0, err
	}
	text, err = c.m.newestText(&f.Token, secrets, c.m.now())
	return text, f.Token.Version, err
}

// newestText is the text of a token's newest secret that has not ended.
func (m *Manager) newestText(t *Token, secrets []SecretRecord, now int64) (string, error) {
	if t.Kind == KindPublishable {
		return t.Public, nil
	}
	for _, rec := range slices.Backward(secrets) {
		if !rec.Signing && rec.Sealed != nil && !over(rec.NotAfter, now) {
			return m.openSecret(t, &rec, "secret")
		}
	}
	return "", ErrNeedsKeyring
}
