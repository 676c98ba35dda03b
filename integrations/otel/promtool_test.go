package latchkeyotel_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func promtool(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	return string(out), err
}

func TestRulesByPromtool(t *testing.T) {
	out, err := promtool(t, "check", "rules", "alerts.yaml")
	require.NoError(t, err, out)
	require.Contains(t, out, "8 rules found")
	out, err = promtool(t, "test", "rules", "testdata/alerts_test.yaml")
	require.NoError(t, err, out)

	rules, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	require.NoError(t, err)
	// What each rule guards against is tested: without a part of it, another answer comes.
	broken := func(old, replacement string) {
		t.Helper()
		require.True(t, strings.Contains(string(rules), old), "alerts.yaml has no %q", old)
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "testdata"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"),
			[]byte(strings.ReplaceAll(string(rules), old, replacement)), 0o600))
		path := filepath.Join(dir, "testdata", "alerts_test.yaml")
		require.NoError(t, os.WriteFile(path, cases, 0o600))
		out, err := promtool(t, "test", "rules", path)
		require.Error(t, err, "without %q: %s", old, out)
		require.Contains(t, out, "FAILED", "without %q: the file cannot be read", old)
	}
	broken(`{latchkey_outcome="unavailable"}`, "")
	broken("> 0.75 and", "> 0.9 and")
	broken("> 0.75 and", "> 0.5 and")
	broken(" and latchkey_feed_failing_seconds > 0", "")
	broken(`{error_type!=""}`, "")
	broken("[5m])) > 0.05", "[5m])) > 0.01")
	broken("for: 5m", "for: 0m")
	broken(`{latchkey_store_operation=~"Epoch|Changes|ByDigest|ByLookup|Load"}`, "")
	broken("> 0.25", "> 0.99")
	broken("> 3 *", "> 30 *")
	broken("> 3 *", "> 0.9 *")
	broken("          ) > 0.05", "          ) > 0.5")
	broken("> 10", "> 0.9")
	broken("unknown|limited", "unknown")
	broken("for: 10m", "for: 0m")
	broken("increase(latchkey_background_lost_total[5m])", "latchkey_background_lost_total")
}

// Each alert has a case that fires and one that does not, and README.md says what to do.
func TestEachAlertIsTestedAndExplained(t *testing.T) {
	rules, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	cases, err := os.ReadFile("testdata/alerts_test.yaml")
	require.NoError(t, err)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1)
	require.Len(t, alerts, 8)
	for _, a := range alerts {
		one := "- alertname: " + a[1] + `\n +eval_time: .*\n +exp_alerts:`
		require.True(t, regexp.MustCompile(one+` \[\]`).Match(cases), "%s: no case without it", a[1])
		require.True(t, regexp.MustCompile(one+`\n +- exp_labels`).Match(cases), "%s: no case with it", a[1])
		require.Equal(t, 1, strings.Count(string(readme), "\n### "+a[1]+"\n"), "README.md does not explain %s", a[1])
	}
}
