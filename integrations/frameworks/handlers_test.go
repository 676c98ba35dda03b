package frameworks

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v3"
	fiberrecover "github.com/gofiber/fiber/v3/middleware/recover"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo4middleware "github.com/labstack/echo/v4/middleware"
	echo5 "github.com/labstack/echo/v5"
	echo5middleware "github.com/labstack/echo/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeyfiber "github.com/latchkey-go/latchkey/integrations/frameworks/fiber"
	"github.com/latchkey-go/latchkey/memstore"
)

// mistakes is what a handler, or what is around it, does beside its task.
type mistakes struct {
	looks  bool // asks for its rows before all else
	writes bool // writes every row
	panics bool
	fails  bool // returns an error, or sets one
}

var errMistake = errors.New("mistake")

// careless are programs whose error handlers and recovery answer 200, or leave the body that a handler wrote.
var careless = map[string]func(t *testing.T, guard Middleware, m mistakes) (addr string){
	"ServeMux": func(t *testing.T, guard Middleware, m mistakes) string {
		mux := http.NewServeMux()
		mux.Handle("GET /rows", recovering(guard(m.netHTTP())))
		return listen(t, mux)
	},
	"chi, Recoverer": func(t *testing.T, guard Middleware, m mistakes) string {
		r := chi.NewRouter()
		r.Use(chimiddleware.Recoverer)
		r.With(guard).Method("GET", "/rows", m.netHTTP())
		return listen(t, r)
	},
	"gorilla/mux": func(t *testing.T, guard Middleware, m mistakes) string {
		r := mux.NewRouter()
		r.Use(recovering, mux.MiddlewareFunc(guard))
		r.Handle("/rows", m.netHTTP())
		return listen(t, r)
	},
	"httprouter, PanicHandler": func(t *testing.T, guard Middleware, m mistakes) string {
		r := httprouter.New()
		r.PanicHandler = func(w http.ResponseWriter, _ *http.Request, _ any) { w.WriteHeader(http.StatusOK) }
		r.Handler("GET", "/rows", guard(m.netHTTP()))
		return listen(t, r)
	},
	"gin, Recovery": func(t *testing.T, guard Middleware, m mistakes) string {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		e.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusOK) }),
			func(c *gin.Context) {
				c.Next()
				if len(c.Errors) > 0 && !c.Writer.Written() {
					c.Status(http.StatusOK)
				}
			})
		e.GET("/rows", Gin(guard), m.gin)
		return listen(t, e)
	},
	"gin, Recovery within": func(t *testing.T, guard Middleware, m mistakes) string {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		e.GET("/rows", Gin(guard),
			gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusOK) }), m.gin)
		return listen(t, e)
	},
	"echo v4, Recover": func(t *testing.T, guard Middleware, m mistakes) string {
		e := echo4.New()
		e.HTTPErrorHandler = func(_ error, c echo4.Context) { _ = c.NoContent(http.StatusOK) }
		e.Use(echo4middleware.RecoverWithConfig(echo4middleware.RecoverConfig{DisablePrintStack: true,
			LogErrorFunc: func(_ echo4.Context, err error, _ []byte) error { return err }}))
		e.GET("/rows", m.echo4, Echo4(guard))
		return listen(t, e)
	},
	"echo v5, Recover": func(t *testing.T, guard Middleware, m mistakes) string {
		e := echo5.New()
		e.HTTPErrorHandler = func(c *echo5.Context, _ error) { _ = c.NoContent(http.StatusOK) }
		e.Use(echo5middleware.Recover())
		e.GET("/rows", m.echo5, Echo5(guard))
		return listen(t, e)
	},
	"fiber v3, recover": func(t *testing.T, guard Middleware, m mistakes) string {
		app := fiber.New(fiber.Config{ErrorHandler: func(c fiber.Ctx, _ error) error {
			return c.SendStatus(http.StatusOK) // with the body that is there
		}})
		app.Use(fiberrecover.New())
		app.Get("/rows", Fiber(guard), m.fiber)
		return listenFiber(t, app)
	},
	"fiber v3, recover within": func(t *testing.T, guard Middleware, m mistakes) string {
		app := fiber.New(fiber.Config{ErrorHandler: func(c fiber.Ctx, _ error) error {
			return c.SendStatus(http.StatusOK)
		}})
		app.Get("/rows", Fiber(guard), fiberrecover.New(), m.fiber)
		return listenFiber(t, app)
	},
}

// recovering is a middleware that answers 200 when the handler panics.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusOK)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (m mistakes) netHTTP() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.looks {
			_, _ = httpadapter.RowsFrom(r.Context())
		}
		if m.writes {
			_, _ = io.WriteString(w, everyRow)
		}
		if m.panics {
			panic(errMistake)
		}
	})
}

func (m mistakes) gin(c *gin.Context) {
	if m.looks {
		_, _ = httpadapter.RowsFrom(c.Request.Context())
	}
	if m.writes {
		c.String(http.StatusOK, everyRow)
	}
	if m.panics {
		panic(errMistake)
	}
	if m.fails {
		_ = c.Error(errMistake)
	}
}

func (m mistakes) echo4(c echo4.Context) error {
	if m.looks {
		_, _ = httpadapter.RowsFrom(c.Request().Context())
	}
	if m.writes {
		_ = c.String(http.StatusOK, everyRow)
	}
	if m.panics {
		panic(errMistake)
	}
	if m.fails {
		return errMistake
	}
	return nil
}

func (m mistakes) echo5(c *echo5.Context) error {
	if m.looks {
		_, _ = httpadapter.RowsFrom(c.Request().Context())
	}
	if m.writes {
		_ = c.String(http.StatusOK, everyRow)
	}
	if m.panics {
		panic(errMistake)
	}
	if m.fails {
		return errMistake
	}
	return nil
}

