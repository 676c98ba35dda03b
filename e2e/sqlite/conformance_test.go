package sqlite

import (
	"testing"

	"github.com/google/uuid"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/storetest"
)

// Sampled: the file that the documentation recommends runs every case, and each of the others a sixth. LONG=1 runs
// every case on each.
func TestSQLiteConformance(t *testing.T) {
	parts := harness.Parts("modernc", 6)
	t.Run("file, WAL", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) latchkey.Store {
			return harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(harness.NewMigratedFile(t))))
		})
	})
	t.Run("file, nothing set", func(t *testing.T) {
		harness.RunCases(t, parts[0], func(t *testing.T) latchkey.Store {
			return harness.OpenSQLiteStore(t, harness.OpenSQLite(t, "file:"+harness.NewMigratedFile(t)))
		})
	})
	t.Run("two files, two feeds", func(t *testing.T) {
		file := func(t *testing.T) latchkey.Store {
			return harness.OpenSQLiteStore(t, harness.OpenSQLite(t, harness.WAL(harness.NewMigratedFile(t))))
		}
		harness.RunCases(t, parts[1],
			func(t *testing.T) latchkey.Store { return storetest.NewFeeds(file(t), file(t)) })
	})
	t.Run("shared memory", func(t *testing.T) {
		harness.RunCases(t, parts[2], func(t *testing.T) latchkey.Store {
			db := harness.OpenSQLite(t, "file:"+uuid.NewString()+"?mode=memory&cache=shared")
			db.SetMaxIdleConns(4) // the database lives as long as one connection does
			return harness.OpenSQLiteStore(t, db)
		})
	})
}
