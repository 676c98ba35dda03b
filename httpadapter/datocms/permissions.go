package datocms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/latchkey-go/latchkey"
)

var flagNames = []string{
	"can_edit_favicon", "can_edit_site", "can_edit_schema", "can_manage_menu", "can_edit_environment",
	"can_promote_environments", "can_manage_environments", "can_manage_users", "can_manage_shared_filters",
	"can_manage_search_indexes", "can_manage_upload_collections", "can_manage_build_triggers", "can_manage_webhooks",
	"can_manage_sso", "can_access_audit_log", "can_manage_workflows", "can_manage_access_tokens",
	"can_perform_site_search", "can_access_build_events_log", "can_access_search_index_events_log",
}

var environmentsAccess = []string{"all", "primary_only", "sandbox_only", "none"}

// Positions in permissions.lists. Those of family i are 2*i + positive and 2*i + negative.
const (
	positive = iota
	negative
)

// listNames are the attributes of a role that hold entries, in the order of permissions.lists.
var listNames = func() []string {
	var names []string
	for _, f := range families {
		names = append(names, "positive_"+f.name+"_permissions", "negative_"+f.name+"_permissions")
	}
	return names
}()

// permissions are what a role itself states, in the format of the API. Role.Extra keeps them; entries stay byte for
// byte, except white space.
type permissions struct {
	flags        map[string]bool
	environments string
	lists        [][]json.RawMessage // by listNames

	// allEnvironments: entries that allow everything apply to every environment. No request can set it: see [AdminRole].
	allEnvironments bool
}

func newPermissions() *permissions {
	return &permissions{flags: map[string]bool{}, environments: defaultEnvironments,
		lists: make([][]json.RawMessage, len(listNames))}
}

const memberAllEnvironments = "all_environments"

// storedPermissions reads Role.Extra. One that does not decode allows nothing.
func storedPermissions(extra json.RawMessage) *permissions {
	p := newPermissions()
	var m map[string]json.RawMessage
	if json.Unmarshal(extra, &m) != nil {
		p.environments = "none"
		return p
	}
	p.allEnvironments = string(m[memberAllEnvironments]) == "true"
	delete(m, memberAllEnvironments)
	c := newChecker("role", false)
	if p.read(c, m, "#"); c.err() != nil {
		p = newPermissions()
		p.environments = "none" // fail closed
	}
	return p
}

// read sets what attributes state; what they leave out stays.
func (p *permissions) read(c *checker, attributes map[string]json.RawMessage, at string) {
	for _, name := range flagNames {
		if raw, ok := attributes[name]; ok {
			p.flags[name] = c.boolean(raw, at+"/"+name)
		}
	}
	if raw, ok := attributes["environments_access"]; ok {
		p.environments = c.oneOf(raw, at+"/environments_access", environmentsAccess...)
	}
	for i := range families {
		pos, hasPos := attributes[listNames[2*i+positive]]
		neg, hasNeg := attributes[listNames[2*i+negative]]
		if hasPos != hasNeg {
			c.fail(at, listNames[2*i+positive]+" and "+listNames[2*i+negative]+" are supplied together, or neither.")
		}
		if hasPos && hasNeg {
			p.lists[2*i+positive] = families[i].readList(c, pos, at+"/"+listNames[2*i+positive])
			p.lists[2*i+negative] = families[i].readList(c, neg, at+"/"+listNames[2*i+negative])
		}
	}
}

func (f *family) readList(c *checker, raw json.RawMessage, at string) []json.RawMessage {
	list := c.list(raw, at, maxEntries)
	for i, one := range list {
		f.readEntry(c, one, at+"/"+itoa(i))
	}
	return list
}

// entries returns the entries of a list of family i. They were checked when they were saved.
func (p *permissions) entries(i, side int) []entry {
	var out []entry
	for _, raw := range p.lists[2*i+side] {
		out = append(out, families[i].readEntry(newChecker("role", false), raw, "#"))
	}
	return out
}

// MarshalJSON writes the attributes in the order of the documents.
func (p *permissions) MarshalJSON() ([]byte, error) { return p.marshal("") }

// marshal writes the attributes, name first unless it is "".
func (p *permissions) marshal(name string) ([]byte, error) {
	var b bytes.Buffer
	member := func(key string, value any) error {
		text, err := encode(value)
		if err != nil {
			return err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + key + `":`)
		b.Write(text)
		return nil
	}
	var errs []error
	b.WriteByte('{')
	if name != "" {
		errs = append(errs, member("name", name))
	}
	for _, flag := range flagNames {
		errs = append(errs, member(flag, p.flags[flag]))
	}
	errs = append(errs, member("environments_access", p.environments))
	for i, list := range listNames {
		entries := p.lists[i]
		if entries == nil {
			entries = []json.RawMessage{}
		}
		errs = append(errs, member(list, entries))
	}
	b.WriteByte('}')
	return b.Bytes(), errors.Join(errs...)
}

// extra returns the permissions as Role.Extra keeps them.
func (p *permissions) extra() (json.RawMessage, error) {
	text, err := p.marshal("")
	if err == nil && p.allEnvironments {
		text = append(text[:len(text)-1], `,"`+memberAllEnvironments+`":true}`...)
	}
	return text, err
}

