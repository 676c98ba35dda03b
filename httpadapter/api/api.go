package api

import (
	_ "embed"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/mount"
)

// Bounds of a request.
const (
	// DefaultMaxBody is how long a body may be, in bytes, if [Options].MaxBody is 0.
	DefaultMaxBody = 1 << 20
	// DefaultRemember is how long an Idempotency-Key is remembered if [Options].Remember is 0.
	DefaultRemember = 24 * time.Hour
	// DefaultLimit and MaxLimit are how many items a page holds if the request does not say, and at most.
	DefaultLimit = 50
	MaxLimit     = 200

	maxPath  = 8 << 10 // bytes, escaped
	maxQuery = 8 << 10 // bytes
)

// Options configure [Mount] and [Handler]. The zero value, and nil, are ready to use.
type Options struct {
	// RequireIfMatch demands If-Match of each request that changes a record that has a version: a client then cannot
	// overwrite what it has not seen. It may send "*". Without it such a request is answered 428. False: If-Match is
	// obeyed where it is sent.
	RequireIfMatch bool

	// MaxBody is how long a request's body may be, in bytes. 0: [DefaultMaxBody].
	MaxBody int64

	// Remember is how long an Idempotency-Key is remembered at least. The store keeps one row for each until then. 0:
	// [DefaultRemember]. A minute or more.
	Remember time.Duration

	// Clock returns the current time. Pass the Manager's clock. Nil: time.Now.
	Clock func() time.Time
}

// surface is an Adapter and the options it is served with.
type surface struct {
	auth     *httpadapter.Adapter
	opts     Options
	ignore   []string // parameters of the query that carry a credential
	routes   *route
	identify http.Handler
}

// Mount serves the API beneath prefix ("/latchkey/v1", "" for the root). Auth says who may call, and how: see
// [httpadapter.New]. Nil options are ready to use. Mount panics if auth is nil, if the prefix does not begin with a
// slash or ends with one, and on invalid options.
//
// GET prefix/openapi.json is answered without a credential.
func Mount(mux httpadapter.Mux, prefix string, auth *httpadapter.Adapter, opts *Options) {
	if prefix != "" && (prefix[0] != '/' || strings.HasSuffix(prefix, "/")) {
		panic(fmt.Sprintf("api: Mount: the prefix %q must begin with a slash, and must not end with one", prefix))
	}
	mount.Beneath(mux, prefix, "", Handler(auth, opts))
}

// Handler returns the API for hosts that route requests themselves. It serves the paths of the document as they are:
// "/tokens". Put [http.StripPrefix] before it for a prefix. It panics as [Mount] does.
func Handler(auth *httpadapter.Adapter, opts *Options) http.Handler {
	if auth == nil {
		panic("api: Mount needs an Adapter: pass httpadapter.New(manager, …)")
	}
	s := &surface{auth: auth, ignore: auth.Carriers().Query, routes: routes(operations())}
	if opts != nil {
		s.opts = *opts
	}
	switch {
	case s.opts.MaxBody < 0:
		panic("api: Options.MaxBody is negative")
	case s.opts.MaxBody == 0:
		s.opts.MaxBody = DefaultMaxBody
	}
	switch {
	case s.opts.Remember == 0:
		s.opts.Remember = DefaultRemember
	case s.opts.Remember < time.Minute:
		panic("api: Options.Remember must be a minute or more")
	}
	if s.opts.Clock == nil {
		s.opts.Clock = time.Now
	}
	s.identify = auth.Identify(http.HandlerFunc(s.serve))
	return s
}

//go:embed openapi.json
var document []byte

// Document returns the OpenAPI 3.1 description of the API, as it is served. It is a copy.
func Document() []byte { return append([]byte(nil), document...) }

func (s *surface) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == documentPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "public, max-age=300")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Length", strconv.Itoa(len(document)))
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(document)
		}
		return
	}
	s.identify.ServeHTTP(w, r)
}

const documentPath = "/openapi.json"

// serve answers a request whose caller is known.
func (s *surface) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // what tokens there are, and what they may do, is nobody else's business
	h.Set("X-Content-Type-Options", "nosniff")
	access, _ := httpadapter.AccessFrom(r.Context())
	account, err := access.Manager().For(access.Owner()).As(access)
	if err != nil {
		s.auth.WriteError(w, r, err)
		return
	}
	op, path, err := s.routes.find(w, r)
	if err == nil {
		c := &call{surface: s, op: op, w: w, r: r, access: access, account: account, path: path}
		err = c.run()
	}
	if err != nil {
		s.auth.WriteError(w, r, explained(err))
	}
}

// manager returns the Manager of a call.
func (c *call) manager() *latchkey.Manager { return c.access.Manager() }
