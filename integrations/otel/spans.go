package latchkeyotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchkey-go/latchkey"
)

// traced reports whether ctx has a span, whose children the spans of this package are. Without one there are none: work
// in the background would begin a trace for each read of the store.
func traced(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }

// span reports work that has ended. The text of an error may have ids and names of the host, so the status has the
// outcome alone.
func (t *Telemetry) span(ctx context.Context, name string, start time.Time, took time.Duration, outcome string,
	attributes ...attribute.KeyValue) {
	attributes = append(attributes, t.common...)
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(start), trace.WithAttributes(attributes...))
	if isFailure(outcome) {
		span.SetStatus(codes.Error, outcome)
	}
	span.End(trace.WithTimestamp(start.Add(took)))
}

func (t *Telemetry) callSpan(ctx context.Context, c *latchkey.StoreCall, operation, class string) {
	if !traced(ctx) {
		return
	}
	t.span(ctx, "latchkey.store."+operation, c.Start, c.Duration, class, callAttributes(operation, class)...)
}

func (t *Telemetry) verifySpan(ctx context.Context, v *latchkey.Verification) {
	if !traced(ctx) {
		return
	}
	outcome := outcomes.values[outcomes.place(v.Outcome)]
	attributes := withError(outcome, attribute.String(outcomeKey, outcome), attribute.String(sourceKey, string(v.Source)))
	if v.Kind.Valid() {
		attributes = append(attributes, attribute.String(kindKey, v.Kind.String()))
	}
	t.span(ctx, "latchkey.verify", v.Start, v.Duration, outcome, attributes...)
}

func (t *Telemetry) mintSpan(ctx context.Context, m *latchkey.Minting) {
	if !traced(ctx) {
		return
	}
	outcome := mintings.values[mintings.place(m.Outcome)]
	attributes := withError(outcome, attribute.String(outcomeKey, outcome), attribute.Int("latchkey.mint.tries", m.Tries))
	t.span(ctx, "latchkey.mint", m.Start, m.Duration, outcome, attributes...)
}

// withError adds error.type if the outcome is a failure of the store.
func withError(outcome string, attributes ...attribute.KeyValue) []attribute.KeyValue {
	if isFailure(outcome) {
		attributes = append(attributes, attribute.String(string(semconv.ErrorTypeKey), outcome))
	}
	return attributes
}
