package latchkey_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

func TestKindText(t *testing.T) {
	for kind, name := range map[latchkey.Kind]string{
		latchkey.KindSecret: "secret", latchkey.KindPublishable: "publishable", latchkey.KindAPIKey: "api_key",
		latchkey.KindAccess: "access", latchkey.KindSession: "session",
	} {
		assert.True(t, kind.Valid(), name)
		assert.Equal(t, name, kind.String())
		text, err := kind.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, name, string(text))
		var back latchkey.Kind
		require.NoError(t, back.UnmarshalText(text))
		assert.Equal(t, kind, back)
	}
}

// A kind that cannot be read must not be taken for another one.
func TestKindUnknown(t *testing.T) {
	for _, kind := range []latchkey.Kind{0, 6, 255} {
		assert.False(t, kind.Valid(), "%d", kind)
		_, err := kind.MarshalText()
		assert.ErrorIs(t, err, latchkey.ErrInvalid, "%d", kind)
		_, err = json.Marshal(latchkey.Token{Kind: kind})
		assert.ErrorIs(t, err, latchkey.ErrInvalid, "%d", kind)
	}
	assert.Equal(t, "kind(6)", latchkey.Kind(6).String())
	for _, text := range []string{"", "Secret", "secret ", "apikey", "api-key", "1", "kind(1)"} {
		kind := latchkey.KindSession
		assert.ErrorIs(t, kind.UnmarshalText([]byte(text)), latchkey.ErrInvalid, "%q", text)
		assert.Equal(t, latchkey.KindSession, kind, "%q", text)
	}
}

// fieldsOf are the fields of a struct in order, with those of an embedded one in its place.
func fieldsOf[T any]() []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[T]()),
		func(f reflect.StructField) bool { return f.Anonymous })
}

// Spec, Narrowing, Settings and Token name, type and order the same things alike, in Go and in JSON.
func TestRecordsNameTheSameThingsAlike(t *testing.T) {
	indexOf := func(in []reflect.StructField, name string) int {
		return slices.IndexFunc(in, func(f reflect.StructField) bool { return f.Name == name })
	}
	token := fieldsOf[latchkey.Token]()
	require.Greater(t, len(token), 20)
	for what, fields := range map[string][]reflect.StructField{
		"Settings":  fieldsOf[latchkey.Settings](),
		"Spec":      fieldsOf[latchkey.Spec](),
		"Narrowing": fieldsOf[latchkey.Narrowing](),
	} {
		last := -1
		for _, f := range fields {
			at := indexOf(token, f.Name)
			if slices.Contains([]string{"Lifetime", "Idle", "Stateless"}, f.Name) {
				require.Negative(t, at)
				continue // of a Narrowing alone
			}
			require.Greater(t, at, last, "%s.%s is in no Token, or in another order", what, f.Name)
			last = at
			require.Equal(t, token[at].Type, f.Type, "%s.%s", what, f.Name)
			if f.Tag != token[at].Tag {
				// Whether these two are nil or empty is a difference in a Narrowing only. The host's own code gives an ID, and
				// no JSON does.
				require.Contains(t, []string{"Narrowing.Roles", "Narrowing.Permissions", "Spec.ID"}, what+"."+f.Name)
			}
		}
	}
	spec := fieldsOf[latchkey.Spec]()
	for _, f := range fieldsOf[latchkey.Settings]() {
		require.GreaterOrEqual(t, indexOf(spec, f.Name), 0, "Spec lacks the field %s of Settings", f.Name)
	}
}

