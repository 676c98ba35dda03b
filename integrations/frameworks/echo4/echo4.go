// Package latchkeyecho4 guards routes of echo v4 by the middleware of an [httpadapter.Adapter].
package latchkeyecho4

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/integrations/frameworks/internal/wildcards"
)

// Guard converts middleware of an Adapter to middleware of echo v4, for a route or a group. Handlers get the caller by
// httpadapter.AccessFrom(c.Request().Context()). The name of the wildcard "*" is "*".
//
// It differs from echo.WrapMiddleware in two ways. Values are found, and a handler behind RequireRows may return an
// error before it has looked at its rows: echo's error handler answers it later.
func Guard(m func(http.Handler) http.Handler) echo.MiddlewareFunc {
	wrap := echo.WrapMiddleware(m)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		h := wrap(func(c echo.Context) error {
			err := next(c)
			if err != nil {
				httpadapter.RowsNotNeeded(c.Request().Context())
			}
			return err
		})
		return func(c echo.Context) error {
			wildcards.Fill(c.Request(), c.Path(), c.ParamNames(), c.ParamValues())
			return h(c)
		}
	}
}
