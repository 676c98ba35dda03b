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

// Delivered is how a request to the delivery API may be answered.
type Delivered struct {
	Environment string // the one to read from; the caller may enter it
	Drafts      bool   // newest versions, those that are not published included; else published content alone
}

type deliveredKey struct{}

// DeliveredFrom is what [Delivery] found out about a request, and whether it did.
func DeliveredFrom(ctx context.Context) (Delivered, bool) {
	d, ok := ctx.Value(deliveredKey{}).(Delivered)
	return d, ok
}

// Delivery guards a host's delivery API (the product's GraphQL endpoint, POST /). A request needs a token with
// can_access_cda, or with can_access_cda_preview when it asks for drafts, and a role that may enter its environment.
// The handler finds the caller with [httpadapter.AccessFrom], the rest with [DeliveredFrom], and asks what it may
// read with access.Filter(latchkey.Read, datocms.Model(…)).
//
// Drafts are asked for by the header "X-Include-Drafts: true" or by a path that ends in /preview. The environment is
// named by the header X-Environment or by a path that ends in /environments/:id or /environments/:id/preview, beneath
// whatever prefix; without either it is the primary one. Path and header that name different environments are a 404
// INVALID_ENVIRONMENT. Slashes at the end of a path mean nothing. A path that holds "environments" but none of these
// forms, or whose form depends on who reads it ("/Preview", "%2Fpreview", dot segments), is a 404 INVALID_ENDPOINT. To
// serve these paths, register the handler for all beneath its own, and for every method, for browsers ask with OPTIONS:
// "/graphql" and "/graphql/". The path stays as it came.
//
// The body is not looked at, nor is its type: the product's client sends JSON as text/plain. Nil options are ready to
// use; options that cannot work panic.
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

// deliver decides how a request may be answered. The one that comes back says who was found to call.
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
	inPath, previewPath, ok := deliveryForm(r.URL) // not before: nobody's path is not taken apart
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

// deliveryForm is what the end of a path says: which environment (none or one), and whether drafts are meant. Not ok is
// a path that means two things, or nothing.
func deliveryForm(u *url.URL) (environment []string, drafts, ok bool) {
	escaped := strings.Split(strings.TrimRight(u.EscapedPath(), "/"), "/")
	for i, segment := range escaped {
		var err error
		if escaped[i], err = url.PathUnescape(segment); err != nil {
			return nil, false, false
		}
	}
	// Muxes differ in whether they cut a path before or after it is unescaped.
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
	if at >= 0 && len(segments) == at+2 { // an environment of any name, be it "preview"
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
