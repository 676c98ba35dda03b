package api

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// command is a block of a shell in docs/api.md, with the reply that the block of JSON right behind it shows.
type command struct {
	line  int
	text  string
	reply any // nil: none is shown
}

var fence = regexp.MustCompile("(?m)^```(\\w+)\n((?s:.*?))^```$")

func commandsOf(t *testing.T, document string) (list []command) {
	t.Helper()
	end := -1
	for _, at := range fence.FindAllStringSubmatchIndex(document, -1) {
		syntax, text := document[at[2]:at[3]], document[at[4]:at[5]]
		line := strings.Count(document[:at[0]], "\n") + 1
		switch syntax {
		case "sh":
			list = append(list, command{line: line, text: text})
			end = at[1]
		case "json":
			require.NotEmpty(t, list)
			require.Empty(t, strings.TrimSpace(document[end:at[0]]), "line %d: the reply of which command?", line)
			last := &list[len(list)-1]
			require.NoError(t, json.Unmarshal([]byte(text), &last.reply), "line %d", line)
			end = -1
		}
	}
	return list
}

// fits returns where a reply differs from what the page shows, "" if it does not. In the page "…" stands for any text,
// also within one; as a name for any further members, and at the end of a list for further items.
func fits(want, got any, at string) string {
	switch want := want.(type) {
	case string:
		text, ok := got.(string)
		parts := strings.Split(want, "…")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		if !ok || !regexp.MustCompile("^(?s)"+strings.Join(parts, ".*")+"$").MatchString(text) {
			return fmt.Sprintf("%s: %v, not %q", at, got, want)
		}
		return ""
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return at + ": no object"
		}
		_, open := want["…"]
		for name, value := range object {
			if _, ok := want[name]; !ok && !open {
				return fmt.Sprintf("%s.%s: %v, which is not shown", at, name, value)
			}
		}
		for name, value := range want {
			if name == "…" {
				continue
			}
			if _, ok := object[name]; !ok {
				return fmt.Sprintf("%s.%s: missing", at, name)
			}
			if differ := fits(value, object[name], at+"."+name); differ != "" {
				return differ
			}
		}
		return ""
	case []any:
		list, ok := got.([]any)
		if n := len(want); n > 0 && want[n-1] == "…" && len(list) > n-1 {
			want, list = want[:n-1], list[:n-1]
		}
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("%s: %v", at, got)
		}
		for i := range want {
			if differ := fits(want[i], list[i], fmt.Sprint(at, "[", i, "]")); differ != "" {
				return differ
			}
		}
		return ""
	}
	if want != got {
		return fmt.Sprintf("%s: %v, not %v", at, got, want)
	}
	return ""
}

// Every command of docs/api.md is run in one shell, in the order of the page, against the example server as it starts.
// A command without a problem behind it must succeed, and each reply must be as the page shows it.
func TestCommandsOfThePage(t *testing.T) {
	text, err := os.ReadFile(harness.Path(t, "..", "docs", "api.md"))
	require.NoError(t, err)
	list := commandsOf(t, string(text))
	require.Greater(t, len(list), 30)
	s := harness.StartServer(t)
	const made = "penguins.db.credentials.json"
	here, err := filepath.Rel(filepath.Dir(s.DB), s.DB+".credentials.json")
	require.NoError(t, err)
	require.Equal(t, made, here, "the page reads this file")

	out := t.TempDir()
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	curls := 0
	for i, c := range list {
		if strings.Contains(c.text, "make run") {
			continue // the server that runs already
		}
		fail := "--fail-with-body"
		if problem, ok := c.reply.(map[string]any); ok && strings.HasPrefix(fmt.Sprint(problem["type"]), "tag:") {
			fail = ""
		}
		curls += strings.Count(c.text, "curl ")
		fmt.Fprintf(&script, "curl() { command curl -sS %s \"$@\"; }\necho 'line %d' >&2\n{\n%s} >%q\n", fail, c.line,
			strings.ReplaceAll(c.text, "http://127.0.0.1:8080", s.Base), filepath.Join(out, fmt.Sprint(i)))
	}
	require.Greater(t, curls, 40)
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = filepath.Dir(s.DB)
	printed, err := cmd.CombinedOutput()
	last := strings.Split(strings.TrimSpace(string(printed)), "\n")
	if err != nil {
		for i, c := range list { // what the command that failed replied
			if strings.HasSuffix(last[max(0, len(last)-2)], fmt.Sprintf("line %d", c.line)) {
				reply, _ := os.ReadFile(filepath.Join(out, fmt.Sprint(i)))
				t.Logf("%s", reply)
			}
		}
	}
	require.NoError(t, err, "docs/api.md: %s", printed)
	for i, c := range list {
		if c.reply == nil {
			continue
		}
		reply, err := os.ReadFile(filepath.Join(out, fmt.Sprint(i)))
		require.NoError(t, err)
		var got any
		require.NoError(t, json.Unmarshal(reply, &got), "docs/api.md:%d: %s", c.line, reply)
		require.Empty(t, fits(c.reply, got, "reply"), "docs/api.md:%d: %s", c.line, reply)
	}
}

