package latchkeyotel_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/latchkey-go/latchkey"
	latchkeyotel "github.com/latchkey-go/latchkey/integrations/otel"
)

// text writes attributes in the order of their keys: "a=1 b=2".
func text(set attribute.Set) string { return texts(set.ToSlice()) }

func texts(all []attribute.KeyValue) string {
	var parts []string
	for _, a := range all {
		parts = append(parts, string(a.Key)+"="+a.Value.String())
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func TestVerifications(t *testing.T) {
	w := newWorld(t, nil, nil)
	token, secret := w.issue("acme")
	for range 3 {
		_, err := w.verify(secret)
		require.NoError(t, err)
	}
	_, err := w.verify("junk")
	require.ErrorIs(t, err, latchkey.ErrUnknownToken)
	require.NoError(t, w.acme.Revoke(t.Context(), token.ID, ""))
	_, err = w.verify(secret)
	require.ErrorIs(t, err, latchkey.ErrRevoked)
	w.store.Down(true)
	_, err = w.verify(secret)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	w.store.Down(false)

	w.has(1, "latchkey.verifications", "latchkey.outcome=ok latchkey.source=store")
	w.has(2, "latchkey.verifications", "latchkey.outcome=ok latchkey.source=cache")
	w.has(1, "latchkey.verifications", "latchkey.outcome=unknown latchkey.source=none")
	w.has(1, "latchkey.verifications", "latchkey.outcome=revoked latchkey.source=store")
	w.has(1, "latchkey.refusals", "latchkey.reason=revoked")
	w.has(0, "latchkey.refusals", "latchkey.reason=expired")
	unavailable := 0.0
	for of, n := range points(t, w.collect()["latchkey.verifications"]) {
		if strings.Contains(of, "latchkey.outcome=unavailable") {
			unavailable += n
		}
	}
	require.InDelta(t, 1, unavailable, 0)
}

// What the store answers is an outcome. Only its failures have error.type.
func TestStoreCalls(t *testing.T) {
	w := newWorld(t, nil, nil)
	token, _ := w.issue("acme")
	_, err := w.acme.Get(t.Context(), token.ID)
	require.NoError(t, err)
	for range 2 {
		_, err = w.acme.Get(t.Context(), uuid.NewString())
		require.ErrorIs(t, err, latchkey.ErrNotFound)
	}
	w.store.Down(true)
	_, err = w.acme.Get(t.Context(), token.ID)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	const name = "latchkey.store.operation.duration"
	w.has(1, name, "latchkey.outcome=ok latchkey.store.operation=Write")
	w.has(1, name, "latchkey.outcome=ok latchkey.store.operation=Load")
	w.has(2, name, "latchkey.outcome=not_found latchkey.store.operation=Load")
	w.has(1, name, "error.type=unavailable latchkey.outcome=unavailable latchkey.store.operation=Load")
}

// driven is a world in which everything happened that is exported.
func driven(t *testing.T, changeOtel func(*latchkeyotel.Options)) *world {
	t.Helper()
	ctx := t.Context()
	w := newWorld(t, func(o *latchkey.Options) {
		o.MaxStale = time.Minute
		o.CreditLease = latchkey.Hundredth
	}, changeOtel)
	root, span := w.tracer.Start(ctx, "request")
	defer span.End()
	token, secret, err := w.acme.Issue(root, latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "canary-name",
		Client: latchkey.Client{ID: "canary-client", Name: "canary-client-name"},
		Limits: latchkey.Limits{Quotas: []latchkey.Quota{{Amount: 1000 * latchkey.Credit, Per: latchkey.Forever}},
			Rate: latchkey.PerSecond(1000)},
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Any).On("canary-resource/*")}})
	require.NoError(t, err)
	canaries := []string{token.ID, secret.Reveal(), "canary"}
	verify := func() (latchkey.Access, error) {
		return w.keys.Verify(root, latchkey.Presented{Secret: secret.Reveal()})
	}
	access, err := verify()
	require.NoError(t, err)
	_, err = verify()
	require.NoError(t, err)
	child, text, err := access.Mint(root, latchkey.Narrowing{Lifetime: time.Minute,
		Client: latchkey.Client{ID: "canary-client"}})
	require.NoError(t, err)
	canaries = append(canaries, child.ID, text.Reveal())
	_, err = access.Spend(root, "canary-meter", "canary-endpoint", latchkey.Credit)
	require.NoError(t, err)
	access.Count("canary-meter", "canary-endpoint", 1)

	// The texts of errors have names and ids.
	_, err = w.keys.Verify(root, latchkey.Presented{Secret: "canary-junk"})
	require.ErrorIs(t, err, latchkey.ErrUnknownToken)
	_, err = w.acme.Get(root, "canary-unknown")
	require.Error(t, err)
	err = access.Check(latchkey.Delete, "canary-other/1")
	require.ErrorIs(t, err, latchkey.ErrDenied)
	access.Refused(root, err)

	w.store.lose.Store(true)
	_, err = w.acme.Usage(root, latchkey.UsageQuery{})
	if err != nil {
		require.ErrorIs(t, err, latchkey.ErrInvalid)
	}
	w.store.lose.Store(false)
	access.Count("canary-meter", "canary-endpoint", 1)
	w.store.Down(true)
	_, err = w.acme.Get(root, token.ID)
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	_, _, err = access.Mint(root, latchkey.Narrowing{Lifetime: time.Minute})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	w.clock.Advance(2 * time.Minute)
	_, err = verify()
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	w.store.Down(false)
	require.NoError(t, w.acme.Revoke(root, token.ID, "canary-reason"))
	_, err = verify()
	require.ErrorIs(t, err, latchkey.ErrRevoked)
	w.canaries = canaries
	return w
}

