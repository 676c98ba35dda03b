//go:build cgo

package harness

import (
	"testing"

	_ "github.com/mattn/go-sqlite3"

	"github.com/latchkey-go/latchkey"
)

// Mattn is SQLite in C, by github.com/mattn/go-sqlite3. It has no server, as Modernc.
var Mattn = &Engine{Name: "SQLite, mattn", Dialect: latchkey.SQLite, Driver: "sqlite3"}

func init() {
	Subjects = append(Subjects, Subject{Mattn, func(t testing.TB) string { return MattnWAL(NewFile(t)) }})
}

// MattnWAL returns the DSN that the documentation recommends.
func MattnWAL(file string) string { return "file:" + file + "?_journal_mode=WAL&_busy_timeout=5000" }
