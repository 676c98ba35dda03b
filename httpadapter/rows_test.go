package httpadapter_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

// look asks for the rows, as a handler that applies them does.
func look(r *http.Request) { _, _ = httpadapter.RowsFrom(r.Context()) }

// A handler behind RequireRows that never looked at its rows shows nothing: its answer becomes a 500.
func TestRowsNeverLookedAt(t *testing.T) {
	w := newFixture(t)
	var log bytes.Buffer
	auth := httpadapter.New(w.keys, &httpadapter.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	key := w.key()
	_, admin := w.issue(w.acme, latchkey.KindSecret, latchkey.Settings{})
	const rows = "every row"
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int
		body    string // "": that of the 500, which shows nothing
	}{
		"looks, writes": {func(w http.ResponseWriter, r *http.Request) { look(r); _, _ = io.WriteString(w, rows) }, 200,
			rows},
		"looks, says 201": {func(w http.ResponseWriter, r *http.Request) {
			look(r)
			w.WriteHeader(201)
			_, _ = io.WriteString(w, rows)
		}, 201, rows},
		"looks, copies": {func(w http.ResponseWriter, r *http.Request) {
			look(r)
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader(rows)})
		}, 200, rows},
		"looks, writes nothing": {func(_ http.ResponseWriter, r *http.Request) { look(r) }, 200, ""},
		"looks in another goroutine": {func(w http.ResponseWriter, r *http.Request) {
			done := make(chan struct{})
			go func() { defer close(done); look(r) }()
			<-done
			_, _ = io.WriteString(w, rows)
		}, 200, rows},
		"needs none": {func(w http.ResponseWriter, r *http.Request) {
			httpadapter.RowsNotNeeded(r.Context())
			_, _ = io.WriteString(w, "public")
		}, 200, "public"},
		"needs none, redirects": {func(w http.ResponseWriter, r *http.Request) {
			httpadapter.RowsNotNeeded(r.Context())
			http.Redirect(w, r, "/elsewhere", http.StatusSeeOther)
		}, 303, "<a href=\"/elsewhere\">See Other</a>.\n\n"},
		"not found, before it looked": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no such table", 404) },
			404, "no such table\n"},
		"fails, before it looked": {func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "sorry",
				http.StatusServiceUnavailable)
		}, 503,
			"sorry\n"},
		"hints, then looks": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			look(r)
			_, _ = io.WriteString(w, rows)
		}, 200, rows},

		"writes":       {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, rows) }, 500, ""},
		"writes bytes": {func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(rows)) }, 500, ""},
		"says 200": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); _, _ = w.Write([]byte(rows)) },
			500, ""},
		"says 204": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, 500, ""},
		"says that nothing has changed": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "rows.csv", w0, strings.NewReader(rows))
		}, 500, ""},
		"redirects": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/row/7", http.StatusFound) }, 500,
			""},
		"copies": {func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(w, struct{ io.Reader }{strings.NewReader(rows)})
			require.Error(t, err)
		}, 500, ""},
		"flushes": {func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			_, err := w.Write([]byte(rows))
			require.ErrorContains(t, err, "without asking for the rows")
		}, 500, ""},
		"flushes by a controller": {func(w http.ResponseWriter, r *http.Request) {
			require.ErrorContains(t, http.NewResponseController(w).Flush(), "without asking for the rows")
		}, 500, ""},
		"hijacks": {func(w http.ResponseWriter, r *http.Request) {
			_, _, err := http.NewResponseController(w).Hijack()
			require.ErrorContains(t, err, "without asking for the rows")
		}, 500, ""},
		"looks too late": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(rows))
			look(r)
			_, _ = w.Write([]byte(rows))
			w.WriteHeader(404)
		}, 500, ""},
		"writes nothing": {func(http.ResponseWriter, *http.Request) {}, 500, ""},
		"hints, writes": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(103)
			_,
				_ = w.Write([]byte(rows))
		}, 500, ""},
		"switches protocols": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusSwitchingProtocols)
			_, _ = w.Write([]byte(rows))
		}, 500, ""},
		"looks elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			look(r.WithContext(ctx))
			_,
				_ = w.Write([]byte(rows))
		}, 500, ""},
		"asks the Access": {func(w http.ResponseWriter, r *http.Request) {
			access, _ := httpadapter.AccessFrom(r.Context())
			_, _ = access.Filter(latchkey.Read, "dataset/clients")
			_, _ = w.Write([]byte(rows))
		}, 500, ""},
	} {
		mux := http.NewServeMux()
		mux.Handle("GET /clients/{id}", auth.RequireRows(latchkey.Read, "dataset/clients")(c.handler))
		server := httptest.NewServer(mux)
		for _, token := range []string{key, admin} {
			log.Reset()
			r, err := http.NewRequest("GET", server.URL+"/clients/7?secret", nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("If-Modified-Since", w0.Format(http.TimeFormat))
			out, err := http.DefaultTransport.RoundTrip(r)
			require.NoError(t, err, name)
			body, err := io.ReadAll(out.Body)
			require.NoError(t, err, name)
			require.NoError(t, out.Body.Close())
			require.Equal(t, c.status, out.StatusCode, "%s: %s", name, body)
			if c.status != 500 {
				require.Equal(t, c.body, string(body), name)
				require.Empty(t, log.String(), name)
				continue
			}
			require.JSONEq(t, `{"type":"tag:latchkey-go.github.io,2026:problem/internal","title":"Internal error","status":500}`,
				string(body), name)
			require.Empty(t, out.Header.Get("Last-Modified")+out.Header.Get("Location"), name)
			require.Equal(t, 1, strings.Count(log.String(), "\n"), "%s: %s", name, &log)
			for _, said := range []string{`GET /clients/{id}`, `RequireRows(\"read\", \"dataset/clients\")`, "RowsNotNeeded"} {
				require.Contains(t, log.String(), said, name)
			}
			require.NotContains(t, log.String(), "secret")
		}
		server.Close()
	}
}

