package e2e

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
)

func TestFirstStartWritesPrivateFiles(t *testing.T) {
	s := start(t)
	for _, suffix := range []string{"", ".key", ".credentials.json"} {
		info, err := os.Stat(s.db + suffix)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), suffix)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(s.db), "*"))
	require.NoError(t, err)
	for _, file := range left {
		require.True(t, strings.HasPrefix(file, s.db), "%s was left over", file)
	}
	text, err := os.ReadFile(s.db + ".credentials.json")
	require.NoError(t, err)
	var made map[string]string
	require.NoError(t, json.Unmarshal(text, &made))
	for name, prefix := range map[string]string{
		"owner": "demo", "secret": "sk_", "publishable": "pk_", "api_key": "ak_", "cma_token": "ak_", "session": "ss_",
	} {
		require.True(t, strings.HasPrefix(made[name], prefix), name)
	}

	account := s.account()
	for secret, kind := range map[string]latchkey.Kind{
		s.creds.Secret: latchkey.KindSecret, s.creds.Publishable: latchkey.KindPublishable,
		s.creds.APIKey: latchkey.KindAPIKey, s.creds.CMAToken: latchkey.KindAPIKey, s.creds.Session: latchkey.KindSession,
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
	session, err := account.Verify(t.Context(), latchkey.Presented{Secret: s.creds.Session})
	require.NoError(t, err)
	for _, resource := range []latchkey.Resource{"dataset/x", "anything", "latchkey/token/x", "latchkey/role/x"} {
		require.NoError(t, session.Check(latchkey.Delete, resource))
	}
	record, err := session.Token(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().AddDate(1, 0, 0), record.Validity.NotAfter, time.Hour)
}

func TestSecondStartFindsEverythingAsItWas(t *testing.T) {
	s := start(t)
	client := s.npm()
	token := client.token(obj{"role": "biscoe", "clientId": "42", "clientName": "Zoë"})
	keeper := obj{"role": "keeper"}
	var made struct{ Data []obj }
	client.ok(&made, keeper, "insert", dataset, obj{"dp-1": "Adelie", "dp-2": "Biscoe"})
	client.ok(&obj{}, keeper, "delete", dataset, 1)
	before, err := os.ReadFile(s.db + ".credentials.json")
	require.NoError(t, err)
	s.stop()

	again := startOn(t, s.db)
	after, err := os.ReadFile(s.db + ".credentials.json")
	require.NoError(t, err)
	require.True(t, string(before) == string(after), "the credentials file was written again")
	want := append(where(t, onBiscoe), 345)
	require.Equal(t, want, again.rowIDs(token), "a token of before, and a row of before")
	all := again.rowIDs(again.npm().token(obj{}))
	require.Len(t, all, 344)
	require.Equal(t, 2, all[0], "a deleted row does not come back")
}

func TestDeletedThingsDoNotComeBack(t *testing.T) {
	s := start(t)
	account := s.account()
	id := tokenID(t, account, s.creds.Publishable)
	require.NoError(t, account.Delete(t.Context(), id))
	require.NoError(t, os.Remove(s.db+".credentials.json"))
	creds := s.creds
	s.stop()
	again := startOn(t, s.db)
	require.NoFileExists(t, s.db+".credentials.json", "secrets are written once")
	_, err := again.account().Get(t.Context(), id)
	require.ErrorIs(t, err, latchkey.ErrNotFound)
	again.creds = creds
	again.hide(creds.secrets()...)
	require.Len(t, again.rowIDs(again.npm().token(obj{"role": "biscoe"})), 168)
}

func TestAcknowledgedWritesSurviveAKill(t *testing.T) {
	s := start(t)
	token := s.npm().token(obj{"role": "biscoe"})
	account := s.account()
	require.NoError(t, account.Revoke(t.Context(), tokenID(t, account, s.creds.APIKey), "lost"))
	s.kill()
	startOn(t, s.db).refused(token)
}

func TestStartCutOffIsTakenUpAgain(t *testing.T) {
	// Killed at ever later moments of the first start: whatever the state, the next start ends with all of it.
	for _, after := range []time.Duration{5, 20, 40, 60, 90, 130, 200, 400} {
		db := filepath.Join(t.TempDir(), "penguins.db")
		cmd := exec.Command(serverProgram(t), "-addr", "127.0.0.1:0", "-db", db)
		require.NoError(t, cmd.Start())
		time.Sleep(after * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		cmd.Wait()
		_, err := os.Stat(db + ".credentials.json")
		t.Logf("killed after %d ms; credentials written: %v", after, err == nil)

		s := startOn(t, db)
		require.Len(t, s.rowIDs(s.npm().token(obj{"role": "biscoe"})), 168)
		kinds := map[string]int{}
		for token, err := range s.account().Tokens(t.Context(), latchkey.TokenQuery{}) {
			require.NoError(t, err)
			kinds[token.Name]++
		}
		for _, name := range []string{"secret", "publishable", "api_key", "cma_token", "session"} {
			require.Equal(t, 1, kinds[name], name)
		}
		s.stop()
	}
}

// fails starts the server, expects it to end with an error, and returns what it said.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(serverProgram(t), append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	timer := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the server started: %s", out)
	require.Equal(t, 1, exit.ExitCode(), string(out))
	return string(out)
}

func TestStartsThatFailSayWhy(t *testing.T) {
	s := start(t)
	db, key := s.db, s.db+".key"
	s.stop()
	other := filepath.Join(t.TempDir(), "other.db")

	require.NoError(t, os.Rename(key, key+".away"))
	out := fails(t, "-db", db)
	require.Contains(t, out, "keyring file")
	require.Contains(t, out, "is missing")
	require.NoFileExists(t, key, "no new one is made in its place")

	require.NoError(t, os.WriteFile(key, []byte("nonsense\n"), 0o600))
	require.Contains(t, fails(t, "-db", db), key)

	second := startOn(t, other)
	second.stop()
	require.Contains(t, fails(t, "-db", db, "-keyring", other+".key"), "another database")

	require.NoError(t, os.Rename(key+".away", key))
	startOn(t, db).stop()

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
	running := startOn(t, db)
	require.Contains(t, fails(t, "-db", filepath.Join(t.TempDir(), "x.db"), "-addr", "127.0.0.1:"+running.port),
		"address already in use")
}

// Every command of the welcome is run as it stands there, the label before it apart.
func TestWhatTheServerPrintsWorks(t *testing.T) {
	s := start(t)
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "Ctrl-C\n") }, time.Minute,
		10*time.Millisecond, "the welcome does not end")
	label := regexp.MustCompile(`^([A-Z][A-Za-z ]*:)? {2,}`)
	good := regexp.MustCompile(`^(\{"success":true|\{"token":"|\{"data":[[{]|\[\{"|\{"return_code":"SUCCESS")`)
	var tried int
	script := "set -euo pipefail\n"
	for line := range strings.Lines(strings.ReplaceAll(s.log.String(), "\\\n", "")) {
		command := strings.TrimSpace(strings.TrimPrefix(line, label.FindString(line)))
		switch {
		case regexp.MustCompile(`^[A-Z]+=\$\(sed `).MatchString(command):
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
	require.Equal(t, 9, tried, s.log.String())
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	replies := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, replies, tried)
	for _, reply := range replies {
		require.Regexp(t, good, reply)
	}
}
