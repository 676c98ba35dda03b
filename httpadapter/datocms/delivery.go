package datocms

import (
	"context"
	"net/http"

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
// can_access_cda, or with can_access_cda_preview when it says "X-Include-Drafts: true", and a role that may enter its
// environment (X-Environment; the primary one without). The handler finds the caller with [httpadapter.AccessFrom], the
// rest with [DeliveredFrom], and asks what she may read with access.Filter(latchkey.Read, datocms.Model(…)).
//
// The body is not looked at, nor is its type: the product's client sends JSON as text/plain. Nil options are ready to
// use; options that cannot work panic.
func Delivery(account latchkey.Account, opts *Options) func(http.Handler) http.Handler {
	s := newSurface(account, opts, MeterCDA, DefaultDeliveryRate)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.beforeReply(w, r)
			if r.Method == http.MethodOptions {
				preflight(w)
				return
			}
			access, d, err := s.deliver(w, r)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			ctx := context.WithValue(httpadapter.WithAccess(r.Context(), access), deliveredKey{}, d)
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

func (s *surface) deliver(w http.ResponseWriter, r *http.Request) (latchkey.Access, Delivered, error) {
	var d Delivered
	_, access, err := s.authenticate(w, r)
	if err != nil {
		return access, d, err
	}
	published := access.Allows(latchkey.Use, apiCDA)
	preview := access.Allows(latchkey.Use, apiPreview)
	if !published && !preview {
		return access, d, refuse(http.StatusUnauthorized, codeAuthorization, latchkey.ErrDenied)
	}
	if v := r.Header.Values("X-Include-Drafts"); len(v) > 0 {
		if len(v) > 1 || v[0] != "true" {
			return access, d, &refusal{status: http.StatusBadRequest, code: codeDrafts, cause: httpadapter.ErrBadRequest,
				details: struct {
					Message string `json:"message"`
				}{"X-Include-Drafts header can only be set to `true`"}}
		}
		d.Drafts = true
	}
	if d.Drafts && !preview || !d.Drafts && !published && !s.opts.PreviewReadsPublished {
		return access, d, refuse(http.StatusUnauthorized, codePermissions, latchkey.ErrDenied)
	}
	if d.Environment, err = s.environment(w, r); err != nil {
		return access, d, err
	}
	if err := Enter(access, d.Environment == s.environments()[0]); err != nil {
		return access, d, err
	}
	endpoint := "published"
	if d.Drafts {
		endpoint = "drafts"
	}
	access.Count(s.meter, endpoint, 1)
	return access, d, nil
}
