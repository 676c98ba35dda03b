package latchkey_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	lk "github.com/latchkey-go/latchkey"
)

// What the actors and the host of TestNoEscalationByAnySequence do. Each step takes its numbers from the seed and its
// own number alone. So a sequence stays the same when steps are removed.

func oneOf[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

var (
	euRows    = lk.Where("region", lk.Eq, "EU")
	allKnown  = lk.AnyOf(lk.Where("region", lk.IsNull, true), lk.Where("region", lk.IsNull, false))
	dataOn    = []lk.Pattern{"dataset/x", "dataset/*", "dataset/y", "payroll/x", "payroll/*", "*"}
	adminOn   = []lk.Pattern{"latchkey/token/*", "latchkey/role/*", "latchkey/*", "latchkey/owner"}
	dataDo    = []lk.Action{lk.Read, lk.Create, lk.Update, lk.Delete}
	wholeData = lk.Grant(lk.Any).On("*")
	manages   = lk.Allow(lk.Any).On("latchkey/token/*", "latchkey/role/*", "latchkey/owner")
)

// longLists is conditions whose lists together are too long for one; each alone is fine.
var longLists = func() (list []lk.Condition) {
	for i := range 5 {
		values := make([]int, 1000)
		for j := range values {
			values[j] = i*1000 + j
		}
		list = append(list, lk.Where("k", lk.In, values))
	}
	return list
}()

// manyComparisons is conditions that are together too many comparisons.
var manyComparisons = func() (list []lk.Condition) {
	for i := range 9 {
		parts := []lk.Condition{lk.Where("region", lk.Eq, "US")}
		for j := range 990 {
			parts = append(parts, lk.Where("region", lk.Eq, fmt.Sprint("r", i*1000+j)))
		}
		list = append(list, lk.AnyOf(parts...))
	}
	return list
}()

// deepCondition is as deep as a condition may be.
var deepCondition = func() lk.Condition {
	c := lk.Where("k", lk.Eq, 1)
	for i := range 10 {
		if i%2 == 0 {
			c = lk.All(lk.Where("region", lk.Ne, fmt.Sprint("d", i)), c)
		} else {
			c = lk.AnyOf(lk.Where("region", lk.Eq, fmt.Sprint("d", i)), c)
		}
	}
	return c
}()

func (w *escalation) oversized(r *rand.Rand, do ...lk.Action) (p lk.Permissions) {
	w.exact = false
	on := oneOf(r, lk.Pattern("dataset/x"), "dataset/x", "dataset/*")
	switch r.IntN(6) {
	case 0, 1, 2:
		for _, c := range longLists {
			p = append(p, lk.Grant(do...).On(on).Where(c))
		}
	case 3: // less than too much: two of these are
		at := r.IntN(3)
		for _, c := range longLists[at : at+3] {
			p = append(p, lk.Grant(do...).On(on).Where(c))
		}
	case 4:
		for _, c := range manyComparisons {
			p = append(p, lk.Grant(do...).On(on).Where(c))
		}
	case 5: // ways of creating, so many that two such chains have too many pairs
		for i := range 300 {
			p = append(p, lk.Grant(lk.Create).On(on).Force(map[string]any{"z": i}))
		}
	}
	return p
}

func condition(r *rand.Rand, depth int) lk.Condition {
	switch n := r.IntN(12); {
	case n < 2:
		return lk.Where("region", oneOf(r, lk.Eq, lk.Ne), oneOf(r, "EU", "US"))
	case n < 3:
		return lk.Where("region", lk.In, []string{"EU", "US"}[:1+r.IntN(2)])
	case n < 5:
		return lk.Where("k", oneOf(r, lk.Eq, lk.Ne, lk.Lt, lk.Ge), oneOf(r, 1, 2, 4999))
	case n < 6:
		return lk.Where(oneOf(r, "region", "k", "who"), lk.IsNull, chance(r, 50))
	case n < 7:
		if chance(r, 40) {
			return lk.Where("who", lk.In, lk.Attr(oneOf(r, "desks", "desks", "desk")))
		}
		return lk.Where("who", oneOf(r, lk.Eq, lk.Ne),
			oneOf[any](r, lk.Self, lk.ClientID, lk.ClientID, lk.OwnerID, lk.Attr("desk"), lk.Attr("desk"), lk.Attr("desks")))
	case n < 8:
		if chance(r, 30) {
			return lk.Where("who", lk.In, lk.SelfRoles)
		}
		return lk.Where("who", lk.Eq, oneOf(r, "acme", "client-1"))
	case depth > 1:
		return euRows
	case n < 9:
		return lk.Not(condition(r, depth+1))
	case n < 11:
		return lk.All(condition(r, depth+1), condition(r, depth+1))
	default:
		return lk.AnyOf(condition(r, depth+1), condition(r, depth+1))
	}
}

// rule is any rule.
func rule(r *rand.Rand) lk.Rule {
	start := oneOf(r, lk.Allow, lk.Grant, lk.Grant, lk.Deny)(someActions(r)...)
	x := start.On(oneOf(r, dataOn...))
	if chance(r, 10) {
		x = start.On(oneOf(r, adminOn...))
	}
	if chance(r, 60) {
		x = x.Where(condition(r, 0))
	}
	if x.Verb() != lk.VerbDeny && chance(r, 15) {
		x = x.Force(oneOf(r, map[string]any{"region": "EU"}, map[string]any{"region": "US"}, map[string]any{"region": nil},
			map[string]any{"who": "acme"}, map[string]any{"who": "client-1"},
			map[string]any{"who": oneOf(r, forcedRefs...)}))
	}
	return x
}

func someActions(r *rand.Rand) []lk.Action {
	switch r.IntN(5) {
	case 0:
		return []lk.Action{lk.Any}
	case 1:
		return dataDo
	}
	return []lk.Action{oneOf(r, dataDo...), oneOf(r, dataDo...)}[:1+r.IntN(2)]
}

// own is rules that the actor has, as they stand in its records.
func (w *escalation) own(r *records, a *acting) (p lk.Permissions) {
	if a.token == "" {
		return a.person.Rules
	}
	chain, _ := r.chain(a.token)
	for _, t := range chain {
		if t.Kind == lk.KindSecret {
			return append(p, wholeData, manages)
		}
		for _, id := range t.Roles {
			p = append(p, r.roles[id].Permissions...)
			for _, up := range r.roles[id].Inherits {
				p = append(p, r.roles[up].Permissions...)
			}
		}
		p = append(p, t.Permissions...)
		if !t.Full {
			break
		}
	}
	return p
}

// lesser is some of the rules, and less of them.
func lesser(r *rand.Rand, rules lk.Permissions) (p lk.Permissions) {
	for _, x := range rules {
		if x.Verb() == lk.VerbDeny {
			p = append(p, x)
			continue
		}
		about := x.Patterns()
		if len(about) > 0 && strings.HasPrefix(string(about[0]), "latchkey/") && chance(r, 40) || chance(r, 20) {
			continue
		}
		if len(p) > 6 {
			break
		}
		if x.Verb() == lk.VerbAllow && chance(r, 30) {
			g := lk.Grant(x.Actions()...).On(x.Patterns()...)
			if !x.Condition().IsAllRows() {
				g = g.Where(x.Condition())
			}
			x = g.Force(x.Forced())
		}
		if chance(r, 30) {
			if less := x.Where(condition(r, 1)); less.Validate() == nil {
				x = less
			}
		}
		p = append(p, x)
	}
	return p
}

func strong(r *rand.Rand) lk.Rule {
	switch r.IntN(4) {
	case 0:
		return lk.Grant(lk.Any).On("*")
	case 1:
		return lk.Grant(lk.Any).On("payroll/*")
	}
	return lk.Grant(dataDo...).On("dataset/x").Where(allKnown)
}

// rules is what an actor puts into a token or a role: often what it has, sometimes more, sometimes too much.
func (w *escalation) rules(r *rand.Rand, have lk.Permissions) lk.Permissions {
	switch n := r.IntN(100); {
	case n < 50:
		return lesser(r, have)
	case n < 58:
		return append(lesser(r, have), lk.Deny(someActions(r)...).On(oneOf(r, dataOn...)).Where(condition(r, 0)))
	case n < 70:
		return lk.Permissions{rule(r), rule(r), rule(r)}[:1+r.IntN(3)]
	case n < 78:
		return append(lesser(r, have), strong(r))
	case n < 87:
		return w.oversized(r, dataDo...)
	case n < 96:
		return append(w.oversized(r, dataDo...), strong(r))
	case n < 98:
		return append(lesser(r, have), lk.Grant(exceed).On("latchkey/token/*"))
	default:
		return lk.Permissions{lk.Grant(lk.Read).On("dataset/x").Where(deepCondition)}
	}
}

// hostRules is what the host puts there: rarely oversized rules, and no more than a world can hold.
func (w *escalation) hostRules(r *rand.Rand) lk.Permissions {
	switch n := r.IntN(20); {
	case n < 1:
		return w.oversized(r, dataDo...)
	case n < 3:
		return lk.Permissions{wholeData}
	case n < 6:
		return lk.Permissions{lk.Grant(lk.Read).On("dataset/x").Where(euRows), lk.Deny(lk.Any).On("payroll/*")}
	}
	return lk.Permissions{rule(r), rule(r), rule(r)}[:1+r.IntN(3)]
}

func somePrefixes(r *rand.Rand) []netip.Prefix {
	return oneOf(r, nil, prefixes("10.0.0.0/8"), prefixes("10.0.0.0/16"), prefixes("192.0.2.0/24"))
}

// profiles is what the actors of a world may be; each has its own bound.
func (w *escalation) profiles(r *rand.Rand) []lk.Settings {
	weak := lk.Permissions{lk.Allow(dataDo...).On("dataset/x").Where(euRows), lk.Allow(lk.Any).On("dataset/y"), manages}
	forcing := lk.Permissions{lk.Allow(lk.Create).On("dataset/x").Force(map[string]any{"region": "EU"}),
		lk.Grant(lk.Read).On("dataset/x").Where(lk.Where("who", lk.Eq, lk.Self)), manages}
	roles := lk.Permissions{lk.Allow(lk.Read).On("dataset/x").Where(euRows), lk.Allow(lk.Read).On("data/a"),
		lk.Allow(lk.Any).On("latchkey/role/*"), lk.Allow(lk.Update).On("latchkey/owner")}
	desk := append(slices.Clone(weak), lk.Allow(exceed).On("latchkey/token/*"))
	own := lk.Permissions{lk.Allow(dataDo...).On("dataset/x").Where(lk.Where("who", lk.Eq, lk.ClientID)),
		lk.Grant(lk.Read, lk.Update).On("dataset/x").Where(lk.Where("who", lk.In, lk.Attr("desks"))),
		lk.Allow(lk.Create).On("dataset/y").Force(map[string]any{"who": oneOf[any](r, lk.ClientID,
			lk.Attr("desk"))}), manages}
	every := lk.Permissions{lk.Allow(lk.Any).On("*", "latchkey/*")}
	allGiving := lk.Permissions{lk.Allow(lk.Any, lk.Give).On("*", "latchkey/*")}
	lent := func(s *lk.Settings) { // a role until some moment
		id := oneOf(r, w.roles[1], w.roles[1], oneOf(r, w.roles...)) // often the strong one
		s.Roles, s.RoleEnds = []string{id}, map[string]time.Time{id: w.someEnd(r)}
	}
	giving := append(slices.Clone(own), lk.Allow(lk.Give).On("latchkey/client/*", "latchkey/attribute/*"),
		lk.Allow(lk.Read).On("payroll/*"))
	w.forcesRefs = true
	set := func(p lk.Permissions, edit func(*lk.Settings)) lk.Settings {
		s := lk.Settings{Permissions: p}
		if edit != nil {
			edit(&s)
		}
		return s
	}
	return []lk.Settings{
		set(weak, nil),
		set(weak, nil),
		set(roles, nil),
		set(desk, nil),
		set(forcing, nil),
		set(own, nil),
		set(own, nil),
		set(giving, nil),
		set(every, nil),
		set(allGiving, nil),
		set(lk.Permissions{manages}, lent),
		set(lk.Permissions{manages}, lent),
		set(weak, lent),
		set(lk.Permissions{manages}, func(s *lk.Settings) {
			lent(s)
			s.Roles = append(s.Roles, oneOf(r, slices.DeleteFunc(slices.Clone(w.roles), func(id string) bool {
				return id == s.Roles[0]
			})...))
		}),
		set(desk, func(s *lk.Settings) { s.Validity.NotAfter = w.now().Add(3 * time.Hour) }),
		set(weak, func(s *lk.Settings) { s.Limits = monthly(100) }),
		set(weak, func(s *lk.Settings) { s.Limits.Rate = someRates[1] }),
		set(weak, func(s *lk.Settings) {
			s.Validity.NotAfter = w.now().Add(time.Duration(20+r.IntN(100)) * time.Minute)
		}),
		set(weak, func(s *lk.Settings) { s.Validity.Idle = 24 * time.Hour }),
		set(weak, func(s *lk.Settings) {
			s.Restrictions.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}),
		set(weak, func(s *lk.Settings) { s.Restrictions.Domains = []string{"a.example"} }),
		set(weak, func(s *lk.Settings) {
			s.Restrictions.MintFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
		}),
		set(weak, func(s *lk.Settings) { s.Restrictions.Signed = true }),
	}
}

// someEnd is a moment of this world, of the minutes that steps fall on.
func (w *escalation) someEnd(r *rand.Rand) time.Time {
	return w.now().Add(time.Duration(5+r.IntN(90)) * time.Minute)
}

// lend sets the ends of some of the roles of a token.
func (w *escalation) lend(r *rand.Rand, roles []string) (ends map[string]time.Time) {
	for _, id := range roles {
		if chance(r, 30) {
			if ends == nil {
				ends = map[string]time.Time{}
			}
			ends[id] = w.someEnd(r)
		}
	}
	return ends
}

// setUp is the host's work before the first actor.
func (w *escalation) setUp(seed uint64) {
	r := w.rand
	role := func(x lk.Role) lk.Role {
		out, err := w.hostRole(x)
		if err != nil {
			require.ErrorIs(w.t, err, lk.ErrInvalid) // more than fits
		}
		return out
	}
	viewer := role(lk.Role{Name: "viewer", Permissions: lk.Permissions{lk.Allow(lk.Read).On("dataset/x").Where(euRows)}})
	w.e = newUniverse("acme", "client-1", "clerk", viewer.ID, "fresh0", "fresh1")
	for _, on := range []lk.Resource{"dataset/x", "dataset/y", "payroll/x"} {
		for _, do := range dataDo {
			w.ask = append(w.ask, question{do, on})
		}
	}
	for _, do := range []lk.Action{lk.Create, lk.Update, lk.Delete, lk.Rotate, lk.Reveal} {
		w.ask = append(w.ask, question{do, "latchkey/token/t"})
	}
	w.ask = append(w.ask, question{lk.Create, "latchkey/role/r"}, question{lk.Update, "latchkey/role/r"},
		question{lk.Update, "latchkey/owner"}, question{"x:y", "dataset/x"})
	w.ask = append(w.ask, question{lk.Give, "latchkey/client/client-1"}, question{lk.Give, "latchkey/attribute/desk"})
	if knowsExceed {
		w.ask = append(w.ask, question{exceed, "latchkey/token/t"})
	}
	role(lk.Role{Name: "strong", Permissions: lk.Permissions{lk.Grant(lk.Any).On("*"),
		lk.Grant(lk.Any).On("latchkey/token/*", "latchkey/role/*")}})
	base := role(lk.Role{Name: "base", Permissions: lk.Permissions{
		lk.Grant(lk.Read).On("dataset/x").Where(euRows), lk.Deny(lk.Any).On("payroll/*")}})
	if chance(r, 40) {
		role(lk.Role{Name: "heir", Inherits: []string{base.ID}, InheritDenies: chance(r, 70), Permissions: w.hostRules(r)})
	}
	if chance(r, 40) {
		x := lk.Role{Name: "bounded", Permissions: w.hostRules(r), Boundary: lk.Permissions{rule(r)}}
		x.Boundary = slices.DeleteFunc(x.Boundary, func(r lk.Rule) bool { return len(r.Forced()) > 0 })
		role(x)
	}
	if chance(r, 3) {
		w.deepRoles()
	}
	root, _, err := w.hostIssue(lk.Spec{Kind: lk.KindSecret})
	require.NoError(w.t, err)
	if _, _, err := w.hostIssue(lk.Spec{Kind: lk.KindSecret, Test: true}); err != nil {
		w.t.Fatal(err)
	}
	cast := w.profiles(r)
	for range 5 {
		s := oneOf(r, cast...)
		if s.Roles == nil && chance(r, 25) {
			s.Roles = []string{oneOf(r, w.roles...)}
			s.RoleEnds = w.lend(r, s.Roles)
		}
		kind := lk.KindAPIKey
		if !s.Validity.NotAfter.IsZero() && chance(r, 50) {
			kind = lk.KindSession
		}
		spec := s.Spec(kind)
		w.identify(r, &spec)
		t, _, err := w.hostIssue(spec)
		if errors.Is(err, lk.ErrInvalid) { // with the role it is more than fits
			spec.Roles, spec.RoleEnds = nil, nil
			t, _, err = w.hostIssue(spec)
		}
		require.NoError(w.t, err)
		if t.Restrictions.Signed {
			_, err := w.acme.SigningSecret(w.ctx, t.ID)
			require.NoError(w.t, err)
		}
	}
	switch r.IntN(6) {
	case 0, 1:
		w.tooLarge(r, root.ID)
	case 2:
		w.tooManyWays(r)
	}
	w.hostMint(r, root.ID, lk.Narrowing{Roles: []string{viewer.ID}, Lifetime: time.Hour})
	w.hostMint(r, w.made[2+r.IntN(5)], lk.Narrowing{Lifetime: 2 * time.Hour, Client: lk.Client{ID: "client-1"}})
	w.people = []person{
		{Client: lk.Client{ID: "client-1"}, Rules: cast[0].Permissions, Attributes: someAttributes(r)},
		{Client: lk.Client{ID: "clerk"}, Rules: cast[2].Permissions},
		{Attributes: someAttributes(r), Rules: cast[r.IntN(len(cast))].Permissions},
		{Client: lk.Client{ID: "nobody"}},
		{Client: lk.Client{ID: "clerk"}, Rules: lk.Permissions{lk.Allow(lk.Any).On("*", "latchkey/*")}},
		{Rules: lk.Permissions{lk.Allow(lk.Any, lk.Give).On("*", "latchkey/*")}},
	}
	w.log = nil
	w.look()
	w.say("seed %d", seed)
}

// tooLarge makes tokens that can do much, and makes their rights too large by a role of theirs that grows.
func (w *escalation) tooLarge(r *rand.Rand, root string) {
	w.exact = false
	part := func(from, to int) (p lk.Permissions) {
		for _, c := range longLists[from:to] {
			p = append(p, lk.Grant(dataDo...).On("dataset/x").Where(c))
		}
		return p
	}
	left, err := w.hostRole(lk.Role{Name: "left", Permissions: part(0, 3)})
	require.NoError(w.t, err)
	right, err := w.hostRole(lk.Role{Name: "right"})
	require.NoError(w.t, err)
	both := []string{left.ID, right.ID}
	s := lk.Settings{Roles: both, Permissions: lk.Permissions{lk.Grant(dataDo...).On("dataset/x").Where(allKnown)}}
	if chance(r, 30) {
		s.Permissions = nil
	}
	t, _, err := w.hostIssue(s.Spec(lk.KindAPIKey))
	require.NoError(w.t, err)
	w.targets = append(w.targets, t.ID)
	if chance(r, 50) {
		w.hostMint(r, root, lk.Narrowing{Roles: both, Permissions: s.Permissions, Lifetime: 2 * time.Hour})
		w.targets = append(w.targets, w.made[len(w.made)-1])
	}
	w.hostUpdateRole(right.ID, func(x *lk.Role) { x.Permissions = part(2, 5) })
}

// tooManyWays is tooLarge by ways of creating: those of a token and those of its parent make too many pairs.
func (w *escalation) tooManyWays(r *rand.Rand) {
	w.exact = false
	var ways lk.Permissions
	for i := range 300 {
		ways = append(ways, lk.Grant(lk.Create).On("payroll/x").Force(map[string]any{"z": i}))
	}
	role, err := w.hostRole(lk.Role{Name: "ways"})
	require.NoError(w.t, err)
	t, _, err := w.hostIssue(lk.Spec{Kind: lk.KindAPIKey, Roles: []string{role.ID},
		Permissions: lk.Permissions{lk.Grant(lk.Create, lk.Update).On("payroll/*").Where(euRows)}})
	require.NoError(w.t, err)
	w.hostMint(r, t.ID, lk.Narrowing{Lifetime: 2 * time.Hour,
		Permissions: append(slices.Clone(ways), lk.Grant(lk.Create).On("payroll/*"))})
	w.targets = append(w.targets, w.made[len(w.made)-1])
	w.hostUpdateRole(role.ID, func(x *lk.Role) { x.Permissions = ways })
}

// deepRoles is roles that inherit one another, so deep that what the last says is nested too deeply.
func (w *escalation) deepRoles() {
	w.exact = false
	var up []string
	for i := range 26 {
		x, err := w.hostRole(lk.Role{Name: fmt.Sprint("level ", i), Inherits: up, Permissions: lk.Permissions{
			lk.Grant(lk.Read).On("dataset/x").Where(lk.Where("k", lk.Ne, i)),
			lk.Deny(lk.Read).On("dataset/x").Where(lk.Where("region", lk.Eq, fmt.Sprint("f", i)))}})
		if err != nil {
			return
		}
		up = []string{x.ID}
	}
}

func (w *escalation) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *escalation) hostRole(x lk.Role) (lk.Role, error) {
	w.n++
	x.Name = fmt.Sprint(x.Name, " ", w.n)
	out, err := w.acme.CreateRole(w.ctx, x)
	if err == nil {
		w.roles = append(w.roles, out.ID)
		w.say("host: %s = role %q %s", w.called(out.ID), x.Name, w.roleText(x))
	}
	return out, err
}

