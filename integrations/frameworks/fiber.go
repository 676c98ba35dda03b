package frameworks

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/valyala/fasthttp/fasthttpadaptor"

	"github.com/latchkey-go/latchkey/httpadapter"
)

// Fiber converts middleware of an Adapter to middleware of fiber v3, for a route: app.Get("/data/:id", Fiber(m), h).
// Handlers get the caller by httpadapter.AccessFrom(c.Context()). The name of the wildcard "*" is "*".
//
// It differs from fiber's adaptor.HTTPMiddleware in four ways. The caller is in the context of the handler. The handler
// runs within the middleware, as RequireRows needs it. A repeated header stays repeated, so that two credentials are
// refused. And it copies the strings of the request, because fasthttp reuses their memory.
//
// A handler behind RequireRows may return an error before it has looked at its rows.
func Fiber(m Middleware) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := request(c)
		if err != nil {
			return err
		}
		said := &reply{header: http.Header{}}
		passed, status := false, 0
		m(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed = true
			c.SetContext(r.Context())
			said.sendHeader(c)
			if err = c.Next(); err != nil {
				httpadapter.RowsNotNeeded(r.Context())
				return
			}
			status = c.Response().StatusCode()
			w.WriteHeader(status) // fiber keeps the answer until the request is over
		})).ServeHTTP(said, r)
		if passed && (err != nil || said.status == status) {
			return err
		}
		if passed { // the middleware replaced the answer
			c.Response().ResetBody()
			for _, name := range []string{"Content-Disposition", "Content-Encoding", "Content-Range", "Etag", "Last-Modified",
				"Location"} {
				c.Response().Header.Del(name)
			}
		}
		said.WriteHeader(http.StatusOK) // unless it said another
		said.sendHeader(c)
		return c.Status(said.status).Send(said.body.Bytes())
	}
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

func (r *reply) sendHeader(c fiber.Ctx) {
	for name, values := range r.header {
		c.Response().Header.Del(name)
		for _, v := range values {
			c.Response().Header.Add(name, v)
		}
	}
}

// FiberHandler converts a handler of net/http, such as that of the console, to one of fiber v3. See [Fiber].
func FiberHandler(h http.Handler) fiber.Handler {
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
	var names, values []string
	for _, name := range c.Route().Params {
		value := strings.Clone(c.Params(name))
		if name == "*1" {
			name = "*"
		}
		names, values = append(names, name), append(values, value)
	}
	fill(fresh, c.Route().Path, names, values)
	return fresh, nil
}
