package latchkeygrpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// maxRechecked is of how many resources that messages named a stream keeps its right under review.
const maxRechecked = 256

// Stream is a grpc.StreamServerInterceptor. It verifies the credential before it calls the handler, and checks the
// right there too if the resource names no field.
//
// If the resource names fields, each message that the client sends is checked when the handler receives it, with the
// fields of that message. A refused message is emptied, so that a handler that ignores the error gets nothing. The
// handler can send nothing, headers included, before it has received a message: to try is a programming error, and
// INTERNAL. A client that ends its stream without a message gets INVALID_ARGUMENT.
//
// After a refusal every Send and Recv returns it, and the stream ends with it whatever the handler returns.
//
// The handler finds the caller with [httpadapter.AccessFrom], and the condition of RequireRows with
// [httpadapter.RowsFrom], in the context of its stream. If a field names the resource, the condition is there once the
// message was received. The Access is that of the start of the stream: see Options.Recheck, and
// [latchkey.Access.Again].
func (g *Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := ss.Context()
	r := g.rules[info.FullMethod]
	switch {
	case r == nil:
		return g.refuse(ctx, info.FullMethod, errUnmapped)
	case r.kind == kindPublic:
		return handler(srv, ss)
	}
	began := time.Now()
	ctx, access, err := g.caller(ctx, r)
	if err != nil {
		return g.refuse(ctx, r.method, err)
	}
	ctx = httpadapter.WithAccess(ctx, access)
	if r.named() && r.rows() && info.IsClientStream {
		return g.refuse(ctx, r.method, &templateError{r.resource, errRowsOfStream})
	}
	var a answer
	if !r.named() {
		if a, err = g.ask(r, access, nil); err == nil {
			err = g.spend(ctx, r, access)
		}
		if err != nil {
			return g.refuse(ctx, r.method, err)
		}
	}
	s := &stream{ServerStream: ss, guard: g, rule: r, ctx: ctx, access: access}
	s.admitted.Store(!r.named())
	if r.rows() {
		s.rows = &rowsContext{Context: ctx}
		if !r.named() {
			s.rows.set(httpadapter.WithRows(ctx, access, a.rows))
		}
		s.ctx = s.rows
	}
	if r.rows() || r.named() {
		s.transport = streamTransport{ss, r.method}
		s.holder.ServerTransportStream, s.holder.answers = &s.transport, s
		s.held = &s.holder
		s.ctx = s.held.in(s.ctx)
	}
	if g.opts.Recheck > 0 {
		if !r.named() {
			s.answers = []answer{a}
		}
		defer s.watch(began)()
	}
	return s.result(handler(srv, s))
}

// stream is a stream that the Guard watches.
type stream struct {
	grpc.ServerStream
	guard     *Guard
	rule      *rule
	ctx       context.Context
	rows      *rowsContext  // of kindRows
	held      *heldMetadata // where an answer may have to wait; it is holder, so that there is one allocation
	holder    heldMetadata
	transport streamTransport

	admitted atomic.Bool           // it is known what the stream is about, and the caller may do it
	refusal  atomic.Pointer[error] // why the stream is over; a status

	// Of Options.Recheck.
	over   chan struct{} // closed with refusal; nil: nothing is rechecked
	cancel context.CancelCauseFunc
	began  time.Time
	good   atomic.Int64 // ns since began: as of when everything was known to be in order
	timer  *time.Timer
	one    chan struct{} // holds a value while a check runs

	mu      sync.Mutex
	access  latchkey.Access
	answers []answer // what is rechecked; the newest last
	closed  bool     // the handler has returned
}

// Context implements grpc.ServerStream.
func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s *stream) RecvMsg(m any) error {
	if err := s.err(); err != nil {
		return err
	}
	if err := s.receive(m); err != nil {
		if errors.Is(err, io.EOF) && !s.admitted.Load() {
			return s.end(errEmptyStream)
		}
		return err
	}
	err := s.admit(m)
	if err == nil {
		return nil
	}
	if pm, ok := m.(proto.Message); ok {
		proto.Reset(pm)
	}
	return err
}

