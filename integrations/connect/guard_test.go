package latchkeyconnect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeyconnect "github.com/latchkey-go/latchkey/integrations/connect"
	"github.com/latchkey-go/latchkey/memstore"
)

// The procedures of a service, as generated code names them.
const (
	getProcedure       = "/shop.v1.Orders/Get"
	listProcedure      = "/shop.v1.Orders/List"
	countProcedure     = "/shop.v1.Orders/Count"
	reportProcedure    = "/shop.v1.Orders/Report"
	exportProcedure    = "/shop.v1.Orders/Export" // costs something, and has rows
	forgottenProcedure = "/shop.v1.Orders/Forgotten"
	watchProcedure     = "/shop.v1.Orders/Watch" // a stream that nobody mapped
	checkProcedure     = "/grpc.health.v1.Health/Check"
)

var orderFields = latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})

// shop is a server with that service.
type shop struct {
	t      *testing.T
	keys   *latchkey.Manager
	acme   latchkey.Account
	url    string
	client *http.Client
	log    *journal
	// refused is what the Observer hears.
	refused chan string

	mu     sync.Mutex
	served []string // procedures whose handler ran
}

type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

func (s *shop) ran(procedure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served = append(s.served, procedure)
}

func (s *shop) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	served := s.served
	s.served = nil
	return served
}

// behaviour of List and Count, which are behind RequireRows.
const (
	looks = "looks"
	fails = "fails"
	blind = "blind"
)

var errTeapot = connect.NewError(connect.CodeFailedPrecondition, errors.New("teapot"))

