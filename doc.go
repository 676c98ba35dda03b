// Package latchkey manages API tokens and what they may do, inside the program that uses it.
//
// For most uses, make one [Manager] with [New] over a [Store], and get the [Account] of an owner from [Manager.For].
// [Account.Issue] makes keys; [Manager.Verify] turns the text a caller presents into an [Access]; ask that with
// [Access.Check] when a handler serves everything, and with [Access.Filter] when it serves some rows. [Manager.Mint]
// makes short-lived tokens that may do less. Package memstore is a store for tests and examples, package sqlstore one
// that lasts, and package httpadapter puts all of this before net/http handlers.
//
// # Words
//
// An owner is a tenant: an account of the host's. Nothing crosses owners.
//
// A token is the record, a secret the text that stands for it. The text is shown once; what is stored is its digest.
//
// A rule is one statement, such as "allow read on dataset/*"; [Permissions] are rules in order, where a later one
// outweighs an earlier one. A [Role] is a named set of them, and may inherit others. Several roles of one token join: it
// may do whatever one of them allows. What a role gives can be held to a boundary.
//
// A [Resource] is what is asked about, and literal; a [Pattern] is what a rule speaks about, and may end in "/*". Text
// that comes from input becomes a resource with [Path], which no input can break out of.
//
// A [Condition] is a row filter. Bound to a [Schema] it becomes a [Predicate], which admits exactly the same rows in
// memory as in the SQL of each [Dialect].
//
// An [Access] is a photograph: what a caller may do, as of its Verify. Hold it for a request, not for a connection.
//
// # Less, never more
//
// Nothing said is nothing allowed: the zero values of Access, Permissions and Condition allow nothing, and a value
// that is null, unknown, deleted or malformed never widens an answer. A minted token is asked about together with all
// it was minted from, anew at every Verify. So it can never do more than its parent may do now, and ends with it. And
// some rows is not all rows: Check is nil only if every row is allowed.
//
// # Errors
//
// Compare with [errors.Is]: what a caller can act on wraps one of the package's sentinels. Refusals of Verify wrap
// [ErrInvalidToken]. Refusals of an Access are a *[DeniedError], which wraps [ErrDenied]. A malformed argument is
// [ErrInvalid], a malformed condition or row a *[ConditionError], which wraps [ErrBadCondition] and so ErrInvalid.
// What a Store may answer is a closed set: see [Store]. [ErrUnavailable] means that nothing is known, never "not
// found" or "fine": whoever gets it must refuse. No error holds a secret.
//
// # How soon a change holds
//
// Revocation, and every other change, is in the answer of each Verify that begins after the change was made, in every
// process that uses the store. [Options.MaxStale] trades that for speed, up to a stated bound.
//
// # Concurrency
//
// A Manager, an Account, an Access, a Keyring, a Schema and all rules and conditions are safe for concurrent use.
// Records, such as Token and Role, are plain values that share nothing with what is stored. Call [Manager.Close]
// before the program ends, so that usage and last uses are written, and credits taken in advance given back.
//
// # Compatibility
//
// Before v1.0.0 a minor version may change the API; the changelog says how to follow. What is stored is safer: a newer
// version always reads what an older one wrote, and the text of a token that was issued stays valid. After v1.0.0 the
// rules of Go modules hold.
package latchkey
