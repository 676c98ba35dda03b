package latchkeymcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

func TestRows(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	var log strings.Builder
	opts := rules()
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	rule := latchkeymcp.Rule{Action: latchkey.Read, Resource: "dataset/orders", Rows: true}
	add := func(name string, h func(ctx context.Context) (*mcp.CallToolResult, error)) {
		opts.Tools[name] = rule
		server.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)},
			func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) { return h(ctx) })
	}
	var seen latchkey.Condition
	add("asks", func(ctx context.Context) (*mcp.CallToolResult, error) {
		rows, ok := httpadapter.RowsFrom(ctx) // which is latchkeymcp.RowsFrom
		assert.True(t, ok)                    // not require: this is no goroutine of the test
		seen = rows
		return said("some rows"), nil
	})
	add("forgets", func(context.Context) (*mcp.CallToolResult, error) { return said("every row"), nil })
	add("needs_none", func(ctx context.Context) (*mcp.CallToolResult, error) {
		latchkeymcp.RowsNotNeeded(ctx)
		return said("no row"), nil
	})
	add("fails", func(context.Context) (*mcp.CallToolResult, error) { return nil, errors.New("failed early") })
	add("reports", func(context.Context) (*mcp.CallToolResult, error) {
		res := said("failed early")
		res.IsError = true
		return res, nil
	})
	add("elicits", func(context.Context) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"sure": &mcp.ElicitParams{Message: "Sure?",
			RequestedSchema: json.RawMessage(`{"type":"object","properties":{}}`)}}}, nil
	})
	opts.Tools["whole"] = latchkeymcp.Rule{Everyone: true}
	server.AddTool(&mcp.Tool{Name: "whole", InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			rows, ok := latchkeymcp.RowsFrom(ctx)
			assert.False(t, ok, "a tool without Rows has none")
			assert.True(t, rows.IsNoRows())
			return said("whole"), nil
		})
	opts.Resources["rows://x"] = rule
	server.AddResource(&mcp.Resource{Name: "rows", URI: "rows://x"}, func(context.Context, *mcp.ReadResourceRequest) (
		*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{Text: "every row"}}}, nil
	})
	opts.Prompts["rows"] = rule
	server.AddPrompt(&mcp.Prompt{Name: "rows"}, func(context.Context, *mcp.GetPromptRequest) (
		*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Description: "every row"}, nil
	})
	url := start(t, guarded(kit, opts, server))

	eu := latchkey.Where("region", latchkey.Eq, "EU")
	some := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders").Where(eu))
	all := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders"))
	require.Equal(t, "some rows", post(t, url, some, tool("asks", `{}`)).text())
	require.Equal(t, eu.String(), seen.String())
	require.Equal(t, "some rows", post(t, url, all, tool("asks", `{}`)).text())
	require.True(t, seen.IsAllRows())
	require.Equal(t, denied, post(t, url, key(t, kit, "acme"), tool("asks", `{}`)).code())
	require.Equal(t, "no row", post(t, url, some, tool("needs_none", `{}`)).text())
	require.Equal(t, "failed early", post(t, url, some, tool("reports", `{}`)).text())
	require.Contains(t, post(t, url, some, tool("fails", `{}`)).Body, "failed early")
	asked := post(t, url, some, method("tools/call", `{"name":"elicits","arguments":{},"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":`+
		`{"elicitation":{}}}}`), header("Mcp-Protocol-Version", "2026-07-28"), header("Mcp-Method", "tools/call"),
		header("Mcp-Name", "elicits"))
	require.Contains(t, asked.Body, "input_required", "a question to the user comes before the rows")
	require.Equal(t, "whole", post(t, url, some, tool("whole", `{}`)).text())
	require.Empty(t, log.String())
	for _, token := range []string{some, all} { // for every caller, so that a test finds it
		for _, body := range []string{tool("forgets", `{}`), method("resources/read", `{"uri":"rows://x"}`),
			method("prompts/get", `{"name":"rows"}`)} {
			log.Reset()
			got := post(t, url, token, body)
			require.Equal(t, -32603, got.code(), got.Body)
			require.NotContains(t, got.Body, "every row")
			require.Contains(t, log.String(), "RowsFrom")
		}
	}
}

