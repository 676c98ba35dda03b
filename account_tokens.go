package latchkey

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/internal/uuidv7"
)

// Issue makes a token and stores it. The returned Secret is the only place where its text can be read, unless
// Options.Keyring allows Reveal. It returns [ErrInvalid] for a Spec that its kind cannot have, for an end that is
// past, of a role too, and for an unknown role. An actor gives only a client and attributes that it has, or that [Give]
// lets it give, and needs all rights for a secret key: see [Account]. The owner's policy may refuse the token: see
// [OwnerPolicy].
//
// Without an Origin, Spec.Roles may name a role by the name that the host gave it, or that it has in Options.Roles,
// byte for byte. The stored record has ids. An id wins over a name, and a text that looks like an id is one. A name
// that a stored role and one of Options.Roles share is [ErrInvalid]. The names that surfaces gave do not count. With
// an Origin only ids are taken: the surfaces take nothing else.
func (a Account) Issue(ctx context.Context, spec Spec) (Token, Secret, error) {
	text, err := "", error(nil)
	if spec.Kind.Valid() && spec.Kind != KindAccess {
		if text, err = a.m.newText(spec.Kind, spec.Test, a.owner); err != nil {
			return Token{}, Secret{}, err
		}
	}
	t, err := a.issue(ctx, spec, text, "token.issue", nil)
	if err != nil {
		return Token{}, Secret{}, err
	}
	return t, newSecret(text), nil
}

// Import makes a token of a text from elsewhere, 16 to 512 bytes long. It returns [ErrInvalid] unless Options.Imported
// returns true for the text, or the text has the form of latchkey's own texts of that kind. It returns [ErrExists] if
// the text is a token already.
func (a Account) Import(ctx context.Context, spec Spec, text string) (Token, error) {
	return a.issue(ctx, spec, text, "token.import", nil)
}

// ImportDigest makes a token of what another system kept of a secret, when nobody has its text any more. From then on
// Verify accepts the text. Options.Imported must recognise it by its shape, and so must Legacy.Split one with a slow
// hash.
//
// The first Verify that succeeds stores the secret as this library would: by its own digest, under the Keyring if there
// is one. An HMAC or a slow hash is not computed for it again, and is forgotten. If that cannot be written, the request
// passes all the same, and the next one tries again.
//
// Until then a slow hash is computed for requests that name a known lookup part, and for no others. For each lookup
// part one is computed at a time, and 10 a minute, whether the secret is right or wrong. Beyond that Verify returns a
// *[RateLimitError]. So whoever knows the lookup part of a key can keep it from its first use for a while. In each
// process half as many are computed at once as it has processors, and four at most. A hash that costs too much is
// [ErrInvalid]: bcrypt above cost 14, argon2id above 64 MiB or with m·t above 512 MiB. How long a refusal takes tells
// whether there is such a lookup part, which is no secret.
//
// ImportDigest returns [ErrExists] if the digest or the lookup part is taken, in any feed. With a Keyring it cannot see
// that the text of a SHA256 or an HMAC is a token already, because it does not have the text. It returns [ErrInvalid]
// for a publishable token, whose text must be known, and for whatever a [KeptSecret] cannot be. Other errors are those
// of [Account.Import]. An actor needs create on the token.
func (a Account) ImportDigest(ctx context.Context, spec Spec, kept KeptSecret) (Token, error) {
	if spec.Kind == KindPublishable {
		return Token{}, fmt.Errorf("%w: the text of a publishable token is shown to people: Import it", ErrInvalid)
	}
	rec, err := kept.record(a.m.opts.Legacy, a.m.opts.Imported != nil)
	if err != nil {
		return Token{}, err
	}
	return a.issue(ctx, spec, "", "token.import-digest", &rec)
}

// isFree returns ErrExists if a feed has the digest or the lookup part of a secret. The store's own check covers only
// the owner's feed.
func (a Account) isFree(ctx context.Context, s *SecretRecord) error {
	_, err := a.m.store.ByDigest(ctx, NoSlot, s.Digest)
	if errors.Is(err, ErrNotFound) && s.Lookup != "" {
		_, err = a.m.store.ByLookup(ctx, s.Lookup)
	}
	if err == nil || isDamaged(err) {
		return fmt.Errorf("%w: the digest or the lookup part is a token's already", ErrExists)
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// Get reads a token. It returns [ErrNotFound] if there is none. Of a damaged token it returns what is left, with a
// [*DamagedError].
func (a Account) Get(ctx context.Context, id string) (Token, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return Token{}, err
	}
	if c.check(Read, "token", id) != nil {
		return Token{}, ErrNotFound
	}
	if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
		a.m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
	}
	f, err := a.loadEvenDamaged(ctx, id)
	if err == nil && f.Token.Damaged {
		err = damagedToken(&f.Token)
	}
	return f.Token, err
}

