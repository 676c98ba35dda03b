package latchkey_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

func ringOf(t *testing.T, ids ...uint32) *latchkey.Keyring {
	t.Helper()
	var keys []latchkey.Key
	for _, id := range ids {
		keys = append(keys, latchkey.Key{ID: id, Secret: bytes.Repeat([]byte{'k', byte(id)}, 16)})
	}
	ring, err := latchkey.NewKeyring(keys[0], keys[1:]...)
	require.NoError(t, err)
	return ring
}

// keeper returns a Manager over the store of w with other keys.
func (w *world) keeper(ring *latchkey.Keyring) *latchkey.Manager {
	o := w.options()
	o.Keyring = ring
	return latchkey.New(w.store, &o)
}

func TestRekey(t *testing.T) {
	w := newWorld(t) // without a keyring
	_, plain := w.key(readAll())
	old := w.keeper(ringOf(t, 1))
	acme, globex := old.For("acme"), old.For("globex")
	texts := map[string]string{} // token id to text
	var signed latchkey.Token
	for i := range 250 {
		account := acme
		if i%2 == 0 {
			account = globex
		}
		token, secret, err := account.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		w.ok(err)
		texts[token.ID] = secret.Reveal()
		if i == 1 {
			signed = token
			_, err := acme.SigningSecret(w.ctx, token.ID)
			w.ok(err)
		}
	}
	signing, err := acme.SigningSecret(w.ctx, signed.ID)
	w.ok(err)

	both := w.keeper(ringOf(t, 2, 1))
	uses, err := both.KeyUse(w.ctx)
	w.ok(err)
	require.Equal(t, []latchkey.KeyUse{{KeyID: 0, Secrets: 1}, {KeyID: 1, Secrets: 251, Sealed: 251}}, uses)
	epoch, err := w.store.Changes(w.ctx, 0, 0, 0)
	w.ok(err)

	// Another process does it between the reads and the first write.
	other := w.keeper(ringOf(t, 2, 1))
	did := w.store.before(func() {
		moved, _, err := other.Rekey(w.ctx)
		w.ok(err)
		require.Equal(t, 251, moved)
	})
	_, left, err := both.Rekey(w.ctx)
	w.ok(err)
	require.True(t, did())
	require.Equal(t, []latchkey.KeyUse{{KeyID: 0, Secrets: 1}}, left)

	// Two processes do it at once.
	var all sync.WaitGroup
	for _, m := range []*latchkey.Manager{both, w.keeper(ringOf(t, 2, 1))} {
		all.Go(func() {
			_, left, err := m.Rekey(w.ctx)
			assert.NoError(t, err)
			assert.Equal(t, []latchkey.KeyUse{{KeyID: 0, Secrets: 1}}, left)
		})
	}
	all.Wait()
	uses, err = both.KeyUse(w.ctx)
	w.ok(err)
	require.Equal(t, []latchkey.KeyUse{{KeyID: 0, Secrets: 1}}, uses, "what has a digest alone")
	after, err := w.store.Changes(w.ctx, 0, 0, 0)
	w.ok(err)
	require.Equal(t, epoch.Epoch, after.Epoch, "no cache is told")

	// The old key may go: everything is found, revealed and signed with the new one alone.
	latest := w.keeper(ringOf(t, 2))
	for id, text := range texts {
		access, err := latest.Verify(w.ctx, latchkey.Presented{Secret: text})
		w.ok(err)
		require.Equal(t, id, access.TokenID())
	}
	again, err := latest.For("acme").SigningSecret(w.ctx, signed.ID)
	w.ok(err)
	require.Equal(t, signing.Reveal(), again.Reveal())
	shown, err := latest.For("acme").Reveal(w.ctx, signed.ID)
	w.ok(err)
	require.Equal(t, texts[signed.ID], shown.Reveal())
	_, err = old.Verify(w.ctx, latchkey.Presented{Secret: texts[signed.ID]})
	w.is(latchkey.ErrUnknownToken, err) // that process read nothing before, and lacks the key
	uses, err = latest.KeyUse(w.ctx)
	w.ok(err)
	require.Equal(t, []latchkey.KeyUse{{KeyID: 0, Secrets: 1}}, uses, "what is under the only key is not old")

	// A plain digest moves when it is used.
	_, err = both.Verify(w.ctx, latchkey.Presented{Secret: plain})
	w.ok(err)
	uses, err = both.KeyUse(w.ctx)
	w.ok(err)
	require.Empty(t, uses)
}

