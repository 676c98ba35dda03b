// Package webforce answers the Access API of WebForce (SiteKreator), /api?cmd=access.add and its siblings, so that the
// product's own clients work unchanged: a person who is logged in makes tokens for applications, each with flags per
// database.
//
// For most uses, call [Mount] with the account whose tokens are meant, and name in [Options.Commands] the commands of
// your own that those tokens are for. Each states what it needs; nothing is served that does not. If your users log in
// elsewhere, [Options.Session] takes your own session ids.
//
// The example of [Mount] is a whole program.
//
// # Callers
//
// auth_token is the host's own session id, or the text of a session token of latchkey's. An access token may not call
// access.*.
//
// # Tokens
//
// The flags of db_permissions overlay each other in order, flag by flag; [Options.Overlay] has the two other readings
// of the document. extra comes back byte for byte.
//
// # Usage
//
// Commands that pass are counted under [Meter], by token, client, command and day: [latchkey.Account.Usage] has them.
//
// # Rulings
//
// What the product's documents leave open is decided in rulings.go; docs/rulings.md lists it.
package webforce