// No text, id, name, address or reason of anything is exported, neither as a label nor anywhere else.
func TestNothingSecretIsExported(t *testing.T) {
	w := driven(t, nil)
	var all strings.Builder
	for name, m := range w.collect() {
		fmt.Fprintf(&all, "%s %s %s %+v\n", name, m.Description, m.Unit, m.Data)
		for of := range points(t, m) {
			fmt.Fprintln(&all, name, of)
		}
	}
	spans := w.spans.Ended()
	require.NotEmpty(t, spans)
	for _, s := range spans {
		fmt.Fprintf(&all, "%s %+v %s %+v %+v\n", s.Name(), s.Status(), texts(s.Attributes()), s.Events(), s.Links())
	}
	exported := all.String()
	require.Contains(t, exported, "latchkey.reason=denied") // the search finds what is there
	require.Contains(t, exported, "latchkey.token.kind=api_key")
	for _, c := range append(w.canaries, "acme") {
		require.NotContains(t, exported, c)
		require.NotContains(t, strings.ToLower(exported), strings.ToLower(c))
	}
}

// The table of README.md is what the code exports, with units, types and attributes.
func TestTheTableOfMetrics(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	documented := map[string]string{}
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 7 || !strings.HasPrefix(cells[1], " `latchkey.") {
			continue
		}
		name := strings.Trim(cells[1], " `")
		require.NotContains(t, documented, name)
		attributes := strings.Fields(strings.NewReplacer("`", "", ",", "").Replace(cells[4]))
		slices.Sort(attributes)
		documented[name] = strings.Join([]string{strings.TrimSpace(cells[2]), strings.Trim(cells[3], " `"),
			strings.Join(attributes, " ")}, "; ")
	}
	exported := map[string]string{}
	w := driven(t, func(o *latchkeyotel.Options) {
		o.Manager = "main"
		o.Owner = func(owner string) string { return owner }
	})
	for name, m := range w.collect() {
		kind := map[bool]string{true: "counter", false: "level"}
		var of string
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			of = kind[data.IsMonotonic]
		case metricdata.Sum[float64]:
			of = kind[data.IsMonotonic]
		case metricdata.Gauge[int64], metricdata.Gauge[float64]:
			of = "gauge"
		case metricdata.Histogram[float64]:
			of = "histogram"
		}
		keys := map[string]bool{}
		for attributes := range points(t, m) {
			for _, a := range strings.Fields(attributes) {
				key, _, _ := strings.Cut(a, "=")
				keys[key] = true
			}
		}
		require.True(t, keys["latchkey.manager"], name)
		delete(keys, "latchkey.manager") // of each
		exported[name] = strings.Join([]string{of, m.Unit, strings.Join(slices.Sorted(maps.Keys(keys)), " ")}, "; ")
	}
	require.Equal(t, exported, documented)
}

