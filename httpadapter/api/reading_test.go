package api

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// A change shows no record that the caller may not read, and a sweep counts none.
func TestChangesShowNothingHidden(t *testing.T) {
	h := newHouse(t, setup{})
	_, writer := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Update).On("latchkey/*"), latchkey.Allow(latchkey.Read).On("data/*", "latchkey/event"),
		latchkey.Allow(latchkey.Mint).On("latchkey/token/*")}})
	h.as(writer, "PATCH", "/tokens/"+h.plainID, `{"name":"x"}`).refused(404, "not-found")
	h.as(writer, "PATCH", "/roles/"+h.role.ID, `{"name":"x"}`).refused(404, "not-found")
	h.as(writer, "PATCH", "/owner", `{"extra":1}`).refused(403, "denied")
	token, err := h.acme.Get(t.Context(), h.plainID)
	require.NoError(t, err)
	require.Equal(t, "plain", token.Name)

	_, page := h.issue(latchkey.Spec{Kind: latchkey.KindPublishable})
	for _, target := range []string{"/tokens/revoke", "/tokens/disable"} {
		for _, body := range []string{`{"client":"c1"}`, `{"client":"c9"}`, `{"all":true}`} {
			require.Equal(t, map[string]any{"done": 0.0, "refused": 0.0, "more": false},
				h.as(page, "POST", target, body).ok(200), "%s %s", target, body)
		}
	}
}

// What a patch does not name stays as it is, byte for byte.
func TestPatchKeepsExtra(t *testing.T) {
	h := newHouse(t, setup{})
	const extra = "{ \"of\" : \"<host>\", \"n\":1.0 }"
	id, _ := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Extra: []byte(extra)})
	r, err := h.acme.CreateRole(t.Context(), latchkey.Role{Name: "with extra", Extra: []byte(extra)})
	require.NoError(t, err)
	h.do("PATCH", "/tokens/"+id, `{"name":"x"}`).ok(200)
	h.do("PATCH", "/roles/"+r.ID, `{"name":"x"}`).ok(200)
	token, err := h.acme.Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, extra, string(token.Extra))
	r, err = h.acme.Role(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, extra, string(r.Extra))
	h.do("PATCH", "/tokens/"+id, `{"extra":{"n":null}}`).ok(200)
	token, err = h.acme.Get(t.Context(), id)
	require.NoError(t, err)
	require.JSONEq(t, `{"of":"<host>"}`, string(token.Extra))
	h.do("PATCH", "/roles/"+r.ID, `{"extra":{"n":null},"boundary":[],
		"permissions":[{"deny":["read"],"on":["data/1"]}]}`).ok(200)
	r, err = h.acme.Role(t.Context(), r.ID)
	require.NoError(t, err)
	require.JSONEq(t, `{"of":"<host>"}`, string(r.Extra))
	require.Equal(t, latchkey.Permissions{}, r.Boundary)
	require.Equal(t, latchkey.Permissions{latchkey.Deny("read").On("data/1")}, r.Permissions)
}

// One request finds out about so many tokens, however few of them may do it.
func TestWhoIsBounded(t *testing.T) {
	h := newWorld(t, setup{})
	for i := range maxLooked {
		h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: fmt.Sprint(i)})
	}
	last, _ := h.issue(latchkey.Spec{Kind: latchkey.KindSecret})
	const ask = "/who?action=read&resource=data/1"
	first := h.do("GET", ask, nil).ok(200)
	require.Len(t, first["items"], 1)
	second := h.do("GET", ask+"&cursor="+first["next"].(string), nil).ok(200)
	require.Len(t, second["items"], 1)
	require.Equal(t, last, second["items"].([]any)[0].(map[string]any)["token"].(map[string]any)["id"])
	require.NotContains(t, second, "next")
}

