package latchkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// shop is the catalogue of a host with invoices, which have rows, and folders, which have none.
func shop() *latchkey.Catalogue {
	invoices := latchkey.NewSchema(latchkey.Fields{
		"region": {Column: "i.region", Type: latchkey.Text},
		"amount": {Column: "i.amount", Type: latchkey.Number},
		"paid":   {Column: "i.paid", Type: latchkey.Boolean},
	})
	plans := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Integer},
		"until": {Column: "until", Type: latchkey.Date}})
	return &latchkey.Catalogue{
		Resources: []latchkey.ResourceType{
			{Template: "invoice/{id}", Name: "invoice", Schema: invoices,
				Actions: []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, "approve"}},
			{Template: "invoice/draft", Name: "the draft", Actions: []latchkey.Action{latchkey.Read}},
			{Template: "plan/{team}/{id}", Name: "plan", Schema: plans, Actions: []latchkey.Action{latchkey.Read}},
			{Template: "folder/{path...}", Actions: []latchkey.Action{latchkey.Read, latchkey.Delete}},
			{Template: "report", Actions: []latchkey.Action{"export"}},
		},
		Actions: map[latchkey.Action]string{"approve": "approve and pay", latchkey.Rotate: "renew", latchkey.Give: "act for"},
	}
}

var (
	allow, deny = latchkey.Allow, latchkey.Deny
	where       = latchkey.Where
)

const (
	read, update = latchkey.Read, latchkey.Update
	approve      = latchkey.Action("approve")
	export       = latchkey.Action("export")
)

