package latchkey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestConfigureRefuses(t *testing.T) {
	own := fmt.Errorf("my own")
	for name, c := range map[string]struct {
		edit func(*latchkey.Owner) error
		want error
	}{
		"nothing":        {func(*latchkey.Owner) error { return nil }, nil},
		"the id":         {func(o *latchkey.Owner) error { o.ID = "other"; return nil }, latchkey.ErrInvalid},
		"the version":    {func(o *latchkey.Owner) error { o.Version++; return nil }, latchkey.ErrInvalid},
		"when all ended": {func(o *latchkey.Owner) error { o.Since++; return nil }, latchkey.ErrInvalid},
		"a rule": {func(o *latchkey.Owner) error {
			o.Boundary = latchkey.Permissions{{}}
			return nil
		}, latchkey.ErrInvalid},
		"credits": {func(o *latchkey.Owner) error { o.Limits = monthly(-1); return nil }, latchkey.ErrInvalid},
		"a policy": {func(o *latchkey.Owner) error { o.Policy.MaxIdle = -time.Second; return nil },
			latchkey.ErrInvalid},
		"a time that no store has": {func(o *latchkey.Owner) error {
			o.NotBefore = time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)
			return nil
		}, latchkey.ErrInvalid},
		"much extra": {func(o *latchkey.Owner) error {
			o.Extra = bytes.Repeat([]byte("1"), 1<<20+1)
			return nil
		}, latchkey.ErrInvalid},
		"its own error": {func(o *latchkey.Owner) error { o.Disabled = true; return own }, own},
	} {
		w := newWorld(t)
		before, err := w.acme.Record(w.ctx)
		w.ok(err)
		require.ErrorIs(t, w.acme.Configure(w.ctx, c.edit), c.want, name)
		after, err := w.acme.Record(w.ctx)
		w.ok(err)
		before.Version = after.Version
		assert.Equal(t, before, after, name)
	}
}

// What only the host may do with an owner is refused by name, and nothing changes.
func TestWhatAnActorMayNotConfigure(t *testing.T) {
	w := newWorld(t)
	_, live := w.issue(latchkey.KindSecret, latchkey.Settings{})
	_, test, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	w.ok(err)
	access, err := w.keys.Verify(w.ctx, latchkey.Presented{Secret: test.Reveal(), Test: true})
	w.ok(err)
	actor, tester := mustAs(w, w.access(live)), mustAs(w, access)
	w.configure(func(o *latchkey.Owner) { o.NotBefore = w.now().Add(-time.Hour) })
	before := must(w.acme.Record(w.ctx))
	configure := func(a latchkey.Account, edit func(*latchkey.Owner)) error {
		return a.Configure(w.ctx, func(o *latchkey.Owner) error { edit(o); return nil })
	}
	for name, err := range map[string]error{
		"a test token": configure(tester, func(o *latchkey.Owner) { o.Disabled = true }),
		"revives": configure(actor, func(o *latchkey.Owner) {
			o.NotBefore = o.NotBefore.Add(-time.Microsecond)
		}),
		"boundary": configure(actor, func(o *latchkey.Owner) { o.Boundary = latchkey.Permissions{} }),
		"limits":   configure(actor, func(o *latchkey.Owner) { o.Limits = monthly(1) }),
		"policy":   configure(actor, func(o *latchkey.Owner) { o.Policy.Tokens = 1 }),
	} {
		require.Equal(t, &latchkey.DeniedError{Action: latchkey.Update, Resource: "latchkey/owner"}, err, name)
	}
	require.Equal(t, &latchkey.DeniedError{Action: latchkey.Delete, Resource: "latchkey/owner"}, actor.Erase(w.ctx))
	require.Equal(t, before, must(w.acme.Record(w.ctx)))
	w.ok(configure(actor, func(o *latchkey.Owner) { o.NotBefore = o.NotBefore.Add(time.Microsecond) }))
}

func TestTwoConfigureAFreshOwner(t *testing.T) {
	w := newWorld(t)
	calls := 0
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		if calls++; calls == 1 {
			w.configure(func(o *latchkey.Owner) { o.Disabled = true })
		}
		o.Extra = []byte("{}")
		return nil
	}))
	got, err := w.acme.Record(w.ctx)
	w.ok(err)
	assert.True(t, got.Disabled)
	assert.Equal(t, 2, calls)
}