func (w *escalation) hostIssue(spec lk.Spec) (lk.Token, string, error) {
	t, s, err := w.acme.Issue(w.ctx, spec)
	if err != nil {
		return t, "", err
	}
	w.keep(t, s.Reveal())
	w.say("host: %s = issue %s", w.called(t.ID), w.tokenText(t))
	return t, s.Reveal(), nil
}

func (w *escalation) keep(t lk.Token, text string) {
	w.texts[t.ID] = text
	w.made = append(w.made, t.ID)
}

func (w *escalation) hostMint(r *rand.Rand, parent string, n lk.Narrowing) {
	a, err := w.verify(r, parent)
	if err != nil {
		return
	}
	t, s, err := a.Mint(w.ctx, n)
	if err != nil {
		return
	}
	w.keep(t, s.Reveal())
	w.mintTwin(a, t, n)
	w.say("host: %s = mint of %s: %s", w.called(t.ID), w.called(parent), w.tokenText(t))
}

// verify presents a token from a place it may be used from, if there is one.
func (w *escalation) verify(r *rand.Rand, id string) (lk.Access, error) {
	rec, err := readRecords(w.ctx, w.store.Store, "acme", w.now())
	require.NoError(w.t, err)
	t := rec.tokens[id]
	p := lk.Presented{Secret: w.texts[id], Test: t.Test, Signature: w.signature(t)}
	to := rec.reachOf(id, addresses, hosts)
	open := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return !to.places[p] })
	if len(open) > 0 {
		at := oneOf(r, open...)
		p.Address, p.Referer = at.address, refererOf(at.referer)
	}
	return w.keys.Verify(w.ctx, p)
}

