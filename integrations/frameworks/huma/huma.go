// Package latchkeyhuma guards operations of huma v2 by the middleware of an [httpadapter.Adapter], and describes the
// guards in its OpenAPI documents.
package latchkeyhuma

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Scheme is the name of the security scheme that [Require] writes into an operation. Declare it in
// huma.Config.Components.SecuritySchemes.
const Scheme = "latchkey"

// guarded marks the Metadata of an operation that Require or RequireRows guards.
const guarded = "latchkey"

// Guard converts middleware of an Adapter to middleware of huma v2, for an operation, a group or an API. Handlers get
// the caller by httpadapter.AccessFrom(ctx). The API may use any of huma's adapters over net/http: humago, humachi,
// humagin, humaecho and others, but not humafiber.
//
// A handler behind RequireRows may return an error before it has looked at its rows, as an error has a status of 400
// and above. Unwrap of the adapters panics there: it would find the writer that shows all rows.
func Guard(m func(http.Handler) http.Handler) func(ctx huma.Context, next func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		body, ok := ctx.BodyWriter().(http.ResponseWriter)
		if !ok {
			panic("latchkeyhuma: Guard needs an adapter over net/http, and not humafiber")
		}
		own := &writer{ResponseWriter: body, ctx: ctx}
		m(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner := huma.WithContext(ctx, context.WithValue(r.Context(), requestKey{}, r))
			if w == http.ResponseWriter(own) {
				next(inner)
				return
			}
			next(&guardedContext{base: inner, w: w})
		})).ServeHTTP(own, requestOf(ctx))
	}
}

// requestKey is the key of the request of the innermost Guard.
type requestKey struct{}

// requestOf returns the request of ctx for net/http.
func requestOf(ctx huma.Context) *http.Request {
	u := ctx.URL()
	version := ctx.Version()
	r := (&http.Request{
		Method: ctx.Method(), URL: &u, RequestURI: u.RequestURI(), Host: ctx.Host(), RemoteAddr: ctx.RemoteAddr(),
		TLS: ctx.TLS(), Header: http.Header{}, Body: io.NopCloser(ctx.BodyReader()), ContentLength: -1,
		Proto: version.Proto, ProtoMajor: version.ProtoMajor, ProtoMinor: version.ProtoMinor,
	}).WithContext(ctx.Context())
	ctx.EachHeader(func(name, value string) { r.Header.Add(name, value) })
	op := ctx.Operation()
	names, rest := paramsOf(op.Path)
	for _, name := range names {
		r.SetPathValue(name, ctx.Param(name))
	}
	if rest != "" {
		r.SetPathValue(rest, strings.TrimPrefix(ctx.Param(rest), "/")) // as Gin does
	}
	r.Pattern = op.Method + " " + op.Path
	if rest != "" && rest != "*" {
		r.Pattern = strings.TrimSuffix(r.Pattern, "*"+rest) + "{" + rest + "...}"
	}
	return r
}

// paramsOf returns the names of the wildcards in the path of an operation: {id}, {id...} and {id:[0-9]+}. rest is that
// of a catch-all as chi and echo write it, "*", or as gin and httprouter do, "*rest".
func paramsOf(path string) (names []string, rest string) {
	if at := strings.LastIndex(path, "/*"); at >= 0 && !strings.Contains(path[at+1:], "/") {
		path, rest = path[:at], path[at+2:]
		if rest == "" {
			rest = "*"
		}
	}
	for {
		_, after, found := strings.Cut(path, "{")
		if !found {
			return names, rest
		}
		inner, after, _ := strings.Cut(after, "}")
		name, _, _ := strings.Cut(strings.TrimSuffix(inner, "..."), ":")
		names, path = append(names, name), after
	}
}

// writer is the writer of an operation. The context hears of the status, for middleware around that logs it.
type writer struct {
	http.ResponseWriter
	ctx huma.Context
}

func (w *writer) WriteHeader(status int) { w.ctx.SetStatus(status) }

