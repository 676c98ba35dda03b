package httpadapter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// RowsFrom returns the row condition that [Adapter.RequireRows] stored for the handler to bind, and whether there is
// one. Without one it returns the zero Condition, which admits no row. The handler must call it before the first byte
// of its answer: see RequireRows.
func RowsFrom(ctx context.Context) (latchkey.Condition, bool) {
	s, _ := ctx.Value(stateKey{}).(*requestState)
	if s == nil || !s.hasRows {
		return latchkey.Condition{}, false
	}
	s.lookAtRows()
	return s.rows, true
}

// RowsNotNeeded says that the answer of a handler behind [Adapter.RequireRows] depends on no row, such as a redirect or
// a count that everyone may know. The handler calls it before the first byte of its answer. It does nothing without
// RequireRows.
func RowsNotNeeded(ctx context.Context) {
	if s, _ := ctx.Value(stateKey{}).(*requestState); s != nil {
		s.lookAtRows()
	}
}

// WithRows is [WithAccess] with the condition that [RowsFrom] returns, for surfaces of other protocols: package
// integrations/grpc is one. Such a surface must not let an answer out before [RowsAsked].
func WithRows(ctx context.Context, access latchkey.Access, rows latchkey.Condition) context.Context {
	s := withAccess(ctx, access)
	s.rows, s.hasRows = rows, true
	return s
}

// RowsAsked reports whether the handler that got ctx, or a context derived from it, has called [RowsFrom] or
// [RowsNotNeeded]. It is false without rows.
func RowsAsked(ctx context.Context) bool {
	s, _ := ctx.Value(stateKey{}).(*requestState)
	return s != nil && s.hasRows && s.looked.Load()
}

// lookAtRows records that the handler knows its rows. The state of a RequireRows around another one follows: its
// handler gets the rows of the inner one only.
func (s *requestState) lookAtRows() {
	for ; s != nil; s = s.outer {
		s.looked.Store(true)
	}
}

// rowsState is a guardedCall with the writer that guards its answer, in one allocation.
type rowsState struct {
	guardedCall
	writer rowsWriter
}

// rowsWriter holds back the first byte of a handler's answer until the handler has looked at its rows. It is used by
// the handler's goroutine, as every http.ResponseWriter. Only looked may be set by another one.
//
// It has the optional methods that it can do whatever the inner writer is. A handler asks for Flush by type:
// flushingRowsWriter has it, for inner writers that do. Push is left out: it would bypass the check.
type rowsWriter struct {
	http.ResponseWriter
	adapter *Adapter
	request *http.Request
	state   *requestState
	guard   *rowsGuard
	stage   answerStage
	before  headersBefore
}

// headersBefore are the headers that the middleware around set. What a 500 replaces has none of the handler's: a count
// or a link would tell of rows as the body does. A few need no allocation.
type headersBefore struct {
	few [8]struct {
		name   string
		values []string
	}
	n    int
	many http.Header // of more than a few
}

// keep notes the headers of h.
func (b *headersBefore) keep(h http.Header) {
	if len(h) > len(b.few) {
		b.many = maps.Clone(h)
		return
	}
	for name, values := range h {
		b.few[b.n].name, b.few[b.n].values = name, values
		b.n++
	}
}

// restore makes h what it was when it was kept.
func (b *headersBefore) restore(h http.Header) {
	clear(h)
	maps.Copy(h, b.many)
	for _, f := range b.few[:b.n] {
		h[f.name] = f.values
	}
}

// rowsGuard names a RequireRows in errors.
type rowsGuard struct {
	action   latchkey.Action
	resource string
}

type answerStage uint8

const (
	answerHeld answerStage = iota // nothing was written
	answerPassed
	answerRefused // a 500 was written in its place
)

// admit reports whether the answer may go out. A status of 400 and above shows no row: it is how a handler says that it
// failed before it knew its rows. Any other answer of a handler that has not looked is replaced by a 500.
func (w *rowsWriter) admit(status int) bool {
	if w.stage != answerHeld {
		return w.stage == answerPassed
	}
	if status >= 400 || w.state.looked.Load() {
		w.stage = answerPassed
		return true
	}
	w.stage = answerRefused
	w.before.restore(w.Header())
	w.adapter.WriteError(w.ResponseWriter, w.request, &unreadRowsError{w.guard})
	return false
}

// WriteHeader implements [http.ResponseWriter]. Informational headers are no answer yet.
func (w *rowsWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols && w.stage == answerHeld || w.admit(status) {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements [http.ResponseWriter].
func (w *rowsWriter) Write(b []byte) (int, error) {
	if !w.admit(http.StatusOK) {
		return 0, &unreadRowsError{w.guard}
	}
	return w.ResponseWriter.Write(b)
}

// WriteString implements [io.StringWriter].
func (w *rowsWriter) WriteString(s string) (int, error) {
	if !w.admit(http.StatusOK) {
		return 0, &unreadRowsError{w.guard}
	}
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom implements [io.ReaderFrom], which is how io.Copy sends files.
func (w *rowsWriter) ReadFrom(src io.Reader) (int64, error) {
	if !w.admit(http.StatusOK) {
		return 0, &unreadRowsError{w.guard}
	}
	return io.Copy(w.ResponseWriter, src)
}

// FlushError is how [http.ResponseController] flushes.
func (w *rowsWriter) FlushError() error {
	if !w.admit(http.StatusOK) {
		return &unreadRowsError{w.guard}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements [http.Hijacker]. It returns http.ErrNotSupported where the inner writer cannot.
func (w *rowsWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.admit(http.StatusSwitchingProtocols) {
		return nil, nil, &unreadRowsError{w.guard}
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is how [http.ResponseController] finds the methods that write nothing, such as SetReadDeadline.
func (w *rowsWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// flushingRowsWriter is a rowsWriter for inner writers that flush.
type flushingRowsWriter struct{ *rowsWriter }

// Flush implements [http.Flusher].
func (w flushingRowsWriter) Flush() { _ = w.FlushError() }

// serve calls the handler. A handler that wrote nothing is checked when it returns: the server then answers 200. A
// panic passes.
func (w *rowsWriter) serve(next http.Handler) {
	w.before.keep(w.Header())
	if _, flushes := w.ResponseWriter.(http.Flusher); flushes {
		next.ServeHTTP(flushingRowsWriter{w}, w.request)
	} else {
		next.ServeHTTP(w, w.request)
	}
	if w.admit(http.StatusOK) {
		return
	}
	for name := range w.Header() {
		if strings.HasPrefix(name, http.TrailerPrefix) { // they are sent behind the body
			w.Header().Del(name)
		}
	}
}

// unreadRowsError is a programming error: a handler that answers without its rows.
type unreadRowsError struct{ *rowsGuard }

func (e *unreadRowsError) Error() string {
	return fmt.Sprintf("httpadapter: RequireRows(%q, %q): the handler answered without asking for the rows it may show",
		e.action, e.resource)
}

func (e *unreadRowsError) hint() string {
	return "call RowsFrom and apply the condition before the first byte, or RowsNotNeeded for an answer that " +
		"shows no row; " +
		"the handler must have finished when the middleware returns"
}