func TestStoreCallsAreSpansOfTheCaller(t *testing.T) {
	w := newWorld(t, nil, func(o *latchkeyotel.Options) { o.Manager = "main" })
	_, secret := w.issue("acme")
	require.Empty(t, w.spans.Ended()) // nobody's trace
	w.store.delay.Store(int64(20 * time.Millisecond))

	ctx, request := w.tracer.Start(t.Context(), "request")
	began := time.Now()
	access, err := w.keys.Verify(ctx, latchkey.Presented{Secret: secret})
	require.NoError(t, err)
	took := time.Since(began)
	byName := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range w.spans.Ended() {
		require.NotContains(t, byName, s.Name())
		byName[s.Name()] = s
		require.Equal(t, request.SpanContext().SpanID(), s.Parent().SpanID(), s.Name())
		require.Equal(t, latchkeyotel.Scope, s.InstrumentationScope().Name)
		require.Equal(t, codes.Unset, s.Status().Code)
		require.False(t, s.StartTime().Before(began), "%s began before the call", s.Name())
		require.LessOrEqual(t, s.EndTime().Sub(s.StartTime()), took, s.Name())
	}
	verify, call := byName["latchkey.verify"], byName["latchkey.store.ByDigest"]
	require.NotNil(t, verify)
	require.NotNil(t, call)
	require.Equal(t, "latchkey.manager=main latchkey.outcome=ok latchkey.source=store latchkey.token.kind=api_key",
		texts(verify.Attributes()))
	require.Equal(t, "latchkey.manager=main latchkey.outcome=ok latchkey.store.operation=ByDigest",
		texts(call.Attributes()))
	require.GreaterOrEqual(t, call.EndTime().Sub(call.StartTime()), 20*time.Millisecond) // real time, not that of Clock
	require.False(t, call.StartTime().Before(verify.StartTime()))
	require.False(t, call.EndTime().After(verify.EndTime()))

	// Out of the cache there is no span of a Verify.
	w.spans.Reset()
	_, err = w.keys.Verify(ctx, latchkey.Presented{Secret: secret})
	require.NoError(t, err)
	for _, s := range w.spans.Ended() {
		require.NotEqual(t, "latchkey.verify", s.Name())
	}

	w.spans.Reset()
	w.store.delay.Store(0)
	w.store.Down(true)
	_, _, err = access.Mint(ctx, latchkey.Narrowing{Lifetime: time.Minute})
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	names := map[string]bool{}
	for _, s := range w.spans.Ended() {
		names[s.Name()] = true
		require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "unavailable"}, s.Status(), s.Name())
		require.Contains(t, texts(s.Attributes()), "error.type=unavailable", s.Name())
	}
	require.True(t, names["latchkey.mint"])
	require.Greater(t, len(names), 1, names)
}

// Times are those that latchkey reports, to the nanosecond.
func TestTimes(t *testing.T) {
	w := newWorld(t, nil, nil)
	ctx, request := w.tracer.Start(t.Context(), "request")
	defer request.End()
	start, o := time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), w.tele.Observer()
	o.StoreCall(ctx, latchkey.StoreCall{Op: "Epoch", Class: "ok", Start: start, Duration: 30 * time.Millisecond})
	o.Verified(ctx, latchkey.Verification{Outcome: "ok", Source: latchkey.SourceStore, Start: start,
		Duration: time.Second})
	o.Minted(ctx, latchkey.Minting{Outcome: "ok", Tries: 3, Start: start, Duration: time.Minute})
	ended := w.spans.Ended()
	require.Len(t, ended, 3)
	for i, took := range []time.Duration{30 * time.Millisecond, time.Second, time.Minute} {
		require.True(t, start.Equal(ended[i].StartTime()), ended[i].Name())
		require.Equal(t, took, ended[i].EndTime().Sub(ended[i].StartTime()), ended[i].Name())
	}
	require.Equal(t, "latchkey.mint.tries=3 latchkey.outcome=ok", texts(ended[2].Attributes()))
	histogram, ok := w.collect()["latchkey.store.operation.duration"].Data.(metricdata.Histogram[float64])
	require.True(t, ok)
	require.Len(t, histogram.DataPoints, 1)
	require.InDelta(t, .03, histogram.DataPoints[0].Sum, 1e-9)
	require.Less(t, histogram.DataPoints[0].Bounds[0], .001)
	require.Greater(t, histogram.DataPoints[0].Bounds[len(histogram.DataPoints[0].Bounds)-1], 5.)
}

