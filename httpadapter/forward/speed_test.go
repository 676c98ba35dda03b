package forward_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/memstore"
)

// discard is a writer whose headers are used again.
type discard struct {
	h      http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// speedWorld returns a handler over a Manager that caches, questions that it lets pass, and a plain Verify.
func speedWorld(t testing.TB) (h map[string]http.Handler, r map[string]*http.Request, verify func()) {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/*")}})
	require.NoError(t, err)
	auth := httpadapter.New(keys, &httpadapter.Options{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	h, r = map[string]http.Handler{}, map[string]*http.Request{}
	for name, from := range sources {
		h[name] = forward.New(auth, table, options(from))
		// What browsers and other clients send, too.
		r[name] = question{from: from, target: "/data/orders?page=2", key: secret.Reveal(), headers: []string{
			"Accept", "application/json", "Accept-Encoding", "gzip, deflate, br", "Accept-Language", "en", "User-Agent",
			"client/1.0",
			"Cache-Control", "no-cache", "X-Forwarded-Proto", "https", "X-Request-Id", "0123456789abcdef"}}.request()
	}
	p := latchkey.Presented{Secret: secret.Reveal(), Address: netip.MustParseAddr("203.0.113.7")}
	return h, r, func() {
		if _, err := keys.Verify(ctx, p); err != nil {
			t.Error(err)
		}
	}
}

// TestAllocationsOfAQuestion: a Verify of a cached key allocates nothing, so these are all there are.
func TestAllocationsOfAQuestion(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	handlers, requests, verify := speedWorld(t)
	require.Zero(t, testing.AllocsPerRun(100, verify))
	for name, h := range handlers {
		w := &discard{h: http.Header{}}
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, requests[name]) }), 5.0, name)
		require.Equal(t, 200, w.status)
	}
}

func BenchmarkQuestion(b *testing.B) {
	handlers, requests, verify := speedWorld(b)
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			verify()
		}
	})
	for name, h := range handlers {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := &discard{h: http.Header{}}
			for b.Loop() {
				h.ServeHTTP(w, requests[name])
			}
		})
	}
}
