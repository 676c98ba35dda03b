package console

import (
	"slices"

	"github.com/latchkey-go/latchkey"
)

// link of a chain: a token, one of those it was minted from, or the account. Each may do no more than those after it.
type chainStep struct {
	Name, Link, Client string // Name "": the token itself
	Hidden             bool   // the person may not see it
	Account            bool   // the account, with its boundary
	Everything         bool   // it may do everything: a secret key
	Full               bool   // it may do all that the next may do
	Roles              []chainRole
	RolesMore          int
	Own                int // rules of its own
	Rows               string
}

type chainRole struct {
	ID, Name  string
	Inherited bool // by a role before it
}

// maxChainRoles bounds the roles of a step.
const maxChainRoles = 16

// chain returns where the rights of a token come from.
func (v *view) chain(l *latchkey.Lineage) (steps []chainStep) {
	for i := -1; i < len(l.Ancestors); i++ {
		t, step := &l.Token, chainStep{}
		if i >= 0 {
			t = &l.Ancestors[i]
			step.Name, step.Link = label(t), "token/"+t.ID
		}
		if t.Owner == "" && i >= 0 {
			steps = append(steps, chainStep{Name: t.ID, Hidden: true})
			continue
		}
		if step.Client = t.Client.Name; step.Client == "" {
			step.Client = t.Client.ID
		}
		step.Everything, step.Full, step.Own = t.Kind == latchkey.KindSecret, t.Full, len(t.Permissions)
		step.Rows = shorten(rowsText(t.Rows), maxFact)
		step.Roles, step.RolesMore = rolesOf(t.Roles, l.Roles)
		steps = append(steps, step)
	}
	if l.Boundary != nil {
		steps = append(steps, chainStep{Account: true, Own: len(l.Boundary)})
	}
	return steps
}

// rolesOf returns the named roles, each followed by what it inherits, and how many more there are.
func rolesOf(named []string, known []latchkey.Role) (out []chainRole, more int) {
	byID := map[string]*latchkey.Role{}
	for i := range known {
		byID[known[i].ID] = &known[i]
	}
	seen := map[string]bool{}
	var add func(id string, inherited bool)
	add = func(id string, inherited bool) {
		r := byID[id]
		if seen[id] || r == nil || inherited && slices.Contains(named, id) {
			return
		}
		seen[id] = true
		if len(out) < maxChainRoles {
			out = append(out, chainRole{id, shorten(exact(r.Name), maxNameLength), inherited})
		} else {
			more++
		}
		for _, up := range r.Inherits {
			add(up, true)
		}
	}
	for _, id := range named {
		add(id, false)
	}
	return out, more
}

// callThem makes the answers about a token name those it was minted from as people do, not by their ids.
func (v *view) callThem(l *latchkey.Lineage) {
	v.called = map[string]string{}
	for i := range l.Ancestors {
		if t := &l.Ancestors[i]; t.Owner != "" {
			v.called[t.ID] = "“" + shorten(label(t), maxNameLength) + "”"
		}
	}
}
