package console

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// kindChoice is a kind of token that the console can create.
type kindChoice struct{ Value, Name, About string }

// kinds returns the kinds of tokens that exist, for filters; creatable those that the host lets people create.
func (v *view) kinds() []kindChoice {
	return []kindChoice{
		{"publishable", v.say("new.publishable"), v.say("new.publishable-about")},
		{"api_key", v.say("new.api-key"), v.say("new.api-key-about")},
		{"session", v.say("new.session"), v.say("new.session-about")},
		{"secret", v.say("new.secret"), v.say("new.secret-about")},
	}
}

func (v *view) creatable() []kindChoice {
	if v.opts.Kinds == nil {
		return v.kinds()
	}
	return slices.DeleteFunc(v.kinds(), func(k kindChoice) bool {
		return !slices.ContainsFunc(v.opts.Kinds, func(allowed latchkey.Kind) bool { return allowed.String() == k.Value })
	})
}

// mayCreate reports whether the person may create tokens, of some kind that the host allows.
func (v *view) mayCreate() bool {
	return v.may(latchkey.Create, "token", "new") && len(v.creatable()) > 0
}

// mayPublish reports whether the dialog of the list, which creates a publishable token, is offered.
func (v *view) mayPublish() bool {
	return v.mayCreate() && (v.opts.Kinds == nil || slices.Contains(v.opts.Kinds, latchkey.KindPublishable))
}

func (v *view) newToken(string) error {
	return v.showCreate(http.StatusOK, ui{}, newTokenForm{Kind: text(v.query, "kind"), FormID: newFormID()})
}

// newTokenForm is the form of a new token, as it was typed.
type newTokenForm struct {
	Kind, Name, FormID string
	Test               bool
	Errors             map[string]template.HTML // by field
}

func (v *view) showCreate(status int, page ui, n newTokenForm) error {
	kinds := v.creatable()
	if !slices.ContainsFunc(kinds, func(k kindChoice) bool { return k.Value == n.Kind }) && n.Errors["kind"] == "" &&
		len(kinds) > 0 {
		n.Kind = kinds[0].Value
	}
	page.Title, page.Nav = v.heading("new.title"), "tokens"
	return v.show(status, "new", page, map[string]any{"Kinds": kinds, "N": n})
}

func (v *view) create(string) error {
	n := newTokenForm{Kind: text(v.form, "kind"), Name: text(v.form, "name"), Test: text(v.form, "test") == "on",
		FormID: text(v.form, "form"), Errors: map[string]template.HTML{}}
	refuse := func(status int, words template.HTML) error {
		n.FormID = newFormID()
		return v.showCreate(status, ui{Errors: []template.HTML{words}, FieldErrors: v.fieldErrorsOf(n.Errors)}, n)
	}
	if text(v.form, "do") == "again" { // what was typed is shown once more
		n.FormID = newFormID()
		return v.showCreate(http.StatusOK, ui{}, n)
	}
	var kind latchkey.Kind
	if kind.UnmarshalText([]byte(n.Kind)) != nil || kind == latchkey.KindAccess ||
		v.opts.Kinds != nil && !slices.Contains(v.opts.Kinds, kind) {
		n.Errors["kind"] = v.rich("new.choose-kind")
	} else if n.Test && kind != latchkey.KindPublishable && kind != latchkey.KindSecret {
		n.Errors["test"] = v.rich("new.test-kinds")
	}
	if len(n.Name) > 256 {
		n.Errors["name"] = v.rich("new.name-long", "n", 256)
	}
	if len(n.Errors) > 0 {
		return refuse(http.StatusUnprocessableEntity, v.rich("new.correct"))
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
	switch words := v.errorText(err); {
	case errors.Is(err, errNoForm):
		return refuse(http.StatusConflict, v.rich("new.expired"))
	case errors.Is(err, errFormUsed):
		return refuse(http.StatusConflict, v.rich("new.sent-before"))
	case errors.Is(err, latchkey.ErrDenied) && !errors.Is(err, latchkey.ErrPolicy):
		if v.opts.OnError != nil {
			v.opts.OnError(v.r, err)
		}
		return refuse(http.StatusForbidden, v.rich("new.denied"))
	case words != "":
		return refuse(http.StatusUnprocessableEntity, v.rich("new.nothing")+" "+words)
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
	return v.showSecret(t, r.secret, secretPage{Title: madeTitle(kind), Made: true})
}

// madeTitle returns the title of the page that shows a new token of a kind.
func madeTitle(k latchkey.Kind) string {
	switch k {
	case latchkey.KindSecret:
		return "new.made-secret"
	case latchkey.KindAPIKey:
		return "new.made-api-key"
	}
	return "new.made-session"
}

// secretPage is a page that shows a secret.
type secretPage struct {
	Title string        // the key of a text, which can hold {name}: the label of the token
	Made  bool          // it is new: shown only this once, unless a Keyring keeps it
	About template.HTML // further text
}

// showSecret shows a secret. Secrets leave the server only here: in the reply to a form, never at a URL that can be
// opened again.
func (v *view) showSecret(t latchkey.Token, secret latchkey.Secret, p secretPage) error {
	title := v.heading(p.Title, "name", label(&t))
	return v.show(http.StatusOK, "secret", ui{Title: title, Nav: "tokens"}, map[string]any{
		"Token": row{Token: t}, "Secret": secret.Reveal(), "Made": p.Made, "About": p.About,
		"Again": v.account.Manager().MayReveal(),
	})
}
