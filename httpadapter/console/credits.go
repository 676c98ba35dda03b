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
	Taken  latchkey.Credits
	Of     latchkey.Credits // with what is carried
	Left   latchkey.Credits
	Resets time.Time // zero: never
	Width  int       // percent
	Whose  string    // "": the token's own
	Link   string    // the page of the token it belongs to
}

// maxBalances bounds the balances of a page.
const maxBalances = 24

// balances returns the credits of a token, or of the account, against their limits. Meters are those that were used.
func (v *view) balances(t *latchkey.Token, meters []string) (out []balance, err error) {
	id := ""
	if t != nil {
		id = t.ID
	}
	if len(meters) == 0 || v.opts.CreditMeter != "" && !slices.Contains(meters, v.opts.CreditMeter) {
		meters = append(meters, v.opts.CreditMeter)
	}
	list, err := v.account.Balances(v.r.Context(), id, meters...)
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
		x := balance{Quota: plain(v.words.quota(b.Quota)), Meter: b.Meter, Taken: b.Taken, Of: b.Quota.Amount + b.Carried,
			Left: b.Left(), Resets: b.Resets}
		if x.Of > 0 {
			x.Width = int(min(100, 100*float64(b.Taken)/float64(x.Of)))
		}
		switch parent, ok := named[b.TokenID]; {
		case b.TokenID == "":
			x.Whose = v.say("facts.account")
		case ok:
			x.Whose, x.Link = label(&parent), "token/"+b.TokenID
		}
		out = append(out, x)
	}
	return out, nil
}
