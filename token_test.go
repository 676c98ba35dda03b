package latchkey_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

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
		"Settings": fieldsOf[latchkey.Settings](), "Spec": fieldsOf[latchkey.Spec](), "Narrowing": fieldsOf[latchkey.Narrowing](),
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
				// Whether these two are nil or empty is a difference in a Narrowing only.
				require.Contains(t, []string{"Narrowing.Roles", "Narrowing.Permissions"}, what+"."+f.Name)
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
		Name: "a name", Roles: []string{role.ID}, Permissions: latchkey.Permissions{readAll()},
		Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}, Addresses: prefixes("10.0.0.0/8"), Signed: true,
			MintFrom: prefixes("10.1.0.0/16")},
		Limits:   latchkey.Limits{Credits: 100, Rate: latchkey.Rate{Count: 1, Per: time.Second, Burst: 2}},
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