func TestSpend(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.Tools["read"] = latchkeymcp.Rule{Action: latchkey.Read, Resource: "dataset/{id}", Meter: "api", Credits: 2}
	opts.Tools["whoami"] = latchkeymcp.Rule{Everyone: true, Meter: "api"}
	url := serve(t, kit, opts)
	_, token := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")},
		Limits:      latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "api", Per: latchkey.Day, Amount: 5}}}})
	require.Equal(t, denied, post(t, url, token, tool("read", `{"id":"payroll"}`)).code(), "what is denied costs nothing")
	for range 2 {
		require.Equal(t, "read orders for acme", post(t, url, token, tool("read", `{"id":"orders"}`)).text())
	}
	over := post(t, url, token, tool("read", `{"id":"orders"}`))
	require.Equal(t, 429, over.code(), over.Body)
	require.Equal(t, 12*60*60, over.Error.Data.RetryAfter, "until midnight")
	require.Equal(t, "acme", post(t, url, token, whoami).text(), "counting costs nothing")
	kit.Clock.Advance(12 * time.Hour)
	require.Equal(t, "read orders for acme", post(t, url, token, tool("read", `{"id":"orders"}`)).text())
}

type shipParams struct {
	mcp.ParamsBase
	Order string `json:"order"`
}

type shipResult struct {
	mcp.ResultBase
	Text string `json:"text"`
}

func TestMethodsOfTheHost(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	for _, name := range []string{"acme/ship", "acme/other"} {
		require.NoError(t, mcp.AddReceivingCustomMethod(server, name,
			func(_ context.Context, _ *mcp.ServerSession, p *shipParams) (*shipResult, error) {
				return &shipResult{Text: "shipped " + p.Order}, nil
			}))
	}
	opts := rules()
	opts.Methods = map[string]latchkeymcp.Rule{"acme/ship": {Action: latchkey.Update, Resource: "order/{order}"}}
	url := start(t, guarded(kit, opts, server))
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Update).On("order/7"))
	require.Contains(t, post(t, url, token, method("acme/ship", `{"order":"7"}`)).Body, "shipped 7")
	require.Equal(t, denied, post(t, url, token, method("acme/ship", `{"order":"8"}`)).code())
	require.Equal(t, -32602, post(t, url, token, method("acme/ship", `{"Order":"7"}`)).code())
	require.Equal(t, denied, post(t, url, token, method("acme/other", `{"order":"7"}`)).code())
}

// A server per request, as stateless hosts make it, is protected each time, and nothing is kept of it.
func TestServersPerRequest(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := start(t, latchkeymcp.New(kit.Manager, rules()).StreamableHTTP(
		func(*http.Request) *mcp.Server { return newServer() }, &mcp.StreamableHTTPOptions{Stateless: true}))
	token := key(t, kit, "acme")
	for range 3 {
		require.Equal(t, "acme", post(t, url, token, whoami).text())
		require.Equal(t, denied, post(t, url, token, tool("read", `{"id":"orders"}`)).code())
	}
	none := start(t, latchkeymcp.New(kit.Manager, rules()).StreamableHTTP(
		func(*http.Request) *mcp.Server { return nil }, nil))
	require.Equal(t, 400, post(t, none, token, whoami).Status)
}

func TestToolsWithoutARuleAreLoggedOnce(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	var log strings.Builder
	opts := rules()
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	url := serve(t, kit, opts)
	token := key(t, kit, "acme")
	for range 2 {
		post(t, url, token, method("tools/list", `{}`))
	}
	require.Equal(t, 1, strings.Count(log.String(), "tool=unmapped"), log.String())
}

