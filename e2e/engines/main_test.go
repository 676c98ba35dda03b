// Package engines tests sqlstore on PostgreSQL, MariaDB and pgbouncer, beyond what package conformance does.
package engines

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
