package console

import (
	"errors"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// edit serves token/*: the form of a token.
func (v *view) edit(id string) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	page := ui{Notice: v.noticeFor(text(v.query, "done"), &t)}
	if t.Damaged {
		page.Errors = []template.HTML{v.rich("edit.damaged", "id", id)}
	}
	from, _ := strconv.Atoi(text(v.query, "chips"))
	return v.showEdit(http.StatusOK, page, &t, v.tokenFormOf(&t, from), nil)
}

// save carries out the button that saves, and those that add a chip or a role. "again" shows what was typed once more.
func (v *view) save(id string) error {
	e := v.readTokenForm()
	ctx := v.r.Context()
	v.addChips(e)
	wrong, err := v.addRole(&e.Roles, e.AddRole)
	if err != nil {
		return err
	}
	if e.Errors["addrole"] = wrong; wrong == "" {
		e.AddRole = ""
		delete(e.Errors, "addrole")
	}
	typed := e.Errors // errors that do not depend on what is stored
	if do := text(v.form, "do"); do == "add" || do == "addrole" || do == "again" {
		t, err := v.account.Get(ctx, id)
		if err != nil {
			return err
		}
		page := ui{Focus: map[string]string{"add": "add", "addrole": "addrole", "again": "name"}[do]}
		if len(e.Errors) == 0 && text(v.form, "add")+text(v.form, "addrole") != "" && do != "again" {
			page.Notice = v.rich("edit.added")
		}
		return v.showEdit(http.StatusOK, page, &t, e, nil)
	}
	r, err := v.once(false, latchkey.Update, "token", id, func() (reply, error) {
		t, err := v.account.Update(v.r.Context(), id, func(t *latchkey.Token) error {
			if !t.Revoked.IsZero() {
				return errRevoked
			}
			if t.Version != e.Version {
				return latchkey.ErrConflict
			}
			e.Errors = map[string]template.HTML{}
			for field, words := range typed {
				e.Errors[field] = words
			}
			if v.apply(e, t); len(e.Errors) > 0 {
				return errForm
			}
			return nil
		})
		return reply{to: v.listURL("done", "saved", "token", id, "version", versionText(t.Version))}, err
	})
	if err == nil {
		return v.redirect(r.to)
	}
	status, page, words := http.StatusUnprocessableEntity, ui{}, v.errorText(err)
	switch {
	case errors.Is(err, errRevoked):
		status, page.Errors = http.StatusConflict, []template.HTML{v.rich("edit.revoked")}
	case errors.Is(err, latchkey.ErrConflict):
		return v.conflict(id, e)
	case errors.Is(err, errFormUsed):
		status, page.Errors = http.StatusConflict, []template.HTML{v.rich("edit.sent-before")}
	case errors.Is(err, errNoForm):
		status, page.Errors = http.StatusConflict, []template.HTML{v.rich("edit.expired")}
	case errors.Is(err, latchkey.ErrDenied):
		status, page.Errors = http.StatusForbidden, []template.HTML{v.rich("edit.denied")}
	case errors.Is(err, errForm):
		page.Errors = []template.HTML{v.rich("edit.correct")}
	case words != "":
		page.Errors = []template.HTML{v.rich("edit.not-saved") + " " + words}
	default:
		return err
	}
	page.FieldErrors = v.fieldErrorsOf(e.Errors)
	t, errGet := v.account.Get(ctx, id)
	if errGet != nil {
		if status == http.StatusForbidden {
			return err
		}
		return errGet
	}
	if status == http.StatusForbidden && v.opts.OnError != nil {
		v.opts.OnError(v.r, err)
	}
	return v.showEdit(status, page, &t, e, nil)
}

