package clients

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// shown is what a page shows of an embedded table.
type shown struct {
	IDs      []int
	Headings []string // with their scope
	Caption  string
	First    []string
	Status   string
	Alert    string
	Busy     string
	Class    string
	Markup   int // elements inside of cells
}

const readTable = `(() => {
	const box = document.querySelector('.latchkey-table');
	const texts = (selector) => [...box.querySelectorAll(selector)].map((e) => e.textContent);
	return {
		IDs: [...box.querySelectorAll('tbody tr')].map((e) => Number(e.dataset.id)),
		Headings: [...box.querySelectorAll('thead th')].map((e) => e.scope + ' ' + e.textContent),
		Caption: texts('table > caption').join(),
		First: texts('tbody tr:first-child td'),
		Status: texts('[role=status]').join(),
		Alert: texts('[role=alert]').join(),
		Busy: box.getAttribute('aria-busy'),
		Class: box.className,
		Markup: box.querySelectorAll('td *').length,
	};
})()`

// visit opens a page in a tab of its own and reads its table, and what the browser complained of.
func visit(t *testing.T, browser context.Context, address string) (shown, []string) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	defer cancel()
	ctx, cancelTime := context.WithTimeout(ctx, 3*time.Minute)
	defer cancelTime()
	var mu sync.Mutex
	var complaints []string
	err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *log.EventEntryAdded: // CSP reports and failed requests
			complaints = append(complaints, e.Entry.Text)
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, fmt.Sprint(e.ExceptionDetails))
		case *runtime.EventConsoleAPICalled:
			complaints = append(complaints, fmt.Sprint(e.Type))
		}
	})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(address),
		chromedp.WaitReady(chromedp.CSS(`.latchkey-table[aria-busy="false"]`)),
	))
	got, err := chromedp.Run(ctx, chromedp.Evaluate[shown](readTable))
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	return got, complaints
}

// site is somebody else's page that holds a script tag.
func site(t *testing.T, tag string) string {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Site</title><link rel="icon" href="data:,">`+
			`<main><h1>A site</h1>%s</main>`, tag)
	}))
	t.Cleanup(page.Close)
	return page.URL
}

func TestBrowserShowsWhatTheTokenMaySee(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	browser := harness.Chromium(t, s)
	tag := func(options obj, style string) string {
		t.Helper()
		var tag string
		client.OK(&tag, options, "scriptTag", harness.Dataset, client.Token(options), style)
		require.Contains(t, tag, `src="http://127.0.0.1/io/loader/`+harness.Dataset+`/table/`+style+`"`)
		return tag
	}
	headings := []string{"col species", "col island", "col beak length", "col beak depth", "col flipper length",
		"col body mass", "col sex"}

	for name, c := range map[string]struct {
		options obj
		style   string
		want    []int
	}{
		"168 rows of Biscoe": {obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë O'Brien"}, "d",
			harness.Where(t, harness.OnBiscoe)},
		"all roles": {obj{"roles": []string{"viewer", "biscoe", "keeper"}}, "bs5", harness.Where(t, harness.EveryPenguin)},
		"from 4000 g on": {obj{"conditions": obj{"id": "dp-6", "op": ">=", "value": "4000", "set": false}}, "auto",
			harness.Where(t, harness.IsHeavy)},
	} {
		t.Run(name, func(t *testing.T) {
			s.Sub(t)
			got, complaints := visit(t, browser, site(t, tag(c.options, c.style)))
			require.Empty(t, complaints)
			require.Equal(t, c.want, got.IDs)
			require.Equal(t, headings, got.Headings)
			require.Equal(t, "Penguins", got.Caption)
			require.Equal(t, fmt.Sprintf("%d rows", len(c.want)), got.Status)
			require.Empty(t, got.Alert)
			require.Equal(t, "latchkey-table latchkey-style-"+c.style, got.Class)
		})
	}

	t.Run("an unknown column is told in words", func(t *testing.T) {
		s.Sub(t)
		got, _ := visit(t, browser, site(t, tag(obj{"conditions": obj{"dp-99": "x"}}, "d")))
		require.Empty(t, got.IDs)
		require.Contains(t, got.Alert, "column")
	})

	t.Run("a token that is not one is told in words", func(t *testing.T) {
		s.Sub(t)
		bad := strings.Replace(tag(obj{}, "d"), `data-token="`, `data-token="x`, 1)
		got, _ := visit(t, browser, site(t, bad))
		require.Empty(t, got.IDs)
		require.Contains(t, got.Alert, "no access")
	})

	t.Run("text stays text", func(t *testing.T) {
		s.Sub(t)
		hostile := `<img src=x onerror="document.body.dataset.hit=1"><script>document.body.dataset.hit=1</script>`
		client.OK(&obj{}, obj{"role": "keeper"}, "insert", harness.Dataset, obj{"dp-1": hostile, "dp-2": "Nowhere"})
		got, complaints := visit(t, browser, site(t, tag(obj{"conditions": obj{"dp-2": "Nowhere"}}, "d")))
		require.Empty(t, complaints)
		require.Equal(t, hostile, got.First[0])
		require.Zero(t, got.Markup)
		require.Equal(t, "1 row", got.Status)
	})

	t.Run("the server's own page", func(t *testing.T) {
		s.Sub(t)
		r := s.Get("/embed")
		require.Equal(t, 200, r.Status)
		policy := r.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.NotContains(t, policy, "unsafe")
		require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
		require.NotEqual(t, r.Body, s.Get("/embed").Body, "each view has a token of its own")
		got, complaints := visit(t, browser, s.Base+"/embed")
		require.Empty(t, complaints, "the page keeps its own policy")
		require.Len(t, got.IDs, 345, "with the row of above")
		require.Equal(t, "Penguins", got.Caption)
	})
}

func TestLoader(t *testing.T) {
	s := harness.StartServer(t)
	for _, prefix := range []string{"/io", ""} {
		for _, style := range []string{"d", "auto", "bs", "bs4", "bs5", "bm", "dt", "zf", "ju", "se", "no"} {
			r := s.Get(prefix + "/loader/" + harness.Dataset + "/table/" + style)
			require.Equal(t, 200, r.Status, style)
			require.Contains(t, r.Header.Get("Content-Type"), "text/javascript")
			require.NotContains(t, r.Body, "innerHTML")
			require.NotContains(t, r.Body, "__DATASET__")
		}
		require.Equal(t, 404, s.Get(prefix+"/loader/"+harness.Dataset+"/table/x").Status)
		require.Equal(t, 404, s.Get(prefix+"/loader/00000000-0000-0000-0000-000000000000/table/d").Status)
	}
	require.Equal(t, 404, s.Get("/nowhere").Status, "only what is documented is served")
}