// One row is one rule, and what the catalogue says about it: "" if the host can mean it.
var catalogueRules = []struct {
	rule latchkey.Rule
	says string
}{
	{allow(read).On("invoice/7"), ""},
	{allow(read).On("invoice/*"), ""},
	{allow(read, approve).On("invoice/*"), ""},
	{allow(read).On("*"), ""},
	{allow(latchkey.Any).On("*"), ""},
	{allow(latchkey.Give).On("latchkey/client/*", "latchkey/attribute/{*}"), ""},
	{allow(latchkey.Create).On("invoice/{*client}").Force(map[string]any{"amount": latchkey.Attr("amount")}), ""},
	{allow(latchkey.Create).On("invoice/{*}").Force(map[string]any{"size": latchkey.Attr("amount")}),
		"the catalogue has no such field"},
	{allow(latchkey.Any).On("invoice/7"), ""},
	{deny(latchkey.Any).On("plan/*"), ""},
	{allow(read).On("plan/red/*"), ""},
	{allow(read).On("plan/red/7"), ""},
	{allow(latchkey.Delete).On("folder/a"), ""},
	{allow(latchkey.Delete).On("folder/a/b/c"), ""},
	{allow(latchkey.Delete).On("folder/a/b/*"), ""},
	{allow(export).On("report"), ""},
	{allow(export, approve).On("report", "invoice/*"), ""}, // each where it is
	{allow(read, latchkey.Rotate).On("latchkey/token/*"), ""},
	{allow(latchkey.Rotate, latchkey.Read).On("latchkey/token/*", "invoice/*"), ""},
	{allow(latchkey.Exceed).On("latchkey/*"), ""},
	{allow(read).On(latchkey.Pattern(latchkey.Path("invoice", "a/b*"))), ""},

	{allow("raed").On("invoice/*"),
		`no action "raed" on "invoice/{id}", "invoice/draft": there are "approve", "create", "read", "update"`},
	{deny("aprove").On("*"), `no action "aprove"`},
	{allow(latchkey.Delete).On("invoice/*"), `no action "delete" on "invoice/{id}"`},
	{allow(approve).On("plan/*"), `no action "approve" on "plan/{team}/{id}"`},
	{allow(latchkey.Rotate).On("invoice/*"), `no action "rotate"`}, // words for it are no declaration
	{allow(approve).On("invoices/*"), `no resource that "invoices/*" covers: it has "invoice/{id}", "invoice/draft"`},
	{deny(latchkey.Any).On("invoic"), `no resource that "invoic" covers`},
	{allow(read).On("invoice"), `no resource that "invoice" covers`},
	{allow(read).On("invoice/7/lines"), `no resource that "invoice/7/lines" covers`},
	{allow(read).On("invoice/7/*"), `no resource that "invoice/7/*" covers`},
	{allow(read).On("plan/red"), `no resource that "plan/red" covers`},
	{allow(read).On("folder"), `no resource that "folder" covers`},
	{allow(export).On("report/*"), `no resource that "report/*" covers`},
	{allow(read).On("Invoice/7"), `no resource that "Invoice/7" covers`},
	{allow(read).On("invoice/*", "typo"), `no resource that "typo" covers`},
	{allow(read).On("latchkey/token/*", "typo"), `no resource that "typo" covers`},

	{allow(read).On("invoice/*").Where(where("region", latchkey.Eq, "EU")), ""},
	{allow(read).On("*").Where(where("until", latchkey.Gt, "2026-01-01")), ""}, // a field of some kind that it covers
	{allow(read).On("invoice/*").Where(latchkey.AnyOf(where("amount", latchkey.Lt, 5),
		latchkey.Not(where("paid", latchkey.Eq, true)))), ""},
	{allow(read).On("invoice/*").Where(where("region", latchkey.Eq, latchkey.ClientID)), ""},
	{allow(read).On("*").Where(where("region", latchkey.Eq, "EU")), ""}, // text in one of the two
	{latchkey.Grant(latchkey.Create).On("invoice/*").Force(map[string]any{"region": "EU", "amount": 5}), ""},
	{latchkey.Grant(latchkey.Create).On("invoice/*").Force(map[string]any{"region": nil}), ""},

	{allow(read).On("invoice/*").Where(where("regoin", latchkey.Eq, "EU")),
		`field "regoin": the catalogue has no such field`},
	{allow(read).On("invoice/*").Where(latchkey.AnyOf(where("amount", latchkey.Lt, 5),
		latchkey.Not(where("piad", latchkey.Eq, true)))), `field "piad"`},
	{allow(read).On("plan/*").Where(where("amount", latchkey.Lt, 5)),
		`field "amount": the catalogue has no such field in the rows of "plan/{team}/{id}"`},
	{allow(read).On("plan/*").Where(where("region", latchkey.Eq, "EU")), `field "region"`},
	{allow(read).On("invoice/*").Where(where("amount", latchkey.Lt, "many")), `field "amount"`},
	{allow(read).On("invoice/*").Where(where("paid", latchkey.Lt, true)), `field "paid"`},
	{allow(read).On("invoice/*").Where(where("owner", latchkey.Eq, latchkey.Self)), `field "owner"`},
	{allow(read).On("folder/*").Where(where("region", latchkey.Eq, "EU")),
		`field "region": the catalogue has no such field in the rows of "folder/{path...}"`},
	{latchkey.Grant(latchkey.Create).On("invoice/*").Force(map[string]any{"regoin": "EU"}), `field "regoin"`},
	{latchkey.Grant(latchkey.Create).On("invoice/*").Force(map[string]any{"amount": "many"}), `field "amount"`},
}

func TestCatalogueRules(t *testing.T) {
	declared := shop()
	text, err := json.Marshal(declared)
	require.NoError(t, err)
	again, err := latchkey.ReadCatalogue(text)
	require.NoError(t, err)
	for what, c := range map[string]*latchkey.Catalogue{"as declared": declared, "as another process reads it": again} {
		for _, row := range catalogueRules {
			err := c.CheckRules(latchkey.Permissions{allow(read).On("*"), row.rule})
			if row.says == "" {
				require.NoError(t, err, "%s: %v", what, row.rule)
				continue
			}
			require.ErrorContains(t, err, row.says, "%s: %v", what, row.rule)
			require.ErrorContains(t, err, "rule 2: ", "%s: %v", what, row.rule)
			require.ErrorIs(t, err, latchkey.ErrInvalid)
			if of, ok := errors.AsType[*latchkey.ConditionError](err); ok {
				require.False(t, of.OfRule, "whoever saves the rule can correct it")
			}
		}
	}
	require.NoError(t, (*latchkey.Catalogue)(nil).CheckRules(latchkey.Permissions{allow("x").On("y")}))
	require.ErrorIs(t, declared.CheckRules(latchkey.Permissions{{}}), latchkey.ErrInvalid)
}

