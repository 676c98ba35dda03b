package console

import (
	"errors"
	"html/template"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// secretRow is a secret of a token that still works, as a page shows it.
type secretRow struct {
	latchkey.LiveSecret
	Old    bool // a newer one was made, which its user should have by now
	Silent bool // Old, and not used since the newer one was made
	MayEnd bool
}

// secretsOf returns the secrets of a token that still work, the newest first. What cannot be read is left out.
func (v *view) secretsOf(t *latchkey.Token) ([]secretRow, error) {
	if t.Damaged || !t.Revoked.IsZero() {
		return nil, nil
	}
	list, err := v.account.Secrets(v.r.Context(), t.ID)
	if err != nil && !isDamaged(err) {
		return nil, err
	}
	mayEnd := t.Kind != latchkey.KindAccess && v.may(latchkey.Rotate, "token", t.ID)
	var newest time.Time
	var out []secretRow
	for _, s := range slices.Backward(list) {
		if s.Newest {
			newest = s.Created
		}
		old := !s.Newest && (!s.Signing || !s.NotAfter.IsZero())
		out = append(out, secretRow{LiveSecret: s, Old: old, Silent: old && !s.Signing && s.Used.Before(newest),
			MayEnd: old && mayEnd && s.ID != ""})
	}
	return out, nil
}

// secretOf returns the secret that the query names, and whether it still works.
func (v *view) secretOf(t *latchkey.Token) (secretRow, bool, error) {
	id := text(v.query, "secret")
	list, err := v.secretsOf(t)
	at := slices.IndexFunc(list, func(s secretRow) bool { return id != "" && s.ID == id })
	if err != nil || at < 0 {
		return secretRow{}, false, err
	}
	return list[at], true, nil
}

// secretOfToken is secretOf for a token by its id.
func (v *view) secretOfToken(id string) (secretRow, bool, error) {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return secretRow{}, false, err
	}
	return v.secretOf(&t)
}

// endPage asks before one secret of a token is ended.
func (v *view) endPage(s secretRow, live bool) confirmationFor {
	return func(t *latchkey.Token) confirmation {
		q := confirmation{Title: v.heading("secrets.end-title", "name", label(t)), Danger: true, Reason: true}
		switch {
		case !live:
			q.Text = []template.HTML{v.rich("secrets.ended-already")}
		case !s.Old:
			q.Text = []template.HTML{v.rich("secrets.is-newest")}
		default:
			q.Button = v.say("secrets.end-now")
			q.Text = []template.HTML{v.rich("secrets.end-about", "hint", s.Hint, "soon", v.takesEffect()), v.useWords(s)}
		}
		return q
	}
}

// useWords says when and from where a secret was used last.
func (v *view) useWords(s secretRow) template.HTML {
	switch {
	case s.Signing:
		return v.rich("secrets.signing-about")
	case s.Used.IsZero():
		return v.rich("secrets.not-used")
	case s.UsedFrom.IsValid():
		return v.rich("secrets.used-from", "time", s.Used, "address", s.UsedFrom.String())
	}
	return v.rich("secrets.used", "time", s.Used)
}

func (v *view) confirmEnd(id string) error {
	s, live, err := v.secretOfToken(id)
	if err != nil {
		return err
	}
	return v.confirm(id, v.endPage(s, live))
}

func (v *view) endSecret(id string) error {
	s, live, err := v.secretOfToken(id)
	if err != nil {
		return err
	}
	secret, reason := text(v.query, "secret"), text(v.form, "reason")
	r, err := v.once(false, latchkey.Rotate, "token", id, func() (reply, error) {
		return reply{to: "token/" + id + "?done=ended&secret=" + secret + string(v.place("&"))},
			v.account.EndSecret(v.r.Context(), id, secret, reason)
	})
	if errors.Is(err, latchkey.ErrNotFound) { // it has ended meanwhile, which is what was asked for
		return v.confirm(id, v.endPage(s, false))
	}
	if err != nil {
		return v.showRefused(id, err, v.endPage(s, live), reason)
	}
	return v.redirect(r.to)
}

// endedNotice returns the notice that the secret of the query has ended, if it has.
func (v *view) endedNotice(list []secretRow) template.HTML {
	id := text(v.query, "secret")
	if text(v.query, "done") != "ended" || id == "" {
		return ""
	}
	if slices.ContainsFunc(list, func(s secretRow) bool { return s.ID == id }) { // it has not
		return ""
	}
	return v.rich("secrets.notice-ended", "soon", v.takesEffect())
}