// Erase restarts the versions of an owner's record: a version seen before may then stand for other content.
func TestABoundaryAfterErase(t *testing.T) {
	w := newWorld(t)
	bound := func(on latchkey.Pattern) {
		w.configure(func(o *latchkey.Owner) {
			o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on)}
		})
	}
	bound("*")
	_, before := w.issue(latchkey.KindSecret, latchkey.Settings{})
	require.True(t, w.access(before).Allows(latchkey.Read, "x"))
	w.ok(w.acme.Erase(w.ctx))
	bound("a")
	_, after := w.issue(latchkey.KindSecret, latchkey.Settings{})
	assert.False(t, w.access(after).Allows(latchkey.Read, "x"))
	assert.True(t, w.access(after).Allows(latchkey.Read, "a"))
}

// Mass revocation ends what was committed before it, whatever any clock showed. What is made afterwards works on every
// node.
func TestMassRevocation(t *testing.T) {
	for _, off := range []time.Duration{0, 30 * time.Second, 59 * time.Second, -59 * time.Second} {
		for _, ago := range []time.Duration{0, time.Second, 90 * time.Second} {
			t.Run(fmt.Sprint(off, " ", ago), func(t *testing.T) {
				c := newClocks(t)
				here, _ := c.node(-off)
				there, _ := c.node(off)
				_, other, err := there.For("globex").Issue(c.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
				require.NoError(t, err)
				for round := range 3 { // without a record, and with one
					_, before := c.issue(there, latchkey.Settings{})
					_, mine := c.issue(here, latchkey.Settings{})
					_, child, err := c.access(there, before).Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Hour})
					require.NoError(t, err)
					require.NoError(t, c.endAll(here, c.true.Add(max(-off, 0)-ago))) // what it may take for now
					for _, m := range []*latchkey.Manager{here, there} {
						require.ErrorIs(t, c.verify(m, before), latchkey.ErrRevoked)
						require.ErrorIs(t, c.verify(m, mine), latchkey.ErrRevoked)
						require.ErrorIs(t, c.verify(m, child.Reveal()), latchkey.ErrRevoked)
						require.NoError(t, c.verify(m, other.Reveal()))
					}
					for _, m := range []*latchkey.Manager{here, there} {
						_, after := c.issue(m, latchkey.Settings{})
						_, child, err := c.access(m, after).Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Hour})
						require.NoError(t, err)
						for _, n := range []*latchkey.Manager{here, there} {
							require.NoError(t, c.verify(n, after), "success is a token that works: round %d", round)
							require.NoError(t, c.verify(n, child.Reveal()))
						}
					}
					// Other settings leave it alone.
					require.NoError(t, here.For("acme").Configure(c.ctx, func(o *latchkey.Owner) error {
						o.Extra = []byte("1")
						return nil
					}))
					c.turn(time.Second + time.Duration(round)*time.Minute)
				}
			})
		}
	}
}

// A NotBefore in the past ends the tokens that were made before it.
func TestMassRevocationAtAPastTime(t *testing.T) {
	c := newClocks(t)
	m, _ := c.node(0)
	_, early := c.issue(m, latchkey.Settings{})
	c.turn(time.Hour)
	_, late := c.issue(m, latchkey.Settings{})
	c.turn(time.Hour)
	require.NoError(t, c.endAll(m, c.true.Add(-90*time.Minute)))
	require.ErrorIs(t, c.verify(m, early), latchkey.ErrRevoked)
	require.NoError(t, c.verify(m, late))
	o, err := m.For("acme").Record(c.ctx)
	require.NoError(t, err)
	require.Zero(t, o.Since)

	require.NoError(t, c.endAll(m, c.true))
	require.ErrorIs(t, c.verify(m, late), latchkey.ErrRevoked)
	_, last := c.issue(m, latchkey.Settings{})
	c.turn(time.Hour)
	require.NoError(t, c.endAll(m, c.true.Add(-30*time.Minute)), "forward, and not to now: who is dead stays so")
	require.ErrorIs(t, c.verify(m, late), latchkey.ErrRevoked)
	require.ErrorIs(t, c.verify(m, last), latchkey.ErrRevoked)
	require.NoError(t, c.endAll(m, c.true.Add(-70*time.Minute)), "moved back it revives")
	require.NoError(t, c.verify(m, last))
	require.ErrorIs(t, c.verify(m, late), latchkey.ErrRevoked)
	require.NoError(t, c.endAll(m, time.Time{}))
	require.NoError(t, c.verify(m, early))

	forge := func(o *latchkey.Owner) error { o.Since = 0; o.Since++; return nil }
	require.ErrorIs(t, m.For("acme").Configure(c.ctx, forge),
		latchkey.ErrInvalid, "Since is for reading")
}

