package latchkey_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Whoever names a role by its name gets a record with the id.
func TestRolesByName(t *testing.T) {
	w := newWorld(t, withRoles(codeViewer))
	clerk := w.role("clerk", readAll())
	boss, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "boss", Inherits: []string{"clerk", "viewer"}})
	w.ok(err)
	require.Equal(t, []string{clerk.ID, "code:viewer"}, boss.Inherits)
	boss, err = w.acme.UpdateRole(w.ctx, boss.ID, func(r *latchkey.Role) error {
		r.Inherits = []string{"viewer", clerk.ID}
		return nil
	})
	w.ok(err)
	require.Equal(t, []string{"code:viewer", clerk.ID}, boss.Inherits)

	end := w.now().Add(time.Hour)
	tok, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"clerk", "code:viewer", "boss"},
		RoleEnds: map[string]time.Time{"boss": end, "code:viewer": end}})
	want := []string{clerk.ID, "code:viewer", boss.ID}
	require.Equal(t, want, tok.Roles)
	require.Equal(t, map[string]time.Time{boss.ID: end, "code:viewer": end}, tok.RoleEnds)
	stored, err := w.acme.Get(w.ctx, tok.ID)
	w.ok(err)
	require.Equal(t, want, stored.Roles)
	require.Equal(t, tok.RoleEnds, stored.RoleEnds)

	child, _ := w.mint(w.access(secret), latchkey.Narrowing{Roles: []string{"viewer", "clerk"}})
	require.ElementsMatch(t, []string{"code:viewer", clerk.ID}, child.Roles)
	narrow, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Roles: []string{"boss"}})
	w.ok(err)
	require.Equal(t, []string{boss.ID}, narrow.Roles())
	_, session := w.issue(latchkey.KindSession, latchkey.Settings{})
	child, _ = w.mint(w.access(session), latchkey.Narrowing{Roles: []string{"clerk"}})
	require.Equal(t, []string{clerk.ID}, child.Roles, "a session may name any role of the owner")

	tok, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Roles = []string{"boss"}; return nil })
	w.ok(err)
	require.Equal(t, []string{boss.ID}, tok.Roles)
	require.Equal(t, map[string]time.Time{boss.ID: end}, tok.RoleEnds, "the end of a role goes with it")

	for _, name := range []string{"boss", boss.ID} {
		found := 0
		for got, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{Role: name}) {
			w.ok(err)
			require.Equal(t, tok.ID, got.ID)
			found++
		}
		require.Equal(t, 1, found)
		_, err := w.acme.SeekPage(w.ctx, latchkey.TokenQuery{Role: name}, "")
		w.ok(err)
	}
	for _, name := range []string{"clerk", "viewer", "code:viewer"} {
		for got, err := range w.acme.Roles(w.ctx, latchkey.RoleQuery{Inherits: name}) {
			w.ok(err)
			require.Equal(t, boss.ID, got.ID)
		}
	}
}

