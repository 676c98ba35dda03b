package latchkeyotel_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchkey-go/latchkey"
	latchkeyotel "github.com/latchkey-go/latchkey/integrations/otel"
	"github.com/latchkey-go/latchkey/latchkeytest"
	"github.com/latchkey-go/latchkey/memstore"
)

// store is a store in memory that can be taken down, and be slow. It can also refuse counts as invalid, so that they
// are lost.
type store struct {
	*latchkeytest.Store
	delay atomic.Int64 // ns, of each read of a token or of changes
	lose  atomic.Bool
}

func (s *store) wait(ctx context.Context) {
	if d := s.delay.Load(); d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(d)):
		}
	}
}

func (s *store) ByDigest(ctx context.Context, slot latchkey.Slot, digests ...[32]byte) (latchkey.Found, error) {
	s.wait(ctx)
	return s.Store.ByDigest(ctx, slot, digests...)
}

func (s *store) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	s.wait(ctx)
	return s.Store.Changes(ctx, feed, after, n)
}

func (s *store) AddUsage(ctx context.Context, b latchkey.UsageBatch) error {
	if s.lose.Load() {
		return fmt.Errorf("%w: the test refuses counts", latchkey.ErrInvalid)
	}
	return s.Store.AddUsage(ctx, b)
}

// world is a Manager with its telemetry, and what was exported.
type world struct {
	t      *testing.T
	clock  *latchkeytest.Clock
	store  *store
	reader *metric.ManualReader
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
	tele   *latchkeyotel.Telemetry
	keys   *latchkey.Manager
	acme   latchkey.Account

	canaries []string // ids and texts of tokens, and a part of every name
}

// newWorld makes one. Nil functions change nothing.
func newWorld(t *testing.T, change func(*latchkey.Options), changeOtel func(*latchkeyotel.Options),
	others ...latchkey.Observer) *world {
	t.Helper()
	w := &world{t: t, clock: latchkeytest.NewClock(time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)),
		reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	w.store = &store{Store: &latchkeytest.Store{Store: memstore.New(&memstore.Options{Clock: w.clock.Now})}}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans))
	w.tracer = tracers.Tracer("test")
	oo := &latchkeyotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(w.reader)),
		TracerProvider: tracers}
	if changeOtel != nil {
		changeOtel(oo)
	}
	var err error
	w.tele, err = latchkeyotel.New(oo)
	require.NoError(t, err)
	o := &latchkey.Options{Clock: w.clock.Now, Observer: w.tele.Observer(others...)}
	if change != nil {
		change(o)
	}
	w.keys = latchkey.New(w.store, o)
	require.NoError(t, w.tele.Watch(w.keys))
	w.acme = w.keys.For("acme")
	t.Cleanup(func() {
		w.store.Down(false)
		w.store.lose.Store(false)
		w.store.delay.Store(0)
		require.NoError(t, w.keys.Close(context.WithoutCancel(t.Context())))
		require.NoError(t, w.tele.Close())
	})
	return w
}

// issue makes an API key that may do everything with datasets, and mint.
func (w *world) issue(owner string) (latchkey.Token, string) {
	w.t.Helper()
	token, secret, err := w.keys.For(owner).Issue(w.t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/*")}})
	require.NoError(w.t, err)
	return token, secret.Reveal()
}

func (w *world) verify(text string) (latchkey.Access, error) {
	return w.keys.Verify(w.t.Context(), latchkey.Presented{Secret: text})
}

// collect returns all metrics, by name.
func (w *world) collect() map[string]metricdata.Metrics {
	w.t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(w.t, w.reader.Collect(w.t.Context(), &all))
	found := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		require.Equal(w.t, latchkeyotel.Scope, scope.Scope.Name)
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// point is one series: its attributes as text, and its value. A histogram's value is how often it was recorded.
func points(t *testing.T, m metricdata.Metrics) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	put := func(of string, v float64) {
		require.NotContains(t, found, of, m.Name)
		found[of] = v
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			put(text(p.Attributes), float64(p.Value))
		}
	case metricdata.Sum[float64]:
		for _, p := range data.DataPoints {
			put(text(p.Attributes), p.Value)
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			put(text(p.Attributes), float64(p.Value))
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			put(text(p.Attributes), p.Value)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			put(text(p.Attributes), float64(p.Count))
		}
	default:
		require.FailNow(t, "unknown data", "%s: %T", m.Name, data)
	}
	return found
}

// value returns the value of the series of a metric with these attributes, and whether there is one.
func (w *world) value(name, attributes string) (float64, bool) {
	w.t.Helper()
	m, ok := w.collect()[name]
	if !ok {
		return 0, false
	}
	v, ok := points(w.t, m)[attributes]
	return v, ok
}

// has asserts the value of a series.
func (w *world) has(want float64, name, attributes string) {
	w.t.Helper()
	m, ok := w.collect()[name]
	require.True(w.t, ok, "%s is not exported", name)
	got, ok := points(w.t, m)[attributes]
	require.True(w.t, ok, "%s{%s} is not exported, but %v", name, attributes, points(w.t, m))
	require.InDelta(w.t, want, got, 1e-9, "%s{%s}", name, attributes)
}
