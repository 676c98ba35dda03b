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

// auditFilter is what a page of the audit trail selects. It is the query of its URL.
type auditFilter struct {
	Actor, Object, Action string
	From, To              string // days, both included; "": open
	Wrong                 template.HTML
}

// hostActor selects what the program did itself.
const hostActor = "host"

const ofRoles = "role." // what actions on roles begin with

// auditActions are the actions that a filter can select, with what they are called.
var auditActions = []choice{
	{Value: "token.", Key: "audit.tokens"}, {Value: "token.issue", Key: "audit.token-issue"},
	{Value: "token.import", Key: "audit.token-import"}, {Value: "token.import-digest", Key: "audit.token-import-digest"},
	{Value: "token.mint", Key: "audit.token-mint"}, {Value: "token.update", Key: "audit.token-update"},
	{Value: "token.rotate", Key: "audit.token-rotate"}, {Value: "token.end-secret", Key: "audit.token-end-secret"},
	{Value: "token.reveal", Key: "audit.token-reveal"}, {Value: "token.signing-secret", Key: "audit.token-signing"},
	{Value: "token.revoke", Key: "audit.token-revoke"}, {Value: "token.delete", Key: "audit.token-delete"},
	{Value: "token.revoke-stateless", Key: "audit.token-stateless"},
	{Value: ofRoles, Key: "audit.roles"}, {Value: ofRoles + "create", Key: "audit.role-create"},
	{Value: ofRoles + "update", Key: "audit.role-update"}, {Value: ofRoles + "delete", Key: "audit.role-delete"},
	{Value: "owner.", Key: "audit.owner"}, {Value: "owner.configure", Key: "audit.owner-configure"},
	{Value: "owner.erase", Key: "audit.owner-erase"}, {Value: "client.erase", Key: "audit.client-erase"},
}

// readAudit reads the filter of the query. A day that is none is told, and selects nothing. A text that may be a key is
// left out.
func (v *view) readAudit() auditFilter {
	f := auditFilter{Actor: text(v.query, "actor"), Object: text(v.query, "object"), From: text(v.query, "from"),
		To: text(v.query, "to")}
	if action := text(v.query, "action"); slices.Contains(valuesOf(auditActions), action) {
		f.Action = action
	}
	for _, s := range []*string{&f.Actor, &f.Object} {
		if mayBeSecret(*s) {
			*s = ""
			v.w.Header().Set("Referrer-Policy", "no-referrer")
		}
	}
	for _, day := range []*string{&f.From, &f.To} {
		if _, err := time.Parse(time.DateOnly, *day); *day != "" && err != nil {
			*day, f.Wrong = "", v.rich("audit.wrong-day")
		}
	}
	if v.unsaid != "" {
		f.Wrong = v.unsaid
	}
	return f
}

// mayBeSecret is mayBeKey for what an audit trail names: "client:" and the id of a client is an actor, too.
func mayBeSecret(s string) bool {
	client, isClient := strings.CutPrefix(s, "client:")
	return isClient && ownKey(client) || !isClient && mayBeKey(s)
}

