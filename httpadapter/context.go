package httpadapter

import (
	"context"
	"sync/atomic"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/visit"
)

// requestState is what the context of a request carries, in one allocation.
type requestState struct {
	watchedContext
	access  latchkey.Access
	known   bool        // access is set
	given   bool        // the host set access: see WithAccess
	linked  bool        // the credential was found, and by a link from another origin: see Carriers.TrustedOrigins
	hasRows bool        // rows is set
	looked  atomic.Bool // the handler asked for rows, or said that it needs none
	rows    latchkey.Condition
	outer   *requestState // of the middleware around; nil: none
	on      string        // the resource of the innermost Require, as it was written there
}

type stateKey struct{}

func newState(ctx context.Context) *requestState {
	return &requestState{watchedContext: watchedContext{Context: ctx}}
}

func (s *requestState) Value(key any) any {
	if key == (stateKey{}) && s.known {
		return s
	}
	return s.watchedContext.Value(key)
}

// WithAccess returns a context that carries access, for hosts that authenticate callers themselves (see
// [latchkey.Account.Assume]). [Adapter.Require] and [Adapter.RequireRows] behind it check access and read no
// credential.
func WithAccess(ctx context.Context, access latchkey.Access) context.Context {
	return withAccess(ctx, access)
}

func withAccess(ctx context.Context, access latchkey.Access) *requestState {
	s := newState(ctx)
	s.access, s.known, s.given = access, true, true
	if s.outer, _ = ctx.Value(stateKey{}).(*requestState); s.outer != nil {
		s.linked = s.outer.linked
	}
	if visit.From(ctx) == nil { // record refusals, so that none is reported twice
		s.watch(nil, access.Address())
	}
	return s
}

// AccessFrom returns the Access of the request, and whether there is one. In OnError it is the caller that was
// denied; [RefusalFrom] returns the token that was refused.
func AccessFrom(ctx context.Context) (latchkey.Access, bool) {
	s, _ := ctx.Value(stateKey{}).(*requestState)
	if s == nil {
		return latchkey.Access{}, false
	}
	return s.access, true
}
