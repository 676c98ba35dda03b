package console

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestUsagePages(t *testing.T) {
	w := newFixture(t, nil)
	token, secret, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
		Name: "busy", Limits: latchkey.Limits{Quotas: monthly(4_000_000)}})
	require.NoError(t, err)
	access, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal()})
	require.NoError(t, err)
	access.Count("core", "GET /orders", 1204, 3_000_000)
	page := w.get("")
	require.Contains(t, page, `aria-label="1,204 in 14 days, 1,204 today"`)
	require.Contains(t, page, "M52 16v-16h3v16z", "the last bar is the highest")
	for _, path := range []string{"usage", "token/" + token.ID + "/usage?days=7"} {
		page = w.get(path)
		require.Contains(t, page, "most on 22 November: 1,204", path)
		require.Contains(t, page, "GET /orders")
	}
	require.Contains(t, page, "<b>3</b> of 4 credits")
	require.Contains(t, page, "75 percent of the limit")

	// Clients are shown by the newest name that a token was minted with, if there is one and the person may see it.
	for _, name := range []string{"Ada", "Ada <L.>"} {
		_, minted, err := access.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour,
			Client: latchkey.Client{ID: "42", Name: name}})
		require.NoError(t, err)
		a, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: minted.Reveal()})
		require.NoError(t, err)
		a.Count("core", "GET /orders", 1)
	}
	must(w.acme.Assume(latchkey.Client{ID: "nameless"}, nil)).Count("core", "GET /orders", 1)
	page = w.get("usage")
	require.Contains(t, page, "<bdi>Ada &lt;L.&gt; (42)</bdi>")
	require.Contains(t, page, "<bdi>nameless</bdi>")
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/usage", "latchkey/token/*")}))
	page = w.get("usage")
	require.Contains(t, page, "<bdi>42</bdi>")
	require.NotContains(t, page, "Ada")

	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/token/*")}))
	require.NotContains(t, w.get(""), "1,204")
	require.Equal(t, http.StatusForbidden, w.do("GET", "usage", "").Code)
}

func TestUsageOfMuch(t *testing.T) {
	w := newFixture(t, nil)
	w.stock(40)
	var batch latchkey.UsageBatch
	batch.ID, batch.At = [16]byte{1}, w.now
	i := 0
	for token, err := range w.acme.Tokens(t.Context(), latchkey.TokenQuery{}) {
		require.NoError(t, err)
		for day := range 90 {
			batch.Rows = append(batch.Rows,
				latchkey.UsageRow{Owner: "acme", TokenID: token.ID, ClientID: fmt.Sprintf("customer number %d", i),
					Meter: fmt.Sprintf("meter %d", i), Endpoint: fmt.Sprintf("GET /a/rather/long/path/to/an/endpoint/%d", i),
					Day: w.now.AddDate(0, 0, -day).Format(time.DateOnly), Count: int64(1_000_000 + i*7919 + day),
					Credits: 123_456_789_123})
		}
		i++
	}
	require.NoError(t, w.reads.AddUsage(context.Background(), batch))
	for _, path := range []string{"usage?days=90", "usage?days=7"} {
		page := w.get(path)
		require.Contains(t, page, "and 28 more")
	}
}
