package latchkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// KeyUse is how many secrets still depend on one key of the [Keyring].
type KeyUse struct {
	KeyID uint32 `json:"key_id"` // 0: no key, but a plain digest
	// Secrets is how many were made with the key: retired ones, those of revoked tokens and signing secrets too.
	Secrets int `json:"secrets"`
	// Sealed is how many of them can be recovered, and so moved by [Manager.Rekey]. The others move when they are used.
	Sealed int `json:"sealed"`
}

// KeyUse counts the secrets that were made under another key than the current one of Options.Keyring, by key. A retired
// key that it does not name may be dropped. Without a Keyring it counts all secrets that were made with a key. It reads
// all secrets of the store, in steps of some thousand.
func (m *Manager) KeyUse(ctx context.Context) ([]KeyUse, error) {
	uses := map[uint32]*KeyUse{}
	err := m.eachOldSecret(ctx, func(page []KeySecret) error {
		for i := range page {
			countKey(uses, &page[i].Secret)
		}
		return nil
	})
	return sortedUses(uses), err
}

func countKey(uses map[uint32]*KeyUse, s *SecretRecord) {
	u := uses[s.KeyID]
	if u == nil {
		u = &KeyUse{KeyID: s.KeyID}
		uses[s.KeyID] = u
	}
	u.Secrets++
	if len(s.Sealed) > 0 {
		u.Sealed++
	}
}

func sortedUses(uses map[uint32]*KeyUse) (out []KeyUse) {
	for _, id := range slices.Sorted(maps.Keys(uses)) {
		out = append(out, *uses[id])
	}
	return out
}

