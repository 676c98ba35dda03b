package latchkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/fault"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Mint makes a token that may do what a may do, narrowed by n. Each Verify meets its rights with those of its parent
// and of all other ancestors. So it can never do more than they. What one of them loses, it loses as soon as Verify
// reflects the change. Mint verifies the parent again first. An end after that of an ancestor, or after what
// [OwnerPolicy] allows, is clamped to it. The Token shows the result. If n.Client is empty, the parent's is inherited,
// and so are the parent's attributes.
//
// A parent without a client may mint for any client. The rules of the chain that refer to [ClientID] give such a parent
// no row, and then give the minted token the rows of its client. So give such rules to a token without a client only if
// it may act for every client, or have the owner's policy demand a right for each: [OwnerPolicy.ClientRight].
//
// The errors are:
//
//   - [ErrInvalidToken] for the zero Access
//   - [ErrInvalid] for an Assumed or narrowed Access, which has no token that could be the parent
//   - [ErrInvalid] for a Lifetime below a microsecond, and for Roles that is empty but not nil
//   - [ErrInvalid] for an unknown role, for one that the parent lacks, and for a RoleEnds that is past
//   - [ErrInvalid] for a Client other than the parent's, if it has one, and for anything malformed
//   - [ErrInvalid] for an attribute that differs from the parent's, or that its ChildAttributes do not name
//   - [ErrForced] for forced values that contradict an ancestor's, and for a reference in one that has no value
//   - [ErrDenied] if the parent may not mint: a publishable token, one that must sign its requests, one at MaxDepth,
//     and one that [OwnerPolicy] does not let mint, or not for that client
//   - [ErrTooMany] where [OwnerPolicy.Children] live already
//   - [ErrAddress] outside Restrictions.MintFrom
//   - for Stateless, [ErrNeedsKeyring] without a Keyring, [ErrInvalid] for what only a stored token can have, and
//     [ErrPolicy] where the owner's policy wants stored ones; [ErrDenied] if the parent is itself stateless
//   - those of [Manager.Verify] if the parent is no longer valid
//   - [ErrConflict] if the parent kept changing for ten seconds each time that Mint was about to write
func (a Access) Mint(ctx context.Context, n Narrowing) (Token, Secret, error) {
	return a.mintObserved(ctx, &n, nil)
}

// MintFor is [Access.Mint] for a request that may be sent twice, and carries it out once: see [Account.ForRequest]. The
// request again is a *[RepeatedError].
func (a Access) MintFor(ctx context.Context, r Request, n Narrowing) (Token, Secret, error) {
	return a.mintObserved(ctx, &n, &r)
}

func (a Access) mintObserved(ctx context.Context, n *Narrowing, r *Request) (Token, Secret, error) {
	var t Token
	var s Secret
	var told Minting
	observed := a.set != nil && a.m.opts.Observer.Minted != nil
	if observed {
		told = Minting{Owner: a.who.owner, ParentID: a.TokenID(), Start: time.Now()}
	}
	err := retry(ctx, func() (err error) { // the parent may have changed since it was read
		told.Tries++
		t, s, err = a.mint(ctx, n, r, told.Tries > 1)
		return err
	})
	if observed {
		told.TokenID, told.Err, told.Duration = t.ID, err, time.Since(told.Start)
		told.Outcome = mintOutcome(err)
		tell(ctx, a.m, "Minted", a.m.opts.Observer.Minted, told)
	}
	return t, s, err
}

// mintOutcome returns the Minting.Outcome of an error.
func mintOutcome(err error) string {
	switch {
	case err == ErrUnknownToken:
		return reasonDeleted
	case errors.Is(err, ErrForced):
		return outcomeForced
	case err != nil && isRefusal(err):
		return reasonOf(err)
	}
	return classOf(err)
}

// minting is what a mint writes, in one piece of memory.
type minting struct {
	token  [1]Token
	secret [1]SecretChange
	record SecretRecord
	client [1]Client
	parent [1]Ref
	write  Write
}

