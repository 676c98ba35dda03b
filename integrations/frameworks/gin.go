package frameworks

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// Gin converts middleware of an Adapter to middleware of gin, for a route or a group. Handlers get the caller by
// httpadapter.AccessFrom(c.Request.Context()). The value of a catch-all is checked without its leading slash.
func Gin(m Middleware) gin.HandlerFunc {
	return func(c *gin.Context) {
		names, values := make([]string, len(c.Params)), make([]string, len(c.Params))
		for i, p := range c.Params {
			names[i], values[i] = p.Key, p.Value
			if strings.HasSuffix(c.FullPath(), "/*"+p.Key) {
				values[i] = strings.TrimPrefix(p.Value, "/")
			}
		}
		fill(c.Request, c.FullPath(), names, values)
		passed := false
		m(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}
