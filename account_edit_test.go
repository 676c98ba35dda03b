package latchkey_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What EditAll does to each kind of token.
func TestEditAll(t *testing.T) {
	w := newWorld(t)
	r, other := w.role("reader", readAll()), w.role("other", readAll())
	day := func(n int) time.Time { return w.now().Add(time.Duration(n) * 24 * time.Hour) }
	ends := func(n int) latchkey.Validity { return latchkey.Validity{NotAfter: day(n)} }
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "endless"})
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "soon", Validity: ends(5), Roles: []string{other.ID}})
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "late", Validity: ends(50), Roles: []string{r.ID}})
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "over", Validity: ends(1)})
	off, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "off", Validity: ends(5)})
	_, secret := w.issue(latchkey.KindSecret, latchkey.Settings{Name: "secret"})
	w.mint(w.access(secret), latchkey.Narrowing{Name: "full", Lifetime: 30 * 24 * time.Hour})
	gone, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "gone", Validity: ends(5)})
	w.ok(w.acme.Revoke(w.ctx, gone.ID, ""))
	w.update(off, func(t *latchkey.Token) { t.Disabled = true })
	w.turn(2 * 24 * time.Hour)
	all := latchkey.Selector{All: true}
	tokens := func() map[string]latchkey.Token {
		out := map[string]latchkey.Token{}
		for t, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{}) {
			w.ok(err)
			out[t.Name] = t
		}
		return out
	}
	before := tokens()

	swept, err := w.acme.EditAll(w.ctx, all, latchkey.Edit{NotAfter: day(10)}, "more time")
	w.ok(err)
	require.Equal(t, 2, swept.Done, "soon and off: not those that end later, never, or have ended")
	require.Zero(t, swept.Refused)
	require.Equal(t, 7, swept.Seen)
	after := tokens()
	for name, tok := range before {
		want := tok.Validity.NotAfter
		if name == "soon" || name == "off" {
			want = day(10)
		}
		require.True(t, want.Equal(after[name].Validity.NotAfter), name)
	}
	for e, err := range w.acme.Events(w.ctx, latchkey.EventQuery{Object: after["soon"].ID, Action: "token.update"}) {
		w.ok(err)
		require.Equal(t, "more time", e.Reason)
	}

	swept, err = w.acme.EditAll(w.ctx, all, latchkey.Edit{AddRoles: []string{"reader"}, DropRoles: []string{"other"}}, "")
	w.ok(err)
	require.Equal(t, 4, swept.Done, "endless, soon, over, off: late has it already")
	require.ElementsMatch(t, []string{after["secret"].ID, after["full"].ID}, swept.RefusedIDs)
	require.Len(t, swept.Reasons, 2)
	for _, why := range swept.Reasons {
		w.is(latchkey.ErrInvalid, why)
	}
	now := tokens()
	require.True(t, now["full"].Full, "it keeps all that it may do")
	for _, name := range []string{"endless", "soon", "over", "off", "late"} {
		require.Equal(t, []string{r.ID}, now[name].Roles, name)
	}
	require.Equal(t, before["gone"], now["gone"])

	swept, err = w.acme.IfVersion(99).EditAll(w.ctx, all, latchkey.Edit{Enable: true}, "")
	w.ok(err)
	require.Equal(t, 1, swept.Done, "IfVersion is about calls that change one record")
	swept, err = w.acme.EditAll(w.ctx, all, latchkey.Edit{Enable: true, NotAfter: day(10),
		DropRoles: []string{other.ID}}, "")
	w.ok(err)
	require.Zero(t, swept.Done, "again changes nothing")
}

