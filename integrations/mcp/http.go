package latchkeymcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// wellKnown is where metadata of a resource is found (RFC 9728 §3.1). The path of the resource follows it.
const wellKnown = "/.well-known/oauth-protected-resource"

// extraKey is the key of a caller in auth.TokenInfo.Extra.
const extraKey = "latchkey"

// caller is what a verified request carries to the JSON-RPC side.
type caller struct {
	guard  *Guard
	access latchkey.Access
}

type callerKey struct{}

// StreamableHTTP returns the guarded handler of the streamable HTTP transport, as mcp.NewStreamableHTTPHandler does
// with the same arguments. It protects each server that getServer returns: see [Guard.Protect].
//
// The handler of the SDK refuses a request to a loopback address with another host name, against DNS rebinding. Leave
// that on.
func (g *Guard) StreamableHTTP(getServer func(*http.Request) *mcp.Server,
	opts *mcp.StreamableHTTPOptions) http.Handler {
	if getServer == nil {
		panic("latchkeymcp: StreamableHTTP needs a function")
	}
	limit := int64(mcp.DefaultMaxRequestBodyBytes)
	if opts != nil && opts.MaxRequestBodyBytes > 0 {
		limit = opts.MaxRequestBodyBytes
	}
	return g.authenticate(limit, mcp.NewStreamableHTTPHandler(func(r *http.Request) *mcp.Server {
		server := getServer(r)
		if server != nil {
			g.Protect(server)
		}
		return server
	}, opts))
}

// Authenticate passes only requests with one valid token, and without JSON that has two meanings. It is for a handler
// of mcp.NewStreamableHTTPHandler that [Guard.StreamableHTTP] cannot make. The server must be protected by
// [Guard.Protect] as well: Authenticate alone checks no tool. The handlers get no Authorization header: a token that
// was sent to this server must not be passed on.
//
// The deprecated HTTP+SSE transport (2024-11-05) is not supported: the SDK does not say which token its messages came
// with, so all of them are refused.
func (g *Guard) Authenticate(next http.Handler) http.Handler {
	return g.authenticate(mcp.DefaultMaxRequestBodyBytes, next)
}

func (g *Guard) authenticate(limit int64, next http.Handler) http.Handler {
	// Only RequireBearerToken can put a TokenInfo where the SDK looks for it. What it checks was checked already, by the
	// Manager's clock: it must not answer in its own way.
	bearer := auth.RequireBearerToken(func(ctx context.Context, _ string, _ *http.Request) (*auth.TokenInfo, error) {
		c, ok := ctx.Value(callerKey{}).(*caller)
		if !ok {
			return nil, auth.ErrInvalidToken
		}
		return g.tokenInfo(c), nil
	}, &auth.RequireBearerTokenOptions{AllowMissingExpiration: true, ClockSkew: 100 * 365 * 24 * time.Hour})(
		g.inside(limit, next))
	verified := g.http.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, ok := httpadapter.AccessFrom(r.Context())
		if !ok {
			g.http.WriteError(w, r, errors.New("latchkeymcp: no access"))
			return
		}
		for _, name := range g.opts.RequireScopes {
			s := g.opts.Scopes[name]
			if err := access.Check(s.Action, s.Resource); err != nil {
				g.http.WriteError(w, r.WithContext(context.WithValue(r.Context(), scopesKey{}, g.opts.RequireScopes)), err)
				return
			}
		}
		bearer.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, &caller{g, access})))
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.originAllowed(r) {
			if g.opts.OnError != nil {
				g.opts.OnError(r, errOrigin)
			}
			g.writeProblem(w, r, httpadapter.Problem{Type: httpadapter.ProblemType + "origin", Title: "Forbidden",
				Status: http.StatusForbidden, Detail: "Requests from this web origin are not accepted."})
			return
		}
		if err := noTokenInURL(r); err != nil {
			g.badRequest(w, r, err)
			return
		}
		verified.ServeHTTP(w, r)
	})
}

var errOrigin = fmt.Errorf("latchkeymcp: a page of an origin that is not in Options.Origins: %w",
	httpadapter.ErrCrossOrigin)

// originAllowed reports whether the Origin header is absent or known.
func (g *Guard) originAllowed(r *http.Request) bool {
	switch origins := r.Header["Origin"]; len(origins) {
	case 0:
		return true
	case 1:
		return g.origins[strings.ToLower(origins[0])]
	}
	return false
}

// noTokenInURL refuses a token in the URL, where RFC 6750 §2.3 would put it. MCP forbids it, and a client that sends
// one should learn that before its log does.
func noTokenInURL(r *http.Request) error {
	_, err := httpadapter.Carriers{Query: []string{"access_token"}}.Find(r)
	switch {
	case err == nil:
		return &argumentError{"access_token", "send the token in the Authorization header, never in the URL"}
	case errors.Is(err, httpadapter.ErrNoCredential):
		return nil
	}
	return err
}