// mint makes one try. Again says that the store is to be read, because the one before found another parent there.
func (a Access) mint(ctx context.Context, n *Narrowing, r *Request, again bool) (Token, Secret, error) {
	m := a.m
	fail := func(err error) (Token, Secret, error) { return Token{}, Secret{}, err }
	if err := a.mayBeParent(); err != nil {
		return fail(a.reportRefusal(ctx, err))
	}
	if n.Lifetime < time.Microsecond {
		return fail(fmt.Errorf("%w: Lifetime must be at least a microsecond", ErrInvalid))
	}
	if n.Stateless {
		return a.mintStateless(ctx, n, r != nil)
	}
	a, up, at, err := m.reverifyParent(ctx, a, true, again)
	if err != nil {
		return fail(err)
	}
	f := up.found
	parent, policy := &f.Token, &f.Owner.Policy
	if r != nil {
		if err := m.repeated(ctx, parent.Owner, parent.ID, r); err != nil {
			return fail(err)
		}
	}
	x := &minting{}
	t, w, rec := &x.token[0], &x.write, &x.record
	check, err := a.minted(ctx, n, up, at, t)
	if err != nil {
		return fail(err)
	}
	now := m.creationTime(at)
	x.parent[0] = Ref{ID: parent.ID, Version: parent.Version}
	w.RequireTokens, w.RequireOwner = x.parent[:], &f.Owner.Version
	if n.Client.ID != "" {
		x.client[0] = t.Client
		w.Clients = x.client[:]
	}
	var random mintRandom
	if err := tokentext.ReadRandom(m.opts.Rand, random[:]); err != nil {
		return fail(err)
	}
	text, err := m.newTextOf(t.Kind, t.Test, t.Owner, random.text())
	if err != nil {
		return fail(err)
	}
	t.ID = uuidv7.Text(m.ids.From(now, random.id()))
	made, err := f.Owner.clampCreation(now)
	if err != nil {
		return fail(err)
	}
	if *rec, err = m.newSecretRecord(t, text, made); err != nil {
		return fail(err)
	}
	// Silent: no cached answer can depend on a new token. By default it leaves no audit event: the token itself records
	// the mint.
	w.Owner, w.Silent, w.Live = t.Owner, true, f.Owner.live(parent.ID, m.expiryTime(at))
	x.secret[0] = SecretChange{TokenID: t.ID, Add: rec}
	w.Tokens, w.Secrets = x.token[:], x.secret[:]
	out := *t
	out.Version = 1
	if policy.AuditMints || r != nil {
		e := Event{Actor: parent.ID, Action: "token.mint", Object: t.ID}
		if a.from.IsValid() {
			e.From = a.from.String()
		}
		if policy.AuditMints {
			e.After = auditJSON(out)
			w.Events = []Event{e}
		}
		if r != nil {
			r.record(w, parent.ID, &e)
		}
	}
	w.ID = m.ids.From(now, random.write())
	if err := m.written(ctx, t.Owner, parent.ID, r, m.writeAs(ctx, w, now)); err != nil {
		return fail(a.reportRefusal(ctx, err))
	}
	check.saved(ctx)
	return out, newSecret(text), nil
}

// mintRandom is the random bytes of one mint. They are read at once, because each read is a call of the system. None is
// kept for a later mint: a copy of the process, as a virtual machine makes one, would use them a second time.
type mintRandom [tokentext.TextRandom + 16 + 16]byte

func (r *mintRandom) text() []byte    { return r[:tokentext.TextRandom] }
func (r *mintRandom) id() [16]byte    { return [16]byte(r[tokentext.TextRandom:]) }
func (r *mintRandom) write() [16]byte { return [16]byte(r[tokentext.TextRandom+16:]) }

