package rolefile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/cmd/latchkey/internal/rolefile"
	"github.com/latchkey-go/latchkey/memstore"
)

var ofTheApplication = []latchkey.Role{{Name: "auditor", Permissions: latchkey.Permissions{
	latchkey.Allow(latchkey.Read).On("latchkey/event")}}}

type side struct {
	*testing.T
	keys *latchkey.Manager
}

func newSide(t *testing.T) *side {
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Roles: ofTheApplication})
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	return &side{t, keys}
}

func valid() latchkey.Validity { return latchkey.Validity{NotAfter: time.Now().Add(time.Hour)} }

func (s *side) read(text string) rolefile.File {
	s.Helper()
	f, err := rolefile.Read(strings.NewReader(text))
	require.NoError(s, err)
	return f
}

func (s *side) plan(text string, o rolefile.Options) *rolefile.Plan {
	s.Helper()
	p, err := rolefile.Make(s.Context(), s.keys.Tenant, s.read(text), o)
	require.NoError(s, err)
	return p
}

func shown(p *rolefile.Plan) string {
	var out []string
	for i := range p.Owners {
		for _, l := range p.Owners[i].Lines() {
			out = append(out, l.String())
		}
	}
	return strings.Join(out, "\n")
}

func (s *side) apply(text string) (done []string) {
	s.Helper()
	p := s.plan(text, rolefile.Options{Prune: true})
	require.NoError(s, p.Apply(s.Context(), s.keys.Tenant, func(what string) { done = append(done, what) }))
	return done
}

// exported is the roles of acme as a file.
func (s *side) exported() string {
	s.Helper()
	f, err := rolefile.Export(s.Context(), s.keys.Tenant, "acme")
	require.NoError(s, err)
	var out bytes.Buffer
	require.NoError(s, f.Write(&out))
	return out.String()
}

const first = `{"format": 1, "owners": {"acme": {
  "roles": [
    {"name": "editor", "inherits": ["viewer", "auditor"],
      "permissions": [{"allow": ["update"], "on": ["dataset/orders"]}]},
    {"name": "viewer", "permissions": [
      {"allow": ["read"], "on": ["dataset/*"], "where": {"field": "region", "op": "=", "value": "EU"}}]}
  ],
  "boundary": [{"allow": ["*"], "on": ["dataset/*", "latchkey/*"]}],
  "policy": {"max_lifetime": 7776000000000000}
}}}`

func TestApplyMakesTheStoreWhatTheFileSays(t *testing.T) {
	s := newSide(t)
	p := s.plan(first, rolefile.Options{})
	require.Equal(t, `  owner "acme"
  ~ what holds for all tokens
    ~ boundary: none before
      +  1  allow any action on dataset/*, latchkey/*
    ~ policy:
      + max_lifetime: 7776000000000000
  + role "viewer"
    ~ permissions:
      +  1  allow read on dataset/* where region = "EU"
  + role "editor"
    ~ inherits:
      +  1  "code:auditor"
      +  2  "viewer"
    ~ permissions:
      +  1  allow update on dataset/orders`, shown(p))
	require.Equal(t, "roles: 2 to create, 0 to change, 0 to delete; owners to change: 1", p.Summary())
	done := s.apply(first)
	require.Len(t, done, 3)
	require.Contains(t, done[0], "what holds for all tokens", "a new boundary comes before what it limits")
	require.True(t, s.plan(first, rolefile.Options{Prune: true}).Empty(), "it is done once")
	before := s.epoch()
	require.Empty(t, s.apply(first))
	require.Equal(t, before, s.epoch(), "nothing is written then")

	text := s.exported()
	require.True(t, s.plan(text, rolefile.Options{Prune: true}).Empty(), "what was exported says the same")
	other := newSide(t)
	require.NotEmpty(t, other.apply(text))
	require.Equal(t, text, other.exported())
}

func (s *side) epoch() (n int) {
	s.Helper()
	for _, err := range s.keys.For("acme").Events(s.Context(), latchkey.EventQuery{}) {
		require.NoError(s, err)
		n++
	}
	return n
}

