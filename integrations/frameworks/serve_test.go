package frameworks

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"github.com/latchkey-go/latchkey/httpadapter"
)

// reading holds what a handler may use as the value of the wildcard.
type reading struct {
	value string // what the router gives
	path  string // URL.Path
}

// answer returns the reply of the handlers here: every value that programs are known to use, the value of the router
// first.
func (r reading) answer(prefix string) string {
	readings := []string{r.value}
	if s, err := url.PathUnescape(r.value); err == nil {
		readings = append(readings, s) // as chi and echo want their values treated
	}
	tail := strings.TrimPrefix(r.path, prefix)
	readings = append(readings, strings.TrimPrefix(path.Clean("/"+tail), "/")) // as http.FileServer does
	text, err := json.Marshal(readings)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// guards are the middlewares for /data/<id>, for /file/<rest…>, and for /lost/<id>, with the name of a missing
// wildcard.
type guards struct{ data, file, lost Middleware }

// router is a router, or a framework, in one configuration.
type router struct {
	name    string
	hook    func(*http.Request, string) (string, bool)
	rest    string // the name of the catch-all
	escaped bool   // values are escaped even if the path is encoded as Go does
	raw     bool   // values are escaped if the path is encoded differently
	decodes string // decodes "+" as a space: "always", or if the path is encoded differently ("raw"); "": never
	start   func(t *testing.T, g guards) (addr string)
}

func listen(t *testing.T, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func listenFiber(t *testing.T, app *fiber.App) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done, ready := make(chan error, 1), make(chan struct{})
	app.Hooks().OnListen(func(fiber.ListenData) error { close(ready); return nil })
	go func() { done <- app.Listener(ln, fiber.ListenConfig{DisableStartupMessage: true}) }()
	t.Cleanup(func() {
		require.NoError(t, app.Shutdown())
		_ = ln.Close() // if it was too early for Shutdown
		<-done
	})
	<-ready
	return ln.Addr().String()
}

func say(w http.ResponseWriter, r *http.Request, prefix, value string) {
	_, _ = io.WriteString(w, reading{value, r.URL.Path}.answer(prefix))
}

func startChi(change func(chi.Router)) func(*testing.T, guards) string {
	return func(t *testing.T, g guards) string {
		c := chi.NewRouter()
		change(c)
		c.With(g.data).Get("/data/{id}", func(w http.ResponseWriter, r *http.Request) {
			say(w, r, "/data/", chi.URLParam(r,
				"id"))
		})
		c.With(g.file).Get("/file/*", func(w http.ResponseWriter, r *http.Request) {
			say(w, r, "/file/", chi.URLParam(r,
				"*"))
		})
		c.With(g.lost).Get("/lost/{id}", func(w http.ResponseWriter, r *http.Request) {})
		return listen(t, c)
	}
}

func startGorilla(encoded bool) func(*testing.T, guards) string {
	return func(t *testing.T, g guards) string {
		m := mux.NewRouter()
		if encoded {
			m.UseEncodedPath()
		}
		m.Handle("/data/{id}", g.data(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			say(w, r, "/data/",
				mux.Vars(r)["id"])
		})))
		m.Handle("/file/{rest:.*}", g.file(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			say(w, r,
				"/file/", mux.Vars(r)["rest"])
		})))
		m.Handle("/lost/{id}", g.lost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
		return listen(t, m)
	}
}

func startGin(change func(*gin.Engine)) func(*testing.T, guards) string {
	return func(t *testing.T, g guards) string {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		change(e)
		e.GET("/data/:id", Gin(g.data), func(c *gin.Context) { say(c.Writer, c.Request, "/data/", c.Param("id")) })
		e.GET("/file/*rest", Gin(g.file), func(c *gin.Context) {
			say(c.Writer, c.Request, "/file/", strings.TrimPrefix(c.Param("rest"), "/"))
		})
		e.GET("/lost/:id", Gin(g.lost), func(c *gin.Context) {})
		return listen(t, e)
	}
}

func startEcho5(config echo5.RouterConfig, wrap func(Middleware) echo5.MiddlewareFunc) func(*testing.T, guards) string {
	return func(t *testing.T, g guards) string {
		e := echo5.NewWithConfig(echo5.Config{Router: echo5.NewRouter(config)})
		e.GET("/data/:id", func(c *echo5.Context) error {
			say(c.Response(), c.Request(), "/data/",
				c.Param("id"))
			return nil
		}, wrap(g.data))
		e.GET("/file/*", func(c *echo5.Context) error { say(c.Response(), c.Request(), "/file/", c.Param("*")); return nil },
			wrap(g.file))
		e.GET("/lost/:id", func(c *echo5.Context) error { return nil }, wrap(g.lost))
		return listen(t, e)
	}
}

