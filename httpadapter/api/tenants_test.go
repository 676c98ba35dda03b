package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// neighbour is another owner of the same keys, with records that resemble those of a house. What is not alike begins
// with "theirs".
type neighbour struct {
	latchkey.Account
	token, child, role, client, text string
}

func (h *house) neighbour() *neighbour {
	ctx, t := h.t.Context(), h.t
	n := &neighbour{Account: h.keys.For("globex"), client: "theirs-client"}
	extra := json.RawMessage(`{"who":"theirs-extra"}`)
	require.NoError(t, n.Configure(ctx, func(o *latchkey.Owner) error { o.Extra = extra; return nil }))
	role, err := n.CreateRole(ctx, latchkey.Role{Name: "reader", Extra: extra, Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("data/*", "data/theirs-data")}})
	require.NoError(t, err)
	n.role = role.ID
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "of c1", Roles: []string{n.role}, Extra: extra,
		Client: latchkey.Client{ID: "c1", Name: "theirs-name"}}
	h.issueFor(n.Account, spec)
	spec.Client.ID = n.client
	n.token, n.text = h.issueFor(n.Account, spec)
	access, err := h.keys.Verify(ctx, latchkey.Presented{Secret: n.text})
	require.NoError(t, err)
	child, _, err := access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Hour, Name: "theirs-child"})
	require.NoError(t, err)
	n.child = child.ID
	_, err = access.Spend(ctx, "api", "GET /theirs-endpoint", latchkey.Credit)
	require.NoError(t, err)
	disabled, off := h.issueFor(n.Account, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "theirs-off", Disabled: true})
	_, err = h.keys.Verify(ctx, latchkey.Presented{Secret: off})
	require.ErrorIs(t, err, latchkey.ErrDisabled, disabled)
	return n
}

// dump returns all that the neighbour has.
func (n *neighbour) dump(t *testing.T) string {
	var out strings.Builder
	ctx := t.Context()
	show := func(v any, err error) {
		require.NoError(t, err)
		b, err := json.Marshal(v)
		require.NoError(t, err)
		fmt.Fprintf(&out, "%s\n", b)
	}
	show(n.Record(ctx))
	for token, err := range n.Tokens(ctx, latchkey.TokenQuery{}) {
		show(token, err)
		show(n.Secrets(ctx, token.ID))
	}
	for role, err := range n.Roles(ctx, latchkey.RoleQuery{}) {
		show(role, err)
	}
	for client, err := range n.Clients(ctx) {
		show(client, err)
	}
	for event, err := range n.Events(ctx, latchkey.EventQuery{}) {
		show(event, err)
	}
	show(n.Usage(ctx, latchkey.UsageQuery{By: []string{"token", "client", "meter", "endpoint", "day"}}))
	show(n.RefusalReport(ctx, latchkey.RefusalQuery{}))
	return out.String()
}

// Each operation, carried out for one owner, shows nothing of another owner and changes nothing of it.
func TestNoOperationReachesAnotherOwner(t *testing.T) {
	for id, op := range describedOperations() {
		h := newHouse(t, setup{})
		n := h.neighbour()
		before := n.dump(t)
		require.Contains(t, before, "theirs-extra")
		e := h.examples()[id]
		got := h.request(op, e)
		require.Less(t, got.Code, 300, "%s: %s", id, got.Body)
		for _, mark := range []string{"theirs", "globex", n.token, n.child, n.role, n.text} {
			assert.NotContains(t, got.Body.String(), mark, id)
		}
		assert.Equal(t, before, n.dump(t), id)
	}
}

// A parameter or a part of a body that names a record of another owner means as much as one that names none.
func TestForeignNamesMeanNothing(t *testing.T) {
	h := newHouse(t, setup{})
	n := h.neighbour()
	before := n.dump(t)
	none := map[string]string{n.token: nobody, n.child: nobody, n.role: nobody, n.client: "nobody",
		n.text: "ak_" + strings.Repeat("1", len(n.text)-3)}
	compare := func(what string, send func(name string) reply, theirs string) {
		t.Helper()
		said := func(name string) string {
			got := send(name)
			return strings.ReplaceAll(http.StatusText(got.Code)+"\n"+got.Body.String(), name, "<name>")
		}
		assert.Equal(t, said(none[theirs]), said(theirs), what)
	}
	tried := 0
	for id, op := range describedOperations() {
		if op.method != "GET" {
			continue
		}
		for _, described := range op.parameters("query") {
			name := described["name"].(string)
			for _, theirs := range map[string][]string{"role": {n.role}, "client": {n.client}, "parent": {n.token},
				"search": {n.token, n.role}, "find": {n.token, n.client}, "id": {n.role}, "inherits": {n.role},
				"token": {n.token}, "actor": {n.token}, "object": {n.token, n.role}}[name] {
				e := h.examples()[id]
				path, raw, _ := strings.Cut(e.target, "?")
				tried++
				compare(id+" "+name, func(value string) reply {
					q, err := url.ParseQuery(raw)
					require.NoError(t, err)
					q.Set(name, value)
					return h.do("GET", path+"?"+q.Encode(), nil)
				}, theirs)
			}
		}
	}
	require.Greater(t, tried, 15)
	patch := []string{"Content-Type", mediaMerge}
	for _, c := range []struct {
		method, target, body string
		headers              []string
		theirs               string
	}{
		{"POST", "/tokens", `{"kind":"api_key","roles":[%q]}`, nil, n.role},
		{"POST", "/tokens", `{"kind":"api_key","role_ends":{%q:"2027-01-01T00:00:00Z"}}`, nil, n.role},
		{"POST", "/tokens/import", `{"kind":"api_key","text":"old_1234567890abcdef","roles":[%q]}`, nil, n.role},
		{"POST", "/tokens/find", `{"secret":%q}`, nil, n.text},
		{"POST", "/tokens/revoke", `{"client":%q}`, nil, n.client},
		{"POST", "/tokens/revoke", `{"parent":%q}`, nil, n.token},
		{"POST", "/tokens/revoke", `{"role":%q}`, nil, n.role},
		{"POST", "/tokens/disable", `{"client":%q}`, nil, n.client},
		{"POST", "/tokens/disable", `{"parent":%q}`, nil, n.token},
		{"POST", "/tokens/disable", `{"role":%q}`, nil, n.role},
		{"PATCH", "/tokens/" + h.plainID, `{"roles":[%q]}`, patch, n.role},
		{"POST", "/roles", `{"name":"new","inherits":[%q]}`, nil, n.role},
		{"PATCH", "/roles/" + h.heir.ID, `{"inherits":[%q]}`, patch, n.role},
		{"POST", "/me/tokens", `{"lifetime":60000000000,"roles":[%q]}`, nil, n.role},
		{"DELETE", "/clients/%s", "", nil, n.client},
	} {
		compare(c.method+" "+c.target+" "+c.body, func(name string) reply {
			if c.body == "" {
				return h.do(c.method, fmt.Sprintf(c.target, name), nil)
			}
			return h.do(c.method, c.target, fmt.Sprintf(c.body, name), c.headers...)
		}, c.theirs)
	}
	assert.Equal(t, before, n.dump(t))
}
