package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for a program. Nothing asserts how long one takes.
const patience = 60 * time.Second

// world is the programs of this example, each a process of its own, over one database.
type world struct {
	t                *testing.T
	binary, db       string
	web, rpc, python string
	nginx            string
	client           *http.Client
}

func newWorld(t *testing.T) *world {
	folder := t.TempDir()
	w := &world{t: t, binary: filepath.Join(folder, "mixed"), db: filepath.Join(folder, "mixed.db"),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}
	out, err := exec.Command("go", "build", "-o", w.binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return w
}

// start runs all services.
func (w *world) start() {
	w.web = w.serve(w.binary, "-db", w.db, "-addr", "127.0.0.1:0", "web")
	w.rpc = w.serve(w.binary, "-db", w.db, "-addr", "127.0.0.1:0", "rpc")
	ask := w.serve(w.binary, "-db", w.db, "-addr", "127.0.0.1:0", "ask")
	w.python = w.serve("python3", "service.py", "0")
	w.startNginx(ask)
}

// serve runs a program until the test ends, and returns the address that it prints.
func (w *world) serve(name string, args ...string) string {
	w.t.Helper()
	out, write, err := os.Pipe()
	require.NoError(w.t, err)
	defer out.Close()
	log := &buffer{}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = write, log
	err = cmd.Start()
	write.Close()
	require.NoError(w.t, err)
	w.ends(cmd, log, strings.Join(append([]string{filepath.Base(name)}, args...), " "))
	require.NoError(w.t, out.SetReadDeadline(time.Now().Add(patience)))
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(w.t, err, "%s: %s", name, log)
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// ends ends a program when the test ends, and shows what it logged if the test failed. The channel is closed when the
// program has ended.
func (w *world) ends(cmd *exec.Cmd, log *buffer, name string) <-chan struct{} {
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
			w.t.Errorf("%s does not end", name)
		}
		if w.t.Failed() {
			w.t.Logf("%s:\n%s", name, log)
		}
	})
	return ended
}

// startNginx runs nginx with the files that users take, at free ports. Another process may take a port before nginx
// does: then nginx ends, and the next try has another.
func (w *world) startNginx(ask string) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
	}
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(w.t, err)
		w.nginx = l.Addr().String()
		require.NoError(w.t, l.Close())

		folder := w.t.TempDir()
		ready := fmt.Sprintf("/ready-%d-%d", os.Getpid(), time.Now().UnixNano()) // no other server has it
		site := replace(w.t, "../../httpadapter/forward/examples/nginx/latchkey.conf", "127.0.0.1:9091", ask,
			"127.0.0.1:9092", w.python, "listen 8080;", "listen "+w.nginx+";",
			"server_name _;", "server_name _; location = "+ready+" { return 204; }")
		require.NoError(w.t, os.WriteFile(filepath.Join(folder, "latchkey.conf"), site, 0o600))
		main := replace(w.t, "nginx.conf", "../../httpadapter/forward/examples/nginx/latchkey.conf", "latchkey.conf")
		conf := filepath.Join(folder, "nginx.conf")
		require.NoError(w.t, os.WriteFile(conf, main, 0o600))

		log := &buffer{}
		cmd := exec.Command(program, "-e", "stderr", "-p", folder, "-c", conf)
		cmd.Stdout, cmd.Stderr = log, log
		require.NoError(w.t, cmd.Start(), "scripts/install installs nginx")
		ended := w.ends(cmd, log, "nginx")
		if w.answers(ready, ended) {
			return
		}
	}
	require.FailNow(w.t, "nginx does not start")
}

// answers waits until nginx answers at path. It returns false if nginx has ended.
func (w *world) answers(path string, ended <-chan struct{}) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if out, err := w.client.Get("http://" + w.nginx + path); err == nil {
			out.Body.Close()
			if out.StatusCode == http.StatusNoContent {
				return true
			}
		}
	}
	return false
}

// replace returns a file with other texts in it. Each of the old ones must be there.
func replace(t *testing.T, file string, pairs ...string) []byte {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, string(text), pairs[i], file)
		text = bytes.ReplaceAll(text, []byte(pairs[i]), []byte(pairs[i+1]))
	}
	return text
}

// mixed runs a command of the program to its end. failure is "" if it succeeded.
func (w *world) mixed(env string, args ...string) (out string, failure string) {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(w.t.Context(), w.binary, append([]string{"-db", w.db}, args...)...)
	cmd.Env = append(os.Environ(), env)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil { // without one, stderr may hold warnings
		return stdout.String(), err.Error() + ": " + stderr.String()
	}
	return stdout.String(), ""
}

// issue returns the id and the text of a new key.
func (w *world) issue() (id, key string) {
	w.t.Helper()
	out, failure := w.mixed("", "issue")
	require.Empty(w.t, failure)
	id, key, ok := strings.Cut(strings.TrimSpace(out), " ")
	require.True(w.t, ok, out)
	return id, key
}

// get asks a service of HTTP. The headers are pairs.
func (w *world) get(method, url string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+url, nil)
	require.NoError(w.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	out, err := w.client.Do(r)
	require.NoError(w.t, err)
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	require.NoError(w.t, err)
	return out, string(body)
}

