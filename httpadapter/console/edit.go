package console

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// entry is the form of a token, as it was typed.
type entry struct {
	Version   uint64
	Name      string
	Signed    bool
	On        []bool // by group of the catalogue; chips' are not used
	Chips     []chip
	AddName   string // a chip that is being added
	AddGroups []int
	Roles     []string
	Domains   string
	Credits   string
	RateCount string
	RatePer   string // a time.Duration
	RateBurst string
	NotAfter  string
	Errors    map[string]string // by field
}

const endLayout = "2006-01-02T15:04:05" // of <input type=datetime-local>, in UTC

func (c *console) entryOf(t *latchkey.Token) *entry {
	e := &entry{Version: t.Version, Name: t.Name, Signed: t.Restrictions.Signed, Roles: t.Roles,
		Domains: strings.Join(t.Restrictions.Domains, "\n"), RatePer: time.Second.String(), Errors: map[string]string{}}
	e.On, e.Chips, _ = c.rights.read(t.Permissions)
	if t.Limits.Credits > 0 {
		e.Credits = creditText(t.Limits.Credits)
	}
	if r := t.Limits.Rate; r.Count > 0 {
		e.RateCount, e.RatePer = strconv.Itoa(r.Count), r.Per.String()
		if r.Burst > 0 {
			e.RateBurst = strconv.Itoa(r.Burst)
		}
	}
	if end := t.Validity.NotAfter; !end.IsZero() {
		e.NotAfter = end.UTC().Format(endLayout)
	}
	return e
}