// A Spec keeps all Settings, and Issue and Import keep all of a Spec.
func TestASpecKeepsAllSettings(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) { o.Imported = func(string) bool { return true } })
	role, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "reader", Permissions: latchkey.Permissions{readAll()}})
	w.ok(err)
	set := latchkey.Settings{
		Name: "a name", Roles: []string{role.ID}, RoleEnds: map[string]time.Time{role.ID: w.now().Add(time.Minute)},
		Permissions: latchkey.Permissions{readAll()},
		Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}, Addresses: prefixes("10.0.0.0/8"), Signed: true,
			MintFrom: prefixes("10.1.0.0/16")},
		Limits:   latchkey.Limits{Quotas: monthly(100).Quotas, Rate: latchkey.Rate{Count: 1, Per: time.Second, Burst: 2}},
		Validity: latchkey.Validity{NotBefore: w.now(), NotAfter: w.now().Add(time.Hour), Idle: time.Minute},
		Disabled: true, Extra: json.RawMessage(`{"a": 1}`),
	}
	for _, f := range fieldsOf[latchkey.Settings]() {
		require.False(t, reflect.ValueOf(set).FieldByIndex(f.Index).IsZero(), "this test sets all: %s", f.Name)
	}
	spec := set.Spec(latchkey.KindAPIKey)
	require.Equal(t, latchkey.KindAPIKey, spec.Kind)
	spec.Origin = "datocms"
	check := func(made latchkey.Token) {
		stored, err := w.acme.Get(w.ctx, made.ID)
		w.ok(err)
		for _, got := range []latchkey.Token{made, stored} {
			got.Validity.NotBefore = got.Validity.NotBefore.In(set.Validity.NotBefore.Location())
			got.Validity.NotAfter = got.Validity.NotAfter.In(set.Validity.NotAfter.Location())
			want, err := json.Marshal(set)
			w.ok(err)
			text, err := json.Marshal(got.Settings)
			w.ok(err)
			require.JSONEq(t, string(want), string(text))
			require.Equal(t, "datocms", got.Origin)
			require.Equal(t, latchkey.KindAPIKey, got.Kind)
		}
	}
	made, _, err := w.acme.Issue(w.ctx, spec)
	w.ok(err)
	check(made)
	made, err = w.acme.Import(w.ctx, spec, "a text that comes from elsewhere")
	w.ok(err)
	check(made)
	made, _, err = w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	w.ok(err)
	require.True(t, made.Test)
}

