// Package soak keeps a server under mixed traffic, and looks at what it holds afterwards: memory, goroutines, file
// descriptors. It needs PostgreSQL.
package soak

import (
	"os"
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) {
	if os.Getenv(settingsName) != "" {
		serve()
		return
	}
	harness.Main(m)
}