// minted sets in t the record that n makes of the parent up, without what depends on its text. A is the parent,
// verified again, at the time at. It returns the check that is to be told when the token is saved.
func (a Access) minted(ctx context.Context, n *Narrowing, up *parentReading, at moment,
	t *Token) (check catalogueCheck, err error) {
	m, f := a.m, up.found
	parent, policy := &f.Token, &f.Owner.Policy
	nl, err := a.mayMint(ctx, n, f)
	if err != nil {
		return check, a.reportRefusal(ctx, err)
	}
	check = m.checkSaved(cmp.Or(n.Origin, parent.Origin))
	if err := check.changed("Permissions", nil, n.Permissions); err != nil {
		return check, err
	}
	if err := check.rows("Rows", n.Rows, n.Forced); err != nil {
		return check, err
	}
	if err := a.checkSize(ctx, &nl, up.size); err != nil {
		return check, err
	}
	*t = Token{Owner: parent.Owner, Kind: KindAccess, Test: parent.Test, Parent: parent.ID, Depth: parent.Depth + 1,
		Origin: n.Origin, Client: nl.client, Full: nl.layer.full, Rows: nl.layer.rows, Forced: nl.layer.forced,
		Settings: Settings{Name: n.Name, Roles: nl.layer.roles, RoleEnds: nl.layer.ends, Permissions: nl.layer.rules,
			Restrictions: n.Restrictions, Limits: n.Limits, Extra: n.Extra}}
	s := &t.Settings
	now := m.creationTime(at)
	lifetime, idle := policy.clampMint(n.Lifetime, n.Idle)
	s.Validity = Validity{NotAfter: clampEnd(fromMicros(now), lifetime, f), Idle: idle}
	if over(s.Validity.NotAfter, m.expiryTime(at)) {
		return check, fmt.Errorf("%w: the clocks were set back, and the token would be expired", ErrUnavailable)
	}
	if s.RoleEnds, err = clampRoleEnds(s.RoleEnds, s.Roles, f, m.expiryTime(at)); err != nil {
		return check, err
	}
	if n.Origin == "" {
		if err := m.checkNewNames(ctx, a.who.owner, n.Name, n.Client); err != nil {
			return check, err
		}
	}
	// resolveNarrowing has validated the rules and the restrictions.
	if err := checkNameAndRoles(KindAccess, s); err != nil {
		return check, err
	}
	if err := checkBounds(KindAccess, s); err != nil {
		return check, err
	}
	if err := checkText("Origin", n.Origin, 0, maxOrigin); err != nil {
		return check, err
	}
	if nl.attributes != nil {
		t.Attributes, t.ChildAttributes = nl.attributes.values.clone(), slices.Clone(nl.attributes.child)
	}
	t.OwnerVersion = f.Owner.Version
	return check, nil
}

// mayBeParent returns an error for an Access without a token, or that may do less than its token.
func (a Access) mayBeParent() error {
	switch {
	case a.set == nil:
		return ErrInvalidToken
	case a.who.kind == 0:
		return fmt.Errorf("%w: an assumed access has no token to mint from", ErrInvalid)
	case uuidv7.IsUnstored(a.id):
		return fmt.Errorf("%w: a stateless token mints nothing: mint from its parent", ErrDenied)
	case len(a.set.narrowLayers) != 0:
		return fmt.Errorf("%w: a narrowed access has no token to mint from: mint from the verified one", ErrInvalid)
	}
	return nil
}

// mayMint returns what n makes of the rights of a, or why a must not mint that. A was just verified again, and f are
// its records.
func (a Access) mayMint(ctx context.Context, n *Narrowing, f *Found) (resolvedNarrowing, error) {
	none := resolvedNarrowing{}
	parent, policy := &f.Token, &f.Owner.Policy
	switch {
	case parent.Kind == KindPublishable:
		return none, fmt.Errorf("%w: a publishable token cannot mint", ErrDenied)
	case a.set.restrict.needsSignature():
		return none, fmt.Errorf("%w: a token that must sign its requests cannot mint", ErrDenied)
	case int(parent.Depth) >= a.m.opts.MaxDepth:
		return none, fmt.Errorf("%w: token depth limit %d reached (Options.MaxDepth)", ErrDenied, a.m.opts.MaxDepth)
	}
	if err := a.set.restrict.verifyMintAddress(a.from); err != nil {
		return none, err
	}
	if err := policy.checkKind(KindAccess); err != nil {
		return none, err
	}
	if policy.MintRight {
		if err := a.Check(Mint, Path("latchkey", "token", parent.ID)); err != nil {
			return none, err
		}
	}
	nl, err := a.resolveNarrowing(ctx, n)
	if err != nil {
		return none, err
	}
	if id := nl.client.ID; policy.ClientRight && id != parent.Client.ID {
		if err := a.Check(Give, Path("latchkey", "client", id)); err != nil {
			return none, fmt.Errorf("%w: the token has no client, and may mint for none that no rule lets it give "+
				"(Owner.Policy.ClientRight)", err)
		}
	}
	return nl, nil
}