func (w *writer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// base is a huma.Context to embed: one by that name would hide the method Context.
type base huma.Context

// guardedContext is a context whose answer goes through the writer of a middleware.
type guardedContext struct {
	base
	w      http.ResponseWriter
	status int
}

func (c *guardedContext) SetStatus(status int) {
	c.status = status
	c.w.WriteHeader(status)
}

func (c *guardedContext) Status() int                  { return c.status }
func (c *guardedContext) SetHeader(name, value string) { c.w.Header().Set(name, value) }
func (c *guardedContext) AppendHeader(name, v string)  { c.w.Header().Add(name, v) }
func (c *guardedContext) BodyWriter() io.Writer        { return c.w }

// Require guards an operation by [httpadapter.Adapter.Require], and says so in its OpenAPI description. It is an
// operation handler: huma.Get(api, "/data/{id}", h, Require(auth, latchkey.Read, "dataset/{id}")). For
// huma.Register apply it to the operation before.
//
// The description lists the action and the resource as a role of the scheme [Scheme]. An operation that already
// names other schemes then needs them as well.
func Require(auth *httpadapter.Adapter, action latchkey.Action, resource string) func(*huma.Operation) {
	return guard(auth.Require(action, resource), string(action)+" "+resource)
}

// RequireRows is [Require] with [httpadapter.Adapter.RequireRows].
func RequireRows(auth *httpadapter.Adapter, action latchkey.Action, resource string) func(*huma.Operation) {
	return guard(auth.RequireRows(action, resource), string(action)+" "+resource)
}

// Spend makes an operation cost n credits of a meter: see [httpadapter.Adapter.Spend]. Name it after
// [Require].
func Spend(auth *httpadapter.Adapter, meter string, n latchkey.Credits) func(*huma.Operation) {
	m := Guard(auth.Spend(meter, n))
	return func(op *huma.Operation) { op.Middlewares = append(op.Middlewares, m) }
}

func guard(m func(http.Handler) http.Handler, role string) func(*huma.Operation) {
	converted := Guard(m)
	return func(op *huma.Operation) {
		op.Middlewares = append(op.Middlewares, converted)
		if op.Metadata == nil {
			op.Metadata = map[string]any{}
		}
		op.Metadata[guarded] = true
		if len(op.Security) == 0 {
			op.Security = []map[string][]string{{}}
		}
		for i, alternative := range op.Security { // each is enough for huma, and this guard is needed in all
			fresh := map[string][]string{}
			for scheme, roles := range alternative {
				fresh[scheme] = roles
			}
			fresh[Scheme] = append(fresh[Scheme][:len(fresh[Scheme]):len(fresh[Scheme])], role)
			op.Security[i] = fresh
		}
	}
}

// GuardAll makes an API refuse unguarded operations when they are registered: it panics. An operation must be
// guarded by [Require] or [RequireRows], or say that it is public: Security is empty and not nil. Huma itself
// takes Security for documentation only, so an operation that names [Scheme] without such a guard panics, too.
// Call it before the API is made. The API's own pages, /docs, /openapi.json and /schemas, are no operations.
func GuardAll(config *huma.Config) {
	config.OnAddOperation = append(config.OnAddOperation, func(api *huma.OpenAPI, op *huma.Operation) {
		if op.Security != nil && len(op.Security) == 0 || op.Metadata[guarded] != nil || isAutoPatch(api, op) {
			return
		}
		panic(fmt.Sprintf("latchkeyhuma: the operation %s %s has no guard: use Require or RequireRows, or set "+
			"Security to []map[string][]string{} if it is public", op.Method, op.Path))
	})
}

// isAutoPatch reports whether op is one of huma's autopatch, which calls the GET and the PUT of its path with the
// credentials of the request. It takes the list of the PUT, which both guards have been through.
func isAutoPatch(api *huma.OpenAPI, op *huma.Operation) bool {
	path := api.Paths[op.Path]
	if op.Method != http.MethodPatch || path == nil || path.Get == nil || path.Put == nil {
		return false
	}
	put := path.Put
	return path.Get.Metadata[guarded] != nil && put.Metadata[guarded] != nil && len(op.Middlewares) == 0 &&
		len(op.Security) > 0 && &op.Security[0] == &put.Security[0]
}

// Problem writes refusals as huma writes its errors, in the format that the request accepts. It is an
// Options.Problem for an Adapter whose handlers are operations of api.
func Problem(api huma.API) func(http.ResponseWriter, *http.Request, httpadapter.Problem) {
	return func(w http.ResponseWriter, r *http.Request, p httpadapter.Problem) {
		ctx := humago.NewContext(nil, r, w)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		body := problemOf(p)
		contentType, err := api.Negotiate(r.Header.Get("Accept"))
		if err != nil {
			contentType = "application/json" // a refusal is more than a type that is not to be had
		}
		w.Header().Set("Content-Type", contentType)
		if filter, ok := body.(huma.ContentTypeFilter); ok {
			w.Header().Set("Content-Type", filter.ContentType(contentType))
		}
		var shown any = body
		if t, err := api.Transform(ctx, fmt.Sprint(p.Status), body); err == nil {
			shown = t
		}
		w.WriteHeader(p.Status)
		_ = api.Marshal(w, contentType, shown)
	}
}

// problemOf returns p as an error of huma.
func problemOf(p httpadapter.Problem) huma.StatusError {
	detail := p.Detail
	if detail == "" {
		detail = p.Title
	}
	var of []error
	if p.Field != "" {
		of = append(of, &huma.ErrorDetail{Message: detail, Location: "path." + p.Field})
	}
	err := huma.NewError(p.Status, detail, of...)
	var model *huma.ErrorModel
	if errors.As(err, &model) {
		model.Type, model.Title = p.Type, p.Title
	}
	return err
}

// Error returns an error of latchkey as an operation returns it, with the status of [httpadapter.ProblemOf] and the
// headers of [httpadapter.Adapter.WriteError]. As that does, it reports the refusal, and calls OnError and Logger of
// auth. Options.Problem of auth is not called: huma writes the body. The ctx is that of the operation.
func Error(ctx context.Context, auth *httpadapter.Adapter, err error) error {
	r, ok := ctx.Value(requestKey{}).(*http.Request)
	if !ok {
		r = &http.Request{URL: &url.URL{}, Header: http.Header{}} // an operation without a guard
	}
	said := headersOnly{}
	auth.WriteError(said, r.WithContext(ctx), err)
	h := http.Header{}
	for _, name := range []string{"Cache-Control", "Www-Authenticate", "Retry-After"} {
		if values := said[name]; len(values) > 0 {
			h[name] = values
		}
	}
	return huma.ErrorWithHeaders(problemOf(httpadapter.ProblemOf(err)), h)
}

// headersOnly is a ResponseWriter that keeps headers.
type headersOnly http.Header

func (h headersOnly) Header() http.Header         { return http.Header(h) }
func (h headersOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h headersOnly) WriteHeader(int)             {}
