package latchkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/tokentext"
)

// Mint makes a token that may do what a may do, less n: its answers are met with its parent's at every Verify, so it can
// never do more, and whatever the parent loses it loses at once. The parent is read anew first. A lifetime beyond the
// end of a parent is clamped, and the Token shows it.
//
// The zero Access mints nothing: [ErrInvalidToken]. [ErrInvalid] for a Lifetime below a microsecond, an empty but not
// nil Roles, an unknown role or one the parent lacks, a Client other than the one a parent was minted for (left out, it
// is inherited), and anything malformed; [ErrForced] for forced values that disagree with a parent's; [ErrDenied] if
// the parent may not mint (a publishable token, one that must sign its requests, one at Options.MaxDepth); [ErrAddress]
// outside Restrictions.MintFrom; and Verify's errors if the parent has ended meanwhile. An Assumed or narrowed Access
// has no token that could be the parent: ErrInvalid.
func (a Access) Mint(ctx context.Context, n Narrowing) (Token, Secret, error) {
	for try := 0; ; try++ {
		t, s, err := a.mint(ctx, &n)
		if !errors.Is(err, ErrConflict) || try == 7 {
			return t, s, err
		}
		// The parent changed between reading and writing: read it again.
	}
}

func (a Access) mint(ctx context.Context, n *Narrowing) (Token, Secret, error) {
	m := a.m
	fail := func(err error) (Token, Secret, error) { return Token{}, Secret{}, err }
	switch {
	case a.set == nil:
		return fail(ErrInvalidToken)
	case a.who.kind == 0:
		return fail(fmt.Errorf("%w: an assumed access has no token to mint from", ErrInvalid))
	case len(a.set.narrowLayers) != 0:
		return fail(fmt.Errorf("%w: a narrowed access has no token to mint from: mint from the verified one", ErrInvalid))
	case n.Stateless:
		return fail(fmt.Errorf("%w: stateless tokens are not available", ErrInvalid))
	case n.Lifetime < time.Microsecond:
		return fail(fmt.Errorf("%w: Lifetime must be a microsecond at least", ErrInvalid))
	}
	a, f, err := m.reverify(ctx, a)
	if err != nil {
		return fail(err)
	}
	parent := &f.Token
	switch {
	case parent.Kind == KindPublishable:
		return fail(a.reportRefusal(ctx, fmt.Errorf("%w: a publishable token mints nothing", ErrDenied)))
	case a.set.restrict.needsSignature():
		return fail(a.reportRefusal(ctx, fmt.Errorf("%w: a token that signs its requests mints nothing", ErrDenied)))
	case int(parent.Depth) >= m.opts.MaxDepth:
		return fail(a.reportRefusal(ctx,
			fmt.Errorf("%w: %d generations are enough (Options.MaxDepth)", ErrDenied, m.opts.MaxDepth)))
	}
	if err := a.set.restrict.verifyMintAddress(a.from); err != nil {
		return fail(a.reportRefusal(ctx, err))
	}
	nl, err := a.resolveNarrowing(ctx, n)
	if err != nil {
		return fail(err)
	}
	if err := a.overgrown(ctx, &nl); err != nil {
		return fail(err)
	}
	s := Settings{Name: n.Name, Roles: nl.layer.roles, Permissions: nl.layer.rules, Restrictions: n.Restrictions,
		Limits: n.Limits, Extra: n.Extra}
	at, err := m.confirmedTime(ctx)
	if err != nil {
		return fail(err)
	}
	now := m.creationTime(at)
	s.Validity = Validity{NotAfter: clampEnd(fromMicros(now), n.Lifetime, &f), Idle: n.Idle}
	if over(s.Validity.NotAfter, m.expiryTime(at)) {
		return fail(fmt.Errorf("%w: the clocks were set back, and the token would be dead", ErrUnavailable))
	}
	// narrowing has validated the rules and the restrictions.
	if err := checkNameAndRoles(KindAccess, &s); err != nil {
		return fail(err)
	}
	if err := checkBounds(KindAccess, &s); err != nil {
		return fail(err)
	}
	if err := checkText("Origin", n.Origin, 0, maxOrigin); err != nil {
		return fail(err)
	}
	t := Token{Owner: parent.Owner, Kind: KindAccess, Test: parent.Test, Parent: parent.ID, Depth: parent.Depth + 1,
		Origin: n.Origin, Settings: s, Client: nl.client, Full: nl.layer.full, Rows: nl.layer.rows, Forced: nl.layer.forced}
	t.OwnerVersion = f.Owner.Version
	w := Write{RequireTokens: []Ref{{ID: parent.ID, Version: parent.Version}}, RequireOwner: &f.Owner.Version}
	if n.Client.ID != "" {
		w.Clients = []Client{t.Client}
	}
	text, err := m.newText(t.Kind, t.Test)
	if err != nil {
		return fail(err)
	}
	if t.ID, err = m.ids.NewText(now); err != nil {
		return fail(err)
	}
	made, err := f.Owner.clampCreation(now)
	if err != nil {
		return fail(err)
	}
	rec, err := m.newSecretRecord(&t, text, made)
	if err != nil {
		return fail(err)
	}
	// A token nobody held before can alter no answer, and is its own record of having been minted: no audit event.
	w.Owner, w.Silent = t.Owner, true
	w.Tokens, w.Secrets = []Token{t}, []SecretChange{{TokenID: t.ID, Add: &rec}}
	if _, err := m.write(ctx, w); err != nil {
		return fail(err)
	}
	t.Version = 1
	return t, newSecret(text), nil
}

