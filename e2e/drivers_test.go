package e2e

import (
	"testing"

	"github.com/latchkey-go/latchkey"
)

// subject is an engine behind one driver, and how to get an empty database of it.
type subject struct {
	*sqlEngine
	fresh func(t testing.TB) (dsn string)
}

// modernc is SQLite in pure Go. Of sqlEngine it uses what needs no server.
var modernc = &sqlEngine{name: "SQLite, modernc", dialect: latchkey.SQLite, driver: "sqlite"}

// subjects are all that a store is promised to run on.
var subjects = []subject{
	{modernc, func(t testing.TB) string { return wal(newFile(t)) }},
	{postgres, func(t testing.TB) string { return postgres.place(t) }},
	{mariadb, func(t testing.TB) string { return mariadb.place(t) }},
}

func onSubjects(t *testing.T, test func(t *testing.T, s subject)) {
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) { test(t, s) })
	}
}
