package apperate

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

func used(t *testing.T, out *httptest.ResponseRecorder, core, premium int) {
	t.Helper()
	for name, want := range map[string]int{"messages": core, "credits": core,
		"premium-messages": premium, "premium-credits": premium} {
		require.Equal(t, []string{strconv.Itoa(want)}, out.Header().Values("iexcloud-"+name+"-used"))
	}
}

const quote = "/v1/stock/aapl/quote"

// spent returns what account/usage reports for a token.
func (w *fixture) spent(text string) int64 {
	w.t.Helper()
	g := &gateway{opts: Options{Clock: w.now}}
	use, err := g.creditUse(w.t.Context(), w.acme)
	require.NoError(w.t, err)
	if n, ok := use.TokenUsage[text]; ok {
		return n
	}
	return use.TokenUsage[w.ids[text]]
}

func TestCreditsRunOut(t *testing.T) {
	w := newFixture(t, nil)
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(3 * latchkey.Credit) })
	for range 3 {
		out := w.get(quote, w.pk)
		w.ok(out)
		used(t, out, 1, 0)
	}
	w.requireFault(OverLimit, w.get(quote, w.pk))
	w.requireFault(OverLimit, w.get(quote, w.pk))
	require.EqualValues(t, 3, w.spent(w.pk))
	w.ok(w.get(carsPath, w.pk)) // costs nothing
	w.ok(w.get(quote, w.sk))    // other tokens still pass

	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(4 * latchkey.Credit) }) // in effect at once
	w.ok(w.get(quote, w.pk))
	w.requireFault(OverLimit, w.get(quote, w.pk))

	w.micros.Store(time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC).UnixMicro())
	w.requireFault(OverLimit, w.get(quote, w.pk))
	w.advance(time.Second) // a new month, in UTC
	w.ok(w.get(quote, w.pk))
	require.EqualValues(t, 1, w.spent(w.pk))
}

// Near the limit, expensive requests are refused and cheap ones pass.
func TestAdmissionIsByCost(t *testing.T) {
	w := newFixture(t, &Options{Cost: func(c *Call) Cost {
		if c.Endpoint == "STOCK_INCOME" {
			return Cost{Core: 1000 * latchkey.Credit}
		}
		return DefaultCost(c)
	}})
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(1002 * latchkey.Credit) })
	w.ok(w.get(quote, w.pk))
	w.ok(w.get("/v1/stock/aapl/income", w.pk))
	w.requireFault(OverLimit, w.get("/v1/stock/aapl/income", w.pk))
	w.ok(w.get(quote, w.pk))
	w.requireFault(OverLimit, w.get(quote, w.pk))
}

func TestErrorsCostNothingAndLessIsGivenBack(t *testing.T) {
	w := newFixture(t, &Options{Cost: func(*Call) Cost { return Cost{Core: 5 * latchkey.Credit} }})
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(5 * latchkey.Credit) })
	w.answer = func(rw http.ResponseWriter, r *http.Request, _ *Call) { WriteError(rw, r, ErrUnknownSymbol) }
	for range 3 {
		w.requireFault(UnknownSymbol, w.get(quote, w.pk))
	}
	w.answer = func(http.ResponseWriter, *http.Request, *Call) { panic("a handler's bug") }
	for range 3 {
		require.Panics(t, func() { w.get(quote, w.pk) })
	}
	w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) {
		c.SetCost(Cost{Core: latchkey.Credit/2 + 1, Premium: 7 * latchkey.Credit})
		WriteJSON(rw, 1)
		c.SetCost(Cost{}) // too late
	}
	out := w.get(quote, w.pk)
	w.ok(out)
	used(t, out, 1, 7) // rounded up
	rows, err := w.acme.Usage(t.Context(), latchkey.UsageQuery{By: []string{"meter"}})
	require.NoError(t, err)
	counted := map[string][2]int64{}
	for _, r := range rows {
		counted[r.Meter] = [2]int64{r.Count, int64(r.Credits)}
	}
	require.Equal(t, map[string][2]int64{MeterCore: {1, int64(latchkey.Credit/2 + 1)},
		MeterPremium: {1, 7 * int64(latchkey.Credit)}}, counted, "errors are no use")
	w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) {
		c.SetCost(Cost{Core: -latchkey.Credit, Premium: -1})
		rw.WriteHeader(http.StatusOK)
	}
	w.requireFault(OverLimit, w.get(quote, w.pk)) // 4.5 are left, and 5 may be needed
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(6 * latchkey.Credit) })
	out = w.get(quote, w.pk)
	require.Equal(t, 200, out.Code)
	used(t, out, 0, 0)

	// A handler need not set a cost. One that sets a higher cost than was reserved is charged for it.
	w.answer = func(http.ResponseWriter, *http.Request, *Call) {}
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(20 * latchkey.Credit) })
	used(t, w.get(quote, w.pk), 5, 0)
	w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) {
		c.SetCost(Cost{Core: 9 * latchkey.Credit})
		require.NoError(t, http.NewResponseController(rw).Flush())
	}
	out = w.get(quote, w.pk)
	used(t, out, 9, 0)
	require.True(t, out.Flushed)
	require.EqualValues(t, 15, w.spent(w.pk)) // 14.500001
	w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) { WriteJSON(rw, 1) }
	w.ok(w.get(quote, w.pk))
	w.requireFault(OverLimit, w.get(quote, w.pk))
}

