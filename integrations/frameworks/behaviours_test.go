package frameworks

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v3"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo4middleware "github.com/labstack/echo/v4/middleware"
	echo5 "github.com/labstack/echo/v5"
	echo5middleware "github.com/labstack/echo/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// What routers do by themselves: HEAD for GET, redirects, other spellings of a path, other methods. None of it may
// reach a handler without the check, or with another value than the one that was checked.

// doors are the guards of one program, and what its handlers call.
type doors struct {
	read, remove, nested Middleware
	// hit records a call of a handler: which one, and the value that the router gives it.
	hit func(handler, value, path string)
}

func (d doors) netHTTP(handler string, value func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.hit(handler, value(r), r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	})
}

func (d doors) gin(handler, name string) gin.HandlerFunc {
	return func(c *gin.Context) {
		d.hit(handler, c.Param(name), c.Request.URL.Path)
		c.Status(http.StatusNoContent)
	}
}

func (d doors) echo4(handler, name string) echo4.HandlerFunc {
	return func(c echo4.Context) error {
		d.hit(handler, c.Param(name), c.Request().URL.Path)
		return c.NoContent(http.StatusNoContent)
	}
}

func (d doors) echo5(handler, name string) echo5.HandlerFunc {
	return func(c *echo5.Context) error {
		d.hit(handler, c.Param(name), c.Request().URL.Path)
		return c.NoContent(http.StatusNoContent)
	}
}

func (d doors) fiber(handler, name string) fiber.Handler {
	return func(c fiber.Ctx) error {
		d.hit(handler, strings.Clone(c.Params(name)), strings.Clone(c.Path()))
		return c.SendStatus(http.StatusNoContent)
	}
}

func humaDoors(on string) func(*testing.T, doors) string {
	return func(t *testing.T, d doors) string {
		api, h := humaServers[on](huma.DefaultConfig("x", "1"))
		register := func(method, handler, path, name string, m Middleware) {
			huma.Register(api, huma.Operation{OperationID: handler, Method: method, Path: path,
				Middlewares: huma.Middlewares{Huma(m)}},
				func(_ context.Context, in *asked) (*struct{}, error) {
					d.hit(handler, in.params[name], in.path)
					return nil, nil
				})
		}
		register("GET", "read", "/data/{id}", "id", d.read)
		register("DELETE", "remove", "/data/{id}", "id", d.remove)
		register("GET", "nested", "/t/{tenant}/data/{id}", "id", d.nested)
		return listen(t, h)
	}
}

func startDoorsChi(change func(chi.Router)) func(*testing.T, doors) string {
	return func(t *testing.T, d doors) string {
		id := func(r *http.Request) string { return chi.URLParam(r, "id") }
		r := chi.NewRouter()
		change(r)
		r.With(d.read).Method("GET", "/data/{id}", d.netHTTP("read", id))
		r.With(d.remove).Method("DELETE", "/data/{id}", d.netHTTP("remove", id))
		inner := chi.NewRouter()
		inner.Route("/data", func(r chi.Router) {
			r.With(d.nested).Method("GET", "/{id}", d.netHTTP("nested", id))
		})
		r.Mount("/t/{tenant}", inner)
		return listen(t, r)
	}
}

func startDoorsGin(change func(*gin.Engine)) func(*testing.T, doors) string {
	return func(t *testing.T, d doors) string {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		change(e)
		e.GET("/data/:id", Gin(d.read), d.gin("read", "id"))
		e.DELETE("/data/:id", Gin(d.remove), d.gin("remove", "id"))
		group := e.Group("/t/:tenant").Group("/data")
		group.Use(Gin(d.nested))
		group.GET("/:id", d.gin("nested", "id"))
		return listen(t, e)
	}
}

func startDoorsEcho4(change func(*echo4.Echo)) func(*testing.T, doors) string {
	return func(t *testing.T, d doors) string {
		e := echo4.New()
		change(e)
		e.GET("/data/:id", d.echo4("read", "id"), Echo4(d.read))
		e.DELETE("/data/:id", d.echo4("remove", "id"), Echo4(d.remove))
		e.Group("/t/:tenant").Group("/data").GET("/:id", d.echo4("nested", "id"), Echo4(d.nested))
		return listen(t, e)
	}
}

