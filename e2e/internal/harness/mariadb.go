package harness

import (
	"path/filepath"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/latchkey-go/latchkey"
)

// MariaDB is the MariaDB server that all tests of a process share.
var MariaDB = &Engine{
	Name: "MariaDB", Dialect: latchkey.MySQL, Driver: "mysql", Env: "LATCHKEY_MYSQL_DSN",
	Start: startMariaDB, DataDir: "SELECT @@datadir", Quit: syscall.SIGTERM,
	Create: "CREATE DATABASE %s", Drop: "DROP DATABASE %s",
	In: func(dsn, place string) (string, error) {
		config, err := mysql.ParseDSN(dsn)
		if err != nil {
			return "", err
		}
		config.DBName = place
		return config.FormatDSN(), nil
	},
}

// MariaDBFolders are where the programs may be that are not in PATH.
var MariaDBFolders = []string{"/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/local/bin", "/usr/local/sbin",
	"/usr/local/mysql/bin"}

func startMariaDB(e *Engine) (dsn string, err error) {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // connections are broken on purpose
	install, err := Program("mariadb-install-db", MariaDBFolders...)
	if err != nil {
		return "", err
	}
	server, err := Program("mariadbd", MariaDBFolders...)
	if err != nil {
		return "", err
	}
	data, temp := filepath.Join(e.Folder, "data"), filepath.Join(e.Folder, "tmp")
	if err := e.Command("mkdir", temp).Run(); err != nil {
		return "", err
	}
	err = e.Command(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--tmpdir="+temp, "--cross-bootstrap").Run()
	if err != nil {
		return "", err
	}
	socket := filepath.Join(e.Folder, "s.sock")
	args := []string{"--no-defaults", "--datadir=" + data, "--socket=" + socket, "--skip-networking",
		"--pid-file=" + filepath.Join(e.Folder, "pid"), "--tmpdir=" + temp, "--skip-name-resolve", "--max-connections=300",
		"--default-time-zone=+05:30"}
	if e.Durable {
		args = append(args, "--innodb-flush-log-at-trx-commit=1")
	} else { // as of PostgreSQL: what the system holds outlives the server, and migrations mostly wait for the disk
		args = append(args, "--innodb-flush-log-at-trx-commit=2", "--debug-no-sync")
	}
	err = e.Serve(server, args...)
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", socket
	return config.FormatDSN(), err
}
