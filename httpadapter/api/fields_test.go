package api

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// filled returns a value in which nothing is zero, down to the members of structs of this package.
func filled[T any]() T {
	var v T
	fill(reflect.ValueOf(&v).Elem())
	return v
}

func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(1e9, 0)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint64, reflect.Uint32:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Type() != reflect.TypeFor[latchkey.Permissions]() {
			fill(v.Index(0))
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf("x"))
		} else if reflect.TypeFor[error]() == v.Type() {
			v.Set(reflect.ValueOf(latchkey.ErrRevoked))
		}
	}
}

// zeros returns the names of the fields that are zero, those of embedded structs included.
func zeros(v any) (names []string) {
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		switch f := r.Type().Field(i); {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			names = append(names, zeros(r.Field(i).Interface())...)
		case f.IsExported() && r.Field(i).IsZero():
			names = append(names, f.Name)
		}
	}
	return names
}

// What stands in a body reaches latchkey, and what latchkey says reaches the reply: no field is left behind on the way.
func TestNoFieldIsLeftBehind(t *testing.T) {
	settings, made, mint, role := filled[Settings](), filled[NewToken](), filled[NewMint](), filled[NewRole]()
	selection := filled[Selection]()
	swept, err := sweptOf(filled[latchkey.Swept](), nil)
	require.NoError(t, err)
	owner := filled[latchkey.Owner]()
	owner.Extra = json.RawMessage("{}")
	explained := filled[latchkey.Explanation]()
	lineage := lineageOf(filled[latchkey.Lineage]())
	for name, c := range map[string]struct {
		to      any
		without []string // what a caller of the API cannot say, or is not told
	}{
		"the settings of a token": {settings.settings(), nil},
		"those of a reply":        {settingsOf(filled[latchkey.Settings]()), nil},
		"what is issued":          {made.spec(), []string{"ID", "Origin"}},
		"what is minted":          {mint.narrowing(), []string{"Origin"}},
		"a role that is made":     {role.role(), []string{"ID", "Owner", "Version", "Origin", "Damaged"}},
		"a role of a reply":       {roleOf(filled[latchkey.Role]()), []string{"Coded"}},
		"which tokens are ended": {selection.selector(), []string{"IDs", "Find", "States", "ExpiresFrom", "ExpiresTo",
			"Progress"}},
		"how many were ended": {swept, nil},
		"the answer of an explanation": {answerOf(explained),
			append(zeros(explained), "Grants", "Decided", "Reason", "Layers")},
		"an owner":                          {ownerOf(owner), nil},
		"a token":                           {shown(filled[latchkey.Token](), latchkey.ErrRevoked), nil},
		"where rights come from":            {lineage, nil},
		"what a token was minted from":      {lineage.Ancestors[0], nil},
		"the token of where rights are of":  {*lineage.Token, nil},
		"the token that it was minted from": {*lineage.Ancestors[0].Token, []string{"Refused"}},
	} {
		require.ElementsMatch(t, c.without, zeros(c.to), name)
	}
	unread := filled[latchkey.Lineage]()
	unread.Ancestors[0].Version = 0
	require.Nil(t, lineageOf(unread).Ancestors[0].Token, "the caller may not read it")
	unread.Token.ID = ""
	require.Nil(t, lineageOf(unread).Token)
}

// Each parameter of a query sets something, and each something else.
func TestEveryParameterCounts(t *testing.T) {
	text := func(p *parameter) string {
		switch {
		case len(p.values) > 0:
			return p.values[0]
		case p.kind == timeParameter:
			return "2026-01-02T03:04:05Z"
		case p.kind == boolParameter:
			return "true"
		}
		return "2026-01-02"
	}
	for name, of := range map[string]func(q query) any{
		"listTokens":   func(q query) any { return q.tokens() },
		"countTokens":  func(q query) any { return q.tokens() },
		"listRoles":    func(q query) any { return q.roles() },
		"listUsage":    func(q query) any { return q.usage() },
		"listRefusals": func(q query) any { return q.refusals() },
		"listEvents":   func(q query) any { return q.events() },
		"whoMay":       func(q query) any { return q.who() },
	} {
		at := slices.IndexFunc(operations(), func(op *operation) bool { return op.id == name })
		require.GreaterOrEqual(t, at, 0, name)
		parameters := slices.DeleteFunc(slices.Clone(operations()[at].query), func(p parameter) bool {
			return slices.Contains([]string{"after", "cursor", "limit", "most", "order", "reverse"}, p.name)
		})
		require.NotEmpty(t, parameters)
		seen := []any{of(query{})}
		for _, p := range parameters {
			q := of(query{p.name: text(&p)})
			for _, other := range seen {
				require.NotEqual(t, other, q, "%s: %s", name, p.name)
			}
			seen = append(seen, q)
		}
	}
	require.False(t, query{"order": "oldest"}.events().Reverse)
	require.True(t, query{}.events().Reverse)
}

// The Extra of an owner that an earlier version kept may be no JSON: it is shown as its base64.
func TestExtraOfAnOwnerIsShown(t *testing.T) {
	for kept, want := range map[string]string{"": "", `{"a": 1}`: `,"extra":{"a":1}`, "\x00x": `,"extra":"AHg="`,
		"x": `,"extra":"eA=="`} {
		text, err := json.Marshal(ownerOf(latchkey.Owner{Extra: json.RawMessage(kept)}))
		require.NoError(t, err)
		require.JSONEq(t, `{"id":"","version":0`+want+`}`, string(text))
	}
}