// What nobody declared is refused by every call that saves rules. A Warn hears of it instead, once, when it is saved.
func TestCatalogueChecksWhatIsSaved(t *testing.T) {
	bad := latchkey.Permissions{allow("raed").On("invoice/*")}
	good := latchkey.Permissions{allow(read).On("invoice/*")}
	rows := []latchkey.Condition{where("regoin", latchkey.Eq, "EU")}
	type saved struct {
		role  latchkey.Role
		token latchkey.Token
		key   string
	}
	for name, c := range map[string]struct {
		save func(w *world, s saved) error
		says string // "": it is not checked
	}{
		"Issue": {func(w *world, _ saved) error {
			_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: bad})
			return err
		}, `Permissions: rule 1`},
		"Import": {func(w *world, _ saved) error {
			_, err := w.acme.Import(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: bad}, "imported-0123456789")
			return err
		}, `Permissions: rule 1`},
		"Issue of a surface": {func(w *world, _ saved) error {
			_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: "datocms", Permissions: bad})
			return err
		}, ""},
		"Update": {func(w *world, s saved) error {
			_, err := w.acme.Update(w.ctx, s.token.ID, func(t *latchkey.Token) error { t.Permissions = bad; return nil })
			return err
		}, `Permissions: rule 1`},
		"CreateRole": {func(w *world, _ saved) error {
			_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "clerk", Permissions: bad})
			return err
		}, `role "clerk": rule 1`},
		"CreateRole, boundary": {func(w *world, _ saved) error {
			_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "clerk", Permissions: good, Boundary: bad})
			return err
		}, `role "clerk": Boundary: rule 1`},
		"CreateRole of a surface": {func(w *world, _ saved) error {
			_, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "clerk", Origin: "datocms", Permissions: bad})
			return err
		}, ""},
		"UpdateRole": {func(w *world, s saved) error {
			_, err := w.acme.UpdateRole(w.ctx, s.role.ID, func(r *latchkey.Role) error { r.Permissions = bad; return nil })
			return err
		}, `role "reader": rule 1`},
		"UpdateRole, boundary": {func(w *world, s saved) error {
			_, err := w.acme.UpdateRole(w.ctx, s.role.ID, func(r *latchkey.Role) error { r.Boundary = bad; return nil })
			return err
		}, `role "reader": Boundary: rule 1`},
		"Configure": {func(w *world, _ saved) error {
			return w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Boundary = bad; return nil })
		}, `Boundary: rule 1`},
		"Mint": {func(w *world, s saved) error {
			_, _, err := w.access(s.key).Mint(w.ctx, latchkey.Narrowing{Permissions: bad, Lifetime: time.Hour})
			return err
		}, `Permissions: rule 1`},
		"Mint, rows": {func(w *world, s saved) error {
			_, _, err := w.access(s.key).Mint(w.ctx, latchkey.Narrowing{Rows: rows, Lifetime: time.Hour})
			return err
		}, `Rows: `},
		"Mint, forced": {func(w *world, s saved) error {
			_, _, err := w.access(s.key).Mint(w.ctx, latchkey.Narrowing{Forced: latchkey.Values{"regoin": "EU"},
				Lifetime: time.Hour})
			return err
		}, `Rows: `},
		"Mint of a surface": {func(w *world, s saved) error {
			_, _, err := w.access(s.key).Mint(w.ctx, latchkey.Narrowing{Rows: rows, Lifetime: time.Hour, Origin: "cloudtables"})
			return err
		}, ""},
	} {
		var warned []string
		warning := shop()
		warning.Warn = func(_ context.Context, err error) { warned = append(warned, err.Error()) }
		for what, catalogue := range map[string]*latchkey.Catalogue{"refusing": shop(), "warning": warning, "none": nil} {
			w := newWorld(t, func(o *latchkey.Options) {
				o.Catalogue = catalogue
				o.Imported = func(text string) bool { return strings.HasPrefix(text, "imported-") }
			})
			s := saved{role: w.role("reader", good...)}
			s.token, s.key = w.key(good...)
			err := c.save(w, s)
			if what != "refusing" || c.says == "" {
				require.NoError(t, err, "%s, %s", name, what)
				continue
			}
			require.ErrorContains(t, err, c.says, name)
			require.ErrorIs(t, err, latchkey.ErrInvalid, name)
			require.NotErrorIs(t, err, latchkey.ErrUnavailable)
		}
		if c.says == "" {
			require.Empty(t, warned, name)
			continue
		}
		require.Len(t, warned, 1, name)
		require.Contains(t, warned[0], c.says)
	}
}

