// Package latchkeymcp guards MCP servers (Model Context Protocol) with latchkey tokens.
//
// For most uses, make one [Guard] with [New], with a [Rule] for each tool, and serve [Guard.StreamableHTTP] in place of
// mcp.NewStreamableHTTPHandler. Handlers find the caller with [AccessFrom]. A server over stdio takes its key from the
// environment: see [Guard.ProtectWithKey].
//
//	guard := latchkeymcp.New(keys, &latchkeymcp.Options{Tools: map[string]latchkeymcp.Rule{
//		"read_dataset": {Action: latchkey.Read, Resource: "dataset/{id}"},
//	}})
//	mux.Handle("/mcp", guard.StreamableHTTP(func(*http.Request) *mcp.Server { return server }, nil))
//
// # What is checked, and when
//
// Each HTTP request is verified anew: the token, its owner, its restrictions and its rate. What is refused there is
// answered with an HTTP status, and WWW-Authenticate (RFC 6750, RFC 9728) as the authorization chapter of MCP asks.
// Tokens are read from the Authorization header alone.
//
// Each JSON-RPC request is then checked against its Rule. What no rule names is denied, also methods that the SDK or
// the host adds. Such a refusal is a JSON-RPC error, not the result of a tool with isError: a model cannot correct it.
// Its code is the HTTP status of the refusal (403, 429, 402, 503), because MCP asks for codes outside the range that
// JSON-RPC reserves. A malformed argument is -32602, a mistake of the host -32603. The data of the error is the problem
// of httpadapter (RFC 9457), with retryAfter in seconds. If [Options.Scopes] names a scope that the caller lacks for
// this request, the same error is the body of an HTTP 403 with insufficient_scope: that is how a client asks for more.
//
// An error of latchkey that a handler returns, such as that of [latchkey.Access.Check], is answered in the same way.
// Any other error of a tool becomes a result with isError and its text, as the SDK has it.
//
// A stream that outlives its request is verified before each message that goes out on it, and regularly: see
// [Options.StreamCheck].
//
// # Sessions
//
// A session belongs to one token. Another token cannot continue it, of whatever owner: the SDK answers 403. See
// [Options.SessionOf] for tokens that are renewed.
package latchkeymcp
