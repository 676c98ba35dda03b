package harness

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/sqlstore"
)

// Dataset is the id of the example server's one data set, the penguins.
const Dataset = "f1b3d0c2-5a7e-4c59-9d0e-6a3f0c2b7e11"

// ServerProgram returns the path of the example server, which the first call builds.
func ServerProgram(t testing.TB) string {
	t.Helper()
	program, err := buildServer()
	require.NoError(t, err)
	return program
}

var buildServer = sync.OnceValues(func() (string, error) {
	module, err := Root()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "latchkey-e2e-")
	if err != nil {
		return "", err
	}
	AtEnd(func() { os.RemoveAll(folder) })
	program := filepath.Join(folder, "server")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join(module, "..", "examples", "server")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building examples/server: %w\n%s", err, out)
	}
	return program, nil
})

// Credentials is the file that the server writes at its first start.
type Credentials struct {
	Owner       string `json:"owner"`
	Secret      string `json:"secret"`
	Publishable string `json:"publishable"`
	APIKey      string `json:"api_key"`
	APIKeyID    string `json:"api_key_id"`
	CMAToken    string `json:"cma_token"`
	Session     string `json:"session"`
}

// Secrets returns all that must never be logged.
func (c Credentials) Secrets() []string {
	return []string{c.Secret, c.Publishable, c.APIKey, c.CMAToken, c.Session}
}

// Server is a running examples/server.
type Server struct {
	T           *testing.T // the test that a failed request fails; see Sub
	DB          string     // its SQLite file
	Base        string     // "http://127.0.0.1:34567"
	Port        string
	Credentials Credentials
	Log         LockedBuffer // what the server printed

	cmd    *exec.Cmd
	exited chan error
	mu     sync.Mutex
	secret []string // what must never be in Log
}

const startLine = "latchkey example server: "

// StartServer starts the server on a new file in a new folder.
func StartServer(t *testing.T) *Server {
	t.Helper()
	return StartServerOn(t, filepath.Join(t.TempDir(), "penguins.db"))
}

// StartServerOn starts the server on a file, with more flags. The end of the test stops it, if the test did not.
func StartServerOn(t *testing.T, db string, args ...string) *Server {
	t.Helper()
	s := &Server{T: t, DB: db, exited: make(chan error, 1)}
	cmd := exec.Command(ServerProgram(t), append([]string{"-addr", "127.0.0.1:0", "-db", db}, args...)...)
	cmd.Stderr = &s.Log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s.cmd = cmd
	started := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Fprintln(&s.Log, lines.Text())
			if base, ok := strings.CutPrefix(lines.Text(), startLine); ok {
				started <- base
			}
		}
		s.exited <- cmd.Wait()
	}()
	t.Cleanup(s.Stop)
	select {
	case s.Base = <-started:
	case err := <-s.exited:
		s.cmd = nil
		t.Fatalf("the server ended at once: %v\n%s", err, s.Log.String())
	case <-time.After(2 * time.Minute):
		t.Fatalf("the server did not start in two minutes\n%s", s.Log.String())
	}
	u, err := url.Parse(s.Base)
	require.NoError(t, err)
	s.Port = u.Port()
	text, err := os.ReadFile(db + ".credentials.json")
	if err == nil {
		require.NoError(t, json.Unmarshal(text, &s.Credentials))
		s.Hide(s.Credentials.Secrets()...)
	}
	return s
}

// Stop ends the server as an operator does, with SIGTERM. The test fails if the server did not end well, or if a
// secret is in its log. On a server that has ended Stop does nothing.
func (s *Server) Stop() {
	s.T.Helper()
	if s.cmd == nil {
		return
	}
	process := s.cmd.Process
	s.cmd = nil
	if err := process.Signal(syscall.SIGTERM); err != nil {
		s.T.Errorf("stopping the server: %v\n%s", err, s.Log.String())
	}
	select {
	case err := <-s.exited:
		if err != nil {
			s.T.Errorf("the server ended with %v\n%s", err, s.Log.String())
		}
	case <-time.After(time.Minute):
		process.Kill()
		s.T.Errorf("the server did not stop in a minute\n%s", s.Log.String())
	}
	s.noSecretsInLog()
	if s.T.Failed() {
		s.T.Logf("the server's log:\n%s", s.Log.String())
	}
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	s.T.Helper()
	require.NoError(s.T, s.cmd.Process.Kill())
	<-s.exited
	s.cmd = nil
	s.noSecretsInLog()
}