// Rules that were stored before a catalogue was declared stay, decide as before, and go along with other changes.
func TestCatalogueLeavesStoredRulesAlone(t *testing.T) {
	old := newWorld(t)
	rules := latchkey.Permissions{allow("legacy").On("attic/*")}
	role := old.role("old", rules...)
	token, key := old.issue(latchkey.KindAPIKey, latchkey.Settings{Permissions: rules, Roles: []string{role.ID}})
	old.ok(old.acme.Configure(old.ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{allow(latchkey.Any).On("*"), deny("other").On("attic/*")}
		return nil
	}))
	warned := 0
	w := &world{T: t, ctx: old.ctx, store: old.store}
	w.time.Store(old.time.Load())
	c := shop()
	w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now, Catalogue: c})
	w.acme = w.keys.For("acme")
	for range 2 {
		require.True(t, w.access(key).Allows("legacy", "attic/1"))
		_, err := w.acme.Update(w.ctx, token.ID, func(t *latchkey.Token) error { t.Name = "renamed"; return nil })
		require.NoError(t, err)
		_, err = w.acme.UpdateRole(w.ctx, role.ID, func(r *latchkey.Role) error { r.Name = "renamed"; return nil })
		require.NoError(t, err)
		require.NoError(t, w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = []byte(`{}`); return nil }))
		require.Zero(t, warned)
		// A change of the declaration after New changes nothing.
		c.Resources[0].Template, c.Warn = "other", func(context.Context, error) { warned++ }
	}
	_, err := w.acme.Update(w.ctx, token.ID, func(t *latchkey.Token) error {
		t.Permissions = append(slices.Clone(t.Permissions), allow(read).On("invoice/*"))
		return nil
	})
	require.ErrorContains(t, err, `"attic/*"`, "rules that change are checked as a whole")
}

func TestCatalogueRoutes(t *testing.T) {
	c := shop()
	for _, row := range []struct {
		action   latchkey.Action
		resource string
		rows     bool
		says     string
	}{
		{read, "invoice/{id}", false, ""},
		{read, "invoice/{id}", true, ""},
		{read, "invoice/{other}", true, ""},
		{approve, "invoice/7", false, ""},
		{read, "invoice/draft", false, ""},
		{read, "{kind}/{id}", true, ""}, // a route of several kinds
		{read, "plan/{team}/{id}", true, ""},
		{latchkey.Delete, "folder/{*}", false, ""},
		{latchkey.Delete, "folder/a/{id}", false, ""},
		{export, "report", false, ""},
		{"whatever", "latchkey/token/{id}", true, ""},
		{"raed", "invoice/{id}", false,
			`no action "raed" on "invoice/{id}": there are "approve", "create", "read", "update"`},
		{latchkey.Delete, "{kind}/{id}/{part}/{x}", true, `no Schema of "{kind}/{id}/{part}/{x}"`},
		{read, "invoices/{id}", false, `no resource "invoices/{id}": it has "invoice/{id}"`},
		{read, "invoice", false, `no resource "invoice"`},
		{read, "invoice/{id}/line/{line}", false, `no resource`},
		{latchkey.Delete, "folder/{*}", true, `no Schema of "folder/{*}": declare the fields of its rows`},
		{export, "report", true, `no Schema`},
		{read, "invoice/{id", false, "wildcard"},
		{read, "", false, "is empty"},
	} {
		err := c.CheckRoute(row.action, row.resource, row.rows)
		if row.says == "" {
			require.NoError(t, err, "%s on %s", row.action, row.resource)
			continue
		}
		require.ErrorContains(t, err, row.says, "%s on %s", row.action, row.resource)
		require.ErrorIs(t, err, latchkey.ErrInvalid)
	}
	require.NoError(t, (*latchkey.Catalogue)(nil).CheckRoute("x", "y", true))
}

