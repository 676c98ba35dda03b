package latchkeymcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// the story that each client goes through, in a server with sessions and one without.
type story struct {
	kit         *latchkeytest.Kit
	url         string
	token       string // reads orders, and has no end
	ends        string // has an end
	slow        string // may be used four times an hour
	unscoped    string // like token, and denied with a challenge
	challenging string // the URL of a server that knows scopes
}

func newStory(t *testing.T, stateless bool) story {
	t.Helper()
	kit := latchkeytest.New(t, nil)
	serve := func(opts *latchkeymcp.Options) string {
		server := newServer()
		return start(t, latchkeymcp.New(kit.Manager, opts).StreamableHTTP(
			func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: stateless}))
	}
	scoped := rules()
	scoped.Scopes = map[string]latchkeymcp.Scope{"orders:drop": {Action: latchkey.Delete, Resource: "dataset/orders"}}
	issue := func(spec latchkey.Spec) string {
		spec.Kind = latchkey.KindAPIKey
		spec.Permissions = latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}
		_, text := kit.Secret("acme", spec)
		return text
	}
	return story{kit: kit, url: serve(rules()), challenging: serve(scoped), token: issue(latchkey.Spec{}),
		unscoped: issue(latchkey.Spec{}),
		ends:     issue(latchkey.Spec{Validity: latchkey.Validity{NotAfter: kit.Clock.Now().Add(time.Minute)}}),
		slow:     issue(latchkey.Spec{Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: time.Hour, Burst: 19}}})}
}

func eachMode(t *testing.T, test func(t *testing.T, s story)) {
	t.Run("sessions", func(t *testing.T) { test(t, newStory(t, false)) })
	t.Run("stateless", func(t *testing.T) { test(t, newStory(t, true)) })
}

func TestClientOfTheGoSDK(t *testing.T) {
	eachMode(t, func(t *testing.T, s story) {
		call := func(c *mcp.ClientSession, name, of string) (string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			res, err := c.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: map[string]any{"id": of}})
			if err != nil {
				return "", err
			}
			return res.Content[0].(*mcp.TextContent).Text, nil
		}
		forbidden := func(err error) {
			t.Helper()
			var wire *jsonrpc.Error
			require.ErrorAs(t, err, &wire)
			require.EqualValues(t, denied, wire.Code)
		}
		c, err := connect(t, s.url, s.token)
		require.NoError(t, err)
		tools, err := c.ListTools(t.Context(), nil)
		require.NoError(t, err)
		require.Len(t, tools.Tools, 2)
		text, err := call(c, "read", "orders")
		require.NoError(t, err)
		require.Equal(t, "read orders for acme", text)
		_, err = call(c, "read", "payroll")
		forbidden(err)
		_, err = call(c, "drop", "orders")
		forbidden(err)
		_, err = call(c, "read", "orders")
		require.NoError(t, err, "a denial ends no session")

		scoped, err := connect(t, s.challenging, s.unscoped)
		require.NoError(t, err)
		_, err = call(scoped, "drop", "orders")
		forbidden(err)
		_, err = call(scoped, "read", "orders")
		require.NoError(t, err, "nor does an HTTP 403 with a challenge")

		slow, err := connect(t, s.url, s.slow)
		require.NoError(t, err)
		for n := 0; ; n++ {
			if _, err = call(slow, "read", "orders"); err != nil {
				require.ErrorContains(t, err, "Too Many Requests")
				break
			}
			require.Less(t, n, 20)
		}
		ends, err := connect(t, s.url, s.ends)
		require.NoError(t, err)
		_, err = call(ends, "read", "orders")
		require.NoError(t, err)
		s.kit.Clock.Advance(time.Hour)
		_, err = call(ends, "read", "orders")
		require.ErrorContains(t, err, "Unauthorized")
		_, err = call(slow, "read", "orders")
		require.NoError(t, err, "later it passes")

		require.NoError(t, s.kit.For("acme").Revoke(t.Context(), id(s.kit, s.token), "leaked"))
		_, err = call(c, "read", "orders")
		require.ErrorContains(t, err, "Unauthorized")
		_, err = connect(t, s.url, s.token)
		require.ErrorContains(t, err, "Unauthorized")
	})
}

// typescript is a client of the TypeScript SDK, in a process of its own.
type typescript struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

type typescriptReply struct {
	Result     json.RawMessage
	Code       any
	Status     int
	Message    string
	RetryAfter string
}

func newTypescript(t *testing.T, url, token string) *typescript {
	t.Helper()
	require.DirExists(t, "clients/node_modules/@modelcontextprotocol", "run scripts/install first")
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	cmd := exec.CommandContext(ctx, "node", "client.mjs", url, token)
	cmd.Dir = "clients"
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
		cancel()
	})
	return &typescript{t, in, bufio.NewScanner(out)}
}

// do runs one request. It fails on a client that says nothing.
func (c *typescript) do(request map[string]any) typescriptReply {
	c.t.Helper()
	line, err := json.Marshal(request)
	require.NoError(c.t, err)
	_, err = c.in.Write(append(line, '\n'))
	require.NoError(c.t, err)
	require.True(c.t, c.out.Scan(), "the client ended: %v", c.out.Err())
	var reply typescriptReply
	require.NoError(c.t, json.Unmarshal(c.out.Bytes(), &reply), c.out.Text())
	return reply
}

func (c *typescript) call(name, of string) typescriptReply {
	c.t.Helper()
	return c.do(map[string]any{"op": "call", "name": name, "args": map[string]any{"id": of}})
}

func TestClientOfTheTypeScriptSDK(t *testing.T) {
	eachMode(t, func(t *testing.T, s story) {
		connected := func(url, token string) *typescript {
			t.Helper()
			c := newTypescript(t, url, token)
			got := c.do(map[string]any{"op": "connect"})
			require.JSONEq(t, `"test"`, string(got.Result), got.Message)
			return c
		}
		const orders = `"read orders for acme"`
		c := connected(s.url, s.token)
		require.JSONEq(t, `["read","whoami"]`, string(c.do(map[string]any{"op": "list"}).Result))
		require.JSONEq(t, orders, string(c.call("read", "orders").Result))
		got := c.call("read", "payroll")
		require.EqualValues(t, denied, got.Code, got.Message)
		require.Equal(t, 403, got.Status)
		require.JSONEq(t, orders, string(c.call("read", "orders").Result), "a denial ends no session")

		scoped := connected(s.challenging, s.unscoped)
		got = scoped.call("drop", "orders")
		require.EqualValues(t, 403, got.Code, got.Message)
		require.JSONEq(t, orders, string(scoped.call("read", "orders").Result), "nor does an HTTP 403 with a challenge")

		slow := connected(s.url, s.slow)
		for n := 0; ; n++ {
			if got = slow.call("read", "orders"); got.Result == nil {
				break
			}
			require.Less(t, n, 20)
		}
		require.EqualValues(t, 429, got.Code, got.Message)
		require.Equal(t, "3600", got.RetryAfter)

		ends := connected(s.url, s.ends)
		require.JSONEq(t, orders, string(ends.call("read", "orders").Result))
		s.kit.Clock.Advance(time.Hour)
		got = ends.call("read", "orders")
		require.EqualValues(t, 401, got.Code, got.Message)

		require.NoError(t, s.kit.For("acme").Revoke(t.Context(), id(s.kit, s.token), "leaked"))
		got = c.call("read", "orders")
		require.EqualValues(t, 401, got.Code, got.Message)
	})
}
