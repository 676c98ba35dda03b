package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// question is a page that asks before something is done.
type confirmation struct {
	Title   heading
	Text    []string
	Button  string // "": there is nothing to be done
	Danger  bool
	Reason  bool // asks why
	Overlap bool // asks how long the old secret works on
	Back    string
}

// asking makes a question about a token.
type confirmationFor func(t *latchkey.Token) confirmation

func (v *view) confirm(id string, q confirmationFor) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	return v.showConfirmation(http.StatusOK, &t, q(&t), "", nil, "")
}

// revokedWords say what is the matter with a token that was revoked; "" for any other.
func revokedWords(t *latchkey.Token) string {
	if t.Revoked.IsZero() {
		return ""
	}
	return "This token was revoked on " + stamp(t.Revoked) + ". That cannot be taken back: it cannot be changed, and " +
		"no secret of it works. " +
		"Create a new token instead."
}

// showQuestion asks. Wrong is what was wrong with the answer, if anything.
func (v *view) showConfirmation(status int, t *latchkey.Token, q confirmation, typed string, errs []string,
	wrong string) error {
	if words := revokedWords(t); words != "" {
		q.Text, q.Button = []string{words}, ""
	}
	page := ui{Title: q.Title, Nav: "tokens", Errors: errs}
	if wrong != "" {
		page.Errors = []string{"Nothing was done. See what is marked below."}
	}
	q.Back = v.root + "token/" + t.ID
	return v.show(status, "confirm", page, map[string]any{"Token": row{Token: *t, State: stateOf(t, v.now)}, "Q": q,
		"Overlaps": overlaps, "Typed": typed, "Wrong": wrong})
}

// notDone answers an action on a token that was not carried out, with words for whoever asked for it, and asks again.
func (v *view) showRefused(id string, err error, q confirmationFor, typed string) error {
	status, words, wrong := http.StatusConflict, []string(nil), ""
	denied := errors.Is(err, latchkey.ErrDenied)
	switch {
	case errors.Is(err, errFormUsed):
		words = []string{"This was sent before, and nothing was done now. It is not known here what became of it then: " +
			"look at the token " +
			"first. If a secret was shown and nobody kept it, ask for a new one below."}
	case errors.Is(err, errNoForm):
		words = []string{"This page was too old. Nothing was done: please send it again."}
	case denied:
		status, words = http.StatusForbidden, []string{"You may not do this: your own rights do not reach that far. " +
			"Nothing was changed."}
	case errors.Is(err, latchkey.ErrNeedsKeyring), errors.Is(err, latchkey.ErrNotFound), errors.Is(err,
		latchkey.ErrUnavailable):
		return err
	}
	t, errGet := v.account.Get(v.r.Context(), id)
	if errGet != nil {
		if denied {
			return err
		}
		return errGet
	}
	switch {
	case !denied && revokedWords(&t) != "":
		words = []string{"Nothing was done: the token is revoked."}
	case words == nil:
		if wrong = errorText(err); wrong == "" {
			return err
		}
		status = http.StatusUnprocessableEntity
	}
	if denied && v.opts.OnError != nil {
		v.opts.OnError(v.r, err)
	}
	shown := q(&t)
	if wrong != "" && !shown.Reason && !shown.Overlap { // there is no field to mark
		words, wrong = []string{"Nothing was done. " + wrong}, ""
	}
	return v.showConfirmation(status, &t, shown, typed, words, wrong)
}

var overlaps = []option{{Value: "0s", Text: "No longer: they end at once"}, {Value: "1h0m0s", Text: "1 hour"},
	{Value: "24h0m0s", Text: "1 day", On: true}, {Value: "168h0m0s", Text: "1 week"}, {Value: "720h0m0s", Text: "30 days"}}

func (v *view) rotatePage(t *latchkey.Token) confirmation {
	return confirmation{Title: heading{"Rotate", label(t), ""}, Button: "Rotate", Overlap: true, Text: []string{
		"The token gets a new secret. Its rights, limits and all that was minted from it stay.",
		"The new secret works " + v.takesEffect() + ". Choose how long the old ones work beside it."}}
}

func (v *view) confirmRotate(id string) error { return v.confirm(id, v.rotatePage) }

func (v *view) rotate(id string) error {
	i := slices.IndexFunc(overlaps, func(o option) bool { return o.Value == text(v.form, "overlap") })
	if i < 0 {
		t, err := v.account.Get(v.r.Context(), id)
		if err != nil {
			return err
		}
		return v.showConfirmation(http.StatusUnprocessableEntity, &t, v.rotatePage(&t), "", nil,
			"Choose how long the old secrets work.")
	}
	overlap, err := time.ParseDuration(overlaps[i].Value)
	if err != nil {
		return err
	}
	r, err := v.once(true, latchkey.Rotate, "token", id, func() (reply, error) {
		secret, err := v.account.Rotate(v.r.Context(), id, overlap)
		about := "The old secrets have ended."
		if overlap > 0 {
			about = fmt.Sprintf("The old ones end on %s at the latest.", stamp(v.now.Add(overlap)))
		}
		return reply{secret: secret, about: about}, err
	})
	if err != nil {
		return v.showRefused(id, err, v.rotatePage, "")
	}
	return v.showSecret(v.tokenOrID(id), r.secret, secretPage{Title: "The new secret of", Named: true, Made: true,
		About: r.about})
}

