package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

const owner = "acme"

// vouching is a Store in which every text is a token: a copy of a pattern that is stored, with an id that is made of
// the digest. So it takes no memory by token, and what a process takes for millions is its cache. Everything else
// is done by a memstore.
type vouching struct {
	*memstore.Store
	pattern string
	// vary, if not nil, makes a token of its own of the copy. The number is as random as the digest.
	vary func(f *latchkey.Found, number uint64)
	// found is the pattern as it was read at an epoch. It is read again when the epoch is another.
	found atomic.Pointer[latchkey.Found]
}

// ByDigest finds a token for the first digest.
func (v *vouching) ByDigest(ctx context.Context, _ latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	at, err := v.Changes(ctx, 0, 0, 0)
	if err != nil {
		return latchkey.Found{}, err
	}
	kept := v.found.Load()
	if kept == nil || kept.Epoch != at.Epoch {
		read, err := v.Load(ctx, owner, v.pattern)
		if err != nil {
			return latchkey.Found{}, err
		}
		kept = &read
		v.found.Store(kept)
	}
	f, d := *kept, digests[0]
	f.Token.ID = idOf(d)
	f.Secret = latchkey.SecretRecord{Digest: d, Hint: "ak_00…000", Created: f.Token.Created, Used: time.Now().UTC()}
	if v.vary != nil {
		v.vary(&f, binary.BigEndian.Uint64(d[8:]))
	}
	return f, nil
}

// idOf makes a UUIDv7 of a digest.
func idOf(d [32]byte) string {
	b := [16]byte{0x01, 0x9a, 0xd0}
	copy(b[3:], d[16:])
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	text := make([]byte, 0, 36)
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}

// vouch returns a Manager whose tokens are copies of what pattern issues.
func vouch(ctx context.Context, opts latchkey.Options, pattern func(acme latchkey.Account) (latchkey.Token, error),
	vary func(*latchkey.Found, uint64)) (*latchkey.Manager, *vouching, error) {
	v := &vouching{Store: memstore.New(nil), vary: vary}
	t, err := pattern(latchkey.New(v.Store, nil).For(owner))
	if err != nil {
		return nil, nil, err
	}
	v.pattern = t.ID
	return latchkey.New(v, &opts), v, nil
}

// plainKey issues a key with a role that allows reading everything of one kind.
func plainKey(ctx context.Context) func(latchkey.Account) (latchkey.Token, error) {
	return func(acme latchkey.Account) (latchkey.Token, error) {
		return issue(ctx, acme, latchkey.Spec{}, latchkey.Allow(latchkey.Read).On("dataset/*"))
	}
}

// issue issues a key with a role that has some rules.
func issue(ctx context.Context, acme latchkey.Account, spec latchkey.Spec,
	rules ...latchkey.Rule) (latchkey.Token, error) {
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Permissions: rules})
	if err != nil {
		return latchkey.Token{}, err
	}
	spec.Kind, spec.Roles = latchkey.KindAPIKey, []string{role.ID}
	t, _, err := acme.Issue(ctx, spec)
	return t, err
}

// load verifies each text once, in a random order, so that all are cached.
func load(ctx context.Context, keys *latchkey.Manager, t texts) error {
	for _, i := range shuffled(t.len()) {
		if _, err := keys.Verify(ctx, latchkey.Presented{Secret: t.at(i)}); err != nil {
			return err
		}
	}
	return nil
}
