package origins

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/memstore"
)

const nginxConf = `daemon off;
user root;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	proxy_cache_path %[1]s/cache keys_zone=cache:1m;
	server {
		listen unix:%[1]s/socket;
		proxy_cache cache;
		proxy_cache_valid 200 10m;
		add_header X-Cache $upstream_cache_status;
		location / { proxy_pass %[2]s; }
	}
}
`

// startNginx starts a cache before a server, and returns a client of the cache.
func startNginx(t *testing.T, server string) *http.Client {
	t.Helper()
	program, err := harness.Program("nginx", "/usr/sbin", "/usr/local/sbin")
	require.NoError(t, err, "`make install` brings it")
	folder, err := os.MkdirTemp("", "lk-nginx-") // the name of a socket is short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	file := filepath.Join(folder, "nginx.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, nginxConf, folder, server), 0o600))
	var said bytes.Buffer
	cmd := exec.Command(program, "-p", folder, "-c", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	dial := func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", filepath.Join(folder, "socket"))
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := dial(t.Context(), "", ""); err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-ended:
			require.FailNow(t, "nginx ended", said.String())
		default:
			require.True(t, time.Now().Before(deadline), "nginx does not listen")
		}
	}
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// A shared cache before the host keeps nothing for other callers, unless the handler says that it may.
func TestSharedCache(t *testing.T) {
	keys := latchkey.New(memstore.New(nil), nil)
	var texts, ids [2]string
	for i := range texts {
		token, secret, err := keys.For("acme").Issue(t.Context(), latchkey.Spec{Kind: latchkey.KindAPIKey,
			Permissions: latchkey.Permissions{latchkey.Allow(latchkey.Read).On("*")}})
		require.NoError(t, err)
		texts[i], ids[i] = secret.Reveal(), token.ID
	}
	auth := httpadapter.New(keys, &httpadapter.Options{
		Carriers: httpadapter.Carriers{Headers: []string{"X-API-Key"}, Cookie: "__Host-key"}})
	who := auth.Require(latchkey.Read, "dataset/orders")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/public" {
			w.Header().Set("Cache-Control", "public, max-age=600")
		}
		access, _ := httpadapter.AccessFrom(r.Context())
		fmt.Fprint(w, access.TokenID())
	}))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bare" {
			who.ServeHTTP(w, r)
			return
		}
		out := httptest.NewRecorder() // what the Adapter adds is left out
		who.ServeHTTP(out, r)
		w.WriteHeader(out.Code)
		_, _ = w.Write(out.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	get := func(client *http.Client, path, header, value string) (status int, body, cache string) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://shop.test"+path, nil)
		require.NoError(t, err)
		if header != "" {
			r.Header.Set(header, value)
		}
		out, err := client.Do(r)
		require.NoError(t, err)
		defer out.Body.Close()
		text, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		return out.StatusCode, string(text), out.Header.Get("X-Cache")
	}
	for header, before := range map[string]string{"X-API-Key": "", "Cookie": "__Host-key="} {
		client := startNginx(t, server.URL)
		_, first, _ := get(client, "/bare", header, before+texts[0])
		require.Equal(t, ids[0], first)
		_, second, cache := get(client, "/bare", header, before+texts[1])
		require.Equal(t, ids[0], second, "%s: without the headers a caller gets the answer of another", header)
		require.Equal(t, "HIT", cache)

		for _, path := range []string{"/", "/public"} {
			for i := range texts {
				_, body, cache := get(client, path, header, before+texts[i])
				require.Equal(t, ids[i], body, "%s %s", header, path)
				require.Equal(t, "MISS", cache, "%s %s", header, path)
			}
			status, _, _ := get(client, path, "", "")
			require.Equal(t, 401, status, "%s %s", header, path)
			_, body, cache := get(client, path, header, before+texts[0])
			require.Equal(t, ids[0], body)
			want := map[string]string{"/": "MISS", "/public": "HIT"}[path]
			require.Equal(t, want, cache, "%s %s: its own answer may be kept if the handler says so", header, path)
		}
	}
}