// A name that does not name one role is refused, with what there is.
func TestRolesByNameRefuse(t *testing.T) {
	before := newWorld(t)
	own := before.role("viewer")
	w := before.beside(codeViewer, codeEditor)
	surface, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "theirs", Origin: "datocms"})
	w.ok(err)
	odd := latchkey.Role{ID: "editor", Owner: "acme", Name: "odd"} // an id that has the form of a name
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: []latchkey.Role{odd}}))
	issue := func(origin, role string) ([]string, error) {
		tok, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: origin, Roles: []string{role}})
		return tok.Roles, err
	}
	for what, c := range map[string]struct {
		origin, role string
		says         []string // none: it is issued
	}{
		"the host's and the program's":  {"", "viewer", []string{own.ID, "code:viewer", "several roles"}},
		"a surface's":                   {"", "theirs", []string{"unknown role"}},
		"nobody's":                      {"", "nobody", []string{`unknown role "nobody"`}},
		"one letter off":                {"", "edtor", []string{`there is ["editor"]`}},
		"in another case":               {"", "Editor", []string{`there is ["editor"]`}},
		"empty":                         {"", "", []string{"role is empty"}},
		"an id wins":                    {"", "editor", nil},
		"an id of no role":              {"", "0193e000-0000-7000-8000-000000000000", []string{"unknown role"}},
		"an id of code that nobody has": {"", "code:author", []string{"this process has no role"}},
		"an id":                         {"", surface.ID, nil},
		"a name for a surface":          {"datocms", "odd", []string{"unknown role"}},
		"an id for a surface":           {"datocms", own.ID, nil},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := issue(c.origin, c.role)
			if c.says == nil {
				require.NoError(t, err)
				require.Equal(t, []string{c.role}, got)
				return
			}
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			require.NotErrorIs(t, err, latchkey.ErrNotFound, "it is the role that is missing, not a record asked for")
			for _, part := range c.says {
				require.ErrorContains(t, err, part)
			}
		})
	}
	tok, _ := w.key()
	_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Roles = []string{"nobody"}; return nil })
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "x", Inherits: []string{"viewer"}})
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "x", Origin: "datocms", Inherits: []string{"odd"}})
	w.is(latchkey.ErrInvalid, err)
	for _, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{Role: "nobody"}) {
		w.is(latchkey.ErrInvalid, err)
	}
	w.is(latchkey.ErrInvalid, second(w.acme.SeekPage(w.ctx, latchkey.TokenQuery{Role: "nobody"}, "")))
	for _, err := range w.acme.Roles(w.ctx, latchkey.RoleQuery{Inherits: "nobody"}) {
		w.is(latchkey.ErrInvalid, err)
	}
	surfaces := "datocms"
	_, err = issue("datocms", "editor")
	w.ok(err)
	for tok, err := range w.acme.Tokens(w.ctx, latchkey.TokenQuery{Role: "odd", Origin: &surfaces}) {
		require.Fail(t, "found", "%v %v", tok, err)
	}

	// A parent's own roles are all that a mint may name.
	_, secret := w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{own.ID, "code:viewer"}})
	for role, says := range map[string]string{"viewer": "several roles", "odd": "the parent has no such role",
		"viewr": "there is"} {
		_, _, err := w.access(secret).Mint(w.ctx, latchkey.Narrowing{Roles: []string{role}, Lifetime: time.Hour})
		w.is(latchkey.ErrInvalid, err)
		require.ErrorContains(t, err, says)
	}
	_, secret = w.issue(latchkey.KindAPIKey, latchkey.Settings{Roles: []string{"editor"}})
	for origin, want := range map[string]error{"": nil, "cloudtables": latchkey.ErrInvalid} {
		_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Origin: origin, Roles: []string{"odd"},
			Lifetime: time.Hour})
		require.ErrorIs(t, err, want)
	}
}

// An actor learns no name of a role that it may not read.
func TestErrorsNameNoHiddenRole(t *testing.T) {
	before := newWorld(t)
	own := before.role("viewer")
	before.role("hidden")
	w := before.beside(codeViewer)
	_, secret := w.key(latchkey.Allow(latchkey.Create).On("latchkey/token/*", "latchkey/role/*"),
		latchkey.Allow(latchkey.Read).On("latchkey/role/code:viewer"))
	as := mustAs(w, w.access(secret))
	for role, says := range map[string]string{"hiden": "hidden", "viewer": own.ID} {
		_, _, err := as.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role}})
		w.is(latchkey.ErrInvalid, err)
		require.NotContains(t, err.Error(), says)
	}
	_, err := as.CreateRole(w.ctx, latchkey.Role{Name: "Hidden"})
	w.is(latchkey.ErrExists, err)
	require.NotContains(t, err.Error(), "hidden")
}

func TestEnsureRole(t *testing.T) {
	w := newWorld(t, withRoles(codeViewer))
	events := func() (n int) {
		for _, err := range w.acme.Events(w.ctx, latchkey.EventQuery{}) {
			w.ok(err)
			n++
		}
		return n
	}
	want := latchkey.Role{Name: "clerk", Inherits: []string{"viewer"}, Permissions: latchkey.Permissions{readAll()},
		Boundary: latchkey.Permissions{readAll()}, Extra: []byte(`{"a":1}`)}
	made, changed, err := w.acme.EnsureRole(w.ctx, want)
	w.ok(err)
	require.True(t, changed)
	require.Equal(t, []string{"code:viewer"}, made.Inherits)
	other := w.role("other")
	for what, edit := range map[string]func(*latchkey.Role){
		"nothing":              func(r *latchkey.Role) {},
		"an id for a name":     func(r *latchkey.Role) { r.Inherits = []string{"code:viewer"} },
		"no rules, empty":      func(r *latchkey.Role) { r.Permissions = latchkey.Permissions{} },
		"no rules":             func(r *latchkey.Role) { r.Permissions = nil },
		"other rules":          func(r *latchkey.Role) { r.Permissions = nil; r.InheritDenies = true },
		"no boundary":          func(r *latchkey.Role) { r.Boundary = nil },
		"an empty boundary":    func(r *latchkey.Role) { r.Boundary = latchkey.Permissions{} },
		"another order":        func(r *latchkey.Role) { r.Inherits = []string{"viewer", "other"} },
		"another Extra":        func(r *latchkey.Role) { r.Extra = []byte(`{"a": 1}`) },
		"another role beneath": func(r *latchkey.Role) { r.Inherits = []string{other.ID} },
	} {
		t.Run(what, func(t *testing.T) {
			r := want.Clone()
			edit(&r)
			first, _, err := w.acme.EnsureRole(w.ctx, r)
			w.ok(err)
			slices.Reverse(r.Inherits) // an order that means nothing
			n, epoch := events(), must(w.store.Changes(w.ctx, 0, 0, 0)).Epoch
			again, changed, err := w.acme.EnsureRole(w.ctx, r)
			w.ok(err)
			require.False(t, changed)
			require.Equal(t, first, again)
			require.Equal(t, n, events(), "an event")
			require.Equal(t, epoch, must(w.store.Changes(w.ctx, 0, 0, 0)).Epoch, "an epoch")
			back, changed, err := w.acme.EnsureRole(w.ctx, want)
			w.ok(err)
			require.Equal(t, made.ID, back.ID)
			require.Equal(t, what != "nothing" && what != "an id for a name", changed)
		})
	}
	for what, r := range map[string]latchkey.Role{
		"an id":        {Name: "n", ID: "x"},
		"an owner":     {Name: "n", Owner: "acme"},
		"a version":    {Name: "n", Version: 1},
		"damaged":      {Name: "n", Damaged: true},
		"a known one":  {Name: made.Name, Damaged: true},
		"no name":      {},
		"unknown role": {Name: "n", Inherits: []string{"nobody"}},
		"a bad name":   {Name: "n "},
	} {
		_, _, err := w.acme.EnsureRole(w.ctx, r)
		require.ErrorIs(t, err, latchkey.ErrInvalid, what)
	}
	_, _, err = w.acme.EnsureRole(w.ctx, latchkey.Role{Name: "CLERK"})
	w.is(latchkey.ErrExists, err)
	_, _, err = w.acme.EnsureRole(w.ctx, latchkey.Role{Name: "viewer"})
	w.is(latchkey.ErrExists, err)
	dato, changed, err := w.acme.EnsureRole(w.ctx, latchkey.Role{Name: "clerk", Origin: "datocms"})
	w.ok(err)
	require.True(t, changed)
	require.NotEqual(t, made.ID, dato.ID, "a role of another origin is another role")

	_, reader := w.key(latchkey.Allow(latchkey.Read, latchkey.Create).On("latchkey/role/*"))
	_, _, err = mustAs(w, w.access(reader)).EnsureRole(w.ctx, want)
	w.is(latchkey.ErrDenied, err)
}

