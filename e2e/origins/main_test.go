// Package origins tests CORS and what browsers add to requests by themselves, with pages of several origins in a
// browser, and what a shared cache keeps of the replies. It needs Chromium and nginx.
package origins

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
