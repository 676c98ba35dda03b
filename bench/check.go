package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	"github.com/cedar-policy/cedar-go"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/bench/internal/measure"
	"github.com/latchkey-go/latchkey/bench/internal/plot"
	"github.com/latchkey-go/latchkey/memstore"
)

// decider is something that says whether a caller may read one of the resources of grants.
type decider struct {
	name   string
	allows func(action string, resource string) (bool, error)
}

// hot is how many resources are asked for in turn: those that a process is asked for over and over.
const hot = 1024

// side is the decider as it is measured.
func (d decider) side(on []string) measure.Side {
	i := 0
	return measure.Side{Name: d.name, Run: func(n int) error {
		for range n {
			if ok, err := d.allows("read", on[i]); err != nil || !ok {
				return fmt.Errorf("read on %s is denied: %w", on[i], err)
			}
			if i++; i == len(on) {
				i = 0
			}
		}
		return nil
	}}
}

// agree checks the answers of a decider: what is granted, another action and other resources.
func (d decider) agree(on []string) error {
	for _, r := range on {
		if ok, err := d.allows("read", r); err != nil || !ok {
			return fmt.Errorf("%s: read on %s is denied: %w", d.name, r, err)
		}
	}
	for _, r := range on[:min(len(on), 16)] {
		if ok, err := d.allows("update", r); err != nil || ok {
			return fmt.Errorf("%s: update on %s is allowed: %w", d.name, r, err)
		}
		if ok, err := d.allows("read", r+"x"); err != nil || ok {
			return fmt.Errorf("%s: read on %sx is allowed: %w", d.name, r, err)
		}
	}
	return nil
}

// verified issues a key by a Spec, and returns its Access.
func verified(ctx context.Context, keys *latchkey.Manager, spec latchkey.Spec) (latchkey.Access, error) {
	spec.Kind = latchkey.KindAPIKey
	_, s, err := keys.For(owner).Issue(ctx, spec)
	if err != nil {
		return latchkey.Access{}, err
	}
	return keys.Verify(ctx, latchkey.Presented{Secret: s.Reveal()})
}

// withRoles returns the Access of a key with roles of these rules.
func withRoles(ctx context.Context, roles ...latchkey.Permissions) (latchkey.Access, error) {
	keys := latchkey.New(memstore.New(nil), nil)
	var ids []string
	for i, rules := range roles {
		r, err := keys.For(owner).CreateRole(ctx, latchkey.Role{Name: fmt.Sprint("role ", i), Permissions: rules})
		if err != nil {
			return latchkey.Access{}, err
		}
		ids = append(ids, r.ID)
	}
	return verified(ctx, keys, latchkey.Spec{Roles: ids})
}

func allowsBy(name string, a latchkey.Access) decider {
	return decider{name: name, allows: func(action, resource string) (bool, error) {
		return a.Allows(latchkey.Action(action), latchkey.Resource(resource)), nil
	}}
}

const casbinModel = `
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act`

// enforcer is one of casbin's.
type enforcer interface {
	AddPolicies(rules [][]string) (bool, error)
	AddGroupingPolicy(params ...any) (bool, error)
	Enforce(request ...any) (bool, error)
}

func casbinDecider(name string, e enforcer, on []string) (decider, error) {
	rules := make([][]string, len(on))
	for i, r := range on {
		rules[i] = []string{"reader", r, "read"}
	}
	if _, err := e.AddPolicies(rules); err != nil {
		return decider{}, err
	}
	_, err := e.AddGroupingPolicy("key", "reader")
	return decider{name: name, allows: func(action, resource string) (bool, error) {
		return e.Enforce("key", resource, action)
	}}, err
}