func TestWhatWasServedBeyondTheLimitIsTheLast(t *testing.T) {
	w := newFixture(t, nil)
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(10 * latchkey.Credit) })
	w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) {
		c.SetCost(Cost{Core: 6 * latchkey.Credit})
		WriteJSON(rw, 1)
	}
	w.ok(w.get(quote, w.pk))
	w.ok(w.get(quote, w.pk)) // that it costs 6 was not known
	w.requireFault(OverLimit, w.get(quote, w.pk))
}

// What is settled once is not charged again. Credits that could not be settled are told to the host, and the reply
// stays.
func TestWhatIsToldOfCredits(t *testing.T) {
	var log bytes.Buffer
	w := newFixture(t, &Options{Cost: func(*Call) Cost { return Cost{Core: 5 * latchkey.Credit} },
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(100 * latchkey.Credit) })
	for _, cost := range []latchkey.Credits{0, 1, 5 * latchkey.Credit, 6 * latchkey.Credit} {
		w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) {
			c.SetCost(Cost{Core: cost})
			WriteJSON(rw, 1)
		}
		w.ok(w.get(quote, w.pk))
		require.Empty(t, log.String(), cost)
	}
	w.store.downSettle = latchkey.ErrUnavailable
	w.ok(w.get(quote, w.pk))
	require.Contains(t, log.String(), "credits could not be settled")
}

// A reply has one status, whatever writes it.
func TestRepliesHaveOneStatus(t *testing.T) {
	w := newFixture(t, nil)
	for name, answer := range map[string]func(http.ResponseWriter){
		"nothing": func(http.ResponseWriter) {},
		"bodies":  func(rw http.ResponseWriter) { _, _ = rw.Write([]byte("a")); _, _ = rw.Write([]byte("b")) },
		"a status and a body": func(rw http.ResponseWriter) {
			rw.WriteHeader(http.StatusAccepted)
			_, _ = rw.Write([]byte("a"))
		},
		"flushes": func(rw http.ResponseWriter) {
			require.NoError(t, http.NewResponseController(rw).Flush())
			require.NoError(t, http.NewResponseController(rw).Flush())
		},
	} {
		w.answer = func(rw http.ResponseWriter, _ *http.Request, _ *Call) { answer(rw) }
		out := &counted{ResponseRecorder: httptest.NewRecorder()}
		w.serve.ServeHTTP(out, request("GET", withToken(quote, w.pk), ""))
		require.Equal(t, 1, out.times, name)
	}
}

// counted counts how often a status was written.
type counted struct {
	*httptest.ResponseRecorder
	times int
}

func (c *counted) WriteHeader(status int) { c.times++; c.ResponseRecorder.WriteHeader(status) }

// What is charged without a reservation and does not fit is told to the host. It breaks no reply.
func TestWhatWasServedWithoutAReservation(t *testing.T) {
	var log bytes.Buffer
	w := newFixture(t, &Options{Cost: func(*Call) Cost { return Cost{} },
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(2 * latchkey.Credit) })
	w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) {
		c.SetCost(Cost{Core: 6 * latchkey.Credit})
		WriteJSON(rw, 1)
	}
	w.ok(w.get(quote, w.pk))
	require.Contains(t, log.String(), "credits could not be charged")
	w.answer = func(rw http.ResponseWriter, _ *http.Request, c *Call) {
		c.SetCost(Cost{Core: 2 * latchkey.Credit})
		WriteJSON(rw, 1)
	}
	log.Reset()
	w.ok(w.get(quote, w.pk))
	require.Empty(t, log.String(), "nothing of the quota was spent before")
	w.ok(w.get(quote, w.pk))
	require.Contains(t, log.String(), "credits could not be charged", "and now all of it is")
}

// A route without an Endpoint is counted as OTHER.
func TestEndpointsThatHaveNoName(t *testing.T) {
	require.Equal(t, "OTHER", (&Call{}).endpoint())
	require.Equal(t, "QUOTE", (&Call{Route: Route{Endpoint: "QUOTE"}}).endpoint())
}

// A refusal that a handler writes by itself, outside the gateway, has the headers of every reply.
func TestHeadersOfAWrittenError(t *testing.T) {
	inside := newFixture(t, nil).get(quote, "")
	out := httptest.NewRecorder()
	WriteError(out, httptest.NewRequest("GET", "/", nil), httpadapter.ErrNoCredential)
	require.Equal(t, inside.Header(), out.Header())
	for _, err := range []error{nil, httpadapter.ErrNoCredential, latchkey.ErrUnavailable, latchkey.ErrRateLimited} {
		out := httptest.NewRecorder()
		require.NotPanics(t, func() { WriteError(out, nil, err) }, "%v", err) // outside a request
		require.GreaterOrEqual(t, out.Code, 400)
		require.NotContains(t, out.Header().Values("Retry-After"), "", "%v", err)
	}
}

