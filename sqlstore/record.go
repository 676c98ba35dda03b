package sqlstore

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Times are columns of microseconds. The zero time is NULL, because 1970 is a time like any other. Columns named "at"
// tell when something was done; there the zero time is stored as its number.

func micros(t time.Time) any {
	if t.IsZero() {
		return noNumber{}
	}
	return t.UnixMicro()
}

// noNumber and noBytes are NULL. They say of what type, because rows that are passed as arrays need the types of their
// columns.
type (
	noNumber struct{}
	noBytes  struct{}
)

func (noNumber) Value() (driver.Value, error) { return nil, nil }
func (noBytes) Value() (driver.Value, error)  { return nil, nil }

// ceilMicros is for bounds: a stored time t is before b exactly if its microseconds are below ceilMicros(b).
func ceilMicros(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return us
}

func fromMicros(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMicro(n.Int64).UTC()
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// nullBytes copies b, so that a write may outlive its caller. Nil becomes NULL.
func nullBytes(b []byte) any {
	if b == nil {
		return noBytes{}
	}
	return append([]byte{}, b...)
}

// damagedError names a record that cannot be read completely.
func damagedError(kind latchkey.ChangeKind, owner, id string) error {
	return &latchkey.DamagedError{Kind: kind, Owner: owner, ID: id, Err: errUnreadable}
}

// isDamaged reports whether err means that a record cannot be read. Then the readable columns are returned with it.
func isDamaged(err error) bool {
	var damage *latchkey.DamagedError
	return errors.As(err, &damage)
}

// findDamage returns an error that names the first record of f that cannot be read, or nil.
func findDamage(f *latchkey.Found) error {
	owner := f.Token.Owner
	switch {
	case f.Token.Damaged:
		return damagedError(latchkey.ChangedToken, owner, f.Token.ID)
	case f.Owner.Damaged:
		return damagedError(latchkey.ChangedOwner, owner, owner)
	}
	for i := range f.Ancestors {
		if f.Ancestors[i].Damaged {
			return damagedError(latchkey.ChangedToken, owner, f.Ancestors[i].ID)
		}
	}
	for i := range f.Roles {
		if f.Roles[i].Damaged {
			return damagedError(latchkey.ChangedRole, owner, f.Roles[i].ID)
		}
	}
	return nil
}

// Bodies of roles and owners hold, as JSON, the fields that no query uses. Every other field has a column. Tokens and
// secrets are packed: see pack.go.

type roleBody struct {
	Inherits    []string             `json:"inherits,omitempty"`
	Permissions latchkey.Permissions `json:"permissions,omitempty"`
	Boundary    latchkey.Permissions `json:"boundary,omitzero"` // nil is no boundary, an empty one allows nothing
}

type ownerBody struct {
	Limits latchkey.Limits      `json:"limits,omitzero"`
	Policy latchkey.OwnerPolicy `json:"policy,omitzero"` // programs that do not know it cannot read the record
}

// foreignSecret is the columns of a secret that another system made. They stand beside found, because programs of
// earlier versions write found without them.
type foreignSecret struct {
	algorithm    sql.NullString
	lookup, hash []byte
}

func (f *foreignSecret) dest() []any { return []any{&f.algorithm, &f.lookup, &f.hash} }

func (f *foreignSecret) into(s *latchkey.SecretRecord) {
	s.Algorithm, s.Lookup, s.Hash = f.algorithm.String, string(f.lookup), f.hash
}

// tokenColumns are what a tokenRow scans. The version of the owner's record has its own column, because programs of the
// first schema write records without it.
const tokenColumns = `t.id, t.version, t.record, t.used, t.owner_version`

// tokenRow may be all NULL, from a LEFT JOIN: then there is no token.
type tokenRow struct {
	id      sql.NullString
	version sql.NullInt64
	record  sql.NullString
	used    sql.NullInt64

	ownerVersion sql.NullInt64
}

func (r *tokenRow) dest() []any {
	return []any{&r.id, &r.version, &r.record, &r.used, &r.ownerVersion}
}

// token returns the row's token. A token that cannot be read, or whose record belongs to another row, is Damaged.
func (r *tokenRow) token(owner string) latchkey.Token {
	t, err := unpackToken(r.record.String, fromMicros(r.used))
	if err != nil || t.Owner != owner || t.ID != r.id.String || t.Version != uint64(r.version.Int64) {
		t = latchkey.Token{ID: r.id.String, Owner: owner, Version: uint64(r.version.Int64), Used: fromMicros(r.used),
			Damaged: true}
	}
	t.OwnerVersion = uint64(r.ownerVersion.Int64)
	return t
}

// damagedTokenColumns are what a damagedTokenRow scans: the columns beside a token's record.
const damagedTokenColumns = `t.id, t.version, t.kind, t.parent, t.origin, t.name, t.client_id, t.created, t.not_before,
	t.not_after,
	t.idle, t.used, t.disabled, t.revoked, t.hint, t.owner_version`

type damagedTokenRow struct {
	t                                           latchkey.Token
	version, kind, idle, disabled, ownerVersion int64
	created, notBefore, notAfter, used, revoked sql.NullInt64
}

func (r *damagedTokenRow) dest() []any {
	return []any{&r.t.ID, &r.version, &r.kind, &r.t.Parent, &r.t.Origin, &r.t.Name, &r.t.Client.ID, &r.created,
		&r.notBefore,
		&r.notAfter, &r.idle, &r.used, &r.disabled, &r.revoked, &r.t.Hint,
		&r.ownerVersion}
}

func (r *damagedTokenRow) token(owner string) latchkey.Token {
	t := r.t
	t.Owner, t.Version, t.OwnerVersion, t.Damaged = owner, uint64(r.version), uint64(r.ownerVersion), true
	if kind := latchkey.Kind(r.kind); int64(kind) == r.kind && kind.Valid() {
		t.Kind = kind
	}
	t.Created, t.Used, t.Revoked = fromMicros(r.created), fromMicros(r.used), fromMicros(r.revoked)
	t.Validity = latchkey.Validity{NotBefore: fromMicros(r.notBefore), NotAfter: fromMicros(r.notAfter),
		Idle: time.Duration(r.idle)}
	t.Disabled = r.disabled != 0
	return t
}

// packedTokenRow is an encoded token: the columns of insertToken between its version and its use. The last of them is
// the record.
type packedTokenRow struct {
	args   []any
	record []byte
}

func packTokenRow(t *latchkey.Token) (packedTokenRow, error) {
	if !allUTF8(t.Roles) || !allUTF8(t.Restrictions.Domains) {
		return packedTokenRow{}, contractError(latchkey.ErrInvalid, "token %q: a role or domain is not valid UTF-8", t.ID)
	}
	record, err := []byte{damagedFormat}, error(nil)
	if !t.Damaged {
		record, err = packToken(t)
	}
	if err != nil {
		return packedTokenRow{}, contractError(latchkey.ErrInvalid, "token %q: %v", t.ID, err)
	}
	return packedTokenRow{[]any{int64(t.Kind), t.Parent, t.Origin, t.Name, t.Client.ID, micros(t.Created),
		micros(t.Validity.NotBefore), micros(t.Validity.NotAfter), int64(t.Validity.Idle), boolInt(t.Disabled),
		micros(t.Revoked), t.Hint, int64(t.OwnerVersion), record}, record}, nil
}

const roleColumns = `r.id, r.owner, r.version, r.origin, r.name, r.inherit_denies, r.extra, r.body`

type roleRow struct {
	r               latchkey.Role
	version, denies int64
	extra, body     []byte
}

func (r *roleRow) dest() []any {
	return []any{&r.r.ID, &r.r.Owner, &r.version, &r.r.Origin, &r.r.Name, &r.denies, &r.extra, &r.body}
}

// role returns the row's role. A role that cannot be read is Damaged.
func (r *roleRow) role() latchkey.Role {
	role := r.r
	role.Version, role.InheritDenies = uint64(r.version), r.denies != 0
	var body roleBody
	if err := strictjson.Unmarshal(r.body, &body); err != nil {
		role.Damaged = true
		return role
	}
	role.Extra = json.RawMessage(r.extra)
	role.Inherits, role.Permissions, role.Boundary = body.Inherits, body.Permissions, body.Boundary
	return role
}

// allUTF8 reports whether JSON can hold every text of list unchanged.
func allUTF8(list []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !utf8.ValidString(s) })
}

