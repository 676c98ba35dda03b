//go:build cgo

package rows

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func init() { rowEngines = append(rowEngines, sqliteRows("sqlite, mattn", "sqlite3")) }

func TestTimesOfMattn(t *testing.T) {
	checkTimes(t, harness.Mattn, sqliteTimes(t, "?_busy_timeout=5000", map[string]bool{
		"": true, "&_loc=UTC": true, "&_loc=auto": true, "&_loc=Asia%2FKolkata": true, "&_case_sensitive_like=1": true,
		"&_txlock=exclusive": true,
	}))
}