// Tokens lists tokens, oldest first unless q says otherwise. It reads page by page as the loop goes on: Limit is the
// size of a page, not of the listing. Of a damaged token it yields what is left, at least its ID, with a
// [*DamagedError], and goes on. The loop ends after any other error.
func (a Account) Tokens(ctx context.Context, q TokenQuery) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		c, err := a.beginReading(ctx)
		if err != nil {
			yield(Token{}, err)
			return
		}
		if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
			a.m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
		}
		if q.Now.IsZero() {
			q.Now = fromMicros(a.m.expiryNow())
		}
		if q.Role, err = c.resolveQuery(ctx, q.Role, q.Origin); err != nil {
			yield(Token{}, err)
			return
		}
		pages(q.Page, func(p Page) ([]Token, error) {
			q.Page = p
			return a.m.store.Tokens(ctx, a.owner, q)
		}, q.Key, func(t Token, err error) bool {
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

// TokensPage is one page of [Account.Tokens]: {"items": […], "next": "…"} as JSON. A damaged token stands among the
// others: see [Listing]. With the next as q.After, the page that follows is read. A Limit above 1000 is 1000.
func (a Account) TokensPage(ctx context.Context, q TokenQuery) (Listing[Token], error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return Listing[Token]{}, err
	}
	if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
		a.m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
	}
	if q.Now.IsZero() {
		q.Now = fromMicros(a.m.expiryNow())
	}
	if q.Role, err = c.resolveQuery(ctx, q.Role, q.Origin); err != nil {
		return Listing[Token]{}, err
	}
	return listing(q.Page, func(p Page) ([]Token, error) {
		q.Page = p
		return a.m.store.Tokens(ctx, a.owner, q)
	}, q.Key, func(t Token) bool { return c.check(Read, "token", t.ID) == nil })
}

// Find returns the token that a text belongs to. The text is one of its secrets that has not been removed, or that of a
// publishable token. Find is no use of the token and is counted nowhere.
//
// It returns [ErrNotFound] if there is no such token, if it is another owner's, and if the caller may not read it.
// These cases look alike. A record that decides which token it is may be damaged. It returns a *[DamagedError] then, to
// a caller that may read that record.
func (a Account) Find(ctx context.Context, text string) (Token, error) {
	f, err := a.FindSecret(ctx, text)
	return f.Token, err
}

// FindSecret is [Account.Find] with which of the token's secrets the text is.
func (a Account) FindSecret(ctx context.Context, text string) (FoundSecret, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return FoundSecret{}, err
	}
	if a.m.isSealed(text) {
		t, err := a.m.findText(ctx, text)
		if errors.Is(err, ErrNotFound) || err == nil && (t.Owner != a.owner || c.check(Read, "token", t.ID) != nil) {
			err = ErrNotFound // with the same text, whether there is such a token of another owner or not
		}
		if err != nil {
			return FoundSecret{}, err
		}
		return FoundSecret{Token: t}, nil
	}
	if !a.m.mayBeToken(text) {
		return FoundSecret{}, ErrNotFound
	}
	f, err := a.m.byText(ctx, text, tokentext.Digest(text))
	if d, ok := errors.AsType[*DamagedError](err); ok && f.Token.ID == "" {
		if d.Owner != a.owner || c.check(Read, d.Kind.noun(), d.recordID()) != nil {
			return FoundSecret{}, ErrNotFound // the error would name a record
		}
		return FoundSecret{}, err
	} else if errors.Is(err, ErrNotFound) {
		return FoundSecret{}, ErrNotFound // without the store's words: as for a token of another owner
	} else if err != nil && !ok { // a damaged token can be found too, and ended
		return FoundSecret{}, err
	}
	if f.Token.Owner != a.owner || c.check(Read, "token", f.Token.ID) != nil {
		return FoundSecret{}, ErrNotFound
	}
	return a.m.foundSecret(&f), nil
}