func startDoorsEcho5(change func(*echo5.Echo)) func(*testing.T, doors) string {
	return func(t *testing.T, d doors) string {
		e := echo5.New()
		change(e)
		e.GET("/data/:id", d.echo5("read", "id"), Echo5(d.read))
		e.DELETE("/data/:id", d.echo5("remove", "id"), Echo5(d.remove))
		e.Group("/t/:tenant").Group("/data").GET("/:id", d.echo5("nested", "id"), Echo5(d.nested))
		return listen(t, e)
	}
}

func startDoorsFiber(config fiber.Config, nested func(*fiber.App, doors)) func(*testing.T, doors) string {
	return func(t *testing.T, d doors) string {
		app := fiber.New(config)
		app.Get("/data/:id", Fiber(d.read), d.fiber("read", "id"))
		app.Delete("/data/:id", Fiber(d.remove), d.fiber("remove", "id"))
		nested(app, d)
		return listenFiber(t, app)
	}
}

func fiberGroups(app *fiber.App, d doors) {
	app.Group("/t/:tenant").Group("/data").Get("/:id", Fiber(d.nested), d.fiber("nested", "id"))
}

// doorsOf are the routers, with all that they do by themselves switched on.
var doorsOf = map[string]func(*testing.T, doors) string{
	"ServeMux": func(t *testing.T, d doors) string {
		id := func(r *http.Request) string { return r.PathValue("id") }
		m := http.NewServeMux()
		m.Handle("GET /data/{id}", d.read(d.netHTTP("read", id)))
		m.Handle("DELETE /data/{id}", d.remove(d.netHTTP("remove", id)))
		m.Handle("GET /t/{tenant}/data/{id}", d.nested(d.netHTTP("nested", id)))
		return listen(t, m)
	},
	"ServeMux, subtree": func(t *testing.T, d doors) string { // redirects /data/x to /data/x/
		id := func(r *http.Request) string { return r.PathValue("id") }
		m := http.NewServeMux()
		m.Handle("GET /data/{id}/", d.read(d.netHTTP("read", id)))
		m.Handle("DELETE /data/{id}/", d.remove(d.netHTTP("remove", id)))
		m.Handle("GET /t/{tenant}/data/{id}/", d.nested(d.netHTTP("nested", id)))
		return listen(t, m)
	},
	"chi": startDoorsChi(func(chi.Router) {}),
	"chi, GetHead, StripSlashes": startDoorsChi(func(r chi.Router) {
		r.Use(chimiddleware.GetHead, chimiddleware.StripSlashes)
	}),
	"chi, RedirectSlashes, CleanPath": startDoorsChi(func(r chi.Router) {
		r.Use(chimiddleware.CleanPath, chimiddleware.RedirectSlashes)
	}),
	"chi, URLFormat": startDoorsChi(func(r chi.Router) { r.Use(chimiddleware.URLFormat) }),
	"gorilla/mux": func(t *testing.T, d doors) string {
		id := func(r *http.Request) string { return mux.Vars(r)["id"] }
		m := mux.NewRouter().StrictSlash(true)
		m.Handle("/data/{id}", d.read(d.netHTTP("read", id))).Methods("GET", "HEAD")
		m.Handle("/data/{id}", d.remove(d.netHTTP("remove", id))).Methods("DELETE")
		sub := m.PathPrefix("/t/{tenant}").Subrouter().PathPrefix("/data").Subrouter()
		sub.Use(mux.MiddlewareFunc(d.nested))
		sub.Handle("/{id}", d.netHTTP("nested", id))
		return listen(t, m)
	},
	"httprouter": func(t *testing.T, d doors) string {
		id := func(r *http.Request) string { return httprouter.ParamsFromContext(r.Context()).ByName("id") }
		m := httprouter.New() // redirects slashes and fixes the case of paths by default
		m.Handler("GET", "/data/:id", d.read(d.netHTTP("read", id)))
		m.Handler("DELETE", "/data/:id", d.remove(d.netHTTP("remove", id)))
		m.Handler("GET", "/t/:tenant/data/:id", d.nested(d.netHTTP("nested", id)))
		return listen(t, m)
	},
	"gin": startDoorsGin(func(*gin.Engine) {}),
	"gin, all redirects": startDoorsGin(func(e *gin.Engine) {
		e.RedirectTrailingSlash, e.RedirectFixedPath, e.HandleMethodNotAllowed = true, true, true
		e.RemoveExtraSlash = true
	}),
	"echo v4": startDoorsEcho4(func(*echo4.Echo) {}),
	"echo v4, MethodOverride, RemoveTrailingSlash": startDoorsEcho4(func(e *echo4.Echo) {
		e.Pre(echo4middleware.MethodOverride(), echo4middleware.RemoveTrailingSlash())
	}),
	"echo v5": startDoorsEcho5(func(*echo5.Echo) {}),
	"echo v5, MethodOverride, RemoveTrailingSlash": startDoorsEcho5(func(e *echo5.Echo) {
		e.Pre(echo5middleware.MethodOverride(), echo5middleware.RemoveTrailingSlash())
	}),
	"fiber v3":               startDoorsFiber(fiber.Config{}, fiberGroups),
	"fiber v3, UnescapePath": startDoorsFiber(fiber.Config{UnescapePath: true}, fiberGroups),
	"fiber v3, an app in an app": startDoorsFiber(fiber.Config{}, func(app *fiber.App, d doors) {
		inner := fiber.New()
		inner.Get("/data/:id", Fiber(d.nested), d.fiber("nested", "id"))
		app.Use("/t/:tenant", inner)
	}),
	"fiber v3, Use": startDoorsFiber(fiber.Config{}, func(app *fiber.App, d doors) {
		app.Use("/t/:tenant/data/:id", Fiber(d.nested))
		app.Get("/t/:tenant/data/:id", d.fiber("nested", "id"))
	}),
	"huma on ServeMux": humaDoors("humago"),
	"huma on chi":      humaDoors("humachi"),
	"huma on gin":      humaDoors("humagin"),
}

