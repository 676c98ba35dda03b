//go:build cgo

package faults

import (
	"testing"

	"github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

func init() {
	deadlocks[harness.Mattn] = sqlite3.Error{Code: sqlite3.ErrBusy, ExtendedCode: sqlite3.ErrBusySnapshot}
}

func TestMattnEveryStatementFails(t *testing.T) {
	w := newFaultyWorld(t, harness.Subject{Engine: harness.Mattn,
		Fresh: func(t testing.TB) string { return harness.MattnWAL(harness.NewFile(t)) }})
	injected := 0
	for _, op := range world.Operations() {
		injected += everyStatementFails(t, harness.Mattn, w.dsn, w.plain, op, w.reset)
	}
	t.Logf("%d faults", injected)
	require.Greater(t, injected, harness.Rounds(25, 600))
}