// Programs that start together end with one role.
func TestEnsureRoleConcurrently(t *testing.T) {
	w := newWorld(t)
	want := latchkey.Role{Name: "clerk", Permissions: latchkey.Permissions{readAll()}}
	got := make([]latchkey.Role, 8)
	created := make([]bool, 8)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			var err error
			got[i], created[i], err = w.acme.EnsureRole(w.ctx, want)
			assert.NoError(t, err)
		})
	}
	all.Wait()
	n := 0
	for i := range got {
		require.Equal(t, got[0].ID, got[i].ID)
		if created[i] {
			n++
		}
	}
	require.Equal(t, 1, n, "one of them made it")

	// One that finds the role gone, or made, between its read and its write.
	done := w.store.before(func() { w.ok(w.acme.DeleteRole(w.ctx, got[0].ID)) })
	r, changed, err := w.acme.EnsureRole(w.ctx, latchkey.Role{Name: "clerk"})
	w.ok(err)
	require.True(t, done() && changed)
	require.NotEqual(t, got[0].ID, r.ID)
	var made latchkey.Role
	done = w.store.before(func() { made, _, err = w.acme.EnsureRole(w.ctx, latchkey.Role{Name: "late"}); w.ok(err) })
	r, changed, err = w.acme.EnsureRole(w.ctx, latchkey.Role{Name: "late"})
	w.ok(err)
	require.True(t, done() && !changed)
	require.Equal(t, made, r)
}

// An error about a name says which character is in the way, what kind it is and where, as nobody can see it.
func TestNewNamesAreRefusedWithTheReason(t *testing.T) {
	w := newWorld(t)
	const direction, control, invisible = "a control of the direction of text", "a control character",
		"an invisible character"
	for _, c := range []struct {
		name, says string // "" says nothing
	}{
		{"x\u061cy", direction + " at byte 1 (U+061C)"},
		{"xy\u200ez", direction + " at byte 2 (U+200E)"},
		{"é\u200fz", direction + " at byte 2 (U+200F)"},
		{"\u202ax", direction + " at byte 0 (U+202A)"},
		{"x\u202c", direction + " at byte 1 (U+202C)"},
		{"x\u202e", direction + " at byte 1 (U+202E)"},
		{"x\u2066", direction + " at byte 1 (U+2066)"},
		{"x\u2067", direction + " at byte 1 (U+2067)"},
		{"x\u2069", direction + " at byte 1 (U+2069)"},
		{"x\u2010y", ""}, {"x\u2027y", ""}, {"x\u202fy", ""}, {"x\u2070y", ""}, {"x\u061by", ""},
		{"x\x00", control + " at byte 1 (U+0000)"},
		{"x\x1fy", control + " at byte 1 (U+001F)"},
		{"x\u0085y", control + " at byte 1 (U+0085)"},
		{"x\u2028y", control + " at byte 1 (U+2028)"},
		{"x\u2029y", control + " at byte 1 (U+2029)"},
		{"x\u2065y", invisible + " at byte 1 (U+2065)"},
		{"x\u2064y", invisible + " at byte 1 (U+2064)"},
		{"x\u206ay", invisible + " at byte 1 (U+206A)"},
		{"x\u200by", invisible + " at byte 1 (U+200B)"},
		{"x\u200dy", invisible + " at byte 1 (U+200D)"},
		{"x\u3164y", invisible + " at byte 1 (U+3164)"},
		{"x\u2800y", invisible + " at byte 1 (U+2800)"}, {"x\u2801y", ""},
		{"x\ufe0f", invisible + " at byte 1 (U+FE0F)"},
		{"❤\ufe0fx", ""}, {"∞\ufe0f", ""}, {"🏻\ufe0f", ""}, // symbols: other, of mathematics, and modifiers
		{"❤x\ufe0f", invisible + " at byte 4 (U+FE0F)"},
		{" x", "begins or ends with a space"}, {"x ", "begins or ends with a space"},
		{"\u3000x", "begins or ends with a space"}, {"x\u3000", "begins or ends with a space"},
	} {
		_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: c.name})
		if c.says == "" {
			require.NoError(t, err, "%q", c.name)
			continue
		}
		require.ErrorIs(t, err, latchkey.ErrInvalid, "%q", c.name)
		require.ErrorContains(t, err, "role name")
		require.ErrorContains(t, err, c.says, "%q", c.name)
	}
}