func newShop(t *testing.T, opts ...connect.HandlerOption) *shop {
	s := &shop{t: t, log: &journal{}, refused: make(chan string, 100)}
	s.keys = latchkey.New(memstore.New(nil), &latchkey.Options{Observer: latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { s.refused <- r.Err.Error() }}})
	s.acme = s.keys.For("acme")
	auth := httpadapter.New(s.keys, &httpadapter.Options{Problem: latchkeyconnect.Problem(),
		Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	mux := http.NewServeMux()
	mux.Handle(getProcedure, connect.NewUnaryHandlerSimple(getProcedure,
		func(ctx context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			s.ran(getProcedure)
			access, _ := httpadapter.AccessFrom(ctx)
			if err := access.Check(latchkey.Read, latchkey.Path("order", in.GetValue())); err != nil {
				return nil, latchkeyconnect.Error(ctx, err)
			}
			return wrapperspb.String(access.Owner() + " " + in.GetValue()), nil
		}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
	rowsOf := func(ctx context.Context, what string) (regions []string, err error) {
		switch what {
		case fails:
			return nil, errTeapot
		case blind:
			return []string{"EU", "US"}, nil
		}
		rows, _ := httpadapter.RowsFrom(ctx)
		p, err := orderFields.Bind(rows)
		if err != nil {
			return nil, latchkeyconnect.Error(ctx, err)
		}
		for _, region := range []string{"EU", "US"} {
			if p.Match(latchkey.Row{"region": region}) {
				regions = append(regions, region)
			}
		}
		return regions, nil
	}
	mux.Handle(countProcedure, connect.NewUnaryHandlerSimple(countProcedure,
		func(ctx context.Context, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			s.ran(countProcedure)
			regions, err := rowsOf(ctx, in.GetValue())
			if err != nil {
				return nil, err
			}
			return wrapperspb.String(strings.Join(regions, ",")), nil
		}, opts...))
	mux.Handle(listProcedure, connect.NewServerStreamHandlerSimple(listProcedure,
		func(ctx context.Context, in *wrapperspb.StringValue, out *connect.ServerStream[wrapperspb.StringValue]) error {
			s.ran(listProcedure)
			regions, err := rowsOf(ctx, in.GetValue())
			for _, region := range regions {
				if err := out.Send(wrapperspb.String(region)); err != nil {
					return err
				}
			}
			return err
		}, opts...))
	for _, procedure := range []string{reportProcedure, exportProcedure, forgottenProcedure, checkProcedure} {
		mux.Handle(procedure, connect.NewUnaryHandlerSimple(procedure,
			func(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
				s.ran(procedure)
				return &emptypb.Empty{}, nil
			}, connect.WithIdempotency(connect.IdempotencyNoSideEffects)))
	}
	mux.Handle(watchProcedure, connect.NewServerStreamHandlerSimple(watchProcedure,
		func(context.Context, *wrapperspb.StringValue, *connect.ServerStream[wrapperspb.StringValue]) error {
			s.ran(watchProcedure)
			return nil
		}))
	guard := latchkeyconnect.Guard(auth, latchkeyconnect.Table{
		getProcedure:    auth.Authenticate, // the handler asks for the order that the message names
		countProcedure:  auth.RequireRows(latchkey.Read, "orders"),
		listProcedure:   auth.RequireRows(latchkey.Read, "orders"),
		reportProcedure: latchkeyconnect.All(auth.Require(latchkey.Create, "report"), auth.Spend("reports", 1)),
		exportProcedure: latchkeyconnect.All(auth.RequireRows(latchkey.Read, "orders"), auth.Spend("exports", 1)),
		checkProcedure:  latchkeyconnect.Public,
	})
	server := httptest.NewUnstartedServer(guard(mux))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	s.url, s.client = server.URL, &http.Client{Transport: transport}
	return s
}

func (s *shop) issue(spec latchkey.Spec) string {
	spec.Kind = latchkey.KindAPIKey
	_, secret, err := s.acme.Issue(context.Background(), spec)
	require.NoError(s.t, err)
	return secret.Reveal()
}

// bearer is an interceptor that sends a token with each call.
type bearer string

func (b bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if b != "" {
			r.Header().Set("Authorization", "Bearer "+string(b))
		}
		return next(ctx, r)
	}
}

func (b bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		if b != "" {
			conn.RequestHeader().Set("Authorization", "Bearer "+string(b))
		}
		return conn
	}
}

func (b bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

var protocols = map[string][]connect.ClientOption{
	"connect":       nil,
	"connect, JSON": {connect.WithProtoJSON()},
	"connect, GET":  {connect.WithHTTPGet(), connect.WithIdempotency(connect.IdempotencyNoSideEffects)},
	"grpc":          {connect.WithGRPC()},
	"grpc-web":      {connect.WithGRPCWeb()},
}

// unary calls a procedure with one protocol.
func unary[Req, Res any](s *shop, protocol, procedure, key string, in *Req) (*Res, error) {
	opts := append([]connect.ClientOption{connect.WithInterceptors(bearer(key))}, protocols[protocol]...)
	reply, err := connect.NewClient[Req, Res](s.client, s.url+procedure, opts...).
		CallUnary(context.Background(), connect.NewRequest(in))
	if err != nil {
		return nil, err
	}
	return reply.Msg, nil
}

func stream(s *shop, protocol, procedure, key, in string) (got []string, err error) {
	opts := append([]connect.ClientOption{connect.WithInterceptors(bearer(key))}, protocols[protocol]...)
	reply, err := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](s.client, s.url+procedure, opts...).
		CallServerStream(context.Background(), connect.NewRequest(wrapperspb.String(in)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = reply.Close() }()
	for reply.Receive() {
		got = append(got, reply.Msg().GetValue())
	}
	return got, reply.Err()
}

// requireRefusal checks what a client sees: the code, the reason, and the headers of the challenge.
func requireRefusal(t *testing.T, err error, code connect.Code, reason string) *connect.Error {
	t.Helper()
	var refused *connect.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, code.String(), refused.Code().String(), err)
	if reason == "" {
		require.Empty(t, refused.Details())
		return refused
	}
	require.NotEmpty(t, refused.Details(), err)
	detail, err := refused.Details()[0].Value()
	require.NoError(t, err)
	info, ok := detail.(*errdetails.ErrorInfo)
	require.True(t, ok)
	require.Equal(t, reason, info.GetReason())
	require.Equal(t, latchkeyconnect.Domain, info.GetDomain())
	if code == connect.CodeUnauthenticated {
		require.Contains(t, refused.Meta().Get("WWW-Authenticate"), `Bearer realm="latchkey"`)
	}
	return refused
}

func TestUnary(t *testing.T) {
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := newShop(t)
			key := s.issue(latchkey.Spec{Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Read).On("order/*"), latchkey.Deny(latchkey.Any).On("order/7")}})
			get := func(key, order string) (*wrapperspb.StringValue, error) {
				return unary[wrapperspb.StringValue, wrapperspb.StringValue](s, protocol, getProcedure, key,
					wrapperspb.String(order))
			}
			reply, err := get(key, "6")
			require.NoError(t, err)
			require.Equal(t, "acme 6", reply.GetValue())
			require.Equal(t, []string{getProcedure}, s.take())
			_, err = get(key, "7")
			requireRefusal(t, err, connect.CodePermissionDenied, "DENIED") // the handler's own check
			require.Equal(t, []string{getProcedure}, s.take())
			require.Len(t, s.refused, 1)
			require.Equal(t, `latchkey: denied read on "order/7"`, <-s.refused)
			_, err = get("", "6")
			requireRefusal(t, err, connect.CodeUnauthenticated, "NO_CREDENTIAL")
			_, err = get(key+"x", "6")
			requireRefusal(t, err, connect.CodeUnauthenticated, "INVALID_TOKEN")
			require.Empty(t, s.take())

			_, err = unary[emptypb.Empty, emptypb.Empty](s, protocol, checkProcedure, "", &emptypb.Empty{})
			require.NoError(t, err, "a public procedure")
			_, err = unary[emptypb.Empty, emptypb.Empty](s, protocol, reportProcedure, key, &emptypb.Empty{})
			requireRefusal(t, err, connect.CodePermissionDenied, "DENIED")
			require.Equal(t, []string{checkProcedure}, s.take())
		})
	}
}