// stdio runs a protected server over pipes, as over stdio, and connects a client.
func stdio(t *testing.T, server *mcp.Server) *mcp.ClientSession {
	t.Helper()
	here, there := mcp.NewInMemoryTransports()
	go func() { _ = server.Run(t.Context(), there) }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil).Connect(ctx, here, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func TestStdio(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("dataset/orders"))
	server := newServer()
	guard := latchkeymcp.New(kit.Manager, rules())
	require.NoError(t, guard.ProtectWithKey(t.Context(), server, token))
	session := stdio(t, server)
	call := func(name, of string) (*mcp.CallToolResult, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		return session.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: map[string]any{"id": of}})
	}
	res, err := call("read", "orders")
	require.NoError(t, err)
	require.Equal(t, "read orders for acme", res.Content[0].(*mcp.TextContent).Text)
	_, err = call("read", "payroll")
	require.ErrorContains(t, err, "Forbidden")
	_, err = session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read",
		Arguments: json.RawMessage(`{"id":"orders","id":"payroll"}`)})
	require.ErrorContains(t, err, "JSON parsers differ")
	tools, err := session.ListTools(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, tools.Tools, 2)

	_, err = kit.For("acme").Update(t.Context(), id(kit, token), func(tok *latchkey.Token) error {
		tok.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/payroll")}
		return nil
	})
	require.NoError(t, err)
	_, err = call("read", "orders")
	require.ErrorContains(t, err, "Forbidden", "rights are those of now")
	_, err = call("read", "payroll")
	require.NoError(t, err)
	require.NoError(t, kit.For("acme").Revoke(t.Context(), id(kit, token), "leaked"))
	_, err = call("read", "payroll")
	require.ErrorContains(t, err, "Invalid token")
	require.Error(t, session.Ping(t.Context(), nil))
}

func TestKeysOfStdio(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	token := key(t, kit, "acme")
	_, elsewhere := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Restrictions: latchkey.Restrictions{
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}})
	guard := latchkeymcp.New(kit.Manager, rules())
	require.NoError(t, guard.ProtectWithKey(t.Context(), newServer(), token))
	require.ErrorIs(t, guard.ProtectWithKey(t.Context(), newServer(), ""), latchkey.ErrInvalidToken)
	require.ErrorIs(t, guard.ProtectWithKey(t.Context(), newServer(), elsewhere), latchkey.ErrInvalidToken)
	opts := rules()
	opts.Owner = "umbrella"
	require.ErrorIs(t, latchkeymcp.New(kit.Manager, opts).ProtectWithKey(t.Context(), newServer(), token),
		latchkey.ErrInvalidToken)
	opts = rules()
	opts.OwnerOf = func(*http.Request) (string, error) { return "acme", nil }
	require.ErrorIs(t, latchkeymcp.New(kit.Manager, opts).ProtectWithKey(t.Context(), newServer(), token),
		latchkey.ErrInvalid)

	_, sandbox := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	require.ErrorIs(t, guard.ProtectWithKey(t.Context(), newServer(), sandbox), latchkey.ErrInvalidToken)
	opts = rules()
	opts.Test = true
	require.NoError(t, latchkeymcp.New(kit.Manager, opts).ProtectWithKey(t.Context(), newServer(), sandbox))

	protected := newServer()
	guard.Protect(protected)
	require.ErrorIs(t, guard.ProtectWithKey(t.Context(), protected, token), latchkey.ErrInvalid)

	// Over HTTP the key is nobody's credential.
	server := newServer()
	require.NoError(t, guard.ProtectWithKey(t.Context(), server, token))
	url := start(t, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true}))
	require.Equal(t, 401, post(t, url, "", whoami).code())

	const name = "LATCHKEYMCP_TEST_KEY"
	t.Setenv(name, token)
	got, err := latchkeymcp.KeyFromEnv(name)
	require.NoError(t, err)
	require.Equal(t, token, got)
	_, there := os.LookupEnv(name)
	require.False(t, there, "no child process inherits it")
	_, err = latchkeymcp.KeyFromEnv(name)
	require.ErrorContains(t, err, name)
}