// An unknown name is answered with the names that it may have been meant for: those in which a third of its characters
// differ at most, and no more than two, closest first.
func TestCloseNames(t *testing.T) {
	for _, c := range []struct {
		known, asked string // names, separated by commas
		want         string // "" for none
	}{
		{"editor", "editor2", `["editor"]`},                         // one more
		{"editor", "edior", `["editor"]`},                           // one less
		{"editor", "edotir", `["editor"]`},                          // two others
		{"editor", "ditor", `["editor"]`},                           // at the start
		{"editor", "edito", `["editor"]`},                           // at the end
		{"editor", "xxeditor", `["editor"]`},                        // two more
		{"editor", "itor", ""},                                      // two of four
		{"editor", "xxxeditor", ""},                                 // three more
		{"editor", "edixxx", ""},                                    // three others
		{"editor", "EDITER", `["editor"]`},                          // case is no difference
		{"big  editor", "big editer", `["big  editor"]`},            // nor are spaces
		{"é", "éé", ""}, {"ééé", "éé", ""}, {"éé", "ééé", `["éé"]`}, // é is one character
		{"abc", "abd", `["abc"]`},                          // one of three
		{"ab", "ac", ""},                                   // one of two
		{"abcde", "abcxy", ""},                             // two of five
		{"abcdef", "abcdxy", `["abcdef"]`},                 // two of six
		{"abcdxx,abcdex", "abcdef", `["abcdex" "abcdxx"]`}, // the closest first
		{"abcde1,abcde2,abcde3,abcde4", "abcde5", `["abcde1" "abcde2" "abcde3"]`}, // three at most
		{"abcdefg", "bcdefgh", `["abcdefg"]`},                                     // one less and one more
	} {
		w := newWorld(t)
		for _, name := range strings.Split(c.known, ",") {
			w.role(name)
		}
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{c.asked}})
		require.ErrorIs(t, err, latchkey.ErrInvalid)
		_, hint, _ := strings.Cut(err.Error(), "(there is ")
		require.Equal(t, c.want, strings.TrimSuffix(hint, ")"), "%q of %q", c.asked, c.known)
	}
}