// fieldNames are the fields that can be wrong, with their labels, in the order of the page.
var fieldNames = []choice{{Value: "kind", Key: "list.kind"}, {Value: "test", Key: "new.test"},
	{Value: "name", Key: "edit.name"}, {Value: "clientid", Key: "edit.client"}, {Value: "add", Key: "edit.chips"},
	{Value: "addrole", Key: "edit.roles"},
	{Value: "domains", Key: "edit.domains"}, {Value: "credits", Key: "edit.credits"}, {Value: "rate", Key: "edit.rate"},
	{Value: "end", Key: "edit.end"}, {Value: "with", Key: "many.role"}, {Value: "addresses", Key: "edit.addresses"},
	{Value: "mintfrom", Key: "edit.mintfrom"}, {Value: "begin", Key: "edit.begin"}, {Value: "idle", Key: "edit.idle"}}

// fieldErrorsOf returns the errors of a form in the order of the page.
func (v *view) fieldErrorsOf(wrong map[string]template.HTML) (out []fieldError) {
	for _, f := range fieldNames {
		if words := wrong[f.Value]; words != "" {
			out = append(out, fieldError{f.Value, v.say(f.Key), words})
		}
	}
	return out
}

// errForm ends an update whose form has errors.
var errForm = errors.New("console: the form has errors")

// difference is a field whose stored value and typed value differ.
type difference struct{ Field, Theirs, Yours string }

// conflict shows the form as it was typed beside what is stored now. Saving it again then overwrites the other change
// deliberately.
func (v *view) conflict(id string, e *tokenForm) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return err
	}
	theirs := v.tokenFormOf(&t, 0)
	var all []difference
	add := func(field, a, b string) {
		if a != b {
			all = append(all, difference{field, shorten(a, 600), shorten(b, 600)})
		}
	}
	add(v.say("edit.name"), theirs.Name, e.Name)
	add(v.say("edit.signed"), v.onOff(theirs.Signed), v.onOff(e.Signed))
	if ownRights(&t) {
		for i, g := range v.rights {
			if g.places == nil {
				add(g.Label, v.onOff(theirs.On[i]), v.onOff(e.On[i]))
			}
		}
		_, chips, _ := v.rights.read(t.Permissions)
		stored := chipValues(chips)
		e.Chips = e.Chips.rebase(stored, len(theirs.Chips.Shown) == len(stored))
		e.Roles = e.Roles.rebase(t.Roles, len(theirs.Roles.Shown) == len(t.Roles))
		add(v.byName(), v.chipText(stored), v.chipText(e.Chips.applyTo(stored)))
		mine := e.Roles.applyTo(t.Roles)
		some, err := v.roleNamesOf(append(slices.Clone(t.Roles), mine...))
		if err != nil {
			return err
		}
		add(v.say("edit.roles"), some.text(t.Roles), some.text(mine))
	}
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	add(v.say("edit.domains"), words(theirs.Domains), words(e.Domains))
	add(v.say("edit.credits"), theirs.Credits, e.Credits)
	add(v.say("edit.rate"), v.rateText(theirs), v.rateText(e))
	add(v.say("edit.end"), theirs.NotAfter, e.NotAfter)
	add(v.say("edit.addresses"), words(theirs.Addresses), words(e.Addresses))
	add(v.say("edit.mintfrom"), words(theirs.MintFrom), words(e.MintFrom))
	add(v.say("edit.begin"), theirs.NotBefore, e.NotBefore)
	add(v.say("edit.idle"), v.idleWords(theirs), v.idleWords(e))
	e.Version = t.Version
	page := ui{
		Errors: []template.HTML{v.rich("edit.conflict")},
	}
	return v.showEdit(http.StatusConflict, page, &t, e, all)
}

// byName is the heading of the chips.
func (v *view) byName() string {
	return v.say("edit.chips")
}

func (v *view) onOff(b bool) string {
	if b {
		return v.say("edit.on")
	}
	return v.say("edit.off")
}