// FoundSecret is what [Manager.Find] and [Account.FindSecret] know of a text.
type FoundSecret struct {
	Token Token
	// SecretID names the secret among those of its token: see [LiveSecret]. "": the text is that of a publishable token or
	// of a stateless one, or the record of the secret cannot be read.
	SecretID string
	Ended    bool // a rotation, or Account.EndSecret, has ended the secret: the text lets nobody in
	// NotAfter is when a rotation ends the secret, or has ended it. Zero: it works as long as its token.
	NotAfter time.Time
}

// Find returns the token that a text belongs to, whoever owns it. It is for the host's own jobs, such as an answer to a
// report that a text has leaked, and checks no rights: see package httpadapter/leaks. It is no use of the token and is
// counted nowhere. It finds an ended secret that was not removed yet, and never a signing secret.
//
// It returns [ErrNotFound] if there is no such token. A damaged token is found too, and can be ended. It returns a
// [*DamagedError] if not even its id and owner can be read.
func (m *Manager) Find(ctx context.Context, text string) (FoundSecret, error) {
	if m.isSealed(text) {
		t, err := m.findText(ctx, text)
		if err != nil {
			return FoundSecret{}, err
		}
		return FoundSecret{Token: t}, nil
	}
	if !m.mayBeToken(text) {
		return FoundSecret{}, ErrNotFound
	}
	f, err := m.byText(ctx, text, tokentext.Digest(text))
	if err != nil && (!isDamaged(err) || f.Token.ID == "" || f.Token.Owner == "") {
		return FoundSecret{}, err
	}
	return m.foundSecret(&f), nil
}

func (m *Manager) foundSecret(f *Found) FoundSecret {
	found := FoundSecret{Token: f.Token, Ended: over(f.Secret.NotAfter, m.expiryNow()), NotAfter: f.Secret.NotAfter}
	if f.Token.Kind != KindPublishable {
		found.SecretID = secretID(&f.Secret)
	}
	return found
}

// SeekPage returns the TokenQuery.After of the page that ends just before the token before, or of the last page if
// before is empty. The page has q.Limit tokens. It may be shorter when ids of several machines lie close together.
//
// Ids begin with their time. SeekPage searches that time by bisection with a few short reads, however long the listing
// is. It returns [ErrInvalid] for another order than that of ids.
func (a Account) SeekPage(ctx context.Context, q TokenQuery, before string) (after string, err error) {
	if q.Order != OrderID || q.Reverse {
		return "", fmt.Errorf("%w: only a listing by id can be read from its end", ErrInvalid)
	}
	c, err := a.beginReading(ctx)
	if err != nil {
		return "", err
	}
	if q.Now.IsZero() {
		q.Now = fromMicros(a.m.expiryNow())
	}
	if q.Role, err = c.resolveQuery(ctx, q.Role, q.Origin); err != nil {
		return "", err
	}
	size := min(q.Page.Size(), 999)
	q.Limit = size + 1
	// probe counts the tokens between after and before. It returns size + 1 for more than size.
	probe := func(after string) (n int, err error) {
		q.After = after
		list, err := a.m.store.Tokens(ctx, a.owner, q)
		for i := range list {
			if before == "" || list[i].ID < before {
				if i == size {
					return i + 1, err // full, also if the actor may not read some of them
				}
				if c.check(Read, "token", list[i].ID) == nil {
					n++
				}
			}
		}
		return n, err
	}
	if n, err := probe(""); err != nil || n <= size {
		return "", err // all of them fit
	}
	list, err := a.m.store.Tokens(ctx, a.owner, TokenQuery{Page: Page{Limit: 1}})
	if err != nil || len(list) == 0 {
		return "", err
	}
	// More than size tokens come after low, at most size after high. Another machine's clock may be ahead of this one's.
	low, high := uuidv7.Tick(list[0].ID), uint64(a.m.expiryNow()/1000+24*3600*1000)<<12
	if before != "" {
		high = uuidv7.Tick(before) + 1
	}
	best := uuidv7.At(high)
	for high > low+1 {
		mid := low + (high-low)/2
		n, err := probe(uuidv7.At(mid))
		switch {
		case err != nil:
			return "", err
		case n > size:
			low = mid
		default:
			high, best = mid, uuidv7.At(mid)
			if n == size {
				return best, nil
			}
		}
	}
	return best, nil
}

