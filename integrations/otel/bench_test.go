package latchkeyotel_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/latchkey-go/latchkey"
	latchkeyotel "github.com/latchkey-go/latchkey/integrations/otel"
	"github.com/latchkey-go/latchkey/memstore"
)

// What telemetry adds to a Verify out of the cache: compare with "none".
func BenchmarkVerify(b *testing.B) {
	for name, with := range map[string]func(*latchkeyotel.Options){
		"none":   nil,
		"otel":   func(*latchkeyotel.Options) {},
		"owners": func(o *latchkeyotel.Options) { o.Owner = func(owner string) string { return owner } },
	} {
		keys, p := verified(b, with)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := keys.Verify(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := keys.Verify(b.Context(), p); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// verified returns a Manager that has cached a token. Nil: it is not observed.
func verified(b *testing.B, with func(*latchkeyotel.Options)) (*latchkey.Manager, latchkey.Presented) {
	b.Helper()
	o := &latchkey.Options{MaxStale: time.Hour}
	if with != nil {
		oo := &latchkeyotel.Options{MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))}
		with(oo)
		tele, err := latchkeyotel.New(oo)
		require.NoError(b, err)
		o.Observer = tele.Observer()
	}
	keys := latchkey.New(memstore.New(nil), o)
	b.Cleanup(func() { _ = keys.Close(b.Context()) })
	_, secret, err := keys.For("acme").Issue(b.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(b, err)
	p := latchkey.Presented{Secret: secret.Reveal()}
	_, err = keys.Verify(b.Context(), p)
	require.NoError(b, err)
	return keys, p
}

// What a scrape costs.
func BenchmarkCollect(b *testing.B) {
	reader := metric.NewManualReader()
	tele, err := latchkeyotel.New(&latchkeyotel.Options{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	require.NoError(b, err)
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Observer: tele.Observer()})
	require.NoError(b, tele.Watch(keys))
	_, secret, err := keys.For("acme").Issue(b.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(b, err)
	_, err = keys.Verify(b.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(b, err)
	all := new(metricdata.ResourceMetrics)
	b.ReportAllocs()
	for b.Loop() {
		if err := reader.Collect(b.Context(), all); err != nil {
			b.Fatal(err)
		}
	}
}

// What a call of the store costs besides, without a span and with one.
func BenchmarkStoreCall(b *testing.B) {
	tracers := sdktrace.NewTracerProvider() // samples all, and exports nothing
	tele, err := latchkeyotel.New(&latchkeyotel.Options{TracerProvider: tracers,
		MeterProvider: metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))})
	require.NoError(b, err)
	call := latchkey.StoreCall{Op: "Epoch", Class: "ok", Start: time.Now(), Duration: time.Millisecond}
	traced, span := tracers.Tracer("bench").Start(b.Context(), "request")
	defer span.End()
	for name, ctx := range map[string]context.Context{"metrics": b.Context(), "metrics and span": traced} {
		o := tele.Observer()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				o.StoreCall(ctx, call)
			}
		})
	}
}