func TestPlansNameTokens(t *testing.T) {
	s := newSide(t)
	s.apply(first)
	acme := s.keys.For("acme")
	view, _, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindPublishable, Name: "page",
		Roles: []string{"viewer"}, Validity: valid()})
	require.NoError(t, err)
	edit, _, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "edits",
		Roles: []string{"editor"}, Validity: valid()})
	require.NoError(t, err)

	wider := strings.Replace(first, `, "where": {"field": "region", "op": "=", "value": "EU"}`, "", 1)
	p := s.plan(wider, rolefile.Options{Effects: true})
	require.Equal(t, 2, p.Owners[0].Gains.Count)
	require.Equal(t, 0, p.Owners[0].Loses.Count)
	require.Equal(t, `  owner "acme"
  ~ role "viewer"
    ~ permissions:
      -  1  allow read on dataset/* where region = "EU"
      +  1  allow read on dataset/*
  ~ tokens that may do something that they could not do: 2
      `+view.ID+` "page"
      `+edit.ID+` "edits"`, shown(p))
	onlyEditor := strings.Replace(first, `"dataset/orders"`, `"dataset/invoices"`, 1)
	p = s.plan(onlyEditor, rolefile.Options{Effects: true})
	require.Equal(t, []int{1, 1}, []int{p.Owners[0].Gains.Count, p.Owners[0].Loses.Count})
	p = s.plan(strings.Replace(first, `"dataset/*", "latchkey/*"`, `"dataset/orders"`, 1), rolefile.Options{Effects: true})
	require.Equal(t, []int{0, 2}, []int{p.Owners[0].Gains.Count, p.Owners[0].Loses.Count})
}

func TestPruneKeepsWhatIsHeld(t *testing.T) {
	s := newSide(t)
	s.apply(first)
	acme := s.keys.For("acme")
	tok, _, err := acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{"editor"},
		Validity: valid()})
	require.NoError(t, err)
	_, err = acme.CreateRole(t.Context(), latchkey.Role{Name: "of a surface", Origin: "datocms"})
	require.NoError(t, err)
	_, err = acme.CreateRole(t.Context(), latchkey.Role{Name: "zzz"})
	require.NoError(t, err)
	none := `{"format": 1, "owners": {"acme": {"roles": []}}}`
	require.True(t, s.plan(none, rolefile.Options{}).Empty(), "what the file does not name stays")
	p := s.plan(none, rolefile.Options{Prune: true})
	require.True(t, p.Blocked())
	require.Equal(t, `  owner "acme"
  - role "zzz"
  - role "editor"
    ! it cannot be deleted: a token holds it: take the role from it first, or name the role in the file
  - role "viewer"`, shown(p), "heirs first; those of a surface stay")
	require.ErrorIs(t, p.Apply(t.Context(), s.keys.Tenant, func(string) {}), latchkey.ErrInUse)
	require.Contains(t, s.exported(), `"zzz"`, "nothing is done if not all can be")
	_, err = acme.Update(t.Context(), tok.ID, func(t *latchkey.Token) error { t.Roles = nil; return nil })
	require.NoError(t, err)
	require.Len(t, s.apply(none), 3)
	require.Contains(t, s.exported(), `"boundary": [`, "what holds for all tokens was not named, and stays")
	require.Len(t, s.apply(`{"format": 1, "owners": {"acme": {"boundary": "none", "policy": {}}}}`), 1)
	require.Contains(t, s.exported(), `"boundary": "none"`)
}

func TestPruneKeepsWhatAnotherRoleInherits(t *testing.T) {
	s := newSide(t)
	acme := s.keys.For("acme")
	base, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "base"})
	require.NoError(t, err)
	_, err = acme.CreateRole(t.Context(), latchkey.Role{Name: "heir", Origin: "datocms", Inherits: []string{base.ID}})
	require.NoError(t, err)
	p := s.plan(`{"format": 1, "owners": {"acme": {}}}`, rolefile.Options{Prune: true})
	require.Contains(t, shown(p), `it cannot be deleted: role "heir" inherits it`)
}

func TestApplyRefusesWhatChangedMeanwhile(t *testing.T) {
	widen := func(s *side, what string) {
		acme := s.keys.For("acme")
		switch what {
		case "role":
			for r, err := range acme.Roles(t.Context(), latchkey.RoleQuery{Names: []string{"viewer"}}) {
				require.NoError(t, err)
				_, err = acme.UpdateRole(t.Context(), r.ID, func(r *latchkey.Role) error { r.Permissions = nil; return nil })
				require.NoError(t, err)
			}
		case "record":
			require.NoError(t, acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
		case "new":
			_, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "new"})
			require.NoError(t, err)
		}
	}
	for what, text := range map[string]string{
		"role":   strings.Replace(first, `"op": "="`, `"op": "!="`, 1),
		"record": strings.Replace(first, `"dataset/*", "latchkey/*"`, `"dataset/*"`, 1),
		"new": `{"format": 1, "owners": {"acme": {"roles": [
			{"name": "new", "permissions": [{"allow": ["read"], "on": ["a"]}]}]}}}`,
		"gone": `{"format": 1, "owners": {"acme": {"roles": [{"name": "editor", "inherits": []}]}}}`,
	} {
		s := newSide(t)
		s.apply(first)
		p := s.plan(text, rolefile.Options{Prune: what == "gone"})
		require.False(t, p.Empty(), what)
		if what == "gone" {
			widen(s, "role")
		} else {
			widen(s, what)
		}
		require.ErrorIs(t, p.Apply(t.Context(), s.keys.Tenant, func(string) {}), rolefile.ErrChanged, what)
		s.apply(text) // a new plan
	}
}