func listed(p lk.Permissions) string {
	var parts []string
	for _, r := range p {
		text := r.String()
		if len(text) > 160 {
			text = text[:150] + "…"
		}
		if parts = append(parts, text); len(parts) == 7 && len(p) > 8 {
			parts = append(parts, fmt.Sprintf("%d more", len(p)-7))
			break
		}
	}
	return strings.Join(parts, "; ")
}

func (w *escalation) roleText(x lk.Role) string {
	var b strings.Builder
	for _, id := range x.Inherits {
		fmt.Fprintf(&b, "inherits %s ", w.called(id))
	}
	if x.InheritDenies {
		b.WriteString("with denies ")
	}
	fmt.Fprintf(&b, "{%s}", listed(x.Permissions))
	if x.Boundary != nil {
		fmt.Fprintf(&b, " boundary {%s}", listed(x.Boundary))
	}
	return b.String()
}

func (w *escalation) tokenText(t lk.Token) string {
	var b strings.Builder
	fmt.Fprint(&b, t.Kind)
	if t.Test {
		b.WriteString(" test")
	}
	if t.Full {
		b.WriteString(" full")
	}
	for _, id := range t.Roles {
		fmt.Fprintf(&b, " %s", w.called(id))
		if end, ok := t.RoleEnds[id]; ok {
			fmt.Fprintf(&b, " until %s", end.Format("15:04"))
		}
	}
	if len(t.Permissions) > 0 {
		fmt.Fprintf(&b, " {%s}", listed(t.Permissions))
	}
	if len(t.Rows) > 0 {
		fmt.Fprintf(&b, " rows %v", t.Rows)
	}
	if len(t.Forced) > 0 {
		fmt.Fprintf(&b, " forced %v", t.Forced)
	}
	if t.Disabled {
		b.WriteString(" disabled")
	}
	x := t.Restrictions
	if len(x.Addresses)+len(x.Domains)+len(x.MintFrom) > 0 || x.Signed {
		fmt.Fprintf(&b, " %+v", x)
	}
	if !t.Limits.IsZero() {
		fmt.Fprintf(&b, " %+v", t.Limits)
	}
	if !t.Validity.NotAfter.IsZero() {
		fmt.Fprintf(&b, " until %s", t.Validity.NotAfter.Format("15:04"))
	}
	if t.Validity.Idle != 0 {
		fmt.Fprintf(&b, " idle %v", t.Validity.Idle)
	}
	return b.String()
}

