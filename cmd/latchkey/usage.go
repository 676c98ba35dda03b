package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

var usageCommand = command{
	name:    "usage",
	summary: "show what was counted: calls and credits, or refusals",
	help: `
Sums the usage of an owner: what the application counted and spent. Without -by there is one sum. Days are
in UTC, and both ends count. What is kept by month counts as of the first day of the month. With -refusals
it shows how often tokens were refused, and why. Programs write their counts behind, once a second.`,
	output: `
one line for each row:
  {"owner":"acme","token_id":"…","client_id":"…","meter":"…","endpoint":"…","day":"2026-11-30",
   "count":12,"credits":34000000}, with credits in millionths; what -by does not name is missing
with -refusals: {"token_id":"…","reason":"expired","day":"2026-11-30","count":12}`,
	scope: scopeOwner,
	define: func(f *flags) action {
		from := f.String("from", "", "count from this `day` on (2026-11-30)")
		to := f.String("to", "", "count up to this `day`, included")
		month := f.String("month", "", "count this `month` (2026-11)")
		by := f.Choices("by", "tell counts apart by this", "token", "client", "meter", "endpoint", "day", "reason")
		tokens := f.List("token", "count the token with this `id`")
		meters := f.List("meter", "count this `meter`")
		client := f.String("client", "", "count the client with this `id`")
		refusals := f.Bool("refusals", false, "count refusals")
		asCSV := f.Bool("csv", false, "print CSV")
		return func(ctx context.Context, c *call) error {
			if *asCSV && c.flags.json {
				return usagef("-csv excludes -json")
			}
			if *month != "" {
				first, err := time.Parse("2006-01", *month)
				if err != nil || *from != "" || *to != "" {
					return usagef("-month is a month such as 2026-11, and excludes -from and -to")
				}
				*from, *to = first.Format(time.DateOnly), first.AddDate(0, 1, -1).Format(time.DateOnly)
			}
			account, err := c.account(ctx)
			if err != nil {
				return err
			}
			if *refusals {
				if len(*meters) > 0 || *client != "" {
					return usagef("-refusals excludes -meter and -client")
				}
				return c.refusals(ctx, account, latchkey.RefusalQuery{TokenIDs: *tokens, From: *from, To: *to, By: *by}, *asCSV)
			}
			q := latchkey.UsageQuery{TokenIDs: *tokens, Meters: *meters, ClientID: *client, From: *from, To: *to, By: *by}
			return c.usage(ctx, account, q, *asCSV)
		}
	},
}

// rowsOut prints rows of some columns in one of the forms.
type rowsOut struct {
	row func(v any, values []string) error
	end func() error
}

func (c *call) rowsOut(asCSV bool, header []string) (rowsOut, error) {
	if asCSV {
		out, err := c.csv(header...)
		row := func(_ any, values []string) error { return out.row(values...) }
		return rowsOut{row, func() error { return out.end() }}, err
	}
	for i := range header {
		header[i] = strings.ToUpper(header[i])
	}
	out := c.listing(header...)
	return rowsOut{func(v any, values []string) error {
		cells := make([]cell, len(values))
		for i, value := range values {
			cells[i] = text(value)
		}
		return out.row(v, cells...)
	}, out.end}, nil
}

func (c *call) usage(ctx context.Context, account latchkey.Account, q latchkey.UsageQuery, asCSV bool) error {
	rows, err := account.Usage(ctx, q)
	if err != nil {
		return err
	}
	out, err := c.rowsOut(asCSV, append(append([]string{}, q.By...), "count", "credits"))
	if err != nil {
		return err
	}
	for _, r := range rows {
		var values []string
		for _, by := range q.By {
			values = append(values, map[string]string{"token": r.TokenID, "client": r.ClientID, "meter": r.Meter,
				"endpoint": r.Endpoint, "day": r.Day}[by])
		}
		if err := out.row(r, append(values, strconv.FormatInt(r.Count, 10), creditsText(r.Credits))); err != nil {
			return errors.Join(err, out.end())
		}
	}
	return out.end()
}

// creditsText returns credits with their fraction, as far as there is one.
func creditsText(n latchkey.Credits) string {
	whole, rest := n/latchkey.Credit, n%latchkey.Credit
	if rest == 0 {
		return strconv.FormatInt(int64(whole), 10)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%06d", whole, rest), "0")
}

func (c *call) refusals(ctx context.Context, account latchkey.Account, q latchkey.RefusalQuery, asCSV bool) error {
	if len(q.By) == 0 {
		q.By = []string{"token", "day", "reason"}
	}
	rows, err := account.RefusalReport(ctx, q)
	if err != nil {
		return err
	}
	out, err := c.rowsOut(asCSV, append(append([]string{}, q.By...), "count"))
	if err != nil {
		return err
	}
	for _, r := range rows {
		var values []string
		for _, by := range q.By {
			values = append(values, map[string]string{"token": r.TokenID, "reason": r.Reason, "day": r.Day}[by])
		}
		if err := out.row(r, append(values, strconv.FormatInt(r.Count, 10))); err != nil {
			return errors.Join(err, out.end())
		}
	}
	return out.end()
}
