package sqlstore

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
)

// Module e2e tests the engines. The tests of this package need none.

func TestNilDatabase(t *testing.T) {
	_, err := New(context.Background(), nil, latchkey.SQLite, nil)
	require.ErrorIs(t, err, errNoDB)
	_, err = NewReplica(context.Background(), nil, latchkey.Postgres)
	require.ErrorIs(t, err, errNoDB)
	require.ErrorIs(t, Migrate(context.Background(), nil, latchkey.MySQL), errNoDB)
}
