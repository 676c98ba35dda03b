package latchkey

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRoleValidate(t *testing.T) {
	good := Role{ID: "r", Name: "analyst", Origin: "datocms", Inherits: []string{"a", "b"}, Permissions: payroll,
		Extra: json.RawMessage(`{"a":1}`)}
	require.NoError(t, good.Validate())
	inherits := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprint(i))
		}
		return ids
	}
	bound := good.Clone()
	bound.Name, bound.Origin, bound.Inherits = strings.Repeat("a", 256), strings.Repeat("a", 64), inherits(256)
	require.NoError(t, bound.Validate())
	for name, edit := range map[string]func(*Role){
		"no name":         func(r *Role) { r.Name = "" },
		"long name":       func(r *Role) { r.Name = strings.Repeat("a", 257) },
		"NUL":             func(r *Role) { r.Name = "a\x00" },
		"no UTF-8":        func(r *Role) { r.Name = "\xff" },
		"origin":          func(r *Role) { r.Origin = strings.Repeat("a", 65) },
		"inherits twice":  func(r *Role) { r.Inherits = []string{"a", "a"} },
		"inherits itself": func(r *Role) { r.Inherits = []string{"r"} },
		"inherits nobody": func(r *Role) { r.Inherits = []string{""} },
		"inherits many":   func(r *Role) { r.Inherits = inherits(257) },
		"rule":            func(r *Role) { r.Permissions = Permissions{{}} },
		"condition":       func(r *Role) { r.Permissions = Permissions{Allow(Read).On("a").Where(All())} },
		"boundary":        func(r *Role) { r.Boundary = Permissions{{}} },
		"boundary forces": func(r *Role) { r.Boundary = Permissions{Allow(Read).On("a").Force(Values{"x": 1})} },
		"extra":           func(r *Role) { r.Extra = json.RawMessage(`{`) },
		"long extra":      func(r *Role) { r.Extra = json.RawMessage(`"` + strings.Repeat("a", 1<<20) + `"`) },
	} {
		r := good.Clone()
		edit(&r)
		require.ErrorIs(t, r.Validate(), ErrInvalid, name)
	}
	require.NoError(t, good.Validate(), "the clones were edited, not the role")
}

// filled sets every exported field of a record to something, lists and maps too. Rules and conditions are immutable.
func filled(v reflect.Value) {
	switch v.Interface().(type) {
	case Rule:
		v.Set(reflect.ValueOf(Allow(Read).On("a")))
		return
	case Condition:
		v.Set(reflect.ValueOf(inEU))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("10.0.0.0/8")))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			filled(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		filled(value)
		v.SetMapIndex(reflect.ValueOf("a").Convert(v.Type().Key()), value)
	case reflect.Interface:
		v.Set(reflect.ValueOf([]string{"a"})) // a list among attributes
	case reflect.String:
		v.SetString("a")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(1)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	default:
		panic(v.Type())
	}
}

// emptied takes what is in the lists and maps of a record out of them.
func emptied(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				emptied(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			emptied(v.Index(i))
			v.Index(i).SetZero()
		}
	case reflect.Map:
		v.Clear()
	}
}

// A clone shares nothing with its record that either can change, whichever field it is.
func TestClonesShareNothing(t *testing.T) {
	clonesShareNothing(t, Token.Clone)
	clonesShareNothing(t, Role.Clone)
	clonesShareNothing(t, Owner.Clone)

	require.Nil(t, Owner{}.Clone().Boundary)
	require.NotNil(t, Owner{Boundary: Permissions{}}.Clone().Boundary, "allowing nothing must not become no limit")
	require.Nil(t, Role{}.Clone().Boundary)
	require.NotNil(t, Role{Boundary: Permissions{}}.Clone().Boundary, "allowing nothing must not become no limit")
}

func clonesShareNothing[T any](t *testing.T, clone func(T) T) {
	t.Helper()
	var record, want T
	filled(reflect.ValueOf(&record).Elem())
	filled(reflect.ValueOf(&want).Elem())
	require.Equal(t, want, record)
	c := clone(record)
	require.Equal(t, want, c)
	emptied(reflect.ValueOf(&record).Elem())
	require.NotEqual(t, want, record)
	require.Equal(t, want, c)
}