// run plays steps until a law is broken.
func (w *escalation) run(steps []int) {
	seed := w.rand.Uint64()
	for _, step := range steps {
		w.passed.Add(time.Minute.Microseconds())
		w.steps++
		r := rand.New(rand.NewPCG(seed, uint64(step)))
		if chance(r, 15) {
			w.host(r, "", "")
		} else {
			w.act(r)
		}
		w.actor, w.store.before = nil, nil
		if w.violation == nil {
			w.look()
		}
		if w.violation != nil {
			break
		}
	}
	_ = w.keys.Close(w.ctx)
	_ = w.watcher.Close(w.ctx)
}

func (w *escalation) someRole(r *rand.Rand) string {
	if w.focus != "" && chance(r, 70) {
		return w.focus
	}
	if len(w.heavy) > 0 && chance(r, 30) {
		return oneOf(r, w.heavy...)
	}
	if n := len(w.roles); chance(r, 40) {
		return w.roles[n-1-r.IntN(min(n, 3))]
	}
	return oneOf(r, w.roles...)
}

func (w *escalation) someToken(r *rand.Rand) string {
	if len(w.targets) > 0 && chance(r, 25) {
		return oneOf(r, w.targets...)
	}
	if n := len(w.made); chance(r, 50) {
		return w.made[n-1-r.IntN(min(n, 4))]
	}
	return oneOf(r, w.made...)
}

