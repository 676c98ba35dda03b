package latchkey_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// effects returns what a revision would mean, by the names of tokens: "gains", "loses" or "gains and loses".
func effects(w *world, rev latchkey.Revision) map[string]string {
	w.Helper()
	out := map[string]string{}
	for e, err := range w.acme.Effects(w.ctx, rev) {
		w.ok(err)
		require.NotContains(w, out, e.Token.Name, "listed twice")
		switch {
		case e.Gains && e.Loses:
			out[e.Token.Name] = "gains and loses"
		case e.Gains:
			out[e.Token.Name] = "gains"
		default:
			require.True(w, e.Loses, e.Token.Name)
			out[e.Token.Name] = "loses"
		}
	}
	return out
}

func TestEffectsOfRevisions(t *testing.T) {
	w := newWorld(t)
	read := latchkey.Allow(latchkey.Read).On("dataset/*")
	write := latchkey.Allow(latchkey.Update).On("dataset/*")
	mine := func(v any) latchkey.Rule {
		return latchkey.Allow(latchkey.Delete).On("dataset/*").Where(latchkey.Where("by", latchkey.Eq, v))
	}
	own := latchkey.Allow(latchkey.Read).On("user/{*client}/*")
	forced := latchkey.Allow(latchkey.Create).On("note").Force(map[string]any{"by": latchkey.Self})
	viewer := w.role("viewer", read, mine(latchkey.Self), own, forced)
	editor, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "editor", Inherits: []string{viewer.ID},
		Permissions: latchkey.Permissions{write}})
	w.ok(err)
	other := w.role("other", read)
	spare := w.role("spare", write)
	issue := func(name string, roles []string, change func(*latchkey.Settings)) latchkey.Token {
		s := latchkey.Settings{Name: name, Roles: roles}
		if change != nil {
			change(&s)
		}
		tok, _ := w.issue(latchkey.KindAPIKey, s)
		return tok
	}
	issue("view", []string{viewer.ID}, nil)
	issue("edit", []string{editor.ID}, nil)
	issue("other", []string{other.ID}, nil)
	issue("both", []string{viewer.ID, other.ID}, nil)
	issue("off", []string{viewer.ID}, func(s *latchkey.Settings) { s.Disabled = true })
	issue("later", []string{viewer.ID}, func(s *latchkey.Settings) { s.Validity.NotBefore = w.now().Add(time.Hour) })
	issue("all", []string{viewer.ID}, func(s *latchkey.Settings) {
		s.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	})
	issue("lent", []string{other.ID, viewer.ID}, func(s *latchkey.Settings) {
		s.RoleEnds = map[string]time.Time{viewer.ID: w.now().Add(30 * time.Minute)}
	})
	issue("over", []string{viewer.ID}, func(s *latchkey.Settings) { s.Validity.NotAfter = w.now().Add(time.Minute) })
	issue("off and over", []string{viewer.ID}, func(s *latchkey.Settings) {
		s.Validity.NotAfter, s.Disabled = w.now().Add(time.Minute), true
	})
	gone := issue("revoked", []string{viewer.ID}, nil)
	w.ok(w.acme.Revoke(w.ctx, gone.ID, ""))
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{Name: "root"})
	_, _, err = w.access(root).Mint(w.ctx, latchkey.Narrowing{Name: "minted", Roles: []string{viewer.ID},
		Lifetime: time.Hour})
	w.ok(err)
	w.turn(2 * time.Minute)

	with := func(r latchkey.Role, rules ...latchkey.Rule) latchkey.Revision {
		r.Permissions = rules
		return latchkey.Revision{Roles: []latchkey.Role{r}}
	}
	all := func(what string) map[string]string {
		return map[string]string{"view": what, "edit": what, "both": what, "off": what, "later": what, "lent": what}
	}
	for name, c := range map[string]struct {
		rev  latchkey.Revision
		want map[string]string
	}{
		"nothing":           {latchkey.Revision{}, map[string]string{}},
		"the same rules":    {with(viewer, read, mine(latchkey.Self), own, forced), map[string]string{}},
		"in another order":  {with(viewer, own, forced, mine(latchkey.Self), read), map[string]string{}},
		"one more rule":     {with(viewer, read, mine(latchkey.Self), own, forced, write), without(all("gains"), "edit")},
		"one rule less":     {with(viewer, read, own, forced), all("loses")},
		"another reference": {with(viewer, read, mine(latchkey.ClientID), own, forced), all("gains and loses")},
		"a reference for every row": {with(viewer, read, own, forced,
			latchkey.Allow(latchkey.Delete).On("dataset/*")), all("gains")},
		"the client's part of a path": {with(viewer, read, mine(latchkey.Self), forced,
			latchkey.Allow(latchkey.Read).On("user/{*client}/a")), all("loses")},
		"a value that is no longer forced": {with(viewer, read, mine(latchkey.Self), own,
			latchkey.Allow(latchkey.Create).On("note")), all("gains")},
		"what another role gives as well": {with(viewer, mine(latchkey.Self), own, forced),
			without(all("loses"), "both", "lent")},
		"a deny at the end": {with(viewer, read, mine(latchkey.Self), own, forced,
			latchkey.Deny(latchkey.Read).On("dataset/payroll")), without(all("loses"), "both", "lent")},
		"a role that is deleted": {latchkey.Revision{Deleted: []string{other.ID}}, map[string]string{"other": "loses"}},
		"a new role that is inherited": {latchkey.Revision{Roles: []latchkey.Role{
			{ID: "new", Name: "base", Permissions: latchkey.Permissions{write}},
			{ID: other.ID, Name: "other", Permissions: other.Permissions, Inherits: []string{"new"}}}},
			map[string]string{"other": "gains", "both": "gains", "lent": "gains"}},
		"a stored role that is inherited": {latchkey.Revision{Roles: []latchkey.Role{
			{ID: other.ID, Name: "other", Permissions: other.Permissions, Inherits: []string{spare.ID}}}},
			map[string]string{"other": "gains", "both": "gains", "lent": "gains"}},
		"roles that would inherit each other": {latchkey.Revision{Roles: []latchkey.Role{
			{ID: viewer.ID, Name: "viewer", Permissions: viewer.Permissions, Inherits: []string{other.ID}},
			{ID: other.ID, Name: "other", Permissions: other.Permissions, Inherits: []string{viewer.ID}}}},
			with2(all("gains and loses"), "other", "gains and loses", "all", "gains")}, // it cannot be compared
		"a role that nobody has": {latchkey.Revision{Roles: []latchkey.Role{
			{ID: "new", Name: "base", Permissions: latchkey.Permissions{write}}}}, map[string]string{}},
		"a boundary": {latchkey.Revision{SetBoundary: true,
			Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/*")}},
			with2(all("loses"), "root", "loses", "all", "loses")},
		"a boundary of all but named actions": {latchkey.Revision{SetBoundary: true,
			Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}},
			map[string]string{"root": "loses"}}, // it has Give without a rule
		"a boundary beyond all": {latchkey.Revision{SetBoundary: true, Boundary: latchkey.Permissions{
			latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}}, map[string]string{}},
		"an empty boundary": {latchkey.Revision{SetBoundary: true, Boundary: latchkey.Permissions{}},
			with2(all("loses"), "root", "loses", "all", "loses", "other", "loses")},
		"a boundary that is not set": {latchkey.Revision{Boundary: latchkey.Permissions{}}, map[string]string{}},
	} {
		require.Equal(t, c.want, effects(w, c.rev), name)
	}

	w.turn(time.Hour) // the lent role is over
	require.Equal(t, without(all("loses"), "lent"), effects(w, with(viewer, read, own, forced)))
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.NotBefore = w.now(); return nil }))
	require.Empty(t, effects(w, with(viewer)), "all were ended")
}

func without(m map[string]string, names ...string) map[string]string {
	for _, n := range names {
		delete(m, n)
	}
	return m
}

// with2 adds pairs of a name and an effect.
func with2(m map[string]string, pairs ...string) map[string]string {
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func TestEffectsRefuses(t *testing.T) {
	w := newWorld(t)
	role := w.role("viewer", latchkey.Allow(latchkey.Read).On("a"))
	w.key(latchkey.Allow(latchkey.Read).On("a"))
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	first := func(a latchkey.Account, rev latchkey.Revision) error {
		for _, err := range a.Effects(w.ctx, rev) {
			return err
		}
		return nil
	}
	for name, rev := range map[string]latchkey.Revision{
		"two roles for one id":    {Roles: []latchkey.Role{role, role}},
		"changed and deleted":     {Roles: []latchkey.Role{role}, Deleted: []string{role.ID}},
		"no id":                   {Roles: []latchkey.Role{{Name: "a"}}},
		"a role of the program":   {Roles: []latchkey.Role{{ID: "code:a", Name: "a"}}},
		"no name":                 {Roles: []latchkey.Role{{ID: "a"}}},
		"a boundary of no sense":  {SetBoundary: true, Boundary: latchkey.Permissions{{}}},
		"a role that is two ways": {Deleted: []string{role.ID, role.ID}},
	} {
		require.ErrorIs(t, first(w.acme, rev), latchkey.ErrInvalid, name)
	}
	actor, err := w.acme.As(w.access(root))
	w.ok(err)
	require.Equal(t, &latchkey.DeniedError{Action: latchkey.Read, Resource: "latchkey/owner"},
		first(actor, latchkey.Revision{}))
	w.ok(first(w.acme, latchkey.Revision{}))
}

// Tokens of each kind that is issued are among them.
func TestEffectsOfEachKind(t *testing.T) {
	w := newWorld(t)
	want := map[string]string{}
	for _, kind := range []latchkey.Kind{latchkey.KindSecret, latchkey.KindPublishable, latchkey.KindAPIKey,
		latchkey.KindSession} {
		s := latchkey.Settings{Name: kind.String(), Permissions: latchkey.Permissions{readAll()}}
		if kind == latchkey.KindSecret {
			s.Permissions = nil // it may do everything
		}
		w.issue(kind, s)
		want[s.Name] = "loses"
	}
	require.Equal(t, want, effects(w, latchkey.Revision{SetBoundary: true, Boundary: latchkey.Permissions{}}))
}

// More tokens than a page of the store has. Each role is read once, also one that is gone.
func TestEffectsOfManyTokens(t *testing.T) {
	w := newWorld(t)
	base := w.role("base")
	base.Inherits = []string{"gone"}
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: []latchkey.Role{base}}))
	const n = 1003
	for range n {
		w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{base.ID}})
	}
	base.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("data")}
	seen, calls := map[string]bool{}, map[string]int{}
	store := &latchkeytest.Store{Store: w.store}
	store.Fail(func(call string) error { calls[call]++; return nil })
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	for e, err := range keys.For("acme").Effects(w.ctx, latchkey.Revision{Roles: []latchkey.Role{base}}) {
		w.ok(err)
		require.True(t, e.Gains)
		require.False(t, seen[e.Token.ID])
		seen[e.Token.ID] = true
	}
	require.Len(t, seen, n)
	require.Equal(t, map[string]int{"Owner": 1, "Tokens": 2, "Role": 2}, calls)
	w.ok(keys.Close(w.ctx))
}

// What a revision leaves alone is not told of, also where it could not be compared: another program has stored roles
// that inherit each other.
func TestEffectsOnOthersAreNone(t *testing.T) {
	w := newWorld(t)
	one, two, other := w.role("one", readAll()), w.role("two"), w.role("other", readAll())
	one.Inherits, two.Inherits = []string{two.ID}, []string{one.ID}
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "in a ring", Roles: []string{one.ID}})
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "other", Roles: []string{other.ID}})
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: []latchkey.Role{one, two}}))
	require.Equal(t, map[string]string{"other": "loses"}, effects(w, latchkey.Revision{Deleted: []string{other.ID}}))
	two.Permissions = latchkey.Permissions{readAll()}
	require.Equal(t, map[string]string{"in a ring": "gains and loses"},
		effects(w, latchkey.Revision{Roles: []latchkey.Role{two}}))
}

// What the owner's boundary keeps back, a revision of a role does not give.
func TestEffectsWithinTheBoundary(t *testing.T) {
	w := newWorld(t)
	role := w.role("viewer", latchkey.Allow(latchkey.Read).On("a"))
	tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a", "b")}
		return nil
	}))
	for on, gains := range map[latchkey.Pattern]bool{"a": false, "b": true, "c": false} {
		later := role
		later.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a", on)}
		var of []string
		for e, err := range w.acme.Effects(w.ctx, latchkey.Revision{Roles: []latchkey.Role{later}}) {
			w.ok(err)
			require.Equal(t, []bool{true, false}, []bool{e.Gains, e.Loses})
			of = append(of, e.Token.ID)
		}
		require.Equal(t, gains, len(of) == 1, "%s: %v", on, of)
		if gains {
			require.Equal(t, tok.ID, of[0])
		}
	}
}

// A boundary may become another one. The same rules mean nothing new.
func TestEffectsOfAnotherBoundary(t *testing.T) {
	w := newWorld(t)
	bounds := func(on ...latchkey.Pattern) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on...)}
	}
	w.configure(func(o *latchkey.Owner) { o.Boundary = bounds("a", "b") })
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "key", Permissions: bounds("a", "b", "c")})
	for effect, later := range map[string]latchkey.Permissions{
		"":                bounds("a", "b"),
		"loses":           bounds("a"),
		"gains":           nil,
		"gains and loses": bounds("a", "c"),
	} {
		require.Equal(t, effect, effects(w, latchkey.Revision{SetBoundary: true, Boundary: later})["key"])
	}
}

// A store that is lost ends the iteration, whatever was asked of it. A role that cannot be read does not, whether a
// token has it or would have it.
func TestEffectsOfALostStore(t *testing.T) {
	w := newHalfway(t)
	acme := w.keys.For("acme")
	for range 3 {
		_, _, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"reader"}})
		require.NoError(t, err)
	}
	base, err := acme.Role(t.Context(), w.base)
	require.NoError(t, err)
	base.Permissions, base.Inherits = nil, []string{w.unused}
	rev := latchkey.Revision{Roles: []latchkey.Role{base}}
	for _, lost := range []string{"Owner", "Tokens", "Role"} {
		w.store.Fail(func(call string) error {
			if call == lost {
				return latchkey.ErrUnavailable
			}
			return nil
		})
		failed := 0
		for e, err := range acme.Effects(t.Context(), rev) {
			require.ErrorIs(t, err, latchkey.ErrUnavailable)
			require.False(t, e.Gains || e.Loses)
			failed++
		}
		require.Equal(t, 1, failed, lost)
	}
	w.store.Fail(nil)
	for _, damaged := range []string{w.reader, w.unused} {
		keys := latchkey.New(&damagedRecords{Store: w.store, role: damaged}, &latchkey.Options{Clock: w.now})
		failed := 0
		for e, err := range keys.For("acme").Effects(t.Context(), rev) {
			var of *latchkey.DamagedError
			require.ErrorAs(t, err, &of)
			require.Equal(t, damaged, of.ID)
			require.NotEmpty(t, e.Token.ID)
			require.False(t, e.Gains || e.Loses)
			failed++
		}
		require.Greater(t, failed, 2)
		require.NoError(t, keys.Close(t.Context()))
	}
}

// A token that cannot be read is yielded with an error, and the iteration goes on with the next. A loop may end there.
func TestEffectsGoOnAfterADamagedToken(t *testing.T) {
	w := newWorld(t)
	role := w.role("viewer", readAll())
	var tokens []string
	for range 3 {
		token, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
		tokens = append(tokens, token.ID)
	}
	keys := latchkey.New(&damagedRecords{Store: w.store, token: tokens[1]}, &latchkey.Options{Clock: w.now})
	rev := latchkey.Revision{Deleted: []string{role.ID}}
	var got []string
	for e, err := range keys.For("acme").Effects(w.ctx, rev) {
		got = append(got, e.Token.ID)
		if e.Token.ID != tokens[1] {
			w.ok(err)
			require.True(t, e.Loses && !e.Gains)
			continue
		}
		var damaged *latchkey.DamagedError
		require.ErrorAs(t, err, &damaged)
		require.Equal(t, tokens[1], damaged.ID)
		require.False(t, e.Loses || e.Gains)
	}
	require.Equal(t, tokens, got)
	for range keys.For("acme").Effects(w.ctx, rev) {
		break
	}
	w.ok(keys.Close(w.ctx))
}

// Once the context has ended nothing is compared: there is an error, and no answer.
func TestEffectsEndWithTheContext(t *testing.T) {
	w := newWorld(t)
	role := w.role("viewer", readAll())
	for range 2 {
		w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	}
	ctx, cancel := context.WithCancel(w.ctx)
	keys := latchkey.New(&roleThen{w.store, cancel}, &latchkey.Options{Clock: w.now})
	yields := 0
	for _, err := range keys.For("acme").Effects(ctx, latchkey.Revision{Deleted: []string{role.ID}}) {
		w.is(context.Canceled, err)
		w.is(latchkey.ErrUnavailable, err)
		yields++
	}
	require.Equal(t, 1, yields)
	w.ok(keys.Close(w.ctx))
}

// roleThen is a store that does something once it has read a role.
type roleThen struct {
	latchkey.Store
	then func()
}

func (s *roleThen) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	defer s.then()
	return s.Store.Role(ctx, owner, id)
}

// The caller may change its revision as soon as the loop has begun.
func TestEffectsOfARevisionThatTheCallerChanges(t *testing.T) {
	w := newWorld(t)
	role := w.role("viewer", readAll())
	for _, on := range []latchkey.Pattern{"a", "b"} { // tokens that are compared each by itself
		w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID},
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Update).On(on)}})
	}
	fewer := func() latchkey.Permissions { return latchkey.Permissions{latchkey.Allow(latchkey.Read).On("x")} }
	role.Permissions = fewer()
	for _, rev := range []latchkey.Revision{{Roles: []latchkey.Role{role}}, {SetBoundary: true, Boundary: fewer()}} {
		n := 0
		for e, err := range w.acme.Effects(w.ctx, rev) {
			w.ok(err)
			require.True(t, e.Loses && !e.Gains)
			n++
			for _, p := range []latchkey.Permissions{rev.Boundary, role.Permissions} {
				if len(p) > 0 {
					p[0] = latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")
				}
			}
		}
		require.Equal(t, 2, n)
	}
}

// The store is asked for the tokens that are not over by now, and for no others.
func TestEffectsReadWhatIsNotOver(t *testing.T) {
	w := newWorld(t)
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "over",
		Validity: latchkey.Validity{NotAfter: w.now().Add(time.Minute)}})
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "works"})
	w.turn(time.Minute)
	store := &listedTokens{Store: w.store}
	keys := latchkey.New(store, &latchkey.Options{Clock: w.now})
	for range keys.For("acme").Effects(w.ctx, latchkey.Revision{}) {
		require.Fail(t, "the revision is empty")
	}
	require.Equal(t, []string{"works"}, store.names)
	w.ok(keys.Close(w.ctx))
}

// listedTokens is a store that keeps the names of the tokens that it lists.
type listedTokens struct {
	latchkey.Store
	names []string
}

func (s *listedTokens) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	list, err := s.Store.Tokens(ctx, owner, q)
	for _, t := range list {
		s.names = append(s.names, t.Name)
	}
	return list, err
}