// A refusal by a guard within RequireRows is no answer with rows, whatever status the protocol has for it.
func TestSpendWithinRows(t *testing.T) {
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := newShop(t)
			key := s.issue(latchkey.Spec{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("orders")},
				Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "exports", Per: latchkey.Day, Amount: 0}}}})
			_, err := unary[emptypb.Empty, emptypb.Empty](s, protocol, exportProcedure, key, &emptypb.Empty{})
			requireRefusal(t, err, connect.CodeResourceExhausted, "OVER_LIMIT")
			require.Empty(t, s.log.take())
			require.Empty(t, s.take())
			require.Len(t, s.refused, 1)
		})
	}
}

// A procedure that the table does not have is denied, to a key that may do everything as well.
func TestUnmapped(t *testing.T) {
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := newShop(t)
			_, secret, err := s.acme.Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindSecret})
			require.NoError(t, err)
			_, err = unary[emptypb.Empty, emptypb.Empty](s, protocol, forgottenProcedure, secret.Reveal(), &emptypb.Empty{})
			requireRefusal(t, err, connect.CodePermissionDenied, latchkeyconnect.ReasonUnmapped)
			_, err = unary[emptypb.Empty, emptypb.Empty](s, protocol, forgottenProcedure, "", &emptypb.Empty{})
			requireRefusal(t, err, connect.CodeUnauthenticated, "NO_CREDENTIAL")
			if protocol != "connect, GET" {
				_, err = stream(s, protocol, watchProcedure, secret.Reveal(), "")
				requireRefusal(t, err, connect.CodePermissionDenied, latchkeyconnect.ReasonUnmapped)
			}
			require.Empty(t, s.take())
		})
	}
}

func TestRowsAndStreams(t *testing.T) {
	for protocol := range protocols {
		if protocol == "connect, GET" {
			continue // is for unary procedures only
		}
		t.Run(protocol, func(t *testing.T) {
			s := newShop(t, connect.WithInterceptors(latchkeyconnect.Failures()))
			key := s.issue(latchkey.Spec{Permissions: latchkey.Permissions{
				latchkey.Allow(latchkey.Read).On("orders").Where(latchkey.Where("region", latchkey.Eq, "EU"))}})
			none := s.issue(latchkey.Spec{})
			calls := map[string]func(key, what string) (string, error){
				"unary": func(key, what string) (string, error) {
					reply, err := unary[wrapperspb.StringValue, wrapperspb.StringValue](s, protocol, countProcedure, key,
						wrapperspb.String(what))
					return reply.GetValue(), err
				},
				"stream": func(key, what string) (string, error) {
					got, err := stream(s, protocol, listProcedure, key, what)
					return strings.Join(got, ","), err
				},
			}
			for name, ask := range calls {
				got, err := ask(key, looks)
				require.NoError(t, err, name)
				require.Equal(t, "EU", got, name)
				require.Len(t, s.take(), 1)

				_, err = ask(none, looks)
				requireRefusal(t, err, connect.CodePermissionDenied, "DENIED")
				_, err = ask("", looks)
				requireRefusal(t, err, connect.CodeUnauthenticated, "NO_CREDENTIAL")
				require.Empty(t, s.take(), name)

				got, err = ask(key, blind)
				requireRefusal(t, err, connect.CodeInternal, "")
				require.Empty(t, got, "rows that nobody asked for")
				require.Contains(t, s.log.take(), "without asking for the rows")

				_, err = ask(key, fails)
				require.ErrorContains(t, err, "teapot")
				require.Equal(t, connect.CodeFailedPrecondition, connect.CodeOf(err))
				require.Empty(t, s.log.take())
				require.Len(t, s.take(), 2)
			}
		})
	}
}

