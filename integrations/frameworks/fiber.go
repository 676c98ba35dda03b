package frameworks

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

// Fiber converts middleware of an Adapter to middleware of fiber v3, for a route: app.Get("/data/:id", Fiber(m), h).
// Handlers get the caller by httpadapter.AccessFrom(c.Context()). The name of the wildcard "*" is "*".
//
// It differs from fiber's adaptor.HTTPMiddleware in three ways. The caller is in the context of the handler. A repeated
// header stays repeated, so that two credentials are refused. And it copies the strings of the request, because
// fasthttp reuses their memory.
func Fiber(m Middleware) fiber.Handler {
	return func(c fiber.Ctx) error {
		var passed context.Context
		err := serve(c, m(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { passed = r.Context() })))
		if err != nil || passed == nil {
			return err
		}
		c.SetContext(passed)
		return c.Next()
	}
}

// FiberHandler converts a handler of net/http, such as that of the console, to one of fiber v3. See [Fiber].
func FiberHandler(h http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error { return serve(c, h) }
}

func serve(c fiber.Ctx, h http.Handler) error {
	r := new(http.Request)
	if err := fasthttpadaptor.ConvertRequest(c.RequestCtx(), r, true); err != nil {
		return fiber.ErrBadRequest
	}
	body := bytes.Clone(c.Body())
	fresh, err := http.NewRequestWithContext(c.Context(), strings.Clone(r.Method), strings.Clone(r.RequestURI), nil)
	if err != nil {
		return fiber.ErrBadRequest
	}
	fresh.RequestURI, fresh.Host = strings.Clone(r.RequestURI), strings.Clone(r.Host)
	fresh.RemoteAddr, fresh.TLS = r.RemoteAddr, r.TLS
	fresh.Body, fresh.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	for k, v := range c.Request().Header.All() {
		if name := http.CanonicalHeaderKey(string(k)); name != "Host" && name != "Transfer-Encoding" {
			fresh.Header.Add(name, string(v))
		}
	}
	var names, values []string
	for _, name := range c.Route().Params {
		value := strings.Clone(c.Params(name))
		if name == "*1" {
			name = "*"
		}
		names, values = append(names, name), append(values, value)
	}
	fill(fresh, c.Route().Path, names, values)
	fasthttpadaptor.NewFastHTTPHandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.ServeHTTP(w, fresh)
	})(c.RequestCtx())
	return nil
}
