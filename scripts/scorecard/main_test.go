package main

import (
	"errors"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAGoalIsMetOnlyIfItsTestsRan(t *testing.T) {
	g := goal{passed: []string{"TestA", "TestControl"}, figure: `(?m)^figure: (.*)`}
	const both = "--- PASS: TestA (0.1s)\n" +
		"    --- PASS: TestControl/b (0.1s)\n--- PASS: TestControl (0.1s)\nfigure: 7 of 7\n"
	measured, met := g.judge(both, nil, 3)
	require.True(t, met)
	require.Equal(t, "7 of 7 (3 s)", measured)
	either := goal{figure: `(?m)^(?:--- PASS: (\w+)|figure: (\d))`}
	measured, _ = either.judge(both, nil, 3)
	require.Equal(t, "TestA; TestControl; 7 (3 s)", measured)
	for name, out := range map[string]string{
		"without the control": "--- PASS: TestA (0.1s)\nfigure: 7\n",
		"another control":     "--- PASS: TestA (0.1s)\n--- PASS: TestControlled (0.1s)\nfigure: 7\n",
		"a failed control":    "--- PASS: TestA (0.1s)\n--- FAIL: TestControl (0.1s)\nfigure: 7\n",
		"no figure":           "--- PASS: TestA (0.1s)\n--- PASS: TestControl (0.1s)\n",
		"nothing":             "",
	} {
		measured, met := g.judge(out, nil, 3)
		require.False(t, met, name)
		require.Contains(t, measured, "NOT MET", name)
	}
	_, met = g.judge(both, errors.New("exit status 1"), 3)
	require.False(t, met)
}

// The page has a line for each goal, in order, and no goal that is not met.
func TestThePageIsOfTheGoals(t *testing.T) {
	page, err := os.ReadFile("../../" + file)
	require.NoError(t, err)
	lines := linesOf(string(page))
	require.Len(t, lines, len(goals))
	require.Len(t, goals, 15)
	for i, g := range goals {
		require.Contains(t, lines[i+1], "| "+g.target+" |")
		require.Contains(t, lines[i+1], "`"+g.commandLine()+"`", "run `make scorecard` again")
		require.NotContains(t, lines[i+1], "NOT MET")
		require.NotEmpty(t, g.control)
		regexp.MustCompile(g.figure)
	}
}
