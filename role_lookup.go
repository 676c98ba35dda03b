package latchkey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/internal/fault"
)

// CodeRoles returns the roles of Options.Roles, by id. They are copies. [WriteRoles] takes them.
func (m *Manager) CodeRoles() []Role {
	out := make([]Role, len(m.code.list))
	for i, r := range m.code.list {
		out[i] = r.Clone()
	}
	return out
}

// CodeRoleNamed returns the role of Options.Roles whose name equals name but for case and spaces. A stored role of the
// host ([Role.Origin] is "") of such a name is refused. One that exists already stays, and is told by
// [ExplainedRole.SameName].
func (m *Manager) CodeRoleNamed(name string) (Role, bool) {
	r, ok := m.code.byFold[foldName(name)]
	return r.Clone(), ok
}

// missingRoleError is ErrNotFound for the id of a role of Options.Roles that this process lacks.
type missingRoleError struct{ id string }

func (e *missingRoleError) Error() string {
	return fmt.Sprintf("%v: this process has no role %q: Options.Roles lacks it", ErrNotFound, e.id)
}

func (e *missingRoleError) Unwrap() error { return ErrNotFound }

// isUnknowable reports whether err says that a record cannot be read, or that this process lacks a role. What such a
// record allows is not known, and counts as everything when an actor is checked.
func isUnknowable(err error) bool {
	_, missing := errors.AsType[*missingRoleError](err)
	return missing || isDamaged(err)
}

// role reads a role: one of Options.Roles, or one of the store's.
func (m *Manager) role(ctx context.Context, owner, id string) (Role, error) {
	if !isCodeID(id) {
		return m.store.Role(ctx, owner, id)
	}
	if r, ok := m.code.byID[id]; ok {
		return r.Clone(), nil
	}
	return Role{}, &missingRoleError{id}
}

