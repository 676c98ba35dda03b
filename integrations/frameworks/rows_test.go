package frameworks

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

const (
	everyRow    = "every row"
	countHeader = "X-Total-Count" // tells of rows, too
)

// behaviour is what a handler behind RequireRows does, in terms of every framework.
type behaviour struct {
	looks   bool // asks for its rows
	waives  bool // says that it needs none
	late    bool // asks when it has written
	silent  bool // writes nothing
	fails   bool // returns the framework's error of status 404, and writes nothing
	refuses bool // writes status 404 itself
}

// before does what a behaviour does before it answers.
func (b behaviour) before(ctx context.Context) {
	if b.looks {
		_, _ = httpadapter.RowsFrom(ctx)
	}
	if b.waives {
		httpadapter.RowsNotNeeded(ctx)
	}
}

func (b behaviour) after(ctx context.Context) {
	if b.late {
		_, _ = httpadapter.RowsFrom(ctx)
	}
}

func (b behaviour) netHTTP() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.before(r.Context())
		switch {
		case b.fails, b.refuses:
			http.Error(w, "nothing", http.StatusNotFound)
		case !b.silent:
			w.Header().Set(countHeader, "17")
			_, _ = io.WriteString(w, everyRow)
		}
		b.after(r.Context())
	})
}

func (b behaviour) gin(c *gin.Context) {
	b.before(c.Request.Context())
	switch {
	case b.fails:
		_ = c.Error(errors.New("nothing"))
		c.Status(http.StatusNotFound)
	case b.refuses:
		c.String(http.StatusNotFound, "nothing")
	case !b.silent:
		c.Header(countHeader, "17")
		c.String(http.StatusOK, everyRow)
	}
	b.after(c.Request.Context())
}

func (b behaviour) echo4(c echo4.Context) error {
	b.before(c.Request().Context())
	defer func() { b.after(c.Request().Context()) }()
	switch {
	case b.fails:
		return echo4.ErrNotFound
	case b.refuses:
		return c.String(http.StatusNotFound, "nothing")
	case b.silent:
		return nil
	}
	c.Response().Header().Set(countHeader, "17")
	return c.String(http.StatusOK, everyRow)
}

func (b behaviour) echo5(c *echo5.Context) error {
	b.before(c.Request().Context())
	defer func() { b.after(c.Request().Context()) }()
	switch {
	case b.fails:
		return echo5.ErrNotFound
	case b.refuses:
		return c.String(http.StatusNotFound, "nothing")
	case b.silent:
		return nil
	}
	c.Response().Header().Set(countHeader, "17")
	return c.String(http.StatusOK, everyRow)
}

func (b behaviour) fiber(c fiber.Ctx) error {
	b.before(c.Context())
	defer func() { b.after(c.Context()) }()
	switch {
	case b.fails:
		return fiber.ErrNotFound
	case b.refuses:
		return c.Status(http.StatusNotFound).SendString("nothing")
	case b.silent:
		return nil
	}
	c.Set("Etag", `"x"`)
	c.Set(countHeader, "17")
	return c.SendString(everyRow)
}

