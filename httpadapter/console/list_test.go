package console

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

func TestTenThousandTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs beside it: the run without the race detector is enough")
	}
	const n = 10_000
	w := newFixture(t, nil)
	w.stock(n)

	// Every page from the first to the last, each after the last key of the one before: one read of tokens, one of
	// usage, and a count.
	var seen []string
	path, pages := "", 0
	for {
		page, calls := w.counted(path)
		require.Equal(t, []int{1, 1, 1, 0}, calls, "page %d", pages)
		seen = append(seen, numbersOf(page)...)
		pages++
		next, more := linksOf(page)["Next"]
		if !more {
			break
		}
		path = next
	}
	require.Equal(t, n/pageSize, pages)
	require.Len(t, seen, n)
	require.Equal(t, "00000", seen[0])
	require.Equal(t, "09999", seen[n-1])
	require.True(t, slices.IsSorted(seen), "none twice, none left out")

	// The last page directly, and back from there to the first.
	page, _ := w.counted("")
	require.Contains(t, page, "1,000 tokens or more")
	page, calls := w.counted(linksOf(page)["Last"])
	require.Equal(t, []int{1, 1, 1, 0}, calls)
	last := numbersOf(page)
	require.Equal(t, seen[n-len(last):], last)
	require.NotContains(t, linksOf(page), "Next")
	for at := n - len(last); at > 0; at -= pageSize {
		page, calls = w.counted(linksOf(page)["Previous"])
		require.LessOrEqual(t, calls[0], 2, "the first page is read again as such")
		require.Equal(t, seen[max(0, at-pageSize):at], numbersOf(page))
	}
	require.NotContains(t, linksOf(page), "Previous")

	// Search and filters page by key, too. What fits on a page is not counted again.
	page, calls = w.counted("?q=" + url.QueryEscape("STOREFRONT of the customer number 0777"))
	require.Equal(t, []int{1, 1, 0, 0}, calls)
	require.Equal(t, seen[7770:7780], numbersOf(page))
	require.Contains(t, page, "10 tokens")
	page, _ = w.counted("?q=front&state=active")
	page, _ = w.counted(linksOf(page)["Next"])
	require.Equal(t, seen[pageSize:2*pageSize], numbersOf(page))
	for sort, want := range map[string][]string{"newest": {"09999", "09998"}, "name": seen[:2], "end": seen[:2]} {
		page, calls = w.counted("?sort=" + sort)
		require.Equal(t, []int{1, 1, 1, 0}, calls)
		require.Equal(t, want, numbersOf(page)[:2], sort)
		first := numbersOf(page)
		page, _ = w.counted(linksOf(page)["Next"])
		require.NotEqual(t, first, numbersOf(page))
		page, _ = w.counted(linksOf(page)["Previous"])
		require.Equal(t, first, numbersOf(page), sort)
	}

	// A new token is at the bottom.
	form := w.form("new")
	form.Set("name", "the newest")
	page = w.get(strings.TrimPrefix(w.post("new", form).Header().Get("Location"), "./"))
	require.Contains(t, page, "the newest")
	require.NotContains(t, linksOf(page), "Next")
}

func TestPagesOfManyTokens(t *testing.T) {
	w := newFixture(t, nil)
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("key %02d", i))
		w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey, Name: names[i]})
	}
	shown := func(page string) (out []string) {
		for _, n := range names {
			if strings.Contains(page, "<bdi>"+n+"</bdi>") {
				out = append(out, n)
			}
		}
		return out
	}
	href := func(page, text string) string {
		_, after, ok := strings.Cut(strings.ReplaceAll(page, "\n", ""), `aria-label="Pages"`)
		require.True(t, ok)
		at := strings.Index(after, ">"+text+"</a>")
		require.Positive(t, at, "no link %s", text)
		start := strings.LastIndex(after[:at], `href="`)
		link, _, _ := strings.Cut(after[start+6:], `"`)
		return strings.TrimPrefix(unhtml.Replace(link), "./")
	}
	follow := func(link string) string {
		rec := w.do("GET", link, "")
		if rec.Code == http.StatusSeeOther {
			return w.get(strings.TrimPrefix(rec.Header().Get("Location"), "./"))
		}
		return rec.Body.String()
	}
	page, calls := w.counted("")
	require.Equal(t, []int{1, 1, 1, 0}, calls, "a list page costs three readings")
	require.Contains(t, page, "60 tokens")
	require.Equal(t, names[:pageSize], shown(page))
	page = follow(href(page, "Next"))
	require.Equal(t, names[pageSize:2*pageSize], shown(page))
	last := follow(href(page, "Last"))
	require.Equal(t, names[60-pageSize:], shown(last))
	require.Equal(t, names[60-2*pageSize:60-pageSize], shown(follow(href(last, "Previous"))))
	require.Equal(t, names[:pageSize], shown(follow(href(page, "Previous"))))
	require.Equal(t, names[:pageSize], shown(follow(href(last, "First"))))

	require.Equal(t, []string{"key 07"}, shown(w.get("?q=key+07")))
	require.Contains(t, w.get("?q=nothing"), "No token matches")
	page = w.get("?q=key&kind=api_key&state=active")
	require.Contains(t, href(page, "Next"), "kind=api_key")
	require.Empty(t, shown(w.get("?state=revoked")))

	form := w.form("new")
	form.Set("name", "the newest")
	to := w.post("new", form).Header().Get("Location")
	page = w.get(strings.TrimPrefix(to, "./"))
	require.Contains(t, page, "The new publishable token is at the end of the list.")
	require.Greater(t, strings.Index(page, "the newest"), strings.Index(page, "key 59"))
}

func TestExpiringTokensAreMarked(t *testing.T) {
	w := newFixture(t, nil)
	id := w.issue(latchkey.Spec{Kind: latchkey.KindAPIKey,
		Validity: latchkey.Validity{NotAfter: w.now.Add(8 * 24 * time.Hour)}}).ID
	for _, c := range []struct {
		after time.Duration
		word  string
	}{{0, "Active"}, {25 * time.Hour, "Expiring"}, {9 * 24 * time.Hour, "Expired"}} {
		token := w.token(id)
		require.Equal(t, c.word, English().stateOf(&token, w.now.Add(c.after)).Word)
	}
}

var links = regexp.MustCompile(`<a href="\./([^"]*)"[^>]*>(First|Previous|Next|Last)</a>`)

func linksOf(page string) map[string]string {
	out := map[string]string{}
	for _, m := range links.FindAllStringSubmatch(page, -1) {
		out[m[2]] = unhtml.Replace(m[1])
	}
	return out
}

var numbers = regexp.MustCompile(`number (\d{5})</bdi>`)

func numbersOf(page string) (out []string) {
	for _, m := range numbers.FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}