// creditText writes millionths as a decimal number.
func creditText(c latchkey.Credits) string {
	s := fmt.Sprintf("%d.%06d", c/1_000_000, c%1_000_000)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func parseCredits(s string) (latchkey.Credits, bool) {
	whole, part, _ := strings.Cut(s, ".")
	if len(part) > 6 || len(whole) > 12 || strings.Trim(whole+part, "0123456789") != "" || whole == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", 6-len(part)), 10, 64)
	return latchkey.Credits(n), err == nil
}

func (v *visit) readEntry() *entry {
	f := v.form
	e := &entry{Name: text(f, "name"), Signed: text(f, "signed") == "on", Domains: text(f, "domains"),
		Credits: text(f, "credits"), RateCount: text(f, "rate"), RatePer: text(f, "per"), RateBurst: text(f, "burst"),
		NotAfter: text(f, "end"), AddName: text(f, "add"), Roles: texts(f, "role"), Errors: map[string]string{}}
	e.Version, _ = strconv.ParseUint(text(f, "version"), 10, 64)
	e.On = make([]bool, len(v.rights))
	for _, x := range texts(f, "right") {
		if i, err := strconv.Atoi(x); err == nil && i >= 0 && i < len(v.rights) && v.rights[i].places == nil {
			e.On[i] = true
		}
	}
	for _, x := range texts(f, "chip") {
		at, on, _ := strings.Cut(x, " ")
		i, err := strconv.Atoi(at)
		if err != nil || i < 0 || i >= len(v.rights) {
			continue
		}
		if _, ok := v.rights[i].named(latchkey.Pattern(on)); ok {
			e.Chips = append(e.Chips, chip{i, latchkey.Pattern(on)})
		}
	}
	for _, x := range texts(f, "addright") {
		if i, err := strconv.Atoi(x); err == nil && i >= 0 && i < len(v.rights) && v.rights[i].places != nil {
			e.AddGroups = append(e.AddGroups, i)
		}
	}
	return e
}

// addChips makes chips of what is typed beside the chips.
func (v *visit) addChips(e *entry) {
	if e.AddName == "" {
		return
	}
	if len(e.AddGroups) == 0 {
		e.Errors["add"] = "Choose what is to be allowed there."
		return
	}
	for _, i := range e.AddGroups {
		on, err := v.rights[i].fill(e.AddName)
		if err != nil {
			e.Errors["add"] = why(err)
			return
		}
		if x := (chip{i, on}); !slices.Contains(e.Chips, x) {
			e.Chips = append(e.Chips, x)
		}
	}
	e.AddName, e.AddGroups = "", nil
}

// apply writes the form into settings, and says in e.Errors what cannot be. What the form does not show, and what was not
// changed in it, stays exactly as it was.
func (v *visit) apply(e *entry, t *latchkey.Token) {
	s := &t.Settings
	was := v.entryOf(t)
	s.Name = e.Name
	if len(e.Name) > 256 {
		e.Errors["name"] = "At most 256 bytes."
	}
	s.Restrictions.Signed = e.Signed
	if t.Kind != latchkey.KindSecret {
		s.Permissions = v.rights.write(s.Permissions, e.On, e.Chips)
		if !slices.Equal(slices.Sorted(slices.Values(s.Roles)), slices.Sorted(slices.Values(e.Roles))) {
			s.Roles = e.Roles
		}
	}
	if domains := strings.Fields(e.Domains); !slices.Equal(domains, s.Restrictions.Domains) {
		s.Restrictions.Domains = domains
		for _, d := range domains {
			if err := (latchkey.Restrictions{Domains: []string{d}}).Validate(nil); err != nil {
				e.Errors["domains"] = why(err)
				break
			}
		}
	}
	if e.Credits != was.Credits {
		n, ok := parseCredits(e.Credits)
		if s.Limits.Credits = n; e.Credits != "" && (!ok || n == 0) {
			e.Errors["credits"] = "A number above 0 with at most six decimals, or nothing for no limit."
		}
	}
	v.applyRate(e, was, s)
	if e.NotAfter != was.NotAfter {
		s.Validity.NotAfter = time.Time{}
		if e.NotAfter != "" {
			end, ok := parseEnd(e.NotAfter)
			switch {
			case !ok:
				e.Errors["end"] = "A day and a time, such as 2026-12-31T18:00."
			case !end.After(v.now):
				e.Errors["end"] = "This is past. To end the token now, revoke it."
			}
			s.Validity.NotAfter = end
		} else if t.Kind == latchkey.KindSession || t.Kind == latchkey.KindAccess {
			e.Errors["end"] = "Tokens of this kind always end."
		}
	}
}

func (v *visit) applyRate(e, was *entry, s *latchkey.Settings) {
	if e.RateCount == was.RateCount && e.RateBurst == was.RateBurst && (e.RatePer == was.RatePer || e.RateCount == "") {
		return
	}
	if e.RateCount == "" && e.RateBurst == "" {
		s.Limits.Rate = latchkey.Rate{}
		return
	}
	count, err := strconv.Atoi(e.RateCount)
	per, errPer := time.ParseDuration(e.RatePer)
	burst := 0
	var errBurst error
	if e.RateBurst != "" {
		burst, errBurst = strconv.Atoi(e.RateBurst)
	}
	if err != nil || count <= 0 || errPer != nil || per <= 0 || errBurst != nil || burst < 0 {
		e.Errors["rate"] = "Whole numbers: how many requests, above 0, and how many more at once."
		return
	}
	s.Limits.Rate = latchkey.Rate{Count: count, Per: per, Burst: burst}
}

func parseEnd(s string) (time.Time, bool) {
	for _, layout := range []string{endLayout, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func (v *visit) edit(id string) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return err
	}
	page := ui{}
	switch text(v.query, "done") {
	case "enabled", "disabled":
		page.Notice = "The token is " + text(v.query, "done") + ", " + v.soon() + "."
	}
	return v.showEdit(http.StatusOK, page, &t, v.entryOf(&t), nil)
}

// save is Done, and the button that adds a chip.
func (v *visit) save(id string) error {
	e := v.readEntry()
	ctx := v.r.Context()
	v.addChips(e)
	if text(v.form, "do") == "add" {
		t, err := v.account.Get(ctx, id)
		if err != nil {
			return err
		}
		page := ui{}
		if len(e.Errors) == 0 {
			page.Notice = "Added to the list below. Press Done to save."
		}
		return v.showEdit(http.StatusOK, page, &t, e, nil)
	}
	_, err := v.account.Update(ctx, id, func(t *latchkey.Token) error {
		if t.Version != e.Version {
			return latchkey.ErrConflict
		}
		added := e.Errors["add"]
		e.Errors = map[string]string{}
		if added != "" {
			e.Errors["add"] = added
		}
		if v.apply(e, t); len(e.Errors) > 0 {
			return errEntry
		}
		return nil
	})
	words := why(err)
	switch {
	case err == nil:
		return v.goTo("?done=saved" + v.back())
	case errors.Is(err, latchkey.ErrConflict):
		return v.conflict(id, e)
	case errors.Is(err, errEntry) || words != "":
		t, errGet := v.account.Get(ctx, id)
		if errGet != nil {
			return errGet
		}
		page := ui{Errors: []string{"Not saved. See what is marked below."}}
		if words != "" {
			page.Errors = []string{"Not saved. " + words}
		}
		return v.showEdit(http.StatusUnprocessableEntity, page, &t, e, nil)
	}
	return err
}

var errEntry = errors.New("console: an entry cannot be saved")

// back is where in the list the page was come to from.
func (v *visit) back() string {
	f := v.form
	if f == nil {
		f = v.query
	}
	if after := text(f, "after"); after != "" && len(after) <= 64 && strings.Trim(after, "0123456789abcdef-") == "" {
		return "&after=" + after
	}
	return ""
}

// difference is a field that somebody else changed since the form was drawn, or that the form changes.
type difference struct{ Field, Theirs, Yours string }

// conflict shows the form as it was typed beside what is stored now. Saving it again is a choice, made knowingly.
func (v *visit) conflict(id string, e *entry) error {
	t, err := v.account.Get(v.r.Context(), id)
	if err != nil {
		return err
	}
	theirs := v.entryOf(&t)
	var all []difference
	add := func(field, a, b string) {
		if a != b {
			all = append(all, difference{field, a, b})
		}
	}
	add("Nickname", theirs.Name, e.Name)
	add("Signed requests", onOff(theirs.Signed), onOff(e.Signed))
	if t.Kind != latchkey.KindSecret {
		for i, g := range v.rights {
			if g.places == nil {
				add(g.Label, onOff(theirs.On[i]), onOff(e.On[i]))
			}
		}
		add("Dataset permissions", v.chipText(theirs.Chips), v.chipText(e.Chips))
		names, _, err := v.roleNames()
		if err != nil {
			return err
		}
		add("Roles", roleText(names, theirs.Roles), roleText(names, e.Roles))
	}
	add("Allowed domains", strings.Join(strings.Fields(theirs.Domains), " "), strings.Join(strings.Fields(e.Domains), " "))
	add("Credit limit", theirs.Credits, e.Credits)
	add("Rate limit", rateText(theirs), rateText(e))
	add("Expiry", theirs.NotAfter, e.NotAfter)
	e.Version = t.Version
	page := ui{Errors: []string{"Somebody else changed this token since you opened it. Nothing was saved and nothing you typed " +
		"is lost: compare, mend the form, and press Done to save it over theirs."}}
	return v.showEdit(http.StatusConflict, page, &t, e, all)
}

func onOff(b bool) string {
	if b {
		return "enabled"
	}
	return "disabled"
}

func (v *visit) chipText(chips []chip) string {
	var out []string
	for _, x := range chips {
		name, _ := v.rights[x.Group].named(x.On)
		out = append(out, name+" – "+v.rights[x.Group].Label)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func rateText(e *entry) string {
	if e.RateCount == "" {
		return ""
	}
	return strings.TrimSpace(e.RateCount + " per " + e.RatePer + " " + e.RateBurst)
}

func roleText(names map[string]string, ids []string) string {
	var out []string
	for _, id := range ids {
		name := names[id]
		if name == "" {
			name = id
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// roleNames are the names of the roles who asks may see, and their ids in order.
func (v *visit) roleNames() (map[string]string, []string, error) {
	names := map[string]string{}
	var ids []string
	for r, err := range v.account.Roles(v.r.Context(), latchkey.RoleQuery{}) {
		if err != nil {
			return nil, nil, err
		}
		names[r.ID] = r.Name
		if ids = append(ids, r.ID); len(ids) == 200 {
			break // what the token has is shown beside these
		}
	}
	return names, ids, nil
}

// option is a checkbox.
type option struct {
	Value, Text, About string
	On                 bool
}

func (v *visit) showEdit(status int, page ui, t *latchkey.Token, e *entry, conflict []difference) error {
	page.Title, page.Nav = label(t), "tokens"
	names, ids, err := v.roleNames()
	if err != nil {
		return err
	}
	var roles, switches, chips, adds []option
	for _, id := range e.Roles {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		name := names[id]
		if name == "" {
			name = id
		}
		roles = append(roles, option{Value: id, Text: name, On: slices.Contains(e.Roles, id)})
	}
	hint := ""
	for i := range v.rights {
		g := &v.rights[i]
		o := option{Value: strconv.Itoa(i), Text: g.Label, About: strings.Join(lines(plain(g.pairs(""))), "; "), On: e.On[i]}
		if g.places == nil {
			switches = append(switches, o)
			continue
		}
		hint = g.hint()
		o.On = slices.Contains(e.AddGroups, i)
		adds = append(adds, o)
	}
	for _, x := range e.Chips {
		name, _ := v.rights[x.Group].named(x.On)
		chips = append(chips, option{Value: strconv.Itoa(x.Group) + " " + string(x.On), Text: name + " – " + v.rights[x.Group].Label, On: true})
	}
	_, _, rest := v.rights.read(t.Permissions)
	pers := []option{{Value: "1s", Text: "second"}, {Value: "1m0s", Text: "minute"}, {Value: "1h0m0s", Text: "hour"}, {Value: "24h0m0s", Text: "day"}}
	if !slices.ContainsFunc(pers, func(o option) bool { return o.Value == e.RatePer }) {
		if d, err := time.ParseDuration(e.RatePer); err == nil {
			pers = append(pers, option{Value: d.String(), Text: d.String()})
		}
	}
	live := t.Revoked.IsZero()
	public := t.Kind == latchkey.KindPublishable
	keyring := v.account.Manager().MayReveal()
	return v.show(status, "edit", page, map[string]any{
		"Token": row{Token: *t, State: stateOf(t, v.now)}, "E": e, "Conflict": conflict,
		"Switches": switches, "Chips": chips, "Adds": adds, "Hint": hint, "Rest": lines(rest), "Roles": roles, "Pers": pers,
		"Secret": t.Kind == latchkey.KindSecret, "After": strings.TrimPrefix(v.back(), "&after="),
		"Soon": v.soon(), "Meter": v.opts.CreditMeter, "MintedRows": rowsText(t.Rows),
		"MayUpdate":  live && v.may(latchkey.Update, "token", t.ID),
		"MayRotate":  live && t.Kind != latchkey.KindAccess && v.may(latchkey.Rotate, "token", t.ID),
		"MayRevoke":  live && v.may(latchkey.Delete, "token", t.ID),
		"MayReveal":  live && keyring && !public && v.may(latchkey.Reveal, "token", t.ID),
		"MaySigning": live && keyring && t.Restrictions.Signed && v.may(latchkey.Reveal, "token", t.ID),
		"Usage":      v.access.Allows(latchkey.Read, "latchkey/usage"),
	})
}

func rowsText(rows []latchkey.Condition) string {
	if len(rows) == 0 {
		return ""
	}
	return latchkey.All(rows...).String()
}

// lines are rules read aloud.
func lines(p latchkey.Permissions) []string {
	var out []string
	for _, r := range p {
		out = append(out, r.String())
	}
	return out
}
