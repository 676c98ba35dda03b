package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// fieldEdit changes one field of a record. tells names the records of the test's world ("child", "parent", "reader",
// "base", "owner") of which such a change alters what the holder of child is told; of others it may not.
type fieldEdit[T any] struct {
	field string
	edit  func(*T)
	tells string
}

var (
	elsewhere = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	northOnly = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*").
			Where(latchkey.Where("region", latchkey.Eq, "N"))}
	southern = latchkey.Where("region", latchkey.Eq, "S")
)

var tokenEdits = []fieldEdit[latchkey.Token]{
	{"Kind", func(t *latchkey.Token) { t.Kind = latchkey.KindSecret }, "child"},
	{"Test", func(t *latchkey.Token) { t.Test = true }, "child"},
	{"Parent", func(t *latchkey.Token) { t.Parent = world.NewID() }, "child"},
	{"Depth", func(t *latchkey.Token) { t.Depth++ }, "child"},
	{"Origin", func(t *latchkey.Token) { t.Origin = "datocms" }, ""},
	{"Name", func(t *latchkey.Token) { t.Name = "another" }, "child"},
	{"Roles", func(t *latchkey.Token) { t.Roles = nil }, "child parent"},
	{"RoleEnds", func(t *latchkey.Token) {
		t.RoleEnds = map[string]time.Time{t.Roles[0]: time.Now().Add(-time.Second)}
	}, "child parent"},
	{"Permissions", func(t *latchkey.Token) { t.Permissions = northOnly }, "child parent"},
	{"Restrictions.Domains", func(t *latchkey.Token) { t.Restrictions.Domains = []string{"example.com"} }, "child parent"},
	{"Restrictions.Addresses", func(t *latchkey.Token) { t.Restrictions.Addresses = elsewhere }, "child parent"},
	{"Restrictions.Signed", func(t *latchkey.Token) { t.Restrictions.Signed = true }, "child parent"},
	{"Restrictions.MintFrom", func(t *latchkey.Token) { t.Restrictions.MintFrom = elsewhere }, "child"},
	{"Limits.Quotas", func(t *latchkey.Token) { t.Limits.Quotas = world.Monthly(49) }, "child parent"},
	{"Limits.Rate.Count", func(t *latchkey.Token) { t.Limits.Rate.Count *= 2 }, ""}, // the pace is not told
	{"Limits.Rate.Per", func(t *latchkey.Token) { t.Limits.Rate.Per *= 2 }, ""},
	{"Limits.Rate.Burst", func(t *latchkey.Token) { t.Limits.Rate.Burst = 5000 }, "child parent"},
	{"Validity.NotBefore", func(t *latchkey.Token) { t.Validity.NotBefore = time.Now().Add(time.Hour) }, "child parent"},
	{"Validity.NotAfter", func(t *latchkey.Token) { t.Validity.NotAfter = time.Now().Add(-time.Second) }, "child parent"},
	{"Validity.Idle", func(t *latchkey.Token) { t.Validity.Idle = 24 * time.Hour }, ""},
	{"Disabled", func(t *latchkey.Token) { t.Disabled = true }, "child parent"},
	{"Extra", func(t *latchkey.Token) { t.Extra = json.RawMessage(`{"a":1}`) }, "child"},
	{"Attributes", func(t *latchkey.Token) { t.Attributes = latchkey.Attributes{"desk": "7"} }, "child"},
	{"ChildAttributes", func(t *latchkey.Token) { t.ChildAttributes = []string{"shift"} }, "child"},
	{"Client.ID", func(t *latchkey.Token) { t.Client.ID = "43" }, "child"},
	{"Client.Name", func(t *latchkey.Token) { t.Client.Name = "Grace" }, "child"},
	{"Full", func(t *latchkey.Token) { t.Full = !t.Full }, "child parent"},
	{"Rows", func(t *latchkey.Token) { t.Rows = []latchkey.Condition{southern} }, "child parent"},
	{"Forced", func(t *latchkey.Token) { t.Forced = latchkey.Values{"region": "S"} }, "child parent"},
	// before Owner.NotBefore
	{"Created", func(t *latchkey.Token) { t.Created = t.Created.AddDate(-1, 0, 0) }, "child parent"},
	{"Used", func(t *latchkey.Token) { t.Used = time.Now().Add(time.Minute).UTC() }, ""},
	{"Revoked", func(t *latchkey.Token) { t.Revoked = time.Now() }, "child parent"},
	{"Reason", func(t *latchkey.Token) { t.Reason = "because" }, ""},
	{"Hint", func(t *latchkey.Token) { t.Hint = "ak_12…xyz" }, ""},
	{"OwnerVersion", func(t *latchkey.Token) { t.OwnerVersion = 1 << 41 }, ""},
	{"Public", func(t *latchkey.Token) { t.Public = "pk_1" }, ""},
}

