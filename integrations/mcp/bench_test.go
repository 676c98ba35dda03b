package latchkeymcp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/latchkey-go/latchkey"
	latchkeymcp "github.com/latchkey-go/latchkey/integrations/mcp"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// BenchmarkCall is one call of a tool in process, with and without the guard, and the HTTP side of the guard alone.
func BenchmarkCall(b *testing.B) {
	kit := latchkeytest.New(b, nil)
	_, token := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	plain, protected := newServer(), newServer()
	opts := &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true}
	for name, h := range map[string]http.Handler{
		"unguarded": mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return plain }, opts),
		"guarded": latchkeymcp.New(kit.Manager, rules()).StreamableHTTP(
			func(*http.Request) *mcp.Server { return protected }, opts),
		"HTTP side": latchkeymcp.New(kit.Manager, rules()).Authenticate(http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `"text"`) })),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tool("read", `{"id":"orders"}`)))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Accept", "application/json, text/event-stream")
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 200 || !strings.Contains(w.Body.String(), `"text"`) {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
