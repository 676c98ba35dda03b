package harness

import (
	"errors"
	"os"
	"testing"

	"github.com/latchkey-go/latchkey"
)

// TiDB is a server that LATCHKEY_TIDB_DSN names: no package brings one. Its user may create databases.
var TiDB = &Engine{
	Name: "TiDB", Dialect: latchkey.MySQL, Driver: "mysql", Env: "LATCHKEY_TIDB_DSN",
	Start:  func(*Engine) (dsn string, err error) { return "", errors.New("only a running server can be tested") },
	Create: MariaDB.Create, Drop: MariaDB.Drop,
	In: func(dsn, place string) (string, error) {
		dsn, err := MariaDB.In(dsn, place)
		return addSetting(dsn, "tidb_enable_shared_lock_promotion", "1"), err
	},
}

// WithTiDB returns PostgreSQL and MariaDB, and TiDB if the environment names one.
func WithTiDB() []*Engine {
	if os.Getenv(TiDB.Env) == "" {
		return Engines
	}
	return append(Engines[:len(Engines):len(Engines)], TiDB)
}

// OnSubjectsAndTiDB runs a test on each of Subjects, and on TiDB if the environment names one.
func OnSubjectsAndTiDB(t *testing.T, test func(t *testing.T, s Subject)) {
	OnSubjects(t, test)
	if os.Getenv(TiDB.Env) != "" {
		t.Run(TiDB.Name, func(t *testing.T) { test(t, Subject{TiDB, TiDB.Place}) })
	}
}

// OnTiDBToo runs a test on each of WithTiDB.
func OnTiDBToo(t *testing.T, test func(t *testing.T, e *Engine)) {
	for _, e := range WithTiDB() {
		t.Run(e.Name, func(t *testing.T) { test(t, e) })
	}
}