var w0 = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// The inner rows are those that the handler gets, so to look at them is enough. To look at the outer ones is not.
func TestRowsNested(t *testing.T) {
	w := newFixture(t)
	auth := httpadapter.New(w.keys, nil)
	key := w.key()
	outer, inner := auth.RequireRows(latchkey.Read, "dataset/orders"), auth.RequireRows(latchkey.Read, "dataset/clients")
	require1 := auth.Require(latchkey.Read, "dataset/orders")
	again := func(next http.Handler) http.Handler { // a host that sets an Access of its own within
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			access, _ := httpadapter.AccessFrom(r.Context())
			next.ServeHTTP(rw, r.WithContext(httpadapter.WithAccess(r.Context(), access)))
		})
	}
	looks := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { look(r); next.ServeHTTP(rw, r) })
	}
	needsNone := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		httpadapter.RowsNotNeeded(r.Context())
		_, _ = io.WriteString(rw, "public")
	})
	blind := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, "every row") })
	for name, c := range map[string]struct {
		h      http.Handler
		status int
		body   string
	}{
		"both, looks":                    {outer(inner(whoami)), 200, "acme, some rows"},
		"both, needs none":               {outer(inner(needsNone)), 200, "public"},
		"both, blind":                    {outer(inner(blind)), 500, ""},
		"outer looked at only":           {outer(looks(inner(blind))), 500, ""},
		"Require within, looks":          {outer(require1(whoami)), 200, "acme, all rows"},
		"Require within, blind":          {outer(require1(blind)), 500, ""},
		"Require around, looks":          {require1(outer(whoami)), 200, "acme, all rows"},
		"Require around, blind":          {require1(outer(blind)), 500, ""},
		"both, an Access between, looks": {outer(again(inner(whoami))), 200, "acme, some rows"},
		"both, an Access between, blind": {outer(again(inner(blind))), 500, ""},
		"no RequireRows":                 {require1(blind), 200, "every row"},
		"no RequireRows, needs none":     {require1(needsNone), 200, "public"},
		"a caller that is refused":       {auth.RequireRows(latchkey.Read, "dataset/payroll")(blind), 403, ""},
	} {
		out := get(c.h, "/", key)
		require.Equal(t, c.status, out.Code, name)
		if c.body != "" {
			require.Equal(t, c.body, out.Body.String(), name)
		}
		require.NotContains(t, strings.TrimPrefix(out.Body.String(), c.body), "every row", name)
	}
}

