package console

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestRightsAreReadAndWrittenBack(t *testing.T) {
	c := newCatalogue(Apperate())
	require.Equal(t, []string{"allow read on core/*"}, ruleTexts(c.initial()))
	rules := latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("core/*", "dataset/ACME/CARS"),
		latchkey.Allow(latchkey.Create, latchkey.Update, latchkey.Read).On("dataset/ACME/BIKES"),
		latchkey.Allow(latchkey.Create).On("dataset/ACME/HALF"),
		latchkey.Deny(latchkey.Any).On("core/SECRET"),
		latchkey.Allow(latchkey.Read).On("other/thing"),
	}
	on, chips, rest := c.read(rules)
	require.Equal(t, []bool{true, false, false, false, false}, on)
	require.Equal(t, []chip{{2, "dataset/ACME/CARS"}, {2, "dataset/ACME/BIKES"}, {3, "dataset/ACME/BIKES"}}, chips)
	require.Equal(t, []string{"allow create on dataset/ACME/HALF", "deny any action on core/SECRET",
		"allow read on other/thing"}, ruleTexts(rest))
	require.Equal(t, ruleTexts(rules), ruleTexts(c.write(rules, on, chips)), "nothing changed is nothing changed")

	off := c.write(rules, []bool{false, true, false, false, false},
		[]chip{{3, "dataset/ACME/BIKES"}, {4, "dataset/ACME/*"}})
	require.Equal(t, []string{
		"allow create, update on dataset/ACME/BIKES",
		"allow create on dataset/ACME/HALF",
		"allow read on premium/*",
		"allow delete on dataset/ACME/*",
		"deny any action on core/SECRET",
		"allow read on other/thing",
	}, ruleTexts(off))
	require.False(t, off.Allows(latchkey.Read, "core/X"))

	again := c.write(off, []bool{true, true, false, false, false}, nil)
	require.False(t, again.Allows(latchkey.Read, "core/SECRET"), "a deny still outweighs a switch that was turned on")
	require.True(t, again.Allows(latchkey.Read, "core/X"))
}

func TestChipsAreTakenLiterally(t *testing.T) {
	g := &newCatalogue(Apperate())[2]
	for typed, want := range map[string]latchkey.Pattern{
		"acme/cars": "dataset/ACME/CARS", "ACME/*": "dataset/ACME/*", "a%/b": "dataset/A%25/B",
		"../x": "dataset/%2E%2E/X",
	} {
		got, err := g.fill(typed)
		require.NoError(t, err, typed)
		require.Equal(t, want, got)
		name, ok := g.named(got)
		require.True(t, ok, typed)
		back, err := g.fill(name)
		require.NoError(t, err)
		require.Equal(t, want, back)
	}
	for _, typed := range []string{"", "acme", "acme/", "/x", "a/b/c"} {
		_, err := g.fill(typed)
		require.ErrorIs(t, err, latchkey.ErrInvalid, typed)
	}
	got, err := g.fill("*/cars")
	require.NoError(t, err)
	require.Equal(t, latchkey.Pattern("dataset/%2A/CARS"), got, "a star elsewhere is a name")
	require.Panics(t, func() { newCatalogue([]Right{{Label: "x", Action: "READ", Pattern: "a"}}) })
	require.Panics(t, func() { newCatalogue([]Right{{Label: "x", Action: "read", Pattern: "a/{B}", Default: true}}) })
	require.Panics(t, func() { newCatalogue([]Right{{Label: "x", Action: "read", Pattern: "{*}/{B}"}}) })
	require.Panics(t, func() { newCatalogue([]Right{{Label: "x", Action: "read", Pattern: "{B}/{*client}"}}) })
	wild := newCatalogue([]Right{{Label: "x", Action: "read", Pattern: "a/{*}/b"},
		{Label: "y", Action: "read", Pattern: "{*client}"}})
	require.Nil(t, wild[0].places, "a switch")
	require.Nil(t, wild[1].places, "a switch")
	require.Equal(t, latchkey.Pattern("a/{*}/b"), wild[0].pairs("")[0].on)
	for _, typed := range []string{"{*}/cars", "acme/{*client}"} {
		on, err := g.fill(typed)
		require.NoError(t, err)
		require.NotContains(t, string(on), "{*", "what is typed is literal")
	}
	_, ok := g.named("dataset/{*}/CARS")
	require.False(t, ok, "it cannot be typed, so it is shown as a rule")
}

func TestRulesThatNoRightNamesAreKept(t *testing.T) {
	w := newFixture(t, nil)
	special := latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/ACME/ORDERS").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		latchkey.Grant(latchkey.Create).On("dataset/ACME/ORDERS").Where(latchkey.Where("amount", latchkey.Lt, 10)).
			Force(map[string]any{"region": "EU"}),
		latchkey.Deny(latchkey.Any).On("core/SECRET"),
		latchkey.Allow("publish").On("file/*"),
	}
	t0 := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: append(latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}, special...),
		Extra:       []byte(`{"by":"host"}`)})
	page := w.get("token/" + t0.ID)
	for _, line := range ruleTexts(special) {
		require.Contains(t, unhtml.Replace(page), ">"+line+"</li>", "shown in words")
		require.NotContains(t, page, `value="`+line, "and not to be typed over")
	}
	// The other rules stay in their order, whatever is switched and typed.
	for _, change := range []func(url.Values){
		func(f url.Values) { f.Del("right") },
		func(f url.Values) { f["right"] = []string{"0", "1"} },
		func(f url.Values) { f.Set("add", "acme/cars"); f["addright"] = []string{"2", "3", "4"} },
		func(f url.Values) { f.Del("chip") },
		func(f url.Values) { f.Set("name", "x"); f.Set("idle", "3") },
	} {
		form := w.form("token/" + t0.ID)
		change(form)
		require.Equal(t, http.StatusSeeOther, w.post("token/"+t0.ID, form).Code)
		_, _, rest := newCatalogue(Apperate()).read(w.token(t0.ID).Permissions)
		require.Equal(t, ruleTexts(special), ruleTexts(rest))
		require.False(t, w.token(t0.ID).Permissions.Allows(latchkey.Read, "core/SECRET"))
	}
	require.JSONEq(t, `{"by":"host"}`, string(w.token(t0.ID).Extra))
}
