package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Newest is a server of the newest version of PostgreSQL.
var Newest = postgresVersion(18)

// others are the versions between the oldest that PostgreSQL still maintains and the newest, but for Debian's 15.
var others = []*Engine{postgresVersion(14), postgresVersion(16), postgresVersion(17)}

// Versions returns PostgreSQL servers of other versions than the system's: the newest, or all with LONG=1.
func Versions() []*Engine {
	if os.Getenv("LONG") == "" {
		return []*Engine{Newest}
	}
	return append(others[:len(others):len(others)], Newest)
}

// OnVersions runs a test on each of Versions.
func OnVersions(t *testing.T, test func(t *testing.T, e *Engine)) {
	for _, e := range Versions() {
		t.Run(e.Name, func(t *testing.T) { test(t, e) })
	}
}

// postgresVersion returns PostgreSQL of one major version. Its server is in the folder that LATCHKEY_PG18_BIN names (or
// PG14 and so on), or where Debian puts it, or in an npm package of e2e/servers.
func postgresVersion(major int) *Engine {
	e := Postgres.Another()
	e.Name, e.Env = fmt.Sprintf("PostgreSQL %d", major), ""
	e.Start = func(e *Engine) (dsn string, err error) {
		if err := e.useVersion(major); err != nil {
			return "", err
		}
		return StartPostgres(e)
	}
	return e
}

// useVersion sets Programs and Libraries to those of a version.
func (e *Engine) useVersion(major int) (err error) {
	if e.Programs, e.Libraries, err = findVersion(e.Folder, major); err != nil {
		return err
	}
	cmd := e.Command(filepath.Join(e.Programs, "postgres"), "--version")
	cmd.Stdout = nil
	out, err := cmd.Output()
	if err == nil && !strings.Contains(string(out), fmt.Sprintf(") %d.", major)) {
		err = fmt.Errorf("%s holds another version than %d: %s", e.Programs, major, out)
	}
	return err
}

// findVersion returns the folder of a version's programs, and those of libraries that only it uses.
func findVersion(folder string, major int) (programs, libraries string, err error) {
	variable := fmt.Sprintf("LATCHKEY_PG%d_BIN", major)
	for _, programs := range []string{os.Getenv(variable), fmt.Sprintf("/usr/lib/postgresql/%d/bin", major)} {
		if _, err := exec.LookPath(filepath.Join(programs, "initdb")); programs != "" && err == nil {
			return programs, "", nil
		}
	}
	root, err := Root()
	if err != nil {
		return "", "", err
	}
	module := filepath.Join(root, "servers", "node_modules", fmt.Sprintf("postgresql-%d", major))
	if _, err := os.Stat(module); err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", "", fmt.Errorf("PostgreSQL %d is not installed: on linux/amd64 scripts/install brings 18, and with "+
			"LONG=1 the others; elsewhere (this is %s/%s) let %s name the folder of its programs", major, runtime.GOOS,
			runtime.GOARCH, variable)
	}
	links := filepath.Join(folder, "lib")
	libraries = links + ":" + filepath.Join(module, "native", "lib")
	return filepath.Join(module, "native", "bin"), libraries, linkLibraries(module, links)
}

// linkLibraries makes the symbolic links to a package's libraries in a folder. An npm package cannot hold them, and
// lists them in a file instead.
func linkLibraries(module, folder string) error {
	list, err := os.ReadFile(filepath.Join(module, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(list, &links); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	for _, link := range links {
		source, err := filepath.Abs(filepath.Join(module, link.Source))
		if err != nil {
			return err
		}
		if err := os.Symlink(source, filepath.Join(folder, filepath.Base(link.Target))); err != nil {
			return err
		}
	}
	return nil
}

// NewestPooled is Newest behind pgbouncer in transaction mode.
var NewestPooled = func() *Engine {
	e := Pgbouncer.Another()
	e.Name = "PostgreSQL 18 behind pgbouncer"
	e.Start = func(e *Engine) (dsn string, err error) {
		if err := e.useVersion(18); err != nil {
			return "", err
		}
		return startPgbouncer(e)
	}
	return e
}()