// writer is a response writer with the methods of some server.
type writer struct {
	http.ResponseWriter
	calls []string
}

func (w *writer) SetWriteDeadline(time.Time) error { w.calls = append(w.calls, "deadline"); return nil }

type fullWriter struct{ *writer }

func (w fullWriter) Flush() { w.calls = append(w.calls, "flush") }
func (w fullWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.calls = append(w.calls, "hijack")
	return nil, nil, nil
}
func (w fullWriter) ReadFrom(r io.Reader) (int64, error) {
	w.calls = append(w.calls, "read from")
	return io.Copy(w.ResponseWriter, r)
}

// countingWriter notes every status that is written.
type countingWriter struct {
	http.ResponseWriter
	statuses []int
}

func (w *countingWriter) WriteHeader(status int) {
	w.statuses = append(w.statuses, status)
	w.ResponseWriter.WriteHeader(status)
}

// The writer of a handler can do what the server's can, and says so where it cannot.
func TestRowsWriter(t *testing.T) {
	w := newFixture(t)
	auth := httpadapter.New(w.keys, nil)
	key := w.key()
	serve := func(rw http.ResponseWriter, h http.HandlerFunc) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		auth.RequireRows(latchkey.Read, "dataset/clients")(h).ServeHTTP(rw, r)
	}
	use := func(flushes bool) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			look(r)
			f, ok := rw.(http.Flusher)
			require.Equal(t, flushes, ok)
			control := http.NewResponseController(rw)
			require.NoError(t, control.SetWriteDeadline(time.Now()))
			if !flushes {
				require.ErrorIs(t, control.Flush(), http.ErrNotSupported)
				_, _, err := control.Hijack()
				require.ErrorIs(t, err, http.ErrNotSupported)
				_, err = io.Copy(rw, struct{ io.Reader }{strings.NewReader("text")})
				require.NoError(t, err)
				return
			}
			f.Flush()
			require.NoError(t, control.Flush())
			_, err := io.Copy(rw, struct{ io.Reader }{strings.NewReader("text")})
			require.NoError(t, err)
			_, _, err = rw.(http.Hijacker).Hijack()
			require.NoError(t, err)
		}
	}
	out := httptest.NewRecorder()
	poor := &writer{ResponseWriter: struct{ http.ResponseWriter }{out}}
	serve(poor, use(false))
	require.Equal(t, []string{"deadline"}, poor.calls)
	require.Equal(t, "text", out.Body.String())

	out = httptest.NewRecorder()
	full := fullWriter{&writer{ResponseWriter: struct{ http.ResponseWriter }{out}}}
	serve(full, use(true))
	require.Equal(t, []string{"deadline", "flush", "flush", "read from", "hijack"}, full.calls)
	require.Equal(t, "text", out.Body.String())

	full.calls = nil
	serve(full, func(rw http.ResponseWriter, r *http.Request) {
		rw.(http.Flusher).Flush()
		_, _, err := rw.(http.Hijacker).Hijack()
		require.Error(t, err)
		_, err = io.Copy(rw, struct{ io.Reader }{strings.NewReader("text")})
		require.Error(t, err)
	})
	require.Empty(t, full.calls, "nothing goes out of a handler that has not looked")

	counted := &countingWriter{ResponseWriter: httptest.NewRecorder()}
	serve(counted, func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusOK)
		rw.WriteHeader(http.StatusAccepted)
	})
	require.Equal(t, []int{http.StatusInternalServerError}, counted.statuses, "one answer goes out")
	counted.statuses = nil
	serve(counted, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadRequest) })
	require.Equal(t, []int{http.StatusBadRequest}, counted.statuses, "a handler may refuse before it has looked")
	counted.statuses = nil
	serve(counted, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(399) })
	require.Equal(t, []int{http.StatusInternalServerError}, counted.statuses)

	boom := errors.New("boom")
	out = httptest.NewRecorder()
	require.PanicsWithValue(t, boom, func() { serve(out, func(http.ResponseWriter, *http.Request) { panic(boom) }) })
	require.Zero(t, out.Body.Len(), "a panic is the server's to answer")
}

