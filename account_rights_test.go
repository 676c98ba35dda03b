package latchkey_test

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What a token may do without its secret is what it may do with it.
func TestRightsOfAreThoseOfTheToken(t *testing.T) {
	w := newWorld(t)
	region := latchkey.Where("region", latchkey.Eq, "EU")
	reader := w.role("reader", latchkey.Allow(latchkey.Read).On("dataset/*").Where(region),
		latchkey.Allow(latchkey.Update).On("dataset/*").Where(latchkey.Where("by", latchkey.Eq, latchkey.Self)))
	key, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{reader.ID},
		Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Delete).On("dataset/a"), latchkey.Allow(latchkey.Read).On("user/{*client}")}})
	child, childText := w.mint(w.access(text), latchkey.Narrowing{Client: latchkey.Client{ID: "42"},
		Rows: []latchkey.Condition{latchkey.Where("amount", latchkey.Lt, 10)}})
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"), latchkey.Deny(latchkey.Any).On("dataset/x")}
		return nil
	}))
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text},
		"amount": {Column: "amount", Type: latchkey.Integer}, "by": {Column: "by", Type: latchkey.Text}})
	row := latchkey.Row{"region": "EU", "amount": 3, "by": key.ID}
	for id, text := range map[string]string{key.ID: text, child.ID: childText} {
		access := w.access(text)
		rights, err := w.acme.RightsOf(w.ctx, id)
		w.ok(err)
		require.Equal(t, "acme", rights.Owner())
		require.Equal(t, id, rights.TokenID())
		require.False(t, rights.Test())
		require.Contains(t, rights.String(), id)
		for _, of := range []latchkey.Rights{rights, access.Rights()} {
			for _, action := range []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Delete, "*", ""} {
				for _, on := range []latchkey.Resource{"dataset/a", "dataset/x", "user/42", "user/43", ""} {
					require.Equal(t, access.Check(action, on), of.Check(action, on))
					require.Equal(t, access.CheckRow(action, on, schema, row), of.CheckRow(action, on, schema, row))
					rows, err := access.Filter(action, on)
					got, gotErr := of.Filter(action, on)
					require.True(t, rows.Equal(got))
					require.Equal(t, err, gotErr)
					why, err := of.Explain(action, on)
					w.ok(err)
					require.Equal(t, access.Explain(action, on), why)
				}
				list, more, err := access.Reach(action, "dataset", latchkey.Page{})
				gotList, gotMore, gotErr := of.Reach(action, "dataset", latchkey.Page{})
				require.Equal(t, []any{list, more, err}, []any{gotList, gotMore, gotErr})
			}
		}
	}
	none := latchkey.Rights{}
	w.is(latchkey.ErrDenied, none.Check(latchkey.Read, "dataset/a"))
	w.is(latchkey.ErrDenied, none.CheckRow(latchkey.Read, "dataset/a", schema, row))
	require.Empty(t, none.Owner()+none.TokenID())

	// A change holds at once.
	must(w.acme.UpdateRole(w.ctx, reader.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil }))
	w.is(latchkey.ErrDenied, must(w.acme.RightsOf(w.ctx, key.ID)).CheckRow(latchkey.Read, "dataset/a", schema, row))
}