// Update changes a token's Settings. Every other field of the Token that edit gets is for reading. It returns
// [ErrInvalid] if edit changes one, and for Settings that the token's kind cannot have. It returns [ErrNotFound] if
// there is no such token.
//
// If the token changes meanwhile, edit is called again with the newer one. To refuse that, return [ErrConflict] when
// Token.Version is not the one that was shown to the user. An error of edit is returned as it is. Of a damaged token
// only Disabled can be changed: any other change is a *[DamagedError].
//
// Roles that edit adds may be named as for [Account.Issue]; the Origin is the token's. The end of a role that edit
// takes away goes with it.
func (a Account) Update(ctx context.Context, id string, edit func(*Token) error) (Token, error) {
	return a.update(ctx, id, "", edit)
}

// update is Update, with the reason of its event.
func (a Account) update(ctx context.Context, id, reason string, edit func(*Token) error) (Token, error) {
	unlimited := false
	var check catalogueCheck
	t, err := a.change(ctx, Update, "token.update", id, reason, func(c *call, f *Found, w *Write) error {
		edited := f.Token.Clone()
		if err := edit(&edited); err != nil {
			return &editError{err}
		}
		if f.Token.Damaged {
			return switchDamaged(&f.Token, &edited)
		}
		frame := edited
		frame.Settings = f.Token.Settings
		if !sameRecord(frame, f.Token) {
			return fmt.Errorf("%w: Update can change Settings only", ErrInvalid)
		}
		now := a.m.expiryNow()
		if edited.Origin == "" {
			if edited.Name != f.Token.Name {
				if err := checkNewName("Name", edited.Name); err != nil {
					return err
				}
			}
			if err := c.resolveSettings(ctx, &edited.Settings, f.Token.Roles); err != nil {
				return err
			}
		}
		dropRoleEnds(&edited.Settings, f.Token.RoleEnds)
		if err := a.m.checkSettings(edited.Kind, &edited.Settings); err != nil {
			return err
		}
		check = a.m.checkSaved(edited.Origin)
		if err := check.changed("Permissions", f.Token.Permissions, edited.Permissions); err != nil {
			return err
		}
		if edited.Full && (len(edited.Roles) != 0 || len(edited.Permissions) != 0) {
			edited.Full = false // it names its own rights now
		}
		if err := a.checkEditedRights(ctx, &edited, f); err != nil {
			return err
		}
		if c.descendsFrom(id) && loosens(&f.Token.Settings, &edited.Settings) {
			return &DeniedError{Action: Update, Resource: Path("latchkey", "token", id)}
		}
		if edited.Validity.Idle != f.Token.Validity.Idle {
			edited.Used = latestUse(&f.Token, now) // a new limit counts from the latest possible use
		}
		if err := keepToPolicy(f, &edited, w, now); err != nil {
			return err
		}
		edited = edited.Clone() // edit may have kept a reference
		unlimited = edited.Limits.Rate == Rate{}
		f.Token = edited
		return nil
	})
	if key := tokenRateKey(a.owner, uuidv7.Parse(id)); err == nil && unlimited {
		a.m.rates.Forget((*[16]byte)(&key))
	}
	if err == nil {
		check.saved(ctx)
	}
	return t, err
}

// Revoke ends a token, and all that was minted from it, before it returns. The record stays, listed as revoked, until
// it is purged. Revoking a revoked token changes nothing. A reason has at most 256 bytes. Revoke returns [ErrNotFound]
// if there is no such token.
//
// A stateless token is revoked by its id too, which [Access.Mint] and [Access.TokenID] return. There is no record that
// could tell whether it exists, or what it may do. So an actor needs a secret key. One that has ended needs no
// revocation: nothing is written.
func (a Account) Revoke(ctx context.Context, id, reason string) error {
	if err := checkText("reason", reason, 0, maxReason); err != nil {
		return err
	}
	if IsStateless(id) {
		return a.revokeStateless(ctx, reason, Event{Object: id}, Revocation{ID: id})
	}
	_, err := a.change(ctx, Delete, "token.revoke", id, reason, func(c *call, f *Found, w *Write) error {
		if !f.Token.Revoked.IsZero() {
			return errUnchanged
		}
		if f.Token.Damaged {
			f.Token = tombstone(f.Token)
		}
		f.Token.Revoked, f.Token.Reason = fromMicros(a.m.creationNow()), reason
		return nil
	})
	return err
}

