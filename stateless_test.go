package latchkey_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/tokentext"
	"github.com/latchkey-go/latchkey/latchkeytest"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/storetest"
)

func testKey(id uint32) latchkey.Key {
	return latchkey.Key{ID: id, Secret: []byte(strings.Repeat(string(rune('a'+id%26)), 32))}
}

func testKeyring(ids ...uint32) *latchkey.Keyring {
	if len(ids) == 0 {
		ids = []uint32{7}
	}
	var keys []latchkey.Key
	for _, id := range ids {
		keys = append(keys, testKey(id))
	}
	return must(latchkey.NewKeyring(keys[0], keys[1:]...))
}

func withKeys(o *latchkey.Options) { o.Keyring = testKeyring() }

// stateless is a world with a key that mints stateless tokens.
type stateless struct {
	*world
	parent latchkey.Token
	key    string
}

func newStateless(t *testing.T, change ...func(*latchkey.Options)) *stateless {
	w := &stateless{world: newWorld(t, append([]func(*latchkey.Options){withKeys}, change...)...)}
	w.parent, w.key = w.world.key(latchkey.Allow(latchkey.Any).On("*"))
	return w
}

func (w *stateless) page(client string) (latchkey.Token, string) {
	w.Helper()
	return w.mint(w.access(w.key), latchkey.Narrowing{Stateless: true, Client: latchkey.Client{ID: client}})
}

// process returns another Manager over the same store.
func (w *stateless) process(change ...func(*latchkey.Options)) *latchkey.Manager {
	o := w.options()
	withKeys(&o)
	for _, c := range change {
		c(&o)
	}
	m := latchkey.New(w.store, &o)
	w.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// traffic counts the calls of a Store that read records, and those that write.
type traffic struct {
	latchkey.Store
	reads, writes atomic.Int64
}

func (s *traffic) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	s.reads.Add(1)
	return s.Store.Load(ctx, owner, id)
}

func (s *traffic) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	s.reads.Add(1)
	return s.Store.ByDigest(ctx, slot, d...)
}

func (s *traffic) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	s.reads.Add(1)
	return s.Store.Role(ctx, owner, id)
}

func (s *traffic) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	s.reads.Add(1)
	return s.Store.Owner(ctx, owner)
}

func (s *traffic) Revocations(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
	s.reads.Add(1)
	return s.Store.Revocations(ctx, q)
}

func (s *traffic) Write(ctx context.Context, w latchkey.Write) error {
	s.writes.Add(1)
	return s.Store.Write(ctx, w)
}

func (s *traffic) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	s.writes.Add(1)
	return s.Store.AddUsage(ctx, b)
}

// A mint writes nothing. A first Verify reads the parent at most once in a process, and nothing after that, whatever
// else of the owner changes.
func TestAStatelessTokenCostsNoStorage(t *testing.T) {
	w := newStateless(t)
	a := w.access(w.key)
	s := &traffic{Store: w.store}
	m := latchkey.New(s, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
	defer func() { _ = m.Close(context.Background()) }()
	_, text := w.page("1")
	_, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
	assert.LessOrEqual(t, s.reads.Load(), int64(2), "the parent, and the revocations")
	parent, err := m.Verify(w.ctx, latchkey.Presented{Secret: w.key})
	w.ok(err)
	w.ok(m.Close(w.ctx)) // the last use of the parent is written
	s.reads.Store(0)
	s.writes.Store(0)
	for i := range 20 {
		if i == 10 {
			w.world.key() // something else of the owner changes
			w.role("another")
		}
		_, text, err := parent.Mint(w.ctx, latchkey.Narrowing{Stateless: true, Lifetime: time.Hour,
			Client: latchkey.Client{ID: fmt.Sprint(i)}})
		w.ok(err)
		child, err := m.Verify(w.ctx, latchkey.Presented{Secret: text.Reveal()})
		w.ok(err)
		assert.True(t, child.Allows(latchkey.Read, "x"))
	}
	assert.Zero(t, s.reads.Load())
	assert.Zero(t, s.writes.Load())
	_ = a
}

// Whatever ends a stored child ends a stateless one: at once in this process, and in every other one.
func TestAStatelessTokenIsRevoked(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *stateless, id string) error
		want error
		all  bool // also the token of another client
	}{
		"by its id": {func(w *stateless, id string) error { return w.acme.Revoke(w.ctx, id, "lost") },
			latchkey.ErrRevoked, false},
		"by its parent": {func(w *stateless, _ string) error {
			return revokeAll(w, latchkey.Selector{Parent: w.parent.ID})
		}, latchkey.ErrRevoked, true},
		"by its client": {func(w *stateless, _ string) error { return revokeAll(w, latchkey.Selector{Client: "42"}) },
			latchkey.ErrRevoked, false},
		"by ids": {func(w *stateless, id string) error { return revokeAll(w, latchkey.Selector{IDs: []string{id}}) },
			latchkey.ErrRevoked, false},
		"client erased": {func(w *stateless, _ string) error { return w.acme.EraseClient(w.ctx, "42") },
			latchkey.ErrRevoked, false},
		"parent revoked": {func(w *stateless, _ string) error { return w.acme.Revoke(w.ctx, w.parent.ID, "") },
			latchkey.ErrParent, true},
		"parent deleted": {func(w *stateless, _ string) error { return w.acme.Delete(w.ctx, w.parent.ID) },
			latchkey.ErrParent, true},
		"owner erased": {func(w *stateless, _ string) error { return w.acme.Erase(w.ctx) }, latchkey.ErrParent, true},
		"mass revocation": {func(w *stateless, _ string) error {
			return configure(w, func(o *latchkey.Owner) { o.NotBefore = w.now() })
		}, latchkey.ErrRevoked, true},
		"owner disabled": {func(w *stateless, _ string) error {
			return configure(w, func(o *latchkey.Owner) { o.Disabled = true })
		}, latchkey.ErrOwnerDisabled, true},
		"all of the owner": {func(w *stateless, _ string) error {
			return revokeAll(w, latchkey.Selector{All: true, Kinds: []latchkey.Kind{latchkey.KindAccess}})
		}, latchkey.ErrRevoked, true},
		"parent disabled": {func(w *stateless, _ string) error {
			_, err := w.acme.Update(w.ctx, w.parent.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
			return err
		}, latchkey.ErrParent, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newStateless(t)
			other := w.process()
			bounded := w.process(func(o *latchkey.Options) { o.MaxStale = time.Minute })
			child, text := w.page("42")
			_, others := w.page("43")
			for _, m := range []*latchkey.Manager{w.keys, other, bounded} {
				for _, s := range []string{text, others} {
					_, err := m.Verify(w.ctx, latchkey.Presented{Secret: s})
					w.ok(err)
				}
			}
			w.ok(c.end(w, child.ID))
			w.turn(time.Minute + time.Millisecond) // the bound of one of them
			for who, m := range map[string]*latchkey.Manager{"this process": w.keys, "another": other,
				"one with MaxStale": bounded, "one that starts": w.process()} {
				for range 2 {
					_, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
					assert.ErrorIs(t, err, c.want, who)
					_, err = m.Verify(w.ctx, latchkey.Presented{Secret: others})
					assert.Equal(t, c.all, err != nil, "%s, another client's: %v", who, err)
				}
			}
		})
	}
}

func revokeAll(w *stateless, s latchkey.Selector) error {
	swept, err := w.acme.RevokeAll(w.ctx, s, "incident")
	if err == nil && !swept.Stateless {
		return errors.New("the stateless tokens are not among them")
	}
	return err
}

func configure(w *stateless, edit func(*latchkey.Owner)) error {
	return w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { edit(o); return nil })
}

