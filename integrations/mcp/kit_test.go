package latchkeymcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// key issues a key with rules, and returns its text.
func key(t *testing.T, kit *latchkeytest.Kit, owner string, rules ...latchkey.Rule) string {
	t.Helper()
	_, text := kit.Secret(owner, latchkey.Spec{Kind: latchkey.KindAPIKey, Permissions: rules})
	return text
}

// id returns the id of the token of a text.
func id(kit *latchkeytest.Kit, text string) string { return kit.Present(text).TokenID() }

type idArgs struct {
	ID string `json:"id"`
}

// said is the result of a tool that says something.
func said(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// read is a tool that says what it read, and for which caller.
func read(ctx context.Context, _ *mcp.CallToolRequest, in idArgs) (*mcp.CallToolResult, any, error) {
	access, ok := latchkeymcp.AccessFrom(ctx)
	if !ok {
		return said("nobody"), nil, nil
	}
	return said("read " + in.ID + " for " + access.Owner()), nil, nil
}

// newServer returns a server with a few tools, a resource template and a prompt.
func newServer() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		CompletionHandler: func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{"secret value"}}}, nil
		},
	})
	mcp.AddTool(server, &mcp.Tool{Name: "read"}, read)
	mcp.AddTool(server, &mcp.Tool{Name: "drop"}, read)
	mcp.AddTool(server, &mcp.Tool{Name: "unmapped"}, read)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (
		*mcp.CallToolResult, any, error) {
		access, _ := latchkeymcp.AccessFrom(ctx)
		return said(access.Owner()), nil, nil
	})
	content := func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, Text: "content"}}}, nil
	}
	server.AddResourceTemplate(&mcp.ResourceTemplate{Name: "doc", URITemplate: "doc://{id}/text"}, content)
	server.AddResource(&mcp.Resource{Name: "index", URI: "doc://index"}, content)
	server.AddResource(&mcp.Resource{Name: "hidden", URI: "hidden://x"}, content)
	server.AddPrompt(&mcp.Prompt{Name: "summary", Arguments: []*mcp.PromptArgument{{Name: "id"}}},
		func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Description: "of " + req.Params.Arguments["id"]}, nil
		})
	return server
}

// rules are those of newServer.
func rules() *latchkeymcp.Options {
	return &latchkeymcp.Options{
		Tools: map[string]latchkeymcp.Rule{
			"read":   {Action: latchkey.Read, Resource: "dataset/{id}"},
			"drop":   {Action: latchkey.Delete, Resource: "dataset/{id}"},
			"whoami": {Everyone: true},
		},
		Resources: map[string]latchkeymcp.Rule{
			"doc://{id}/text": {Action: latchkey.Read, Resource: "doc/{id}"},
			"doc://index":     {Action: latchkey.Read, Resource: "index"},
		},
		Prompts: map[string]latchkeymcp.Rule{"summary": {Action: latchkey.Read, Resource: "doc/{id}"}},
	}
}

// start serves a server that is guarded.
func start(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// serve guards newServer with opts, without sessions.
func serve(t *testing.T, kit *latchkeytest.Kit, opts *latchkeymcp.Options) string {
	t.Helper()
	server := newServer()
	return start(t, latchkeymcp.New(kit.Manager, opts).StreamableHTTP(
		func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true}))
}

// reply is an HTTP response with the JSON-RPC message in it.
type reply struct {
	Status int
	Header http.Header
	Body   string
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Data    struct {
			Type, Detail, Field string
			Status, RetryAfter  int
		}
	}
}

// text returns the text of a tool's result.
func (r reply) text() string {
	var result struct{ Content []struct{ Text string } }
	if json.Unmarshal(r.Result, &result) != nil || len(result.Content) == 0 {
		return ""
	}
	return result.Content[0].Text
}

// code returns the code of the error, 0 if there is none.
func (r reply) code() int {
	if r.Error == nil {
		return 0
	}
	return r.Error.Code
}

// post sends a body as it is. The edits change the request.
func post(t *testing.T, url, token, body string, edits ...func(*http.Request)) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, edit := range edits {
		edit(r)
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) reply {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	got := reply{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	message := body
	for line := range bytes.SplitSeq(body, []byte("\n")) { // of a stream, the last message
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok && len(data) > 0 {
			message = data
		}
	}
	_ = json.Unmarshal(message, &got)
	return got
}

// header sets a header of a request.
func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// tool is the message of a tool's call.
func tool(name, arguments string) string {
	return method("tools/call", `{"name":`+quoted(name)+`,"arguments":`+arguments+`}`)
}

// method is the message of a request.
func method(name, params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":` + quoted(name) + `,"params":` + params + `}`
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// bearer is an http.Client that sends a token.
func bearer(token string) *http.Client {
	return &http.Client{Transport: bearerTransport(token)}
}

type bearerTransport string

func (b bearerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// connect connects the SDK's own client.
func connect(t *testing.T, url, token string) (*mcp.ClientSession, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: bearer(token),
		DisableStandaloneSSE: true}, nil)
	if err == nil {
		t.Cleanup(func() { _ = session.Close() })
	}
	return session, err
}

// addRaw adds a tool that keeps its arguments as they came.
func addRaw(server *mcp.Server, name string, raw *string) {
	server.AddTool(&mcp.Tool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			*raw = string(req.Params.Arguments)
			return said("counted"), nil
		})
}

// guarded returns the guarded handler of a server, without sessions.
func guarded(kit *latchkeytest.Kit, opts *latchkeymcp.Options, server *mcp.Server) http.Handler {
	return latchkeymcp.New(kit.Manager, opts).StreamableHTTP(
		func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
}
