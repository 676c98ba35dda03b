package latchkey_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// whoMay returns the names of the holders with their rows, and the last error.
func whoMay(t *testing.T, a latchkey.Account, q latchkey.WhoQuery) (map[string]string, error) {
	t.Helper()
	out := map[string]string{}
	var last error
	for h, err := range a.WhoOf(t.Context(), q) {
		if err != nil {
			last = err
			continue
		}
		rows := h.Rows.String()
		if h.Hidden {
			require.True(t, h.Rows.IsNoRows())
			rows = "hidden"
		}
		require.NotContains(t, out, h.Token.Name, "listed twice")
		out[h.Token.Name] = rows
	}
	return out, last
}

func TestWho(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	var passed atomic.Int64 // last uses are written behind, by the same clock
	clock := func() time.Time { return at.Add(time.Duration(passed.Load())) }
	keys := latchkey.New(memstore.New(&memstore.Options{Clock: clock}), &latchkey.Options{Clock: clock})
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	acme, ctx := keys.For("acme"), t.Context()
	base := must(acme.CreateRole(ctx, latchkey.Role{Name: "base", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Delete).On("dataset/*").Where(latchkey.Where("by", latchkey.Eq, latchkey.Self)),
		latchkey.Allow(latchkey.Read).On("user/{*client}/*"), latchkey.Allow(latchkey.Any).On("latchkey/token/*")}}))
	heir := must(acme.CreateRole(ctx, latchkey.Role{Name: "heir", Inherits: []string{base.ID}}))
	issue := func(name string, kind latchkey.Kind, s latchkey.Settings) (latchkey.Token, latchkey.Access) {
		s.Name = name
		tok, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: kind, Name: name, Roles: s.Roles, Permissions: s.Permissions,
			Validity: s.Validity})
		require.NoError(t, err)
		access, err := acme.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
		require.NoError(t, err)
		return tok, access
	}
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}
	issue("root", latchkey.KindSecret, latchkey.Settings{})
	rowsOnly, parent := issue("rows", latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
	issue("all", latchkey.KindAPIKey, latchkey.Settings{Permissions: everything})
	issue("none", latchkey.KindAPIKey, latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("a")}})
	revoked, _ := issue("revoked", latchkey.KindAPIKey, latchkey.Settings{Permissions: everything})
	require.NoError(t, acme.Revoke(ctx, revoked.ID, ""))
	disabled, _ := issue("disabled", latchkey.KindAPIKey, latchkey.Settings{Permissions: everything})
	must(acme.Update(ctx, disabled.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil }))
	issue("ends", latchkey.KindAPIKey, latchkey.Settings{Permissions: everything,
		Validity: latchkey.Validity{NotAfter: at.Add(time.Hour)}})
	child, _, err := parent.Mint(ctx, latchkey.Narrowing{Name: "child", Lifetime: 24 * time.Hour,
		Client: latchkey.Client{ID: "u-42"}})
	require.NoError(t, err)

	ask := latchkey.WhoQuery{Action: latchkey.Delete, Resource: "dataset/payroll"}
	self := fmt.Sprintf("by = %q", rowsOnly.ID)
	got, err := whoMay(t, acme, ask)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"root": "every row", "rows": self, "all": "every row", "ends": "every row"}, got)
	short := ask
	short.Limit, short.Minted = 2, true
	got, err = whoMay(t, acme, short)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"root": "every row", "rows": self, "all": "every row", "ends": "every row",
		"child": self}, got)

	// It agrees with the Access of each.
	for h, err := range acme.Who(ctx, latchkey.Delete, "dataset/payroll") {
		require.NoError(t, err)
		why := must(acme.Explain(ctx, h.Token.ID, latchkey.Question{Action: latchkey.Delete, Resource: "dataset/payroll"}))
		require.True(t, h.Rows.Equal(why[0].Rows), h.Token.Name)
	}

	// It can be resumed behind a token.
	var first latchkey.Holder
	for first, err = range acme.Who(ctx, latchkey.Delete, "dataset/payroll") {
		break
	}
	require.NoError(t, err)
	short.After, short.Minted = first.Token.ID, false
	got, err = whoMay(t, acme, short)
	require.NoError(t, err)
	require.Len(t, got, 3)

	// The client of each token counts.
	got, err = whoMay(t, acme, latchkey.WhoQuery{Action: latchkey.Read, Resource: "user/u-42/inbox", Minted: true})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"root": "every row", "all": "every row", "ends": "every row",
		"child": "every row"}, got)
	got, err = whoMay(t, acme, latchkey.WhoQuery{Action: latchkey.Read, Resource: "user/u-43/inbox", Minted: true})
	require.NoError(t, err)
	require.NotContains(t, got, "child")

	// An actor sees the tokens that it may read, and rows only where it may read what they come from.
	as := func(rules ...latchkey.Rule) latchkey.Account {
		return must(acme.As(must(acme.Assume(latchkey.Client{ID: "desk"}, rules))))
	}
	got, err = whoMay(t, as(), ask)
	require.NoError(t, err)
	require.Empty(t, got)
	token := func(t latchkey.Token) latchkey.Pattern {
		return latchkey.Exactly(latchkey.Path("latchkey", "token", t.ID))
	}
	got, err = whoMay(t, as(latchkey.Allow(latchkey.Read).On(token(rowsOnly))), ask)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"rows": "hidden"}, got)
	one := as(latchkey.Allow(latchkey.Read).On("latchkey/role/*", token(child)))
	got, err = whoMay(t, one, latchkey.WhoQuery{Action: latchkey.Read, Resource: "user/u-42/inbox", Minted: true})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"child": "hidden"}, got, "it may not read the parent")
	got, err = whoMay(t, as(latchkey.Allow(latchkey.Read).On("latchkey/*")), ask)
	require.NoError(t, err)
	require.Len(t, got, 4)

	// Bad questions.
	for _, bad := range []latchkey.WhoQuery{{Action: latchkey.Any, Resource: "a"}, {Resource: "a"},
		{Action: latchkey.Read, Resource: "a/{*}"}, {Action: latchkey.Read}} {
		got, err := whoMay(t, acme, bad)
		require.ErrorIs(t, err, latchkey.ErrInvalid)
		require.Empty(t, got)
	}

	// What has ended is not in it, nor what was minted from it, nor anything of an owner that is switched off.
	passed.Store(int64(2 * time.Hour))
	require.NoError(t, acme.Revoke(ctx, rowsOnly.ID, ""))
	short = ask
	short.Minted = true
	got, err = whoMay(t, acme, short)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"root": "every row", "all": "every row"}, got)
	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Delete).On("dataset/{*client}")}
		return nil
	}))
	got, err = whoMay(t, acme, short)
	require.NoError(t, err)
	require.Empty(t, got, "the boundary holds")
	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary, o.Disabled = nil, true
		return nil
	}))
	got, err = whoMay(t, acme, short)
	require.NoError(t, err)
	require.Empty(t, got)
	got, err = whoMay(t, keys.For("other"), short)
	require.NoError(t, err)
	require.Empty(t, got)
}

