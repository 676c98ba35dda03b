package latchkey

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// CodeRoleID returns the id of the role of Options.Roles that has this name: "code:viewer" for "viewer". No store and
// no surface gives an id of that form.
func CodeRoleID(name string) string { return codePrefix + name }

// maxCodeName is how long the name of a role of Options.Roles may be, in bytes: its id is bounded like any other.
const maxCodeName = maxRoleID - len(codePrefix)

// codeRoles are the roles of Options.Roles. The zero value holds none. It never changes.
type codeRoles struct {
	list   []Role // by id
	byID   map[string]Role
	byFold map[string]Role // by foldName of the name
}

// newCodeRoles checks the roles of Options.Roles, and gives them their ids. It returns [ErrInvalid] for what New panics
// on.
func newCodeRoles(given []Role) (codeRoles, error) {
	out := codeRoles{byID: map[string]Role{}, byFold: map[string]Role{}}
	fail := func(name, format string, args ...any) (codeRoles, error) {
		return codeRoles{}, fmt.Errorf("role %q of Options.Roles: "+format, append([]any{name}, args...)...)
	}
	if len(given) > maxRoles {
		return codeRoles{}, fmt.Errorf("%w: Options.Roles has more than %d roles", ErrInvalid, maxRoles)
	}
	for _, r := range given {
		r = r.Clone()
		if r.ID != "" && r.ID != CodeRoleID(r.Name) || r.Owner != "" || r.Version != 0 || r.Origin != "" || r.Damaged {
			return fail(r.Name, "%w: ID, Owner, Version, Origin and Damaged must be empty", ErrInvalid)
		}
		if len(r.Name) > maxCodeName {
			return fail(r.Name, "%w: the name has more than %d bytes", ErrInvalid, maxCodeName)
		}
		r.ID = CodeRoleID(r.Name)
		for i, up := range r.Inherits {
			if !isCodeID(up) {
				r.Inherits[i] = CodeRoleID(up)
			}
		}
		if err := r.Validate(); err != nil {
			return fail(r.Name, "%w", err)
		}
		if err := checkNewRoleName(r.Name); err != nil {
			return fail(r.Name, "%w", err)
		}
		if other, taken := out.byFold[foldName(r.Name)]; taken {
			return fail(r.Name, "%w: its name equals that of role %q but for case and spaces", ErrInvalid, other.Name)
		}
		out.byID[r.ID], out.byFold[foldName(r.Name)] = r, r
	}
	out.list = slices.SortedFunc(maps.Values(out.byID), func(a, b Role) int { return cmp.Compare(a.ID, b.ID) })
	for i := range out.list {
		r := &out.list[i]
		for _, up := range r.Inherits {
			if _, known := out.byID[up]; !known {
				return fail(r.Name, "%w: it inherits %q, which is not in the list", ErrInvalid, up[len(codePrefix):])
			}
		}
		p := newPolicy([]layer{{roles: []string{r.ID}}}, out.byID)
		if n := &p.nodes[len(p.nodes)-1]; n.broken { // the role itself comes after all that it inherits
			return fail(r.Name, "%w: %s", ErrInvalid, n.why)
		}
		if err := p.checkSize(context.Background()); err != nil {
			return fail(r.Name, "%w", err)
		}
	}
	return out, nil
}

// The form of the file that WriteRoles writes.
type (
	rolesFile struct {
		Format int        `json:"format"`
		Roles  []roleForm `json:"roles"`
	}
	roleForm struct {
		Name          string          `json:"name"`
		Inherits      []string        `json:"inherits,omitempty"`
		InheritDenies bool            `json:"inherit_denies,omitempty"`
		Permissions   Permissions     `json:"permissions,omitempty"`
		Boundary      Permissions     `json:"boundary,omitzero"` // nil is none, and an empty one lets nothing through
		Extra         json.RawMessage `json:"extra,omitempty"`
	}
)

// UnmarshalJSON reads a role strictly. A member that is null is refused: a boundary that is left out is none.
func (f *roleForm) UnmarshalJSON(data []byte) error {
	type plain roleForm
	return unmarshalMembers(data, (*plain)(f))
}

const (
	rolesFormat  = 1
	maxRolesFile = 64 << 20 // bytes
)

// WriteRoles writes roles in the form that [ReadRoles] reads. They are those of Options.Roles, or what
// [Manager.CodeRoles] returned. It returns [ErrInvalid] for roles on which [New] would panic, and writes nothing then.
//
// The file is for programs that share the store and not the code, such as a command line. The application writes it
// with each deploy.
func WriteRoles(w io.Writer, roles []Role) error {
	known, err := newCodeRoles(roles)
	if err != nil {
		return err
	}
	file := rolesFile{Format: rolesFormat, Roles: []roleForm{}}
	for _, r := range known.list {
		form := roleForm{Name: r.Name, InheritDenies: r.InheritDenies, Permissions: r.Permissions, Boundary: r.Boundary,
			Extra: r.Extra}
		for _, up := range r.Inherits {
			form.Inherits = append(form.Inherits, known.byID[up].Name)
		}
		file.Roles = append(file.Roles, form)
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// ReadRoles reads what [WriteRoles] wrote, for Options.Roles. It reads strictly, at most 64 MiB. It returns
// [ErrInvalid] for anything else, for a format that a later version wrote, and for roles on which [New] would panic.
// An error of the reader is returned as it is.
func ReadRoles(r io.Reader) ([]Role, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxRolesFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRolesFile {
		return nil, fmt.Errorf("%w: a file of roles has at most %d bytes", ErrInvalid, maxRolesFile)
	}
	var peek struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(text, &peek) == nil && peek.Format > rolesFormat {
		return nil, fmt.Errorf("%w: a file of roles of format %d: a later version of latchkey wrote it", ErrInvalid,
			peek.Format)
	}
	var file rolesFile
	if err := strictjson.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%w: a file of roles: %w", ErrInvalid, err)
	}
	if file.Format != rolesFormat || file.Roles == nil {
		return nil, fmt.Errorf("%w: a file of roles has the format %d, and a list of roles", ErrInvalid, rolesFormat)
	}
	roles := make([]Role, len(file.Roles))
	for i, form := range file.Roles {
		roles[i] = Role{Name: form.Name, Inherits: form.Inherits, InheritDenies: form.InheritDenies,
			Permissions: form.Permissions, Boundary: form.Boundary}
		if form.Extra != nil {
			var text bytes.Buffer // as WriteRoles was given it, but for spaces
			if err := json.Compact(&text, form.Extra); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
			}
			roles[i].Extra = text.Bytes()
		}
	}
	if _, err := newCodeRoles(roles); err != nil {
		return nil, err
	}
	return roles, nil
}
