// Package oauth gives out short-lived tokens by OAuth 2.0, for clients and resource servers that speak it already: the
// grants client_credentials (RFC 6749 §4.4) and token exchange (RFC 8693), introspection (RFC 7662), revocation
// (RFC 7009), and the metadata of RFC 8414 and RFC 9728. It has no authorization endpoint, no users and no JWTs.
//
// A client is a token, its key: the client secret is the text of any token that may mint. What a client gets is minted
// from that token by [latchkey.Access.Mint], so it may never do more, and ends with it.
//
// # Scopes
//
// The host declares the scopes: [Options.Scopes] says what each allows. A token may do what its scopes allow and its
// parent may do. A scope is given only to a token that may do all of it ([latchkey.Access.Covers]). So a resource
// server that reads no more than the scope of a token does not let it do more either. Introspection answers the scopes
// that hold now, not those that were asked for once.
//
// Covers is conservative, and introspection leaves out what it cannot be sure of. So it never names a scope whose
// patterns hold [latchkey.ClientSegment] for a token that was minted with that scope, though the token may do what it
// says. Write such scopes with conditions on [latchkey.ClientID] instead.
//
// A request without the parameter scope gets every scope that the parent covers.
//
// # Rulings
//
// Where the RFCs leave a choice:
//
//   - client_id is the id of the token whose text is the client secret, or that of its client: see [Options.ClientID].
//   - Clients authenticate with client_secret_basic or client_secret_post. One request has one of them. Nothing is read
//     from the URL: an endpoint with a query is an error. No cookie is read.
//   - Any parameter twice is an error, but for resource and audience. So is one with brackets in its name. Parameters
//     that are not known are ignored. One without a value counts as absent. There are at most 64.
//   - resource (RFC 8707) and audience (RFC 8693) must be [Options.Resource], which all tokens are for.
//   - A publishable key is no client, and no subject token: it is public, so it proves nothing.
//   - A token exchange needs no client authentication: whoever holds a token may mint from it. If a client
//     authenticates, the subject token must be of the same owner. actor_token is refused: a token has one parent, and
//     could not be narrowed by two.
//   - There are no refresh tokens. A client asks again.
//   - Introspection tells of a token to a caller with the right "read" on "latchkey/token/<id>". Revocation ends one
//     for a caller that [latchkey.Account.Revoke] obeys, and for the client that got it here. Others hear the same as
//     for a text that is no token.
//   - Introspection is a use of the token: it counts against its rates, and its idle limit begins anew. It does not see
//     the request that the token came with. So a token that is bound to addresses, domains or signatures is not active.
//     exp is when the text ends: by the token, one that it was minted from, or a rotation. A change of rights, or the
//     end of a role, shows in the next reply only.
//   - A malformed request is 400, a body beyond 16 KiB 413, a limited rate 429, and a store that does not answer 503.
//     All have the JSON body of RFC 6749 §5.2. No text of a request is repeated in it.
package oauth
