package proxies

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/forward"
	"github.com/latchkey-go/latchkey/memstore"
)

// probe is the header that names a request of a test. Proxies pass it on to both sides.
const probe = "X-Probe"

// world is a server that answers questions, and a backend.
type world struct {
	t        testing.TB
	store    *downStore
	keys     *latchkey.Manager
	account  latchkey.Account
	from     forward.Source
	carriers httpadapter.Carriers
	auth     *http.Server
	authAt   string
	backend  net.Listener

	began time.Time
	later atomic.Int64 // how far the clock was moved, in ns

	mu     sync.Mutex
	asked  []question
	served []served
}

// now is the time of the keys: on a day in the middle of a month, so that no quota begins anew during a test.
func (w *world) now() time.Time {
	return time.Date(2026, 11, 12, 9, 0, 0, 0, time.UTC).Add(time.Since(w.began) + time.Duration(w.later.Load()))
}

// question is what the proxy asked, and the answer.
type question struct {
	probe, method, target, host string
	status                      int
	identity                    http.Header
}

// served is a request as it reached the backend.
type served struct {
	method, target string
	headers        [][2]string
	body           string
}

// all returns the values of a header, in any case, and with "_" or "." in place of "-", as CGI and WSGI read it.
func (s served) all(name string) (values []string) {
	fold := strings.NewReplacer("_", "-", ".", "-")
	for _, h := range s.headers {
		if strings.EqualFold(fold.Replace(h[0]), name) {
			values = append(values, h[1])
		}
	}
	return values
}

func (s served) get(name string) string { return strings.Join(s.all(name), "|") }

// downStore is a store that can be down.
type downStore struct {
	latchkey.Store
	down atomic.Bool
}

var errDown = errors.Join(latchkey.ErrUnavailable, errors.New("down"))

func (s *downStore) ByDigest(ctx context.Context, slot latchkey.Slot, d ...[32]byte) (latchkey.Found, error) {
	if s.down.Load() {
		return latchkey.Found{}, errDown
	}
	return s.Store.ByDigest(ctx, slot, d...)
}

func (s *downStore) Changes(ctx context.Context, feed latchkey.FeedID, after uint64, n int) (latchkey.Feed, error) {
	if s.down.Load() {
		return latchkey.Feed{}, errDown
	}
	return s.Store.Changes(ctx, feed, after, n)
}

// routes is the table of all tests.
var routes = []forward.Route{
	{Pattern: "GET /data/{id}", Action: latchkey.Read, Resource: "dataset/{id}"},
	{Pattern: "POST /data/{id}", Action: latchkey.Create, Resource: "dataset/{id}"},
	{Pattern: "DELETE /data/{id}", Action: latchkey.Delete, Resource: "dataset/{id}"},
	{Pattern: "GET /rows/{id}", Action: latchkey.Read, Resource: "dataset/{id}", Rows: true},
	{Pattern: "GET /cost/{id}", Action: latchkey.Read, Resource: "dataset/{id}", Meter: "api", Credits: 1},
	{Pattern: "GET /data/{id}/public", Action: latchkey.Read, Resource: "public"},
	{Pattern: "GET /files/{path...}", Action: latchkey.Read, Resource: "dataset/orders"},
	{Pattern: "GET /admin/secret", Action: latchkey.Read, Resource: "secret"},
}

func newWorld(t testing.TB, from forward.Source) *world {
	w := &world{t: t, from: from, began: time.Now()}
	w.store = &downStore{Store: memstore.New(&memstore.Options{Clock: w.now})}
	w.keys = latchkey.New(w.store, &latchkey.Options{Clock: w.now})
	w.account = w.keys.For("acme")
	w.authAt = reserve(t)
	w.startAuth()
	t.Cleanup(func() { w.auth.Close() })

	var err error
	w.backend, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { w.backend.Close() })
	go w.serveBackend()
	return w
}

