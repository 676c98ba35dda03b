// Package latchkeygin guards routes of gin by the middleware of an [httpadapter.Adapter].
package latchkeygin

import (
	"bufio"
	"net"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/integrations/frameworks/internal/wildcards"
)

// Guard converts middleware of an Adapter to middleware of gin, for a route or a group. Handlers get the caller by
// httpadapter.AccessFrom(c.Request.Context()). The value of a catch-all is checked without its leading slash.
//
// A handler behind RequireRows may set c.Error, or a status of 400 and above, before it has looked at its rows.
func Guard(m func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		names, values := make([]string, len(c.Params)), make([]string, len(c.Params))
		for i, p := range c.Params {
			names[i], values[i] = p.Key, p.Value
			if strings.HasSuffix(c.FullPath(), "/*"+p.Key) {
				values[i] = strings.TrimPrefix(p.Value, "/")
			}
		}
		wildcards.Fill(c.Request, c.FullPath(), names, values)
		passed := false
		own := c.Writer
		m(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Writer = &ginWriter{own, w}
			c.Next()
			if !own.Written() && (len(c.Errors) > 0 || own.Status() >= 400) {
				httpadapter.RowsNotNeeded(r.Context())
			}
		})).ServeHTTP(own, c.Request)
		c.Writer = own
		if !passed {
			c.Abort()
		}
	}
}

// ginWriter is gin's writer, whose answer goes through the writer of a middleware first.
type ginWriter struct {
	gin.ResponseWriter
	inner http.ResponseWriter
}

// WriteHeaderNow implements gin.ResponseWriter: WriteHeader only notes the status.
func (w *ginWriter) WriteHeaderNow() {
	if !w.Written() {
		w.inner.WriteHeader(w.Status())
		w.ResponseWriter.WriteHeaderNow()
	}
}

func (w *ginWriter) Write(b []byte) (int, error) {
	w.WriteHeaderNow()
	return w.inner.Write(b)
}

func (w *ginWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *ginWriter) Flush() {
	w.WriteHeaderNow()
	_ = http.NewResponseController(w.inner).Flush()
}

func (w *ginWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.inner).Hijack()
}

func (w *ginWriter) Unwrap() http.ResponseWriter { return w.inner }
