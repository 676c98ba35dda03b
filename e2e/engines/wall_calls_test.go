package engines

import (
	"bytes"
	"context"
	"time"

	"github.com/latchkey-go/latchkey"
)

// entry is what the test calls of one method.
type entry struct {
	// call calls the method with all kinds of names that it takes, and adds what each call returns.
	call func(ctx context.Context, a caller, n names, out *answer)
	// shows says that the answer about the caller's own records shows the caller's canary.
	shows bool
	// fails is how many of the calls about the caller's own records must fail, and why that is so stands beside it.
	fails int
	// differs says why the answer about what is another owner's is not that about what never existed. "": it is.
	differs string
	// counts says why the method counts usage of another owner. "": it does not.
	counts string
	// foreign says why statements of the method find records of another owner. "": none does.
	foreign string
}

const (
	takenText = "whoever has a text learns from Import that it is a token: digests are unique in a feed"
	refused   = "a text that is presented to another owner is refused, and its own owner is told of that"
	byText    = "a text names no owner: its digest is looked up among those of all owners"
)

// question is what every token of the test may do.
var question = latchkey.Question{Action: latchkey.Read, Resource: "dataset/a"}

// selections are the ways in which a Selector names records.
func (n names) selections() []latchkey.Selector {
	return []latchkey.Selector{{IDs: []string{n.token, n.disabled}}, {Client: n.client}, {Parent: n.token},
		{Find: n.canary}, {Client: n.client, After: ""}, {Role: n.reader}}
}

// queries are the ways in which a TokenQuery names records.
func (n names) queries() []latchkey.TokenQuery {
	return []latchkey.TokenQuery{{IDs: []string{n.token, n.minted}}, {Parent: n.token}, {Client: n.client},
		{Search: n.token}, {Find: n.token}, {Role: n.reader}, {}}
}

func rename(t *latchkey.Token) error { t.Name = "renamed"; return nil }

