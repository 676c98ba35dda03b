package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// roleEntry is the form of a role, as it was typed.
type roleEntry struct {
	Version  uint64
	Name     string
	Inherits []string
	Again    bool
	Rules    []ruleEntry
	Errors   map[string]string
}

// ruleEntry is one rule, as it was typed.
type ruleEntry struct {
	Verb, Actions, On, Where, Force string
	Aloud, Error                    string
}

func (e *ruleEntry) blank() bool { return e.Actions+e.On+e.Where+e.Force == "" }

func ruleEntryOf(r latchkey.Rule) ruleEntry {
	e := ruleEntry{Verb: r.Verb().String(), Aloud: r.String()}
	var actions, on []string
	for _, a := range r.Actions() {
		actions = append(actions, string(a))
	}
	for _, p := range r.Patterns() {
		on = append(on, string(p))
	}
	e.Actions, e.On = strings.Join(actions, ", "), strings.Join(on, "\n")
	if !r.Condition().IsAllRows() {
		if text, err := r.Condition().MarshalJSON(); err == nil {
			e.Where = unescaped(string(text))
		}
	}
	if len(r.Forced()) > 0 {
		if text, err := r.Forced().MarshalJSON(); err == nil {
			e.Force = unescaped(string(text))
		}
	}
	return e
}

