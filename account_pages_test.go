package latchkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// walk reads all pages. A page may be empty only if it is the first, and then it is the last.
func walk[T any](t *testing.T, page func(after string) (latchkey.Listing[T], error), key func(T) string) (all []string,
	sizes []int) {
	t.Helper()
	for after := ""; ; {
		l, err := page(after)
		require.NoError(t, err)
		require.NotNil(t, l.Items)
		for _, v := range l.Items {
			all = append(all, key(v))
		}
		sizes = append(sizes, len(l.Items))
		require.Less(t, len(sizes), 100, "pages do not end")
		if l.Next == "" {
			return all, sizes
		}
		after = l.Next
	}
}

// Pages hold each item once, and Next is "" with the last item, without an empty page behind it.
func TestPages(t *testing.T) {
	for count, sizes := range map[int][]int{0: {0}, 1: {1}, 2: {2}, 3: {3}, 4: {3, 1}, 6: {3, 3}, 7: {3, 3, 1}} {
		w := newWorld(t)
		var ids, roles, clients, events []string
		key := ""
		for i := range count {
			token, secret := w.key(latchkey.Allow(latchkey.Any).On("*"))
			if i == 0 {
				key = secret
			}
			ids = append(ids, token.ID)
			roles = append(roles, w.role(fmt.Sprint("role ", i)).ID)
			w.mint(w.access(key), latchkey.Narrowing{Client: latchkey.Client{ID: fmt.Sprint("c", i)}})
			clients = append(clients, fmt.Sprint("c", i))
			events = append(events, token.ID)
		}
		own := ""
		got, pages := walk(t, func(after string) (latchkey.Listing[latchkey.Token], error) {
			return w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Page: latchkey.Page{After: after, Limit: 3}, Origin: &own,
				Kinds: []latchkey.Kind{latchkey.KindAPIKey}})
		}, func(t latchkey.Token) string { return t.ID })
		require.Equal(t, ids, got)
		require.Equal(t, sizes, pages, "tokens")
		for _, order := range []latchkey.TokenOrder{latchkey.OrderName, latchkey.OrderUsed, latchkey.OrderEnd} {
			got, pages = walk(t, func(after string) (latchkey.Listing[latchkey.Token], error) {
				return w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Page: latchkey.Page{After: after, Limit: 3}, Order: order,
					Reverse: true, Kinds: []latchkey.Kind{latchkey.KindAPIKey}})
			}, func(t latchkey.Token) string { return t.ID })
			require.ElementsMatch(t, ids, got)
			require.Equal(t, sizes, pages, "tokens in order %d", order)
		}
		got, pages = walk(t, func(after string) (latchkey.Listing[latchkey.Role], error) {
			return w.acme.RolesPage(w.ctx, latchkey.RoleQuery{Page: latchkey.Page{After: after, Limit: 3}})
		}, func(r latchkey.Role) string { return r.ID })
		require.Equal(t, roles, got)
		require.Equal(t, sizes, pages, "roles")
		got, pages = walk(t, func(after string) (latchkey.Listing[latchkey.Client], error) {
			return w.acme.ClientsPage(w.ctx, latchkey.Page{After: after, Limit: 3})
		}, func(c latchkey.Client) string { return c.ID })
		require.Equal(t, clients, got)
		require.Equal(t, sizes, pages, "clients")
		for _, reverse := range []bool{false, true} {
			got, pages = walk(t, func(after string) (latchkey.Listing[latchkey.Event], error) {
				return w.acme.EventsPage(w.ctx, latchkey.EventQuery{Page: latchkey.Page{After: after, Limit: 3},
					Action: "token.issue", Reverse: reverse})
			}, func(e latchkey.Event) string { return e.Object })
			want := slices.Clone(events)
			if reverse {
				slices.Reverse(want)
			}
			require.Equal(t, want, got)
			require.Equal(t, sizes, pages, "events")
		}
	}
}

