package latchkey_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// codeViewer and codeEditor are roles of a program.
var (
	codeViewer = latchkey.Role{Name: "viewer",
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("doc/*")}}
	codeEditor = latchkey.Role{Name: "editor", Inherits: []string{"viewer"},
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Update).On("doc/*")}}
)

func withRoles(roles ...latchkey.Role) func(*latchkey.Options) {
	return func(o *latchkey.Options) { o.Roles = roles }
}

// beside is another process over the store of w, with other roles of its own.
func (w *world) beside(roles ...latchkey.Role) *world {
	o := w.options()
	o.Roles = roles
	b := &world{T: w.T, ctx: w.ctx, store: w.store, keys: latchkey.New(w.store, &o)}
	b.time.Store(w.time.Load())
	b.acme = b.keys.For("acme")
	return b
}

func TestNewRefusesRolesOfCode(t *testing.T) {
	named := func(n int) (roles []latchkey.Role) {
		for i := range n {
			roles = append(roles, latchkey.Role{Name: fmt.Sprint(i)})
		}
		return roles
	}
	bound := named(1000)
	bound[0].Name = strings.Repeat("a", 59)
	latchkey.New(memstore.New(nil), &latchkey.Options{Roles: bound})
	ring := func(name, up string) latchkey.Role { return latchkey.Role{Name: name, Inherits: []string{up}} }
	for why, roles := range map[string][]latchkey.Role{
		"must be empty":        {{ID: "x", Name: "a"}},
		"Owner":                {{Owner: "acme", Name: "a"}},
		"Version":              {{Version: 1, Name: "a"}},
		"Origin":               {{Origin: "datocms", Name: "a"}},
		"name is empty":        {{}},
		"than 59 bytes":        {{Name: strings.Repeat("a", 60)}},
		"begins or ends":       {{Name: "a "}},
		"looks like an id":     {{Name: "code:a"}},
		"case and spaces":      {{Name: "a b"}, {Name: "A  B"}},
		"twice":                {{Name: "a"}, {Name: "b", Inherits: []string{"a", "code:a"}}},
		"not in the list":      {{Name: "a", Inherits: []string{"b"}}},
		"inherits itself":      {ring("a", "a")},
		"cycle":                {ring("a", "b"), ring("b", "a")},
		"rule without actions": {{Name: "a", Permissions: latchkey.Permissions{{}}}},
		"forces values": {{Name: "a", Boundary: latchkey.Permissions{
			latchkey.Allow(latchkey.Create).On("a").Force(map[string]any{"x": 1})}}},
		"not JSON":        {{Name: "a", Extra: json.RawMessage("{")}},
		"than 1000 roles": named(1001),
	} {
		t.Run(why, func(t *testing.T) {
			defer func() {
				text := fmt.Sprint(recover())
				if why != "rule without actions" {
					assert.Contains(t, text, why)
				}
				assert.Contains(t, text, "Options.Roles", "the text says what to correct")
			}()
			latchkey.New(memstore.New(nil), &latchkey.Options{Roles: roles})
			t.Error("New accepts it")
		})
	}
}

// Every owner has them without a record: they are listed, held, inherited, minted and explained.
func TestRolesOfCodeHoldForEveryOwner(t *testing.T) {
	w := newWorld(t, withRoles(codeEditor, codeViewer))
	own := w.role("own", latchkey.Grant(latchkey.Create).On("doc/*"))
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{latchkey.CodeRoleID("editor")},
		Permissions: latchkey.Permissions{latchkey.Deny(latchkey.Update).On("doc/secret")}})
	w.ok(err)
	for owner, held := range map[string][]string{"acme": {heir.ID}, "globex": {"code:editor"}} {
		a := w.keys.For(owner)
		tok, secret, err := a.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: held})
		w.ok(err)
		access := w.access(secret.Reveal())
		assert.True(t, access.Allows(latchkey.Read, "doc/1"), owner)
		assert.True(t, access.Allows(latchkey.Update, "doc/1"), owner)
		assert.False(t, access.Allows(latchkey.Create, "doc/1"), owner)
		assert.Equal(t, owner == "globex", access.Allows(latchkey.Update, "doc/secret"), owner)
		assert.Equal(t, held, access.Roles())
		e, err := a.Explain(w.ctx, tok.ID, latchkey.Question{Action: latchkey.Read, Resource: "doc/1"})
		w.ok(err)
		assert.Equal(t, "all", e[0].Verdict)
		assert.Empty(t, e[0].Missing)
		l, err := a.Lineage(w.ctx, tok.ID)
		w.ok(err)
		assert.Contains(t, roleIDs(l.Roles), "code:viewer")
		_, err = access.Again(w.ctx)
		w.ok(err)
		_, child := w.mint(access, latchkey.Narrowing{})
		assert.True(t, w.access(child).Allows(latchkey.Update, "doc/1"), owner)
	}
	e, err := w.acme.ExplainRole(w.ctx, "code:editor", latchkey.Question{Action: latchkey.Read, Resource: "doc/1"})
	w.ok(err)
	assert.Equal(t, "all", e[0].Verdict)
	l, err := w.acme.RoleLineage(w.ctx, heir.ID)
	w.ok(err)
	assert.Equal(t, []string{heir.ID, "code:editor", "code:viewer"}, roleIDs(l.Roles))
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"code:editor", own.ID}})
	_, err = w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{"code:viewer"}})
	w.is(latchkey.ErrInvalid, err) // it is inherited, not held
	narrow, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{"code:editor"}})
	w.ok(err)
	assert.True(t, narrow.Allows(latchkey.Read, "doc/1"))
	assert.False(t, narrow.Allows(latchkey.Create, "doc/1"))
	again, err := narrow.Again(w.ctx)
	w.ok(err)
	assert.True(t, again.Allows(latchkey.Read, "doc/1"))
}