// Every operation of the document has a command on the page: whatever the console does, a script finds here.
func TestThePageHasEveryOperation(t *testing.T) {
	text, err := os.ReadFile(harness.Path(t, "..", "docs", "api.md"))
	require.NoError(t, err)
	document, err := os.ReadFile(harness.Path(t, "..", "httpadapter", "api", "openapi.json"))
	require.NoError(t, err)
	var api struct {
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(document, &api))
	called := map[string]bool{}
	for _, c := range commandsOf(t, string(text)) {
		for _, curl := range strings.Split(c.text, "curl ")[1:] {
			method := "get"
			if strings.Contains(curl, "--json") {
				method = "post"
			}
			if m := regexp.MustCompile(`-X (\w+)`).FindStringSubmatch(curl); m != nil {
				method = strings.ToLower(m[1])
			}
			if m := regexp.MustCompile(`\$API(/[^\s"?)]*)`).FindStringSubmatch(curl); m != nil {
				called[method+" "+m[1]] = true
			}
		}
	}
	id := regexp.MustCompile(`\\\{\w+\\\}`)
	for path, methods := range api.Paths {
		for method := range methods {
			if method == "parameters" || path == "/openapi.json" {
				continue
			}
			pattern := regexp.MustCompile("^" + method + " " + id.ReplaceAllString(regexp.QuoteMeta(path), `(\$\w+|u-42)`) + "$")
			found := false
			for call := range called {
				found = found || pattern.MatchString(call)
			}
			require.True(t, found, "docs/api.md has no command for %s %s", method, path)
		}
	}
}

// The comparison can fail.
func TestFits(t *testing.T) {
	for _, c := range []struct {
		want, got string
		fits      bool
	}{
		{`"…"`, `"x"`, true}, {`"ak_…"`, `"ak_1"`, true}, {`"ak_…"`, `"sk_1"`, false}, {`"…"`, `7`, false},
		{`7`, `7`, true}, {`7`, `8`, false}, {`true`, `true`, true}, {`null`, `false`, false},
		{`{"a":1}`, `{"a":1}`, true}, {`{"a":1}`, `{"a":1,"b":2}`, false}, {`{"a":1,"…":"…"}`, `{"a":1,"b":2}`, true},
		{`{"a":1,"…":"…"}`, `{"b":2}`, false}, {`{}`, `[]`, false},
		{`[1]`, `[1]`, true}, {`[1]`, `[1,2]`, false}, {`[1,"…"]`, `[1,2,3]`, true}, {`[1,"…"]`, `[2,3]`, false},
		{`[]`, `{}`, false},
	} {
		var want, got any
		require.NoError(t, json.Unmarshal([]byte(c.want), &want))
		require.NoError(t, json.Unmarshal([]byte(c.got), &got))
		require.Equal(t, c.fits, fits(want, got, "") == "", "%s %s", c.want, c.got)
	}
	require.Len(t, commandsOf(t, "```sh\na\n```\n\n```json\n{}\n```\ntext\n```sh\nb\n```\n"), 2)
}
