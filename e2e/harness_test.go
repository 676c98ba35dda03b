// Package e2e proves latchkey against real engines, clients and browsers.
package e2e

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const dataset = "f1b3d0c2-5a7e-4c59-9d0e-6a3f0c2b7e11"

func TestMain(m *testing.M) { runMain(m) }

// runMain runs the tests of a package, then stops and removes what they started. A package calls it from its TestMain. A
// process that a test started from its own binary passes through it too, and has nothing to stop.
func runMain(m *testing.M) {
	code := m.Run()
	endings.mu.Lock()
	calls := slices.Clone(endings.calls)
	endings.mu.Unlock()
	for _, end := range slices.Backward(calls) {
		end()
	}
	os.Exit(code)
}

var endings struct {
	mu    sync.Mutex
	calls []func()
}

// atEnd calls end after the last test of the process. What was registered last is called first.
func atEnd(end func()) {
	endings.mu.Lock()
	defer endings.mu.Unlock()
	endings.calls = append(endings.calls, end)
}

// root returns the path of an element of the module e2e, from whatever package of it the test is in.
func root(t testing.TB, elements ...string) string {
	t.Helper()
	folder, err := findRoot()
	require.NoError(t, err)
	return filepath.Join(append([]string{folder}, elements...)...)
}

// findRoot finds the folder of go.mod above the working directory, which of a test is its package's.
var findRoot = sync.OnceValues(func() (string, error) {
	folder, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(folder, "go.mod")); missing == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			err = errors.New("no go.mod above the working directory")
		}
		folder = filepath.Dir(folder)
	}
	return "", err
})

// serverProgram returns the path of the example server, which the first call builds.
func serverProgram(t testing.TB) string {
	t.Helper()
	program, err := buildServer()
	require.NoError(t, err)
	return program
}

var buildServer = sync.OnceValues(func() (string, error) {
	module, err := findRoot()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "latchkey-e2e-")
	if err != nil {
		return "", err
	}
	atEnd(func() { os.RemoveAll(folder) })
	program := filepath.Join(folder, "server")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join(module, "..", "examples", "server")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building examples/server: %w\n%s", err, out)
	}
	return program, nil
})

// credentials is the file the server writes at its first start.
type credentials struct {
	Owner       string `json:"owner"`
	Secret      string `json:"secret"`
	Publishable string `json:"publishable"`
	APIKey      string `json:"api_key"`
	CMAToken    string `json:"cma_token"`
	Session     string `json:"session"`
}

func (c credentials) secrets() []string {
	return []string{c.Secret, c.Publishable, c.APIKey, c.CMAToken, c.Session}
}

// server is a running examples/server.
type server struct {
	t     *testing.T
	db    string // its SQLite file
	base  string // "http://127.0.0.1:34567"
	port  string
	creds credentials

	cmd    *exec.Cmd
	exited chan error
	log    lockedBuffer

	mu     sync.Mutex
	secret []string // what must never come up in the log
}

// beforeMidnight waits for the next day where the present one has less than two minutes left. What is counted by the day
// or the month, in UTC, begins anew then.
func beforeMidnight(t testing.TB) {
	t.Helper()
	now := time.Now().UTC()
	if left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); left < 2*time.Minute {
		t.Logf("waiting %v for midnight", left)
		time.Sleep(left + time.Second)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const startLine = "latchkey example server: "

// start starts the server on a new file in a new directory.
func start(t *testing.T) *server {
	t.Helper()
	return startOn(t, filepath.Join(t.TempDir(), "penguins.db"))
}

// startOn starts the server on a file; the test stops it, or the end of the test does.
func startOn(t *testing.T, db string, args ...string) *server {
	t.Helper()
	s := &server{t: t, db: db, exited: make(chan error, 1)}
	cmd := exec.Command(serverProgram(t), append([]string{"-addr", "127.0.0.1:0", "-db", db}, args...)...)
	cmd.Stderr = &s.log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s.cmd = cmd
	started := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Fprintln(&s.log, lines.Text())
			if base, ok := strings.CutPrefix(lines.Text(), startLine); ok {
				started <- base
			}
		}
		s.exited <- cmd.Wait()
	}()
	t.Cleanup(s.stop)
	select {
	case s.base = <-started:
	case err := <-s.exited:
		s.cmd = nil
		t.Fatalf("the server ended at once: %v\n%s", err, s.log.String())
	case <-time.After(2 * time.Minute):
		t.Fatalf("the server did not start in two minutes\n%s", s.log.String())
	}
	u, err := url.Parse(s.base)
	require.NoError(t, err)
	s.port = u.Port()
	text, err := os.ReadFile(db + ".credentials.json")
	if err == nil {
		require.NoError(t, json.Unmarshal(text, &s.creds))
		s.hide(s.creds.secrets()...)
	}
	return s
}