// filterAudit serves the form of the audit trail, and those of the histories. It redirects to what it selects. A pasted
// key selects its token, and stands in no URL.
func (v *view) filterAudit(id string) error {
	var err error
	switch ctx := v.r.Context(); v.path[0] {
	case "token":
		_, err = v.account.Get(ctx, id)
	case "role":
		_, err = v.account.Role(ctx, id)
	}
	if err != nil && !isDamaged(err) {
		return err
	}
	v.query = v.form
	f, unknown := v.readAudit(), false
	for name, to := range map[string]*string{"actor": &f.Actor, "object": &f.Object} {
		if s := text(v.form, name); mayBeSecret(s) {
			id, err := v.find(s)
			if err != nil {
				return err
			}
			*to, unknown = id, unknown || id == ""
		}
	}
	if page := pages[v.at()]; unknown || f.Wrong != "" {
		if unknown {
			v.unsaid = v.rich("find.unsaid")
		}
		return page.get(v, id)
	}
	u := f.values()
	if id != "" {
		u.Del("object")
	}
	if l := v.opened(); l.short() != "" {
		u.Set("list", l.short())
	}
	v.w.Header().Set("Location", "./"+v.path[len(v.path)-1]+"?"+u.Encode())
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (f *auditFilter) query() (q latchkey.EventQuery) {
	q = latchkey.EventQuery{Object: f.Object, Action: f.Action, Reverse: true, Page: latchkey.Page{Limit: pageSize}}
	switch f.Actor {
	case "":
	case hostActor:
		q.Actor = new(string)
	default:
		q.Actor = &f.Actor
	}
	if f.From != "" {
		q.From, _ = time.Parse(time.DateOnly, f.From) // readAudit has checked both
	}
	if f.To != "" {
		q.To, _ = time.Parse(time.DateOnly, f.To)
		q.To = q.To.AddDate(0, 0, 1)
	}
	return q
}

func (f *auditFilter) values() url.Values {
	u := url.Values{}
	for _, x := range [][2]string{{"actor", f.Actor}, {"object", f.Object}, {"action", f.Action}, {"from", f.From},
		{"to", f.To}} {
		if x[1] != "" {
			u.Set(x[0], x[1])
		}
	}
	return u
}

// event is an entry of the audit trail as a page shows it.
type event struct {
	Seq                   uint64
	At                    time.Time
	Action                string
	Actor, ActorText      string // ActorText: what to call it
	Object, ObjectText    string
	Link                  string // the page of the object; "": there is none any more
	From                  string
	Reason                string
	Changes               []changed
	More                  int  // changes that are not shown
	Hidden                bool // the person may not read the object
	ActorToken, HostActor bool
}

// maxAuditCalls bounds how often a page asks the store for events that are rare.
const maxAuditCalls = 12

// maxChangeBytes bounds what the changes of a page take, in bytes. The page of one event shows more.
const maxChangeBytes = 12_000

func (v *view) audit(string) error {
	return v.showAudit("audit", v.readAudit(), ui{Title: v.heading("audit.title"), Nav: "audit"}, nil)
}

// tokenHistory serves token/*/history, and roleHistory role/*/history.
func (v *view) tokenHistory(id string) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	f := v.readAudit()
	f.Object = id
	return v.showAudit("history", f, ui{Title: v.heading("audit.history-of", "name", label(&t)), Nav: "tokens"},
		map[string]any{"Back": v.root + "token/" + id + string(v.place("?"))})
}

func (v *view) roleHistory(id string) error {
	r, err := v.account.Role(v.r.Context(), id)
	if err != nil && !isDamaged(err) {
		return err
	}
	f := v.readAudit()
	f.Object = id
	return v.showAudit("history", f, ui{Title: v.heading("audit.history-of", "name", r.Name), Nav: "roles"},
		map[string]any{"Back": v.root + "role/" + id})
}

// showAudit shows a page of events. It costs one listing of events, more where few of many meet the filter, one of the
// tokens and one of the roles that they name.
func (v *view) showAudit(base string, f auditFilter, page ui, more map[string]any) error {
	q, wrong := f.query(), f.Wrong != ""
	q.After = text(v.query, "after")
	var list []latchkey.Event
	if !wrong {
		for range maxAuditCalls {
			q.Limit = pageSize - len(list)
			got, err := v.account.EventsPage(v.r.Context(), q)
			if errors.Is(err, latchkey.ErrInvalid) && q.After != "" { // no key: a forged link
				q.After = ""
				continue
			}
			if err != nil {
				return err
			}
			list = append(list, got.Items...)
			if q.After = got.Next; q.After == "" || len(list) >= pageSize {
				break
			}
		}
	}
	events, err := v.events(list, maxChangeBytes)
	if err != nil {
		return err
	}
	if f.Wrong != "" {
		page.Errors = []template.HTML{f.Wrong}
	}
	u := f.values()
	if base == "history" {
		u.Del("object")
	}
	link := func(to string, with ...string) string {
		x := url.Values{}
		for k, s := range u {
			x[k] = s
		}
		for i := 0; i+1 < len(with); i += 2 {
			x.Set(with[i], with[i+1])
		}
		if l := v.opened(); l.short() != "" && base == "history" {
			x.Set("list", l.short())
		}
		return to + "?" + x.Encode()
	}
	export, opened := f.values(), v.opened()
	data := map[string]any{"Events": events, "F": f, "Actions": v.optionsOf(auditActions), "History": base == "history",
		"CSV": v.root + "audit.csv?" + export.Encode(), "Next": "", "First": "", "Filtered": len(u) > 0,
		"Host": own(hostActor),
		"Full": len(list) >= pageSize, "List": opened.short(), "Today": v.now.Format(time.DateOnly)}
	if !wrong && q.After != "" {
		data["Next"] = link("", "after", q.After)
	}
	if text(v.query, "after") != "" {
		data["First"] = link("")
	}
	for k, x := range more {
		data[k] = x
	}
	return v.show(http.StatusOK, "audit", page, data)
}