func TestRekeyWithoutTheOldKey(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.keys.Rekey(w.ctx)
	w.is(latchkey.ErrNeedsKeyring, err)
	_, secret, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	s := &secretWrites{Store: w.store}
	o := w.options()
	o.Keyring = ringOf(t, 2)
	moved, left, err := latchkey.New(s, &o).Rekey(w.ctx)
	w.ok(err)
	require.Zero(t, moved)
	require.Equal(t, []latchkey.KeyUse{{KeyID: 1, Secrets: 1, Sealed: 1}}, left)
	require.Empty(t, s.sizes, "nothing is written")
	_, err = w.keeper(ringOf(t, 1)).Verify(w.ctx, latchkey.Presented{Secret: secret.Reveal()})
	w.ok(err)
	w.store.fail.Store(&latchkey.ErrUnavailable)
	_, _, err = w.keeper(ringOf(t, 2, 1)).Rekey(w.ctx)
	w.is(latchkey.ErrUnavailable, err)
}

// refusingStore refuses every change of a secret, as a store does where two of them meet.
type refusingStore struct{ latchkey.Store }

func (s refusingStore) Write(ctx context.Context, w latchkey.Write) error {
	if len(w.Secrets) > 0 {
		return fmt.Errorf("%w: try again", latchkey.ErrConflict)
	}
	return s.Store.Write(ctx, w)
}

// What could not be moved still depends on its key, and Rekey says so: the key would be dropped otherwise.
func TestRekeyCountsWhatIsRefused(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	o := w.options()
	o.Keyring = ringOf(t, 2, 1)
	moved, left, err := latchkey.New(refusingStore{w.store}, &o).Rekey(w.ctx)
	w.ok(err)
	require.Zero(t, moved)
	require.Equal(t, []latchkey.KeyUse{{KeyID: 1, Secrets: 1, Sealed: 1}}, left)
	moved, left, err = latchkey.New(w.store, &o).Rekey(w.ctx)
	w.ok(err)
	require.Equal(t, 1, moved)
	require.Empty(t, left)
}

// A zero Keyring has no keys, as a nil one.
func TestKeyUseOfAZeroKeyring(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	zero := w.keeper(&latchkey.Keyring{})
	uses, err := zero.KeyUse(w.ctx)
	w.ok(err)
	require.Equal(t, []latchkey.KeyUse{{KeyID: 1, Secrets: 1, Sealed: 1}}, uses)
	_, _, err = zero.Rekey(w.ctx)
	w.is(latchkey.ErrNeedsKeyring, err)
}

// A program that shares a store must have its keys: what it issued, the others would not find.
func TestCheckKeyring(t *testing.T) {
	w := newWorld(t)
	w.key() // under no key
	w.ok(w.keys.CheckKeyring(w.ctx))
	w.ok(w.keeper(ringOf(t, 7)).CheckKeyring(w.ctx))

	_, _, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	_, _, err = w.keeper(ringOf(t, 3, 1)).For("globex").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	another, err := latchkey.NewKeyring(latchkey.Key{ID: 3, Secret: bytes.Repeat([]byte("?"), 32)},
		latchkey.Key{ID: 1, Secret: bytes.Repeat([]byte{'k', 1}, 16)})
	w.ok(err)
	others, err := latchkey.NewKeyring(latchkey.Key{ID: 3, Secret: bytes.Repeat([]byte("?"), 32)},
		latchkey.Key{ID: 1, Secret: bytes.Repeat([]byte("!"), 32)})
	w.ok(err)
	for _, c := range []struct {
		ring *latchkey.Keyring
		says string
	}{
		{ringOf(t, 3, 1), ""},
		{ringOf(t, 1, 3), ""},
		{ringOf(t, 9, 1, 3), ""},
		{ringOf(t, 3), "the store has secrets under key 1, which the keyring lacks"},
		{ringOf(t, 9), "the store has secrets under keys 1 and 3, which the keyring lacks"},
		{nil, "the store has secrets under keys 1 and 3, which the keyring lacks"},
		{others, "keys 1 and 3 of the keyring do not open what the store has under those ids: they are other keys"},
		{another, "key 3 of the keyring does not open what the store has under that id: it is another key"},
	} {
		err := w.keeper(c.ring).CheckKeyring(w.ctx)
		if c.says == "" {
			w.ok(err)
			continue
		}
		w.is(latchkey.ErrNeedsKeyring, err)
		require.ErrorContains(t, err, c.says)
	}
	o := w.options()
	o.Keyring = ringOf(t, 3, 1)
	w.is(latchkey.ErrUnavailable, latchkey.New(alteringStore{w.store, 0, latchkey.ErrUnavailable}, &o).CheckKeyring(w.ctx))
}