// CheckKeyring returns an error that wraps [ErrNeedsKeyring] and names ids, if the store has secrets that were made
// under a key that Options.Keyring lacks, or under another key of the same id. It is for programs that share a store:
// what such a program issued, the others would not find. It reads all secrets of the store, in steps of some thousand.
//
// A key none of whose secrets is sealed, as this library seals them, is known by its id only.
func (m *Manager) CheckKeyring(ctx context.Context) error {
	ids := m.opts.Keyring.IDs()
	lacks := map[uint32]bool{}
	right := map[uint32]bool{} // by id: whether the key has opened a secret
	err := m.eachSecretBut(ctx, 0, func(page []KeySecret) error {
		for i := range page {
			s := &page[i]
			id := s.Secret.KeyID
			if !slices.Contains(ids, id) {
				lacks[id] = true
			} else if len(s.Secret.Sealed) > 0 && !right[id] {
				_, right[id] = m.openKeySecret(s)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var wrong []uint32
	for _, id := range slices.Sorted(maps.Keys(right)) {
		if !right[id] {
			wrong = append(wrong, id)
		}
	}
	switch {
	case len(lacks) > 0:
		return fmt.Errorf("%w: the store has secrets under %s, which the keyring lacks", ErrNeedsKeyring,
			keyWords(slices.Sorted(maps.Keys(lacks))))
	case len(wrong) > 0:
		what := "does not open what the store has under that id: it is another key"
		if len(wrong) > 1 {
			what = "do not open what the store has under those ids: they are other keys"
		}
		return fmt.Errorf("%w: %s of the keyring %s", ErrNeedsKeyring, keyWords(wrong), what)
	}
	return nil
}

// keyWords returns "key 1", or "keys 1, 2 and 3".
func keyWords(ids []uint32) string {
	last := strconv.FormatUint(uint64(ids[len(ids)-1]), 10)
	if len(ids) == 1 {
		return "key " + last
	}
	words := make([]string, len(ids)-1)
	for i := range words {
		words[i] = strconv.FormatUint(uint64(ids[i]), 10)
	}
	return "keys " + strings.Join(words, ", ") + " and " + last
}

// openKeySecret opens a sealed secret. It returns false if the keyring lacks its key, if the record was altered, and if
// it is not sealed.
func (m *Manager) openKeySecret(s *KeySecret) (text []byte, ok bool) {
	text, err := m.opts.Keyring.open(s.Secret.Sealed, s.Secret.KeyID, sealOf(s))
	return text, err == nil
}

// sealOf returns what the text of a secret is sealed with.
func sealOf(s *KeySecret) sealData {
	if s.Secret.Signing {
		return sealData{"signing", s.Owner, s.TokenID}
	}
	return sealData{"secret", s.Owner, s.TokenID}
}

// Rekey moves secrets to the current key of Options.Keyring: it opens each with the key that sealed it, and digests and
// seals it anew. It returns how many it moved, and what still depends on other keys. Of those, the ones that are sealed
// belong to a key that the Keyring lacks, or were sealed elsewhere. The others have a digest alone, and move when they
// are used: those that are never used can be revoked.
//
// Tokens work all the time, before, while and after their secrets move. Several processes may call Rekey at once. It
// works in steps, so that it can be ended by ctx and called again. All processes must have the new key before: what it
// digested is not found by a process that lacks it. It returns [ErrNeedsKeyring] without a Keyring.
func (m *Manager) Rekey(ctx context.Context) (moved int, left []KeyUse, err error) {
	if len(m.opts.Keyring.ring()) == 0 {
		return 0, nil, ErrNeedsKeyring
	}
	uses := map[uint32]*KeyUse{}
	err = m.eachOldSecret(ctx, func(page []KeySecret) error {
		for len(page) > 0 {
			n := 1
			for n < len(page) && n < 100 && page[n].Owner == page[0].Owner {
				n++
			}
			done, err := m.rekey(ctx, page[:n])
			if err != nil {
				return err
			}
			for i, ok := range done {
				if ok {
					moved++
				} else {
					countKey(uses, &page[i].Secret)
				}
			}
			page = page[n:]
		}
		return nil
	})
	return moved, sortedUses(uses), err
}

// rekey moves secrets of one owner, and reports which.
func (m *Manager) rekey(ctx context.Context, secrets []KeySecret) (done []bool, err error) {
	done = make([]bool, len(secrets))
	var at []int
	var changes []SecretChange
	for i := range secrets {
		change, ok, err := m.rekeyed(&secrets[i])
		if err != nil {
			return nil, err
		}
		if ok {
			at, changes = append(at, i), append(changes, change)
		}
	}
	if len(changes) == 0 {
		return done, nil
	}
	owner := secrets[0].Owner
	if err := m.write(ctx, Write{Owner: owner, Silent: true, Secrets: changes}); err == nil {
		for _, i := range at {
			done[i] = true
		}
		return done, nil
	} else if !changedMeanwhile(err) {
		return nil, err
	}
	for j, change := range changes { // one by one: the others did not change
		err := m.write(ctx, Write{Owner: owner, Silent: true, Secrets: []SecretChange{change}})
		if changedMeanwhile(err) { // it was moved by another process, or is gone: if not, its key must not be dropped
			done[at[j]], err = m.isGone(ctx, &secrets[at[j]])
		} else {
			done[at[j]] = true
		}
		if err != nil {
			return nil, err
		}
	}
	return done, nil
}

// isGone reports whether a secret is no longer stored as it was read.
func (m *Manager) isGone(ctx context.Context, s *KeySecret) (bool, error) {
	stored, err := m.store.Secrets(ctx, s.Owner, s.TokenID)
	if err != nil && !errors.Is(err, ErrNotFound) && !isDamaged(err) {
		return false, err
	}
	return !slices.ContainsFunc(stored, func(r SecretRecord) bool { return r.Digest == s.Secret.Digest }), nil
}

// changedMeanwhile reports whether a secret could not be replaced because it is no longer as it was read.
func changedMeanwhile(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrExists)
}

// rekeyed returns the change that moves a secret to the current key, and false for one that cannot be opened.
func (m *Manager) rekeyed(s *KeySecret) (c SecretChange, ok bool, err error) {
	k, rec := m.opts.Keyring, s.Secret
	text, ok := m.openKeySecret(s)
	if !ok {
		return c, false, nil
	}
	rec.Digest, rec.KeyID = k.digest(string(text))
	if rec.Sealed, _, err = k.seal(m.opts.Rand, text, sealOf(s)); err != nil {
		return c, false, fmt.Errorf("latchkey: cannot seal a secret: %w", err)
	}
	return SecretChange{TokenID: s.TokenID, Add: &rec, Retire: s.Secret.Digest, Replace: true}, true, nil
}

// eachOldSecret calls f with the secrets of all owners that were not made with the current key, page by page.
func (m *Manager) eachOldSecret(ctx context.Context, f func([]KeySecret) error) error {
	var current uint32
	if ring := m.opts.Keyring.ring(); len(ring) > 0 {
		current = ring[0].id
	}
	return m.eachSecretBut(ctx, current, f)
}

// eachSecretBut calls f with the secrets of all owners that were not made with a key, page by page.
func (m *Manager) eachSecretBut(ctx context.Context, keyID uint32, f func([]KeySecret) error) error {
	var errs []error
	feeds := m.store.Feeds()
	for _, feed := range feeds { // one that cannot be read does not keep the others waiting
		for q := (KeyQuery{Feed: feed, KeyID: keyID, Page: Page{Limit: 1000}}); ; {
			page, next, err := m.store.KeySecrets(ctx, q)
			if err == nil {
				err = f(page)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("latchkey: not all secrets were read%s: %w", ofFeed(feed, len(feeds)), err))
				break
			}
			if q.After = next; next == "" {
				break
			}
		}
	}
	return errors.Join(errs...)
}
