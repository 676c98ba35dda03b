package latchkeymcp_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25",` +
	`"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

// open begins a session and returns its id.
func open(t *testing.T, url, token string) string {
	t.Helper()
	got := post(t, url, token, initialize)
	require.Equal(t, 200, got.Status, got.Body)
	session := got.Header.Get("Mcp-Session-Id")
	require.NotEmpty(t, session)
	in := header("Mcp-Session-Id", session)
	require.Equal(t, 202, post(t, url, token, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, in).Status)
	return session
}

// sessions serves a server with sessions.
func sessions(t *testing.T, kit *latchkeytest.Kit, opts *latchkeymcp.Options, server *mcp.Server) string {
	t.Helper()
	return start(t, latchkeymcp.New(kit.Manager, opts).StreamableHTTP(
		func(*http.Request) *mcp.Server { return server }, nil))
}

func TestASessionBelongsToOneToken(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	url := sessions(t, kit, rules(), newServer())
	token := key(t, kit, "acme")
	session := open(t, url, token)
	in := header("Mcp-Session-Id", session)
	require.Equal(t, "acme", post(t, url, token, whoami, in).text())

	parent := kit.Present(token)
	_, minted, err := parent.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour})
	require.NoError(t, err)
	for name, thief := range map[string]string{
		"of the same owner": key(t, kit, "acme"),
		"of another owner":  key(t, kit, "umbrella"),
		"minted from it":    minted.Reveal(),
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, 403, post(t, url, thief, whoami, in).Status)
			for _, method := range []string{http.MethodGet, http.MethodDelete} {
				r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
				require.NoError(t, err)
				r.Header.Set("Accept", "text/event-stream")
				r.Header.Set("Authorization", "Bearer "+thief)
				r.Header.Set("Mcp-Session-Id", session)
				require.Equal(t, 403, do(t, r).Status, method)
			}
			require.Equal(t, 200, post(t, url, thief, initialize).Status, "it may have one of its own")
		})
	}
	require.Equal(t, 401, post(t, url, "", whoami, in).Status, "the id of a session is no credential")
	require.Equal(t, "acme", post(t, url, token, whoami, in).text(), "the session is still there")

	fresh, err := kit.For("acme").Rotate(t.Context(), parent.TokenID(), 0)
	require.NoError(t, err)
	require.Equal(t, "acme", post(t, url, fresh.Reveal(), whoami, in).text(), "a rotated secret is the same token")
	require.NoError(t, kit.For("acme").Revoke(t.Context(), parent.TokenID(), "leaked"))
	require.Equal(t, 401, post(t, url, fresh.Reveal(), whoami, in).Status, "each request is verified anew")
}

func TestSessionOfClients(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	opts := rules()
	opts.SessionOf = func(a latchkey.Access) string { return a.Client().ID }
	url := sessions(t, kit, opts, newServer())
	of := func(owner, client string) string {
		_, text := kit.Secret(owner, latchkey.Spec{Kind: latchkey.KindAPIKey, Client: latchkey.Client{ID: client}})
		return text
	}
	in := header("Mcp-Session-Id", open(t, url, of("acme", "7")))
	require.Equal(t, "acme", post(t, url, of("acme", "7"), whoami, in).text(), "the client's next token")
	require.Equal(t, 403, post(t, url, of("acme", "8"), whoami, in).Status)
	require.Equal(t, 403, post(t, url, of("umbrella", "7"), whoami, in).Status)
	require.Equal(t, 403, post(t, url, of("acme", ""), whoami, in).Status, "without a client it is bound to its token")
}

// The SDK keeps the context of the request that began a session. Handlers must get the rights of their own request.
func TestRightsAreThoseOfTheRequest(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	opts := rules()
	opts.Tools["may"] = latchkeymcp.Rule{Everyone: true}
	mcp.AddTool(server, &mcp.Tool{Name: "may"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (
		*mcp.CallToolResult, any, error) {
		var b strings.Builder
		for _, from := range []func(context.Context) (latchkey.Access, bool){latchkeymcp.AccessFrom, httpadapter.AccessFrom} {
			access, ok := from(ctx)
			if !ok {
				return nil, nil, errors.New("no access")
			}
			if access.Allows(latchkey.Read, "x") {
				b.WriteString("yes ")
			} else {
				b.WriteString("no ")
			}
		}
		return said(b.String()), nil, nil
	})
	url := sessions(t, kit, opts, server)
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("x"))
	in := header("Mcp-Session-Id", open(t, url, token))
	require.Equal(t, "yes yes ", post(t, url, token, tool("may", `{}`), in).text())
	_, err := kit.For("acme").Update(t.Context(), id(kit, token), func(tok *latchkey.Token) error {
		tok.Permissions = nil
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "no no ", post(t, url, token, tool("may", `{}`), in).text())
}

// listen opens a response that stands, and returns its lines.
func listen(t *testing.T, r *http.Request) <-chan string {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		defer resp.Body.Close()
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = resp.Body.Close() })
	return lines
}

// wait returns the next line that holds text. It fails if the stream ends before.
func wait(t *testing.T, lines <-chan string, text string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-lines:
			require.True(t, ok, "the stream ended before %q", text)
			if strings.Contains(line, text) {
				return
			}
		case <-deadline:
			require.FailNow(t, "no "+text)
		}
	}
}

// ends waits for the end of a stream, and returns what came before.
func ends(t *testing.T, lines <-chan string) string {
	t.Helper()
	var b strings.Builder
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return b.String()
			}
			b.WriteString(line + "\n")
		case <-deadline:
			require.FailNow(t, "the stream did not end", b.String())
		}
	}
}

// standing returns the request of a GET stream in a session.
func standing(t *testing.T, url, token, session string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Mcp-Session-Id", session)
	return r
}

// change makes the server tell all streams that its tools changed.
func change(server *mcp.Server) {
	mcp.AddTool(server, &mcp.Tool{Name: "new"}, read)
}

const changed = "notifications/tools/list_changed"

func TestAStandingStreamEndsWithItsToken(t *testing.T) {
	end := map[string]func(t *testing.T, kit *latchkeytest.Kit, tokenID string){
		"revoked": func(t *testing.T, kit *latchkeytest.Kit, tokenID string) {
			require.NoError(t, kit.For("acme").Revoke(t.Context(), tokenID, "leaked"))
		},
		"expired":    func(_ *testing.T, kit *latchkeytest.Kit, _ string) { kit.Clock.Advance(time.Hour) },
		"store down": func(_ *testing.T, kit *latchkeytest.Kit, _ string) { kit.Store.Down(true) },
	}
	for name, over := range end {
		t.Run(name, func(t *testing.T) {
			kit := latchkeytest.New(t, nil)
			t.Cleanup(func() { kit.Store.Down(false) })
			server := newServer()
			opts := rules()
			opts.StreamCheck = time.Millisecond
			url := sessions(t, kit, opts, server)
			_, token := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey,
				Validity: latchkey.Validity{NotAfter: kit.Clock.Now().Add(time.Minute)}})
			tokenID := id(kit, token)
			lines := listen(t, standing(t, url, token, open(t, url, token)))
			change(server)
			wait(t, lines, changed)
			over(t, kit, tokenID)
			ends(t, lines)
		})
	}
}

// Also between two checks nothing goes out.
func TestAStandingStreamIsSilentAfterItsToken(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	opts := rules()
	opts.StreamCheck = -1
	url := sessions(t, kit, opts, server)
	token, other := key(t, kit, "acme"), key(t, kit, "acme")
	lines := listen(t, standing(t, url, token, open(t, url, token)))
	others := listen(t, standing(t, url, other, open(t, url, other)))
	change(server)
	wait(t, lines, changed)
	wait(t, others, changed)
	require.NoError(t, kit.For("acme").Revoke(t.Context(), id(kit, token), "leaked"))
	change(server)
	wait(t, others, changed)
	require.NotContains(t, ends(t, lines), changed)
	change(server)
	wait(t, others, changed)
}

// The stream of 2026-07-28 is the response of a POST.
func TestASubscriptionEndsWithItsToken(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	opts := rules()
	opts.StreamCheck = time.Millisecond
	url := start(t, guarded(kit, opts, server))
	token := key(t, kit, "acme", latchkey.Allow(latchkey.Read).On("doc/a"))
	ask := func(uri string) *http.Request {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		t.Cleanup(cancel)
		body := `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{` +
			`"toolsListChanged":true,"resourceSubscriptions":["` + uri + `"]},"_meta":{` +
			`"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
			`"io.modelcontextprotocol/clientCapabilities":{}}}}`
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
		require.NoError(t, err)
		for name, value := range map[string]string{"Accept": "application/json, text/event-stream",
			"Content-Type": "application/json", "Authorization": "Bearer " + token, "Mcp-Protocol-Version": "2026-07-28",
			"Mcp-Method": "subscriptions/listen"} {
			r.Header.Set(name, value)
		}
		return r
	}
	refused := do(t, ask("doc://b/text"))
	require.Equal(t, denied, refused.code(), refused.Body)

	lines := listen(t, ask("doc://a/text"))
	wait(t, lines, "acknowledged")
	change(server)
	wait(t, lines, changed)
	require.NoError(t, kit.For("acme").Revoke(t.Context(), id(kit, token), "leaked"))
	ends(t, lines)
}

