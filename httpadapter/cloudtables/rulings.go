package cloudtables

import (
	"time"

	"github.com/latchkey-go/latchkey"
)

// The product's documents leave these questions open. Each answer is a constant or function here, and an option where
// another answer is plausible. docs/rulings.md lists them with their reasons.

// DefaultIdle is how long a token lives without being used when the request names no duration. Two documents of the
// product say 20 minutes and one day. The shorter one is safer for a token in a web page.
const DefaultIdle = 20 * time.Minute

// DefaultCap is how long a token lives at most, even if it is used all the time. The product's documents name no
// limit.
const DefaultCap = 24 * time.Hour

// MaxDuration is the longest duration of a request: one year of 365 days. The shortest is one second.
const MaxDuration = 31_536_000 * time.Second

// Bounds of one request. The documents name none.
const (
	maxBody       = 64 << 10
	maxRoles      = 100
	maxConditions = 100
	maxPoint      = 256  // bytes of a data point's id or name
	maxValue      = 4096 // bytes of a value
	maxClient     = 256  // bytes of a client id or name
)

// Origin marks tokens minted here (latchkey.Token.Origin).
const Origin = "cloudtables"

// Meter is the meter of calls, for latchkey.UsageQuery. The endpoint of the access call is "POST /access". That of a
// data call is its method and the path after the version, with ":id" and ":row" for ids ("PUT /dataset/:id/:row").
// The token is the credential of the call, which is an API key in the access call. The client is the one that the
// call or its token names.
const Meter = "cloudtables"

// mayMint reports whether keys of a kind may mint tokens. Publishable keys are in web pages, and minted tokens are
// narrower on purpose, so neither may mint. A secret key may do everything, including managing keys. So its request
// must name the roles of the token, which goes into a web page.
func mayMint(kind latchkey.Kind, namesRoles bool) bool {
	switch kind {
	case latchkey.KindAPIKey, latchkey.KindSession:
		return true
	case latchkey.KindSecret:
		return namesRoles
	}
	return false
}

// mayCall reports whether a credential may make a data call. The documents give the key to data calls, and tokens to
// the calls of the embedded page, where they are sent as "token".
func mayCall(kind latchkey.Kind, asToken bool) bool {
	return (kind == latchkey.KindAccess) == asToken && kind != 0
}

// Names of parameters.
const (
	nameKey        = "key"    // body, query or header; two of them are refused, even if equal
	nameAPIKey     = "apikey" // data calls, query: the browser loader's spelling of key
	nameToken      = "token"  // data calls, query
	nameRole       = "role"   // another spelling of roles; different values are refused
	nameRoles      = "roles"
	nameConditions = "conditions"
	nameCondition  = "condition" // the browser loader's spelling; ignoring it would widen the access
	nameClientID   = "clientId"
	nameClientName = "clientName"
	nameClientMeta = "clientMeta" // undocumented, of any form: ignored, never refused
	nameUserID     = "userId"     // README and old clients; used if clientId is absent
	nameUserName   = "userName"
	nameDuration   = "duration"
)

// A clientName without a clientId is dropped: it names no client.

// An empty text counts as absent only where that cannot widen the access: clientId, clientName, duration. An empty
// role is a role that no key has. An empty list of roles, which only JSON can send, is refused. An empty list or
// object of conditions means no conditions, as in the recorded requests.

// A role that the key lacks yields no token, even beside roles that it has. The document says "no access will be
// granted", and a token with less than was asked for would hide the mistake. Two roles with the same name are
// refused, too.

// The documents name the error words but no status. noAccess stands for every invalid credential, so that a reply
// does not reveal whether a key exists, ended or was revoked. "expired" is not sent. A malformed request gets the
// same word, which every client knows, and the reason in data.err.
const (
	msgNoAccess         = "noAccess"
	msgInvalidCondition = "invalidCondition"
	msgSetValue         = "setValue"
	msgUnknownColumn    = "unknownColumn"
	// Not in the documents, but named in their manner:
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