// named is a token to speak of. Who may do something with it but not read it gets to see the outcome all the same.
func (v *view) tokenOrID(id string) latchkey.Token {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return latchkey.Token{ID: id}
	}
	return t
}

func (v *view) disablePage(t *latchkey.Token) confirmation {
	q := confirmation{Title: heading{"Disable", label(t), ""}, Button: "Disable", Danger: true, Text: []string{
		"Requests with this token, and with all that was minted from it, are refused " + v.takesEffect() + ".",
		"You can enable it again at any time."}}
	if t.Disabled {
		q.Button, q.Text = "", []string{"This token is disabled already."}
	}
	return q
}

func (v *view) enablePage(t *latchkey.Token) confirmation {
	q := confirmation{Title: heading{"Enable", label(t), ""}, Button: "Enable", Text: []string{
		"The token, and all that was minted from it, may be used again " + v.takesEffect() + "."}}
	if !t.Disabled {
		q.Button, q.Text = "", []string{"This token is not disabled."}
	}
	return q
}

func (v *view) confirmDisable(id string) error { return v.confirm(id, v.disablePage) }
func (v *view) disable(id string) error        { return v.setDisabled(id, true, v.disablePage) }
func (v *view) confirmEnable(id string) error  { return v.confirm(id, v.enablePage) }
func (v *view) enable(id string) error         { return v.setDisabled(id, false, v.enablePage) }

func (v *view) setDisabled(id string, off bool, q confirmationFor) error {
	r, err := v.once(false, latchkey.Update, "token", id, func() (reply, error) {
		_, err := v.account.Update(v.r.Context(), id, func(t *latchkey.Token) error {
			if !t.Revoked.IsZero() {
				return errRevoked
			}
			t.Disabled = off
			return nil
		})
		return reply{to: "token/" + id + "?done=" + onOff(!off)}, err
	})
	if err != nil {
		return v.showRefused(id, err, q, "")
	}
	return v.redirect(r.to)
}

// errRevoked says that a token was revoked, so that nothing can be changed about it.
var errRevoked = errors.New("console: the token is revoked")

func (v *view) revokePage(t *latchkey.Token) confirmation {
	return confirmation{Title: heading{"Revoke", label(t), ""}, Button: "Revoke for ever", Danger: true, Reason: true,
		Text: []string{
			"Requests with this token, and with all that was minted from it, are refused " + v.takesEffect() + ".",
			"This cannot be taken back. To stop it for a while, disable it instead."}}
}

func (v *view) confirmRevoke(id string) error { return v.confirm(id, v.revokePage) }

func (v *view) revoke(id string) error {
	reason := text(v.form, "reason")
	r, err := v.once(false, latchkey.Delete, "token", id, func() (reply, error) {
		ctx := v.r.Context()
		if t, err := v.account.Get(ctx, id); err == nil && !t.Revoked.IsZero() {
			return reply{}, errRevoked
		}
		return reply{to: "?done=revoked&token=" + id}, v.account.Revoke(ctx, id, reason)
	})
	if err != nil {
		return v.showRefused(id, err, v.revokePage, reason)
	}
	return v.redirect(r.to)
}

func (v *view) revealPage(t *latchkey.Token) confirmation {
	return confirmation{Title: heading{"Reveal", label(t), ""}, Button: "Reveal", Text: []string{
		"The token's newest secret is shown on the next page. That you saw it is written into the audit trail."}}
}

func (v *view) confirmReveal(id string) error { return v.confirm(id, v.revealPage) }

func (v *view) reveal(id string) error {
	return v.revealed(id, "The secret of", v.revealPage, v.account.Reveal)
}

func (v *view) signingPage(t *latchkey.Token) confirmation {
	return confirmation{Title: heading{"Signing secret of", label(t), ""}, Button: "Show it", Text: []string{
		"Requests with this token are signed with a key of its own. It is shown on the next page, and made if there is " +
			"none " +
			"yet. That you saw it is written into the audit trail."}}
}

func (v *view) confirmSigning(id string) error { return v.confirm(id, v.signingPage) }

func (v *view) signing(id string) error {
	return v.revealed(id, "The signing secret of", v.signingPage, v.account.SigningSecret)
}

func (v *view) revealed(id, title string, q confirmationFor, open func(context.Context, string) (latchkey.Secret,
	error)) error {
	r, err := v.once(false, latchkey.Reveal, "token", id, func() (reply, error) {
		secret, err := open(v.r.Context(), id)
		return reply{secret: secret}, err
	})
	if err != nil {
		return v.showRefused(id, err, q, "")
	}
	return v.showSecret(v.tokenOrID(id), r.secret, secretPage{Title: title, Named: true})
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