// unescaped is JSON as people write it: encoding/json escapes what could end a script.
func unescaped(text string) string {
	if strings.Contains(text, `\\`) {
		return text // a backslash that was itself escaped: leave it be
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(text)
}

// rule reads an entry. Patterns stand one on a line, for they may hold commas and spaces.
func (e *ruleEntry) rule() (latchkey.Rule, error) {
	var actions []latchkey.Action
	for a := range strings.FieldsFuncSeq(e.Actions, func(r rune) bool { return r == ',' || r == ' ' }) {
		actions = append(actions, latchkey.Action(a))
	}
	var on []latchkey.Pattern
	for line := range strings.Lines(e.On) {
		if line = strings.TrimSpace(line); line != "" {
			on = append(on, latchkey.Pattern(line))
		}
	}
	start := latchkey.Allow(actions...)
	switch e.Verb {
	case "allow":
	case "grant":
		start = latchkey.Grant(actions...)
	case "deny":
		start = latchkey.Deny(actions...)
	default:
		return latchkey.Rule{}, fmt.Errorf("%w: choose allow, grant or deny", latchkey.ErrInvalid)
	}
	r := start.On(on...)
	if e.Where != "" {
		var c latchkey.Condition
		if err := c.UnmarshalJSON([]byte(e.Where)); err != nil {
			return latchkey.Rule{}, err
		}
		r = r.Where(c)
	}
	if e.Force != "" {
		var values latchkey.Values
		if err := values.UnmarshalJSON([]byte(e.Force)); err != nil {
			return latchkey.Rule{}, err
		}
		r = r.Force(values)
	}
	return r, r.Validate()
}

func (v *visit) roles(string) error {
	var list []latchkey.Role
	after := text(v.query, "after")
	more := false
	q := latchkey.RoleQuery{Page: latchkey.Page{After: after, Limit: pageSize + 1}}
	if name := text(v.query, "q"); name != "" {
		q.Names = []string{name}
	}
	for r, err := range v.account.Roles(v.r.Context(), q) {
		if err != nil {
			return err
		}
		if len(list) == pageSize {
			more = true
			break
		}
		list = append(list, r)
	}
	page := ui{Title: "Roles", Nav: "roles"}
	switch text(v.query, "done") {
	case "saved":
		page.Notice = "Saved. Every token that has the role answers by it " + v.soon() + "."
	case "made":
		page.Notice = "The role was made."
	case "deleted":
		page.Notice = "The role was deleted."
	}
	type roleRow struct {
		latchkey.Role
		Lines []string
		More  int
	}
	var rows []roleRow
	for _, r := range list {
		x := roleRow{Role: r, Lines: lines(r.Permissions)}
		if len(x.Lines) > 3 {
			x.Lines, x.More = x.Lines[:3], len(x.Lines)-3
		}
		rows = append(rows, x)
	}
	next := ""
	if more {
		next = "./roles?" + url.Values{"after": {list[len(list)-1].ID}}.Encode()
	}
	return v.show(http.StatusOK, "roles", page, map[string]any{"Rows": rows, "Next": next, "After": after,
		"Search": text(v.query, "q"), "MayCreate": v.may(latchkey.Create, "role", "new")})
}

func (v *visit) newRole(string) error {
	return v.showRole(http.StatusOK, ui{}, latchkey.Role{}, &roleEntry{Rules: make([]ruleEntry, 1)}, false)
}

func (v *visit) editRole(id string) error {
	r, err := v.account.Role(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.showRole(http.StatusOK, ui{}, r, roleEntryOf(&r), false)
}

func roleEntryOf(r *latchkey.Role) *roleEntry {
	e := &roleEntry{Version: r.Version, Name: r.Name, Inherits: r.Inherits, Again: r.InheritDenies}
	for _, rule := range r.Permissions {
		e.Rules = append(e.Rules, ruleEntryOf(rule))
	}
	return e
}

func (v *visit) readRole() *roleEntry {
	f := v.form
	e := &roleEntry{Name: text(f, "name"), Inherits: texts(f, "inherits"), Again: text(f, "again") == "on", Errors: map[string]string{}}
	e.Version, _ = strconv.ParseUint(text(f, "version"), 10, 64)
	if rules := f.Get("rule"); rules != nil && rules.Kind == form.List {
		for _, x := range rules.Items {
			r := ruleEntry{Verb: text(x, "verb"), Actions: text(x, "actions"), On: strings.ReplaceAll(text(x, "on"), "\r", ""),
				Where: text(x, "where"), Force: text(x, "force")}
			e.Rules = append(e.Rules, r)
		}
	}
	return e
}

// permissions reads the rules and says beside each what is wrong with it.
func (e *roleEntry) permissions() (latchkey.Permissions, bool) {
	var out latchkey.Permissions
	ok := true
	for i := range e.Rules {
		x := &e.Rules[i]
		if x.blank() {
			continue
		}
		r, err := x.rule()
		if err != nil {
			if x.Error, ok = why(err), false; x.Error == "" {
				x.Error = "This cannot be read."
			}
			continue
		}
		x.Aloud = r.String()
		out = append(out, r)
	}
	return out, ok
}

// arrange does what a button inside the form asks for; false if it was the one that saves.
func (e *roleEntry) arrange(do string) bool {
	what, at, _ := strings.Cut(do, "-")
	i, err := strconv.Atoi(at)
	inside := err == nil && i >= 0 && i < len(e.Rules)
	switch {
	case do == "add":
		e.Rules = append(e.Rules, ruleEntry{Verb: "allow"})
	case what == "drop" && inside:
		e.Rules = slices.Delete(e.Rules, i, i+1)
	case what == "up" && inside && i > 0:
		e.Rules[i], e.Rules[i-1] = e.Rules[i-1], e.Rules[i]
	default:
		return false
	}
	return true
}

func (v *visit) createRole(string) error {
	e := v.readRole()
	if e.arrange(text(v.form, "do")) {
		e.permissions()
		return v.showRole(http.StatusOK, ui{}, latchkey.Role{}, e, false)
	}
	rules, ok := e.permissions()
	var err error = errEntry
	if ok {
		_, err = v.account.CreateRole(v.r.Context(), latchkey.Role{Name: e.Name, Inherits: e.Inherits, InheritDenies: e.Again,
			Permissions: rules})
	}
	if err == nil {
		return v.goTo("roles?done=made")
	}
	return v.roleRefused(err, latchkey.Role{}, e)
}

func (v *visit) saveRole(id string) error {
	e := v.readRole()
	ctx := v.r.Context()
	current := func() (latchkey.Role, error) { return v.account.Role(ctx, id) }
	if e.arrange(text(v.form, "do")) {
		e.permissions()
		r, err := current()
		if err != nil {
			return err
		}
		return v.showRole(http.StatusOK, ui{}, r, e, false)
	}
	rules, ok := e.permissions()
	var err error = errEntry
	if ok {
		_, err = v.account.UpdateRole(ctx, id, func(r *latchkey.Role) error {
			if r.Version != e.Version {
				return latchkey.ErrConflict
			}
			r.Name, r.Inherits, r.InheritDenies, r.Permissions = e.Name, e.Inherits, e.Again, rules
			return nil
		})
	}
	if err == nil {
		return v.goTo("roles?done=saved")
	}
	r, errGet := current()
	if errGet != nil {
		return errGet
	}
	if errors.Is(err, latchkey.ErrConflict) {
		e.Version = r.Version
		return v.showRole(http.StatusConflict, ui{Errors: []string{"Somebody else changed this role since you opened it. Nothing was " +
			"saved and nothing you typed is lost: compare with what it says now, and save again to put yours in its place."}}, r, e, true)
	}
	return v.roleRefused(err, r, e)
}

func (v *visit) roleRefused(err error, r latchkey.Role, e *roleEntry) error {
	words := why(err)
	switch {
	case errors.Is(err, errEntry):
		words = "Not saved. See what is marked below."
	case errors.Is(err, latchkey.ErrExists):
		e.Errors["name"] = "Another role has this name."
		words = "Not saved. See what is marked below."
	case words == "":
		return err
	default:
		if e.Name == "" {
			e.Errors["name"] = "A role needs a name."
		}
		words = "Not saved. " + words
	}
	return v.showRole(http.StatusUnprocessableEntity, ui{Errors: []string{words}}, r, e, false)
}

func (v *visit) showRole(status int, page ui, r latchkey.Role, e *roleEntry, theirs bool) error {
	page.Title, page.Nav = "New role", "roles"
	if r.ID != "" {
		page.Title = r.Name
	}
	names, ids, err := v.roleNames()
	if err != nil {
		return err
	}
	for _, id := range e.Inherits {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	var inherits []option
	for _, id := range ids {
		if id == r.ID {
			continue
		}
		name := names[id]
		if name == "" {
			name = id
		}
		inherits = append(inherits, option{Value: id, Text: name, On: slices.Contains(e.Inherits, id)})
	}
	data := map[string]any{"Role": r, "E": e, "Inherits": inherits, "Soon": v.soon(), "Theirs": nil,
		"MayUpdate": r.ID == "" || v.may(latchkey.Update, "role", r.ID), "MayDelete": r.ID != "" && v.may(latchkey.Delete, "role", r.ID)}
	if theirs {
		data["Theirs"] = lines(r.Permissions)
	}
	return v.show(status, "role", page, data)
}

func (v *visit) askDeleteRole(id string) error {
	r, err := v.account.Role(v.r.Context(), id)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "delete", ui{Title: "Delete " + r.Name, Nav: "roles"}, map[string]any{"Role": r, "Soon": v.soon()})
}

func (v *visit) deleteRole(id string) error {
	err := v.account.DeleteRole(v.r.Context(), id)
	if errors.Is(err, latchkey.ErrInUse) {
		r, errGet := v.account.Role(v.r.Context(), id)
		if errGet != nil {
			return errGet
		}
		return v.show(http.StatusConflict, "delete", ui{Title: "Delete " + r.Name, Nav: "roles", Errors: []string{
			"Tokens have this role, or other roles inherit it. Take it away from them first."}}, map[string]any{"Role": r, "Soon": v.soon()})
	}
	if err != nil {
		return err
	}
	return v.goTo("roles?done=deleted")
}
