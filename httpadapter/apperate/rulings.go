package apperate

import (
	"time"

	"github.com/latchkey-go/latchkey"
)

// The product's documents leave these questions open, and the service is no longer there to test. Each answer is a
// constant or function here, or the row of [replies] that states it, and an option where another answer is plausible.
// docs/rulings.md lists them with their reasons.

// Meters of requests. One credit is a [latchkey.Credit] ("message", in older documents). A reply's headers and
// account/usage have whole credits, rounded up, so that no use looks free. Only core credits are taken from a token's
// quotas. The product's "Core Credit Usage Limit" does not limit premium data, except for the one core credit that each
// premium request costs.
const (
	MeterCore    = "core"
	MeterPremium = "premium"
)

// DefaultMaxBody bounds a request's body, in bytes.
const DefaultMaxBody = 1 << 20

// maxTokenBody bounds the body that is searched for a token if the query has none, in bytes. The caller is not
// authenticated then.
const maxTokenBody = 64 << 10

// DefaultAddressRate is what the product allowed one address: 100 requests a second. Its documents allow bursts
// without stating their size; here a burst is the requests of one second.
var DefaultAddressRate = latchkey.Rate{Count: 100, Per: time.Second, Burst: 99}

// DefaultSandboxRate is the sandbox's rate, as the product's staff stated it: 10 a second.
var DefaultSandboxRate = latchkey.Rate{Count: 10, Per: time.Second, Burst: 9}

// versions are the first path segments of the product's base URLs.
var versions = []string{"v1", "stable", "beta", "latest"}

// Bounds of one request. The documents name only the hundred symbols of a batch.
const (
	maxIDs      = 100
	maxID       = 128 // bytes of a workspace or data set id
	maxSegments = 12
)

// settleTime is how long settling credits may take after the reply. The caller does not wait for it.
const settleTime = 5 * time.Second

// dataMethods are the methods with which pages of other sites may call data sets. The product's core data allowed GET
// and OPTIONS, as commonHeaders does. Nothing is known about its data sets. A publishable token may be granted
// writing and deleting, and the product's client then sends the other methods.
const dataMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// dataRoutes are the first segments of paths to data sets, whose bodies are data.
var dataRoutes = []string{"data", "datasets", "record", "write"}

// exposeHeaders are the reply headers that such a page may read.
const exposeHeaders = "Iexcloud-Messages-Used, Iexcloud-Credits-Used, Iexcloud-Premium-Messages-Used, " +
	"Iexcloud-Premium-Credits-Used, Retry-After"

// mayCall reports whether the product has a kind of token. Valid tokens of other kinds are invalid keys here.
func mayCall(kind latchkey.Kind) bool {
	return kind == latchkey.KindSecret || kind == latchkey.KindPublishable
}

// DefaultCost is the default of Options.Cost: one core credit for a request that reads core or premium data. The cost
// of the host's own data sets is known only to the host, and is 0.
func DefaultCost(c *Call) Cost {
	if c.Core || c.Premium {
		return Cost{Core: latchkey.Credit}
	}
	return Cost{}
}

// The signing secret is the token's own (account/signed returns it), never the account's secret token. A partner that
// signs must not hold a key to everything.

// A signature is accepted for the host with or without the port.
