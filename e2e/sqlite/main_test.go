// Package sqlite tests sqlstore on SQLite, behind both drivers. It needs no server; with cgo it needs a C compiler.
package sqlite

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