// What is minted after a revocation by its parent, client or owner works, also where another machine's clock is behind.
func TestAStatelessTokenMadeAfterARevocation(t *testing.T) {
	w := newStateless(t)
	for range 3 {
		_, before := w.page("42")
		for _, s := range []latchkey.Selector{{Client: "42"}, {Parent: w.parent.ID}} {
			w.ok(revokeAll(w, s))
			_, err := w.verify(before)
			w.is(latchkey.ErrRevoked, err)
			_, after := w.page("42")
			_, err = w.verify(after)
			w.ok(err)
			_, err = w.process().Verify(w.ctx, latchkey.Presented{Secret: after})
			w.ok(err)
			before = after
		}
		w.turn(time.Second)
	}
}

// A selector that no revocation can stand for leaves stateless tokens, and says so.
func TestASelectorThatMeansNoStatelessToken(t *testing.T) {
	w := newStateless(t)
	_, text := w.page("42")
	w.role("reader")
	origin := "cloudtables"
	for _, s := range []latchkey.Selector{{Origin: &origin}, {Find: "there is none"}, {Client: "42", Parent: w.parent.ID},
		{All: true, States: []latchkey.State{latchkey.Expired}}, {All: true, Kinds: []latchkey.Kind{latchkey.KindSession}},
		{Client: "42", UnusedSince: w.now()}, {Client: "42", ExpiresTo: w.now()}, {Client: "42", ExpiresFrom: w.now()},
		{Client: "42", Role: "reader"}} {
		swept, err := w.acme.RevokeAll(w.ctx, s, "")
		w.ok(err)
		assert.False(t, swept.Stateless, "%+v", s)
	}
	_, err := w.verify(text)
	w.ok(err)
}

// A RevokeAll that is refused revokes no stateless token either.
func TestARefusedRevokeAll(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	var ids []string
	for range 1000 {
		ids = append(ids, child.ID)
	}
	for _, c := range []struct {
		s      latchkey.Selector
		reason string
	}{
		{latchkey.Selector{}, ""},
		{latchkey.Selector{Parent: w.parent.ID}, strings.Repeat("x", 257)},
		{latchkey.Selector{IDs: append(ids, child.ID)}, ""},
	} {
		for _, after := range []string{"", "where the call before ended"} {
			c.s.After = after
			swept, err := w.acme.RevokeAll(w.ctx, c.s, c.reason)
			w.is(latchkey.ErrInvalid, err)
			require.Equal(t, latchkey.Swept{After: c.s.After}, swept)
			_, err = w.verify(text)
			w.ok(err)
		}
	}
	once := w.acme.ForRequest(latchkey.Request{Key: "once", Until: w.now().Add(time.Hour)})
	_, err := once.RevokeAll(w.ctx, latchkey.Selector{Parent: w.parent.ID}, "")
	w.is(latchkey.ErrInvalid, err)
	_, err = w.verify(text)
	w.ok(err)
	w.ok(revokeAll(w, latchkey.Selector{IDs: ids}))
	_, err = w.verify(text)
	w.is(latchkey.ErrRevoked, err)
}

// A call that goes on where another one ended revokes no stateless tokens: that one has.
func TestARevokeAllThatGoesOn(t *testing.T) {
	w := newStateless(t)
	_, text := w.page("42")
	s := latchkey.Selector{Client: "42"}
	w.ok(revokeAll(w, s))
	_, later := w.page("42")
	s.After = w.parent.ID
	w.ok(revokeAll(w, s))
	_, err := w.verify(text)
	w.is(latchkey.ErrRevoked, err)
	_, err = w.verify(later)
	w.ok(err)
}

// Where there is no stateless token to revoke nothing is written: ids of stored ones, or of one that has ended.
func TestARevocationOfNoStatelessToken(t *testing.T) {
	w := newStateless(t)
	child, _ := w.page("42")
	w.turn(latchkey.MaxStateless + time.Hour)
	stored, _ := w.world.key()
	for name, do := range map[string]func() error{
		"of stored ones":   func() error { return revokeAll(w, latchkey.Selector{IDs: []string{stored.ID}}) },
		"of one, by ids":   func() error { return revokeAll(w, latchkey.Selector{IDs: []string{child.ID}}) },
		"of one, by an id": func() error { return w.acme.Revoke(w.ctx, child.ID, "") },
	} {
		require.NoError(t, do(), name)
	}
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{Action: "token.revoke-stateless"}) {
		w.ok(err)
		require.Fail(t, "an event", "%+v", e)
	}
}

// A revocation that could not be dated or written is an error: a stateless token is not said to be revoked while it
// works.
func TestARevocationOfALostStore(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	for _, lost := range []string{"Changes", "Revocations", "Write"} {
		store := &latchkeytest.Store{Store: w.store}
		store.Fail(func(call string) error {
			if call == lost {
				return latchkey.ErrUnavailable
			}
			return nil
		})
		keys := latchkey.New(store, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
		_, err := keys.For("acme").RevokeAll(w.ctx, latchkey.Selector{Parent: w.parent.ID}, "")
		require.ErrorIs(t, err, latchkey.ErrUnavailable, lost)
		if lost == "Write" {
			w.is(latchkey.ErrUnavailable, keys.For("acme").Revoke(w.ctx, child.ID, ""))
		}
		_, err = w.verify(text)
		w.ok(err)
		w.ok(keys.Close(w.ctx))
	}
}

// An actor that was revoked meanwhile revokes nothing.
func TestARevokedActorRevokesNoStatelessToken(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	token, secret := w.issue(latchkey.KindSecret, latchkey.Settings{})
	as := mustAs(w.world, w.access(secret))
	w.ok(w.acme.Revoke(w.ctx, token.ID, ""))
	w.is(latchkey.ErrRevoked, as.Revoke(w.ctx, child.ID, ""))
	_, err := as.RevokeAll(w.ctx, latchkey.Selector{Client: "42"}, "")
	w.is(latchkey.ErrRevoked, err)
	_, err = w.verify(text)
	w.ok(err)
}

// CreatedBefore spares what was made later.
func TestARevocationSparesLaterStatelessTokens(t *testing.T) {
	w := newStateless(t)
	_, early := w.page("42")
	w.turn(10 * time.Minute)
	at := w.now()
	_, late := w.page("42")
	w.ok(revokeAll(w, latchkey.Selector{Client: "42", CreatedBefore: at}))
	_, err := w.verify(early)
	w.is(latchkey.ErrRevoked, err)
	_, err = w.verify(late)
	w.ok(err)
}

func TestWhoMayRevokeAStatelessToken(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	_, sk := w.issue(latchkey.KindSecret, latchkey.Settings{})
	spare, _ := w.world.key(readAll())
	_, weak := w.world.key(latchkey.Allow(latchkey.Read).On("*"))
	_, deletes := w.world.key(latchkey.Allow(latchkey.Any).On("latchkey/token/*"), latchkey.Grant(latchkey.Any).On("*"))
	for _, secret := range []string{weak, deletes} {
		as := mustAs(w.world, w.access(secret))
		w.is(latchkey.ErrDenied, as.Revoke(w.ctx, child.ID, ""))
		swept, err := as.RevokeAll(w.ctx, latchkey.Selector{Client: "42"}, "")
		w.ok(err)
		assert.False(t, swept.Stateless)
		swept, err = as.RevokeAll(w.ctx, latchkey.Selector{IDs: []string{spare.ID}}, "")
		w.ok(err)
		assert.True(t, swept.Stateless, "none is among these")
	}
	narrowed, err := w.access(sk).Narrow(w.ctx, latchkey.Narrowing{
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")}})
	w.ok(err)
	w.is(latchkey.ErrDenied, mustAs(w.world, narrowed).Revoke(w.ctx, child.ID, ""))
	_, err = w.verify(text)
	w.ok(err)
	w.ok(mustAs(w.world, w.access(sk)).Revoke(w.ctx, child.ID, ""))
	_, err = w.verify(text)
	w.is(latchkey.ErrRevoked, err)

	written := func() [2]int {
		return [2]int{int(must(w.store.Changes(w.ctx, 0, 0, 0)).Epoch),
			len(must(w.acme.EventsPage(w.ctx, latchkey.EventQuery{})).Items)}
	}
	w.turn(latchkey.MaxStateless + time.Hour)
	was := written()
	w.ok(w.acme.Revoke(w.ctx, child.ID, ""))
	assert.Equal(t, was, written(), "it has ended: nothing is written")
}

// The owner's boundary binds secret keys, too, and the audit trail tells of a revocation what was revoked, and why.
func TestRevocationsOfStatelessTokensAreTold(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	_, sk := w.issue(latchkey.KindSecret, latchkey.Settings{})
	bound := func(p latchkey.Permissions) {
		w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Boundary = p; return nil }))
	}
	every := latchkey.Allow(latchkey.Any).On("*", "latchkey/*")
	bound(latchkey.Permissions{every, latchkey.Deny(latchkey.Delete).On("latchkey/token/*")})
	w.is(latchkey.ErrDenied, mustAs(w.world, w.access(sk)).Revoke(w.ctx, child.ID, "over"))
	_, err := w.verify(text)
	w.ok(err)
	bound(latchkey.Permissions{every})
	w.ok(mustAs(w.world, w.access(sk)).Revoke(w.ctx, child.ID, "over"))
	list := must(w.acme.EventsPage(w.ctx, latchkey.EventQuery{Object: child.ID})).Items
	last := list[len(list)-1]
	require.Equal(t, "token.revoke-stateless", last.Action)
	require.Equal(t, "over", last.Reason)
}

