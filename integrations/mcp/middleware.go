package latchkeymcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"weak"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Protect adds the check of every request to a server. Add the host's own receiving middleware before it: what is added
// later runs first, without a caller. To protect a server twice is harmless, but not by two Guards: each refuses the
// callers of the other. Requests that come from no handler of [Guard.StreamableHTTP] or [Guard.Authenticate] are
// refused.
func (g *Guard) Protect(server *mcp.Server) { g.protect(server, nil) }

// ProtectWithKey is [Guard.Protect] for a server over stdio, which serves one caller: the holder of a key. It verifies
// the key now, and the caller anew for each request ([latchkey.Access.Again]). A key that is restricted to addresses,
// to web domains or to signed requests is refused, because a pipe has none of these. The rate of a key is counted once.
// Serve such a server over no other transport. The error is that of Verify, or [latchkey.ErrInvalid] for a server that
// is protected already.
//
//	key, err := latchkeymcp.KeyFromEnv("EXAMPLE_API_KEY")
//	err = guard.ProtectWithKey(ctx, server, key)
//	err = server.Run(ctx, &mcp.StdioTransport{})
func (g *Guard) ProtectWithKey(ctx context.Context, server *mcp.Server, key string) error {
	if g.opts.OwnerOf != nil {
		return fmt.Errorf("%w: latchkeymcp: OwnerOf needs a request; set Owner for a server over stdio", latchkey.ErrInvalid)
	}
	p := latchkey.Presented{Secret: key, Test: g.opts.Test}
	verify := g.manager.Verify
	if g.opts.Owner != "" {
		verify = g.manager.For(g.opts.Owner).Verify
	}
	access, err := verify(ctx, p)
	if err != nil {
		return err
	}
	if !g.protect(server, &access) {
		return fmt.Errorf("%w: latchkeymcp: the server is protected already: call ProtectWithKey first", latchkey.ErrInvalid)
	}
	return nil
}

// KeyFromEnv returns the value of an environment variable and removes it from the environment, so that no child process
// inherits it. The error names the variable if it is not set, or empty.
func KeyFromEnv(name string) (string, error) {
	key := os.Getenv(name)
	if key == "" {
		return "", fmt.Errorf("latchkeymcp: the environment variable %s is not set: it must hold a key", name)
	}
	return key, os.Unsetenv(name)
}

// protect returns false if the server was protected before.
func (g *Guard) protect(server *mcp.Server, key *latchkey.Access) bool {
	if server == nil {
		panic("latchkeymcp: Protect needs a server")
	}
	p := weak.Make(server)
	if _, done := g.protected.LoadOrStore(p, struct{}{}); done {
		return false
	}
	runtime.AddCleanup(server, func(p weak.Pointer[mcp.Server]) { g.protected.Delete(p) }, p)
	server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			return g.receive(ctx, method, req, next, key)
		}
	})
	return true
}

// call is one JSON-RPC request of a verified caller.
type call struct {
	access latchkey.Access
}

type callKey struct{}

// AccessFrom returns the caller of a tool, a resource or a prompt, and whether there is one. It is that of this
// request, while auth.TokenInfoFromContext may be that of the request that began the session. In a handler
// [httpadapter.AccessFrom] returns the same, so that libraries work with both.
func AccessFrom(ctx context.Context) (latchkey.Access, bool) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return latchkey.Access{}, false
	}
	return c.access, true
}

// RowsFrom returns the row condition that the handler of a [Rule] with Rows must apply, and whether there is one.
// Without one it returns the zero Condition, which admits no row. The handler must call it before it returns. It is
// [httpadapter.RowsFrom].
func RowsFrom(ctx context.Context) (latchkey.Condition, bool) { return httpadapter.RowsFrom(ctx) }

// RowsNotNeeded says that the result of a handler whose [Rule] has Rows depends on no row. It does nothing elsewhere.
// It is [httpadapter.RowsNotNeeded].
func RowsNotNeeded(ctx context.Context) { httpadapter.RowsNotNeeded(ctx) }

