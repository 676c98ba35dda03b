package surfacetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/httpadapter/apperate"
	"github.com/latchkey-go/latchkey/httpadapter/authzen"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
	"github.com/latchkey-go/latchkey/httpadapter/webforce"
	"github.com/latchkey-go/latchkey/memstore"
)

// tenants are hosts: a.example is the owner a, b.example the owner b, and no other is one.
func tenants(r *http.Request) (string, error) {
	switch r.Host {
	case "a.example", "b.example":
		return r.Host[:1], nil
	case "empty.example":
		return "", nil
	case "malformed.example":
		return "a\x00b", nil
	case "long.example":
		return strings.Repeat("a", 257), nil
	case "broken.example":
		return "", errors.New("no directory")
	case "lost.example": // the host's own "not found" is no answer to the caller
		return "a", fmt.Errorf("%w: %w", latchkey.ErrNotFound, latchkey.ErrDenied)
	case "away.example":
		return "a", fmt.Errorf("%w: no directory: %w", latchkey.ErrUnavailable, httpadapter.ErrNoTenant)
	}
	return "a", fmt.Errorf("host %q: %w", r.Host, httpadapter.ErrNoTenant)
}

// seen is a handler that asks for its rows first.
func seen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpadapter.RowsNotNeeded(r.Context())
		next.ServeHTTP(w, r)
	})
}

// asking makes each request one that asks authzen something.
func asking(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Method = http.MethodPost
		setBody(r, "application/json", `{"subject":{"type":"client","id":"7"},"action":{"name":"read"},
			"resource":{"type":"data","id":"x"}}`)
		next.ServeHTTP(w, r)
	})
}

// tenantSurfaces returns the surfaces of hosts with many tenants.
func tenantSurfaces(keys *latchkey.Manager, log *slog.Logger) []surface {
	native := httpadapter.New(keys, &httpadapter.Options{OwnerOf: tenants, Logger: log})
	account := httpadapter.AccountOf(keys, tenants)
	none := latchkey.Account{}
	return []surface{
		{"Authenticate", native.Authenticate(ok), []string{"/x"}, []carrier{bearer}},
		{"Require", native.Require(latchkey.Read, "data/x")(ok), []string{"/x"}, []carrier{bearer}},
		{"Require behind Authenticate", native.Authenticate(native.Require(latchkey.Read, "data/x")(ok)), []string{"/x"},
			[]carrier{bearer}},
		{"RequireRows", native.RequireRows(latchkey.Read, "data/x")(seen(ok)), []string{"/x"}, []carrier{bearer}},
		{"Identify", native.Identify(ok), []string{"/x"}, []carrier{bearer}},
		{"api", api.Handler(native, nil), []string{"/me"}, []carrier{bearer}},
		{"apperate", apperate.Handler(none, &apperate.Options{Account: account, Logger: log}, ok),
			[]string{"/v1/account/metadata"}, []carrier{inQuery("token")}},
		{"cloudtables", cloudtables.Handler(none, &cloudtables.Options{Account: account, Logger: log}),
			[]string{"/api/1/access"}, []carrier{inForm("key")}},
		{"datocms", datocms.Handler(none, &datocms.Options{Account: account, Logger: log, AnyVersion: true}),
			[]string{"/access_tokens"}, []carrier{bearer}},
		{"datocms.Delivery", datocms.Delivery(none, &datocms.Options{Account: account, Logger: log, AnyVersion: true})(ok),
			[]string{"/"},
			[]carrier{bearer}},
		{"webforce", webforce.Handler(none, &webforce.Options{Account: account, Logger: log}),
			[]string{"/api?cmd=access.api.list"}, []carrier{func(r *http.Request, token string) {
				r.URL.RawQuery = "cmd=access.api.list&auth_token=" + url.QueryEscape(token)
			}}},
		{"authzen", asking(authzen.Handler(native, &authzen.Options{URL: "https://pdp.example.com"})),
			[]string{"/access/v1/evaluation"}, []carrier{bearer}},
		{"console", console.Handler(func(r *http.Request) (latchkey.Account, latchkey.Access, error) {
			secret, err := httpadapter.Carriers{Bearer: true}.Find(r)
			if err != nil {
				return none, latchkey.Access{}, err
			}
			at, err := account(r)
			if err != nil {
				return none, latchkey.Access{}, err
			}
			access, err := at.Verify(r.Context(), latchkey.Presented{Secret: secret})
			return at, access, err
		}, &console.Options{Logger: log}), []string{"/usage"}, []carrier{bearer}},
	}
}