// tokenInfo returns what the SDK knows about a caller.
func (g *Guard) tokenInfo(c *caller) *auth.TokenInfo {
	return &auth.TokenInfo{Scopes: g.scopesOf(c.access), Expiration: c.access.Ends(), UserID: g.sessionUser(c.access),
		Extra: map[string]any{extraKey: c}}
}

// TokenVerifier returns a verifier for the SDK's own auth.RequireBearerToken. Set AllowMissingExpiration there, unless
// every token ends. RequireBearerToken answers with 401, 400 and 500 only: a token over its rate becomes a 500. Prefer
// [Guard.StreamableHTTP]. The server must be protected by [Guard.Protect].
//
// The verifier reads the token from the request, by the same rules as the rest of this package. Without a request, or
// for another token than the one in its header, it returns auth.ErrInvalidToken.
func (g *Guard) TokenVerifier() auth.TokenVerifier {
	return func(ctx context.Context, token string, r *http.Request) (*auth.TokenInfo, error) {
		if r == nil {
			return nil, auth.ErrInvalidToken
		}
		if found, err := (httpadapter.Carriers{Bearer: true}).Find(r); err != nil || found != token ||
			noTokenInURL(r) != nil {
			return nil, auth.ErrInvalidToken
		}
		var access latchkey.Access
		var refused verdict
		g.http.Authenticate(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			access, _ = httpadapter.AccessFrom(r.Context())
		})).ServeHTTP(nowhere{}, r.WithContext(context.WithValue(ctx, verdictKey{}, &refused)))
		switch status := refused.problem.Status; {
		case status == 0 && access.Manager() == g.manager:
			return g.tokenInfo(&caller{g, access}), nil
		case status == 0, status == http.StatusUnauthorized:
			return nil, auth.ErrInvalidToken
		case status == http.StatusBadRequest:
			return nil, auth.ErrOAuth
		}
		return nil, errors.New(refused.problem.Title)
	}
}

// verdict receives the refusal of a request that is answered by somebody else.
type verdict struct{ problem httpadapter.Problem }

type verdictKey struct{}

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

// inside handles an authenticated request: it reads the message once, strictly, and guards streams.
func (g *Guard) inside(limit int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(callerKey{}).(*caller)
		if !ok {
			g.http.WriteError(w, r, errors.New("latchkeymcp: no caller"))
			return
		}
		inner := new(http.Request)
		*inner = *r
		inner.Header = r.Header.Clone()
		inner.Header.Del("Authorization")
		stream := r.Method == http.MethodGet
		if r.Method == http.MethodPost {
			m, body, err := readMessage(r, limit)
			if err != nil {
				g.badRequest(w, r, err)
				return
			}
			inner.Body, inner.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			if g.challenged(w, r, c, m) {
				return
			}
			stream = m.Method == "subscriptions/listen"
		}
		if stream {
			g.serveStream(w, inner, c.access, next)
			return
		}
		next.ServeHTTP(w, inner)
	})
}

// message is a JSON-RPC message as far as a check needs it.
type message struct {
	Method string
	ID     json.RawMessage
	Params map[string]json.RawMessage // nil if they are no object
}

// readMessage reads the one JSON-RPC message of a POST. It refuses JSON that two parsers read differently, since one of
// them may stand before this server. It refuses a batch: its calls would count as one request.
func readMessage(r *http.Request, limit int64) (message, []byte, error) {
	if kind, err := httpadapter.MediaType(r); err != nil {
		return message{}, nil, err
	} else if kind != "application/json" {
		return message{}, nil, httpadapter.ErrMediaType
	}
	body, err := httpadapter.ReadBody(r, limit)
	if err != nil {
		return message{}, nil, err
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		return message{}, nil, &argumentError{"body", "batches are not accepted: send one message a request"}
	}
	if reason := strictly(body, maxDepth+2); reason != "" { // the params and the message are around the arguments
		return message{}, nil, &argumentError{"body", "not read, because JSON parsers differ: " + reason}
	}
	var object, params map[string]json.RawMessage // exact names, as the SDK reads them
	if err := json.Unmarshal(body, &object); err != nil {
		return message{}, nil, &argumentError{"body", "it is no JSON-RPC message"}
	}
	m := message{ID: object["id"]}
	if raw, ok := object["method"]; ok {
		if err := json.Unmarshal(raw, &m.Method); err != nil {
			return message{}, nil, &argumentError{"body", "the method is no string"}
		}
	}
	if json.Unmarshal(object["params"], &params) == nil {
		m.Params = params
	}
	return m, body, nil
}