// OnError and Problem hear of it as of any other failure, and the Observer does not: nobody was refused.
func TestRowsNeverLookedAtIsReported(t *testing.T) {
	w := newFixture(t)
	var heard error
	auth := httpadapter.New(w.keys, &httpadapter.Options{
		OnError: func(_ *http.Request, err error) { heard = err },
		Problem: func(rw http.ResponseWriter, _ *http.Request, p httpadapter.Problem) {
			rw.WriteHeader(p.Status)
			_, _ = io.WriteString(rw, "own format")
		},
	})
	out := get(auth.RequireRows(latchkey.Read, "dataset/clients")(http.HandlerFunc(
		func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/csv")
			rw.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(rw, "every row")
		})), "/", w.key())
	require.Equal(t, 500, out.Code)
	require.Equal(t, "own format", out.Body.String())
	require.Empty(t, out.Header().Get("Content-Type")+out.Header().Get("Content-Length"))
	require.EqualError(t, heard, `httpadapter: RequireRows("read", "dataset/clients"): `+
		`the handler answered without asking for the rows it may show`)
	require.NotErrorIs(t, heard, latchkey.ErrDenied)
}

// RequireRows allocates no more than Require does, beside what Filter does: the writer is part of the request's state.
func TestRowsAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newFixture(t)
	access := must(w.acme.Assume(latchkey.Client{ID: "7"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}))
	auth := httpadapter.New(w.keys, nil)
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(httpadapter.WithAccess(context.Background(), access))
	out := httptest.NewRecorder()
	count := func(guard func(http.Handler) http.Handler) float64 {
		h := guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { look(r) }))
		return testing.AllocsPerRun(100, func() { h.ServeHTTP(out, r) })
	}
	filter := testing.AllocsPerRun(100, func() { _, _ = access.Filter(latchkey.Read, "dataset/orders") })
	require.LessOrEqual(t, count(auth.RequireRows(latchkey.Read, "dataset/orders")),
		filter+count(auth.Require(latchkey.Read, "dataset/orders")))
}

// panicOf returns the text with which f panics.
func panicOf(f func()) (text string) {
	defer func() { text, _ = recover().(string) }()
	f()
	return ""
}

// Routes are checked by the catalogue when they are made, before any request.
func TestRoutesOfACatalogue(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), &latchkey.Options{Catalogue: &latchkey.Catalogue{
		Resources: []latchkey.ResourceType{
			{Template: "dataset/{id}", Actions: []latchkey.Action{latchkey.Read},
				Schema: latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})},
			{Template: "report", Actions: []latchkey.Action{latchkey.Read}},
		}}})
	auth := httpadapter.New(keys, nil)
	for _, c := range []struct {
		action   latchkey.Action
		resource string
		rows     bool
		says     string // "": it is made
	}{
		{latchkey.Read, "dataset/{name}", false, ""},
		{latchkey.Read, "dataset/orders", true, ""},
		{latchkey.Read, "report", false, ""},
		{latchkey.Reveal, "latchkey/token/{id}", false, ""},
		{latchkey.Update, "dataset/{id}", false, `the catalogue has no action "update" on "dataset/{id}": there are "read"`},
		{latchkey.Read, "datasets/{id}", false, `the catalogue has no resource "datasets/{id}"`},
		{latchkey.Read, "report", true, `the catalogue has no Schema of "report"`},
	} {
		guard := auth.Require
		if c.rows {
			guard = auth.RequireRows
		}
		if c.says == "" {
			require.NotNil(t, guard(c.action, c.resource))
			continue
		}
		require.Contains(t, panicOf(func() { guard(c.action, c.resource) }), c.says)
	}
}

