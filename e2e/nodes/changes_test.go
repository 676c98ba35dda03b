package nodes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// target is what processes verify while one of them changes something about it.
type target struct {
	Change, Owner   string
	Secret          string
	TokenID, RoleID string // what is changed
	Base            string // a role that RoleID inherits
}

// answer is what a caller with the target's secret gets: "yes", "no", "over limit", or the refusal.
func (x *target) answer(ctx context.Context, keys *latchkey.Manager) (string, error) {
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: x.Secret, Address: netip.MustParseAddr("192.0.2.1")})
	if errors.Is(err, latchkey.ErrInvalidToken) || errors.Is(err, latchkey.ErrRateLimited) {
		return errorKind(err), nil
	}
	if err != nil {
		return "", err
	}
	if !access.Allows(latchkey.Read, "dataset/orders") {
		return "no", nil
	}
	if _, limited := access.Rate(); limited {
		return latchkey.ErrRateLimited.Error(), nil // the rate itself counts on each node alone
	}
	if x.Change != "the credit limit" {
		return "yes", nil
	}
	hold, err := access.Reserve(ctx, "calls", "GET /", 50)
	if errors.Is(err, latchkey.ErrOverLimit) {
		return "over limit", nil
	}
	if err != nil {
		return "", err
	}
	return "yes", hold.Settle(ctx, 0)
}

func errorKind(err error) string {
	for _, kind := range []error{latchkey.ErrUnknownToken, latchkey.ErrExpired, latchkey.ErrNotYetValid,
		latchkey.ErrRevoked, latchkey.ErrDisabled, latchkey.ErrParent, latchkey.ErrOwnerDisabled,
		latchkey.ErrSignatureRequired, latchkey.ErrReferer, latchkey.ErrAddress, latchkey.ErrRateLimited} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return err.Error()
}

// nodeChange is something that one process does and all others must obey.
type nodeChange struct {
	name  string
	after string        // the answer from then on; before it is "yes"
	late  time.Duration // when the change itself says that it holds later
	// prepare changes what was made for the test: a KindAPIKey with a role that inherits another, both of which allow
	// reading, and 100 credits. Nil: it will do.
	prepare func(ctx context.Context, keys *latchkey.Manager, x *target) error
	do      func(ctx context.Context, acme latchkey.Account, x *target) error
}

const soon = 60 * time.Millisecond

var (
	mayRead = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}
	mayNot  = latchkey.Permissions{latchkey.Deny(latchkey.Any).On("dataset/*")}
)

func updated(edit func(*latchkey.Token)) func(context.Context, latchkey.Account, *target) error {
	return func(ctx context.Context, acme latchkey.Account, x *target) error {
		_, err := acme.Update(ctx, x.TokenID, func(t *latchkey.Token) error { edit(t); return nil })
		return err
	}
}

func configured(edit func(*latchkey.Owner)) func(context.Context, latchkey.Account, *target) error {
	return func(ctx context.Context, acme latchkey.Account, _ *target) error {
		return acme.Configure(ctx, func(o *latchkey.Owner) error { edit(o); return nil })
	}
}

func roleUpdated(base bool, edit func(*latchkey.Role)) func(context.Context, latchkey.Account, *target) error {
	return func(ctx context.Context, acme latchkey.Account, x *target) error {
		id := x.RoleID
		if base {
			id = x.Base
		}
		_, err := acme.UpdateRole(ctx, id, func(r *latchkey.Role) error { edit(r); return nil })
		return err
	}
}

func rotated(overlap time.Duration) func(context.Context, latchkey.Account, *target) error {
	return func(ctx context.Context, acme latchkey.Account, x *target) error {
		_, err := acme.Rotate(ctx, x.TokenID, overlap)
		return err
	}
}

func revoked(ctx context.Context, acme latchkey.Account, x *target) error {
	return acme.Revoke(ctx, x.TokenID, "leaked")
}

// minted presents a token that was minted from the one that is changed.
func minted(n latchkey.Narrowing) func(ctx context.Context, keys *latchkey.Manager, x *target) error {
	return func(ctx context.Context, keys *latchkey.Manager, x *target) error {
		access, err := keys.Verify(ctx, latchkey.Presented{Secret: x.Secret})
		if err != nil {
			return err
		}
		n := n
		n.Lifetime = time.Hour
		_, child, err := access.Mint(ctx, n)
		x.Secret = child.Reveal()
		return err
	}
}

// mintedWithRole presents a token minted with a role by one that may do everything, and has no role itself.
func mintedWithRole(ctx context.Context, keys *latchkey.Manager, x *target) error {
	_, all, err := keys.For(x.Owner).Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	if err != nil {
		return err
	}
	if err := keys.For(x.Owner).Delete(ctx, x.TokenID); err != nil {
		return err
	}
	x.Secret = all.Reveal()
	return minted(latchkey.Narrowing{Roles: []string{x.RoleID}})(ctx, keys, x)
}