// receive waits for a message, or for the end of the stream by a recheck. A message that arrives after that is dropped:
// the call that waits for it ends with the stream, when the handler returns.
func (s *stream) receive(m any) error {
	if s.over == nil {
		return s.ServerStream.RecvMsg(m)
	}
	type outcome struct {
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover() // of a codec, for the goroutine of the handler
			done <- o
		}()
		o.err = s.ServerStream.RecvMsg(m)
	}()
	select {
	case o := <-done:
		if o.panicked != nil {
			panic(o.panicked)
		}
		return o.err
	case <-s.over:
		return s.err()
	}
}

// admit checks a message that was received.
func (s *stream) admit(m any) error {
	if err := s.fresh(); err != nil || !s.rule.named() {
		return err
	}
	s.mu.Lock()
	access := s.access
	s.mu.Unlock()
	a, err := s.guard.ask(s.rule, access, m)
	if err == nil && !s.admitted.Load() {
		err = s.guard.spend(s.ctx, s.rule, access)
	}
	if err != nil {
		return s.end(err)
	}
	if s.rows != nil && !s.admitted.Load() {
		s.rows.set(httpadapter.WithRows(s.rows.Context, access, a.rows))
	}
	s.remember(a)
	s.admitted.Store(true)
	return nil
}

// remember notes what a message named, for the rechecks.
func (s *stream) remember(a answer) {
	if s.over == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, was := range s.answers {
		if was.on == a.on {
			copy(s.answers[i:], s.answers[i+1:])
			s.answers[len(s.answers)-1] = a
			return
		}
	}
	if len(s.answers) == maxRechecked {
		copy(s.answers, s.answers[1:])
		s.answers[maxRechecked-1] = a
		return
	}
	s.answers = append(s.answers, a)
}

// SendMsg implements grpc.ServerStream.
func (s *stream) SendMsg(m any) error {
	if err := s.mayAnswer(); err != nil {
		return err
	}
	s.held.release()
	return s.ServerStream.SendMsg(m)
}

// mayAnswer returns an error unless something may be sent now. It ends the stream if the handler made a mistake.
func (s *stream) mayAnswer() error {
	if err := s.fresh(); err != nil {
		return err
	}
	if !s.admitted.Load() {
		return s.end(&unaskedSendError{s.rule.resource})
	}
	if s.rows != nil && !httpadapter.RowsAsked(s.rows) {
		return s.end(&unreadRowsError{s.rule})
	}
	return nil
}

// SetHeader implements grpc.ServerStream.
func (s *stream) SetHeader(md metadata.MD) error {
	if s.held != nil {
		return s.held.SetHeader(md)
	}
	return s.ServerStream.SetHeader(md)
}

// SendHeader implements grpc.ServerStream.
func (s *stream) SendHeader(md metadata.MD) error {
	if s.held != nil {
		return s.held.SendHeader(md)
	}
	if err := s.fresh(); err != nil {
		return err
	}
	return s.ServerStream.SendHeader(md)
}

// SetTrailer implements grpc.ServerStream.
func (s *stream) SetTrailer(md metadata.MD) {
	if s.held != nil {
		_ = s.held.SetTrailer(md)
		return
	}
	s.ServerStream.SetTrailer(md)
}

// result is how the stream ends, given what the handler returned.
func (s *stream) result(err error) error {
	if refused := s.err(); refused != nil {
		return refused
	}
	if err != nil {
		s.held.release()
		return s.guard.mapped(s.ctx, s.rule.method, err)
	}
	switch {
	case !s.admitted.Load(): // nobody has asked what the stream is about
		return s.end(errEmptyStream)
	case s.rows != nil && !httpadapter.RowsAsked(s.rows):
		return s.end(&unreadRowsError{s.rule})
	}
	s.held.release()
	return nil
}

