package settings

import (
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey"
)

// Engine is the engine of the database that holds the records.
type Engine string

const (
	SQLite   Engine = "sqlite"
	Postgres Engine = "postgres"
	MySQL    Engine = "mysql" // MariaDB, too
)

// Dialect returns the dialect that package sqlstore is told, or 0 for an unknown engine.
func (e Engine) Dialect() latchkey.Dialect {
	switch e {
	case SQLite:
		return latchkey.SQLite
	case Postgres:
		return latchkey.Postgres
	case MySQL:
		return latchkey.MySQL
	}
	return 0
}

// check returns what is wrong with the store.
func (f *storeForm) check() error {
	if f == nil {
		return errors.New(`"store" is missing: {"engine": "sqlite", "file": "latchkey.db"}, say`)
	}
	switch {
	case f.Engine.Dialect() == 0:
		return errors.New(`store.engine is "sqlite", "postgres" or "mysql", which is MariaDB, too`)
	case f.Engine == SQLite && (f.File == "" || f.DSN != nil):
		return errors.New(`a store of SQLite has "file", and no "dsn"`)
	case f.Engine != SQLite && (f.File != "" || f.DSN == nil):
		return fmt.Errorf(`a store of %s has "dsn", and no "file"`, f.Engine)
	case f.OnlyNode && f.Engine != MySQL:
		return errors.New("store.only_node is about a node of Galera: the engine is mysql")
	case f.Engine == SQLite:
		return checkPath("store.file", f.File)
	case f.DSN.Encoding != "":
		return errors.New("store.dsn.encoding: a DSN has no encoding")
	}
	return f.DSN.check("store.dsn")
}

// Engine returns the engine of the store.
func (s *Settings) Engine() Engine { return s.file.Store.Engine }

// OnlyNode returns store.only_node, which is sqlstore.Options.OnlyNode.
func (s *Settings) OnlyNode() bool { return s.file.Store.OnlyNode }

// DSN returns what names the database. It may hold a password: do not print it. For SQLite it is the path of the file.
// For the others it is read anew from where the settings say that it is, and has the form that the deployment's driver
// takes. The command latchkey takes what pgx takes, and what github.com/go-sql-driver/mysql takes or
// mysql://user:password@host:port/database.
func (s *Settings) DSN() (string, error) {
	if s.file.Store.Engine == SQLite {
		return s.abs(s.file.Store.File), nil
	}
	text, err := s.read("store.dsn", s.file.Store.DSN, maxDSN)
	return string(text), err
}
