package api

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A token that is not stored is minted, used and revoked through the API.
func TestStatelessMint(t *testing.T) {
	h := newHouse(t, setup{})
	count := func() int {
		n, err := h.acme.CountTokens(t.Context(), latchkey.TokenQuery{}, 0)
		require.NoError(t, err)
		return n
	}
	before := count()
	made := h.as(h.secret, "POST", "/me/tokens", `{"lifetime":60000000000,"name":"a page","stateless":true}`)
	token := made.ok(201)["token"].(map[string]any)
	text := made.ok(201)["secret"].(string)
	id := token["id"].(string)
	require.True(t, latchkey.IsStateless(id))
	require.True(t, latchkey.CheckText(text))
	require.Equal(t, []any{"a page", h.token.ID, "2026-11-30T12:01:00Z"}, []any{token["name"], token["parent"],
		token["validity"].(map[string]any)["not_after"]})
	require.Empty(t, made.Header().Get("Location"), "there is no record")
	require.Equal(t, before, count())
	access, err := h.keys.Verify(t.Context(), latchkey.Presented{Secret: text})
	require.NoError(t, err)
	require.Equal(t, id, access.TokenID())
	h.as(text, "GET", "/me", nil).refused(403, "denied") // it administers nothing
	h.do("POST", "/tokens/"+id+"/revoke", `{}`)
	require.Equal(t, 401, h.as(text, "GET", "/me", nil).Code)
	stored := h.as(h.secret, "POST", "/me/tokens", `{"lifetime":60000000000,"stateless":false}`)
	require.False(t, latchkey.IsStateless(stored.ok(201)["token"].(map[string]any)["id"].(string)))
	require.NotEmpty(t, stored.Header().Get("Location"))
	require.Equal(t, before+1, count())
}

// Each refusal says what stands against it.
func TestStatelessMintIsRefused(t *testing.T) {
	policy := func(p latchkey.OwnerPolicy) func(h *house) {
		return func(h *house) {
			require.NoError(t, h.acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Policy = p; return nil }))
		}
	}
	for name, tt := range map[string]struct {
		change  func(h *house)
		members string // besides the least
		says    string
	}{
		"an idle end":         {nil, `"idle":60000000000`, "Idle"},
		"limits of its own":   {nil, `"limits":{"rate":{"count":1,"per":1000000000}}`, "Limits"},
		"signed requests":     {nil, `"restrictions":{"signed":true}`, "Signed"},
		"a place to mint":     {nil, `"restrictions":{"mint_from":["10.0.0.0/8"]}`, "MintFrom"},
		"a long life":         {nil, `"lifetime":90000000000000`, "MaxStateless"},
		"much to say":         {nil, `"extra":"` + strings.Repeat("x", 2048) + `"`, "bytes"},
		"once":                {nil, "", "MintFor"},
		"children counted":    {policy(latchkey.OwnerPolicy{Children: 9}), "", "policy"},
		"audited mints":       {policy(latchkey.OwnerPolicy{AuditMints: true}), "", "policy"},
		"an idle end for all": {policy(latchkey.OwnerPolicy{MaxIdle: time.Hour}), "", "policy"},
		"a word":              {nil, `"stateless":"yes"`, ""},
	} {
		h := newHouse(t, setup{})
		if tt.change != nil {
			tt.change(h)
		}
		body := `"lifetime":60000000000,"stateless":true`
		if tt.members != "" {
			name, _, _ := strings.Cut(tt.members, ":")
			var left []string
			for _, m := range strings.Split(body, ",") {
				if !strings.HasPrefix(m, name+":") {
					left = append(left, m)
				}
			}
			body = strings.Join(append(left, tt.members), ",")
		}
		status, problem, headers := 400, "invalid", []string(nil)
		switch {
		case tt.change != nil:
			status, problem = 403, "policy"
		case tt.says == "":
			problem = "bad-request"
		case tt.says == "MintFor":
			headers = []string{"Idempotency-Key", `"` + strings.Repeat("k", 32) + `"`}
		}
		p := h.as(h.secret, "POST", "/me/tokens", "{"+body+"}", headers...).refused(status, problem)
		assert.Contains(t, p.Detail, tt.says, name)
	}
	w := newWorld(t, setup{})
	_, text := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey})
	p := w.as(text, "POST", "/me/tokens", `{"lifetime":60000000000,"stateless":true}`).refused(409, "not-kept")
	require.Contains(t, p.Detail, "no key")
	h := newHouse(t, setup{})
	made := h.as(h.secret, "POST", "/me/tokens", `{"lifetime":60000000000,"stateless":true}`).ok(201)["secret"].(string)
	p = h.as(made, "POST", "/me/tokens", `{"lifetime":1000000000}`).refused(403, "denied")
	require.NotEmpty(t, p.Title)
}
