package latchkeygrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	latchkeygrpc "github.com/latchkey-go/latchkey/integrations/grpc"
	"github.com/latchkey-go/latchkey/integrations/grpc/internal/shop"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

var inEU = latchkey.Where("region", latchkey.Eq, "EU")

func TestServerStream(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Read).On("dataset/orders").Where(inEU))

	recv := func(stream grpc.ServerStreamingClient[shop.Order], err error) (*shop.Order, error) {
		require.NoError(t, err)
		return stream.Recv()
	}
	got, err := recv(w.call.List(w.with(key), &shop.ListRequest{}))
	require.NoError(t, err)
	require.Contains(t, got.Note, "region")
	got, err = recv(w.call.Export(w.with(key), &shop.ExportRequest{Dataset: "orders"}))
	require.NoError(t, err)
	require.Contains(t, got.Note, "region", "the rows of a resource that the request names")

	for _, dataset := range []string{"other", "orders/1"} {
		_, err = recv(w.call.Export(w.with(key), &shop.ExportRequest{Dataset: dataset}))
		refused(t, codes.PermissionDenied, err)
	}
	for _, dataset := range []string{"", "..", "a//b", "%2e"} {
		_, err = recv(w.call.Export(w.with(key), &shop.ExportRequest{Dataset: dataset}))
		refused(t, codes.InvalidArgument, err)
	}
	_, err = recv(w.call.List(w.anonymous(), &shop.ListRequest{}))
	refused(t, codes.Unauthenticated, err)
	_, err = recv(w.call.Watch(w.with(key), &shop.ListRequest{}))
	require.Equal(t, codes.PermissionDenied, status.Code(err), "for some rows only")
}

// A stream behind RequireRows shows nothing before its handler has asked for the rows.
func TestStreamRows(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Read).On("dataset/orders"))
	leak := metadata.Pairs("x-count", "7")
	for name, c := range map[string]struct {
		handler func(grpc.ServerStreamingServer[shop.Order]) error
		code    codes.Code
		told    bool
	}{
		"sends": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			_ = out.SetHeader(leak)
			out.SetTrailer(leak)
			return out.Send(&shop.Order{})
		}, codes.Internal, false},
		"ignores the error": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			_ = out.Send(&shop.Order{})
			httpadapter.RowsFrom(out.Context())
			_ = out.Send(&shop.Order{})
			return nil
		}, codes.Internal, false},
		"sends headers": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			_ = out.SendHeader(leak)
			return nil
		}, codes.Internal, false},
		"sends headers by the context": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			_ = grpc.SendHeader(out.Context(), leak)
			return nil
		}, codes.Internal, false},
		"sends nothing": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			_ = grpc.SetTrailer(out.Context(), leak)
			return nil
		}, codes.Internal, false},
		"asks": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			_ = out.SetHeader(leak)
			httpadapter.RowsFrom(out.Context())
			out.SetTrailer(leak)
			return out.Send(&shop.Order{})
		}, codes.OK, true},
		"asks, sends headers": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			httpadapter.RowsFrom(out.Context())
			out.SetTrailer(leak)
			return out.SendHeader(leak)
		}, codes.OK, true},
		"needs none": {func(out grpc.ServerStreamingServer[shop.Order]) error {
			httpadapter.RowsNotNeeded(out.Context())
			out.SetTrailer(leak)
			return out.SendHeader(leak)
		}, codes.OK, true},
		"fails": {func(grpc.ServerStreamingServer[shop.Order]) error {
			return status.Error(codes.NotFound, "no such table")
		}, codes.NotFound, false},
	} {
		w.shop.list = c.handler
		w.shop.export = func(_ *shop.ExportRequest, out grpc.ServerStreamingServer[shop.Order]) error {
			return c.handler(out)
		}
		list, err := w.call.List(w.with(key), &shop.ListRequest{})
		require.NoError(t, err)
		export, err := w.call.Export(w.with(key), &shop.ExportRequest{Dataset: "orders"})
		require.NoError(t, err)
		for _, stream := range []grpc.ServerStreamingClient[shop.Order]{list, export} {
			header, _ := stream.Header()
			got := 0
			for err = error(nil); err == nil; got++ {
				_, err = stream.Recv()
			}
			if err == io.EOF {
				err = nil
			}
			require.Equal(t, c.code.String(), status.Code(err).String(), name)
			require.Equal(t, c.told, len(header.Get("x-count")) == 1, name)
			require.Equal(t, c.told, len(stream.Trailer().Get("x-count")) == 1, name)
			if c.code != codes.OK {
				require.Equal(t, 1, got, "%s: a message got through", name)
			}
		}
	}
}