// alteringStore alters one sealed secret as it is read, or fails.
type alteringStore struct {
	latchkey.Store
	at  int
	err error
}

func (s alteringStore) KeySecrets(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
	page, next, err := s.Store.KeySecrets(ctx, q)
	if s.err != nil {
		return nil, "", s.err
	}
	if s.at < len(page) {
		page[s.at].Secret.Sealed = append([]byte{1}, page[s.at].Secret.Sealed...)
	}
	return page, next, err
}

// One altered record does not make a keyring wrong.
func TestCheckKeyringBesideAnAlteredRecord(t *testing.T) {
	w := newWorld(t)
	keys := w.keeper(ringOf(t, 1))
	for range 3 {
		_, _, err := keys.For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		w.ok(err)
	}
	for at := range 3 {
		o := w.options()
		o.Keyring = ringOf(t, 1)
		w.ok(latchkey.New(alteringStore{w.store, at, nil}, &o).CheckKeyring(w.ctx))
	}
}

// secretWrites keeps how many secrets each Write changes, and the last of those changes.
type secretWrites struct {
	latchkey.Store
	sizes []int
	last  []latchkey.SecretChange
}

func (s *secretWrites) Write(ctx context.Context, w latchkey.Write) error {
	s.sizes, s.last = append(s.sizes, len(w.Secrets)), w.Secrets
	return s.Store.Write(ctx, w)
}

// What another process changed meanwhile is tried one by one. A store that is lost is an error, not a change.
func TestRekeyIsInterrupted(t *testing.T) {
	conflict, lost := latchkey.ErrConflict, latchkey.ErrUnavailable
	for _, c := range []struct {
		fail   map[int]error // by the number of the write, from 1
		writes int
		err    error
	}{
		{map[int]error{1: conflict}, 4, nil},
		{map[int]error{1: latchkey.ErrNotFound}, 4, nil},
		{map[int]error{1: latchkey.ErrExists}, 4, nil},
		{map[int]error{1: conflict, 3: lost}, 3, lost},
		{map[int]error{1: lost}, 1, lost},
	} {
		w := newWorld(t)
		old := w.keeper(ringOf(t, 1))
		for range 3 {
			_, _, err := old.For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			w.ok(err)
		}
		writes := 0
		s := &latchkeytest.Store{Store: w.store}
		s.Fail(func(call string) error {
			if call != "Write" {
				return nil
			}
			writes++
			return c.fail[writes]
		})
		o := w.options()
		o.Keyring, o.MaxStale = ringOf(t, 2, 1), time.Minute
		before := w.store.epochs.Load()
		moved, _, err := latchkey.New(s, &o).Rekey(w.ctx)
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.writes, writes)
		require.Equal(t, before, w.store.epochs.Load(), "no changes are read")
		if c.err == nil {
			require.Equal(t, 3, moved)
		}
	}
}

// Rekey writes a hundred secrets of an owner at once, no more, and never those of two owners. It changes no answer, so
// that it reads no changes.
func TestRekeyWritesInSteps(t *testing.T) {
	w := newWorld(t)
	old := w.keeper(ringOf(t, 1))
	for owner, n := range map[string]int{"acme": 201, "globex": 100, "initech": 1} {
		for range n {
			_, _, err := old.For(owner).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			w.ok(err)
		}
	}
	s := &secretWrites{Store: w.store}
	o := w.options()
	o.Keyring, o.MaxStale = ringOf(t, 2, 1), time.Minute
	before := w.store.epochs.Load()
	moved, left, err := latchkey.New(s, &o).Rekey(w.ctx)
	w.ok(err)
	require.Equal(t, before, w.store.epochs.Load())
	require.Equal(t, 302, moved)
	require.Empty(t, left)
	require.Equal(t, []int{100, 100, 1, 100, 1}, s.sizes)
}

// Without random bytes nothing moves, and Rekey says so.
func TestRekeyWithoutRandomness(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	fails := 1
	reads := 0
	o := w.options()
	o.Keyring = ringOf(t, 2, 1)
	o.Rand = readerFunc(func(p []byte) (int, error) {
		if reads++; reads == fails {
			return 0, io.ErrUnexpectedEOF
		}
		return rand.Read(p)
	})
	keys := latchkey.New(w.store, &o)
	moved, _, err := keys.Rekey(w.ctx)
	w.is(io.ErrUnexpectedEOF, err)
	require.Zero(t, moved)
	fails = 0
	moved, left, err := keys.Rekey(w.ctx)
	w.ok(err)
	require.Equal(t, 1, moved)
	require.Empty(t, left)
}

