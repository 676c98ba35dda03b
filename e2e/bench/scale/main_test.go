package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// Each part measures something, with numbers so small that the figures mean nothing.
func TestParts(t *testing.T) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			out := newTable()
			p.run(t, tiny, out)
			require.NotZero(t, out.lines)
		})
	}
}

func TestGrowth(t *testing.T) {
	out := newTable()
	growth(t, tiny, out)
	require.NotZero(t, out.lines)
}