// A NotBefore in the future is refused, so that no new token is dead.
func TestNotBeforeInTheFuture(t *testing.T) {
	c := newClocks(t)
	m, _ := c.node(0)
	for _, ahead := range []time.Duration{time.Microsecond, time.Second, 5 * time.Minute, 1000 * time.Hour} {
		require.ErrorIs(t, c.endAll(m, c.true.Add(ahead)), latchkey.ErrInvalid)
	}
	_, secret := c.issue(m, latchkey.Settings{})
	require.NoError(t, c.verify(m, secret))
	// A record of an earlier version may have one.
	err := c.store.Write(c.ctx, latchkey.Write{ID: [16]byte{1}, Owner: "acme", At: c.true,
		OwnerRecord: &latchkey.Owner{ID: "acme", NotBefore: c.true.Add(time.Hour)}})
	require.NoError(t, err)
	_, _, err = m.For("acme").Issue(c.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.ErrorIs(t, err, latchkey.ErrInvalid)
	require.NoError(t, m.For("acme").Configure(c.ctx, func(o *latchkey.Owner) error { o.Extra = []byte("1"); return nil }),
		"nothing else is held up by it")
	require.NoError(t, c.endAll(m, c.true))
	_, secret = c.issue(m, latchkey.Settings{})
	require.NoError(t, c.verify(m, secret))
}

// A token made during a mass revocation is refused, or works: it is never dead.
func TestIssueDuringMassRevocation(t *testing.T) {
	for name, make := range map[string]func(c *clocks, m *latchkey.Manager, a latchkey.Access) (string, error){
		"Issue": func(c *clocks, m *latchkey.Manager, _ latchkey.Access) (string, error) {
			_, s, err := m.For("acme").Issue(c.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
			return s.Reveal(), err
		},
		"Import": func(c *clocks, m *latchkey.Manager, _ latchkey.Access) (string, error) {
			_, err := m.For("acme").Import(c.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey}, "text-from-elsewhere")
			return "text-from-elsewhere", err
		},
		"Mint": func(c *clocks, m *latchkey.Manager, a latchkey.Access) (string, error) {
			_, s, err := a.Mint(c.ctx, latchkey.Narrowing{Lifetime: time.Hour})
			return s.Reveal(), err
		},
	} {
		for _, record := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", record), func(t *testing.T) {
				c := newClocks(t)
				imports := func(o *latchkey.Options) { o.Imported = func(string) bool { return true } }
				m, _ := c.node(0, imports)
				fast, _ := c.node(50*time.Second, imports)
				if record {
					require.NoError(t, fast.For("acme").Configure(c.ctx, func(o *latchkey.Owner) error {
						o.Extra = []byte("1")
						return nil
					}))
				}
				_, secret := c.issue(m, latchkey.Settings{})
				a := c.access(m, secret)
				done := c.store.before(func() { require.NoError(t, c.endAll(fast, c.true)) })
				made, err := make(c, m, a)
				require.True(t, done())
				if name == "Mint" {
					require.ErrorIs(t, err, latchkey.ErrRevoked, "its parent is dead")
					return
				}
				require.NoError(t, err)
				require.NoError(t, c.verify(m, made))
				require.NoError(t, c.verify(fast, made))
			})
		}
	}
}

func TestClientsKeepTheNewestName(t *testing.T) {
	w := newWorld(t)
	_, secret := w.key()
	for _, c := range []latchkey.Client{{ID: "42", Name: "Zoë"}, {ID: "7", Name: "Bo"},
		{ID: "42", Name: "Zoë O'Brien"}, {ID: "7"}} {
		w.mint(w.access(secret), latchkey.Narrowing{Client: c})
	}
	var got []latchkey.Client
	for c, err := range w.acme.Clients(w.ctx) {
		w.ok(err)
		got = append(got, c)
	}
	assert.Equal(t, []latchkey.Client{{ID: "42", Name: "Zoë O'Brien"}, {ID: "7", Name: "Bo"}}, got)
	for range w.keys.For("other").Clients(w.ctx) {
		t.Fatal("clients crossed owners")
	}
}

// clientPages is a store that takes no key that a database refuses.
type clientPages struct{ latchkey.Store }

func (s clientPages) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	if p.Limit != 1 || !utf8.ValidString(p.After) || strings.ContainsRune(p.After, 0) {
		return nil, fmt.Errorf("a page of %d after %q", p.Limit, p.After)
	}
	return s.Store.Clients(ctx, owner, p)
}