func TestEditAllRefuses(t *testing.T) {
	w := newWorld(t)
	r := w.role("reader", readAll())
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
	for name, c := range map[string]struct {
		s      latchkey.Selector
		e      latchkey.Edit
		reason string
		says   string // a part of the error
	}{
		"an edit of nothing":    {s: latchkey.Selector{All: true}},
		"an empty selector":     {e: latchkey.Edit{Enable: true}},
		"an unknown role":       {s: latchkey.Selector{All: true}, e: latchkey.Edit{AddRoles: []string{"nobody"}}},
		"an unknown id to drop": {s: latchkey.Selector{All: true}, e: latchkey.Edit{DropRoles: []string{"nobody"}}},
		"too many roles": {s: latchkey.Selector{All: true}, e: latchkey.Edit{AddRoles: make([]string, 1001)},
			says: "the Edit names more than"},
		"a role in both": {s: latchkey.Selector{All: true}, e: latchkey.Edit{AddRoles: []string{"reader"},
			DropRoles: []string{r.ID}}},
		"more ids than it takes": {s: latchkey.Selector{IDs: make([]string, 1001)}, e: latchkey.Edit{Enable: true},
			says: "Selector.IDs has more than 1000 ids: make several calls"},
		"a long reason": {s: latchkey.Selector{All: true}, e: latchkey.Edit{Enable: true},
			reason: string(make([]byte, 257))},
	} {
		c.s.After = "here" // who goes on from what a refused call says begins at the same place
		swept, err := w.acme.EditAll(w.ctx, c.s, c.e, c.reason)
		require.Equal(t, "here", swept.After, name)
		require.ErrorIs(t, err, latchkey.ErrInvalid, name)
		require.ErrorContains(t, err, c.says, name)
		require.Zero(t, swept.Seen, name)
	}
	_, err := w.acme.EditAll(w.ctx, latchkey.Selector{IDs: make([]string, 1000)}, latchkey.Edit{Enable: true}, "")
	w.ok(err)
}

// A revoked token stays as it was when it was revoked.
func TestEditAllPassesRevokedTokens(t *testing.T) {
	w := newWorld(t)
	r := w.role("reader", readAll())
	gone, _ := w.key(readAll())
	kept, _ := w.key(readAll())
	w.ok(w.acme.Revoke(w.ctx, gone.ID, "over"))
	was, err := w.acme.Get(w.ctx, gone.ID)
	w.ok(err)
	swept, err := w.acme.EditAll(w.ctx, latchkey.Selector{IDs: []string{gone.ID, kept.ID}},
		latchkey.Edit{AddRoles: []string{r.ID}}, "")
	w.ok(err)
	require.Equal(t, []int{1, 0}, []int{swept.Done, swept.Refused})
	is, err := w.acme.Get(w.ctx, gone.ID)
	w.ok(err)
	require.Equal(t, was, is)
	// One that is revoked between the reads and the write does, too.
	revoked := w.store.before(func() { w.ok(w.keys.For("acme").Revoke(w.ctx, kept.ID, "")) })
	swept, err = w.acme.EditAll(w.ctx, latchkey.Selector{All: true}, latchkey.Edit{DropRoles: []string{r.ID}}, "")
	w.ok(err)
	require.True(t, revoked())
	require.Equal(t, []int{0, 0}, []int{swept.Done, swept.Refused})
	is, err = w.acme.Get(w.ctx, kept.ID)
	w.ok(err)
	require.Equal(t, []string{r.ID}, is.Roles)
}

