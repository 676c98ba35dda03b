//lint:file-ignore SA1019 the scenarios also use what newer protocol versions deprecate: logging and sampling.

package latchkeymcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// TestConformance runs every server scenario of @modelcontextprotocol/conformance against a guarded server. The runner
// sends no token, so a relay adds it. clients/left-out.json names scenarios that need not pass, each with the reason.
// It may only shrink: one of them that passes fails the test.
func TestConformance(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	relayed := httptest.NewUnstartedServer(nil)
	public := "http://" + relayed.Listener.Addr().String()

	server, opts := everything()
	opts.Resource = public // the runner asks as a page of the same origin would, too
	guard := latchkeymcp.New(kit.Manager, opts)
	inner, err := url.Parse(start(t, guard.StreamableHTTP(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)})))
	require.NoError(t, err)
	token := key(t, kit, "acme", latchkey.Allow("call").On("tool/*"), latchkey.Allow(latchkey.Read).On("resource/*"),
		latchkey.Allow(latchkey.Read).On("prompt/*"))
	relayed.Config.Handler = &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(inner)
		r.Out.Host = inner.Host
		if r.In.Host != relayed.Listener.Addr().String() { // as it was sent: a scenario is about it
			r.Out.Host = r.In.Host
		}
		r.Out.Header.Set("Authorization", "Bearer "+token)
	}}
	relayed.Start()
	t.Cleanup(relayed.Close)
	require.Equal(t, 401, post(t, inner.String(), "", initialize).Status, "without the relay nothing is answered")

	out := t.TempDir()
	run := conformance(t, "server", "--url", public, "--suite", "all", "--output-dir", out)
	results, timedOut := scenarios(t, out)
	for range 2 { // The runner gives up after a minute, which says nothing about the answer. It asks again, twice.
		for _, name := range timedOut {
			t.Logf("%s is run again", name)
			run += conformance(t, "server", "--url", public, "--scenario", name, "--output-dir", out)
		}
		if len(timedOut) > 0 {
			results, timedOut = scenarios(t, out)
		}
	}
	var leftOut map[string]string
	text, err := os.ReadFile("clients/left-out.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &leftOut))

	listed := regexp.MustCompile(`(?m)^  - (\S+) \[`).FindAllStringSubmatch(conformance(t, "list", "--server"), -1)
	require.GreaterOrEqual(t, len(listed), 32, run)
	for _, l := range listed {
		passed, ran := results[l[1]]
		reason, left := leftOut[l[1]]
		switch {
		case !ran:
			t.Errorf("the scenario %s did not run", l[1])
		case passed && left:
			t.Errorf("the scenario %s passes: take it out of clients/left-out.json", l[1])
		case !passed && !left:
			t.Errorf("the scenario %s failed", l[1])
		case left && len(reason) < 20:
			t.Errorf("clients/left-out.json gives no reason for %s", l[1])
		}
		delete(leftOut, l[1])
	}
	require.Empty(t, leftOut, "clients/left-out.json names scenarios that do not exist")
	if t.Failed() {
		t.Log(run)
	}
}

// scenarios reads the latest result of each scenario, and reports whether it passed. It also returns those in which a
// request was not answered in time.
func scenarios(t *testing.T, dir string) (results map[string]bool, timedOut []string) {
	t.Helper()
	results = map[string]bool{}
	late := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "server-*", "checks.json")) // in the order of their times
	require.NoError(t, err)
	for _, file := range files {
		name := regexp.MustCompile(`^server-(.*)-\d{4}-\d\d-\d\dT.*$`).FindStringSubmatch(filepath.Base(filepath.Dir(file)))
		require.Len(t, name, 2, file)
		var checks []struct{ ID, Status, ErrorMessage string }
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &checks))
		passed := len(checks) > 0
		late[name[1]] = false
		for _, c := range checks {
			switch c.Status {
			case "SUCCESS", "INFO":
			default:
				passed = false
				late[name[1]] = late[name[1]] || strings.Contains(c.ErrorMessage, "-32001")
				t.Logf("%s: %s: %s %s", name[1], c.ID, c.Status, c.ErrorMessage)
			}
		}
		results[name[1]] = passed
	}
	for name, is := range late {
		if is {
			timedOut = append(timedOut, name)
		}
	}
	return results, timedOut
}