// hookFor returns the hook for values that a router needs, or nil.
func hookFor(name string) func(*http.Request, string) (string, bool) {
	switch {
	case name == "gorilla/mux":
		return GorillaPathValue
	case name == "httprouter":
		return HTTPRouterPathValue
	}
	return nil
}

// calls records what handlers did.
type calls struct {
	mu   sync.Mutex
	list []call
}

type call struct{ handler, value, path string }

func (c *calls) hit(handler, value, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, call{handler, value, path})
}

func (c *calls) take() []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// sendAndFollow sends a request, and again wherever it is redirected to, as a client does that keeps its credential.
func sendAndFollow(t *testing.T, addr, method, target string, headers ...string) int {
	t.Helper()
	status := 0
	for range 4 {
		code, _, header := send(t, addr, method, target, headers...)
		status = code
		to := header.Get("Location")
		if code < 300 || code > 399 || to == "" {
			return status
		}
		u, err := url.Parse(to)
		require.NoError(t, err, to)
		target = u.RequestURI()
	}
	return status
}

var (
	oddMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "delete", "PURGE"}
	oddTargets = []string{"/data/X", "/data/X/", "/data/X//", "//data/X", "/data//X", "/data/./X",
		"/y/../data/X", "/DATA/X", "/Data/X/", "/data/X.json", "/data/X;v=1", "/data/X?id=other",
		"http://api.example.com/data/X",
		"http://api.example.com//data/X/", "/data/%58", "/%64ata/X", "/t/acme/data/X", "/t/acme/data/X/", "/T/acme/DATA/X",
		"/t/acme//data/X", "/t//acme/data/X", "/t/%61cme/data/X"}
	overrides = [][]string{{"X-HTTP-Method-Override", "DELETE"}, {"X-HTTP-Method", "DELETE"},
		{"X-Method-Override", "DELETE"}, {"X-Original-URL", "/data/sales"}, {"X-Rewrite-URL", "/data/sales"},
		{"X-Forwarded-Prefix", "/x"}, {"Access-Control-Request-Method", "GET"}}
)