// A handler that never looked at its rows shows nothing, whatever framework runs it. One that failed before says so.
func TestRows(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for name, f := range map[string]struct {
		start func(t *testing.T, guard Middleware, b behaviour) (addr string)
		fails int // the status where the handler returns an error before it looked
		// always: the middleware is over before the handler runs, so that no answer passes.
		always bool
		// buffered: the framework sends the answer when the handler has returned, so that it is never too late.
		buffered bool
	}{
		"ServeMux": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			m := http.NewServeMux()
			m.Handle("GET /rows/{id}", guard(b.netHTTP()))
			return listen(t, m)
		}},
		"chi": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			c := chi.NewRouter()
			c.With(guard).Method("GET", "/rows/{id}", b.netHTTP())
			return listen(t, c)
		}},
		"gorilla/mux": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			m := mux.NewRouter()
			m.Handle("/rows/{id}", guard(b.netHTTP()))
			return listen(t, m)
		}},
		"httprouter": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			m := httprouter.New()
			m.Handler("GET", "/rows/:id", guard(b.netHTTP()))
			return listen(t, m)
		}},
		"gin": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			e := gin.New()
			e.GET("/rows/:id", Gin(guard), b.gin)
			return listen(t, e)
		}},
		"gin, another middleware within": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			e := gin.New()
			e.Use(gin.Recovery())
			e.GET("/rows/:id", Gin(guard), func(c *gin.Context) { c.Next() }, b.gin)
			return listen(t, e)
		}},
		"echo v4": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			e := echo4.New()
			e.GET("/rows/:id", b.echo4, Echo4(guard))
			return listen(t, e)
		}},
		"echo v5": {fails: 404, start: func(t *testing.T, guard Middleware, b behaviour) string {
			e := echo5.New()
			e.GET("/rows/:id", b.echo5, Echo5(guard))
			return listen(t, e)
		}},
		"echo v5, its own WrapMiddleware": {fails: 500, start: func(t *testing.T, guard Middleware, b behaviour) string {
			e := echo5.New()
			e.GET("/rows/:id", b.echo5, echo5.WrapMiddleware(guard))
			return listen(t, e)
		}},
		"huma on ServeMux": {fails: 404, buffered: true, start: startHumaRows("humago")},
		"huma on chi":      {fails: 404, buffered: true, start: startHumaRows("humachi")},
		"huma on gin":      {fails: 404, buffered: true, start: startHumaRows("humagin")},
		"huma on echo v4":  {fails: 404, buffered: true, start: startHumaRows("humaecho")},
		"fiber v3": {fails: 404, buffered: true, start: func(t *testing.T, guard Middleware, b behaviour) string {
			app := fiber.New()
			app.Get("/rows/:id", Fiber(guard), b.fiber)
			return listenFiber(t, app)
		}},
		"fiber v3, its own adaptor": {fails: 404, always: true,
			start: func(t *testing.T, guard Middleware, b behaviour) string {
				app := fiber.New()
				app.Get("/rows/:id", adaptor.HTTPMiddleware(guard), b.fiber)
				return listenFiber(t, app)
			}},
	} {
		for what, c := range map[string]struct {
			b      behaviour
			status int
		}{
			"looks":                       {behaviour{looks: true}, 200},
			"needs none":                  {behaviour{waives: true}, 200},
			"looks, writes nothing":       {behaviour{looks: true, silent: true}, 200},
			"looks, fails":                {behaviour{looks: true, fails: true}, 404},
			"not found, before it looked": {behaviour{refuses: true}, 404},
			"fails, before it looked":     {behaviour{fails: true}, f.fails},
			"blind":                       {behaviour{}, 500},
			"blind, writes nothing":       {behaviour{silent: true}, 500},
			"looks too late":              {behaviour{late: true}, 500},
		} {
			if f.always || f.buffered && what == "looks too late" {
				continue
			}
			t.Run(name+"/"+what, func(t *testing.T) {
				status, body, header, log := askRows(t, f.start, c.b)
				require.Equal(t, c.status, status, body)
				if body == everyRow {
					require.Equal(t, "17", header.Get(countHeader))
				}
				if c.status != 500 {
					require.Empty(t, log)
					return
				}
				require.NotContains(t, body, everyRow)
				require.Contains(t, body, "problem/internal")
				require.Equal(t, "application/problem+json", header.Get("Content-Type"))
				require.Empty(t, header.Get("Etag"))
				require.Empty(t, header.Get(countHeader))
				require.Contains(t, log, `without asking for the rows`)
			})
		}
		if f.always {
			t.Run(name, func(t *testing.T) {
				_, _, _, log := askRows(t, f.start, behaviour{looks: true})
				require.Contains(t, log, "the handler must have finished when the middleware returns")
			})
		}
	}
}

// askRows sends one request of a key that may read some rows.
func askRows(t *testing.T, start func(*testing.T, Middleware, behaviour) string, b behaviour) (
	status int, body string, header http.Header, logged string,
) {
	keys := latchkey.New(memstore.New(nil), nil)
	log := &journal{}
	auth := httpadapter.New(keys, &httpadapter.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	key := issue(t, keys.For("acme"), latchkey.KindAPIKey, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("rows").Where(latchkey.Where("region", latchkey.Eq, "EU"))})
	addr := start(t, auth.RequireRows(latchkey.Read, "rows"), b)
	status, body, header = send(t, addr, "GET", "/rows/7", as(key)...)
	return status, body, header, log.take()
}