// A stateless token has no record: whatever needs one says so.
func TestAStatelessTokenIsNotListed(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	require.True(t, latchkey.IsStateless(child.ID))
	require.False(t, latchkey.IsStateless(w.parent.ID))
	require.False(t, latchkey.IsStateless(""))
	id := child.ID
	for what, err := range map[string]error{
		"Get":           second(w.acme.Get(w.ctx, id)),
		"Update":        second(w.acme.Update(w.ctx, id, func(*latchkey.Token) error { return nil })),
		"Rotate":        second(w.acme.Rotate(w.ctx, id, 0)),
		"Reveal":        second(w.acme.Reveal(w.ctx, id)),
		"SigningSecret": second(w.acme.SigningSecret(w.ctx, id)),
		"Secrets":       second(w.acme.Secrets(w.ctx, id)),
		"EndSecret":     w.acme.EndSecret(w.ctx, id, "x", ""),
		"Delete":        w.acme.Delete(w.ctx, id),
		"Lineage":       second(w.acme.Lineage(w.ctx, id)),
		"Rights":        second(w.acme.RightsOf(w.ctx, id)),
		"Balances":      second(w.acme.Balances(w.ctx, id)),
	} {
		assert.ErrorIs(t, err, latchkey.ErrStateless, what)
		assert.ErrorIs(t, err, latchkey.ErrNotFound, what)
	}
	for tok, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{}) {
		w.ok(err)
		assert.NotEqual(t, id, tok.ID)
	}
	found, err := w.acme.Find(w.ctx, text)
	w.ok(err)
	assert.Equal(t, id, found.ID)
	assert.Equal(t, w.parent.ID, found.Parent)
	assert.Equal(t, child.Hint, found.Hint)
	everywhere, err := w.keys.Find(w.ctx, text)
	w.ok(err)
	assert.Equal(t, "acme", everywhere.Token.Owner)
	_, err = w.keys.For("globex").Find(w.ctx, text)
	w.is(latchkey.ErrNotFound, err)
	own, err := w.access(text).Token(w.ctx)
	w.ok(err)
	assert.Equal(t, id, own.ID)
	_, err = w.keys.Verify(w.ctx, latchkey.Presented{Secret: text, Signature: &latchkey.Signature{Date: w.now(),
		OK: func([]byte) bool { return true }}})
	w.is(latchkey.ErrSignature, err)
	_, err = w.acme.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, text)
	w.is(latchkey.ErrInvalid, err)
}

// The text of a stateless token whose parent is gone, or that no key of the process sealed, finds none. While the store
// is lost nothing is known of it.
func TestAStatelessTokenThatIsNotFound(t *testing.T) {
	w := newStateless(t)
	_, text := w.page("42")
	find := func(m *latchkey.Manager, want error) {
		t.Helper()
		_, err := m.For("acme").Find(w.ctx, text)
		w.is(want, err)
		_, everywhere := m.Find(w.ctx, text)
		w.is(want, everywhere)
	}
	find(w.process(func(o *latchkey.Options) { o.Keyring = testKeyring(8) }), latchkey.ErrNotFound)
	w.store.fail.Store(&latchkey.ErrUnavailable)
	find(w.process(), latchkey.ErrUnavailable)
	w.store.fail.Store(nil)
	find(w.keys, nil)
	w.ok(w.acme.Delete(w.ctx, w.parent.ID))
	find(w.keys, latchkey.ErrNotFound)
}

func TestAStatelessTokenMintsAndAdministersNothing(t *testing.T) {
	w := newStateless(t)
	_, sk := w.issue(latchkey.KindSecret, latchkey.Settings{})
	_, text := w.mint(w.access(sk), latchkey.Narrowing{Stateless: true})
	a := w.access(text)
	require.True(t, a.Allows(latchkey.Delete, "latchkey/token/x"))
	for _, n := range []latchkey.Narrowing{{Lifetime: time.Minute}, {Lifetime: time.Minute, Stateless: true}} {
		_, _, err := a.Mint(w.ctx, n)
		w.is(latchkey.ErrDenied, err)
	}
	_, err := w.acme.As(a)
	w.is(latchkey.ErrDenied, err)
	b, err := a.Narrow(w.ctx, latchkey.Narrowing{Rows: []latchkey.Condition{eq("region", "EU")}})
	w.ok(err)
	_, err = w.acme.As(b)
	w.is(latchkey.ErrDenied, err)
	c, err := b.Again(w.ctx)
	w.ok(err)
	assert.Equal(t, b.TokenID(), c.TokenID())
	assert.False(t, c.Allows(latchkey.Read, "x"), "it stays narrowed")
}