// apply writes the permissions into a role, as Extra and as rules.
func (p *permissions) apply(r *latchkey.Role, primary string, inheritDenies bool) (err error) {
	if r.Extra, err = p.extra(); err != nil {
		return err
	}
	p.applyRules(r, primary, inheritDenies)
	return nil
}

// applyRules writes the permissions into a role as rules.
func (p *permissions) applyRules(r *latchkey.Role, primary string, inheritDenies bool) {
	r.Permissions, r.Boundary, r.InheritDenies = p.compile(), p.boundary(primary), inheritDenies
}

// merge adds the resolved permissions of an inherited role; denies says whether its negative ones apply, too.
func (p *permissions) merge(up *permissions, denies bool) {
	for _, name := range flagNames {
		p.flags[name] = p.flags[name] || up.flags[name]
	}
	p.environments = mergeEnvironments(p.environments, up.environments)
	for i := range families {
		p.lists[2*i+positive] = append(p.lists[2*i+positive], up.lists[2*i+positive]...)
		if denies {
			p.lists[2*i+negative] = append(p.lists[2*i+negative], up.lists[2*i+negative]...)
		}
	}
}

func mergeEnvironments(a, b string) string {
	switch {
	case a == b || b == "none":
		return a
	case a == "none":
		return b
	}
	return "all" // primary_only and sandbox_only together are all
}

// dropDuplicates drops entries that mean the same as an earlier one.
func (p *permissions) dropDuplicates() {
	for i, list := range p.lists {
		seen := map[entry]bool{}
		p.lists[i] = slices.DeleteFunc(list, func(raw json.RawMessage) bool {
			e := families[i/2].readEntry(newChecker("role", false), raw, "#")
			twice := seen[e]
			seen[e] = true
			return twice
		})
	}
}

// inheritance resolves roles of this surface, reading each once.
type inheritance struct {
	account latchkey.Account
	roles   map[string]latchkey.Role
	done    map[string]*permissions
}

func newInheritance(account latchkey.Account, roles ...latchkey.Role) *inheritance {
	l := &inheritance{account: account, roles: map[string]latchkey.Role{}, done: map[string]*permissions{}}
	for _, r := range roles {
		l.roles[r.ID] = r
	}
	return l
}

// resolve returns the permissions of a role with all that it inherits: what is enforced.
func (l *inheritance) resolve(ctx context.Context, r latchkey.Role) (*permissions, error) {
	if p, ok := l.done[r.ID]; ok {
		return p, nil
	}
	own := storedPermissions(r.Extra)
	out := newPermissions()
	out.environments = "none"
	l.done[r.ID] = out // ends a cycle; saved roles have none
	for _, id := range r.Inherits {
		up, ok := l.roles[id]
		if !ok {
			var err error
			var damaged *latchkey.DamagedError
			if up, err = l.account.Role(ctx, id); errors.Is(err, latchkey.ErrNotFound) || errors.As(err, &damaged) {
				continue // it gives nothing
			} else if err != nil {
				return nil, err
			}
			l.roles[id] = up
		}
		if up.Origin != Origin {
			continue // the API cannot express a host's own role
		}
		theirs, err := l.resolve(ctx, up)
		if err != nil {
			return nil, err
		}
		out.merge(theirs, r.InheritDenies)
	}
	out.merge(own, true)
	out.dropDuplicates()
	return out, nil
}

// AdminRole returns a role that may do everything, in every current and future environment, until a change removes
// something from it. In replies its entries name environment. Create it with [latchkey.Account.CreateRole].
func AdminRole(name, environment string) latchkey.Role {
	p := newPermissions()
	p.allEnvironments, p.environments = true, "all"
	for _, flag := range flagNames {
		p.flags[flag] = true
	}
	env, err := json.Marshal(environment)
	if err != nil { // a string
		panic("datocms: " + err.Error())
	}
	p.lists[0] = []json.RawMessage{json.RawMessage(`{"environment":` + string(env) + `,"item_type":null,"workflow":null,` +
		`"on_stage":null,"to_stage":null,"action":"all","on_creator":"anyone","localization_scope":"all","locale":null}`)}
	p.lists[2] = []json.RawMessage{json.RawMessage(`{"environment":` + string(env) + `,"action":"all",` +
		`"on_creator":"anyone","localization_scope":"all","locale":null}`)}
	p.lists[4] = []json.RawMessage{json.RawMessage(`{"build_trigger":null}`)}
	p.lists[6] = []json.RawMessage{json.RawMessage(`{"search_index":null}`)}
	r := latchkey.Role{Name: name, Origin: Origin}
	if err := p.apply(&r, environment, true); err != nil { // cannot fail for the JSON above
		panic("datocms: " + err.Error())
	}
	return r
}

// TokenSpec returns the spec of a token of this surface, bound to one of its roles, that may use the given APIs.
// Issue it with [latchkey.Account.Issue].
func TokenSpec(name, roleID string, cda, preview, cma bool) latchkey.Spec {
	return latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: Origin, Name: name,
		Roles: []string{roleID}, Permissions: apiRules(cda, preview, cma)}
}
