package latchkeytest_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

var editor = latchkey.Permissions{
	latchkey.Allow(latchkey.Read).On("invoice/*"),
	latchkey.Allow(latchkey.Update).On("invoice/*").Where(latchkey.Where("state", latchkey.Eq, "draft")),
	latchkey.Allow(latchkey.Create).On("latchkey/token/*"),
}

func TestKit(t *testing.T) {
	kit := latchkeytest.New(t, &latchkey.Options{Prefix: "shop"})
	access := kit.Access("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: editor})
	latchkeytest.Check(t, access,
		latchkeytest.All(latchkey.Read, "invoice/7"),
		latchkeytest.Some(latchkey.Update, "invoice/7"),
		latchkeytest.None(latchkey.Delete, "invoice/7"))

	child := kit.Mint(access, latchkey.Narrowing{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Any).On("*")}})
	latchkeytest.Check(t, child,
		latchkeytest.All(latchkey.Read, "invoice/7"),
		latchkeytest.None(latchkey.Delete, "invoice/7"))

	_, _, err := kit.As(access).Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.ErrorIs(t, err, latchkey.ErrDenied)

	_, text := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey,
		Validity: latchkey.Validity{NotAfter: kit.Clock.Now().Add(time.Hour)}})
	assert.True(t, strings.HasPrefix(text, "ak_shop_"))
	kit.Present(text)
	kit.Clock.Advance(time.Hour)
	_, err = kit.Verify(t.Context(), latchkey.Presented{Secret: text})
	require.ErrorIs(t, err, latchkey.ErrExpired)

	kit.Store.Down(true)
	_, err = kit.Verify(t.Context(), latchkey.Presented{Secret: text})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	kit.Store.Down(false)
	_, err = kit.Verify(t.Context(), latchkey.Presented{Secret: text})
	require.ErrorIs(t, err, latchkey.ErrExpired)
}

func TestEditors(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	access := kit.Access("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: editor})
	latchkeytest.Check(t, access,
		latchkeytest.All(latchkey.Read, "invoice/7"),
		latchkeytest.Some(latchkey.Update, "invoice/7"), // Filter says which rows
		latchkeytest.None(latchkey.Delete, "invoice/7"))
	kit.Clock.Advance(time.Hour) // no test waits
	kit.Store.Down(true)         // and every call is refused with ErrUnavailable
}

// recorder is a testing.TB that keeps what fails.
type recorder struct {
	testing.TB
	failed []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}

func TestCheckFails(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	access := kit.Access("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: editor})
	for name, lines := range map[string][]latchkeytest.Line{
		"more than is allowed": {latchkeytest.All(latchkey.Delete, "invoice/7")},
		"less than is allowed": {latchkeytest.Some(latchkey.Read, "invoice/7")},
		"some for all":         {latchkeytest.All(latchkey.Update, "invoice/7")},
		"the second resource":  {latchkeytest.All(latchkey.Read, "invoice/7", "order/7")},
		"no resource":          {latchkeytest.None(latchkey.Update, "invoice//7")},
		"no question":          {latchkeytest.All(latchkey.Read)},
		"no lines":             {},
	} {
		var r recorder
		latchkeytest.Check(&r, access, lines...)
		assert.Len(t, r.failed, 1, name)
	}
	var r recorder
	latchkeytest.Check(&r, access, latchkeytest.None(latchkey.Read, "invoice/7"))
	assert.Contains(t, r.failed[0], "read on invoice/7: all is allowed, want none")
	assert.Contains(t, r.failed[0], "allow read", "the rule that decided")
}

// Each method of a store that can fail does, while the store is down.
func TestDown(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	kit.Store.Down(true)
	contract := reflect.TypeFor[latchkey.Store]()
	failed := 0
	for i := range contract.NumMethod() {
		name := contract.Method(i).Name
		method := reflect.ValueOf(kit.Store).MethodByName(name)
		kind := method.Type()
		if kind.NumIn() == 0 || kind.In(0) != reflect.TypeFor[context.Context]() {
			continue // it reads nothing
		}
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for n := 1; n < kind.NumIn() && !(kind.IsVariadic() && n == kind.NumIn()-1); n++ {
			args = append(args, reflect.Zero(kind.In(n)))
		}
		results := method.Call(args)
		err, _ := results[len(results)-1].Interface().(error)
		assert.ErrorIs(t, err, latchkey.ErrUnavailable, name)
		assert.ErrorContains(t, err, "the test took the store down", name)
		failed++
	}
	assert.Greater(t, failed, 20)
}

// A test that ends while calls fail has its Kit closed all the same.
func TestEndWhileCallsFail(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	access := kit.Access("acme", latchkey.Spec{Kind: latchkey.KindAPIKey})
	access.Count("api", "GET /", 1) // Close writes it
	kit.Store.Fail(func(string) error { return latchkey.ErrUnavailable })
}

// A test chooses which calls fail.
func TestFail(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	acme := kit.For("acme")
	var calls []string
	kit.Store.Fail(func(call string) error {
		if calls = append(calls, call); call == "Write" {
			return latchkey.ErrUnavailable
		}
		return nil
	})
	_, err := acme.CreateRole(t.Context(), latchkey.Role{Name: "reader"})
	assert.ErrorIs(t, err, latchkey.ErrUnavailable)
	assert.Contains(t, calls, "Write")
	kit.Store.Fail(nil)
	list, err := acme.RolesPage(t.Context(), latchkey.RoleQuery{})
	assert.NoError(t, err)
	assert.Empty(t, list.Items, "the call did nothing")
}

// A program whose ids are of the real time sets the clock of the Kit to it.
func TestAKitOfTheRealTime(t *testing.T) {
	spec := func() latchkey.Spec {
		return latchkey.Spec{ID: uuid.Must(uuid.NewV7()).String(), Kind: latchkey.KindAPIKey, Permissions: editor}
	}
	kit := latchkeytest.New(t, nil)
	_, _, err := kit.For("acme").Issue(t.Context(), spec())
	require.ErrorIs(t, err, latchkey.ErrInvalid)
	kit = latchkeytest.New(t, nil)
	kit.Clock.Advance(time.Since(kit.Clock.Now()))
	latchkeytest.Check(t, kit.Access("acme", spec()), latchkeytest.All(latchkey.Read, "invoice/7"))
}