// varies is what differs between two replies that say the same.
var varies = regexp.MustCompile(`(?i)(date|x-ratelimit-[a-z]+|x-request-id):[^\n]*\n|"id":"[0-9a-f]{6}"`)

func replyTo(s surface, host, token string) (*httptest.ResponseRecorder, string) {
	method := http.MethodGet
	if s.name == "cloudtables" {
		method = http.MethodPost
	}
	r := httptest.NewRequest(method, s.routes[0], nil)
	r.Host = host
	s.carry[0](r, token)
	out := httptest.NewRecorder()
	s.handler.ServeHTTP(out, r)
	var all bytes.Buffer
	fmt.Fprintln(&all, out.Code)
	_ = out.Header().Write(&all)
	all.WriteString(out.Body.String())
	return out, varies.ReplaceAllString(strings.ReplaceAll(all.String(), "\r", ""), "")
}

// A token of one tenant is an unknown token at another tenant's host, and at a host that is no tenant's. Nothing else
// is told before that. A failure to find out is never taken for an answer.
func TestTenantsByRequest(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	issue := func(owner string, spec latchkey.Spec) (string, string) {
		token, secret, err := keys.For(owner).Issue(t.Context(), spec)
		require.NoError(t, err)
		return token.ID, secret.Reveal()
	}
	_, mine := issue("a", latchkey.Spec{Kind: latchkey.KindSecret})
	_, theirs := issue("b", latchkey.Spec{Kind: latchkey.KindSecret})
	_, sandbox := issue("a", latchkey.Spec{Kind: latchkey.KindSecret, Test: true})
	id, revoked := issue("a", latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, keys.For("a").Revoke(t.Context(), id, ""))
	_, off := issue("a", latchkey.Spec{Kind: latchkey.KindSecret, Disabled: true})
	unknown := forged(t, 1)[0]
	var log bytes.Buffer
	for _, s := range tenantSurfaces(keys, slog.New(slog.NewTextHandler(&log, nil))) {
		t.Run(s.name, func(t *testing.T) {
			_, refused := replyTo(s, "b.example", unknown)
			for range 2 { // from the store, and from the cache
				good, text := replyTo(s, "a.example", mine)
				require.NotEqual(t, refused, text)
				if s.name != "cloudtables" { // the access call is for keys with roles; to be known is enough here
					require.Less(t, good.Code, 400, text)
				}
				_, text = replyTo(s, "b.example", theirs)
				require.NotEqual(t, refused, text)
			}
			for _, host := range []string{"b.example", "nobody.example"} {
				for name, token := range map[string]string{"live": mine, "test": sandbox, "revoked": revoked, "off": off,
					"unknown": unknown} {
					if s.name == "apperate" && name == "test" {
						continue // the text alone says that it is of the other mode
					}
					_, text := replyTo(s, host, token)
					assert.Equal(t, refused, text, "%s at %s", name, host)
				}
			}
			for _, host := range []string{"empty.example", "malformed.example", "long.example", "broken.example",
				"lost.example", "away.example"} {
				log.Reset()
				out, text := replyTo(s, host, mine)
				switch {
				case s.name == "webforce":
					assert.Contains(t, out.Body.String(), "FAILURE", host)
				case host == "away.example":
					assert.Equal(t, 503, out.Code, host)
				default:
					assert.Equal(t, 500, out.Code, host)
				}
				assert.NotEqual(t, refused, text, host)
				assert.Equal(t, 1, strings.Count(log.String(), "\n"), "one line of the log: %s", log.String())
				assert.NotContains(t, text, "directory")
			}
		})
	}
}