// What latchkey's own resources have may have words, and needs no declaration.
func TestCatalogueHasWordsForLatchkeysActions(t *testing.T) {
	c := shop()
	c.Actions = map[latchkey.Action]string{}
	for _, a := range []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete, latchkey.Reveal,
		latchkey.Rotate, latchkey.Mint, latchkey.Exceed} {
		c.Actions[a] = "words"
		require.NoError(t, c.Validate(), a)
		require.NoError(t, c.CheckRules(latchkey.Permissions{allow(a).On("latchkey/token/*")}), a)
	}
}

func TestCatalogueThatIsInvalid(t *testing.T) {
	some := []latchkey.Action{read}
	of := func(templates ...string) *latchkey.Catalogue {
		c := &latchkey.Catalogue{}
		for _, text := range templates {
			c.Resources = append(c.Resources, latchkey.ResourceType{Template: text, Actions: some})
		}
		return c
	}
	named := func(r latchkey.ResourceType) *latchkey.Catalogue {
		return &latchkey.Catalogue{Resources: []latchkey.ResourceType{r}}
	}
	for name, c := range map[string]struct {
		c    *latchkey.Catalogue
		says string
	}{
		"nothing":               {of(), "declares no resource"},
		"an empty template":     {of(""), "is empty"},
		"an empty segment":      {of("a//b"), "empty segment"},
		"dots":                  {of("a/.."), `".." segment`},
		"a star":                {of("a/*"), `raw "*"`},
		"half a wildcard":       {of("a/{id"), "a wildcard is a whole segment"},
		"a wildcard and more":   {of("a/{id}x"), "a wildcard is a whole segment"},
		"no name":               {of("a/{}"), "malformed wildcard"},
		"a pattern of ServeMux": {of("a/{id:[0-9]}"), "malformed wildcard"},
		"the rest in the middle": {of("a/{x...}/b"),
			"only the last segment may stand for several"},
		"one name twice":     {of("a/{id}/{id}"), `two wildcards are named "id"`},
		"one shape twice":    {of("a/{id}", "a/{name}"), `"a/{id}" has the same shape`},
		"what is latchkey's": {of("latchkey/token/{id}"), "known already"},
		"too long":           {of(strings.Repeat("x", 513)), "longer than 512 bytes"},
		"no actions":         {named(latchkey.ResourceType{Template: "a"}), "no Actions"},
		"any action": {named(latchkey.ResourceType{Template: "a", Actions: []latchkey.Action{"*"}}),
			"name one action"},
		"a malformed action": {named(latchkey.ResourceType{Template: "a", Actions: []latchkey.Action{"Read"}}),
			"name one action"},
		"an action twice": {named(latchkey.ResourceType{Template: "a", Actions: []latchkey.Action{"x", "x"}}),
			"named twice"},
		"a name with spaces": {named(latchkey.ResourceType{Template: "a", Name: " a", Actions: some}),
			"no space at their ends"},
		"an invisible name": {named(latchkey.ResourceType{Template: "a", Name: "a\u202eb", Actions: some}),
			"no invisible character"},
		"a name of several lines": {named(latchkey.ResourceType{Template: "a", Name: "a\nb", Actions: some}),
			"no invisible character"},
		"a name that is too long": {named(latchkey.ResourceType{Template: "a", Name: strings.Repeat("x", 257),
			Actions: some}), "words"},
		"words for no action": {&latchkey.Catalogue{Resources: of("a").Resources,
			Actions: map[latchkey.Action]string{"raed": "x"}}, `words for "raed"`},
		"words that cannot be seen": {&latchkey.Catalogue{Resources: of("a").Resources,
			Actions: map[latchkey.Action]string{"read": "\u200b"}}, "no invisible character"},
	} {
		require.ErrorContains(t, c.c.Validate(), c.says, name)
		require.ErrorIs(t, c.c.Validate(), latchkey.ErrInvalid, name)
		_, err := json.Marshal(c.c)
		require.ErrorContains(t, err, c.says, name)
		require.PanicsWithValue(t, "latchkey: Options.Catalogue: "+c.c.Validate().Error(), func() {
			newWorld(t, func(o *latchkey.Options) { o.Catalogue = c.c })
		}, name)
		require.Error(t, c.c.CheckRules(latchkey.Permissions{allow(read).On("a")}), "what is invalid lets nothing through")
	}
	require.NoError(t, (*latchkey.Catalogue)(nil).Validate())
	require.NoError(t, shop().Validate())
	require.NoError(t, of("{db}/db", "db/{db}", "a/a").Validate(), "only wildcards have names")
}

