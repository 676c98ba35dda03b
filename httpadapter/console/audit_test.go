package console

import (
	"context"
	"encoding/csv"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// A cell that begins like a formula begins with an apostrophe in the file, and nothing else changes.
func TestHarmlessCells(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "a=1": "a=1", "1,5": "1,5", "say \"hi\"\nthere": "say \"hi\"\nthere", "'quoted": "'quoted",
		"=1+1": "'=1+1", "+49 30": "'+49 30", "-2": "'-2", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1",
		"\n=1": "'\n=1", " =1": "' =1", "\u00A0=1": "'\u00A0=1", "\uFEFF=1": "'\uFEFF=1", "\uFF1D1": "'\uFF1D1",
		"\uFF0B1": "'\uFF0B1",
		"|calc":   "'|calc", "%0A": "'%0A", "bad\xff": "bad\uFFFD", "nul\x00": "nul\uFFFD", "\x00=1": "\uFFFD=1",
	} {
		require.Equal(t, want, harmless(in), "%q", in)
	}
}

func TestAuditTrail(t *testing.T) {
	w := newFixture(t, nil)
	ctx := t.Context()
	person, err := w.acme.As(w.who)
	require.NoError(t, err)
	reader := w.role(latchkey.Role{Name: "reader",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("a/*")}})
	writer := w.role(latchkey.Role{Name: "writer"})
	token := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "=cmd()", Roles: []string{reader.ID}})
	w.now = w.now.Add(24 * time.Hour)
	_, err = person.Update(ctx, token.ID, func(t *latchkey.Token) error {
		t.Roles = []string{writer.ID}
		t.Restrictions.Domains = []string{"example.com"}
		t.Limits.Quotas = monthly(5_000_000)
		return nil
	})
	require.NoError(t, err)
	w.now = w.now.Add(24 * time.Hour)
	require.NoError(t, person.Revoke(ctx, token.ID, "left <the> firm"))

	desk, err := w.acme.By("desk", "")
	require.NoError(t, err)
	_, err = desk.CreateRole(ctx, latchkey.Role{Name: "by the desk"})
	require.NoError(t, err)
	page := w.get("audit")
	require.Contains(t, page, "<bdi>desk, for the service</bdi>")
	for _, part := range []string{"Token revoked", "Token changed", "Role created", `<bdi>Ada</bdi>`,
		"<bdi>the service</bdi>",
		"left &lt;the&gt; firm", `<span class="sr">before: </span><bdi>reader</bdi>`,
		`<span class="sr">after: </span><bdi>writer</bdi>`, "<bdi>example.com</bdi>", "<bdi>5 in a calendar month</bdi>"} {
		require.Contains(t, page, part)
	}
	require.Less(t, strings.Index(page, "Token revoked</a>"), strings.Index(page, "Token changed</a>"), "newest first")

	// Filters, in the address.
	day := w.now.AddDate(0, 0, -1).Format(time.DateOnly)
	page = w.get("audit?from=" + day + "&to=" + day)
	require.Contains(t, page, "Token changed</a>")
	require.NotContains(t, page, "Token revoked</a>")
	require.NotContains(t, page, "Role created</a>")
	page = w.get("audit?action=role.&actor=host")
	require.Contains(t, page, "Role created</a>")
	require.NotContains(t, page, "Token changed</a>")
	page = w.get("audit?actor=client:ada")
	require.NotContains(t, page, "Role created</a>")
	require.Contains(t, page, "Token revoked</a>")
	require.Contains(t, w.get("audit?object=none"), "No entry matches.")
	require.Contains(t, w.get("audit?from=yesterday"), "Write days as 2026-11-30.")
	require.Contains(t, w.get("audit?after=forged"), "Token revoked</a>")

	// The history of one token and of one role, and one entry.
	page = w.get("token/" + token.ID + "/history")
	require.Contains(t, page, "History of <bdi>=cmd()</bdi>")
	require.NotContains(t, page, "Role created</a>")
	page = w.get("role/" + writer.ID + "/history")
	require.Contains(t, page, "Role created</a>")
	require.NotContains(t, page, "Token created</a>")
	require.Contains(t, w.get("audit/1"), "Entry 1 of the audit trail")
	for _, path := range []string{"audit/0", "audit/x", "audit/99999", "token/none/history", "role/none/history"} {
		require.Equal(t, http.StatusNotFound, w.do("GET", path, "").Code, path)
	}

	// The file has the same, and no formula.
	rec := w.do("GET", "audit.csv?action=token.", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "text/csv; charset=utf-8; header=present", rec.Header().Get("Content-Type"))
	require.Contains(t, rec.Header().Get("Content-Disposition"), `attachment; filename="audit-2026-11-24.csv"`)
	lines, err := csv.NewReader(rec.Body).ReadAll()
	require.NoError(t, err)
	require.Len(t, lines, 4)
	require.Equal(t, "'=cmd()", lines[1][7])
	require.Equal(t, "token.revoke", lines[1][5])
	require.Equal(t, "left <the> firm", lines[1][8])
	require.Contains(t, lines[2][9], "Roles: reader → writer")
}

