package console

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Many tokens at once. The list posts what is selected, or what it filters by, to "many", which asks whether to go on,
// with a count. The answer is carried out in steps of bounded size. The state of the work is in the form alone: each
// step says where the next one goes on. So any process can do the next step, and whoever stops it can take it up again.
// A step that is sent twice does nothing the second time, since what it did is done.

// manyActions are what can be done to many tokens. perStep bounds the tokens of a step.
var manyActions = map[string]manyAction{
	"disable": {Title: "many.disable", Do: "many.do-disable", About: "many.disable-about", right: latchkey.Update,
		perStep: 1000},
	"enable": {Title: "many.enable", Do: "many.do-enable", About: "many.enable-about", right: latchkey.Update,
		perStep: 200},
	"revoke": {Title: "many.revoke", Do: "many.do-revoke", About: "many.revoke-about", Danger: true,
		right: latchkey.Delete, perStep: 1000},
	"extend": {Title: "many.extend", Do: "many.do-extend", About: "many.extend-about", right: latchkey.Update,
		perStep: 200},
	"addrole": {Title: "many.addrole", Do: "many.do-addrole", About: "many.addrole-about", right: latchkey.Update,
		perStep: 200},
	"droprole": {Title: "many.droprole", Do: "many.do-droprole", About: "many.droprole-about", right: latchkey.Update,
		perStep: 200},
}

type manyAction struct {
	Title, Do, About string // keys of texts
	Danger           bool
	right            latchkey.Action
	perStep          int
}

const (
	maxCounted  = 10_000 // more tokens are said to be "more than"
	maxSelected = 200    // rows that a form can name
	maxManyWhy  = 10     // refusals that a page names
)

// manyForm is the form of a change of many tokens.
type manyForm struct {
	Action string
	All    bool     // everything that the listing finds, not IDs
	IDs    []string // the selected rows
	Parent string   // what this token minted
	Before string   // created before this moment, in UTC
	list   listing
	Asked  time.Time // when the question was asked; zero: it was not
	Reason string
	Days   string // of extend: a number, or endsDate
	End    string
	Role   string
	Errors map[string]template.HTML
	// What the steps before did.
	After                     string
	Total, Seen, Done, Denied int
}

func (v *view) readMany() *manyForm {
	f := v.form
	m := &manyForm{Action: text(f, "do"), All: text(f, "all") == "on", list: readListing(f), Parent: text(f, "parent"),
		Before: text(f, "made-before"), Reason: text(f, "reason"), Days: text(f, "days"), End: text(f, "end"),
		Role: text(f, "with"), After: text(f, "behind"), Errors: map[string]template.HTML{}}
	for _, id := range texts(f, "id") {
		if wholeID.MatchString(id) && len(m.IDs) < maxSelected {
			m.IDs = append(m.IDs, id)
		}
	}
	for name, n := range map[string]*int{"total": &m.Total, "seen": &m.Seen, "did": &m.Done, "denied": &m.Denied} {
		*n, _ = strconv.Atoi(text(f, name))
		*n = max(0, *n)
	}
	if n, err := strconv.ParseInt(text(f, "asked"), 10, 64); err == nil {
		if at := time.UnixMicro(n).UTC(); !at.After(v.now) && v.now.Sub(at) < submissionKept {
			m.Asked = at
		}
	}
	if !wholeID.MatchString(m.After) {
		m.After = ""
	}
	if !wholeID.MatchString(m.Parent) {
		m.Parent = ""
	}
	return m
}

// manyBar is the bar below the list that says what to do with the selected rows.
type manyBar struct {
	All                  bool // everything that the listing finds can be meant
	Count, Most          int
	MayUpdate, MayRevoke bool
}

// manyBar returns the bar of a list, or nil for a person who may do nothing there.
func (v *view) manyBar(l *listing, count int, unsaid bool) *manyBar {
	bar := &manyBar{Count: count, Most: maxCount, MayUpdate: v.may(latchkey.Update, "token", "new"),
		MayRevoke: v.may(latchkey.Delete, "token", "new")}
	if !bar.MayUpdate && !bar.MayRevoke {
		return nil
	}
	m := manyForm{All: true, list: *l}
	_, ok := m.selector(v.now)
	bar.All = ok && !unsaid && count > 0
	return bar
}

// AskedText is the value of the form's hidden field.
func (m *manyForm) AskedText() string { return strconv.FormatInt(m.Asked.UnixMicro(), 10) }

