package latchkey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Rotation says how [Account.RotateWith] gives a token a new secret. The zero Rotation ends the old secrets at once.
type Rotation struct {
	// Overlap is how much longer the old secrets work. 0: they end before RotateWith returns, and no clock is read. It is
	// [ErrInvalid] if it is negative or below a microsecond.
	Overlap time.Duration
	// IfNewest is the [LiveSecret.ID] of the secret that the caller takes for the newest. If another one is, RotateWith
	// returns [ErrConflict] and changes nothing. So of two rotations for the same reason only one takes effect. "": any.
	IfNewest string
	Reason   string // for the audit trail; at most 256 bytes
}

// Rotate gives a token a new secret. The old secrets, signing secrets included, work for overlap longer. An overlap of
// 0 ends them before Rotate returns, and reads no clock. The record stays, so what was minted from it stays valid.
// [Account.SigningSecret] makes the next signing secret.
//
// It returns [ErrInvalid] for a revoked token, and for an overlap that is negative or below a microsecond. It returns
// [ErrNotFound] if there is no such token. A damaged token stays damaged: its new secret is refused like its old ones.
func (a Account) Rotate(ctx context.Context, id string, overlap time.Duration) (Secret, error) {
	return a.RotateWith(ctx, id, Rotation{Overlap: overlap})
}

// RotateWith is [Account.Rotate] with all that a [Rotation] says.
func (a Account) RotateWith(ctx context.Context, id string, r Rotation) (Secret, error) {
	overlap := r.Overlap
	if overlap != 0 && overlap < time.Microsecond {
		return Secret{}, fmt.Errorf("%w: overlap is negative, or shorter than a microsecond", ErrInvalid)
	}
	if err := checkText("reason", r.Reason, 0, maxReason); err != nil {
		return Secret{}, err
	}
	var text string
	_, err := a.change(ctx, Rotate, "token.rotate", id, r.Reason, func(c *call, f *Found, w *Write) error {
		t := &f.Token
		if !t.Revoked.IsZero() {
			return errRevokedToken
		}
		secrets, err := a.m.store.Secrets(ctx, a.owner, id)
		if err != nil && !isDamaged(err) { // a secret that cannot be read has its digest, which is enough to end it
			return notStored(id, err)
		}
		if r.IfNewest != "" && r.IfNewest != newestSecret(secrets) {
			return &editError{fmt.Errorf("%w: the token has another newest secret than the one seen", ErrConflict)}
		}
		now, end := a.m.creationNow(), time.Time{} // at once, whatever a clock says
		if overlap > 0 {
			at, err := a.m.confirmTimeNow(ctx, a.owner)
			if err != nil {
				return err
			}
			now = a.m.creationTime(at)
			end = fromMicros(now + overlap.Microseconds())
		}
		if text, err = a.m.newText(t.Kind, t.Test, a.owner); err != nil {
			return err
		}
		rec, err := a.m.newSecretRecord(t, text, createdAfter(secrets, now))
		if err != nil {
			return err
		}
		w.Secrets = append(w.Secrets, SecretChange{TokenID: id, Add: &rec})
		for _, old := range secrets {
			w.Secrets = append(w.Secrets, SecretChange{TokenID: id, Retire: old.Digest, At: end}) // never later than before
		}
		return nil
	})
	if err != nil {
		return Secret{}, err
	}
	return newSecret(text), nil
}

var errRevokedToken = fmt.Errorf("%w: the token is revoked", ErrInvalid)

// LiveSecret is a secret of a token as people may see it.
type LiveSecret struct {
	// ID names the secret among those of its token, for [Account.EndSecret] and [Rotation]. It says when the secret was
	// made, and nothing of its text or digest: a digest would let anybody who sees it try out short texts from elsewhere.
	// It stays the same under another key. "": the record cannot be read; [Account.Rotate] and Revoke end it.
	ID       string    `json:"id,omitempty"`
	Hint     string    `json:"hint"`
	Signing  bool      `json:"signing,omitempty"`  // it signs requests: see [Account.SigningSecret]
	Newest   bool      `json:"newest,omitempty"`   // the one that was made last, of those that do not sign
	Created  time.Time `json:"created"`            // by this library, or when it was imported
	NotAfter time.Time `json:"not_after,omitzero"` // zero: as long as the token
	Used     time.Time `json:"used,omitzero"`      // zero: never, or not known
	// UsedFrom is the address of the last use, as far as Options.LastUseAddress keeps it. The zero Addr: not known.
	UsedFrom netip.Addr `json:"used_from,omitzero"`
}

// Secrets lists the secrets of a token that have not ended, oldest first, with their last uses. During the overlap of a
// rotation it tells whether the old secret is still used, and from where.
//
// Used of a secret is written like [Token.Used]: the first use within a second, later ones when they are about ten
// minutes apart, or a twentieth of Validity.Idle. For a secret with an end it is a minute, and the first use after the
// rotation is written at once. What this process knows is written before. Uses before an upgrade to this version, and
// those by programs of earlier versions, are not known. A signing secret has no uses of its own: a signed request is a
// use of the secret that the signature names.
//
// An actor needs read on the token. Secrets returns [ErrNotFound] if there is no such token. If a secret cannot be
// read, it returns what is left, with a [*DamagedError].
func (a Account) Secrets(ctx context.Context, id string) ([]LiveSecret, error) {
	c, err := a.beginReading(ctx)
	if err != nil {
		return nil, err
	}
	if c.check(Read, "token", id) != nil {
		return nil, ErrNotFound
	}
	if err := a.m.uses.FlushOwner(ctx, a.owner); err != nil {
		a.m.warn(ctx, partLastUse, "latchkey: cannot write last uses", err)
	}
	secrets, err := a.m.store.Secrets(ctx, a.owner, id)
	if err != nil && !isDamaged(err) {
		return nil, notStored(id, err)
	}
	var out []LiveSecret
	now, newest := a.m.expiryNow(), newestSecret(secrets)
	for i := range secrets {
		s := &secrets[i]
		if over(s.NotAfter, now) {
			continue
		}
		out = append(out, LiveSecret{ID: secretID(s), Hint: s.Hint, Signing: s.Signing,
			Newest: newest != "" && secretID(s) == newest, Created: s.Created, NotAfter: s.NotAfter,
			Used: s.Used, UsedFrom: s.UsedFrom})
	}
	return out, err
}