// Delete removes a token and all that was minted from it before it returns. No record of it stays. It returns
// [ErrNotFound] if there is no such token.
func (a Account) Delete(ctx context.Context, id string) error {
	return retry(ctx, func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(Delete, "token", id); err != nil {
			return err
		}
		f, err := a.loadEvenDamaged(ctx, id)
		if errors.Is(err, ErrNotFound) {
			a.m.markStale(a.owner) // another process may have deleted it
		}
		if err != nil {
			return err
		}
		if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, true, Delete); err != nil {
			return err
		}
		if err := a.checkVersion(f.Token.Version); err != nil {
			return err
		}
		w := Write{DeleteTokens: []Ref{{ID: id, Version: f.Token.Version}}}
		if until := givenIDEnd(id); until.After(fromMicros(a.m.creationNow())) { // the host might give it again
			w.Once = []OnceKey{{Key: givenIDKey(id), Until: until, IfAbsent: true}}
		}
		return c.write(ctx, w, Event{Action: "token.delete", Object: id, Before: auditJSON(f.Token)})
	})
}

// issue makes a token of a text, or of what was kept of it. It tries again if the actor, or another record that decided
// about it, has changed.
func (a Account) issue(ctx context.Context, spec Spec, text, event string, kept *SecretRecord) (Token, error) {
	var out Token
	err := retry(ctx, func() (err error) { // the actor may have changed
		out, err = a.issueOnce(ctx, spec, text, event, kept)
		return err
	})
	return out, err
}

// issueOnce is one try of issue.
func (a Account) issueOnce(ctx context.Context, spec Spec, text, event string, kept *SecretRecord) (Token, error) {
	c, err := a.begin(ctx)
	if err != nil {
		return Token{}, err
	}
	id := spec.ID
	if id == "" {
		if id, err = a.m.ids.NewText(a.m.creationNow()); err != nil {
			return Token{}, err
		}
	}
	// Checked first, so that an actor without the right learns nothing about texts and roles.
	if err := c.check(Create, "token", id); err != nil {
		return Token{}, err
	}
	if spec.ID != "" && c.checked { // a record of its own is the host's to name
		return Token{}, fmt.Errorf("%w: only the host gives an id (Spec.ID)", deniedToken(Create, id))
	}
	at, err := a.m.confirmTimeNow(ctx, a.owner)
	if err != nil {
		return Token{}, err
	}
	if spec.ID != "" {
		if err := checkGivenID(spec.ID, a.m.creationTime(at)); err != nil {
			return Token{}, err
		}
	}
	now := a.m.expiryTime(at)
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
	if err := checkText("Origin", spec.Origin, 0, maxOrigin); err != nil {
		return Token{}, err
	}
	if event == "token.import" {
		if err := a.importable(ctx, &spec, text); err != nil {
			return Token{}, err
		}
	}
	if kept != nil {
		if err := a.isFree(ctx, kept); err != nil {
			return Token{}, err
		}
	}
	t := Token{ID: id, Owner: a.owner, Kind: spec.Kind, Test: spec.Test, Origin: spec.Origin,
		Settings: spec.settings(), Client: spec.Client}.Clone()
	if err := checkClient(t.Client); err != nil {
		return Token{}, err
	}
	if t.Origin == "" {
		if err := a.m.checkNewNames(ctx, a.owner, t.Name, t.Client); err != nil {
			return Token{}, err
		}
		if err := c.resolveSettings(ctx, &t.Settings, nil); err != nil {
			return Token{}, err
		}
	}
	for id, end := range t.RoleEnds {
		if over(end, now) {
			return Token{}, fmt.Errorf("%w: the end of role %q in RoleEnds is past", ErrInvalid, id)
		}
	}
	if t.Attributes, err = spec.Attributes.canonical(); err != nil {
		return Token{}, err
	}
	if t.ChildAttributes, err = checkChildAttributes(spec.ChildAttributes); err != nil {
		return Token{}, err
	}
	if err := c.checkGiven(&t); err != nil {
		return Token{}, err
	}
	if err := a.m.checkSettings(t.Kind, &t.Settings); err != nil {
		return Token{}, err
	}
	check := a.m.checkSaved(t.Origin)
	if err := check.changed("Permissions", nil, t.Permissions); err != nil {
		return Token{}, err
	}
	roles, err := a.rolesByID(ctx, t.Roles)
	if err != nil {
		return Token{}, err
	}
	if err := a.m.newPolicy(layersOf(&t, nil), roles).checkSize(ctx); err != nil {
		return Token{}, err
	}
	if err := c.checkTokenRights(ctx, &t, nil, false, Create); err != nil {
		return Token{}, err
	}
	if err := c.checkOwnBounds(&t, nil, Create, nil, true); err != nil {
		return Token{}, err
	}
	if err := c.checkRoleEnds(ctx, &t, nil, Create, nil, true, nil); err != nil {
		return Token{}, err
	}
	owner := c.found.Owner
	if !c.checked {
		if owner, err = a.m.store.Owner(ctx, a.owner); err != nil {
			return Token{}, err
		}
	}
	if err := owner.Policy.checkKind(t.Kind); err != nil {
		return Token{}, err
	}
	made, err := owner.clampCreation(a.m.creationTime(at))
	if err != nil {
		return Token{}, err
	}
	if err := owner.Policy.checkValidity(fromMicros(made), &t.Validity, nil); err != nil {
		return Token{}, err
	}
	var rec SecretRecord
	if kept != nil {
		rec, t.Hint, t.Created = *kept, kept.Hint, fromMicros(made)
		rec.Created = t.Created
	} else if rec, err = a.m.newSecretRecord(&t, text, made); err != nil {
		return Token{}, err
	}
	// Requires the owner's record as it was read: a mass revocation in between is a conflict, not a dead token.
	t.Version, t.OwnerVersion = 0, owner.Version
	w := Write{RequireOwner: &owner.Version, Tokens: []Token{t}, Secrets: []SecretChange{{TokenID: t.ID, Add: &rec}},
		Live: owner.live("", now), Silent: true}
	if t.Client.ID != "" {
		w.Clients = []Client{t.Client}
	}
	if spec.ID != "" {
		w.Once = []OnceKey{{Key: givenIDKey(id), Until: givenIDEnd(id)}}
	}
	t.Version = 1
	if err := c.write(ctx, w, Event{Action: event, Object: t.ID, After: auditJSON(t)}); err != nil {
		return Token{}, err
	}
	check.saved(ctx)
	return t, nil
}

