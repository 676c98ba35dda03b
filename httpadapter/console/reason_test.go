package console

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// TestReasonsAreTranslated: whatever decides, the reason is in the catalogue. Only what the Manager says of an invalid
// record is in its English, and marked so.
func TestReasonsAreTranslated(t *testing.T) {
	w := newFixture(t, &Options{Languages: []*Words{German()}})
	ctx := t.Context()
	region := latchkey.Where("region", latchkey.Eq, "EU")
	gone := w.role(latchkey.Role{Name: "gone", Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
	bounded := w.role(latchkey.Role{Name: "bounded", Boundary: latchkey.Permissions{},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
	issue := func(s latchkey.Settings) string {
		return w.issue(s.Spec(latchkey.KindAPIKey)).ID
	}
	_, child, _ := w.mint(latchkey.Settings{Name: "p", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Create).On("x").Force(map[string]any{"region": "EU"})}},
		latchkey.Narrowing{Lifetime: time.Hour, Forced: latchkey.Values{"region": "US"}})
	ends := issue(latchkey.Settings{Roles: []string{gone.ID},
		RoleEnds: map[string]time.Time{gone.ID: w.now.Add(time.Minute)}})
	w.now = w.now.Add(time.Hour / 2)
	for _, c := range []struct{ id, action, on, says string }{
		{w.issue(latchkey.Spec{Kind: latchkey.KindSecret}).ID, "read", "x", "darf alles."},
		{issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("x")}}), "read", "x",
			"erlaubt jede Zeile, und nichts anderes erlaubt weniger."},
		{issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("x").Where(region)}}),
			"read", "x", "erlaubt nur manche Zeilen."},
		{issue(latchkey.Settings{}), "read", "x", "keine Regel erlaubt es."},
		{issue(latchkey.Settings{}), "*", "x", "steht nur in Regeln für jede Aktion"},
		{issue(latchkey.Settings{}), "READ", "x", "Eine ungültige Aktion ist immer verboten."},
		{issue(latchkey.Settings{}), "read", "a//b", "Eine ungültige Ressource ist immer verboten."},
		{issue(latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Deny(latchkey.Read).On("x")}}), "read", "x",
			": rule 1: deny read on x."},
		{issue(latchkey.Settings{Roles: []string{bounded.ID}}), "read", "x",
			"nur Regeln der Rolle bounded erlauben es, und deren Grenze erlaubt es nicht."},
		{child.ID, "create", "x", "erzwingt andere Werte als das davor"},
		{ends, "read", "x", "keine Regel erlaubt es, und die Rolle gone gibt nichts: it was held until"},
	} {
		page := w.get("token/" + c.id + "/access?action=" + c.action + "&resource=" + c.on)
		_, page, _ = strings.Cut(page, `<div role="status">`)
		page, _, _ = strings.Cut(page, "<details>")
		require.Contains(t, textOf(page), c.says)
		if !strings.Contains(c.says, "it was held") {
			require.NotContains(t, page, `lang="en"`, c.says)
		}
	}
	require.NoError(t, w.acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("latchkey/*")}
		return nil
	}))
	bounds := latchkey.Settings{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}}
	page := w.get("token/" + issue(bounds) + "/access?action=read&resource=x")
	require.Contains(t, textOf(page), "die Grenze des Kontos: keine Regel erlaubt es.")
	require.Contains(t, textOf(w.get("role/"+bounded.ID+"/access?action=read&resource=x")), "Rolle bounded")
}