// conformance runs the conformance runner. That a scenario fails is no error here.
func conformance(t *testing.T, args ...string) string {
	t.Helper()
	const runner = "node_modules/@modelcontextprotocol/conformance/dist/index.js"
	out, err := node(t, append([]string{"--import", "./node20.mjs", runner}, args...)...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err, out)
	}
	return out
}

// node runs Node.js in the folder clients.
func node(t *testing.T, args ...string) (string, error) {
	t.Helper()
	require.DirExists(t, "clients/node_modules/@modelcontextprotocol", "run scripts/install first")
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = "clients"
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// everything returns a server with what the scenarios ask for, and its rules: a right for each tool, resource and
// prompt.
func everything() (*mcp.Server, *latchkeymcp.Options) {
	opts := &latchkeymcp.Options{Tools: map[string]latchkeymcp.Rule{}, Prompts: map[string]latchkeymcp.Rule{},
		Resources: map[string]latchkeymcp.Rule{
			"test://static-text":        {Action: latchkey.Read, Resource: "resource/text"},
			"test://static-binary":      {Action: latchkey.Read, Resource: "resource/binary"},
			"test://watched-resource":   {Action: latchkey.Read, Resource: "resource/watched"},
			"test://template/{id}/data": {Action: latchkey.Read, Resource: "resource/template/{id}"},
		}}
	server := mcp.NewServer(&mcp.Implementation{Name: "everything", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		CompletionHandler: func(context.Context, *mcp.CompleteRequest) (*mcp.CompleteResult, error) {
			return &mcp.CompleteResult{Completion: mcp.CompletionResultDetails{Values: []string{"paris"}}}, nil
		},
	})
	type handler = func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error)
	add := func(name, schema string, h handler) {
		opts.Tools[name] = latchkeymcp.Rule{Action: "call", Resource: "tool/" + name}
		mcp.AddTool(server, &mcp.Tool{Name: name, Description: name, InputSchema: json.RawMessage(schema)},
			func(ctx context.Context, req *mcp.CallToolRequest, _ any) (*mcp.CallToolResult, any, error) {
				res, err := h(ctx, req)
				return res, nil, err
			})
	}
	const none = `{"type":"object"}`
	picture, sound := []byte("\x89PNG\r\n\x1a\n"), []byte("RIFF\x00\x00\x00\x00WAVE")
	embed := func(uri string) *mcp.EmbeddedResource {
		return &mcp.EmbeddedResource{Resource: &mcp.ResourceContents{URI: uri, MIMEType: "text/plain", Text: "text"}}
	}
	embedded := embed("test://embedded")
	content := func(c ...mcp.Content) handler {
		return func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: c}, nil
		}
	}
	add("test_simple_text", none, content(&mcp.TextContent{Text: "a simple text"}))
	add("test_image_content", none, content(&mcp.ImageContent{Data: picture, MIMEType: "image/png"}))
	add("test_audio_content", none, content(&mcp.AudioContent{Data: sound, MIMEType: "audio/wav"}))
	add("test_embedded_resource", none, content(embedded))
	add("test_multiple_content_types", none, content(&mcp.TextContent{Text: "text"},
		&mcp.ImageContent{Data: picture, MIMEType: "image/png"}, embedded))
	add("test_error_handling", none, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, errors.New("this tool always fails")
	})
	add("test_tool_with_logging", none, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i := range 3 {
			if err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "info", Data: fmt.Sprint("step ", i)}); err != nil {
				return nil, err
			}
		}
		return said("logged"), nil
	})
	add("test_tool_with_progress", none, func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for _, p := range []float64{0, 50, 100} {
			if err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
				ProgressToken: req.Params.GetProgressToken(), Progress: p, Total: 100}); err != nil {
				return nil, err
			}
		}
		return said("done"), nil
	})
	add("test_sampling", `{"type":"object","properties":{"prompt":{"type":"string"}},"required":["prompt"]}`,
		func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			var in struct{ Prompt string }
			if err := json.Unmarshal(req.Params.Arguments, &in); err != nil {
				return nil, err
			}
			res, err := req.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 100,
				Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: in.Prompt}}}})
			if err != nil {
				return nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{res.Content}}, nil
		})
	elicit := func(schema string) handler {
		return func(ctx context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			res, err := req.Session.Elicit(ctx, &mcp.ElicitParams{Message: "a question",
				RequestedSchema: json.RawMessage(schema)})
			if err != nil {
				return nil, err
			}
			return said(fmt.Sprint(res.Action, " ", res.Content)), nil
		}
	}
	add("test_elicitation", `{"type":"object","properties":{"message":{"type":"string"}}}`, elicit(`{"type":"object",
		"properties":{"username":{"type":"string"},"email":{"type":"string"}},"required":["username","email"]}`))
	add("test_elicitation_sep1034_defaults", none, elicit(`{"type":"object","properties":{
		"name":{"type":"string","default":"John Doe"},"age":{"type":"integer","default":30},
		"score":{"type":"number","default":95.5},"verified":{"type":"boolean","default":true},
		"status":{"type":"string","enum":["active","inactive","pending"],"default":"active"}}}`))
	titled := strings.NewReplacer("LIST", `[{"const":"value1","title":"One"},{"const":"value2","title":"Two"}]`)
	add("test_elicitation_sep1330_enums", none, elicit(titled.Replace(`{"type":"object","properties":{
		"untitledSingle":{"type":"string","enum":["option1","option2","option3"]},
		"titledSingle":{"type":"string","oneOf":LIST},
		"legacyEnum":{"type":"string","enum":["opt1","opt2"],"enumNames":["One","Two"]},
		"untitledMulti":{"type":"array","items":{"type":"string","enum":["option1","option2","option3"]}},
		"titledMulti":{"type":"array","items":{"anyOf":LIST}}}}`)))
	add("json_schema_2020_12_tool", `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
		"$defs":{"address":{"type":"object","properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
		"properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"}},"additionalProperties":false}`,
		content(&mcp.TextContent{Text: "a schema"}))
	add("test_reconnection", none, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		req.Extra.CloseSSEStream(mcp.CloseSSEStreamArgs{RetryAfter: 1e7}) // 10 ms
		return said("reconnected"), nil
	})

	resource := func(_ context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		c := &mcp.ResourceContents{URI: req.Params.URI, MIMEType: "text/plain", Text: "content of " + req.Params.URI}
		if strings.HasSuffix(req.Params.URI, "binary") {
			c = &mcp.ResourceContents{URI: req.Params.URI, MIMEType: "image/png", Blob: picture}
		}
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{c}}, nil
	}
	for _, name := range []string{"static-text", "static-binary", "watched-resource"} {
		server.AddResource(&mcp.Resource{Name: name, Description: name, URI: "test://" + name, MIMEType: "text/plain"},
			resource)
	}
	server.AddResourceTemplate(&mcp.ResourceTemplate{Name: "template", URITemplate: "test://template/{id}/data"}, resource)

	prompt := func(name string, of func(arguments map[string]string) mcp.Content, arguments ...string) {
		opts.Prompts[name] = latchkeymcp.Rule{Action: latchkey.Read, Resource: "prompt/" + name}
		p := &mcp.Prompt{Name: name, Description: name}
		for _, a := range arguments {
			p.Arguments = append(p.Arguments, &mcp.PromptArgument{Name: a, Description: a, Required: true})
		}
		server.AddPrompt(p, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: of(req.Params.Arguments)}}}, nil
		})
	}
	prompt("test_simple_prompt", func(map[string]string) mcp.Content { return &mcp.TextContent{Text: "simple"} })
	prompt("test_prompt_with_arguments", func(a map[string]string) mcp.Content {
		return &mcp.TextContent{Text: a["arg1"] + " and " + a["arg2"]}
	}, "arg1", "arg2")
	prompt("test_prompt_with_embedded_resource", func(a map[string]string) mcp.Content {
		return embed(a["resourceUri"])
	}, "resourceUri")
	prompt("test_prompt_with_image", func(map[string]string) mcp.Content {
		return &mcp.ImageContent{Data: picture, MIMEType: "image/png"}
	})
	return server, opts
}
