package latchkeygrpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/latchkey-go/latchkey/httpadapter"
)

// heldMetadata keeps the headers and trailers of a handler until its answer may go out: a count would tell of rows as
// the answer does. It stands between grpc.SetHeader, or a stream, and the transport.
type heldMetadata struct {
	grpc.ServerTransportStream
	answers interface{ mayAnswer() error }

	mu       sync.Mutex
	header   metadata.MD
	trailer  metadata.MD
	released bool
}

// holdMetadata holds the metadata of a unary call until the handler has asked for the rows of ctx. It returns nil where
// there is no transport, as in a test that calls the interceptor itself.
func holdMetadata(ctx context.Context) *heldMetadata {
	inner := grpc.ServerTransportStreamFromContext(ctx)
	if inner == nil {
		return nil
	}
	return &heldMetadata{ServerTransportStream: inner, answers: askedRows{ctx}}
}

// askedRows lets an answer out once the handler has asked for the rows of a context.
type askedRows struct{ context.Context }

func (a askedRows) mayAnswer() error {
	if !httpadapter.RowsAsked(a.Context) {
		return internalStatus.Err()
	}
	return nil
}

// in returns a context for the handler.
func (h *heldMetadata) in(ctx context.Context) context.Context {
	if h == nil {
		return ctx
	}
	return grpc.NewContextWithServerTransportStream(ctx, h)
}

// release lets out what was held.
func (h *heldMetadata) release() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.released = true
	if len(h.header) > 0 {
		_ = h.ServerTransportStream.SetHeader(h.header)
	}
	if len(h.trailer) > 0 {
		_ = h.ServerTransportStream.SetTrailer(h.trailer)
	}
	h.header, h.trailer = nil, nil
}

// SetHeader implements grpc.ServerTransportStream.
func (h *heldMetadata) SetHeader(md metadata.MD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return h.ServerTransportStream.SetHeader(md)
	}
	h.header = metadata.Join(h.header, md)
	return nil
}

// SendHeader implements grpc.ServerTransportStream. Headers cannot be taken back.
func (h *heldMetadata) SendHeader(md metadata.MD) error {
	if err := h.answers.mayAnswer(); err != nil {
		return err
	}
	h.release()
	return h.ServerTransportStream.SendHeader(md)
}

// SetTrailer implements grpc.ServerTransportStream.
func (h *heldMetadata) SetTrailer(md metadata.MD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return h.ServerTransportStream.SetTrailer(md)
	}
	h.trailer = metadata.Join(h.trailer, md)
	return nil
}

// streamTransport is a stream as the transport that heldMetadata stands before.
type streamTransport struct {
	grpc.ServerStream
	method string
}

func (s streamTransport) Method() string { return s.method }

func (s streamTransport) SetTrailer(md metadata.MD) error {
	s.ServerStream.SetTrailer(md)
	return nil
}
