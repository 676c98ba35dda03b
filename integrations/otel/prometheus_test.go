package latchkeyotel_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must happen. A machine under load may need much of it.
const patience = 2 * time.Minute

// eventually calls try until it returns "". What it returns last says what is missing.
func eventually(t *testing.T, try func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		missing := try()
		if missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			require.FailNow(t, "it did not happen", missing)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// server is a Prometheus of this test.
type server struct{ address string }

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// startPrometheus runs Debian's Prometheus on a port that the system chooses, until the test ends. It scrapes the
// targets, by their jobs, each second. It evaluates the rules twice a second.
func startPrometheus(t *testing.T, rules []byte, targets map[string]string) *server {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	var jobs []any
	for job, address := range targets {
		jobs = append(jobs, map[string]any{"job_name": job,
			"static_configs": []any{map[string]any{"targets": []string{address}}}})
	}
	// JSON is YAML.
	config, err := json.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"},
		"rule_files":     []string{write("rules.yaml", rules)},
		"scrape_configs": jobs,
	})
	require.NoError(t, err)

	cmd := exec.Command("prometheus", "--config.file="+write("prometheus.yaml", config),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	// If the test is killed, so is the server.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start(), "scripts/install installs it")

	var mu sync.Mutex
	var log strings.Builder
	found, closed := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(closed)
		lines := bufio.NewScanner(logs)
		for lines.Scan() {
			mu.Lock()
			fmt.Fprintln(&log, lines.Text())
			mu.Unlock()
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
		_, _ = io.Copy(io.Discard, logs)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-closed
		_ = cmd.Wait()
		if t.Failed() {
			mu.Lock()
			defer mu.Unlock()
			t.Log(log.String())
		}
	})
	select {
	case address := <-found:
		return &server{address}
	case <-closed:
		require.FailNow(t, "prometheus ended")
	case <-time.After(patience):
		require.FailNow(t, "prometheus does not listen")
	}
	return nil
}

// get decodes the data of an answer of the HTTP API. An empty text: it succeeded.
func (s *server) get(t *testing.T, path string, form url.Values, data any) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+path+"?"+form.Encode(), nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	// It is not ready at once.
	if answer.StatusCode == http.StatusServiceUnavailable {
		return string(body)
	}
	var reply struct {
		Status, Error string
		Data          json.RawMessage
	}
	require.NoError(t, json.Unmarshal(body, &reply), "%s", body)
	require.Equal(t, "success", reply.Status, "%s %v: %s", path, form, reply.Error)
	require.NoError(t, json.Unmarshal(reply.Data, data))
	return ""
}

// sample is one series of an instant query.
type sample struct {
	Metric map[string]string
	Value  [2]any // a time, and the value as text
}

// query evaluates an expression now.
func (s *server) query(t *testing.T, expr string) (samples []sample, missing string) {
	t.Helper()
	var data struct{ Result []sample }
	missing = s.get(t, "/api/v1/query", url.Values{"query": {expr}}, &data)
	return data.Result, missing
}

// alert is one that is pending or fires.
type alert struct {
	Labels, Annotations map[string]string
	State               string
}

// firing returns the names of what fires, by job.
func (s *server) firing(t *testing.T) (names map[string][]string, missing string) {
	t.Helper()
	var data struct{ Alerts []alert }
	if missing := s.get(t, "/api/v1/alerts", nil, &data); missing != "" {
		return nil, missing
	}
	names = map[string][]string{}
	for _, a := range data.Alerts {
		if a.State == "firing" && !slices.Contains(names[a.Labels["job"]], a.Labels["alertname"]) {
			names[a.Labels["job"]] = append(names[a.Labels["job"]], a.Labels["alertname"])
		}
	}
	for _, all := range names {
		slices.Sort(all)
	}
	return names, ""
}

// rule is an alert of the file.
type rule struct{ Name, Query, Health, LastError string }

// rules returns the alerts that are evaluated.
func (s *server) rules(t *testing.T) (all []rule, missing string) {
	t.Helper()
	var data struct{ Groups []struct{ Rules []rule } }
	missing = s.get(t, "/api/v1/rules", nil, &data)
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all, missing
}