var roleEdits = []fieldEdit[latchkey.Role]{
	{"Name", func(r *latchkey.Role) { r.Name = "another" }, "reader"},
	{"Origin", func(r *latchkey.Role) { r.Origin = "datocms" }, ""},
	{"Inherits", func(r *latchkey.Role) { r.Inherits = nil }, "reader"},
	{"InheritDenies", func(r *latchkey.Role) { r.InheritDenies = true }, "reader"},
	{"Permissions", func(r *latchkey.Role) { r.Permissions = northOnly }, "reader base"},
	{"Boundary", func(r *latchkey.Role) { r.Boundary = latchkey.Permissions{} }, "reader"},
	{"Extra", func(r *latchkey.Role) { r.Extra = json.RawMessage(`{"a":1}`) }, ""},
}

var ownerEdits = []fieldEdit[latchkey.Owner]{
	{"Disabled", func(o *latchkey.Owner) { o.Disabled = true }, "owner"},
	{"Boundary", func(o *latchkey.Owner) { o.Boundary = latchkey.Permissions{} }, "owner"},
	{"Limits.Quotas", func(o *latchkey.Owner) { o.Limits.Quotas = world.Monthly(49) }, "owner"},
	{"Limits.Rate.Count", func(o *latchkey.Owner) { o.Limits.Rate.Count *= 2 }, ""},
	{"Limits.Rate.Per", func(o *latchkey.Owner) { o.Limits.Rate.Per *= 2 }, ""},
	{"Limits.Rate.Burst", func(o *latchkey.Owner) { o.Limits.Rate.Burst = 5000 }, "owner"},
	{"Policy.MaxLifetime", func(o *latchkey.Owner) { o.Policy.MaxLifetime = time.Hour }, ""}, // what is made later
	{"Policy.MaxIdle", func(o *latchkey.Owner) { o.Policy.MaxIdle = time.Hour }, ""},
	{"Policy.Tokens", func(o *latchkey.Owner) { o.Policy.Tokens = 1_000_000 }, ""},
	{"Policy.Children", func(o *latchkey.Owner) { o.Policy.Children = 1_000_000 }, ""},
	{"Policy.Kinds", func(o *latchkey.Owner) { o.Policy.Kinds = []latchkey.Kind{latchkey.KindAPIKey} }, "owner"},
	{"Policy.MintRight", func(o *latchkey.Owner) { o.Policy.MintRight = true }, "owner"},
	{"Policy.ClientRight", func(o *latchkey.Owner) { o.Policy.ClientRight = true }, ""},
	{"Policy.AuditMints", func(o *latchkey.Owner) { o.Policy.AuditMints = true }, ""},
	{"NotBefore", func(o *latchkey.Owner) { o.NotBefore = time.Now().Add(time.Hour) }, "owner"},
	{"Since", func(o *latchkey.Owner) { o.Since = 1 << 40 }, "owner"},
	{"Extra", func(o *latchkey.Owner) { o.Extra = []byte("1") }, ""},
}

// fieldsOf lists the fields of a record, and of the structs of ours in it.
func fieldsOf(t reflect.Type, at string) (fields []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Anonymous:
			fields = append(fields, fieldsOf(f.Type, at)...)
		case f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == t.PkgPath():
			fields = append(fields, fieldsOf(f.Type, at+f.Name+".")...)
		default:
			fields = append(fields, at+f.Name)
		}
	}
	return fields
}