var nodeChanges = []nodeChange{
	{name: "revoked", after: latchkey.ErrRevoked.Error(), do: revoked},
	{name: "its parent revoked", after: latchkey.ErrParent.Error(), prepare: minted(latchkey.Narrowing{}), do: revoked},
	{name: "deleted", after: latchkey.ErrUnknownToken.Error(),
		do: func(ctx context.Context, acme latchkey.Account, x *target) error { return acme.Delete(ctx, x.TokenID) }},
	{name: "its parent deleted", after: latchkey.ErrUnknownToken.Error(), prepare: minted(latchkey.Narrowing{}),
		do: func(ctx context.Context, acme latchkey.Account, x *target) error { return acme.Delete(ctx, x.TokenID) }},
	{name: "disabled", after: latchkey.ErrDisabled.Error(), do: updated(func(t *latchkey.Token) { t.Disabled = true })},
	{name: "its parent disabled", after: latchkey.ErrParent.Error(), prepare: minted(latchkey.Narrowing{}),
		do: updated(func(t *latchkey.Token) { t.Disabled = true })},
	{name: "its own rules", after: "no", do: updated(func(t *latchkey.Token) { t.Permissions = mayNot })},
	{name: "its parent's rules", after: "no", prepare: minted(latchkey.Narrowing{}),
		do: updated(func(t *latchkey.Token) { t.Permissions = mayNot })},
	{name: "its roles", after: "no", do: updated(func(t *latchkey.Token) { t.Roles = nil })},
	{name: "a role", after: "no", do: roleUpdated(false, func(r *latchkey.Role) { r.Permissions = mayNot })},
	{name: "what a role inherits", after: "no", do: roleUpdated(false, func(r *latchkey.Role) { r.Inherits = nil })},
	{name: "an inherited role", after: "no", do: roleUpdated(true, func(r *latchkey.Role) { r.Permissions = mayNot })},
	{name: "a role deleted", after: "no", prepare: mintedWithRole,
		do: func(ctx context.Context, acme latchkey.Account, x *target) error {
			return acme.DeleteRole(ctx, x.RoleID)
		}},
	{name: "rotated", after: latchkey.ErrUnknownToken.Error(), do: rotated(0)},
	{name: "rotated, with an overlap", after: latchkey.ErrExpired.Error(), late: soon, do: rotated(soon)},
	{name: "its end", after: latchkey.ErrExpired.Error(), late: soon,
		do: updated(func(t *latchkey.Token) { t.Validity.NotAfter = time.Now().Add(soon) })},
	{name: "its end, long past", after: latchkey.ErrExpired.Error(),
		do: updated(func(t *latchkey.Token) { t.Validity.NotAfter = time.Now().Add(-time.Hour) })},
	{name: "its parent's end", after: latchkey.ErrParent.Error(), late: soon, prepare: minted(latchkey.Narrowing{}),
		do: updated(func(t *latchkey.Token) { t.Validity.NotAfter = time.Now().Add(soon) })},
	{name: "its beginning", after: latchkey.ErrNotYetValid.Error(),
		do: updated(func(t *latchkey.Token) { t.Validity.NotBefore = time.Now().Add(time.Hour) })},
	{name: "the credit limit", after: "over limit",
		do: updated(func(t *latchkey.Token) { t.Limits.Quotas = world.Monthly(49) })},
	{name: "the rate", after: latchkey.ErrRateLimited.Error(),
		do: updated(func(t *latchkey.Token) { t.Limits.Rate = latchkey.Rate{Count: 1, Per: time.Hour} })},
	{name: "addresses", after: latchkey.ErrAddress.Error(), do: updated(func(t *latchkey.Token) {
		t.Restrictions.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})},
	{name: "domains", after: latchkey.ErrReferer.Error(),
		do: updated(func(t *latchkey.Token) { t.Restrictions.Domains = []string{"example.com"} })},
	{name: "signed requests", after: latchkey.ErrSignatureRequired.Error(),
		do: updated(func(t *latchkey.Token) { t.Restrictions.Signed = true })},
	{name: "the owner disabled", after: latchkey.ErrOwnerDisabled.Error(),
		do: configured(func(o *latchkey.Owner) { o.Disabled = true })},
	{name: "the owner's boundary", after: "no",
		do: configured(func(o *latchkey.Owner) { o.Boundary = latchkey.Permissions{} })},
	{name: "the owner's NotBefore", after: latchkey.ErrRevoked.Error(),
		do: configured(func(o *latchkey.Owner) { o.NotBefore = time.Now() })},
	{name: "the owner's rate", after: latchkey.ErrRateLimited.Error(),
		do: configured(func(o *latchkey.Owner) { o.Limits.Rate = latchkey.Rate{Count: 1, Per: time.Hour} })},
	{name: "the owner erased", after: latchkey.ErrUnknownToken.Error(),
		do: func(ctx context.Context, acme latchkey.Account, _ *target) error { return acme.Erase(ctx) }},
}

func nodeChangeNamed(name string) (*nodeChange, error) {
	for i := range nodeChanges {
		if nodeChanges[i].name == name {
			return &nodeChanges[i], nil
		}
	}
	return nil, fmt.Errorf("no change is called %q", name)
}

// newTarget makes what a change is made to.
func newTarget(ctx context.Context, keys *latchkey.Manager, change, owner string) (target, error) {
	x := target{Change: change, Owner: owner}
	c, err := nodeChangeNamed(change)
	if err != nil {
		return x, err
	}
	acme := keys.For(owner)
	base, err := acme.CreateRole(ctx, latchkey.Role{Name: "base", Permissions: mayRead})
	if err != nil {
		return x, err
	}
	role, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Inherits: []string{base.ID}})
	if err != nil {
		return x, err
	}
	token, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{role.ID}, Limits: latchkey.Limits{Quotas: world.Monthly(1_000_000)}})
	if err != nil {
		return x, err
	}
	x.Secret, x.TokenID, x.RoleID, x.Base = secret.Reveal(), token.ID, role.ID, base.ID
	if c.prepare != nil {
		err = c.prepare(ctx, keys, &x)
	}
	return x, err
}
