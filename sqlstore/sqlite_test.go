package sqlstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// fielded is as github.com/mattn/go-sqlite3 has it: named integers in fields, no method that tells them.
type (
	errNo   int
	fielded struct {
		Code         errNo
		ExtendedCode errNo
		words        string
	}
)

func (f fielded) Error() string { return f.words }

// looksLike has one of the fields only, from a pointer that is nil.
type looksLike struct{ *fielded }

func (looksLike) Error() string { return "database is on fire" }

func TestSQLiteCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		busy bool
	}{
		{fielded{Code: 5, ExtendedCode: 5, words: "cannot commit transaction - SQL statements in progress"}, true},
		{fielded{Code: 5, ExtendedCode: 517}, true},
		{&fielded{Code: 6}, true},
		{fielded{Code: 6, ExtendedCode: 262, words: "database schema is locked: main"}, true},
		{fielded{Code: 13, ExtendedCode: 13, words: "database or disk is full"}, false},
		{fielded{Code: 8, ExtendedCode: 8, words: "database is locked"}, false}, // the number wins
		{looksLike{}, false},
		{struct{ error }{errors.New("no such table: x")}, false},
	} {
		for _, err := range []error{c.err, fmt.Errorf("begin: %w", c.err), errors.Join(errors.New("outer"), c.err)} {
			require.Equal(t, c.busy, busySQLite(err), "%#v", err)
		}
	}
}