func roleIDs(roles []latchkey.Role) (out []string) {
	for _, r := range roles {
		out = append(out, r.ID)
	}
	return out
}

func TestRolesOfCodeAreListed(t *testing.T) {
	w := newWorld(t, withRoles(codeEditor, codeViewer))
	a, b := w.role("a"), w.role("b")
	list := func(q latchkey.RoleQuery) (got []string) {
		for r, err := range w.acme.Roles(w.ctx, q) {
			w.ok(err)
			got = append(got, r.ID)
		}
		return got
	}
	host, other := "", "datocms"
	all := []string{a.ID, b.ID, "code:editor", "code:viewer"}
	for what, c := range map[string]struct {
		q    latchkey.RoleQuery
		want []string
	}{
		"all":              {latchkey.RoleQuery{}, all},
		"in short pages":   {latchkey.RoleQuery{Page: latchkey.Page{Limit: 1}}, all},
		"after the first":  {latchkey.RoleQuery{Page: latchkey.Page{After: a.ID}}, all[1:]},
		"after the stored": {latchkey.RoleQuery{Page: latchkey.Page{After: b.ID}}, all[2:]},
		"after one of code": {latchkey.RoleQuery{Page: latchkey.Page{After: "code:editor", Limit: 1}},
			[]string{"code:viewer"}},
		"after the last": {latchkey.RoleQuery{Page: latchkey.Page{After: "code:viewer"}}, nil},
		"ids":            {latchkey.RoleQuery{IDs: []string{"code:viewer", b.ID}}, []string{b.ID, "code:viewer"}},
		"names":          {latchkey.RoleQuery{Names: []string{"editor"}}, []string{"code:editor"}},
		"the host's":     {latchkey.RoleQuery{Origin: &host}, all},
		"a surface's":    {latchkey.RoleQuery{Origin: &other}, nil},
		"heirs":          {latchkey.RoleQuery{Inherits: "code:viewer"}, []string{"code:editor"}},
	} {
		assert.Equal(t, c.want, list(c.q), what)
	}
	for range w.acme.Roles(w.ctx, latchkey.RoleQuery{}) {
		break // a listing that ends early goes no further
	}
	// Page by page, as a list with a link to the next page reads them.
	var got []string
	for after := ""; ; {
		n := 0
		for r, err := range w.acme.Roles(w.ctx, latchkey.RoleQuery{Page: latchkey.Page{After: after, Limit: 2}}) {
			w.ok(err)
			if n++; n > 2 {
				break
			}
			got, after = append(got, r.ID), r.ID
		}
		if n <= 2 {
			break
		}
	}
	assert.Equal(t, all, got)

	r, err := w.acme.Role(w.ctx, "code:editor")
	w.ok(err)
	assert.True(t, r.Coded())
	assert.Equal(t, []string{"code:viewer"}, r.Inherits)
	r.Permissions[0] = readAll() // a copy
	r, err = w.acme.Role(w.ctx, "code:editor")
	w.ok(err)
	assert.NotEqual(t, readAll(), r.Permissions[0])
	_, err = w.acme.Role(w.ctx, "code:author")
	w.is(latchkey.ErrNotFound, err)

	_, reader := w.key(latchkey.Allow(latchkey.Read).On("latchkey/role/code:viewer"))
	as := mustAs(w, w.access(reader))
	got = nil
	for r, err := range as.Roles(w.ctx, latchkey.RoleQuery{}) {
		w.ok(err)
		got = append(got, r.ID)
	}
	assert.Equal(t, []string{"code:viewer"}, got, "an actor sees what it may read")
	_, err = as.Role(w.ctx, "code:editor")
	w.is(latchkey.ErrNotFound, err)
}

