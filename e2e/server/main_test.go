// Package server tests the example server on SQLite, PostgreSQL and MariaDB: how it starts, stops and answers. It needs
// both servers, Node and the npm packages.
package server

import (
	"testing"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

type obj = harness.Object
