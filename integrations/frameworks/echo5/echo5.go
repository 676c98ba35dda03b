// Package latchkeyecho5 guards routes of echo v5 by the middleware of an [httpadapter.Adapter].
package latchkeyecho5

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/integrations/frameworks/internal/wildcards"
)

// Guard converts middleware of an Adapter to middleware of echo v5, for a route or a group. Handlers get the caller by
// httpadapter.AccessFrom(c.Request().Context()). The name of the wildcard "*" is "*".
//
// A handler behind RequireRows may return an error before it has looked at its rows: echo's error handler answers it
// later.
//
// echo.WrapMiddleware works as well, except that an empty value causes status 500, and so
// does an error that a handler behind RequireRows returns before it has looked at its rows.
func Guard(m func(http.Handler) http.Handler) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		failing := func(c *echo.Context) error {
			err := next(c)
			if err != nil {
				httpadapter.RowsNotNeeded(c.Request().Context())
			}
			return err
		}
		return func(c *echo.Context) error {
			var names, values []string
			for _, p := range c.PathValues() {
				names, values = append(names, p.Name), append(values, p.Value)
			}
			route := c.Path()
			return echo.WrapMiddleware(func(inner http.Handler) http.Handler {
				h := m(inner)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					wildcards.Fill(r, route, names, values)
					h.ServeHTTP(w, r)
				})
			})(failing)(c)
		}
	}
}