// A context that an interceptor between took from the stream has the rows too, once they are known.
func TestStreamRowsInADerivedContext(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Read).On("dataset/orders").Where(inEU))
	access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: key})
	require.NoError(t, err)
	type hosts struct{}
	ctx := httpadapter.WithAccess(t.Context(), access)
	info := &grpc.StreamServerInfo{FullMethod: shop.Orders_Export_FullMethodName, IsServerStream: true}
	err = w.guard.Stream(nil, &messages{ctx: ctx, in: []*shop.ExportRequest{{Dataset: "orders"}}}, info,
		func(_ any, ss grpc.ServerStream) error {
			between := context.WithValue(ss.Context(), hosts{}, "kept")
			_, ok := httpadapter.RowsFrom(between)
			require.False(t, ok, "no message was received")
			var m shop.ExportRequest
			require.NoError(t, ss.RecvMsg(&m))
			rows, ok := httpadapter.RowsFrom(between)
			require.True(t, ok)
			require.True(t, rows.Equal(inEU))
			require.Equal(t, "kept", between.Value(hosts{}))
			return ss.SendMsg(&shop.Order{})
		})
	require.NoError(t, err)
}

// messages is a stream in memory.
type messages struct {
	grpc.ServerStream
	ctx  context.Context
	in   []*shop.ExportRequest
	sent int
}

func (s *messages) Context() context.Context     { return s.ctx }
func (s *messages) SetHeader(metadata.MD) error  { return nil }
func (s *messages) SendHeader(metadata.MD) error { return nil }
func (s *messages) SetTrailer(metadata.MD)       {}
func (s *messages) SendMsg(any) error            { s.sent++; return nil }
func (s *messages) RecvMsg(m any) error {
	if len(s.in) == 0 {
		return io.EOF
	}
	m.(*shop.ExportRequest).Dataset = s.in[0].Dataset
	s.in = s.in[1:]
	return nil
}

// Each message of a client is checked.
func TestClientStream(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Create).On("dataset/a", "dataset/b"))
	upload := func(datasets ...string) (*shop.Order, error) {
		stream, err := w.call.Upload(w.with(key))
		require.NoError(t, err)
		for _, d := range datasets {
			_ = stream.Send(&shop.Order{Dataset: d}) // fails once the server has ended the stream
		}
		return stream.CloseAndRecv()
	}
	got, err := upload("a", "b", "a")
	require.NoError(t, err)
	require.Equal(t, "a", got.Dataset)
	_, err = upload("a", "c", "b")
	refused(t, codes.PermissionDenied, err)
	_, err = upload("a", "", "b")
	refused(t, codes.InvalidArgument, err)
	_, err = upload()
	require.Equal(t, "BAD_REQUEST", refused(t, codes.InvalidArgument, err))

	// A handler that ignores the refusal gets neither the message nor any other, and cannot answer.
	var seen []string
	w.shop.upload = func(in grpc.ClientStreamingServer[shop.Order, shop.Order]) error {
		var m shop.Order
		for range 3 {
			_ = in.RecvMsg(&m)
			seen = append(seen, m.Dataset)
		}
		return in.SendAndClose(&shop.Order{Note: "done"})
	}
	_, err = upload("a", "c", "b")
	refused(t, codes.PermissionDenied, err)
	require.Equal(t, []string{"a", "", ""}, seen)

	// Nor can one that asks for no message at all.
	w.shop.upload = func(in grpc.ClientStreamingServer[shop.Order, shop.Order]) error {
		return in.SendAndClose(&shop.Order{Note: "done"})
	}
	_, err = upload("a")
	refused(t, codes.Internal, err)
	require.Contains(t, w.log.String(), "answered before it received the message that names it")
	w.shop.upload = func(grpc.ClientStreamingServer[shop.Order, shop.Order]) error { return nil }
	_, err = upload("a")
	refused(t, codes.InvalidArgument, err)
}

