package console

import (
	"errors"
	"html/template"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// fact is a restriction or limit that applies to a token, besides rules: its own or one of what it was minted from.
type fact struct {
	Label string
	Text  template.HTML
	Of    string // whose it is; "": the token's own
	Link  string // the page of the token it belongs to
}

// maxFacts bounds the facts of a page, and maxFact the runes of one.
const (
	maxFacts = 24
	maxFact  = 240
)

// facts returns what restricts and limits a token: by the tokens it was minted from, by the owner, and its own if own
// is set.
func (v *view) facts(l *latchkey.Lineage, own bool) (out []fact, more int) {
	of, link := "", ""
	add := func(key string, text template.HTML) {
		if text == "" {
			return
		}
		if len(out) == maxFacts {
			more++
			return
		}
		out = append(out, fact{v.say(key), text, of, link})
	}
	if own {
		v.factsOf(&l.Token, add)
	}
	for i := range l.Ancestors {
		t := &l.Ancestors[i]
		if t.Owner == "" { // only its id may be shown
			of, link = "", ""
			add("facts.more", v.rich("facts.unseen"))
			continue
		}
		of, link = label(t), "token/"+t.ID
		if st := v.words.stateOf(t, v.now); st.Class == "off" {
			text := said(st.Word)
			if st.More != "" {
				text += " " + st.More
			}
			add("facts.state", text)
		}
		v.factsOf(t, add)
		if len(t.Rows) > 0 {
			add("facts.rows", isolated(shorten(rowsText(t.Rows), maxFact)))
		}
	}
	if of, link = "", ""; !l.Ends.IsZero() && !l.Ends.Equal(l.Token.Validity.NotAfter) {
		add("edit.end", v.rich("facts.with-parent", "time", l.Ends))
	}
	of = v.say("facts.account")
	v.limitFacts(l.Limits, add)
	if l.Boundary != nil {
		add("facts.boundary", v.rich("facts.boundary-about"))
	}
	return out, more
}

func (v *view) factsOf(t *latchkey.Token, add func(key string, text template.HTML)) {
	if end := t.Validity.NotAfter; !end.IsZero() {
		add("edit.end", v.words.moment(end))
	}
	if idle := t.Validity.Idle; idle != 0 {
		count, unit := idleText(idle)
		add("edit.idle", v.rich("facts.idle-for", "time", own(v.idleWords(&tokenForm{Idle: count, IdleUnit: unit}))))
	}
	if begin := t.Validity.NotBefore; begin.After(v.now) {
		add("edit.begin", v.words.moment(begin))
	}
	if t.Restrictions.Signed {
		add("edit.signed", v.rich("facts.signed-about"))
	}
	add("edit.domains", isolated(shorten(strings.Join(t.Restrictions.Domains, ", "), maxFact)))
	addresses := strings.Join(strings.Fields(prefixText(t.Restrictions.Addresses)), ", ")
	add("edit.addresses", isolated(shorten(addresses, maxFact)))
	v.limitFacts(t.Limits, add)
}

func (v *view) limitFacts(l latchkey.Limits, add func(key string, text template.HTML)) {
	var quotas []string
	for _, q := range l.Quotas {
		quotas = append(quotas, v.words.quota(q))
	}
	add("facts.credits", isolated(shorten(strings.Join(quotas, "; "), maxFact)))
	if r := l.Rate; r.Count > 0 {
		if r.Burst > 0 {
			add("edit.rate", v.rich("facts.rate-burst", "n", r.Count, "per", v.perWords(r.Per), "burst", r.Burst))
		} else {
			add("edit.rate", v.rich("facts.rate-of", "n", r.Count, "per", v.perWords(r.Per)))
		}
	}
}

// quota returns a quota in words: "100 of “api” in a week from Tuesday".
func (w *Words) quota(q latchkey.Quota) string {
	text := w.say("facts.quota-none")
	if q.Amount > 0 {
		text = w.credits(q.Amount)
	}
	if q.Meter != "" {
		text = w.say("facts.quota-meter", "amount", text, "meter", q.Meter)
	}
	if q.Amount == 0 { // whenever
		return text
	}
	key, from := "facts.quota-minute", ""
	switch anchor := max(q.Anchor, 1); {
	case q.Per == latchkey.Forever:
		key = "facts.quota-forever"
	case q.Per == latchkey.Month && anchor > 1:
		key, from = "facts.quota-month-from", w.number(int64(anchor))
	case q.Per == latchkey.Month:
		key = "facts.quota-month"
	case q.Per == latchkey.Week:
		key, from = "facts.quota-week", strings.Fields(w.source["format.weekdays"])[anchor%7]
	case q.Per == latchkey.Day:
		key = "facts.quota-day"
	case q.Per == latchkey.Hour:
		key = "facts.quota-hour"
	}
	text = w.say(key, "amount", text, "from", from)
	if q.Carry > 0 {
		text = w.say("facts.quota-carry", "amount", text, "carry", q.Carry)
	}
	return text
}

func (v *view) perWords(d time.Duration) own {
	for _, c := range rateUnits {
		if c.Value == d.String() {
			return own(v.say(c.Key))
		}
	}
	return own(v.words.duration(d))
}

// mintedFrom describes the parent of a minted token.
type mintedFrom struct {
	Parent, ParentName string
	Full               bool
}

// minted returns the parent of a token, or nil for a token that was issued.
func (v *view) minted(l *latchkey.Lineage) *mintedFrom {
	t := &l.Token
	if t.Parent == "" {
		return nil
	}
	m := &mintedFrom{Parent: t.Parent, Full: t.Full}
	if len(l.Ancestors) > 0 && l.Ancestors[0].Owner != "" {
		m.ParentName = label(&l.Ancestors[0])
	}
	return m
}

// effects sets the effect of each switch, where it differs from the switch. A role may give a right whose switch is
// off. A later rule, a boundary or a parent may remove one whose switch is on.
func (v *view) effects(t *latchkey.Token, switches []option) error {
	if !ownRights(t) || len(switches) == 0 {
		return nil
	}
	var ask []latchkey.Question
	var of []int // the switch that each question is about
	on, _, _ := v.rights.read(t.Permissions)
	var stored []bool
	for i := range v.rights {
		if g := &v.rights[i]; g.places == nil {
			stored = append(stored, on[i])
			for _, p := range g.pairs("") {
				ask = append(ask, latchkey.Question{Action: p.action, Resource: sampleOf(p.on, "…", t.Client.ID)})
				of = append(of, len(stored)-1)
			}
		}
	}
	answers, err := v.account.Explain(v.r.Context(), t.ID, ask...)
	if errors.Is(err, latchkey.ErrDenied) {
		for i := range switches {
			switches[i].Effect = v.rich("facts.effect-unseen")
		}
		return nil
	}
	if err != nil {
		return err
	}
	all, none := make([]bool, len(stored)), make([]bool, len(stored))
	reason := make([]template.HTML, len(stored))
	for i := range stored {
		all[i], none[i] = true, true
	}
	for i, e := range answers {
		all[of[i]] = all[of[i]] && e.Verdict == "all"
		none[of[i]] = none[of[i]] && e.Verdict == "none"
		if e.Verdict != "all" {
			reason[of[i]] = v.reason(&e, 160)
		}
	}
	for i := range stored {
		switch {
		case !stored[i] && all[i]:
			switches[i].Effect = v.rich("facts.effect-still")
		case !stored[i] && !none[i]:
			switches[i].Effect = v.rich("facts.effect-still-part")
		case stored[i] && none[i]:
			switches[i].Effect = v.rich("facts.effect-not", "reason", reason[i])
		case stored[i] && !all[i]:
			switches[i].Effect = v.rich("facts.effect-part", "reason", reason[i])
		}
	}
	return nil
}