func TestApplyGoesOnWhereItStopped(t *testing.T) {
	s := newSide(t)
	_, err := s.keys.For("acme").CreateRole(t.Context(), latchkey.Role{Name: "Editor"}) // the name is taken but for case
	require.NoError(t, err)
	p := s.plan(first, rolefile.Options{})
	var done []string
	err = p.Apply(t.Context(), s.keys.Tenant, func(what string) { done = append(done, what) })
	require.ErrorIs(t, err, latchkey.ErrExists)
	require.ErrorContains(t, err, `role "editor"`)
	require.Len(t, done, 2)
	require.Equal(t, `  owner "acme"
  + role "editor"
    ~ inherits:
      +  1  "code:auditor"
      +  2  "viewer"
    ~ permissions:
      +  1  allow update on dataset/orders
  - role "Editor"`, shown(s.plan(first, rolefile.Options{Prune: true})))
}

func TestInheritanceTurnedRound(t *testing.T) {
	s := newSide(t)
	roles := func(list string) string { return `{"format": 1, "owners": {"acme": {"roles": [` + list + `]}}}` }
	s.apply(roles(`{"name": "a", "inherits": ["b"]}, {"name": "b", "inherits": ["c"]}, {"name": "c"}`))
	require.Len(t, s.apply(roles(`{"name": "c", "inherits": ["b"]}, {"name": "b", "inherits": ["a"]}, {"name": "a"}`)), 3)
	make := func(list string) error {
		_, err := rolefile.Make(t.Context(), s.keys.Tenant, s.read(roles(list)), rolefile.Options{})
		return err
	}
	err := make(`{"name": "a", "inherits": ["b"]}, {"name": "b", "inherits": ["a"]}`)
	require.ErrorContains(t, err, "inherits itself")
	err = make(`{"name": "a", "inherits": ["nobody"]}`)
	require.ErrorContains(t, err, `there is no role "nobody", neither in the file nor in the store`)
	err = make(`{"name": "auditor"}, {"name": "a", "inherits": ["auditor"]}`)
	require.ErrorContains(t, err, `write "code:auditor"`)
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                              "line 1",
		`{}`:                            `"format": 1`,
		`{"format": 2, "owners": {}}`:   "later version",
		`{"format": 1}`:                 `"owners"`,
		`{"format": 1, "owners": []}`:   "line 1",
		`{"format": 1, "owners": null}`: `"owners"`,
		`{"format": 1, "owners": {"acme": null}}`:                                            "not an object",
		`{"format": 1, "owners": {"acme": {"boundary": null}}}`:                              "boundary is null",
		`{"format": 1, "owners": {"acme": {"boundary": "all"}}}`:                             `"none"`,
		`{"format": 1, "owners": {"acme": {"boundary": {}}}}`:                                `"none"`,
		`{"format": 1, "owners": {"acme": {"roles": [{"name": "a", "boundary": null}]}}}`:    "boundary of a role is null",
		`{"format": 1, "owners": {"acme": {"roles": [null]}}}`:                               "not an object",
		`{"format": 1, "owners": {"acme": {"roles": [{"name": ""}]}}}`:                       "role",
		`{"format": 1, "owners": {"acme": {"roles": [{"name": "a"}, {"name": "a"}]}}}`:       "two roles",
		`{"format": 1, "owners": {"acme": {"roles": [{"name": "a", "id": "x"}]}}}`:           "line 1",
		`{"format": 1, "owners": {"acme": {"roles": [{"name": "a", "permissions": [{}]}]}}}`: "invalid",
		"{\"format\": 1,\n\"owners\": {\"acme\": {},\n\"acme\": {}}}":                        "line 3",
		`{"format": 1, "owners": {"acme": {"disabled": true}}}`:                              "line 1",
	} {
		_, err := rolefile.Read(strings.NewReader(text))
		require.ErrorIs(t, err, latchkey.ErrInvalid, text)
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(first)
	f.Add(`{"format": 1, "owners": {"acme": {"boundary": "none", "limits": {}, "policy": {}}, "b": {"boundary": []}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := rolefile.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		require.NoError(t, file.Write(&out))
		again, err := rolefile.Read(&out)
		require.NoError(t, err)
		x, err := json.Marshal(file)
		require.NoError(t, err)
		y, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(x), string(y))
		for id, o := range file.Owners {
			require.Equal(t, o.Boundary == nil, again.Owners[id].Boundary == nil)
			require.Equal(t, o.Boundary != nil && *o.Boundary == nil, again.Owners[id].Boundary != nil &&
				*again.Owners[id].Boundary == nil, "none is not nothing")
		}
	})
}