// text returns a member of the params, "" if it is no string.
func (m message) text(name string) (s string) {
	_ = json.Unmarshal(m.Params[name], &s)
	return s
}

// challenged answers a request that lacks a scope with 403, and reports whether it did. The middleware decides all the
// rest, and would deny this request as well.
func (g *Guard) challenged(w http.ResponseWriter, r *http.Request, c *caller, m message) bool {
	if len(g.scopes) == 0 {
		return false
	}
	var of *rule
	var a answer
	switch m.Method {
	case "tools/call":
		from, err := argumentsOf(m.Params["arguments"])
		if err != nil {
			return false
		}
		of = g.tools[m.text("name")]
		a = of.ask(c.access, from)
	case "prompts/get":
		texts := map[string]string{}
		if raw := m.Params["arguments"]; raw != nil && json.Unmarshal(raw, &texts) != nil {
			return false
		}
		of = g.prompts[m.text("name")]
		a = of.ask(c.access, textsOf(texts))
	case "resources/read", "resources/subscribe":
		var rules []*rule
		if rules, a = g.askURI(c.access, m.text("uri")); len(rules) > 0 {
			of = rules[len(rules)-1]
		}
	}
	if of == nil || a.err == nil {
		return false
	}
	p := httpadapter.ProblemOf(a.err)
	if p.Code != "insufficient_scope" { // a malformed argument, or rules that are broken
		return false
	}
	scopes := g.scopesFor(a.action, a.on)
	if of.Scope != "" {
		scopes = []string{of.Scope}
	}
	if len(scopes) == 0 {
		return false
	}
	c.access.Refused(r.Context(), a.err)
	if g.opts.OnError != nil {
		g.opts.OnError(r, a.err)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("WWW-Authenticate", p.Challenge(g.opts.Realm)+g.challengeParams(scopes))
	h.Set("Content-Type", "application/json")
	id := m.ID
	if id == nil {
		id = json.RawMessage("null")
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": rpcError(a.err)})
	if err != nil {
		panic(err) // of strings and numbers, and of an id that was valid JSON
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
	return true
}

type (
	scopesKey   struct{}
	argumentKey struct{}
)

// badRequest answers a request that is malformed, and says what is wrong with it.
func (g *Guard) badRequest(w http.ResponseWriter, r *http.Request, err error) {
	var argument *argumentError
	if errors.As(err, &argument) {
		r = r.WithContext(context.WithValue(r.Context(), argumentKey{}, argument))
	}
	g.http.WriteError(w, r, err)
}

// challengeParams returns what MCP adds to a challenge (RFC 6750 §3, RFC 9728 §5.1).
func (g *Guard) challengeParams(scopes []string) string {
	var b strings.Builder
	if len(scopes) > 0 {
		fmt.Fprintf(&b, `, scope="%s"`, strings.Join(scopes, " "))
	}
	if g.metadata != "" {
		fmt.Fprintf(&b, `, resource_metadata="%s"`, g.metadata)
	}
	return b.String()
}

// writeProblem writes a refusal, as httpadapter does, with what MCP adds to the challenge.
func (g *Guard) writeProblem(w http.ResponseWriter, r *http.Request, p httpadapter.Problem) {
	if v, ok := r.Context().Value(verdictKey{}).(*verdict); ok {
		v.problem = p
		return
	}
	if argument, ok := r.Context().Value(argumentKey{}).(*argumentError); ok {
		p.Field, p.Detail = argument.name, sentence(argument.reason)
	}
	h := w.Header()
	if challenge := h.Get("WWW-Authenticate"); challenge != "" && p.Status != http.StatusBadRequest {
		scopes, ok := r.Context().Value(scopesKey{}).([]string)
		if !ok && p.Status == http.StatusUnauthorized {
			scopes = g.opts.RequireScopes
		}
		h.Set("WWW-Authenticate", challenge+g.challengeParams(scopes))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // of strings and a number
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// Metadata returns the path and the handler of the metadata document of this resource (RFC 9728 §3). It is public, and
// has no secret. Metadata panics if [Options.Resource] is empty.
//
//	path, metadata := guard.Metadata()
//	mux.Handle(path, metadata)
func (g *Guard) Metadata() (path string, h http.Handler) {
	if g.metadata == "" {
		panic("latchkeymcp: Metadata needs Options.Resource")
	}
	_, rest, _ := strings.Cut(g.metadata, "://")
	return rest[strings.IndexByte(rest, '/'):], auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: g.opts.Resource, AuthorizationServers: g.opts.AuthorizationServers, ScopesSupported: g.scopes,
		BearerMethodsSupported: []string{"header"}, ResourceDocumentation: g.opts.Documentation})
}
