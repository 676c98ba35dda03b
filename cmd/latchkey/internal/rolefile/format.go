// Package rolefile keeps the roles of owners, and what holds for all of an owner's tokens, in a file under version
// control. [Make] compares such a file with a store, and [Plan.Apply] makes the store what the file says.
//
//	{
//	  "format": 1,
//	  "owners": {
//	    "acme": {
//	      "roles": [
//	        {"name": "viewer", "permissions": [{"allow": ["read"], "on": ["dataset/*"]}]},
//	        {"name": "editor", "inherits": ["viewer"], "permissions": [{"allow": ["update"], "on": ["dataset/orders"]}]}
//	      ],
//	      "boundary": [{"allow": ["*"], "on": ["dataset/*"]}],
//	      "limits": {"rate": {"count": 100, "per": 1000000000}},
//	      "policy": {"max_lifetime": 7776000000000000}
//	    }
//	  }
//	}
//
// A role is written as latchkey.WriteRoles writes it, and known by its name. Inherits holds names of roles of the file
// or of the store, names or ids of roles of the application ("code:viewer"), or ids. Roles that a surface made, with an
// Origin, stand in no file. A boundary of "none" is none, and [] lets nothing through. Limits and a policy of {} are
// none. What the file does not name stays as it is.
package rolefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

const (
	format   = 1
	maxFile  = 64 << 20 // bytes
	maxRoles = 10_000   // of an owner in a file
)

// File is what a file says.
type File struct {
	Owners map[string]Owner
}

// Owner is what a file says of an owner.
type Owner struct {
	Roles []latchkey.Role // without ID, Owner, Version and Origin; Inherits as in the file
	// Boundary, Limits and Policy are nil where the file does not name them. A Boundary that points to nil is none.
	Boundary *latchkey.Permissions
	Limits   *latchkey.Limits
	Policy   *latchkey.OwnerPolicy
}

type (
	fileForm struct {
		Format int                   `json:"format"`
		Owners map[string]*ownerForm `json:"owners"`
	}
	ownerForm struct {
		Roles    []roleForm            `json:"roles,omitempty"`
		Boundary *boundaryForm         `json:"boundary,omitempty"`
		Limits   *latchkey.Limits      `json:"limits,omitempty"`
		Policy   *latchkey.OwnerPolicy `json:"policy,omitempty"`
	}
	roleForm struct {
		Name          string               `json:"name"`
		Inherits      []string             `json:"inherits,omitempty"`
		InheritDenies bool                 `json:"inherit_denies,omitempty"`
		Permissions   latchkey.Permissions `json:"permissions,omitempty"`
		Boundary      latchkey.Permissions `json:"boundary,omitzero"` // nil is none, and an empty one lets nothing through
		Extra         json.RawMessage      `json:"extra,omitempty"`
	}
	// boundaryForm is rules, or "none".
	boundaryForm struct{ rules latchkey.Permissions }
)

const noBoundary = `"none"`

// MarshalJSON writes rules, or "none".
func (b boundaryForm) MarshalJSON() ([]byte, error) {
	if b.rules == nil {
		return []byte(noBoundary), nil
	}
	return json.Marshal(b.rules)
}

// UnmarshalJSON reads rules, or "none". Nothing else stands for no boundary: null would be a mistake that allows more.
func (b *boundaryForm) UnmarshalJSON(text []byte) error {
	if text = bytes.TrimSpace(text); string(text) == noBoundary {
		b.rules = nil
		return nil
	}
	if len(text) == 0 || text[0] != '[' {
		return fmt.Errorf(`%w: a boundary of an owner is a list of rules, or "none"`, latchkey.ErrInvalid)
	}
	if err := json.Unmarshal(text, &b.rules); err != nil {
		return err
	}
	if b.rules == nil {
		b.rules = latchkey.Permissions{}
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{latchkey.ErrInvalid}, args...)...)
}

