// Package clusters tests a Galera cluster of three nodes, and standbys of PostgreSQL that take over. It needs MariaDB,
// Galera, rsync and PostgreSQL.
package clusters

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
