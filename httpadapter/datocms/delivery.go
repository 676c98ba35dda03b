package datocms

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Delivered describes how to answer a request to the delivery API.
type Delivered struct {
	Environment string // the environment to read from; the caller may enter it
	Drafts      bool   // read the newest versions, unpublished ones included; false: published content only
}

type deliveredKey struct{}

// DeliveredFrom returns what [Delivery] stored in the context, and whether it did.
func DeliveredFrom(ctx context.Context) (Delivered, bool) {
	d, ok := ctx.Value(deliveredKey{}).(Delivered)
	return d, ok
}

// Delivery returns middleware for a host's delivery API (the product's GraphQL endpoint, POST /). A request needs a
// token with can_access_cda, or with can_access_cda_preview to read drafts, and a role that may enter its
// environment. The handler finds the caller with [httpadapter.AccessFrom], and the environment with [DeliveredFrom].
// It gets the condition on rows from access.Filter(latchkey.Read, datocms.Model(…)).
//
// A request reads drafts with the header "X-Include-Drafts: true" or a path that ends in /preview. It names its
// environment with the header X-Environment, or a path that ends in /environments/:id or /environments/:id/preview,
// under any prefix. Otherwise it reads the primary environment. Different environments in path and header are a 404
// INVALID_ENVIRONMENT. Trailing slashes are ignored.
//
// Two kinds of path are a 404 INVALID_ENDPOINT: one that holds "environments" in another form, and one that readers
// could understand differently ("/Preview", "%2Fpreview", dot segments). Register the handler for its own path and
// all paths beneath it, as "/graphql" and "/graphql/", and for every method, as browsers send OPTIONS. The path is
// passed on unchanged.
//
// The body and its type are not checked: the product's client sends JSON as text/plain. Nil options are ready to use.
// It panics on invalid options.
func Delivery(account latchkey.Account, opts *Options) func(http.Handler) http.Handler {
	s := newSurface(account, opts, MeterCDA, DefaultDeliveryRate)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.setHeaders(w, r)
			if r.Method == http.MethodOptions {
				preflight(w)
				return
			}
			r, d, err := s.deliver(w, r)
			if err != nil {
				s.writeError(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), deliveredKey{}, d)))
		})
	}
}

// deliver decides how a request is answered. The returned request carries the caller in its context.
func (s *surface) deliver(w http.ResponseWriter, r *http.Request) (*http.Request, Delivered, error) {
	var d Delivered
	r, _, access, err := s.authenticate(w, r)
	if err != nil {
		return r, d, err
	}
	published := access.Allows(latchkey.Use, apiCDA)
	preview := access.Allows(latchkey.Use, apiPreview)
	if !published && !preview {
		return r, d, refuse(http.StatusUnauthorized, codeAuthorization, access.Check(latchkey.Use, apiCDA))
	}
	inPath, previewPath, ok := deliveryForm(r.URL) // only after authentication
	if !ok {
		return r, d, refuse(http.StatusNotFound, codeEndpoint, latchkey.ErrNotFound)
	}
	d.Drafts = previewPath
	if v := r.Header.Values("X-Include-Drafts"); len(v) > 0 {
		if len(v) > 1 || v[0] != "true" {
			return r, d, &refusal{status: http.StatusBadRequest, code: codeDrafts, cause: httpadapter.ErrBadRequest,
				details: struct {
					Message string `json:"message"`
				}{"X-Include-Drafts header can only be set to `true`"}}
		}
		d.Drafts = true
	}
	if d.Drafts && !preview || !d.Drafts && !published && !s.opts.PreviewReadsPublished {
		needs := latchkey.Resource(apiCDA)
		if d.Drafts {
			needs = apiPreview
		}
		return r, d, refuse(http.StatusUnauthorized, codePermissions, access.Check(latchkey.Use, needs))
	}
	if d.Environment, err = s.environment(w, r, inPath...); err != nil {
		return r, d, err
	}
	if err := Enter(access, d.Environment == s.environments()[0]); err != nil {
		return r, d, err
	}
	endpoint := "published"
	if d.Drafts {
		endpoint = "drafts"
	}
	access.Count(s.meter, endpoint, 1)
	return r, d, nil
}

// deliveryForm returns what the end of a path says: the environment (none or one), and whether drafts are read. ok is
// false for a path with two meanings, or none.
func deliveryForm(u *url.URL) (environment []string, drafts, ok bool) {
	escaped := strings.Split(strings.TrimRight(u.EscapedPath(), "/"), "/")
	for i, segment := range escaped {
		var err error
		if escaped[i], err = url.PathUnescape(segment); err != nil {
			return nil, false, false
		}
	}
	// Muxes differ in whether they split a path before or after unescaping it.
	plain := strings.Split(strings.TrimRight(u.Path, "/"), "/")
	environment, drafts, ok = deliveryFormOf(escaped)
	environment2, drafts2, ok2 := deliveryFormOf(plain)
	if !ok || !ok2 || drafts != drafts2 || !slices.Equal(environment, environment2) {
		return nil, false, false
	}
	return environment, drafts, true
}

func deliveryFormOf(segments []string) (environment []string, drafts, ok bool) {
	for _, s := range segments {
		if s == "." || s == ".." || s != segmentEnvironments && strings.EqualFold(s, segmentEnvironments) {
			return nil, false, false
		}
	}
	last := segments[len(segments)-1]
	at := slices.Index(segments, segmentEnvironments)
	if at >= 0 && len(segments) == at+2 { // an environment may be named "preview"
		return segments[at+1:], false, true
	}
	drafts = last == segmentPreview
	switch {
	case !drafts && strings.EqualFold(last, segmentPreview):
		return nil, false, false
	case at < 0:
		return nil, drafts, true
	case drafts && len(segments) == at+3:
		return segments[at+1 : at+2], true, true
	}
	return nil, false, false
}

// Segments of the path forms.
const (
	segmentEnvironments = "environments"
	segmentPreview      = "preview"
)