// What only a record can keep is refused by name.
func TestWhatCannotBeStateless(t *testing.T) {
	w := newStateless(t)
	a := w.access(w.key)
	for want, n := range map[string]latchkey.Narrowing{
		"Idle asks":    {Idle: time.Minute},
		"Limits count": {Limits: monthly(5)},
		"Signed needs": {Restrictions: latchkey.Restrictions{Signed: true}},
		"MintFrom is": {Restrictions: latchkey.Restrictions{
			MintFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
		"(MaxStateless)":        {Lifetime: latchkey.MaxStateless + time.Second},
		"bytes, and may have":   {Extra: []byte(`"` + strings.Repeat("x", 2000) + `"`)},
		"Lifetime must be at":   {Lifetime: -1},
		"Roles is empty: pass ": {Roles: []string{}},
	} {
		if n.Stateless = true; n.Lifetime == 0 {
			n.Lifetime = time.Hour
		}
		_, _, err := a.Mint(w.ctx, n)
		require.ErrorIs(t, err, latchkey.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
	_, _, err := a.MintFor(w.ctx, latchkey.Request{Key: "k"}, latchkey.Narrowing{Stateless: true, Lifetime: time.Hour})
	require.ErrorContains(t, err, "MintFor remembers")
	for want, policy := range map[string]latchkey.OwnerPolicy{"Children counts": {Children: 1000},
		"AuditMints": {AuditMints: true}, "MaxIdle": {MaxIdle: time.Hour}} {
		w.ok(configure(w, func(o *latchkey.Owner) { o.Policy = policy }))
		_, _, err := a.Mint(w.ctx, latchkey.Narrowing{Stateless: true, Lifetime: time.Hour})
		require.ErrorIs(t, err, latchkey.ErrPolicy)
		require.ErrorContains(t, err, want)
	}
	w.ok(configure(w, func(o *latchkey.Owner) { o.Policy = latchkey.OwnerPolicy{MaxLifetime: time.Minute} }))
	tok, _, err := a.Mint(w.ctx, latchkey.Narrowing{Stateless: true, Lifetime: 100 * time.Hour})
	w.ok(err)
	assert.Equal(t, w.now().Add(time.Minute), tok.Validity.NotAfter)

	w.ok(configure(w, func(o *latchkey.Owner) { o.Policy = latchkey.OwnerPolicy{} }))
	tok, _, err = a.Mint(w.ctx, latchkey.Narrowing{Stateless: true, Lifetime: latchkey.MaxStateless})
	w.ok(err)
	assert.Equal(t, w.now().Add(latchkey.MaxStateless), tok.Validity.NotAfter)

	plain := newWorld(t)
	_, key := plain.key(readAll())
	_, _, err = plain.access(key).Mint(plain.ctx, latchkey.Narrowing{Stateless: true, Lifetime: time.Hour})
	plain.is(latchkey.ErrNeedsKeyring, err)
}

// typical is the narrowing of a page: roles, rows, forced values and a client.
func typical(roles ...string) latchkey.Narrowing {
	return latchkey.Narrowing{Stateless: true, Lifetime: time.Hour, Roles: roles, Origin: "cloudtables",
		Client: latchkey.Client{ID: "customer-4711", Name: "Ada Lovelace"},
		Rows: []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, latchkey.ClientID),
			latchkey.Where("region", latchkey.In, []string{"EU", "UK"})},
		Forced: latchkey.Values{"customer": latchkey.ClientID, "region": "EU"}}
}

func TestHowLongAStatelessTextIs(t *testing.T) {
	w := newWorld(t, withKeys, func(o *latchkey.Options) { o.Prefix = "acme2026" })
	one, two := w.role("one", readAll()), w.role("two", readAll())
	_, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{one.ID, two.ID}})
	_, text := w.mint(w.access(key), typical(one.ID, two.ID))
	assert.LessOrEqual(t, len(text), 400, text)
	assert.True(t, strings.HasPrefix(text, "at_acme2026_S"))
	assert.Regexp(t, `^[A-Za-z0-9_-]+$`, text)
	assert.Regexp(t, `^`+latchkey.SecretPattern("")+`$`, text)
	assert.Regexp(t, latchkey.SecretPattern("acme2026"), "token="+text+"&x")
	_, err := w.verify(text)
	w.ok(err)
	_, short := w.mint(w.access(key), latchkey.Narrowing{Stateless: true})
	assert.LessOrEqual(t, len(short), 200)
}

// No altered text is accepted, and none is read beyond what it holds: each byte flipped, cut off anywhere, spliced, of
// another mark, of another key, and of another owner.
func TestAForgedStatelessTextIsRefused(t *testing.T) {
	w := newStateless(t)
	a := w.access(w.key)
	_, text := w.mint(a, typical())
	_, other := w.page("x")
	refused := func(forged string) {
		t.Helper()
		_, err := w.verify(forged)
		require.ErrorIs(t, err, latchkey.ErrUnknownToken, forged)
		if forged = sealed(forged); forged != text && forged != other { // with a right checksum, which anyone can compute
			_, err = w.verify(forged)
			require.ErrorIs(t, err, latchkey.ErrUnknownToken, forged)
		}
	}
	for i := range len(text) {
		refused(text[:i])
		for _, bit := range []byte{1, 2, 4, 8, 16, 32, 64} {
			flipped := []byte(text)
			flipped[i] ^= bit
			if forged := string(flipped); forged != text {
				_, err := w.verify(forged)
				require.ErrorIs(t, err, latchkey.ErrUnknownToken)
				if i < len(text)-6 {
					refused(forged)
				}
			}
		}
	}
	for n := 20; n < min(len(text), len(other))-6; n += 7 {
		refused(text[:n] + other[n:])
		refused(other[:n] + text[n:])
	}
	refused(strings.Replace(text, "at_S", "at_x_S", 1))
	refused(strings.Replace(text, "at_S", "ak_S", 1))
	refused(text + "=")
	refused(text + "A")
	refused(text[:30] + "\n" + text[30:])
	refused("at_S" + strings.Repeat("A", 5000))
	_, err := w.verify(text)
	w.ok(err)

	_, err = w.keys.For("globex").Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrUnknownToken, err)
	cold := w.process()
	_, err = cold.For("globex").Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrUnknownToken, err)
	_, err = cold.Verify(w.ctx, latchkey.Presented{Secret: text, Test: true})
	w.is(latchkey.ErrTestMode, err)
}

// sealed gives a text the checksum that fits it.
func sealed(text string) string {
	if len(text) < 11 || !strings.HasPrefix(text, "at_") {
		return text
	}
	at := strings.IndexByte(text, 'S') + 1
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text[at:max(at, len(text)-6)], "\n"))
	if err != nil {
		return text
	}
	return tokentext.Seal(text[:at], body)
}

// A text of a retired key is accepted for as long as the key is on the ring, and refused when it is gone. The same id
// with another secret does not open it, nor does a key that seals other things.
func TestRotatingTheKeyOfStatelessTokens(t *testing.T) {
	w := newStateless(t)
	_, text := w.page("42")
	ring := func(k *latchkey.Keyring) error {
		_, err := w.process(func(o *latchkey.Options) { o.Keyring = k }).Verify(w.ctx, latchkey.Presented{Secret: text})
		return err
	}
	w.ok(ring(testKeyring(8, 7)))
	w.ok(ring(testKeyring(7, 8)))
	w.is(latchkey.ErrUnknownToken, ring(testKeyring(8)))
	w.is(latchkey.ErrUnknownToken, ring(nil))
	renamed := testKey(9)
	renamed.ID = 7
	w.is(latchkey.ErrUnknownToken, ring(must(latchkey.NewKeyring(renamed))))
	moved := testKey(7)
	moved.ID = 9
	w.is(latchkey.ErrUnknownToken, ring(must(latchkey.NewKeyring(moved))))
}

// A store that was restored from an older copy, or is another one, knows an earlier parent. What was minted from the
// later one is refused, as a stored token would be that is not in the copy.
func TestAStatelessTokenOfALaterParent(t *testing.T) {
	w := newStateless(t)
	older := must(w.store.Load(w.ctx, "acme", w.parent.ID))
	_, err := w.acme.Update(w.ctx, w.parent.ID, func(tok *latchkey.Token) error { tok.Name = "later"; return nil })
	w.ok(err)
	_, text := w.page("42")
	m := latchkey.New(&olderStore{w.store, older}, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
	defer func() { _ = m.Close(context.Background()) }()
	_, err = m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrParent, err)
	_, err = w.verify(text)
	w.ok(err)
}

type olderStore struct {
	latchkey.Store
	found latchkey.Found
}

func (s *olderStore) Load(context.Context, string, string) (latchkey.Found, error) {
	return s.found, nil
}

// Use and refusals of stateless tokens are counted under their parent: there is no row for each of them.
func TestUsageOfStatelessTokensIsTheParents(t *testing.T) {
	w := newStateless(t)
	for i := range 3 {
		_, text := w.page("42")
		a := w.access(text)
		a.Count("pages", "GET /", 2)
		_, err := a.Spend(w.ctx, "pages", "GET /", 1)
		w.ok(err)
		w.ok(w.acme.Revoke(w.ctx, a.TokenID(), ""))
		_, err = w.verify(text)
		require.ErrorIs(t, err, latchkey.ErrRevoked, i)
		a.Refused(w.ctx, latchkey.ErrDenied)
	}
	refused, err := w.acme.RefusalReport(w.ctx, latchkey.RefusalQuery{By: []string{"token", "reason"}})
	w.ok(err)
	require.Equal(t, []latchkey.RefusalCount{{TokenID: w.parent.ID, Reason: "denied", Count: 3},
		{TokenID: w.parent.ID, Reason: "revoked", Count: 3}}, refused)
	rows, err := w.acme.Usage(w.ctx, latchkey.UsageQuery{By: []string{"token", "client", "meter"}})
	w.ok(err)
	require.NotEmpty(t, rows)
	n := int64(0)
	for _, r := range rows {
		assert.Equal(t, w.parent.ID, r.TokenID)
		if r.Meter == "pages" {
			assert.Equal(t, "42", r.ClientID)
			n += r.Count
		}
	}
	assert.EqualValues(t, 9, n)
}