// A client that disconnects has been served: what it received is charged, and the rest is released.
func TestCallersWhoGoAway(t *testing.T) {
	w := newFixture(t, nil)
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(2 * latchkey.Credit) })
	gone := func(answer func(http.ResponseWriter)) {
		ctx, cancel := context.WithCancel(t.Context())
		w.answer = func(rw http.ResponseWriter, _ *http.Request, _ *Call) {
			answer(rw)
			cancel()
			panic(http.ErrAbortHandler)
		}
		r := request("GET", withToken(quote, w.pk), "").WithContext(ctx)
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { w.serve.ServeHTTP(httptest.NewRecorder(), r) })
	}
	for range 5 {
		gone(func(http.ResponseWriter) {})
	}
	gone(func(rw http.ResponseWriter) { WriteJSON(rw, 1) })
	require.EqualValues(t, 1, w.spent(w.pk))
	gone(func(rw http.ResponseWriter) { WriteJSON(rw, 1) })
	w.requireFault(OverLimit, w.get(quote, w.pk))
}

// With 64 concurrent requests, exactly as many pass as the limit allows.
func TestCreditsAreExactUnderConcurrency(t *testing.T) {
	w := newFixture(t, &Options{Cost: func(*Call) Cost { return Cost{Core: 2 * latchkey.Credit} }})
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(100*latchkey.Credit + 1) })
	var mu sync.Mutex
	codes := map[int]int{}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 3 {
				out := httptest.NewRecorder()
				w.serve.ServeHTTP(out, request("GET", withToken(quote, w.pk), ""))
				mu.Lock()
				codes[out.Code]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{200: 50, 402: 142}, codes)
	require.EqualValues(t, 50, w.served.Load())
	require.EqualValues(t, 100, w.spent(w.pk))
	w.requireFault(OverLimit, w.get(quote, w.pk))
}

func TestCreditsThatCannotBeReservedAreNotFree(t *testing.T) {
	w := newFixture(t, nil)
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(100 * latchkey.Credit) })
	w.store.downReserve = latchkey.ErrUnavailable
	w.requireFault(Unavailable, w.get(quote, w.pk))
	require.Zero(t, w.served.Load())
	w.store.downReserve = nil
	w.ok(w.get(quote, w.pk))
}

// A cost that the store does not take after the reply is told to the host. The reply is sent by then.
func TestCreditsThatCannotBeSettledAreLogged(t *testing.T) {
	var log bytes.Buffer
	w := newFixture(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w.update(w.pk, func(t *latchkey.Token) { t.Limits.Quotas = budget(100 * latchkey.Credit) })
	w.ok(w.get(quote, w.pk))
	require.Empty(t, log.String())
	w.store.downSettle = latchkey.ErrUnavailable
	w.ok(w.get(quote, w.pk))
	require.Contains(t, log.String(), "credits could not be settled")
	require.NotContains(t, log.String(), w.pk)
}

// statuses counts the statuses that are written. net/http logs each after the first.
type statuses struct {
	http.ResponseWriter
	written int
}

func (s *statuses) WriteHeader(status int) { s.written++; s.ResponseWriter.WriteHeader(status) }

func (s *statuses) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// A reply has one status, however a handler writes it.
func TestAReplyHasOneStatus(t *testing.T) {
	w := newFixture(t, nil)
	write := func(rw http.ResponseWriter) {
		_, err := rw.Write([]byte("a"))
		require.NoError(t, err)
	}
	flush := func(rw http.ResponseWriter) { require.NoError(t, http.NewResponseController(rw).Flush()) }
	accept := func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusAccepted) }
	for name, c := range map[string]struct {
		status int
		steps  []func(http.ResponseWriter)
	}{
		"nothing":              {200, nil},
		"parts":                {200, []func(http.ResponseWriter){write, write}},
		"flushed parts":        {200, []func(http.ResponseWriter){write, flush, write, flush}},
		"flushed before it":    {200, []func(http.ResponseWriter){flush, write}},
		"its own status":       {202, []func(http.ResponseWriter){accept}},
		"its own, and a part":  {202, []func(http.ResponseWriter){accept, write}},
		"its own, and flushed": {202, []func(http.ResponseWriter){accept, flush}},
	} {
		w.answer = func(rw http.ResponseWriter, _ *http.Request, _ *Call) {
			for _, step := range c.steps {
				step(rw)
			}
		}
		out := httptest.NewRecorder()
		counted := &statuses{ResponseWriter: out}
		w.serve.ServeHTTP(counted, request("GET", withToken(quote, w.pk), ""))
		require.Equal(t, 1, counted.written, name)
		require.Equal(t, c.status, out.Code, name)
		used(t, out, 1, 0)
	}
}
