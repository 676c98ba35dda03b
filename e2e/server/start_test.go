package server

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestFirstStartWritesPrivateFiles(t *testing.T) {
	s := harness.StartServer(t)
	for _, suffix := range []string{"", ".key", ".credentials.json"} {
		info, err := os.Stat(s.DB + suffix)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), suffix)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(s.DB), "*"))
	require.NoError(t, err)
	for _, file := range left {
		require.True(t, strings.HasPrefix(file, s.DB), "%s was left over", file)
	}
	text, err := os.ReadFile(s.DB + ".credentials.json")
	require.NoError(t, err)
	var made map[string]string
	require.NoError(t, json.Unmarshal(text, &made))
	for name, prefix := range map[string]string{
		"owner": "demo", "secret": "sk_", "publishable": "pk_", "api_key": "ak_", "cma_token": "ak_", "session": "ss_",
	} {
		require.True(t, strings.HasPrefix(made[name], prefix), name)
	}

	account := s.Account()
	for secret, kind := range map[string]latchkey.Kind{
		s.Credentials.Secret: latchkey.KindSecret, s.Credentials.Publishable: latchkey.KindPublishable,
		s.Credentials.APIKey: latchkey.KindAPIKey, s.Credentials.CMAToken: latchkey.KindAPIKey,
		s.Credentials.Session: latchkey.KindSession,
	} {
		access, err := account.Verify(t.Context(), latchkey.Presented{Secret: secret})
		require.NoError(t, err)
		require.Equal(t, kind, access.Kind())
		if kind != latchkey.KindPublishable {
			revealed, err := account.Reveal(t.Context(), access.TokenID())
			require.NoError(t, err, "what needs a keyring works")
			require.True(t, revealed.Reveal() == secret, "another secret was revealed")
		}
	}
	session, err := account.Verify(t.Context(), latchkey.Presented{Secret: s.Credentials.Session})
	require.NoError(t, err)
	for _, resource := range []latchkey.Resource{"dataset/x", "anything", "latchkey/token/x", "latchkey/role/x"} {
		require.NoError(t, session.Check(latchkey.Delete, resource))
	}
	record, err := session.Token(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().AddDate(1, 0, 0), record.Validity.NotAfter, time.Hour)
}