// overgrown refuses a mint whose rows would be too large, together with those of its parents. What a parent allows is
// small most of the time, and a role that the mint names is one of the parent's: then nothing need be tried.
func (a Access) overgrown(ctx context.Context, nl *resolvedNarrowing) error {
	whole := a.set.policy.size()
	own := whole // what the roles it names give is part of that
	if !nl.layer.full {
		for _, id := range nl.roles {
			if _, ok := a.set.roleSet[id]; !ok {
				own.nodes = maxSize // a role that the parent does not have
			}
		}
		own = compile(nl.layer.rules).size.after(own)
	}
	for _, c := range nl.layer.rows {
		own = own.and(conditionSize(c))
	}
	own.weight = add(own.weight, weight(nl.layer.forced))
	if whole.and(own).fits() {
		return nil
	}
	return newPolicy(append([]layer{nl.layer}, a.set.layers...), nl.roleSet).overgrown(ctx)
}

// clampEnd is now + lifetime, or the first end of a parent.
func clampEnd(now time.Time, lifetime time.Duration, f *Found) time.Time {
	end := now.Add(lifetime)
	for _, t := range append([]Token{f.Token}, f.Ancestors...) {
		if e := t.Validity.NotAfter; !e.IsZero() && e.Before(end) {
			end = e
		}
	}
	return end
}

// narrowed is what a Narrowing means for one Access.
type resolvedNarrowing struct {
	layer   layer
	roles   []string
	roleSet map[string]Role
	client  Client
}

// narrowClient is the client a narrowed access stands for: the client it has, by whatever name is the newest, or the
// one now given. It never changes to another, for rows may refer to it.
func (a Access) narrowClient(c Client) (Client, error) {
	had := a.who.client
	switch {
	case c == Client{}:
		return had, nil
	case had.ID != "" && c.ID != had.ID:
		return Client{}, fmt.Errorf("%w: the access is already another client's", ErrInvalid)
	}
	return c, checkClient(c)
}

// narrowing checks n against what a may do, and reads roles that a may name without having them.
func (a Access) resolveNarrowing(ctx context.Context, n *Narrowing) (resolvedNarrowing, error) {
	none := resolvedNarrowing{}
	if n.Roles != nil && len(n.Roles) == 0 {
		return none, fmt.Errorf("%w: Roles is empty: nil means all of the parent's", ErrInvalid)
	}
	client, err := a.narrowClient(n.Client)
	if err != nil {
		return none, err
	}
	if err := n.Permissions.Validate(); err != nil {
		return none, err
	}
	for _, c := range n.Rows {
		if err := c.Validate(); err != nil {
			return none, err
		}
	}
	if err := n.Restrictions.Validate(a.m.opts.PublicSuffix); err != nil {
		return none, err
	}
	forced, err := normaliseValues(n.Forced)
	if err != nil {
		return none, err
	}
	for _, up := range slices.Concat(a.set.narrowLayers, a.set.layers) {
		for field, v := range up.forced {
			if mine, ok := forced[field]; ok && !reflect.DeepEqual(mine, v) {
				return none, fmt.Errorf("%w: field %q", ErrForced, field)
			}
		}
	}
	nl := resolvedNarrowing{roleSet: a.set.roleSet, roles: a.set.roles, client: client}
	nl.layer = layer{name: "narrowing", full: n.Roles == nil && n.Permissions == nil,
		roles: slices.Compact(slices.Sorted(slices.Values(n.Roles))), rules: slices.Clone(n.Permissions),
		rows: slices.Clone(n.Rows), forced: forced}
	if !nl.layer.full {
		nl.roles = nl.layer.roles
	}
	nl.layer.selfRoles = &nl.roles
	if nl.layer.full {
		return nl, nil
	}
	for _, id := range nl.roles {
		if slices.Contains(a.set.roles, id) {
			if _, ok := nl.roleSet[id]; ok {
				continue
			}
		}
		if !a.set.anyRole {
			return none, fmt.Errorf("%w: role %q is not the ID of one of the parent's", ErrInvalid, id)
		}
		known, err := a.m.roleClosure(ctx, a.who.owner, nl.roleSet, id)
		if errors.Is(err, ErrNotFound) {
			return none, fmt.Errorf("%w: unknown role %q: a role is named by its ID", ErrInvalid, id)
		} else if err != nil {
			return none, err
		}
		nl.roleSet = known
	}
	return nl, nil
}

