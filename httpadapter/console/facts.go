package console

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/adapters"
)

// fact is a restriction or limit that applies to a token, besides rules: its own or one of what it was minted from.
type fact struct {
	Label, Text string
	Of          string // whose it is; "": the token's own
	Link        string // the page of the token it belongs to
}

// maxFacts bounds the facts of a page.
const maxFacts = 24

// facts returns what restricts and limits a token: by the tokens it was minted from, by the owner, and its own if own
// is set.
func (v *view) facts(l *latchkey.Lineage, own bool) (out []fact, more int) {
	of, link := "", ""
	add := func(label, text string) {
		if text == "" {
			return
		}
		if len(out) == maxFacts {
			more++
			return
		}
		out = append(out, fact{label, shorten(text, 240), of, link})
	}
	if own {
		v.factsOf(&l.Token, add)
	}
	for i := range l.Ancestors {
		t := &l.Ancestors[i]
		if t.Owner == "" { // only its id may be shown
			of, link = "", ""
			add("More", "a token it was minted from, which you may not see, may restrict it further")
			continue
		}
		of, link = label(t), "token/"+t.ID
		if st := stateOf(t, v.now); st.Class == "off" {
			add("State", strings.TrimSpace(st.Word+" "+st.More))
		}
		v.factsOf(t, add)
		if len(t.Rows) > 0 {
			add("Rows", rowsText(t.Rows))
		}
	}
	if of, link = "", ""; !l.Ends.IsZero() && !l.Ends.Equal(l.Token.Validity.NotAfter) {
		add("Expiry", stamp(l.Ends)+", with the token it was minted from")
	}
	of = "the account"
	limitFacts(l.Limits, add)
	if l.Boundary != nil {
		add("Boundary", "no token may do more than the account as a whole")
	}
	return out, more
}

func (v *view) factsOf(t *latchkey.Token, add func(label, text string)) {
	if end := t.Validity.NotAfter; !end.IsZero() {
		add("Expiry", stamp(end))
	}
	if idle := t.Validity.Idle; idle != 0 {
		count, unit := idleText(idle)
		add("Ends when unused", "for "+idleWords(&tokenForm{Idle: count, IdleUnit: unit}))
	}
	if begin := t.Validity.NotBefore; begin.After(v.now) {
		add("Not before", stamp(begin))
	}
	if t.Restrictions.Signed {
		add("Signed requests", "every request must be signed")
	}
	add("Allowed domains", strings.Join(t.Restrictions.Domains, ", "))
	add("Allowed addresses", strings.Join(strings.Fields(prefixText(t.Restrictions.Addresses)), ", "))
	limitFacts(t.Limits, add)
}

func limitFacts(l latchkey.Limits, add func(label, text string)) {
	var quotas []string
	for _, q := range l.Quotas {
		quotas = append(quotas, quotaWords(q))
	}
	add("Credits", strings.Join(quotas, "; "))
	if r := l.Rate; r.Count > 0 {
		words := fmt.Sprintf("%d requests per %s", r.Count, perWords(r.Per))
		if r.Burst > 0 {
			words += fmt.Sprintf(", and %d more at once", r.Burst)
		}
		add("Rate limit", words)
	}
}

// quotaWords returns a quota in words: "100 of “api” in a week that begins on a Tuesday".
func quotaWords(q latchkey.Quota) string {
	words := "none"
	if q.Amount > 0 {
		words = credits(q.Amount)
	}
	if q.Meter != "" {
		words += " of “" + q.Meter + "”"
	}
	switch anchor := max(q.Anchor, 1); {
	case q.Amount == 0: // whenever
	case q.Per == latchkey.Forever:
		words += " for ever"
	case q.Per == latchkey.Month && anchor > 1:
		words += fmt.Sprintf(" in a month from day %d", anchor)
	case q.Per == latchkey.Month:
		words += " in a calendar month"
	case q.Per == latchkey.Week:
		words += " in a week from " + time.Weekday(anchor%7).String()
	case q.Per == latchkey.Hour:
		words += " in an hour"
	default:
		words += " in a " + string(q.Per)
	}
	if q.Amount > 0 && q.Carry > 0 {
		words += ", with at most " + credits(q.Carry) + " carried over"
	}
	return words
}

func perWords(d time.Duration) string {
	for _, o := range rateUnits {
		if o.Value == d.String() {
			return o.Text
		}
	}
	return d.String()
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
			switches[i].Effect = "A role or a parent that you may not see can change this."
		}
		return nil
	}
	if err != nil {
		return err
	}
	all, none := make([]bool, len(stored)), make([]bool, len(stored))
	reason := make([]string, len(stored))
	for i := range stored {
		all[i], none[i] = true, true
	}
	for i, e := range answers {
		all[of[i]] = all[of[i]] && e.Verdict == "all"
		none[of[i]] = none[of[i]] && e.Verdict == "none"
		if e.Verdict != "all" {
			reason[of[i]] = shorten(adapters.Sentence(roleIDs.ReplaceAllString(e.Reason, "")), 160)
		}
	}
	for i := range stored {
		switch {
		case !stored[i] && all[i]:
			switches[i].Effect = "Still allowed, by its roles or its other rules."
		case !stored[i] && !none[i]:
			switches[i].Effect = "Still allowed in part, by its roles or its other rules."
		case stored[i] && none[i]:
			switches[i].Effect = "Not allowed in effect: " + reason[i]
		case stored[i] && !all[i]:
			switches[i].Effect = "Allowed only in part: " + reason[i]
		}
	}
	return nil
}