// Messages of the deprecated transport come without a token that the SDK would tell. They are refused, also from a
// caller who may.
func TestTheOldTransportIsRefused(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	guard := latchkeymcp.New(kit.Manager, rules())
	guard.Protect(server)
	url := start(t, guard.Authenticate(mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return server }, nil)))
	client := mcp.NewClient(&mcp.Implementation{Name: "client", Version: "1"}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := client.Connect(ctx, &mcp.SSEClientTransport{Endpoint: url, HTTPClient: bearer(key(t, kit, "acme"))}, nil)
	require.ErrorContains(t, err, "Credential required")
}

// A protected server answers no caller that the guard's handler did not verify.
func TestAProtectedServerWithoutTheHandler(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	server := newServer()
	guard := latchkeymcp.New(kit.Manager, rules())
	guard.Protect(server)
	guard.Protect(server)
	open := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{Stateless: true})
	token := key(t, kit, "acme")
	for name, h := range map[string]http.Handler{
		"none":          open,
		"another guard": latchkeymcp.New(kit.Manager, rules()).Authenticate(open),
	} {
		got := post(t, start(t, h), token, whoami)
		require.Equal(t, 401, got.code(), name+got.Body)
	}
	require.Equal(t, "acme", post(t, start(t, guard.Authenticate(open)), token, whoami).text())
}
