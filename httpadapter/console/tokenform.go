package console

import (
	"fmt"
	"html/template"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// tokenForm is the form of a token, as it was typed.
type tokenForm struct {
	Version   uint64
	Name      string
	Signed    bool
	On        []bool    // by group of the catalogue; not used for chips
	Chips     selection // values of chips: see chip.value
	AddName   string    // the name of a chip to add
	AddGroups []int
	Roles     selection // ids
	AddRole   string
	Domains   string
	Credits   string
	RateCount string
	RatePer   string // a time.Duration
	RateBurst string
	NotAfter  string
	NotBefore string
	Idle      string // a number of IdleUnit
	IdleUnit  string // a time.Duration
	Addresses string
	MintFrom  string
	Errors    map[string]template.HTML // by field
}

const endLayout = "2006-01-02T15:04:05" // of <input type=datetime-local>, in UTC

func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(endLayout)
}

// idleUnits are the units of an idle limit, the largest first.
var idleUnits = []choice{{Value: "24h0m0s", Key: "edit.days"}, {Value: "1h0m0s", Key: "edit.hours"},
	{Value: "1m0s", Key: "edit.minutes"}, {Value: "1s", Key: "edit.seconds"}}

// idleText returns an idle limit in the largest unit that divides it.
func idleText(idle time.Duration) (count, unit string) {
	if idle == 0 {
		return "", idleUnits[0].Value
	}
	for _, u := range idleUnits {
		if d, _ := time.ParseDuration(u.Value); idle%d == 0 {
			return strconv.FormatInt(int64(idle/d), 10), u.Value
		}
	}
	s := strings.TrimRight(fmt.Sprintf("%d.%09d", idle/time.Second, idle%time.Second), "0")
	return s, time.Second.String()
}

func prefixText(prefixes []netip.Prefix) string {
	var out []string
	for _, p := range prefixes {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, "\n")
}

// parsePrefixes reads addresses and prefixes that are separated by white space. An address alone is a prefix of that
// address.
func (v *view) parsePrefixes(text string) (_ []netip.Prefix, wrong template.HTML) {
	var out []netip.Prefix
	for one := range strings.FieldsSeq(text) {
		p, err := netip.ParsePrefix(one)
		if addr, errAddr := netip.ParseAddr(one); errAddr == nil && addr.Zone() == "" {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, v.rich("edit.bad-address", "typed", shorten(one, 60))
		}
		if err := (latchkey.Restrictions{Addresses: []netip.Prefix{p}}).Validate(nil); err != nil {
			text := err.Error()
			return nil, v.rich("edit.refused-address", "typed", one, "why",
				v.inEnglish(text[strings.LastIndex(text, ": ")+2:]+"."))
		}
		out = append(out, p)
	}
	return out, ""
}

// tokenFormOf returns the form of a token as it is stored. It shows chips from index from on, as many as fit.
func (v *view) tokenFormOf(t *latchkey.Token, from int) *tokenForm {
	e := &tokenForm{Version: t.Version, Name: t.Name, Signed: t.Restrictions.Signed, RatePer: time.Second.String(),
		Domains: strings.Join(t.Restrictions.Domains, "\n"), Addresses: prefixText(t.Restrictions.Addresses),
		MintFrom: prefixText(t.Restrictions.MintFrom), NotAfter: momentText(t.Validity.NotAfter),
		NotBefore: momentText(t.Validity.NotBefore), Errors: map[string]template.HTML{}}
	on, chips, _ := v.rights.read(t.Permissions)
	e.On, e.Chips, e.Roles = on, newSelection(chipValues(chips), from), newSelection(t.Roles, 0)
	if i := v.budget(t.Limits); i >= 0 {
		e.Credits = v.words.creditText(t.Limits.Quotas[i].Amount)
	}
	if r := t.Limits.Rate; r.Count > 0 {
		e.RateCount, e.RatePer = strconv.Itoa(r.Count), r.Per.String()
		if r.Burst > 0 {
			e.RateBurst = strconv.Itoa(r.Burst)
		}
	}
	e.Idle, e.IdleUnit = idleText(t.Validity.Idle)
	return e
}

