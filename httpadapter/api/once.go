package api

import (
	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

const headerOnce = "Idempotency-Key"

const maxOnceKey = 255

// readIdempotencyKey checks the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07). The draft writes
// the key as a string of RFC 9651, in quotes; without quotes it is taken too, as most clients send it.
func (c *call) readIdempotencyKey() error {
	values := c.r.Header[headerOnce]
	switch {
	case len(values) == 0:
		return nil
	case !c.op.once:
		return httpadapter.BadRequest("this operation takes no Idempotency-Key")
	case len(values) > 1:
		return httpadapter.BadRequest("a header given twice")
	}
	key, ok := onceKey(values[0])
	if !ok {
		return httpadapter.BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters, without quotes and " +
			"backslashes, best a random UUID")
	}
	c.once = key
	return nil
}

// onceKey reads the value of the header.
func onceKey(value string) (key string, ok bool) {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	for _, b := range []byte(value) {
		if b <= ' ' || b > '~' || b == '"' || b == '\\' {
			return "", false
		}
	}
	return value, value != "" && len(value) <= maxOnceKey
}

// request returns the request as latchkey remembers it, and false if the client sent no key.
func (c *call) request() (latchkey.Request, bool) {
	if c.once == "" {
		return latchkey.Request{}, false
	}
	content := c.op.id + "\x00" + c.r.URL.EscapedPath() + "\x00" + string(c.body)
	return latchkey.Request{Key: c.once, Content: []byte(content), Until: c.opts.Clock().Add(c.opts.Remember)}, true
}

// carryOut returns the account for the one call that carries out the request.
func (c *call) carryOut() latchkey.Account {
	if r, ok := c.request(); ok {
		return c.account.ForRequest(r)
	}
	return c.account
}