// breaches sends every odd request to a program, and returns the calls of handlers that should not have been, and how
// many requests reached one.
func breaches(t *testing.T, start func(*testing.T, doors) string, guarded bool, name string) (
	bad []string, reached int,
) {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, &httpadapter.Options{PathValue: hookFor(name)})
	seen := &calls{}
	d := doors{read: auth.Require(latchkey.Read, "dataset/{id}"), remove: auth.Require(latchkey.Delete, "dataset/{id}"),
		nested: auth.Require(latchkey.Read, "tenant/{tenant}/{id}"), hit: seen.hit}
	if !guarded {
		none := func(next http.Handler) http.Handler { return next }
		d.read, d.remove, d.nested = none, none, none
	}
	addr := start(t, d)
	// It may read all but payroll, of one tenant.
	key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*", "tenant/acme/*"),
		latchkey.Deny(latchkey.Any).On("dataset/payroll", "tenant/{*}/payroll")})
	try := func(method, target string, more []string) {
		if method == "OPTIONS" && more != nil && more[0] == "Access-Control-Request-Method" {
			more = append([]string{"Origin", "https://a.example"}, more...) // a preflight
		}
		// Without a credential no handler is reached at all.
		sendAndFollow(t, addr, method, strings.ReplaceAll(target, "X", "sales"), more...)
		for _, c := range seen.take() {
			bad = append(bad, "without a credential: "+method+" "+target+" "+strings.Join(more, ":")+" "+c.handler)
		}
		// With one, none is that it may not use, by whatever reading.
		for _, value := range []string{"payroll", "sales"} {
			sendAndFollow(t, addr, method, strings.ReplaceAll(target, "X", value), append(as(key), more...)...)
			for _, c := range seen.take() {
				reached++
				if c.handler == "remove" || c.value == "payroll" || strings.HasSuffix(c.path, "/payroll") {
					bad = append(bad, "denied: "+method+" "+target+" "+strings.Join(more, ":")+" "+c.handler)
				}
			}
		}
	}
	for _, method := range oddMethods {
		for _, target := range oddTargets {
			try(method, target, nil)
		}
	}
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
		for _, target := range []string{"/data/X", "/data/X/", "/DATA/X", "/t/acme/data/X"} {
			for _, more := range overrides {
				try(method, target, more)
			}
		}
	}
	return bad, reached
}

func TestNothingThatARouterDoesSkipsTheCheck(t *testing.T) {
	for name, start := range doorsOf {
		t.Run(name, func(t *testing.T) {
			bad, reached := breaches(t, start, true, name)
			require.Empty(t, bad)
			require.NotZero(t, reached, "the key reaches what it may read")
		})
	}
}

// byThemselves are requests that a router passes to a handler of another method or path.
var byThemselves = map[string][]string{
	"ServeMux":                        {"HEAD /data/X  read", "GET //data/X  read", "GET /y/../data/X  read"},
	"ServeMux, subtree":               {"GET /data/X  read", "HEAD /data/X/  read"},
	"chi, GetHead, StripSlashes":      {"HEAD /data/X  read", "GET /data/X/  read"},
	"chi, RedirectSlashes, CleanPath": {"GET /data/X/  read", "GET //data/X  read"},
	"chi, URLFormat":                  {"GET /data/X.json  read"},
	"gorilla/mux":                     {"GET /data/X/  read", "GET //data/X  read", "PURGE /t/acme/data/X  nested"},
	"httprouter":                      {"GET /data/X/  read", "GET /DATA/X  read", "GET //data/X  read"},
	"gin":                             {"GET /data/X/  read"},
	"gin, all redirects":              {"GET /data/X/  read", "GET /DATA/X  read", "GET //data/X  read"},
	"echo v4, MethodOverride, RemoveTrailingSlash": {"POST /data/X X-HTTP-Method-Override:DELETE remove",
		"GET /data/X/  read"},
	"echo v5, MethodOverride, RemoveTrailingSlash": {"POST /data/X X-HTTP-Method-Override:DELETE remove",
		"GET /data/X/  read"},
	"fiber v3":         {"HEAD /data/X  read", "GET /data/X/  read", "GET /DATA/X  read"},
	"huma on ServeMux": {"HEAD /data/X  read"},
}

// The test above can fail: without the guards each router reaches each handler, by more than the plain request.
func TestWithoutGuardsRoutersReachHandlers(t *testing.T) {
	for name, start := range doorsOf {
		t.Run(name, func(t *testing.T) {
			bad, _ := breaches(t, start, false, name)
			text := strings.Join(bad, "\n")
			for _, want := range []string{"without a credential: GET", "denied: GET", " read", " remove", " nested"} {
				require.Contains(t, text, want)
			}
			for router, wants := range byThemselves {
				for _, want := range wants {
					if name == router {
						require.Contains(t, text, "without a credential: "+want)
					}
				}
			}
		})
	}
}
