package sqlstore

import (
	"context"
	"testing"

	"github.com/latchkey-go/latchkey"
	"github.com/stretchr/testify/require"
)

// A job whose caller has gone away must not wait in the queue for ever, after it went back there.
func TestNilDatabase(t *testing.T) {
	_, err := New(context.Background(), nil, latchkey.SQLite, nil)
	require.ErrorIs(t, err, errNoDB)
	_, err = NewReplica(context.Background(), nil, latchkey.Postgres)
	require.ErrorIs(t, err, errNoDB)
	require.ErrorIs(t, Migrate(context.Background(), nil, latchkey.MySQL), errNoDB)
}