// A key none of whose secrets is sealed is known by its id only: another key of that id passes, until one was sealed.
func TestCheckKeyringOfSecretsThatAreNotSealed(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		_, _, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		w.ok(err)
	}
	other := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: bytes.Repeat([]byte("?"), 32)}))
	for _, sealed := range []int{0, 1} {
		for ring, want := range map[*latchkey.Keyring]error{ringOf(t, 1): nil, other: latchkey.ErrNeedsKeyring} {
			if sealed == 0 {
				want = nil
			}
			o := w.options()
			o.Keyring = ring
			w.is(want, latchkey.New(unsealedStore{w.store, sealed}, &o).CheckKeyring(w.ctx))
		}
	}
}

// unsealedStore leaves that many of the last secrets sealed as it is read.
type unsealedStore struct {
	latchkey.Store
	sealed int
}

func (s unsealedStore) KeySecrets(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
	page, next, err := s.Store.KeySecrets(ctx, q)
	for i := range page[:max(0, len(page)-s.sealed)] {
		page[i].Secret.Sealed = nil
	}
	return page, next, err
}

// A secret that is retired while it moves keeps its end.
func TestRekeyRevivesNoRetiredSecret(t *testing.T) {
	w := newWorld(t)
	token, secret, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	w.ok(err)
	both := w.keeper(ringOf(t, 2, 1))
	verify := func() error {
		_, err := both.Verify(w.ctx, latchkey.Presented{Secret: secret.Reveal()})
		return err
	}
	done := w.store.before(func() { must(both.For("acme").Rotate(w.ctx, token.ID, time.Minute)) })
	moved, left, err := both.Rekey(w.ctx)
	w.ok(err)
	require.True(t, done())
	require.Equal(t, 1, moved)
	require.Empty(t, left)
	w.ok(verify())
	w.turn(time.Minute)
	w.is(latchkey.ErrExpired, verify())
}

// A secret that could not be moved is read again. It depends on its key no more if it is gone, or is another one. Where
// that cannot be read, Rekey does not say that it moved.
func TestRekeyOfASecretThatMayBeGone(t *testing.T) {
	damaged := &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: "acme"}
	for name, c := range map[string]struct {
		secrets []latchkey.SecretRecord
		fails   error
		moved   int
		want    error
	}{
		"gone":                      {nil, nil, 1, nil},
		"another":                   {[]latchkey.SecretRecord{{Digest: [32]byte{1}}}, nil, 1, nil},
		"with its token":            {nil, latchkey.ErrNotFound, 1, nil},
		"beside one that is broken": {[]latchkey.SecretRecord{{Digest: [32]byte{1}}}, damaged, 1, nil},
		"not known":                 {nil, latchkey.ErrUnavailable, 0, latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, _, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			w.ok(err)
			o := w.options()
			o.Keyring = ringOf(t, 2, 1)
			store := &signers{Store: refusingStore{w.store}}
			store.secrets = func([]latchkey.SecretRecord) ([]latchkey.SecretRecord, error) { return c.secrets, c.fails }
			moved, left, err := latchkey.New(store, &o).Rekey(w.ctx)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.moved, moved)
			require.Empty(t, left)
		})
	}
}

// smallPages is a store that lists two secrets at a time.
type smallPages struct {
	latchkey.Store
	reads int
}

func (s *smallPages) KeySecrets(ctx context.Context, q latchkey.KeyQuery) ([]latchkey.KeySecret, string, error) {
	s.reads++
	q.Limit = 2
	return s.Store.KeySecrets(ctx, q)
}

// All pages are read, up to one that fails.
func TestRekeyReadsAllPages(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		_, _, err := w.keeper(ringOf(t, 1)).For("acme").Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		w.ok(err)
	}
	broken := &latchkeytest.Store{Store: w.store}
	broken.Fail(func(call string) error {
		if call == "Write" {
			return latchkey.ErrUnavailable
		}
		return nil
	})
	o := w.options()
	o.Keyring = ringOf(t, 2, 1)
	s := &smallPages{Store: broken}
	_, _, err := latchkey.New(s, &o).Rekey(w.ctx)
	w.is(latchkey.ErrUnavailable, err)
	require.Equal(t, 1, s.reads)
	s = &smallPages{Store: w.store}
	moved, left, err := latchkey.New(s, &o).Rekey(w.ctx)
	w.ok(err)
	require.Equal(t, 5, moved)
	require.Empty(t, left)
	require.Greater(t, s.reads, 2)
}