func TestCatalogueNames(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.Catalogue = shop() })
	c := w.keys.Catalogue()
	for on, name := range map[latchkey.Resource]string{
		"invoice/7": "invoice 7", "invoice/draft": "the draft", "plan/red/7": "plan red/7", "folder/a/b": "", "report": "",
		"none": "", "invoice/7/8": "", "": "", latchkey.Path("invoice", "a/b"): "invoice a/b",
	} {
		require.Equal(t, name, c.NameOf(on), on)
	}
	deep := &latchkey.Catalogue{Resources: []latchkey.ResourceType{{Template: "doc/{id}/{path...}", Name: "file",
		Actions: []latchkey.Action{read}}}}
	deep = newWorld(t, func(o *latchkey.Options) { o.Catalogue = deep }).keys.Catalogue()
	for on, name := range map[latchkey.Resource]string{"doc/7/a": "file 7/a", "doc/7/a/b/c": "file 7/a/b/c", "doc/7": ""} {
		require.Equal(t, name, deep.NameOf(on), on)
	}
	kind, ok := c.Find("invoice/draft")
	require.True(t, ok)
	require.Equal(t, "invoice/draft", kind.Template, "a literal segment comes before a wildcard")
	_, ok = c.Find("invoice")
	require.False(t, ok)
	require.Equal(t, "approve and pay", c.Words("approve"))
	require.Equal(t, "read", c.Words(read))
	require.Equal(t, []latchkey.Action{"approve", "create", "delete", "export", "read", "update"}, c.Declared())
	none := newWorld(t).keys.Catalogue()
	require.Nil(t, none)
	require.Equal(t, "approve", none.Words("approve"))
	require.Empty(t, none.NameOf("invoice/7"))
	require.Empty(t, none.Declared())

	token, key := w.key(allow(read, approve).On("invoice/*"))
	role := w.role("clerk", allow(approve).On("invoice/*"))
	ask := []latchkey.Question{{Action: approve, Resource: "invoice/7"}, {Action: "aprove", Resource: "invoice/7"},
		{Action: read, Resource: "invoices/7"}, {Action: "rotate", Resource: "latchkey/token/x"}}
	byToken, err := w.acme.Explain(w.ctx, token.ID, ask...)
	require.NoError(t, err)
	byRole, err := w.acme.ExplainRole(w.ctx, role.ID, ask...)
	require.NoError(t, err)
	for i, q := range ask {
		for _, e := range []latchkey.Explanation{byToken[i], byRole[i], w.access(key).Explain(q.Action, q.Resource)} {
			require.Equal(t, []string{"approve (approve and pay) on invoice/7 (invoice 7): every row\n",
				"aprove on invoice/7 (invoice 7): no\nnote that the catalogue has no such action on \"invoice/{id}\": " +
					"there are \"approve\", \"create\", \"read\", \"update\"\n",
				"read on invoices/7: no\nnote that the catalogue has no such resource\n",
				"rotate (renew) on latchkey/token/x: no\n"}[i], firstLines(e.String()))
		}
	}
}

// firstLines returns a text up to its reason.
func firstLines(s string) string { before, _, _ := strings.Cut(s, "because "); return before }