// freeMethods are the methods of MCP that need a valid token and no rule. What they return is narrowed.
var freeMethods = strings.Fields(`initialize ping server/discover logging/setLevel resources/unsubscribe
	tools/list prompts/list resources/list resources/templates/list
	notifications/initialized notifications/cancelled notifications/progress notifications/roots/list_changed`)

// ruledMethods are those whose rule askFor finds.
var ruledMethods = strings.Fields(`tools/call prompts/get resources/read resources/subscribe subscriptions/listen
	completion/complete`)

// receive checks one request and passes it on.
func (g *Guard) receive(ctx context.Context, method string, req mcp.Request, next mcp.MethodHandler,
	key *latchkey.Access) (mcp.Result, error) {
	access, err := g.callerOf(ctx, req, key)
	if err != nil {
		return nil, g.refuse(ctx, method, latchkey.Access{}, err)
	}
	// The context is that of the request that began the session. An Access that it carries is of that time, and so are
	// the refusals that it knows.
	var none *httpadapter.Gate
	ctx = httpadapter.WithAccess(none.Watch(context.WithValue(ctx, callKey{}, &call{access}), access.Address()), access)
	rules, a := g.askFor(access, method, req.GetParams())
	if a.err != nil {
		return nil, g.refuse(ctx, method, access, a.err)
	}
	for _, of := range rules {
		if of.Meter == "" {
			continue
		}
		if _, err := access.Spend(ctx, of.Meter, endpoint(method, req.GetParams()), of.Credits); err != nil {
			return nil, g.reply(ctx, method, err) // reported by Spend
		}
	}
	needsRows := slices.ContainsFunc(rules, func(of *rule) bool { return of.Rows })
	if needsRows {
		ctx = httpadapter.WithRows(ctx, access, a.rows)
	}
	res, err := next(ctx, method, req)
	if said := ofLatchkey(res, err); said != nil {
		httpadapter.Refused(ctx, said)
		return nil, g.reply(ctx, method, said)
	}
	if err != nil || res == nil {
		return res, err
	}
	if needsRows && !httpadapter.RowsAsked(ctx) && showsSomething(res) {
		return nil, g.reply(ctx, method, fmt.Errorf("latchkeymcp: %s: the handler returned without asking for the rows it "+
			"may show: call RowsFrom and apply the condition, or RowsNotNeeded", endpoint(method, req.GetParams())))
	}
	return g.narrowed(access, res), nil
}

// ofLatchkey returns the error of a handler if it is one of latchkey, else nil. A result of a tool that has a text of
// its own beside the error stays as it is.
func ofLatchkey(res mcp.Result, err error) error {
	if r, ok := res.(*mcp.CallToolResult); ok && err == nil && r != nil {
		if err = r.GetError(); err == nil || len(r.Content) != 1 {
			return nil
		}
		if text, ok := r.Content[0].(*mcp.TextContent); !ok || text.Text != err.Error() {
			return nil
		}
	}
	if err == nil || errors.As(err, new(*jsonrpc.Error)) {
		return nil
	}
	if httpadapter.ProblemOf(err).Status == http.StatusInternalServerError && !errors.As(err, new(*latchkey.FaultError)) &&
		!errors.As(err, new(*latchkey.ConditionError)) {
		return nil
	}
	return err
}

// callerOf returns the caller of a request.
func (g *Guard) callerOf(ctx context.Context, req mcp.Request, key *latchkey.Access) (latchkey.Access, error) {
	if extra := req.GetExtra(); extra != nil && extra.TokenInfo != nil {
		if c, ok := extra.TokenInfo.Extra[extraKey].(*caller); ok && c.guard == g {
			return c.access, nil
		}
		return latchkey.Access{}, latchkey.ErrUnknownToken
	} else if extra == nil && key != nil { // a transport that has no header
		return key.Again(ctx)
	}
	return latchkey.Access{}, httpadapter.ErrNoCredential
}

