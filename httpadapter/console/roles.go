package console

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// roleForm is the form of a role, as it was typed. Of a long list of rules it holds a part: those from index From up
// to To, of the Of that are stored.
type roleForm struct {
	Version       uint64
	Name          string
	Inherits      selection // ids
	AddRole       string
	InheritDenies bool
	Rules         []ruleForm
	From, To, Of  int
	Errors        map[string]template.HTML
	foreseen      *foresight // what saving it would change; nil: not asked
}

const (
	maxRules      = 12
	maxRuleBytes  = 22_000 // of the rules of one form, as a page writes them
	maxRuleLength = 6_000  // in bytes; a longer rule can be shown and moved, not edited
)

// roles serves the list of roles.
func (v *view) roles(string) error {
	if q := text(v.query, "q"); mayBeKey(q) {
		v.w.Header().Set("Referrer-Policy", "no-referrer")
		if ownKey(q) {
			return v.redirect("roles")
		}
	}
	return v.showRoles(false)
}

// showRoles shows a part of the list. unsaid: the searched text may be a secret, so it is not repeated.
func (v *view) showRoles(unsaid bool) error {
	var list []latchkey.Role
	after := text(v.query, "after")
	more := false
	q := latchkey.RoleQuery{Page: latchkey.Page{After: after, Limit: pageSize + 1}}
	if name := text(v.query, "q"); name != "" {
		q.Names = []string{name}
	}
	for r, err := range v.account.Roles(v.r.Context(), q) {
		if err != nil && !isDamaged(err) {
			return err
		}
		if len(list) == pageSize {
			more = true
			break
		}
		list = append(list, r)
	}
	page := ui{Title: v.heading("roles.title"), Nav: "roles"}
	var err error
	if page.Notice, err = v.roleNotice(); err != nil {
		return err
	}
	type roleRow struct {
		latchkey.Role
		Lines []string
		More  int
		// SameName: a role of the program has its name, which names neither then.
		SameName bool
	}
	var rows []roleRow
	for _, r := range list {
		x := roleRow{Role: r}
		if code, ok := v.account.Manager().CodeRoleNamed(r.Name); ok && r.Origin == "" && code.ID != r.ID {
			x.SameName = true
		}
		x.Lines, x.More = ruleLines(r.Permissions, 3)
		rows = append(rows, x)
	}
	next := ""
	if more {
		next = "./roles?" + url.Values{"after": {list[len(list)-1].ID}}.Encode()
	}
	typed := text(v.query, "q")
	if unsaid {
		typed = ""
	}
	return v.show(http.StatusOK, "roles", page, map[string]any{"Rows": rows, "Next": next, "After": after,
		"Filtered": q.Names != nil,
		"Search":   typed, "MayCreate": v.may(latchkey.Create, "role", "new")})
}

func (v *view) newRole(string) error {
	e := &roleForm{Rules: []ruleForm{newRule()}}
	return v.showRole(http.StatusOK, ui{}, latchkey.Role{}, e, false)
}