// damagedRecords is a store in which some records cannot be read.
type damagedRecords struct {
	latchkey.Store
	token, role string
	fail        error
}

func (s *damagedRecords) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	list, err := s.Store.Tokens(ctx, owner, q)
	for i := range list {
		if list[i].ID == s.token {
			list[i] = latchkey.Token{ID: s.token, Owner: owner, Version: 1, Damaged: true}
		}
	}
	return list, err
}

func (s *damagedRecords) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if id == s.token {
		return latchkey.Found{}, &latchkey.DamagedError{Kind: latchkey.ChangedToken, Owner: owner, ID: id}
	}
	return s.Store.Load(ctx, owner, id)
}

func (s *damagedRecords) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	if s.fail != nil {
		return latchkey.Role{}, s.fail
	}
	if id == s.role {
		return latchkey.Role{ID: id, Owner: owner, Version: 1, Damaged: true},
			&latchkey.DamagedError{Kind: latchkey.ChangedRole, Owner: owner, ID: id}
	}
	return s.Store.Role(ctx, owner, id)
}

func TestWhoGoesOnAfterADamagedToken(t *testing.T) {
	store := &damagedRecords{Store: memstore.New(nil)}
	keys := latchkey.New(store, nil)
	acme, ctx := keys.For("acme"), t.Context()
	role := must(acme.CreateRole(ctx, latchkey.Role{Name: "r", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("a")}}))
	var ids []string
	for _, roles := range [][]string{nil, {role.ID}, nil} {
		tok, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: roles,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}})
		require.NoError(t, err)
		ids = append(ids, tok.ID)
	}
	store.token, store.role = ids[0], role.ID
	ask := func(a latchkey.Account) (out []string) {
		for h, err := range a.Who(ctx, latchkey.Read, "a") {
			var damaged *latchkey.DamagedError
			switch {
			case errors.As(err, &damaged):
				require.NotEmpty(t, h.Token.ID)
				require.True(t, h.Rows.IsNoRows())
				out = append(out, fmt.Sprint(damaged.Kind, damaged.ID == h.Token.ID))
			case err != nil:
				out = append(out, "failed")
			default:
				out = append(out, "holder")
			}
		}
		return out
	}
	assert.Equal(t, []string{"1 true", "2 false", "holder"}, ask(acme))
	actor := must(acme.As(must(acme.Assume(latchkey.Client{ID: "c"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/token/*")}))))
	assert.Equal(t, []string{"1 true", "1 true", "holder"}, ask(actor), "it may not know of the role")
	store.fail = latchkey.ErrUnavailable
	assert.Equal(t, []string{"1 true", "failed"}, ask(acme))
}

// A token below a damaged one cannot be judged, and those beside it can.
func TestWhoBelowADamagedToken(t *testing.T) {
	store := &damagedRecords{Store: memstore.New(nil)}
	keys := latchkey.New(store, nil)
	acme := keys.For("acme")
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")}
	parent, secret, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules})
	require.NoError(t, err)
	access := must(acme.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()}))
	var child latchkey.Token
	for range 2 {
		child, _, err = access.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
		require.NoError(t, err)
	}
	beside, _, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules})
	require.NoError(t, err)
	store.token = parent.ID
	var damaged, holders []string
	for h, err := range acme.WhoOf(t.Context(), latchkey.WhoQuery{Action: latchkey.Read, Resource: "a", Minted: true}) {
		if why, ok := errors.AsType[*latchkey.DamagedError](err); ok {
			require.Equal(t, parent.ID, why.ID)
			require.True(t, h.Rows.IsNoRows())
			damaged = append(damaged, h.Token.ID)
			continue
		}
		require.NoError(t, err)
		holders = append(holders, h.Token.ID)
	}
	require.Len(t, damaged, 3)
	require.Equal(t, []string{beside.ID}, holders)

	actor := must(acme.As(must(acme.Assume(latchkey.Client{ID: "c"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On(latchkey.Exactly(latchkey.Path("latchkey", "token", child.ID)))}))))
	told := 0
	for _, err := range actor.WhoOf(t.Context(), latchkey.WhoQuery{Action: latchkey.Read, Resource: "a", Minted: true}) {
		why, ok := errors.AsType[*latchkey.DamagedError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, child.ID, why.ID, "it may not know of the parent")
		told++
	}
	require.Equal(t, 1, told)
}

func BenchmarkWho(b *testing.B) {
	keys := latchkey.New(memstore.New(nil), nil)
	acme, ctx := keys.For("acme"), b.Context()
	var roles []string
	for i := range 20 {
		r := must(acme.CreateRole(ctx, latchkey.Role{Name: fmt.Sprint("r", i), Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("by", latchkey.Eq, latchkey.Self))}}))
		roles = append(roles, r.ID)
	}
	for i := range 100_000 {
		if _, _, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: roles[i%20 : i%20+1]}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		n := 0
		for _, err := range acme.WhoOf(ctx, latchkey.WhoQuery{Action: latchkey.Read, Resource: "dataset/payroll",
			Page: latchkey.Page{Limit: 1000}}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 100_000 {
			b.Fatal(n)
		}
	}
}

// Who answers as each holder's own Access does: with roles that end, roles of code, attributes and forced references.
func TestWhoAgreesWithTheHolders(t *testing.T) {
	base := latchkey.Role{Name: "base", Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Create).On("row")}}
	w := newWorld(t, withRoles(base, latchkey.Role{Name: "heir", Inherits: []string{"base"}}))
	w.role("stored", latchkey.Grant(latchkey.Create).On("row"))
	w.ok(errOf(w.acme.CreateRole(w.ctx, latchkey.Role{Name: "of code", Inherits: []string{"heir"}})))
	forces := func(v any) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Create, latchkey.Update).On("row").Force(
			map[string]any{"dept": v})}
	}
	soon := w.now().Add(time.Hour)
	secrets := map[string]string{}
	issue := func(name string, s latchkey.Spec) latchkey.Access {
		s.Kind, s.Name = latchkey.KindAPIKey, name
		_, secret, err := w.acme.Issue(w.ctx, s)
		w.ok(err)
		secrets[name] = secret.Reveal()
		return w.access(secret.Reveal())
	}
	mint := func(name string, of latchkey.Access, n latchkey.Narrowing) {
		n.Name = name
		n.Lifetime = 24 * time.Hour
		_, secrets[name] = w.mint(of, n)
	}
	sales := latchkey.Attributes{"dept": "sales"}
	issue("role", latchkey.Spec{Roles: []string{"stored"}})
	lent := issue("lent", latchkey.Spec{Roles: []string{"stored"}, RoleEnds: roleEnds{"stored": soon}})
	mint("child of lent", lent, latchkey.Narrowing{})
	mint("named child of lent", lent, latchkey.Narrowing{Roles: []string{"stored"}})
	issue("code", latchkey.Spec{Roles: []string{"base"}})
	issue("heir", latchkey.Spec{Roles: []string{"heir"}})
	issue("lent code", latchkey.Spec{Roles: []string{"heir"}, RoleEnds: roleEnds{"heir": soon}})
	issue("inherits code", latchkey.Spec{Roles: []string{"of code"}})
	issue("forced without the attribute", latchkey.Spec{Permissions: forces(latchkey.Attr("dept"))})
	issue("forced without the client", latchkey.Spec{Permissions: forces(latchkey.ClientID)})
	forced := issue("forced", latchkey.Spec{Permissions: forces(latchkey.Attr("dept")), Attributes: sales})
	mint("forced alike", forced, latchkey.Narrowing{Permissions: forces("sales")})
	mint("forced otherwise", forced, latchkey.Narrowing{Permissions: forces("legal")})
	// Rows and forced values of a token's own are kept apart from the rights that it shares with others.
	all := issue("all", latchkey.Spec{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Create, latchkey.Read).On("row")}})
	mint("rows of its own", all, latchkey.Narrowing{Rows: []latchkey.Condition{eq("dept", "sales")}})
	mint("other rows of its own", all, latchkey.Narrowing{Rows: []latchkey.Condition{eq("dept", "legal")}})
	mint("forced of its own", all, latchkey.Narrowing{Forced: map[string]any{"dept": "sales"}})
	issue("rows", latchkey.Spec{Attributes: sales,
		Permissions: latchkey.Permissions{rowRule(eq("dept", latchkey.Attr("dept")))}})
	issue("no rows", latchkey.Spec{Permissions: latchkey.Permissions{rowRule(eq("dept", latchkey.Attr("dept")))}})

	check := func() {
		t.Helper()
		for _, do := range []latchkey.Action{latchkey.Create, latchkey.Update, latchkey.Read} {
			for _, keys := range []*latchkey.Manager{w.keys, w.beside(base, latchkey.Role{Name: "heir",
				Inherits: []string{"base"}}).keys} { // with and without cached rights
				got, err := whoMay(t, keys.For("acme"), latchkey.WhoQuery{Action: do, Resource: "row", Minted: true})
				w.ok(err)
				want := map[string]string{}
				for name, secret := range secrets {
					if rows, err := w.access(secret).Filter(do, "row"); err == nil {
						want[name] = rows.String()
					}
				}
				assert.Equal(t, want, got, do)
			}
		}
	}
	check()
	w.turn(time.Hour)
	check()
	got, err := whoMay(t, w.acme, latchkey.WhoQuery{Action: latchkey.Create, Resource: "row", Minted: true})
	w.ok(err)
	require.Contains(t, got, "inherits code")
	require.Contains(t, got, "rows of its own")
	require.NotEqual(t, got["rows of its own"], got["other rows of its own"])
	require.NotContains(t, got, "child of lent")
}

// A role of code that the actor may not read hides the rows, as a stored one does. One that has ended hides nothing.
func TestWhoHidesRowsOfRolesOfCode(t *testing.T) {
	w := newWorld(t, withRoles(codeViewer))
	w.role("stored", latchkey.Grant(latchkey.Read).On("doc/*"))
	for name, s := range map[string]latchkey.Settings{
		"code": {Roles: []string{"viewer"}},
		"own": {Roles: []string{"viewer"}, RoleEnds: roleEnds{"viewer": w.now().Add(time.Minute)},
			Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("doc/*")}},
	} {
		s.Name = name
		w.issue(latchkey.KindAPIKey, s)
	}
	_, secret := w.key(latchkey.Allow(latchkey.Read).On("latchkey/token/*"))
	as := mustAs(w, w.access(secret))
	ask := latchkey.WhoQuery{Action: latchkey.Read, Resource: "doc/1"}
	got, err := whoMay(t, as, ask)
	w.ok(err)
	require.Equal(t, map[string]string{"code": "hidden", "own": "hidden"}, got)
	w.turn(time.Minute)
	got, err = whoMay(t, as, ask)
	w.ok(err)
	require.Equal(t, map[string]string{"code": "hidden", "own": "every row"}, got)
}

// Reach lists no resource on which a rule forces a reference that the caller has no value for.
func TestReachWithForcedReferences(t *testing.T) {
	w := newWorld(t)
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Create).On("row/*").Force(
		map[string]any{"dept": latchkey.Attr("dept")})}
	for _, c := range []struct {
		of    latchkey.Attributes
		lists int
	}{{nil, 0}, {latchkey.Attributes{"dept": []string{"a", "b"}}, 0}, {latchkey.Attributes{"dept": "sales"}, 1}} {
		a, err := w.acme.AssumeWith(latchkey.Caller{Attributes: c.of, Rules: rules})
		w.ok(err)
		list, _, err := a.Reach(latchkey.Create, "", latchkey.Page{})
		w.ok(err)
		assert.Len(t, list, c.lists)
		assert.Equal(t, c.lists == 1, a.Check(latchkey.Create, "row/1") == nil)
	}
}