// The largest page is 1000, and the look behind it reads one item more.
func TestPagesAreBounded(t *testing.T) {
	w := newWorld(t)
	var tokens []latchkey.Token
	for i := range 1001 {
		tokens = append(tokens, latchkey.Token{ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", i), Owner: "acme",
			Kind: latchkey.KindAPIKey, Created: w.now(), Settings: latchkey.Settings{Name: "x"}})
	}
	w.ok(w.store.Write(w.ctx, latchkey.Write{ID: [16]byte{1}, Owner: "acme", Tokens: tokens}))
	for limit, want := range map[int]int{0: 100, -1: 100, 999: 999, 1000: 1000, 5000: 1000} {
		l, err := w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Page: latchkey.Page{Limit: limit}})
		w.ok(err)
		require.Len(t, l.Items, want)
		require.Equal(t, tokens[want-1].ID, l.Next)
		l, err = w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Page: latchkey.Page{Limit: limit, After: tokens[1000-want].ID}})
		w.ok(err)
		require.Len(t, l.Items, want, "the last page is full")
		require.Empty(t, l.Next)
	}
}

// A page has what the actor may read. What it may not read is passed over, and is no reason for an empty page.
func TestPagesOfAnActor(t *testing.T) {
	w := newWorld(t)
	var seen []string
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/event")}
	for i := range 250 {
		token, _ := w.key()
		if i%120 == 7 { // three of them, far apart
			seen = append(seen, token.ID)
			rules = append(rules, latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", "token",
				token.ID))))
		}
	}
	_, key := w.key(rules...)
	actor, err := w.acme.As(w.access(key))
	w.ok(err)
	got, sizes := walk(t, func(after string) (latchkey.Listing[latchkey.Token], error) {
		return actor.TokensPage(w.ctx, latchkey.TokenQuery{Page: latchkey.Page{After: after, Limit: 1}})
	}, func(t latchkey.Token) string { return t.ID })
	require.Equal(t, seen, got)
	require.Equal(t, []int{1, 1, 1}, sizes)
	roles, err := actor.RolesPage(w.ctx, latchkey.RoleQuery{})
	w.ok(err)
	require.Empty(t, roles.Items)
	_, err = actor.ClientsPage(w.ctx, latchkey.Page{})
	w.is(latchkey.ErrDenied, err)
	page, err := actor.EventsPage(w.ctx, latchkey.EventQuery{Page: latchkey.Page{Limit: 1}})
	w.ok(err)
	require.Len(t, page.Items, 1)
	_, stranger := w.key()
	none, err := w.acme.As(w.access(stranger))
	w.ok(err)
	_, err = none.EventsPage(w.ctx, latchkey.EventQuery{})
	w.is(latchkey.ErrDenied, err)
	for _, err = range none.Events(w.ctx, latchkey.EventQuery{}) {
	}
	w.is(latchkey.ErrDenied, err)
}

// Errors of the store are errors of the page, never a short page.
func TestPagesFail(t *testing.T) {
	w := newWorld(t)
	broken := latchkey.New(brokenListings{w.store}, &latchkey.Options{Clock: w.now}).For("acme")
	for name, read := range map[string]func() (any, error){
		"tokens":  func() (any, error) { l, err := broken.TokensPage(w.ctx, latchkey.TokenQuery{}); return l.Items, err },
		"roles":   func() (any, error) { l, err := broken.RolesPage(w.ctx, latchkey.RoleQuery{}); return l.Items, err },
		"clients": func() (any, error) { l, err := broken.ClientsPage(w.ctx, latchkey.Page{}); return l.Items, err },
		"events":  func() (any, error) { l, err := broken.EventsPage(w.ctx, latchkey.EventQuery{}); return l.Items, err },
	} {
		items, err := read()
		require.ErrorIs(t, err, latchkey.ErrUnavailable, name)
		require.Empty(t, items, name)
	}
	_, err := w.acme.EventsPage(w.ctx, latchkey.EventQuery{Page: latchkey.Page{After: "x"}})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Order: 9})
	w.is(latchkey.ErrInvalid, err)
}

