package latchkey

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/latchkey-go/latchkey/internal/slowhash"
)

// lookupRate is how often a secret part may be compared with one slow hash.
var lookupRate = Rate{Count: 10, Per: time.Minute, Burst: 9}

// byLookup finds the token of a text by its lookup part, and compares the secret part. It returns ErrNotFound if there
// is none, or the secret part is another. With a *RateLimitError it returns what it found.
func (m *Manager) byLookup(ctx context.Context, text string, sum [32]byte) (Found, error) {
	lookup, secret, ok := m.opts.Legacy.split(text)
	if !ok {
		return Found{}, ErrNotFound
	}
	f, err := m.store.ByLookup(ctx, lookup)
	if err != nil {
		return Found{}, err
	}
	h, err := slowhash.Parse(string(f.Secret.Hash))
	if err != nil || h.Algorithm != f.Secret.Algorithm {
		return Found{}, damagedToken(&f.Token) // or a later version wrote it: fail closed
	}
	ok, err = m.slow.Matches(ctx, lookup+"\x00"+string(f.Secret.Hash), sum, func() error {
		if ok, info := m.lookupRates.Allow(lookup); !ok {
			return &RateLimitError{Info: info}
		}
		return nil
	}, func() bool { return h.Matches(secret) })
	switch {
	case errors.Is(err, slowhash.ErrBusy):
		return f, &RateLimitError{Info: RateInfo{RetryAfter: time.Second}}
	case err != nil:
		return f, err
	case !ok:
		return Found{}, ErrNotFound
	}
	// The wait and the hash took time, in which the token may have been revoked: what is answered is as of now.
	hash := f.Secret.Hash
	if f, err = m.store.ByLookup(ctx, lookup); err != nil {
		return Found{}, err
	}
	if !bytes.Equal(f.Secret.Hash, hash) {
		return Found{}, ErrNotFound // the lookup part is another secret's by now
	}
	return f, nil
}