// stop ends the server as an operator would, and asks that it ended well and kept its secrets to itself.
func (s *server) stop() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	process := s.cmd.Process
	s.cmd = nil
	if err := process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("stopping the server: %v\n%s", err, s.log.String())
	}
	select {
	case err := <-s.exited:
		if err != nil {
			s.t.Errorf("the server ended with %v\n%s", err, s.log.String())
		}
	case <-time.After(time.Minute):
		process.Kill()
		s.t.Errorf("the server did not stop in a minute\n%s", s.log.String())
	}
	s.noSecretsInLog()
	if s.t.Failed() {
		s.t.Logf("the server's log:\n%s", s.log.String())
	}
}

// kill ends the server with no chance to tidy up.
func (s *server) kill() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Kill())
	<-s.exited
	s.cmd = nil
	s.noSecretsInLog()
}

// sub makes a subtest the one that fails.
func (s *server) sub(t *testing.T) {
	whole := s.t
	s.t = t
	t.Cleanup(func() { s.t = whole })
}

func (s *server) hide(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = append(s.secret, secrets...)
}

func (s *server) noSecretsInLog() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log.String()
	for i, secret := range s.secret {
		if secret != "" && strings.Contains(log, secret) {
			s.t.Errorf("secret number %d is in the server's log", i)
		}
	}
}

// reply is what came back to a request made by hand.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

func (r reply) json(t *testing.T, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.Body), into), r.Body)
}

func (s *server) do(method, path, contentType, body string, header ...string) reply {
	s.t.Helper()
	request, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return reply{response.StatusCode, response.Header, string(text)}
}

func (s *server) get(path string, header ...string) reply {
	s.t.Helper()
	return s.do("GET", path, "", "", header...)
}

const formType = "application/x-www-form-urlencoded"

func (s *server) post(path, form string) reply {
	s.t.Helper()
	return s.do("POST", path, formType, form)
}

// table asks for the rows a token may see, as an embedded table does.
func (s *server) table(token string) reply {
	s.t.Helper()
	return s.get("/io/dataset/" + dataset + "/table?token=" + url.QueryEscape(token))
}

// rowIDs are the ids of the rows a token may see, in the order of the reply.
func (s *server) rowIDs(token string) []int {
	s.t.Helper()
	return idsOf(s.t, s.table(token))
}

func idsOf(t *testing.T, r reply) []int {
	t.Helper()
	var rows struct {
		Success bool
		Data    []struct{ ID int }
	}
	require.Equal(t, 200, r.Status, r.Body)
	r.json(t, &rows)
	require.True(t, rows.Success)
	ids := []int{}
	for _, row := range rows.Data {
		ids = append(ids, row.ID)
	}
	return ids
}

// npm is CloudTables' own client in a Node process of its own.
type npm struct {
	s     *server
	mu    sync.Mutex
	in    io.WriteCloser
	lines *bufio.Scanner
}