func TestNewPanics(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	rule := func(r latchkeymcp.Rule) latchkeymcp.Options {
		return latchkeymcp.Options{Tools: map[string]latchkeymcp.Rule{"x": r}}
	}
	good := latchkeymcp.Rule{Action: latchkey.Read, Resource: "a/{b}/{c.d}"}
	require.NotPanics(t, func() { o := rule(good); latchkeymcp.New(kit.Manager, &o) })
	require.NotPanics(t, func() { latchkeymcp.New(kit.Manager, nil) })
	require.Panics(t, func() { latchkeymcp.New(nil, nil) })
	for name, opts := range map[string]latchkeymcp.Options{
		"no action":               rule(latchkeymcp.Rule{Resource: "a"}),
		"any action":              rule(latchkeymcp.Rule{Action: latchkey.Any, Resource: "a"}),
		"no resource":             rule(latchkeymcp.Rule{Action: latchkey.Read}),
		"a pattern":               rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a/*"}),
		"half a wildcard":         rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a/x{b}"}),
		"an open wildcard":        rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a/{b"}),
		"a star":                  rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a/{*}"}),
		"an empty member":         rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a/{b.}"}),
		"dots":                    rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a/../b"}),
		"everyone and an action":  rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a", Everyone: true}),
		"everyone's rows":         rule(latchkeymcp.Rule{Rows: true, Everyone: true}),
		"credits, no meter":       rule(latchkeymcp.Rule{Everyone: true, Credits: 1}),
		"negative credits":        rule(latchkeymcp.Rule{Everyone: true, Meter: "m", Credits: -1}),
		"an unknown scope":        rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "a", Scope: "s"}),
		"no name":                 {Tools: map[string]latchkeymcp.Rule{"": good}},
		"a method of MCP":         {Methods: map[string]latchkeymcp.Rule{"tools/call": good}},
		"a URI without variables": {Resources: map[string]latchkeymcp.Rule{"x://y": good}},
		"another variable":        {Resources: map[string]latchkeymcp.Rule{"x://{y}": good}},
		"no URI template":         {Resources: map[string]latchkeymcp.Rule{"x://{y": {Everyone: true}}},
		"a scope with a space":    {Scopes: map[string]latchkeymcp.Scope{"a b": {Action: latchkey.Read, Resource: "a"}}},
		"a scope on a pattern":    {Scopes: map[string]latchkeymcp.Scope{"a": {Action: latchkey.Read, Resource: "a/*"}}},
		"a scope for all":         {Scopes: map[string]latchkeymcp.Scope{"a": {Action: latchkey.Any, Resource: "a"}}},
		"scopes that are not":     {RequireScopes: []string{"a"}},
		"a relative resource":     {Resource: "/mcp"},
		"a fragment":              {Resource: "https://mcp.example.com/#x"},
		"a quote":                 {Resource: `https://mcp.example.com/"`},
		"an origin with a path":   {Origins: []string{"https://example.com/"}},
		"any origin":              {Origins: []string{"*"}},
	} {
		require.Panics(t, func() { latchkeymcp.New(kit.Manager, &opts) }, name)
	}
	require.Panics(t, func() { latchkeymcp.New(kit.Manager, nil).Metadata() })
	require.Panics(t, func() { latchkeymcp.New(kit.Manager, nil).Protect(nil) })
	require.Panics(t, func() { latchkeymcp.New(kit.Manager, nil).StreamableHTTP(nil, nil) })
	strict := latchkeytest.New(t, &latchkey.Options{Catalogue: &latchkey.Catalogue{Resources: []latchkey.ResourceType{
		{Template: "dataset/{id}", Actions: []latchkey.Action{latchkey.Read}}}}})
	o := rule(latchkeymcp.Rule{Action: latchkey.Read, Resource: "dataset/{x.y}"})
	require.NotPanics(t, func() { latchkeymcp.New(strict.Manager, &o) })
	for _, r := range []latchkeymcp.Rule{{Action: latchkey.Delete, Resource: "dataset/{x}"},
		{Action: latchkey.Read, Resource: "other/{x}"}, {Action: latchkey.Read, Resource: "dataset/{x}", Rows: true}} {
		o := rule(r)
		require.Panics(t, func() { latchkeymcp.New(strict.Manager, &o) })
	}
}

// What latchkey says to a handler is answered as what it says to a rule, wherever the handler returns it: as a refusal
// that the Observer hears once, and a failure without the text of the store's error. Other errors are the handler's
// own.
func TestErrorsOfHandlers(t *testing.T) {
	var refused []error
	kit := latchkeytest.New(t, &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { refused = append(refused, r.Err) }}})
	var log strings.Builder
	opts := rules()
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	opts.Tools["fails"] = latchkeymcp.Rule{Everyone: true}
	opts.Tools["reports"] = latchkeymcp.Rule{Everyone: true}
	opts.Resources["fails://x"] = latchkeymcp.Rule{Everyone: true}
	opts.Prompts["fails"] = latchkeymcp.Rule{Everyone: true}
	var fail func(context.Context) error
	server := newServer()
	mcp.AddTool(server, &mcp.Tool{Name: "fails"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (
		*mcp.CallToolResult, any, error) {
		return nil, nil, fail(ctx)
	})
	server.AddTool(&mcp.Tool{Name: "reports", InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return nil, fail(ctx)
		})
	server.AddResource(&mcp.Resource{Name: "fails", URI: "fails://x"}, func(ctx context.Context,
		_ *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return nil, fail(ctx)
	})
	server.AddPrompt(&mcp.Prompt{Name: "fails"}, func(ctx context.Context, _ *mcp.GetPromptRequest) (
		*mcp.GetPromptResult, error) {
		return nil, fail(ctx)
	})
	url := start(t, guarded(kit, opts, server))
	token := key(t, kit, "acme")
	bodies := []string{tool("fails", `{}`), tool("reports", `{}`), method("resources/read", `{"uri":"fails://x"}`),
		method("prompts/get", `{"name":"fails"}`)}
	for _, body := range bodies {
		fail = func(ctx context.Context) error {
			access, _ := latchkeymcp.AccessFrom(ctx)
			return fmt.Errorf("reading: %w", access.Check(latchkey.Read, "dataset/payroll"))
		}
		got := post(t, url, token, body)
		require.Equal(t, denied, got.code(), got.Body)
		require.NotContains(t, got.Body, "payroll")
		require.Len(t, refused, 1, body)
		require.ErrorIs(t, refused[0], latchkey.ErrDenied)
		refused = nil
		require.Empty(t, log.String())

		fail = func(context.Context) error {
			return fmt.Errorf("reading: %w: dial tcp 10.0.0.3:5432", latchkey.ErrUnavailable)
		}
		got = post(t, url, token, body)
		require.Equal(t, 503, got.code(), got.Body)
		require.Equal(t, 1, got.Error.Data.RetryAfter)
		require.NotContains(t, got.Body, "10.0.0.3")
		require.Contains(t, log.String(), "10.0.0.3")
		log.Reset()

		fail = func(context.Context) error { return errors.New("no such order") }
		got = post(t, url, token, body)
		require.Contains(t, got.Body, "no such order")
		require.Empty(t, refused)
		require.Empty(t, log.String())
	}
}

// Each request of a session is reported by itself, also if its error is that of the one before.
func TestRefusalsOfASession(t *testing.T) {
	refused := make(chan error, 10)
	kit := latchkeytest.New(t, &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { refused <- r.Err }}})
	opts := rules()
	opts.Tools["fails"] = latchkeymcp.Rule{Everyone: true}
	server := newServer()
	mcp.AddTool(server, &mcp.Tool{Name: "fails"}, func(context.Context, *mcp.CallToolRequest, struct{}) (
		*mcp.CallToolResult, any, error) {
		return nil, nil, latchkey.ErrDenied
	})
	url := start(t, latchkeymcp.New(kit.Manager, opts).StreamableHTTP(func(*http.Request) *mcp.Server { return server },
		nil))
	session, err := connect(t, url, key(t, kit, "acme"))
	require.NoError(t, err)
	for i := range 3 {
		_, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "fails"})
		require.ErrorContains(t, err, "Forbidden")
		require.Len(t, refused, i+1)
	}
}