// checkSize returns an error if the rows of a mint would be too large together with those of its ancestors. It composes
// them only if they may be too large by their sizes, which is rare: the roles that a mint names are its parent's.
//
// Whole is the size of the parent's policy, with what the parent has apart.
func (a Access) checkSize(ctx context.Context, nl *resolvedNarrowing, whole size) error {
	own := whole // which includes what the roles it names give
	if !nl.layer.full {
		for _, id := range nl.roles {
			if _, ok := a.set.roleSet[id]; !ok {
				own.nodes = maxSize // a role that the parent lacks, of unknown size
			}
		}
		own = newRuleset(nl.layer.rules).size.after(own)
	}
	for _, c := range nl.layer.rows {
		own = own.and(conditionSize(c))
	}
	own.weight = add(own.weight, weight(nl.layer.forced))
	if whole.and(own).fits() {
		return nil
	}
	return a.m.newPolicy(append([]layer{nl.layer}, a.layers()...), nl.roleSet).checkSize(ctx)
}

// clampEnd returns now + lifetime, or the first end of the parent f and its ancestors.
func clampEnd(now time.Time, lifetime time.Duration, f *Found) time.Time {
	end := now.Add(lifetime)
	for i := -1; i < len(f.Ancestors); i++ {
		if e := f.inChain(i).Validity.NotAfter; !e.IsZero() && e.Before(end) {
			end = e
		}
	}
	return end
}

// clampRoleEnds returns the ends of roles with those of the parent f and its ancestors, where these come first. It
// returns ErrInvalid for an end that is past at now, in µs.
func clampRoleEnds(ends roleEnds, roles []string, f *Found, now int64) (roleEnds, error) {
	for id, end := range ends {
		if end.UnixMicro() <= now {
			return nil, fmt.Errorf("%w: the end of role %q in RoleEnds is past", ErrInvalid, id)
		}
	}
	out := maps.Clone(ends)
	for i := -1; i < len(f.Ancestors); i++ {
		up := f.Token.RoleEnds
		if i >= 0 {
			up = f.Ancestors[i].RoleEnds
		}
		for id, end := range up {
			if own, ok := out[id]; slices.Contains(roles, id) && (!ok || end.Before(own)) {
				if out == nil {
					out = roleEnds{}
				}
				out[id] = end
			}
		}
	}
	return out, nil
}

// checkNewNames checks the names of a token of the host. A client's name that is stored already stays valid.
func (m *Manager) checkNewNames(ctx context.Context, owner, name string, client Client) error {
	if err := checkNewName("Name", name); err != nil {
		return err
	}
	err := checkNewName("Client.Name", client.Name)
	if err == nil {
		return nil
	}
	known, stored := m.store.Clients(ctx, owner, Page{After: justBefore(client.ID), Limit: 1})
	if stored != nil {
		return fault.Unavailable(stored)
	}
	if len(known) == 1 && known[0] == client {
		return nil
	}
	return err
}

// resolvedNarrowing is a Narrowing, checked and resolved against one Access.
type resolvedNarrowing struct {
	layer      layer
	roles      []string
	roleSet    map[string]Role
	client     Client
	attributes *attributeSet // nil: none
}

