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

func (v *visit) kinds() []kindChoice {
	return []kindChoice{
		{"publishable", "Publishable", "May stand in any page. Any domain may use it until you restrict it."},
		{"api_key", "API key", "For programs. May do nothing until you give it rights or roles."},
		{"session", "Session", "As an API key, and ends after 24 hours unless you set another end."},
		{"secret", "Secret", "May do everything with your data and your account. Never share it."},
	}
}

func (v *visit) askCreate(string) error {
	return v.showCreate(http.StatusOK, text(v.query, "kind"), "", newFormID(), nil)
}

func (v *visit) showCreate(status int, kind, name, formID string, errs []string) error {
	if !slices.ContainsFunc(v.kinds(), func(k kindChoice) bool { return k.Value == kind }) {
		kind = "publishable"
	}
	return v.show(status, "new", ui{Title: "Create a token", Nav: "tokens", Errors: errs},
		map[string]any{"Kinds": v.kinds(), "Kind": kind, "Name": name, "FormID": formID})
}

func (v *visit) create(string) error {
	var kind latchkey.Kind
	name := text(v.form, "name")
	if kind.UnmarshalText([]byte(text(v.form, "kind"))) != nil || kind == latchkey.KindAccess {
		return v.showCreate(http.StatusUnprocessableEntity, "", name, newFormID(), []string{"Choose what kind of token to make."})
	}
	spec := latchkey.Spec{Kind: kind, Settings: latchkey.Settings{Name: name}}
	switch kind {
	case latchkey.KindPublishable:
		spec.Permissions = v.rights.initial()
	case latchkey.KindSession:
		spec.Validity.NotAfter = v.now.Add(24 * time.Hour)
	}
	ctx := v.r.Context()
	t, secret, err := v.made.once(v.account.Owner(), text(v.form, "form"), func() (latchkey.Token, latchkey.Secret, error) {
		return v.account.Issue(ctx, spec)
	})
	if errors.Is(err, errFormUsed) {
		return v.showCreate(http.StatusConflict, kind.String(), name, newFormID(),
			[]string{"This page was too old. Nothing was made: please send it again."})
	}
	if words := why(err); words != "" {
		return v.showCreate(http.StatusUnprocessableEntity, kind.String(), name, newFormID(), []string{words})
	}
	if err != nil {
		return err
	}
	if kind == latchkey.KindPublishable {
		after, err := v.account.SeekPage(ctx, latchkey.TokenQuery{Kinds: issuedKinds, Page: latchkey.Page{Limit: pageSize}}, "")
		if err != nil {
			return err // the token is there: sending the form again shows it
		}
		to := url.Values{"made": {t.ID}}
		if after != "" {
			to.Set("after", after)
		}
		return v.goTo("?" + to.Encode())
	}
	return v.showSecret(t, secret, secretPage{Title: "Your new " + kindName(kind), Made: true})
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
	Made  bool   // it was just made: this is the only time it is shown, unless a Keyring keeps it
	About string // what else there is to say
}

// showSecret is the one place where a secret leaves the server: in the reply to a form, never by an address.
func (v *visit) showSecret(t latchkey.Token, secret latchkey.Secret, p secretPage) error {
	return v.show(http.StatusOK, "secret", ui{Title: p.Title, Nav: "tokens"}, map[string]any{
		"Token": row{Token: t}, "Secret": secret.Reveal(), "Made": p.Made, "About": p.About,
		"Again": v.account.Manager().MayReveal(),
	})
}