// roleClosure reads a role and all that it inherits, and returns them with the known ones. It returns ErrNotFound if
// the role itself does not exist. An inherited role that does not exist is left out, and gives nothing.
func (m *Manager) roleClosure(
	ctx context.Context, owner string, known map[string]Role, id string,
) (map[string]Role, error) {
	out := maps.Clone(known)
	if out == nil {
		out = map[string]Role{}
	}
	seen := map[string]bool{id: true}
	for queue := []string{id}; len(queue) > 0; queue = queue[1:] {
		r, err := m.role(ctx, owner, queue[0])
		if errors.Is(err, ErrNotFound) && queue[0] != id {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[r.ID] = r
		for _, up := range r.Inherits {
			if !seen[up] {
				seen[up] = true
				queue = append(queue, up)
			}
		}
		if len(seen) > maxRoles {
			return nil, tooManyInherited()
		}
	}
	return out, nil
}

func tooManyInherited() error {
	return fmt.Errorf("%w: a role and all that it inherits are more than %d roles", ErrInvalid, maxRoles)
}

// missingRole returns the id of a role of Options.Roles that layers name, or that one of the roles inherits, and that
// roles lacks. "": none.
func missingRole(layers []layer, roles map[string]Role) string {
	lacks := func(id string) bool {
		_, known := roles[id]
		return isCodeID(id) && !known
	}
	for _, l := range layers {
		if i := slices.IndexFunc(l.roles, lacks); i >= 0 {
			return l.roles[i]
		}
	}
	for _, r := range roles {
		if i := slices.IndexFunc(r.Inherits, lacks); i >= 0 {
			return r.Inherits[i]
		}
	}
	return ""
}

// withCodeRoles returns f with the roles of Options.Roles that it needs. Those that this process lacks are missing, and
// give nothing. It does not change f.
func (m *Manager) withCodeRoles(f Found) Found {
	var ids []string
	add := func(list []string) {
		for _, id := range list {
			if isCodeID(id) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	add(f.Token.Roles)
	for i := range f.Ancestors {
		add(f.Ancestors[i].Roles)
	}
	for i := range f.Roles {
		add(f.Roles[i].Inherits)
	}
	if len(ids) == 0 {
		return f
	}
	// No store has a role with such an id. If one does, it is none of latchkey's.
	f.Roles = slices.DeleteFunc(slices.Clone(f.Roles), func(r Role) bool { return r.Coded() })
	for i := 0; i < len(ids); i++ {
		if r, ok := m.code.byID[ids[i]]; ok {
			f.Roles = append(f.Roles, r.Clone())
			add(r.Inherits)
		}
	}
	return f
}

// storedRoles returns refs without those of Options.Roles, which no store knows.
func storedRoles(refs []Ref) []Ref {
	return slices.DeleteFunc(refs, func(r Ref) bool { return isCodeID(r.ID) })
}

// resolveRole returns the id of the role that a text names. An id wins over a name. A name is that of a role of the
// host, or of one of Options.Roles, byte for byte. It returns [ErrInvalid] for a name that both have, and for one that
// nobody has. Roles that mayShow refuses are not named in errors. A text that looks like an id is returned as it is,
// also if there is no such role.
func (m *Manager) resolveRole(ctx context.Context, owner, text string, mayShow func(Role) bool) (string, error) {
	if looksLikeRoleID(text) {
		return text, nil
	}
	if err := checkText("role", text, 1, maxName); err != nil {
		return "", err
	}
	if _, err := m.store.Role(ctx, owner, text); err == nil || isDamaged(err) {
		return text, nil
	} else if !errors.Is(err, ErrNotFound) {
		return "", err
	}
	host := ""
	named, err := m.store.Roles(ctx, owner, RoleQuery{Names: []string{text}, Origin: &host})
	if err != nil {
		return "", err
	}
	if r, ok := m.code.byID[CodeRoleID(text)]; ok {
		named = append(named, r)
	}
	switch len(named) {
	case 1:
		return named[0].ID, nil
	case 0:
		return "", m.unknownRole(ctx, owner, text, mayShow)
	}
	var ids []string
	for _, r := range named {
		if mayShow(r) {
			ids = append(ids, r.ID)
		}
	}
	return "", ambiguousRole(text, ids)
}

// ambiguousRole returns the error for a name that several roles have.
func ambiguousRole(text string, ids []string) error {
	return fmt.Errorf("%w: the name %q is that of several roles (%s): name the role by its ID", ErrInvalid, text,
		strings.Join(ids, ", "))
}

// lacksRole returns the error for a call that would rely on a role of Options.Roles that this process lacks.
func lacksRole(id string) error {
	return fmt.Errorf("%w: unknown role: this process has no role %q: give Options.Roles those of the application "+
		"(ReadRoles)", ErrInvalid, id)
}

// unknownRoleID returns the error for an id that no role has, by what reading it returned.
func unknownRoleID(id string, err error) error {
	if _, missing := errors.AsType[*missingRoleError](err); missing {
		return lacksRole(id)
	}
	return unknownRoleNamed(id, nil)
}

// resolveRoles is resolveRole for a list. What is in known is an id already. The result shares nothing with texts.
func (m *Manager) resolveRoles(ctx context.Context, owner string, texts, known []string,
	mayShow func(Role) bool) ([]string, error) {
	ids := slices.Clone(texts)
	if len(ids) > maxRoles {
		return ids, nil // refused later
	}
	for i, text := range ids {
		if slices.Contains(known, text) {
			continue
		}
		id, err := m.resolveRole(ctx, owner, text, mayShow)
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}

// unknownRole returns the error for a text that names no role. It lists names that may have been meant.
func (m *Manager) unknownRole(ctx context.Context, owner, text string, mayShow func(Role) bool) error {
	host := ""
	some, err := m.store.Roles(ctx, owner, RoleQuery{Page: Page{Limit: 1000}, Origin: &host})
	if err != nil {
		return fault.Unavailable(err)
	}
	var names []string
	for _, r := range slices.Concat(m.code.list, some) {
		if !r.Damaged && mayShow(r) {
			names = append(names, r.Name)
		}
	}
	return unknownRoleNamed(text, names)
}

// unknownRoleNamed returns the error for a text that names none of the roles with these names.
func unknownRoleNamed(text string, names []string) error {
	hint := ""
	if like := closeNames(text, names); len(like) > 0 {
		hint = fmt.Sprintf(" (there is %q)", like)
	}
	return fmt.Errorf("%w: unknown role %q: a role is named by its ID, or by the name that the host gave it%s", ErrInvalid,
		text, hint)
}