// resolveNarrowing validates n and checks it against what a may do. It reads roles that a may name without having them.
func (a Access) resolveNarrowing(ctx context.Context, n *Narrowing) (resolvedNarrowing, error) {
	none := resolvedNarrowing{}
	if n.Roles != nil && len(n.Roles) == 0 {
		return none, fmt.Errorf("%w: Roles is empty: pass nil for all roles of the parent", ErrInvalid)
	}
	client, err := a.narrowClient(n.Client)
	if err != nil {
		return none, err
	}
	attributes, err := a.who.attributes().narrowed(n.Attributes)
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
	if forced.hasRefs() {
		as := a // as the new token: the root of its chain is that of a
		as.who = a.who.as(client, attributes)
		given, missing := forced.resolve(as.lookup)
		if missing != "" {
			return none, fmt.Errorf("%w: field %q refers to %v, which the new token has no value for, or a list",
				ErrForced, missing, forced[missing])
		}
		forced = given
	}
	for field, mine := range forced {
		if slices.ContainsFunc(slices.Concat(a.set.narrowLayers, a.layers()), func(up layer) bool {
			v, ok := up.forced[field]
			return ok && !reflect.DeepEqual(mine, v)
		}) {
			return none, fmt.Errorf("%w: field %q", ErrForced, field)
		}
	}
	nl := resolvedNarrowing{roleSet: a.set.roleSet, roles: a.set.roles, client: client, attributes: attributes}
	roles, ends, err := a.namedRoles(ctx, n)
	if err != nil {
		return none, err
	}
	nl.layer = layer{name: "narrowing", full: n.Roles == nil && n.Permissions == nil,
		ends: ends, rules: slices.Clone(n.Permissions), rows: slices.Clone(n.Rows), forced: forced}
	if len(roles) > 0 {
		nl.layer.roles = slices.Compact(slices.Sorted(slices.Values(roles)))
	}
	if !nl.layer.full {
		nl.roles = nl.layer.roles
	}
	nl.layer.selfRoles = &selfRoles{held: nl.roles}
	if nl.layer.full {
		nl.layer.selfRoles.lost = a.set.lost
		return nl, nil
	}
	for _, id := range nl.roles {
		if slices.Contains(a.set.roles, id) {
			if _, ok := nl.roleSet[id]; ok {
				continue
			}
		}
		if !a.set.anyRole {
			return none, fmt.Errorf("%w: role %q is not one of the parent's: it is named by its ID or its name", ErrInvalid, id)
		}
		known, err := a.m.roleClosure(ctx, a.who.owner, nl.roleSet, id)
		if errors.Is(err, ErrNotFound) {
			return none, unknownRoleID(id, err)
		} else if err != nil {
			return none, err
		}
		nl.roleSet = known
	}
	return nl, nil
}

// namedRoles returns the ids of the roles that n names, and the ends by id. Names are those of the parent's roles, or
// of any of the owner where the parent may name any.
func (a Access) namedRoles(ctx context.Context, n *Narrowing) (roles []string, ends roleEnds, err error) {
	s := Settings{Roles: n.Roles, RoleEnds: n.RoleEnds}
	if n.Origin == "" && len(n.Roles) <= maxRoles {
		s.Roles = slices.Clone(n.Roles)
		for i, text := range s.Roles {
			if s.Roles[i], err = a.namedRole(ctx, text); err != nil {
				return nil, nil, err
			}
		}
		s.RoleEnds = endsByID(n.RoleEnds, n.Roles, s.Roles)
	}
	err = checkRoleEnds(&s)
	return s.Roles, s.RoleEnds, err
}