// A deploy changes them, and nothing else does.
func TestRolesOfCodeCannotBeChanged(t *testing.T) {
	w := newWorld(t, withRoles(codeViewer))
	_, err := w.acme.UpdateRole(w.ctx, "code:viewer", func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	w.is(latchkey.ErrInvalid, err)
	assert.ErrorContains(t, err, "Options.Roles")
	err = w.acme.DeleteRole(w.ctx, "code:viewer")
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.UpdateRole(w.ctx, "code:author", func(r *latchkey.Role) error { return nil })
	w.is(latchkey.ErrNotFound, err)
	w.is(latchkey.ErrNotFound, w.acme.DeleteRole(w.ctx, "code:author"))
	_, nobody := w.key(readAll())
	w.is(latchkey.ErrDenied, mustAs(w, w.access(nobody)).DeleteRole(w.ctx, "code:viewer"))

	w.is(latchkey.ErrExists, second(w.acme.CreateRole(w.ctx, latchkey.Role{Name: "viewer"})))
	w.is(latchkey.ErrExists, second(w.acme.CreateRole(w.ctx, latchkey.Role{Name: "VIEWER"})))
	other := w.role("other")
	_, err = w.acme.UpdateRole(w.ctx, other.ID, func(r *latchkey.Role) error { r.Name = "Viewer"; return nil })
	w.is(latchkey.ErrExists, err)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "viewer", Origin: "datocms"}) // its API says what names it takes
	w.ok(err)
}

// A role of an owner that had the name before stays, and explanations tell of it.
func TestAStoredRoleOfTheSameName(t *testing.T) {
	before := newWorld(t)
	own := before.role("Viewer", latchkey.Grant(latchkey.Read).On("old/*"))
	tok, _ := before.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{own.ID}})
	surface, err := before.acme.CreateRole(before.ctx, latchkey.Role{Name: "viewer", Origin: "datocms"})
	before.ok(err)
	w := before.beside(codeViewer)
	ask := latchkey.Question{Action: latchkey.Read, Resource: "old/1"}
	for what, explain := range map[string]func() ([]latchkey.Explanation, error){
		"token": func() ([]latchkey.Explanation, error) { return w.acme.Explain(w.ctx, tok.ID, ask) },
		"role":  func() ([]latchkey.Explanation, error) { return w.acme.ExplainRole(w.ctx, own.ID, ask) },
	} {
		e, err := explain()
		w.ok(err)
		require.Equal(t, "all", e[0].Verdict, what)
		require.Equal(t, "code:viewer", e[0].Layers[0].Roles[0].SameName, what)
		require.Contains(t, e[0].String(), "has the name of role", what)
	}
	r, ok := w.keys.CodeRoleNamed(own.Name)
	require.True(t, ok)
	require.Equal(t, "code:viewer", r.ID)
	_, err = w.acme.UpdateRole(w.ctx, own.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	w.ok(err) // the name stays
	foreign, err := w.acme.ExplainRole(w.ctx, surface.ID, ask)
	w.ok(err)
	require.Empty(t, foreign[0].Layers[0].Roles[0].SameName, "the names of a surface are its own")
	e, err := w.acme.ExplainRole(w.ctx, "code:viewer", ask)
	w.ok(err)
	require.Empty(t, e[0].Layers[0].Roles[0].SameName)
}

