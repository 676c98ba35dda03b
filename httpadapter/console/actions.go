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

// confirmation is a page that asks before an action is carried out.
type confirmation struct {
	Title   heading
	Text    []string
	Button  string // "": the action is not possible
	Danger  bool
	Reason  bool // has a field for the reason
	Overlap bool // has a choice of how long the old secrets stay valid
	Back    string
}

// confirmationFor returns the confirmation of an action on a token.
type confirmationFor func(t *latchkey.Token) confirmation

// confirm shows the confirmation of an action on a token.
func (v *view) confirm(id string, q confirmationFor) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	return v.showConfirmation(http.StatusOK, &t, q(&t), "", nil, "")
}

// revokedWords returns the notice of a revoked token, or "" for any other.
func revokedWords(t *latchkey.Token) string {
	if t.Revoked.IsZero() {
		return ""
	}
	return "This token was revoked on " + stamp(t.Revoked) + ". A revoked token cannot be changed, and its secrets do " +
		"not work. Create a new token instead."
}

// showConfirmation shows a confirmation. wrong is what is wrong with the form that was sent; "" if nothing is.
func (v *view) showConfirmation(status int, t *latchkey.Token, q confirmation, typed string, errs []string,
	wrong string) error {
	if words := revokedWords(t); words != "" {
		q.Text, q.Button = []string{words}, ""
	}
	page := ui{Title: q.Title, Nav: "tokens", Errors: errs}
	if wrong != "" {
		page.Errors = []string{"Nothing was done. Correct the marked field below."}
	}
	q.Back = v.root + "token/" + t.ID
	return v.show(status, "confirm", page, map[string]any{"Token": row{Token: *t, State: stateOf(t, v.now)}, "Q": q,
		"Overlaps": overlaps, "Typed": typed, "Wrong": wrong})
}

// showRefused shows why an action on a token was not carried out, and its confirmation again.
func (v *view) showRefused(id string, err error, q confirmationFor, typed string) error {
	status, words, wrong := http.StatusConflict, []string(nil), ""
	denied := errors.Is(err, latchkey.ErrDenied)
	switch {
	case errors.Is(err, errFormUsed):
		words = []string{"This form was sent before, and nothing was done now. The result of the first time is not known " +
			"here: check the token first. If its secret was shown and not saved, request a new one below."}
	case errors.Is(err, errNoForm):
		words = []string{"This page has expired. Nothing was done. Send the form again."}
	case denied:
		status, words = http.StatusForbidden, []string{"You may not do this: it takes rights that you do not have. " +
			"Nothing was changed. Ask an administrator of this account."}
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
	if wrong != "" && !shown.Reason && !shown.Overlap { // the form has no field to mark
		words, wrong = []string{"Nothing was done. " + wrong}, ""
	}
	return v.showConfirmation(status, &t, shown, typed, words, wrong)
}

// overlaps are the choices of how long the old secrets of a rotated token stay valid.
var overlaps = []option{{Value: "0s", Text: "Not at all: they end at once"}, {Value: "1h0m0s", Text: "1 hour"},
	{Value: "24h0m0s", Text: "1 day", On: true}, {Value: "168h0m0s", Text: "1 week"}, {Value: "720h0m0s", Text: "30 days"}}

func (v *view) rotatePage(t *latchkey.Token) confirmation {
	return confirmation{Title: heading{"Rotate", label(t), ""}, Button: "Rotate", Overlap: true, Text: []string{
		"The token gets a new secret. Its rights, its limits and all tokens minted from it stay.",
		"The new secret works " + v.takesEffect() + ". Choose how long the old secrets stay valid."}}
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
			"Choose how long the old secrets stay valid.")
	}
	overlap, err := time.ParseDuration(overlaps[i].Value)
	if err != nil {
		return err
	}
	r, err := v.once(true, latchkey.Rotate, "token", id, func() (reply, error) {
		secret, err := v.account.Rotate(v.r.Context(), id, overlap)
		about := "The old secrets have ended."
		if overlap > 0 {
			about = fmt.Sprintf("The old secrets end on %s at the latest.", stamp(v.now.Add(overlap)))
		}
		return reply{secret: secret, about: about}, err
	})
	if err != nil {
		return v.showRefused(id, err, v.rotatePage, "")
	}
	return v.showSecret(v.tokenOrID(id), r.secret, secretPage{Title: "The new secret of", Named: true, Made: true,
		About: r.about})
}

// tokenOrID returns a token for a page to name. A person who may act on it but not read it still sees the result,
// with its id alone.
func (v *view) tokenOrID(id string) latchkey.Token {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return latchkey.Token{ID: id}
	}
	return t
}

func (v *view) disablePage(t *latchkey.Token) confirmation {
	q := confirmation{Title: heading{"Disable", label(t), ""}, Button: "Disable", Danger: true, Text: []string{
		"Requests with this token, and with all tokens minted from it, are refused " + v.takesEffect() + ".",
		"You can enable it again at any time."}}
	if t.Disabled {
		q.Button, q.Text = "", []string{"This token is disabled already."}
	}
	return q
}

func (v *view) enablePage(t *latchkey.Token) confirmation {
	q := confirmation{Title: heading{"Enable", label(t), ""}, Button: "Enable", Text: []string{
		"The token, and all tokens minted from it, may be used again " + v.takesEffect() + "."}}
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

// errRevoked: the token is revoked, so it cannot be changed.
var errRevoked = errors.New("console: the token is revoked")

func (v *view) revokePage(t *latchkey.Token) confirmation {
	return confirmation{Title: heading{"Revoke", label(t), ""}, Button: "Revoke for ever", Danger: true, Reason: true,
		Text: []string{
			"Requests with this token, and with all tokens minted from it, are refused " + v.takesEffect() + ".",
			"This cannot be undone. To stop the token for a while, disable it instead."}}
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
		"The token's newest secret is shown on the next page. The audit trail records that you saw it."}}
}

func (v *view) confirmReveal(id string) error { return v.confirm(id, v.revealPage) }

func (v *view) reveal(id string) error {
	return v.revealed(id, "The secret of", v.revealPage, v.account.Reveal)
}

func (v *view) signingPage(t *latchkey.Token) confirmation {
	return confirmation{Title: heading{"Signing secret of", label(t), ""}, Button: "Show it", Text: []string{
		"Requests with this token are signed with a secret of its own. It is shown on the next page, and created if there " +
			"is none yet. The audit trail records that you saw it."}}
}

func (v *view) confirmSigning(id string) error { return v.confirm(id, v.signingPage) }

func (v *view) signing(id string) error {
	return v.revealed(id, "The signing secret of", v.signingPage, v.account.SigningSecret)
}

// revealed carries out an action that shows a secret.
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

// number formats 1204 as "1,204".
func number(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// credits formats 21537500000 as "21,537.5".
func credits(c latchkey.Credits) string {
	_, part, ok := strings.Cut(creditText(c), ".")
	if ok {
		part = "." + part
	}
	return number(int64(c/1_000_000)) + part
}
