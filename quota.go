package latchkey

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/internal/strictjson"
	"github.com/latchkey-go/latchkey/internal/usage"
)

// Credits is an amount of credits in millionths.
type Credits int64

// Credit is the unit: one credit.
const Credit Credits = 1_000_000

// Period is how long a [Quota] lasts before it begins anew. Periods are in UTC, and follow each other without a gap.
type Period string

// All periods that there are.
const (
	Minute  Period = "minute"
	Hour    Period = "hour"
	Day     Period = "day"
	Week    Period = "week"
	Month   Period = "month"
	Forever Period = "forever" // it never begins anew
)

// Quota bounds the credits that are spent in each Period, exactly, across all processes that share the store. The later
// of the machine's clock and the store's tells which period it is. They agree to within a minute, so two processes may
// be in different periods for that long. Each period has its own Amount all the same.
//
// What is spent is kept by token, meter and period. So a Quota that is changed, or removed and set again, finds what
// was spent in its period under another Amount. What is spent while no quota of a period holds is not kept. Two quotas
// of the same Per and Anchor, one with a Meter and one for each, share what is kept: the smaller Amount and the smaller
// Carry hold.
type Quota struct {
	Meter  string  `json:"meter,omitempty"` // at most 64 bytes; "": each meter has the Amount for itself
	Amount Credits `json:"amount"`          // 0: nothing is left, ever
	Per    Period  `json:"per"`
	// Anchor is the first day of the period: of a Month 1 to 28, of a Week 1 (Monday) to 7. 0 is 1. Others have none.
	Anchor int `json:"anchor,omitempty"`
	// Carry is how much may be added of what the period just before left unspent of its Amount. What was itself carried
	// into that one is not carried on. What the present Amount exceeds the spending of the period before by counts as
	// unspent, and credits that are still reserved count as spent. A token carries from the period in which it was made,
	// and from later ones. An owner's quota carries from the first on. Forever has no Carry.
	Carry Credits `json:"carry,omitempty"`
}

const maxQuotas = 8 // of one Limits

// Limits are amounts that a token or an owner may spend. The zero Limits are none. What a minted token spends counts
// against its own limits, those of each token it was minted from, and its owner's. So a wider limit of its own changes
// nothing.
type Limits struct {
	// Quotas bound what [Access.Spend] and [Access.Reserve] take. All that are for the meter must have room. There may be
	// eight, and two that have the same Meter, Per and Anchor are [ErrInvalid].
	Quotas []Quota
	// Rate bounds how often [Manager.Verify] accepts the token, in each process separately.
	Rate Rate
}

// IsZero reports whether l limits nothing.
func (l Limits) IsZero() bool { return len(l.Quotas) == 0 && l.Rate == Rate{} }

// Equal reports whether l and m are the same limits, in the same order.
func (l Limits) Equal(m Limits) bool {
	return l.Rate == m.Rate && slices.EqualFunc(l.Quotas, m.Quotas, func(p, q Quota) bool {
		p.Anchor, q.Anchor = p.anchor(), q.anchor()
		return p == q
	})
}

// Quota returns the smallest of the quotas that hold for a meter in periods of this length, whatever their Anchor, and
// whether there is one.
func (l Limits) Quota(meter string, per Period) (least Quota, ok bool) {
	for _, q := range l.Quotas {
		if q.Per == per && (q.Meter == "" || q.Meter == meter) && (!ok || q.Amount < least.Amount) {
			least, ok = q, true
		}
	}
	return least, ok
}

// monthly is the form in which earlier versions kept a limit: one quota of each meter for the calendar month.
// noCredits stood for an Amount of 0, because 0 was no limit.
func monthly(amount Credits) Quota { return Quota{Amount: amount, Per: Month} }

const noCredits Credits = math.MinInt64

// limitsJSON is the JSON of Limits.
type limitsJSON struct {
	Credits Credits `json:"credits,omitempty"`
	Quotas  []Quota `json:"quotas,omitempty"`
	Rate    Rate    `json:"rate,omitzero"`
}