// selector returns what is meant. It returns false if nothing is. What was made after the question was asked is not
// meant, and the filters' days are counted from then on.
func (m *manyForm) selector(now time.Time) (latchkey.Selector, bool) {
	if !m.Asked.IsZero() {
		now = m.Asked
	}
	made := now.Add(time.Microsecond)
	if before, ok := parseMoment(m.Before); m.Before != "" && (!ok || before.IsZero()) {
		return latchkey.Selector{}, false
	} else if m.Before != "" {
		return latchkey.Selector{CreatedBefore: before}, true
	}
	if m.Parent != "" {
		return latchkey.Selector{Parent: m.Parent, CreatedBefore: made}, true
	}
	if !m.All {
		return latchkey.Selector{IDs: m.IDs}, len(m.IDs) > 0
	}
	q, keep := m.list.query(now)
	// Such a search finds one token: select its row.
	if keep != nil || q.Search != "" || len(q.IDs) > 0 || m.list != m.list.unsaid() {
		return latchkey.Selector{}, false
	}
	if q.CreatedBefore.IsZero() {
		q.CreatedBefore = made
	}
	return latchkey.Selector{Client: q.Client, Role: q.Role, Origin: q.Origin, Kinds: q.Kinds, Find: q.Find,
		States: q.States, CreatedBefore: q.CreatedBefore, UnusedSince: q.UnusedSince, ExpiresFrom: q.ExpiresFrom,
		ExpiresTo: q.ExpiresTo, All: true}, true
}

// edit returns the change of EditAll, and sets the errors of invalid fields.
func (v *view) manyEdit(m *manyForm) (e latchkey.Edit) {
	switch m.Action {
	case "enable":
		e.Enable = true
	case "addrole", "droprole":
		if m.Role == "" {
			m.Errors["with"] = v.rich("many.no-role")
		} else if m.Action == "addrole" {
			e.AddRoles = []string{m.Role}
		} else {
			e.DropRoles = []string{m.Role}
		}
	case "extend":
		days, err := strconv.Atoi(m.Days)
		end, ok := parseMoment(m.End)
		switch {
		case m.Days == endsDate && ok && end.After(v.now):
			e.NotAfter = end
		case m.Days == endsDate:
			m.Errors["end"] = v.rich("many.bad-end")
		case err == nil && slices.Contains(endDays, days):
			e.NotAfter = v.now.Add(time.Duration(days) * day).Truncate(time.Second)
			m.Days, m.End = endsDate, momentText(e.NotAfter) // the steps that follow mean the same moment
		default:
			m.Errors["end"] = v.rich("new.choose-end")
		}
	}
	return e
}

// many serves the pages of changes of many tokens.
func (v *view) many(string) error {
	m := v.readMany()
	action, ok := manyActions[m.Action]
	if !ok {
		return latchkey.ErrNotFound
	}
	s, ok := m.selector(v.now)
	if !ok {
		return v.showMany(http.StatusUnprocessableEntity, ui{Errors: []template.HTML{v.rich("many.nothing-selected")}}, m,
			action, nil)
	}
	if text(v.form, "go") == "" {
		return v.askMany(http.StatusOK, ui{}, m, action)
	}
	edit := v.manyEdit(m)
	if len(m.Errors) > 0 {
		return v.askMany(http.StatusUnprocessableEntity, ui{Errors: []template.HTML{v.rich("many.correct")}}, m, action)
	}
	if m.After == "" { // the first step: what was confirmed is what is done
		count, err := v.account.CountTokens(v.r.Context(), s.Query(), maxCounted)
		if err != nil {
			return err
		}
		if count != m.Total {
			return v.askMany(http.StatusConflict, ui{Errors: []template.HTML{v.rich("many.other-count")}}, m, action)
		}
	}
	s.Most, s.After = action.perStep, m.After
	swept, err := v.sweep(m, s, edit)
	switch words := v.errorText(err); {
	case errors.Is(err, latchkey.ErrInvalid) && words != "" && swept.Seen == 0:
		return v.askMany(http.StatusUnprocessableEntity, ui{Errors: []template.HTML{v.rich("many.nothing-done") + " " +
			words}}, m, action)
	case err != nil && swept.Seen == 0:
		return err
	}
	m.Seen, m.Done, m.Denied, m.After = m.Seen+swept.Seen, m.Done+swept.Done, m.Denied+swept.Refused, swept.After
	return v.showMany(http.StatusOK, ui{}, m, action, &manyResult{Swept: swept, Stopped: err != nil})
}

func (v *view) sweep(m *manyForm, s latchkey.Selector, edit latchkey.Edit) (latchkey.Swept, error) {
	ctx := v.r.Context()
	switch m.Action {
	case "revoke":
		return v.account.RevokeAll(ctx, s, m.Reason)
	case "disable":
		return v.account.DisableAll(ctx, s, m.Reason)
	}
	return v.account.EditAll(ctx, s, edit, m.Reason)
}

