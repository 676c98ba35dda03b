package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	latchkeygin "github.com/latchkey-go/latchkey/integrations/frameworks/gin"
	latchkeyotel "github.com/latchkey-go/latchkey/integrations/otel"
)

// carriers lets clients go on as they are: some send X-API-Key, others Authorization.
var carriers = httpadapter.Carriers{Bearer: true, Headers: []string{"X-API-Key"}}

// web is the API on gin. Pages of https://app.example.com may call it.
func (h *host) web() http.Handler {
	auth := httpadapter.New(h.keys, &httpadapter.Options{Carriers: carriers, Logger: slog.Default(),
		CORS: &httpadapter.CORS{Origins: []string{"https://app.example.com"}}})
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/reports/:id", latchkeygin.Guard(auth.Require(latchkey.Read, "report/{id}")), func(c *gin.Context) {
		access, _ := httpadapter.AccessFrom(c.Request.Context())
		c.JSON(http.StatusOK, gin.H{"report": c.Param("id"), "owner": access.Owner()})
	})
	e.GET("/orders", latchkeygin.Guard(auth.RequireRows(latchkey.Read, "orders")), func(c *gin.Context) {
		rows, _ := httpadapter.RowsFrom(c.Request.Context())
		orders, err := h.ordersIn(c.Request.Context(), rows)
		if err != nil {
			auth.WriteError(c.Writer, c.Request, err)
			return
		}
		c.JSON(http.StatusOK, orders)
	})
	e.GET("/metrics", gin.WrapH(promhttp.Handler())) // for Prometheus alone, in a real service
	return auth.CrossOrigin(e)
}

// ask answers nginx. Each route of the service in Python is in the table.
func (h *host) ask() http.Handler {
	auth := httpadapter.New(h.keys, &httpadapter.Options{Carriers: carriers, Logger: slog.Default(),
		Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}) // where nginx is
	mux := http.NewServeMux()
	mux.Handle("/auth", forward.New(auth, []forward.Route{
		{Pattern: "GET /reports/{id}", Action: latchkey.Read, Resource: "report/{id}"},
	}, &forward.Options{From: forward.Nginx, Roles: true}))
	return mux
}

// serveHTTP serves until the context ends.
func serveHTTP(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// metrics are for Prometheus. The zero value measures nothing.
type metrics struct {
	telemetry *latchkeyotel.Telemetry
}

func newMetrics() (metrics, error) {
	reader, err := exporter.New() // promhttp.Handler serves what it collects
	if err != nil {
		return metrics{}, err
	}
	telemetry, err := latchkeyotel.New(&latchkeyotel.Options{
		MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	return metrics{telemetry}, err
}

func (m metrics) observer() latchkey.Observer {
	if m.telemetry == nil {
		return latchkey.Observer{}
	}
	return m.telemetry.Observer()
}

func (m metrics) watch(keys *latchkey.Manager) error {
	if m.telemetry == nil {
		return nil
	}
	return m.telemetry.Watch(keys)
}