// err returns why the stream is over, or nil.
func (s *stream) err() error {
	if p := s.refusal.Load(); p != nil {
		return *p
	}
	return nil
}

// end ends the stream, unless it has ended, and returns why it did.
func (s *stream) end(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.err(); was != nil {
		return was
	}
	refused := s.guard.refuse(s.ctx, s.rule.method, err)
	s.refusal.Store(&refused)
	if s.over != nil {
		close(s.over)
		s.cancel(refused)
	}
	return refused
}

// watch begins to recheck the stream. The caller was verified at began, or after. It returns how to stop.
func (s *stream) watch(began time.Time) (stop func()) {
	s.over, s.one, s.began = make(chan struct{}), make(chan struct{}, 1), began
	s.ctx, s.cancel = context.WithCancelCause(s.ctx)
	s.mu.Lock() // until the timer is set
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(s.guard.opts.Recheck/2, s.tick)
	return func() {
		s.mu.Lock()
		s.closed = true
		s.timer.Stop()
		s.mu.Unlock()
		s.cancel(nil)
	}
}

// tick rechecks the stream, whether or not messages pass.
func (s *stream) tick() {
	if s.check() != nil {
		return
	}
	d := s.guard.opts.Recheck
	next := d / 2
	if s.age() >= next { // it could not be found out: again soon
		next = max(min(d/8, d-s.age()), time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.timer.Reset(next)
	}
}

// age returns how long ago everything was in order.
func (s *stream) age() time.Duration { return time.Since(s.began) - time.Duration(s.good.Load()) }

// fresh returns an error if the stream is over, or if it cannot be known that it may go on. It checks only if the timer
// is late.
func (s *stream) fresh() error {
	if err := s.err(); err != nil || s.over == nil || s.age() < s.guard.opts.Recheck {
		return err
	}
	return s.check()
}

// check verifies the caller and its rights again. It returns an error if the stream is over. If the store cannot tell,
// the stream goes on until Options.Recheck has passed since it could.
func (s *stream) check() error {
	d := s.guard.opts.Recheck
	s.one <- struct{}{} // one at a time
	defer func() { <-s.one }()
	if err := s.err(); err != nil || s.age() < d/2 { // another one has just checked
		return err
	}
	at := time.Since(s.began)
	deadline := s.began.Add(time.Duration(s.good.Load()) + d)
	if !time.Now().Before(deadline) { // the timer was late: a message waits for the answer
		deadline = time.Now().Add(d)
	}
	ctx, cancel := context.WithDeadline(s.ctx, deadline)
	defer cancel()
	s.mu.Lock()
	access, answers := s.access, append([]answer(nil), s.answers...)
	s.mu.Unlock()
	access, err := access.Again(ctx)
	for _, was := range answers {
		if err != nil || s.rule.template == nil {
			break
		}
		var now answer
		if now, err = s.guard.askOn(s.rule, access, was.on); err == nil && s.rule.rows() && !now.rows.Equal(was.rows) {
			err = errChanged
		}
	}
	switch {
	case err == nil:
		s.mu.Lock()
		s.access = access
		s.mu.Unlock()
		s.good.Store(int64(at))
		return nil
	case s.ctx.Err() != nil: // the client has gone, or the handler has returned
		return status.FromContextError(s.ctx.Err()).Err()
	case httpadapter.ProblemOf(err).Status >= http.StatusInternalServerError && s.age() < d:
		return nil
	}
	return s.end(err)
}

// rowsContext is a context whose rows are known only later. What was derived from it before finds them too.
type rowsContext struct {
	context.Context
	found atomic.Pointer[foundRows]
}

type foundRows struct{ ctx context.Context }

func (c *rowsContext) set(ctx context.Context) { c.found.Store(&foundRows{ctx}) }

// Value implements [context.Context].
func (c *rowsContext) Value(key any) any {
	if f := c.found.Load(); f != nil {
		return f.ctx.Value(key)
	}
	return c.Context.Value(key)
}