// npm starts the client, pointed at this server.
func (s *server) npm() *npm {
	s.t.Helper()
	clients := root(s.t, "clients")
	_, err := os.Stat(filepath.Join(clients, "node_modules", "cloudtables-api"))
	require.NoError(s.t, err, "the npm packages are missing: run `make install`")
	cmd := exec.Command("node", "-r", "./port.js", "cloudtables.js")
	cmd.Dir = clients
	cmd.Env = append(os.Environ(), "PORT="+s.port)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() { // before the server is stopped: the end of its input ends the client
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	return &npm{s: s, in: in, lines: lines}
}

type obj = map[string]any

// result is how a call of the client ended.
type result struct {
	OK        json.RawMessage
	Rejected  json.RawMessage
	Undefined bool
}

// call makes one call of the client with the API key, or with the key that options name as "apiKey".
func (n *npm) call(options obj, call string, args ...any) result {
	n.s.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	full := obj{"domain": "127.0.0.1", "ssl": false}
	key := n.s.creds.APIKey
	for name, value := range options {
		full[name] = value
	}
	if other, ok := full["apiKey"].(string); ok {
		key = other
		delete(full, "apiKey")
	}
	request := obj{"key": key, "options": full, "call": call, "args": append([]any{}, args...)}
	if subdomain, ok := full["subdomain"]; ok {
		request["subdomain"] = subdomain
		delete(full, "subdomain")
	}
	line, err := json.Marshal(request)
	require.NoError(n.s.t, err)
	_, err = n.in.Write(append(line, '\n'))
	require.NoError(n.s.t, err)
	require.True(n.s.t, n.lines.Scan(), "the client ended")
	var r result
	require.NoError(n.s.t, json.Unmarshal(n.lines.Bytes(), &r), n.lines.Text())
	return r
}

// ok is call, for calls that must succeed; it decodes what the client resolved.
func (n *npm) ok(into any, options obj, call string, args ...any) {
	n.s.t.Helper()
	r := n.call(options, call, args...)
	require.Empty(n.s.t, string(r.Rejected), "the client rejected")
	require.False(n.s.t, r.Undefined, "the client resolved undefined")
	require.NoError(n.s.t, json.Unmarshal(r.OK, into), string(r.OK))
}

// token gets a token and remembers it as a secret.
func (n *npm) token(options obj) string {
	n.s.t.Helper()
	var token string
	n.ok(&token, options, "token")
	require.NotEmpty(n.s.t, token)
	n.s.hide(token)
	return token
}

// rejected is call, for calls that must be rejected with exactly this value.
func (n *npm) rejected(want string, options obj, call string, args ...any) {
	n.s.t.Helper()
	r := n.call(options, call, args...)
	require.NotEmpty(n.s.t, string(r.Rejected), "the client resolved %s", r.OK)
	require.JSONEq(n.s.t, want, string(r.Rejected))
}

const noAccess = `[{"msg":"noAccess"}]`

// bird is a line of the CSV by its headings: what the tests know about the data without asking any of the code.
type bird map[string]string

func birds(t *testing.T) []bird {
	t.Helper()
	file, err := os.Open(root(t, "..", "examples", "server", "penguins.csv"))
	require.NoError(t, err)
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	require.Len(t, lines, 345)
	var all []bird
	for _, line := range lines[1:] {
		one := bird{}
		for i, heading := range lines[0] {
			one[heading] = line[i]
		}
		all = append(all, one)
	}
	return all
}

// where is the ids of the birds that match, in order.
func where(t *testing.T, match func(bird) bool) []int {
	t.Helper()
	var ids []int
	for _, one := range birds(t) {
		if match(one) {
			id, err := strconv.Atoi(one["id"])
			require.NoError(t, err)
			ids = append(ids, id)
		}
	}
	require.True(t, slices.IsSorted(ids))
	return ids
}

func everyBird(bird) bool                   { return true }
func onBiscoe(b bird) bool                  { return b["island"] == "Biscoe" }
func onDream(b bird) bool                   { return b["island"] == "Dream" }
func isHeavy(b bird) bool                   { n, err := strconv.Atoi(b["body_mass_g"]); return err == nil && n >= 4000 }
func isGentoo(b bird) bool                  { return b["species"] == "Gentoo" }
func not(f func(bird) bool) func(bird) bool { return func(b bird) bool { return !f(b) } }
func both(f, g func(bird) bool) func(bird) bool {
	return func(b bird) bool { return f(b) && g(b) }
}
