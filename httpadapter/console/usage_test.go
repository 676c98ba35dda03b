package console

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
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
	_, err = access.Spend(t.Context(), "core", "GET /orders", 3_000_000)
	require.NoError(t, err)
	access.Count("core", "GET /orders", 1203)
	page := w.get("")
	require.Contains(t, page, `aria-label="1,204 in 14 days, 1,204 today"`)
	require.Contains(t, page, "M52 16v-16h3v16z", "the last bar is the highest")
	for _, path := range []string{"usage", "token/" + token.ID + "/usage?days=7"} {
		page = w.get(path)
		require.Contains(t, page, "most on 22 November: 1,204", path)
		require.Contains(t, page, "GET /orders")
	}
	require.Contains(t, page, "<b>3</b> of 4 credits of “<bdi>core</bdi>”; 1 left")
	require.Contains(t, page, `Begins anew on <time datetime="2026-12-01T00:00:00Z"`)
	require.Contains(t, page, "75 percent of the limit")

	// Clients are shown by the newest name that a token was minted with, if there is one and the person may see it.
	for _, name := range []string{"Adelaide", "Adelaide <L.>"} {
		_, minted, err := access.Mint(t.Context(), latchkey.Narrowing{Lifetime: time.Hour,
			Client: latchkey.Client{ID: "42", Name: name}})
		require.NoError(t, err)
		a, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: minted.Reveal()})
		require.NoError(t, err)
		a.Count("core", "GET /orders", 1)
	}
	must(w.acme.Assume(latchkey.Client{ID: "nameless"}, nil)).Count("core", "GET /orders", 1)
	page = w.get("usage")
	require.Contains(t, page, "<bdi>Adelaide &lt;L.&gt; (42)</bdi>")
	require.Contains(t, page, "<bdi>nameless</bdi>")
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/usage", "latchkey/token/*")}))
	page = w.get("usage")
	require.Contains(t, page, "<bdi>42</bdi>")
	require.NotContains(t, page, "Adelaide")

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
	for _, path := range []string{"usage?days=90", "usage?days=7", "usage?from=2025-11-22&to=2026-11-22"} {
		page := w.get(path)
		require.Contains(t, page, "and 28 more")
	}
}

// A range of one's own: by day, by week if it is long, and told if it is none.
func TestUsageOfARange(t *testing.T) {
	w := newFixture(t, nil)
	token := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "busy"})
	rows := []latchkey.UsageRow{{Owner: "acme", TokenID: token.ID, ClientID: "42", Meter: "core", Endpoint: "GET /a",
		Day: "2026-10-03", Count: 5}, {Owner: "acme", TokenID: token.ID, ClientID: "7", Meter: "core", Endpoint: "=GET /b",
		Day: "2026-10-04", Count: 2, Credits: 1_500_000}, {Owner: "acme", TokenID: token.ID, Day: "2026-06-01", Count: 100}}
	require.NoError(t, w.reads.AddUsage(t.Context(), latchkey.UsageBatch{ID: [16]byte{9}, At: w.now, Rows: rows}))
	page := w.get("usage?from=2026-10-03&to=2026-10-04")
	require.Contains(t, page, "<b>7</b> uses, 1.5 credits <small>in 2 days")
	require.Contains(t, page, `aria-label="7 in 2 days; most on 3 October: 5"`, "no word of today")
	page = w.get("usage?from=2026-05-01")
	require.Contains(t, page, "<b>107</b> uses")
	require.Contains(t, page, "A bar is a week.")
	require.Contains(t, page, "most on the week from 29 May: 100")
	require.NotContains(t, w.get("usage?from=2026-10-03&to=2026-10-03"), "GET /b")
	for _, query := range []string{"from=yesterday", "from=2026-10-04&to=2026-10-03", "from=2025-01-01&to=2026-10-03",
		"to=2026-10-03",
		"from=2027-01-01"} {
		require.Contains(t, w.get("usage?"+query), "Choose a first and a last day", query)
	}
	// A client's own page has what it used, and leads back to all in the same range.
	page = w.get("usage?from=2026-10-01&to=2026-10-31&client=42")
	require.Contains(t, page, "<b>5</b> uses")
	require.NotContains(t, page, "GET /b")
	require.Contains(t, page, "usage?from=2026-10-01&amp;to=2026-10-31\"")

	rec := w.do("GET", "usage.csv?from=2026-10-01&to=2026-10-31", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "day,token,token_name,client,meter,endpoint,uses,credits\r\n"+
		"2026-10-03,"+token.ID+",busy,42,core,GET /a,5,0\r\n"+
		"2026-10-04,"+token.ID+",busy,7,core,'=GET /b,2,1.5\r\n", rec.Body.String())
	require.Equal(t, http.StatusNotFound, w.do("GET", "usage.csv?token=none", "").Code)
	require.Contains(t, w.do("GET", "usage.csv?from=x", "").Header().Get("Content-Type"), "text/html")
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"},
		latchkey.Permissions{latchkey.Allow(latchkey.Read).On("latchkey/token/*")}))
	for _, path := range []string{"usage.csv", "refusals.csv"} {
		require.Equal(t, http.StatusForbidden, w.do("GET", path, "").Code, path)
	}
}

// Why tokens were refused, by reason and by token, and as a file.
func TestRefusals(t *testing.T) {
	w := newFixture(t, nil)
	require.Contains(t, w.get("usage"), "Nothing was refused in these days.")
	spec := latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "@walled",
		Restrictions: latchkey.Restrictions{Domains: []string{"example.com"}}}
	token, secret, err := w.acme.Issue(t.Context(), spec)
	require.NoError(t, err)
	for range 3 {
		_, err = w.acme.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal(), Referer: "https://evil.example/"})
		require.ErrorIs(t, err, latchkey.ErrReferer)
	}
	access, err := w.acme.Verify(t.Context(), latchkey.Presented{Secret: secret.Reveal(), Referer: "https://example.com/"})
	require.NoError(t, err)
	access.Refused(t.Context(), access.Check(latchkey.Delete, "dataset/x"))
	page := w.get("usage")
	require.Contains(t, page, "4 requests were refused.")
	require.Less(t, strings.Index(page, "Domain not allowed"), strings.Index(page, "No right to it"), "the most first")
	require.Contains(t, page, "token/"+token.ID+"/usage#refusals")
	page = w.get("token/" + token.ID + "/usage")
	require.Contains(t, page, "Domain not allowed")
	require.Contains(t, page, "22 Nov 2026")
	rec := w.do("GET", "refusals.csv?from=2026-11-22&to=2026-11-22&token="+token.ID, "")
	require.Equal(t, "day,token,token_name,reason,count\r\n2026-11-22,"+token.ID+",'@walled,denied,1\r\n2026-11-22,"+
		token.ID+",'@walled,referer,3\r\n", rec.Body.String())
}

// Every reason that the root counts has words of its own.
func TestRefusalReasonsHaveWords(t *testing.T) {
	source, err := os.ReadFile("../../observer.go")
	require.NoError(t, err)
	text, _, ok := strings.Cut(string(source), "// classes are tried")
	require.True(t, ok)
	found := regexp.MustCompile(`\{Err\w+, "([a-z_]+)"\}|reason(?:ForeignOwner|Rotated|Deleted) += "([a-z_]+)"`).
		FindAllStringSubmatch(text, -1)
	require.Len(t, found, 21)
	for _, m := range found {
		require.Contains(t, refusalReasons, m[1]+m[2])
	}
}
