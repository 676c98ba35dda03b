// Package bench measures what calls cost on SQLite, PostgreSQL and MariaDB, and tests what must not grow with the
// number of tokens. It needs both servers.
package bench

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