// EndSecret ends one secret of a token before it returns: an old one that nobody uses any more, or one that leaked
// during the overlap of a rotation, or a signing secret. The token keeps its newest secret. For that one EndSecret
// returns [ErrInvalid]: Rotate puts another in its place, and Revoke ends the token.
//
// It returns [ErrNotFound] if there is no such token, or no such secret of it that has not ended. An actor needs rotate
// on the token, as for [Account.Rotate]. A reason has at most 256 bytes.
func (a Account) EndSecret(ctx context.Context, id, secretID, reason string) error {
	if err := checkText("reason", reason, 0, maxReason); err != nil {
		return err
	}
	_, err := a.change(ctx, Rotate, "token.end-secret", id, reason, func(c *call, f *Found, w *Write) error {
		if !f.Token.Revoked.IsZero() {
			return errRevokedToken
		}
		secrets, err := a.m.store.Secrets(ctx, a.owner, id)
		if err != nil && !isDamaged(err) {
			return notStored(id, err)
		}
		w.Secrets, err = endSecret(secrets, id, secretID, a.m.expiryNow())
		return err
	})
	return err
}

// endSecret returns what ends one of a token's secrets.
func endSecret(secrets []SecretRecord, token, id string, now int64) (changes []SecretChange, err error) {
	newest := newestSecret(secrets)
	for i := range secrets {
		s := &secrets[i]
		switch {
		case id == "" || secretID(s) != id || over(s.NotAfter, now):
		case id == newest:
			return nil, fmt.Errorf("%w: the newest secret is the token's last: rotate it, or revoke the token", ErrInvalid)
		default:
			changes = append(changes, SecretChange{TokenID: token, Retire: s.Digest})
		}
	}
	if len(changes) == 0 {
		return nil, fmt.Errorf("%w: the token has no such secret", ErrNotFound)
	}
	return changes, nil
}

// secretID returns the LiveSecret.ID of a secret: when it was made, which createdAfter tells apart. Two secrets that an
// earlier version made within the same microsecond share one, and end together.
func secretID(s *SecretRecord) string {
	if s.Created.IsZero() {
		return ""
	}
	if s.Signing {
		return "s" + strconv.FormatInt(micros(s.Created), 36)
	}
	return strconv.FormatInt(micros(s.Created), 36)
}

// newestSecret returns the id of the newest secret that does not sign, or "".
func newestSecret(secrets []SecretRecord) string {
	for i := range slices.Backward(secrets) {
		if s := &secrets[i]; !s.Signing && !s.Created.IsZero() {
			return secretID(s)
		}
	}
	return ""
}

// createdAfter returns now, or a time just after the newest of the secrets was made: no two have the same.
func createdAfter(secrets []SecretRecord, now int64) int64 {
	for i := range secrets {
		now = max(now, micros(secrets[i].Created)+1)
	}
	return now
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
	if err := a.errSteps(); err != nil {
		return nil, err
	}
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
			return notStored(id, err)
		}
		if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, false, Reveal); err != nil {
			return err
		}
		if err := c.checkOwnBounds(&f.Token, f.Ancestors, Reveal, &f.Token.Settings, false); err != nil {
			return err
		}
		if err := c.checkRoleEnds(ctx, &f.Token, f.Ancestors, Reveal, &f.Token.Settings, false, nil); err != nil {
			return err
		}
		if !f.Token.Revoked.IsZero() {
			return fmt.Errorf("%w: the token is revoked", ErrInvalid)
		}
		secrets, err := a.m.store.Secrets(ctx, a.owner, id)
		if err != nil {
			return notStored(id, err)
		}
		now := a.m.expiryNow()
		w := Write{Silent: true, RequireTokens: []Ref{{ID: id, Version: f.Token.Version}}}
		text, err = find(&f.Token, secrets, now)
		if errors.Is(err, errNoSigning) {
			var rec SecretRecord
			text, rec, err = a.m.newSigning(&f.Token, createdAfter(secrets, now))
			// The version moves, so that the second of two concurrent callers finds the secret of the first.
			w = Write{Tokens: []Token{f.Token}, Secrets: []SecretChange{{TokenID: id, Add: &rec}}}
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
		return "", 0, notStored(id, err)
	}
	if f.Token.Kind == KindPublishable || !f.Token.Revoked.IsZero() {
		return "", 0, ErrNotFound
	}
	if err := c.checkTokenRights(ctx, &f.Token, f.Ancestors, false, Reveal); err != nil {
		return "", 0, err
	}
	if err := c.checkOwnBounds(&f.Token, f.Ancestors, Reveal, &f.Token.Settings, false); err != nil {
		return "", 0, err
	}
	if err := c.checkRoleEnds(ctx, &f.Token, f.Ancestors, Reveal, &f.Token.Settings, false, nil); err != nil {
		return "", 0, err
	}
	secrets, err := c.m.store.Secrets(ctx, c.owner, id)
	if err != nil {
		return "", 0, notStored(id, err)
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
