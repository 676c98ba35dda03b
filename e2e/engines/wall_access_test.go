package engines

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/latchkey-go/latchkey"
)

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// accessCalls are made by an Access of the token whose id both owners have.
func accessCalls() map[string]entry {
	type out = *answer
	// plain is an entry of a method that reads what the Access has, and names no record.
	plain := func(do func(x latchkey.Access, n names, o out)) entry {
		return entry{call: func(ctx context.Context, a caller, n names, o out) { do(a.shared, n, o) }}
	}
	shows := func(do func(x latchkey.Access, n names, o out)) entry {
		e := plain(do)
		e.shows = true
		return e
	}
	with := func(shows bool, fails int, do func(ctx context.Context, x latchkey.Access, n names, o out)) entry {
		return entry{shows: shows, fails: fails,
			call: func(ctx context.Context, a caller, n names, o out) { do(ctx, a.shared, n, o) }}
	}
	schema := latchkey.NewSchema(latchkey.Fields{"id": {Column: "id", Type: latchkey.Text}})
	row := latchkey.Row{"id": "1"}
	return map[string]entry{
		"Address":   plain(func(x latchkey.Access, n names, o out) { o.add(x.Address(), nil) }),
		"Again":     with(true, 0, func(ctx context.Context, x latchkey.Access, n names, o out) { o.add(x.Again(ctx)) }),
		"Allows":    plain(func(x latchkey.Access, n names, o out) { o.add(x.Allows(question.Action, "x/any"), nil) }),
		"Attribute": shows(func(x latchkey.Access, n names, o out) { v, ok := x.Attribute("team"); o.add(v, ok, nil) }),
		"AllowsQuestion": plain(func(x latchkey.Access, n names, o out) {
			o.add(x.AllowsQuestion(latchkey.PrepareQuestion(question.Action, question.Resource)), nil)
		}),
		"Balances": with(false, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			b, err := x.Balances(ctx, meter)
			o.add(len(b), err)
			for _, b := range b { // nobody else has spent any of it
				o.add(b.Left, nil)
			}
		}),
		"Check": plain(func(x latchkey.Access, n names, o out) { o.add(nil, x.Check(question.Action, question.Resource)) }),
		"CheckRow": plain(func(x latchkey.Access, n names, o out) {
			o.add(nil, x.CheckRow(question.Action, question.Resource, schema, row))
		}),
		"Client": shows(func(x latchkey.Access, n names, o out) { o.add(x.Client(), nil) }),
		"Count":  plain(func(x latchkey.Access, n names, o out) { x.Count(meter, "GET /", 2, 3); o.add(nil) }),
		"Counter": plain(func(x latchkey.Access, n names, o out) {
			x.Counter(meter, "GET /counter").Add(2, 3)
			o.add(nil)
		}),
		"Covers": with(false, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			o.add(x.Covers(ctx, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}), nil)
		}),
		"Ends":    plain(func(x latchkey.Access, n names, o out) { o.add(x.Ends(), nil) }),
		"Explain": shows(func(x latchkey.Access, n names, o out) { o.add(x.Explain(question.Action, "dataset/a"), nil) }),
		"Extra":   shows(func(x latchkey.Access, n names, o out) { o.add(string(x.Extra()), nil) }),
		"Filter":  plain(func(x latchkey.Access, n names, o out) { o.add(x.Filter(question.Action, question.Resource)) }),
		"Kind":    plain(func(x latchkey.Access, n names, o out) { o.add(x.Kind(), nil) }),
		"LogValue": plain(func(x latchkey.Access, n names, o out) {
			o.add(x.LogValue().String(), nil)
		}),
		"Manager": plain(func(x latchkey.Access, n names, o out) { o.add(x.Manager() != nil, nil) }),
		"Mint": with(true, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			o.add(x.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Roles: []string{n.reader}}))
			o.add(x.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Attributes: latchkey.Attributes{"shift": "1"}}))
		}),
		"MintFor": with(true, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			o.add(x.MintFor(ctx, request(n.request), latchkey.Narrowing{Lifetime: time.Hour}))
		}),
		"Name": plain(func(x latchkey.Access, n names, o out) { o.add(x.Name(), nil) }),
		"Narrow": with(true, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			o.add(x.Narrow(ctx, latchkey.Narrowing{Roles: []string{n.reader}}))
		}),
		"Owner": plain(func(x latchkey.Access, n names, o out) { o.add(x.Owner(), nil) }),
		"Prepare": plain(func(x latchkey.Access, n names, o out) {
			o.add(x.Prepare(question.Action, question.Resource, schema, row, row))
		}),
		"Quotas": plain(func(x latchkey.Access, n names, o out) { o.add(x.Quotas(meter), nil) }),
		"Rate":   plain(func(x latchkey.Access, n names, o out) { r, ok := x.Rate(); o.add(r.Limit, ok, nil) }),
		"Reach": shows(func(x latchkey.Access, n names, o out) {
			list, more, err := x.Reach(latchkey.Read, "x", latchkey.Page{})
			o.add(list, more, err)
		}),
		"Refused": with(false, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			x.Refused(ctx, x.Check(latchkey.Delete, "y"))
			o.add(nil)
		}),
		"Reserve": with(false, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			h, err := x.Reserve(ctx, meter, "GET /", 4)
			o.add(h != nil, err)
			if h != nil {
				o.add(nil, h.Settle(ctx, 2))
			}
		}),
		"Rights": shows(func(x latchkey.Access, n names, o out) { o.add(x.Rights(), nil) }),
		"RightsFor": with(false, 1 /* the token belongs to another client */, func(ctx context.Context, x latchkey.Access,
			n names, o out) {
			o.add(x.RightsFor(ctx, n.client))
			o.add(x.RightsFor(ctx, bothClient))
		}),
		"RoleNames": plain(func(x latchkey.Access, n names, o out) { o.add(x.RoleNames(), nil) }),
		"Roles":     plain(func(x latchkey.Access, n names, o out) { o.add(x.Roles(), nil) }),
		"Spend": with(false, 0, func(ctx context.Context, x latchkey.Access, n names, o out) {
			_, err := x.Spend(ctx, meter, "GET /", 1)
			o.add(nil, err)
		}),
		"String":  plain(func(x latchkey.Access, n names, o out) { o.add(x.String(), nil) }),
		"Test":    plain(func(x latchkey.Access, n names, o out) { o.add(x.Test(), nil) }),
		"Token":   with(true, 0, func(ctx context.Context, x latchkey.Access, n names, o out) { o.add(x.Token(ctx)) }),
		"TokenID": plain(func(x latchkey.Access, n names, o out) { o.add(x.TokenID(), nil) }),
	}
}