// budget returns the index of the quota that the form shows: of each meter or of Options.CreditMeter, for the calendar
// month. It returns -1 if there is none. Other quotas are shown, and kept.
func (c *console) budget(l latchkey.Limits) int {
	return slices.IndexFunc(l.Quotas, func(q latchkey.Quota) bool {
		return q.Per == latchkey.Month && q.Anchor <= 1 && (q.Meter == "" || q.Meter == c.opts.CreditMeter)
	})
}

// otherQuotas returns in words what the form does not show.
func (v *view) otherQuotas(l latchkey.Limits) (list []string) {
	shown := v.budget(l)
	for i, q := range l.Quotas {
		if i != shown {
			list = append(list, v.words.quota(q))
		}
	}
	return list
}

// creditText formats millionths as a decimal number.
func creditText(c latchkey.Credits) string {
	s := fmt.Sprintf("%d.%06d", c/1_000_000, c%1_000_000)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// creditText formats credits for a field: with the decimal separator of the language, and without thousands separators.
func (w *Words) creditText(c latchkey.Credits) string {
	return strings.Replace(creditText(c), ".", w.source["format.decimal"], 1)
}

// parseCredits reads what creditText returns, and nothing that could mean another number elsewhere.
func (w *Words) parseCredits(s string) (latchkey.Credits, bool) {
	whole, part, _ := strings.Cut(s, w.source["format.decimal"])
	if len(part) > 6 || len(whole) > 12 || strings.Trim(whole+part, "0123456789") != "" || whole == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", 6-len(part)), 10, 64)
	return latchkey.Credits(n), err == nil
}

func (v *view) readTokenForm() *tokenForm {
	f := v.form
	e := &tokenForm{Name: text(f, "name"), Signed: text(f, "signed") == "on", Domains: text(f, "domains"),
		Credits: text(f, "credits"), RateCount: text(f, "rate"), RatePer: text(f, "per"), RateBurst: text(f, "burst"),
		NotAfter: text(f, "end"), NotBefore: text(f, "begin"), Idle: text(f, "idle"), IdleUnit: text(f, "idleunit"),
		Addresses: text(f, "addresses"), MintFrom: text(f, "mintfrom"), AddName: text(f, "add"), AddRole: text(f, "addrole"),
		Roles: readSelection(f, "role"), Chips: readSelection(f, "chip"), Errors: map[string]template.HTML{}}
	e.Version, _ = strconv.ParseUint(text(f, "version"), 10, 64)
	e.On = make([]bool, len(v.rights))
	for _, x := range texts(f, "right") {
		if i, err := strconv.Atoi(x); err == nil && i >= 0 && i < len(v.rights) && v.rights[i].places == nil {
			e.On[i] = true
		}
	}
	for _, x := range texts(f, "addright") {
		if i, err := strconv.Atoi(x); err == nil && i >= 0 && i < len(v.rights) && v.rights[i].places != nil {
			e.AddGroups = append(e.AddGroups, i)
		}
	}
	return e
}

// addChips adds the chips whose names are typed beside the chips, one on each line.
func (v *view) addChips(e *tokenForm) {
	if e.AddName == "" {
		return
	}
	if len(e.AddGroups) == 0 {
		e.Errors["add"] = v.rich("edit.add-what")
		return
	}
	for line := range strings.Lines(e.AddName) { // the form of a new token takes several
		name := strings.TrimSpace(line)
		for _, i := range e.AddGroups {
			if name == "" {
				continue
			}
			on, err := v.rights[i].fill(name)
			if err != nil {
				e.Errors["add"] = v.rich("edit.add-form", "form", v.rights[i].hint())
				return
			}
			e.Chips.add(chip{i, on}.value())
		}
	}
	e.AddName, e.AddGroups = "", nil
}

// apply writes the form into the token, and sets e.Errors for invalid fields. What the form does not show, and what
// was not changed in it, stays exactly as it was.
func (v *view) apply(e *tokenForm, t *latchkey.Token) {
	s := &t.Settings
	was := v.tokenFormOf(t, 0)
	if e.Name != asSent(was.Name, true) {
		s.Name = e.Name
	}
	if len(e.Name) > 256 {
		e.Errors["name"] = v.rich("new.name-long", "n", 256)
	}
	s.Restrictions.Signed = e.Signed
	if ownRights(t) {
		_, stored, _ := v.rights.read(s.Permissions)
		s.Permissions = v.rights.write(s.Permissions, e.On, v.rights.chips(e.Chips.applyTo(chipValues(stored))))
		s.Roles = e.Roles.applyTo(s.Roles)
	}
	if domains := strings.Fields(e.Domains); !slices.Equal(domains, s.Restrictions.Domains) {
		s.Restrictions.Domains = domains
		for _, d := range domains {
			if err := (latchkey.Restrictions{Domains: []string{d}}).Validate(nil); err != nil {
				e.Errors["domains"] = v.errorText(err)
				break
			}
		}
	}
	v.applyPrefixes(e, "addresses", e.Addresses, &s.Restrictions.Addresses)
	v.applyPrefixes(e, "mintfrom", e.MintFrom, &s.Restrictions.MintFrom)
	if e.Credits != was.Credits {
		n, ok := v.words.parseCredits(e.Credits)
		i := v.budget(s.Limits)
		quotas := slices.Clone(s.Limits.Quotas)
		switch {
		case e.Credits != "" && !ok:
			e.Errors["credits"] = v.rich("edit.bad-credits", "example", v.words.creditText(1_500_000_000))
		case e.Credits != "" && i >= 0:
			quotas[i].Amount = n
		case e.Credits != "":
			quotas = append(quotas, latchkey.Quota{Amount: n, Per: latchkey.Month})
		case i >= 0:
			quotas = slices.Delete(quotas, i, i+1)
		}
		s.Limits.Quotas = quotas
	}
	v.applyRate(e, was, s)
	v.applyValidity(e, was, t)
}

func (v *view) applyPrefixes(e *tokenForm, field, typed string, stored *[]netip.Prefix) {
	if strings.Join(strings.Fields(typed), "\n") == prefixText(*stored) {
		return
	}
	list, wrong := v.parsePrefixes(typed)
	if wrong != "" {
		e.Errors[field] = wrong
		return
	}
	*stored = list
}

func (v *view) applyRate(e, was *tokenForm, s *latchkey.Settings) {
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
		e.Errors["rate"] = v.rich("edit.bad-rate")
		return
	}
	s.Limits.Rate = latchkey.Rate{Count: count, Per: per, Burst: burst}
}