// buffer is a bytes.Buffer that a program writes while a test reads.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestOneKey issues one key, uses it with gin, with gRPC and behind nginx, and revokes it: all three refuse it then. A
// second key goes on.
func TestOneKey(t *testing.T) {
	w := newWorld(t)
	id, key := w.issue()
	_, other := w.issue()
	w.start()
	carried := [][]string{{"X-API-Key", key}, {"Authorization", "Bearer " + key}}

	for _, h := range carried {
		out, body := w.get("GET", w.web+"/reports/sales", h...)
		require.Equal(t, 200, out.StatusCode, body)
		require.JSONEq(t, `{"report": "sales", "owner": "acme"}`, body)
		out, body = w.get("GET", w.web+"/orders", h...)
		require.Equal(t, 200, out.StatusCode, body)
		require.JSONEq(t, `[{"id": "1", "region": "EU"}, {"id": "3", "region": "EU"}]`, body, "no row of the US")
		out, body = w.get("GET", w.web+"/reports/salaries", h...)
		require.Equal(t, 403, out.StatusCode, body)

		out, body = w.get("GET", w.nginx+"/reports/sales", h...)
		require.Equal(t, 200, out.StatusCode, body)
		var seen struct {
			Path    string
			Caller  map[string]string
			Headers []string
		}
		require.NoError(t, json.Unmarshal([]byte(body), &seen))
		assert.Equal(t, "/reports/sales", seen.Path)
		assert.Equal(t, "acme", seen.Caller["latchkey-owner"])
		assert.Equal(t, id, seen.Caller["latchkey-token"])
		assert.Equal(t, "api_key", seen.Caller["latchkey-kind"])
		assert.Equal(t, "analyst", seen.Caller["latchkey-roles"])
		assert.Contains(t, seen.Headers, "latchkey-owner")
		assert.NotContains(t, seen.Headers, "x-api-key", "the service sees no key")
		assert.NotContains(t, seen.Headers, "authorization", "the service sees no key")
		assert.NotContains(t, body, key)
		out, body = w.get("GET", w.nginx+"/reports/salaries", h...)
		require.Equal(t, 403, out.StatusCode, body)
		out, body = w.get("GET", w.nginx+"/other", h...)
		require.Equal(t, 403, out.StatusCode, body)
	}

	out, failure := w.mixed("KEY="+key, "-addr", w.rpc, "call")
	require.Equal(t, "report sales for acme\norder 1 in EU\norder 3 in EU\n", out)
	require.Contains(t, failure, "report salaries: rpc error: code = PermissionDenied")
	require.NotContains(t, failure, "orders:")

	// Neither without a key, nor with the identity headers of nginx.
	for _, url := range []string{w.web + "/orders", w.web + "/reports/sales", w.nginx + "/reports/sales"} {
		out, body := w.get("GET", url)
		require.Equal(t, 401, out.StatusCode, "%s: %s", url, body)
	}
	refused, body := w.get("GET", w.nginx+"/reports/sales", "X-API-Key", key, "Latchkey-Owner", "globex")
	require.Equal(t, 400, refused.StatusCode, body)

	out, failure = w.mixed("", "revoke", id)
	require.Empty(t, failure, out)
	for _, h := range carried {
		for _, url := range []string{w.web + "/orders", w.web + "/reports/sales", w.nginx + "/reports/sales"} {
			out, body := w.get("GET", url, h...)
			require.Equal(t, 401, out.StatusCode, "%s: %s", url, body)
		}
	}
	out, failure = w.mixed("KEY="+key, "-addr", w.rpc, "call")
	require.Empty(t, out)
	for _, method := range []string{"report sales", "report salaries", "orders"} {
		require.Contains(t, failure, method+": rpc error: code = Unauthenticated")
	}

	for _, url := range []string{w.web + "/orders", w.web + "/reports/sales", w.nginx + "/reports/sales"} {
		out, body := w.get("GET", url, "X-API-Key", other)
		require.Equal(t, 200, out.StatusCode, "%s: %s", url, body)
	}
	out, _ = w.mixed("KEY="+other, "-addr", w.rpc, "call")
	require.Contains(t, out, "order 3 in EU\n")

	// What the service on gin did is in its metrics.
	_, metrics := w.get("GET", w.web+"/metrics")
	require.Regexp(t, `(?m)^latchkey_refusals_total\{latchkey_reason="revoked",.*\} 4$`, metrics)
	require.Regexp(t, `(?m)^latchkey_refusals_total\{latchkey_reason="denied",.*\} 2$`, metrics)
	require.NotContains(t, metrics, key)
	require.NotContains(t, metrics, id)
}

// TestPagesOfAnotherOrigin calls the service on gin as a browser does for a page of its origin, and for another.
func TestPagesOfAnotherOrigin(t *testing.T) {
	w := newWorld(t)
	_, key := w.issue()
	w.web = w.serve(w.binary, "-db", w.db, "-addr", "127.0.0.1:0", "web")
	for origin, allowed := range map[string]bool{"https://app.example.com": true, "https://other.example.com": false} {
		out, _ := w.get("OPTIONS", w.web+"/orders", "Origin", origin, "Access-Control-Request-Method", "GET",
			"Access-Control-Request-Headers", "x-api-key")
		require.Equal(t, allowed, out.StatusCode == 204, "%s: %d", origin, out.StatusCode)
		require.Equal(t, allowed, strings.Contains(out.Header.Get("Access-Control-Allow-Headers"), "X-API-Key"), origin)
		for _, h := range [][]string{{"Origin", origin, "X-API-Key", key}, {"Origin", origin}} { // refusals, too
			out, _ = w.get("GET", w.web+"/orders", h...)
			require.Equal(t, allowed, out.Header.Get("Access-Control-Allow-Origin") == origin, origin)
		}
	}
}