func (v *view) editRole(id string) error {
	r, err := v.account.Role(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	page := ui{}
	if r.Damaged {
		page.Errors = []template.HTML{v.rich("role.damaged", "id", id)}
	}
	at, _ := strconv.Atoi(text(v.query, "at"))
	return v.showRole(http.StatusOK, page, r, v.roleFormOf(&r, at-1), false)
}

// roleFormOf returns the form of a role as it is stored, with rules from index from on, as many as fit.
func (v *view) roleFormOf(r *latchkey.Role, from int) *roleForm {
	n := len(r.Permissions)
	if from < 0 || from >= n {
		from = 0
	}
	e := &roleForm{
		Version:       r.Version,
		Name:          r.Name,
		Inherits:      newSelection(r.Inherits, 0),
		InheritDenies: r.InheritDenies,
		From:          from,
		Of:            n,
	}
	e.To = part(n, from, maxRules, maxRuleBytes, func(i int) int {
		x := v.ruleFormOf(r.Permissions[i])
		e.Rules = append(e.Rules, x)
		return x.size()
	})
	e.Rules = e.Rules[:e.To-from]
	return e
}

func (v *view) readRole() *roleForm {
	f := v.form
	e := &roleForm{
		Name:          text(f, "name"),
		Inherits:      readSelection(f, "role"),
		AddRole:       text(f, "addrole"),
		InheritDenies: text(f, "again") == "on",
		Errors:        map[string]template.HTML{},
	}
	e.Version, _ = strconv.ParseUint(text(f, "version"), 10, 64)
	e.From, _ = strconv.Atoi(text(f, "from"))
	e.To, _ = strconv.Atoi(text(f, "to"))
	e.Of, _ = strconv.Atoi(text(f, "of"))
	if rules := f.Get("rule"); rules != nil && rules.Kind == form.List {
		for _, x := range rules.Items {
			r := readRule(x)
			e.Rules = append(e.Rules, r)
		}
	}
	return e
}

// readRules reads the rules, sets the error of each invalid one, and draws the others as they were understood. stored
// are the role's rules, among them those too long for the form.
func (v *view) readRules(e *roleForm, stored latchkey.Permissions) (latchkey.Permissions, bool) {
	var out latchkey.Permissions
	ok := true
	for i := range e.Rules {
		x := &e.Rules[i]
		if x.blank() {
			x.Open = true
			continue
		}
		addRow := func() {
			if x.addRow {
				x.Rows = append(x.Rows, blankRow)
			}
		}
		r, err := x.findKept(stored)
		if x.Kept == "" {
			r, err = x.rule(v)
		}
		if err != nil {
			if x.Error, x.Open, ok = v.errorText(err), true, false; x.Error == "" {
				x.Error = v.rich("role.bad-rule")
			}
			addRow()
			continue
		}
		if again := v.editableForm(r); x.Kept == "" && again.roundTrips(v, r) {
			again.Open, again.addRow = x.Open, x.addRow
			*x = again // the rows that were typed are the condition now
		}
		addRow()
		x.Text, x.Warning = shorten(r.String(), 300), v.warningOf(r)
		out = append(out, r)
	}
	return out, ok
}

// findKept finds a stored rule that the form holds only by its digest.
func (e *ruleForm) findKept(stored latchkey.Permissions) (latchkey.Rule, error) {
	for _, r := range stored {
		if e.Kept != "" && digestOf(r) == e.Kept {
			return r, nil
		}
	}
	return latchkey.Rule{}, fmt.Errorf("%w: the stored rule was changed meanwhile: remove it here", latchkey.ErrInvalid)
}

// arrange carries out a button inside the form. It returns false for the button that saves.
func (e *roleForm) arrange(do string) bool {
	what, at, _ := strings.Cut(do, "-")
	i, err := strconv.Atoi(at)
	inside := err == nil && i >= 0 && i < len(e.Rules)
	switch {
	case do == "add":
		e.Rules = append(e.Rules, newRule())
	case do == "addrole", do == "again", what == "row" && inside: // drawn once more, with a new row
		if what == "row" {
			e.Rules[i].Open, e.Rules[i].addRow = true, true
		}
	case what == "drop" && inside:
		e.Rules = slices.Delete(e.Rules, i, i+1)
	case what == "up" && inside && i > 0:
		e.Rules[i], e.Rules[i-1] = e.Rules[i-1], e.Rules[i]
	default:
		return false
	}
	return true
}

// focusAfter returns the id of what the person works on after a button inside the form.
func (e *roleForm) focusAfter(do string) string {
	what, at, _ := strings.Cut(do, "-")
	i, _ := strconv.Atoi(at)
	switch {
	case what == "add":
		return fmt.Sprintf("verb-%d", len(e.Rules)-1)
	case what == "up":
		return fmt.Sprintf("rule-%d", i-1)
	case what == "drop" && i < len(e.Rules):
		return fmt.Sprintf("rule-%d", i)
	case what == "drop":
		return "add-rule"
	case what == "addrole":
		return "addrole"
	}
	return "name"
}

// applyTo returns a role's stored rules with the typed ones in the place of those that the form showed.
func (e *roleForm) applyTo(stored, typed latchkey.Permissions) (latchkey.Permissions, error) {
	if e.From < 0 || e.From > e.To || e.To > len(stored) || e.Of != len(stored) {
		return nil, latchkey.ErrConflict // not a form of this console
	}
	return slices.Concat(stored[:e.From], typed, stored[e.To:]), nil
}

func (v *view) createRole(string) error  { return v.putRole("") }
func (v *view) saveRole(id string) error { return v.putRole(id) }

// putRole carries out the button Save, and the buttons inside the form. An empty id creates a role.
func (v *view) putRole(id string) error {
	e := v.readRole()
	ctx := v.r.Context()
	var r latchkey.Role
	current := func() (err error) {
		if id != "" {
			if r, err = v.account.Role(ctx, id); isDamaged(err) {
				err = nil
			}
		}
		return err
	}
	if err := current(); err != nil {
		return err
	}
	wrong, err := v.addRole(&e.Inherits, e.AddRole)
	if err != nil {
		return err
	}
	if wrong != "" {
		e.Errors["addrole"] = wrong
	} else {
		e.AddRole = ""
	}
	if do := text(v.form, "do"); e.arrange(do) {
		v.readRules(e, r.Permissions)
		return v.showRole(http.StatusOK, ui{Focus: e.focusAfter(do)}, r, e, false)
	}
	nameError := template.HTML("") // of a new name
	apply := func(r *latchkey.Role) error {
		if r.Version != e.Version {
			return latchkey.ErrConflict
		}
		rules, ok := v.readRules(e, r.Permissions)
		if !ok || wrong != "" {
			return errForm
		}
		if rules, err = e.applyTo(r.Permissions, rules); err != nil {
			return err
		}
		if e.Name != asSent(r.Name, true) {
			if e.Errors["name"] = nameError; nameError != "" {
				return errForm
			}
			r.Name = e.Name
		}
		r.Inherits, r.InheritDenies, r.Permissions = e.Inherits.applyTo(r.Inherits), e.InheritDenies, rules
		return nil
	}
	action, about := latchkey.Update, id
	if id == "" {
		action, about, e.Version = latchkey.Create, "new", 0
	}
	checkName := func() (err error) {
		if e.Name != "" && e.Name != asSent(r.Name, true) {
			nameError, err = v.lookalike(e.Name, id)
		}
		return err
	}
	if text(v.form, "do") == "review" && id != "" {
		becomes := r.Clone()
		err := checkName()
		if err == nil {
			err = apply(&becomes)
		}
		if err == nil {
			if e.foreseen, err = v.foresee(&r, &becomes); err == nil {
				return v.showRole(http.StatusOK, ui{Notice: v.rich("role.foreseen")}, r, e, false)
			}
		}
		if !errors.Is(err, latchkey.ErrConflict) {
			return v.roleRefused(err, r, e)
		} // otherwise it is said below, as for a form that was to be saved
	}
	done, err := v.once(false, action, "role", about, func() (reply, error) {
		ctx := v.r.Context()
		if err := checkName(); err != nil {
			return reply{}, err
		}
		if id != "" {
			now, err := v.account.UpdateRole(ctx, id, apply)
			return reply{to: "roles?done=saved&role=" + id + "&version=" + versionText(now.Version)}, err
		}
		if err := apply(&r); err != nil {
			return reply{}, err
		}
		made, err := v.account.CreateRole(ctx, r)
		return reply{to: "roles?done=made&role=" + made.ID}, err
	})
	if err == nil {
		return v.redirect(done.to)
	}
	if errGet := current(); errGet != nil {
		return errGet
	}
	if id != "" && errors.Is(err, latchkey.ErrConflict) {
		e.rebase(&r)
		v.readRules(e, r.Permissions)
		page := ui{Errors: []template.HTML{v.rich("role.conflict")}}
		return v.showRole(http.StatusConflict, page, r, e, true)
	}
	if id == "" {
		r = latchkey.Role{}
	}
	return v.roleRefused(err, r, e)
}

// rebase makes the form one of the role as it is stored now. Its rules replace the same part, or all if it showed
// all.
func (e *roleForm) rebase(r *latchkey.Role) {
	n := len(r.Permissions)
	if e.From <= 0 && e.To >= e.Of {
		e.To = n
	}
	e.From = min(max(0, e.From), n)
	e.To = min(max(e.From, e.To), n)
	e.Of, e.Version = n, r.Version
	e.Inherits = e.Inherits.rebase(r.Inherits, len(r.Inherits) <= maxSelection)
}

// lookalike returns what is wrong with a new name of a role: it is misleading, or people could take it for another
// role's. Roles that the person may not see are not compared.
func (v *view) lookalike(name, except string) (template.HTML, error) {
	if wrong := v.misleading(name); wrong != "" {
		return wrong, nil
	}
	look := skeleton(name)
	for r, err := range v.account.Roles(v.r.Context(), latchkey.RoleQuery{Page: latchkey.Page{Limit: 1000}}) {
		if err != nil && !isDamaged(err) {
			return "", err
		}
		if r.ID != except && skeleton(r.Name) == look {
			if r.Name == name {
				return v.rich("role.same-name"), nil
			}
			return v.rich("role.lookalike", "name", exact(r.Name)), nil
		}
	}
	return "", nil
}

func (v *view) roleRefused(err error, r latchkey.Role, e *roleForm) error {
	words, status := v.errorText(err), http.StatusUnprocessableEntity
	switch {
	case errors.Is(err, latchkey.ErrDenied):
		if v.opts.OnError != nil {
			v.opts.OnError(v.r, err)
		}
		status = http.StatusForbidden
		words = v.rich("edit.denied")
	case errors.Is(err, errFormUsed):
		status = http.StatusConflict
		words = v.rich("role.sent-before")
	case errors.Is(err, errNoForm):
		status, words = http.StatusConflict, v.rich("role.expired")
	case errors.Is(err, errForm):
		words = v.rich("edit.correct")
	case errors.Is(err, latchkey.ErrExists):
		e.Errors["name"] = v.rich("role.same-name")
		words = v.rich("edit.correct")
	case words == "":
		return err
	default:
		if e.Name == "" {
			e.Errors["name"] = v.rich("role.no-name")
		}
		words = v.rich("edit.not-saved") + " " + words
	}
	return v.showRole(status, ui{Errors: []template.HTML{words}, FieldErrors: v.fieldErrorsOf(e.Errors)}, r, e, false)
}

func (v *view) showRole(status int, page ui, r latchkey.Role, e *roleForm, theirs bool) error {
	for i := range page.FieldErrors {
		if page.FieldErrors[i].Field == "name" {
			page.FieldErrors[i].Label = v.say("role.name")
		}
	}
	page.Title, page.Nav = v.heading("role.new"), "roles"
	if r.ID != "" {
		page.Title = nameHeading(exact(r.Name))
	}
	if r.Coded() {
		page.Notice = v.rich("role.coded")
	}
	var used users
	if r.ID != "" {
		var err error
		if used, err = v.usersOf(r.ID); err != nil {
			return err
		}
	}
	inherits, err := v.roleField(e.Inherits, e.AddRole, e.Errors["addrole"], r.ID)
	if err != nil {
		return err
	}
	data := map[string]any{"Role": r, "E": e, "Inherits": inherits, "Used": used,
		"Dirty": v.r.Method == http.MethodPost, "Soon": v.takesEffect(), "IsTheirs": theirs,
		"Theirs": nil, "TheirsMore": 0, "TheirsUp": "",
		"First": e.From + 1, "Previous": max(1, e.From+1-maxRules), "Next": e.To + 1,
		"MayUpdate": r.ID == "" || !r.Coded() && v.may(latchkey.Update, "role", r.ID),
		"History":   v.access.Allows(latchkey.Read, "latchkey/event"),
		"MayDelete": r.ID != "" && !r.Coded() && v.may(latchkey.Delete, "role", r.ID)}
	if data["Bounded"] = r.Boundary != nil; r.Boundary != nil {
		data["Boundary"], data["BoundaryMore"] = ruleLines(r.Boundary, maxRules)
	}
	if theirs {
		data["Theirs"], data["TheirsMore"] = ruleLines(r.Permissions[e.From:e.To], 2*maxRules)
		some, err := v.roleNamesOf(r.Inherits)
		if err != nil {
			return err
		}
		data["TheirsUp"] = shorten(some.text(r.Inherits), 600)
	}
	data["Kinds"], data["KindsMore"] = v.hostKinds()
	data["Foreseen"], data["InUse"] = e.foreseen, len(used.Roles)+len(used.Tokens) > 0
	data["Boxes"], data["Picks"], data["Fields"], data["Ops"] = v.boxes(), v.picks(), v.fieldNames(), operators
	return v.show(status, "role", page, data)
}

// maxKinds bounds the declared kinds that the page of a role lists.
const maxKinds = 24

// hostKinds returns what rules can be about here, one line for each declared kind.
func (v *view) hostKinds() (lines []string, more int) {
	if v.host == nil {
		return nil, 0
	}
	for _, r := range v.host.Resources {
		if len(lines) == maxKinds {
			more++
			continue
		}
		var actions []string
		for _, a := range r.Actions {
			actions = append(actions, string(a))
		}
		lines = append(lines, shorten(r.Template+": "+strings.Join(actions, ", "), 160))
	}
	return lines, more
}

func (v *view) confirmDeleteRole(id string) error {
	return v.showDelete(http.StatusOK, id)
}

func (v *view) showDelete(status int, id string, errs ...template.HTML) error {
	r, err := v.account.Role(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	used, err := v.usersOf(id)
	if err != nil {
		return err
	}
	title := v.heading("role.delete-title", "name", exact(r.Name))
	return v.show(status, "delete", ui{Title: title, Nav: "roles", Errors: errs},
		map[string]any{"Role": r, "Soon": v.takesEffect(), "Used": used})
}

func (v *view) deleteRole(id string) error {
	r, err := v.once(false, latchkey.Delete, "role", id, func() (reply, error) {
		return reply{to: "roles?done=deleted&role=" + id}, v.account.DeleteRole(v.r.Context(), id)
	})
	switch {
	case err == nil:
		return v.redirect(r.to)
	case errors.Is(err, latchkey.ErrInUse):
		return v.showDelete(http.StatusConflict, id, v.rich("role.delete-used"))
	case errors.Is(err, errNoForm):
		return v.showDelete(http.StatusConflict, id, v.rich("common.expired"))
	}
	return err
}

// users are some of the tokens that have a role, and of the roles that inherit it.
type users struct {
	Roles, Tokens         []option // Value: the id
	MoreRoles, MoreTokens bool
}

// maxUsers bounds the roles and the tokens that a page lists as users of a role.
const maxUsers = 12

func (v *view) usersOf(id string) (out users, err error) {
	page := latchkey.Page{Limit: maxUsers + 1}
	for r, err := range v.account.Roles(v.r.Context(), latchkey.RoleQuery{Page: page, Inherits: id}) {
		if err != nil && !isDamaged(err) {
			return users{}, err
		}
		if out.MoreRoles = len(out.Roles) == maxUsers; out.MoreRoles {
			break
		}
		out.Roles = append(out.Roles, option{Value: r.ID, Text: shorten(exact(r.Name), maxNameLength)})
	}
	for t, err := range v.account.Tokens(v.r.Context(), latchkey.TokenQuery{Page: page, Role: id,
		States: []latchkey.State{latchkey.Active, latchkey.Disabled, latchkey.Expired, latchkey.NotYetValid}}) {
		if err != nil && !isDamaged(err) {
			return users{}, err
		}
		if out.MoreTokens = len(out.Tokens) == maxUsers; out.MoreTokens {
			break
		}
		out.Tokens = append(out.Tokens, option{Value: t.ID, Text: shorten(label(&t), maxNameLength)})
	}
	return out, nil
}
