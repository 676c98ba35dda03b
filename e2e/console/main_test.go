// Package console tests the console in a browser: by keyboard, for accessibility, and on the example server. It needs
// Chromium, and axe-core of the npm packages.
package console

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