func (m mistakes) fiber(c fiber.Ctx) error {
	if m.looks {
		_, _ = httpadapter.RowsFrom(c.Context())
	}
	if m.writes {
		_ = c.SendString(everyRow)
	}
	if m.panics {
		panic(errMistake)
	}
	if m.fails {
		return errMistake
	}
	return nil
}

// Whatever becomes of an error or a panic, a refusal stays one, and rows that nobody asked for are not shown.
func TestErrorsAndPanics(t *testing.T) {
	for name, start := range careless {
		t.Run(name, func(t *testing.T) {
			for _, m := range []mistakes{{writes: true}, {writes: true, panics: true}, {writes: true, fails: true},
				{panics: true}, {fails: true}, {looks: true, writes: true}, {looks: true, panics: true}} {
				keys := latchkey.New(memstore.New(nil), nil)
				auth := httpadapter.New(keys, nil)
				key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{
					latchkey.Allow(latchkey.Read).On("rows").Where(latchkey.Where("region", latchkey.Eq, "EU"))})
				addr := start(t, auth.RequireRows(latchkey.Read, "rows"), m)
				status, body, header := send(t, addr, "GET", "/rows")
				require.Equal(t, 401, status)
				require.Equal(t, "application/problem+json", header.Get("Content-Type"))
				require.Contains(t, body, "problem/no-credential")
				require.NotContains(t, body, everyRow)
				_, body, _ = send(t, addr, "GET", "/rows", as(key)...)
				if m.looks && m.writes {
					require.Equal(t, everyRow, body)
				} else {
					require.NotContains(t, body, everyRow, "%+v", m)
				}
			}
		})
	}
}

// After a refusal gin calls no further handler, those of the route included.
func TestGinAborts(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, nil)
	key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")})
	called := &calls{}
	note := func(what string) gin.HandlerFunc { return func(*gin.Context) { called.hit(what, "", "") } }
	e := gin.New()
	e.GET("/a", Gin(auth.Authenticate), note("before"), Gin(auth.Require(latchkey.Read, "a")), note("after"))
	e.GET("/b", Gin(auth.Authenticate), note("before"), Gin(auth.Require(latchkey.Read, "b")), note("after"))
	addr := listen(t, e)
	for _, tt := range []struct {
		target  string
		headers []string
		want    []call
	}{
		{"/a", nil, nil},
		{"/a", as(key), []call{{handler: "before"}, {handler: "after"}}},
		{"/b", as(key), []call{{handler: "before"}}},
	} {
		send(t, addr, "GET", tt.target, tt.headers...)
		require.Equal(t, tt.want, called.take(), tt.target)
	}
}

// Of two wildcards with one name, the value that a handler gets is the one that is checked.
func TestTwoWildcardsWithOneName(t *testing.T) {
	const route = "/org/:id/data/:id"
	for name, start := range map[string]func(t *testing.T, d doors) string{
		"gin": func(t *testing.T, d doors) string {
			gin.SetMode(gin.ReleaseMode)
			e := gin.New()
			e.GET(route, Gin(d.read), d.gin("read", "id"))
			return listen(t, e)
		},
		"echo v4": func(t *testing.T, d doors) string {
			e := echo4.New()
			e.GET(route, d.echo4("read", "id"), Echo4(d.read))
			return listen(t, e)
		},
		"echo v5": func(t *testing.T, d doors) string {
			e := echo5.New()
			e.GET(route, d.echo5("read", "id"), Echo5(d.read))
			return listen(t, e)
		},
		"fiber v3": func(t *testing.T, d doors) string {
			app := fiber.New()
			app.Get(route, Fiber(d.read), d.fiber("read", "id"))
			return listenFiber(t, app)
		},
		"httprouter": func(t *testing.T, d doors) string {
			r := httprouter.New()
			r.Handler("GET", route, d.read(d.netHTTP("read", func(r *http.Request) string {
				return httprouter.ParamsFromContext(r.Context()).ByName("id")
			})))
			return listen(t, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			keys := latchkey.New(memstore.New(nil), nil)
			auth := httpadapter.New(keys, &httpadapter.Options{PathValue: hookFor(name)})
			seen := &calls{}
			addr := start(t, doors{read: auth.Require(latchkey.Read, "dataset/{id}"), hit: seen.hit})
			key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{
				latchkey.Allow(latchkey.Read).On("dataset/open")})
			reached := 0
			for _, target := range []string{"/org/open/data/closed", "/org/closed/data/open"} {
				send(t, addr, "GET", target, as(key)...)
				for _, c := range seen.take() {
					require.Equal(t, "open", c.value, target)
					reached++
				}
			}
			require.Equal(t, 1, reached)
		})
	}
}

// A handler of fiber answers with an error of latchkey as the Adapter does, and as the program's Problem says.
func TestFiberWriteError(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	auth := httpadapter.New(keys, &httpadapter.Options{Realm: "shop"})
	key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a")})
	app := fiber.New()
	app.Get("/a", Fiber(auth.Require(latchkey.Read, "a")), func(c fiber.Ctx) error {
		access, _ := httpadapter.AccessFrom(c.Context())
		return latchkeyfiber.WriteError(c, auth, access.Check(latchkey.Read, "b"))
	})
	status, body, header := send(t, listenFiber(t, app), "GET", "/a", as(key)...)
	require.Equal(t, 403, status)
	require.Contains(t, body, "problem/denied")
	require.Equal(t, "application/problem+json", header.Get("Content-Type"))
	require.Equal(t, `Bearer realm="shop", error="insufficient_scope"`, header.Get("WWW-Authenticate"))
}
