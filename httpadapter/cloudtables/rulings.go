package cloudtables

import (
	"time"

	"github.com/latchkey-go/latchkey"
)

// The product's documents leave these questions open. Each answer is one place: a constant or function here, and an
// option where another answer is plausible. docs/rulings.md lists them for people.

// DefaultIdle is how long a token lives without being used when the request names no duration. Two documents of the
// product say 20 minutes and one day; the shorter one is right for a token that lies in a web page.
const DefaultIdle = 20 * time.Minute

// DefaultCap is how long a token lives at most, however much it is used. The product's documents name no such end.
const DefaultCap = 24 * time.Hour

// MaxDuration bounds the duration of a request: one year of 365 days. Durations are whole seconds from 1.
const MaxDuration = 31_536_000 * time.Second

// Bounds of one request; the documents name none.
const (
	maxBody       = 64 << 10
	maxRoles      = 100
	maxConditions = 100
	maxPoint      = 256  // bytes of a data point's id or name
	maxValue      = 4096 // bytes of a value
	maxClient     = 256  // bytes of a client id or name
)

// Origin is what tokens minted here are marked with (latchkey.Token.Origin).
const Origin = "cloudtables"

// Meter is what calls are counted under, for latchkey.UsageQuery. The endpoint is "POST /access", or for data calls
// the method and the path behind the version, with ":id" and ":row" for what it names ("PUT /dataset/:id/:row"). The
// token is the one that called, an API key in the access call; the client is the one that the call or its token
// names.
const Meter = "cloudtables"

// mayMint says which keys get tokens. Publishable ones lie in pages and minted ones are narrower on purpose: neither may
// make more. A secret key may do everything, the administration of keys included, so it must name the roles that a
// token for a web page gets.
func mayMint(kind latchkey.Kind, namesRoles bool) bool {
	switch kind {
	case latchkey.KindAPIKey, latchkey.KindSession:
		return true
	case latchkey.KindSecret:
		return namesRoles
	}
	return false
}

// mayCall says which credentials make data calls: the documents give such calls the key, and give tokens to the calls of
// the embedded page, where they travel as "token".
func mayCall(kind latchkey.Kind, asToken bool) bool {
	return (kind == latchkey.KindAccess) == asToken && kind != 0
}

// Names of parameters.
const (
	nameKey        = "key"    // body, query or header; two of them are refused, be they equal
	nameAPIKey     = "apikey" // data calls, query: what the browser loader writes for key
	nameToken      = "token"  // data calls, query
	nameRole       = "role"   // another spelling of roles: both, and different, is refused
	nameRoles      = "roles"
	nameConditions = "conditions"
	nameCondition  = "condition" // the browser loader's spelling; ignoring it would widen
	nameClientID   = "clientId"
	nameClientName = "clientName"
	nameClientMeta = "clientMeta" // undocumented, of any shape: not looked into, never refused
	nameUserID     = "userId"     // README and old clients; counts where clientId is absent
	nameUserName   = "userName"
	nameDuration   = "duration"
)

// A clientName without a clientId is a label of nobody, and dropped.

// An empty text is an absent option only where that cannot widen: clientId, clientName, duration. An empty role is a
// role that no key has. An empty list of roles, which only JSON can send, is refused; conditions that are an empty list
// or object are none, as in the recorded requests.

// A role that the key lacks yields no token, also beside roles that it has: the document says "no access will be
// granted", and a token with less than was asked for would hide the mistake. Two roles of one name are refused, too.

// Errors: the documents name the words but no status. noAccess stands for every credential that is not good, so that a
// reply tells nobody whether a key exists, ended or was revoked; "expired" is not sent. A malformed request gets the
// same word, for every client knows it, with data.err beside it to say what was wrong.
const (
	msgNoAccess         = "noAccess"
	msgInvalidCondition = "invalidCondition"
	msgSetValue         = "setValue"
	msgUnknownColumn    = "unknownColumn"
	// Ours, in the documents' manner:
	msgMethod      = "methodNotAllowed"
	msgTooLarge    = "tooLarge"
	msgMediaType   = "unsupportedMediaType"
	msgRateLimited = "rateLimited"
	msgOverLimit   = "overLimit"
	msgNotFound    = "notFound"
	msgConflict    = "conflict"
	msgUnavailable = "unavailable"
	msgInternal    = "internalError"
)
