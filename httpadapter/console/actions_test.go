package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestSecretsComeOutOnlyWhereTheyAreAskedFor(t *testing.T) {
	w := newFixture(t, nil)
	token, secret, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"})
	require.NoError(t, err)
	shown := func(body string) bool { return strings.Contains(body, secret.Reveal()) }
	for _, path := range []string{"", "token/" + token.ID, "token/" + token.ID + "/reveal",
		"token/" + token.ID + "/rotate",
		"token/" + token.ID + "/revoke", "token/" + token.ID + "/access", "token/" + token.ID + "/usage", "usage"} {
		require.False(t, shown(w.get(path)), path)
	}
	rec := w.post("token/"+token.ID+"/reveal", nil)
	require.True(t, shown(rec.Body.String()))
	last := ""
	for e, err := range w.acme.Events(t.Context(), latchkey.EventQuery{}) {
		require.NoError(t, err)
		last = e.Actor + " " + e.Action + " " + e.Object
	}
	require.Equal(t, "client:ada token.reveal "+token.ID, last)

	rotate := func(overlap string) *httptest.ResponseRecorder {
		form := w.form("token/" + token.ID + "/rotate")
		form.Set("overlap", overlap)
		return w.post("token/"+token.ID+"/rotate", form)
	}
	rec = rotate("24h0m0s")
	fresh := regexp.MustCompile(`ak_\w{40}`).FindString(rec.Body.String())
	require.NotEmpty(t, fresh)
	require.False(t, shown(rec.Body.String()))
	for _, text := range []string{fresh, secret.Reveal()} {
		_, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: text})
		require.NoError(t, err)
	}
	rec = w.post("token/"+token.ID+"/rotate", nil)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	rotate("0s")
	_, err = w.acme.Verify(t.Context(), latchkey.Presented{Secret: fresh})
	require.ErrorIs(t, err, latchkey.ErrInvalidToken)
	require.NotContains(t, w.log.String(), fresh)
}

func TestDisableEnableRevoke(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	for _, c := range []struct{ do, state string }{{"disable", "disabled"}, {"enable", "active"}, {"revoke", "revoked"}} {
		page := w.get("token/" + id + "/" + c.do)
		require.Contains(t, page, "at once", "it says when it holds")
		before := w.token(id)
		require.Equal(t, before.Version, w.token(id).Version, "asking changes nothing")
		rec := w.post("token/"+id+"/"+c.do, url.Values{"reason": {"left"}})
		require.Equal(t, http.StatusSeeOther, rec.Code, rec.Body)
		require.Equal(t, c.state, w.token(id).State(w.now).String())
	}
	require.Equal(t, "left", w.token(id).Reason)
	require.Contains(t, w.get(""), "Revoked")
	require.NotContains(t, w.get("token/"+id), "/rotate")
}

func TestARevokedTokenOffersNothing(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k"}).ID
	forms := map[string]url.Values{}
	for _, do := range []string{"", "/rotate", "/disable", "/reveal", "/signing", "/revoke"} {
		forms[do] = w.form("token/" + id + do)
	}
	forms["/enable"] = url.Values{"form": {newFormID()}}
	require.NoError(t, w.acme.Revoke(t.Context(), id, "leaked"))
	want := w.token(id)
	page := w.get("token/" + id)
	for _, no := range []string{"Rotate", "Disable…", "Reveal", "Revoke…", ">Done<"} {
		require.NotContains(t, page, no)
	}
	require.Contains(t, textOf(page), "This token was revoked on 22 Nov 2026, 09:00 UTC")
	for do, form := range forms {
		if do != "" {
			page := w.get("token/" + id + do)
			require.Contains(t, textOf(page), "This token was revoked on", do)
			require.NotContains(t, page, "<form", do)
		}
		form.Set("overlap", "0s")
		for range 2 {
			rec := w.post("token/"+id+do, form)
			require.Equal(t, http.StatusConflict, rec.Code, do)
			require.Contains(t, rec.Body.String(), "the token is revoked", do)
			require.Contains(t, rec.Body.String(), "This token was revoked on", do)
		}
		require.Equal(t, want, w.token(id), do)
	}
	// A page says if there is nothing to change.
	id = w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "k", Disabled: true}).ID
	require.Contains(t, w.get("token/"+id+"/disable"), "This token is disabled already.")
	require.NotContains(t, w.get("token/"+id+"/disable"), "<form")
	require.Contains(t, w.get("token/"+id+"/enable"), "<form")
}

// A token whose record cannot be read is listed by its id, and can be revoked.
func TestADamagedTokenIsShownAndRevoked(t *testing.T) {
	w := newFixture(t, nil)
	good := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "good"})
	bad := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "spoilt"})
	spoilt := bad
	spoilt.Damaged = true
	err := w.reads.Store.Write(t.Context(), latchkey.Write{ID: uuid.Must(uuid.NewV7()), Owner: bad.Owner,
		At:     time.Now(),
		Tokens: []latchkey.Token{spoilt}})
	require.NoError(t, err)
	list := w.get("")
	require.Contains(t, list, "good")
	require.Contains(t, list, `href="token/`+bad.ID+`"`)
	require.Contains(t, list, "Damaged")
	require.Contains(t, list, good.ID)
	page := w.get("token/" + bad.ID)
	require.Contains(t, textOf(page), bad.ID+" cannot be read")
	require.Contains(t, page, "revoke")
	require.NotContains(t, page, "Blank: any domain", "what it is bound to is not known")
	require.NotContains(t, page, `name="name"`)
	require.NotContains(t, page, "/access")
	require.Contains(t, w.do(http.MethodGet, "token/"+bad.ID+"/access", "").Body.String(), "Revoke the token")
	form := w.form("token/" + bad.ID + "/revoke")
	form.Set("reason", "it cannot be read")
	require.Equal(t, http.StatusSeeOther, w.post("token/"+bad.ID+"/revoke", form).Code)
	got := w.token(bad.ID)
	require.False(t, got.Revoked.IsZero())
	require.Contains(t, w.get(""), "Revoked")
}
