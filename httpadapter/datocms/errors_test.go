package datocms

import (
	"testing"

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
	w.store.downWrite = latchkey.ErrConflict
	out = w.raw("POST", "/roles", roleBodyText("", `"name":"x"`, nil), clientHeaders(w.admin))
	refusedReply(t, out, 422, codeConcurrent)
	require.Contains(t, out.Body.String(), `"transient":true`)
}