func TestSecondStartFindsEverythingAsItWas(t *testing.T) {
	s := harness.StartServer(t)
	client := s.CloudTables()
	token := client.Token(obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë"})
	keeper := obj{"role": "keeper"}
	var made struct{ Data []obj }
	client.OK(&made, keeper, "insert", harness.Dataset, obj{"dp-1": "Adelie", "dp-2": "Biscoe"})
	client.OK(&obj{}, keeper, "delete", harness.Dataset, 1)
	before, err := os.ReadFile(s.DB + ".credentials.json")
	require.NoError(t, err)
	s.Stop()

	again := harness.StartServerOn(t, s.DB)
	after, err := os.ReadFile(s.DB + ".credentials.json")
	require.NoError(t, err)
	require.True(t, string(before) == string(after), "the credentials file was written again")
	want := append(harness.Where(t, harness.OnBiscoe), 345)
	require.Equal(t, want, again.RowIDs(token), "a token of before, and a row of before")
	all := again.RowIDs(again.CloudTables().Token(obj{}))
	require.Len(t, all, 344)
	require.Equal(t, 2, all[0], "a deleted row does not come back")
}

func TestDeletedThingsDoNotComeBack(t *testing.T) {
	s := harness.StartServer(t)
	account := s.Account()
	id := harness.TokenID(t, account, s.Credentials.Publishable)
	require.NoError(t, account.Delete(t.Context(), id))
	require.NoError(t, os.Remove(s.DB+".credentials.json"))
	creds := s.Credentials
	s.Stop()
	again := harness.StartServerOn(t, s.DB)
	require.NoFileExists(t, s.DB+".credentials.json", "secrets are written once")
	_, err := again.Account().Get(t.Context(), id)
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	again.Credentials = creds
	again.Hide(creds.Secrets()...)
	require.Len(t, again.RowIDs(again.CloudTables().Token(obj{"role": "biscoe"})), 168)
}

func TestAcknowledgedWritesSurviveAKill(t *testing.T) {
	s := harness.StartServer(t)
	token := s.CloudTables().Token(obj{"role": "biscoe"})
	account := s.Account()
	require.NoError(t, account.Revoke(t.Context(), harness.TokenID(t, account, s.Credentials.APIKey), "lost"))
	s.Kill()
	harness.StartServerOn(t, s.DB).Refused(token)
}

func TestStartCutOffIsTakenUpAgain(t *testing.T) {
	// Killed at ever later moments of the first start: whatever the state, the next start ends with all of it.
	for _, after := range []time.Duration{5, 20, 40, 60, 90, 130, 200, 400} {
		db := filepath.Join(t.TempDir(), "penguins.db")
		cmd := exec.Command(harness.ServerProgram(t), "-addr", "127.0.0.1:0", "-db", db)
		require.NoError(t, cmd.Start())
		time.Sleep(after * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait()
		_, err := os.Stat(db + ".credentials.json")
		t.Logf("killed after %d ms; credentials written: %v", after, err == nil)

		s := harness.StartServerOn(t, db)
		require.Len(t, s.RowIDs(s.CloudTables().Token(obj{"role": "biscoe"})), 168)
		kinds := map[string]int{}
		for token, err := range s.Account().Tokens(t.Context(), latchkey.TokenQuery{}) {
			require.NoError(t, err)
			kinds[token.Name]++
		}
		for _, name := range []string{"secret", "publishable", "api_key", "cma_token", "session"} {
			require.Equal(t, 1, kinds[name], name)
		}
		s.Stop()
	}
}

// fails starts the server, expects it to end with an error, and returns what it said.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(harness.ServerProgram(t), append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	timer := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the server started: %s", out)
	require.Equal(t, 1, exit.ExitCode(), string(out))
	return string(out)
}

func TestStartsThatFailSayWhy(t *testing.T) {
	s := harness.StartServer(t)
	db, key := s.DB, s.DB+".key"
	s.Stop()
	other := filepath.Join(t.TempDir(), "other.db")

	require.NoError(t, os.Rename(key, key+".away"))
	out := fails(t, "-db", db)
	require.Contains(t, out, "keyring file")
	require.Contains(t, out, "is missing")
	require.NoFileExists(t, key, "no new one is made in its place")

	require.NoError(t, os.WriteFile(key, []byte("nonsense\n"), 0o600))
	require.Contains(t, fails(t, "-db", db), key)

	second := harness.StartServerOn(t, other)
	second.Stop()
	require.Contains(t, fails(t, "-db", db, "-keyring", other+".key"), "another database")

	require.NoError(t, os.Rename(key+".away", key))
	harness.StartServerOn(t, db).Stop()

	require.NoError(t, os.Remove(other))
	require.Contains(t, fails(t, "-db", other), other+".credentials.json", "secrets of another store are not overwritten")

	require.Contains(t, fails(t, "-db", t.TempDir()), "is a directory")
	require.Contains(t, fails(t, "-db", filepath.Join(t.TempDir(), "none", "x.db")), "no such file")
	require.Contains(t, fails(t, "-db", ""), "-db")
	require.Contains(t, fails(t, "-db", "postgres://localhost/x"), "-db")
	require.Contains(t, fails(t, "-db", other, "extra"), "extra")
	require.Contains(t, fails(t, "-nonsense"), "nonsense")
	text := filepath.Join(t.TempDir(), "text.db")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600))
	require.Contains(t, fails(t, "-db", text), "not a database")
	running := harness.StartServerOn(t, db)
	require.Contains(t, fails(t, "-db", filepath.Join(t.TempDir(), "x.db"), "-addr", "127.0.0.1:"+running.Port),
		"address already in use")
}

// Every command of the welcome is run as it stands there, the label before it apart.
func TestWhatTheServerPrintsWorks(t *testing.T) {
	s := harness.StartServer(t)
	require.Eventually(t, func() bool { return strings.Contains(s.Log.String(), "Ctrl-C\n") }, time.Minute,
		10*time.Millisecond, "the welcome does not end")
	label := regexp.MustCompile(`^([A-Z][A-Za-z ]*:)? {2,}`)
	good := regexp.MustCompile(`^(\{"success":true|\{"token":["{]|\{"items":\[\{|\{"owner":"demo"|` +
		`\{"decision":true|\{"access_token":"|\{"data":[[{]|\[\{"|\{"return_code":"SUCCESS")`)
	var tried int
	script := "set -euo pipefail\n"
	for line := range strings.Lines(strings.ReplaceAll(s.Log.String(), "\\\n", "")) {
		command := strings.TrimSpace(strings.TrimPrefix(line, label.FindString(line)))
		switch {
		case regexp.MustCompile(`^[A-Z_]+=\$\(sed `).MatchString(command):
		case strings.HasPrefix(command, "curl "):
			command = strings.Replace(command, "curl", "curl --fail-with-body -sS", 1)
			command = "reply=$(" + strings.Replace(command, "token=...'", `token='"$token"`, 1) + "); " +
				`echo "${reply:0:60}"; token=${token:-$(sed -n 's/.*"token":"\([^"]*\)".*/\1/p' <<<"$reply")}`
			tried++
		default:
			require.NotContains(t, command, "curl", "a command that this test does not see")
			continue
		}
		script += command + "\n"
	}
	require.Equal(t, 16, tried, s.Log.String())
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	replies := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, replies, tried)
	for _, reply := range replies {
		require.Regexp(t, good, reply)
	}
}