// roleClosure reads a role and all it inherits, and returns them with what is known already. The role itself must exist
// (ErrNotFound); a role inherited that is gone is left out, and gives nothing.
func (m *Manager) roleClosure(ctx context.Context, owner string, known map[string]Role, id string) (map[string]Role, error) {
	out := maps.Clone(known)
	if out == nil {
		out = map[string]Role{}
	}
	seen := map[string]bool{id: true}
	for queue := []string{id}; len(queue) > 0; queue = queue[1:] {
		r, err := m.store.Role(ctx, owner, queue[0])
		if errors.Is(err, ErrNotFound) && queue[0] != id {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[r.ID] = r
		for _, up := range r.Inherits {
			if !seen[up] {
				seen[up] = true
				queue = append(queue, up)
			}
		}
		if len(seen) > maxRoles {
			return nil, fmt.Errorf("%w: more than %d roles are inherited", ErrInvalid, maxRoles)
		}
	}
	return out, nil
}

// newText makes the text of a new token.
func (m *Manager) newText(kind Kind, test bool) (string, error) {
	prefix := textPrefix(kind, test)
	if prefix == "" {
		return "", fmt.Errorf("%w: unknown kind %d", ErrInvalid, kind)
	}
	return tokentext.New(m.opts.Rand, prefix, m.opts.Prefix)
}

// newSecretRecord makes the record of a text, and lets the token show what of it may be seen.
func (m *Manager) newSecretRecord(t *Token, text string, now int64) (SecretRecord, error) {
	t.Hint = tokentext.Hint(text)
	if t.Kind == KindPublishable {
		t.Public = text
	}
	if t.Created.IsZero() {
		t.Created = fromMicros(now)
	}
	rec := SecretRecord{Hint: t.Hint, Created: fromMicros(now)}
	var err error
	rec.Digest, rec.KeyID, rec.Sealed, err = m.digestAndSeal(text, t.Owner, t.ID)
	return rec, err
}

// newSigning makes a signing secret: a text like a session's, which no carrier ever presents.
func (m *Manager) newSigning(t *Token, now int64) (string, SecretRecord, error) {
	text, err := m.newText(KindSession, false)
	if err != nil {
		return "", SecretRecord{}, err
	}
	rec := SecretRecord{Signing: true, Hint: tokentext.Hint(text), Created: fromMicros(now)}
	rec.Digest, rec.KeyID = m.opts.Keyring.digest(text)
	rec.Sealed, _, err = m.opts.Keyring.seal(m.opts.Rand, []byte(text), sealData{"signing", t.Owner, t.ID})
	return text, rec, err
}

func (m *Manager) openSecret(t *Token, rec *SecretRecord, purpose string) (string, error) {
	if m.opts.Keyring == nil {
		return "", ErrNeedsKeyring
	}
	text, err := m.opts.Keyring.open(rec.Sealed, rec.KeyID, sealData{purpose, t.Owner, t.ID})
	return string(text), err
}

// digestAndSeal is how the secret of a token is kept.
func (m *Manager) digestAndSeal(text, owner, tokenID string) (digest [32]byte, keyID uint32, sealed []byte, err error) {
	k := m.opts.Keyring
	if k == nil {
		return tokentext.Digest(text), 0, nil, nil
	}
	digest, keyID = k.digest(text)
	sealed, _, err = k.seal(m.opts.Rand, []byte(text), sealData{"secret", owner, tokenID})
	return digest, keyID, sealed, err
}
