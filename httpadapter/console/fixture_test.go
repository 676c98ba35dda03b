package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/memstore"
)

// fixture is a console under a prefix, and the person who is signed in.
type fixture struct {
	t     *testing.T
	now   time.Time
	keys  *latchkey.Manager
	acme  latchkey.Account
	who   latchkey.Access
	owner latchkey.Account // whose console it is
	mux   *http.ServeMux
	log   bytes.Buffer
	errs  []error
	reads counting
}

// counting counts the listings a page costs.
type counting struct {
	latchkey.Store
	tokens, usage, counts, owners, others, once int
	before                                      func() // called before each Write
}

func (c *counting) Once(ctx context.Context, owner string, key [32]byte, until time.Time) error {
	c.once++
	return c.Store.Once(ctx, owner, key, until)
}

func (c *counting) Write(ctx context.Context, w latchkey.Write) error {
	if c.before != nil {
		c.before()
	}
	return c.Store.Write(ctx, w)
}

func (c *counting) Load(ctx context.Context, owner, id string) (latchkey.Found, error) {
	c.others++
	return c.Store.Load(ctx, owner, id)
}

func (c *counting) Secrets(ctx context.Context, owner, id string) ([]latchkey.SecretRecord, error) {
	c.others++
	return c.Store.Secrets(ctx, owner, id)
}

func (c *counting) Role(ctx context.Context, owner, id string) (latchkey.Role, error) {
	c.others++
	return c.Store.Role(ctx, owner, id)
}

func (c *counting) Roles(ctx context.Context, owner string, q latchkey.RoleQuery) ([]latchkey.Role, error) {
	c.others++
	return c.Store.Roles(ctx, owner, q)
}

func (c *counting) Owner(ctx context.Context, owner string) (latchkey.Owner, error) {
	c.owners++
	return c.Store.Owner(ctx, owner)
}

func (c *counting) Tokens(ctx context.Context, owner string, q latchkey.TokenQuery) ([]latchkey.Token, error) {
	c.tokens++
	return c.Store.Tokens(ctx, owner, q)
}

func (c *counting) Count(ctx context.Context, owner string, q latchkey.TokenQuery, limit int) (int, error) {
	c.counts++
	return c.Store.Count(ctx, owner, q, limit)
}

func (c *counting) Events(ctx context.Context, owner string, q latchkey.EventQuery) ([]latchkey.Event, string, error) {
	c.others++
	return c.Store.Events(ctx, owner, q)
}

func (c *counting) Clients(ctx context.Context, owner string, p latchkey.Page) ([]latchkey.Client, error) {
	c.others++
	return c.Store.Clients(ctx, owner, p)
}

func (c *counting) Balances(ctx context.Context, owner string, a []latchkey.CreditAccount) ([]latchkey.Credits, error) {
	c.others++
	return c.Store.Balances(ctx, owner, a)
}

func (c *counting) Usage(ctx context.Context, owner string, q latchkey.UsageQuery) ([]latchkey.UsageRow, error) {
	c.usage++
	return c.Store.Usage(ctx, owner, q)
}

var everything = latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*"),
	latchkey.Allow(latchkey.Any).On("latchkey/*")}

func newFixture(t *testing.T, opts *Options) *fixture {
	w := &fixture{t: t, now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), mux: http.NewServeMux()}
	clock := func() time.Time { return w.now }
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	w.reads.Store = memstore.New(&memstore.Options{Clock: clock})
	w.keys = latchkey.New(&w.reads, &latchkey.Options{Clock: clock, Keyring: ring})
	t.Cleanup(func() { _ = w.keys.Close(t.Context()) })
	w.acme = w.keys.For("acme")
	w.owner, w.who = w.acme, must(w.acme.Assume(latchkey.Client{ID: "ada", Name: "Ada"}, everything))
	if opts == nil {
		opts = &Options{Catalogue: Apperate(), CreditMeter: "core"}
	}
	opts.Clock = clock
	opts.OnError = func(_ *http.Request, err error) { w.errs = append(w.errs, err) }
	opts.Logger = slog.New(slog.NewTextHandler(&w.log, nil))
	Mount(w.mux, "/any/where", func(*http.Request) (latchkey.Account, latchkey.Access, error) {
		if w.who == (latchkey.Access{}) {
			return latchkey.Account{}, latchkey.Access{}, latchkey.ErrInvalidToken
		}
		return w.owner, w.who, nil
	}, opts)
	return w
}