// host is something the host does; about a role or a token, when an actor is just about to change that.
func (w *escalation) host(r *rand.Rand, role, token string) {
	if role == "" {
		role = w.someRole(r)
	} else {
		w.count.add("meanwhile", true)
	}
	if token == "" {
		token = w.someToken(r)
	}
	switch r.IntN(10) {
	case 0, 1:
		_, _ = w.hostRole(lk.Role{Name: "heir", Inherits: []string{role}, InheritDenies: chance(r, 60),
			Permissions: oneOf(r, lk.Permissions{wholeData}, w.hostRules(r))})
	case 2:
		w.hostUpdateRole(role, func(x *lk.Role) {
			switch r.IntN(5) {
			case 0, 1:
				x.Permissions = w.hostRules(r)
			case 2, 3:
				x.Permissions = append(x.Permissions, strong(r))
			default:
				x.Permissions = append(x.Permissions, w.hostRules(r)...)
			}
		})
	case 3:
		w.hostUpdateToken(token, func(t *lk.Token) {
			switch {
			case t.Kind == lk.KindSecret:
			case chance(r, 50):
				t.Permissions = append(t.Permissions, strong(r))
			case !slices.Contains(t.Roles, role):
				t.Roles = append(t.Roles, role)
				for id, end := range w.lend(r, []string{role}) {
					t.RoleEnds = withEnd(t.RoleEnds, id, end)
				}
			}
		})
	case 4:
		s := lk.Settings{Roles: []string{role}, RoleEnds: w.lend(r, []string{role})}
		if chance(r, 50) {
			s.Permissions = lk.Permissions{strong(r)}
		}
		_, _, _ = w.hostIssue(s.Spec(lk.KindAPIKey))
	case 5, 6:
		n := lk.Narrowing{Roles: []string{role}, RoleEnds: w.lend(r, []string{role}), Lifetime: time.Hour}
		if chance(r, 30) {
			n.Permissions = lk.Permissions{rule(r)}
		}
		w.hostMint(r, w.made[0], n)
	case 7:
		w.damage(r, role)
	case 8:
		if !chance(r, 30) {
			w.hostUpdateToken(token, func(t *lk.Token) { t.Disabled = !t.Disabled })
			return
		}
		var boundary lk.Permissions
		if chance(r, 50) {
			boundary = lk.Permissions{lk.Allow(lk.Any).On("*", "latchkey/*"), rule(r)}
		}
		if err := w.acme.Configure(w.ctx, func(o *lk.Owner) error { o.Boundary = boundary; return nil }); err == nil {
			w.say("host: boundary {%s}", listed(boundary))
		}
	case 9:
		if err := w.acme.DeleteRole(w.ctx, role); err == nil {
			w.say("host: delete %s", w.called(role))
			w.forget(role)
		}
	}
}

func (w *escalation) forget(role string) {
	if len(w.roles) > 2 {
		gone := func(id string) bool { return id == role }
		w.heavy = slices.DeleteFunc(w.heavy, gone)
	}
}

func (w *escalation) hostUpdateRole(id string, edit func(*lk.Role)) {
	x, err := w.acme.UpdateRole(w.ctx, id, func(x *lk.Role) error { edit(x); return nil })
	if err == nil {
		w.say("host: %s becomes %s", w.called(id), w.roleText(x))
	}
}

func (w *escalation) hostUpdateToken(id string, edit func(*lk.Token)) {
	t, err := w.acme.Update(w.ctx, id, func(t *lk.Token) error { edit(t); return nil })
	if err == nil {
		w.say("host: %s becomes %s", w.called(id), w.tokenText(t))
	}
}