// auditEvent serves audit/*: one event, with all that changed.
func (v *view) auditEvent(id string) error {
	seq, err := strconv.ParseUint(id, 10, 64)
	if err != nil || seq == 0 {
		return latchkey.ErrNotFound
	}
	q := latchkey.EventQuery{Page: latchkey.Page{Limit: 1}}
	if seq > 1 {
		q.After = strconv.FormatUint(seq-1, 10)
	}
	got, err := v.account.EventsPage(v.r.Context(), q)
	if err != nil {
		return err
	}
	if len(got.Items) == 0 || got.Items[0].Seq != seq {
		return latchkey.ErrNotFound
	}
	events, err := v.events(got.Items, 3*maxChangeBytes)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "event", ui{Title: v.heading("audit.event", "n", own(id)), Nav: "audit"},
		map[string]any{"E": events[0]})
}

// auditNames are what to call the records that events name. Those that the person may not read are missing.
type auditNames struct {
	tokens map[string]latchkey.Token
	roles  map[string]string
}

func (v *view) auditNames(list []latchkey.Event) (n auditNames, err error) {
	n = auditNames{map[string]latchkey.Token{}, map[string]string{}}
	tokens, roles := map[string]bool{}, map[string]bool{}
	for _, e := range list {
		switch {
		case strings.HasPrefix(e.Action, "token."):
			tokens[e.Object] = true
			for _, text := range [][]byte{e.Before, e.After} {
				for _, id := range rolesIn(text) {
					roles[id] = true
				}
			}
		case strings.HasPrefix(e.Action, ofRoles):
			roles[e.Object] = true
			for _, text := range [][]byte{e.Before, e.After} {
				for _, id := range rolesIn(text) {
					roles[id] = true
				}
			}
		}
		if wholeID.MatchString(e.Actor) {
			tokens[e.Actor] = true
		}
	}
	if n.tokens, err = v.tokensByID(keysOf(tokens)); err != nil {
		return n, err
	}
	if ids := keysOf(roles); len(ids) > 0 {
		some, err := v.roleNamesOnly(ids)
		if err != nil {
			return n, err
		}
		n.roles = some
	}
	return n, nil
}