// Every record has JSON of its own, with the same names for the same things, and is read back from it.
func TestRecordsAsJSON(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Read).On("data/*")}
	extra := json.RawMessage(`{"a":1}`)
	limits := latchkey.Limits{Quotas: monthly(5).Quotas, Rate: latchkey.Rate{Count: 1, Per: time.Second, Burst: 2}}
	const rule = `{"allow":["read"],"on":["data/*"]}`
	const limitsText = `{"credits":5,"rate":{"count":1,"per":1000000000,"burst":2}}`
	restrict := latchkey.Restrictions{Domains: []string{"example.com"}, Addresses: prefixes("10.0.0.0/8"), Signed: true,
		MintFrom: prefixes("10.1.0.0/16")}
	const restrictText = `{"domains":["example.com"],"addresses":["10.0.0.0/8"],"signed":true,"mint_from":["10.1.0.0/16"]}`
	set := latchkey.Settings{Name: "n", Roles: []string{"r"}, Permissions: rules, Restrictions: restrict, Limits: limits,
		Validity: latchkey.Validity{NotBefore: at, NotAfter: at.Add(time.Hour), Idle: time.Minute},
		Disabled: true, Extra: extra}
	const setText = `"name":"n","roles":["r"],"permissions":[` + rule + `],"restrictions":` + restrictText +
		`,"limits":` + limitsText + `,"validity":{"not_before":"2026-03-04T05:06:07Z","not_after":"2026-03-04T06:06:07Z",` +
		`"idle":60000000000},"disabled":true,"extra":{"a":1}`
	rows := []latchkey.Condition{latchkey.Where("region", latchkey.Eq, "EU")}
	const rowsText = `[{"field":"region","op":"=","value":"EU"}]`
	client := latchkey.Client{ID: "42", Name: "Ada"}
	spec := set.Spec(latchkey.KindSecret)
	spec.Test, spec.Origin = true, "datocms"
	for _, c := range []struct {
		record any
		want   string
	}{
		{latchkey.Event{}, `{"seq":0,"at":"0001-01-01T00:00:00Z","owner":"","action":"","object":""}`},
		{latchkey.Event{Seq: 7, At: at, Owner: "acme", Actor: "client:42", From: "10.0.0.1", Action: "role.update",
			Object: "r", Reason: "why", Before: extra, After: json.RawMessage(`{"b":2}`)},
			`{"seq":7,"at":"2026-03-04T05:06:07Z","owner":"acme","actor":"client:42","from":"10.0.0.1","action":"role.update",` +
				`"object":"r","reason":"why","before":{"a":1},"after":{"b":2}}`},
		{latchkey.UsageRow{Owner: "acme"}, `{"owner":"acme","count":0,"credits":0}`},
		{latchkey.UsageRow{Owner: "acme", TokenID: "t", ClientID: "42", Meter: "calls", Endpoint: "GET /", Day: "2026-03-04",
			Count: 3, Credits: 4},
			`{"owner":"acme","token_id":"t","client_id":"42","meter":"calls","endpoint":"GET /","day":"2026-03-04","count":3,` +
				`"credits":4}`},
		{latchkey.Owner{ID: "acme"}, `{"id":"acme","version":0}`},
		{latchkey.Owner{ID: "acme", Boundary: latchkey.Permissions{}}, `{"id":"acme","version":0,"boundary":[]}`},
		{latchkey.Owner{ID: "acme", Version: 3, Disabled: true, Boundary: rules, Limits: limits, NotBefore: at, Since: 2,
			Extra: extra, Damaged: true},
			`{"id":"acme","version":3,"disabled":true,"boundary":[` + rule + `],"limits":` + limitsText +
				`,"not_before":"2026-03-04T05:06:07Z","since":2,"extra":{"a":1},"damaged":true}`},
		{latchkey.Role{ID: "r", Owner: "acme", Version: 3, Name: "n", Origin: "datocms", Inherits: []string{"s"},
			InheritDenies: true, Permissions: rules, Boundary: rules, Extra: extra, Damaged: true},
			`{"id":"r","owner":"acme","version":3,"name":"n","origin":"datocms","inherits":["s"],"inherit_denies":true,` +
				`"permissions":[` + rule + `],"boundary":[` + rule + `],"extra":{"a":1},"damaged":true}`},
		{latchkey.Token{ID: "t", Owner: "acme", Version: 3, Kind: latchkey.KindAccess, Test: true, Parent: "p", Depth: 1,
			Origin: "datocms", Settings: set, Client: client, Full: true, Rows: rows, Forced: latchkey.Values{"region": "EU"},
			Created: at, OwnerVersion: 2, Used: at, Revoked: at, Reason: "why", Hint: "ac_3f…9Qz", Public: "pk", Damaged: true},
			`{"id":"t","owner":"acme","version":3,"kind":"access","test":true,"parent":"p","depth":1,"origin":"datocms",` +
				setText + `,"client":{"id":"42","name":"Ada"},"full":true,"rows":` + rowsText + `,"forced":{"region":"EU"},` +
				`"created":"2026-03-04T05:06:07Z","owner_version":2,"used":"2026-03-04T05:06:07Z",` +
				`"revoked":"2026-03-04T05:06:07Z","reason":"why","hint":"ac_3f…9Qz","public":"pk","damaged":true}`},
		{latchkey.SecretRecord{KeyID: 1, Sealed: []byte("s"), Signing: true, Hint: "h", Created: at, NotAfter: at},
			`{"digest":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"key_id":1,"sealed":"cw==",` +
				`"signing":true,"hint":"h","created":"2026-03-04T05:06:07Z","not_after":"2026-03-04T05:06:07Z"}`},
		{spec, `{"kind":"secret","test":true,"origin":"datocms",` + setText + `}`},
		{latchkey.Narrowing{}, `{}`},
		{latchkey.Narrowing{Roles: []string{}, Permissions: latchkey.Permissions{}}, `{"roles":[],"permissions":[]}`},
		{latchkey.Narrowing{Origin: "o", Name: "n", Roles: []string{"r"}, Permissions: rules, Restrictions: restrict,
			Limits: limits, Lifetime: time.Hour, Idle: time.Minute, Extra: extra, Client: client, Rows: rows,
			Forced: latchkey.Values{"region": "EU"}, Stateless: true},
			`{"origin":"o","name":"n","roles":["r"],"permissions":[` + rule + `],"restrictions":` + restrictText + `,"limits":` +
				limitsText + `,"lifetime":3600000000000,"idle":60000000000,"extra":{"a":1},"client":{"id":"42","name":"Ada"},` +
				`"rows":` + rowsText + `,"forced":{"region":"EU"},"stateless":true}`},
		{latchkey.Lineage{}, `{}`},
		{latchkey.RateInfo{Limit: 1, Remaining: 2, Reset: 3, Window: 4, RetryAfter: 5},
			`{"limit":1,"remaining":2,"reset":3,"window":4,"retry_after":5}`},
		{latchkey.Question{Action: latchkey.Read, Resource: "data/x"}, `{"action":"read","resource":"data/x"}`},
	} {
		text, err := json.Marshal(c.record)
		require.NoError(t, err)
		require.Equal(t, c.want, string(text), "%T", c.record)
		back := reflect.New(reflect.TypeOf(c.record))
		require.NoError(t, json.Unmarshal(text, back.Interface()))
		again, err := json.Marshal(back.Interface())
		require.NoError(t, err)
		require.Equal(t, c.want, string(again), "%T", c.record)
	}
}

