package datocms

import (
	"time"

	"github.com/latchkey-go/latchkey"
)

// The product's documents leave these questions open. Each answer is a constant or function here, and an option where
// another answer is plausible. docs/rulings.md lists them with their reasons.

// Origin marks tokens and roles made here. This surface lists and changes only those; all others are not found.
const Origin = "datocms"

// DefaultRate is the documented limit of the management API: 60 requests per 3 seconds. It is counted per token, and
// per client address for requests with an invalid token.
var DefaultRate = latchkey.Rate{Count: 60, Per: 3 * time.Second, Burst: 59}

// DefaultDeliveryRate is the documented limit of the delivery API: 40 requests per second and token. The second
// documented limit, 1,000 per minute, is not applied.
var DefaultDeliveryRate = latchkey.Rate{Count: 40, Per: time.Second, Burst: 39}

// Bounds of one request. The documents name none.
const (
	maxBody     = 256 << 10
	maxDepth    = 16
	maxName     = 256 // bytes of a name
	maxID       = 64  // bytes of an id in an entry: a resource holds four of them, escaped
	maxEntries  = 1000
	maxParents  = 100
	maxMessages = 20  // of one INVALID_FORMAT
	maxTries    = 100 // of names for a duplicate
)

// Names of meters, for latchkey.UsageQuery.
const (
	MeterCMA = "cma" // the endpoint is like "PUT /access_tokens/:id"
	MeterCDA = "cda" // the endpoint is "published" or "drafts"
)

// mayCall reports whether tokens of a kind may call. Publishable tokens are in web pages, and minted ones are
// narrower on purpose, so neither may manage tokens, whatever their rules allow.
func mayCall(kind latchkey.Kind) bool {
	return kind == latchkey.KindAPIKey || kind == latchkey.KindSession || kind == latchkey.KindSecret
}

// defaultEnvironments is the environments_access of a new role that does not set it.
const defaultEnvironments = "primary_only"

// unknownTime stands for when an environment was created and last changed, which only the host knows. Clients parse a
// date.
const unknownTime = "1970-01-01T00:00:00.000Z"

// duplicateSuffix ends a duplicate's name, with the first free number.
const duplicateSuffix = " (duplicate #%d)"

// Codes of refusals. Those whose status is not documented are marked.
const (
	codeAuthorization     = "INVALID_AUTHORIZATION_HEADER"    // 401
	codePermissions       = "INSUFFICIENT_PERMISSIONS"        // 401 (not documented)
	codeNotFound          = "NOT_FOUND"                       // 404
	codeEndpoint          = "INVALID_ENDPOINT"                // 404 (not documented), also for a wrong method
	codeEnvironment       = "INVALID_ENVIRONMENT"             // 404
	codeAccept            = "INVALID_ACCEPT_HEADER"           // 406
	codeContentType       = "INVALID_CONTENT_TYPE_HEADER"     // 415
	codeJSON              = "INVALID_JSON_BODY"               // 415 (not documented); 413 for a body that is too long
	codeVersion           = "INVALID_API_VERSION"             // 422
	codeFormat            = "INVALID_FORMAT"                  // 422
	codeField             = "INVALID_FIELD"                   // 422
	codeNonEditable       = "NON_EDITABLE_ACCESS_TOKEN"       // 401 (not documented)
	codeSelf              = "CANNOT_DESTROY_CURRENT_USER"     // 422 (not documented)
	codeDestinationNeeded = "DESTINATION_USER_REQUIRED"       // 422 (not documented)
	codeDestinationType   = "INVALID_DESTINATION_TYPE"        // 422 (not documented)
	codeDestination       = "INVALID_DESTINATION_USER"        // 422 (not documented)
	codeBound             = "REQUIRED_BY_ASSOCIATION"         // 422 (not documented): the role is bound, or inherited from
	codeConcurrent        = "CONCURRENT_ROLE_UPDATE"          // 422, transient: clients try again
	codePlan              = "PLAN_UPGRADE_REQUIRED"           // 402 (not documented): no credits, or too many live tokens
	codeRate              = "RATE_LIMIT_EXCEEDED"             // 429
	codeUnavailable       = "SERVICE_UNAVAILABLE"             // 503, transient
	codeException         = "EXCEPTION"                       // 500
	codeDrafts            = "INVALID_X_INCLUDE_DRAFTS_HEADER" // 400 (not documented)
)

// Codes within INVALID_FIELD.
const (
	fieldRequired = "VALIDATION_REQUIRED"
	fieldUnique   = "VALIDATION_UNIQUENESS"
	fieldLength   = "VALIDATION_LENGTH"
	fieldInvalid  = "VALIDATION_INVALID"
)

const docURL = "https://www.datocms.com/docs/content-management-api/errors#"
