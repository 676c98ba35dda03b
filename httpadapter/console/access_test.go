package console

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestAccessShowsAllThatDecides(t *testing.T) {
	w := newFixture(t, nil)
	rule := func(on latchkey.Pattern) latchkey.Permissions {
		return latchkey.Permissions{latchkey.Allow(latchkey.Read).On(on)}
	}
	top := w.role(latchkey.Role{Name: "top", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("of-top/*"),
		latchkey.Deny(latchkey.Delete).On("of-top/x")}})
	mid := w.role(latchkey.Role{Name: "mid", Inherits: []string{top.ID}, InheritDenies: true,
		Permissions: rule("of-mid/*")})
	low := w.role(latchkey.Role{Name: "low", Inherits: []string{mid.ID}, Permissions: rule("*"),
		Boundary: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"),
			latchkey.Deny(latchkey.Any).On("no-role-gives/*")}})
	require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"), latchkey.Allow(latchkey.Any).On("latchkey/*"),
			latchkey.Deny(latchkey.Any).On("no-account-has/*")}
		return nil
	}))
	parent, child, _ := w.mint(latchkey.Settings{Name: "the parent", Roles: []string{low.ID}, Permissions: rule("own/*")},
		latchkey.Narrowing{Lifetime: time.Hour})
	for _, path := range []string{"token/" + parent.ID, "token/" + child.ID, "role/" + low.ID} {
		page := w.get(path + "/access")
		for _, on := range []string{"of-top/…", "of-top/x", "of-mid/…", "no-role-gives/…", "no-account-has/…"} {
			require.Contains(t, page, "<bdi>"+on+"</bdi>", path)
		}
		require.Contains(t, page, "<bdi>read, create, update, delete, any other</bdi>",
			"%s: an action that no rule names", path)
		require.Regexp(t, `<bdi>delete</bdi></th><td role="cell" class="mono name"><bdi>of-top/x</bdi></td>`+
			`<td role="cell"><span class="state off">no`, page)
	}
	require.Contains(t, w.get("token/"+child.ID+"/access"), "<bdi>own/…</bdi>")

	// A secret token, and one minted from it, may do everything. Their pages must not say that nothing is allowed.
	_, text, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: text.Reveal()})
	require.NoError(t, err)
	all, _, err := access.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	for _, id := range []string{access.TokenID(), all.ID} {
		require.Contains(t, w.get("token/"+id+"/access"), "<bdi>latchkey/…</bdi>")
	}

	// Names that look like the page's own words are not taken for them.
	odd := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("set/*"), latchkey.Deny(latchkey.Any).On("set/…"),
		latchkey.Deny("any-other").On("set/y")}})
	page := w.get("token/" + odd.ID + "/access")
	require.Regexp(t, `<bdi>set/……</bdi></td><td role="cell"><span class="state on">every row`, page)
	require.Regexp(t, `<bdi>set/…</bdi></td><td role="cell"><span class="state off">no`, page)
}

var moreThere = regexp.MustCompile(`And (\d+) more: test them above, or see the <a href="(\?from=\d+)"`)

func TestAccessShowsEveryPart(t *testing.T) {
	w := newFixture(t, nil)
	var rules latchkey.Permissions
	for i := range 200 {
		rules = append(rules, latchkey.Allow(latchkey.Read).On(latchkey.Pattern(fmt.Sprintf("set/%03d", i))).
			Where(latchkey.Where("note", latchkey.Eq, strings.Repeat("long ", 10*i))))
	}
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules}).ID
	role := w.role(latchkey.Role{Name: "much", Permissions: rules})
	for _, at := range []string{"token/" + id + "/access", "role/" + role.ID + "/access"} {
		seen, parts, of := map[string]bool{}, 0, 0
		for path := at; path != ""; parts++ {
			page := w.get(path)
			rows := regexp.MustCompile(`<bdi>(set/\d+|core/…|premium/…)</bdi>`).FindAllStringSubmatch(page, -1)
			for _, m := range rows {
				require.False(t, seen[m[1]], m[1])
				seen[m[1]] = true
			}
			path = ""
			if m := moreThere.FindStringSubmatch(page); m != nil {
				fmt.Sscan(m[1], &of)
				require.Equal(t, 202, len(seen)+of, "what is left out is counted")
				path = at + m[2]
			}
		}
		require.Len(t, seen, 202)
		require.Greater(t, parts, 3)
		require.Less(t, parts, 60)
	}
	// What the tester shows is cut and marked if it is long.
	page := w.get("token/" + id + "/access?action=read&resource=set/199")
	require.Regexp(t, `long l?o?n?g? ?…`, page)
}

func TestWhatATokenMayDo(t *testing.T) {
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})
	w := newFixture(t, &Options{Schema: func(on latchkey.Resource) (*latchkey.Schema, latchkey.Dialect) {
		if on == "dataset/orders" {
			return schema, latchkey.Postgres
		}
		return nil, 0
	}})
	role, err := w.acme.CreateRole(t.Context(), latchkey.Role{Name: "eu", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
	require.NoError(t, err)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID}}).ID
	page := w.get("token/" + id + "/access?action=read&resource=dataset/orders")
	require.Contains(t, page, "o.region = $1")
	require.Contains(t, page, ">EU</code>")
	require.Contains(t, page, "some rows")
	require.Contains(t, page, "dataset/…")
	page = w.get("token/" + id + "/access?action=read&resource=dataset/other")
	require.Contains(t, page, "knows no fields")
	page = w.get("token/" + id + "/access?action=delete&resource=dataset/orders")
	require.Contains(t, page, "no rule allows it")
	require.NotContains(t, page, "As SQL")
	page = w.get("role/" + role.ID + "/access?action=read&resource=dataset/orders")
	require.Contains(t, page, "role eu")
	require.Contains(t, w.get("token/"+id+"/access?action=READ&resource=a//b"), "always denied")
}

func TestSamplesOfPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern latchkey.Pattern
		client  string
		want    latchkey.Resource
	}{
		{"*", "", "…"},
		{"a", "", "a"},
		{"a/*", "", "a/…"},
		{"a/{*}/b/*", "", "a/…/b/…"},
		{"user/{*client}/*", "x/y", "user/x%2Fy/…"},
		{"user/{*client}", "", "user/…"},
	} {
		got := sampleOf(c.pattern, "…", c.client)
		require.Equal(t, c.want, got)
		require.NoError(t, got.Validate())
		none := c.client == "" && strings.Contains(string(c.pattern), "client")
		require.Equal(t, !none, c.pattern.MatchesClient(got, c.client))
	}
	w := newFixture(t, nil)
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("user/{*client}/*")}
	_, child, _ := w.mint(latchkey.Settings{Permissions: rules},
		latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "u-42"}})
	require.Regexp(t, `<bdi>user/u-42/…</bdi></td><td role="cell"><span class="state (on|active|ok)?[^>]*>`,
		w.get("token/"+child.ID+"/access"))
}