// An owner's Extra is JSON. A record of an earlier version may hold one that is none: that must not hide from a caller
// with rights on the record what else it changes.
func TestAnOwnersExtraIsJSON(t *testing.T) {
	w := newWorld(t)
	w.is(latchkey.ErrInvalid, w.acme.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = []byte("x"); return nil }))
	err := w.store.Write(w.ctx, latchkey.Write{ID: [16]byte{1}, Owner: "acme", At: w.now(),
		OwnerRecord: &latchkey.Owner{ID: "acme", Extra: []byte("x"), Boundary: latchkey.Permissions{
			latchkey.Allow(latchkey.Any).On("*"), latchkey.Allow(latchkey.Any).On("latchkey/*")}}})
	w.ok(err)
	_, secret := w.key(append(admin(), readAll())...)
	as := mustAs(w, w.access(secret))
	w.is(latchkey.ErrDenied, as.Configure(w.ctx, func(o *latchkey.Owner) error {
		o.Extra, o.Boundary = nil, nil
		return nil
	}))
	w.ok(as.Configure(w.ctx, func(o *latchkey.Owner) error { o.Disabled = false; return nil }))
	w.ok(as.Configure(w.ctx, func(o *latchkey.Owner) error { o.Extra = []byte("{}"); return nil }))
}

// What narrows is never lost on the way: plain JSON would take a null, a repeated or a misspelt member for none.
func TestNarrowingIsReadStrictly(t *testing.T) {
	var n latchkey.Narrowing
	require.NoError(t, json.Unmarshal([]byte(`{"lifetime":3600000000000,"roles":["a"],"permissions":[],
		"rows":[{"field":"region","op":"=","value":"EU"}],"forced":{"region":"EU"},"client":{"id":"42"},
		"restrictions":{"addresses":["10.0.0.0/8"]},"limits":{"credits":5}}`), &n))
	require.Equal(t, []string{"a"}, n.Roles)
	require.NotNil(t, n.Permissions, "an empty list is not all that the parent may do")
	require.Len(t, n.Rows, 1)
	var null latchkey.Narrowing
	require.NoError(t, json.Unmarshal([]byte(`{"forced":{"deleted":null},"extra":{"x":null}}`), &null))
	require.Equal(t, latchkey.Values{"deleted": nil}, null.Forced)
	before := n
	for _, bad := range []string{
		`null`, `[]`, `"x"`, `{`,
		`{"lifetime":1,"permissions":null}`, `{"lifetime":1,"roles":null}`, `{"lifetime":1,"rows":null}`,
		`{"lifetime":1,"forced": null }`,
		`{"lifetime":1,"permissions":[{"allow":["read"],"on":["d/a"]}],"permissions":null}`,
		`{"lifetime":1,"permissions":[],"permissions":[]}`,
		`{"lifetime":1,"permission":[{"allow":["read"],"on":["d/a"]}]}`,
		`{"lifetime":1,"Permissions":[]}`,
		`{"lifetime":1,"rows":[null]}`,
		`{"lifetime":1,"restrictions":{"addresses":null}}`,
		`{"lifetime":1,"limits":{"rate":null}}`,
		`{"lifetime":1,"restrictions":{"adresses":[]}}`,
	} {
		err := json.Unmarshal([]byte(bad), &n)
		require.Error(t, err, bad)
		require.Equal(t, before, n, bad)
		var s latchkey.Spec
		require.Error(t, json.Unmarshal([]byte(bad), &s), bad)
	}
	require.ErrorIs(t, json.Unmarshal([]byte(`{"roles":null}`), &n), latchkey.ErrInvalid)
}

// An Extra of an earlier version need not be JSON. It is shown, and hides nothing else in the audit trail.
func TestOwnerWhoseExtraIsNoJSON(t *testing.T) {
	text, err := json.Marshal(latchkey.Owner{ID: "o", Disabled: true, Extra: []byte("plan-gold")})
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"o","version":0,"disabled":true,"extra":"cGxhbi1nb2xk"}`, string(text))
	text, err = json.Marshal(latchkey.Owner{ID: "o", Extra: []byte(`{"plan":"gold"}`)})
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"o","version":0,"extra":{"plan":"gold"}}`, string(text))

	store := memstore.New(nil)
	err = store.Write(t.Context(), latchkey.Write{ID: [16]byte{1}, Owner: "o", At: time.Now(),
		OwnerRecord: &latchkey.Owner{ID: "o", Extra: []byte("plan-gold")}})
	require.NoError(t, err)
	acme := latchkey.New(store, nil).For("o")
	require.NoError(t, acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Disabled = true; return nil }))
	events := 0
	for e, err := range acme.Events(t.Context(), latchkey.EventQuery{}) {
		require.NoError(t, err)
		require.Contains(t, string(e.After), `"disabled":true`)
		require.Contains(t, string(e.After), `"extra":"cGxhbi1nb2xk"`)
		events++
	}
	require.Equal(t, 1, events)
}