const (
	// givenIDSpan is how far the time of an id that the host gives may lie from now.
	givenIDSpan = time.Hour
	// givenIDMargin is how much longer such an id is remembered than it could be given: clocks differ.
	givenIDMargin = 10 * time.Minute
)

// checkGivenID returns ErrInvalid for an id that the host cannot give at now, in µs. Listings and pages rely on the
// order of ids in time.
func checkGivenID(id string, now int64) error {
	if !uuidv7.Valid(id) {
		return fmt.Errorf("%w: Spec.ID %.40q is not a UUIDv7 in lower case, such as %q", ErrInvalid, id,
			"0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f")
	}
	made := fromMicros(uuidv7.Time(uuidv7.Parse(id)))
	if apart := fromMicros(now).Sub(made); apart > givenIDSpan || apart < -givenIDSpan {
		return fmt.Errorf("%w: Spec.ID is of %s, and the time in it must lie within an hour of now: make a new UUIDv7",
			ErrInvalid, made.Format(time.RFC3339))
	}
	return nil
}

// givenIDKey returns what is recorded of an id, so that it is not given twice. No key of Account.Once is equal.
func givenIDKey(id string) [32]byte { return sha256.Sum256([]byte("latchkey token id\x00" + id)) }

// givenIDEnd returns until when that is recorded. Afterwards the id is too old to be given.
func givenIDEnd(id string) time.Time {
	return fromMicros(uuidv7.Time(uuidv7.Parse(id))).Add(givenIDSpan + givenIDMargin)
}

