package sqlstore

import (
	"database/sql"
	"encoding/json"
	"fmt"
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

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// blob copies b, so that a write may outlive its caller, and keeps nil as NULL.
func blob(b []byte) any {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// corrupt names a record that cannot be read whole. It is never answered in part: outcome makes it ErrUnavailable.
func corrupt(what, owner, id string, err error) error {
	return fmt.Errorf("the stored %s %q of owner %q cannot be read: %w", what, id, owner, err)
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

// tokenColumns are what a tokenRow scans.
const tokenColumns = `t.record, t.used`

// tokenRow may be all NULL, from a LEFT JOIN: then there is no token.
type tokenRow struct {
	record sql.NullString
	used   sql.NullInt64
}

func (r *tokenRow) dest() []any { return []any{&r.record, &r.used} }

func (r *tokenRow) token() (latchkey.Token, error) {
	return unpackToken(r.record.String, fromMicros(r.used))
}

// packedToken is a token made ready: the columns of insertToken between its version and its use, of which the record is the
// last.
type packedToken struct {
	args   []any
	record []byte
}

func pack(t *latchkey.Token) (packedToken, error) {
	if !texts(t.Roles) || !texts(t.Restrictions.Domains) {
		return packedToken{}, say(latchkey.ErrInvalid, "token %q: a role or domain that is not UTF-8", t.ID)
	}
	record, err := packToken(t)
	if err != nil {
		return packedToken{}, say(latchkey.ErrInvalid, "token %q: %v", t.ID, err)
	}
	return packedToken{[]any{int64(t.Kind), t.Parent, t.Origin, t.Name, t.Client.ID, micros(t.Created),
		micros(t.Validity.NotBefore), micros(t.Validity.NotAfter), int64(t.Validity.Idle), flag(t.Disabled), micros(t.Revoked),
		t.Hint, record}, record}, nil
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

func (r *roleRow) role() (latchkey.Role, error) {
	role := r.r
	var body roleBody
	if err := strictjson.Unmarshal(r.body, &body); err != nil {
		return latchkey.Role{}, corrupt("role", role.Owner, role.ID, err)
	}
	role.Version, role.InheritDenies, role.Extra = uint64(r.version), r.denies != 0, json.RawMessage(r.extra)
	role.Inherits, role.Permissions, role.Boundary = body.Inherits, body.Permissions, body.Boundary
	return role, nil
}

// texts says that JSON keeps all of a list as it is.
func texts(list []string) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !utf8.ValidString(s) })
}

func roleArgs(r *latchkey.Role) ([]any, error) {
	if !texts(r.Inherits) {
		return nil, say(latchkey.ErrInvalid, "role %q: an inherited role that is not UTF-8", r.ID)
	}
	body, err := json.Marshal(roleBody{r.Inherits, r.Permissions, r.Boundary})
	if err != nil {
		return nil, say(latchkey.ErrInvalid, "role %q: %v", r.ID, err)
	}
	return []any{r.Origin, r.Name, flag(r.InheritDenies), blob(r.Extra), body}, nil
}

// ownerColumns may all be NULL, from a LEFT JOIN: then there is no record.
const ownerColumns = `o.version, o.disabled, o.not_before, o.boundary, o.extra, o.body`

type ownerRow struct {
	version, disabled, notBefore sql.NullInt64
	boundary, extra, body        []byte
}

func (r *ownerRow) dest() []any {
	return []any{&r.version, &r.disabled, &r.notBefore, &r.boundary, &r.extra, &r.body}
}

func (r *ownerRow) owner(id string) (latchkey.Owner, error) {
	o := latchkey.Owner{ID: id}
	if !r.version.Valid {
		return o, nil
	}
	var body ownerBody
	if err := strictjson.Unmarshal(r.body, &body); err != nil {
		return latchkey.Owner{}, corrupt("owner", id, id, err)
	}
	if r.boundary != nil {
		if err := strictjson.Unmarshal(r.boundary, &o.Boundary); err != nil {
			return latchkey.Owner{}, corrupt("boundary", id, id, err)
		}
		if o.Boundary == nil { // a boundary is there: an empty one allows nothing, none would allow everything
			o.Boundary = latchkey.Permissions{}
		}
	}
	o.Version, o.Disabled, o.NotBefore = uint64(r.version.Int64), r.disabled.Int64 != 0, fromMicros(r.notBefore)
	o.Limits, o.Extra = body.Limits, r.extra
	return o, nil
}

func ownerArgs(o *latchkey.Owner) ([]any, error) {
	body, err := json.Marshal(ownerBody{o.Limits})
	var boundary any
	if err == nil && o.Boundary != nil {
		boundary, err = json.Marshal(o.Boundary)
	}
	if err != nil {
		return nil, say(latchkey.ErrInvalid, "owner %q: %v", o.ID, err)
	}
	return []any{flag(o.Disabled), micros(o.NotBefore), boundary, blob(o.Extra), body}, nil
}