// What ended a stateless token, or what it was minted from, since it was verified is seen by Again.
func TestAgainOfAStatelessTokenThatEnded(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(w *stateless, child latchkey.Token) error
		want error
	}{
		"nothing": {func(*stateless, latchkey.Token) error { return nil }, nil},
		"the parent disabled": {func(w *stateless, _ latchkey.Token) error {
			return second(w.acme.Update(w.ctx, w.parent.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil }))
		}, latchkey.ErrParent},
		"the parent revoked": {func(w *stateless, _ latchkey.Token) error { return w.acme.Revoke(w.ctx, w.parent.ID, "") },
			latchkey.ErrParent},
		"the parent over": {func(w *stateless, _ latchkey.Token) error {
			return second(w.acme.Update(w.ctx, w.parent.ID, func(t *latchkey.Token) error {
				t.Validity.NotAfter = w.now().Add(-time.Minute)
				return nil
			}))
		}, latchkey.ErrParent},
		"the owner disabled": {func(w *stateless, _ latchkey.Token) error {
			return configure(w, func(o *latchkey.Owner) { o.Disabled = true })
		}, latchkey.ErrOwnerDisabled},
		"itself revoked": {func(w *stateless, child latchkey.Token) error { return w.acme.Revoke(w.ctx, child.ID, "") },
			latchkey.ErrRevoked},
	} {
		w := newStateless(t)
		child, text := w.page("42")
		a := w.access(text)
		w.ok(c.end(w, child))
		_, err := a.Again(w.ctx)
		if c.want == nil {
			w.ok(err)
			continue
		}
		require.ErrorIs(t, err, c.want, name)
	}
}

// Quotas and rates are the parent's, and one token has no more than all of them together.
func TestStatelessTokensDrawOnTheirParent(t *testing.T) {
	var told []string
	w := newStateless(t, func(o *latchkey.Options) {
		o.Observer.Verified = func(_ context.Context, v latchkey.Verification) {
			told = append(told, fmt.Sprint(v.Outcome, " ", v.Source, " ", v.Kind, " ", v.Owner, " ", v.Err != nil))
		}
	})
	_, key, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Limits: latchkey.Limits{
		Quotas: monthly(3).Quotas, Rate: latchkey.Rate{Count: 4, Per: time.Minute, Burst: 4}},
		Permissions: latchkey.Permissions{readAll()}})
	w.ok(err)
	parent := w.access(key.Reveal())
	var spent, limited int
	for range 5 {
		_, s, err := parent.Mint(w.ctx, latchkey.Narrowing{Stateless: true, Lifetime: time.Hour})
		w.ok(err)
		a, err := w.verify(s.Reveal())
		if errors.Is(err, latchkey.ErrRateLimited) {
			limited++
			continue
		}
		w.ok(err)
		if _, err := a.Spend(w.ctx, "api", "GET /", 1); err == nil {
			spent++
		} else {
			require.ErrorIs(t, err, latchkey.ErrOverLimit)
		}
	}
	assert.Equal(t, 3, spent)
	assert.Positive(t, limited)
	refused := slices.DeleteFunc(slices.Clone(told), func(s string) bool { return !strings.HasSuffix(s, "true") })
	assert.Len(t, told, 1+5, "each is told once")
	assert.Equal(t, slices.Repeat([]string{"rate_limited cache access acme true"}, limited), refused)
}

// With several feeds the owner, which the text holds, leads to its own. A revocation reaches those of its feed.
func TestStatelessTokensOfSeveralFeeds(t *testing.T) {
	w := newWorld(t)
	feeds := storetest.NewFeeds(memstore.New(&memstore.Options{Clock: w.now}),
		memstore.New(&memstore.Options{Clock: w.now}))
	process := func() *latchkey.Manager {
		m := latchkey.New(feeds, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		return m
	}
	m := process()
	texts, ids := map[string]string{}, map[string]string{}
	for _, owner := range []string{"a", "b", "c", "d", "e"} {
		_, key, err := m.For(owner).Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
			Permissions: latchkey.Permissions{readAll()}})
		w.ok(err)
		a, err := m.Verify(w.ctx, latchkey.Presented{Secret: key.Reveal()})
		w.ok(err)
		tok, text, err := a.Mint(w.ctx, latchkey.Narrowing{Stateless: true, Lifetime: time.Hour})
		w.ok(err)
		texts[owner], ids[owner] = text.Reveal(), tok.ID
	}
	other := process()
	for _, owner := range []string{"a", "b", "c", "d", "e"} {
		for _, m := range []*latchkey.Manager{m, other} {
			a, err := m.Verify(w.ctx, latchkey.Presented{Secret: texts[owner]})
			w.ok(err)
			assert.Equal(t, owner, a.Owner())
		}
		w.ok(m.For(owner).Revoke(w.ctx, ids[owner], ""))
		for _, m := range []*latchkey.Manager{m, other, process()} {
			_, err := m.Verify(w.ctx, latchkey.Presented{Secret: texts[owner]})
			w.is(latchkey.ErrRevoked, err)
		}
	}
}

// Nobody can present what the cache has the reading of a parent under, even where the host accepts any text.
func TestTheReadingOfAParentIsNoSecret(t *testing.T) {
	w := newStateless(t, func(o *latchkey.Options) { o.Imported = func(string) bool { return true } })
	_, text := w.page("42")
	_, err := w.verify(text)
	w.ok(err)
	id := strings.ReplaceAll(w.parent.ID, "-", "")
	for _, guess := range []string{w.parent.ID, id, "acme" + w.parent.ID, string(make([]byte, 32)) + "acme",
		fmt.Sprintf("%x", sha256.Sum256([]byte(w.parent.ID)))} {
		_, err := w.verify(guess)
		w.is(latchkey.ErrUnknownToken, err)
	}
}

// The observer is told what decided: the cache while the parent is cached, and the store where it was read.
func TestVerifiedOfAStatelessToken(t *testing.T) {
	var told []latchkey.Verification
	w := newStateless(t, func(o *latchkey.Options) {
		o.Observer.Verified = func(_ context.Context, v latchkey.Verification) { told = append(told, v) }
	})
	child, text := w.page("42")
	last := func() latchkey.Verification { return told[len(told)-1] }
	w.access(text)
	assert.Equal(t, []any{"ok", latchkey.SourceCache, latchkey.KindAccess, "acme"},
		[]any{last().Outcome, last().Source, last().Kind, last().Owner}, "the mint has read the parent")
	w.role("another")
	_, err := w.acme.Update(w.ctx, w.parent.ID, func(tok *latchkey.Token) error { tok.Name = "x"; return nil })
	w.ok(err)
	w.access(text)
	assert.Equal(t, latchkey.SourceStore, last().Source, "the parent changed")
	other := map[bool]string{true: "1", false: "0"}[text[len(text)-1] == '0']
	_, err = w.verify(text[:len(text)-1] + other)
	w.is(latchkey.ErrUnknownToken, err)
	assert.Equal(t, []any{"unknown", latchkey.SourceNone}, []any{last().Outcome, last().Source})
	w.ok(w.acme.Revoke(w.ctx, child.ID, ""))
	_, err = w.verify(text)
	w.is(latchkey.ErrRevoked, err)
	assert.Equal(t, "revoked", last().Outcome)
}

