package latchkeyotel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/latchkey-go/latchkey"
	latchkeyotel "github.com/latchkey-go/latchkey/integrations/otel"
)

// A target is a program that Prometheus scrapes. It works all the time. While it is faulty, it has its fault.
type target struct {
	*world
	faulty atomic.Bool
	turn   int
	access latchkey.Access
	id     string // of the token
	text   string
	bad    string // that of a token that is revoked
}

// faults say what a target does each turn, and what fires while it does.
var faults = map[string]struct {
	options func(*latchkey.Options)
	turn    func(*target)
	alerts  []string
}{
	"healthy": {turn: func(*target) {}},
	"down": {
		options: func(o *latchkey.Options) { o.MaxStale = time.Minute },
		turn: func(g *target) {
			g.store.Down(g.faulty.Load())
			if g.faulty.Load() {
				g.clock.Advance(time.Second)
			}
		},
		alerts: []string{"LatchkeyBackgroundFailures", "LatchkeyRevocationBoundAtRisk", "LatchkeyStoreFailing",
			"LatchkeyUnavailable"},
	},
	"slow": {
		options: func(o *latchkey.Options) { o.CacheTokens = -1 },
		turn: func(g *target) {
			g.store.delay.Store(0)
			if g.faulty.Load() {
				g.store.delay.Store(int64(400 * time.Millisecond))
			}
		},
		alerts: []string{"LatchkeyStoreSlow"},
	},
	"refusing": {
		turn: func(g *target) {
			if g.faulty.Load() {
				_, _ = g.verify(g.bad)
			}
		},
		alerts: []string{"LatchkeyRefusalsRising"},
	},
	"flooded": {
		turn: func(g *target) {
			for range 100 {
				if g.faulty.Load() {
					_, _ = g.verify("junk")
				}
			}
		},
		alerts: []string{"LatchkeyJunkFlood"},
	},
	"losing": {
		turn:   func(g *target) { g.store.lose.Store(g.faulty.Load()) },
		alerts: []string{"LatchkeyBackgroundFailures", "LatchkeyRecordsLost"},
	},
}

// start runs a target until the test ends, and returns the address of its metrics.
func start(t *testing.T, options func(*latchkey.Options), turn func(*target)) (*target, string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry))
	require.NoError(t, err)
	g := &target{world: newWorld(t, func(o *latchkey.Options) {
		o.CreditLease = latchkey.Hundredth
		if options != nil {
			options(o)
		}
	}, func(o *latchkeyotel.Options) { o.MeterProvider = metric.NewMeterProvider(metric.WithReader(reader)) })}
	page := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	token, secret, err := g.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Limits: latchkey.Limits{Rate: latchkey.PerSecond(1_000_000),
			Quotas: []latchkey.Quota{{Amount: 1_000_000 * latchkey.Credit, Per: latchkey.Forever}}},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("dataset/*")}})
	require.NoError(t, err)
	g.id, g.text = token.ID, secret.Reveal()
	g.access, err = g.verify(g.text)
	require.NoError(t, err)
	bad, secret, err := g.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	require.NoError(t, g.acme.Revoke(t.Context(), bad.ID, ""))
	g.bad = secret.Reveal()

	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			turn(g)
			g.work(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() {
		stop()
		wg.Wait()
		page.Close()
	})
	return g, strings.TrimPrefix(page.URL, "http://")
}

// work is what a healthy service does. Errors are expected while the target is faulty.
func (g *target) work(ctx context.Context) {
	_, _ = g.keys.Verify(ctx, latchkey.Presented{Secret: g.text})
	g.access.Count("calls", "/", 1)
	_, _ = g.access.Spend(ctx, "calls", "/", latchkey.Credit/1000)
	if g.turn++; g.turn%10 == 0 {
		_, _, _ = g.access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Minute})
		_, _, _ = g.acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	}
}

// quick is the shipped file with short times: a window of 10 s, five minutes of history, and a second before an alert
// fires.
func quick(t *testing.T) []byte {
	t.Helper()
	rules, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	text := strings.NewReplacer("[5m]", "[10s]", "[1h]", "[5m]").Replace(string(rules))
	text = regexp.MustCompile(`(?m)^( +for:) .*$`).ReplaceAllString(text, "$1 1s")
	require.Equal(t, strings.Count(string(rules), "[5m]"), strings.Count(text, "[10s]"))
	require.NotRegexp(t, `for: \d+m|\[\d+h\]`, text)
	return []byte(text)
}

var metricName = regexp.MustCompile(`\blatchkey_[a-z_]+_(?:total|seconds|count|bucket|ratio)\b`)

