package latchkey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A stateless token answers as a stored one does that was minted by the same parent at the same time for the same
// Narrowing: about the caller, what it may do, on which rows, what it forces, and whether it is let in. That holds
// after whatever changes of the parent, its roles and the owner, as time passes, and in a process that knew nothing of
// either. The other laws of minted tokens are checked of stored ones.
func TestStatelessTokensAnswerAsStoredOnes(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 15
	}
	outcomes := map[string]int{}
	for seed := range seeds {
		compareStateless(t, seed, outcomes)
	}
	for _, what := range []string{"ok", "parent", "expired", "owner disabled", "revoked", "address", "referer", "rows",
		"all", "forced", "mint refused", "sibling"} {
		found := 0
		for text, n := range outcomes {
			if strings.Contains(text, what) {
				found += n
			}
		}
		require.GreaterOrEqual(t, found, 5, "%s of %v", what, outcomes)
	}
}

func compareStateless(t *testing.T, seed uint64, outcomes map[string]int) {
	random := rand.New(rand.NewPCG(seed, 16))
	chance := func(n int) bool { return random.IntN(n) == 0 }
	w := &world{T: t, ctx: t.Context()}
	w.time.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixMicro())
	store := memstore.New(&memstore.Options{Clock: w.now})
	ring := testKeyring()
	code := []latchkey.Role{{Name: "of code", Permissions: latchkey.Permissions{latchkey.Grant("use").On("d/2")}}}
	manager := func(cached int) *latchkey.Manager {
		m := latchkey.New(store, &latchkey.Options{Clock: w.now, Keyring: ring, CacheTokens: cached, Roles: code})
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		return m
	}
	admin, warm := manager(1000), manager(1000)
	acme := admin.For("acme")
	condition := func() latchkey.Condition {
		leafs := []latchkey.Condition{
			latchkey.Where("region", latchkey.Eq, "EU"), latchkey.Where("owner", latchkey.Eq, latchkey.ClientID),
			latchkey.Where("by", latchkey.In, latchkey.SelfRoles), latchkey.Where("tier", latchkey.Lt, 3),
			latchkey.Where("team", latchkey.Eq, latchkey.Attr("team")), latchkey.Where("root", latchkey.Eq, latchkey.Self),
			latchkey.Where("open", latchkey.Ne, true), latchkey.Where("n", latchkey.In, []any{1, "2", json.Number("0.5")}),
			latchkey.Where("gone", latchkey.IsNull, false), latchkey.AllRows,
		}
		c := leafs[random.IntN(len(leafs))]
		switch random.IntN(6) {
		case 0:
			c = latchkey.All(c, leafs[random.IntN(len(leafs))])
		case 1:
			c = latchkey.AnyOf(c, leafs[random.IntN(len(leafs))])
		case 2:
			c = latchkey.Not(c)
		}
		return c
	}
	rules := func(n int) (p latchkey.Permissions) {
		for range n {
			actions := []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, "use", latchkey.Any}
			r := []func(...latchkey.Action) latchkey.RuleStart{latchkey.Allow, latchkey.Grant, latchkey.Deny}[random.IntN(3)](
				actions[random.IntN(len(actions))]).On([]latchkey.Pattern{"*", "d/1", "d/*", "d/2"}[random.IntN(4)])
			if chance(2) {
				if c := condition(); !c.IsNoRows() {
					r = r.Where(c)
				}
			}
			if chance(4) && r.Verb() != latchkey.VerbDeny {
				r = r.Force(map[string]any{"region": []any{"EU", latchkey.ClientID}[random.IntN(2)]})
			}
			p = append(p, r)
		}
		return p
	}
	var roles []string
	for i := range 3 {
		r, err := acme.CreateRole(w.ctx, latchkey.Role{Name: fmt.Sprint("role ", i), Permissions: rules(2)})
		w.ok(err)
		roles = append(roles, r.ID)
	}
	roles = append(roles, latchkey.CodeRoleID("of code"))
	some := func() (out []string) {
		for _, r := range roles {
			if chance(2) {
				out = append(out, r)
			}
		}
		return out
	}
	ends := func(of []string) map[string]time.Time {
		if len(of) == 0 || chance(2) {
			return nil
		}
		return map[string]time.Time{of[random.IntN(len(of))]: w.now().Add(time.Duration(1+random.IntN(90)) * time.Minute)}
	}
	restrictions := func() (r latchkey.Restrictions) {
		if chance(5) {
			r.Addresses = []netip.Prefix{netip.MustParsePrefix([]string{"10.0.0.0/8", "2001:db8::/32"}[random.IntN(2)])}
		}
		if chance(6) {
			r.Domains = []string{"example.com"}
		}
		return r
	}
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey}
	if chance(3) {
		spec.Kind = latchkey.KindSecret
	}
	if spec.Kind == latchkey.KindAPIKey {
		spec.Roles, spec.Permissions, spec.Restrictions = some(), rules(random.IntN(3)), restrictions()
		spec.RoleEnds = ends(spec.Roles)
	}
	if chance(3) {
		spec.Client = latchkey.Client{ID: "42", Name: "Ada"}
	}
	if chance(2) {
		spec.Attributes = latchkey.Attributes{"team": "red"}
	}
	spec.ChildAttributes = []string{"team", "teams"}
	if chance(3) {
		spec.Validity.NotAfter = w.now().Add(2 * time.Hour)
	}
	if chance(4) {
		spec.Validity.Idle = 40 * time.Minute
	}
	root, secret, err := acme.Issue(w.ctx, spec)
	w.ok(err)
	request := latchkey.Presented{Address: netip.MustParseAddr("10.1.2.3"), Referer: "https://example.com/x"}
	verify := func(m *latchkey.Manager, text string, p latchkey.Presented) (latchkey.Access, error) {
		p.Secret = text
		return m.Verify(w.ctx, p)
	}
	parent, err := verify(warm, secret.Reveal(), request)
	if err != nil {
		return // an address that it does not let in
	}
	if chance(2) { // a chain
		if _, between, err := parent.Mint(w.ctx, latchkey.Narrowing{Lifetime: 90 * time.Minute, Rows: []latchkey.Condition{
			condition()}, RoleEnds: nil}); err == nil {
			parent, err = verify(warm, between.Reveal(), request)
			w.ok(err)
		}
	}
	type sibling struct {
		latchkey.Token
		text string
	}
	type pair struct {
		stored, stateless     latchkey.Token
		storedText, otherText string
		fresh                 []sibling // with the same rights, and not presented yet
	}
	var pairs []pair
	for range 4 {
		n := latchkey.Narrowing{Lifetime: time.Duration(10+random.IntN(120)) * time.Minute, Restrictions: restrictions()}
		if chance(2) {
			n.Name, n.Origin, n.Extra = "Ada's page", "x", json.RawMessage(`{"a":1}`)
		}
		if chance(2) {
			n.Roles = some()
			n.RoleEnds = ends(n.Roles)
		}
		if chance(3) {
			n.Permissions = rules(1 + random.IntN(2))
		}
		for chance(2) {
			n.Rows = append(n.Rows, condition())
		}
		if chance(3) {
			n.Forced = latchkey.Values{"tier": 2, "note": nil, "by": []any{"x", latchkey.ClientID}[random.IntN(2)],
				"ok": chance(2), "price": json.Number("1.25")}
		}
		if chance(3) {
			n.Client = latchkey.Client{ID: []string{"42", "7", "0198c2a5-7b1e-7c3d-8f00-5a1b2c3d4e5f"}[random.IntN(3)]}
		}
		if chance(3) {
			n.Attributes = latchkey.Attributes{"team": []string{"red", "blue"}[random.IntN(2)]}
		}
		if chance(5) {
			n.Attributes = latchkey.Attributes{"teams": []string{"a", "b"}}
		}
		var p pair
		stored, storedText, errStored := parent.Mint(w.ctx, n)
		n.Stateless = true
		stateless, text, errStateless := parent.Mint(w.ctx, n)
		require.Equal(t, errStored == nil, errStateless == nil, "seed %d: %v, %v", seed, errStored, errStateless)
		if errStored != nil {
			require.Equal(t, errStored.Error(), errStateless.Error())
			outcomes["mint refused"]++
			continue
		}
		p = pair{stored: stored, stateless: stateless, storedText: storedText.Reveal(), otherText: text.Reveal()}
		found, err := acme.Find(w.ctx, p.otherText)
		w.ok(err)
		require.Equal(t, asJSON(t, stateless), asJSON(t, found), "what is found of the text is what Mint returned")
		same := stateless
		same.ID, same.Hint, same.Created = stored.ID, stored.Hint, stored.Created
		require.Equal(t, asJSON(t, stored), asJSON(t, same), "what a mint returns")
		for range 28 { // two for each compare: the rights of the second are mostly known
			n := n
			if chance(3) {
				n.Name, n.Origin = "", "y"
			}
			if chance(3) {
				n.Client = latchkey.Client{ID: []string{"42", "7", "8"}[random.IntN(3)], Name: "Bob"}
			}
			if chance(6) {
				n.Attributes = latchkey.Attributes{"team": []string{"red", "blue"}[random.IntN(2)]}
			}
			n.Lifetime = time.Duration(10+random.IntN(120)) * time.Minute
			if one, text, err := parent.Mint(w.ctx, n); err == nil {
				p.fresh = append(p.fresh, sibling{one, text.Reveal()})
			}
		}
		pairs = append(pairs, p)
	}
	reason := func(err error) string {
		if errors.Is(err, latchkey.ErrUnknownToken) {
			return latchkey.ErrParent.Error() // a stored token goes with its parent
		}
		return err.Error()
	}
	describe := func(a latchkey.Access, err error, id string) string {
		if err != nil {
			require.False(t, a.Allows(latchkey.Read, "d/1"))
			return reason(err)
		}
		require.Equal(t, id, a.TokenID())
		var b strings.Builder
		fmt.Fprintln(&b, "ok", a.Owner(), a.Kind(), a.Test(), a.Name(), string(a.Extra()), a.Ends(), a.Client(), a.Roles(),
			a.RoleNames())
		for _, name := range []string{"team", "teams"} {
			v, ok := a.Attribute(name)
			fmt.Fprintln(&b, name, v, ok)
		}
		for _, action := range []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, "use"} {
			for _, on := range []latchkey.Resource{"d/1", "d/2", "x", "latchkey/token/x"} {
				c, err := a.Filter(action, on)
				fmt.Fprintln(&b, action, on, a.Allows(action, on), c, err)
				switch {
				case err == nil && c.IsAllRows():
					outcomes["all"]++
				case err == nil:
					outcomes["rows"]++
				}
				row, err := a.Prepare(action, on, anySchema, nil, latchkey.Row{"region": "EU", "tier": 1, "owner": "42"})
				fmt.Fprintln(&b, row, err)
				if err == nil && row["tier"] == int64(2) {
					outcomes["forced"]++
				}
			}
		}
		return b.String()
	}
	compare := func(when string) {
		t.Helper()
		cold := manager(1000)
		p := request
		if chance(6) {
			p.Address = netip.MustParseAddr("192.0.2.1")
		}
		if chance(6) {
			p.Referer = "https://evil.example/"
		}
		for i := range pairs {
			one := &pairs[i]
			full, errFull := verify(manager(-1), one.storedText, p)
			want := describe(full, errFull, one.stored.ID)
			for name, m := range map[string]*latchkey.Manager{"warm": warm, "cold": cold, "without a cache": manager(-1)} {
				for range 2 {
					a, err := verify(m, one.otherText, p)
					require.Equal(t, want, describe(a, err, one.stateless.ID), "seed %d, %s, %s\n%+v", seed, name, when, one.stored)
				}
				if a, err := verify(m, one.otherText, p); err == nil {
					again, err := a.Again(w.ctx)
					require.Equal(t, want, describe(again, err, one.stateless.ID), "again, seed %d, %s, %s", seed, name, when)
				}
			}
			for range min(2, len(one.fresh)) {
				n := len(one.fresh)
				next := one.fresh[n-1]
				one.fresh = one.fresh[:n-1]
				a, err := verify(manager(-1), next.text, p)
				want := describe(a, err, next.ID)
				a, err = verify(warm, next.text, p)
				require.Equal(t, want, describe(a, err, next.ID), "seed %d, a sibling, %s\n%+v", seed, when, next.Token)
				if err == nil {
					outcomes["sibling"]++
				}
			}
			if errFull != nil {
				outcomes[reason(errFull)]++
			} else {
				outcomes["ok"]++
			}
		}
	}
	compare("at first")
	for i := range 12 {
		what := random.IntN(12)
		var err error
		switch what {
		case 0:
			_, err = acme.Update(w.ctx, root.ID, func(tok *latchkey.Token) error {
				if tok.Kind != latchkey.KindSecret {
					tok.Permissions, tok.Roles, tok.RoleEnds = rules(random.IntN(3)), some(), nil
				}
				tok.Restrictions = restrictions()
				return nil
			})
		case 1:
			_, err = acme.Update(w.ctx, root.ID, func(tok *latchkey.Token) error { tok.Disabled = !tok.Disabled; return nil })
		case 2, 3:
			_, err = acme.UpdateRole(w.ctx, roles[random.IntN(3)], func(r *latchkey.Role) error {
				if r.Permissions = rules(2); chance(3) {
					r.Inherits = []string{latchkey.CodeRoleID("of code")}
				}
				return nil
			})
		case 4:
			err = acme.Configure(w.ctx, func(o *latchkey.Owner) error {
				o.Disabled = chance(4)
				if o.Boundary = nil; chance(2) {
					o.Boundary = rules(2)
				}
				return nil
			})
		case 5:
			if chance(5) {
				err = acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.NotBefore = w.now(); return nil })
			}
		case 6:
			if chance(8) {
				err = acme.Revoke(w.ctx, parent.TokenID(), "")
			}
		case 7:
			if chance(8) {
				err = acme.Delete(w.ctx, parent.TokenID())
			}
		case 8: // something else of the owner
			_, _, err = acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
		case 9:
			_, err = verify(admin, secret.Reveal(), request) // a use of the root, in another process
		default:
			w.turn(time.Duration(random.IntN(15)) * time.Minute)
		}
		if err != nil {
			outcomes["refused change"]++
		}
		compare(fmt.Sprint("after change ", i, " of kind ", what))
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

var anySchema = latchkey.NewSchema(latchkey.Fields{
	"region": {Column: "region", Type: latchkey.Text}, "owner": {Column: "owner", Type: latchkey.Text},
	"by": {Column: "by", Type: latchkey.Text}, "team": {Column: "team", Type: latchkey.Text},
	"root": {Column: "root", Type: latchkey.Text}, "gone": {Column: "gone", Type: latchkey.Text},
	"note": {Column: "note", Type: latchkey.Text}, "n": {Column: "n", Type: latchkey.Number},
	"tier": {Column: "tier", Type: latchkey.Integer}, "price": {Column: "price", Type: latchkey.Number},
	"open": {Column: "open", Type: latchkey.Boolean}, "ok": {Column: "ok", Type: latchkey.Boolean},
})
