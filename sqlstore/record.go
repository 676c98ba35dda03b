package sqlstore

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

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

// Bodies hold, as JSON, what no query asks about. Each of the other fields has a column.

type tokenBody struct {
	Roles        []string              `json:"roles,omitempty"`
	Permissions  latchkey.Permissions  `json:"permissions,omitempty"`
	Restrictions latchkey.Restrictions `json:"restrictions,omitzero"`
	Limits       latchkey.Limits       `json:"limits,omitzero"`
	Full         bool                  `json:"full,omitempty"`
	Rows         []latchkey.Condition  `json:"rows,omitempty"`
	Forced       latchkey.Values       `json:"forced,omitempty"`
}

type roleBody struct {
	Inherits    []string             `json:"inherits,omitempty"`
	Permissions latchkey.Permissions `json:"permissions,omitempty"`
	Boundary    latchkey.Permissions `json:"boundary,omitzero"` // nil is none, an empty one lets nothing through
}

type ownerBody struct {
	Limits latchkey.Limits `json:"limits,omitzero"`
}

// tokenColumns are what a tokenRow scans, in order.
const tokenColumns = `t.id, t.owner, t.version, t.kind, t.test, t.parent, t.depth, t.origin, t.name, t.client_id,
	t.client_name, t.created, t.not_before, t.not_after, t.idle, t.used, t.disabled, t.revoked, t.reason, t.hint,
	t.public, t.extra, t.body`

type tokenRow struct {
	t                                           latchkey.Token
	version, kind, test, depth, idle, disabled  int64
	created, notBefore, notAfter, used, revoked sql.NullInt64
	extra                                       []byte
	body                                        string
}

func (r *tokenRow) dest() []any {
	t := &r.t
	return []any{&t.ID, &t.Owner, &r.version, &r.kind, &r.test, &t.Parent, &r.depth, &t.Origin, &t.Name, &t.Client.ID,
		&t.Client.Name, &r.created, &r.notBefore, &r.notAfter, &r.idle, &r.used, &r.disabled, &r.revoked, &t.Reason, &t.Hint,
		&t.Public, &r.extra, &r.body}
}

func (r *tokenRow) token() (latchkey.Token, error) {
	t := r.t
	body, err := bodies.decode(r.body)
	if err != nil {
		return latchkey.Token{}, corrupt("token", t.Owner, t.ID, err)
	}
	if r.kind < 0 || r.kind > 255 || r.depth < 0 || r.depth > 255 {
		return latchkey.Token{}, corrupt("token", t.Owner, t.ID, fmt.Errorf("kind %d, depth %d", r.kind, r.depth))
	}
	t.Version, t.Kind, t.Test, t.Depth = uint64(r.version), latchkey.Kind(r.kind), r.test != 0, uint8(r.depth)
	t.Created, t.Used, t.Revoked = fromMicros(r.created), fromMicros(r.used), fromMicros(r.revoked)
	t.Validity.NotBefore, t.Validity.NotAfter = fromMicros(r.notBefore), fromMicros(r.notAfter)
	t.Validity.Idle = time.Duration(r.idle)
	t.Disabled, t.Extra = r.disabled != 0, json.RawMessage(r.extra)
	t.Roles, t.Permissions, t.Restrictions, t.Limits = body.Roles, body.Permissions, body.Restrictions, body.Limits
	t.Full, t.Rows, t.Forced = body.Full, body.Rows, body.Forced
	return t, nil
}

// tokenArgs are the columns a put writes, in the order of insertToken and updateToken, without owner, id and version.
func tokenArgs(t *latchkey.Token) ([]any, error) {
	body, err := json.Marshal(tokenBody{t.Roles, t.Permissions, t.Restrictions, t.Limits, t.Full, t.Rows, t.Forced})
	if err != nil {
		return nil, say(latchkey.ErrInvalid, "token %q: %v", t.ID, err)
	}
	return []any{int64(t.Kind), flag(t.Test), t.Parent, int64(t.Depth), t.Origin, t.Name, t.Client.ID, t.Client.Name,
		micros(t.Created), micros(t.Validity.NotBefore), micros(t.Validity.NotAfter), int64(t.Validity.Idle),
		flag(t.Disabled), micros(t.Revoked), t.Reason, t.Hint, t.Public, blob(t.Extra), body}, nil
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

func roleArgs(r *latchkey.Role) ([]any, error) {
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

const secretColumns = `s.digest, s.key_id, s.sealed, s.signing, s.hint, s.created, s.not_after`

type secretRow struct {
	digest, sealed    []byte
	keyID, signing    int64
	hint              string
	created, notAfter sql.NullInt64
}

func (r *secretRow) dest() []any {
	return []any{&r.digest, &r.keyID, &r.sealed, &r.signing, &r.hint, &r.created, &r.notAfter}
}

func (r *secretRow) secret(owner, token string) (latchkey.SecretRecord, error) {
	if len(r.digest) != 32 || r.keyID < 0 || r.keyID > 1<<32-1 {
		return latchkey.SecretRecord{}, corrupt("secret of token", owner, token,
			fmt.Errorf("a digest of %d bytes, key %d", len(r.digest), r.keyID))
	}
	return latchkey.SecretRecord{
		Digest: [32]byte(r.digest), KeyID: uint32(r.keyID), Sealed: r.sealed, Signing: r.signing != 0, Hint: r.hint,
		Created: fromMicros(r.created), NotAfter: fromMicros(r.notAfter),
	}, nil
}

// bodies remembers what the bodies of tokens mean: most are one of a few. What a text means never changes.
var bodies = bodyMemory{known: map[string]tokenBody{}}

type bodyMemory struct {
	mu    sync.RWMutex
	known map[string]tokenBody
}

const (
	maxBodies  = 1024
	longBody   = 1024 // bytes: longer ones are seldom the same
	emptyToken = `{}`
)

func (m *bodyMemory) decode(text string) (body tokenBody, err error) {
	if text == emptyToken {
		return body, nil
	}
	m.mu.RLock()
	body, ok := m.known[text]
	m.mu.RUnlock()
	if !ok {
		if err := strictjson.Unmarshal([]byte(text), &body); err != nil {
			return tokenBody{}, err
		}
		if len(text) > longBody {
			return body, nil
		}
		m.mu.Lock()
		if len(m.known) >= maxBodies {
			clear(m.known)
		}
		m.known[strings.Clone(text)] = body // the text may be a part of a longer one
		m.mu.Unlock()
	}
	return body.clone(), nil
}

// clone shares nothing changeable.
func (b tokenBody) clone() tokenBody {
	var t latchkey.Token
	t.Roles, t.Permissions, t.Restrictions, t.Rows, t.Forced = b.Roles, b.Permissions, b.Restrictions, b.Rows, b.Forced
	t = t.Clone()
	b.Roles, b.Permissions, b.Restrictions, b.Rows, b.Forced = t.Roles, t.Permissions, t.Restrictions, t.Rows, t.Forced
	return b
}