// askMany asks whether to go on, with the number of tokens that are meant.
func (v *view) askMany(status int, page ui, m *manyForm, action manyAction) error {
	m.Asked = v.now
	s, _ := m.selector(v.now)
	count, err := v.account.CountTokens(v.r.Context(), s.Query(), maxCounted)
	if err != nil {
		return err
	}
	m.Total, m.After = count, ""
	var some []row
	q := s.Query()
	q.Limit = 6
	for t, err := range v.account.Tokens(v.r.Context(), q) {
		if err != nil && !isDamaged(err) {
			return err
		}
		if len(some) == 5 {
			break
		}
		some = append(some, row{Token: t, State: v.words.stateOf(&t, v.now)})
	}
	roles := roleField{}
	if m.Action == "addrole" || m.Action == "droprole" {
		if roles, err = v.roleField(selection{Ticked: nil}, "", "", ""); err != nil {
			return err
		}
	}
	var ends []option
	for _, days := range endDays {
		text := v.say("new.ends-days", "n", days)
		if days == 365 {
			text = v.say("new.ends-year")
		}
		ends = append(ends, option{Value: strconv.Itoa(days), Text: text, On: days == 90 && m.Days == "" ||
			m.Days == strconv.Itoa(days)})
	}
	page.Title, page.Nav = v.heading(action.Title, "n", count), "tokens"
	if count >= maxCounted {
		page.Title = v.heading(action.Title, "n", maxCounted)
	}
	page.FieldErrors = v.fieldErrorsOf(m.Errors)
	return v.show(status, "many", page, map[string]any{"M": m, "A": action, "Count": count, "Most": maxCounted,
		"Some": some, "Rest": count - len(some), "Hidden": v.typedFields("go", "reason", "days", "end", "with", "behind",
			"total", "seen", "did", "denied", "form", "asked"),
		"Roles": roles, "Ends": ends, "Result": nil, "About": v.say(action.About,
			"soon", v.takesEffect()), "Do": v.say(action.Do, "n", count), "Back": v.manyBack(m)})
}

// manyResult is what a step did.
type manyResult struct {
	latchkey.Swept
	Stopped bool // it ended early
}

// refusedOne is a token that was refused, and why.
type refusedOne struct {
	ID, Name string
	Why      template.HTML
}

// showMany shows what was done so far, and the way to the next step if there is one.
func (v *view) showMany(status int, page ui, m *manyForm, action manyAction, r *manyResult) error {
	page.Nav = "tokens"
	data := map[string]any{"M": m, "A": action, "Count": 0, "Most": maxCounted, "Some": nil, "Rest": 0, "Result": r,
		"Back": v.manyBack(m), "Roles": roleField{}, "Ends": nil, "About": "", "Do": "", "Hidden": template.HTML("")}
	if r == nil {
		page.Title = v.heading("many.nothing")
		return v.show(status, "many", page, data)
	}
	page.Title = v.heading("many.done")
	more := r.More || r.Stopped
	if more {
		page.Title = v.heading("many.under-way")
	}
	var refused []refusedOne
	for i, id := range r.RefusedIDs[:min(len(r.RefusedIDs), maxManyWhy)] {
		t := v.tokenOrID(id)
		x := refusedOne{ID: id, Name: shorten(label(&t), maxNameLength), Why: v.rich("many.denied")}
		if x.Name == "" {
			x.Name = id
		}
		if words := v.errorText(r.Reasons[i]); words != "" && !errors.Is(r.Reasons[i], latchkey.ErrDenied) {
			x.Why = words
		}
		refused = append(refused, x)
	}
	share := 100
	if m.Total > m.Seen {
		share = 100 * m.Seen / m.Total
	}
	data["More"], data["Refused"], data["RefusedMore"] = more, refused, r.Refused-len(refused)
	data["Same"], data["Share"] = max(0, m.Seen-m.Done-m.Denied), share
	data["Hidden"] = v.typedFields("behind", "total", "seen", "did", "denied", "days", "end", "form")
	return v.show(status, "many", page, data)
}

// manyBack returns the page that the form came from, relative to the console's root.
func (v *view) manyBack(m *manyForm) string {
	switch {
	case m.Parent != "":
		return "token/" + m.Parent + "/minted"
	case m.Before != "":
		return "account"
	}
	l := m.list.unsaid()
	return strings.TrimPrefix(listLink(l.filters()), "./")
}

// minted serves token/*/minted: what a token minted.
func (v *view) tokenMinted(id string) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	after := text(v.query, "after")
	q := latchkey.TokenQuery{Parent: id, Page: latchkey.Page{After: after, Limit: pageSize + 1}}
	if after != "" && !wholeID.MatchString(after) {
		q.After = ""
	}
	var rows []row
	next := ""
	for x, err := range v.account.Tokens(v.r.Context(), q) {
		if err != nil && !isDamaged(err) {
			return err
		}
		if len(rows) == pageSize {
			next = "?" + url.Values{"after": {rows[pageSize-1].ID}}.Encode()
			break
		}
		rows = append(rows, row{Token: x, State: v.words.stateOf(&x, v.now)})
	}
	if err := v.addRefusals(rows); err != nil {
		return err
	}
	count, err := v.account.CountTokens(v.r.Context(), latchkey.TokenQuery{Parent: id}, maxCounted)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "minted", ui{Title: v.heading("minted.title", "name", label(&t)), Nav: "tokens"},
		map[string]any{"Token": row{Token: t}, "Rows": rows, "Next": next, "After": q.After, "Count": count,
			"Most": maxCounted, "MayRevoke": v.may(latchkey.Delete, "token", "new"),
			"MayUpdate": v.may(latchkey.Update, "token", "new")})
}