// damage makes a role inherit one that does not exist, past all checks, as a restored backup could.
func (w *escalation) damage(r *rand.Rand, id string) {
	x, err := w.store.Store.Role(w.ctx, "acme", id)
	if err != nil {
		return
	}
	x.Inherits = append(x.Inherits, "gone")
	x.InheritDenies = true
	w.n++
	wr := lk.Write{ID: [16]byte{1: byte(w.n >> 8), 2: byte(w.n), 15: 1}, Owner: "acme", At: w.now(), Roles: []lk.Role{x}}
	if err := w.store.Store.Write(w.ctx, wr); err == nil {
		w.say("host: %s is damaged: it inherits a role that does not exist", w.called(id))
	}
}

// actor is one call by an actor.
func (w *escalation) act(r *rand.Rand) {
	a := &acting{}
	var access lk.Access
	if chance(r, 15) {
		a.person = oneOf(r, w.people...)
		a.name = a.person.Client.ID
		access = must(w.acme.AssumeWith(a.person))
	} else {
		a.token = w.made[r.IntN(min(len(w.made), 10))]
		if chance(r, 15) {
			a.token = w.someToken(r)
		}
		a.name = w.called(a.token)
		var err error
		if access, err = w.verify(r, a.token); err != nil {
			return
		}
	}
	rec, err := readRecords(w.ctx, w.store.Store, "acme", w.now())
	require.NoError(w.t, err)
	have := w.own(rec, a)
	if chance(r, 8) {
		n := lk.Narrowing{}
		if roles := access.Roles(); len(roles) > 0 && chance(r, 40) {
			n.Roles = roles
			n.RoleEnds = w.lend(r, roles)
		}
		if chance(r, 50) {
			n.Permissions = lesser(r, have)
		} else {
			n.Rows = []lk.Condition{condition(r, 0)}
		}
		if chance(r, 30) {
			n.Attributes = someAttributes(r)
		}
		if chance(r, 30) {
			n.Client = lk.Client{ID: oneOf(r, "client-1", "clerk")}
		}
		if at := access.Address(); chance(r, 30) && at.IsValid() {
			n.Restrictions.Addresses = []netip.Prefix{netip.PrefixFrom(at, 16).Masked()}
		}
		narrowed, err := access.Narrow(w.ctx, n)
		if w.count.add("narrow", err == nil); err != nil {
			return
		}
		access, a.narrow = narrowed, &n
		a.name += " narrowed"
	}
	as, err := w.acme.As(access)
	require.NoError(w.t, err)
	w.actor = a
	w.call(r, a, as, access, rec, have)
}

// call picks what the actor does.
func (w *escalation) call(r *rand.Rand, a *acting, as lk.Account, access lk.Access, rec *records,
	have lk.Permissions) {
	role, token := w.someRole(r), w.someToken(r)
	if chance(r, 20) { // the host comes between the check and the write
		w.focus = role
		defer func() { w.focus = "" }()
		about := token
		if parent := rec.tokens[token].Parent; parent != "" && chance(r, 60) {
			about = parent
		}
		w.store.before = func() { w.host(r, role, about) }
	}
	done := func(err error, format string, args ...any) {
		ok := err == nil
		w.count.add(a.kind, ok)
		if ok {
			w.say("%s: %s", a.name, fmt.Sprintf(format, args...))
		} else if !refused(err) {
			w.fail("errors", "%s: %v", a.kind, err)
		}
	}
	switch n := r.IntN(100); {
	case n < 16:
		a.kind = "issue"
		spec := w.spec(r, a, rec, have)
		t, s, err := as.Issue(w.ctx, spec)
		if err == nil {
			w.keep(t, s.Reveal())
		}
		done(err, "%s = issue %s", w.called(t.ID), w.tokenText(t))
	case n < 20:
		a.kind = "import"
		spec := w.spec(r, a, rec, have)
		spec.Test = false
		w.n++
		text := fmt.Sprint("imported-", 1_000_000_000_000+w.n)
		t, err := as.Import(w.ctx, spec, text)
		if err == nil {
			w.keep(t, text)
		}
		done(err, "%s = import %s", w.called(t.ID), w.tokenText(t))
	case n < 31:
		a.kind = "update token"
		t, err := as.Update(w.ctx, token, func(t *lk.Token) error { w.editToken(r, t, have); return nil })
		done(err, "%s becomes %s", w.called(token), w.tokenText(t))
	case n < 33:
		a.kind = "import digest"
		spec := w.spec(r, a, rec, have)
		spec.Test = false
		w.n++
		text := fmt.Sprint("imported-", 1_000_000_000_000+w.n)
		digest := sha256.Sum256([]byte(text))
		t, err := as.ImportDigest(w.ctx, spec, lk.KeptSecret{SHA256: hex.EncodeToString(digest[:])})
		if err == nil {
			w.keep(t, text)
		}
		done(err, "%s = import the digest of %s", w.called(t.ID), w.tokenText(t))
	case n < 38:
		of := lk.Selector{Role: role}
		if chance(r, 50) {
			a.kind = "revoke all"
			swept, err := as.RevokeAll(w.ctx, of, "no reason")
			w.sweep(a, swept, err, done, role)
		} else {
			a.kind = "disable all"
			swept, err := as.DisableAll(w.ctx, of, "no reason")
			w.sweep(a, swept, err, done, role)
		}
	case n < 41:
		a.kind = "rotate"
		s, err := as.Rotate(w.ctx, token, oneOf(r, 0, time.Hour))
		if err == nil {
			w.texts[token] = s.Reveal()
		}
		done(err, "rotate %s", w.called(token))
	case n < 43:
		a.kind = "end secret"
		list, err := w.acme.Secrets(w.ctx, token)
		list = slices.DeleteFunc(list, func(s lk.LiveSecret) bool { return s.Newest })
		if err != nil || len(list) == 0 {
			w.actor = nil
			secret, err := w.acme.Rotate(w.ctx, token, time.Hour)
			if w.actor = a; err != nil {
				return
			}
			w.texts[token] = secret.Reveal()
			w.say("host: rotate %s", w.called(token))
			if list, err = w.acme.Secrets(w.ctx, token); err != nil {
				return
			}
			list = slices.DeleteFunc(list, func(s lk.LiveSecret) bool { return s.Newest })
		}
		text, known := w.texts[token]
		err = as.EndSecret(w.ctx, token, oneOf(r, list...).ID, "")
		if err == nil && known {
			w.texts[token] = text // of the newest, which is left
		}
		done(err, "end a secret of %s", w.called(token))
	case n < 45:
		a.kind = "signing secret"
		_, err := as.SigningSecret(w.ctx, token)
		done(err, "signing secret of %s", w.called(token))
	case n < 48:
		a.kind = "reveal"
		s, err := as.Reveal(w.ctx, token)
		if err == nil {
			require.Equal(w.t, w.texts[token], s.Reveal())
		}
		done(err, "reveal %s", w.called(token))
	case n < 50:
		a.kind = "revoke"
		done(as.Revoke(w.ctx, token, "no reason"), "revoke %s", w.called(token))
	case n < 52:
		a.kind = "delete token"
		err := as.Delete(w.ctx, token)
		done(err, "delete %s", w.called(token))
	case n < 61:
		a.kind = "create role"
		w.n++
		x := lk.Role{Name: fmt.Sprint("role ", w.n), Permissions: w.rules(r, have), InheritDenies: chance(r, 20)}
		if chance(r, 40) {
			x.Inherits = []string{role}
		}
		if chance(r, 15) {
			x.Boundary = w.boundary(r, have)
		}
		out, err := as.CreateRole(w.ctx, x)
		if err == nil {
			w.roles = append(w.roles, out.ID)
			if len(x.Permissions) >= 3 {
				w.heavy = append(w.heavy, out.ID)
			}
		}
		done(err, "%s = role %s", w.called(out.ID), w.roleText(x))
	case n < 79:
		a.kind = "update role"
		x, err := as.UpdateRole(w.ctx, role, func(x *lk.Role) error { w.editRole(r, x, have); return nil })
		done(err, "%s becomes %s", w.called(role), w.roleText(x))
	case n < 85:
		a.kind = "delete role"
		err := as.DeleteRole(w.ctx, role)
		if err == nil {
			w.forget(role)
		}
		done(err, "delete %s", w.called(role))
	case n < 96:
		a.kind = "mint"
		m := w.narrowing(r, access, have)
		t, s, err := access.Mint(w.ctx, m)
		if err == nil {
			w.keep(t, s.Reveal())
			w.mintTwin(access, t, m)
		}
		done(err, "%s = mint %s", w.called(t.ID), w.tokenText(t))
	default:
		a.kind = "configure"
		err := as.Configure(w.ctx, func(o *lk.Owner) error {
			switch r.IntN(6) {
			case 0:
				o.Boundary = nil
			case 1:
				o.NotBefore = w.now().Add(-24 * time.Hour)
			case 2:
				o.Limits = monthly(1 << 40)
			default:
				o.Extra = []byte(strings.Repeat("1", 1+r.IntN(3)))
			}
			return nil
		})
		done(err, "configure")
	}
}