// importable returns an error for a text that would not be recognised when it is presented, or that is a token already.
func (a Account) importable(ctx context.Context, spec *Spec, text string) error {
	if len(text) < 16 || !a.m.mayBeToken(text) {
		return fmt.Errorf("%w: a text of this form would not be recognised: see Options.Imported", ErrInvalid)
	}
	if kind, ok := kindOfText(text); ok && kind != spec.Kind {
		return fmt.Errorf("%w: the text is of kind %s", ErrInvalid, kind)
	}
	if err := checkText("text", text, 16, maxPresented); err != nil {
		return err
	}
	if a.m.opts.Keyring != nil || a.m.opts.Legacy != nil || len(a.m.store.Feeds()) > 1 {
		// The store's own check covers only the digest by the newest key, and only the owner's feed.
		if _, err := a.m.byText(ctx, text, tokentext.Digest(text)); err == nil || isDamaged(err) {
			return fmt.Errorf("%w: the text is a token already", ErrExists)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// errUnchanged is returned by an edit of change that leaves the token as it is.
var errUnchanged = errors.New("latchkey: unchanged")

// change reads a token, lets edit change it, and writes it. Edit may add to the transaction.
func (a Account) change(ctx context.Context, action Action, event, id, reason string,
	edit func(c *call, f *Found, w *Write) error) (Token, error) {
	var out Token
	err := retry(ctx, func() error {
		c, err := a.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.check(action, "token", id); err != nil {
			return err
		}
		f, err := a.loadEvenDamaged(ctx, id)
		if err != nil {
			return err
		}
		ends := action == Delete
		var tooWide error // what the actor lacks for more than to switch the token off
		if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, ends, action); err != nil {
			if action != Update || c.checkTokenRights(ctx, &f.Token, f.Ancestors, true, action) != nil {
				return err
			}
			ends, tooWide = true, err
		}
		if err := a.checkVersion(f.Token.Version); err != nil {
			return err
		}
		before, was := auditJSON(f.Token), f.Token
		var w Write
		if err := edit(&c, &f, &w); err != nil {
			if errors.Is(err, errUnchanged) {
				a.m.markStale(a.owner) // another process may have made it so
				out = f.Token
				return nil
			}
			return err
		}
		if tooWide != nil && !onlyDisables(&was, &f.Token) {
			return tooWide
		}
		if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, ends, action); err != nil {
			return err
		}
		if action != Delete {
			gains, err := c.gainsRights(ctx, &was, &f.Token, f.Ancestors)
			if err != nil {
				return err
			}
			if err := c.checkOwnBounds(&f.Token, f.Ancestors, action, &was.Settings, gains); err != nil {
				return err
			}
			if err := c.checkRoleEnds(ctx, &f.Token, f.Ancestors, action, &was.Settings, gains, nil); err != nil {
				return err
			}
		}
		w.Tokens = append(w.Tokens, f.Token)
		out = f.Token
		out.Version++
		err = c.write(ctx, w, Event{Action: event, Object: id, Reason: reason, Before: before, After: auditJSON(out)})
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: %w", ErrConflict, err) // a secret was re-digested under a new key: read again
		}
		return err
	})
	if err != nil {
		return Token{}, err
	}
	return out, nil
}

// onlyDisables reports whether an edit switches the token off, and changes nothing else.
func onlyDisables(was, edited *Token) bool {
	off := *was
	off.Disabled = true
	return !was.Disabled && sameRecord(off, *edited)
}

// keepToPolicy returns an error if the owner's policy does not let a token be edited so. It makes the write require the
// policy that it went by, and a place for a token that was dead and will live. Now is in µs.
func keepToPolicy(f *Found, edited *Token, w *Write, now int64) error {
	was := &f.Token
	if edited.Validity == was.Validity { // nothing else that an edit can change decides about it
		return nil
	}
	if f.Owner.Damaged { // fail closed: what its policy was is not known
		return &DamagedError{Kind: ChangedOwner, Owner: was.Owner, ID: was.Owner}
	}
	if err := f.Owner.Policy.checkValidity(was.Created, &edited.Validity, &was.Validity); err != nil {
		return err
	}
	w.RequireOwner = &f.Owner.Version
	if l := f.Owner.live(was.Parent, now); l != nil && !l.Counts(*was) && l.Counts(*edited) {
		w.Live = l
	}
	return nil
}

// checkEditedRights returns an error if an edited token names an unknown role, or if its rows would be too large
// together. Roles and rules that the edit left alone are not checked again, so that a token can always be renamed or
// switched off.
func (a Account) checkEditedRights(ctx context.Context, edited *Token, f *Found) error {
	was := &f.Token
	if slices.Equal(edited.Roles, was.Roles) && maps.EqualFunc(edited.RoleEnds, was.RoleEnds, time.Time.Equal) &&
		edited.Full == was.Full &&
		samePermissions(edited.Permissions, was.Permissions) {
		return nil
	}
	layers := layersOf(edited, f.Ancestors)
	known, err := a.rolesByID(ctx, edited.Roles)
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
	return a.m.newPolicy(layers, known).checkSize(ctx)
}

