package console

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/memstore"
)

// tokenPages is a console for each of two owners, under prefixes of one server.
type tokenPages struct {
	t     *testing.T
	store latchkey.Store
	keys  *latchkey.Manager
	acme  latchkey.Account
	base  string
}

func servePages(t *testing.T) *tokenPages {
	t.Helper()
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	p := &tokenPages{t: t, store: memstore.New(nil)}
	p.keys = latchkey.New(p.store, &latchkey.Options{Keyring: ring})
	t.Cleanup(func() { require.NoError(t, p.keys.Close(context.Background())) })
	p.acme = p.keys.For("acme")
	mux := http.NewServeMux()
	reader := must(p.acme.Assume(latchkey.Client{ID: "bob", Name: "Bob, who reads"}, latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("latchkey/token/*", "latchkey/role/*")}))
	console.Mount(mux, "/deep/reader",
		func(*http.Request) (latchkey.Account, latchkey.Access, error) { return p.acme, reader, nil }, nil)
	console.Mount(mux, "/deep/nobody", func(*http.Request) (latchkey.Account, latchkey.Access, error) {
		return latchkey.Account{}, latchkey.Access{}, latchkey.ErrInvalidToken
	}, nil)
	for _, owner := range []string{"acme", "other"} {
		account := p.keys.For(owner)
		who := must(account.Assume(latchkey.Client{ID: "ada", Name: "Ada of " + owner}, latchkey.Permissions{
			latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}))
		signedIn := func(*http.Request) (latchkey.Account, latchkey.Access, error) { return account, who, nil }
		schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text},
			"amount": {Column: "o.amount", Type: latchkey.Integer}})
		console.Mount(mux, "/deep/"+owner, signedIn, &console.Options{
			Languages: []*console.Words{console.English(), console.German()}, Catalogue: console.Apperate(),
			Names:  func(*http.Request) []string { return []string{"ACME/CARS", "ACME/BIKES", "ACME/PARTS"} },
			Schema: func(latchkey.Resource) (*latchkey.Schema, latchkey.Dialect) { return schema, latchkey.Postgres }})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.base = server.URL + "/deep/acme/"
	return p
}

func (p *tokenPages) issue(kind latchkey.Kind, s latchkey.Settings) latchkey.Token {
	p.t.Helper()
	spec := s.Spec(kind)
	odd := func(r rune) bool { return r > '~' || r < ' ' }
	if strings.ContainsFunc(s.Name, odd) || strings.TrimSpace(s.Name) != s.Name {
		spec.Origin = "elsewhere" // new names of the host's own are checked; pages must show all that there are
	}
	token, _, err := p.acme.Issue(p.t.Context(), spec)
	require.NoError(p.t, err)
	return token
}

// furnish fills the account with what a page has to show, and returns a token and a role worth a look.
func (p *tokenPages) furnish() (latchkey.Token, latchkey.Role) {
	p.t.Helper()
	ctx := p.t.Context()
	role := func(name string, up []string, rules ...latchkey.Rule) latchkey.Role {
		r, err := p.acme.CreateRole(ctx, latchkey.Role{Name: name, Inherits: up, Permissions: rules})
		require.NoError(p.t, err)
		return r
	}
	analyst := role("analyst", nil, latchkey.Allow(latchkey.Read).On("dataset/*"),
		latchkey.Deny(latchkey.Any).On("dataset/ACME/PAYROLL"))
	editor := role("EU desk", []string{analyst.ID},
		latchkey.Allow(latchkey.Read).On("dataset/ACME/ORDERS").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		latchkey.Grant(latchkey.Create, latchkey.Update).On("dataset/ACME/ORDERS").
			Where(latchkey.All(latchkey.Where("region", latchkey.Eq, "EU"), latchkey.Where("amount", latchkey.Lt, 1000))).
			Force(map[string]any{"region": "EU"}))
	role("auditor", nil, latchkey.Allow(latchkey.Read).On("latchkey/event", "latchkey/usage"))
	p.issue(latchkey.KindSecret, latchkey.Settings{Name: "Account"})
	site := p.issue(latchkey.KindPublishable, latchkey.Settings{Name: "Customer portal",
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*"),
			latchkey.Allow(latchkey.Read).On("premium/*"),
			latchkey.Allow(latchkey.Read).On("dataset/ACME/CARS", "dataset/ACME/BIKES", "dataset/ACME/PARTS"),
			latchkey.Allow(latchkey.Create, latchkey.Update).On("dataset/ACME/PARTS")},
		Restrictions: latchkey.Restrictions{Domains: []string{"www.example.com", "*.example.org"}},
		Limits: latchkey.Limits{Quotas: world.Monthly(50_000_000_000),
			Rate: latchkey.Rate{Count: 100, Per: time.Second, Burst: 99}}})
	desk := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Order import, EU desk", Roles: []string{editor.ID}})
	p.issue(latchkey.KindPublishable, latchkey.Settings{Name: "Investor relations page"})
	soon := p.issue(latchkey.KindSession, latchkey.Settings{Name: "Support shift",
		Validity: latchkey.Validity{NotAfter: time.Now().Add(30 * time.Hour)}})
	p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Nightly export", Disabled: true})
	old := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Legacy mobile app 2.1"})
	require.NoError(p.t, p.acme.Revoke(ctx, old.ID, "leaked in a crash report"))
	trial := p.issue(latchkey.KindAPIKey, latchkey.Settings{Name: "Trial of last spring"})
	_, err := p.acme.Update(ctx, trial.ID, func(t *latchkey.Token) error {
		t.Validity.NotAfter = time.Now().Add(-time.Hour)
		return nil
	})
	require.NoError(p.t, err)
	p.issue(latchkey.KindPublishable, latchkey.Settings{})

	var rows []latchkey.UsageRow
	var last []latchkey.LastUsed
	for i, token := range []latchkey.Token{site, desk, soon, old} {
		for day := range 30 {
			n := int64((day*37+i*11)%23*(60-i*14)) + int64(day*day)
			at := time.Now().UTC().AddDate(0, 0, -29+day)
			for j, endpoint := range []string{"GET /data/CORE/QUOTE", "GET /data/ACME/CARS", "POST /record/ACME/PARTS"} {
				if n > 0 && (token.ID != old.ID || day < 22) {
					rows = append(rows, latchkey.UsageRow{Owner: "acme", TokenID: token.ID, ClientID: []string{"", "42", "7"}[j],
						Meter: "core", Endpoint: endpoint, Day: at.Format(time.DateOnly), Count: n / int64(j+1),
						Credits: latchkey.Credits(n / int64(j+1) * 500_000)})
				}
			}
		}
		last = append(last, latchkey.LastUsed{Owner: "acme", TokenID: token.ID,
			At: time.Now().Add(-time.Duration(i*i*9+1) * time.Hour)})
	}
	require.NoError(p.t, p.store.AddUsage(ctx,
		latchkey.UsageBatch{ID: [16]byte(sha256.New().Sum(nil)[:16]), At: time.Now(), Rows: rows, Last: last}))
	return site, editor
}