// What has ended allows nothing, as Verify says.
func TestRightsOfWhatHasEnded(t *testing.T) {
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	for name, end := range map[string]func(w *world, id string){
		"revoked": func(w *world, id string) { w.ok(w.acme.Revoke(w.ctx, id, "")) },
		"disabled": func(w *world, id string) {
			must(w.acme.Update(w.ctx, id, func(t *latchkey.Token) error { t.Disabled = true; return nil }))
		},
		"deleted": func(w *world, id string) { w.ok(w.acme.Revoke(w.ctx, id, "")); w.ok(w.acme.Delete(w.ctx, id)) },
		"expired": func(w *world, _ string) { w.turn(2 * time.Hour) },
		"owner": func(w *world, _ string) {
			w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			key, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: everything,
				Validity: latchkey.Validity{NotAfter: w.now().Add(time.Hour)}})
			child, childText := w.mint(w.access(text), latchkey.Narrowing{})
			before := must(w.acme.RightsOf(w.ctx, child.ID))
			w.ok(before.Check(latchkey.Read, "a"))
			end(w, key.ID)
			for id, text := range map[string]string{key.ID: text, child.ID: childText} {
				_, want := w.verify(text)
				require.Error(t, want)
				rights, err := w.acme.RightsOf(w.ctx, id)
				if name == "deleted" {
					want = latchkey.ErrNotFound
				}
				w.is(want, err)
				w.is(latchkey.ErrDenied, rights.Check(latchkey.Read, "a"))
			}
		})
	}
	w := newWorld(t)
	early, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: everything,
		Validity: latchkey.Validity{NotBefore: w.now().Add(time.Hour)}})
	_, err := w.acme.RightsOf(w.ctx, early.ID)
	w.is(latchkey.ErrNotYetValid, err)
	for _, id := range []string{"", "x", "00000000-0000-0000-0000-000000000000"} {
		_, err := w.acme.RightsOf(w.ctx, id)
		w.is(latchkey.ErrNotFound, err)
	}
	key, _ := w.key(everything...)
	_, err = w.acme.RightsOf(w.ctx, strings.ToUpper(key.ID))
	w.is(latchkey.ErrNotFound, err)
	_, err = w.keys.For("other").RightsOf(w.ctx, key.ID)
	w.is(latchkey.ErrNotFound, err)
	failing := latchkey.ErrConflict
	w.store.fail.Store(&failing)
	_, err = w.acme.RightsOf(w.ctx, key.ID)
	w.is(latchkey.ErrUnavailable, err)
}

// To ask is no use of a token, and the refusal of one is nobody's.
func TestRightsOfAreNoUse(t *testing.T) {
	var refused []latchkey.Refusal
	w := newWorld(t, func(o *latchkey.Options) {
		o.Observer.Refused = func(_ context.Context, r latchkey.Refusal) { refused = append(refused, r) }
	})
	key, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{
		Permissions:  latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")},
		Limits:       latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour}},
		Validity:     latchkey.Validity{Idle: time.Hour},
		Restrictions: latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	w.turn(59 * time.Minute)
	for range 3 {
		w.ok(must(w.acme.RightsOf(w.ctx, key.ID)).Check(latchkey.Read, "a"))
	}
	require.True(t, must(w.acme.Get(w.ctx, key.ID)).Used.IsZero())
	w.turn(2 * time.Minute)
	_, err := w.acme.RightsOf(w.ctx, key.ID)
	w.is(latchkey.ErrExpired, err)
	require.Empty(t, refused)
	_, err = w.verify(text)
	w.is(latchkey.ErrExpired, err)
	require.Len(t, refused, 1)

	// By construction they do nothing else: whoever adds a method decides that it is safe.
	var methods []string
	for m := range reflect.TypeFor[latchkey.Rights]().Methods() {
		methods = append(methods, m.Name)
	}
	require.Equal(t, []string{"Check", "CheckRow", "Explain", "Filter", "Owner", "Reach", "String", "Test", "TokenID"},
		methods)
}

