package storetest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Two owners. What one does must never be seen by the other.
const acme, globex = "acme", "globex"

// noon is the time at which everything happens.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)

// world is a store and the hand of a case in it.
type world struct {
	T
	ctx context.Context
	s   latchkey.Store
	n   atomic.Uint64 // makes keys
}

func (w *world) key() (k [16]byte) {
	binary.BigEndian.PutUint64(k[8:], w.n.Add(1))
	k[0] = 0xE1
	return k
}

// id is the n-th id. They rise with n, as UUIDv7 do with time.
func id(n int) string { return fmt.Sprintf("01935d00-0000-7000-8000-%012d", n) }

// digest is the n-th digest. They look alike at both ends.
func digest(n int) (d [32]byte) {
	d[0] = 0xD1
	binary.BigEndian.PutUint32(d[14:], uint32(n))
	return d
}

// token is a small token to insert.
func token(n int) latchkey.Token {
	return latchkey.Token{ID: id(n), Owner: acme, Kind: latchkey.KindAPIKey, Created: noon, Hint: "ak_3f…9Qz"}
}

// minted is a small token to insert, minted from another.
func minted(n, parent int) latchkey.Token {
	t := token(n)
	t.Kind, t.Parent, t.Depth = latchkey.KindAccess, id(parent), 1
	t.Validity.NotAfter = noon.Add(time.Hour)
	return t
}

// fullToken has something in every field, but for Version, Parent and Public.
func fullToken(n int) latchkey.Token {
	t := minted(n, 0)
	t.Parent, t.Depth, t.Test, t.Origin = "", 3, true, "cloudtables"
	t.Name = "Ünïcode name \U0001F511 with 'quotes', \"more\", %_ and \\"
	t.Roles = []string{id(901), id(900)}
	t.Permissions = latchkey.Permissions{
		latchkey.Allow(latchkey.Read, "custom.action").On("dataset/*", "api/cda"),
		latchkey.Deny(latchkey.Any).On("dataset/secret"),
	}
	t.Restrictions = latchkey.Restrictions{
		Domains:   []string{"*.example.com", "example.org"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Signed:    true,
		MintFrom:  []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")},
	}
	t.Limits = latchkey.Limits{Credits: 1 << 60, Rate: latchkey.Rate{Count: 7, Per: time.Minute, Burst: 3}}
	t.Validity = latchkey.Validity{NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), Idle: 90 * time.Minute}
	t.Disabled = true
	t.Extra = json.RawMessage(`{"a": [1, 2.50]}`)
	t.Client = latchkey.Client{ID: "42", Name: "Ada"}
	t.Full = true
	t.Rows = []latchkey.Condition{
		latchkey.Where("region", latchkey.Eq, "EÜ'\" %_"),
		latchkey.AnyOf(latchkey.Where("owner", latchkey.Eq, latchkey.Self),
			latchkey.Where("n", latchkey.In, []int64{1, -1 << 60})),
	}
	t.Forced = latchkey.Values{"text": "x", "n": int64(-7), "yes": true, "none": nil,
		"big": json.Number("12345678901234567890")}
	t.Used, t.Revoked = noon.Add(time.Second), noon.Add(time.Minute)
	t.Reason, t.OwnerVersion = "left the company", 1<<40+3
	return t
}

// secret is the n-th secret.
func secret(n int) *latchkey.SecretRecord {
	return &latchkey.SecretRecord{Digest: digest(n), Hint: "ak_3f…9Qz", Created: noon}
}

func role(n int, name string) latchkey.Role {
	return latchkey.Role{ID: id(n), Owner: acme, Name: name}
}

// refs names records by the numbers of their ids, at whatever version.
func refs(ns ...int) (all []latchkey.Ref) {
	for _, n := range ns {
		all = append(all, latchkey.Ref{ID: id(n)})
	}
	return all
}

// by makes another owner the owner of a record.
func by[R latchkey.Token | latchkey.Role](owner string, r R) R {
	switch r := any(&r).(type) {
	case *latchkey.Token:
		r.Owner = owner
	case *latchkey.Role:
		r.Owner = owner
	}
	return r
}

// try writes x, having filled in what it left out.
func (w *world) try(x latchkey.Write) (uint64, error) {
	if x.ID == ([16]byte{}) {
		x.ID = w.key()
	}
	if x.Owner == "" {
		x.Owner = acme
	}
	if x.At.IsZero() {
		x.At = noon
	}
	return w.s.Write(w.ctx, x)
}