// A caller that the host narrowed hears what it may do, not what its token may.
func TestExplainMeIsOfTheCaller(t *testing.T) {
	h := newHouse(t, setup{})
	access, err := h.keys.Verify(t.Context(), latchkey.Presented{Secret: h.admin})
	require.NoError(t, err)
	access, err = access.Narrow(t.Context(), latchkey.Narrowing{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("data/1", "latchkey/*")}})
	require.NoError(t, err)
	for resource, verdict := range map[string]string{"data/1": "all", "data/2": "none"} {
		r := httptest.NewRequest("POST", "/me/explain",
			strings.NewReader(`{"questions":[{"action":"read","resource":"`+resource+`"}]}`))
		r.Header.Set("Content-Type", mediaJSON)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		got := h.send(r.WithContext(httpadapter.WithAccess(r.Context(), access))).ok(200)
		first := got["items"].([]any)[0].(map[string]any)
		require.Equal(t, verdict, first["verdict"], resource)
		require.Len(t, first["layers"], 2, resource)
	}
}

// What a change did is not hidden from a caller that may make it and not read the token. What the store did not do is
// no missing token.
func TestChangesWithoutReading(t *testing.T) {
	var store *latchkeytest.Store
	h := newHouse(t, setup{store: func(s latchkey.Store) latchkey.Store {
		store = &latchkeytest.Store{Store: s}
		return store
	}})
	_, ender := h.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Delete).On("latchkey/token/*")}})
	store.Fail(func(call string) error {
		if call == "Write" {
			return latchkey.ErrUnavailable
		}
		return nil
	})
	h.as(ender, "POST", "/tokens/"+h.plainID+"/revoke", nil).refused(503, "unavailable")
	store.Fail(nil)
	h.as(ender, "POST", "/tokens/"+h.plainID+"/revoke", nil).ok(204)
	h.as(h.plain, "GET", "/me", nil).refused(401, "invalid-token")
	h.as(ender, "POST", "/tokens/"+h.plainID+"/rotate", nil).refused(404, "not-found")
}

// Tokens are selected by each of the states and kinds, and listed in each order, both ways.
func TestTokensOfEachStateInEachOrder(t *testing.T) {
	w := newWorld(t, setup{})
	now := w.clock.now()
	ids := map[string]string{w.adminID: "active"}
	for name, spec := range map[string]latchkey.Spec{
		"revoked": {}, "disabled": {Disabled: true}, "expired": {Validity: latchkey.Validity{NotAfter: now.Add(time.Hour)}},
		"not_yet_valid": {Validity: latchkey.Validity{NotBefore: now.Add(9 * time.Hour)}},
	} {
		spec.Kind, spec.Name = latchkey.KindAPIKey, "z "+name
		id, _ := w.issue(spec)
		ids[id] = name
		if name == "revoked" {
			require.NoError(t, w.acme.Revoke(t.Context(), id, ""))
		}
	}
	w.clock.add(2 * time.Hour)
	list := func(query string) (names []string) {
		t.Helper()
		for _, item := range w.do("GET", "/tokens?"+query, nil).ok(200)["items"].([]any) {
			names = append(names, ids[item.(map[string]any)["id"].(string)])
		}
		return names
	}
	for _, state := range states {
		require.Equal(t, []string{state}, list("state="+state))
	}
	require.ElementsMatch(t, []string{"active", "revoked"}, list("state=revoked,active"))
	require.Equal(t, []string{"active"}, list("kind=secret"))
	byName := []string{"active", "disabled", "expired", "not_yet_valid", "revoked"}
	require.Equal(t, byName, list("order=name"))
	slices.Reverse(byName)
	require.Equal(t, byName, list("order=name&reverse=true"))
	require.Equal(t, "active", list("")[0], "the oldest first")
	require.Equal(t, "expired", list("order=end")[0])
	for most, more := range map[int]bool{4: true, 5: true, 6: false} {
		require.Equal(t, map[string]any{"count": float64(min(most, 5)), "more": more},
			w.do("GET", fmt.Sprint("/tokens/count?most=", most), nil).ok(200))
	}
}
