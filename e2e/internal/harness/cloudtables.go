package harness

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/stretchr/testify/require"
)

// CloudTables is the npm client of CloudTables, in a Node process.
type CloudTables struct {
	s     *Server
	mu    sync.Mutex
	in    io.WriteCloser
	lines *bufio.Scanner
}

// CloudTables starts the client of this server. It ends with the test.
func (s *Server) CloudTables() *CloudTables {
	s.T.Helper()
	clients := Path(s.T, "clients")
	_, err := os.Stat(filepath.Join(clients, "node_modules", "cloudtables-api"))
	require.NoError(s.T, err, "the npm packages are missing: run `make install`")
	cmd := exec.Command("node", "-r", "./port.js", "cloudtables.js")
	cmd.Dir = clients
	cmd.Env = append(os.Environ(), "PORT="+s.Port)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(s.T, err)
	out, err := cmd.StdoutPipe()
	require.NoError(s.T, err)
	require.NoError(s.T, cmd.Start())
	s.T.Cleanup(func() { // before the server is stopped: the end of its input ends the client
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	return &CloudTables{s: s, in: in, lines: lines}
}

// Object is a JSON object.
type Object = map[string]any

// Result is how a call of the client ended: it resolved OK, or undefined, or it was rejected.
type Result struct {
	OK        json.RawMessage
	Rejected  json.RawMessage
	Undefined bool
}

// Call calls a method of the client, with the server's API key or with the one in options["apiKey"].
func (n *CloudTables) Call(options Object, call string, args ...any) Result {
	n.s.T.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	full := Object{"domain": "127.0.0.1", "ssl": false}
	key := n.s.Credentials.APIKey
	for name, value := range options {
		full[name] = value
	}
	if other, ok := full["apiKey"].(string); ok {
		key = other
		delete(full, "apiKey")
	}
	request := Object{"key": key, "options": full, "call": call, "args": append([]any{}, args...)}
	if subdomain, ok := full["subdomain"]; ok {
		request["subdomain"] = subdomain
		delete(full, "subdomain")
	}
	line, err := json.Marshal(request)
	require.NoError(n.s.T, err)
	_, err = n.in.Write(append(line, '\n'))
	require.NoError(n.s.T, err)
	require.True(n.s.T, n.lines.Scan(), "the client ended")
	var r Result
	require.NoError(n.s.T, json.Unmarshal(n.lines.Bytes(), &r), n.lines.Text())
	return r
}

// OK is Call for a call that must succeed. It decodes what the client resolved.
func (n *CloudTables) OK(into any, options Object, call string, args ...any) {
	n.s.T.Helper()
	r := n.Call(options, call, args...)
	require.Empty(n.s.T, string(r.Rejected), "the client rejected")
	require.False(n.s.T, r.Undefined, "the client resolved undefined")
	require.NoError(n.s.T, json.Unmarshal(r.OK, into), string(r.OK))
}

// Token gets a token, and hides it as a secret of the server.
func (n *CloudTables) Token(options Object) string {
	n.s.T.Helper()
	var token string
	n.OK(&token, options, "token")
	require.NotEmpty(n.s.T, token)
	n.s.Hide(token)
	return token
}

// Rejected is Call for a call that must be rejected with exactly this value.
func (n *CloudTables) Rejected(want string, options Object, call string, args ...any) {
	n.s.T.Helper()
	r := n.Call(options, call, args...)
	require.NotEmpty(n.s.T, string(r.Rejected), "the client resolved %s", r.OK)
	require.JSONEq(n.s.T, want, string(r.Rejected))
}

// NoAccess is what the client rejects with where the server grants nothing.
const NoAccess = `[{"msg":"noAccess"}]`