// A damaged record stands among the others, with what is left of it.
func TestPagesOfDamagedRecords(t *testing.T) {
	w := newWorld(t)
	token, _ := w.key()
	role := w.role("clerk", latchkey.Allow(latchkey.Any).On("*"))
	damaged := latchkey.New(damagedListings{w.store}, &latchkey.Options{Clock: w.now}).For("acme")
	tokens, err := damaged.TokensPage(w.ctx, latchkey.TokenQuery{})
	w.ok(err)
	require.Len(t, tokens.Items, 1)
	require.True(t, tokens.Items[0].Damaged)
	require.Equal(t, token.ID, tokens.Items[0].ID)
	roles, err := damaged.RolesPage(w.ctx, latchkey.RoleQuery{})
	w.ok(err)
	require.Len(t, roles.Items, 1)
	require.Equal(t, role.ID, roles.Items[0].ID)
	require.False(t, roles.Items[0].Permissions.Allows("read", "x"), "of a damaged role nothing is left that allows")
	require.NotEmpty(t, roles.Items[0].Permissions)

	one, err := damaged.Role(w.ctx, role.ID)
	why, ok := errors.AsType[*latchkey.DamagedError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []any{latchkey.ChangedRole, "acme", role.ID}, []any{why.Kind, why.Owner, why.ID})
	require.Equal(t, role.ID, one.ID)
}

// The JSON of a page is a reply.
func TestListingJSON(t *testing.T) {
	w := newWorld(t)
	l, err := w.acme.ClientsPage(w.ctx, latchkey.Page{})
	w.ok(err)
	text, err := json.Marshal(l)
	w.ok(err)
	require.JSONEq(t, `{"items":[],"next":""}`, string(text))
	_, key := w.key(latchkey.Allow(latchkey.Any).On("*"))
	for _, id := range []string{"a", "b"} {
		w.mint(w.access(key), latchkey.Narrowing{Client: latchkey.Client{ID: id, Name: "Ada"}})
	}
	l, err = w.acme.ClientsPage(w.ctx, latchkey.Page{Limit: 1})
	w.ok(err)
	text, err = json.Marshal(l)
	w.ok(err)
	require.JSONEq(t, `{"items":[{"id":"a","name":"Ada"}],"next":"a"}`, string(text))
}

// Events goes on through pages that are short, and stops where the loop does.
func TestEventsThroughShortPages(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.key()
	}
	short := latchkey.New(shortEvents{w.store}, &latchkey.Options{Clock: w.now}).For("acme")
	var got []uint64
	for e, err := range short.Events(w.ctx, latchkey.EventQuery{Action: "token."}) {
		w.ok(err)
		got = append(got, e.Seq)
	}
	require.Equal(t, []uint64{1, 2, 3, 4, 5}, got)
	for e, err := range short.Events(w.ctx, latchkey.EventQuery{From: w.now().Add(time.Hour)}) {
		t.Fatal(e, err)
	}
	for range short.Events(w.ctx, latchkey.EventQuery{}) {
		break
	}
	l, err := short.EventsPage(w.ctx, latchkey.EventQuery{})
	w.ok(err)
	require.Empty(t, l.Items)
	require.NotEmpty(t, l.Next, "a page of rare events may be empty, and is not the last")
}

var errBroken = fmt.Errorf("%w: broken", latchkey.ErrUnavailable)

type brokenListings struct{ latchkey.Store }

func (brokenListings) Tokens(context.Context, string, latchkey.TokenQuery) ([]latchkey.Token, error) {
	return []latchkey.Token{{ID: "x"}}, errBroken
}

