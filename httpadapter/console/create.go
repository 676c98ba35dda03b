package console

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"

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

// creatable returns the kinds that the host and an owner's policy let people make. A nil policy says nothing.
func (v *view) creatable(p *latchkey.OwnerPolicy) []kindChoice {
	return slices.DeleteFunc(v.kinds(), func(k kindChoice) bool {
		named := func(kind latchkey.Kind) bool { return kind.String() == k.Value }
		return v.opts.Kinds != nil && !slices.ContainsFunc(v.opts.Kinds, named) ||
			p != nil && p.Kinds != nil && !slices.ContainsFunc(p.Kinds, named)
	})
}

// mayCreate reports whether the person may create tokens, of some kind that the host allows.
func (v *view) mayCreate() bool {
	return v.may(latchkey.Create, "token", "new") && len(v.creatable(nil)) > 0
}

// mayPublish reports whether the dialog of the list, which creates a publishable token, is offered.
func (v *view) mayPublish() bool {
	return v.mayCreate() && (v.opts.Kinds == nil || slices.Contains(v.opts.Kinds, latchkey.KindPublishable))
}

// policy returns what the owner's record says about new tokens. A person who may not read the record gets no defaults
// from it: latchkey holds it all the same.
func (v *view) policy() (latchkey.OwnerPolicy, error) {
	o, err := v.account.Record(v.r.Context())
	if errors.Is(err, latchkey.ErrDenied) || errors.Is(err, latchkey.ErrNotFound) || isDamaged(err) {
		return latchkey.OwnerPolicy{}, nil
	}
	return o.Policy, err
}

func (v *view) newToken(string) error {
	p, err := v.policy()
	if err != nil {
		return err
	}
	n := v.newTokenForm(&p, text(v.query, "kind"))
	return v.showCreate(http.StatusOK, ui{}, &p, n)
}

// create carries out the buttons of the form of a new token, and the dialog of the list, which has a name only.
func (v *view) create(string) error {
	p, err := v.policy()
	if err != nil {
		return err
	}
	n := v.readNewToken(&p)
	refuse := func(status int, words template.HTML) error {
		return v.showCreate(status, ui{Errors: []template.HTML{words}, FieldErrors: v.fieldErrorsOf(n.Errors)}, &p, n)
	}
	wrong, err := v.addRole(&n.Roles, n.AddRole)
	if err != nil {
		return err
	}
	if n.AddRole = ""; wrong != "" {
		n.AddRole, n.Errors["addrole"] = text(v.form, "addrole"), wrong
	}
	v.addChips(n.tokenForm)
	do := text(v.form, "do")
	if do == "add" || do == "addrole" || do == "change" || do == "again" {
		page := ui{FieldErrors: v.fieldErrorsOf(n.Errors)}
		if len(n.Errors) > 0 {
			page.Errors = []template.HTML{v.rich("new.correct")}
		} else if do == "add" || do == "addrole" {
			page.Notice = v.rich("new.added")
		}
		return v.showCreate(http.StatusOK, page, &p, n)
	}
	spec := v.specOf(&p, n)
	if len(n.Errors) > 0 {
		return refuse(http.StatusUnprocessableEntity, v.rich("new.correct"))
	}
	if do == "review" {
		return v.showReview(n, &spec)
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
	t := r.token
	if spec.Kind == latchkey.KindPublishable {
		q := latchkey.TokenQuery{Kinds: issuedKinds, Page: latchkey.Page{Limit: pageSize}}
		after, err := v.account.SeekPage(v.r.Context(), q, "")
		if err != nil {
			return err // the token exists: sending the form again shows it
		}
		to := url.Values{"made": {t.ID}}
		if after != "" {
			to.Set("after", after)
		}
		return v.redirect("?" + to.Encode())
	}
	return v.showSecret(t, r.secret, secretPage{Title: madeTitle(spec.Kind), Made: true})
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
	// Signing: the secret signs requests, and is sent with none.
	Signing bool
}

// linesOf returns what a program needs to use a secret, each to be copied: a line for its environment, and a request
// that takes the secret from there, so that the history of a shell does not have it.
func (v *view) linesOf(t *latchkey.Token, secret latchkey.Secret, signing bool) (lines []option) {
	if secret.Reveal() == "" {
		return nil
	}
	name := v.opts.Variable
	if name == "" {
		name = "API_TOKEN"
	}
	if signing {
		name += "_SIGNING_SECRET"
	}
	lines = []option{{Value: "env", Text: v.say("secret.env"), About: name + "=" + secret.Reveal()}}
	if v.opts.Example != "" && !signing && !t.Restrictions.Signed {
		lines = append(lines, option{Value: "curl", Text: v.say("secret.curl"),
			About: `curl -H "Authorization: Bearer $` + name + `" '` + v.opts.Example + `'`})
	}
	return lines
}

// showSecret shows a secret. Secrets leave the server only here: in the reply to a form, never at a URL that can be
// opened again.
func (v *view) showSecret(t latchkey.Token, secret latchkey.Secret, p secretPage) error {
	title := v.heading(p.Title, "name", label(&t))
	return v.show(http.StatusOK, "secret", ui{Title: title, Nav: "tokens"}, map[string]any{
		"Token": row{Token: t}, "Secret": secret.Reveal(), "Made": p.Made, "About": p.About,
		"Again": v.account.Manager().MayReveal(), "Lines": v.linesOf(&t, secret, p.Signing),
	})
}
