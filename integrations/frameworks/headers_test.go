package frameworks

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// site is a program with one route, GET /data, behind guards, and a layer of the host's own around them that sets
// headers. CrossOrigin is around the whole, where the framework takes handlers of net/http, or its first middleware.
type site struct {
	cross          Middleware
	require, spend Middleware
}

// outer sets what a layer of the host's own sets before a guard.
func outer(set func(name, value string)) {
	set("Vary", "Accept-Language")
	set("Cache-Control", "no-store")
	set("X-Frame-Options", "DENY")
}

func (s site) netHTTP() http.Handler {
	inner := s.require(s.spend(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer(w.Header().Add)
		inner.ServeHTTP(w, r)
	})
}

var sites = map[string]func(*testing.T, site) string{
	"ServeMux": func(t *testing.T, s site) string {
		m := http.NewServeMux()
		m.Handle("GET /data", s.netHTTP())
		return listen(t, s.cross(m))
	},
	"chi": func(t *testing.T, s site) string {
		c := chi.NewRouter()
		c.Method(http.MethodGet, "/data", s.netHTTP())
		return listen(t, s.cross(c))
	},
	"gorilla": func(t *testing.T, s site) string {
		m := mux.NewRouter()
		m.Handle("/data", s.netHTTP()).Methods(http.MethodGet)
		return listen(t, s.cross(m))
	},
	"httprouter": func(t *testing.T, s site) string {
		m := httprouter.New()
		m.Handler(http.MethodGet, "/data", s.netHTTP())
		return listen(t, s.cross(m))
	},
	"gin": func(t *testing.T, s site) string {
		e := gin.New()
		e.GET("/data", func(c *gin.Context) { outer(c.Writer.Header().Add) }, Gin(s.require), Gin(s.spend),
			func(c *gin.Context) { c.Status(http.StatusNoContent) })
		return listen(t, s.cross(e))
	},
	"gin, as middleware": func(t *testing.T, s site) string {
		e := gin.New()
		e.Use(Gin(s.cross))
		e.GET("/data", func(c *gin.Context) { outer(c.Writer.Header().Add) }, Gin(s.require), Gin(s.spend),
			func(c *gin.Context) { c.Status(http.StatusNoContent) })
		return listen(t, e)
	},
	"echo4": func(t *testing.T, s site) string {
		e := echo4.New()
		e.GET("/data", func(c echo4.Context) error { return c.NoContent(http.StatusNoContent) },
			func(next echo4.HandlerFunc) echo4.HandlerFunc {
				return func(c echo4.Context) error { outer(c.Response().Header().Add); return next(c) }
			}, Echo4(s.require), Echo4(s.spend))
		return listen(t, s.cross(e))
	},
	"echo5": func(t *testing.T, s site) string {
		e := echo5.New()
		e.GET("/data", func(c *echo5.Context) error { return c.NoContent(http.StatusNoContent) },
			func(next echo5.HandlerFunc) echo5.HandlerFunc {
				return func(c *echo5.Context) error { outer(c.Response().Header().Add); return next(c) }
			}, Echo5(s.require), Echo5(s.spend))
		return listen(t, s.cross(e))
	},
	"fiber": func(t *testing.T, s site) string {
		app := fiber.New()
		app.Use(Fiber(s.cross))
		app.Get("/data", func(c fiber.Ctx) error { outer(c.Response().Header.Add); return c.Next() }, Fiber(s.require),
			Fiber(s.spend), func(c fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
		return listenFiber(t, app)
	},
}

// Headers that several layers set are all there, whatever the framework does with middleware: the host's own, those of
// CrossOrigin, and those of two guards, on replies and on refusals.
func TestHeadersOfLayers(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	auth := httpadapter.New(kit.Manager, &httpadapter.Options{
		Carriers: httpadapter.Carriers{Bearer: true, Basic: httpadapter.BasicUser, Headers: []string{"X-API-Key"},
			Cookie: "__Host-key"},
		CORS: &httpadapter.CORS{Origins: []string{"https://app.example.com"}, Credentials: true}})
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")},
		Limits: latchkey.Limits{Rate: latchkey.PerMinute(1000),
			Quotas: []latchkey.Quota{{Meter: "api", Per: latchkey.Day, Amount: 5}}}}
	for name, start := range sites {
		t.Run(name, func(t *testing.T) {
			_, key := kit.Secret("acme", spec)
			addr := start(t, site{auth.CrossOrigin, auth.Require(latchkey.Read, "dataset/orders"), auth.Spend("api", 3)})
			ask := func(method string, set map[string]string) *http.Response {
				r, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+"/data", nil)
				require.NoError(t, err)
				r.Header.Set("Origin", "https://app.example.com")
				r.Header.Set("Sec-Fetch-Site", "cross-site")
				for k, v := range set {
					r.Header.Set(k, v)
				}
				resp, err := http.DefaultClient.Do(r)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, []string{"https://app.example.com"}, resp.Header["Access-Control-Allow-Origin"])
				require.Contains(t, resp.Header["Vary"], "Origin")
				return resp
			}
			served := ask(http.MethodGet, map[string]string{"Cookie": "__Host-key=" + key})
			require.Equal(t, http.StatusNoContent, served.StatusCode)
			over := ask(http.MethodGet, map[string]string{"X-API-Key": key})
			require.Equal(t, http.StatusTooManyRequests, over.StatusCode)
			none := ask(http.MethodGet, nil)
			require.Equal(t, http.StatusUnauthorized, none.StatusCode)
			two := ask(http.MethodGet, map[string]string{"X-API-Key": key, "Authorization": "Bearer " + key})
			require.Equal(t, http.StatusBadRequest, two.StatusCode)
			for _, resp := range []*http.Response{served, over, none, two} {
				require.ElementsMatch(t, []string{"Origin", "Accept-Language", "Authorization, X-API-Key, Cookie"},
					resp.Header["Vary"])
				require.Equal(t, []string{"no-store"}, resp.Header["Cache-Control"], "the stricter one")
				require.Equal(t, []string{"DENY"}, resp.Header["X-Frame-Options"])
				require.Equal(t, []string{"true"}, resp.Header["Access-Control-Allow-Credentials"])
			}
			limits := strings.Join(served.Header["Ratelimit"], ", ")
			require.Contains(t, limits, `"token";r=999`, "of the first guard")
			require.Contains(t, limits, `"api-day";r=0`, "of the second one")
			require.Len(t, none.Header["Www-Authenticate"], 4, "Bearer, Basic, and ApiKey twice")
			require.NotEmpty(t, over.Header.Get("Retry-After"))

			preflight := ask(http.MethodOptions, map[string]string{"Access-Control-Request-Method": "GET"})
			require.Equal(t, http.StatusNoContent, preflight.StatusCode)
			require.Contains(t, preflight.Header.Get("Access-Control-Allow-Headers"), "X-API-Key")
			missing := ask(http.MethodDelete, nil)
			require.GreaterOrEqual(t, missing.StatusCode, 404, "of the router, which the page may read")
		})
	}
}
