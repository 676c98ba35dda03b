// Package consistency tests what many callers at once may see: credits spent by several processes, linearizable
// histories, and revocation of many tokens. It needs PostgreSQL and MariaDB.
package consistency

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
