package latchkeymcp

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey"
)

// serveStream serves a response that outlives its request's check. The SDK ends such a response when its context ends.
func (g *Guard) serveStream(w http.ResponseWriter, r *http.Request, access latchkey.Access, next http.Handler) {
	ctx, cancel := context.WithCancel(r.Context())
	s := &stream{ResponseWriter: w, ctx: ctx, cancel: cancel, access: access}
	var watching sync.WaitGroup
	if g.opts.StreamCheck > 0 {
		watching.Go(func() { s.watch(g.opts.StreamCheck) })
	}
	defer watching.Wait()
	defer cancel()
	next.ServeHTTP(s, r.WithContext(ctx))
}

// stream writes for as long as its token is accepted.
type stream struct {
	http.ResponseWriter
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	access latchkey.Access
	ended  error
}

// live verifies the token once more. An error is final: also one of the store, since what cannot be verified is
// refused.
func (s *stream) live() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		fresh, err := s.access.Again(s.ctx)
		if err != nil {
			s.ended = err
			s.cancel()
		} else {
			s.access = fresh
		}
	}
	return s.ended
}

// watch verifies the token every so often, until the response ends.
func (s *stream) watch(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if s.live() != nil {
				return
			}
		}
	}
}

// Write implements [http.ResponseWriter]. Nothing goes out after the token has ended.
func (s *stream) Write(b []byte) (int, error) {
	if err := s.live(); err != nil {
		return 0, err
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap is how [http.ResponseController] flushes.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }
