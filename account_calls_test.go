package latchkey_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/latchkey-go/latchkey"
)

// refusedAs is nil for an error that is meant to be returned.
func refusedAs(err, meant error) error {
	if errors.Is(err, meant) && !errors.Is(err, latchkey.ErrUnavailable) {
		return nil
	}
	return err
}

// moreTroubles are calls as those of troubles, with what they take beside an id.
func moreTroubles() (calls, steps map[string]func(context.Context, latchkey.Account, *halfway) error) {
	type (
		ctx     = context.Context
		account = latchkey.Account
		world   = *halfway
	)
	noon := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	key := func(change func(*latchkey.Spec)) func(ctx, account, world) error {
		return func(c ctx, a account, _ world) error {
			spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
			change(&spec)
			_, _, err := a.Issue(c, spec)
			return err
		}
	}
	update := func(change func(world, *latchkey.Token)) func(ctx, account, world) error {
		return func(c ctx, a account, w world) error {
			return second(a.Update(c, w.spare, func(t *latchkey.Token) error { change(w, t); return nil }))
		}
	}
	tokens := func(of func(world) latchkey.TokenQuery) func(ctx, account, world) error {
		return func(c ctx, a account, w world) error { return drained(a.Tokens(c, of(w))) }
	}
	verified := func(do func(ctx, latchkey.Access, world) error) func(ctx, account, world) error {
		return func(c ctx, a account, w world) error {
			access, err := a.Verify(c, latchkey.Presented{Secret: w.parentText})
			if err != nil {
				return err
			}
			return do(c, access, w)
		}
	}
	mint := func(n latchkey.Narrowing) func(ctx, account, world) error {
		return verified(func(c ctx, access latchkey.Access, _ world) error {
			_, _, err := access.Mint(c, n)
			return err
		})
	}
	calls = map[string]func(ctx, account, world) error{
		"Issue, a secret key":  key(func(s *latchkey.Spec) { s.Kind = latchkey.KindSecret }),
		"Issue, a test token":  key(func(s *latchkey.Spec) { s.Kind, s.Test = latchkey.KindPublishable, true }),
		"Issue, without roles": key(func(*latchkey.Spec) {}),
		"Issue, all there is": key(func(s *latchkey.Spec) {
			s.Roles, s.RoleEnds = []string{"reader"}, map[string]time.Time{"reader": noon.Add(time.Hour)}
			s.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a").Where(
				latchkey.Where("by", latchkey.Eq, latchkey.ClientID))}
			s.Restrictions = latchkey.Restrictions{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			s.Limits = latchkey.Limits{Quotas: []latchkey.Quota{{Per: latchkey.Day, Amount: 5}}}
			s.Validity = latchkey.Validity{NotAfter: noon.Add(24 * time.Hour), Idle: time.Hour}
			s.Client, s.Attributes = latchkey.Client{ID: "9"}, latchkey.Attributes{"team": "red"}
		}),
		"Issue, what is more than one has": key(func(s *latchkey.Spec) {
			s.Permissions = latchkey.Permissions{latchkey.Grant(latchkey.Any).On("*", "latchkey/*")}
		}),
		"Issue, of an unknown role": func(c ctx, a account, w world) error {
			return refusedAs(key(func(s *latchkey.Spec) { s.Roles = []string{"raeder"} })(c, a, w), latchkey.ErrInvalid)
		},
		"Import": func(c ctx, a account, _ world) error {
			return second(a.Import(c, latchkey.Spec{Kind: latchkey.KindAPIKey}, "key-3b1f6a52c0d94c2e8f7a"))
		},
		"Update, rules": update(func(_ world, t *latchkey.Token) {
			t.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}
		}),
		"Update, limits": update(func(_ world, t *latchkey.Token) {
			t.Limits = latchkey.Limits{Quotas: []latchkey.Quota{{Per: latchkey.Day, Amount: 5}}}
		}),
		"Update, validity": update(func(_ world, t *latchkey.Token) { t.Validity.NotAfter = noon.Add(time.Hour) }),
		"Update, client": func(c ctx, a account, w world) error {
			return refusedAs(update(func(_ world, t *latchkey.Token) { t.Client.ID = "9" })(c, a, w), latchkey.ErrInvalid)
		},
		"Update, name":    update(func(_ world, t *latchkey.Token) { t.Name = "new" }),
		"Update, nothing": update(func(world, *latchkey.Token) {}),
		"Update, a function that fails": func(c ctx, a account, w world) error {
			return refusedAs(second(a.Update(c, w.spare, func(*latchkey.Token) error { return errStop })), errStop)
		},
		"UpdateRole, rules": func(c ctx, a account, w world) error {
			return second(a.UpdateRole(c, w.base, func(r *latchkey.Role) error {
				r.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}
				return nil
			}))
		},
		"UpdateRole, boundary": func(c ctx, a account, w world) error {
			return second(a.UpdateRole(c, w.base, func(r *latchkey.Role) error {
				r.Boundary = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/*")}
				return nil
			}))
		},
		"UpdateRole, name": func(c ctx, a account, w world) error {
			return second(a.UpdateRole(c, w.base, func(r *latchkey.Role) error { r.Name = "new"; return nil }))
		},
		"DeleteRole, in use": func(c ctx, a account, w world) error {
			return refusedAs(a.DeleteRole(c, w.base), latchkey.ErrInUse)
		},
		"DeleteRole, unknown": func(c ctx, a account, w world) error {
			return refusedAs(a.DeleteRole(c, w.spare), latchkey.ErrNotFound)
		},
		"Delete, unknown": func(c ctx, a account, w world) error {
			return refusedAs(a.Delete(c, w.base), latchkey.ErrNotFound)
		},
		"Find, unknown": func(c ctx, a account, _ world) error {
			return refusedAs(second(a.Find(c, "key-0000000000000000000")), latchkey.ErrNotFound)
		},
		"Configure, policy": func(c ctx, a account, _ world) error {
			return a.Configure(c, func(o *latchkey.Owner) error { o.Policy.MintRight = true; return nil })
		},
		"Configure, limits": func(c ctx, a account, _ world) error {
			return a.Configure(c, func(o *latchkey.Owner) error {
				o.Limits = latchkey.Limits{Quotas: []latchkey.Quota{{Per: latchkey.Day, Amount: 5}}}
				return nil
			})
		},
		"RotateWith": func(c ctx, a account, w world) error {
			return second(a.RotateWith(c, w.spare, latchkey.Rotation{}))
		},
		"Tokens, of a role": tokens(func(world) latchkey.TokenQuery { return latchkey.TokenQuery{Role: "reader"} }),
		"Tokens, of a client": tokens(func(world) latchkey.TokenQuery {
			return latchkey.TokenQuery{Client: "7", Order: latchkey.OrderName, Reverse: true}
		}),
		"Tokens, minted": tokens(func(w world) latchkey.TokenQuery { return latchkey.TokenQuery{Parent: w.parent} }),
		"TokensPage, after one": func(c ctx, a account, w world) error {
			first, err := a.TokensPage(c, latchkey.TokenQuery{Page: latchkey.Page{Limit: 1}})
			if err == nil && first.Next != "" {
				_, err = a.TokensPage(c, latchkey.TokenQuery{Page: latchkey.Page{Limit: 2, After: first.Next}})
			}
			return err
		},
		"Events, newest first": func(c ctx, a account, w world) error {
			return drained(a.Events(c, latchkey.EventQuery{Object: w.spare, Reverse: true, Page: latchkey.Page{Limit: 1}}))
		},
		"ExportClient, unknown": func(c ctx, a account, w world) error {
			return refusedAs(a.ExportClient(c, "nobody", io.Discard), latchkey.ErrNotFound)
		},
		"Usage, of a token by day": func(c ctx, a account, w world) error {
			return second(a.Usage(c, latchkey.UsageQuery{TokenIDs: []string{w.parent}, By: []string{"day", "meter"}}))
		},
		"Effects, of a deletion": func(c ctx, a account, w world) error {
			return drained(a.Effects(c, latchkey.Revision{Deleted: []string{w.unused}}))
		},
		"Reading, then more": func(c ctx, a account, w world) error {
			a, err := a.Reading(c)
			if err != nil {
				return err
			}
			if _, err := a.Get(c, w.spare); err != nil {
				return err
			}
			return second(a.CountTokens(c, latchkey.TokenQuery{}, 100))
		},
		"Mint, stateless":   mint(latchkey.Narrowing{Stateless: true, Lifetime: time.Minute}),
		"Mint, a role":      mint(latchkey.Narrowing{Roles: []string{"reader"}, Lifetime: time.Minute}),
		"Mint, of a client": mint(latchkey.Narrowing{Client: latchkey.Client{ID: "9"}, Lifetime: time.Minute}),
		"Mint, with limits": mint(latchkey.Narrowing{Lifetime: time.Minute, Idle: time.Second,
			Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Per: latchkey.Day, Amount: 5}}}}),
		"MintFor": func(c ctx, a account, w world) error {
			access, err := a.Verify(c, latchkey.Presented{Secret: w.parentText})
			if err != nil {
				return err
			}
			_, _, err = access.MintFor(c, latchkey.Request{Key: "k", Content: []byte("b"),
				Until: noon.Add(time.Hour)}, latchkey.Narrowing{Lifetime: time.Minute})
			if repeated := (*latchkey.RepeatedError)(nil); errors.As(err, &repeated) {
				return nil
			}
			return err
		},
		"Narrow and Covers": verified(func(c ctx, access latchkey.Access, _ world) error {
			less, err := access.Narrow(c, latchkey.Narrowing{Roles: []string{"reader"}})
			if err == nil && !access.Covers(c, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/a")}) {
				err = errors.New("it covers less than a rule of its own")
			}
			if err == nil {
				err = less.Check(latchkey.Read, "dataset/a")
			}
			return err
		}),
		"Reserve and settle": verified(func(c ctx, access latchkey.Access, _ world) error {
			hold, err := access.Reserve(c, "api", "GET /", 3)
			if err == nil {
				err = hold.Settle(c, 2)
			}
			return err
		}),
	}
	steps = map[string]func(ctx, account, world) error{
		"RevokeAll, of a role": func(c ctx, a account, _ world) error {
			return second(a.RevokeAll(c, latchkey.Selector{Role: "reader"}, "over"))
		},
		"RevokeAll, all": func(c ctx, a account, _ world) error {
			return second(a.RevokeAll(c, latchkey.Selector{All: true}, "over"))
		},
		"RevokeAll, stateless": func(c ctx, a account, w world) error {
			return second(a.RevokeAll(c, latchkey.Selector{IDs: []string{w.stateless}}, "over"))
		},
		"DisableAll, found": func(c ctx, a account, w world) error {
			return second(a.DisableAll(c, latchkey.Selector{Find: w.spare}, "over"))
		},
		"EditAll, without a role": func(c ctx, a account, _ world) error {
			return second(a.EditAll(c, latchkey.Selector{Client: "7", Kinds: []latchkey.Kind{latchkey.KindAPIKey}},
				latchkey.Edit{DropRoles: []string{"reader"}, NotAfter: noon.Add(time.Hour)}, "over"))
		},
		"EditAll, enabled": func(c ctx, a account, w world) error {
			return second(a.EditAll(c, latchkey.Selector{IDs: []string{w.spare}}, latchkey.Edit{Enable: true}, "over"))
		},
	}
	return calls, steps
}

var errStop = errors.New("the function failed")
