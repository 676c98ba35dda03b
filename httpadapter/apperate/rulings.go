package apperate

import (
	"time"

	"github.com/latchkey-go/latchkey"
)

// The product's documents leave these questions open, and the service can be asked no more. Each answer is one place: a
// constant or function here, or the row of [replies] that speaks of it, and an option where another answer is plausible.
// docs/rulings.md lists them for people.

// Credit is one credit ("message", in the older words). A reply's headers and account/usage speak of whole credits: what
// is less is rounded up, so that no use looks free.
const Credit latchkey.Credits = 1_000_000

// Meters that requests are counted under. Only core credits count against a token's limit: premium data is not limited
// by the product's "Core Credit Usage Limit", but for the one core credit that each premium request costs.
const (
	MeterCore    = "core"
	MeterPremium = "premium"
)

// DefaultMaxBody bounds a request's body.
const DefaultMaxBody = 1 << 20

// maxTokenBody bounds the body that is looked through for a token when the query has none. Nobody is known then.
const maxTokenBody = 64 << 10

// DefaultAddressRate is what the product allowed one address: 100 requests a second. Its documents let bursts pass
// without saying how long; here a second's worth may come at once.
var DefaultAddressRate = latchkey.Rate{Count: 100, Per: time.Second, Burst: 99}

// DefaultSandboxRate is what the product's staff said of the sandbox: 10 a second.
var DefaultSandboxRate = latchkey.Rate{Count: 10, Per: time.Second, Burst: 9}

// versions are the first path segments of the product's bases.
var versions = []string{"v1", "stable", "beta", "latest"}

// Bounds of one request; the documents name none but the hundred symbols of a batch.
const (
	maxIDs      = 100
	maxID       = 128 // bytes of a workspace or data set id
	maxSegments = 12
)

// settleTime is how long the settling of credits may take after the reply: the caller does not wait for it.
const settleTime = 5 * time.Second

// dataMethods are what a page of another site may call data sets with. The product's core data named GET and OPTIONS,
// as commonHeaders does; of its data sets nothing is known. A publishable token may be granted writing and deleting,
// and the product's client then sends the others.
const dataMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// dataRoutes are the first segments of paths to data sets, whose bodies are data.
var dataRoutes = []string{"data", "datasets", "record", "write"}

// exposeHeaders are what such a page may read of a reply beside its body.
const exposeHeaders = "Iexcloud-Messages-Used, Iexcloud-Credits-Used, Iexcloud-Premium-Messages-Used, " +
	"Iexcloud-Premium-Credits-Used, Retry-After"

// mayCall says which kinds of token the product knows. Others, good as they are, are no keys here.
func mayCall(kind latchkey.Kind) bool {
	return kind == latchkey.KindSecret || kind == latchkey.KindPublishable
}

// DefaultCost is what a request costs unless Options.Cost says otherwise: one core credit where it reads core or premium
// data. What a record of a host's own data set costs only the host knows.
func DefaultCost(c *Call) Cost {
	if c.Core || c.Premium {
		return Cost{Core: Credit}
	}
	return Cost{}
}

// The signing secret is the token's own (account/signed shows it), never the account's secret token: a partner who
// signs must not hold what may do everything.

// A signature is made with the host as it was dialled: with the port, or without.