// tab is one page of the browser, and what the browser complained of on it.
type tab struct {
	t   *testing.T
	ctx context.Context
	mu  sync.Mutex
	bad []string
	// asked counts the questions whether to leave what was typed; stay answers them with no.
	asked int
	stay  bool
}

func newTab(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 30*time.Minute)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		text := ""
		switch e := event.(type) {
		case *log.EventEntryAdded:
			if strings.HasPrefix(e.Entry.Text, "Autofocus processing was blocked") {
				return // a hint: the test itself had put the focus somewhere already
			}
			if strings.HasPrefix(e.Entry.Text, "Blocked attempt to show a 'beforeunload'") {
				return // a hint: the test typed by script, and no person is there to be asked
			}
			text = e.Entry.Text + " " + e.Entry.URL
		case *runtime.EventExceptionThrown:
			text = fmt.Sprint(e.ExceptionDetails)
		case *runtime.EventConsoleAPICalled:
			text = "console." + fmt.Sprint(e.Type)
		case *page.EventJavascriptDialogOpening:
			if e.Type == page.DialogTypeBeforeunload { // the question whether to leave what was typed
				p.mu.Lock()
				p.asked++
				stay := p.stay
				p.mu.Unlock()
				go func() { // not here: the browser's next event waits for this function
					_, _ = chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: !stay})
				}()
				return
			}
			text = "a dialog: " + e.Message
		default:
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.bad = append(p.bad, text)
	}))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	return p
}

// complaints are those since the last call.
func (p *tab) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.bad
	p.bad = nil
	return out
}

func (p *tab) do(what ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 3*time.Minute)
	defer cancel()
	require.NoError(p.t, chromedp.Do(ctx, what...))
}

func (p *tab) open(address string) {
	p.t.Helper()
	p.do(chromedp.Navigate(address), chromedp.WaitReady(chromedp.CSS("main")))
}

// press clicks what leads to another page, and waits for all of that.
func (p *tab) press(selector string) {
	p.t.Helper()
	marked(p, "old")
	p.do(chromedp.Click(chromedp.CSS(selector)), chromedp.WaitReady(chromedp.CSS("html:not([data-old]) main")))
	p.replaced() // on a busy machine the rest of the page comes later than its beginning
}

func (p *tab) address() string { return evaluate[string](p, "location.href") }

// send presses the button of the page's form, without the mouse: it is much faster.
func (p *tab) send() {
	p.t.Helper()
	marked(p, "old")
	evaluate[bool](p, `document.querySelector(".wideaction button").click(), true`)
	p.replaced()
}

// replaced waits until the page that was marked as old has made way for another, and all of that is there.
func (p *tab) replaced() {
	p.t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		// While one page makes way for the next, asking fails.
		there, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](
			`document.readyState == "complete" && !!document.querySelector("main") && !document.documentElement.dataset.old`))
		if err == nil && there {
			return
		}
	}
	p.t.Fatal("no page came")
}

func marked(p *tab, name string) {
	p.t.Helper()
	evaluate[bool](p, "document.documentElement.dataset."+name+" = '1', true")
}

func (p *tab) fill(selector, text string) {
	p.t.Helper()
	quoted, err := json.Marshal(selector)
	require.NoError(p.t, err)
	evaluate[bool](p, "document.querySelector("+string(quoted)+").select(), true")
	p.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (p *tab) text(selector string) string {
	p.t.Helper()
	quoted, err := json.Marshal(selector)
	require.NoError(p.t, err)
	return evaluate[string](p, "(document.querySelector("+string(quoted)+") || {textContent: ''}).textContent")
}

func (p *tab) look(theme string, width, height int64) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
	require.NoError(p.t, err)
	p.do(chromedp.EmulateViewport(width, height))
}

func (p *tab) scripts(on bool) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: !on})
	require.NoError(p.t, err)
}

func evaluate[T any](p *tab, script string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 3*time.Minute)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err)
	return got
}

// must returns v. It panics if there is an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
