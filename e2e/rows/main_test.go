// Package rows tests that conditions select the same rows on each engine as in Go, whatever the settings of a session.
// It needs PostgreSQL and MariaDB.
package rows

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
