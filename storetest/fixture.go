package storetest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey"
)

// Two owners. Neither may see what the other does.
const acme, globex = "acme", "globex"

// noon is the time of all writes.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)

// fixture is what a case works with: a store, and helpers that check its results.
type fixture struct {
	T
	ctx context.Context
	s   latchkey.Store
	n   atomic.Uint64 // makes keys
}

func (w *fixture) key() (k [16]byte) {
	binary.BigEndian.PutUint64(k[8:], w.n.Add(1))
	k[0] = 0xE1
	return k
}

// id returns the n-th id. Ids rise with n, as UUIDv7 do with time.
func id(n int) string { return fmt.Sprintf("01935d00-0000-7000-8000-%012d", n) }

// digest returns the n-th digest. Digests differ in the middle only.
func digest(n int) (d [32]byte) {
	d[0] = 0xD1
	binary.BigEndian.PutUint32(d[14:], uint32(n))
	return d
}

// neighbour returns an owner other than acme whose records are in the same feed.
func (w *fixture) neighbour() string {
	owner := globex
	for i := 0; w.s.Locate(owner).Feed != w.s.Locate(acme).Feed; i++ {
		owner = fmt.Sprint(globex, " ", i)
	}
	return owner
}

// token returns a token to insert that has few fields set.
func token(n int) latchkey.Token {
	return latchkey.Token{ID: id(n), Owner: acme, Kind: latchkey.KindAPIKey, Created: noon, Hint: "ak_3f…9Qz"}
}

// minted returns a token to insert that was minted from another and has few fields set.
func minted(n, parent int) latchkey.Token {
	t := token(n)
	t.Kind, t.Parent, t.Depth = latchkey.KindAccess, id(parent), 1
	t.Validity.NotAfter = noon.Add(time.Hour)
	return t
}

// fullToken returns a token with every field set, except Version, Parent and Public.
func fullToken(n int) latchkey.Token {
	t := minted(n, 0)
	t.Parent, t.Depth, t.Test, t.Origin = "", 3, true, "cloudtables"
	t.Name = "Ünïcode name \U0001F511 with 'quotes', \"more\", %_ and \\"
	t.Roles = []string{id(901), id(900)}
	t.RoleEnds = map[string]time.Time{id(900): noon.Add(time.Hour), id(901): noon.Add(90*time.Minute + time.Microsecond)}
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
	t.Limits = latchkey.Limits{Rate: latchkey.Rate{Count: 7, Per: time.Minute, Burst: 3}, Quotas: []latchkey.Quota{
		{Meter: "é'", Amount: 1 << 60, Per: latchkey.Month, Anchor: 28, Carry: 7}, {Per: latchkey.Forever}}}
	t.Validity = latchkey.Validity{NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour), Idle: 90 * time.Minute}
	t.Disabled = true
	t.Extra = json.RawMessage(`{"a": [1, 2.50]}`)
	t.Client = latchkey.Client{ID: "42", Name: "Ada"}
	t.Attributes = latchkey.Attributes{"department": "Fïnance", "level": int64(-3), "staff": true,
		"ratio": json.Number("2.5"), "regions": []string{"EU", "US"}}
	t.ChildAttributes = []string{"desk", "shift"}
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

// secret returns the n-th secret.
func secret(n int) *latchkey.SecretRecord {
	return &latchkey.SecretRecord{Digest: digest(n), Hint: "ak_3f…9Qz", Created: noon}
}

func role(n int, name string) latchkey.Role {
	return latchkey.Role{ID: id(n), Owner: acme, Name: name}
}

// refs returns references to records by the numbers of their ids, at any version.
func refs(ns ...int) (all []latchkey.Ref) {
	for _, n := range ns {
		all = append(all, latchkey.Ref{ID: id(n)})
	}
	return all
}

// by returns r with another owner.
func by[R latchkey.Token | latchkey.Role](owner string, r R) R {
	switch r := any(&r).(type) {
	case *latchkey.Token:
		r.Owner = owner
	case *latchkey.Role:
		r.Owner = owner
	}
	return r
}

