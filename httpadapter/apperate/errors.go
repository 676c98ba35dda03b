package apperate

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Fault is the reason of a refusal.
type Fault string

// The faults, in the order in which they are checked: the first that applies is the answer.
const (
	NoKey               Fault = "no key"                // no token in the query or the JSON body
	BadRequest          Fault = "bad request"           // two tokens, or a malformed or ambiguous request
	TestInProduction    Fault = "test in production"    // a Tsk_ or Tpk_ token, and Options.Test is off
	ProductionInTest    Fault = "production in test"    // the reverse
	InvalidKey          Fault = "invalid key"           // unknown, ended, revoked, or of an unknown kind
	DisabledKey         Fault = "disabled key"          //
	Inactive            Fault = "inactive"              // the owner is disabled
	SignatureRequired   Fault = "signature required"    //
	SignatureInvalid    Fault = "signature invalid"     // wrong, too old, in the future, or repeated
	RefererDenied       Fault = "referer denied"        //
	AddressDenied       Fault = "address denied"        //
	RateLimited         Fault = "rate limited"          // of the token; of the address, before all other faults
	SecretRequired      Fault = "secret required"       // a publishable token where a secret one is required
	Denied              Fault = "denied"                // the token lacks a right
	PremiumDenied       Fault = "premium denied"        // the token lacks a right to premium data
	OverLimit           Fault = "over limit"            // the credits of the token or the owner are spent
	SignatureRestricted Fault = "signature restricted"  // account/signed, and the manager has no Keyring
	NotFound            Fault = "not found"             //
	UnknownSymbol       Fault = "unknown symbol"        // a host's handler returned [ErrUnknownSymbol]
	TooLarge            Fault = "too large"             // the body
	Unavailable         Fault = "unavailable"           // the store does not answer
	Internal            Fault = "internal server error" // any other error
)

// Reply is the reply to a fault. Body is sent as text/html, so it must never hold anything a caller wrote.
type Reply struct {
	Status int
	Body   string
}

// replies are the product's texts where a source has them. "ours" marks the others.
var replies = map[Fault]Reply{
	NoKey:      {401, "An API key is required to access this data and no key was provided"},
	BadRequest: {400, "You have supplied invalid values for this request"},
	TestInProduction: {403,
		"Test tokens may only be used in the sandbox environment. Please use https://sandbox.iexapis.com"},
	ProductionInTest: {403,
		"Production tokens cannot be used in the sandbox environment. Please use https://cloud.iexapis.com"},
	InvalidKey:          {403, "The API key provided is not valid."},
	DisabledKey:         {403, "The provided API token has been disabled"}, // its description; the body is ours
	Inactive:            {403, "Your account is currently inactive."},      // likewise
	SignatureRequired:   {401, "Hashed authorization is required"},         // ours, after the next
	SignatureInvalid:    {403, "Hashed authorization is invalid"},
	SignatureRestricted: {401, "Hashed authorization is restricted"}, // ours
	RefererDenied: {401,
		"The referer in the request header is not allowed. Please check the associated domain(s) for this API key"},
	AddressDenied: {403, "Forbidden"},         // ours: the product had no such list
	RateLimited:   {429, "Too many requests"}, // ours
	// A description, with its original spelling.
	SecretRequired: {401, "The secret key is required to access to requested endpoint."},
	Denied:         {403, "Forbidden"}, // ours
	PremiumDenied:  {403, "Forbidden"}, // ours; 451 is as plausible
	OverLimit:      {402, "You have exceeded your allotted message quota. Please enable pay-as-you-go to regain access"},
	NotFound:       {404, "Not Found"},
	UnknownSymbol:  {404, "Unknown symbol"},
	TooLarge:       {413, "Request Entity Too Large"}, // ours, as are the next two
	Unavailable:    {503, "Service Unavailable"},
	Internal:       {500, "Internal Server Error"},
}

// ErrUnknownSymbol is for handlers: [WriteError] answers it as the product answers an unknown symbol. It wraps
// [latchkey.ErrNotFound].
var ErrUnknownSymbol = fmt.Errorf("apperate: unknown symbol: %w", latchkey.ErrNotFound)

// faultError is a refusal that latchkey and httpadapter have no error for.
type faultError struct {
	fault Fault
	cause error
}

func (e *faultError) Error() string { return "apperate: " + string(e.fault) }
func (e *faultError) Unwrap() error { return e.cause }

func fault(f Fault, cause error) error { return &faultError{f, cause} }

// faultOf maps an error to its fault. What [httpadapter.ProblemOf] takes for a failure is never a refusal.
func faultOf(err error) Fault {
	p := httpadapter.ProblemOf(err)
	if p.Status == http.StatusServiceUnavailable {
		return Unavailable
	}
	if known, ok := errors.AsType[*faultError](err); ok {
		return known.fault
	}
	for _, is := range []struct {
		err   error
		fault Fault
	}{
		{ErrUnknownSymbol, UnknownSymbol},
		{httpadapter.ErrNoCredential, NoKey},
		{latchkey.ErrDisabled, DisabledKey},
		{latchkey.ErrOwnerDisabled, Inactive},
		{latchkey.ErrSignatureRequired, SignatureRequired},
		{latchkey.ErrSignature, SignatureInvalid},
		{latchkey.ErrReplay, SignatureInvalid},
		{latchkey.ErrReferer, RefererDenied},
		{latchkey.ErrAddress, AddressDenied},
		{latchkey.ErrInvalidToken, InvalidKey}, // ErrTestMode, too: the prefix was checked before, where there is one
		{latchkey.ErrNeedsKeyring, SignatureRestricted},
		{latchkey.ErrOverLimit, OverLimit}, // also of a quota that begins anew: the product has no other answer
	} {
		if errors.Is(err, is.err) {
			return is.fault
		}
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnsupportedMediaType:
		return BadRequest
	case http.StatusPaymentRequired:
		return OverLimit
	case http.StatusForbidden:
		return Denied
	case http.StatusNotFound:
		return NotFound
	case http.StatusRequestEntityTooLarge:
		return TooLarge
	case http.StatusTooManyRequests:
		return RateLimited
	}
	return Internal
}

// WriteError writes the reply for err as the product words it: a status and one of a few fixed texts. Handlers behind
// the gateway use it for their own refusals, and [latchkey.Options.Observer] receives them. An unknown error, and
// nil, is a 500 without details.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if r != nil {
		httpadapter.Refused(r.Context(), err)
	}
	writeFault(w, err, replies[faultOf(err)])
}

func writeFault(w http.ResponseWriter, err error, reply Reply) {
	h := w.Header()
	commonHeaders(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	if s := httpadapter.ProblemOf(err).RetryAfterHeader(); s != "" && (reply.Status == 429 || reply.Status == 503) {
		h.Set("Retry-After", s)
	}
	w.WriteHeader(reply.Status)
	_, _ = w.Write([]byte(reply.Body))
}

// commonHeaders sets the headers of every reply. Pages of any site may read it. It must not be stored, as the URL
// holds a token. Browsers must not guess its type.
func commonHeaders(h http.Header) {
	httpadapter.ForbidStoring(h)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept, Request-Source")
	h.Set("Access-Control-Expose-Headers", exposeHeaders)
}