// rolesByID reads roles with all that they inherit. It returns ErrInvalid for an unknown one. A role that is deleted a
// moment later gives no rights.
func (a Account) rolesByID(ctx context.Context, ids []string) (known map[string]Role, err error) {
	for _, id := range ids {
		if _, ok := known[id]; ok {
			continue
		}
		known, err = a.m.roleClosure(ctx, a.owner, known, id)
		if errors.Is(err, ErrNotFound) {
			return nil, unknownRoleID(id, err)
		} else if err != nil {
			return nil, err
		}
	}
	if id := missingRole(nil, known); id != "" {
		return nil, lacksRole(id)
	}
	return known, nil
}

// resolveSettings replaces names of roles by ids. What is in known is an id already.
func (c *call) resolveSettings(ctx context.Context, s *Settings, known []string) error {
	ids, err := c.m.resolveRoles(ctx, c.owner, s.Roles, known, c.mayShow)
	if err != nil {
		return err
	}
	s.RoleEnds = endsByID(s.RoleEnds, s.Roles, ids)
	s.Roles = ids
	return nil
}

// resolveQuery returns the id of the role that a query names. "": none. A query for the records of a surface takes ids
// only.
func (c *call) resolveQuery(ctx context.Context, text string, origin *string) (string, error) {
	if text == "" || origin != nil && *origin != "" {
		return text, nil
	}
	return c.m.resolveRole(ctx, c.owner, text, c.mayShow)
}

// mayShow reports whether the actor may read a role.
func (c *call) mayShow(r Role) bool { return c.check(Read, "role", r.ID) == nil }

// dropRoleEnds removes the ends that an edit left of roles that it took away. Was are the ends before the edit.
func dropRoleEnds(s *Settings, was roleEnds) {
	s.RoleEnds = maps.Clone(s.RoleEnds) // the edit may have kept a reference
	for id, end := range s.RoleEnds {
		if old, had := was[id]; had && old.Equal(end) && !slices.Contains(s.Roles, id) {
			delete(s.RoleEnds, id)
		}
	}
}

// sameRecord reports whether a and b have the same JSON. A token without a JSON form equals none.
func sameRecord(a, b Token) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// loadEvenDamaged is Store.Load for administration. A record that cannot be read has Damaged set and is no error. That
// holds for the token and for the records that it depends on. The caller must decide nothing by it except to end the
// token.
func (a Account) loadEvenDamaged(ctx context.Context, id string) (Found, error) {
	f, err := a.m.store.Load(ctx, a.owner, id)
	if isDamaged(err) && f.Token.ID == id && f.Token.Owner == a.owner && f.Token.Version != 0 {
		return f, nil
	}
	return f, notStored(id, err)
}

// switchDamaged applies an edit of a damaged token. It may only set Disabled: the token can do nothing either way.
func switchDamaged(t, edited *Token) error {
	frame := *edited
	frame.Disabled, frame.Damaged = t.Disabled, true
	if !sameRecord(frame, *t) {
		return fmt.Errorf("%w: its Settings are lost: only Disabled can be changed", damagedToken(t))
	}
	t.Disabled = edited.Disabled
	return nil
}

// tombstone returns the record of a damaged token for its revocation: what is known of it, without any right.
func tombstone(t Token) Token {
	t.Damaged = false
	t.Roles, t.Permissions, t.Full = nil, nil, false
	if t.Parent != "" && t.Depth == 0 {
		t.Depth = 1 // Depth is not kept beside the record
	}
	return t
}

// checkSettings returns an error for settings that a token of this kind cannot have. It truncates times to the
// precision that stores keep.
func (m *Manager) checkSettings(kind Kind, s *Settings) error {
	if err := checkNameAndRoles(kind, s); err != nil {
		return err
	}
	if err := s.Permissions.Validate(); err != nil {
		return err
	}
	if err := s.Restrictions.Validate(m.opts.PublicSuffix); err != nil {
		return err
	}
	return checkBounds(kind, s)
}
