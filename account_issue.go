package latchkey

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Issue makes a token and stores it. The Secret is the only place its text can be read, unless Options.Keyring allows
// Reveal. [ErrInvalid] for a Spec that its kind cannot have, an end that is past, an unknown role.
func (a Account) Issue(ctx context.Context, spec Spec) (Token, Secret, error) {
	text, err := "", error(nil)
	if spec.Kind.Valid() && spec.Kind != KindAccess {
		if text, err = newText(a.m.opts.Rand, spec.Kind, spec.Test, a.m.opts.Prefix); err != nil {
			return Token{}, Secret{}, err
		}
	}
	t, err := a.issue(ctx, spec, text, "token.issue")
	if err != nil {
		return Token{}, Secret{}, err
	}
	return t, newSecret(text), nil
}

// Import makes a token of a text from elsewhere, 16 to 512 bytes long. Options.Imported must say yes to it, unless it
// has the form of latchkey's own texts of that kind ([ErrInvalid]). [ErrExists] if the text is a token already.
func (a Account) Import(ctx context.Context, spec Spec, text string) (Token, error) {
	return a.issue(ctx, spec, text, "token.import")
}

// importable refuses a text that could not be told from others, or is a token already.
func (a Account) importable(ctx context.Context, spec *Spec, text string) error {
	if len(text) < 16 || !a.m.plausible(text) {
		return fmt.Errorf("%w: a text of this form would not be recognised: see Options.Imported", ErrInvalid)
	}
	if kind, ok := parseText(text); ok && kind != spec.Kind {
		return fmt.Errorf("%w: the text is of kind %s", ErrInvalid, kind)
	}
	if err := boundText("text", text, 16, maxPresented); err != nil {
		return err
	}
	if k := a.m.opts.Keyring; k != nil {
		// The store would see only the digest by the newest key.
		if _, err := a.m.store.ByDigest(ctx, k.candidates(text)...); err == nil || isDamaged(err) {
			return fmt.Errorf("%w: the text is a token already", ErrExists)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

func (a Account) issue(ctx context.Context, spec Spec, text, event string) (Token, error) {
	var out Token
	err := retry(func() (err error) { // the actor may change meanwhile
		out, err = a.issueOnce(ctx, spec, text, event)
		return err
	})
	return out, err
}

func (a Account) issueOnce(ctx context.Context, spec Spec, text, event string) (Token, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Token{}, err
	}
	id, err := a.m.newRecordID(a.m.present())
	if err != nil {
		return Token{}, err
	}
	// First of all, so that whoever may not learns nothing of texts and roles.
	if err := c.check(Create, "token", id); err != nil {
		return Token{}, err
	}
	at, err := a.m.askClock(ctx)
	if err != nil {
		return Token{}, err
	}
	now := a.m.judging(at)
	switch {
	case spec.Kind == 0:
		return Token{}, fmt.Errorf("%w: Spec.Kind is not set", ErrInvalid)
	case spec.Kind == KindAccess:
		return Token{}, fmt.Errorf("%w: access tokens are minted from another one, not issued", ErrInvalid)
	case !spec.Kind.Valid():
		return Token{}, fmt.Errorf("%w: Spec.Kind is unknown: %d", ErrInvalid, uint8(spec.Kind))
	case spec.Test && spec.Kind != KindSecret && spec.Kind != KindPublishable:
		return Token{}, fmt.Errorf("%w: %s tokens are not issued as Test", ErrInvalid, spec.Kind)
	case over(spec.Validity.NotAfter, now):
		return Token{}, fmt.Errorf("%w: NotAfter is past", ErrInvalid)
	}
	if err := boundText("Origin", spec.Origin, 0, maxOrigin); err != nil {
		return Token{}, err
	}
	if event == "token.import" {
		if err := a.importable(ctx, &spec, text); err != nil {
			return Token{}, err
		}
	}
	t := Token{ID: id, Owner: a.owner, Kind: spec.Kind, Test: spec.Test, Origin: spec.Origin,
		Settings: spec.Settings}.Clone()
	if err := a.m.checkSettings(t.Kind, &t.Settings, now); err != nil {
		return Token{}, err
	}
	roles, err := a.rolesOf(ctx, t.Roles)
	if err != nil {
		return Token{}, err
	}
	if err := newPolicy(layersOf(&t, nil), roles).overgrown(ctx); err != nil {
		return Token{}, err
	}
	if err := c.coversToken(ctx, &t, nil, Create); err != nil {
		return Token{}, err
	}
	if err := c.bounded(&t, nil, Create, nil, true); err != nil {
		return Token{}, err
	}
	owner := c.found.Owner
	if !c.acts {
		if owner, err = a.m.store.Owner(ctx, a.owner); err != nil {
			return Token{}, err
		}
	}
	made, err := owner.created(a.m.making(at))
	if err != nil {
		return Token{}, err
	}
	rec, err := a.m.newSecretRecord(&t, text, made)
	if err != nil {
		return Token{}, err
	}
	// Under the record as it was read: a mass revocation meanwhile is a conflict, and not a dead token.
	t.Version, t.OwnerVersion = 0, owner.Version
	w := Write{RequireOwner: &owner.Version, Tokens: []Token{t}, Secrets: []SecretChange{{TokenID: t.ID, Add: &rec}},
		Silent: true}
	t.Version = 1
	if err := c.write(ctx, w, Event{Action: event, Object: t.ID, After: auditJSON(t)}); err != nil {
		return Token{}, err
	}
	return t, nil
}

// rolesOf reads roles with all that they inherit. An unknown one is refused. One that is deleted a moment later gives
// nothing.
func (a Account) rolesOf(ctx context.Context, ids []string) (known map[string]Role, err error) {
	for _, id := range ids {
		if _, ok := known[id]; ok {
			continue
		}
		known, err = a.m.roleClosure(ctx, a.owner, known, id)
		if errors.Is(err, ErrNotFound) {
			return nil, fmt.Errorf("%w: unknown role %q: a role is named by its ID", ErrInvalid, id)
		} else if err != nil {
			return nil, err
		}
	}
	return known, nil
}

// settled refuses an edit of a token that names an unknown role, or whose rows would be too large together. What the
// edit left as it was is not judged anew, so that a token can always be renamed, or switched off.
func (a Account) settled(ctx context.Context, edited *Token, f *Found) error {
	was := &f.Token
	if slices.Equal(edited.Roles, was.Roles) && edited.Full == was.Full &&
		samePermissions(edited.Permissions, was.Permissions) {
		return nil
	}
	layers := layersOf(edited, f.Ancestors)
	known, err := a.rolesOf(ctx, edited.Roles)
	if err != nil {
		return err
	}
	if len(f.Ancestors) > 0 {
		roles, err := a.m.rolesOf(ctx, a.owner, &compiled{anyRole: true, roleSet: known}, layers)
		if err != nil {
			return err
		}
		known = roles
	}
	return newPolicy(layers, known).overgrown(ctx)
}