// The number of labels of owners is bounded, whatever the function returns.
func TestOwners(t *testing.T) {
	w := newWorld(t, nil, func(o *latchkeyotel.Options) {
		o.Owner = func(owner string) string { return strings.TrimPrefix(owner, "none") }
		o.Owners = 2
	})
	for _, owner := range []string{"a", "b", "c", "d", "none", "a"} {
		_, secret := w.issue(owner)
		for range 2 {
			_, err := w.verify(secret)
			require.NoError(t, err)
		}
	}
	cached := "latchkey.outcome=ok %slatchkey.source=cache"
	w.has(2, "latchkey.verifications", fmt.Sprintf(cached, "latchkey.owner=a "))
	w.has(1, "latchkey.verifications", fmt.Sprintf(cached, "latchkey.owner=b "))
	w.has(2, "latchkey.verifications", fmt.Sprintf(cached, "latchkey.owner=_OTHER "))
	w.has(1, "latchkey.verifications", fmt.Sprintf(cached, ""))
	owners := map[string]bool{}
	for of := range points(t, w.collect()["latchkey.verifications"]) {
		if _, after, ok := strings.Cut(of, "latchkey.owner="); ok {
			owner, _, _ := strings.Cut(after, " ")
			owners[owner] = true
		}
	}
	require.Equal(t, map[string]bool{"a": true, "b": true, "_OTHER": true}, owners)
}

func TestOwnersAreBoundedWhenManyCome(t *testing.T) {
	w := newWorld(t, nil, func(o *latchkeyotel.Options) {
		o.Owner = func(owner string) string { return owner }
		o.Owners = 5
	})
	verified := w.tele.Observer().Verified
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				verified(t.Context(), latchkey.Verification{Outcome: "ok", Source: latchkey.SourceCache,
					Owner: fmt.Sprintf("o%d", (i*7+g)%100)})
			}
		})
	}
	wg.Wait()
	sum, owners := 0.0, 0
	for of, n := range points(t, w.collect()["latchkey.verifications"]) {
		sum += n
		if strings.Contains(of, "latchkey.owner=") {
			owners++
		}
	}
	require.InDelta(t, 8000, sum, 0)
	require.Equal(t, 6, owners)
}

func TestWhatIsNotListedIsOther(t *testing.T) {
	w := newWorld(t, nil, nil)
	o := w.tele.Observer()
	ctx := t.Context()
	o.Verified(ctx, latchkey.Verification{Outcome: "ak_canary", Source: "ak_canary"})
	o.Refused(ctx, latchkey.Refusal{Reason: "ak_canary"})
	o.StoreCall(ctx, latchkey.StoreCall{Op: "ak_canary", Class: "ak_canary"})
	o.Minted(ctx, latchkey.Minting{Outcome: "ak_canary"})
	o.Changed(ctx, latchkey.Event{Action: "ak_canary"})
	o.Leased(ctx, latchkey.Leasing{What: "ak_canary"})
	o.Failed(ctx, latchkey.Failure{Part: "ak_canary", Lost: 3})
	w.has(1, "latchkey.verifications", "latchkey.outcome=_OTHER latchkey.source=_OTHER")
	w.has(1, "latchkey.refusals", "latchkey.reason=_OTHER")
	w.has(1, "latchkey.store.operation.duration",
		"error.type=_OTHER latchkey.outcome=_OTHER latchkey.store.operation=_OTHER")
	w.has(1, "latchkey.mints", "latchkey.outcome=_OTHER")
	w.has(1, "latchkey.changes", "latchkey.action=_OTHER")
	w.has(1, "latchkey.lease.events", "latchkey.lease.event=_OTHER")
	w.has(3, "latchkey.background.lost", "latchkey.part=_OTHER")
}

