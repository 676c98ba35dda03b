package latchkeyotel_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/latchkey-go/latchkey"
	latchkeyotel "github.com/latchkey-go/latchkey/integrations/otel"
	"github.com/latchkey-go/latchkey/memstore"
)

// Metrics for Prometheus, on a page of this program.
func Example() {
	ctx, store := context.Background(), memstore.New(nil)

	reader, err := exporter.New()
	if err != nil {
		log.Fatal(err)
	}
	meters := metric.NewMeterProvider(metric.WithReader(reader))
	http.Handle("/metrics", promhttp.Handler())

	tele, err := latchkeyotel.New(&latchkeyotel.Options{MeterProvider: meters})
	if err != nil {
		log.Fatal(err)
	}
	defer tele.Close()
	keys := latchkey.New(store, &latchkey.Options{Observer: tele.Observer()})
	defer keys.Close(ctx)
	if err := tele.Watch(keys); err != nil {
		log.Fatal(err)
	}

	_, err = keys.Verify(ctx, latchkey.Presented{Secret: "not a key"})
	fmt.Println(err)
	page := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	metrics, _ := io.ReadAll(page.Body)
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, "latchkey_verifications_total") && strings.Contains(line, "unknown") &&
			!strings.HasSuffix(line, " 0\n") {
			fmt.Println("counted")
		}
	}
	// Output:
	// latchkey: unknown token
	// counted
}

// The host's own Observer is called too.
func ExampleTelemetry_Observer() {
	tele, err := latchkeyotel.New(nil) // the global providers
	if err != nil {
		log.Fatal(err)
	}
	mine := latchkey.Observer{
		Refused: func(_ context.Context, r latchkey.Refusal) { fmt.Println("refused:", r.Reason) },
	}
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Observer: tele.Observer(mine)})
	defer keys.Close(context.Background())

	ctx := context.Background()
	token, secret, _ := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	_ = keys.For("acme").Revoke(ctx, token.ID, "leaked")
	_, _ = keys.Verify(ctx, latchkey.Presented{Secret: secret.Reveal()})
	// Output:
	// refused: revoked
}
