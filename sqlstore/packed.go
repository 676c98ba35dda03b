package sqlstore

import (
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/latchkey-go/latchkey"
)

// What is presented is read packed, as one column: a driver names, describes and copies each column by itself, and thirty of
// them cost as much as finding the row. The form is the same on every engine, and foundRow.unpack reads it: numbers with
// commas between them, empty for NULL, a semicolon, then the bytes that the last of the numbers are the lengths of, and the
// body of the token. On SQLite triggers keep it stored; see its migration.

var (
	packedNumbers = []string{"s.key_id", "s.created", "s.not_after", "t.version", "t.kind", "t.test", "t.depth", "t.created",
		"t.not_before", "t.not_after", "t.idle", "t.used", "t.disabled", "t.revoked"}
	packedBytes = []string{"s.sealed", "t.extra"} // may be NULL
	packedTexts = []string{"s.hint", "t.owner", "t.id", "t.parent", "t.origin", "t.name", "t.client_id", "t.client_name",
		"t.reason", "t.hint", "t.public"}
)

// packedHead is the arguments of a CONCAT that makes the numbers and lengths.
func packedHead(number, length func(column string) string) string {
	var all []string
	for _, c := range packedNumbers {
		all = append(all, number(c))
	}
	for _, c := range append(packedBytes, packedTexts...) {
		all = append(all, number(length(c)))
	}
	return strings.Join(all, `, ',', `) + `, ';'`
}

func call(name string) func(string) string {
	return func(column string) string { return name + `(` + column + `)` }
}

func itself(column string) string { return column }

func orEmpty(column string) string { return `COALESCE(` + column + `, '')` }

const (
	presentedFrom = `, (SELECT epoch FROM latchkey_epoch WHERE id = 1)
	FROM latchkey_secrets s CROSS JOIN latchkey_tokens t
	WHERE t.owner = s.owner AND t.id = s.token_id AND s.signing = 0 AND s.digest `

	presentedSQLite = `SELECT s.digest, s.found, (SELECT epoch FROM latchkey_epoch WHERE id = 1)
	FROM latchkey_secrets s WHERE s.found IS NOT NULL AND s.signing = 0 AND s.digest `
)

var presentedMySQL = `SELECT s.digest, CONCAT(` + packedHead(orEmpty, call("LENGTH")) + `, ` +
	orEmpty(packedBytes[0]) + `, ` + orEmpty(packedBytes[1]) + `, ` + strings.Join(packedTexts, `, `) + `, t.body)` +
	presentedFrom

// PostgreSQL's concat takes NULL for nothing.
var presentedPostgres = `SELECT s.digest, convert_to(concat(` + packedHead(itself, call("octet_length")) + `), 'UTF8') || ` +
	orEmpty(packedBytes[0]) + ` || ` + orEmpty(packedBytes[1]) + ` || convert_to(concat(` + strings.Join(packedTexts, `, `) +
	`), 'UTF8') || t.body` + presentedFrom

// foundRow is a secret with its token, and the epoch. It is used again.
type foundRow struct {
	secret secretRow
	token  tokenRow
	packed string
	epoch  uint64
	dest   []any
}

var foundRows = sync.Pool{New: func() any {
	r := new(foundRow)
	r.dest = []any{&r.secret.digest, &r.packed, &r.epoch}
	return r
}}

// free gives the row back. Nothing of a token stays in it.
func (r *foundRow) free() {
	r.secret, r.token, r.packed = secretRow{}, tokenRow{}, ""
	foundRows.Put(r)
}

func (r *foundRow) found() (f latchkey.Found, err error) {
	if err := r.unpack(); err != nil {
		return f, err
	}
	if f.Token, err = r.token.token(); err != nil {
		return f, err
	}
	f.Secret, err = r.secret.secret(f.Token.Owner, f.Token.ID)
	f.Epoch = r.epoch
	return f, err
}

var errPacked = errors.New("a token stored with its secret cannot be read")

// unpack reads what the engine packed, all of it or nothing.
func (r *foundRow) unpack() error {
	head, text, ok := strings.Cut(r.packed, ";")
	if !ok {
		return errPacked
	}
	number := func() (n sql.NullInt64) {
		if !ok {
			return n
		}
		var digits string
		if digits, head, ok = strings.Cut(head, ","); !ok {
			ok, head = true, "?" // the last: after it no number can be read
		}
		if digits != "" {
			var err error
			n.Int64, err = strconv.ParseInt(digits, 10, 64)
			n.Valid, ok = true, ok && err == nil
		}
		return n
	}
	needed := func() int64 {
		n := number()
		ok = ok && n.Valid
		return n.Int64
	}
	s, t := &r.secret, &r.token
	s.keyID, s.created, s.notAfter = needed(), number(), number()
	t.version, t.kind, t.test, t.depth = needed(), needed(), needed(), needed()
	t.created, t.notBefore, t.notAfter, t.idle, t.used = number(), number(), number(), needed(), number()
	t.disabled, t.revoked = needed(), number()
	sealed, extra := number(), number()
	s.sealed, t.extra = nil, nil // the row is used again
	token := &t.t
	texts := [...]*string{&s.hint, &token.Owner, &token.ID, &token.Parent, &token.Origin, &token.Name, &token.Client.ID,
		&token.Client.Name, &token.Reason, &token.Hint, &token.Public}
	var lengths [len(texts)]int64
	for i := range lengths {
		lengths[i] = needed()
	}
	take := func(n int64) (part string) {
		if ok = ok && 0 <= n && n <= int64(len(text)); ok {
			part, text = text[:n], text[n:]
		}
		return part
	}
	if sealed.Valid {
		s.sealed = []byte(take(sealed.Int64))
	}
	if extra.Valid {
		t.extra = []byte(take(extra.Int64))
	}
	for i, to := range texts {
		*to = take(lengths[i])
	}
	t.body = text
	if !ok || head != "?" {
		return errPacked
	}
	return nil
}
