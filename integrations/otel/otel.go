// Package latchkeyotel gives the metrics and spans of a [latchkey.Manager] to OpenTelemetry:
//
//	tele, err := latchkeyotel.New(nil)
//	keys := latchkey.New(store, &latchkey.Options{Observer: tele.Observer()})
//	err = tele.Watch(keys)
//	defer tele.Close()
//
// README.md lists the metrics, and has rules for alerts and a dashboard. Every attribute has one of a fixed list of
// values. None is an id, a secret, an address, or text of an error. Owners are named only if [Options.Owner] is set.
//
// A Verify out of the cache is counted by one atomic addition, and allocates nothing.
package latchkeyotel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchkey-go/latchkey"
)

// Scope is the name of the instrumentation scope of all metrics and spans.
const Scope = "github.com/latchkey-go/latchkey/integrations/otel"

// Options configures a [Telemetry]. A nil *Options is ready to use.
type Options struct {
	// MeterProvider receives the metrics. Nil: the global one, otel.GetMeterProvider.
	MeterProvider metric.MeterProvider

	// TracerProvider receives the spans. Nil: the global one, otel.GetTracerProvider. For metrics alone, use that of
	// go.opentelemetry.io/otel/trace/noop.
	TracerProvider trace.TracerProvider

	// Manager is the value of the attribute latchkey.manager of each metric and span. Programs with several Managers set
	// it, differently for each, because a Telemetry is for one Manager. "": there is no such attribute.
	Manager string

	// Owner returns the value of the attribute latchkey.owner of verifications, refusals and mints: the owner itself if
	// there are few, or a class of owners, such as its plan. "" omits the attribute. It is called for each of them, so it
	// must be fast, and must be safe for concurrent use. Nil: they have no such attribute.
	Owner func(owner string) string

	// Owners bounds how many values of Owner are told apart. Those that come later are counted as "_OTHER", until the
	// program ends. 0: 100. New refuses a negative number, and one above 1000.
	Owners int
}

// Telemetry gives what one Manager does to OpenTelemetry. Its methods are safe for concurrent use.
type Telemetry struct {
	meter  metric.Meter
	tracer trace.Tracer
	opts   Options
	common []attribute.KeyValue // of every metric and span

	verifications, refusals, mints *family
	changes, leasings, lost        *family
	calls                          metric.Float64Histogram
	callAttributes                 [][][]metric.RecordOption // by the operation and the class

	mu      sync.Mutex // guards what is below
	regs    []metric.Registration
	watched bool
	closed  bool
}

// New returns a Telemetry that has made its instruments. It fails if a provider refuses one.
func New(o *Options) (*Telemetry, error) {
	t := &Telemetry{}
	if o != nil {
		t.opts = *o
	}
	if t.opts.Owners < 0 || t.opts.Owners > 1000 {
		return nil, fmt.Errorf("latchkeyotel: Options.Owners is %d; give 0 (for 100) to 1000", t.opts.Owners)
	}
	if t.opts.Owners == 0 {
		t.opts.Owners = 100
	}
	if t.opts.MeterProvider == nil {
		t.opts.MeterProvider = otel.GetMeterProvider()
	}
	if t.opts.TracerProvider == nil {
		t.opts.TracerProvider = otel.GetTracerProvider()
	}
	if t.opts.Manager != "" {
		t.common = append(t.common, attribute.String("latchkey.manager", t.opts.Manager))
	}
	t.meter = t.opts.MeterProvider.Meter(Scope, metric.WithSchemaURL(semconv.SchemaURL))
	t.tracer = t.opts.TracerProvider.Tracer(Scope, trace.WithSchemaURL(semconv.SchemaURL))
	if err := t.instruments(); err != nil {
		return nil, fmt.Errorf("latchkeyotel: %w", err)
	}
	return t, nil
}

// Observer returns the Observer for Options.Observer of the Manager. The members of the others are called after its
// own, in this order.
func (t *Telemetry) Observer(others ...latchkey.Observer) latchkey.Observer {
	return latchkey.Observer{
		Verified:  join(t.verified, others, func(o latchkey.Observer) callback[latchkey.Verification] { return o.Verified }),
		Refused:   join(t.refused, others, func(o latchkey.Observer) callback[latchkey.Refusal] { return o.Refused }),
		StoreCall: join(t.called, others, func(o latchkey.Observer) callback[latchkey.StoreCall] { return o.StoreCall }),
		Minted:    join(t.minted, others, func(o latchkey.Observer) callback[latchkey.Minting] { return o.Minted }),
		Changed:   join(t.changed, others, func(o latchkey.Observer) callback[latchkey.Event] { return o.Changed }),
		Leased:    join(t.leased, others, func(o latchkey.Observer) callback[latchkey.Leasing] { return o.Leased }),
		Failed:    join(t.failed, others, func(o latchkey.Observer) callback[latchkey.Failure] { return o.Failed }),
	}
}

// callback is a member of an Observer.
type callback[T any] = func(context.Context, T)

// memberOf returns the callback that an Observer has set, or nil.
type memberOf[T any] = func(latchkey.Observer) callback[T]

// join returns a callback that calls first, and then the members that the others have set.
func join[T any](first callback[T], others []latchkey.Observer, member memberOf[T]) callback[T] {
	all := []callback[T]{first}
	for _, o := range others {
		if f := member(o); f != nil {
			all = append(all, f)
		}
	}
	if len(all) == 1 {
		return first
	}
	return func(ctx context.Context, what T) {
		for _, f := range all {
			f(ctx, what)
		}
	}
}

// Close ends the export of what is read at each collection: everything but the durations of store calls. The Manager
// goes on. Close it first, so that what it does at its end is exported by a last collection before this Close. A second
// Close does nothing.
func (t *Telemetry) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	var errs []error
	for _, r := range t.regs {
		errs = append(errs, r.Unregister())
	}
	t.regs = nil
	return errors.Join(errs...)
}
