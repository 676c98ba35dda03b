package console

import (
	"net/http"

	"github.com/latchkey-go/latchkey"
)

// whole serves account: what ends all tokens of the account at once, or all that are older than a moment.
func (v *view) whole(string) error {
	data := map[string]any{"Ask": text(v.query, "ask") == "off", "Now": momentText(v.now), "Count": 0, "Most": maxCounted,
		"Soon": v.takesEffect(), "MayUpdate": v.access.Allows(latchkey.Update, "latchkey/owner")}
	page := ui{Title: v.heading("account.title"), Nav: "tokens"}
	if data["Ask"] == true {
		page.Title = v.heading("account.off-title")
		count, err := v.account.CountTokens(v.r.Context(), latchkey.TokenQuery{States: []latchkey.State{latchkey.Active}},
			maxCounted)
		if err != nil {
			return err
		}
		data["Count"] = count
	}
	return v.show(http.StatusOK, "account", page, data)
}

// switchOff carries out the off switch of the account. Nobody can be signed in to a disabled account, so there is no
// switch that turns it on again here.
func (v *view) switchOff(string) error {
	if text(v.form, "do") != "off" {
		return latchkey.ErrNotFound
	}
	err := v.account.Configure(v.r.Context(), func(o *latchkey.Owner) error {
		o.Disabled = true
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "error", ui{Title: v.heading("account.is-off")}, map[string]any{
		"Detail": v.say("account.is-off-about"), "Again": "", "SignedOut": false})
}