// A store that cannot tell what is revoked lets no stateless token in.
func TestStatelessTokensFailClosed(t *testing.T) {
	w := newStateless(t)
	_, text := w.page("42")
	s := &blindStore{Store: w.store, err: latchkey.ErrUnavailable}
	m := latchkey.New(s, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
	defer func() { _ = m.Close(context.Background()) }()
	_, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrUnavailable, err)
	s.err, s.page = nil, []latchkey.Change{{Owner: "acme", Until: w.now().Add(time.Hour)}} // of an unknown kind
	_, err = m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrUnavailable, err)
	s.page = nil
	_, err = m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
}

// A process whose cache was empty did not hear what was revoked meanwhile. If it cannot read that, what it knew before
// does not count.
func TestAStatelessTokenWhoseRevocationWasMissed(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	s := &deafStore{Store: w.store}
	verify := w.emptyProcess(s)
	w.ok(w.acme.Revoke(w.ctx, child.ID, ""))
	s.deaf.Store(true)
	w.is(latchkey.ErrUnavailable, verify(text))
	s.deaf.Store(false)
	w.is(latchkey.ErrRevoked, verify(text))
}

// A store that was restored from an older copy has other revocations, which are read though nothing of it was cached.
func TestRevocationsOfAStoreThatWentBack(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	s := &rewound{Store: w.store}
	verify := w.emptyProcess(s)
	before := must(w.store.Changes(w.ctx, 0, 0, 0)).Epoch
	w.ok(w.acme.Revoke(w.ctx, child.ID, ""))
	back := func(f latchkey.Feed) latchkey.Feed { f.Epoch, f.Changes = before-1, nil; return f }
	s.edit.Store(&back)
	w.is(latchkey.ErrRevoked, verify(text))
}

// emptyProcess returns Verify of a process that knows all revocations, and has nothing cached.
func (w *stateless) emptyProcess(s latchkey.Store) (verify func(text string) error) {
	w.Helper()
	gone, key := w.world.key(readAll())
	_, orphan := w.mint(w.access(key), latchkey.Narrowing{Stateless: true})
	w.ok(w.acme.Delete(w.ctx, gone.ID))
	m := latchkey.New(s, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
	w.Cleanup(func() { _ = m.Close(context.Background()) })
	verify = func(text string) error {
		_, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
		return err
	}
	w.is(latchkey.ErrParent, verify(orphan))
	return verify
}

// deafStore is a Store whose revocations cannot be read now and then.
type deafStore struct {
	latchkey.Store
	deaf atomic.Bool
}

func (s *deafStore) Revocations(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
	if s.deaf.Load() {
		return nil, "", latchkey.ErrUnavailable
	}
	return s.Store.Revocations(ctx, q)
}

type blindStore struct {
	latchkey.Store
	page []latchkey.Change
	err  error
}

func (s *blindStore) Revocations(context.Context, latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
	return s.page, "", s.err
}

// pagedRevocations is a Store whose pages of revocations have one each.
type pagedRevocations struct{ latchkey.Store }

func (s pagedRevocations) Revocations(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string,
	error) {
	q.Limit = 1
	return s.Store.Revocations(ctx, q)
}

// A process that starts knows all revocations, however many pages they take.
func TestRevocationsOfManyPages(t *testing.T) {
	w := newStateless(t)
	var texts []string
	for i := range 4 {
		child, text := w.page(strconv.Itoa(i))
		w.ok(w.acme.Revoke(w.ctx, child.ID, ""))
		texts = append(texts, text)
	}
	_, lasts := w.page("lasts")
	o := w.options()
	withKeys(&o)
	m := latchkey.New(pagedRevocations{w.store}, &o)
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	for _, text := range texts {
		_, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
		w.is(latchkey.ErrRevoked, err)
	}
	_, err := m.Verify(w.ctx, latchkey.Presented{Secret: lasts})
	w.ok(err)
}

// A parent that ends by not being used is read again before it counts as ended: it may have been used elsewhere.
func TestAStatelessTokenOfAParentThatIdles(t *testing.T) {
	w := newStateless(t)
	_, key := w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{Idle: 40 * time.Minute},
		Permissions: latchkey.Permissions{readAll()}})
	parent := w.access(key)
	_, text, err := parent.Mint(w.ctx, latchkey.Narrowing{Stateless: true, Lifetime: 3 * time.Hour})
	w.ok(err)
	warm := w.process()
	verify := func() error {
		_, err := warm.Verify(w.ctx, latchkey.Presented{Secret: text.Reveal()})
		return err
	}
	w.ok(verify())
	w.turn(30 * time.Minute)
	other := w.process()
	_, err = other.Verify(w.ctx, latchkey.Presented{Secret: key})
	w.ok(err)
	w.ok(other.Close(w.ctx)) // the use is written
	w.turn(20 * time.Minute)
	w.ok(verify())
	w.turn(30 * time.Minute)
	w.is(latchkey.ErrParent, verify())
}

// Another owner's stateless token is refused before anything of its owner is read.
func TestAForeignStatelessTokenReadsNothing(t *testing.T) {
	w := newStateless(t)
	_, text := w.page("42")
	var calls []string
	m := w.process(func(o *latchkey.Options) {
		o.Observer.StoreCall = func(_ context.Context, c latchkey.StoreCall) { calls = append(calls, c.Op) }
	})
	_, err := m.For("globex").Verify(w.ctx, latchkey.Presented{Secret: text})
	require.ErrorIs(t, err, latchkey.ErrUnknownToken)
	require.Empty(t, calls)
	_, err = m.For("acme").Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
	require.NotEmpty(t, calls)
}

// An id in another spelling names no stateless token, as it names no stored one. It is not taken as revoked.
func TestAnotherSpellingOfAStatelessID(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	for _, id := range []string{strings.ToUpper(child.ID), "urn:uuid:" + child.ID, "{" + child.ID + "}",
		strings.ReplaceAll(child.ID, "-", "")} {
		assert.False(t, latchkey.IsStateless(id), id)
		assert.ErrorIs(t, w.acme.Revoke(w.ctx, id, ""), latchkey.ErrNotFound, id)
	}
	_, err := w.verify(text)
	w.ok(err)
}

// The host may give the id of an erased owner's token again. What the erased one minted does not come back with it.
func TestAStatelessTokenOfAnErasedParent(t *testing.T) {
	w := newStateless(t)
	spec := latchkey.Settings{Permissions: latchkey.Permissions{readAll()}}.Spec(latchkey.KindAPIKey)
	spec.ID = w.parent.ID[:35] + "a"
	if spec.ID == w.parent.ID {
		spec.ID = w.parent.ID[:35] + "b"
	}
	_, s, err := w.acme.Issue(w.ctx, spec)
	w.ok(err)
	_, text := w.mint(w.access(s.Reveal()), latchkey.Narrowing{Stateless: true})
	_, err = w.verify(text)
	w.ok(err)
	w.ok(w.acme.Erase(w.ctx))
	w.turn(10 * time.Second)
	_, s, err = w.acme.Issue(w.ctx, spec)
	w.ok(err)
	_, err = w.verify(text)
	w.is(latchkey.ErrParent, err)
	_, err = w.process().Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrParent, err)
	_, text = w.mint(w.access(s.Reveal()), latchkey.Narrowing{Stateless: true})
	_, err = w.verify(text)
	w.ok(err)
}

// What a parent mints after a change works in a process that has not heard of the change yet, as a stored token does.
func TestAStatelessTokenOfAParentThatChangedElsewhere(t *testing.T) {
	w := newStateless(t)
	bounded := w.process(func(o *latchkey.Options) { o.MaxStale = time.Minute })
	_, first := w.page("42")
	_, err := bounded.Verify(w.ctx, latchkey.Presented{Secret: first})
	w.ok(err)
	w.update(w.parent, func(t *latchkey.Token) { t.Name = "later" })
	_, text := w.page("42")
	_, err = bounded.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
}

