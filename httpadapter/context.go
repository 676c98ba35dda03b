package httpadapter

import (
	"context"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/visit"
)

// state is what a request's context carries: one allocation for all of it.
type requestState struct {
	watchedContext
	access  latchkey.Access
	known   bool // there is an access
	rows    latchkey.Condition
	hasRows bool
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

// WithAccess is for hosts that authenticate callers themselves (see [latchkey.Account.Assume]): [Adapter.Require] and
// its siblings behind it ask access and look for no credential.
func WithAccess(ctx context.Context, access latchkey.Access) context.Context {
	s := newState(ctx)
	s.access, s.known = access, true
	if visit.From(ctx) == nil { // nobody remembers what is refused: else it would be reported twice
		s.watch(nil, access.Address())
	}
	return s
}

// AccessFrom returns the Access of the request, and whether there is one. In OnError it tells who was denied, and
// [RefusalFrom] who was refused.
func AccessFrom(ctx context.Context) (latchkey.Access, bool) {
	s, _ := ctx.Value(stateKey{}).(*requestState)
	if s == nil {
		return latchkey.Access{}, false
	}
	return s.access, true
}

// RowsFrom returns the row condition that [Adapter.RequireRows] left for the handler to bind, and whether there is one.
// The zero Condition that comes with false admits no row.
func RowsFrom(ctx context.Context) (latchkey.Condition, bool) {
	s, _ := ctx.Value(stateKey{}).(*requestState)
	if s == nil || !s.hasRows {
		return latchkey.Condition{}, false
	}
	return s.rows, true
}