// Each member of latchkey.Observer is set, so that what a later version reports is not forgotten here. Those of others
// are called too, in their order.
func TestObserverCallsOthers(t *testing.T) {
	tele, err := latchkeyotel.New(nil)
	require.NoError(t, err)
	var heard []string
	make := func(name string) latchkey.Observer {
		var o latchkey.Observer
		for i := range reflect.TypeFor[latchkey.Observer]().NumField() {
			f := reflect.ValueOf(&o).Elem().Field(i)
			f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value {
				heard = append(heard, name)
				return nil
			}))
		}
		return o
	}
	for _, others := range [][]latchkey.Observer{nil, {{}}, {make("a"), {}, make("b")}} {
		o := reflect.ValueOf(tele.Observer(others...))
		for i := range o.NumField() {
			name := o.Type().Field(i).Name
			require.False(t, o.Field(i).IsNil(), name)
			heard = nil
			o.Field(i).Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.Zero(o.Field(i).Type().In(1))})
			if len(others) == 3 {
				require.Equal(t, []string{"a", "b"}, heard, name)
			} else {
				require.Empty(t, heard, name)
			}
		}
	}
}

// The global providers of this test process, which can be set once.
var (
	globalReader = metric.NewManualReader()
	globalSpans  = tracetest.NewSpanRecorder()
	setGlobal    = sync.OnceFunc(func() {
		otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(globalReader)))
		otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(globalSpans)))
	})
)

// Nil providers are the global ones, also those that the program sets later.
func TestGlobalProviders(t *testing.T) {
	w := newWorld(t, nil, func(o *latchkeyotel.Options) { o.MeterProvider, o.TracerProvider = nil, nil })
	setGlobal()
	globalSpans.Reset()
	w.reader = globalReader
	_, secret := w.issue("acme")
	ctx, span := w.tracer.Start(t.Context(), "request")
	defer span.End()
	_, err := w.keys.Verify(ctx, latchkey.Presented{Secret: secret})
	require.NoError(t, err)
	w.has(1, "latchkey.verifications", "latchkey.outcome=ok latchkey.source=store")
	w.has(1, "latchkey.cache.records", "")
	calls, _ := w.value("latchkey.store.operation.duration", "latchkey.outcome=ok latchkey.store.operation=ByDigest")
	require.Positive(t, calls)
	require.NotEmpty(t, globalSpans.Ended())
}

func TestOptionsAreChecked(t *testing.T) {
	for _, n := range []int{-1, 1001} {
		_, err := latchkeyotel.New(&latchkeyotel.Options{Owners: n})
		require.ErrorContains(t, err, fmt.Sprintf("Options.Owners is %d", n))
	}
	_, err := latchkeyotel.New(&latchkeyotel.Options{Owners: 1000})
	require.NoError(t, err)
}

func TestWatchAndClose(t *testing.T) {
	w := newWorld(t, nil, nil)
	_, secret := w.issue("acme")
	_, err := w.verify(secret)
	require.NoError(t, err)
	require.ErrorContains(t, w.tele.Watch(w.keys), "watches one Manager")
	require.Contains(t, w.collect(), "latchkey.cache.records")
	require.Contains(t, w.collect(), "latchkey.verifications")
	require.Contains(t, w.collect(), "latchkey.feed.age")
	require.NotContains(t, w.collect(), "latchkey.feed.staleness") // MaxStale is 0
	require.ErrorContains(t, w.tele.Watch(nil), "nil Manager")
	require.NoError(t, w.tele.Close())
	require.NoError(t, w.tele.Close())
	require.NotContains(t, w.collect(), "latchkey.cache.records")
	require.NotContains(t, w.collect(), "latchkey.verifications")
	require.ErrorContains(t, w.tele.Watch(w.keys), "after Close")
	_, err = w.verify(secret) // goes on
	require.NoError(t, err)
}

