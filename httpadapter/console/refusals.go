package console

import (
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// refusedReason is how often tokens were refused for a reason.
type refusedReason struct {
	Reason, About string
	Count         int64
	Last          string // the last day
	Width         int
}

// refusals are what was refused in a range.
type refusals struct {
	Reasons []refusedReason
	Tokens  []share // those refused most; nil on the page of a token
	More    int     // tokens
	Sum     int64
}

// refusals returns what was refused in a range. It is nil for a client: refusals are counted by token.
func (v *view) refusals(r *usageRange) (*refusals, error) {
	if r.Client != "" {
		return nil, nil
	}
	q := latchkey.RefusalQuery{From: r.From(), To: r.To(), By: []string{"reason", "day"}}
	if r.Token != "" {
		q.TokenIDs = []string{r.Token}
	}
	rows, err := v.account.RefusalReport(v.r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := &refusals{}
	for _, x := range rows {
		i := slices.IndexFunc(out.Reasons, func(y refusedReason) bool { return y.Reason == x.Reason })
		if i < 0 {
			i = len(out.Reasons)
			out.Reasons = append(out.Reasons, refusedReason{Reason: x.Reason})
		}
		y := &out.Reasons[i]
		y.Count, y.Last = y.Count+x.Count, max(y.Last, x.Day)
		out.Sum += x.Count
	}
	slices.SortStableFunc(out.Reasons, func(a, b refusedReason) int { return int(min(1, max(-1, b.Count-a.Count))) })
	for i := range out.Reasons {
		x := &out.Reasons[i]
		x.Width = int(100 * float64(x.Count) / float64(max(out.Sum, 1)))
		x.Reason, x.About = v.refusalWords(x.Reason)
		if d, err := time.Parse(time.DateOnly, x.Last); err == nil {
			x.Last = v.words.dated("format.date", d)
		}
	}
	if r.Token != "" || out.Sum == 0 {
		return out, nil
	}
	q.By = []string{"token"}
	if rows, err = v.account.RefusalReport(v.r.Context(), q); err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b latchkey.RefusalCount) int { return int(min(1, max(-1, b.Count-a.Count))) })
	if len(rows) > maxShares {
		out.More, rows = len(rows)-maxShares, rows[:maxShares]
	}
	var ids []string
	for _, x := range rows {
		ids = append(ids, x.TokenID)
	}
	named, err := v.tokensByID(ids)
	if err != nil {
		return nil, err
	}
	for _, x := range rows {
		s := share{Text: x.TokenID, Count: x.Count, Width: int(100 * float64(x.Count) / float64(out.Sum))}
		if t, ok := named[x.TokenID]; ok {
			s.Text, s.Link = label(&t), "token/"+x.TokenID+"/usage"+r.link("")
		}
		out.Tokens = append(out.Tokens, s)
	}
	return out, nil
}

// refusalReasons are what the values of latchkey.Refusal.Reason are called, and what to do.
var refusalReasons = map[string][2]string{
	"foreign_owner":      {"refused.foreign", "refused.foreign-about"},
	"test_mode":          {"refused.test", "refused.test-about"},
	"rotated":            {"refused.rotated", "refused.rotated-about"},
	"owner_disabled":     {"refused.account", "refused.account-about"},
	"disabled":           {"refused.disabled", "refused.disabled-about"},
	"revoked":            {"refused.revoked", "refused.revoked-about"},
	"not_yet_valid":      {"refused.not-yet", "refused.not-yet-about"},
	"expired":            {"refused.expired", "refused.expired-about"},
	"parent":             {"refused.parent", "refused.parent-about"},
	"signature_required": {"refused.unsigned", "refused.unsigned-about"},
	"signature":          {"refused.signature", "refused.signature-about"},
	"replay":             {"refused.replay", "refused.replay-about"},
	"referer":            {"refused.referer", "refused.referer-about"},
	"address":            {"refused.address", "refused.address-about"},
	"rate_limited":       {"refused.rate", "refused.rate-about"},
	"denied":             {"refused.denied", "refused.denied-about"},
	"over_limit":         {"refused.credits", "refused.credits-about"},
	"too_many":           {"refused.too-many", "refused.too-many-about"},
	"deleted":            {"refused.deleted", "refused.deleted-about"},
	"unaccepted":         {"refused.unaccepted", "refused.unaccepted-about"},
	"invalid":            {"refused.invalid", "refused.invalid-about"},
}

func (v *view) refusalWords(reason string) (name, about string) {
	keys, ok := refusalReasons[reason]
	if !ok {
		return reason, ""
	}
	return v.say(keys[0]), v.say(keys[1])
}