// What the person may not read of a record is not in the trail either, and without the right there is no trail.
func TestAuditTrailHidesWhatMayNotBeRead(t *testing.T) {
	w := newFixture(t, nil)
	seen := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "seen by all"})
	hidden := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "kept apart",
		Restrictions: latchkey.Restrictions{Domains: []string{"hidden.example"}}})
	require.NoError(t, w.acme.Revoke(t.Context(), hidden.ID, "a hidden reason"))
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/event", latchkey.Pattern("latchkey/token/"+seen.ID))}))
	for _, path := range []string{"audit", "audit?object=" + hidden.ID, "audit/2", "audit/3", "audit.csv"} {
		rec := w.do("GET", path, "")
		require.Equal(t, http.StatusOK, rec.Code, path)
		for _, text := range []string{"kept apart", "hidden.example", "hidden reason"} {
			require.NotContains(t, rec.Body.String(), text, path)
		}
	}
	require.Contains(t, w.get("audit"), "seen by all")
	require.Equal(t, http.StatusNotFound, w.do("GET", "token/"+hidden.ID+"/history", "").Code)
	w.who = must(w.acme.Assume(latchkey.Client{ID: "bob"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/token/*")}))
	for _, path := range []string{"audit", "audit.csv", "audit/1", "token/" + seen.ID + "/history"} {
		require.Equal(t, http.StatusForbidden, w.do("GET", path, "").Code, path)
	}
	require.NotContains(t, w.get(""), `href="./audit"`)
}

// A page of the trail costs one reading of events, one of tokens and one of roles, and stays small whatever changed.
func TestAuditTrailOfMuch(t *testing.T) {
	w := newFixture(t, nil)
	var domains []string
	for i := range 60 {
		domains = append(domains, strings.Repeat("very", 10)+"-long-"+strings.Repeat("x", i%7)+".example.com")
	}
	for range 60 {
		w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: strings.Repeat("<n>", 80),
			Restrictions: latchkey.Restrictions{Domains: domains[:50]}})
	}
	page, calls := w.counted("audit")
	require.Equal(t, []int{1, 0, 0, 1}, calls, "no role is named")
	require.Contains(t, page, "more changes: open the entry.")
	_, after, _ := strings.Cut(page, `rel="prev"`)
	require.NotContains(t, after, "x")
	form, err := url.ParseQuery(strings.TrimPrefix(linkOf(page, "Older"), "?"))
	require.NoError(t, err)
	require.NotEmpty(t, form.Get("after"))
	require.Contains(t, w.get("audit"+linkOf(page, "Older")), "Newest")
	require.Contains(t, w.get("audit/7"), "more")
}

// failing is a store whose second listing of events fails.
type failing struct {
	latchkey.Store
	calls int
}

func (f *failing) Events(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
	if f.calls++; f.calls == 2 {
		return nil, "", latchkey.ErrUnavailable
	}
	return f.Store.Events(ctx, owner, q)
}

// A file that is cut short does not look complete: the connection is cut. Before its first line there is a page.
func TestAFileIsWholeOrCut(t *testing.T) {
	w := newFixture(t, nil)
	for range 1001 {
		_, _, err := w.acme.Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey})
		require.NoError(t, err)
	}
	require.Equal(t, 1002, strings.Count(w.do("GET", "audit.csv", "").Body.String(), "\r\n"))
	w.reads.Store = &failing{Store: w.reads.Store}
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { w.do("GET", "audit.csv", "") })
	w.reads.Store.(*failing).calls = 1
	rec := w.do("GET", "audit.csv", "")
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Equal(t, "text/html; charset=utf-8", rec.Header().Get("Content-Type"))
	require.Empty(t, rec.Header().Get("Content-Disposition"))
}

// linkOf returns the address of a link of the page itself, by its text.
func linkOf(page, text string) string {
	_, page, _ = strings.Cut(page, "<main")
	at := strings.Index(page, ">"+text+"</a>")
	if at < 0 {
		return ""
	}
	start := strings.LastIndex(page[:at], `href="`)
	link, _, _ := strings.Cut(page[start+6:], `"`)
	return unhtml.Replace(link)
}