// Names that people could not read, or not tell apart, are refused where they are new.
func TestNewNames(t *testing.T) {
	w := newWorld(t)
	w.role("Read  er")
	_, secret := w.key(readAll())
	access := w.access(secret)
	for name, ok := range map[string]bool{
		"Ada's laptop": true, "Überprüfer": true, "日本語 の 名前": true, "❤\ufe0f prod \U0001F511": true, "с": true,
		" x": false, "x ": false, "\u00a0x": false, "x\u3000": false, "x\ty": false, "x\ny": false, "x\u0085": false,
		"x\u200by": false, "x\u200dy": false, "x\ufeff": false, "x\u00ad": false, "x\u202ey": false, "\u2067x": false,
		"x\u061cy": false, "x\u2060y": false, "x\u2028y": false, "x\u3164y": false, "x\u115fy": false, "x\u2800y": false,
		"x\u034fy": false, "x\ufe0fy": false, "\ufe0fx": false, "x\U000e0041y": false, "x\x7fy": false,
	} {
		made := map[string]error{
			"role":  second(w.acme.CreateRole(w.ctx, latchkey.Role{Name: name})),
			"token": third(w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name})),
			"mint":  third(access.Mint(w.ctx, latchkey.Narrowing{Name: name, Lifetime: time.Hour})),
			"client": third(access.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour,
				Client: latchkey.Client{ID: "1", Name: name}})),
		}
		for what, err := range made {
			if ok {
				require.NoError(t, err, "%s %q", what, name)
				continue
			}
			require.ErrorIs(t, err, latchkey.ErrInvalid, "%s %q", what, name)
			require.Regexp(t, `space|invisible|control`, err.Error(), "%s %q", what, name)
		}
		// A documented API names things as it does.
		_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: name, Origin: "datocms"})
		w.ok(err)
		tok, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: name, Origin: "datocms"})
		w.ok(err)
		w.update(tok, func(t *latchkey.Token) { t.Name += " " })
		_, _, err = access.Mint(w.ctx, latchkey.Narrowing{Origin: "cloudtables", Name: name, Lifetime: time.Hour,
			Client: latchkey.Client{ID: "2", Name: name}})
		w.ok(err)
		if !ok { // stored now, so it stays valid
			_, _, err = access.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "2", Name: name}})
			w.ok(err)
			_, _, err = access.Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour,
				Client: latchkey.Client{ID: "2", Name: name + name}})
			w.is(latchkey.ErrInvalid, err)
		}
	}
	for name, want := range map[string]error{
		"read er": latchkey.ErrExists, "READ ER": latchkey.ErrExists, "Read\u00a0\u2003er": latchkey.ErrExists,
		"Reader": nil, "Read-er": nil,
		"0193e000-0000-7000-8000-000000000000": latchkey.ErrInvalid,
		"0193E000-0000-7000-8000-00000000000F": latchkey.ErrInvalid,
		"code:x":                               latchkey.ErrInvalid, "CODE:x": latchkey.ErrInvalid,
		"code x": nil, "x code:": nil,
	} {
		require.ErrorIs(t, second(w.acme.CreateRole(w.ctx, latchkey.Role{Name: name})), want, name)
	}
	w.role("kelvins")
	w.is(latchkey.ErrExists, second(w.acme.CreateRole(w.ctx, latchkey.Role{Name: "\u212aelvin\u017f"}))) // K and s, folded
}

// What is stored may have any name, and stays editable.
func TestStoredNamesStayValid(t *testing.T) {
	w := newWorld(t)
	at := w.now()
	bad := latchkey.Role{ID: "0193e000-0000-7000-8000-000000000001", Owner: "acme", Name: "x\u200b "}
	twin := latchkey.Role{ID: "0193e000-0000-7000-8000-000000000002", Owner: "acme", Name: "X\u200b "}
	tok := latchkey.Token{ID: "0193e000-0000-7000-8000-000000000003", Owner: "acme", Kind: latchkey.KindAPIKey,
		Created: at, Hint: "h", Settings: latchkey.Settings{Name: " y"}}
	w.ok(w.store.Store.Write(w.ctx, latchkey.Write{ID: [16]byte{7}, Owner: "acme", Roles: []latchkey.Role{bad, twin},
		Tokens: []latchkey.Token{tok}}))
	w.editRole(bad, func(r *latchkey.Role) { r.Permissions = latchkey.Permissions{readAll()} })
	w.update(tok, func(t *latchkey.Token) { t.Permissions = latchkey.Permissions{readAll()} })
	_, err := w.acme.UpdateRole(w.ctx, bad.ID, func(r *latchkey.Role) error { r.Name = "y\u200b"; return nil })
	w.is(latchkey.ErrInvalid, err)
	_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Name = " z"; return nil })
	w.is(latchkey.ErrInvalid, err)
	w.editRole(bad, func(r *latchkey.Role) { r.Name = "clean" })
	w.editRole(bad, func(r *latchkey.Role) { r.Name = "Clean" }) // another case of its own name
	_, err = w.acme.UpdateRole(w.ctx, twin.ID, func(r *latchkey.Role) error { r.Name = "CLEAN"; return nil })
	w.is(latchkey.ErrExists, err)
	require.True(t, strings.Contains(err.Error(), bad.ID))
}