// In a running Prometheus, each alert fires with its fault, and with no other. Each expression of the dashboard has
// data.
func TestPrometheus(t *testing.T) {
	targets, addresses := map[string]*target{}, map[string]string{}
	for name, f := range faults {
		targets[name], addresses[name] = start(t, f.options, f.turn)
	}
	server := startPrometheus(t, quick(t), addresses)

	// Without a fault nothing fires, though each alert has what it looks at.
	var rules []rule
	eventually(t, func() string {
		var missing string
		if rules, missing = server.rules(t); missing != "" || len(rules) == 0 {
			return "no rules: " + missing
		}
		for _, r := range rules {
			if r.Health != "ok" {
				return r.Name + ": " + r.Health + r.LastError
			}
			metrics := metricName.FindAllString(r.Query, -1)
			require.NotEmpty(t, metrics, r.Query)
			for _, m := range metrics {
				if m == "latchkey_feed_staleness_ratio" { // only with a MaxStale
					continue
				}
				series, missing := server.query(t, fmt.Sprintf("count by (job) (rate(%s[10s]))", m))
				if missing != "" || len(series) != len(faults) {
					return fmt.Sprintf("%s: %v %s", m, series, missing)
				}
			}
		}
		series, missing := server.query(t, "latchkey_feed_staleness_ratio")
		if missing != "" || len(series) != 1 {
			return fmt.Sprintf("staleness: %v %s", series, missing)
		}
		return fires(t, server, map[string][]string{})
	})
	known := map[string]bool{}
	for _, r := range rules {
		known[r.Name] = true
	}
	tried := map[string]bool{}
	for _, f := range faults {
		for _, name := range f.alerts {
			tried[name] = true
		}
	}
	require.Equal(t, known, tried, "each alert has a fault here")

	// What was refused before is little, compared with what was verified.
	for range 200_000 {
		_, err := targets["refusing"].verify(targets["refusing"].text)
		require.NoError(t, err)
	}
	eventually(t, func() string {
		series, missing := server.query(t, `sum(increase(latchkey_verifications_total{job="refusing"}[5m])) > 100000
			and sum(increase(latchkey_verifications_total{job="refusing"}[10s])) < 10000`)
		if missing != "" || len(series) == 0 {
			return "the burst is not past: " + missing
		}
		return ""
	})

	want := map[string][]string{}
	for name, f := range faults {
		targets[name].faulty.Store(true)
		if f.alerts != nil {
			want[name] = f.alerts
		}
	}
	eventually(t, func() string { return fires(t, server, want) })
	series, missing := server.query(t, `{__name__=~"latchkey.*"}`)
	require.Empty(t, missing)
	require.Greater(t, len(series), 100*len(faults))
	for _, one := range series {
		for label, value := range one.Metric {
			for _, g := range targets {
				for _, secret := range []string{g.text, g.bad, g.id, "acme"} {
					require.NotContains(t, value, secret, label)
				}
			}
		}
	}
	for expr, legend := range expressions(t) {
		eventually(t, func() string { return server.hasData(t, expr, legend) })
	}

	for _, g := range targets {
		g.faulty.Store(false)
	}
	eventually(t, func() string { return fires(t, server, map[string][]string{}) })
}

// fires returns "" if what fires is what is wanted.
func fires(t *testing.T, s *server, want map[string][]string) string {
	t.Helper()
	got, missing := s.firing(t)
	if missing != "" || !maps.EqualFunc(got, want, slices.Equal) {
		return fmt.Sprintf("%s fires: %v\nwanted: %v", missing, got, want)
	}
	return ""
}

var inLegend = regexp.MustCompile(`{{(\w+)}}`)

// hasData returns "" if an expression has series, with numbers, and with the labels that their legend names.
func (s *server) hasData(t *testing.T, expr, legend string) string {
	t.Helper()
	series, missing := s.query(t, expr)
	if missing != "" || len(series) == 0 {
		return "no data: " + expr + missing
	}
	numbers := 0
	for _, one := range series {
		for _, label := range inLegend.FindAllStringSubmatch(legend, -1) {
			require.NotEmpty(t, one.Metric[label[1]], "%s: %s", legend, expr)
		}
		if one.Value[1] != "NaN" {
			numbers++
		}
	}
	if numbers == 0 {
		return "not a number: " + expr
	}
	return ""
}

// expressions returns those of the dashboard, with the legend of each.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Templating struct {
			List []struct {
				Type  string
				Query json.RawMessage // a text, or an object with one
			}
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	values := strings.NewReplacer("$__rate_interval", "10s", "$job", ".*", "$instance", ".*")
	all := map[string]string{}
	put := func(expr, legend string) {
		expr = values.Replace(expr)
		require.NotContains(t, expr, "$")
		require.NotContains(t, all, expr)
		all[expr] = legend
	}
	for _, v := range dashboard.Templating.List {
		if v.Type == "query" {
			var ask struct{ Query string }
			require.NoError(t, json.Unmarshal(v.Query, &ask))
			// Grafana asks for the values of a label of these series.
			m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(ask.Query)
			require.NotNil(t, m, ask.Query)
			put(fmt.Sprintf("group by (%s) (%s)", m[2], m[1]), "{{"+m[2]+"}}")
		}
	}
	require.NotEmpty(t, dashboard.Panels)
	for _, p := range dashboard.Panels {
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			put(target.Expr, target.LegendFormat)
		}
	}
	return all
}
