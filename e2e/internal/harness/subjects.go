package harness

import (
	"testing"
)

// Subject is an engine behind one driver.
type Subject struct {
	*Engine
	Fresh func(t testing.TB) (dsn string) // makes an empty database
}

// Subjects are all engines and drivers that sqlstore supports. With cgo, mattn.go adds one.
var Subjects = []Subject{
	{Modernc, func(t testing.TB) string { return WAL(NewFile(t)) }},
	{Postgres, func(t testing.TB) string { return Postgres.Place(t) }},
	{MariaDB, func(t testing.TB) string { return MariaDB.Place(t) }},
}

// OnSubjects runs a test on each of Subjects.
func OnSubjects(t *testing.T, test func(t *testing.T, s Subject)) {
	for _, s := range Subjects {
		t.Run(s.Name, func(t *testing.T) { test(t, s) })
	}
}
