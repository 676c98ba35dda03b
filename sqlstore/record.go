package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Times are columns of microseconds, NULL for the zero time: 1970 is a time like any other. Columns named "at" say when
// something was done; there the zero time is the number it is, long ago.

func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// ceilMicros is for bounds: a stored time t is before b exactly when its microseconds are below ceilMicros(b).
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

// blob copies b, so that a write may outlive its caller, and keeps nil as NULL.
func nullBytes(b []byte) any {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// damaged names a record that cannot be read whole.
func damagedError(kind latchkey.ChangeKind, owner, id string) error {
	return &latchkey.DamagedError{Kind: kind, Owner: owner, ID: id, Err: errUnreadable}
}

// isDamaged reports whether err says that a record cannot be read, in which case what is left of it is told too.
func isDamaged(err error) bool {
	var damage *latchkey.DamagedError
	return errors.As(err, &damage)
}

// damage names the first record of f that cannot be read.
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

// Of roles and owners, bodies hold as JSON what no query asks about; each of the other fields has a column. Tokens and
// secrets are packed.

type roleBody struct {
	Inherits    []string             `json:"inherits,omitempty"`
	Permissions latchkey.Permissions `json:"permissions,omitempty"`
	Boundary    latchkey.Permissions `json:"boundary,omitzero"` // nil is none, an empty one lets nothing through
}

type ownerBody struct {
	Limits latchkey.Limits `json:"limits,omitzero"`
}

// tokenColumns are what a tokenRow scans. The version of the owner's record stands beside the packed record, for
// programs of the first schema write records that have no place for it.
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

// token is the token of the row. One that cannot be read, or that another row should have, is Damaged.
func (r *tokenRow) token(owner string) latchkey.Token {
	t, err := unpackToken(r.record.String, fromMicros(r.used))
	if err != nil || t.Owner != owner || t.ID != r.id.String || t.Version != uint64(r.version.Int64) {
		t = latchkey.Token{ID: r.id.String, Owner: owner, Version: uint64(r.version.Int64), Used: fromMicros(r.used),
			Damaged: true}
	}
	t.OwnerVersion = uint64(r.ownerVersion.Int64)
	return t
}

// leftColumns are what a leftRow scans: what is kept beside a token's record.
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

// packedToken is a token made ready: the columns of insertToken between its version and its use, of which the record is the
// last.
type packedTokenRow struct {
	args   []any
	record []byte
}

func packTokenRow(t *latchkey.Token) (packedTokenRow, error) {
	if !allUTF8(t.Roles) || !allUTF8(t.Restrictions.Domains) {
		return packedTokenRow{}, contractError(latchkey.ErrInvalid, "token %q: a role or domain that is not UTF-8", t.ID)
	}
	record, err := []byte{damagedFormat}, error(nil)
	if !t.Damaged {
		record, err = packToken(t)
	}
	if err != nil {
		return packedTokenRow{}, contractError(latchkey.ErrInvalid, "token %q: %v", t.ID, err)
	}
	return packedTokenRow{[]any{int64(t.Kind), t.Parent, t.Origin, t.Name, t.Client.ID, micros(t.Created),
		micros(t.Validity.NotBefore), micros(t.Validity.NotAfter), int64(t.Validity.Idle), boolInt(t.Disabled), micros(t.Revoked),
		t.Hint, int64(t.OwnerVersion), record}, record}, nil
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

// role is the role of the row. One that cannot be read is Damaged.
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

// texts says that JSON keeps all of a list as it is.
func allUTF8(list []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !utf8.ValidString(s) })
}

func roleArgs(r *latchkey.Role) ([]any, error) {
	if !allUTF8(r.Inherits) {
		return nil, contractError(latchkey.ErrInvalid, "role %q: an inherited role that is not UTF-8", r.ID)
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

// owner is the record of the row. One that cannot be read is Damaged, and lets nothing through.
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
		if o.Boundary == nil { // a boundary is there: an empty one allows nothing, none would allow everything
			o.Boundary = latchkey.Permissions{}
		}
	}
	o.Limits, o.Extra = body.Limits, r.extra
	return o
}

func ownerArgs(o *latchkey.Owner) ([]any, error) {
	body, err := json.Marshal(ownerBody{o.Limits})
	var boundary any
	if err == nil && o.Boundary != nil {
		boundary, err = json.Marshal(o.Boundary)
	}
	if err != nil {
		return nil, contractError(latchkey.ErrInvalid, "owner %q: %v", o.ID, err)
	}
	return []any{boolInt(o.Disabled), micros(o.NotBefore), int64(o.Since), boundary, nullBytes(o.Extra), body}, nil
}
