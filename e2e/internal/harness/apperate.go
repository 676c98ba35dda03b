package harness

// What the product says when it refuses a request.
const (
	IEXNoKey      = "An API key is required to access this data and no key was provided"
	IEXInvalidKey = "The API key provided is not valid."
	IEXSecretOnly = "The secret key is required to access to requested endpoint."
	IEXOverLimit  = "You have exceeded your allotted message quota. Please enable pay-as-you-go to regain access"
	IEXReferer    = "The referer in the request header is not allowed. " +
		"Please check the associated domain(s) for this API key"
)
