package datocms

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestStoreTroubleIsNoRefusal(t *testing.T) {
	w := newFixture(t, nil)
	w.store.down = latchkey.ErrUnavailable
	out := w.raw("GET", "/roles", "", clientHeaders(w.admin))
	refusedReply(t, out, 503, codeUnavailable)
	require.Contains(t, out.Body.String(), `"transient":true`, "clients come again by themselves")
	refusedReply(t, w.deliver(w.admin, nil), 503, codeUnavailable)
	w.store.down = nil
	w.store.downWrite = latchkey.ErrUnknownOutcome
	out = w.raw("POST", "/roles", roleBodyText("", `"name":"x"`, nil), clientHeaders(w.admin))
	refusedReply(t, out, 503, codeUnavailable)
	require.NotContains(t, out.Body.String(), `transient`, "what may have happened is not repeated")
	synctest.Test(t, func(t *testing.T) { // for ten seconds a write that meets another one is repeated
		w := newFixture(t, nil)
		w.store.downWrite = latchkey.ErrConflict
		out := w.raw("POST", "/roles", roleBodyText("", `"name":"x"`, nil), clientHeaders(w.admin))
		refusedReply(t, out, 422, codeConcurrent)
		require.Contains(t, out.Body.String(), `"transient":true`)
		w.store.downWrite = nil
		require.NoError(t, w.keys.Close(t.Context()))
	})

	var log bytes.Buffer
	w = newFixture(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w.refused(w.admin, 422, codeField, "POST", "/roles", roleBodyText("", `"name":""`, nil))
	require.Empty(t, log.String())
	w.store.downWrite = errors.New("disk on fire")
	out = w.raw("POST", "/roles", roleBodyText("", `"name":"x"`, nil), clientHeaders(w.admin))
	require.Equal(t, 500, out.Code)
	require.NotContains(t, out.Body.String(), "fire")
	require.Contains(t, log.String(), "disk on fire")
}

// The owner's policy refuses a token: the caller cannot correct that.
func TestThePolicyRefusesAToken(t *testing.T) {
	for _, c := range []struct {
		policy latchkey.OwnerPolicy
		status int
		code   string
	}{
		{latchkey.OwnerPolicy{Tokens: 1}, 402, codePlan},
		{latchkey.OwnerPolicy{MaxLifetime: time.Hour}, 401, codePermissions},
		{latchkey.OwnerPolicy{Kinds: []latchkey.Kind{latchkey.KindSecret}}, 401, codePermissions},
	} {
		w := newFixture(t, nil)
		require.NoError(t, w.acme.Configure(t.Context(), func(o *latchkey.Owner) error { o.Policy = c.policy; return nil }))
		w.refused(w.admin, c.status, c.code, "POST", "/access_tokens", tokenBodyText("", "x", w.role.ID))
	}
}