func TestBidi(t *testing.T) {
	w := newWorld(t, nil)
	key := w.key(latchkey.Allow(latchkey.Use).On("dataset/a", "dataset/b"))
	chat, err := w.call.Chat(w.with(key))
	require.NoError(t, err)
	for _, d := range []string{"a", "b", "a"} {
		require.NoError(t, chat.Send(&shop.Order{Dataset: d}))
		got, err := chat.Recv()
		require.NoError(t, err)
		require.Equal(t, d, got.Dataset)
	}
	require.NoError(t, chat.Send(&shop.Order{Dataset: "c"}))
	_, err = chat.Recv()
	refused(t, codes.PermissionDenied, err)

	talk, err := w.call.Talk(w.anonymous())
	require.NoError(t, err)
	_, err = talk.Recv()
	refused(t, codes.Unauthenticated, err)
	talk, err = w.call.Talk(w.with(key))
	require.NoError(t, err)
	require.NoError(t, talk.Send(&shop.Order{Dataset: "anything"}))
	_, err = talk.Recv()
	require.NoError(t, err, "Authenticated asks for no right")

	for name, send := range map[string]func(grpc.BidiStreamingServer[shop.Order, shop.Order]) error{
		"a message": func(s grpc.BidiStreamingServer[shop.Order, shop.Order]) error { return s.Send(&shop.Order{}) },
		"headers": func(s grpc.BidiStreamingServer[shop.Order, shop.Order]) error {
			return s.SendHeader(metadata.Pairs("x", "y"))
		},
		"headers by the context": func(s grpc.BidiStreamingServer[shop.Order, shop.Order]) error {
			return grpc.SendHeader(s.Context(), metadata.Pairs("x", "y"))
		},
	} {
		w.shop.chat = func(s grpc.BidiStreamingServer[shop.Order, shop.Order]) error {
			if send(s) == nil {
				return errors.New("it was sent")
			}
			return nil
		}
		chat, err = w.call.Chat(w.with(key))
		require.NoError(t, err)
		_ = chat.Send(&shop.Order{Dataset: "a"}) // fails once the server has ended the stream
		header, _ := chat.Header()
		require.Empty(t, header.Get("x"), name)
		_, err = chat.Recv()
		refused(t, codes.Internal, err)
	}
}

// A stream that is not rechecked goes on when its token is revoked: that is what the default means. One that is
// rechecked ends, also if no message passes and the handler waits for one.
func TestRecheckRevoked(t *testing.T) {
	for _, recheck := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) { recheckRevoked(t, recheck) })
	}
}

func recheckRevoked(t *testing.T, recheck time.Duration) {
	w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Recheck = recheck })
	w.limit = 3 * time.Hour // of the clock of synctest
	token, key := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Use).On("dataset/*"), latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	ended := make(chan error, 2)
	w.shop.watch = func(out grpc.ServerStreamingServer[shop.Order]) error {
		if err := out.Send(&shop.Order{}); err != nil {
			return err
		}
		<-out.Context().Done() // waits for something else than a message
		ended <- context.Cause(out.Context())
		return nil
	}
	talk, err := w.call.Talk(w.with(key))
	require.NoError(t, err)
	require.NoError(t, talk.Send(&shop.Order{}))
	_, err = talk.Recv()
	require.NoError(t, err)
	chat, err := w.call.Chat(w.with(key))
	require.NoError(t, err)
	require.NoError(t, chat.Send(&shop.Order{Dataset: "a"}))
	_, err = chat.Recv()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(w.with(key))
	watch, err := w.call.Watch(ctx, &shop.ListRequest{})
	require.NoError(t, err)
	_, err = watch.Recv()
	require.NoError(t, err)

	require.NoError(t, w.acme.Revoke(t.Context(), token.ID, "leaked"))
	revoked := time.Now()
	if recheck <= 0 {
		time.Sleep(time.Hour)
		for range 3 {
			require.NoError(t, talk.Send(&shop.Order{}))
			_, err = talk.Recv()
			require.NoError(t, err)
		}
		cancel()
		return
	}
	for _, recv := range []func() (*shop.Order, error){talk.Recv, chat.Recv, watch.Recv} {
		_, err = recv()
		require.Equal(t, "INVALID_TOKEN", refused(t, codes.Unauthenticated, err))
	}
	require.LessOrEqual(t, time.Since(revoked), recheck/2)
	require.Equal(t, codes.Unauthenticated, status.Code(<-ended), "the context says why")
	cancel()
}

// The rights are asked about again, too.
func TestRecheckRights(t *testing.T) { synctest.Test(t, recheckRights) }

