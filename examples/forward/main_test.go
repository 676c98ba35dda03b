package main

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// A proxy's connection that sends nothing, or takes nothing, ends.
func TestServerHasBounds(t *testing.T) {
	s := server(nil)
	for _, d := range []time.Duration{s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout} {
		require.Positive(t, d)
	}
	require.True(t, strings.HasPrefix(s.Addr, "127.0.0.1:"), "nobody else reaches it: %s", s.Addr)
}

func TestHandler(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	_, secret, err := keys.For("acme").Issue(context.Background(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")}})
	require.NoError(t, err)
	h := handler(keys)
	for target, want := range map[string]int{"/data/orders": 200, "/data/payroll": 403} {
		r := httptest.NewRequest("GET", "/auth", nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("X-Original-Method", "GET")
		r.Header.Set("X-Original-URI", target)
		r.Header.Set("X-Original-Host", "localhost")
		r.Header.Set("X-Forwarded-For", "203.0.113.7")
		r.Header.Set("Authorization", "Bearer "+secret.Reveal())
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, target)
	}
}