// What a host keeps of one tenant's session is nothing at another tenant's host, nor are the forms that it has sent.
func TestSessionsStayWithTheirTenant(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	everything := latchkey.Permissions{latchkey.Allow(latchkey.Any, latchkey.Give).On("*", "latchkey/*")}
	sessions := map[string]latchkey.Access{} // of all tenants, by cookie
	for _, owner := range []string{"a", "b"} {
		access, err := keys.For(owner).Assume(latchkey.Client{ID: "ada"}, everything)
		require.NoError(t, err)
		sessions["of-"+owner] = access
	}
	account := httpadapter.AccountOf(keys, tenants)
	pages := console.Handler(func(r *http.Request) (latchkey.Account, latchkey.Access, error) {
		at, err := account(r)
		if err != nil {
			return at, latchkey.Access{}, err
		}
		cookie, err := r.Cookie("session")
		if err != nil {
			return at, latchkey.Access{}, latchkey.ErrUnknownToken
		}
		return at, sessions[cookie.Value], nil
	}, nil)
	send := func(method, host, session, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Host = host
		r.AddCookie(&http.Cookie{Name: "session", Value: session})
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		out := httptest.NewRecorder()
		pages.ServeHTTP(out, r)
		return out
	}
	require.Equal(t, 200, send("GET", "a.example", "of-a", "/", "").Code)
	require.Equal(t, 401, send("GET", "b.example", "of-a", "/", "").Code)
	require.Equal(t, 401, send("GET", "nobody.example", "of-a", "/", "").Code)

	page := send("GET", "a.example", "of-a", "/new?kind=secret", "").Body.String()
	form := regexp.MustCompile(`name="form" value="([^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, form, page)
	body := "form=" + form[1] + "&kind=secret&name=robot"
	made := send("POST", "a.example", "of-a", "/new", body)
	secret := regexp.MustCompile(`sk_[0-9A-Za-z_]+`).FindString(made.Body.String())
	require.NotEmpty(t, secret, made.Body.String())
	require.Contains(t, send("POST", "a.example", "of-a", "/new", body).Body.String(), secret, "the same form again")

	require.Equal(t, 401, send("POST", "b.example", "of-a", "/new", body).Code)
	again := send("POST", "b.example", "of-b", "/new", body) // another tenant's person has got hold of the form
	require.NotContains(t, again.Body.String(), secret)
	for owner, want := range map[string]int{"a": 1, "b": 1} {
		n := 0
		for _, err := range keys.For(owner).Tokens(t.Context(), latchkey.TokenQuery{}) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, want, n, owner)
	}

	h := httpadapter.New(keys, &httpadapter.Options{OwnerOf: tenants})
	served := h.Require(latchkey.Read, "data/x")(ok)
	for host, want := range map[string]int{"a.example": 200, "b.example": 401, "nobody.example": 401} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		r = r.WithContext(httpadapter.WithAccess(r.Context(), sessions["of-a"]))
		out := httptest.NewRecorder()
		served.ServeHTTP(out, r)
		require.Equal(t, want, out.Code, host)
	}
	outer := h.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := r.Clone(r.Context())
		to.Host = "b.example"
		served.ServeHTTP(w, to)
	}))
	_, text, err := keys.For("a").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	r := httptest.NewRequest("GET", "/", io.NopCloser(strings.NewReader("")))
	r.Host = "a.example"
	bearer(r, text.Reveal())
	out := httptest.NewRecorder()
	outer.ServeHTTP(out, r)
	require.Equal(t, 401, out.Code, "one context for requests to two tenants")
}

func TestOwnerOrOwnerOf(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	require.PanicsWithValue(t, "httpadapter: Options has both Owner and OwnerOf: set one of them", func() {
		httpadapter.New(keys, &httpadapter.Options{Owner: "a", OwnerOf: tenants})
	})
	require.Panics(t, func() { httpadapter.AccountOf(nil, tenants) })
	require.Panics(t, func() { httpadapter.AccountOf(keys, nil) })
	require.ErrorIs(t, httpadapter.ErrNoTenant, latchkey.ErrUnknownToken)
}
