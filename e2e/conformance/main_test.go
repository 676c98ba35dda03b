// Package conformance runs storetest on sqlstore with PostgreSQL, MariaDB and pgbouncer, under several settings of
// drivers and sessions.
package conformance

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
