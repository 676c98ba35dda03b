package console

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestPagesSayWhatElseHolds(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	parent, child, secret := w.mint(latchkey.Settings{Name: "the parent",
		Permissions:  latchkey.Permissions{latchkey.Allow(latchkey.Any).On("core/*")},
		Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}},
		Limits:       latchkey.Limits{Quotas: monthly(5_000_000), Rate: latchkey.Rate{Count: 7, Per: time.Minute}}},
		latchkey.Narrowing{Lifetime: 10 * time.Hour, Name: "the child"})
	_ = secret
	require.NoError(t, w.acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.Limits.Quotas = monthly(9_000_000)
		return nil
	}))
	_, err := w.acme.Update(ctx, parent.ID,
		func(t *latchkey.Token) error { t.Validity.NotAfter = w.now.Add(time.Hour); return nil })
	require.NoError(t, err)
	for _, path := range []string{"token/" + child.ID, "token/" + child.ID + "/access"} {
		page := w.get(path)
		for _, says := range []string{"Allowed domains: example.com (of the parent)", "Credits: 5 in a calendar month",
			"9 in a calendar month (of the account)", "Rate limit: 7 requests per minute",
			"Expiry: 22 Nov 2026, 10:00 UTC, with the token it was minted from"} {
			require.Contains(t, textOf(page), says, path)
		}
		require.NotContains(t, page, `state off">Refused`)
	}
	_, err = w.acme.Update(ctx, parent.ID, func(t *latchkey.Token) error { t.Disabled = true; return nil })
	require.NoError(t, err)
	for _, path := range []string{"token/" + child.ID, "?kind=access"} {
		require.Contains(t, w.get(path), "Refused</span>", path)
	}
	require.Contains(t, w.get("token/"+child.ID+"/access"), "Refused (a token it was minted from has ended or is "+
		"disabled")

	// A parent that the person may not see is mentioned, but not named.
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On(latchkey.Pattern("latchkey/token/" + child.ID))}))
	page := w.get("token/" + child.ID)
	require.NotContains(t, page, "the parent<")
	require.NotContains(t, page, "example.com</bdi>")
	require.Contains(t, page, "which you may not see")
	require.Contains(t, page, "Refused</span>")
}

func TestMintedWithAllRights(t *testing.T) {
	w := newFixture(t, nil)
	parent, child, _ := w.mint(latchkey.Settings{Name: "the parent",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("core/*", "dataset/*")}},
		latchkey.Narrowing{Lifetime: time.Hour, Client: latchkey.Client{ID: "42", Name: "Ada L"}})
	at := "token/" + child.ID
	page := w.get(at)
	require.Contains(t, page, "<bdi>Ada L</bdi>")
	require.Contains(t, page, `<a href="../token/`+parent.ID+`"><bdi>the parent</bdi></a>`)
	require.Contains(t, page, "It may do all that its parent may do")
	require.NotContains(t, page, `name="right"`, "there is nothing to switch by accident")
	before := w.token(child.ID)
	for _, change := range []func(url.Values){func(url.Values) {}, func(f url.Values) { f.Set("right", "0") },
		func(f url.Values) { f.Set("add", "a/b"); f.Set("addright", "2") }, func(f url.Values) { f.Set("had-role", "x") }} {
		form := w.form(at)
		change(form)
		require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
		after := w.token(child.ID)
		require.True(t, after.Full)
		require.Equal(t, before.Settings, after.Settings)
	}
	form := w.form(at)
	form.Set("name", "named")
	require.Equal(t, http.StatusSeeOther, w.post(at, form).Code)
	require.Equal(t, "named", w.token(child.ID).Name)
}

func TestSwitchesSayWhatHoldsAllTheSame(t *testing.T) {
	w := newFixture(t, nil)
	role := w.role(latchkey.Role{Name: "core",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}})
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Roles: []string{role.ID},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("premium/*")}}).ID
	require.Contains(t, w.get("token/"+id), "Still allowed, by its roles")
	require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error {
		o.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("core/*", "latchkey/*")}
		return nil
	}))
	require.Contains(t, w.get("token/"+id), "Not allowed in effect:")
}