// Without the interceptor an error before the rows is internal where its status is 200, and no row is shown.
func TestWithoutFailures(t *testing.T) {
	s := newShop(t)
	key := s.issue(latchkey.Spec{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("orders")}})
	for protocol, code := range map[string]connect.Code{"connect": connect.CodeFailedPrecondition,
		"grpc": connect.CodeInternal, "grpc-web": connect.CodeInternal} {
		_, err := unary[wrapperspb.StringValue, wrapperspb.StringValue](s, protocol, countProcedure, key,
			wrapperspb.String(fails))
		require.Equal(t, code, connect.CodeOf(err), protocol)
		_, err = stream(s, protocol, listProcedure, key, fails)
		require.Equal(t, connect.CodeInternal, connect.CodeOf(err), protocol)
	}
}

// Limits say when to come back.
func TestLimits(t *testing.T) {
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := newShop(t)
			permissions := latchkey.Permissions{latchkey.Allow(latchkey.Create).On("report")}
			once := s.issue(latchkey.Spec{Permissions: permissions, Limits: latchkey.Limits{Quotas: []latchkey.Quota{
				{Meter: "reports", Amount: 1, Per: latchkey.Forever}}}})
			never := s.issue(latchkey.Spec{Permissions: permissions, Limits: latchkey.Limits{Quotas: []latchkey.Quota{
				{Meter: "reports", Amount: 0, Per: latchkey.Month}}}})
			slow := s.issue(latchkey.Spec{Permissions: permissions,
				Limits: latchkey.Limits{Rate: latchkey.Rate{Count: 1, Per: 1 << 40}}})
			report := func(key string) error {
				_, err := unary[emptypb.Empty, emptypb.Empty](s, protocol, reportProcedure, key, &emptypb.Empty{})
				return err
			}
			require.NoError(t, report(once))
			refused := requireRefusal(t, report(once), connect.CodeResourceExhausted, "OVER_LIMIT")
			require.Contains(t, refused.Meta().Get("RateLimit"), `"reports-forever";r=0`)
			require.Empty(t, refused.Meta().Get("Retry-After"), "to wait is of no use")
			require.Len(t, refused.Details(), 1)
			requireRefusal(t, report(never), connect.CodeResourceExhausted, "OVER_LIMIT")

			poor := s.issue(latchkey.Spec{Limits: latchkey.Limits{Quotas: []latchkey.Quota{
				{Meter: "reports", Amount: 1, Per: latchkey.Forever}}}})
			requireRefusal(t, report(poor), connect.CodePermissionDenied, "DENIED")
			requireRefusal(t, report(poor), connect.CodePermissionDenied, "DENIED") // the first has cost nothing

			require.NoError(t, report(slow))
			refused = requireRefusal(t, report(slow), connect.CodeResourceExhausted, "RATE_LIMITED")
			require.NotEmpty(t, refused.Meta().Get("Retry-After"))
			require.Len(t, refused.Details(), 2)
			detail, err := refused.Details()[1].Value()
			require.NoError(t, err)
			require.Positive(t, detail.(*errdetails.RetryInfo).GetRetryDelay().AsDuration())
		})
	}
}

// Refusals of a gRPC call are trailers with HTTP status 200: a client of gRPC reads nothing else.
func TestRefusalOnTheWire(t *testing.T) {
	s := newShop(t)
	post := func(contentType string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(context.Background(), "POST", s.url+countProcedure, strings.NewReader(""))
		require.NoError(t, err)
		r.Header.Set("Content-Type", contentType)
		reply, err := s.client.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(reply.Body)
		require.NoError(t, err)
		require.NoError(t, reply.Body.Close())
		return reply, string(body)
	}
	reply, _ := post("application/grpc")
	require.Equal(t, 200, reply.StatusCode)
	require.Equal(t, "application/grpc", reply.Header.Get("Content-Type"))
	require.Equal(t, "16", reply.Trailer.Get("Grpc-Status"))
	require.Equal(t, "no-store", reply.Header.Get("Cache-Control"))
	reply, _ = post("application/grpc-web")
	require.Equal(t, 200, reply.StatusCode)
	require.Equal(t, "16", reply.Header.Get("Grpc-Status"))
	reply, body := post("application/json")
	require.Equal(t, 401, reply.StatusCode)
	require.Contains(t, body, `"code":"unauthenticated"`)
	reply, body = post("application/connect+json")
	require.Equal(t, 200, reply.StatusCode)
	require.Contains(t, body, `"code":"unauthenticated"`)
	reply, body = post("text/plain")
	require.Equal(t, 401, reply.StatusCode)
	require.Contains(t, body, `"code":"unauthenticated"`)
}