func (w *fixture) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, "http://console.test/any/where/"+path, strings.NewReader(body))
	if method == http.MethodPost && header == nil {
		header = []string{"Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded"}
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	require.Contains(w.t, rec.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
	require.NotContains(w.t, rec.Header().Get("Content-Security-Policy"), "unsafe")
	for name, value := range map[string]string{"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
		require.Equal(w.t, value, rec.Header().Get(name), path)
	}
	require.Contains(w.t, []string{"same-origin", "no-referrer"}, rec.Header().Get("Referrer-Policy"), path)
	if !strings.HasPrefix(path, "static/") || rec.Code != http.StatusOK {
		require.Equal(w.t, "no-store", rec.Header().Get("Cache-Control"), path)
	}
	if strings.HasPrefix(rec.Header().Get("Content-Type"), "text/csv") { // a file, not a page
		return rec
	}
	require.Less(w.t, rec.Body.Len()+len(staticFiles[styleName])+len(staticFiles[scriptName])+len(staticFiles[iconName]),
		60_000, path)
	return rec
}

func (w *fixture) get(path string) string {
	w.t.Helper()
	rec := w.do("GET", path, "")
	require.Equal(w.t, http.StatusOK, rec.Code, "%s: %s", path, rec.Body)
	return rec.Body.String()
}

func (w *fixture) post(path string, form url.Values) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do("POST", path, form.Encode())
}

// form returns what a browser would send for the unchanged form of a page with this action.
func (w *fixture) form(page string) url.Values {
	w.t.Helper()
	return formOf(w.get(page))
}

var (
	inputs    = regexp.MustCompile(`<input ([^>]*)>`)
	areas     = regexp.MustCompile(`<textarea ([^>]*)>([^<]*)</textarea>`)
	selects   = regexp.MustCompile(`(?s)<select (?:id="[^"]*" )?name="([^"]*)"[^>]*>(.*?)</select>`)
	selected  = regexp.MustCompile(`<option value="([^"]*)"[^>]* selected[^>]*>`)
	attribute = func(name, in string) string {
		m := regexp.MustCompile(`(?:^|\s)` + name + `="([^"]*)"`).FindStringSubmatch(in)
		if m == nil {
			return ""
		}
		return unhtml.Replace(m[1])
	}
	unhtml unescaper
)

// textOf returns a page, or a part of one, without its elements.
func textOf(page string) string {
	return unhtml.Replace(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, ""))
}

// unescaper reads HTML's character references.
type unescaper struct{}

func (unescaper) Replace(s string) string { return html.UnescapeString(s) }

func formOf(page string) url.Values {
	form := url.Values{}
	for _, m := range inputs.FindAllStringSubmatch(page, -1) {
		name, kind := attribute("name", m[1]), attribute("type", m[1])
		if name == "" || (kind == "checkbox" || kind == "radio") && !strings.Contains(m[1], " checked") {
			continue
		}
		form.Add(name, attribute("value", m[1]))
	}
	for _, m := range areas.FindAllStringSubmatch(page, -1) {
		form.Add(attribute("name", m[1]), unhtml.Replace(m[2]))
	}
	for _, m := range selects.FindAllStringSubmatch(page, -1) {
		s := selected.FindStringSubmatch(m[2])
		if s == nil {
			s = regexp.MustCompile(`<option value="([^"]*)"`).FindStringSubmatch(m[2])
		}
		form.Add(m[1], unhtml.Replace(s[1]))
	}
	return form
}

func (w *fixture) issue(spec latchkey.Spec) latchkey.Token {
	w.t.Helper()
	name := spec.Name
	spec.Name = w.newName(name)
	t, _, err := w.acme.Issue(w.t.Context(), spec)
	require.NoError(w.t, err)
	return w.renamed(t, name, t.Client.Name)
}

// newName returns a name, or another one in its place if new ones must not be so. Stored ones may.
func (w *fixture) newName(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r > '~' || r < ' ' }) || strings.TrimSpace(name) != name {
		return fmt.Sprintf("%x", name)
	}
	return name
}

// renamed gives a stored token names that were valid once.
func (w *fixture) renamed(t latchkey.Token, name, client string) latchkey.Token {
	w.t.Helper()
	if t.Name == name && t.Client.Name == client {
		return t
	}
	write := latchkey.Write{}
	if t.Client.ID != "" {
		t.Client.Name = client
		write.Clients = []latchkey.Client{t.Client}
	}
	t.Name = name
	write.Tokens = []latchkey.Token{t}
	w.put(write)
	t.Version++
	return t
}

// put writes to the store, past all checks of new records.
func (w *fixture) put(write latchkey.Write) {
	w.t.Helper()
	write.Owner = "acme"
	_, err := rand.Read(write.ID[:])
	require.NoError(w.t, err)
	require.NoError(w.t, w.reads.Store.Write(w.t.Context(), write))
}

