package proxies

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// TestCarriers: keys come through each proxy wherever the Adapter reads them, and so does what browsers say of the page
// that made a request. A refusal names every carrier.
func TestCarriers(t *testing.T) {
	onProxies(t, func(t *testing.T, p *proxy) {
		require.NoError(t, p.auth.Close())
		p.carriers = httpadapter.Carriers{Bearer: true, Basic: httpadapter.BasicUser, Headers: []string{"X-API-Key"},
			Cookie: "__Host-key"}
		p.startAuth()
		_, key := p.issue(latchkey.Settings{Permissions: latchkey.Permissions{
			latchkey.Allow(latchkey.Read, latchkey.Create, latchkey.Delete).On("dataset/*")}})
		cookie := []string{"Cookie", "a=b; __Host-key=" + key}
		basic := []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"))}
		header := []string{"X-Api-Key", key}
		of := func(site, mode, dest string) []string {
			return []string{"Sec-Fetch-Site", site, "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest", dest}
		}
		c := p.client(t, false)
		for _, a := range []struct {
			why, method string
			want        int
			headers     [][]string
		}{
			{"a program", "GET", 200, [][]string{header}},
			{"a program", "GET", 200, [][]string{basic}},
			{"a program", "DELETE", 200, [][]string{cookie}},
			{"a page of the site", "DELETE", 200, [][]string{cookie, of("same-origin", "cors", "empty")}},
			{"an image on another site", "GET", 403, [][]string{cookie, of("cross-site", "no-cors", "image")}},
			{"an image on another site", "GET", 403, [][]string{basic, of("cross-site", "no-cors", "image")}},
			{"a form on another site", "POST", 403, [][]string{cookie, {"Origin", "https://evil.example"},
				of("cross-site", "navigate", "document")}},
			{"a form, in a browser that tells less", "POST", 403, [][]string{cookie, {"Origin", "https://evil.example"}}},
			{"a link on another site", "GET", 200, [][]string{cookie, of("cross-site", "navigate", "document")}},
			{"a link changes nothing", "DELETE", 403, [][]string{cookie, of("cross-site", "navigate", "document")}},
			{"a header that a page of another site sets", "DELETE", 200, [][]string{header, of("cross-site", "cors", "empty")}},
			{"two credentials", "GET", 400, [][]string{header, basic}},
			{"a cookie beside a header", "GET", 200, [][]string{header, cookie}},
		} {
			var headers []string
			for _, h := range a.headers {
				headers = append(headers, h...)
			}
			out, reached := c.do(a.method, "/data/orders", "", headers...)
			require.Equal(t, a.want, out.status, "%s: %s", a.why, out.body)
			require.Equal(t, a.want == 200, len(reached) == 1, a.why)
		}
		out := c.refused(t, "no key", "GET", "/data/orders", "", 401)
		all := strings.Join(out.header["Www-Authenticate"], ", ")
		for _, challenge := range []string{"Bearer realm", "Basic realm", `name="X-API-Key"`, `name="__Host-key"`} {
			require.Contains(t, all, challenge)
		}
	})
}