// askFor finds the rules of a request, and checks them.
func (g *Guard) askFor(access latchkey.Access, method string, params mcp.Params) ([]*rule, answer) {
	one := func(of *rule, from values) ([]*rule, answer) {
		a := of.ask(access, from)
		return []*rule{of}, a
	}
	unread := answer{err: fmt.Errorf("latchkeymcp: %s: params of type %T, which this version does not know", method,
		params)}
	switch method {
	case "tools/call":
		p, ok := params.(*mcp.CallToolParamsRaw)
		if !ok {
			return nil, unread
		}
		of := g.tools[p.Name]
		if of == nil {
			return nil, answer{err: errNoRule}
		}
		from, err := argumentsOf(p.Arguments) // also for a rule without wildcards: the tool reads them
		if err != nil {
			return nil, answer{err: err}
		}
		return one(of, from)
	case "prompts/get":
		p, ok := params.(*mcp.GetPromptParams)
		if !ok {
			return nil, unread
		}
		return one(g.prompts[p.Name], textsOf(p.Arguments))
	case "resources/read":
		p, ok := params.(*mcp.ReadResourceParams)
		if !ok {
			return nil, unread
		}
		return g.askURI(access, p.URI)
	case "resources/subscribe":
		p, ok := params.(*mcp.SubscribeParams)
		if !ok {
			return nil, unread
		}
		_, a := g.askURI(access, p.URI)
		return nil, a
	case "subscriptions/listen":
		p, ok := params.(*mcp.SubscriptionsListenParams)
		if !ok {
			return nil, unread
		}
		if p.Notifications != nil {
			for _, uri := range p.Notifications.ResourceSubscriptions {
				if _, a := g.askURI(access, uri); a.err != nil {
					return nil, a
				}
			}
		}
		return nil, answer{}
	case "completion/complete":
		p, ok := params.(*mcp.CompleteParams)
		if !ok {
			return nil, unread
		}
		return nil, g.askCompletion(access, p)
	}
	if slices.Contains(freeMethods, method) {
		return nil, answer{}
	}
	of := g.methods[method]
	if of == nil {
		return nil, answer{err: errNoRule}
	}
	// The handler reads the params as they were decoded. So they are encoded once more, not taken from the wire.
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, unread
	}
	from, err := argumentsOf(raw)
	if err != nil {
		return nil, answer{err: err}
	}
	return one(of, from)
}

// askCompletion checks whether a caller may complete an argument: it may use what the argument is for.
func (g *Guard) askCompletion(access latchkey.Access, p *mcp.CompleteParams) answer {
	if p.Ref == nil {
		return answer{err: &argumentError{"ref", "it is missing"}}
	}
	var resolved values = textsOf(nil)
	if p.Context != nil {
		resolved = textsOf(p.Context.Arguments)
	}
	switch p.Ref.Type {
	case "ref/prompt":
		return g.prompts[p.Ref.Name].ask(access, resolved)
	case "ref/resource":
		for _, of := range g.templates {
			if of.template.Raw() == p.Ref.URI {
				return of.ask(access, resolved)
			}
		}
		return g.resources[p.Ref.URI].ask(access, nil)
	}
	return answer{err: errNoRule}
}

// endpoint names what was used. There are as few as rules: a name without one was denied. A URI is not among them.
func endpoint(method string, params mcp.Params) string {
	switch p := params.(type) {
	case *mcp.CallToolParamsRaw:
		return method + " " + p.Name
	case *mcp.GetPromptParams:
		return method + " " + p.Name
	}
	return method
}

// showsSomething reports whether a result may show a row. An error does not, nor does a question to the user.
func showsSomething(res mcp.Result) bool {
	switch r := res.(type) {
	case *mcp.CallToolResult:
		return !r.IsError && r.InputRequests == nil
	case *mcp.GetPromptResult:
		return r.InputRequests == nil
	case *mcp.ReadResourceResult:
		return r.InputRequests == nil
	}
	return true
}

