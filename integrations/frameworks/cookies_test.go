package frameworks

import (
	"net/http"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/latchkeytest"
)

// Cookie and other headers reach the Adapter as they were sent: what it refuses under net/http, because two readers
// could differ, it refuses under every framework.
func TestCredentialsAsTheyWereSent(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	auth := httpadapter.New(kit.Manager, &httpadapter.Options{
		Carriers: httpadapter.Carriers{Bearer: true, Headers: []string{"X-API-Key"}, Cookie: "key"},
		CORS:     &httpadapter.CORS{Origins: []string{"https://app.example.com"}}})
	_, key := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey,
		Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("dataset/orders")},
		Limits:      latchkey.Limits{Quotas: []latchkey.Quota{{Meter: "api", Per: latchkey.Day, Amount: 1000}}}})
	for name, start := range sites {
		t.Run(name, func(t *testing.T) {
			addr := start(t, site{auth.CrossOrigin, auth.Require(latchkey.Read, "dataset/orders"), auth.Spend("api", 1)})
			for _, c := range []struct {
				status  int
				headers []string
			}{
				{204, []string{"Cookie", "key=" + key}},
				{204, []string{"Cookie", "a=b; key=" + key + "; c=d"}},
				{204, []string{"Cookie", "a=b", "Cookie", "key=" + key}},
				{204, []string{"X-API-Key", key, "Cookie", "key=" + key}},
				{400, []string{"Cookie", "key=" + key + "; key=" + key}},
				{400, []string{"Cookie", "key=" + key, "Cookie", "key=other"}},
				{400, []string{"Cookie", `key="` + key + `"`}},
				{400, []string{"Cookie", "key= " + key}},
				{400, []string{"Cookie", "key=" + key + "; a=b,key=other"}},
				{400, []string{"Cookie", `a="; key=` + key + `; b="`}},
				{400, []string{"Cookie", "key=" + key + "%41"}},
				{401, []string{"Cookie", "Key=" + key}},
				{401, []string{"Cookie", "key="}},
				{400, []string{"X-API-Key", key, "X-API-Key", key}},
				{400, []string{"X-API-Key", key, "X_API_Key", key}},
				{400, []string{"Authorization", "Bearer " + key, "Authorization", "Bearer " + key}},
				{400, []string{"X-API-Key", key, "Authorization", "Basic a2V5Og=="}},
				{403, []string{"Cookie", "key=" + key, "Sec-Fetch-Site", "cross-site"}},
				{403, []string{"Cookie", "key=" + key, "Origin", "https://evil.example"}},
				{400, []string{"Cookie", "key=" + key, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}},
				{400, []string{"Cookie", "key=" + key, "Connection", "close, Cookie"}},
			} {
				code, body, _ := send(t, addr, http.MethodGet, "/data", c.headers...)
				require.Equal(t, c.status, code, "%q: %s", c.headers, body)
			}
		})
	}
}

// A cookie that the program decrypted before the guard is the one that counts.
func TestFiberCookiesOfTheProgram(t *testing.T) {
	kit := latchkeytest.New(t, nil)
	auth := httpadapter.New(kit.Manager, &httpadapter.Options{Carriers: httpadapter.Carriers{Cookie: "key"}})
	_, key := kit.Secret("acme", latchkey.Spec{Kind: latchkey.KindAPIKey})
	app := fiber.New()
	app.Use(func(c fiber.Ctx) error {
		c.Request().Header.SetCookie("key", key)
		return c.Next()
	})
	app.Get("/", Fiber(auth.Authenticate), func(c fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
	code, body, _ := send(t, listenFiber(t, app), http.MethodGet, "/", "Cookie", `a="b"; key=encrypted`)
	require.Equal(t, 204, code, body)
}
