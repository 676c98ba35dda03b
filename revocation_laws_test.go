package latchkey_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// endingWorld is a Manager that changes things, and one of another process that follows. Both cache what they can.
type endingWorld struct {
	*world
	*rand.Rand
	follower *latchkey.Manager
	seen     map[string]int // by event: how often the follower still accepted within MaxStale
	ended    []string       // secrets that nothing brings back
	code     string         // what is to be told if a check fails
}

// lineage is a token and what was minted from it, all with one client.
type lineage struct {
	client   string
	role     latchkey.Role // of the root
	subjects []*ender      // the root, the child, the child's child, and a stateless one of the root
}

// ender is a token of a lineage.
type ender struct {
	id, secret string
	above      []*ender  // itself and its ancestors
	until      time.Time // zero: it has no end
}

const (
	lawStale   = 2 * time.Second
	theRoot    = 0
	theChild   = 1
	childsOwn  = 2
	ofNoRecord = 3
)

// accepts says whether a Manager lets a token read. Any refusal counts, and a failure of the store does not.
func (w *endingWorld) accepts(keys *latchkey.Manager, secret string) bool {
	w.Helper()
	a, err := keys.Verify(w.ctx, latchkey.Presented{Secret: secret})
	if err != nil {
		require.True(w, errors.Is(err, latchkey.ErrInvalidToken) || errors.Is(err, latchkey.ErrDenied), "%s: %v", w.code, err)
		return false
	}
	return a.Allows(latchkey.Read, "data/x")
}

func (w *endingWorld) newLineage() *lineage {
	w.Helper()
	name := func(prefix string) string { return prefix + " " + w.givenID() }
	l := &lineage{client: name("client")}
	l.role = w.role(name("root"), latchkey.Allow(latchkey.Read).On("data/*"))
	root, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{l.role.ID},
		Client: latchkey.Client{ID: l.client}})
	w.ok(err)
	add := func(t latchkey.Token, secret string, above ...*ender) *ender {
		s := &ender{id: t.ID, secret: secret, until: t.Validity.NotAfter}
		s.above = append([]*ender{s}, above...)
		l.subjects = append(l.subjects, s)
		return s
	}
	top := add(root, secret.Reveal())
	const long = 1000 * time.Hour
	middle, text := w.mint(w.access(top.secret), latchkey.Narrowing{Lifetime: long})
	child := add(middle, text, top)
	low, text := w.mint(w.access(child.secret), latchkey.Narrowing{Lifetime: long})
	add(low, text, child, top)
	free, text := w.mint(w.access(top.secret), latchkey.Narrowing{Stateless: true, Lifetime: 20 * time.Minute})
	add(free, text, top)
	return l
}

// of returns the subjects that end with one of them.
func (l *lineage) of(ends ...*ender) (list []*ender) {
	for _, s := range l.subjects {
		if slices.ContainsFunc(s.above, func(above *ender) bool { return slices.Contains(ends, above) }) {
			list = append(list, s)
		}
	}
	return list
}

// ending is something that ends tokens.
type ending struct {
	name string
	// do does it, and returns what has ended, and how to bring it back: nil, it cannot be.
	do func(w *endingWorld, l *lineage) (ended []*ender, undo func())
	// clock reports that time ends the tokens, which do has let pass. No process may be late then.
	clock bool
}

// stored returns a token of a lineage that has a record.
func (w *endingWorld) stored(l *lineage) *ender { return l.subjects[w.IntN(3)] }

func (w *endingWorld) edit(s *ender, f func(*latchkey.Token)) {
	w.Helper()
	_, err := w.acme.Update(w.ctx, s.id, func(t *latchkey.Token) error { f(t); return nil })
	w.ok(err)
}

// told lets the follower hear of what has changed so far.
func (w *endingWorld) told(l *lineage) {
	w.turn(lawStale + time.Millisecond)
	for _, s := range l.subjects {
		w.accepts(w.follower, s.secret)
	}
}

