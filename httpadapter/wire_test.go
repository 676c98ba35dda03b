package httpadapter_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// What arrives byte for byte: each request is refused, or is the one that everybody reads.
func TestCarriersOnTheWire(t *testing.T) {
	w := newFixture(t)
	key := w.key()
	auth := httpadapter.New(w.keys, &httpadapter.Options{Carriers: everywhere})
	server := httptest.NewUnstartedServer(auth.Require(latchkey.Read, "dataset/orders")(whoami))
	server.Config.ErrorLog = nil
	server.Start()
	defer server.Close()
	for _, tt := range []struct {
		headers string // lines that end with LF here; KEY is the key
		want    int
	}{
		{"X-API-Key: KEY\n", 200},
		{"x-aPi-kEy: \t KEY \t\n", 200},
		{"X-API-Key:KEY\n", 200},
		{"X-API-Key : KEY\n", 400},
		{"X-API-Key\t: KEY\n", 400},
		{" X-API-Key: KEY\n", 400},
		{"X-API-Key: KEY\n KEY\n", 400}, // folded
		{"X-API-Key: KEY\n\tx\n", 400},
		{"X-API-Key: KEY\x00\n", 400},
		{"X-API-Key: KEY\x0b\n", 400},
		{"X-API-Key: KEY\rX-API-Key: KEY\n", 400},
		{"X-API-Key: \"KEY\"\n", 401},
		{"X-API-Key: Bearer KEY\n", 400},
		{"X-API-Key: KEY, KEY\n", 400},
		{"X-API-Key: KEY;\n", 401},
		{"X-API-Key: KEY\nX-API-Key: KEY\n", 400},
		{"X-API-Key: KEY\nX-API-Key:\n", 400},
		{"X-API-Key: KEY\nX_API_KEY: KEY\n", 400},
		{"X_API_KEY: KEY\n", 401},
		{"X.API.Key: KEY\n", 401},
		{"X-API-Key: KEY\nConnection: X-API-Key\n", 400},
		{"X-API-Key: KEY\nConnection: close\nConnection: keep-alive , x_api_key\n", 400},
		{"Authorization: Bearer KEY\nConnection: authorization\n", 400},
		{"Authorization: Bearer KEY\n", 200},
		{"Authorization: Bearer KEY\nAuthorization: Bearer KEY\n", 400},
		{"Authorization: Bearer KEY\nauthorization: Basic Og==\n", 400},
		{"Authorization: Bearer KEY, Basic Og==\n", 400},
		{"Authorization: Bearer\tKEY\n", 400},
		{"Authorization: Bearer\n KEY\n", 200}, // folded at the one space: every reader takes it for that
		{"Authorization: Bearer KEY\nX-API-Key: KEY\n", 400},
		{"Authorization: BASIC " + strings.TrimPrefix(basic("KEYKEY"), "Basic ") + "\n", 400},
		{"Cookie: key=KEY\n", 200},
		{"cookie: a=b;key=KEY;c\n", 200},
		{"Cookie: $Version=1; key=KEY; $Path=/\n", 200},
		{"Cookie: key=\"KEY\"\n", 400},
		{"Cookie: key=KEY\nCookie: key=KEY\n", 400},
		{"Cookie: a=\"x\nCookie: key=KEY\n", 400},
		{"Cookie: a=1, key=KEY\n", 401},
		{"Cookie: key=KEY\nSec-Fetch-Site: same-origin\nSec-Fetch-Site: cross-site\n", 400},
		{"Cookie: key=KEY\nSec-Fetch-Site: cross-site\n", 403},
		{"Cookie: key=KEY\nOrigin: null\n", 403},
		{"Cookie: key=KEY\nOrigin: http://shop.test\n", 200},
		{"Cookie: key=KEY\nOrigin: http://shop.test.evil.example\n", 403},
		{"Cookie: key=KEY\nX-API-Key: KEY\n", 200},
		{"Cookie: key=KEY\nX-API-Key: wrong\n", 401},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		lines := strings.ReplaceAll(strings.ReplaceAll(tt.headers, "\n", "\r\n"), "KEY", key)
		lines = strings.ReplaceAll(lines, "X_API_"+key, "X_API_KEY")
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop.test\r\n"+lines+"\r\n")
		require.NoError(t, err)
		out, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, tt.headers)
		require.Equal(t, tt.want, out.StatusCode, "%q", tt.headers)
		require.NoError(t, conn.Close())
	}
}
