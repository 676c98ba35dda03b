package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/settings"
)

// openDatabase opens the database of the settings, which must be there. No error repeats a DSN, which may hold a
// password.
func openDatabase(ctx context.Context, s *settings.Settings) (*sql.DB, error) {
	dsn, err := s.DSN()
	if err != nil {
		return nil, settingsError(err)
	}
	var db *sql.DB
	switch s.Engine() {
	case settings.SQLite:
		db, err = openSQLite(dsn)
	case settings.Postgres:
		db, err = openPostgres(dsn)
	default:
		db, err = openMySQL(dsn)
	}
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: the database: %w", latchkey.ErrUnavailable, err), db.Close())
	}
	return db, nil
}

func openSQLite(path string) (*sql.DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, usagef("%s. \"latchkey migrate\" makes it", fmt.Errorf("the database: %w", err))
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	full = filepath.ToSlash(full)
	if !strings.HasPrefix(full, "/") { // a drive of Windows
		full = "/" + full
	}
	dsn := url.URL{Scheme: "file", Path: full, RawQuery: url.Values{
		"mode":    {"rw"},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "foreign_keys(1)"},
	}.Encode()}
	return sql.Open("sqlite", dsn.String())
}

// makeSQLite makes an empty file that its owner alone can read, unless there is a file.
func makeSQLite(path string) (made bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, file.Close()
}

// openPostgres takes what pgx takes, and PGPASSWORD and the like.
func openPostgres(dsn string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil { // its text may hold a part of the password
		return nil, usagef("store.dsn is nothing that pgx can read: write postgres://user:password@host:5432/database. " +
			"What means something in a URL, such as @ / ? # %%, is written %%XX in a user, a password or a name")
	}
	return stdlib.OpenDB(*config), nil
}

// openMySQL takes what the driver takes, and mysql://user:password@host:port/database with the driver's parameters, of
// which socket is the path of a socket. A URL without a password takes that of MYSQL_PWD, as the program mysql does.
func openMySQL(dsn string) (*sql.DB, error) {
	bad := usagef("store.dsn is nothing that the driver can read: write user:password@tcp(host:3306)/database, or " +
		"mysql://user:password@host:3306/database. What means something in a URL, such as @ / ? # %%, is written %%XX there")
	config, err := mysqlConfig(dsn)
	if err != nil || config.DBName == "" {
		return nil, bad // the text of the driver's error may hold a part of the password
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, bad
	}
	return sql.OpenDB(connector), nil
}

func mysqlConfig(dsn string) (*mysql.Config, error) {
	scheme, _, isURL := strings.Cut(dsn, "://")
	if !isURL || scheme != "mysql" && scheme != "mariadb" {
		return mysql.ParseDSN(dsn)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, err
	}
	address := "tcp(" + net.JoinHostPort(cmp.Or(u.Hostname(), "127.0.0.1"), cmp.Or(u.Port(), "3306")) + ")"
	if socket := query.Get("socket"); socket != "" {
		address = "unix(" + socket + ")"
		query.Del("socket")
	}
	// The parser of the driver reads the parameters, but neither user nor password.
	config, err := mysql.ParseDSN(address + "/" + url.PathEscape(strings.TrimPrefix(u.Path, "/")) + "?" + query.Encode())
	if err != nil {
		return nil, err
	}
	password, given := u.User.Password()
	if !given {
		password = os.Getenv("MYSQL_PWD")
	}
	config.User, config.Passwd = u.User.Username(), password
	return config, nil
}