func TestCatalogueJSON(t *testing.T) {
	text, err := json.Marshal(shop())
	require.NoError(t, err)
	require.JSONEq(t, `{"resources":[
		{"template":"invoice/{id}","name":"invoice","actions":["read","create","update","approve"],
		 "fields":{"region":"text","amount":"number","paid":"boolean"}},
		{"template":"invoice/draft","name":"the draft","actions":["read"]},
		{"template":"plan/{team}/{id}","name":"plan","actions":["read"],"fields":{"region":"integer","until":"date"}},
		{"template":"folder/{path...}","actions":["read","delete"]},
		{"template":"report","actions":["export"]}],
		"actions":{"approve":"approve and pay","give-identity":"act for","rotate":"renew"}}`, string(text))
	require.NotContains(t, string(text), "i.region", "columns stay at home")
	again, err := latchkey.ReadCatalogue(text)
	require.NoError(t, err)
	back, err := json.Marshal(again)
	require.NoError(t, err)
	require.JSONEq(t, string(text), string(back))
	types := `{"resources":[{"template":"a","actions":["x"],"fields":{"a":"text","b":"integer","c":"number",` +
		`"d":"boolean",` +
		`"e":"date","f":"datetime","g":"float"}},{"template":"b","actions":["x"],"fields":{}}]}`
	again, err = latchkey.ReadCatalogue([]byte(types))
	require.NoError(t, err)
	back, err = json.Marshal(again)
	require.NoError(t, err)
	require.JSONEq(t, types, string(back))
	for _, bad := range []string{"", "null", "[]", "{}", `{"resources":[]}`,
		`{"resources":[{"template":"a","actions":["x"]}],"x":1}`,
		`{"resources":[{"template":"a"}]}`, `{"resources":[{"template":"a","actions":["x"],"fields":{"f":"words"}}]}`,
		`{"resources":[{"template":"a","actions":["x"],"fields":{"":"text"}}]}`,
		`{"resources":[{"template":"a","actions":["x"],"actions":["y"]}]}`,
		`{"resources":[{"template":"a/*","actions":["x"]}]}`} {
		_, err := latchkey.ReadCatalogue([]byte(bad))
		require.ErrorIs(t, err, latchkey.ErrInvalid, bad)
	}
	text, err = json.Marshal((*latchkey.Catalogue)(nil))
	require.NoError(t, err)
	require.Equal(t, "null", string(text))
}

// A host declares what it has, and a rule that cannot be meant is refused with what there is.
func ExampleCatalogue() {
	c := &latchkey.Catalogue{
		Resources: []latchkey.ResourceType{{
			Template: "invoice/{id}", Name: "invoice", Actions: []latchkey.Action{latchkey.Read, "approve"},
			Schema: latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}}),
		}},
		Actions: map[latchkey.Action]string{"approve": "approve and pay"},
	}
	err := c.CheckRules(latchkey.Permissions{latchkey.Allow("aprove").On("invoice/*")})
	_, reason, _ := strings.Cut(err.Error(), "argument: ")
	fmt.Println(reason)
	fmt.Println(c.NameOf("invoice/7"), "-", c.Words("approve"))
	// Output:
	// the catalogue has no action "aprove" on "invoice/{id}": there are "approve", "read"
	// invoice 7 - approve and pay
}

// The roles of code are checked with the catalogue when a Manager is made: both are of the same program.
func TestCatalogueChecksRolesOfCode(t *testing.T) {
	fits := latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{allow(latchkey.Read).On("invoice/*")},
		Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*")}}
	store := memstore.New(nil)
	make := func(c *latchkey.Catalogue, roles ...latchkey.Role) *latchkey.Manager {
		keys := latchkey.New(store, &latchkey.Options{Catalogue: c, Roles: roles})
		t.Cleanup(func() { _ = keys.Close(context.Background()) })
		return keys
	}
	make(shop(), fits)
	for what, c := range map[string]struct {
		role latchkey.Role
		says string
	}{
		"an action": {latchkey.Role{Name: "odd", Permissions: latchkey.Permissions{allow("reed").On("invoice/*")}},
			`role "odd": rule 1: latchkey: invalid argument: the catalogue has no action "reed"`},
		"a resource": {latchkey.Role{Name: "odd", Permissions: latchkey.Permissions{allow(latchkey.Read).On("invoices/*")}},
			`role "odd": rule 1: latchkey: invalid argument: the catalogue has no resource that "invoices/*" covers`},
		"a boundary": {latchkey.Role{Name: "odd", Boundary: latchkey.Permissions{allow("reed").On("invoice/*")}},
			`role "odd": Boundary: rule 1`},
	} {
		t.Run(what, func(t *testing.T) {
			func() {
				defer func() {
					require.Contains(t, recover(), "latchkey: Options.Roles does not fit Options.Catalogue: "+c.says)
				}()
				make(shop(), fits, c.role)
			}()
			make(nil, fits, c.role) // without a catalogue nothing is declared
			var warned []string
			warning := shop()
			warning.Warn = func(_ context.Context, err error) { warned = append(warned, err.Error()) }
			make(warning, fits, c.role)
			require.Len(t, warned, 1)
			require.Contains(t, warned[0], c.says)
		})
	}
}