func startFiber(config fiber.Config) func(*testing.T, guards) string {
	return func(t *testing.T, g guards) string {
		app := fiber.New(config)
		tell := func(c fiber.Ctx, prefix, value string) error {
			u, err := url.ParseRequestURI(c.OriginalURL())
			if err != nil {
				return err
			}
			return c.SendString(reading{value, u.Path}.answer(prefix))
		}
		app.Get("/data/:id", Fiber(g.data), func(c fiber.Ctx) error {
			if _, ok := httpadapter.AccessFrom(c.Context()); !ok {
				return fiber.ErrTeapot
			}
			return tell(c, "/data/", c.Params("id"))
		})
		app.Get("/file/*", Fiber(g.file), func(c fiber.Ctx) error { return tell(c, "/file/", c.Params("*")) })
		app.Get("/lost/:id", Fiber(g.lost), func(c fiber.Ctx) error { return nil })
		return listenFiber(t, app)
	}
}

type fiberParams struct{}

// startFiberAdaptor starts fiber with the middleware of its own adaptor, as its documentation shows, and a hook.
func startFiberAdaptor(t *testing.T, g guards) string {
	app := fiber.New(fiber.Config{UnescapePath: true})
	keep := func(c fiber.Ctx) error {
		values := map[string]string{}
		for _, name := range c.Route().Params {
			values[strings.TrimSuffix(name, "1")] = c.Params(name)
		}
		c.RequestCtx().SetUserValue(fiberParams{}, values)
		return c.Next()
	}
	tell := func(c fiber.Ctx, prefix, value string) error {
		u, err := url.ParseRequestURI(c.OriginalURL())
		if err != nil {
			return err
		}
		return c.SendString(reading{value, u.Path}.answer(prefix))
	}
	app.Get("/data/:id", keep, adaptor.HTTPMiddleware(g.data), func(c fiber.Ctx) error {
		return tell(c, "/data/",
			c.Params("id"))
	})
	app.Get("/file/*", keep, adaptor.HTTPMiddleware(g.file), func(c fiber.Ctx) error {
		return tell(c, "/file/",
			c.Params("*"))
	})
	app.Get("/lost/:id", keep, adaptor.HTTPMiddleware(g.lost), func(c fiber.Ctx) error { return nil })
	return listenFiber(t, app)
}

func fiberAdaptorValue(r *http.Request, name string) (string, bool) {
	ctx, _ := r.Context().(*fasthttp.RequestCtx)
	if ctx == nil {
		return "", false
	}
	values, _ := ctx.UserValue(fiberParams{}).(map[string]string)
	value, ok := values[name]
	return value, ok
}

