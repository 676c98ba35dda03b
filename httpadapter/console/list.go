package console

import (
	"errors"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

const (
	pageSize  = 20
	sparkDays = 14
	soonEnds  = 7 * 24 * time.Hour // a token that ends within it is shown as expiring

	maxReasonShown = 100 // bytes on a page of the reason of a revocation; the history of the token has all of it
)

// row is one token of the list.
type row struct {
	latchkey.Token
	State    state
	Spark    *spark
	Reveal   bool
	IsNew    bool
	Editable bool
}

// state is the state of a token in one word, its CSS class, and details.
type state struct {
	Word, Class string
	More        template.HTML
}

// isDamaged reports whether a stored record cannot be read. What is left of it comes with the error, so that a page
// can show and revoke it.
func isDamaged(err error) bool {
	var damaged *latchkey.DamagedError
	return errors.As(err, &damaged)
}

func (w *Words) stateOf(t *latchkey.Token, now time.Time) state {
	if t.Damaged && t.Revoked.IsZero() {
		return state{w.say("list.damaged"), "off", w.rich("list.damaged-about")}
	}
	switch t.State(now) {
	case latchkey.Revoked:
		return state{w.say("list.revoked"), "off", isolated(brief(t.Reason, maxReasonShown))}
	case latchkey.Disabled:
		return state{w.say("list.disabled"), "off", ""}
	case latchkey.NotYetValid:
		return state{w.say("list.not-yet"), "warn", w.rich("list.from", "time", t.Validity.NotBefore)}
	}
	end := t.Validity.NotAfter
	if idle := t.IdleEnd(); !idle.IsZero() && (end.IsZero() || idle.Before(end)) {
		end = idle
	}
	if t.State(now) == latchkey.Expired {
		return state{w.say("list.expired"), "off", w.moment(end)}
	}
	if !end.IsZero() && end.Sub(now) < soonEnds {
		return state{w.say("list.expiring"), "warn", w.moment(end)}
	}
	return state{w.say("list.active"), "on", ""}
}

// badge returns the kind of a token as the list shows it.
func (w *Words) badge(t latchkey.Token) string {
	key := "list.badge-access"
	switch t.Kind {
	case latchkey.KindSecret:
		key = "list.badge-secret"
	case latchkey.KindPublishable:
		key = "list.badge-publishable"
	case latchkey.KindAPIKey:
		key = "list.badge-api-key"
	case latchkey.KindSession:
		key = "list.badge-session"
	}
	if t.Test {
		return w.say("list.badge-test", "kind", w.say(key))
	}
	return w.say(key)
}

// Mask and Label are for templates.
func (r row) Mask() string  { return mask(&r.Token) }
func (r row) Label() string { return label(&r.Token) }

// mask returns the part of a token's text that is not secret.
func mask(t *latchkey.Token) string {
	if t.Damaged {
		return t.ID
	}
	if p := t.Public; len(p) > 16 {
		return p[:8] + "…" + p[len(p)-5:]
	}
	return t.Hint
}

// label returns the name of a token, or its mask.
func label(t *latchkey.Token) string {
	if strings.TrimSpace(t.Name) != "" {
		return t.Name
	}
	return mask(t)
}

var issuedKinds = []latchkey.Kind{
	latchkey.KindSecret,
	latchkey.KindPublishable,
	latchkey.KindAPIKey,
	latchkey.KindSession,
}

// list serves the list of tokens.
func (v *view) list(string) error {
	if away, err := v.redirectKey(text(v.query, "q")); away || err != nil {
		return err
	}
	l := readListing(v.query)
	if said := l.unsaid(); said.Role != l.Role || said.Client != l.Client || said.Origin != l.Origin {
		v.w.Header().Set("Referrer-Policy", "no-referrer")
		return v.redirect(strings.TrimPrefix(listLink(said.filters()), "./"))
	}
	return v.showList(l, false)
}

// showList shows a part of the list. unsaid: the searched text may be a secret, so no URL and no field repeats it.
func (v *view) showList(l listing, unsaid bool) error {
	p, err := v.readPart(&l)
	if errors.Is(err, latchkey.ErrInvalid) && l.place != (place{}) { // no key of this order: the link is old or forged
		l.place = place{}
		p, err = v.readPart(&l)
	}
	page := ui{Title: nameHeading(v.product()), Nav: "tokens"}
	if errors.Is(err, latchkey.ErrInvalid) && l.Role != "" {
		if p, err = (listPart{}), nil; !unsaid {
			page.Errors = []template.HTML{v.rich("find.no-role", "name", l.Role)}
		}
	}
	if err != nil {
		return err
	}
	if err := v.addRefusals(p.Rows); err != nil {
		return err
	}
	sparks, err := v.sparks(p.Rows)
	if err != nil {
		return err
	}
	if page.Notice, err = v.noticeOf(); err != nil {
		return err
	}
	made := text(v.query, "made")
	keyring := v.account.Manager().MayReveal()
	for i := range p.Rows {
		t := &p.Rows[i].Token
		p.Rows[i].Spark = sparks[t.ID]
		p.Rows[i].Reveal = keyring && !t.Damaged && t.Kind != latchkey.KindPublishable && t.Revoked.IsZero() &&
			v.may(latchkey.Reveal, "token", t.ID)
		if t.ID == made && v.now.Sub(t.Created) < time.Hour {
			p.Rows[i].IsNew = true
			page.Notice = v.rich("list.made")
			if t.Test {
				page.Notice = v.rich("list.made-test")
			}
		}
	}
	said := l
	if unsaid {
		said = l.unsaid()
		for _, filter := range []*string{&said.Role, &said.Client, &said.Origin} {
			if mayBeKey(*filter) {
				*filter = ""
			}
		}
	}
	filters := said.filters()
	filters.Del("sort")
	data := map[string]any{
		"Bar": v.manyBar(&said, p.Count, unsaid), "Filters": said.filters(),
		"Rows": p.Rows, "L": said, "Unsaid": unsaid, "States": v.optionsOf(stateChoices),
		"Expiring": expiringDays, "Unused": unusedDays, "Sorts": v.optionsOf(sortChoices), "Host": own(hostOrigin),
		"More": said.more(), "Filtered": len(filters) > 0 || unsaid, "Cut": unsaid && p.Later,
		"Usage": sparks != nil, "Days": sparkDays, "FormID": newFormID(), "Count": p.Count, "Most": maxCount,
		"MayCreate": v.mayCreate(), "MayPublish": v.mayPublish(), "First": "", "Next": "", "Previous": "", "Last": "",
		"Kinds": v.kinds(), "CSV": "tokens.csv" + strings.TrimPrefix(listLink(said.filters()), "./"),
		"Place": said.lead("?"),
	}
	if unsaid {
		return v.show(http.StatusOK, "list", page, data)
	}
	q, _ := l.query(v.now)
	at := func(p place) string { return listLink(l.at(p)) }
	if p.Earlier || l.place != (place{}) {
		data["First"] = at(place{})
	}
	if p.Earlier {
		before := place{Last: true}
		if len(p.Rows) > 0 {
			before = place{Before: placeOf(&q, &p.Rows[0].Token)}
		}
		data["Previous"] = at(before)
	}
	if p.Later {
		data["Next"] = at(place{After: placeOf(&q, &p.Rows[len(p.Rows)-1].Token)})
		data["Last"] = at(place{Last: true})
	}
	return v.show(http.StatusOK, "list", page, data)
}

// addRefusals adds refusals that a token's own record does not show. A token is refused if one it was minted from is,
// or if the account revoked all tokens of its age.
func (v *view) addRefusals(rows []row) error {
	tokens := make([]latchkey.Token, len(rows))
	for i := range rows {
		tokens[i] = rows[i].Token
	}
	why, err := v.account.Refusals(v.r.Context(), tokens...)
	for i := range rows {
		rows[i].State = v.words.refusedState(rows[i].State, why[rows[i].ID])
	}
	return err
}

// refusedState returns the state of a token that Verify refuses for a reason that its own record does not show.
func (w *Words) refusedState(own state, why error) state {
	if why == nil || own.Class == "off" || errors.Is(why, latchkey.ErrNotYetValid) {
		return own
	}
	switch {
	case errors.Is(why, latchkey.ErrParent):
		return state{w.say("list.refused"), "off", w.rich("list.refused-parent")}
	case errors.Is(why, latchkey.ErrOwnerDisabled):
		return state{w.say("list.refused"), "off", w.rich("list.refused-account")}
	case errors.Is(why, latchkey.ErrRevoked):
		return state{w.say("list.revoked"), "off", w.rich("list.revoked-older")}
	case errors.Is(why, latchkey.ErrExpired):
		return state{w.say("list.expired"), "off", ""}
	}
	return state{w.say("list.refused"), "off", ""}
}

// sparks returns the recent uses of each token of a page, by token, or nil if the person may not see usage.
func (v *view) sparks(rows []row) (map[string]*spark, error) {
	if !v.access.Allows(latchkey.Read, "latchkey/usage") {
		return nil, nil
	}
	out := map[string]*spark{}
	if len(rows) == 0 {
		return out, nil
	}
	ids := make([]string, len(rows))
	first := v.now.AddDate(0, 0, 1-sparkDays)
	for i := range rows {
		ids[i] = rows[i].ID
		out[ids[i]] = &spark{Counts: make([]int64, sparkDays)}
	}
	used, err := v.account.Usage(v.r.Context(), latchkey.UsageQuery{TokenIDs: ids, By: []string{"token", "day"},
		From: first.Format(time.DateOnly), To: v.now.Format(time.DateOnly)})
	if err != nil {
		return nil, err
	}
	for _, u := range used {
		day, err := time.Parse(time.DateOnly, u.Day)
		if s := out[u.TokenID]; s != nil && err == nil {
			if i := int(day.Sub(first.Truncate(24*time.Hour)).Hours() / 24); i >= 0 && i < sparkDays {
				s.Counts[i] += u.Count
			}
		}
	}
	return out, nil
}

// tokensCSV exports the tokens that the list's filters select, in its order.
func (v *view) tokensCSV(string) error {
	l := readListing(v.query).unsaid()
	q, keep := l.query(v.now)
	q.Limit = 1000
	defer v.exporting()()
	var file *csvFile
	begin := func() {
		if file == nil {
			file = v.newCSV("tokens", "id", "kind", "test", "name", "token", "client", "client_name", "origin", "parent",
				"state",
				"created", "last_used", "not_before", "not_after", "idle_end", "disabled", "revoked", "reason", "roles")
		}
	}
	for t, err := range v.account.Tokens(v.r.Context(), q) {
		if err != nil && !isDamaged(err) {
			if file == nil {
				return err
			}
			return file.end(err)
		}
		if keep != nil && !keep(&t) {
			continue
		}
		begin()
		test := ""
		if t.Test {
			test = "test"
		}
		disabled := ""
		if t.Disabled {
			disabled = "disabled"
		}
		err := file.line(t.ID, t.Kind.String(), test, t.Name, mask(&t), t.Client.ID, t.Client.Name, t.Origin, t.Parent,
			t.State(v.now).String(), csvTime(t.Created), csvTime(t.Used), csvTime(t.Validity.NotBefore),
			csvTime(t.Validity.NotAfter), csvTime(t.IdleEnd()), disabled, csvTime(t.Revoked), t.Reason,
			strings.Join(t.Roles, " "))
		if err != nil {
			return file.end(err)
		}
	}
	begin()
	return file.end(nil)
}
