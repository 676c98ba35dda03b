package latchkey

import (
	"io"
	"log/slog"
	"time"
)

// Options configures a [Manager]. The zero value and a nil *Options are ready to use. Options must not be changed after
// [New].
type Options struct {
	// Keyring switches on keyed digests, Reveal and signing secrets. If it is nil, secrets are digested by plain SHA-256
	// (they hold 190 random bits or more), and those features return ErrNeedsKeyring.
	Keyring *Keyring

	// Roles are roles that hold for every owner, without a record of each. A role of this list has a Name of at most 59
	// bytes, Permissions, Inherits, InheritDenies, Boundary and Extra. Inherits holds names or ids of others in the
	// list. Its id is [CodeRoleID] of the name. New panics on two equal names, an unknown inherited role, a cycle, and
	// on anything that [Role.Validate] refuses.
	//
	// Tokens hold these roles and stored roles inherit them, by id, as they do stored ones. An Account lists and
	// explains them and cannot change them. They change with a deploy, and no epoch tells of it: while processes with
	// different lists run, each answers by its own. A token that names one that this process lacks loses that role only.
	// To an actor, such a token counts as one that may do everything.
	//
	// Programs without this code read the list from a file: see [WriteRoles] and [ReadRoles].
	Roles []Role

	// MaxStale bounds the delay of revocation and of every other change: an answer given at T reflects all that was
	// committed before T − MaxStale. With 0 each Verify reads the store's epoch, and there is no delay. If the store
	// cannot be reached for longer than the bound, Verify fails closed with ErrUnavailable. New panics if it is negative.
	MaxStale time.Duration

	// Clock returns the current time. Nil: time.Now. The store's clock must agree with it to within a minute, or Verify
	// returns ErrUnavailable. A test that sets this clock gives the same clock to its store.
	Clock func() time.Time

	// Rand is the source of secrets and ids. Nil: crypto/rand. If it fails, no token is made.
	Rand io.Reader

	// Prefix is an organisation's mark that follows the kind's prefix in token texts ("ak_acme_…"): 1 to 8 of [a-z0-9].
	// "": none. Tokens made under another prefix stay valid.
	Prefix string

	// Imported reports whether a text that latchkey did not make may be a token, by its shape. Other such texts are
	// refused without reading the store, but for those that Legacy.Split splits. Nil: every such text is refused.
	Imported func(text string) bool

	// Legacy says how texts are recognised that another system made and kept by an HMAC or a slow hash: see
	// [Account.ImportDigest]. It is copied. Nil: there are none, and what presents such a text costs nothing more.
	Legacy *Legacy

	// Observer holds callbacks: what was verified, refused, minted and changed, and how the store answered. The zero
	// Observer has none.
	Observer Observer

	// NoRefusalReport switches off the counts of refusals that [Account.RefusalReport] shows. False: each refusal of a
	// token that exists is counted, by token, reason and day, and written behind like usage. KeepUsageDays and
	// KeepUsageMonths hold for these counts too.
	NoRefusalReport bool

	// LastUseAddress is how much is kept of the address that a secret was last used from: see [LiveSecret]. The zero value
	// is all of it. An address that was kept before stays until the secret is used again. It does not change Event.From,
	// the address of whoever changed something, nor Refusal.Address, which is not kept. New panics on an unknown value.
	LastUseAddress AddressDetail

	// Catalogue declares the resources, actions and fields of the host. Rules are then checked when they are saved, and
	// routes when they are made. It is copied. New panics if it is invalid, and if Roles do not fit it, unless
	// Catalogue.Warn is set. Nil: any valid rule is saved.
	Catalogue *Catalogue

	// Logger receives warnings about errors that no caller sees, such as a last use that could not be written. It never
	// receives a secret. Nil: no log.
	Logger *slog.Logger

	// MaxDepth is how many generations may be minted below an issued token, at most 32. 0: 4. New panics if it is
	// negative or above 32.
	MaxDepth int

	// CacheTokens is how many tokens the cache keeps at least; it never holds more than twice as many. Where it is full,
	// those that were loaded first are dropped. A token takes at most 120 bytes, and what it has of its own besides: a
	// client, a name, rules. 0: 1,000,000. Negative: no token is cached.
	CacheTokens int

	// KeepExpired and KeepRevoked are how long Purge keeps expired and revoked tokens. 0: 24 hours and 30 days. Negative:
	// for ever.
	KeepExpired time.Duration
	KeepRevoked time.Duration

	// KeepUsageDays and KeepUsageMonths are how long Purge keeps usage, after the end of the month. After KeepUsageDays
	// the days of a month become one row of the month: Account.Usage then shows the Day "2026-11". After KeepUsageMonths
	// such rows are removed. 0 or negative: for ever. Credits do not depend on usage. The console shows usage of 90 days
	// by day, and datocms of two months.
	KeepUsageDays   time.Duration
	KeepUsageMonths time.Duration

	// KeepEvents is how long Purge keeps audit events. 0 or negative: for ever. Of each owner of which it
	// removes events, Purge first writes one of its own, "audit.purge", which says up to which number events may be gone.
	// It is part of the chain, so [Account.VerifyAudit] tells events that Purge removed from those that somebody else did.
	// Purge then reads a row of each owner that has events. An hour or more: New panics if it is less.
	KeepEvents time.Duration

	// PublicSuffix reports whether anybody can register names beneath a host ("co.uk"). A domain restriction
	// "*.<suffix>" is then refused. Nil: such a restriction needs two labels after the star.
	PublicSuffix func(host string) bool

	// SignatureSkew is how far the date of a signed request may lie from the current time, either way. 0: 15 minutes.
	// New panics if it is negative.
	SignatureSkew time.Duration

	// CreditLease returns how many credits this process may lease at once, by the Amount of the smallest Quota that holds.
	// With a lease, Access.Spend and Access.Reserve pay out of memory. All tokens that share the same accounts share a
	// lease. The result is an upper bound: a lease is at most an eighth of what is left, and near the end each debit is
	// exact. At most two leases of a set of accounts are held. A lease is of one period of each quota: where one begins
	// anew, a new lease is taken, and the old one is returned. A result of 0 or less: no lease. Nil: no leases, and each
	// debit is two transactions. See Hundredth.
	//
	// A quota is never exceeded. Of N processes one may refuse while something is left: what the others hold, so at most
	// 2 × (N − 1) leases. A process returns what it does not use within three quarters of a minute without debits, or
	// within three sixteenths of the shortest period if that is less. Close returns all at once.
	//
	// If a process dies, the credits of its open Holds count as spent. So does an eighth of
	// each lease, or one debit if that is more. That much may be spent without a write to the store. The rest of the lease
	// comes back with the first Purge five minutes later. CreditLease must be safe for concurrent use.
	CreditLease func(limit Credits) Credits
}

// setDefault sets *v to the default value if it is zero.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
