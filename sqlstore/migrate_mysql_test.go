package sqlstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// For each statement that MySQL commits by itself there is a query that tells, after a crash, whether it was run.
func TestMySQLStepsAreRecognized(t *testing.T) {
	steps, err := migrationSteps(&mysql)
	require.NoError(t, err)
	for _, step := range steps {
		for _, statement := range splitStatements(step.text) {
			if change := parseChange(statement); change != nil {
				require.NotEmpty(t, change.probe, statement)
			}
		}
	}
	for statement, want := range map[string][]any{
		"-- why\nCREATE TABLE a (\n  b INT\n)": {"a"},
		"CREATE UNIQUE INDEX i ON a (b)":       {"i", "a"},
		"ALTER TABLE a ADD COLUMN b BIGINT":    {"a", "b"},
		"ALTER TABLE a MODIFY b BIGINT":        nil,
		"CREATE TABLE IF NOT EXISTS a (b INT)": nil,
		"DROP TABLE a":                         nil,
	} {
		change := parseChange(statement)
		require.NotNil(t, change, statement)
		require.Equal(t, want, change.args, statement)
	}
	require.Nil(t, parseChange("INSERT INTO a (b) VALUES (1)"))
}
