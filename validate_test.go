package latchkey_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// What a record may hold is bounded in every call that writes it. The largest allowed value is accepted.
func TestRecordsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 257)
	roles := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, latchkey.CodeRoleID(fmt.Sprint(i)))
		}
		return ids
	}
	for name, c := range map[string]struct {
		good, bad func(w *world, s *latchkey.Settings)
		why       string // in the text of the error: another check may refuse it too
	}{
		"name": {func(_ *world, s *latchkey.Settings) {
			s.Name = long[:256]
		}, func(_ *world, s *latchkey.Settings) { s.Name = long }, "more than 256 bytes"},
		"a role named twice": {func(w *world, s *latchkey.Settings) {
			s.Roles = []string{w.role("a").ID, w.role("b").ID}
		}, func(w *world, s *latchkey.Settings) {
			s.Roles = slices.Repeat([]string{w.role("c").ID}, 2)
		}, "named twice"},
		"many roles": {func(_ *world, s *latchkey.Settings) { s.Roles = roles(1000) },
			func(_ *world, s *latchkey.Settings) { s.Roles = roles(1001) }, "more than 1000 roles"},
		"the id of a role": {func(w *world, s *latchkey.Settings) {
			s.Roles = []string{w.role("d").ID}
		}, func(_ *world, s *latchkey.Settings) { s.Roles = []string{long} }, "role"},
		"idle": {func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Second },
			func(_ *world, s *latchkey.Settings) { s.Validity.Idle = time.Second - 1 }, "shorter than a second"},
		"negative idle": {func(*world, *latchkey.Settings) {},
			func(_ *world, s *latchkey.Settings) { s.Validity.Idle = -time.Hour }, "Idle is negative"},
		"an end before the begin": {func(w *world, s *latchkey.Settings) {
			s.Validity.NotBefore, s.Validity.NotAfter = w.now().Add(time.Hour), w.now().Add(time.Hour+time.Microsecond)
		}, func(w *world, s *latchkey.Settings) {
			s.Validity.NotBefore, s.Validity.NotAfter = w.now().Add(time.Hour), w.now().Add(time.Hour)
		}, "not after NotBefore"},
		"a late year": {func(w *world, s *latchkey.Settings) {
			s.Validity.NotAfter = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
		}, func(w *world, s *latchkey.Settings) {
			s.Validity.NotAfter = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		}, "years 1970 to 9999"},
		"an early year": {func(w *world, s *latchkey.Settings) {
			s.Validity.NotBefore = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
		}, func(w *world, s *latchkey.Settings) {
			s.Validity.NotBefore = time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)
		}, "years 1970 to 9999"},
		"extra": {func(_ *world, s *latchkey.Settings) { s.Extra = json.RawMessage(`{}`) },
			func(_ *world, s *latchkey.Settings) { s.Extra = json.RawMessage(`{`) }, "not JSON"},
		"much extra": {func(_ *world, s *latchkey.Settings) {
			s.Extra = json.RawMessage(`"` + strings.Repeat("x", 1<<20-2) + `"`)
		}, func(_ *world, s *latchkey.Settings) {
			s.Extra = json.RawMessage(`"` + strings.Repeat("x", 1<<20-1) + `"`)
		}, "more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			var all []latchkey.Role
			for i := range 1000 {
				all = append(all, latchkey.Role{Name: fmt.Sprint(i)})
			}
			w := newWorld(t, withRoles(all...))
			var good, bad latchkey.Settings
			c.good(w, &good)
			w.issue(latchkey.KindAPIKey, good)
			c.bad(w, &bad)
			_, _, err := w.acme.Issue(w.ctx, bad.Spec(latchkey.KindAPIKey))
			w.is(latchkey.ErrInvalid, err)
			require.ErrorContains(t, err, c.why)
			tok, _ := w.key()
			_, err = w.acme.Update(w.ctx, tok.ID, func(t *latchkey.Token) error { t.Settings = bad; return nil })
			w.is(latchkey.ErrInvalid, err)
			require.ErrorContains(t, err, c.why)
		})
	}
	w := newWorld(t)
	tok, secret := w.key()
	for _, kind := range []latchkey.Kind{6, 99, 255} {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: kind})
		w.is(latchkey.ErrInvalid, err)
	}
	for origin, want := range map[string]error{
		long[:64]: nil, long[:65]: latchkey.ErrInvalid, "\x00": latchkey.ErrInvalid,
	} {
		_, _, err := w.acme.Issue(w.ctx, latchkey.Spec{Kind: latchkey.KindAPIKey, Origin: origin})
		require.ErrorIs(t, err, want)
		_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Origin: origin})
		require.ErrorIs(t, err, want)
		_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "n", Origin: origin})
		require.ErrorIs(t, err, want)
	}
	for id, want := range map[string]error{long[:256]: nil, long: latchkey.ErrInvalid, "\xff": latchkey.ErrInvalid} {
		_, err := w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Client: latchkey.Client{ID: id}})
		require.ErrorIs(t, err, want)
		_, err = w.access(secret).Narrow(w.ctx, latchkey.Narrowing{Client: latchkey.Client{ID: "1", Name: id}})
		require.ErrorIs(t, err, want)
	}
	for year, want := range map[int]error{1970: nil, 1969: latchkey.ErrInvalid, 10000: latchkey.ErrInvalid} {
		err := newWorld(t).acme.Configure(w.ctx, func(o *latchkey.Owner) error {
			o.NotBefore = time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
			return nil
		})
		require.ErrorIs(t, err, want, "%d", year)
	}
	w.is(latchkey.ErrInvalid, w.acme.Revoke(w.ctx, tok.ID, long))
	w.access(secret)
	w.ok(w.acme.Revoke(w.ctx, tok.ID, long[:256]))
}

// As many roles as there may be are found by their names, too.
func TestAsManyRolesByNameAsThereMayBe(t *testing.T) {
	var all []latchkey.Role
	var names []string
	for i := range 1001 {
		names = append(names, fmt.Sprint("role ", i))
		all = append(all, latchkey.Role{Name: names[i], Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("*"),
		}})
	}
	w := newWorld(t, withRoles(all[:1000]...))
	r, err := w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir", Inherits: names[:256]})
	w.ok(err)
	require.Len(t, r.Inherits, 256)
	_, err = w.acme.CreateRole(w.ctx, latchkey.Role{Name: "heir of more", Inherits: names[:257]})
	w.is(latchkey.ErrInvalid, err)

	_, secret := w.issue(latchkey.KindSecret, latchkey.Settings{})
	minted, _ := w.mint(w.access(secret), latchkey.Narrowing{Lifetime: time.Hour, Roles: names[:1000]})
	require.Len(t, minted.Roles, 1000)
	require.NotContains(t, minted.Roles, names[0], "an id")
	_, _, err = w.access(secret).Mint(w.ctx, latchkey.Narrowing{Lifetime: time.Hour, Roles: names})
	w.is(latchkey.ErrInvalid, err)

	tok, _ := w.key()
	swept, err := w.acme.EditAll(w.ctx, latchkey.Selector{IDs: []string{tok.ID}},
		latchkey.Edit{AddRoles: names[:1000]}, "all of them")
	w.ok(err)
	require.Equal(t, 1, swept.Done)
	_, err = w.acme.EditAll(w.ctx, latchkey.Selector{IDs: []string{tok.ID}}, latchkey.Edit{AddRoles: names}, "more")
	w.is(latchkey.ErrInvalid, err)
}
