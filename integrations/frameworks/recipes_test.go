package frameworks_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter/console"
	"github.com/latchkey-go/latchkey/memstore"
)

// The recipes are what docs/routers.md shows. Each is run here as a server.

var orderFields = latchkey.NewSchema(latchkey.Fields{"region": {Column: "o.region", Type: latchkey.Text}})

var allOrders = []latchkey.Row{{"id": "1", "region": "EU"}, {"id": "2", "region": "US"}}

// ordersIn returns the orders that a caller may read. With a database, p.SQL is part of the query.
func ordersIn(rows latchkey.Condition) ([]latchkey.Row, error) {
	p, err := orderFields.Bind(rows)
	if err != nil {
		return nil, err
	}
	var found []latchkey.Row
	for _, order := range allOrders {
		if p.Match(order) {
			found = append(found, order)
		}
	}
	return found, nil
}

type recipe struct {
	name  string
	start func(t *testing.T, keys *latchkey.Manager, signedIn console.SignedIn) (url string)
}

func served(make func(*latchkey.Manager, console.SignedIn) http.Handler) func(*testing.T, *latchkey.Manager,
	console.SignedIn) string {
	return func(t *testing.T, keys *latchkey.Manager, signedIn console.SignedIn) string {
		server := httptest.NewServer(make(keys, signedIn))
		t.Cleanup(server.Close)
		return server.URL
	}
}

var recipes = []recipe{
	{"ServeMux", served(serveMuxRecipe)},
	{"chi", served(chiRecipe)},
	{"gorilla/mux", served(gorillaRecipe)},
	{"httprouter", served(httprouterRecipe)},
	{"gin", served(ginRecipe)},
	{"echo v4", served(echo4Recipe)},
	{"echo v5", served(echo5Recipe)},
	{"fiber v3", func(t *testing.T, keys *latchkey.Manager, signedIn console.SignedIn) string {
		app := fiberRecipe(keys, signedIn)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		done, ready := make(chan error, 1), make(chan struct{})
		app.Hooks().OnListen(func(fiber.ListenData) error { close(ready); return nil })
		go func() { done <- app.Listener(ln, fiber.ListenConfig{DisableStartupMessage: true}) }()
		t.Cleanup(func() {
			require.NoError(t, app.Shutdown())
			_ = ln.Close() // if it was too early for Shutdown
			<-done
		})
		<-ready
		return "http://" + ln.Addr().String()
	}},
	{"huma", served(humaRecipe)},
}

func issue(t *testing.T, acme latchkey.Account, spec latchkey.Spec) string {
	_, secret, err := acme.Issue(context.Background(), spec)
	require.NoError(t, err)
	return secret.Reveal()
}

// ask sends a request and returns its answer. Redirects are not followed.
func ask(t *testing.T, method, url, key, body string) (*http.Response, string) {
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(r)
	require.NoError(t, err)
	text, err := io.ReadAll(reply.Body)
	require.NoError(t, err)
	require.NoError(t, reply.Body.Close())
	return reply, string(text)
}

// Each recipe guards a route, tells its handler who calls, serves rows, takes credits, and mounts two surfaces.
func TestRecipes(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for _, recipe := range recipes {
		t.Run(recipe.name, func(t *testing.T) {
			keys := latchkey.New(memstore.New(nil), nil)
			acme := keys.For("acme")
			everything := latchkey.Permissions{latchkey.Allow(latchkey.Any).On("*", "latchkey/*")}
			ada, err := acme.Assume(latchkey.Client{ID: "ada"}, everything)
			require.NoError(t, err)
			url := recipe.start(t, keys, func(r *http.Request) (latchkey.Account, latchkey.Access, error) {
				if r.Header.Get("Authorization") == "" { // in place of the program's own session
					return latchkey.Account{}, latchkey.Access{}, latchkey.ErrInvalidToken
				}
				return acme, ada, nil
			})
			key := issue(t, acme, latchkey.Spec{Kind: latchkey.KindAPIKey,
				Permissions: latchkey.Permissions{
					latchkey.Allow(latchkey.Read).On("dataset/*"),
					latchkey.Deny(latchkey.Any).On("dataset/payroll", "dataset/orders"),
					latchkey.Allow(latchkey.Read).On("dataset/orders").Where(latchkey.Where("region", latchkey.Eq, "EU")),
					latchkey.Allow(latchkey.Create).On("report"),
				},
				Limits: latchkey.Limits{Quotas: []latchkey.Quota{
					{Meter: "reports", Amount: 1, Per: latchkey.Forever}}}})
			poor := issue(t, acme, latchkey.Spec{Kind: latchkey.KindAPIKey})
			session := issue(t, acme, latchkey.Spec{Kind: latchkey.KindSession, Permissions: everything,
				Validity: latchkey.Validity{NotAfter: time.Now().Add(time.Hour)}})

			for _, step := range []struct {
				method, path, key string
				status            int
				contains          string
			}{
				{"GET", "/data/sales", key, 200, `"sales"`},
				{"GET", "/data/sales", key, 200, `"acme"`},
				{"GET", "/data/payroll", key, 403, "problem/denied"},
				{"GET", "/data/sales", poor, 403, "problem/denied"},
				{"GET", "/data/sales", "", 401, "problem/no-credential"},
				{"GET", "/data/a%2Fb", key, 0, ""}, // one segment or none, but never more than was asked
				{"GET", "/orders", key, 200, `"EU"`},
				{"GET", "/orders", poor, 403, "problem/denied"},
				{"GET", "/orders", "", 401, "problem/no-credential"},
				{"POST", "/reports", poor, 403, "problem/denied"},
				{"POST", "/reports", "", 401, "problem/no-credential"},
				{"POST", "/reports", key, 202, ""},
				{"POST", "/reports", key, 402, "problem/over-limit"},
				{"GET", "/console/", "x", 200, "<html"},
				{"GET", "/console/", "", 401, "<html"},
				{"GET", "/api?cmd=access.get_all&version=1.0&auth_token=" + session, "", 200, "SUCCESS"},
				{"GET", "/api?cmd=access.get_all&version=1.0&auth_token=x", "", 200, "Access denied"},
			} {
				reply, body := ask(t, step.method, url+step.path, step.key, "")
				if step.status != 0 {
					require.Equal(t, step.status, reply.StatusCode, "%s %s: %s", step.method, step.path, body)
				}
				require.Contains(t, body, step.contains, step.path)
				require.NotContains(t, body, `"US"`, "a row that the caller may not read")
				if strings.HasPrefix(step.contains, "problem/") {
					require.Equal(t, "application/problem+json", reply.Header.Get("Content-Type"), step.path)
				}
				if step.status == 401 && step.contains != "<html" {
					require.Equal(t, `Bearer realm="latchkey"`, reply.Header.Get("WWW-Authenticate"), step.path)
				}
				if strings.HasPrefix(step.path, "/reports") && step.key == key {
					require.Contains(t, reply.Header.Get("RateLimit"), `"reports-forever"`)
				}
			}
			reply, _ := ask(t, "GET", url+"/console", "x", "")
			require.Contains(t, []int{301, 307}, reply.StatusCode, "/console")
		})
	}
}