// private is the cache scope of what depends on the caller.
const private = "private"

// narrowed takes from a list what the caller may not use. What depends on the caller must not be cached for others.
func (g *Guard) narrowed(access latchkey.Access, res mcp.Result) mcp.Result {
	keep := func(of *rule) bool { return g.opts.ListAll || of.reaches(access) }
	switch r := res.(type) {
	case *mcp.ListToolsResult:
		out := *r
		out.CacheScope = private
		out.Tools = kept(r.Tools, func(t *mcp.Tool) bool {
			of := g.tools[t.Name]
			if of == nil && g.opts.Logger != nil {
				if _, known := g.logged.LoadOrStore(t.Name, struct{}{}); !known {
					g.opts.Logger.Warn("latchkeymcp: a tool has no rule, so nobody may call it", "tool", t.Name,
						"hint", "name it in Options.Tools")
				}
			}
			return keep(of)
		})
		return &out
	case *mcp.ListPromptsResult:
		out := *r
		out.CacheScope = private
		out.Prompts = kept(r.Prompts, func(p *mcp.Prompt) bool { return keep(g.prompts[p.Name]) })
		return &out
	case *mcp.ListResourcesResult:
		out := *r
		out.CacheScope = private
		out.Resources = kept(r.Resources, func(x *mcp.Resource) bool {
			if g.opts.ListAll {
				return true
			}
			_, a := g.askURI(access, x.URI)
			return a.err == nil
		})
		return &out
	case *mcp.ListResourceTemplatesResult:
		out := *r
		out.CacheScope = private
		out.ResourceTemplates = kept(r.ResourceTemplates, func(x *mcp.ResourceTemplate) bool {
			i := slices.IndexFunc(g.templates, func(of *rule) bool { return of.template.Raw() == x.URITemplate })
			if i < 0 {
				return keep(nil)
			}
			return keep(g.templates[i])
		})
		return &out
	case *mcp.ReadResourceResult:
		out := *r
		out.CacheScope = private
		return &out
	}
	return res
}

// kept returns the elements that pass, in a slice of its own and never nil: a list must not be null.
func kept[T any](list []T, pass func(T) bool) []T {
	out := make([]T, 0, len(list))
	for _, x := range list {
		if pass(x) {
			out = append(out, x)
		}
	}
	return out
}

// refuse reports a refusal and returns it as a JSON-RPC error.
func (g *Guard) refuse(ctx context.Context, method string, access latchkey.Access, err error) error {
	if errors.Is(err, latchkey.ErrDenied) {
		access.Refused(ctx, err)
	}
	return g.reply(ctx, method, err)
}

// reply returns an error as a JSON-RPC error, and logs failures.
func (g *Guard) reply(ctx context.Context, method string, err error) error {
	if httpadapter.ProblemOf(err).Status >= http.StatusInternalServerError && g.opts.Logger != nil {
		g.opts.Logger.ErrorContext(ctx, "request failed", "method", method, "err", err)
	}
	return rpcError(err)
}

// rpcError is the one place where errors become those of JSON-RPC.
func rpcError(err error) *jsonrpc.Error {
	p := httpadapter.ProblemOf(err)
	var argument *argumentError
	if errors.As(err, &argument) {
		p.Field, p.Detail = argument.name, sentence(argument.reason)
	}
	code, text := int64(p.Status), p.Title
	switch p.Status {
	case http.StatusBadRequest:
		code = jsonrpc.CodeInvalidParams
	case http.StatusInternalServerError:
		code = jsonrpc.CodeInternalError
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	data, failed := json.Marshal(struct {
		httpadapter.Problem
		RetryAfter int64 `json:"retryAfter,omitempty"` // seconds
	}{p, int64((p.RetryAfter + time.Second - 1) / time.Second)})
	if failed != nil {
		panic(failed) // of strings and numbers
	}
	return &jsonrpc.Error{Code: code, Message: text, Data: data}
}
