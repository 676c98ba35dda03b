package console

import (
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// newTokenForm is the form of a new token, as it was typed.
type newTokenForm struct {
	*tokenForm
	Kind, FormID     string
	Client, ClientID string
	Ends             string // when it ends: days, or one of the words below
	Test             bool
	Whole            bool // the form has all fields: that of the dialog has a name only
}

// Values of newTokenForm.Ends beside numbers of days.
const (
	endsUsual = "" // as is usual for its kind
	endsDate  = "date"
	endsNever = "never"
)

// endDays are the presets of when a token ends, in days.
var endDays = []int{7, 30, 90, 365}

const day = 24 * time.Hour

// usualEnd returns in how many days a token of a kind ends unless something else is chosen, 0 for never. A policy that
// lets it live for less shortens that.
func usualEnd(p *latchkey.OwnerPolicy, kind latchkey.Kind) time.Duration {
	usual := 90 * day
	switch kind {
	case latchkey.KindSession:
		usual = day
	case latchkey.KindPublishable: // a page that shows it would fail on that day
		usual = 0
	}
	if most := p.MaxLifetime; most != 0 && (usual == 0 || most < usual) {
		return most
	}
	return usual
}

// newTokenForm returns an empty form with what the owner's policy and the catalogue suggest.
func (v *view) newTokenForm(p *latchkey.OwnerPolicy, kind string) *newTokenForm {
	n := &newTokenForm{tokenForm: v.tokenFormOf(&latchkey.Token{}, 0), Kind: kind, FormID: newFormID(), Whole: true}
	kinds := v.creatable(p)
	if !slices.ContainsFunc(kinds, func(k kindChoice) bool { return k.Value == kind }) && len(kinds) > 0 {
		n.Kind = kinds[0].Value
	}
	for i := range v.rights {
		if n.Kind == latchkey.KindPublishable.String() {
			n.On[i] = v.rights[i].initial
		}
		if v.rights[i].places != nil && n.AddGroups == nil {
			n.AddGroups = []int{i} // the first of what a name may be given
		}
	}
	if p.MaxIdle != 0 {
		n.Idle, n.IdleUnit = idleText(p.MaxIdle)
	}
	return n
}

// readNewToken reads the form.
func (v *view) readNewToken(p *latchkey.OwnerPolicy) *newTokenForm {
	f := v.form
	if text(f, "whole") == "" {
		n := v.newTokenForm(p, text(f, "kind"))
		n.Kind, n.Name, n.Test, n.Whole = text(f, "kind"), text(f, "name"), text(f, "test") == "on", false
		if n.Kind == latchkey.KindAPIKey.String() || n.Kind == latchkey.KindSession.String() {
			n.On = make([]bool, len(v.rights))
		}
		return n
	}
	n := &newTokenForm{tokenForm: v.readTokenForm(), Kind: text(f, "kind"), FormID: newFormID(),
		Client: text(f, "client"), ClientID: text(f, "clientid"), Ends: text(f, "ends"), Test: text(f, "test") == "on",
		Whole: true}
	for _, name := range texts(f, "addname") {
		n.AddName = strings.TrimSpace(n.AddName + "\n" + name)
	}
	return n
}

// specOf returns the token that the form describes, and sets the errors of invalid fields.
func (v *view) specOf(p *latchkey.OwnerPolicy, n *newTokenForm) latchkey.Spec {
	var t latchkey.Token
	if err := t.Kind.UnmarshalText([]byte(n.Kind)); err != nil ||
		!slices.ContainsFunc(v.creatable(p), func(k kindChoice) bool { return k.Value == n.Kind }) {
		n.Errors["kind"] = v.rich("new.choose-kind")
	} else if n.Test && t.Kind != latchkey.KindPublishable && t.Kind != latchkey.KindSecret {
		n.Errors["test"] = v.rich("new.test-kinds")
	}
	ends := time.Duration(0)
	days, err := strconv.Atoi(n.Ends)
	switch {
	case n.Ends == endsUsual && (n.Whole || t.Kind == latchkey.KindSession || p.MaxLifetime != 0):
		ends = usualEnd(p, t.Kind)
	case n.Ends == endsDate && n.NotAfter == "":
		n.Errors["end"] = v.rich("new.no-date")
	case err == nil && slices.Contains(endDays, days):
		ends = time.Duration(days) * day
	case n.Ends == endsNever && t.Kind == latchkey.KindSession:
		n.Errors["end"] = v.rich("edit.must-end")
	case n.Ends != endsUsual && n.Ends != endsDate && n.Ends != endsNever:
		n.Errors["end"] = v.rich("new.choose-end")
	}
	typed := n.NotAfter
	if n.Ends != endsDate {
		n.NotAfter = ""
	}
	v.apply(n.tokenForm, &t)
	if n.NotAfter = typed; ends != 0 {
		t.Validity.NotAfter = v.now.Add(ends).Truncate(time.Second)
	}
	if most := p.MaxLifetime; most != 0 && n.Errors["end"] == "" &&
		(t.Validity.NotAfter.IsZero() || t.Validity.NotAfter.After(v.now.Add(most))) {
		n.Errors["end"] = v.rich("new.too-late", "time", v.now.Add(most))
	}
	if most := p.MaxIdle; most != 0 && n.Errors["idle"] == "" && (t.Validity.Idle == 0 || t.Validity.Idle > most) {
		n.Errors["idle"] = v.rich("new.too-idle", "time", own(v.words.duration(most)))
	}
	if n.ClientID == "" && n.Client != "" {
		n.Errors["clientid"] = v.rich("new.no-client-id")
	}
	s := t.Settings
	spec := latchkey.Spec{Kind: t.Kind, Test: n.Test, Name: s.Name, Client: latchkey.Client{ID: n.ClientID,
		Name: n.Client},
		Roles: s.Roles, Permissions: s.Permissions, Restrictions: s.Restrictions, Limits: s.Limits, Validity: s.Validity}
	return spec
}

// showCreate shows the form of a new token.
func (v *view) showCreate(status int, page ui, p *latchkey.OwnerPolicy, n *newTokenForm) error {
	var t latchkey.Token
	data, err := v.fieldsOf(&t, n.tokenForm)
	if err != nil {
		return err
	}
	if v.form != nil {
		n.FormID = newFormID()
	}
	kinds := v.creatable(p)
	var ends []option
	usual := v.say("new.ends-usual")
	if most := p.MaxLifetime; most != 0 {
		usual = v.say("new.ends-most", "time", v.words.duration(most))
	}
	ends = append(ends, option{Value: endsUsual, Text: usual})
	for _, days := range endDays {
		if p.MaxLifetime == 0 || time.Duration(days)*day <= p.MaxLifetime {
			text := v.say("new.ends-days", "n", days)
			if days == 365 {
				text = v.say("new.ends-year")
			}
			ends = append(ends, option{Value: strconv.Itoa(days), Text: text})
		}
	}
	if p.MaxLifetime == 0 {
		ends = append(ends, option{Value: endsNever, Text: v.say("new.ends-never")})
	}
	ends = append(ends, option{Value: endsDate, Text: v.say("new.ends-date")})
	for i := range ends {
		ends[i].On = ends[i].Value == n.Ends
	}
	page.Title, page.Nav = v.heading("new.title"), "tokens"
	data["N"], data["Kinds"], data["Ends"], data["Several"], data["NoMint"] = n, kinds, ends, true, false
	data["More"] = n.Idle+n.Addresses+n.NotBefore+n.MintFrom != "" || n.Errors["addresses"]+n.Errors["mintfrom"]+
		n.Errors["begin"]+n.Errors["idle"] != ""
	data["Dirty"] = v.form != nil
	return v.show(status, "new", page, data)
}

// showReview shows what would be made, before it is.
func (v *view) showReview(n *newTokenForm, spec *latchkey.Spec) error {
	var facts []fact
	add := func(key string, text template.HTML) {
		if text != "" {
			facts = append(facts, fact{Label: v.say(key), Text: text})
		}
	}
	t := latchkey.Token{Kind: spec.Kind, Test: spec.Test, Client: spec.Client, Settings: latchkey.Settings{
		Name: spec.Name, Roles: spec.Roles, Permissions: spec.Permissions, Restrictions: spec.Restrictions,
		Limits: spec.Limits, Validity: spec.Validity}}
	add("new.kind", said(v.words.badge(t)))
	add("edit.name", isolated(spec.Name))
	if spec.Client.ID != "" {
		name := spec.Client.ID
		if spec.Client.Name != "" {
			name = spec.Client.Name + " (" + spec.Client.ID + ")"
		}
		add("edit.client", isolated(name))
	}
	some, err := v.roleNamesOf(spec.Roles)
	if err != nil {
		return err
	}
	add("edit.roles", isolated(shorten(some.text(spec.Roles), 4*maxFact)))
	v.factsOf(&t, add)
	var warn []template.HTML
	switch {
	case spec.Kind == latchkey.KindSecret:
		warn = append(warn, v.rich("new.secret-about"))
	case len(spec.Roles)+len(spec.Permissions) == 0:
		warn = append(warn, v.rich("new.no-rights"))
	}
	if spec.Kind == latchkey.KindPublishable && len(spec.Restrictions.Domains) == 0 {
		warn = append(warn, v.rich("new.any-domain"))
	}
	if spec.Validity.NotAfter.IsZero() {
		warn = append(warn, v.rich("new.no-end"))
	}
	rules, more := ruleLines(spec.Permissions, 2*maxOtherRules)
	page := ui{Title: v.heading("new.review"), Nav: "tokens"}
	return v.show(http.StatusOK, "review", page, map[string]any{"Facts": facts, "Rules": rules, "RulesMore": more,
		"Warn": warn, "Hidden": v.typedFields("do", "form"), "FormID": newFormID()})
}
