// Package upgrade tests databases that the first version wrote, and that version beside this one. It needs PostgreSQL,
// MariaDB and the whole history of the repository.
package upgrade

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