// The owner's policy holds, and so do the rights of the actor: a role that allows more than the actor is not given.
func TestEditAllKeepsToPolicyAndRights(t *testing.T) {
	w := newWorld(t)
	wide := w.role("wide", latchkey.Allow(latchkey.Any).On("*"))
	a, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "a",
		Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	w.configure(func(o *latchkey.Owner) { o.Policy.MaxLifetime = 48 * time.Hour })
	swept, err := w.acme.EditAll(w.ctx, latchkey.Selector{IDs: []string{a.ID}},
		latchkey.Edit{NotAfter: w.now().Add(72 * time.Hour)}, "")
	w.ok(err)
	require.Equal(t, []string{a.ID}, swept.RefusedIDs)
	w.is(latchkey.ErrPolicy, swept.Reasons[0])
	w.is(latchkey.ErrInvalid, swept.Reasons[0])
	swept, err = w.acme.EditAll(w.ctx, latchkey.Selector{IDs: []string{a.ID}},
		latchkey.Edit{NotAfter: w.now().Add(24 * time.Hour)}, "")
	w.ok(err)
	require.Equal(t, 1, swept.Done)

	clerk, err := w.acme.Assume(latchkey.Client{ID: "clerk"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("latchkey/*"), latchkey.Allow(latchkey.Read).On("*")})
	w.ok(err)
	as, err := w.acme.As(clerk)
	w.ok(err)
	swept, err = as.EditAll(w.ctx, latchkey.Selector{All: true}, latchkey.Edit{AddRoles: []string{wide.ID}}, "")
	w.ok(err)
	require.Zero(t, swept.Done)
	require.Equal(t, 1, swept.Refused)
	w.is(latchkey.ErrDenied, swept.Reasons[0])
	reader := w.role("reader", readAll())
	swept, err = as.EditAll(w.ctx, latchkey.Selector{All: true}, latchkey.Edit{AddRoles: []string{reader.ID}}, "")
	w.ok(err)
	require.Equal(t, 1, swept.Done, "what the actor has it may give")
}

// A bounded call says how far it came, and the next one goes on there. The sum is that of one call.
func TestSweepsInBoundedCalls(t *testing.T) {
	for name, do := range map[string]func(latchkey.Account, context.Context, latchkey.Selector) (latchkey.Swept, error){
		"edit": func(a latchkey.Account, ctx context.Context, s latchkey.Selector) (latchkey.Swept, error) {
			return a.EditAll(ctx, s, latchkey.Edit{AddRoles: []string{"reader"}}, "")
		},
		"disable": func(a latchkey.Account, ctx context.Context, s latchkey.Selector) (latchkey.Swept, error) {
			return a.DisableAll(ctx, s, "")
		},
		"revoke": func(a latchkey.Account, ctx context.Context, s latchkey.Selector) (latchkey.Swept, error) {
			return a.RevokeAll(ctx, s, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.role("reader", readAll())
			for i := range 25 {
				w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprint("k", i)})
			}
			s := latchkey.Selector{All: true, Most: 10}
			var seen, done []int
			for {
				swept, err := do(w.acme, w.ctx, s)
				w.ok(err)
				seen, done = append(seen, swept.Seen), append(done, swept.Done)
				if !swept.More {
					break
				}
				s.After = swept.After
			}
			require.Equal(t, []int{10, 10, 5}, seen)
			require.Equal(t, []int{10, 10, 5}, done)
		})
	}
}

// Ids select, and so do a text, states and ends. A Selector has a field for each of TokenQuery.
func TestSelectorSelectsAsAQueryDoes(t *testing.T) {
	w := newWorld(t)
	a, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Alpha one"})
	b, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "beta",
		Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	c, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "gamma", Disabled: true})
	gone, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "gone"})
	w.ok(w.acme.Revoke(w.ctx, gone.ID, ""))
	for name, x := range map[string]struct {
		s    latchkey.Selector
		want []string
	}{
		"ids":                  {latchkey.Selector{IDs: []string{b.ID, a.ID, gone.ID, "x"}}, []string{a.ID, b.ID}},
		"a part of a name":     {latchkey.Selector{Find: "ALPHA"}, []string{a.ID}},
		"a state":              {latchkey.Selector{States: []latchkey.State{latchkey.Disabled}}, []string{c.ID}},
		"revoked, and nothing": {latchkey.Selector{States: []latchkey.State{latchkey.Revoked}}, nil},
		"ends":                 {latchkey.Selector{ExpiresTo: w.now().Add(2 * time.Hour)}, []string{b.ID}},
		"ends later":           {latchkey.Selector{ExpiresFrom: w.now().Add(2 * time.Hour)}, nil},
	} {
		x.s.Progress = func(latchkey.Swept) {}
		swept, err := w.acme.EditAll(w.ctx, x.s, latchkey.Edit{DropRoles: []string{w.role("r "+name, readAll()).ID}}, "")
		w.ok(err)
		require.Equal(t, len(x.want), swept.Seen, name)
		var got []string
		if q := x.s.Query(); len(q.States) > 0 {
			for tok, err := range w.acme.Tokens(w.ctx, q) {
				w.ok(err)
				got = append(got, tok.ID)
			}
		}
		require.Equal(t, x.want, got, name)
	}
	selector, query := reflect.TypeFor[latchkey.Selector](), reflect.TypeFor[latchkey.TokenQuery]()
	for i := range query.NumField() {
		name := query.Field(i).Name
		if slices.Contains([]string{"Page", "Now", "Order", "Reverse", "Search"}, name) {
			continue // not what is selected, or as Find
		}
		_, has := selector.FieldByName(name)
		require.True(t, has, "Selector has no %s", name)
	}
}

