package frameworks

import (
	"net/http"

	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"

	"github.com/latchkey-go/latchkey/httpadapter"
)

// Echo4 converts middleware of an Adapter to middleware of echo v4, for a route or a group. Handlers get the caller by
// httpadapter.AccessFrom(c.Request().Context()). The name of the wildcard "*" is "*".
//
// It differs from echo.WrapMiddleware in two ways. Values are found, and a handler behind RequireRows may return an
// error before it has looked at its rows: echo's error handler answers it later.
func Echo4(m Middleware) echo4.MiddlewareFunc {
	wrap := echo4.WrapMiddleware(m)
	return func(next echo4.HandlerFunc) echo4.HandlerFunc {
		h := wrap(func(c echo4.Context) error {
			err := next(c)
			if err != nil {
				httpadapter.RowsNotNeeded(c.Request().Context())
			}
			return err
		})
		return func(c echo4.Context) error {
			fill(c.Request(), c.Path(), c.ParamNames(), c.ParamValues())
			return h(c)
		}
	}
}

// Echo5 is [Echo4] for echo v5. echo.WrapMiddleware works as well, except that an empty value causes status 500, and so
// does an error that a handler behind RequireRows returns before it has looked at its rows.
func Echo5(m Middleware) echo5.MiddlewareFunc {
	return func(next echo5.HandlerFunc) echo5.HandlerFunc {
		failing := func(c *echo5.Context) error {
			err := next(c)
			if err != nil {
				httpadapter.RowsNotNeeded(c.Request().Context())
			}
			return err
		}
		return func(c *echo5.Context) error {
			var names, values []string
			for _, p := range c.PathValues() {
				names, values = append(names, p.Name), append(values, p.Value)
			}
			route := c.Path()
			return echo5.WrapMiddleware(func(inner http.Handler) http.Handler {
				h := m(inner)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					fill(r, route, names, values)
					h.ServeHTTP(w, r)
				})
			})(failing)(c)
		}
	}
}
