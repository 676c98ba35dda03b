package latchkey

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// Options configure a [Manager]. The zero value, and nil, are ready to use. They must not be changed after [New].
type Options struct {
	// Keyring switches on keyed digests, Reveal and signing secrets. Nil: secrets are digested by plain SHA-256 (they
	// hold over 200 random bits) and those features answer ErrNeedsKeyring.
	Keyring *Keyring

	// MaxStale is the published bound on revocation and every other change: an answer given at T reflects all that was
	// committed before T − MaxStale. 0 asks the store for its epoch on every Verify, so there is no delay at all. When
	// the store cannot be reached for longer than the bound, Verify fails closed with ErrUnavailable. Negative panics.
	MaxStale time.Duration

	// Clock tells the time; nil: time.Now. The store's clock must agree with it to within a minute, or nothing is answered
	// (ErrUnavailable): a test that turns it gives the same clock to its store.
	Clock func() time.Time

	// Rand makes secrets and ids; nil: crypto/rand. When it fails, no token is made.
	Rand io.Reader

	// Prefix is an organisation mark put behind the kind's prefix ("ak_acme_…"): 1 to 8 of [a-z0-9]. "": none. Tokens
	// made under another prefix go on working.
	Prefix string

	// Imported says which texts that latchkey did not make may be tokens, by their shape. Others are refused without
	// asking the store. Nil: none.
	Imported func(text string) bool

	// Events is called after each change was committed, once per audit event, on the caller's goroutine. It must not
	// block. Nil: nobody listens.
	Events func(context.Context, Event)

	// Observer is told of refusals: whose token was refused, and why. The zero Observer: nobody listens.
	Observer Observer

	// Logger hears of trouble no caller is told about (a last use that could not be written). It never gets a secret.
	// Nil: nobody listens.
	Logger *slog.Logger

	// MaxDepth is how many generations may be minted below an issued token. 0: 4. At most 32.
	MaxDepth int

	// CacheTokens bounds the tokens kept in memory; the least recently loaded half goes when it is full. 0: 1,000,000.
	// Negative: none are kept.
	CacheTokens int

	// KeepExpired and KeepRevoked are how long Purge leaves dead tokens listed. 0: 24 h and 30 days; negative: for ever.
	KeepExpired time.Duration
	KeepRevoked time.Duration

	// PublicSuffix says whether a host is one that anybody can register beneath ("co.uk"); a domain restriction
	// "*.<suffix>" is then refused. Nil: such a restriction needs two labels after the star.
	PublicSuffix func(host string) bool

	// SignatureSkew is how far the date of a signed request may lie from now, either way. 0: 15 minutes.
	SignatureSkew time.Duration

	// CreditLease returns how many credits this process may lease at once, by the smallest limit that holds, so that
	// Access.Charge and Access.Reserve pay out of memory. All tokens that share the same accounts share a lease. What it
	// returns is the most: a lease is at most an eighth of what is left, and near the end each debit is exact. At most two
	// leases of a set of accounts are held. Unspent credits are returned after half a minute without debits, and on Close.
	// 0 or less: none. Nil: never, each debit is two transactions. Hundredth is a ready-made one.
	//
	// The limit is never exceeded, whatever happens. A process that dies takes along, of each lease, the eighth that it
	// was allowed to spend without telling the store (or one debit, if that is more), and what its Holds had out. The rest
	// of the lease comes back with the first Purge five minutes later. CreditLease must be safe for concurrent use.
	CreditLease func(limit Credits) Credits
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}