// namedRole is namedRoles for one text.
func (a Access) namedRole(ctx context.Context, text string) (string, error) {
	if slices.Contains(a.set.roles, text) || looksLikeRoleID(text) {
		return text, nil
	}
	if a.set.anyRole {
		return a.m.resolveRole(ctx, a.who.owner, text, func(r Role) bool {
			return slices.Contains(a.set.roles, r.ID) || a.Allows(Read, Path("latchkey", "role", r.ID))
		})
	}
	var ids, names []string
	for _, id := range a.set.roles {
		r, ok := a.set.roleSet[id]
		if !ok || r.Origin != "" {
			continue
		}
		if names = append(names, r.Name); r.Name == text {
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("the parent has no such role: %w", unknownRoleNamed(text, names))
	case 1:
		return ids[0], nil
	}
	return "", ambiguousRole(text, ids)
}

// endsByID returns ends by ids: ids[i] is what texts[i] names. Other keys stay as they are.
func endsByID(ends roleEnds, texts, ids []string) roleEnds {
	if ends == nil {
		return nil
	}
	out := make(roleEnds, len(ends))
	for text, end := range ends {
		if i := slices.Index(texts, text); i >= 0 {
			text = ids[i]
		}
		if other, twice := out[text]; twice && other.Before(end) { // by its id and by its name: the earlier holds
			end = other
		}
		out[text] = end
	}
	return out
}

// narrowClient returns the client of a narrowed access: c with the name given now, or a's if c is empty. It returns
// [ErrInvalid] if a has a client with another id, because rows may refer to it.
func (a Access) narrowClient(c Client) (Client, error) {
	had := a.who.client
	switch {
	case c == Client{}:
		return had, nil
	case had.ID != "" && c.ID != had.ID:
		return Client{}, fmt.Errorf("%w: the access already belongs to another client", ErrInvalid)
	}
	return c, checkClient(c)
}

// newText returns a random text for a new token, with the slot of its owner.
func (m *Manager) newText(kind Kind, test bool, owner string) (string, error) {
	return m.newTextOf(kind, test, owner, nil)
}

// newTextOf is newText that begins with random bytes, if they are not nil: see tokentext.New.
func (m *Manager) newTextOf(kind Kind, test bool, owner string, random []byte) (string, error) {
	prefix := textPrefix(kind, test)
	if prefix == "" {
		return "", fmt.Errorf("%w: unknown kind %d", ErrInvalid, kind)
	}
	slot := m.store.Locate(owner).Slot
	if slot > MaxSlot {
		return "", fmt.Errorf("%w: the store names slot %d, and %d is the highest", ErrUnavailable, slot, MaxSlot)
	}
	return tokentext.NewOf(random, m.opts.Rand, prefix, m.opts.Prefix, uint16(slot))
}

// newSecretRecord returns the record of a token's text. It sets in t what of the text may be shown, and Created if that
// is zero.
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

// newSigning returns a new signing secret and its record. The text has the form of a session token's, and is never
// presented by a client.
func (m *Manager) newSigning(t *Token, now int64) (string, SecretRecord, error) {
	text, err := m.newText(KindSession, false, t.Owner)
	if err != nil {
		return "", SecretRecord{}, err
	}
	rec := SecretRecord{Signing: true, Hint: tokentext.Hint(text), Created: fromMicros(now)}
	rec.Digest, rec.KeyID = m.opts.Keyring.digest(text)
	rec.Sealed, _, err = m.opts.Keyring.seal(m.opts.Rand, []byte(text), sealData{"signing", t.Owner, t.ID})
	return text, rec, err
}

// digestAndSeal returns what is stored of a token's secret. Without a keyring it is the plain digest alone.
func (m *Manager) digestAndSeal(text, owner, tokenID string) (digest [32]byte, keyID uint32, sealed []byte, err error) {
	k := m.opts.Keyring
	if k == nil {
		return tokentext.Digest(text), 0, nil, nil
	}
	digest, keyID = k.digest(text)
	sealed, _, err = k.seal(m.opts.Rand, []byte(text), sealData{"secret", owner, tokenID})
	return digest, keyID, sealed, err
}

// openSecret decrypts a sealed secret of a token.
func (m *Manager) openSecret(t *Token, rec *SecretRecord, purpose string) (string, error) {
	if m.opts.Keyring == nil {
		return "", ErrNeedsKeyring
	}
	text, err := m.opts.Keyring.open(rec.Sealed, rec.KeyID, sealData{purpose, t.Owner, t.ID})
	return string(text), err
}