func (v *view) applyValidity(e, was *tokenForm, t *latchkey.Token) {
	valid := &t.Validity
	if e.NotBefore != was.NotBefore {
		begin, ok := parseMoment(e.NotBefore)
		if valid.NotBefore = begin; !ok {
			e.Errors["begin"] = v.rich("edit.bad-moment", "example", "2026-12-31T18:00")
		}
	}
	if e.NotAfter != was.NotAfter {
		end, ok := parseMoment(e.NotAfter)
		valid.NotAfter = end
		switch {
		case !ok:
			e.Errors["end"] = v.rich("edit.bad-moment", "example", "2026-12-31T18:00")
		case end.IsZero() && (t.Kind == latchkey.KindSession || t.Kind == latchkey.KindAccess):
			e.Errors["end"] = v.rich("edit.must-end")
		case !end.IsZero() && !end.After(v.now):
			e.Errors["end"] = v.rich("edit.past")
		}
	}
	if end := valid.NotAfter; !end.IsZero() && !valid.NotBefore.Before(end) && e.Errors["begin"] == "" &&
		e.Errors["end"] == "" &&
		(e.NotBefore != was.NotBefore || e.NotAfter != was.NotAfter) {
		e.Errors["begin"] = v.rich("edit.end-before")
	}
	if e.Idle != was.Idle || e.Idle != "" && e.IdleUnit != was.IdleUnit {
		unit, err := time.ParseDuration(e.IdleUnit)
		n, errN := strconv.ParseInt(e.Idle, 10, 64)
		switch {
		case e.Idle == "":
			valid.Idle = 0
		case err != nil || errN != nil || n <= 0 || unit <= 0 || n > int64(100*366*24*time.Hour/unit):
			e.Errors["idle"] = v.rich("edit.bad-idle")
		default:
			valid.Idle = time.Duration(n) * unit
		}
	}
}

// parseMoment reads a day and a time in UTC. "" is the zero time.
func parseMoment(s string) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	for _, layout := range []string{endLayout, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