var endings = []ending{
	{name: "disabled", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		w.edit(s, func(t *latchkey.Token) { t.Disabled = true })
		return l.of(s), func() { w.edit(s, func(t *latchkey.Token) { t.Disabled = false }) }
	}},
	{name: "revoked", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		w.ok(w.acme.Revoke(w.ctx, s.id, "a law"))
		return l.of(s), nil
	}},
	{name: "deleted", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		w.ok(w.acme.Delete(w.ctx, s.id))
		return l.of(s), nil
	}},
	{name: "the parent revoked", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.ok(w.acme.Revoke(w.ctx, l.subjects[theRoot].id, ""))
		return l.subjects, nil
	}},
	{name: "the parent deleted", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.ok(w.acme.Delete(w.ctx, l.subjects[theRoot].id))
		return l.subjects, nil
	}},
	{name: "an end that is set to the past", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		w.edit(s, func(t *latchkey.Token) { t.Validity.NotAfter = w.now().Add(-time.Second) })
		return l.of(s), nil
	}},
	{name: "expired", clock: true, do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		w.edit(s, func(t *latchkey.Token) { t.Validity.NotAfter = w.now().Add(time.Minute) })
		w.told(l)
		w.turn(time.Minute)
		return l.of(s), nil
	}},
	{name: "a stateless one expired", clock: true, do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.turn(20 * time.Minute)
		return l.subjects[ofNoRecord:], nil
	}},
	{name: "idle", clock: true, do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		w.edit(s, func(t *latchkey.Token) { t.Validity.Idle = time.Minute })
		w.told(l)
		w.turn(2 * time.Minute)
		return l.of(s), nil
	}},
	{name: "the end of a role", clock: true, do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.edit(l.subjects[theRoot], func(t *latchkey.Token) {
			t.RoleEnds = map[string]time.Time{l.role.ID: w.now().Add(time.Minute)}
		})
		w.told(l)
		w.turn(time.Minute)
		return l.subjects, nil
	}},
	{name: "a role edited", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.editRole(l.role, func(r *latchkey.Role) { r.Permissions = nil })
		return l.subjects, func() {
			w.editRole(l.role, func(r *latchkey.Role) { r.Permissions = latchkey.Permissions{readAll()} })
		}
	}},
	{name: "a role taken away", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		root := l.subjects[theRoot]
		w.edit(root, func(t *latchkey.Token) { t.Roles = nil })
		return l.subjects, func() { w.edit(root, func(t *latchkey.Token) { t.Roles = []string{l.role.ID} }) }
	}},
	{name: "a role deleted", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		// Only a minted token may still name it.
		root := l.subjects[theRoot]
		lent := w.role("lent "+w.givenID(), readAll())
		w.edit(root, func(t *latchkey.Token) { t.Roles = append(t.Roles, lent.ID) })
		minted, secret := w.mint(w.access(root.secret), latchkey.Narrowing{Roles: []string{lent.ID}})
		w.living([]*ender{{id: minted.ID, secret: secret}})
		w.edit(root, func(t *latchkey.Token) { t.Roles = []string{l.role.ID} })
		w.ok(w.acme.DeleteRole(w.ctx, lent.ID))
		return []*ender{{id: minted.ID, secret: secret}}, nil
	}},
	{name: "the client erased", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.ok(w.acme.EraseClient(w.ctx, l.client))
		return l.subjects, nil
	}},
	{name: "the client's tokens revoked", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		swept, err := w.acme.RevokeAll(w.ctx, latchkey.Selector{Client: l.client}, "a law")
		w.ok(err)
		require.Positive(w, swept.Done)
		return l.subjects, nil
	}},
	{name: "the role's tokens revoked", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		_, err := w.acme.RevokeAll(w.ctx, latchkey.Selector{Role: l.role.ID}, "")
		w.ok(err)
		return l.subjects, nil
	}},
	{name: "the children revoked", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		_, err := w.acme.RevokeAll(w.ctx, latchkey.Selector{Parent: l.subjects[theRoot].id}, "")
		w.ok(err)
		return append(l.of(l.subjects[theChild]), l.subjects[ofNoRecord]), nil
	}},
	{name: "the client's tokens disabled", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		keys := []latchkey.Kind{latchkey.KindAPIKey}
		_, err := w.acme.DisableAll(w.ctx, latchkey.Selector{Client: l.client, Kinds: keys}, "")
		w.ok(err)
		return l.subjects, func() { w.edit(l.subjects[theRoot], func(t *latchkey.Token) { t.Disabled = false }) }
	}},
	{name: "a stateless one revoked", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.ok(w.acme.Revoke(w.ctx, l.subjects[ofNoRecord].id, ""))
		return l.subjects[ofNoRecord:], nil
	}},
	{name: "the owner off", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.configure(func(o *latchkey.Owner) { o.Disabled = true })
		return l.subjects, func() { w.configure(func(o *latchkey.Owner) { o.Disabled = false }) }
	}},
	{name: "the owner's boundary", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.configure(func(o *latchkey.Owner) { o.Boundary = latchkey.Permissions{} })
		return l.subjects, func() { w.configure(func(o *latchkey.Owner) { o.Boundary = nil }) }
	}},
	{name: "all of the owner revoked", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		w.configure(func(o *latchkey.Owner) { o.NotBefore = w.now() })
		return l.subjects, nil
	}},
	{name: "rotated", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		newer, err := w.acme.Rotate(w.ctx, s.id, 0)
		w.ok(err)
		return w.replaced(l, s, newer), nil
	}},
	{name: "a secret ended", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		secrets, err := w.acme.Secrets(w.ctx, s.id)
		w.ok(err)
		newer, err := w.acme.Rotate(w.ctx, s.id, time.Hour)
		w.ok(err)
		w.told(l)
		require.True(w, w.accepts(w.follower, s.secret), "the old secret works until the overlap is over")
		w.ok(w.acme.EndSecret(w.ctx, s.id, secrets[0].ID, ""))
		return w.replaced(l, s, newer), nil
	}},
	{name: "the overlap over", clock: true, do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		newer, err := w.acme.Rotate(w.ctx, s.id, time.Minute)
		w.ok(err)
		w.told(l)
		require.True(w, w.accepts(w.follower, s.secret), "the old secret works until the overlap is over")
		w.turn(time.Minute)
		return w.replaced(l, s, newer), nil
	}},
	{name: "an address that is not known", do: func(w *endingWorld, l *lineage) ([]*ender, func()) {
		s := w.stored(l)
		w.edit(s, func(t *latchkey.Token) { t.Restrictions.Addresses = prefixes("192.0.2.0/24") })
		return l.of(s), func() { w.edit(s, func(t *latchkey.Token) { t.Restrictions.Addresses = nil }) }
	}},
}