// startAuth serves questions, as a program of a user does.
func (w *world) startAuth() {
	opts := &forward.Options{From: w.from}
	if w.from == forward.Envoy {
		opts.PathPrefix = "/auth"
	}
	h := forward.New(httpadapter.New(w.keys, &httpadapter.Options{
		Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Carriers: w.carriers}), routes, opts)
	w.auth = &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		recorded := &recorder{ResponseWriter: out}
		h.ServeHTTP(recorded, r)
		q := question{probe: strings.Join(r.Header[probe], "|"), status: recorded.status, identity: out.Header().Clone()}
		switch w.from {
		case forward.Nginx:
			q.method, q.target = r.Header.Get("X-Original-Method"), r.Header.Get("X-Original-Uri")
			q.host = r.Header.Get("X-Original-Host")
		case forward.Forwarded:
			q.method, q.target = r.Header.Get("X-Forwarded-Method"), r.Header.Get("X-Forwarded-Uri")
			q.host = r.Header.Get("X-Forwarded-Host")
		case forward.Envoy:
			q.method, q.target, q.host = r.Method, strings.TrimPrefix(r.RequestURI, "/auth"), r.Host
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, q)
	})}
	go w.auth.Serve(w.listen())
}

// reserve returns an address whose port belongs to the test until it ends: nothing listens there, and no other process
// may. listen shares it.
func reserve(t testing.TB) string {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(socket) })
	require.NoError(t, unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	require.NoError(t, unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(socket)
	require.NoError(t, err)
	return "127.0.0.1:" + strconv.Itoa(name.(*unix.SockaddrInet4).Port)
}

// listen listens where proxies ask.
func (w *world) listen() net.Listener {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); failed != nil {
			return failed
		}
		return err
	}}
	l, err := config.Listen(context.Background(), "tcp", w.authAt)
	require.NoError(w.t, err)
	return l
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// serveBackend accepts whatever has the form of a request, and takes nothing for another thing than the bytes say.
func (w *world) serveBackend() {
	for {
		conn, err := w.backend.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for w.serveOne(conn, in) {
			}
		}()
	}
}

func (w *world) serveOne(conn net.Conn, in *bufio.Reader) bool {
	line, err := in.ReadString('\n')
	if err != nil {
		return false
	}
	first, last := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ' ')
	if first < 0 || last <= first {
		line, first, last = "malformed "+line, 9, 9+len(line)
	}
	s := served{method: line[:first], target: strings.TrimRight(line[first+1:last], "\r\n")}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		s.headers = append(s.headers, [2]string{name, strings.TrimSpace(value)})
	}
	var body io.Reader = strings.NewReader("")
	chunked := s.get("transfer-encoding") != ""
	if chunked {
		body = httputil.NewChunkedReader(in)
	} else if n, err := strconv.ParseInt(s.get("content-length"), 10, 64); err == nil {
		body = io.LimitReader(in, n)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return false
	}
	if chunked { // the end of the trailers
		for line := ""; line != "\r\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				return false
			}
		}
	}
	s.body = string(b)
	w.mu.Lock()
	w.served = append(w.served, s)
	w.mu.Unlock()
	text := "served " + s.method + " " + s.target
	if s.method == "HEAD" {
		_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text))
	} else {
		_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(text),
			text)
	}
	return err == nil
}

// issue returns a key, and its id. Without permissions it may read dataset/orders and public, and EU rows of
// dataset/clients.
func (w *world) issue(s latchkey.Settings) (id, key string) {
	if s.Permissions == nil {
		s.Permissions = latchkey.Permissions{
			latchkey.Allow(latchkey.Read).On("dataset/*"),
			latchkey.Allow(latchkey.Read).On("public"),
			latchkey.Deny(latchkey.Read).On("dataset/payroll"),
			latchkey.Deny(latchkey.Read).On("dataset/clients"),
			latchkey.Allow(latchkey.Read).On("dataset/clients").Where(latchkey.Where("region", latchkey.Eq, "EU")),
		}
	}
	token, secret, err := w.account.Issue(context.Background(), s.Spec(latchkey.KindAPIKey))
	require.NoError(w.t, err)
	return token.ID, secret.Reveal()
}

// reached returns the requests of a probe that the backend served.
func (w *world) reached(id string) (found []served) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.served {
		if s.get(probe) == id {
			found = append(found, s)
		}
	}
	return found
}

// questions returns what was asked about a probe.
func (w *world) questions(id string) (found []question) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.asked {
		if q.probe == id {
			found = append(found, q)
		}
	}
	return found
}

var probes atomic.Int64

func nextProbe() string { return "p" + strconv.FormatInt(probes.Add(1), 10) }
