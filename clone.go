package latchkey

import (
	"maps"
	"slices"
)

// Clone returns a copy that shares nothing changeable with t. Rules and conditions are immutable and stay shared.
func (t Token) Clone() Token {
	t.Roles = slices.Clone(t.Roles)
	t.Permissions = slices.Clone(t.Permissions)
	t.Restrictions.Domains = slices.Clone(t.Restrictions.Domains)
	t.Restrictions.Addresses = slices.Clone(t.Restrictions.Addresses)
	t.Restrictions.MintFrom = slices.Clone(t.Restrictions.MintFrom)
	t.Extra = slices.Clone(t.Extra)
	t.Rows = slices.Clone(t.Rows)
	t.Forced = maps.Clone(t.Forced)
	return t
}

// Clone returns a copy that shares nothing changeable with r. A nil Boundary stays nil and an empty one stays empty.
func (r Role) Clone() Role {
	r.Inherits = slices.Clone(r.Inherits)
	r.Permissions = slices.Clone(r.Permissions)
	r.Boundary = slices.Clone(r.Boundary)
	r.Extra = slices.Clone(r.Extra)
	return r
}

// Clone returns a copy that shares nothing changeable with o. A nil Boundary stays nil and an empty one stays empty.
func (o Owner) Clone() Owner {
	o.Boundary = slices.Clone(o.Boundary)
	o.Extra = slices.Clone(o.Extra)
	return o
}