// However a path is spelt, what runs is what was checked, or nothing.
func TestSpellings(t *testing.T) {
	s := newShop(t)
	key := s.issue(latchkey.Spec{Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
	reached := 0
	for _, path := range []string{countProcedure, reportProcedure, forgottenProcedure, forgottenProcedure + "/",
		"/" + forgottenProcedure, "/shop.v1.Orders//Forgotten", "/shop.v1.Orders/./Forgotten",
		"/x/../shop.v1.Orders/Forgotten", countProcedure + "/../Forgotten", countProcedure + "/%2e%2e/Forgotten",
		"/shop.v1.Orders/%46orgotten", "/shop.v1.Orders%2FForgotten", "/SHOP.V1.ORDERS/FORGOTTEN",
		"/shop.v1.Orders/forgotten", forgottenProcedure + "?x=" + countProcedure, countProcedure + "%2F..%2FForgotten",
		forgottenProcedure + ";" + countProcedure, "/shop.v1.Orders/%43ount"} {
		for _, method := range []string{"POST", "GET", "HEAD", "OPTIONS", "PUT"} {
			r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(`"`+looks+`"`))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+key)
			reply, err := s.client.Do(r)
			require.NoError(t, err)
			require.NoError(t, reply.Body.Close())
			for _, procedure := range s.take() {
				require.Equal(t, countProcedure, procedure, "%s %s", method, path)
				reached++
			}
		}
	}
	require.Equal(t, 2, reached, "the plain path, and the one with an escape that means the same")
}

// A preflight of a browser needs no credential, and reaches no handler.
func TestPreflight(t *testing.T) {
	s := newShop(t)
	r, err := http.NewRequestWithContext(context.Background(), "OPTIONS", s.url+countProcedure, nil)
	require.NoError(t, err)
	r.Header.Set("Origin", "https://app.example.com")
	r.Header.Set("Access-Control-Request-Method", "POST")
	reply, err := s.client.Do(r)
	require.NoError(t, err)
	require.NoError(t, reply.Body.Close())
	require.Equal(t, 204, reply.StatusCode)
	require.Empty(t, s.take())
}

func TestGuardPanics(t *testing.T) {
	auth := httpadapter.New(latchkey.New(memstore.New(nil), nil), nil)
	for _, procedure := range []string{"", "x", "/", "/a", "a/b", "/a/", "//b", "/a/b/c", "//a/b"} {
		require.Panics(t, func() {
			latchkeyconnect.Guard(auth, latchkeyconnect.Table{procedure: latchkeyconnect.Public})
		}, procedure)
	}
	require.Panics(t, func() { latchkeyconnect.Guard(auth, latchkeyconnect.Table{getProcedure: nil}) })
	require.Panics(t, func() { latchkeyconnect.Guard(nil, nil) })
	require.NotPanics(t, func() { latchkeyconnect.Guard(auth, nil) })
}

// Every problem has a code, and only what nobody can help is internal.
func TestError(t *testing.T) {
	for err, want := range map[error]connect.Code{
		httpadapter.ErrNoCredential:   connect.CodeUnauthenticated,
		latchkey.ErrExpired:           connect.CodeUnauthenticated,
		httpadapter.ErrBadRequest:     connect.CodeInvalidArgument,
		httpadapter.ErrMediaType:      connect.CodeInvalidArgument,
		httpadapter.ErrTooLarge:       connect.CodeResourceExhausted,
		latchkey.ErrInvalid:           connect.CodeInvalidArgument,
		latchkey.ErrDenied:            connect.CodePermissionDenied,
		latchkey.ErrPolicy:            connect.CodePermissionDenied,
		latchkey.ErrNotFound:          connect.CodeNotFound,
		latchkey.ErrTooMany:           connect.CodeResourceExhausted,
		latchkey.ErrOverLimit:         connect.CodeResourceExhausted,
		latchkey.ErrExists:            connect.CodeAlreadyExists,
		latchkey.ErrConflict:          connect.CodeAborted,
		latchkey.ErrInUse:             connect.CodeFailedPrecondition,
		latchkey.ErrForced:            connect.CodeFailedPrecondition,
		latchkey.ErrUnavailable:       connect.CodeUnavailable,
		latchkey.ErrUnknownOutcome:    connect.CodeUnknown,
		errors.New("secret database"): connect.CodeInternal,
	} {
		got := latchkeyconnect.Error(context.Background(), fmt.Errorf("wrapped: %w", err))
		require.Equal(t, want.String(), got.Code().String(), err)
		require.NotContains(t, got.Message(), "secret database")
		require.Equal(t, want == connect.CodeInternal, len(got.Details()) == 0, err)
	}
	require.Equal(t, connect.CodeInternal, latchkeyconnect.Error(context.Background(), nil).Code())
}
