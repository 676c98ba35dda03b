package e2e

import (
	"testing"

	"github.com/google/uuid"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/storetest"
)

func TestSQLiteConformance(t *testing.T) {
	t.Run("file, WAL", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) latchkey.Store { return openStore(t, openDB(t, wal(newFile(t)))) })
	})
	t.Run("file, nothing set", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) latchkey.Store { return openStore(t, openDB(t, "file:"+newFile(t))) })
	})
	t.Run("shared memory", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) latchkey.Store {
			db := openDB(t, "file:"+uuid.NewString()+"?mode=memory&cache=shared")
			db.SetMaxIdleConns(4) // the database lives as long as one connection does
			return openStore(t, db)
		})
	})
}