func TestClientByID(t *testing.T) {
	w := newWorld(t)
	keys := latchkey.New(clientPages{w.store}, &latchkey.Options{Clock: w.now})
	_, secret := w.key()
	long := strings.Repeat("x", 255)
	ids := []string{"42", "4", "421", "42\x01",
		"42\ue000", "42\ud7ff", "41\U0010ffff", "41\U0010ffff\U0010ffff", "é", "\x01",
		long + "1", long + "2", strings.Repeat("\U0010ffff", 64)}
	for i, id := range ids {
		w.mint(w.access(secret), latchkey.Narrowing{Client: latchkey.Client{ID: id, Name: fmt.Sprint("name ", i)}})
	}
	for i, id := range ids {
		c, err := keys.For("acme").Client(w.ctx, id)
		w.ok(err)
		assert.Equal(t, latchkey.Client{ID: id, Name: fmt.Sprint("name ", i)}, c)
		_, err = keys.For("other").Client(w.ctx, id)
		w.is(latchkey.ErrNotFound, err)
	}
	for _, id := range []string{"", "43", "40", "42 ", "42\x02", "\xff", "a\x00", long, long + "11"} {
		_, err := keys.For("acme").Client(w.ctx, id)
		w.is(latchkey.ErrNotFound, err)
	}
	_, weak := w.key(readAll())
	as, err := w.acme.As(w.access(weak))
	w.ok(err)
	_, err = as.Client(w.ctx, "42")
	w.is(latchkey.ErrDenied, err)
}

// An owner that was erased begins again with version 1, and its tokens may have the rights that earlier ones had. Those
// stay gone, also where both would share what is compiled.
func TestTokensOfAnErasedOwnerStayGone(t *testing.T) {
	w := newWorld(t)
	_, before := w.key(latchkey.Allow(latchkey.Read).On("*"))
	w.access(before)
	w.ok(w.acme.Erase(w.ctx))
	_, after := w.key(latchkey.Allow(latchkey.Read).On("*"))
	w.access(after)
	_, err := w.acme.Verify(w.ctx, latchkey.Presented{Secret: before})
	require.ErrorIs(t, err, latchkey.ErrUnknownToken)
}

// The events of a record tell the versions that the record had before and after.
func TestConfigureTellsVersions(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = !o.Disabled; return nil }))
	}
	record, err := w.acme.Record(w.ctx)
	w.ok(err)
	var versions []uint64
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
		w.ok(err)
		for _, text := range []json.RawMessage{e.Before, e.After} {
			var o struct{ Version uint64 }
			w.ok(json.Unmarshal(text, &o))
			versions = append(versions, o.Version)
		}
	}
	require.Equal(t, []uint64{0, 1, 1, 2, 2, 3}, versions)
	require.EqualValues(t, 3, record.Version)
}

// Since goes with NotBefore: it begins with a new one, stays while NotBefore moves on in the past, and ends where
// NotBefore is moved back or taken away.
func TestSinceGoesWithNotBefore(t *testing.T) {
	w := newWorld(t)
	set := func(at time.Time) uint64 {
		w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.NotBefore = at; return nil }))
		o, err := w.acme.Record(w.ctx)
		w.ok(err)
		require.True(t, at.Equal(o.NotBefore))
		return o.Since
	}
	began := w.now()
	require.EqualValues(t, 1, set(began))
	w.turn(2 * time.Hour)
	require.EqualValues(t, 1, set(began.Add(time.Hour)))
	require.EqualValues(t, 3, set(w.now()))
	require.EqualValues(t, 0, set(began))
	require.EqualValues(t, 5, set(w.now()))
	require.EqualValues(t, 0, set(time.Time{}))

	// Two machines may be two minutes apart: what is now for one lies back as far for the other.
	require.EqualValues(t, 7, set(w.now().Add(-2*time.Minute)))
	require.EqualValues(t, 0, set(w.now().Add(-2*time.Minute-time.Microsecond)))
}

// To take NotBefore away takes no clock: it works while this machine's differs from the store's.
func TestNotBeforeIsTakenAwayByAnyClock(t *testing.T) {
	c := newClocks(t)
	m, _ := c.node(0)
	fast, _ := c.node(24 * time.Hour)
	_, secret := c.issue(m, latchkey.Settings{})
	c.turn(time.Hour)
	require.NoError(t, c.endAll(m, c.true))
	require.ErrorIs(t, c.verify(m, secret), latchkey.ErrRevoked)
	require.ErrorIs(t, c.endAll(fast, c.true.Add(time.Minute)), latchkey.ErrUnavailable)
	require.NoError(t, c.endAll(fast, time.Time{}))
	require.NoError(t, c.verify(m, secret))
}
