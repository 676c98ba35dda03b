package judges

import (
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// slow sends a beginning, and then one piece after the other, until the server ends the connection. It returns how the
// server did that. The test fails if it has not within five minutes.
func slow(t *testing.T, address, beginning, piece string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, beginning)
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn) // until the server closes
	}()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		select {
		case <-ended:
			return
		case <-time.After(500 * time.Millisecond):
		}
		require.True(t, time.Now().Before(deadline), "the server still waits after five minutes")
		_, _ = io.WriteString(conn, piece)
	}
}

// TestSlowRequestsEnd: the example server, with the limits that docs/operations.md recommends, ends the connections of
// clients that send headers or bodies byte by byte, or that read nothing. Others are served meanwhile.
func TestSlowRequestsEnd(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t)
	address := strings.TrimPrefix(s.Base, "http://")
	var group sync.WaitGroup
	const each = 20
	for range each {
		group.Go(func() { // the header never ends
			slow(t, address, "GET /io/dataset/"+harness.Dataset+"/table HTTP/1.1\r\nHost: a\r\n", "X-A: b\r\n")
		})
		group.Go(func() { // the body never ends
			slow(t, address, "POST /io/api/1/access HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"+
				"Content-Length: 60000\r\n\r\n{\"key\":\"", "a")
		})
		group.Go(func() { // nor that of a request with a good key
			slow(t, address, "POST /io/api/1/access HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nkey: "+
				s.Credentials.APIKey+"\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n")
		})
	}
	group.Go(func() { // replies that nobody reads
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		ask := "GET /io/api/1/dataset/" + harness.Dataset + "?key=" + url.QueryEscape(s.Credentials.APIKey) +
			" HTTP/1.1\r\nHost: a\r\n\r\n"
		for deadline := time.Now().Add(5 * time.Minute); ; {
			if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
				t.Error(err)
				return
			}
			_, err := io.WriteString(conn, ask)
			if err != nil && !os.IsTimeout(err) {
				return // the server has closed
			}
			if time.Now().After(deadline) {
				t.Error("the server still writes to a client that reads nothing")
				return
			}
		}
	})
	served := 0
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	for {
		require.Len(t, harness.IDsOf(t, s.Get("/io/api/1/dataset/"+harness.Dataset+"?key="+s.Credentials.APIKey)), 344)
		served++
		select {
		case <-done:
			t.Logf("%d slow clients ended, while %d requests of another one were served", 3*each+1, served)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// sqlmap runs sqlmap on a request, and returns whether it found a hole. It uses its techniques that look at replies,
// and not those that look at times, which a busy machine could deceive.
func sqlmap(t *testing.T, target string, args ...string) bool {
	t.Helper()
	program, err := exec.LookPath("sqlmap")
	require.NoError(t, err, "sqlmap is missing: run `make install`")
	cmd := exec.Command(program, append([]string{"-u", target, "--batch", "--level=3", "--risk=2", "--disable-coloring",
		"--flush-session", "--output-dir=" + t.TempDir(), "--timeout=120", "--retries=2", "--ignore-code=*", "--threads=2",
		"--technique=BEUQ", "--answers=follow=N,redirect=N"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	found := strings.Contains(string(out), "sqlmap identified the following injection point")
	clear := strings.Contains(string(out), "do not appear to be injectable")
	require.True(t, found != clear, "sqlmap came to no verdict:\n%s", out)
	return found
}

// TestSQLMapFindsNothing lets sqlmap, at level 3, attack the parameters of the example server, each with those of a
// good request. It finds the hole of a server that has one. LONG=1 attacks all of them, and otherwise one that is
// drawn.
func TestSQLMapFindsNothing(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", harness.WAL(harness.NewFile(t)))
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(`CREATE TABLE birds (id INTEGER, name TEXT); INSERT INTO birds VALUES (1, 'Ada'), (2, 'Bea')`)
	require.NoError(t, err)
	planted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var name string
		err := db.QueryRow(`SELECT name FROM birds WHERE id = ` + r.FormValue("id")).Scan(&name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "the bird is", name)
	}))
	defer planted.Close()
	require.True(t, sqlmap(t, planted.URL+"/?id=1", "-p", "id"), "sqlmap does not find a hole that is there")

	s := harness.StartServer(t)
	bearer := "--headers=Authorization: Bearer " + s.Credentials.Secret
	id := s.Credentials.APIKeyID
	type target struct {
		path string
		args []string
	}
	targets := []target{
		{"/io/dataset/" + harness.Dataset + "/table?token=" + s.CloudTables().Token(harness.Object{}), nil},
		{"/io/api/1/dataset/" + harness.Dataset + "?key=" + s.Credentials.APIKey, nil},
		{"/io/api/1/dataset/" + harness.Dataset + "/1*?key=" + s.Credentials.APIKey, nil},
		{"/io/api/1/access", []string{"--data=key=" + s.Credentials.APIKey + "&clientId=7&clientName=Ada&role=viewer" +
			"&duration=60&conditions[0][id]=dp-1&conditions[0][value]=Biscoe"}},
		{"/penguins?limit=1", []string{bearer}},
	}
	for _, q := range []string{"/tokens?search=a&kind=api_key&state=active&role=viewer&client=7&parent=" + id + "&limit=5",
		"/tokens/" + id + "*", "/roles?search=a&limit=5", "/clients?limit=5", "/clients/7*",
		"/events?action=token.issue&object=" + id + "&limit=5", "/usage?by=token&token=" + id, "/refusals?token=" + id,
		"/tokens/count?search=a",
		"/who?action=read&resource=dataset/a", "/me/reach?action=read"} {
		targets = append(targets, target{"/latchkey/v1" + q, []string{bearer}})
	}
	tried := 0
	for _, on := range targets {
		if !harness.Sampled(len(targets)) {
			continue
		}
		tried++
		require.False(t, sqlmap(t, s.Base+on.path, on.args...), "sqlmap found a hole in %s", on.path)
	}
	require.Positive(t, tried)
	t.Logf("%d of %d requests attacked, in all their parameters: no hole; the planted one was found", tried, len(targets))
}