// MarshalJSON writes l. A single Quota of each meter for the calendar month is written as "credits", as earlier
// versions did, so that they can read it. They refuse a record with any other quota.
func (l Limits) MarshalJSON() ([]byte, error) {
	out := limitsJSON{Quotas: l.Quotas, Rate: l.Rate}
	if len(l.Quotas) == 1 && l.Quotas[0].Amount >= 0 && l.Quotas[0] == monthly(l.Quotas[0].Amount) {
		out.Quotas, out.Credits = nil, l.Quotas[0].Amount
		if out.Credits == 0 {
			out.Credits = noCredits
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote, and what earlier versions did: "credits" is a quota of each meter for the
// calendar month. A member that is unknown, repeated or written in another case is an error that wraps [ErrInvalid].
func (l *Limits) UnmarshalJSON(data []byte) error {
	var in limitsJSON
	if err := strictjson.Unmarshal(data, &in); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch {
	case in.Credits != 0 && len(in.Quotas) != 0:
		return fmt.Errorf("%w: limits have credits, which is a quota, and quotas: write all as quotas", ErrInvalid)
	case in.Credits == noCredits:
		in.Quotas = []Quota{monthly(0)}
	case in.Credits != 0:
		in.Quotas = []Quota{monthly(in.Credits)} // a negative one is found by check
	}
	*l = Limits{in.Quotas, in.Rate}
	return nil
}

func (l Limits) clone() Limits {
	l.Quotas = slices.Clone(l.Quotas)
	return l
}

func (q *Quota) anchor() int {
	if q.Per == Week || q.Per == Month {
		return max(q.Anchor, 1)
	}
	return q.Anchor
}

// check returns an error for limits that no token can have.
func (l Limits) check() error {
	if len(l.Quotas) > maxQuotas {
		return fmt.Errorf("%w: more than %d quotas", ErrInvalid, maxQuotas)
	}
	for i := range l.Quotas {
		q := &l.Quotas[i]
		if err := q.check(); err != nil {
			return err
		}
		for j := range l.Quotas[:i] {
			if p := &l.Quotas[j]; p.Meter == q.Meter && p.Per == q.Per && p.anchor() == q.anchor() {
				return fmt.Errorf("%w: two quotas of meter %q per %s: keep the smaller one", ErrInvalid, q.Meter, q.Per)
			}
		}
	}
	return l.Rate.check()
}

// checkNew is check for limits that are to be saved.
func (l Limits) checkNew() error {
	if err := l.check(); err != nil {
		return err
	}
	return l.Rate.checkNew()
}

func (q *Quota) check() error {
	anchors := 0
	switch q.Per {
	case Minute, Hour, Day, Forever:
	case Week:
		anchors = 7
	case Month:
		anchors = 28
	case "":
		return fmt.Errorf("%w: Quota.Per is missing: %s", ErrInvalid, periodNames)
	default:
		return fmt.Errorf("%w: Quota.Per %.20q is unknown: %s", ErrInvalid, q.Per, periodNames)
	}
	if err := checkText("Quota.Meter", q.Meter, 0, usage.MaxMeter); err != nil {
		return err
	}
	switch {
	case q.Amount < 0:
		return fmt.Errorf("%w: Quota.Amount is negative: 0 leaves nothing, and without a Quota there is no limit", ErrInvalid)
	case q.Anchor != 0 && anchors == 0:
		return fmt.Errorf("%w: Quota.Anchor of a quota per %s: only a week and a month have one", ErrInvalid, q.Per)
	case q.Anchor < 0 || q.Anchor > anchors:
		return fmt.Errorf("%w: Quota.Anchor %d of a quota per %s: it must be a day from 1 to %d", ErrInvalid, q.Anchor, q.Per,
			anchors)
	case q.Carry < 0:
		return fmt.Errorf("%w: Quota.Carry is negative", ErrInvalid)
	case q.Carry != 0 && q.Per == Forever:
		return fmt.Errorf("%w: Quota.Carry of a quota that never begins anew", ErrInvalid)
	case q.Carry > math.MaxInt64-q.Amount:
		return fmt.Errorf("%w: Quota.Amount and Quota.Carry together are too large", ErrInvalid)
	}
	return nil
}

const periodNames = "write minute, hour, day, week, month or forever"

// within reports whether whoever keeps to q keeps to up, whatever is spent when.
func (q *Quota) within(up *Quota) bool {
	if q.Meter != "" && q.Meter != up.Meter {
		return false
	}
	if q.Amount == 0 {
		return true // nothing is left unspent of it either
	}
	return q.Per == up.Per && q.anchor() == up.anchor() && q.Amount <= up.Amount && q.Amount+q.Carry <= up.Amount+up.Carry
}

// quotasWithin reports whether for each quota of up there is one in any of the lists that is at least as strict.
func quotasWithin(up []Quota, lists ...[]Quota) bool {
	for i := range up {
		strict := func(q Quota) bool { return q.within(&up[i]) }
		if !slices.ContainsFunc(lists, func(list []Quota) bool { return slices.ContainsFunc(list, strict) }) {
			return false
		}
	}
	return true
}

// Rate is Count requests per Per, evenly spaced, with Burst more at once. After a rest 1 + Burst pass together, then
// one each Per/Count, and in no span of Per more than Count + Burst. A Burst of Count − 1 lets a whole Per's worth come
// together. The zero Rate is no limit.
//
// With any field set, Count must be positive, Per a microsecond or more, and Burst not negative. Neither Per nor the
// time a burst takes to come back may exceed 366 days, and at most one request a nanosecond passes. Anything else is
// [ErrInvalid].
type Rate struct {
	Count int           `json:"count,omitempty"`
	Per   time.Duration `json:"per,omitempty"`
	Burst int           `json:"burst,omitempty"`
}

// PerSecond returns the Rate of n requests a second, which may all come together. For n ≤ 0 it is a malformed Rate.
func PerSecond(n int) Rate { return Rate{Count: n, Per: time.Second, Burst: n - 1} }

// PerMinute is PerSecond for a minute.
func PerMinute(n int) Rate { return Rate{Count: n, Per: time.Minute, Burst: n - 1} }
