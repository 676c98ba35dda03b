package sqlstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// fieldError is like the error of github.com/mattn/go-sqlite3: named integers in fields, and no method for them.
type (
	errNo      int
	fieldError struct {
		Code         errNo
		ExtendedCode errNo
		words        string
	}
)

func (f fieldError) Error() string { return f.words }

// embeddedFieldError has only one of the fields, through a nil pointer.
type embeddedFieldError struct{ *fieldError }

func (embeddedFieldError) Error() string { return "database is on fire" }

func TestSQLiteCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		busy bool
	}{
		{fieldError{Code: 5, ExtendedCode: 5, words: "cannot commit transaction - SQL statements in progress"}, true},
		{fieldError{Code: 5, ExtendedCode: 517}, true},
		{&fieldError{Code: 6}, true},
		{fieldError{Code: 6, ExtendedCode: 262, words: "database schema is locked: main"}, true},
		{fieldError{Code: 13, ExtendedCode: 13, words: "database or disk is full"}, false},
		{fieldError{Code: 8, ExtendedCode: 8, words: "database is locked"}, false}, // the number counts
		{embeddedFieldError{}, false},
		{struct{ error }{errors.New("no such table: x")}, false},
	} {
		for _, err := range []error{c.err, fmt.Errorf("begin: %w", c.err), errors.Join(errors.New("outer"), c.err)} {
			require.Equal(t, c.busy, isBusySQLite(err), "%#v", err)
		}
	}
}