// sweep notes what a sweep of the holders of a role came to.
func (w *escalation) sweep(a *acting, swept lk.Swept, err error, done func(error, string, ...any), role string) {
	if err == nil && swept.Done == 0 {
		err = lk.ErrDenied // it counts as refused
	}
	done(err, "%s with %s: %d", a.kind, w.called(role), swept.Done)
}

// withEnd returns ends with that of one role.
func withEnd(ends map[string]time.Time, id string, end time.Time) map[string]time.Time {
	ends = maps.Clone(ends)
	if ends == nil {
		ends = map[string]time.Time{}
	}
	ends[id] = end
	return ends
}

func (w *escalation) boundary(r *rand.Rand, have lk.Permissions) lk.Permissions {
	var b lk.Permissions
	switch r.IntN(3) {
	case 0:
		b = lk.Permissions{}
	case 1:
		b = append(lk.Permissions{}, lesser(r, have)...)
	case 2:
		b = append(w.oversized(r, dataDo...), strong(r))
	}
	return slices.DeleteFunc(b, func(r lk.Rule) bool { return len(r.Forced()) > 0 })
}

func (w *escalation) spec(r *rand.Rand, a *acting, rec *records, have lk.Permissions) lk.Spec {
	spec := lk.Spec{Kind: oneOf(r, lk.KindAPIKey, lk.KindAPIKey, lk.KindAPIKey, lk.KindAPIKey,
		lk.KindPublishable, lk.KindSession, lk.KindSecret)}
	if len(have) > 0 && have.Allows("x:y", "latchkey/token/t") && chance(r, 40) {
		spec.Kind = lk.KindSecret // it has nearly all that a secret key has
	}
	if spec.Kind == lk.KindSecret || spec.Kind == lk.KindPublishable {
		spec.Test = chance(r, 40)
	}
	if spec.Kind != lk.KindSecret {
		if chance(r, 70) {
			spec.Permissions = w.rules(r, have)
		}
		if chance(r, 40) {
			spec.Roles = []string{w.someRole(r)}
			if own := rec.tokens[a.token].Roles; len(own) > 0 && chance(r, 60) {
				spec.Roles = []string{oneOf(r, own...)}
			}
			spec.RoleEnds = w.lend(r, spec.Roles)
		}
	}
	if own := rec.tokens[a.token]; chance(r, 60) { // within what binds the actor
		spec.Restrictions, spec.Validity = own.Restrictions, own.Validity
		if chance(r, 60) {
			spec.Roles, spec.RoleEnds, spec.Permissions = nil, nil, lesser(r, have)
		}
		if spec.Kind == lk.KindSecret {
			spec.Permissions = nil
		}
	} else {
		s := lk.Settings{Restrictions: spec.Restrictions, Limits: spec.Limits, Validity: spec.Validity}
		w.editBounds(r, &s)
		spec.Restrictions, spec.Limits, spec.Validity = s.Restrictions, s.Limits, s.Validity
	}
	if w.identify(r, &spec); chance(r, 60) { // what the actor has
		of := w.subject(rec, a).who
		spec.Client, spec.Attributes, spec.ChildAttributes = lk.Client{ID: of.client}, of.attributes, nil
	}
	if spec.Kind == lk.KindSession && spec.Validity.NotAfter.IsZero() {
		spec.Validity.NotAfter = w.now().Add(30 * time.Minute)
	}
	return spec
}