func (w *fixture) token(id string) latchkey.Token {
	w.t.Helper()
	t, err := w.acme.Get(w.t.Context(), id)
	require.NoError(w.t, err)
	return t
}

func (w *fixture) count() (n int) {
	for _, err := range w.acme.Tokens(w.t.Context(), latchkey.TokenQuery{}) {
		require.NoError(w.t, err)
		n++
	}
	return n
}

// mint issues an API key with these settings, and mints a token from it.
func (w *fixture) mint(s latchkey.Settings,
	n latchkey.Narrowing) (parent, child latchkey.Token, secret latchkey.Secret) {
	w.t.Helper()
	ctx := w.t.Context()
	name, childName, client := s.Name, n.Name, n.Client.Name
	s.Name, n.Name, n.Client.Name = w.newName(name), w.newName(childName), w.newName(client)
	parent, text, err := w.acme.Issue(ctx, s.Spec(latchkey.KindAPIKey))
	require.NoError(w.t, err)
	access, err := w.keys.Verify(ctx, latchkey.Presented{Secret: text.Reveal(), Referer: "https://example.com/"})
	require.NoError(w.t, err)
	child, secret, err = access.Mint(ctx, n)
	require.NoError(w.t, err)
	return w.renamed(parent, name, ""), w.renamed(child, childName, client), secret
}

func (w *fixture) role(r latchkey.Role) latchkey.Role {
	w.t.Helper()
	name := r.Name
	r.Name = w.newName(name)
	r, err := w.acme.CreateRole(w.t.Context(), r)
	require.NoError(w.t, err)
	if r.Name != name {
		r.Name = name
		w.put(latchkey.Write{Roles: []latchkey.Role{r}})
		r.Version++
	}
	return r
}

// another returns the same console as another process would serve it.
func (w *fixture) another() *fixture {
	other := *w
	other.mux = http.NewServeMux()
	Mount(other.mux, "/any/where", func(*http.Request) (latchkey.Account, latchkey.Access, error) {
		return w.owner,
			w.who, nil
	},
		&Options{Catalogue: Apperate(), CreditMeter: "core", Clock: func() time.Time { return w.now }})
	return &other
}

// stock writes n tokens into the store, created over a year. The id, name and age of token i follow from i.
func (w *fixture) stock(n int) {
	w.t.Helper()
	began := w.now.AddDate(-1, 0, 0)
	for from := 0; from < n; {
		write := latchkey.Write{Owner: "acme", At: w.now, Silent: true}
		binary.BigEndian.PutUint64(write.ID[:], uint64(from+1))
		for ; len(write.Tokens) < 1000 && from < n; from++ {
			made := began.Add(time.Duration(from) * 40 * time.Minute)
			id := fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", made.UnixMilli()>>16, made.UnixMilli()&0xffff, from&0xfff, from)
			write.Tokens = append(write.Tokens,
				latchkey.Token{ID: id, Owner: "acme", Kind: latchkey.KindPublishable, Created: made,
					Public: "pk_" + strings.Repeat("A1b2C3d4", 4) + fmt.Sprintf("%05d", from),
					Settings: latchkey.Settings{Name: fmt.Sprintf("Storefront of the customer number %05d", from),
						Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("core/*")}}})
		}
		err := w.reads.Write(w.t.Context(), write)
		require.NoError(w.t, err)
	}
}

// calls returns the store calls of a page, without the one that reads the rights of the person.
func (c *counting) calls() []int { return []int{c.tokens, c.usage, c.counts, c.others} }

func (w *fixture) counted(path string) (page string, calls []int) {
	w.t.Helper()
	w.reads.tokens, w.reads.usage, w.reads.counts, w.reads.owners, w.reads.others = 0, 0, 0, 0, 0
	rec := w.do("GET", path, "") // do checks the size
	require.Equal(w.t, 1, w.reads.owners, path)
	if rec.Code == http.StatusSeeOther {
		return rec.Header().Get("Location"), w.reads.calls()
	}
	require.Equal(w.t, http.StatusOK, rec.Code, "%s: %s", path, rec.Body)
	return rec.Body.String(), w.reads.calls()
}

// must returns v. It panics if there is an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// monthly is quotas of n credits of each meter in a calendar month.
func monthly(n latchkey.Credits) []latchkey.Quota {
	return []latchkey.Quota{{Amount: n, Per: latchkey.Month}}
}

// formOfField returns the value of the field with an id.
func formOfField(page, id string) string {
	_, rest, _ := strings.Cut(page, `id="`+id+`" value="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