// A field that is new must be listed above, with what it changes.
func requireEach[T any](t *testing.T, edits []fieldEdit[T]) {
	t.Helper()
	listed := []string{"ID", "Owner", "Version", "Damaged"} // what a record is known by, and what is not written
	for _, e := range edits {
		listed = append(listed, e.field)
	}
	require.Subset(t, listed, fieldsOf(reflect.TypeFor[T](), ""))
}

// lookingUp counts how often tokens are looked up.
type lookingUp struct {
	latchkey.Store
	n atomic.Int64
}

func (s *lookingUp) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	s.n.Add(1)
	return s.Store.ByDigest(ctx, slot, digests...)
}

func present(secret string) latchkey.Presented {
	return latchkey.Presented{Secret: secret, Address: netip.MustParseAddr("192.0.2.1")}
}

// told returns all that a Manager says about a secret.
func told(t *testing.T, keys *latchkey.Manager, secret string) string {
	t.Helper()
	ctx := t.Context()
	access, err := keys.Verify(ctx, present(secret))
	var damaged *latchkey.DamagedError
	if errors.As(err, &damaged) { // a token of another kind than its text
		return damaged.Error()
	}
	if err != nil {
		require.ErrorIs(t, err, latchkey.ErrInvalidToken)
		return err.Error()
	}
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})
	desk, _ := access.Attribute("desk")
	say := fmt.Sprintln(access.Owner(), access.TokenID(), access.Kind(), access.Test(), access.Client(), access.Roles(),
		access.RoleNames(), access.Name(), string(access.Extra()), desk)
	for _, on := range []latchkey.Resource{"dataset/orders", "dataset/payroll", "report/daily"} {
		for _, action := range []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Delete} {
			rows, err := access.Filter(action, on)
			text, jsonErr := json.Marshal(rows)
			require.NoError(t, jsonErr)
			say += fmt.Sprintln(action, on, string(text), err)
		}
		row, err := access.Prepare(latchkey.Create, on, schema, nil, latchkey.Row{})
		say += fmt.Sprintln(row, err)
	}
	rate, limited := access.Rate()
	hold, err := access.Reserve(ctx, "calls", "GET /", 50)
	say += fmt.Sprintln(limited, rate.Limit, errors.Is(err, latchkey.ErrOverLimit))
	if err == nil {
		require.NoError(t, hold.Settle(ctx, 0))
	}
	_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Minute})
	_, _, shift := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Minute,
		Attributes: latchkey.Attributes{"shift": "night"}})
	return say + fmt.Sprintln(err, shift)
}

// Each field of each record that an answer is made from is written. The epoch advances by one, and a Manager with the
// token in memory says the same as one with an empty memory.
func TestEveryFieldIsObeyed(t *testing.T) {
	requireEach(t, tokenEdits)
	requireEach(t, roleEdits)
	requireEach(t, ownerEdits)
	t.Run("memstore", func(t *testing.T) { everyFieldIsObeyed(t, memstore.New(nil)) })
	for _, e := range harness.NodeEngines {
		t.Run(e.Name, func(t *testing.T) {
			store, err := sqlstore.New(t.Context(), e.Open(t, e.Place(t)), e.Dialect, nil)
			require.NoError(t, err)
			defer store.Close()
			everyFieldIsObeyed(t, store)
		})
	}
}