func casbinDeciders(on []string) (list []decider, err error) {
	for _, cached := range []bool{false, true} {
		m, err := model.NewModelFromString(casbinModel)
		if err != nil {
			return nil, err
		}
		var e enforcer
		name := "casbin Enforce"
		if cached {
			name = "casbin CachedEnforcer"
			e, err = casbin.NewCachedEnforcer(m)
		} else {
			e, err = casbin.NewEnforcer(m)
		}
		if err != nil {
			return nil, err
		}
		d, err := casbinDecider(name, e, on)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// cedarDecider has a policy for each grant.
func cedarDecider(on []string) (decider, error) {
	var text strings.Builder
	for _, r := range on {
		fmt.Fprintf(&text, "permit (principal in Role::\"reader\", action == Action::\"read\", resource == Data::%q);\n", r)
	}
	policies, err := cedar.NewPolicySetFromBytes("grants", []byte(text.String()))
	if err != nil {
		return decider{}, err
	}
	key := cedar.NewEntityUID("Key", "key")
	entities := cedar.EntityMap{key: cedar.Entity{UID: key,
		Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Role", "reader"))}}
	return decider{name: "cedar-go", allows: func(action, resource string) (bool, error) {
		answer, d := cedar.Authorize(policies, entities, cedar.Request{Principal: key,
			Action:   cedar.NewEntityUID("Action", cedar.String(action)),
			Resource: cedar.NewEntityUID("Data", cedar.String(resource))})
		if len(d.Errors) > 0 {
			return false, fmt.Errorf("%v", d.Errors)
		}
		return bool(answer), nil
	}}, nil
}

const regoModule = `package authz

default allow := false

allow if {
	some role in data.roles[input.user]
	data.grants[role][input.action][input.resource]
}`

// opaDecider finds a grant by its keys, which is the fastest form of the question.
func opaDecider(ctx context.Context, on []string) (decider, error) {
	granted := map[string]any{}
	for _, r := range on {
		granted[r] = true
	}
	query, err := rego.New(rego.Query("data.authz.allow"), rego.Module("authz.rego", regoModule),
		rego.Store(inmem.NewFromObject(map[string]any{
			"roles":  map[string]any{"key": []any{"reader"}},
			"grants": map[string]any{"reader": map[string]any{"read": granted}},
		}))).PrepareForEval(ctx)
	if err != nil {
		return decider{}, err
	}
	return decider{name: "OPA, prepared", allows: func(action, resource string) (bool, error) {
		set, err := query.Eval(ctx, rego.EvalInput(map[string]any{"user": "key", "action": action, "resource": resource}))
		return set.Allowed(), err
	}}, nil
}

// mapDecider is the least that a table of grants costs: a map by action and resource.
func mapDecider(on []string) decider {
	type question struct{ action, resource string }
	granted := map[question]bool{}
	for _, r := range on {
		granted[question{"read", r}] = true
	}
	return decider{name: "map, hand-written", allows: func(action, resource string) (bool, error) {
		return granted[question{action, resource}], nil
	}}
}

func benchCheck(b *bench) error {
	picture := plot.Plot{Title: "Allows: time by number of grants", X: "grants", Y: "ns"}
	for _, size := range []struct {
		n                     int
		ours, cached, enforce goal
		prepared              goal
	}{
		{n: 1, ours: atMost(45), cached: atLeast(4)},
		{n: 100, ours: atMost(50), cached: atLeast(4)},
		{n: 10_000, ours: atMost(60), cached: atLeast(4), enforce: atLeast(35_000), prepared: atMost(15)},
		{n: 100_000, ours: atMost(70), cached: atLeast(4)},
	} {
		if size.n > b.tokens {
			continue
		}
		list, on, err := b.deciders(size.n)
		if err != nil {
			return err
		}
		var sides []measure.Side
		for _, d := range list {
			sides = append(sides, d.side(on))
		}
		byHandle, err := b.preparedSide(size.n)
		if err != nil {
			return err
		}
		sides = append(sides, byHandle)
		title := plural(size.n, "grant")
		results, err := b.compare(title, sides...)
		if err != nil {
			return err
		}
		for i, r := range results {
			at := lineOf(&picture, r.Name, i == 0)
			at.X, at.Y = append(at.X, float64(size.n)), append(at.Y, r.NS.Median())
		}
		ours, enforce, cached := results[0], results[1], results[2]
		b.time("Allows, hot, "+title, ours.NS, size.ours)
		b.faster("Allows, hot, "+title, ours, cached, size.cached)
		b.faster("Allows, hot, "+title, ours, enforce, size.enforce)
		b.amount("Allows, hot, "+title+": allocations", ours.Allocs, "", atMost(0))
		b.time("A prepared question, "+title, results[len(results)-1].NS, size.prepared)
	}
	b.plots = append(b.plots, plotFile(picture, "check.svg"))
	return nil
}

// preparedQuestions is how many questions are prepared: as many as the rights of a token keep answers to.
const preparedQuestions = 32

// preparedSide asks questions about n grants that were prepared, as those of fixed routes are.
func (b *bench) preparedSide(n int) (measure.Side, error) {
	rules, on := grants(n)
	access, err := withRoles(b.ctx, rules)
	if err != nil {
		return measure.Side{}, err
	}
	var asked []latchkey.PreparedQuestion
	for _, i := range shuffled(n)[:min(n, preparedQuestions)] {
		asked = append(asked, latchkey.PrepareQuestion(latchkey.Read, on[i]))
	}
	for _, q := range asked { // first, so that these are the answers that are kept
		if !access.AllowsQuestion(q) {
			return measure.Side{}, fmt.Errorf("%v is denied", q.Question())
		}
	}
	byHandle := decider{name: "latchkey, a prepared question", allows: func(action, resource string) (bool, error) {
		q := latchkey.PrepareQuestion(latchkey.Action(action), latchkey.Resource(resource))
		return access.AllowsQuestion(q), nil
	}}
	names := make([]string, len(asked))
	for i, q := range asked {
		names[i] = string(q.Question().Resource)
	}
	i := 0
	return measure.Side{Name: byHandle.name, Run: func(n int) error {
		for range n {
			if !access.AllowsQuestion(asked[i]) {
				return fmt.Errorf("%v is denied", asked[i].Question())
			}
			if i++; i == len(asked) {
				i = 0
			}
		}
		return nil
	}}, byHandle.agree(names)
}

// lineOf returns the line of a plot that has a name, and adds it if there is none.
func lineOf(p *plot.Plot, name string, strong bool) *plot.Line {
	for i := range p.Lines {
		if p.Lines[i].Name == name {
			return &p.Lines[i]
		}
	}
	p.Lines = append(p.Lines, plot.Line{Name: name, Strong: strong})
	return &p.Lines[len(p.Lines)-1]
}

// deciders returns all that can be asked about n grants, latchkey, Enforce and CachedEnforcer first, and the hot
// resources. They have given the same answers.
func (b *bench) deciders(n int) ([]decider, []string, error) {
	rules, resources := grants(n)
	on := make([]string, n)
	for i, r := range resources {
		on[i] = string(r)
	}
	access, err := withRoles(b.ctx, rules)
	if err != nil {
		return nil, nil, err
	}
	list := []decider{allowsBy("latchkey", access)}
	byCasbin, err := casbinDeciders(on)
	if err != nil {
		return nil, nil, err
	}
	list = append(list, byCasbin...)
	if n <= 10_000 { // cedar-go goes through all policies, and 100,000 take long to read
		d, err := cedarDecider(on)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, d)
	}
	d, err := opaDecider(b.ctx, on)
	if err != nil {
		return nil, nil, err
	}
	list = append(list, d, mapDecider(on))
	asked := on
	if len(asked) > hot { // spread over all grants: casbin ends its search where it finds one
		asked = make([]string, hot)
		for i, at := range shuffled(n)[:hot] {
			asked[i] = on[at]
		}
	}
	for _, d := range list {
		some := asked[:min(len(asked), 64)]
		if d.name == "casbin CachedEnforcer" {
			some = asked // what was answered once is what it is fast at
		}
		if err := d.agree(some); err != nil {
			return nil, nil, err
		}
	}
	return list, asked, nil
}

// benchRoles asks tokens with several roles, the last of which allows, and a token that was minted four deep.
func benchRoles(b *bench) error {
	var sides []measure.Side
	for _, n := range []int{1, 20, 100} {
		var roles []latchkey.Permissions
		for i := range n {
			var rules latchkey.Permissions
			for j := range 10 {
				rules = append(rules, latchkey.Grant(latchkey.Read).On(
					latchkey.Exactly(latchkey.Path("dataset", fmt.Sprintf("r%03d-d%02d", i, j)))))
			}
			roles = append(roles, rules)
		}
		access, err := withRoles(b.ctx, roles...)
		if err != nil {
			return err
		}
		var on []string
		for j := range 10 {
			on = append(on, fmt.Sprintf("dataset/r%03d-d%02d", n-1, j))
		}
		d := allowsBy(plural(n, "role"), access)
		if err := d.agree(on); err != nil {
			return err
		}
		sides = append(sides, d.side(on))
	}
	deep, on, err := mintedDeep(b.ctx)
	if err != nil {
		return err
	}
	d := allowsBy("minted 4 deep", deep)
	if err := d.agree(on); err != nil {
		return err
	}
	results, err := b.compare("many roles, the last one allows; many generations", append(sides, d.side(on))...)
	if err != nil {
		return err
	}
	b.time("Allows, 20 roles, the last one allows", results[1].NS, atMost(80))
	b.time("Allows, 100 roles, the last one allows", results[2].NS, atMost(100))
	b.time("Allows, minted 4 deep", results[3].NS, atMost(110))
	return nil
}

// mintedDeep returns a token with three others between it and its key, and what the key may read.
func mintedDeep(ctx context.Context) (latchkey.Access, []string, error) {
	rules, resources := grants(100)
	access, err := withRoles(ctx, rules)
	for range 4 {
		if err != nil {
			return access, nil, err
		}
		var s latchkey.Secret
		_, s, err = access.Mint(ctx, latchkey.Narrowing{Client: latchkey.Client{ID: "42"}, Lifetime: time.Hour})
		if err == nil {
			access, err = access.Manager().Verify(ctx, latchkey.Presented{Secret: s.Reveal()})
		}
	}
	var on []string
	for _, r := range resources {
		on = append(on, string(r))
	}
	return access, on, err
}