// A process that lacks a role answers without it, says so, and neither gives nor applies it.
func TestAProcessThatLacksARoleOfCode(t *testing.T) {
	w := newWorld(t, withRoles(codeEditor, codeViewer))
	own := w.role("own", latchkey.Grant(latchkey.Read).On("own/*"))
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{"viewer"},
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Read).On("heir/*")}})
	w.ok(err)
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"editor", own.ID, heir.ID}})
	bare := w.beside()
	access := bare.access(secret)
	for on, may := range map[latchkey.Resource]bool{"doc/1": false, "own/1": true, "heir/1": true} {
		require.Equal(t, may, access.Allows(latchkey.Read, on), on)
		require.True(t, w.access(secret).Allows(latchkey.Read, on), on)
	}
	require.Equal(t, []string{own.ID, heir.ID}, access.Roles(), "it loses that role only")

	e, err := bare.acme.Explain(w.ctx, tok.ID, latchkey.Question{Action: latchkey.Read, Resource: "doc/1"})
	w.ok(err)
	require.ElementsMatch(t, []string{"code:editor", "code:viewer"}, e[0].Missing)
	require.Contains(t, e[0].String(), "not complete: this process has no role code:editor")
	require.Contains(t, e[0].Reason, "this process has no role")
	l, err := bare.acme.Lineage(w.ctx, tok.ID)
	w.ok(err)
	require.Equal(t, []string{"code:editor", "code:viewer"}, l.MissingRoles)
	l, err = bare.acme.RoleLineage(w.ctx, heir.ID)
	w.ok(err)
	require.Equal(t, []string{"code:viewer"}, l.MissingRoles)

	lacks := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, latchkey.ErrInvalid)
		require.ErrorContains(t, err, "this process has no role")
	}
	for _, role := range []string{"code:editor", heir.ID} {
		_, _, err = bare.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role}})
		lacks(err)
	}
	_, err = bare.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Roles = t.Roles[:1]; return nil })
	lacks(err)
	_, err = bare.acme.UpdateRole(w.ctx, heir.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
	lacks(err)
	_, err = bare.acme.CreateRole(w.ctx, latchkey.Role{Name: "x", Inherits: []string{heir.ID}})
	lacks(err)
	_, _, err = bare.acme.EnsureRole(w.ctx, latchkey.Role{Name: "x", Inherits: []string{"code:viewer"}})
	lacks(err)
	_, sessionSecret := bare.issue(latchkey.KindSession, latchkey.Settings{
		Permissions: latchkey.Permissions{readAll()}})
	_, _, err = bare.access(sessionSecret).Mint(w.ctx, latchkey.Narrowing{Roles: []string{"code:viewer"}, Lifetime: 1e9})
	lacks(err)
	_, err = bare.acme.ExplainRole(w.ctx, "code:editor")
	w.is(latchkey.ErrNotFound, err)
	bare.update(tok, func(t *latchkey.Token) { t.Name, t.Disabled = "renamed", true }) // what it may do stays as it is
}

// What such a role allows elsewhere is not known here. So it counts as everything when an actor is judged.
func TestAnActorAndARoleThatThisProcessLacks(t *testing.T) {
	ring := must(latchkey.NewKeyring(latchkey.Key{ID: 1, Secret: []byte(strings.Repeat("a", 32))}))
	w := newWorld(t, withRoles(codeViewer), func(o *latchkey.Options) { o.Keyring = ring })
	heir, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: []string{"viewer"}})
	w.ok(err)
	_, admin := w.key(latchkey.Allow(latchkey.Any).On("latchkey/*", "own/*"))
	direct, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"viewer"}})
	inherited, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{heir.ID}})
	o := w.options()
	o.Keyring = ring
	bare := latchkey.New(w.store, &o)
	here := must(bare.Verify(w.ctx, latchkey.Presented{Secret: admin}))
	as := must(bare.For("acme").As(here))
	for _, tok := range []latchkey.Token{direct, inherited} {
		_, err = as.Rotate(w.ctx, tok.ID, 0)
		w.is(latchkey.ErrDenied, err)
		_, err = as.Reveal(w.ctx, tok.ID)
		w.is(latchkey.ErrDenied, err)
		_, err = as.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Name = "x"; return nil })
		w.is(latchkey.ErrDenied, err)
	}
	w.is(latchkey.ErrDenied, as.DeleteRole(w.ctx, heir.ID))
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("own/*")}})
	w.ok(err)
}

// During a rolling deploy each process answers by its own code, from its cache too.
func TestTwoProcessesWithDifferentRolesOfCode(t *testing.T) {
	w := newWorld(t, withRoles(codeViewer))
	wider := codeViewer
	wider.Permissions = latchkey.Permissions{latchkey.Grant(latchkey.Read).On("*")}
	next := w.beside(wider, latchkey.Role{Name: "author"})
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"viewer"}})
	_, other := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"viewer"}}) // shares what is compiled
	for range 2 {
		for _, s := range []string{secret, other} {
			require.False(t, w.access(s).Allows(latchkey.Read, "other"))
			require.True(t, next.access(s).Allows(latchkey.Read, "other"))
		}
	}
	_, newer := next.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"author", "viewer"}})
	require.True(t, w.access(newer).Allows(latchkey.Read, "doc/1"))
	require.Equal(t, []string{"code:viewer"}, w.access(newer).Roles())
	require.Equal(t, []string{"code:author", "code:viewer"}, next.access(newer).Roles())
}

