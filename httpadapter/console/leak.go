package console

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"

	"github.com/latchkey-go/latchkey"
)

// whyLeaked is the value of "why" in the address of a rotation after a leak.
const whyLeaked = "leak"

// leakForm serves leak: the page where a key that has leaked is pasted.
func (v *view) leakForm(string) error { return v.showLeakForm(ui{}) }

func (v *view) showLeakForm(page ui) error {
	page.Title, page.Nav = v.heading("leak.title"), "tokens"
	return v.show(http.StatusOK, "leak", page, nil)
}

// findLeak looks a pasted key up. It redirects to the page about it, whose address tells the token and which of its
// secrets it is. The key itself appears nowhere.
func (v *view) findLeak(string) error {
	key := text(v.form, "q")
	if key == "" {
		return v.showLeakForm(ui{Errors: []template.HTML{v.rich("leak.empty")}})
	}
	found, err := v.account.FindSecret(v.r.Context(), key)
	if errors.Is(err, latchkey.ErrNotFound) {
		return v.showLeakForm(ui{Errors: []template.HTML{v.rich("leak.unknown")}})
	}
	if err != nil && (!isDamaged(err) || found.Token.ID == "") {
		return err
	}
	if latchkey.IsStateless(found.Token.ID) { // it has no page
		return v.showLeakForm(ui{Errors: []template.HTML{v.rich("leak.stateless", "id", found.Token.ID)}})
	}
	to := "token/" + found.Token.ID + "/leak"
	if found.SecretID != "" {
		to += "?secret=" + url.QueryEscape(found.SecretID)
	}
	return v.redirect(to)
}

// leaked serves token/*/leak: whose a leaked key is, when and from where it was used, and what ends it.
func (v *view) leaked(id string) error {
	ctx := v.r.Context()
	t, err := v.account.Get(ctx, id)
	if err != nil && !isDamaged(err) {
		return err
	}
	secrets, err := v.secretsOf(&t)
	if err != nil {
		return err
	}
	data := map[string]any{"Token": row{Token: t, State: v.words.stateOf(&t, v.now)}, "Client": clientText(t.Client),
		"Public": t.Kind == latchkey.KindPublishable, "Secret": nil, "Gone": false, "Reason": v.say("leak.reason"),
		"Usage":  v.access.Allows(latchkey.Read, "latchkey/usage"),
		"Audit":  v.access.Allows(latchkey.Read, "latchkey/event"),
		"Live":   t.Revoked.IsZero(),
		"Revoke": t.Revoked.IsZero() && v.may(latchkey.Delete, "token", id),
		"Rotate": t.Revoked.IsZero() && !t.Damaged && t.Kind != latchkey.KindAccess && v.may(latchkey.Rotate, "token", id),
		"Soon":   v.takesEffect(), "Most": maxCount, "Others": 0}
	if s, live, err := v.secretOf(&t); err != nil {
		return err
	} else if live {
		data["Secret"], data["Use"] = s, v.useWords(s)
	} else if text(v.query, "secret") != "" {
		data["Gone"] = t.Revoked.IsZero()
	} else if len(secrets) == 1 {
		data["Use"] = v.useWords(secrets[0])
	}
	if data["Minted"], err = v.account.CountTokens(ctx, latchkey.TokenQuery{Parent: id, Now: v.now,
		States: []latchkey.State{latchkey.Active, latchkey.NotYetValid}}, maxCount); err != nil {
		return err
	}
	return v.show(http.StatusOK, "leaked", ui{Title: v.heading("leak.of", "name", label(&t)), Nav: "tokens"}, data)
}
