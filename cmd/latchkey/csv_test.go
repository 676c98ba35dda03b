package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A spreadsheet takes no cell for a formula, and a program gets each cell back but for the apostrophe.
func TestNoCellIsAFormula(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out.csv"))
	require.NoError(t, err)
	c := &call{std: streams{out: file}}
	out, err := c.csv("a", "b")
	require.NoError(t, err)
	for _, v := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "plain", "", `say "hi", ok`, "two\nlines"} {
		require.NoError(t, out.row(v, "1"))
	}
	require.NoError(t, out.end())
	require.NoError(t, file.Close())
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	require.Equal(t, "a,b\n'=1+1,1\n'+1,1\n'-1,1\n'@SUM(A1),1\n'\tx,1\n\"'\rx\",1\nplain,1\n,1\n"+
		"\"say \"\"hi\"\", ok\",1\n\"two\nlines\",1\n", string(text))
}
