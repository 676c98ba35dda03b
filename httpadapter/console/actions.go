package console

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// confirmation is a page that asks before an action is carried out.
type confirmation struct {
	Title   heading
	Text    []template.HTML
	Button  string // "": the action is not possible
	Danger  bool
	Reason  bool   // has a field for the reason
	Overlap string // has a choice of how long the old secrets stay valid, and this is chosen; "": has none
	Typed   string // the reason, before it is typed
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
	ask := q(&t)
	return v.showConfirmation(http.StatusOK, &t, ask, ask.Typed, nil, "")
}

// revokedWords returns the notice of a revoked token, or "" for any other.
func (v *view) revokedWords(t *latchkey.Token) template.HTML {
	if t.Revoked.IsZero() {
		return ""
	}
	return v.rich("confirm.revoked", "time", t.Revoked)
}

// showConfirmation shows a confirmation. wrong is what is wrong with the form that was sent; "" if nothing is.
func (v *view) showConfirmation(status int, t *latchkey.Token, q confirmation, typed string,
	errs []template.HTML, wrong template.HTML) error {
	if words := v.revokedWords(t); words != "" {
		q.Text, q.Button = []template.HTML{words}, ""
	}
	page := ui{Title: q.Title, Nav: "tokens", Errors: errs}
	if wrong != "" {
		page.Errors = []template.HTML{v.rich("confirm.correct")}
	}
	q.Back = v.root + "token/" + t.ID + string(v.place("?"))
	choices := v.optionsOf(overlaps)
	chosen := text(v.form, "overlap")
	if !slices.ContainsFunc(choices, func(o option) bool { return o.Value == chosen }) {
		chosen = q.Overlap
	}
	for i := range choices {
		choices[i].On = choices[i].Value == chosen
	}
	return v.show(status, "confirm", page, map[string]any{
		"Token": row{Token: *t, State: v.words.stateOf(t, v.now)}, "Q": q, "Overlaps": choices,
		"Typed": typed, "Wrong": wrong,
		"InReason": q.Reason && (q.Overlap == "" || chosen == text(v.form, "overlap"))})
}

// showRefused shows why an action on a token was not carried out, and its confirmation again.
func (v *view) showRefused(id string, err error, q confirmationFor, typed string) error {
	status, words, wrong := http.StatusConflict, []template.HTML(nil), template.HTML("")
	denied := errors.Is(err, latchkey.ErrDenied)
	switch {
	case errors.Is(err, errFormUsed):
		words = []template.HTML{v.rich("confirm.sent-before")}
	case errors.Is(err, errNoForm):
		words = []template.HTML{v.rich("common.expired")}
	case denied:
		status, words = http.StatusForbidden, []template.HTML{v.rich("confirm.denied")}
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
	case !denied && !t.Revoked.IsZero():
		words = []template.HTML{v.rich("confirm.refused-revoked")}
	case words == nil:
		if wrong = v.errorText(err); wrong == "" {
			return err
		}
		status = http.StatusUnprocessableEntity
	}
	if denied && v.opts.OnError != nil {
		v.opts.OnError(v.r, err)
	}
	shown := q(&t)
	if wrong != "" && !shown.Reason && shown.Overlap == "" { // the form has no field to mark
		words, wrong = []template.HTML{v.rich("confirm.nothing") + " " + wrong}, ""
	}
	return v.showConfirmation(status, &t, shown, typed, words, wrong)
}

// overlaps are the choices of how long the old secrets of a rotated token stay valid.
var overlaps = []choice{{Value: "0s", Key: "confirm.overlap-none"},
	{Value: "15m0s", Key: "confirm.overlap-quarter"}, {Value: "1h0m0s", Key: "confirm.overlap-hour"},
	{Value: "24h0m0s", Key: "confirm.overlap-day"}, {Value: "168h0m0s", Key: "confirm.overlap-week"},
	{Value: "720h0m0s", Key: "confirm.overlap-month"}}

// What is chosen at first: long enough for a user to change the secret, and short for one that others have.
const (
	usualOverlap = "24h0m0s"
	leakOverlap  = "15m0s"
)

func (v *view) rotatePage(t *latchkey.Token) confirmation {
	q := confirmation{Title: v.heading("confirm.rotate-title", "name", label(t)), Button: v.say("confirm.rotate"),
		Overlap: usualOverlap, Reason: true, Text: []template.HTML{v.rich("confirm.rotate-about"),
			v.rich("confirm.rotate-when", "soon", v.takesEffect())}}
	if text(v.query, "why") == whyLeaked {
		q.Overlap, q.Typed = leakOverlap, v.say("leak.reason")
		q.Text = append(q.Text, v.rich("confirm.rotate-leaked"))
	} else {
		q.Text = append(q.Text, v.rich("confirm.rotate-if-leaked", "link", link("?why=leak"+string(v.place("&")))))
	}
	return q
}

