package apperate

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/latchkey-go/latchkey"
)

// serveData reserves the cost of a call, runs the handler, and settles what it actually cost.
func (g *gateway) serveData(w http.ResponseWriter, r *http.Request, c *Call) {
	c.SetCost(g.opts.Cost(c))
	c.reserved = c.cost
	var hold *latchkey.Hold
	if c.reserved.Core > 0 {
		var err error
		if hold, err = c.Access.Reserve(r.Context(), MeterCore, latchkey.Uncounted, c.reserved.Core); err != nil {
			g.writeError(w, r, err)
			return
		}
	}
	m := &meteredWriter{ResponseWriter: w, call: c}
	defer func() { g.settle(r.Context(), c, hold, m.spent()) }() // even if the handler panics
	g.next.ServeHTTP(m, r)
	if !m.sent() {
		m.WriteHeader(http.StatusOK)
	}
}

// settle settles the cost of a call, and counts it. The client may have disconnected by then.
func (g *gateway) settle(ctx context.Context, c *Call, hold *latchkey.Hold, spent Cost) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if hold != nil {
		if err := hold.Settle(ctx, min(spent.Core, c.reserved.Core)); err != nil {
			g.log(ctx, "credits could not be settled", err) // they stay reserved until the reservation expires
		}
	}
	if more := spent.Core - c.reserved.Core; more > 0 {
		_, err := c.Access.Spend(ctx, MeterCore, latchkey.Uncounted, more)
		if errors.Is(err, latchkey.ErrOverLimit) && hold != nil {
			// The data is sent: what is left is spent, and the next request is refused.
			_, err = c.Access.Spend(ctx, MeterCore, latchkey.Uncounted, min(more, hold.Left().Credits))
		}
		if err != nil {
			g.log(ctx, "credits could not be charged", err)
		}
	}
	if c.sentOK() && !c.Access.Test() {
		c.Access.Count(MeterCore, c.endpoint(), 1, spent.Core)
		if spent.Premium > 0 {
			c.Access.Count(MeterPremium, c.endpoint(), 1, spent.Premium)
		}
	}
}

// sentOK reports whether a reply below 300 was begun.
func (c *Call) sentOK() bool { return c.status != 0 && c.status < http.StatusMultipleChoices }

func (c *Call) endpoint() string {
	if c.Endpoint == "" {
		return "OTHER"
	}
	return c.Endpoint
}

// meteredWriter adds the usage headers to successful replies.
type meteredWriter struct {
	http.ResponseWriter
	call *Call
}

func (m *meteredWriter) sent() bool { return m.call.status != 0 }

// spent returns what the call has cost so far: nothing before the reply begins, and nothing for an error.
func (m *meteredWriter) spent() Cost {
	if !m.call.sentOK() {
		return Cost{}
	}
	return m.call.cost
}

func (m *meteredWriter) WriteHeader(status int) {
	if status >= 200 && !m.sent() {
		m.call.status = status
		if m.call.sentOK() {
			h := m.Header()
			for name, c := range map[string]latchkey.Credits{"Messages": m.call.cost.Core, "Credits": m.call.cost.Core,
				"Premium-Messages": m.call.cost.Premium, "Premium-Credits": m.call.cost.Premium} {
				h.Set("Iexcloud-"+name+"-Used", strconv.FormatInt(wholeCredits(c), 10))
			}
		}
	}
	m.ResponseWriter.WriteHeader(status)
}

func (m *meteredWriter) Write(b []byte) (int, error) {
	if !m.sent() {
		m.WriteHeader(http.StatusOK)
	}
	return m.ResponseWriter.Write(b)
}

// FlushError implements flushing for [http.ResponseController]. It sends the headers.
func (m *meteredWriter) FlushError() error {
	if !m.sent() {
		m.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(m.ResponseWriter).Flush()
}

// Unwrap implements unwrapping for [http.ResponseController].
func (m *meteredWriter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

// wholeCredits returns c in whole credits, rounded up.
func wholeCredits(c latchkey.Credits) int64 {
	n := int64(c / latchkey.Credit)
	if c%latchkey.Credit > 0 {
		n++
	}
	return n
}
