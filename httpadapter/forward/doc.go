// Package forward answers a proxy that asks whether a request may pass: nginx's auth_request, Traefik's ForwardAuth,
// Caddy's forward_auth, HAProxy with a Lua file, and Envoy's HTTP ext_authz. So services in any language use the keys
// of latchkey, and none of them verifies a key itself.
//
// [New] makes the handler from an [httpadapter.Adapter] and a table of routes. docs/forward.md shows every step, and
// the folder examples has a configuration for each proxy, which the tests run:
//
//	auth := httpadapter.New(keys, &httpadapter.Options{Proxies: proxies})
//	mux.Handle("/auth", forward.New(auth, []forward.Route{
//		{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"},
//	}, &forward.Options{From: forward.Nginx}))
//
// # The question
//
// The handler makes the original request from what Options.From says, and guards it as [httpadapter.Adapter.Require]
// guards a handler of Go. Whatever the Adapter is set to holds here, too: carriers, owners, rates, the gate, problems.
// No body is read, and nothing is cached.
//
// The headers are believed only if the peer is one of the Adapter's Proxies. A question is refused
//
//   - with 403 if the peer is none of the Proxies
//   - with 500 if the proxy left out a header, X-Forwarded-For among them
//   - with 400 if one of its headers is there twice, malformed, or there in two spellings (X_Original_URI)
//   - with 400 if the request has a header whose name begins with Options.Headers, or one that frameworks take for
//     another method or path: X-HTTP-Method-Override, X-Original-URL and the like, or a parameter _method in the query
//   - with 403 if no route of the table matches
//
// The path that is checked must be the one that the backend serves. The backend may be written in any language, and
// decode, clean and match paths in its own way. So a path is refused with 400 if two readers could differ about it. It
// may hold letters, digits and -._~!$&'()*,=:@ in segments that are neither empty nor "." or "..". Everything else is
// percent-encoded, and nothing else is. Encoded slashes, backslashes, percent signs, semicolons, "?", "#", control
// characters and invalid UTF-8 are refused, too. A path is also refused if a router that ignores case, or a slash at
// the end, could take it for another route of the table.
//
// What cannot be checked from outside remains with the host: the table names every route of the backend that the proxy
// passes on, the proxy passes the target on as it was received, and the backend takes the method from the request line.
// A framework that reads a method from a form must not do so.
//
// # The reply
//
// The status is 200 if the request may pass, and otherwise that of [httpadapter.ProblemOf]; see [Nginx] for what
// becomes of 400, 402, and 429 there. The reply to a request that may pass has these headers, always, and empty without
// a value. Spaces, %",;\ and whatever is not printable ASCII are percent-encoded. Latchkey-Rows escapes as JSON does.
//
//   - Latchkey-Owner: the owner's id
//   - Latchkey-Token: the token's id
//   - Latchkey-Kind: the token's kind, such as "api_key"
//   - Latchkey-Client: the id of the client that the token belongs to
//   - Latchkey-Roles: the names of roles, separated by commas, with Options.Roles
//   - Latchkey-Rows: the condition that rows must meet, as JSON; true for all of them
//
// The proxy sets each of them in the request that it passes on, whatever the caller sent. They are not signed. So the
// backend must be reachable through the proxy only, and must refuse a request in which Latchkey-Owner is missing or
// empty. A backend that must not trust its network verifies the key itself.
//
// A proxy enforces no rows. A caller that may do something on some rows only is refused, unless the route has Rows set.
// The backend then applies the condition in Latchkey-Rows, which is at most 2048 bytes long; a longer one is a 500.
//
// # Limits
//
// A route with a Meter costs once for each question. A proxy that asks again asks for a new request: nginx does so
// after an internal redirect (try_files, index, rewrite), and a retry that is configured around the authentication
// does. Retries towards the backend cost nothing. A WebSocket is asked about once, at its beginning, and lives on when
// its token ends.
package forward