func keysOf(set map[string]bool) (out []string) {
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// tokensByID returns the tokens with these ids that the person may read, with one reading for a thousand.
func (v *view) tokensByID(ids []string) (map[string]latchkey.Token, error) {
	out := map[string]latchkey.Token{}
	for some := range slices.Chunk(ids, 1000) {
		q := latchkey.TokenQuery{IDs: some, Page: latchkey.Page{Limit: 1000}}
		for t, err := range v.account.Tokens(v.r.Context(), q) {
			if err != nil && !isDamaged(err) {
				return nil, err
			}
			out[t.ID] = t
		}
	}
	return out, nil
}

// roleNamesOnly returns the names of the roles with these ids that the person may read.
func (v *view) roleNamesOnly(ids []string) (map[string]string, error) {
	out := map[string]string{}
	for some := range slices.Chunk(ids, 1000) {
		for r, err := range v.account.Roles(v.r.Context(), latchkey.RoleQuery{IDs: some}) {
			if err != nil && !isDamaged(err) {
				return nil, err
			}
			out[r.ID] = r.Name
		}
	}
	return out, nil
}

// events renders events. Room is how many bytes their changes may take together.
func (v *view) events(list []latchkey.Event, room int) ([]event, error) {
	names, err := v.auditNames(list)
	if err != nil {
		return nil, err
	}
	out := make([]event, len(list))
	for i := range list {
		out[i] = v.eventOf(&list[i], &names)
		e := &out[i]
		for n := range e.Changes {
			if room -= e.Changes[n].size(); room < 0 {
				e.More += len(e.Changes) - n
				e.Changes = e.Changes[:n]
				break
			}
		}
	}
	return out, nil
}

// eventOf renders an event. What the person may not read of its object is left out.
func (v *view) eventOf(e *latchkey.Event, names *auditNames) event {
	out := event{Seq: e.Seq, At: e.At, Action: e.Action, Actor: e.Actor, Object: e.Object, From: e.From, Reason: e.Reason}
	if at := slices.IndexFunc(auditActions, func(c choice) bool { return c.Value == e.Action }); at >= 0 {
		out.Action = v.say(auditActions[at].Key)
	}
	client, isClient := strings.CutPrefix(e.Actor, "client:")
	program, isHost := strings.CutPrefix(e.Actor, "host:")
	switch token, known := names.tokens[e.Actor]; {
	case isHost:
		out.ActorText = plain(v.say("audit.host-by", "name", program))
	case e.Actor == "":
		out.HostActor, out.Actor, out.ActorText = true, hostActor, v.say("audit.host")
	case isClient && client == "":
		out.ActorText = v.say("audit.nameless")
	case isClient:
		out.ActorText = client
		if own := v.access.Client(); own.ID == client && own.Name != "" {
			out.ActorText = own.Name
		}
	case known:
		out.ActorText, out.ActorToken = label(&token), true
	default:
		out.ActorText = e.Actor
	}
	kind, _, _ := strings.Cut(e.Action, ".")
	switch kind {
	case "token":
		out.Hidden = !v.may(latchkey.Read, "token", e.Object)
		if t, known := names.tokens[e.Object]; known {
			out.ObjectText, out.Link = label(&t), "token/"+e.Object
		} else if !out.Hidden {
			out.ObjectText = nameIn(e.Before, e.After)
		}
	case "role":
		out.Hidden = !v.may(latchkey.Read, "role", e.Object)
		if name, known := names.roles[e.Object]; known {
			out.ObjectText, out.Link = name, "role/"+e.Object
		} else if !out.Hidden {
			out.ObjectText = nameIn(e.Before, e.After)
		}
	case "owner":
		out.Hidden = !v.access.Allows(latchkey.Read, "latchkey/owner")
		out.ObjectText = v.say("audit.the-account")
	case "client":
		out.Hidden = !v.access.Allows(latchkey.Read, "latchkey/client")
	}
	if out.ObjectText == "" {
		out.ObjectText = e.Object
	}
	if !out.Hidden {
		out.Changes = v.changes(kind, e.Before, e.After, names)
	} else {
		out.Reason = "" // it may tell what the record holds
	}
	return out
}

// auditCSV exports what the filter selects, newest first.
func (v *view) auditCSV(string) error {
	f := v.readAudit()
	q := f.query()
	if f.Wrong != "" {
		return v.audit("")
	}
	defer v.exporting()()
	q.Limit = 1000
	got, err := v.account.EventsPage(v.r.Context(), q)
	if err != nil {
		return err
	}
	file := v.newCSV("audit", "seq", "at", "actor", "actor_name", "address", "action", "object", "object_name", "reason",
		"changes", "before", "after")
	for {
		names, err := v.auditNames(got.Items)
		for i := range got.Items {
			if err != nil {
				break
			}
			e := &got.Items[i]
			x := v.eventOf(e, &names)
			cells := []string{strconv.FormatUint(e.Seq, 10), csvTime(e.At), e.Actor, "", e.From, e.Action, e.Object, "",
				x.Reason,
				changesText(x.Changes), "", ""}
			if x.ActorText != e.Actor && !x.HostActor {
				cells[3] = x.ActorText
			}
			if x.ObjectText != e.Object {
				cells[7] = x.ObjectText
			}
			if !x.Hidden {
				cells[10], cells[11] = string(e.Before), string(e.After)
			}
			err = file.line(cells...)
		}
		if q.After = got.Next; err != nil || q.After == "" {
			return file.end(err)
		}
		if got, err = v.account.EventsPage(v.r.Context(), q); err != nil {
			return file.end(err)
		}
	}
}