func recheckRights(t *testing.T) {
	w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Recheck = time.Minute })
	w.limit = 3 * time.Hour // of the clock of synctest
	rules := latchkey.Permissions{latchkey.Allow(latchkey.Use).On("dataset/a", "dataset/b"),
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(inEU)}
	token, key := w.issue(latchkey.Settings{Permissions: rules})
	w.shop.list = func(out grpc.ServerStreamingServer[shop.Order]) error {
		httpadapter.RowsFrom(out.Context())
		if err := out.Send(&shop.Order{}); err != nil {
			return err
		}
		<-out.Context().Done()
		return out.Context().Err()
	}
	w.shop.export = func(_ *shop.ExportRequest, out grpc.ServerStreamingServer[shop.Order]) error {
		return w.shop.list(out)
	}
	chat, err := w.call.Chat(w.with(key))
	require.NoError(t, err)
	for _, d := range []string{"a", "b"} {
		require.NoError(t, chat.Send(&shop.Order{Dataset: d}))
		_, err = chat.Recv()
		require.NoError(t, err)
	}
	list, err := w.call.List(w.with(key), &shop.ListRequest{})
	require.NoError(t, err)
	_, err = list.Recv()
	require.NoError(t, err)
	export, err := w.call.Export(w.with(key), &shop.ExportRequest{Dataset: "orders"})
	require.NoError(t, err)
	_, err = export.Recv()
	require.NoError(t, err)

	// The right on the first of two datasets goes, and other rows come.
	change := latchkey.Permissions{latchkey.Allow(latchkey.Use).On("dataset/b"),
		latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "US"))}
	update(t, w, token.ID, change)
	_, err = chat.Recv()
	refused(t, codes.PermissionDenied, err)
	for _, stream := range []grpc.ServerStreamingClient[shop.Order]{list, export} {
		_, err = stream.Recv()
		require.Equal(t, "CONFLICT", refused(t, codes.Aborted, err))
	}

	// New streams have the new rights.
	list, err = w.call.List(w.with(key), &shop.ListRequest{})
	require.NoError(t, err)
	_, err = list.Recv()
	require.NoError(t, err)
}

func update(t *testing.T, w *world, id string, rules latchkey.Permissions) {
	t.Helper()
	_, err := w.acme.Update(t.Context(), id, func(token *latchkey.Token) error {
		token.Permissions = rules
		return nil
	})
	require.NoError(t, err)
}

// A stream goes on while the store is away for a moment, and ends once nobody could tell for so long.
func TestRecheckStoreAway(t *testing.T) { synctest.Test(t, recheckStoreAway) }

func recheckStoreAway(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	w := newWorldOver(t, kit.Manager, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) {
		o.Recheck = time.Minute
	})
	w.limit = 3 * time.Hour // of the clock of synctest
	key := w.key()
	talk, err := w.call.Talk(w.with(key))
	require.NoError(t, err)
	require.NoError(t, talk.Send(&shop.Order{}))
	_, err = talk.Recv()
	require.NoError(t, err)
	for range 10 { // away for a third of a minute, again and again
		kit.Store.Down(true)
		time.Sleep(20 * time.Second)
		kit.Store.Down(false)
		time.Sleep(15 * time.Second)
		require.NoError(t, talk.Send(&shop.Order{}))
		_, err = talk.Recv()
		require.NoError(t, err)
	}
	kit.Store.Down(true)
	began := time.Now()
	_, err = talk.Recv()
	require.LessOrEqual(t, time.Since(began), time.Minute)
	require.Greater(t, time.Since(began), 25*time.Second)
	require.Equal(t, "UNAVAILABLE", refused(t, codes.Unavailable, err))
}

// A handler that is late is held up by its next message: the timer need not have run.
func TestRecheckAtAMessage(t *testing.T) { synctest.Test(t, recheckAtAMessage) }

func recheckAtAMessage(t *testing.T) {
	store := &hangingStore{}
	kit := latchkeytest.New(t, nil)
	store.Store = kit.Store
	keys := latchkey.New(store, &latchkey.Options{Clock: kit.Clock.Now})
	w := newWorldOver(t, keys, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Recheck = time.Minute })
	w.limit = 3 * time.Hour // of the clock of synctest
	key := w.key()
	var sent atomic.Int64
	w.shop.talk = func(s grpc.BidiStreamingServer[shop.Order, shop.Order]) error {
		for {
			if err := s.Send(&shop.Order{}); err != nil {
				return nil // what the handler returns says nothing
			}
			sent.Add(1)
			if _, err := s.Recv(); err != nil {
				return nil
			}
		}
	}
	talk, err := w.call.Talk(w.with(key))
	require.NoError(t, err)
	_, err = talk.Recv()
	require.NoError(t, err)
	store.hang.Store(true) // it answers no more, until it is given up
	began := time.Now()
	for err == nil {
		time.Sleep(time.Second)
		if err = talk.Send(&shop.Order{}); err == nil || errors.Is(err, io.EOF) {
			_, err = talk.Recv()
		}
	}
	require.Equal(t, "UNAVAILABLE", refused(t, codes.Unavailable, err))
	require.LessOrEqual(t, time.Since(began), time.Minute)
}

