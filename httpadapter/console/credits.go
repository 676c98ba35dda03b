package console

import (
	"slices"
	"time"

	"github.com/latchkey-go/latchkey"
)

// balance is what is taken of a quota, as a page shows it.
type balance struct {
	Quota  string // in words
	Meter  string
	Taken  latchkey.Credits // of this period's
	Of     latchkey.Credits
	Left   latchkey.Credits // with what is carried
	Resets time.Time        // zero: never
	Width  int              // percent
	Whose  string           // "": the token's own, or the account's
	Shared bool             // it is the account's
	Link   string           // the page of the token it belongs to
}

// maxBalances bounds the balances of a page.
const maxBalances = 24

// balances returns the credits of a token, or of the account, against their limits. Meters are those that were used.
func (v *view) balances(t *latchkey.Token, meters []string) (out []balance, err error) {
	id := ""
	if t != nil {
		id = t.ID
	}
	if v.opts.CreditMeter != "" && !slices.Contains(meters, v.opts.CreditMeter) {
		meters = append(meters, v.opts.CreditMeter)
	}
	list, err := v.account.Balances(v.r.Context(), id) // of the meters that quotas name
	if err == nil {
		meters = slices.DeleteFunc(slices.Clone(meters), func(meter string) bool {
			return meter == "" || slices.ContainsFunc(list, func(b latchkey.Balance) bool { return b.Meter == meter })
		})
	}
	if err == nil && len(meters) > 0 {
		var used []latchkey.Balance
		used, err = v.account.Balances(v.r.Context(), id, meters[:min(len(meters), maxBalances)]...)
		list = append(list, used...)
	}
	if isDamaged(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var above []string
	for _, b := range list[:min(len(list), maxBalances)] {
		if b.TokenID != "" && b.TokenID != id {
			above = append(above, b.TokenID)
		}
	}
	named, err := v.tokensByID(above)
	if err != nil {
		return nil, err
	}
	for _, b := range list[:min(len(list), maxBalances)] {
		x := balance{Quota: plain(v.words.quota(b.Quota)), Meter: b.Meter, Of: b.Quota.Amount, Left: b.Left, Resets: b.Resets}
		x.Taken = max(x.Of-x.Left, 0)
		if x.Of > 0 {
			x.Width = int(100 * float64(x.Taken) / float64(x.Of))
		}
		switch parent, ok := named[b.TokenID]; {
		case b.TokenID == "":
			x.Shared = true
		case ok:
			x.Whose, x.Link = label(&parent), "token/"+b.TokenID
		}
		out = append(out, x)
	}
	return out, nil
}
