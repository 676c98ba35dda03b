// Package clients tests the example server with the npm clients of the products that it speaks for, in Node and in a
// browser. It needs Node, the npm packages and Chromium.
package clients

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type obj = harness.Object
