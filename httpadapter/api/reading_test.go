package api

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
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
