// Package faults tests statements that fail, records that are damaged, and starts that must be refused. It needs
// PostgreSQL and MariaDB.
package faults

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
