package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// operation is one line of the table that the routes and the document are made from.
type operation struct {
	id, method, path string // the path has {name} segments
	tag, summary     string
	text             string // more about it; may be ""

	query    []parameter
	in       reflect.Type // of the body; nil: there is none
	optional bool         // the body may be left out
	merge    bool         // the body is a JSON Merge Patch (RFC 7396) of in
	out      reflect.Type // of the reply; nil: there is none, and the status is 204
	// status is that of the reply: 200, 201 or 204.
	status int
	media  string // of the reply; "": application/json

	versioned bool  // the reply has an ETag
	ifMatch   bool  // it changes a record that has a version
	once      bool  // it takes an Idempotency-Key
	secret    bool  // the reply holds a secret
	absent    bool  // a record that does not exist is no error
	refuses   []int // statuses that others of its kind do not have

	serve func(*call) error
}

// none stands for no body.
type none struct{}

// call is one request.
type call struct {
	*surface
	op      *operation
	w       http.ResponseWriter
	r       *http.Request
	access  latchkey.Access
	account latchkey.Account // As the caller
	path    map[string]string
	query   query
	body    []byte
	once    string // the Idempotency-Key; "": none
}

func (c *call) ctx() context.Context { return c.r.Context() }

// id returns the wildcard {id} of the path.
func (c *call) id() string { return c.path["id"] }

// handle completes an operation with the function that carries it out. In is the body, Out the reply; none stands for
// neither.
func handle[In, Out any](op operation, do func(*call, *In) (Out, error)) *operation {
	noIn, noOut := reflect.TypeFor[none]() == reflect.TypeFor[In](), reflect.TypeFor[none]() == reflect.TypeFor[Out]()
	if !noIn {
		op.in = reflect.TypeFor[In]()
	}
	if !noOut {
		op.out = reflect.TypeFor[Out]()
	}
	if op.status == 0 {
		op.status = http.StatusOK
		if noOut {
			op.status = http.StatusNoContent
		}
	}
	op.serve = func(c *call) error {
		var in In
		if !noIn && !op.merge {
			if err := c.readBody(&in); err != nil {
				return err
			}
		}
		out, err := do(c, &in)
		if err != nil {
			return err
		}
		if noOut {
			c.w.WriteHeader(op.status)
			return nil
		}
		return c.reply(out)
	}
	return &op
}

// run reads what all operations have in common, and carries the operation out.
func (c *call) run() error {
	var err error
	if c.query, err = readQuery(c.r.URL.RawQuery, c.op.query, c.ignore); err != nil {
		return err
	}
	if c.op.in == nil {
		if err := refuseBody(c.r); err != nil {
			return err
		}
	}
	if c.op.ifMatch {
		if err := c.readIfMatch(); err != nil {
			return err
		}
	} else if c.op.method != http.MethodGet && len(c.r.Header["If-Match"]) != 0 {
		return httpadapter.BadRequest("this operation takes no If-Match")
	}
	if err := c.readIdempotencyKey(); err != nil {
		return err
	}
	return c.op.serve(c)
}

// reply writes a reply of JSON. Nothing is written before it is known whole.
func (c *call) reply(out any) error {
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	h := c.w.Header()
	if v, ok := out.(versioned); ok && c.op.versioned {
		tag, err := etagOf(v)
		if err != nil {
			return err
		}
		h.Set("ETag", tag)
		if c.op.method == http.MethodGet && c.notModified(tag) {
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	body = append(body, '\n')
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(c.op.status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // an error means that the client is gone
	}
	return nil
}
