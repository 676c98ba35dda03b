// Package latchkeyconnect guards procedures of Connect servers (connectrpc.com/connect) by the middleware of
// [httpadapter]. Clients of all three protocols, Connect, gRPC and gRPC-Web, get refusals as errors of their protocol.
//
// For most uses, make an Adapter whose Options.Problem is [Problem], list each procedure with its guard in a [Table],
// and wrap the mux of the generated handlers with [Guard]. A procedure that the table does not have is denied. Handlers
// find the caller with [httpadapter.AccessFrom].
//
// A stream is checked when it begins. One that must end with its token asks [latchkey.Access.Again] between messages.
package latchkeyconnect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// Domain is the domain of the google.rpc.ErrorInfo in every refusal. Its reason is [httpadapter.Problem.Reason]:
// "INVALID_TOKEN", "DENIED", "RATE_LIMITED".
const Domain = httpadapter.ErrorDomain

// ReasonUnmapped is the reason of a refusal because the table has no rule for the procedure.
const ReasonUnmapped = "UNMAPPED"

// Middleware is the type of the results of Adapter.Require, RequireRows and Spend, and of Adapter.Authenticate.
type Middleware = func(http.Handler) http.Handler

// Table says how each procedure is guarded. Its keys are the paths of procedures, as the constants of generated code
// have them: "/shop.v1.Orders/Get".
type Table map[string]Middleware

// Public guards nothing. It is for procedures that need no credential, such as those of a health service.
func Public(next http.Handler) http.Handler { return next }

// All applies several guards, the first one outermost: Require, and then Spend.
func All(guards ...Middleware) Middleware {
	return func(next http.Handler) http.Handler {
		for _, m := range slices.Backward(guards) {
			next = m(next)
		}
		return next
	}
}

// Guard returns a middleware for the handlers of procedures: for each of them, or for a mux with all. It passes a
// request to the guard of its procedure. The procedure is the path of the URL, exactly. So Guard stands inside of
// anything that changes the path, such as [http.StripPrefix]. A procedure that the table does not have is denied,
// whatever its caller may do.
//
// Guard panics if auth is nil, for a key that is no procedure, and for a nil Middleware. It copies the table.
func Guard(auth *httpadapter.Adapter, table Table) Middleware {
	if auth == nil {
		panic("latchkeyconnect: Guard needs an Adapter")
	}
	for procedure, m := range table {
		service, method, ok := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
		if !ok || service == "" || method == "" || procedure[0] != '/' || strings.Contains(method, "/") {
			panic(fmt.Sprintf(`latchkeyconnect: Guard: %q is no procedure: write "/package.Service/Method"`, procedure))
		}
		if m == nil {
			panic(fmt.Sprintf("latchkeyconnect: Guard: the procedure %q has no guard: use Require, or Public", procedure))
		}
	}
	return func(next http.Handler) http.Handler {
		guarded := make(map[string]http.Handler, len(table))
		for procedure, m := range table {
			guarded[procedure] = m(next)
		}
		unmapped := auth.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			auth.WriteError(w, r.WithContext(context.WithValue(r.Context(), unmappedKey{}, true)), errUnmapped)
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := guarded[r.URL.Path]
			if h == nil {
				h = unmapped // fail closed
			}
			h.ServeHTTP(w, r)
		})
	}
}

type unmappedKey struct{}

var errUnmapped = fmt.Errorf("latchkeyconnect: the table has no rule for the procedure: %w", latchkey.ErrDenied)

// Problem returns an [httpadapter.Options].Problem that writes refusals in the protocol of the request. The options are
// those of the handlers, as for [connect.NewErrorWriter]. A request of no such protocol gets Connect's JSON. An Adapter
// with it is for procedures only.
//
// The headers of a refusal (WWW-Authenticate, Retry-After, RateLimit) are in the metadata of the error. [Error] lists
// the codes.
func Problem(opts ...connect.HandlerOption) func(http.ResponseWriter, *http.Request, httpadapter.Problem) {
	writer := connect.NewErrorWriter(opts...)
	return func(w http.ResponseWriter, r *http.Request, p httpadapter.Problem) {
		reason := p.Reason()
		if r.Context().Value(unmappedKey{}) != nil {
			reason = ReasonUnmapped
		}
		_ = writer.Write(w, r, errorOf(p, reason)) // the client has gone
	}
}

// Error returns an error of latchkey as a handler returns it, for checks that need the message: of the dataset that it
// names, say. It reports the refusal: see [httpadapter.Refused]. The code is that of the problem:
// see [httpadapter.Problem.RPCCode].
//
// Every error but internal has a google.rpc.ErrorInfo, and a RetryInfo if it helps to wait. A nil err is internal: a
// mistake must not read as success.
func Error(ctx context.Context, err error) *connect.Error {
	httpadapter.Refused(ctx, err)
	p := httpadapter.ProblemOf(err)
	return errorOf(p, p.Reason())
}

func errorOf(p httpadapter.Problem, reason string) *connect.Error {
	code := connect.Code(p.RPCCode())
	if code == connect.CodeInternal {
		return connect.NewError(code, errors.New("internal error"))
	}
	text := strings.ToLower(p.Title[:1]) + p.Title[1:]
	if p.Field != "" {
		text += ": " + p.Field
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	err := connect.NewError(code, errors.New(text))
	add := func(m proto.Message) {
		if detail, bad := connect.NewErrorDetail(m); bad == nil { // a detail must not hide the refusal
			err.AddDetail(detail)
		}
	}
	add(&errdetails.ErrorInfo{Reason: reason, Domain: Domain})
	if p.RetryAfter > 0 {
		add(&errdetails.RetryInfo{RetryDelay: durationpb.New(p.RetryAfter)})
	}
	return err
}

// Failures is an interceptor for handlers behind RequireRows. It lets a handler return an error before it has looked at
// its rows. Without it such an error is internal in gRPC and in streams, whose errors have status 200.
func Failures() connect.Interceptor { return failures{} }

type failures struct{}

func (failures) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		reply, err := next(ctx, r)
		if err != nil {
			httpadapter.RowsNotNeeded(ctx)
		}
		return reply, err
	}
}

func (failures) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (failures) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		err := next(ctx, conn)
		if err != nil {
			httpadapter.RowsNotNeeded(ctx)
		}
		return err
	}
}
