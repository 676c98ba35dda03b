// Package api tests httpadapter/api with what others make of its openapi.json: a client that a published generator
// writes (npm's openapi-typescript and openapi-fetch, checked by tsc), a validator of JSON Schema (ajv), and a linter
// of OpenAPI documents (Spectral). It also runs the commands of docs/api.md. It needs Node, the npm packages, bash,
// curl and jq.
package api

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
)

func TestMain(m *testing.M) { harness.Main(m) }

// run runs a command in a folder and returns what it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v\n%s", name, args, out)
	return string(out)
}

// folder returns a new folder with the npm packages and openapi.json, and with files of this one.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	modules, err := filepath.Abs("node_modules")
	require.NoError(t, err)
	require.DirExists(t, modules, "the npm packages are missing: run `make install`")
	dir := t.TempDir()
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.json"), api.Document(), 0o600))
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), text, 0o600))
	}
	return dir
}

func TestLinterPasses(t *testing.T) {
	dir := folder(t, ".spectral.yaml")
	lint := []string{"node_modules/@stoplight/spectral-cli/dist/index.js", "lint", "--fail-severity=warn",
		"--ruleset=.spectral.yaml", "openapi.json"}
	run(t, dir, nil, "node", lint...)

	// It sees what is wrong.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "openapi.json"),
		[]byte(`{"openapi":"3.1.0","info":{"title":"x","version":"1"},"paths":{"/x":{"get":{"parameters":7}}}}`), 0o600))
	cmd := exec.Command("node", lint...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "parameters")
}

// The first server is as it comes, the second demands If-Match.
func TestGeneratedClient(t *testing.T) {
	dir := folder(t, "package.json", "tsconfig.json", "node.d.ts", "check.ts", "client.ts")
	run(t, dir, nil, "node", "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "-o", "schema.d.ts")
	run(t, dir, nil, "node", "node_modules/typescript/bin/tsc", "-p", ".")

	t.Log(run(t, dir, start(t).env(), "node", "out/client.js"))

	// It sees what is wrong: the same client, and a document that says something else.
	w := start(t)
	text := string(api.Document())
	for _, change := range []struct{ old, new string }{
		{`"hint": {`, `"hinted": {`},                          // a member of tokens
		{`"operationId": "getMe"`, `"operationId": "whoAmI"`}, // the name of an operation
		{`"more"`, `"another"`},                               // a required member
	} {
		require.Contains(t, text, change.old)
		text = strings.ReplaceAll(text, change.old, change.new)
	}
	w.mux.HandleFunc("GET /wrong.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, text) })
	cmd := exec.Command("node", "out/client.js")
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), w.env()...), "DOCUMENT="+w.origin+"/wrong.json")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	for _, fault := range []string{"getToken, 200: data must NOT have additional properties",
		"countTokens, 200: data must have required property 'another'", "whoAmI: 200"} {
		require.Contains(t, string(out), fault)
	}
}

func (w *world) env() []string {
	return []string{"BASE=" + w.base, "STRICT=" + w.strict, "ADMIN=" + w.admin, "READER=" + w.reader,
		"FOREIGN=" + w.foreign}
}

// world is the API over SQLite.
type world struct {
	keys         *latchkey.Manager
	mux          *http.ServeMux
	origin       string // of the server
	base, strict string // URLs of the API; at strict If-Match is required
	// Texts of keys: a secret key of acme, a key that may read little, a secret key of another owner.
	admin, reader, foreign string
}

func start(t *testing.T) *world {
	t.Helper()
	key, err := latchkey.GenerateKey(nil, 1)
	require.NoError(t, err)
	ring, err := latchkey.NewKeyring(key)
	require.NoError(t, err)
	store := harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(harness.NewFile(t))))
	roles := []latchkey.Role{{Name: "viewer", Permissions: latchkey.Permissions{
		latchkey.Allow(latchkey.Read).On("dataset/*")}}}
	keys := latchkey.New(store, &latchkey.Options{
		Keyring: ring,
		Roles:   roles,
		Catalogue: &latchkey.Catalogue{Resources: []latchkey.ResourceType{
			{Template: "dataset/{name}", Name: "data set", Schema: latchkey.NewSchema(latchkey.Fields{
				"region": {Column: "region", Type: latchkey.Text}}),
				Actions: []latchkey.Action{latchkey.Read, latchkey.Create, latchkey.Update, latchkey.Delete}}}},
		Imported: func(text string) bool { return len(text) > 4 && text[:4] == "old_" },
	})
	t.Cleanup(func() { require.NoError(t, keys.Close(context.Background())) })
	mux := http.NewServeMux()
	auth := httpadapter.New(keys, nil)
	api.Mount(mux, "/latchkey/v1", auth, nil)
	api.Mount(mux, "/strict/v1", auth, &api.Options{RequireIfMatch: true})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w := &world{keys: keys, mux: mux, origin: server.URL, base: server.URL + "/latchkey/v1",
		strict: server.URL + "/strict/v1"}
	issue := func(owner string, spec latchkey.Spec) string {
		_, text, err := keys.For(owner).Issue(t.Context(), spec)
		require.NoError(t, err)
		return text.Reveal()
	}
	w.admin = issue("acme", latchkey.Spec{Kind: latchkey.KindSecret, Name: "admin"})
	w.reader = issue("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "reader", Roles: []string{"viewer"}})
	// Another process of the host has counted a use and a refusal, and has ended: so they are written.
	other := latchkey.New(store, &latchkey.Options{Keyring: ring, Roles: roles})
	access, err := other.Verify(t.Context(), latchkey.Presented{Secret: w.reader})
	require.NoError(t, err)
	_, err = access.Spend(t.Context(), "api", "GET /data", latchkey.Credit)
	require.NoError(t, err)
	off := issue("acme", latchkey.Spec{Kind: latchkey.KindAPIKey, Name: "off", Disabled: true})
	_, err = other.Verify(t.Context(), latchkey.Presented{Secret: off})
	require.ErrorIs(t, err, latchkey.ErrDisabled)
	require.NoError(t, other.Close(t.Context()))
	w.foreign = issue("globex", latchkey.Spec{Kind: latchkey.KindSecret, Name: "admin"})
	return w
}