// A token that ends while a sweep goes on stays ended.
func TestEditAllRevivesNothing(t *testing.T) {
	w := newWorld(t)
	for range 201 { // more than one step
		w.issue(latchkey.KindAPIKey, latchkey.Settings{Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
	}
	first := true
	swept, err := w.acme.EditAll(w.ctx, latchkey.Selector{All: true, Progress: func(latchkey.Swept) {
		if first {
			w.turn(2 * time.Hour)
			first = false
		}
	}}, latchkey.Edit{NotAfter: w.now().Add(24 * time.Hour)}, "")
	w.ok(err)
	require.Equal(t, 200, swept.Done)
	require.Equal(t, 201, swept.Seen)
}

// An actor learns nothing of tokens and roles that it may not read: not how many a filter selects, not their ids, and
// not whether there are any. The work is bounded by what was looked at.
func TestSweepsTellNothing(t *testing.T) {
	w := newWorld(t)
	hidden := w.role("hidden", readAll())
	for i := range 3 {
		w.issue(latchkey.KindAPIKey, latchkey.Settings{Name: fmt.Sprint("hidden ", i), Disabled: i == 0})
	}
	_, text := w.key(latchkey.Allow(latchkey.Read).On("dataset/a"))
	actor := must(w.acme.As(w.access(text)))
	edit := func(s latchkey.Selector, e latchkey.Edit) (latchkey.Swept, error) {
		return actor.EditAll(w.ctx, s, e, "")
	}
	for _, s := range []latchkey.Selector{{All: true}, {Find: "hidden 1"}, {Find: "nothing"}} {
		for name, do := range map[string]func() (latchkey.Swept, error){
			"edit":    func() (latchkey.Swept, error) { return edit(s, latchkey.Edit{Enable: true}) },
			"roles":   func() (latchkey.Swept, error) { return edit(s, latchkey.Edit{AddRoles: []string{hidden.ID}}) },
			"disable": func() (latchkey.Swept, error) { return actor.DisableAll(w.ctx, s, "") },
			"revoke":  func() (latchkey.Swept, error) { return actor.RevokeAll(w.ctx, s, "") },
		} {
			swept, err := do()
			w.ok(err)
			require.Equal(t, latchkey.Swept{}, swept, name)
		}
	}
	nobody := "0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f"
	_, there := edit(latchkey.Selector{Find: "x"}, latchkey.Edit{AddRoles: []string{hidden.ID}})
	_, none := edit(latchkey.Selector{Find: "x"}, latchkey.Edit{AddRoles: []string{nobody}})
	require.Equal(t, there, none)
	swept, err := actor.RevokeAll(w.ctx, latchkey.Selector{All: true, Most: 2}, "")
	w.ok(err)
	require.True(t, swept.More)
	require.Zero(t, swept.Seen)
}