// A Verify out of the cache allocates nothing, with an owner's label as without.
func TestAllocations(t *testing.T) {
	for name, change := range map[string]func(*latchkeyotel.Options){
		"plain": nil,
		"owner": func(o *latchkeyotel.Options) { o.Owner = func(owner string) string { return owner } },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *latchkey.Options) { o.MaxStale = time.Hour }, change)
			_, secret := w.issue("acme")
			p := latchkey.Presented{Secret: secret}
			ctx, span := w.tracer.Start(context.Background(), "request")
			defer span.End()
			verify := func() {
				if _, err := w.keys.Verify(ctx, p); err != nil {
					panic(err)
				}
			}
			verify()
			require.Zero(t, testing.AllocsPerRun(1000, verify))
			of := "latchkey.outcome=ok latchkey.source=cache"
			if change != nil {
				of = "latchkey.outcome=ok latchkey.owner=acme latchkey.source=cache"
			}
			w.has(1001, "latchkey.verifications", of) // AllocsPerRun runs it once before
			for name, report := range map[string]func(latchkey.Observer){
				"junk": func(o latchkey.Observer) {
					o.Verified(ctx, latchkey.Verification{Outcome: "unknown", Source: latchkey.SourceNone})
				},
				"refusal": func(o latchkey.Observer) { o.Refused(ctx, latchkey.Refusal{Reason: "denied", Owner: "acme"}) },
				"store": func(o latchkey.Observer) {
					o.StoreCall(context.Background(), latchkey.StoreCall{Op: "Epoch", Class: "ok", Duration: time.Millisecond})
				},
			} {
				o := w.tele.Observer()
				require.Zero(t, testing.AllocsPerRun(1000, func() { report(o) }), name)
			}
		})
	}
}

// The Manager's levels are exported.
func TestLevels(t *testing.T) {
	w := newWorld(t, func(o *latchkey.Options) {
		o.MaxStale = time.Minute
		o.CacheTokens = 2
	}, nil)
	var secrets []string
	for range 20 {
		_, secret := w.issue("acme")
		secrets = append(secrets, secret)
		_, err := w.verify(secret)
		require.NoError(t, err)
	}
	_, known := w.value("latchkey.feed.age", "latchkey.feed=0")
	require.False(t, known, "the feed was not read yet")
	// The feed is read in the background when half of MaxStale has passed.
	w.clock.Advance(40 * time.Second)
	_, err := w.verify(secrets[19])
	require.NoError(t, err)
	eventually(t, func() string {
		if age, ok := w.value("latchkey.feed.age", "latchkey.feed=0"); !ok || age != 0 {
			return "the feed is not read"
		}
		return ""
	})
	w.clock.Advance(30 * time.Second)
	s := w.keys.Stats()
	require.Len(t, s.Feeds, 1)
	require.NotZero(t, s.Cache.Evicted)
	w.has(float64(s.Cache.Records), "latchkey.cache.records", "")
	w.has(float64(s.Cache.Capacity), "latchkey.cache.capacity", "")
	w.has(20, "latchkey.cache.misses", "")
	w.has(float64(s.Cache.Loads), "latchkey.cache.loads", "")
	w.has(float64(s.Cache.Evicted), "latchkey.cache.evictions", "")
	w.has(60, "latchkey.feed.max_stale", "")
	w.has(30, "latchkey.feed.age", "latchkey.feed=0")
	w.has(.5, "latchkey.feed.staleness", "latchkey.feed=0")
	w.has(0, "latchkey.feed.failing", "latchkey.feed=0")
	w.has(float64(s.Feeds[0].Epoch), "latchkey.feed.epoch", "latchkey.feed=0")
	w.has(float64(s.Usage.Capacity), "latchkey.queue.capacity", "latchkey.queue=usage")
	w.has(float64(s.Rates.Capacity), "latchkey.limiter.capacity", "")
	w.has(0, "latchkey.background.failures", "latchkey.part=feed")

	w.store.Down(true)
	w.clock.Advance(time.Minute)
	_, err = w.verify(secrets[19])
	require.ErrorIs(t, err, latchkey.ErrUnavailable)
	failing, _ := w.value("latchkey.feed.failing", "latchkey.feed=0")
	require.Positive(t, failing)
	w.has(90, "latchkey.feed.age", "latchkey.feed=0")
	w.has(1.5, "latchkey.feed.staleness", "latchkey.feed=0")
	w.store.Down(false)
	_, err = w.verify(secrets[19])
	require.NoError(t, err)
	w.has(0, "latchkey.feed.failing", "latchkey.feed=0")
}

// Close unregisters while collections run.
func TestCloseWhileCollecting(t *testing.T) {
	w := newWorld(t, nil, nil)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		var all metricdata.ResourceMetrics
		for !stop.Load() {
			if err := w.reader.Collect(t.Context(), &all); err != nil {
				t.Error(err)
				return
			}
		}
	})
	_, secret := w.issue("acme")
	for range 100 {
		_, err := w.verify(secret)
		require.NoError(t, err)
	}
	require.NoError(t, w.tele.Close())
	stop.Store(true)
	wg.Wait()
}