// replaced gives a token its newer secret, and returns a token with the one before, which has ended. What was minted
// with it goes on.
func (w *endingWorld) replaced(l *lineage, s *ender, newer latchkey.Secret) []*ender {
	old := &ender{id: s.id, secret: s.secret}
	s.secret = newer.Reveal()
	return []*ender{old}
}

// Whatever ends a token or what it may do: the process that did it refuses the token at once, and another one within
// MaxStale. What time ends, both refuse at once. What has ended stays so, what has not goes on, and what is brought
// back works again. Each event is seen to bite: both accepted the token just before it, and a process that follows is
// seen to accept it for a moment afterwards, or it would show nothing that it does not.
func TestWhateverEndsATokenEndsItEverywhere(t *testing.T) {
	rounds, seed := 4, uint64(1)
	if os.Getenv("LONG") != "" {
		rounds = 40
	}
	if os.Getenv("SEEDS") != "fixed" {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	base := newWorld(t, func(o *latchkey.Options) { o.MaxStale, o.Keyring = lawStale, testKeyring() })
	w := &endingWorld{world: base, Rand: rand.New(rand.NewPCG(seed, 0)), seen: map[string]int{}}
	o := w.options()
	o.MaxStale, o.Keyring, o.CreditLease = lawStale, testKeyring(), nil
	w.follower = latchkey.New(w.store, &o)
	t.Cleanup(func() { _ = w.follower.Close(context.Background()) })

	var order []ending
	for range rounds {
		order = append(order, endings...)
	}
	w.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var other *lineage // of which nothing ends, unless all of the owner does
	for _, e := range order {
		if other == nil {
			other = w.newLineage()
			other.subjects = other.subjects[:ofNoRecord]
		}
		l := w.newLineage()
		w.code = e.name
		w.living(l.subjects)
		ended, undo := e.do(w, l)
		require.NotEmpty(t, ended, e.name)
		late := false
		for _, s := range ended {
			require.False(t, w.accepts(w.keys, s.secret), "%s: the process that did it accepts the token", e.name)
			late = w.accepts(w.follower, s.secret) || late
		}
		require.False(t, late && e.clock, "%s: a process that follows is late, though time has ended the token", e.name)
		if late {
			w.seen[e.name]++
		}
		w.turn(lawStale + time.Millisecond)
		for _, s := range ended {
			require.False(t, w.accepts(w.follower, s.secret), "%s: another process accepts the token after MaxStale", e.name)
			require.False(t, w.accepts(w.keys, s.secret), e.name)
		}
		if e.name == "all of the owner revoked" {
			w.gone(other.subjects)
			other = nil
		}
		if undo != nil {
			undo()
			w.turn(lawStale + time.Millisecond)
			w.living(ended)
		} else {
			w.gone(ended)
		}
		for _, s := range l.subjects {
			if !slices.Contains(ended, s) {
				w.living([]*ender{s})
			}
		}
		if other != nil {
			w.living(other.subjects)
		}
		for range min(20, len(w.ended)) {
			secret := w.ended[w.IntN(len(w.ended))]
			require.False(t, w.accepts(w.keys, secret), "after %s: what has ended works again", e.name)
			require.False(t, w.accepts(w.follower, secret), "after %s: what has ended works again", e.name)
		}
	}
	for _, e := range endings {
		if e.clock {
			continue
		}
		require.Positive(t, w.seen[e.name], "%s: no process was ever late, so the bound was not tried", e.name)
	}
}

// living asserts that both processes accept tokens whose end has not come.
func (w *endingWorld) living(list []*ender) {
	w.Helper()
	for _, s := range list {
		if !s.until.IsZero() && !w.now().Before(s.until) {
			continue
		}
		require.True(w, w.accepts(w.keys, s.secret), "%s: the process that did it refuses a living token", w.code)
		require.True(w, w.accepts(w.follower, s.secret), "%s: another process refuses a living token", w.code)
	}
}

// gone remembers tokens that nothing brings back.
func (w *endingWorld) gone(list []*ender) {
	for _, s := range list {
		w.ended = append(w.ended, s.secret)
	}
}