func (v *view) chipText(values []string) string {
	var out []string
	for _, x := range v.rights.chips(values) {
		out = append(out, v.rights.chipName(x))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (v *view) rateText(e *tokenForm) string {
	if e.RateCount == "" {
		return ""
	}
	per := e.RatePer
	if d, err := time.ParseDuration(per); err == nil {
		per = string(v.perWords(d))
	}
	return strings.TrimSpace(v.say("edit.rate-text", "count", e.RateCount, "per", per, "burst", e.RateBurst))
}

func (v *view) idleWords(e *tokenForm) string {
	for _, u := range idleUnits {
		if e.Idle != "" && e.IdleUnit == u.Value {
			return v.say("edit.idle-text", "count", e.Idle, "unit", v.say(u.Key))
		}
	}
	return e.Idle
}

func (s *roleNames) text(ids []string) string {
	var out []string
	for _, id := range ids {
		out = append(out, s.name(id))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// option is a choice: a checkbox, a switch, or an entry of a list.
type option struct {
	Value, Text, About string
	On                 bool
	Effect             template.HTML // what roles, later rules or a parent change about a switch
}

// choice is an option whose text is in the catalogue.
type choice struct {
	Value, Key string
	On         bool
}

// optionsOf returns choices in the language of the request.
func (v *view) optionsOf(choices []choice) []option {
	out := make([]option, len(choices))
	for i, c := range choices {
		out[i] = option{Value: c.Value, Text: v.say(c.Key), On: c.On}
	}
	return out
}

// rateUnits are the periods of a rate.
var rateUnits = []choice{{Value: "1s", Key: "edit.second"}, {Value: "1m0s", Key: "edit.minute"},
	{Value: "1h0m0s", Key: "edit.hour"}, {Value: "24h0m0s", Key: "edit.day"}}

// maxOtherRules bounds the rules outside the catalogue that the page of a token lists. The page of what it may do
// lists all.
const maxOtherRules = 12

// showEdit shows the form of a token.
func (v *view) showEdit(status int, page ui, t *latchkey.Token, e *tokenForm, conflict []difference) error {
	page.Title, page.Nav = nameHeading(label(t)), "tokens"
	data, err := v.fieldsOf(t, e)
	if err != nil {
		return err
	}
	secrets, err := v.secretsOf(t)
	if err != nil {
		return err
	}
	if words := v.endedNotice(secrets); words != "" && page.Notice == "" {
		page.Notice = words
	}
	lineage, err := v.account.Lineage(v.r.Context(), t.ID)
	if err != nil {
		return err
	}
	if err := v.effects(t, data["Switches"].([]option)); err != nil && !isDamaged(err) {
		return err
	}
	held, heldMore := v.facts(&lineage, false)
	_, _, special := v.rights.read(t.Permissions)
	rest, more := ruleLines(special, maxOtherRules)
	live := t.Revoked.IsZero()
	whole := live && !t.Damaged
	public := t.Kind == latchkey.KindPublishable
	keyring := v.account.Manager().MayReveal()
	maps.Copy(data, map[string]any{
		"Token":    row{Token: *t, State: v.words.refusedState(v.words.stateOf(t, v.now), lineage.Refused)},
		"Conflict": conflict,
		"Dirty":    v.r.Method == http.MethodPost, "Revoked": v.revokedWords(t), "Held": held,
		"HeldMore": heldMore, "Minted": v.minted(&lineage), "Client": t.Client,
		"MayMint": !t.Damaged,
		"Rest":    rest, "RestMore": more,
		"Secret": t.Kind == latchkey.KindSecret, "Secrets": secrets,
		"Soon": v.takesEffect(), "MintedRows": shorten(rowsText(t.Rows), 600),
		"NoMint":     e.MintFrom == "" && public,
		"More":       e.NotBefore+e.Idle+e.Addresses+e.MintFrom != "",
		"MayUpdate":  whole && v.may(latchkey.Update, "token", t.ID),
		"MayRotate":  whole && t.Kind != latchkey.KindAccess && v.may(latchkey.Rotate, "token", t.ID),
		"MayRevoke":  live && v.may(latchkey.Delete, "token", t.ID),
		"MayReveal":  whole && keyring && !public && v.may(latchkey.Reveal, "token", t.ID),
		"MaySigning": whole && keyring && t.Restrictions.Signed && v.may(latchkey.Reveal, "token", t.ID),
		"Usage":      v.access.Allows(latchkey.Read, "latchkey/usage"),
		"History":    v.access.Allows(latchkey.Read, "latchkey/event"),
	})
	return v.show(status, "edit", page, data)
}

// fieldsOf returns what the fields need that the form of a token and that of a new one have in common.
func (v *view) fieldsOf(t *latchkey.Token, e *tokenForm) (map[string]any, error) {
	roles, err := v.roleField(e.Roles, e.AddRole, e.Errors["addrole"], "")
	if err != nil {
		return nil, err
	}
	var switches, chips, adds []option
	var hints []string
	for i := range v.rights {
		g := &v.rights[i]
		o := option{
			Value: strconv.Itoa(i),
			Text:  g.Label,
			About: strings.Join(ruleTexts(allowRules(g.pairs(""))), "; "),
			On:    e.On[i],
		}
		if g.places == nil {
			switches = append(switches, o)
			continue
		}
		if hint := g.hint(); !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
		o.On = slices.Contains(e.AddGroups, i)
		adds = append(adds, o)
	}
	shown := slices.Clone(e.Chips.Ticked) // and those that are unticked, in their place
	for i, x := range e.Chips.Shown {
		if !slices.Contains(shown, x) {
			shown = slices.Insert(shown, min(i, len(shown)), x)
		}
	}
	for _, x := range v.rights.chips(shown) {
		ticked := slices.Contains(e.Chips.Ticked, x.value())
		chips = append(chips, option{Value: x.value(), Text: v.rights.chipName(x), On: ticked})
	}
	pers := v.optionsOf(rateUnits)
	if !slices.ContainsFunc(pers, func(o option) bool { return o.Value == e.RatePer }) {
		if d, err := time.ParseDuration(e.RatePer); err == nil {
			pers = append(pers, option{Value: d.String(), Text: v.words.duration(d)})
		}
	}
	names, namesCut := v.names()
	return map[string]any{"E": e, "OwnRights": ownRights(t), "Switches": switches, "Chips": chips, "Adds": adds,
		"Hint": strings.Join(hints, v.say("edit.or")), "ByName": v.byName(), "Names": names, "NamesCut": namesCut,
		"Roles": roles, "Pers": pers, "IdleUnits": v.optionsOf(idleUnits), "Quotas": v.otherQuotas(t.Limits),
		"Several": false}, nil
}

// ownRights reports whether the rules of a token can be changed. A secret token may do everything. A minted token
// with all rights of its parent would lose them if it were given a rule.
func ownRights(t *latchkey.Token) bool { return t.Kind != latchkey.KindSecret && !t.Full }

// maxNames bounds the suggestions of a page.
const maxNames = 20

func (v *view) names() (out []string, cut bool) {
	if v.opts.Names == nil {
		return nil, false
	}
	for _, name := range v.opts.Names(v.r) {
		if len(out) < maxNames && len(name) <= maxNameLength {
			out = append(out, name)
		} else {
			cut = true
		}
	}
	return out, cut
}

func rowsText(rows []latchkey.Condition) string {
	if len(rows) == 0 {
		return ""
	}
	return latchkey.All(rows...).String()
}

// ruleTexts returns rules in words.
func ruleTexts(p latchkey.Permissions) []string {
	var out []string
	for _, r := range p {
		out = append(out, r.String())
	}
	return out
}

// ruleLines returns at most most rules in words, each shortened, and how many more there are.
func ruleLines(p latchkey.Permissions, most int) (out []string, more int) {
	for _, r := range p[:min(most, len(p))] {
		out = append(out, shorten(r.String(), 160))
	}
	return out, len(p) - len(out)
}

// shorten cuts a text to at most most runes.
func shorten(s string, most int) string {
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i] + "…"
		}
	}
	return s
}
