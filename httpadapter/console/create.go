package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// kindChoice is a kind of token that can be made here.
type kindChoice struct{ Value, Name, About string }

func (v *view) kinds() []kindChoice {
	return []kindChoice{
		{"publishable", "Publishable", "May stand in any page. Any domain may use it until you restrict it."},
		{"api_key", "API key", "For programs. May do nothing until you give it rights or roles."},
		{"session", "Session", "As an API key, and ends after 24 hours unless you set another end."},
		{"secret", "Secret", "May do everything with your data and your account. Never share it."},
	}
}

func (v *view) newToken(string) error {
	return v.showCreate(http.StatusOK, ui{}, newTokenForm{Kind: text(v.query, "kind"), FormID: newFormID()})
}

// newToken is the form of a token to be made, as it was typed.
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
		n.Errors["kind"] = "Choose what kind of token to make."
	} else if n.Test && kind != latchkey.KindPublishable && kind != latchkey.KindSecret {
		n.Errors["test"] = "Only publishable and secret tokens can be test tokens."
	}
	if len(n.Name) > 256 {
		n.Errors["name"] = "At most 256 bytes."
	}
	if len(n.Errors) > 0 {
		return refuse(http.StatusUnprocessableEntity, "Nothing was made. See what is marked below.")
	}
	spec := latchkey.Spec{Kind: kind, Test: n.Test, Settings: latchkey.Settings{Name: n.Name}}
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
		return refuse(http.StatusConflict, "This page was too old. Nothing was made: please send it again.")
	case errors.Is(err, errFormUsed):
		return refuse(http.StatusConflict, "This was sent before, and nothing was made now. It is not known here what "+
			"became of it then: look "+
			"whether the list has the token before you send it again.")
	case errors.Is(err, latchkey.ErrDenied):
		if v.opts.OnError != nil {
			v.opts.OnError(v.r, err)
		}
		return refuse(http.StatusForbidden, "Nothing was made. You may not make such a token: your own rights do not "+
			"reach that far.")
	case words != "":
		return refuse(http.StatusUnprocessableEntity, "Nothing was made. "+words)
	case err != nil:
		return err
	}
	ctx, t := v.r.Context(), r.token
	if kind == latchkey.KindPublishable {
		after, err := v.account.SeekPage(ctx, latchkey.TokenQuery{Kinds: issuedKinds, Page: latchkey.Page{Limit: pageSize}}, "")
		if err != nil {
			return err // the token is there: sending the form again shows it
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
	Named bool   // the title goes on with what the token is called
	Made  bool   // it was just made: this is the only time it is shown, unless a Keyring keeps it
	About string // what else there is to say
}

// showSecret is the one place where a secret leaves the server: in the reply to a form, never by an address.
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
