package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// versionServer is a server that answers queries of its version, and nothing else.
type versionServer struct{ version string }

func (s versionServer) Connect(context.Context) (driver.Conn, error) { return s, nil }

func (s versionServer) Driver() driver.Driver { return nil }

func (s versionServer) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("no statements here")
}

func (s versionServer) Close() error { return nil }

func (s versionServer) Begin() (driver.Tx, error) { return nil, errors.New("no transactions here") }

func (s versionServer) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if !strings.Contains(query, "VERSION()") {
		return nil, errors.New("only the version is known here")
	}
	return &oneRow{values: []driver.Value{s.version, "utf8mb4"}[:1+strings.Count(query, ",")]}, nil
}

type oneRow struct {
	values []driver.Value
	done   bool
}

func (r *oneRow) Columns() []string { return make([]string, len(r.values)) }

func (r *oneRow) Close() error { return nil }

func (r *oneRow) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done = true
	copy(dest, r.values)
	return nil
}

func TestTiDBIsRefused(t *testing.T) {
	db := sql.OpenDB(versionServer{"8.0.11-TiDB-v8.5.1"})
	defer db.Close()
	_, err := New(t.Context(), db, latchkey.MySQL, nil)
	require.ErrorContains(t, err, "this is TiDB")
	require.ErrorContains(t, Migrate(t.Context(), db, latchkey.MySQL), "this is TiDB")
	_, err = NewReplica(t.Context(), db, latchkey.MySQL)
	require.ErrorContains(t, err, "this is TiDB")
	schema := latchkey.NewSchema(latchkey.Fields{"region": {Column: "region", Type: latchkey.Text}})
	require.ErrorContains(t, CheckSchema(t.Context(), db, latchkey.MySQL, "orders", schema), "this is TiDB")
	db2 := sql.OpenDB(versionServer{"10.11.6-MariaDB"})
	defer db2.Close()
	_, err = New(t.Context(), db2, latchkey.MySQL, nil)
	require.ErrorContains(t, err, "only the version is known here", "the others are asked for more")
}
