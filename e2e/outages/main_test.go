// Package outages tests servers that are killed, stalled and cut off, and disks that are full. It needs PostgreSQL and
// MariaDB.
package outages

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