// A stateless token has roles that its parent has not, and what they inherit, in every process. A role that is gone
// gives nothing.
func TestAStatelessTokenWithRolesOfItsOwn(t *testing.T) {
	coded := func(o *latchkey.Options) {
		o.Roles = []latchkey.Role{{Name: "of code", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("c")}}}
	}
	w := newStateless(t, coded)
	base := w.role("base", latchkey.Allow(latchkey.Read).On("b"))
	role, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "role", Inherits: []string{base.ID,
		latchkey.CodeRoleID("of code")}, Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("a")}})
	w.ok(err)
	root, sk, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, ChildAttributes: []string{"team"}})
	w.ok(err)
	_, text := w.mint(w.access(sk.Reveal()), latchkey.Narrowing{Stateless: true, Roles: []string{role.ID},
		Attributes: latchkey.Attributes{"team": "red"}})
	reads := func(want string) {
		t.Helper()
		for _, m := range []*latchkey.Manager{w.keys, w.process(coded)} {
			a, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
			w.ok(err)
			got := ""
			for _, on := range []string{"a", "b", "c", "d"} {
				if a.Allows(latchkey.Read, latchkey.Resource(on)) {
					got += on
				}
			}
			require.Equal(t, want, got)
			team, _ := a.Attribute("team")
			require.Equal(t, "red", team)
		}
	}
	reads("abc")
	w.editRole(role, func(r *latchkey.Role) { r.Inherits = []string{base.ID} })
	reads("ab")
	lost := &latchkeytest.Store{Store: w.store}
	lost.Fail(func(call string) error {
		if call == "Role" {
			return latchkey.ErrUnavailable
		}
		return nil
	})
	o := w.options()
	withKeys(&o)
	m := latchkey.New(lost, &o)
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	_, err = m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrUnavailable, err)
	w.ok(w.acme.DeleteRole(w.ctx, role.ID))
	reads("")
	w.ok(w.acme.Delete(w.ctx, root.ID))
	_, err = w.verify(text)
	w.is(latchkey.ErrParent, err)
}

// A process that knows the rights of a text already asks everything else about it.
func TestKnownRightsAdmitNoMore(t *testing.T) {
	// A process keeps the rights of 32 claims. Two may share a place by chance, and then it knows those of one only.
	for range 4 {
		knownRightsAdmitNoMore(t)
	}
}

func knownRightsAdmitNoMore(t *testing.T) {
	w := newStateless(t)
	lent := latchkey.Narrowing{Stateless: true, Client: latchkey.Client{ID: "42"},
		Restrictions: latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	here := netip.MustParseAddr("10.1.1.1")
	present := func(m *latchkey.Manager, text string, from netip.Addr) error {
		_, err := m.Verify(w.ctx, latchkey.Presented{Secret: text, Address: from})
		return err
	}
	warm := func(m *latchkey.Manager) { // knows the rights of a page, and of one that is lent
		for range 2 {
			_, text := w.page("1")
			w.ok(present(m, text, netip.Addr{}))
			_, text = w.mint(w.access(w.key), lent)
			w.ok(present(m, text, here))
		}
	}
	m := w.process()
	warm(m)
	_, text := w.page("42")
	_, err := m.For("globex").Verify(w.ctx, latchkey.Presented{Secret: text})
	w.is(latchkey.ErrUnknownToken, err)
	_, err = m.Verify(w.ctx, latchkey.Presented{Secret: text, Test: true})
	w.is(latchkey.ErrTestMode, err)
	_, err = m.Verify(w.ctx, latchkey.Presented{Secret: text, Signature: &latchkey.Signature{}})
	w.is(latchkey.ErrSignature, err)
	w.ok(present(m, text, netip.Addr{}))
	_, text = w.mint(w.access(w.key), lent)
	w.is(latchkey.ErrAddress, present(m, text, netip.MustParseAddr("192.0.2.1")))
	w.ok(present(m, text, here))

	child, text := w.page("42")
	w.ok(w.acme.Revoke(w.ctx, child.ID, ""))
	warm(m)
	w.is(latchkey.ErrRevoked, present(m, text, netip.Addr{}))
	for _, selector := range []latchkey.Selector{{Client: "42"}, {Parent: w.parent.ID}, {All: true}} {
		_, text := w.page("42")
		w.ok(revokeAll(w, selector))
		if selector.All {
			break // the parent is revoked, too
		}
		warm(m)
		w.is(latchkey.ErrRevoked, present(m, text, netip.Addr{}))
	}

	w = newStateless(t)
	m = w.process()
	_, text = w.page("42")
	w.turn(5 * time.Minute)
	w.parent, w.key = w.world.key(latchkey.Allow(latchkey.Any).On("*"))
	warm(m)
	w.turn(24 * time.Hour)
	warm(m)
	w.is(latchkey.ErrExpired, present(m, text, netip.Addr{}))

	w = newStateless(t)
	older := must(w.store.Load(w.ctx, "acme", w.parent.ID))
	m = latchkey.New(&olderStore{w.store, older}, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
	defer func() { _ = m.Close(context.Background()) }()
	warm(m)
	w.update(w.parent, func(t *latchkey.Token) { t.Name = "later" })
	_, first := w.page("7")
	w.is(latchkey.ErrParent, present(m, first, netip.Addr{}))
	_, first = w.page("8")
	w.is(latchkey.ErrParent, present(m, first, netip.Addr{}))

	brief := latchkey.Narrowing{Stateless: true, Client: latchkey.Client{ID: "42"}, Lifetime: time.Minute}
	w = newStateless(t)
	m = w.process()
	lend := func() string {
		_, text := w.mint(w.access(w.key), brief)
		return text
	}
	for range 2 {
		w.ok(present(m, lend(), netip.Addr{}))
	}
	text = lend()
	w.turn(2 * time.Minute)
	w.ok(present(m, lend(), netip.Addr{})) // the rights are known
	w.is(latchkey.ErrExpired, present(m, text, netip.Addr{}))

	w = newStateless(t)
	m = w.process(func(o *latchkey.Options) { o.MaxStale = time.Hour })
	for range 2 {
		w.ok(present(m, lend(), netip.Addr{}))
	}
	w.update(w.parent, func(t *latchkey.Token) {
		t.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}
	})
	a, err := m.Verify(w.ctx, latchkey.Presented{Secret: lend()})
	w.ok(err)
	require.True(t, a.Allows(latchkey.Read, "orders"))
	require.False(t, a.Allows(latchkey.Update, "orders"), "the parent is known as it was")
}

// A process keeps the rights of 32 claims of a parent, each where its hash says. Of 64 claims some have the same place.
func TestKnownRightsAreThoseOfTheirClaims(t *testing.T) {
	w := newStateless(t)
	parent := w.access(w.key)
	dataset := func(i int) latchkey.Resource { return latchkey.Path("dataset", strconv.Itoa(i)) }
	mint := func(i int) string {
		_, text := w.mint(parent, latchkey.Narrowing{Stateless: true,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On(latchkey.Pattern(dataset(i)))}})
		return text
	}
	const claims = 64
	for i := range claims {
		w.access(mint(i))
	}
	for i := range claims {
		a := w.access(mint(i))
		for of := range claims {
			require.Equal(t, of == i, a.Allows(latchkey.Read, dataset(of)), "the rights of %d: %d", i, of)
		}
	}
}