// Sub makes t, a subtest, the test that a failed request fails, until t ends.
func (s *Server) Sub(t *testing.T) {
	whole := s.T
	s.T = t
	t.Cleanup(func() { s.T = whole })
}

// Hide adds secrets that must never be in the log.
func (s *Server) Hide(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = append(s.secret, secrets...)
}

func (s *Server) noSecretsInLog() {
	s.T.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.Log.String()
	for i, secret := range s.secret {
		if secret != "" && strings.Contains(log, secret) {
			s.T.Errorf("secret number %d is in the server's log", i)
		}
	}
}

// Reply is the response to a request.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// JSON decodes the body.
func (r Reply) JSON(t *testing.T, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.Body), into), r.Body)
}

// Do makes a request. No Content-Type is sent if contentType is "". header is names and values in turn.
func (s *Server) Do(method, path, contentType, body string, header ...string) Reply {
	s.T.Helper()
	request, err := http.NewRequest(method, s.Base+path, strings.NewReader(body))
	require.NoError(s.T, err)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.T, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.T, err)
	return Reply{response.StatusCode, response.Header, string(text)}
}

// Get makes a GET request.
func (s *Server) Get(path string, header ...string) Reply {
	s.T.Helper()
	return s.Do("GET", path, "", "", header...)
}

// FormType is the Content-Type of Post.
const FormType = "application/x-www-form-urlencoded"

// Post makes a POST request with a form.
func (s *Server) Post(path, form string) Reply {
	s.T.Helper()
	return s.Do("POST", path, FormType, form)
}

// Table asks for the rows that a token may read, as an embedded table does.
func (s *Server) Table(token string) Reply {
	s.T.Helper()
	return s.Get("/io/dataset/" + Dataset + "/table?token=" + url.QueryEscape(token))
}

// RowIDs returns the ids of the rows that a token may read, in the order of the reply.
func (s *Server) RowIDs(token string) []int {
	s.T.Helper()
	return IDsOf(s.T, s.Table(token))
}

// IDsOf returns the ids in the reply to Table. The test fails if it is no success.
func IDsOf(t *testing.T, r Reply) []int {
	t.Helper()
	var rows struct {
		Success bool
		Data    []struct{ ID int }
	}
	require.Equal(t, 200, r.Status, r.Body)
	r.JSON(t, &rows)
	require.True(t, rows.Success)
	ids := []int{}
	for _, row := range rows.Data {
		ids = append(ids, row.ID)
	}
	return ids
}

// Account opens the running server's file from this process, as an administrator's program does. The server asks the
// store at every request, as its MaxStale is 0, so what is changed here holds there at once.
func (s *Server) Account() latchkey.Account {
	s.T.Helper()
	ctx := context.Background()
	store, err := sqlstore.New(ctx, s.OpenDB(), latchkey.SQLite, nil)
	require.NoError(s.T, err)
	s.T.Cleanup(func() { require.NoError(s.T, store.Close()) })
	text, err := os.ReadFile(s.DB + ".key")
	require.NoError(s.T, err)
	keyring, err := latchkey.ParseKeyring(string(text))
	require.NoError(s.T, err)
	keys := latchkey.New(store, &latchkey.Options{Keyring: keyring})
	s.T.Cleanup(func() { require.NoError(s.T, keys.Close(ctx)) })
	return keys.For("demo")
}

// OpenDB opens the running server's file from this process.
func (s *Server) OpenDB() *sql.DB {
	s.T.Helper()
	dsn := url.URL{Scheme: "file", Path: s.DB, RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)"}}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	require.NoError(s.T, err)
	s.T.Cleanup(func() { require.NoError(s.T, db.Close()) })
	return db
}

// TokenID returns the id of the token that a secret belongs to.
func TokenID(t *testing.T, account latchkey.Account, secret string) string {
	t.Helper()
	access, err := account.Verify(t.Context(), latchkey.Presented{Secret: secret})
	require.NoError(t, err)
	return access.TokenID()
}

// Refused asks for the table with a token that must be refused, in a reply that does not say why.
func (s *Server) Refused(token string) {
	s.T.Helper()
	r := s.Table(token)
	require.Equal(s.T, 401, r.Status, r.Body)
	require.JSONEq(s.T, `{"success":false,"error":"noAccess","errors":[{"msg":"noAccess"}]}`, r.Body)
}