func accountCalls() map[string]entry {
	type out = *answer
	type ctx = context.Context
	narrow := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}
	key := func(edit func(*latchkey.Spec)) latchkey.Spec {
		s := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "new"}
		edit(&s)
		return s
	}
	sweep := func(do func(latchkey.Selector) (latchkey.Swept, error), n names, o out) {
		for _, s := range n.selections() {
			o.add(do(s))
		}
	}
	return map[string]entry{
		"As": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.As(n.access))
		}},
		"Assume": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Assume(latchkey.Client{ID: n.client}, narrow))
		}},
		"AssumeWith": {call: func(c ctx, a caller, n names, o out) {
			x, err := a.AssumeWith(latchkey.Caller{Client: latchkey.Client{ID: n.client}, Rules: narrow})
			o.add(x, err)
			o.add(x.Again(c))
		}},
		"AuditCheckpoint": {call: func(c ctx, a caller, n names, o out) {
			anchor, err := a.AuditCheckpoint(c)
			o.add(anchor.Owner, err)
		}},
		"Balances": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Balances(c, n.token, meter))
			o.add(a.Balances(c, n.minted, meter))
		}},
		"By": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.By(n.client, "test"))
		}},
		"Client":  {call: func(c ctx, a caller, n names, o out) { o.add(a.Client(c, n.client)) }},
		"Clients": {call: func(c ctx, a caller, n names, o out) { o.add(all(a.Clients(c))) }, shows: true},
		"ClientsPage": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.ClientsPage(c, latchkey.Page{}))
		}, shows: true},
		"Configure": {call: func(c ctx, a caller, n names, o out) {
			var seen latchkey.Owner
			err := a.Configure(c, func(r *latchkey.Owner) error { seen, r.Disabled = r.Clone(), false; return nil })
			seen.Version = 0
			o.add(seen, err)
		}, shows: true},
		"CountTokens": {call: func(c ctx, a caller, n names, o out) {
			for _, q := range n.queries() {
				o.add(a.CountTokens(c, q, 0))
			}
		}},
		"CreateRole": {call: func(c ctx, a caller, n names, o out) {
			r, err := a.CreateRole(c, latchkey.Role{Name: "new", Inherits: []string{n.reader}})
			o.add(r, err)
			if err == nil {
				_ = a.DeleteRole(c, r.ID)
			}
		}},
		"Delete": {call: func(c ctx, a caller, n names, o out) {
			o.add(nil, a.Delete(c, n.minted))
			o.add(nil, a.Delete(c, n.token))
			o.add(nil, a.Delete(c, n.public))
		}},
		"DeleteRole": {call: func(c ctx, a caller, n names, o out) {
			o.add(nil, a.DeleteRole(c, n.reader))
			o.add(nil, a.DeleteRole(c, n.spare))
		}, fails: 1 /* one that is in use stays */},
		"DisableAll": {call: func(c ctx, a caller, n names, o out) {
			sweep(func(s latchkey.Selector) (latchkey.Swept, error) { return a.DisableAll(c, s, "over") }, n, o)
		}},
		"EditAll": {call: func(c ctx, a caller, n names, o out) {
			sweep(func(s latchkey.Selector) (latchkey.Swept, error) {
				return a.EditAll(c, s, latchkey.Edit{Enable: true}, "")
			}, n, o)
			o.add(a.EditAll(c, latchkey.Selector{All: true}, latchkey.Edit{AddRoles: []string{n.spare}}, ""))
			o.add(a.EditAll(c, latchkey.Selector{All: true}, latchkey.Edit{DropRoles: []string{n.spare}}, ""))
		}},
		"Effects": {call: func(c ctx, a caller, n names, o out) {
			o.add(all(a.Effects(c, latchkey.Revision{Roles: []latchkey.Role{{ID: n.reader, Name: "reader"}}})))
			o.add(all(a.Effects(c, latchkey.Revision{Deleted: []string{n.spare}})))
			o.add(all(a.Effects(c, latchkey.Revision{Roles: []latchkey.Role{{ID: "new", Name: "new",
				Inherits: []string{n.reader}}}, Deleted: []string{n.reader}})))
		}, shows: true, fails: 1 /* what is deleted cannot be inherited */},
		"EndSecret": {call: func(c ctx, a caller, n names, o out) {
			o.add(nil, a.EndSecret(c, n.token, n.secret, ""))
			own := a.mine.names
			for _, s := range must(a.mine.account.Secrets(c, own.disabled)) {
				o.add(nil, a.EndSecret(c, n.token, s.ID, "")) // the secret of another token
			}
			if n.secret != own.secret {
				o.add(nil, a.EndSecret(c, own.token, n.secret, ""))
			}
		}, fails: 1 /* a secret of another token */},
		"EnsureRole": {call: func(c ctx, a caller, n names, o out) {
			r, changed, err := a.EnsureRole(c, latchkey.Role{Name: "ensured", Inherits: []string{n.reader}})
			o.add(r, changed, err)
			r, changed, err = a.EnsureRole(c, latchkey.Role{Name: "base", Inherits: []string{n.spare}})
			o.add(r, changed, err)
		}},
		"Erase": {call: func(c ctx, a caller, n names, o out) { o.add(nil, a.Erase(c)) }},
		"EraseClient": {call: func(c ctx, a caller, n names, o out) {
			o.add(nil, a.EraseClient(c, n.client))
		}},
		"Events": {call: func(c ctx, a caller, n names, o out) {
			actor := "token:" + n.token
			o.add(all(a.Events(c, latchkey.EventQuery{Object: n.token})))
			o.add(all(a.Events(c, latchkey.EventQuery{Actor: &actor})))
			o.add(all(a.Events(c, latchkey.EventQuery{Page: latchkey.Page{Limit: 3}, Reverse: true})))
		}, shows: true},
		"EventsPage": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.EventsPage(c, latchkey.EventQuery{Object: n.reader}))
			o.add(a.EventsPage(c, latchkey.EventQuery{Action: "token."}))
		}, shows: true},
		"Exceeding": {call: func(c ctx, a caller, n names, o out) { o.add(a.Exceeding().Get(c, n.token)) }, shows: true},
		"Explain": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Explain(c, n.token, question))
			o.add(a.Explain(c, n.minted, question))
		}, shows: true},
		"ExplainRole": {call: func(c ctx, a caller, n names, o out) { o.add(a.ExplainRole(c, n.reader, question)) },
			shows: true},
		"ExplainRoleAs": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.ExplainRoleAs(c, latchkey.Role{ID: n.reader, Name: "reader"}, question))
			o.add(a.ExplainRoleAs(c, latchkey.Role{Name: "new", Inherits: []string{n.reader}}, question))
		}, shows: true},
		"ExplainWith": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.ExplainWith(c, n.token, latchkey.Role{ID: n.reader, Name: "reader"}, question))
			o.add(a.ExplainWith(c, a.mine.token, latchkey.Role{ID: n.reader, Name: "reader"}, question))
		}},
		"ExportClient": {call: func(c ctx, a caller, n names, o out) {
			var b bytes.Buffer
			err := a.ExportClient(c, n.client, &b)
			o.add(b.String(), err)
		}, shows: true},
		"Find": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Find(c, n.text))
			o.add(a.Find(c, n.flash))
		}, shows: true, foreign: byText},
		"FindSecret": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.FindSecret(c, n.text))
			o.add(a.FindSecret(c, n.flash))
		}, shows: true, foreign: byText},
		"ForRequest": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.ForRequest(request(n.request)).Issue(c, key(func(s *latchkey.Spec) {})))
		}, fails: 1 /* a secret is shown once */},
		"Get": {call: func(c ctx, a caller, n names, o out) {
			for _, id := range []string{n.token, n.minted, n.public, n.stateless} {
				o.add(a.Get(c, id))
			}
		}, shows: true, fails: 1 /* a stateless token has no record */},
		"IfVersion": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.IfVersion(99).Update(c, n.token, rename))
			o.add(a.IfVersion(1, 2, 3, 4).UpdateRole(c, n.spare, func(*latchkey.Role) error { return nil }))
		}, shows: true, fails: 1 /* another version */},
		"Import": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Import(c, key(func(s *latchkey.Spec) { s.Roles = []string{n.reader} }), "text of nobody "+n.token))
			o.add(a.Import(c, key(func(s *latchkey.Spec) {}), n.text))
		}, fails: 1 /* it is a token */, differs: takenText, foreign: byText},
		"ImportDigest": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.ImportDigest(c, key(func(s *latchkey.Spec) { s.Roles = []string{n.reader} }),
				latchkey.KeptSecret{SHA256: digest("text of nobody, too " + n.token)}))
			o.add(a.ImportDigest(c, key(func(s *latchkey.Spec) {}), latchkey.KeptSecret{SHA256: digest(n.token)}))
		}, foreign: byText},
		"Issue": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Issue(c, key(func(s *latchkey.Spec) { s.Roles = []string{n.reader} })))
			o.add(a.Issue(c, key(func(s *latchkey.Spec) { s.Client.ID = n.client })))
			o.add(a.Issue(c, key(func(s *latchkey.Spec) { s.ID = n.public })))
		}, fails: 1 /* the id is taken */},
		"Lineage": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Lineage(c, n.token))
			o.add(a.Lineage(c, n.minted))
		}, shows: true},
		"Manager": {call: func(c ctx, a caller, n names, o out) { o.add(a.Manager() == a.site.keys, nil) }},
		"Once": {call: func(c ctx, a caller, n names, o out) {
			o.add(nil, a.Once(c, n.once, time.Now().Add(time.Hour)))
		}, fails: 1 /* it is recorded already */},
		"Owner": {call: func(c ctx, a caller, n names, o out) { o.add(a.Owner(), nil) }},
		"Reading": {call: func(c ctx, a caller, n names, o out) {
			r, err := a.Reading(c)
			o.add(r, err)
			o.add(r.Get(c, n.token))
			o.add(all(r.Roles(c, latchkey.RoleQuery{})))
		}, shows: true},
		"Record": {call: func(c ctx, a caller, n names, o out) { o.add(a.Record(c)) }, shows: true},
		"RefusalReport": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.RefusalReport(c, latchkey.RefusalQuery{TokenIDs: []string{n.disabled}}))
			o.add(a.RefusalReport(c, latchkey.RefusalQuery{}))
		}},
		"Refusals": {call: func(c ctx, a caller, n names, o out) { o.add(a.Refusals(c, n.record)) }},
		"Reveal": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Reveal(c, n.token))
			o.add(a.Reveal(c, n.public))
		}},
		"RevealAll": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.RevealAll(c, n.token, n.minted, n.public))
		}},
		"Revoke": {call: func(c ctx, a caller, n names, o out) {
			o.add(nil, a.Revoke(c, n.stateless, "over"))
			o.add(nil, a.Revoke(c, n.token, "over"))
		}},
		"RevokeAll": {call: func(c ctx, a caller, n names, o out) {
			sweep(func(s latchkey.Selector) (latchkey.Swept, error) { return a.RevokeAll(c, s, "over") }, n, o)
		}},
		"RightsOf": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.RightsOf(c, n.token))
			o.add(a.RightsOf(c, n.minted))
		}, shows: true},
		"Role": {call: func(c ctx, a caller, n names, o out) { o.add(a.Role(c, n.reader)) }, shows: true},
		"RoleLineage": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.RoleLineage(c, n.reader))
		}, shows: true},
		"Roles": {call: func(c ctx, a caller, n names, o out) {
			o.add(all(a.Roles(c, latchkey.RoleQuery{IDs: []string{n.reader, n.spare}})))
			o.add(all(a.Roles(c, latchkey.RoleQuery{Inherits: n.reader})))
			o.add(all(a.Roles(c, latchkey.RoleQuery{})))
		}, shows: true},
		"RolesPage": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.RolesPage(c, latchkey.RoleQuery{IDs: []string{n.reader}}))
			o.add(a.RolesPage(c, latchkey.RoleQuery{Names: []string{"reader"}}))
		}, shows: true},
		"Rotate": {call: func(c ctx, a caller, n names, o out) { o.add(a.Rotate(c, n.token, 0)) }},
		"RotateWith": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.RotateWith(c, n.token, latchkey.Rotation{IfNewest: n.secret}))
			o.add(a.RotateWith(c, n.disabled, latchkey.Rotation{IfNewest: n.secret}))
		}, fails: 2 /* it is not the newest, and it is another token's */},
		"Secrets": {call: func(c ctx, a caller, n names, o out) { o.add(a.Secrets(c, n.token)) }},
		"SeekPage": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.SeekPage(c, latchkey.TokenQuery{Page: latchkey.Page{Limit: 2}}, n.token))
			o.add(a.SeekPage(c, latchkey.TokenQuery{Page: latchkey.Page{Limit: 2}, Client: n.client}, ""))
		}},
		"SigningSecret": {call: func(c ctx, a caller, n names, o out) { o.add(a.SigningSecret(c, n.token)) }},
		"Tokens": {call: func(c ctx, a caller, n names, o out) {
			for _, q := range n.queries() {
				o.add(all(a.Tokens(c, q)))
			}
		}, shows: true},
		"TokensPage": {call: func(c ctx, a caller, n names, o out) {
			for _, q := range n.queries() {
				o.add(a.TokensPage(c, q))
			}
		}, shows: true},
		"Update": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Update(c, n.token, rename))
			o.add(a.Update(c, a.mine.disabled, func(t *latchkey.Token) error { t.Roles = []string{n.spare}; return nil }))
		}, shows: true},
		"UpdateRole": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.UpdateRole(c, n.reader, func(r *latchkey.Role) error { r.Name = "renamed"; return nil }))
			o.add(a.UpdateRole(c, a.mine.reader, func(r *latchkey.Role) error {
				r.Inherits = []string{n.spare}
				return nil
			}))
		}, shows: true},
		"Usage": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Usage(c, latchkey.UsageQuery{TokenIDs: []string{n.token}, By: []string{"endpoint"}}))
			o.add(a.Usage(c, latchkey.UsageQuery{ClientID: n.client, By: []string{"endpoint"}}))
			o.add(a.Usage(c, latchkey.UsageQuery{By: []string{"token", "client", "meter", "endpoint"}}))
		}, shows: true},
		"UsageTotal": {call: func(c ctx, a caller, n names, o out) {
			month := time.Now().UTC().Format("2006-01")
			o.add(a.UsageTotal(c, n.token, meter, month))
			o.add(a.UsageTotal(c, "", "", month))
		}},
		"Verify": {call: func(c ctx, a caller, n names, o out) {
			o.add(a.Verify(c, latchkey.Presented{Secret: n.text}))
			o.add(a.Verify(c, latchkey.Presented{Secret: n.flash}))
		}, shows: true, counts: refused, foreign: byText},
		"VerifyAudit": {call: func(c ctx, a caller, n names, o out) {
			r, err := a.VerifyAudit(c, latchkey.AuditCheck{Anchors: []latchkey.AuditAnchor{n.anchor}})
			o.add(r.Owner, len(r.Faults), r.Proven(), err)
		}},
		"Who": {call: func(c ctx, a caller, n names, o out) {
			o.add(all(a.Who(c, latchkey.Read, latchkey.Resource("x/"+n.canary))))
			o.add(all(a.Who(c, latchkey.Read, "dataset/a")))
		}, shows: true},
		"WhoOf": {call: func(c ctx, a caller, n names, o out) {
			o.add(all(a.WhoOf(c, latchkey.WhoQuery{Action: latchkey.Read, Resource: "dataset/a", Minted: true})))
		}, shows: true},
	}
}