// An actor gives a role of code only if that lies within its own rights, and its writes require no record of one.
func TestAnActorGivesARoleOfCode(t *testing.T) {
	w := newWorld(t, withRoles(codeEditor, codeViewer))
	may := latchkey.Allow(latchkey.Any).On("latchkey/*")
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"viewer"},
		Permissions: latchkey.Permissions{may}})
	as := mustAs(w, w.access(secret))
	_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"viewer"}})
	w.ok(err)
	_, _, err = as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"editor"}})
	w.is(latchkey.ErrDenied, err)
	r, err := as.CreateRole(w.ctx, latchkey.Role{Name: "mine", Inherits: []string{"viewer"}})
	w.ok(err)
	w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{r.ID}})
	_, err = as.UpdateRole(w.ctx, r.ID, func(r *latchkey.Role) error { r.Inherits = []string{"code:editor"}; return nil })
	w.is(latchkey.ErrDenied, err)
	_, err = as.UpdateRole(w.ctx, r.ID, func(r *latchkey.Role) error { r.Name = "still mine"; return nil })
	w.ok(err)
}

// No record of the store stands for a role of code, not even one that a foreign program put there.
func TestARecordWithAnIDOfCode(t *testing.T) {
	w := newWorld(t, withRoles(codeViewer))
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"viewer"}})
	bare := w.beside()
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: []latchkey.Role{
		{ID: "code:viewer", Owner: "acme", Name: "x", Permissions: latchkey.Permissions{readAll()}}}}))
	for _, m := range []*world{w, bare} {
		require.False(t, m.access(secret).Allows(latchkey.Read, "other"))
		var got []latchkey.Role
		for r, err := range m.acme.Roles(w.ctx, latchkey.RoleQuery{}) {
			w.ok(err)
			got = append(got, r)
		}
		require.Equal(t, m.keys.CodeRoles(), append([]latchkey.Role{}, got...))
	}
}

// An owner may have an id of the same form. Its records are its own, and their changes take effect.
func TestAnOwnerWithAnIDOfCode(t *testing.T) {
	w := newWorld(t, withRoles(codeViewer))
	a := w.keys.For("code:viewer")
	_, secret, err := a.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"viewer"}})
	w.ok(err)
	for range 2 { // from the store, then from memory
		require.True(t, w.access(secret.Reveal()).Allows(latchkey.Read, "doc/1"))
	}
	w.ok(a.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("other")}
		return nil
	}))
	require.False(t, w.access(secret.Reveal()).Allows(latchkey.Read, "doc/1"))
	w.ok(a.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
	_, err = w.verify(secret.Reveal())
	w.is(latchkey.ErrOwnerDisabled, err)
}

