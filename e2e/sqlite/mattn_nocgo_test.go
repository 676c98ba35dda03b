//go:build !cgo

package sqlite

import "testing"

// A part that cannot run fails.
func TestMattn(t *testing.T) {
	t.Fatal("SQLite behind github.com/mattn/go-sqlite3 was not tested, as it needs cgo: " +
		"install gcc, and set CGO_ENABLED=1")
}
