package frameworks

import (
	"net/http"

	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"
)

// Echo4 converts middleware of an Adapter to middleware of echo v4, for a route or a group. Handlers get the caller by
// httpadapter.AccessFrom(c.Request().Context()). The name of the wildcard "*" is "*".
func Echo4(m Middleware) echo4.MiddlewareFunc {
	wrap := echo4.WrapMiddleware(m)
	return func(next echo4.HandlerFunc) echo4.HandlerFunc {
		h := wrap(next)
		return func(c echo4.Context) error {
			fill(c.Request(), c.Path(), c.ParamNames(), c.ParamValues())
			return h(c)
		}
	}
}

// Echo5 is [Echo4] for echo v5. echo.WrapMiddleware works as well, except that an empty value causes status 500.
func Echo5(m Middleware) echo5.MiddlewareFunc {
	return func(next echo5.HandlerFunc) echo5.HandlerFunc {
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
			})(next)(c)
		}
	}
}
