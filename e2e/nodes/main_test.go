// Package nodes tests several processes over one database: what one of them changes, all obey. It needs PostgreSQL and
// MariaDB.
package nodes

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
