package main

import (
	"cmp"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// A source is what -db names.
type source struct {
	engine *engine
	shown  string // for output: without the password
	// open opens a pool. Only the closure knows the password, because fmt would print any field.
	open func() (*sql.DB, error)
}

const forms = "-db takes the name of a SQLite file, postgres://user:password@host/database or " +
	"mysql://user:password@host/database"

// A DSN without a scheme, or of another program, must not be taken for the name of a file.
var noFileName = regexp.MustCompile(
	`(?i)://|^[^/]*:.*@|^(file|postgres|postgresql|mysql|mariadb):|(^|\s)(host|user|dbname|password)\s*=`)

// sourceOf parses -db. Its errors never repeat the value, which may hold a password.
func sourceOf(db string) (source, error) {
	scheme, _, isURL := strings.Cut(db, "://")
	switch scheme = strings.ToLower(scheme); {
	case isURL && (scheme == "postgres" || scheme == "postgresql"):
		return urlSource(db, postgresEngine, postgresPool)
	case isURL && scheme == "mysql":
		return urlSource(db, mysqlEngine, mysqlPool)
	case db == "", db == ":memory:", noFileName.MatchString(db):
		return source{}, errors.New("-db is neither a file name nor a DSN: " + forms)
	}
	return source{sqliteEngine, db, func() (*sql.DB, error) { return sqlitePool(db) }}, nil
}

func urlSource(dsn string, e *engine, pool func(*url.URL, url.Values) (*sql.DB, error)) (source, error) {
	// If a password holds a bare #, ? or /, a part of it would be taken for the host or the database, which errors name.
	// Each of these leaves a # or a late @.
	malformed := errors.New("-db is no well-formed DSN: " + forms +
		"; what means something in a URL (such as @ / ? # % :) is written %XX in a user, a password or a name")
	u, err := url.Parse(dsn)
	if err != nil || strings.Contains(dsn, "#") || strings.Contains(u.RawQuery, "@") {
		return source{}, malformed
	}
	if name := strings.TrimPrefix(u.EscapedPath(), "/"); name == "" || strings.ContainsAny(name, "/@") {
		return source{}, malformed
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return source{}, malformed
	}
	for name := range query {
		switch strings.ToLower(name) {
		case "user", "password", "passwd", "pwd":
			return source{}, errors.New("-db: put the user and the password before the @ of the DSN, not among its parameters")
		}
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil {
		shown.User = url.User(u.User.Username())
	}
	return source{e, shown.String(), func() (*sql.DB, error) {
		db, err := pool(u, query)
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(16)
		db.SetMaxIdleConns(16)
		db.SetConnMaxIdleTime(time.Minute) // before the server, or a proxy, closes it
		return db, nil
	}}, nil
}

// postgresPool accepts what pgx accepts: the parameter host=/run/postgresql names the directory of a socket, and
// PGPASSWORD is used.
func postgresPool(u *url.URL, _ url.Values) (*sql.DB, error) {
	config, err := pgx.ParseConfig(u.String())
	if parse, ok := errors.AsType[*pgconn.ParseConfigError](err); ok { // its own text holds the DSN
		return nil, cmp.Or(parse.Unwrap(), errors.New("pgx cannot read it"))
	}
	if err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*config), nil
}

// mysqlPool passes the parameters to the driver, except socket, which is the path of a socket in place of a host.
// MYSQL_PWD is used, as by the mysql program.
func mysqlPool(u *url.URL, query url.Values) (*sql.DB, error) {
	address := "tcp(" + net.JoinHostPort(cmp.Or(u.Hostname(), "127.0.0.1"), cmp.Or(u.Port(), "3306")) + ")"
	if socket := query.Get("socket"); socket != "" {
		if u.Host != "" {
			return nil, errors.New("it names a host and a socket")
		}
		address = "unix(" + socket + ")"
		query.Del("socket")
	}
	// The parser of the driver reads the parameters, but neither user nor password.
	config, err := mysql.ParseDSN(address + "/" + url.PathEscape(u.Path[1:]) + "?" + query.Encode())
	if err != nil {
		return nil, err
	}
	password, given := u.User.Password()
	if !given {
		password = os.Getenv("MYSQL_PWD")
	}
	config.User, config.Passwd = u.User.Username(), password
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// sqlitePool opens a SQLite file that only its owner can read. It creates a missing one.
func sqlitePool(path string) (*sql.DB, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: full, RawQuery: url.Values{
		// Writers wait for each other instead of failing, and take the write lock before they read. FULL: a revocation
		// that was acknowledged survives a power cut.
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8) // more readers are not faster
	db.SetMaxIdleConns(8) // a connection that is kept need not be opened again
	return db, nil
}