// A handler that goes on asking after its stream has ended never has two receives at once, which grpc-go forbids.
func TestRecheckOneReceive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Recheck = time.Minute })
		token, key := w.issue(latchkey.Settings{})
		access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: key})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(httpadapter.WithAccess(t.Context(), access))
		defer cancel()
		s := &silent{ctx: ctx}
		err = w.guard.Stream(nil, s, &grpc.StreamServerInfo{FullMethod: shop.Orders_Talk_FullMethodName}, func(_ any,
			ss grpc.ServerStream) error {
			require.NoError(t, w.acme.Revoke(t.Context(), token.ID, "leaked"))
			for range 3 {
				require.Equal(t, codes.Unauthenticated, status.Code(ss.RecvMsg(&shop.Order{})))
			}
			require.Equal(t, codes.Unauthenticated, status.Code(ss.SendMsg(&shop.Order{})))
			return nil
		})
		require.Equal(t, codes.Unauthenticated, status.Code(err))
		synctest.Wait()
		require.Equal(t, int64(1), s.receives.Load())
	})
}

// silent is a stream whose client sends nothing.
type silent struct {
	grpc.ServerStream
	ctx      context.Context
	receives atomic.Int64
}

func (s *silent) Context() context.Context { return s.ctx }
func (s *silent) RecvMsg(any) error {
	s.receives.Add(1)
	<-s.ctx.Done()
	return s.ctx.Err()
}

// hangingStore is a store that may answer nothing until the caller gives up.
type hangingStore struct {
	latchkey.Store
	hang atomic.Bool
}

func (s *hangingStore) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	if s.hang.Load() {
		<-ctx.Done()
		return latchkey.Found{}, ctx.Err()
	}
	return s.Store.Load(ctx, owner, id)
}

// Many streams and calls at once, some of them revoked meanwhile: for the race detector. On a machine that stands still
// for longer than Recheck a stream ends with UNAVAILABLE, and is opened again.
func TestConcurrency(t *testing.T) {
	w := newWorld(t, func(o *latchkeygrpc.Options, _ latchkeygrpc.Table) { o.Recheck = 50 * time.Millisecond })
	keeps := w.key(latchkey.Allow(latchkey.Use).On("dataset/*"), latchkey.Allow(latchkey.Read).On("order/*"))
	token, loses := w.issue(latchkey.Settings{Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Use).On("dataset/*")}})
	// chat sends messages until it is done, or refused for good.
	chat := func(key string, done func(n int) bool) error {
		var stream grpc.BidiStreamingClient[shop.Order, shop.Order]
		for n := 0; !done(n); n++ {
			var err error
			if stream == nil {
				if stream, err = w.call.Chat(w.with(key)); err != nil {
					return err
				}
			}
			if err = stream.Send(&shop.Order{Dataset: fmt.Sprint("d", n%300)}); err == nil || errors.Is(err, io.EOF) {
				_, err = stream.Recv()
			}
			switch status.Code(err) {
			case codes.OK:
			case codes.Unavailable:
				stream, n = nil, n-1
			default:
				return err
			}
		}
		return nil
	}
	var lost, kept sync.WaitGroup
	errs := make(chan error, 1000)
	for i := range 8 {
		started := make(chan struct{})
		var once sync.Once
		lost.Go(func() {
			defer once.Do(func() { close(started) })
			err := chat(loses, func(n int) bool {
				if n == 3 {
					once.Do(func() { close(started) })
				}
				return false
			})
			if status.Code(err) != codes.Unauthenticated {
				errs <- fmt.Errorf("a revoked stream: %w", err)
			}
		})
		kept.Go(func() {
			<-started
			if err := chat(keeps, func(n int) bool { return n == 50 }); err != nil {
				errs <- fmt.Errorf("a stream: %w", err)
			}
		})
		kept.Go(func() {
			for n := range 50 {
				if got, err := w.call.Get(w.with(keeps), &shop.GetRequest{Id: fmt.Sprint(i, "-", n)}); err != nil {
					errs <- err
				} else if got.Id != fmt.Sprint(i, "-", n) {
					errs <- errors.New("another's answer")
				}
				if _, err := w.call.Get(w.with(loses), &shop.GetRequest{Id: "1"}); err == nil {
					errs <- errors.New("allowed")
				}
			}
		})
	}
	kept.Wait()
	require.NoError(t, w.acme.Revoke(t.Context(), token.ID, "leaked"))
	lost.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}