func (brokenListings) Roles(context.Context, string, latchkey.RoleQuery) ([]latchkey.Role, error) {
	return []latchkey.Role{{ID: "x"}}, errBroken
}

func (brokenListings) Clients(context.Context, string, latchkey.Page) ([]latchkey.Client, error) {
	return []latchkey.Client{{ID: "x"}}, errBroken
}

func (brokenListings) Events(context.Context, string, latchkey.EventQuery) ([]latchkey.Event, string, error) {
	return []latchkey.Event{{Seq: 1}}, "1", errBroken
}

type damagedListings struct{ latchkey.Store }

func (s damagedListings) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	list, err := s.Store.Tokens(ctx, owner, q)
	for i := range list {
		list[i].Damaged = true
	}
	return list, err
}

func (s damagedListings) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	list, err := s.Store.Roles(ctx, owner, q)
	for i := range list {
		list[i].Damaged = true
	}
	return list, err
}

func (s damagedListings) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	r, err := s.Store.Role(ctx, owner, id)
	if r.Damaged = err == nil; r.Damaged {
		err = &latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: id}
	}
	return r, err
}

// shortEvents returns an empty page before each event.
type shortEvents struct{ latchkey.Store }

func (s shortEvents) Events(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string,
	error) {
	half, empty := q.After, false
	if len(half) < 2 || half[len(half)-2:] != ".5" {
		empty = true
	} else {
		q.After = half[:len(half)-2]
	}
	if q.Limit = 1; empty {
		if _, _, err := s.Store.Events(ctx, owner, q); err != nil {
			return nil, "", err
		}
		return nil, half + ".5", nil
	}
	return s.Store.Events(ctx, owner, q)
}

// A role is found by its name wherever an Account takes a query, and a name that no role has is an error.
func TestRoleNamesInQueries(t *testing.T) {
	w := newWorld(t)
	role := w.role("editor", readAll())
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{role.ID}})
	w.ok(err)
	token, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	w.key()
	for _, name := range []string{"editor", role.ID} {
		tokens, err := w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Role: name})
		w.ok(err)
		require.Len(t, tokens.Items, 1, name)
		n, err := w.acme.CountTokens(w.ctx, latchkey.TokenQuery{Role: name}, 0)
		w.ok(err)
		require.Equal(t, 1, n, name)
		roles, err := w.acme.RolesPage(w.ctx, latchkey.RoleQuery{Inherits: name})
		w.ok(err)
		require.Len(t, roles.Items, 1, name)
		require.Equal(t, heir.ID, roles.Items[0].ID)
	}
	swept, err := w.acme.DisableAll(w.ctx, latchkey.Selector{Role: "editor"}, "")
	w.ok(err)
	require.Equal(t, 1, swept.Done)
	swept, err = w.acme.RevokeAll(w.ctx, latchkey.Selector{Role: "editor"}, "")
	w.ok(err)
	require.Equal(t, 1, swept.Done)
	token, err = w.acme.Get(w.ctx, token.ID)
	w.ok(err)
	require.False(t, token.Revoked.IsZero())

	_, err = w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Role: "editors"})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.CountTokens(w.ctx, latchkey.TokenQuery{Role: "editors"}, 0)
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.RolesPage(w.ctx, latchkey.RoleQuery{Inherits: "editors"})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.RevokeAll(w.ctx, latchkey.Selector{Role: "editors"}, "")
	w.is(latchkey.ErrInvalid, err)
}

