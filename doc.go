// Package latchkey manages API tokens and what they may do, inside the program that uses it.
//
// For most uses, make one [Manager] with [New] over a store, and get the [Account] of an owner from [Manager.For].
//
//   - [Account.Issue] makes a key from a [Spec]: its kind, its roles or [Permissions], its end, its limits.
//   - [Manager.Verify] turns the text that a caller presents into an [Access].
//   - [Access.Check] reports whether the caller may do something on every row of a resource, and [Access.Filter]
//     returns the rows on which it may.
//   - [Access.Mint] makes short-lived tokens that may do less.
//   - [Account.Revoke] ends a token and all that was minted from it.
//
// Package [github.com/latchkey-go/latchkey/memstore] is a store for tests and examples, and package
// [github.com/latchkey-go/latchkey/sqlstore] one for SQLite, PostgreSQL and MariaDB. Package
// [github.com/latchkey-go/latchkey/httpadapter] puts all of this before net/http handlers.
//
// # Words
//
// An owner is a tenant: an account of the host's. Nothing crosses owners.
//
// A token is the record, a secret the text that stands for it. The text is shown once; what is stored is its digest.
//
// A rule is one statement, such as "allow read on dataset/*". [Permissions] are rules in order, where a later rule
// overrides an earlier one. A [Role] is a named list of rules, and may inherit other roles. Several roles of one token
// form a union: the token may do whatever one of them allows. A boundary limits what a role gives.
//
// A [Resource] is what a decision is about, and literal. A [Pattern] is the resources that a rule covers, and may end
// in "/*". [Path] makes a resource of input, and escapes it so that it cannot name another resource.
//
// A [Condition] is a row filter. Bound to a [Schema] it becomes a [Predicate], which admits exactly the same rows in
// memory as in the SQL of each [Dialect].
//
// An [Access] is a snapshot: what a caller may do, as of its Verify. Hold it for a request, not for a connection.
//
// # Deny by default
//
// What no rule allows is denied. The zero values of Access, Permissions and Condition allow nothing. A value that is
// null, unknown, deleted or malformed never widens what is allowed.
//
// Every Verify evaluates a minted token together with all the tokens that it was minted from. So it can never do more
// than its parent may do now, and it ends with its parent.
//
// Check returns nil only if every row is allowed. If some rows are, it returns a *[DeniedError] with Rows set.
//
// # Errors
//
// Compare with [errors.Is]: an error that a program can act on wraps one of the package's sentinels.
//
//   - Refusals of Verify wrap [ErrInvalidToken].
//   - Refusals of an Access are a *[DeniedError], which wraps [ErrDenied].
//   - A malformed argument is [ErrInvalid]. A malformed condition or row is a *[ConditionError], which wraps
//     [ErrBadCondition] and so ErrInvalid.
//   - [ErrUnavailable] means that nothing is known, never "not found" or "fine": a program that gets it must refuse.
//
// The errors that a Store may return are a closed set: see [Store]. No error holds a secret.
//
// # How soon a change holds
//
// Each Verify reflects every change that was made before it began, revocations included, in every process that uses the
// store. [Options.MaxStale] trades that for speed, up to a stated bound.
//
// # Concurrency
//
// A Manager, an Account, an Access, a Keyring, a Schema and all rules and conditions are safe for concurrent use.
// Records, such as Token and Role, are plain values that share nothing with what is stored. Call [Manager.Close]
// before the program ends. It writes usage and last uses, and gives back leased credits.
//
// # Compatibility
//
// Before v1.0.0 a minor version may change the API; the changelog says how to follow. A newer version always reads
// what an older one stored, and the text of a token that was issued stays valid. After v1.0.0 the rules of Go modules
// hold.
//
// # For store authors
//
// Only an implementation of [Store] needs the following types; all other programs can skip them. A store is correct if
// the suite of package [github.com/latchkey-go/latchkey/storetest] passes on it.
//
//   - What is read: [Found], [SecretRecord], [Feed], [Change], [ChangeKind].
//   - What is written: [Write], [Ref], [Holders], [SecretChange], [Revocation], [UsageBatch], [LastUsed].
//   - Credits: [Reservation], [Adjustment], [CreditAccount], [Reserved], [TakenCredits].
//   - What is removed: [PurgePolicy]. Programs call [Manager.Purge].
package latchkey
