package latchkey

import (
	"context"
	"errors"
	"slices"
)

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
func (c *act) openNewest(ctx context.Context, id string) (text string, version uint64, err error) {
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
	if err := c.coversToken(ctx, &f.Token, f.Ancestors, Reveal); err != nil {
		return "", 0, err
	}
	if err := c.bounded(&f.Token, f.Ancestors, Reveal, &f.Token.Settings, false); err != nil {
		return "", 0, err
	}
	secrets, err := c.m.store.Secrets(ctx, c.owner, id)
	if err != nil {
		return "", 0, err
	}
	text, err = c.m.newestText(&f.Token, secrets, c.m.now())
	return text, f.Token.Version, err
}
