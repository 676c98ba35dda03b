// Package latchkeyfiber guards routes of fiber v3 by the middleware of an [httpadapter.Adapter].
package latchkeyfiber

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/integrations/frameworks/internal/wildcards"
)

// Guard converts middleware of an Adapter to middleware of fiber v3, for a route: app.Get("/data/:id", Guard(m), h).
// Handlers get the caller by httpadapter.AccessFrom(c.Context()). The name of the wildcard "*" is "*".
//
// It differs from fiber's adaptor.HTTPMiddleware in four ways. The caller is in the context of the handler. The handler
// runs within the middleware, as RequireRows needs it. A repeated header stays repeated, so that two credentials are
// refused. And it copies the strings of the request, because fasthttp reuses their memory.
//
// A handler behind RequireRows may return an error before it has looked at its rows, if it has written no body.
func Guard(m func(http.Handler) http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := request(c)
		if err != nil {
			return err
		}
		said := &reply{header: headerOf(c)}
		var before fasthttp.ResponseHeader
		passed, status := false, 0
		m(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed = true
			c.SetContext(r.Context())
			said.sendHeader(c)
			c.Response().Header.CopyTo(&before)
			err = next(c)
			switch {
			case err != nil && !hasBody(c):
				httpadapter.RowsNotNeeded(r.Context())
				return
			case err != nil:
				status = http.StatusOK // the program's error handler may leave the body as it is: it is an answer
			default:
				status = c.Response().StatusCode()
			}
			w.WriteHeader(status) // fiber keeps the answer until the request is over
		})).ServeHTTP(said, r)
		if passed && said.status == status {
			return err
		}
		if passed { // the middleware replaced the answer: what the handler set goes, as does its body below
			before.CopyTo(&c.Response().Header)
		}
		said.WriteHeader(http.StatusOK) // unless it said another
		said.sendHeader(c)
		return c.Status(said.status).Send(said.body.Bytes())
	}
}

// next calls the handler. What it wrote before it panicked is dropped: nobody has seen it yet, and middleware that
// recovers may send it.
func next(c fiber.Ctx) error {
	returned := false
	defer func() {
		if !returned {
			c.Response().ResetBody()
		}
	}()
	err := c.Next()
	returned = true
	return err
}

func hasBody(c fiber.Ctx) bool {
	return c.Response().IsBodyStream() || len(c.Response().Body()) > 0
}

// reply is what middleware answers in place of a handler of fiber.
type reply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header { return r.header }

func (r *reply) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
}

func (r *reply) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// headerOf returns the headers that layers around have set, because middleware adds to some of them, and leaves others
// as they are. Those that fasthttp keeps by itself are not among them.
func headerOf(c fiber.Ctx) http.Header {
	h := http.Header{}
	for k, v := range c.Response().Header.All() {
		switch name := http.CanonicalHeaderKey(string(k)); name {
		case "Connection", "Content-Length", "Content-Type", "Date", "Server", "Set-Cookie", "Trailer", "Transfer-Encoding":
		default:
			h[name] = append(h[name], string(v))
		}
	}
	return h
}

func (r *reply) sendHeader(c fiber.Ctx) {
	for name, values := range r.header {
		c.Response().Header.Del(name)
		for _, v := range values {
			c.Response().Header.Add(name, v)
		}
	}
}

// Handler converts a handler of net/http, such as that of the console, to one of fiber v3. See [Guard].
func Handler(h http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := request(c)
		if err != nil {
			return err
		}
		fasthttpadaptor.NewFastHTTPHandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h.ServeHTTP(w, r)
		})(c.RequestCtx())
		return nil
	}
}

// request returns the request for net/http. It shares no memory with fasthttp's.
func request(c fiber.Ctx) (*http.Request, error) {
	r := new(http.Request)
	if err := fasthttpadaptor.ConvertRequest(c.RequestCtx(), r, true); err != nil {
		return nil, fiber.ErrBadRequest
	}
	body := bytes.Clone(c.Body())
	fresh, err := http.NewRequestWithContext(c.Context(), strings.Clone(r.Method), strings.Clone(r.RequestURI), nil)
	if err != nil {
		return nil, fiber.ErrBadRequest
	}
	fresh.RequestURI, fresh.Host = strings.Clone(r.RequestURI), strings.Clone(r.Host)
	fresh.RemoteAddr, fresh.TLS = r.RemoteAddr, r.TLS
	fresh.Body, fresh.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	for k, v := range c.Request().Header.All() {
		if name := http.CanonicalHeaderKey(string(k)); name != "Host" && name != "Transfer-Encoding" {
			fresh.Header.Add(name, string(v))
		}
	}
	restoreCookies(&c.Request().Header, fresh.Header)
	var names, values []string
	for _, name := range c.Route().Params {
		value := strings.Clone(c.Params(name))
		if name == "*1" {
			name = "*"
		}
		names, values = append(names, name), append(values, value)
	}
	wildcards.Fill(fresh, c.Route().Path, names, values)
	return fresh, nil
}

// restoreCookies sets the Cookie lines as they were sent. Fasthttp keeps pairs without their quotes and spaces, so that
// two readers could differ unseen. What the program has set in their place, such as decrypted ones, stays.
func restoreCookies(sent *fasthttp.RequestHeader, h http.Header) {
	var lines []string
	var parsed fasthttp.RequestHeader
	for k, v := range sent.AllInOrder() {
		if strings.EqualFold(string(k), fasthttp.HeaderCookie) {
			lines = append(lines, string(v))
			parsed.AddBytesV(fasthttp.HeaderCookie, v)
		}
	}
	if lines != nil && bytes.Equal(parsed.Peek(fasthttp.HeaderCookie), sent.Peek(fasthttp.HeaderCookie)) {
		h["Cookie"] = lines
	}
}

// WriteError answers with the reply of auth for an error of latchkey: see [httpadapter.Adapter.WriteError].
func WriteError(c fiber.Ctx, auth *httpadapter.Adapter, err error) error {
	r, bad := request(c)
	if bad != nil {
		return bad
	}
	said := &reply{header: headerOf(c)}
	auth.WriteError(said, r, err)
	said.sendHeader(c)
	return c.Status(said.status).Send(said.body.Bytes())
}