// Pages of roles hold those of Options.Roles behind the stored ones, as the listing does.
func TestPagesOfCodeRoles(t *testing.T) {
	var code []latchkey.Role
	for i := range 4 {
		code = append(code, latchkey.Role{Name: fmt.Sprint("code ", i), Permissions: latchkey.Permissions{readAll()}})
	}
	for stored := range 5 {
		w := newWorld(t, func(o *latchkey.Options) { o.Roles = code })
		for i := range stored {
			w.role(fmt.Sprint("stored ", i))
		}
		for limit := 1; limit <= 5; limit++ {
			page := latchkey.Page{Limit: limit}
			var want []string
			for r, err := range w.acme.Roles(w.ctx, latchkey.RoleQuery{Page: page}) {
				w.ok(err)
				want = append(want, r.ID)
			}
			require.Len(t, want, stored+len(code))
			got, sizes := walk(t, func(after string) (latchkey.Listing[latchkey.Role], error) {
				return w.acme.RolesPage(w.ctx, latchkey.RoleQuery{Page: latchkey.Page{After: after, Limit: limit}})
			}, func(r latchkey.Role) string { return r.ID })
			require.Equal(t, want, got)
			require.Len(t, sizes, (len(want)+limit-1)/limit, "only the last page is short")
		}
		l, err := w.acme.RolesPage(w.ctx, latchkey.RoleQuery{Names: []string{"code 2"}})
		w.ok(err)
		require.Len(t, l.Items, 1)
	}
}

// A page lists what its iterator lists.
func TestPagesListRolesOfCodeAndNames(t *testing.T) {
	w := newWorld(t, withRoles(codeEditor, codeViewer))
	for _, name := range []string{"a", "b", "c"} {
		w.ok(errOf(w.acme.CreateRole(w.ctx, latchkey.Role{Name: name, Inherits: []string{"viewer"}})))
	}
	tok, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"viewer", "a"}})
	host, other := "", "datocms"
	for _, q := range []latchkey.RoleQuery{{}, {Inherits: "viewer"}, {Inherits: "code:viewer"}, {Inherits: "a"},
		{Names: []string{"editor", "b"}}, {IDs: []string{"code:editor"}}, {Origin: &host}, {Origin: &other}} {
		var want []string
		for r, err := range w.acme.Roles(w.ctx, q) {
			w.ok(err)
			want = append(want, r.ID)
		}
		for limit := range 8 {
			var got []string
			for q := q; ; {
				q.Limit = limit
				l, err := w.acme.RolesPage(w.ctx, q)
				w.ok(err)
				require.NotNil(t, l.Items)
				for _, r := range l.Items {
					got = append(got, r.ID)
				}
				if q.After = l.Next; l.Next == "" {
					break
				}
				require.Len(t, l.Items, limit)
			}
			require.Equal(t, want, got, "%+v by %d", q, limit)
		}
	}
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("latchkey/role/code:editor"))
	l, err := mustAs(w, w.access(secret)).RolesPage(w.ctx, latchkey.RoleQuery{Page: latchkey.Page{Limit: 1}})
	w.ok(err)
	require.Len(t, l.Items, 1)
	require.Equal(t, "code:editor", l.Items[0].ID)
	require.Empty(t, l.Next)

	for _, role := range []string{"a", "viewer", "code:viewer"} {
		page, err := w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Role: role})
		w.ok(err)
		require.Len(t, page.Items, 1, role)
		require.Equal(t, tok.ID, page.Items[0].ID)
		n, err := w.acme.CountTokens(w.ctx, latchkey.TokenQuery{Role: role}, 0)
		w.ok(err)
		require.Equal(t, 1, n, role)
	}
	_, err = w.acme.TokensPage(w.ctx, latchkey.TokenQuery{Role: "nobody"})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.CountTokens(w.ctx, latchkey.TokenQuery{Role: "nobody"}, 0)
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.RolesPage(w.ctx, latchkey.RoleQuery{Inherits: "nobody"})
	w.is(latchkey.ErrInvalid, err)
	done, err := w.acme.RevokeAll(w.ctx, latchkey.Selector{Role: "viewer"}, "")
	w.ok(err)
	require.Equal(t, 1, done.Done)
	_, err = w.acme.RevokeAll(w.ctx, latchkey.Selector{Role: "nobody"}, "")
	w.is(latchkey.ErrInvalid, err)
}