// Tokens of two clients with the same rows and forced values share the rights that a process knows. Each of them is
// about its own client, also where its text comes again and is cached.
func TestKnownRowsAreThoseOfTheirClient(t *testing.T) {
	for name, n := range map[string]latchkey.Narrowing{
		"rows": {Rows: []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, latchkey.ClientID)}},
		"with a rule": {Rows: []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, latchkey.ClientID)},
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("orders").
				Where(latchkey.Where("open", latchkey.Eq, true))}},
		"a value": {Rows: []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, latchkey.ClientID)},
			Forced: latchkey.Values{"by": "web"}},
		"the client": {Rows: []latchkey.Condition{latchkey.Where("customer", latchkey.Eq, latchkey.ClientID)},
			Forced: latchkey.Values{"by": latchkey.ClientID}},
	} {
		t.Run(name, func(t *testing.T) {
			w, n := newStateless(t), n
			schema := latchkey.NewSchema(latchkey.Fields{"customer": {Column: "customer", Type: latchkey.Text},
				"by": {Column: "by", Type: latchkey.Text}, "open": {Column: "open", Type: latchkey.Boolean}})
			page := func(client string) (latchkey.Token, string) {
				n.Stateless, n.Client = true, latchkey.Client{ID: client}
				return w.mint(w.access(w.key), n)
			}
			check := func(a latchkey.Access, client, other string) {
				row := func(customer string) latchkey.Row { return latchkey.Row{"customer": customer, "open": true} }
				mine := latchkey.Where("customer", latchkey.Eq, client)
				if n.Permissions != nil {
					mine = latchkey.All(latchkey.Where("open", latchkey.Eq, true), mine)
				}
				rows, err := a.Filter(latchkey.Read, "orders")
				w.ok(err)
				require.Equal(t, mine.String(), rows.String())
				w.ok(a.CheckRow(latchkey.Read, "orders", schema, row(client)))
				w.is(latchkey.ErrDenied, a.CheckRow(latchkey.Read, "orders", schema, row(other)))
				_, err = a.Prepare(latchkey.Update, "orders", schema, row(client), row(client))
				w.ok(err)
				_, err = a.Prepare(latchkey.Update, "orders", schema, row(other), row(other))
				w.is(latchkey.ErrDenied, err)
				_, err = a.Prepare(latchkey.Create, "orders", schema, nil, row(other))
				w.is(latchkey.ErrDenied, err)
				made, err := a.Prepare(latchkey.Create, "orders", schema, nil, row(client))
				w.ok(err)
				by := map[string]any{"a value": "web", "the client": client}[name]
				require.Equal(t, by, made["by"])
				require.False(t, a.Allows(latchkey.Read, "orders"), "some rows are not all")
				require.False(t, a.AllowsQuestion(latchkey.PrepareQuestion(latchkey.Read, "orders")))
			}
			var texts []string
			for _, client := range []string{"a", "b"} { // the rights become known
				_, text := page(client)
				check(w.access(text), client, map[string]string{"a": "b", "b": "a"}[client])
			}
			loads := w.keys.Stats().Cache.Loads
			for range 2 {
				for _, pair := range [][2]string{{"a", "b"}, {"b", "a"}} {
					_, text := page(pair[0])
					texts = append(texts, text)
					check(w.access(text), pair[0], pair[1])
				}
			}
			known := name != "the client" // their claims differ, and may have the same place
			if known {
				require.Equal(t, loads, w.keys.Stats().Cache.Loads, "they were opened by the rights that are known")
			}
			for range 3 { // seen, cached, and from the cache
				check(w.access(texts[0]), "a", "b")
			}
			for range 3 {
				check(w.access(texts[1]), "b", "a")
			}
			if known {
				require.Equal(t, loads+2, w.keys.Stats().Cache.Loads)
			}
			for i, text := range texts {
				client, other := []string{"a", "b"}[i%2], []string{"b", "a"}[i%2]
				again, err := w.access(text).Again(w.ctx)
				w.ok(err)
				check(again, client, other)
			}
		})
	}
}

// The second use of a text is answered from the cache, and the first one takes no place in it.
func TestAStatelessTokenIsCachedWhenItComesAgain(t *testing.T) {
	w := newStateless(t)
	_, text := w.page("42")
	_, err := w.verify(text)
	w.ok(err) // its rights were not known
	loads := func() int64 { return w.keys.Stats().Cache.Loads }
	before := loads()
	for i := range 50 {
		_, text := w.page(fmt.Sprint(i))
		w.access(text)
	}
	require.Equal(t, before, loads())
	_, text = w.page("43")
	for range 3 {
		w.access(text)
	}
	require.Equal(t, before+1, loads())
	require.Zero(t, w.keys.Stats().Failures["observer"], "there is none")
}

// To mint a stateless token and to open it costs few allocations.
func TestAllocationsOfStatelessTokens(t *testing.T) {
	w := newStateless(t)
	parent := w.access(w.key)
	for range 3 {
		_, text := w.page("42")
		w.access(text)
	}
	n := latchkey.Narrowing{Stateless: true, Client: latchkey.Client{ID: "42"}, Lifetime: time.Hour}
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_, text, err := parent.Mint(w.ctx, n)
		if err == nil {
			_, err = w.keys.Verify(w.ctx, latchkey.Presented{Secret: text.Reveal()})
		}
		if err != nil {
			t.Fatal(err)
		}
	}), 16.0)
}

// loading is a store that does something before it loads a token.
type loading struct {
	latchkey.Store
	before func()
}

func (s *loading) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if do := s.before; do != nil {
		s.before = nil
		do()
	}
	return s.Store.Load(ctx, owner, id)
}

// A token that was revoked is refused also while the process drops what it knew of revocations, because the store's
// feed no longer tells it all.
func TestARevokedStatelessTokenWhileRevocationsAreForgotten(t *testing.T) {
	w := newStateless(t)
	child, text := w.page("42")
	w.ok(w.acme.Revoke(w.ctx, child.ID, ""))
	feed := &rewound{Store: w.store}
	s := &loading{Store: feed}
	m := latchkey.New(s, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
	defer func() { _ = m.Close(context.Background()) }()
	_, key := w.world.key(readAll())
	verify := func(secret string) error {
		_, err := m.Verify(w.ctx, latchkey.Presented{Secret: secret})
		return err
	}
	w.ok(verify(key))
	s.before = func() {
		w.role("another")
		edit := func(f latchkey.Feed) latchkey.Feed { f.Truncated, f.Changes = true, nil; return f }
		feed.edit.Store(&edit)
		w.ok(verify(key))
		feed.edit.Store(nil)
	}
	w.is(latchkey.ErrRevoked, verify(text))
	w.is(latchkey.ErrRevoked, verify(text))
}

// A revocation of a kind that this version does not know is not passed over, wherever it is read.
func TestARevocationOfALaterVersion(t *testing.T) {
	w := newStateless(t)
	s := &laterStore{Store: w.store}
	m := latchkey.New(s, &latchkey.Options{Clock: w.now, Keyring: testKeyring()})
	defer func() { _ = m.Close(context.Background()) }()
	_, text := w.page("42")
	_, err := m.Verify(w.ctx, latchkey.Presented{Secret: text})
	w.ok(err)
	w.ok(revokeAll(w, latchkey.Selector{Client: "43"}))
	s.later.Store(true)
	for range 2 {
		_, err = m.Verify(w.ctx, latchkey.Presented{Secret: text})
		w.is(latchkey.ErrUnavailable, err)
	}
}

// laterStore is a store in which a later version wrote the revocations.
type laterStore struct {
	latchkey.Store
	later atomic.Bool
}

func (s *laterStore) unknown(list []latchkey.Change) []latchkey.Change {
	for i := range list {
		if s.later.Load() && list[i].Kind == latchkey.ChangedRevocation {
			list[i].Of = latchkey.RevokedOwner + 1
		}
	}
	return list
}

func (s *laterStore) Changes(ctx context.Context, id latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	f, err := s.Store.Changes(ctx, id, after, n)
	f.Changes = s.unknown(f.Changes)
	return f, err
}

func (s *laterStore) Revocations(ctx context.Context, q latchkey.RevocationQuery) ([]latchkey.Change, string, error) {
	page, next, err := s.Store.Revocations(ctx, q)
	return s.unknown(page), next, err
}
