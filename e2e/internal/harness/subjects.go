package harness

import (
	"testing"
)

// Subject is an engine behind one driver, and how to get an empty database of it.
type Subject struct {
	*Engine
	Fresh func(t testing.TB) (dsn string)
}

// Subjects are all that a store is promised to run on.
var Subjects = []Subject{
	{Modernc, func(t testing.TB) string { return WAL(NewFile(t)) }},
	{Postgres, func(t testing.TB) string { return Postgres.Place(t) }},
	{MariaDB, func(t testing.TB) string { return MariaDB.Place(t) }},
}

func OnSubjects(t *testing.T, test func(t *testing.T, s Subject)) {
	for _, s := range Subjects {
		t.Run(s.Name, func(t *testing.T) { test(t, s) })
	}
}