// identify gives a token some client and attributes.
func (w *escalation) identify(r *rand.Rand, spec *lk.Spec) {
	if chance(r, 40) {
		spec.Client = lk.Client{ID: oneOf(r, "client-1", "client-1", "clerk")}
	}
	spec.Attributes = someAttributes(r)
	if chance(r, 20) {
		spec.ChildAttributes = []string{oneOf(r, "desk", "desks")}
	}
}

func someAttributes(r *rand.Rand) lk.Attributes {
	switch r.IntN(6) {
	case 0:
		return lk.Attributes{"desk": oneOf(r, "acme", "client-1")}
	case 1:
		return lk.Attributes{"desk": oneOf(r, "clerk", "client-1"), "desks": []string{"acme", "clerk"}}
	case 2:
		return lk.Attributes{"desks": oneOf(r, []string{"client-1"}, []string{"clerk", "client-1"})}
	}
	return nil
}

// editBounds sets some of what a token is bound by, often to what actors have.
func (w *escalation) editBounds(r *rand.Rand, s *lk.Settings) {
	for range r.IntN(4) {
		switch r.IntN(7) {
		case 0:
			s.Validity.NotAfter = w.now().Add(time.Duration(1+r.IntN(150)) * time.Minute)
		case 1:
			s.Restrictions.Addresses = somePrefixes(r)
		case 2:
			s.Restrictions.Domains = oneOf(r, nil, hosts[1:2], hosts[2:3], hosts[1:3])
		case 3:
			s.Restrictions.MintFrom = somePrefixes(r)
		case 4:
			s.Limits.Quotas = someQuotas(r)
		case 5:
			s.Limits.Rate = oneOf(r, someRates...)
		case 6:
			if chance(r, 30) {
				s.Validity.Idle = oneOf(r, 0, 24*time.Hour)
			}
		}
	}
}

// someQuotas returns quotas of a meter, or of each, that are tight or wide.
func someQuotas(r *rand.Rand) (list []lk.Quota) {
	for _, per := range []lk.Period{lk.Month, lk.Day} {
		for _, meter := range []string{"", "api"} {
			if chance(r, 35) {
				list = append(list, lk.Quota{Meter: meter, Per: per, Amount: oneOf(r, lk.Credits(50), 100, 200),
					Carry: oneOf(r, lk.Credits(0), 0, 50)})
			}
		}
	}
	return list
}

func (w *escalation) editToken(r *rand.Rand, t *lk.Token, have lk.Permissions) {
	if t.Kind == lk.KindSecret && chance(r, 70) {
		t.Name = fmt.Sprint("name ", r.IntN(9))
		return
	}
	switch r.IntN(9) {
	case 0:
		t.Name = fmt.Sprint("name ", r.IntN(9))
	case 1, 2:
		t.Permissions = w.rules(r, have)
	case 3:
		t.Permissions = nil
	case 4:
		if id := w.someRole(r); !slices.Contains(t.Roles, id) {
			t.Roles = append(t.Roles, id)
			for id, end := range w.lend(r, []string{id}) {
				t.RoleEnds = withEnd(t.RoleEnds, id, end)
			}
		} else if chance(r, 50) {
			t.RoleEnds = nil
		} else {
			t.RoleEnds = withEnd(t.RoleEnds, id, w.someEnd(r))
		}
	case 5:
		t.Roles = nil
	case 6:
		t.Disabled = !t.Disabled
	case 7:
		w.editBounds(r, &t.Settings)
	case 8:
		t.Restrictions, t.Limits = lk.Restrictions{}, lk.Limits{}
		if t.Kind != lk.KindAccess && t.Kind != lk.KindSession {
			t.Validity = lk.Validity{}
		} else {
			t.Validity.NotAfter = w.now().Add(200 * time.Minute)
		}
	}
}

func (w *escalation) editRole(r *rand.Rand, x *lk.Role, have lk.Permissions) {
	switch r.IntN(12) {
	case 0:
		x.Permissions = w.rules(r, have)
	case 1:
		x.Permissions = append(x.Permissions, w.rules(r, have)...)
	case 2, 3, 4:
		x.Permissions = nil
	case 5, 6:
		x.Permissions = slices.DeleteFunc(x.Permissions, func(r lk.Rule) bool { return r.Verb() == lk.VerbDeny })
	case 7:
		if n := len(x.Permissions); n > 0 {
			i := r.IntN(n)
			x.Permissions = slices.Delete(x.Permissions, i, i+1)
		}
	case 8:
		x.InheritDenies = !x.InheritDenies
	case 9:
		x.Boundary = nil
		if chance(r, 50) {
			x.Boundary = w.boundary(r, have)
		}
	case 10:
		x.Inherits = nil
	case 11:
		if id := w.someRole(r); !slices.Contains(x.Inherits, id) {
			x.Inherits = append(x.Inherits, id)
		}
	}
}

func (w *escalation) narrowing(r *rand.Rand, access lk.Access, have lk.Permissions) lk.Narrowing {
	n := lk.Narrowing{Lifetime: time.Duration(10+r.IntN(120)) * time.Minute}
	if chance(r, 50) {
		n.Permissions = w.rules(r, have)
	}
	if roles := access.Roles(); len(roles) > 0 && chance(r, 40) {
		n.Roles = []string{oneOf(r, roles...)}
	} else if chance(r, 30) {
		n.Roles = []string{w.someRole(r)}
	}
	n.RoleEnds = w.lend(r, n.Roles)
	if chance(r, 20) {
		n.Rows = []lk.Condition{condition(r, 0)}
	}
	if chance(r, 15) {
		n.Forced = map[string]any{"region": oneOf(r, any("EU"), "US", nil)}
		if chance(r, 40) {
			n.Forced = map[string]any{"who": oneOf(r, forcedRefs...)}
		}
	}
	if chance(r, 20) {
		n.Attributes = someAttributes(r)
	}
	if chance(r, 20) {
		n.Client = lk.Client{ID: "client-1"}
	}
	s := lk.Settings{}
	w.editBounds(r, &s)
	n.Restrictions, n.Limits = s.Restrictions, s.Limits
	return n
}

// refused reports whether an error is one of those that a call may be refused with.
func refused(err error) bool {
	for _, known := range []error{lk.ErrDenied, lk.ErrInvalid, lk.ErrInvalidToken, lk.ErrNotFound,
		lk.ErrInUse, lk.ErrConflict, lk.ErrForced, lk.ErrExists, lk.ErrRateLimited, lk.ErrNeedsKeyring} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