var routers = []router{
	{name: "ServeMux", rest: "rest", start: func(t *testing.T, g guards) string {
		m := http.NewServeMux()
		m.Handle("GET /data/{id}", g.data(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			say(w, r, "/data/",
				r.PathValue("id"))
		})))
		m.Handle("GET /file/{rest...}", g.file(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			say(w, r,
				"/file/", r.PathValue("rest"))
		})))
		m.Handle("GET /lost/{id}", g.lost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
		return listen(t, m)
	}},
	{name: "chi", rest: "*", raw: true, start: startChi(func(chi.Router) {})},
	{name: "chi, CleanPath", rest: "*", raw: true, start: startChi(func(c chi.Router) { c.Use(chimiddleware.CleanPath) })},
	{name: "chi, StripSlashes", rest: "*", raw: true,
		start: startChi(func(c chi.Router) { c.Use(chimiddleware.StripSlashes) })},
	{name: "chi, Route and Use", rest: "*", raw: true, start: func(t *testing.T, g guards) string {
		c := chi.NewRouter()
		c.Route("/data/{id}", func(c chi.Router) {
			c.Use(g.data)
			c.Get("/", func(w http.ResponseWriter, r *http.Request) { say(w, r, "/data/", chi.URLParam(r, "id")) })
		})
		c.Group(func(c chi.Router) {
			c.Use(g.file)
			c.Get("/file/*", func(w http.ResponseWriter, r *http.Request) { say(w, r, "/file/", chi.URLParam(r, "*")) })
		})
		c.Route("/lost/{id}", func(c chi.Router) {
			c.Use(g.lost)
			c.Get("/", func(w http.ResponseWriter, r *http.Request) {})
		})
		return listen(t, c)
	}},
	{name: "chi, values unescaped", rest: "*", hook: ChiPathValue, start: func(t *testing.T, g guards) string {
		c := chi.NewRouter()
		value := func(r *http.Request, name string) string { s, _ := ChiPathValue(r, name); return s }
		c.With(g.data).Get("/data/{id}", func(w http.ResponseWriter, r *http.Request) { say(w, r, "/data/", value(r, "id")) })
		c.With(g.file).Get("/file/*", func(w http.ResponseWriter, r *http.Request) { say(w, r, "/file/", value(r, "*")) })
		c.With(g.lost).Get("/lost/{id}", func(w http.ResponseWriter, r *http.Request) {})
		return listen(t, c)
	}},
	{name: "gorilla/mux", rest: "rest", hook: GorillaPathValue, start: startGorilla(false)},
	{name: "gorilla/mux, UseEncodedPath", rest: "rest", hook: GorillaPathValue, escaped: true, raw: true,
		start: startGorilla(true)},
	{name: "httprouter", rest: "rest", hook: HTTPRouterPathValue, start: func(t *testing.T, g guards) string {
		m := httprouter.New()
		value := func(r *http.Request, name string) string {
			return httprouter.ParamsFromContext(r.Context()).ByName(name)
		}
		m.Handler("GET", "/data/:id", g.data(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			say(w, r,
				"/data/", value(r, "id"))
		})))
		m.Handler("GET", "/file/*rest", g.file(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			say(w, r, "/file/", strings.TrimPrefix(value(r, "rest"), "/"))
		})))
		m.Handler("GET", "/lost/:id", g.lost(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
		return listen(t, m)
	}},
	{name: "gin", rest: "rest", start: startGin(func(*gin.Engine) {})},
	{name: "gin, RemoveExtraSlash, RedirectFixedPath", rest: "rest", start: startGin(func(e *gin.Engine) {
		e.RemoveExtraSlash, e.RedirectFixedPath = true, true
	})},
	{name: "gin, UseRawPath", rest: "rest", decodes: "raw", start: startGin(func(e *gin.Engine) { e.UseRawPath = true })},
	{name: "gin, UseRawPath, escaped values", rest: "rest", raw: true, start: startGin(func(e *gin.Engine) {
		e.UseRawPath, e.UnescapePathValues = true, false
	})},
	{name: "gin, UseEscapedPath", rest: "rest", decodes: "always",
		start: startGin(func(e *gin.Engine) { e.UseEscapedPath = true })},
	{name: "gin, UseEscapedPath, escaped values", rest: "rest", escaped: true, raw: true,
		start: startGin(func(e *gin.Engine) {
			e.UseEscapedPath, e.UnescapePathValues = true, false
		})},
	{name: "echo v4", rest: "*", raw: true, start: func(t *testing.T, g guards) string {
		e := echo4.New()
		e.GET("/data/:id", func(c echo4.Context) error {
			say(c.Response(), c.Request(), "/data/",
				c.Param("id"))
			return nil
		}, Echo4(g.data))
		e.GET("/file/*", func(c echo4.Context) error { say(c.Response(), c.Request(), "/file/", c.Param("*")); return nil },
			Echo4(g.file))
		e.GET("/lost/:id", func(c echo4.Context) error { return nil }, Echo4(g.lost))
		return listen(t, e)
	}},
	{name: "echo v5", rest: "*", raw: true, start: startEcho5(echo5.RouterConfig{}, Echo5)},
	{name: "echo v5, its own WrapMiddleware", rest: "*", raw: true, start: startEcho5(echo5.RouterConfig{},
		func(m Middleware) echo5.MiddlewareFunc { return echo5.WrapMiddleware(m) })},
	{name: "echo v5, UnescapePathParamValues", rest: "*",
		start: startEcho5(echo5.RouterConfig{UnescapePathParamValues: true}, Echo5)},
	{name: "fiber v3", rest: "*", escaped: true, raw: true, start: startFiber(fiber.Config{})},
	{name: "fiber v3, UnescapePath", rest: "*", decodes: "always", start: startFiber(fiber.Config{UnescapePath: true})},
	{name: "fiber v3, StrictRouting, CaseSensitive", rest: "*", decodes: "always",
		start: startFiber(fiber.Config{UnescapePath: true, StrictRouting: true, CaseSensitive: true})},
	{name: "fiber v3, its own adaptor", rest: "*", hook: fiberAdaptorValue, decodes: "always", start: startFiberAdaptor},
}

// send sends a request with the exact target, which no client has cleaned. It returns status, body and header.
func send(t *testing.T, addr, method, target string, headers ...string) (int, string, http.Header) {
	t.Helper()
	return sendBody(t, addr, method, target, "", headers...)
}

func sendBody(t *testing.T, addr, method, target, sent string, headers ...string) (int, string, http.Header) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	text := method + " " + target + " HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n"
	for i := 0; i < len(headers); i += 2 {
		text += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	if sent != "" {
		text += "Content-Length: " + strconv.Itoa(len(sent)) + "\r\n"
	}
	_, err = io.WriteString(conn, text+"\r\n"+sent)
	require.NoError(t, err)
	reply, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(t, err, target)
	body, err := io.ReadAll(reply.Body)
	require.NoError(t, err, target)
	return reply.StatusCode, string(body), reply.Header
}