// Read reads a file strictly: what is unknown, repeated or null is refused. Errors wrap latchkey.ErrInvalid, but for
// those of the reader.
func Read(r io.Reader) (File, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return File{}, err
	}
	if len(text) > maxFile {
		return File{}, invalid("a file of roles has at most %d bytes", maxFile)
	}
	var peek struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(text, &peek) == nil && peek.Format > format {
		return File{}, invalid("format %d: a later version of latchkey is needed to read it", peek.Format)
	}
	var whole any
	if err := strictjson.Unmarshal(text, &whole); err != nil {
		return File{}, placed(text, err)
	}
	if err := refuseNull(whole); err != nil {
		return File{}, err
	}
	var form fileForm
	if err := strictjson.Unmarshal(text, &form); err != nil {
		return File{}, placed(text, err)
	}
	if form.Format != format || form.Owners == nil {
		return File{}, invalid(`a file of roles has "format": %d, and "owners"`, format)
	}
	f := File{Owners: map[string]Owner{}}
	for _, id := range slices.Sorted(maps.Keys(form.Owners)) {
		o, err := form.Owners[id].owner()
		if err != nil {
			return File{}, fmt.Errorf("owner %q: %w", id, err)
		}
		f.Owners[id] = o
	}
	return f, nil
}

// placed adds the line to an error of strictjson. The reason of a value's own type says more than that it does not fit.
func placed(text []byte, err error) error {
	e, ok := errors.AsType[*strictjson.Error](err)
	if !ok {
		return invalid("%w", err)
	}
	reason := e.Reason
	if own := e.Unwrap(); own != nil && errors.Is(own, latchkey.ErrInvalid) {
		reason = strings.TrimPrefix(own.Error(), latchkey.ErrInvalid.Error()+": ")
	}
	if e.Offset < 0 || e.Offset > int64(len(text)) {
		return invalid("%s", reason)
	}
	return invalid("line %d: %s", bytes.Count(text[:e.Offset], []byte("\n"))+1, reason)
}

// refuseNull refuses null in all but extras and values of conditions, which have rules of their own.
func refuseNull(v any) error {
	owners, _ := v.(map[string]any)
	list, _ := owners["owners"].(map[string]any)
	for id, o := range list {
		members, ok := o.(map[string]any)
		if !ok {
			return invalid("owner %q is not an object", id)
		}
		for name, value := range members {
			if value == nil {
				return invalid("owner %q: %s is null: leave it out, to leave it as it is", id, name)
			}
		}
		roles, _ := members["roles"].([]any)
		for _, r := range roles {
			role, ok := r.(map[string]any)
			if !ok {
				return invalid("owner %q: a role is not an object", id)
			}
			for name, value := range role {
				if value == nil && name != "extra" {
					return invalid("owner %q: %s of a role is null: leave it out", id, name)
				}
			}
		}
	}
	return nil
}

func (f *ownerForm) owner() (Owner, error) {
	o := Owner{Limits: f.Limits, Policy: f.Policy}
	if f.Boundary != nil {
		if err := f.Boundary.rules.Validate(); err != nil {
			return o, fmt.Errorf("boundary: %w", err)
		}
		o.Boundary = &f.Boundary.rules
	}
	if len(f.Roles) > maxRoles {
		return o, invalid("more than %d roles", maxRoles)
	}
	seen := map[string]bool{}
	for _, form := range f.Roles {
		r := latchkey.Role{Name: form.Name, Inherits: form.Inherits, InheritDenies: form.InheritDenies,
			Permissions: form.Permissions, Boundary: form.Boundary}
		if form.Extra != nil {
			var text bytes.Buffer // spaces between lines are those of the file, not of the role
			if err := json.Compact(&text, form.Extra); err != nil {
				return o, invalid("%w", err)
			}
			r.Extra = text.Bytes()
		}
		if err := r.Validate(); err != nil {
			return o, fmt.Errorf("role %q: %w", r.Name, err)
		}
		if seen[r.Name] {
			return o, invalid("two roles are named %q", r.Name)
		}
		seen[r.Name] = true
		o.Roles = append(o.Roles, r)
	}
	return o, nil
}

// Write writes a file that [Read] reads. What is in order stays in order.
func (f File) Write(w io.Writer) error {
	form := fileForm{Format: format, Owners: map[string]*ownerForm{}}
	for id, o := range f.Owners {
		of := &ownerForm{Limits: o.Limits, Policy: o.Policy}
		if o.Boundary != nil {
			of.Boundary = &boundaryForm{*o.Boundary}
		}
		for _, r := range o.Roles {
			of.Roles = append(of.Roles, formOf(r))
		}
		form.Owners[id] = of
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(form)
}

func formOf(r latchkey.Role) roleForm {
	return roleForm{r.Name, r.Inherits, r.InheritDenies, r.Permissions, r.Boundary, r.Extra}
}