// try writes x with defaults for ID, Owner and At.
func (w *fixture) try(x latchkey.Write) error {
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

// write is try for a Write that must succeed. It returns the epoch of the owner's feed afterwards.
func (w *fixture) write(x latchkey.Write) uint64 {
	w.Helper()
	if err := w.try(x); err != nil {
		w.Fatalf("Write: %v", err)
	}
	return w.epoch()
}

// refuse is try for a Write that must fail.
func (w *fixture) refuse(want error, x latchkey.Write, what string) {
	w.Helper()
	w.failed(want, w.try(x), what)
}

// insert puts tokens of one owner, each with the secret of the same number.
func (w *fixture) insert(tokens ...latchkey.Token) {
	w.Helper()
	x := latchkey.Write{Owner: tokens[0].Owner, Tokens: tokens, Silent: true}
	for _, t := range tokens {
		x.Secrets = append(x.Secrets, latchkey.SecretChange{TokenID: t.ID, Add: secret(number(t.ID))})
	}
	w.write(x)
}

// number returns the n of an id.
func number(id string) (n int) {
	fmt.Sscanf(id[len(id)-12:], "%d", &n)
	return n
}

// storeErrors are the errors that a store may return.
var storeErrors = []error{
	latchkey.ErrNotFound, latchkey.ErrExists, latchkey.ErrConflict, latchkey.ErrInUse, latchkey.ErrOverLimit,
	latchkey.ErrUnavailable, latchkey.ErrUnknownOutcome, latchkey.ErrInvalid, latchkey.ErrTooMany,
}

// failed checks that err wraps want and no other of storeErrors.
func (w *fixture) failed(want, err error, what string) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: got %v, want %v", what, orNil(err), want)
		return
	}
	for _, other := range storeErrors {
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
func (w *fixture) ok(err error, what string) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

func (w *fixture) load(n int) latchkey.Found {
	w.Helper()
	f, err := w.s.Load(w.ctx, acme, id(n))
	w.ok(err, "Load "+id(n))
	return f
}

// absent checks that a token is not found by id, by digest and by its secrets.
func (w *fixture) absent(n int) {
	w.Helper()
	_, err := w.s.Load(w.ctx, acme, id(n))
	w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("Load of token %d, which is gone", n))
	_, err = w.s.ByDigest(w.ctx, 0, digest(n))
	w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("ByDigest of token %d, which is gone", n))
	_, err = w.s.Secrets(w.ctx, acme, id(n))
	w.failed(latchkey.ErrNotFound, err, fmt.Sprintf("Secrets of token %d, which is gone", n))
}

// present checks that tokens are found by id and by digest.
func (w *fixture) present(ns ...int) {
	w.Helper()
	for _, n := range ns {
		w.load(n)
		f, err := w.s.ByDigest(w.ctx, 0, digest(n))
		w.ok(err, fmt.Sprintf("ByDigest of token %d", n))
		w.same(f.Token.ID, id(n), "the token of a digest")
	}
}

// changes is Store.Changes of the feed in which acme's changes are.
func (w *fixture) changes(after uint64, n int) (latchkey.Feed, error) {
	return w.s.Changes(w.ctx, w.s.Locate(acme).Feed, after, n)
}

func (w *fixture) epoch() uint64 {
	w.Helper()
	f, err := w.changes(0, 0)
	w.ok(err, "Changes")
	return f.Epoch
}

// since returns all changes after an epoch. It checks that they are not truncated.
func (w *fixture) since(after uint64) []latchkey.Change {
	w.Helper()
	f, err := w.changes(after, 1000)
	w.ok(err, "Changes")
	if f.Truncated {
		w.Errorf("Changes after %d: truncated", after)
	}
	return f.Changes
}

func (w *fixture) tokens(owner string, q latchkey.TokenQuery) []latchkey.Token {
	w.Helper()
	page, err := w.s.Tokens(w.ctx, owner, q)
	w.ok(err, "Tokens")
	return page
}

// events is Store.Events. It checks that a page is no longer than it may be.
func (w *fixture) events(owner string, q latchkey.EventQuery) (page []latchkey.Event, next string) {
	w.Helper()
	page, next, err := w.s.Events(w.ctx, owner, q)
	w.ok(err, "Events")
	if len(page) > q.Size() {
		w.Fatalf("Events: a page of %d events, want at most %d", len(page), q.Size())
	}
	return page, next
}

func (w *fixture) secrets(n int) []latchkey.SecretRecord {
	w.Helper()
	all, err := w.s.Secrets(w.ctx, acme, id(n))
	w.ok(err, "Secrets")
	return all
}

// numbers returns the numbers of the ids of tokens.
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

// update puts token n again, edited.
func (w *fixture) update(n int, edit func(*latchkey.Token)) uint64 {
	w.Helper()
	t := w.load(n).Token
	edit(&t)
	return w.write(latchkey.Write{Tokens: []latchkey.Token{t}})
}

// addUsage adds a batch, divided by feeds.
func (w *fixture) addUsage(b latchkey.UsageBatch) error {
	parts := map[latchkey.FeedID]*latchkey.UsageBatch{}
	part := func(owner string) *latchkey.UsageBatch {
		feed := w.s.Locate(owner).Feed
		if parts[feed] == nil {
			parts[feed] = &latchkey.UsageBatch{ID: b.ID, At: b.At}
		}
		return parts[feed]
	}
	for _, r := range b.Rows {
		p := part(r.Owner)
		p.Rows = append(p.Rows, r)
	}
	for _, l := range b.Last {
		p := part(l.Owner)
		p.Last = append(p.Last, l)
	}
	if len(parts) == 0 {
		return w.s.AddUsage(w.ctx, b)
	}
	for _, feed := range slices.Sorted(maps.Keys(parts)) {
		if err := w.s.AddUsage(w.ctx, *parts[feed]); err != nil {
			return err
		}
	}
	return nil
}