// A 500 in place of an answer has no header of it, nor a trailer, and all those of the middleware around.
func TestRowsHeadersOfTheAnswer(t *testing.T) {
	w := newFixture(t)
	auth := httpadapter.New(w.keys, nil)
	key := w.key()
	for _, many := range []int{0, 7, 8, 40} {
		blind := auth.RequireRows(latchkey.Read, "dataset/clients")(http.HandlerFunc(
			func(rw http.ResponseWriter, r *http.Request) {
				header := rw.Header()
				for _, name := range []string{"X-Total-Count", "Link", "Set-Cookie", "Etag", "Trailer", "Content-Encoding",
					http.TrailerPrefix + "X-Early"} {
					header.Set(name, "X-Row")
				}
				header.Add("Vary", "row")
				_, _ = io.WriteString(rw, "every row")
				header.Set(http.TrailerPrefix+"X-Late", "X-Row")
				header.Set("X-Row", "7")
			}))
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Vary", "Origin")
			for i := range many {
				rw.Header().Set("X-Around-"+strconv.Itoa(i), "set")
			}
			blind.ServeHTTP(rw, r)
		}))
		server.EnableHTTP2 = many%2 == 0 // which sends trailers behind any answer
		server.StartTLS()
		r, err := http.NewRequest("GET", server.URL, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+key)
		out, err := server.Client().Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		require.NoError(t, out.Body.Close())
		server.Close()
		require.Equal(t, 500, out.StatusCode)
		require.Contains(t, string(body), "Internal error")
		require.Equal(t, []string{"Origin"}, out.Header.Values("Vary"))
		around := 0
		for name, values := range out.Header {
			if strings.HasPrefix(name, "X-Around-") {
				around++
			}
			require.NotContains(t, strings.Join(values, " "), "X-Row", name)
		}
		require.Equal(t, many, around)
		require.Empty(t, out.Trailer)
	}
}

// A surface of another protocol gives its handler rows, and learns whether the handler asked for them.
func TestWithRows(t *testing.T) {
	w := newFixture(t)
	_, admin := w.issue(w.acme, latchkey.KindSecret, latchkey.Settings{})
	access, err := w.keys.Verify(t.Context(), latchkey.Presented{Secret: admin})
	require.NoError(t, err)
	eu := latchkey.Where("region", latchkey.Eq, "EU")

	ctx := httpadapter.WithRows(t.Context(), access, eu)
	type key struct{}
	derived := context.WithValue(ctx, key{}, "host")
	got, ok := httpadapter.AccessFrom(derived)
	require.True(t, ok)
	require.Equal(t, access.TokenID(), got.TokenID())
	require.False(t, httpadapter.RowsAsked(ctx), "to ask for the Access is not to ask for the rows")
	rows, ok := httpadapter.RowsFrom(derived)
	require.True(t, ok)
	require.True(t, rows.Equal(eu))
	require.True(t, httpadapter.RowsAsked(ctx))

	ctx = httpadapter.WithRows(t.Context(), access, eu)
	httpadapter.RowsNotNeeded(ctx)
	require.True(t, httpadapter.RowsAsked(ctx))

	plain := httpadapter.WithAccess(t.Context(), access)
	httpadapter.RowsNotNeeded(plain)
	require.False(t, httpadapter.RowsAsked(plain), "there are no rows")
	require.False(t, httpadapter.RowsAsked(t.Context()))
}

// A refusal within RequireRows is written as it is, also by an Options.Problem whose protocol gives it status 200, and
// within two of them. A handler that answers by itself is still held to its rows.
func TestRefusalsWithinRows(t *testing.T) {
	w := newFixture(t)
	auth := httpadapter.New(w.keys, &httpadapter.Options{
		Problem: func(w http.ResponseWriter, _ *http.Request, p httpadapter.Problem) {
			w.Header().Set("Status-Of-The-Protocol", strconv.Itoa(p.Status))
			_, _ = io.WriteString(w, "refused")
		}})
	key := w.key()
	ask := func(h http.Handler) (status, body string) {
		r := httptest.NewRequest("GET", "/clients", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		out := httptest.NewRecorder()
		h.ServeHTTP(out, r)
		return out.Header().Get("Status-Of-The-Protocol"), out.Body.String()
	}
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { auth.WriteError(w, r, latchkey.ErrDenied) })
	rows := auth.RequireRows(latchkey.Read, "dataset/clients")
	for _, h := range []http.Handler{rows(refuse), rows(rows(refuse))} {
		status, body := ask(h)
		require.Equal(t, "403", status)
		require.Equal(t, "refused", body)
	}
	status, body := ask(rows(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "rows")
	})))
	require.Equal(t, "500", status)
	require.Equal(t, "refused", body)
}