func roleArgs(r *latchkey.Role) ([]any, error) {
	if !allUTF8(r.Inherits) {
		return nil, contractError(latchkey.ErrInvalid, "role %q: an inherited role is not valid UTF-8", r.ID)
	}
	body, err := json.Marshal(roleBody{r.Inherits, r.Permissions, r.Boundary})
	if err != nil {
		return nil, contractError(latchkey.ErrInvalid, "role %q: %v", r.ID, err)
	}
	return []any{r.Origin, r.Name, boolInt(r.InheritDenies), nullBytes(r.Extra), body}, nil
}

// ownerColumns may all be NULL, from a LEFT JOIN: then there is no record.
const ownerColumns = `o.version, o.disabled, o.not_before, o.since, o.boundary, o.extra, o.body`

type ownerRow struct {
	version, disabled, notBefore, since sql.NullInt64
	boundary, extra, body               []byte
}

func (r *ownerRow) dest() []any {
	return []any{&r.version, &r.disabled, &r.notBefore, &r.since, &r.boundary, &r.extra, &r.body}
}

// owner returns the row's record. A record that cannot be read is Damaged and allows nothing.
func (r *ownerRow) owner(id string) latchkey.Owner {
	o := latchkey.Owner{ID: id}
	if !r.version.Valid {
		return o
	}
	o.Version, o.Disabled, o.NotBefore = uint64(r.version.Int64), r.disabled.Int64 != 0, fromMicros(r.notBefore)
	o.Since = uint64(r.since.Int64)
	left := o
	left.Boundary, left.Damaged = latchkey.Permissions{}, true
	var body ownerBody
	if err := strictjson.Unmarshal(r.body, &body); err != nil {
		return left
	}
	if r.boundary != nil {
		if err := strictjson.Unmarshal(r.boundary, &o.Boundary); err != nil {
			return left
		}
		if o.Boundary == nil { // there is a boundary: an empty one allows nothing, a nil one would allow everything
			o.Boundary = latchkey.Permissions{}
		}
	}
	o.Limits, o.Policy, o.Extra = body.Limits, body.Policy, r.extra
	return o
}

func ownerArgs(o *latchkey.Owner) ([]any, error) {
	body, err := json.Marshal(ownerBody{o.Limits, o.Policy})
	var boundary any = noBytes{}
	if err == nil && o.Boundary != nil {
		boundary, err = json.Marshal(o.Boundary)
	}
	if err != nil {
		return nil, contractError(latchkey.ErrInvalid, "owner %q: %v", o.ID, err)
	}
	return []any{boolInt(o.Disabled), micros(o.NotBefore), int64(o.Since), boundary, nullBytes(o.Extra), body}, nil
}
