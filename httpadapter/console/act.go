package console

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// question is a page that asks before something is done.
type question struct {
	Title   string
	Text    []string
	Button  string
	Danger  bool
	Reason  bool // asks why
	Overlap bool // asks how long the old secret works on
	Back    string
}

func (v *visit) ask(id string, q func(t *latchkey.Token) question) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.showQuestion(http.StatusOK, &t, q(&t), "", "")
}

// showQuestion asks, and says what was wrong with the answer, if any.
func (v *visit) showQuestion(status int, t *latchkey.Token, q question, typed, wrong string) error {
	page := ui{Title: q.Title, Nav: "tokens"}
	if wrong != "" {
		page.Errors = []string{"Nothing was done. See what is marked below."}
	}
	q.Back = v.root + "token/" + t.ID
	return v.show(status, "confirm", page, map[string]any{"Token": row{Token: *t, State: stateOf(t, v.now)}, "Q": q,
		"Overlaps": overlaps, "Typed": typed, "Wrong": wrong})
}

var overlaps = []option{{Value: "0s", Text: "No longer: they end at once"}, {Value: "1h0m0s", Text: "1 hour"},
	{Value: "24h0m0s", Text: "1 day", On: true}, {Value: "168h0m0s", Text: "1 week"}, {Value: "720h0m0s", Text: "30 days"}}

func (v *visit) rotation(t *latchkey.Token) question {
	return question{Title: "Rotate " + label(t), Button: "Rotate", Overlap: true, Text: []string{
		"The token gets a new secret. Its rights, limits and all that was minted from it stay.",
		"The new secret works " + v.soon() + ". Choose how long the old ones work beside it."}}
}

func (v *visit) askRotate(id string) error { return v.ask(id, v.rotation) }

func (v *visit) rotate(id string) error {
	i := slices.IndexFunc(overlaps, func(o option) bool { return o.Value == text(v.form, "overlap") })
	if i < 0 {
		t, err := v.account.Get(v.r.Context(), id)
		if err != nil {
			return err
		}
		return v.showQuestion(http.StatusUnprocessableEntity, &t, v.rotation(&t), "", "Choose how long the old secrets work.")
	}
	overlap, err := time.ParseDuration(overlaps[i].Value)
	if err != nil {
		return err
	}
	secret, err := v.account.Rotate(v.r.Context(), id, overlap)
	if err != nil {
		return err
	}
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		t = latchkey.Token{ID: id} // who may rotate but not read gets her secret all the same
	}
	about := "The old secrets have ended."
	if overlap > 0 {
		about = fmt.Sprintf("The old ones end on %s at the latest.", stamp(v.now.Add(overlap)))
	}
	return v.showSecret(t, secret, secretPage{Title: "The new secret of " + label(&t), Made: true, About: about})
}

func (v *visit) askDisable(id string) error {
	return v.ask(id, func(t *latchkey.Token) question {
		return question{Title: "Disable " + label(t), Button: "Disable", Danger: true, Text: []string{
			"Requests with this token, and with all that was minted from it, are refused " + v.soon() + ".",
			"You can enable it again at any time."}}
	})
}

func (v *visit) disable(id string) error { return v.setDisabled(id, true) }

func (v *visit) askEnable(id string) error {
	return v.ask(id, func(t *latchkey.Token) question {
		return question{Title: "Enable " + label(t), Button: "Enable", Text: []string{
			"The token, and all that was minted from it, may be used again " + v.soon() + "."}}
	})
}

func (v *visit) enable(id string) error { return v.setDisabled(id, false) }

func (v *visit) setDisabled(id string, off bool) error {
	_, err := v.account.Update(v.r.Context(), id, func(t *latchkey.Token) error {
		t.Disabled = off
		return nil
	})
	if err != nil {
		return err
	}
	return v.goTo("token/" + id + "?done=" + onOff(!off))
}

func (v *visit) revocation(t *latchkey.Token) question {
	return question{Title: "Revoke " + label(t), Button: "Revoke for ever", Danger: true, Reason: true, Text: []string{
		"Requests with this token, and with all that was minted from it, are refused " + v.soon() + ".",
		"This cannot be taken back. To stop it for a while, disable it instead."}}
}

func (v *visit) askRevoke(id string) error { return v.ask(id, v.revocation) }

func (v *visit) revoke(id string) error {
	reason := text(v.form, "reason")
	err := v.account.Revoke(v.r.Context(), id, reason)
	if words := why(err); words != "" {
		t, errGet := v.account.Get(v.r.Context(), id)
		if errGet != nil {
			return errGet
		}
		return v.showQuestion(http.StatusUnprocessableEntity, &t, v.revocation(&t), reason, words)
	}
	if err != nil {
		return err
	}
	return v.goTo("?done=revoked")
}

func (v *visit) askReveal(id string) error {
	return v.ask(id, func(t *latchkey.Token) question {
		return question{Title: "Reveal " + label(t), Button: "Reveal", Text: []string{
			"The token's newest secret is shown on the next page. That you saw it is written into the audit trail."}}
	})
}

func (v *visit) reveal(id string) error {
	return v.revealed(id, "The secret of ", func() (latchkey.Secret, error) { return v.account.Reveal(v.r.Context(), id) })
}

func (v *visit) askSigning(id string) error {
	return v.ask(id, func(t *latchkey.Token) question {
		return question{Title: "Signing secret of " + label(t), Button: "Show it", Text: []string{
			"Requests with this token are signed with a key of its own. It is shown on the next page, and made if there is none " +
				"yet. That you saw it is written into the audit trail."}}
	})
}

func (v *visit) signing(id string) error {
	return v.revealed(id, "The signing secret of ", func() (latchkey.Secret, error) {
		return v.account.SigningSecret(v.r.Context(), id)
	})
}

func (v *visit) revealed(id, title string, open func() (latchkey.Secret, error)) error {
	secret, err := open()
	if err != nil {
		return err
	}
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		t = latchkey.Token{ID: id}
	}
	return v.showSecret(t, secret, secretPage{Title: title + label(&t)})
}

// The functions below are for templates.

func date(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2 Jan 2006")
}

func stamp(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 2*time.Minute:
		return "just now"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	case d < 60*24*time.Hour:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
	return date(t)
}

// number writes 1204 as "1,204".
func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// credits writes 21537500000 as "21,537.5".
func credits(c latchkey.Credits) string {
	_, part, ok := strings.Cut(creditText(c), ".")
	if ok {
		part = "." + part
	}
	return number(int64(c/1_000_000)) + part
}