// A program without the code reads the roles from a file, and answers as the application does.
func TestRolesOfCodeInAFile(t *testing.T) {
	full := latchkey.Role{Name: "full", Inherits: []string{"editor", "code:viewer"}, InheritDenies: true,
		Permissions: latchkey.Permissions{latchkey.Deny(latchkey.Read).On("doc/7").Where(eq("a", 1))},
		Boundary:    latchkey.Permissions{}, Extra: json.RawMessage(`{"b":1,"a":[null]}`)}
	w := newWorld(t, withRoles(full, codeEditor, codeViewer))
	var file, again bytes.Buffer
	w.ok(latchkey.WriteRoles(&file, w.keys.CodeRoles()))
	text := file.String()
	read, err := latchkey.ReadRoles(&file)
	w.ok(err)
	w.ok(latchkey.WriteRoles(&again, read))
	require.Equal(t, text, again.String())
	tool := w.beside(read...)
	want, err := json.Marshal(w.keys.CodeRoles())
	w.ok(err)
	got, err := json.Marshal(tool.keys.CodeRoles())
	w.ok(err)
	require.JSONEq(t, string(want), string(got))
	require.NotNil(t, tool.keys.CodeRoles()[1].Boundary, "an empty boundary lets nothing through; it is not none")
	_, err = tool.acme.ExplainRole(w.ctx, "code:full")
	w.ok(err)

	for why, text := range map[string]string{
		"no text":         ``,
		"null":            `null`,
		"no format":       `{"roles":[]}`,
		"no roles":        `{"format":1}`,
		"null roles":      `{"format":1,"roles":null}`,
		"a later format":  `{"format":2,"roles":[],"more":1}`,
		"unknown member":  `{"format":1,"roles":[{"name":"a","boundry":[]}]}`,
		"another case":    `{"format":1,"roles":[{"Name":"a"}]}`,
		"null boundary":   `{"format":1,"roles":[{"name":"a","boundary":null}]}`,
		"twice":           `{"format":1,"roles":[{"name":"a","name":"b"}]}`,
		"trailing text":   `{"format":1,"roles":[]} {}`,
		"an unknown role": `{"format":1,"roles":[{"name":"a","inherits":["b"]}]}`,
		"a bad rule":      `{"format":1,"roles":[{"name":"a","permissions":[{"allow":[],"on":["x"]}]}]}`,
	} {
		_, err := latchkey.ReadRoles(strings.NewReader(text))
		require.ErrorIs(t, err, latchkey.ErrInvalid, why)
	}
	_, err = latchkey.ReadRoles(strings.NewReader(`{"format":2}`))
	require.ErrorContains(t, err, "later version")
	_, err = latchkey.ReadRoles(io.LimitReader(spaces{}, 64<<20+1))
	require.ErrorContains(t, err, "at most")
	_, err = latchkey.ReadRoles(failingReader{})
	require.ErrorIs(t, err, errOfReader)
	require.ErrorIs(t, latchkey.WriteRoles(&again, []latchkey.Role{{}}), latchkey.ErrInvalid)
	var none bytes.Buffer
	w.ok(latchkey.WriteRoles(&none, nil))
	read, err = latchkey.ReadRoles(&none)
	w.ok(err)
	require.Empty(t, read)
	read, err = latchkey.ReadRoles(strings.NewReader(`{"format":1,"roles":[]}`))
	w.ok(err)
	require.Empty(t, read)
}

var errOfReader = fmt.Errorf("my own")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errOfReader }

// An actor gets no secret of a token whose roles this process does not know, unless it has all rights that they may
// give.
func TestAnActorGetsNoSecretOfUnknownRoles(t *testing.T) {
	all := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"), latchkey.Grant(latchkey.Any).On("latchkey/*")}
	named := func(a ...latchkey.Action) latchkey.Permissions {
		return append(slices.Clone(all), latchkey.Grant(a...).On("*", "latchkey/*"))
	}
	w := newWorld(t, withRoles(latchkey.Role{Name: "desk", Permissions: latchkey.Permissions{
		latchkey.Grant(latchkey.Give, latchkey.Exceed).On("latchkey/*")}}))
	desk, _ := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"desk"}})
	without := w.beside() // another process, which does not know the role
	for _, c := range []struct {
		has latchkey.Permissions
		may bool
	}{{all, false}, {named(latchkey.Give), false}, {named(latchkey.Exceed), false},
		{named(latchkey.Give, latchkey.Exceed), true}} {
		_, secret := w.key(c.has...)
		for _, p := range []*world{w, without} {
			as := mustAs(p, must(p.verify(secret)))
			for _, get := range []func() error{
				func() error { return errOf(as.Rotate(w.ctx, desk.ID, 0)) },
				func() error { return errOf(as.Reveal(w.ctx, desk.ID)) },
			} {
				if err := get(); c.may {
					require.NotErrorIs(t, err, latchkey.ErrDenied)
				} else {
					w.is(latchkey.ErrDenied, err)
				}
			}
		}
	}
	_, secret := w.key(all...)
	as := mustAs(without, must(without.verify(secret)))
	_, root := w.issue(latchkey.KindSecret, latchkey.Settings{})
	for _, as := range []latchkey.Account{as, mustAs(without, must(without.verify(root)))} {
		_, err := as.Update(w.ctx, desk.ID, func(t *latchkey.Token) error { t.Name = "renamed"; return nil })
		w.is(latchkey.ErrDenied, err)
	}
	_, err := as.Update(w.ctx, desk.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
	w.ok(err) // it may be switched off
	_, err = as.Update(w.ctx, desk.ID, func(t *latchkey.Token) error { t.Disabled = false; return nil })
	w.is(latchkey.ErrDenied, err)
	w.ok(as.Revoke(w.ctx, desk.ID, ""))
}

// spaces is a text of spaces that never ends.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