func (v *view) confirmRotate(id string) error { return v.confirm(id, v.rotatePage) }

func (v *view) rotate(id string) error {
	i := slices.IndexFunc(overlaps, func(o choice) bool { return o.Value == text(v.form, "overlap") })
	reason := text(v.form, "reason")
	if i < 0 {
		t, err := v.account.Get(v.r.Context(), id)
		if err != nil {
			return err
		}
		return v.showConfirmation(http.StatusUnprocessableEntity, &t, v.rotatePage(&t), reason, nil,
			v.rich("confirm.overlap-choose"))
	}
	overlap, err := time.ParseDuration(overlaps[i].Value)
	if err != nil {
		return err
	}
	r, err := v.once(true, latchkey.Rotate, "token", id, func() (reply, error) {
		secret, err := v.account.RotateWith(v.r.Context(), id, latchkey.Rotation{Overlap: overlap, Reason: reason})
		about := v.rich("confirm.rotate-ended")
		if overlap > 0 {
			about = v.rich("confirm.rotate-until", "time", v.now.Add(overlap))
		}
		return reply{secret: secret, about: about}, err
	})
	if err != nil {
		return v.showRefused(id, err, v.rotatePage, reason)
	}
	return v.showSecret(v.tokenOrID(id), r.secret, secretPage{Title: "confirm.rotated-title", Made: true, About: r.about})
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
	q := confirmation{Title: v.heading("confirm.disable-title", "name", label(t)), Button: v.say("confirm.disable"),
		Danger: true, Text: []template.HTML{v.rich("confirm.refused-soon", "soon", v.takesEffect()),
			v.rich("confirm.disable-about")}}
	if t.Disabled {
		q.Button, q.Text = "", []template.HTML{v.rich("confirm.disabled")}
	}
	return q
}

func (v *view) enablePage(t *latchkey.Token) confirmation {
	q := confirmation{Title: v.heading("confirm.enable-title", "name", label(t)), Button: v.say("confirm.enable"),
		Text: []template.HTML{v.rich("confirm.enable-about", "soon", v.takesEffect())}}
	if !t.Disabled {
		q.Button, q.Text = "", []template.HTML{v.rich("confirm.enabled")}
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
		return reply{to: "token/" + id + "?done=" + map[bool]string{true: "disabled", false: "enabled"}[off] +
			string(v.place("&"))}, err
	})
	if err != nil {
		return v.showRefused(id, err, q, "")
	}
	return v.redirect(r.to)
}

// errRevoked: the token is revoked, so it cannot be changed.
var errRevoked = errors.New("console: the token is revoked")

func (v *view) revokePage(t *latchkey.Token) confirmation {
	return confirmation{Title: v.heading("confirm.revoke-title", "name", label(t)), Button: v.say("confirm.revoke"),
		Danger: true, Reason: true, Text: []template.HTML{v.rich("confirm.refused-soon", "soon", v.takesEffect()),
			v.rich("confirm.revoke-about")}}
}

func (v *view) confirmRevoke(id string) error { return v.confirm(id, v.revokePage) }

func (v *view) revoke(id string) error {
	reason := text(v.form, "reason")
	r, err := v.once(false, latchkey.Delete, "token", id, func() (reply, error) {
		ctx := v.r.Context()
		if t, err := v.account.Get(ctx, id); err == nil && !t.Revoked.IsZero() {
			return reply{}, errRevoked
		}
		return reply{to: v.listURL("done", "revoked", "token", id)}, v.account.Revoke(ctx, id, reason)
	})
	if err != nil {
		return v.showRefused(id, err, v.revokePage, reason)
	}
	return v.redirect(r.to)
}

func (v *view) revealPage(t *latchkey.Token) confirmation {
	return confirmation{Title: v.heading("confirm.reveal-title", "name", label(t)), Button: v.say("confirm.reveal"),
		Text: []template.HTML{v.rich("confirm.reveal-about")}}
}

func (v *view) confirmReveal(id string) error { return v.confirm(id, v.revealPage) }

func (v *view) reveal(id string) error {
	return v.revealed(id, "confirm.revealed-title", v.revealPage, v.account.Reveal)
}

func (v *view) signingPage(t *latchkey.Token) confirmation {
	return confirmation{Title: v.heading("confirm.signing-title", "name", label(t)), Button: v.say("confirm.signing"),
		Text: []template.HTML{v.rich("confirm.signing-about")}}
}

func (v *view) confirmSigning(id string) error { return v.confirm(id, v.signingPage) }

func (v *view) signing(id string) error {
	return v.revealed(id, "confirm.signed-title", v.signingPage, v.account.SigningSecret)
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
	return v.showSecret(v.tokenOrID(id), r.secret, secretPage{Title: title, Signing: title == "confirm.signed-title"})
}