func everyFieldIsObeyed(t *testing.T, store latchkey.Store) {
	ctx := t.Context()
	counting := &lookingUp{Store: store}
	keys := latchkey.New(counting, nil)
	acme := keys.For("acme")
	limits := func(burst int) latchkey.Limits {
		return latchkey.Limits{Quotas: world.Monthly(1_000_000),
			Rate: latchkey.Rate{Count: 100_000_000, Per: time.Hour, Burst: burst}}
	}
	require.NoError(t, acme.Configure(ctx, func(o *latchkey.Owner) error {
		o.NotBefore, o.Limits = time.Now().AddDate(0, -1, 0), limits(30_000)
		return nil
	}))
	base, err := acme.CreateRole(ctx, latchkey.Role{Name: "base", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("dataset/*"), latchkey.Deny(latchkey.Delete).On("dataset/payroll")}})
	require.NoError(t, err)
	reader, err := acme.CreateRole(ctx, latchkey.Role{Name: "reader", Inherits: []string{base.ID},
		Permissions: latchkey.Permissions{latchkey.Grant(latchkey.Delete).On("dataset/payroll")}})
	require.NoError(t, err)
	parent, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Roles: []string{reader.ID}, Limits: limits(20_000),
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("report/*")}})
	require.NoError(t, err)
	access, err := keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	child, secret, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Roles: []string{reader.ID},
		Client: latchkey.Client{ID: "42", Name: "Ada"}, Limits: limits(10_000), Forced: map[string]any{"region": "EU"},
		Rows: []latchkey.Condition{latchkey.Where("region", latchkey.Eq, "EU")}})
	require.NoError(t, err)

	before := told(t, keys, secret.Reveal())
	// obeyed writes, and says whether it altered what is told.
	obeyed := func(what string, w latchkey.Write) bool {
		t.Helper()
		var was int64
		for range 2 {
			was = counting.n.Load()
			_, err = keys.Verify(ctx, present(secret.Reveal()))
		}
		if err == nil { // a refusal is not kept
			require.Equal(t, was, counting.n.Load(), "%s: it was not in memory", what)
		}
		feed, err := store.Changes(ctx, 0, 0, 0)
		require.NoError(t, err)
		w.ID, w.Owner = world.WriteID(), "acme"
		epoch, err := world.WriteEpoch(ctx, store, w)
		require.NoError(t, err, what)
		require.Equal(t, feed.Epoch+1, epoch, "%s: the epoch", what)
		say := told(t, keys, secret.Reveal())
		require.Equal(t, told(t, latchkey.New(store, nil), secret.Reveal()), say, "%s: what is in memory is out of date",
			what)
		return say != before
	}
	check := func(record, field, tells string, edited, restored func() latchkey.Write) {
		t.Helper()
		what := record + ", " + field
		require.Equal(t, slices.Contains(strings.Fields(tells), record), obeyed(what, edited()), what)
		require.False(t, obeyed(what+", put back", restored()), "%s, put back", what)
	}
	for record, id := range map[string]string{"child": child.ID, "parent": parent.ID} {
		for _, e := range tokenEdits {
			var old latchkey.Token
			check(record, e.field, e.tells, func() latchkey.Write {
				f, err := store.Load(ctx, "acme", id)
				require.NoError(t, err)
				old = f.Token.Clone()
				e.edit(&f.Token)
				return latchkey.Write{Tokens: []latchkey.Token{f.Token}}
			}, func() latchkey.Write {
				old.Version++
				return latchkey.Write{Tokens: []latchkey.Token{old}}
			})
		}
	}
	for record, id := range map[string]string{"reader": reader.ID, "base": base.ID} {
		for _, e := range roleEdits {
			var old latchkey.Role
			check(record, e.field, e.tells, func() latchkey.Write {
				r, err := store.Role(ctx, "acme", id)
				require.NoError(t, err)
				old = r.Clone()
				e.edit(&r)
				return latchkey.Write{Roles: []latchkey.Role{r}}
			}, func() latchkey.Write {
				old.Version++
				return latchkey.Write{Roles: []latchkey.Role{old}}
			})
		}
	}
	for _, e := range ownerEdits {
		var old latchkey.Owner
		check("owner", e.field, e.tells, func() latchkey.Write {
			o, err := store.Owner(ctx, "acme")
			require.NoError(t, err)
			old = o.Clone()
			e.edit(&o)
			return latchkey.Write{OwnerRecord: &o}
		}, func() latchkey.Write {
			old.Version++
			return latchkey.Write{OwnerRecord: &old}
		})
	}
	require.NoError(t, keys.Close(ctx))
}
