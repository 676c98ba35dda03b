package harness

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/latchkey-go/latchkey"
)

// Postgres is the PostgreSQL server that all tests of a process share.
var Postgres = &Engine{
	Name: "PostgreSQL", Dialect: latchkey.Postgres, Driver: "pgx", Env: "LATCHKEY_POSTGRES_DSN",
	Start: StartPostgres, DataDir: "SHOW data_directory", Quit: syscall.SIGINT,
	Create: "CREATE SCHEMA %s", Drop: "DROP SCHEMA %s CASCADE",
	In: func(dsn, place string) (string, error) { return PostgresSetting(dsn, "search_path", place) },
}

// PostgresSetting returns the DSN, a URL or a list of keywords, with one more setting.
func PostgresSetting(dsn, name, value string) (string, error) {
	if !strings.Contains(dsn, "://") {
		return dsn + " " + name + "='" + value + "'", nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// StartPostgres makes a database cluster in e.Folder, and starts its server.
func StartPostgres(e *Engine) (dsn string, err error) {
	initdb := filepath.Join(e.Programs, "initdb")
	if e.Programs == "" {
		initdb, err = Program("initdb", append([]string{os.Getenv("LATCHKEY_PG_BIN")}, PostgresFolders()...)...)
		if err != nil {
			return "", err
		}
	}
	data := filepath.Join(e.Folder, "data")
	options := []string{"-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"}
	if e.Name != "PostgreSQL 14" { // which has no such option
		// The order of a language, not of bytes: what latchkey compares must not depend on the database's collation.
		options = append(options, "--locale-provider=icu", "--icu-locale=en-US")
	}
	if err = e.Command(initdb, options...).Run(); err != nil {
		return "", err
	}
	// A process that is killed loses nothing that the system holds for it, and no test cuts the power.
	flush := "off"
	if e.Durable {
		flush = "on"
	}
	err = e.Serve(filepath.Join(filepath.Dir(initdb), "postgres"), "-D", data, "-k", e.Folder, "-c", "listen_addresses=",
		"-c", "fsync="+flush, "-c", "full_page_writes="+flush, "-c", "max_connections=1000",
		"-c", "timezone=America/New_York")
	return fmt.Sprintf("host=%s user=postgres dbname=postgres sslmode=disable", e.Folder), err
}

// PostgresFolders returns where Debian and others put the programs that are not in PATH, the newest version first.
func PostgresFolders() []string {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	return folders
}

func version(folder string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
	return n
}
