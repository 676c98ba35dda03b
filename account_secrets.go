package latchkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Rotate gives a token a new secret. The old secrets, signing secrets included, work for overlap longer. An overlap of
// 0 ends them before Rotate returns, and reads no clock. The record stays, so what was minted from it stays valid.
// [Account.SigningSecret] makes the next signing secret.
//
// It returns [ErrInvalid] for a revoked token, and for an overlap that is negative or below a microsecond. It returns
// [ErrNotFound] if there is no such token. A damaged token stays damaged: its new secret is refused like its old ones.
func (a Account) Rotate(ctx context.Context, id string, overlap time.Duration) (Secret, error) {
	switch {
	case overlap < 0:
		return Secret{}, fmt.Errorf("%w: overlap is negative", ErrInvalid)
	case overlap != 0 && overlap < time.Microsecond:
		return Secret{}, fmt.Errorf("%w: overlap is shorter than a microsecond", ErrInvalid)
	}
	var text string
	_, err := a.change(ctx, Rotate, "token.rotate", id, "", func(c *call, f *Found, w *Write) error {
		t := &f.Token
		if !t.Revoked.IsZero() {
			return fmt.Errorf("%w: the token is revoked", ErrInvalid)
		}
		secrets, err := a.m.store.Secrets(ctx, a.owner, id)
		if err != nil && !isDamaged(err) { // a secret that cannot be read has its digest, which is enough to end it
			return err
		}
		now := a.m.creationNow()
		if overlap > 0 { // an end that counts from now
			at, err := a.m.confirmTimeNow(ctx, a.owner)
			if err != nil {
				return err
			}
			now = a.m.creationTime(at)
		}
		if text, err = a.m.newText(t.Kind, t.Test, a.owner); err != nil {
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
				continue // it ends sooner already; without an overlap no clock was read to compare with
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

// Reveal returns the text of a token's newest secret, and records that in the audit trail. It returns [ErrNeedsKeyring]
// unless Options.Keyring is set, and was when the secret was made. A publishable token needs no Keyring, because its
// text is public. It returns [ErrInvalid] for a revoked token.
func (a Account) Reveal(ctx context.Context, id string) (Secret, error) {
	return a.reveal(ctx, id, "token.reveal", a.m.newestText)
}

// RevealAll is [Account.Reveal] of many tokens, for listings. It writes once per hundred tokens instead of once per
// token. It returns the secrets by token id, and records each of those tokens in the audit trail. These tokens are left
// out:
//
//   - tokens that do not exist or are revoked
//   - tokens that the caller may not reveal
//   - tokens with secrets that cannot be read, or are not kept because there is no Keyring or was none
//   - publishable tokens: their text is Token.Public
func (a Account) RevealAll(ctx context.Context, ids ...string) (map[string]Secret, error) {
	all := make(map[string]Secret, len(ids))
	if a.m.opts.Keyring == nil {
		return all, nil
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for some := range slices.Chunk(ids, 100) {
		var texts map[string]string
		err := retry(ctx, func() (err error) {
			texts, err = a.revealSome(ctx, some)
			return err
		})
		if err != nil {
			return nil, err // the secrets opened so far are recorded, but not returned
		}
		for id, text := range texts {
			all[id] = newSecret(text)
		}
	}
	return all, nil
}

// SigningSecret returns the key that a token's requests are signed with, and records that in the audit trail. It makes
// a key on the first call, and on the first call after [Account.Rotate]. It returns [ErrNeedsKeyring] unless
// Options.Keyring is set.
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

// errNoSigning is returned by a find of reveal that wants a signing secret made.
var errNoSigning = errors.New("latchkey: no signing secret yet")

// reveal returns the text that find picks out of a token's secrets, and records it in the audit trail.
func (a Account) reveal(ctx context.Context, id, event string,
	find func(*Token, []SecretRecord, int64) (string, error)) (Secret, error) {
	var text string
	err := retry(ctx, func() error {
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
		now := a.m.expiryNow()
		w := Write{Silent: true, RequireTokens: []Ref{{ID: id, Version: f.Token.Version}}}
		text, err = find(&f.Token, secrets, now)
		if errors.Is(err, errNoSigning) {
			var rec SecretRecord
			if text, rec, err = a.m.newSigning(&f.Token, now); err == nil {
				// The version moves, so that the second of two concurrent callers finds the secret of the first.
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

// revealSome opens the newest secrets of some tokens and records them in one write.
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

// openNewest opens the newest secret of a token that the actor may reveal.
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
	text, err = c.m.newestText(&f.Token, secrets, c.m.expiryNow())
	return text, f.Token.Version, err
}

// newestText returns the text of a token's newest secret that has not ended.
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