// write writes x and returns the epoch.
func (w *world) write(x latchkey.Write) uint64 {
	w.Helper()
	epoch, err := w.try(x)
	if err != nil {
		w.Fatalf("Write: %v", err)
	}
	return epoch
}

// refuse writes x, which must fail.
func (w *world) refuse(want error, x latchkey.Write, what string) {
	w.Helper()
	_, err := w.try(x)
	w.failed(want, err, what)
}

// insert puts tokens of one owner, the i-th with a secret of the number that its id ends in.
func (w *world) insert(tokens ...latchkey.Token) {
	w.Helper()
	x := latchkey.Write{Owner: tokens[0].Owner, Tokens: tokens, Silent: true}
	for _, t := range tokens {
		x.Secrets = append(x.Secrets, latchkey.SecretChange{TokenID: t.ID, Add: secret(number(t.ID))})
	}
	w.write(x)
}

// number is the n of an id.
func number(id string) (n int) {
	fmt.Sscanf(id[len(id)-12:], "%d", &n)
	return n
}

// closed is the set of errors a store may return.
var closed = []error{
	latchkey.ErrNotFound, latchkey.ErrExists, latchkey.ErrConflict, latchkey.ErrInUse, latchkey.ErrOverLimit,
	latchkey.ErrUnavailable, latchkey.ErrUnknownOutcome, latchkey.ErrInvalid,
}

// failed checks that a call failed, with the error wanted and no other of the closed set.
func (w *world) failed(want, err error, what string) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: got %v, want %v", what, orNil(err), want)
		return
	}
	for _, other := range closed {
		if other != want && errors.Is(err, other) {
			w.Errorf("%s: the error wraps both %v and %v", what, want, other)
		}
	}
}

func orNil(err error) any {
	if err == nil {
		return "no error"
	}
	return err
}

// ok checks that a call did not fail.
func (w *world) ok(err error, what string) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

func (w *world) load(n int) latchkey.Found {
	w.Helper()
	f, err := w.s.Load(w.ctx, acme, id(n))
	w.ok(err, "Load "+id(n))
	return f
}

// gone checks that there is no such token, by id, by digest and in the listing.
func (w *world) gone(n int) {
	w.Helper()
	_, err := w.s.Load(w.ctx, acme, id(n))
	w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("Load of token %d, which is gone", n))
	_, err = w.s.ByDigest(w.ctx, digest(n))
	w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("ByDigest of token %d, which is gone", n))
	_, err = w.s.Secrets(w.ctx, acme, id(n))
	w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("Secrets of token %d, which is gone", n))
}

// there checks that there are such tokens, by id and by digest.
func (w *world) there(ns ...int) {
	w.Helper()
	for _, n := range ns {
		w.load(n)
		f, err := w.s.ByDigest(w.ctx, digest(n))
		w.ok(err, fmt.Sprintf("ByDigest of token %d", n))
		w.same(f.Token.ID, id(n), "the token of a digest")
	}
}

func (w *world) epoch() uint64 {
	w.Helper()
	f, err := w.s.Changes(w.ctx, 0, 0)
	w.ok(err, "Changes")
	return f.Epoch
}

// since is everything that changed after an epoch; it must not be truncated.
func (w *world) since(after uint64) []latchkey.Change {
	w.Helper()
	f, err := w.s.Changes(w.ctx, after, 1000)
	w.ok(err, "Changes")
	if f.Truncated {
		w.Errorf("Changes after %d: truncated", after)
	}
	return f.Changes
}

func (w *world) tokens(owner string, q latchkey.TokenQuery) []latchkey.Token {
	w.Helper()
	page, err := w.s.Tokens(w.ctx, owner, q)
	w.ok(err, "Tokens")
	return page
}

func (w *world) secrets(n int) []latchkey.SecretRecord {
	w.Helper()
	all, err := w.s.Secrets(w.ctx, acme, id(n))
	w.ok(err, "Secrets")
	return all
}

// numbers are the numbers of tokens, by their ids.
func numbers(tokens []latchkey.Token) (ns []int) {
	for _, t := range tokens {
		ns = append(ns, number(t.ID))
	}
	return ns
}

func roleNumbers(roles []latchkey.Role) (ns []int) {
	for _, r := range roles {
		ns = append(ns, number(r.ID))
	}
	return ns
}

// update puts a token once more, changed.
func (w *world) update(n int, edit func(*latchkey.Token)) uint64 {
	w.Helper()
	t := w.load(n).Token
	edit(&t)
	return w.write(latchkey.Write{Tokens: []latchkey.Token{t}})
}
