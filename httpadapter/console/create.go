package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// kindChoice is a kind of token that the console can create.
type kindChoice struct{ Value, Name, About string }

func (v *view) kinds() []kindChoice {
	return []kindChoice{
		{"publishable", "Publishable", "May be used in public web pages. Any domain may use it until you restrict it."},
		{"api_key", "API key", "For programs. May do nothing until you give it rights or roles."},
		{"session", "Session", "Like an API key, but ends after 24 hours unless you set another end."},
		{"secret", "Secret", "May do everything with your data and your account. Never share it."},
	}
}

func (v *view) newToken(string) error {
	return v.showCreate(http.StatusOK, ui{}, newTokenForm{Kind: text(v.query, "kind"), FormID: newFormID()})
}

// newTokenForm is the form of a new token, as it was typed.
type newTokenForm struct {
	Kind, Name, FormID string
	Test               bool
	Errors             map[string]string // by field
}

func (v *view) showCreate(status int, page ui, n newTokenForm) error {
	if !slices.ContainsFunc(v.kinds(), func(k kindChoice) bool { return k.Value == n.Kind }) && n.Errors["kind"] == "" {
		n.Kind = "publishable"
	}
	page.Title, page.Nav = heading{Before: "Create a token"}, "tokens"
	return v.show(status, "new", page, map[string]any{"Kinds": v.kinds(), "N": n})
}

func (v *view) create(string) error {
	n := newTokenForm{Kind: text(v.form, "kind"), Name: text(v.form, "name"), Test: text(v.form, "test") == "on",
		FormID: text(v.form, "form"), Errors: map[string]string{}}
	refuse := func(status int, words string) error {
		n.FormID = newFormID()
		return v.showCreate(status, ui{Errors: []string{words}, FieldErrors: fieldErrorsOf(n.Errors)}, n)
	}
	var kind latchkey.Kind
	if kind.UnmarshalText([]byte(n.Kind)) != nil || kind == latchkey.KindAccess {
		n.Errors["kind"] = "Choose a kind of token."
	} else if n.Test && kind != latchkey.KindPublishable && kind != latchkey.KindSecret {
		n.Errors["test"] = "Only publishable and secret tokens can be test tokens."
	}
	if len(n.Name) > 256 {
		n.Errors["name"] = "Too long: at most 256 bytes."
	}
	if len(n.Errors) > 0 {
		return refuse(http.StatusUnprocessableEntity, "Nothing was made. Correct the marked fields below.")
	}
	spec := latchkey.Spec{Kind: kind, Test: n.Test, Name: n.Name}
	switch kind {
	case latchkey.KindPublishable:
		spec.Permissions = v.rights.initial()
	case latchkey.KindSession:
		spec.Validity.NotAfter = v.now.Add(24 * time.Hour)
	}
	r, err := v.once(true, latchkey.Create, "token", "new", func() (reply, error) {
		t, secret, err := v.account.Issue(v.r.Context(), spec)
		return reply{token: t, secret: secret}, err
	})
	switch words := errorText(err); {
	case errors.Is(err, errNoForm):
		return refuse(http.StatusConflict, "This page has expired. Nothing was made. Send the form again.")
	case errors.Is(err, errFormUsed):
		return refuse(http.StatusConflict, "This form was sent before, and nothing was made now. The result of the first "+
			"time is not known here: check whether the list has the token before you send it again.")
	case errors.Is(err, latchkey.ErrDenied) && !errors.Is(err, latchkey.ErrPolicy):
		if v.opts.OnError != nil {
			v.opts.OnError(v.r, err)
		}
		return refuse(http.StatusForbidden, "Nothing was made. You may not make such a token: it takes rights that you do "+
			"not have. Ask an administrator of this account.")
	case words != "":
		return refuse(http.StatusUnprocessableEntity, "Nothing was made. "+words)
	case err != nil:
		return err
	}
	ctx, t := v.r.Context(), r.token
	if kind == latchkey.KindPublishable {
		q := latchkey.TokenQuery{Kinds: issuedKinds, Page: latchkey.Page{Limit: pageSize}}
		after, err := v.account.SeekPage(ctx, q, "")
		if err != nil {
			return err // the token exists: sending the form again shows it
		}
		to := url.Values{"made": {t.ID}}
		if after != "" {
			to.Set("after", after)
		}
		return v.redirect("?" + to.Encode())
	}
	return v.showSecret(t, r.secret, secretPage{Title: "Your new " + kindName(kind), Made: true})
}

func kindName(k latchkey.Kind) string {
	switch k {
	case latchkey.KindSecret:
		return "secret token"
	case latchkey.KindAPIKey:
		return "API key"
	case latchkey.KindSession:
		return "session token"
	}
	return k.String() + " token"
}

// secretPage is a page that shows a secret.
type secretPage struct {
	Title string
	Named bool   // the title ends with the label of the token
	Made  bool   // it is new: shown only this once, unless a Keyring keeps it
	About string // further text
}

// showSecret shows a secret. Secrets leave the server only here: in the reply to a form, never at a URL that can be
// opened again.
func (v *view) showSecret(t latchkey.Token, secret latchkey.Secret, p secretPage) error {
	title := heading{Before: p.Title}
	if p.Named {
		title.Name = label(&t)
	}
	return v.show(http.StatusOK, "secret", ui{Title: title, Nav: "tokens"}, map[string]any{
		"Token": row{Token: t}, "Secret": secret.Reveal(), "Made": p.Made, "About": p.About,
		"Again": v.account.Manager().MayReveal(),
	})
}