func TestRightsOfForAnActor(t *testing.T) {
	w := newWorld(t)
	reader := w.role("reader", latchkey.Allow(latchkey.Read).On("dataset/*"))
	key, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{reader.ID}})
	child, _ := w.mint(w.access(text), latchkey.Narrowing{})
	plain, _ := w.key(latchkey.Allow(latchkey.Read).On("dataset/*"))
	read := func(kind, id string) latchkey.Rule {
		return latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", kind, id)))
	}
	for _, c := range []struct {
		name          string
		rules         latchkey.Permissions
		id            string
		decides, says bool
	}{
		{"nothing", nil, key.ID, false, false},
		{"everything but latchkey's own", latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}, key.ID, false, false},
		{"another token", latchkey.Permissions{read("token", plain.ID)}, key.ID, false, false},
		{"the token", latchkey.Permissions{read("token", plain.ID)}, plain.ID, true, true},
		{"not its role", latchkey.Permissions{read("token", key.ID)}, key.ID, true, false},
		{"its role", latchkey.Permissions{read("token", key.ID), read("role", reader.ID)}, key.ID, true, true},
		{"not its parent", latchkey.Permissions{read("token", child.ID), read("role", reader.ID)}, child.ID, true, false},
		{"its parent", latchkey.Permissions{read("token", child.ID), read("token", key.ID), read("role", reader.ID)},
			child.ID, true, true},
	} {
		as := must(w.acme.As(must(w.acme.Assume(latchkey.Client{ID: "pdp"}, c.rules))))
		rights, err := as.RightsOf(w.ctx, c.id)
		if !c.decides {
			require.ErrorIs(t, err, latchkey.ErrNotFound, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		require.NoError(t, rights.Check(latchkey.Read, "dataset/a"), c.name)
		_, err = rights.Filter(latchkey.Read, "dataset/a")
		_, errExplain := rights.Explain(latchkey.Read, "dataset/a")
		_, _, errReach := rights.Reach(latchkey.Read, "", latchkey.Page{})
		for _, err := range []error{err, errExplain, errReach} {
			if c.says {
				require.NoError(t, err, c.name)
			} else {
				require.ErrorIs(t, err, latchkey.ErrDenied, c.name)
			}
		}
	}
	// An actor that was revoked asks nothing more.
	admin, adminText := w.key(latchkey.Allow(latchkey.Read).On("latchkey/*"))
	as := must(w.acme.As(w.access(adminText)))
	must(as.RightsOf(w.ctx, key.ID))
	w.ok(w.acme.Revoke(w.ctx, admin.ID, ""))
	_, err := as.RightsOf(w.ctx, key.ID)
	w.is(latchkey.ErrRevoked, err)
}

// RightsFor answers as a token would that Mint makes, and refuses where Mint does.
func TestRightsForAreThoseOfAMintedToken(t *testing.T) {
	w := newWorld(t)
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("user/{*client}"),
		latchkey.Allow(latchkey.Update).On("order/*").Where(latchkey.Where("by", latchkey.Eq, latchkey.ClientID)),
		latchkey.Allow(latchkey.Delete).On("order/*").Where(latchkey.Where("key", latchkey.Eq, latchkey.Self))}
	role := w.role("reader", rules...)
	key, text := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/*")}})
	access := w.access(text)
	_, minted := w.mint(access, latchkey.Narrowing{Client: latchkey.Client{ID: "42"}})
	want, rights := w.access(minted), must(access.RightsFor(w.ctx, "42"))
	for _, action := range []latchkey.Action{latchkey.Read, latchkey.Update, latchkey.Delete} {
		for _, on := range []latchkey.Resource{"user/42", "user/43", "order/1"} {
			require.Equal(t, want.Check(action, on), rights.Check(action, on))
			rows, _ := want.Filter(action, on)
			got, _ := rights.Filter(action, on)
			require.True(t, rows.Equal(got), "%v and %v", rows, got)
		}
	}
	require.Equal(t, key.ID, rights.TokenID())
	// It decides without a right, and shows no rules that the key may not read.
	_, blind := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID}})
	rights = must(w.access(blind).RightsFor(w.ctx, "42"))
	w.ok(rights.Check(latchkey.Read, "user/42"))
	_, err := rights.Explain(latchkey.Read, "user/42")
	w.is(latchkey.ErrDenied, err)
	_, half := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{role.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/role/*")}})
	_, err = must(w.access(half).RightsFor(w.ctx, "42")).Filter(latchkey.Read, "user/42")
	w.is(latchkey.ErrDenied, err)
	// The roles of the program's code are such records, too.
	beside := w.beside(latchkey.Role{Name: "coded", Permissions: rules})
	_, text = beside.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"coded"},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/token/*")}})
	rights = must(beside.access(text).RightsFor(w.ctx, "42"))
	w.ok(rights.Check(latchkey.Read, "user/42"))
	_, err = rights.Filter(latchkey.Read, "user/42")
	w.is(latchkey.ErrDenied, err)
	before := must(w.store.Tokens(w.ctx, "acme", latchkey.TokenQuery{}))
	must(access.RightsFor(w.ctx, "43"))
	require.Equal(t, before, must(w.store.Tokens(w.ctx, "acme", latchkey.TokenQuery{})), "nothing is minted")

	publishable, publicText := w.issue(latchkey.KindPublishable, latchkey.Settings{Permissions: rules})
	require.NotEmpty(t, publishable.ID)
	for name, a := range map[string]latchkey.Access{"publishable": w.access(publicText), "zero": {},
		"assumed": must(w.acme.Assume(latchkey.Client{ID: "1"}, rules)), "of another client": want,
		"narrowed": must(access.Narrow(w.ctx, latchkey.Narrowing{}))} {
		_, _, mintErr := a.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "43"}})
		require.Error(t, mintErr, name)
		rights, err := a.RightsFor(w.ctx, "43")
		require.EqualError(t, err, mintErr.Error(), name)
		w.is(latchkey.ErrDenied, rights.Check(latchkey.Read, "user/43"))
	}
	w.ok(w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Policy.ClientRight = true; return nil }))
	_, err = access.RightsFor(w.ctx, "42")
	w.is(latchkey.ErrDenied, err)
	w.ok(w.acme.Revoke(w.ctx, key.ID, ""))
	_, err = access.RightsFor(w.ctx, "42")
	w.is(latchkey.ErrRevoked, err)
}

// A page of Who can be bounded by the tokens that were looked at.
func TestWhoStopsWhereItIsTold(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 6 {
		rule := latchkey.Allow(latchkey.Read).On("a")
		if i != 0 && i != 3 && i != 5 {
			rule = latchkey.Allow(latchkey.Read).On("b")
		}
		key, _ := w.key(rule)
		ids = append(ids, key.ID)
		w.turn(time.Second)
	}
	var seen, found []string
	q := latchkey.WhoQuery{Action: latchkey.Read, Resource: "a", Page: latchkey.Page{Limit: 2}}
	q.Seen = func(tok latchkey.Token) bool {
		require.Less(t, len(seen), 5, "it goes on after it was told to stop")
		seen = append(seen, tok.ID)
		return len(seen) < 5
	}
	for h, err := range w.acme.WhoOf(w.ctx, q) {
		w.ok(err)
		found = append(found, h.Token.ID)
	}
	require.Equal(t, ids[:5], seen)
	require.Equal(t, []string{ids[0], ids[3]}, found)
	// An actor is told of no token that it may not read.
	seen = nil
	as := must(w.acme.As(must(w.acme.Assume(latchkey.Client{ID: "x"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", "token", ids[1])))}))))
	for range as.WhoOf(w.ctx, q) {
		t.Fatal("it may read no holder")
	}
	require.Equal(t, ids[1:2], seen)
}

// Rights say of which token they are, of which owner, and whether it is a test token.
func TestRightsTellWhoseTheyAre(t *testing.T) {
	w := newWorld(t)
	for _, test := range []bool{false, true} {
		tok, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: test})
		w.ok(err)
		rights, err := w.acme.RightsOf(w.ctx, tok.ID)
		w.ok(err)
		require.Equal(t, []any{test, tok.ID, "acme"}, []any{rights.Test(), rights.TokenID(), rights.Owner()})
	}
}

// What Narrow adds to a caller leaves it the rows and forced values of its token.
func TestNarrowedAttributesKeepTheRest(t *testing.T) {
	w := newWorld(t)
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})
	_, secret, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions:     latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")},
		ChildAttributes: []string{"team", "site"}})
	w.ok(err)
	_, text := w.mint(w.access(secret.Reveal()), latchkey.Narrowing{Name: "page",
		Rows: []latchkey.Condition{latchkey.Where("region", latchkey.Eq, "EU")}, Forced: latchkey.Values{"region": "EU"},
		Attributes: latchkey.Attributes{"site": "x"}})
	access := w.access(text)
	narrowed, err := access.Narrow(w.ctx, latchkey.Narrowing{Attributes: latchkey.Attributes{"team": "red"}})
	w.ok(err)
	for _, a := range []latchkey.Access{access, narrowed} {
		rows, err := a.Filter(latchkey.Read, "a")
		w.ok(err)
		require.Equal(t, `region = "EU"`, rows.String())
		row, err := a.Prepare(latchkey.Create, "a", schema, nil, latchkey.Row{})
		w.ok(err)
		require.Equal(t, latchkey.Row{"region": "EU"}, row)
		require.Equal(t, "page", a.Name())
		site, _ := a.Attribute("site")
		require.Equal(t, "x", site)
	}
	team, _ := narrowed.Attribute("team")
	require.Equal(t, "red", team)
	_, has := access.Attribute("team")
	require.False(t, has)
}
